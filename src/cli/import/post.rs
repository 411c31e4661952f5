//! Posting the rows: batches in order, a few of them in flight, each sent again until it has an answer.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use stampbook::constants::COMMANDS_PER_BATCH_MAX;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{Command, Opening, Outcome, PostBatchRequest, Receipt, command};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use super::super::{EXIT_IO, EXIT_REFUSED, Failure, remote};
use super::Import;
use super::file::{POINTS, Row, Rows};
use super::rejects::Rejects;
use indicatif::ProgressBar;

/// Rows that are posted with one call, unless more of one member follow each other.
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

/// Rows that are booked.
#[derive(Debug, Default)]
pub(super) struct Booked {
    pub rows: u64,
    /// Their units, by asset.
    pub units: BTreeMap<String, i64>,
}

/// What became of the rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Rows booked by this run.
    pub applied: Booked,
    /// Rows that had been booked before this run.
    pub replayed: Booked,
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
        sums.rows += 1;
        let units = sums.units.entry(row.asset.clone()).or_default();
        *units = units.saturating_add(row.points);
    }
}

/// A batch and its answer.
type Settled = Result<(Vec<Row>, Vec<Receipt>), Failure>;

/// A batch on its way.
struct Sent {
    members: HashSet<String>,
    answer: JoinHandle<Settled>,
}

impl Sent {
    fn of(client: &LedgerServiceClient<Channel>, args: &Import, batch: Vec<Row>) -> Self {
        let items = batch.iter().map(|row| opening(args, row)).collect();
        let members = members_of(&batch);
        Self { members, answer: tokio::spawn(settle(client.clone(), items, batch)) }
    }

    fn has_member_of(&self, batch: &[Row]) -> bool {
        batch.iter().any(|row| self.members.contains(&row.member))
    }
}

fn members_of(batch: &[Row]) -> HashSet<String> {
    batch.iter().map(|row| row.member.clone()).collect()
}

/// Posts all rows and says what became of them. The rows of a member are booked in their order, since a credit settles the debt
/// that is there before it and not one that comes later.
pub(super) async fn post(
    args: &Import,
    channel: Channel,
    rows: Rows,
    op_before: u64,
    rejects: &mut Rejects,
    bar: &ProgressBar,
) -> Result<(Tally, [u8; 32]), Failure> {
    let client = LedgerServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut tally = Tally::default();
    let mut in_flight: VecDeque<Sent> = VecDeque::new();
    let mut batches = Batches { rows, ahead: None };
    let mut next = batches.next()?;
    loop {
        // Batches on their way may arrive in any order.
        let waits = in_flight.len() == BATCHES_IN_FLIGHT_MAX || in_flight.iter().any(|sent| sent.has_member_of(&next));
        if !waits && !next.is_empty() {
            in_flight.push_back(Sent::of(&client, args, next));
            next = batches.next()?;
            continue;
        }
        let Some(sent) = in_flight.pop_front() else { break };
        let lost = |error: tokio::task::JoinError| Failure::plain(EXIT_IO, error.to_string());
        let (batch, receipts) = sent.answer.await.map_err(lost)??;
        for (row, receipt) in batch.iter().zip(&receipts) {
            tally.take(row, receipt, op_before);
            rejects.note(row, receipt)?;
        }
        bar.inc(u64::try_from(batch.len()).unwrap_or(u64::MAX));
    }
    Ok((tally, batches.rows.hash()))
}

/// Cuts the rows into batches, where it can between two members.
struct Batches {
    rows: Rows,
    /// The row that the next batch begins with.
    ahead: Option<Row>,
}

impl Batches {
    /// The next rows; none at the end.
    fn next(&mut self) -> Result<Vec<Row>, Failure> {
        let mut batch: Vec<Row> = self.ahead.take().into_iter().collect();
        while let Some(row) = self.rows.next_sound()? {
            let follows = batch.last().is_some_and(|last| last.member == row.member);
            if batch.len() >= COMMANDS_PER_BATCH_MAX || (batch.len() >= ROWS_PER_BATCH && !follows) {
                self.ahead = Some(row);
                break;
            }
            batch.push(row);
        }
        Ok(batch)
    }
}

fn opening(args: &Import, row: &Row) -> Command {
    let (actor, reason) = (args.actor.clone(), args.reason.clone());
    // Points go unnamed: a row books the same command whether its file has the column or not.
    let asset = if row.asset == POINTS { String::new() } else { row.asset.clone() };
    let opening = Opening { points: row.points, actor, reason, asset, lapses_at_us: row.lapses_at_us };
    Command {
        program: args.program.clone(),
        key: format!("{}/{}", args.key_prefix, row.source_key),
        member: row.member.clone(),
        occurred_at_us: row.occurred_at_us,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::Write;

    #[test]
    fn the_rows_of_a_member_that_follow_each_other_are_one_batch_as_far_as_a_batch_goes() {
        let members = |rows: &[(&str, usize)]| -> Vec<usize> {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            writeln!(file, "source_key,member,points").unwrap();
            let rows = rows.iter().flat_map(|(member, rows)| (0..*rows).map(move |n| (member, n)));
            rows.for_each(|(member, n)| writeln!(file, "{member}-{n},{member},1").unwrap());
            let mut batches = Batches { rows: Rows::open(file.path(), "old").unwrap(), ahead: None };
            let mut lengths = Vec::new();
            loop {
                match batches.next().unwrap().len() {
                    0 => return lengths,
                    length => lengths.push(length),
                }
            }
        };
        assert_eq!(members(&[]), [0; 0]);
        assert_eq!(members(&[("ann", 999), ("ben", 1), ("cid", 1)]), [1_000, 1]);
        assert_eq!(members(&[("ann", 999), ("ben", 3), ("cid", 1)]), [1_002, 1]);
        assert_eq!(members(&[("ann", COMMANDS_PER_BATCH_MAX + 2)]), [COMMANDS_PER_BATCH_MAX, 2]);
    }

    #[tokio::test]
    async fn a_batch_waits_for_those_on_their_way_that_have_a_member_of_it() {
        let batch = |members: &[&str]| -> Vec<Row> {
            let row = |member: &&str| Row {
                line: 1,
                source_key: "a".to_owned(),
                member: (*member).to_owned(),
                points: 1,
                asset: POINTS.to_owned(),
                lapses_at_us: None,
                occurred_at_us: None,
            };
            members.iter().map(row).collect()
        };
        let on_its_way = batch(&["ann", "ben"]);
        let members = members_of(&on_its_way);
        let sent = Sent { members, answer: tokio::spawn(async { Ok((on_its_way, Vec::new())) }) };
        assert!(sent.has_member_of(&batch(&["cid", "ben"])));
        assert!(!sent.has_member_of(&batch(&["cid", "dee"])) && !sent.has_member_of(&[]));
    }
}
