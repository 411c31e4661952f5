//! Whether the rows of an export come to its accounts, without holding an account in memory.

use std::collections::BTreeMap;

use crate::ledger::view::ProgramTrial;

use super::columns::{AccountRow, PostingRow};

/// For all accounts of one name in a program: what they sum to, and a sum in which every account has a weight of its own, so
/// that two sets of balances that agree in it agree account by account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    plain: i128,
    weighted: u128,
}

/// Balances by program, asset and account's name.
#[derive(Default)]
pub(super) struct Sums(BTreeMap<(String, String, String), Sum>);

impl Sums {
    /// `lot` tells apart what is in one account; empty where nothing does.
    fn take(&mut self, [program, asset, account, member, lot]: [&str; 5], balance: i128) {
        let mut hasher = blake3::Hasher::new_derive_key("stampbook weight of an account in an export");
        // No UTF-8 holds this byte, so that no two accounts run together alike.
        for part in [program, asset, account, member] {
            hasher.update(part.as_bytes()).update(&[0xff]);
        }
        hasher.update(lot.as_bytes());
        let weight = u128::from_le_bytes(*hasher.finalize().as_bytes().first_chunk().unwrap_or(&[0; 16]));
        let sum = self.0.entry((program.to_owned(), asset.to_owned(), account.to_owned())).or_default();
        sum.plain += balance;
        let signed = u128::from_le_bytes(balance.to_le_bytes());
        sum.weighted = sum.weighted.wrapping_add(weight.wrapping_mul(signed));
    }

    pub(super) fn posting(&mut self, row: &PostingRow) {
        let balance = i128::from(row.credit) - i128::from(row.debit);
        self.take([&row.program, &row.asset, &row.account, &row.member, ""], balance);
    }

    pub(super) fn account(&mut self, row: &AccountRow) {
        let balance = i128::from(row.credit) - i128::from(row.debit);
        self.take([&row.program, &row.asset, &row.account, &row.member, ""], balance);
    }

    /// Units of a lot of a member's, or all of a member's where `lot` is empty.
    pub(super) fn owned(&mut self, [program, asset, member]: [&String; 3], account: &str, lot: &str, units: u64) {
        self.take([program, asset, account, member, lot], i128::from(units));
    }

    /// One of a kind: a member, and what is said of him.
    pub(super) fn one(&mut self, [program, member, said]: [&str; 3]) {
        self.take([program, "", "", member, said], 1);
    }

    /// The first program in which these and `others` differ.
    pub(super) fn differing<'s>(&'s self, others: &'s Self) -> Option<&'s str> {
        let mut names = self.0.keys().chain(others.0.keys());
        let (program, ..) = names.find(|name| self.0.get(*name) != others.0.get(*name))?;
        Some(program)
    }

    /// Those of some accounts.
    pub(super) fn only(&self, which: impl Fn(&str) -> bool) -> Self {
        let sums = self.0.iter().filter(|((_, _, account), _)| which(account));
        Self(sums.map(|(name, sum)| (name.clone(), *sum)).collect())
    }

    /// What does not sum to zero over a program's accounts of an asset.
    pub(super) fn unbalanced(&self) -> Option<String> {
        let mut totals: BTreeMap<(&String, &String), i128> = BTreeMap::new();
        for ((program, asset, _), sum) in &self.0 {
            *totals.entry((program, asset)).or_default() += sum.plain;
        }
        let bad = totals.into_iter().find(|(_, sum)| *sum != 0);
        bad.map(|((program, asset), sum)| format!("the balances of {program} in {asset} sum to {sum} and not to 0"))
    }

    /// The first name of an account in which these balances and `others` differ; `by` says where each of the two are from.
    pub(super) fn difference(&self, others: &Self, by: [&str; 2]) -> Option<String> {
        let mut names: Vec<_> = self.0.keys().chain(others.0.keys()).collect();
        names.sort_unstable();
        let of = |sums: &Self, name: &_| sums.0.get(name).copied().unwrap_or_default();
        let name = names.into_iter().find(|name| of(self, name) != of(others, name))?;
        let (program, asset, account) = name;
        let ([one, other], sums) = (by, (of(self, name).plain, of(others, name).plain));
        let members = if sums.0 == sums.1 { ", but not member by member" } else { "" };
        Some(format!(
            "{account} of {program} in {asset} stands at {} by {one} and {} by {other}{members}",
            sums.0, sums.1
        ))
    }

    /// The first account that stands at something else in a trial balance.
    pub(super) fn differs_from(&self, trial: &[ProgramTrial]) -> Option<String> {
        let mut stated = BTreeMap::new();
        for program in trial {
            for row in &program.rows {
                let name = (program.program.clone(), row.asset.clone(), row.account.clone());
                *stated.entry(name).or_default() += i128::from(row.balance);
            }
        }
        let mut names: Vec<_> = self.0.keys().chain(stated.keys()).collect();
        names.sort_unstable();
        let sides =
            |name: &_| (self.0.get(name).map_or(0, |sum| sum.plain), stated.get(name).copied().unwrap_or_default());
        let name = names.into_iter().find(|name| sides(name).0 != sides(name).1)?;
        let ((program, asset, account), (plain, stated)) = (name, sides(name));
        Some(format!("{account} of {program} in {asset} comes to {plain}, and its trial balance says {stated}"))
    }
}
