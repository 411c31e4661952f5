//! Batches that stand or fall together.

use stampbook::proto::{Outcome, Reason, Receipt, Retry};
use tonic::Code;

use crate::house::{House, fields, first, gift, reason, redeem};

fn outcomes(receipts: &[Receipt]) -> Vec<Outcome> {
    receipts.iter().map(Receipt::outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_is_applied_or_only_the_culprit_is_remembered() {
    let mut house = House::furnished().await;
    let applied = house.batch(vec![gift("a", "ann", 10), redeem("b", "ann", 10)], true).await.unwrap();
    assert_eq!(outcomes(&applied), [Outcome::Applied, Outcome::Applied]);
    let failed = vec![gift("c", "ann", 10), redeem("d", "ann", 11), gift("e", "ben", 1)];
    let receipts = house.batch(failed.clone(), true).await.unwrap();
    assert_eq!(outcomes(&receipts), [Outcome::Aborted, Outcome::Rejected, Outcome::Aborted]);
    assert_eq!((receipts[0].reason(), receipts[0].op), (Reason::BatchAborted, 0));
    assert_eq!((receipts[0].retry(), receipts[0].key.as_str()), (Retry::SameKey, "c"));
    assert_eq!(receipts[1].reason(), Reason::InsufficientPoints);
    assert_eq!(house.balance("ann").await.available, 0);
    // The same again answers as the first time, the rejection as a replay.
    let again = house.batch(failed, true).await.unwrap();
    assert!(again[1].replayed && !again[0].replayed);
    assert_eq!(again.iter().map(first).collect::<Vec<_>>(), receipts);
    // The keys of the others are free.
    assert!(!house.post(gift("c", "ann", 10)).await.unwrap().replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_keys_are_all_known_answers_as_replays() {
    let mut house = House::furnished().await;
    let items = vec![gift("a", "ann", 10), redeem("b", "ann", 4)];
    let receipts = house.batch(items.clone(), true).await.unwrap();
    let again = house.batch(items, true).await.unwrap();
    assert!(again.iter().all(|receipt| receipt.replayed));
    assert_eq!(again.iter().map(first).collect::<Vec<_>>(), receipts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixture_of_known_and_new_keys_is_a_conflict_that_remembers_nothing() {
    let mut house = House::furnished().await;
    let known = house.post(gift("a", "ann", 10)).await.unwrap();
    let receipts = house.batch(vec![gift("a", "ann", 10), gift("b", "ann", 5)], true).await.unwrap();
    assert_eq!(outcomes(&receipts), [Outcome::Conflict, Outcome::Conflict]);
    assert!(receipts.iter().all(|receipt| receipt.reason() == Reason::BatchKeysMixed && !receipt.replayed));
    assert_eq!((receipts[0].op, receipts[1].op), (known.op, 0));
    // With another body the one known key is in conflict by itself.
    let receipts = house.batch(vec![gift("a", "ann", 11), gift("b", "ann", 5)], true).await.unwrap();
    assert_eq!((receipts[0].reason(), receipts[1].reason()), (Reason::KeyReused, Reason::BatchKeysMixed));
    // So it is with a remembered rejection that is sent with another body.
    house.post(redeem("r", "ann", 1_000)).await.unwrap();
    let receipts = house.batch(vec![redeem("r", "ann", 1_001), gift("b", "ann", 5)], true).await.unwrap();
    assert_eq!((receipts[0].reason(), receipts[1].reason()), (Reason::KeyReused, Reason::BatchKeysMixed));
    assert_eq!(house.balance("ann").await.available, 10);
    assert!(!house.post(gift("b", "ann", 5)).await.unwrap().replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_twice_is_a_wrong_shape() {
    let mut house = House::furnished().await;
    let items = vec![gift("a", "ann", 1), gift("b", "ann", 1), gift("a", "ann", 1)];
    let status = house.batch(items, true).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "DUPLICATE_KEY_IN_BATCH".into()));
    assert_eq!(fields(&status), ["items[2].key"]);
    assert!(!house.post(gift("a", "ann", 1)).await.unwrap().replayed);
}
