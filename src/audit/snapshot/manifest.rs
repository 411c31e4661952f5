//! The manifests of snapshots: what each says, and the chain that they make.

use std::io;

use serde::{Deserialize, Serialize};

use crate::audit::files::{self, hex};
use crate::io::Disk;
use crate::ledger::view::{ProgramTrial, TrialRow};

use super::{MANIFEST, SNAPSHOT, SnapshotError, damaged, io_error, is_name};

/// Bytes of a manifest.
pub const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A row of a trial balance in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// The account.
    pub account: String,
    /// The balance, credit positive.
    pub balance: i64,
}

/// A program's trial balance in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestTrial {
    /// The program's id.
    pub program: String,
    /// Members of the program.
    pub members: u64,
    /// A row an account.
    pub rows: Vec<ManifestRow>,
}

impl From<&ProgramTrial> for ManifestTrial {
    fn from(trial: &ProgramTrial) -> Self {
        let row = |row: &TrialRow| ManifestRow { account: row.account.clone(), balance: row.balance };
        Self { program: trial.program.clone(), members: trial.members, rows: trial.rows.iter().map(row).collect() }
    }
}

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
    pub trial_balance: Vec<ManifestTrial>,
    /// Length of the snapshot file in bytes.
    pub bytes: u64,
    /// BLAKE3 of the snapshot file, in hexadecimal digits.
    pub blake3: String,
    /// SHA-256 of the snapshot file, in hexadecimal digits.
    pub sha256: String,
    /// Until when it may not be deleted, in microseconds since the Unix epoch.
    pub retain_until_us: Option<i64>,
    /// The manifest before it; none for the first of the directory.
    pub previous: Option<Previous>,
}

/// What the writer is told of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    match manifest.name == name {
        true => Ok((manifest, *blake3::hash(&text).as_bytes())),
        false => Err(damaged(&file, format!("it is the manifest of {}", manifest.name))),
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

/// Every snapshot of the directory, oldest op first. Those that were deleted have a manifest and no file.
///
/// # Errors
/// `Damaged`, `Io`.
pub fn list(disk: &dyn Disk) -> Result<Vec<Listed>, SnapshotError> {
    let names = disk.list().map_err(io_error("the directory of snapshots"))?;
    let mut listed = Vec::new();
    for name in names.iter().filter_map(|file| file.strip_suffix(MANIFEST)).filter(|name| is_name(name)) {
        let (manifest, manifest_blake3) = read_manifest(disk, name)?;
        let present = names.contains(&format!("{name}{SNAPSHOT}"));
        listed.push(Listed { manifest, manifest_blake3, present });
    }
    listed.sort_unstable_by_key(|listed| listed.manifest.op);
    Ok(listed)
}

pub(super) fn newest_before(disk: &dyn Disk, op: u64) -> Result<Option<Previous>, SnapshotError> {
    let before = list(disk)?.into_iter().rfind(|listed| listed.manifest.op < op);
    Ok(before.map(|listed| Previous {
        name: listed.manifest.name,
        op: listed.manifest.op,
        blake3: hex(&listed.manifest_blake3),
    }))
}

/// Removes the file of the snapshot `name`, durably. Its manifest stays: the next one's names its hash. Nothing happens
/// where the file is not there.
///
/// # Errors
/// `Name`, `Io`.
pub fn remove(disk: &dyn Disk, name: &str) -> Result<(), SnapshotError> {
    if !is_name(name) {
        return Err(SnapshotError::Name(name.to_owned()));
    }
    let file = format!("{name}{SNAPSHOT}");
    match disk.remove(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&file)(error)),
        _ => {}
    }
    disk.sync_dir().map_err(io_error("the directory of snapshots"))
}

/// Holds every manifest of the directory against the one before it and returns them, oldest op first.
///
/// # Errors
/// `Damaged` names the manifest whose predecessor is missing or is not what it was; `Io`.
pub fn verify_chain(disk: &dyn Disk) -> Result<Vec<Listed>, SnapshotError> {
    let listed = list(disk)?;
    let mut before: Option<&Listed> = None;
    for next in &listed {
        let expected = before.map(|listed| (listed.manifest.op, hex(&listed.manifest_blake3)));
        let said = next.manifest.previous.as_ref().map(|previous| (previous.op, previous.blake3.clone()));
        if said != expected {
            let file = format!("{}{MANIFEST}", next.manifest.name);
            let named = next.manifest.previous.as_ref().map_or("none", |previous| previous.name.as_str());
            let found = before.map_or("none", |listed| listed.manifest.name.as_str());
            let what = format!("the manifest before it should be {named} as it was then, and is {found}");
            return Err(damaged(&file, what));
        }
        before = Some(next);
    }
    Ok(listed)
}
