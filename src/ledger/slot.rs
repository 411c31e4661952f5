//! How what a member owns lies in a page: small and in place for most members, in memory of its own for those with more
//! than a few lots.

use arrayvec::ArrayVec;
use smallvec::{Array, SmallVec};

use super::command::Standing;
use super::event::{Expiry, LotId, Source};
use super::holding::{Hold, Holding, Lot, LotKey, Pending, instant_of};
use super::ids::{AssetNo, Op, ProgramNo, TagNo};
use super::near;
use super::profile::Profile;

/// The greatest op that a slot can hold.
pub(crate) const OP_MAX: Op = Op((1 << 48) - 1);
/// Lots that a slot holds in place.
pub(super) const LOTS_IN_PLACE: usize = 2;

/// An op in six bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ShortOp([u8; 6]);

impl ShortOp {
    fn of(op: Op) -> Self {
        let [a, b, c, d, e, f, ..] = op.0.to_le_bytes();
        Self([a, b, c, d, e, f])
    }

    fn op(self) -> Op {
        let [a, b, c, d, e, f] = self.0;
        Op(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }
}

/// A lot in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackedLot {
    entered: u64,
    left: u64,
    expiry: Expiry,
    opened: ShortOp,
    asset: AssetNo,
    source: Source,
}

const _: () = assert!(size_of::<PackedLot>() == 32, "a lot is half a cache line");

impl PackedLot {
    const NONE: Self = Self {
        entered: 0,
        left: 0,
        expiry: Expiry::Never,
        opened: ShortOp([0; 6]),
        asset: AssetNo::POINTS,
        source: Source::Base,
    };

    fn of(lot: &Lot) -> Self {
        let LotKey { asset, lot: LotId { source, expiry } } = lot.key;
        Self { entered: lot.entered, left: lot.left, expiry, opened: ShortOp::of(lot.opened), asset, source }
    }

    fn lot(&self) -> Lot {
        let key = LotKey { asset: self.asset, lot: LotId { source: self.source, expiry: self.expiry } };
        Lot { key, entered: self.entered, left: self.left, opened: self.opened.op() }
    }
}

/// Bytes of a list that lie apart from it, since it is longer than its place.
fn spilled<A: Array>(list: &SmallVec<A>) -> usize {
    if list.spilled() { list.capacity() * size_of::<A::Item>() } else { 0 }
}

/// What a slot has no place for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rich {
    /// Nothing of it lies in the slot but program, head, ends and floor.
    holding: Holding,
    lots: Vec<PackedLot>,
}

/// A member's place in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Slot {
    debt: i64,
    floor: u64,
    lots: [PackedLot; LOTS_IN_PLACE],
    rich: Option<Box<Rich>>,
    head: ShortOp,
    ends: ShortOp,
    program: ProgramNo,
    count: u8,
}

const _: () = assert!(size_of::<Slot>() == 104, "ten million members are a GiB of slots");

impl Slot {
    pub(crate) fn new(program: ProgramNo) -> Self {
        let (head, ends) = Default::default();
        Self { debt: 0, floor: 0, lots: [PackedLot::NONE; LOTS_IN_PLACE], rich: None, head, ends, program, count: 0 }
    }

    pub(crate) fn program(&self) -> ProgramNo {
        self.program
    }

    pub(crate) fn holding(&self) -> Holding {
        let mut holding = match &self.rich {
            Some(rich) => {
                let mut holding = rich.holding.clone();
                holding.lots = rich.lots.iter().map(PackedLot::lot).collect();
                holding
            }
            None => {
                let lots = SmallVec::from_buf_and_len(self.lots.map(|lot| lot.lot()), usize::from(self.count));
                Holding { lots, ..Holding::default() }
            }
        };
        if self.debt != 0 {
            holding.debts = SmallVec::from_elem((AssetNo::POINTS, self.debt), 1);
        }
        (holding.head, holding.ends, holding.floor) = (self.head.op(), self.ends.op(), self.floor);
        holding
    }

    pub(crate) fn set(&mut self, holding: &Holding) {
        (self.head, self.ends, self.floor) = (ShortOp::of(holding.head), ShortOp::of(holding.ends), holding.floor);
        let points_alone = match holding.debts.as_slice() {
            [] => Some(0),
            [(AssetNo::POINTS, debt)] => Some(*debt),
            _ => None,
        };
        let plain = holding.lots.len() <= LOTS_IN_PLACE
            && holding.standing == Standing::Open
            && holding.rolls.is_empty()
            && holding.pending.is_empty()
            && holding.holds.is_empty()
            && holding.profile.is_none();
        match points_alone.filter(|_| plain) {
            Some(debt) => {
                self.debt = debt;
                self.rich = None;
                for (place, lot) in self.lots.iter_mut().zip(&holding.lots) {
                    *place = PackedLot::of(lot);
                }
                self.count = u8::try_from(holding.lots.len()).unwrap_or(0);
            }
            None => self.set_rich(holding),
        }
    }

    /// The newest event and the lots of a member who has nothing else.
    pub(crate) fn plain(&self) -> Option<(Op, ArrayVec<Lot, LOTS_IN_PLACE>)> {
        if self.rich.is_some() || self.debt != 0 {
            return None;
        }
        Some((self.head.op(), self.lots.iter().take(usize::from(self.count)).map(PackedLot::lot).collect()))
    }

    /// Sets the newest event and the lots of such a member.
    pub(crate) fn set_plain(&mut self, head: Op, lots: &ArrayVec<Lot, LOTS_IN_PLACE>) {
        self.head = ShortOp::of(head);
        for (place, lot) in self.lots.iter_mut().zip(lots) {
            *place = PackedLot::of(lot);
        }
        self.count = u8::try_from(lots.len()).unwrap_or(0);
    }

    fn set_rich(&mut self, holding: &Holding) {
        self.debt = 0;
        self.count = 0;
        let rich = self.rich.get_or_insert_with(|| Box::new(Rich { holding: Holding::default(), lots: Vec::new() }));
        let Holding { head: _, ends: _, floor: _, standing, debts, lots, rolls, pending, holds, profile } = holding;
        rich.holding.standing = *standing;
        rich.holding.debts.clone_from(debts);
        rich.holding.rolls.clone_from(rolls);
        rich.holding.pending.clone_from(pending);
        rich.holding.holds.clone_from(holds);
        rich.holding.profile.clone_from(profile);
        rich.lots.clear();
        rich.lots.reserve_exact(lots.len());
        rich.lots.extend(lots.iter().map(PackedLot::of));
    }

    /// Whether nothing can be due at an instant, told by the few lots in place.
    pub(crate) fn is_quiet(&self, now_us: i64) -> bool {
        let lapsed = |lot: &PackedLot| match lot.expiry {
            Expiry::At(minute) => instant_of(minute) <= now_us,
            Expiry::Never | Expiry::Rolling => false,
        };
        self.rich.is_none() && !self.lots.iter().take(usize::from(self.count)).any(lapsed)
    }

    /// The first instant at which something of the member falls due; see [`Holding::next_due_us`].
    pub(crate) fn next_due_us(&self) -> i64 {
        match &self.rich {
            Some(_) => self.holding().next_due_us(),
            None => {
                let lots = self.lots.iter().take(usize::from(self.count)).filter(|lot| lot.entered > lot.left);
                let instants = lots.filter_map(|lot| match lot.expiry {
                    Expiry::At(minute) => Some(instant_of(minute)),
                    Expiry::Never | Expiry::Rolling => None,
                });
                instants.min().unwrap_or(i64::MAX)
            }
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.rich.as_ref().map_or(Standing::Open, |rich| rich.holding.standing)
    }

    pub(crate) fn lots_len(&self) -> usize {
        self.rich.as_ref().map_or(usize::from(self.count), |rich| rich.lots.len())
    }

    /// Asks for all of it: two or three cache lines.
    pub(crate) fn touch(&self) {
        near::ask(&self.debt);
        self.lots.iter().for_each(near::ask);
        near::ask(&self.count);
    }

    /// Bytes beside the slot's own.
    pub(crate) fn bytes_beside(&self) -> usize {
        self.rich.as_ref().map_or(0, |rich| {
            let Holding { debts, rolls, pending, holds, profile, .. } = &rich.holding;
            let tags = |profile: &Profile| size_of::<Profile>() + profile.tags.capacity() * size_of::<TagNo>();
            size_of::<Rich>()
                + rich.lots.capacity() * size_of::<PackedLot>()
                + spilled(debts)
                + rolls.capacity() * size_of::<(AssetNo, u32)>()
                + pending.capacity() * size_of::<Pending>()
                + pending.iter().map(|pending| spilled(&pending.parts)).sum::<usize>()
                + holds.capacity() * size_of::<Hold>()
                + holds.iter().map(|hold| spilled(&hold.parts)).sum::<usize>()
                + profile.as_deref().map_or(0, tags)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{Matures, Purpose};
    use super::*;

    fn beside(holding: &Holding) -> usize {
        let mut slot = Slot::new(ProgramNo(0));
        slot.set(holding);
        slot.bytes_beside()
    }

    #[test]
    fn parts_of_holds_and_of_pending_earns_that_lie_apart_count() {
        let lot = |minute| LotId { source: Source::Base, expiry: Expiry::At(minute) };
        let (asset, purpose) = (AssetNo::POINTS, Purpose::Gift);
        let held = |parts: u32| {
            let parts = (0..parts).map(|minute| (lot(minute), 1)).collect();
            Holding {
                holds: vec![Hold { op: Op(1), asset, purpose, until_us: 1, reward: None, parts }],
                ..Holding::default()
            }
        };
        let waiting = |parts: u32| {
            let parts = (0..parts).map(|minute| (LotKey { asset, lot: lot(minute) }, 1)).collect();
            let pending = Pending { earn: Op(1), matures: Matures::Activated, parts };
            Holding { pending: vec![pending], ..Holding::default() }
        };
        assert_eq!(beside(&held(2)), beside(&held(1)), "in place");
        assert!(beside(&held(30)) >= beside(&held(2)) + 30 * size_of::<(LotId, u64)>());
        assert_eq!(beside(&waiting(2)), beside(&waiting(1)), "in place");
        assert!(beside(&waiting(4)) >= beside(&waiting(2)) + 4 * size_of::<(LotKey, u64)>());
        assert_eq!(beside(&Holding::default()), 0);
    }
}
