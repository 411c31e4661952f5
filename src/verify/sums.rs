//! The trial balance a second time, from nothing but the legs, so that the ledger's own bookkeeping is not its only
//! witness.

use std::collections::BTreeMap;

use crate::audit::chart::Class;
use crate::ledger::event::{Event, Side};
use crate::ledger::ids::{AssetNo, ProgramNo};
use crate::ledger::view::{CampaignView, PIECES, ProgramTrial, RewardView};

/// The sums of all legs, by program, asset and account.
#[derive(Default)]
pub(super) struct Sums {
    programs: BTreeMap<ProgramNo, BTreeMap<(AssetNo, Class), i128>>,
}

/// What the numbers in a program's legs stand for.
pub(super) struct Ids {
    /// The ids of its assets, in order of their numbers.
    pub(super) assets: Vec<String>,
    /// Its campaigns.
    pub(super) campaigns: Vec<CampaignView>,
    /// Its rewards, in order of their numbers.
    pub(super) rewards: Vec<RewardView>,
    /// The ids of all programs, in order of their numbers.
    pub(super) programs: Vec<String>,
}

impl Ids {
    /// The asset's id and the account's name in the trial balance.
    fn row(&self, asset: AssetNo, class: Class) -> (&str, String) {
        let id = match class {
            Class::Campaign(number) => {
                self.campaigns.iter().find(|view| view.number == number).map(|view| view.spec.id.as_str())
            }
            Class::Stock(number) | Class::Reserved(number) => {
                self.rewards.get(usize::from(number.0)).map(|view| view.sku.as_str())
            }
            Class::Conversion(program) => self.programs.get(usize::from(program.0)).map(String::as_str),
            _ => None,
        };
        let asset = match asset {
            AssetNo::PIECES => PIECES,
            _ => self.assets.get(usize::from(asset.0)).map_or("unknown", String::as_str),
        };
        (asset, class.name(id.unwrap_or("unknown")))
    }
}

impl Sums {
    /// Adds an event's legs, which must sum to zero in each asset of each program.
    pub(super) fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        let mut totals: BTreeMap<(ProgramNo, AssetNo), i128> = BTreeMap::new();
        for Side { program, legs, .. } in event.sides() {
            for leg in legs {
                let amount = i128::from(leg.amount);
                *totals.entry((program, leg.asset)).or_default() += amount;
                let sums = self.programs.entry(program).or_default();
                *sums.entry((leg.asset, Class::of(&leg.account))).or_default() += amount;
            }
        }
        match totals.into_iter().find(|(_, total)| *total != 0) {
            None => Ok(()),
            Some(((_, AssetNo::POINTS), total)) => Err(format!("its legs sum to {total}")),
            Some(((_, asset), total)) => Err(format!("its legs in asset {} sum to {total}", asset.0)),
        }
    }

    /// Whether these sums are the ledger's trial balance, row for row, and zero for each program and asset.
    pub(super) fn agree(mut self, trial: &[ProgramTrial], ids: impl Fn(ProgramNo) -> Ids) -> Result<(), String> {
        for (number, program) in (0..=u16::MAX).map(ProgramNo).zip(trial) {
            let ids = ids(number);
            let sums = self.programs.remove(&number).unwrap_or_default();
            let mut sums: BTreeMap<_, _> =
                sums.into_iter().map(|((asset, class), sum)| (ids.row(asset, class), sum)).collect();
            let mut totals: BTreeMap<&str, i128> = BTreeMap::new();
            for ((asset, _), sum) in &sums {
                *totals.entry(*asset).or_default() += sum;
            }
            if let Some((asset, total)) = totals.into_iter().find(|(_, total)| *total != 0) {
                return Err(format!("the legs of program {} in {asset} sum to {total}", program.program));
            }
            for row in &program.rows {
                let sum = sums.remove(&(row.asset.as_str(), row.account.clone())).unwrap_or(0);
                if sum != i128::from(row.balance) {
                    let text = format!("account {} of program {} in {}", row.account, program.program, row.asset);
                    return Err(format!("{text} stands at {} and its legs sum to {sum}", row.balance));
                }
            }
            if let Some(((asset, name), sum)) = sums.into_iter().find(|(_, sum)| *sum != 0) {
                return Err(format!("the legs on {name} of program {} in {asset} sum to {sum}", program.program));
            }
        }
        match self.programs.is_empty() {
            true => Ok(()),
            false => Err("legs stand in a program that the book does not have".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::audit::paper::{ASSETS, PaperBook};
    use crate::ledger::codec;
    use crate::ledger::view::TrialRow;

    fn agreed(paper: &PaperBook, trial: &[ProgramTrial]) -> Result<(), String> {
        let mut sums = Sums::default();
        for op in 1..=paper.newest().0 {
            let stored = paper.book.read(op).unwrap();
            sums.take(&codec::decode(&stored.bytes).unwrap()).unwrap();
        }
        let assets: Vec<_> = ASSETS.iter().map(|id| (*id).to_owned()).collect();
        let programs: Vec<_> = trial.iter().map(|trial| trial.program.clone()).collect();
        let ids = |number| Ids {
            assets: assets.clone(),
            campaigns: paper.campaigns(number),
            rewards: Vec::new(),
            programs: programs.clone(),
        };
        sums.agree(trial, ids)
    }

    #[test]
    fn the_legs_come_to_the_trial_balance_in_every_asset_and_a_balance_under_another_asset_is_found() {
        let paper = PaperBook::lived();
        let trial = paper.trials.last().unwrap();
        agreed(&paper, trial).unwrap();
        for (place, row) in trial[0].rows.iter().enumerate().filter(|(_, row)| row.balance != 0) {
            let mut other = trial.clone();
            other[0].rows[place].asset = if row.asset == "coupon" { "wallet" } else { "coupon" }.to_owned();
            let error = agreed(&paper, &other).unwrap_err();
            assert!(error.contains(&row.account) && error.contains("shop"), "{row:?}: {error}");
            let mut other = trial.clone();
            other[0].rows[place].balance += 1;
            let error = agreed(&paper, &other).unwrap_err();
            assert!(error.contains(&row.account) && error.contains(&row.asset), "{row:?}: {error}");
        }
        let mut more = trial.clone();
        more[0].rows.push(TrialRow { asset: "coupon".to_owned(), account: "cash".to_owned(), balance: 7 });
        let error = agreed(&paper, &more).unwrap_err();
        assert!(error.contains("cash of program shop in coupon stands at 7 and its legs sum to 0"), "{error}");
    }

    #[test]
    fn legs_that_sum_to_zero_over_assets_and_not_in_each_are_found() {
        let paper = PaperBook::lived();
        let stored = paper.book.read(9).unwrap();
        let mut event = codec::decode(&stored.bytes).unwrap();
        let Event::Earned(earned) = &mut event else { unreachable!("op 9 is an earn") };
        let mut legs = crate::ledger::event::Legs::default();
        for (place, leg) in earned.legs.iter().enumerate() {
            let asset = AssetNo(u8::try_from(place).unwrap());
            assert!(legs.push(crate::ledger::event::Leg { asset, ..*leg }));
        }
        earned.legs = legs;
        assert_eq!(event.legs().iter().map(|leg| leg.amount).sum::<i64>(), 0);
        let error = Sums::default().take(&event).unwrap_err();
        assert!(error.contains("its legs sum to -5"), "{error}");
    }
}
