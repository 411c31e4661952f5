//! What checkpoints, runs of keys and snapshots promise: the same answers and the same state as a replay of the whole
//! book, whatever is sealed, dropped, loaded or lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::request::{AnswerBody, ItemResult, Read, Work};
use super::rooms::{Rooms, SnapshotFacts, SnapshotRoom, SnapshotSink};
use super::start::replay_all;
use super::tests::{Client, config, earn, redeem, refund, set_up};
use super::*;
use crate::io::sim::{Crash, SimClock, SimDisk};
use crate::ledger::command::{AdminAction, Original};
use crate::ledger::event::Event;
use crate::ledger::ids::Op;
use crate::store::sim::SimShelves;

/// A directory of snapshots in memory: name -> facts, base and pages.
#[derive(Clone, Default)]
pub(super) struct Shelf {
    kept: Arc<Mutex<HashMap<String, Kept>>>,
}

#[derive(Clone)]
struct Kept {
    facts: SnapshotFacts,
    base: Vec<u8>,
    hashes: Vec<[u8; 32]>,
}

struct Writing(Shelf, Kept);

impl SnapshotRoom for Shelf {
    fn has(&self, name: &str) -> bool {
        self.kept.lock().unwrap().contains_key(name)
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        self.kept.lock().unwrap().remove(name);
        Ok(())
    }

    fn begin(&self, facts: SnapshotFacts) -> Result<Box<dyn SnapshotSink>, String> {
        Ok(Box::new(Writing(self.clone(), Kept { facts, base: Vec::new(), hashes: Vec::new() })))
    }
}

impl SnapshotSink for Writing {
    fn base(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.1.base = bytes.to_vec();
        Ok(())
    }

    fn page(&mut self, _: u8, _: u32, image: &[u8]) -> Result<(), String> {
        self.1.hashes.push(*blake3::hash(image).as_bytes());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        self.0.kept.lock().unwrap().insert(self.1.facts.name.clone(), self.1.clone());
        Ok(())
    }
}

/// A book with its rooms, which outlive its engines.
pub(super) struct House {
    pub(super) disk: SimDisk,
    pub(super) shelves: Arc<SimShelves>,
    pub(super) shelf: Shelf,
    pub(super) pace: Pace,
}

impl House {
    pub(super) fn new(seed: u64) -> Self {
        let pace = Pace { on: true, bytes: 1, after: Duration::from_secs(3_600), tail_bytes_max: 1 << 30 };
        Self { disk: SimDisk::new(seed), shelves: Arc::new(SimShelves::new(7)), shelf: Shelf::default(), pace }
    }

    pub(super) fn config(&self) -> EngineConfig {
        let rooms = Rooms {
            shelves: self.shelves.clone(),
            snapshots: Arc::new(self.shelf.clone()),
            snapshots_disk: Arc::new(SimDisk::new(0)),
        };
        EngineConfig { pace: self.pace, keys_per_generation: 40, rooms: Some(rooms), ..config(1 << 18) }
    }

    pub(super) fn start(&self) -> (Engine, Client) {
        self.start_with(&self.config())
    }

    pub(super) fn start_with(&self, config: &EngineConfig) -> (Engine, Client) {
        let clock = Arc::new(SimClock::new(1_800_000_000_000_000));
        let engine = Engine::start(Arc::new(self.disk.clone()), clock, config).unwrap();
        let handle = engine.handle();
        (engine, Client { handle })
    }

    /// The state hash of a replay of the whole book.
    pub(super) fn replayed(&self) -> [u8; 32] {
        replay_all(&self.disk, None).unwrap().state_hash()
    }
}

pub(super) fn wait_for(what: &str, done: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} does not come");
}

/// Posts `count` earns of two members, in batches, and notes the op of every key.
pub(super) fn post(client: &Client, name: &str, count: u64, ops: &mut Vec<(String, Op)>) {
    let keys: Vec<String> = (0..count).map(|number| format!("{name}-{number}")).collect();
    for batch in keys.chunks(7) {
        let member = |key: &String| if key.ends_with('3') { "ada".to_owned() } else { format!("m{}", key.len() % 5) };
        let commands = batch.iter().map(|key| client.command(key, &member(key), earn(1_000))).collect();
        for (key, result) in batch.iter().zip(client.post(commands, false)) {
            let ItemResult::Fresh(op) = result else { panic!("{result:?}") };
            ops.push((key.clone(), op));
        }
    }
}

pub(super) fn check_known(client: &Client, ops: &[(String, Op)]) {
    for batch in ops.chunks(11) {
        let commands = batch.iter().map(|(key, _)| client.command(key, "whoever", earn(1))).collect();
        let known: Vec<_> = batch.iter().map(|(_, op)| ItemResult::Known(*op)).collect();
        assert_eq!(client.post(commands, false), known);
    }
}

#[test]
fn a_key_is_known_from_every_range_of_ops_before_and_after_restarts() {
    let house = House::new(1);
    let mut ops = Vec::new();
    for round in 0..5 {
        let (engine, client) = house.start();
        if round == 0 {
            set_up(&client, 1_000_000);
        }
        check_known(&client, &ops);
        post(&client, &format!("r{round}"), 230, &mut ops);
        check_known(&client, &ops);
        wait_for("a checkpoint", || client.handle.checkpoint_op() > 0);
        post(&client, &format!("s{round}"), 30, &mut ops);
        check_known(&client, &ops);
        let (key, op) = &ops[ops.len() / 2];
        let print = client.handle.prints().key("p", key);
        assert!(matches!(client.ask(Work::Read(Read::Key(print))).body, AnswerBody::Key(Some(found)) if found == *op));
        let again = AdminAction::FundCampaign { campaign: "double".into(), points: 9 };
        assert_eq!(client.admin("fund", again), ItemResult::Known(Op(2)));
        engine.shut_down();
    }
}

#[test]
fn a_start_from_a_checkpoint_comes_to_the_state_of_a_whole_replay() {
    let house = House::new(2);
    let mut ops = Vec::new();
    let (engine, client) = house.start();
    set_up(&client, 1_000_000);
    for round in 0..6 {
        post(&client, &format!("a{round}"), 60, &mut ops);
        let original = Original::Op(ops[ops.len() - 20].1);
        client.post(vec![client.command(&format!("f{round}"), "ada", refund(original, 100))], false);
        client.post(vec![client.command(&format!("d{round}"), "ada", redeem(5))], false);
        let newest = ops.last().unwrap().1.0;
        wait_for("a checkpoint", || client.handle.checkpoint_op() >= newest);
    }
    post(&client, "tail", 25, &mut ops);
    let live = client.state_hash();
    engine.shut_down();
    assert_eq!(live, house.replayed());
    let (engine, client) = house.start();
    assert!(engine.started().checkpoint_op > 0);
    assert!(engine.started().replayed < 200, "{:?}", engine.started());
    assert_eq!(client.state_hash(), live);
    engine.shut_down();
    // Without the store: the same, from the book alone.
    let bare = House { shelves: Arc::new(SimShelves::new(7)), ..house };
    let (engine, client) = bare.start();
    assert_eq!(engine.started().checkpoint_op, 0);
    assert_eq!(client.state_hash(), live);
    check_known(&client, &ops);
    engine.shut_down();
}

#[test]
fn partial_refunds_add_up_across_seals_and_restarts() {
    let house = House::new(3);
    let mut ops = Vec::new();
    let (mut engine, mut client) = house.start();
    set_up(&client, 1_000_000);
    post(&client, "e", 8, &mut ops);
    let (_, original) = ops.iter().find(|(key, _)| key.ends_with('3')).unwrap().clone();
    for part in 0..10 {
        let command = client.command(&format!("part-{part}"), "ada", refund(Original::Op(original), 100));
        let [ItemResult::Fresh(op)] = client.post(vec![command], false)[..] else { panic!("part {part}") };
        let stored = client.handle.book().read(op.0).unwrap();
        let Event::Refunded(refund) = codec::decode(&stored.bytes).unwrap() else { panic!("part {part}") };
        assert_eq!(refund.from.unwrap().amount_total, (part + 1) * 100);
        post(&client, &format!("between-{part}"), 90, &mut ops);
        if part % 3 == 2 {
            engine.shut_down();
            (engine, client) = house.start();
        }
    }
    let over = client.command("over", "ada", refund(Original::Op(original), 1));
    let [ItemResult::Fresh(op)] = client.post(vec![over], false)[..] else { panic!("over") };
    let stored = client.handle.book().read(op.0).unwrap();
    let refused = codec::decode(&stored.bytes).unwrap().rejection().unwrap().0;
    assert_eq!(refused, crate::ledger::reason::Reason::RefundExceedsOriginal);
    let live = client.state_hash();
    engine.shut_down();
    assert_eq!(live, house.replayed());
}

/// A command about the whole book.
pub(super) fn snapshot_work(client: &Client, name: &str) -> Work {
    let action = AdminAction::CreateSnapshot { name: name.into(), retain_until_us: None };
    let mut command = client.admin_command(&format!("snapshot-{name}"), action);
    command.program_id = String::new();
    command.key_print = client.handle.prints().key("", &command.key);
    Work::Admin(Box::new(command))
}

pub(super) fn snapshot(client: &Client, name: &str) -> ItemResult {
    match client.ask(snapshot_work(client, name)).body {
        AnswerBody::Posted { results, .. } => results[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_is_the_state_at_its_own_op_while_posting_goes_on() {
    let house = House::new(4);
    let mut ops = Vec::new();
    let (engine, client) = house.start();
    set_up(&client, 1_000_000);
    for round in 0..4 {
        post(&client, &format!("a{round}"), 50, &mut ops);
        let name = format!("s{round}");
        let ItemResult::Fresh(op) = snapshot(&client, &name) else { panic!("{name}") };
        post(&client, &format!("b{round}"), 50, &mut ops);
        wait_for("the snapshot", || house.shelf.has(&name));
        let kept = house.shelf.kept.lock().unwrap()[&name].clone();
        assert_eq!(kept.facts.at.op, op.0);
        let replayed = replay_all(&house.disk, Some(op.0)).unwrap();
        assert_eq!(kept.facts.state_hash, replayed.state_hash());
        let hash = crate::ledger::state_hash_of(op, &kept.base, kept.hashes.into_iter());
        assert_eq!(hash, kept.facts.state_hash, "the pages are those of the state");
        assert_eq!(kept.facts.trial, replayed.trial_balance());
    }
    engine.shut_down();
}

#[test]
fn what_waits_while_the_keeper_stands_still_is_refused_when_it_is_too_old_and_else_decided_at_the_end() {
    let mut house = House::new(12);
    house.pace.tail_bytes_max = 1 << 13;
    let clock = Arc::new(SimClock::new(1_800_000_000_000_000));
    let engine = Engine::start(Arc::new(house.disk.clone()), clock.clone(), &house.config()).unwrap();
    let client = Client { handle: engine.handle() };
    set_up(&client, 1_000_000);
    let kept = Arc::clone(&house.shelf.kept);
    let standstill = kept.lock().unwrap();
    let ItemResult::Fresh(_) = snapshot(&client, "stuck") else { panic!() };
    // Posts until one is not taken: the book may be no further ahead of the checkpoint.
    let submit = |number: u32| {
        let commands = (0..40).map(|item| client.command(&format!("k{number}-{item}"), "ada", earn(1_000))).collect();
        client.handle.submit(Work::post(commands, false, None)).unwrap()
    };
    let answer_within = |tries: u32, answer: &mut tokio::sync::oneshot::Receiver<_>| {
        (0..tries).find_map(|_| {
            let answer = answer.try_recv().ok();
            answer.or_else(|| {
                std::thread::sleep(Duration::from_millis(5));
                None
            })
        })
    };
    let refused = (0..100).find_map(|number| {
        let mut answer = submit(number);
        if answer_within(200, &mut answer).is_some() {
            return None;
        }
        clock.advance(Duration::from_secs(61));
        answer_within(4_000, &mut answer).expect("it is answered however far the keeper is behind").err()
    });
    assert_eq!(refused, Some(Refusal::QueueTooOld));
    // Going down, what waits is decided, whether or not it was looked at.
    let mut younger = submit(1_000);
    drop(standstill);
    engine.shut_down();
    assert!(answer_within(1, &mut younger).expect("answered").is_ok());
}

#[test]
fn a_snapshot_that_a_crash_kept_from_being_written_is_written_by_the_next_start() {
    let mut house = House::new(5);
    house.pace.on = false;
    let mut ops = Vec::new();
    let (engine, client) = house.start();
    set_up(&client, 1_000_000);
    post(&client, "a", 50, &mut ops);
    let ItemResult::Fresh(op) = snapshot(&client, "lost") else { panic!() };
    post(&client, "b", 50, &mut ops);
    wait_for("the snapshot", || house.shelf.has("lost"));
    let first = house.shelf.kept.lock().unwrap()["lost"].clone();
    engine.shut_down();
    // Gone with its checkpoint, and then with the whole store.
    for shelves in [Arc::clone(&house.shelves), Arc::new(SimShelves::new(7))] {
        house.shelf.kept.lock().unwrap().remove("lost");
        house.shelves = shelves;
        let (engine, _) = house.start();
        let again = house.shelf.kept.lock().unwrap()["lost"].clone();
        assert_eq!((again.facts.at, again.facts.state_hash), (first.facts.at, first.facts.state_hash));
        assert_eq!(again.hashes, first.hashes);
        assert_eq!(again.facts.at.op, op.0);
        engine.shut_down();
    }
}

#[test]
fn what_a_replay_changed_is_in_the_checkpoint_after_a_snapshot_that_was_written_anew() {
    let mut house = House::new(10);
    let mut ops = Vec::new();
    let (engine, client) = house.start();
    set_up(&client, 1_000_000);
    post(&client, "a", 50, &mut ops);
    wait_for("a checkpoint", || client.handle.checkpoint_op() >= 52);
    engine.shut_down();
    // Events behind the checkpoint, and a snapshot that has no checkpoint of its own: it is made with another store.
    house.pace.on = false;
    let aside = House { shelves: Arc::new(SimShelves::new(11)), disk: house.disk.clone(), ..House::new(10) };
    let aside = House { pace: house.pace, shelf: house.shelf.clone(), ..aside };
    let (engine, client) = aside.start();
    post(&client, "b", 50, &mut ops);
    let ItemResult::Fresh(_) = snapshot(&client, "lost") else { panic!() };
    wait_for("the snapshot", || house.shelf.has("lost"));
    engine.shut_down();
    house.shelf.kept.lock().unwrap().remove("lost");
    let (engine, client) = house.start();
    assert!(engine.started().checkpoint_op >= 52, "{:?}", engine.started());
    assert!(house.shelf.has("lost"));
    let ItemResult::Fresh(op) = snapshot(&client, "next") else { panic!() };
    wait_for("the snapshot", || house.shelf.has("next"));
    let kept = house.shelf.kept.lock().unwrap()["next"].clone();
    engine.shut_down();
    assert_eq!(kept.facts.state_hash, replay_all(&house.disk, Some(op.0)).unwrap().state_hash());
}

#[test]
fn a_book_that_ends_before_its_checkpoint_is_not_served() {
    let house = House::new(6);
    let mut ops = Vec::new();
    let (engine, client) = house.start();
    set_up(&client, 1_000_000);
    post(&client, "a", 50, &mut ops);
    engine.shut_down();
    let shorter = house.disk.crash(Crash::Kept);
    let (engine, client) = house.start();
    post(&client, "b", 50, &mut ops);
    wait_for("a checkpoint", || client.handle.checkpoint_op() >= ops.last().unwrap().1.0);
    engine.shut_down();
    let house = House { disk: shorter, ..house };
    let clock = Arc::new(SimClock::new(1_800_000_000_000_000));
    let Err(error) = Engine::start(Arc::new(house.disk.clone()), clock, &house.config()) else {
        panic!("it was served")
    };
    let text = error.to_string();
    assert!(text.contains("52") && text.contains("102"), "both ops are named: {text}");
}

/// Posts and takes snapshots until all is done or the process would have ended; what was answered is noted.
fn work(house: &House, ops: &mut Vec<(String, Op)>) -> Option<()> {
    let clock = Arc::new(SimClock::new(1_800_000_000_000_000));
    let engine = Engine::start(Arc::new(house.disk.clone()), clock, &house.config()).ok()?;
    let client = Client { handle: engine.handle() };
    // After a failure nobody is answered, so what has not come when it shows does not come.
    let failed = engine.failed();
    let ask = |work: Work| {
        let mut receiver = client.handle.submit(work).ok()?;
        loop {
            match receiver.try_recv() {
                Ok(answer) => match answer.ok()?.body {
                    AnswerBody::Posted { results, .. } => return Some(results),
                    other => panic!("{other:?}"),
                },
                Err(_) if failed.borrow().is_some() => return None,
                Err(_) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    };
    let done = (|| {
        for round in 0..4 {
            let keys: Vec<String> = (0..45).map(|number| format!("w{round}-{number}")).collect();
            for batch in keys.chunks(9) {
                let commands = batch.iter().map(|key| client.command(key, &key[3..], earn(1_000))).collect();
                let results = ask(Work::post(commands, false, None))?;
                for (key, result) in batch.iter().zip(results) {
                    let (ItemResult::Fresh(op) | ItemResult::Known(op)) = result else { panic!("{result:?}") };
                    ops.push((key.clone(), op));
                }
            }
            ask(snapshot_work(&client, &format!("s{round}")))?;
        }
        Some(())
    })();
    let over = engine.failed().borrow().is_some();
    engine.shut_down();
    done.filter(|()| !over)
}

/// The store fails, or the machine stops, at every single operation of the store: what was answered is there after the
/// next start, snapshots are whole, and the state is that of the book.
#[test]
fn a_fault_at_any_operation_of_the_store_loses_nothing_and_changes_nothing() {
    let measured = House::new(8);
    let mut all = Vec::new();
    begin(&measured);
    work(&measured, &mut all).unwrap();
    let operations = measured.shelves.operations();
    assert!(operations > 30, "{operations} operations");
    for stop in [false, true] {
        for at in 1..=operations {
            let house = House::new(9);
            begin(&house);
            match stop {
                true => house.shelves.halt_after(at),
                false => house.shelves.fail_at(at),
            }
            let mut ops = Vec::new();
            work(&house, &mut ops);
            let policy = Crash::ALL[usize::try_from(at).unwrap() % 3];
            let house = House {
                disk: house.disk.crash(policy),
                shelves: Arc::new(house.shelves.crash(policy)),
                shelf: house.shelf.clone(),
                pace: house.pace,
            };
            let (engine, client) = house.start();
            check_known(&client, &ops);
            let AnswerBody::Snapshots(taken) = client.ask(Work::Read(Read::Snapshots)).body else { panic!() };
            let live = client.state_hash();
            engine.shut_down();
            assert_eq!(live, house.replayed(), "operation {at}");
            for taken in taken {
                wait_for("the snapshot", || house.shelf.has(&taken.name));
                let kept = house.shelf.kept.lock().unwrap()[&taken.name].clone();
                let replayed = replay_all(&house.disk, Some(taken.op.0)).unwrap();
                assert_eq!(kept.facts.state_hash, replayed.state_hash(), "operation {at}, {}", taken.name);
            }
        }
    }
}

/// A book with its program, whatever becomes of the store afterwards.
fn begin(house: &House) {
    let still =
        House { pace: Pace { on: false, ..house.pace }, shelves: Arc::new(SimShelves::new(0)), ..House::new(0) };
    let still = House { disk: house.disk.clone(), ..still };
    let (engine, client) = still.start();
    set_up(&client, 1_000_000);
    engine.shut_down();
}
