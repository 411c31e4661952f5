//! A store that failed while it was in use is marked, since what failed may open again and fail again.

use super::folders::META;
use super::meta;
use super::{Shelves, Store, StoreError};

/// The mark: an empty database of this name.
const MARK: &str = "condemned";

/// Marks the store as not to be believed any more. The next start discards it and makes it anew from the book.
///
/// # Errors
/// [`StoreError::Unusable`] where not even the mark can be made.
pub fn condemn(shelves: &dyn Shelves) -> Result<(), StoreError> {
    Ok(shelves.open(MARK)?.sync()?)
}

/// Whether the store is marked.
///
/// # Errors
/// [`StoreError::Unusable`] where the databases cannot be listed.
pub fn is_condemned(shelves: &dyn Shelves) -> Result<bool, StoreError> {
    Ok(shelves.list()?.iter().any(|name| name == MARK))
}

/// Takes the mark away: the store was discarded.
///
/// # Errors
/// [`StoreError::Unusable`] where it cannot be taken away.
pub fn acquit(shelves: &dyn Shelves) -> Result<(), StoreError> {
    Ok(shelves.remove(MARK)?)
}

/// Whether there is a store that held something, sound or not: one that was just begun has its metas alone.
///
/// # Errors
/// [`StoreError::Unusable`] where the databases cannot be listed.
pub fn is_there(shelves: &dyn Shelves) -> Result<bool, StoreError> {
    Ok(shelves.list()?.iter().any(|name| name != META))
}

impl Store {
    /// The trial balances that are remembered, by op. One that cannot be read is passed over: it only saves a longer look
    /// at the book, and a crash may leave half of one.
    #[must_use]
    pub fn readable_trials(&self) -> Vec<(u64, Vec<u8>)> {
        let Ok(shelf) = self.meta_shelf() else { return Vec::new() };
        let read = |op: &u64| Some((*op, meta::read_trial(&self.envelope, shelf.as_ref(), *op).ok()?));
        self.trials.iter().filter_map(read).collect()
    }
}
