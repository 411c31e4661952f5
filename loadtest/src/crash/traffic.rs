//! The load as its clients see it: paced, with duplicates and atomic batches, opened and closed once a cycle.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stampbook::proto::{Command, Receipt};
use tokio::sync::watch;

use super::acks::Acks;
use super::load::{Earlier, Load};
use crate::Failure;
use crate::clients::Traffic;
use crate::rng::Rng;

/// Commands a second over all clients: enough to keep every frame busy, and few enough that the book of many cycles stays small.
const RATE_PER_S: u64 = 10_000;
/// While nothing is due.
const PAUSE: Duration = Duration::from_millis(2);
/// Commands that are sent a second time, in a hundred.
const DUPLICATES_PERCENT: u64 = 5;
/// Commands that were taken last, from which duplicates are drawn while the first may still be under way.
const RECENT: usize = 64;
/// Commands of an atomic batch at most: some fail by one redemption, and some do not.
const ATOMIC_MAX: u64 = 20;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Mixed {
    load: Load,
    table: Mutex<Table>,
    address: watch::Receiver<String>,
    pub(super) resent: AtomicU64,
}

/// The state of the load.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) acks: Acks,
    /// The first command of each cycle.
    pub(super) starts: Vec<usize>,
    pub(super) duplicates: u64,
    /// Since when clients may take commands; `None` while they may not.
    open: Option<Instant>,
    taken: u64,
    recent: VecDeque<usize>,
    rng: Rng,
}

impl Mixed {
    pub(super) fn new(seed: u64, members: u64, address: watch::Receiver<String>) -> Self {
        let table = Table {
            acks: Acks::default(),
            starts: Vec::new(),
            duplicates: 0,
            open: None,
            taken: 0,
            recent: VecDeque::new(),
            rng: Rng::new(seed, u64::MAX),
        };
        Self { load: Load { seed, members }, table: Mutex::new(table), address, resent: AtomicU64::new(0) }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cycle begins: clients take commands.
    pub(super) fn open(&self) {
        let mut table = self.table();
        let start = table.acks.len();
        table.starts.push(start);
        table.open = Some(Instant::now());
        table.taken = 0;
        table.recent.clear();
    }

    /// Clients take no more, and end when all that they took is answered.
    pub(super) fn close(&self) {
        self.table().open = None;
    }

    /// Waits until commands are due; `None` when the load is closed.
    async fn due(&self, most: usize, take: impl Fn(&mut Table, usize) -> Vec<usize>) -> Vec<usize> {
        loop {
            {
                let mut table = self.table();
                let Some(open) = table.open else { return Vec::new() };
                let elapsed_ms = u64::try_from(open.elapsed().as_millis()).unwrap_or(u64::MAX);
                let due = (elapsed_ms.saturating_mul(RATE_PER_S) / 1_000).saturating_sub(table.taken);
                let due = usize::try_from(due).unwrap_or(most).min(most);
                if due > 0 {
                    let taken = take(&mut table, due);
                    table.taken += u64::try_from(taken.len()).unwrap_or_default();
                    return taken;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Table {
    /// A new command, or now and then one that was taken before, perhaps long ago.
    fn draw(&mut self) -> usize {
        if self.rng.below(100) < DUPLICATES_PERCENT
            && let Some(number) = self.known()
        {
            self.duplicates += 1;
            return number;
        }
        let number = self.acks.add();
        self.recent.push_back(number);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        number
    }

    /// A command that stands for itself: taken lately, or an event of an earlier cycle.
    fn known(&mut self) -> Option<usize> {
        let earlier = self.starts.last().copied().unwrap_or_default();
        if self.rng.below(2) == 0 && earlier > 0 {
            let number = usize::try_from(self.rng.below(u64::try_from(earlier).ok()?)).ok()?;
            return self.acks.op(number).map(|_| number);
        }
        let recent = u64::try_from(self.recent.len()).ok().filter(|recent| *recent > 0)?;
        self.recent.get(usize::try_from(self.rng.below(recent)).ok()?).copied()
    }
}

impl Traffic for Mixed {
    fn address(&self) -> watch::Receiver<String> {
        self.address.clone()
    }

    async fn take(&self, most: usize) -> Vec<usize> {
        self.due(most, |table, due| (0..due).map(|_| table.draw()).collect()).await
    }

    async fn take_batch(&self, most: usize) -> (Vec<usize>, bool) {
        let atomic = self.table().rng.below(3) == 0;
        if !atomic {
            return (self.take(most).await, false);
        }
        // An atomic batch holds new commands only, and nobody else sends one of them: it stands or falls as a whole.
        let taken = self.due(most, |table, due| {
            let size = usize::try_from(1 + table.rng.below(ATOMIC_MAX)).unwrap_or(1);
            (0..size.min(due)).map(|_| table.acks.add()).collect()
        });
        (taken.await, true)
    }

    fn command(&self, number: usize) -> Command {
        let table = self.table();
        let cycle = table.starts.partition_point(|start| *start <= number);
        let commands = cycle.checked_sub(1).and_then(|cycle| table.starts.get(cycle)).copied().unwrap_or_default();
        self.load.command(number, Earlier { commands, op_of: &|number| table.acks.op(number) })
    }

    fn settle(&self, number: usize, receipt: &Receipt) -> Result<(), Failure> {
        if receipt.key != Load::key(number) {
            return Err(format!("command {number} was answered for another key: {receipt:?}").into());
        }
        Ok(self.table().acks.settle(number, receipt)?)
    }

    fn resent(&self, commands: usize) {
        self.resent.fetch_add(u64::try_from(commands).unwrap_or_default(), Ordering::Relaxed);
    }
}
