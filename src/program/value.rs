//! The two values that are more than TOML knows: exact ratios and local times.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use toml::de::DeValue;

use super::read::{Field, Remarks};
use super::{MULTIPLIER_DENOMINATOR_MAX, MULTIPLIER_MAX};
use crate::ledger::spec::Ratio;

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

/// A multiplier, or a bound on their product: 1 to 1000, with a denominator of at most 10,000 in lowest terms.
pub(super) fn multiplier(field: &Field<'_>, remarks: &mut Remarks<'_>) -> Option<Ratio> {
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
    let Some(ratio) = read else {
        return field.error(remarks, "is not a decimal such as \"1.5\" or a fraction such as \"3/2\"");
    };
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
