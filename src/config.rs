//! The server's settings: as written, and as checked.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::constants::{
    CHECKPOINT_SECONDS, IN_FLIGHT_BYTES_MAX, KEY_FILTER_BYTES_MAX, KEYS_PER_GENERATION, MESSAGE_BYTES_MAX,
    MESSAGE_PREFIX_BYTES, OCCURRED_US_MAX, OCCURRED_US_MIN, QUEUE_REQUESTS_MAX, SEGMENT_BYTES_DEFAULT, TAIL_BYTES_MAX,
};
use crate::engine::rooms::Rooms;
use crate::engine::{EngineConfig, Pace};
use crate::journal::JournalOptions;
use crate::ledger::Limits;
use crate::store::StoreOptions;

/// Members over all programs, unless the settings say otherwise.
const MEMBERS_DEFAULT: u32 = 10_000_000;
/// Counters of members' caps, unless the settings say otherwise.
const CAP_COUNTERS_DEFAULT: usize = 10_000_000;
/// Bytes of lots, holds and pending earns beside members' slots, unless the settings say otherwise.
const LOTS_BYTES_DEFAULT: usize = 8 * 1024 * 1024 * 1024;
/// How long a request may wait in the queue, unless the settings say otherwise.
const QUEUE_AGE_MS_DEFAULT: u64 = 1_000;
/// The longest that a request may be let wait.
const QUEUE_AGE_MS_MAX: u64 = 60_000;
/// The most requests that the queue may be made to hold: its slots are made at the start.
const QUEUE_REQUESTS_CEILING: usize = 1 << 20;
/// The greatest segment that may be asked for.
const SEGMENT_BYTES_CEILING: u64 = 4 << 30;
/// The shortest tail that may be asked for.
const TAIL_BYTES_MIN: u64 = 64 * 1024;
/// The longest time between checkpoints that may be asked for: a day.
const CHECKPOINT_SECONDS_MAX: u64 = 86_400;
/// The most threads that may serve the network.
const WORKER_THREADS_MAX: usize = 256;

/// The settings as a file has them: nothing is needed, and nothing unknown is taken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    members_max: Option<u32>,
    cap_counters_max: Option<usize>,
    lots_bytes_max: Option<usize>,
    queue_requests_max: Option<usize>,
    queue_age_ms_max: Option<u64>,
    segment_bytes: Option<u64>,
    in_flight_bytes_max: Option<usize>,
    worker_threads: Option<usize>,
    tail_bytes_max: Option<u64>,
    checkpoint_bytes: Option<u64>,
    checkpoint_seconds: Option<u64>,
    checkpoints: Option<Checkpoints>,
    keys_per_generation: Option<u64>,
    key_filter_bytes_max: Option<u64>,
    clock: Option<ClockSetting>,
    clock_start: Option<String>,
}

/// Whether checkpoints are taken.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Checkpoints {
    /// As the book grows.
    #[default]
    Paced,
    /// Never, however long the tail: for measurements and tests alone, since the next start replays all of it.
    Held,
}

/// Which clock tells the wall time.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClockSetting {
    /// The machine's.
    #[default]
    System,
    /// One that stands still until it is driven forward by hand: for tests, demonstrations and replays alone.
    Driven,
}

impl FromStr for ClockSetting {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "system" => Ok(Self::System),
            "driven" => Ok(Self::Driven),
            _ => Err(ConfigError(format!("clock is {text}; it must be system or driven"))),
        }
    }
}

/// The settings, checked and whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// Members over all programs that the books may hold, from 1.
    pub members_max: u32,
    /// Counters of members' caps that the books may hold.
    pub cap_counters_max: usize,
    /// Bytes of memory for members' lots, holds and pending earns beyond the two lots that every member has room for.
    pub lots_bytes_max: usize,
    /// Requests that may wait for the engine, 1 to 2^20.
    pub queue_requests_max: usize,
    /// How long a request may wait for the engine before it is refused, 1 to 60,000 milliseconds.
    pub queue_age_ms_max: u64,
    /// Size of a new segment of the book, in bytes: whole pages of 4,096, from the default to 4 GiB.
    pub segment_bytes: u64,
    /// Bytes of requests between arrival and answer, at least one message of the greatest size.
    pub in_flight_bytes_max: usize,
    /// Threads that serve the network, 1 to 256.
    pub worker_threads: usize,
    /// How far the book may be ahead of the newest checkpoint, in bytes, from 64 KiB: from three quarters of it on the engine slows down, at it
    /// nothing new is taken.
    pub tail_bytes_max: u64,
    /// Bytes of book after which a checkpoint is taken, at most half of `tail_bytes_max`, which is the default.
    pub checkpoint_bytes: u64,
    /// Seconds after which a checkpoint is taken of a book that has grown at all, from 1.
    pub checkpoint_seconds: u64,
    /// Whether checkpoints are taken.
    pub checkpoints: Checkpoints,
    /// Keys that are held in memory before a run is made of them, 1 to the default.
    pub keys_per_generation: u64,
    /// Bytes of filters over older keys that are held in memory; past it the oldest are read from the store.
    pub key_filter_bytes_max: u64,
    /// Which clock tells the wall time.
    pub clock: ClockSetting,
    /// Where a driven clock starts for a new book, in microseconds since the Unix epoch; for any other it starts at the book's time.
    pub clock_start_us: Option<i64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            members_max: MEMBERS_DEFAULT,
            cap_counters_max: CAP_COUNTERS_DEFAULT,
            lots_bytes_max: LOTS_BYTES_DEFAULT,
            queue_requests_max: QUEUE_REQUESTS_MAX,
            queue_age_ms_max: QUEUE_AGE_MS_DEFAULT,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            worker_threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            tail_bytes_max: TAIL_BYTES_MAX,
            checkpoint_bytes: TAIL_BYTES_MAX / 2,
            checkpoint_seconds: CHECKPOINT_SECONDS,
            checkpoints: Checkpoints::Paced,
            keys_per_generation: KEYS_PER_GENERATION,
            key_filter_bytes_max: KEY_FILTER_BYTES_MAX,
            clock: ClockSetting::System,
            clock_start_us: None,
        }
    }
}

/// Settings that cannot be used, in words that name the place.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads settings from a TOML file, or takes the defaults where there is none.
    ///
    /// # Errors
    /// [`ConfigError`] where the file cannot be read, or says what cannot be.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let named = |what: String| ConfigError(format!("{}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
        Self::parse(&text).map_err(|error| named(error.0))
    }

    /// Reads settings from TOML.
    ///
    /// # Errors
    /// [`ConfigError`], with the line where the text is at fault.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|error| ConfigError(error.to_string()))?;
        let default = Self::default();
        let tail_bytes_max =
            within("tail_bytes_max", raw.tail_bytes_max, default.tail_bytes_max, TAIL_BYTES_MIN, u64::MAX)?;
        let half = tail_bytes_max / 2;
        Ok(Self {
            members_max: within("members_max", raw.members_max, default.members_max, 1, u32::MAX)?,
            cap_counters_max: raw.cap_counters_max.unwrap_or(default.cap_counters_max),
            lots_bytes_max: raw.lots_bytes_max.unwrap_or(default.lots_bytes_max),
            queue_requests_max: within(
                "queue_requests_max",
                raw.queue_requests_max,
                default.queue_requests_max,
                1,
                QUEUE_REQUESTS_CEILING,
            )?,
            queue_age_ms_max: within(
                "queue_age_ms_max",
                raw.queue_age_ms_max,
                default.queue_age_ms_max,
                1,
                QUEUE_AGE_MS_MAX,
            )?,
            segment_bytes: segment(raw.segment_bytes)?,
            in_flight_bytes_max: within(
                "in_flight_bytes_max",
                raw.in_flight_bytes_max,
                default.in_flight_bytes_max,
                MESSAGE_PREFIX_BYTES + MESSAGE_BYTES_MAX,
                usize::MAX,
            )?,
            worker_threads: within(
                "worker_threads",
                raw.worker_threads,
                default.worker_threads,
                1,
                WORKER_THREADS_MAX,
            )?,
            tail_bytes_max,
            checkpoint_bytes: within("checkpoint_bytes", raw.checkpoint_bytes, half, 1, half)?,
            checkpoint_seconds: within(
                "checkpoint_seconds",
                raw.checkpoint_seconds,
                default.checkpoint_seconds,
                1,
                CHECKPOINT_SECONDS_MAX,
            )?,
            checkpoints: raw.checkpoints.unwrap_or_default(),
            keys_per_generation: within(
                "keys_per_generation",
                raw.keys_per_generation,
                default.keys_per_generation,
                1,
                KEYS_PER_GENERATION,
            )?,
            key_filter_bytes_max: raw.key_filter_bytes_max.unwrap_or(default.key_filter_bytes_max),
            clock: raw.clock.unwrap_or_default(),
            clock_start_us: raw.clock_start.as_deref().map(clock_start).transpose()?,
        })
    }

    /// Where a driven clock starts for a new book, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`ConfigError`] where the settings do not say.
    pub fn driven_start_us(&self) -> Result<i64, ConfigError> {
        let missing = || ConfigError("clock_start is needed: a driven clock begins a new book there".to_owned());
        self.clock_start_us.ok_or_else(missing)
    }

    /// The engine's part; `rooms` says where store and snapshots lie, `None` that they live in memory.
    #[must_use]
    pub fn engine(&self, rooms: Option<Rooms>) -> EngineConfig {
        EngineConfig {
            limits: Limits {
                members_max: self.members_max,
                cap_counters_max: self.cap_counters_max,
                lots_bytes_max: self.lots_bytes_max,
            },
            queue_requests_max: self.queue_requests_max,
            queue_age_max_us: self.queue_age_ms_max.saturating_mul(1_000),
            journal: JournalOptions::with_segment_bytes(self.segment_bytes),
            pace: Pace {
                on: self.checkpoints == Checkpoints::Paced,
                bytes: self.checkpoint_bytes,
                after: Duration::from_secs(self.checkpoint_seconds),
                tail_bytes_max: self.tail_bytes_max,
            },
            keys_per_generation: self.keys_per_generation,
            store: StoreOptions { key_filter_bytes_max: self.key_filter_bytes_max },
            rooms,
        }
    }
}

fn clock_start(text: &str) -> Result<i64, ConfigError> {
    let us = text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond);
    us.filter(|us| (OCCURRED_US_MIN..=OCCURRED_US_MAX).contains(us)).ok_or_else(|| {
        ConfigError(format!("clock_start is {text:?}; it must be an instant such as \"2030-01-01T00:00:00Z\""))
    })
}

fn within<T: PartialOrd + fmt::Display>(
    name: &str,
    value: Option<T>,
    default: T,
    least: T,
    most: T,
) -> Result<T, ConfigError> {
    match value {
        None => Ok(default),
        Some(value) if least <= value && value <= most => Ok(value),
        Some(value) => Err(ConfigError(format!("{name} is {value}; it must be {least} to {most}"))),
    }
}

/// A segment holds two of the greatest frames, so none is smaller than the default. It is written out when it is made,
/// and copied at a start, so that one slip of the keyboard must not fill the disk.
fn segment(bytes: Option<u64>) -> Result<u64, ConfigError> {
    const PAGE: u64 = 4_096;
    let bytes = within("segment_bytes", bytes, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_CEILING)?;
    if bytes % PAGE == 0 {
        Ok(bytes)
    } else {
        Err(ConfigError(format!("segment_bytes is {bytes}; it must be whole pages of {PAGE}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.queue_requests_max, QUEUE_REQUESTS_MAX);
        assert_eq!(config.segment_bytes, SEGMENT_BYTES_DEFAULT);
    }

    #[test]
    fn what_is_said_is_taken() {
        let config = Config::parse("members_max = 7\nqueue_age_ms_max = 20\nworker_threads = 3\n").unwrap();
        assert_eq!((config.members_max, config.worker_threads), (7, 3));
        assert_eq!(config.engine(None).queue_age_max_us, 20_000);
    }

    #[test]
    fn a_driven_clock_starts_where_it_is_told_and_nowhere_else() {
        let config = Config::parse("clock = \"driven\"\nclock_start = \"1970-01-01T00:00:01Z\"\n").unwrap();
        assert_eq!((config.clock, config.driven_start_us()), (ClockSetting::Driven, Ok(1_000_000)));
        assert!(Config::default().driven_start_us().unwrap_err().to_string().contains("clock_start"));
        assert_eq!("driven".parse(), Ok(ClockSetting::Driven));
        assert_eq!(
            "Driven".parse::<ClockSetting>().unwrap_err().to_string(),
            "clock is Driven; it must be system or driven"
        );
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let error = Config::parse("members_max = 7\nmembers_min = 1\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("members_min"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_name() {
        for text in [
            "members_max = 0",
            "queue_requests_max = 0",
            "queue_age_ms_max = 60001",
            "segment_bytes = 4096",
            "segment_bytes = 134217729",
            "segment_bytes = 4294971392",
            "in_flight_bytes_max = 16777220",
            "worker_threads = 0",
            "clock = 'sundial'",
            "clock_start = '2030-01-01'",
            "clock_start = '-009999-01-02T00:00:00Z'",
        ] {
            let name = text.split(' ').next().unwrap();
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(name), "{text}: {error}");
        }
    }
}
