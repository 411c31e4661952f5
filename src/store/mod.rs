//! The store: checkpoints of the state and the sealed keys, in sled, behind a seam.
//!
//! It is a cache of the book and never a witness: it may be deleted at any time, and whatever of it is unsound is
//! discarded whole. It knows nothing of what it holds: pages, waypoints and trial balances are bytes to it, keys are prints
//! and ops.
//!
//! ```text
//! meta        a header; the newest two metas, each naming pages and runs; trial balances
//! pages-<n>   the pages that one checkpoint wrote
//! keys-<n>    the run that one seal or one merge wrote
//! ```
//!
//! Every numbered folder is a database of its own, written once and removed when neither a kept meta nor a reader needs
//! it. Writing a page again in place would leave it to sled to collect the garbage, and what sled collects takes four to
//! five times the space (measured); a folder written once takes 1.8 times.
//!
//! A checkpoint: pages and runs are synced, then the meta. A crash before leaves the meta before, and what it names.

use std::time::Duration;

mod bytes;
mod condemn;
mod filters;
mod folders;
mod keys;
pub mod limits;
mod merge;
mod meta;
mod open;
mod owner;
mod pages;
#[cfg(test)]
mod run_tests;
mod runs;
mod shelf;
pub mod sim;
mod sled;
#[cfg(test)]
mod tests;
mod value;

pub use self::sled::SledShelves;
pub use condemn::{acquit, condemn, is_condemned, is_there};
pub use keys::{KeyFigures, Keys};
pub use meta::Checkpoint;
pub use owner::Store;
pub use pages::{PageKey, Pages};
pub use shelf::{Change, Shelf, ShelfError, Shelves};
pub use value::BookName;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be used any more: something could not be read or written, or is unsound. Whoever owns it goes on from
    /// the book, and discards it.
    #[error("the store is unusable: {0}")]
    Unusable(String),
    /// What was asked makes no sense; nothing has changed.
    #[error("the store refuses: {0}")]
    Refused(String),
}

impl From<ShelfError> for StoreError {
    fn from(error: ShelfError) -> Self {
        let ShelfError::Unusable(text) = error;
        StoreError::Unusable(text)
    }
}

/// How a store is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes of memory that filters over keys may take. Past it the oldest ones are dropped, and look-ups of their range
    /// read the disk.
    pub key_filter_bytes_max: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { key_filter_bytes_max: crate::constants::KEY_FILTER_BYTES_MAX }
    }
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// What was found and discarded, and why; empty if all was sound or nothing was there.
    pub discarded: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

/// What a checkpoint wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Its op.
    pub op: u64,
    /// Pages written.
    pub pages: u64,
    /// Bytes of the images of those.
    pub page_bytes: u64,
    /// Bytes that the kept metas name, keys included.
    pub bytes_named: u64,
    /// Bytes that the store takes on disk.
    pub disk_bytes: u64,
    /// From begin to commit.
    pub duration: Duration,
}

/// Figures for logs and for `stampbook verify`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreFigures {
    /// Bytes on disk of every database, by name.
    pub disk: Vec<(String, u64)>,
    /// Bytes that the kept metas name, what both name counted once.
    pub bytes_named: u64,
    /// The sealed keys.
    pub keys: KeyFigures,
}

impl StoreFigures {
    /// Bytes on disk of all databases.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.disk.iter().map(|(_, bytes)| bytes).sum()
    }
}
