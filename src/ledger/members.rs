//! Members by id and by number: who they are, written once, apart from what they own, which changes all the time.

use hashbrown::HashTable;

use super::event::{Balances, Source};
use super::ids::{MemberNo, Op, ProgramNo};
use super::paged::Paged;

const SHARDS: usize = 256;
/// The lots that a member may have: one a source, as none expires yet.
pub(crate) const LOTS: usize = 3;

/// Who a member is.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) program: ProgramNo,
    pub(crate) hash: u64,
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
    shards: Vec<HashTable<u32>>,
    identities: Paged<Identity>,
    holdings: Paged<Holding>,
}

fn slot(number: MemberNo) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX)
}

fn place(hash: u64) -> usize {
    usize::try_from((hash >> 32) % 256).unwrap_or(0)
}

impl Members {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            identities: Paged::new(),
            holdings: Paged::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.identities.len()
    }

    /// The number that the next member gets; `None` where numbers are used up.
    pub(crate) fn next(&self) -> Option<MemberNo> {
        u32::try_from(self.len()).ok().map(MemberNo)
    }

    pub(crate) fn find(&self, program: ProgramNo, hash: u64, id: &str) -> Option<MemberNo> {
        let identities = &self.identities;
        let same = |number: &u32| {
            identities
                .get(slot(MemberNo(*number)))
                .is_some_and(|known| known.hash == hash && known.program == program && &*known.id == id)
        };
        self.shards.get(place(hash))?.find(hash, same).map(|number| MemberNo(*number))
    }

    pub(crate) fn open(&mut self, program: ProgramNo, hash: u64, id: &str) -> Option<MemberNo> {
        let number = self.next()?;
        self.identities.push(Identity { program, hash, id: id.into() });
        self.holdings.push(Holding::default());
        let identities = &self.identities;
        let shard = self.shards.get_mut(place(hash))?;
        shard.insert_unique(hash, number.0, |known| {
            identities.get(slot(MemberNo(*known))).map_or(0, |identity| identity.hash)
        });
        Some(number)
    }

    /// Takes the newest member away again: for an atomic batch that is undone.
    pub(crate) fn close_newest(&mut self) {
        let (Some(identity), Some(_)) = (self.identities.pop(), self.holdings.pop()) else {
            return;
        };
        let gone = u32::try_from(self.identities.len()).unwrap_or(u32::MAX);
        if let Some(shard) = self.shards.get_mut(place(identity.hash))
            && let Ok(entry) = shard.find_entry(identity.hash, |number| *number == gone)
        {
            entry.remove();
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
