//! The read side: any thread, one event or one frame at a time, never past what is durable.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::constants::{FRAME_HEADER_BYTES, SEGMENTS_OPEN_MAX};
use crate::io::{Disk, DiskFile};

use super::catalogue::{Catalogue, Place, Spot};
use super::error::{Case, JournalError};
use super::frame::{Block, FrameBody};
use super::layout::{FrameHeader, Genesis, PageFault};
use super::segment::{Segment, segment_name};
use super::verify::{Fault, Frame, Index};
use super::walk::{Chain, Progress};
use super::{Head, to_u64, to_usize};

/// The book as readers see it. Clones share it.
#[derive(Clone)]
pub struct Book {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    genesis: Genesis,
    durable_op: AtomicU64,
    frame_bytes: AtomicU64,
    head: RwLock<Head>,
    catalogue: Mutex<Catalogue>,
    /// Which copy is in use of each segment that frames have reached.
    copies: RwLock<Vec<u32>>,
    /// Files that were read last, the latest first.
    open: Mutex<VecDeque<OpenFile>>,
}

/// A segment's file, open for reading.
#[derive(Clone)]
pub(crate) struct OpenFile {
    pub(crate) segment: u32,
    pub(crate) name: Arc<str>,
    pub(crate) key: [u8; 32],
    pub(crate) file: Arc<dyn DiskFile>,
}

/// An event read back from the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its op.
    pub op: u64,
    /// Book time of its frame, in microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The event's bytes.
    pub bytes: Vec<u8>,
}

/// A block of events read back from the book.
#[derive(Debug)]
pub struct StoredBlock {
    first_op: u64,
    book_time_us: i64,
    count: u32,
    bytes: Vec<u8>,
}

impl StoredBlock {
    /// Book time of its frame, in microseconds since the Unix epoch.
    pub fn book_time_us(&self) -> i64 {
        self.book_time_us
    }

    /// The bytes of the event of this op, if it is in this block.
    pub fn event(&self, op: u64) -> Option<&[u8]> {
        let at = u32::try_from(op.checked_sub(self.first_op)?).ok()?;
        Block { bytes: &self.bytes, first: 0, count: self.count }.event(at)
    }
}

impl Book {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        genesis: Genesis,
        chain: Chain,
        progress: Progress,
        copies: Vec<u32>,
    ) -> Self {
        let head = chain.head;
        let shared = Shared {
            disk,
            genesis,
            durable_op: AtomicU64::new(head.op),
            frame_bytes: AtomicU64::new(progress.counts.frame_bytes),
            head: RwLock::new(head),
            catalogue: Mutex::new(progress.catalogue),
            copies: RwLock::new(copies),
            open: Mutex::new(VecDeque::new()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The last op that is synced; 0 in an empty book.
    pub fn durable_op(&self) -> u64 {
        self.shared.durable_op.load(Ordering::Acquire)
    }

    /// The state after the last frame that is synced.
    pub fn head(&self) -> Head {
        *self.shared.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The genesis of the book.
    pub fn genesis(&self) -> &Genesis {
        &self.shared.genesis
    }

    /// Bytes of all synced frames from the genesis on, padding included: what a replay from the start reads.
    pub fn frame_bytes(&self) -> u64 {
        self.shared.frame_bytes.load(Ordering::Acquire)
    }

    /// Shows a synced frame to readers: the new head, the frame's first op, where it begins, and its bytes.
    pub(crate) fn publish(&self, head: Head, first_op: u64, place: Place, frame_bytes: u64) {
        let shared = &self.shared;
        self.catalogue().note(first_op, place, frame_bytes);
        *shared.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        shared.frame_bytes.fetch_add(frame_bytes, Ordering::AcqRel);
        shared.durable_op.store(head.op, Ordering::Release);
    }

    pub(crate) fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.shared.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells readers of the segment that the next frames are in.
    pub(crate) fn add_segment(&self, segment: &Segment) {
        self.shared.copies.write().unwrap_or_else(PoisonError::into_inner).push(segment.header.copy);
    }

    /// Reads one event and verifies it: the frame's header, its index against the frame's hash, and the one block.
    ///
    /// `NotFound` for op 0 and for ops that are not durable; `Damaged` if the book is not what was written.
    pub fn read(&self, op: u64) -> Result<StoredEvent, JournalError> {
        let block = self.read_block_of(op)?;
        let bytes = block.event(op).ok_or(JournalError::NotFound(op))?.to_vec();
        Ok(StoredEvent { op, book_time_us: block.book_time_us, bytes })
    }

    /// Reads and verifies the block that holds `op`, as [`Book::read`] does: for whoever wants several events, which often lie
    /// together.
    ///
    /// `NotFound` for op 0 and for ops that are not durable; `Damaged` if the book is not what was written.
    pub fn read_block_of(&self, op: u64) -> Result<StoredBlock, JournalError> {
        let found = self.locate(op)?;
        let header = &found.header;
        let (blocks_bytes, at) =
            (to_u64(to_usize(header.blocks_bytes.into())), found.offset + to_u64(FRAME_HEADER_BYTES));
        let index_bytes = found.open.bytes(at + blocks_bytes, header.index_bytes())?;
        let index = Index::verify(header, &index_bytes).map_err(|fault| found.damaged(&fault))?;
        let in_frame = u32::try_from(op - header.first_op).unwrap_or(u32::MAX);
        let short = Fault { at: 0, what: "the frame's index does not lead to the op" };
        let range =
            index.block_of(in_frame).and_then(|block| Some((block, index.start(block)?, index.start(block + 1)?)));
        let Some((block_at, start, next)) = range else {
            return Err(found.damaged(&short));
        };
        let length = to_usize(next.byte.saturating_sub(start.byte).into());
        let bytes = found.open.bytes(at + u64::from(start.byte), length)?;
        let Block { first, count, .. } = index.verify_block(block_at, &bytes).map_err(|fault| found.damaged(&fault))?;
        let first_op = header.first_op + u64::from(first);
        let block = StoredBlock { first_op, book_time_us: header.book_time_us, count, bytes };
        if block.event(op).is_some() { Ok(block) } else { Err(found.damaged(&short)) }
    }

    /// Reads and verifies the whole frame that holds `op`: for scans, which go on at its `first_op() + count()`.
    ///
    /// `NotFound` for op 0 and for ops that are not durable; `Damaged` if the book is not what was written.
    pub fn read_frame_of(&self, op: u64) -> Result<FrameBody, JournalError> {
        let found = self.locate(op)?;
        let header = &found.header;
        let bytes = found.open.bytes(found.offset, header.frame_bytes())?;
        let frame = Frame::verify(header, &bytes).map_err(|fault| found.damaged(&fault))?;
        frame.blocks().map_err(|fault| found.damaged(&fault))?;
        let (starts, blocks) = (frame.starts(), frame.blocks_bytes().to_vec());
        Ok(FrameBody::from_parts(header.first_op, header.book_time_us, header.count, starts, blocks))
    }

    /// Finds the frame that holds `op`: to the nearest entry of the catalogue, and along the headers from there.
    pub(crate) fn locate(&self, op: u64) -> Result<Found, JournalError> {
        if op == 0 || op > self.durable_op() {
            return Err(JournalError::NotFound(op));
        }
        let (segment, Spot { mut offset, mut frames }) = self.spot_of(op)?;
        let open = self.open(segment)?;
        loop {
            let header = open.header(offset)?;
            if header.first_op > op {
                return Err(open.damaged(Case::BrokenChain, offset, "the ops before this frame are missing"));
            }
            if op - header.first_op < u64::from(header.count) {
                return Ok(Found { open, header, offset, frames });
            }
            offset += to_u64(header.frame_bytes());
            frames += 1;
        }
    }

    pub(crate) fn open(&self, segment: u32) -> Result<OpenFile, JournalError> {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.iter().position(|file| file.segment == segment);
        if let Some(file) = known.and_then(|at| open.remove(at)) {
            open.push_front(file.clone());
            return Ok(file);
        }
        let name = self.segment_file(segment);
        let file = self.shared.disk.open(&name).map_err(JournalError::io("open", &name))?;
        let key = self.shared.genesis.segment_key(segment);
        let file = OpenFile { segment, name: name.into(), key, file };
        open.push_front(file.clone());
        open.truncate(SEGMENTS_OPEN_MAX);
        Ok(file)
    }

    /// The name of a segment's file.
    pub(crate) fn segment_file(&self, segment: u32) -> String {
        let copies = self.shared.copies.read().unwrap_or_else(PoisonError::into_inner);
        segment_name(segment, copies.get(to_usize(segment.into())).copied().unwrap_or(0))
    }

    /// The directory that the book is in.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }
}

impl OpenFile {
    fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, JournalError> {
        let mut bytes = vec![0; length];
        // What the file lacks stays zero, which no hash matches.
        self.file.read_at(&mut bytes, offset).map_err(JournalError::io("read", &self.name))?;
        Ok(bytes)
    }

    /// The header of a frame that is there.
    pub(crate) fn header(&self, offset: u64) -> Result<FrameHeader, JournalError> {
        let bytes = self.bytes(offset, FRAME_HEADER_BYTES)?;
        FrameHeader::decode(&bytes, &self.key).map_err(|fault| match fault {
            PageFault::Bad(what) => self.damaged(Case::DamagedFrame, offset, what),
            PageFault::Version(_) => self.damaged(Case::UnknownVersion, offset, "it is of a later version"),
        })
    }

    pub(crate) fn damaged(&self, case: Case, offset: u64, what: &str) -> JournalError {
        JournalError::damaged(case, &self.name, offset, what)
    }
}

/// The frame of an op.
pub(crate) struct Found {
    pub(crate) open: OpenFile,
    pub(crate) header: FrameHeader,
    pub(crate) offset: u64,
    /// Frames of the segment that lie before it.
    pub(crate) frames: u64,
}

impl Found {
    fn damaged(&self, fault: &Fault) -> JournalError {
        self.open.damaged(Case::DamagedFrame, self.offset + to_u64(fault.at), fault.what)
    }
}
