//! The sealed keys: found for ever, in bounds of probes, memory and folders.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use super::limits::{FILTER_KEYS_MAX, RUNS_MERGED_AT, RUNS_PER_PARTITION_MAX};
use super::sim::SimShelves;
use super::{BookName, Keys, Shelves, Store, StoreError, StoreOptions};

const BOOK: BookName = BookName { book_id: [3; 16], incarnation: 0 };

fn open(shelves: &SimShelves, key_filter_bytes_max: u64) -> Store {
    Store::open(Arc::new(shelves.clone()), BOOK, StoreOptions { key_filter_bytes_max }).unwrap().0
}

/// The upper half of the print of the `n`-th key.
fn print(n: u64) -> u64 {
    u64::from_be_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap())
}

fn wide(print: u64) -> u128 {
    (u128::from(print) << 64) | 0x1234
}

/// Key `n` is of op `n`.
fn seal(store: &mut Store, last: u64) {
    let after = store.sealed_upto();
    store.seal(after, last, (after + 1..=last).map(|n| (print(n), n)).collect()).unwrap();
}

fn commit(store: &mut Store, op: u64) {
    store.begin(op).unwrap();
    store.commit(Vec::new(), Vec::new(), |_| [0; 32], 0, Vec::new()).unwrap();
}

fn all_found(keys: &Keys, step: usize) {
    for n in (1..=keys.upto()).step_by(step) {
        assert!(keys.may_hold(wide(print(n)), n - 1), "{n}");
        assert_eq!(keys.candidates(wide(print(n)), 0).unwrap(), [n]);
    }
}

#[test]
fn many_keys_asked_together_may_be_held_just_where_one_of_them_may() {
    let shelves = SimShelves::new(1);
    let mut store = open(&shelves, u64::MAX);
    for last in [40_000, 70_000, 70_001] {
        seal(&mut store, last);
    }
    let keys = store.keys();
    let strange: Vec<u128> = (1 << 40..).take(6_400).map(|n| wide(print(n))).collect();
    let (held, before) = (strange.iter().filter(|print| keys.may_hold(**print, 0)).count(), keys.figures());
    assert!(held < 64, "{held}");
    let mut none = 0;
    for (n, pass) in (1..).step_by(701).zip(strange.chunks(64)) {
        let any = pass.iter().any(|print| keys.may_hold(*print, 0));
        assert_eq!(keys.may_hold_any(pass.iter().copied()), any);
        none += u64::from(!any);
        let mut with_one = pass.to_vec();
        with_one.insert(usize::try_from(n % 65).unwrap(), wide(print(n)));
        assert!(keys.may_hold_any(with_one.into_iter()), "{n}");
    }
    let each = keys.figures().look_ups - before.look_ups - 64 * none;
    assert!((100..=6_400).contains(&each), "{each} looked up one by one");
    assert!(!keys.may_hold_any(std::iter::empty()));
}

#[test]
fn every_key_is_found_among_many_and_a_strange_one_rarely_costs_a_read() {
    let shelves = SimShelves::new(1);
    let mut store = open(&shelves, u64::MAX);
    for last in [100_000, 130_000, 131_000, 131_001, 160_000, 200_000, 200_500] {
        seal(&mut store, last);
        while store.merge_step().unwrap() {}
    }
    all_found(&store.keys(), 7);
    let before = store.keys().figures();
    let strange = (1 << 40..).take(200_000).filter(|n| store.keys().may_hold(wide(print(*n)), 0)).count();
    assert!(strange <= 20 * RUNS_MERGED_AT, "{strange} of 200,000");
    let figures = store.keys().figures();
    assert_eq!((figures.keys, figures.look_ups - before.look_ups), (200_500, 200_000));
    assert_eq!(figures.may_hold - before.may_hold, u64::try_from(strange).unwrap());
    commit(&mut store, 200_500);
    drop(store);
    all_found(&open(&shelves, u64::MAX).keys(), 7);
}

#[test]
fn a_partition_never_has_more_runs_than_a_look_up_may_probe_whether_or_not_merges_keep_up() {
    for steps_between in [0, 40, 300, 2_000] {
        let shelves = SimShelves::new(2);
        let mut store = open(&shelves, u64::MAX);
        for last in (1..60).map(|n| n * 50) {
            seal(&mut store, last);
            for _ in 0..steps_between {
                if !store.merge_step().unwrap() {
                    break;
                }
            }
            assert!(store.keys().figures().runs <= u64::try_from(RUNS_PER_PARTITION_MAX).unwrap());
        }
        all_found(&store.keys(), 1);
        commit(&mut store, 2_950);
        let folders = shelves.list().unwrap().into_iter().filter(|name| name.starts_with("keys-")).count();
        // Those of the runs, and of a merge for every two of them.
        let runs = if steps_between < 2_000 { RUNS_PER_PARTITION_MAX } else { RUNS_MERGED_AT };
        assert!(folders <= runs + runs / 2, "{folders} folders after {steps_between} steps a seal");
    }
}

#[test]
fn seals_write_no_key_again_while_merges_are_late_until_there_are_many_runs_and_merges_make_them_few() {
    let shelves = SimShelves::new(9);
    let mut store = open(&shelves, u64::MAX);
    let most = u64::try_from(RUNS_PER_PARTITION_MAX).unwrap();
    for n in 1..=most {
        seal(&mut store, n * 500);
        // A merge begins, and comes no further than the first partition.
        if n == u64::try_from(RUNS_MERGED_AT).unwrap() {
            assert!(store.merge_step().unwrap());
        }
        let figures = store.keys().figures();
        assert!((figures.runs, figures.merged_keys < 20) == (n, true), "{figures:?}");
    }
    while store.merge_step().unwrap() {}
    assert!(store.keys().figures().runs < u64::try_from(RUNS_MERGED_AT).unwrap());
    all_found(&store.keys(), 1);
}

/// A merge of many keys is under way and one of few before it, each through some partitions; how many keys were merged so far.
fn late(shelves: &SimShelves) -> (Store, u64) {
    let mut store = open(shelves, u64::MAX);
    [20_000, 40_000, 60_000, 70_000, 70_100, 70_101].into_iter().for_each(|last| seal(&mut store, last));
    // Of all of them, in the first partition.
    assert!(store.merge_step().unwrap());
    let begun = store.keys().figures().merged_keys;
    assert!((50..1_000).contains(&begun), "{begun}");
    [70_110, 70_120, 70_130, 70_140].into_iter().for_each(|last| seal(&mut store, last));
    assert_eq!(store.keys().figures().runs, 10);
    (0..100).for_each(|_| assert!(store.merge_step().unwrap()));
    (store, begun)
}

#[test]
fn new_runs_are_merged_before_a_merge_of_many_old_keys_goes_on() {
    let (mut store, begun) = late(&SimShelves::new(10));
    let figures = store.keys().figures();
    assert!(figures.merged_keys <= begun + 40, "{figures:?}");
    (0..257).for_each(|_| assert!(store.merge_step().unwrap()));
    let figures = store.keys().figures();
    assert!(figures.runs == 9 && figures.merged_keys > begun + 10_000, "{figures:?}");
    while store.merge_step().unwrap() {}
    assert!(store.keys().figures().runs < 6);
    all_found(&store.keys(), 7);
}

#[test]
fn a_restart_in_the_middle_of_two_merges_loses_no_key() {
    let shelves = SimShelves::new(10);
    let (mut store, _) = late(&shelves);
    commit(&mut store, 70_140);
    drop(store);
    let mut store = open(&shelves, u64::MAX);
    all_found(&store.keys(), 7);
    while store.merge_step().unwrap() {}
    assert!(store.keys().figures().runs < 6);
    all_found(&store.keys(), 7);
}

#[test]
fn a_hundred_seals_write_a_key_five_times_again_at_most_on_average_where_merges_never_have_time_of_their_own() {
    let mut store = open(&SimShelves::new(12), u64::MAX);
    (1..=100).for_each(|n| seal(&mut store, n * 1_000));
    let figures = store.keys().figures();
    assert!(figures.merged_keys <= 5 * 100_000, "{figures:?}");
    all_found(&store.keys(), 7);
}

#[test]
fn a_full_partition_takes_a_seal_behind_the_op_of_a_checkpoint_under_way() {
    for steps in [0, 1, 300] {
        let mut store = open(&SimShelves::new(11), u64::MAX);
        for last in (1..=20).map(|n| n * 100) {
            seal(&mut store, last);
            (0..steps).for_each(|_| _ = store.merge_step().unwrap());
        }
        store.begin(2_000).unwrap();
        for last in (21..=40).map(|n| n * 100) {
            seal(&mut store, last);
        }
        store.commit(Vec::new(), Vec::new(), |_| [0; 32], 0, Vec::new()).unwrap();
        assert!(store.keys().figures().runs <= u64::try_from(RUNS_PER_PARTITION_MAX).unwrap());
        all_found(&store.keys(), 1);
    }
}

#[test]
fn keys_of_equal_prints_are_all_kept_over_blocks_and_merges_and_come_newest_first() {
    let mut store = open(&SimShelves::new(3), u64::MAX);
    let mut all = Vec::new();
    for round in 0..8 {
        let (after, last) = (round * 1_000, round * 1_000 + 1_000);
        let mine: Vec<u64> = (after + 1..=last).filter(|op| op % 3 != 0).collect();
        let others = (after + 1..=last).filter(|op| op % 3 == 0).map(|op| (print(op), op));
        store.seal(after, last, mine.iter().map(|op| (u64::MAX, *op)).chain(others).collect()).unwrap();
        all.extend(mine);
        while store.merge_step().unwrap() {}
    }
    all.reverse();
    assert_eq!(store.keys().candidates(wide(u64::MAX), 0).unwrap(), all);
    all.retain(|op| *op > 4_321);
    assert_eq!(store.keys().candidates(wide(u64::MAX), 4_321).unwrap(), all);
    assert_eq!(store.keys().candidates(wide(print(300)), 0).unwrap(), [300]);
}

#[test]
fn a_partition_of_more_keys_than_one_filter_takes_has_several_and_misses_none() {
    let count = u64::try_from(FILTER_KEYS_MAX).unwrap() + 5_000;
    // All in partition 9, evenly spread, every print twice.
    let spread = |n: u64| (9 << 56) | ((n / 2) * 0x1f_ffff_ffff);
    let shelves = SimShelves::new(4);
    let mut store = open(&shelves, u64::MAX);
    store.seal(0, count, (1..=count).map(|n| (spread(n), n)).collect()).unwrap();
    commit(&mut store, count);
    drop(store);
    let keys = open(&shelves, u64::MAX).keys();
    for n in (2..=count - 2).step_by(1_001).chain([1, count - 1]) {
        let n = n & !1;
        if n > 0 {
            assert_eq!(keys.candidates(wide(spread(n)), 0).unwrap(), [n + 1, n], "{n}");
        }
    }
    let figures = keys.figures();
    assert!(figures.filter_bytes + figures.index_bytes < 3 * count, "{figures:?}");
}

#[test]
fn filters_past_the_bound_leave_memory_oldest_first_and_their_keys_are_still_found() {
    let shelves = SimShelves::new(5);
    let bound = 200_000;
    let mut store = open(&shelves, bound);
    for last in [60_000, 120_000, 121_000] {
        seal(&mut store, last);
    }
    let check = |keys: &Keys| {
        let figures = keys.figures();
        assert!(figures.filter_bytes <= bound && figures.filter_bytes > bound / 2, "{figures:?}");
        all_found(keys, 97);
        // Where the oldest run has no filter it says "may" to all; the newest still knows.
        assert!((1 << 40..).take(1_000).filter(|n| keys.may_hold(wide(print(*n)), 0)).count() > 700);
        assert!((1 << 40..).take(1_000).filter(|n| keys.may_hold(wide(print(*n)), 120_000)).count() < 10);
    };
    check(&store.keys());
    commit(&mut store, 121_000);
    drop(store);
    check(&open(&shelves, bound).keys());
}

#[test]
fn a_view_goes_on_answering_while_its_runs_are_merged_away() {
    let shelves = SimShelves::new(6);
    let mut store = open(&shelves, u64::MAX);
    seal(&mut store, 500);
    commit(&mut store, 500);
    let old = store.keys();
    for last in (2..30).map(|n| n * 500) {
        seal(&mut store, last);
        while store.merge_step().unwrap() {}
        commit(&mut store, last);
    }
    all_found(&old, 1);
    assert_eq!(old.upto(), 500);
    let folders = |shelves: &SimShelves| shelves.list().unwrap().len();
    let before = folders(&shelves);
    drop(old);
    seal(&mut store, 14_600);
    commit(&mut store, 14_600);
    assert!(folders(&shelves) <= before, "the run that only the view held is removed");
    all_found(&store.keys(), 3);
}

#[test]
fn a_merge_that_a_restart_broke_off_is_taken_up_and_loses_no_key() {
    let shelves = SimShelves::new(7);
    let mut last = 0;
    for _ in 0..40 {
        let mut store = open(&shelves, u64::MAX);
        assert_eq!(store.sealed_upto(), last);
        all_found(&store.keys(), 3);
        last += 100;
        seal(&mut store, last);
        (0..100).for_each(|_| _ = store.merge_step().unwrap());
        commit(&mut store, last);
    }
    all_found(&open(&shelves, u64::MAX).keys(), 1);
}

#[test]
fn a_seal_that_does_not_follow_or_holds_strange_ops_is_refused_and_changes_nothing() {
    let mut store = open(&SimShelves::new(8), u64::MAX);
    seal(&mut store, 10);
    let refused =
        |outcome: Result<(), StoreError>| assert!(matches!(outcome, Err(StoreError::Refused(_))), "{outcome:?}");
    refused(store.seal(9, 12, Vec::new()));
    refused(store.seal(11, 12, Vec::new()));
    refused(store.seal(10, 9, Vec::new()));
    refused(store.seal(10, 12, vec![(1, 10)]));
    refused(store.seal(10, 12, vec![(1, 13)]));
    store.begin(15).unwrap();
    refused(store.seal(10, 16, Vec::new()));
    let commit = |store: &mut Store| store.commit(Vec::new(), Vec::new(), |_| [0; 32], 0, Vec::new()).map(|_| ());
    refused(commit(&mut store));
    seal(&mut store, 15);
    seal(&mut store, 16);
    commit(&mut store).unwrap();
    refused(store.begin(14));
    refused(commit(&mut store));
    all_found(&store.keys(), 1);
}
