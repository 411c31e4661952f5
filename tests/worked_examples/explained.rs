//! What an explanation says of the worked examples.

use stampbook::audit::explain::Line;
use stampbook::ledger::command::{AdminAction, Matures};
use stampbook::ledger::ids::Op;
use stampbook::ledger::spec::{CampaignSpec, Cap, CapPer, DebtPolicy, Lifetime, Offset, ProgramMore, Ratio};

use super::till::{Till, activate, at, earn, points, redeem, refund, reverse, rules_of};
use super::{admin, night, post, ten_a_pound};
use model::book::Book;
use model::rules::{NEVER, campaign, living, put, ratio, spend};

fn line<'l>(lines: &'l [Line], name: &str) -> &'l Line {
    lines.iter().find(|line| line.name == name).unwrap_or_else(|| panic!("no {name} in {lines:#?}"))
}

fn number(line: &Line, name: &str) -> i64 {
    line.numbers.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name} in {line:?}")).1
}

/// The texts of lines of that name.
fn texts<'l>(lines: &'l [Line], name: &str) -> Vec<&'l str> {
    lines.iter().filter(|line| line.name == name).map(|line| line.text.as_str()).collect()
}

/// What the next purchase earns in a book of campaigns with budgets, explained.
fn explained(rate: Ratio, greatest: Ratio, campaigns: Vec<(CampaignSpec, u64)>, minor: u64) -> (Book, Vec<Line>) {
    let mut book = night(rate, greatest, campaigns);
    let (op, _) = post(&mut book, spend(minor, "purchase"));
    let lines = book.explained(op);
    (book, lines)
}

#[test]
fn example_1_tells_the_exact_product_what_was_dropped_and_who_paid() {
    let campaigns = vec![(campaign("double", "a", ratio(2, 1)), 1_000)];
    let (_, lines) = explained(ten_a_pound(), ratio(10, 1), campaigns, 12_34);
    let base = line(&lines, "base");
    assert_eq!(
        base.text,
        "Base: rule \"purchase\" gives 10/100 points a minor unit; 1234 minor units of GBP times that is 123 and 40/100, \
         rounded down to 123."
    );
    assert_eq!((number(base, "units"), number(base, "exact_whole"), number(base, "exact_rest")), (123, 123, 40));
    let bonus = line(&lines, "bonus");
    assert_eq!((number(bonus, "total_numerator"), number(bonus, "total_denominator")), (2, 1));
    let share = line(&lines, "campaign");
    assert_eq!((share.campaign.as_str(), number(share, "desired"), number(share, "awarded")), ("double", 123, 123));
    assert_eq!(texts(&lines, "account"), ["123 points come from issuance.", "123 points come from campaign/double."]);
    assert_eq!(number(line(&lines, "after"), "available"), 246);
    assert_eq!(
        line(&lines, "rules").text,
        "Decided by version 1 of the rules, which holds from the beginning of time."
    );
}

#[test]
fn example_2_tells_how_much_of_the_budget_was_left() {
    let campaigns = vec![(campaign("double", "a", ratio(2, 1)), 100)];
    let (_, lines) = explained(ten_a_pound(), ratio(10, 1), campaigns, 12_34);
    let share = line(&lines, "campaign");
    let numbers = ["desired", "awarded", "short", "budget_left", "reason"].map(|name| number(share, name));
    assert_eq!(numbers, [123, 100, 23, 100, 1]);
    assert!(share.text.contains("the campaign's budget did not cover the bonus, which had 100 left"), "{}", share.text);
    let total = line(&lines, "total");
    assert_eq!((number(total, "desired"), number(total, "awarded")), (246, 223));
}

#[test]
fn example_3_tells_m_and_the_shares() {
    let groups = |greatest, three, two, rate, minor| {
        let campaigns = vec![(campaign("three", "b", three), 10_000), (campaign("two", "a", two), 10_000)];
        let (_, lines) = explained(rate, greatest, campaigns, minor);
        let bonus = line(&lines, "bonus");
        let m = (number(bonus, "total_numerator"), number(bonus, "total_denominator"), number(bonus, "units"));
        let shares: Vec<_> = lines.iter().filter(|line| line.name == "campaign").collect();
        let shares: Vec<_> = shares.iter().map(|line| (line.campaign.clone(), number(line, "desired"))).collect();
        (m, shares, bonus.text.clone())
    };
    let of = |three, two| vec![("three".to_owned(), three), ("two".to_owned(), two)];
    let (m, shares, text) = groups(ratio(10, 1), ratio(3, 1), ratio(2, 1), ten_a_pound(), 12_34);
    assert_eq!((m, shares), ((6, 1, 615), of(410, 205)));
    assert_eq!(
        text,
        "Multipliers: M = 6, the least of 3 x 2 and the program's greatest 10; the bonus on 123 points is floor(123 x (6 - \
         1)) = 615, shared by what each multiplier adds."
    );
    let (m, shares, _) = groups(ratio(5, 1), ratio(3, 1), ratio(2, 1), ten_a_pound(), 12_34);
    assert_eq!((m, shares), ((5, 1, 492), of(328, 164)));
    let (m, shares, _) = groups(ratio(10, 1), ratio(6, 5), ratio(3, 2), ratio(1, 1), 100);
    assert_eq!((m, shares), ((18, 10, 80), of(23, 57)));
    // Of one group the greater wins, and the event knows it alone.
    let campaigns = vec![(campaign("two", "a", ratio(2, 1)), 10_000), (campaign("three", "a", ratio(3, 1)), 10_000)];
    let (_, lines) = explained(ten_a_pound(), ratio(10, 1), campaigns, 12_34);
    assert_eq!((number(line(&lines, "bonus"), "units"), line(&lines, "campaign").campaign.as_str()), (246, "three"));
}

#[test]
fn a_cap_tells_its_room_and_its_span() {
    let mut capped = campaign("double", "a", ratio(2, 1));
    capped.cap = Some(Cap { points: 150, per: CapPer::Month });
    let (mut book, _) = explained(ratio(1, 100), ratio(10, 1), vec![(capped, 1_000)], 100_00);
    let (op, _) = post(&mut book, spend(100_00, "purchase"));
    let lines = book.explained(op);
    let share = line(&lines, "campaign");
    assert_eq!((number(share, "awarded"), number(share, "cap_room"), number(share, "reason")), (50, 50, 2));
    let said = "the member's cap of 150 a month left room for 50 in the span from 2026-09-01";
    assert!(share.text.contains(said), "{}", share.text);
}

#[test]
fn lots_tell_when_they_lapse_and_why_and_spending_tells_what_it_took() {
    let mut till = Till::new(points(living(Lifetime::Months(1)), DebtPolicy::Debt, None));
    let (op, _) = till.on("2026-01-31T12:00").done(earn(40, None));
    let entered = till.book.explained(op);
    assert_eq!(
        texts(&entered, "enters"),
        [
            "40 points enter the lot \"base\" that lapses at 2026-03-01 00:00 Europe/London (1 month from 2026-01-31, to the \
          end of that day)."
        ]
    );
    till.on("2026-02-02T12:00").done(earn(30, None));
    let (op, _) = till.done(redeem(60));
    let lines = till.book.explained(op);
    let took: Vec<_> = lines.iter().filter(|line| line.name == "takes").map(|line| number(line, "units")).collect();
    assert_eq!(took, [40, 20], "the one that lapses first is taken first");
    assert!(texts(&lines, "takes")[0].contains("that lapses at 2026-03-01 00:00 Europe/London"), "{lines:?}");
    assert_eq!(line(&lines, "spent").text, "60 points are spent on gift.");
    till.on("2026-03-03T12:00");
    let lapsed = till.book.shelf.events.len();
    till.sweep();
    let lines = till.book.explained(Op(u64::try_from(lapsed).unwrap() + 1));
    assert_eq!(line(&lines, "due").text, "What was free of a lot lapsed at 2026-03-03 00:00 Europe/London.");
    assert_eq!((number(line(&lines, "lapses"), "units"), number(line(&lines, "breakage"), "units")), (10, 10));
}

#[test]
fn an_offset_tells_what_was_asked_taken_and_what_it_is_worth() {
    let offset = Some(Offset { points: 100, minor: 80 });
    let mut till = Till::new(ProgramMore { offset, ..points(NEVER, DebtPolicy::Debt, None) });
    till.lot(700, None);
    let purpose = stampbook::ledger::command::Purpose::CashOffset;
    let asset = stampbook::ledger::ids::AssetNo::POINTS;
    let (op, _) = till.done(stampbook::ledger::command::Action::Redeem { asset, points: 650, purpose });
    assert_eq!(
        line(&till.book.explained(op), "spent").text,
        "600 points are spent on cash offset and stand for 480 minor units of GBP; 650 were asked for, and the other 50 make \
         no whole unit."
    );
}

#[test]
fn pending_units_tell_until_when_and_what_became_of_them() {
    let mut till = Till::new(points(NEVER, DebtPolicy::Debt, None));
    till.lot(5, None);
    let (first, _) = till.done(earn(20, Some(Matures::Activated)));
    let until = Matures::At(at("2026-01-10T00:00"));
    let (second, _) = till.done(earn(10, Some(until)));
    assert_eq!(line(&till.book.explained(first), "pending").text, "Pending until it is activated.");
    assert_eq!(line(&till.book.explained(second), "pending").text, "Pending until 2026-01-10 00:00 Europe/London.");
    let (op, _) = till.done(activate(first));
    let lines = till.book.explained(op);
    assert_eq!((number(line(&lines, "ends_waiting"), "units"), number(line(&lines, "enters"), "units")), (20, 20));
    let (op, _) = till.done(refund(second, 4));
    assert_eq!(number(line(&till.book.explained(op), "cancels"), "units"), 4);
}

#[test]
fn a_refund_tells_what_it_asks_of_each_part_and_where_it_took_it() {
    let mut till = Till::new(points(living(Lifetime::Days(30)), DebtPolicy::Debt, None));
    till.doubling(100);
    let (original, _) = till.done(earn(100, None));
    till.done(redeem(50));
    till.on("2026-02-05T12:00").lot(60, None);
    let (op, _) = till.done(refund(original, 33));
    let lines = till.book.explained(op);
    assert_eq!(
        line(&lines, "original").text,
        format!(
            "Takes back the earn at op {}: 3300 of its 10000 minor units of GBP, 3300 with all refunds so far.",
            original.0
        )
    );
    assert_eq!(
        line(&lines, "base").text,
        "Base: 100 x 3300 / 10000 rounded down is 33; less 0 asked before, 33 points are asked."
    );
    let (op, _) = till.done(refund(original, 67));
    let lines = till.book.explained(op);
    assert_eq!(
        line(&lines, "campaign").text,
        "Campaign double: 100 x 10000 / 10000 rounded down is 100; less 33 asked before, 67 points are asked."
    );
    let lapsed = line(&lines, "lapsed_own");
    assert_eq!((number(lapsed, "units"), number(lapsed, "total")), (84, 150));
    assert_eq!(
        texts(&lines, "takes"),
        [
            "50 points are taken from the lot \"opening\" that lapses at 2026-03-08 00:00 Europe/London, which they did not enter \
          at first."
        ]
    );
}

#[test]
fn a_refund_tells_what_is_owed_and_what_is_not_taken() {
    for (debt, name, units) in [(DebtPolicy::Debt, "owes", 90), (DebtPolicy::Clamp, "not_taken", 90)] {
        let mut till = Till::new(points(NEVER, debt, None));
        let (original, _) = till.done(earn(100, None));
        till.done(redeem(90));
        let (op, _) = till.done(refund(original, 100));
        let lines = till.book.explained(op);
        assert_eq!(number(line(&lines, name), "units"), units, "{debt:?}");
        assert!(texts(&lines, "takes")[0].ends_with("which its units entered."), "{lines:?}");
    }
}

#[test]
fn a_reversal_tells_what_came_back_and_what_the_days_of_grace_gave() {
    let mut till = Till::new(ProgramMore { grace_days: 3, ..points(NEVER, DebtPolicy::Debt, None) });
    till.lot(50, Some("2026-02-01T00:00"));
    let (spent, _) = till.done(redeem(30));
    let (op, _) = till.on("2026-02-15T12:00").done(reverse(spent, Some(10)));
    let lines = till.book.explained(op);
    assert_eq!(
        line(&lines, "original").text,
        format!("Undoes 10 of the 30 points of the redemption at op {}, 10 with all reversals so far.", spent.0)
    );
    assert_eq!(
        texts(&lines, "enters"),
        [
            "10 points come back to the lot \"opening\" that lapses at 2026-02-19 00:00 Europe/London (its own had lapsed: these \
          are the program's days of grace)."
        ]
    );
}

#[test]
fn a_refusal_and_an_operators_act_tell_why_and_by_whom() {
    let mut till = Till::new(points(NEVER, DebtPolicy::Debt, None));
    till.lot(5, None);
    let (op, _) = till.post(redeem(6));
    let refused = till.book.explained(op);
    assert_eq!(
        line(&refused, "refused").text,
        "Refused: the member has fewer units available than asked (redeem.points). Nothing was moved."
    );
    assert_eq!(number(line(&refused, "refused"), "reason"), 4);
    let mut book = night(ratio(1, 1), ratio(10, 1), vec![(campaign("double", "a", ratio(2, 1)), 100)]);
    let op = admin(&mut book, AdminAction::PauseCampaign { campaign: "double".to_owned() });
    assert_eq!(
        line(&book.explained(op), "campaign").text,
        "Campaign double is paused; its budget has 100 left. By night desk: as planned."
    );
    let op = admin(&mut book, put(rules_of(points(NEVER, DebtPolicy::Debt, None))));
    let lines = book.explained(op);
    assert!(line(&lines, "rules").text.starts_with("Version 2 holds from 2026-09-21"), "{lines:?}");
}
