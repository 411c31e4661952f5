//! The store's owner: one thread that begins and commits checkpoints, seals keys and merges runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::folders::{Folders, Kind, META, parse};
use super::keys::Keys;
use super::limits::{METAS_KEPT, OUTGROWN_TENTHS, PAGE_FOLDERS_MAX, TRIALS_MAX};
use super::merge::Runs;
use super::meta::{self, Checkpoint, What, bytes_named};
use super::pages::{Begun, PageKey, Pages};
use super::runs::Entry;
use super::shelf::Shelf;
use super::value::{BookName, Envelope};
use super::{CheckpointReport, StoreError, StoreFigures, StoreOptions};

/// Checkpoints and sealed keys of one book, owned by one thread. After [`StoreError::Unusable`] from anything but
/// [`Store::load`] and [`Store::discard`] nothing more should be asked of it: the owner goes on from the book, and the
/// next start opens or discards what is there.
pub struct Store {
    pub(super) book: BookName,
    pub(super) options: StoreOptions,
    pub(super) envelope: Envelope,
    pub(super) folders: Folders,
    /// The shelf of the metas. None only while everything is being discarded.
    pub(super) meta: Option<Arc<dyn Shelf>>,
    /// The kept metas, newest first.
    pub(super) metas: Vec<Checkpoint>,
    /// The number of the next meta.
    pub(super) sequence: u64,
    /// The ops of the trial balances.
    pub(super) trials: BTreeSet<u64>,
    /// The folders of pages, and the bytes that they take.
    pub(super) page_folders: BTreeMap<u32, u64>,
    pub(super) runs: Runs,
    pub(super) begun: Option<Begun>,
}

impl Store {
    /// The newest checkpoint.
    #[must_use]
    pub fn newest(&self) -> Option<&Checkpoint> {
        self.metas.first()
    }

    /// Brings the newest checkpoint's pages by kind and number, every one verified against the hash that the checkpoint
    /// names. Fails with [`StoreError::Unusable`] where one is missing or unsound, or where `each` says why not; then the
    /// caller calls [`Store::discard`] and starts from the book.
    pub fn load(&self, each: &mut dyn FnMut(PageKey, Vec<u8>) -> Result<(), String>) -> Result<(), StoreError> {
        for page in self.pages()? {
            let (key, image) = page?;
            each(key, image).map_err(|why| StoreError::Unusable(format!("{key:?}: {why}")))?;
        }
        Ok(())
    }

    /// The newest checkpoint's pages, as [`Store::load`] brings them, for a reader who goes on with the store between two.
    /// They are there until the second checkpoint after it is committed. Fails with [`StoreError::Unusable`] where a
    /// folder cannot be opened.
    pub fn pages(&self) -> Result<Pages, StoreError> {
        let due = self.newest().map(|newest| newest.named_pages().collect()).unwrap_or_default();
        Pages::open(&self.envelope, due, &|folder| self.folders.open(Kind::Pages, folder))
    }

    /// Begins a checkpoint of the state at `op`, which is not below the newest one's and at which a seal has ended or
    /// will end before the commit.
    pub fn begin(&mut self, op: u64) -> Result<(), StoreError> {
        if let Some(begun) = &self.begun {
            return Err(StoreError::Refused(format!("a checkpoint at op {} is under way", begun.op)));
        }
        if let Some(newest) = self.newest().filter(|newest| op < newest.op) {
            return Err(StoreError::Refused(format!(
                "a checkpoint at op {op} would be older than the one at {}",
                newest.op
            )));
        }
        if !self.runs.can_end_at(op) {
            return Err(StoreError::Refused(format!("no run of keys ends at op {op}")));
        }
        let (folder, shelf) = self.folders.create(Kind::Pages)?;
        self.page_folders.insert(folder, 0);
        self.begun = Some(Begun::new(op, folder, shelf));
        Ok(())
    }

    /// Writes a page's image, at most once in a checkpoint. Pages that are not put stay as the checkpoint before has them.
    pub fn put_page(&mut self, key: PageKey, image: &[u8]) -> Result<(), StoreError> {
        let begun = self.begun.as_mut().ok_or_else(not_begun)?;
        begun.put(&self.envelope, key, image)
    }

    /// Commits the checkpoint: syncs pages and runs, then the meta. `state_hash` is given the hashes of all pages by kind
    /// and number; every kind has `pages_per_kind` of them. Refused, and still under way, when a page is missing or no
    /// seal has ended at its op.
    pub fn commit(
        &mut self,
        waypoint: Vec<u8>,
        base: Vec<u8>,
        state_hash: impl FnOnce(&mut dyn Iterator<Item = [u8; 32]>) -> [u8; 32],
        pages_per_kind: u32,
        trial: Vec<u8>,
    ) -> Result<CheckpointReport, StoreError> {
        let begun = self.begun.as_mut().ok_or_else(not_begun)?;
        let (op, folder, started) = (begun.op, begun.folder, begun.started);
        let pages = begun.complete(self.metas.first(), pages_per_kind)?;
        let runs = self.runs.named_upto(op);
        let runs = runs.ok_or_else(|| StoreError::Refused(format!("no run of keys ends at op {op}: seal first")))?;
        let written = u64::try_from(begun.pages.len()).unwrap_or(u64::MAX);
        let page_bytes = begun.pages.values().map(|page| u64::from(page.bytes)).sum();
        begun.sync()?;
        self.runs.sync()?;
        let state_hash = state_hash(&mut pages.values().flatten().map(|page| page.hash));
        let (sequence, next_folder) = (self.sequence, self.folders.next);
        // A number is never used twice, whatever became of its meta.
        self.sequence = sequence.saturating_add(1);
        let checkpoint = Checkpoint { sequence, op, waypoint, base, state_hash, pages, runs, next_folder };
        self.write_meta(&checkpoint, &trial)?;
        self.metas.insert(0, checkpoint);
        self.begun = None;
        self.page_folders.insert(folder, self.disk_bytes_of_pages(folder)?);
        self.forget()?;
        let figures = self.disk_by_name()?;
        Ok(CheckpointReport {
            op,
            pages: written,
            page_bytes,
            bytes_named: bytes_named(self.metas.iter()),
            disk_bytes: figures.iter().map(|(_, bytes)| bytes).sum(),
            duration: started.elapsed(),
        })
    }

    fn write_meta(&mut self, checkpoint: &Checkpoint, trial: &[u8]) -> Result<(), StoreError> {
        let shelf = self.meta_shelf()?;
        shelf.write(meta::write_trial(&self.envelope, checkpoint.op, trial)?)?;
        shelf.write(meta::write(&self.envelope, checkpoint)?)?;
        shelf.sync()?;
        self.trials.insert(checkpoint.op);
        Ok(())
    }

    /// Forgets the metas beyond those kept, trial balances beyond the bound, and the folders that nobody names any more.
    pub(super) fn forget(&mut self) -> Result<(), StoreError> {
        let shelf = self.meta_shelf()?;
        for old in self.metas.split_off(METAS_KEPT.min(self.metas.len())) {
            shelf.write(meta::remove(shelf.as_ref(), What::Metas, old.sequence)?)?;
        }
        if self.trials.len() > TRIALS_MAX {
            let thinned: Vec<u64> = self.trials.iter().take(TRIALS_MAX / 2).step_by(2).copied().collect();
            for op in thinned {
                shelf.write(meta::remove(shelf.as_ref(), What::Trials, op)?)?;
                self.trials.remove(&op);
            }
        }
        let pages: BTreeSet<u32> = self.metas.iter().flat_map(Checkpoint::page_folders).collect();
        let begun = self.begun.as_ref().map(|begun| begun.folder);
        let idle = self.page_folders.keys().filter(|number| !pages.contains(number) && Some(**number) != begun);
        for number in idle.copied().collect::<Vec<u32>>() {
            self.page_folders.remove(&number);
            self.folders.remove(Kind::Pages, number)?;
        }
        let runs = self.metas.iter().flat_map(Checkpoint::run_folders).collect();
        self.runs.collect(&self.folders, &runs)
    }

    /// Whether the next checkpoint should put every page: there is none yet, or the folders of its pages are many, or take
    /// more than 2.3 times of what they hold for it. A smaller checkpoint adds no more than twice its own pages, so that
    /// the store stays within three times of what the metas name.
    #[must_use]
    pub fn wants_whole(&self) -> bool {
        let Some(newest) = self.newest() else { return true };
        let folders = newest.page_folders();
        let on_disk: u64 = folders.iter().filter_map(|number| self.page_folders.get(number)).sum();
        let held: u64 = newest.named_pages().map(|(_, page)| u64::from(page.bytes)).sum();
        let outgrown = folders.len() > 1 && on_disk.saturating_mul(10) > held.saturating_mul(OUTGROWN_TENTHS);
        outgrown || folders.len() >= PAGE_FOLDERS_MAX
    }

    /// Adds the keys of the ops above `after` and up to `last`: all of them, each the upper 64 bits of its print and its op,
    /// in any order. `after` is where the seal before ended, or 0. They last once a checkpoint at or above `last` is committed.
    /// While a checkpoint is under way no seal may pass over its op.
    pub fn seal(&mut self, after: u64, last: u64, entries: Vec<Entry>) -> Result<(), StoreError> {
        let cut = self.begun.as_ref().map(|begun| begun.op);
        self.runs.seal(&mut self.folders, (after, last), entries, cut)
    }

    /// Does one piece of merging: some runs of one partition. `false`: there is nothing to do. The partitions it has been
    /// to have a new view: see [`Store::keys`].
    pub fn merge_step(&mut self) -> Result<bool, StoreError> {
        let cut = self.begun.as_ref().map(|begun| begun.op);
        self.runs.merge_step(&mut self.folders, cut)
    }

    /// The sealed keys as they are now, for other threads to ask.
    #[must_use]
    pub fn keys(&mut self) -> Arc<Keys> {
        self.runs.view()
    }

    /// Every key up to this op has been sealed.
    #[must_use]
    pub fn sealed_upto(&self) -> u64 {
        self.runs.upto()
    }

    /// Throws everything away, durably, and starts as an empty store. Views of the keys that others hold go on answering.
    pub fn discard(&mut self) -> Result<(), StoreError> {
        self.begun = None;
        self.metas.clear();
        self.trials.clear();
        self.page_folders.clear();
        self.runs = Runs::new(self.envelope.clone(), self.options.key_filter_bytes_max);
        self.meta = None;
        // The metas go first: without one nothing else is ever looked at.
        self.folders.shelves.remove(META)?;
        for name in self.folders.shelves.list()? {
            if parse(&name).is_some() {
                self.folders.shelves.remove(&name)?;
            }
        }
        self.open_meta()
    }

    /// Figures for logs and for `stampbook verify`.
    pub fn figures(&mut self) -> Result<StoreFigures, StoreError> {
        Ok(StoreFigures {
            disk: self.disk_by_name()?,
            bytes_named: bytes_named(self.metas.iter()),
            keys: self.runs.view().figures(),
        })
    }

    fn disk_by_name(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut names = self.folders.shelves.list()?;
        names.retain(|name| name == META || parse(name).is_some());
        names.sort_unstable();
        let sized = names.into_iter().map(|name| {
            let bytes = self.folders.shelves.disk_bytes(&name)?;
            Ok((name, bytes))
        });
        sized.collect()
    }

    pub(super) fn disk_bytes_of_pages(&self, number: u32) -> Result<u64, StoreError> {
        Ok(self.folders.shelves.disk_bytes(&super::folders::name(Kind::Pages, number))?)
    }

    pub(super) fn meta_shelf(&self) -> Result<Arc<dyn Shelf>, StoreError> {
        self.meta.clone().ok_or_else(|| StoreError::Unusable("the metas are not open".into()))
    }
}

fn not_begun() -> StoreError {
    StoreError::Refused("no checkpoint is under way".into())
}
