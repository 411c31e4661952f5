//! Posting the rows: batches in order, a few of them in flight, each sent again until it has an answer.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{Command, Opening, Outcome, PostBatchRequest, Receipt, command};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use super::super::{EXIT_IO, EXIT_REFUSED, Failure, remote};
use super::Import;
use super::file::{Row, Rows};
use super::rejects::Rejects;
use indicatif::ProgressBar;

/// Rows that are posted with one call.
const ROWS_PER_BATCH: usize = 1_000;
/// Batches between sending and answer.
const BATCHES_IN_FLIGHT_MAX: usize = 8;
/// The answer to a batch is larger than what a client takes unless told otherwise.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// The first pause before a batch is sent again; it doubles.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a batch is sent again and again before the import stops.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of the rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Rows booked by this run, and their points.
    pub applied: (u64, i64),
    /// Rows that had been booked before this run, and their points.
    pub replayed: (u64, i64),
    /// Rows whose key holds another command.
    pub conflicting: u64,
    /// Rows refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The newest op of a row.
    pub last_op: u64,
}

impl Tally {
    /// Rows that are not in the books as the file has them.
    pub(super) fn rejected(&self) -> u64 {
        self.conflicting + self.refused.values().sum::<u64>()
    }

    /// Takes in a row's receipt. What the books held before `op_before` is not of this run.
    fn take(&mut self, row: &Row, receipt: &Receipt, op_before: u64) {
        self.last_op = self.last_op.max(receipt.op);
        let sums = match receipt.outcome() {
            Outcome::Applied if receipt.op > op_before => &mut self.applied,
            Outcome::Applied => &mut self.replayed,
            Outcome::Conflict => {
                self.conflicting += 1;
                return;
            }
            _ => {
                let reason = remote::short(receipt.reason().as_str_name(), "REASON_").to_owned();
                *self.refused.entry(reason).or_default() += 1;
                return;
            }
        };
        *sums = (sums.0 + 1, sums.1.saturating_add(row.points));
    }
}

/// A batch on its way.
type Sent = JoinHandle<Result<(Vec<Row>, Vec<Receipt>), Failure>>;

/// Posts all rows and says what became of them.
pub(super) async fn post(
    args: &Import,
    channel: Channel,
    rows: &mut Rows,
    op_before: u64,
    rejects: &mut Rejects,
    bar: &ProgressBar,
) -> Result<Tally, Failure> {
    let client = LedgerServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut tally = Tally::default();
    let mut in_flight: VecDeque<Sent> = VecDeque::new();
    let mut more = true;
    while more || !in_flight.is_empty() {
        if more && in_flight.len() < BATCHES_IN_FLIGHT_MAX {
            let batch = next_batch(rows)?;
            more = batch.len() == ROWS_PER_BATCH;
            if !batch.is_empty() {
                let items = batch.iter().map(|row| opening(args, row)).collect();
                in_flight.push_back(tokio::spawn(settle(client.clone(), items, batch)));
            }
            continue;
        }
        let Some(sent) = in_flight.pop_front() else { break };
        let lost = |error: tokio::task::JoinError| Failure::plain(EXIT_IO, error.to_string());
        let (batch, receipts) = sent.await.map_err(lost)??;
        for (row, receipt) in batch.iter().zip(&receipts) {
            tally.take(row, receipt, op_before);
            rejects.note(row, receipt)?;
        }
        bar.inc(u64::try_from(batch.len()).unwrap_or(u64::MAX));
    }
    Ok(tally)
}

fn next_batch(rows: &mut Rows) -> Result<Vec<Row>, Failure> {
    let mut batch = Vec::with_capacity(ROWS_PER_BATCH);
    while batch.len() < ROWS_PER_BATCH
        && let Some(row) = rows.next_sound()?
    {
        batch.push(row);
    }
    Ok(batch)
}

fn opening(args: &Import, row: &Row) -> Command {
    let (actor, reason) = (args.actor.clone(), args.reason.clone());
    let opening = Opening { points: row.points, actor, reason, ..Opening::default() };
    Command {
        program: args.program.clone(),
        key: format!("{}/{}", args.key_prefix, row.source_key),
        member: row.member.clone(),
        action: Some(command::Action::Opening(opening)),
        ..Command::default()
    }
}

/// Sends a batch until it has an answer: the same keys again change nothing that was booked.
async fn settle(
    mut client: LedgerServiceClient<Channel>,
    items: Vec<Command>,
    batch: Vec<Row>,
) -> Result<(Vec<Row>, Vec<Receipt>), Failure> {
    let give_up = Instant::now() + PATIENCE;
    let mut pause = PAUSE;
    loop {
        let status = match client.post_batch(PostBatchRequest { items: items.clone(), atomic: false }).await {
            Ok(answer) => {
                let receipts = answer.into_inner().receipts;
                if receipts.len() == batch.len() {
                    return Ok((batch, receipts));
                }
                return Err(Failure::plain(EXIT_REFUSED, "the server answered with another number of receipts"));
            }
            Err(status) => status,
        };
        if !remote::again(&status) {
            return Err(remote::failure(&status));
        }
        if Instant::now() >= give_up {
            let mut failure = remote::failure(&status);
            failure.text.push_str("\nthe import stopped: the same command again goes on where this one was");
            return Err(failure);
        }
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        tokio::time::sleep(pause.max(asked)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
