//! What readers of the past are given beside the book. A placeholder until the keeper fills it.

use std::sync::Arc;

use crate::io::Disk;
use crate::io::sim::SimDisk;
use crate::ledger::view::ProgramTrial;

/// The auditor's room.
pub struct AuditRoom {
    snapshots: Arc<SimDisk>,
}

impl AuditRoom {
    pub(crate) fn new() -> Self {
        Self { snapshots: Arc::new(SimDisk::new(0)) }
    }

    /// The directory of the snapshots.
    #[must_use]
    pub fn snapshots_disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.snapshots) as Arc<dyn Disk>
    }

    /// The newest trial balance kept of an op up to `op`.
    #[must_use]
    pub fn trial_before(&self, _op: u64) -> Option<(u64, Vec<ProgramTrial>)> {
        None
    }

    /// Whether a snapshot's file is still to be written: true from before its event is answered until the file is
    /// there or given up.
    #[must_use]
    pub fn preparing(&self, _name: &str) -> bool {
        false
    }
}
