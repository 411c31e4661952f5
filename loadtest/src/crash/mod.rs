//! A server killed again and again under mixed load. After every crash, what was acknowledged must be in the books as it was acknowledged,
//! once, and the books must balance.

mod acks;
mod aim;
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

use self::aim::{Aim, BUSY, Sight, Tool};
use self::traffic::Mixed;
use crate::clients::Client;
use crate::process::{Server, kill_in_start, log_of, serve, stampbook, verify};
use crate::rng::Rng;
use crate::tally::{Tally, grouped};
use crate::{Failure, client, program, tools};

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
    /// Kill the server in the middle of this, with settings under which it happens all the time; without it at any moment.
    #[arg(long)]
    aim: Option<Aim>,
}

/// The house that is set on fire.
struct House {
    binary: PathBuf,
    folder: PathBuf,
    data: PathBuf,
    config: Option<PathBuf>,
    server: Server,
    aim: Option<Aim>,
    sight: Option<Sight>,
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
    let outcome = cycles(options, &binary, folder.path()).await;
    match outcome {
        Ok(report) => {
            print(&report, begun.elapsed(), json);
            Ok(())
        }
        Err(failure) => Err(format!("{failure}\nthe books and the log are in {}", folder.keep().display()).into()),
    }
}

async fn cycles(options: Options, binary: &Path, folder: &Path) -> Result<Value, Failure> {
    let data = folder.join("data");
    let config = options.aim.is_some().then(|| folder.join("server.toml"));
    if let Some(config) = &config {
        std::fs::write(config, BUSY)?;
    }
    let sight = Sight::new(&log_of(&data))?;
    let server = serve(binary, &data, config.as_deref())?;
    let (moved, address) = watch::channel(server.address.clone());
    let mut house = House {
        binary: binary.to_owned(),
        folder: folder.to_owned(),
        data,
        config,
        server,
        aim: options.aim,
        sight: Some(sight),
        moved,
        traffic: Arc::new(Mixed::new(options.seed, MEMBERS, address)),
        rng: Rng::new(options.seed, 0),
        starts_killed: 0,
        checked: 0,
    };
    for cycle in 1..=options.cycles {
        let told =
            house.cycle(cycle, options.seconds_per_cycle).await.map_err(|error| format!("cycle {cycle}: {error}"))?;
        eprintln!("cycle {cycle} of {}: {told}", options.cycles);
    }
    house.close(options.cycles).await
}

impl House {
    /// Load, a kill, a restart, the rest of the load, and what must hold then.
    async fn cycle(&mut self, cycle: u32, seconds: u64) -> Result<String, Failure> {
        program::CRASH.set_up(client::connect(&self.server.address).await?, BUDGET).await?;
        let before = self.traffic.table().acks.len();
        self.traffic.open();
        let mut clients = self.clients()?;
        let (tool, moment) = tokio::select! {
            reached = self.moment(cycle, seconds) => reached?,
            Some(ended) = clients.join_next() => {
                ended??;
                return Err("a client ended before the load did".into());
            }
        };
        if !self.server.is_running()? {
            return Err("the server ended by itself".into());
        }
        self.server.kill()?;
        drop(tool);
        self.traffic.close();
        let killed = Instant::now();
        let resent = self.traffic.resent.load(Ordering::Relaxed);
        self.restart().await?;
        let away_ms = killed.elapsed().as_millis();
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        let resent = self.traffic.resent.load(Ordering::Relaxed) - resent;
        let edges = self.sight.as_mut().map_or(Ok([0, 0]), Sight::edges)?;
        let checked = check::books(&self.traffic, &self.server.address, &edges, &mut self.rng).await?;
        self.checked += u64::try_from(checked)?;
        let commands = self.traffic.table().acks.len() - before;
        Ok(format!(
            "{} commands, kill -9 {moment}, back after {away_ms} ms, {} sent again for want of an answer, {} found as acknowledged",
            grouped(commands),
            grouped(resent),
            grouped(checked)
        ))
    }

    /// Waits for the moment of the kill and says which that was. What had to be started for it ends with the kill.
    async fn moment(&mut self, cycle: u32, seconds: u64) -> Result<(Option<Tool>, String), Failure> {
        let Some(aim) = self.aim else {
            let load_ms = LOAD_MS_MIN + self.rng.below((seconds * 1_000).saturating_sub(LOAD_MS_MIN).max(1));
            tokio::time::sleep(Duration::from_millis(load_ms)).await;
            return Ok((None, format!("after {load_ms} ms")));
        };
        tokio::time::sleep(Duration::from_millis(LOAD_MS_MIN)).await;
        let (target, delay) = (aim.target(&mut self.rng), aim::delay(&mut self.rng));
        let mut sight = self.sight.take().ok_or("nobody reads the log")?;
        // Nothing that began before the tool was started is taken for what it began.
        sight.edges()?;
        let tool = Tool::start(target, cycle, &self.binary, &self.server.address, &self.folder)?;
        let waited = tokio::task::spawn_blocking(move || sight.wait(target, delay).map(|()| sight));
        self.sight = Some(waited.await??);
        Ok((tool, format!("{} us after \"{}\"", delay.as_micros(), target.marker())))
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
        let (binary, data, config) = (self.binary.clone(), self.data.clone(), self.config.clone());
        let start = move || {
            if let Some(after) = after {
                kill_in_start(&binary, &data, config.as_deref(), after)?;
            }
            serve(&binary, &data, config.as_deref())
        };
        self.server = tokio::task::spawn_blocking(start).await??;
        self.moved.send_replace(self.server.address.clone());
        Ok(())
    }

    fn includes(&self, aim: Aim) -> bool {
        self.aim.is_some_and(|own| own == aim || own == Aim::Any)
    }

    /// A backup that was broken off again and again, and then finished, can be restored to every event that there is.
    fn restored(&self, backup: &Path) -> Result<(), Failure> {
        let data = self.folder.join("restored");
        tools::run(tools::restore(&self.binary, backup, &data))?;
        let verified = verify(&self.binary, &data)?;
        let op = verified.get("op").and_then(Value::as_u64).unwrap_or_default();
        let events = self.traffic.table().acks.events;
        if check::is_sound(&verified) && op >= events {
            Ok(())
        } else {
            Err(format!("the clients know {events} events, of the restored books the proof says {verified}").into())
        }
    }

    /// Ends the server in peace, proves the books, and says what there was.
    async fn close(mut self, cycles: u32) -> Result<Value, Failure> {
        let (takes_snapshots, backs_up) = (self.includes(Aim::Snapshot), self.includes(Aim::Backup));
        let taken =
            if takes_snapshots { check::snapshots(&self.binary, &self.server.address).await? } else { Vec::new() };
        let operators = check::owners(&self.traffic, &self.server.address, &taken).await?;
        let backup = self.folder.join("backup");
        if backs_up {
            tools::run_aside(tools::back_up(&self.binary, &self.server.address, &backup)).await?;
        }
        self.server.terminate()?;
        let verified = verify(&self.binary, &self.data)?;
        if backs_up {
            self.restored(&backup)?;
        }
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
            "snapshots": taken.len(),
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
