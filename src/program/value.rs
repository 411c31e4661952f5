//! The values that are more than TOML knows: exact ratios, local times, and spans of them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use toml::de::DeValue;

use super::read::{Field, Remarks};
use super::{
    LIFETIME_DAYS_MAX, LIFETIME_MONTHS_MAX, MULTIPLIER_DENOMINATOR_MAX, MULTIPLIER_MAX, PENDING_DAYS_MAX, RATE_TERM_MAX,
};
use crate::ledger::spec::{Lifetime, PendingRule, Ratio};

/// A ratio in lowest terms; `None` for a denominator of 0.
pub(super) fn reduced(numerator: u64, denominator: u64) -> Option<Ratio> {
    let (mut a, mut b) = (numerator, denominator);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    match (denominator, a) {
        (0, _) | (_, 0) => None,
        _ => Some(Ratio { numerator: numerator / a, denominator: denominator / a }),
    }
}

fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// An unsigned decimal such as `1.25`, or a fraction such as `5/4`, exactly.
fn ratio_of(text: &str) -> Option<Ratio> {
    if let Some((over, under)) = text.split_once('/') {
        return reduced(digits(over)?, digits(under)?);
    }
    let Some((whole, part)) = text.split_once('.') else {
        return reduced(digits(text)?, 1);
    };
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    reduced(digits(whole)?.checked_mul(scale)?.checked_add(digits(part)?)?, scale)
}

/// A whole number, or a string that is an exact ratio.
fn ratio(field: &Field<'_>, examples: &str, remarks: &mut Remarks<'_>) -> Option<Ratio> {
    let read = match field.value {
        DeValue::String(text) => ratio_of(text),
        DeValue::Integer(integer) => {
            u64::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|whole| reduced(whole, 1))
        }
        DeValue::Float(float) => {
            return field.error(remarks, format!("is a floating-point number, which is not exact: write \"{float}\""));
        }
        _ => None,
    };
    read.or_else(|| field.error(remarks, format!("is not a decimal or a fraction such as {examples}")))
}

/// A multiplier, or a bound on their product: 1 to 1000, with a denominator of at most 10,000 in lowest terms.
pub(super) fn multiplier(field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<Ratio> {
    let ratio = ratio(field, "\"1.5\" or \"3/2\"", remarks)?;
    if ratio.denominator > MULTIPLIER_DENOMINATOR_MAX {
        let text = format!("is {}/{} in lowest terms", ratio.numerator, ratio.denominator);
        return field.error(remarks, format!("{text}; the denominator may be at most {MULTIPLIER_DENOMINATOR_MAX}"));
    }
    // The denominator is at most 10,000, so the bound on the numerator stays far inside the range.
    if ratio.numerator < ratio.denominator || ratio.numerator > ratio.denominator.saturating_mul(MULTIPLIER_MAX) {
        return field.error(remarks, format!("is not from 1 to {MULTIPLIER_MAX}"));
    }
    Some(ratio)
}

/// What a unit is worth: any exact ratio whose terms are no greater than those of a rate.
pub(super) fn worth(field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<Ratio> {
    let ratio = ratio(field, "\"0.01\" or \"1/100\"", remarks)?;
    if ratio.numerator.max(ratio.denominator) > RATE_TERM_MAX {
        let text = format!("is {}/{} in lowest terms", ratio.numerator, ratio.denominator);
        return field.error(remarks, format!("{text}; neither may be over {RATE_TERM_MAX}"));
    }
    Some(ratio)
}

/// The basis points of a percentage such as `85.5%`, if they are a whole number.
fn basis_points_of(text: &str) -> Option<u64> {
    let Ratio { numerator, denominator } = ratio_of(text.strip_suffix('%').filter(|number| !number.contains('/'))?)?;
    let scaled = numerator.checked_mul(100)?;
    scaled.is_multiple_of(denominator).then(|| scaled / denominator)
}

/// A share of a whole, as a percentage or in basis points: 0 to 10,000 of them.
pub(super) fn basis_points(field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<u16> {
    const BAD: &str = "is not a percentage from \"0%\" to \"100%\" with at most two decimals, such as \"85.5%\"";
    let DeValue::String(text) = field.value else {
        let whole = u16::try_from(field.integer(0..=10_000, remarks)?).ok()?;
        if (1..=100).contains(&whole) {
            let message = format!("is in basis points, so {}.{:02}%", whole / 100, whole % 100);
            field.warn(remarks, format!("{message}: write \"{whole}%\" for a percentage"));
        }
        return Some(whole);
    };
    let read = basis_points_of(text).filter(|points| *points <= 10_000).and_then(|points| u16::try_from(points).ok());
    read.or_else(|| field.error(remarks, BAD))
}

/// Days or months, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Days(u64),
    Months(u64),
}

/// A span such as `1 day` or `12 months`.
fn span_of(text: &str) -> Option<Span> {
    let (count, unit) = text.split_once(' ')?;
    match unit {
        "day" | "days" => digits(count).map(Span::Days),
        "month" | "months" => digits(count).map(Span::Months),
        _ => None,
    }
}

/// A count in its bounds.
fn bounded(count: u64, most: u64, unit: &str, field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<u32> {
    let fits = u32::try_from(count).ok().filter(|_| (1..=most).contains(&count));
    fits.or_else(|| field.error(remarks, format!("is not 1 to {most} {unit}")))
}

/// How long units live: `never`, a span such as `12 months`, which may be `rolling`, or until a local time.
pub(super) fn lifetime(field: &Field<'_>, zone: &TimeZone, remarks: &mut Remarks<'_>) -> Option<Lifetime> {
    let text = match field.value {
        DeValue::String(text) if !text.contains(':') => text.as_ref(),
        _ => return instant(field, zone, Edge::End, remarks).map(Lifetime::Until),
    };
    let (span, rolling) = match text.strip_suffix(" rolling") {
        Some(span) => (span, true),
        None => (text, false),
    };
    match span_of(span) {
        _ if text == "never" => Some(Lifetime::Never),
        Some(Span::Days(count)) => {
            let days = bounded(count, LIFETIME_DAYS_MAX, "days", field, remarks)?;
            Some(if rolling { Lifetime::RollingDays(days) } else { Lifetime::Days(days) })
        }
        Some(Span::Months(count)) => {
            let months = bounded(count, LIFETIME_MONTHS_MAX, "months", field, remarks)?;
            Some(if rolling { Lifetime::RollingMonths(months) } else { Lifetime::Months(months) })
        }
        None => {
            let known = "\"never\", \"90 days\", \"12 months\", \"12 months rolling\"";
            field.error(remarks, format!("is {text:?}, not {known} or a local time such as \"2027-01-01T00:00:00\""))
        }
    }
}

/// How long awards are pending: a number of days, or `until activated`.
pub(super) fn pending(field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<PendingRule> {
    let text = field.text(remarks)?;
    match span_of(text) {
        _ if text == "until activated" => Some(PendingRule::UntilActivated),
        Some(Span::Days(count)) => bounded(count, PENDING_DAYS_MAX, "days", field, remarks).map(PendingRule::Days),
        _ => field
            .error(remarks, format!("is {text:?}, not a number of days such as \"14 days\" or \"until activated\"")),
    }
}

/// Which instant an ambiguous local time means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    /// The earlier.
    Start,
    /// The later.
    End,
}

/// An instant in microseconds since the Unix epoch: a local time of the zone, or a time with its offset. A local time that
/// does not exist shifts forward by the gap.
pub(super) fn instant(field: &Field<'_>, zone: &TimeZone, edge: Edge, remarks: &mut Remarks<'_>) -> Option<i64> {
    let text = match field.value {
        DeValue::Datetime(datetime) => datetime.to_string(),
        _ => field.text(remarks)?.to_owned(),
    };
    let whole_micros = |instant: Timestamp| (instant.as_nanosecond() % 1_000 == 0).then(|| instant.as_microsecond());
    let bad = "is not a local time such as \"2010-12-01T00:00:00\" or one with an offset, in whole microseconds";
    // An annotation such as `[Europe/Paris]` would be read and passed over.
    if text.contains('[') || !text.contains(':') {
        return field.error(remarks, bad);
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return whole_micros(instant).or_else(|| field.error(remarks, bad));
    }
    let Ok(local) = text.parse::<DateTime>() else {
        return field.error(remarks, bad);
    };
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let offset = ambiguous.offset();
    let resolved = match edge {
        Edge::Start => ambiguous.compatible(),
        Edge::End => ambiguous.later(),
    };
    let Ok(resolved) = resolved else {
        return field.error(remarks, bad);
    };
    let meant = zone.to_datetime(resolved);
    match offset {
        AmbiguousOffset::Unambiguous { .. } => {}
        AmbiguousOffset::Gap { .. } => {
            field.warn(remarks, format!("does not exist in the time zone (clocks go forward); {meant} is taken"));
        }
        AmbiguousOffset::Fold { .. } => {
            let which = if edge == Edge::Start { "earlier" } else { "later" };
            field.warn(
                remarks,
                format!("occurs twice in the time zone (clocks go back); the {which} is taken, {resolved}"),
            );
        }
    }
    whole_micros(resolved).or_else(|| field.error(remarks, bad))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_and_fractions_are_read_exactly() {
        let ratio = |numerator, denominator| Some(Ratio { numerator, denominator });
        for (text, wanted) in [
            ("2", ratio(2, 1)),
            ("2.00", ratio(2, 1)),
            ("1.5", ratio(3, 2)),
            ("3/2", ratio(3, 2)),
            ("10/4", ratio(5, 2)),
            ("0.1", ratio(1, 10)),
            ("0", ratio(0, 1)),
            ("1.3333", ratio(13_333, 10_000)),
        ] {
            assert_eq!(ratio_of(text), wanted, "{text}");
        }
    }

    #[test]
    fn percentages_are_whole_basis_points_or_nothing() {
        for (text, wanted) in [
            ("85%", Some(8_500)),
            ("0%", Some(0)),
            ("100%", Some(10_000)),
            ("85.5%", Some(8_550)),
            ("0.01%", Some(1)),
            ("0.001%", None),
            ("85", None),
            ("17/20%", None),
            ("-1%", None),
            ("%", None),
            ("8 %", None),
        ] {
            assert_eq!(basis_points_of(text), wanted, "{text}");
        }
    }

    #[test]
    fn spans_are_counted_days_or_months() {
        for (text, wanted) in [
            ("1 day", Some(Span::Days(1))),
            ("90 days", Some(Span::Days(90))),
            ("12 months", Some(Span::Months(12))),
            ("12months", None),
            ("12  months", None),
            ("-1 days", None),
            ("1 year", None),
            ("days", None),
            ("", None),
        ] {
            assert_eq!(span_of(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_exact_ratio_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1/0",
            "1/",
            "/2",
            "1/2/3",
            " 1",
            "0x2",
            "1_000",
            "١",
            "99999999999999999999",
        ] {
            assert_eq!(ratio_of(text), None, "{text}");
        }
    }
}
