//! What an earn comes to, by the book of rules: exact fractions, sorted lists, nothing clever.

use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{Ratio, Rounding};

use super::book::Part;

/// The most that one command may speak of, and that a base award may come to.
pub const AMOUNT_MAX: i128 = 1_000_000_000_000;

/// A campaign that takes part, and what it has to give to this member.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub id: String,
    pub group: String,
    pub multiplier: Ratio,
    pub budget_left: i128,
    pub cap_room: Option<i128>,
}

fn fraction(ratio: Ratio) -> (i128, i128) {
    (ratio.numerator.into(), ratio.denominator.into())
}

/// The award of a sum of money at a rate.
pub fn of_spend(rate: Ratio, rounding: Rounding, minor_units: i128) -> i128 {
    let (numerator, denominator) = fraction(rate);
    let exact = minor_units * numerator;
    match rounding {
        Rounding::Floor => exact.div_euclid(denominator),
        Rounding::HalfUp => (2 * exact + denominator).div_euclid(2 * denominator),
        Rounding::Ceiling => -(-exact).div_euclid(denominator),
    }
}

/// The bonus of `base` points under one multiplier.
fn bonus(base: i128, (numerator, denominator): (i128, i128)) -> i128 {
    base * (numerator - denominator) / denominator
}

/// What the campaign could award if it were the only one.
fn reach(base: i128, candidate: &Candidate) -> i128 {
    let alone = bonus(base, fraction(candidate.multiplier));
    alone.min(candidate.budget_left).min(candidate.cap_room.unwrap_or(i128::MAX))
}

/// The campaigns that win their groups, by id.
fn winners(base: i128, candidates: &[Candidate]) -> Vec<Candidate> {
    let mut best_first = candidates.to_vec();
    best_first.sort_by(|a, b| reach(base, b).cmp(&reach(base, a)).then_with(|| a.id.cmp(&b.id)));
    let mut winners: Vec<Candidate> = Vec::new();
    for candidate in best_first {
        if winners.iter().all(|winner| winner.group != candidate.group) {
            winners.push(candidate);
        }
    }
    winners.sort_by(|a, b| a.id.cmp(&b.id));
    winners
}

/// The parts of `bonus` in the proportion of what each multiplier adds: whole parts first, then the points that are left,
/// one each, to the largest remainders.
fn split(bonus: i128, winners: &[Candidate]) -> Vec<i128> {
    let common: i128 = winners.iter().map(|winner| fraction(winner.multiplier).1).product();
    let weights: Vec<i128> = winners
        .iter()
        .map(|winner| {
            let (numerator, denominator) = fraction(winner.multiplier);
            (numerator - denominator) * (common / denominator)
        })
        .collect();
    let sum: i128 = weights.iter().sum();
    if sum == 0 {
        return vec![0; winners.len()];
    }
    let mut parts: Vec<i128> = weights.iter().map(|weight| bonus * weight / sum).collect();
    let mut order: Vec<usize> = (0..winners.len()).collect();
    order.sort_by_key(|at| (-(bonus * weights[*at] % sum), winners[*at].id.clone()));
    let left = usize::try_from(bonus - parts.iter().sum::<i128>()).unwrap();
    for at in order.into_iter().take(left) {
        parts[at] += 1;
    }
    parts
}

/// The campaigns' parts in an award of `base` points, by id.
pub fn parts(base: i128, greatest_total: Ratio, candidates: &[Candidate]) -> Vec<Part> {
    let winners = winners(base, candidates);
    let mut total = winners.iter().fold((1, 1), |(n, d), winner| {
        let (numerator, denominator) = fraction(winner.multiplier);
        (n * numerator, d * denominator)
    });
    let greatest = fraction(greatest_total);
    if total.0 * greatest.1 > greatest.0 * total.1 {
        total = greatest;
    }
    let shares = split(bonus(base, total), &winners);
    winners.iter().zip(shares).map(|(winner, desired)| clipped(winner, desired)).collect()
}

/// What the cap, then the budget, leave of a share.
fn clipped(winner: &Candidate, desired: i128) -> Part {
    let within_cap = desired.min(winner.cap_room.unwrap_or(i128::MAX));
    let moved = within_cap.min(winner.budget_left);
    let reason = if moved < within_cap {
        Some(Reason::CampaignBudgetExhausted)
    } else if within_cap < desired {
        Some(Reason::CapReached)
    } else {
        None
    };
    Part { campaign: winner.id.clone(), desired, moved, reason }
}
