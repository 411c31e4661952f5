//! The runs as their owner sees them: sealing new ones, merging old ones, letting go of those that nobody needs.
//!
//! Every partition has the same runs, by range of ops, but for those that a merge has reached and those that it has not.
//! A merge takes neighbours in age through all partitions, one at a time. Where newer runs come to be many meanwhile, those are
//! merged first: a merge of many keys takes longer than the seals of fewer leave room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::StoreError;
use super::folders::{Folders, Kind};
use super::keys::{Counters, Keys};
use super::limits::{PARTITIONS, RUNS_MERGED_AT, RUNS_MERGED_FIRST_AT, RUNS_PER_PARTITION_MAX, SEAL_ENTRIES_MAX};
use super::runs::{Entry, RunFolder, Slice, SliceName, SliceWriter, partition_of};
use super::shelf::Batch;
use super::value::Envelope;

/// All runs of a store.
pub(crate) struct Runs {
    envelope: Envelope,
    /// For each partition its runs, oldest first.
    partitions: Vec<Vec<Arc<Slice>>>,
    upto: u64,
    /// Folders that are open.
    folders: BTreeMap<u32, Arc<RunFolder>>,
    /// Folders that only metas name: nothing reads them any more.
    closed: BTreeSet<u32>,
    /// Folders written since they were last synced.
    unsynced: BTreeSet<u32>,
    /// Those under way. Each is of newer runs than the one before it, and goes first.
    merges: Vec<Merge>,
    filter_bytes: u64,
    filter_bytes_max: u64,
    counters: Arc<Counters>,
    view: Option<Arc<Keys>>,
}

/// The runs within a range of ops, on their way into one.
struct Merge {
    base: u64,
    last: u64,
    folder: Arc<RunFolder>,
    batch: Batch,
    /// The partitions below this one are done.
    next: usize,
}

impl Runs {
    /// No runs at all.
    pub(crate) fn new(envelope: Envelope, filter_bytes_max: u64) -> Self {
        Self {
            envelope,
            partitions: vec![Vec::new(); PARTITIONS],
            upto: 0,
            folders: BTreeMap::new(),
            closed: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            merges: Vec::new(),
            filter_bytes: 0,
            filter_bytes_max,
            counters: Arc::default(),
            view: None,
        }
    }

    /// Opens the runs that a meta names, filters from the newest on.
    pub(crate) fn open(&mut self, folders: &Folders, named: &[Vec<SliceName>], upto: u64) -> Result<(), StoreError> {
        let most = named.iter().map(Vec::len).max().unwrap_or(0);
        let mut partitions: Vec<Vec<Arc<Slice>>> = vec![Vec::new(); PARTITIONS];
        for age in 0..most {
            for (number, (names, slices)) in named.iter().zip(&mut partitions).enumerate() {
                let Some(name) = names.iter().rev().nth(age).cloned() else { continue };
                let folder = if name.keys == 0 { None } else { Some(self.folder(folders, name.folder)?) };
                let number = u8::try_from(number).map_err(|_| StoreError::Unusable("too many partitions".into()))?;
                let filters = self.filter_bytes < self.filter_bytes_max;
                let slice = Slice::open(name, number, folder, &self.envelope, filters)?;
                self.filter_bytes += slice.filter_bytes();
                slices.insert(0, Arc::new(slice));
            }
        }
        self.partitions = partitions;
        self.upto = upto;
        self.view = None;
        self.hold_filters_in_bounds();
        Ok(())
    }

    fn folder(&mut self, folders: &Folders, number: u32) -> Result<Arc<RunFolder>, StoreError> {
        if let Some(folder) = self.folders.get(&number) {
            return Ok(folder.clone());
        }
        let shelf = folders.open(Kind::Keys, number)?;
        let folder = Arc::new(RunFolder { number, shelf });
        self.folders.insert(number, folder.clone());
        Ok(folder)
    }

    /// Folders that lie on the disk and are not opened: they go when no meta names them.
    pub(crate) fn leave_closed(&mut self, numbers: impl Iterator<Item = u32>) {
        self.closed.extend(numbers.filter(|number| !self.folders.contains_key(number)));
    }

    pub(crate) fn upto(&self) -> u64 {
        self.upto
    }

    /// The newest view.
    pub(crate) fn view(&mut self) -> Arc<Keys> {
        let view = self.view.get_or_insert_with(|| {
            Arc::new(Keys {
                envelope: self.envelope.clone(),
                partitions: self.partitions.clone(),
                upto: self.upto,
                counters: self.counters.clone(),
            })
        });
        view.clone()
    }

    /// Whether a checkpoint at `op` can name runs that hold every key up to it and none above.
    pub(crate) fn can_end_at(&self, op: u64) -> bool {
        let merging = self.merges.iter().any(|merge| merge.base < op && op < merge.last);
        op >= self.upto || (!merging && self.named_upto(op).is_some())
    }

    /// The runs that hold every key up to `op` and none above; `None` if no run ends there.
    pub(crate) fn named_upto(&self, op: u64) -> Option<Vec<Vec<SliceName>>> {
        let within = |slices: &Vec<Arc<Slice>>| {
            let names = slices.iter().map(|slice| &slice.name).filter(|name| name.last <= op);
            let names: Vec<SliceName> = names.cloned().collect();
            (names.last().map_or(0, |name| name.last) == op).then_some(names)
        };
        self.partitions.iter().map(within).collect()
    }

    /// Adds the keys of the ops above `after` and up to `last`, all of them. No later merge joins across `cut`.
    pub(crate) fn seal(
        &mut self,
        folders: &mut Folders,
        (after, last): (u64, u64),
        mut entries: Vec<Entry>,
        cut: Option<u64>,
    ) -> Result<(), StoreError> {
        self.check_seal((after, last), &entries, cut)?;
        if last == after {
            return Ok(());
        }
        entries.sort_unstable();
        let into_newest = self.make_room(folders, last, to_u64(entries.len()), cut)?;
        let folder = self.create(folders)?;
        let mut batch = folder.batch();
        let mut slices = Vec::with_capacity(PARTITIONS);
        let mut rest = entries.as_slice();
        for (number, old) in (0..=u8::MAX).zip(&self.partitions) {
            let (mine, others) = rest.split_at(rest.partition_point(|entry| partition_of(entry.0) <= number));
            rest = others;
            let newest = old.last().filter(|_| into_newest);
            let base = newest.map_or(after, |slice| slice.name.base);
            let mut writer = SliceWriter::new(&self.envelope, (&folder, &mut batch), (number, base, last))?;
            let mut mine = mine.iter().copied();
            match newest {
                None => mine.try_for_each(|entry| writer.push(entry))?,
                Some(newest) => {
                    join(vec![Box::new(newest.entries(&self.envelope)), Box::new(mine.map(Ok))], &mut writer)?;
                }
            }
            let slice = writer.finish()?;
            if newest.is_some() {
                self.count_merge(&slice);
            }
            slices.push(slice);
        }
        batch.flush()?;
        for (slices, slice) in self.partitions.iter_mut().zip(slices) {
            self.filter_bytes += slice.filter_bytes();
            if let Some(old) = slices.pop_if(|_| into_newest) {
                self.filter_bytes -= old.filter_bytes();
            }
            slices.push(Arc::new(slice));
        }
        self.upto = last;
        self.view = None;
        self.hold_filters_in_bounds();
        self.close_idle();
        Ok(())
    }

    fn check_seal(&self, (after, last): (u64, u64), entries: &[Entry], cut: Option<u64>) -> Result<(), StoreError> {
        let refuse = |text: String| Err(StoreError::Refused(text));
        if after != self.upto || last < after {
            return refuse(format!(
                "keys of the ops above {after} and up to {last} do not follow those up to {}",
                self.upto
            ));
        }
        if let Some(cut) = cut.filter(|cut| after < *cut && *cut < last) {
            return refuse(format!("a seal from {after} to {last} passes the op {cut} of the checkpoint under way"));
        }
        if entries.len() > SEAL_ENTRIES_MAX {
            return refuse(format!("{} keys in one seal are over {SEAL_ENTRIES_MAX}", entries.len()));
        }
        match entries.iter().find(|entry| entry.1 <= after || entry.1 > last) {
            Some((_, op)) => refuse(format!("a key of op {op} in a seal of the ops above {after} and up to {last}")),
            None => Ok(()),
        }
    }

    /// Sees to it that every partition can take one more run. `true`: the newest one takes what is sealed, so many keys, since merges of
    /// older ones are under way and would take longer.
    fn make_room(&mut self, folders: &mut Folders, last: u64, keys: u64, cut: Option<u64>) -> Result<bool, StoreError> {
        while self.is_full() {
            let newest = |slices: &Vec<Arc<Slice>>| slices.last().map_or(0, |slice| slice.name.keys);
            let is_small = self.partitions.iter().map(newest).sum::<u64>() <= keys.saturating_mul(2);
            let base = self.partitions.first().and_then(|slices| slices.last()).map_or(0, |slice| slice.name.base);
            let apart = self.merges.last().is_some_and(|merge| merge.last <= base);
            let takes = apart && cut.is_none_or(|cut| cut <= base || last <= cut);
            if takes && is_small {
                return Ok(true);
            }
            if !self.step(folders, cut, true)? {
                return Err(StoreError::Unusable("a full partition has no runs to merge".into()));
            }
        }
        Ok(false)
    }

    fn is_full(&self) -> bool {
        self.partitions.iter().any(|slices| slices.len() >= RUNS_PER_PARTITION_MAX)
    }

    /// Merges runs of one partition, if there is cause to. No merge joins across `cut`.
    pub(crate) fn merge_step(&mut self, folders: &mut Folders, cut: Option<u64>) -> Result<bool, StoreError> {
        self.step(folders, cut, false)
    }

    /// A step of the last merge, after beginning one of newer runs where those are many, or where a seal waits for it and they are two.
    fn step(&mut self, folders: &mut Folders, cut: Option<u64>, awaited: bool) -> Result<bool, StoreError> {
        if let Some((base, last)) = self.choose(cut, awaited) {
            let folder = self.create(folders)?;
            let batch = folder.batch();
            self.merges.push(Merge { base, last, folder, batch, next: 0 });
        }
        let Some(merge) = self.merges.last_mut() else { return Ok(false) };
        while let Some(slices) = self.partitions.get_mut(merge.next) {
            let number = u8::try_from(merge.next).unwrap_or(u8::MAX);
            merge.next += 1;
            let from = slices.partition_point(|slice| slice.name.base < merge.base);
            let to = slices.partition_point(|slice| slice.name.last <= merge.last);
            let old = slices.get(from..to).unwrap_or_default();
            let (Some(first), Some(newest)) = (old.first(), old.last()) else { continue };
            // A merge that a restart broke off may have joined them already, or one of them with what is not within the range.
            if old.len() < 2 || (first.name.base, newest.name.last) != (merge.base, merge.last) {
                continue;
            }
            let range = (number, merge.base, merge.last);
            let mut writer = SliceWriter::new(&self.envelope, (&merge.folder, &mut merge.batch), range)?;
            let entries = old.iter().map(|slice| -> Entries<'_> { Box::new(slice.entries(&self.envelope)) });
            join(entries.collect(), &mut writer)?;
            let slice = writer.finish()?;
            merge.batch.flush()?;
            self.filter_bytes += slice.filter_bytes();
            self.filter_bytes -= old.iter().map(|slice| slice.filter_bytes()).sum::<u64>();
            let slice = Arc::new(slice);
            slices.splice(from..to, [slice.clone()]);
            self.unsynced.insert(merge.folder.number);
            self.view = None;
            self.count_merge(&slice);
            self.hold_filters_in_bounds();
            return Ok(true);
        }
        self.merges.pop();
        self.close_idle();
        Ok(true)
    }

    /// A merge to begin: a range of ops behind those under a merge. `None` while every partition has few runs there.
    fn choose(&self, cut: Option<u64>, awaited: bool) -> Option<(u64, u64)> {
        let many = match (awaited, self.merges.is_empty()) {
            (true, _) => 2,
            (false, true) => RUNS_MERGED_AT,
            (false, false) => RUNS_MERGED_FIRST_AT,
        };
        let fullest = self.partitions.iter().max_by_key(|slices| slices.len())?;
        let busy = self.merges.last().map_or(0, |merge| merge.last);
        let ranges = fullest.iter().map(|slice| (slice.name.base, slice.name.last));
        let ranges: Vec<(u64, u64)> = ranges.filter(|(base, _)| busy <= *base).collect();
        if ranges.len() < many {
            return None;
        }
        let sizes: Vec<u64> = ranges.iter().map(|range| self.keys_within(*range, 0)).collect();
        let within = |from: usize, to: usize| Some((ranges.get(from)?.0, ranges.get(to)?.1));
        let may = |from: usize, to: usize| {
            let free = |(base, last)| cut.is_none_or(|cut| cut <= base || last <= cut);
            within(from, to).is_some_and(free)
        };
        // A merge of many keys leaves room for the seals that come meanwhile.
        let roomy = fullest.len() + RUNS_MERGED_FIRST_AT <= RUNS_PER_PARTITION_MAX;
        let (from, to) = if awaited || !roomy { least(&sizes, may)? } else { most_alike(&sizes, may)? };
        let chosen = within(from, to)?;
        // Who waits for room gets it sooner from a merge that is nearly done.
        let left = self.merges.last().map(|merge| self.keys_within((merge.base, merge.last), merge.next));
        let sooner = awaited && left.is_some_and(|left| left <= self.keys_within(chosen, 0));
        (!sooner).then_some(chosen)
    }

    /// Keys of the ops of a range, in the partitions from one on.
    fn keys_within(&self, (base, last): (u64, u64), partition: usize) -> u64 {
        let slices = self.partitions.iter().skip(partition).flatten().map(|slice| &slice.name);
        slices.filter(|name| name.base >= base && name.last <= last).map(|name| name.keys).sum()
    }

    fn create(&mut self, folders: &mut Folders) -> Result<Arc<RunFolder>, StoreError> {
        let (number, shelf) = folders.create(Kind::Keys)?;
        let folder = Arc::new(RunFolder { number, shelf });
        self.folders.insert(number, folder.clone());
        self.unsynced.insert(number);
        Ok(folder)
    }

    fn count_merge(&self, slice: &Slice) {
        self.counters.merged_keys.fetch_add(slice.name.keys, Ordering::Relaxed);
        self.counters.merged_bytes.fetch_add(slice.name.bytes, Ordering::Relaxed);
    }

    /// Drops the oldest filters from memory until the rest is within the bound.
    fn hold_filters_in_bounds(&mut self) {
        let most = self.partitions.iter().map(Vec::len).max().unwrap_or(0);
        for age in 0..most {
            for slices in &mut self.partitions {
                if self.filter_bytes <= self.filter_bytes_max {
                    return;
                }
                if let Some(slice) = slices.get_mut(age).filter(|slice| slice.filter_bytes() > 0) {
                    self.filter_bytes -= slice.filter_bytes();
                    *slice = Arc::new(slice.without_filters());
                    self.view = None;
                }
            }
        }
    }

    /// Makes all that was sealed and merged durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        for number in &self.unsynced {
            if let Some(folder) = self.folders.get(number) {
                folder.shelf.sync()?;
            }
        }
        self.unsynced.clear();
        Ok(())
    }

    /// Closes the folders that nobody reads. A meta may name them, and that meta was synced after them.
    fn close_idle(&mut self) {
        self.folders.retain(|number, folder| {
            let read = Arc::strong_count(folder) > 1;
            if !read {
                self.unsynced.remove(number);
                self.closed.insert(*number);
            }
            read
        });
    }

    /// Removes the folders that neither a kept meta names nor anybody can still read.
    pub(crate) fn collect(&mut self, folders: &Folders, named: &BTreeSet<u32>) -> Result<(), StoreError> {
        // The view that is at hand holds its runs too: it is made anew when it is next asked for.
        self.view = None;
        self.close_idle();
        let unnamed: Vec<u32> = self.closed.difference(named).copied().collect();
        for number in unnamed {
            self.closed.remove(&number);
            folders.remove(Kind::Keys, number)?;
        }
        Ok(())
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What a run holds of a partition, in order.
type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, StoreError>> + 'a>;

/// Writes the entries of all, in order.
fn join(runs: Vec<Entries<'_>>, writer: &mut SliceWriter<'_>) -> Result<(), StoreError> {
    let mut heads = Vec::with_capacity(runs.len());
    for mut run in runs {
        if let Some(entry) = run.next().transpose()? {
            heads.push((entry, run));
        }
    }
    // They are few: to look at each is no slower than a heap.
    while let Some(at) = (0..heads.len()).min_by_key(|at| heads.get(*at).map(|head| head.0)) {
        let Some(head) = heads.get_mut(at) else { break };
        writer.push(head.0)?;
        match head.1.next().transpose()? {
            Some(entry) => head.0 = entry,
            None => drop(heads.remove(at)),
        }
    }
    Ok(())
}

/// The neighbours, first and last, of which the oldest is least times as large as the others together. Taking those with the least sum
/// instead would never let the middle ones grow, and write every key as often as there are seals.
fn most_alike(sizes: &[u64], may: impl Fn(usize, usize) -> bool) -> Option<(usize, usize)> {
    let mut best: Option<((usize, usize), u64, u64)> = None;
    for (from, &oldest) in sizes.iter().enumerate() {
        let mut others: u64 = 0;
        for (to, newer) in sizes.iter().enumerate().skip(from + 1) {
            others = others.saturating_add(*newer);
            let other = others.max(1);
            let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
            let better = best.is_none_or(|(_, a, b)| product(oldest, b) < product(a, other));
            if better && may(from, to) {
                best = Some(((from, to), oldest, other));
            }
        }
    }
    best.map(|(range, _, _)| range)
}

/// The two neighbours that are the quickest to merge.
fn least(sizes: &[u64], may: impl Fn(usize, usize) -> bool) -> Option<(usize, usize)> {
    let pairs = sizes.windows(2).enumerate().filter(|(at, _)| may(*at, at + 1));
    pairs
        .min_by_key(|(_, pair)| pair.iter().fold(0, |sum: u64, keys| sum.saturating_add(*keys)))
        .map(|(at, _)| (at, at + 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_seals_write_each_key_seven_times_and_not_hundreds() {
        let mut runs: Vec<u64> = Vec::new();
        let mut written = 0;
        for _ in 0..1_000 {
            runs.extend([1]);
            while runs.len() >= RUNS_MERGED_AT {
                let (from, to) = most_alike(&runs, |_, _| true).unwrap();
                let sum = runs.splice(from..=to, []).sum();
                runs.insert(from, sum);
                written += sum;
            }
        }
        assert!(written / 1_000 <= 7, "{written}");
    }

    #[test]
    fn no_runs_are_taken_that_may_not_be_joined() {
        assert_eq!(most_alike(&[8, 1, 1], |from, to| (from, to) == (0, 1)), Some((0, 1)));
        assert_eq!(most_alike(&[8, 1, 1], |_, _| true), Some((1, 2)));
        assert_eq!(most_alike(&[8, 1, 1], |_, _| false), None);
        assert_eq!(most_alike(&[8, 5, 5, 5], |_, _| true), Some((1, 3)));
        assert_eq!(least(&[8, 5, 4, 6, 9, 1], |_, _| true), Some((1, 2)));
        assert_eq!(least(&[8, 5, 4, 6, 9, 1], |from, _| from != 1), Some((2, 3)));
        assert_eq!(least(&[8, 5], |_, _| false), None);
    }
}
