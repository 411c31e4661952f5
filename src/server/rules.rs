//! Programs and campaigns as readers are shown them.

use super::receipt::points;
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::{
    AssetKind, AssetSpec, Cap, CapPer, ConversionRate, DebtPolicy, FairValue, Lifetime, OnExhausted, PendingRule,
    ProgramSpec, Ratio, RoundUp, Rounding, Rule,
};
use crate::ledger::view::{CampaignStatus, CampaignView, ProgramView, RewardView};
use crate::proto as pb;

/// A program.
#[must_use]
pub fn program(view: &ProgramView) -> pb::Program {
    let terms = view.spec.terms();
    pb::Program {
        id: view.id.clone(),
        version: view.version.0,
        effective_from_us: Some(view.effective_from_us).filter(|us| *us != i64::MIN),
        definition: view.definition.to_string(),
        name: view.spec.name.clone(),
        currency: view.spec.currency.clone(),
        time_zone: view.spec.time_zone.clone(),
        tz_version: view.spec.tz_version.clone(),
        import: view.spec.import_mode,
        greatest_total: Some(rational(view.spec.greatest_total)),
        rules: view.spec.rules.iter().map(|one| rule(&view.spec, one)).collect(),
        assets: terms.assets.iter().map(asset).collect(),
        offset: terms.offset.map(|o| pb::OffsetRate { points: points(o.points), minor: points(o.minor) }),
        grace_days: terms.grace_days,
        hold_days_max: terms.hold_days_max,
        closed_until_us: view.closings.last().map(|closing| closing.until_us),
        conversions: terms.conversions.iter().map(|rate| conversion(&view.spec, rate)).collect(),
        accepts_from: terms.accepts_from.clone(),
    }
}

fn conversion(spec: &ProgramSpec, rate: &ConversionRate) -> pb::ConversionRate {
    pb::ConversionRate {
        to_program: rate.to.clone(),
        asset: asset_id(spec, rate.asset),
        to_asset: rate.to_asset.clone(),
        units: points(rate.units),
        to_units: points(rate.to_units),
    }
}

fn asset(asset: &AssetSpec) -> pb::Asset {
    let kind = match asset.kind {
        AssetKind::Spendable => pb::AssetKind::Spendable,
        AssetKind::Qualifying => pb::AssetKind::Qualifying,
        AssetKind::StoredValue => pb::AssetKind::StoredValue,
        AssetKind::Entitlement => pb::AssetKind::Entitlement,
    };
    let on_shortfall = match asset.debt {
        DebtPolicy::Debt => pb::OnShortfall::Debt,
        DebtPolicy::Clamp => pb::OnShortfall::Clamp,
        DebtPolicy::Reject => pb::OnShortfall::Reject,
    };
    let round_up = match asset.expiry.round_up {
        RoundUp::Day => pb::RoundUp::Day,
        RoundUp::Month => pb::RoundUp::Month,
        RoundUp::Quarter => pb::RoundUp::Quarter,
        RoundUp::Year => pb::RoundUp::Year,
    };
    let policy =
        |lifetime, rolling| Some(pb::ExpiryPolicy { lifetime: Some(lifetime), rolling, round_up: round_up.into() });
    use pb::expiry_policy::Lifetime as Shown;
    let expiry = match asset.expiry.lifetime {
        Lifetime::Never => None,
        Lifetime::Days(days) => policy(Shown::Days(days), false),
        Lifetime::Months(months) => policy(Shown::Months(months), false),
        Lifetime::Until(us) => policy(Shown::UntilUs(us), false),
        Lifetime::RollingDays(days) => policy(Shown::Days(days), true),
        Lifetime::RollingMonths(months) => policy(Shown::Months(months), true),
    };
    pb::Asset {
        id: asset.id.clone(),
        kind: kind.into(),
        unit: asset.unit.clone(),
        expiry,
        on_shortfall: on_shortfall.into(),
        debt_max: asset.debt_max.map(points),
        values: asset.values.iter().map(fair_value).collect(),
    }
}

fn fair_value(value: &FairValue) -> pb::FairValue {
    pb::FairValue {
        from_us: Some(value.from_us).filter(|us| *us != i64::MIN),
        minor_per_unit: Some(rational(value.minor_per_unit)),
        redeemed_basis_points: value.redeemed_bp.into(),
    }
}

fn asset_id(spec: &ProgramSpec, asset: AssetNo) -> String {
    spec.asset(asset).map(|asset| asset.id.clone()).unwrap_or_default()
}

fn rounding(rounding: Rounding) -> i32 {
    let shown = match rounding {
        Rounding::Floor => pb::Rounding::Floor,
        Rounding::HalfUp => pb::Rounding::HalfUp,
        Rounding::Ceiling => pb::Rounding::Ceiling,
    };
    shown.into()
}

fn rule(spec: &ProgramSpec, rule: &Rule) -> pb::EventRule {
    let more = rule.more.as_deref();
    let also = more.and_then(|more| more.also).map(|also| pb::AlsoAward {
        asset: asset_id(spec, also.asset),
        units_per_minor: Some(rational(also.rate)),
        rounding: rounding(also.rounding),
    });
    let pending = more.and_then(|more| more.pending).map(|pending| match pending {
        PendingRule::Days(days) => pb::event_rule::Pending::PendingDays(days),
        PendingRule::UntilActivated => pb::event_rule::Pending::PendingUntilActivated(true),
    });
    pb::EventRule {
        event_kind: rule.kind.clone(),
        points_per_minor: Some(rational(rule.rate)),
        rounding: rounding(rule.rounding),
        also,
        pending,
    }
}

/// A campaign.
#[must_use]
pub fn campaign(view: &CampaignView) -> pb::Campaign {
    let status = match view.status {
        CampaignStatus::Open => pb::CampaignStatus::Open,
        CampaignStatus::Paused => pb::CampaignStatus::Paused,
        CampaignStatus::Stopped => pb::CampaignStatus::Stopped,
        CampaignStatus::Closed => pb::CampaignStatus::Closed,
    };
    let on_exhausted = match view.spec.on_exhausted {
        OnExhausted::Clip => pb::OnExhausted::Clip,
        OnExhausted::Stop => pb::OnExhausted::Stop,
    };
    pb::Campaign {
        id: view.spec.id.clone(),
        status: status.into(),
        in_force: view.in_force,
        start_us: view.spec.start_us,
        end_us: view.spec.end_us,
        multiplier: Some(rational(view.spec.multiplier)),
        group: view.spec.group.clone(),
        event_kinds: view.spec.kinds.clone(),
        on_exhausted: on_exhausted.into(),
        cap: view.spec.cap.map(cap),
        funded: view.funded,
        left: view.left,
        awarded: view.awarded,
        asset: view.asset.clone(),
    }
}

/// A reward as readers are shown it.
#[must_use]
pub fn reward(view: &RewardView) -> pb::Reward {
    pb::Reward {
        id: view.sku.clone(),
        name: view.name.clone(),
        asset: view.asset.clone(),
        price: points(view.price),
        open: view.open,
        left: view.left,
        reserved: view.reserved,
    }
}

fn cap(cap: Cap) -> pb::Cap {
    let period = match cap.per {
        CapPer::Campaign => pb::CapPeriod::Campaign,
        CapPer::Day => pb::CapPeriod::Day,
        CapPer::Week => pb::CapPeriod::Week,
        CapPer::Month => pb::CapPeriod::Month,
    };
    pb::Cap { points: points(cap.points), period: period.into() }
}

fn rational(ratio: Ratio) -> pb::Rational {
    pb::Rational { numerator: points(ratio.numerator), denominator: points(ratio.denominator) }
}
