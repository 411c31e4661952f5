//! What remembering keys for ever costs: `cargo bench --bench keys -- 100000000 [keys a seal] [DIR]`, on real sled.
//!
//! Without a number (as `cargo bench` runs it) it takes two million. Every seal is followed by the merges that it caused;
//! every eighth by a checkpoint.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stampbook::store::{BookName, Keys, SledShelves, Store, StoreOptions};

const BOOK: BookName = BookName { book_id: [1; 16], incarnation: 0 };
const ABSENT: u64 = 10_000_000;
const PRESENT: u64 = 20_000;

/// A print that looks random: key `n`'s.
fn print(n: u64) -> u128 {
    // splitmix64
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u128::from(z ^ (z >> 31)) << 64
}

fn entry(n: u64) -> (u64, u64) {
    (u64::try_from(print(n) >> 64).unwrap(), n)
}

/// Megabytes that the process holds: now, and at most.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    (of("VmRSS"), of("VmHWM"))
}

fn open(dir: &Path) -> Store {
    Store::open(Arc::new(SledShelves::new(dir)), BOOK, StoreOptions::default()).unwrap().0
}

fn thousandths(a: u64, b: u64) -> String {
    let value = u128::from(a) * 1_000 / u128::from(b.max(1));
    format!("{}.{:03}", value / 1_000, value % 1_000)
}

fn each(total: Duration, count: u64) -> Duration {
    Duration::from_nanos(u64::try_from(total.as_nanos()).unwrap() / count.max(1))
}

/// Seals `keys` keys with their merges; the greatest memory of filters and indexes over the keys it was for, in bytes.
fn fill(store: &mut Store, keys: u64, per_seal: u64) -> (u64, u64) {
    let (mut sealing, mut merging, mut committing) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut worst, mut longest) = ((0, 1), Duration::ZERO);
    let mut last = 0;
    for round in 1.. {
        let (after, now) = (last, (last + per_seal).min(keys));
        let entries: Vec<(u64, u64)> = (after + 1..=now).map(entry).collect();
        let started = Instant::now();
        store.seal(after, now, entries).unwrap();
        sealing += started.elapsed();
        last = now;
        loop {
            let started = Instant::now();
            if !store.merge_step().unwrap() {
                break;
            }
            merging += started.elapsed();
            longest = longest.max(started.elapsed());
            let figures = store.keys().figures();
            let bytes = figures.filter_bytes + figures.index_bytes;
            if figures.keys >= keys / 10
                && u128::from(bytes) * u128::from(worst.1) > u128::from(worst.0) * u128::from(figures.keys)
            {
                worst = (bytes, figures.keys);
            }
        }
        if round % 8 == 0 || last == keys {
            let started = Instant::now();
            store.begin(last).unwrap();
            store.commit(Vec::new(), Vec::new(), |_| [0; 32], 0, Vec::new()).unwrap();
            committing += started.elapsed();
        }
        if round % 20 == 0 || last == keys {
            let (now, most) = memory();
            println!("{last} keys sealed; process {now} MB, at most {most} MB");
        }
        if last == keys {
            break;
        }
    }
    println!("sealing {sealing:?}, merging {merging:?} (longest step {longest:?}), checkpoints {committing:?}");
    worst
}

fn look_up(keys: &Keys, count: u64) {
    let before = keys.figures();
    let started = Instant::now();
    let may = (0..ABSENT).filter(|n| keys.may_hold(print(count + 1 + n), 0)).count();
    let took = started.elapsed();
    println!("a new key: {:?} in {} filters; {may} of {ABSENT} may be held", each(took, ABSENT), before.runs);
    let mut times = Vec::new();
    for n in 0..PRESENT {
        let key = 1 + u64::try_from(print(n) >> 64).unwrap() % count;
        let started = Instant::now();
        assert_eq!(keys.candidates(print(key), 0).unwrap(), [key]);
        times.push(started.elapsed());
    }
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("a key that is held: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |at: usize, usual: u64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let keys = number(0, 2_000_000);
    let per_seal = number(1, (keys / 100).max(1));
    let dir = arguments
        .get(2)
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("stampbook-keys-{}", std::process::id()));
    let mut store = open(&dir);
    let started = Instant::now();
    let worst = fill(&mut store, keys, per_seal);
    println!("{keys} keys in seals of {per_seal}: {:?}", started.elapsed());
    let figures = store.figures().unwrap();
    let held = figures.keys.filter_bytes + figures.keys.index_bytes;
    println!(
        "memory {} bytes a key, at worst {} (merges included); {} runs at most; stored {} and on disk {} bytes a key; merges wrote {} bytes a key",
        thousandths(held, keys),
        thousandths(worst.0, worst.1),
        figures.keys.runs,
        thousandths(figures.keys.stored_bytes, keys),
        thousandths(figures.disk_bytes(), keys),
        thousandths(figures.keys.merged_bytes, keys),
    );
    look_up(&store.keys(), keys);
    let (now, most) = memory();
    println!("process {now} MB, at most {most} MB");
    drop(store);
    let started = Instant::now();
    let mut store = open(&dir);
    println!("opened again in {:?}", started.elapsed());
    look_up(&store.keys(), keys);
    let (now, most) = memory();
    println!("process {now} MB, at most {most} MB");
    drop(store);
    fs::remove_dir_all(dir).unwrap();
}
