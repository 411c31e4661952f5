//! Pending units, and units that went into another lot.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

#[test]
fn a_refund_takes_pending_units_first_and_the_rest_matures() {
    let mut world = World::new(Rules { days: Some(100), ..OWED });
    world.post(adjust(500));
    let at = world.now_us + 7 * DAY_US;
    let op = world.post(pending("purchase", 10_000, Matures::At(at)));
    let first = world.post(refund(op, 2_500));
    assert_eq!(world.moved(first, POINTS), [25, 25, 0, 0, 0, 0, -50, 0]);
    world.now_us = at;
    world.settle();
    assert_eq!(world.ann().balances(POINTS).available, 650);
    let second = world.post(refund(op, 7_500));
    assert_eq!(world.moved(second, POINTS), [75, 75, 0, 0, 0, 0, 0, -150]);
    assert_eq!(
        world.lots(POINTS).iter().map(|(lot, units)| (lot.source, *units)).collect::<Vec<_>>(),
        [(Source::Granted, 500)]
    );
}

#[test]
fn activated_units_settle_debt_first_and_are_followed_by_a_refund() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let first = world.post(earn("plain", 3_000));
    spent(&mut world, 30);
    world.post(refund(first, 3_000));
    let op = world.post(pending("purchase", 10_000, Matures::Activated));
    assert_eq!(world.refused(Action::Activate { original: Original::Op(first) }), Reason::NotPending);
    let activated = world.post(Action::Activate { original: Original::Op(op) });
    assert_eq!(world.moved(activated, POINTS), [0, 0, 0, 0, 0, 30, -200, 170]);
    assert_eq!(world.refused(Action::Activate { original: Original::Op(op) }), Reason::NotPending);
    world.now_us += 20 * DAY_US;
    let refunded = world.post(refund(op, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 100, 0, 0, -170, -30, 0, 0], "what lapsed, and what settled debt");
}

#[test]
fn units_that_lapse_while_they_wait_go_to_breakage_when_activated() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let op = world.post(pending("plain", 10_000, Matures::Activated));
    world.now_us += 20 * DAY_US;
    let activated = world.post(Action::Activate { original: Original::Op(op) });
    assert_eq!(world.moved(activated, POINTS), [0, 0, 0, 0, 100, 0, -100, 0]);
    let refunded = world.post(refund(op, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 0, 0, 0, -100, 0, 0, 0]);
}

#[test]
fn a_refund_follows_units_into_the_lot_that_theirs_went_into() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let mut ops = Vec::new();
    for _ in 0..40 {
        // The same source, a lot a day, all alive: more than there may be.
        world.now_us += 3_600_000_000;
        ops.push(world.post(Action::Grant {
            asset: COUPON,
            units: 10,
            lapses_us: Some(world.now_us + 300 * DAY_US + i64::try_from(ops.len()).unwrap() * DAY_US),
        }));
    }
    assert_eq!(world.lots(COUPON).len(), 32);
    for op in ops {
        let undone = world.post(reverse(op, None));
        assert_eq!(world.moved(undone, COUPON), [10, 0, 0, 0, 0, 0, 0, -10]);
    }
    assert_eq!(world.lots(COUPON), vec![]);
}
