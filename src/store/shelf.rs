//! The seam to the embedded database: ordered maps of bytes, by name, each a database of its own.

use std::sync::Arc;

use super::limits::WRITE_BATCH_BYTES;

/// Why a shelf cannot be used. What it held is lost to the store, and never to the book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShelfError {
    /// It failed, panicked, hung, or was given what it may not hold; the text says which, and of which shelf.
    #[error("{0}")]
    Unusable(String),
}

/// One change: a key, and its new value or `None` to remove it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A directory of shelves.
pub trait Shelves: Send + Sync {
    /// Opens the shelf of that name, creating it if there is none. At most one handle of a name is open at a time.
    fn open(&self, name: &str) -> Result<Arc<dyn Shelf>, ShelfError>;
    /// Removes the shelf of that name with all that it holds, durably; nothing happens if there is none.
    fn remove(&self, name: &str) -> Result<(), ShelfError>;
    /// The names of all shelves, in no particular order.
    fn list(&self) -> Result<Vec<String>, ShelfError>;
    /// Bytes that the shelf of that name takes on disk; 0 if there is none.
    fn disk_bytes(&self, name: &str) -> Result<u64, ShelfError>;
}

/// An open shelf: an ordered map of bytes. Nothing is durable before [`Shelf::sync`].
pub trait Shelf: Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError>;
    /// Makes the changes, those of one key in their order. Readers may see some of them before others;
    /// [`Shelf::get`] sees all of them once this returns. They may still be on their way then: where they fail, the calls after that fail,
    /// [`Shelf::sync`] at the latest.
    fn write(&self, batch: Vec<Change>) -> Result<(), ShelfError>;
    /// Calls `each` with the keys from `from` on and below `to`, in order, until it says `false`.
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ShelfError>;
    /// Makes all changes so far durable, and the shelf's name with them.
    fn sync(&self) -> Result<(), ShelfError>;
}

/// Gathers changes to one shelf and writes them some at a time.
pub(crate) struct Batch {
    shelf: Arc<dyn Shelf>,
    changes: Vec<Change>,
    bytes: usize,
}

impl Batch {
    pub(crate) fn new(shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf, changes: Vec::new(), bytes: 0 }
    }

    /// Adds changes, and returns the bytes of their keys and values.
    pub(crate) fn add(&mut self, changes: Vec<Change>) -> Result<usize, ShelfError> {
        let bytes = changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        self.bytes += bytes;
        self.changes.extend(changes);
        if self.bytes >= WRITE_BATCH_BYTES {
            self.flush()?;
        }
        Ok(bytes)
    }

    /// Writes what has been gathered.
    pub(crate) fn flush(&mut self) -> Result<(), ShelfError> {
        self.bytes = 0;
        match std::mem::take(&mut self.changes) {
            changes if changes.is_empty() => Ok(()),
            changes => self.shelf.write(changes),
        }
    }

    /// Writes what has been gathered and makes all of the shelf durable.
    pub(crate) fn sync(&mut self) -> Result<(), ShelfError> {
        self.flush()?;
        self.shelf.sync()
    }
}
