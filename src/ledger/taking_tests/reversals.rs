//! Spending and gifts undone.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

#[test]
fn example_6_what_was_taken_last_comes_back_first_and_what_lapsed_goes_on_to_breakage() {
    let (mut world, op) = example_6(0);
    let undone = world.post(reverse(op, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -100, 0, 50, 0, 0, 50]);
    assert_eq!(world.ann().balances(POINTS).available, 110);
    let (mut world, op) = example_6(0);
    let first = world.post(reverse(op, Some(60)));
    assert_eq!(world.moved(first, POINTS), [0, 0, -60, 0, 10, 0, 0, 50]);
    assert_eq!(world.refused(reverse(op, Some(41))), Reason::ReverseExceedsOriginal);
    let second = world.post(reverse(op, Some(40)));
    assert_eq!(world.moved(second, POINTS), [0, 0, -40, 0, 40, 0, 0, 0]);
    assert_eq!(world.refused(reverse(op, None)), Reason::ReverseExceedsOriginal);
    assert_eq!(world.refused(reverse(second, None)), Reason::NotReversible);
}

#[test]
fn days_of_grace_open_a_lot_for_what_had_lapsed() {
    let (mut world, op) = example_6(3);
    let undone = world.post(reverse(op, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -100, 0, 0, 0, 0, 100]);
    let lapses = world.ann().lot(LotKey { asset: POINTS, lot: world.lots(POINTS)[0].0 }).unwrap().key.lot;
    let minute = u32::try_from((BEGAN_US + 16 * DAY_US) / 60_000_000).unwrap();
    assert_eq!(lapses, LotId { source: Source::Base, expiry: Expiry::At(minute) }, "three whole days more");
}

#[test]
fn undone_spending_settles_debt_first() {
    let mut world = World::new(OWED);
    let op = world.post(earn("plain", 10_000));
    let gift = spent(&mut world, 100);
    world.post(refund(op, 6_000));
    let undone = world.post(reverse(gift, Some(70)));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -70, 0, 0, 60, 0, 10]);
}

#[test]
fn what_was_given_away_and_what_undid_another_is_not_undone() {
    let mut world = World::new(OWED);
    let op = world.post(earn("plain", 10_000));
    let charity = world.post(redeem(POINTS, 10, Purpose::Charity));
    for (named, reason) in [
        (charity, Reason::NotReversible),
        (op, Reason::NotReversible),
        (Op(1), Reason::NotReversible),
        (Op(900), Reason::OriginalNotFound),
    ] {
        assert_eq!(world.refused(reverse(named, None)), reason);
    }
    let gift = spent(&mut world, 10);
    assert_eq!(world.try_for("bob", reverse(gift, None)).1, Some(Reason::MemberUnknown));
    world.try_for("bob", earn("plain", 100));
    assert_eq!(world.try_for("bob", reverse(gift, None)).1, Some(Reason::OriginalOtherMember));
    assert_eq!(
        world.try_for("bob", Action::Activate { original: Original::Op(op) }).1,
        Some(Reason::OriginalOtherMember)
    );
}

#[test]
fn a_capture_is_undone_as_a_redemption_is_and_its_hold_stays_over() {
    let mut world = World::new(OWED);
    world.post(earn("plain", 10_000));
    let hold = world.post(Action::Hold { asset: POINTS, units: 70, until_us: None, purpose: Purpose::Gift });
    let capture = world.post(Action::Capture { hold: Original::Op(hold), units: 40, last: true });
    assert_eq!(world.ann().balances(POINTS).available, 60);
    let undone = world.post(reverse(capture, Some(15)));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -15, 0, 0, 0, 0, 15]);
    assert_eq!(world.refused(reverse(hold, None)), Reason::NotReversible);
    assert_eq!(world.refused(Action::Release { hold: Original::Op(hold) }), Reason::HoldUnknown);
}

#[test]
fn of_a_top_up_the_bonus_goes_in_proportion() {
    let mut world = World::new(Rules { debt: DebtPolicy::Clamp, ..OWED });
    let op = world.post(Action::TopUp { asset: STORED, principal: 1_000, bonus: 101 });
    world.post(redeem(STORED, 500, Purpose::Payment));
    let first = world.post(reverse(op, Some(300)));
    assert_eq!(world.moved(first, STORED), [30, 0, 0, 300, 0, 0, 0, -330]);
    let second = world.post(reverse(op, None));
    assert_eq!(world.moved(second, STORED), [0, 0, 0, 271, 0, 0, 0, -271], "200 of the principal, 71 of the bonus");
    let Event::Reversed(reversed) = world.event(second) else { panic!("no reversal") };
    assert_eq!((reversed.units, reversed.units_total, reversed.not_taken), (700, 1_000, 500));
}

#[test]
fn an_adjustment_is_undone_either_way() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let given = world.post(adjust(100));
    let taken = world.post(adjust(-40));
    let undone = world.post(reverse(taken, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -40, 0, 0, 0, 0, 40]);
    world.now_us += 20 * DAY_US;
    let undone = world.post(reverse(given, Some(50)));
    assert_eq!(world.moved(undone, POINTS), [0, 0, 50, 0, -50, 0, 0, 0]);
    let undone = world.post(reverse(given, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, 50, 0, -10, -40, 0, 0], "forty of it had been taken");
}

#[test]
fn a_gift_that_was_spent_is_undone_whole_or_not_at_all_under_reject() {
    let mut world = World::new(Rules { debt: DebtPolicy::Reject, ..OWED });
    let op = world.post(adjust(100));
    spent(&mut world, 70);
    assert_eq!(world.refused(reverse(op, Some(31))), Reason::RefundNotCovered);
    let undone = world.post(reverse(op, Some(30)));
    assert_eq!(world.moved(undone, POINTS), [0, 0, 30, 0, 0, 0, 0, -30]);
    assert_eq!(world.refused(reverse(op, None)), Reason::RefundNotCovered);
    world.post(earn("plain", 7_000));
    let undone = world.post(reverse(op, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, 70, 0, 0, 0, 0, -70]);
    assert_eq!(world.refused(reverse(op, Some(1))), Reason::ReverseExceedsOriginal);
}
