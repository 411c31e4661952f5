//! When units lapse, day by day: whoever wants a date steps there from the one before it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use stampbook::ledger::event::Expiry;
use stampbook::ledger::spec::{ExpiryPolicy, Lifetime, PendingRule, ProgramSpec, RoundUp};

use super::rules::SECOND;

/// Microseconds of a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// No clock changes but on the quarter of an hour.
const STEP: i64 = 15 * MINUTE;

thread_local! {
    static FIRST_INSTANTS: RefCell<BTreeMap<(String, Date), i64>> = const { RefCell::new(BTreeMap::new()) };
}

/// The date that a wall calendar shows at an instant.
pub fn local_date(spec: &ProgramSpec, at_us: i64) -> Date {
    let zone = TimeZone::get(&spec.time_zone).unwrap();
    Timestamp::from_microsecond(at_us).unwrap().to_zoned(zone).date()
}

/// The first instant at which a wall calendar shows the date.
pub fn first_instant(spec: &ProgramSpec, date: Date) -> i64 {
    let key = (spec.time_zone.clone(), date);
    if let Some(known) = FIRST_INSTANTS.with_borrow(|known| known.get(&key).copied()) {
        return known;
    }
    let mut at_us = date.at(0, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp().as_microsecond() - 100 * STEP;
    while local_date(spec, at_us) < date {
        at_us += STEP;
    }
    FIRST_INSTANTS.with_borrow_mut(|known| known.insert(key, at_us));
    at_us
}

fn days_later(date: Date, days: u32) -> Date {
    (0..days).fold(date, |date, _| date.tomorrow().unwrap())
}

fn months_later(date: Date, months: u32) -> Date {
    let next = |first: Date, _| match first.month() {
        12 => Date::new(first.year() + 1, 1, 1).unwrap(),
        month => Date::new(first.year(), month + 1, 1).unwrap(),
    };
    let first = (0..months).fold(date.first_of_month(), next);
    Date::new(first.year(), first.month(), date.day().min(first.days_in_month())).unwrap()
}

/// The last day of the span that a day falls in: the day after it begins another.
fn rounded_up(mut day: Date, round_up: RoundUp) -> Date {
    loop {
        let next = day.tomorrow().unwrap();
        let over = match round_up {
            RoundUp::Day => true,
            RoundUp::Month => next.day() == 1,
            RoundUp::Quarter => next.day() == 1 && [1, 4, 7, 10].contains(&next.month()),
            RoundUp::Year => next.day() == 1 && next.month() == 1,
        };
        if over {
            return day;
        }
        day = next;
    }
}

fn minute(at_us: i64) -> u32 {
    assert_eq!(at_us % MINUTE, 0, "a day begins on the minute");
    u32::try_from(at_us / MINUTE).unwrap()
}

/// The minute at which units lapse whose life began at an instant; `None` for never.
pub fn lapse_minute(spec: &ProgramSpec, policy: &ExpiryPolicy, start_us: i64) -> Option<u32> {
    let first_day = local_date(spec, start_us);
    let last_day = match policy.lifetime {
        Lifetime::Never => return None,
        Lifetime::Days(days) | Lifetime::RollingDays(days) => days_later(first_day, days),
        Lifetime::Months(months) | Lifetime::RollingMonths(months) => months_later(first_day, months),
        // The last day is the one on which the microsecond before the instant lies.
        Lifetime::Until(instant) => local_date(spec, instant - 1),
    };
    let last_day = rounded_up(last_day, policy.round_up);
    Some(minute(first_instant(spec, last_day.tomorrow().unwrap())))
}

/// Whether units live on with the member's activity.
pub fn rolls(policy: &ExpiryPolicy) -> bool {
    matches!(policy.lifetime, Lifetime::RollingDays(_) | Lifetime::RollingMonths(_))
}

/// When units lapse that a policy gives life from an instant on.
pub fn expiry(spec: &ProgramSpec, policy: &ExpiryPolicy, start_us: i64) -> Expiry {
    match lapse_minute(spec, policy, start_us) {
        _ if rolls(policy) => Expiry::Rolling,
        Some(minute) => Expiry::At(minute),
        None => Expiry::Never,
    }
}

/// The first instant after so many more whole local days.
pub fn after_days(spec: &ProgramSpec, days: u32, from_us: i64) -> i64 {
    first_instant(spec, days_later(local_date(spec, from_us), days).tomorrow().unwrap())
}

/// The same, as the minute of a lot.
pub fn grace(spec: &ProgramSpec, days: u32, from_us: i64) -> Expiry {
    Expiry::At(minute(after_days(spec, days, from_us)))
}

/// The lot that an instant names: it lapses at the first minute that is not before it.
pub fn named(instant_us: i64) -> Expiry {
    let begun = instant_us.rem_euclid(MINUTE);
    Expiry::At(minute(if begun == 0 { instant_us } else { instant_us - begun + MINUTE }))
}

/// When the award of a purchase under a pending rule matures; `None` for when it is activated.
pub fn matures(spec: &ProgramSpec, rule: PendingRule, occurred_at_us: i64) -> Option<i64> {
    match rule {
        PendingRule::Days(days) => Some(after_days(spec, days, occurred_at_us)),
        PendingRule::UntilActivated => None,
    }
}
