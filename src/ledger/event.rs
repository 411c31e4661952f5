//! What happened, for ever. These structs are the bytes of the book: once released they are frozen, and a change of
//! meaning takes a new version number in [`super::codec`].

use bincode::{BorrowDecode, Decode, Encode};

pub use super::admin_event::{
    AdminCommon, AdminKind, AdminRejected, CampaignChange, CampaignChanged, ClockConfirmed, PeriodClosed, ProgramPut,
    RewardPut, SnapshotDeleted, SnapshotTaken,
};
pub use super::command::{Basis, Matures, Purpose, Standing};
use super::ids::{AssetNo, CampaignNo, MemberNo, MemberRef, Op, ProgramNo, RewardNo, VersionNo};
use super::later::Later;
use super::list::{List, LongList};
pub use super::move_event::{
    CHECKOUT_PARTS_MAX, CheckedOut, Claimed, Converted, MemberSet, MembersMerged, Other, TagPut, Transferred,
};
use super::reason::Reason;
use super::spec::CapPer;

/// Where the units of a lot came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Source {
    /// The base award, or points that the caller named.
    Base,
    /// A campaign's bonus.
    Campaign,
    /// An operator's adjustment.
    Granted,
    /// A balance brought over from another system.
    Opening,
    /// What a top-up gave beside what was paid.
    Bonus,
    /// Units that another member gave.
    Transferred,
}

impl Source {
    /// The number under which the book writes it.
    #[must_use]
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Base => 0,
            Self::Campaign => 1,
            Self::Granted => 2,
            Self::Opening => 3,
            Self::Bonus => 4,
            Self::Transferred => 5,
        }
    }
}

/// When units of a lot lapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Expiry {
    /// They do not.
    Never,
    /// At that instant, in minutes since the Unix epoch: from then on they have lapsed.
    At(u32),
    /// So long after the member's last activity: at the instant that stands with the member's asset.
    Rolling,
}

/// A lot of one member and asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LotId {
    /// Where its units came from.
    pub source: Source,
    /// When they lapse.
    pub expiry: Expiry,
}

/// An account in a leg. `link` is the distance in ops back to the account's previous event, 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Account {
    /// The member's available units in one lot. `position` counts the units that had entered the lot before a credit, or
    /// had left it before a debit: the leg moves the interval of that many units that begins there.
    Available {
        /// The lot.
        lot: LotId,
        /// Where the interval begins.
        position: u64,
    },
    /// What the member owes: a debit makes the debt greater.
    Debt,
    /// All that was ever authorised, negative.
    Issuance {
        /// Back to the previous event of this account.
        link: u64,
    },
    /// A campaign's authorised budget.
    Campaign {
        /// Which campaign.
        campaign: CampaignNo,
        /// Back to the previous event of this account.
        link: u64,
    },
    /// Points spent.
    Redemption {
        /// What for.
        purpose: Purpose,
        /// Back to the previous event of this account.
        link: u64,
    },
    /// Operators' acts.
    Adjustment {
        /// Back to the previous event of this account.
        link: u64,
    },
    /// Balances brought over from another system.
    Opening {
        /// Back to the previous event of this account.
        link: u64,
    },
    /// The member's available units in one lot, where they are pinned or let go without leaving it.
    Free {
        /// The lot.
        lot: LotId,
    },
    /// The member's units in one lot that a hold pins.
    Held {
        /// The lot.
        lot: LotId,
        /// Where the interval begins that leaves the lot; `None` where units are pinned or let go.
        position: Option<u64>,
    },
    /// The member's pending units of one earn.
    Pending {
        /// The distance in ops back to the earn, 0 for this event itself.
        earn_link: u64,
        /// The lot that they will enter.
        lot: LotId,
    },
    /// What lapsed.
    Breakage {
        /// Back to the previous event of this account.
        link: u64,
    },
    /// Money of stored value.
    Cash {
        /// Back to the previous event of this account.
        link: u64,
    },
    /// What went to another program, or came from it: what the two settle between them.
    Conversion {
        /// The other program.
        program: ProgramNo,
        /// Back to the previous event of this account.
        link: u64,
    },
    /// Pieces of a reward that are left.
    Stock {
        /// Which reward.
        reward: RewardNo,
        /// Back to the previous event of this account.
        link: u64,
    },
    /// Pieces of a reward that holds reserve.
    Reserved {
        /// Which reward.
        reward: RewardNo,
        /// Back to the previous event of this account.
        link: u64,
    },
}

/// One posting: a signed amount on one account, credit positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Leg {
    /// The account.
    pub account: Account,
    /// What is counted.
    pub asset: AssetNo,
    /// Units, credit positive, never 0.
    pub amount: i64,
}

/// What an event moves of one member and of his program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side<'e> {
    /// The program.
    pub program: ProgramNo,
    /// The member; `None` where there is none.
    pub member: Option<MemberNo>,
    /// Whether the event creates the member.
    pub opened: bool,
    /// The legs on the member's accounts, and on his program's.
    pub legs: &'e [Leg],
}

/// Groups of campaigns that may win in one award.
pub const WINNERS_MAX: usize = 4;
/// Lots that a member may have of an asset, those apart that one event adds before neighbours are merged.
pub const LOTS_MAX: usize = 32;
/// The legs of an event at most.
pub const LEGS_MAX: usize = 100;
/// The legs that an event holds without memory of its own.
pub const LEGS_INLINE: usize = 6;

/// The legs of an event; they sum to zero per asset.
pub type Legs = LongList<Leg, LEGS_INLINE, LEGS_MAX>;

/// A member's points after an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Balances {
    /// Points that may be spent.
    pub available: i64,
    /// Points owed by the member.
    pub debt: i64,
}

/// What a member has of an asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct AssetBalances {
    /// The asset.
    pub asset: AssetNo,
    /// Units that may be spent.
    pub available: i64,
    /// Units that holds pin.
    pub held: i64,
    /// Units that are not available yet.
    pub pending: i64,
    /// Units owed by the member.
    pub debt: i64,
}

/// Free text under a scheme, so that a later scheme may erase it by destroying a key. 0 is clear text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Text<'a> {
    /// The scheme; 0 is clear UTF-8.
    pub scheme: u8,
    /// The text.
    pub text: &'a str,
}

/// The caller's notes as they stand in the book.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct NotesRef<'a> {
    /// The order or other document.
    pub reference: Text<'a>,
    /// The channel.
    pub channel: Text<'a>,
    /// The partner.
    pub partner: Text<'a>,
    /// The place.
    pub location: Text<'a>,
    /// Pairs of name and value.
    pub metadata: Vec<(Text<'a>, Text<'a>)>,
}

/// What every event of a member's command begins with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Common<'a> {
    /// The program.
    pub program: ProgramNo,
    /// The idempotency key.
    pub key: &'a str,
    /// The hash of the body as sent.
    pub body_hash: [u8; 16],
    /// The member.
    pub member: MemberRef<'a>,
    /// The distance in ops back to the member's previous event, 0 for none.
    pub member_link: u64,
    /// Book time less business time, in microseconds; negative for an event dated ahead.
    pub behind_us: i64,
    /// The caller's notes, if any.
    pub notes: Option<NotesRef<'a>>,
    /// The member's points after the event; zeros for an id that names no member.
    pub after: Balances,
    /// The member's balances after the event in the assets that `after` does not tell in whole: those touched beside
    /// `points`, and `points` where some are held or pending.
    pub others: Later<Vec<AssetBalances>>,
}

/// A span that a member's cap counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct CapSpan {
    /// The kind of span.
    pub per: CapPer,
    /// Its first local day, in days since the Unix epoch; 0 for the whole campaign.
    pub first_day: i32,
}

/// What an award found of a member's cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CapUse {
    /// The span.
    pub span: CapSpan,
    /// The room that was left before the award, in units.
    pub room: u64,
}

/// A campaign's share in an award. What it awarded is the units of its leg, and none has no leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Share {
    /// Which campaign.
    pub campaign: CampaignNo,
    /// Units awarded.
    pub awarded: u64,
    /// Units that the multiplier asked for and that were not awarded.
    pub short: u64,
    /// Why not, if any were short.
    pub reason: Option<Reason>,
    /// Whether the campaign stops with this award, its budget being short.
    pub stopped: bool,
    /// The member's cap, if the campaign has one.
    pub cap: Option<CapUse>,
}

/// An earn that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Earned<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// What the award was reckoned from.
    pub basis: Basis,
    /// The event kind, if one was given.
    pub event_kind: Option<&'a str>,
    /// The version of the rules.
    pub version: VersionNo,
    /// The base award.
    pub base: u64,
    /// The campaigns that took part, in order of their ids.
    pub shares: List<Share, WINNERS_MAX>,
    /// The legs.
    pub legs: Legs,
    /// What the first earns did not know.
    pub more: Later<EarnMore>,
}

/// A campaign's part in a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TakenShare {
    /// Which campaign.
    pub campaign: CampaignNo,
    /// What the original awarded.
    pub of: u64,
    /// Units taken back by this refund.
    pub taken: u64,
    /// Units taken back by all refunds of the original so far, this one included.
    pub taken_total: u64,
    /// Whether the campaign was closed, so that its share went to `issuance`.
    pub closed: bool,
    /// The span of the cap that counted the original award, so that its room returns.
    pub cap: Option<CapSpan>,
}

/// What a refund with an original says of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TakenFrom {
    /// The distance in ops back to the original event.
    pub original_link: u64,
    /// The distance in ops back to the latest refund of the same original before this one, 0 for none.
    pub previous_link: u64,
    /// The original's amount, in the units of the refund's basis.
    pub amount: u64,
    /// How much of it is refunded so far, this refund included.
    pub amount_total: u64,
    /// The original's base award.
    pub base_of: u64,
    /// Base units taken back by all refunds of the original so far, this one included.
    pub base_total: u64,
    /// The campaigns' parts.
    pub shares: List<TakenShare, WINNERS_MAX>,
}

/// What an earn says beside the first award.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct EarnMore {
    /// The asset of the base award.
    pub asset: AssetNo,
    /// The second award, and how much it is.
    pub also: Option<(AssetNo, u64)>,
    /// Until when the award is pending; none: it is available.
    pub matures: Option<Matures>,
    /// Units that had lapsed before they were booked and went to `breakage`, by asset.
    pub lapsed: Vec<(AssetNo, u64)>,
    /// Until when the member's rolling units live now, by asset, in minutes since the Unix epoch.
    pub rolls: Vec<(AssetNo, u32)>,
}

/// What a refund says beside the first award. Amounts in order of the parts: base, second award, campaigns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RefundMore {
    /// The asset of the base award.
    pub asset: AssetNo,
    /// The second award: its asset, what it was, what this refund asks of it, what all asked so far.
    pub also: Option<AlsoTaken>,
    /// Units that came from what had lapsed of the original's own, by asset: in this refund, and in all so far.
    pub lapsed: Vec<(AssetNo, u64, u64)>,
    /// Units that count as taken and were not, by part, where that is not 0: the part (0 base, 1 second award, from 2 on
    /// the campaigns in their order) and the units.
    pub not_taken: Vec<(u8, u64)>,
}

/// The number of a refund's first campaign among its parts: base, second award, campaigns.
pub const FIRST_CAMPAIGN_PART: usize = 2;

impl Refunded<'_> {
    /// Units of a part that count as taken and were not.
    #[must_use]
    pub fn not_taken(&self, part: usize) -> u64 {
        let parts = self.more.as_deref().map(|more| more.not_taken.as_slice()).unwrap_or_default();
        parts.iter().find(|(number, _)| usize::from(*number) == part).map_or(0, |(_, units)| *units)
    }
}

/// A second award in a refund.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct AlsoTaken {
    /// Its asset.
    pub asset: AssetNo,
    /// What the original awarded.
    pub of: u64,
    /// What this refund asks of it.
    pub taken: u64,
    /// What all refunds of the original asked of it so far, this one included.
    pub taken_total: u64,
}

/// What a redemption, adjustment or opening says of assets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct AssetMore {
    /// The asset.
    pub asset: AssetNo,
    /// Units that were asked for; 0 where all of them moved.
    pub asked: u64,
    /// Minor units of money that the points stand for; 0 where they stand for none.
    pub minor: u64,
    /// Units that had lapsed before they were booked and went to `breakage`.
    pub lapsed: u64,
    /// Until when the member's rolling units live now, in minutes since the Unix epoch.
    pub rolls: Option<u32>,
    /// The pieces that were bought.
    pub claimed: Option<Claimed>,
}

/// A refund that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Refunded<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// How much was returned.
    pub basis: Basis,
    /// The event kind whose rate was used, for a refund without original.
    pub event_kind: Option<&'a str>,
    /// The version of the rules: the original's, or the one in force at the refund's business time.
    pub version: VersionNo,
    /// Base units taken back by this refund.
    pub base: u64,
    /// The original, if the refund names one.
    pub from: Option<TakenFrom>,
    /// The legs.
    pub legs: Legs,
    /// What the first refunds did not know.
    pub more: Later<RefundMore>,
}

/// A redemption that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Redeemed<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// Points spent.
    pub points: u64,
    /// What for.
    pub purpose: Purpose,
    /// The legs.
    pub legs: Legs,
    /// The asset, where it is not `points`, and what was set against a price.
    pub more: Later<AssetMore>,
}

/// An operator's adjustment that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Adjusted<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// Points, positive to credit the member.
    pub points: i64,
    /// Who did it.
    pub actor: Text<'a>,
    /// Why.
    pub reason: Text<'a>,
    /// The legs.
    pub legs: Legs,
    /// The asset, where it is not `points`.
    pub more: Later<AssetMore>,
}

/// An opening balance that was brought over.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Opened<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// Points, positive to credit the member, negative for a debt.
    pub points: i64,
    /// Who did it.
    pub actor: Text<'a>,
    /// Why.
    pub reason: Text<'a>,
    /// The legs.
    pub legs: Legs,
    /// The asset, where it is not `points`.
    pub more: Later<AssetMore>,
}

/// The kinds of a member's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum CommandKind {
    /// `earn`
    Earn,
    /// `refund`
    Refund,
    /// `redeem`
    Redeem,
    /// `adjust`
    Adjust,
    /// `opening`
    Opening,
    /// `reverse`
    Reverse,
    /// `hold`
    Hold,
    /// `capture`
    Capture,
    /// `release`
    Release,
    /// `activate`
    Activate,
    /// `top_up`
    TopUp,
    /// `grant`
    Grant,
    /// `standing`
    Standing,
    /// `transfer`
    Transfer,
    /// `convert`
    Convert,
    /// `merge`
    Merge,
    /// `member_set`
    MemberSet,
    /// `checkout`
    Checkout,
}

/// What the ledger does by itself when an instant comes, or a bound is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DueKind {
    /// What is available of a lot lapsed.
    Expired {
        /// When, in minutes since the Unix epoch.
        lapsed_min: u32,
    },
    /// A lot went into its neighbour of the same source that lapses later, since there were more than [`LOTS_MAX`].
    LotsMerged,
    /// A pending earn became available.
    Matured {
        /// The distance in ops back to the earn.
        earn_link: u64,
        /// When, microseconds since the Unix epoch.
        matured_us: i64,
    },
    /// A hold ended at its deadline.
    HoldEnded {
        /// The distance in ops back to the hold.
        hold_link: u64,
        /// When, microseconds since the Unix epoch.
        ended_us: i64,
    },
}

/// What fell due of one member. It takes no caller's key: its fingerprint is that of its op.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Due {
    /// The program.
    pub program: ProgramNo,
    /// The member.
    pub member: MemberNo,
    /// The distance in ops back to the member's previous event.
    pub member_link: u64,
    /// The distance in ops back to the previous event that moved lots or pending units of the member as they are, 0 for none.
    pub ends_link: u64,
    /// What happened.
    pub kind: DueKind,
    /// The member's balances after it in the assets that it touches.
    pub after: List<AssetBalances, DUE_ASSETS_MAX>,
    /// The legs.
    pub legs: Legs,
}

/// Assets that one earn awards at most, and so those that one due event touches.
pub const DUE_ASSETS_MAX: usize = 2;

/// A pending earn made available.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Activated<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// The distance in ops back to the earn.
    pub earn_link: u64,
    /// As in [`Due`].
    pub ends_link: u64,
    /// Units that had lapsed before they became available, by asset.
    pub lapsed: Vec<(AssetNo, u64)>,
    /// The legs.
    pub legs: Legs,
}

/// An event undone in parts or whole.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Reversed<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// The distance in ops back to the event that is undone.
    pub original_link: u64,
    /// The distance in ops back to the latest reversal of the same original before this one, 0 for none.
    pub previous_link: u64,
    /// The asset.
    pub asset: AssetNo,
    /// The original's units.
    pub of: u64,
    /// Units undone by this event.
    pub units: u64,
    /// Units undone by all reversals of the original so far, this one included.
    pub units_total: u64,
    /// Of spending undone: units that came back after their lot had lapsed and went on to `breakage`. Of a gift undone:
    /// units that came from what had lapsed of it.
    pub lapsed: u64,
    /// Of a gift undone: `lapsed` of all reversals of the original so far, this one included; else 0.
    pub lapsed_total: u64,
    /// Units that were to be taken from the member and that the asset's policy let go.
    pub not_taken: u64,
    /// The legs.
    pub legs: Legs,
}

/// Units pinned.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Held<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// The asset.
    pub asset: AssetNo,
    /// Units.
    pub units: u64,
    /// What they are to be spent on.
    pub purpose: Purpose,
    /// Until when, microseconds since the Unix epoch.
    pub until_us: i64,
    /// The pieces that are reserved with them.
    pub claimed: Option<Claimed>,
    /// The legs.
    pub legs: Legs,
}

/// Pinned units spent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Captured<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// The distance in ops back to the hold.
    pub hold_link: u64,
    /// The asset.
    pub asset: AssetNo,
    /// Units spent.
    pub units: u64,
    /// What on.
    pub purpose: Purpose,
    /// Units that were let go with it.
    pub released: u64,
    /// Whether the hold is over.
    pub over: bool,
    /// Units that were let go after their lot had lapsed, and went to `breakage`.
    pub lapsed: u64,
    /// As in [`Due`], where some lapsed; else 0.
    pub ends_link: u64,
    /// Until when the member's rolling units live now, in minutes since the Unix epoch.
    pub rolls: Option<u32>,
    /// The legs.
    pub legs: Legs,
}

/// Pinned units let go.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Released<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// The distance in ops back to the hold.
    pub hold_link: u64,
    /// The asset.
    pub asset: AssetNo,
    /// Units.
    pub units: u64,
    /// Units that were let go after their lot had lapsed, and went to `breakage`.
    pub lapsed: u64,
    /// As in [`Due`], where some lapsed; else 0.
    pub ends_link: u64,
    /// The legs.
    pub legs: Legs,
}

/// Stored value loaded, or an entitlement given.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Granted<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// The asset.
    pub asset: AssetNo,
    /// Whether it was paid for: a top-up, against `cash`.
    pub topped_up: bool,
    /// Units paid for, or given.
    pub units: u64,
    /// Units given on top of a top-up.
    pub bonus: u64,
    /// Units that had lapsed before they were booked and went to `breakage`.
    pub lapsed: u64,
    /// Until when the member's rolling units live now, in minutes since the Unix epoch.
    pub rolls: Option<u32>,
    /// The legs.
    pub legs: Legs,
}

/// What a member may do, changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct StandingChanged<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// What became of the member.
    pub change: Standing,
    /// Who did it.
    pub actor: Text<'a>,
    /// Why.
    pub reason: Text<'a>,
}

/// A command that a rule refused; remembered like any other outcome.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct Rejected<'a> {
    /// The common part.
    pub common: Common<'a>,
    /// What was asked.
    pub kind: CommandKind,
    /// Why it was refused.
    pub reason: Reason,
    /// The field at fault, empty where no single one is.
    pub field: &'a str,
}

/// An event of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "an event lives on the stack for the time of one command")]
pub enum Event<'a> {
    /// An earn.
    Earned(Earned<'a>),
    /// A refund.
    Refunded(Refunded<'a>),
    /// A redemption.
    Redeemed(Redeemed<'a>),
    /// An adjustment.
    Adjusted(Adjusted<'a>),
    /// A refused command of a member.
    Rejected(Rejected<'a>),
    /// A version of a program.
    ProgramPut(ProgramPut<'a>),
    /// A change of a campaign.
    CampaignChanged(CampaignChanged<'a>),
    /// A refused command of an operator.
    AdminRejected(AdminRejected<'a>),
    /// An opening balance.
    Opened(Opened<'a>),
    /// A snapshot taken.
    SnapshotTaken(SnapshotTaken<'a>),
    /// A snapshot deleted.
    SnapshotDeleted(SnapshotDeleted<'a>),
    /// What fell due of a member.
    Due(Due),
    /// A pending earn made available.
    Activated(Activated<'a>),
    /// An event undone.
    Reversed(Reversed<'a>),
    /// Units pinned.
    Held(Held<'a>),
    /// Pinned units spent.
    Captured(Captured<'a>),
    /// Pinned units let go.
    Released(Released<'a>),
    /// Stored value loaded, or an entitlement given.
    Granted(Granted<'a>),
    /// What a member may do, changed.
    StandingChanged(StandingChanged<'a>),
    /// A wall clock confirmed.
    ClockConfirmed(ClockConfirmed<'a>),
    /// Units given to another member.
    Transferred(Transferred<'a>),
    /// Units turned into those of another program.
    Converted(Converted<'a>),
    /// A member who went into another.
    MembersMerged(MembersMerged<'a>),
    /// What a member is.
    MemberSet(MemberSet<'a>),
    /// A reward put on offer, changed or stocked.
    RewardPut(RewardPut<'a>),
    /// Several commands as one.
    CheckedOut(CheckedOut<'a>),
    /// A period closed.
    PeriodClosed(PeriodClosed<'a>),
}

/// Calls for the common part, or the legs, of every kind of event that has them.
macro_rules! of_member {
    ($event:expr, $e:ident => $part:expr) => {
        match $event {
            Self::Earned($e) => Some($part),
            Self::Refunded($e) => Some($part),
            Self::Redeemed($e) => Some($part),
            Self::Adjusted($e) => Some($part),
            Self::Opened($e) => Some($part),
            Self::Activated($e) => Some($part),
            Self::Reversed($e) => Some($part),
            Self::Held($e) => Some($part),
            Self::Captured($e) => Some($part),
            Self::Released($e) => Some($part),
            Self::Granted($e) => Some($part),
            Self::Transferred($e) => Some($part),
            Self::Converted($e) => Some($part),
            Self::MembersMerged($e) => Some($part),
            Self::Due(_) | Self::Rejected(_) | Self::ProgramPut(_) | Self::CampaignChanged(_) => None,
            Self::AdminRejected(_) | Self::SnapshotTaken(_) | Self::SnapshotDeleted(_) => None,
            Self::StandingChanged(_) | Self::ClockConfirmed(_) | Self::RewardPut(_) => None,
            Self::MemberSet(_) | Self::CheckedOut(_) | Self::PeriodClosed(_) => None,
        }
    };
}

impl<'a> Event<'a> {
    /// The common part of the event of a member's command.
    #[must_use]
    pub fn common(&self) -> Option<&Common<'a>> {
        match self {
            Self::Rejected(e) => Some(&e.common),
            Self::StandingChanged(e) => Some(&e.common),
            Self::MemberSet(e) => Some(&e.common),
            Self::CheckedOut(e) => Some(&e.common),
            _ => of_member!(self, e => &e.common),
        }
    }

    /// The common part of an operator's event.
    #[must_use]
    pub fn admin_common(&self) -> Option<&AdminCommon<'a>> {
        match self {
            Self::ProgramPut(e) => Some(&e.common),
            Self::CampaignChanged(e) => Some(&e.common),
            Self::AdminRejected(e) => Some(&e.common),
            Self::SnapshotTaken(e) => Some(&e.common),
            Self::SnapshotDeleted(e) => Some(&e.common),
            Self::ClockConfirmed(e) => Some(&e.common),
            Self::RewardPut(e) => Some(&e.common),
            Self::PeriodClosed(e) => Some(&e.common),
            _ => None,
        }
    }

    /// The program's number, the key and the hash of the body; the key is empty where the ledger acted by itself.
    #[must_use]
    pub fn identity(&self) -> (ProgramNo, &'a str, [u8; 16]) {
        match (self, self.common(), self.admin_common()) {
            (_, Some(c), _) => (c.program, c.key, c.body_hash),
            (_, None, Some(c)) => (c.program, c.key, c.body_hash),
            (Self::Due(due), None, None) => (due.program, "", [0; 16]),
            (_, None, None) => (ProgramNo(0), "", [0; 16]),
        }
    }

    /// The other member of an event that moves units between two, with the legs on that side.
    #[must_use]
    pub fn other(&self) -> Option<&Other<'a>> {
        match self {
            Self::Transferred(e) => Some(&e.other),
            Self::Converted(e) => Some(&e.other),
            Self::MembersMerged(e) => Some(&e.other),
            _ => None,
        }
    }

    /// The sides of the event: that of the command's member, or of what an operator did, then that of the other member, if there is one.
    pub fn sides(&self) -> impl Iterator<Item = Side<'_>> {
        let opened = |member: &MemberRef<'_>| matches!(member, MemberRef::Opened(..));
        let own = Side {
            program: self.identity().0,
            member: self.member(),
            opened: self.common().is_some_and(|common| opened(&common.member)),
            legs: self.legs(),
        };
        let other = self.other().map(|other| Side {
            program: other.program,
            member: other.member.number(),
            opened: opened(&other.member),
            legs: &other.legs,
        });
        std::iter::once(own).chain(other)
    }

    /// The members concerned, each with the distance in ops back to his previous event: the command's own first.
    pub fn members(&self) -> impl Iterator<Item = (MemberNo, u64)> {
        let own = self.member().zip(self.member_link());
        let other = self.other().and_then(|other| Some((other.member.number()?, other.member_link)));
        own.into_iter().chain(other)
    }

    /// The distance in ops back from this event to a member's previous one; `None` where it does not concern him.
    #[must_use]
    pub fn link_of(&self, member: MemberNo) -> Option<u64> {
        self.members().find(|(number, _)| *number == member).map(|(_, link)| link)
    }

    /// The legs of the command's own side; none for a refused command or a version of the rules. See [`Self::sides`].
    #[must_use]
    pub fn legs(&self) -> &[Leg] {
        match self {
            Self::Due(e) => &e.legs,
            Self::CampaignChanged(e) => &e.legs,
            Self::RewardPut(e) => &e.legs,
            _ => of_member!(self, e => &*e.legs).unwrap_or_default(),
        }
    }

    /// The member concerned; of two the one whom the command names.
    #[must_use]
    pub fn member(&self) -> Option<MemberNo> {
        match self {
            Self::Due(due) => Some(due.member),
            _ => self.common().and_then(|c| c.member.number()),
        }
    }

    /// The distance in ops back to the member's previous event; `None` for an event that concerns no member.
    #[must_use]
    pub fn member_link(&self) -> Option<u64> {
        match self {
            Self::Due(due) => Some(due.member_link),
            _ => self.common().map(|common| common.member_link),
        }
    }

    /// The op of a checkout's earn, where the event at `op` is one that has an earn.
    #[must_use]
    pub fn checked_out_earn(&self, op: Op) -> Option<Op> {
        let Self::CheckedOut(checkout) = self else { return None };
        checkout.parts.get(usize::from(checkout.earn?)).and_then(|link| op.back(*link))
    }

    /// Why the command was refused, if it was.
    #[must_use]
    pub fn rejection(&self) -> Option<(Reason, &'a str)> {
        match self {
            Self::Rejected(e) => Some((e.reason, e.field)),
            Self::AdminRejected(e) => Some((e.reason, e.field)),
            _ => None,
        }
    }
}
