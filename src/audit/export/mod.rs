//! Exports: the books of a snapshot as files that other programs read, with a manifest that they can be held to.
//!
//! An export is made of parts, each of a few files and independent of the others, so that one that broke off is taken up
//! where it was; and it is the same bytes whenever and wherever it is made. [`columns`] says what the tables hold.
#![doc = include_str!("../../EXPORT.md")]

pub mod columns;
mod csv;
mod error;
mod format;
mod hledger;
mod jsonl;
pub mod manifest;
mod members;
mod opening;
mod owned;
mod parquet;
mod part;
mod particulars;
mod rows;
pub mod sink;
pub mod source;
mod sums;
pub mod verify;

#[cfg(test)]
mod asset_tests;
#[cfg(test)]
mod lot_tests;
#[cfg(test)]
mod tests;

use crate::ledger::codec;
use crate::ledger::event::AssetBalances;
use crate::ledger::ids::{AssetNo, ProgramNo};
use crate::ledger::view::BaseProgram;

use columns::{AccountRow, Record, Table};
use manifest::{Counts, EXPORT_VERSION, Identity, Manifest, Origin, PartRecord, add_totals, chart, table_entry};
use opening::Opening;
use part::PartWriter;
use rows::{rows_of, sides};

pub(in crate::audit) use rows::kind_name;
use sink::ExportSink;
use source::{Accounts, Events, MEMBERS_PER_PAGE, SnapshotIds};

use super::chart::{Class, class_of};
use super::told;

pub use error::ExportError;
pub use format::{Content, Format};

/// Ops of one part, unless the caller says otherwise.
pub const PART_OPS_DEFAULT: u64 = 250_000;
/// Pages of members of one part.
const PART_PAGES: u32 = 512;
/// Events or members between two words on progress.
const PROGRESS_STEP: u64 = 1_000;

/// Where an export comes from.
pub struct Source<'a> {
    /// The accounts at the op of the snapshot.
    pub accounts: &'a dyn Accounts,
    /// The events of the book.
    pub events: &'a dyn Events,
    /// Which book, and which snapshot.
    pub origin: Origin,
}

/// What is asked of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The form.
    pub format: Format,
    /// The first op whose event is wanted: 1 for the whole book, at most the snapshot's.
    pub from_op: u64,
    /// Ops of one part, at least 1: what is made again when an export breaks off.
    pub part_ops: u64,
}

impl Request {
    /// The whole book, in this form.
    #[must_use]
    pub fn whole(format: Format) -> Self {
        Self { format, from_op: 1, part_ops: PART_OPS_DEFAULT }
    }
}

/// How far an export is, in events and members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Done, by this run or one before it.
    pub done: u64,
    /// In all.
    pub total: u64,
}

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Members of these pages, and with the first of them the programs' own accounts.
    Accounts { from: u32, to: u32 },
    /// Events of these ops.
    Events { from: u64, to: u64 },
    /// Of a journal: the balances before the first event.
    Opening,
    /// Of a journal: the file that names the others.
    Index,
}

fn plan(identity: &Identity, pages: u32) -> Vec<Work> {
    let mut accounts = Vec::new();
    let mut from = 0;
    while from < pages || from == 0 {
        let to = from.saturating_add(PART_PAGES).min(pages);
        accounts.push(Work::Accounts { from, to });
        from = from.saturating_add(PART_PAGES);
    }
    let mut events = Vec::new();
    let (mut from, last) = (identity.from_op, identity.origin.to_op);
    while from <= last {
        let to = from.saturating_add(identity.part_ops - 1).min(last);
        events.push(Work::Events { from, to });
        from = to.saturating_add(1);
    }
    match identity.format {
        Format::Hledger => {
            let mut plan = Vec::new();
            if identity.from_op > 1 {
                plan.push(Work::Opening);
            }
            plan.extend(events);
            plan.extend(accounts);
            plan.push(Work::Index);
            plan
        }
        _ => accounts.into_iter().chain(events).collect(),
    }
}

/// Makes an export and hands its files to `sink`: those of one part at a time, then the part's record, at last the
/// manifest. `finished` are the records of the parts that the sink has, from the first on; they are not made again.
///
/// # Errors
/// `Refused` for a range that is not in the snapshot; `Another` for records of another export; what the snapshot, the book and the sink
/// meet.
pub fn export(
    source: &Source<'_>,
    request: Request,
    finished: &[PartRecord],
    sink: &mut dyn ExportSink,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, ExportError> {
    let Request { format, from_op, part_ops } = request;
    let last = source.origin.to_op;
    if from_op == 0 || from_op > last || part_ops == 0 {
        return Err(ExportError::Refused(format!("from_op {from_op}: must be 1 to {last}, the snapshot's op")));
    }
    let identity = Identity { version: EXPORT_VERSION, format, origin: source.origin.clone(), from_op, part_ops };
    let plan = plan(&identity, source.accounts.pages());
    let fits = |(number, record): (u32, &PartRecord)| record.part == number && record.export == identity;
    if finished.len() > plan.len() || !(1..).zip(finished).all(fits) {
        return Err(ExportError::Another);
    }
    let members = u64::from(source.accounts.pages()) * u64::from(MEMBERS_PER_PAGE);
    let mut exporter = Exporter {
        source,
        ids: SnapshotIds::new(source.accounts),
        identity,
        records: finished.to_vec(),
        sink,
        progress,
        told: Progress { done: 0, total: members + (last - from_op + 1) },
    };
    for work in plan.iter().take(finished.len()) {
        exporter.told.done += exporter.size(*work);
    }
    exporter.run(plan.get(finished.len()..).unwrap_or_default())?;
    let manifest = manifest_of(&exporter.identity, &exporter.records, source.accounts.programs());
    exporter
        .sink
        .chunk(manifest::MANIFEST_FILE, 0, &json(&manifest)?)
        .map_err(ExportError::io(manifest::MANIFEST_FILE))?;
    Ok(manifest)
}

/// The manifest of an export whose parts have these records.
fn manifest_of(identity: &Identity, records: &[PartRecord], programs: &[BaseProgram]) -> Manifest {
    let (mut counts, mut totals) = (Counts::default(), Vec::new());
    for record in records {
        counts.add(&record.counts);
        add_totals(&mut totals, &record.totals);
    }
    Manifest {
        export: identity.clone(),
        from_time_us: records.iter().find_map(|record| record.first_time_us).unwrap_or_default(),
        tables: Table::ALL.into_iter().map(|table| table_entry(table, counts.of(table))).collect(),
        totals,
        trial_balance: programs.iter().map(|program| program.trial.clone()).collect(),
        files: records.iter().flat_map(|record| record.files.iter().cloned()).collect(),
        chart_of_accounts: chart(),
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, ExportError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| ExportError::Refused(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

struct Exporter<'a> {
    source: &'a Source<'a>,
    ids: SnapshotIds<'a>,
    identity: Identity,
    records: Vec<PartRecord>,
    sink: &'a mut dyn ExportSink,
    progress: &'a mut dyn FnMut(Progress),
    told: Progress,
}

impl<'a> Exporter<'a> {
    fn size(&self, work: Work) -> u64 {
        match work {
            Work::Accounts { from, to } => u64::from(to - from) * u64::from(MEMBERS_PER_PAGE),
            Work::Events { from, to } => to - from + 1,
            Work::Opening | Work::Index => 0,
        }
    }

    fn run(&mut self, plan: &[Work]) -> Result<(), ExportError> {
        let mut rest = plan;
        while let Some((work, after)) = rest.split_first() {
            rest = after;
            match *work {
                Work::Accounts { from, to } => self.accounts(from, to)?,
                Work::Opening => self.opening()?,
                Work::Index => self.index()?,
                Work::Events { .. } => {
                    // All parts of events in one pass: a book that lies on a disk is read from its beginning.
                    let end = plan.iter().rposition(|work| matches!(work, Work::Events { .. })).map_or(0, |at| at + 1);
                    let begin = plan.len() - rest.len() - 1;
                    self.events(plan.get(begin..end).unwrap_or_default())?;
                    rest = plan.get(end..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    fn begin(&self, contents: &[Content], date_us: i64) -> Result<PartWriter, ExportError> {
        let number = |content: Content| {
            let files = self.records.iter().flat_map(|record| &record.files);
            files.filter(|file| file.content == content).count() + 1
        };
        let format = self.identity.format;
        let named = contents.iter().map(|content| (content.file_name(number(*content), format), *content));
        PartWriter::begin(format, named, date_us)
    }

    fn end(&mut self, part: PartWriter) -> Result<(), ExportError> {
        let number = u32::try_from(self.records.len() + 1).unwrap_or(u32::MAX);
        let record = part.finish(self.identity.clone(), number, self.sink)?;
        let name = PartRecord::file_name(number);
        self.sink.chunk(&name, 0, &json(&record)?).map_err(ExportError::io(&name))?;
        self.records.push(record);
        (self.progress)(self.told);
        Ok(())
    }

    fn tell(&mut self) {
        self.told.done += 1;
        if self.told.done.is_multiple_of(PROGRESS_STEP) {
            (self.progress)(self.told);
        }
    }

    fn accounts(&mut self, from: u32, to: u32) -> Result<(), ExportError> {
        let contents: &[Content] = match self.identity.format {
            Format::Hledger => &[Content::Assertions],
            _ => &[Content::Accounts, Content::Members, Content::Lots, Content::Holds, Content::Pending],
        };
        let mut part = self.begin(contents, self.source.origin.to_time_us)?;
        if from == 0 {
            for program in self.source.accounts.programs() {
                for row in program.trial.rows.iter().filter(|row| !row.account.starts_with("member/")) {
                    let row = account_row(&program.trial.program, &row.asset, &row.account, "", row.balance);
                    part.append(Record::Account(row), self.sink)?;
                }
            }
        }
        for page in from..to {
            let members = self.source.accounts.members(page)?;
            let short = u64::from(MEMBERS_PER_PAGE).saturating_sub(u64::try_from(members.len()).unwrap_or(u64::MAX));
            for member in members {
                let program = self.program(member.program)?;
                for balances in &member.balances {
                    for mut row in member_rows(program, &member.id, balances)? {
                        row.last_op = Some(member.last_op.0);
                        part.append(Record::Account(row), self.sink)?;
                    }
                }
                // A journal names the lot of each posting, and has no table of members or lots.
                if self.identity.format != Format::Hledger {
                    let row = members::row_of(program, &member, &mut self.ids)?;
                    part.append(Record::Member(row), self.sink)?;
                    for row in owned::rows_of(program, &member)? {
                        part.append(row, self.sink)?;
                    }
                }
                self.tell();
            }
            // The last page need not be full.
            self.told.done += short;
        }
        self.end(part)
    }

    fn program(&self, number: ProgramNo) -> Result<&'a BaseProgram, ExportError> {
        let unknown =
            || ExportError::Refused(format!("the snapshot has a member of program {}, and no such program", number.0));
        self.source.accounts.programs().get(usize::from(number.0)).ok_or_else(unknown)
    }

    /// Parts of events, one after the other, in one pass over the book.
    fn events(&mut self, parts: &[Work]) -> Result<(), ExportError> {
        let ranges = parts.iter().filter_map(|work| match work {
            Work::Events { from, to } => Some((*from, *to)),
            _ => None,
        });
        let mut ends = ranges.clone().map(|(_, to)| to);
        let (Some((from, _)), Some((_, to))) = (ranges.clone().next(), ranges.clone().next_back()) else {
            return Ok(());
        };
        let contents: &[Content] = match self.identity.format {
            Format::Hledger => &[Content::Transactions],
            _ => &[Content::Events, Content::Postings],
        };
        let events = self.source.events;
        let mut open: Option<(PartWriter, u64)> = None;
        events.each(from, to, &mut |op, book_time_us, bytes| {
            let (mut part, end) = match open.take() {
                Some(open) => open,
                None => (self.begin(contents, book_time_us)?, ends.next().unwrap_or(to)),
            };
            let event = codec::decode(bytes).map_err(|error| ExportError::Codec(op, error))?;
            let (row, postings) = rows_of(op, book_time_us, &event, &mut self.ids)?;
            part.append(Record::Event(row), self.sink)?;
            for posting in postings {
                part.append(Record::Posting(posting), self.sink)?;
            }
            self.tell();
            if op == end {
                self.end(part)
            } else {
                open = Some((part, end));
                Ok(())
            }
        })
    }

    fn opening(&mut self) -> Result<(), ExportError> {
        let Source { accounts, events, origin } = self.source;
        let mut part: Option<PartWriter> = None;
        let mut opening = Opening::new(*accounts);
        events.each(self.identity.from_op, origin.to_op, &mut |op, book_time_us, bytes| {
            let part = match &mut part {
                Some(part) => part,
                none => none.insert(self.begin(&[Content::Opening], book_time_us)?),
            };
            let event = codec::decode(bytes).map_err(|error| ExportError::Codec(op, error))?;
            let before = opening.take(op, &event, &mut self.ids)?;
            before.into_iter().try_for_each(|row| part.append(Record::Account(row), self.sink))
        })?;
        let Some(mut part) = part else { return Ok(()) };
        opening.rest(&mut |row| part.append(Record::Account(row), self.sink))?;
        self.end(part)
    }

    fn index(&mut self) -> Result<(), ExportError> {
        let mut part = self.begin(&[Content::Index], self.source.origin.to_time_us)?;
        let mut totals = Vec::new();
        self.records.iter().for_each(|record| add_totals(&mut totals, &record.totals));
        let files = self.records.iter().flat_map(|record| &record.files).map(|file| file.name.as_str());
        part.text(&hledger::index(&totals, files), self.sink)?;
        self.end(part)
    }
}

/// The id of an asset that a member has.
fn asset_name(program: &BaseProgram, asset: AssetNo) -> Result<&str, ExportError> {
    let unknown =
        || ExportError::Refused(format!("the snapshot has a member with asset {}, and no such asset", asset.0));
    program.assets.get(usize::from(asset.0)).map(String::as_str).ok_or_else(unknown)
}

/// A member's accounts in an asset: in points what is available and what is owed in any case, else those that are not zero.
fn member_rows(program: &BaseProgram, member: &str, balances: &AssetBalances) -> Result<Vec<AccountRow>, ExportError> {
    let asset = asset_name(program, balances.asset)?;
    let always = |class| balances.asset == AssetNo::POINTS && matches!(class, Class::Available | Class::Debt);
    let rows = told::accounts_of(balances).into_iter().filter(|(class, balance)| *balance != 0 || always(*class));
    let id = &program.trial.program;
    Ok(rows.map(|(class, balance)| account_row(id, asset, &class.name(""), member, balance)).collect())
}

fn account_row(program: &str, asset: &str, account: &str, member: &str, balance: i64) -> AccountRow {
    let (debit, credit) = sides(balance);
    AccountRow {
        program: program.to_owned(),
        account: account.to_owned(),
        class: class_of(account).to_owned(),
        member: member.to_owned(),
        asset: asset.to_owned(),
        debit,
        credit,
        last_op: None,
    }
}
