//! The store on real sled: within its bound on disk, and never believed when its folder was damaged.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stampbook::store::{BookName, PageKey, SledShelves, Store, StoreError, StoreOptions};

const BOOK: BookName = BookName { book_id: [1; 16], incarnation: 2 };

fn open_as(dir: &Path, book: BookName) -> (Store, Vec<String>) {
    let (store, report) = Store::open(Arc::new(SledShelves::new(dir)), book, StoreOptions::default()).unwrap();
    (store, report.discarded)
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        u64::from_be_bytes(*blake3::hash(&self.0.to_le_bytes()).as_bytes().first_chunk().unwrap())
    }
}

/// A page's image as a checkpoint at `op` left it: bytes that no compression could make small.
fn image(key: PageKey, op: u64) -> Vec<u8> {
    let length = 2_000 + usize::try_from(u64::from(key.number) * 37 % 30 * 1_000).unwrap();
    let mut bytes = vec![0; length];
    let seed = format!("{key:?} {op}");
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn print(op: u64) -> u128 {
    u128::from_be_bytes(*blake3::hash(&op.to_be_bytes()).as_bytes().first_chunk().unwrap())
}

fn seal(store: &mut Store, last: u64) {
    let after = store.sealed_upto();
    let entries = (after + 1..=last).map(|op| (u64::try_from(print(op) >> 64).unwrap(), op));
    store.seal(after, last, entries.collect()).unwrap();
}

/// What each page was when it was last put.
type Model = BTreeMap<PageKey, u64>;

/// A checkpoint at `op` of those of `per_kind` pages of two kinds that `changes` says, and of all if the store wants it.
fn checkpoint(store: &mut Store, model: &mut Model, op: u64, per_kind: u32, mut changes: impl FnMut() -> bool) {
    seal(store, op);
    while store.merge_step().unwrap() {}
    store.begin(op).unwrap();
    let whole = store.wants_whole();
    for key in (0..2).flat_map(|kind| (0..per_kind).map(move |number| PageKey { kind, number })) {
        if changes() || !model.contains_key(&key) {
            model.insert(key, op);
        }
        if whole || model[&key] == op {
            store.put_page(key, &image(key, model[&key])).unwrap();
        }
    }
    store.commit(op.to_be_bytes().to_vec(), Vec::new(), |_| [9; 32], per_kind, vec![1; 300]).unwrap();
}

fn check(store: &mut Store, model: &Model) -> Result<(), StoreError> {
    let mut loaded = Vec::new();
    store.load(&mut |key, bytes| {
        assert!(bytes == image(key, model[&key]), "{key:?}");
        loaded.push(key);
        Ok(())
    })?;
    assert!(loaded.iter().eq(model.keys()));
    let keys = store.keys();
    for op in 1..=keys.upto() {
        assert!(keys.may_hold(print(op), 0));
        assert_eq!(keys.candidates(print(op), 0)?, [op]);
    }
    Ok(())
}

fn blobs(dir: &Path) -> usize {
    let databases = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path().join("blobs"));
    databases.filter(|path| path.exists()).map(|path| fs::read_dir(path).unwrap().count()).sum()
}

#[test]
fn fifty_checkpoints_of_random_pages_stay_within_three_times_of_what_the_metas_name() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open_as(dir.path(), BOOK);
    let (mut model, mut random, mut worst) = (Model::new(), Random(5), 0);
    for round in 1..=50 {
        let one_in = [20, 3, 1, 50, 8][usize::try_from(round / 10).unwrap() % 5];
        checkpoint(&mut store, &mut model, round * 2_000, 600, || random.next() % one_in == 0);
        let figures = store.figures().unwrap();
        let tenths = figures.disk_bytes() * 10 / figures.bytes_named;
        worst = worst.max(tenths);
        println!("round {round}: {tenths} tenths, {} MB, {} folders", figures.disk_bytes() >> 20, figures.disk.len());
        assert!(tenths <= 30, "round {round}: {tenths} tenths, {figures:?}");
        if round % 13 == 0 {
            drop(store);
            let (reopened, discarded) = open_as(dir.path(), BOOK);
            assert_eq!(discarded, [""; 0]);
            store = reopened;
        }
    }
    println!("at worst {worst} tenths of what the metas name");
    check(&mut store, &model).unwrap();
    assert_eq!(blobs(dir.path()), 0);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            _ = fs::copy(entry.path(), to).unwrap()
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    all.sort();
    all
}

/// Stores of three checkpoints each, as they were after each.
struct Fixture {
    dir: tempfile::TempDir,
    models: BTreeMap<u64, Model>,
}

impl Fixture {
    fn new(book: BookName) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open_as(&dir.path().join("store"), book);
        let (mut model, mut models, mut random) = (Model::new(), BTreeMap::new(), Random(u64::from(book.incarnation)));
        for op in [500, 1_000, 1_500] {
            checkpoint(&mut store, &mut model, op, 20, || random.next().is_multiple_of(2));
            models.insert(op, model.clone());
            drop(store);
            copy(&dir.path().join("store"), &dir.path().join(op.to_string()));
            store = open_as(&dir.path().join("store"), book).0;
        }
        Self { dir, models }
    }

    fn after(&self, op: u64) -> PathBuf {
        self.dir.path().join(op.to_string())
    }

    /// Damages a copy of the newest store and opens it: a checkpoint as it was committed comes up, or nothing does, and then
    /// that is said; and the store is of use again.
    fn bears(&self, case: &str, damage: impl FnOnce(&Path)) {
        println!("now {case}");
        let copied = tempfile::tempdir().unwrap();
        copy(&self.after(1_500), copied.path());
        damage(copied.path());
        let (mut store, discarded) = open_as(copied.path(), BOOK);
        let op = store.newest().map(|newest| newest.op);
        assert!(op.is_some() || !discarded.is_empty(), "{case}: emptied in silence");
        let empty = Model::new();
        let model = op.map_or(&empty, |op| &self.models[&op]);
        if let Err(error) = check(&mut store, model) {
            assert!(matches!(error, StoreError::Unusable(_)), "{case}: {error}");
            store.discard().unwrap();
            checkpoint(&mut store, &mut Model::new(), 500, 3, || true);
        }
    }
}

#[test]
fn a_database_that_is_missing_cut_aged_or_of_another_book_is_never_taken_for_the_right_one() {
    let fixture = Fixture::new(BOOK);
    let other = Fixture::new(BookName { incarnation: 3, ..BOOK });
    fixture.bears("nothing", |_| {});
    let newest = fixture.after(1_500);
    for entry in fs::read_dir(&newest).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let replace = |with: PathBuf| {
            let name = name.clone();
            move |dir: &Path| {
                fs::remove_dir_all(dir.join(&name)).unwrap();
                if with.exists() {
                    copy(&with, &dir.join(&name));
                }
            }
        };
        fixture.bears(&format!("{name} missing"), replace(PathBuf::new()));
        for op in [500, 1_000] {
            fixture.bears(&format!("{name} aged"), replace(fixture.after(op).join(&name)));
        }
        fixture.bears(&format!("{name} of another book"), replace(other.after(1_500).join(&name)));
    }
    for path in files(&newest) {
        let path = path.strip_prefix(&newest).unwrap();
        for part in [0, 1, 2, 3] {
            fixture.bears(&format!("{} cut to {part} quarters", path.display()), |dir| {
                let file = fs::OpenOptions::new().write(true).open(dir.join(path)).unwrap();
                file.set_len(file.metadata().unwrap().len() / 4 * part).unwrap();
            });
        }
    }
    assert_eq!(blobs(&newest), 0);
}

#[test]
fn no_flipped_byte_gives_a_wrong_page_or_hides_a_key() {
    let fixture = Fixture::new(BOOK);
    let newest = fixture.after(1_500);
    let mut random = Random(11);
    for path in files(&newest) {
        let length = fs::metadata(&path).unwrap().len();
        let path = path.strip_prefix(&newest).unwrap();
        for _ in 0..if length > 100_000 { 12 } else { 4 } {
            let at = usize::try_from(random.next() % length.max(1)).unwrap();
            fixture.bears(&format!("{}, byte {at} flipped", path.display()), |dir| {
                let mut bytes = fs::read(dir.join(path)).unwrap();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 0x41;
                }
                fs::write(dir.join(path), bytes).unwrap();
            });
        }
    }
}
