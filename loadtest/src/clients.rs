//! Clients that never lose a command: what got no answer is sent again, under the same key and with the same body, until it gets one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{Command, PostBatchRequest, PostRequest, PostStreamRequest, Receipt};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

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
/// A server that is away for longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What clients post, and who keeps account of it. Commands go by number, so that one can be made again whenever it must be sent again.
pub(crate) trait Traffic: Send + Sync + 'static {
    /// Where the server listens; changes when it is started again.
    fn address(&self) -> watch::Receiver<String>;
    /// The next commands for one client, at most so many; waits until some are due. None: it is over. Nothing is taken by a call that is
    /// dropped before it returns.
    fn take(&self, most: usize) -> impl Future<Output = Vec<usize>> + Send;
    /// The next commands for one batch, and whether it is atomic.
    fn take_batch(&self, most: usize) -> impl Future<Output = (Vec<usize>, bool)> + Send;
    /// The command of that number, always the same.
    fn command(&self, number: usize) -> Command;
    /// A command's receipt. An error ends the client.
    fn settle(&self, number: usize, receipt: &Receipt) -> Result<(), Failure>;
    /// That many commands are sent again, their outcome being unknown.
    fn resent(&self, commands: usize);
}

/// A client's latencies, of the requests that were answered at once.
pub(crate) type Latencies = Arc<Mutex<Tally>>;

/// A client, connected to wherever the server listens now.
pub(crate) struct Client<T> {
    traffic: Arc<T>,
    latencies: Latencies,
    address: watch::Receiver<String>,
    connected: Option<LedgerServiceClient<Channel>>,
    away_since: Option<Instant>,
}

impl<T: Traffic> Client<T> {
    pub(crate) fn new(traffic: Arc<T>, latencies: Latencies) -> Self {
        let address = traffic.address();
        Self { traffic, latencies, address, connected: None, away_since: None }
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
        self.traffic.resent(commands);
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

    fn settle(&mut self, numbers: &[usize], receipts: &[Receipt], sent: Instant) -> Result<(), Failure> {
        self.away_since = None;
        let counted: Vec<_> =
            receipts.iter().map(|receipt| Counted { outcome: receipt.outcome, replayed: receipt.replayed }).collect();
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).answered(&counted, sent.elapsed());
        numbers.iter().zip(receipts).try_for_each(|(number, receipt)| self.traffic.settle(*number, receipt))
    }

    /// One command a call.
    pub(crate) async fn post_each(mut self) -> Result<(), Failure> {
        loop {
            let taken = self.traffic.take(1).await;
            let Some(number) = taken.first() else { return Ok(()) };
            loop {
                let request = PostRequest { command: Some(self.traffic.command(*number)) };
                let sent = Instant::now();
                match self.ledger().await?.post(request).await {
                    Ok(response) => {
                        let receipt = response.into_inner().receipt.ok_or("a response without a receipt")?;
                        self.settle(&taken, &[receipt], sent)?;
                        break;
                    }
                    Err(status) => self.lost(&status, 1).await?,
                }
            }
        }
    }

    /// Many commands a call.
    pub(crate) async fn post_batches(mut self) -> Result<(), Failure> {
        loop {
            let (taken, atomic) = self.traffic.take_batch(BATCH).await;
            if taken.is_empty() {
                return Ok(());
            }
            loop {
                let items = taken.iter().map(|number| self.traffic.command(*number)).collect();
                let sent = Instant::now();
                match self.ledger().await?.post_batch(PostBatchRequest { items, atomic }).await {
                    Ok(response) => {
                        let receipts = response.into_inner().receipts;
                        if receipts.len() != taken.len() {
                            return Err("a batch got the wrong number of receipts".into());
                        }
                        self.settle(&taken, &receipts, sent)?;
                        break;
                    }
                    Err(status) => self.lost(&status, taken.len()).await?,
                }
            }
        }
    }

    /// Many commands a message, on one stream as long as it holds.
    pub(crate) async fn post_stream(mut self) -> Result<(), Failure> {
        let mut unanswered = VecDeque::new();
        loop {
            let ledger = self.ledger().await?;
            match self.one_stream(ledger, &mut unanswered).await? {
                None => return Ok(()),
                Some(status) => self.lost(&status, unanswered.len()).await?,
            }
        }
    }

    /// Sends what is `unanswered` again, then what else there is. `Some` when the stream broke.
    async fn one_stream(
        &mut self,
        mut ledger: LedgerServiceClient<Channel>,
        unanswered: &mut VecDeque<(usize, Instant)>,
    ) -> Result<Option<Status>, Failure> {
        let traffic = Arc::clone(&self.traffic);
        let message = |numbers: &[usize]| PostStreamRequest {
            items: numbers.iter().map(|number| traffic.command(*number)).collect(),
        };
        let (sender, receiver) = mpsc::channel(2 * STREAM_IN_FLIGHT / MESSAGE);
        let owed: Vec<_> = unanswered.iter().map(|(number, _)| *number).collect();
        for owed in owed.chunks(MESSAGE) {
            sender.send(message(owed)).await?;
        }
        let mut responses = match ledger.post_stream(ReceiverStream::new(receiver)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Some(status)),
        };
        let mut sender = Some(sender);
        loop {
            let open = sender.as_ref().filter(|_| unanswered.len() < STREAM_IN_FLIGHT);
            tokio::select! {
                biased;
                taken = traffic.take(MESSAGE), if open.is_some() => {
                    let now = Instant::now();
                    unanswered.extend(taken.iter().map(|number| (*number, now)));
                    match open {
                        Some(to) if !taken.is_empty() => {
                            if to.send(message(&taken)).await.is_err() {
                                return Ok(Some(Status::unavailable("the stream broke")));
                            }
                        }
                        _ => sender = None,
                    }
                }
                response = responses.message() => match response {
                    Ok(Some(response)) => {
                        let sent = unanswered.front().map_or_else(Instant::now, |(_, sent)| *sent);
                        let count = response.receipts.len().min(unanswered.len());
                        let numbers: Vec<_> = unanswered.drain(..count).map(|(number, _)| number).collect();
                        self.settle(&numbers, &response.receipts, sent)?;
                    }
                    Ok(None) if unanswered.is_empty() && sender.is_none() => return Ok(None),
                    Ok(None) => return Ok(Some(Status::unavailable("the stream ended early"))),
                    Err(status) => return Ok(Some(status)),
                },
            }
        }
    }
}
