//! The bounded lock-free queue between the threads that receive requests and the one that decides them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam::queue::{ArrayQueue, SegQueue};
use tokio::sync::oneshot;

use super::bell::Bell;
use super::metrics::Metrics;
use super::request::{Answer, Read, Refusal, Refused, Work};
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
    /// What it counts for among those that wait: its commands, or the members that it reads, and one at least.
    pub(crate) fn weight(&self) -> u64 {
        let weight = match &self.work {
            Work::Post { commands, .. } => commands.len(),
            Work::Read(Read::Members(members) | Read::Cards { members, .. }) => members.len(),
            Work::Admin(_) | Work::Read(_) => 1,
        };
        u64::try_from(weight).unwrap_or(u64::MAX).max(1)
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
    /// What the requests in `items`, and those set aside, weigh.
    weight: AtomicU64,
    /// Requests that the engine looked at and set aside: they wait as well.
    aside: AtomicUsize,
    /// What the engine needs for one of that of late, in nanoseconds; 0 where it is not known.
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
            weight: AtomicU64::new(0),
            aside: AtomicUsize::new(0),
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
        if self.is_full() {
            return Err(refused(Refusal::QueueFull)(item));
        }
        let weight = item.weight();
        self.weight.fetch_add(weight, Ordering::Relaxed);
        self.items.push(item).map_err(|item| {
            self.weight.fetch_sub(weight, Ordering::Relaxed);
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

    /// Takes the oldest request, which still waits until [`Queue::taken`].
    pub(crate) fn pop(&self) -> Option<Item> {
        self.items.pop()
    }

    /// Says how many requests were popped and not yet taken.
    pub(crate) fn set_aside(&self, requests: usize) {
        self.aside.store(requests, Ordering::Relaxed);
    }

    /// Says how long the oldest request has waited by now.
    pub(crate) fn set_waited_us(&self, waited_us: u64) {
        self.waited_us.store(waited_us, Ordering::Relaxed);
    }

    /// Says that a request is decided or refused now.
    pub(crate) fn taken(&self, item: &Item, waited_us: u64) {
        self.weight.fetch_sub(item.weight(), Ordering::Relaxed);
        self.metrics.taken(waited_us);
    }

    /// Says what the engine needs for a command of late, in nanoseconds; 0 where it is not known.
    pub(crate) fn set_pace_ns(&self, pace_ns: u64) {
        self.pace_ns.store(pace_ns, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.resolved.is_empty()
    }

    pub(crate) fn has_resolved(&self) -> bool {
        !self.resolved.is_empty()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.items.capacity()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len().saturating_add(self.aside.load(Ordering::Relaxed)) >= self.items.capacity()
    }

    /// How long one who came now would wait, in microseconds: not less than the oldest has waited, and as long as the engine
    /// needs for those ahead of it by how fast it was of late.
    pub(crate) fn wait_us(&self) -> u64 {
        let ahead = self.weight.load(Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ledger::ids::ProgramNo;

    #[test]
    fn the_wait_of_one_who_comes_now_is_that_of_all_ahead_of_him_and_not_less_than_that_of_the_oldest() {
        let queue = Queue::new(3, Arc::new(Metrics::new().unwrap()));
        let item = |read| {
            let (reply, _) = oneshot::channel();
            Item { work: Work::Read(read), reply, queued_us: 0, attached: Attached::default() }
        };
        let members = || item(Read::Members(vec![7; 400]));
        let one = || item(Read::Expiring { program: ProgramNo(1), member: None, until_us: 0 });
        assert_eq!(queue.wait_us(), 0);
        [members(), members(), one()].into_iter().for_each(|item| queue.push(item).unwrap());
        assert_eq!(queue.wait_us(), 0, "nothing is known");
        queue.set_pace_ns(5_000);
        assert_eq!(queue.wait_us(), 801 * 5);
        // One that is not taken in does not count.
        assert!(queue.push(members()).is_err());
        assert_eq!(queue.wait_us(), 801 * 5);
        let first = queue.pop().unwrap();
        assert_eq!(queue.wait_us(), 801 * 5, "it is not taken yet");
        queue.set_aside(1);
        assert!(queue.is_full() && queue.push(members()).is_err());
        queue.set_aside(0);
        queue.taken(&first, 0);
        queue.set_waited_us(2_000);
        assert_eq!(queue.wait_us(), 401 * 5);
        queue.set_waited_us(9_000);
        assert_eq!(queue.wait_us(), 9_000);
        while let Some(item) = queue.pop() {
            queue.taken(&item, 0);
        }
        queue.set_waited_us(0);
        assert_eq!(queue.wait_us(), 0);
    }
}
