//! Shows the events of a book to whoever follows it. Reading and verifying run ahead on a thread of their own.

use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::constants::{REPLAY_HANDOVER_BYTES, REPLAY_HANDOVERS_AHEAD_MAX};
use crate::io::Disk;

use super::error::{Case, JournalError};
use super::frame::FrameBody;
use super::segment::SegmentFiles;
use super::walk::{Halt, Seen, Visit, Walked, walk};
use super::waypoint::Waypoint;

/// Makes of a frame what its follower wants of it, and may remember something of the frames before it.
pub type Preparer<F> = Box<dyn FnMut(FrameBody) -> F + Send>;

/// Follows a book, frame by frame, in the order of ops.
pub trait Replay {
    /// A frame's events with what is worked out of them ahead of their turn: decoded and hashed, above all.
    type Frame: Send;

    /// The function that works it out, for one frame after the other, on the thread that reads and verifies ahead.
    fn preparer(&self) -> Preparer<Self::Frame>;

    /// Follows the events of a frame whose ops are at most `upto`.
    ///
    /// # Errors
    /// Why an event cannot be: that is damage at its frame, and the book is refused.
    fn events(&mut self, frame: &Self::Frame, upto: u64) -> Result<(), String>;

    /// A frame has ended, an empty one too; the state is that of `at`.
    ///
    /// # Errors
    /// As for [`Replay::events`].
    fn frame_end(&mut self, _at: &Waypoint) -> Result<(), String> {
        Ok(())
    }
}

/// Visits the events of a frame whose ops are at most `upto`.
///
/// # Errors
/// The op that is refused, and why.
pub fn each_event(
    frame: &FrameBody,
    upto: u64,
    visit: &mut dyn FnMut(Visit<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let behind = frame.first_op() + u64::from(frame.count());
    for (op, event) in (frame.first_op()..=upto).zip(frame.events()) {
        let seen = Visit { op, book_time_us: frame.book_time_us(), event, last_in_frame: op + 1 == behind };
        visit(seen).map_err(|why| format!("op {op}: {why}"))?;
    }
    Ok(())
}

/// A plain function as a follower.
pub(crate) struct Each<'a, F> {
    pub(crate) visit: &'a mut dyn FnMut(Visit<'_>) -> Result<(), String>,
    pub(crate) on_end: F,
}

impl<F: FnMut(&Waypoint)> Replay for Each<'_, F> {
    type Frame = FrameBody;

    fn preparer(&self) -> Preparer<FrameBody> {
        Box::new(|body| body)
    }

    fn events(&mut self, frame: &FrameBody, upto: u64) -> Result<(), String> {
        each_event(frame, upto, self.visit)
    }

    fn frame_end(&mut self, at: &Waypoint) -> Result<(), String> {
        (self.on_end)(at);
        Ok(())
    }
}

/// A frame on its way from the reader to the follower.
struct Ready<F> {
    frame: F,
    first_op: u64,
    body_bytes: usize,
    end: Waypoint,
    file: Arc<str>,
}

impl<F> Ready<F> {
    fn of(seen: &Seen<'_>, prepare: &mut dyn FnMut(FrameBody) -> F) -> Result<Self, JournalError> {
        let (header, frame) = (seen.header, seen.frame);
        let (starts, blocks) = (frame.starts(), frame.blocks_bytes().to_vec());
        let body = FrameBody::from_parts(header.first_op, header.book_time_us, header.count, starts, blocks);
        if u32::try_from(body.events().count()) != Ok(header.count) {
            let detail = "the place of an event in its block is none";
            return Err(JournalError::damaged(Case::EventRefused, seen.file, seen.end.frame_offset, detail));
        }
        let (first_op, body_bytes) = (header.first_op, body.body_bytes());
        Ok(Self { frame: prepare(body), first_op, body_bytes, end: seen.end, file: seen.file.clone() })
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
    fn show(&mut self, ready: &Ready<R::Frame>) -> Result<(), Halt> {
        let stop = self.stop_after.unwrap_or(u64::MAX);
        if stop < ready.first_op {
            return Err(Halt::Enough);
        }
        let last = ready.end.op;
        self.replay.events(&ready.frame, stop).map_err(|why| ready.refused(why))?;
        self.shown += (last.min(stop) + 1).saturating_sub(ready.first_op);
        if stop < last {
            return Err(Halt::Enough);
        }
        self.replay.frame_end(&ready.end).map_err(|why| ready.refused(why))?;
        if stop == last { Err(Halt::Enough) } else { Ok(()) }
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
    prepare: &mut Preparer<R::Frame>,
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
    receiver: Receiver<Vec<Ready<R::Frame>>>,
    shower: &mut Shower<'_, R>,
) -> Result<(), Halt> {
    receiver.into_iter().flatten().try_for_each(|frame| shower.show(&frame))
}

/// Reads and verifies, and sends the frames on, many small ones together.
fn read_ahead<F: Send>(
    disk: &dyn Disk,
    files: &SegmentFiles,
    from: Option<&Waypoint>,
    prepare: &mut Preparer<F>,
    sender: &Sender<Vec<Ready<F>>>,
) -> Result<Walked, Halt> {
    let (mut frames, mut bytes) = (Vec::new(), 0);
    let walked = walk(disk, files, from, &mut |seen| {
        let ready = Ready::of(&seen, prepare)?;
        bytes += ready.body_bytes;
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
