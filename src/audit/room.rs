//! Where the engine has its snapshots written: the directory of snapshot files.

use std::sync::Arc;

use super::snapshot::{self, ManifestInput, SnapshotReader, SnapshotWriter, was_deleted};
use crate::engine::rooms::{SnapshotFacts, SnapshotRoom, SnapshotSink};
use crate::io::Disk;

/// The snapshots of one book, in a directory of their own.
pub struct SnapshotFiles {
    disk: Arc<dyn Disk>,
}

impl SnapshotFiles {
    /// The snapshots in a directory.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }
}

/// One that is being written.
struct Writing(SnapshotWriter);

impl SnapshotRoom for SnapshotFiles {
    fn has(&self, name: &str) -> bool {
        was_deleted(&*self.disk, name) || SnapshotReader::open(&*self.disk, name).is_ok()
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        snapshot::remove(&*self.disk, name).map_err(|error| error.to_string())
    }

    fn begin(&self, facts: SnapshotFacts) -> Result<Box<dyn SnapshotSink>, String> {
        let input = ManifestInput {
            book_id: facts.book_id,
            incarnation: facts.incarnation,
            op: facts.at.op,
            book_time_us: facts.at.book_time_us,
            head_hash: facts.at.hash,
            state_hash: facts.state_hash,
            members: facts.members,
            trial_balance: facts.trial,
            retain_until_us: facts.retain_until_us,
            taken: facts.taken,
        };
        let writer = SnapshotWriter::create(Arc::clone(&self.disk), &facts.name, input);
        Ok(Box::new(Writing(writer.map_err(|error| error.to_string())?)))
    }
}

impl SnapshotSink for Writing {
    fn base(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.base(bytes).map_err(|error| error.to_string())
    }

    fn page(&mut self, kind: u8, number: u32, image: &[u8]) -> Result<(), String> {
        self.0.page(kind, number, image).map_err(|error| error.to_string())
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        self.0.finish().map(|_| ()).map_err(|error| error.to_string())
    }
}
