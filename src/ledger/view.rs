//! What readers are shown of the state: copies, in the terms of the chart of accounts.

use std::sync::Arc;

use super::command::Standing;
use super::event::AssetBalances;
use super::ids::{AssetNo, CampaignNo, Op, ProgramNo, VersionNo};
use super::spec::{AssetSpec, CampaignSpec, ProgramSpec};

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
    /// Every closing of its books, in order.
    pub closings: Vec<Closing>,
}

/// A version of a program's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesView {
    /// Its number.
    pub number: VersionNo,
    /// From when it holds, microseconds since the Unix epoch; `i64::MIN` for always.
    pub effective_from_us: i64,
    /// The rules.
    pub spec: Arc<ProgramSpec>,
    /// The numbers of its campaigns, in the order of the rules.
    pub campaigns: Vec<CampaignNo>,
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
    /// The id of the asset that it multiplies and gives.
    pub asset: String,
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

/// A reward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardView {
    /// The reward's id within the program.
    pub sku: String,
    /// The name shown to people.
    pub name: String,
    /// The id of the asset that it is paid in.
    pub asset: String,
    /// Units of the asset for one piece.
    pub price: u64,
    /// Whether it is on offer.
    pub open: bool,
    /// Pieces left, those that are reserved apart.
    pub left: i64,
    /// Pieces that holds reserve.
    pub reserved: i64,
}

/// What the pieces of rewards are counted in, where assets are named; no asset of a program is called so.
pub const PIECES: &str = "pieces";

/// A row of a trial balance: one account, or a class of members' accounts together, in one asset.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TrialRow {
    /// The asset's id; `points` in what was written before there were others.
    #[serde(default = "points")]
    pub asset: String,
    /// The account: `issuance`, `campaign/<id>`, `redemption/<purpose>`, `adjustment`, `opening`, `breakage`, `cash`,
    /// `conversion/<program>`, `member/available`, `member/held`, `member/pending`, `member/debt`; in `pieces` after the others
    /// `reward/<sku>`, `reward/<sku>/reserved`.
    pub account: String,
    /// The balance, credit positive.
    pub balance: i64,
}

fn points() -> String {
    AssetSpec::points().id
}

/// The ids of a program's assets, in order of their numbers.
#[must_use]
pub fn asset_ids(spec: &ProgramSpec) -> Vec<String> {
    match spec.more.as_deref() {
        Some(more) => more.assets.iter().map(|asset| asset.id.clone()).collect(),
        None => vec![points()],
    }
}

/// A program's trial balance; the balances of each asset sum to zero.
///
/// Rows are ordered by the asset's number and within it as [`TrialRow::account`] lists the accounts. Every campaign has one in its
/// asset, every reward the one of its pieces left in `pieces`, which come last, and in points there always are `issuance`, `member/available` and `member/debt`. Of all others there is a row, for an
/// account of the program, once something moved on it, and for the members' accounts while they do not come to zero.
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

/// A closing of a program's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The event that closed them.
    pub op: Op,
    /// The first instant that it did not close, microseconds since the Unix epoch.
    pub until_us: i64,
}

/// Until when a program's books were closed when the event at an op was booked, if that event is dated before it, both in
/// microseconds since the Unix epoch. `closings` are all of the program, in order.
#[must_use]
pub fn late_for(closings: &[Closing], op: Op, dated_us: i64) -> Option<i64> {
    let before = closings.partition_point(|closing| closing.op < op);
    let newest = closings.get(before.checked_sub(1)?)?;
    (dated_us < newest.until_us).then_some(newest.until_us)
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
    /// The ids of its assets, in order of their numbers.
    pub assets: Vec<String>,
    /// Every closing of its books, in order.
    pub closings: Vec<Closing>,
    /// The ids of its rewards, in order of their numbers.
    pub rewards: Vec<String>,
    /// The names of its members' tags, in order of their numbers.
    pub tags: Vec<String>,
}

/// What a member has and may do, at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberCard {
    /// What the member may do.
    pub standing: Standing,
    /// `points` first, then the other assets that the member has or had something of, in the order of their numbers.
    pub assets: Vec<AssetCard>,
    /// The local date on which the member joined, in days since the Unix epoch, if it was told.
    pub joined_day: Option<i32>,
    /// The member's tags, in order of the alphabet.
    pub tags: Vec<String>,
    /// Ids that lead to the member beside its own.
    pub aliases: usize,
}

/// What a member has of an asset, at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssetCard {
    /// The balances as they stand in the books.
    pub balances: AssetBalances,
    /// Units of `balances.available` whose lots have lapsed by then and are not in `breakage` yet; the others can be spent.
    pub lapsed: i64,
    /// When free units that have not lapsed lapse next, in minutes since the Unix epoch, and how many then.
    pub next_lapse: Option<(u32, i64)>,
}

/// Units in lots of one member, or of all of a program, that lapse together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The asset.
    pub asset: AssetNo,
    /// When, in minutes since the Unix epoch.
    pub at_min: u32,
    /// Units, from 1.
    pub units: i64,
}
