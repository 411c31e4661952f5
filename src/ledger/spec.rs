//! What a program's rules say, resolved: local times are instants, rates exact rationals. Text forms live elsewhere.

use std::sync::LazyLock;

use bincode::{Decode, Encode};

use super::ids::AssetNo;
use super::later::Later;

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
    /// What the first programs did not know.
    pub more: Later<RuleMore>,
}

/// What a rule says beside its first award.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RuleMore {
    /// A second award for the same spend, such as growth.
    pub also: Option<AlsoAward>,
    /// Whether awards are pending at first.
    pub pending: Option<PendingRule>,
}

/// A second award of a rule, in another asset than `points`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AlsoAward {
    /// The asset.
    pub asset: AssetNo,
    /// Units per minor unit of the program's currency.
    pub rate: Ratio,
    /// How it is rounded, once.
    pub rounding: Rounding,
}

/// How long awards of a rule are pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PendingRule {
    /// For so many whole local days after the one of the purchase, from 1.
    Days(u32),
    /// Until they are activated.
    UntilActivated,
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
    /// The asset that it multiplies and gives, where that is not `points`; fixed once the campaign exists.
    pub asset: Later<AssetNo>,
}

impl CampaignSpec {
    /// The asset that it multiplies and gives.
    #[must_use]
    pub fn asset_no(&self) -> AssetNo {
        self.asset.as_deref().copied().unwrap_or_default()
    }
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
    /// What the first programs did not know.
    pub more: Later<ProgramMore>,
}

/// The terms of a program that says nothing of them.
static PLAIN: LazyLock<ProgramMore> = LazyLock::new(ProgramMore::default);

impl ProgramSpec {
    /// What the program says beside rules and campaigns, or what holds where it says nothing.
    #[must_use]
    pub fn terms(&self) -> &ProgramMore {
        self.more.as_deref().unwrap_or(&PLAIN)
    }

    /// An asset by its number.
    #[must_use]
    pub fn asset(&self, number: AssetNo) -> Option<&AssetSpec> {
        self.terms().assets.get(usize::from(number.0))
    }
}

/// What a program says beside rules and campaigns.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProgramMore {
    /// The assets in the order of their numbers: `points` first. A later version may add to them and change all of an asset
    /// but its id and its kind.
    pub assets: Vec<AssetSpec>,
    /// What points are worth when they are set against a price (`Purpose::CashOffset`): only whole units are taken.
    pub offset: Option<Offset>,
    /// Whole local days that units get which come back from a reversal after they had lapsed; 0: they go on to breakage.
    pub grace_days: u32,
    /// Days that a hold may last at most, 1 to [`HOLD_DAYS_MAX`].
    pub hold_days_max: u32,
    /// What its units may be turned into in other programs, at most [`CONVERSIONS_MAX`]; no two have program and assets alike.
    pub conversions: Vec<ConversionRate>,
    /// The ids of the programs whose units may be turned into units of this one, at most [`CONVERSIONS_MAX`].
    pub accepts_from: Vec<String>,
}

/// What units of an asset come to in another program: so many for so many.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ConversionRate {
    /// The id of the other program.
    pub to: String,
    /// The asset given, spendable.
    pub asset: AssetNo,
    /// The id of the asset received, in the other program.
    pub to_asset: String,
    /// Units given, from 1 ...
    pub units: u64,
    /// ... for so many received, from 1.
    pub to_units: u64,
}

/// Conversions that a version of a program may list, and programs that it may accept units from.
pub const CONVERSIONS_MAX: usize = 32;

/// Days that a hold may last at most.
pub const HOLD_DAYS_MAX: u32 = 30;
/// Assets that a program may have.
pub const ASSETS_MAX: usize = 32;

/// What kind of thing an asset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum AssetKind {
    /// Points: earned, spent, expiring.
    Spendable,
    /// Growth: earned, qualifies for tiers, never spent.
    Qualifying,
    /// Money in minor units: topped up, spent principal first.
    StoredValue,
    /// Coupons, deliveries, badges: granted, used.
    Entitlement,
}

/// What happens when more is to be taken back than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum DebtPolicy {
    /// The member owes it, up to a limit.
    Debt,
    /// It is let go; what was asked counts as taken.
    Clamp,
    /// The whole is refused.
    Reject,
}

/// An asset of a program.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AssetSpec {
    /// Its id within the program: 1 to 64 bytes of a-z, 0-9, '.', '_' and '-'.
    pub id: String,
    /// What kind of thing it is.
    pub kind: AssetKind,
    /// What one of it is called, such as `point`.
    pub unit: String,
    /// When its units lapse.
    pub expiry: ExpiryPolicy,
    /// What happens when more is to be taken back than there is.
    pub debt: DebtPolicy,
    /// The most that a member may owe under [`DebtPolicy::Debt`]; `None`: as much as it takes.
    pub debt_max: Option<u64>,
    /// What it is worth, in order of time; none: nothing.
    pub values: Vec<FairValue>,
}

/// What a unit of an asset is worth to the books from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FairValue {
    /// From when, microseconds since the Unix epoch; `i64::MIN`: always.
    pub from_us: i64,
    /// Minor units of the program's currency a unit.
    pub minor_per_unit: Ratio,
    /// How much of what is issued is expected to be redeemed, in basis points, up to 10,000.
    pub redeemed_bp: u16,
}

/// What points are worth against a price: so many for so many minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Offset {
    /// Points, from 1.
    pub points: u64,
    /// Minor units of the program's currency, from 1.
    pub minor: u64,
}

/// How long units live, before rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Lifetime {
    /// For ever.
    Never,
    /// So many days from the local date of the earn.
    Days(u32),
    /// So many months from the local date of the earn, clamped to the month's end.
    Months(u32),
    /// Until an instant, microseconds since the Unix epoch.
    Until(i64),
    /// So many days from the local date of the member's last activity.
    RollingDays(u32),
    /// So many months from the local date of the member's last activity.
    RollingMonths(u32),
}

/// What the last day of units is rounded up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RoundUp {
    /// The day itself.
    Day,
    /// The last day of its month: the default.
    Month,
    /// The last day of its quarter.
    Quarter,
    /// The last day of its year.
    Year,
}

/// When units of an asset lapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ExpiryPolicy {
    /// How long they live.
    pub lifetime: Lifetime,
    /// What their last day is rounded up to.
    pub round_up: RoundUp,
}

impl DebtPolicy {
    /// What holds where an asset of that kind names no policy. A coupon that is used is used, so nobody owes one. Of money,
    /// whoever pays cash back must hear beforehand that the member no longer has it: it is neither let go nor owed unasked.
    #[must_use]
    pub fn usual(kind: AssetKind) -> Self {
        match kind {
            AssetKind::Spendable | AssetKind::Qualifying => Self::Debt,
            AssetKind::StoredValue => Self::Reject,
            AssetKind::Entitlement => Self::Clamp,
        }
    }
}

impl AssetSpec {
    /// `points` as a program has them that says nothing of assets: they never lapse, and what refunds cannot take is owed.
    #[must_use]
    pub fn points() -> Self {
        Self {
            id: "points".to_owned(),
            kind: AssetKind::Spendable,
            unit: "point".to_owned(),
            expiry: ExpiryPolicy { lifetime: Lifetime::Never, round_up: RoundUp::Month },
            debt: DebtPolicy::Debt,
            debt_max: None,
            values: Vec::new(),
        }
    }
}

impl Default for ProgramMore {
    fn default() -> Self {
        Self {
            assets: vec![AssetSpec::points()],
            offset: None,
            grace_days: 0,
            hold_days_max: HOLD_DAYS_MAX,
            conversions: Vec::new(),
            accepts_from: Vec::new(),
        }
    }
}
