//! The balances before the first event of a range: those at its end, less what the range moved.

use std::collections::BTreeMap;

use crate::audit::chart::Class;
use crate::audit::told;
use crate::ledger::event::{AssetBalances, Event, Side};
use crate::ledger::ids::{AssetNo, MemberNo, ProgramNo};
use crate::ledger::view::BaseProgram;

use super::columns::AccountRow;
use super::rows::{Ids, account_name};
use super::source::{Accounts, MEMBERS_PER_PAGE, SnapshotIds};
use super::{ExportError, account_row, member_rows};

/// Finds the balances as the events of the range go by: a member's first one that tells of an asset tells how the member stood
/// in it before.
pub(super) struct Opening<'a> {
    accounts: &'a dyn Accounts,
    /// By asset, a bit for each member of whom an event in the range has told.
    seen: BTreeMap<AssetNo, Vec<u64>>,
    /// What the range moved on the programs' own accounts, by asset and name.
    moved: BTreeMap<(ProgramNo, String, String), i128>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(accounts: &'a dyn Accounts) -> Self {
        Self { accounts, seen: BTreeMap::new(), moved: BTreeMap::new() }
    }

    /// Whether it is the first time that this member is asked about in that asset.
    fn first(&mut self, member: MemberNo, asset: AssetNo) -> bool {
        let place = usize::try_from(member.0 / 64).unwrap_or(usize::MAX);
        let seen = self.seen.entry(asset).or_default();
        if seen.len() <= place {
            seen.resize(place + 1, 0);
        }
        let bit = 1_u64 << (member.0 % 64);
        let Some(word) = seen.get_mut(place) else { return false };
        let first = *word & bit == 0;
        *word |= bit;
        first
    }

    /// Takes the event that is `op`, the next of the range: the balances of its members before it, in the assets that it is the
    /// first to tell of.
    pub(super) fn take(
        &mut self,
        op: u64,
        event: &Event<'_>,
        ids: &mut SnapshotIds<'_>,
    ) -> Result<Vec<AccountRow>, ExportError> {
        let mut rows = Vec::new();
        for Side { program, member, legs, .. } in event.sides() {
            for leg in legs.iter().filter(|leg| !Class::of(&leg.account).is_members()) {
                let account = account_name(op, program, &leg.account, ids)?;
                let asset = ids.asset(program, leg.asset).ok_or(ExportError::Unnamed(op))?.to_owned();
                *self.moved.entry((program, asset, account)).or_default() += i128::from(leg.amount);
            }
            let Some(number) = member else { continue };
            for after in &told::after(event, number) {
                if self.first(number, after.asset) {
                    let before = told::before(after, legs);
                    rows.extend(self.rows(program, &ids.member(number)?, &before)?);
                }
            }
        }
        Ok(rows)
    }

    fn rows(
        &self,
        program: ProgramNo,
        member: &str,
        balances: &AssetBalances,
    ) -> Result<impl Iterator<Item = AccountRow>, ExportError> {
        let program: Option<&BaseProgram> = self.accounts.programs().get(usize::from(program.0));
        let rows = program.map(|program| member_rows(program, member, balances)).transpose()?;
        Ok(rows.unwrap_or_default().into_iter().filter(|row| row.debit != 0 || row.credit != 0))
    }

    /// The balances of all other accounts: those at the end of the range, less what it moved.
    pub(super) fn rest(
        &mut self,
        each: &mut dyn FnMut(AccountRow) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let accounts = self.accounts;
        for (number, program) in (0..=u16::MAX).map(ProgramNo).zip(accounts.programs()) {
            for row in program.trial.rows.iter().filter(|row| !row.account.starts_with("member/")) {
                let name = (number, row.asset.clone(), row.account.clone());
                let moved = self.moved.get(&name).copied().unwrap_or_default();
                let before = i64::try_from(i128::from(row.balance) - moved).unwrap_or_default();
                if before != 0 {
                    each(account_row(&program.trial.program, &row.asset, &row.account, "", before))?;
                }
            }
        }
        for page in 0..accounts.pages() {
            for (number, member) in (page * MEMBERS_PER_PAGE..).zip(accounts.members(page)?) {
                for balances in &member.balances {
                    if self.first(MemberNo(number), balances.asset) {
                        self.rows(member.program, &member.id, balances)?.try_for_each(&mut *each)?;
                    }
                }
            }
        }
        Ok(())
    }
}
