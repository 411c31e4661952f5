//! Undoing spending and giving, in parts or whole, and making pending units available.

use jiff::tz::TimeZone;
use smallvec::SmallVec;

use super::command::Command;
use super::decide::{AMOUNT, Halt, ORIGINAL, Refused, common_of, may};
use super::event::{Account, Activated, Event, Expiry, LotId, Reversed};
use super::expiry::grace_minute;
use super::holding::LotKey;
use super::ids::{AssetNo, MemberNo, Op};
use super::original::{Counter, Deed, Facts, Kind, Resolved, UndoFacts};
use super::posting::{Posting, units};
use super::reason::Reason;
use super::refund::{Ask, Met, found, member_of, part_of};
use super::reward;
use super::state::{Ledger, Moment, Program, Version};

/// Lots with units, in an order.
type Lots = SmallVec<[(LotId, u64); 4]>;

/// What comes back of spending: the lots that were taken last come back first, and `undone` units are back already.
fn coming_back(took: &[(LotId, u64)], undone: u64, units: u64) -> Lots {
    let (mut skipped, mut rest) = (undone, units);
    let mut back = Lots::new();
    for (lot, taken) in took.iter().rev() {
        let there = taken.saturating_sub(skipped);
        skipped = skipped.saturating_sub(*taken);
        let units = there.min(rest);
        rest -= units;
        if units > 0 {
            back.push((*lot, units));
        }
    }
    back
}

/// The lot that units come back to after theirs has lapsed: one that the program's days of grace open, if it gives any.
pub(super) fn lot_after_grace(zone: &TimeZone, grace_days: u32, lot: LotId, now_us: i64) -> LotId {
    match grace_days {
        0 => lot,
        // Beyond the calendar they do not lapse.
        days => {
            let expiry = grace_minute(zone, days, now_us).map_or(Expiry::Never, Expiry::At);
            LotId { expiry, ..lot }
        }
    }
}

impl Ledger {
    pub(super) fn reverse<'c>(
        &self,
        command: &'c Command,
        asked: Option<u64>,
        resolved: Option<&Resolved>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, _) = self.admit(command, at)?;
        let (member, mut posting) = self.posting_of(command, known, at)?;
        let facts = found(resolved, Reason::NotReversible)?;
        let Kind::Undoable(undo) = &facts.kind else { return Err((Reason::NotReversible, ORIGINAL).into()) };
        member_of(facts, command, known)?;
        let left = undo.of.saturating_sub(undo.undone);
        let units = asked.unwrap_or(left);
        if units == 0 || units > left {
            return Err((Reason::ReverseExceedsOriginal, AMOUNT).into());
        }
        let (lapsed, lapsed_total, not_taken) = match &undo.deed {
            Deed::Took(lots) => (give_back((program, version), &mut posting, undo, lots, units)?, 0, 0),
            Deed::Gave { bonus } => {
                let met = take_gift((program, version), &mut posting, (facts, undo), *bonus, units)?;
                (met.lapsed, facts.lapsed_taken(undo.asset).saturating_add(met.lapsed), met.short)
            }
        };
        Ok(Event::Reversed(Reversed {
            common: common_of(command, member, &posting, at),
            original_link: at.op.distance_from(facts.op),
            previous_link: at.op.distance_from(facts.latest.unwrap_or(Op(0))),
            asset: undo.asset,
            of: undo.of,
            units,
            units_total: undo.undone.saturating_add(units),
            lapsed,
            lapsed_total,
            not_taken,
            legs: posting.legs_checked(AMOUNT)?,
        }))
    }

    pub(super) fn activate<'c>(
        &self,
        command: &'c Command,
        resolved: Option<&Resolved>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, _, _) = self.admit(command, at)?;
        let (member, mut posting) = self.posting_of(command, known, at)?;
        may(&posting.holding, false)?;
        let facts = found(resolved, Reason::NotPending)?;
        member_of(facts, command, known)?;
        let place = posting.holding.pending.iter().position(|pending| pending.earn == facts.op);
        let place = place.ok_or((Reason::NotPending, ORIGINAL))?;
        let ends_link = at.op.distance_from(posting.holding.ends);
        let earn_link = at.op.distance_from(facts.op);
        let parts = posting.holding.pending.remove(place).parts;
        let mut lapsed = Vec::new();
        for of_asset in parts.chunk_by(|(a, _), (b, _)| a.asset == b.asset) {
            let Some(asset) = of_asset.first().map(|(key, _)| key.asset) else { continue };
            for (key, waits) in of_asset {
                posting.push(asset, Account::Pending { earn_link, lot: key.lot }, -units(*waits, ORIGINAL)?);
            }
            let lots: Lots = of_asset.iter().map(|(key, units)| (key.lot, *units)).collect();
            if let late @ 1.. = posting.credit(program, asset, &lots, ORIGINAL)? {
                lapsed.push((asset, late));
            }
        }
        let common = common_of(command, member, &posting, at);
        let legs = posting.legs_checked(ORIGINAL)?;
        Ok(Event::Activated(Activated { common, earn_link, ends_link, lapsed, legs }))
    }
}

fn on_counter(program: &Program, posting: &mut Posting, counter: Counter, asset: AssetNo, amount: i64) {
    let accounts = program.accounts(asset);
    let link = |head| posting.op.distance_from(head);
    let account = match counter {
        Counter::Issuance => Account::Issuance { link: link(accounts.issuance.head) },
        Counter::Adjustment => Account::Adjustment { link: link(accounts.adjustment.head) },
        Counter::Cash => Account::Cash { link: link(accounts.cash.head) },
        Counter::Redemption(purpose) => {
            let head = accounts.redemption.get(purpose.place()).map_or(Op(0), |posted| posted.head);
            Account::Redemption { purpose, link: link(head) }
        }
    };
    posting.push(asset, account, amount);
}

/// Gives spent units back to the member. Returns what had lapsed and went on to `breakage`.
fn give_back(
    (program, version): (&Program, &Version),
    posting: &mut Posting,
    undo: &UndoFacts,
    took: &[(LotId, u64)],
    back: u64,
) -> Result<u64, Refused> {
    let asset = undo.asset;
    on_counter(program, posting, undo.counter, asset, -units(back, AMOUNT)?);
    let now_us = posting.now_us;
    let mut lots = coming_back(took, undo.undone, back);
    for (lot, _) in &mut lots {
        if posting.has_lapsed(LotKey { asset, lot: *lot }) {
            *lot = lot_after_grace(&program.zone, version.more.grace_days, *lot, now_us);
        }
    }
    let lapsed = posting.credit(program, asset, &lots, AMOUNT)?;
    if let Counter::Redemption(purpose) = undo.counter {
        reward::restore(program, posting, undo.claimed, purpose, (undo.of, undo.undone, back))?;
    }
    Ok(lapsed)
}

/// Takes back what was given, and of what came on top of a top-up as much in proportion; what cannot be taken falls on
/// that first.
fn take_gift(
    (program, version): (&Program, &Version),
    posting: &mut Posting,
    (facts, undo): (&Facts, &UndoFacts),
    bonus: u64,
    plain: u64,
) -> Result<Met, Refused> {
    let overflow = (Reason::AmountOverflow, AMOUNT);
    let before = part_of(bonus, undo.undone, undo.of, 0).ok_or(overflow)?;
    let total = undo.undone.checked_add(plain).ok_or(overflow)?;
    let bonus = part_of(bonus, total, undo.of, before).ok_or(overflow)?;
    let asset = undo.asset;
    let met = posting.take_back(program, version, &Ask { asset, plain, bonus, facts: Some(facts) })?;
    let bonus_short = met.short.min(bonus);
    let (plain, bonus) = (plain - (met.short - bonus_short), bonus - bonus_short);
    let (plain, bonus) = (units(plain, AMOUNT)?, units(bonus, AMOUNT)?);
    posting.put_first(|posting| {
        on_counter(program, posting, undo.counter, asset, plain);
        on_counter(program, posting, Counter::Issuance, asset, bonus);
        Ok(())
    })?;
    Ok(met)
}
