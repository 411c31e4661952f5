//! Where the units of one event are now. A lot's units are positions, so an event's own are intervals of them; what leaves
//! a lot in the ordinary way leaves from its front and needs no trace. What lapses, what goes into another lot and what
//! was pending is told by events that lead back from one to the one before it, a member's *ends*: they are followed in
//! the order of their ops, beginning behind the event whose units are sought. The ends of two members who became one meet in
//! the merge, and units are followed along those of the member who had them.

use smallvec::SmallVec;

use super::event::{Account, DueKind, Event, Leg, MembersMerged};
use super::holding::{Holding, LotKey};
use super::ids::{AssetNo, MemberNo, Op};

/// Ends that are followed back at most, newest first. What older ones did to an event's units is not known then, and
/// those units count as spent.
pub const ENDS_MAX: usize = 1_000;

/// An interval of positions in a lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: LotKey,
    pub(crate) position: u64,
    pub(crate) units: u64,
}

impl Place {
    fn end(&self) -> u64 {
        self.position.saturating_add(self.units)
    }

    /// How much it has in common with another interval of its lot, and how much of it lies behind that one.
    fn cut(&self, other: &Self) -> (u64, u64) {
        let common = self.end().min(other.end()).saturating_sub(self.position.max(other.position));
        (common, self.units.min(self.end().saturating_sub(other.end())))
    }
}

/// What an end did to units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// They lapsed.
    Lapsed(Place),
    /// They went into another lot, where they begin at that position.
    Moved(Place, LotKey, u64),
    /// They were pending of that earn, and entered a lot.
    Entered(Op, Place),
    /// They were pending of that earn, and had lapsed when they became available.
    Late(Op, AssetNo, u64),
}

/// An event that moved a member's lots or pending units as they are, as far as it says where units went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    op: Op,
    before: Option<Op>,
    moves: SmallVec<[Move; 1]>,
    /// Of a merge: who went, and the end before it of his; `before` is that of the member who stays.
    went: Option<(MemberNo, Option<Op>)>,
}

impl End {
    /// What an event says of where units went; `None` for one that is no end.
    #[must_use]
    pub fn of(op: Op, event: &Event<'_>) -> Option<Self> {
        let (link, moves) = match event {
            Event::MembersMerged(merged) => return Self::of_merge(op, merged),
            Event::Due(due) => match due.kind {
                DueKind::HoldEnded { .. } => return None,
                DueKind::Expired { .. } => (due.ends_link, leaving(&due.legs).map(Move::Lapsed).collect()),
                DueKind::LotsMerged => (due.ends_link, merged(&due.legs).into_iter().collect()),
                DueKind::Matured { earn_link, .. } => (due.ends_link, entered(op.back(earn_link)?, &due.legs)),
            },
            Event::Activated(activated) => {
                (activated.ends_link, entered(op.back(activated.earn_link)?, &activated.legs))
            }
            Event::Captured(captured) if captured.lapsed > 0 => {
                let (_, lapsed) = split(leaving(&captured.legs), captured.units);
                (captured.ends_link, lapsed.into_iter().map(Move::Lapsed).collect())
            }
            Event::Released(released) if released.lapsed > 0 => {
                (released.ends_link, leaving(&released.legs).map(Move::Lapsed).collect())
            }
            _ => return None,
        };
        Some(Self { op, before: op.back(link), moves, went: None })
    }

    fn of_merge(op: Op, merged: &MembersMerged<'_>) -> Option<Self> {
        let goer = merged.common.member.number()?;
        let went = |from: Place| {
            let to = entering(&merged.other.legs).find(|to| to.key == from.key)?;
            // The first units settled a debt.
            let paid = from.units.checked_sub(to.units)?;
            let from = Place { position: from.position.saturating_add(paid), units: to.units, ..from };
            Some(Move::Moved(from, to.key, to.position))
        };
        Some(Self {
            op,
            before: op.back(merged.into_ends_link),
            moves: leaving(&merged.legs).filter_map(went).collect(),
            went: Some((goer, op.back(merged.ends_link))),
        })
    }

    /// The end before it of the same member; `way` is that of the member whose units are followed, see [`Ledger::way`].
    ///
    /// [`Ledger::way`]: super::Ledger::way
    #[must_use]
    pub fn before(&self, way: &[MemberNo]) -> Option<Op> {
        match self.went {
            Some((goer, before)) if way.contains(&goer) => before,
            _ => self.before,
        }
    }
}

/// The intervals that legs take out of lots, in the order of the legs.
pub(super) fn leaving(legs: &[Leg]) -> impl Iterator<Item = Place> {
    legs.iter().filter(|leg| leg.amount < 0).filter_map(|leg| match leg.account {
        Account::Available { lot, position } | Account::Held { lot, position: Some(position) } => {
            Some(Place { key: LotKey { asset: leg.asset, lot }, position, units: leg.amount.unsigned_abs() })
        }
        _ => None,
    })
}

type Places = SmallVec<[Place; 2]>;

/// The first units of intervals, and the others.
pub(super) fn split(places: impl Iterator<Item = Place>, units: u64) -> (Places, Places) {
    let (mut first, mut others) = (Places::new(), Places::new());
    let mut rest = units;
    for Place { key, position, units } in places {
        let before = units.min(rest);
        rest -= before;
        for (part, position, units) in
            [(&mut first, position, before), (&mut others, position.saturating_add(before), units - before)]
        {
            if units > 0 {
                part.push(Place { key, position, units });
            }
        }
    }
    (first, others)
}

fn merged(legs: &[Leg]) -> Option<Move> {
    let from = leaving(legs).next()?;
    entering(legs).next().map(|to| Move::Moved(from, to.key, to.position))
}

fn entering(legs: &[Leg]) -> impl Iterator<Item = Place> {
    legs.iter().filter(|leg| leg.amount > 0).filter_map(|leg| match leg.account {
        Account::Available { lot, position } => {
            Some(Place { key: LotKey { asset: leg.asset, lot }, position, units: leg.amount.unsigned_abs() })
        }
        _ => None,
    })
}

fn late(legs: &[Leg]) -> impl Iterator<Item = (AssetNo, u64)> {
    let lapsed = |leg: &&Leg| leg.amount > 0 && matches!(leg.account, Account::Breakage { .. });
    legs.iter().filter(lapsed).map(|leg| (leg.asset, leg.amount.unsigned_abs()))
}

fn entered(earn: Op, legs: &[Leg]) -> SmallVec<[Move; 1]> {
    let there = entering(legs).map(|place| Move::Entered(earn, place));
    there.chain(late(legs).map(|(asset, units)| Move::Late(earn, asset, units))).collect()
}

/// The units of one event: where they lie, and how many of them lapsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    places: Places,
    lapsed: SmallVec<[(AssetNo, u64); 1]>,
}

impl Own {
    /// As the event booked them: what settled debt is gone, what is pending does not lie in a lot yet.
    pub(crate) fn of(legs: &[Leg]) -> Self {
        Self { places: entering(legs).collect(), lapsed: late(legs).collect() }
    }

    /// Follows what happened to the units of the event at `original`: `ends` in the order of their ops, `way` as [`End::before`]
    /// has it.
    pub(crate) fn follow<'e>(&mut self, original: Op, way: &[MemberNo], ends: impl Iterator<Item = &'e End>) {
        for end in ends.filter(|end| end.op > original) {
            match end.went {
                Some((goer, _)) if way.contains(&goer) => {
                    self.go_over(&end.moves);
                    continue;
                }
                // Lots of another came to those of the member whose units are sought.
                Some(_) => continue,
                None => {}
            }
            for step in &end.moves {
                match *step {
                    Move::Lapsed(gone) => {
                        let units = self.cut(&gone, None);
                        self.lapse(gone.key.asset, units);
                    }
                    Move::Moved(gone, to, position) => {
                        self.cut(&gone, Some((to, position)));
                    }
                    Move::Entered(earn, place) if earn == original => self.places.push(place),
                    Move::Late(earn, asset, units) if earn == original => self.lapse(asset, units),
                    Move::Entered(..) | Move::Late(..) => {}
                }
            }
        }
    }

    fn lapse(&mut self, asset: AssetNo, units: u64) {
        match self.lapsed.iter_mut().find(|(known, _)| *known == asset) {
            Some((_, sum)) => *sum = sum.saturating_add(units),
            None if units > 0 => self.lapsed.push((asset, units)),
            None => {}
        }
    }

    /// Puts the units where they went when their member went into another. What did not go over is spent.
    fn go_over(&mut self, moves: &[Move]) {
        for place in std::mem::take(&mut self.places) {
            for step in moves {
                let Move::Moved(gone, to, position) = step else { continue };
                let (common, _) = if gone.key == place.key { place.cut(gone) } else { continue };
                let offset = place.position.saturating_sub(gone.position);
                if common > 0 {
                    self.places.push(Place { key: *to, position: position.saturating_add(offset), units: common });
                }
            }
        }
    }

    /// Takes an interval out of the places, and puts it where it went. What lies before it in the lot had left the lot
    /// by then and is spent. Returns the units that it took.
    fn cut(&mut self, gone: &Place, to: Option<(LotKey, u64)>) -> u64 {
        let mut taken = 0_u64;
        for place in std::mem::take(&mut self.places) {
            if place.key != gone.key {
                self.places.push(place);
                continue;
            }
            let (common, behind) = place.cut(gone);
            taken = taken.saturating_add(common);
            if let (Some((key, position)), true) = (to, common > 0) {
                let offset = place.position.saturating_sub(gone.position);
                self.places.push(Place { key, position: position.saturating_add(offset), units: common });
            }
            if behind > 0 {
                self.places.push(Place { position: place.end().saturating_sub(behind), units: behind, ..place });
            }
        }
        taken
    }

    /// Units of an asset that lapsed.
    pub(crate) fn lapsed(&self, asset: AssetNo) -> u64 {
        self.lapsed.iter().find(|(known, _)| *known == asset).map_or(0, |(_, units)| *units)
    }

    /// The units of an asset that have not left their lots, those that are held included.
    pub(crate) fn there(&self, holding: &Holding, asset: AssetNo) -> SmallVec<[(LotKey, u64); 2]> {
        let mut there: SmallVec<[(LotKey, u64); 2]> = SmallVec::new();
        for place in self.places.iter().filter(|place| place.key.asset == asset) {
            // Positions are never used again, not even by a dated lot that went and was opened anew.
            let Some(lot) = holding.lot(place.key) else { continue };
            let units = place.end().min(lot.entered).saturating_sub(place.position.max(lot.left));
            match there.iter_mut().find(|(key, _)| *key == place.key) {
                Some((_, sum)) => *sum = sum.saturating_add(units),
                None if units > 0 => there.push((place.key, units)),
                None => {}
            }
        }
        there
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::event::{Due, DueKind, Expiry, Legs, LotId, Source};
    use super::super::holding::Lot;
    use super::super::ids::{MemberNo, ProgramNo};
    use super::super::list::List;
    use super::*;

    const MINE: Op = Op(5);

    fn key(source: Source, minute: u32) -> LotKey {
        LotKey { asset: AssetNo::POINTS, lot: LotId { source, expiry: Expiry::At(minute) } }
    }

    fn available(key: LotKey, position: u64, amount: i64) -> Leg {
        Leg { account: Account::Available { lot: key.lot, position }, asset: key.asset, amount }
    }

    fn breakage(amount: i64) -> Leg {
        Leg { account: Account::Breakage { link: 0 }, asset: AssetNo::POINTS, amount }
    }

    fn due(op: u64, kind: DueKind, moved: &[Leg]) -> End {
        let mut legs = Legs::default();
        assert!(moved.iter().all(|leg| legs.push(*leg)));
        let (program, member, after) = (ProgramNo(0), MemberNo(0), List::default());
        let due = Due { program, member, member_link: 1, ends_link: 2, kind, after, legs };
        End::of(Op(op), &Event::Due(due)).unwrap()
    }

    fn lapse(op: u64, key: LotKey, position: u64, units: i64) -> End {
        due(op, DueKind::Expired { lapsed_min: 9 }, &[available(key, position, -units), breakage(units)])
    }

    fn holding(lots: &[(LotKey, u64, u64)]) -> Holding {
        let lot = |(key, entered, left): &(LotKey, u64, u64)| Lot {
            key: *key,
            entered: *entered,
            left: *left,
            opened: Op(1),
        };
        Holding { lots: lots.iter().map(lot).collect(), ..Holding::default() }
    }

    fn after(credited: &[Leg], ends: &[End], lots: &[(LotKey, u64, u64)]) -> (Vec<(LotKey, u64)>, u64) {
        let mut own = Own::of(credited);
        own.follow(MINE, &[MemberNo(0)], ends.iter());
        (own.there(&holding(lots), AssetNo::POINTS).to_vec(), own.lapsed(AssetNo::POINTS))
    }

    #[test]
    fn what_has_left_the_front_of_a_lot_is_gone_and_the_rest_is_there() {
        let lot = key(Source::Base, 10);
        let credited = [available(lot, 100, 50)];
        assert_eq!(after(&credited, &[], &[(lot, 200, 0)]), (vec![(lot, 50)], 0));
        assert_eq!(after(&credited, &[], &[(lot, 200, 120)]), (vec![(lot, 30)], 0));
        assert_eq!(after(&credited, &[], &[(lot, 200, 150)]), (vec![], 0));
        assert_eq!(after(&credited, &[], &[]), (vec![], 0), "a dated lot that is empty has gone");
        assert_eq!(
            after(&credited, &[], &[(lot, 170, 150)]),
            (vec![], 0),
            "and begins behind them when it comes again"
        );
    }

    #[test]
    fn what_lapses_is_what_the_lapsed_interval_covers() {
        let lot = key(Source::Base, 10);
        let credited = [available(lot, 100, 50)];
        assert_eq!(after(&credited, &[lapse(9, lot, 0, 160)], &[]), (vec![], 50));
        assert_eq!(after(&credited, &[lapse(9, lot, 120, 80)], &[]), (vec![], 30), "twenty were spent before");
        assert_eq!(
            after(&credited, &[lapse(9, lot, 0, 110)], &[(lot, 150, 110)]),
            (vec![(lot, 40)], 10),
            "forty are held"
        );
        assert_eq!(after(&credited, &[lapse(9, lot, 150, 50)], &[]), (vec![], 0), "those behind them are another's");
        let other = key(Source::Campaign, 10);
        assert_eq!(after(&credited, &[lapse(9, other, 0, 500)], &[(lot, 150, 0)]), (vec![(lot, 50)], 0));
        assert_eq!(after(&credited, &[lapse(4, lot, 0, 160)], &[(lot, 150, 0)]), (vec![(lot, 50)], 0), "an older end");
    }

    #[test]
    fn units_are_followed_into_the_lot_that_took_theirs() {
        let (lot, later) = (key(Source::Base, 10), key(Source::Base, 20));
        let credited = [available(lot, 100, 50)];
        let merge = |left: u64, units: i64, entered: u64| {
            due(7, DueKind::LotsMerged, &[available(lot, left, -units), available(later, entered, units)])
        };
        assert_eq!(after(&credited, &[merge(0, 200, 1_000)], &[(later, 1_200, 0)]), (vec![(later, 50)], 0));
        // 120 had left: 30 are the first of those that moved, behind 1,000 others.
        let lots = [(later, 1_080, 1_010)];
        assert_eq!(after(&credited, &[merge(120, 80, 1_000)], &lots), (vec![(later, 20)], 0));
        let ends = [merge(90, 110, 1_000), lapse(8, later, 1_030, 90)];
        assert_eq!(after(&credited, &ends, &[]), (vec![], 30), "of 1,010 to 1,060 the front twenty were spent");
    }

    #[test]
    fn pending_units_are_where_their_maturing_put_them() {
        let (lot, bonus) = (key(Source::Base, 10), key(Source::Campaign, 10));
        let pending = |key: LotKey, amount| {
            let account = Account::Pending { earn_link: 0, lot: key.lot };
            Leg { account, asset: key.asset, amount }
        };
        let debt = Leg { account: Account::Debt, asset: AssetNo::POINTS, amount: 30 };
        let legs = [pending(lot, -100), pending(bonus, -40), debt, available(lot, 7, 70), available(bonus, 0, 40)];
        let matured = |earn_link| due(9, DueKind::Matured { earn_link, matured_us: 1 }, &legs);
        let credited = [pending(lot, 100), pending(bonus, 40)];
        let lots = [(lot, 77, 0), (bonus, 40, 10)];
        assert_eq!(after(&credited, &[matured(4)], &lots), (vec![(lot, 70), (bonus, 30)], 0), "thirty settled debt");
        assert_eq!(after(&credited, &[matured(5)], &lots), (vec![], 0), "that was another earn");
        let ends = [matured(4), lapse(11, lot, 0, 77)];
        assert_eq!(after(&credited, &ends, &lots[1..]), (vec![(bonus, 30)], 70));
    }

    #[test]
    fn units_that_lapsed_as_they_were_booked_or_became_available_are_own() {
        assert_eq!(after(&[breakage(80)], &[], &[]), (vec![], 80));
        let late = due(9, DueKind::Matured { earn_link: 4, matured_us: 1 }, &[breakage(60)]);
        assert_eq!(after(&[], &[late], &[]), (vec![], 60));
    }

    #[test]
    fn of_a_capture_the_units_behind_those_spent_lapsed() {
        let lot = key(Source::Base, 10);
        let held = |position: u64, units: i64| {
            let account = Account::Held { lot: lot.lot, position: Some(position) };
            Leg { account, asset: lot.asset, amount: -units }
        };
        let legs = [held(90, 30), held(120, 40)];
        let (spent, lapsed) = split(leaving(&legs), 30);
        assert_eq!(
            (spent.to_vec(), lapsed.to_vec()),
            (vec![Place { key: lot, position: 90, units: 30 }], vec![Place { key: lot, position: 120, units: 40 }],)
        );
        let (spent, lapsed) = split(leaving(&legs), 50);
        assert_eq!((spent.len(), lapsed.to_vec()), (2, vec![Place { key: lot, position: 140, units: 20 }]));
    }
}
