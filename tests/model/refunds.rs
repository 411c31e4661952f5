//! What a refund takes back, by the book of rules: every earlier refund of the same earn is looked up and summed.

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, Basis, Command, Original};
use stampbook::ledger::event::Source;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::view::CampaignStatus;

use super::award::{self, AMOUNT_MAX};
use super::book::{Part, Said, lot_name};
use super::{Award, Decided, Happened, Model, Program, Refusal, What, add};

/// An earn, and what refunds took of it so far.
struct Taken {
    at: usize,
    amount: i128,
    base: i128,
    awards: Vec<(Award, i128)>,
    refunded: i128,
    base_taken: i128,
    version: u32,
}

fn amount_of(basis: Basis) -> i128 {
    match basis {
        Basis::Spend(amount) | Basis::Points(amount) => amount.into(),
    }
}

impl Model {
    /// Decides a refund.
    pub(crate) fn refund(&self, program: &Program, command: &Command, occurred_at_us: i64) -> Result<Decided, Refusal> {
        let Action::Refund { original, basis, event_kind } = &command.action else { unreachable!() };
        if *original == Original::None {
            return refund_alone(program, &command.member, *basis, event_kind.as_deref(), occurred_at_us);
        }
        let at = self.original(program, command, original).ok_or((Reason::OriginalNotFound, "original"))?;
        let taken = self.taken(at).ok_or((Reason::OriginalNotRefundable, "original"))?;
        let earn = &self.history[at];
        if earn.program != program.id {
            return Err((Reason::OriginalNotFound, "original"));
        }
        if earn.member.as_ref() != Some(&command.member) {
            return Err((Reason::OriginalOtherMember, "original"));
        }
        let What::Earned { basis: earned, .. } = earn.what else { unreachable!() };
        if matches!(earned, Basis::Spend(_)) != matches!(basis, Basis::Spend(_)) {
            return Err((Reason::RefundBasisMismatch, "amount"));
        }
        let amount = amount_of(*basis);
        if taken.refunded + amount > taken.amount {
            return Err((Reason::RefundExceedsOriginal, "amount"));
        }
        Ok(refund_earn(program, earn, &taken, amount))
    }

    /// Where in the history the refund's original stands.
    fn original(&self, program: &Program, command: &Command, original: &Original) -> Option<usize> {
        match original {
            Original::None => None,
            Original::Op(op) => usize::try_from(op.0).ok()?.checked_sub(1).filter(|at| *at < self.history.len()),
            Original::Key(print) => {
                let prints = super::book::prints();
                let is_it = |event: &Happened| prints.key(&event.program, &event.key) == *print;
                self.history.iter().position(is_it)
            }
            Original::Reference(reference) => {
                let is_it = |event: &Happened| {
                    event.program == program.id
                        && event.member.as_ref() == Some(&command.member)
                        && event.reference == *reference
                        && matches!(event.what, What::Earned { .. })
                };
                self.history.iter().rposition(is_it)
            }
        }
    }

    /// An earn with all that refunds took of it; `None` where the event is no applied earn.
    fn taken(&self, at: usize) -> Option<Taken> {
        let What::Earned { basis, version, base, awards } = &self.history[at].what else { return None };
        let mut taken = Taken {
            at,
            amount: amount_of(*basis),
            base: *base,
            awards: awards.iter().map(|award| (award.clone(), 0)).collect(),
            refunded: 0,
            base_taken: 0,
            version: *version,
        };
        for event in &self.history {
            let What::Refunded { original, amount, base, taken: parts } = &event.what else { continue };
            if *original == at {
                taken.refunded += amount;
                taken.base_taken += base;
                for (award, sum) in &mut taken.awards {
                    *sum +=
                        parts.iter().filter(|(id, _)| *id == award.campaign).map(|(_, points)| points).sum::<i128>();
                }
            }
        }
        Some(taken)
    }
}

/// Takes back a part of an earn: each leg's part from the lot that it credited, what that lot no longer has of the earn
/// from the earn's other lot, then from any lot.
fn refund_earn(program: &Program, earn: &Happened, taken: &Taken, amount: i128) -> Decided {
    let member = earn.member.as_deref().unwrap();
    let refunded = taken.refunded + amount;
    let due = |leg: i128, before: i128| leg * refunded / taken.amount - before;
    let base = due(taken.base, taken.base_taken);
    let mut legs = BTreeMap::new();
    add(&mut legs, "issuance", base);
    let mut parts = Vec::new();
    for (award, before) in &taken.awards {
        let back = due(award.points, *before);
        let closed = program.campaigns[&award.campaign] == CampaignStatus::Closed;
        let account = if closed { "issuance".to_owned() } else { format!("campaign/{}", award.campaign) };
        add(&mut legs, &account, back);
        parts.push(Part { campaign: award.campaign.clone(), desired: award.points, moved: back, reason: None });
    }
    let bonus: i128 = parts.iter().map(|part| part.moved).sum();
    let own = |source| still_there(program, earn, &lot_name(member, source));
    let (own_base, own_bonus) = (own(Source::Base), own(Source::Campaign));
    let (from_base, from_bonus) = (base.min(own_base), bonus.min(own_bonus));
    let rest = base + bonus - from_base - from_bonus;
    let more_base = rest.min(own_base - from_base);
    let more_bonus = (rest - more_base).min(own_bonus - from_bonus);
    program.debit(&mut legs, member, Source::Base, from_base + more_base);
    program.debit(&mut legs, member, Source::Campaign, from_bonus + more_bonus);
    take_rest(program, &mut legs, member, rest - more_base - more_bonus);
    let what = What::Refunded {
        original: taken.at,
        amount,
        base,
        taken: parts.iter().map(|part| (part.campaign.clone(), part.moved)).collect(),
    };
    let said = Said { version: Some(taken.version), base, parts, legs, ..Said::default() };
    Decided { said, what, stops: Vec::new() }
}

/// How many of the units that an earn put into a lot have not left it: a lot's units leave in the order they entered.
fn still_there(program: &Program, earn: &Happened, lot: &str) -> i128 {
    let Some((position, units)) = earn.credited.get(lot) else { return 0 };
    (position + units - program.lots[lot].left).clamp(0, *units)
}

/// A refund that names no original: the base rate, and no bonus.
fn refund_alone(
    program: &Program,
    member: &str,
    basis: Basis,
    kind: Option<&str>,
    occurred_at_us: i64,
) -> Result<Decided, Refusal> {
    let (version, spec) = program.version_at(occurred_at_us);
    let rule = spec.rules.iter().find(|rule| Some(rule.kind.as_str()) == kind);
    let base = match (basis, kind, rule) {
        (Basis::Points(points), None, _) | (Basis::Points(points), _, Some(_)) => points.into(),
        (Basis::Spend(minor_units), _, Some(rule)) => award::base(rule, minor_units.into()),
        (_, _, None) => return Err((Reason::EventKindUnknown, "refund.event_kind")),
    };
    if base > AMOUNT_MAX {
        return Err((Reason::AmountOverflow, "amount"));
    }
    let mut legs = BTreeMap::new();
    add(&mut legs, "issuance", base);
    take_rest(program, &mut legs, member, base);
    let said = Said { version: Some(version), base, legs, ..Said::default() };
    Ok(Decided { said, what: What::Other, stops: Vec::new() })
}

/// Takes what the event's own lots did not have: from other lots in spending order, then as a debt.
fn take_rest(program: &Program, legs: &mut BTreeMap<String, i128>, member: &str, rest: i128) {
    let order = program.spending_order(member);
    let owed = order.into_iter().fold(rest, |rest, source| program.debit(legs, member, source, rest));
    add(legs, &format!("member/{member}/debt"), -owed);
}
