//! `stampbook export`, and `stampbook verify --export`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde_json::json;
use stampbook::audit::export::manifest::{Manifest, Origin};
use stampbook::audit::export::sink::DirSink;
use stampbook::audit::export::source::{Scanned, SnapshotAccounts, why_missing};
use stampbook::audit::export::verify::{ExportReport, verify_export};
use stampbook::audit::export::{ExportError, Format, Progress, Request, Source, export};
use stampbook::audit::snapshot::{SnapshotError, SnapshotReader};
use stampbook::constants::SNAPSHOTS_DIR;
use stampbook::io::{Disk, RealDisk};
use stampbook::journal::{JournalError, genesis_of};

use super::bar::{Bar, Unit};
use super::out::Out;
use super::{EXIT_BAD_INPUT, EXIT_DAMAGED, EXIT_IO, Failure, Outcome, Shown, receive};

#[derive(Args)]
pub(super) struct Export {
    #[command(flatten)]
    of: Of,
    /// The snapshot to export.
    #[arg(long, value_name = "NAME")]
    snapshot: String,
    /// jsonl, csv, parquet or hledger.
    #[arg(long)]
    format: Form,
    /// The directory of the export: an empty one, one that is created, or one in which the same export broke off.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The first op whose event is exported.
    #[arg(long, value_name = "OP", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from_op: u64,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Which book.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// The directory of the book; a server may have it open.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address of the server that has the book open, such as 127.0.0.1:7070.
    #[arg(long, value_name = "ADDR")]
    target: Option<String>,
}

/// A format, by its name.
#[derive(Clone, Copy)]
struct Form(Format);

impl FromStr for Form {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Format::named(text).map(Self).ok_or("a format is jsonl, csv, parquet or hledger")
    }
}

impl Export {
    pub(super) fn run(self) -> Outcome {
        match &self.of {
            Of { target: Some(target), .. } => {
                let wanted = receive::Wanted { snapshot: &self.snapshot, format: self.format.0, from_op: self.from_op };
                receive::export(target, &wanted, &self.out).map(|manifest| shown(&manifest, &self.out))
            }
            Of { data: Some(data), .. } => self.offline(data),
            Of { .. } => Err(Failure::plain(EXIT_BAD_INPUT, "either --data or --target is needed")),
        }
    }

    fn offline(&self, dir: &Path) -> Outcome {
        let data = RealDisk::open_existing(dir).map_err(|error| unreachable(dir, &error))?;
        let failed = |error: ExportError| failure(&error);
        let reader = self.snapshot_in(dir, &data).map_err(failed)?;
        let genesis = genesis_of(&data).and_then(|genesis| genesis.ok_or(JournalError::NoBook));
        let origin = Origin::of(&reader, &genesis.map_err(|error| failed(error.into()))?);
        let accounts = SnapshotAccounts::new(&reader).map_err(failed)?;
        let source = Source { accounts: &accounts, events: &Scanned(&data), origin };
        let request = Request { from_op: self.from_op, ..Request::whole(self.format.0) };
        let out = Out::open(&self.out)?;
        let mut sink = DirSink::open(out.disk()).map_err(|error| failure_in(&self.out, &error))?;
        let finished = sink.finished();
        let mut bar = Bar::new();
        let made = match sink.manifest().cloned() {
            Some(manifest) => self.same(manifest, &source.origin),
            None => export(&source, request, &finished, &mut sink, &mut |progress| show(&mut bar, "export", progress)),
        };
        bar.clear();
        made.map(|manifest| shown(&manifest, &self.out)).map_err(|error| failure_in(&self.out, &error))
    }

    /// The snapshot of the book in `dir`; where its file is not there, the book says why.
    fn snapshot_in(&self, dir: &Path, data: &RealDisk) -> Result<SnapshotReader, ExportError> {
        let opened = match RealDisk::open_existing(dir.join(SNAPSHOTS_DIR)) {
            Ok(snapshots) => SnapshotReader::open(&snapshots, &self.snapshot),
            Err(_) => Err(SnapshotError::Missing(self.snapshot.clone())),
        };
        match opened {
            Err(SnapshotError::Missing(name)) => Err(why_missing(data, name)?),
            opened => Ok(opened?),
        }
    }

    /// The manifest of an export that is whole already, if it is the one that is asked for.
    fn same(&self, manifest: Manifest, origin: &Origin) -> Result<Manifest, ExportError> {
        let made = &manifest.export;
        match made.origin == *origin && made.format == self.format.0 && made.from_op == self.from_op {
            true => Ok(manifest),
            false => Err(ExportError::Another),
        }
    }
}

/// Proves an export, against the book in `data` too if one is named.
pub(super) fn verify(dir: &Path, data: Option<&Path>) -> Outcome {
    let export = RealDisk::open_existing(dir).map_err(|error| unreachable(dir, &error))?;
    let book = match data {
        Some(data) => Some(RealDisk::open_existing(data).map_err(|error| unreachable(data, &error))?),
        None => None,
    };
    let book = book.as_ref().map(|book| -> &dyn Disk { book });
    let mut bar = Bar::new();
    let proved = verify_export(&export, book, &mut |progress| show(&mut bar, "verify", progress));
    bar.clear();
    match proved {
        Ok(report) => Ok(proved_shown(&report, dir)),
        Err(error) => {
            let Failure { code, text, .. } = failure_in(dir, &error);
            Err(Failure { code, json: json!({ "sound": false, "error": text }), text })
        }
    }
}

fn summary(manifest: &Manifest, text: &mut String) {
    let export = &manifest.export;
    let origin = &export.origin;
    let _ = writeln!(text, "book {} incarnation {}", origin.book_id, origin.incarnation);
    let _ = writeln!(text, "snapshot {}, ops {} to {}", origin.snapshot, export.from_op, origin.to_op);
    let _ = writeln!(text, "head {}:{}", origin.to_op, origin.head_hash);
    let _ = writeln!(text, "state {}", origin.state_hash);
    let journal = export.format == Format::Hledger;
    for table in manifest.tables.iter().filter(|table| table.rows > 0 || !journal) {
        let _ = writeln!(text, "{:<9} {:>12} rows", table.table.name(), table.rows);
    }
    for total in &manifest.totals {
        let _ = writeln!(
            text,
            "{} {}: postings {} = {}, accounts {} = {}",
            total.program,
            total.asset,
            total.postings_debit,
            total.postings_credit,
            total.accounts_debit,
            total.accounts_credit
        );
    }
}

/// What is told of an export that was made.
pub(super) fn shown(manifest: &Manifest, out: &Path) -> Shown {
    let mut text =
        format!("export in {}: {}, {} files\n", out.display(), manifest.export.format.name(), manifest.files.len());
    summary(manifest, &mut text);
    if manifest.export.format == Format::Hledger {
        let _ = writeln!(text, "prove it: hledger -f {} check", out.join("books.journal").display());
    }
    let _ = write!(text, "prove it: stampbook verify --export {}", out.display());
    Shown { text, json: json!({ "out": out, "manifest": manifest_json(manifest) }) }
}

/// The manifest without its columns and its chart.
fn manifest_json(manifest: &Manifest) -> serde_json::Value {
    let rows: serde_json::Map<_, _> =
        manifest.tables.iter().map(|table| (table.table.name().to_owned(), table.rows.into())).collect();
    json!({ "export": manifest.export, "rows": rows, "totals": manifest.totals, "files": manifest.files.len() })
}

fn proved_shown(report: &ExportReport, dir: &Path) -> Shown {
    let against = if report.against_book { "every row is the book's" } else { "not held against a book" };
    let mut text = format!("export in {}: sound, {} files, {against}\n", dir.display(), report.files);
    summary(&report.manifest, &mut text);
    let manifest = manifest_json(&report.manifest);
    Shown { text, json: json!({ "sound": true, "against_book": report.against_book, "manifest": manifest }) }
}

fn unreachable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::plain(EXIT_IO, format!("{}: {error}", path.display()))
}

/// How an export in `dir` or a proof of one that failed ends: what is wrong in the directory is named with it.
pub(super) fn failure_in(dir: &Path, error: &ExportError) -> Failure {
    let failure = failure(error);
    match error {
        ExportError::Io { .. }
        | ExportError::Damaged { .. }
        | ExportError::NoExport
        | ExportError::InUse
        | ExportError::Stray(_)
        | ExportError::Another => Failure::plain(failure.code, format!("{}: {}", dir.display(), failure.text)),
        _ => failure,
    }
}

/// What an error of an export means.
fn failure(error: &ExportError) -> Failure {
    let code = match error {
        ExportError::Damaged { .. }
        | ExportError::Codec(..)
        | ExportError::Unnamed(_)
        | ExportError::MemberUnnamed(_)
        | ExportError::Snapshot(SnapshotError::Damaged { .. })
        | ExportError::Journal(JournalError::Damaged { .. }) => EXIT_DAMAGED,
        ExportError::Refused(_)
        | ExportError::NoExport
        | ExportError::Stray(_)
        | ExportError::Another
        | ExportError::BookEnds(_)
        | ExportError::Snapshot(SnapshotError::Name(_) | SnapshotError::Missing(_))
        | ExportError::Journal(JournalError::NoBook) => EXIT_BAD_INPUT,
        _ => EXIT_IO,
    };
    Failure::plain(code, error.to_string())
}

/// Shows how far an export, or the proof of one, is.
pub(super) fn show(bar: &mut Bar, what: &'static str, Progress { done, total }: Progress) {
    bar.show(what, Unit::Events, done, total);
}
