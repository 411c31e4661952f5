//! What a caller asks, its shape already checked and its hashes made on the threads that received it.

use super::ids::{Op, ProgramNo};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bincode::Encode, bincode::Decode)]
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
}

impl Purpose {
    /// Every purpose, in the order of the accounts.
    pub const ALL: [Self; 6] = [Self::CashOffset, Self::Gift, Self::Coupon, Self::Lottery, Self::Charity, Self::Miles];

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

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Award points for a purchase or another event.
    Earn {
        /// Money spent, or points.
        basis: Basis,
        /// The event kind: always there for spend; with points, campaigns take part only if it is.
        event_kind: Option<String>,
    },
    /// Take back what a returned purchase earned.
    Refund {
        /// The earn it takes back.
        original: Original,
        /// How much of it is returned.
        basis: Basis,
        /// The event kind whose base rate applies to a refund without original.
        event_kind: Option<String>,
    },
    /// Spend points.
    Redeem {
        /// Points, from 1.
        points: u64,
        /// What for.
        purpose: Purpose,
    },
    /// An operator's act: points given or taken, with who and why.
    Adjust {
        /// Points, positive to credit the member, never 0.
        points: i64,
        /// Who does it.
        actor: String,
        /// Why.
        reason: String,
    },
    /// A balance brought over from another system, in import mode.
    Opening {
        /// Points, positive to credit the member, negative for a debt, never 0.
        points: i64,
        /// Who does it.
        actor: String,
        /// Why.
        reason: String,
    },
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
    /// The idempotency key: 1 to 128 bytes.
    pub key: String,
    /// The key's keyed fingerprint, see [`super::print::Prints::key`].
    pub key_print: u128,
    /// The hash of the body as sent.
    pub body_hash: [u8; 16],
    /// The member's id: 1 to 64 bytes.
    pub member: String,
    /// The id's keyed hash, see [`super::print::Prints::member`].
    pub member_hash: u128,
    /// Business time in microseconds since the Unix epoch; `None` for the time of booking.
    pub occurred_at_us: Option<i64>,
    /// A currency code that must match the program's, if given.
    pub currency: Option<String>,
    /// The caller's notes; `None` where it sent none.
    pub notes: Option<Box<Notes>>,
    /// What is to be done.
    pub action: Action,
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
