//! Turns at reading batches. Only so many are read at once as there are threads to read them: the others wait here and not
//! among the runtime's tasks, where what is too much would wait behind them before it is refused.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// What the newest time between two turns counts for in their mean: one part in so many.
const MEMORY: u64 = 8;

/// What a turn counts for at most: whatever stopped the process for longer does so no more.
const TURN_NS_MAX: u64 = 1_000_000_000;

/// The turns, first come, first served.
pub(super) struct Turns {
    places: Semaphore,
    waiting: AtomicUsize,
    since: Instant,
    /// When the last turn ended, in nanoseconds after `since`; 0 where nobody waited for its end.
    ended_ns: AtomicU64,
    /// From the end of one turn to the end of the next while others wait, on average.
    pace_ns: AtomicU64,
}

impl Turns {
    /// Turns for so many at once.
    pub(super) fn new(places: usize) -> Self {
        let (waiting, ended_ns, pace_ns) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { places: Semaphore::new(places), waiting, since: Instant::now(), ended_ns, pace_ns }
    }

    /// How long one who came now would wait, in microseconds, by how fast it went of late.
    pub(super) fn wait_us(&self) -> u64 {
        let waiting = u64::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        waiting.saturating_mul(self.pace_ns.load(Ordering::Relaxed)) / 1_000
    }

    /// Waits for a turn, which lasts until it is dropped.
    pub(super) async fn take(&self) -> Turn<'_> {
        let place = match self.places.try_acquire() {
            Ok(place) => Some(place),
            Err(_) => {
                let waiting = Waiting::among(self);
                // It is never closed.
                let place = self.places.acquire().await.ok();
                drop(waiting);
                place
            }
        };
        // Between two turns the thread sees to its connections and to those that it refuses. Who comes to it meanwhile waits for a
        // place: without this nobody ever would, since whoever reads has the thread.
        tokio::task::yield_now().await;
        Turn { turns: self, _place: place }
    }

    fn ended(&self) {
        let now_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let is_awaited = self.waiting.load(Ordering::Relaxed) > 0;
        let before_ns = self.ended_ns.swap(if is_awaited { now_ns } else { 0 }, Ordering::Relaxed);
        if before_ns != 0 {
            let took_ns = now_ns.saturating_sub(before_ns).min(TURN_NS_MAX);
            let pace_ns = self.pace_ns.load(Ordering::Relaxed);
            let mean_ns = if pace_ns == 0 { took_ns } else { pace_ns - pace_ns / MEMORY + took_ns / MEMORY };
            self.pace_ns.store(mean_ns, Ordering::Relaxed);
        }
    }
}

/// A turn.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    _place: Option<SemaphorePermit<'a>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.ended();
    }
}

/// One who waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(turns: &'a Turns) -> Self {
        turns.waiting.fetch_add(1, Ordering::Relaxed);
        Self(&turns.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const TURN: Duration = Duration::from_millis(10);

    /// Who comes one after the other for a turn of 10 ms, and the order in which they are done.
    fn queue(turns: &Arc<Turns>, count: usize) -> Arc<Mutex<Vec<usize>>> {
        let order = Arc::<Mutex<Vec<usize>>>::default();
        for place in 0..count {
            let (turns, order) = (Arc::clone(turns), Arc::clone(&order));
            tokio::spawn(async move {
                let turn = turns.take().await;
                sleep(TURN).await;
                order.lock().unwrap().push(place);
                drop(turn);
            });
        }
        order
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_foretold_by_who_is_ahead_and_how_fast_it_went_before() {
        let turns = Arc::new(Turns::new(1));
        queue(&turns, 5);
        sleep(TURN / 2).await;
        assert_eq!(turns.wait_us(), 0, "nothing is known of the pace");
        sleep(2 * TURN).await;
        // The third has its turn.
        assert!(turns.wait_us().abs_diff(20_000) < 5_000, "{}", turns.wait_us());
        sleep(5 * TURN).await;
        assert_eq!(turns.wait_us(), 0);
        // The time in which nobody came slows nobody down.
        sleep(100 * TURN).await;
        queue(&turns, 4);
        sleep(TURN / 2).await;
        assert!(turns.wait_us().abs_diff(30_000) < 5_000, "{}", turns.wait_us());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_in_order_and_only_so_many_at_once() {
        let turns = Arc::new(Turns::new(2));
        let done = queue(&turns, 5);
        for done_by_now in [0, 2, 4, 5] {
            sleep(TURN / 2).await;
            // Of those who have their turn together either may be done first.
            done.lock().unwrap().sort_unstable();
            assert_eq!(*done.lock().unwrap(), (0..done_by_now).collect::<Vec<_>>());
            sleep(TURN / 2 + TURN / 10).await;
        }
    }

    #[tokio::test]
    async fn who_goes_away_is_waited_for_no_longer() {
        let turns = Arc::new(Turns::new(1));
        let turn = turns.take().await;
        let waiting = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { drop(turns.take().await) })
        };
        while turns.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        assert!(waiting.await.is_err());
        assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
        drop(turn);
        drop(turns.take().await);
    }
}
