//! Commands on the wire: any that a caller may send, and any bytes that may come instead.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::engine::names::{Names, ProgramNames};
use crate::ledger::print::Prints;
use crate::server::convert::Converter;
use crate::server::shape::Fault;
use crate::server::wire::{Field, Fields};

/// Texts that are sound, empty, or too long for some field.
fn text() -> impl Strategy<Value = String> {
    let of = |text: &str| Just(text.to_owned()).boxed();
    prop_oneof![4 => of("club"), 1 => of(""), 2 => of("points"), 1 => of("naïve"), 1 => of(&"x".repeat(65)), 1 => of(&"y".repeat(200))]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![(any::<i64>(), 0_u32..64).prop_map(|(bits, narrower)| bits >> narrower), Just(1_800_000_000_000_000)]
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

pub(in crate::server) fn command() -> impl Strategy<Value = pb::Command> {
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

/// A field that no message of the contract has, of each kind, or such a one that is unsound.
pub(in crate::server) fn unknown() -> impl Strategy<Value = Vec<u8>> {
    let of = |bytes: &[u8]| Just([&[0xa0 | bytes[0], 0x06], &bytes[1..]].concat()).boxed();
    // Field 100, of the kind that its first byte says.
    prop_oneof![
        of(&[0, 0x80, 1]),
        of(&[1, 1, 2, 3, 4, 5, 6, 7, 8]),
        of(&[2, 2, 0x0a, 0]),
        of(&[5, 1, 2, 3, 4]),
        of(&[3, 0x0a, 1, b'a', 0x0d, 1, 2, 3, 4, 0x0b, 0x10, 0, 0x0c, 0xa4, 0x06]),
        of(&[3, 0x08, 0, 0x0c]),
        of(&[4]),
    ]
}

/// A change to bytes: cut, or with one of them another.
pub(in crate::server) fn change(bytes: &mut Vec<u8>, (kind, at, byte): (u8, usize, u8)) {
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
pub(in crate::server) fn message(item: Item<'_>) -> pb::Command {
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

pub(in crate::server) fn converter(prints: &Prints) -> Converter<'_> {
    let assets = vec!["points".to_owned()];
    let (campaigns, campaign_assets, rewards, closings) = <_>::default();
    let club = ProgramNames { id: "club".into(), campaigns, campaign_assets, assets, rewards, closings };
    Converter::new(Arc::new(Names::from_programs(vec![club])), prints)
}

/// The field of a command that is a map.
const METADATA: u32 = 9;

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
    fn a_command_decoded_field_by_field_is_the_message_but_for_what_is_refused(
        sent in command(), others in prop::collection::vec(unknown(), 0..3),
        changes in prop::collection::vec((0_u8..5, any::<usize>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = [sent.encode_to_vec(), others.concat()].concat();
        changes.into_iter().for_each(|of| change(&mut bytes, of));
        // `prost` takes an entry of a map for one whatever kind its tag says it is of; read field by field, it is refused.
        let odd = |field: Field<'_>| field.number == METADATA && field.content.is_none();
        prop_assume!(!Fields(&bytes).any(odd));
        let read = Item::merged([&*bytes].into_iter()).map(message).ok();
        let mut decoded = pb::Command::decode(&*bytes).ok();
        decoded.iter_mut().for_each(trim);
        prop_assert_eq!(read, decoded);
    }
}

/// A command of a million bytes that are the same fields of its action again and again, and what is wrong with it.
fn endless(action: u32, field: &[u8]) -> (Item<'static>, Fault) {
    let earn = pb::Earn { basis: Some(pb::earn::Basis::Points(1)), ..Default::default() };
    let (program, key, member) = ("club".into(), "k".into(), "m".into());
    let said =
        pb::Command { program, key, member, action: Some(pb::command::Action::Earn(earn)), ..Default::default() };
    let mut bytes = said.encode_to_vec();
    let content = field.repeat(1_000_000 / field.len());
    if action > 0 {
        Writer(&mut bytes).head(action, content.len());
    }
    let bytes = [bytes, content].concat();
    let read = || Item::Other(Box::new(message(Item::read(&bytes).unwrap())));
    let prints = Prints::new([7; 32]);
    (read(), converter(&prints).convert(read()).unwrap_err())
}

#[test]
fn what_is_repeated_without_end_is_refused_and_never_lies_in_memory_whole() {
    use pb::command::Action;
    let (item, fault) = endless(CHECKOUT, &[0x0a, 0]);
    let Some(Action::Checkout(checkout)) = message(item).action else { panic!("is a checkout") };
    assert!(checkout.parts.capacity() <= 4 * CHECKOUT_PARTS_MAX, "{}", checkout.parts.capacity());
    assert_eq!((fault.field.as_str(), fault.key.as_str()), ("checkout.parts", "k"));
    assert_eq!(fault.reason, pb::Reason::FieldOutOfRange);
    for (tag, name) in [(0x12, "add_tags"), (0x1a, "remove_tags")] {
        let (item, fault) = endless(MEMBER_SET, &[tag, 0]);
        let Some(Action::MemberSet(set)) = message(item).action else { panic!("is a member_set") };
        let capacity = set.add_tags.capacity().max(set.remove_tags.capacity());
        assert!(capacity <= 4 * TAGS_PER_MEMBER_MAX, "{capacity}");
        assert_eq!(fault.field, format!("member_set.{name}"));
        assert_eq!(fault.reason, pb::Reason::FieldOutOfRange);
    }
    let pairs = (0..=255).flat_map(|n| [0x4a, 4, 0x0a, 2, b'a' + n / 16, b'a' + n % 16]).collect::<Vec<u8>>();
    let (item, fault) = endless(0, &pairs);
    assert_eq!(message(item).metadata.len(), METADATA_PAIRS_MAX + 1);
    assert_eq!((fault.field.as_str(), fault.reason), ("metadata", pb::Reason::TooManyItems));
}
