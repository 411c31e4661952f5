//! Refunds of what is there, spent, lapsed and held, under each policy.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

#[test]
fn example_7_what_was_spent_is_owed_and_the_next_earn_settles_it() {
    let mut world = World::new(OWED);
    let op = world.post(earn("purchase", 10_000));
    spent(&mut world, 150);
    let refunded = world.post(refund(op, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 100, 0, 0, 0, -150, 0, -50]);
    world.post(earn("plain", 6_000));
    assert_eq!((world.ann().debt(POINTS), world.lots(POINTS)), (90, vec![]));
}

#[test]
fn example_8_thirds_of_a_purchase_come_to_the_whole() {
    let mut world = World::new(OWED);
    let op = world.post(earn("purchase", 10_000));
    for (amount, taken) in [(3_333, 33), (3_333, 33), (3_334, 34)] {
        let refunded = world.post(refund(op, amount));
        assert_eq!(world.moved(refunded, POINTS), [taken, taken, 0, 0, 0, 0, 0, -2 * taken]);
        assert_eq!(world.more(refunded), RefundMore::default(), "it says nothing new");
    }
    assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
}

#[test]
fn example_9_what_lapsed_comes_from_breakage_before_other_lots_and_debt() {
    let rules = Rules { days: Some(10), ..OWED };
    for (other, from_other, owed) in [(0, 0, 50), (200, 50, 0)] {
        let mut world = World::new(rules);
        let op = world.post(earn("purchase", 10_000));
        spent(&mut world, 50);
        world.now_us += 20 * DAY_US;
        if other > 0 {
            world.post(adjust(other));
        }
        let refunded = world.post(refund(op, 10_000));
        assert_eq!(world.moved(refunded, POINTS), [100, 100, 0, 0, -150, -owed, 0, -from_other]);
        assert_eq!(world.more(refunded).lapsed, vec![(POINTS, 150, 150)]);
    }
}

#[test]
fn parts_of_a_refund_take_what_lapsed_once() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let op = world.post(earn("plain", 10_000));
    spent(&mut world, 30);
    world.now_us += 20 * DAY_US;
    world.post(adjust(20));
    let parts = [5_000, 2_500, 2_500].map(|amount| world.post(refund(op, amount)));
    let moved = parts.map(|part| world.moved(part, POINTS));
    assert_eq!(moved, [[50, 0, 0, 0, -50, 0, 0, 0], [25, 0, 0, 0, -20, 0, 0, -5], [25, 0, 0, 0, 0, -10, 0, -15],]);
    assert_eq!(world.more(parts[1]).lapsed, vec![(POINTS, 20, 70)]);
    assert_eq!(world.more(parts[2]).lapsed, vec![(POINTS, 0, 70)]);
}

#[test]
fn a_clamp_lets_campaigns_bear_what_is_missing_and_counts_it_as_taken() {
    let mut world = World::new(Rules { debt: DebtPolicy::Clamp, ..OWED });
    let op = world.post(earn("purchase", 10_000));
    spent(&mut world, 150);
    let refunded = world.post(refund(op, 7_500));
    assert_eq!(world.moved(refunded, POINTS), [50, 0, 0, 0, 0, 0, 0, -50]);
    assert_eq!(world.more(refunded).not_taken, vec![(0, 25), (2, 75)]);
    world.post(earn("plain", 100_000));
    let rest = world.post(refund(op, 2_500));
    assert_eq!(world.moved(rest, POINTS), [25, 25, 0, 0, 0, 0, 0, -50], "what was let go is not asked again");
    assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
}

#[test]
fn debt_ends_at_its_limit_and_what_is_beyond_is_told() {
    let mut world = World::new(Rules { debt_max: Some(60), ..OWED });
    let op = world.post(earn("purchase", 10_000));
    spent(&mut world, 200);
    let first = world.post(refund(op, 2_000));
    assert_eq!(world.moved(first, POINTS), [20, 20, 0, 0, 0, -40, 0, 0]);
    let second = world.post(refund(op, 8_000));
    assert_eq!(world.moved(second, POINTS), [20, 0, 0, 0, 0, -20, 0, 0]);
    assert_eq!(world.more(second).not_taken, vec![(0, 60), (2, 80)]);
}

#[test]
fn reject_takes_all_or_nothing() {
    let mut world = World::new(Rules { debt: DebtPolicy::Reject, ..OWED });
    let op = world.post(earn("purchase", 10_000));
    spent(&mut world, 120);
    assert_eq!(world.refused(refund(op, 5_000)), Reason::RefundNotCovered);
    let refunded = world.post(refund(op, 4_000));
    assert_eq!(world.moved(refunded, POINTS), [40, 40, 0, 0, 0, 0, 0, -80]);
    world.post(earn("plain", 100_000));
    world.post(refund(op, 6_000));
    assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
}

#[test]
fn a_second_award_is_taken_back_in_its_own_asset() {
    let mut world = World::new(OWED);
    let op = world.post(earn("grown", 1_000));
    let first = world.post(refund(op, 500));
    assert_eq!(world.moved(first, POINTS), [5, 5, 0, 0, 0, 0, 0, -10]);
    assert_eq!(world.moved(first, GROWTH), [166, 0, 0, 0, 0, 0, 0, -166]);
    let second = world.post(refund(op, 500));
    assert_eq!(world.moved(second, GROWTH), [167, 0, 0, 0, 0, 0, 0, -167]);
    assert_eq!((world.lots(POINTS), world.lots(GROWTH)), (vec![], vec![]));
    let alone = Action::Refund { original: Original::None, basis: Basis::Spend(300), event_kind: Some("grown".into()) };
    let alone = world.post(alone);
    assert_eq!(world.moved(alone, GROWTH), [100, 0, 0, 0, 0, -100, 0, 0]);
    assert_eq!(world.moved(alone, POINTS), [3, 0, 0, 0, 0, -3, 0, 0], "no bonus without an original");
}

#[test]
fn held_units_are_not_taken() {
    let mut world = World::new(OWED);
    let op = world.post(earn("plain", 10_000));
    world.post(Action::Hold { asset: POINTS, units: 70, until_us: None, purpose: Purpose::Gift });
    let refunded = world.post(refund(op, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 0, 0, 0, 0, -70, 0, -30]);
}
