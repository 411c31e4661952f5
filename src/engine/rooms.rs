//! What the engine keeps beside the book: the store's databases, and the snapshots that others write for it.

use std::fmt;
use std::sync::Arc;

use crate::io::Disk;
use crate::io::sim::SimDisk;
use crate::journal::Waypoint;
use crate::ledger::view::{ProgramTrial, SnapshotView};
use crate::store::Shelves;
use crate::store::sim::SimShelves;

/// Where the engine keeps what it could make anew from the book.
#[derive(Clone)]
pub struct Rooms {
    /// The store's databases.
    pub shelves: Arc<dyn Shelves>,
    /// Who writes the snapshots.
    pub snapshots: Arc<dyn SnapshotRoom>,
    /// The directory that they lie in.
    pub snapshots_disk: Arc<dyn Disk>,
}

impl Rooms {
    /// Rooms that last as long as the engine: a store in memory, and no snapshots.
    pub(crate) fn in_memory() -> Self {
        Self {
            shelves: Arc::new(SimShelves::new(0)),
            snapshots: Arc::new(NoSnapshots),
            snapshots_disk: Arc::new(SimDisk::new(0)),
        }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rooms")
    }
}

/// What a snapshot says of itself.
#[derive(Clone, Debug)]
pub struct SnapshotFacts {
    /// The book's id.
    pub book_id: [u8; 16],
    /// Its incarnation.
    pub incarnation: u32,
    /// Its name.
    pub name: String,
    /// The end of the frame that its event closes.
    pub at: Waypoint,
    /// The hash of the state there.
    pub state_hash: [u8; 32],
    /// Until when it may not be deleted, in microseconds since the Unix epoch.
    pub retain_until_us: Option<i64>,
    /// Members of all programs.
    pub members: u64,
    /// The trial balance there.
    pub trial: Vec<ProgramTrial>,
    /// The snapshots that the book had taken by then, oldest first, this one included.
    pub taken: Vec<SnapshotView>,
}

/// Where snapshots are kept. Called by one thread.
pub trait SnapshotRoom: Send + Sync {
    /// Whether nothing is left to be written of the snapshot of that name: it is there, whole, or it was removed.
    fn has(&self, name: &str) -> bool;
    /// Removes a snapshot that was deleted.
    ///
    /// # Errors
    /// Why it cannot be removed.
    fn remove(&self, name: &str) -> Result<(), String>;
    /// Begins to write one, or to write its file again.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn begin(&self, facts: SnapshotFacts) -> Result<Box<dyn SnapshotSink>, String>;
}

/// A snapshot that is being written. Dropped without [`SnapshotSink::finish`], it is none.
pub trait SnapshotSink {
    /// Takes the base image.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn base(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// Takes the next page, in the order of kind and number.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn page(&mut self, kind: u8, number: u32, image: &[u8]) -> Result<(), String>;
    /// Makes it durable.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn finish(self: Box<Self>) -> Result<(), String>;
}

/// A room that keeps nothing: for engines that live in memory.
#[derive(Debug)]
pub(crate) struct NoSnapshots;

impl SnapshotRoom for NoSnapshots {
    fn has(&self, _: &str) -> bool {
        true
    }

    fn remove(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn begin(&self, _: SnapshotFacts) -> Result<Box<dyn SnapshotSink>, String> {
        Err("snapshots are not kept here".to_owned())
    }
}
