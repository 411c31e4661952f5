//! Worked examples of the program rules, each through decide, the event's bytes and evolve. Below them, what the rules say of
//! caps, stops and closed campaigns, in the same form; what becomes of units in time stands in the modules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::inconsistent_digit_grouping, reason = "amounts of money read as pounds and pence")]

#[path = "worked_examples/dates.rs"]
mod dates;
#[path = "worked_examples/explained.rs"]
mod explained;
#[path = "worked_examples/life.rs"]
mod life;
#[path = "worked_examples/moving.rs"]
mod moving;
#[path = "worked_examples/reserved.rs"]
mod reserved;
#[path = "worked_examples/rewards.rs"]
mod rewards;
#[path = "worked_examples/rolled.rs"]
mod rolled;
#[path = "worked_examples/taking_back.rs"]
mod taking_back;
#[path = "worked_examples/till.rs"]
mod till;

use std::collections::BTreeMap;

use model::book::{Book, Part, Posted, ROOMY, Said};
use model::rules::{campaign, program, put, ratio, refund, rule, spend};
use stampbook::ledger::command::{Action, AdminAction, Original, Purpose};
use stampbook::ledger::ids::{AssetNo, Op};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{CampaignSpec, Cap, CapPer, OnExhausted, Ratio};

const NOW: i64 = 1_790_000_000_000_000;

/// A book with one program that gives `rate` points for a minor unit of a purchase, and its campaigns funded.
fn night(rate: Ratio, greatest_total: Ratio, campaigns: Vec<(CampaignSpec, u64)>) -> Book {
    let mut book = Book::new(ROOMY);
    let (specs, budgets): (Vec<_>, Vec<_>) = campaigns.into_iter().unzip();
    let ids: Vec<_> = specs.iter().map(|spec| spec.id.clone()).collect();
    let mut spec = program(vec![rule("purchase", rate)], specs);
    spec.greatest_total = greatest_total;
    admin(&mut book, put(spec));
    for (id, points) in ids.into_iter().zip(budgets) {
        admin(&mut book, AdminAction::FundCampaign { campaign: id, points });
    }
    book
}

fn admin(book: &mut Book, action: AdminAction) -> Op {
    let command = book.admin("high-street", &format!("operator-{}", book.shelf.events.len()), action);
    match book.post_admin(&command, NOW) {
        Posted::Fresh(op) => op,
        other => panic!("{other:?}"),
    }
}

/// Posts for the member `ann` under a new key and says what came of it.
fn post(book: &mut Book, action: Action) -> (Op, Said) {
    let command = book.command(0, &format!("caller-{}", book.shelf.events.len()), "ann", action);
    match book.post(&command, NOW) {
        Posted::Fresh(op) => (op, book.said(op)),
        other => panic!("{other:?}"),
    }
}

fn legs(expected: &[(&str, i128)]) -> BTreeMap<String, i128> {
    expected.iter().map(|(account, amount)| ((*account).to_owned(), *amount)).collect()
}

fn part(campaign: &str, desired: i128, moved: i128, reason: Option<Reason>) -> Part {
    Part { campaign: campaign.to_owned(), desired, moved, reason }
}

fn ten_a_pound() -> Ratio {
    ratio(10, 100)
}

#[test]
fn example_1_a_purchase_in_a_double_points_campaign() {
    let mut book = night(ten_a_pound(), ratio(10, 1), vec![(campaign("double", "a", ratio(2, 1)), 1_000)]);
    let (_, said) = post(&mut book, spend(12_34, "purchase"));
    assert_eq!(said.base, 123);
    assert_eq!(said.parts, [part("double", 123, 123, None)]);
    let expected =
        legs(&[("issuance", -123), ("campaign/double", -123), ("member/ann/base", 123), ("member/ann/campaign", 123)]);
    assert_eq!(said.legs, expected);
    assert_eq!(said.after, (246, 0));
    assert_eq!(book.budget(0, "double"), 1_000 - 123);
}

#[test]
fn example_2_a_budget_that_covers_a_part_is_clipped() {
    let mut book = night(ten_a_pound(), ratio(10, 1), vec![(campaign("double", "a", ratio(2, 1)), 100)]);
    let (_, said) = post(&mut book, spend(12_34, "purchase"));
    assert_eq!(said.parts, [part("double", 123, 100, Some(Reason::CampaignBudgetExhausted))]);
    let desired: i128 = said.base + said.parts.iter().map(|part| part.desired).sum::<i128>();
    assert_eq!((said.base, desired, said.after), (123, 246, (223, 0)));
    assert_eq!(said.legs["campaign/double"], -100);
    assert_eq!(book.budget(0, "double"), 0);
}

#[test]
fn example_3_of_one_group_the_greater_multiplier_wins() {
    let campaigns = vec![(campaign("two", "a", ratio(2, 1)), 10_000), (campaign("three", "a", ratio(3, 1)), 10_000)];
    let mut book = night(ten_a_pound(), ratio(10, 1), campaigns);
    let (_, said) = post(&mut book, spend(12_34, "purchase"));
    assert_eq!(said.parts, [part("three", 246, 246, None)]);
    assert_eq!(said.after, (123 + 246, 0));
    assert_eq!((book.budget(0, "two"), book.budget(0, "three")), (10_000, 10_000 - 246));
}

fn two_groups(rate: Ratio, greatest_total: Ratio, two: Ratio, three: Ratio, minor_units: u64) -> Said {
    let campaigns = vec![(campaign("two", "a", two), 10_000), (campaign("three", "b", three), 10_000)];
    let mut book = night(rate, greatest_total, campaigns);
    post(&mut book, spend(minor_units, "purchase")).1
}

#[test]
fn example_3_groups_multiply_and_share_by_what_each_adds() {
    let said = two_groups(ten_a_pound(), ratio(10, 1), ratio(2, 1), ratio(3, 1), 12_34);
    assert_eq!(said.parts, [part("three", 410, 410, None), part("two", 205, 205, None)]);
    assert_eq!(said.after, (123 + 615, 0));
}

#[test]
fn example_3_the_greatest_total_bounds_the_product() {
    let said = two_groups(ten_a_pound(), ratio(5, 1), ratio(2, 1), ratio(3, 1), 12_34);
    assert_eq!(said.parts, [part("three", 328, 328, None), part("two", 164, 164, None)]);
    assert_eq!(said.after, (123 + 492, 0));
}

#[test]
fn example_3_fractions_share_by_largest_remainder() {
    let said = two_groups(ratio(1, 1), ratio(10, 1), ratio(3, 2), ratio(6, 5), 100);
    assert_eq!(said.parts, [part("three", 23, 23, None), part("two", 57, 57, None)]);
    assert_eq!(said.after, (180, 0));
}

#[test]
fn example_4_a_step_too_coarse_for_the_multiplier_gives_no_bonus() {
    let campaigns = vec![(campaign("half-more", "a", ratio(3, 2)), 10_000)];
    let mut book = night(ratio(1, 1_000), ratio(10, 1), campaigns);
    let (_, said) = post(&mut book, spend(19_00, "purchase"));
    assert_eq!(said.base, 1);
    assert_eq!(said.legs, legs(&[("issuance", -1), ("member/ann/base", 1)]));
    assert_eq!(said.after, (1, 0));
    assert_eq!(book.budget(0, "half-more"), 10_000);
}

#[test]
fn example_5_the_campaign_that_can_award_more_wins_its_group() {
    let campaigns = vec![(campaign("three", "a", ratio(3, 1)), 1), (campaign("two", "a", ratio(2, 1)), 10_000)];
    let mut book = night(ten_a_pound(), ratio(10, 1), campaigns);
    let (_, said) = post(&mut book, spend(12_34, "purchase"));
    assert_eq!(said.parts, [part("two", 123, 123, None)]);
    assert_eq!((book.budget(0, "two"), book.budget(0, "three")), (10_000 - 123, 1));
}

#[test]
fn example_7_a_whole_refund_of_spent_points_is_a_debt_that_the_next_earn_settles() {
    let mut book = night(ratio(1, 100), ratio(10, 1), vec![(campaign("double", "a", ratio(2, 1)), 100)]);
    let (original, said) = post(&mut book, spend(100_00, "purchase"));
    assert_eq!(said.after, (200, 0));
    let (_, said) = post(&mut book, Action::Redeem { asset: AssetNo::POINTS, points: 150, purpose: Purpose::Gift });
    assert_eq!(said.after, (50, 0));

    let (_, said) = post(&mut book, refund(Original::Op(original), 100_00));
    let expected =
        legs(&[("issuance", 100), ("campaign/double", 100), ("member/ann/campaign", -50), ("member/ann/debt", -150)]);
    assert_eq!(said.legs, expected);
    assert_eq!(said.after, (0, 150));
    assert_eq!(book.budget(0, "double"), 100);

    admin(&mut book, AdminAction::PauseCampaign { campaign: "double".to_owned() });
    let (_, said) = post(&mut book, spend(60_00, "purchase"));
    assert_eq!(said.legs, legs(&[("issuance", -60), ("member/ann/debt", 60)]));
    assert_eq!(said.after, (0, 90));
}

#[test]
fn example_8_a_refund_in_three_parts_takes_back_each_leg_to_the_point() {
    let mut book = night(ratio(1, 100), ratio(10, 1), vec![(campaign("double", "a", ratio(2, 1)), 100)]);
    let (original, _) = post(&mut book, spend(100_00, "purchase"));
    let mut left = 200;
    for (minor_units, taken) in [(33_33, 33), (33_33, 33), (33_34, 34)] {
        let (_, said) = post(&mut book, refund(Original::Op(original), minor_units));
        assert_eq!((said.base, &said.parts[..]), (taken, &[part("double", 100, taken, None)][..]));
        assert_eq!(said.legs["member/ann/base"], -taken);
        assert_eq!(said.legs["member/ann/campaign"], -taken);
        left -= 2 * taken;
        assert_eq!(said.after, (left, 0));
    }
    assert_eq!((left, book.budget(0, "double")), (0, 100));
    let (_, said) = post(&mut book, refund(Original::Op(original), 1));
    assert_eq!(said.refused.map(|(reason, _)| reason), Some(Reason::RefundExceedsOriginal));
}

/// The instant of a local time in London's summer, one hour ahead of Greenwich.
fn london(text: &str) -> i64 {
    format!("{text}+01:00").parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

/// Awards of a bonus of 60 each under a cap of 100, at local times; what each was awarded.
fn bonuses_under(per: CapPer, times: &[&str]) -> Vec<i128> {
    let mut capped = campaign("double", "a", ratio(2, 1));
    capped.cap = Some(Cap { points: 100, per });
    let mut book = night(ratio(1, 100), ratio(10, 1), vec![(capped, 10_000)]);
    let mut award = |time: &&str| {
        let mut command = book.command(0, time, "ann", spend(60_00, "purchase"));
        command.occurred_at_us = Some(london(time));
        match book.post(&command, NOW) {
            Posted::Fresh(op) => book.said(op).parts[0].moved,
            other => panic!("{other:?}"),
        }
    };
    times.iter().map(&mut award).collect()
}

#[test]
fn a_cap_per_day_counts_in_the_local_day_of_the_business_time() {
    // Greenwich is still in the day before at the first two; the last came late and counts where it belongs.
    let times = ["2026-07-01T00:00:00", "2026-07-01T00:00:01", "2026-07-02T00:00:00", "2026-07-01T23:59:59.999999"];
    assert_eq!(bonuses_under(CapPer::Day, &times), [60, 40, 60, 0]);
}

#[test]
fn a_cap_per_week_starts_anew_on_monday_and_one_per_month_on_the_first() {
    let sunday_and_monday =
        ["2026-06-28T12:00:00", "2026-06-28T23:59:59", "2026-06-29T00:00:00", "2026-07-05T23:59:59"];
    assert_eq!(bonuses_under(CapPer::Week, &sunday_and_monday), [60, 40, 60, 40]);
    let june_and_july = ["2026-06-01T00:00:00", "2026-06-30T23:59:59", "2026-07-01T00:00:00", "2026-07-31T23:59:59"];
    assert_eq!(bonuses_under(CapPer::Month, &june_and_july), [60, 40, 60, 40]);
    assert_eq!(bonuses_under(CapPer::Campaign, &june_and_july), [60, 40, 0, 0]);
}

#[test]
fn a_refund_returns_cap_room_to_the_day_of_the_earn() {
    let mut capped = campaign("double", "a", ratio(2, 1));
    capped.cap = Some(Cap { points: 100, per: CapPer::Day });
    let mut book = night(ratio(1, 100), ratio(10, 1), vec![(capped, 10_000)]);
    let mut at = |key: &str, time: &str, action: Action| {
        let mut command = book.command(0, key, "ann", action);
        command.occurred_at_us = Some(london(time));
        match book.post(&command, NOW) {
            Posted::Fresh(op) => (op, book.said(op).parts[0].moved),
            other => panic!("{other:?}"),
        }
    };
    let (original, bonus) = at("earn", "2026-07-01T12:00:00", spend(100_00, "purchase"));
    assert_eq!(bonus, 100);
    assert_eq!(at("refund", "2026-07-02T12:00:00", refund(Original::Op(original), 70_00)).1, 70);
    assert_eq!(at("next day", "2026-07-02T13:00:00", spend(150_00, "purchase")).1, 100);
    assert_eq!(at("same day", "2026-07-01T13:00:00", spend(150_00, "purchase")).1, 70);
}

#[test]
fn a_stopped_campaign_awards_nothing_until_it_is_resumed_though_it_is_refilled() {
    let mut stops = campaign("double", "a", ratio(2, 1));
    stops.on_exhausted = OnExhausted::Stop;
    let mut book = night(ratio(1, 100), ratio(10, 1), vec![(stops, 150)]);
    let bonus = |book: &mut Book| {
        let (_, said) = post(book, spend(100_00, "purchase"));
        said.parts.iter().map(|part| part.moved).sum::<i128>()
    };
    assert_eq!((bonus(&mut book), bonus(&mut book)), (100, 50));
    admin(&mut book, AdminAction::FundCampaign { campaign: "double".to_owned(), points: 500 });
    assert_eq!(bonus(&mut book), 0);
    admin(&mut book, AdminAction::ResumeCampaign { campaign: "double".to_owned() });
    assert_eq!(bonus(&mut book), 100);
}

#[test]
fn a_refund_after_its_campaign_closed_goes_to_issuance() {
    let mut book = night(ratio(1, 100), ratio(10, 1), vec![(campaign("double", "a", ratio(2, 1)), 500)]);
    let (original, _) = post(&mut book, spend(100_00, "purchase"));
    admin(&mut book, AdminAction::CloseCampaign { campaign: "double".to_owned() });
    assert_eq!(book.budget(0, "double"), 0);
    let (_, said) = post(&mut book, refund(Original::Op(original), 100_00));
    let expected = legs(&[("issuance", 200), ("member/ann/base", -100), ("member/ann/campaign", -100)]);
    assert_eq!(said.legs, expected);
}

#[test]
fn an_opening_balance_settles_debt_first_and_lies_in_a_lot_of_its_own_that_is_spent_in_its_turn() {
    let mut book = night(ten_a_pound(), ratio(10, 1), Vec::new());
    let opening = |points| {
        let (actor, reason) = ("ana".to_owned(), "moved in".to_owned());
        Action::Opening { asset: AssetNo::POINTS, points, lapses_us: None, actor, reason }
    };
    let (_, said) = post(&mut book, opening(-40));
    assert_eq!((said.legs, said.after), (legs(&[("opening", 40), ("member/ann/debt", -40)]), (0, 40)));
    let (_, said) = post(&mut book, opening(100));
    let expected = legs(&[("opening", -100), ("member/ann/debt", 40), ("member/ann/opening", 60)]);
    assert_eq!((said.legs, said.after), (expected, (60, 0)));
    // A debt is brought over as a debt, whatever is there to spend.
    assert_eq!(post(&mut book, opening(-5)).1.after, (60, 5));
    post(&mut book, spend(10_00, "purchase"));
    let (_, said) = post(&mut book, Action::Redeem { asset: AssetNo::POINTS, points: 70, purpose: Purpose::Gift });
    let expected = legs(&[("redemption/gift", 70), ("member/ann/opening", -60), ("member/ann/base", -10)]);
    assert_eq!((said.legs, said.after), (expected, (85, 0)));
    let row = book.ledger.trial_balance()[0].rows.iter().find(|row| row.account == "opening").map(|row| row.balance);
    assert_eq!(row, Some(-55));
}

#[test]
fn an_opening_balance_is_refused_outside_import_mode() {
    let mut book = night(ten_a_pound(), ratio(10, 1), Vec::new());
    let mut live = program(vec![rule("purchase", ten_a_pound())], Vec::new());
    live.import_mode = false;
    admin(&mut book, put(live));
    let (actor, reason) = ("ana".to_owned(), "moved in".to_owned());
    let opening = Action::Opening { asset: AssetNo::POINTS, points: 5, lapses_us: None, actor, reason };
    assert_eq!(post(&mut book, opening).1.refused, Some((Reason::NotImporting, "opening".to_owned())));
}

/// Under a key of its own, at a time; the reason of a refusal.
fn snapshot(book: &mut Book, action: AdminAction, now_us: i64) -> Option<Reason> {
    let command = book.admin("", &format!("operator-{}", book.shelf.events.len()), action);
    match book.post_admin(&command, now_us) {
        Posted::Fresh(op) => book.said(op).refused.map(|(reason, _)| reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_has_a_name_for_ever_and_is_not_deleted_before_its_time() {
    let mut book = night(ten_a_pound(), ratio(10, 1), Vec::new());
    let create = |until| AdminAction::CreateSnapshot { name: "close".to_owned(), retain_until_us: until };
    let delete = || AdminAction::DeleteSnapshot { name: "close".to_owned() };
    assert_eq!(snapshot(&mut book, delete(), NOW), Some(Reason::SnapshotUnknown));
    assert_eq!(snapshot(&mut book, create(Some(NOW + 10)), NOW), None);
    assert_eq!(snapshot(&mut book, create(None), NOW), Some(Reason::SnapshotExists));
    assert_eq!(snapshot(&mut book, delete(), NOW + 9), Some(Reason::SnapshotRetained));
    assert_eq!(snapshot(&mut book, delete(), NOW + 10), None);
    assert_eq!(snapshot(&mut book, delete(), NOW + 10), Some(Reason::SnapshotUnknown));
    assert_eq!(snapshot(&mut book, create(None), NOW + 10), Some(Reason::SnapshotExists));
    let view = &book.ledger.snapshots()[0];
    assert_eq!((view.name.as_str(), view.op, view.deleted), ("close", Op(3), Some(Op(6))));
}
