//! The write side: one thread, one unsynced frame at a time, and nothing more after the first error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::constants::{FRAME_HEADER_BYTES, PAGE_BYTES};
use crate::io::{DirLock, Disk};

use super::book::Book;
use super::catalogue::Place;
use super::error::JournalError;
use super::layout::{FrameHeader, FrameKind, Genesis, SegmentHeader};
use super::segment::{Content, Segment, make, remove_all};
use super::verify::{laid_out_bytes, lay_out};
use super::walk::{Chain, first_frame_offset};
use super::{FrameBody, Head, JournalOptions, padded, to_u32, to_u64};

/// The one writer of a book. Dropping it lets go of the directory.
pub struct Writer {
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    genesis: Genesis,
    book: Book,
    tail: Segment,
    /// Where the next frame goes.
    offset: u64,
    chain: Chain,
    successor: Successor,
    latched: bool,
    /// The one buffer that every frame is laid out in.
    buffer: Vec<u8>,
    _lock: DirLock,
}

/// The segment after the tail.
pub(crate) enum Successor {
    /// Durable.
    Ready(Segment),
    /// Being made on a thread of its own.
    Making { thread: JoinHandle<Result<Segment, JournalError>>, stop: Arc<AtomicBool> },
    /// Not there, after an error.
    None,
}

/// What a writer starts from.
pub(crate) struct Start {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: JournalOptions,
    pub(crate) genesis: Genesis,
    pub(crate) book: Book,
    pub(crate) tail: Segment,
    pub(crate) offset: u64,
    pub(crate) chain: Chain,
    pub(crate) lock: DirLock,
}

impl Writer {
    /// A writer of a book whose tail is durable. `older` are files that the successor replaces, `copy` its number.
    pub(crate) fn start(start: Start, copy: u32, older: Vec<String>) -> Result<Self, JournalError> {
        let Start { disk, options, genesis, book, tail, offset, chain, lock } = start;
        let mut writer = Self {
            disk,
            options,
            genesis,
            book,
            tail,
            offset,
            chain,
            successor: Successor::None,
            latched: false,
            buffer: Vec::new(),
            _lock: lock,
        };
        writer.prepare_successor(copy, older)?;
        // A reopened book shows at once that all that was recovered is synced.
        writer.witness()?;
        Ok(writer)
    }

    /// Chains the frame, writes it, syncs it, and shows it to readers; only then returns the new head.
    ///
    /// The frame begins with the op after the last, at a book time not before the last; one without events changes
    /// nothing. Any error latches: what was given to the failed call may or may not be in the book after a restart, and
    /// every later call returns `Latched`.
    pub fn append(&mut self, frame: Arc<FrameBody>) -> Result<Head, JournalError> {
        self.guarded(|writer| writer.append_events(&frame))
    }

    /// Writes an empty frame, which shows that the last frame was synced, so that damage to it is told from a crash.
    /// Does nothing if there is one. Latches like [`Writer::append`].
    pub fn witness(&mut self) -> Result<Head, JournalError> {
        self.guarded(|writer| {
            if !writer.chain.unwitnessed {
                Ok(writer.chain.head)
            } else if writer.room_for(PAGE_BYTES) {
                writer.append_empty(FrameKind::Witness)
            } else {
                // The seal is a witness too.
                writer.roll()?;
                Ok(writer.chain.head)
            }
        })
    }

    /// The read side of the book.
    pub fn book(&self) -> &Book {
        &self.book
    }

    fn guarded(&mut self, write: impl FnOnce(&mut Self) -> Result<Head, JournalError>) -> Result<Head, JournalError> {
        if self.latched {
            return Err(JournalError::Latched);
        }
        let result = write(self);
        self.latched = result.is_err();
        result
    }

    fn append_events(&mut self, frame: &FrameBody) -> Result<Head, JournalError> {
        let Chain { head, time_us: last_time_us, .. } = self.chain;
        if frame.count() == 0 {
            return Ok(head);
        }
        let (first_op, book_time_us) = (frame.first_op(), frame.book_time_us());
        if first_op != head.op + 1 || book_time_us < last_time_us {
            return Err(JournalError::OutOfOrder { first_op, book_time_us, head, last_time_us });
        }
        let frame_bytes = laid_out_bytes(frame);
        if to_u64(frame_bytes + 2 * PAGE_BYTES) > self.options.segment_bytes {
            return Err(JournalError::TooLarge { frame_bytes, segment_bytes: self.options.segment_bytes });
        }
        if !self.room_for(frame_bytes) {
            self.roll()?;
        }
        let header = lay_out_events(frame, &self.chain, &mut self.buffer);
        self.write(header)
    }

    fn append_empty(&mut self, kind: FrameKind) -> Result<Head, JournalError> {
        let header = lay_out_empty(kind, &self.chain, &mut self.buffer);
        self.write(header)
    }

    /// Whether a frame fits the tail and leaves room for the seal.
    fn room_for(&self, frame_bytes: usize) -> bool {
        self.offset + to_u64(frame_bytes) + to_u64(PAGE_BYTES) <= self.tail.header.bytes
    }

    /// Hashes, pads, writes and syncs the frame that is laid out in the buffer.
    fn write(&mut self, mut header: FrameHeader) -> Result<Head, JournalError> {
        finish(&mut header, &self.genesis.segment_key(self.tail.header.index), &mut self.buffer);
        if self.options.syncs_first() {
            self.write_buffer()?;
            self.sync()?;
        } else {
            self.sync()?;
            self.write_buffer()?;
        }
        self.chain = Chain::after(&header);
        let head = self.chain.head;
        let place = Place { segment: self.tail.header.index, offset: self.offset };
        self.book.publish(head, header.first_op, place, to_u64(self.buffer.len()));
        self.offset += to_u64(self.buffer.len());
        Ok(head)
    }

    fn write_buffer(&self) -> Result<(), JournalError> {
        self.tail.file.write_at(&self.buffer, self.offset).map_err(JournalError::io("write", &self.tail.name()))
    }

    fn sync(&self) -> Result<(), JournalError> {
        self.tail.file.sync_data().map_err(JournalError::io("sync", &self.tail.name()))
    }

    /// Seals the tail and goes on in its successor, which is durable before the seal is written.
    fn roll(&mut self) -> Result<(), JournalError> {
        let next = match std::mem::replace(&mut self.successor, Successor::None) {
            Successor::Ready(segment) => segment,
            Successor::Making { thread, .. } => thread.join().unwrap_or(Err(JournalError::Latched))?,
            Successor::None => return Err(JournalError::Latched),
        };
        self.append_empty(FrameKind::Seal)?;
        self.book.add_segment(&next);
        self.offset = first_frame_offset(next.header.index);
        self.tail = next;
        self.prepare_successor(0, Vec::new())
    }

    /// Makes the segment after the tail, ahead of need: on its own thread where the disk allows, so that rolling over
    /// does not stall. `older` files of it are removed when it is durable.
    fn prepare_successor(&mut self, copy: u32, older: Vec<String>) -> Result<(), JournalError> {
        let header = SegmentHeader {
            index: self.tail.header.index + 1,
            copy,
            bytes: self.options.segment_bytes,
            book_id: self.genesis.book_id,
        };
        let (disk, stop) = (self.disk.clone(), Arc::new(AtomicBool::new(false)));
        let sync_directory = self.options.syncs_directory();
        let stopped = stop.clone();
        let work = move || {
            let segment = make(&*disk, header, &Content::Empty, sync_directory, &stopped).inspect_err(|error| {
                if !stopped.load(Ordering::Relaxed) {
                    // Said now, while there is time: the writer meets it only when the tail is full.
                    tracing::warn!(%error, "the next segment cannot be made; the book stops when this one is full");
                }
            })?;
            remove_all(&*disk, &older)?;
            Ok(segment)
        };
        self.successor = if self.disk.works_ahead() {
            let thread = std::thread::Builder::new().name("journal-ahead".to_owned()).spawn(work);
            let thread = thread.map_err(JournalError::io("start the thread that makes", "the next segment"))?;
            Successor::Making { thread, stop }
        } else {
            Successor::Ready(work()?)
        };
        Ok(())
    }
}

/// Lays out a frame of events that follows `chain`, but for its hash, in `buffer`.
pub(crate) fn lay_out_events(frame: &FrameBody, chain: &Chain, buffer: &mut Vec<u8>) -> FrameHeader {
    let block_count = lay_out(frame, buffer);
    FrameHeader {
        kind: FrameKind::Events,
        count: frame.count(),
        first_op: frame.first_op(),
        book_time_us: frame.book_time_us(),
        blocks_bytes: to_u32(frame.body_bytes()),
        block_count,
        previous_hash: chain.head.hash,
        hash: [0; 32],
    }
}

/// Lays out a frame without events that follows `chain`, but for its hash, in `buffer`.
pub(crate) fn lay_out_empty(kind: FrameKind, chain: &Chain, buffer: &mut Vec<u8>) -> FrameHeader {
    buffer.clear();
    buffer.resize(FRAME_HEADER_BYTES, 0);
    FrameHeader {
        kind,
        count: 0,
        first_op: chain.head.op + 1,
        book_time_us: chain.time_us,
        blocks_bytes: 0,
        block_count: 0,
        previous_hash: chain.head.hash,
        hash: [0; 32],
    }
}

/// Hashes the frame that is laid out in `buffer`, for a segment of this key, and pads it.
pub(crate) fn finish(header: &mut FrameHeader, key: &[u8; 32], buffer: &mut Vec<u8>) {
    let index_start = buffer.len() - header.index_bytes();
    header.hash = header.hash_with(buffer.get(index_start..).unwrap_or_default());
    if let Some(place) = buffer.first_chunk_mut() {
        *place = header.encode(key);
    }
    buffer.resize(padded(buffer.len()), 0);
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nothing of this process touches the directory once the lock is gone.
        if let Successor::Making { thread, stop } = std::mem::replace(&mut self.successor, Successor::None) {
            stop.store(true, Ordering::Relaxed);
            drop(thread.join());
        }
    }
}
