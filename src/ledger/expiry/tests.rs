#![allow(clippy::unwrap_used)]

use jiff::civil::DateTime;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;

use bincode::Encode;

use super::super::event::Expiry;
use super::*;

const HOUR_US: i64 = 3600 * 1_000_000;
const MINUTE_US: i64 = 60 * 1_000_000;
const ROUNDINGS: [RoundUp; 4] = [RoundUp::Day, RoundUp::Month, RoundUp::Quarter, RoundUp::Year];
/// A clock that jumps at one in the night, three at midnight (forth, back to 23:00, back from one to midnight), one that
/// went back over midnight from 00:01, one that left out a date, one whose offset had seconds.
const ZONES: [&str; 7] = [
    "Europe/London",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "America/Havana",
    "America/St_Johns",
    "Pacific/Apia",
    "Africa/Monrovia",
];

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

fn policy(lifetime: Lifetime, round_up: RoundUp) -> ExpiryPolicy {
    ExpiryPolicy { lifetime, round_up }
}

/// Microseconds of an instant written in UTC, or of a local time, the earlier if there are two.
fn us(zone: &TimeZone, text: &str) -> i64 {
    match text.parse::<Timestamp>() {
        Ok(instant) => instant.as_microsecond(),
        Err(_) => zone.to_ambiguous_timestamp(text.parse().unwrap()).earlier().unwrap().as_microsecond(),
    }
}

/// The local time at a minute.
fn local(zone: &TimeZone, minute: Option<u32>) -> DateTime {
    zone.to_datetime(Timestamp::from_second(i64::from(minute.unwrap()) * 60).unwrap())
}

fn assert_lapses(zone: &TimeZone, policy: ExpiryPolicy, start: &str, lapse: &str) {
    let minute = lapse_minute(&policy, zone, us(zone, start));
    assert_eq!(minute.map(|minute| i64::from(minute) * MINUTE_US), Some(us(zone, lapse)), "{policy:?} from {start}");
}

/// A date by the rules of the Gregorian calendar alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Plain {
    year: i32,
    month: u32,
    day: u32,
}

impl Plain {
    fn of(date: Date) -> Self {
        let part = |value: i8| u32::try_from(value).unwrap();
        Self { year: i32::from(date.year()), month: part(date.month()), day: part(date.day()) }
    }

    fn month_days(self) -> u32 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn next(self) -> Self {
        match (self.day < self.month_days(), self.month < 12) {
            (true, _) => Self { day: self.day + 1, ..self },
            (false, true) => Self { month: self.month + 1, day: 1, ..self },
            (false, false) => Self { year: self.year + 1, month: 1, day: 1 },
        }
    }

    fn next_month(self) -> Self {
        let first = Self { day: self.month_days(), ..self }.next();
        Self { day: self.day.min(first.month_days()), ..first }
    }

    /// The last day of a policy that counts from this day; `None` without one.
    fn last_day(self, policy: &ExpiryPolicy) -> Option<Self> {
        let mut last = match policy.lifetime {
            Lifetime::Days(days) | Lifetime::RollingDays(days) => (0..days).fold(self, |date, _| date.next()),
            // A month after another may clamp, so that the day is taken from the start again.
            Lifetime::Months(months) | Lifetime::RollingMonths(months) => {
                let month = (0..months).fold(Self { day: 1, ..self }, |date, _| date.next_month());
                Self { day: self.day.min(month.month_days()), ..month }
            }
            Lifetime::Never | Lifetime::Until(_) => return None,
        };
        let together = |last: Self, date: Self| match policy.round_up {
            RoundUp::Day => false,
            RoundUp::Month => date.month == last.month,
            RoundUp::Quarter => (date.month - 1) / 3 == (last.month - 1) / 3,
            RoundUp::Year => date.year == last.year,
        };
        let mut next = last.next();
        while together(last, next) {
            (last, next) = (next, next.next());
        }
        Some(last)
    }
}

/// Every kind of lifetime with every rounding.
fn policies() -> Vec<ExpiryPolicy> {
    let until = us(&TimeZone::UTC, "2019-05-15T10:00:00Z");
    let lifetimes = [
        Lifetime::Never,
        Lifetime::Days(0),
        Lifetime::Days(30),
        Lifetime::Months(1),
        Lifetime::Months(12),
        Lifetime::Until(until),
        Lifetime::RollingDays(400),
        Lifetime::RollingMonths(25),
    ];
    lifetimes.into_iter().flat_map(|lifetime| ROUNDINGS.map(|round_up| policy(lifetime, round_up))).collect()
}

#[test]
fn the_bytes_of_what_lies_in_the_book_do_not_change() {
    fn bytes(value: impl Encode) -> Vec<u8> {
        bincode::encode_to_vec(value, bincode::config::standard()).unwrap()
    }
    assert_eq!(bytes(Expiry::Never), [0]);
    assert_eq!(bytes(Expiry::At(0x0102_0304)), [1, 252, 4, 3, 2, 1]);
    assert_eq!(bytes(Expiry::Rolling), [2]);
    assert_eq!(bytes(policy(Lifetime::Never, RoundUp::Day)), [0, 0]);
    assert_eq!(bytes(policy(Lifetime::Days(30), RoundUp::Month)), [1, 30, 1]);
    assert_eq!(bytes(policy(Lifetime::Months(12), RoundUp::Quarter)), [2, 12, 2]);
    assert_eq!(bytes(policy(Lifetime::Until(-1), RoundUp::Year)), [3, 1, 3]);
    assert_eq!(bytes(policy(Lifetime::RollingDays(7), RoundUp::Day)), [4, 7, 0]);
    assert_eq!(bytes(policy(Lifetime::RollingMonths(6), RoundUp::Month)), [5, 6, 1]);
}

#[test]
fn every_lifetime_and_rounding_clamps_to_month_ends_and_keeps_its_last_day() {
    let zone = zone("Europe/London");
    // A start, the days and the months that are added, and the lapse by day, month, quarter, year.
    let by_days: [(&str, u32, [&str; 4]); 6] = [
        ("2026-01-31T12:00", 0, ["2026-02-01", "2026-02-01", "2026-04-01", "2027-01-01"]),
        ("2026-01-31T12:00", 1, ["2026-02-02", "2026-03-01", "2026-04-01", "2027-01-01"]),
        ("2024-02-28T00:00", 1, ["2024-03-01", "2024-03-01", "2024-04-01", "2025-01-01"]),
        ("2025-12-31T23:59:59.999999", 0, ["2026-01-01", "2026-01-01", "2026-01-01", "2026-01-01"]),
        ("2025-12-31T23:59:59.999999", 365, ["2027-01-01", "2027-01-01", "2027-01-01", "2027-01-01"]),
        ("2023-06-30T00:00", 366, ["2024-07-01", "2024-07-01", "2024-07-01", "2025-01-01"]),
    ];
    let by_months: [(&str, u32, [&str; 4]); 9] = [
        ("2026-01-31T12:00", 0, ["2026-02-01", "2026-02-01", "2026-04-01", "2027-01-01"]),
        ("2026-01-31T12:00", 1, ["2026-03-01", "2026-03-01", "2026-04-01", "2027-01-01"]),
        ("2024-01-31T12:00", 1, ["2024-03-01", "2024-03-01", "2024-04-01", "2025-01-01"]),
        ("2024-01-30T12:00", 1, ["2024-03-01", "2024-03-01", "2024-04-01", "2025-01-01"]),
        ("2024-02-29T12:00", 12, ["2025-03-01", "2025-03-01", "2025-04-01", "2026-01-01"]),
        ("2024-02-29T12:00", 48, ["2028-03-01", "2028-03-01", "2028-04-01", "2029-01-01"]),
        ("2024-02-29T12:00", 1, ["2024-03-30", "2024-04-01", "2024-04-01", "2025-01-01"]),
        ("2025-12-31T00:00", 2, ["2026-03-01", "2026-03-01", "2026-04-01", "2027-01-01"]),
        ("2025-11-15T00:00", 12, ["2026-11-16", "2026-12-01", "2027-01-01", "2027-01-01"]),
    ];
    for (place, round_up) in ROUNDINGS.into_iter().enumerate() {
        for (start, days, lapses) in by_days {
            let lapse = format!("{}T00:00", lapses.get(place).unwrap());
            assert_lapses(&zone, policy(Lifetime::Days(days), round_up), start, &lapse);
            assert_lapses(&zone, policy(Lifetime::RollingDays(days), round_up), start, &lapse);
        }
        for (start, months, lapses) in by_months {
            let lapse = format!("{}T00:00", lapses.get(place).unwrap());
            assert_lapses(&zone, policy(Lifetime::Months(months), round_up), start, &lapse);
            assert_lapses(&zone, policy(Lifetime::RollingMonths(months), round_up), start, &lapse);
        }
        assert_eq!(lapse_minute(&policy(Lifetime::Never, round_up), &zone, 0), None);
    }
}

#[test]
fn a_fixed_instant_is_rounded_up_to_the_end_of_its_day_unless_it_ends_one() {
    let zone = zone("America/Sao_Paulo");
    let cases: [(&str, [&str; 4]); 6] = [
        ("2026-05-15T10:00", ["2026-05-16T00:00", "2026-06-01T00:00", "2026-07-01T00:00", "2027-01-01T00:00"]),
        ("2026-05-15T00:00", ["2026-05-15T00:00", "2026-06-01T00:00", "2026-07-01T00:00", "2027-01-01T00:00"]),
        (
            "2026-05-15T00:00:00.000001",
            ["2026-05-16T00:00", "2026-06-01T00:00", "2026-07-01T00:00", "2027-01-01T00:00"],
        ),
        ("2027-01-01T00:00", ["2027-01-01T00:00"; 4]),
        ("2026-12-31T23:59:59.999999", ["2027-01-01T00:00"; 4]),
        // The day of 4 November 2018 began at one o'clock, 03:00 in UTC.
        ("2018-11-04T03:00:00Z", ["2018-11-04T03:00:00Z", "2018-12-01T00:00", "2019-01-01T00:00", "2019-01-01T00:00"]),
    ];
    for (until, lapses) in cases {
        for (round_up, lapse) in ROUNDINGS.into_iter().zip(lapses) {
            for start in ["1971-01-01T00:00", "2026-05-15T00:00", "2031-01-01T00:00"] {
                assert_lapses(&zone, policy(Lifetime::Until(us(&zone, until)), round_up), start, lapse);
            }
        }
    }
}

#[test]
fn a_day_begins_at_its_first_instant_whatever_the_clock_does() {
    let cases = [
        // One in the night: the days have 23 and 25 hours, their ends are midnights of another offset.
        ("Europe/London", "2026-03-28T12:00", "2026-03-29T00:00:00Z"),
        ("Europe/London", "2026-03-29T12:00", "2026-03-29T23:00:00Z"),
        ("Europe/London", "2026-10-24T12:00", "2026-10-24T23:00:00Z"),
        ("Europe/London", "2026-10-25T12:00", "2026-10-26T00:00:00Z"),
        // Forth at midnight: the day begins at one.
        ("America/Sao_Paulo", "2018-11-03T23:59:59", "2018-11-04T03:00:00Z"),
        ("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
        ("Asia/Beirut", "2022-03-26T12:00", "2022-03-26T22:00:00Z"),
        // Back at midnight to 23:00: the hour is there twice, the next day begins after it.
        ("America/Sao_Paulo", "2018-02-18T01:30:00Z", "2018-02-18T03:00:00Z"),
        ("America/Sao_Paulo", "2018-02-18T02:30:00Z", "2018-02-18T03:00:00Z"),
        // Back at one to midnight: midnight is there twice, the day begins with the first.
        ("America/Havana", "2025-11-01T12:00", "2025-11-02T04:00:00Z"),
        ("America/Havana", "2025-11-02T05:30:00Z", "2025-11-03T05:00:00Z"),
        // Back from 00:01 to 23:01: the day has begun, so that what follows belongs to it.
        ("America/St_Johns", "2010-11-07T02:29:59Z", "2010-11-07T02:30:00Z"),
        ("America/St_Johns", "2010-11-07T02:30:30Z", "2010-11-08T03:30:00Z"),
        ("America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-08T03:30:00Z"),
        ("America/St_Johns", "2010-11-07T03:31:00Z", "2010-11-08T03:30:00Z"),
        // 30 December 2011 was left out.
        ("Pacific/Apia", "2011-12-29T12:00", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
        // Midnight of an offset of 44 minutes and a half: the next whole minute.
        ("Africa/Monrovia", "1971-06-01T12:00", "1971-06-02T00:45:00Z"),
    ];
    for (name, start, lapse) in cases {
        let zone = zone(name);
        assert_lapses(&zone, policy(Lifetime::Days(0), RoundUp::Day), start, lapse);
    }
    let toronto = zone("America/Toronto");
    let first = first_instant(&toronto, Date::constant(1919, 3, 31)).unwrap();
    assert_eq!(toronto.to_datetime(first), "1919-03-31T00:30".parse().unwrap(), "a gap from 23:30 to 00:30");
}

#[test]
fn the_first_instant_of_a_day_is_the_first_at_every_clock_change_of_every_zone() {
    let from = "1850-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let to = "2045-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let mut changes = 0;
    for name in TimeZoneDatabase::bundled().available() {
        let zone = zone(name.as_str());
        for change in zone.following(from).take_while(|change| change.timestamp() < to) {
            changes += 1;
            let date = zone.to_datetime(change.timestamp()).date();
            for distance in -2..=2 {
                let date = date.checked_add(Span::new().days(distance)).unwrap();
                let first = first_instant(&zone, date).unwrap();
                let shown =
                    |minutes: i64| zone.to_datetime(first.checked_add(Span::new().minutes(minutes)).unwrap()).date();
                let before = zone.to_datetime(first.checked_sub(Span::new().microseconds(1)).unwrap()).date();
                assert!(shown(0) >= date && before < date, "{name} {date}");
                assert!((1..=26 * 4).all(|quarter| shown(-15 * quarter) < date), "{name} {date}");
                // Both sides of a beginning lie in their own days.
                let next = first_instant(&zone, local_day(&zone, first.as_microsecond()).tomorrow().unwrap()).unwrap();
                assert!(next > first && local_day(&zone, first.as_microsecond()) >= date, "{name} {date}");
                assert!(local_day(&zone, first.as_microsecond() - 1) < date, "{name} {date}");
            }
        }
    }
    assert!(changes > 10_000, "{changes}");
}

#[test]
fn what_is_out_of_range_never_lapses_early() {
    let zone = zone("Europe/London");
    for start_us in [i64::MIN, us(&zone, "0001-01-01T12:00"), us(&zone, "1968-06-15T12:00")] {
        for round_up in ROUNDINGS {
            assert_eq!(lapse_minute(&policy(Lifetime::Days(5), round_up), &zone, start_us), Some(0));
            assert_eq!(lapse_minute(&policy(Lifetime::Months(5), round_up), &zone, start_us), Some(0));
            assert_eq!(lapse_minute(&policy(Lifetime::Until(start_us), round_up), &zone, 0), Some(0));
            assert_eq!(lapse_minute(&policy(Lifetime::Days(u32::MAX), round_up), &zone, start_us), None);
            assert_eq!(lapse_minute(&policy(Lifetime::Months(u32::MAX), round_up), &zone, start_us), None);
        }
    }
    assert_lapses(&zone, policy(Lifetime::Months(12 * 2000), RoundUp::Year), "0001-01-01T12:00", "2002-01-01T00:00");
    let last = "9999-12-29T23:59:59";
    assert_lapses(&zone, policy(Lifetime::Days(0), RoundUp::Day), last, "9999-12-30T00:00");
    for lifetime in [Lifetime::Days(1), Lifetime::Months(1), Lifetime::Until(us(&zone, "9999-12-30T12:00"))] {
        assert_eq!(lapse_minute(&policy(lifetime, RoundUp::Day), &zone, us(&zone, last)), None);
    }
    assert_eq!(lapse_minute(&policy(Lifetime::Days(0), RoundUp::Month), &zone, us(&zone, last)), None);
    assert_eq!(lapse_minute(&policy(Lifetime::Until(i64::MAX), RoundUp::Day), &zone, 0), None);
    for name in ["Etc/GMT+12", "UTC", "Pacific/Kiritimati"] {
        let zone = self::zone(name);
        assert_eq!(lapse_minute(&policy(Lifetime::Days(0), RoundUp::Day), &zone, i64::MAX), None);
        assert_eq!(grace_minute(&zone, u32::MAX, 0), None);
    }
}

#[test]
fn grace_is_the_rest_of_the_day_and_whole_days() {
    let zone = zone("Europe/London");
    for (from, days, end) in [
        ("2026-03-28T23:30", 0, "2026-03-29T00:00"),
        ("2026-03-28T23:30", 1, "2026-03-30T00:00"),
        ("2026-03-28T00:00", 1, "2026-03-30T00:00"),
        ("2026-10-20T09:00", 30, "2026-11-20T00:00"),
    ] {
        let minute = grace_minute(&zone, days, us(&zone, from));
        assert_eq!(local(&zone, minute), end.parse().unwrap(), "{days} days from {from}");
    }
}

/// Over every hour of four years: what lapses does so at the end of the last day that a plain calendar counts to, and a
/// later start does not lapse earlier. The years have the clock changes that [`ZONES`] speaks of.
#[test]
fn hour_by_hour_over_four_years_a_lapse_is_the_end_of_the_last_day() {
    let policies = policies();
    for (name, year) in ZONES.into_iter().zip([2015, 2015, 2019, 2022, 2008, 2009, 1970]) {
        let zone = zone(name);
        let first = us(&zone, &format!("{year}-01-01T00:30"));
        let mut before = vec![0; policies.len()];
        let mut day = (Plain::of(zone.to_datetime(Timestamp::UNIX_EPOCH).date()), vec![]);
        for hour in 0..4 * 366 * 24 {
            let start_us = first + hour * HOUR_US;
            let today = Plain::of(local_day(&zone, start_us));
            if today != day.0 {
                day = (today, policies.iter().map(|policy| today.last_day(policy)).collect());
            }
            // Each policy at every fifth hour, so at each hour of the clock in turn.
            let turn = usize::try_from(hour % 5).unwrap();
            let due = policies.iter().zip(&day.1).zip(&mut before).skip(turn).step_by(5);
            for ((policy, last), before) in due {
                let Some(minute) = lapse_minute(policy, &zone, start_us) else {
                    assert_eq!(policy.lifetime, Lifetime::Never);
                    continue;
                };
                assert!(minute >= *before, "{name} {policy:?} {start_us}");
                *before = minute;
                let Some(last) = last else { continue };
                let lapse = local(&zone, Some(minute)).date();
                let spent = local(&zone, Some(minute - 1)).date();
                assert!(Plain::of(lapse) > *last && Plain::of(spent) <= *last, "{name} {policy:?} {start_us} {lapse}");
                assert!(i64::from(minute) * MINUTE_US > start_us, "{name} {policy:?} {start_us}");
            }
        }
    }
}

prop_compose! {
    fn any_policy()(kind in 0_u8..6, count in 0_u32..4000, until: i64, rounding in 0_usize..4) -> ExpiryPolicy {
        let lifetime = match kind {
            0 => Lifetime::Never,
            1 => Lifetime::Days(count),
            2 => Lifetime::Months(count % 240),
            3 => Lifetime::Until(until),
            4 => Lifetime::RollingDays(count),
            _ => Lifetime::RollingMonths(count % 240),
        };
        policy(lifetime, *ROUNDINGS.get(rounding).unwrap())
    }
}

proptest! {
    #[test]
    fn a_later_start_never_lapses_earlier(
        policy in any_policy(), place in 0..ZONES.len(), start_us: i64, later in 0_i64..40 * 24 * HOUR_US,
    ) {
        let zone = zone(ZONES.get(place).unwrap());
        let lapse = |start_us| lapse_minute(&policy, &zone, start_us).unwrap_or(u32::MAX);
        prop_assert!(lapse(start_us) <= lapse(start_us.saturating_add(later)));
    }

    #[test]
    fn a_lapse_is_the_end_of_the_last_day_of_any_lifetime(
        policy in any_policy(), place in 0..ZONES.len(), start_us in 0..5_000_000_000 * 1_000_000_i64,
    ) {
        let zone = zone(ZONES.get(place).unwrap());
        if let Some(last) = Plain::of(local_day(&zone, start_us)).last_day(&policy) {
            let minute = lapse_minute(&policy, &zone, start_us).unwrap();
            prop_assert!(Plain::of(local(&zone, Some(minute)).date()) > last);
            prop_assert!(Plain::of(local(&zone, Some(minute - 1)).date()) <= last);
        }
    }

    #[test]
    fn a_fixed_instant_is_never_cut_short(until_us in 0..5_000_000_000 * 1_000_000_i64, place in 0..ZONES.len()) {
        let zone = zone(ZONES.get(place).unwrap());
        let ends = ROUNDINGS.map(|round_up| {
            i64::from(lapse_minute(&policy(Lifetime::Until(until_us), round_up), &zone, 0).unwrap()) * MINUTE_US
        });
        prop_assert!(until_us <= ends[0] && ends.is_sorted());
        prop_assert!(ends[0] - until_us <= 26 * HOUR_US);
    }
}
