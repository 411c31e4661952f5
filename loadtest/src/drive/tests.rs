#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::pin::Pin;

use prost::Message;
use stampbook::proto::ledger_service_server::{LedgerService, LedgerServiceServer};
use stampbook::proto::{
    Command, Outcome, PostBatchRequest, PostBatchResponse, PostRequest, PostResponse, PostStreamRequest,
    PostStreamResponse, Receipt,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Response, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

use super::arrivals::{Arrivals, Stretch};
use super::record::Counts;
use super::retry::Policy;
use super::*;
use crate::wire::batch_path;

const BATCH: u16 = 2;

/// What a server does that has no ledger.
#[derive(Debug)]
struct Fake {
    /// So many attempts of each request are shed.
    sheds: usize,
    /// Nothing is answered before so many requests are there.
    together: usize,
    /// Messages by the key of their first command.
    seen: Mutex<BTreeMap<String, Vec<Vec<u8>>>>,
    there: watch::Sender<usize>,
}

impl Fake {
    fn new(sheds: usize, together: usize) -> Arc<Self> {
        Arc::new(Self { sheds, together, seen: Mutex::default(), there: watch::channel(0).0 })
    }
}

#[derive(Clone)]
struct Service(Arc<Fake>);

#[tonic::async_trait]
impl LedgerService for Service {
    type PostStreamStream = Pin<Box<dyn Stream<Item = Result<PostStreamResponse, Status>> + Send>>;

    async fn post(&self, _: tonic::Request<PostRequest>) -> Result<Response<PostResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn post_batch(
        &self,
        request: tonic::Request<PostBatchRequest>,
    ) -> Result<Response<PostBatchResponse>, Status> {
        let batch = request.into_inner();
        let attempts = {
            let mut seen = self.0.seen.lock().unwrap();
            let attempts = seen.entry(batch.items[0].key.clone()).or_default();
            attempts.push(batch.encode_to_vec());
            attempts.len()
        };
        self.0.there.send_modify(|there| *there += 1);
        self.0.there.subscribe().wait_for(|there| *there >= self.0.together).await.unwrap();
        if attempts <= self.0.sheds {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(5)));
            return Err(Status::with_error_details(Code::ResourceExhausted, "full", details));
        }
        let receipt = |item: Command| Receipt { outcome: Outcome::Applied.into(), key: item.key, ..Receipt::default() };
        Ok(Response::new(PostBatchResponse { receipts: batch.items.into_iter().map(receipt).collect() }))
    }

    async fn post_stream(
        &self,
        _: tonic::Request<Streaming<PostStreamRequest>>,
    ) -> Result<Response<Self::PostStreamStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Batches of two operations.
struct Pairs(u64);

impl Traffic for Pairs {
    fn operations(&self) -> Vec<&'static str> {
        vec!["one", "other"]
    }

    fn request(&mut self, _: usize) -> Request {
        self.0 += 1;
        let item = |name: &str| Command { key: format!("{}-{name}", self.0), ..Command::default() };
        let batch = PostBatchRequest { items: vec![item("one"), item("other")], atomic: false };
        Request { path: batch_path(), bytes: batch.encode_to_vec(), operations: vec![0, 1], reads: false }
    }
}

/// A second of 300 requests, after a second of 100 that warms up.
async fn driven(fake: &Arc<Fake>, policy: Policy) -> Driven {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = LedgerServiceServer::new(Service(Arc::clone(fake)));
    let server = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let stretches = vec![Stretch::constant(1, 200, BATCH), Stretch::constant(1, 600, BATCH)];
    let how = Drive {
        schedule: Schedule::new(stretches, Arrivals::Constant, 1),
        batch: BATCH,
        retries: Retries::new(policy, 1),
        deadline: None,
        enough: Arc::default(),
        follower: None,
    };
    let driven = drive(&address, Pairs(0), how).await.unwrap();
    server.abort();
    driven
}

fn counts(driven: &Driven) -> Vec<Counts> {
    driven.record.operations.iter().map(|operation| operation.counts).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_out_whether_or_not_those_before_are_answered_and_the_warm_up_is_not_counted() {
    // Whoever waited for an answer would wait for ever.
    let fake = Fake::new(0, 400);
    let driven = driven(&fake, Policy::NONE).await;
    let each = Counts { sent: 300, answered: 300, applied: 300, ..Counts::default() };
    assert_eq!(counts(&driven), [each; 2]);
    assert_eq!(fake.seen.lock().unwrap().len(), 400);
    assert_eq!(driven.record.latencies_us().unwrap().len(), 600);
    assert_eq!((driven.record.held_back, driven.end), (0, Duration::from_secs(2)));
    let offered: Vec<_> = driven.record.rows.values().map(|row| row.offered).collect();
    assert_eq!((offered[0], offered.iter().sum::<u64>()), (600, 600));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shed_is_sent_again_byte_for_byte_and_counted_each_time() {
    let fake = Fake::new(2, 0);
    let policy = Policy { attempts: 3, backoff_ms: 5, backoff_ms_max: 10, budget_percent: 1_000 };
    let driven = driven(&fake, policy).await;
    let each = Counts { sent: 300, answered: 300, applied: 300, refused: 600, retried: 600, ..Counts::default() };
    assert_eq!(counts(&driven), [each; 2]);
    for (key, attempts) in fake.seen.lock().unwrap().iter() {
        assert_eq!(attempts.len(), 3, "{key}");
        assert!(attempts.iter().all(|attempt| *attempt == attempts[0]), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_budget_does_not_cover_is_given_up_and_counted() {
    let fake = Fake::new(usize::MAX, 0);
    let policy = Policy { attempts: 4, backoff_ms: 5, backoff_ms_max: 10, budget_percent: 20 };
    let driven = driven(&fake, policy).await;
    for counts in counts(&driven) {
        assert_eq!((counts.sent, counts.given_up, counts.answered, counts.errors), (300, 300, 0, 0));
        assert_eq!(counts.refused, counts.sent + counts.retried);
    }
    let attempts: usize = fake.seen.lock().unwrap().values().map(Vec::len).sum();
    // A fifth of the 400 first tries, and the reserve.
    assert!(attempts > 400 && attempts <= 400 + 80 + 10, "{attempts}");
    assert!(driven.record.last_loss.unwrap().contains("full"));
}
