//! Holding an export against its manifest, against itself, and against the book that it says it comes from.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _};

use sha2::{Digest, Sha256};

use crate::audit::files::hex;
use crate::io::Disk;
use crate::journal::{self, FrameBody, JournalError, Preparer, Replay, Waypoint};
use crate::ledger::ids::Op;
use crate::ledger::print::Prints;
use crate::ledger::{Ledger, Limits, Moment, codec};

use super::columns::{AccountRow, EventRow, PostingRow, Record, Table};
use super::format::{self, Content, FileReader, Format, RowWriter};
use super::manifest::{
    Counts, EXPORT_VERSION, FileEntry, MANIFEST_FILE, Manifest, ParentBook, Total, add_totals, chart, table_entry,
};
use super::members::Listed;
use super::owned::Owned;
use super::part::{CHUNK_BYTES, Totals, count};
use super::sink::{ExportSink, read_manifest, reads_as_export};
use super::source::{LedgerAccounts, Scanned};
use super::sums::Sums;
use super::{ExportError, Progress, Request, Source, export, hledger};

/// Events whose postings may be outstanding: those of the greatest part that is read.
const EVENTS_DUE_MAX: usize = 16 * 1024 * 1024;

/// What was proved of a sound export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// Its manifest.
    pub manifest: Manifest,
    /// Files read.
    pub files: usize,
    /// Rows read back, by table.
    pub rows: Counts,
    /// Whether every row was held against the book.
    pub against_book: bool,
}

/// Proves the export in `dir`: every file has the SHA-256, the rows and the totals that the manifest names, ops are dense, the legs of every event
/// sum to zero, and the accounts are the trial balance, what the postings come to, where the export has all of them, and what lots,
/// holds and pending earns come to; that the members are those who have accounts. With the directory of a
/// `book`: head and state at the snapshot's op, and every row is what the book says.
///
/// # Errors
/// `Damaged` names the file and what is wrong with it; `Io`, `Journal`.
pub fn verify_export(
    dir: &dyn Disk,
    book: Option<&dyn Disk>,
    progress: &mut dyn FnMut(Progress),
) -> Result<ExportReport, ExportError> {
    let manifest = read_manifest(dir)?;
    check_manifest(&manifest)?;
    check_no_more(dir, &manifest)?;
    let total = manifest.tables.iter().fold(0_u64, |sum, table| sum.saturating_add(table.rows));
    let mut proof = Proof::new(&manifest, progress, total);
    for file in &manifest.files {
        proof.file(dir, file)?;
    }
    let rows = proof.finish()?;
    if let Some(book) = book {
        hold_against_book(&manifest, book, progress)?;
    }
    let files = manifest.files.len();
    Ok(ExportReport { manifest, files, rows, against_book: book.is_some() })
}

fn bad_manifest(what: impl Into<String>) -> ExportError {
    ExportError::damaged(MANIFEST_FILE, what)
}

/// Readers take in what is called like a part of the export, so that there must be none that the manifest does not name.
fn check_no_more(dir: &dyn Disk, manifest: &Manifest) -> Result<(), ExportError> {
    let names = dir.list().map_err(ExportError::io("the directory"))?;
    let named = |name: &str| name == MANIFEST_FILE || manifest.files.iter().any(|file| file.name == name);
    match names.iter().find(|name| reads_as_export(name) && !named(name)) {
        Some(name) => Err(ExportError::damaged(name, "the manifest does not name it")),
        None => Ok(()),
    }
}

/// What a manifest must say whatever the files hold.
fn check_manifest(manifest: &Manifest) -> Result<(), ExportError> {
    let export = &manifest.export;
    if export.version != EXPORT_VERSION {
        return Err(bad_manifest(format!("version {}; this build reads version {EXPORT_VERSION}", export.version)));
    }
    let tables: Vec<_> = manifest.tables.iter().map(|table| table_entry(table.table, table.rows)).collect();
    let all = manifest.tables.iter().map(|table| table.table).eq(Table::ALL);
    if !all || tables != manifest.tables || manifest.chart_of_accounts != chart() {
        return Err(bad_manifest("its columns or its chart of accounts are not those of this version"));
    }
    let mut names: Vec<_> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(bad_manifest("a file is named twice"));
    }
    match names.iter().find(|name| name.contains('/') || name.starts_with('.')) {
        Some(name) => Err(bad_manifest(format!("{name:?} is no name of a file of an export"))),
        None => Ok(()),
    }
}

/// An event whose postings are still to come.
struct Due {
    op: u64,
    legs: u64,
    seen: u64,
    /// By program and asset.
    sums: BTreeMap<(String, String), i128>,
}

/// The proof of an export from nothing but its files.
struct Proof<'a> {
    manifest: &'a Manifest,
    progress: &'a mut dyn FnMut(Progress),
    told: Progress,
    next_op: u64,
    due: VecDeque<Due>,
    counts: Counts,
    totals: Vec<Total>,
    accounts: Sums,
    /// Opening balances and postings.
    moved: Sums,
    owned: Owned,
    listed: Listed,
    opened: bool,
    first_time_us: Option<i64>,
    /// The files that were read, in order: those before a journal's index.
    files: Vec<&'a str>,
}

impl<'a> Proof<'a> {
    fn new(manifest: &'a Manifest, progress: &'a mut dyn FnMut(Progress), total: u64) -> Self {
        Self {
            manifest,
            progress,
            told: Progress { done: 0, total },
            next_op: manifest.export.from_op,
            due: VecDeque::new(),
            counts: Counts::default(),
            totals: Vec::new(),
            accounts: Sums::default(),
            moved: Sums::default(),
            owned: Owned::default(),
            listed: Listed::default(),
            opened: manifest.export.from_op == 1,
            first_time_us: None,
            files: Vec::new(),
        }
    }

    fn file(&mut self, dir: &dyn Disk, entry: &'a FileEntry) -> Result<(), ExportError> {
        let open = || {
            let opened = dir.open(&entry.name).and_then(|file| FileReader::new(file, &entry.name));
            opened.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ExportError::damaged(&entry.name, "it is missing"),
                _ => ExportError::io(&entry.name)(error),
            })
        };
        let (bytes, sha256, text) = read_through(open()?, entry.content)?;
        if (bytes, &sha256) != (entry.bytes, &entry.sha256) {
            return Err(ExportError::damaged(&entry.name, "its length or its SHA-256 is not what the manifest says"));
        }
        let (mut rows, mut digest, mut totals) = (0, blake3::Hasher::new(), Totals::default());
        if entry.content == Content::Index {
            let index = hledger::index(&self.totals, self.files.iter().copied());
            if index != text {
                return Err(ExportError::damaged(&entry.name, "it does not name the commodities and files in order"));
            }
        } else {
            let file = open()?;
            let mut again = Again::begin(self.manifest, entry.content)?;
            format::read(self.manifest.export.format, entry.content, file, &mut |record| {
                record.digest(&mut digest);
                again.append(&record)?;
                rows += 1;
                if entry.content != Content::Opening {
                    totals.take(&record);
                    self.counts.add(&count(&record));
                }
                self.record(entry, record)
            })?;
            // Another version of the Parquet library may write other bytes for the same rows.
            if self.manifest.export.format != Format::Parquet && again.finish()? != sha256 {
                return Err(ExportError::damaged(&entry.name, "its rows are not written as exports write them"));
            }
        }
        if rows != entry.rows {
            let what = format!("it has {rows} rows and the manifest says {}", entry.rows);
            return Err(ExportError::damaged(&entry.name, what));
        }
        if hex(digest.finalize().as_bytes()) != entry.rows_blake3 {
            return Err(ExportError::damaged(&entry.name, "a row is not what the manifest says"));
        }
        add_totals(&mut self.totals, &totals.finish());
        self.files.push(&entry.name);
        Ok(())
    }

    fn record(&mut self, entry: &FileEntry, record: Record) -> Result<(), ExportError> {
        self.told.done += 1;
        if self.told.done.is_multiple_of(super::PROGRESS_STEP) {
            (self.progress)(self.told);
        }
        let bad = |what| ExportError::damaged(&entry.name, what);
        match record {
            Record::Account(row) => self.account(entry.content, &row).map_err(bad),
            Record::Member(row) => self.listed.member(&row).map_err(bad),
            Record::Lot(row) => self.owned.lot(&row).map_err(bad),
            Record::Hold(row) => self.owned.hold(&row).map_err(bad),
            Record::Pending(row) => {
                self.owned.pending(&row);
                Ok(())
            }
            Record::Event(row) => self.event(&row).map_err(bad),
            Record::Posting(row) => self.posting(&row).map_err(bad),
        }
    }

    fn account(&mut self, content: Content, row: &AccountRow) -> Result<(), String> {
        if row.debit < 0 || row.credit < 0 || (row.debit > 0 && row.credit > 0) {
            return Err(format!(
                "{} of {} {} stands on both sides or below zero",
                row.account, row.program, row.member
            ));
        }
        if content == Content::Opening {
            self.opened = true;
            self.moved.account(row);
            return Ok(());
        }
        self.accounts.account(row);
        self.listed.account(row);
        Ok(())
    }

    fn event(&mut self, row: &EventRow) -> Result<(), String> {
        if row.op != self.next_op {
            return Err(format!("op {} stands where op {} should", row.op, self.next_op));
        }
        self.next_op += 1;
        self.first_time_us.get_or_insert(row.book_time.0);
        self.listed.event(row);
        if row.legs > 0 {
            self.due.push_back(Due { op: row.op, legs: row.legs, seen: 0, sums: BTreeMap::new() });
        }
        if self.due.len() > EVENTS_DUE_MAX { Err("its events have no postings".to_owned()) } else { Ok(()) }
    }

    fn posting(&mut self, row: &PostingRow) -> Result<(), String> {
        let Some(due) = self.due.front_mut().filter(|due| due.op == row.op && due.seen + 1 == row.leg) else {
            return Err(format!("leg {} of op {} stands where another should", row.leg, row.op));
        };
        due.seen += 1;
        *due.sums.entry((row.program.clone(), row.asset.clone())).or_default() +=
            i128::from(row.credit) - i128::from(row.debit);
        if due.seen == due.legs {
            if let Some(((_, asset), sum)) = due.sums.iter().find(|(_, sum)| **sum != 0) {
                return Err(format!("the legs of op {} in {asset} sum to {sum} and not to 0", row.op));
            }
            self.due.pop_front();
        }
        self.moved.posting(row);
        Ok(())
    }

    /// What can only be said when all files were read.
    fn finish(self) -> Result<Counts, ExportError> {
        let manifest = self.manifest;
        let last = manifest.export.origin.to_op;
        if let Some(due) = self.due.front() {
            return Err(bad_manifest(format!("op {} has {} postings and should have {}", due.op, due.seen, due.legs)));
        }
        if self.next_op != last.saturating_add(1) {
            return Err(bad_manifest(format!(
                "the events end at op {} and not at op {last}",
                self.next_op.saturating_sub(1)
            )));
        }
        if manifest.tables.iter().any(|table| table.rows != self.counts.of(table.table)) {
            return Err(bad_manifest(format!("the files have {:?}, and it says otherwise", self.counts)));
        }
        if self.totals != manifest.totals || self.first_time_us != Some(manifest.from_time_us) {
            return Err(bad_manifest("its totals or times are not those of the files"));
        }
        if let Some(what) = self.accounts.unbalanced() {
            return Err(bad_manifest(what));
        }
        let moved = || self.accounts.difference(&self.moved, ["the accounts", "the postings"]);
        let owned = || {
            let listed = self.listed.difference(manifest.export.from_op == 1);
            listed.or_else(|| self.owned.difference(&self.accounts))
        };
        let differs = self.accounts.differs_from(&manifest.trial_balance);
        let differs = differs.or_else(|| self.opened.then(moved).flatten());
        // A journal has no members and no lots.
        match differs.or_else(|| (manifest.export.format != Format::Hledger).then(owned).flatten()) {
            Some(what) => Err(bad_manifest(what)),
            None => Ok(self.counts),
        }
    }
}

/// Writes a file again from the rows that were read, so that nothing in it goes unread.
struct Again {
    writer: RowWriter,
    ready: Vec<u8>,
    sha256: Sha256,
}

impl Again {
    fn begin(manifest: &Manifest, content: Content) -> Result<Self, ExportError> {
        let date_us = match content {
            Content::Opening => manifest.from_time_us,
            _ => manifest.export.origin.to_time_us,
        };
        let mut ready = Vec::new();
        let writer = RowWriter::begin(manifest.export.format, content, date_us, &mut ready)?;
        Ok(Self { writer, ready, sha256: Sha256::new() })
    }

    fn append(&mut self, record: &Record) -> Result<(), ExportError> {
        self.writer.append(record, &mut self.ready)?;
        self.hash(CHUNK_BYTES);
        Ok(())
    }

    fn hash(&mut self, least: usize) {
        if self.ready.len() >= least {
            self.sha256.update(&self.ready);
            self.ready.clear();
        }
    }

    fn finish(mut self) -> Result<String, ExportError> {
        self.writer.finish(&mut self.ready)?;
        self.hash(0);
        Ok(hex(&self.sha256.finalize()))
    }
}

/// A file's length and SHA-256; its text, if it is an index.
fn read_through(file: FileReader, content: Content) -> Result<(u64, String, String), ExportError> {
    let (name, length) = (file.name().to_owned(), file.length());
    let (mut sha256, mut bytes, mut text) = (Sha256::new(), 0, Vec::new());
    let mut reader = file.buffered();
    let mut buffer = vec![0; 1 << 18];
    while bytes < length {
        let read = reader.read(&mut buffer).map_err(ExportError::io(&name))?;
        let read = buffer.get(..read).filter(|read| !read.is_empty());
        let read = read.ok_or_else(|| ExportError::damaged(&name, "it ends early"))?;
        sha256.update(read);
        bytes += u64::try_from(read.len()).unwrap_or(u64::MAX);
        if content == Content::Index && text.len() < 1 << 24 {
            text.extend_from_slice(read);
        }
    }
    Ok((bytes, hex(&sha256.finalize()), String::from_utf8_lossy(&text).into_owned()))
}

/// Follows the book to the snapshot's op.
struct Books<'a> {
    ledger: Ledger,
    prints: Prints,
    op: u64,
    head: Option<[u8; 32]>,
    book_time_us: i64,
    progress: &'a mut dyn FnMut(Progress),
}

impl Replay for Books<'_> {
    type Frame = FrameBody;

    fn preparer(&self) -> Preparer<FrameBody> {
        Box::new(|body| body)
    }

    fn events(&mut self, frame: &FrameBody, upto: u64) -> Result<(), String> {
        journal::each_event(frame, upto, &mut |visit| {
            let at = Moment { op: Op(visit.op), book_time_us: visit.book_time_us };
            let event = codec::decode(visit.event).map_err(|error| error.to_string())?;
            self.ledger.replay(at, &event, &self.prints).map_err(|error| error.what.to_owned())?;
            self.book_time_us = visit.book_time_us;
            if visit.op.is_multiple_of(super::PROGRESS_STEP) {
                (self.progress)(Progress { done: visit.op, total: self.op });
            }
            Ok(())
        })
    }

    fn frame_end(&mut self, at: &Waypoint) -> Result<(), String> {
        // An empty frame behind the one that ends at the op has that op, too.
        if at.op == self.op && self.head.is_none() {
            self.head = Some(at.hash);
        }
        Ok(())
    }
}

/// Takes the files of an export made again, and keeps none of them.
pub(super) struct Nowhere;

impl ExportSink for Nowhere {
    fn chunk(&mut self, _file: &str, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the export again from the book alone and compares its rows, file by file.
fn hold_against_book(
    manifest: &Manifest,
    book: &dyn Disk,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ExportError> {
    let identity = &manifest.export;
    let origin = &identity.origin;
    let genesis = journal::genesis_of(book)?.ok_or(JournalError::NoBook)?;
    let parent = genesis.parent.as_ref().map(|parent| ParentBook {
        book_id: hex(&parent.book_id),
        op: parent.op,
        hash: hex(&parent.hash),
    });
    if (hex(&genesis.book_id), genesis.incarnation, &parent)
        != (origin.book_id.clone(), origin.incarnation, &origin.parent)
    {
        return Err(bad_manifest(format!(
            "it is of book {}, and this is book {}",
            origin.book_id,
            hex(&genesis.book_id)
        )));
    }
    let mut books = Books {
        ledger: Ledger::new(Limits { members_max: u32::MAX, cap_counters_max: usize::MAX, lots_bytes_max: usize::MAX }),
        prints: Prints::new(genesis.secret),
        op: origin.to_op,
        head: None,
        book_time_us: 0,
        progress,
    };
    journal::scan_to(book, None, origin.to_op, &mut books).map_err(|error| match error {
        JournalError::NotFound(op) => ExportError::BookEnds(op),
        error => ExportError::Journal(error),
    })?;
    let mut ledger = books.ledger;
    if books.head.map(|hash| hex(&hash)).as_ref() != Some(&origin.head_hash) || books.book_time_us != origin.to_time_us
    {
        return Err(bad_manifest(format!("its head or time is not that of the book at op {}", origin.to_op)));
    }
    if hex(&ledger.state_hash()) != origin.state_hash {
        return Err(bad_manifest(format!("its state hash is not that of the book at op {}", origin.to_op)));
    }
    let accounts = LedgerAccounts::new(&mut ledger)?;
    drop(ledger);
    let source = Source { accounts: &accounts, events: &Scanned(book), origin: origin.clone() };
    let request = Request { format: identity.format, from_op: identity.from_op, part_ops: identity.part_ops };
    let again = export(&source, request, &[], &mut Nowhere, progress)?;
    // Another version of the Parquet library may write other bytes for the same rows.
    let rows = |file: &FileEntry| (file.name.clone(), file.content, file.rows, file.rows_blake3.clone());
    if let Some((file, _)) = manifest.files.iter().zip(&again.files).find(|(file, made)| rows(file) != rows(made)) {
        return Err(ExportError::damaged(&file.name, "a row is not what the book says"));
    }
    if manifest.trial_balance != again.trial_balance {
        return Err(bad_manifest("its trial balance is not what the book says"));
    }
    let alike = manifest.files.len() == again.files.len() && manifest.totals == again.totals;
    if alike && manifest.tables == again.tables { Ok(()) } else { Err(bad_manifest("the book has more or fewer rows")) }
}
