//! What the engine measures of itself while it works: distributions since the start, in histograms of a fixed size, so that
//! recording takes no memory and next to no time. Whoever asks copies them, without a word to the engine.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::serialization::{Serializer, V2SerializeError, V2Serializer};
use hdrhistogram::{CreationError, Histogram};

/// Ten minutes; what takes longer counts as that.
const TIME_US_MAX: u64 = 600_000_000;
/// More than a frame holds.
const EVENTS_MAX: u64 = 10_000_000;
/// Digits to which values are kept: within one percent.
const DIGITS: u8 = 2;

/// The distributions, under the names by which callers know them.
#[derive(Debug)]
pub struct Metrics {
    queue_age_us: Meter,
    commands_per_frame: Meter,
    sync_us: Meter,
}

impl Metrics {
    /// Nothing recorded yet.
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            queue_age_us: Meter::new(TIME_US_MAX)?,
            commands_per_frame: Meter::new(EVENTS_MAX)?,
            sync_us: Meter::new(TIME_US_MAX)?,
        })
    }

    /// A request was taken that had waited so long since it was admitted.
    pub(crate) fn taken(&self, waited_us: u64) {
        self.queue_age_us.record(waited_us);
    }

    /// A frame of so many events was chained, written and synced in that time.
    pub(crate) fn written(&self, events: u32, took_us: u64) {
        self.commands_per_frame.record(events.into());
        self.sync_us.record(took_us);
    }

    /// Each distribution with its name, in HdrHistogram's V2 format, not compressed.
    ///
    /// # Errors
    /// [`V2SerializeError`] where a count is beyond what the format holds.
    pub fn serialised(&self) -> Result<Vec<(&'static str, Vec<u8>)>, V2SerializeError> {
        let meters = [
            ("queue_age_us", &self.queue_age_us),
            ("commands_per_frame", &self.commands_per_frame),
            ("sync_us", &self.sync_us),
        ];
        meters.into_iter().map(|(name, meter)| Ok((name, meter.serialised()?))).collect()
    }
}

/// One distribution. One thread records, and waits at most for a copy of some kilobytes.
#[derive(Debug)]
struct Meter(Mutex<Histogram<u64>>);

impl Meter {
    fn new(most: u64) -> Result<Self, CreationError> {
        Ok(Self(Mutex::new(Histogram::new_with_bounds(1, most, DIGITS)?)))
    }

    fn record(&self, value: u64) {
        self.lock().saturating_record(value);
    }

    fn serialised(&self) -> Result<Vec<u8>, V2SerializeError> {
        // A copy, so that who records need not wait for the encoding.
        let copy = self.lock().clone();
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&copy, &mut bytes)?;
        Ok(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use hdrhistogram::serialization::Deserializer;

    use super::*;

    fn read(metrics: &Metrics) -> BTreeMap<&'static str, Histogram<u64>> {
        let serialised = metrics.serialised().unwrap().into_iter();
        serialised
            .map(|(name, bytes)| (name, Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()))
            .collect()
    }

    #[test]
    fn what_was_recorded_is_read_back_under_its_name() {
        let metrics = Metrics::new().unwrap();
        assert!(read(&metrics).values().all(Histogram::is_empty));
        for waited_us in [0, 7, 7, 90] {
            metrics.taken(waited_us);
        }
        metrics.written(100, 1_000);
        metrics.written(50, 3_000);
        let read = read(&metrics);
        let count = |name: &str, value| read[name].count_at(value);
        assert_eq!(read.values().map(Histogram::len).collect::<Vec<_>>(), [2, 4, 2]);
        assert_eq!([0, 7, 90].map(|value| count("queue_age_us", value)), [1, 2, 1]);
        assert_eq!([50, 100].map(|value| count("commands_per_frame", value)), [1, 1]);
        assert_eq!([1_000, 3_000].map(|value| count("sync_us", value)), [1, 1]);
    }

    #[test]
    fn what_is_beyond_the_bounds_counts_as_the_bound() {
        let metrics = Metrics::new().unwrap();
        metrics.taken(u64::MAX);
        metrics.written(u32::MAX, u64::MAX);
        for (name, histogram) in read(&metrics) {
            assert_eq!(histogram.len(), 1, "{name}");
            assert!(histogram.max() >= EVENTS_MAX, "{name}");
        }
    }
}
