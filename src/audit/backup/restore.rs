//! A book from a backup, as it was at its end, at an op or at a time: a new incarnation that names what it descends from.

use crate::audit::export::columns::time_text;
use crate::io::{Disk, LOCK_FILE};
use crate::journal::{self, Cut, CutPoint, Genesis, JournalError, Parent, parse_segment_name};
use crate::verify::{self, Options};

use super::manifest::{BackupManifest, segment_of};
use super::receive::hashed;
use super::view::View;
use super::{BackupError, Progress, Stage};

/// How far to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Up to this op, even inside a frame.
    Op(u64),
    /// Up to the last frame whose book time is not after this one, in microseconds since the Unix epoch.
    Time(i64),
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// The genesis of the new book: its id, its incarnation and its parent.
    pub genesis: Genesis,
    /// The last op.
    pub op: u64,
    /// Book time of the last frame, in microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The new head of the chain.
    pub head: [u8; 32],
    /// The hash of the state that the events come to: that of the parent at this op.
    pub state_hash: [u8; 32],
    /// Members in it.
    pub members: u64,
    /// The last op of the backup.
    pub backup_op: u64,
}

/// Makes the book of the backup in `from` in the empty directory `data`, up to `to` or whole, with the new name `book_id`.
///
/// The backup is held to its manifest and its chain before anything is written; the new book is proved, posting by posting, before the
/// directory counts as one. What was begun and did not end is begun anew by the next restore, and opens as no book before.
///
/// # Errors
/// [`BackupError`], naming the file at fault.
pub fn restore(
    from: &dyn Disk,
    data: &dyn Disk,
    to: Option<To>,
    book_id: [u8; 16],
    progress: &mut dyn FnMut(Progress),
) -> Result<RestoreReport, BackupError> {
    let directory = "the directory to restore into";
    // Before anything is written, and once more when nobody else can.
    check_empty(data)?;
    let lock = data.try_lock().map_err(BackupError::io("lock", directory))?;
    let _lock = lock.ok_or(BackupError::InUse(directory))?;
    let restored = restore_held(from, data, to, book_id, progress);
    if restored.is_err() && data.list().is_ok_and(|names| names == [LOCK_FILE]) {
        // Nothing came about, and nothing is left of it.
        let _ = data.remove(LOCK_FILE);
    }
    restored
}

/// The same, with the directory held.
fn restore_held(
    from: &dyn Disk,
    data: &dyn Disk,
    to: Option<To>,
    book_id: [u8; 16],
    progress: &mut dyn FnMut(Progress),
) -> Result<RestoreReport, BackupError> {
    check_empty(data)?;
    let manifest = BackupManifest::read(from)?.ok_or(BackupError::NoBackup)?;
    check_files(from, &manifest, progress)?;
    let names = manifest.files.iter().map(|file| (segment_of(&file.name).to_owned(), file.name.clone()));
    let backup = View::new(from, names);
    let end = manifest.end()?;
    let told = |stage, progress: &mut dyn FnMut(Progress), done| {
        progress(Progress { stage, done, total: end.frame_bytes });
    };
    let cut = find_cut(&backup, &manifest, to, &mut |done| told(Stage::Prove, progress, done))?;
    let old = journal::genesis_of(&backup)?.ok_or(JournalError::NoBook)?;
    let parent = Parent { book_id: old.book_id, op: cut.op, hash: cut.hash };
    // Times of the past stay as they are, so the book begins when the first one began; the secret makes the fingerprints.
    let genesis = Genesis { book_id, incarnation: old.incarnation.saturating_add(1), parent: Some(parent), ..old };
    journal::begin_rewriting(data)?;
    let bytes = manifest.segment_bytes;
    let head =
        journal::rewrite(&backup, data, &genesis, cut.op, bytes, &mut |done| told(Stage::Write, progress, done))?;
    let names = data.list().map_err(BackupError::io("list", "the restored book"))?.into_iter();
    let names = names.filter(|name| parse_segment_name(name).is_some()).map(|name| (name.clone(), name));
    let proved = verify::verify(&View::new(data, names), &Options::default(), &mut |events| {
        progress(Progress { stage: Stage::Replay, done: events, total: cut.op });
    })?;
    if (proved.head, proved.head.op, &proved.genesis) != (head, cut.op, &genesis) {
        let detail = "it does not read as it was written".to_owned();
        return Err(BackupError::Damaged { file: "the restored book".to_owned(), detail });
    }
    journal::end_rewriting(data)?;
    Ok(RestoreReport {
        genesis,
        op: cut.op,
        book_time_us: cut.book_time_us,
        head: head.hash,
        state_hash: proved.state_hash,
        members: proved.members,
        backup_op: cut.book_op,
    })
}

/// A restore goes into an empty directory, or into one where a restore was cut short.
fn check_empty(data: &dyn Disk) -> Result<(), BackupError> {
    let names = data.list().map_err(BackupError::io("list", "the directory to restore into"))?;
    let begun = names.iter().any(|name| name == journal::RESTORING);
    let allowed = |name: &String| {
        name == LOCK_FILE || begun && (name == journal::RESTORING || parse_segment_name(name).is_some())
    };
    match names.iter().find(|name| !allowed(name)) {
        Some(name) => Err(BackupError::NotEmpty(name.clone())),
        None => Ok(()),
    }
}

fn check_files(
    from: &dyn Disk,
    manifest: &BackupManifest,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), BackupError> {
    let total = manifest.files.iter().map(|file| file.length).sum();
    let mut before = 0;
    for file in &manifest.files {
        let damaged = |detail: String| BackupError::Damaged { file: file.name.clone(), detail };
        let found = match hashed(from, &file.name, &mut |bytes| {
            progress(Progress { stage: Stage::Check, done: before + bytes, total });
        }) {
            Err(BackupError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged("it is missing".to_owned()));
            }
            found => found?,
        };
        if found.length != file.length {
            return Err(damaged(format!("it has {} bytes of {}", found.length, file.length)));
        }
        if found.sha256 != file.sha256 {
            return Err(damaged(format!("its SHA-256 is {}", found.sha256)));
        }
        before += file.length;
    }
    Ok(())
}

/// Proves the chain of the backup and finds where it is to be cut.
fn find_cut(
    backup: &dyn Disk,
    manifest: &BackupManifest,
    to: Option<To>,
    progress: &mut dyn FnMut(u64),
) -> Result<CutPoint, BackupError> {
    let (cut, asked) = match to {
        None => (Cut::Whole, "its end".to_owned()),
        Some(To::Op(op)) => (Cut::Op(op), format!("op {op}")),
        Some(To::Time(time)) => (Cut::Time(time), format!("{}, which is before its first event", time_text(time))),
    };
    let not_there = BackupError::NotInBackup { asked, book_op: manifest.op };
    match journal::find_cut(backup, cut, progress) {
        Err(JournalError::NotFound(_)) => Err(not_there),
        Ok(cut) if cut.op == 0 => Err(not_there),
        Ok(cut) if cut.book_op != manifest.op => Err(BackupError::BadManifest("its op is not the last one".into())),
        other => Ok(other?),
    }
}
