//! One file of an export: rows into bytes, and back.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::io::DiskFile;

use super::ExportError;
use super::columns::{Record, Table};
use super::parquet::ParquetWriter;
use super::{csv, hledger, jsonl, parquet};

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// Parquet.
    Parquet,
    /// A journal for hledger.
    Hledger,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Jsonl, Self::Csv, Self::Parquet, Self::Hledger];

    /// Its name, in commands and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Hledger => "hledger",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// What the names of its files end with, after a dot.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Hledger => "journal",
            _ => self.name(),
        }
    }
}

/// What a file of an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Rows of accounts.
    Accounts,
    /// Rows of members.
    Members,
    /// Rows of lots.
    Lots,
    /// Rows of holds.
    Holds,
    /// Rows of pending.
    Pending,
    /// Rows of events.
    Events,
    /// Rows of postings.
    Postings,
    /// Of a journal: the events and their postings.
    Transactions,
    /// Of a journal: every account as it stood before the first event.
    Opening,
    /// Of a journal: the assertion of every account's balance.
    Assertions,
    /// Of a journal: the file that names the others in order.
    Index,
}

impl From<Table> for Content {
    fn from(table: Table) -> Self {
        match table {
            Table::Accounts => Self::Accounts,
            Table::Members => Self::Members,
            Table::Lots => Self::Lots,
            Table::Holds => Self::Holds,
            Table::Pending => Self::Pending,
            Table::Events => Self::Events,
            Table::Postings => Self::Postings,
        }
    }
}

impl Content {
    /// Every content.
    pub(super) const ALL: [Self; 11] = [
        Self::Accounts,
        Self::Members,
        Self::Lots,
        Self::Holds,
        Self::Pending,
        Self::Events,
        Self::Postings,
        Self::Transactions,
        Self::Opening,
        Self::Assertions,
        Self::Index,
    ];

    /// The table whose rows a file of a tabular format holds.
    pub(super) fn table(self) -> Option<Table> {
        match self {
            Self::Accounts => Some(Table::Accounts),
            Self::Members => Some(Table::Members),
            Self::Lots => Some(Table::Lots),
            Self::Holds => Some(Table::Holds),
            Self::Pending => Some(Table::Pending),
            Self::Events => Some(Table::Events),
            Self::Postings => Some(Table::Postings),
            _ => None,
        }
    }

    /// The name of its file of this number, from 1; of some contents there is one file only.
    pub(super) fn file_name(self, number: usize, format: Format) -> String {
        match self {
            Self::Index | Self::Opening => format!("{}.{}", self.stem(), format.ending()),
            _ => format!("{}-{number:06}.{}", self.stem(), format.ending()),
        }
    }

    /// What the names of its files begin with.
    pub(super) fn stem(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Members => "members",
            Self::Lots => "lots",
            Self::Holds => "holds",
            Self::Pending => "pending",
            Self::Events => "events",
            Self::Postings => "postings",
            Self::Transactions => "transactions",
            Self::Opening => "opening",
            Self::Assertions => "assertions",
            Self::Index => "books",
        }
    }
}

/// Writes the rows of one file.
pub(super) enum RowWriter {
    Jsonl,
    Csv,
    Parquet(Box<ParquetWriter>),
    Hledger(hledger::Writer),
}

impl RowWriter {
    /// Begins a file of `content`; what it begins with goes to `out`. `date_us` is the time of what a journal's opening or
    /// assertions are as of.
    pub(super) fn begin(
        format: Format,
        content: Content,
        date_us: i64,
        out: &mut Vec<u8>,
    ) -> Result<Self, ExportError> {
        match (format, content.table()) {
            (Format::Jsonl, _) => Ok(Self::Jsonl),
            (Format::Csv, Some(table)) => {
                csv::append_header(table, out);
                Ok(Self::Csv)
            }
            (Format::Parquet, Some(table)) => Ok(Self::Parquet(Box::new(ParquetWriter::new(table)?))),
            (Format::Hledger, _) => Ok(Self::Hledger(hledger::Writer::begin(content, date_us))),
            (_, None) => Err(ExportError::Refused(format!("{} has no {}", format.name(), content.stem()))),
        }
    }

    /// Appends a row: what is ready of it goes to `out`.
    pub(super) fn append(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), ExportError> {
        match self {
            Self::Jsonl => jsonl::append(record, out),
            Self::Csv => csv::append(record, out),
            Self::Parquet(writer) => writer.append(record, out)?,
            Self::Hledger(writer) => writer.append(record, out),
        }
        Ok(())
    }

    /// Ends the file: what is left of it goes to `out`.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        match self {
            Self::Parquet(writer) => writer.finish(out),
            _ => Ok(()),
        }
    }
}

/// Reads every row of a file, in order.
pub(super) fn read(
    format: Format,
    content: Content,
    file: FileReader,
    each: &mut dyn FnMut(Record) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    match (format, content.table()) {
        (Format::Jsonl, Some(table)) => jsonl::read(file, table, each),
        (Format::Csv, Some(table)) => csv::read(file, table, each),
        (Format::Parquet, Some(table)) => parquet::read(file, table, each),
        (Format::Hledger, _) => hledger::read(file, content, each),
        (_, None) => Err(ExportError::damaged(file.name(), format!("{} has no such file", format.name()))),
    }
}

/// Reads a file from its beginning, or from a place in it.
pub(super) struct FileReader {
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    length: u64,
    at: u64,
}

impl FileReader {
    pub(super) fn new(file: Arc<dyn DiskFile>, name: &str) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self { file, name: name.into(), length, at: 0 })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn at(&self, at: u64) -> Self {
        Self { file: Arc::clone(&self.file), name: Arc::clone(&self.name), length: self.length, at }
    }

    pub(super) fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(1 << 18, self)
    }

    pub(super) fn bytes(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.file.read_at(&mut bytes, at)?;
        if read == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += u64::try_from(read).unwrap_or(u64::MAX);
        Ok(read)
    }
}
