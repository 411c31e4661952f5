//! Holding what lies beside a book against the states that its events come to.

use std::collections::HashSet;
use std::sync::Arc;

use super::VerifyError;
use super::beside::{Beside, Shot};
use crate::audit::files::{hex, unhex};
use crate::audit::snapshot::{Listed, Manifest, SNAPSHOT_VERSION, SNAPSHOT_VERSION_BEFORE, check_follows};
use crate::journal::{Genesis, Head};
use crate::ledger::ids::Op;
use crate::ledger::view::SnapshotView;
use crate::ledger::{Ledger, Moment};

/// What was proved of what lies beside a book.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The snapshots that have a manifest, oldest first.
    pub snapshots: Vec<ShownSnapshot>,
    /// What is not as it should be and yet no damage.
    pub notes: Vec<String>,
}

/// A snapshot whose manifest says what the book comes to at its op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSnapshot {
    /// Its name.
    pub name: String,
    /// Its op.
    pub op: u64,
    /// The hash of the state there.
    pub state_hash: [u8; 32],
    /// Whether it was deleted, so that its manifest alone is kept.
    pub deleted: bool,
    /// Whether its file is there, and is what the manifest says.
    pub present: bool,
    /// Whether it is of the version before: its state is hashed in another form, and was not held against the book.
    pub of_version_before: bool,
}

/// The proof while the events go by. The first thing that is wrong is kept.
pub(super) struct Held<'o> {
    beside: &'o Beside,
    genesis: &'o Genesis,
    /// Ops whose states are to be compared without a snapshot in the book at them.
    points: HashSet<u64>,
    differs: Option<VerifyError>,
}

/// The heads that are told of beside the book, and which of them it has. Frames without events have heads of the same op.
pub(super) struct Heads {
    told: HashSet<(u64, [u8; 32])>,
    found: HashSet<(u64, [u8; 32])>,
}

impl Heads {
    pub(super) fn new(beside: &Beside) -> Self {
        let shots = beside.snapshots.values().filter_map(Shot::listed);
        let shots = shots.filter_map(|listed| Some((listed.manifest.op, unhex(&listed.manifest.head_hash)?)));
        let told = beside.points.iter().map(|point| (point.op, point.head_hash)).chain(shots).collect();
        Self { told, found: HashSet::new() }
    }

    pub(super) fn take(&mut self, head: Head) {
        if self.told.contains(&(head.op, head.hash)) {
            self.found.insert((head.op, head.hash));
        }
    }

    fn has(&self, op: u64, hash: [u8; 32]) -> bool {
        self.found.contains(&(op, hash))
    }
}

fn shot_error(view: &SnapshotView, detail: impl Into<String>) -> VerifyError {
    let (what, detail) = (format!("snapshot {:?}", view.name), detail.into());
    VerifyError::Differs { what, op: view.op.0, detail }
}

impl<'o> Held<'o> {
    pub(super) fn new(beside: &'o Beside, genesis: &'o Genesis) -> Self {
        let points = beside.points.iter().map(|point| point.op).collect();
        Self { beside, genesis, points, differs: None }
    }

    fn differ(&mut self, error: Option<VerifyError>) {
        if self.differs.is_none() {
            self.differs = error;
        }
    }

    /// After the events of a frame that ends with `at`.
    pub(super) fn frame(&mut self, at: Moment, ledger: &Ledger) {
        // A snapshot's event ends its frame.
        let taken = ledger.snapshots().last().filter(|view| view.op == at.op);
        let shot = taken.and_then(|view| Some((view, self.beside.snapshots.get(&view.name)?)));
        if self.differs.is_some() || (shot.is_none() && !self.points.contains(&at.op.0)) {
            return;
        }
        let state_hash = ledger.state_hash();
        let point = self.beside.points.iter().find(|point| point.op == at.op.0 && point.state_hash != state_hash);
        self.differ(point.map(|point| VerifyError::Differs {
            what: point.what.clone(),
            op: point.op,
            detail: "it is not the state of the book there".to_owned(),
        }));
        let error = shot.and_then(|(view, shot)| self.shot(view, shot, ledger, state_hash).err());
        self.differ(error);
    }

    /// Holds all that a snapshot's manifest says against the book, but its head and the manifest that it follows.
    fn shot(&self, view: &SnapshotView, shot: &Shot, ledger: &Ledger, state_hash: [u8; 32]) -> Result<(), VerifyError> {
        let Manifest { head_hash, bytes, blake3, sha256, previous, .. } = match &shot.manifest {
            None => return Ok(()),
            Some(Err(error)) => return Err(VerifyError::Beside(error.clone())),
            Some(Ok(listed)) => listed.manifest.clone(),
        };
        let should = Manifest {
            version: SNAPSHOT_VERSION,
            name: view.name.clone(),
            book_id: hex(&self.genesis.book_id),
            incarnation: self.genesis.incarnation,
            op: view.op.0,
            book_time_us: view.book_time_us,
            state_hash: hex(&state_hash),
            members: ledger.counts().0,
            trial_balance: ledger.trial_balance(),
            retain_until_us: view.retain_until_us,
            // Of the head the book is asked at its end; of its file the manifest was held against that.
            head_hash,
            bytes,
            blake3,
            sha256,
            previous,
        };
        let differing = shot.listed().map(|listed| listed.manifest.differences(&should)).unwrap_or_default();
        if !differing.is_empty() {
            let detail = format!("what its manifest says of {} is not what the book says", differing.join(", "));
            return Err(shot_error(view, detail));
        }
        Ok(())
    }

    /// A key of an event must be in the runs, as far as these reach.
    pub(super) fn key(&mut self, op: Op, print: u128) {
        let lacks = |keys: &Arc<crate::store::Keys>| op.0 <= keys.upto() && !keys.may_hold(print, 0);
        if self.differs.is_none() && self.beside.keys.as_ref().is_some_and(lacks) {
            let what = "the newest checkpoint".to_owned();
            let detail = "its runs lack the key of this event".to_owned();
            self.differs = Some(VerifyError::Differs { what, op: op.0, detail });
        }
    }

    /// At the end of the book, where all its snapshots and deletions are known.
    pub(super) fn end(self, heads: &Heads, ledger: &Ledger, now_us: i64) -> Result<Shown, VerifyError> {
        if let Some(error) = self.differs {
            return Err(error);
        }
        let no_frame = |what: String, op| {
            let detail = "the book has no such frame there: it ends before, or has another past".to_owned();
            VerifyError::Differs { what, op, detail }
        };
        for point in &self.beside.points {
            if !heads.has(point.op, point.head_hash) {
                return Err(no_frame(point.what.clone(), point.op));
            }
        }
        let mut shown = Shown { notes: self.beside.notes.clone(), ..Shown::default() };
        let taken: HashSet<&str> = ledger.snapshots().iter().map(|view| view.name.as_str()).collect();
        for (name, shot) in self.beside.snapshots.iter().filter(|(name, _)| !taken.contains(name.as_str())) {
            let book_id = hex(&self.genesis.book_id);
            match shot.listed().map(|listed| &listed.manifest) {
                Some(stray) if stray.book_id == book_id => {
                    return Err(no_frame(format!("snapshot {name:?}"), stray.op));
                }
                _ => shown
                    .notes
                    .push(format!("the files of {name:?} among the snapshots are of none that the book took")),
            }
        }
        let mut before: Option<&Listed> = None;
        let views = ledger.snapshots();
        let last = views.iter().rposition(|view| self.beside.manifest_of(&view.name).is_some());
        for (place, view) in views.iter().enumerate() {
            let later = last.is_some_and(|last| last > place);
            match self.beside.manifest_of(&view.name) {
                Some(listed) => {
                    if !unhex(&listed.manifest.head_hash).is_some_and(|hash| heads.has(view.op.0, hash)) {
                        return Err(shot_error(view, "the head_hash in its manifest is not that of the book there"));
                    }
                    check_follows(listed, before).map_err(|error| VerifyError::Beside(error.to_string()))?;
                    before = Some(listed);
                    self.with_manifest(view, listed, now_us, &mut shown)?;
                }
                None => self.without_manifest(view, later, now_us, &mut shown)?,
            }
        }
        Ok(shown)
    }

    /// Whether the next start replays the event that took the snapshot.
    fn is_replayed(&self, view: &SnapshotView) -> bool {
        let checkpoint = self.beside.points.iter().map(|point| point.op).max().unwrap_or(0);
        view.op.0 >= checkpoint
    }

    fn with_manifest(
        &self,
        view: &SnapshotView,
        listed: &Listed,
        now_us: i64,
        shown: &mut Shown,
    ) -> Result<(), VerifyError> {
        let shot = self.beside.snapshots.get(&view.name);
        let deleted = view.deleted.is_some();
        if let (false, Some(Err(error))) = (deleted, shot.and_then(|shot| shot.file.as_ref())) {
            return Err(VerifyError::Beside(error.clone()));
        }
        if deleted && listed.present {
            shown.notes.push(format!("snapshot {:?} is deleted and its file is still there", view.name));
        }
        if !deleted && !listed.present {
            let again = self.is_replayed(view) && shot.is_some_and(|shot| !shot.deleted);
            lost(view, "its manifest is there and its file is not", again, now_us, shown)?;
        }
        shown.snapshots.push(ShownSnapshot {
            name: view.name.clone(),
            op: view.op.0,
            state_hash: unhex(&listed.manifest.state_hash).unwrap_or_default(),
            deleted,
            present: listed.present,
            of_version_before: listed.manifest.version == SNAPSHOT_VERSION_BEFORE,
        });
        Ok(())
    }

    /// Of a snapshot that has no manifest, whatever its file is.
    fn without_manifest(
        &self,
        view: &SnapshotView,
        later: bool,
        now_us: i64,
        shown: &mut Shown,
    ) -> Result<(), VerifyError> {
        let marked = self.beside.snapshots.get(&view.name).is_some_and(|shot| shot.deleted);
        let again = self.is_replayed(view) && !later && !marked;
        match (view.deleted.is_some(), later) {
            (false, _) => lost(view, "it has no manifest", again, now_us, shown),
            (true, false) if again => lost(view, "it is deleted and has no manifest yet", again, now_us, shown),
            // The mark of a deletion is only made beside a manifest.
            (true, false) if marked => Err(shot_error(view, "it is deleted, and its manifest, which stays, is gone")),
            // Had it been there, the later one would name it.
            (true, _) => {
                shown.notes.push(format!("snapshot {:?} is deleted and never had a manifest", view.name));
                Ok(())
            }
        }
    }
}

/// A snapshot that has not all its files: an error while it is to be kept and no start mends it.
fn lost(view: &SnapshotView, what: &str, again: bool, now_us: i64, shown: &mut Shown) -> Result<(), VerifyError> {
    let mended = if again { "; the next start writes it" } else { "" };
    match view.retain_until_us.is_some_and(|until| until > now_us) {
        true if !again => Err(shot_error(view, format!("it is to be kept, and {what}"))),
        _ => {
            shown.notes.push(format!("snapshot {:?} at op {}: {what}{mended}", view.name, view.op.0));
            Ok(())
        }
    }
}
