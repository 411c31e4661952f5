//! What of a book is settled and may be copied, while it grows or when it has stopped.

use std::sync::Arc;

use crate::io::Disk;

use super::book::Book;
use super::error::JournalError;
use super::layout::Genesis;
use super::open::{book_on, genesis_of, scan_from};
use super::replay::Each;
use super::segment::segment_name;
use super::to_usize;
use super::waypoint::Waypoint;

/// A book up to a place in it: these bytes never change again, whatever is appended.
pub struct Extent {
    disk: Arc<dyn Disk>,
    /// The book's genesis.
    pub genesis: Genesis,
    /// Where it ends.
    pub end: Waypoint,
    /// The segments' files in order; the last counts up to the end only.
    pub names: Vec<String>,
}

impl Extent {
    /// The book that `book` reads, up to its last durable event.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] if there is none; `Damaged` if the book is not what was written.
    pub fn durable(book: &Book) -> Result<Self, JournalError> {
        let end = book.waypoint_at(book.durable_op())?;
        let names = (0..=end.segment).map(|segment| book.segment_file(segment)).collect();
        Ok(Self { disk: book.disk().clone(), genesis: book.genesis().clone(), end, names })
    }

    /// The book on a disk that no process writes, up to its last event; verified behind `from`, or from its beginning.
    ///
    /// # Errors
    /// As for [`scan_from`]; [`JournalError::NotFound`] if it holds no event.
    pub fn stopped(disk: Arc<dyn Disk>, from: Option<&Waypoint>) -> Result<Self, JournalError> {
        let mut end = from.copied();
        // Up to the last event, as of a book that grows: empty frames behind it say nothing more.
        let on_end = |at: &Waypoint| {
            if end.is_none_or(|end| end.op < at.op) {
                end = Some(*at);
            }
        };
        let mut each = Each { visit: &mut |_| Ok(()), on_end };
        let genesis = scan_from(&*disk, from, &mut each)?.genesis;
        let end = end.filter(|end| end.op > 0).ok_or(JournalError::NotFound(1))?;
        let copies = book_on(&*disk)?.copies.into_iter();
        let names = (0..=end.segment).zip(copies).map(|(segment, copy)| segment_name(segment, copy)).collect();
        Ok(Self { disk, genesis, end, names })
    }

    /// The directory that the book is in.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Bytes of a segment's file that belong to it, by its place in `names`.
    ///
    /// # Errors
    /// The disk's.
    pub fn bytes_of(&self, segment: usize) -> Result<u64, JournalError> {
        if segment == to_usize(self.end.segment.into()) {
            return Ok(self.end.offset);
        }
        self.file_bytes(segment)
    }

    /// Bytes of a segment's file, by its place in `names`.
    pub(crate) fn file_bytes(&self, segment: usize) -> Result<u64, JournalError> {
        let name = self.names.get(segment).ok_or(JournalError::NoBook)?;
        let file = self.disk.open(name).map_err(JournalError::io("open", name))?;
        file.len().map_err(JournalError::io("read the length of", name))
    }
}

/// How much of a book a copy of it is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All.
    Whole,
    /// Up to this op, even inside a frame.
    Op(u64),
    /// The frames whose book time is not after this one, in microseconds since the Unix epoch.
    Time(i64),
}

/// Where a book is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutPoint {
    /// The last op that stays; 0 if none does.
    pub op: u64,
    /// The hash of the frame that holds it; of the genesis for op 0.
    pub hash: [u8; 32],
    /// Book time of that frame, in microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The last op of the book.
    pub book_op: u64,
}

/// Verifies a whole book and says where a cut lies in it. `progress` is told the bytes of the frames read so far.
///
/// # Errors
/// [`JournalError::NotFound`] for an op that the book does not hold; else as for [`super::scan`].
pub fn find_cut(disk: &dyn Disk, cut: Cut, progress: &mut dyn FnMut(u64)) -> Result<CutPoint, JournalError> {
    let genesis = genesis_of(disk)?.ok_or(JournalError::NoBook)?;
    let (hash, book_time_us) = (genesis.encode().1, genesis.created_at_us);
    let mut found = CutPoint { op: 0, hash, book_time_us, book_op: 0 };
    let on_end = |at: &Waypoint| {
        progress(at.frame_bytes);
        let wanted = match cut {
            Cut::Whole => true,
            Cut::Op(op) => found.op < op,
            Cut::Time(time) => at.book_time_us <= time,
        };
        // Of the frames that end with an op, the one that holds it counts, and not the empty ones behind it.
        if wanted && at.op > found.op {
            let op = if let Cut::Op(op) = cut { op.min(at.op) } else { at.op };
            found = CutPoint { op, hash: at.hash, book_time_us: at.book_time_us, ..found };
        }
    };
    let report = scan_from(disk, None, &mut Each { visit: &mut |_| Ok(()), on_end })?;
    match cut {
        Cut::Op(op) if op != found.op => Err(JournalError::NotFound(op)),
        _ => Ok(CutPoint { book_op: report.head.op, ..found }),
    }
}
