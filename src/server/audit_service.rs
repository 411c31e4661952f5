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
use super::rolls::Rolls;
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
    rolls: Rolls,
}

impl Audit {
    /// The service before an engine; exports and backups end when `stopping` turns true.
    #[must_use]
    pub(super) fn new(desk: Desk, stopping: watch::Receiver<bool>) -> Self {
        Self { rolls: Rolls::new(desk.clone()), desk, parcels: Parcels::new(stopping) }
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

    /// The snapshot of that name, as the books and its files have it.
    async fn view(&self, name: &str) -> Result<(Op, pb::Snapshot), Status> {
        let (op, views) = self.views().await?;
        let unknown = || status::not_found(pb::Reason::SnapshotUnknown, "no snapshot was ever taken under this name");
        let place = views.iter().position(|view| view.name == name).ok_or_else(unknown)?;
        let snapshot = self.shown(views, Some(place)).await?.pop();
        Ok((op, snapshot.ok_or_else(status::unexpected)?))
    }

    /// All snapshots, or the one at that place among them, with what there is of their files.
    async fn shown(&self, views: Vec<SnapshotView>, only: Option<usize>) -> Result<Vec<pb::Snapshot>, Status> {
        let handle = self.desk.handle().clone();
        let shown = blocking(move || {
            let shelf = Shelf::look(&handle, &views)?;
            let asked = only.map_or(Some(views.as_slice()), |place| views.get(place..=place)).unwrap_or_default();
            asked.iter().map(|view| shelf.show(view)).collect::<Result<Vec<_>, _>>()
        });
        shown.await
    }

    /// Whether a snapshot of that name could be written, where the key is new and the name too: a name is used once for ever, and
    /// should not be lost to a file that stands in the way. What was posted before is answered as it was then.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION`, naming the file.
    async fn check_room(&self, name: &str, act: &Act) -> Result<(), Status> {
        let print = self.desk.handle().prints().key("", &act.key);
        if let AnswerBody::Key(Some(_)) = self.desk.read(Read::Key(print)).await?.body {
            return Ok(());
        }
        let mut refused = None;
        // One that was taken since the book was asked looks like a stray: look again with the book as it is then.
        for _ in 0..2 {
            let (op, views) = self.views().await?;
            if views.iter().any(|view| view.name == name) {
                return Ok(());
            }
            let (handle, name) = (self.desk.handle().clone(), name.to_owned());
            let look = move || {
                let (disk, book_id) = (handle.audit().snapshots_disk(), handle.book().genesis().book_id);
                match snapshot::check_room(&*disk, &name, book_id, op.0, views) {
                    Err(error @ SnapshotError::Io { .. }) => Err(error),
                    checked => Ok(checked.err()),
                }
            };
            refused = blocking(look).await?;
            if refused.is_none() {
                return Ok(());
            }
        }
        let refused = refused.map(|error| error.to_string()).unwrap_or_default();
        let why = format!("{refused}; nothing was taken: put back what was there, or move the file away");
        tracing::warn!(name, why, "a snapshot cannot be taken");
        Err(status::plain(Code::FailedPrecondition, pb::Reason::SnapshotsUnsound, why))
    }

    /// The snapshot as it stands after an act on it, if there is room for a look: the act is settled, and a look that is refused
    /// must not make it seem undone.
    async fn after(&self, name: &str) -> Option<pb::Snapshot> {
        Some(self.view(name).await.ok()?.1)
    }

    /// The disk where the snapshot's file is.
    ///
    /// # Errors
    /// `NOT_FOUND` for one that was never taken or was deleted, `FAILED_PRECONDITION` where the file is not there.
    async fn ready(&self, name: &str) -> Result<pb::Snapshot, Status> {
        let (_, shown) = self.view(name).await?;
        match shown.state() {
            pb::SnapshotState::Ready => Ok(shown),
            pb::SnapshotState::Deleted => {
                Err(status::not_found(pb::Reason::SnapshotUnknown, "the snapshot was deleted"))
            }
            state => {
                let why = match state {
                    pb::SnapshotState::Preparing => "the snapshot is still being written".to_owned(),
                    _ => format!("the snapshot's file is missing: {}", shown.missing_because),
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
    /// The newest snapshot that has a manifest.
    newest: Option<&'a SnapshotView>,
}

impl<'a> Shelf<'a> {
    fn look(handle: &'a Handle, views: &'a [SnapshotView]) -> Result<Self, SnapshotError> {
        let disk = handle.audit().snapshots_disk();
        let list = || disk.list().map_err(|source| SnapshotError::Io { file: "snapshots".to_owned(), source });
        let files: HashSet<String> = list()?.into_iter().collect();
        let newest = views.iter().rfind(|view| files.contains(&format!("{}.json", view.name)));
        Ok(Self { handle, disk, files, newest })
    }

    fn show(&self, view: &SnapshotView) -> Result<pb::Snapshot, SnapshotError> {
        let mut shown = pb::Snapshot {
            op: view.op.0,
            book_time_us: view.book_time_us,
            retain_until_us: view.retain_until_us,
            deleted_op: view.deleted.map_or(0, |op| op.0),
            name: view.name.clone(),
            ..pb::Snapshot::default()
        };
        if view.deleted.is_some() {
            shown.state = pb::SnapshotState::Deleted.into();
        } else if self.handle.audit().preparing(&shown.name) {
            shown.state = pb::SnapshotState::Preparing.into();
        } else {
            self.show_files(&mut shown)?;
        }
        Ok(shown)
    }

    fn show_files(&self, shown: &mut pb::Snapshot) -> Result<(), SnapshotError> {
        let again = match shown.op >= self.handle.checkpoint_op() {
            true => "; the next start tries again",
            false => "; a start writes it again once the store is made anew from the book",
        };
        let because = match snapshot::manifest_text(&*self.disk, &shown.name) {
            Ok(text) if self.files.contains(&format!("{}.snapshot", shown.name)) => {
                if let Ok(Manifest { state_hash, head_hash, .. }) = serde_json::from_str(&text) {
                    shown.state = pb::SnapshotState::Ready.into();
                    (shown.state_hash, shown.head_hash, shown.manifest) = (state_hash, head_hash, text);
                }
                return Ok(());
            }
            Ok(_) => format!("its manifest is there and its file is gone{again}"),
            Err(error @ SnapshotError::Io { .. }) => return Err(error),
            Err(SnapshotError::Missing(_)) => match self.newest.filter(|newest| newest.op.0 > shown.op) {
                Some(newest) => {
                    format!("it has no manifest, and that of {} follows on from the one before", newest.name)
                }
                None => format!("it has no manifest{again}"),
            },
            // What is not as it was written counts as gone.
            Err(error) => {
                tracing::warn!(name = shown.name, %error, "a snapshot cannot be used");
                error.to_string()
            }
        };
        shown.state = pb::SnapshotState::Missing.into();
        shown.missing_because = because;
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
        self.check_room(&name, &act).await?;
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
        let (op, snapshot) = self.view(&name).await?;
        Ok(Response::new(pb::GetSnapshotResponse { snapshot: Some(snapshot), book_id: self.book_id(), op: op.0 }))
    }

    async fn list_snapshots(
        &self,
        _request: Request<pb::ListSnapshotsRequest>,
    ) -> Result<Response<pb::ListSnapshotsResponse>, Status> {
        let (op, views) = self.views().await?;
        let mut snapshots = self.shown(views, None).await?;
        snapshots.reverse();
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

    async fn roll_forward(
        &self,
        request: Request<pb::RollForwardRequest>,
    ) -> Result<Response<pb::RollForwardResponse>, Status> {
        self.rolls.answer(request.into_inner()).await.map(Response::new)
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
