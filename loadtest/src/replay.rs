//! Repeats what was recorded: a trace of `loadtest record`, or trade as a CSV file. Of trade keys come from the invoices, so that
//! posting it again changes nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{
    Command, Earn, Outcome, PostBatchRequest, Receipt, Refund, command::Action, earn::Basis, refund::Amount,
};
use tonic::Code;
use tonic::transport::Channel;

use crate::record::file;
use crate::record::replay::replay as record;
use crate::tally::{grouped, rate_per_s};
use crate::{Failure, client};

/// Rows in a batch.
const BATCH: usize = 1_000;
/// How long a server that sheds load is given before the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// `loadtest replay`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// A trace of `loadtest record`, which is repeated on a fresh server of its own for each speed and held against a model; or CSV with
    /// the columns `occurred_at` (local time), `kind` (`purchase` or `refund`), `invoice`, `member`, `amount_minor`, `items` and `region`,
    /// in the order of time.
    trace: PathBuf,
    /// Of CSV: the server's address, `host:port`.
    #[arg(long)]
    target: Option<String>,
    /// Of CSV: the program to post to. It must be there, with a rule for `purchase`, in import mode unless the trace is of today.
    #[arg(long)]
    program: Option<String>,
    /// How many times faster than it was recorded, or `max`. May be given several times for a trace of `loadtest record`.
    #[arg(long, default_value = "max")]
    speed: Vec<Speed>,
    /// Of the local times in CSV.
    #[arg(long, default_value = "Europe/London")]
    time_zone: String,
}

/// Pace of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speed {
    /// As fast as the server goes.
    Max,
    /// So many times faster than it was recorded.
    Times(u32),
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(times) => write!(f, "{times}"),
        }
    }
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if times > 0 => Ok(Self::Times(times)),
            _ => Err("a whole number from 1, or max".to_owned()),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Row {
    occurred_at: String,
    kind: Kind,
    invoice: String,
    member: String,
    amount_minor: i64,
    items: String,
    region: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Purchase,
    Refund,
}

impl Row {
    /// A refund names no original: the trace knows none.
    fn command(self, program: &str, zone: &TimeZone) -> Result<Command, Failure> {
        let occurred_at: DateTime = self.occurred_at.parse()?;
        let event_kind = "purchase".to_owned();
        let (prefix, action) = match self.kind {
            Kind::Purchase => (
                "purchase",
                Action::Earn(Earn {
                    basis: Some(Basis::AmountMinor(self.amount_minor)),
                    event_kind,
                    ..Default::default()
                }),
            ),
            Kind::Refund => {
                let amount = Some(Amount::AmountMinor(self.amount_minor));
                ("refund", Action::Refund(Refund { original: None, amount, event_kind }))
            }
        };
        Ok(Command {
            program: program.to_owned(),
            key: format!("{prefix}-{}", self.invoice),
            member: self.member,
            occurred_at_us: Some(zone.to_ambiguous_timestamp(occurred_at).compatible()?.as_microsecond()),
            reference: self.invoice,
            location: self.region,
            metadata: [("items".to_owned(), self.items)].into(),
            action: Some(action),
            ..Command::default()
        })
    }
}

/// What became of the trace.
#[derive(Debug, Default, Serialize)]
struct Report {
    rows: u64,
    posted: u64,
    replayed: u64,
    rejected: u64,
    conflicts: u64,
    /// Of the events posted by this replay: points awarded, of them by campaigns, and points of refunds.
    awarded: i64,
    awarded_by_campaigns: i64,
    refunded: i64,
    elapsed_ms: u64,
    rate_per_s: u64,
}

impl Report {
    fn count(&mut self, receipt: &Receipt) -> Result<(), Failure> {
        self.rows += 1;
        match receipt.outcome() {
            Outcome::Applied | Outcome::Rejected if receipt.replayed => self.replayed += 1,
            Outcome::Applied => {
                self.posted += 1;
                self.awarded += receipt.awarded;
                self.awarded_by_campaigns += receipt
                    .awards
                    .iter()
                    .filter(|award| !award.campaign.is_empty())
                    .map(|award| award.awarded)
                    .sum::<i64>();
                self.refunded += receipt.asked;
            }
            Outcome::Rejected => self.rejected += 1,
            Outcome::Conflict => self.conflicts += 1,
            other => return Err(format!("{}: {other:?}: {}", receipt.key, receipt.message).into()),
        }
        Ok(())
    }

    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!(
            "{} rows in {} ms, {} a second",
            grouped(self.rows),
            grouped(self.elapsed_ms),
            grouped(self.rate_per_s)
        );
        println!(
            "  {} posted, {} replayed, {} rejected, {} conflicts",
            grouped(self.posted),
            grouped(self.replayed),
            grouped(self.rejected),
            grouped(self.conflicts)
        );
        println!(
            "  {} points awarded, {} of them by campaigns; {} points refunded",
            grouped(self.awarded),
            grouped(self.awarded_by_campaigns),
            grouped(self.refunded)
        );
        Ok(())
    }
}

/// Repeats a trace, or trade.
pub(crate) async fn replay(options: Options, json: bool) -> Result<(), Failure> {
    let needs = |name: &str| format!("{}: is no trace; to replay CSV takes --{name}", options.trace.display());
    match (&options.target, &options.program, options.speed.as_slice()) {
        (None, None, speeds) if file::is_trace(&options.trace)? => record(&options.trace, speeds, json).await,
        _ if file::is_trace(&options.trace)? => {
            let trace = options.trace.display();
            Err(format!("{trace}: is replayed on servers of its own, leave out --target and --program").into())
        }
        (Some(target), Some(program), [speed]) => trade(&options, target, program, *speed, json).await,
        (Some(_), Some(_), _) => Err(format!("{}: is CSV, and takes one --speed", options.trace.display()).into()),
        (None, _, _) => Err(needs("target").into()),
        (_, None, _) => Err(needs("program").into()),
    }
}

/// Reads the whole file, then posts it in order, one batch after another.
async fn trade(options: &Options, target: &str, program: &str, speed: Speed, json: bool) -> Result<(), Failure> {
    let commands = read(&options.trace, program, &options.time_zone)?;
    let mut client = client::ledger(client::connect(target).await?);
    let bar = ProgressBar::new(u64::try_from(commands.len())?);
    bar.set_style(ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {msg}")?);
    let mut report = Report::default();
    let begun = Instant::now();
    let first_us = commands.first().and_then(|command| command.occurred_at_us).unwrap_or_default();
    let mut rest = commands.as_slice();
    while !rest.is_empty() {
        let due = match speed {
            Speed::Max => rest.len(),
            Speed::Times(times) => due(rest, first_us, begun.elapsed(), times),
        };
        let (now, later) = rest.split_at(due.min(BATCH));
        if now.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        for receipt in post(&mut client, now).await? {
            report.count(&receipt)?;
        }
        bar.inc(u64::try_from(now.len())?);
        rest = later;
    }
    bar.finish_and_clear();
    report.elapsed_ms = u64::try_from(begun.elapsed().as_millis())?;
    report.rate_per_s = rate_per_s(report.rows, begun.elapsed());
    report.print(json)
}

/// The commands of a trace, one a row, in its order.
pub(crate) fn read(trace: &Path, program: &str, time_zone: &str) -> Result<Vec<Command>, Failure> {
    let zone = TimeZone::get(time_zone)?;
    let mut reader = csv::Reader::from_path(trace).map_err(|e| format!("{}: {e}", trace.display()))?;
    let mut commands = Vec::new();
    for (row, line) in reader.deserialize::<Row>().zip(2..) {
        let command = row.map_err(Failure::from).and_then(|row| row.command(program, &zone));
        commands.push(command.map_err(|e| format!("{}:{line}: {e}", trace.display()))?);
    }
    Ok(commands)
}

/// How many of `rest` have happened by now, when the trace runs `times` as fast as it was recorded.
fn due(rest: &[Command], first_us: i64, elapsed: Duration, times: u32) -> usize {
    let recorded_us = i64::try_from(elapsed.saturating_mul(times).as_micros()).unwrap_or(i64::MAX);
    let now_us = first_us.saturating_add(recorded_us);
    rest.partition_point(|command| command.occurred_at_us.unwrap_or_default() <= now_us)
}

/// One receipt for each. A server that sheds load is asked again; any other failure ends the replay, and running it once more settles
/// what is unknown.
pub(crate) async fn post(
    client: &mut LedgerServiceClient<Channel>,
    commands: &[Command],
) -> Result<Vec<Receipt>, Failure> {
    loop {
        let request = PostBatchRequest { items: commands.to_vec(), atomic: false };
        match client.post_batch(request).await {
            Ok(response) => {
                let receipts = response.into_inner().receipts;
                if receipts.len() == commands.len() {
                    return Ok(receipts);
                }
                return Err(format!("{} receipts for {} commands", receipts.len(), commands.len()).into());
            }
            Err(status) if status.code() == Code::ResourceExhausted => tokio::time::sleep(PAUSE).await,
            Err(status) if client::is_worth_repeating(&status) => {
                return Err(format!("the outcome of a batch is unknown, replay the trace again: {status}").into());
            }
            Err(status) => return Err(status.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn row(line: &str) -> Command {
        let text = format!("occurred_at,kind,invoice,member,amount_minor,items,region\n{line}\n");
        let row: Row = csv::Reader::from_reader(text.as_bytes()).deserialize().next().unwrap().unwrap();
        row.command("p", &TimeZone::get("Europe/London").unwrap()).unwrap()
    }

    #[test]
    fn exact_repeats_are_the_same_command_and_a_refund_is_another_than_its_purchase() {
        let purchase = row("2009-12-01T07:45,purchase,489434,13085,50530,166,domestic");
        assert_eq!(purchase, row("2009-12-01T07:45,purchase,489434,13085,50530,166,domestic"));
        let refund = row("2009-12-01T07:45,refund,489434,13085,50530,166,domestic");
        assert_ne!(purchase.key, refund.key);
    }

    #[test]
    fn local_times_are_those_of_the_zone() {
        let winter = row("2009-12-01T07:45,purchase,1,1,1,1,domestic");
        assert_eq!(winter.occurred_at_us, Some(1_259_653_500_000_000));
        let summer = row("2010-06-01T07:45,purchase,2,1,1,1,domestic");
        assert_eq!(summer.occurred_at_us, Some(1_275_374_700_000_000));
    }

    #[test]
    fn a_paced_replay_posts_what_has_happened_by_then() {
        let rows = ["07:45", "07:46", "09:06"].map(|at| row(&format!("2009-12-01T{at},purchase,1,1,1,1,domestic")));
        let first = rows.first().and_then(|row| row.occurred_at_us).unwrap();
        assert_eq!(due(&rows, first, Duration::ZERO, 60), 1);
        assert_eq!(due(&rows, first, Duration::from_secs(1), 60), 2);
        assert_eq!(due(&rows, first, Duration::from_secs(80), 60), 2);
        assert_eq!(due(&rows, first, Duration::from_secs(81), 60), 3);
    }
}
