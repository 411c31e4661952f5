//! What a caller asks, its shape already checked and its hashes made on the threads that received it.

use smol_str::SmolStr;

use super::ids::{AssetNo, Op, ProgramNo};
use super::spec::ProgramSpec;

/// The amount a command speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Basis {
    /// Money spent or returned, in minor units of the program's currency, from 1.
    Spend(u64),
    /// Points, from 1.
    Points(u64),
}

/// Where redeemed points go; each is an account `redemption/<purpose>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub enum Purpose {
    /// Set against the price of a purchase.
    CashOffset,
    /// Exchanged for a gift.
    Gift,
    /// Exchanged for a coupon.
    Coupon,
    /// Staked in a draw.
    Lottery,
    /// Given away, for good.
    Charity,
    /// Moved into a miles scheme.
    Miles,
    /// Stored value that paid for a purchase.
    Payment,
    /// An entitlement that was used.
    Use,
}

impl Purpose {
    /// Every purpose, in the order of the accounts.
    pub const ALL: [Self; 8] = [
        Self::CashOffset,
        Self::Gift,
        Self::Coupon,
        Self::Lottery,
        Self::Charity,
        Self::Miles,
        Self::Payment,
        Self::Use,
    ];

    /// The place of its account among the purposes' accounts.
    #[must_use]
    pub fn place(self) -> usize {
        match self {
            Self::CashOffset => 0,
            Self::Gift => 1,
            Self::Coupon => 2,
            Self::Lottery => 3,
            Self::Charity => 4,
            Self::Miles => 5,
            Self::Payment => 6,
            Self::Use => 7,
        }
    }

    /// The name in account names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CashOffset => "cash_offset",
            Self::Gift => "gift",
            Self::Coupon => "coupon",
            Self::Lottery => "lottery",
            Self::Charity => "charity",
            Self::Miles => "miles",
            Self::Payment => "payment",
            Self::Use => "use",
        }
    }
}

/// How a refund names the earn that it takes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Original {
    /// It names none: the base rate of the refund's own time is taken, and no bonus.
    None,
    /// By op.
    Op(Op),
    /// By the idempotency key's fingerprint.
    Key(u128),
    /// By reference, looked up within the member, newest first.
    Reference(String),
}

/// When an earn that is pending becomes available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Matures {
    /// At that instant, microseconds since the Unix epoch.
    At(i64),
    /// When it is activated.
    Activated,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Award units for a purchase or another event.
    Earn {
        /// Money spent, or units of the asset.
        basis: Basis,
        /// The event kind: always there for spend; with points, campaigns take part only if it is.
        event_kind: Option<SmolStr>,
        /// The asset that `Basis::Points` counts; `points` for an award by spend, whose assets are the rule's to say.
        asset: AssetNo,
        /// Until when the award is pending. `None`: as the rule of the event kind says, and not at all without one.
        matures: Option<Matures>,
    },
    /// Take back what a returned purchase earned.
    Refund {
        /// The earn it takes back.
        original: Original,
        /// How much of it is returned.
        basis: Basis,
        /// The event kind whose base rate applies to a refund without original.
        event_kind: Option<SmolStr>,
    },
    /// Spend units of an asset.
    Redeem {
        /// The asset.
        asset: AssetNo,
        /// Units, from 1.
        points: u64,
        /// What for. `Use` is for entitlements and `Payment` for stored value, and for them alone.
        purpose: Purpose,
    },
    /// Undo a redemption, a capture, an adjustment, a top-up or a grant, in parts or whole.
    Reverse {
        /// What is undone; never [`Original::None`].
        original: Original,
        /// Units of it, from 1; `None` for all that is left.
        units: Option<u64>,
    },
    /// Pin units for a while, so that nobody else spends them.
    Hold {
        /// The asset.
        asset: AssetNo,
        /// Units, from 1.
        units: u64,
        /// Until when, microseconds since the Unix epoch; `None` for as long as the program lets it.
        until_us: Option<i64>,
        /// What they are to be spent on.
        purpose: Purpose,
    },
    /// Spend units that a hold pins.
    Capture {
        /// The hold, by op or key.
        hold: Original,
        /// Units, from 1.
        units: u64,
        /// Whether the rest of the hold is released.
        last: bool,
    },
    /// Let go of what a hold pins.
    Release {
        /// The hold, by op or key.
        hold: Original,
    },
    /// Make an earn that is pending available.
    Activate {
        /// The earn; never [`Original::None`].
        original: Original,
    },
    /// Load stored value against `cash`.
    TopUp {
        /// The asset, of stored value.
        asset: AssetNo,
        /// What was paid, in minor units, from 1.
        principal: u64,
        /// What is given on top, against `issuance`; spent after the principal.
        bonus: u64,
    },
    /// Give an entitlement.
    Grant {
        /// The asset, an entitlement.
        asset: AssetNo,
        /// Units, from 1.
        units: u64,
        /// When they lapse, microseconds since the Unix epoch, rounded up to a minute; `None` as the asset's policy says.
        lapses_us: Option<i64>,
    },
    /// An operator's act: units given or taken, with who and why.
    Adjust {
        /// The asset.
        asset: AssetNo,
        /// Units, positive to credit the member, never 0.
        points: i64,
        /// Who does it.
        actor: String,
        /// Why.
        reason: String,
    },
    /// A balance brought over from another system, in import mode.
    Opening {
        /// The asset.
        asset: AssetNo,
        /// Units, positive to credit the member, negative for a debt, never 0.
        points: i64,
        /// When they lapse, microseconds since the Unix epoch, rounded up to a minute; `None`: as the asset's policy says,
        /// from the command's business time on.
        lapses_us: Option<i64>,
        /// Who does it.
        actor: String,
        /// Why.
        reason: String,
    },
    /// Change what a member may do.
    Standing {
        /// What becomes of it.
        change: Standing,
        /// Who does it.
        actor: String,
        /// Why.
        reason: String,
    },
    /// Give units to another member of the program, with their dates.
    Transfer {
        /// The receiver.
        to: Named,
        /// The asset, spendable or an entitlement.
        asset: AssetNo,
        /// Units, from 1.
        units: u64,
    },
    /// Turn units into those of another program, at the rate of the command's own.
    Convert {
        /// The other program.
        to_program: ProgramNo,
        /// The member of it who receives them.
        to: Named,
        /// The asset given.
        asset: AssetNo,
        /// The asset received, by its number in the other program.
        to_asset: AssetNo,
        /// Units to give at most, from 1.
        units: u64,
    },
    /// Let the member go into another of the program, for good.
    Merge {
        /// The member who stays.
        into: Named,
        /// Who does it.
        actor: String,
        /// Why.
        reason: String,
    },
    /// Tell what the member is.
    MemberSet {
        /// The local date on which the member joined, in days since the Unix epoch; `None`: as it is.
        joined_day: Option<i32>,
        /// Tags that the member is to have.
        add: Vec<String>,
        /// Tags that the member is not to have.
        remove: Vec<String>,
    },
    /// Buy pieces of a reward with units of its asset.
    Claim {
        /// The reward's id.
        sku: String,
        /// Pieces, from 1.
        pieces: u64,
        /// What for; never `Payment` or `Use`.
        purpose: Purpose,
    },
    /// Pin what pieces of a reward cost, and the pieces with it.
    Reserve {
        /// The reward's id.
        sku: String,
        /// Pieces, from 1.
        pieces: u64,
        /// Until when, microseconds since the Unix epoch; `None` for as long as the program lets it.
        until_us: Option<i64>,
        /// What they are to be spent on; never `Payment` or `Use`.
        purpose: Purpose,
    },
    /// Several commands of the member as one, all or none, one after another: redemptions of any form, and earns. They have no
    /// keys of their own.
    Checkout {
        /// The parts, 2 to [`super::move_event::CHECKOUT_PARTS_MAX`].
        parts: Vec<Command>,
    },
}

/// Another member that a command names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The member's id: 1 to 64 bytes.
    pub id: String,
    /// The id's keyed hash in its program.
    pub hash: u128,
}

impl Action {
    /// The other member that the action names, beside the command's own.
    #[must_use]
    pub fn other(&self) -> Option<&Named> {
        match self {
            Self::Transfer { to, .. } | Self::Convert { to, .. } => Some(to),
            Self::Merge { into, .. } => Some(into),
            _ => None,
        }
    }
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Standing {
    /// Earns and spends as any other.
    Open,
    /// Earns, but spends no more.
    Frozen,
    /// For good: what is left goes to breakage, earns are refused, refunds still post.
    Closed,
}

/// What a caller says about the command beside the action; kept in the event as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The order or other document the command belongs to.
    pub reference: String,
    /// The channel it came through.
    pub channel: String,
    /// The partner it came from.
    pub partner: String,
    /// The place.
    pub location: String,
    /// At most 8 pairs, 512 bytes together.
    pub metadata: Vec<(String, String)>,
}

/// A command on a member's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: ProgramNo,
    /// The idempotency key: 1 to 128 bytes, in place where they are few, like the other texts of most commands.
    pub key: SmolStr,
    /// The key's keyed fingerprint, see [`super::print::Prints::key`].
    pub key_print: u128,
    /// The hash of the body as sent.
    pub body_hash: [u8; 16],
    /// The member's id: 1 to 64 bytes.
    pub member: SmolStr,
    /// The id's keyed hash, see [`super::print::Prints::member`].
    pub member_hash: u128,
    /// Business time in microseconds since the Unix epoch; `None` for the time of booking.
    pub occurred_at_us: Option<i64>,
    /// A currency code that must match the program's, if given.
    pub currency: Option<[u8; 3]>,
    /// The caller's notes; `None` where it sent none.
    pub notes: Option<Box<Notes>>,
    /// What is to be done.
    pub action: Action,
}

/// What [`Command::events`] says of a merge.
pub const MERGE_EVENTS: usize = 4;
/// What [`Command::events`] says of a transfer: the lots that it brings may be as many as the receiver may have, and each
/// makes two of his merge.
pub const TRANSFER_EVENTS: usize = 2;

impl Command {
    /// The parts of a checkout; none of any other command.
    #[must_use]
    pub fn parts(&self) -> &[Self] {
        match &self.action {
            Action::Checkout { parts } => parts,
            _ => &[],
        }
    }

    /// Events that the command comes to at most, those apart that fall due with it: of a merge as many as the lots that merge
    /// behind it take the room of.
    #[must_use]
    pub fn events(&self) -> usize {
        match self.action {
            Action::Merge { .. } => MERGE_EVENTS,
            Action::Transfer { .. } => TRANSFER_EVENTS,
            _ => 1 + self.parts().len(),
        }
    }
}

/// A wall clock that ran further ahead of the book than time has passed, both in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leap {
    /// The book's time.
    pub book_us: i64,
    /// The wall clock's.
    pub clock_us: i64,
}

/// What an operator asks of a program, a campaign or the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// Create a program or give it a new version.
    PutProgram {
        /// The version that the caller believes to be the newest; 0 for none. `None` skips the check.
        expected_version: Option<u32>,
        /// The rules, resolved.
        spec: Box<ProgramSpec>,
        /// The text they were read from, kept for people.
        definition: String,
    },
    /// Move authorised points from `issuance` to a campaign's budget.
    FundCampaign {
        /// The campaign's id.
        campaign: String,
        /// Points, from 1.
        points: u64,
    },
    /// Let a campaign award nothing until it is resumed.
    PauseCampaign {
        /// The campaign's id.
        campaign: String,
    },
    /// Let a paused or stopped campaign go on.
    ResumeCampaign {
        /// The campaign's id.
        campaign: String,
    },
    /// End a campaign for good and move the rest of its budget to `issuance`.
    CloseCampaign {
        /// The campaign's id.
        campaign: String,
    },
    /// Keep the state at the event's op. It concerns the whole book: the command's program id is empty.
    CreateSnapshot {
        /// The snapshot's name, used once in a book.
        name: String,
        /// The instant before which it may not be deleted, microseconds since the Unix epoch.
        retain_until_us: Option<i64>,
    },
    /// Delete a snapshot. It concerns the whole book: the command's program id is empty.
    DeleteSnapshot {
        /// The snapshot's name.
        name: String,
    },
    /// Put a reward on offer, change it, or give it more or fewer pieces.
    PutReward {
        /// The reward's id: 1 to 64 bytes.
        sku: String,
        /// The name shown to people.
        name: String,
        /// The id of the asset that it is paid in, spendable.
        asset: String,
        /// Units of the asset for one piece, from 1.
        price: u64,
        /// Whether it is on offer.
        open: bool,
        /// Pieces to put in (positive) or to take out.
        stocked: i64,
    },
    /// Close the program's books up to an instant, so that what is dated before it and booked from then on is marked.
    ClosePeriod {
        /// The first instant that is not closed, microseconds since the Unix epoch.
        until_us: i64,
    },
    /// Let the book follow a wall clock that leapt ahead. It concerns the whole book: the command's program id is empty.
    ConfirmClock {
        /// The time that the operator holds right, microseconds since the Unix epoch.
        clock_us: i64,
        /// The leap as the engine finds it when it decides; the sender knows none.
        leap: Option<Leap>,
    },
}

/// A command on a program, or on the whole book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCommand {
    /// The program's id: 1 to 64 bytes; empty for a command on the whole book.
    pub program_id: String,
    /// The idempotency key, in the same space as the keys of the program's members.
    pub key: String,
    /// The key's keyed fingerprint.
    pub key_print: u128,
    /// The hash of the body as sent.
    pub body_hash: [u8; 16],
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What is to be done.
    pub action: AdminAction,
}
