//! What happened, for ever. These structs are the bytes of the book: once released they are frozen, and a change of
//! meaning takes a new version number in [`super::codec`].

use bincode::{BorrowDecode, Decode, Encode};

pub use super::admin_event::{
    AdminCommon, AdminKind, AdminRejected, CampaignChange, CampaignChanged, ClockConfirmed, ProgramPut,
    SnapshotDeleted, SnapshotTaken,
};
use super::command::{Basis, Purpose};
use super::ids::{CampaignNo, MemberNo, MemberRef, ProgramNo, VersionNo};
use super::list::List;
use super::reason::Reason;
use super::spec::CapPer;

/// What is counted. Only points so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Asset {
    /// Spendable points.
    Points,
}

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
}

/// When units of a lot lapse. Never, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Expiry {
    /// They do not.
    Never,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
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
}

/// One posting: a signed amount on one account, credit positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Leg {
    /// The account.
    pub account: Account,
    /// What is counted.
    pub asset: Asset,
    /// Units, credit positive, never 0.
    pub amount: i64,
}

/// Groups of campaigns that may win in one award.
pub const WINNERS_MAX: usize = 4;
/// The legs of an event: issuance, a leg a winner, four lots, debt.
pub const LEGS_MAX: usize = 2 + WINNERS_MAX + 4;

/// The legs of an event; they sum to zero per asset.
pub type Legs = List<Leg, LEGS_MAX>;

/// A member's balances after an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Balances {
    /// Units that may be spent.
    pub available: i64,
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
    /// The member's balances after the event; zeros for an id that names no member.
    pub after: Balances,
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
    /// A wall clock confirmed.
    ClockConfirmed(ClockConfirmed<'a>),
}

impl<'a> Event<'a> {
    /// The common part of a member's event.
    #[must_use]
    pub fn common(&self) -> Option<&Common<'a>> {
        match self {
            Self::Earned(e) => Some(&e.common),
            Self::Refunded(e) => Some(&e.common),
            Self::Redeemed(e) => Some(&e.common),
            Self::Adjusted(e) => Some(&e.common),
            Self::Rejected(e) => Some(&e.common),
            Self::Opened(e) => Some(&e.common),
            Self::ProgramPut(_) | Self::CampaignChanged(_) | Self::AdminRejected(_) => None,
            Self::SnapshotTaken(_) | Self::SnapshotDeleted(_) | Self::ClockConfirmed(_) => None,
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
            _ => None,
        }
    }

    /// The program's number, the key and the hash of the body.
    #[must_use]
    pub fn identity(&self) -> (ProgramNo, &'a str, [u8; 16]) {
        match (self.common(), self.admin_common()) {
            (Some(c), _) => (c.program, c.key, c.body_hash),
            (None, Some(c)) => (c.program, c.key, c.body_hash),
            (None, None) => (ProgramNo(0), "", [0; 16]),
        }
    }

    /// The legs; none for a refused command or a version of the rules.
    #[must_use]
    pub fn legs(&self) -> &[Leg] {
        match self {
            Self::Earned(e) => &e.legs,
            Self::Refunded(e) => &e.legs,
            Self::Redeemed(e) => &e.legs,
            Self::Adjusted(e) => &e.legs,
            Self::CampaignChanged(e) => &e.legs,
            Self::Opened(e) => &e.legs,
            Self::Rejected(_) | Self::ProgramPut(_) | Self::AdminRejected(_) => &[],
            Self::SnapshotTaken(_) | Self::SnapshotDeleted(_) | Self::ClockConfirmed(_) => &[],
        }
    }

    /// The member concerned.
    #[must_use]
    pub fn member(&self) -> Option<MemberNo> {
        self.common().and_then(|c| c.member.number())
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
