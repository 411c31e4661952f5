//! The second pass: each decision again, from the inputs in its event and the state before it.

use std::collections::{HashMap, HashSet};

use crate::io::Disk;
use crate::journal::{self, JournalError};
use crate::ledger::event::Event;
use crate::ledger::ids::{MemberNo, Op};
use crate::ledger::original::taken_by;
use crate::ledger::own::End;
use crate::ledger::print::Prints;
use crate::ledger::{Ledger, Resolved, codec};

use super::{Kept, Step, original_of, read, tell, unbounded};

/// The replay with what commands that name an event need of the past: only the events that are named are kept, and what
/// moved the lots of their members since.
struct Rules {
    ledger: Ledger,
    originals: HashSet<Op>,
    kept: Kept,
    /// By original, its latest refund or reversal.
    latest: HashMap<Op, Op>,
    /// The members of the originals so far.
    members: HashSet<MemberNo>,
    ends: HashMap<Op, End>,
    proved: u64,
}

impl Rules {
    /// What the book says of an event, as the server was told of it.
    fn resolve(&self, original: Op) -> Result<Resolved, String> {
        let Some(bytes) = self.kept.get(&original) else { return Ok(Resolved::NotFound) };
        let event = codec::decode(bytes).map_err(|error| error.to_string())?;
        let latest = self.latest.get(&original).and_then(|op| Some((*op, self.kept.get(op)?)));
        let latest = match latest {
            Some((op, bytes)) => Some((op, codec::decode(bytes).map_err(|error| error.to_string())?)),
            None => None,
        };
        let latest = latest.as_ref().map(|(op, event)| (*op, event));
        let resolved = Resolved::from_events(original, &event, latest);
        resolved.followed(&self.ledger, |end, _| Ok(self.ends.get(&end).cloned()))
    }

    /// What the server was told of the event that a command named.
    fn resolved(&self, op: Op, event: &Event<'_>) -> Result<Option<Resolved>, String> {
        let hold = match event {
            Event::Captured(captured) => op.back(captured.hold_link),
            Event::Released(released) => op.back(released.hold_link),
            _ => return original_of(op, event).map(|original| self.resolve(original)).transpose(),
        };
        Ok(hold.map(Resolved::Hold))
    }

    fn take(&mut self, step: &Step<'_>, prints: &Prints) -> Result<(), String> {
        let Step { at, bytes, event } = step;
        let resolved = self.resolved(at.op, event)?;
        let what = |text: String| format!("op {}: {text}", at.op.0);
        self.ledger.prove(*at, event, resolved.as_ref(), prints).map_err(what)?;
        let applied = event.common().is_some() && event.rejection().is_none();
        self.proved = self.proved.saturating_add(u64::from(applied));
        self.ledger.replay(*at, event, prints).map_err(|error| error.to_string())?;
        if let Some(original) = taken_by(at.op, event) {
            self.kept.insert(at.op, (*bytes).into());
            if let Some(before) = self.latest.insert(original, at.op) {
                self.kept.remove(&before);
            }
        }
        if self.originals.contains(&at.op) {
            self.kept.insert(at.op, (*bytes).into());
            self.members.extend(event.member());
        }
        if event.members().any(|(member, _)| self.members.contains(&member))
            && let Some(end) = End::of(at.op, event)
        {
            self.ends.insert(at.op, end);
            // Of a merge: what moves lots of whoever stays moves those of whoever went.
            self.members.extend(event.other().and_then(|other| other.member.number()));
        }
        Ok(())
    }
}

/// Proves every decision up to `last`, so that what a running server adds meanwhile is left alone. Returns how many
/// there were.
pub(super) fn prove(
    disk: &dyn Disk,
    prints: &Prints,
    last: u64,
    originals: HashSet<Op>,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, JournalError> {
    let (kept, latest, members, ends) = (HashMap::new(), HashMap::new(), HashSet::new(), HashMap::new());
    let mut rules = Rules { ledger: unbounded(), originals, kept, latest, members, ends, proved: 0 };
    journal::scan(
        disk,
        &mut |visit| {
            if visit.op > last {
                return Ok(());
            }
            tell(progress, visit.op);
            rules.take(&read(&visit)?, prints)
        },
        &mut |_| {},
    )?;
    Ok(rules.proved)
}
