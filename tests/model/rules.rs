//! Rules of programs, in few words.

use stampbook::ledger::command::{Action, AdminAction, Basis, Original};
use stampbook::ledger::spec::{CampaignSpec, OnExhausted, ProgramSpec, Ratio, Rounding, Rule};

/// Microseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds of a day of 24 hours.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// `numerator / denominator`.
pub(crate) fn ratio(numerator: u64, denominator: u64) -> Ratio {
    Ratio { numerator, denominator }
}

/// What an event kind earns, rounded down.
pub(crate) fn rule(kind: &str, rate: Ratio) -> Rule {
    Rule { kind: kind.to_owned(), rate, rounding: Rounding::Floor }
}

/// A campaign for every event kind, at any time, without cap, that clips.
pub(crate) fn campaign(id: &str, group: &str, multiplier: Ratio) -> CampaignSpec {
    CampaignSpec {
        id: id.to_owned(),
        start_us: -1_000_000 * DAY,
        end_us: 1_000_000 * DAY,
        kinds: Vec::new(),
        multiplier,
        group: group.to_owned(),
        on_exhausted: OnExhausted::Clip,
        cap: None,
    }
}

/// A program in import mode, in pounds and London time.
pub(crate) fn program(rules: Vec<Rule>, campaigns: Vec<CampaignSpec>) -> ProgramSpec {
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
    }
}

/// Applies rules, whatever version the program has.
pub(crate) fn put(spec: ProgramSpec) -> AdminAction {
    AdminAction::PutProgram { expected_version: None, spec: Box::new(spec), definition: String::new() }
}

/// An earn by spend.
pub(crate) fn spend(minor_units: u64, kind: &str) -> Action {
    Action::Earn { basis: Basis::Spend(minor_units), event_kind: Some(kind.to_owned()) }
}

/// A refund of money.
pub(crate) fn refund(original: Original, minor_units: u64) -> Action {
    Action::Refund { original, basis: Basis::Spend(minor_units), event_kind: None }
}
