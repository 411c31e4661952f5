//! The sealed keys, as other threads look them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;
use super::runs::{Slice, partition_of};
use super::value::Envelope;

/// What look-ups and merges have cost since the store was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) look_ups: AtomicU64,
    pub(crate) may_hold: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) false_hits: AtomicU64,
    pub(crate) merged_keys: AtomicU64,
    pub(crate) merged_bytes: AtomicU64,
}

/// Figures of the sealed keys; the counters count from when the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// Keys sealed.
    pub keys: u64,
    /// The greatest number of runs in a partition, and so of filters that a look-up probes.
    pub runs: u64,
    /// Bytes of memory of the filters.
    pub filter_bytes: u64,
    /// Bytes of memory of all else that a look-up needs.
    pub index_bytes: u64,
    /// Bytes of the runs in the store.
    pub stored_bytes: u64,
    /// Look-ups by [`Keys::may_hold`], and by [`Keys::may_hold_any`] where none may be held.
    pub look_ups: u64,
    /// Those of them that were answered "may hold".
    pub may_hold: u64,
    /// Runs that [`Keys::candidates`] read a block of.
    pub reads: u64,
    /// Those of them that a filter had let pass and that held no such key.
    pub false_hits: u64,
    /// Keys that merges have written.
    pub merged_keys: u64,
    /// Bytes that merges have written.
    pub merged_bytes: u64,
}

/// The keys sealed up to an op: an immutable view that any thread may hold and ask. Its runs stay readable for as long as
/// it lives, so that it should be replaced when [`super::Store::keys`] has a newer one.
pub struct Keys {
    pub(super) envelope: Envelope,
    /// For each partition its runs, oldest first.
    pub(super) partitions: Vec<Vec<Arc<Slice>>>,
    pub(super) upto: u64,
    pub(super) counters: Arc<Counters>,
}

impl Keys {
    /// Every key whose op is at or below this one is in the view, and no other.
    #[must_use]
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// Whether a key of this print and of an op above `after` may be in the view: never `false` when one is. It reads
    /// memory alone, one filter for each run; where a filter is not held in memory the answer is `true`.
    #[must_use]
    pub fn may_hold(&self, print: u128, after: u64) -> bool {
        self.counters.look_ups.fetch_add(1, Ordering::Relaxed);
        let print = upper(print);
        let may = self.newest_first(print, after).any(|slice| slice.may_hold(print));
        if may {
            self.counters.may_hold.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// Whether any key of these prints may be in the view, whatever its op: what [`Self::may_hold`] says of one after the other,
    /// but the filters of all of them wait for memory together.
    #[must_use]
    pub fn may_hold_any(&self, prints: impl Iterator<Item = u128>) -> bool {
        // No look at a filter hangs on what another one said.
        let (may, count) = prints.map(upper).fold((false, 0), |(may, count), print| {
            (self.newest_first(print, 0).fold(may, |may, slice| may | slice.may_hold(print)), count + 1)
        });
        if !may {
            self.counters.look_ups.fetch_add(count, Ordering::Relaxed);
        }
        may
    }

    /// The ops above `after` of all keys that share this print's upper 64 bits, newest first. Whoever asks compares the
    /// events. Reads about one block of 4 KiB for each run that may hold one; fails if the store cannot be read.
    pub fn candidates(&self, print: u128, after: u64) -> Result<Vec<u64>, StoreError> {
        let print = upper(print);
        let mut found = Vec::new();
        for slice in self.newest_first(print, after).filter(|slice| slice.may_hold(print)) {
            let ops = slice.find(&self.envelope, print)?;
            self.counters.reads.fetch_add(1, Ordering::Relaxed);
            if ops.is_empty() && slice.holds_filters() {
                self.counters.false_hits.fetch_add(1, Ordering::Relaxed);
            }
            found.extend(ops.into_iter().rev().filter(|op| *op > after));
        }
        Ok(found)
    }

    fn newest_first(&self, print: u64, after: u64) -> impl Iterator<Item = &Slice> {
        let slices = self.partitions.get(usize::from(partition_of(print))).map(Vec::as_slice).unwrap_or_default();
        slices.iter().rev().map(Arc::as_ref).take_while(move |slice| slice.name.last > after)
    }

    /// Figures for logs and for `stampbook verify`.
    #[must_use]
    pub fn figures(&self) -> KeyFigures {
        let mut figures = KeyFigures {
            look_ups: self.counters.look_ups.load(Ordering::Relaxed),
            may_hold: self.counters.may_hold.load(Ordering::Relaxed),
            reads: self.counters.reads.load(Ordering::Relaxed),
            false_hits: self.counters.false_hits.load(Ordering::Relaxed),
            merged_keys: self.counters.merged_keys.load(Ordering::Relaxed),
            merged_bytes: self.counters.merged_bytes.load(Ordering::Relaxed),
            ..KeyFigures::default()
        };
        for slices in &self.partitions {
            figures.runs = figures.runs.max(u64::try_from(slices.len()).unwrap_or(u64::MAX));
            for slice in slices {
                figures.keys += slice.name.keys;
                figures.stored_bytes += slice.name.bytes;
                figures.filter_bytes += slice.filter_bytes();
                figures.index_bytes += slice.index_bytes();
            }
        }
        figures
    }
}

/// The half of a print that runs know.
fn upper(print: u128) -> u64 {
    u64::try_from(print >> 64).unwrap_or(u64::MAX)
}
