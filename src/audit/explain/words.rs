//! Instants, rates and policies in words.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::ledger::event::{Expiry, LotId};
use crate::ledger::instant_of;
use crate::ledger::spec::{Cap, CapPer, ExpiryPolicy, Lifetime, Ratio, RoundUp, Rounding};

use super::super::chart::source_name;
use super::super::told;

/// An instant as clocks show it in a time zone.
pub(super) fn instant(at_us: i64, zone: &TimeZone) -> String {
    let Ok(at) = Timestamp::from_microsecond(at_us) else { return format!("{at_us} us since 1970") };
    let local = at.to_zoned(zone.clone());
    let form = match (at_us.rem_euclid(1_000_000), at_us.rem_euclid(60_000_000)) {
        (_, 0) => "%Y-%m-%d %H:%M",
        (0, _) => "%Y-%m-%d %H:%M:%S",
        _ => "%Y-%m-%d %H:%M:%S%.6f",
    };
    let name = zone.iana_name().unwrap_or("UTC");
    format!("{} {name}", local.strftime(form))
}

/// The local date of an instant.
pub(super) fn date(at_us: i64, zone: &TimeZone) -> String {
    match Timestamp::from_microsecond(at_us) {
        Ok(at) => at.to_zoned(zone.clone()).date().to_string(),
        Err(_) => format!("{at_us} us since 1970"),
    }
}

/// A day since the Unix epoch.
pub(super) fn day(since_epoch: i32) -> String {
    told::day_text(since_epoch).unwrap_or_else(|| format!("day {since_epoch}"))
}

/// A fraction, or the whole number that it is.
pub(super) fn fraction(numerator: u128, denominator: u128) -> String {
    if denominator == 1 { numerator.to_string() } else { format!("{numerator}/{denominator}") }
}

pub(super) fn ratio(ratio: Ratio) -> String {
    fraction(ratio.numerator.into(), ratio.denominator.into())
}

/// How an award is rounded, as it is done to it.
pub(super) fn rounded(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::Floor => "rounded down",
        Rounding::HalfUp => "rounded to the nearest, halves up",
        Rounding::Ceiling => "rounded up",
    }
}

/// A cap with the span that it counts in.
pub(super) fn cap(cap: Cap) -> String {
    let span = match cap.per {
        CapPer::Campaign => "for the whole campaign",
        CapPer::Day => "a day",
        CapPer::Week => "a week",
        CapPer::Month => "a month",
    };
    format!("{} {span}", cap.points)
}

/// So many of a thing.
pub(super) fn counted(count: u32, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A policy of expiry, as it is counted from a date.
pub(super) fn policy(policy: &ExpiryPolicy, from: &str) -> String {
    let lifetime = match policy.lifetime {
        Lifetime::Never => return "never".to_owned(),
        Lifetime::Days(days) | Lifetime::RollingDays(days) => format!("{} from {from}", counted(days, "day")),
        Lifetime::Months(months) | Lifetime::RollingMonths(months) => {
            format!("{} from {from}", counted(months, "month"))
        }
        Lifetime::Until(_) => "until a date that the asset names".to_owned(),
    };
    let last = match policy.round_up {
        RoundUp::Day => "to the end of that day",
        RoundUp::Month => "rounded up to the end of the month",
        RoundUp::Quarter => "rounded up to the end of the quarter",
        RoundUp::Year => "rounded up to the end of the year",
    };
    format!("{lifetime}, {last}")
}

/// A lot, by source and date.
pub(super) fn lot(lot: LotId, zone: &TimeZone) -> String {
    let source = source_name(lot.source);
    match lot.expiry {
        Expiry::Never => format!("the lot \"{source}\" that never lapses"),
        Expiry::At(minute) => format!("the lot \"{source}\" that lapses at {}", instant(instant_of(minute), zone)),
        Expiry::Rolling => format!("the lot \"{source}\" that lapses some time after the last activity"),
    }
}
