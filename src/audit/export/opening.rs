//! The balances before the first event of a range: those at its end, less what the range moved.

use std::collections::BTreeMap;

use crate::audit::chart::Class;
use crate::ledger::event::{Account, Event};
use crate::ledger::ids::{MemberNo, MemberRef, ProgramNo};

use super::columns::AccountRow;
use super::rows::Ids;
use super::source::{Accounts, MEMBERS_PER_PAGE, SnapshotIds};
use super::{ExportError, account_row};

/// Finds the balances as the events of the range go by: a member's first one tells how the member stood before it.
pub(super) struct Opening<'a> {
    accounts: &'a dyn Accounts,
    /// A bit for each member whose first event in the range went by.
    seen: Vec<u64>,
    /// What the range moved on the programs' own accounts.
    moved: BTreeMap<(ProgramNo, String), i128>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(accounts: &'a dyn Accounts) -> Self {
        Self { accounts, seen: Vec::new(), moved: BTreeMap::new() }
    }

    /// Whether it is the first time that this member is asked about.
    fn first(&mut self, member: MemberNo) -> bool {
        let place = usize::try_from(member.0 / 64).unwrap_or(usize::MAX);
        if self.seen.len() <= place {
            self.seen.resize(place + 1, 0);
        }
        let bit = 1_u64 << (member.0 % 64);
        let Some(word) = self.seen.get_mut(place) else { return false };
        let first = *word & bit == 0;
        *word |= bit;
        first
    }

    /// Takes the next event of the range; the balances of its member before it, if it is the member's first.
    pub(super) fn take(
        &mut self,
        event: &Event<'_>,
        ids: &mut SnapshotIds<'_>,
    ) -> Result<Vec<AccountRow>, ExportError> {
        let (program, _, _) = event.identity();
        let (mut available, mut owed) = (0_i64, 0_i64);
        for leg in event.legs() {
            match leg.account {
                Account::Available { .. } => available = available.saturating_add(leg.amount),
                Account::Debt => owed = owed.saturating_add(leg.amount),
                _ => {
                    let class = Class::of(&leg.account);
                    let campaign = match class {
                        Class::Campaign(campaign) => ids.campaign(program, campaign).unwrap_or_default(),
                        _ => "",
                    };
                    *self.moved.entry((program, class.name(campaign))).or_default() += i128::from(leg.amount);
                }
            }
        }
        let Some((common, number)) = event.common().and_then(|common| Some((common, common.member.number()?))) else {
            return Ok(Vec::new());
        };
        if !self.first(number) || matches!(common.member, MemberRef::Opened(..)) {
            return Ok(Vec::new());
        }
        let (program, member) = (ids.program(program).unwrap_or_default().to_owned(), ids.member(number)?);
        let before = [
            ("member/available", common.after.available.saturating_sub(available)),
            ("member/debt", common.after.debt.saturating_neg().saturating_sub(owed)),
        ];
        let rows = before.into_iter().filter(|(_, balance)| *balance != 0);
        Ok(rows.map(|(account, balance)| account_row(&program, account, &member, balance)).collect())
    }

    /// The balances of all other accounts: those at the end of the range, less what it moved.
    pub(super) fn rest(
        &mut self,
        each: &mut dyn FnMut(AccountRow) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let accounts = self.accounts;
        for (number, program) in (0..=u16::MAX).map(ProgramNo).zip(accounts.programs()) {
            for row in program.trial.rows.iter().filter(|row| !row.account.starts_with("member/")) {
                let moved = self.moved.get(&(number, row.account.clone())).copied().unwrap_or_default();
                let before = i64::try_from(i128::from(row.balance) - moved).unwrap_or_default();
                if before != 0 {
                    each(account_row(&program.trial.program, &row.account, "", before))?;
                }
            }
        }
        for page in 0..accounts.pages() {
            for (number, member) in (page * MEMBERS_PER_PAGE..).zip(accounts.members(page)?) {
                if !self.first(MemberNo(number)) {
                    continue;
                }
                let program = accounts.programs().get(usize::from(member.program.0));
                let program = program.map_or("", |program| program.trial.program.as_str());
                let debt = member.balances.debt.saturating_neg();
                for (account, balance) in [("member/available", member.balances.available), ("member/debt", debt)] {
                    if balance != 0 {
                        each(account_row(program, account, &member.id, balance))?;
                    }
                }
            }
        }
        Ok(())
    }
}
