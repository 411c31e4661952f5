//! Checkpoints and keys on simulated shelves: what was committed comes back, whatever stops, fails or is tampered with.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sim::{Entries, SimShelves};
use super::{BookName, Keys, OpenReport, PageKey, Shelves, Store, StoreError, StoreOptions};
use crate::io::sim::Crash;

const BOOK: BookName = BookName { book_id: [7; 16], incarnation: 1 };
const PER_KIND: u32 = 5;
/// Keys that each op brings.
const KEYS_PER_OP: u64 = 1;

fn open(shelves: &SimShelves) -> Result<(Store, OpenReport), StoreError> {
    Store::open(Arc::new(shelves.clone()), BOOK, StoreOptions::default())
}

fn print(op: u64, n: u64) -> u128 {
    let hash = blake3::hash(&[op.to_le_bytes(), n.to_le_bytes()].concat());
    u128::from_be_bytes(*hash.as_bytes().first_chunk().unwrap())
}

fn entries(after: u64, last: u64) -> Vec<(u64, u64)> {
    let of = |op| (0..KEYS_PER_OP).map(move |n| (u64::try_from(print(op, n) >> 64).unwrap(), op));
    (after + 1..=last).flat_map(of).collect()
}

/// The image of a page as a checkpoint at `op` has it: page `n` changes in every checkpoint whose number `n` divides.
fn image(key: PageKey, op: u64) -> Vec<u8> {
    let changed = last_change(key, op);
    let length = 100 + usize::try_from(changed * 5_000 % 40_000).unwrap();
    format!("{key:?} {changed} ").into_bytes().into_iter().cycle().take(length).collect()
}

fn last_change(key: PageKey, op: u64) -> u64 {
    let period = 10 * (u64::from(key.number) + u64::from(key.kind) + 1);
    op / period * period
}

fn all_pages() -> impl Iterator<Item = PageKey> {
    (0..2).flat_map(|kind| (0..PER_KIND).map(move |number| PageKey { kind, number }))
}

fn state_hash(pages: &mut dyn Iterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    pages.for_each(|hash| _ = hasher.update(&hash));
    *hasher.finalize().as_bytes()
}

fn texts(op: u64) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    (format!("waypoint {op}").into(), format!("base {op}").repeat(2_000).into(), format!("trial {op}").into())
}

/// A checkpoint at `op`, with a seal on the way to it, one at it, one beyond, and merges.
fn checkpoint(store: &mut Store, op: u64) -> Result<(), StoreError> {
    let before = store.newest().map_or(0, |newest| newest.op);
    let whole = store.wants_whole();
    let seal = |store: &mut Store, last| {
        let after = store.sealed_upto();
        if last > after { store.seal(after, last, entries(after, last)) } else { Ok(()) }
    };
    seal(store, op - 4)?;
    seal(store, op)?;
    store.begin(op)?;
    for key in all_pages().filter(|key| whole || last_change(*key, op) > before) {
        store.put_page(key, &image(key, op))?;
    }
    seal(store, op + 3)?;
    // A merge of all partitions takes 257: most checkpoints come in the middle of one, or of two.
    for _ in 0..100 {
        store.merge_step()?;
    }
    let (waypoint, base, trial) = texts(op);
    store.commit(waypoint, base, state_hash, PER_KIND, trial)?;
    Ok(())
}

/// The op of the store's checkpoint, all of which is found to be as it was committed.
fn check(store: &mut Store) -> Result<u64, StoreError> {
    let Some(newest) = store.newest().cloned() else {
        assert_eq!(store.sealed_upto(), 0);
        return Ok(0);
    };
    let op = newest.op;
    let (waypoint, base, _) = texts(op);
    assert_eq!((&newest.waypoint, &newest.base), (&waypoint, &base));
    assert_eq!(newest.state_hash, state_hash(&mut newest.page_hashes().map(|(_, hash)| hash)));
    let mut loaded = Vec::new();
    store.load(&mut |key, bytes| {
        assert_eq!(bytes, image(key, op), "{key:?} at {op}");
        loaded.push(key);
        Ok(())
    })?;
    assert!(loaded.into_iter().eq(all_pages()));
    for (at, trial) in store.readable_trials() {
        assert!(at <= op && trial == texts(at).2, "the trial balance at {at}");
    }
    check_keys(&store.keys())?;
    Ok(op)
}

/// Like [`check`], of a store that was just opened: its keys end with its checkpoint.
fn check_opened(store: &mut Store) -> Result<u64, StoreError> {
    assert_eq!(store.sealed_upto(), store.newest().map_or(0, |newest| newest.op));
    check(store)
}

/// Every sealed key is found, and no other.
fn check_keys(keys: &Keys) -> Result<(), StoreError> {
    let op = keys.upto();
    for at in 1..=op {
        for n in 0..KEYS_PER_OP {
            assert!(keys.may_hold(print(at, n), 0), "key {n} of op {at} of {op}");
            assert_eq!(keys.candidates(print(at, n), 0)?, [at]);
            assert!(keys.candidates(print(at, n), at)?.is_empty());
        }
    }
    for at in op + 1..op + 20 {
        assert!(keys.candidates(print(at, 0), 0)?.is_empty());
    }
    Ok(())
}

#[test]
fn what_was_committed_comes_back_and_nothing_later() {
    let shelves = SimShelves::new(1);
    for op in (10..=300).step_by(10) {
        let (mut store, report) = open(&shelves).unwrap();
        assert_eq!(report.discarded, [""; 0]);
        checkpoint(&mut store, op).unwrap();
        drop(store);
        let (mut store, _) = open(&shelves).unwrap();
        assert_eq!(check_opened(&mut store).unwrap(), op);
        let trials = (10..=op).step_by(10).map(|op| (op, texts(op).2));
        assert!(store.readable_trials().into_iter().eq(trials));
    }
}

/// What a life of the store left: the op of the last commit that was acknowledged, and of the one in flight.
struct Life {
    acknowledged: u64,
    tried: u64,
}

/// Opens, and commits checkpoints every ten ops up to `last`, until something fails.
fn live(shelves: &SimShelves, last: u64) -> Life {
    let mut life = Life { acknowledged: 0, tried: 0 };
    let Ok((mut store, _)) = open(shelves) else { return life };
    life.acknowledged = store.newest().map_or(0, |newest| newest.op);
    life.tried = life.acknowledged;
    while life.tried < last {
        life.tried += 10;
        if checkpoint(&mut store, life.tried).is_err() {
            break;
        }
        life.acknowledged = life.tried;
    }
    life
}

/// After a crash the checkpoint is one that was committed, the last acknowledged or the one in flight; work goes on.
fn recovers(shelves: &SimShelves, life: &Life, case: &str) {
    let (mut store, report) = open(shelves).unwrap();
    let op = check_opened(&mut store).unwrap();
    assert!(op == life.acknowledged || op == life.tried, "{case}: {op} after {}: {report:?}", life.acknowledged);
    checkpoint(&mut store, op + 10).unwrap();
    assert_eq!(check(&mut store).unwrap(), op + 10, "{case}");
    drop(store);
    let (mut store, report) = open(shelves).unwrap();
    assert_eq!(report.discarded, [""; 0], "{case}");
    assert_eq!(check_opened(&mut store).unwrap(), op + 10, "{case}");
}

#[test]
fn a_stop_at_any_operation_leaves_a_committed_checkpoint_with_all_its_keys() {
    let whole = SimShelves::new(2);
    live(&whole, 30);
    for k in 1..=whole.operations() {
        let shelves = SimShelves::new(2);
        shelves.halt_after(k);
        let life = live(&shelves, 30);
        for policy in Crash::ALL {
            recovers(&shelves.crash(policy), &life, &format!("stopped after {k}, {policy:?}"));
        }
    }
}

#[test]
fn a_failure_of_any_operation_leaves_a_committed_checkpoint_with_all_its_keys() {
    let whole = SimShelves::new(3);
    live(&whole, 30);
    for k in 1..=whole.operations() {
        for fail in [SimShelves::fail_at, SimShelves::fail_late_at] {
            let shelves = SimShelves::new(3);
            fail(&shelves, k);
            let life = live(&shelves, 30);
            recovers(&shelves.crash(Crash::Torn), &life, &format!("failed at {k}"));
            recovers(&shelves, &life, &format!("failed at {k}, opened again without a crash"));
        }
    }
}

#[test]
fn a_stop_while_a_store_is_opened_or_discarded_loses_nothing_that_was_sound() {
    let whole = SimShelves::new(4);
    let life = live(&whole, 40);
    for damaged in [false, true] {
        for k in 1.. {
            let shelves = whole.crash(Crash::Dropped);
            if damaged {
                shelves.put("meta", None);
            }
            let life = if damaged { Life { acknowledged: 0, tried: 0 } } else { Life { ..life } };
            shelves.halt_after(k);
            let opened = open(&shelves).is_ok();
            Crash::ALL.into_iter().for_each(|policy| recovers(&shelves.crash(policy), &life, &format!("{k}")));
            if opened && shelves.operations() <= k {
                break;
            }
        }
    }
}

/// Opens tampered shelves: what comes up is a checkpoint as it was committed, or nothing, said aloud.
fn bears(shelves: &SimShelves, newest: u64, case: &str) -> u64 {
    let (mut store, report) = open(shelves).unwrap();
    match check_opened(&mut store) {
        Ok(op) => {
            assert!(op == newest || !report.discarded.is_empty(), "{case}: {op} in silence");
            op
        }
        Err(error) => {
            assert!(matches!(error, StoreError::Unusable(_)), "{case}: {error}");
            store.discard().unwrap();
            assert_eq!(check(&mut store).unwrap(), 0, "{case}");
            checkpoint(&mut store, 10).unwrap();
            assert_eq!(check(&mut store).unwrap(), 10, "{case}");
            0
        }
    }
}

#[test]
fn no_flipped_bit_in_any_value_gives_a_wrong_page_or_hides_a_key() {
    let whole = SimShelves::new(5);
    live(&whole, 40);
    for name in whole.list().unwrap() {
        let entries = whole.entries(&name).unwrap();
        for (number, (key, value)) in entries.iter().enumerate() {
            let at = (number * 7919) % value.len();
            let shelves = whole.crash(Crash::Dropped);
            let mut changed: Entries = entries.clone();
            changed.get_mut(key).unwrap()[at] ^= 1 << (number % 8);
            shelves.put(&name, Some(changed));
            bears(&shelves, 40, &format!("{name}, byte {at} of value {number}"));
        }
    }
}

#[test]
fn no_lost_value_gives_a_wrong_page_or_hides_a_key() {
    let whole = SimShelves::new(6);
    live(&whole, 40);
    for name in whole.list().unwrap() {
        let entries = whole.entries(&name).unwrap();
        for key in entries.keys() {
            let shelves = whole.crash(Crash::Dropped);
            let mut changed = entries.clone();
            changed.remove(key);
            shelves.put(&name, Some(changed));
            bears(&shelves, 40, &format!("{name} without {key:02x?}"));
        }
    }
}

#[test]
fn a_folder_that_is_missing_empty_unopenable_aged_or_of_another_book_is_never_taken_for_the_right_one() {
    let whole = SimShelves::new(7);
    live(&whole, 30);
    let aged: BTreeMap<String, Entries> =
        whole.list().unwrap().into_iter().map(|name| (name.clone(), whole.entries(&name).unwrap())).collect();
    let (mut store, _) = open(&whole).unwrap();
    checkpoint(&mut store, 40).unwrap();
    checkpoint(&mut store, 50).unwrap();
    drop(store);
    let other = SimShelves::new(8);
    let other_book = BookName { book_id: [8; 16], ..BOOK };
    let (mut store, _) = Store::open(Arc::new(other.clone()), other_book, StoreOptions::default()).unwrap();
    (10..=50).step_by(10).for_each(|op| checkpoint(&mut store, op).unwrap());
    drop(store);
    for name in whole.list().unwrap() {
        let tampered = || whole.crash(Crash::Dropped);
        let with = |entries: Option<Entries>| {
            let shelves = tampered();
            shelves.put(&name, entries);
            shelves
        };
        bears(&with(None), 50, &format!("{name} missing"));
        bears(&with(Some(Entries::new())), 50, &format!("{name} empty"));
        bears(&with(aged.get(&name).cloned()), 50, &format!("{name} aged"));
        bears(&with(other.entries(&name)), 50, &format!("{name} of another book"));
        for other in whole.list().unwrap().into_iter().filter(|other| *other != name) {
            // All of it, and only what lies under keys that both have, but for the indexes of keys.
            let (mine, theirs) = (whole.entries(&name).unwrap(), whole.entries(&other).unwrap());
            bears(&with(Some(theirs.clone())), 50, &format!("{other} in the place of {name}"));
            let foreign = |key: &Vec<u8>| theirs.get(key).filter(|_| key.get(1) != Some(&b'i'));
            let mixed = mine.into_iter().map(|(key, value)| {
                let value = foreign(&key).cloned().unwrap_or(value);
                (key, value)
            });
            let mixed = mixed.collect();
            bears(&with(Some(mixed)), 50, &format!("values of {other} in {name}"));
        }
        let shelves = tampered();
        shelves.poison(&name);
        bears(&shelves, 50, &format!("{name} does not open"));
    }
    let shelves = SimShelves::new(9);
    aged.into_iter().for_each(|(name, entries)| shelves.put(&name, Some(entries)));
    assert_eq!(bears(&shelves, 30, "all of it aged"), 30);
    let (store, report) = open(&other).unwrap();
    assert!(store.newest().is_none() && report.discarded.iter().any(|text| text.contains("another book")));
}
