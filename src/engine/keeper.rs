//! The keeper: the one thread that owns the store. It paces checkpoints by the bytes of book since the last one and by
//! time, makes runs of full generations of keys, merges them, and has snapshots written. It works from copies that the
//! engine's thread makes a few pages at a time, and touches nothing that is not yet durable in the book.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use crossbeam::queue::SegQueue;

use super::commit::Pipeline;
use super::queue::Queue;
use super::restraint::pressure;
use super::rooms::{SnapshotFacts, SnapshotRoom};
use crate::constants::GENERATIONS_SEALING_MAX;
use crate::journal::{Book, Waypoint};
use crate::ledger::ids::Op;
use crate::ledger::print::Prints;
use crate::ledger::view::ProgramTrial;
use crate::ledger::{Captured, Generation, PageCopy, snapshots_of, state_hash_of};
use crate::store::limits::TRIALS_MAX;
use crate::store::{Keys, PageKey, Shelves, Store, StoreError, condemn};

/// Pages that the engine copies for one message: a tenth of a millisecond of its time.
const PAGES_PER_MESSAGE: usize = 4;
/// Messages of pages asked for and not yet written: what the engine can go on with while the keeper waits for the device, and what
/// the copies may take of memory, some 4 MB with a lot or two for each member and 100 MB with 64 lots for each.
pub(super) const MESSAGES_AHEAD: usize = 16;
/// How often the keeper looks whether a checkpoint is due.
const LOOK: Duration = Duration::from_millis(10);
/// Generations that wait for the pages of a view; past it runs are made in between. The pages go first: until they are
/// copied, what changes takes memory.
const SEALED_BEHIND_PAGES_MAX: usize = GENERATIONS_SEALING_MAX / 2;
/// Steps of a merge after which its runs are shown. Until then the filters of both, old and new, are in memory.
const MERGE_STEPS_UNSHOWN_MAX: u32 = 16;

/// When checkpoints are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// `false` holds checkpoints off altogether: a switch for measurements and tests.
    pub on: bool,
    /// Bytes of book after which a checkpoint begins.
    pub bytes: u64,
    /// Time after which one begins if the book has grown at all.
    pub after: Duration,
    /// The most that the book may be ahead of the newest checkpoint, in bytes: at it the engine takes nothing new.
    pub tail_bytes_max: u64,
}

/// What the engine's thread tells the keeper.
pub(crate) enum ToKeeper {
    /// A generation of keys that is full, or closed for a checkpoint.
    Sealed(Arc<Generation>),
    /// A view was begun.
    Captured(Box<View>),
    /// The next pages of the view; none: it is whole.
    Pages(Vec<PageCopy>),
    /// Generations that are runs now, and the view of the runs before, to be freed here: it takes longer than the engine
    /// should stop.
    Free(Vec<Arc<Generation>>, Arc<Keys>),
    /// The engine has ended.
    Stop,
}

/// A view of the state at one op.
pub(crate) struct View {
    pub(crate) captured: Captured,
    pub(crate) trial: Vec<ProgramTrial>,
    pub(crate) members: u64,
    /// The snapshot that the view is taken for.
    pub(crate) snapshot: Option<SnapshotOrder>,
}

/// A snapshot to be written.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotOrder {
    pub(crate) name: String,
    pub(crate) retain_until_us: Option<i64>,
}

/// What the keeper asks of the engine's thread.
pub(crate) enum ToEngine {
    /// Begin a view at the next end of a frame; of all pages or of the changed ones.
    Begin { whole: bool },
    /// Copy more pages.
    More,
    /// These runs hold every key up to [`Keys::upto`].
    Keys(Arc<Keys>),
    /// The view is over; another may begin.
    Done,
}

/// What the engine's thread, the reader threads and the keeper share.
pub(crate) struct Desk {
    to_engine: SegQueue<ToEngine>,
    queue: Arc<Queue>,
    /// The frame bytes of the book at which it is so far ahead of the newest checkpoint that nothing new is to be taken.
    tail_end: AtomicU64,
    /// Those at which it slows down.
    tail_slow: AtomicU64,
    checkpoint_op: AtomicU64,
    shelves: Arc<dyn Shelves>,
    keys: RwLock<Arc<Keys>>,
    trials: Mutex<BTreeMap<u64, Arc<Vec<ProgramTrial>>>>,
    /// Snapshots whose files are still to be written.
    preparing: Mutex<HashSet<String>>,
}

impl Desk {
    pub(crate) fn new(queue: Arc<Queue>, shelves: Arc<dyn Shelves>, keys: Arc<Keys>, checkpoint_op: u64) -> Self {
        Self {
            to_engine: SegQueue::new(),
            queue,
            tail_end: AtomicU64::new(u64::MAX),
            tail_slow: AtomicU64::new(u64::MAX),
            checkpoint_op: AtomicU64::new(checkpoint_op),
            shelves,
            keys: RwLock::new(keys),
            trials: Mutex::new(BTreeMap::new()),
            preparing: Mutex::new(HashSet::new()),
        }
    }

    pub(crate) fn next(&self) -> Option<ToEngine> {
        self.to_engine.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.to_engine.is_empty()
    }

    /// How much it presses that a book of so many frame bytes is ahead of the newest checkpoint.
    pub(crate) fn tail_pressure(&self, frame_bytes: u64) -> u64 {
        pressure(frame_bytes, self.tail_slow.load(Ordering::Relaxed), self.tail_end.load(Ordering::Relaxed))
    }

    /// The op of the newest checkpoint that is durable.
    pub(crate) fn checkpoint_op(&self) -> u64 {
        self.checkpoint_op.load(Ordering::Relaxed)
    }

    /// Marks the store as not to be believed: the next start makes it anew from the book.
    pub(crate) fn condemn(&self) {
        tracing::error!("the store cannot be used; it is made anew from the book at the next start");
        if let Err(error) = condemn(&*self.shelves) {
            tracing::error!(%error, "the store cannot be marked either: remove its folder before the next start");
        }
    }

    /// The runs as they are now.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, what: ToEngine) {
        self.to_engine.push(what);
        self.queue.bell().ring();
    }

    fn show(&self, keys: Arc<Keys>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        self.ask(ToEngine::Keys(keys));
    }

    /// Whether a snapshot's file is still to be written.
    pub(crate) fn preparing(&self, name: &str) -> bool {
        self.preparing.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Notes that a snapshot's file is to be written, before its event is answered.
    pub(crate) fn prepare(&self, name: &str) {
        self.preparing.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    fn prepared(&self, name: &str) {
        self.preparing.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The newest trial balance of a checkpoint at or before an op.
    pub(crate) fn trial_before(&self, op: u64) -> Option<(u64, Arc<Vec<ProgramTrial>>)> {
        let trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        trials.range(..=op).next_back().map(|(op, trial)| (*op, Arc::clone(trial)))
    }

    pub(crate) fn remember_trial(&self, op: u64, trial: Vec<ProgramTrial>) {
        let mut trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        trials.insert(op, Arc::new(trial));
        if trials.len() > TRIALS_MAX {
            let mut keep = false;
            trials.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }
}

/// The thread's own.
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) book: Book,
    pub(crate) prints: Prints,
    pub(crate) desk: Arc<Desk>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) snapshots: Arc<dyn SnapshotRoom>,
    pub(crate) inbox: Receiver<ToKeeper>,
    pub(crate) pace: Pace,
    /// The frame bytes of the book at the newest checkpoint.
    pub(crate) checkpoint_bytes: u64,
    pub(crate) checkpoint_op: u64,
    pub(crate) checkpoint_at: Instant,
    /// Generations that are not runs yet.
    pub(crate) sealed: VecDeque<Arc<Generation>>,
    /// Whether a view was asked for and is not over.
    pub(crate) asked: bool,
    /// Whether runs are being merged.
    pub(crate) merging: bool,
    /// Steps of merges since the runs were last shown.
    pub(crate) unshown: u32,
    /// Whether the engine has ended.
    pub(crate) stopped: bool,
}

/// Why the keeper stops what it does.
enum Halt {
    /// The engine has ended, or the journal failed.
    Stopped,
    /// Runs could not be written, or read to be merged: they may fail again however often they are opened.
    Runs(StoreError),
    /// A checkpoint could not be written, or runs that only it would have named. The one before it is as good as it was.
    Checkpoint(StoreError),
    /// The book could not be read.
    Book(String),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Checkpoint(error)
    }
}

/// Why a snapshot is not written.
enum Unwritten {
    /// The keeper stops whatever it does.
    Halt(Halt),
    /// Its file could not be written: that costs this file alone.
    File(String),
}

impl From<Halt> for Unwritten {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<String> for Unwritten {
    fn from(error: String) -> Self {
        Self::File(error)
    }
}

impl Keeper {
    /// Runs until the engine has ended.
    pub(crate) fn run(mut self) {
        match self.serve() {
            Ok(()) | Err(Halt::Stopped) => {}
            Err(Halt::Runs(error)) => {
                self.desk.condemn();
                self.give_up(&error.to_string());
            }
            Err(Halt::Checkpoint(error)) => self.give_up(&error.to_string()),
            Err(Halt::Book(error)) => self.give_up(&error),
        }
    }

    /// The store is a cache, yet keys that are in it alone cannot be told from free ones without it: rather than guess,
    /// the process ends. Where runs failed, the next start makes the store anew from the book.
    fn give_up(&self, why: &str) {
        self.pipeline.fail(format!("the store cannot be used: {why}"));
        self.desk.queue.bell().ring();
    }

    fn serve(&mut self) -> Result<(), Halt> {
        self.bound_tail();
        while !self.stopped {
            let wait = if self.merging && self.may_merge() { Duration::ZERO } else { LOOK };
            match self.inbox.recv_timeout(wait) {
                Ok(ToKeeper::Sealed(generation)) => self.sealed.push_back(generation),
                Ok(ToKeeper::Captured(view)) => {
                    self.checkpoint(*view)?;
                    self.asked = false;
                    self.desk.ask(ToEngine::Done);
                }
                // Pages of a view that was given up.
                Ok(ToKeeper::Pages(_)) => {}
                Ok(ToKeeper::Free(generations, keys)) => drop((generations, keys)),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(ToKeeper::Stop) | Err(RecvTimeoutError::Disconnected) => self.stopped = true,
            }
            self.seal_all()?;
            self.pace();
            if self.may_merge() {
                self.merge()?;
            }
        }
        Ok(())
    }

    /// Past half of the tail's bound the checkpoint comes first.
    fn may_merge(&self) -> bool {
        !self.asked && self.tail_bytes() < self.pace.tail_bytes_max / 2 && self.inbox.is_empty()
    }

    fn merge(&mut self) -> Result<(), Halt> {
        let merging = self.store.merge_step().map_err(Halt::Runs)?;
        self.unshown += u32::from(merging);
        if self.unshown >= MERGE_STEPS_UNSHOWN_MAX || (self.unshown > 0 && !merging) {
            self.show_keys();
        }
        match (self.merging, merging) {
            (false, true) => tracing::info!("merge begins"),
            (true, false) => tracing::info!("merge is done"),
            _ => {}
        }
        self.merging = merging;
        Ok(())
    }

    fn show_keys(&mut self) {
        self.unshown = 0;
        self.desk.show(self.store.keys());
    }

    fn tail_bytes(&self) -> u64 {
        self.book.frame_bytes().saturating_sub(self.checkpoint_bytes)
    }

    /// Says how far the book may grow past the newest checkpoint. The engine looks itself, whatever the keeper is at.
    fn bound_tail(&self) {
        let at = |tail_bytes| if self.pace.on { self.checkpoint_bytes.saturating_add(tail_bytes) } else { u64::MAX };
        let most = self.pace.tail_bytes_max;
        self.desk.tail_end.store(at(most), Ordering::Relaxed);
        self.desk.tail_slow.store(at(most - most / 4), Ordering::Relaxed);
    }

    /// Asks for a checkpoint when one is due.
    fn pace(&mut self) {
        let tail = self.tail_bytes();
        if self.asked || !self.pace.on {
            return;
        }
        let grown = self.book.durable_op() > self.checkpoint_op;
        let due = tail >= self.pace.bytes || (grown && self.checkpoint_at.elapsed() >= self.pace.after);
        if due && grown {
            self.asked = true;
            self.desk.ask(ToEngine::Begin { whole: self.store.wants_whole() });
        }
    }

    /// Waits until an op is durable: nothing above it may reach the store.
    fn await_durable(&self, op: u64) -> Result<(), Halt> {
        while self.book.durable_op() < op {
            if self.pipeline.has_failed() {
                return Err(Halt::Stopped);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Makes runs of all generations but so many of the newest; of none once the engine has ended, since the next start
    /// has them from the book.
    fn seal_all_but(&mut self, wait: usize) -> Result<(), Halt> {
        while !self.stopped
            && self.sealed.len() > wait
            && let Some(generation) = self.sealed.pop_front()
        {
            self.seal(&generation)?;
        }
        Ok(())
    }

    fn seal_all(&mut self) -> Result<(), Halt> {
        self.seal_all_but(0)
    }

    fn seal(&mut self, generation: &Generation) -> Result<(), Halt> {
        self.await_durable(generation.last().0)?;
        let begun = Instant::now();
        let entries = entries_of(generation, &self.prints);
        let count = entries.len();
        tracing::info!(upto = generation.last().0, keys = count, "seal begins");
        self.store.seal(generation.after().0, generation.last().0, entries).map_err(Halt::Runs)?;
        let took = begun.elapsed();
        tracing::info!(upto = generation.last().0, keys = count, ?took, "run sealed");
        self.show_keys();
        Ok(())
    }

    /// Writes a checkpoint from a view, and then the snapshot that it was taken for.
    fn checkpoint(&mut self, view: View) -> Result<(), Halt> {
        let View { captured, trial, members, snapshot } = view;
        let op = captured.op.0;
        let begun = Instant::now();
        tracing::info!(op, pages = captured.changed.len(), of = captured.pages, "checkpoint begins");
        self.await_durable(op)?;
        // Every key up to the checkpoint must be in runs that it names.
        self.seal_all()?;
        let at = self.book.waypoint_at(op).map_err(|error| Halt::Book(error.to_string()))?;
        self.store.begin(op)?;
        self.take_pages()?;
        let (base, pages) = (captured.base, captured.pages);
        let hash = |hashes: &mut dyn Iterator<Item = [u8; 32]>| state_hash_of(Op(op), &base, hashes);
        let trial_bytes = serde_json::to_vec(&trial).unwrap_or_default();
        let report = self.store.commit(at.to_bytes().to_vec(), base.clone(), hash, pages, trial_bytes)?;
        self.desk.remember_trial(op, trial.clone());
        self.checkpoint_bytes = at.frame_bytes;
        self.checkpoint_op = op;
        self.desk.checkpoint_op.store(op, Ordering::Relaxed);
        self.bound_tail();
        self.checkpoint_at = Instant::now();
        let took = begun.elapsed();
        tracing::info!(
            op,
            pages = report.pages,
            bytes = report.page_bytes,
            disk = report.disk_bytes,
            ?took,
            "checkpoint is durable"
        );
        if let Some(order) = snapshot {
            self.snapshot(&order, at, trial, members)?;
        }
        Ok(())
    }

    /// Takes the copies of a view's pages until it is whole, a bounded number ahead. Keys of later ops become runs in the
    /// meantime, so that the engine need not wait for a long view; the checkpoint does not name them.
    fn take_pages(&mut self) -> Result<(), Halt> {
        let mut image = Vec::new();
        for _ in 0..MESSAGES_AHEAD {
            self.desk.ask(ToEngine::More);
        }
        let mut whole = false;
        let mut awaited = MESSAGES_AHEAD;
        while awaited > 0 {
            match self.inbox.recv_timeout(LOOK) {
                Ok(ToKeeper::Pages(copies)) => {
                    awaited -= 1;
                    whole |= copies.is_empty();
                    for copy in &copies {
                        image.clear();
                        copy.encode(&mut image);
                        let id = copy.id();
                        self.store.put_page(PageKey { kind: id.kind.number(), number: id.number }, &image)?;
                    }
                    if !whole {
                        awaited += 1;
                        self.desk.ask(ToEngine::More);
                    }
                }
                Ok(ToKeeper::Sealed(generation)) => {
                    self.sealed.push_back(generation);
                    self.seal_all_but(SEALED_BEHIND_PAGES_MAX)?;
                }
                Ok(ToKeeper::Free(generations, keys)) => drop((generations, keys)),
                Ok(ToKeeper::Captured(_)) => return Err(Halt::Book("two views at a time".to_owned())),
                Ok(ToKeeper::Stop) | Err(RecvTimeoutError::Disconnected) => return Err(Halt::Stopped),
                Err(RecvTimeoutError::Timeout) if self.pipeline.has_failed() => return Err(Halt::Stopped),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Ok(())
    }

    /// Copies the pages of the checkpoint just made into the snapshot's file. A failure costs that file alone.
    fn snapshot(
        &mut self,
        order: &SnapshotOrder,
        at: Waypoint,
        trial: Vec<ProgramTrial>,
        members: u64,
    ) -> Result<(), Halt> {
        tracing::info!(name = order.name, op = at.op, "snapshot begins");
        let begun = Instant::now();
        match self.write_snapshot(order, at, trial, members) {
            Ok(()) => tracing::info!(name = order.name, op = at.op, took = ?begun.elapsed(), "snapshot is ready"),
            Err(Unwritten::Halt(halt)) => return Err(halt),
            Err(Unwritten::File(error)) => {
                tracing::error!(name = order.name, op = at.op, error, "the snapshot could not be written");
            }
        }
        self.desk.prepared(&order.name);
        Ok(())
    }

    fn write_snapshot(
        &mut self,
        order: &SnapshotOrder,
        at: Waypoint,
        trial: Vec<ProgramTrial>,
        members: u64,
    ) -> Result<(), Unwritten> {
        let checkpoint = self.store.newest().ok_or_else(|| "there is no checkpoint to copy".to_owned())?;
        let genesis = self.book.genesis();
        let facts = SnapshotFacts {
            book_id: genesis.book_id,
            incarnation: genesis.incarnation,
            name: order.name.clone(),
            at,
            state_hash: checkpoint.state_hash,
            retain_until_us: order.retain_until_us,
            members,
            trial,
            taken: snapshots_of(&checkpoint.base).map_err(|error| error.to_string())?,
        };
        let mut sink = self.snapshots.begin(facts)?;
        sink.base(&checkpoint.base)?;
        for page in self.store.pages().map_err(|error| error.to_string())? {
            let (key, image) = page.map_err(|error| error.to_string())?;
            sink.page(key.kind, key.number, &image)?;
            self.listen()?;
        }
        Ok(sink.finish()?)
    }

    /// Hears what the engine said meanwhile, and makes runs of what it sealed: it does not wait for a snapshot's file.
    /// Pages are not asked for here, and the next view is begun when this one is over. When the engine has ended, the
    /// file is written all the same: the next start would have to write it first.
    fn listen(&mut self) -> Result<(), Halt> {
        while let Ok(said) = self.inbox.try_recv() {
            match said {
                ToKeeper::Sealed(generation) => self.sealed.push_back(generation),
                ToKeeper::Stop => self.stopped = true,
                ToKeeper::Free(generations, keys) => drop((generations, keys)),
                ToKeeper::Pages(_) | ToKeeper::Captured(_) => {}
            }
        }
        self.seal_all()
    }
}

/// A generation's keys and take-backs as a run has them: the upper half of the print, and the op.
pub(crate) fn entries_of(generation: &Generation, prints: &Prints) -> Vec<(u64, u64)> {
    let upper = |print: u128| u64::try_from(print >> 64).unwrap_or(u64::MAX);
    let keys = generation.keys().map(|(print, op)| (upper(print), op.0));
    let taken = generation.taken().map(|(original, refund)| (upper(prints.taken(original)), refund.0));
    keys.chain(taken).collect()
}

/// The engine's side of the keeper.
pub(crate) struct KeeperLine {
    pub(crate) desk: Arc<Desk>,
    pub(crate) keeper: Sender<ToKeeper>,
}

impl KeeperLine {
    /// Tells the keeper; one that is gone has said why.
    pub(crate) fn tell(&self, what: ToKeeper) {
        let _gone = self.keeper.send(what);
    }
}

pub(crate) const COPIED_PAGES: usize = PAGES_PER_MESSAGE;
