//! One part: rows into the bytes of its files, on to the sink, with what the manifest says of them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::audit::files::hex;

use super::ExportError;
use super::columns::{Record, Table};
use super::format::{Content, Format, RowWriter};
use super::hledger;
use super::manifest::{Counts, FileEntry, Identity, PartRecord, Total};
use super::sink::ExportSink;

/// Bytes that are handed to a sink at a time.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

struct OpenFile {
    name: String,
    content: Content,
    writer: RowWriter,
    /// Bytes that are not handed on yet.
    ready: Vec<u8>,
    sent: u64,
    sha256: Sha256,
    rows: u64,
    rows_blake3: blake3::Hasher,
}

impl OpenFile {
    fn send(&mut self, least: usize, sink: &mut dyn ExportSink) -> Result<(), ExportError> {
        if self.ready.len() < least.max(1) {
            return Ok(());
        }
        for chunk in self.ready.chunks(CHUNK_BYTES) {
            sink.chunk(&self.name, self.sent, chunk).map_err(ExportError::io(&self.name))?;
            self.sha256.update(chunk);
            self.sent += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        }
        self.ready.clear();
        Ok(())
    }

    fn finish(mut self, sink: &mut dyn ExportSink) -> Result<FileEntry, ExportError> {
        self.writer.finish(&mut self.ready)?;
        self.send(0, sink)?;
        if self.sent == 0 {
            // A file without a byte is a file all the same.
            sink.chunk(&self.name, 0, &[]).map_err(ExportError::io(&self.name))?;
        }
        Ok(FileEntry {
            name: self.name,
            content: self.content,
            bytes: self.sent,
            sha256: hex(&self.sha256.finalize()),
            rows: self.rows,
            rows_blake3: hex(self.rows_blake3.finalize().as_bytes()),
        })
    }
}

/// Writes the files of one part side by side.
pub(super) struct PartWriter {
    format: Format,
    files: Vec<OpenFile>,
    counts: Counts,
    totals: Totals,
    first_time_us: Option<i64>,
}

impl PartWriter {
    /// Begins the files of these names. `date_us` is the time of what a journal's opening or assertions are as of.
    pub(super) fn begin(
        format: Format,
        files: impl Iterator<Item = (String, Content)>,
        date_us: i64,
    ) -> Result<Self, ExportError> {
        let begin = |(name, content)| {
            let mut ready = Vec::new();
            let writer = RowWriter::begin(format, content, date_us, &mut ready)?;
            let (sha256, rows_blake3) = (Sha256::new(), blake3::Hasher::new());
            Ok(OpenFile { name, content, writer, ready, sent: 0, sha256, rows: 0, rows_blake3 })
        };
        let files = files.map(begin).collect::<Result<_, ExportError>>()?;
        Ok(Self { format, files, counts: Counts::default(), totals: Totals::default(), first_time_us: None })
    }

    /// Appends a row to the file that holds its table.
    pub(super) fn append(&mut self, record: Record, sink: &mut dyn ExportSink) -> Result<(), ExportError> {
        if let (Record::Event(row), None) = (&record, self.first_time_us) {
            self.first_time_us = Some(row.book_time.0);
        }
        let record = if self.format == Format::Hledger { hledger::shown(record) } else { record };
        let table = record.table();
        let file = self.files.iter_mut().find(|file| file.content.table().is_none_or(|content| content == table));
        let none = || ExportError::Refused(format!("the part has no file for {}", table.name()));
        let file = file.ok_or_else(none)?;
        record.digest(&mut file.rows_blake3);
        file.rows += 1;
        file.writer.append(&record, &mut file.ready)?;
        file.send(CHUNK_BYTES, sink)?;
        if file.content != Content::Opening {
            self.totals.take(&record);
            self.counts.add(&count(&record));
        }
        Ok(())
    }

    /// Appends text that is no row.
    pub(super) fn text(&mut self, text: &str, sink: &mut dyn ExportSink) -> Result<(), ExportError> {
        let Some(file) = self.files.first_mut() else { return Ok(()) };
        file.ready.extend_from_slice(text.as_bytes());
        file.send(CHUNK_BYTES, sink)
    }

    /// Ends the files: the part's record.
    pub(super) fn finish(
        self,
        export: Identity,
        part: u32,
        sink: &mut dyn ExportSink,
    ) -> Result<PartRecord, ExportError> {
        let files = self.files.into_iter().map(|file| file.finish(sink)).collect::<Result<_, _>>()?;
        let Self { counts, totals, first_time_us, .. } = self;
        Ok(PartRecord { export, part, files, counts, totals: totals.finish(), first_time_us })
    }
}

/// One row, counted.
pub(super) fn count(record: &Record) -> Counts {
    let mut counts = Counts::default();
    match record.table() {
        Table::Accounts => counts.accounts = 1,
        Table::Members => counts.members = 1,
        Table::Lots => counts.lots = 1,
        Table::Holds => counts.holds = 1,
        Table::Pending => counts.pending = 1,
        Table::Events => counts.events = 1,
        Table::Postings => counts.postings = 1,
    }
    counts
}

/// Debits and credits by program and asset.
#[derive(Default)]
pub(super) struct Totals(BTreeMap<(String, String), Total>);

impl Totals {
    pub(super) fn take(&mut self, record: &Record) {
        let (program, asset) = match record {
            Record::Account(row) => (&row.program, &row.asset),
            Record::Posting(row) => (&row.program, &row.asset),
            _ => return,
        };
        let fresh = || Total { program: program.clone(), asset: asset.clone(), ..Total::default() };
        let total = self.0.entry((program.clone(), asset.clone())).or_insert_with(fresh);
        let plus = |sum: &mut u64, units: i64| *sum = sum.saturating_add(units.unsigned_abs());
        match record {
            Record::Account(row) => {
                plus(&mut total.accounts_debit, row.debit);
                plus(&mut total.accounts_credit, row.credit);
            }
            Record::Posting(row) => {
                plus(&mut total.postings_debit, row.debit);
                plus(&mut total.postings_credit, row.credit);
            }
            _ => {}
        }
    }

    pub(super) fn finish(self) -> Vec<Total> {
        self.0.into_values().collect()
    }
}
