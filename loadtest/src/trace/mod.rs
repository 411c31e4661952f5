//! Recorded trade as a member lives it: the server's clock is driven along the invoices, points lapse after a year, refunds name the
//! purchases that they are of, and whoever has enough points spends them. In the end every point is somewhere.

mod originals;
mod table;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{
    Command, DriveClockRequest, GetExpiringRequest, GetTrialBalanceRequest, Outcome, Purpose, Receipt, Redeem,
    TrialBalanceRow, command::Action, get_expiring_request::Until,
};
use tonic::transport::Channel;

use self::originals::Originals;
use self::table::Table;
use crate::stage::Stage;
use crate::tally::grouped;
use crate::{Failure, client, program, replay, tools};

const PROGRAM: &str = "online-retail-life";
const DEFINITION: &str = include_str!("../../programs/online-retail-life.toml");
/// Who has so many points spends all whole [`UNIT`]s of them after a purchase.
const ENOUGH: i64 = 500;
/// Points that make a whole unit of money, as the program has it.
const UNIT: i64 = 100;
/// Room for members.
const MEMBERS: u64 = 1_000_000;
/// Of the snapshot that is exported.
const SNAPSHOT: &str = "end-of-the-trace";
/// The clock is driven by so much while the sweep is waited for: it rests for that long between two rounds.
const SWEEP_STEP_US: i64 = 1_000_000;
const LOOK: Duration = Duration::from_millis(5);
/// A sweep that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(120);

/// `loadtest trace`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The trace, as `replay` reads it.
    trace: PathBuf,
    /// Only its first so many rows.
    #[arg(long)]
    rows: Option<usize>,
    /// Of the local times in the trace.
    #[arg(long, default_value = "Europe/London")]
    time_zone: String,
    /// Where the clock is driven to behind the last row, such as 2012-12-31T00:00:00Z; left out: it stays there.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Export the books of the end to this folder, as Parquet; sql/trace.sql makes the same table of them.
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
}

/// What became of the trace.
#[derive(Debug, Default, Serialize)]
struct Report {
    rows: u64,
    /// Rows that came again.
    replayed: u64,
    purchases: u64,
    refunds: u64,
    /// Refunds that name the purchase that they are of.
    refunds_named: u64,
    redemptions: u64,
    /// What the spent points were worth, in minor units.
    offset_minor: i64,
    /// Of what was taken back: from what members had, from what had lapsed, and as debt.
    taken: i64,
    taken_of_lapsed: i64,
    taken_as_debt: i64,
    /// By receipts.
    spent: i64,
    from_us: i64,
    to_us: i64,
    table: Table,
}

/// A server that lives through the trace.
struct Life {
    admin: AdminServiceClient<Channel>,
    ledger: LedgerServiceClient<Channel>,
    account: AccountServiceClient<Channel>,
    now_us: i64,
    report: Report,
}

/// Lives through the trace on a server of its own, and fails where a point is missing or one too many.
pub(crate) async fn trace(options: Options, json: bool) -> Result<(), Failure> {
    let mut commands = replay::read(&options.trace, PROGRAM, &options.time_zone)?;
    commands.truncate(options.rows.unwrap_or(usize::MAX));
    options.check(&commands)?;
    let mut originals = Originals::default();
    commands.iter_mut().for_each(|command| originals.name(command));
    let from_us = commands.first().ok_or("the trace has no rows")?.occurred_at_us.unwrap_or_default();

    let stage = Stage::new(MEMBERS)?;
    let start = Timestamp::from_microsecond(from_us)?;
    let config = stage.config("server", None, &format!("clock = \"driven\"\nclock_start = \"{start}\"\n"))?;
    let data = stage.path("books");
    let mut server = stage.serve(&data, &config).await?;
    let mut life = Life::begin(&server.address, from_us).await?;
    life.report = Report { from_us, refunds_named: originals.named, ..Report::default() };
    life.live(&commands).await?;
    let rows = life.end(options.until).await?;
    let report = life.told(&rows, &originals)?;
    if let Some(out) = &options.export {
        let address = server.address.clone();
        tools::run_aside(tools::create_snapshot(&stage.binary, &address, SNAPSHOT)).await?;
        tokio::task::block_in_place(|| server.terminate())?;
        fs::create_dir_all(out)?;
        tools::run_aside(tools::export(&stage.binary, &data, SNAPSHOT, "parquet", out)).await?;
    }
    report.print(options.export.as_deref(), json)?;
    report.complaint()
}

impl Options {
    /// What would be refused behind the trace is refused before it.
    fn check(&self, commands: &[Command]) -> Result<(), Failure> {
        let last_us = commands.last().and_then(|row| row.occurred_at_us);
        if let Some(until) = self.until.filter(|until| Some(until.as_microsecond()) < last_us) {
            return Err(format!("--until {until}: the trace's last row is later").into());
        }
        match &self.export {
            Some(out) if out.exists() && fs::read_dir(out)?.next().is_some() => {
                Err(format!("--export {}: the folder is not empty", out.display()).into())
            }
            _ => Ok(()),
        }
    }
}

impl Life {
    async fn begin(address: &str, now_us: i64) -> Result<Self, Failure> {
        let channel = client::connect(address).await?;
        program::put(channel.clone(), PROGRAM, DEFINITION).await?;
        Ok(Self {
            admin: AdminServiceClient::new(channel.clone()),
            ledger: client::ledger(channel.clone()),
            account: AccountServiceClient::new(channel),
            now_us,
            report: Report::default(),
        })
    }

    async fn drive(&mut self, to_us: i64) -> Result<(), Failure> {
        if to_us > self.now_us {
            self.admin.drive_clock(DriveClockRequest { to_us }).await?;
            self.now_us = to_us;
        }
        Ok(())
    }

    async fn live(&mut self, commands: &[Command]) -> Result<(), Failure> {
        let bar = ProgressBar::new(u64::try_from(commands.len())?);
        bar.set_style(ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {msg}")?);
        let mut rest = commands;
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(together(rest));
            self.drive(first.occurred_at_us.unwrap_or_default()).await?;
            let receipts = replay::post(&mut self.ledger, now).await?;
            let mut redeems = Vec::new();
            for (command, receipt) in now.iter().zip(&receipts) {
                self.report.rows += 1;
                if receipt.replayed {
                    self.report.replayed += 1;
                } else {
                    self.report.count(command, receipt)?;
                    redeems.extend(redeem(command, receipt));
                }
            }
            if !redeems.is_empty() {
                let receipts = replay::post(&mut self.ledger, &redeems).await?;
                redeems.iter().zip(&receipts).try_for_each(|(command, receipt)| self.report.count(command, receipt))?;
            }
            bar.inc(u64::try_from(now.len())?);
            rest = later;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Drives the clock on until all that has lapsed is in the books as that, and gives the trial balance of then.
    async fn end(&mut self, until: Option<Timestamp>) -> Result<Vec<TrialBalanceRow>, Failure> {
        self.drive(until.map_or(i64::MIN, Timestamp::as_microsecond)).await?;
        let patience = Instant::now() + PATIENCE;
        loop {
            let until = Some(Until::UntilUs(self.now_us));
            let ask = GetExpiringRequest { program: PROGRAM.to_owned(), member: String::new(), until };
            if self.account.get_expiring(ask).await?.into_inner().expiring.is_empty() {
                break;
            }
            if Instant::now() > patience {
                return Err("the sweep does not end".into());
            }
            self.drive(self.now_us + SWEEP_STEP_US).await?;
            tokio::time::sleep(LOOK).await;
        }
        let ask = GetTrialBalanceRequest { program: PROGRAM.to_owned(), as_of: None, basis: 0 };
        Ok(self.account.get_trial_balance(ask).await?.into_inner().rows)
    }

    fn told(self, rows: &[TrialBalanceRow], originals: &Originals) -> Result<Report, Failure> {
        let Self { mut report, now_us, .. } = self;
        let (issued, taken_back) = (report.table.issued, report.table.taken_back);
        report.table = Table::new(issued, taken_back, rows)?;
        report.to_us = now_us;
        if report.refunds != originals.refunds {
            return Err(format!("{} of {} refunds were booked", report.refunds, originals.refunds).into());
        }
        Ok(report)
    }
}

/// How many rows from the first on can go together: they are of one time, and each of another member, who may spend between two rows
/// of his.
fn together(rows: &[Command]) -> usize {
    let mut members = HashSet::new();
    let at = rows.first().map(|row| row.occurred_at_us);
    rows.iter().take_while(|row| Some(row.occurred_at_us) == at && members.insert(&row.member)).count()
}

/// What a member spends after a purchase: all whole units, if it is enough.
fn redeem(after: &Command, receipt: &Receipt) -> Option<Command> {
    let Some(Action::Earn(_)) = after.action else { return None };
    let available = receipt.balance?.available;
    (available >= ENOUGH).then(|| {
        let points = available / UNIT * UNIT;
        let redeem = Redeem { points, purpose: Purpose::CashOffset.into(), ..Redeem::default() };
        Command {
            program: after.program.clone(),
            key: format!("spend-{}", after.reference),
            member: after.member.clone(),
            occurred_at_us: after.occurred_at_us,
            reference: after.reference.clone(),
            action: Some(Action::Redeem(redeem)),
            ..Command::default()
        }
    })
}

impl Report {
    /// A receipt that came for the first time.
    fn count(&mut self, command: &Command, receipt: &Receipt) -> Result<(), Failure> {
        if receipt.outcome() != Outcome::Applied {
            return Err(format!("{}: {:?}: {}", command.key, receipt.outcome(), receipt.message).into());
        }
        match command.action {
            Some(Action::Earn(_)) => {
                self.purchases += 1;
                self.table.issued += receipt.awarded;
            }
            Some(Action::Refund(_)) => {
                self.refunds += 1;
                self.table.taken_back += receipt.asked;
                self.taken += receipt.taken;
                self.taken_of_lapsed += receipt.lapsed.iter().map(|lapsed| lapsed.units).sum::<i64>();
                self.taken_as_debt += receipt.owed;
            }
            _ => {
                self.redemptions += 1;
                self.spent += receipt.taken;
                self.offset_minor += receipt.offset_minor;
            }
        }
        Ok(())
    }

    fn print(&self, export: Option<&Path>, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let (from, to) = (Timestamp::from_microsecond(self.from_us)?, Timestamp::from_microsecond(self.to_us)?);
        println!("{} rows from {from} to {to}", grouped(self.rows));
        println!(
            "  {} purchases, {} refunds ({} of a purchase that is named), {} redemptions, {} rows that came again",
            grouped(self.purchases),
            grouped(self.refunds),
            grouped(self.refunds_named),
            grouped(self.redemptions),
            grouped(self.replayed)
        );
        println!("where the points are");
        self.table.print();
        println!(
            "taken back: {} that members had, {} that had lapsed, {} as debt; spent: worth {}.{:02}",
            grouped(self.taken),
            grouped(self.taken_of_lapsed),
            grouped(self.taken_as_debt),
            grouped(self.offset_minor / 100),
            self.offset_minor % 100
        );
        if let Some(out) = export {
            let sql = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/trace.sql");
            println!("the same table from the export (pip install duckdb):");
            println!("  cd {} && python3 -c \"import duckdb; print(duckdb.sql(open('{sql}').read()))\"", out.display());
        }
        Ok(())
    }

    fn complaint(&self) -> Result<(), Failure> {
        let (due, there) = self.table.sides();
        if due != there {
            return Err(format!("{due} points are to be accounted for, and {there} are").into());
        }
        if self.spent != self.table.spent {
            return Err(format!("receipts say {} points spent, accounts {}", self.spent, self.table.spent).into());
        }
        let taken_back = self.taken + self.taken_of_lapsed + self.taken_as_debt;
        if taken_back != self.table.taken_back {
            return Err(format!("{} points were taken back, from {taken_back}", self.table.taken_back).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stampbook::proto::{Balance, Earn};

    use super::*;

    fn row(at: i64, member: &str) -> Command {
        let action = Some(Action::Earn(Earn::default()));
        Command { occurred_at_us: Some(at), member: member.into(), action, ..Command::default() }
    }

    #[test]
    fn rows_go_together_that_are_of_one_time_and_of_different_members() {
        assert_eq!(together(&[row(1, "a"), row(1, "b"), row(1, "a")]), 2);
        assert_eq!(together(&[row(1, "a"), row(2, "b")]), 1);
        assert_eq!(together(&[]), 0);
    }

    #[test]
    fn who_has_enough_spends_all_whole_hundreds() {
        let spends = |available| {
            let balance = Some(Balance { available, ..Balance::default() });
            let command = redeem(&row(1, "a"), &Receipt { balance, ..Receipt::default() })?;
            match command.action {
                Some(Action::Redeem(redeem)) => Some(redeem.points),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([499, 500, 599, 1_234].map(spends), [None, Some(500), Some(500), Some(1_200)]);
    }
}
