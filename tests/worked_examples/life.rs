//! Holds over a lapse, pending earns, whole units of money, days of grace, too many lots, members frozen and closed.

use stampbook::ledger::command::{Action, Matures, Purpose, Standing};
use stampbook::ledger::event::LOTS_MAX;
use stampbook::ledger::ids::AssetNo;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{DebtPolicy, Lifetime, Offset, PendingRule, ProgramMore, RuleMore};

use super::legs;
use super::till::{
    Till, activate, at, capture, earn, hold, minute, points, redeem, refund, release, reverse, rules_of, standing,
};
use model::rules::{COUPON, GROWTH, NEVER, STARS, WALLET, living};

fn unlapsing() -> ProgramMore {
    points(NEVER, DebtPolicy::Debt, None)
}

/// The account of the lot that was brought over and lapses at a local time.
fn opening(lapses: &str) -> String {
    format!("member/ann/opening@{}", minute(lapses))
}

const JAN: &str = "2026-02-01T00:00";
const MAR: &str = "2026-04-01T00:00";

/// Example 6 up to its reversal: 50 of January and 50 of March spent, and a lot of 30 that never lapses.
fn example_6(more: ProgramMore) -> (Till, stampbook::ledger::ids::Op) {
    let mut till = Till::new(more);
    till.lot(50, Some(JAN));
    till.lot(80, Some(MAR));
    till.lot(30, None);
    let (spent, said) = till.done(redeem(100));
    let expected = [("redemption/gift", 100), (&opening(JAN), -50), (&opening(MAR), -50)];
    assert_eq!((said.legs, said.after), (legs(&expected), (60, 0)));
    till.on("2026-02-15T12:00");
    (till, spent)
}

#[test]
fn example_6_what_was_taken_last_comes_back_first_and_what_had_lapsed_goes_on_to_breakage() {
    let (mut till, spent) = example_6(unlapsing());
    let (_, said) = till.done(reverse(spent, None));
    let expected = [("redemption/gift", -100), (&opening(MAR), 50), ("breakage", 50)];
    assert_eq!((said.legs, said.after, said.more["lapsed"]), (legs(&expected), (110, 0), 50));
}

#[test]
fn example_6_in_parts_brings_the_later_lot_back_first() {
    let (mut till, spent) = example_6(unlapsing());
    let back = |till: &mut Till, units| till.done(reverse(spent, Some(units))).1.legs;
    assert_eq!(back(&mut till, 30), legs(&[("redemption/gift", -30), (&opening(MAR), 30)]));
    assert_eq!(back(&mut till, 40), legs(&[("redemption/gift", -40), (&opening(MAR), 20), ("breakage", 20)]));
    assert_eq!(till.refused(reverse(spent, Some(31))), Reason::ReverseExceedsOriginal);
    assert_eq!(back(&mut till, 30), legs(&[("redemption/gift", -30), ("breakage", 30)]));
    assert_eq!(till.refused(reverse(spent, None)), Reason::ReverseExceedsOriginal);
}

#[test]
fn example_6_with_days_of_grace_gives_what_had_lapsed_a_few_days_more() {
    let (mut till, spent) = example_6(ProgramMore { grace_days: 7, ..unlapsing() });
    let (_, said) = till.done(reverse(spent, None));
    let grace = opening("2026-02-23T00:00");
    let expected = [("redemption/gift", -100), (&opening(MAR), 50), (&grace, 50)];
    assert_eq!((said.legs, said.after), (legs(&expected), (160, 0)));
    till.now_us = at("2026-02-23T00:00");
    assert_eq!(till.sweep()[0].legs, legs(&[(&grace, -50), ("breakage", 50)]));
}

#[test]
fn of_lots_that_never_lapse_the_one_opened_last_was_taken_last_and_comes_back_first() {
    let mut till = Till::new(unlapsing());
    till.doubling(1_000);
    let granted = Action::Adjust { asset: AssetNo::POINTS, points: 30, actor: "ana".into(), reason: "sorry".into() };
    till.done(granted);
    till.done(earn(10, None));
    let (spent, _) = till.done(redeem(45));
    let back = |till: &mut Till, units| till.done(reverse(spent, Some(units))).1.legs;
    assert_eq!(back(&mut till, 5), legs(&[("redemption/gift", -5), ("member/ann/campaign", 5)]));
    let expected = [("redemption/gift", -20), ("member/ann/base", 10), ("member/ann/granted", 10)];
    assert_eq!(back(&mut till, 20), legs(&expected));
}

#[test]
fn what_comes_back_settles_debt_first() {
    let (mut till, spent) = example_6(unlapsing());
    till.lot(-60, None);
    let (_, said) = till.done(reverse(spent, Some(70)));
    let expected = [("redemption/gift", -70), ("member/ann/debt", 60), ("breakage", 10)];
    assert_eq!((said.legs, said.after), (legs(&expected), (60, 0)));
}

#[test]
fn charity_a_reversal_an_earn_and_a_lapse_cannot_be_undone() {
    let mut till = Till::new(points(living(Lifetime::Days(5)), DebtPolicy::Debt, None));
    let (earned, _) = till.done(earn(100, None));
    let given = Action::Redeem { asset: AssetNo::POINTS, points: 10, purpose: Purpose::Charity };
    let (charity, _) = till.done(given);
    let (spent, _) = till.done(redeem(10));
    let (undone, _) = till.done(reverse(spent, Some(4)));
    till.on("2026-01-20T12:00").sweep();
    let lapse = stampbook::ledger::ids::Op(u64::try_from(till.book.shelf.events.len()).unwrap());
    for original in [earned, charity, undone, lapse] {
        assert_eq!(till.refused(reverse(original, None)), Reason::NotReversible);
    }
}

/// A hold of 60 of 100 units that lapse on the first of February, until the tenth.
fn over_a_lapse() -> (Till, stampbook::ledger::ids::Op) {
    let mut till = Till::new(unlapsing());
    till.lot(100, Some(JAN));
    let (held, said) = till.on("2026-01-20T12:00").done(hold(60, "2026-02-10T12:00"));
    let pinned = format!("{}/held", opening(JAN));
    assert_eq!(said.legs, legs(&[(&opening(JAN), -60), (&pinned, 60)]));
    assert_eq!((said.after, said.others[&0]), ((40, 0), [40, 60, 0, 0]));
    assert_eq!(till.refused(redeem(41)), Reason::InsufficientPoints);
    till.on("2026-02-05T12:00");
    let due = till.sweep();
    assert_eq!(due[0].legs, legs(&[(&opening(JAN), -40), ("breakage", 40)]));
    (till, held)
}

#[test]
fn a_lot_that_lapses_in_a_hold_can_still_be_captured_and_lapses_when_it_is_released() {
    let (mut till, held) = over_a_lapse();
    let pinned = format!("{}/held", opening(JAN));
    let (_, said) = till.done(capture(held, 25, false));
    assert_eq!(said.legs, legs(&[(&pinned, -25), ("redemption/gift", 25)]));
    assert_eq!(till.refused(capture(held, 36, false)), Reason::HoldExceeded);
    let (_, said) = till.done(capture(held, 5, true));
    assert_eq!(said.legs, legs(&[(&pinned, -35), ("redemption/gift", 5), ("breakage", 30)]));
    assert_eq!((said.more["released"], said.more["over"], said.after), (30, 1, (0, 0)));
    assert_eq!(till.refused(capture(held, 1, false)), Reason::HoldUnknown);
    let (mut till, held) = over_a_lapse();
    let (_, said) = till.done(release(held));
    assert_eq!(said.legs, legs(&[(&pinned, -60), ("breakage", 60)]));
}

#[test]
fn a_hold_that_ends_over_a_lapse_frees_its_units_and_then_they_lapse() {
    let (mut till, held) = over_a_lapse();
    till.on("2026-02-10T12:00");
    let pinned = format!("{}/held", opening(JAN));
    let due = till.sweep();
    let [ended, lapsed] = &due[..] else { panic!("{due:?}") };
    assert_eq!(
        (&ended.legs, ended.more["at"]),
        (&legs(&[(&pinned, -60), (&opening(JAN), 60)]), at("2026-02-10T12:00").into())
    );
    assert_eq!(lapsed.legs, legs(&[(&opening(JAN), -60), ("breakage", 60)]));
    assert_eq!(lapsed.more["minute"], minute(JAN).into());
    assert_eq!(till.refused(release(held)), Reason::HoldUnknown);
}

#[test]
fn a_hold_lasts_at_most_as_long_as_the_program_lets_it_and_frees_units_that_live_on() {
    let mut till = Till::new(ProgramMore { hold_days_max: 7, ..unlapsing() });
    till.lot(10, None);
    assert_eq!(till.refused(hold(5, "2026-01-01T12:00")), Reason::HoldDeadline);
    assert_eq!(till.refused(hold(5, "2026-01-08T12:00:00.000001")), Reason::HoldDeadline);
    let (held, _) = till.done(hold(5, "2026-01-08T12:00"));
    let (_, said) = till.done(release(held));
    assert_eq!((said.more["units"], said.after), (5, (10, 0)));
    let whole = Action::Hold { asset: AssetNo::POINTS, units: 10, until_us: None, purpose: Purpose::Gift };
    assert_eq!(till.done(whole).1.more["until"], at("2026-01-08T12:00").into());
    till.now_us = at("2026-01-08T12:00") - 1;
    assert!(till.sweep().is_empty());
    till.now_us += 1;
    assert_eq!(till.done(redeem(10)).1.after, (0, 0));
}

#[test]
fn a_pending_earn_is_shown_and_not_spendable_until_it_matures() {
    let mut till = Till::new(points(living(Lifetime::Days(30)), DebtPolicy::Debt, None));
    till.doubling(1_000);
    till.lot(-5, None);
    let (earned, said) = till.done(earn(10, Some(Matures::At(at("2026-01-15T00:00")))));
    assert_eq!((said.after, said.others[&0]), ((0, 5), [0, 0, 20, 5]));
    assert_eq!(till.refused(redeem(1)), Reason::InsufficientPoints);
    till.now_us = at("2026-01-15T00:00");
    let due = till.sweep();
    let (base, bonus) = (format!("member/ann/base@{}", minute(JAN)), format!("member/ann/campaign@{}", minute(JAN)));
    let waits = |lot: &str| format!("{lot}/pending/{}", earned.0);
    let expected = [("member/ann/debt", 5), (&base, 5), (&bonus, 10), (&waits(&base), -10), (&waits(&bonus), -10)];
    assert_eq!(due[0].legs, legs(&expected));
    assert_eq!(till.done(redeem(15)).1.after, (0, 0));
}

#[test]
fn a_pending_earn_waits_for_its_activation_and_what_lapsed_meanwhile_goes_to_breakage() {
    let mut till = Till::new(points(living(Lifetime::Days(30)), DebtPolicy::Debt, None));
    let (early, _) = till.done(earn(10, Some(Matures::Activated)));
    let (late, _) = till.done(earn(7, Some(Matures::Activated)));
    assert_eq!(till.done(activate(early)).1.after, (10, 0));
    assert_eq!(till.refused(activate(early)), Reason::NotPending);
    let (_, said) = till.on("2026-03-01T12:00").done(activate(late));
    assert_eq!((said.more["lapsed of 0"], said.legs["breakage"], said.after), (7, 7, (0, 0)));
    assert_eq!(till.done(refund(late, 7)).1.legs, legs(&[("issuance", 7), ("breakage", -7)]));
}

#[test]
fn a_rule_lets_awards_wait_for_whole_local_days_after_the_purchase() {
    let mut spec = rules_of(unlapsing());
    let more = RuleMore { also: None, pending: Some(PendingRule::Days(14)) };
    spec.rules[0].more = stampbook::ledger::later::Later::new(more);
    let mut till = Till::open(spec);
    let (_, said) = till.on("2026-03-20T23:59").done(earn(10, None));
    assert_eq!(said.more["matures"], at("2026-04-04T00:00").into());
}

#[test]
fn a_refund_takes_from_what_is_pending_first() {
    let mut till = Till::new(unlapsing());
    till.doubling(1_000).lot(500, None);
    let (earned, _) = till.done(earn(10, Some(Matures::Activated)));
    let (base, bonus) =
        (format!("member/ann/base/pending/{}", earned.0), format!("member/ann/campaign/pending/{}", earned.0));
    let (_, said) = till.done(refund(earned, 4));
    let expected = [("issuance", 4), ("campaign/double", 4), (&base, -4), (&bonus, -4)];
    assert_eq!((said.legs, said.after), (legs(&expected), (500, 0)));
    assert_eq!(till.done(activate(earned)).1.after, (512, 0));
    assert_eq!(till.done(refund(earned, 6)).1.after, (500, 0));
}

#[test]
fn an_offset_takes_the_points_that_make_whole_units_and_reports_the_rest() {
    let mut till = Till::new(ProgramMore { offset: Some(Offset { points: 100, minor: 95 }), ..unlapsing() });
    till.lot(320, None);
    let offset = |points| Action::Redeem { asset: AssetNo::POINTS, points, purpose: Purpose::CashOffset };
    let (_, said) = till.done(offset(299));
    let more = [("asked", 299), ("minor", 190), ("units", 200)].map(|(name, value)| (name.to_owned(), value));
    assert_eq!((said.more, said.after), (more.into(), (120, 0)));
    assert_eq!(till.refused(offset(99)), Reason::OffsetTooSmall);
    assert_eq!(till.done(offset(100)).1.more.get("asked"), None);
    assert_eq!(till.done(redeem(20)).1.after, (0, 0));
}

#[test]
fn the_lots_beyond_the_bound_merge_where_the_gap_is_smallest_into_the_later_date() {
    let mut till = Till::new(unlapsing());
    let date = |n: usize| {
        // Two days apart, but for one pair.
        let day =
            jiff::civil::date(2027, 1, 1).checked_add(jiff::Span::new().days(i64::try_from(2 * n).unwrap())).unwrap();
        let day = if n == 17 { day.yesterday().unwrap() } else { day };
        format!("{day}T00:00")
    };
    for n in 0..LOTS_MAX {
        till.lot(i64::try_from(n).unwrap() + 1, Some(&date(n)));
    }
    let (held, _) = till.done(hold(200, "2026-01-20T12:00"));
    let before = till.book.shelf.events.len();
    till.lot(33, None);
    let said = till.since(before);
    let [opened, merged] = &said[..] else { panic!("{said:?}") };
    assert_eq!((opened.what.as_str(), merged.what.as_str()), ("opened", "merged"));
    // The hold pins the first 19 lots, and 10 of the twentieth.
    let (earlier, later) = (opening(&date(16)), opening(&date(17)));
    assert_eq!(merged.legs, legs(&[(&earlier, -17), (&later, 17)]));
    let (_, said) = till.done(capture(held, 200, false));
    assert_eq!(said.legs[&format!("{later}/held")], -(17 + 18));
}

#[test]
fn of_equal_gaps_the_earlier_pair_merges_and_one_source_never_into_another() {
    let mut till = Till::new(unlapsing());
    for n in 0..i64::try_from(LOTS_MAX).unwrap() {
        // No clock changes in these days, or the gap over the night that lacks an hour would be the smallest.
        let day = jiff::civil::date(2027, 5, 1).checked_add(jiff::Span::new().days(n)).unwrap();
        till.lot(1, Some(&format!("{day}T00:00")));
    }
    let before = till.book.shelf.events.len();
    let granted = Action::Adjust { asset: AssetNo::POINTS, points: 5, actor: "ana".into(), reason: "sorry".into() };
    till.done(granted);
    let merged = till.since(before).pop().unwrap();
    assert_eq!(merged.what, "merged");
    assert_eq!(merged.legs, legs(&[(&opening("2027-05-01T00:00"), -1), (&opening("2027-05-02T00:00"), 1)]));
}

#[test]
fn a_frozen_member_earns_and_does_not_spend() {
    let mut till = Till::new(unlapsing());
    till.done(earn(10, None));
    let (held, _) = till.done(hold(4, "2026-01-20T12:00"));
    till.done(standing(Standing::Frozen));
    assert_eq!(till.refused(standing(Standing::Frozen)), Reason::StandingUnchanged);
    assert_eq!(till.refused(redeem(1)), Reason::MemberFrozen);
    assert_eq!(till.refused(hold(1, "2026-01-20T12:00")), Reason::MemberFrozen);
    assert_eq!(till.refused(capture(held, 1, false)), Reason::MemberFrozen);
    assert_eq!(till.done(earn(5, None)).1.after, (11, 0));
    assert_eq!(till.done(release(held)).1.after, (15, 0));
    till.done(standing(Standing::Open));
    assert_eq!(till.done(redeem(15)).1.after, (0, 0));
}

#[test]
fn what_a_closed_member_has_goes_to_breakage_and_its_refunds_still_post() {
    let mut till = Till::new(unlapsing());
    let (earned, _) = till.done(earn(10, None));
    let (spent, _) = till.done(redeem(4));
    let before = till.book.shelf.events.len();
    till.done(standing(Standing::Closed));
    let said = till.since(before);
    assert_eq!(said[1].legs, legs(&[("member/ann/base", -6), ("breakage", 6)]));
    assert_eq!(said[1].more["minute"], (till.now_us / 60_000_000).into());
    assert_eq!(till.refused(earn(10, None)), Reason::MemberClosed);
    assert_eq!(till.refused(standing(Standing::Open)), Reason::MemberClosed);
    // Of the ten, six lapsed with the account; what was spent of them is owed.
    let (_, said) = till.done(refund(earned, 10));
    assert_eq!(said.legs, legs(&[("issuance", 10), ("breakage", -6), ("member/ann/debt", -4)]));
    let before = till.book.shelf.events.len();
    till.done(reverse(spent, None));
    assert_eq!(till.since(before).len(), 1, "what came back settled the debt, and nothing is left to lapse");
}

#[test]
fn each_kind_of_asset_is_for_its_own_purposes() {
    let mut till = Till::new(unlapsing());
    let redeem = |asset, purpose| Action::Redeem { asset, points: 1, purpose };
    till.done(Action::TopUp { asset: WALLET, principal: 50, bonus: 5 });
    till.done(Action::Grant { asset: COUPON, units: 2, lapses_us: None });
    let fits = |asset, purpose| match purpose {
        Purpose::Payment => asset == WALLET,
        Purpose::Use => asset == COUPON,
        _ => asset == AssetNo::POINTS || asset == STARS,
    };
    for asset in [AssetNo::POINTS, GROWTH, WALLET, COUPON, STARS] {
        for purpose in Purpose::ALL {
            let reason = till.post(redeem(asset, purpose)).1.refused.map(|(reason, _)| reason);
            assert_eq!(reason != Some(Reason::AssetKindMismatch), fits(asset, purpose), "{asset:?} {purpose:?}");
        }
    }
    assert_eq!(till.refused(Action::TopUp { asset: STARS, principal: 1, bonus: 0 }), Reason::AssetKindMismatch);
    assert_eq!(till.refused(Action::Grant { asset: WALLET, units: 1, lapses_us: None }), Reason::AssetKindMismatch);
}

#[test]
fn a_wallet_spends_what_was_paid_before_what_was_given_and_gives_both_back_in_proportion() {
    let mut till = Till::new(unlapsing());
    let (paid, said) = till.done(Action::TopUp { asset: WALLET, principal: 100, bonus: 25 });
    let expected = [("2:cash", -100), ("2:issuance", -25), ("2:member/ann/base", 100), ("2:member/ann/bonus", 25)];
    assert_eq!((said.legs, said.others[&2]), (legs(&expected), [125, 0, 0, 0]));
    let (_, said) = till.done(reverse(paid, Some(33)));
    let expected = [("2:cash", 33), ("2:issuance", 8), ("2:member/ann/base", -33), ("2:member/ann/bonus", -8)];
    assert_eq!(said.legs, legs(&expected));
    let pay = Action::Redeem { asset: WALLET, points: 70, purpose: Purpose::Payment };
    let (_, said) = till.done(pay);
    let expected = [("2:redemption/payment", 70), ("2:member/ann/base", -67), ("2:member/ann/bonus", -3)];
    assert_eq!(said.legs, legs(&expected));
    let (_, said) = till.done(reverse(paid, None));
    let expected = [("2:cash", 67), ("2:issuance", 17), ("2:member/ann/bonus", -14), ("2:member/ann/debt", -70)];
    assert_eq!((said.legs, said.more["units so far"]), (legs(&expected), 100));
}

#[test]
fn a_coupon_lapses_when_its_giver_says_on_the_minute_that_follows() {
    let mut till = Till::new(unlapsing());
    let grant = |lapses: &str| Action::Grant { asset: COUPON, units: 3, lapses_us: Some(at(lapses)) };
    assert_eq!(till.refused(grant("2026-01-01T12:00")), Reason::LapsesPast);
    let (_, said) = till.done(grant("2026-01-10T12:00:01"));
    let lot = format!("3:member/ann/granted@{}", minute("2026-01-10T12:01"));
    assert_eq!(said.legs, legs(&[("3:issuance", -3), (&lot, 3)]));
    till.now_us = at("2026-01-10T12:01") - 1;
    till.done(Action::Redeem { asset: COUPON, points: 1, purpose: Purpose::Use });
    till.now_us += 1;
    assert_eq!(till.sweep()[0].legs, legs(&[(&lot, -2), ("3:breakage", 2)]));
}

#[test]
fn a_member_has_at_most_32_open_holds_and_64_pending_earns() {
    let mut till = Till::new(unlapsing());
    till.lot(100, None);
    let until = "2026-01-20T12:00";
    let holds: Vec<_> = (0..32).map(|_| till.done(hold(1, until)).0).collect();
    assert_eq!(till.refused(hold(1, until)), Reason::HoldsFull);
    till.done(release(holds[0]));
    till.done(hold(1, until));
    let earns: Vec<_> = (0..64).map(|_| till.done(earn(1, Some(Matures::Activated))).0).collect();
    assert_eq!(till.refused(earn(1, Some(Matures::Activated))), Reason::PendingFull);
    till.done(earn(1, None));
    till.done(activate(earns[0]));
    till.done(earn(1, Some(Matures::Activated)));
}
