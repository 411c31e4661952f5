//! What readers are shown of the state: copies, in the terms of the chart of accounts.

use std::sync::Arc;

use super::ids::{CampaignNo, Op, ProgramNo, VersionNo};
use super::spec::{CampaignSpec, ProgramSpec};

/// A program's newest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramView {
    /// The program's number.
    pub number: ProgramNo,
    /// Its id.
    pub id: String,
    /// The newest version's number.
    pub version: VersionNo,
    /// From when that version holds, microseconds since the Unix epoch; `i64::MIN` for always.
    pub effective_from_us: i64,
    /// The rules.
    pub spec: Arc<ProgramSpec>,
    /// The text they were read from.
    pub definition: Arc<str>,
}

/// Whether a campaign awards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignStatus {
    /// It does, inside its window.
    Open,
    /// An operator paused it.
    Paused,
    /// Its budget ran out and it stops until it is resumed.
    Stopped,
    /// It is over for good.
    Closed,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignView {
    /// The campaign's number within the program.
    pub number: CampaignNo,
    /// The rules, of the newest version that names it.
    pub spec: CampaignSpec,
    /// Whether the newest version of the program names it.
    pub in_force: bool,
    /// Whether it awards.
    pub status: CampaignStatus,
    /// Points moved into its budget so far.
    pub funded: i64,
    /// Points of the budget not yet awarded.
    pub left: i64,
    /// Points awarded so far, less what refunds brought back.
    pub awarded: i64,
}

/// A row of a trial balance: one account, or a class of members' accounts together.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TrialRow {
    /// The account: `issuance`, `campaign/<id>`, `redemption/<purpose>`, `adjustment`, `opening`,
    /// `member/available`, `member/debt`.
    pub account: String,
    /// The balance, credit positive.
    pub balance: i64,
}

/// A program's trial balance in points; the balances sum to zero.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProgramTrial {
    /// The program's id.
    pub program: String,
    /// Members of the program.
    pub members: u64,
    /// A row an account.
    pub rows: Vec<TrialRow>,
}

/// A snapshot that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotView {
    /// Its name.
    pub name: String,
    /// The op whose state it is.
    pub op: Op,
    /// The book time of that op, microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The instant before which it may not be deleted, microseconds since the Unix epoch.
    pub retain_until_us: Option<i64>,
    /// The op that deleted it.
    pub deleted: Option<Op>,
}

/// A program as a base image has it: what an export of its accounts needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseProgram {
    /// Its id and trial balance.
    pub trial: ProgramTrial,
    /// The name shown to people.
    pub name: String,
    /// ISO 4217 code of its currency.
    pub currency: String,
    /// The time zone's name in the tz database.
    pub time_zone: String,
    /// The ids of its campaigns, in order of their numbers.
    pub campaigns: Vec<String>,
}
