//! Shows the events of a book to whoever follows it. Reading and verifying run ahead on a thread of their own.

use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::constants::{REPLAY_HANDOVER_BYTES, REPLAY_HANDOVERS_AHEAD_MAX, REPLAY_PASS_EVENTS};
use crate::io::Disk;

use super::error::{Case, JournalError};
use super::frame::FrameBody;
use super::segment::SegmentFiles;
use super::walk::{Halt, Seen, Visit, Walked, walk};
use super::waypoint::Waypoint;

/// Works something out of the bytes of an event, and may remember something of the events before it.
pub type Preparer<P> = Box<dyn FnMut(&[u8]) -> P + Send>;

/// Follows a book, event by event, in the order of ops.
pub trait Replay {
    /// What is worked out of an event ahead of its turn: hashes, above all. `()` if nothing is.
    type Prepared: Send;

    /// The function that works it out, for one event after the other, on the thread that reads and verifies ahead.
    fn preparer(&self) -> Preparer<Self::Prepared>;

    /// Announces the events that are shown next, at most `REPLAY_PASS_EVENTS` of one frame, in order: a chance to bring
    /// what they will touch into the processor's cache in one pass.
    fn announce(&mut self, _next: &[Self::Prepared]) {}

    /// Follows one event.
    ///
    /// # Errors
    /// Why the event cannot be: that is damage at its frame, and the book is refused.
    fn event(&mut self, visit: Visit<'_>, prepared: &Self::Prepared) -> Result<(), String>;

    /// A frame has ended, an empty one too; the state is that of `at`.
    ///
    /// # Errors
    /// As for [`Replay::event`].
    fn frame_end(&mut self, _at: &Waypoint) -> Result<(), String> {
        Ok(())
    }
}

/// A plain function as a follower.
pub(crate) struct Each<'a, F> {
    pub(crate) visit: &'a mut dyn FnMut(Visit<'_>) -> Result<(), String>,
    pub(crate) on_end: F,
}

impl<F: FnMut(&Waypoint)> Replay for Each<'_, F> {
    type Prepared = ();

    fn preparer(&self) -> Preparer<()> {
        Box::new(|_| ())
    }

    fn event(&mut self, visit: Visit<'_>, _prepared: &()) -> Result<(), String> {
        (self.visit)(visit)
    }

    fn frame_end(&mut self, at: &Waypoint) -> Result<(), String> {
        (self.on_end)(at);
        Ok(())
    }
}

/// A frame on its way from the reader to the follower.
struct Ready<P> {
    body: FrameBody,
    prepared: Vec<P>,
    end: Waypoint,
    file: Arc<str>,
}

impl<P> Ready<P> {
    fn of(seen: &Seen<'_>, prepare: &mut dyn FnMut(&[u8]) -> P) -> Result<Self, JournalError> {
        let (header, frame) = (seen.header, seen.frame);
        let (starts, blocks) = (frame.starts(), frame.blocks_bytes().to_vec());
        let body = FrameBody::from_parts(header.first_op, header.book_time_us, header.count, starts, blocks);
        let prepared: Vec<P> = body.events().map(prepare).collect();
        if u32::try_from(prepared.len()) != Ok(header.count) {
            let detail = "the place of an event in its block is none";
            return Err(JournalError::damaged(Case::EventRefused, seen.file, seen.end.frame_offset, detail));
        }
        Ok(Self { body, prepared, end: seen.end, file: seen.file.clone() })
    }

    fn refused(&self, why: String) -> JournalError {
        JournalError::damaged(Case::EventRefused, &self.file, self.end.frame_offset, why)
    }
}

/// Shows frames to a follower, up to an op if there is one to stop at.
struct Shower<'a, R: Replay + ?Sized> {
    replay: &'a mut R,
    stop_after: Option<u64>,
    shown: u64,
}

impl<R: Replay + ?Sized> Shower<'_, R> {
    fn show(&mut self, frame: &Ready<R::Prepared>) -> Result<(), Halt> {
        let mut op = frame.body.first_op();
        if self.stop_after.is_some_and(|stop| stop < op) {
            return Err(Halt::Enough);
        }
        let last = frame.end.op;
        let book_time_us = frame.body.book_time_us();
        let mut events = frame.body.events();
        for pass in frame.prepared.chunks(REPLAY_PASS_EVENTS) {
            self.replay.announce(pass);
            for (prepared, event) in pass.iter().zip(&mut events) {
                let visit = Visit { op, book_time_us, event, last_in_frame: op == last };
                self.replay.event(visit, prepared).map_err(|why| frame.refused(format!("op {op}: {why}")))?;
                self.shown += 1;
                if self.stop_after == Some(op) && op != last {
                    return Err(Halt::Enough);
                }
                op += 1;
            }
        }
        self.replay.frame_end(&frame.end).map_err(|why| frame.refused(why))?;
        if self.stop_after == Some(last) { Err(Halt::Enough) } else { Ok(()) }
    }
}

/// What came of showing a book.
pub(crate) struct Shown {
    /// The book, if it was walked to its end.
    pub(crate) walked: Option<Walked>,
    /// Events that were shown.
    pub(crate) events: u64,
}

/// Walks a book from `from` on and shows its events to `replay`, up to the op `stop_after` if there is one.
///
/// What comes first in the book is what is reported: an event that is refused, or damage.
pub(crate) fn show<R: Replay + ?Sized>(
    disk: &dyn Disk,
    files: &SegmentFiles,
    from: Option<&Waypoint>,
    stop_after: Option<u64>,
    replay: &mut R,
) -> Result<Shown, JournalError> {
    let mut prepare = replay.preparer();
    let mut shower = Shower { replay, stop_after, shown: 0 };
    let walked = if disk.works_ahead() {
        show_ahead(disk, files, from, &mut prepare, &mut shower)
    } else {
        walk(disk, files, from, &mut |seen| shower.show(&Ready::of(&seen, &mut prepare)?))
    };
    let walked = match walked {
        Ok(walked) => Some(walked),
        Err(Halt::Enough) => None,
        Err(Halt::Error(error)) => return Err(error),
    };
    Ok(Shown { walked, events: shower.shown })
}

fn show_ahead<R: Replay + ?Sized>(
    disk: &dyn Disk,
    files: &SegmentFiles,
    from: Option<&Waypoint>,
    prepare: &mut Preparer<R::Prepared>,
    shower: &mut Shower<'_, R>,
) -> Result<Walked, Halt> {
    let (sender, receiver) = bounded(REPLAY_HANDOVERS_AHEAD_MAX);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("journal-read".to_owned());
        let reader = thread.spawn_scoped(scope, move || read_ahead(disk, files, from, prepare, &sender));
        let reader = reader.map_err(JournalError::io("start the thread that reads", "the book"))?;
        let shown = show_received(receiver, shower);
        let walked = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        shown.and(walked)
    })
}

/// Shows what the reader sends. Returning lets go of the channel, and the reader stops.
fn show_received<R: Replay + ?Sized>(
    receiver: Receiver<Vec<Ready<R::Prepared>>>,
    shower: &mut Shower<'_, R>,
) -> Result<(), Halt> {
    receiver.into_iter().flatten().try_for_each(|frame| shower.show(&frame))
}

/// Reads and verifies, and sends the frames on, many small ones together.
fn read_ahead<P: Send>(
    disk: &dyn Disk,
    files: &SegmentFiles,
    from: Option<&Waypoint>,
    prepare: &mut Preparer<P>,
    sender: &Sender<Vec<Ready<P>>>,
) -> Result<Walked, Halt> {
    let (mut frames, mut bytes) = (Vec::new(), 0);
    let walked = walk(disk, files, from, &mut |seen| {
        let ready = Ready::of(&seen, prepare)?;
        bytes += ready.body.body_bytes();
        frames.push(ready);
        // Frames are few where they are large, and many where they are small; either may fill a hand-over.
        if bytes < REPLAY_HANDOVER_BYTES && frames.len() < REPLAY_HANDOVER_BYTES / 4096 {
            return Ok(());
        }
        bytes = 0;
        sender.send(std::mem::take(&mut frames)).map_err(|_| Halt::Enough)
    });
    // What came before the end, or before an error, is shown first. Nobody listens any more if the follower has refused.
    let _ = sender.send(frames);
    walked
}
