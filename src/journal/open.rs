//! Opening a book, and scanning one offline.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::io::{DirLock, Disk};

use super::book::Book;
use super::catalogue::Catalogue;
use super::error::{Case, JournalError};
use super::layout::{Genesis, SegmentHeader};
use super::recovery::{RecoveryReport, keep_cut, rehome};
use super::segment::{Content, Segment, SegmentFiles, make, remove_all};
use super::walk::{Chain, Sink, Visit, Walked, first_frame_offset, read_genesis, walk};
use super::writer::{Start, Writer};
use super::{Head, JournalOptions};

/// The book on a disk.
pub struct Journal;

/// An open book.
pub struct Opened {
    /// The one writer.
    pub writer: Writer,
    /// The read side.
    pub book: Book,
    /// The book's genesis.
    pub genesis: Genesis,
    /// What was found, and what was done about it.
    pub recovery: RecoveryReport,
}

impl Journal {
    /// Opens the book on `disk`, or begins one with `genesis_if_new` if the directory holds none.
    ///
    /// Every event is verified and shown to `visit` in the order of ops. An error of `visit` is damage at that event's
    /// frame. The end of the book that a crash may leave is cut, loudly; the tail is copied to a new file and synced
    /// before this returns. Nothing is changed if the book is refused.
    pub fn open(
        disk: Arc<dyn Disk>,
        genesis_if_new: impl FnOnce() -> Genesis,
        options: JournalOptions,
        visit: &mut dyn FnMut(Visit<'_>) -> Result<(), String>,
    ) -> Result<Opened, JournalError> {
        options.check()?;
        let lock = disk.try_lock().map_err(JournalError::io("lock", "the directory"))?.ok_or(JournalError::Locked)?;
        let files = SegmentFiles::list(&*disk)?;
        if files.copies.is_empty() {
            return begin(disk, genesis_if_new(), options, &files, lock);
        }
        let walked = walk(&*disk, &files, &mut Sink { visit, on_head: &mut |_| {} })?;
        resume(disk, options, &files, walked, lock)
    }
}

/// Begins a new book.
fn begin(
    disk: Arc<dyn Disk>,
    genesis: Genesis,
    options: JournalOptions,
    files: &SegmentFiles,
    lock: DirLock,
) -> Result<Opened, JournalError> {
    remove_all(&*disk, &files.unfinished)?;
    let (page, hash) = genesis.encode();
    let header = SegmentHeader { index: 0, copy: 0, bytes: options.segment_bytes, book_id: genesis.book_id };
    let content = Content::Genesis(&page);
    let tail = make(&*disk, header, &content, options.syncs_directory(), &AtomicBool::new(false))?;
    let head = Head { op: 0, hash };
    let chain = Chain { head, time_us: genesis.created_at_us, unwitnessed: false };
    let offset = first_frame_offset(0);
    let recovery = RecoveryReport {
        case: Case::NewBook,
        segments: 1,
        frames: 0,
        frame_bytes: 0,
        events: 0,
        last_book_time_us: genesis.created_at_us,
        end_file: tail.name(),
        end_offset: offset,
        torn_bytes: 0,
        cut_file: None,
        leftovers_removed: 0,
    };
    let book = Book::new(disk.clone(), genesis.clone(), head, Catalogue::default(), vec![0]);
    let start = Start { disk, options, genesis: genesis.clone(), book: book.clone(), tail, offset, chain, lock };
    Ok(Opened { writer: Writer::start(start, 0, Vec::new())?, book, genesis, recovery })
}

/// Goes on with a book that was walked to its end.
fn resume(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    files: &SegmentFiles,
    walked: Walked,
    lock: DirLock,
) -> Result<Opened, JournalError> {
    let mut recovery = RecoveryReport::of(&walked);
    remove_all(&*disk, &files.unfinished)?;
    recovery.cut_file = keep_cut(&*disk, &walked)?;
    if recovery.case != Case::CleanEnd {
        tracing::warn!(
            case = recovery.case.name(),
            file = recovery.end_file,
            offset = recovery.end_offset,
            bytes = recovery.torn_bytes,
            kept_in = recovery.cut_file.as_deref().unwrap_or("none"),
            "the end of the book was cut: {}",
            walked.rest.detail
        );
    }
    let (tail, copies) = secure_tail(&*disk, &options, &walked)?;
    remove_all(&*disk, &files.older)?;
    recovery.leftovers_removed = super::to_u64(files.unfinished.len() + files.older.len());
    // Segments made ahead are made again: their names may not have become durable either.
    let spares = || walked.segments.iter().skip(walked.tail + 1).map(|spare| &spare.segment);
    let next_copy = spares().map(|spare| spare.header.copy + 1).max().unwrap_or(0);
    let older = spares().map(Segment::name).collect();
    let Walked { genesis, progress, rest, .. } = walked;
    let (head, chain) = (progress.chain.head, progress.chain);
    let book = Book::new(disk.clone(), genesis.clone(), head, progress.catalogue, copies);
    let offset = rest.offset;
    let start = Start { disk, options, genesis: genesis.clone(), book: book.clone(), tail, offset, chain, lock };
    Ok(Opened { writer: Writer::start(start, next_copy, older)?, book, genesis, recovery })
}

/// Copies every segment whose last frame may not be on the disk to a new file: the tail, and the one before it if all
/// that follows the seal there is empty. Returns the tail and which copy of each segment is in use.
fn secure_tail(
    disk: &dyn Disk,
    options: &JournalOptions,
    walked: &Walked,
) -> Result<(Segment, Vec<u32>), JournalError> {
    let mut used =
        walked.segments.iter().take(walked.tail + 1).map(|walked| walked.segment.clone()).collect::<Vec<_>>();
    let begun = walked.rest.offset > first_frame_offset(super::to_u32(walked.tail));
    let first = if begun { walked.tail } else { walked.tail.saturating_sub(1) };
    for (segment, old) in used.iter_mut().zip(&walked.segments).skip(first) {
        if options.rehomes() {
            *segment = rehome(disk, options, walked, old)?;
        }
    }
    let copies = used.iter().map(|segment| segment.header.copy).collect();
    used.pop().map(|tail| (tail, copies)).ok_or(JournalError::NoBook)
}

/// What a scan found. Nothing was changed.
#[derive(Debug, Clone)]
pub struct ScanReport {
    /// The book's genesis.
    pub genesis: Genesis,
    /// The state after the last frame.
    pub head: Head,
    /// How the book ends; a start would cut the torn bytes named there.
    pub recovery: RecoveryReport,
}

/// Verifies a book offline, from its first byte to its last, and changes nothing.
///
/// Shows every event to `visit`, and to `on_head` the head of the empty book and that after every frame. Takes no lock: what it says of the end of
/// a book that a server is writing at the same time is not to be relied on.
pub fn scan(
    disk: &dyn Disk,
    visit: &mut dyn FnMut(Visit<'_>) -> Result<(), String>,
    on_head: &mut dyn FnMut(Head),
) -> Result<ScanReport, JournalError> {
    let files = SegmentFiles::list(disk)?;
    if files.copies.is_empty() {
        return Err(JournalError::NoBook);
    }
    let walked = walk(disk, &files, &mut Sink { visit, on_head })?;
    let recovery = RecoveryReport::of(&walked);
    Ok(ScanReport { head: walked.progress.chain.head, genesis: walked.genesis, recovery })
}

/// The genesis of the book on `disk`, if there is a book: for whoever needs its secret before the replay.
pub fn genesis_of(disk: &dyn Disk) -> Result<Option<Genesis>, JournalError> {
    let files = SegmentFiles::list(disk)?;
    files.copies.first().map(|copy| read_genesis(disk, *copy).map(|(genesis, _)| genesis)).transpose()
}
