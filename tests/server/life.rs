//! Starting, going down, and what else a server is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stampbook::config::Config;
use stampbook::io::real::RealClock;
use stampbook::io::sim::SimDisk;
use stampbook::proto as pb;
use stampbook::proto::Outcome;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::server::{Ended, start_on};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::house::{House, connect, first, gift, loopback, reason, small, start_again};

#[tokio::test(flavor = "multi_thread")]
async fn going_down_answers_every_admitted_request_within_five_seconds() {
    let mut house = House::furnished().await;
    let (sender, requests) = mpsc::channel(64);
    let mut responses = house.ledger.post_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let streamed = tokio::spawn(async move {
        let mut keys = Vec::new();
        loop {
            match responses.message().await {
                Ok(Some(response)) => keys.extend(response.receipts.into_iter().map(|receipt| receipt.key)),
                Ok(None) => return (keys, None),
                Err(status) => return (keys, Some(status)),
            }
        }
    });
    let batches: Vec<_> = (0..20)
        .map(|n| {
            let mut ledger = house.ledger.clone();
            let items: Vec<_> = (0..500).map(|i| gift(&format!("b{n}-{i}"), "ann", 1)).collect();
            tokio::spawn(async move { ledger.post_batch(pb::PostBatchRequest { items, atomic: false }).await })
        })
        .collect();
    for n in 0..50 {
        let items = vec![gift(&format!("s{n}"), "ann", 1)];
        sender.send(pb::PostStreamRequest { items }).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    let begun = Instant::now();
    let (dir, ended) = house.tell_to_stop();
    assert_eq!(ended.await.unwrap(), Ended::Stopped);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let (mut answered, end) = streamed.await.unwrap();
    assert_eq!(end.map(|status| status.code()), Some(Code::Unavailable));
    let mut refused = Vec::new();
    for (n, batch) in batches.into_iter().enumerate() {
        match batch.await.unwrap() {
            Ok(response) => {
                answered.extend(response.into_inner().receipts.into_iter().map(|receipt| receipt.key));
            }
            Err(_) => refused.push(format!("b{n}-0")),
        }
    }
    assert!(answered.len() > 500, "{}", answered.len());
    // What was answered is in the book, and what was not answered was never admitted.
    let mut house = House::open(dir, &small()).await;
    for (keys, known) in [(answered, true), (refused, false)] {
        let items: Vec<_> = keys.iter().map(|key| gift(key, "ann", 1)).collect();
        for chunk in items.chunks(5_000) {
            let receipts = house.batch(chunk.to_vec(), false).await.unwrap();
            assert!(receipts.iter().all(|receipt| receipt.replayed == known));
            assert!(receipts.iter().all(|receipt| receipt.outcome() == Outcome::Applied));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_a_call_open_cannot_keep_the_server_up() {
    let house = House::furnished().await;
    let mut health = HealthClient::new(connect(house.address).await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let serving = watch.message().await.unwrap().unwrap();
    assert_eq!(serving.status(), ServingStatus::Serving);
    let begun = Instant::now();
    let (_dir, ended) = house.tell_to_stop();
    assert_eq!(ended.await.unwrap(), Ended::Stopped);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let going = watch.message().await.unwrap().unwrap();
    assert_eq!(going.status(), ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_directory_is_refused() {
    let mut house = House::furnished().await;
    let refused = start_again(house.dir.path()).await.unwrap_err();
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    assert_eq!(refused.exit_code(), 4);
    house.post(gift("k", "ann", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_book_is_refused_with_file_offset_and_what_to_do() {
    let mut house = House::furnished().await;
    for n in 0..20 {
        house.post(gift(&format!("k{n}"), "ann", 1)).await.unwrap();
    }
    let (dir, _) = house.close().await;
    let mut segments: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.metadata().unwrap().len() > 1 << 20);
    segments.sort();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    bytes[3 * 4_096 + 200] ^= 1;
    std::fs::write(&segments[0], bytes).unwrap();
    let refused = start_again(dir.path()).await.unwrap_err();
    let text = refused.to_string();
    assert_eq!(refused.exit_code(), 3, "{text}");
    assert!(text.contains("damaged at byte"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_served() {
    let house = House::furnished().await;
    let channel = connect(house.address).await;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "stampbook.v1.LedgerService", "stampbook.v1.AccountService", "stampbook.v1.AdminService"] {
        let request = HealthCheckRequest { service: service.into() };
        let status = health.check(request).await.unwrap().into_inner().status;
        assert_eq!(status, i32::from(ServingStatus::Serving), "{service}");
    }
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let mut reflection = ServerReflectionClient::new(channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    assert!(list.service.iter().any(|service| service.name == "stampbook.v1.LedgerService"));
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_hold_all_the_members_they_may_shed_new_ones_and_serve_the_others() {
    let config = Config { members_max: 2, ..small() };
    let mut house = House::open(tempfile::tempdir().unwrap(), &config).await;
    house.put(crate::house::DEFINITION, None, "put-1").await.unwrap();
    house.post(gift("a", "ann", 1)).await.unwrap();
    house.post(gift("b", "ben", 1)).await.unwrap();
    let status = house.post(gift("c", "cat", 1)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "MEMBERS_LIMIT".into()));
    let receipts = house.batch(vec![gift("c", "cat", 1), gift("d", "ann", 1)], false).await.unwrap();
    assert_eq!((receipts[0].outcome(), receipts[1].outcome()), (Outcome::Shed, Outcome::Applied));
    let receipts = house.batch(vec![gift("e", "ann", 1), gift("c", "cat", 1)], true).await.unwrap();
    assert_eq!((receipts[0].outcome(), receipts[1].outcome()), (Outcome::Aborted, Outcome::Shed));
    assert_eq!(house.balance("ann").await.available, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_flight_are_given_back_when_they_are_answered() {
    let config = Config { in_flight_bytes_max: 16 << 20, ..small() };
    let mut house = House::open(tempfile::tempdir().unwrap(), &config).await;
    house.put(crate::house::DEFINITION, None, "put-1").await.unwrap();
    // Far more than the limit in all, and never more than it at a time.
    let items: Vec<_> = (0..10_000).map(|n| gift(&format!("{n:0100}"), "ann", 1)).collect();
    let receipts = house.batch(items.clone(), false).await.unwrap();
    for _ in 0..15 {
        let again = house.batch(items.clone(), false).await.unwrap();
        assert_eq!(first(&again[9_999]), receipts[9_999]);
    }
    let messages: Vec<_> = items.chunks(1_000).cycle().take(150).map(<[_]>::to_vec).collect();
    let requests = messages.into_iter().map(|items| pb::PostStreamRequest { items });
    let mut responses = house.ledger.post_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(response) = responses.message().await.unwrap() {
        count += response.receipts.len();
    }
    assert_eq!(count, 150_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_fails_ends_the_server_and_answers_nothing_more() {
    let disk = SimDisk::new(1);
    let running = start_on(Arc::new(disk.clone()), Arc::new(RealClock::new()), loopback(), &small()).await.unwrap();
    let mut ledger = LedgerServiceClient::new(connect(running.address()).await);
    let mut admin = AdminServiceClient::new(connect(running.address()).await);
    let ended = tokio::spawn(running.until(std::future::pending()));
    let put = pb::PutProgramRequest {
        program: crate::house::PROGRAM.into(),
        definition: crate::house::DEFINITION.into(),
        key: "put-1".into(),
        actor: "ana".into(),
        reason: "test".into(),
        ..Default::default()
    };
    admin.put_program(put).await.unwrap();
    let post = |key: &str| pb::PostRequest { command: Some(gift(key, "ann", 1)) };
    ledger.post(post("a")).await.unwrap();
    // The book gets its witness once it is idle; from then on the next operation is the next post's.
    tokio::time::sleep(Duration::from_millis(300)).await;
    disk.fail_at(disk.operations() + 1);
    let answer = tokio::time::timeout(Duration::from_millis(500), ledger.post(post("b"))).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(matches!(ended.await.unwrap(), Ended::JournalFailed(_)));
}
