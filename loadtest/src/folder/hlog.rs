//! Files of the HdrHistogram log format 1.3, which the tools of HdrHistogram read.

use std::io::Write;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::Failure;

/// A log that is being written.
pub(crate) struct Hlog<W> {
    to: W,
    serializer: V2DeflateSerializer,
}

impl<W: Write> Hlog<W> {
    /// Writes the head. Intervals are counted from `start`.
    pub(crate) fn new(mut to: W, start: SystemTime) -> Result<Self, Failure> {
        let mut serializer = V2DeflateSerializer::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .with_start_time(start)
            .with_base_time(start)
            .begin_log_with(&mut to, &mut serializer)?;
        Ok(Self { to, serializer })
    }

    /// Writes one interval: a line for each tag that has any values. A tag is without commas and spaces.
    pub(crate) fn write<'t>(
        &mut self,
        from: Duration,
        length: Duration,
        tags: impl Iterator<Item = (&'t str, &'t Histogram<u64>)>,
    ) -> Result<(), Failure> {
        // Without a head it writes none.
        let mut log = IntervalLogWriterBuilder::new().begin_log_with(&mut self.to, &mut self.serializer)?;
        for (tag, histogram) in tags.filter(|(_, histogram)| !histogram.is_empty()) {
            let written = log.write_histogram(histogram, from, length, Tag::new(tag));
            written.map_err(|error| format!("cannot write an interval of {tag}: {error}"))?;
        }
        Ok(self.to.flush()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use base64::prelude::{BASE64_STANDARD, Engine};
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::tally::latencies;

    #[test]
    fn a_log_is_read_back_with_its_times_tags_and_counts() {
        let mut of = [latencies().unwrap(), latencies().unwrap(), latencies().unwrap()];
        of[0].record_n(1_234, 7).unwrap();
        of[1].record(600_000_000).unwrap();
        of[1].record(3).unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let mut bytes = Vec::new();
        let mut log = Hlog::new(&mut bytes, start).unwrap();
        let second = Duration::from_secs(1);
        for number in 0..3 {
            log.write(second * number, second, ["earn", "card", "never"].into_iter().zip(&of)).unwrap();
        }
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
        let (mut read, mut starts) = (Vec::new(), Vec::new());
        for entry in IntervalLogIterator::new(&bytes) {
            match entry.unwrap() {
                LogEntry::Interval(line) => {
                    let tag = line.tag().unwrap().as_str().to_owned();
                    let encoded = BASE64_STANDARD.decode(line.encoded_histogram()).unwrap();
                    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut encoded.as_slice()).unwrap();
                    assert_eq!(line.duration(), second);
                    read.push((line.start_timestamp().as_secs(), tag, histogram));
                }
                LogEntry::StartTime(at) | LogEntry::BaseTime(at) => starts.push(at),
            }
        }
        assert_eq!(starts, [Duration::from_millis(1_700_000_000_250); 2]);
        let expected: Vec<_> = (0..3)
            .flat_map(|n| [(n, "earn".to_owned(), of[0].clone()), (n, "card".to_owned(), of[1].clone())])
            .collect();
        assert_eq!(read, expected);
    }
}
