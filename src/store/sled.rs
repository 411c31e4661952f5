//! Shelves in sled, which is held at arm's length: it panics or hangs on what it does not expect, it deadlocks
//! where too much is under way, its `flush` does not
//! reach the device, and its cache keeps to its bound late. All of that is met here and nowhere else. So is the waiting for the
//! device: each batch is written by a thread of its own.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use super::limits::{
    SHELF_TIME_MAX, SLED_CACHE_BYTES, SLED_LEAF_VALUES, SLED_LEAF_VALUES_USUAL, SLED_READ_BYTES_MAX,
    SLED_SEGMENT_BYTES, SLED_STRIDE_BYTES, SYNC_STRIDE_BYTES, VALUE_BYTES_MAX, WRITE_BATCH_BYTES,
};
use super::shelf::{Change, Shelf, ShelfError, Shelves};

/// Between two tries to open a database whose file is still held.
const LOCKED_PAUSE: Duration = Duration::from_millis(10);

/// Held by who lets sled write or closes a database: what sled's threads do for one at a time is what [`SLED_STRIDE_BYTES`] counts, and they
/// are the process's.
static TURN: Mutex<()> = Mutex::new(());

/// A directory of sled databases, one folder each.
pub struct SledShelves {
    dir: PathBuf,
    time_max: Duration,
}

impl SledShelves {
    /// Shelves in `dir`, which is created with the first of them.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self { dir: dir.as_ref().to_path_buf(), time_max: SHELF_TIME_MAX }
    }
}

impl Shelves for SledShelves {
    fn open(&self, name: &str) -> Result<Arc<dyn Shelf>, ShelfError> {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).map_err(|error| unusable(&path, "create the folder", &error))?;
        let db = open_database(&path, self.time_max)?;
        let database = Database::new(path, self.time_max, db);
        Ok(Arc::new(SledShelf::new(database)))
    }

    fn remove(&self, name: &str) -> Result<(), ShelfError> {
        let path = self.dir.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(|error| unusable(&path, "remove the folder", &error))?,
        }
        sync_dir(&self.dir).map_err(|error| unusable(&self.dir, "sync the directory", &error))
    }

    fn list(&self) -> Result<Vec<String>, ShelfError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| unusable(&self.dir, "list", &error))?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        let names: io::Result<Vec<Option<String>>> = names.collect();
        // A name that is not UTF-8 is none of ours.
        Ok(names.map_err(|error| unusable(&self.dir, "list", &error))?.into_iter().flatten().collect())
    }

    fn disk_bytes(&self, name: &str) -> Result<u64, ShelfError> {
        let path = self.dir.join(name);
        match size_of_tree(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            size => size.map_err(|error| unusable(&path, "measure", &error)),
        }
    }
}

/// A sled database, and what is on its way into it by a thread of its own: whoever writes goes on meanwhile.
struct SledShelf {
    database: Arc<Database>,
    way: Arc<(Mutex<Way>, Condvar)>,
}

/// What is on its way into a database.
enum Way {
    Nothing,
    /// A batch, in the order of the keys: readers find in it what the database may not have yet.
    Batch(Arc<Vec<Change>>),
    /// A batch failed. Nothing goes after it, and everyone is told.
    Failed(ShelfError),
}

impl SledShelf {
    fn new(database: Database) -> Self {
        Self { database: Arc::new(database), way: Arc::new((Mutex::new(Way::Nothing), Condvar::new())) }
    }

    /// Waits until nothing is on its way.
    fn settle(&self) -> Result<MutexGuard<'_, Way>, ShelfError> {
        let (way, over) = &*self.way;
        let waited = over.wait_while(held(way), |way| matches!(way, Way::Batch(_)));
        let way = waited.unwrap_or_else(PoisonError::into_inner);
        match &*way {
            Way::Failed(error) => Err(error.clone()),
            _ => Ok(way),
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One sled database. The lock is taken for writing only to open the database anew.
struct Database {
    path: PathBuf,
    time_max: Duration,
    db: RwLock<Option<sled::Db>>,
    /// Bytes of leaves read, and bytes written, since the database was last opened.
    read: AtomicU64,
    /// Bytes written since sled was last waited for.
    under_way: AtomicUsize,
    /// Bytes written since the files were last synced.
    unsynced: AtomicUsize,
    /// Held while files are synced, which the database is not opened anew under: it renames some.
    syncing: Mutex<()>,
    /// Set by the first failure: after a panic inside sled nothing that it says is trusted.
    broken: AtomicBool,
}

impl Database {
    fn new(path: PathBuf, time_max: Duration, db: sled::Db) -> Self {
        Self {
            path,
            time_max,
            db: RwLock::new(Some(db)),
            read: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            unsynced: AtomicUsize::new(0),
            syncing: Mutex::new(()),
            broken: AtomicBool::new(false),
        }
    }

    /// Makes the database unusable from now on, and says why.
    fn fails(&self, what: &str, why: &dyn std::fmt::Display) -> ShelfError {
        self.broken.store(true, Ordering::Release);
        unusable(&self.path, what, why)
    }

    /// Runs `work` on the database; a panic in it, like an error, makes the shelf unusable from then on.
    fn contained<T>(&self, what: &str, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, ShelfError> {
        self.used(what, |db| match catch_unwind(AssertUnwindSafe(|| work(db))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(unusable(&self.path, what, &error)),
            Err(_) => Err(unusable(&self.path, what, &"the database panicked")),
        })
    }

    /// Runs `work`, which waits for threads of sled's, as [`Database::contained`] does, and gives it up where it hangs.
    fn watched(
        &self,
        what: &str,
        work: impl FnOnce(&sled::Db) -> sled::Result<()> + Send + 'static,
    ) -> Result<(), ShelfError> {
        self.used(what, |db| {
            let db = db.clone();
            let done = on_a_thread(&self.path, what, self.time_max, move || work(&db))?;
            done.map_err(|error| unusable(&self.path, what, &error))
        })
    }

    fn used<T>(&self, what: &str, work: impl FnOnce(&sled::Db) -> Result<T, ShelfError>) -> Result<T, ShelfError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(unusable(&self.path, what, &"the database failed before"));
        }
        let held = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = held.as_ref() else {
            return Err(unusable(&self.path, what, &"the database could not be opened anew"));
        };
        work(db).inspect_err(|_| self.broken.store(true, Ordering::Release))
    }

    /// Counts what was read or written, and says whether it is time to let go of sled's cache.
    fn count(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.read.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= SLED_READ_BYTES_MAX
    }

    /// Opens the database anew, which is the one way to make sled let go of its cache. Whoever asks has the [`TURN`].
    fn refresh(&self) -> Result<(), ShelfError> {
        // One that reads does not wait for the device: another time will do.
        let _syncing = match self.syncing.try_lock() {
            Ok(free) => free,
            Err(TryLockError::Poisoned(free)) => free.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let mut held = match self.db.try_write() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        if self.read.swap(0, Ordering::Relaxed) < SLED_READ_BYTES_MAX || self.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        if fs::metadata(self.path.join("db")).is_ok_and(|file| file.len() < SLED_READ_BYTES_MAX) {
            // All of it may stay in memory.
            return Ok(());
        }
        if let Some(db) = held.take() {
            close_database(&self.path, self.time_max, db)
                .inspect_err(|_| self.broken.store(true, Ordering::Release))?;
        }
        *held =
            Some(open_database(&self.path, self.time_max).inspect_err(|_| self.broken.store(true, Ordering::Release))?);
        Ok(())
    }

    /// Makes changes in the order of their keys, and all of them durable where many were made since that was last done: many short waits
    /// for the device hold up the journal's syncs less than a long one.
    fn write(&self, changes: &[Change]) -> Result<(), ShelfError> {
        {
            let _turn = held(&TURN);
            strides(changes, WRITE_BATCH_BYTES).try_for_each(|window| self.write_window(window))?;
            self.flush()?;
        }
        let bytes: usize = changes.iter().map(weight).sum();
        if self.unsynced.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= SYNC_STRIDE_BYTES {
            self.sync_files()?;
        }
        Ok(())
    }

    /// Waits until sled has written what it holds back.
    fn flush(&self) -> Result<(), ShelfError> {
        self.watched("flush", |db| db.flush().map(drop))?;
        self.under_way.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn sync_files(&self) -> Result<(), ShelfError> {
        self.unsynced.store(0, Ordering::Relaxed);
        let _syncing = held(&self.syncing);
        let synced = sync_tree(&self.path).and_then(|()| self.path.parent().map_or(Ok(()), sync_dir));
        // What a failed sync left on the disk is anybody's guess.
        synced.map_err(|error| self.fails("sync", &error))
    }

    /// Writes changes, which are in the order of their keys. A leaf that splits is written whole again, and so is one that was
    /// changed ten times. So the leaves split over the keys alone, and then take the values; and since keys that come in order
    /// fill a leaf with eight values, few are written twice. By a `sled::Batch`, which has no order, twice as much was written.
    fn write_window(&self, window: &[Change]) -> Result<(), ShelfError> {
        if self.count(window.iter().filter_map(|(_, value)| value.as_ref()).map(Vec::len).sum()) {
            self.refresh()?;
        }
        let put = window.iter().filter(|(_, value)| value.is_some());
        let keys: Vec<_> = put.map(|(key, _)| (key.as_slice().into(), Some(sled::IVec::default()))).collect();
        if keys.len() > SLED_LEAF_VALUES {
            self.write_stride(keys, SLED_STRIDE_BYTES)?;
        }
        for stride in strides(window, SLED_STRIDE_BYTES) {
            let owned = stride.iter().map(|(key, value)| {
                let value = value.as_ref().map(|value| value.as_slice().into());
                (key.as_slice().into(), value)
            });
            self.write_stride(owned.collect(), stride.iter().map(weight).sum())?;
        }
        Ok(())
    }

    /// Makes changes of so many bytes; waits before it until sled has written those before: see [`SLED_STRIDE_BYTES`].
    fn write_stride(&self, changes: Vec<(sled::IVec, Option<sled::IVec>)>, bytes: usize) -> Result<(), ShelfError> {
        let waits = self.under_way.load(Ordering::Relaxed).saturating_add(bytes) > SLED_STRIDE_BYTES;
        self.watched("write", move |db| {
            if waits {
                db.flush()?;
            }
            for (key, value) in changes {
                match value {
                    Some(value) => db.insert(key, value)?,
                    None => db.remove(key)?,
                };
            }
            Ok(())
        })?;
        let before = if waits { 0 } else { self.under_way.load(Ordering::Relaxed) };
        self.under_way.store(before.saturating_add(bytes), Ordering::Relaxed);
        Ok(())
    }
}

/// What a change counts for: its bytes; to remove a value takes writing what is beside it again.
fn weight((key, value): &Change) -> usize {
    key.len() + value.as_ref().map_or(VALUE_BYTES_MAX, Vec::len)
}

/// The changes, in parts that end where they reach so many bytes.
fn strides(changes: &[Change], bytes_max: usize) -> impl Iterator<Item = &[Change]> {
    let mut bytes = 0;
    changes.split_inclusive(move |change| {
        bytes += weight(change);
        let ends = bytes >= bytes_max;
        bytes = if ends { 0 } else { bytes };
        ends
    })
}

impl Shelf for SledShelf {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        let batch = match &*held(&self.way.0) {
            Way::Nothing => None,
            Way::Batch(batch) => Some(batch.clone()),
            Way::Failed(error) => return Err(error.clone()),
        };
        if let Some(batch) = batch {
            let upto = batch.partition_point(|(changed, _)| changed.as_slice() <= key);
            if let Some((_, value)) = batch.get(..upto).and_then(<[_]>::last).filter(|(changed, _)| changed == key) {
                return Ok(value.clone());
            }
        }
        let database = &self.database;
        let value = database.contained("read", |db| Ok(db.get(key)?.map(|value| value.to_vec())))?;
        if database.count(SLED_LEAF_VALUES_USUAL * value.as_ref().map_or(0, Vec::len)) {
            // One that reads does not wait for the device: another time will do.
            if let Ok(_turn) = TURN.try_lock() {
                database.refresh()?;
            }
        }
        Ok(value)
    }

    fn write(&self, mut batch: Vec<Change>) -> Result<(), ShelfError> {
        let mut way = self.settle()?;
        let path = &self.database.path;
        if let Some(value) = batch.iter().filter_map(|(_, value)| value.as_ref()).find(|v| v.len() > VALUE_BYTES_MAX) {
            let text = format!("a value of {} bytes is over {VALUE_BYTES_MAX}", value.len());
            return Err(unusable(path, "write", &text));
        }
        // Those of one key stay in the order given.
        batch.sort_by(|(a, _), (b, _)| a.cmp(b));
        let batch = Arc::new(batch);
        let (database, changes, outcome) = (self.database.clone(), batch.clone(), self.way.clone());
        let body = move || {
            let written = catch_unwind(AssertUnwindSafe(|| database.write(&changes)));
            let written = written.unwrap_or_else(|_| Err(database.fails("write", &"the writing thread panicked")));
            // Whoever hears of it may close the database.
            drop(database);
            *held(&outcome.0) = match written {
                Ok(()) => Way::Nothing,
                Err(error) => Way::Failed(error),
            };
            outcome.1.notify_all();
        };
        if let Err(error) = thread::Builder::new().name("store-batch".into()).spawn(body) {
            let error = self.database.fails("write", &error);
            *way = Way::Failed(error.clone());
            return Err(error);
        }
        *way = Way::Batch(batch);
        Ok(())
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ShelfError> {
        drop(self.settle()?);
        let database = &self.database;
        let mut next = from.to_vec();
        loop {
            let paused = database.contained("scan", |db| {
                for entry in db.range(next.as_slice()..to) {
                    let (key, value) = entry?;
                    if !each(&key, &value) {
                        return Ok(None);
                    }
                    if database.count(value.len()) {
                        return Ok(Some(key.to_vec()));
                    }
                }
                Ok(None)
            })?;
            let Some(mut last) = paused else { return Ok(()) };
            {
                let _turn = held(&TURN);
                database.refresh()?;
            }
            // The least key after the last one.
            last.push(0);
            next = last;
        }
    }

    fn sync(&self) -> Result<(), ShelfError> {
        drop(self.settle()?);
        {
            let _turn = held(&TURN);
            self.database.flush()?;
        }
        self.database.sync_files()
    }
}

impl Drop for SledShelf {
    fn drop(&mut self) {
        // Nobody asks any more whether it was written: what was to be kept was synced.
        drop(self.settle());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(db) = self.db.get_mut().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let _turn = held(&TURN);
        if self.broken.load(Ordering::Acquire) {
            // Closing a database that panicked may hang or panic again: it is left alone.
            std::mem::forget(db);
        } else if let Err(error) = close_database(&self.path, self.time_max, db) {
            tracing::warn!(%error, "a database of the store did not close");
        }
    }
}

fn open_database(path: &Path, time_max: Duration) -> Result<sled::Db, ShelfError> {
    let config = sled::Config::new()
        .path(path)
        .segment_size(SLED_SEGMENT_BYTES)
        .cache_capacity(SLED_CACHE_BYTES)
        .flush_every_ms(None);
    let began = Instant::now();
    loop {
        let config = config.clone();
        match on_a_thread(path, "open", time_max, move || config.open())? {
            // A thread of sled's own may hold the file for a moment after the database was closed. No other process does:
            // the lock of the book keeps them out.
            Err(error) if is_locked(&error) && began.elapsed() < time_max => thread::sleep(LOCKED_PAUSE),
            opened => return opened.map_err(|error| unusable(path, "open", &error)),
        }
    }
}

/// Whether a database could not be opened because its file is locked; sled says so in words alone.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

fn close_database(path: &Path, time_max: Duration, db: sled::Db) -> Result<(), ShelfError> {
    let closing = move || match catch_unwind(AssertUnwindSafe(|| db.flush())) {
        Ok(Ok(_)) => {
            drop(db);
            Ok(())
        }
        // To drop it would flush again, and may panic again.
        failed => {
            std::mem::forget(db);
            Err(failed)
        }
    };
    match on_a_thread(path, "close", time_max, closing)? {
        Ok(()) => Ok(()),
        Err(Ok(flushed)) => flushed.map(drop).map_err(|error| unusable(path, "close", &error)),
        Err(Err(_)) => Err(unusable(path, "close", &"the database panicked")),
    }
}

/// Runs `work` on a thread of its own; one that panics or takes too long is given up, and its thread with it.
fn on_a_thread<T: Send + 'static>(
    path: &Path,
    what: &str,
    time_max: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ShelfError> {
    let (done, outcome) = sync_channel(1);
    let body = move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        // Whoever waited may have given up.
        let _ = done.send(result);
    };
    let thread = thread::Builder::new().name(format!("store-{what}")).spawn(body);
    thread.map_err(|error| unusable(path, what, &error))?;
    match outcome.recv_timeout(time_max) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(unusable(path, what, &"the database panicked")),
        Err(RecvTimeoutError::Timeout) => {
            Err(unusable(path, what, &format!("the database hung for {} s", time_max.as_secs())))
        }
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Syncs every file and folder under `dir`, and `dir`.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    sync_dir(dir)
}

fn size_of_tree(dir: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() { size_of_tree(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}

fn unusable(path: &Path, what: &str, why: &dyn std::fmt::Display) -> ShelfError {
    ShelfError::Unusable(format!("{}: cannot {what}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn work_that_panics_or_hangs_is_given_up_and_told_apart() {
        let path = Path::new("here");
        let soon = Duration::from_millis(20);
        assert_eq!(on_a_thread(path, "open", SHELF_TIME_MAX, || 7).unwrap(), 7);
        let panicked =
            on_a_thread(path, "open", SHELF_TIME_MAX, || assert!(path.exists(), "as it should")).unwrap_err();
        assert!(panicked.to_string().contains("panicked"), "{panicked}");
        let (_keep, never) = sync_channel::<()>(0);
        let hung = on_a_thread(path, "open", soon, move || never.recv()).unwrap_err();
        assert!(hung.to_string().contains("hung"), "{hung}");
    }

    #[test]
    fn a_write_that_hangs_fails_and_nothing_is_believed_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let db = open_database(&path, SHELF_TIME_MAX).unwrap();
        let shelf = SledShelf::new(Database::new(path, Duration::from_millis(20), db));
        let (let_go, never) = sync_channel::<()>(0);
        let hung =
            shelf.database.watched("write", move |_| never.recv().map_err(|_| sled::Error::Unsupported(String::new())));
        assert!(hung.unwrap_err().to_string().contains("hung"));
        let after = shelf.get(b"key").unwrap_err();
        assert!(after.to_string().contains("failed before"), "{after}");
        drop(let_go);
    }

    #[test]
    fn who_has_written_sees_it_at_once_and_hears_at_the_next_call_that_it_failed() {
        let dir = tempfile::tempdir().unwrap();
        let batch = |version: u8| (0..200).map(|n| (vec![n], Some(vec![version; VALUE_BYTES_MAX]))).collect::<Vec<_>>();
        let shelf = SledShelves::new(dir.path()).open("a").unwrap();
        for version in 0..5 {
            shelf.write(batch(version)).unwrap();
            assert_eq!(shelf.get(&[199]).unwrap(), Some(vec![version; VALUE_BYTES_MAX]));
        }
        let path = dir.path().join("b");
        let db = open_database(&path, SHELF_TIME_MAX).unwrap();
        let shelf = SledShelf::new(Database::new(path, Duration::ZERO, db));
        shelf.write(batch(1)).unwrap();
        let failed = shelf.sync().unwrap_err();
        assert!(failed.to_string().contains("hung"), "{failed}");
        for after in [shelf.write(batch(2)).unwrap_err(), shelf.sync().unwrap_err(), shelf.get(&[1]).unwrap_err()] {
            assert_eq!(after, failed);
        }
    }

    #[test]
    fn of_a_key_that_is_changed_twice_the_last_change_is_read_while_the_batch_is_on_its_way_and_after_the_shelf_was_dropped()
     {
        let dir = tempfile::tempdir().unwrap();
        let shelves = SledShelves::new(dir.path());
        let shelf = shelves.open("a").unwrap();
        let value = |version: u8| Some(vec![version; VALUE_BYTES_MAX]);
        let mut batch: Vec<Change> = (0..200).map(|n| (vec![n], value(1))).collect();
        batch.extend((0..200).step_by(2).map(|n| (vec![n], value(2))));
        batch.extend((0..200).step_by(4).map(|n| (vec![n], None)));
        shelf.write(batch).unwrap();
        let expected = |n: u8| vec![None, value(1), value(2), value(1)].swap_remove(usize::from(n % 4));
        assert!((0..200).all(|n| shelf.get(&[n]).unwrap() == expected(n)));
        shelf.write(vec![(vec![201], value(3))]).unwrap();
        drop(shelf);
        let shelf = shelves.open("a").unwrap();
        assert!((0..200).all(|n| shelf.get(&[n]).unwrap() == expected(n)));
        assert_eq!((shelf.get(&[200]).unwrap(), shelf.get(&[201]).unwrap()), (None, value(3)));
    }

    #[test]
    fn strides_leave_nothing_out_and_end_where_they_are_long_enough() {
        let value = |bytes: usize| Some(vec![7; bytes]);
        let lengths = |changes: &[Change]| strides(changes, 100).map(<[_]>::len).collect::<Vec<usize>>();
        let changes: Vec<Change> = (0..10).map(|n| (vec![n], value(39))).collect();
        assert_eq!(lengths(&changes), [3, 3, 3, 1]);
        // Removals, and values, that are strides by themselves.
        let mixed = [(vec![1], None), (vec![2], value(9)), (vec![3], None), (vec![4], value(100)), (vec![5], value(1))];
        assert_eq!(lengths(&mixed), [1, 2, 1, 1]);
        assert!(lengths(&[]).is_empty());
    }

    #[test]
    fn a_batch_in_any_order_of_many_strides_is_all_there_and_the_last_change_of_a_key_counts() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = SledShelves::new(dir.path()).open("a").unwrap();
        let key = |n: u32| n.to_be_bytes().to_vec();
        let value = |n: u32, version: u8| [vec![version; 9_000], n.to_le_bytes().to_vec()].concat();
        let scattered = |n: u32| n * 7_919 % 1_000;
        let mut batch: Vec<Change> = (0..1_000).map(|n| (key(scattered(n)), Some(value(scattered(n), 1)))).collect();
        batch.extend((0..1_000).step_by(3).map(|n| (key(n), Some(value(n, 2)))));
        batch.extend((0..1_000).step_by(5).map(|n| (key(n), None)));
        shelf.write(batch).unwrap();
        shelf.sync().unwrap();
        let expected = (0..1_000).filter(|n| n % 5 != 0).map(|n| (key(n), value(n, if n % 3 == 0 { 2 } else { 1 })));
        let mut found = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            true
        };
        shelf.scan(&[0], &[0xff], &mut each).unwrap();
        assert!(found == expected.collect::<Vec<_>>());
    }

    #[test]
    fn about_a_stride_is_under_way_behind_any_write() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_database(dir.path(), SHELF_TIME_MAX).unwrap();
        let shelf = Database::new(dir.path().to_path_buf(), SHELF_TIME_MAX, db);
        let changes: Vec<Change> =
            (0..300_u32).map(|n| (n.to_be_bytes().to_vec(), Some(vec![7; VALUE_BYTES_MAX]))).collect();
        // More than a stride and less than a segment, which sled would not write by itself.
        let (first, more) = changes.split_at(50);
        shelf.write(first).unwrap();
        let db = shelf.db.read().unwrap().clone().unwrap();
        let unwritten = db.flush().unwrap();
        assert!(unwritten < SLED_STRIDE_BYTES, "{unwritten}");
        let in_order = |under_way: &AtomicUsize| {
            assert!(under_way.load(Ordering::Relaxed) <= SLED_STRIDE_BYTES + 2 * VALUE_BYTES_MAX);
        };
        for change in more {
            shelf.write(std::slice::from_ref(change)).unwrap();
            in_order(&shelf.under_way);
        }
        shelf.write(&changes).unwrap();
        in_order(&shelf.under_way);
    }

    #[test]
    fn values_in_the_order_of_their_keys_are_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let shelves = SledShelves::new(dir.path());
        let shelf = shelves.open("a").unwrap();
        let changes: Vec<Change> =
            (0..2_000_u32).map(|n| (n.to_be_bytes().to_vec(), Some(vec![7; VALUE_BYTES_MAX]))).collect();
        changes.chunks(150).for_each(|batch| shelf.write(batch.to_vec()).unwrap());
        shelf.sync().unwrap();
        let given = u64::try_from(2_000 * VALUE_BYTES_MAX).unwrap();
        let taken = shelves.disk_bytes("a").unwrap();
        assert!(taken < given * 5 / 4, "{taken} bytes for {given}");
    }

    #[test]
    fn a_database_whose_file_is_still_held_is_opened_when_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let shelves = SledShelves::new(dir.path());
        drop(shelves.open("a").unwrap());
        let file = File::open(dir.path().join("a/db")).unwrap();
        file.lock().unwrap();
        let opener = thread::spawn(move || shelves.open("a").map(|_| ()));
        // As long as the file is held it cannot have been opened, however late its thread came to it.
        thread::sleep(20 * LOCKED_PAUSE);
        assert!(!opener.is_finished());
        drop(file);
        opener.join().unwrap().unwrap();
    }

    #[test]
    fn a_shelf_gives_back_what_it_was_given_after_more_was_read_than_it_may_cache() {
        let dir = tempfile::tempdir().unwrap();
        let shelves = SledShelves::new(dir.path());
        let shelf = shelves.open("a").unwrap();
        let value = |n: u32| vec![n.to_le_bytes()[0]; VALUE_BYTES_MAX];
        let key = |n: u32| n.to_be_bytes().to_vec();
        let batch: Vec<Change> = (0..5_000).map(|n| (key(n), Some(value(n)))).collect();
        batch.chunks(100).for_each(|batch| shelf.write(batch.to_vec()).unwrap());
        shelf.sync().unwrap();
        // Many times the bound, by scans and by look-ups.
        for _ in 0..3 {
            let mut next = 0;
            let mut each = |found: &[u8], bytes: &[u8]| {
                assert!(found == key(next) && bytes == value(next));
                next += 1;
                true
            };
            shelf.scan(&[0], &[0xff], &mut each).unwrap();
            assert_eq!(next, 5_000);
        }
        for n in (0..5_000).step_by(3) {
            assert_eq!(shelf.get(&key(n)).unwrap(), Some(value(n)));
        }
        assert!(shelf.write(vec![(key(0), Some(vec![0; VALUE_BYTES_MAX + 1]))]).is_err());
        assert_eq!(shelf.get(&key(0)).unwrap(), Some(value(0)));
        assert_eq!(std::fs::read_dir(dir.path().join("a/blobs")).unwrap().count(), 0);
        drop(shelf);
        shelves.remove("a").unwrap();
        assert_eq!((shelves.list().unwrap(), shelves.disk_bytes("a").unwrap()), (Vec::new(), 0));
    }
}
