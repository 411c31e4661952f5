//! Whether the postings of an export come to its accounts, without holding an account in memory.

use std::collections::BTreeMap;

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
    fn take(&mut self, [program, asset, account, member]: [&String; 4], balance: i128) {
        let mut hasher = blake3::Hasher::new_derive_key("stampbook weight of an account in an export");
        // No UTF-8 holds this byte, so that no two accounts run together alike.
        for part in [program, asset, account] {
            hasher.update(part.as_bytes()).update(&[0xff]);
        }
        hasher.update(member.as_bytes());
        let weight = u128::from_le_bytes(*hasher.finalize().as_bytes().first_chunk().unwrap_or(&[0; 16]));
        let sum = self.0.entry((program.clone(), asset.clone(), account.clone())).or_default();
        sum.plain += balance;
        let signed = u128::from_le_bytes(balance.to_le_bytes());
        sum.weighted = sum.weighted.wrapping_add(weight.wrapping_mul(signed));
    }

    pub(super) fn posting(&mut self, row: &PostingRow) {
        let balance = i128::from(row.credit) - i128::from(row.debit);
        self.take([&row.program, &row.asset, &row.account, &row.member], balance);
    }

    pub(super) fn account(&mut self, row: &AccountRow) {
        let balance = i128::from(row.credit) - i128::from(row.debit);
        self.take([&row.program, &row.asset, &row.account, &row.member], balance);
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

    /// The first name of an account in which these balances and `others` differ.
    pub(super) fn difference(&self, others: &Self) -> Option<String> {
        let mut names: Vec<_> = self.0.keys().chain(others.0.keys()).collect();
        names.sort_unstable();
        let of = |sums: &Self, name: &_| sums.0.get(name).copied().unwrap_or_default();
        let name = names.into_iter().find(|name| of(self, name) != of(others, name))?;
        let (program, asset, account) = name;
        let sums = (of(self, name).plain, of(others, name).plain);
        Some(format!(
            "{account} of {program} in {asset} stands at {} by the accounts and {} by the postings",
            sums.0, sums.1
        ))
    }
}
