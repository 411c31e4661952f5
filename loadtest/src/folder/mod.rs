//! The folder of a run: what it was, what came of it, second by second, and the raw histograms. `run.json` is written last, so that a folder
//! without one is of a run that was not finished.

mod hlog;
pub(crate) mod machine;
mod metrics;
mod view;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use self::hlog::Hlog;
use self::machine::Machine;
use self::view::View;
use crate::drive::Driven;
use crate::drive::record::{Counts, Second};
use crate::tally::{grouped, microseconds};
use crate::{Failure, client};

/// Of `run.json`.
const SCHEMA: u32 = 1;

/// A phase as it is reported. Times from the begin of the first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PhaseTold {
    /// What it is called.
    pub(crate) name: String,
    /// Its begin.
    pub(crate) from_ms: u64,
    /// Its end.
    pub(crate) to_ms: u64,
    /// Commands a second, on average.
    pub(crate) offered_per_s: u64,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// What it is called.
    pub(crate) title: String,
    /// The text of the scenario file; empty where there is none.
    pub(crate) scenario: String,
    /// Load before the first phase.
    pub(crate) warm_up_seconds: u64,
    /// One after the other.
    pub(crate) phases: Vec<PhaseTold>,
    /// Their names, by number.
    pub(crate) operations: Vec<&'static str>,
}

/// A run that is being recorded.
pub(crate) struct Run {
    folder: PathBuf,
    head: Head,
    seconds: JoinHandle<Result<(), Failure>>,
    server: tokio::task::JoinHandle<Result<(), Failure>>,
    /// Ends the record of the server.
    over: oneshot::Sender<()>,
}

/// `run.json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    schema: u32,
    title: String,
    scenario: String,
    started_at: String,
    machine: Machine,
    seconds: u64,
    warm_up_seconds: u64,
    phases: Vec<PhaseTold>,
    totals: BTreeMap<&'static str, Counts>,
    latency: BTreeMap<&'static str, Quantiles>,
    longest_gap_us: u64,
    gap_from_ms: u64,
    late_us_max: u64,
    kept_schedule: bool,
    #[serde(skip)]
    last_error: Option<String>,
}

/// Latencies of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Quantiles {
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    count: u64,
}

/// Makes the folder, or takes an empty one. Asked for before anything that takes long.
pub(crate) fn claim(folder: &Path) -> Result<(), Failure> {
    let name = folder.display();
    let error = |error| format!("{name}: {error}");
    fs::create_dir_all(folder).map_err(error)?;
    match fs::read_dir(folder).map_err(error)?.next() {
        None => Ok(()),
        Some(_) => Err(format!("{name} holds something: name a folder that is empty or not there").into()),
    }
}

impl Run {
    /// Begins to record into a folder that was claimed, of a load that starts now on the server at `address`. What is returned beside it is to be
    /// told of each second.
    pub(crate) async fn begin(folder: &Path, head: Head, address: &str) -> Result<(Self, Sender<Second>), Failure> {
        let begin = Instant::now() + Duration::from_secs(head.warm_up_seconds);
        let channel = client::connect(address).await?;
        let server = folder.join("server.hlog");
        let (over, until) = oneshot::channel();
        let server = tokio::spawn(async move { metrics::follow(channel, &server, begin, until).await });
        let (sender, receiver) = mpsc::channel::<Second>();
        let mut view = View::new(&head.phases)?;
        let file = folder.join("latency.hlog");
        let operations = head.operations.clone();
        let seconds = std::thread::spawn(move || {
            let mut log = None;
            for second in receiver {
                let log = match &mut log {
                    Some(log) => log,
                    None => log.insert(Hlog::new(File::create(&file)?, second.began)?),
                };
                let tags = operations.iter().copied().zip(&second.latencies_us);
                log.write(Duration::from_secs(second.number), Duration::from_secs(1), tags)?;
                view.show(&second)?;
            }
            Ok(())
        });
        Ok((Self { folder: folder.to_owned(), head, seconds, server, over }, sender))
    }

    /// Writes what is left to be written.
    pub(crate) async fn finish(self, driven: &Driven) -> Result<Told, Failure> {
        let Self { folder, head, seconds, server, over } = self;
        tokio::task::spawn_blocking(move || seconds.join()).await?.map_err(|_| "the record of the run broke")??;
        // It may have ended before, where the server measures nothing.
        let _ = over.send(());
        server.await??;
        write_seconds(&folder.join("seconds.csv"), driven)?;
        let told = Told::new(head, driven)?;
        fs::write(folder.join("run.json"), serde_json::to_vec_pretty(&told)?)?;
        Ok(told)
    }
}

fn write_seconds(file: &Path, driven: &Driven) -> Result<(), Failure> {
    let mut csv = csv::Writer::from_path(file)?;
    csv.write_record(["at_ms", "offered"].into_iter().chain(Counts::NAMES).chain(["in_flight"]))?;
    for (number, row) in &driven.record.rows {
        let cells = [number * 1_000, row.offered].into_iter().chain(row.counts.cells()).chain([row.in_flight]);
        csv.write_record(cells.map(|cell| cell.to_string()))?;
    }
    Ok(csv.flush()?)
}

impl Told {
    fn new(head: Head, driven: &Driven) -> Result<Self, Failure> {
        let Driven { record, end } = driven;
        let gap = record.gap.finish(*end);
        let operations = || record.operations.iter();
        let mut latency: BTreeMap<_, _> = operations().map(|of| (of.name, Quantiles::of(&of.latencies_us))).collect();
        latency.insert("all", Quantiles::of(&record.latencies_us()?));
        Ok(Self {
            schema: SCHEMA,
            title: head.title,
            scenario: head.scenario,
            started_at: Timestamp::try_from(record.began)?.to_string(),
            machine: Machine::this(),
            seconds: (*end).saturating_sub(record.begin).as_secs(),
            warm_up_seconds: head.warm_up_seconds,
            phases: head.phases,
            totals: operations().map(|of| (of.name, of.counts)).collect(),
            latency,
            longest_gap_us: microseconds(gap.longest),
            gap_from_ms: u64::try_from(gap.from.as_millis())?,
            late_us_max: microseconds(record.late),
            kept_schedule: record.held_back == 0,
            last_error: record.last_error.as_ref().or(record.last_loss.as_ref()).cloned(),
        })
    }

    /// For people, or one line of JSON.
    pub(crate) fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("{}: {} s, latency from the moment a request was due", self.title, self.seconds);
        for (name, counts) in &self.totals {
            println!("  {name}: {}", counts.told());
            if let Some(quantiles) = self.latency.get(name) {
                println!("    {}", quantiles.told());
            }
        }
        if let Some(all) = self.latency.get("all") {
            println!("  all: {}", all.told());
        }
        println!("  longest while without an answer {} us, {} ms into the run", self.longest_gap_us, self.gap_from_ms);
        println!("  the generator late by {} us at most", self.late_us_max);
        Ok(())
    }

    /// An error where the run is not what it was to be: requests went out late, or failed in a way that no load explains; or were given up
    /// where callers `wait`, however long an answer takes.
    pub(crate) fn complaint(&self, wait: bool) -> Result<(), Failure> {
        let lost = |counts: &Counts| counts.errors + if wait { counts.given_up } else { 0 };
        let lost: u64 = self.totals.values().map(lost).sum();
        if lost > 0 {
            let last = self.last_error.as_deref().unwrap_or_default();
            return Err(format!("{} commands got no answer; the last error: {last}", grouped(lost)).into());
        }
        if !self.kept_schedule {
            return Err("the schedule was not kept: requests went out late since too many were under way".into());
        }
        Ok(())
    }
}

impl Quantiles {
    fn of(latencies_us: &Histogram<u64>) -> Self {
        let quantile = |quantile| latencies_us.value_at_quantile(quantile);
        Self {
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: latencies_us.max(),
            count: latencies_us.len(),
        }
    }

    fn told(&self) -> String {
        let Self { p50_us, p99_us, p999_us, max_us, .. } = self;
        format!("p50 {p50_us} us, p99 {p99_us} us, p99.9 {p999_us} us, max {max_us} us")
    }
}

impl Counts {
    /// What there is to say, in one line.
    fn told(&self) -> String {
        let named = Self::NAMES.into_iter().zip(self.cells()).filter(|(_, count)| *count > 0);
        named
            .map(|(name, count)| format!("{} {}", grouped(count), name.replace('_', " ")))
            .collect::<Vec<_>>()
            .join(", ")
    }
}
