//! What a program's rules say, resolved: local times are instants, rates exact rationals. Text forms live elsewhere.

use bincode::{Decode, Encode};

/// An exact rational, numerator over a denominator that is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ratio {
    /// The part above the line.
    pub numerator: u64,
    /// The part below the line, at least 1.
    pub denominator: u64,
}

/// How an award that is no whole number of points is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Rounding {
    /// Down: the default.
    Floor,
    /// To the nearest, a half upwards.
    HalfUp,
    /// Up.
    Ceiling,
}

/// What an event kind earns by spend.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Rule {
    /// The event kind, as callers write it: 1 to 64 bytes.
    pub kind: String,
    /// Points per minor unit of the program's currency.
    pub rate: Ratio,
    /// How the base award is rounded, once.
    pub rounding: Rounding,
}

/// The span of local time over which a member's cap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum CapPer {
    /// The whole campaign.
    Campaign,
    /// A local calendar day.
    Day,
    /// A local week, from Monday.
    Week,
    /// A local calendar month.
    Month,
}

/// The most a member may be awarded by one campaign in one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cap {
    /// Points, from 1.
    pub points: u64,
    /// The span.
    pub per: CapPer,
}

/// What a campaign does when its budget does not cover an award.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OnExhausted {
    /// Award what is left, and go on when the budget is refilled.
    Clip,
    /// Award what is left once, then stop until an operator resumes the campaign.
    Stop,
}

/// A campaign as one version of the rules has it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CampaignSpec {
    /// The campaign's id within the program: 1 to 64 bytes.
    pub id: String,
    /// First instant of the window, microseconds since the Unix epoch.
    pub start_us: i64,
    /// The instant at which the window is over, exclusive.
    pub end_us: i64,
    /// The event kinds that take part; empty for all.
    pub kinds: Vec<String>,
    /// The multiplier, at least 1.
    pub multiplier: Ratio,
    /// The stacking group: of the campaigns of one group one wins, groups multiply.
    pub group: String,
    /// What happens when the budget is used up.
    pub on_exhausted: OnExhausted,
    /// The cap per member, if any.
    pub cap: Option<Cap>,
}

/// One version of a program's rules.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProgramSpec {
    /// The name shown to people.
    pub name: String,
    /// ISO 4217 code of the currency in whose minor units amounts are given.
    pub currency: String,
    /// The time zone's name in the tz database.
    pub time_zone: String,
    /// The version of the tz database that resolved the local times.
    pub tz_version: String,
    /// Whether the bounds on business time are lifted, for moving history in.
    pub import_mode: bool,
    /// From when the version holds, microseconds since the Unix epoch; `None` for at once.
    pub effective_from_us: Option<i64>,
    /// The greatest product of multipliers that one award may reach.
    pub greatest_total: Ratio,
    /// What each event kind earns.
    pub rules: Vec<Rule>,
    /// The campaigns.
    pub campaigns: Vec<CampaignSpec>,
}
