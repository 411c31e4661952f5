//! What exports and backups put into their parcels.

use tonic::Status;

use super::audit_service::few;
use super::parcel::Parcel;
use super::shape::Fault;
use crate::engine::Handle;
use crate::proto as pb;

/// An export as it was asked for, its shape checked.
pub(super) struct ExportAsked {
    request: pb::ExportSnapshotRequest,
}

impl ExportAsked {
    /// Reads a request whose name is sound.
    ///
    /// # Errors
    /// What is wrong with its shape.
    pub(super) fn read(request: pb::ExportSnapshotRequest) -> Result<Self, Fault> {
        match pb::ExportFormat::try_from(request.format) {
            Ok(pb::ExportFormat::Unspecified) => return Err(Fault::missing("format")),
            Err(_) => return Err(Fault::malformed("format", "is not a format known here")),
            Ok(_) => {}
        }
        few("complete", request.complete.len())?;
        Ok(Self { request })
    }

    /// The snapshot's name.
    pub(super) fn name(&self) -> &str {
        &self.request.name
    }

    /// Whether the first op asked for is one that the snapshot holds.
    ///
    /// # Errors
    /// `FIELD_OUT_OF_RANGE`.
    pub(super) fn within(&self, op: u64) -> Result<(), Fault> {
        if self.request.from_op <= op {
            return Ok(());
        }
        Err(Fault::out_of_range("from_op", &format!("is after the snapshot, which is of op {op}")))
    }

    /// Sends the files and returns the manifest. Blocks.
    ///
    /// # Errors
    /// The status to end with.
    pub(super) fn answer(
        &self,
        _handle: &Handle,
        _parcel: &mut Parcel<pb::ExportSnapshotResponse>,
    ) -> Result<String, Status> {
        Err(Status::unimplemented("exports"))
    }
}

/// A backup as it was asked for, its shape checked.
pub(super) struct BackupAsked {
    request: pb::BackupRequest,
}

impl BackupAsked {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with its shape.
    pub(super) fn read(request: pb::BackupRequest) -> Result<Self, Fault> {
        few("held", request.held.len())?;
        for (place, held) in request.held.iter().enumerate() {
            if held.name.is_empty() {
                return Err(Fault::missing(&format!("held[{place}].name")));
            }
            if held.sha256.len() != 32 {
                return Err(Fault::malformed(&format!("held[{place}].sha256"), "must have 32 bytes"));
            }
        }
        Ok(Self { request })
    }

    /// Sends the files and returns the manifest. Blocks.
    ///
    /// # Errors
    /// The status to end with.
    pub(super) fn answer(&self, _handle: &Handle, _parcel: &mut Parcel<pb::BackupResponse>) -> Result<String, Status> {
        let _ = &self.request;
        Err(Status::unimplemented("backups"))
    }
}
