//! What lies beside the book and is held against it: snapshots and the newest checkpoint with its runs of keys.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::VerifyError;
use crate::audit::snapshot::{self, Listed, Shelved, SnapshotError, SnapshotReader};
use crate::constants::{SNAPSHOTS_DIR, STORE_DIR};
use crate::io::RealDisk;
use crate::journal::{self, Waypoint};
use crate::store::{BookName, Keys, SledShelves, Store, StoreFigures, StoreOptions};

/// A state that the store noted for an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What noted it, such as `the newest checkpoint`.
    pub what: String,
    /// The op, the last of a frame.
    pub op: u64,
    /// The hash of that frame.
    pub head_hash: [u8; 32],
    /// The hash of the state.
    pub state_hash: [u8; 32],
}

/// What the directory of snapshots has under one name.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The manifest, or why it cannot be read; `None` where there is none.
    pub manifest: Option<Result<Listed, String>>,
    /// Whether the file is what the manifest says, and its parts the state with the hash there; `None` where one of the two is
    /// not there.
    pub file: Option<Result<(), String>>,
    /// Whether a mark says that the file was removed since the snapshot was deleted.
    pub deleted: bool,
}

impl Shot {
    pub(super) fn listed(&self) -> Option<&Listed> {
        self.manifest.as_ref()?.as_ref().ok()
    }
}

/// What was found beside a book.
#[derive(Clone, Default)]
pub struct Beside {
    /// The states of the store that are to be found in the book.
    pub points: Vec<Point>,
    /// What there is in the directory of snapshots, by name.
    pub snapshots: BTreeMap<String, Shot>,
    /// The runs of the newest checkpoint: every key up to [`Keys::upto`] must be in them.
    pub keys: Option<Arc<Keys>>,
    /// Figures of the store.
    pub store: Option<StoreFigures>,
    /// What is not as it should be and yet no damage to the book.
    pub notes: Vec<String>,
}

impl Beside {
    pub(super) fn manifest_of(&self, name: &str) -> Option<&Listed> {
        self.snapshots.get(name)?.listed()
    }
}

/// Reads snapshots and store beside the book in `data`, and proves each in itself; what is wrong with a snapshot counts once it is
/// known to be one of the book's. Nothing there is written to: the store, which changes when it is opened, is opened in a copy
/// among the system's temporary files.
///
/// # Errors
/// [`VerifyError::Beside`] for what cannot be read, and where the copy cannot be made.
pub fn gather(data: &Path) -> Result<Beside, VerifyError> {
    let mut beside = Beside::default();
    let snapshots = data.join(SNAPSHOTS_DIR);
    if snapshots.is_dir() {
        gather_snapshots(&snapshots, &mut beside)?;
    }
    let store = data.join(STORE_DIR);
    if store.is_dir() {
        gather_store(data, &store, &mut beside)?;
    }
    Ok(beside)
}

fn beside_error(error: impl std::fmt::Display) -> VerifyError {
    VerifyError::Beside(error.to_string())
}

fn gather_snapshots(dir: &Path, beside: &mut Beside) -> Result<(), VerifyError> {
    let disk = RealDisk::open_existing(dir).map_err(beside_error)?;
    for Shelved { name, manifest, present, deleted } in snapshot::list(&disk).map_err(beside_error)? {
        let sound = matches!(manifest, Some(Ok(_)));
        let proved = || {
            let reader = SnapshotReader::open(&disk, &name)?;
            reader.verify().and_then(|()| reader.verify_state())
        };
        let file = match (present && sound).then(proved) {
            Some(Err(error @ SnapshotError::Io { .. })) => return Err(beside_error(error)),
            file => file.map(|proved| proved.map_err(|error| error.to_string())),
        };
        let manifest = manifest.map(|read| read.map_err(|error| error.to_string()));
        beside.snapshots.insert(name, Shot { manifest, file, deleted });
    }
    Ok(())
}

fn gather_store(data: &Path, dir: &Path, beside: &mut Beside) -> Result<(), VerifyError> {
    let book = RealDisk::open_existing(data).map_err(beside_error)?;
    let Some(genesis) = journal::genesis_of(&book)? else { return Ok(()) };
    let copy = tempfile::tempdir().map_err(beside_error)?;
    copy_all(dir, copy.path()).map_err(|error| beside_error(format!("the store cannot be copied: {error}")))?;
    let name = BookName { book_id: genesis.book_id, incarnation: genesis.incarnation };
    // A run whose filter is not in memory would be taken to hold every key.
    let options = StoreOptions { key_filter_bytes_max: u64::MAX };
    let opened = Store::open(Arc::new(SledShelves::new(copy.path())), name, options);
    let (mut store, found) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            beside.notes.push(format!("the store cannot be opened: {error}; the next start makes it anew"));
            return Ok(());
        }
    };
    beside.notes.extend(found.discarded.iter().map(|what| format!("the store is not sound: {what}")));
    beside.store = store.figures().ok();
    let Some(checkpoint) = store.newest() else { return Ok(()) };
    if let Err(error) = store.load(&mut |_, _| Ok(())) {
        beside.notes.push(format!("the store is not sound: {error}; the next start makes it anew"));
        return Ok(());
    }
    let at = Waypoint::from_bytes(&checkpoint.waypoint)?;
    let state_hash = checkpoint.state_hash;
    beside.points.push(Point { what: "the newest checkpoint".into(), op: at.op, head_hash: at.hash, state_hash });
    // Memory alone is asked of them, so that the copy may go.
    beside.keys = Some(store.keys());
    Ok(())
}

/// Copies a directory of directories.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &target)?,
            false => {
                fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}
