//! How long a start takes after the worst end: killed under load with a long tail behind the newest checkpoint, and nothing of the files in memory.

mod sample;
pub(crate) mod tail;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::fs::{Advice, fadvise};
use serde::Serialize;
use tokio::task::JoinHandle;

use self::sample::{Fills, Sampler};
use crate::log::LogTail;
use crate::open::HELD;
use crate::process::{Server, log_of};
use crate::run::Load;
use crate::stage::{Stage, files_below};
use crate::tally::grouped;
use crate::{Failure, client, run};

/// A server with up to [`BOUND_MEMBERS`] members and a tail of up to [`BOUND_TAIL_BYTES`] listens within this.
const READY_MS_MAX: u64 = 10_000;
const BOUND_MEMBERS: u64 = 10_000_000;
const BOUND_TAIL_BYTES: u64 = 966_367_641;
/// The tail is looked at so often while it grows.
const LOOK: Duration = Duration::from_millis(20);
/// A tail that takes longer to grow will not.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// A checkpoint is taken within this.
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);

/// `loadtest restart`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Members.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    members: u64,
    /// Bytes of book to post while checkpoints are held off. The default is 0.9 GiB.
    #[arg(long, default_value_t = BOUND_TAIL_BYTES, value_parser = clap::value_parser!(u64).range(1..))]
    tail_bytes: u64,
    /// Begin with a copy of the books kept here rather than fill new ones; filled first if there are none.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The server's settings, in place of those that hold checkpoints off; no checkpoint is asked for before, either.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    members: u64,
    /// Bytes of book posted behind what was there when checkpoints were held off.
    tail_bytes: u64,
    /// Bytes of files that were dropped from the page cache.
    dropped_bytes: u64,
    /// From the start of the process to its taking of requests.
    ready_ms: u64,
    /// What the server said of it.
    log: Vec<String>,
    /// Commands sent again, whose receipts were the first ones.
    duplicates: u64,
    /// Members whose balances were those of their last receipts.
    balances: u64,
}

/// Measures one start of a server of its own, and holds what it serves against what was acknowledged.
pub(crate) async fn restart(options: Options, json: bool) -> Result<(), Failure> {
    let stage = Stage::new(options.members)?;
    let plain = stage.config("prepare", None, "")?;
    let config = stage.config("held", options.config.as_deref(), HELD)?;
    let prepared = stage.prepared(options.data.as_deref(), &plain).await?;
    let data = stage.copy(&prepared, "copy").await?;
    if options.config.is_none() {
        settle(&stage, &data).await?;
    }
    let mut server = stage.serve(&data, &config).await?;
    // Keys of the fill lie before the tail, those of the sampler in it.
    let fills = Fills::ask(&server.address, options.members).await?;
    let (tail_bytes, sampler) = grow(&stage, &mut server, &data, options.tail_bytes).await?;
    let dropped_bytes = drop_from_memory(&data)?;
    let mut log = LogTail::from_here(&log_of(&data))?;
    let begun = Instant::now();
    let mut server = stage.serve(&data, &config).await?;
    let ready_ms = u64::try_from(begun.elapsed().as_millis())?;
    let log = log.lines()?;
    let duplicates = fills.hold(&server.address).await? + sampler.hold_receipts(&server.address).await?;
    let balances = sampler.hold_balances(&server.address).await?;
    server.kill()?;
    let members = options.members;
    let report = Report { members, tail_bytes, dropped_bytes, ready_ms, log, duplicates, balances };
    report.print(json)?;
    if ready_ms > READY_MS_MAX && members <= BOUND_MEMBERS && options.tail_bytes <= BOUND_TAIL_BYTES {
        return Err(format!("the start took more than {} s", READY_MS_MAX / 1_000).into());
    }
    Ok(())
}

/// Has a checkpoint taken of all that the books hold, so that the tail is what is posted from now on.
async fn settle(stage: &Stage, data: &Path) -> Result<(), Failure> {
    let config = stage.config("settle", None, "checkpoint_seconds = 1\n")?;
    let mut server = stage.serve(data, &config).await?;
    // A book that has not grown is not checkpointed.
    run::drive(&server.address, &Load::of_batches(1_000, stage.members, 1)).await?.complaint()?;
    let mut log = LogTail::from_here(&log_of(data))?;
    let waited = tokio::task::spawn_blocking(move || log.wait_for("checkpoint is durable", SETTLE_PATIENCE, |_| {}));
    if !waited.await?? {
        return Err(format!("the server took no checkpoint within {SETTLE_PATIENCE:?}").into());
    }
    tokio::task::block_in_place(|| server.terminate())
}

/// Posts until the book has grown by so many bytes, then kills the server in the middle of it.
async fn grow(stage: &Stage, server: &mut Server, data: &Path, bytes: u64) -> Result<(u64, Sampler), Failure> {
    let before = tail::written_bytes(data)?;
    let mut sampler = Sampler::new(client::connect(&server.address).await?);
    let load = Load::of_batches(1_000, stage.members, PATIENCE.as_secs());
    let address = server.address.clone();
    let load = Abandoned(tokio::spawn(async move { run::drive(&address, &load).await.map(|_| ()) }));
    let begun = Instant::now();
    loop {
        let grown = tail::written_bytes(data)?.saturating_sub(before);
        if grown >= bytes {
            server.kill()?;
            drop(load);
            return Ok((grown, sampler));
        }
        if !server.is_running()? || begun.elapsed() > PATIENCE || load.0.is_finished() {
            return Err(format!("the tail has only {grown} bytes").into());
        }
        sampler.post().await?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Load that nobody waits for.
struct Abandoned(JoinHandle<Result<(), Failure>>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Drops the files of a folder from the page cache, with `posix_fadvise(POSIX_FADV_DONTNEED)`: it needs no rights beyond reading the file, and
/// drops what is clean, so each file is synced first. How many bytes the files have.
fn drop_from_memory(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for path in files_below(folder)? {
        let file = File::open(&path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed).map_err(|error| format!("{}: {error}", path.display()))?;
        bytes += file.metadata()?.len();
    }
    Ok(bytes)
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!(
            "ready after {}.{:03} s: {} members, killed under load, {} MiB posted since checkpoints were held off",
            self.ready_ms / 1_000,
            self.ready_ms % 1_000,
            grouped(self.members),
            grouped(self.tail_bytes >> 20)
        );
        println!("  {} MiB of files dropped from the page cache before", grouped(self.dropped_bytes >> 20));
        println!("  {} commands sent again, from before the tail and in it: their first receipts", self.duplicates);
        println!("  {} members of the sample: the balances of their last receipts", self.balances);
        println!("the server said:");
        self.log.iter().for_each(|line| println!("  {line}"));
        Ok(())
    }
}
