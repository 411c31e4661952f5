//! What a start does with the end of the book, and what it reports. The table of cases is in FORMAT.md.

use std::sync::atomic::AtomicBool;

use crate::io::Disk;

use super::JournalOptions;
use super::error::{Case, JournalError};
use super::layout::SegmentHeader;
use super::reader::Reader;
use super::segment::{Content, Segment, make, remove_all};
use super::walk::{Halt, Progress, Walked, WalkedSegment, walk_segment};
use super::{to_u64, to_usize};

/// What was found when a book was opened or scanned.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RecoveryReport {
    /// How the book ends: [`Case::name`].
    pub case: Case,
    /// Segments that hold frames or are about to.
    pub segments: u64,
    /// Frames of the whole book, the empty ones included.
    pub frames: u64,
    /// Bytes of all these frames, padding included: what the events cost on disk.
    pub frame_bytes: u64,
    /// Events.
    pub events: u64,
    /// Book time of the last frame, in microseconds since the Unix epoch; of the genesis in an empty book.
    pub last_book_time_us: i64,
    /// The segment file in which the book ends.
    pub end_file: String,
    /// Where in it the last frame ends, in bytes.
    pub end_offset: u64,
    /// Bytes behind it that are no frame.
    pub torn_bytes: u64,
    /// The file to which a start has moved these bytes.
    pub cut_file: Option<String>,
    /// Files of earlier starts that were removed.
    pub leftovers_removed: u64,
    /// Events that were shown: those behind the place that the start began from.
    pub replayed_events: u64,
    /// How long reading, verifying and showing took, in microseconds.
    pub walk_us: u64,
    /// How long copying the tail to a new file took, in microseconds.
    pub rehome_us: u64,
}

impl RecoveryReport {
    pub(crate) fn of(walked: &Walked, replayed_events: u64) -> Self {
        Self {
            case: walked.rest.case,
            segments: to_u64(walked.copies.len()),
            frames: walked.progress.counts.frames,
            frame_bytes: walked.progress.counts.frame_bytes,
            events: walked.progress.chain.head.op,
            last_book_time_us: walked.progress.chain.time_us,
            end_file: walked.rest.name.clone(),
            end_offset: walked.rest.offset,
            torn_bytes: walked.rest.torn_bytes,
            cut_file: None,
            leftovers_removed: 0,
            replayed_events,
            walk_us: 0,
            rehome_us: 0,
        }
    }
}

/// Keeps the bytes behind the last frame in a file `cut-<op>`, named after the op that they might have begun, before
/// anything drops them.
pub(crate) fn keep_cut(disk: &dyn Disk, walked: &Walked) -> Result<Option<String>, JournalError> {
    let rest = &walked.rest;
    if rest.torn_bytes == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; to_usize(rest.torn_bytes)];
    walked.tail.segment.file.read_at(&mut bytes, rest.offset).map_err(JournalError::io("read", &rest.name))?;
    let taken = disk.list().map_err(JournalError::io("list", "the directory"))?;
    let op = walked.progress.chain.head.op + 1;
    let names = std::iter::once(format!("cut-{op}")).chain((2u32..).map(|again| format!("cut-{op}.{again}")));
    for name in names {
        if taken.contains(&name) {
            // A start that was itself cut short has kept them already, unless they are from another crash.
            if holds(disk, &name, &bytes)? {
                return Ok(Some(name));
            }
            continue;
        }
        let unfinished = format!("{name}.new");
        let file = disk.create(&unfinished).map_err(JournalError::io("create", &unfinished))?;
        file.write_at(&bytes, 0).map_err(JournalError::io("write", &unfinished))?;
        file.sync_data().map_err(JournalError::io("sync", &unfinished))?;
        disk.rename(&unfinished, &name).map_err(JournalError::io("rename", &unfinished))?;
        disk.sync_dir().map_err(JournalError::io("sync the directory of", &name))?;
        return Ok(Some(name));
    }
    Ok(None)
}

fn holds(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<bool, JournalError> {
    let file = disk.open(name).map_err(JournalError::io("open", name))?;
    let mut found = vec![0; bytes.len() + 1];
    let length = file.read_at(&mut found, 0).map_err(JournalError::io("read", name))?;
    Ok(found.get(..length) == Some(bytes))
}

/// Moves a segment, up to its last frame, to a new file, durably, and removes the old one.
///
/// After a failed sync the system may show what the disk does not hold; copied and synced, it is held.
pub(crate) fn rehome(
    disk: &dyn Disk,
    options: &JournalOptions,
    walked: &Walked,
    old: &WalkedSegment,
) -> Result<Segment, JournalError> {
    let header = SegmentHeader { copy: old.segment.header.copy + 1, ..old.segment.header };
    let content = Content::Copied(&*old.segment.file, old.end);
    let segment = make(disk, header, &content, options.syncs_directory(), &AtomicBool::new(false))?;
    verify_copy(walked, old, &segment)?;
    remove_all(disk, &[old.segment.name()])?;
    Ok(segment)
}

/// What was copied is what was walked: between the two the system may have dropped what the disk does not hold.
fn verify_copy(walked: &Walked, old: &WalkedSegment, copy: &Segment) -> Result<(), JournalError> {
    let index = copy.header.index;
    let mut reader = Reader::new(copy, walked.genesis.segment_key(index))?;
    let mut progress = Progress::at(old.start);
    let mut end = super::walk::first_frame_offset(index);
    let rest = match walk_segment(&mut reader, index, &mut progress, &mut end, &mut |_| Ok(())) {
        Ok(rest) => rest,
        Err(Halt::Error(error)) => return Err(error),
        Err(Halt::Enough) => None,
    };
    let clean = rest.is_none_or(|rest| rest.case == Case::CleanEnd);
    // The segments behind this one, if any, hold no frames.
    if clean && end == old.end && progress.chain == walked.progress.chain {
        Ok(())
    } else {
        let detail = "its copy does not read as it did a moment ago";
        Err(JournalError::damaged(Case::DamagedFrame, &old.segment.name(), end, detail))
    }
}
