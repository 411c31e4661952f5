//! Pinning units for a while: hold, capture, release.

use smallvec::SmallVec;

use super::command::{Command, Purpose};
use super::decide::{AMOUNT, ASSET, Halt, ORIGINAL, Refused, asset_of, common_of, may, roll};
use super::event::{Account, Captured, Claimed, Event, Held, LotId, Released};
use super::holding::{HOLDS_MAX, Hold, LotKey};
use super::ids::{AssetNo, MemberNo, Op};
use super::original::Resolved;
use super::posting::{Posting, units};
use super::reason::Reason;
use super::reward;
use super::spend::{bonus_last, spend_on, spendable_on};
use super::state::{Ledger, Moment, Program};

/// A day in microseconds.
const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// Units of lots, in the order in which they were pinned.
type Parts = SmallVec<[(LotId, u64); 2]>;

impl Ledger {
    pub(super) fn hold<'c>(
        &self,
        command: &'c Command,
        (asset, wanted, purpose): (AssetNo, u64, Purpose),
        until_us: Option<i64>,
        claimed: Option<Claimed>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        const UNTIL: &str = "hold.until_us";
        let (program, version, _) = self.admit(command, at)?;
        let spec = asset_of(version, asset, ASSET)?;
        spendable_on(spec, purpose)?;
        let longest = at.book_time_us.saturating_add(i64::from(version.more.hold_days_max).saturating_mul(DAY_US));
        let until_us = until_us.unwrap_or(longest);
        if until_us <= at.book_time_us || until_us > longest {
            return Err((Reason::HoldDeadline, UNTIL).into());
        }
        let (member, mut posting) = self.posting_of(command, known, at)?;
        may(&posting.holding, true)?;
        self.takes_lots()?;
        if posting.holding.holds.len() >= HOLDS_MAX {
            return Err((Reason::HoldsFull, "member").into());
        }
        let (mut chosen, rest) = posting.choose(asset, wanted, &[], bonus_last(spec));
        if rest > 0 {
            return Err((Reason::InsufficientPoints, AMOUNT).into());
        }
        let order = posting.holding.spending_order(asset, bonus_last(spec));
        chosen.sort_by_key(|(key, _)| order.iter().position(|lot| lot.key == *key));
        let parts: Parts = chosen.iter().map(|(key, units)| (key.lot, *units)).collect();
        for (lot, pinned) in &parts {
            let pinned = units(*pinned, AMOUNT)?;
            posting.push(asset, Account::Free { lot: *lot }, -pinned);
            posting.push(asset, Account::Held { lot: *lot, position: None }, pinned);
        }
        if let Some(claimed) = claimed {
            reward::reserve(program, &mut posting, claimed, purpose)?;
        }
        let reward = claimed.map(|claimed| (claimed.reward, claimed.price));
        posting.holding.holds.push(Hold { op: at.op, asset, purpose, until_us, reward, parts });
        let common = common_of(command, member, &posting, at);
        let legs = posting.legs_checked(AMOUNT)?;
        Ok(Event::Held(Held { claimed, common, asset, units: wanted, purpose, until_us, legs }))
    }

    pub(super) fn capture<'c>(
        &self,
        command: &'c Command,
        (wanted, last): (u64, bool),
        resolved: Option<&Resolved>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, occurred) = self.admit(command, at)?;
        let (member, mut posting) = self.posting_of(command, known, at)?;
        may(&posting.holding, true)?;
        let mut hold = take_hold(&mut posting, resolved)?;
        let rest = hold.units().checked_sub(wanted).ok_or((Reason::HoldExceeded, AMOUNT))?;
        let (spent, kept) = split(&hold.parts, wanted);
        let (asset, purpose) = (hold.asset, hold.purpose);
        let over = last || rest == 0;
        hold.parts = kept;
        // While what is spent leaves the lots, the rest is pinned.
        for (lot, spent) in spent {
            leave_held(&mut posting, asset, lot, spent)?;
        }
        let released = if over { rest } else { 0 };
        let lapsed = match over {
            true => let_go(program, &mut posting, &hold)?,
            false => 0,
        };
        if !over {
            let place = posting.holding.holds.partition_point(|open| open.op < hold.op);
            posting.holding.holds.insert(place, hold.clone());
        }
        spend_on(program, &mut posting, asset, purpose, units(wanted, AMOUNT)?);
        reward::end_reserved(program, &mut posting, &hold, (wanted, released))?;
        let rolls = roll(program, version, asset, &mut posting, occurred);
        let common = common_of(command, member, &posting, at);
        let (hold_link, ends_link) = (at.op.distance_from(hold.op), ends_link(&posting, lapsed));
        let legs = posting.legs_checked(AMOUNT)?;
        let (units, capture) = (wanted, common);
        Ok(Event::Captured(Captured {
            common: capture,
            hold_link,
            asset,
            units,
            purpose,
            released,
            over,
            lapsed,
            ends_link,
            rolls,
            legs,
        }))
    }

    pub(super) fn release<'c>(
        &self,
        command: &'c Command,
        resolved: Option<&Resolved>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, _, _) = self.admit(command, at)?;
        let (member, mut posting) = self.posting_of(command, known, at)?;
        let hold = take_hold(&mut posting, resolved)?;
        let lapsed = let_go(program, &mut posting, &hold)?;
        reward::end_reserved(program, &mut posting, &hold, (0, hold.units()))?;
        let common = common_of(command, member, &posting, at);
        let (hold_link, ends_link) = (at.op.distance_from(hold.op), ends_link(&posting, lapsed));
        let (asset, units, legs) = (hold.asset, hold.units(), posting.legs_checked(AMOUNT)?);
        Ok(Event::Released(Released { common, hold_link, asset, units, lapsed, ends_link, legs }))
    }
}

fn ends_link(posting: &Posting, lapsed: u64) -> u64 {
    if lapsed > 0 { posting.op.distance_from(posting.holding.ends) } else { 0 }
}

/// Takes the hold that a command names out of the member's open ones.
fn take_hold(posting: &mut Posting, resolved: Option<&Resolved>) -> Result<Hold, Refused> {
    let unknown = (Reason::HoldUnknown, ORIGINAL);
    let op: Op = resolved.and_then(Resolved::hold).ok_or(unknown)?;
    let place = posting.holding.holds.iter().position(|hold| hold.op == op).ok_or(unknown)?;
    Ok(posting.holding.holds.remove(place))
}

/// The first units of a hold, and the others.
fn split(parts: &Parts, wanted: u64) -> (Parts, Parts) {
    let (mut first, mut others, mut rest) = (Parts::new(), Parts::new(), wanted);
    for (lot, units) in parts {
        let taken = rest.min(*units);
        rest -= taken;
        if taken > 0 {
            first.push((*lot, taken));
        }
        if *units > taken {
            others.push((*lot, units - taken));
        }
    }
    (first, others)
}

/// Lets held units leave their lot.
fn leave_held(posting: &mut Posting, asset: AssetNo, lot: LotId, left: u64) -> Result<(), Refused> {
    let overflow = (Reason::AmountOverflow, AMOUNT);
    let position = posting.holding.leave(LotKey { asset, lot }, left).ok_or(overflow)?;
    posting.push(asset, Account::Held { lot, position: Some(position) }, -units(left, AMOUNT)?);
    Ok(())
}

/// Lets go of what a hold pins that is no longer among the open ones: to `breakage` where the lot has lapsed. Returns how
/// much that is.
fn let_go(program: &Program, posting: &mut Posting, hold: &Hold) -> Result<u64, Refused> {
    let (asset, mut lapsed) = (hold.asset, 0_u64);
    for (lot, pinned) in &hold.parts {
        if posting.has_lapsed(LotKey { asset, lot: *lot }) {
            leave_held(posting, asset, *lot, *pinned)?;
            lapsed = lapsed.saturating_add(*pinned);
        } else {
            let pinned = units(*pinned, AMOUNT)?;
            posting.push(asset, Account::Free { lot: *lot }, pinned);
            posting.push(asset, Account::Held { lot: *lot, position: None }, -pinned);
        }
    }
    posting.on_breakage(program, asset, units(lapsed, AMOUNT)?);
    Ok(lapsed)
}
