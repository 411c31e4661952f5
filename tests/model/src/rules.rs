//! Rules of programs, in few words.

use stampbook::ledger::command::{Action, AdminAction, Basis, Original};
use stampbook::ledger::ids::AssetNo;
use stampbook::ledger::later::Later;
use stampbook::ledger::spec::{
    AssetKind, AssetSpec, CampaignSpec, DebtPolicy, ExpiryPolicy, Lifetime, OnExhausted, ProgramMore, ProgramSpec,
    Ratio, RoundUp, Rounding, Rule,
};

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds of a day of 24 hours.
pub const DAY: i64 = 86_400 * SECOND;

/// `numerator / denominator`.
pub fn ratio(numerator: u64, denominator: u64) -> Ratio {
    Ratio { numerator, denominator }
}

/// What an event kind earns, rounded down.
pub fn rule(kind: &str, rate: Ratio) -> Rule {
    Rule { kind: kind.to_owned(), rate, rounding: Rounding::Floor, more: Later::default() }
}

/// A campaign for every event kind, at any time, without cap, that clips.
pub fn campaign(id: &str, group: &str, multiplier: Ratio) -> CampaignSpec {
    CampaignSpec {
        id: id.to_owned(),
        start_us: -1_000_000 * DAY,
        end_us: 1_000_000 * DAY,
        kinds: Vec::new(),
        multiplier,
        group: group.to_owned(),
        on_exhausted: OnExhausted::Clip,
        cap: None,
        asset: Later::default(),
    }
}

/// A program in import mode, in pounds and London time.
pub fn program(rules: Vec<Rule>, campaigns: Vec<CampaignSpec>) -> ProgramSpec {
    ProgramSpec {
        name: "High Street Club".to_owned(),
        currency: "GBP".to_owned(),
        time_zone: "Europe/London".to_owned(),
        tz_version: "2026a".to_owned(),
        import_mode: true,
        effective_from_us: None,
        greatest_total: ratio(10, 1),
        rules,
        campaigns,
        more: Later::default(),
    }
}

/// Applies rules, whatever version the program has.
pub fn put(spec: ProgramSpec) -> AdminAction {
    AdminAction::PutProgram { expected_version: None, spec: Box::new(spec), definition: String::new() }
}

/// An earn by spend.
pub fn spend(minor_units: u64, kind: &str) -> Action {
    Action::Earn {
        basis: Basis::Spend(minor_units),
        event_kind: Some(kind.into()),
        asset: AssetNo::POINTS,
        matures: None,
    }
}

/// A refund of money.
pub fn refund(original: Original, minor_units: u64) -> Action {
    Action::Refund { original, basis: Basis::Spend(minor_units), event_kind: None }
}

/// Growth, beside `points`: earned and never spent.
pub const GROWTH: AssetNo = AssetNo(1);
/// Money in a wallet.
pub const WALLET: AssetNo = AssetNo(2);
/// A coupon.
pub const COUPON: AssetNo = AssetNo(3);
/// Stars, which are spent as points are.
pub const STARS: AssetNo = AssetNo(4);

/// The kind of each asset of [`assets`], by number.
pub const KINDS_OF_ASSETS: [AssetKind; 5] =
    [AssetKind::Spendable, AssetKind::Qualifying, AssetKind::StoredValue, AssetKind::Entitlement, AssetKind::Spendable];

/// Five assets of the four kinds, each of which lapses and is taken back as `policy` says of its number.
pub fn assets(mut policy: impl FnMut(usize) -> (ExpiryPolicy, DebtPolicy, Option<u64>)) -> Vec<AssetSpec> {
    let names = [("points", "point"), ("growth", "step"), ("wallet", "penny"), ("coupon", "coupon"), ("stars", "star")];
    let asset = |(number, (id, unit)): (usize, (&str, &str))| {
        let (expiry, debt, debt_max) = policy(number);
        let (id, unit) = (id.to_owned(), unit.to_owned());
        AssetSpec { id, kind: KINDS_OF_ASSETS[number], unit, expiry, debt, debt_max, values: Vec::new() }
    };
    names.into_iter().enumerate().map(asset).collect()
}

/// Units that never lapse.
pub const NEVER: ExpiryPolicy = ExpiryPolicy { lifetime: Lifetime::Never, round_up: RoundUp::Month };

/// Units that live so long, and to the end of their last day.
pub fn living(lifetime: Lifetime) -> ExpiryPolicy {
    ExpiryPolicy { lifetime, round_up: RoundUp::Day }
}

/// What a version of a program says beside rules and campaigns.
pub fn more_of(spec: &ProgramSpec) -> ProgramMore {
    spec.more.as_deref().cloned().unwrap_or_default()
}
