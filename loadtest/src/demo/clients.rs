//! Clients that never lose a command: what got no answer is sent again, under the same key and with the same body, until it gets one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{Outcome, PostBatchRequest, PostRequest, PostStreamRequest, Receipt};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::night::Night;
use crate::tally::Tally;
use crate::wire::Counted;
use crate::{Failure, client};

/// Commands of a batch.
const BATCH: usize = 500;
/// Commands of a message in a stream.
const MESSAGE: usize = 100;
/// Commands without a receipt on a stream.
const STREAM_IN_FLIGHT: usize = 800;
/// Between attempts while the server is away.
const PAUSE: Duration = Duration::from_millis(10);
/// A server that is away for longer has failed the demonstration.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) night: Night,
    /// The next command that no client has taken.
    next: AtomicUsize,
    /// By command: the op that acknowledged it, 0 for none yet.
    pub(super) ops: Vec<AtomicU64>,
    pub(super) answered: AtomicUsize,
    /// Commands sent again because their outcome was unknown, and those of them that turned out to be in the books.
    pub(super) resent: AtomicUsize,
    pub(super) found: AtomicUsize,
    /// Where the server listens; changes when it is started again.
    pub(super) address: watch::Receiver<String>,
    pub(super) bar: ProgressBar,
}

impl Shared {
    pub(super) fn new(night: Night, address: watch::Receiver<String>, bar: ProgressBar) -> Self {
        Self {
            night,
            next: AtomicUsize::new(0),
            ops: (0..night.commands).map(|_| AtomicU64::new(0)).collect(),
            answered: AtomicUsize::new(0),
            resent: AtomicUsize::new(0),
            found: AtomicUsize::new(0),
            address,
            bar,
        }
    }

    /// The next commands for one client.
    fn take(&self, count: usize) -> std::ops::Range<usize> {
        let from = self.next.fetch_add(count, Ordering::Relaxed).min(self.night.commands);
        from..(from + count).min(self.night.commands)
    }

    /// A receipt that settles a command.
    fn settle(&self, index: usize, receipt: &Receipt) -> Result<(), Failure> {
        if !matches!(receipt.outcome(), Outcome::Applied | Outcome::Rejected) || receipt.op == 0 {
            return Err(format!("command {index} got {receipt:?}").into());
        }
        let op = self.ops.get(index).ok_or("a receipt for no command")?;
        if op.swap(receipt.op, Ordering::Relaxed) != 0 {
            return Err(format!("command {index} was answered twice").into());
        }
        self.found.fetch_add(usize::from(receipt.replayed), Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
        Ok(())
    }
}

/// A client's latencies, of the requests that were answered at once.
pub(super) type Latencies = Arc<Mutex<Tally>>;

/// A client, connected to wherever the server listens now.
pub(super) struct Client {
    shared: Arc<Shared>,
    latencies: Latencies,
    address: watch::Receiver<String>,
    connected: Option<LedgerServiceClient<Channel>>,
    away_since: Option<Instant>,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, latencies: Latencies) -> Self {
        let address = shared.address.clone();
        Self { shared, latencies, address, connected: None, away_since: None }
    }

    async fn ledger(&mut self) -> Result<LedgerServiceClient<Channel>, Failure> {
        loop {
            if let Some(ledger) = &self.connected {
                return Ok(ledger.clone());
            }
            let address = self.address.borrow_and_update().clone();
            match client::connect(&address).await {
                Ok(channel) => self.connected = Some(client::ledger(channel)),
                Err(_) => self.wait().await?,
            }
        }
    }

    /// The answer did not come. Unless sending again can help, that is the end.
    async fn lost(&mut self, status: &Status, commands: usize) -> Result<(), Failure> {
        if !client::is_worth_repeating(status) {
            return Err(status.clone().into());
        }
        self.shared.resent.fetch_add(commands, Ordering::Relaxed);
        self.connected = None;
        self.wait().await
    }

    async fn wait(&mut self) -> Result<(), Failure> {
        if self.away_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Err("the server has been away for too long".into());
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    fn settle(
        &mut self,
        indices: impl Iterator<Item = usize>,
        receipts: &[Receipt],
        sent: Instant,
    ) -> Result<(), Failure> {
        self.away_since = None;
        let counted: Vec<_> =
            receipts.iter().map(|receipt| Counted { outcome: receipt.outcome, replayed: receipt.replayed }).collect();
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).answered(&counted, sent.elapsed());
        indices.zip(receipts).try_for_each(|(index, receipt)| self.shared.settle(index, receipt))
    }

    /// One command a call.
    pub(super) async fn post_each(mut self) -> Result<(), Failure> {
        loop {
            let range = self.shared.take(1);
            if range.is_empty() {
                return Ok(());
            }
            loop {
                let request = PostRequest { command: Some(self.shared.night.command(range.start)) };
                let sent = Instant::now();
                match self.ledger().await?.post(request).await {
                    Ok(response) => {
                        let receipt = response.into_inner().receipt.ok_or("a response without a receipt")?;
                        self.settle(range, &[receipt], sent)?;
                        break;
                    }
                    Err(status) => self.lost(&status, 1).await?,
                }
            }
        }
    }

    /// Many commands a call.
    pub(super) async fn post_batches(mut self) -> Result<(), Failure> {
        loop {
            let range = self.shared.take(BATCH);
            if range.is_empty() {
                return Ok(());
            }
            loop {
                let items = range.clone().map(|index| self.shared.night.command(index)).collect();
                let sent = Instant::now();
                match self.ledger().await?.post_batch(PostBatchRequest { items, atomic: false }).await {
                    Ok(response) => {
                        let receipts = response.into_inner().receipts;
                        if receipts.len() != range.len() {
                            return Err("a batch got the wrong number of receipts".into());
                        }
                        self.settle(range, &receipts, sent)?;
                        break;
                    }
                    Err(status) => self.lost(&status, range.len()).await?,
                }
            }
        }
    }

    /// Many commands a message, on one stream as long as it holds.
    pub(super) async fn post_stream(mut self) -> Result<(), Failure> {
        let mut unanswered = VecDeque::new();
        loop {
            let ledger = self.ledger().await?;
            match self.one_stream(ledger, &mut unanswered).await? {
                None => return Ok(()),
                Some(status) => self.lost(&status, unanswered.len()).await?,
            }
        }
    }

    /// Sends what is `unanswered` again, then what is left of the night. `Some` when the stream broke.
    async fn one_stream(
        &mut self,
        mut ledger: LedgerServiceClient<Channel>,
        unanswered: &mut VecDeque<(usize, Instant)>,
    ) -> Result<Option<Status>, Failure> {
        let (sender, receiver) = mpsc::channel(2 * STREAM_IN_FLIGHT / MESSAGE);
        let shared = Arc::clone(&self.shared);
        let message = |indices: &mut dyn Iterator<Item = usize>| PostStreamRequest {
            items: indices.map(|index| shared.night.command(index)).collect(),
        };
        for owed in unanswered.make_contiguous().chunks(MESSAGE) {
            sender.send(message(&mut owed.iter().map(|(index, _)| *index))).await?;
        }
        let mut responses = match ledger.post_stream(ReceiverStream::new(receiver)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Some(status)),
        };
        let mut sender = Some(sender);
        loop {
            while unanswered.len() < STREAM_IN_FLIGHT
                && let Some(to) = &sender
            {
                let range = self.shared.take(MESSAGE);
                if range.is_empty() {
                    sender = None;
                    break;
                }
                let sent = Instant::now();
                unanswered.extend(range.clone().map(|index| (index, sent)));
                if to.send(message(&mut range.into_iter())).await.is_err() {
                    return Ok(Some(Status::unavailable("the stream broke")));
                }
            }
            match responses.message().await {
                Ok(Some(response)) => {
                    let sent = unanswered.front().map_or_else(Instant::now, |(_, sent)| *sent);
                    let count = response.receipts.len().min(unanswered.len());
                    let indices: Vec<_> = unanswered.drain(..count).map(|(index, _)| index).collect();
                    self.settle(indices.into_iter(), &response.receipts, sent)?;
                }
                Ok(None) if unanswered.is_empty() => return Ok(None),
                Ok(None) => return Ok(Some(Status::unavailable("the stream ended early"))),
                Err(status) => return Ok(Some(status)),
            }
        }
    }
}
