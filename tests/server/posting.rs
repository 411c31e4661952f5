//! Posting one command, or a batch of independent ones.

use stampbook::proto as pb;
use stampbook::proto::{Outcome, Reason, Retry, Source};
use tonic::Code;

use crate::house::{House, PROGRAM, adjust, connect, fields, first, gift, purchase, reason, redeem, refund};

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_in_the_campaign_earns_twice_and_says_why() {
    let mut house = House::furnished().await;
    let receipt = house.post(purchase("k1", "ann", 12_345)).await.unwrap();
    assert_eq!(receipt.outcome(), Outcome::Applied);
    assert_eq!((receipt.key.as_str(), receipt.replayed, receipt.retry()), ("k1", false, Retry::Unspecified));
    assert_eq!((receipt.desired, receipt.awarded), (246, 246));
    let awards: Vec<_> =
        receipt.awards.iter().map(|award| (award.source(), award.campaign.as_str(), award.awarded)).collect();
    assert_eq!(awards, [(Source::Base, "", 123), (Source::Campaign, "double-night", 123)]);
    assert_eq!(receipt.balance, Some(pb::Balance { available: 246, debt: 0, ..Default::default() }));
    assert!(receipt.op > 0 && receipt.book_time_us > 0 && receipt.book_id.len() == 32);
    assert_eq!(house.balance("ann").await.available, 246);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_body_give_the_first_receipt_again_even_after_a_restart() {
    let mut house = House::furnished().await;
    let applied = house.post(purchase("k1", "ann", 12_345)).await.unwrap();
    let rejected = house.post(redeem("k2", "ann", 1_000)).await.unwrap();
    house.post(redeem("k3", "ann", 46)).await.unwrap();
    for round in 0..2 {
        let again = house.post(purchase("k1", "ann", 12_345)).await.unwrap();
        assert!(again.replayed, "round {round}");
        assert_eq!(first(&again), applied);
        let again = house.post(redeem("k2", "ann", 1_000)).await.unwrap();
        assert!(again.replayed);
        assert_eq!(first(&again), rejected);
        house = house.reopened().await;
    }
    assert_eq!(house.balance("ann").await.available, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_another_body_is_a_conflict_that_names_the_event_and_changes_nothing() {
    let mut house = House::furnished().await;
    let receipt = house.post(purchase("k1", "ann", 12_345)).await.unwrap();
    let status = house.post(purchase("k1", "ann", 12_346)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "KEY_REUSED".into()));
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!(info.metadata["op"], receipt.op.to_string());
    assert_eq!(info.metadata["key"], "k1");
    assert_eq!(house.balance("ann").await.available, 246);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_is_a_receipt_with_reason_and_field() {
    let mut house = House::furnished().await;
    let receipt = house.post(redeem("k1", "nobody", 5)).await.unwrap();
    assert_eq!((receipt.outcome(), receipt.reason()), (Outcome::Rejected, Reason::MemberUnknown));
    assert_eq!((receipt.field.as_str(), receipt.retry()), ("member", Retry::NewKey));
    assert_eq!(receipt.balance, None);
    house.post(gift("k2", "ann", 10)).await.unwrap();
    let receipt = house.post(redeem("k3", "ann", 11)).await.unwrap();
    assert_eq!((receipt.outcome(), receipt.reason()), (Outcome::Rejected, Reason::InsufficientPoints));
    assert_eq!(receipt.field, "redeem.points");
    assert_eq!(receipt.balance, Some(pb::Balance { available: 10, debt: 0, ..Default::default() }));
    let mut unknown_kind = purchase("k4", "ann", 100);
    if let Some(pb::command::Action::Earn(earn)) = &mut unknown_kind.action {
        earn.event_kind = "dancing".into();
    }
    let receipt = house.post(unknown_kind).await.unwrap();
    assert_eq!((receipt.reason(), receipt.field.as_str()), (Reason::EventKindUnknown, "earn.event_kind"));
    let foreign = pb::Command { currency: "EUR".into(), ..purchase("k5", "ann", 100) };
    assert_eq!(house.post(foreign).await.unwrap().reason(), Reason::CurrencyMismatch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_shape_names_its_field_and_leaves_the_key_free() {
    let mut house = House::furnished().await;
    let cases = [
        (pb::Command { program: String::new(), ..gift("k", "ann", 1) }, "program", "FIELD_MISSING"),
        (pb::Command { program: "nowhere".into(), ..gift("k", "ann", 1) }, "program", "PROGRAM_UNKNOWN"),
        (gift("", "ann", 1), "key", "FIELD_MISSING"),
        (gift(&"k".repeat(129), "ann", 1), "key", "FIELD_TOO_LONG"),
        (gift("k", "", 1), "member", "FIELD_MISSING"),
        (gift("k", &"m".repeat(65), 1), "member", "FIELD_TOO_LONG"),
        (pb::Command { action: None, ..gift("k", "ann", 1) }, "action", "FIELD_MISSING"),
        (purchase("k", "ann", 0), "earn.amount_minor", "FIELD_OUT_OF_RANGE"),
        (purchase("k", "ann", 1_000_000_000_001), "earn.amount_minor", "FIELD_OUT_OF_RANGE"),
        (gift("k", "ann", -1), "earn.points", "FIELD_OUT_OF_RANGE"),
        (redeem("k", "ann", 0), "redeem.points", "FIELD_OUT_OF_RANGE"),
        (adjust("k", "ann", 0), "adjust.points", "FIELD_OUT_OF_RANGE"),
        (refund("k", "ann", "", 5), "refund.original_key", "FIELD_MISSING"),
        (pb::Command { currency: "gbp".into(), ..gift("k", "ann", 1) }, "currency", "FIELD_MALFORMED"),
        (pb::Command { reference: "r".repeat(129), ..gift("k", "ann", 1) }, "reference", "FIELD_TOO_LONG"),
        (pb::Command { channel: "c".repeat(65), ..gift("k", "ann", 1) }, "channel", "FIELD_TOO_LONG"),
        (pb::Command { occurred_at_us: Some(i64::MIN), ..gift("k", "ann", 1) }, "occurred_at_us", "FIELD_OUT_OF_RANGE"),
        (with_metadata([("", "v")]), "metadata", "FIELD_MALFORMED"),
        (with_metadata([("n", "v".repeat(512).as_str())]), "metadata", "FIELD_TOO_LONG"),
        (with_metadata(["1", "2", "3", "4", "5", "6", "7", "8", "9"].map(|n| (n, ""))), "metadata", "TOO_MANY_ITEMS"),
    ];
    for (command, field, why) in cases {
        let status = house.post(command).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, why.into()), "{field}: {status}");
        assert_eq!(fields(&status), [format!("command.{field}")]);
    }
    let status = house.ledger.post(pb::PostRequest { command: None }).await.unwrap_err();
    assert_eq!(fields(&status), ["command"]);
    let receipt = house.post(gift("k", "ann", 1)).await.unwrap();
    assert!(!receipt.replayed);
}

fn with_metadata<const N: usize>(pairs: [(&str, &str); N]) -> pb::Command {
    let metadata = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    pb::Command { metadata, ..gift("k", "ann", 1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_gives_one_receipt_an_item_and_each_sees_those_before_it() {
    let mut house = House::furnished().await;
    let items = vec![
        gift("a", "ann", 100),
        redeem("b", "ann", 60),
        redeem("c", "ann", 60),
        gift("a", "ann", 100),
        gift("a", "ann", 101),
        gift("d", "ben", 7),
    ];
    let receipts = house.batch(items, false).await.unwrap();
    let outcomes: Vec<_> = receipts.iter().map(pb::Receipt::outcome).collect();
    let (applied, rejected, conflict) = (Outcome::Applied, Outcome::Rejected, Outcome::Conflict);
    assert_eq!(outcomes, [applied, applied, rejected, applied, conflict, applied]);
    assert!(receipts[3].replayed && first(&receipts[3]) == receipts[0]);
    assert_eq!((receipts[4].reason(), receipts[4].op), (Reason::KeyReused, receipts[0].op));
    assert_eq!(receipts.iter().map(|receipt| receipt.key.as_str()).collect::<String>(), "abcaad");
    assert_eq!(house.balance("ann").await.available, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_shape_fails_its_batch_before_anything_is_done() {
    let mut house = House::furnished().await;
    let status = house.batch(vec![gift("a", "ann", 1), purchase("b", "ann", -5)], false).await.unwrap_err();
    assert_eq!(fields(&status), ["items[1].earn.amount_minor"]);
    assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_OUT_OF_RANGE".into()));
    assert!(!house.post(gift("a", "ann", 1)).await.unwrap().replayed);
    let status = house.batch(vec![], false).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_MISSING".into()));
    let many = (0..10_001).map(|n| gift(&format!("k{n}"), "ann", 1)).collect();
    let status = house.batch(many, false).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "TOO_MANY_ITEMS".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greatest_batch_is_taken_whole() {
    let mut house = House::furnished().await;
    let items: Vec<_> = (0..10_000).map(|n| gift(&format!("k{n}"), &format!("m{}", n % 100), 1)).collect();
    let receipts = house.batch(items.clone(), false).await.unwrap();
    assert!(receipts.iter().all(|receipt| receipt.outcome() == Outcome::Applied));
    let again = house.batch(items, false).await.unwrap();
    assert!(again.iter().all(|receipt| receipt.replayed));
    assert_eq!(again.iter().map(first).collect::<Vec<_>>(), receipts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_is_a_wrong_shape_that_names_the_size() {
    let mut house = House::furnished().await;
    let mut large = gift("k", "ann", 1);
    large.metadata.insert("n".into(), "v".repeat(17 << 20));
    let status = house.post(large).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".into()));
    assert!(status.message().contains("16777216"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redeem_sent_64_times_at_once_is_one_event_and_64_equal_receipts() {
    let mut house = House::furnished().await;
    house.post(gift("k", "ann", 100)).await.unwrap();
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let mut ledger = house.ledger.clone();
            tokio::spawn(async move {
                let request = pb::PostRequest { command: Some(redeem("once", "ann", 30)) };
                ledger.post(request).await.unwrap().into_inner().receipt.unwrap()
            })
        })
        .collect();
    let mut receipts = Vec::new();
    for call in calls {
        receipts.push(call.await.unwrap());
    }
    assert_eq!(receipts.iter().filter(|receipt| receipt.replayed).count(), 63);
    assert!(receipts.iter().all(|receipt| first(receipt) == first(&receipts[0])));
    assert_eq!(receipts[0].outcome(), Outcome::Applied);
    assert_eq!(house.balance("ann").await.available, 70);
    // The redeem is the second event of the member, and the last.
    let request =
        pb::ListEventsRequest { program: PROGRAM.into(), member: "ann".into(), ..pb::ListEventsRequest::default() };
    assert_eq!(house.accounts.list_events(request).await.unwrap().into_inner().events.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_says_what_it_took_from_whom_and_what_is_owed() {
    let mut house = House::furnished().await;
    house.post(purchase("k1", "ann", 10_000)).await.unwrap();
    house.post(redeem("k2", "ann", 150)).await.unwrap();
    let receipt = house.post(refund("k3", "ann", "k1", 10_000)).await.unwrap();
    assert_eq!((receipt.asked, receipt.taken, receipt.owed), (200, 50, 150));
    let parts: Vec<_> = receipt
        .taken_back
        .iter()
        .map(|part| (part.source(), part.campaign.as_str(), part.original, part.taken, part.taken_total))
        .collect();
    assert_eq!(parts, [(Source::Base, "", 100, 100, 100), (Source::Campaign, "double-night", 100, 100, 100)]);
    assert_eq!(receipt.balance, Some(pb::Balance { available: 0, debt: 150, ..Default::default() }));
    let receipt = house.post(gift("k4", "ann", 60)).await.unwrap();
    assert_eq!(receipt.balance, Some(pb::Balance { available: 0, debt: 90, ..Default::default() }));
    let receipt = house.post(refund("k5", "ann", "k1", 1)).await.unwrap();
    assert_eq!(receipt.reason(), Reason::RefundExceedsOriginal);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adjustment_says_what_it_gave_or_took() {
    let mut house = House::furnished().await;
    let given = house.post(adjust("k1", "ann", 40)).await.unwrap();
    assert_eq!((given.awarded, given.asked, given.taken), (40, 0, 0));
    let taken = house.post(adjust("k2", "ann", -15)).await.unwrap();
    assert_eq!((taken.awarded, taken.asked, taken.taken), (0, 15, 15));
    assert_eq!(house.balance("ann").await.available, 25);
}

/// A `PostRequest` whose command is any bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    command: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_decoded_is_a_wrong_shape_and_not_an_unknown_outcome() {
    let house = House::furnished().await;
    for (path, command) in [
        // A key that is no UTF-8.
        ("/stampbook.v1.LedgerService/Post", b"\x12\x01\xff".to_vec()),
        ("/stampbook.v1.LedgerService/PostBatch", b"\x12\x01\xff".to_vec()),
        // A length beyond the end.
        ("/stampbook.v1.LedgerService/Post", b"\x12\x7f".to_vec()),
        ("/stampbook.v1.LedgerService/PostStream", b"\x12\x01\xff".to_vec()),
    ] {
        let mut grpc = tonic::client::Grpc::new(connect(house.address).await);
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Raw, Raw>::default();
        let sent = tonic::Request::new(tokio_stream::once(Raw { command }));
        let path = http::uri::PathAndQuery::from_static(path);
        let status = match grpc.streaming(sent, path.clone(), codec).await {
            Ok(answers) => answers.into_inner().message().await.unwrap_err(),
            Err(status) => status,
        };
        assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_MALFORMED".into()), "{path}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_that_the_program_does_not_have_is_invalid_and_leaves_the_key_free() {
    let mut house = House::furnished().await;
    let earn = |asset: &str| {
        let sent = gift("k1", "ann", 5);
        let Some(pb::command::Action::Earn(earn)) = sent.action else { panic!("a gift is an earn") };
        let earn = pb::Earn { asset: asset.into(), ..earn };
        pb::Command { action: Some(pb::command::Action::Earn(earn)), ..sent }
    };
    let refused = house.post(earn("growth")).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "ASSET_UNKNOWN".to_owned()));
    assert_eq!(fields(&refused), ["command.earn.asset"]);
    let named = house.post(earn("points")).await.unwrap();
    assert_eq!((named.outcome(), named.replayed, named.awarded), (Outcome::Applied, false, 5));
    // The asset left out is the same asset, but not the same body.
    assert_eq!(reason(&house.post(earn("")).await.unwrap_err()), (Code::AlreadyExists, "KEY_REUSED".to_owned()));
}
