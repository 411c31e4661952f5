//! What operators' commands came to, for ever; part of [`super::event`], whose rules hold here too.

use bincode::{BorrowDecode, Decode, Encode};

use super::event::{Legs, Text};
use super::ids::{AssetNo, CampaignNo, ProgramNo, RewardNo, VersionNo};
use super::reason::Reason;
use super::spec::ProgramSpec;

/// What every event of an operator's command begins with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct AdminCommon<'a> {
    /// The program; 65,535 where the command is refused because there is no such program, or concerns the whole book.
    pub program: ProgramNo,
    /// The program's id, where the event creates it or is refused for want of it; empty where it concerns the whole book.
    pub program_id: Option<&'a str>,
    /// The idempotency key.
    pub key: &'a str,
    /// The hash of the body as sent.
    pub body_hash: [u8; 16],
    /// Who asked.
    pub actor: Text<'a>,
    /// Why.
    pub reason: Text<'a>,
}

/// A program created, or given a new version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct ProgramPut<'a> {
    /// The common part.
    pub common: AdminCommon<'a>,
    /// The new version's number.
    pub version: VersionNo,
    /// From when it holds; the first holds from the beginning of time, which is `i64::MIN`.
    pub effective_from_us: i64,
    /// The numbers of its campaigns, in the order of the rules.
    pub campaigns: Vec<CampaignNo>,
    /// The rules.
    pub spec: ProgramSpec,
    /// The text they were read from.
    pub definition: &'a str,
}

/// What happened to a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CampaignChange {
    /// Points were moved into its budget.
    Funded,
    /// It was paused.
    Paused,
    /// It was resumed.
    Resumed,
    /// It was closed.
    Closed,
}

/// A campaign funded, paused, resumed or closed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct CampaignChanged<'a> {
    /// The common part.
    pub common: AdminCommon<'a>,
    /// Which campaign.
    pub campaign: CampaignNo,
    /// What happened.
    pub change: CampaignChange,
    /// The budget left after it.
    pub budget_after: i64,
    /// The distance in ops back to the campaign's previous event, 0 for none.
    pub campaign_link: u64,
    /// The legs.
    pub legs: Legs,
}

/// The kinds of an operator's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum AdminKind {
    /// `put_program`
    PutProgram,
    /// `fund_campaign`
    FundCampaign,
    /// `pause_campaign`
    PauseCampaign,
    /// `resume_campaign`
    ResumeCampaign,
    /// `close_campaign`
    CloseCampaign,
    /// `create_snapshot`
    CreateSnapshot,
    /// `delete_snapshot`
    DeleteSnapshot,
    /// `confirm_clock`
    ConfirmClock,
    /// `close_period`
    ClosePeriod,
    /// `put_reward`
    PutReward,
}

/// A snapshot taken: the state at this event's op, which closes its frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct SnapshotTaken<'a> {
    /// The common part.
    pub common: AdminCommon<'a>,
    /// Its name, used once in a book.
    pub name: &'a str,
    /// The instant before which it may not be deleted, microseconds since the Unix epoch.
    pub retain_until_us: Option<i64>,
    /// The distance in ops back to the event of the snapshot taken before it, 0 for none.
    pub previous_link: u64,
}

/// A snapshot deleted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct SnapshotDeleted<'a> {
    /// The common part.
    pub common: AdminCommon<'a>,
    /// Its name.
    pub name: &'a str,
    /// The distance in ops back to the event that took it.
    pub taken_link: u64,
}

/// A wall clock that leapt ahead was confirmed: from this event on the book follows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct ClockConfirmed<'a> {
    /// The common part.
    pub common: AdminCommon<'a>,
    /// The book's time before, microseconds since the Unix epoch.
    pub from_us: i64,
    /// The book's time from this event on, its own.
    pub to_us: i64,
}

/// A reward put on offer, changed, or given more or fewer pieces.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct RewardPut<'a> {
    /// The common part.
    pub common: AdminCommon<'a>,
    /// Its number.
    pub reward: RewardNo,
    /// Its id within the program, 1 to 64 bytes; for ever the same.
    pub sku: &'a str,
    /// The name shown to people.
    pub name: &'a str,
    /// The asset that it is paid in.
    pub asset: AssetNo,
    /// Units of the asset for one piece, from 1.
    pub price: u64,
    /// Whether it is on offer.
    pub open: bool,
    /// Pieces put in (positive) or taken out.
    pub stocked: i64,
    /// Pieces left after it.
    pub stock_after: u64,
    /// The distance in ops back to the event before it that put the reward or moved its stock, 0 for none.
    pub reward_link: u64,
    /// The legs.
    pub legs: Legs,
}

/// A program's books closed up to an instant: what is dated before it and booked from then on is marked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct PeriodClosed<'a> {
    /// The common part.
    pub common: AdminCommon<'a>,
    /// The first instant that is not closed, microseconds since the Unix epoch.
    pub until_us: i64,
    /// The distance in ops back to the program's closing before it, 0 for none.
    pub previous_link: u64,
}

/// An operator's command that a rule refused.
#[derive(Clone, Debug, PartialEq, Eq, Encode, BorrowDecode)]
pub struct AdminRejected<'a> {
    /// The common part.
    pub common: AdminCommon<'a>,
    /// What was asked.
    pub kind: AdminKind,
    /// Why it was refused.
    pub reason: Reason,
    /// The field at fault, empty where no single one is.
    pub field: &'a str,
}
