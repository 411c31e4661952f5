//! A run folder as `loadtest scenario` and `open` leave it: what was run, what came of it each second, and all latencies.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::hlog::{self, Log};
use crate::Failure;

/// The layout of `run.json` that is read here.
const SCHEMA: u64 = 1;

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    /// What is said of the whole.
    pub(super) told: Told,
    /// When it began, after the warm-up.
    pub(super) started_at: Timestamp,
    /// Second by second.
    pub(super) seconds: Vec<Second>,
    /// Latencies in microseconds, by operation.
    pub(super) latency: Log,
    /// What the server measured of itself, if it did.
    pub(super) server: Option<Log>,
}

/// `run.json`. Times in milliseconds count from the end of the warm-up.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub(super) title: String,
    /// The scenario's text; empty where there was none.
    pub(super) scenario: String,
    started_at: String,
    pub(super) machine: Machine,
    /// How long it took without the warm-up.
    pub(super) seconds: u64,
    pub(super) warm_up_seconds: u64,
    pub(super) phases: Vec<Phase>,
    /// By operation.
    pub(super) totals: BTreeMap<String, Counts>,
    /// By operation, and `all`.
    pub(super) latency: BTreeMap<String, Quantiles>,
    pub(super) longest_gap_us: u64,
    pub(super) gap_from_ms: u64,
    /// How late the load generator was at most.
    pub(super) late_us_max: u64,
    pub(super) kept_schedule: bool,
}

/// What it ran on.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) cpus: u64,
    pub(super) cpu_model: String,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    pub(super) os: String,
}

/// A part of the run with a rate of its own.
#[derive(Debug, Deserialize)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) offered_per_s: u64,
}

/// What became of commands.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) applied: u64,
    pub(super) rejected: u64,
    pub(super) replayed: u64,
    pub(super) conflicts: u64,
    /// Shed by the server, each time.
    pub(super) refused: u64,
    pub(super) retried: u64,
    pub(super) given_up: u64,
    pub(super) errors: u64,
}

impl Counts {
    /// All of them with their names, in the order in which they are told.
    pub(super) fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("sent", self.sent),
            ("answered", self.answered),
            ("applied", self.applied),
            ("rejected", self.rejected),
            ("replayed", self.replayed),
            ("conflicts", self.conflicts),
            ("refused", self.refused),
            ("retried", self.retried),
            ("given up", self.given_up),
            ("errors", self.errors),
        ]
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            sent: self.sent.saturating_add(other.sent),
            answered: self.answered.saturating_add(other.answered),
            applied: self.applied.saturating_add(other.applied),
            rejected: self.rejected.saturating_add(other.rejected),
            replayed: self.replayed.saturating_add(other.replayed),
            conflicts: self.conflicts.saturating_add(other.conflicts),
            refused: self.refused.saturating_add(other.refused),
            retried: self.retried.saturating_add(other.retried),
            given_up: self.given_up.saturating_add(other.given_up),
            errors: self.errors.saturating_add(other.errors),
        }
    }
}

/// Latencies over the whole run.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Quantiles {
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
    pub(super) count: u64,
}

/// A row of `seconds.csv`: what became of commands in that second.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Second {
    pub(super) at_ms: u64,
    pub(super) offered: u64,
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) given_up: u64,
    pub(super) errors: u64,
}

impl Run {
    /// Reads a folder whole.
    ///
    /// # Errors
    /// Where a file is missing, damaged or another program's; the error names it. `server.hlog` alone may be missing.
    pub(super) fn read(dir: &Path) -> Result<Self, Failure> {
        let told = read_told(&dir.join("run.json"))?;
        let started_at = told
            .started_at
            .parse()
            .map_err(|error| format!("{}: started_at: {error}", dir.join("run.json").display()))?;
        let latency = dir.join("latency.hlog");
        Ok(Self {
            told,
            started_at,
            seconds: read_seconds(&dir.join("seconds.csv"))?,
            latency: hlog::read(&latency)?.ok_or_else(|| format!("{}: there is no such file", latency.display()))?,
            server: hlog::read(&dir.join("server.hlog"))?,
        })
    }

    /// All operations together.
    pub(super) fn total(&self) -> Counts {
        self.told.totals.values().fold(Counts::default(), Counts::plus)
    }

    /// Latencies of all operations together.
    pub(super) fn all(&self) -> Quantiles {
        self.told.latency.get("all").copied().unwrap_or_default()
    }

    /// Commands answered a second, rounded down.
    pub(super) fn answered_per_s(&self) -> u64 {
        self.total().answered / self.told.seconds.max(1)
    }
}

fn read_told(path: &Path) -> Result<Told, Failure> {
    #[derive(Deserialize)]
    struct Layout {
        schema: u64,
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let Layout { schema } = json(path, &text)?;
    if schema != SCHEMA {
        return Err(format!("{}: its schema is {schema}, and {SCHEMA} is read here", path.display()).into());
    }
    json(path, &text)
}

fn json<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| format!("{}: not of a run: {error}", path.display()).into())
}

fn read_seconds(path: &Path) -> Result<Vec<Second>, Failure> {
    let failed = |error: csv::Error| format!("{}: {error}", path.display());
    let mut reader = csv::Reader::from_path(path).map_err(failed)?;
    Ok(reader.deserialize().collect::<Result<_, _>>().map_err(failed)?)
}
