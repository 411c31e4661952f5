//! Opening a book, and scanning one offline.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::io::{DirLock, Disk};

use super::book::Book;
use super::error::{Case, JournalError};
use super::layout::{Genesis, SegmentHeader};
use super::recovery::{RecoveryReport, keep_cut, rehome};
use super::replay::{Each, Replay, Shown, show};
use super::segment::{Content, Segment, SegmentFiles, make, remove_all};
use super::walk::{Chain, Progress, Visit, Walked, WalkedSegment, first_frame_offset, read_genesis};
use super::waypoint::Waypoint;
use super::writer::{Start, Writer};
use super::{Head, JournalOptions, to_usize};

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
        Self::open_from(disk, genesis_if_new, options, None, &mut Each { visit, on_end: |_: &Waypoint| {} })
    }

    /// Opens the book on `disk` like [`Journal::open`], and shows `replay` the events behind `from`; all if it is `None`.
    ///
    /// Of the segments before that of `from` only the headers are read; they are verified when their events are read. That segment
    /// is verified from its beginning, and must hold the frame that `from` names.
    ///
    /// # Errors
    /// [`JournalError::EndsBefore`] if the book, or the empty directory, lacks the op of `from`, [`JournalError::NotOnBook`] if it goes on with
    /// another frame there, `Damaged` as for any book. Nothing is changed then.
    pub fn open_from<R: Replay + ?Sized>(
        disk: Arc<dyn Disk>,
        genesis_if_new: impl FnOnce() -> Genesis,
        options: JournalOptions,
        from: Option<&Waypoint>,
        replay: &mut R,
    ) -> Result<Opened, JournalError> {
        let lock = Self::lock(&*disk)?;
        Self::open_locked(disk, lock, genesis_if_new, options, from, replay)
    }

    /// Takes the directory for this process: before anything in it is touched, the book or what is kept beside it.
    ///
    /// # Errors
    /// `Locked` where another process has it, `Io`.
    pub fn lock(disk: &dyn Disk) -> Result<DirLock, JournalError> {
        disk.try_lock().map_err(JournalError::io("lock", "the directory"))?.ok_or(JournalError::Locked)
    }

    /// Opens the book like [`Journal::open_from`] in a directory that this process has taken.
    ///
    /// # Errors
    /// As for [`Journal::open_from`].
    pub fn open_locked<R: Replay + ?Sized>(
        disk: Arc<dyn Disk>,
        lock: DirLock,
        genesis_if_new: impl FnOnce() -> Genesis,
        options: JournalOptions,
        from: Option<&Waypoint>,
        replay: &mut R,
    ) -> Result<Opened, JournalError> {
        options.check()?;
        let files = SegmentFiles::list(&*disk)?;
        if files.copies.is_empty() {
            if let Some(from) = from {
                return Err(JournalError::EndsBefore { known_op: from.op, book_op: 0 });
            }
            return begin(disk, genesis_if_new(), options, &files, lock);
        }
        let began = Instant::now();
        let Shown { walked, events } = show(&*disk, &files, from, None, replay)?;
        let walked = walked.ok_or(JournalError::NoBook)?;
        let mut recovery = RecoveryReport::of(&walked, events);
        recovery.walk_us = micros(began);
        resume(disk, options, &files, walked, recovery, lock)
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
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
        replayed_events: 0,
        walk_us: 0,
        rehome_us: 0,
    };
    let book = Book::new(disk.clone(), genesis.clone(), chain, Progress::at(chain), vec![0]);
    let start = Start { disk, options, genesis: genesis.clone(), book: book.clone(), tail, offset, chain, lock };
    Ok(Opened { writer: Writer::start(start, 0, Vec::new())?, book, genesis, recovery })
}

/// Goes on with a book that was walked to its end.
fn resume(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    files: &SegmentFiles,
    walked: Walked,
    mut recovery: RecoveryReport,
    lock: DirLock,
) -> Result<Opened, JournalError> {
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
    let began = Instant::now();
    let (tail, copies) = secure_tail(&*disk, &options, &walked)?;
    recovery.rehome_us = micros(began);
    remove_all(&*disk, &files.older)?;
    recovery.leftovers_removed = super::to_u64(files.unfinished.len() + files.older.len());
    // Segments made ahead are made again: their names may not have become durable either.
    let Walked { genesis, progress, rest, spares, .. } = walked;
    let next_copy = spares.iter().map(|spare| spare.header.copy + 1).max().unwrap_or(0);
    let older = spares.iter().map(Segment::name).collect();
    let chain = progress.chain;
    let book = Book::new(disk.clone(), genesis.clone(), chain, progress, copies);
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
    let mut copies = walked.copies.clone();
    let begun = walked.rest.offset > first_frame_offset(walked.tail.segment.header.index);
    let mut moved = |old: &WalkedSegment| -> Result<Segment, JournalError> {
        if !options.rehomes() {
            return Ok(old.segment.clone());
        }
        let segment = rehome(disk, options, walked, old)?;
        if let Some(copy) = copies.get_mut(to_usize(segment.header.index.into())) {
            *copy = segment.header.copy;
        }
        Ok(segment)
    };
    if let Some(before) = walked.before.as_ref().filter(|_| !begun) {
        moved(before)?;
    }
    let tail = moved(&walked.tail)?;
    Ok((tail, copies))
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
    let files = book_on(disk)?;
    let (_, hash) = read_genesis(disk, files.copies.first().copied().unwrap_or(0))?;
    on_head(Head { op: 0, hash });
    scan_from(disk, None, &mut Each { visit, on_end: |at: &Waypoint| on_head(Head { op: at.op, hash: at.hash }) })
}

/// Verifies a book offline like [`scan`], behind `from` if there is one, and shows its events to `replay`.
///
/// # Errors
/// As for [`Journal::open_from`].
pub fn scan_from<R: Replay + ?Sized>(
    disk: &dyn Disk,
    from: Option<&Waypoint>,
    replay: &mut R,
) -> Result<ScanReport, JournalError> {
    let began = Instant::now();
    let Shown { walked, events } = show(disk, &book_on(disk)?, from, None, replay)?;
    let walked = walked.ok_or(JournalError::NoBook)?;
    let mut recovery = RecoveryReport::of(&walked, events);
    recovery.walk_us = micros(began);
    Ok(ScanReport { head: walked.progress.chain.head, genesis: walked.genesis, recovery })
}

/// Shows `replay` the events behind `from` up to `op`, even where that lies inside a frame, and none behind it. Changes nothing.
///
/// # Errors
/// [`JournalError::NotFound`] if the book ends before `op`; else as for [`Journal::open_from`].
pub fn scan_to<R: Replay + ?Sized>(
    disk: &dyn Disk,
    from: Option<&Waypoint>,
    op: u64,
    replay: &mut R,
) -> Result<(), JournalError> {
    match show(disk, &book_on(disk)?, from, Some(op), replay)?.walked {
        Some(walked) if walked.progress.chain.head.op < op => Err(JournalError::NotFound(op)),
        _ => Ok(()),
    }
}

/// The files of the book on a disk; there must be one.
pub(crate) fn book_on(disk: &dyn Disk) -> Result<SegmentFiles, JournalError> {
    let files = SegmentFiles::list(disk)?;
    if files.copies.is_empty() { Err(JournalError::NoBook) } else { Ok(files) }
}

/// The genesis of the book on `disk`, if there is a book: for whoever needs its secret before the replay.
pub fn genesis_of(disk: &dyn Disk) -> Result<Option<Genesis>, JournalError> {
    let files = SegmentFiles::list(disk)?;
    files.copies.first().map(|copy| read_genesis(disk, *copy).map(|(genesis, _)| genesis)).transpose()
}
