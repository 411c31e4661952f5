//! Segment files: their names, finding them, and making one durably before anything relies on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::constants::PAGE_BYTES;
use crate::io::{Disk, DiskFile};

use super::error::{Case, JournalError};
use super::layout::SegmentHeader;
use super::{to_u64, to_usize};

/// Files are written and copied in steps of this size, each synced: a frame's sync never waits behind a whole segment.
const STEP_BYTES: usize = 2 * 1024 * 1024;
const SEGMENT_PREFIX: &str = "segment-";
/// Files whose making was cut short.
const CUT_PREFIX: &str = "cut-";
const UNFINISHED_SUFFIX: &str = ".new";
/// Lies in a directory for as long as the book in it is not whole.
pub(crate) const RESTORING: &str = "RESTORING";

/// The name of a segment's file. The copy counts how often a start has moved the segment to a new file.
pub(crate) fn segment_name(index: u32, copy: u32) -> String {
    format!("{SEGMENT_PREFIX}{index:08}.{copy:04}")
}

/// The index and the copy in the name of a segment's file.
pub(crate) fn parse_name(name: &str) -> Option<(u32, u32)> {
    let (index, copy) = name.strip_prefix(SEGMENT_PREFIX)?.split_once('.')?;
    let (index, copy) = (index.parse().ok()?, copy.parse().ok()?);
    (segment_name(index, copy) == name).then_some((index, copy))
}

/// The files of a book, by what their names say.
pub(crate) struct SegmentFiles {
    /// The copy to use of each segment, by index.
    pub(crate) copies: Vec<u32>,
    /// Older copies that a crash left over. They may go when the newest copy is sure to be durable.
    pub(crate) older: Vec<String>,
    /// Files that were never finished, and may go at once.
    pub(crate) unfinished: Vec<String>,
}

impl SegmentFiles {
    /// Lists the directory. A hole among the segments is damage, and what a restore has not finished is no book.
    pub(crate) fn list(disk: &dyn Disk) -> Result<Self, JournalError> {
        let mut newest: BTreeMap<u32, u32> = BTreeMap::new();
        let (mut older, mut unfinished) = (Vec::new(), Vec::new());
        for name in disk.list().map_err(JournalError::io("list", "the directory"))? {
            if name == RESTORING {
                return Err(JournalError::NotRestored);
            }
            let ours = [SEGMENT_PREFIX, CUT_PREFIX].iter().any(|prefix| name.starts_with(prefix));
            if ours && name.ends_with(UNFINISHED_SUFFIX) {
                unfinished.push(name);
            } else if let Some((index, copy)) = parse_name(&name) {
                // The greater copy was complete and synced before it got its name.
                let outdone = match newest.get(&index) {
                    Some(known) if *known > copy => Some(copy),
                    _ => newest.insert(index, copy),
                };
                older.extend(outdone.map(|copy| segment_name(index, copy)));
            }
        }
        let mut copies = Vec::with_capacity(newest.len());
        for (expected, (index, copy)) in (0..).zip(newest) {
            if index != expected {
                let (missing, detail) = (segment_name(expected, 0), format!("segment {index} is there"));
                return Err(JournalError::damaged(Case::MissingSegment, &missing, 0, detail));
            }
            copies.push(copy);
        }
        Ok(Self { copies, older, unfinished })
    }
}

/// A segment and its file.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Segment {
    pub(crate) fn name(&self) -> String {
        segment_name(self.header.index, self.header.copy)
    }
}

/// What a new segment file holds behind its header, before the zeros.
pub(crate) enum Content<'a> {
    /// Nothing.
    Empty,
    /// The genesis page of a new book.
    Genesis(&'a [u8; PAGE_BYTES]),
    /// What another copy of the segment holds up to this offset.
    Copied(&'a dyn DiskFile, u64),
}

/// Makes a segment file in full size, every byte of it written, and durable with its name before this returns.
///
/// Zeros are written, not merely reserved: syncing a frame into written blocks changes no metadata, which halves its cost.
/// `stop` makes it give up between two steps.
pub(crate) fn make(
    disk: &dyn Disk,
    header: SegmentHeader,
    content: &Content<'_>,
    sync_directory: bool,
    stop: &AtomicBool,
) -> Result<Segment, JournalError> {
    let name = segment_name(header.index, header.copy);
    let unfinished = format!("{name}{UNFINISHED_SUFFIX}");
    let file = disk.create(&unfinished).map_err(JournalError::io("create", &unfinished))?;
    let mut step = Vec::new();
    let mut offset = 0;
    while offset < header.bytes {
        if stop.load(Ordering::Relaxed) {
            return Err(JournalError::Latched);
        }
        step.clear();
        step.resize(to_usize((header.bytes - offset).min(to_u64(STEP_BYTES))), 0);
        fill(&mut step, offset, &header, content).map_err(JournalError::io("read", &name))?;
        file.write_at(&step, offset).map_err(JournalError::io("write", &unfinished))?;
        file.sync_data().map_err(JournalError::io("sync", &unfinished))?;
        offset += to_u64(step.len());
    }
    disk.rename(&unfinished, &name).map_err(JournalError::io("rename", &unfinished))?;
    if sync_directory {
        disk.sync_dir().map_err(JournalError::io("sync the directory of", &name))?;
    }
    Ok(Segment { header, file })
}

/// Fills one zeroed step of a new file that begins at `offset`.
fn fill(step: &mut [u8], offset: u64, header: &SegmentHeader, content: &Content<'_>) -> std::io::Result<()> {
    if let Content::Copied(source, end) = content {
        let length = to_usize(end.saturating_sub(offset)).min(step.len());
        if let Some(place) = step.get_mut(..length) {
            source.read_at(place, offset)?;
        }
    }
    if offset == 0 {
        let mut pages = step.chunks_exact_mut(PAGE_BYTES);
        if let Some(page) = pages.next() {
            page.copy_from_slice(&header.encode());
        }
        if let (Content::Genesis(genesis), Some(page)) = (content, pages.next()) {
            page.copy_from_slice(*genesis);
        }
    }
    Ok(())
}

/// Removes files that nothing relies on any more. Should a crash bring one back, the next start removes it again.
pub(crate) fn remove_all(disk: &dyn Disk, names: &[String]) -> Result<(), JournalError> {
    for name in names {
        disk.remove(name).map_err(JournalError::io("remove", name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::io::sim::SimDisk;

    fn named(names: &[&str]) -> Result<SegmentFiles, JournalError> {
        let disk = SimDisk::new(0);
        names.iter().for_each(|name| disk.put(name, b""));
        SegmentFiles::list(&disk)
    }

    #[test]
    fn the_greatest_copy_of_a_segment_is_used_and_the_others_are_left_over() {
        let files = named(&[
            "segment-00000000.0002",
            "segment-00000000.0010",
            "segment-00000001.0000",
            "segment-00000001.0001.new",
        ])
        .unwrap();
        assert_eq!(files.copies, [10, 0]);
        assert_eq!(files.older, ["segment-00000000.0002"]);
        assert_eq!(files.unfinished, ["segment-00000001.0001.new"]);
    }

    #[test]
    fn other_files_are_left_alone() {
        let files = named(&["LOCK", "cut-17", "segment-1.0", "segment-00000000.0000.bak", "notes.new"]).unwrap();
        assert!(files.copies.is_empty() && files.older.is_empty() && files.unfinished.is_empty());
    }

    #[test]
    fn a_hole_among_the_segments_is_damage() {
        let error = named(&["segment-00000000.0000", "segment-00000002.0000"]).err().unwrap();
        let JournalError::Damaged { file, case: Case::MissingSegment, .. } = error else { panic!("{error}") };
        assert_eq!(file, "segment-00000001.0000");
        assert!(named(&["segment-00000001.0000"]).is_err());
    }
}
