#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::audit::fixtures::TestBook;

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
    assert!(matches!(far, Err(PastError::NotYet { .. })));
    let later = trial_balance_at(&test.book, &names, Some((9, Vec::new())), 8);
    assert!(matches!(later, Err(PastError::Stray { .. })));
}

#[test]
fn a_member_stands_at_every_op_as_it_did_then() {
    let test = TestBook::new(150);
    let newest = test.balances.last().unwrap();
    let mut later = 0;
    for (place, now) in newest.iter().enumerate() {
        let (_, head) = now.unwrap();
        for (op, then) in test.balances.iter().enumerate().skip(1) {
            let found = member_at(&test.book, head, Op(u64::try_from(op).unwrap()));
            match then[place] {
                Some((balances, last)) => {
                    let found = found.unwrap();
                    assert_eq!((found.0, found.1), (balances, last), "member {place} at op {op}");
                }
                None => {
                    assert!(matches!(found, Err(PastError::MemberLater { .. })), "member {place} at op {op}");
                    later += 1;
                }
            }
        }
    }
    assert!(later > 0);
    let far = member_at(&test.book, newest[0].unwrap().1, Op(test.book.durable_op() + 1));
    assert!(matches!(far, Err(PastError::NotYet { .. })));
    assert!(matches!(member_at(&test.book, Op(1), Op(1)), Err(PastError::Stray { .. })), "op 1 puts a program");
}
