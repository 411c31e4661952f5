//! Taking back: what a refund takes of each leg of its original, and where it comes from (POINTS: taking back).

use super::command::{Basis, Command};
use super::decide::{AMOUNT, Halt, ORIGINAL, base_of, common_of};
use super::event::{Event, Refunded, Source, TakenFrom, TakenShare, WINNERS_MAX};
use super::holding::Holding;
use super::ids::{MemberNo, Op};
use super::list::List;
use super::original::{OriginalFacts, Resolved};
use super::posting::{Posting, units};
use super::reason::Reason;
use super::state::{Ledger, Moment, Program};
use super::view::CampaignStatus;

/// floor(leg x refunded so far / amount) less what is taken, or the rest of the leg for the last part.
fn part_of(leg: u64, amount_total: u64, amount: u64, taken: u64) -> Option<u64> {
    let target = match amount_total == amount {
        true => leg,
        false => {
            let product = u128::from(leg).checked_mul(u128::from(amount_total))?;
            u64::try_from(product.checked_div(u128::from(amount))?).ok()?
        }
    };
    target.checked_sub(taken)
}

impl Ledger {
    pub(super) fn refund_alone<'c>(
        &self,
        command: &'c Command,
        basis: Basis,
        event_kind: Option<&'c str>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, _) = self.admit(command, at)?;
        let (base, field) = base_of(version, basis, event_kind, ("refund.event_kind", AMOUNT))?;
        let (member, mut posting) = self.posting(command, known, at.op)?;
        posting.on_issuance(program, units(base, field)?);
        posting.debit_into_debt(base, &[], field)?;
        let common = common_of(command, member, &posting.holding, at);
        let (version, legs) = (version.number, posting.legs);
        Ok(Event::Refunded(Refunded { common, basis, event_kind, version, base, from: None, legs }))
    }

    pub(super) fn refund<'c>(
        &self,
        command: &'c Command,
        basis: Basis,
        resolved: Option<&Resolved>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, _, _) = self.admit(command, at)?;
        let facts = match resolved {
            Some(Resolved::Found(facts)) => facts,
            Some(Resolved::NotAnEarn) => return Err((Reason::OriginalNotRefundable, ORIGINAL).into()),
            Some(Resolved::NotFound) | None => return Err((Reason::OriginalNotFound, ORIGINAL).into()),
        };
        if facts.program != command.program {
            return Err((Reason::OriginalNotFound, ORIGINAL).into());
        }
        let known = known.filter(|number| *number == facts.member);
        let number = known.ok_or((Reason::OriginalOtherMember, ORIGINAL))?;
        let (member, mut posting) = self.posting(command, Some(number), at.op)?;
        let (from, base, total) = take_back(program, facts, basis, at.op)?;
        fund_refund(program, &mut posting, base, &from)?;
        // Each part leaves the lot that it entered; what the spender took of it there, the earn's other lot makes up for.
        let own_base = own_units(&posting.holding, facts.base_lot, Source::Base);
        let own_bonus = own_units(&posting.holding, facts.campaign_lot, Source::Campaign);
        let (from_base, from_bonus) = (base.min(own_base), total.saturating_sub(base).min(own_bonus));
        let own = [
            (Source::Base, from_base),
            (Source::Campaign, from_bonus),
            (Source::Base, own_base.saturating_sub(from_base)),
            (Source::Campaign, own_bonus.saturating_sub(from_bonus)),
        ];
        posting.debit_into_debt(total, &own, AMOUNT)?;
        let common = common_of(command, member, &posting.holding, at);
        let (version, legs, from) = (facts.version, posting.legs, Some(from));
        Ok(Event::Refunded(Refunded { common, basis, event_kind: None, version, base, from, legs }))
    }
}

/// How many of the units that an earn put into a lot have not left it.
fn own_units(holding: &Holding, interval: Option<super::original::Interval>, source: Source) -> u64 {
    interval.map_or(0, |i| {
        let end = i.position.saturating_add(i.units);
        end.saturating_sub(i.position.max(holding.lot(source).left))
    })
}

/// What a refund takes of each leg of its original: the event's facts, the base units, the units in all.
fn take_back(program: &Program, facts: &OriginalFacts, basis: Basis, op: Op) -> Result<(TakenFrom, u64, u64), Halt> {
    let (amount, refunded) = match (facts.basis, basis) {
        (Basis::Spend(amount), Basis::Spend(refunded)) => (amount, refunded),
        (Basis::Points(amount), Basis::Points(refunded)) => (amount, refunded),
        _ => return Err((Reason::RefundBasisMismatch, AMOUNT).into()),
    };
    let exceeds = (Reason::RefundExceedsOriginal, AMOUNT);
    let overflow = (Reason::AmountOverflow, AMOUNT);
    let amount_total = facts.amount_refunded.checked_add(refunded).filter(|total| *total <= amount).ok_or(exceeds)?;
    let base = part_of(facts.base, amount_total, amount, facts.base_taken).ok_or(overflow)?;
    let mut total = base;
    let mut shares: List<TakenShare, WINNERS_MAX> = List::default();
    for share in &facts.shares {
        let taken = part_of(share.awarded, amount_total, amount, share.taken).ok_or(overflow)?;
        total = total.checked_add(taken).ok_or(overflow)?;
        let status = program.campaign(share.campaign).map(|campaign| campaign.purse.status);
        shares.0.push(TakenShare {
            campaign: share.campaign,
            of: share.awarded,
            taken,
            taken_total: share.taken.checked_add(taken).ok_or(overflow)?,
            closed: status == Some(CampaignStatus::Closed),
            cap: share.cap,
        });
    }
    let from = TakenFrom {
        original_link: op.distance_from(facts.op),
        previous_link: op.distance_from(facts.latest_refund.unwrap_or(Op(0))),
        amount,
        amount_total,
        base_of: facts.base,
        base_total: facts.base_taken.checked_add(base).ok_or(overflow)?,
        shares,
    };
    Ok((from, base, total))
}

/// Puts the legs that a refund pays back: the base to `issuance`, each campaign's part to its budget, or to `issuance`
/// where the campaign is closed.
fn fund_refund(program: &Program, posting: &mut Posting, base: u64, from: &TakenFrom) -> Result<(), Halt> {
    let field = AMOUNT;
    let closed: u64 = from.shares.iter().filter(|share| share.closed).map(|share| share.taken).sum();
    let issued = base.checked_add(closed).ok_or((Reason::AmountOverflow, field))?;
    posting.on_issuance(program, units(issued, field)?);
    for share in from.shares.iter().filter(|share| !share.closed) {
        posting.on_budget(program, share.campaign, units(share.taken, field)?);
    }
    Ok(())
}
