//! The seam to the outside world: one directory of files, and the clocks.
//!
//! Everything above reaches the disk through [`Disk`] and the time through [`Clock`], so that a test can put the
//! simulated ones of [`sim`] in their place, crash them, fail them and turn their clocks.

use std::io;
use std::sync::Arc;

pub mod driven;
pub mod real;
pub mod sim;

pub use driven::DrivenClock;
pub use real::{RealClock, RealDisk};

/// The file of a directory that a lock of it lies on. Whoever holds the lock may remove it.
pub const LOCK_FILE: &str = "LOCK";

/// One flat directory. Names are single path components.
///
/// Nothing is durable before it is synced: bytes and lengths by [`DiskFile::sync_data`], names (of created, renamed and
/// removed files) by [`Disk::sync_dir`].
pub trait Disk: Send + Sync {
    /// Creates an empty file for reading and writing. Fails with `AlreadyExists` if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading only: what a file says is settled by the process that created it.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Renames a file, replacing one of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all changes of names so far durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Takes the directory for one process; `None` if another holds it. Held until the guard is dropped.
    fn try_lock(&self) -> io::Result<Option<DirLock>>;
    /// Whether work may be done ahead on another thread. The simulated disk says no, so that a run can be repeated.
    fn works_ahead(&self) -> bool;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync {
    /// Reads at `offset` and returns the number of bytes read, which is less than asked only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, lengthening the file where needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes all bytes written so far, and the length, durable. After an error nothing is known of what was written
    /// since the last success, whatever a read or a later sync says.
    fn sync_data(&self) -> io::Result<()>;
}

/// Keeps a directory locked for as long as it lives.
pub struct DirLock {
    _held: Box<dyn Send + Sync>,
}

impl DirLock {
    /// A lock released by dropping `held`.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// The two clocks that decisions need.
pub trait Clock: Send + Sync {
    /// Wall clock, in microseconds since the Unix epoch. It may step, either way.
    fn wall_us(&self) -> i64;
    /// Time since an arbitrary start, in microseconds. It never goes back.
    fn monotonic_us(&self) -> u64;
    /// This clock, if its wall time is moved by hand: then no move of it is a fault.
    fn driven(&self) -> Option<&DrivenClock> {
        None
    }
}
