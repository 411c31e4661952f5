//! From the contract's command to the ledger's: every check of shape, every hash, no string copied.

use std::mem;

use super::body_hash::body_hash;
use super::shape::{self, Fault};
use crate::constants::{
    AMOUNT_MINOR_MAX, EVENT_KIND_BYTES_MAX, KEY_BYTES_MAX, MEMBER_ID_BYTES_MAX, METADATA_BYTES_MAX, METADATA_PAIRS_MAX,
    OCCURRED_US_MAX, OCCURRED_US_MIN, PLACE_BYTES_MAX, POINTS_MAX, PROGRAM_ID_BYTES_MAX, REFERENCE_BYTES_MAX,
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
    if adjust.points == 0 || !(-POINTS_MAX..=POINTS_MAX).contains(&adjust.points) {
        let why = format!("must not be 0, and at most {POINTS_MAX} either way");
        return Err(Fault::out_of_range("adjust.points", &why));
    }
    shape::act("adjust.", &adjust.actor, &adjust.reason)?;
    Ok(Action::Adjust { points: adjust.points, actor: adjust.actor, reason: adjust.reason })
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
