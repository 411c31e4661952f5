//! Finding places in the book: by op, by time, and as a waypoint.

use std::sync::Arc;

use super::book::Book;
use super::catalogue::{Counts, Find, Place, Spot, Table, frame_bytes_until};
use super::error::JournalError;
use super::layout::FrameKind;
use super::walk::first_frame_offset;
use super::waypoint::Waypoint;
use super::{to_u64, to_usize};

impl Book {
    /// The place at the end of the durable frame whose last op is `op`.
    ///
    /// For an op that this process has not replayed or written, counting may have to read the headers of all frames before it.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] for op 0 and ops that are not durable, [`JournalError::NotAFrameEnd`] inside a frame; `Damaged` if the book
    /// is not what was written.
    pub fn waypoint_at(&self, op: u64) -> Result<Waypoint, JournalError> {
        let found = self.locate(op)?;
        let header = &found.header;
        if header.first_op + u64::from(header.count) - 1 != op {
            return Err(JournalError::NotAFrameEnd(op));
        }
        let segment = found.open.segment;
        let offset = found.offset + to_u64(header.frame_bytes());
        let before = self.before(segment)?;
        let within = Counts { frames: found.frames + 1, frame_bytes: frame_bytes_until(Place { segment, offset }) };
        let Counts { frames, frame_bytes } = before.plus(within);
        let (hash, book_time_us, frame_offset) = (header.hash, header.book_time_us, found.offset);
        Ok(Waypoint { op, hash, book_time_us, segment, frame_offset, offset, frames, frame_bytes })
    }

    /// The newest durable op at or before a book time in microseconds since the Unix epoch; 0 if there is none.
    ///
    /// # Errors
    /// `Damaged` if the book is not what was written.
    pub fn op_at_time(&self, book_time_us: i64) -> Result<u64, JournalError> {
        let durable = self.durable_op();
        let segments = self.catalogue().segments();
        let first = |segment: u32| self.open(segment)?.header(first_frame_offset(segment));
        let after = partition(segments.into(), |at| Ok(first(narrow(at))?.book_time_us <= book_time_us))?;
        let Some(segment) = after.checked_sub(1).map(narrow) else {
            return Ok(0);
        };
        let (open, spots) = (self.open(segment)?, self.spots(segment)?);
        let time_at = |at: u64| spots.get(to_usize(at)).map(|spot| open.header(spot.offset)).transpose();
        let after = partition(to_u64(spots.len()), |at| {
            Ok(time_at(at)?.is_some_and(|header| header.book_time_us <= book_time_us))
        })?;
        let spot = after.checked_sub(1).and_then(|at| spots.get(to_usize(at)));
        let mut offset = spot.map_or(first_frame_offset(segment), |spot| spot.offset);
        let mut newest = open.header(offset)?.first_op.saturating_sub(1);
        while newest < durable {
            let header = open.header(offset)?;
            if header.book_time_us > book_time_us {
                break;
            }
            newest = header.first_op + u64::from(header.count) - 1;
            if header.kind == FrameKind::Seal {
                break;
            }
            offset += to_u64(header.frame_bytes());
        }
        Ok(newest)
    }

    /// Where to begin looking for a durable op: its segment, and the nearest entry of its table, built if it is not there.
    pub(crate) fn spot_of(&self, op: u64) -> Result<(u32, Spot), JournalError> {
        let find = self.catalogue().find(op).ok_or(JournalError::NotFound(op))?;
        match find {
            Find::At(segment, spot) => Ok((segment, spot)),
            Find::Segment(segment) => {
                let spot = self.table(segment)?.find(op).ok_or(JournalError::NotFound(op))?;
                Ok((segment, spot))
            }
        }
    }

    /// The table of a sealed segment, built from the headers of its frames if it is not in memory.
    fn table(&self, segment: u32) -> Result<Arc<Table>, JournalError> {
        if let Some(table) = self.catalogue().table(segment) {
            return Ok(table);
        }
        let open = self.open(segment)?;
        let mut table = Table::default();
        let mut offset = first_frame_offset(segment);
        loop {
            let header = open.header(offset)?;
            table.note(header.first_op, offset, to_u64(header.frame_bytes()));
            offset += to_u64(header.frame_bytes());
            if header.kind == FrameKind::Seal {
                break;
            }
        }
        let table = Arc::new(table);
        self.catalogue().keep(segment, table.clone());
        Ok(table)
    }

    /// All entries of a segment's table.
    fn spots(&self, segment: u32) -> Result<Vec<Spot>, JournalError> {
        {
            let catalogue = self.catalogue();
            if catalogue.is_tail(segment) {
                return Ok(catalogue.tail_spots());
            }
        }
        let table = self.table(segment)?;
        Ok((0..table.spots()).filter_map(|at| table.spot(at)).collect())
    }

    /// What lies in the book before a segment, counted forward from the nearest one for which that is known.
    fn before(&self, segment: u32) -> Result<Counts, JournalError> {
        let known = self.catalogue().nearest_counted(segment);
        let (mut at, mut before) = known.unwrap_or((0, Counts::default()));
        while at < segment {
            before = before.plus(self.table(at)?.counts());
            at += 1;
            self.catalogue().set_before(at, before);
        }
        Ok(before)
    }
}

/// The number of the first of `0..count` for which `holds` does not hold, where it holds for all before and none behind.
fn partition(count: u64, holds: impl Fn(u64) -> Result<bool, JournalError>) -> Result<u64, JournalError> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle)? { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// The number of a segment.
fn narrow(segment: u64) -> u32 {
    u32::try_from(segment).unwrap_or(u32::MAX)
}
