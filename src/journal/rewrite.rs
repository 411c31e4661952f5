//! Writes the events of one book into another, under another genesis: the same ops, times and bytes, another chain.

use std::sync::Arc;

use crate::io::{Disk, DiskFile};

use super::error::JournalError;
use super::frame::{FrameBody, FrameBuilder};
use super::layout::{FrameHeader, FrameKind, Genesis, SegmentHeader};
use super::reader::PAGE;
use super::segment::{RESTORING, SegmentFiles, segment_name};
use super::verify::laid_out_bytes;
use super::walk::{Chain, Halt, Seen, first_frame_offset, walk};
use super::writer::{finish, lay_out_empty, lay_out_events};
use super::{Head, to_u64, to_usize};

/// Bytes gathered before they are written, and of zeros written at a time.
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// Writes the events of the book on `source` up to the op `last` into an empty `target` as the book of `genesis`, and syncs it. A
/// frame that `last` lies in is cut there. `progress` is told the bytes of the source's frames.
///
/// `segment_bytes` is at least the greatest of the source. Segments are synced when they are full: nothing may be
/// acknowledged from this book before the end.
///
/// # Errors
/// As for [`super::scan`]; the disk's.
pub fn rewrite(
    source: &dyn Disk,
    target: &dyn Disk,
    genesis: &Genesis,
    last: u64,
    segment_bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Head, JournalError> {
    let files = SegmentFiles::list(source)?;
    let mut rewriter = Rewriter::begin(target, genesis, segment_bytes)?;
    let walked = walk(source, &files, None, &mut |seen| {
        progress(seen.end.frame_bytes);
        let first_op = seen.header.first_op;
        if first_op > last {
            return Err(Halt::Enough);
        }
        if seen.header.kind == FrameKind::Events {
            rewriter.append(&body_until(&seen, last)?)?;
        }
        Ok(())
    });
    match walked {
        Err(Halt::Error(error)) => Err(error),
        Ok(_) | Err(Halt::Enough) => rewriter.end(),
    }
}

/// The events of a frame up to `last`.
fn body_until(seen: &Seen<'_>, last: u64) -> Result<FrameBody, JournalError> {
    let (header, frame) = (seen.header, seen.frame);
    let (starts, blocks) = (frame.starts(), frame.blocks_bytes().to_vec());
    let body = FrameBody::from_parts(header.first_op, header.book_time_us, header.count, starts, blocks);
    if seen.end.op <= last {
        return Ok(body);
    }
    let mut builder = FrameBuilder::new(header.first_op, header.book_time_us);
    for event in body.events().take(to_usize(last + 1 - header.first_op)) {
        // What was an event of a frame fits one.
        builder
            .push(event)
            .map_err(|full| JournalError::TooLarge { frame_bytes: full.event_bytes, segment_bytes: 0 })?;
    }
    Ok(builder.close())
}

/// Marks a directory as one that holds no book yet, durably, and removes what an earlier attempt left there.
///
/// # Errors
/// The disk's.
pub(crate) fn begin_rewriting(target: &dyn Disk) -> Result<(), JournalError> {
    let names = target.list().map_err(JournalError::io("list", "the directory"))?;
    if !names.iter().any(|name| name == RESTORING) {
        let file = target.create(RESTORING).map_err(JournalError::io("create", RESTORING))?;
        file.sync_data().map_err(JournalError::io("sync", RESTORING))?;
    }
    target.sync_dir().map_err(JournalError::io("sync the directory of", RESTORING))?;
    for name in names.iter().filter(|name| super::parse_segment_name(name).is_some()) {
        target.remove(name).map_err(JournalError::io("remove", name))?;
    }
    Ok(())
}

/// Makes a directory that was marked a book, durably.
///
/// # Errors
/// The disk's.
pub(crate) fn end_rewriting(target: &dyn Disk) -> Result<(), JournalError> {
    target.remove(RESTORING).map_err(JournalError::io("remove", RESTORING))?;
    target.sync_dir().map_err(JournalError::io("sync the directory of", RESTORING))
}

/// The book that is being written.
struct Rewriter<'a> {
    disk: &'a dyn Disk,
    genesis: &'a Genesis,
    segment_bytes: u64,
    segment: u32,
    file: Arc<dyn DiskFile>,
    /// Bytes of the file that were written.
    written: u64,
    /// Bytes that follow them.
    gathered: Vec<u8>,
    chain: Chain,
    frame: Vec<u8>,
}

impl<'a> Rewriter<'a> {
    fn begin(disk: &'a dyn Disk, genesis: &'a Genesis, segment_bytes: u64) -> Result<Self, JournalError> {
        let (page, hash) = genesis.encode();
        let chain = Chain { head: Head { op: 0, hash }, time_us: genesis.created_at_us, unwitnessed: false };
        let (file, mut gathered) = begin_segment(disk, genesis, 0, segment_bytes)?;
        gathered.extend_from_slice(&page);
        Ok(Self { disk, genesis, segment_bytes, segment: 0, file, written: 0, gathered, chain, frame: Vec::new() })
    }

    fn offset(&self) -> u64 {
        self.written + to_u64(self.gathered.len())
    }

    fn append(&mut self, body: &FrameBody) -> Result<(), JournalError> {
        let frame_bytes = laid_out_bytes(body);
        if self.offset() + to_u64(frame_bytes) + PAGE > self.segment_bytes {
            if self.offset() == first_frame_offset(self.segment) {
                return Err(JournalError::TooLarge { frame_bytes, segment_bytes: self.segment_bytes });
            }
            self.roll()?;
        }
        let header = lay_out_events(body, &self.chain, &mut self.frame);
        self.put(header)
    }

    fn put(&mut self, mut header: FrameHeader) -> Result<(), JournalError> {
        finish(&mut header, &self.genesis.segment_key(self.segment), &mut self.frame);
        self.chain = Chain::after(&header);
        self.gathered.extend_from_slice(&self.frame);
        if self.gathered.len() >= STEP_BYTES { self.flush() } else { Ok(()) }
    }

    fn put_empty(&mut self, kind: FrameKind) -> Result<(), JournalError> {
        let header = lay_out_empty(kind, &self.chain, &mut self.frame);
        self.put(header)
    }

    /// Seals the segment and begins the next.
    fn roll(&mut self) -> Result<(), JournalError> {
        self.put_empty(FrameKind::Seal)?;
        self.fill()?;
        self.segment += 1;
        (self.file, self.gathered) = begin_segment(self.disk, self.genesis, self.segment, self.segment_bytes)?;
        self.written = 0;
        Ok(())
    }

    fn end(mut self) -> Result<Head, JournalError> {
        if self.chain.unwitnessed {
            if self.offset() + 2 * PAGE > self.segment_bytes {
                self.roll()?;
            }
            self.put_empty(FrameKind::Witness)?;
        }
        self.fill()?;
        self.disk.sync_dir().map_err(JournalError::io("sync the directory of", &segment_name(self.segment, 0)))?;
        Ok(self.chain.head)
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        let name = segment_name(self.segment, 0);
        self.file.write_at(&self.gathered, self.written).map_err(JournalError::io("write", &name))?;
        self.written = self.offset();
        self.gathered.clear();
        Ok(())
    }

    /// Writes the file to its full size, and syncs it.
    fn fill(&mut self) -> Result<(), JournalError> {
        while self.offset() < self.segment_bytes {
            let zeros = to_usize(self.segment_bytes - self.offset()).min(STEP_BYTES);
            self.gathered.resize(self.gathered.len() + zeros, 0);
            self.flush()?;
        }
        self.flush()?;
        self.file.sync_data().map_err(JournalError::io("sync", &segment_name(self.segment, 0)))
    }
}

fn begin_segment(
    disk: &dyn Disk,
    genesis: &Genesis,
    index: u32,
    bytes: u64,
) -> Result<(Arc<dyn DiskFile>, Vec<u8>), JournalError> {
    let name = segment_name(index, 0);
    let file = disk.create(&name).map_err(JournalError::io("create", &name))?;
    let header = SegmentHeader { index, copy: 0, bytes, book_id: genesis.book_id };
    Ok((file, header.encode().to_vec()))
}
