//! Frames in memory: events collected in place into blocks, and the closed body that writer and readers share.

use crate::constants::{
    BLOCK_BYTES_MAX, BLOCK_ENTRY_BYTES, EVENT_OFFSET_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES,
    PROGRAM_EVENT_BYTES_MAX,
};

use super::layout::array;
use super::{padded, to_u32, to_u64, to_usize};

/// One block: its events, then a table of where each ends.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) bytes: &'a [u8],
    /// Index in the frame of the first event.
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl<'a> Block<'a> {
    /// The event at `at` in the block.
    pub(crate) fn event(&self, at: u32) -> Option<&'a [u8]> {
        if at >= self.count {
            return None;
        }
        let end = self.end(at)?;
        let start = if at == 0 { 0 } else { self.end(at - 1)? };
        self.bytes.get(..self.table_start()?)?.get(start..end)
    }

    fn table_start(&self) -> Option<usize> {
        self.bytes.len().checked_sub(to_usize(self.count.into()) * EVENT_OFFSET_BYTES)
    }

    fn end(&self, at: u32) -> Option<usize> {
        let place = self.table_start()? + to_usize(at.into()) * EVENT_OFFSET_BYTES;
        array(self.bytes, place).map(u16::from_le_bytes).map(usize::from)
    }
}

/// Where a block begins, in bytes and in events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockStart {
    pub(crate) byte: u32,
    pub(crate) event: u32,
}

/// The events of one frame, closed: it never changes again, and an `Arc` of it is cheap to hand on.
pub struct FrameBody {
    first_op: u64,
    book_time_us: i64,
    count: u32,
    starts: Vec<BlockStart>,
    bytes: Vec<u8>,
    /// The builder's table of the open block, empty: kept for the next one.
    spare: Vec<u16>,
}

impl FrameBody {
    pub(crate) fn from_parts(
        first_op: u64,
        book_time_us: i64,
        count: u32,
        starts: Vec<BlockStart>,
        bytes: Vec<u8>,
    ) -> Self {
        Self { first_op, book_time_us, count, starts, bytes, spare: Vec::new() }
    }

    /// Op of the first event; the next op if there are none.
    pub fn first_op(&self) -> u64 {
        self.first_op
    }

    /// Book time of all its events, in microseconds since the Unix epoch.
    pub fn book_time_us(&self) -> i64 {
        self.book_time_us
    }

    /// Number of events.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The event of this op, if it is in this frame.
    pub fn event(&self, op: u64) -> Option<&[u8]> {
        let index = u32::try_from(op.checked_sub(self.first_op)?).ok()?;
        let after = self.starts.partition_point(|start| start.event <= index);
        let block = self.block(after.checked_sub(1)?)?;
        block.event(index - block.first)
    }

    /// All events, in the order of their ops.
    pub fn events(&self) -> impl Iterator<Item = &[u8]> {
        let blocks = (0..self.starts.len()).filter_map(|at| self.block(at));
        blocks.flat_map(|block| (0..block.count).filter_map(move |at| block.event(at)))
    }

    /// Bytes of all blocks, without the frame's header, index and padding.
    pub fn body_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that another frame could be built in.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn block_count(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn block(&self, at: usize) -> Option<Block<'_>> {
        block_at(&self.starts, &self.bytes, self.count, at)
    }
}

fn block_at<'a>(starts: &[BlockStart], bytes: &'a [u8], events: u32, at: usize) -> Option<Block<'a>> {
    let start = starts.get(at)?;
    let (end, next) = match starts.get(at + 1) {
        Some(next) => (to_usize(next.byte.into()), next.event),
        None => (bytes.len(), events),
    };
    let bytes = bytes.get(to_usize(start.byte.into())..end)?;
    Some(Block { bytes, first: start.event, count: next.checked_sub(start.event)? })
}

/// An event did not fit; nothing of it is in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of {event_bytes} bytes does not fit the frame")]
pub struct FrameFull {
    /// Size of the event. More than `PROGRAM_EVENT_BYTES_MAX` fit no frame at all.
    pub event_bytes: usize,
}

/// A frame that takes events.
pub struct FrameBuilder {
    first_op: u64,
    book_time_us: i64,
    /// Closed blocks with their tables, then the events of the open one.
    bytes: Vec<u8>,
    closed: Vec<BlockStart>,
    closed_events: u32,
    /// Where the open block begins, and where each of its events ends in it.
    open_start: usize,
    open_ends: Vec<u16>,
}

impl FrameBuilder {
    /// An empty frame whose first event will be `first_op`, all at `book_time_us` (microseconds since the Unix epoch).
    #[must_use]
    pub fn new(first_op: u64, book_time_us: i64) -> Self {
        Self::within(first_op, book_time_us, FrameBody::from_parts(0, 0, 0, Vec::new(), Vec::new()))
    }

    /// The same, built in the memory of a frame that nobody needs any more.
    #[must_use]
    pub fn within(first_op: u64, book_time_us: i64, spent: FrameBody) -> Self {
        let FrameBody { mut starts, mut bytes, spare, .. } = spent;
        starts.clear();
        bytes.clear();
        Self { first_op, book_time_us, bytes, closed: starts, closed_events: 0, open_start: 0, open_ends: spare }
    }

    /// Adds an event and returns its op.
    pub fn push(&mut self, event: &[u8]) -> Result<u64, FrameFull> {
        self.push_with(|buffer| buffer.extend_from_slice(event))
    }

    /// Adds the event that `encode` appends to the buffer, and returns its op. `encode` only appends.
    pub fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<u64, FrameFull> {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        let event_bytes = self.bytes.len().saturating_sub(start);
        // As if the event needed a block of its own, so that the answer does not depend on whether it does.
        let table_bytes = (self.open_ends.len() + 1) * EVENT_OFFSET_BYTES;
        let index_bytes = (self.closed.len() + 2) * BLOCK_ENTRY_BYTES;
        let frame_bytes = padded(FRAME_HEADER_BYTES + self.bytes.len() + table_bytes + index_bytes);
        if event_bytes > PROGRAM_EVENT_BYTES_MAX || frame_bytes > FRAME_BYTES_MAX {
            self.bytes.truncate(start);
            return Err(FrameFull { event_bytes });
        }
        if self.bytes.len() - self.open_start + table_bytes > BLOCK_BYTES_MAX {
            self.close_block(start);
        }
        let end = u16::try_from(self.bytes.len() - self.open_start).map_err(|_| FrameFull { event_bytes })?;
        self.open_ends.push(end);
        Ok(self.first_op + u64::from(self.count()) - 1)
    }

    /// Closes the open block, whose events end at `end`; what lies behind begins the next.
    fn close_block(&mut self, end: usize) {
        if self.open_ends.is_empty() {
            return;
        }
        self.closed.push(BlockStart { byte: to_u32(self.open_start), event: self.closed_events });
        self.closed_events += to_u32(self.open_ends.len());
        let (behind, table_bytes) = (self.bytes.len(), self.open_ends.len() * EVENT_OFFSET_BYTES);
        self.open_start = end + table_bytes;
        self.bytes.resize(behind + table_bytes, 0);
        self.bytes.copy_within(end..behind, self.open_start);
        let table = self.bytes.get_mut(end..self.open_start).unwrap_or_default();
        for (place, end) in table.chunks_exact_mut(EVENT_OFFSET_BYTES).zip(self.open_ends.drain(..)) {
            place.copy_from_slice(&end.to_le_bytes());
        }
    }

    /// Op of the first event.
    pub fn first_op(&self) -> u64 {
        self.first_op
    }

    /// Book time of its events, in microseconds since the Unix epoch.
    pub fn book_time_us(&self) -> i64 {
        self.book_time_us
    }

    /// Number of events so far.
    pub fn count(&self) -> u32 {
        self.closed_events + to_u32(self.open_ends.len())
    }

    /// Bytes that the frame would take on disk if it were closed now, padding included.
    pub fn bytes(&self) -> usize {
        let index_bytes = (self.closed.len() + 1) * BLOCK_ENTRY_BYTES;
        padded(FRAME_HEADER_BYTES + self.bytes.len() + self.open_ends.len() * EVENT_OFFSET_BYTES + index_bytes)
    }

    /// The event of this op, if it is in the frame.
    pub fn event(&self, op: u64) -> Option<&[u8]> {
        let index = u32::try_from(op.checked_sub(self.first_op)?).ok()?;
        if let Some(at) = index.checked_sub(self.closed_events) {
            let at = to_usize(at.into());
            let end = usize::from(*self.open_ends.get(at)?);
            let start =
                at.checked_sub(1).and_then(|before| self.open_ends.get(before)).map_or(0, |end| usize::from(*end));
            return self.bytes.get(self.open_start..)?.get(start..end);
        }
        let after = self.closed.partition_point(|start| start.event <= index);
        let block = self.closed_block(after.checked_sub(1)?)?;
        block.event(index - block.first)
    }

    fn closed_block(&self, at: usize) -> Option<Block<'_>> {
        block_at(&self.closed, self.bytes.get(..self.open_start)?, self.closed_events, at)
    }

    /// Drops every event after `op`: the undo of an atomic batch. `first_op - 1` drops all.
    pub fn truncate_to(&mut self, op: u64) {
        let kept = u32::try_from((op + 1).saturating_sub(self.first_op)).unwrap_or(u32::MAX);
        while kept <= self.closed_events && self.reopen_block() {}
        self.open_ends.truncate(to_usize(kept.saturating_sub(self.closed_events).into()));
        let open_bytes = self.open_ends.last().map_or(0, |end| usize::from(*end));
        self.bytes.truncate(self.open_start + open_bytes);
    }

    /// Drops the open block and opens the one before it again; false if there is none.
    fn reopen_block(&mut self) -> bool {
        let Some(at) = self.closed.len().checked_sub(1) else {
            return false;
        };
        let Some(block) = self.closed_block(at) else {
            return false;
        };
        let ends: Vec<u16> = (0..block.count)
            .scan(0, |end, at| {
                *end += block.event(at).map_or(0, <[u8]>::len);
                u16::try_from(*end).ok()
            })
            .collect();
        let Some(start) = self.closed.pop() else {
            return false;
        };
        self.closed_events = start.event;
        self.open_start = to_usize(start.byte.into());
        self.open_ends = ends;
        true
    }

    /// Closes the frame.
    pub fn close(mut self) -> FrameBody {
        self.close_block(self.bytes.len());
        let Self { first_op, book_time_us, bytes, closed: starts, closed_events: count, open_ends: spare, .. } = self;
        FrameBody { first_op, book_time_us, count, starts, bytes, spare }
    }
}

impl std::fmt::Debug for FrameBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = (self.first_op + u64::from(self.count)).saturating_sub(1);
        write!(f, "frame of ops {}..={last}, {} bytes", self.first_op, to_u64(self.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;
    use crate::constants::{COMMAND_BYTES_MAX, COMMANDS_PER_BATCH_MAX, EVENT_BYTES_MAX};

    fn event(seed: usize, length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from((seed * 31 + at) % 251).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn events_come_out_as_they_went_in_and_every_block_fits(lengths in prop::collection::vec(0usize..=9000, 0..60)) {
            let mut spent = FrameBuilder::new(3, 4);
            lengths.iter().for_each(|length| { spent.push(&vec![9; *length]).unwrap(); });
            let mut builder = FrameBuilder::within(10, 5, spent.close());
            for (at, length) in lengths.iter().enumerate() {
                prop_assert_eq!(builder.push(&event(at, *length)).unwrap(), 10 + to_u64(at));
                prop_assert_eq!(builder.event(10 + to_u64(at)).unwrap(), event(at, *length));
            }
            let body = builder.close();
            prop_assert_eq!(to_usize(body.count().into()), lengths.len());
            for (at, length) in lengths.iter().enumerate() {
                prop_assert_eq!(body.event(10 + to_u64(at)).unwrap(), event(at, *length));
            }
            prop_assert!(body.event(9).is_none());
            prop_assert!(body.event(10 + to_u64(lengths.len())).is_none());
            for at in 0..body.block_count() {
                prop_assert!(body.block(at).unwrap().bytes.len() <= BLOCK_BYTES_MAX);
            }
        }

        #[test]
        fn a_truncated_frame_is_the_frame_without_the_dropped_events(
            lengths in prop::collection::vec(0usize..=7000, 1..40), kept in 0usize..40,
        ) {
            let kept = kept.min(lengths.len());
            let mut builder = FrameBuilder::new(1, 5);
            let mut expected = FrameBuilder::new(1, 5);
            for (at, length) in lengths.iter().enumerate() {
                builder.push(&event(at, *length)).unwrap();
                if at < kept {
                    expected.push(&event(at, *length)).unwrap();
                }
            }
            builder.truncate_to(to_u64(kept));
            prop_assert_eq!(builder.count(), expected.count());
            for frame in [&mut builder, &mut expected] {
                frame.push(b"after").unwrap();
            }
            prop_assert_eq!(builder.bytes(), expected.bytes());
            let (builder, expected) = (builder.close(), expected.close());
            for op in 1..=to_u64(kept) + 1 {
                prop_assert_eq!(builder.event(op), expected.event(op));
            }
        }
    }

    #[test]
    fn the_greatest_batch_fits_one_frame_and_a_frame_never_outgrows_its_limit() {
        let mut builder = FrameBuilder::new(1, 0);
        for _ in 0..COMMANDS_PER_BATCH_MAX {
            builder.push(&[7; EVENT_BYTES_MAX]).unwrap();
            builder.push(&[7; COMMAND_BYTES_MAX - EVENT_BYTES_MAX]).unwrap();
        }
        let mut more = 0;
        while builder.push(&[7; EVENT_BYTES_MAX]).is_ok() {
            more += 1;
        }
        assert!(more < 1000);
        assert_eq!(to_usize(builder.count().into()), 2 * COMMANDS_PER_BATCH_MAX + more);
        assert!(builder.bytes() <= FRAME_BYTES_MAX);
    }

    #[test]
    fn an_event_that_fits_no_frame_is_refused_and_leaves_no_trace() {
        let mut builder = FrameBuilder::new(1, 0);
        builder.push(b"first").unwrap();
        let bytes = builder.bytes();
        let full = builder.push(&[0; PROGRAM_EVENT_BYTES_MAX + 1]).unwrap_err();
        assert_eq!(full.event_bytes, PROGRAM_EVENT_BYTES_MAX + 1);
        assert_eq!((builder.bytes(), builder.count()), (bytes, 1));
        assert_eq!(builder.push(&[0; PROGRAM_EVENT_BYTES_MAX]), Ok(2));
    }
}
