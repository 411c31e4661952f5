//! Members by id and by number: who they are, written once, apart from what they own, which changes all the time.

use super::event::{Balances, Source};
use super::ids::{MemberNo, Op, ProgramNo};
use super::index::Index;
use super::paged::Paged;

/// The lots that a member may have: one a source, as none expires yet.
pub(crate) const LOTS: usize = 3;

/// Who a member is.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) program: ProgramNo,
    pub(crate) hash: u128,
    pub(crate) id: Box<str>,
}

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

pub(crate) const SOURCES: [Source; LOTS] = [Source::Base, Source::Campaign, Source::Granted];

impl Holding {
    pub(crate) fn lot(&self, source: Source) -> Lot {
        let [base, campaign, granted] = self.lots;
        match source {
            Source::Base => base,
            Source::Campaign => campaign,
            Source::Granted => granted,
        }
    }

    pub(crate) fn lot_mut(&mut self, source: Source) -> &mut Lot {
        let [base, campaign, granted] = &mut self.lots;
        match source {
            Source::Base => base,
            Source::Campaign => campaign,
            Source::Granted => granted,
        }
    }

    /// Units in all lots together; equal to the available balance at every op.
    pub(crate) fn lot_units(&self) -> Option<u64> {
        self.lots.iter().try_fold(0_u64, |sum, lot| sum.checked_add(lot.units()))
    }
}

#[derive(Debug)]
pub(crate) struct Members {
    numbers: Index<MemberNo>,
    identities: Paged<Identity>,
    holdings: Paged<Holding>,
}

fn slot(number: MemberNo) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX)
}

impl Members {
    pub(crate) fn new() -> Self {
        Self { numbers: Index::new(), identities: Paged::new(), holdings: Paged::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.identities.len()
    }

    /// The number that the next member gets; `None` where numbers are used up.
    pub(crate) fn next(&self) -> Option<MemberNo> {
        u32::try_from(self.len()).ok().map(MemberNo)
    }

    pub(crate) fn find(&self, hash: u128) -> Option<MemberNo> {
        self.numbers.get(hash)
    }

    /// Opens a member; `None` where the hash has one already.
    pub(crate) fn open(&mut self, program: ProgramNo, hash: u128, id: &str) -> Option<MemberNo> {
        let number = self.next()?;
        if !self.numbers.insert(hash, number) {
            return None;
        }
        self.identities.push(Identity { program, hash, id: id.into() });
        self.holdings.push(Holding::default());
        Some(number)
    }

    /// Takes the newest member away again: for an atomic batch that is undone.
    pub(crate) fn close_newest(&mut self) {
        if let (Some(identity), Some(_)) = (self.identities.pop(), self.holdings.pop()) {
            self.numbers.remove(identity.hash);
        }
    }

    pub(crate) fn identity(&self, number: MemberNo) -> Option<&Identity> {
        self.identities.get(slot(number))
    }

    pub(crate) fn holding(&self, number: MemberNo) -> Option<&Holding> {
        self.holdings.get(slot(number))
    }

    pub(crate) fn holding_mut(&mut self, number: MemberNo) -> Option<&mut Holding> {
        self.holdings.get_mut(slot(number))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Identity, &Holding)> {
        self.identities.iter().zip(self.holdings.iter())
    }
}
