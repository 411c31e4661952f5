//! A server killed again and again under mixed load. After every crash, what was acknowledged must be in the books as it was acknowledged,
//! once, and the books must balance.

mod acks;
mod check;
mod load;
mod traffic;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::traffic::Mixed;
use crate::clients::Client;
use crate::process::{Server, kill_in_start, serve, stampbook, verify};
use crate::rng::Rng;
use crate::tally::{Tally, grouped};
use crate::{Failure, client, program};

/// Points for the campaign whenever less than half of that is left: it runs dry within most cycles.
const BUDGET: i64 = 500_000;
const MEMBERS: u64 = 3_000;
/// Callers of single commands.
const UNARY_CALLERS: usize = 12;
/// Callers of batches, a third of them atomic.
const BATCH_CALLERS: usize = 3;
const STREAMS: usize = 2;
/// The load lasts at least as long before a kill.
const LOAD_MS_MIN: u64 = 200;
/// Of so many cycles one kills the server in its start too, at most so late.
const START_KILLED_IN: u64 = 4;
const START_KILLED_MS_MAX: u64 = 1_500;

/// `loadtest crash`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How many times the server is killed under load.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    cycles: u32,
    /// The longest that the load lasts before a kill.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds_per_cycle: u64,
    /// Of the commands and of the moments of the kills.
    #[arg(long, default_value_t = 17)]
    seed: u64,
}

/// The house that is set on fire.
struct House {
    binary: PathBuf,
    data: PathBuf,
    server: Server,
    moved: watch::Sender<String>,
    traffic: Arc<Mixed>,
    rng: Rng,
    starts_killed: u64,
    checked: u64,
}

/// Runs the cycles on a temporary directory, which stays for inspection if anything is not as it should be.
pub(crate) async fn crash(options: Options, json: bool) -> Result<(), Failure> {
    eprintln!("building the server, if need be");
    let binary = stampbook()?;
    let folder = tempfile::Builder::new().prefix("stampbook-crash-").tempdir()?;
    let begun = Instant::now();
    let outcome = cycles(options, &binary, &folder.path().join("data")).await;
    match outcome {
        Ok(report) => {
            print(&report, begun.elapsed(), json);
            Ok(())
        }
        Err(failure) => Err(format!("{failure}\nthe books and the log are in {}", folder.keep().display()).into()),
    }
}

async fn cycles(options: Options, binary: &Path, data: &Path) -> Result<Value, Failure> {
    let server = serve(binary, data)?;
    let (moved, address) = watch::channel(server.address.clone());
    let mut house = House {
        binary: binary.to_owned(),
        data: data.to_owned(),
        server,
        moved,
        traffic: Arc::new(Mixed::new(options.seed, MEMBERS, address)),
        rng: Rng::new(options.seed, 0),
        starts_killed: 0,
        checked: 0,
    };
    for cycle in 1..=options.cycles {
        let told = house.cycle(options.seconds_per_cycle).await.map_err(|error| format!("cycle {cycle}: {error}"))?;
        eprintln!("cycle {cycle} of {}: {told}", options.cycles);
    }
    house.close(options.cycles).await
}

impl House {
    /// Load, a kill, a restart, the rest of the load, and what must hold then.
    async fn cycle(&mut self, seconds: u64) -> Result<String, Failure> {
        program::CRASH.set_up(client::connect(&self.server.address).await?, BUDGET).await?;
        let before = self.traffic.table().acks.len();
        self.traffic.open();
        let mut clients = self.clients()?;
        let load_ms = LOAD_MS_MIN + self.rng.below((seconds * 1_000).saturating_sub(LOAD_MS_MIN).max(1));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(load_ms)) => {}
            Some(ended) = clients.join_next() => {
                ended??;
                return Err("a client ended before the load did".into());
            }
        }
        if !self.server.is_running()? {
            return Err("the server ended by itself".into());
        }
        self.server.kill()?;
        self.traffic.close();
        let killed = Instant::now();
        let resent = self.traffic.resent.load(Ordering::Relaxed);
        self.restart().await?;
        let away_ms = killed.elapsed().as_millis();
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        let resent = self.traffic.resent.load(Ordering::Relaxed) - resent;
        let checked = check::books(&self.traffic, &self.server.address, &mut self.rng).await?;
        self.checked += u64::try_from(checked)?;
        let commands = self.traffic.table().acks.len() - before;
        Ok(format!(
            "{} commands, kill -9 after {load_ms} ms, back after {away_ms} ms, {} sent again for want of an answer, {} found as acknowledged",
            grouped(commands),
            grouped(resent),
            grouped(checked)
        ))
    }

    fn clients(&self) -> Result<JoinSet<Result<(), Failure>>, Failure> {
        let latencies = Arc::new(Mutex::new(Tally::new()?));
        let client = || Client::new(Arc::clone(&self.traffic), Arc::clone(&latencies));
        let mut clients = JoinSet::new();
        for _ in 0..UNARY_CALLERS {
            clients.spawn(client().post_each());
        }
        for _ in 0..BATCH_CALLERS {
            clients.spawn(client().post_batches());
        }
        for _ in 0..STREAMS {
            clients.spawn(client().post_stream());
        }
        Ok(clients)
    }

    /// Starts the server again; now and then it is killed once more before it gets far.
    async fn restart(&mut self) -> Result<(), Failure> {
        let after =
            (self.rng.below(START_KILLED_IN) == 0).then(|| Duration::from_millis(self.rng.below(START_KILLED_MS_MAX)));
        self.starts_killed += u64::from(after.is_some());
        let (binary, data) = (self.binary.clone(), self.data.clone());
        let start = move || {
            if let Some(after) = after {
                kill_in_start(&binary, &data, after)?;
            }
            serve(&binary, &data)
        };
        self.server = tokio::task::spawn_blocking(start).await??;
        self.moved.send_replace(self.server.address.clone());
        Ok(())
    }

    /// Ends the server in peace, proves the books, and says what there was.
    async fn close(mut self, cycles: u32) -> Result<Value, Failure> {
        let operators = check::owners(&self.traffic, &self.server.address).await?;
        self.server.terminate()?;
        let verified = verify(&self.binary, &self.data)?;
        let table = self.traffic.table();
        let acks = &table.acks;
        check::proof(&verified, acks.events + u64::try_from(operators)?)?;
        Ok(serde_json::json!({
            "cycles": cycles,
            "starts_killed": self.starts_killed,
            "commands": acks.len(),
            "events": acks.events,
            "rejected": acks.rejected,
            "aborted": acks.aborted,
            "duplicates": table.duplicates,
            "resent": self.traffic.resent.load(Ordering::Relaxed),
            "checked": self.checked,
            "lost": 0,
            "twice": 0,
            "verify": verified,
        }))
    }
}

fn print(report: &Value, elapsed: Duration, json: bool) {
    if json {
        println!("{report}");
        return;
    }
    let number = |name: &str| grouped(report.get(name).and_then(Value::as_u64).unwrap_or_default());
    let verified = |name: &str| report.get("verify").and_then(|verify| verify.get(name)).cloned().unwrap_or_default();
    println!(
        "{} kills under load, {} in a start, in {} s",
        number("cycles"),
        number("starts_killed"),
        elapsed.as_secs()
    );
    println!(
        "  {} commands, {} of them rejected, {} aborted with their batch",
        number("commands"),
        number("rejected"),
        number("aborted")
    );
    println!("  {} duplicates, {} sent again for want of an answer", number("duplicates"), number("resent"));
    println!("  {} looked up after a crash: none lost, none applied twice", number("checked"));
    println!(
        "stampbook verify: sound, every award recomputed\n  op {}, {} segments, head {}",
        verified("op"),
        verified("segments"),
        verified("head").as_str().unwrap_or_default()
    );
}
