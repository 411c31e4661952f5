//! Numbers that must not be swapped for one another.

use bincode::{BorrowDecode, Decode, Encode};

/// The dense number of an event, from 1; the order of everything. 0 stands for "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub u64);

impl Op {
    /// The op after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How far `earlier` lies behind this op, the form in which links are written; 0 when there is none.
    #[must_use]
    pub fn distance_from(self, earlier: Self) -> u64 {
        if earlier.0 == 0 { 0 } else { self.0.saturating_sub(earlier.0) }
    }

    /// The op that lies `distance` behind this one; `None` for the distance 0, which says "there is none".
    #[must_use]
    pub fn back(self, distance: u64) -> Option<Self> {
        match distance {
            0 => None,
            _ => self.0.checked_sub(distance).filter(|op| *op > 0).map(Self),
        }
    }
}

/// A program's number in the book, dense from 0 in the order the programs were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ProgramNo(pub u16);

/// A member's number in the book, dense from 0 in the order the members were created, over all programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct MemberNo(pub u32);

/// A campaign's number within its program, dense from 0 in the order in which versions first named them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct CampaignNo(pub u16);

/// An asset's number within its program: the order in which versions first named it. 0 is always `points`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AssetNo(pub u8);

impl AssetNo {
    /// The asset that every program has.
    pub const POINTS: Self = Self(0);
    /// The pieces of rewards, which lie in no program's list of assets.
    pub const PIECES: Self = Self(u8::MAX);
}

/// A reward's number within its program, dense from 0 in the order in which operators first named them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct RewardNo(pub u16);

/// The number of a tag of members within its program, dense from 0 in the order in which callers first used them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct TagNo(pub u16);

/// The number of a version of a program's rules, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct VersionNo(pub u32);

/// How a member stands in an event: by number where known, with the id where the event is the first to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub enum MemberRef<'a> {
    /// A member that an earlier event created.
    Known(MemberNo),
    /// A member whom this event creates, with the id that callers use (1 to 64 bytes).
    Opened(MemberNo, &'a str),
    /// An id that names no member: only a refused command has one.
    Unknown(&'a str),
}

impl MemberRef<'_> {
    /// The member's number, if the event concerns one that exists or that it creates.
    #[must_use]
    pub fn number(&self) -> Option<MemberNo> {
        match self {
            Self::Known(number) | Self::Opened(number, _) => Some(*number),
            Self::Unknown(_) => None,
        }
    }
}
