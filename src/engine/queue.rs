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

/// What the receiving threads and the engine share.
#[derive(Debug)]
pub(crate) struct Queue {
    items: ArrayQueue<Item>,
    /// Requests whose reads from the book are done. Each was admitted by `items`, so their number is bounded too.
    resolved: SegQueue<Item>,
    bell: Bell,
    closing: AtomicBool,
    closed: AtomicBool,
    /// How long the request that was taken last had waited, in microseconds.
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
        self.items.push(item).map_err(refused(Refusal::QueueFull))?;
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

    /// Takes the oldest request. `now_us` is the monotonic clock's time.
    pub(crate) fn pop(&self, now_us: impl Fn() -> u64) -> Option<(Item, u64)> {
        let Some(item) = self.items.pop() else {
            self.waited_us.store(0, Ordering::Relaxed);
            return None;
        };
        let waited_us = now_us().saturating_sub(item.queued_us);
        self.waited_us.store(waited_us, Ordering::Relaxed);
        self.metrics.taken(waited_us);
        Some((item, waited_us))
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

    pub(crate) fn waited_us(&self) -> u64 {
        self.waited_us.load(Ordering::Relaxed)
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
