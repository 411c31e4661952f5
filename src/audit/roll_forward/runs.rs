//! The months of the units in lots: each lot is a queue of runs, and what leaves it leaves from the front, as positions do.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::{Month, RollError};
use crate::ledger::event::LotId;
use crate::ledger::ids::{AssetNo, MemberNo, Op};

/// Runs that one walk through the book holds at most, about 60 bytes each. A walk that needs more is made for half of the members
/// at a time.
pub const RUNS_MAX: usize = 16_000_000;

/// Units that were earned in one month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) units: u64,
    pub(super) month: Month,
}

/// Runs, the first to leave first.
pub(super) type Runs = SmallVec<[Run; 1]>;

/// Where units lie: in a lot of a member, or pending of an earn that will enter that lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) member: MemberNo,
    pub(super) asset: AssetNo,
    pub(super) lot: LotId,
    /// The earn that is pending; op 0 for units in the lot.
    pub(super) earn: Op,
}

/// The units of all members that are walked over.
#[derive(Debug)]
pub(super) struct Holdings {
    places: HashMap<Place, Runs>,
    runs: usize,
    runs_max: usize,
}

impl Holdings {
    pub(super) fn new(runs_max: usize) -> Self {
        Self { places: HashMap::new(), runs: 0, runs_max }
    }

    /// Every place with its runs, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Place, &Runs)> {
        self.places.iter()
    }

    /// Puts units behind those that there are.
    pub(super) fn put(&mut self, place: Place, run: Run) -> Result<(), RollError> {
        if run.units == 0 {
            return Ok(());
        }
        let runs = self.places.entry(place).or_default();
        match runs.last_mut().filter(|last| last.month == run.month) {
            Some(last) => last.units = last.units.checked_add(run.units).ok_or(RollError::Overflow)?,
            None if self.runs >= self.runs_max => return Err(RollError::Full),
            None => {
                self.runs += 1;
                runs.push(run);
            }
        }
        Ok(())
    }

    /// Takes units from the front; `None` where there are not so many.
    pub(super) fn take(&mut self, place: &Place, units: u64) -> Option<Runs> {
        if units == 0 {
            return Some(Runs::new());
        }
        let runs = self.places.get_mut(place)?;
        let (mut taken, mut rest) = (Runs::new(), units);
        let mut emptied = 0;
        for run in runs.iter_mut() {
            if rest == 0 {
                break;
            }
            let part = run.units.min(rest);
            rest -= part;
            run.units -= part;
            emptied += usize::from(run.units == 0);
            taken.push(Run { units: part, month: run.month });
        }
        runs.drain(..emptied);
        self.runs = self.runs.saturating_sub(emptied);
        if runs.is_empty() {
            self.places.remove(place);
        }
        (rest == 0).then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ledger::event::{Expiry, Source};

    #[test]
    fn units_leave_from_the_front_and_keep_their_months() {
        let place = Place {
            member: MemberNo(1),
            asset: AssetNo::POINTS,
            lot: LotId { source: Source::Base, expiry: Expiry::Never },
            earn: Op(0),
        };
        let run = |units, month| Run { units, month: Month(month) };
        let mut holdings = Holdings::new(2);
        for (units, month) in [(5, 1), (7, 1), (4, 2)] {
            holdings.put(place, run(units, month)).unwrap();
        }
        assert!(matches!(holdings.put(place, run(1, 3)), Err(RollError::Full)));
        assert_eq!(holdings.take(&place, 3).unwrap().to_vec(), [run(3, 1)]);
        assert_eq!(holdings.take(&place, 11).unwrap().to_vec(), [run(9, 1), run(2, 2)]);
        // Where one run went there is room for another.
        holdings.put(place, run(1, 3)).unwrap();
        assert_eq!(holdings.take(&place, 3).unwrap().to_vec(), [run(2, 2), run(1, 3)]);
        assert_eq!(holdings.iter().count(), 0);
        assert_eq!(holdings.take(&place, 1), None);
    }
}
