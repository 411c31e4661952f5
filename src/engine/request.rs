//! What goes into the engine's queue and what comes back. One request is one queue item and one wake-up, whether it
//! holds one command or ten thousand.

use std::sync::Arc;

use crate::journal::FrameBody;
use crate::ledger::Way;
use crate::ledger::command::{AdminCommand, Command, Leap};
use crate::ledger::event::Balances;
use crate::ledger::ids::{AssetNo, MemberNo, Op, ProgramNo, VersionNo};
use crate::ledger::view::{
    CampaignView, Forecast, MemberCard, ProgramTrial, ProgramView, RewardView, RulesView, SnapshotView,
};

/// Names one stream, so that its requests are decided in the order in which they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// A request.
#[derive(Debug)]
pub enum Work {
    /// Commands of members, decided one after another.
    Post {
        /// The commands, in order.
        commands: Vec<Command>,
        /// All or none, in one frame.
        atomic: bool,
        /// The stream they came on, if they came on one.
        stream: Option<StreamId>,
        /// Room for what becomes of them, made by whoever asks and not by the thread that all wait for.
        results: Vec<ItemResult>,
    },
    /// A command of an operator.
    Admin(Box<AdminCommand>),
    /// A read of the state.
    Read(Read),
}

impl Work {
    /// Commands of members; see [`Self::Post`].
    #[must_use]
    pub fn post(commands: Vec<Command>, atomic: bool, stream: Option<StreamId>) -> Self {
        let results = Vec::with_capacity(commands.len());
        Self::Post { commands, atomic, stream, results }
    }
}

/// A read of the state as of the newest op decided; answered when that op is durable.
#[derive(Debug)]
pub enum Read {
    /// Members by the hashes of their ids.
    Members(Vec<u128>),
    /// Members with what they have at an instant.
    Cards {
        /// The hashes of their ids.
        members: Vec<u128>,
        /// The instant, microseconds since the Unix epoch.
        now_us: i64,
    },
    /// What lapses until an instant.
    Expiring {
        /// The program.
        program: ProgramNo,
        /// The hash of the member's id; `None` for all members together.
        member: Option<u128>,
        /// The instant, microseconds since the Unix epoch; what lapses at it is in.
        until_us: i64,
    },
    /// The ids behind members' numbers.
    MemberIds(Vec<MemberNo>),
    /// The op that a key's fingerprint was taken by.
    Key(u128),
    /// Every program, newest version.
    Programs,
    /// A version of a program's rules; `None` for the newest.
    Rules(ProgramNo, Option<VersionNo>),
    /// The campaigns of a program.
    Campaigns(ProgramNo),
    /// The rewards of a program.
    Rewards(ProgramNo),
    /// The balances of every account class, per program.
    TrialBalance,
    /// What has lapsed by an instant, microseconds since the Unix epoch, and is not in `breakage` yet: of each program.
    Unswept(i64),
    /// The hash of the logical state.
    StateHash,
    /// Every snapshot that was ever taken.
    Snapshots,
}

/// What became of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemResult {
    /// It was decided now: applied or rejected, as its event says, which lies in the answer's frame.
    Fresh(Op),
    /// Its key was taken by that op. A replay or a conflict, which the event in the book tells by its body hash.
    Known(Op),
    /// The books hold as many members, or counters of caps, as they may; nothing was written.
    MembersLimit,
    /// Nothing was written, because of another item of the atomic batch. In an atomic batch in which keys are
    /// known, every new key gets this.
    Aborted,
}

/// A member as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// The number of whoever has now what belongs to the id.
    pub number: MemberNo,
    /// The way there from the member whom the id named at first, who stands first.
    pub way: Way,
    /// The balances.
    pub balances: Balances,
    /// The member's newest event.
    pub head: Op,
}

/// What the engine answers, let go when `op` is durable.
#[derive(Debug)]
pub struct Answer {
    /// The newest op decided when this was answered.
    pub op: Op,
    /// The answer itself.
    pub body: AnswerBody,
}

/// The answer itself.
#[derive(Debug)]
pub enum AnswerBody {
    /// For [`Work::Post`] and [`Work::Admin`] (one result).
    Posted {
        /// One result a command, in order.
        results: Vec<ItemResult>,
        /// The frame that holds every fresh event of the results; `None` if there is none.
        frame: Option<Arc<FrameBody>>,
        /// The commands as they were sent, empty for an operator's.
        commands: Vec<Command>,
    },
    /// For [`Read::Members`], in order; `None` for an id that names no member.
    Members(Vec<Option<MemberState>>),
    /// For [`Read::Cards`], in order; `None` for an id that names no member.
    Cards(Vec<Option<(MemberState, MemberCard)>>),
    /// For [`Read::Expiring`], by asset, then by instant; none for an id that names no member.
    Expiring(Vec<Forecast>),
    /// For [`Read::MemberIds`], in order.
    MemberIds(Vec<Option<String>>),
    /// For [`Read::Key`].
    Key(Option<Op>),
    /// For [`Read::Programs`].
    Programs(Vec<ProgramView>),
    /// For [`Read::Rules`]; `None` where there is no such program or version.
    Rules(Option<RulesView>),
    /// For [`Read::Campaigns`].
    Campaigns(Vec<CampaignView>),
    /// For [`Read::Rewards`].
    Rewards(Vec<RewardView>),
    /// For [`Read::TrialBalance`].
    TrialBalance(Vec<ProgramTrial>),
    /// For [`Read::Unswept`], in the order of the programs' numbers.
    Unswept(Vec<Vec<(AssetNo, i64)>>),
    /// For [`Read::StateHash`].
    StateHash([u8; 32]),
    /// For [`Read::Snapshots`], in the order they were taken.
    Snapshots(Vec<SnapshotView>),
}

/// A request that was not taken, handed back so that a caller who can wait may offer it again.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The request.
    pub work: Work,
}

/// Why a request was not taken, or got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue holds as many requests as it may.
    #[error("the queue is full")]
    QueueFull,
    /// The request waited longer than its budget before it was decided, or more had fallen due before it than is written at a
    /// time. Nothing was written of it.
    #[error("the request waited longer in the queue than it may")]
    QueueTooOld,
    /// As many bytes or commands are in flight as may be.
    #[error("too much is in flight")]
    InFlight,
    /// The server is going down; nothing was written.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The wall clock has leapt ahead, and no operator has confirmed it yet; nothing was written.
    #[error("the wall clock has leapt ahead of the book: nothing is written until an operator confirms the time")]
    ClockUnconfirmed(Leap),
    /// A write or sync failed after the request was decided, or may have been: the outcome is unknown.
    #[error("the book cannot be written; the outcome is unknown")]
    Unknown,
}
