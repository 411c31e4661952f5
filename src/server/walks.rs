//! Walks through the whole book for a caller: so many at a time, each for as long as somebody waits for it.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tonic::Status;

use super::desk::blocking;
use super::status;
use crate::audit::export::ExportError;
use crate::audit::export::source::{EachEvent, Events};

/// Where walks of a kind take turns.
#[derive(Clone)]
pub(super) struct Walks {
    turns: Arc<Semaphore>,
}

/// Whether anybody still waits for a walk.
pub(super) struct Waiting(Arc<AtomicBool>);

impl Waiting {
    /// The events of a book, until nobody waits for what is read of them.
    pub(super) fn of<'a>(&'a self, book: &'a dyn Events) -> Awaited<'a> {
        Awaited { book, given_up: &self.0 }
    }
}

/// The events of a book, until nobody waits for what is read of them.
pub(super) struct Awaited<'a> {
    book: &'a dyn Events,
    given_up: &'a AtomicBool,
}

impl Events for Awaited<'_> {
    fn each(&self, from: u64, to: u64, each: &mut EachEvent<'_>) -> Result<(), ExportError> {
        self.book.each(from, to, &mut |op, time_us, bytes| match self.given_up.load(Ordering::Relaxed) {
            true => Err(ExportError::Refused("nobody waits for it any more".to_owned())),
            false => each(op, time_us, bytes),
        })
    }
}

/// Gives a walk up when the call that waits for it ends.
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Walks {
    /// So many at a time; others wait.
    #[must_use]
    pub(super) fn new(at_a_time: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_a_time)) }
    }

    /// Walks when its turn has come, where it holds up no other request.
    ///
    /// # Errors
    /// The status of a book that cannot be read.
    pub(super) async fn walk<T, E, F>(&self, walk: F) -> Result<T, Status>
    where
        T: Send + 'static,
        E: Display + Send + 'static,
        F: FnOnce(&Waiting) -> Result<T, E> + Send + 'static,
    {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| status::unexpected())?;
        let given_up = Arc::new(AtomicBool::new(false));
        let _give_up = GiveUp(Arc::clone(&given_up));
        let walking = blocking(move || {
            // The next one's turn comes when this walk is over, whoever still waits for it.
            let _turn = turn;
            walk(&Waiting(given_up))
        });
        walking.await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;

    use super::*;

    /// A book without an end.
    struct Endless;

    impl Events for Endless {
        fn each(&self, from: u64, _to: u64, each: &mut EachEvent<'_>) -> Result<(), ExportError> {
            (from..).try_for_each(|op| each(op, 0, &[]))
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_walk_that_nobody_waits_for_ends_and_keeps_its_turn_until_then() {
        let walks = Walks::new(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = mpsc::channel();
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let walking = {
            let walks = walks.clone();
            tokio::spawn(async move {
                let walk = move |waiting: &Waiting| {
                    begun.send(()).unwrap();
                    goes_on.recv().unwrap();
                    let walked = waiting.of(&Endless).each(1, 1, &mut |_, _, _| Ok(()));
                    ended.send(walked.is_err()).unwrap();
                    walked
                };
                walks.walk(walk).await
            })
        };
        has_begun.await.unwrap();
        walking.abort();
        assert!(walking.await.unwrap_err().is_cancelled());
        assert_eq!(walks.turns.available_permits(), 0, "it still reads");
        go_on.send(()).unwrap();
        assert!(has_ended.await.unwrap());
        walks.walk(|_| Ok::<_, ExportError>(())).await.unwrap();
    }
}
