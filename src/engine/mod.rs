//! The engine: a bounded lock-free queue, one thread that decides, one that commits. Nothing is answered before the
//! frame that holds it is synced; one thread alone changes the state.

mod ahead;
#[cfg(test)]
mod allocation_tests;
mod audit_room;
mod bell;
mod book_clock;
#[cfg(test)]
mod clock_tests;
mod commit;
#[cfg(test)]
mod crash_tests;
mod joined;
mod keeper;
#[cfg(test)]
mod keeper_tests;
pub mod metrics;
pub mod names;
mod pace;
mod queue;
pub mod request;
mod resolve;
mod restraint;
pub mod rooms;
mod run;
mod spent;
mod start;
mod take;
mod tend;
#[cfg(test)]
mod tend_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;

pub use audit_room::AuditRoom;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, bounded, unbounded};
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use self::book_clock::SharedClock;
use self::commit::Pipeline;
use self::keeper::{Desk, Keeper, KeeperLine, ToKeeper};
use self::metrics::Metrics;
use self::names::{Directory, Names};
use self::queue::{Item, Queue};
use self::request::{Answer, Refusal, Refused, Work};
use self::resolve::{Attached, Sources};
use self::rooms::{Rooms, SnapshotRoom};
use self::run::{Core, ResolveJob};
use self::start::{Ready, Start};
use crate::constants::{
    ACTOR_BYTES_MAX, ACTOR_REASON_BYTES_MAX, CLOCK_AHEAD_US_MAX, EVENT_BYTES_MAX, EVENT_KIND_BYTES_MAX,
    FRAME_BYTES_MAX, KEY_BYTES_MAX, KEYS_PER_GENERATION, MEMBER_ID_BYTES_MAX, METADATA_BYTES_MAX, PAGE_BYTES,
    PLACE_BYTES_MAX, POINTS_MAX, PROGRAM_EVENT_BYTES_MAX, REFERENCE_BYTES_MAX, TAGS_PER_MEMBER_MAX,
};
use crate::io::{Clock, Disk};
use crate::journal::{Book, Genesis, Journal, JournalError, JournalOptions, Parent, RecoveryReport, genesis_of};
use crate::ledger::event::{LEGS_MAX, WINNERS_MAX};
use crate::ledger::ids::ProgramNo;
use crate::ledger::print::Prints;
use crate::ledger::{self, Limits, award, codec};
use crate::store::{StoreError, StoreOptions, is_there};

pub use self::keeper::Pace;
pub use self::start::StartReport;

// The ledger and the journal know nothing of each other; here both are in sight, and what they must agree on is held.
const _: () =
    assert!(KEYS_PER_GENERATION == ledger::KEYS_PER_GENERATION, "a generation is as large as the ledger takes it");
const _: () = assert!(CLOCK_AHEAD_US_MAX == ledger::CONFIRM_WITHIN_US, "a leap is confirmed within what makes one");
const _: () = assert!(codec::EVENT_BYTES_LIMIT == PROGRAM_EVENT_BYTES_MAX, "what the codec writes fits a block");
const _: () =
    assert!(codec::MEMBER_EVENT_BYTES_MAX == EVENT_BYTES_MAX, "what a merge comes to at most fits a command's room");
const _: () = assert!(POINTS_MAX.unsigned_abs() == award::POINTS_MAX, "shape and rules know one greatest amount");
const _: () = assert!(TAGS_PER_MEMBER_MAX == ledger::TAGS_MAX, "shape and rules know one number of tags");
const _: () = assert!(
    KEY_BYTES_MAX
        + MEMBER_ID_BYTES_MAX
        + REFERENCE_BYTES_MAX
        + 3 * PLACE_BYTES_MAX
        + METADATA_BYTES_MAX
        + EVENT_KIND_BYTES_MAX
        + ACTOR_BYTES_MAX
        + ACTOR_REASON_BYTES_MAX
        + LEGS_MAX * LEG_BYTES
        + 2 * WINNERS_MAX * SHARE_BYTES
        + FIXED_BYTES
        <= EVENT_BYTES_MAX,
    "the event of the greatest command is no longer than the frames reckon with"
);
/// A leg in an event, at its longest: two numbers of nine bytes, an instant of six, and account, source and asset.
const LEG_BYTES: usize = 28;
/// A share in an event, at its longest: seven numbers of nine bytes.
const SHARE_BYTES: usize = 63;
/// More than the header, the hash, the lengths and the single numbers of an event take together.
const FIXED_BYTES: usize = 256;

/// Threads that read what the engine misses: events and references from the book, old keys from the runs.
const RESOLVERS: usize = 2;
/// An open frame of this many bytes is handed to the journal before more is decided.
const FRAME_BYTES_FULL: usize = 2 * 1024 * 1024;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The bounds on what the books hold.
    pub limits: Limits,
    /// Requests that may wait in the queue.
    pub queue_requests_max: usize,
    /// How long a request may wait in the queue before it is refused, in microseconds.
    pub queue_age_max_us: u64,
    /// How the journal is written.
    pub journal: JournalOptions,
    /// When checkpoints are taken.
    pub pace: Pace,
    /// Keys that a generation holds before a run is made of it.
    pub keys_per_generation: u64,
    /// How the store is kept.
    pub store: StoreOptions,
    /// Where store and snapshots lie; `None` keeps the store in memory and no snapshots.
    pub rooms: Option<Rooms>,
}

/// Why an engine could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The book cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is a store and no book.
    #[error(
        "the book is gone: there is no segment of it, and the store beside it is that of a book; put the segments back \
         from a copy, restore a backup, or remove the store to begin a new book"
    )]
    BookGone,
    /// The store cannot be made anew.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// No randomness for a new book's id and secret.
    #[error("the system gives no randomness for a new book: {0}")]
    Randomness(String),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    /// What is measured has no room to be kept in.
    #[error("the metrics: {0}")]
    Metrics(#[from] hdrhistogram::CreationError),
}

/// Which book this is: it stands in every receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookInfo {
    /// The book's id, 32 hexadecimal digits.
    pub book_id: String,
    /// 0 for a book begun empty, one more than its parent's for a restored or re-cut one.
    pub incarnation: u32,
    /// What the book descends from, if anything.
    pub parent: Option<Parent>,
}

struct Shared {
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    pipeline: Arc<Pipeline>,
    directory: Arc<Directory>,
    prints: Prints,
    book: Book,
    info: BookInfo,
    clock: Arc<dyn Clock>,
    time: Arc<SharedClock>,
    queue_age_max_us: u64,
    desk: Arc<Desk>,
    audit: AuditRoom,
}

/// The way into the engine, for any thread.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Queues a request. The receiver resolves when everything that the answer says is durable.
    ///
    /// # Errors
    /// [`Refused`] where the request was not taken; nothing was written.
    pub fn submit(&self, work: Work) -> Result<oneshot::Receiver<Result<Answer, Refusal>>, Refused> {
        let (reply, receiver) = oneshot::channel();
        let queued_us = self.shared.clock.monotonic_us();
        self.shared.queue.push(Item { work, reply, queued_us, attached: Attached::default() })?;
        Ok(receiver)
    }

    /// Why a request would be refused now, judged before its body is read; `before_us` is how long it would wait before it is
    /// queued, in microseconds.
    #[must_use]
    pub fn overloaded(&self, before_us: u64) -> Option<Refusal> {
        let queue = &self.shared.queue;
        if queue.is_closing() {
            return Some(Refusal::ShuttingDown);
        }
        if queue.is_full() {
            return Some(Refusal::QueueFull);
        }
        // What is let in should not grow too old after all, were the engine a little slower by then.
        let most_us = self.shared.queue_age_max_us - self.shared.queue_age_max_us / 4;
        (queue.wait_us().saturating_add(before_us) > most_us).then_some(Refusal::QueueTooOld)
    }

    /// The hasher of keys and member ids.
    #[must_use]
    pub fn prints(&self) -> &Prints {
        &self.shared.prints
    }

    /// The number of a durable program.
    #[must_use]
    pub fn program(&self, id: &str) -> Option<ProgramNo> {
        self.shared.directory.get().program_number(id)
    }

    /// The ids behind the numbers of durable programs and campaigns.
    #[must_use]
    pub fn names(&self) -> Arc<Names> {
        self.shared.directory.get()
    }

    /// The book, for reading what is durable. It blocks: not for a thread that serves others.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.shared.book
    }

    /// What readers of the past are given beside the book.
    #[must_use]
    pub fn audit(&self) -> &AuditRoom {
        &self.shared.audit
    }

    /// What the engine measured since it was started.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Which book this is.
    #[must_use]
    pub fn book_info(&self) -> &BookInfo {
        &self.shared.info
    }

    /// The clocks that the engine reads.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// What has passed by now, in microseconds since the Unix epoch: while the wall clock is not put back, nothing is booked before
    /// it from now on. A wall clock that has leapt ahead, and that nobody has confirmed, does not count.
    #[must_use]
    pub fn passed_us(&self) -> i64 {
        self.shared.time.passed_us()
    }

    /// The op of the newest checkpoint that is durable; 0 before the first.
    #[must_use]
    pub fn checkpoint_op(&self) -> u64 {
        self.shared.desk.checkpoint_op()
    }
}

/// A running engine.
pub struct Engine {
    handle: Handle,
    recovery: RecoveryReport,
    started: StartReport,
    threads: Vec<JoinHandle<()>>,
}

fn new_genesis(clock: &dyn Clock) -> Result<Genesis, StartError> {
    let (mut book_id, mut secret) = ([0; 16], [0; 32]);
    for bytes in [book_id.as_mut_slice(), secret.as_mut_slice()] {
        getrandom::fill(bytes).map_err(|error| StartError::Randomness(error.to_string()))?;
    }
    let created_at_us = clock.wall_us();
    Ok(Genesis { book_id, secret, incarnation: 0, parent: None, created_at_us, event_format: 1 })
}

impl Engine {
    /// Opens the book, or begins a new one, brings the state up to its end, and starts the threads.
    ///
    /// # Errors
    /// [`StartError`], above all where the book is damaged: then nothing of it is changed and nothing served.
    pub fn start(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: &EngineConfig) -> Result<Self, StartError> {
        let (mut engine, core) = Self::around(disk, clock, config)?;
        engine.threads.push(guarded(&engine.handle.shared, "engine", move || core.run())?);
        Ok(engine)
    }

    /// All but the thread that decides, and what that thread is to run.
    fn around(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: &EngineConfig) -> Result<(Self, Core), StartError> {
        // Before anything else: what another process has open is not to be touched, the store least of all.
        let lock = Journal::lock(&*disk)?;
        let rooms = config.rooms.clone().unwrap_or_else(Rooms::in_memory);
        let genesis = match genesis_of(&*disk)? {
            Some(genesis) => genesis,
            None if is_there(&*rooms.shelves)? => return Err(StartError::BookGone),
            None => new_genesis(&*clock)?,
        };
        let prints = Prints::new(genesis.secret);
        let start = Start {
            disk,
            rooms: rooms.clone(),
            genesis,
            prints: &prints,
            limits: config.limits,
            journal: config.journal.clone(),
            store: config.store.clone(),
            keys_per_generation: config.keys_per_generation,
        };
        let mut ready = start.run(lock)?;
        let genesis = &ready.opened.genesis;
        let info = BookInfo {
            book_id: genesis.book_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            incarnation: genesis.incarnation,
            parent: genesis.parent,
        };
        let directory = Arc::new(Directory::default());
        directory.publish(Arc::new(Names::of(&ready.ledger)));
        let metrics = Arc::new(Metrics::new()?);
        let queue = Arc::new(Queue::new(config.queue_requests_max, Arc::clone(&metrics)));
        let desk = Arc::new(Desk::new(
            Arc::clone(&queue),
            Arc::clone(&rooms.shelves),
            ready.store.keys(),
            ready.report.checkpoint_op,
        ));
        for (op, trial) in &ready.trials {
            desk.remember_trial(*op, trial.clone());
        }
        let RecoveryReport { last_book_time_us, events, .. } = ready.opened.recovery;
        let time = Arc::new(SharedClock::new(Arc::clone(&clock), last_book_time_us, events > 0));
        let shared = Shared {
            queue,
            metrics,
            pipeline: Arc::new(Pipeline::new()),
            directory,
            prints,
            book: ready.opened.book.clone(),
            info,
            clock,
            time,
            queue_age_max_us: config.queue_age_max_us,
            audit: AuditRoom::new(Arc::clone(&desk), Arc::clone(&rooms.snapshots_disk)),
            desk,
        };
        let (recovery, started) = (ready.opened.recovery.clone(), ready.report.clone());
        let (threads, core) = start_threads(&shared, ready, rooms.snapshots, config)?;
        Ok((Self { handle: Handle { shared: Arc::new(shared) }, recovery, started, threads }, core))
    }

    /// The way in.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What was found when the book was opened.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// How the start went, part by part.
    #[must_use]
    pub fn started(&self) -> &StartReport {
        &self.started
    }

    /// Turns to `Some` with the reason when a write or sync failed. Nothing is answered from then on; the process is
    /// to end with the I/O code.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.handle.shared.pipeline.failed()
    }

    /// Takes no more requests, answers every one that was taken, and ends the book with a witness. Blocks.
    pub fn shut_down(self) {
        self.handle.shared.queue.close();
        for thread in self.threads {
            // A thread that panicked has said so; there is nobody left to tell.
            let _panicked = thread.join();
        }
    }
}

fn start_threads(
    shared: &Shared,
    ready: Ready,
    snapshots: Arc<dyn SnapshotRoom>,
    config: &EngineConfig,
) -> Result<(Vec<JoinHandle<()>>, Core), StartError> {
    let Ready { ledger, mut store, sealed, opened, checkpoint, .. } = ready;
    // Where more requests wait for the readers than this, the engine waits too: that is the queue's bound again. The
    // readers never wait for the engine.
    let (resolvers, jobs) = bounded::<ResolveJob>(config.queue_requests_max.saturating_add(1).saturating_mul(2));
    // The keeper asks for what it is told, so that little ever waits here.
    let (keeper, inbox) = unbounded::<ToKeeper>();
    let mut threads = Vec::new();
    for number in 0..RESOLVERS {
        let (jobs, pipeline, queue) = (jobs.clone(), Arc::clone(&shared.pipeline), Arc::clone(&shared.queue));
        let sources = Sources {
            book: shared.book.clone(),
            desk: Arc::clone(&shared.desk),
            directory: Arc::clone(&shared.directory),
            prints: shared.prints.clone(),
        };
        let work = move || resolve_jobs(&jobs, &sources, &pipeline, &queue);
        threads.push(guarded(shared, &format!("resolve-{number}"), work)?);
    }
    let (pipeline, directory) = (Arc::clone(&shared.pipeline), Arc::clone(&shared.directory));
    let queue = Arc::clone(&shared.queue);
    let (metrics, clock) = (Arc::clone(&shared.metrics), Arc::clone(&shared.clock));
    let work = move || commit::run(opened.writer, &pipeline, &directory, queue.bell(), &metrics, &*clock);
    threads.push(guarded(shared, "journal", work)?);
    let keys = store.keys();
    let sealing = sealed.iter().map(|generation| generation.last()).collect();
    let keeper_thread = Keeper {
        store,
        book: shared.book.clone(),
        prints: shared.prints.clone(),
        desk: Arc::clone(&shared.desk),
        pipeline: Arc::clone(&shared.pipeline),
        snapshots,
        inbox,
        pace: config.pace,
        checkpoint_bytes: checkpoint.map_or(0, |at| at.frame_bytes),
        checkpoint_op: checkpoint.map_or(0, |at| at.op),
        checkpoint_at: std::time::Instant::now(),
        sealed,
        asked: false,
        merging: false,
        unshown: 0,
        stopped: false,
    };
    threads.push(guarded(shared, "keeper", move || keeper_thread.run())?);
    let segment_bytes = usize::try_from(config.journal.segment_bytes).unwrap_or(usize::MAX);
    let frame_bytes_max = FRAME_BYTES_MAX.min(segment_bytes.saturating_sub(4 * PAGE_BYTES));
    let core = Core {
        ledger,
        clock: Arc::clone(&shared.clock),
        queue: Arc::clone(&shared.queue),
        pipeline: Arc::clone(&shared.pipeline),
        book: shared.book.clone(),
        resolvers,
        resolving: 0,
        held: HashMap::new(),
        frames: VecDeque::new(),
        open: None,
        spent: spent::Spent::default(),
        answers: Vec::new(),
        names_changed: false,
        book_time_us: shared.time.book_us(),
        time: Arc::clone(&shared.time),
        queue_age_max_us: config.queue_age_max_us,
        frame_bytes_full: FRAME_BYTES_FULL.min(frame_bytes_max / 4),
        frame_bytes_max,
        sweep: tend::Sweep::new(),
        restraint: restraint::Restraint::default(),
        decided: 0,
        oldest: VecDeque::new(),
        pace: pace::Pace::default(),
        prints: shared.prints.clone(),
        keys,
        keys_per_generation: config.keys_per_generation,
        line: KeeperLine { desk: Arc::clone(&shared.desk), keeper },
        viewing: false,
        behind_view: VecDeque::new(),
        sealing,
    };
    Ok((threads, core))
}

/// Starts a thread. One that breaks off is a failure like any other: no answer is better than one that may be wrong, and
/// waiting for it for ever.
fn guarded(shared: &Shared, name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let (pipeline, queue) = (Arc::clone(&shared.pipeline), Arc::clone(&shared.queue));
    let named = name.to_owned();
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            pipeline.fail(format!("the thread {named} broke off"));
            queue.bell().ring();
        }
    };
    Ok(thread::Builder::new().name(name.to_owned()).spawn(guarded)?)
}

/// Reads what requests miss and sends them back to the engine; ends when the engine is gone.
fn resolve_jobs(jobs: &Receiver<ResolveJob>, sources: &Sources, pipeline: &Pipeline, queue: &Queue) {
    while let Ok((mut item, missing)) = jobs.recv() {
        if let Err(why) = item.attached.read(sources, missing) {
            // Without the store an old key cannot be told from a free one: rather than guess, the process ends, and
            // the next start makes the store anew from the book.
            sources.desk.condemn();
            pipeline.fail(format!("the store cannot be used: {why}"));
        }
        queue.push_resolved(item);
    }
}
