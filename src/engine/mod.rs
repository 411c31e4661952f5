//! The engine: a bounded lock-free queue, one thread that decides, one that commits. Nothing is answered before the
//! frame that holds it is synced; one thread alone changes the state.

mod audit_room;
mod bell;
mod commit;
#[cfg(test)]
mod crash_tests;
pub mod names;
mod queue;
pub mod request;
mod resolve;
mod run;
#[cfg(test)]
mod tests;

pub use audit_room::AuditRoom;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, bounded};
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use self::commit::Pipeline;
use self::names::{Directory, Names};
use self::queue::{Item, Queue};
use self::request::{Answer, Refusal, Refused, Work};
use self::resolve::Attached;
use self::run::{Core, ResolveJob};
use crate::constants::{
    ACTOR_BYTES_MAX, ACTOR_REASON_BYTES_MAX, EVENT_BYTES_MAX, EVENT_KIND_BYTES_MAX, FRAME_BYTES_MAX, KEY_BYTES_MAX,
    MEMBER_ID_BYTES_MAX, METADATA_BYTES_MAX, PAGE_BYTES, PLACE_BYTES_MAX, POINTS_MAX, PROGRAM_EVENT_BYTES_MAX,
    REFERENCE_BYTES_MAX,
};
use crate::io::{Clock, Disk};
use crate::journal::{Book, Genesis, Journal, JournalError, JournalOptions, Parent, RecoveryReport, Visit, genesis_of};
use crate::ledger::event::{LEGS_MAX, WINNERS_MAX};
use crate::ledger::ids::{Op, ProgramNo};
use crate::ledger::print::Prints;
use crate::ledger::{Ledger, Limits, Moment, award, codec};

// The ledger and the journal know nothing of each other; here both are in sight, and what they must agree on is held.
const _: () = assert!(codec::EVENT_BYTES_LIMIT == PROGRAM_EVENT_BYTES_MAX, "what the codec writes fits a block");
const _: () = assert!(POINTS_MAX.unsigned_abs() == award::POINTS_MAX, "shape and rules know one greatest amount");
const _: () = assert!(
    KEY_BYTES_MAX
        + MEMBER_ID_BYTES_MAX
        + REFERENCE_BYTES_MAX
        + 3 * PLACE_BYTES_MAX
        + METADATA_BYTES_MAX
        + EVENT_KIND_BYTES_MAX
        + ACTOR_BYTES_MAX
        + ACTOR_REASON_BYTES_MAX
        + (LEGS_MAX + 2 * WINNERS_MAX) * NUMBERS_BYTES
        + FIXED_BYTES
        <= EVENT_BYTES_MAX,
    "the event of the greatest command is no longer than the frames reckon with"
);
/// A leg or a share in an event, at its longest: seven numbers of nine bytes.
const NUMBERS_BYTES: usize = 63;
/// More than the header, the hash, the lengths and the single numbers of an event take together.
const FIXED_BYTES: usize = 256;

/// Threads that read the book for refunds.
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
}

/// Why an engine could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The book cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No randomness for a new book's id and secret.
    #[error("the system gives no randomness for a new book: {0}")]
    Randomness(String),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
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
    pipeline: Arc<Pipeline>,
    directory: Arc<Directory>,
    prints: Prints,
    book: Book,
    info: BookInfo,
    clock: Arc<dyn Clock>,
    queue_age_max_us: u64,
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

    /// Why a request would be refused now, judged before its body is read.
    #[must_use]
    pub fn overloaded(&self) -> Option<Refusal> {
        let queue = &self.shared.queue;
        if queue.is_closing() {
            return Some(Refusal::ShuttingDown);
        }
        if queue.is_full() {
            return Some(Refusal::QueueFull);
        }
        (queue.waited_us() > self.shared.queue_age_max_us).then_some(Refusal::QueueTooOld)
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

    /// Which book this is.
    #[must_use]
    pub fn book_info(&self) -> &BookInfo {
        &self.shared.info
    }
}

/// A running engine.
pub struct Engine {
    handle: Handle,
    recovery: RecoveryReport,
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

/// Lets a ledger follow one event of the book.
pub(crate) fn replay(ledger: &mut Ledger, prints: &Prints, visit: &Visit<'_>) -> Result<(), String> {
    let event = codec::decode(visit.event).map_err(|error| error.to_string())?;
    let at = Moment { op: Op(visit.op), book_time_us: visit.book_time_us };
    ledger.replay(at, &event, prints).map_err(|error| error.to_string())
}

impl Engine {
    /// Opens the book, or begins a new one, replays it from its start, and starts the threads.
    ///
    /// # Errors
    /// [`StartError`], above all where the book is damaged: then nothing is changed and nothing served.
    pub fn start(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: &EngineConfig) -> Result<Self, StartError> {
        let genesis = match genesis_of(&*disk)? {
            Some(genesis) => genesis,
            None => new_genesis(&*clock)?,
        };
        let prints_secret = genesis.secret;
        let prints = Prints::new(prints_secret);
        let mut ledger = Ledger::new(config.limits);
        let opened =
            Journal::open(disk, || genesis, config.journal.clone(), &mut |visit| replay(&mut ledger, &prints, &visit))?;
        if opened.genesis.secret != prints_secret {
            // Another process began this book after the look at it, and is gone again; what was made ready here is not its.
            return Err(JournalError::Locked.into());
        }
        let info = BookInfo {
            book_id: opened.genesis.book_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            incarnation: opened.genesis.incarnation,
            parent: opened.genesis.parent,
        };
        let directory = Arc::new(Directory::default());
        directory.publish(Arc::new(Names::of(&ledger)));
        let shared = Shared {
            queue: Arc::new(Queue::new(config.queue_requests_max)),
            pipeline: Arc::new(Pipeline::new()),
            directory,
            prints,
            book: opened.book,
            info,
            clock,
            queue_age_max_us: config.queue_age_max_us,
            audit: AuditRoom::new(),
        };
        let book_time_us = opened.recovery.last_book_time_us;
        let threads = start_threads(&shared, ledger, opened.writer, book_time_us, config)?;
        Ok(Self { handle: Handle { shared: Arc::new(shared) }, recovery: opened.recovery, threads })
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
    ledger: Ledger,
    writer: crate::journal::Writer,
    book_time_us: i64,
    config: &EngineConfig,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    // Where more requests wait for the readers than this, the engine waits too: that is the queue's bound again. The
    // readers never wait for the engine.
    let (resolvers, jobs) = bounded::<ResolveJob>(config.queue_requests_max.saturating_add(1).saturating_mul(2));
    let mut threads = Vec::new();
    for number in 0..RESOLVERS {
        let (jobs, book, queue) = (jobs.clone(), shared.book.clone(), Arc::clone(&shared.queue));
        let name = format!("resolve-{number}");
        threads.push(thread::Builder::new().name(name).spawn(move || resolve_jobs(&jobs, &book, &queue))?);
    }
    let (pipeline, directory) = (Arc::clone(&shared.pipeline), Arc::clone(&shared.directory));
    let queue = Arc::clone(&shared.queue);
    threads.push(
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || commit::run(writer, &pipeline, &directory, queue.bell()))?,
    );
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
        answers: Vec::new(),
        names_changed: false,
        book_time_us,
        queue_age_max_us: config.queue_age_max_us,
        frame_bytes_full: FRAME_BYTES_FULL.min(frame_bytes_max / 4),
        frame_bytes_max,
    };
    threads.push(thread::Builder::new().name("engine".into()).spawn(move || core.run())?);
    Ok(threads)
}

/// Reads what requests miss and sends them back to the engine; ends when the engine is gone.
fn resolve_jobs(jobs: &Receiver<ResolveJob>, book: &Book, queue: &Queue) {
    while let Ok((mut item, missing)) = jobs.recv() {
        item.attached.read(book, missing);
        queue.push_resolved(item);
    }
}
