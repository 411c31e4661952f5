//! Simulated shelves: they keep in a crash only what was synced, fail or stop where they are told, and can be tampered with.
//!
//! As on [`crate::io::sim::SimDisk`], everything has two images: the one that the running process sees, and the one that
//! a crash leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shelf::{Change, Shelf, ShelfError, Shelves};
use crate::io::sim::Crash;

/// What a shelf holds.
pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// The simulated directory of shelves. Clones share it.
#[derive(Clone)]
pub struct SimShelves {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tables: BTreeMap<String, Table>,
    durable: BTreeMap<String, Entries>,
    /// Shelves that cannot be opened.
    poisoned: BTreeSet<String>,
    operations: u64,
    fail_at: Option<u64>,
    /// Whether a write that fails says so, or the calls after it.
    fails_late: bool,
    halt_after: Option<u64>,
    random: u64,
    /// Tables get a number each, so that a handle of a removed one does not reach the next of its name.
    next_table: u64,
}

#[derive(Clone, Default)]
struct Table {
    number: u64,
    seen: Entries,
    /// Changes since the last sync.
    unsynced: Vec<Change>,
    /// Whether a write failed and did not say so.
    failed: bool,
}

impl SimShelves {
    /// No shelves. Everything that chance decides follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State { random: seed, ..State::default() })) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations that change something (create, write, sync, remove) were tried.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes the `k`-th changing operation, counted from 1, fail: how much of it happened is anybody's guess.
    pub fn fail_at(&self, k: u64) {
        let mut state = self.lock();
        (state.fail_at, state.fails_late) = (Some(k), false);
    }

    /// As [`SimShelves::fail_at`]; but where it is a write, the calls after it fail, as those of a shelf do that writes in the background.
    pub fn fail_late_at(&self, k: u64) {
        let mut state = self.lock();
        (state.fail_at, state.fails_late) = (Some(k), true);
    }

    /// Lets the `k`-th changing operation happen and none after it.
    pub fn halt_after(&self, k: u64) {
        self.lock().halt_after = Some(k);
    }

    /// The shelves as the next start of the machine finds them. These stay as they are.
    #[must_use]
    pub fn crash(&self, policy: Crash) -> SimShelves {
        let mut state = self.lock();
        let mut durable = state.durable.clone();
        for (name, table) in state.tables.clone() {
            if table.unsynced.is_empty() && durable.contains_key(&name) {
                continue;
            }
            if policy == Crash::Dropped || (policy == Crash::Torn && !durable.contains_key(&name) && state.coin()) {
                continue;
            }
            let entries = durable.entry(name).or_default();
            let kept = |_: &Change| policy == Crash::Kept || state.coin();
            let changes: Vec<Change> = table.unsynced.into_iter().filter(kept).collect();
            apply(entries, &changes);
        }
        let mut next = State { random: state.draw(), durable: durable.clone(), ..State::default() };
        for (name, seen) in durable {
            let number = next.number();
            next.tables.insert(name, Table { number, seen, ..Table::default() });
        }
        SimShelves { state: Arc::new(Mutex::new(next)) }
    }

    /// What the shelf of that name holds, to look at or to put back later.
    #[must_use]
    pub fn entries(&self, name: &str) -> Option<Entries> {
        self.lock().tables.get(name).map(|table| table.seen.clone())
    }

    /// Puts a shelf in the place of the one of that name, durably; `None` takes it away.
    pub fn put(&self, name: &str, entries: Option<Entries>) {
        let mut state = self.lock();
        let number = state.number();
        match entries {
            Some(seen) => {
                state.durable.insert(name.to_owned(), seen.clone());
                state.tables.insert(name.to_owned(), Table { number, seen, ..Table::default() });
            }
            None => {
                state.durable.remove(name);
                state.tables.remove(name);
            }
        }
    }

    /// Makes the shelf of that name fail to open from now on, until it is removed.
    pub fn poison(&self, name: &str) {
        self.lock().poisoned.insert(name.to_owned());
    }
}

impl State {
    fn draw(&mut self) -> u64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }

    fn number(&mut self) -> u64 {
        self.next_table += 1;
        self.next_table
    }

    /// Counts a changing operation; `true` if it is the one that fails.
    fn begin(&mut self) -> Result<bool, ShelfError> {
        self.operations += 1;
        if self.halt_after.is_some_and(|last| self.operations > last) {
            return Err(ShelfError::Unusable("the machine has stopped".into()));
        }
        Ok(self.fail_at == Some(self.operations))
    }
}

fn apply(entries: &mut Entries, changes: &[Change]) {
    for (key, value) in changes {
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
}

fn outcome(name: &str, failed: bool) -> Result<(), ShelfError> {
    if failed { Err(ShelfError::Unusable(format!("{name}: a simulated failure"))) } else { Ok(()) }
}

impl Shelves for SimShelves {
    fn open(&self, name: &str) -> Result<Arc<dyn Shelf>, ShelfError> {
        let mut state = self.lock();
        if state.poisoned.contains(name) {
            return Err(ShelfError::Unusable(format!("{name}: the database panicked")));
        }
        if !state.tables.contains_key(name) {
            let failed = state.begin()?;
            let number = state.number();
            state.tables.insert(name.to_owned(), Table { number, ..Table::default() });
            outcome(name, failed)?;
        }
        let number = state.tables.get_mut(name).map_or(0, |table| {
            table.failed = false;
            table.number
        });
        Ok(Arc::new(SimShelf { shelves: self.clone(), name: name.to_owned(), number }))
    }

    fn remove(&self, name: &str) -> Result<(), ShelfError> {
        let mut state = self.lock();
        if !state.tables.contains_key(name) {
            return Ok(());
        }
        let failed = state.begin()?;
        state.poisoned.remove(name);
        if failed && state.coin() {
            return outcome(name, failed);
        }
        state.tables.remove(name);
        state.durable.remove(name);
        outcome(name, failed)
    }

    fn list(&self) -> Result<Vec<String>, ShelfError> {
        Ok(self.lock().tables.keys().cloned().collect())
    }

    fn disk_bytes(&self, name: &str) -> Result<u64, ShelfError> {
        let bytes = |table: &Table| table.seen.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        Ok(self.lock().tables.get(name).map_or(0, |table| u64::try_from(bytes(table)).unwrap_or(u64::MAX)))
    }
}

struct SimShelf {
    shelves: SimShelves,
    name: String,
    number: u64,
}

impl SimShelf {
    fn table<T>(&self, state: &mut State, work: impl FnOnce(&mut Table) -> T) -> Result<T, ShelfError> {
        let table = state.tables.get_mut(&self.name).filter(|table| table.number == self.number);
        let table = table.ok_or_else(|| ShelfError::Unusable(format!("{}: it was removed", self.name)))?;
        outcome(&self.name, table.failed)?;
        Ok(work(table))
    }
}

impl Shelf for SimShelf {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.table(&mut self.shelves.lock(), |table| table.seen.get(key).cloned())
    }

    fn write(&self, batch: Vec<Change>) -> Result<(), ShelfError> {
        let mut state = self.shelves.lock();
        let failed = state.begin()?;
        // A write that fails has got somewhere, or nowhere.
        let done = if failed { batch.into_iter().filter(|_| state.coin()).collect() } else { batch };
        self.table(&mut state, |table| {
            apply(&mut table.seen, &done);
            table.unsynced.extend(done);
            table.failed = failed;
        })?;
        outcome(&self.name, failed && !state.fails_late)
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ShelfError> {
        // A copy, so that `each` may use the shelves.
        let found: Vec<(Vec<u8>, Vec<u8>)> = self.table(&mut self.shelves.lock(), |table| {
            let within = table.seen.range(from.to_vec()..).take_while(|(key, _)| key.as_slice() < to);
            within.map(|(key, value)| (key.clone(), value.clone())).collect()
        })?;
        for (key, value) in found {
            if !each(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), ShelfError> {
        let mut state = self.shelves.lock();
        let failed = state.begin()?;
        let changes = self.table(&mut state, |table| std::mem::take(&mut table.unsynced))?;
        // After a failed sync: all, none, or some of it is there, and no later one writes the rest.
        let fate = if failed { state.draw() % 3 } else { 0 };
        let kept: Vec<Change> = changes.into_iter().filter(|_| fate == 0 || (fate == 2 && state.coin())).collect();
        apply(state.durable.entry(self.name.clone()).or_default(), &kept);
        outcome(&self.name, failed)
    }
}
