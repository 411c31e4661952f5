//! When units lapse: each lifetime under each rounding, over month ends and clock changes of two time zones.

use stampbook::ledger::command::{Action, Purpose};
use stampbook::ledger::ids::AssetNo;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{DebtPolicy, ExpiryPolicy, Lifetime, RoundUp};

use super::till::{Till, at, earn, points, redeem, rules_of};
use model::rules::living;

const EVERY: [RoundUp; 4] = [RoundUp::Day, RoundUp::Month, RoundUp::Quarter, RoundUp::Year];

/// The lot that an earn of 10 at a London time enters.
fn lot_of(lifetime: Lifetime, round_up: RoundUp, earned: &str) -> String {
    lot_in("Europe/London", lifetime, round_up, at(earned))
}

fn lot_in(zone: &str, lifetime: Lifetime, round_up: RoundUp, earned_us: i64) -> String {
    let mut spec = rules_of(points(ExpiryPolicy { lifetime, round_up }, DebtPolicy::Debt, None));
    spec.time_zone = zone.to_owned();
    let mut till = Till::open(spec);
    till.now_us = earned_us;
    let (_, said) = till.done(earn(10, None));
    said.legs.into_keys().find(|account| account.starts_with("member/")).unwrap()
}

fn dated(instant_us: i64) -> String {
    format!("member/ann/base@{}", instant_us / 60_000_000)
}

/// For each rounding the lot lapses at the beginning of that local date.
fn lapses(lifetime: Lifetime, earned: &str, expected: [&str; 4]) {
    for (round_up, date) in EVERY.into_iter().zip(expected) {
        let found = lot_of(lifetime, round_up, earned);
        assert_eq!(found, dated(at(&format!("{date}T00:00"))), "{lifetime:?} {round_up:?} from {earned}, not {date}");
    }
}

#[test]
fn days_run_to_the_end_of_the_last_one_and_up_to_its_month_quarter_and_year() {
    let days = ["2026-04-01", "2026-04-01", "2026-04-01", "2027-01-01"];
    lapses(Lifetime::Days(30), "2026-03-01T23:59:59", days);
    lapses(Lifetime::Days(31), "2026-03-01T23:59:59", ["2026-04-02", "2026-05-01", "2026-07-01", "2027-01-01"]);
    // The day on which London's clocks go forward has 23 hours, that on which they go back 25.
    lapses(Lifetime::Days(1), "2026-03-28T12:00", ["2026-03-30", "2026-04-01", "2026-04-01", "2027-01-01"]);
    lapses(Lifetime::Days(1), "2026-10-24T12:00", ["2026-10-26", "2026-11-01", "2027-01-01", "2027-01-01"]);
    lapses(Lifetime::Days(365), "2026-12-31T23:59:59.999999", ["2028-01-01"; 4]);
}

#[test]
fn months_clamp_to_their_end_in_leap_years_too() {
    lapses(Lifetime::Months(1), "2026-01-31T12:00", ["2026-03-01", "2026-03-01", "2026-04-01", "2027-01-01"]);
    lapses(Lifetime::Months(1), "2028-01-31T12:00", ["2028-03-01", "2028-03-01", "2028-04-01", "2029-01-01"]);
    lapses(Lifetime::Months(1), "2028-01-28T12:00", ["2028-02-29", "2028-03-01", "2028-04-01", "2029-01-01"]);
    lapses(Lifetime::Months(12), "2028-02-29T12:00", ["2029-03-01", "2029-03-01", "2029-04-01", "2030-01-01"]);
    lapses(Lifetime::Months(6), "2026-06-30T12:00", ["2026-12-31", "2027-01-01", "2027-01-01", "2027-01-01"]);
}

#[test]
fn a_fixed_date_runs_to_the_end_of_its_local_day_unless_it_begins_one() {
    let until = |text: &str| Lifetime::Until(at(text));
    lapses(until("2026-05-01T00:00"), "2026-02-01T12:00", ["2026-05-01", "2026-05-01", "2026-07-01", "2027-01-01"]);
    lapses(until("2026-05-01T00:01"), "2026-02-01T12:00", ["2026-05-02", "2026-06-01", "2026-07-01", "2027-01-01"]);
    lapses(until("2026-04-30T23:59:59"), "2026-02-01T12:00", ["2026-05-01", "2026-05-01", "2026-07-01", "2027-01-01"]);
}

#[test]
fn a_day_begins_where_the_clock_jumps_over_midnight() {
    // Havana's clocks go from Saturday's last second to one o'clock on Sunday 8 March 2026.
    let utc = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let found = lot_in("America/Havana", Lifetime::Days(1), RoundUp::Day, utc("2026-03-06T17:00:00Z"));
    assert_eq!(found, dated(utc("2026-03-08T05:00:00Z")));
    let found = lot_in("America/Havana", Lifetime::Days(2), RoundUp::Day, utc("2026-03-06T17:00:00Z"));
    assert_eq!(found, dated(utc("2026-03-09T04:00:00Z")));
    // They go from one o'clock back to midnight on 1 November: that day begins with the first of the two.
    let found = lot_in("America/Havana", Lifetime::Days(1), RoundUp::Day, utc("2026-10-30T16:00:00Z"));
    assert_eq!(found, dated(utc("2026-11-01T04:00:00Z")));
}

#[test]
fn units_that_never_lapse_stay() {
    assert_eq!(lot_of(Lifetime::Never, RoundUp::Month, "2026-02-01T12:00"), "member/ann/base");
}

#[test]
fn units_are_spent_until_the_last_microsecond_and_lapse_with_the_next() {
    let mut till = Till::new(points(living(Lifetime::Days(30)), DebtPolicy::Debt, None));
    till.on("2026-03-01T12:00").done(earn(10, None));
    till.now_us = at("2026-04-01T00:00") - 1;
    assert!(till.sweep().is_empty());
    assert_eq!(till.done(redeem(4)).1.after, (6, 0));
    till.now_us += 1;
    let before = till.book.shelf.events.len();
    assert_eq!(till.refused(redeem(1)), Reason::InsufficientPoints);
    let [lapsed, refused] = &till.since(before)[..] else { panic!("the lapse is written before the refusal") };
    assert_eq!((lapsed.what.as_str(), lapsed.legs["breakage"], refused.after), ("expired", 6, (0, 0)));
    assert_eq!(lapsed.more["minute"], i128::from(at("2026-04-01T00:00") / 60_000_000));
}

#[test]
fn rolling_units_live_on_with_each_activity_and_none_is_cut_short() {
    for round_up in EVERY {
        let policy = ExpiryPolicy { lifetime: Lifetime::RollingDays(90), round_up };
        let mut till = Till::new(points(policy, DebtPolicy::Debt, None));
        let (_, said) = till.on("2026-01-10T12:00").done(earn(100, None));
        assert_eq!(said.legs["member/ann/base@rolling"], 100);
        let first = said.untils[&0];
        let (_, said) = till.on("2026-03-10T12:00").done(redeem(10));
        assert!(said.untils[&0] >= first);
        let (_, said) = till.on("2026-06-01T12:00").done(earn(1, None));
        let until = ["2026-08-31", "2026-09-01", "2026-10-01", "2027-01-01"]
            [EVERY.iter().position(|r| *r == round_up).unwrap()];
        assert_eq!(said.untils[&0], i128::from(at(&format!("{until}T00:00")) / 60_000_000), "{round_up:?}");
        till.now_us = at(&format!("{until}T00:00"));
        let due = till.sweep();
        assert_eq!(due.iter().map(|said| said.legs["breakage"]).collect::<Vec<_>>(), [91]);
    }
}

#[test]
fn the_lot_that_lapses_soonest_is_spent_first_and_the_never_lapsing_one_last() {
    let mut till = Till::new(points(living(Lifetime::Never), DebtPolicy::Debt, None));
    till.lot(30, None);
    till.lot(80, Some("2026-03-31T00:00"));
    till.lot(50, Some("2026-01-31T00:00"));
    let (_, said) = till.done(Action::Redeem { asset: AssetNo::POINTS, points: 140, purpose: Purpose::Miles });
    let lot = |text: &str| format!("member/ann/opening@{}", at(text) / 60_000_000);
    assert_eq!(said.legs[&lot("2026-01-31T00:00")], -50);
    assert_eq!(said.legs[&lot("2026-03-31T00:00")], -80);
    assert_eq!(said.legs["member/ann/opening"], -10);
}

#[test]
fn what_came_late_and_would_have_lapsed_goes_to_breakage_after_it_settled_debt() {
    let mut till = Till::new(points(living(Lifetime::Days(30)), DebtPolicy::Debt, None));
    till.lot(-4, None);
    till.on("2026-06-01T12:00");
    let mut command = till.book.command(0, "late", "ann", earn(10, None));
    command.occurred_at_us = Some(at("2026-04-01T12:00"));
    till.book.post(&command, till.now_us);
    let said = till.since(till.book.shelf.events.len() - 1).remove(0);
    assert_eq!(said.legs, super::legs(&[("issuance", -10), ("member/ann/debt", 4), ("breakage", 6)]));
    assert_eq!((said.more["lapsed of 0"], said.after), (6, (0, 0)));
}
