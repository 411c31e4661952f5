//! Open-loop load: batches arrive at a given rate whether or not those before are answered, and latency counts from the moment a batch was
//! due. So a server that stalls is told of all who would have waited, which closed-loop callers, who stall with it, never tell.

mod alternate;
mod sweep;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

pub(crate) use self::alternate::HELD;
pub(crate) use self::sweep::{Options as SweepOptions, sweep};
use self::window::{OPERATIONS, Plan, WARM_UP_SECONDS, Window, measure};
use crate::drive::arrivals::Arrivals;
use crate::folder::{Head, PhaseTold, Run, claim};
use crate::run::Load;
use crate::stage::Stage;
use crate::tally::{Summary, Tally, grouped};
use crate::{Failure, run};

/// Capacity is sought for this long at most, and for no longer than a window lasts: checkpoints fall into it where they are not held off.
const CAPACITY_SECONDS_MAX: u64 = 60;
/// The longest latency, and the longest while without any answer, that nobody notices.
const STALL_US_MAX: u64 = 100_000;

/// p99 with what is asked about is at most so many times p99 without.
const P99_RATIO_MAX: u64 = 2;

/// The load, and the books that it is put on.
#[derive(Args, Clone, Debug)]
pub(crate) struct Shape {
    /// Commands a second.
    #[arg(long, conflicts_with = "percent", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// The rate as a share of what the server takes closed-loop, which is found first.
    #[arg(long, default_value_t = 70, value_parser = clap::value_parser!(u64).range(1..=100))]
    percent: u64,
    /// Commands in a batch.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    /// How batches lie within the rate.
    #[arg(long, value_enum, default_value = "constant")]
    arrivals: Arrivals,
    /// How long a window lasts.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Members that the books hold before, each as likely as the other.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    members: u64,
    /// Keep books with so many members here, and work on copies: filled once, used by every run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// `loadtest open`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// So many rounds of two windows: one with checkpoints and a snapshot (a), one with checkpoints held off (b).
    #[arg(long, value_name = "ROUNDS", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    alternate: Option<u32>,
    /// The server's settings; with `--alternate` those of a.
    #[arg(long, value_name = "FILE")]
    config_a: Option<PathBuf>,
    /// The settings of b; without it checkpoints are held off and the tail's bound is raised.
    #[arg(long, value_name = "FILE", requires = "alternate")]
    config_b: Option<PathBuf>,
    /// Record the window here, as `scenario` does: a folder that is empty or not there.
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "alternate")]
    out: Option<PathBuf>,
}

/// Runs the load on servers of its own and prints what it found.
pub(crate) async fn open(options: Options, json: bool) -> Result<(), Failure> {
    match options.alternate {
        Some(rounds) => alternate::alternate(&options, rounds, json).await,
        None => single(&options, json).await,
    }
}

async fn single(options: &Options, json: bool) -> Result<(), Failure> {
    if let Some(folder) = &options.out {
        claim(folder)?;
    }
    let stage = Stage::new(options.shape.members)?;
    let config = stage.config("server", options.config_a.as_deref(), "")?;
    let prepared = stage.prepared(options.shape.data.as_deref(), &config).await?;
    let plan = options.shape.plan(&stage, &prepared, &config).await?;
    let data = stage.copy(&prepared, "copy").await?;
    let mut server = stage.serve(&data, &config).await?;
    let window = match &options.out {
        None => measure(&server.address, &plan, &Arc::default()).await?,
        Some(folder) => {
            let (run, follower) = Run::begin(folder, plan.head(), &server.address).await?;
            let driven = plan.drive(&server.address, &Arc::default(), Some(follower)).await?;
            run.finish(&driven).await?;
            Window::of(&plan, &driven)?
        }
    };
    server.kill()?;
    if json {
        println!("{}", serde_json::to_string(&window)?);
    } else {
        println!("{}", plan.title());
        window.print("");
    }
    let broken = window.broken();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ").into()) }
}

impl Shape {
    /// The load, its rate found on a copy of the books if it is not given.
    async fn plan(&self, stage: &Stage, prepared: &Path, config: &Path) -> Result<Plan, Failure> {
        let rate_per_s = if let Some(rate) = self.rate {
            rate
        } else {
            let data = stage.copy(prepared, "copy").await?;
            let mut server = stage.serve(&data, config).await?;
            let sought_seconds = self.seconds.min(CAPACITY_SECONDS_MAX);
            let load = Load::of_batches(self.batch, self.members, sought_seconds);
            let capacity = run::drive(&server.address, &load).await?;
            server.kill()?;
            capacity.complaint()?;
            eprintln!("capacity, closed loop for {sought_seconds} s: {} a second", grouped(capacity.rate_per_s));
            u32::try_from(capacity.rate_per_s * self.percent / 100)?.max(1)
        };
        let Self { batch, seconds, members, arrivals, .. } = *self;
        Ok(Plan { rate_per_s, batch, seconds, members, arrivals })
    }
}

impl Plan {
    /// What the folder of a run says of it.
    fn head(&self) -> Head {
        let offered_per_s = u64::from(self.rate_per_s);
        let phase = PhaseTold { name: "load".to_owned(), from_ms: 0, to_ms: self.seconds * 1_000, offered_per_s };
        Head {
            title: self.title(),
            scenario: String::new(),
            warm_up_seconds: WARM_UP_SECONDS,
            phases: vec![phase],
            operations: OPERATIONS.to_vec(),
        }
    }

    /// One line that says what is run.
    fn title(&self) -> String {
        format!(
            "open loop: {} commands a second in batches of {}{} for {} s, {} members; latency from the moment a batch was due",
            grouped(self.rate_per_s),
            grouped(self.batch),
            if self.arrivals == Arrivals::Poisson { ", Poisson arrivals," } else { "" },
            self.seconds,
            grouped(self.members)
        )
    }
}

impl Window {
    /// For people; each line begins with `head`.
    fn print(&self, head: &str) {
        println!("{head}  {} of {} commands/s", grouped(self.summary.rate_per_s), grouped(self.offered_per_s));
        println!("{head}  {}", self.summary.latencies());
        println!("{head}  {}", self.summary.outcomes());
        println!(
            "{head}  longest while without an answer {} us, {} ms into the window; a batch every {} us on average",
            self.gap_us, self.gap_from_ms, self.spacing_us
        );
        println!("{head}  {} batches held back, the generator late by {} us at most", self.held_back, self.late_us_max);
    }

    /// Why the window does not count.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.held_back > 0 {
            broken.push(format!("the schedule was not kept: {} batches were held back", self.held_back));
        }
        if let Err(complaint) = self.summary.complaint() {
            broken.push(complaint.to_string());
        }
        broken
    }
}

/// All windows as one.
fn whole<'w>(windows: impl Iterator<Item = &'w Window>) -> Result<Summary, Failure> {
    let mut whole = Tally::new()?;
    let mut elapsed = Duration::ZERO;
    for window in windows {
        whole.add(&window.tally)?;
        elapsed += window.summary.elapsed();
    }
    Ok(whole.summary(elapsed))
}

/// `a / b` with two digits behind the point, rounded down.
pub(crate) fn ratio(a: u64, b: u64) -> String {
    let hundredths = u128::from(a) * 100 / u128::from(b.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::ratio;

    #[test]
    fn a_ratio_has_two_digits() {
        assert_eq!((ratio(305, 100), ratio(1, 3), ratio(5, 0)), ("3.05".into(), "0.33".into(), "5.00".into()));
    }
}
