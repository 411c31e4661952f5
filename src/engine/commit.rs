//! The journal's thread: one frame at a time is chained, written and synced; only then its answers are let go. The
//! first error latches: nothing is answered after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use tokio::sync::watch;

use super::bell::Bell;
use super::metrics::Metrics;
use super::names::{Directory, Names};
use super::queue::Reply;
use super::request::Answer;
use crate::constants::{FRAMES_AHEAD_MAX, IDLE_WITNESS_MS};
use crate::io::Clock;
use crate::journal::{FrameBody, JournalError, Writer};

/// A frame of this size is queued behind the sync in flight; a smaller one goes on growing until that is done.
const FRAME_BYTES_LARGE: usize = 64 * 1024;

/// An answer that waits for its op to become durable.
pub(crate) type Held = (Reply, Answer);

/// A frame and the answers that may go once it is durable, or answers alone that wait for the frames before.
pub(crate) struct Job {
    pub(crate) frame: Option<Arc<FrameBody>>,
    pub(crate) names: Option<Arc<Names>>,
    pub(crate) answers: Vec<Held>,
}

/// What the engine and the journal's thread share.
pub(crate) struct Pipeline {
    jobs: ArrayQueue<Job>,
    /// Wakes the journal's thread.
    bell: Bell,
    closed: AtomicBool,
    /// Whether the journal's thread is at work on a job.
    busy: AtomicBool,
    failed: watch::Sender<Option<String>>,
}

impl Pipeline {
    pub(crate) fn new() -> Self {
        // One frame is being synced, so that many more may wait; the engine decides the one after.
        let waiting = FRAMES_AHEAD_MAX.saturating_sub(1).max(1);
        Self {
            jobs: ArrayQueue::new(waiting),
            bell: Bell::default(),
            closed: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            failed: watch::Sender::new(None),
        }
    }

    /// Hands a job over; gives it back while there is no room.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        self.jobs.push(job)?;
        self.bell.ring();
        Ok(())
    }

    /// Whether a frame of that many bytes may be handed over now. A small one waits for the sync in flight and grows in the
    /// meantime, since a sync costs the same for one command as for hundreds; a large one is worth queueing behind it.
    pub(crate) fn takes(&self, frame_bytes: usize) -> bool {
        self.is_idle() || (frame_bytes >= FRAME_BYTES_LARGE && !self.jobs.is_full())
    }

    /// Whether a frame of that many bytes goes though more requests wait to be decided: so that the journal is at work while they
    /// are, and their callers do not all wait for the last of them.
    pub(crate) fn wants(&self, frame_bytes: usize) -> bool {
        frame_bytes >= FRAME_BYTES_LARGE && self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && !self.busy.load(Ordering::SeqCst)
    }

    /// No more jobs will come.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    /// Whether a write or sync failed, so that nothing may be answered any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// Nothing is answered from now on. The first reason stays: what fails after it fails because of it.
    pub(crate) fn fail(&self, why: String) {
        self.failed.send_if_modified(|first| {
            let fails = first.is_none();
            first.get_or_insert(why);
            fails
        });
    }

    pub(crate) fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }
}

/// Runs until the pipeline is closed and empty, or until the first error.
pub(crate) fn run(
    mut writer: Writer,
    pipeline: &Pipeline,
    directory: &Directory,
    engine: &Bell,
    metrics: &Metrics,
    clock: &dyn Clock,
) {
    let append = |writer: &mut Writer, frame: Arc<FrameBody>| {
        let (events, begun_us) = (frame.count(), clock.monotonic_us());
        writer.append(frame)?;
        metrics.written(events, clock.monotonic_us().saturating_sub(begun_us));
        Ok(())
    };
    pipeline.bell.claim();
    let idle = Duration::from_millis(IDLE_WITNESS_MS);
    let mut witnessed = true;
    loop {
        if let Some(job) = pipeline.jobs.pop() {
            pipeline.busy.store(true, Ordering::SeqCst);
            engine.ring();
            witnessed = witnessed && job.frame.is_none();
            if let Err(error) = commit(|frame| append(&mut writer, frame), job, pipeline, directory) {
                pipeline.fail(error.to_string());
                engine.ring();
                return;
            }
            pipeline.busy.store(false, Ordering::SeqCst);
            engine.ring();
            continue;
        }
        let closed = pipeline.closed.load(Ordering::SeqCst) && pipeline.jobs.is_empty();
        pipeline.bell.sleep(|| !pipeline.jobs.is_empty() || closed, idle);
        let still_idle = pipeline.jobs.is_empty();
        if still_idle && !witnessed {
            if let Err(error) = writer.witness() {
                pipeline.fail(error.to_string());
                engine.ring();
                return;
            }
            witnessed = true;
        }
        if closed && still_idle {
            return;
        }
    }
}

fn commit(
    append: impl FnOnce(Arc<FrameBody>) -> Result<(), JournalError>,
    job: Job,
    pipeline: &Pipeline,
    directory: &Directory,
) -> Result<(), JournalError> {
    let synced = job.frame.map_or(Ok(()), append);
    if let Err(error) = synced {
        // The callers must not even learn that their channel is gone: whether the frame lies on the disk is unknown
        // until the next start, so they get no answer from this process.
        std::mem::forget(job.answers);
        return Err(error);
    }
    if let Some(names) = job.names {
        directory.publish(names);
    }
    if pipeline.has_failed() {
        std::mem::forget(job.answers);
        return Ok(());
    }
    for (reply, answer) in job.answers {
        // A caller that is gone gets its answer by sending the key again.
        let _gone = reply.send(Ok(answer));
    }
    Ok(())
}
