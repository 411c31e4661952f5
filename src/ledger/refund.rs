//! Taking back: what a refund asks of each part of its original, where it comes from, and who bears what cannot be
//! taken.

use smallvec::SmallVec;

use super::command::{Basis, Command};
use super::decide::{AMOUNT, Halt, ORIGINAL, Refused, common_of};
use super::earn::{also_of, base_of};
use super::event::{
    Account, AlsoTaken, Event, FIRST_CAMPAIGN_PART, RefundMore, Refunded, Source, TakenFrom, TakenShare, WINNERS_MAX,
};
use super::holding::LotKey;
use super::ids::{AssetNo, MemberNo, Op};
use super::later::Later;
use super::list::List;
use super::original::{EarnFacts, Facts, Kind, Resolved};
use super::posting::{Own, Posting, units};
use super::reason::Reason;
use super::spec::DebtPolicy;
use super::spend::bonus_last;
use super::state::{Ledger, Moment, Program, Version};
use super::view::CampaignStatus;

/// floor(part x undone so far / whole) less what was asked before, or the rest of the part with the last of the whole.
pub(super) fn part_of(part: u64, total: u64, whole: u64, asked: u64) -> Option<u64> {
    let target = match total == whole {
        true => part,
        false => {
            let product = u128::from(part).checked_mul(u128::from(total))?;
            u64::try_from(product.checked_div(u128::from(whole))?).ok()?
        }
    };
    target.checked_sub(asked)
}

/// What is to be taken from a member in one asset.
pub(super) struct Ask<'f> {
    pub(super) asset: AssetNo,
    /// Units of the parts that lie in other lots than a bonus: a base award, what was paid for.
    pub(super) plain: u64,
    /// Units of the parts that lie in the lots of a bonus.
    pub(super) bonus: u64,
    /// The event that gave them, if one is named.
    pub(super) facts: Option<&'f Facts>,
}

/// How an ask was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Met {
    /// Units that came from what had lapsed of the event's own.
    pub(super) lapsed: u64,
    /// Units that were not taken.
    pub(super) short: u64,
}

fn is_bonus(key: LotKey) -> bool {
    matches!(key.lot.source, Source::Campaign | Source::Bonus)
}

/// Each part from its own lots up to what is asked of it; what these have not, from the other part's.
fn by_part(there: &[Own], plain: u64, bonus: u64) -> SmallVec<[Own; 4]> {
    let (mut first, mut rest) = (SmallVec::new(), SmallVec::<[Own; 4]>::new());
    for (of_bonus, asked) in [(false, plain), (true, bonus)] {
        let mut asked = asked;
        for (key, units) in there.iter().filter(|(key, _)| is_bonus(*key) == of_bonus) {
            let taken = asked.min(*units);
            asked -= taken;
            first.push((*key, taken));
            rest.push((*key, units - taken));
        }
    }
    first.extend(rest);
    first
}

impl Posting {
    /// Takes units back from the member: those of the event that are still pending, those in its lots, those that lapsed,
    /// other free units in spending order, and the rest as the asset's policy says.
    pub(super) fn take_back(&mut self, program: &Program, version: &Version, ask: &Ask<'_>) -> Result<Met, Refused> {
        let asset = ask.asset;
        let overflow = (Reason::AmountOverflow, AMOUNT);
        let mut rest = ask.plain.checked_add(ask.bonus).ok_or(overflow)?;
        let waiting = self.take_pending(ask, &mut rest);
        let there = ask.facts.map(|facts| facts.own.there(&self.holding, asset)).unwrap_or_default();
        let free = |(key, units): &Own| self.holding.lot(*key).map_or(0, |lot| self.holding.free_in(lot)).min(*units);
        let own: u64 = there.iter().map(free).fold(0, u64::saturating_add);
        let lapsed_left = ask.facts.map_or(0, |facts| facts.lapsed_left(asset));
        let lapsed = rest.saturating_sub(own).min(lapsed_left);
        let spec = version.asset(asset);
        let bonus_last = spec.is_some_and(bonus_last);
        let short = self.debit(asset, rest - lapsed, &by_part(&there, ask.plain, ask.bonus), bonus_last);
        for (key, taken) in waiting {
            let earn_link = self.op.distance_from(ask.facts.map_or(Op(0), |facts| facts.op));
            self.push(asset, Account::Pending { earn_link, lot: key.lot }, -units(taken, AMOUNT)?);
        }
        self.on_breakage(program, asset, -units(lapsed, AMOUNT)?);
        let owed = match spec.map_or(DebtPolicy::Debt, |spec| spec.debt) {
            DebtPolicy::Debt => {
                let most = spec.and_then(|spec| spec.debt_max).unwrap_or(u64::MAX);
                short.min(most.saturating_sub(self.holding.debt(asset).unsigned_abs()))
            }
            DebtPolicy::Clamp => 0,
            DebtPolicy::Reject if short > 0 => return Err((Reason::RefundNotCovered, AMOUNT)),
            DebtPolicy::Reject => 0,
        };
        self.owe(asset, owed, AMOUNT)?;
        Ok(Met { lapsed, short: short - owed })
    }

    /// Takes from what is pending of the event, by lot.
    fn take_pending(&mut self, ask: &Ask<'_>, rest: &mut u64) -> SmallVec<[Own; 4]> {
        let mut taken = SmallVec::new();
        let earn = ask.facts.map(|facts| facts.op);
        let entry = self.holding.pending.iter_mut().find(|pending| Some(pending.earn) == earn);
        let Some(entry) = entry else { return taken };
        let waiting: SmallVec<[Own; 4]> =
            entry.parts.iter().filter(|(key, _)| key.asset == ask.asset).copied().collect();
        let mut order = by_part(&waiting, ask.plain, ask.bonus);
        for (_, most) in &mut order {
            *most = (*most).min(*rest);
            *rest -= *most;
        }
        for (key, waits) in &mut entry.parts {
            let units = order.iter().filter(|(known, _)| known == key).fold(0, |sum, (_, units)| sum + units);
            if units > 0 {
                *waits = waits.saturating_sub(units);
                taken.push((*key, units));
            }
        }
        entry.parts.retain(|(_, waits)| *waits > 0);
        self.holding.pending.retain(|pending| !pending.parts.is_empty());
        taken
    }

    /// Puts legs that were pushed since `begun` behind those that `first` pushes.
    pub(super) fn put_first(&mut self, first: impl FnOnce(&mut Self) -> Result<(), Refused>) -> Result<(), Refused> {
        let legs = std::mem::take(&mut self.legs);
        first(self)?;
        for leg in legs.iter() {
            self.push(leg.asset, leg.account, leg.amount);
        }
        Ok(())
    }
}

/// A part of an award in a refund.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Its place among base, second award, campaigns.
    number: u8,
    asset: AssetNo,
    /// What this refund asks of it.
    asked: u64,
    /// What of it is not taken.
    short: u64,
}

/// The parts in their order: the base, the second award, the campaigns.
type Parts = SmallVec<[Part; 4]>;

/// Who bears what is not taken in an asset: the campaigns, the last first, then the second award, then the base.
fn bear(parts: &mut Parts, asset: AssetNo, short: u64) {
    let mut rest = short;
    for part in parts.iter_mut().rev().filter(|part| part.asset == asset) {
        part.short = rest.min(part.asked);
        rest -= part.short;
    }
}

/// What refunds asked of an earn after this one, and of which parts this one asks how much.
struct Asked {
    from: TakenFrom,
    also: Option<AlsoTaken>,
    parts: Parts,
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
        let (base, _) = base_of(version, basis, event_kind, ("refund.event_kind", AMOUNT))?;
        let also = also_of(version, basis, event_kind)?.filter(|(_, units)| *units > 0);
        let (member, mut posting) = self.posting(command, known, at)?;
        let mut parts = Parts::from_iter([Part { number: 0, asset: AssetNo::POINTS, asked: base, short: 0 }]);
        parts.extend(also.map(|(asset, asked)| Part { number: 1, asset, asked, short: 0 }));
        take_parts(program, version, &mut posting, &mut parts, None)?;
        posting.put_first(|posting| pay_back(program, posting, &parts, &[]))?;
        let common = common_of(command, member, &posting, at);
        let taken = |(asset, taken)| AlsoTaken { asset, of: 0, taken, taken_total: 0 };
        let more = RefundMore { also: also.map(taken), not_taken: not_taken(&parts), ..RefundMore::default() };
        let (version, legs, more) = (version.number, posting.legs_checked(AMOUNT)?, Later::new(more));
        Ok(Event::Refunded(Refunded { common, basis, event_kind, version, base, from: None, legs, more }))
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
        let facts = found(resolved, Reason::OriginalNotRefundable)?;
        let Kind::Earn(earn) = &facts.kind else { return Err((Reason::OriginalNotRefundable, ORIGINAL).into()) };
        let number = member_of(facts, command, known)?;
        let version = program.version(earn.version).ok_or((Reason::OriginalNotFound, ORIGINAL))?;
        let (member, mut posting) = self.posting(command, Some(number), at)?;
        let Asked { from, also, mut parts } = ask(program, facts, earn, basis, at.op)?;
        let lapsed = take_parts(program, version, &mut posting, &mut parts, Some(facts))?;
        posting.put_first(|posting| pay_back(program, posting, &parts, &from.shares))?;
        let common = common_of(command, member, &posting, at);
        let more = RefundMore { asset: earn.asset, also, lapsed, not_taken: not_taken(&parts) };
        let base = parts.first().map_or(0, |part| part.asked);
        let (legs, from, more) = (posting.legs_checked(AMOUNT)?, Some(from), Later::new(more));
        let version = earn.version;
        Ok(Event::Refunded(Refunded { common, basis, event_kind: None, version, base, from, legs, more }))
    }
}

/// The facts of what a command names, or the refusal of one that names nothing, or nothing of the kind.
pub(super) fn found(resolved: Option<&Resolved>, other: Reason) -> Result<&Facts, Refused> {
    match resolved {
        Some(Resolved::Found(facts)) => Ok(facts),
        Some(Resolved::Other) => Err((other, ORIGINAL)),
        Some(Resolved::NotFound | Resolved::Hold(_)) | None => Err((Reason::OriginalNotFound, ORIGINAL)),
    }
}

/// The command's member, if the event is his and of his program.
pub(super) fn member_of(facts: &Facts, command: &Command, known: Option<MemberNo>) -> Result<MemberNo, Refused> {
    if facts.program != command.program {
        return Err((Reason::OriginalNotFound, ORIGINAL));
    }
    known.filter(|number| *number == facts.member).ok_or((Reason::OriginalOtherMember, ORIGINAL))
}

/// What a refund asks of each part of its original.
fn ask(program: &Program, facts: &Facts, earn: &EarnFacts, basis: Basis, op: Op) -> Result<Asked, Refused> {
    let (amount, refunded) = match (earn.basis, basis) {
        (Basis::Spend(amount), Basis::Spend(refunded)) => (amount, refunded),
        (Basis::Points(amount), Basis::Points(refunded)) => (amount, refunded),
        _ => return Err((Reason::RefundBasisMismatch, AMOUNT)),
    };
    let exceeds = (Reason::RefundExceedsOriginal, AMOUNT);
    let overflow = (Reason::AmountOverflow, AMOUNT);
    let amount_total = earn.amount_refunded.checked_add(refunded).filter(|total| *total <= amount).ok_or(exceeds)?;
    let of_part = |part: u64, before: u64| {
        let asked = part_of(part, amount_total, amount, before)?;
        Some((asked, before.checked_add(asked)?))
    };
    let (base, base_total) = of_part(earn.base, earn.base_taken).ok_or(overflow)?;
    let mut parts = Parts::from_iter([Part { number: 0, asset: earn.asset, asked: base, short: 0 }]);
    let mut also = None;
    if let Some((asset, of, before)) = earn.also.filter(|(_, of, _)| *of > 0) {
        let (taken, taken_total) = of_part(of, before).ok_or(overflow)?;
        parts.push(Part { number: 1, asset, asked: taken, short: 0 });
        also = Some(AlsoTaken { asset, of, taken, taken_total });
    }
    let mut shares: List<TakenShare, WINNERS_MAX> = List::default();
    for (place, share) in earn.shares.iter().enumerate() {
        let (taken, taken_total) = of_part(share.awarded, share.taken).ok_or(overflow)?;
        let known = program.campaign(share.campaign);
        let closed = known.map(|campaign| campaign.purse.status) == Some(CampaignStatus::Closed);
        let asset = known.map(|campaign| campaign.spec.asset_no()).unwrap_or_default();
        let number = u8::try_from(FIRST_CAMPAIGN_PART + place).map_err(|_| overflow)?;
        parts.push(Part { number, asset, asked: taken, short: 0 });
        let (campaign, of, cap) = (share.campaign, share.awarded, share.cap);
        shares.0.push(TakenShare { campaign, of, taken, taken_total, closed, cap });
    }
    let from = TakenFrom {
        original_link: op.distance_from(facts.op),
        previous_link: op.distance_from(facts.latest.unwrap_or(Op(0))),
        amount,
        amount_total,
        base_of: earn.base,
        base_total,
        shares,
    };
    Ok(Asked { from, also, parts })
}

/// Takes the parts from the member, asset by asset, and lets them bear what is not taken. Returns what came from lapsed
/// units, by asset: now, and in all so far.
fn take_parts(
    program: &Program,
    version: &Version,
    posting: &mut Posting,
    parts: &mut Parts,
    facts: Option<&Facts>,
) -> Result<Vec<(AssetNo, u64, u64)>, Refused> {
    let mut assets: SmallVec<[AssetNo; 2]> = SmallVec::new();
    for part in parts.iter() {
        if !assets.contains(&part.asset) {
            assets.push(part.asset);
        }
    }
    let mut lapsed = Vec::new();
    for asset in assets {
        let sum = |of_campaigns: bool| {
            let of_asset = parts.iter().filter(|part| part.asset == asset);
            let such = of_asset.filter(|part| (usize::from(part.number) >= FIRST_CAMPAIGN_PART) == of_campaigns);
            such.map(|part| part.asked).try_fold(0, u64::checked_add).ok_or((Reason::AmountOverflow, AMOUNT))
        };
        let ask = Ask { asset, plain: sum(false)?, bonus: sum(true)?, facts };
        let met = posting.take_back(program, version, &ask)?;
        bear(parts, asset, met.short);
        let before = facts.map_or(0, |facts| facts.lapsed_taken(asset));
        if let total @ 1.. = before.saturating_add(met.lapsed) {
            lapsed.push((asset, met.lapsed, total));
        }
    }
    Ok(lapsed)
}

/// Puts the legs that a refund pays back: base and second award to `issuance`, each campaign's part to its budget, or to
/// `issuance` where the campaign is closed.
fn pay_back(program: &Program, posting: &mut Posting, parts: &Parts, shares: &[TakenShare]) -> Result<(), Refused> {
    let share_of =
        |part: &Part| usize::from(part.number).checked_sub(FIRST_CAMPAIGN_PART).and_then(|at| shares.get(at));
    let issued = |part: &&Part| share_of(part).is_none_or(|share| share.closed);
    let mut done: SmallVec<[AssetNo; 2]> = SmallVec::new();
    for Part { asset, .. } in parts {
        if !done.contains(asset) {
            done.push(*asset);
            let of_asset = parts.iter().filter(|part| part.asset == *asset).filter(issued);
            let taken = of_asset.map(|part| part.asked - part.short).try_fold(0, u64::checked_add);
            let taken = taken.ok_or((Reason::AmountOverflow, AMOUNT))?;
            posting.on_issuance(program, *asset, units(taken, AMOUNT)?);
        }
    }
    for (part, share) in parts.iter().filter_map(|part| share_of(part).map(|share| (part, share))) {
        if !share.closed {
            posting.on_budget(program, share.campaign, units(part.asked - part.short, AMOUNT)?);
        }
    }
    Ok(())
}

fn not_taken(parts: &Parts) -> Vec<(u8, u64)> {
    parts.iter().filter(|part| part.short > 0).map(|part| (part.number, part.short)).collect()
}
