//! Commands as they arrive: an earn, which is what most of them are, is read where it lies and nothing of it copied. What is
//! no plain earn, or looks odd on the wire, is decoded as a message, and so the two ways cannot differ in what they refuse.

use std::mem;

use prost::{DecodeError, Message};

use super::wire::Reader;
use crate::constants::COMMANDS_PER_BATCH_MAX;
use crate::ledger::command::{MERGE_EVENTS, TRANSFER_EVENTS};
use crate::proto as pb;

/// Bytes that most items take at least, for room up front.
const ITEM_BYTES: usize = 64;

/// A command as it was sent.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum Item<'b> {
    /// An earn without metadata, on the bytes of the request.
    Earn(Said<'b>, Earn<'b>),
    /// Any command.
    Other(Box<pb::Command>),
}

/// What a command says beside its metadata and its action; see there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Said<'b> {
    pub program: &'b str,
    pub key: &'b str,
    pub member: &'b str,
    pub occurred_at_us: Option<i64>,
    pub reference: &'b str,
    pub channel: &'b str,
    pub partner: &'b str,
    pub location: &'b str,
    pub currency: &'b str,
}

/// What an earn says; see there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Earn<'b> {
    pub basis: Option<pb::earn::Basis>,
    pub event_kind: &'b str,
    pub asset: &'b str,
    pub pending: Option<pb::earn::Pending>,
}

impl<'b> From<&'b pb::Command> for Said<'b> {
    fn from(command: &'b pb::Command) -> Self {
        Self {
            program: &command.program,
            key: &command.key,
            member: &command.member,
            occurred_at_us: command.occurred_at_us,
            reference: &command.reference,
            channel: &command.channel,
            partner: &command.partner,
            location: &command.location,
            currency: &command.currency,
        }
    }
}

impl<'b> From<&'b pb::Earn> for Earn<'b> {
    fn from(earn: &'b pb::Earn) -> Self {
        Self { basis: earn.basis, event_kind: &earn.event_kind, asset: &earn.asset, pending: earn.pending }
    }
}

impl From<pb::Command> for Item<'_> {
    fn from(command: pb::Command) -> Self {
        Self::Other(Box::new(command))
    }
}

impl<'b> Item<'b> {
    /// Reads a command from its bytes; `None` where they are none.
    fn read(bytes: &'b [u8]) -> Option<Self> {
        match plain(bytes) {
            Some((said, earn)) => Some(Self::Earn(said, earn)),
            None => pb::Command::decode(bytes).ok().map(Self::from),
        }
    }

    /// [`crate::ledger::command::Command::events`] of the command: each part of a checkout is one, and what closes it; a transfer
    /// takes the room of two, a merge that of four.
    #[must_use]
    pub fn events(&self) -> usize {
        let Self::Other(command) = self else { return 1 };
        match &command.action {
            Some(pb::command::Action::Checkout(checkout)) => 1 + checkout.parts.len(),
            Some(pb::command::Action::Merge(_)) => MERGE_EVENTS,
            Some(pb::command::Action::Transfer(_)) => TRANSFER_EVENTS,
            _ => 1,
        }
    }
}

/// The one command of a `PostRequest`, if it has one.
///
/// # Errors
/// Where the bytes are no such message.
pub(super) fn of_post(request: &[u8]) -> Result<Option<Item<'_>>, DecodeError> {
    match items(request) {
        Some((mut one, _)) if one.len() == 1 => Ok(one.pop()),
        _ => pb::PostRequest::decode(request).map(|request| request.command.map(Item::from)),
    }
}

/// The commands of a `PostBatchRequest`, and whether they are atomic.
///
/// # Errors
/// Where the bytes are no such message.
pub fn of_batch(request: &[u8]) -> Result<(Vec<Item<'_>>, bool), DecodeError> {
    match items(request) {
        Some(read) => Ok(read),
        None => pb::PostBatchRequest::decode(request).map(|request| (boxed(request.items), request.atomic)),
    }
}

/// The commands of a `PostStreamRequest`.
///
/// # Errors
/// Where the bytes are no such message.
pub(super) fn of_stream(request: &[u8]) -> Result<Vec<Item<'_>>, DecodeError> {
    match items(request) {
        Some((items, _)) => Ok(items),
        None => pb::PostStreamRequest::decode(request).map(|request| boxed(request.items)),
    }
}

fn boxed<'b>(commands: Vec<pb::Command>) -> Vec<Item<'b>> {
    commands.into_iter().map(Item::from).collect()
}

/// The commands that are field 1 of a request, and what its field 2 says. `None` where it has other fields, or odd ones.
fn items(request: &[u8]) -> Option<(Vec<Item<'_>>, bool)> {
    let (mut items, mut atomic) = (Vec::with_capacity((request.len() / ITEM_BYTES).min(COMMANDS_PER_BATCH_MAX)), false);
    let mut reader = Reader(request);
    while !reader.is_done() {
        match reader.byte()? {
            0x0a => items.push(Item::read(reader.bytes()?)?),
            0x10 => atomic = reader.varint()? != 0,
            _ => return None,
        }
    }
    Some((items, atomic))
}

/// Reads an earn without metadata. `None` where it is none, or its fields do not stand in the order of their numbers, each
/// once, as every known encoder writes them.
fn plain(command: &[u8]) -> Option<(Said<'_>, Earn<'_>)> {
    let (mut said, mut earn) = (Said::default(), None);
    let (mut reader, mut last) = (Reader(command), 0);
    while !reader.is_done() {
        let tag = reader.byte()?;
        if mem::replace(&mut last, tag) >= tag {
            return None;
        }
        match tag {
            0x0a => said.program = reader.text()?,
            0x12 => said.key = reader.text()?,
            0x1a => said.member = reader.text()?,
            0x20 => said.occurred_at_us = Some(reader.varint()?.cast_signed()),
            0x2a => said.reference = reader.text()?,
            0x32 => said.channel = reader.text()?,
            0x3a => said.partner = reader.text()?,
            0x42 => said.location = reader.text()?,
            0x52 => said.currency = reader.text()?,
            // Field 16, whose tag has a second byte.
            0x82 if reader.byte()? == 1 => earn = Some(plain_earn(reader.bytes()?)?),
            _ => return None,
        }
    }
    Some((said, earn?))
}

fn plain_earn(earn: &[u8]) -> Option<Earn<'_>> {
    use pb::earn::{Basis, Pending};
    let mut said = Earn::default();
    let (mut reader, mut last) = (Reader(earn), 0);
    while !reader.is_done() {
        let tag = reader.byte()?;
        if mem::replace(&mut last, tag) >= tag {
            return None;
        }
        match tag {
            0x08 => said.basis = Some(Basis::AmountMinor(reader.varint()?.cast_signed())),
            0x10 if said.basis.is_none() => said.basis = Some(Basis::Points(reader.varint()?.cast_signed())),
            0x1a => said.event_kind = reader.text()?,
            0x22 => said.asset = reader.text()?,
            0x28 => said.pending = Some(Pending::PendingUntilUs(reader.varint()?.cast_signed())),
            0x30 if said.pending.is_none() => said.pending = Some(Pending::UntilActivated(reader.varint()? != 0)),
            _ => return None,
        }
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::names::{Names, ProgramNames};
    use crate::ledger::print::Prints;
    use crate::server::convert::Converter;

    /// Texts that are sound, empty, or too long for some field.
    fn text() -> impl Strategy<Value = String> {
        let of = |text: &str| Just(text.to_owned()).boxed();
        prop_oneof![4 => of("club"), 1 => of(""), 2 => of("points"), 1 => of("naïve"), 1 => of(&"x".repeat(65)), 1 => of(&"y".repeat(200))]
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            (any::<i64>(), 0_u32..64).prop_map(|(bits, narrower)| bits >> narrower),
            Just(1_800_000_000_000_000)
        ]
    }

    fn earn() -> impl Strategy<Value = pb::Earn> {
        use pb::earn::{Basis, Pending};
        let basis = prop_oneof![
            Just(None),
            number().prop_map(|n| Some(Basis::AmountMinor(n))),
            number().prop_map(|n| Some(Basis::Points(n)))
        ];
        let pending = prop_oneof![
            4 => Just(None),
            1 => number().prop_map(|us| Some(Pending::PendingUntilUs(us))),
            1 => any::<bool>().prop_map(|waits| Some(Pending::UntilActivated(waits))),
        ];
        (basis, text(), text(), pending).prop_map(|(basis, event_kind, asset, pending)| pb::Earn {
            basis,
            event_kind,
            asset,
            pending,
        })
    }

    fn command() -> impl Strategy<Value = pb::Command> {
        use pb::command::Action;
        let action = prop_oneof![
            8 => earn().prop_map(|earn| Some(Action::Earn(earn))),
            1 => number().prop_map(|points| Some(Action::Redeem(pb::Redeem { points, purpose: 2, ..Default::default() }))),
            1 => Just(Some(Action::Checkout(pb::Checkout { parts: vec![pb::CheckoutPart::default(); 3] }))),
            1 => Just(None),
        ];
        let currency = prop_oneof![4 => Just(String::new()), 1 => Just("EUR".to_owned()), 1 => Just("eur".to_owned())];
        let metadata =
            prop_oneof![4 => Just(BTreeMap::new()), 1 => Just(BTreeMap::from([("a".to_owned(), "b".to_owned())]))];
        let texts = (text(), text(), text(), text(), text(), text(), text());
        (texts, prop::option::of(number()), currency, metadata, action).prop_map(
            |(
                (program, key, member, reference, channel, partner, location),
                occurred_at_us,
                currency,
                metadata,
                action,
            )| {
                pb::Command {
                    program,
                    key,
                    member,
                    occurred_at_us,
                    reference,
                    channel,
                    partner,
                    location,
                    metadata,
                    currency,
                    action,
                }
            },
        )
    }

    /// A change to bytes: cut, or with one of them another.
    fn change(bytes: &mut Vec<u8>, (kind, at, byte): (u8, usize, u8)) {
        let at = at % bytes.len().max(1);
        match (kind, bytes.get_mut(at)) {
            (0, Some(place)) => *place = byte,
            (1, Some(place)) => *place ^= 1 << (byte % 8),
            (2, _) => bytes.truncate(at),
            (3, Some(_)) => bytes.insert(at, byte),
            (4, Some(_)) => bytes.extend_from_within(at..),
            _ => {}
        }
    }

    /// The command as a message.
    fn message(item: Item<'_>) -> pb::Command {
        match item {
            Item::Other(command) => *command,
            Item::Earn(said, earn) => pb::Command {
                program: said.program.into(),
                key: said.key.into(),
                member: said.member.into(),
                occurred_at_us: said.occurred_at_us,
                reference: said.reference.into(),
                channel: said.channel.into(),
                partner: said.partner.into(),
                location: said.location.into(),
                metadata: BTreeMap::new(),
                currency: said.currency.into(),
                action: Some(pb::command::Action::Earn(pb::Earn {
                    basis: earn.basis,
                    event_kind: earn.event_kind.into(),
                    asset: earn.asset.into(),
                    pending: earn.pending,
                })),
            },
        }
    }

    fn converter(prints: &Prints) -> Converter<'_> {
        let assets = vec!["points".to_owned()];
        let (campaigns, campaign_assets, rewards, closings) = <_>::default();
        let club = ProgramNames { id: "club".into(), campaigns, campaign_assets, assets, rewards, closings };
        Converter::new(Arc::new(Names::from_programs(vec![club])), prints)
    }

    proptest! {
        #[test]
        fn a_command_read_where_it_lies_is_the_message_and_its_faults_are_the_same(sent in command()) {
            let bytes = sent.encode_to_vec();
            let item = Item::read(&bytes).unwrap();
            let plain = matches!(sent.action, Some(pb::command::Action::Earn(_))) && sent.metadata.is_empty();
            prop_assert_eq!(matches!(item, Item::Earn(..)), plain);
            let prints = Prints::new([7; 32]);
            prop_assert_eq!(converter(&prints).convert(item), converter(&prints).convert(sent.clone().into()));
            prop_assert_eq!(message(Item::read(&bytes).unwrap()), sent);
        }

        #[test]
        fn a_request_of_any_bytes_is_read_as_the_message_is_or_refused_with_its_words(
            items in prop::collection::vec(command(), 0..4), atomic in any::<bool>(),
            changes in prop::collection::vec((0_u8..5, any::<usize>(), any::<u8>()), 0..3),
        ) {
            let mut bytes = pb::PostBatchRequest { items, atomic }.encode_to_vec();
            changes.into_iter().for_each(|of| change(&mut bytes, of));
            let read = of_batch(&bytes).map(|(items, atomic)| {
                pb::PostBatchRequest { items: items.into_iter().map(message).collect(), atomic }
            });
            prop_assert_eq!(read, pb::PostBatchRequest::decode(&*bytes));
            let read = of_stream(&bytes).map(|items| items.into_iter().map(message).collect::<Vec<_>>());
            prop_assert_eq!(read, pb::PostStreamRequest::decode(&*bytes).map(|request| request.items));
            let read = of_post(&bytes).map(|item| item.map(message));
            prop_assert_eq!(read, pb::PostRequest::decode(&*bytes).map(|request| request.command));
        }
    }
}
