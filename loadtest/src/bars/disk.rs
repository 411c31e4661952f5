//! Bytes of book a command, padding and unused ends of segments included.

use std::fs;

use super::Ground;
use super::batches::newest_op;
use super::figure::{Bar, Figure, Unit};
use crate::Failure;
use crate::restart::tail::{Segment, segments};
use crate::run::{BUDGET, Load, Mode, drive};
use crate::tally::grouped;
use crate::{client, program};

/// In batches of 1,000.
const BYTES_MAX: u64 = 110;
/// A segment begins with a page that is not part of any frame.
const HEADER_BYTES: u64 = 4_096;
/// The mode, the batch, connections and requests under way on each, the bar, in words.
const SHAPES: [(Mode, u16, [u16; 2], Bar, &str); 3] = [
    (Mode::Batch, 1_000, [2, 4], Bar::AtMost(BYTES_MAX), "batches of 1,000"),
    (Mode::Unary, 1, [1, 1], Bar::Open, "single calls, one caller"),
    (Mode::Unary, 1, [4, 64], Bar::Open, "single calls, 256 callers"),
];

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    for (mode, batch, shape, bar, how) in SHAPES {
        let data = ground.stage.path("disk");
        let mut server = ground.stage.serve(&data, &ground.config).await?;
        program::LOAD.set_up(client::connect(&server.address).await?, BUDGET).await?;
        let summary =
            drive(&server.address, &Load::of(mode, batch, shape, ground.stage.members, ground.seconds)).await?;
        summary.complaint()?;
        let ops = newest_op(&server.address).await?;
        server.kill()?;
        let bytes = book_bytes(&segments(&data)?);
        fs::remove_dir_all(&data)?;
        let note = format!("{} MiB for {} commands", grouped(bytes >> 20), grouped(ops));
        let what = format!("book a command, {how}");
        figures.push(Figure::new(what, bytes.div_ceil(ops.max(1)), Unit::Bytes, bar).noting(note));
    }
    Ok(())
}

/// The segments that are full to their ends, and of the last one that has frames what is written. One that is laid out ahead has its header alone.
fn book_bytes(segments: &[Segment]) -> u64 {
    let mut written = segments.iter().rev().skip_while(|segment| segment.written <= HEADER_BYTES);
    let last = written.next().map_or(0, |segment| segment.written);
    last + written.map(|segment| segment.bytes).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_full_segments_count_and_what_is_laid_out_ahead_does_not() {
        let segment = |pages| Segment { bytes: 10 * HEADER_BYTES, written: pages * HEADER_BYTES };
        assert_eq!(book_bytes(&[segment(9), segment(10), segment(3), segment(1)]), 23 * HEADER_BYTES);
        assert_eq!(book_bytes(&[segment(4)]), 4 * HEADER_BYTES);
        assert_eq!(book_bytes(&[]), 0);
    }
}
