//! The posting on one member: credits settle debt before they enter lots, debits leave lots in spending order.

use arrayvec::ArrayVec;

use super::decide::Refused;
use super::event::{Account, Asset, Expiry, Leg, Legs, LotId, Source};
use super::holding::{Holding, LOTS, SOURCES};
use super::ids::{CampaignNo, Op};
use super::reason::Reason;
use super::state::Program;

pub(super) fn units(points: u64, field: &'static str) -> Result<i64, Refused> {
    i64::try_from(points).map_err(|_| (Reason::AmountOverflow, field))
}

pub(super) fn lot(source: Source) -> LotId {
    LotId { source, expiry: Expiry::Never }
}

/// A member's account and the legs that a decision puts on it.
pub(super) struct Posting {
    pub(super) op: Op,
    pub(super) holding: Holding,
    pub(super) legs: Legs,
}

impl Posting {
    pub(super) fn push(&mut self, account: Account, amount: i64) {
        // LEGS_MAX holds a leg for each account that one event can touch, and each is pushed once.
        if amount != 0 && !self.legs.0.is_full() {
            self.legs.0.push(Leg { account, asset: Asset::Points, amount });
        }
    }

    /// Puts an amount on the program's `issuance`.
    pub(super) fn on_issuance(&mut self, program: &Program, amount: i64) {
        let link = self.op.distance_from(program.totals.issuance.head);
        self.push(Account::Issuance { link }, amount);
    }

    /// Puts an amount on a campaign's budget.
    pub(super) fn on_budget(&mut self, program: &Program, campaign: CampaignNo, amount: i64) {
        let head = program.campaign(campaign).map_or(Op(0), |campaign| campaign.purse.budget.head);
        self.push(Account::Campaign { campaign, link: self.op.distance_from(head) }, amount);
    }

    /// Credits the member: debt is settled first, part after part, and the rest enters the parts' lots.
    pub(super) fn credit(&mut self, parts: &[(Source, u64)], field: &'static str) -> Result<(), Refused> {
        let mut settled = 0_i64;
        let mut entering: ArrayVec<(Source, i64), LOTS> = ArrayVec::new();
        for (source, points) in parts {
            let points = units(*points, field)?;
            let pays = points.min(self.holding.balances.debt);
            self.holding.balances.debt -= pays;
            settled += pays;
            if points > pays {
                entering.push((*source, points - pays));
            }
        }
        self.push(Account::Debt, settled);
        for (source, points) in entering {
            let entered = self.holding.lot(source).entered;
            let fits = entered.checked_add(points.unsigned_abs()).is_some();
            let available = self.holding.balances.available.checked_add(points).filter(|_| fits);
            self.holding.balances.available = available.ok_or((Reason::AmountOverflow, field))?;
            self.push(Account::Available { lot: lot(source), position: entered }, points);
        }
        Ok(())
    }

    /// Debits the member's lots: the units `own` to an earn first, then in spending order. Returns what the lots did
    /// not hold.
    pub(super) fn debit(&mut self, points: u64, own: &[(Source, u64)]) -> u64 {
        let mut rest = points;
        let mut taken = [0_u64; LOTS];
        let mut take = |source: Source, most: u64, rest: &mut u64| {
            let place = SOURCES.iter().position(|known| *known == source).and_then(|place| taken.get_mut(place));
            if let Some(taken) = place {
                let units = self.holding.lot(source).units().saturating_sub(*taken).min(most).min(*rest);
                *taken += units;
                *rest -= units;
            }
        };
        for (source, most) in own {
            take(*source, *most, &mut rest);
        }
        // None of these lots expires, so the oldest goes first; lots of one op go in order of source.
        let mut order = SOURCES;
        order.sort_by_key(|source| (self.holding.lot(*source).opened, *source));
        for source in order {
            take(source, u64::MAX, &mut rest);
        }
        for (source, units) in SOURCES.into_iter().zip(taken) {
            // No lot holds more than an i64, since together they are the available balance.
            let amount = i64::try_from(units).unwrap_or(i64::MAX);
            self.holding.balances.available -= amount;
            let position = self.holding.lot(source).left;
            self.push(Account::Available { lot: lot(source), position }, -amount);
        }
        rest
    }

    /// Debits the member's lots and lets what they do not hold become debt.
    pub(super) fn debit_into_debt(
        &mut self,
        points: u64,
        own: &[(Source, u64)],
        field: &'static str,
    ) -> Result<(), Refused> {
        let owed = units(self.debit(points, own), field)?;
        let debt = self.holding.balances.debt.checked_add(owed);
        self.holding.balances.debt = debt.ok_or((Reason::AmountOverflow, field))?;
        self.push(Account::Debt, -owed);
        Ok(())
    }
}
