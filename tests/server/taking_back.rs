//! What has been taken back stays taken back: over restarts, and when the store was made anew from the book.

use stampbook::ledger::reason::Reason;
use stampbook::proto as pb;
use stampbook::proto::Outcome;

use crate::house::{House, PROGRAM, adjust, gift, purchase, redeem, refund, small};

fn reverse(key: &str, original_key: &str, units: Option<i64>) -> pb::Command {
    let original = Some(pb::reverse::Original::OriginalKey(original_key.into()));
    pb::Command {
        program: PROGRAM.into(),
        key: key.into(),
        member: "ann".into(),
        action: Some(pb::command::Action::Reverse(pb::Reverse { original, units })),
        ..Default::default()
    }
}

/// Nothing is left of an earn, of spending and of a gift: each names that, whatever part is asked, under a new key.
async fn nothing_is_left(house: &mut House, round: &str) {
    let key = |name: &str| format!("{name}-{round}");
    for (command, reason) in [
        (refund(&key("f"), "ann", "earned", 1), Reason::RefundExceedsOriginal),
        (reverse(&key("s"), "spent", Some(1)), Reason::ReverseExceedsOriginal),
        (reverse(&key("t"), "spent", None), Reason::ReverseExceedsOriginal),
        (reverse(&key("g"), "given", Some(1)), Reason::ReverseExceedsOriginal),
        (reverse(&key("h"), "given", None), Reason::ReverseExceedsOriginal),
    ] {
        let receipt = house.post(command).await.unwrap();
        assert_eq!((receipt.outcome(), receipt.reason), (Outcome::Rejected, i32::from(reason.number())), "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousandth_part_is_refused_by_name_after_a_restart_and_after_the_store_was_rebuilt() {
    let mut house = House::furnished().await;
    for command in [
        purchase("earned", "ann", 999),
        adjust("given", "ann", 999),
        gift("more", "ann", 999),
        redeem("spent", "ann", 999),
    ] {
        assert_eq!(house.post(command).await.unwrap().outcome(), Outcome::Applied);
    }
    let parts = (1..1_000).flat_map(|n| {
        let key = |name: &str| format!("{name}-{n}");
        let undone = |name: &str, original: &str| reverse(&key(name), original, Some(1));
        [refund(&key("f"), "ann", "earned", 1), undone("s", "spent"), undone("g", "given")]
    });
    let parts: Vec<pb::Command> = parts.collect();
    // A part of them before a restart, so that the latest before a part lies in memory, in a run, and in the same frame.
    let (before, after) = parts.split_at(1_000);
    let applied = |receipts: Vec<pb::Receipt>| {
        assert!(receipts.iter().all(|receipt| receipt.outcome() == Outcome::Applied), "{receipts:?}");
    };
    applied(house.batch(before.to_vec(), false).await.unwrap());
    let mut house = house.reopened().await;
    for after in after.chunks(400) {
        applied(house.batch(after.to_vec(), false).await.unwrap());
    }
    let balance = house.balance("ann").await;
    nothing_is_left(&mut house, "at once").await;
    let mut house = house.reopened().await;
    nothing_is_left(&mut house, "restarted").await;
    let (dir, _) = house.close().await;
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    let mut house = House::open(dir, &small()).await;
    nothing_is_left(&mut house, "rebuilt").await;
    // The key of a part says what it said.
    let again = house.batch(parts.last().into_iter().cloned().collect(), false).await.unwrap();
    assert!(again[0].replayed && again[0].outcome() == Outcome::Applied);
    assert_eq!(house.balance("ann").await, balance);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_take_one_purchase_back_at_once_are_all_answered_before_the_parts_before_theirs_are_durable() {
    let mut house = House::furnished().await;
    house.post(purchase("earned", "ann", 8_000)).await.unwrap();
    house.post(gift("after", "ben", 1)).await.unwrap();
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let mut ledger = house.ledger.clone();
            tokio::spawn(async move {
                for part in 0..10 {
                    let command = Some(refund(&format!("f-{caller}-{part}"), "ann", "earned", 100));
                    let response = ledger.post(pb::PostRequest { command }).await.unwrap();
                    assert_eq!(response.into_inner().receipt.unwrap().outcome(), Outcome::Applied);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(house.balance("ann").await.available, 0);
    nothing_is_left_of_the_earn(&mut house).await;
}

async fn nothing_is_left_of_the_earn(house: &mut House) {
    let receipt = house.post(refund("f-last", "ann", "earned", 1)).await.unwrap();
    assert_eq!(receipt.reason(), pb::Reason::RefundExceedsOriginal);
}
