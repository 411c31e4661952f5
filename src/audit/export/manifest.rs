//! What an export says of itself: the manifest, and the records of its finished parts.

use serde::{Deserialize, Serialize};

use crate::audit::chart::{CHART, ChartLine};
use crate::ledger::view::ProgramTrial;

use super::columns::{Table, Type};
use super::format::{Content, Format};

/// The version of exports that is written, and the only one that is read. The fourth has what members are
/// beside what they own.
pub const EXPORT_VERSION: u32 = 4;
/// The manifest's name in the directory of an export.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The history that an export comes from, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The snapshot's name.
    pub snapshot: String,
    /// The history, in hexadecimal digits.
    pub book_id: String,
    /// Its incarnation.
    pub incarnation: u32,
    /// The history that it continues after a restore.
    pub parent: Option<ParentBook>,
    /// The snapshot's op: accounts are as of it, and it is the last of the range of events.
    pub to_op: u64,
    /// Book time of that op, in microseconds since the Unix epoch.
    pub to_time_us: i64,
    /// The head of the book at that op, in hexadecimal digits.
    pub head_hash: String,
    /// The hash of the state at that op, in hexadecimal digits.
    pub state_hash: String,
}

/// The history that another continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentBook {
    /// Its id, in hexadecimal digits.
    pub book_id: String,
    /// Its last op that both have.
    pub op: u64,
    /// Its head at that op, in hexadecimal digits.
    pub hash: String,
}

/// What tells one export from another: two that are alike in this are alike in every byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the export.
    pub version: u32,
    /// The form.
    pub format: Format,
    /// Where it comes from.
    pub origin: Origin,
    /// The first op whose event is in it.
    pub from_op: u64,
    /// Ops that one part has at most.
    pub part_ops: u64,
}

/// A file of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Content,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// Rows; of transactions, those of events and postings together.
    pub rows: u64,
    /// BLAKE3 of the rows in a form of their own, in hexadecimal digits.
    pub rows_blake3: String,
}

/// Debits and credits of one program and asset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The program's id.
    pub program: String,
    /// What is counted.
    pub asset: String,
    /// All debits of postings.
    pub postings_debit: u64,
    /// All credits of postings.
    pub postings_credit: u64,
    /// All accounts that stand in debit.
    pub accounts_debit: u64,
    /// All accounts that stand in credit.
    pub accounts_credit: u64,
}

/// Rows by table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Of accounts.
    pub accounts: u64,
    /// Of members.
    pub members: u64,
    /// Of lots.
    pub lots: u64,
    /// Of holds.
    pub holds: u64,
    /// Of pending.
    pub pending: u64,
    /// Of events.
    pub events: u64,
    /// Of postings.
    pub postings: u64,
}

impl Counts {
    /// Rows of one table.
    #[must_use]
    pub fn of(&self, table: Table) -> u64 {
        match table {
            Table::Accounts => self.accounts,
            Table::Members => self.members,
            Table::Lots => self.lots,
            Table::Holds => self.holds,
            Table::Pending => self.pending,
            Table::Events => self.events,
            Table::Postings => self.postings,
        }
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.accounts = self.accounts.saturating_add(more.accounts);
        self.members = self.members.saturating_add(more.members);
        self.lots = self.lots.saturating_add(more.lots);
        self.holds = self.holds.saturating_add(more.holds);
        self.pending = self.pending.saturating_add(more.pending);
        self.events = self.events.saturating_add(more.events);
        self.postings = self.postings.saturating_add(more.postings);
    }
}

/// A finished part: files that are whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Of which export.
    pub export: Identity,
    /// Its number, from 1.
    pub part: u32,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// Its rows by table.
    pub counts: Counts,
    /// What its rows come to.
    pub totals: Vec<Total>,
    /// Book time of its first event, in microseconds since the Unix epoch; none in a part without events.
    pub first_time_us: Option<i64>,
}

/// What the name of a part's record ends with.
const RECORD_ENDING: &str = ".part.json";

/// Whether this is how the number of a part is written in the name of a file.
pub(super) fn is_number(text: &str) -> bool {
    text.len() >= 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl PartRecord {
    /// The name of the file that holds the record of the part with this number until the export is whole.
    #[must_use]
    pub fn file_name(part: u32) -> String {
        format!("{part:06}{RECORD_ENDING}")
    }

    /// Whether a file of this name holds the record of a part.
    #[must_use]
    pub fn is_file_name(name: &str) -> bool {
        name.strip_suffix(RECORD_ENDING).is_some_and(is_number)
    }
}

/// A column as a manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnEntry {
    /// Its name.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub of: Type,
    /// Whether it may hold nothing.
    pub optional: bool,
    /// What it means.
    pub about: String,
}

/// A table as a manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// The table.
    pub table: Table,
    /// Its rows in all files.
    pub rows: u64,
    /// Its columns, in order.
    pub columns: Vec<ColumnEntry>,
}

/// The manifest of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the export is.
    pub export: Identity,
    /// Book time of the first event, in microseconds since the Unix epoch.
    pub from_time_us: i64,
    /// The tables.
    pub tables: Vec<TableEntry>,
    /// Debits and credits, by program and asset.
    pub totals: Vec<Total>,
    /// The trial balance of each program at the op of the snapshot, in order of their numbers.
    pub trial_balance: Vec<ProgramTrial>,
    /// The files, in order.
    pub files: Vec<FileEntry>,
    /// The chart of accounts.
    pub chart_of_accounts: Vec<ChartEntry>,
}

/// A line of the chart of accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartEntry {
    /// The class.
    pub class: String,
    /// The accounts' names.
    pub account: String,
    /// The side on which a balance is expected: debit, credit or either.
    pub side: String,
    /// What the balance means.
    pub meaning: String,
}

impl From<&ChartLine> for ChartEntry {
    fn from(line: &ChartLine) -> Self {
        let [class, account, side, meaning] = [line.class, line.account, line.side, line.meaning].map(str::to_owned);
        Self { class, account, side, meaning }
    }
}

/// The chart of accounts as every manifest has it.
pub(super) fn chart() -> Vec<ChartEntry> {
    CHART.iter().map(ChartEntry::from).collect()
}

/// A table with its columns as every manifest has them.
pub(super) fn table_entry(table: Table, rows: u64) -> TableEntry {
    let column = |column: &super::columns::Column| ColumnEntry {
        name: column.name.to_owned(),
        of: column.of,
        optional: column.optional,
        about: column.about.to_owned(),
    };
    TableEntry { table, rows, columns: table.columns().iter().map(column).collect() }
}

/// Adds totals to totals, program by program and asset by asset.
pub(super) fn add_totals(sums: &mut Vec<Total>, more: &[Total]) {
    for total in more {
        let at = sums.partition_point(|sum| (&sum.program, &sum.asset) < (&total.program, &total.asset));
        match sums.get_mut(at).filter(|sum| (&sum.program, &sum.asset) == (&total.program, &total.asset)) {
            Some(sum) => {
                let plus = |a: &mut u64, b: u64| *a = a.saturating_add(b);
                plus(&mut sum.postings_debit, total.postings_debit);
                plus(&mut sum.postings_credit, total.postings_credit);
                plus(&mut sum.accounts_debit, total.accounts_debit);
                plus(&mut sum.accounts_credit, total.accounts_credit);
            }
            None => sums.insert(at, total.clone()),
        }
    }
}
