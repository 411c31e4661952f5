//! What members own lot by lot in a book on paper: event by event from the legs, the slow way.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::paper::{LATE_MIN, PaperBook};
use crate::ledger::event::{Account, DueKind, Event, Expiry, Leg, LotId, Side};
use crate::ledger::ids::{AssetNo, Op};
use crate::ledger::{HoldView, LotView, PendingView, codec};

/// Lots, open holds and pending earns of one member.
#[derive(Default)]
pub(crate) struct OnPaper {
    pub(crate) lots: Vec<LotView>,
    pub(crate) holds: Vec<HoldView>,
    pub(crate) pending: Vec<PendingView>,
}

impl OnPaper {
    /// What a member owns after the last event.
    pub(crate) fn of(paper: &PaperBook, member: usize) -> Self {
        let mut owned = Self::default();
        for op in (1..=paper.newest().0).map(Op) {
            let stored = paper.book.read(op.0).unwrap();
            let event = codec::decode(&stored.bytes).unwrap();
            let own = |side: &Side<'_>| side.member.is_some_and(|number| usize::try_from(number.0) == Ok(member));
            for side in event.sides().filter(own) {
                owned.take(op, &event, side.legs);
            }
        }
        owned.lots.retain(|lot| lot.entered > lot.left || !matches!(lot.lot.expiry, Expiry::At(_)));
        for lot in &mut owned.lots {
            let holds = owned.holds.iter().filter(|hold| hold.asset == lot.asset).flat_map(|hold| &hold.parts);
            lot.held = holds.filter(|(id, _)| *id == lot.lot).map(|(_, units)| units).sum();
        }
        owned.lots.sort_by_key(|lot| (lot.asset, lot.lot));
        owned
    }

    fn take(&mut self, op: Op, event: &Event<'_>, legs: &[Leg]) {
        match event {
            Event::Held(held) => self.holds.push(HoldView {
                op,
                asset: held.asset,
                purpose: held.purpose,
                until_us: held.until_us,
                parts: Vec::new(),
                reserves: held.claimed.map(|claimed| (claimed.reward, claimed.pieces)),
            }),
            Event::Earned(earned) => {
                let matures = earned.more.as_deref().and_then(|more| more.matures);
                self.pending.extend(matures.map(|matures| PendingView { earn: op, matures, parts: Vec::new() }));
            }
            _ => {}
        }
        let hold = match event {
            Event::Held(_) => Some(op),
            Event::Captured(captured) => op.back(captured.hold_link),
            Event::Released(released) => op.back(released.hold_link),
            Event::Due(due) => match due.kind {
                DueKind::HoldEnded { hold_link, .. } => op.back(hold_link),
                _ => None,
            },
            _ => None,
        };
        for leg in legs {
            self.leg(op, hold, leg);
        }
        self.holds.retain(|hold| !hold.parts.is_empty());
        self.pending.retain(|pending| !pending.parts.is_empty());
    }

    fn leg(&mut self, op: Op, hold: Option<Op>, leg: &Leg) {
        let units = leg.amount.unsigned_abs();
        match leg.account {
            Account::Available { lot, position } if leg.amount > 0 => {
                let lot = self.lot(leg.asset, lot, op, position);
                assert_eq!(lot.entered, position, "op {op:?}");
                lot.entered += units;
            }
            Account::Available { lot, position } => self.leave(leg.asset, lot, op, position, units),
            Account::Held { lot, position } => {
                let hold = self.holds.iter_mut().find(|known| Some(known.op) == hold).unwrap();
                move_part(&mut hold.parts, |part| part.0 == lot, (lot, units), leg.amount > 0);
                if let Some(position) = position {
                    self.leave(leg.asset, lot, op, position, units);
                }
            }
            Account::Pending { earn_link, lot } => {
                let earn = op.back(earn_link).unwrap_or(op);
                let pending = self.pending.iter_mut().find(|known| known.earn == earn).unwrap();
                let mut parts: Vec<_> =
                    pending.parts.iter().map(|(asset, lot, units)| ((*asset, *lot), *units)).collect();
                let key = (leg.asset, lot);
                move_part(&mut parts, |part| part.0 == key, (key, units), leg.amount > 0);
                pending.parts = parts.into_iter().map(|((asset, lot), units)| (asset, lot, units)).collect();
            }
            _ => {}
        }
    }

    fn lot(&mut self, asset: AssetNo, lot: LotId, op: Op, position: u64) -> &mut LotView {
        let place = self.lots.iter().position(|known| (known.asset, known.lot) == (asset, lot));
        let place = place.unwrap_or_else(|| {
            let until = (lot.expiry == Expiry::Rolling).then_some(LATE_MIN);
            self.lots.push(LotView { asset, lot, until, entered: position, left: position, held: 0, opened: op });
            self.lots.len() - 1
        });
        let lot = self.lots.get_mut(place).unwrap();
        if lot.entered == lot.left {
            lot.opened = op;
        }
        lot
    }

    fn leave(&mut self, asset: AssetNo, lot: LotId, op: Op, position: u64, units: u64) {
        let lot = self.lot(asset, lot, op, position);
        assert!(lot.left == position && lot.entered >= position + units, "op {op:?}");
        lot.left += units;
    }
}

/// Adds units to the part that is meant, or takes them from it; a part without units goes.
fn move_part<K: Copy>(parts: &mut Vec<(K, u64)>, is: impl Fn(&(K, u64)) -> bool, (key, units): (K, u64), adds: bool) {
    match parts.iter_mut().find(|part| is(part)) {
        Some(part) if adds => part.1 += units,
        Some(part) => part.1 -= units,
        None if adds => parts.push((key, units)),
        None => panic!("there is no such part"),
    }
    parts.retain(|(_, units)| *units > 0);
}
