//! Posting on a stream.

use stampbook::proto as pb;
use stampbook::proto::{Outcome, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::house::{House, fields, first, gift, purchase, reason, redeem, refund};

type Sender = mpsc::Sender<pb::PostStreamRequest>;

async fn open(house: &mut House) -> (Sender, Streaming<pb::PostStreamResponse>) {
    let (sender, requests) = mpsc::channel(4);
    let responses = house.ledger.post_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    (sender, responses)
}

/// Sends messages of the items and half-closes; gives every receipt, and the status that ended the stream otherwise.
async fn exchange(house: &mut House, messages: Vec<Vec<pb::Command>>) -> (Vec<pb::Receipt>, Option<tonic::Status>) {
    let (sender, mut responses) = open(house).await;
    tokio::spawn(async move {
        for items in messages {
            // A server that ended the stream takes no more.
            let _ = sender.send(pb::PostStreamRequest { items }).await;
        }
    });
    let mut receipts = Vec::new();
    loop {
        match responses.message().await {
            Ok(Some(response)) => {
                assert!(!response.receipts.is_empty());
                receipts.extend(response.receipts);
            }
            Ok(None) => return (receipts, None),
            Err(status) => return (receipts, Some(status)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_come_in_order_and_half_closing_drains() {
    let mut house = House::furnished().await;
    let items: Vec<_> = (0..30_000).map(|n| gift(&format!("k{n}"), &format!("m{}", n % 7), 1)).collect();
    let messages = items.chunks(700).map(<[_]>::to_vec).collect();
    let (receipts, end) = exchange(&mut house, messages).await;
    assert!(end.is_none());
    assert_eq!(receipts.len(), items.len());
    assert!(receipts.iter().zip(&items).all(|(receipt, item)| receipt.key == item.key));
    assert!(receipts.iter().all(|receipt| receipt.outcome() == Outcome::Applied));
    assert!(receipts.windows(2).all(|pair| pair[0].op < pair[1].op));
    // The same stream again, cut into single commands, answers as replays.
    let singles = items.iter().take(300).map(|item| vec![item.clone()]).collect();
    let (again, end) = exchange(&mut house, singles).await;
    assert!(end.is_none() && again.iter().all(|receipt| receipt.replayed));
    assert_eq!(again.iter().map(first).collect::<Vec<_>>(), receipts[..300]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_shape_is_a_receipt_in_its_place_and_the_stream_goes_on() {
    let mut house = House::furnished().await;
    let items = vec![
        purchase("a", "ann", 0),
        gift("b", "ann", 10),
        gift("c", "", 10),
        gift("d", "ann", 1),
        redeem("e", "ann", 12),
        purchase("f", "ann", -1),
    ];
    let hollow = vec![gift("", "ann", 1)];
    let (receipts, end) = exchange(&mut house, vec![items, hollow, vec![gift("h", "ann", 1)]]).await;
    assert!(end.is_none());
    let outcomes: Vec<_> = receipts.iter().map(pb::Receipt::outcome).collect();
    let (applied, invalid, rejected) = (Outcome::Applied, Outcome::Invalid, Outcome::Rejected);
    assert_eq!(outcomes, [invalid, applied, invalid, applied, rejected, invalid, invalid, applied]);
    assert_eq!((receipts[0].field.as_str(), receipts[0].reason()), ("earn.amount_minor", Reason::FieldOutOfRange));
    assert_eq!((receipts[2].field.as_str(), receipts[2].key.as_str()), ("member", "c"));
    assert_eq!(receipts[6].field, "key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_finds_the_purchase_that_was_sent_just_before_it() {
    let mut house = House::furnished().await;
    let mut messages = Vec::new();
    for n in 0..200 {
        let (buy, back) = (format!("buy-{n}"), format!("back-{n}"));
        messages.push(vec![purchase(&buy, "ann", 1_000)]);
        messages.push(vec![refund(&back, "ann", &buy, 1_000), redeem(&format!("spend-{n}"), "ann", 1)]);
    }
    let (receipts, end) = exchange(&mut house, messages).await;
    assert!(end.is_none());
    for three in receipts.chunks(3) {
        assert_eq!((three[0].awarded, three[1].taken), (20, 20), "{three:?}");
        assert_eq!(three[2].reason(), Reason::InsufficientPoints);
    }
    assert_eq!(house.balance("ann").await.available, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_or_overfull_message_ends_the_stream_after_what_came_before_is_answered() {
    let mut house = House::furnished().await;
    let many: Vec<_> = (0..1_001).map(|n| gift(&format!("k{n}"), "ann", 1)).collect();
    for (bad, why) in [(vec![], "FIELD_MISSING"), (many, "TOO_MANY_ITEMS")] {
        let (receipts, end) = exchange(&mut house, vec![vec![gift("a", "ann", 1)], bad]).await;
        let status = end.unwrap();
        assert_eq!(reason(&status), (Code::InvalidArgument, why.into()));
        assert_eq!(fields(&status), ["items"]);
        assert_eq!(receipts.len(), 1);
    }
    assert_eq!(house.balance("ann").await.available, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_not_held_back_for_more_to_come() {
    let mut house = House::furnished().await;
    let (sender, mut responses) = open(&mut house).await;
    for n in 0..3 {
        sender.send(pb::PostStreamRequest { items: vec![gift(&format!("k{n}"), "ann", 1)] }).await.unwrap();
        let response = responses.message().await.unwrap().unwrap();
        assert_eq!(response.receipts[0].balance.as_ref().unwrap().available, n + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_one_request_is_met_by_waiting_and_sheds_unary_calls() {
    let config = stampbook::config::Config { queue_requests_max: 1, ..crate::house::small() };
    let (dir, _) = House::furnished().await.close().await;
    let mut house = House::open(dir, &config).await;
    let mut streams = Vec::new();
    for stream in 0..4 {
        let mut ledger = house.ledger.clone();
        streams.push(tokio::spawn(async move {
            let messages: Vec<_> = (0..50)
                .map(|n| {
                    let items = (0..200).map(|i| gift(&format!("s{stream}-{n}-{i}"), "ann", 1)).collect();
                    pb::PostStreamRequest { items }
                })
                .collect();
            let mut responses = ledger.post_stream(tokio_stream::iter(messages)).await.unwrap().into_inner();
            let mut count = 0;
            while let Some(response) = responses.message().await.unwrap() {
                assert!(response.receipts.iter().all(|receipt| receipt.outcome() == Outcome::Applied));
                count += response.receipts.len();
            }
            count
        }));
    }
    let mut shed = 0;
    for burst in 0..10 {
        let calls: Vec<_> = (0..64)
            .map(|n| {
                let mut ledger = house.ledger.clone();
                let command = Some(gift(&format!("u{burst}-{n}"), "ben", 1));
                tokio::spawn(async move { ledger.post(pb::PostRequest { command }).await })
            })
            .collect();
        for call in calls {
            if let Err(status) = call.await.unwrap() {
                assert_eq!(reason(&status), (Code::ResourceExhausted, "QUEUE_FULL".into()));
                let retry = tonic_types::StatusExt::get_details_retry_info(&status).unwrap();
                assert!(retry.retry_delay.is_some());
                shed += 1;
            }
        }
    }
    assert!(shed > 0, "a queue of one request sheds some of 640 calls");
    for stream in streams {
        assert_eq!(stream.await.unwrap(), 10_000);
    }
    loop {
        // The queue may still be full of what came before.
        let request = pb::GetMemberRequest { program: "high-street".into(), member: "ann".into(), as_of: None };
        if let Ok(response) = house.accounts.get_member(request).await {
            assert_eq!(response.into_inner().member.unwrap().balance.unwrap().available, 40_000);
            return;
        }
    }
}
