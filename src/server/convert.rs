//! From the contract's command to the ledger's: every check of shape, every hash, no string copied.

use std::mem;
use std::sync::Arc;

use super::action::Within;
use super::body_hash::body_hash;
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
    pub fn convert(&mut self, mut sent: pb::Command) -> Result<Command, Fault> {
        let key = mem::take(&mut sent.key);
        match self.body(sent, &key) {
            Ok(mut command) => {
                command.key = key;
                Ok(command)
            }
            Err(fault) => Err(fault.of(key)),
        }
    }

    /// All of the command but its key.
    fn body(&mut self, sent: pb::Command, key: &str) -> Result<Command, Fault> {
        // The body is hashed as sent, before anything is taken out of it.
        let body_hash = body_hash(&sent, &mut self.scratch);
        let program = self.program(&sent.program)?;
        shape::key(key)?;
        shape::needed("member", &sent.member, MEMBER_ID_BYTES_MAX)?;
        sent.occurred_at_us.map_or(Ok(()), |us| shape::calendar("occurred_at_us", us))?;
        let key_print = self.prints.key(&sent.program, key);
        let member_hash = self.prints.member(&sent.program, &sent.member);
        let within = Within {
            names: &self.names,
            prints: self.prints,
            program,
            program_id: &sent.program,
            member_id: &sent.member,
        };
        let (action, parts) = match sent.action {
            Some(pb::command::Action::Checkout(checkout)) => {
                (Action::Checkout { parts: Vec::new() }, within.parts(checkout)?)
            }
            action => (within.action(action)?, Vec::new()),
        };
        let mut command = Command {
            program,
            key: String::new(),
            key_print,
            body_hash,
            member_hash,
            member: sent.member,
            occurred_at_us: sent.occurred_at_us,
            currency: currency(sent.currency)?,
            action,
            notes: notes(sent.reference, sent.channel, sent.partner, sent.location, sent.metadata)?,
        };
        if !parts.is_empty() {
            // A part has all that the command says, but no key of its own.
            let part = |action| Command { action, key_print: 0, body_hash: [0; 16], ..command.clone() };
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

fn currency(code: String) -> Result<Option<String>, Fault> {
    match code.as_bytes() {
        [] => Ok(None),
        [a, b, c] if [a, b, c].iter().all(|letter| letter.is_ascii_uppercase()) => Ok(Some(code)),
        _ => Err(Fault::malformed("currency", "is three capital letters, as in ISO 4217")),
    }
}

fn notes(
    reference: String,
    channel: String,
    partner: String,
    location: String,
    metadata: std::collections::BTreeMap<String, String>,
) -> Result<Option<Box<Notes>>, Fault> {
    shape::text("reference", &reference, REFERENCE_BYTES_MAX)?;
    shape::text("channel", &channel, PLACE_BYTES_MAX)?;
    shape::text("partner", &partner, PLACE_BYTES_MAX)?;
    shape::text("location", &location, PLACE_BYTES_MAX)?;
    if metadata.len() > METADATA_PAIRS_MAX {
        let message = format!("metadata has {} pairs; at most {METADATA_PAIRS_MAX} are taken", metadata.len());
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
    let texts = [&reference, &channel, &partner, &location];
    if metadata.is_empty() && texts.iter().all(|text| text.is_empty()) {
        return Ok(None);
    }
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
        Converter::new(names(&["a", "b", "c", &id]), &prints).convert(sent)
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
        assert_eq!(command.currency.as_deref(), Some("GBP"));
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
            numbers.push(converter.convert(sent).ok().map(|command| command.program.0));
        }
        assert_eq!(numbers, [Some(0), Some(1), Some(1), Some(0), None, Some(0)]);
    }
}
