//! Doubts about rules that are sound: what they come to is seldom what their author meant.

use super::check::Places;
use super::read::Remarks;
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::{AssetKind, CampaignSpec, Lifetime, PendingRule, ProgramSpec, Ratio, Rule};

/// Minor units in the unit that a rate is thought of in, as in most currencies.
const MINOR_PER_UNIT: u64 = 100;

/// Notes every doubt about the rules.
pub(super) fn program(spec: &ProgramSpec, places: &Places, remarks: &mut Remarks<'_>) {
    assets(spec, places, remarks);
    pending(spec, places, remarks);
    for (campaign, place) in spec.campaigns.iter().zip(&places.campaigns) {
        let field = format!("{}.multiplier", place.path);
        let ratio = campaign.multiplier;
        if ratio.numerator == ratio.denominator {
            remarks.warn(place.offset, &field, "is 1: the campaign never awards a bonus");
        }
        if exceeds(ratio, spec.greatest_total) {
            remarks.warn(place.offset, &field, "is over greatest_total, which bounds every award");
        }
        let asset = campaign.asset_no();
        let unit = spec.asset(asset).map_or("points", |asset| &asset.id);
        let parts: Vec<_> = spec.rules.iter().filter(|rule| takes_part(campaign, rule)).collect();
        if parts.iter().all(|rule| rate_in(rule, asset).is_none()) {
            let text = format!("is {unit:?}, which no event kind of the campaign earns by spend");
            remarks.warn(place.offset, &format!("{}.asset", place.path), text);
        }
        for rule in parts {
            if let Some(minor) = rate_in(rule, asset).and_then(|rate| spend_without_bonus(rate, ratio)) {
                let text = format!(
                    "a {} earns too few {unit} for a fraction of them: the bonus is 0 for spends under {minor} minor units",
                    rule.kind
                );
                remarks.warn(place.offset, &field, text);
            }
        }
    }
}

fn takes_part(campaign: &CampaignSpec, rule: &Rule) -> bool {
    campaign.kinds.is_empty() || campaign.kinds.contains(&rule.kind)
}

/// At what rate a rule awards an asset by spend, if it does.
fn rate_in(rule: &Rule, asset: AssetNo) -> Option<Ratio> {
    match asset {
        AssetNo::POINTS => Some(rule.rate),
        _ => rule.more.as_deref()?.also.filter(|also| also.asset == asset).map(|also| also.rate),
    }
}

fn assets(spec: &ProgramSpec, places: &Places, remarks: &mut Remarks<'_>) {
    let numbered = (0..=u8::MAX).map(AssetNo).zip(&spec.terms().assets);
    for ((number, asset), place) in numbered.zip(&places.assets) {
        let Some(place) = place else { continue };
        let earns = |rule: &Rule| rate_in(rule, number).is_some_and(|rate| rate.numerator > 0);
        let earnable = matches!(asset.kind, AssetKind::Spendable | AssetKind::Qualifying);
        if earnable && !spec.rules.iter().any(earns) {
            let text = "is earned by no rule: members get it from commands that name it alone";
            remarks.warn(place.offset, &place.path, text);
        }
        let valued = matches!(asset.kind, AssetKind::Spendable | AssetKind::StoredValue);
        if valued && asset.values.is_empty() {
            let text = "is missing: what members hold of it is worth nothing in the books";
            remarks.warn(place.offset, &format!("{}.values", place.path), text);
        }
    }
}

/// Units that lapse before they are available are lost to the member.
fn pending(spec: &ProgramSpec, places: &Places, remarks: &mut Remarks<'_>) {
    for (rule, place) in spec.rules.iter().zip(&places.rules) {
        let Some(PendingRule::Days(days)) = rule.more.as_deref().and_then(|more| more.pending) else { continue };
        for (number, asset) in (0..=u8::MAX).map(AssetNo).zip(&spec.terms().assets) {
            let shortest = shortest_days(asset.expiry.lifetime);
            if rate_in(rule, number).is_some() && shortest.is_some_and(|shortest| shortest <= days) {
                let text =
                    format!("is no shorter than {} may live: they may lapse before they are available", asset.id);
                remarks.warn(place.offset, &format!("{}.pending", place.path), text);
            }
        }
    }
}

/// The least number of days that a span comes to, not rounded; up to a week fewer for many months.
fn shortest_days(lifetime: Lifetime) -> Option<u32> {
    match lifetime {
        Lifetime::Days(days) | Lifetime::RollingDays(days) => Some(days),
        Lifetime::Months(months) | Lifetime::RollingMonths(months) => Some(months.saturating_mul(30).saturating_sub(2)),
        Lifetime::Never | Lifetime::Until(_) => None,
    }
}

fn exceeds(a: Ratio, b: Ratio) -> bool {
    u128::from(a.numerator) * u128::from(b.denominator) > u128::from(b.numerator) * u128::from(a.denominator)
}

/// The least spend that earns a bonus, rounding down, where the steps are coarse: a rate under one point a unit of the
/// currency, and a multiplier that adds less than the base again.
fn spend_without_bonus(rate: Ratio, multiplier: Ratio) -> Option<u128> {
    let coarse = rate.numerator.saturating_mul(MINOR_PER_UNIT) < rate.denominator;
    let extra = multiplier.numerator.saturating_sub(multiplier.denominator);
    if !coarse || rate.numerator == 0 || extra == 0 || extra >= multiplier.denominator {
        return None;
    }
    let base_least = u128::from(multiplier.denominator.div_ceil(extra));
    Some((base_least * u128::from(rate.denominator)).div_ceil(u128::from(rate.numerator)))
}
