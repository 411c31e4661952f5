//! What falls due by itself: written before a member's command is decided, so that it sees what has ended, and by a paced
//! sweep for the members of whom nobody asks.

use super::run::{Broken, COMMANDS_PER_PASS, Core};
use crate::constants::{COMMAND_BYTES_MAX, DUE_EVENTS_PER_FRAME, DUE_PAGES_PER_LOOK, DUE_REST_US, FREEING_EVENTS_MAX};
use crate::journal::FrameBuilder;
use crate::ledger::command::{AdminCommand, Command};
use crate::ledger::event::Event;
use crate::ledger::ids::MemberNo;
use crate::ledger::{Hashes, Wanted, WantedSoFar};

/// Where the sweep stands.
#[derive(Debug)]
pub(crate) struct Sweep {
    from: MemberNo,
    /// Events that the open frame still takes.
    room: usize,
    /// It rests until this book time, in microseconds since the Unix epoch.
    rests_until_us: i64,
    /// Commands of the request that is being decided.
    asked: usize,
}

impl Sweep {
    pub(crate) fn new() -> Self {
        Self { from: MemberNo(0), room: DUE_EVENTS_PER_FRAME, rests_until_us: i64::MIN, asked: 0 }
    }

    /// For a new request that comes to so many events.
    pub(super) fn begin(&mut self, events: usize) {
        self.asked = events;
    }

    /// For a new frame.
    pub(crate) fn renew(&mut self) {
        self.room = DUE_EVENTS_PER_FRAME;
    }
}

impl Core {
    /// Lets the next events have the time of now: an open frame in which nothing stands yet is given back.
    pub(super) fn renew(&mut self) {
        if let Some(open) = self.open.take_if(|open| open.count() == 0) {
            self.spent.keep_own(open.close());
        }
    }

    fn write_due(&mut self, event: &Event<'_>) -> Result<(), Broken> {
        let at = self.next();
        self.write(at, event, Hashes { key: self.prints.own(at.op), member: 0, other: 0 })?;
        Ok(())
    }

    /// Writes all that is due of a member at the time of the open frame; how many events that took.
    fn tend_member(&mut self, member: MemberNo) -> Result<usize, Broken> {
        let mut written = 0;
        loop {
            let at = self.next();
            let Some(event) = self.ledger.due(member, at) else { return Ok(written) };
            self.write_due(&event)?;
            written += 1;
            // Whatever is due of one member is not bound by what a frame holds.
            if self.frame_is_full() {
                self.hand_over_waiting();
            }
        }
    }

    /// Writes what is due of the members of a request, and of those whose holds are over and reserve what it wants; `false` where
    /// that is more than one request has written, so that it cannot be decided yet.
    pub(super) fn tend(&mut self, commands: &[Command]) -> Result<bool, Broken> {
        let events = commands.iter().map(Command::events).sum::<usize>();
        let mut freeing = Some(FREEING_EVENTS_MAX);
        self.tend_before(events, |core| {
            let (mut written, mut so_far) = (0, WantedSoFar::default());
            for pass in commands.chunks(COMMANDS_PER_PASS) {
                core.ledger.touch(pass);
                for command in pass {
                    let other = command.action.other().map(|named| named.hash);
                    for hash in [Some(command.member_hash), other].into_iter().flatten() {
                        if let Some(member) = core.ledger.member(hash) {
                            written += core.tend_member(member)?;
                        }
                    }
                    for part in std::iter::once(command).chain(command.parts()) {
                        // Whatever holds what, a key that is known gets its first answer.
                        let is_new = || core.ledger.key(command.key_print).is_none();
                        if let Some(wanted) = core.ledger.wanted(part).filter(|_| is_new()) {
                            written += core.free_pieces(so_far.add(wanted), &mut freeing)?;
                        }
                    }
                }
            }
            Ok(written)
        })?;
        Ok(freeing.is_some())
    }

    /// Writes what stands in the way of an operator's command that comes to so many events: the ends of holds that are over and
    /// reserve pieces which it takes out of a stock; `false` as of [`Self::tend`].
    pub(super) fn tend_operator(&mut self, command: &AdminCommand, events: usize) -> Result<bool, Broken> {
        let wanted = self.ledger.wanted_by_operator(command);
        let Some(wanted) = wanted.filter(|_| self.ledger.key(command.key_print).is_none()) else { return Ok(true) };
        let mut freeing = Some(FREEING_EVENTS_MAX);
        self.tend_before(events, |core| core.free_pieces(wanted, &mut freeing))?;
        Ok(freeing.is_some())
    }

    /// Writes what is due before a request, and leaves room in the open frame for its events, which lie in one frame and
    /// have one time: where that frame is a new one, more may be due by then. `write` says how many events it wrote.
    fn tend_before(
        &mut self,
        events: usize,
        mut write: impl FnMut(&mut Self) -> Result<usize, Broken>,
    ) -> Result<(), Broken> {
        self.sweep.begin(events);
        loop {
            self.make_room(events);
            let at = self.next();
            let written = write(self)?;
            let most = events.saturating_mul(COMMAND_BYTES_MAX);
            let fits = |open: &FrameBuilder| open.bytes().saturating_add(most) <= self.frame_bytes_max;
            let same = self.open.as_ref().is_some_and(|open| open.book_time_us() == at.book_time_us && fits(open));
            if written == 0 || same {
                return Ok(());
            }
        }
    }

    /// Ends holds that are over until so many pieces of a reward are left as are wanted or no such hold is left; how many events that
    /// took. `freeing` says how many more the request may have written, and is `None` once it needs more.
    fn free_pieces(&mut self, wanted: Wanted, freeing: &mut Option<usize>) -> Result<usize, Broken> {
        let mut written = 0;
        loop {
            let at = self.next();
            let Some(event) = self.ledger.due_for(wanted, at) else { return Ok(written) };
            *freeing = freeing.and_then(|left| left.checked_sub(1));
            if freeing.is_none() {
                return Ok(written);
            }
            self.write_due(&event)?;
            written += 1;
            if self.frame_is_full() {
                self.hand_over_waiting();
            }
        }
    }

    /// Writes what an event makes due at once, within its frame: lots that are too many are merged, and a member who is
    /// closed loses what he has, as far as the frame has room beside what the request may still come to; the rest is the
    /// sweep's.
    pub(super) fn follow_up(&mut self, member: MemberNo) -> Result<(), Broken> {
        loop {
            let at = self.next();
            let event = match self.ledger.crowded(member, at) {
                Some(event) => event,
                None if self.ledger.is_closed(member) && self.has_room() => match self.ledger.due(member, at) {
                    Some(event) => event,
                    None => return Ok(()),
                },
                None => return Ok(()),
            };
            self.write_due(&event)?;
        }
    }

    /// Whether the open frame takes one event more than the request that is being decided may come to.
    fn has_room(&self) -> bool {
        let most = (self.sweep.asked + 1).saturating_mul(COMMAND_BYTES_MAX);
        self.open.as_ref().is_some_and(|open| open.bytes().saturating_add(most) <= self.frame_bytes_max)
    }

    /// Goes on with the sweep: looks for members of whom something is due and writes it, a little a frame. `false` where
    /// there is nothing to do now.
    pub(super) fn sweep(&mut self) -> Result<bool, Broken> {
        if self.sweep.room == 0 || self.held_back() || self.rests_us() > 0 || self.queue.is_closing() {
            return Ok(false);
        }
        self.renew();
        // A leap of the clock is not to be swept by, and is told where a caller asks.
        if self.read_clock().is_err() || self.time.book_us() < self.sweep.rests_until_us {
            return Ok(false);
        }
        let at = self.next();
        let (due, go_on) = self.ledger.find_due(self.sweep.from, at.book_time_us, DUE_PAGES_PER_LOOK);
        if let Some(member) = due {
            self.make_room(1);
            let written = self.tend_member(member)?;
            self.sweep.room = self.sweep.room.saturating_sub(written.max(1));
        }
        self.sweep.from = go_on.unwrap_or_default();
        if go_on.is_none() {
            self.sweep.rests_until_us = at.book_time_us.saturating_add(DUE_REST_US);
        }
        Ok(go_on.is_some())
    }
}
