//! Members who become one within a request: what names an earlier event by reference behind the merge means the events of
//! both, and these are to be read before the request is decided.

use std::collections::HashMap;

use crate::ledger::command::{Action, Command, Original};
use crate::ledger::original::named_by;

/// Members of one request of whom a reference is looked for together; in a longer chain of merges the first ones.
const TOGETHER_MAX: usize = 64;

/// The members that the commands of a request so far let become one, by the hashes of their ids.
#[derive(Debug, Default)]
pub(super) struct Joined {
    groups: Vec<Vec<u128>>,
    places: HashMap<u128, usize>,
}

impl Joined {
    /// The same command for each other member who is one with its own by then, where it names an event by reference. A
    /// merge is noted.
    pub(super) fn each(&mut self, command: &Command) -> impl Iterator<Item = Command> {
        if let Action::Merge { into, .. } = &command.action {
            self.join(command.member_hash, into.hash);
        }
        let by_reference = || matches!(named_by(&command.action), Some((Original::Reference(_), _)));
        let place = self.places.get(&command.member_hash).filter(|_| by_reference());
        let together = place.and_then(|place| self.groups.get(*place)).map(Vec::as_slice).unwrap_or_default();
        let others = together.iter().filter(|hash| **hash != command.member_hash).take(TOGETHER_MAX);
        others.map(|hash| Command { member_hash: *hash, ..command.clone() }).collect::<Vec<_>>().into_iter()
    }

    fn join(&mut self, goer: u128, into: u128) {
        let (from, to) = (self.place(goer), self.place(into));
        if from != to {
            let moved = self.groups.get_mut(from).map(std::mem::take).unwrap_or_default();
            self.places.extend(moved.iter().map(|hash| (*hash, to)));
            if let Some(group) = self.groups.get_mut(to) {
                group.extend(moved);
            }
        }
    }

    fn place(&mut self, hash: u128) -> usize {
        *self.places.entry(hash).or_insert_with(|| {
            self.groups.push(vec![hash]);
            self.groups.len() - 1
        })
    }
}
