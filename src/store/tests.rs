//! Checkpoints and keys on simulated shelves: what was committed comes back, whatever stops, fails or is tampered with.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use super::sim::SimShelves;
use super::{BookName, Keys, OpenReport, PageKey, Store, StoreError, StoreOptions};

const BOOK: BookName = BookName { book_id: [7; 16], incarnation: 1 };
const PER_KIND: u32 = 5;
/// Keys that each op brings.
const KEYS_PER_OP: u64 = 3;

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
    for _ in 0..300 {
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
    let (waypoint, base, trial) = texts(op);
    assert_eq!((&newest.waypoint, &newest.base), (&waypoint, &base));
    assert_eq!(newest.state_hash, state_hash(&mut newest.page_hashes().map(|(_, hash)| hash)));
    let mut loaded = Vec::new();
    store.load(&mut |key, bytes| {
        assert_eq!(bytes, image(key, op), "{key:?} at {op}");
        loaded.push(key);
        Ok(())
    })?;
    assert!(loaded.into_iter().eq(all_pages()));
    assert_eq!(store.trial_before(op + 1)?, Some((op, trial)));
    check_keys(&store.keys(), op)?;
    Ok(op)
}

/// Every key up to `op` is found, and none above.
fn check_keys(keys: &Keys, op: u64) -> Result<(), StoreError> {
    assert_eq!(keys.upto(), op);
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
    for op in (10..=200).step_by(10) {
        let (mut store, report) = open(&shelves).unwrap();
        assert_eq!(report.discarded, [""; 0]);
        checkpoint(&mut store, op).unwrap();
        drop(store);
        let (mut store, _) = open(&shelves).unwrap();
        assert_eq!(check(&mut store).unwrap(), op);
    }
}
