//! What a member owns: as the rules see it, and packed as it lies in a page.

use std::hint::black_box;

use super::event::{Balances, Source};
use super::ids::{Op, ProgramNo};

/// The lots that a member may have: one a source, as none expires yet.
pub(crate) const LOTS: usize = 4;
/// The greatest op that a slot can hold.
pub(crate) const OP_MAX: Op = Op((1 << 48) - 1);

/// One lot: what has entered and what has left, so that each event's units are an interval of positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lot {
    pub(crate) entered: u64,
    pub(crate) left: u64,
    /// The op that put units into it when it was last empty.
    pub(crate) opened: Op,
}

impl Lot {
    pub(crate) fn units(self) -> u64 {
        self.entered.saturating_sub(self.left)
    }
}

/// What a member owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) balances: Balances,
    /// The member's newest event.
    pub(crate) head: Op,
    pub(crate) lots: [Lot; LOTS],
}

pub(crate) const SOURCES: [Source; LOTS] = [Source::Base, Source::Campaign, Source::Granted, Source::Opening];

impl Holding {
    pub(crate) fn lot(&self, source: Source) -> Lot {
        let [base, campaign, granted, opening] = self.lots;
        match source {
            Source::Base => base,
            Source::Campaign => campaign,
            Source::Granted => granted,
            Source::Opening => opening,
        }
    }

    pub(crate) fn lot_mut(&mut self, source: Source) -> &mut Lot {
        let [base, campaign, granted, opening] = &mut self.lots;
        match source {
            Source::Base => base,
            Source::Campaign => campaign,
            Source::Granted => granted,
            Source::Opening => opening,
        }
    }
}

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

/// A member's place in a page. What is available is not kept: it is what the lots hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    debt: i64,
    /// What entered and what left each lot.
    lots: [(u64, u64); LOTS],
    opened: [ShortOp; LOTS],
    head: ShortOp,
    program: ProgramNo,
}

const _: () = assert!(size_of::<Slot>() == 104, "ten million members are a GiB of slots");

impl Slot {
    pub(crate) fn new(program: ProgramNo) -> Self {
        let (opened, head) = Default::default();
        Self { debt: 0, lots: [(0, 0); LOTS], opened, head, program }
    }

    pub(crate) fn program(&self) -> ProgramNo {
        self.program
    }

    pub(crate) fn holding(&self) -> Holding {
        let mut lots = [Lot::default(); LOTS];
        let mut units = 0_u64;
        for ((lot, (entered, left)), opened) in lots.iter_mut().zip(self.lots).zip(self.opened) {
            *lot = Lot { entered, left, opened: opened.op() };
            units = units.saturating_add(lot.units());
        }
        // Who wrote the slot saw that what its lots hold fits.
        let available = i64::try_from(units).unwrap_or(i64::MAX);
        Holding { balances: Balances { available, debt: self.debt }, head: self.head.op(), lots }
    }

    pub(crate) fn set(&mut self, holding: &Holding) {
        self.debt = holding.balances.debt;
        self.head = ShortOp::of(holding.head);
        for ((place, opened), lot) in self.lots.iter_mut().zip(&mut self.opened).zip(holding.lots) {
            (*place, *opened) = ((lot.entered, lot.left), ShortOp::of(lot.opened));
        }
    }

    /// Loads both ends of it.
    pub(crate) fn touch(&self) {
        black_box((self.debt, self.head));
    }
}
