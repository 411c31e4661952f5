//! What moves between two members of a program: units given, with the months in which they were earned, and a member who goes into
//! another.

use std::collections::HashMap;

use super::rows::Column;
use super::runs::{Place, Run};
use super::walk::{At, Step, Walk, is_debt};
use crate::ledger::event::{LotId, Source};
use crate::ledger::ids::{AssetNo, Op};

impl Walk<'_> {
    /// Units given, lot by lot: they keep their months, settle the receiver's debt first, and enter his lots of the same dates.
    pub(super) fn give(&mut self, giver: &At<'_>, receiver: &At<'_>) -> Step {
        let mut owed: HashMap<AssetNo, u64> = HashMap::new();
        for (place, units) in giver.leaving() {
            let asset = place.asset;
            let owed = owed.entry(asset).or_insert_with(|| receiver.units(asset, is_debt));
            let lot = LotId { source: Source::Transferred, ..place.lot };
            let enters = receiver.entering(asset).any(|(entered, _)| entered == lot);
            for run in self.take(giver, &place, units)? {
                let row = (asset, Source::Transferred, run.month);
                self.note((asset, place.lot.source, run.month), Column::Transferred, -i128::from(run.units));
                self.note(row, Column::Transferred, run.units.into());
                let settled = run.units.min(*owed);
                *owed -= settled;
                self.settle(row, settled);
                let rest = Run { units: run.units - settled, month: run.month };
                match enters {
                    true => self.holdings.put(receiver.place(asset, lot), rest)?,
                    false => self.note(row, Column::Expired, -i128::from(rest.units)),
                }
            }
        }
        Ok(())
    }

    /// A member who goes into another: lots and pending units move as they are, with their months. Debts are settled by the first
    /// units of the lots that move, and by what leaves the lots of who stays; what one owed and the other owes now is no movement.
    pub(super) fn join(&mut self, goer: &At<'_>, stayer: &At<'_>) -> Step {
        for (place, units) in stayer.leaving() {
            for run in self.take(stayer, &place, units)? {
                self.settle((place.asset, place.lot.source, run.month), run.units);
            }
        }
        for (place, units) in goer.leaving() {
            let into = Place { member: stayer.member, ..place };
            // What is pending settles nothing before it is available.
            let enters = if place.earn == Op(0) { stayer.entered(place.asset, place.lot) } else { units };
            let mut settled = units.checked_sub(enters).ok_or_else(|| goer.stray("more enters a lot than left it"))?;
            for run in self.take(goer, &place, units)? {
                let pays = settled.min(run.units);
                settled -= pays;
                self.settle((place.asset, place.lot.source, run.month), pays);
                self.holdings.put(into, Run { units: run.units - pays, month: run.month })?;
            }
        }
        Ok(())
    }
}
