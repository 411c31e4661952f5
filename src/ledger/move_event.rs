//! What moved between two members, what a member is, and several commands as one, for ever; part of [`super::event`],
//! whose rules hold here too.

use bincode::{BorrowDecode, Decode, Encode};

use super::event::{AssetBalances, Common, Legs, Text};
use super::ids::{AssetNo, MemberRef, ProgramNo, RewardNo, TagNo};
use super::list::List;

/// The other member of an event that moves units between two.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Other<'a> {
    /// The member's program: the command's own, but for a conversion.
    pub program: ProgramNo,
    /// The member.
    pub member: MemberRef<'a>,
    /// The distance in ops back to that member's previous event, 0 for none.
    pub member_link: u64,
    /// That member's balances after the event in the assets that it touches, in order of their numbers.
    pub after: Vec<AssetBalances>,
    /// Until when that member's rolling units live now, by asset, in minutes since the Unix epoch, where the event changes it.
    pub rolls: Vec<(AssetNo, u32)>,
    /// The legs on that member's accounts, and in a conversion on his program's. Together with the event's own they sum to
    /// zero per asset; in a conversion each side does by itself.
    pub legs: Legs,
}

/// Units given to another member of the program, with their dates.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Transferred<'a> {
    /// The common part, of the giver.
    pub common: Common<'a>,
    /// The asset.
    pub asset: AssetNo,
    /// Units.
    pub units: u64,
    /// The receiver.
    pub other: Box<Other<'a>>,
    /// The giver's legs.
    pub legs: Legs,
}

/// Units turned into those of another program.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Converted<'a> {
    /// The common part, of the member who gives.
    pub common: Common<'a>,
    /// The asset given.
    pub asset: AssetNo,
    /// Units that were asked for.
    pub asked: u64,
    /// Units given: those that make whole units on the other side.
    pub units: u64,
    /// The asset received, in the other program.
    pub to_asset: AssetNo,
    /// Units received.
    pub to_units: u64,
    /// Units received that had lapsed before they were booked, and went to that program's `breakage`.
    pub lapsed: u64,
    /// Until when the giver's rolling units live now, in minutes since the Unix epoch.
    pub rolls: Option<u32>,
    /// The member who receives.
    pub other: Box<Other<'a>>,
    /// The giver's legs, and those of his program.
    pub legs: Legs,
}

/// A member who went into another, for good: his id leads there from now on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct MembersMerged<'a> {
    /// The common part, of the member who goes.
    pub common: Common<'a>,
    /// The distance in ops back to the latest event before this one that moved lots or pending units of the member who goes as
    /// they are, 0 for none; see `Due::ends_link`.
    pub ends_link: u64,
    /// The same of the member who stays.
    pub into_ends_link: u64,
    /// Who did it.
    pub actor: Text<'a>,
    /// Why.
    pub reason: Text<'a>,
    /// The member who stays.
    pub other: Box<Other<'a>>,
    /// The legs of the member who goes.
    pub legs: Legs,
}

/// A tag put on a member: its number in the program, and its name where the event is the first to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct TagPut<'a> {
    /// The number.
    pub tag: TagNo,
    /// The name, of a tag that no member had before.
    pub name: Option<&'a str>,
}

/// What a member is, as callers told it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct MemberSet<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// The local date on which the member joined, in days since the Unix epoch, where it was told.
    pub joined_day: Option<i32>,
    /// Tags that the member has from now on and had not.
    pub added: Vec<TagPut<'a>>,
    /// Tags that the member had and has no more.
    pub removed: Vec<TagNo>,
}

/// Commands that one checkout may hold.
pub const CHECKOUT_PARTS_MAX: usize = 8;

/// Several commands of one member as one, all or none. Each part is an event of its own before this one, in the same frame
/// and without a key of its own, so that a refund or reversal names it by its op.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct CheckedOut<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// The distances in ops back to the parts, in their order.
    pub parts: List<u64, CHECKOUT_PARTS_MAX>,
    /// Which of the parts is the earn that a refund of the checkout takes back, if there is one.
    pub earn: Option<u8>,
}

/// Pieces of a reward that went with points, or are pinned with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Claimed {
    /// Which reward.
    pub reward: RewardNo,
    /// Pieces, from 1.
    pub pieces: u64,
    /// Units of the asset for one piece.
    pub price: u64,
}
