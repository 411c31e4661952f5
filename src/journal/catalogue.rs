//! Where to begin looking for an op: a sparse table in memory, rebuilt by every replay.

use crate::constants::{CATALOGUE_STRIDE_BYTES, PAGE_BYTES};

use super::{to_u32, to_u64, to_usize};

/// A place in the book where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    /// In bytes from the start of the segment's file.
    pub(crate) offset: u64,
}

struct Entry {
    first_op: u64,
    segment: u32,
    page: u32,
}

/// One entry for at least [`CATALOGUE_STRIDE_BYTES`] of book, and one for the first frame of each segment: whoever
/// looks for an op walks the headers forward from its entry and never meets the end of a segment before it.
#[derive(Default)]
pub(crate) struct Catalogue {
    entries: Vec<Entry>,
}

impl Catalogue {
    /// Notes a frame of events. Frames come in the order of the book.
    pub(crate) fn note(&mut self, first_op: u64, place: Place) {
        let far = match self.entries.last() {
            Some(last) => {
                let last_offset = u64::from(last.page) * to_u64(PAGE_BYTES);
                last.segment != place.segment || place.offset >= last_offset + CATALOGUE_STRIDE_BYTES
            }
            None => true,
        };
        if far {
            let page = to_u32(to_usize(place.offset / to_u64(PAGE_BYTES)));
            self.entries.push(Entry { first_op, segment: place.segment, page });
        }
    }

    /// The last entry at or before the frame that holds `op`.
    pub(crate) fn find(&self, op: u64) -> Option<Place> {
        let after = self.entries.partition_point(|entry| entry.first_op <= op);
        let entry = self.entries.get(after.checked_sub(1)?)?;
        Some(Place { segment: entry.segment, offset: u64::from(entry.page) * to_u64(PAGE_BYTES) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_an_op_is_the_last_one_not_behind_it() {
        let mut catalogue = Catalogue::default();
        let place = |segment, offset| Place { segment, offset };
        catalogue.note(1, place(0, 8192));
        catalogue.note(5, place(0, 12288));
        catalogue.note(9, place(0, 8192 + CATALOGUE_STRIDE_BYTES));
        catalogue.note(11, place(1, 4096));
        assert_eq!(catalogue.find(0), None);
        assert_eq!(catalogue.find(8), Some(place(0, 8192)));
        assert_eq!(catalogue.find(9), Some(place(0, 8192 + CATALOGUE_STRIDE_BYTES)));
        assert_eq!(catalogue.find(1000), Some(place(1, 4096)));
        assert_eq!(catalogue.entries.len(), 3);
    }
}
