//! Checkpoints and a snapshot against none, in alternating windows of the same load, each on a copy of the same books.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::window::{Plan, WARM_UP_SECONDS, Window, measure};
use super::{Options, P99_RATIO_MAX, STALL_US_MAX, ratio, whole};
use crate::log::LogTail;
use crate::process::log_of;
use crate::stage::Stage;
use crate::tally::Summary;
use crate::{Failure, tools};

/// Settings that hold checkpoints off, with room for the tail that grows meanwhile.
pub(crate) const HELD: &str = "checkpoints = \"held\"\ntail_bytes_max = 17179869184\n";

/// One of the two.
struct Side {
    name: &'static str,
    config: PathBuf,
    /// Whether a snapshot is taken in the middle of the window.
    snapshot: bool,
    windows: Vec<Told>,
}

/// A window, and what the server did in it.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    window: Window,
    checkpoints: u64,
    /// How long the snapshot took, or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Result<u64, String>>,
}

/// Runs the rounds, prints both sides, and fails unless a is as quiet as it must be.
pub(super) async fn alternate(options: &Options, rounds: u32, json: bool) -> Result<(), Failure> {
    let stage = Stage::new(options.shape.members)?;
    let config_a = stage.config("a", options.config_a.as_deref(), "")?;
    let config_b = stage.config("b", options.config_b.as_deref(), HELD)?;
    let prepared = stage.prepared(options.shape.data.as_deref(), &config_a).await?;
    let plan = options.shape.plan(&stage, &prepared, &config_a).await?;
    let mut a = Side { name: "a", config: config_a, snapshot: true, windows: Vec::new() };
    let mut b = Side { name: "b", config: config_b, snapshot: false, windows: Vec::new() };
    if !json {
        println!("{}", plan.title());
        println!("a: checkpoints, and a snapshot in the middle; b: checkpoints held off");
    }
    for round in 1..=rounds {
        // Who goes first changes, so that a machine that slows down or warms up favours neither.
        let order = if round % 2 == 1 { [&mut a, &mut b] } else { [&mut b, &mut a] };
        for side in order {
            let told = one(&stage, &prepared, side, &plan).await?;
            if !json {
                told.print(&format!("{}{round}", side.name));
            }
            side.windows.push(told);
        }
    }
    finish(&a, &b, &plan, json)
}

/// One window on a fresh copy of the books.
async fn one(stage: &Stage, prepared: &Path, side: &Side, plan: &Plan) -> Result<Told, Failure> {
    let data = stage.copy(prepared, "copy").await?;
    let mut server = stage.serve(&data, &side.config).await?;
    let mut log = LogTail::from_here(&log_of(&data))?;
    let snapshot = side.snapshot.then(|| {
        let middle = Duration::from_secs(WARM_UP_SECONDS) + Duration::from_secs(plan.seconds) / 2;
        let command = tools::create_snapshot(&stage.binary, &server.address, "middle");
        tokio::spawn(async move {
            tokio::time::sleep(middle).await;
            let begun = Instant::now();
            let taken = tools::run_aside(command).await.map_err(|failure| failure.to_string());
            taken.map(|_| u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
        })
    });
    let window = measure(&server.address, plan, &Arc::default()).await?;
    let checkpoints = log.lines()?.iter().filter(|line| line.contains("checkpoint is durable")).count();
    let snapshot = match snapshot {
        Some(task) => Some(task.await?),
        None => None,
    };
    server.kill()?;
    fs::remove_dir_all(&data)?;
    Ok(Told { window, checkpoints: u64::try_from(checkpoints)?, snapshot })
}

impl Told {
    fn print(&self, name: &str) {
        println!("{name}: {} checkpoints", self.checkpoints);
        match &self.snapshot {
            Some(Ok(ms)) => println!("{name}: a snapshot, ready after {ms} ms"),
            Some(Err(why)) => println!("{name}: no snapshot: {why}"),
            None => {}
        }
        self.window.print(name);
    }
}

impl Side {
    /// All windows as one.
    fn whole(&self) -> Result<Summary, Failure> {
        whole(self.windows.iter().map(|told| &told.window))
    }

    fn gap_us(&self) -> u64 {
        self.windows.iter().map(|told| told.window.gap_us).max().unwrap_or_default()
    }
}

fn finish(a: &Side, b: &Side, plan: &Plan, json: bool) -> Result<(), Failure> {
    let (whole_a, whole_b) = (a.whole()?, b.whole()?);
    if json {
        println!(
            "{}",
            json!({
                "rate_per_s": plan.rate_per_s,
                "a": { "whole": whole_a, "gap_us": a.gap_us(), "windows": a.windows },
                "b": { "whole": whole_b, "gap_us": b.gap_us(), "windows": b.windows },
                "p99_ratio": ratio(whole_a.p99_us, whole_b.p99_us),
                "max_ratio": ratio(whole_a.max_us, whole_b.max_us),
            })
        );
    } else {
        for (side, whole) in [(a, &whole_a), (b, &whole_b)] {
            let gap_us = side.gap_us();
            println!("{}, all rounds: {}, longest while without an answer {gap_us} us", side.name, whole.latencies());
        }
        println!(
            "a to b: p99 {} times, max {} times",
            ratio(whole_a.p99_us, whole_b.p99_us),
            ratio(whole_a.max_us, whole_b.max_us)
        );
    }
    let mut broken: Vec<_> = a.windows.iter().chain(&b.windows).flat_map(|told| told.window.broken()).collect();
    let mut claim = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    let quiet = STALL_US_MAX / 1_000;
    claim(a.windows.iter().all(|told| told.checkpoints > 0), "every window of a has a checkpoint".into());
    claim(a.windows.iter().all(|told| matches!(told.snapshot, Some(Ok(_)))), "every window of a has a snapshot".into());
    claim(b.windows.iter().all(|told| told.checkpoints == 0), "no window of b has a checkpoint".into());
    claim(whole_a.p99_us <= P99_RATIO_MAX * whole_b.p99_us, format!("p99 of a is at most {P99_RATIO_MAX} times b's"));
    claim(whole_a.max_us <= STALL_US_MAX, format!("the greatest latency of a is at most {quiet} ms"));
    claim(a.gap_us() <= STALL_US_MAX, format!("a is never {quiet} ms without an answer"));
    if broken.is_empty() { Ok(()) } else { Err(format!("this does not hold: {}", broken.join("; ")).into()) }
}
