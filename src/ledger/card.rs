//! Reads of what a member has at an instant, and of what lapses until one.

use std::collections::BTreeMap;

use super::event::AssetBalances;
use super::holding::{Holding, instant_of};
use super::ids::{AssetNo, MemberNo, ProgramNo, TagNo};
use super::profile::Profile;
use super::spec::ASSETS_MAX;
use super::state::{AssetBooks, Ledger};
use super::view::{AssetCard, Forecast, MemberCard};

/// Instants that one answer on what lapses holds at most.
pub const EXPIRING_MAX: usize = 10_000;

/// Every number that an asset can have.
fn assets() -> impl Iterator<Item = AssetNo> {
    (0..=u8::MAX).map(AssetNo).take(ASSETS_MAX)
}

impl Ledger {
    /// What a member has at an instant, microseconds since the Unix epoch.
    #[must_use]
    pub fn card(&self, member: MemberNo, now_us: i64) -> MemberCard {
        let holding = self.members.holding(member).unwrap_or_default();
        let known = |card: &AssetCard| {
            let AssetBalances { asset, available, held, pending, debt } = card.balances;
            let lots = || holding.lots.iter().any(|lot| lot.key.asset == asset);
            asset == AssetNo::POINTS || [available, held, pending, debt].iter().any(|units| *units != 0) || lots()
        };
        let assets = assets().map(|asset| card(&holding, asset, now_us)).filter(known).collect();
        let Profile { joined_day, tags } = holding.profile();
        let program = self.members.program(member).and_then(|program| self.program(program));
        let name = |tag: TagNo| program.and_then(|program| program.tag_name(tag)).map(str::to_owned);
        let mut tags: Vec<String> = tags.into_iter().filter_map(name).collect();
        tags.sort_unstable();
        let aliases = self.members.aliases.count(member);
        MemberCard { standing: holding.standing, assets, joined_day, tags, aliases }
    }

    /// What the lots of a member, or of all members of a program, hold that lapses before or at an instant, microseconds
    /// since the Unix epoch: by asset, then by instant. What holds pin is among it, and what has lapsed and is not in
    /// `breakage` yet. Where there are more than [`EXPIRING_MAX`], one more than that.
    #[must_use]
    pub fn expiring(&self, program: ProgramNo, member: Option<MemberNo>, until_us: i64) -> Vec<Forecast> {
        let mut lapsing: BTreeMap<(AssetNo, u32), i64> = BTreeMap::new();
        match member {
            Some(member) => {
                let holding = self.members.holding(member).unwrap_or_default();
                for lot in holding.lots.iter().filter(|lot| lot.units() > 0) {
                    let Some(at_min) = holding.lapse_of(lot.key) else { continue };
                    let units = lapsing.entry((lot.key.asset, at_min)).or_default();
                    *units = units.saturating_add_unsigned(lot.units());
                }
            }
            None => {
                let books = self.program(program).map(|program| program.assets.as_slice()).unwrap_or_default();
                for (asset, books) in assets().zip(books) {
                    let until = books.sums.lapsing.iter().take_while(|(at_min, _)| instant_of(**at_min) <= until_us);
                    let room = EXPIRING_MAX.saturating_add(1).saturating_sub(lapsing.len());
                    lapsing.extend(until.take(room).map(|(at_min, units)| ((asset, *at_min), *units)));
                }
            }
        }
        let until = |forecast: &Forecast| instant_of(forecast.at_min) <= until_us;
        let shown = |((asset, at_min), units)| Forecast { asset, at_min, units };
        lapsing.into_iter().map(shown).filter(until).collect()
    }

    /// Units in lots of all members of a program that have lapsed by an instant, microseconds since the Unix epoch, and are not in
    /// `breakage` yet, by asset. What holds pin is not among them: it has not lapsed.
    #[must_use]
    pub fn unswept(&self, program: ProgramNo, at_us: i64) -> Vec<(AssetNo, i64)> {
        let until = |sums: &BTreeMap<u32, i64>| -> i64 {
            let lapsed = sums.iter().take_while(|(at_min, _)| instant_of(**at_min) <= at_us);
            lapsed.fold(0, |sum, (_, units)| sum.saturating_add(*units))
        };
        let books = self.program(program).map(|program| program.assets.as_slice()).unwrap_or_default();
        let left = |(asset, books): (AssetNo, &AssetBooks)| {
            (asset, until(&books.sums.lapsing).saturating_sub(until(&books.sums.pinned)))
        };
        assets().zip(books).map(left).filter(|(_, units)| *units != 0).collect()
    }
}

fn card(holding: &Holding, asset: AssetNo, now_us: i64) -> AssetCard {
    let mut card = AssetCard { balances: holding.balances(asset), lapsed: 0, next_lapse: None };
    for lot in holding.lots.iter().filter(|lot| lot.key.asset == asset) {
        let free = holding.free_in(lot);
        let Some(at_min) = holding.lapse_of(lot.key).filter(|_| free > 0) else { continue };
        if instant_of(at_min) <= now_us {
            card.lapsed = card.lapsed.saturating_add_unsigned(free);
            continue;
        }
        let units = i64::try_from(free).unwrap_or(i64::MAX);
        card.next_lapse = match card.next_lapse {
            Some(next) if next.0 < at_min => Some(next),
            Some((first, others)) if first == at_min => Some((first, others.saturating_add(units))),
            _ => Some((at_min, units)),
        };
    }
    card
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::command::Purpose;
    use super::super::event::{Expiry, LotId, Source};
    use super::super::holding::{Hold, Lot, LotKey};
    use super::super::ids::Op;
    use super::*;

    const MINUTE_US: i64 = 60_000_000;

    fn holding(lots: &[(u32, u64)]) -> Holding {
        let mut holding = Holding::default();
        for (place, (at_min, units)) in (0_u32..).zip(lots) {
            // Sources differ so that lots of one date stay apart.
            let source = if place % 2 == 0 { Source::Base } else { Source::Campaign };
            let lot = LotId { source, expiry: Expiry::At(*at_min) };
            holding.enter(LotKey { asset: AssetNo::POINTS, lot }, *units, Op(1)).unwrap();
        }
        holding
    }

    #[test]
    fn a_card_tells_what_has_lapsed_from_what_lapses_next() {
        let holding = holding(&[(10, 1), (20, 2), (40, 8), (30, 16), (30, 4), (30, 32)]);
        for (now_min, lapsed, next) in [
            (9, 0, Some((10, 1))),
            (10, 1, Some((20, 2))),
            (29, 3, Some((30, 52))),
            (30, 55, Some((40, 8))),
            (40, 63, None),
        ] {
            let card = card(&holding, AssetNo::POINTS, now_min * MINUTE_US);
            assert_eq!((card.lapsed, card.next_lapse, card.balances.available), (lapsed, next, 63), "{now_min}");
        }
    }

    #[test]
    fn what_is_pinned_does_not_lapse_next() {
        let mut holding = holding(&[(10, 5)]);
        let Some(Lot { key, .. }) = holding.lots.first().copied() else { return };
        let (purpose, asset) = (Purpose::Gift, AssetNo::POINTS);
        let parts = [(key.lot, 5)].into_iter().collect();
        holding.holds.push(Hold { op: Op(2), asset, purpose, until_us: 9, reward: None, parts });
        let card = card(&holding, asset, 10 * MINUTE_US);
        assert_eq!((card.lapsed, card.next_lapse, card.balances.held), (0, None, 5));
    }
}
