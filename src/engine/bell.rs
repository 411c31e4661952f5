//! Wakes a thread that sleeps for want of work. Ringing costs a fence and a load while the thread is awake.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    asleep: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Bell {
    /// Says that the calling thread is the one that sleeps here. Only the first call counts.
    pub(crate) fn claim(&self) {
        let _first = self.sleeper.set(thread::current());
    }

    /// Wakes the sleeper if it sleeps; called after the work was made visible.
    pub(crate) fn ring(&self) {
        // Either this load sees the sleeper asleep, or the sleeper's last look, after its own fence, sees the work.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && self.asleep.swap(false, Ordering::AcqRel)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }

    /// Sleeps until rung or until the time is up, unless `ready` says that there is work.
    pub(crate) fn sleep(&self, ready: impl Fn() -> bool, at_most: Duration) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !ready() {
            thread::park_timeout(at_most);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }
}
