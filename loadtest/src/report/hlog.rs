//! Interval logs of HdrHistogram: what was measured in each while, by tag.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogHistogram, IntervalLogIterator, LogEntry, LogIteratorError,
};

use crate::Failure;

/// Times further than this before the log's start are counted from it, as HdrHistogram's own reader has it.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What was measured in a while.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    /// When it began, in milliseconds since the log's start.
    pub(super) from_ms: u64,
    /// When it ended, in the same way.
    pub(super) to_ms: u64,
    /// What was measured.
    pub(super) histogram: Histogram<u64>,
}

/// The intervals of a log, by tag and in the order of the file; what has no tag has an empty one.
pub(super) type Log = BTreeMap<String, Vec<Interval>>;

/// Reads a log; `None` where there is no such file.
///
/// # Errors
/// Where the file cannot be read, or is no interval log from its first to its last byte.
pub(super) fn read(path: &Path) -> Result<Option<Log>, Failure> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    parse(&bytes).map(Some).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn parse(bytes: &[u8]) -> Result<Log, Failure> {
    let mut log = Log::new();
    let (mut start, mut base) = (None, None);
    for (number, entry) in IntervalLogIterator::new(bytes).enumerate() {
        match entry.map_err(|LogIteratorError::ParseError { offset }| {
            format!("no HdrHistogram interval log from byte {offset} on")
        })? {
            LogEntry::StartTime(at) => start = Some(at),
            LogEntry::BaseTime(at) => base = Some(at),
            LogEntry::Interval(interval) => {
                let tag = interval.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
                let from = since_start(interval.start_timestamp(), start, base);
                let read = decode(&interval, from).map_err(|error| format!("entry {}: {error}", number + 1))?;
                log.entry(tag).or_default().push(read);
            }
        }
    }
    Ok(log)
}

fn decode(interval: &IntervalLogHistogram<'_>, from: Duration) -> Result<Interval, Failure> {
    let bytes = STANDARD.decode(interval.encoded_histogram())?;
    let histogram = Deserializer::new().deserialize(&mut bytes.as_slice())?;
    let to = from.saturating_add(interval.duration());
    Ok(Interval { from_ms: u64::try_from(from.as_millis())?, to_ms: u64::try_from(to.as_millis())?, histogram })
}

/// When an interval began, counted from the log's start: its time counts from the base, or else from the start or the epoch, whichever fits.
fn since_start(at: Duration, start: Option<Duration>, base: Option<Duration>) -> Duration {
    match (start, base) {
        (start, Some(base)) => at.saturating_add(base).saturating_sub(start.unwrap_or(base)),
        (Some(start), None) if at.saturating_add(YEAR) >= start => at.saturating_sub(start),
        (_, None) => at,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{Duration, UNIX_EPOCH};

    use hdrhistogram::serialization::V2DeflateSerializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

    use super::*;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 600_000_000, 3).unwrap();
        values.iter().for_each(|value| histogram.record(*value).unwrap());
        histogram
    }

    fn written(builder: &IntervalLogWriterBuilder, from: Duration) -> Vec<u8> {
        let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
        let mut writer = builder.begin_log_with(&mut bytes, &mut serializer).unwrap();
        let second = Duration::from_secs(1);
        for (tag, values) in [("earn", [1, 2, 3]), ("redeem", [700, 700, 90_000])] {
            writer.write_histogram(&histogram(&values), from, second, Tag::new(tag)).unwrap();
        }
        writer.write_histogram(&histogram(&[5]), from + second, second, Tag::new("earn")).unwrap();
        bytes
    }

    #[test]
    fn every_interval_is_read_under_its_tag_with_its_values() {
        let log = parse(&written(IntervalLogWriterBuilder::new().add_comment("a run"), Duration::ZERO)).unwrap();
        let at = |tag: &str| log[tag].iter().map(|read| (read.from_ms, read.to_ms, read.histogram.len())).collect();
        let (earn, redeem): (Vec<_>, Vec<_>) = (at("earn"), at("redeem"));
        assert_eq!(earn, [(0, 1_000, 3), (1_000, 2_000, 1)]);
        assert_eq!(redeem, [(0, 1_000, 3)]);
        assert_eq!(log["redeem"].first().unwrap().histogram, histogram(&[700, 700, 90_000]));
    }

    #[test]
    fn times_count_from_the_start_however_the_log_writes_them() {
        let start = Duration::from_secs(1_800_000_000);
        let first =
            |builder: &IntervalLogWriterBuilder, from| parse(&written(builder, from)).unwrap()["earn"][0].from_ms;
        let mut started = IntervalLogWriterBuilder::new();
        started.with_start_time(UNIX_EPOCH + start);
        assert_eq!(first(&started, Duration::from_secs(3)), 3_000, "counted from the start");
        assert_eq!(first(&started, start + Duration::from_secs(3)), 3_000, "counted from the epoch");
        started.with_base_time(UNIX_EPOCH + start + Duration::from_secs(2));
        assert_eq!(first(&started, Duration::from_secs(3)), 5_000, "counted from the base");
    }

    #[test]
    fn a_file_that_is_damaged_or_cut_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latency.hlog");
        assert!(read(&path).unwrap().is_none());
        let whole = written(&IntervalLogWriterBuilder::new(), Duration::ZERO);
        let mut flipped = whole.clone();
        let place = flipped.len() - 9;
        flipped[place] = b'*';
        for bad in [&whole[..whole.len() - 5], &flipped, b"PNG\n"] {
            std::fs::write(&path, bad).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("latency.hlog: "), "{error}");
        }
    }
}
