//! A simulated disk that keeps only what was synced, and a clock that stands still until told.
//!
//! The disk holds two images of everything: the one that the running process sees, and the one that a crash leaves.
//! Bytes and lengths move from the first to the second by a file's sync, names by the directory's. A *failed* sync
//! leaves its file in the state that real systems leave it in: the process goes on seeing its writes, no later sync
//! writes them, and how many of them reached the disk is anybody's guess.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Clock, DirLock, Disk, DiskFile};

/// The unit that a crash keeps, drops or tears.
const SECTOR_BYTES: usize = 512;

/// What a crash does with everything that was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// All of it is gone.
    Dropped,
    /// All of it happens to have reached the disk.
    Kept,
    /// Each sector and each name for itself is gone, kept, or (a sector) torn in the middle.
    Torn,
}

impl Crash {
    /// Every policy, for tests that try them all.
    pub const ALL: [Crash; 3] = [Crash::Dropped, Crash::Kept, Crash::Torn];
}

/// The simulated directory. Clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    names_changed: Vec<NameChange>,
    operations: u64,
    fail: Option<(u64, ErrorKind)>,
    halt_after: Option<u64>,
    random: u64,
    locked: bool,
}

/// A file: as the process sees it, and as a crash leaves it.
#[derive(Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum NameChange {
    Link { name: String, inode: usize },
    Move { from: String, to: String, inode: usize },
    Unlink { name: String },
}

impl SimDisk {
    /// An empty disk. Everything that chance decides follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State { random: seed, ..State::default() })) }
    }

    /// How many operations that change something (create, write, sync, rename, remove, sync of the directory) were tried.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes the `k`-th changing operation, counted from 1 over the disk's life, fail with an I/O error.
    pub fn fail_at(&self, k: u64) {
        self.fail_at_with(k, ErrorKind::Other);
    }

    /// Like [`SimDisk::fail_at`], with an error of the given kind (`StorageFull` for a full disk).
    pub fn fail_at_with(&self, k: u64, kind: ErrorKind) {
        self.lock().fail = Some((k, kind));
    }

    /// Lets the `k`-th changing operation happen and none after it: the machine stops there, and a crash follows.
    pub fn halt_after(&self, k: u64) {
        self.lock().halt_after = Some(k);
    }

    /// The disk as the next start of the machine finds it. This one stays as it is.
    pub fn crash(&self, policy: Crash) -> SimDisk {
        let mut state = self.lock();
        let mut names = state.names_durable.clone();
        for change in state.names_changed.clone() {
            let kept = match policy {
                Crash::Dropped => false,
                Crash::Kept => true,
                Crash::Torn => state.coin(),
            };
            if kept {
                change.apply(&mut names);
            }
        }
        let mut inodes = state.inodes.clone();
        for inode in &mut inodes {
            let dirty = std::mem::take(&mut inode.dirty);
            match policy {
                Crash::Dropped => {}
                Crash::Kept => dirty.iter().for_each(|sector| inode.persist(*sector)),
                Crash::Torn => dirty.iter().for_each(|sector| inode.tear(*sector, state.draw())),
            }
            inode.seen.clone_from(&inode.durable);
        }
        let random = state.draw();
        let next = State { inodes, names_durable: names.clone(), names, random, ..State::default() };
        SimDisk { state: Arc::new(Mutex::new(next)) }
    }

    /// A file's bytes as the process sees them, if it exists.
    pub fn bytes_of(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.inodes.get(*state.names.get(name)?).map(|inode| inode.seen.clone())
    }

    /// Puts `bytes` in place of a file's content, durably and behind everyone's back: damage to order.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.lock();
        let inode = Inode { seen: bytes.to_vec(), durable: bytes.to_vec(), dirty: BTreeSet::new() };
        let at = state.inodes.len();
        state.inodes.push(inode);
        state.names.insert(name.to_owned(), at);
        state.names_durable.insert(name.to_owned(), at);
    }

    /// Takes a file away, durably and behind everyone's back.
    pub fn take(&self, name: &str) {
        let mut state = self.lock();
        state.names.remove(name);
        state.names_durable.remove(name);
    }

    /// Changes one byte of a file, durably and behind everyone's back.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut state = self.lock();
        let Some(inode) = state.names.get(name).copied().and_then(|at| state.inodes.get_mut(at)) else {
            return;
        };
        for image in [&mut inode.seen, &mut inode.durable] {
            if let Some(byte) = image.get_mut(offset) {
                *byte ^= mask;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a changing operation; `Ok(Some(error))` means that this is the one to fail.
    fn begin(&mut self) -> io::Result<Option<io::Error>> {
        self.operations += 1;
        if self.halt_after.is_some_and(|last| self.operations > last) {
            return Err(io::Error::other("the simulated machine has stopped"));
        }
        Ok(self.fail.filter(|(k, _)| *k == self.operations).map(|(_, kind)| io::Error::new(kind, "simulated failure")))
    }

    fn draw(&mut self) -> u64 {
        // SplitMix64: small, and good enough to choose sectors.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.names_changed.push(change);
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::new(ErrorKind::NotFound, name))
    }

    fn inode(&mut self, at: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(at).ok_or_else(|| io::Error::from(ErrorKind::NotFound))
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Link { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Move { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            NameChange::Unlink { name } => {
                names.remove(name);
            }
        }
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        if let Some(place) = self.seen.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        self.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    /// Brings one sector, and the length that it needs, to the disk.
    fn persist(&mut self, sector: usize) {
        self.persist_part(sector, 0..SECTOR_BYTES);
    }

    fn persist_part(&mut self, sector: usize, part: std::ops::Range<usize>) {
        let base = sector * SECTOR_BYTES;
        let end = self.seen.len().min(base + SECTOR_BYTES);
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        let range = (base + part.start).min(end)..(base + part.end).min(end);
        if let (Some(from), Some(to)) = (self.seen.get(range.clone()), self.durable.get_mut(range)) {
            to.copy_from_slice(from);
        }
    }

    /// Drops, keeps or tears one sector; a torn one has the new bytes on one side of a point and the old on the other.
    fn tear(&mut self, sector: usize, chance: u64) {
        let point = usize::try_from(chance >> 8).unwrap_or(0) % SECTOR_BYTES;
        match chance % 4 {
            0 => {}
            1 => self.persist(sector),
            2 => self.persist_part(sector, 0..point),
            _ => self.persist_part(sector, point..SECTOR_BYTES),
        }
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        if let Some(error) = state.begin()? {
            return Err(error);
        }
        if state.names.contains_key(name) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, name));
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change_name(NameChange::Link { name: name.to_owned(), inode });
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.lock().find(name)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(error) = state.begin()? {
            return Err(error);
        }
        let inode = state.find(from)?;
        state.change_name(NameChange::Move { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(error) = state.begin()? {
            return Err(error);
        }
        state.find(name)?;
        state.change_name(NameChange::Unlink { name: name.to_owned() });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        let failure = state.begin()?;
        for change in std::mem::take(&mut state.names_changed) {
            if failure.is_none() || state.coin() {
                change.apply(&mut state.names_durable);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn try_lock(&self) -> io::Result<Option<DirLock>> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        drop(state);
        Ok(Some(DirLock::new(SimLock(self.clone()))))
    }

    fn works_ahead(&self) -> bool {
        false
    }
}

struct SimLock(SimDisk);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.lock().locked = false;
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let seen = state.inode(self.inode)?.seen.get(offset..).unwrap_or_default();
        let length = seen.len().min(buffer.len());
        if let (Some(from), Some(to)) = (seen.get(..length), buffer.get_mut(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let failure = state.begin()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        // A write that fails has got somewhere, or nowhere.
        let done = match failure {
            None => bytes.len(),
            Some(_) => usize::try_from(state.draw() >> 8).unwrap_or(0) % (bytes.len() + 1),
        };
        if let Some(bytes) = bytes.get(..done).filter(|bytes| !bytes.is_empty()) {
            state.inode(self.inode)?.write(bytes, offset);
        }
        failure.map_or(Ok(()), Err)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.lock();
        u64::try_from(state.inode(self.inode)?.seen.len()).map_err(io::Error::other)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let failure = state.begin()?;
        let fate = if failure.is_some() { state.draw() % 3 } else { 0 };
        let dirty = std::mem::take(&mut state.inode(self.inode)?.dirty);
        for sector in dirty {
            // After a failed sync: all, none, or some of it is there.
            if fate == 0 || (fate == 2 && state.coin()) {
                state.inode(self.inode)?.persist(sector);
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// A clock that tells the time it was last given. Both times move together unless [`SimClock::step_wall`] says otherwise.
#[derive(Default)]
pub struct SimClock {
    wall_us: AtomicI64,
    monotonic_us: AtomicU64,
}

impl SimClock {
    /// A clock that shows `wall_us`, in microseconds since the Unix epoch.
    pub fn new(wall_us: i64) -> Self {
        Self { wall_us: AtomicI64::new(wall_us), monotonic_us: AtomicU64::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.wall_us.fetch_add(i64::try_from(us).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.monotonic_us.fetch_add(us, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or a time server does.
    pub fn step_wall(&self, wall_us: i64) {
        self.wall_us.store(wall_us, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn wall_us(&self) -> i64 {
        self.wall_us.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn filled(disk: &SimDisk, name: &str, byte: u8) -> Arc<dyn DiskFile> {
        let file = disk.create(name).unwrap();
        file.write_at(&[byte; 2048], 0).unwrap();
        file
    }

    #[test]
    fn a_crash_keeps_no_name_that_the_directory_sync_did_not() {
        let disk = SimDisk::new(1);
        filled(&disk, "a", 1).sync_data().unwrap();
        assert!(disk.crash(Crash::Dropped).list().unwrap().is_empty());
        disk.sync_dir().unwrap();
        assert_eq!(disk.crash(Crash::Dropped).bytes_of("a").unwrap(), [1; 2048]);
        disk.rename("a", "b").unwrap();
        assert_eq!(disk.crash(Crash::Dropped).list().unwrap(), ["a"]);
        assert_eq!(disk.crash(Crash::Kept).list().unwrap(), ["b"]);
    }

    #[test]
    fn a_crash_keeps_no_bytes_and_no_length_that_the_sync_did_not() {
        let disk = SimDisk::new(2);
        let file = filled(&disk, "a", 1);
        disk.sync_dir().unwrap();
        assert!(disk.crash(Crash::Dropped).bytes_of("a").unwrap().is_empty());
        file.sync_data().unwrap();
        file.write_at(&[2; 1024], 1024).unwrap();
        let dropped = disk.crash(Crash::Dropped).bytes_of("a").unwrap();
        assert_eq!(dropped, [1; 2048]);
        let kept = disk.crash(Crash::Kept).bytes_of("a").unwrap();
        assert_eq!(kept.get(1024..).unwrap(), [2; 1024]);
    }

    #[test]
    fn a_torn_crash_mixes_old_and_new_bytes_in_unsynced_sectors_only() {
        let disk = SimDisk::new(3);
        let file = filled(&disk, "a", 1);
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[2; 1024], 1024).unwrap();
        let mut mixtures = BTreeSet::new();
        for _ in 0..64 {
            let bytes = disk.crash(Crash::Torn).bytes_of("a").unwrap();
            assert_eq!(bytes.get(..1024).unwrap(), [1; 1024]);
            mixtures.insert(bytes);
        }
        assert!(mixtures.len() > 16);
    }

    #[test]
    fn after_a_failed_sync_the_process_sees_what_a_crash_may_not_leave() {
        let mut lost = 0;
        for seed in 0..32 {
            let disk = SimDisk::new(seed);
            let file = filled(&disk, "a", 1);
            disk.sync_dir().unwrap();
            disk.fail_at(disk.operations() + 1);
            assert!(file.sync_data().is_err());
            file.sync_data().unwrap();
            assert_eq!(disk.bytes_of("a").unwrap(), [1; 2048]);
            lost += u32::from(disk.crash(Crash::Kept).bytes_of("a").unwrap() != [1; 2048]);
        }
        assert!((8..32).contains(&lost));
    }

    #[test]
    fn nothing_changes_after_the_machine_has_stopped() {
        let disk = SimDisk::new(5);
        disk.halt_after(2);
        let file = filled(&disk, "a", 1);
        assert!(file.write_at(&[2], 0).is_err());
        assert!(disk.sync_dir().is_err());
        assert_eq!(disk.bytes_of("a").unwrap(), [1; 2048]);
    }
}
