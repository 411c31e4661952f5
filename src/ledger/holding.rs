//! What a member owns, as the rules see it: lots, debts, pending earns, holds. How it lies in a page is in
//! [`super::slot`].

use smallvec::SmallVec;

use super::command::{Matures, Purpose, Standing};
use super::event::{AssetBalances, Balances, Expiry, LotId};
use super::ids::{AssetNo, Op, RewardNo};
use super::profile::Profile;

/// A minute in microseconds.
pub(crate) const MINUTE_US: i64 = 60_000_000;
/// Earns of one member that may be pending at a time.
pub(crate) const PENDING_MAX: usize = 64;
/// Open holds of one member.
pub(crate) const HOLDS_MAX: usize = 32;

/// The instant of a minute, in microseconds since the Unix epoch.
pub(crate) fn instant_of(minute: u32) -> i64 {
    i64::from(minute).saturating_mul(MINUTE_US)
}

/// A lot among the lots of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LotKey {
    pub(crate) asset: AssetNo,
    pub(crate) lot: LotId,
}

/// One lot: what has entered and what has left, so that each event's units are an interval of positions. Units that a hold
/// pins have not left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lot {
    pub(crate) key: LotKey,
    pub(crate) entered: u64,
    pub(crate) left: u64,
    /// The op that put units into it when it was last empty.
    pub(crate) opened: Op,
}

impl Lot {
    pub(crate) fn units(&self) -> u64 {
        self.entered.saturating_sub(self.left)
    }
}

/// An earn whose units are not available yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) earn: Op,
    pub(crate) matures: Matures,
    /// What waits for which lot, in the order in which it will enter.
    pub(crate) parts: SmallVec<[(LotKey, u64); 2]>,
}

/// A reward, and the units that one of its pieces costs.
pub(crate) type Priced = (RewardNo, u64);

/// Units that are pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) op: Op,
    pub(crate) asset: AssetNo,
    pub(crate) purpose: Purpose,
    pub(crate) until_us: i64,
    /// The reward whose pieces it reserves with the units.
    pub(crate) reward: Option<Priced>,
    /// How many of which lot, in the order in which they are spent.
    pub(crate) parts: SmallVec<[(LotId, u64); 2]>,
}

impl Hold {
    pub(crate) fn units(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, units)| sum.saturating_add(*units))
    }
}

/// What a member owns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// The member's newest event.
    pub(crate) head: Op,
    /// The newest event that moved lots or pending units as they are: see [`super::event::Due::ends_link`].
    pub(crate) ends: Op,
    /// Where a dated lot begins to count: no dated lot that went had an interval beyond it.
    pub(crate) floor: u64,
    pub(crate) standing: Standing,
    /// What is owed, by asset; none of them 0.
    pub(crate) debts: SmallVec<[(AssetNo, i64); 1]>,
    /// In order of their keys.
    pub(crate) lots: SmallVec<[Lot; 2]>,
    /// Until when rolling units live, by asset.
    pub(crate) rolls: Vec<(AssetNo, u32)>,
    /// In order of their earns.
    pub(crate) pending: Vec<Pending>,
    /// In order of their ops.
    pub(crate) holds: Vec<Hold>,
    /// What the member is; `None` where nobody told.
    pub(crate) profile: Option<Box<Profile>>,
}

impl Default for Holding {
    fn default() -> Self {
        Self {
            head: Op(0),
            ends: Op(0),
            floor: 0,
            standing: Standing::Open,
            debts: SmallVec::new(),
            lots: SmallVec::new(),
            rolls: Vec::new(),
            pending: Vec::new(),
            holds: Vec::new(),
            profile: None,
        }
    }
}

impl Clone for Holding {
    /// Lists of plain values are copied at once: every event makes such a copy.
    fn clone(&self) -> Self {
        Self {
            head: self.head,
            ends: self.ends,
            floor: self.floor,
            standing: self.standing,
            debts: SmallVec::from_slice(&self.debts),
            lots: SmallVec::from_slice(&self.lots),
            rolls: self.rolls.clone(),
            pending: self.pending.clone(),
            holds: self.holds.clone(),
            profile: self.profile.clone(),
        }
    }
}

fn signed(units: u64) -> i64 {
    // Who changed the holding saw that its sums fit.
    i64::try_from(units).unwrap_or(i64::MAX)
}

impl Holding {
    pub(crate) fn lot(&self, key: LotKey) -> Option<&Lot> {
        self.lots.binary_search_by_key(&key, |lot| lot.key).ok().and_then(|place| self.lots.get(place))
    }

    /// Whether the member has lots and nothing else.
    pub(crate) fn is_plain(&self) -> bool {
        self.debts.is_empty() && self.holds.is_empty() && self.pending.is_empty() && self.rolls.is_empty()
    }

    /// Whether the lots are those of another state, each maybe with other units.
    pub(crate) fn has_lots_of(&self, other: &Self) -> bool {
        self.lots.len() == other.lots.len()
            && self.lots.iter().zip(&other.lots).all(|(lot, other)| lot.key == other.key)
    }

    /// Units of a lot that holds pin.
    pub(crate) fn held_in(&self, key: LotKey) -> u64 {
        let of_lot = |hold: &&Hold| hold.asset == key.asset;
        let parts = self.holds.iter().filter(of_lot).flat_map(|hold| &hold.parts);
        parts.filter(|(lot, _)| *lot == key.lot).fold(0, |sum, (_, units)| sum.saturating_add(*units))
    }

    /// Units of a lot that may be spent, its date apart.
    pub(crate) fn free_in(&self, lot: &Lot) -> u64 {
        lot.units().saturating_sub(self.held_in(lot.key))
    }

    pub(crate) fn debt(&self, asset: AssetNo) -> i64 {
        self.debts.iter().find(|(known, _)| *known == asset).map_or(0, |(_, debt)| *debt)
    }

    pub(crate) fn set_debt(&mut self, asset: AssetNo, debt: i64) {
        match self.debts.binary_search_by_key(&asset, |(known, _)| *known) {
            Ok(place) if debt == 0 => {
                self.debts.remove(place);
            }
            Ok(place) => {
                if let Some(known) = self.debts.get_mut(place) {
                    known.1 = debt;
                }
            }
            Err(_) if debt == 0 => {}
            Err(place) => self.debts.insert(place, (asset, debt)),
        }
    }

    /// Until when rolling units of an asset live, in minutes.
    pub(crate) fn rolls_until(&self, asset: AssetNo) -> Option<u32> {
        self.rolls.iter().find(|(known, _)| *known == asset).map(|(_, until)| *until)
    }

    pub(crate) fn set_roll(&mut self, asset: AssetNo, until: u32) {
        match self.rolls.binary_search_by_key(&asset, |(known, _)| *known) {
            Ok(place) => {
                if let Some(known) = self.rolls.get_mut(place) {
                    known.1 = until;
                }
            }
            Err(place) => self.rolls.insert(place, (asset, until)),
        }
    }

    /// When what is in a lot lapses, in minutes; `None` for never.
    pub(crate) fn lapse_of(&self, key: LotKey) -> Option<u32> {
        match key.lot.expiry {
            Expiry::Never => None,
            Expiry::At(minute) => Some(minute),
            Expiry::Rolling => self.rolls_until(key.asset),
        }
    }

    /// What the member has of an asset.
    pub(crate) fn balances(&self, asset: AssetNo) -> AssetBalances {
        let lots = self.lots.iter().filter(|lot| lot.key.asset == asset);
        let units = lots.fold(0_u64, |sum, lot| sum.saturating_add(lot.units()));
        if self.holds.is_empty() && self.pending.is_empty() {
            return AssetBalances { asset, available: signed(units), held: 0, pending: 0, debt: self.debt(asset) };
        }
        let holds = self.holds.iter().filter(|hold| hold.asset == asset);
        let held = holds.fold(0_u64, |sum, hold| sum.saturating_add(hold.units()));
        let waiting = self.pending.iter().flat_map(|pending| &pending.parts).filter(|(key, _)| key.asset == asset);
        let pending = waiting.fold(0_u64, |sum, (_, units)| sum.saturating_add(*units));
        AssetBalances {
            asset,
            available: signed(units.saturating_sub(held)),
            held: signed(held),
            pending: signed(pending),
            debt: self.debt(asset),
        }
    }

    /// The member's points.
    pub(crate) fn points(&self) -> Balances {
        let AssetBalances { available, debt, .. } = self.balances(AssetNo::POINTS);
        Balances { available, debt }
    }

    /// The balances that an event tells beside [`Self::points`]: see `Common::others`.
    pub(crate) fn others(&self, touched: &[AssetNo]) -> Vec<AssetBalances> {
        let mut assets: SmallVec<[AssetNo; 4]> =
            touched.iter().copied().filter(|asset| *asset != AssetNo::POINTS).collect();
        if !self.holds.is_empty() || !self.pending.is_empty() {
            assets.push(AssetNo::POINTS);
        }
        assets.sort_unstable();
        assets.dedup();
        let told =
            |balances: &AssetBalances| balances.asset != AssetNo::POINTS || balances.held != 0 || balances.pending != 0;
        assets.into_iter().map(|asset| self.balances(asset)).filter(told).collect()
    }

    /// Puts units into a lot; where they begin in it. `None` where the lot or the balance would overflow.
    pub(crate) fn enter(&mut self, key: LotKey, units: u64, op: Op) -> Option<u64> {
        let after = self.balances(key.asset).available.checked_add(i64::try_from(units).ok()?)?;
        let place = match self.lots.binary_search_by_key(&key, |lot| lot.key) {
            Ok(place) => place,
            Err(place) => {
                let start = if matches!(key.lot.expiry, Expiry::At(_)) { self.floor } else { 0 };
                self.lots.insert(place, Lot { key, entered: start, left: start, opened: op });
                place
            }
        };
        let lot = self.lots.get_mut(place)?;
        if lot.units() == 0 {
            lot.opened = op;
        }
        let position = lot.entered;
        lot.entered = lot.entered.checked_add(units).filter(|_| after >= 0)?;
        Some(position)
    }

    /// Takes units out of a lot; where they began in it. `None` where it has not as many. A dated lot that holds nothing
    /// any more goes.
    pub(crate) fn leave(&mut self, key: LotKey, units: u64) -> Option<u64> {
        let place = self.lots.binary_search_by_key(&key, |lot| lot.key).ok()?;
        let lot = self.lots.get_mut(place)?;
        let position = lot.left;
        lot.left = lot.left.checked_add(units).filter(|left| *left <= lot.entered)?;
        if lot.units() == 0 && matches!(key.lot.expiry, Expiry::At(_)) {
            self.floor = self.floor.max(lot.entered);
            self.lots.remove(place);
        }
        Some(position)
    }

    /// The lots of an asset in the order in which they are spent: with `bonus_last` what a top-up gave beside what was
    /// paid goes after all else.
    pub(crate) fn spending_order(&self, asset: AssetNo, bonus_last: bool) -> SmallVec<[Lot; 4]> {
        let mut order: SmallVec<[Lot; 4]> = self.lots.iter().filter(|lot| lot.key.asset == asset).copied().collect();
        let bonus = |lot: &Lot| bonus_last && lot.key.lot.source == super::event::Source::Bonus;
        order.sort_by_key(|lot| {
            (bonus(lot), self.lapse_of(lot.key).unwrap_or(u32::MAX), lot.opened, lot.key.lot.source)
        });
        order
    }

    /// The first instant at which something of the member falls due, in microseconds since the Unix epoch; `i64::MAX` for
    /// none.
    pub(crate) fn next_due_us(&self) -> i64 {
        let closed = self.standing == Standing::Closed;
        let lots = self.lots.iter().filter_map(|lot| {
            // What a closed member has is due at once.
            let due_us = if closed { i64::MIN } else { instant_of(self.lapse_of(lot.key)?) };
            (self.free_in(lot) > 0).then_some(due_us)
        });
        let holds = self.holds.iter().map(|hold| hold.until_us);
        let pending = self.pending.iter().filter_map(|pending| match pending.matures {
            Matures::At(instant) => Some(instant),
            Matures::Activated => None,
        });
        lots.chain(holds).chain(pending).min().unwrap_or(i64::MAX)
    }
}
