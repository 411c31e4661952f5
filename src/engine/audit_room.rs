//! What readers of the past are given beside the book.

use std::sync::Arc;

use super::keeper::Desk;
use crate::io::Disk;
use crate::ledger::view::ProgramTrial;

/// The auditor's room.
pub struct AuditRoom {
    desk: Arc<Desk>,
    snapshots: Arc<dyn Disk>,
}

impl AuditRoom {
    pub(crate) fn new(desk: Arc<Desk>, snapshots: Arc<dyn Disk>) -> Self {
        Self { desk, snapshots }
    }

    /// The directory of the snapshots.
    #[must_use]
    pub fn snapshots_disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.snapshots)
    }

    /// The newest trial balance kept of an op up to `op`: that of a checkpoint.
    #[must_use]
    pub fn trial_before(&self, op: u64) -> Option<(u64, Vec<ProgramTrial>)> {
        self.desk.trial_before(op).map(|(op, trial)| (op, trial.to_vec()))
    }

    /// Whether a snapshot's file is still to be written: true from before its event is answered until the file is
    /// there or given up.
    #[must_use]
    pub fn preparing(&self, name: &str) -> bool {
        self.desk.preparing(name)
    }
}
