//! What an event moved, leg by leg: which lots units entered or left and when they lapse, who paid, who was paid.

use super::words::lot;
use super::{Line, Teller};
use crate::audit::chart::Class;
use crate::ledger::event::{Account, Due, DueKind, Event, Expiry, Leg, LotId};

/// A word for what a leg did: a name, and a verb behind the number of units.
type Did = (&'static str, &'static str);

impl Teller<'_> {
    /// The legs of one side of an event.
    pub(super) fn moves(&mut self, event: &Event<'_>, legs: &[Leg], book_time_us: i64) {
        let behind_us = event.common().map_or(0, |common| common.behind_us);
        for leg in legs {
            let line = match leg.account {
                Account::Available { lot, .. } => {
                    Some(self.on_lot(event, leg, lot, book_time_us.saturating_sub(behind_us)))
                }
                // The leg on what is held says the same.
                Account::Free { .. } => None,
                Account::Held { lot, position } => {
                    let did = match (leg.amount > 0, position) {
                        (true, _) => ("pins", "are pinned in"),
                        (false, None) => ("lets_go", "are let go in"),
                        (false, Some(_)) => ("takes", "leave, having been held,"),
                    };
                    Some(self.of_lot(leg, did, lot, ""))
                }
                Account::Pending { lot, .. } => {
                    let did = match (leg.amount > 0, event) {
                        (true, _) => ("waits", "wait for"),
                        (false, Event::Refunded(_)) => ("cancels", "are cancelled that waited for"),
                        (false, _) => ("ends_waiting", "wait no more for"),
                    };
                    let why = self.why(event, leg, lot, book_time_us.saturating_sub(behind_us));
                    Some(self.of_lot(leg, did, lot, &why))
                }
                _ => Some(self.on_account(event, leg)),
            };
            self.lines.extend(line);
        }
    }

    /// Units that enter or leave a lot.
    fn on_lot(&self, event: &Event<'_>, leg: &Leg, lot: LotId, occurred_us: i64) -> Line {
        let due = match event {
            Event::Due(Due { kind, .. }) => Some(kind),
            _ => None,
        };
        if leg.amount > 0 {
            let note = match event {
                Event::Reversed(_) if self.named_lot(leg, lot) == Some(false) => {
                    " (its own had lapsed: these are the program's days of grace)".to_owned()
                }
                _ => self.why(event, leg, lot, occurred_us),
            };
            let did = if matches!(event, Event::Reversed(_)) { "come back to" } else { "enter" };
            return self.of_lot(leg, ("enters", did), lot, &note);
        }
        let did = match due {
            Some(DueKind::Expired { .. }) => ("lapses", "lapse in"),
            Some(_) => ("takes", "leave"),
            None => ("takes", "are taken from"),
        };
        let note = match (event, self.named_lot(leg, lot)) {
            (Event::Refunded(_) | Event::Reversed(_), Some(true)) => ", which its units entered",
            (Event::Refunded(_) | Event::Reversed(_), Some(false)) => ", which they did not enter at first",
            _ => "",
        };
        self.of_lot(leg, did, lot, note)
    }

    /// Why the units that an earn gives lapse when they do.
    fn why(&self, event: &Event<'_>, leg: &Leg, lot: LotId, occurred_us: i64) -> String {
        match (event, lot.expiry) {
            (Event::Earned(earned), Expiry::At(minute)) => {
                self.why_lapses(Some(earned.version), leg.asset, minute, occurred_us)
            }
            _ => String::new(),
        }
    }

    /// Whether the event that is named moved units of a lot; `None` where none is known.
    fn named_lot(&self, leg: &Leg, lot: LotId) -> Option<bool> {
        let (_, named) = self.scene.named?;
        let of = |other: &Leg| match other.account {
            Account::Available { lot, .. } | Account::Held { lot, .. } | Account::Pending { lot, .. } => Some(lot),
            _ => None,
        };
        Some(named.legs().iter().any(|other| other.asset == leg.asset && of(other) == Some(lot)))
    }

    fn of_lot(&self, leg: &Leg, (name, did): Did, id: LotId, note: &str) -> Line {
        let units = leg.amount.unsigned_abs();
        let text = format!("{} {did} {}{note}.", self.units(units, leg.asset), lot(id, &self.zone));
        Line { leg: Some(*leg), ..self.line_of(name, leg.asset, text).with("units", units) }
    }

    /// Units of any other account.
    fn on_account(&self, event: &Event<'_>, leg: &Leg) -> Line {
        let (units, gets) = (leg.amount.unsigned_abs(), leg.amount > 0);
        let of = self.units(units, leg.asset);
        let (name, text) = match (Class::of(&leg.account), gets) {
            (Class::Debt, true) if matches!(event, Event::MembersMerged(_)) => {
                ("settles", format!("{of} that the member owed are settled, or go over to the one who stays."))
            }
            (Class::Debt, false) if matches!(event, Event::MembersMerged(_)) => {
                ("owes", format!("{of} that came over are owed by the member."))
            }
            (Class::Debt, true) => {
                ("settles", format!("{of} settle what the member owed, before anything enters a lot."))
            }
            (Class::Debt, false) => ("owes", format!("{of} are owed by the member, who has not as many.")),
            (Class::Breakage, true) => ("breakage", format!("{of} have lapsed and go to breakage.")),
            (Class::Breakage, false) => {
                ("breakage", format!("{of} come from breakage: they had lapsed, and are not owed."))
            }
            (class, gets) => {
                let campaign = match leg.account {
                    Account::Campaign { campaign, .. } => self.campaign(campaign),
                    _ => String::new(),
                };
                let account = match leg.account {
                    Account::Conversion { program, .. } => {
                        class.name(self.scene.names.program(program).map_or("", |names| names.id.as_str()))
                    }
                    Account::Stock { reward, .. } | Account::Reserved { reward, .. } => class.name(self.reward(reward)),
                    _ => class.name(&campaign),
                };
                let text = match (gets, event) {
                    (true, _) => format!("{of} go to {account}."),
                    (false, _) => format!("{of} come from {account}."),
                };
                let line = self.line_of("account", leg.asset, text).with("units", leg.amount);
                return Line { campaign, ..line };
            }
        };
        self.line_of(name, leg.asset, text).with("units", units)
    }
}
