//! Auditing: snapshots, exports and backups.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::act::{Act, hash};
use super::body_hash::AdminBody;
use super::desk::{Desk, blocking};
use super::parcel::Parcels;
use super::shape::{self, Fault};
use super::{send, status};
use crate::audit::snapshot::{self, Manifest, SnapshotError};
use crate::constants::{HELD_FILES_MAX, OCCURRED_US_MAX, OCCURRED_US_MIN};
use crate::engine::Handle;
use crate::engine::request::{Answer, AnswerBody, Read};
use crate::io::Disk;
use crate::ledger::command::AdminAction;
use crate::ledger::ids::Op;
use crate::ledger::view::SnapshotView;
use crate::proto as pb;
use crate::proto::audit_service_server::AuditService;

/// How often a snapshot that is to be removed is looked at while it is still being written.
const LOOK: Duration = Duration::from_millis(20);

/// The service.
#[derive(Clone)]
pub(super) struct Audit {
    desk: Desk,
    parcels: Parcels,
}

impl Audit {
    /// The service before an engine; exports and backups end when `stopping` turns true.
    #[must_use]
    pub(super) fn new(desk: Desk, stopping: watch::Receiver<bool>) -> Self {
        Self { desk, parcels: Parcels::new(stopping) }
    }

    /// Removes the files of deleted snapshots that a crash between the deletion and its end has left.
    pub(super) async fn sweep(self) {
        let Ok((_, views)) = self.views().await else { return };
        for view in views.into_iter().filter(|view| view.deleted.is_some()) {
            // A failure is in the log, and the next start tries again.
            let _ = self.remove(view.name).await;
        }
    }

    /// Every snapshot that was ever taken, oldest first.
    async fn views(&self) -> Result<(Op, Vec<SnapshotView>), Status> {
        match self.desk.read(Read::Snapshots).await? {
            Answer { op, body: AnswerBody::Snapshots(views) } => Ok((op, views)),
            _ => Err(status::unexpected()),
        }
    }

    /// The snapshot of that name, as the books have it.
    async fn view(&self, name: &str) -> Result<(Op, SnapshotView), Status> {
        let (op, views) = self.views().await?;
        let view = views.into_iter().find(|view| view.name == name);
        let unknown = || status::not_found(pb::Reason::SnapshotUnknown, "no snapshot was ever taken under this name");
        Ok((op, view.ok_or_else(unknown)?))
    }

    /// Snapshots with what there is of their files, in the order given.
    async fn shown(&self, views: Vec<SnapshotView>) -> Result<Vec<pb::Snapshot>, Status> {
        let handle = self.desk.handle().clone();
        let shown = blocking(move || {
            let shelf = Shelf::look(&handle)?;
            views.into_iter().map(|view| shelf.show(view)).collect::<Result<Vec<_>, _>>()
        });
        shown.await
    }

    /// The snapshot as it stands after an act on it, if there is room for a look: the act is settled, and a look that is refused
    /// must not make it seem undone.
    async fn after(&self, name: &str) -> Option<pb::Snapshot> {
        let (_, view) = self.view(name).await.ok()?;
        self.shown(vec![view]).await.ok()?.pop()
    }

    /// The disk where the snapshot's file is.
    ///
    /// # Errors
    /// `NOT_FOUND` for one that was never taken or was deleted, `FAILED_PRECONDITION` where the file is not there.
    async fn ready(&self, name: &str) -> Result<pb::Snapshot, Status> {
        let (_, view) = self.view(name).await?;
        let shown = self.shown(vec![view]).await?.pop().ok_or_else(status::unexpected)?;
        match shown.state() {
            pb::SnapshotState::Ready => Ok(shown),
            pb::SnapshotState::Deleted => {
                Err(status::not_found(pb::Reason::SnapshotUnknown, "the snapshot was deleted"))
            }
            state => {
                let why = match state {
                    pb::SnapshotState::Preparing => "the snapshot is still being written",
                    _ => "the snapshot's file is missing",
                };
                Err(status::plain(Code::FailedPrecondition, pb::Reason::SnapshotNotReady, why))
            }
        }
    }

    /// Removes the file of a snapshot whose deletion is durable. One that stays behind is deleted all the same, and goes when
    /// the request is sent again, or at the next start.
    async fn remove(&self, name: String) -> Result<(), Status> {
        // Whoever is still writing it would put it there again.
        while self.desk.handle().audit().preparing(&name) {
            tokio::time::sleep(LOOK).await;
        }
        let handle = self.desk.handle().clone();
        blocking(move || snapshot::remove(&*handle.audit().snapshots_disk(), &name)).await
    }

    fn book_id(&self) -> String {
        self.desk.info().book_id.clone()
    }
}

/// The files of the snapshots, as they are at one look.
struct Shelf<'a> {
    handle: &'a Handle,
    disk: Arc<dyn Disk>,
    files: HashSet<String>,
}

impl<'a> Shelf<'a> {
    fn look(handle: &'a Handle) -> Result<Self, SnapshotError> {
        let disk = handle.audit().snapshots_disk();
        let list = || disk.list().map_err(|source| SnapshotError::Io { file: "snapshots".to_owned(), source });
        let files = list()?.into_iter().collect();
        Ok(Self { handle, disk, files })
    }

    fn show(&self, view: SnapshotView) -> Result<pb::Snapshot, SnapshotError> {
        let mut shown = pb::Snapshot {
            op: view.op.0,
            book_time_us: view.book_time_us,
            retain_until_us: view.retain_until_us,
            deleted_op: view.deleted.map_or(0, |op| op.0),
            state: pb::SnapshotState::Missing.into(),
            name: view.name,
            ..pb::Snapshot::default()
        };
        if view.deleted.is_some() {
            shown.state = pb::SnapshotState::Deleted.into();
        } else if self.handle.audit().preparing(&shown.name) {
            shown.state = pb::SnapshotState::Preparing.into();
        } else if self.files.contains(&format!("{}.snapshot", shown.name)) {
            self.show_manifest(&mut shown)?;
        }
        Ok(shown)
    }

    fn show_manifest(&self, shown: &mut pb::Snapshot) -> Result<(), SnapshotError> {
        let text = match snapshot::manifest_text(&*self.disk, &shown.name) {
            Ok(text) => text,
            Err(error @ SnapshotError::Io { .. }) => return Err(error),
            // What is not as it was written counts as gone.
            Err(error) => {
                tracing::warn!(name = shown.name, %error, "a snapshot cannot be used");
                return Ok(());
            }
        };
        if let Ok(Manifest { state_hash, head_hash, .. }) = serde_json::from_str(&text) {
            shown.state = pb::SnapshotState::Ready.into();
            shown.state_hash = state_hash;
            shown.head_hash = head_hash;
            shown.manifest = text;
        }
        Ok(())
    }
}

fn checked(result: Result<(), Fault>, key: &str) -> Result<(), Status> {
    result.map_err(|fault| status::invalid(&[fault.of(key.to_owned())]))
}

fn retain_until(us: Option<i64>) -> Result<(), Fault> {
    match us {
        Some(us) if !(OCCURRED_US_MIN..=OCCURRED_US_MAX).contains(&us) => {
            Err(Fault::out_of_range("retain_until_us", "is outside the calendar"))
        }
        _ => Ok(()),
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn create_snapshot(
        &self,
        request: Request<pb::CreateSnapshotRequest>,
    ) -> Result<Response<pb::CreateSnapshotResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::CreateSnapshot(&request));
        let pb::CreateSnapshotRequest { name, retain_until_us, key, actor, reason } = request;
        let act = Act { program: String::new(), key, actor, reason, body_hash };
        let sound = shape::snapshot_name(&name).and_then(|()| retain_until(retain_until_us)).and_then(|()| act.check());
        checked(sound, &act.key)?;
        let action = AdminAction::CreateSnapshot { name: name.clone(), retain_until_us };
        let receipt = act.post(&self.desk, action).await?;
        let applied = receipt.outcome() == pb::Outcome::Applied;
        let snapshot = if applied { self.after(&name).await } else { None };
        Ok(Response::new(pb::CreateSnapshotResponse { receipt: Some(receipt), snapshot }))
    }

    async fn get_snapshot(
        &self,
        request: Request<pb::GetSnapshotRequest>,
    ) -> Result<Response<pb::GetSnapshotResponse>, Status> {
        let name = request.into_inner().name;
        checked(shape::snapshot_name(&name), "")?;
        let (op, view) = self.view(&name).await?;
        let snapshot = self.shown(vec![view]).await?.pop();
        Ok(Response::new(pb::GetSnapshotResponse { snapshot, book_id: self.book_id(), op: op.0 }))
    }

    async fn list_snapshots(
        &self,
        _request: Request<pb::ListSnapshotsRequest>,
    ) -> Result<Response<pb::ListSnapshotsResponse>, Status> {
        let (op, mut views) = self.views().await?;
        views.sort_unstable_by_key(|view| std::cmp::Reverse(view.op));
        let mut snapshots = self.shown(views).await?;
        for snapshot in &mut snapshots {
            snapshot.manifest.clear();
        }
        Ok(Response::new(pb::ListSnapshotsResponse { snapshots, book_id: self.book_id(), op: op.0 }))
    }

    async fn delete_snapshot(
        &self,
        request: Request<pb::DeleteSnapshotRequest>,
    ) -> Result<Response<pb::DeleteSnapshotResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::DeleteSnapshot(&request));
        let pb::DeleteSnapshotRequest { name, key, actor, reason } = request;
        let act = Act { program: String::new(), key, actor, reason, body_hash };
        checked(shape::snapshot_name(&name).and_then(|()| act.check()), &act.key)?;
        let receipt = act.post(&self.desk, AdminAction::DeleteSnapshot { name: name.clone() }).await?;
        if receipt.outcome() == pb::Outcome::Applied {
            self.remove(name.clone()).await?;
        }
        let snapshot = self.after(&name).await;
        Ok(Response::new(pb::DeleteSnapshotResponse { receipt: Some(receipt), snapshot }))
    }

    type ExportSnapshotStream = ReceiverStream<Result<pb::ExportSnapshotResponse, Status>>;

    async fn export_snapshot(
        &self,
        request: Request<pb::ExportSnapshotRequest>,
    ) -> Result<Response<Self::ExportSnapshotStream>, Status> {
        let request = request.into_inner();
        checked(shape::snapshot_name(&request.name), "")?;
        let asked = send::ExportAsked::read(request).map_err(|fault| status::invalid(&[fault]))?;
        let snapshot = self.ready(asked.name()).await?;
        asked.within(snapshot.op).map_err(|fault| status::invalid(&[fault]))?;
        let handle = self.desk.handle().clone();
        Ok(Response::new(self.parcels.send(move |parcel| asked.answer(&handle, parcel))?))
    }

    type BackupStream = ReceiverStream<Result<pb::BackupResponse, Status>>;

    async fn backup(&self, request: Request<pb::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let asked = send::BackupAsked::read(request.into_inner()).map_err(|fault| status::invalid(&[fault]))?;
        let handle = self.desk.handle().clone();
        asked.within(&self.book_id(), handle.book().durable_op()).map_err(|fault| status::invalid(&[fault]))?;
        tracing::info!(op = handle.book().durable_op(), "backup begins");
        Ok(Response::new(self.parcels.send(move |parcel| asked.answer(&handle, parcel))?))
    }
}

/// No more names of files than a request may hold.
///
/// # Errors
/// `TOO_MANY_ITEMS`.
pub(super) fn few(field: &str, count: usize) -> Result<(), Fault> {
    if count <= HELD_FILES_MAX {
        return Ok(());
    }
    let message = format!("{count} files; at most {HELD_FILES_MAX} are taken");
    Err(Fault::new(field, pb::Reason::TooManyItems, message))
}
