//! The bounded lock-free queue between the threads that receive requests and the one that decides them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::{ArrayQueue, SegQueue};
use tokio::sync::oneshot;

use super::bell::Bell;
use super::metrics::Metrics;
use super::request::{Answer, Refusal, Refused, Work};
use super::resolve::Attached;

/// Where the answer to a request goes.
pub(crate) type Reply = oneshot::Sender<Result<Answer, Refusal>>;

/// A request on its way through the engine.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) work: Work,
    pub(crate) reply: Reply,
    /// When it was queued, by the monotonic clock in microseconds.
    pub(crate) queued_us: u64,
    /// What was read from the book for it.
    pub(crate) attached: Attached,
}

impl Item {
    /// What it counts for among those that wait.
    pub(crate) fn commands(&self) -> u64 {
        match &self.work {
            Work::Post { commands, .. } => u64::try_from(commands.len()).unwrap_or(u64::MAX).max(1),
            Work::Admin(_) | Work::Read(_) => 1,
        }
    }
}

/// What the receiving threads and the engine share.
#[derive(Debug)]
pub(crate) struct Queue {
    items: ArrayQueue<Item>,
    /// Requests whose reads from the book are done. Each was admitted by `items`, so their number is bounded too.
    resolved: SegQueue<Item>,
    bell: Bell,
    closing: AtomicBool,
    closed: AtomicBool,
    /// Commands of the requests in `items`; a request without any counts as one.
    commands: AtomicU64,
    /// What the engine needs for a command of late, in nanoseconds.
    pace_ns: AtomicU64,
    /// How long the oldest request had waited when the engine last looked, in microseconds.
    waited_us: AtomicU64,
    /// Learns how long each request had waited.
    metrics: Arc<Metrics>,
}

impl Queue {
    pub(crate) fn new(requests_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            items: ArrayQueue::new(requests_max.max(1)),
            resolved: SegQueue::new(),
            bell: Bell::default(),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            commands: AtomicU64::new(0),
            pace_ns: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            metrics,
        }
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Queues a request, or hands it back and says why.
    pub(crate) fn push(&self, item: Item) -> Result<(), Refused> {
        let refused = |refusal| move |item: Item| Refused { refusal, work: item.work };
        if self.closing.load(Ordering::Acquire) {
            return Err(refused(Refusal::ShuttingDown)(item));
        }
        let commands = item.commands();
        self.commands.fetch_add(commands, Ordering::Relaxed);
        self.items.push(item).map_err(|item| {
            self.commands.fetch_sub(commands, Ordering::Relaxed);
            refused(Refusal::QueueFull)(item)
        })?;
        self.bell.ring();
        // The engine may have ended between the look at `closing` and the push; then nobody else takes the item.
        if self.closed.load(Ordering::SeqCst) {
            self.refuse_all();
        }
        Ok(())
    }

    pub(crate) fn push_resolved(&self, item: Item) {
        self.resolved.push(item);
        self.bell.ring();
    }

    pub(crate) fn pop_resolved(&self) -> Option<Item> {
        self.resolved.pop()
    }

    /// Takes the oldest request.
    pub(crate) fn pop(&self) -> Option<Item> {
        let item = self.items.pop();
        match &item {
            Some(item) => _ = self.commands.fetch_sub(item.commands(), Ordering::Relaxed),
            None => self.waited_us.store(0, Ordering::Relaxed),
        }
        item
    }

    /// Says how long the oldest request has waited by now.
    pub(crate) fn set_waited_us(&self, waited_us: u64) {
        self.waited_us.store(waited_us, Ordering::Relaxed);
    }

    /// Says that the oldest request was taken.
    pub(crate) fn taken(&self, waited_us: u64) {
        self.metrics.taken(waited_us);
    }

    /// Says what the engine needs for a command of late.
    pub(crate) fn set_pace_ns(&self, pace_ns: u64) {
        self.pace_ns.store(pace_ns, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.resolved.is_empty()
    }

    pub(crate) fn has_resolved(&self) -> bool {
        !self.resolved.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.is_full()
    }

    /// How long one who came now would wait, in microseconds: not less than the oldest has waited, and as long as the engine
    /// needs for those ahead of it by how fast it was of late.
    pub(crate) fn wait_us(&self) -> u64 {
        let ahead = self.commands.load(Ordering::Relaxed);
        let foretold_us = ahead.saturating_mul(self.pace_ns.load(Ordering::Relaxed)) / 1_000;
        foretold_us.max(self.waited_us.load(Ordering::Relaxed))
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Takes no more requests; those that are in are still decided.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    /// Says that the engine takes nothing any more, and refuses what came in too late.
    pub(crate) fn end(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.closed.store(true, Ordering::SeqCst);
        self.refuse_all();
    }

    fn refuse_all(&self) {
        while let Some(item) = self.items.pop() {
            // The receiver may be gone; then nobody waits for the answer.
            let _gone = item.reply.send(Err(Refusal::ShuttingDown));
        }
    }
}
