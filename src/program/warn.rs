//! Doubts about rules that are sound: what they come to is seldom what their author meant.

use super::check::Place;
use super::read::Remarks;
use crate::ledger::spec::{CampaignSpec, ProgramSpec, Ratio, Rule};

/// Minor units in the unit that a rate is thought of in, as in most currencies.
const MINOR_PER_UNIT: u64 = 100;

/// Notes every doubt about the rules. `places` are those of the campaigns, in their order.
pub(super) fn program(spec: &ProgramSpec, places: &[Place], remarks: &mut Remarks<'_>) {
    for (campaign, place) in spec.campaigns.iter().zip(places) {
        let field = format!("{}.multiplier", place.path);
        let ratio = campaign.multiplier;
        if ratio.numerator == ratio.denominator {
            remarks.warn(place.offset, &field, "is 1: the campaign never awards a bonus");
        }
        if exceeds(ratio, spec.greatest_total) {
            remarks.warn(place.offset, &field, "is over greatest_total, which bounds every award");
        }
        for rule in spec.rules.iter().filter(|rule| takes_part(campaign, rule)) {
            if let Some(minor) = spend_without_bonus(rule.rate, ratio) {
                let text = format!(
                    "a {} earns too few points for a fraction of them: the bonus is 0 for spends under {minor} minor units",
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
