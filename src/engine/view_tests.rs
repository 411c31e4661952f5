//! What goes on while a view of the state is being written: keys become runs, and the checkpoint names none of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::keeper::{Desk, Keeper, MESSAGES_AHEAD, ToEngine, ToKeeper, View};
use super::keeper_tests::{House, Shelf, check_known, post, snapshot, wait_for};
use super::request::ItemResult;
use super::rooms::{NoSnapshots, SnapshotFacts, SnapshotRoom, SnapshotSink};
use super::tests::set_up;
use super::*;
use crate::io::sim::Crash;
use crate::ledger::ids::Op;
use crate::ledger::{Ledger, Moment};
use crate::store::sim::SimShelves;
use crate::store::{BookName, Store};

/// A directory of snapshots that says where it is, and goes on when it is told.
struct Gated {
    shelf: Shelf,
    at: Sender<&'static str>,
    go: Receiver<()>,
}

struct Waiting(Box<dyn SnapshotSink>, Sender<&'static str>, Receiver<()>);

impl SnapshotRoom for Gated {
    fn has(&self, name: &str) -> bool {
        self.shelf.has(name)
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        self.shelf.remove(name)
    }

    fn begin(&self, facts: SnapshotFacts) -> Result<Box<dyn SnapshotSink>, String> {
        Ok(Box::new(Waiting(self.shelf.begin(facts)?, self.at.clone(), self.go.clone())))
    }
}

impl SnapshotSink for Waiting {
    fn base(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.1.send("begun").unwrap();
        self.2.recv().unwrap();
        self.0.base(bytes)
    }

    fn page(&mut self, kind: u8, number: u32, image: &[u8]) -> Result<(), String> {
        self.0.page(kind, number, image)
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        self.1.send("written").unwrap();
        self.2.recv().unwrap();
        self.0.finish()
    }
}

/// A book with rooms whose snapshots wait, and the two ends that they wait at.
fn gated(house: &House) -> (EngineConfig, Receiver<&'static str>, Sender<()>) {
    let ((say_at, at), (go, told)) = (bounded(4), bounded(4));
    let mut config = house.config();
    config.rooms.as_mut().unwrap().snapshots = Arc::new(Gated { shelf: house.shelf.clone(), at: say_at, go: told });
    (config, at, go)
}

#[test]
fn keys_become_runs_while_a_snapshot_is_written_so_that_posting_goes_on() {
    let mut house = House::new(12);
    house.pace.on = false;
    let (config, at, go) = gated(&house);
    let (engine, client) = house.start_with(&config);
    set_up(&client, 1_000_000);
    let mut ops = Vec::new();
    post(&client, "before", 10, &mut ops);
    let ItemResult::Fresh(_) = snapshot(&client, "slow") else { panic!() };
    assert_eq!(at.recv().unwrap(), "begun");
    // As many generations as may wait, and the one with which the engine takes no more.
    for round in 0..5 {
        post(&client, &format!("g{round}"), 42, &mut ops);
    }
    go.send(()).unwrap();
    assert_eq!(at.recv().unwrap(), "written");
    let upto = client.handle.shared.desk.keys().upto();
    assert_eq!(Op(upto), ops.last().unwrap().1, "all that was sealed is a run before the snapshot is there");
    post(&client, "on", 42, &mut ops);
    check_known(&client, &ops);
    go.send(()).unwrap();
    wait_for("the snapshot", || house.shelf.has("slow"));
    let live = client.state_hash();
    engine.shut_down();
    assert_eq!(live, house.replayed());
    let (engine, client) = house.start();
    assert_eq!(client.state_hash(), live);
    check_known(&client, &ops);
    engine.shut_down();
}

#[test]
fn a_shutdown_waits_for_the_snapshot_that_is_written_and_refuses_those_behind_it() {
    let mut house = House::new(13);
    house.pace.on = false;
    let (config, at, go) = gated(&house);
    let (engine, client) = house.start_with(&config);
    set_up(&client, 1_000_000);
    let ItemResult::Fresh(_) = snapshot(&client, "first") else { panic!() };
    assert_eq!(at.recv().unwrap(), "begun");
    let behind = client.handle.submit(super::keeper_tests::snapshot_work(&client, "second")).unwrap();
    let over = std::thread::spawn(move || engine.shut_down());
    assert!(matches!(behind.blocking_recv().unwrap(), Err(Refusal::ShuttingDown)));
    go.send(()).unwrap();
    go.send(()).unwrap();
    over.join().unwrap();
    assert!(house.shelf.has("first") && !house.shelf.has("second"));
    let (engine, client) = house.start();
    assert!(matches!(snapshot(&client, "second"), ItemResult::Fresh(_)), "the key is free");
    engine.shut_down();
}

/// A ledger that follows a book op by op, as the engine does.
struct Told {
    ledger: Ledger,
    events: Vec<(Moment, Vec<u8>)>,
    prints: Prints,
}

impl Told {
    /// Goes on to an op, and seals the keys up to there.
    fn seal_at(&mut self, op: u64) -> ToKeeper {
        let newest = self.ledger.newest();
        for (at, bytes) in self.events.iter().filter(|(at, _)| at.op > newest && at.op.0 <= op) {
            self.ledger.replay(*at, &codec::decode(bytes).unwrap(), &self.prints).unwrap();
        }
        ToKeeper::Sealed(self.ledger.seal().unwrap())
    }
}

/// The engine's part is played beforehand: all that it says lies in the inbox, in order.
#[test]
fn keys_become_runs_between_the_pages_of_a_view_and_its_checkpoint_names_none_of_them() {
    let mut house = House::new(14);
    house.pace.on = false;
    let (engine, client) = house.start();
    set_up(&client, 1_000_000);
    post(&client, "k", 70, &mut Vec::new());
    engine.shut_down();
    let (mut events, mut ends) = (Vec::new(), Vec::new());
    let mut visit = |visit: crate::journal::Visit<'_>| {
        let at = Moment { op: Op(visit.op), book_time_us: visit.book_time_us };
        events.push((at, visit.event.to_vec()));
        ends.extend(Some(visit.op).filter(|_| visit.last_in_frame));
        Ok(())
    };
    let genesis = genesis_of(&house.disk).unwrap().unwrap();
    let options = JournalOptions::with_segment_bytes(1 << 18);
    let opened =
        Journal::open(Arc::new(house.disk.clone()), || panic!("there is a book"), options, &mut visit).unwrap();
    let prints = Prints::new(genesis.secret);
    let limits = Limits { members_max: 1_000, cap_counters_max: 1_000, lots_bytes_max: usize::MAX };
    let mut told = Told { ledger: Ledger::new(limits), events, prints: prints.clone() };
    let (say, inbox) = unbounded();
    let view_op = ends[ends.len() / 2];
    say.send(told.seal_at(view_op)).unwrap();
    let captured = told.ledger.begin_capture(true);
    let view = View { captured, trial: told.ledger.trial_balance(), members: 0, snapshot: None };
    say.send(ToKeeper::Captured(Box::new(view))).unwrap();
    for later in 1..=3 {
        say.send(told.seal_at(view_op + 3 * later)).unwrap();
    }
    loop {
        let copies = told.ledger.capture_next(1);
        let whole = copies.is_empty();
        say.send(ToKeeper::Pages(copies)).unwrap();
        if whole {
            break;
        }
    }
    // As many messages as are asked for ahead, and one more generation among them.
    say.send(told.seal_at(view_op + 12)).unwrap();
    (1..MESSAGES_AHEAD).for_each(|_| say.send(ToKeeper::Pages(Vec::new())).unwrap());
    let book = BookName { book_id: genesis.book_id, incarnation: genesis.incarnation };
    let open = |shelves: &Arc<SimShelves>| Store::open(shelves.clone(), book, StoreOptions::default()).unwrap().0;
    let mut store = open(&house.shelves);
    let queue = Arc::new(Queue::new(1, Arc::new(Metrics::new().unwrap())));
    let desk = Arc::new(Desk::new(queue, house.shelves.clone(), store.keys(), 0));
    let keeper = Keeper {
        store,
        book: opened.book.clone(),
        prints: prints.clone(),
        desk: Arc::clone(&desk),
        pipeline: Arc::new(Pipeline::new()),
        snapshots: Arc::new(NoSnapshots),
        inbox,
        pace: house.pace,
        checkpoint_bytes: 0,
        checkpoint_op: 0,
        checkpoint_at: Instant::now(),
        sealed: VecDeque::new(),
        asked: false,
        merging: false,
        unshown: 0,
        stopped: false,
    };
    let thread = std::thread::spawn(move || keeper.run());
    let mut said = Vec::new();
    let begun = Instant::now();
    while !matches!(said.last(), Some(None)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the view is never over: {said:?}");
        match desk.next() {
            Some(ToEngine::Keys(keys)) => said.push(Some(keys.upto())),
            Some(ToEngine::Done) => said.push(None),
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    // A machine that stops right here.
    let crashed = Crash::ALL.map(|policy| Arc::new(house.shelves.crash(policy)));
    say.send(ToKeeper::Stop).unwrap();
    thread.join().unwrap();
    // The last two wait for the pages, and become runs behind them.
    let runs = [0, 3, 6].map(|later| Some(view_op + later));
    assert_eq!(said, [runs.as_slice(), &[None]].concat(), "runs of what was sealed, before the view is over");
    for after in &crashed {
        let mut store = open(after);
        assert_eq!((store.newest().unwrap().op, store.sealed_upto()), (view_op, view_op));
        let keys = store.keys();
        for (at, bytes) in &told.events {
            let event = codec::decode(bytes).unwrap();
            let (_, key, _) = event.identity();
            let found = keys.candidates(prints.key("p", key), 0).unwrap();
            assert_eq!(found.contains(&at.op.0), at.op.0 <= view_op, "op {}", at.op.0);
        }
    }
}
