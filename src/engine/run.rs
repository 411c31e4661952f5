//! The engine's thread: the only one that changes the state. It drains what is there, decides each command against the
//! state and evolves it at once, and hands frames to the journal as fast as that takes them: the sync in flight is the
//! batching window, there is no timer.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;

use super::book_clock::SharedClock;
use super::commit::{Held, Job, Pipeline};
use super::joined::Joined;
use super::keeper::{COPIED_PAGES, KeeperLine, SnapshotOrder, ToEngine, ToKeeper, View};
use super::names::Names;
use super::pace::Pace;
use super::queue::{Item, Queue, Reply};
use super::request::{Answer, AnswerBody, ItemResult, MemberState, Read, Refusal, StreamId, Work};
use super::resolve::{Attached, InFlight, Missing, RESOLVE_ROUNDS_MAX, Runs, resolve};
use super::restraint::{FULL, Restraint, pressure};
use super::spent::Spent;
use super::tend::Sweep;
use crate::constants::{CAPTURE_LOG_BYTES_MAX, COMMAND_BYTES_MAX, GENERATIONS_SEALING_MAX, SNAPSHOTS_WAITING_MAX};
use crate::io::Clock;
use crate::journal::{Book, FrameBody, FrameBuilder};
use crate::ledger::command::{Action, AdminAction, AdminCommand, Command, Leap};
use crate::ledger::event::Event;
use crate::ledger::ids::Op;
use crate::ledger::plain::PlainEarn;
use crate::ledger::print::Prints;
use crate::ledger::reason::Reason;
use crate::ledger::{Decision, Hashes, Ledger, Lookup, Moment, Resolved, codec};
use crate::store::Keys;

/// Asks of the keeper that are attended to between two requests: at most a millisecond of copying pages, or behind a long
/// request about a third of the time that its commands take. Else a view, which costs what changes meanwhile, would last the longer the
/// longer the requests are.
const ATTENDED_AT_A_TIME: u64 = 8;
/// Commands that take three times as long as one ask.
const COMMANDS_PER_ASK: u64 = 125;

/// A request and what its reader threads have to fetch.
pub(crate) type ResolveJob = (Item, Vec<Missing>);

/// Something that must not be: the state and an event that was decided on it do not fit. The process ends.
pub(crate) type Broken = String;

/// What became of a command, and why it was refused if it was.
type Decided<'c> = (ItemResult, Option<(Reason, Cow<'c, str>)>);

/// An answer, and whether it shows events of the open frame.
pub(crate) type Pending = (Reply, Answer, bool);

pub(crate) struct Core {
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: Arc<Queue>,
    /// The oldest requests, taken from the queue to be looked at while nothing new may be decided.
    pub(crate) oldest: VecDeque<Item>,
    pub(crate) pace: Pace,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) book: Book,
    pub(crate) resolvers: Sender<ResolveJob>,
    /// Requests that are with the reader threads.
    pub(crate) resolving: usize,
    /// Requests behind one of their stream that is with the reader threads.
    pub(crate) held: HashMap<StreamId, VecDeque<Item>>,
    /// Frames that may not be durable yet.
    pub(crate) frames: VecDeque<Arc<FrameBody>>,
    pub(crate) open: Option<FrameBuilder>,
    /// Memory for the frames to come.
    pub(crate) spent: Spent,
    pub(crate) answers: Vec<Pending>,
    pub(crate) names_changed: bool,
    /// The time of the open frame.
    pub(crate) book_time_us: i64,
    pub(crate) time: Arc<SharedClock>,
    pub(crate) queue_age_max_us: u64,
    pub(crate) prints: Prints,
    /// The runs of keys that the memory no longer holds.
    pub(crate) keys: Arc<Keys>,
    /// Keys that a generation holds before a run is made of it.
    pub(crate) keys_per_generation: u64,
    pub(crate) line: KeeperLine,
    /// Whether the keeper is at work on a view of the state.
    pub(crate) viewing: bool,
    /// Requests for snapshots that wait for that view to be over.
    pub(crate) behind_view: VecDeque<Item>,
    /// The last ops of generations of keys that are not runs yet.
    pub(crate) sealing: VecDeque<Op>,
    /// An open frame of this size is handed over before more is taken.
    pub(crate) frame_bytes_full: usize,
    /// The most that a frame may have.
    pub(crate) frame_bytes_max: usize,
    pub(crate) sweep: Sweep,
    pub(crate) restraint: Restraint,
    /// What the requests count for that were decided since the keeper was last attended to: see [`Item::weight`].
    pub(crate) decided: u64,
}

impl Core {
    /// Runs until the queue is closed and everything admitted is answered, or until the journal failed.
    pub(crate) fn run(mut self) {
        self.queue.bell().claim();
        let ended = self.serve();
        self.queue.end();
        if let Err(broken) = ended {
            tracing::error!(%broken, "the engine stops");
            self.pipeline.fail(broken);
            for item in self.oldest.drain(..) {
                let _gone = item.reply.send(Err(Refusal::ShuttingDown));
            }
            // As with a failed sync: no answer is better than one that may be wrong.
            std::mem::forget(std::mem::take(&mut self.answers));
            std::mem::forget(std::mem::take(&mut self.held));
            std::mem::forget(std::mem::take(&mut self.behind_view));
        }
        self.line.tell(ToKeeper::Stop);
        self.pipeline.close();
    }

    fn serve(&mut self) -> Result<(), Broken> {
        loop {
            if self.pipeline.has_failed() {
                return Err("the journal failed".to_owned());
            }
            self.refuse_waiting();
            self.attend()?;
            if self.step()? {
                continue;
            }
            // What waits for its answer goes first.
            if (self.has_work() && self.hand_over()) || self.sweep()? {
                continue;
            }
            let waiting = !self.oldest.is_empty() || !self.queue.is_empty();
            let done = self.queue.is_closing() && !waiting && self.resolving == 0;
            if done && !self.has_work() {
                return Ok(());
            }
            let (blocked, bytes) = (self.has_work(), self.open_bytes());
            let (queue, pipeline, desk) = (&self.queue, &self.pipeline, &self.line.desk);
            let rests_us = self.rests_us();
            let waits = rests_us > 0 || self.held_back();
            let asked = || if waits { queue.has_resolved() } else { waiting || !queue.is_empty() };
            let ready = || asked() || !desk.is_empty() || (blocked && pipeline.takes(bytes)) || pipeline.has_failed();
            let at_most = if rests_us > 0 { Duration::from_micros(rests_us) } else { Duration::from_millis(50) };
            queue.bell().sleep(ready, at_most);
        }
    }

    /// How much the keeper is behind: the book is far ahead of the newest checkpoint, much was changed since a view was begun, or
    /// generations wait to become runs.
    pub(super) fn pressure(&self) -> u64 {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let of = |is, slow, bound| pressure(wide(is), wide(slow), wide(bound));
        let most = CAPTURE_LOG_BYTES_MAX;
        let log = of(self.ledger.capture_log_bytes(), most - most / 4, most);
        let sealing = of(self.sealing.len(), GENERATIONS_SEALING_MAX - 1, GENERATIONS_SEALING_MAX + 1);
        self.line.desk.tail_pressure(self.book.frame_bytes()).max(log).max(sealing)
    }

    /// Whether nothing new may be taken. What waits grows old and is refused. Going down, all that was admitted is answered.
    pub(super) fn held_back(&self) -> bool {
        self.pressure() >= FULL && !self.queue.is_closing()
    }

    /// How long nothing new is taken at least, in microseconds, so that the keeper catches up before the engine is held back.
    pub(super) fn rests_us(&self) -> u64 {
        if self.queue.is_closing() { 0 } else { self.restraint.left_us(|| self.clock.monotonic_us()) }
    }

    /// Does some of what the keeper asks.
    fn attend(&mut self) -> Result<(), Broken> {
        for _ in 0..ATTENDED_AT_A_TIME.max(std::mem::take(&mut self.decided) / COMMANDS_PER_ASK) {
            let Some(asked) = self.line.desk.next() else { break };
            match asked {
                ToEngine::Begin { .. } if self.viewing => {}
                ToEngine::Begin { whole } => {
                    self.hand_over_waiting();
                    self.begin_view(whole, None);
                }
                ToEngine::More => {
                    let copies = self.ledger.capture_next(COPIED_PAGES);
                    self.line.tell(ToKeeper::Pages(copies));
                }
                ToEngine::Keys(keys) => {
                    let upto = Op(keys.upto());
                    let dropped = self.ledger.drop_sealed(upto);
                    self.sealing.retain(|last| *last > upto);
                    let before = std::mem::replace(&mut self.keys, keys);
                    self.line.tell(ToKeeper::Free(dropped, before));
                }
                ToEngine::Done => {
                    self.viewing = false;
                    // The next one may begin a view again, and then the others go on waiting.
                    for item in std::mem::take(&mut self.behind_view) {
                        self.handle(item)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Going down, refuses the snapshots that wait for others to be over: nothing of them is decided, and each would take
    /// as long as the one before it.
    fn refuse_waiting(&mut self) {
        if self.queue.is_closing() {
            for item in self.behind_view.drain(..) {
                let _gone = item.reply.send(Err(Refusal::ShuttingDown));
            }
        }
    }

    /// Begins a view of the state for the keeper. The frame before is closed.
    fn begin_view(&mut self, whole: bool, snapshot: Option<SnapshotOrder>) {
        self.seal();
        let captured = self.ledger.begin_capture(whole);
        let (members, _) = self.ledger.counts();
        let view = View { captured, trial: self.ledger.trial_balance(), members, snapshot };
        self.viewing = true;
        self.line.tell(ToKeeper::Captured(Box::new(view)));
    }

    /// Closes the newest generation of keys and has a run made of it.
    fn seal(&mut self) {
        if let Some(generation) = self.ledger.seal() {
            self.sealing.push_back(generation.last());
            self.line.tell(ToKeeper::Sealed(generation));
        }
    }

    /// Goes on with a request that comes back from the reader threads, and with those of its stream behind it.
    pub(super) fn go_on(&mut self, item: Item) -> Result<(), Broken> {
        let stream = stream_of(&item);
        let mut behind = stream.and_then(|stream| self.held.remove(&stream)).unwrap_or_default();
        self.handle(item)?;
        while let Some(next) = behind.pop_front() {
            let stopped = stream.and_then(|stream| self.held.get_mut(&stream));
            match stopped {
                Some(held) => {
                    held.push_back(next);
                    held.append(&mut behind);
                }
                None => self.handle(next)?,
            }
            if self.frame_is_full() {
                self.hand_over_waiting();
            }
        }
        Ok(())
    }

    pub(super) fn handle(&mut self, item: Item) -> Result<(), Broken> {
        if item.attached.failed {
            let _gone = item.reply.send(Err(Refusal::Unknown));
            return Ok(());
        }
        // A snapshot begins a view, and there is one at a time.
        if self.viewing && begins_view(&item.work) {
            if self.behind_view.len() < SNAPSHOTS_WAITING_MAX {
                self.behind_view.push_back(item);
            } else {
                let _gone = item.reply.send(Err(Refusal::QueueFull));
            }
            return Ok(());
        }
        // First, since it may let go of frames in which the commands' originals are found.
        self.renew();
        self.make_room(commands_of(&item.work));
        if writes(&item.work)
            && let Err(leap) = self.read_clock()
        {
            let _gone = item.reply.send(Err(Refusal::ClockUnconfirmed(leap)));
            return Ok(());
        }
        let ready = matches!(&item.work, Work::Post { commands, .. } if self.is_ready(commands, &item.attached));
        let tended = match &item.work {
            _ if ready => true,
            Work::Post { commands, stream, .. } => {
                let mut tended = self.tend(commands)?;
                // What is of a stream is not shed here: what lies behind it in the stream would be decided without it.
                while !tended && stream.is_some() {
                    tended = self.tend(commands)?;
                }
                tended
            }
            Work::Admin(command) => self.tend_operator(command, commands_of(&item.work))?,
            Work::Read(_) => true,
        };
        if !tended {
            let _gone = item.reply.send(Err(Refusal::QueueTooOld));
            return Ok(());
        }
        let (missing, found) = match ready {
            true => Default::default(),
            false => self.missing(&item.work, &item.attached),
        };
        if !missing.is_empty() {
            return self.ask_readers(item, missing);
        }
        self.decided = self.decided.saturating_add(item.weight());
        let Item { work, reply, mut attached, .. } = item;
        for (key_print, resolved) in found {
            attached.keep(&self.ledger, key_print, resolved);
        }
        match work {
            Work::Post { commands, atomic, mut results, .. } => {
                match atomic {
                    true => results = self.post_atomic(&commands, &attached)?,
                    false => self.post_each(&commands, &attached, &mut results)?,
                }
                let fresh = results.iter().any(|result| matches!(result, ItemResult::Fresh(_)));
                self.answer(reply, AnswerBody::Posted { results, frame: None, commands }, fresh);
            }
            Work::Admin(mut command) => {
                self.find_leap(&mut command.action);
                let (result, snapshot) = self.post_admin(&command, &attached)?;
                let fresh = matches!(result, ItemResult::Fresh(_));
                let body = AnswerBody::Posted { results: vec![result], frame: None, commands: Vec::new() };
                self.answer(reply, body, fresh);
                if let Some(order) = snapshot {
                    // The snapshot is the state at its own op, so that op ends its frame.
                    self.hand_over_waiting();
                    self.begin_view(false, Some(order));
                }
            }
            Work::Read(read) => {
                let body = self.read(read, &attached);
                self.answer(reply, body, false);
            }
        }
        if self.ledger.seal_due(self.keys_per_generation) {
            self.seal();
        }
        Ok(())
    }

    /// Whether a request can be decided as it is: earns and redemptions, which name no earlier event and no other member, of
    /// members of whom nothing is due, and of keys that no run may hold. That is what most requests are, and one look at each
    /// command tells it; of the others [`Self::tend`] and [`Self::missing`] say what is to be written and read first.
    fn is_ready(&mut self, commands: &[Command], attached: &Attached) -> bool {
        let at = self.next();
        self.sweep.begin(commands.len());
        let runs = Runs { keys: &self.keys, prints: &self.prints, attached, deciding: false };
        let is_known = |command: &Command| self.ledger.find_key(command.key_print, &|lookup| runs.find(lookup)).is_ok();
        let is_quiet = |command: &Command| {
            matches!(command.action, Action::Earn { .. } | Action::Redeem { .. })
                && self.ledger.is_quiet(command.member_hash, at.book_time_us)
        };
        commands.chunks(COMMANDS_PER_PASS).all(|pass| {
            self.ledger.touch(pass);
            // Where no run may hold any of the keys, as with new ones, none of them is looked up by itself.
            let held = self.keys.may_hold_any(pass.iter().map(|command| command.key_print));
            pass.iter().all(|command| is_quiet(command) && (!held || is_known(command)))
        })
    }

    /// Sends a request to the reader threads.
    fn ask_readers(&mut self, item: Item, missing: Vec<Missing>) -> Result<(), Broken> {
        if item.attached.rounds >= RESOLVE_ROUNDS_MAX {
            let _gone = item.reply.send(Err(Refusal::QueueTooOld));
            return Ok(());
        }
        if let Some(stream) = stream_of(&item) {
            self.held.entry(stream).or_default();
        }
        self.resolving += 1;
        self.resolvers.send((item, missing)).map_err(|_| "the reader threads are gone".to_owned())
    }

    /// What the store and the book must still be asked before the request can be answered: keys that a run may hold, and
    /// the events that commands name; and what was found of these, by the commands' keys.
    fn missing(&self, work: &Work, attached: &Attached) -> (Vec<Missing>, Vec<(u128, Resolved)>) {
        let runs = Runs { keys: &self.keys, prints: &self.prints, attached, deciding: false };
        let in_flight = InFlight { frames: &self.frames, open: self.open.as_ref() };
        let (mut missing, mut found) = (Vec::new(), Vec::new());
        let mut ask = |print| match self.ledger.find_key(print, &|lookup| runs.find(lookup)) {
            Ok(op) => op.is_none(),
            Err(lookup) => {
                missing.push(Missing::Runs(lookup));
                false
            }
        };
        match work {
            Work::Post { commands, .. } => {
                let (mut lacks, mut joined) = (HashSet::new(), Joined::default());
                for pass in commands.chunks(COMMANDS_PER_PASS) {
                    self.ledger.touch(pass);
                    for command in pass {
                        if !ask(command.key_print) {
                            continue;
                        }
                        let look = |command: &Command| resolve(&self.ledger, command, &runs, &in_flight);
                        // Behind a merge in this request a reference is looked for among what either did.
                        lacks.extend(joined.each(command).filter_map(|command| look(&command).err()));
                        match look(command) {
                            Ok(resolved) => found.extend(resolved.map(|resolved| (command.key_print, resolved))),
                            Err(lack) => {
                                lacks.insert(lack);
                            }
                        }
                        // A part has no key to be found by, and names no event that takes long to follow.
                        lacks.extend(command.parts().iter().filter_map(|part| look(part).err()));
                    }
                }
                missing.extend(lacks);
            }
            Work::Admin(command) => {
                ask(command.key_print);
            }
            Work::Read(Read::Key(print)) => {
                ask(*print);
            }
            Work::Read(_) => {}
        }
        (missing, found)
    }

    /// The op that took a key: from memory, or as the reader threads found it. The runs were asked before.
    fn key(&self, print: u128, attached: &Attached) -> Option<Op> {
        self.ledger.key(print).or_else(|| attached.found(Lookup::Key(print)))
    }

    /// Tells the time for what is written next: that of the open frame, or else the clock's. Nothing is written without it.
    pub(super) fn read_clock(&mut self) -> Result<(), Leap> {
        if self.open.is_some() && self.time.was_driven() {
            self.hand_over_waiting();
        }
        match &self.open {
            Some(_) => Ok(()),
            None => self.time.read().map(|_| ()),
        }
    }

    /// Notes in a confirmation of the clock what it is to confirm. The frame before is closed: the new time is none of its events'.
    fn find_leap(&mut self, action: &mut AdminAction) {
        if let AdminAction::ConfirmClock { leap, .. } = action {
            self.hand_over_waiting();
            *leap = self.time.read().err();
        }
    }

    /// The op and time of the next event, in the open frame.
    pub(super) fn next(&mut self) -> Moment {
        let op = self.ledger.newest().next();
        if self.open.is_none() {
            self.book_time_us = self.time.book_us();
            self.open = Some(match self.spent.take() {
                Some(spent) => FrameBuilder::within(op.0, self.book_time_us, spent),
                None => FrameBuilder::new(op.0, self.book_time_us),
            });
        }
        Moment { op, book_time_us: self.book_time_us }
    }

    /// Writes an event into the open frame and lets the state follow it.
    pub(super) fn write(&mut self, at: Moment, event: &Event<'_>, hashes: Hashes) -> Result<Op, Broken> {
        self.push(at, event)?;
        self.ledger.evolve(at, event, hashes).map_err(|error| error.to_string())?;
        Ok(at.op)
    }

    /// The same for a plain earn.
    fn write_plain(&mut self, at: Moment, earn: &PlainEarn, command: &Command) -> Result<Op, Broken> {
        let event = earn.event(command);
        debug_assert!(self.is_so_in_general(at, &event, command), "it is what it is in general");
        self.push(at, &event)?;
        self.ledger.follow_plain(earn, command).map_err(|error| error.to_string())?;
        Ok(at.op)
    }

    /// Whether the general way decides the same: asked in debug builds, whose tests count what the short way allocates.
    fn is_so_in_general(&self, at: Moment, event: &Event<'_>, command: &Command) -> bool {
        let mut is_so = false;
        let mut decide = || is_so = self.ledger.decide(command, None, at) == Decision::Event(event.clone());
        #[cfg(test)]
        let mut decide = || allocation_counter::opt_out(&mut decide);
        decide();
        is_so
    }

    fn push(&mut self, at: Moment, event: &Event<'_>) -> Result<(), Broken> {
        let open = self.open.as_mut().ok_or("no frame is open")?;
        let mut encoded = Ok(());
        let pushed = open.push_with(|bytes| encoded = codec::encode(event, bytes));
        encoded.map_err(|error| error.to_string())?;
        match pushed {
            Ok(op) if op == at.op.0 => Ok(()),
            Ok(op) => Err(format!("event {} was written as op {op}", at.op.0)),
            Err(full) => Err(full.to_string()),
        }
    }

    fn post_each(
        &mut self,
        commands: &[Command],
        attached: &Attached,
        results: &mut Vec<ItemResult>,
    ) -> Result<(), Broken> {
        for pass in commands.chunks(COMMANDS_PER_PASS) {
            self.ledger.touch(pass);
            for command in pass {
                results.push(self.post_one(command, attached)?.0);
            }
        }
        Ok(())
    }

    /// Decides one command. Beside the result it tells why the command was refused, if it was.
    fn post_one<'c>(&mut self, command: &'c Command, attached: &Attached) -> Result<Decided<'c>, Broken> {
        if let Some(op) = self.key(command.key_print, attached) {
            return Ok((ItemResult::Known(op), None));
        }
        match &command.action {
            Action::Checkout { parts } => self.post_checkout(command, parts, attached),
            _ => self.decide(command, attached),
        }
    }

    /// Decides one command whose key is free, or a part of a checkout, which has none.
    fn decide<'c>(&mut self, command: &'c Command, attached: &Attached) -> Result<Decided<'c>, Broken> {
        let at = self.next();
        if let Some(earn) = self.ledger.plain_earn(command, at) {
            return Ok((ItemResult::Fresh(self.write_plain(at, &earn, command)?), None));
        }
        let in_flight = InFlight { frames: &self.frames, open: self.open.as_ref() };
        let runs = Runs { keys: &self.keys, prints: &self.prints, attached, deciding: true };
        let resolved;
        let resolved = match attached.ready(&self.ledger, command.key_print) {
            Some(ready) => Some(ready),
            None => {
                resolved = resolve(&self.ledger, command, &runs, &in_flight)
                    .map_err(|missing| format!("{missing:?} is missing though it was looked for"))?;
                resolved.as_ref()
            }
        };
        match self.ledger.decide(command, resolved, at) {
            Decision::LimitReached => Ok((ItemResult::MembersLimit, None)),
            Decision::Event(event) => {
                let refused = match &event {
                    Event::Rejected(rejected) => Some((rejected.reason, Cow::Borrowed(rejected.field))),
                    _ => None,
                };
                let mut hashes = hashes_of(command);
                if command.key.is_empty() {
                    hashes.key = self.prints.own(at.op);
                }
                let concerned = event.members().map(|(member, _)| member).filter(|_| refused.is_none());
                let mut concerned = concerned.fuse();
                let concerned = [concerned.next(), concerned.next()];
                let op = self.write(at, &event, hashes)?;
                for member in concerned.into_iter().flatten() {
                    self.follow_up(member)?;
                }
                Ok((ItemResult::Fresh(op), refused))
            }
        }
    }

    /// Decides the parts of a checkout one after another, and closes them: all or none. In an atomic batch what undoes
    /// them is the batch.
    fn post_checkout<'c>(
        &mut self,
        command: &'c Command,
        parts: &'c [Command],
        attached: &Attached,
    ) -> Result<Decided<'c>, Broken> {
        let (before, within) = (self.ledger.newest(), self.ledger.undoes());
        if !within {
            self.ledger.begin_undo();
        }
        let mut ops = Vec::with_capacity(parts.len());
        for (place, part) in parts.iter().enumerate() {
            let refused = match self.decide(part, attached)? {
                (ItemResult::Fresh(op), None) => {
                    ops.push(op);
                    continue;
                }
                (_, Some((reason, field))) => Some((reason, part_path(place, field))),
                (_, None) => None,
            };
            if within {
                return Ok((ItemResult::MembersLimit, refused));
            }
            self.take_back_to(before);
            let Some((reason, field)) = refused else { return Ok((ItemResult::MembersLimit, None)) };
            let at = self.next();
            let event = self.ledger.reject(command, reason, &field, at);
            let op = self.write(at, &event, hashes_of(command))?;
            return Ok((ItemResult::Fresh(op), Some((reason, field))));
        }
        let earn = parts.iter().position(|part| matches!(part.action, Action::Earn { .. }));
        let (at, earn) = (self.next(), earn.and_then(|place| u8::try_from(place).ok()));
        let event = self.ledger.check_out(command, &ops, earn, at).ok_or("a checkout of no parts")?;
        let op = self.write(at, &event, hashes_of(command))?;
        if !within {
            self.ledger.commit_undo();
        }
        Ok((ItemResult::Fresh(op), None))
    }

    /// Takes back all that an undo scope did, which began behind that op.
    fn take_back_to(&mut self, before: Op) {
        self.ledger.roll_back();
        if let Some(open) = &mut self.open {
            open.truncate_to(before.0);
        }
    }

    /// All or none: the first command that is refused undoes the ones before it, and is itself remembered.
    fn post_atomic(&mut self, commands: &[Command], attached: &Attached) -> Result<Vec<ItemResult>, Broken> {
        let known: Vec<_> = commands.iter().map(|command| self.key(command.key_print, attached)).collect();
        if known.iter().any(Option::is_some) {
            let result = |op: Option<Op>| op.map_or(ItemResult::Aborted, ItemResult::Known);
            return Ok(known.into_iter().map(result).collect());
        }
        let before = self.ledger.newest();
        self.ledger.begin_undo();
        let mut results = Vec::with_capacity(commands.len());
        for (place, command) in commands.iter().enumerate() {
            let (result, refused) = self.post_one(command, attached)?;
            if refused.is_none() && result != ItemResult::MembersLimit {
                results.push(result);
                continue;
            }
            self.take_back_to(before);
            let mut results = vec![ItemResult::Aborted; commands.len()];
            let culprit = match refused {
                Some((reason, field)) => {
                    let at = self.next();
                    let event = self.ledger.reject(command, reason, &field, at);
                    let hashes = hashes_of(command);
                    ItemResult::Fresh(self.write(at, &event, hashes)?)
                }
                None => ItemResult::MembersLimit,
            };
            if let Some(result) = results.get_mut(place) {
                *result = culprit;
            }
            return Ok(results);
        }
        self.ledger.commit_undo();
        Ok(results)
    }

    /// Decides an operator's command. Beside the result it tells of a snapshot that is to be written.
    fn post_admin(
        &mut self,
        command: &AdminCommand,
        attached: &Attached,
    ) -> Result<(ItemResult, Option<SnapshotOrder>), Broken> {
        if let Some(op) = self.key(command.key_print, attached) {
            return Ok((ItemResult::Known(op), None));
        }
        let mut at = self.next();
        let event = self.ledger.decide_admin(command, at);
        if let Event::ClockConfirmed(confirmed) = &event {
            self.time.confirm(confirmed.to_us);
            // Nothing is in it yet, and the new time begins with this event.
            self.open = None;
            at = self.next();
        }
        self.names_changed |= match &event {
            Event::ProgramPut(_) | Event::PeriodClosed(_) => true,
            Event::RewardPut(put) => put.reward_link == 0,
            _ => false,
        };
        let order = match &event {
            Event::SnapshotTaken(taken) => {
                self.line.desk.prepare(taken.name);
                Some(SnapshotOrder { name: taken.name.to_owned(), retain_until_us: taken.retain_until_us })
            }
            _ => None,
        };
        let op = self.write(at, &event, Hashes { key: command.key_print, member: 0, other: 0 })?;
        Ok((ItemResult::Fresh(op), order))
    }

    fn read(&self, read: Read, attached: &Attached) -> AnswerBody {
        match read {
            Read::Members(ids) => AnswerBody::Members(ids.iter().map(|hash| self.member(*hash)).collect()),
            Read::Cards { members, now_us } => {
                let card = |state: MemberState| {
                    let card = self.ledger.card(state.number, now_us);
                    (state, card)
                };
                AnswerBody::Cards(members.iter().map(|hash| self.member(*hash).map(card)).collect())
            }
            Read::Expiring { program, member: None, until_us } => {
                AnswerBody::Expiring(self.ledger.expiring(program, None, until_us))
            }
            Read::Expiring { program, member: Some(hash), until_us } => {
                let member = self.ledger.member(hash);
                let of = |number| self.ledger.expiring(program, Some(number), until_us);
                AnswerBody::Expiring(member.map(of).unwrap_or_default())
            }
            Read::MemberIds(numbers) => AnswerBody::MemberIds(
                numbers.iter().map(|number| self.ledger.member_id(*number).map(str::to_owned)).collect(),
            ),
            Read::Key(print) => AnswerBody::Key(self.key(print, attached)),
            Read::Programs => AnswerBody::Programs(self.ledger.programs()),
            Read::Rules(program, version) => AnswerBody::Rules(self.ledger.rules(program, version)),
            Read::Campaigns(program) => AnswerBody::Campaigns(self.ledger.campaigns(program)),
            Read::Rewards(program) => AnswerBody::Rewards(self.ledger.rewards(program)),
            Read::TrialBalance => AnswerBody::TrialBalance(self.ledger.trial_balance()),
            Read::Unswept(at_us) => {
                let programs = self.ledger.programs();
                AnswerBody::Unswept(programs.iter().map(|view| self.ledger.unswept(view.number, at_us)).collect())
            }
            Read::StateHash => AnswerBody::StateHash(self.ledger.state_hash()),
            Read::Snapshots => AnswerBody::Snapshots(self.ledger.snapshots().to_vec()),
        }
    }

    fn member(&self, hash: u128) -> Option<MemberState> {
        let way = self.ledger.way_of(hash)?;
        let number = way.last().copied()?;
        let (balances, head) = (self.ledger.balances(number), self.ledger.member_head(number));
        Some(MemberState { number, way, balances, head })
    }

    fn answer(&mut self, reply: Reply, body: AnswerBody, in_frame: bool) {
        self.answers.push((reply, Answer { op: self.ledger.newest(), body }, in_frame));
    }

    pub(super) fn has_work(&self) -> bool {
        !self.answers.is_empty() || self.open.as_ref().is_some_and(|open| open.count() > 0)
    }

    pub(super) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, FrameBuilder::bytes)
    }

    pub(super) fn frame_is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.bytes() >= self.frame_bytes_full)
            || self.answers.len() >= ANSWERS_PER_FRAME_MAX
    }

    /// A request's events lie in one frame: where the open one might not hold them, it goes first.
    pub(super) fn make_room(&mut self, commands: usize) {
        let most = commands.saturating_mul(COMMAND_BYTES_MAX);
        let open = self.open.as_ref().filter(|open| open.count() > 0);
        if open.is_some_and(|open| open.bytes().saturating_add(most) > self.frame_bytes_max) {
            self.hand_over_waiting();
        }
    }

    /// Hands the open frame and its answers to the journal if that takes them now.
    pub(super) fn hand_over(&mut self) -> bool {
        if !self.pipeline.takes(self.open_bytes()) {
            return false;
        }
        self.sweep.renew();
        self.renew();
        let frame = self.open.take().map(|open| Arc::new(open.close()));
        let durable = self.book.durable_op();
        let is_durable = |frame: &Arc<FrameBody>| frame.first_op() + u64::from(frame.count()) <= durable + 1;
        while self.frames.front().is_some_and(is_durable) {
            self.frames.pop_front().into_iter().for_each(|frame| self.spent.keep(frame));
        }
        let mut answers: Vec<Held> = Vec::with_capacity(self.answers.len());
        for (reply, mut answer, in_frame) in self.answers.drain(..) {
            if let (true, AnswerBody::Posted { frame: place, .. }) = (in_frame, &mut answer.body) {
                place.clone_from(&frame);
            }
            answers.push((reply, answer));
        }
        let names = match std::mem::take(&mut self.names_changed) {
            true => Some(Arc::new(Names::of(&self.ledger))),
            false => None,
        };
        if let Some(frame) = &frame {
            self.frames.push_back(Arc::clone(frame));
        }
        // There was room, and this thread alone takes it.
        if let Err(lost) = self.pipeline.push(Job { frame, names, answers }) {
            std::mem::forget(lost.answers);
            self.pipeline.fail("a frame could not be handed to the journal".to_owned());
        }
        true
    }

    pub(super) fn hand_over_waiting(&mut self) {
        while self.has_work() && !self.pipeline.has_failed() && !self.hand_over() {
            let (pipeline, bytes) = (&self.pipeline, self.open_bytes());
            self.queue.bell().sleep(|| pipeline.takes(bytes) || pipeline.has_failed(), Duration::from_millis(50));
        }
    }
}

/// Commands whose look-ups wait for memory together.
pub(super) const COMMANDS_PER_PASS: usize = 64;
/// Answers that one frame lets go at most, so that reads alone cannot pile up behind a sync.
const ANSWERS_PER_FRAME_MAX: usize = 4_096;

/// The path of a field of a checkout's part; what is the command's own stays so.
fn part_path(place: usize, field: Cow<'_, str>) -> Cow<'_, str> {
    if field.contains('.') { Cow::Owned(format!("checkout.parts[{place}].{field}")) } else { field }
}

fn hashes_of(command: &Command) -> Hashes {
    let other = command.action.other().map_or(0, |named| named.hash);
    Hashes { key: command.key_print, member: command.member_hash, other }
}

/// Events that a request may come to.
fn commands_of(work: &Work) -> usize {
    match work {
        Work::Post { commands, .. } => commands.iter().map(Command::events).sum(),
        // An operator's event may be as long as four of members'.
        Work::Admin(_) => 4,
        Work::Read(_) => 0,
    }
}

/// Whether a request may write only where the clock has not leapt ahead.
fn writes(work: &Work) -> bool {
    match work {
        Work::Post { .. } => true,
        // The confirmation is what ends a leap.
        Work::Admin(command) => !matches!(command.action, AdminAction::ConfirmClock { .. }),
        Work::Read(_) => false,
    }
}

fn begins_view(work: &Work) -> bool {
    matches!(work, Work::Admin(command) if matches!(command.action, AdminAction::CreateSnapshot { .. }))
}

pub(super) fn stream_of(item: &Item) -> Option<StreamId> {
    match &item.work {
        Work::Post { stream, .. } => *stream,
        Work::Admin(_) | Work::Read(_) => None,
    }
}
