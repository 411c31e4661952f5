//! Small books for the tests of this module.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use crate::io::Disk;
use crate::io::sim::SimDisk;

use super::{FrameBody, FrameBuilder, Genesis, Journal, JournalError, JournalOptions, Opened, scan, to_u64, to_usize};

/// Six pages: header, genesis, three pages of frames, seal.
pub(crate) const SEGMENT_BYTES: u64 = 6 * 4096;

pub(crate) fn genesis() -> Genesis {
    Genesis {
        book_id: [0x42; 16],
        secret: [0x17; 32],
        incarnation: 0,
        parent: None,
        created_at_us: 1_000,
        event_format: 1,
    }
}

pub(crate) fn options() -> JournalOptions {
    JournalOptions::with_segment_bytes(SEGMENT_BYTES)
}

/// The event that a test book has at `op`: of a length of its own, and no byte of it zero.
pub(crate) fn event(op: u64) -> Vec<u8> {
    (0..20 + to_usize(op * 37 % 150)).map(|at| u8::try_from((to_usize(op) * 7 + at) % 250 + 1).unwrap()).collect()
}

/// A frame with the `count` events from `first_op` on.
pub(crate) fn frame(first_op: u64, count: u64) -> Arc<FrameBody> {
    let mut builder = FrameBuilder::new(first_op, 1_000 + i64::try_from(first_op).unwrap());
    for op in first_op..first_op + count {
        assert_eq!(builder.push(&event(op)), Ok(op));
    }
    Arc::new(builder.close())
}

/// Opens the book on `disk` and returns its events with it.
pub(crate) fn open_with(disk: &SimDisk, options: JournalOptions) -> Result<(Opened, Vec<Vec<u8>>), JournalError> {
    let mut events = Vec::new();
    let opened = Journal::open(Arc::new(disk.clone()), genesis, options, &mut |visit| {
        events.push(visit.event.to_vec());
        if visit.op == to_u64(events.len()) { Ok(()) } else { Err("ops are not dense".to_owned()) }
    })?;
    Ok((opened, events))
}

pub(crate) fn open(disk: &SimDisk) -> Result<(Opened, Vec<Vec<u8>>), JournalError> {
    open_with(disk, options())
}

/// Scans the book on `disk` and returns the number of its events.
pub(crate) fn scan_all(disk: &dyn Disk) -> Result<u64, JournalError> {
    scan(disk, &mut |_| Ok(()), &mut |_| {}).map(|report| report.recovery.events)
}

/// A book with frames of these numbers of events, on a disk of its own; witnessed only if asked.
pub(crate) fn book_of(counts: &[u64], witnessed: bool) -> SimDisk {
    let disk = SimDisk::new(1);
    let (mut opened, _) = open(&disk).unwrap();
    let mut op = 1;
    for count in counts {
        opened.writer.append(frame(op, *count)).unwrap();
        op += count;
    }
    if witnessed {
        opened.writer.witness().unwrap();
    }
    disk
}
