//! Every event of random books is explained, and reckoned again to what it says.

use std::collections::{BTreeMap, BTreeSet};

use stampbook::audit::explain::Line;
use stampbook::ledger::event::{Account, Event, Side};
use stampbook::ledger::ids::Op;
use stampbook::ledger::reward::pieces_of;

use super::Run;
use model::book::ROOMY;

/// What the random books hold, in the words of an explanation.
const KINDS: [&str; 31] = [
    "activate",
    "adjust",
    "campaign closed",
    "campaign funded",
    "campaign paused",
    "campaign resumed",
    "capture",
    "checkout",
    "convert",
    "earn",
    "expired",
    "grant",
    "hold",
    "hold ended",
    "lots merged",
    "matured",
    "member set",
    "merge",
    "opening",
    "period closed",
    "program put",
    "redeem",
    "refund",
    "release",
    "reverse",
    "reward put",
    "snapshot taken",
    "snapshot deleted",
    "standing",
    "top up",
    "transfer",
];

fn is_members(account: &Account) -> bool {
    matches!(account, Account::Available { .. } | Account::Held { .. } | Account::Pending { .. } | Account::Debt)
}

/// The units that were not taken by asset, as the line of the whole says, or those of the parts.
fn not_taken<'l>(lines: &'l [Line], number: &str, whole: bool) -> BTreeMap<&'l str, i64> {
    let mut sums = BTreeMap::new();
    for line in lines.iter().filter(|line| (line.name == "not_taken") == whole) {
        let numbers = line.numbers.iter().filter(|(name, units)| *name == number && *units > 0);
        numbers.for_each(|(_, units)| *sums.entry(line.asset.as_str()).or_default() += units);
    }
    sums
}

#[test]
fn every_event_is_explained_in_numbers_that_the_rules_give_again_and_tells_what_is_left_of_every_asset_it_moved() {
    let (mut kinds, mut refused, mut kept, mut pieces) = (BTreeSet::new(), 0, 0, 0);
    for seed in 101..109 {
        let mut run = Run::new(seed, ROOMY);
        run.steps(seed, 1_500);
        for at in 1..=run.book.shelf.events.len() {
            let op = Op(u64::try_from(at).unwrap());
            let lines = run.book.explained(op);
            let all: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
            let all = all.join("\n");
            assert!(!all.contains("The event says another"), "op {at}: {all}");
            assert!(!all.contains("  ") && !all.contains("op 0"), "op {at}: {all}");
            assert!(lines.iter().all(|line| line.text.ends_with('.') && line.text.len() > 8), "op {at}: {all}");
            let kind = lines[0].text.split([',']).next().unwrap().split(" that occurred").next().unwrap();
            kinds.insert(kind.to_owned());
            refused += usize::from(lines.iter().any(|line| line.name == "refused"));
            let event = run.book.event(op);
            if matches!(&event, Event::Refunded(refund) if refund.from.is_some()) {
                assert_eq!(not_taken(&lines, "units", true), not_taken(&lines, "not_taken", false), "op {at}: {all}");
                kept += not_taken(&lines, "units", true).len();
            }
            for (Side { legs, .. }, after) in event.sides().zip(["after", "other_after"]) {
                for leg in legs.iter().filter(|leg| is_members(&leg.account)) {
                    let asset = ["points", "growth", "wallet", "coupon", "stars"][usize::from(leg.asset.0)];
                    let told = lines.iter().any(|line| line.name == after && line.asset == asset);
                    assert!(told, "op {at} does not tell what is left of {asset}: {all}");
                }
            }
            if let Some(moved) = pieces_of(&event) {
                let told = |line: &&Line| line.numbers.contains(&("pieces", i64::try_from(moved.pieces).unwrap()));
                assert!(lines.iter().any(|line| line.name == "pieces" && told(&line)), "op {at}: {all}");
                pieces += 1;
            }
        }
    }
    assert_eq!(kinds.iter().map(String::as_str).collect::<BTreeSet<_>>(), KINDS.into_iter().collect());
    assert!(kept > 10, "of {kept} assets something was not taken back");
    assert!(pieces > 20, "{pieces} events moved pieces");
    assert!(refused > 500, "{refused} were refused");
}
