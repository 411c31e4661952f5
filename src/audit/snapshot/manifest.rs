//! The manifests of snapshots: what each says, and the chain that they make.

use std::collections::{BTreeSet, HashSet};
use std::io;

use serde::{Deserialize, Serialize};

use crate::audit::files::{self, Written, hex};
use crate::io::Disk;
use crate::ledger::view::{ProgramTrial, SnapshotView};

use super::{
    DELETED, MANIFEST, SNAPSHOT, SNAPSHOT_VERSION, SNAPSHOT_VERSION_BEFORE, SnapshotError, damaged, io_error, is_name,
};

/// Bytes of a manifest.
pub const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The manifest that a manifest follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The snapshot's name.
    pub name: String,
    /// Its op.
    pub op: u64,
    /// BLAKE3 of its manifest file, in hexadecimal digits.
    pub blake3: String,
}

/// What a snapshot is: the file `<name>.json` beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of snapshot and manifest.
    pub version: u16,
    /// The snapshot's name.
    pub name: String,
    /// The history, in hexadecimal digits.
    pub book_id: String,
    /// Its incarnation.
    pub incarnation: u32,
    /// The op whose state it is: that of the event that took it.
    pub op: u64,
    /// Book time of that event, in microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The hash of the frame that the event closes, in hexadecimal digits: the head of the book at that op.
    pub head_hash: String,
    /// The hash of the state, in hexadecimal digits.
    pub state_hash: String,
    /// Members of all programs.
    pub members: u64,
    /// Where all units stand.
    pub trial_balance: Vec<ProgramTrial>,
    /// Length of the snapshot file in bytes.
    pub bytes: u64,
    /// BLAKE3 of the snapshot file, in hexadecimal digits.
    pub blake3: String,
    /// SHA-256 of the snapshot file, in hexadecimal digits.
    pub sha256: String,
    /// Until when it may not be deleted, in microseconds since the Unix epoch.
    pub retain_until_us: Option<i64>,
    /// The manifest before it; none for the first of the book.
    pub previous: Option<Previous>,
}

impl Manifest {
    pub(super) fn new(name: &str, input: &ManifestInput, previous: Option<Previous>, file: &Written) -> Self {
        Self {
            version: SNAPSHOT_VERSION,
            name: name.to_owned(),
            book_id: hex(&input.book_id),
            incarnation: input.incarnation,
            op: input.op,
            book_time_us: input.book_time_us,
            head_hash: hex(&input.head_hash),
            state_hash: hex(&input.state_hash),
            members: input.members,
            trial_balance: input.trial_balance.clone(),
            bytes: file.bytes,
            blake3: hex(&file.blake3),
            sha256: hex(&file.sha256),
            retain_until_us: input.retain_until_us,
            previous,
        }
    }

    /// The names of the fields in which it is not what it should be; empty where it is. The state hash of the version before
    /// was of another form, and says nothing here.
    #[must_use]
    pub fn differences(&self, should: &Self) -> Vec<&'static str> {
        let before = self.version == SNAPSHOT_VERSION_BEFORE;
        let fields = [
            ("version", before || self.version == should.version),
            ("name", self.name == should.name),
            ("book_id", self.book_id == should.book_id),
            ("incarnation", self.incarnation == should.incarnation),
            ("op", self.op == should.op),
            ("book_time_us", self.book_time_us == should.book_time_us),
            ("head_hash", self.head_hash == should.head_hash),
            ("state_hash", before || self.state_hash == should.state_hash),
            ("members", self.members == should.members),
            ("trial_balance", self.trial_balance == should.trial_balance),
            ("bytes", self.bytes == should.bytes),
            ("blake3", self.blake3 == should.blake3),
            ("sha256", self.sha256 == should.sha256),
            ("retain_until_us", self.retain_until_us == should.retain_until_us),
            ("previous", self.previous == should.previous),
        ];
        fields.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
    }
}

/// What the writer is told of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestInput {
    /// The history.
    pub book_id: [u8; 16],
    /// Its incarnation.
    pub incarnation: u32,
    /// The op whose state it is.
    pub op: u64,
    /// Book time of that op, in microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The hash of the frame that ends at that op.
    pub head_hash: [u8; 32],
    /// The hash of the state.
    pub state_hash: [u8; 32],
    /// Members of all programs.
    pub members: u64,
    /// Where all units stand.
    pub trial_balance: Vec<ProgramTrial>,
    /// Until when it may not be deleted, in microseconds since the Unix epoch.
    pub retain_until_us: Option<i64>,
    /// The snapshots that the book has taken, oldest first: at least all before this one.
    pub taken: Vec<SnapshotView>,
}

/// Reads a manifest, and says the BLAKE3 of its file.
pub(super) fn read_manifest(disk: &dyn Disk, name: &str) -> Result<(Manifest, [u8; 32]), SnapshotError> {
    if !is_name(name) {
        return Err(SnapshotError::Name(name.to_owned()));
    }
    let file = format!("{name}{MANIFEST}");
    let text = files::read(disk, &file, MANIFEST_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SnapshotError::Missing(name.to_owned()),
        io::ErrorKind::InvalidData => damaged(&file, error.to_string()),
        _ => io_error(&file)(error),
    })?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| damaged(&file, error.to_string()))?;
    if manifest.version != SNAPSHOT_VERSION && manifest.version != SNAPSHOT_VERSION_BEFORE {
        return Err(SnapshotError::Version { file, version: manifest.version });
    }
    match manifest.name == name {
        true => Ok((manifest, *blake3::hash(&text).as_bytes())),
        false => Err(damaged(&file, format!("its name is {}", manifest.name))),
    }
}

/// The bytes of the manifest of the snapshot `name`, as its file has them.
///
/// # Errors
/// `Name`, `Missing`, `Damaged`, `Io`.
pub fn manifest_text(disk: &dyn Disk, name: &str) -> Result<String, SnapshotError> {
    read_manifest(disk, name)?;
    let file = format!("{name}{MANIFEST}");
    let text = files::read(disk, &file, MANIFEST_BYTES_MAX).map_err(io_error(&file))?;
    String::from_utf8(text).map_err(|error| damaged(&file, error.to_string()))
}

/// A snapshot of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its manifest.
    pub manifest: Manifest,
    /// BLAKE3 of the manifest file.
    pub manifest_blake3: [u8; 32],
    /// Whether the snapshot file is there: not after it was deleted.
    pub present: bool,
}

impl Listed {
    /// What the manifest behind it says of it.
    #[must_use]
    pub fn as_previous(&self) -> Previous {
        let Manifest { name, op, .. } = &self.manifest;
        Previous { name: name.clone(), op: *op, blake3: hex(&self.manifest_blake3) }
    }
}

/// What there is in the directory under the name of one snapshot.
#[derive(Debug)]
pub struct Shelved {
    /// The snapshot's name.
    pub name: String,
    /// Its manifest; `None` where there is none, an error where it cannot be read.
    pub manifest: Option<Result<Listed, SnapshotError>>,
    /// Whether the snapshot file is there.
    pub present: bool,
    /// Whether a mark says that the file was removed since the snapshot was deleted.
    pub deleted: bool,
}

/// What there is in the directory, by name.
///
/// # Errors
/// `Io`, of the directory or of a manifest.
pub fn list(disk: &dyn Disk) -> Result<Vec<Shelved>, SnapshotError> {
    let files: BTreeSet<String> = disk.list().map_err(io_error("the directory of snapshots"))?.into_iter().collect();
    let suffixes = [MANIFEST, SNAPSHOT, DELETED];
    let name_of = |file: &String| suffixes.iter().find_map(|suffix| file.strip_suffix(suffix)).map(str::to_owned);
    let names: BTreeSet<String> = files.iter().filter_map(name_of).filter(|name| is_name(name)).collect();
    let has = |name: &str, suffix: &str| files.contains(&format!("{name}{suffix}"));
    let mut shelved = Vec::with_capacity(names.len());
    for name in names {
        let (present, deleted) = (has(&name, SNAPSHOT), has(&name, DELETED));
        let manifest = has(&name, MANIFEST).then(|| {
            let (manifest, manifest_blake3) = read_manifest(disk, &name)?;
            Ok(Listed { manifest, manifest_blake3, present })
        });
        if let Some(Err(error @ SnapshotError::Io { .. })) = manifest {
            return Err(error);
        }
        shelved.push(Shelved { name, manifest, present, deleted });
    }
    Ok(shelved)
}

/// Where a snapshot stands among the manifests of its book.
pub(super) struct Place {
    /// The manifest that it follows.
    pub previous: Option<Previous>,
    /// Its own manifest, where that was written already.
    pub kept: Option<Manifest>,
}

/// Finds the place of the snapshot `name`. Only manifests of snapshots that the book took count as those before it. One that has
/// no manifest is given none once a later one is there: that one names another as the one before it.
///
/// # Errors
/// `Damaged` for a manifest before it that is not what was written, `Late`, `Io`.
pub(super) fn place(disk: &dyn Disk, name: &str, input: &ManifestInput) -> Result<Place, SnapshotError> {
    let previous = newest_before(disk, input)?;
    let kept = match read_manifest(disk, name) {
        Err(SnapshotError::Missing(_)) => None,
        read => Some(read?.0),
    };
    if kept.is_none()
        && let Some(later) = later(disk, input)?
    {
        return Err(SnapshotError::Late { name: name.to_owned(), later });
    }
    Ok(Place { previous, kept })
}

fn newest_before(disk: &dyn Disk, input: &ManifestInput) -> Result<Option<Previous>, SnapshotError> {
    for taken in input.taken.iter().rev().filter(|taken| taken.op.0 < input.op) {
        let (manifest, manifest_blake3) = match read_manifest(disk, &taken.name) {
            // It was never written, and those behind it pass it by.
            Err(SnapshotError::Missing(_)) => continue,
            read => read?,
        };
        if (manifest.op, &manifest.book_id) != (taken.op.0, &hex(&input.book_id)) {
            let what = format!("it is of op {} of book {}", manifest.op, manifest.book_id);
            return Err(damaged(&format!("{}{MANIFEST}", taken.name), what));
        }
        return Ok(Some(Listed { manifest, manifest_blake3, present: false }.as_previous()));
    }
    Ok(None)
}

/// The name of a snapshot of the book with a greater op that has a manifest. The book at hand may not know of it yet, so that the
/// directory is asked. A manifest that cannot be read counts where the rest of a snapshot lies beside it.
fn later(disk: &dyn Disk, input: &ManifestInput) -> Result<Option<String>, SnapshotError> {
    let earlier: HashSet<&str> = input.taken.iter().map(|taken| taken.name.as_str()).collect();
    let of_this_book = |manifest: &Manifest| manifest.op > input.op && manifest.book_id == hex(&input.book_id);
    for shelved in list(disk)? {
        match shelved.manifest {
            Some(Ok(listed)) if of_this_book(&listed.manifest) => return Ok(Some(shelved.name)),
            Some(Err(error)) if (shelved.present || shelved.deleted) && !earlier.contains(shelved.name.as_str()) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Whether a new snapshot `name` could have its manifest, as long as nothing changes in the directory: to be asked before it is
/// taken. `taken` are the snapshots of the book `book_id`, whose newest op is `newest`.
///
/// # Errors
/// `Stray` where there is a manifest of that name; else what would keep the snapshot from being written, naming the file.
pub fn check_room(
    disk: &dyn Disk,
    name: &str,
    book_id: [u8; 16],
    newest: u64,
    taken: Vec<SnapshotView>,
) -> Result<(), SnapshotError> {
    let input = ManifestInput { book_id, op: newest.saturating_add(1), taken, ..ManifestInput::default() };
    match place(disk, name, &input)?.kept {
        Some(_) => Err(SnapshotError::Stray(name.to_owned())),
        None => Ok(()),
    }
}

/// Removes the file of the snapshot `name`, durably, and leaves a mark in its place, so that a start knows why it is not there.
/// Its manifest stays: the next one's names its hash.
///
/// # Errors
/// `Name`, `Io`.
pub fn remove(disk: &dyn Disk, name: &str) -> Result<(), SnapshotError> {
    if !is_name(name) {
        return Err(SnapshotError::Name(name.to_owned()));
    }
    let (file, mark) = (format!("{name}{SNAPSHOT}"), format!("{name}{DELETED}"));
    // Without a manifest there is nothing to mark: a start writes it, so that the chain is whole, and the file goes again.
    if disk.open(&format!("{name}{MANIFEST}")).is_ok() && disk.open(&mark).is_err() {
        files::put(disk, &mark, b"").map_err(io_error(&mark))?;
    }
    match disk.remove(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&file)(error)),
        _ => {}
    }
    disk.sync_dir().map_err(io_error("the directory of snapshots"))
}

/// Whether a mark says that the file of the snapshot `name` was removed after it was deleted, and its manifest is there.
pub(crate) fn was_deleted(disk: &dyn Disk, name: &str) -> bool {
    disk.open(&format!("{name}{DELETED}")).is_ok() && read_manifest(disk, name).is_ok()
}

/// Holds a manifest against the one before it.
///
/// # Errors
/// `Damaged` where it follows another one, or not as that one is now.
pub fn check_follows(next: &Listed, before: Option<&Listed>) -> Result<(), SnapshotError> {
    if next.manifest.previous == before.map(Listed::as_previous) {
        return Ok(());
    }
    let file = format!("{}{MANIFEST}", next.manifest.name);
    let named = next.manifest.previous.as_ref().map_or("none", |previous| previous.name.as_str());
    let found = before.map_or("none", |listed| listed.manifest.name.as_str());
    let what =
        format!("by its field previous the manifest before it is {named} as it was then, and that is now {found}");
    Err(damaged(&file, what))
}
