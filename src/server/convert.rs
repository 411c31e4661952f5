//! From the contract's command to the ledger's: every check of shape, every hash.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use smol_str::SmolStr;

use super::action::Within;
use super::body_hash::{body_hash, earn_hash};
use super::item::{Earn, Item, Said};
use super::shape::{self, Fault};
use crate::constants::{
    MEMBER_ID_BYTES_MAX, METADATA_BYTES_MAX, METADATA_PAIRS_MAX, PLACE_BYTES_MAX, PROGRAM_ID_BYTES_MAX,
    REFERENCE_BYTES_MAX,
};
use crate::engine::names::Names;
use crate::ledger::command::{Action, Command, Notes};
use crate::ledger::ids::ProgramNo;
use crate::ledger::print::Prints;
use crate::proto as pb;

/// Converts the commands of one request. It remembers the last program, for the commands of a request mostly share one.
pub struct Converter<'a> {
    names: Arc<Names>,
    prints: &'a Prints,
    scratch: Vec<u8>,
    last: Option<(String, ProgramNo)>,
}

/// What a command asks to be done.
enum Sent<'b> {
    /// An earn, where it lies.
    Earn(&'b Earn<'b>),
    /// Any action.
    Other(Option<pb::command::Action>),
}

impl<'a> Converter<'a> {
    /// A converter for programs and assets of those `names`.
    #[must_use]
    pub fn new(names: Arc<Names>, prints: &'a Prints) -> Self {
        Self { names, prints, scratch: Vec::with_capacity(256), last: None }
    }

    /// The ledger's command.
    ///
    /// # Errors
    /// The first fault of its shape, with a path that begins in the command.
    pub fn convert(&mut self, item: Item<'_>) -> Result<Command, Fault> {
        match item {
            Item::Earn(said, earn) => {
                let body_hash = earn_hash(&said, &earn, &mut self.scratch);
                let command = self.command(&said, body_hash, BTreeMap::new(), Sent::Earn(&earn));
                command.map_err(|fault| fault.of(said.key.to_owned()))
            }
            Item::Other(mut sent) => {
                // The body is hashed as sent, before anything is taken out of it.
                let body_hash = body_hash(&sent, &mut self.scratch);
                let (metadata, action) = (mem::take(&mut sent.metadata), sent.action.take());
                let command = self.command(&Said::from(&*sent), body_hash, metadata, Sent::Other(action));
                command.map_err(|fault| fault.of(sent.key))
            }
        }
    }

    fn command(
        &mut self,
        said: &Said<'_>,
        body_hash: [u8; 16],
        metadata: BTreeMap<String, String>,
        sent: Sent<'_>,
    ) -> Result<Command, Fault> {
        let program = self.program(said.program)?;
        shape::key(said.key)?;
        shape::needed("member", said.member, MEMBER_ID_BYTES_MAX)?;
        said.occurred_at_us.map_or(Ok(()), |us| shape::calendar("occurred_at_us", us))?;
        let key_print = self.prints.key(said.program, said.key);
        let member_hash = self.prints.member(said.program, said.member);
        let within = Within {
            names: &self.names,
            prints: self.prints,
            program,
            program_id: said.program,
            member_id: said.member,
        };
        let (action, parts) = match sent {
            Sent::Earn(earn) => (within.earn(earn)?, Vec::new()),
            Sent::Other(Some(pb::command::Action::Checkout(checkout))) => {
                (Action::Checkout { parts: Vec::new() }, within.parts(checkout)?)
            }
            Sent::Other(action) => (within.action(action)?, Vec::new()),
        };
        let mut command = Command {
            program,
            key: said.key.into(),
            key_print,
            body_hash,
            member_hash,
            member: said.member.into(),
            occurred_at_us: said.occurred_at_us,
            currency: currency(said.currency)?,
            action,
            notes: notes(said, metadata)?,
        };
        if !parts.is_empty() {
            // A part has all that the command says, but no key of its own.
            let part = |action| Command {
                action,
                key: SmolStr::default(),
                key_print: 0,
                body_hash: [0; 16],
                ..command.clone()
            };
            command.action = Action::Checkout { parts: parts.into_iter().map(part).collect() };
        }
        Ok(command)
    }

    fn program(&mut self, id: &str) -> Result<ProgramNo, Fault> {
        if let Some((last, number)) = &self.last
            && last == id
        {
            return Ok(*number);
        }
        shape::needed("program", id, PROGRAM_ID_BYTES_MAX)?;
        let number = self.names.program_number(id).ok_or_else(|| Fault::program_unknown("program"))?;
        self.last = Some((id.to_owned(), number));
        Ok(number)
    }
}

fn currency(code: &str) -> Result<Option<[u8; 3]>, Fault> {
    match code.as_bytes() {
        [] => Ok(None),
        &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Some([a, b, c])),
        _ => Err(Fault::malformed("currency", "is three capital letters, as in ISO 4217")),
    }
}

fn notes(said: &Said<'_>, metadata: BTreeMap<String, String>) -> Result<Option<Box<Notes>>, Fault> {
    let Said { reference, channel, partner, location, .. } = *said;
    let texts = [reference, channel, partner, location];
    if metadata.is_empty() && texts.iter().all(|text| text.is_empty()) {
        return Ok(None);
    }
    shape::text("reference", reference, REFERENCE_BYTES_MAX)?;
    shape::text("channel", channel, PLACE_BYTES_MAX)?;
    shape::text("partner", partner, PLACE_BYTES_MAX)?;
    shape::text("location", location, PLACE_BYTES_MAX)?;
    if metadata.len() > METADATA_PAIRS_MAX {
        // Of a large command not all are read, see `item`.
        let message = format!("metadata has more than {METADATA_PAIRS_MAX} pairs");
        return Err(Fault::new("metadata", pb::Reason::TooManyItems, message));
    }
    if metadata.contains_key("") {
        return Err(Fault::malformed("metadata", "has an empty name"));
    }
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        let message = format!("metadata has {bytes} bytes; at most {METADATA_BYTES_MAX} are taken");
        return Err(Fault::new("metadata", pb::Reason::FieldTooLong, message));
    }
    let [reference, channel, partner, location] = texts.map(str::to_owned);
    let metadata = metadata.into_iter().collect();
    Ok(Some(Box::new(Notes { reference, channel, partner, location, metadata })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::constants::{AMOUNT_MINOR_MAX, EVENT_KIND_BYTES_MAX, KEY_BYTES_MAX, OCCURRED_US_MAX};
    use crate::engine::names::ProgramNames;

    /// Programs of those ids, with `points` alone.
    fn names(ids: &[&str]) -> Arc<Names> {
        let named = |id: &&str| ProgramNames {
            id: (*id).to_owned(),
            campaigns: Vec::new(),
            campaign_assets: Vec::new(),
            assets: vec!["points".to_owned()],
            rewards: Vec::new(),
            closings: Vec::new(),
        };
        Arc::new(Names::from_programs(ids.iter().map(named).collect()))
    }

    fn convert(sent: pb::Command) -> Result<Command, Fault> {
        let prints = Prints::new([7; 32]);
        let id = "p".repeat(PROGRAM_ID_BYTES_MAX);
        Converter::new(names(&["a", "b", "c", &id]), &prints).convert(sent.into())
    }

    fn with(action: pb::command::Action) -> pb::Command {
        pb::Command {
            program: "p".repeat(PROGRAM_ID_BYTES_MAX),
            key: "key".into(),
            member: "member".into(),
            action: Some(action),
            ..pb::Command::default()
        }
    }

    fn spend(amount_minor: i64, event_kind: &str) -> pb::Command {
        let basis = Some(pb::earn::Basis::AmountMinor(amount_minor));
        with(pb::command::Action::Earn(pb::Earn { basis, event_kind: event_kind.into(), ..Default::default() }))
    }

    #[test]
    fn every_field_is_taken_at_its_limit() {
        let metadata = (0..8).map(|n| (n.to_string(), "v".repeat(63))).collect();
        let sent = pb::Command {
            key: "k".repeat(KEY_BYTES_MAX),
            member: "m".repeat(MEMBER_ID_BYTES_MAX),
            occurred_at_us: Some(OCCURRED_US_MAX),
            reference: "r".repeat(REFERENCE_BYTES_MAX),
            channel: "c".repeat(PLACE_BYTES_MAX),
            partner: "p".repeat(PLACE_BYTES_MAX),
            location: "l".repeat(PLACE_BYTES_MAX),
            currency: "GBP".into(),
            metadata,
            ..spend(AMOUNT_MINOR_MAX, &"e".repeat(EVENT_KIND_BYTES_MAX))
        };
        let command = convert(sent).unwrap();
        assert_eq!((command.program, command.key.len()), (ProgramNo(3), KEY_BYTES_MAX));
        let notes = command.notes.unwrap();
        assert_eq!((notes.reference.len(), notes.metadata.len()), (REFERENCE_BYTES_MAX, METADATA_PAIRS_MAX));
        assert_eq!(command.currency, Some(*b"GBP"));
    }

    #[test]
    fn what_was_not_sent_is_absent() {
        let command = convert(spend(1, "purchase")).unwrap();
        assert_eq!((command.notes, command.currency, command.occurred_at_us), (None, None, None));
    }

    #[test]
    fn the_key_is_not_part_of_the_body_but_has_a_print_of_its_own() {
        let (a, b) = (spend(1, "purchase"), pb::Command { key: "other".into(), ..spend(1, "purchase") });
        let (a, b) = (convert(a).unwrap(), convert(b).unwrap());
        assert_eq!((a.body_hash, a.member_hash), (b.body_hash, b.member_hash));
        assert_ne!(a.key_print, b.key_print);
        assert_ne!(a.body_hash, convert(spend(2, "purchase")).unwrap().body_hash);
    }

    #[test]
    fn a_fault_carries_the_key() {
        let fault = convert(spend(0, "purchase")).unwrap_err();
        assert_eq!((fault.field.as_str(), fault.key.as_str()), ("earn.amount_minor", "key"));
    }

    #[test]
    fn programs_are_told_apart_within_one_request() {
        let prints = Prints::new([7; 32]);
        let mut converter = Converter::new(names(&["a", "b"]), &prints);
        let mut numbers = Vec::new();
        for program in ["a", "b", "b", "a", "c", "a"] {
            let sent = pb::Command { program: program.into(), ..spend(1, "purchase") };
            numbers.push(converter.convert(sent.into()).ok().map(|command| command.program.0));
        }
        assert_eq!(numbers, [Some(0), Some(1), Some(1), Some(0), None, Some(0)]);
    }
}
