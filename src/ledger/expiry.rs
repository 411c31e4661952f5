//! When units lapse: at the first instant of a local date of the program's time zone. What an event holds is the resolved
//! instant; the arithmetic of dates and time zones is done before it and never again.
//!
//! A local day begins at the first instant of its date and ends at the first instant of the next one, so every instant
//! lies in exactly one. Where a clock goes back over midnight, what it shows for the second time belongs to the new day,
//! which has begun already. Otherwise a later start could lapse earlier, and one could lapse before it began.

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

use super::spec::{ExpiryPolicy, Lifetime, RoundUp};

/// When units lapse that begin to live at `start_us` (or whose member was active then), in minutes since the Unix epoch:
/// the first instant of the local date that follows the last day on which they can be spent, rounded up to a whole minute
/// where an offset from UTC has seconds. The last day on which units can be spent that live until an instant is the one
/// that it lies in, or that ends with it.
///
/// `None` is never: the lifetime says so, or the lapse lies beyond the end of the calendar, the year 9999. (Minutes in 32
/// bits reach further.) A start outside the calendar counts as its nearest instant, and a lapse before 1970 as minute 0:
/// what is out of range never lapses early.
#[must_use]
pub fn lapse_minute(policy: &ExpiryPolicy, zone: &TimeZone, start_us: i64) -> Option<u32> {
    lapse_of_day(policy, zone, local_day(zone, start_us))
}

/// The first instant after the rest of the local day of `from_us` and `days` more local days, in minutes since the Unix
/// epoch; `None` beyond the end of the calendar. For what is given for some days from now: grace, grants.
#[must_use]
pub fn grace_minute(zone: &TimeZone, days: u32, from_us: i64) -> Option<u32> {
    lapse_minute(&ExpiryPolicy { lifetime: Lifetime::Days(days), round_up: RoundUp::Day }, zone, from_us)
}

/// The lapse of units that begin to live on a local day.
fn lapse_of_day(policy: &ExpiryPolicy, zone: &TimeZone, day: Date) -> Option<u32> {
    let last = match policy.lifetime {
        Lifetime::Never => return None,
        Lifetime::Days(days) | Lifetime::RollingDays(days) => day.checked_add(Span::new().try_days(days).ok()?).ok()?,
        Lifetime::Months(months) | Lifetime::RollingMonths(months) => {
            day.checked_add(Span::new().try_months(months).ok()?).ok()?
        }
        // An instant that ends a day belongs to the next one; the microsecond before it does not.
        Lifetime::Until(instant_us) => local_day(zone, instant_us.saturating_sub(1)),
    };
    let last = match policy.round_up {
        RoundUp::Day => last,
        RoundUp::Month => last.last_of_month(),
        RoundUp::Quarter => {
            let month = (last.month() + 2) / 3 * 3;
            Date::new(last.year(), month, 1).ok()?.last_of_month()
        }
        RoundUp::Year => last.last_of_year(),
    };
    let second = first_instant(zone, last.tomorrow().ok()?)?.as_second();
    let minute = second.div_euclid(60).checked_add(i64::from(second.rem_euclid(60) > 0))?;
    u32::try_from(minute.max(0)).ok()
}

/// The local day that an instant lies in; an instant outside the calendar counts as its nearest.
fn local_day(zone: &TimeZone, at_us: i64) -> Date {
    let nearest = if at_us < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let at = Timestamp::from_microsecond(at_us).unwrap_or(nearest);
    let date = zone.to_datetime(at).date();
    match date.tomorrow() {
        Ok(next) if first_instant(zone, next).is_some_and(|first| first <= at) => next,
        _ => date,
    }
}

/// The first instant at which the local date is this one, or a later one where this was left out; `None` beyond the end
/// of the calendar.
fn first_instant(zone: &TimeZone, date: Date) -> Option<Timestamp> {
    let midnight = zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
    if !matches!(midnight.offset(), AmbiguousOffset::Gap { .. }) {
        return midnight.earlier().ok();
    }
    // The clock jumps over midnight, and the day begins with what it jumps to, which need not be midnight and the gap.
    zone.following(midnight.earlier().ok()?).next().map(|jump| jump.timestamp())
}

#[cfg(test)]
mod tests;
