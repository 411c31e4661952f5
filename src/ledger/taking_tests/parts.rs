//! Parts, in any order and split, come to the whole.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

/// How many of the units of an earn are gone before it is refunded, and in how many parts.
fn split() -> impl Strategy<Value = (u64, u64, Vec<u64>, Rules)> {
    let policy = prop_oneof![Just(DebtPolicy::Debt), Just(DebtPolicy::Clamp)];
    let rules = (policy, any::<bool>()).prop_map(|(debt, lapses)| Rules { debt, days: lapses.then_some(10), ..OWED });
    (1_000_u64..100_000, 0_u64..1_200, prop::collection::vec(1_u64..1_000, 1..12), rules)
}

/// Amounts that weigh so much and come to the whole.
fn parts_of(whole: u64, weights: &[u64]) -> Vec<u64> {
    let (weight, mut left) = (weights.iter().sum::<u64>(), whole);
    let mut parts = Vec::new();
    for share in weights {
        let part = (whole * share / weight).min(left);
        left -= part;
        parts.extend(Some(part).filter(|part| *part > 0));
    }
    parts.extend(Some(left).filter(|left| *left > 0));
    parts
}

fn add(sums: &mut [i64; 8], moved: [i64; 8]) {
    sums.iter_mut().zip(moved).for_each(|(sum, moved)| *sum += moved);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn parts_of_a_refund_come_to_the_whole_leg_by_leg((amount, gone, weights, rules) in split()) {
        let sums = |parts: &[u64]| {
            let mut world = World::new(rules);
            let op = world.post(earn("grown", amount));
            let there = u64::try_from(world.ann().balances(POINTS).available).unwrap();
            if gone.min(there) > 0 {
                spent(&mut world, gone.min(there));
            }
            if rules.days.is_some() {
                world.now_us += 20 * DAY_US;
            }
            world.post(adjust(37));
            let mut sums = [[0; 8]; 2];
            for part in parts {
                let refunded = world.post(refund(op, *part));
                for (sum, asset) in sums.iter_mut().zip([POINTS, GROWTH]) {
                    add(sum, world.moved(refunded, asset));
                }
            }
            assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
            if rules.debt == DebtPolicy::Clamp {
                // Who bears what is not taken depends on what was asked when it was missing.
                (sums[0][0], sums[0][1]) = (sums[0][0] + sums[0][1], 0);
            }
            (sums, world.lots(POINTS), world.ann().debts)
        };
        let parts = parts_of(amount, &weights);
        prop_assert_eq!(sums(&parts), sums(&[amount]));
    }

    #[test]
    fn parts_of_a_reversal_come_to_the_whole(weights in prop::collection::vec(1_u64..40, 1..8), grace_days in 0_u32..3) {
        let after = |parts: &[u64]| {
            let (mut world, op) = example_6(grace_days);
            let mut sum = [0; 8];
            for part in parts {
                let undone = world.post(reverse(op, Some(*part)));
                add(&mut sum, world.moved(undone, POINTS));
            }
            assert_eq!(world.refused(reverse(op, None)), Reason::ReverseExceedsOriginal);
            (sum, world.lots(POINTS))
        };
        let (mut parts, mut left) = (Vec::new(), 100);
        for part in weights {
            let part = part.min(left);
            left -= part;
            parts.extend(Some(part).filter(|part| *part > 0));
        }
        parts.extend(Some(left).filter(|left| *left > 0));
        prop_assert_eq!(after(&parts), after(&[100]));
    }

    #[test]
    fn parts_of_two_refunds_in_any_order_come_to_both_leg_by_leg_under_debt(
        amounts in [1_000_u64..50_000, 1_000_u64..50_000],
        gone in 0_u64..1_200,
        weights in [prop::collection::vec(1_u64..1_000, 1..7), prop::collection::vec(1_u64..1_000, 1..7)],
        turns in prop::collection::vec(any::<bool>(), 16),
        lapses in any::<bool>(),
    ) {
        // The first lapses before the second is earned, where units lapse; some of both is spent.
        let after = |order: &[(usize, u64)]| {
            let mut world = World::new(Rules { days: lapses.then_some(10), ..OWED });
            let first = world.post(earn("grown", amounts[0]));
            world.now_us += 8 * DAY_US;
            let second = world.post(earn("purchase", amounts[1]));
            let there = u64::try_from(world.ann().balances(POINTS).available).unwrap();
            if gone.min(there) > 0 {
                spent(&mut world, gone.min(there));
            }
            world.now_us += 5 * DAY_US;
            world.post(adjust(37));
            let (ops, mut sums) = ([first, second], [[0; 8]; 2]);
            for (which, part) in order {
                let refunded = world.post(refund(ops[*which], *part));
                for (sum, asset) in sums.iter_mut().zip([POINTS, GROWTH]) {
                    add(sum, world.moved(refunded, asset));
                }
            }
            for op in ops {
                assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
            }
            (sums, world.lots(POINTS), world.ann().debts)
        };
        let mut left = [0, 1].map(|which| parts_of(amounts[which], &weights[which]));
        let mut order = Vec::new();
        for turn in turns {
            let which = usize::from(turn);
            order.extend(left[which].pop().map(|part| (which, part)));
        }
        for (which, left) in left.into_iter().enumerate() {
            order.extend(left.into_iter().map(|part| (which, part)));
        }
        let whole = after(&[(0, amounts[0]), (1, amounts[1])]);
        prop_assert_eq!(after(&order), whole.clone());
        prop_assert_eq!(after(&[(1, amounts[1]), (0, amounts[0])]), whole);
    }

    #[test]
    fn parts_of_a_gift_undone_come_to_the_whole_leg_by_leg_under_debt(
        given in 10_u64..3_000,
        bonus in 0_u64..700,
        gone in 0_u64..4_000,
        weights in prop::collection::vec(1_u64..1_000, 1..12),
        lapses in any::<bool>(),
    ) {
        let topped_up = |parts: &[u64]| {
            let mut world = World::new(OWED);
            let op = world.post(Action::TopUp { asset: STORED, principal: given, bonus });
            if gone.min(given + bonus) > 0 {
                world.post(redeem(STORED, gone.min(given + bonus), Purpose::Payment));
            }
            let mut sum = [0; 8];
            for part in parts {
                let undone = world.post(reverse(op, Some(*part)));
                add(&mut sum, world.moved(undone, STORED));
            }
            assert_eq!(world.refused(reverse(op, Some(1))), Reason::ReverseExceedsOriginal);
            (sum, world.lots(STORED), world.ann().debts)
        };
        let adjusted = |parts: &[u64]| {
            let mut world = World::new(Rules { days: lapses.then_some(10), ..OWED });
            let op = world.post(adjust(i64::try_from(given).unwrap()));
            if gone.min(given) > 0 {
                spent(&mut world, gone.min(given));
            }
            world.now_us += 20 * DAY_US;
            world.post(earn("plain", 5_000));
            let mut sum = [0; 8];
            for part in parts {
                let undone = world.post(reverse(op, Some(*part)));
                add(&mut sum, world.moved(undone, POINTS));
            }
            assert_eq!(world.refused(reverse(op, Some(1))), Reason::ReverseExceedsOriginal);
            (sum, world.lots(POINTS), world.ann().debts)
        };
        let parts = parts_of(given, &weights);
        prop_assert_eq!(topped_up(&parts), topped_up(&[given]));
        prop_assert_eq!(adjusted(&parts), adjusted(&[given]));
    }
}

#[test]
fn a_thousandth_part_is_refused_by_name_when_nothing_is_left() {
    let mut world = World::new(OWED);
    let op = world.post(earn("purchase", 999));
    let given = world.post(adjust(999));
    let gift = spent(&mut world, 999);
    for _ in 1..1_000 {
        for action in [refund(op, 1), reverse(gift, Some(1)), reverse(given, Some(1))] {
            world.post(action);
        }
    }
    let before = world.ann();
    assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
    for undone in [gift, given] {
        assert_eq!(world.refused(reverse(undone, Some(1))), Reason::ReverseExceedsOriginal);
        assert_eq!(world.refused(reverse(undone, None)), Reason::ReverseExceedsOriginal);
    }
    assert_eq!((world.ann().lots, world.ann().debts), (before.lots, before.debts));
}
