//! The second pass: each decision again, from the inputs in its event and the state before it.

use std::collections::{HashMap, HashSet};

use crate::io::Disk;
use crate::journal::{self, JournalError};
use crate::ledger::event::Event;
use crate::ledger::ids::Op;
use crate::ledger::print::Prints;
use crate::ledger::{Ledger, Resolved, codec};

use super::{Kept, Step, original_of, read, tell, unbounded};

/// The replay with what refunds need of the past: only the events that a refund names are kept, not all earns.
struct Rules {
    ledger: Ledger,
    originals: HashSet<Op>,
    kept: Kept,
    /// By original, its latest refund.
    latest: HashMap<Op, Op>,
    proved: u64,
}

impl Rules {
    /// What the book says of a refund's original, as the server was told of it.
    fn resolve(&self, original: Op) -> Result<Resolved, String> {
        let Some(bytes) = self.kept.get(&original) else { return Ok(Resolved::NotFound) };
        let event = codec::decode(bytes).map_err(|error| error.to_string())?;
        let latest = self.latest.get(&original).and_then(|op| Some((*op, self.kept.get(op)?)));
        let refund = match latest {
            Some((op, bytes)) => Some((op, codec::decode(bytes).map_err(|error| error.to_string())?)),
            None => None,
        };
        Ok(Resolved::from_events(original, &event, refund.as_ref().map(|(op, event)| (*op, event))))
    }

    fn take(&mut self, step: &Step<'_>, prints: &Prints) -> Result<(), String> {
        let Step { at, bytes, event } = step;
        let original = original_of(at.op, event);
        let resolved = original.map(|original| self.resolve(original)).transpose()?;
        let what = |text: String| format!("op {}: {text}", at.op.0);
        self.ledger.prove(*at, event, resolved.as_ref(), prints).map_err(what)?;
        let applied = matches!(event, Event::Earned(_) | Event::Refunded(_) | Event::Redeemed(_) | Event::Adjusted(_));
        if applied || matches!(event, Event::Opened(_)) {
            self.proved = self.proved.saturating_add(1);
        }
        self.ledger.replay(*at, event, prints).map_err(|error| error.to_string())?;
        if let Some(original) = original {
            self.kept.insert(at.op, (*bytes).into());
            if let Some(before) = self.latest.insert(original, at.op) {
                self.kept.remove(&before);
            }
        }
        if self.originals.contains(&at.op) {
            self.kept.insert(at.op, (*bytes).into());
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
    let (ledger, kept, latest) = (unbounded(), HashMap::new(), HashMap::new());
    let mut rules = Rules { ledger, originals, kept, latest, proved: 0 };
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
