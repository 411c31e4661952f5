//! Where every point is in the end, in one balanced table.

use serde::Serialize;
use stampbook::proto::TrialBalanceRow;

use crate::Failure;
use crate::tally::grouped;

/// The asset that is told of.
const ASSET: &str = "points";

/// Units. What was issued, and what members owe beside it, is all accounted for: spendable, spent, lapsed or taken back.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Table {
    pub(super) issued: i64,
    pub(super) owed: i64,
    pub(super) spendable: i64,
    pub(super) spent: i64,
    pub(super) lapsed: i64,
    pub(super) taken_back: i64,
}

impl Table {
    /// From what receipts said was issued and taken back, and where the trial balance says that units stand.
    ///
    /// # Errors
    /// A line of the trial balance that has no place in the table.
    pub(super) fn new(issued: i64, taken_back: i64, rows: &[TrialBalanceRow]) -> Result<Self, Failure> {
        let mut table = Self { issued, taken_back, ..Self::default() };
        for row in rows.iter().filter(|row| row.asset == ASSET) {
            let units = row.credit - row.debit;
            match row.account.as_str() {
                "member/available" => table.spendable += units,
                "member/debt" => table.owed -= units,
                "breakage" => table.lapsed += units,
                account if account.starts_with("redemption/") => table.spent += units,
                "issuance" if -units == issued - taken_back => {}
                _ => return Err(format!("{} has {units} points, which no receipt explains", row.account).into()),
            }
        }
        Ok(table)
    }

    /// What there is to account for, and what is accounted for.
    pub(super) fn sides(&self) -> (i64, i64) {
        (self.issued + self.owed, self.spendable + self.spent + self.lapsed + self.taken_back)
    }

    /// For people.
    pub(super) fn print(&self) {
        let (due, there) = self.sides();
        let lines = [
            ("issued", self.issued),
            ("owed by members", self.owed),
            ("to account for", due),
            ("spendable", self.spendable),
            ("spent", self.spent),
            ("lapsed", self.lapsed),
            ("taken back", self.taken_back),
            ("accounted for", there),
        ];
        for (what, units) in lines {
            println!("  {what:<16}{:>12}", grouped(units));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn row(account: &str, debit: i64, credit: i64) -> TrialBalanceRow {
        TrialBalanceRow { account: account.into(), asset: "points".into(), debit, credit, ..TrialBalanceRow::default() }
    }

    #[test]
    fn every_account_has_its_line_and_the_sides_are_equal() {
        let rows = [
            row("issuance", 900, 0),
            row("redemption/CASH_OFFSET", 0, 500),
            row("breakage", 0, 250),
            row("member/available", 0, 180),
            row("member/debt", 30, 0),
        ];
        let table = Table::new(1_000, 100, &rows).unwrap();
        let expected = Table { issued: 1_000, owed: 30, spendable: 180, spent: 500, lapsed: 250, taken_back: 100 };
        assert_eq!(table, expected);
        assert_eq!(table.sides(), (1_030, 1_030));
    }

    #[test]
    fn what_no_line_is_for_is_told() {
        let complaint = |rows: &[TrialBalanceRow]| Table::new(1_000, 100, rows).unwrap_err().to_string();
        assert!(complaint(&[row("member/held", 0, 3)]).contains("member/held"));
        assert!(complaint(&[row("issuance", 899, 0)]).contains("issuance"));
    }
}
