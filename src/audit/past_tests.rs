#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use std::collections::BTreeSet;

use crate::audit::fixtures::TestBook;
use crate::audit::paper::{MEMBERS, PaperBook};
use crate::ledger::event::Balances;

#[test]
fn the_trial_balance_of_every_op_is_what_it_was_from_any_earlier_one() {
    let test = TestBook::new(150);
    let names = test.names();
    let newest = test.book.durable_op();
    for op in 0..=newest {
        let expected = &test.trials[usize::try_from(op).unwrap()];
        let (found, replayed) = trial_balance_at(&test.book, &names, None, op).unwrap();
        assert_eq!((&found, replayed), (expected, op), "op {op}");
        let from = op / 2;
        let base = Some((from, test.trials[usize::try_from(from).unwrap()].clone()));
        let (found, replayed) = trial_balance_at(&test.book, &names, base, op).unwrap();
        assert_eq!((&found, replayed), (expected, op - from), "op {op} from {from}");
    }
    let far = trial_balance_at(&test.book, &names, None, newest + 1);
    assert!(matches!(far, Err(PastError::Book(ExportError::Journal(JournalError::NotFound(_))))));
    let later = trial_balance_at(&test.book, &names, Some((9, Vec::new())), 8);
    assert!(matches!(later, Err(PastError::Stray { .. })));
}

fn no(op: usize) -> Op {
    Op(u64::try_from(op).unwrap())
}

#[test]
fn the_trial_balance_in_every_asset_of_every_op_is_what_it_was_from_any_earlier_one() {
    let paper = PaperBook::lived();
    let newest = usize::try_from(paper.newest().0).unwrap();
    for op in 0..=newest {
        for from in 0..=op {
            let base = Some((no(from).0, paper.trials[from].clone()));
            let (found, _) = trial_balance_at(&paper.book, &paper.names, base, no(op).0).unwrap();
            assert_eq!(found, paper.trials[op], "op {op} from {from}");
        }
    }
    let kinds: BTreeSet<_> = paper.trials[newest][0].rows.iter().map(|row| row.asset.as_str()).collect();
    assert_eq!(kinds.len(), 4);
}

#[test]
fn a_member_stands_in_every_asset_at_every_op_as_it_did_then_whatever_fell_due_since() {
    let paper = PaperBook::lived();
    let newest = usize::try_from(paper.newest().0).unwrap();
    for member in 0..MEMBERS.len() {
        let now = paper.balances(member, newest);
        for op in 1..=newest {
            let found = member_at(
                &paper.book,
                &[MemberNo(u32::try_from(member).unwrap())],
                &now,
                paper.heads[newest][member],
                no(op),
            );
            match paper.heads[op][member] {
                Op(0) => assert!(matches!(found, Err(PastError::MemberLater { .. })), "member {member} at op {op}"),
                head => {
                    let found = found.unwrap();
                    assert_eq!((found.balances, found.head), (paper.balances(member, op), head), "{member} at op {op}");
                }
            }
        }
    }
}

#[test]
fn a_trial_balance_kept_before_there_were_assets_is_one_of_points() {
    let row: TrialRow = serde_json::from_str(r#"{"account":"issuance","balance":-5}"#).unwrap();
    assert_eq!(row, TrialRow { asset: "points".to_owned(), account: "issuance".to_owned(), balance: -5 });
}

fn points(balances: Balances) -> AssetBalances {
    AssetBalances { available: balances.available, debt: balances.debt, ..AssetBalances::default() }
}

#[test]
fn a_member_stands_at_every_op_as_it_did_then() {
    let test = TestBook::new(150);
    let newest = test.balances.last().unwrap();
    let mut later = 0;
    for (place, now) in newest.iter().enumerate() {
        let (balances, head) = now.unwrap();
        for (op, then) in test.balances.iter().enumerate().skip(1) {
            let found =
                member_at(&test.book, &[test.number(place)], &[points(balances)], head, Op(u64::try_from(op).unwrap()));
            match then[place] {
                Some((balances, last)) => {
                    let found = found.unwrap();
                    assert_eq!(
                        (found.balances, found.head),
                        (vec![points(balances)], last),
                        "member {place} at op {op}"
                    );
                }
                None => {
                    assert!(matches!(found, Err(PastError::MemberLater { .. })), "member {place} at op {op}");
                    later += 1;
                }
            }
        }
    }
    assert!(later > 0);
    let far = member_at(&test.book, &[test.number(0)], &[], newest[0].unwrap().1, Op(test.book.durable_op() + 1));
    assert!(matches!(far, Err(PastError::NotYet { .. })));
    assert!(
        matches!(member_at(&test.book, &[MemberNo(0)], &[], Op(1), Op(1)), Err(PastError::Stray { .. })),
        "op 1 puts a program"
    );
}
