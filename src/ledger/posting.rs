//! The posting on one member: credits settle debt before they enter lots, debits leave lots in spending order.

use smallvec::SmallVec;

use super::decide::Refused;
use super::event::{Account, AssetBalances, Leg, Legs, LotId};
use super::holding::{Holding, LotKey, instant_of};
use super::ids::{AssetNo, CampaignNo, Op};
use super::reason::Reason;
use super::state::{Moment, Program};

pub(super) fn units(points: u64, field: &'static str) -> Result<i64, Refused> {
    i64::try_from(points).map_err(|_| (Reason::AmountOverflow, field))
}

/// Units of a lot that are taken first, and at most how many.
pub(super) type Own = (LotKey, u64);

/// A member's account and the legs that a decision puts on it.
pub(super) struct Posting {
    pub(super) op: Op,
    pub(super) now_us: i64,
    pub(super) holding: Holding,
    pub(super) legs: Legs,
    /// More legs were asked for than an event has.
    pub(super) full: bool,
}

impl Posting {
    /// A posting on what a member owns.
    pub(super) fn on(holding: Holding, at: Moment) -> Self {
        Self { op: at.op, now_us: at.book_time_us, holding, legs: Legs::default(), full: false }
    }

    /// The legs, where they fit an event.
    pub(super) fn legs_checked(self, field: &'static str) -> Result<Legs, Refused> {
        if self.full { Err((Reason::AmountOverflow, field)) } else { Ok(self.legs) }
    }

    pub(super) fn push(&mut self, asset: AssetNo, account: Account, amount: i64) {
        if amount != 0 && !self.legs.push(Leg { account, asset, amount }) {
            self.full = true;
        }
    }

    /// Puts an amount on the program's `issuance`.
    pub(super) fn on_issuance(&mut self, program: &Program, asset: AssetNo, amount: i64) {
        let link = self.op.distance_from(program.accounts(asset).issuance.head);
        self.push(asset, Account::Issuance { link }, amount);
    }

    /// Puts an amount on the program's `breakage`.
    pub(super) fn on_breakage(&mut self, program: &Program, asset: AssetNo, amount: i64) {
        let link = self.op.distance_from(program.accounts(asset).breakage.head);
        self.push(asset, Account::Breakage { link }, amount);
    }

    /// Puts an amount on a campaign's budget.
    pub(super) fn on_budget(&mut self, program: &Program, campaign: CampaignNo, amount: i64) {
        let Some(known) = program.campaign(campaign) else { return };
        let link = self.op.distance_from(known.purse.budget.head);
        self.push(known.spec.asset_no(), Account::Campaign { campaign, link }, amount);
    }

    /// Whether what would enter a lot has lapsed.
    pub(super) fn has_lapsed(&self, key: LotKey) -> bool {
        self.holding.lapse_of(key).is_some_and(|minute| instant_of(minute) <= self.now_us)
    }

    /// Credits the member: debt is settled first, part after part, and the rest enters the parts' lots, or `breakage` where
    /// the lot has lapsed. Returns what had lapsed.
    pub(super) fn credit(
        &mut self,
        program: &Program,
        asset: AssetNo,
        parts: &[(LotId, u64)],
        field: &'static str,
    ) -> Result<u64, Refused> {
        let (mut settled, mut lapsed) = (0_i64, 0_u64);
        let mut entering: SmallVec<[(LotKey, u64); 4]> = SmallVec::new();
        for (lot, points) in parts {
            let points = units(*points, field)?;
            let debt = self.holding.debt(asset);
            let pays = points.min(debt);
            self.holding.set_debt(asset, debt - pays);
            settled += pays;
            let key = LotKey { asset, lot: *lot };
            let rest = (points - pays).unsigned_abs();
            match self.has_lapsed(key) {
                true => lapsed = lapsed.checked_add(rest).ok_or((Reason::AmountOverflow, field))?,
                false if rest > 0 => entering.push((key, rest)),
                false => {}
            }
        }
        self.push(asset, Account::Debt, settled);
        for (key, points) in entering {
            let position = self.holding.enter(key, points, self.op).ok_or((Reason::AmountOverflow, field))?;
            self.push(asset, Account::Available { lot: key.lot, position }, units(points, field)?);
        }
        self.on_breakage(program, asset, units(lapsed, field)?);
        Ok(lapsed)
    }

    /// Chooses free units of an asset: the units `own` to an event first, then in spending order. The lots in the order
    /// in which they are taken, and what they do not hold.
    pub(super) fn choose(
        &self,
        asset: AssetNo,
        points: u64,
        own: &[Own],
        bonus_last: bool,
    ) -> (SmallVec<[Own; 4]>, u64) {
        let mut rest = points;
        let mut taken: SmallVec<[Own; 4]> = SmallVec::new();
        let mut take = |key: LotKey, most: u64, rest: &mut u64| {
            let Some(free) = self.holding.lot(key).map(|lot| self.holding.free_in(lot)) else { return };
            let place = taken.iter().position(|(known, _)| *known == key);
            let before = place.and_then(|place| taken.get(place)).map_or(0, |(_, units)| *units);
            let units = free.saturating_sub(before).min(most).min(*rest);
            *rest -= units;
            match place.and_then(|place| taken.get_mut(place)) {
                Some(known) => known.1 += units,
                None if units > 0 => taken.push((key, units)),
                None => {}
            }
        };
        for (key, most) in own {
            take(*key, *most, &mut rest);
        }
        if rest > 0 {
            for lot in self.holding.spending_order(asset, bonus_last) {
                take(lot.key, u64::MAX, &mut rest);
            }
        }
        (taken, rest)
    }

    /// Debits the member's lots, see [`Self::choose`]. Returns what the lots did not hold. The legs are in the order in
    /// which the lots are taken, so that spending which is undone comes back in the opposite one; in order of the lots'
    /// keys where units are `own`.
    pub(super) fn debit(&mut self, asset: AssetNo, points: u64, own: &[Own], bonus_last: bool) -> u64 {
        let (mut taken, rest) = self.choose(asset, points, own, bonus_last);
        if !own.is_empty() {
            taken.sort_unstable_by_key(|(key, _)| *key);
        }
        for (key, units) in taken {
            // No lot holds more than an i64, since together they are the available balance.
            let amount = i64::try_from(units).unwrap_or(i64::MAX);
            if let Some(position) = self.holding.leave(key, units) {
                self.push(asset, Account::Available { lot: key.lot, position }, -amount);
            }
        }
        rest
    }

    /// Lets the member owe units.
    pub(super) fn owe(&mut self, asset: AssetNo, points: u64, field: &'static str) -> Result<(), Refused> {
        let owed = units(points, field)?;
        let debt = self.holding.debt(asset).checked_add(owed).ok_or((Reason::AmountOverflow, field))?;
        self.holding.set_debt(asset, debt);
        self.push(asset, Account::Debt, -owed);
        Ok(())
    }

    /// The balances that the event tells beside the points.
    pub(super) fn others(&self) -> Vec<AssetBalances> {
        let mut touched: SmallVec<[AssetNo; 4]> = SmallVec::new();
        for leg in self.legs.iter() {
            if ![AssetNo::POINTS, AssetNo::PIECES].contains(&leg.asset) && !touched.contains(&leg.asset) {
                touched.push(leg.asset);
            }
        }
        self.holding.others(&touched)
    }
}
