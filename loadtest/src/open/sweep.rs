//! The sweep of what has lapsed, under the same open-loop load as without it: alternating windows, each on a copy of the same books. The
//! clock goes as time does, and leaps over the last date of millions of lots when a window with a sweep begins.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::{DriveClockRequest, GetTrialBalanceRequest};
use tonic::transport::Channel;

use super::window::{Plan, WARM_UP_SECONDS, Window, measure};
use super::{HELD, P99_RATIO_MAX, STALL_US_MAX, Shape, ratio, whole};
use crate::lots::{LAPSED_US, LAPSING_EACH, LAPSING_UNITS, Lots};
use crate::stage::Stage;
use crate::tally::{grouped, microseconds, rate_per_s};
use crate::{Failure, client, program};

/// Where the clock of the books begins: before any of the lots lapses.
const START_US: i64 = 1_893_456_000_000_000;
/// Between two moves of the clock, and two looks at what is swept.
const TICK: Duration = Duration::from_millis(50);
/// How long after its window a sweep is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// `loadtest sweep`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Lots that lapse, five a member. Others than these members post.
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(5..=100_000_000))]
    lots: u64,
    /// So many rounds of two windows: one with a sweep (a), which ends with it if that is sooner, and one without (b), as long as the first a.
    #[arg(long, default_value_t = 2, value_name = "ROUNDS", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    alternate: u32,
    /// The server's settings but for its clock; without it checkpoints are held off and the tail's bound is raised.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Swept {
    /// Lots that were swept within the window, and all that lapsed.
    lots_within: u64,
    lots: u64,
    /// From the leap of the clock to the last of all lots.
    sweep_us: u64,
}

/// A window, and the sweep in it.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    window: Window,
    #[serde(skip_serializing_if = "Option::is_none")]
    swept: Option<Swept>,
}

/// Runs the rounds, prints both sides, and fails where those who post notice the sweep.
pub(crate) async fn sweep(options: Options, json: bool) -> Result<(), Failure> {
    let Options { shape, lots, alternate, config } = &options;
    let lots = Lots { heavy: 0, lapsing_members: lots / LAPSING_EACH };
    let stage = Stage::with_lots(shape.members, lots)?;
    let clock = format!("clock = \"driven\"\nclock_start = \"{}\"\n", Timestamp::from_microsecond(START_US)?);
    let given = match config {
        Some(file) => fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?,
        None => HELD.to_owned(),
    };
    let prepare = stage.config("prepare", None, &clock)?;
    let config = stage.config("server", None, &(clock + &given))?;
    let prepared = stage.prepared(shape.data.as_deref(), &prepare).await?;
    let plan = shape.plan(&stage, &prepared, &config).await?;
    let mut quiet = plan;
    if !json {
        println!("{}", plan.title());
        println!("a: {} lots lapse at its begin, and it ends with their sweep; b: none lapses", grouped(lots.count(0)));
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 1..=*alternate {
        // Who goes first changes, so that a machine that slows down or warms up favours neither.
        for sweeps in if round % 2 == 1 { [true, false] } else { [false, true] } {
            let (name, side, plan) = if sweeps { ("a", &mut a, &plan) } else { ("b", &mut b, &quiet) };
            let told = one(&stage, &prepared, &config, plan, sweeps).await?;
            if !json {
                told.print(&format!("{name}{round}"));
            }
            quiet.seconds =
                if round == 1 && sweeps { told.window.summary.elapsed().as_secs().max(1) } else { quiet.seconds };
            side.push(told);
        }
    }
    finish(&a, &b, &plan, json)
}

/// One window on a fresh copy of the books.
async fn one(stage: &Stage, prepared: &Path, config: &Path, plan: &Plan, sweeps: bool) -> Result<Told, Failure> {
    let data = stage.copy(prepared, "copy").await?;
    let mut server = stage.serve(&data, config).await?;
    let time = Arc::new(Time { lots: stage.lots.count(0), ..Time::default() });
    let channel = client::connect(&server.address).await?;
    let kept = tokio::spawn(Arc::clone(&time).keep(channel, sweeps));
    let window = measure(&server.address, plan, &time.swept).await?;
    let lots_within = time.lots_swept.load(Ordering::Relaxed);
    time.window_over.store(true, Ordering::Relaxed);
    let sweep_us = kept.await??;
    server.kill()?;
    fs::remove_dir_all(&data)?;
    let swept = sweep_us.map(|sweep_us| Swept { lots_within, lots: time.lots, sweep_us });
    Ok(Told { window, swept })
}

/// The clock of a server, and what it sees of the sweep.
#[derive(Debug, Default)]
struct Time {
    /// Lots that are to be swept.
    lots: u64,
    lots_swept: AtomicU64,
    /// All of them are.
    swept: Arc<AtomicBool>,
    window_over: AtomicBool,
}

impl Time {
    /// Lets the clock go as time does until the window is over, and, with a leap when it begins, until all is swept: so long after the leap.
    async fn keep(self: Arc<Self>, channel: Channel, leaps: bool) -> Result<Option<u64>, Failure> {
        let (mut admin, mut account) = (AdminServiceClient::new(channel.clone()), AccountServiceClient::new(channel));
        let begun = Instant::now();
        let (mut leapt, mut late) = (None, None);
        loop {
            if leaps && leapt.is_none() && begun.elapsed() >= Duration::from_secs(WARM_UP_SECONDS) {
                leapt = Some(Instant::now());
            }
            let from_us = if leapt.is_some() { LAPSED_US } else { START_US };
            let to_us = from_us + i64::try_from(begun.elapsed().as_micros())?;
            admin.drive_clock(DriveClockRequest { to_us }).await?;
            let ask = GetTrialBalanceRequest { program: program::LAPSING.to_owned(), as_of: None, basis: 0 };
            match account.get_trial_balance(ask).await {
                Ok(answer) => {
                    let rows = answer.into_inner().rows;
                    let units: i64 = rows.iter().filter(|row| row.account == "breakage").map(|row| row.credit).sum();
                    self.lots_swept.store(u64::try_from(units / LAPSING_UNITS)?, Ordering::Relaxed);
                }
                // Under load a look may be refused; the next one sees as much.
                Err(status) if client::is_worth_repeating(&status) => {}
                Err(status) => return Err(status.into()),
            }
            let lots = self.lots_swept.load(Ordering::Relaxed);
            let over = self.window_over.load(Ordering::Relaxed);
            match leapt {
                Some(leapt) if lots == self.lots => {
                    self.swept.store(true, Ordering::Relaxed);
                    return Ok(Some(microseconds(leapt.elapsed())));
                }
                None if over => return Ok(None),
                _ if over && late.get_or_insert_with(Instant::now).elapsed() > PATIENCE => {
                    return Err(format!("{lots} of {} lots are swept, and no more", self.lots).into());
                }
                _ => tokio::time::sleep(TICK).await,
            }
        }
    }
}

impl Told {
    fn print(&self, name: &str) {
        if let Some(Swept { lots_within, lots, sweep_us }) = self.swept {
            let rate = rate_per_s(lots, Duration::from_micros(sweep_us));
            println!(
                "{name}: {} lots swept within {} ms, {} a second, {} of them within the window",
                grouped(lots),
                grouped(sweep_us / 1_000),
                grouped(rate),
                grouped(lots_within)
            );
        }
        self.window.print(name);
    }
}

fn finish(a: &[Told], b: &[Told], plan: &Plan, json: bool) -> Result<(), Failure> {
    let windows = |side| <[Told]>::iter(side).map(|told| &told.window);
    let (whole_a, whole_b) = (whole(windows(a))?, whole(windows(b))?);
    let (p99_ratio, max_ratio) = (ratio(whole_a.p99_us, whole_b.p99_us), ratio(whole_a.max_us, whole_b.max_us));
    if json {
        println!(
            "{}",
            json!({
                "rate_per_s": plan.rate_per_s,
                "a": { "whole": whole_a, "windows": a },
                "b": { "whole": whole_b, "windows": b },
                "p99_ratio": p99_ratio,
                "max_ratio": max_ratio,
            })
        );
    } else {
        println!("a, with a sweep, all rounds: {}", whole_a.latencies());
        println!("b, without, all rounds: {}", whole_b.latencies());
        println!("a to b: p99 {p99_ratio} times, max {max_ratio} times");
    }
    let mut broken: Vec<_> = windows(a).chain(windows(b)).flat_map(Window::broken).collect();
    let mut claim = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    let within = |told: &Told| told.swept.is_some_and(|swept| swept.lots_within == swept.lots);
    claim(a.iter().all(within), "every sweep is over within its window".into());
    claim(whole_a.p99_us <= P99_RATIO_MAX * whole_b.p99_us, format!("p99 of a is at most {P99_RATIO_MAX} times b's"));
    claim(whole_a.max_us <= STALL_US_MAX, format!("the greatest latency of a is at most {} ms", STALL_US_MAX / 1_000));
    if broken.is_empty() { Ok(()) } else { Err(format!("this does not hold: {}", broken.join("; ")).into()) }
}
