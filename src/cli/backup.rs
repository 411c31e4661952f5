//! `stampbook backup` and `stampbook restore`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use stampbook::audit::backup::{
    BackupError, BackupManifest, Progress, Receiver, RestoreReport, Stage, To, backup_stopped, restore,
};
use stampbook::audit::files::hex;
use stampbook::io::RealDisk;
use stampbook::journal::JournalError;

use super::bar::{Bar, Unit};
use super::out::Out;
use super::{EXIT_BAD_INPUT, EXIT_DAMAGED, EXIT_IO, Failure, Outcome, Shown, receive};

#[derive(Args)]
pub(super) struct Backup {
    #[command(flatten)]
    of: Of,
    /// The directory of the backup; created where there is none. What it holds of an earlier backup of this book is kept.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Which book.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// The directory of a book that no server has open.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address of the server that has the book open, such as 127.0.0.1:7070.
    #[arg(long, value_name = "ADDR")]
    target: Option<String>,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The directory of the backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The directory of the new book: empty, or created.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Restore up to this op.
    #[arg(long, value_name = "OP", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "to_time")]
    to_op: Option<u64>,
    /// Restore what was booked up to this time, such as 2026-03-01T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    to_time: Option<Timestamp>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Backup {
    pub(super) fn run(self) -> Outcome {
        match &self.of {
            Of { target: Some(target), .. } => receive::backup(target, &self.out).map(|made| shown(&made, &self.out)),
            Of { data: Some(data), .. } => self.offline(data).map(|made| shown(&made, &self.out)),
            Of { .. } => Err(Failure::plain(EXIT_BAD_INPUT, "either --data or --target is needed")),
        }
    }

    fn offline(&self, dir: &Path) -> Result<Made, Failure> {
        let data = RealDisk::open_existing(dir).map_err(|error| unreachable(dir, &error))?;
        if data.is_held() {
            let open = format!(
                "{}: a server has this book open: back it up through the server with --target, or stop it",
                dir.display()
            );
            return Err(Failure::plain(EXIT_IO, open));
        }
        let out = Out::open(&self.out)?;
        let mut bar = Bar::new();
        let mut show = |progress| show(&mut bar, progress);
        let made = Receiver::open(out.disk(), &mut show).and_then(|receiver| {
            let mended = receiver.hurt().to_vec();
            Ok(Made { manifest: backup_stopped(Arc::new(data), receiver, &mut show)?, mended })
        });
        bar.clear();
        made.map_err(|error| failure(&error))
    }
}

/// A backup that was made.
pub(super) struct Made {
    /// What it holds.
    pub(super) manifest: BackupManifest,
    /// Files of the backup before that were missing or damaged.
    pub(super) mended: Vec<String>,
}

/// Shows how far a backup or a restore is.
pub(super) fn show(bar: &mut Bar, Progress { stage, done, total }: Progress) {
    let unit = if stage == Stage::Replay { Unit::Events } else { Unit::Bytes };
    bar.show(stage.name(), unit, done, total);
}

/// What is told of a backup that was made.
fn shown(Made { manifest, mended }: &Made, out: &Path) -> Shown {
    let bytes: u64 = manifest.files.iter().map(|file| file.length).sum();
    let mut text = format!("backup in {}\n", out.display());
    text += &format!("book {} incarnation {}\n", manifest.book_id, manifest.incarnation);
    text += &format!("head {}:{}\n", manifest.op, manifest.head);
    text += &format!("book time {}\n", time_of(manifest.book_time_us));
    text += &format!(
        "{} files, {bytes} bytes; the backup before ended at op {}",
        manifest.files.len(),
        manifest.previous_op
    );
    for file in mended {
        text += &format!("\n{file} of the backup before was missing or damaged: what the book has of it is here now");
    }
    let json = json!({
        "book_id": manifest.book_id,
        "incarnation": manifest.incarnation,
        "op": manifest.op,
        "head": manifest.head,
        "book_time_us": manifest.book_time_us,
        "previous_op": manifest.previous_op,
        "files": manifest.files.len(),
        "bytes": bytes,
        "mended": mended,
    });
    Shown { text, json }
}

impl Restore {
    pub(super) fn run(self) -> Outcome {
        let from = RealDisk::open_existing(&self.from).map_err(|error| unreachable(&self.from, &error))?;
        let to = self.to_op.map(To::Op).or(self.to_time.map(|time| To::Time(time.as_microsecond())));
        let mut book_id = [0; 16];
        getrandom::fill(&mut book_id)
            .map_err(|error| Failure::plain(EXIT_IO, format!("the system gives no randomness: {error}")))?;
        let data = Out::open(&self.data)?;
        if let Some(folder) = folder_in(&self.data).map_err(|error| unreachable(&self.data, &error))? {
            return Err(failure(&BackupError::NotEmpty(folder)));
        }
        let mut bar = Bar::new();
        let restored = restore(&from, &*data.disk(), to, book_id, &mut |progress| show(&mut bar, progress));
        bar.clear();
        restored.map(|report| restored_shown(&report, &self.data)).map_err(|error| failure(&error))
    }
}

/// A folder in a directory, such as another book's store.
fn folder_in(dir: &Path) -> std::io::Result<Option<String>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn restored_shown(report: &RestoreReport, data: &Path) -> Shown {
    let genesis = &report.genesis;
    let mut text =
        format!("book {} incarnation {} in {}\n", hex(&genesis.book_id), genesis.incarnation, data.display());
    if let Some(parent) = &genesis.parent {
        text += &format!("parent {} at {}:{}\n", hex(&parent.book_id), parent.op, hex(&parent.hash));
    }
    text += &format!("head {}:{}\n", report.op, hex(&report.head));
    text += &format!("book time {}\n", time_of(report.book_time_us));
    text += &format!("state {}\n", hex(&report.state_hash));
    text += &format!("events {} of {}, members {}; every posting proved", report.op, report.backup_op, report.members);
    let parent = genesis
        .parent
        .map(|parent| json!({ "book_id": hex(&parent.book_id), "op": parent.op, "head": hex(&parent.hash) }));
    let json = json!({
        "book_id": hex(&genesis.book_id),
        "incarnation": genesis.incarnation,
        "parent": parent,
        "op": report.op,
        "head": hex(&report.head),
        "book_time_us": report.book_time_us,
        "state_hash": hex(&report.state_hash),
        "members": report.members,
        "backup_op": report.backup_op,
    });
    Shown { text, json }
}

fn time_of(microseconds: i64) -> String {
    Timestamp::from_microsecond(microseconds).map_or_else(|_| format!("{microseconds} us"), |time| time.to_string())
}

fn unreachable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::plain(EXIT_IO, format!("{}: {error}", path.display()))
}

/// How a backup or a restore that failed ends.
pub(super) fn failure(error: &BackupError) -> Failure {
    let code = match error {
        BackupError::Damaged { .. }
        | BackupError::BadManifest(_)
        | BackupError::Disagrees(_)
        | BackupError::Verify(_) => EXIT_DAMAGED,
        BackupError::Journal(
            JournalError::Damaged { .. } | JournalError::EndsBefore { .. } | JournalError::NotOnBook { .. },
        ) => EXIT_DAMAGED,
        BackupError::NoBackup
        | BackupError::OtherBackup(_)
        | BackupError::NotEmpty(_)
        | BackupError::Occupied(_)
        | BackupError::NotInBackup { .. }
        | BackupError::Journal(JournalError::NoBook | JournalError::NotFound(_)) => EXIT_BAD_INPUT,
        _ => EXIT_IO,
    };
    Failure::plain(code, error.to_string())
}
