//! What lies beside the book and is held against it: snapshots and the newest checkpoint with its runs of keys.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::VerifyError;
use crate::audit::files::unhex;
use crate::audit::snapshot::{self, SnapshotReader};
use crate::constants::{SNAPSHOTS_DIR, STORE_DIR};
use crate::io::RealDisk;
use crate::journal::{self, Waypoint};
use crate::store::{BookName, Keys, SledShelves, Store, StoreFigures, StoreOptions};

/// A state that was noted for an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What noted it, such as `snapshot "q3"`.
    pub what: String,
    /// The op, the last of a frame.
    pub op: u64,
    /// The hash of that frame.
    pub head_hash: [u8; 32],
    /// The hash of the state.
    pub state_hash: [u8; 32],
}

/// What was found beside a book.
#[derive(Clone, Default)]
pub struct Beside {
    /// The states to be found in the book, by op.
    pub points: Vec<Point>,
    /// The runs of the newest checkpoint: every key up to [`Keys::upto`] must be in them.
    pub keys: Option<Arc<Keys>>,
    /// Figures of the store.
    pub store: Option<StoreFigures>,
    /// What is not as it should be and yet no damage to the book.
    pub notes: Vec<String>,
}

/// Reads snapshots and store beside the book in `data`, and proves each in itself. Nothing there is written to: the store,
/// which changes when it is opened, is opened in a copy among the system's temporary files.
///
/// # Errors
/// [`VerifyError::Beside`] for a snapshot that is not what its manifest says, and where the copy cannot be made.
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
    beside.points.sort_by_key(|point| point.op);
    Ok(beside)
}

fn beside_error(error: impl std::fmt::Display) -> VerifyError {
    VerifyError::Beside(error.to_string())
}

fn gather_snapshots(dir: &Path, beside: &mut Beside) -> Result<(), VerifyError> {
    let disk = RealDisk::open_existing(dir).map_err(beside_error)?;
    for listed in snapshot::verify_chain(&disk).map_err(beside_error)? {
        let manifest = listed.manifest;
        if listed.present {
            let reader = SnapshotReader::open(&disk, &manifest.name).map_err(beside_error)?;
            reader.verify().and_then(|()| reader.verify_state()).map_err(beside_error)?;
        }
        let bad = |what: &str| VerifyError::Beside(format!("{}.json: {what} is no hash", manifest.name));
        beside.points.push(Point {
            what: format!("snapshot {:?}", manifest.name),
            op: manifest.op,
            head_hash: unhex(&manifest.head_hash).ok_or_else(|| bad("head_hash"))?,
            state_hash: unhex(&manifest.state_hash).ok_or_else(|| bad("state_hash"))?,
        });
    }
    Ok(())
}

fn gather_store(data: &Path, dir: &Path, beside: &mut Beside) -> Result<(), VerifyError> {
    let book = RealDisk::open_existing(data).map_err(beside_error)?;
    let Some(genesis) = journal::genesis_of(&book)? else { return Ok(()) };
    let copy = tempfile::tempdir().map_err(beside_error)?;
    copy_all(dir, copy.path()).map_err(|error| beside_error(format!("the store cannot be copied: {error}")))?;
    let name = BookName { book_id: genesis.book_id, incarnation: genesis.incarnation };
    let opened = Store::open(Arc::new(SledShelves::new(copy.path())), name, StoreOptions::default());
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
