//! What can be judged from a request alone: what is missing, too long, out of range or malformed.

use crate::audit::snapshot::{NAME_BYTES_MAX, is_name};
use crate::constants::{
    ACTOR_BYTES_MAX, ACTOR_REASON_BYTES_MAX, KEY_BYTES_MAX, OCCURRED_US_MAX, OCCURRED_US_MIN, POINTS_MAX,
    REWARD_ID_BYTES_MAX,
};
use crate::proto as pb;

/// A request, or an item of one, whose shape is wrong. Nothing was written and its key is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field at fault.
    pub field: String,
    /// What is wrong with it.
    pub reason: pb::Reason,
    /// The same for a person's eyes.
    pub message: String,
    /// The key of the command, as sent.
    pub key: String,
}

impl Fault {
    /// A fault in `field`.
    pub fn new(field: impl Into<String>, reason: pb::Reason, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason, message: message.into(), key: String::new() }
    }

    /// A field that is needed and absent.
    pub fn missing(field: &str) -> Self {
        Self::new(field, pb::Reason::FieldMissing, format!("{field} is needed"))
    }

    /// A field that cannot be what it should be.
    pub fn malformed(field: &str, why: &str) -> Self {
        Self::new(field, pb::Reason::FieldMalformed, format!("{field} {why}"))
    }

    /// A number outside its range.
    pub fn out_of_range(field: &str, why: &str) -> Self {
        Self::new(field, pb::Reason::FieldOutOfRange, format!("{field} {why}"))
    }

    /// A program that the book does not hold.
    pub fn program_unknown(field: &str) -> Self {
        Self::new(field, pb::Reason::ProgramUnknown, "there is no such program")
    }

    /// An asset that the program does not have.
    pub fn asset_unknown(field: &str) -> Self {
        Self::new(field, pb::Reason::AssetUnknown, "the program has no such asset")
    }

    /// The fault of the item that `key` names.
    #[must_use]
    pub fn of(mut self, key: String) -> Self {
        self.key = key;
        self
    }

    /// The fault as seen from the message that holds the item: `prefix`, which ends with a dot, comes before the field.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.field.insert_str(0, prefix);
        if self.field.ends_with('.') {
            // The item itself is at fault, and no field of it.
            self.field.pop();
        }
        self
    }
}

/// A text of at most `bytes_max` bytes, which may be empty.
///
/// # Errors
/// `FIELD_TOO_LONG`.
pub fn text(field: &str, text: &str, bytes_max: usize) -> Result<(), Fault> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    let message = format!("{field} has {} bytes; at most {bytes_max} are taken", text.len());
    Err(Fault::new(field, pb::Reason::FieldTooLong, message))
}

/// A text of 1 to `bytes_max` bytes.
///
/// # Errors
/// `FIELD_MISSING`, `FIELD_TOO_LONG`.
pub fn needed(field: &str, value: &str, bytes_max: usize) -> Result<(), Fault> {
    if value.is_empty() { Err(Fault::missing(field)) } else { text(field, value, bytes_max) }
}

/// A number of 1 to `max`.
///
/// # Errors
/// `FIELD_OUT_OF_RANGE`.
pub fn amount(field: &str, amount: i64, max: i64) -> Result<u64, Fault> {
    match u64::try_from(amount) {
        Ok(units) if units > 0 && amount <= max => Ok(units),
        _ => Err(Fault::out_of_range(field, &format!("must be 1 to {max}"))),
    }
}

/// An instant that has a calendar date everywhere.
///
/// # Errors
/// `FIELD_OUT_OF_RANGE`.
pub fn calendar(field: &str, us: i64) -> Result<(), Fault> {
    match us {
        OCCURRED_US_MIN..=OCCURRED_US_MAX => Ok(()),
        _ => Err(Fault::out_of_range(field, "is outside the calendar")),
    }
}

/// Points of 1 to the fixed limit.
///
/// # Errors
/// `FIELD_OUT_OF_RANGE`.
pub fn points(field: &str, points: i64) -> Result<u64, Fault> {
    amount(field, points, POINTS_MAX)
}

/// Points given or taken: not 0, and no more than the fixed limit either way.
///
/// # Errors
/// `FIELD_OUT_OF_RANGE`.
pub fn signed_points(field: &str, points: i64) -> Result<(), Fault> {
    if points != 0 && (-POINTS_MAX..=POINTS_MAX).contains(&points) {
        return Ok(());
    }
    Err(Fault::out_of_range(field, &format!("must not be 0, and at most {POINTS_MAX} either way")))
}

/// A calendar date, in days since the Unix epoch, written as `2026-11-21`.
///
/// # Errors
/// `FIELD_MALFORMED`, `FIELD_OUT_OF_RANGE`.
pub fn local_date(field: &str, text: &str) -> Result<i32, Fault> {
    let date = (text.len() == "2026-11-21".len()).then(|| text.parse::<jiff::civil::Date>().ok()).flatten();
    let date = date.ok_or_else(|| Fault::malformed(field, "is no date like 2026-11-21"))?;
    let days = jiff::civil::Date::constant(1970, 1, 1).until(date).map(|span| span.get_days());
    days.ok().filter(|_| date.year() >= 1).ok_or_else(|| Fault::out_of_range(field, "is outside the calendar"))
}

/// An instant that has a calendar date everywhere, in a field without presence.
///
/// # Errors
/// `FIELD_MISSING`, `FIELD_OUT_OF_RANGE`.
pub fn instant(field: &str, us: i64) -> Result<(), Fault> {
    if us == 0 { Err(Fault::missing(field)) } else { calendar(field, us) }
}

/// Who acts and why, as operators' commands must say.
///
/// # Errors
/// `FIELD_MISSING`, `FIELD_TOO_LONG`.
pub fn act(prefix: &str, actor: &str, reason: &str) -> Result<(), Fault> {
    needed(&format!("{prefix}actor"), actor, ACTOR_BYTES_MAX)?;
    needed(&format!("{prefix}reason"), reason, ACTOR_REASON_BYTES_MAX)
}

/// A snapshot's name: it becomes the name of a file.
///
/// # Errors
/// `FIELD_MISSING`, `FIELD_TOO_LONG`, `FIELD_MALFORMED`.
pub fn snapshot_name(name: &str) -> Result<(), Fault> {
    needed("name", name, NAME_BYTES_MAX)?;
    if is_name(name) {
        return Ok(());
    }
    Err(Fault::malformed("name", "must be of a-z, 0-9, dot, underscore and hyphen, and not begin with a dot"))
}

/// A reward's id: it becomes part of the names of accounts.
///
/// # Errors
/// `FIELD_MISSING`, `FIELD_TOO_LONG`, `FIELD_MALFORMED`.
pub fn reward_id(id: &str) -> Result<(), Fault> {
    needed("reward", id, REWARD_ID_BYTES_MAX)?;
    match id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        true => Ok(()),
        false => Err(Fault::malformed("reward", "must be of letters, digits, dot, underscore and hyphen")),
    }
}

/// An idempotency key.
///
/// # Errors
/// `FIELD_MISSING`, `FIELD_TOO_LONG`.
pub fn key(key: &str) -> Result<(), Fault> {
    needed("key", key, KEY_BYTES_MAX)
}
