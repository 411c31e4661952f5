//! The most memory that a server ever held: through the filling of its books, checkpoints and a snapshot under load.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use stampbook::constants::EXPIRING_DAYS_MAX;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::{GetExpiringRequest, get_expiring_request::Until};

use crate::log::LogTail;
use crate::lots::{Bringer, HEAVY_EVERY, Lots};
use crate::process::{Server, log_of};
use crate::run::Load;
use crate::stage::Stage;
use crate::tally::grouped;
use crate::wire::member_id;
use crate::{Failure, client, program, run, tools};

/// What books of up to [`BOUND_MEMBERS`] may take.
const PEAK_BYTES_MAX: u64 = 5 << 29;
/// The same where every tenth of them has up to 32 lots in each of two assets.
const PEAK_WITH_LOTS_BYTES_MAX: u64 = 6 << 30;
const BOUND_MEMBERS: u64 = 10_000_000;
/// One turn of load; turns go on until there was a checkpoint and a snapshot.
const TURN_SECONDS: u64 = 5;
/// How long after the load should have ended a checkpoint and a snapshot are waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// `loadtest memory`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Members.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    members: u64,
    /// So many lots in each of two assets for every tenth member, 32 being as many as there may be.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=32))]
    lots: u16,
    /// How long the load goes on once the members are there, at least: until there was a checkpoint and a snapshot.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=36_000))]
    seconds: u64,
    /// Begin with a copy of the books kept here rather than fill new ones; filled first if there are none.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The server's settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    members: u64,
    /// Lots that every tenth member has in each of two assets.
    lots_each: u16,
    /// Keys that the books hold, one a command.
    keys: u64,
    rate_per_s: u64,
    checkpoints: usize,
    snapshot_ms: u64,
    /// Resident bytes of the server with the members there, before the load.
    resident_filled_bytes: u64,
    resident_bytes: u64,
    peak_bytes: u64,
    peak_bytes_a_member: u64,
}

/// Measures a server of its own and fails where it took more than it may.
pub(crate) async fn memory(options: Options, json: bool) -> Result<(), Failure> {
    let stage = Stage::with_lots(options.members, Lots { heavy: options.lots, lapsing_members: 0 })?;
    let config = stage.config("server", options.config.as_deref(), "")?;
    let data = match &options.data {
        Some(kept) => stage.copy(&stage.prepared(Some(kept), &config).await?, "copy").await?,
        None => stage.path("books"),
    };
    let mut log = LogTail::from_here(&log_of(&data))?;
    let mut server = stage.serve(&data, &config).await?;
    if options.data.is_none() {
        stage.fill(&server.address).await?;
    }
    check_lots(&stage, &server.address).await?;
    let report = load(&stage, &mut server, &mut log, options.seconds).await?;
    report.print(json)?;
    let bound = if options.lots > 0 { PEAK_WITH_LOTS_BYTES_MAX } else { PEAK_BYTES_MAX };
    if report.peak_bytes > bound && report.members <= BOUND_MEMBERS {
        return Err(format!("the peak is over {} MiB", bound >> 20).into());
    }
    Ok(())
}

/// Looks whether the last of the members with lots has them: each of another month, and so with another date. What others bring him in points
/// may have merged two of those.
async fn check_lots(stage: &Stage, address: &str) -> Result<(), Failure> {
    let wanted = usize::from(stage.lots.heavy);
    if wanted == 0 {
        return Ok(());
    }
    let last = stage.members.saturating_sub(1) / HEAVY_EVERY * HEAVY_EVERY;
    let ask = GetExpiringRequest {
        program: program::LOTS.program.to_owned(),
        member: String::from_utf8_lossy(&member_id(last)).into_owned(),
        until: Some(Until::WithinDays(EXPIRING_DAYS_MAX)),
    };
    let mut account = AccountServiceClient::new(client::connect(address).await?);
    let dates = account.get_expiring(ask).await?.into_inner().expiring;
    for (asset, least) in [("points", wanted - 1), ("growth", wanted)] {
        let found = dates.iter().filter(|date| date.asset == asset).count();
        if found < least {
            return Err(format!("member {last} has {found} lots of {asset} where {wanted} were brought").into());
        }
    }
    Ok(())
}

/// Load until the time is over and there was a checkpoint and a snapshot.
async fn load(stage: &Stage, server: &mut Server, log: &mut LogTail, seconds: u64) -> Result<Report, Failure> {
    let resident_filled_bytes = resident(server.pid())?.now;
    let (begun, lasts) = (Instant::now(), Duration::from_secs(seconds));
    let mut snapshot = None;
    let mut snapshot_ms = None;
    let (mut checkpoints, mut commands, mut rate_per_s) = (0, 0, 0);
    while begun.elapsed() < lasts || checkpoints == 0 || snapshot_ms.is_none() {
        if begun.elapsed() > lasts + PATIENCE {
            return Err(format!("{checkpoints} checkpoints and no more, snapshot after {snapshot_ms:?} ms").into());
        }
        // After the first turn: within the load.
        if commands > 0 && snapshot.is_none() {
            let command = tools::create_snapshot(&stage.binary, &server.address, "under-load");
            let since = Instant::now();
            let task = tools::run_aside(command);
            snapshot = Some(tokio::spawn(async move { task.await.map(|_| since.elapsed()) }));
        }
        let turn = run::drive(&server.address, &Load::of_batches(1_000, stage.members, TURN_SECONDS)).await?;
        turn.complaint()?;
        commands += turn.commands;
        rate_per_s = turn.rate_per_s;
        checkpoints += log.lines()?.iter().filter(|line| line.contains("checkpoint is durable")).count();
        if snapshot_ms.is_none()
            && let Some(task) = &mut snapshot
            && task.is_finished()
        {
            snapshot_ms = Some(u64::try_from(task.await??.as_millis())?);
        }
    }
    let Resident { now, peak } = resident(server.pid())?;
    server.kill()?;
    Ok(Report {
        members: stage.members,
        lots_each: stage.lots.heavy,
        keys: stage.members + Bringer::new(stage.lots, stage.members).commands() + commands,
        rate_per_s,
        checkpoints,
        snapshot_ms: snapshot_ms.unwrap_or_default(),
        resident_filled_bytes,
        resident_bytes: now,
        peak_bytes: peak,
        peak_bytes_a_member: peak / stage.members.max(1),
    })
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!(
            "peak resident memory {} MiB (VmHWM), {} bytes a member",
            grouped(self.peak_bytes >> 20),
            self.peak_bytes_a_member
        );
        println!(
            "  {} members with ids of 20 bytes, {} keys, {} a second at the end",
            grouped(self.members),
            grouped(self.keys),
            grouped(self.rate_per_s)
        );
        if self.lots_each > 0 {
            println!(
                "  every {HEAVY_EVERY}th member with {} lots in each of two assets, {} lots in all",
                self.lots_each,
                grouped(Lots { heavy: self.lots_each, lapsing_members: 0 }.count(self.members))
            );
        }
        println!(
            "  resident: {} MiB with the members there, {} MiB at the end",
            grouped(self.resident_filled_bytes >> 20),
            grouped(self.resident_bytes >> 20)
        );
        println!("  {} checkpoints, a snapshot within {} ms, both under load", self.checkpoints, self.snapshot_ms);
        Ok(())
    }
}

/// Bytes of a process that lie in memory.
#[derive(Debug, PartialEq)]
struct Resident {
    now: u64,
    peak: u64,
}

fn resident(pid: u32) -> Result<Resident, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse(&status).ok_or_else(|| "the system does not say how much memory the server has".into())
}

fn parse(status: &str) -> Option<Resident> {
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    };
    Some(Resident { now: bytes("VmRSS")?, peak: bytes("VmHWM")? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn peak_and_present_are_read_in_bytes() {
        let status = "Name:\tstampbook\nVmPeak:\t  999 kB\nVmHWM:\t     200 kB\nVmRSS:\t     100 kB\n";
        assert_eq!(parse(status), Some(Resident { now: 102_400, peak: 204_800 }));
        assert_eq!(parse("Name:\tstampbook\nVmRSS:\t 100 kB\n"), None);
    }

    #[test]
    fn this_process_has_some() {
        let Resident { now, peak } = resident(std::process::id()).unwrap();
        assert!(0 < now && now <= peak);
    }
}
