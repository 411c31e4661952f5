//! How an engine comes up: the newest sound checkpoint, then the events behind it. What the store lacks, or tells
//! wrongly, is made anew from the book; what it tells of a past that the book does not have is a reason not to start.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;

use super::StartError;
use super::ahead::{Ahead, Decoder};
use super::keeper::entries_of;
use super::rooms::{Rooms, SnapshotFacts, SnapshotRoom};
use crate::constants::GENERATIONS_SEALING_MAX;
use crate::io::{DirLock, Disk};
use crate::journal::{Genesis, Journal, JournalOptions, Opened, Preparer, Replay, Waypoint};
use crate::ledger::ids::Op;
use crate::ledger::print::Prints;
use crate::ledger::view::ProgramTrial;
use crate::ledger::{Generation, Ledger, Limits, PageId, PageKind, hash_names};
use crate::store::{BookName, Store, StoreError, StoreOptions, acquit, is_condemned};

/// Pages that may wait between the thread that reads them and the one that takes them in.
const PAGES_AHEAD: usize = 64;
/// Events between two words on how far a replay has come.
const PROGRESS_EVENTS: u64 = 5_000_000;

/// How a start went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartReport {
    /// The op of the checkpoint that was loaded; 0 if none was.
    pub checkpoint_op: u64,
    /// Why the store was made anew, if it was.
    pub store_discarded: Option<String>,
    /// Members after the start.
    pub members: u64,
    /// Events that were replayed.
    pub replayed: u64,
    /// Opening the store.
    pub open: Duration,
    /// Loading the checkpoint.
    pub load: Duration,
    /// Replaying the book behind it.
    pub replay: Duration,
    /// Copying the tail of the book to a new file.
    pub rehome: Duration,
}

impl StartReport {
    /// Events replayed a second; 0 where none was.
    #[must_use]
    pub fn replayed_per_second(&self) -> u64 {
        let micros = u64::try_from(self.replay.as_micros()).unwrap_or(u64::MAX).max(1);
        self.replayed.saturating_mul(1_000_000) / micros
    }
}

/// A state that has caught up with the book.
pub(crate) struct Ready {
    pub(crate) ledger: Ledger,
    pub(crate) store: Store,
    /// Generations of keys that are not runs yet.
    pub(crate) sealed: VecDeque<Arc<Generation>>,
    pub(crate) opened: Opened,
    pub(crate) report: StartReport,
    /// The newest checkpoint's place; `None` without one.
    pub(crate) checkpoint: Option<Waypoint>,
    pub(crate) trials: Vec<(u64, Vec<ProgramTrial>)>,
}

/// What a start works with.
pub(crate) struct Start<'s> {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) rooms: Rooms,
    pub(crate) genesis: Genesis,
    pub(crate) prints: &'s Prints,
    pub(crate) limits: Limits,
    pub(crate) journal: JournalOptions,
    pub(crate) store: StoreOptions,
    pub(crate) keys_per_generation: u64,
}

impl Start<'_> {
    /// Brings the state up to the end of the book.
    pub(crate) fn run(self, lock: DirLock) -> Result<Ready, StartError> {
        let mut report = StartReport::default();
        let begun = Instant::now();
        let book = BookName { book_id: self.genesis.book_id, incarnation: self.genesis.incarnation };
        let (mut store, found) = Store::open(Arc::clone(&self.rooms.shelves), book, self.store.clone())?;
        if !found.discarded.is_empty() {
            report.store_discarded = Some(found.discarded.join("; "));
        }
        if is_condemned(&*self.rooms.shelves)? {
            report.store_discarded = Some("it failed while it was in use".to_owned());
            store.discard()?;
            acquit(&*self.rooms.shelves)?;
        }
        report.open = begun.elapsed();
        let begun = Instant::now();
        let loaded = match load(&store, self.limits, self.prints) {
            Ok(loaded) => loaded,
            Err(why) => {
                report.store_discarded = Some(why);
                store.discard()?;
                None
            }
        };
        report.load = begun.elapsed();
        if let Some(why) = &report.store_discarded {
            tracing::warn!(why, "the store is made anew from the book");
        }
        let (ledger, checkpoint) = match loaded {
            Some((ledger, waypoint)) => (ledger, Some(waypoint)),
            None => (Ledger::new(self.limits), None),
        };
        report.checkpoint_op = checkpoint.map_or(0, |at| at.op);
        let trials =
            store.readable_trials().into_iter().filter_map(|(op, trial)| Some((op, read_trial(&trial)?))).collect();
        let mut replayer = Replayer {
            ledger,
            store,
            prints: self.prints,
            book,
            snapshots: &*self.rooms.snapshots,
            keys_per_generation: self.keys_per_generation,
            sealed: VecDeque::new(),
            broken: None,
            begun: Instant::now(),
            written: Vec::new(),
            ended: report.checkpoint_op,
        };
        if let Some(at) = &checkpoint {
            replayer.make_missing_snapshot(at);
            replayer.name_lost_snapshots(at);
        }
        let genesis = self.genesis;
        let opened =
            Journal::open_locked(self.disk, lock, || genesis, self.journal, checkpoint.as_ref(), &mut replayer);
        replayer.remove_deleted();
        let Replayer { ledger, store, broken, sealed, .. } = replayer;
        if let Some(error) = broken {
            return Err(error.into());
        }
        let opened = opened?;
        report.replayed = opened.recovery.replayed_events;
        report.replay = Duration::from_micros(opened.recovery.walk_us);
        report.rehome = Duration::from_micros(opened.recovery.rehome_us);
        report.members = ledger.counts().0;
        Ok(Ready { ledger, store, sealed, opened, report, checkpoint, trials })
    }
}

fn read_trial(bytes: &[u8]) -> Option<Vec<ProgramTrial>> {
    serde_json::from_slice(bytes).ok()
}

/// The state of the newest checkpoint, and the place in the book behind it. An error says why the store is not to be
/// believed.
fn load(store: &Store, limits: Limits, prints: &Prints) -> Result<Option<(Ledger, Waypoint)>, String> {
    let Some(checkpoint) = store.newest() else { return Ok(None) };
    let at = Waypoint::from_bytes(&checkpoint.waypoint).map_err(|error| error.to_string())?;
    let mut ledger = Ledger::from_base(limits, &checkpoint.base).map_err(|error| error.to_string())?;
    let ids: Vec<String> = ledger.programs().into_iter().map(|program| program.id).collect();
    let (sender, pages) = bounded::<Page>(PAGES_AHEAD);
    // Reading, checking and hashing on one thread, filling the tables on another: the start takes the longer of the two.
    let loaded = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let sender = sender;
            store.load(&mut |key, image| {
                let kind = PageKind::from_number(key.kind).ok_or("a page is of an unknown kind")?;
                let id = PageId { kind, number: key.number };
                let hashes = match id.kind {
                    PageKind::Names => hash_names(&image, &ids, prints).map_err(|error| error.to_string())?,
                    PageKind::Holdings => Vec::new(),
                };
                sender.send(Page { id, image, hashes }).map_err(|_| "the pages are not wanted".to_owned())
            })
        });
        let mut taken = Ok(());
        for page in pages {
            taken = match page.id.kind {
                PageKind::Names => ledger.load_names(page.id, &page.image, &page.hashes),
                PageKind::Holdings => ledger.load_page(page.id, &page.image, prints),
            };
            if taken.is_err() {
                break;
            }
        }
        let read = reader.join().map_err(|_| "the thread that reads pages broke off".to_owned())?;
        taken.map_err(|error| error.to_string()).and(read.map_err(|error| error.to_string()))
    });
    loaded?;
    ledger.finish_load().map_err(|error| error.to_string())?;
    if ledger.newest() != Op(at.op) {
        return Err("the checkpoint's state and its place in the book differ".to_owned());
    }
    Ok(Some((ledger, at)))
}

/// A page on its way from the store to the state.
struct Page {
    id: PageId,
    image: Vec<u8>,
    /// Of its members' ids, for a page of names.
    hashes: Vec<u128>,
}

/// Lets the state follow the book.
struct Replayer<'s> {
    ledger: Ledger,
    store: Store,
    prints: &'s Prints,
    book: BookName,
    snapshots: &'s dyn SnapshotRoom,
    keys_per_generation: u64,
    /// Generations that are not runs yet.
    sealed: VecDeque<Arc<Generation>>,
    /// Why the store failed, if it did.
    broken: Option<StoreError>,
    begun: Instant,
    /// Snapshots whose files were written by this replay.
    written: Vec<String>,
    /// The op at which the last frame with events ended.
    ended: u64,
}

impl Replay for Replayer<'_> {
    type Frame = Ahead;

    fn preparer(&self) -> Preparer<Ahead> {
        let programs = self.ledger.programs().into_iter().map(|program| program.id).collect();
        let mut decoder = Decoder::new(self.prints.clone(), programs);
        Box::new(move |body| decoder.decode(body))
    }

    fn events(&mut self, frame: &Ahead, upto: u64) -> Result<(), String> {
        let mut at = frame.first();
        for (hashes, events) in frame.passes() {
            for (hashes, member) in hashes.iter().flatten() {
                self.ledger.touch_event(*hashes, *member);
            }
            for (hashes, event) in hashes.iter().zip(events) {
                if at.op.0 > upto {
                    return Ok(());
                }
                let event = event.as_ref().map_err(|error| format!("op {}: {error}", at.op.0))?;
                let (hashes, _) = hashes.ok_or_else(|| format!("op {}: the event's program is unknown", at.op.0))?;
                self.ledger.evolve(at, event, hashes).map_err(|error| error.to_string())?;
                if at.op.0.is_multiple_of(PROGRESS_EVENTS) {
                    tracing::info!(op = at.op.0, took = ?self.begun.elapsed(), "replaying the book");
                }
                at.op = at.op.next();
            }
        }
        Ok(())
    }

    fn frame_end(&mut self, at: &Waypoint) -> Result<(), String> {
        if self.ledger.seal_due(self.keys_per_generation) {
            self.seal().map_err(|error| {
                let text = error.to_string();
                self.broken = Some(error);
                text
            })?;
        }
        // An empty frame ends at the op of the one before it, and has another hash.
        if at.op > self.ended {
            self.ended = at.op;
            self.make_missing_snapshot(at);
        }
        Ok(())
    }
}

impl Replayer<'_> {
    /// Closes a full generation of keys. A few wait for the keeper, so that a start is not held up; where the tail is so
    /// long that there are more, the oldest becomes a run here: the memory of a replay has a bound too.
    fn seal(&mut self) -> Result<(), StoreError> {
        self.sealed.extend(self.ledger.seal());
        while self.sealed.len() > GENERATIONS_SEALING_MAX
            && let Some(generation) = self.sealed.pop_front()
        {
            let entries = entries_of(&generation, self.prints);
            self.store.seal(generation.after().0, generation.last().0, entries)?;
            drop(self.ledger.drop_sealed(generation.last()));
            while self.store.merge_step()? {}
        }
        Ok(())
    }

    /// Writes the snapshot that was taken at this op, if its file is not there: the server that took it went down
    /// before it was written. One that was deleted and whose file was removed is known by the mark that it left. Where the
    /// directory knows nothing of it, as after a restore, it is written though the book may go on to delete it, since the manifests
    /// chain through it; its file goes before the next one is written, or at the end of the start.
    fn make_missing_snapshot(&mut self, at: &Waypoint) {
        let taken = self.ledger.snapshots().last().filter(|taken| taken.op == Op(at.op) && taken.deleted.is_none());
        let Some(taken) = taken.filter(|taken| !self.snapshots.has(&taken.name)).cloned() else { return };
        self.remove_deleted();
        let facts = SnapshotFacts {
            book_id: self.book.book_id,
            incarnation: self.book.incarnation,
            name: taken.name.clone(),
            at: *at,
            state_hash: [0; 32],
            retain_until_us: taken.retain_until_us,
            members: self.ledger.counts().0,
            trial: self.ledger.trial_balance(),
            taken: self.ledger.snapshots().to_vec(),
        };
        match write_snapshot(&mut self.ledger, facts, self.snapshots) {
            Ok(()) => {
                tracing::info!(name = taken.name, op = at.op, "snapshot is ready, written anew from the book");
                self.written.push(taken.name);
            }
            Err(error) => {
                tracing::error!(name = taken.name, op = at.op, error, "the snapshot could not be written anew");
            }
        }
    }

    /// Removes files that this replay wrote and whose deletion has come since.
    fn remove_deleted(&mut self) {
        let gone = self.ledger.snapshots().iter().filter(|taken| taken.deleted.is_some());
        let gone: HashSet<&str> = gone.map(|taken| taken.name.as_str()).collect();
        for name in self.written.extract_if(.., |name| gone.contains(name.as_str())) {
            if let Err(error) = self.snapshots.remove(&name) {
                tracing::error!(name, error, "the file of a deleted snapshot could not be removed");
            }
        }
    }

    /// Says which snapshots lie before the checkpoint and have no file: only a replay from the start makes them again.
    fn name_lost_snapshots(&self, at: &Waypoint) {
        let lost = |taken: &&crate::ledger::view::SnapshotView| {
            taken.op < Op(at.op) && taken.deleted.is_none() && !self.snapshots.has(&taken.name)
        };
        for taken in self.ledger.snapshots().iter().filter(lost) {
            tracing::error!(name = taken.name, op = taken.op.0, "the snapshot's file is missing");
        }
    }
}

/// Writes a snapshot of the state as it is, all pages at once.
fn write_snapshot(ledger: &mut Ledger, mut facts: SnapshotFacts, room: &dyn SnapshotRoom) -> Result<(), String> {
    facts.state_hash = ledger.state_hash();
    let captured = ledger.begin_capture(true);
    let written = (|| {
        let mut sink = room.begin(facts)?;
        sink.base(&captured.base)?;
        let mut image = Vec::new();
        loop {
            let copies = ledger.capture_next(PAGES_AHEAD);
            if copies.is_empty() {
                return sink.finish();
            }
            for copy in &copies {
                image.clear();
                copy.encode(&mut image);
                sink.page(copy.id().kind.number(), copy.id().number, &image)?;
            }
        }
    })();
    // What changed since the newest checkpoint is still to be told to the next one. A capture that came to its end has
    // nothing left to abandon, so that all is counted as changed.
    ledger.abandon_capture();
    ledger.count_as_changed(&captured.changed);
    written
}

/// The state that the whole book comes to, or its beginning up to an op: what all that is cached is held against.
#[cfg(test)]
pub(super) fn replay_all(disk: &dyn Disk, upto: Option<u64>) -> Result<Ledger, String> {
    let genesis = crate::journal::genesis_of(disk).map_err(|error| error.to_string())?.ok_or("there is no book")?;
    let prints = Prints::new(genesis.secret);
    let mut ledger =
        Ledger::new(Limits { members_max: u32::MAX, cap_counters_max: usize::MAX, lots_bytes_max: usize::MAX });
    let mut visit = |visit: crate::journal::Visit<'_>| {
        if upto.is_some_and(|upto| visit.op > upto) {
            return Ok(());
        }
        let event = crate::ledger::codec::decode(visit.event).map_err(|error| error.to_string())?;
        let at = crate::ledger::Moment { op: Op(visit.op), book_time_us: visit.book_time_us };
        ledger.replay(at, &event, &prints).map_err(|error| error.to_string())
    };
    crate::journal::scan(disk, &mut visit, &mut |_| {}).map_err(|error| error.to_string())?;
    Ok(ledger)
}
