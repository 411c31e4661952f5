//! From the contract's command to the ledger's: every check of shape, every hash, no string copied.

use std::mem;

use super::body_hash::body_hash;
use super::shape::{self, Fault};
use crate::constants::{
    AMOUNT_MINOR_MAX, EVENT_KIND_BYTES_MAX, KEY_BYTES_MAX, MEMBER_ID_BYTES_MAX, METADATA_BYTES_MAX, METADATA_PAIRS_MAX,
    OCCURRED_US_MAX, OCCURRED_US_MIN, PLACE_BYTES_MAX, PROGRAM_ID_BYTES_MAX, REFERENCE_BYTES_MAX,
};
use crate::ledger::command::{Action, Basis, Command, Notes, Original, Purpose};
use crate::ledger::ids::{Op, ProgramNo};
use crate::ledger::print::Prints;
use crate::proto as pb;

/// Converts the commands of one request. It remembers the last program, for the commands of a request mostly share one.
pub struct Converter<'a, F> {
    programs: F,
    prints: &'a Prints,
    scratch: Vec<u8>,
    last: Option<(String, ProgramNo)>,
}

impl<'a, F: Fn(&str) -> Option<ProgramNo>> Converter<'a, F> {
    /// A converter that asks `programs` for the number behind a program's id.
    pub fn new(programs: F, prints: &'a Prints) -> Self {
        Self { programs, prints, scratch: Vec::with_capacity(256), last: None }
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
        if sent.occurred_at_us.is_some_and(|us| !(OCCURRED_US_MIN..=OCCURRED_US_MAX).contains(&us)) {
            return Err(Fault::out_of_range("occurred_at_us", "is outside the calendar"));
        }
        let key_print = self.prints.key(&sent.program, key);
        let member_hash = self.prints.member(&sent.program, &sent.member);
        Ok(Command {
            program,
            key: String::new(),
            key_print,
            body_hash,
            member_hash,
            member: sent.member,
            occurred_at_us: sent.occurred_at_us,
            currency: currency(sent.currency)?,
            action: self.action(&sent.program, sent.action)?,
            notes: notes(sent.reference, sent.channel, sent.partner, sent.location, sent.metadata)?,
        })
    }

    fn program(&mut self, id: &str) -> Result<ProgramNo, Fault> {
        if let Some((last, number)) = &self.last
            && last == id
        {
            return Ok(*number);
        }
        shape::needed("program", id, PROGRAM_ID_BYTES_MAX)?;
        let number = (self.programs)(id).ok_or_else(|| Fault::program_unknown("program"))?;
        self.last = Some((id.to_owned(), number));
        Ok(number)
    }

    fn action(&self, program: &str, action: Option<pb::command::Action>) -> Result<Action, Fault> {
        match action {
            Some(pb::command::Action::Earn(earn)) => earned(earn),
            Some(pb::command::Action::Refund(refund)) => self.refunded(program, refund),
            Some(pb::command::Action::Redeem(redeem)) => Ok(Action::Redeem {
                points: shape::points("redeem.points", redeem.points)?,
                purpose: purpose(redeem.purpose)?,
            }),
            Some(pb::command::Action::Adjust(adjust)) => adjusted(adjust),
            Some(pb::command::Action::Opening(opening)) => opened(opening),
            None => Err(Fault::missing("action")),
        }
    }

    fn refunded(&self, program: &str, refund: pb::Refund) -> Result<Action, Fault> {
        use pb::refund::{Amount, Original as Named};
        let original = match refund.original {
            None => Original::None,
            Some(Named::OriginalOp(0)) => {
                return Err(Fault::out_of_range("refund.original_op", "must be at least 1"));
            }
            Some(Named::OriginalOp(op)) => Original::Op(Op(op)),
            Some(Named::OriginalKey(key)) => {
                shape::needed("refund.original_key", &key, KEY_BYTES_MAX)?;
                Original::Key(self.prints.key(program, &key))
            }
            Some(Named::OriginalReference(reference)) => {
                shape::needed("refund.original_reference", &reference, REFERENCE_BYTES_MAX)?;
                Original::Reference(reference)
            }
        };
        let basis = match refund.amount {
            Some(Amount::AmountMinor(minor)) => {
                Basis::Spend(shape::amount("refund.amount_minor", minor, AMOUNT_MINOR_MAX)?)
            }
            Some(Amount::Points(points)) => Basis::Points(shape::points("refund.points", points)?),
            None => return Err(Fault::missing("refund.amount_minor")),
        };
        let event_kind = event_kind("refund.event_kind", refund.event_kind)?;
        match (&original, basis, &event_kind) {
            (Original::None, Basis::Spend(_), None) => Err(Fault::missing("refund.event_kind")),
            (Original::None, _, _) | (_, _, None) => Ok(Action::Refund { original, basis, event_kind }),
            (_, _, Some(_)) => Err(Fault::malformed("refund.event_kind", "must be empty where an original is named")),
        }
    }
}

fn earned(earn: pb::Earn) -> Result<Action, Fault> {
    let basis = match earn.basis {
        Some(pb::earn::Basis::AmountMinor(minor)) => {
            Basis::Spend(shape::amount("earn.amount_minor", minor, AMOUNT_MINOR_MAX)?)
        }
        Some(pb::earn::Basis::Points(points)) => Basis::Points(shape::points("earn.points", points)?),
        None => return Err(Fault::missing("earn.amount_minor")),
    };
    let event_kind = event_kind("earn.event_kind", earn.event_kind)?;
    match (basis, &event_kind) {
        (Basis::Spend(_), None) => Err(Fault::missing("earn.event_kind")),
        _ => Ok(Action::Earn { basis, event_kind }),
    }
}

fn adjusted(adjust: pb::Adjust) -> Result<Action, Fault> {
    shape::signed_points("adjust.points", adjust.points)?;
    shape::act("adjust.", &adjust.actor, &adjust.reason)?;
    Ok(Action::Adjust { points: adjust.points, actor: adjust.actor, reason: adjust.reason })
}

fn opened(opening: pb::Opening) -> Result<Action, Fault> {
    shape::signed_points("opening.points", opening.points)?;
    shape::act("opening.", &opening.actor, &opening.reason)?;
    Ok(Action::Opening { points: opening.points, actor: opening.actor, reason: opening.reason })
}

fn event_kind(field: &str, kind: String) -> Result<Option<String>, Fault> {
    shape::text(field, &kind, EVENT_KIND_BYTES_MAX)?;
    Ok(Some(kind).filter(|kind| !kind.is_empty()))
}

fn purpose(number: i32) -> Result<Purpose, Fault> {
    match pb::Purpose::try_from(number) {
        Ok(pb::Purpose::CashOffset) => Ok(Purpose::CashOffset),
        Ok(pb::Purpose::Gift) => Ok(Purpose::Gift),
        Ok(pb::Purpose::Coupon) => Ok(Purpose::Coupon),
        Ok(pb::Purpose::Lottery) => Ok(Purpose::Lottery),
        Ok(pb::Purpose::Charity) => Ok(Purpose::Charity),
        Ok(pb::Purpose::Miles) => Ok(Purpose::Miles),
        Ok(pb::Purpose::Unspecified) => Err(Fault::missing("redeem.purpose")),
        Err(_) => Err(Fault::malformed("redeem.purpose", "is not a purpose known here")),
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
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn convert(sent: pb::Command) -> Result<Command, Fault> {
        let prints = Prints::new([7; 32]);
        let programs = |id: &str| (id.len() == PROGRAM_ID_BYTES_MAX).then_some(ProgramNo(3));
        Converter::new(programs, &prints).convert(sent)
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
        with(pb::command::Action::Earn(pb::Earn { basis, event_kind: event_kind.into() }))
    }

    fn refund(
        original: Option<pb::refund::Original>,
        amount: Option<pb::refund::Amount>,
        kind: &str,
    ) -> Result<Action, Fault> {
        let refund = pb::Refund { original, amount, event_kind: kind.into() };
        convert(with(pb::command::Action::Refund(refund))).map(|command| command.action)
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
    fn spend_needs_an_event_kind_and_points_do_not() {
        assert_eq!(convert(spend(1, "")).unwrap_err().field, "earn.event_kind");
        let basis = Some(pb::earn::Basis::Points(5));
        let earn = with(pb::command::Action::Earn(pb::Earn { basis, event_kind: String::new() }));
        assert_eq!(convert(earn).unwrap().action, Action::Earn { basis: Basis::Points(5), event_kind: None });
    }

    #[test]
    fn a_refund_names_its_original_or_the_kind_whose_rate_counts() {
        use pb::refund::{Amount, Original as Named};
        let minor = || Some(Amount::AmountMinor(5));
        let by_op = refund(Some(Named::OriginalOp(9)), minor(), "").unwrap();
        assert_eq!(by_op, Action::Refund { original: Original::Op(Op(9)), basis: Basis::Spend(5), event_kind: None });
        let by_key = refund(Some(Named::OriginalKey("k".into())), Some(Amount::Points(5)), "").unwrap();
        let Action::Refund { original: Original::Key(print), .. } = by_key else { panic!("{by_key:?}") };
        assert_eq!(print, Prints::new([7; 32]).key(&"p".repeat(PROGRAM_ID_BYTES_MAX), "k"));
        for (original, amount, kind, field) in [
            (None, minor(), "", "refund.event_kind"),
            (Some(Named::OriginalOp(9)), minor(), "purchase", "refund.event_kind"),
            (Some(Named::OriginalOp(0)), minor(), "", "refund.original_op"),
            (Some(Named::OriginalReference(String::new())), minor(), "", "refund.original_reference"),
            (Some(Named::OriginalOp(9)), None, "", "refund.amount_minor"),
            (Some(Named::OriginalOp(9)), Some(Amount::Points(0)), "", "refund.points"),
        ] {
            assert_eq!(refund(original, amount, kind).unwrap_err().field, field);
        }
        assert!(refund(None, minor(), "purchase").is_ok());
        assert!(refund(None, Some(Amount::Points(5)), "").is_ok());
    }

    #[test]
    fn an_opening_is_of_some_points_either_way_with_who_and_why() {
        use crate::constants::POINTS_MAX;
        let opening = |points, actor: &str, reason: &str| {
            let opening = pb::Opening { points, actor: actor.into(), reason: reason.into() };
            convert(with(pb::command::Action::Opening(opening)))
        };
        for points in [1, -1, POINTS_MAX, -POINTS_MAX] {
            let action = opening(points, "ana", "moved in").unwrap().action;
            assert_eq!(action, Action::Opening { points, actor: "ana".into(), reason: "moved in".into() });
        }
        for (points, actor, reason, field) in [
            (0, "ana", "moved in", "opening.points"),
            (POINTS_MAX + 1, "ana", "moved in", "opening.points"),
            (i64::MIN, "ana", "moved in", "opening.points"),
            (1, "", "moved in", "opening.actor"),
            (1, "ana", "", "opening.reason"),
        ] {
            assert_eq!(opening(points, actor, reason).unwrap_err().field, field);
        }
    }

    #[test]
    fn an_unknown_purpose_is_not_taken_for_another() {
        let redeem = |purpose| with(pb::command::Action::Redeem(pb::Redeem { points: 1, purpose }));
        for purpose in 1..=6 {
            assert!(convert(redeem(purpose)).is_ok());
        }
        for purpose in [0, 7, -1] {
            assert_eq!(convert(redeem(purpose)).unwrap_err().field, "redeem.purpose");
        }
    }

    #[test]
    fn programs_are_told_apart_within_one_request() {
        let prints = Prints::new([7; 32]);
        let programs = |id: &str| match id {
            "a" => Some(ProgramNo(0)),
            "b" => Some(ProgramNo(1)),
            _ => None,
        };
        let mut converter = Converter::new(programs, &prints);
        let mut numbers = Vec::new();
        for program in ["a", "b", "b", "a", "c", "a"] {
            let sent = pb::Command { program: program.into(), ..spend(1, "purchase") };
            numbers.push(converter.convert(sent).ok().map(|command| command.program.0));
        }
        assert_eq!(numbers, [Some(0), Some(1), Some(1), Some(0), None, Some(0)]);
    }
}
