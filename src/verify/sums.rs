//! The trial balance a second time, from nothing but the legs, so that the ledger's own bookkeeping is not its only
//! witness.

use std::collections::BTreeMap;

use crate::ledger::event::{Account, Event};
use crate::ledger::ids::{CampaignNo, ProgramNo};
use crate::ledger::view::{CampaignView, ProgramTrial};

/// The sums of all legs, by program and account.
#[derive(Default)]
pub(super) struct Sums {
    programs: BTreeMap<ProgramNo, BTreeMap<Class, i128>>,
}

/// An account, or all members' accounts of a class together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Available,
    Debt,
    Issuance,
    Campaign(CampaignNo),
    Redemption(&'static str),
    Adjustment,
    Opening,
}

impl Class {
    fn of(account: &Account) -> Self {
        match account {
            Account::Available { .. } => Self::Available,
            Account::Debt => Self::Debt,
            Account::Issuance { .. } => Self::Issuance,
            Account::Campaign { campaign, .. } => Self::Campaign(*campaign),
            Account::Redemption { purpose, .. } => Self::Redemption(purpose.name()),
            Account::Adjustment { .. } => Self::Adjustment,
            Account::Opening { .. } => Self::Opening,
        }
    }

    /// The name in the trial balance.
    fn name(self, campaigns: &[CampaignView]) -> String {
        match self {
            Self::Available => "member/available".to_owned(),
            Self::Debt => "member/debt".to_owned(),
            Self::Issuance => "issuance".to_owned(),
            Self::Campaign(number) => {
                let id = campaigns.iter().find(|view| view.number == number).map(|view| view.spec.id.as_str());
                format!("campaign/{}", id.unwrap_or("unknown"))
            }
            Self::Redemption(purpose) => format!("redemption/{purpose}"),
            Self::Adjustment => "adjustment".to_owned(),
            Self::Opening => "opening".to_owned(),
        }
    }
}

impl Sums {
    /// Adds an event's legs, which must sum to zero.
    pub(super) fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        let (program, _, _) = event.identity();
        let mut total = 0_i128;
        for leg in event.legs() {
            let amount = i128::from(leg.amount);
            total += amount;
            *self.programs.entry(program).or_default().entry(Class::of(&leg.account)).or_insert(0) += amount;
        }
        if total == 0 { Ok(()) } else { Err(format!("its legs sum to {total}")) }
    }

    /// Whether these sums are the ledger's trial balance, row for row, and zero for each program.
    pub(super) fn agree(
        mut self,
        trial: &[ProgramTrial],
        campaigns: impl Fn(ProgramNo) -> Vec<CampaignView>,
    ) -> Result<(), String> {
        for (number, program) in (0..=u16::MAX).map(ProgramNo).zip(trial) {
            let campaigns = campaigns(number);
            let sums = self.programs.remove(&number).unwrap_or_default();
            let mut sums: BTreeMap<_, _> = sums.into_iter().map(|(class, sum)| (class.name(&campaigns), sum)).collect();
            let total: i128 = sums.values().sum();
            if total != 0 {
                return Err(format!("the legs of program {} sum to {total}", program.program));
            }
            for row in &program.rows {
                let sum = sums.remove(&row.account).unwrap_or(0);
                if sum != i128::from(row.balance) {
                    let text = format!("account {} of program {}", row.account, program.program);
                    return Err(format!("{text} stands at {} and its legs sum to {sum}", row.balance));
                }
            }
            if let Some((name, sum)) = sums.into_iter().find(|(_, sum)| *sum != 0) {
                return Err(format!("the legs on {name} of program {} sum to {sum}", program.program));
            }
        }
        match self.programs.is_empty() {
            true => Ok(()),
            false => Err("legs stand in a program that the book does not have".to_owned()),
        }
    }
}
