//! Programs as people write them: a TOML file, checked and resolved into the [`ProgramSpec`] that the book keeps.
//!
//! Every field is known by name and by place, so that a remark on it names line, column and path. All remarks of a text
//! are given at once. Nothing here depends on the machine: local times are resolved with the tz database that is built in.

mod asset;
mod check;
mod conversion;
mod read;
mod value;
mod warn;

use crate::constants as limits;
use std::fmt;

use crate::ledger::spec::ProgramSpec;

/// The longest text of a program, in bytes.
pub const DEFINITION_BYTES_MAX: usize = 8 * 1024;
/// The most bytes a program's rules may take in the book.
pub const SPEC_BYTES_MAX: usize = 6 * 1024;
/// The longest id, event kind or group, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest name shown to people, in bytes.
pub const TITLE_BYTES_MAX: usize = 128;
/// The most rules of a program.
pub const RULES_MAX: usize = 32;
/// The most campaigns of one version.
pub const CAMPAIGNS_MAX: usize = 32;
/// The most event kinds that a campaign names.
pub const CAMPAIGN_KINDS_MAX: usize = 32;
/// The most stacking groups of a version: as many campaigns may win in one award.
pub const GROUPS_MAX: usize = crate::ledger::event::WINNERS_MAX;
/// The greatest numerator and denominator of a rate.
pub const RATE_TERM_MAX: u64 = 1_000_000_000;
/// The greatest multiplier, and the greatest product of multipliers.
pub const MULTIPLIER_MAX: u64 = 1_000;
/// The greatest denominator of a multiplier in lowest terms.
pub const MULTIPLIER_DENOMINATOR_MAX: u64 = 10_000;
/// The greatest product of multipliers where a program names none.
pub const GREATEST_TOTAL_DEFAULT: u64 = 10;
/// The most fair values that an asset has over time.
pub const VALUES_MAX: usize = 32;
/// The longest life of units, in days.
pub const LIFETIME_DAYS_MAX: u64 = 36_500;
/// The longest life of units, in months.
pub const LIFETIME_MONTHS_MAX: u64 = 1_200;
/// The longest time that awards of a rule are pending, in days.
pub const PENDING_DAYS_MAX: u64 = 366;
/// The longest grace that units get which come back lapsed, in days.
pub const GRACE_DAYS_MAX: u64 = 366;
/// The most points of a cap, and the most units of an asset that a member may owe.
pub const CAP_POINTS_MAX: u64 = crate::ledger::award::POINTS_MAX;

/// A campaign's number in an event, at its longest.
const CAMPAIGN_NUMBER_BYTES: usize = 3;
/// More than the header, the hash, the lengths and the single numbers of a program's event take together.
const EVENT_FIXED_BYTES: usize = 256;
const _: () = assert!(
    DEFINITION_BYTES_MAX
        + SPEC_BYTES_MAX
        + CAMPAIGNS_MAX * CAMPAIGN_NUMBER_BYTES
        + limits::KEY_BYTES_MAX
        + limits::PROGRAM_ID_BYTES_MAX
        + limits::ACTOR_BYTES_MAX
        + limits::ACTOR_REASON_BYTES_MAX
        + EVENT_FIXED_BYTES
        <= limits::PROGRAM_EVENT_BYTES_MAX,
    "the greatest program fits an event, so that no operator can ask for one that cannot be written"
);

/// A program's text, checked and resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The program's id.
    pub id: String,
    /// The rules.
    pub spec: ProgramSpec,
    /// What is sound and yet may not mean what it says, in the order of the text.
    pub warnings: Vec<Remark>,
}

/// Something to say about one place of a program's text; shown as `FILE:LINE:COL: field: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The text's name, such as its file's path.
    pub source: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The path of the field, such as `campaigns[0].multiplier`; empty where the text is no TOML at all.
    pub field: String,
    /// For a person's eyes.
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.source, self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads a program. `source_name` names the text in remarks.
///
/// # Errors
/// Every fault of the text, in the order of its lines.
pub fn parse(text: &str, source_name: &str) -> Result<Parsed, Vec<Remark>> {
    let mut remarks = read::Remarks::new(text, source_name);
    let parsed = check::program(text, &mut remarks);
    let (mut errors, mut warnings) = remarks.into_parts();
    let by_place = |remark: &Remark| (remark.line, remark.column);
    errors.sort_by_key(by_place);
    warnings.sort_by_key(by_place);
    match parsed {
        Some((id, spec)) if errors.is_empty() => Ok(Parsed { id, spec, warnings }),
        _ => Err(errors),
    }
}

#[cfg(test)]
mod tests;
