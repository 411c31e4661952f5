//! What has to be read from the book before a command can be decided that names an earlier event. The engine does no I/O: it says which events it
//! misses, reader threads attach their bytes, and the request comes back. Events never change, so what is attached
//! cannot go stale; what happened since lies in the frames that the engine still holds.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use super::keeper::Desk;
use super::names::Directory;
use crate::journal::{Book, FrameBody, FrameBuilder, JournalError};
use crate::ledger::command::{Command, Original};
use crate::ledger::event::Event;
use crate::ledger::ids::{MemberNo, Op};
use crate::ledger::original::{Need, Resolved, Sought, named_by, taken_by};
use crate::ledger::own::{ENDS_MAX, End};
use crate::ledger::print::Prints;
use crate::ledger::trail::Trail;
use crate::ledger::{Found, Ledger, Lookup, Way, codec};
use crate::store::{Keys, StoreError};

/// Events that a look-up by reference walks back at most.
pub(crate) const REFERENCE_WALK_MAX: u32 = 10_000;
/// How often a request may go to the readers: each time the state has moved on under it.
pub(crate) const RESOLVE_ROUNDS_MAX: u8 = 8;

/// Something that the engine misses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Missing {
    /// The bytes of an event, and of the latest refund or reversal of it.
    Event(Op, Option<Op>),
    /// Where the walk back from there finds the reference.
    Walk { from: Trail, reference: String, sought: Sought },
    /// What moved a member's lots as they are, from this event back to the one that is named, along the way that he went.
    Ends { from: Op, after: Op, way: Way },
    /// What the runs hold.
    Runs(Lookup),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Book(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the reader threads read from.
pub(crate) struct Sources {
    pub(crate) book: Book,
    pub(crate) desk: Arc<Desk>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) prints: Prints,
}

/// Where a walk found references: by what was sought.
type Walked = HashMap<String, SmallVec<[(Sought, Option<Op>); 1]>>;

/// What was read from the book for a request.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    events: HashMap<Op, Vec<u8>>,
    walks: HashMap<Trail, Walked>,
    ends: HashMap<Op, End>,
    /// What the runs said, and up to which op they reached when they said it.
    lookups: HashMap<Lookup, (Option<Op>, Op)>,
    /// What the book says of the events that commands name, by their keys, as long as their member's newest event is that.
    ready: HashMap<u128, (Op, Resolved)>,
    pub(crate) rounds: u8,
    /// The book or the store could not be read; the request cannot be decided.
    pub(crate) failed: bool,
}

impl Attached {
    /// What was found of the event that a command names, while it holds.
    pub(crate) fn ready(&self, ledger: &Ledger, key_print: u128) -> Option<&Resolved> {
        let (head, resolved) = self.ready.get(&key_print)?;
        resolved.member().filter(|member| ledger.member_head(*member) == *head)?;
        Some(resolved)
    }

    /// Keeps what was found of the event that a command names. What its facts are changes with the events of its member
    /// alone; that nothing answers to a name may change with any.
    pub(crate) fn keep(&mut self, ledger: &Ledger, key_print: u128, resolved: Resolved) {
        if let Some(member) = resolved.member() {
            self.ready.insert(key_print, (ledger.member_head(member), resolved));
        }
    }

    fn event(&self, op: Op) -> Option<&[u8]> {
        self.events.get(&op).map(Vec::as_slice)
    }

    fn walk(&self, from: &Trail, reference: &str, sought: Sought) -> Option<Option<Op>> {
        let walked = self.walks.get(from)?.get(reference)?;
        walked.iter().find(|(kind, _)| *kind == sought).map(|(_, found)| *found)
    }

    /// What is known of a way that a merge in the request itself brought together with others: of those that were walked for its
    /// commands before.
    fn walk_of_any(&self, from: &Trail, reference: &str, sought: Sought) -> Option<Op> {
        let known = self.walks.keys().filter(|known| from.holds(known));
        known.filter_map(|known| self.walk(known, reference, sought).flatten()).max()
    }

    /// What the runs hold, if they were asked and it was there.
    pub(crate) fn found(&self, lookup: Lookup) -> Option<Op> {
        self.lookups.get(&lookup).and_then(|(found, _)| *found)
    }

    /// Reads what is missing. Called by the reader threads.
    ///
    /// # Errors
    /// Where the store cannot be used any more, why.
    pub(crate) fn read(&mut self, from: &Sources, missing: Vec<Missing>) -> Result<(), String> {
        self.rounds = self.rounds.saturating_add(1);
        let keys = from.desk.keys();
        // Of all references that are looked for from one place on one walk.
        let mut walks: HashMap<Trail, Vec<(String, Sought)>> = HashMap::new();
        for missing in missing {
            let read = match missing {
                Missing::Runs(lookup) => self.look_up(from, &keys, lookup),
                Missing::Event(op, latest) => self.read_events(&from.book, op, latest).map_err(Unread::from),
                Missing::Ends { from: first, after, way } => {
                    self.read_ends(&from.book, first, after, &way).map_err(Unread::from)
                }
                Missing::Walk { from, reference, sought } => {
                    walks.entry(from).or_default().push((reference, sought));
                    Ok(())
                }
            };
            self.note(read)?;
        }
        for (trail, asked) in walks {
            let read = self.read_walk(&from.book, trail, asked).map_err(Unread::from);
            self.note(read)?;
        }
        Ok(())
    }

    /// Notes that something could not be read, and ends where the store cannot be used any more.
    fn note(&mut self, read: Result<(), Unread>) -> Result<(), String> {
        let Err(error) = read else { return Ok(()) };
        tracing::error!(%error, "what a request names cannot be read");
        self.failed = true;
        match error {
            Unread::Store(error) => Err(error.to_string()),
            Unread::Book(_) => Ok(()),
        }
    }

    /// Asks the runs, and the book whether what they name is meant: they know the upper half of a print alone.
    fn look_up(&mut self, from: &Sources, keys: &Keys, lookup: Lookup) -> Result<(), Unread> {
        let print = print_of(lookup, &from.prints);
        let mut found = None;
        for op in keys.candidates(print, 0)? {
            let stored = from.book.read(op)?;
            // The book was read through at start or written by this process: an event that is none is damage.
            let Ok(event) = codec::decode(&stored.bytes) else { continue };
            if is_meant(lookup, Op(op), &event, from) {
                found = Some(Op(op));
                break;
            }
        }
        self.lookups.insert(lookup, (found, Op(keys.upto())));
        Ok(())
    }

    /// Walks back from where references were missed, for all of them at once.
    fn read_walk(&mut self, book: &Book, from: Trail, asked: Vec<(String, Sought)>) -> Result<(), JournalError> {
        let found = walk_back(book, from.clone(), &asked)?;
        let walked = self.walks.entry(from).or_default();
        for ((reference, sought), found) in asked.into_iter().zip(found) {
            let op = found.map(|(op, bytes)| {
                self.events.insert(op, bytes);
                op
            });
            walked.entry(reference).or_default().push((sought, op));
        }
        Ok(())
    }

    fn read_events(&mut self, book: &Book, op: Op, latest: Option<Op>) -> Result<(), JournalError> {
        for op in [Some(op), latest].into_iter().flatten() {
            if self.event(op).is_none() {
                self.events.insert(op, book.read(op.0)?.bytes);
            }
        }
        Ok(())
    }

    /// Reads ends back to an event. Those that were read for another original are not read again.
    fn read_ends(&mut self, book: &Book, from: Op, after: Op, way: &[MemberNo]) -> Result<(), JournalError> {
        let mut next = Some(from);
        for _ in 0..ENDS_MAX {
            let Some(op) = next.filter(|op| *op > after) else { return Ok(()) };
            if let Some(end) = self.ends.get(&op) {
                next = end.before(way);
                continue;
            }
            let stored = book.read(op.0)?;
            // As in a walk: an event that is none is damage.
            let Some(end) = codec::decode(&stored.bytes).ok().and_then(|event| End::of(op, &event)) else {
                return Ok(());
            };
            next = end.before(way);
            self.ends.insert(op, end);
        }
        Ok(())
    }
}

fn print_of(lookup: Lookup, prints: &Prints) -> u128 {
    match lookup {
        Lookup::Key(print) => print,
        Lookup::Taken(original) => prints.taken(original),
    }
}

/// Whether an event is the one that took the key, or a refund or reversal of the original.
fn is_meant(lookup: Lookup, op: Op, event: &Event<'_>, from: &Sources) -> bool {
    match (lookup, event) {
        (Lookup::Key(print), _) => {
            let (program, key, _) = event.identity();
            let named = event.admin_common().and_then(|common| common.program_id);
            let names = from.directory.get();
            let known = names.program(program).map(|program| program.id.as_str());
            named.or(known).is_some_and(|id| from.prints.key(id, key) == print)
        }
        (Lookup::Taken(original), event) => taken_by(op, event) == Some(original),
    }
}

/// What the runs say, as far as it can be told without reading them.
pub(crate) struct Runs<'e> {
    pub(crate) keys: &'e Keys,
    pub(crate) prints: &'e Prints,
    pub(crate) attached: &'e Attached,
    /// Whether the request is being decided, so that nothing more can be asked.
    pub(crate) deciding: bool,
}

impl Runs<'_> {
    /// Asked only where the memory has no answer.
    pub(crate) fn find(&self, lookup: Lookup) -> Found {
        let (found, after) = match (lookup, self.attached.lookups.get(&lookup)) {
            // A key is taken once and for ever.
            (Lookup::Key(_), Some((Some(op), _))) => return Found::Taken(*op),
            // An earn may have been refunded again, and that refund's generation sealed and dropped, since the runs were
            // asked: what they said holds up to the op that they reached.
            (_, Some((found, upto))) => (*found, *upto),
            (_, None) => (None, Op(0)),
        };
        match (self.keys.may_hold(print_of(lookup, self.prints), after.0), found) {
            (true, _) => Found::Unknown,
            (false, Some(op)) => Found::Taken(op),
            (false, None) => Found::Free,
        }
    }
}

/// Whether an event is one of those sought, with a reference. What fell due lies between the commands of its member, and has no
/// reference of its own.
fn is_named(event: &Event<'_>, reference: &str, sought: Sought) -> bool {
    let notes = event.common().and_then(|common| common.notes.as_ref());
    notes.is_some_and(|notes| notes.reference.text == reference) && sought.takes(event)
}

/// An event that was read.
type Read = (Op, Vec<u8>);

/// Looks for several references in one walk: of each the newest event that can be meant.
fn walk_back(book: &Book, mut trail: Trail, asked: &[(String, Sought)]) -> Result<Vec<Option<Read>>, JournalError> {
    let mut by_reference: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, (reference, _)) in asked.iter().enumerate() {
        by_reference.entry(reference).or_default().push(place);
    }
    let (mut found, mut left) = (vec![None; asked.len()], asked.len());
    for _ in 0..REFERENCE_WALK_MAX {
        let Some(op) = trail.op().filter(|_| left > 0) else { break };
        let stored = book.read(op.0)?;
        // The book was read through at start or written by this process: an event that is none is damage.
        let Ok(event) = codec::decode(&stored.bytes) else { break };
        let notes = event.common().and_then(|common| common.notes.as_ref());
        let places = notes.and_then(|notes| by_reference.get(notes.reference.text));
        for place in places.into_iter().flatten() {
            if let (Some(slot @ None), Some((_, sought))) = (found.get_mut(*place), asked.get(*place))
                && sought.takes(&event)
            {
                *slot = Some((op, stored.bytes.clone()));
                left -= 1;
            }
        }
        if !trail.pass(&event) {
            break;
        }
    }
    Ok(found)
}

/// The frames that the engine holds: those that are not yet durable, and the open one.
pub(crate) struct InFlight<'e> {
    pub(crate) frames: &'e VecDeque<Arc<FrameBody>>,
    pub(crate) open: Option<&'e FrameBuilder>,
}

impl InFlight<'_> {
    fn event(&self, op: Op) -> Option<&[u8]> {
        if let Some(bytes) = self.open.and_then(|open| open.event(op.0)) {
            return Some(bytes);
        }
        self.frames.iter().rev().find_map(|frame| frame.event(op.0))
    }
}

/// What the book says of the event that a command names, or what is missing to say it.
pub(crate) fn resolve(
    ledger: &Ledger,
    command: &Command,
    runs: &Runs<'_>,
    in_flight: &InFlight<'_>,
) -> Result<Option<Resolved>, Missing> {
    let find = |lookup| runs.find(lookup);
    let sought = named_by(&command.action).map_or(Sought::Undoable, |(_, sought)| sought);
    let facts_of = |op, latest| original(ledger, sought, (op, latest), runs, in_flight).map(Some);
    match ledger.needs(command, &find) {
        Need::Nothing => Ok(None),
        Need::NotFound => Ok(Some(Resolved::NotFound)),
        Need::Hold(op) => Ok(Some(Resolved::Hold(op))),
        Need::Runs(lookup) => Err(Missing::Runs(lookup)),
        Need::Original { op, latest_refund } => facts_of(op, latest_refund),
        Need::Walk { head } => {
            let Some((Original::Reference(reference), _)) = named_by(&command.action) else {
                return Ok(Some(Resolved::NotFound));
            };
            let Some(member) = ledger.member(command.member_hash) else { return Ok(Some(Resolved::NotFound)) };
            let found = walk(Trail::new(head, member), (reference, sought), runs, in_flight)?;
            let Some(op) = found else { return Ok(Some(Resolved::NotFound)) };
            let latest_refund = ledger.find_refund(op, &find).map_err(Missing::Runs)?;
            facts_of(op, latest_refund)
        }
    }
}

fn walk(
    mut trail: Trail,
    (reference, sought): (&str, Sought),
    runs: &Runs<'_>,
    in_flight: &InFlight<'_>,
) -> Result<Option<Op>, Missing> {
    let attached = runs.attached;
    for _ in 0..REFERENCE_WALK_MAX {
        let Some(op) = trail.op() else { return Ok(None) };
        if let Some(found) = attached.walk(&trail, reference, sought) {
            return Ok(found);
        }
        let Some(bytes) = in_flight.event(op) else {
            return match runs.deciding {
                true => Ok(attached.walk_of_any(&trail, reference, sought)),
                false => Err(Missing::Walk { from: trail, reference: reference.to_owned(), sought }),
            };
        };
        let Ok(event) = codec::decode(bytes) else { return Ok(None) };
        if is_named(&event, reference, sought) {
            return Ok(Some(op));
        }
        if !trail.pass(&event) {
            return Ok(None);
        }
    }
    Ok(None)
}

fn original(
    ledger: &Ledger,
    sought: Sought,
    (op, latest): (Op, Option<Op>),
    runs: &Runs<'_>,
    in_flight: &InFlight<'_>,
) -> Result<Resolved, Missing> {
    let attached = runs.attached;
    let bytes = |one: Op| in_flight.event(one).or_else(|| attached.event(one));
    // What is in flight is not to be read from the book, where it may not stand yet.
    let lacks = latest.filter(|latest| bytes(*latest).is_none());
    let event = bytes(op).ok_or(Missing::Event(op, lacks))?;
    let read = |latest| bytes(latest).map(|bytes| (latest, bytes)).ok_or(Missing::Event(latest, None));
    let latest = latest.map(read).transpose()?;
    let Ok(event) = codec::decode(event) else { return Ok(Resolved::Other) };
    if let (Sought::Earn, Some(earn)) = (sought, event.checked_out_earn(op)) {
        // A part is no checkout: this goes one step down.
        let latest = ledger.find_refund(earn, &|lookup| runs.find(lookup)).map_err(Missing::Runs)?;
        return original(ledger, sought, (earn, latest), runs, in_flight);
    }
    let resolved = match latest.map(|(op, bytes)| (op, codec::decode(bytes))) {
        Some((latest, Ok(refund))) => Resolved::from_events(op, &event, Some((latest, &refund))),
        Some((_, Err(_))) => Resolved::Other,
        None => Resolved::from_events(op, &event, None),
    };
    let way = match &resolved {
        Resolved::Found(facts) => ledger.way(facts.member),
        _ => Way::new(),
    };
    // Whatever became of the lots since the request was looked at lies in the frames: what came before was read whether
    // or not it had touched the original's units by then.
    resolved.followed(ledger, |end, after| match (in_flight.event(end), attached.ends.get(&end)) {
        (Some(bytes), _) => Ok(codec::decode(bytes).ok().and_then(|event| End::of(end, &event))),
        (None, Some(known)) => Ok(Some(known.clone())),
        (None, None) => Err(Missing::Ends { from: end, after, way: way.clone() }),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::sim::SimShelves;
    use crate::store::{BookName, Store, StoreOptions};

    #[test]
    fn a_refund_that_became_a_run_since_the_runs_were_asked_is_asked_for_again() {
        let prints = Prints::new([3; 32]);
        let book = BookName { book_id: [1; 16], incarnation: 0 };
        let (mut store, _) = Store::open(Arc::new(SimShelves::new(1)), book, StoreOptions::default()).unwrap();
        let (taken, key) = (Lookup::Taken(Op(1)), Lookup::Key(prints.key("p", "k")));
        let upper = |lookup| u64::try_from(print_of(lookup, &prints) >> 64).unwrap();
        store.seal(0, 5, vec![(upper(taken), 3), (upper(key), 2)]).unwrap();
        let mut attached = Attached::default();
        attached.lookups.insert(taken, (Some(Op(3)), Op(5)));
        attached.lookups.insert(key, (Some(Op(2)), Op(5)));
        let then = store.keys();
        let runs = Runs { keys: &then, prints: &prints, attached: &attached, deciding: false };
        assert_eq!((runs.find(taken), runs.find(key)), (Found::Taken(Op(3)), Found::Taken(Op(2))));
        store.seal(5, 9, vec![(upper(taken), 7)]).unwrap();
        let now = store.keys();
        let runs = Runs { keys: &now, prints: &prints, attached: &attached, deciding: false };
        assert_eq!((runs.find(taken), runs.find(key)), (Found::Unknown, Found::Taken(Op(2))));
    }
}
