//! The roll-forward: of which months the units are that are owed, through all that happens to them.

use std::collections::BTreeMap;

use stampbook::audit::chart::Class;
use stampbook::audit::cut_off::{self, Cut, Why};
use stampbook::audit::roll_forward::{
    COLUMNS, Column, Line, LineKind, Period, RollError, RollForward, roll_forward, roll_forward_within,
};
use stampbook::ledger::command::{AdminAction, Matures};
use stampbook::ledger::event::Source;
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};
use stampbook::ledger::spec::{DebtPolicy, FairValue, Lifetime, ProgramMore, Ratio};

use super::moving::{done, give_points, merge};
use super::till::{Till, at, earn, points, redeem, refund, reverse, rules_of};
use model::rules::{NEVER, living};

/// From a local time up to another.
fn rolled(till: &Till, from: &str, until: &str) -> RollForward {
    let before = |us: i64| {
        let events = till.book.shelf.events.iter().filter(|(at, _)| at.book_time_us < us);
        events.map(|(at, _)| at.op).max().unwrap_or(Op(0))
    };
    let (from_us, until_us) = (at(from), at(until));
    let (opening, closing) = (before(from_us), before(until_us));
    let period = Period { program: ProgramNo(0), asset: None, opening, closing, from_us, until_us };
    roll_forward(&till.book, &period).unwrap()
}

fn found(rolled: &RollForward, kind: LineKind, month: &str) -> Line {
    let month = |line: &Line| line.month.map(|month| month.to_string()).unwrap_or_default() == month;
    let mut lines = rolled.lines.iter().filter(|line| line.asset == AssetNo::POINTS && line.kind == kind);
    *lines.find(|line| month(line)).unwrap_or_else(|| panic!("{kind:?} in {rolled:#?}"))
}

/// What a line says: its opening, what was moved by column, its closing.
fn units(rolled: &RollForward, kind: LineKind, month: &str) -> (i64, BTreeMap<Column, i64>, i64) {
    let line = found(rolled, kind, month);
    let moved = COLUMNS.iter().zip(line.units.moved).filter(|(_, units)| *units != 0);
    (line.units.opening, moved.map(|(column, units)| (*column, units)).collect(), line.units.closing)
}

fn moved<const N: usize>(columns: [(Column, i64); N]) -> BTreeMap<Column, i64> {
    columns.into()
}

const BASE: LineKind = LineKind::Lots(Source::Base);

#[test]
fn the_oldest_units_of_a_lot_are_spent_first_and_those_that_come_back_are_of_their_month() {
    let mut till = Till::new(points(NEVER, DebtPolicy::Debt, None));
    till.on("2026-01-31T23:00").done(earn(100, None));
    till.on("2026-02-01T00:30").done(earn(50, None));
    let (spent, _) = till.on("2026-03-10T12:00").done(redeem(120));
    till.on("2026-04-10T12:00").done(reverse(spent, Some(30)));
    let march = rolled(&till, "2026-03-01T00:00", "2026-04-01T00:00");
    assert_eq!(units(&march, BASE, "2026-01"), (100, moved([(Column::Redeemed, -100)]), 0));
    assert_eq!(units(&march, BASE, "2026-02"), (50, moved([(Column::Redeemed, -20)]), 30));
    assert_eq!(units(&march, LineKind::Liability, ""), (150, moved([(Column::Redeemed, -120)]), 30));
    // What was taken last comes back first: 20 of February, and 10 of January.
    let april = rolled(&till, "2026-04-01T00:00", "2026-05-01T00:00");
    assert_eq!(units(&april, BASE, "2026-01"), (0, moved([(Column::Redeemed, 10)]), 10));
    assert_eq!(units(&april, BASE, "2026-02"), (30, moved([(Column::Redeemed, 20)]), 50));
    // A period in which nothing happened closes as it opens.
    let may = rolled(&till, "2026-05-01T00:00", "2026-06-01T00:00");
    assert_eq!(units(&may, BASE, "2026-02"), (50, moved([]), 50));
}

#[test]
fn a_refund_in_a_later_month_takes_of_the_month_of_the_earn_and_leaves_a_debt_that_is_told_gross() {
    let mut till = Till::new(points(NEVER, DebtPolicy::Debt, None));
    till.doubling(1_000);
    let (earned, _) = till.on("2026-01-10T12:00").done(earn(100, None));
    till.on("2026-01-20T12:00").done(redeem(150));
    till.on("2026-02-10T12:00").done(refund(earned, 100));
    till.on("2026-03-10T12:00").done(earn(30, None));
    let february = rolled(&till, "2026-02-01T00:00", "2026-03-01T00:00");
    let campaign = LineKind::Lots(Source::Campaign);
    let taken: i64 = [BASE, campaign]
        .into_iter()
        .flat_map(|kind| february.lines.iter().filter(move |line| line.kind == kind))
        .map(|line| line.units.moved[4])
        .sum();
    assert_eq!(taken, -50);
    assert_eq!(units(&february, LineKind::Debt, ""), (0, moved([(Column::TakenBack, -150)]), -150));
    assert_eq!(units(&february, LineKind::Liability, "").2, 0);
    // 30 and 30 from the campaign, all of it to settle the debt.
    let march = rolled(&till, "2026-03-01T00:00", "2026-04-01T00:00");
    let settling = moved([(Column::Issued, 30), (Column::Settled, -30)]);
    assert_eq!(units(&march, BASE, "2026-03"), (0, settling.clone(), 0));
    assert_eq!(units(&march, campaign, "2026-03"), (0, settling, 0));
    assert_eq!(units(&march, LineKind::Debt, ""), (-150, moved([(Column::Settled, 60)]), -90));
}

#[test]
fn a_refund_that_reaches_back_for_lapsed_units_leaves_their_row_as_it_was() {
    let mut till = Till::new(points(living(Lifetime::Days(30)), DebtPolicy::Debt, None));
    till.doubling(1_000);
    let (earned, _) = till.on("2026-01-10T12:00").done(earn(100, None));
    till.on("2026-01-20T12:00").done(redeem(50));
    till.on("2026-03-01T12:00").sweep();
    till.on("2026-04-10T12:00").done(refund(earned, 100));
    let march = rolled(&till, "2026-03-01T00:00", "2026-04-01T00:00");
    assert_eq!(units(&march, LineKind::Liability, ""), (150, moved([(Column::Expired, -150)]), 0));
    let april = rolled(&till, "2026-04-01T00:00", "2026-05-01T00:00");
    let back = |units| moved([(Column::Expired, units), (Column::TakenBack, -units)]);
    assert_eq!(units(&april, LineKind::Liability, ""), (0, back(150), 0));
    assert_eq!(units(&april, LineKind::Lots(Source::Campaign), "2026-01"), (0, back(100), 0));
    assert_eq!(units(&april, BASE, "2026-01"), (0, back(50), 0));
    assert_eq!(units(&april, LineKind::Debt, ""), (0, moved([(Column::TakenBack, -50)]), -50));
}

#[test]
fn lots_that_merge_and_units_that_mature_keep_their_months() {
    let mut till = Till::new(points(living(Lifetime::Days(400)), DebtPolicy::Debt, None));
    // 40 lots, a day after the other: those that are too many go into their neighbours.
    for day in 0..40 {
        till.now_us = at("2026-01-10T12:00") + day * 86_400_000_000;
        till.done(earn(10, None));
    }
    let merged = till.since(0).iter().filter(|said| said.what == "merged").count();
    assert!(merged >= 8, "{merged}");
    let until = Some(Matures::At(at("2026-05-01T00:00")));
    till.on("2026-02-20T12:00").done(earn(7, until));
    till.on("2026-05-10T12:00").sweep();
    till.done(redeem(225));
    let may = rolled(&till, "2026-05-01T00:00", "2026-06-01T00:00");
    // 22 days of January, 18 of February.
    assert_eq!(units(&may, BASE, "2026-01"), (220, moved([(Column::Redeemed, -220)]), 0));
    assert_eq!(units(&may, BASE, "2026-02"), (187, moved([(Column::Redeemed, -5)]), 182));
}

#[test]
fn units_are_valued_when_they_move_and_a_change_of_value_is_told_apart() {
    let value = |from_us, numerator, redeemed_bp| FairValue {
        from_us,
        minor_per_unit: Ratio { numerator, denominator: 3 },
        redeemed_bp,
    };
    let more = |values: Vec<FairValue>| {
        let mut more: ProgramMore = points(NEVER, DebtPolicy::Debt, None);
        more.assets[0].values = values;
        more
    };
    let first = value(i64::MIN, 2, 10_000);
    let mut till = Till::new(more(vec![first]));
    till.on("2026-01-10T12:00").done(earn(100, None));
    let second = value(at("2026-02-15T00:00"), 2, 5_000);
    till.on("2026-02-01T12:00").operator(AdminAction::PutProgram {
        expected_version: None,
        spec: Box::new(rules_of(more(vec![first, second]))),
        definition: String::new(),
    });
    till.on("2026-02-10T12:00").done(redeem(10));
    till.on("2026-02-20T12:00").done(redeem(10));
    let february = rolled(&till, "2026-02-01T00:00", "2026-03-01T00:00");
    let line = found(&february, BASE, "2026-01");
    assert_eq!((line.units.opening, line.units.closing), (100, 80));
    // 66.67 at first; 6.67 and 3.33 spent; 26.67 at the end. Fractions are dropped.
    assert_eq!((line.minor.opening, line.minor.moved[2], line.minor.closing), (66, -9, 26));
    assert_eq!(line.minor.value_change, -31);
    let march = rolled(&till, "2026-03-01T00:00", "2026-04-01T00:00");
    assert_eq!(found(&march, BASE, "2026-01").minor.opening, 26);
}

const GIVEN: LineKind = LineKind::Lots(Source::Transferred);

/// Ann earned in January and February, and gave some of it in March to bob, who owed 30; cid earned in three months.
fn given() -> Till {
    let mut till = Till::new(points(NEVER, DebtPolicy::Debt, None));
    till.on("2026-01-10T12:00").done(earn(100, None));
    let (earned, _) = done(&mut till, (0, "bob"), earn(30, None));
    done(&mut till, (0, "bob"), redeem(30));
    done(&mut till, (0, "bob"), refund(earned, 30));
    done(&mut till, (0, "cid"), earn(1, None));
    till.on("2026-02-10T12:00").done(earn(50, None));
    done(&mut till, (0, "cid"), earn(1, None));
    till.on("2026-03-10T12:00");
    done(&mut till, (0, "cid"), earn(1, None));
    let action = give_points(&till, "bob", 120);
    till.done(action);
    till
}

#[test]
fn units_that_are_given_keep_their_months_and_settle_what_the_receiver_owed() {
    let mut till = given();
    let march = rolled(&till, "2026-03-01T00:00", "2026-04-01T00:00");
    assert_eq!(units(&march, BASE, "2026-01"), (101, moved([(Column::Transferred, -100)]), 1));
    assert_eq!(units(&march, BASE, "2026-02"), (51, moved([(Column::Transferred, -20)]), 31));
    let settling = moved([(Column::Transferred, 100), (Column::Settled, -30)]);
    assert_eq!(units(&march, GIVEN, "2026-01"), (0, settling, 70));
    assert_eq!(units(&march, GIVEN, "2026-02"), (0, moved([(Column::Transferred, 20)]), 20));
    assert_eq!(units(&march, LineKind::Debt, ""), (-30, moved([(Column::Settled, 30)]), 0));
    // A member who goes into another moves nothing from row to row.
    let action = merge(&till, "bob");
    till.on("2026-04-10T12:00").done(action);
    let april = rolled(&till, "2026-04-01T00:00", "2026-05-01T00:00");
    for (kind, month, all) in [(BASE, "2026-02", 31), (GIVEN, "2026-01", 70), (LineKind::Liability, "", 123)] {
        assert_eq!(units(&april, kind, month), (all, moved([]), all));
    }
    till.on("2026-05-10T12:00");
    // What bob was given is in the lot that was opened first.
    done(&mut till, (0, "bob"), redeem(75));
    let may = rolled(&till, "2026-05-01T00:00", "2026-06-01T00:00");
    assert_eq!(units(&may, GIVEN, "2026-01"), (70, moved([(Column::Redeemed, -70)]), 0));
    assert_eq!(units(&may, GIVEN, "2026-02"), (20, moved([(Column::Redeemed, -5)]), 15));
    assert_eq!(units(&may, BASE, "2026-02"), (31, moved([]), 31));
}

#[test]
fn what_a_member_who_goes_owed_is_settled_by_the_first_units_of_who_stays() {
    let mut till = Till::new(points(NEVER, DebtPolicy::Debt, None));
    done(&mut till, (0, "bob"), earn(100, None));
    till.on("2026-02-10T12:00");
    done(&mut till, (0, "bob"), earn(50, None));
    let (earned, _) = till.done(earn(120, None));
    till.done(redeem(120));
    till.done(refund(earned, 120));
    let action = merge(&till, "bob");
    till.on("2026-03-10T12:00").done(action);
    let march = rolled(&till, "2026-03-01T00:00", "2026-04-01T00:00");
    assert_eq!(units(&march, BASE, "2026-01"), (100, moved([(Column::Settled, -100)]), 0));
    assert_eq!(units(&march, BASE, "2026-02"), (50, moved([(Column::Settled, -20)]), 30));
    assert_eq!(units(&march, LineKind::Debt, ""), (-120, moved([(Column::Settled, 120)]), 0));
}

#[test]
fn members_who_gave_to_each_other_are_walked_over_together_where_there_is_no_room_for_all() {
    let till = given();
    let period = Period {
        program: ProgramNo(0),
        asset: None,
        opening: Op(0),
        closing: Op(u64::try_from(till.book.shelf.events.len()).unwrap()),
        from_us: 0,
        until_us: i64::MAX,
    };
    let whole = roll_forward(&till.book, &period).unwrap();
    let parted = roll_forward_within(&till.book, &period, 4).unwrap();
    assert_eq!(parted.lines, whole.lines);
    assert!(parted.events_read > whole.events_read, "it was made in parts");
    assert!(matches!(roll_forward_within(&till.book, &period, 2), Err(RollError::Full)));
}

#[test]
fn by_effective_time_a_transfer_counts_on_both_sides_or_on_none() {
    let till = given();
    let newest = Op(u64::try_from(till.book.shelf.events.len()).unwrap());
    let cut = Cut { at_us: at("2026-03-05T00:00"), posted: newest, known: newest };
    let lines = cut_off::lines(&till.book, &cut, &[]).unwrap();
    let ahead = |class| lines[&(ProgramNo(0), AssetNo::POINTS, class, Why::DatedAhead)];
    // Of the 120 that were given 30 settled what was owed; the other unit was earned.
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!((ahead(Class::Available), ahead(Class::Debt), ahead(Class::Issuance)), (30 - 1, -30, 1));
}
