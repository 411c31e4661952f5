//! What a program says, in words and as JSON.

use serde_json::{Value, json};
use stampbook::proto::event_rule::Pending;
use stampbook::proto::expiry_policy::Lifetime;
use stampbook::proto::{
    Asset, ConversionRate, EventRule, ExpiryPolicy, FairValue, OnShortfall, Program, Rational, RoundUp,
};

use super::remote::{instant, short};

/// A name of the contract as a definition writes it.
fn word(name: &str, prefix: &str) -> String {
    short(name, prefix).to_lowercase()
}

/// A line for each asset, one for the rest that bears on them all, one for each conversion, and one for whose units are taken, each
/// behind a line's end.
pub(super) fn lines(program: &Program) -> String {
    let assets = program.assets.iter().map(asset_line);
    let mut rest = format!("holds last at most {} days", program.hold_days_max);
    if program.grace_days > 0 {
        rest = format!("{rest}, what comes back lapsed lives {} days more", program.grace_days);
    }
    if let Some(offset) = program.offset {
        rest = format!("{rest}, {} points offset {} minor units", offset.points, offset.minor);
    }
    let conversions = program.conversions.iter().map(conversion_line);
    let accepted = (!program.accepts_from.is_empty())
        .then(|| format!("takes units of {} that are turned into its own", program.accepts_from.join(", ")));
    assets.chain([rest]).chain(conversions).chain(accepted).map(|line| format!("\n  {line}")).collect()
}

fn conversion_line(rate: &ConversionRate) -> String {
    let ConversionRate { to_program, asset, to_asset, units, to_units } = rate;
    format!("{units} {asset} become {to_units} {to_asset} of {to_program}")
}

fn conversion_json(rate: &ConversionRate) -> Value {
    let ConversionRate { to_program, asset, to_asset, units, to_units } = rate;
    json!({ "to_program": to_program, "asset": asset, "to_asset": to_asset, "units": units, "to_units": to_units })
}

fn asset_line(asset: &Asset) -> String {
    let life = asset.expiry.as_ref().map_or_else(|| "never lapses".to_owned(), life);
    let most = asset.debt_max.map(|most| format!(" up to {most}")).unwrap_or_default();
    let shortfall = match asset.on_shortfall() {
        OnShortfall::Debt | OnShortfall::Unspecified => "owed",
        OnShortfall::Clamp => "let go",
        OnShortfall::Reject => "refused",
    };
    let kind = word(asset.kind().as_str_name(), "ASSET_KIND_");
    let worth: String = asset.values.iter().map(worth).collect();
    format!("{}: {kind}, {life}, a shortfall is {shortfall}{most}{worth}", asset.id)
}

fn life(expiry: &ExpiryPolicy) -> String {
    let since = if expiry.rolling { " of inactivity" } else { "" };
    let life = match expiry.lifetime {
        Some(Lifetime::Days(days)) => format!("lapses after {days} days{since}"),
        Some(Lifetime::Months(months)) => format!("lapses after {months} months{since}"),
        Some(Lifetime::UntilUs(us)) => format!("lapses at {}", instant(us)),
        None => return "never lapses".to_owned(),
    };
    match expiry.round_up() {
        RoundUp::Day | RoundUp::Unspecified => life,
        span => format!("{life} with the end of that {}", word(span.as_str_name(), "ROUND_UP_")),
    }
}

fn worth(value: &FairValue) -> String {
    let Rational { numerator, denominator } = value.minor_per_unit.unwrap_or_default();
    let minor = if denominator == 1 { numerator.to_string() } else { format!("{numerator}/{denominator}") };
    let from = value.from_us.map(|us| format!("from {} ", instant(us))).unwrap_or_default();
    let (whole, part) = (value.redeemed_basis_points / 100, value.redeemed_basis_points % 100);
    format!(", {from}worth {minor} minor at {whole}.{part:02}% redeemed")
}

/// The fields of a program that say what it counts and awards.
pub(super) fn json(program: &Program) -> Value {
    json!({
        "assets": program.assets.iter().map(asset_json).collect::<Value>(),
        "offset": program.offset.map(|offset| json!({ "points": offset.points, "minor": offset.minor })),
        "grace_days": program.grace_days,
        "hold_days_max": program.hold_days_max,
        "conversions": program.conversions.iter().map(conversion_json).collect::<Value>(),
        "accepts_from": program.accepts_from,
        "event_rules": program.rules.iter().map(rule_json).collect::<Value>(),
    })
}

fn asset_json(asset: &Asset) -> Value {
    let value = |value: &FairValue| {
        json!({
            "from_us": value.from_us,
            "minor_per_unit": value.minor_per_unit.map(ratio_json),
            "redeemed_basis_points": value.redeemed_basis_points,
        })
    };
    json!({
        "id": asset.id,
        "kind": word(asset.kind().as_str_name(), "ASSET_KIND_"),
        "unit": asset.unit,
        "expiry": asset.expiry.as_ref().map(expiry_json),
        "on_shortfall": word(asset.on_shortfall().as_str_name(), "ON_SHORTFALL_"),
        "debt_max": asset.debt_max,
        "values": asset.values.iter().map(value).collect::<Value>(),
    })
}

fn expiry_json(expiry: &ExpiryPolicy) -> Value {
    let (name, number) = match expiry.lifetime {
        Some(Lifetime::Days(days)) => ("days", i64::from(days)),
        Some(Lifetime::Months(months)) => ("months", i64::from(months)),
        Some(Lifetime::UntilUs(us)) => ("until_us", us),
        None => return Value::Null,
    };
    let round_up = word(expiry.round_up().as_str_name(), "ROUND_UP_");
    json!({ name: number, "rolling": expiry.rolling, "round_up": round_up })
}

fn ratio_json(ratio: Rational) -> Value {
    json!({ "numerator": ratio.numerator, "denominator": ratio.denominator })
}

fn rule_json(rule: &EventRule) -> Value {
    let also = rule.also.as_ref().map(|also| {
        json!({
            "asset": also.asset,
            "units_per_minor": also.units_per_minor.map(ratio_json),
            "rounding": word(also.rounding().as_str_name(), "ROUNDING_"),
        })
    });
    let pending = rule.pending.map(|pending| match pending {
        Pending::PendingDays(days) => json!({ "days": days }),
        Pending::PendingUntilActivated(_) => json!({ "until": "activated" }),
    });
    json!({
        "event_kind": rule.event_kind,
        "points_per_minor": rule.points_per_minor.map(ratio_json),
        "rounding": word(rule.rounding().as_str_name(), "ROUNDING_"),
        "also": also,
        "pending": pending,
    })
}
