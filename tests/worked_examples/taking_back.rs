//! Refunds of what is there, spent, held and lapsed, under each policy; parts that come to the whole.

use stampbook::ledger::command::{Action, Basis, Original};
use stampbook::ledger::ids::{AssetNo, Op};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{AlsoAward, DebtPolicy, Lifetime, Rounding, RuleMore};

use super::till::{Till, at, earn, hold, points, redeem, refund, rules_of};
use super::{legs, part};
use model::rules::{GROWTH, NEVER, living, ratio};

const POLICIES: [DebtPolicy; 3] = [DebtPolicy::Debt, DebtPolicy::Clamp, DebtPolicy::Reject];

/// 100 base and 100 bonus earned on the first of January; they live for thirty days, or for ever.
fn earned(debt: DebtPolicy, lapsing: bool) -> (Till, Op) {
    let expiry = if lapsing { living(Lifetime::Days(30)) } else { NEVER };
    let mut till = Till::new(points(expiry, debt, None));
    till.doubling(100);
    let (original, said) = till.done(earn(100, None));
    assert_eq!(said.after, (200, 0));
    (till, original)
}

#[test]
fn a_refund_of_what_is_there_takes_it_under_every_policy() {
    for debt in POLICIES {
        let (mut till, original) = earned(debt, false);
        let (_, said) = till.done(refund(original, 100));
        let expected =
            [("issuance", 100), ("campaign/double", 100), ("member/ann/base", -100), ("member/ann/campaign", -100)];
        assert_eq!((said.legs, said.after), (legs(&expected), (0, 0)), "{debt:?}");
    }
}

#[test]
fn example_7_a_refund_of_what_was_spent_is_owed_under_debt() {
    let (mut till, original) = earned(DebtPolicy::Debt, false);
    till.done(redeem(150));
    let (_, said) = till.done(refund(original, 100));
    let expected =
        [("issuance", 100), ("campaign/double", 100), ("member/ann/campaign", -50), ("member/ann/debt", -150)];
    assert_eq!((said.legs, said.after), (legs(&expected), (0, 150)));
    let (_, said) = till.done(earn(60, None));
    assert_eq!((said.after, said.legs["member/ann/debt"]), ((0, 30), 120), "the bonus settles debt too");
}

#[test]
fn a_refund_of_what_was_spent_owes_no_more_than_the_limit() {
    let mut till = Till::new(points(NEVER, DebtPolicy::Debt, Some(70)));
    till.doubling(100);
    let (original, _) = till.done(earn(100, None));
    till.done(redeem(150));
    let (_, said) = till.done(refund(original, 100));
    let expected = [("issuance", 100), ("campaign/double", 20), ("member/ann/campaign", -50), ("member/ann/debt", -70)];
    assert_eq!((said.legs, said.after, said.more["not taken of part 2"]), (legs(&expected), (0, 70), 80));
}

#[test]
fn a_refund_of_what_was_spent_is_let_go_under_clamp_of_the_bonus_first_and_counts_as_taken() {
    let (mut till, original) = earned(DebtPolicy::Clamp, false);
    till.done(redeem(150));
    let (_, said) = till.done(refund(original, 60));
    let expected = [("issuance", 50), ("member/ann/campaign", -50)];
    assert_eq!((said.legs, said.after), (legs(&expected), (0, 0)));
    assert_eq!((said.base, &said.parts[..]), (60, &[part("double", 100, 60, None)][..]));
    assert_eq!((said.more["not taken of part 0"], said.more["not taken of part 2"]), (10, 60));
    // What is earned later is not taken for what was let go.
    till.done(earn(500, None));
    let (_, said) = till.done(refund(original, 40));
    assert_eq!((said.base, said.parts[0].moved), (40, 40));
    assert_eq!((said.legs["issuance"], said.legs["campaign/double"], said.after), (40, 40, (420, 0)));
    assert_eq!(till.refused(refund(original, 1)), Reason::RefundExceedsOriginal);
}

#[test]
fn a_refund_of_what_was_spent_is_refused_whole_under_reject() {
    let (mut till, original) = earned(DebtPolicy::Reject, false);
    till.done(redeem(150));
    assert_eq!(till.refused(refund(original, 26)), Reason::RefundNotCovered);
    assert_eq!(till.done(refund(original, 25)).1.after, (0, 0));
}

#[test]
fn held_points_are_not_taken() {
    for (debt, after) in [(DebtPolicy::Debt, (0, 120)), (DebtPolicy::Clamp, (0, 0))] {
        let (mut till, original) = earned(debt, false);
        till.done(hold(120, "2026-01-20T12:00"));
        let (_, said) = till.done(refund(original, 100));
        assert_eq!((said.after, said.others[&0][1]), (after, 120), "{debt:?}");
    }
    let (mut till, original) = earned(DebtPolicy::Reject, false);
    till.done(hold(120, "2026-01-20T12:00"));
    assert_eq!(till.refused(refund(original, 100)), Reason::RefundNotCovered);
}

#[test]
fn example_9_what_lapsed_of_its_own_comes_from_breakage_and_what_was_spent_is_owed() {
    let (mut till, original) = earned(DebtPolicy::Debt, true);
    till.done(redeem(50));
    let (_, said) = till.on("2026-02-05T12:00").done(refund(original, 100));
    let expected = [("issuance", 100), ("campaign/double", 100), ("breakage", -150), ("member/ann/debt", -50)];
    assert_eq!((said.legs, said.after, said.more["lapsed of 0"]), (legs(&expected), (0, 50), 150));
}

#[test]
fn example_9_with_another_lot_takes_from_that_what_was_spent() {
    for debt in POLICIES {
        let (mut till, original) = earned(debt, true);
        till.done(redeem(50));
        till.on("2026-02-05T12:00").lot(200, None);
        let other = format!("member/ann/opening@{}", at("2026-03-08T00:00") / 60_000_000);
        let (_, said) = till.done(refund(original, 100));
        let expected = [("issuance", 100), ("campaign/double", 100), ("breakage", -150), (&other, -50)];
        assert_eq!((said.legs, said.after), (legs(&expected), (150, 0)), "{debt:?}");
    }
}

#[test]
fn what_lapsed_is_taken_once_over_many_refunds_and_what_others_lost_is_not_taken() {
    for (debt, rest) in [(DebtPolicy::Clamp, None), (DebtPolicy::Reject, Some(Reason::RefundNotCovered))] {
        let (mut till, original) = earned(debt, true);
        till.done(redeem(50));
        till.on("2026-02-05T12:00").lot(500, Some("2026-02-06T00:00"));
        till.on("2026-02-07T12:00");
        assert_eq!(till.done(refund(original, 30)).1.legs["breakage"], -60);
        assert_eq!(till.done(refund(original, 45)).1.legs["breakage"], -90);
        let (_, said) = till.post(refund(original, 25));
        assert_eq!(said.refused.map(|(reason, _)| reason), rest);
        assert!(!said.legs.contains_key("breakage"));
    }
}

#[test]
fn what_lapsed_when_a_hold_let_it_go_is_the_earns_own() {
    let (mut till, original) = earned(DebtPolicy::Debt, true);
    let (held, _) = till.on("2026-01-20T12:00").done(hold(200, "2026-02-15T12:00"));
    till.on("2026-02-05T12:00").done(super::till::release(held));
    let (_, said) = till.done(refund(original, 100));
    assert_eq!((said.legs["breakage"], said.after), (-200, (0, 0)));
}

#[test]
fn own_units_are_found_where_a_merge_took_them() {
    let mut till = Till::new(points(living(Lifetime::Days(300)), DebtPolicy::Debt, None));
    let (original, _) = till.done(earn(10, None));
    for n in 0..stampbook::ledger::event::LOTS_MAX {
        till.now_us += 86_400_000_000 * if n == 0 { 1 } else { 2 };
        till.done(earn(1, None));
    }
    // The first two lots are one by now, of which the eldest units are those of the first earn.
    let before = till.book.shelf.events.len();
    let (_, said) = till.done(refund(original, 10));
    let lapses = till_lapses("2026-01-02", 300);
    assert_eq!(said.legs, legs(&[("issuance", 10), (&lapses, -10)]));
    assert_eq!(till.since(before).len(), 1);
}

/// The account of base units that live so many days from a date.
fn till_lapses(date: &str, days: i64) -> String {
    let date: jiff::civil::Date = date.parse().unwrap();
    let lapses = date.checked_add(jiff::Span::new().days(days + 1)).unwrap();
    format!("member/ann/base@{}", at(&format!("{lapses}T00:00")) / 60_000_000)
}

#[test]
fn parts_of_any_size_come_to_the_whole_leg_by_leg() {
    for pieces in [vec![100], vec![1; 100], vec![33, 33, 34], vec![7, 50, 1, 1, 41]] {
        let (mut till, original) = earned(DebtPolicy::Debt, true);
        till.done(redeem(30));
        till.on("2026-02-05T12:00");
        let mut sums = std::collections::BTreeMap::new();
        for pounds in pieces {
            for (account, amount) in till.done(refund(original, pounds)).1.legs {
                *sums.entry(account).or_insert(0) += amount;
            }
        }
        let expected = [("issuance", 100), ("campaign/double", 100), ("breakage", -170), ("member/ann/debt", -30)];
        assert_eq!(sums, legs(&expected));
        assert_eq!(till.refused(refund(original, 1)), Reason::RefundExceedsOriginal);
    }
}

#[test]
fn a_second_award_is_taken_back_in_proportion_in_its_own_asset() {
    let mut spec = rules_of(points(NEVER, DebtPolicy::Debt, None));
    let also = AlsoAward { asset: GROWTH, rate: ratio(1, 1_000), rounding: Rounding::Floor };
    spec.rules[0].more = stampbook::ledger::later::Later::new(RuleMore { also: Some(also), pending: None });
    let mut till = Till::open(spec);
    let (original, said) = till.done(earn(55, None));
    let expected = [("issuance", -55), ("member/ann/base", 55), ("1:issuance", -5), ("1:member/ann/base", 5)];
    assert_eq!((said.legs, said.others[&1]), (legs(&expected), [5, 0, 0, 0]));
    let (_, said) = till.done(refund(original, 21));
    assert_eq!((said.base, said.more["also"], said.more["also so far"]), (21, 1, 1));
    let (_, said) = till.done(refund(original, 34));
    assert_eq!((said.base, said.more["also"], said.others[&1]), (34, 4, [0; 4]));
}

#[test]
fn a_refund_that_names_no_original_takes_the_base_of_its_time_from_any_lot() {
    for (debt, outcome) in
        [(DebtPolicy::Debt, Ok((0, 15))), (DebtPolicy::Clamp, Ok((0, 0))), (DebtPolicy::Reject, Err(()))]
    {
        let mut till = Till::new(points(NEVER, debt, None));
        till.doubling(100).lot(5, None);
        let (basis, event_kind) = (Basis::Spend(20_00), Some("purchase".into()));
        let (_, said) = till.post(Action::Refund { original: Original::None, basis, event_kind });
        match outcome {
            Ok(after) => assert_eq!((said.base, said.after), (20, after), "{debt:?}"),
            Err(()) => assert_eq!(said.refused.map(|(reason, _)| reason), Some(Reason::RefundNotCovered)),
        }
    }
}

#[test]
fn a_gift_undone_is_taken_back_as_a_refund_is() {
    let mut till = Till::new(points(NEVER, DebtPolicy::Clamp, None));
    let adjust =
        |points| Action::Adjust { asset: AssetNo::POINTS, points, actor: "ana".into(), reason: "sorry".into() };
    let (given, _) = till.done(adjust(100));
    till.done(redeem(70));
    let (_, said) = till.done(super::till::reverse(given, Some(20)));
    assert_eq!(said.legs, legs(&[("adjustment", 20), ("member/ann/granted", -20)]));
    let (_, said) = till.done(super::till::reverse(given, None));
    assert_eq!((said.legs["adjustment"], said.more["not taken"], said.more["units so far"]), (10, 70, 100));
    assert_eq!(till.refused(super::till::reverse(given, None)), Reason::ReverseExceedsOriginal);
    // What was taken from a member comes back to the lots that it was taken from.
    till.lot(9, None);
    let (taken, _) = till.done(adjust(-9));
    let (_, said) = till.done(super::till::reverse(taken, None));
    assert_eq!(said.legs, legs(&[("adjustment", -9), ("member/ann/opening", 9)]));
}
