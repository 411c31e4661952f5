//! The load of `open` and what a window of it came to: batches of commands at one rate, put together as cheaply as can be.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};

use serde::Serialize;

use crate::drive::arrivals::{Arrivals, Schedule, Stretch};
use crate::drive::record::Second;
use crate::drive::retry::{Policy, Retries};
use crate::drive::{Drive, Driven, Request, Traffic, drive};
use crate::rng::Rng;
use crate::run::entropy;
use crate::tally::{Summary, Tally, microseconds, rate_per_s};
use crate::wire::{Writer, batch_path};
use crate::{Failure, program};

/// Load before the window.
pub(super) const WARM_UP_SECONDS: u64 = 3;

/// What is sent, by number.
pub(super) const OPERATIONS: [&str; 1] = ["earn"];

/// The load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Commands a second.
    pub(super) rate_per_s: u32,
    pub(super) batch: u16,
    /// Of the window; [`WARM_UP_SECONDS`] come before it.
    pub(super) seconds: u64,
    pub(super) members: u64,
    pub(super) arrivals: Arrivals,
}

/// What a window came to. Latencies are from the moment a batch was due to its answer, one for each of its commands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Window {
    /// Commands a second that were due.
    pub(super) offered_per_s: u64,
    #[serde(flatten)]
    pub(super) summary: Summary,
    /// The longest while without any answer, and when in the window it began.
    pub(super) gap_us: u64,
    pub(super) gap_from_ms: u64,
    /// Between two batches, on average: at a constant rate no gap can be shorter.
    pub(super) spacing_us: u64,
    /// Batches that went out late since too many were under way: the schedule was not kept.
    pub(super) held_back: u64,
    /// How late the generator itself sent a batch at most; counted in the latency.
    pub(super) late_us_max: u64,
    /// The answers, to be put together with those of other windows.
    #[serde(skip)]
    pub(super) tally: Arc<Tally>,
}

/// Where the requests of `open` come from.
struct Batches {
    writer: Writer,
    batch: u16,
}

impl Traffic for Batches {
    fn operations(&self) -> Vec<&'static str> {
        OPERATIONS.to_vec()
    }

    fn request(&mut self, _: usize) -> Request {
        let batch = usize::from(self.batch);
        Request { path: batch_path(), bytes: self.writer.request(batch), operations: vec![0; batch], reads: false }
    }
}

/// Puts the load on the server at `address`, until the window is over or, if that is sooner, `enough` is true.
pub(super) async fn measure(address: &str, plan: &Plan, enough: &Arc<AtomicBool>) -> Result<Window, Failure> {
    Window::of(plan, &plan.drive(address, enough, None).await?)
}

impl Plan {
    /// The same, for whoever wants more than the window.
    pub(super) async fn drive(
        &self,
        address: &str,
        enough: &Arc<AtomicBool>,
        follower: Option<mpsc::Sender<Second>>,
    ) -> Result<Driven, Failure> {
        let seed = entropy();
        let writer = Writer::new(program::LOAD.program, self.members, Rng::new(seed, 0))
            .ok_or("the template of a command cannot be patched")?;
        let stretch = |seconds| Stretch::constant(seconds, self.rate_per_s, self.batch);
        let how = Drive {
            schedule: Schedule::new(vec![stretch(WARM_UP_SECONDS), stretch(self.seconds)], self.arrivals, seed),
            batch: self.batch,
            retries: Retries::new(Policy::NONE, seed),
            deadline: None,
            enough: Arc::clone(enough),
            follower,
        };
        drive(address, Batches { writer, batch: self.batch }, how).await
    }
}

impl Window {
    /// What came of a plan.
    pub(super) fn of(plan: &Plan, driven: &Driven) -> Result<Self, Failure> {
        let Driven { record, end, .. } = driven;
        let gap = record.gap.finish(*end);
        let tally = Tally::of_record(record)?;
        let offered = record.rows.values().map(|row| row.offered).sum();
        Ok(Self {
            offered_per_s: rate_per_s(offered, end.saturating_sub(record.begin)),
            summary: tally.summary(gap.newest),
            gap_us: microseconds(gap.longest),
            gap_from_ms: u64::try_from(gap.from.as_millis())?,
            spacing_us: u64::from(plan.batch) * 1_000_000 / u64::from(plan.rate_per_s).max(1),
            held_back: record.held_back,
            late_us_max: microseconds(record.late),
            tally: Arc::new(tally),
        })
    }
}
