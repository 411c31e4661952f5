//! What a purchase earns: base, and each campaign's bonus. Pure arithmetic on exact rationals, used alike to decide an
//! award and, by the verifier, to prove it.

use arrayvec::ArrayVec;

use super::event::{CapUse, Share, WINNERS_MAX};
use super::ids::{AssetNo, CampaignNo};
use super::list::List;
use super::reason::Reason;
use super::spec::{OnExhausted, Ratio, Rounding};

/// The most points or minor units that one command may speak of, and the most that its base award may come to.
pub const POINTS_MAX: u64 = 1_000_000_000_000;

/// A campaign that may take part in an award.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'s> {
    /// Its number.
    pub campaign: CampaignNo,
    /// The asset that it gives.
    pub asset: AssetNo,
    /// Its id, which settles ties.
    pub id: &'s str,
    /// Its stacking group.
    pub group: &'s str,
    /// Its multiplier, at least 1.
    pub multiplier: Ratio,
    /// Points left in its budget.
    pub budget_left: u64,
    /// The member's cap and the room that it leaves, if there is a cap.
    pub cap: Option<CapUse>,
    /// What it does when its budget is short.
    pub on_exhausted: OnExhausted,
}

/// The award of `amount_minor` at a rate, rounded once; `None` where it is over [`POINTS_MAX`].
#[must_use]
pub fn base(rate: Ratio, rounding: Rounding, amount_minor: u64) -> Option<u64> {
    let product = u128::from(amount_minor).checked_mul(u128::from(rate.numerator))?;
    let denominator = u128::from(rate.denominator);
    let floor = product.checked_div(denominator)?;
    let rest = product.checked_rem(denominator)?;
    let up = match rounding {
        Rounding::Floor => false,
        Rounding::HalfUp => rest.checked_mul(2)? >= denominator,
        Rounding::Ceiling => rest > 0,
    };
    let points = u64::try_from(floor.checked_add(u128::from(up))?).ok()?;
    (points <= POINTS_MAX).then_some(points)
}

/// floor(base x (m - 1)).
fn bonus_of(base: u64, numerator: u128, denominator: u128) -> Option<u64> {
    let over = numerator.checked_sub(denominator)?;
    u64::try_from(u128::from(base).checked_mul(over)?.checked_div(denominator)?).ok()
}

fn potential(base: u64, candidate: &Candidate<'_>) -> Option<u64> {
    let m = candidate.multiplier;
    let alone = bonus_of(base, u128::from(m.numerator), u128::from(m.denominator))?;
    Some(alone.min(candidate.budget_left).min(candidate.cap.map_or(u64::MAX, |cap| cap.room)))
}

/// The winner of each group among the campaigns that give an asset, in order of id. `None` where an award overflows or there
/// are too many groups.
fn winners<'c, 's>(
    base: u64,
    asset: AssetNo,
    candidates: &'c [Candidate<'s>],
) -> Option<ArrayVec<&'c Candidate<'s>, WINNERS_MAX>> {
    let mut best: ArrayVec<(&Candidate<'s>, u64), WINNERS_MAX> = ArrayVec::new();
    for candidate in candidates.iter().filter(|candidate| candidate.asset == asset) {
        let reach = potential(base, candidate)?;
        match best.iter_mut().find(|(winner, _)| winner.group == candidate.group) {
            Some(place) => {
                let better = reach > place.1 || (reach == place.1 && candidate.id < place.0.id);
                if better {
                    *place = (candidate, reach);
                }
            }
            None => best.try_push((candidate, reach)).ok()?,
        }
    }
    best.sort_unstable_by_key(|(winner, _)| winner.id);
    Some(best.into_iter().map(|(winner, _)| winner).collect())
}

/// min(greatest, product of the winners' multipliers), as numerator and denominator; `None` where they overflow.
pub fn total_multiplier(winners: impl Iterator<Item = Ratio>, greatest: Ratio) -> Option<(u128, u128)> {
    let limit = (u128::from(greatest.numerator), u128::from(greatest.denominator));
    let mut total = (1_u128, 1_u128);
    for multiplier in winners {
        total.0 = total.0.checked_mul(u128::from(multiplier.numerator))?;
        total.1 = total.1.checked_mul(u128::from(multiplier.denominator))?;
        // Each multiplier is at least 1, so what has reached the limit stays there, and the numbers stay small.
        if total.0.checked_mul(limit.1)? >= limit.0.checked_mul(total.1)? {
            return Some(limit);
        }
    }
    Some(total)
}

/// Splits the bonus by largest remainder on (m - 1), ties to the smaller id; `winners` are in order of id.
fn split(bonus: u64, winners: &[&Candidate<'_>]) -> Option<ArrayVec<u64, WINNERS_MAX>> {
    if winners.len() < 2 {
        return Some(winners.iter().map(|_| bonus).collect());
    }
    let common = winners.iter().try_fold(1_u128, |d, w| d.checked_mul(u128::from(w.multiplier.denominator)))?;
    let mut weights: ArrayVec<u128, WINNERS_MAX> = ArrayVec::new();
    for winner in winners {
        let denominator = u128::from(winner.multiplier.denominator);
        let over = u128::from(winner.multiplier.numerator).checked_sub(denominator)?;
        weights.push(over.checked_mul(common.checked_div(denominator)?)?);
    }
    let sum = weights.iter().try_fold(0_u128, |s, w| s.checked_add(*w))?;
    if sum == 0 {
        return Some(winners.iter().map(|_| 0).collect());
    }
    let mut parts: ArrayVec<(u64, u128), WINNERS_MAX> = ArrayVec::new();
    for weight in &weights {
        let product = u128::from(bonus).checked_mul(*weight)?;
        parts.push((u64::try_from(product / sum).ok()?, product % sum));
    }
    let given = parts.iter().try_fold(0_u64, |s, (part, _)| s.checked_add(*part))?;
    for _ in 0..bonus.checked_sub(given)? {
        // The first of the greatest remainders: the smaller id.
        let mut next: Option<&mut (u64, u128)> = None;
        for part in &mut parts {
            if next.as_ref().is_none_or(|best| part.1 > best.1) {
                next = Some(part);
            }
        }
        let (part, rest) = next?;
        *part = part.checked_add(1)?;
        *rest = 0;
    }
    Some(parts.into_iter().map(|(part, _)| part).collect())
}

/// A campaign's share after its cap and its budget.
fn clip(desired: u64, winner: &Candidate<'_>) -> Share {
    let room = winner.cap.map_or(u64::MAX, |cap| cap.room);
    let awarded = desired.min(room).min(winner.budget_left);
    let reason = match awarded < desired {
        true if winner.budget_left < room => Some(Reason::CampaignBudgetExhausted),
        true => Some(Reason::CapReached),
        false => None,
    };
    let exhausted = reason == Some(Reason::CampaignBudgetExhausted);
    Share {
        campaign: winner.campaign,
        awarded,
        short: desired.saturating_sub(awarded),
        reason,
        stopped: exhausted && winner.on_exhausted == OnExhausted::Stop,
        cap: winner.cap,
    }
}

/// The shares in an award of `base` units of an asset, of the campaigns that give it. `None` where the award overflows.
#[must_use]
pub fn shares(
    base: u64,
    greatest: Ratio,
    asset: AssetNo,
    candidates: &[Candidate<'_>],
) -> Option<List<Share, WINNERS_MAX>> {
    let winners = winners(base, asset, candidates)?;
    if winners.is_empty() {
        return Some(List::default());
    }
    let (numerator, denominator) = total_multiplier(winners.iter().map(|winner| winner.multiplier), greatest)?;
    let bonus = bonus_of(base, numerator, denominator)?;
    let parts = split(bonus, &winners)?;
    Some(List(parts.iter().zip(&winners).map(|(desired, winner)| clip(*desired, winner)).collect()))
}
