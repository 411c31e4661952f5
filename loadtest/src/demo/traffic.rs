//! The night as its clients see it: every command once, and what acknowledged it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use indicatif::ProgressBar;
use stampbook::proto::{Command, Outcome, Receipt};
use tokio::sync::watch;

use super::night::Night;
use crate::Failure;
use crate::clients::Traffic;

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) night: Night,
    /// The next command that no client has taken.
    next: AtomicUsize,
    /// By command: the op that acknowledged it, 0 for none yet.
    pub(super) ops: Vec<AtomicU64>,
    pub(super) answered: AtomicUsize,
    /// Commands sent again because their outcome was unknown, and those of them that turned out to be in the books.
    pub(super) resent: AtomicUsize,
    pub(super) found: AtomicUsize,
    /// Where the server listens; changes when it is started again.
    address: watch::Receiver<String>,
    pub(super) bar: ProgressBar,
}

impl Shared {
    pub(super) fn new(night: Night, address: watch::Receiver<String>, bar: ProgressBar) -> Self {
        Self {
            night,
            next: AtomicUsize::new(0),
            ops: (0..night.commands).map(|_| AtomicU64::new(0)).collect(),
            answered: AtomicUsize::new(0),
            resent: AtomicUsize::new(0),
            found: AtomicUsize::new(0),
            address,
            bar,
        }
    }
}

impl Traffic for Shared {
    fn address(&self) -> watch::Receiver<String> {
        self.address.clone()
    }

    async fn take(&self, most: usize) -> Vec<usize> {
        let from = self.next.fetch_add(most, Ordering::Relaxed).min(self.night.commands);
        (from..(from + most).min(self.night.commands)).collect()
    }

    async fn take_batch(&self, most: usize) -> (Vec<usize>, bool) {
        (self.take(most).await, false)
    }

    fn command(&self, number: usize) -> Command {
        self.night.command(number)
    }

    fn settle(&self, number: usize, receipt: &Receipt) -> Result<(), Failure> {
        if !matches!(receipt.outcome(), Outcome::Applied | Outcome::Rejected) || receipt.op == 0 {
            return Err(format!("command {number} got {receipt:?}").into());
        }
        let op = self.ops.get(number).ok_or("a receipt for no command")?;
        if op.swap(receipt.op, Ordering::Relaxed) != 0 {
            return Err(format!("command {number} was answered twice").into());
        }
        self.found.fetch_add(usize::from(receipt.replayed), Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
        Ok(())
    }

    fn resent(&self, commands: usize) {
        self.resent.fetch_add(commands, Ordering::Relaxed);
    }
}
