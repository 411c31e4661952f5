//! Where to begin looking for an op: the first op of every segment, and sparse tables of those that were read or written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::constants::{CATALOGUE_STRIDE_BYTES, CATALOGUE_TABLES_MAX, PAGE_BYTES};

use super::walk::first_frame_offset;
use super::{to_u32, to_u64, to_usize};

/// A place in the book where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    /// In bytes from the start of the segment's file.
    pub(crate) offset: u64,
}

/// Where in its segment to begin looking, and how many frames of the segment lie before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) offset: u64,
    pub(crate) frames: u64,
}

/// Frames and their bytes, padding included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
}

impl Counts {
    pub(crate) fn plus(self, more: Counts) -> Counts {
        Counts { frames: self.frames + more.frames, frame_bytes: self.frame_bytes + more.frame_bytes }
    }

    /// What lies before `less` of it.
    pub(crate) fn minus(self, less: Counts) -> Counts {
        Counts {
            frames: self.frames.saturating_sub(less.frames),
            frame_bytes: self.frame_bytes.saturating_sub(less.frame_bytes),
        }
    }
}

struct Entry {
    first_op: u64,
    page: u32,
    frames: u32,
}

/// One entry for at least [`CATALOGUE_STRIDE_BYTES`] of a segment, and one for its first frame: whoever looks for an op
/// walks the headers forward from its entry and never meets the end of the segment before it.
#[derive(Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    counts: Counts,
}

impl Table {
    /// Notes a frame. Frames come in the order of the book.
    pub(crate) fn note(&mut self, first_op: u64, offset: u64, frame_bytes: u64) {
        let far = self.entries.last().is_none_or(|last| {
            let last_offset = u64::from(last.page) * to_u64(PAGE_BYTES);
            offset >= last_offset + CATALOGUE_STRIDE_BYTES
        });
        if far {
            let page = to_u32(to_usize(offset / to_u64(PAGE_BYTES)));
            self.entries.push(Entry { first_op, page, frames: to_u32(to_usize(self.counts.frames)) });
        }
        self.counts = self.counts.plus(Counts { frames: 1, frame_bytes });
    }

    /// The last entry at or before the frame that holds `op`.
    pub(crate) fn find(&self, op: u64) -> Option<Spot> {
        self.spot(self.entries.partition_point(|entry| entry.first_op <= op).checked_sub(1)?)
    }

    /// The entry at `at`.
    pub(crate) fn spot(&self, at: usize) -> Option<Spot> {
        let entry = self.entries.get(at)?;
        Some(Spot { offset: u64::from(entry.page) * to_u64(PAGE_BYTES), frames: entry.frames.into() })
    }

    pub(crate) fn spots(&self) -> usize {
        self.entries.len()
    }

    /// All of the segment's frames.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

/// What is known of a segment without its table.
struct Start {
    first_op: u64,
    /// What lies before it in the book, where that was counted.
    before: Option<Counts>,
}

/// Where an op is to be looked for.
pub(crate) enum Find {
    /// From here on in its segment.
    At(u32, Spot),
    /// In this segment, whose table is to be built first.
    Segment(u32),
}

/// All segments that hold frames. The tables of the last one and of some that were used last are in memory; any other is
/// built again when it is asked for.
#[derive(Default)]
pub(crate) struct Catalogue {
    starts: Vec<Start>,
    tail_segment: Option<u32>,
    tail: Table,
    /// Tables of earlier segments, each with the time of its last use.
    tables: BTreeMap<u32, (u64, Arc<Table>)>,
    uses: u64,
}

impl Catalogue {
    /// Notes the next segment by the first op in it, without its frames.
    pub(crate) fn skip(&mut self, first_op: u64) {
        let before = self.starts.is_empty().then(Counts::default);
        self.starts.push(Start { first_op, before });
    }

    /// Notes a frame. Frames come in the order of the book.
    pub(crate) fn note(&mut self, first_op: u64, place: Place, frame_bytes: u64) {
        if self.tail_segment != Some(place.segment) {
            let finished = std::mem::take(&mut self.tail);
            let before = match (self.starts.last(), self.tail_segment) {
                (None, _) => Some(Counts::default()),
                (Some(last), Some(_)) => last.before.map(|before| before.plus(finished.counts)),
                (Some(_), None) => None,
            };
            if let Some(segment) = self.tail_segment.replace(place.segment) {
                self.keep(segment, Arc::new(finished));
            }
            self.starts.push(Start { first_op, before });
        }
        self.tail.note(first_op, place.offset, frame_bytes);
    }

    /// Says what lies in the book up to the end of the frame that was noted last.
    pub(crate) fn counted(&mut self, counts: Counts) {
        let before = counts.minus(self.tail.counts);
        if let Some(last) = self.starts.last_mut() {
            last.before = Some(before);
        }
    }

    /// Where to look for `op`.
    pub(crate) fn find(&mut self, op: u64) -> Option<Find> {
        let segment = to_u32(self.starts.partition_point(|start| start.first_op <= op).checked_sub(1)?);
        if self.tail_segment == Some(segment) {
            return self.tail.find(op).map(|spot| Find::At(segment, spot));
        }
        match self.table(segment) {
            Some(table) => table.find(op).map(|spot| Find::At(segment, spot)),
            None => Some(Find::Segment(segment)),
        }
    }

    /// How many segments hold frames.
    pub(crate) fn segments(&self) -> u32 {
        to_u32(self.starts.len())
    }

    /// Whether this is the segment that frames are being added to.
    pub(crate) fn is_tail(&self, segment: u32) -> bool {
        self.tail_segment == Some(segment)
    }

    /// The entries of the segment that frames are being added to.
    pub(crate) fn tail_spots(&self) -> Vec<Spot> {
        (0..self.tail.spots()).filter_map(|at| self.tail.spot(at)).collect()
    }

    /// The table of an earlier segment, if it is in memory.
    pub(crate) fn table(&mut self, segment: u32) -> Option<Arc<Table>> {
        self.uses += 1;
        let (used, table) = self.tables.get_mut(&segment)?;
        *used = self.uses;
        Some(table.clone())
    }

    /// Keeps the table of an earlier segment, in place of the one that was not used for longest if there are too many.
    pub(crate) fn keep(&mut self, segment: u32, table: Arc<Table>) {
        self.uses += 1;
        self.tables.insert(segment, (self.uses, table));
        if self.tables.len() > CATALOGUE_TABLES_MAX {
            let oldest = self.tables.iter().min_by_key(|(_, (used, _))| *used).map(|(segment, _)| *segment);
            oldest.map(|segment| self.tables.remove(&segment));
        }
    }

    /// The last segment up to `segment` before which everything was counted, and what lies before it.
    pub(crate) fn nearest_counted(&self, segment: u32) -> Option<(u32, Counts)> {
        let starts = self.starts.iter().enumerate().take(to_usize(segment.into()) + 1);
        starts.rev().find_map(|(at, start)| Some((to_u32(at), start.before?)))
    }

    /// Says what lies before a segment.
    pub(crate) fn set_before(&mut self, segment: u32, before: Counts) {
        if let Some(start) = self.starts.get_mut(to_usize(segment.into())) {
            start.before = Some(before);
        }
    }
}

/// Bytes of a segment's frames up to `offset`.
pub(crate) fn frame_bytes_until(place: Place) -> u64 {
    place.offset.saturating_sub(first_frame_offset(place.segment))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place(segment: u32, offset: u64) -> Place {
        Place { segment, offset }
    }

    fn at(catalogue: &mut Catalogue, op: u64) -> Option<Place> {
        match catalogue.find(op)? {
            Find::At(segment, spot) => Some(place(segment, spot.offset)),
            Find::Segment(_) => None,
        }
    }

    #[test]
    fn the_entry_of_an_op_is_the_last_one_not_behind_it() {
        let mut catalogue = Catalogue::default();
        catalogue.note(1, place(0, 8192), 4096);
        catalogue.note(5, place(0, 12288), 4096);
        catalogue.note(9, place(0, 8192 + CATALOGUE_STRIDE_BYTES), 4096);
        catalogue.note(11, place(1, 4096), 4096);
        assert_eq!(at(&mut catalogue, 0), None);
        assert_eq!(at(&mut catalogue, 8), Some(place(0, 8192)));
        assert_eq!(at(&mut catalogue, 9), Some(place(0, 8192 + CATALOGUE_STRIDE_BYTES)));
        assert_eq!(at(&mut catalogue, 1000), Some(place(1, 4096)));
        assert_eq!(catalogue.nearest_counted(1), Some((1, Counts { frames: 3, frame_bytes: 3 * 4096 })));
    }

    #[test]
    fn a_skipped_segment_is_known_by_its_first_op_and_asks_for_its_table() {
        let mut catalogue = Catalogue::default();
        [1, 10].into_iter().for_each(|first| catalogue.skip(first));
        catalogue.note(20, place(2, 4096), 4096);
        assert!(matches!(catalogue.find(19), Some(Find::Segment(1))));
        assert_eq!(at(&mut catalogue, 20), Some(place(2, 4096)));
        assert_eq!(catalogue.nearest_counted(2), Some((0, Counts::default())));
        catalogue.counted(Counts { frames: 8, frame_bytes: 9 * 4096 });
        assert_eq!(catalogue.nearest_counted(2), Some((2, Counts { frames: 7, frame_bytes: 8 * 4096 })));
    }

    #[test]
    fn no_more_tables_are_kept_than_the_limit_and_those_in_use_stay() {
        let mut catalogue = Catalogue::default();
        for segment in 0..2 * to_u32(CATALOGUE_TABLES_MAX) {
            catalogue.keep(segment, Arc::default());
            assert!(catalogue.table(0).is_some());
        }
        assert_eq!(catalogue.tables.len(), CATALOGUE_TABLES_MAX);
    }
}
