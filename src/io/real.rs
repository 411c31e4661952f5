//! The real directory and the real clocks.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Clock, DirLock, Disk, DiskFile, LOCK_FILE};

/// Looks at a lock file that others remove and make again meanwhile.
const LOCK_TRIES: usize = 1_000;

/// What the system writes past its cache begins and ends at multiples of this, in the file and in memory.
const DIRECT_BYTES: usize = 4096;
/// Less is written through the cache: the disk then does the write and its sync in one, which a lone caller waits for.
const DIRECT_BYTES_MIN: usize = 64 * 1024;
/// Bytes that are written past the cache at a time.
const STAGE_BYTES: usize = 1024 * 1024;

/// A directory of the file system.
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// Whether a process holds the directory, found out without writing to it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let lock = File::open(self.path(LOCK_FILE));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Opens `dir`, creating it and its missing parents durably.
    pub fn open(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = std::path::absolute(dir.as_ref())?;
        let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if let Some(parent) = path.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Self::open_existing(dir)
    }

    /// Opens `dir` only if it exists, and changes nothing: for offline tools.
    pub fn open_existing(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        if fs::metadata(&dir)?.is_dir() { Ok(Self { dir }) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name))?;
        // A file system that cannot do it, or does not say, is written through its cache.
        let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(self.path(name)).ok();
        Ok(Arc::new(RealFile { file, direct }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile { file: File::open(self.path(name))?, direct: None }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn try_lock(&self) -> io::Result<Option<DirLock>> {
        let path = self.path(LOCK_FILE);
        for _ in 0..LOCK_TRIES {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // A holder that removed the file meanwhile leaves a lock that keeps nobody out.
            let held = file.metadata()?;
            if fs::metadata(&path).is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
                return Ok(Some(DirLock::new(file)));
            }
        }
        Err(io::Error::other("the lock file is another each time it is looked at"))
    }

    fn works_ahead(&self) -> bool {
        true
    }
}

thread_local! {
    /// Where bytes are put that do not lie as the system asks. Of a thread and not of a file, for a book keeps its files open.
    static STAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct RealFile {
    file: File,
    /// The way past the system's cache: pages of a book are written once and seldom read while they are new, so that keeping them
    /// takes more of the processors than writing them.
    direct: Option<File>,
}

/// Writes whole pages past the system's cache.
fn write_direct(file: &File, bytes: &[u8], mut offset: u64) -> io::Result<()> {
    STAGE.with_borrow_mut(|stage| {
        stage.resize(STAGE_BYTES.min(bytes.len()) + DIRECT_BYTES, 0);
        let start = stage.as_ptr().align_offset(DIRECT_BYTES);
        for bytes in bytes.chunks(STAGE_BYTES) {
            let end = start.saturating_add(bytes.len());
            let staged = stage.get_mut(start..end).ok_or(io::ErrorKind::InvalidInput)?;
            staged.copy_from_slice(bytes);
            file.write_all_at(staged, offset)?;
            offset = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    })
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX))) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let whole = |at: u64| at.is_multiple_of(DIRECT_BYTES as u64);
        let direct = self
            .direct
            .as_ref()
            .filter(|_| bytes.len() >= DIRECT_BYTES_MIN && bytes.len().is_multiple_of(DIRECT_BYTES) && whole(offset));
        match direct.map(|direct| write_direct(direct, bytes, offset)) {
            // A file system may take the flag and not the write; nothing is lost by writing it all again.
            None => self.file.write_all_at(bytes, offset),
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => self.file.write_all_at(bytes, offset),
            Some(written) => written,
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The machine's clocks.
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// Clocks whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn wall_us(&self) -> i64 {
        let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        }
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_second_holder_of_the_directory_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = RealDisk::open(dir.path().join("a/b/c")).unwrap();
        let second = RealDisk::open_existing(dir.path().join("a/b/c")).unwrap();
        let held = first.try_lock().unwrap();
        assert!(held.is_some());
        assert!(second.try_lock().unwrap().is_none());
        drop(held);
        assert!(second.try_lock().unwrap().is_some());
    }

    #[test]
    fn there_is_one_holder_at_a_time_although_each_removes_the_file_of_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, holders) = (RealDisk::open(dir.path()).unwrap(), AtomicU32::new(0));
        let take_and_remove = || {
            for _ in 0..2_000 {
                if let Some(_held) = disk.try_lock().unwrap() {
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                    holders.fetch_sub(1, Ordering::SeqCst);
                    disk.remove(LOCK_FILE).unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(take_and_remove);
            }
        });
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_offline_tool_does_not_create_the_directory_that_it_misses() {
        let dir = tempfile::tempdir().unwrap();
        assert!(RealDisk::open_existing(dir.path().join("none")).is_err());
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn what_is_written_past_the_cache_and_through_it_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk::open(dir.path()).unwrap().create("f").unwrap();
        let bytes = |seed: usize, length: usize| -> Vec<u8> {
            (0..length).map(|at| u8::try_from((seed + at * 7 + at / 4096) % 251).unwrap()).collect()
        };
        let mut expected = vec![0; 3 * STAGE_BYTES + 10];
        // Whole pages, more than one stage of them, and none: in part over one another.
        let writes =
            [(0, 3 * STAGE_BYTES), (4096, 4096), (8192, 2 * STAGE_BYTES + 4096), (100, 5), (3 * STAGE_BYTES, 10)];
        for (seed, (offset, length)) in writes.into_iter().enumerate() {
            let written = bytes(seed, length);
            file.write_at(&written, u64::try_from(offset).unwrap()).unwrap();
            expected[offset..offset + length].copy_from_slice(&written);
            let mut read = vec![0; length];
            assert_eq!(file.read_at(&mut read, u64::try_from(offset).unwrap()).unwrap(), length);
            assert!(read == written, "write {seed}");
        }
        file.sync_data().unwrap();
        let mut read = vec![9; expected.len() + 1];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), expected.len());
        assert!(read[..expected.len()] == expected);
    }

    #[test]
    fn a_read_past_the_end_is_short_and_a_created_name_is_not_taken_twice() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let file = disk.create("f").unwrap();
        file.write_at(b"abc", 2).unwrap();
        file.sync_data().unwrap();
        let mut buffer = [9; 8];
        assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 4);
        assert_eq!(&buffer, b"\0abc\x09\x09\x09\x09");
        assert!(disk.create("f").is_err());
        assert_eq!(disk.list().unwrap(), ["f"]);
    }
}
