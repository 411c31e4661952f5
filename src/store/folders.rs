//! The store's folders. Every one is written once, from its creation to its commit, and has a number of its own: nothing
//! that a meta names is ever overwritten, and space comes back by removing folders, not by sled's collection of garbage.

use std::sync::Arc;

use super::StoreError;
use super::shelf::{Shelf, Shelves};

/// The one shelf that lives as long as the store.
pub(crate) const META: &str = "meta";

/// What a numbered folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pages,
    Keys,
}

/// The name of a numbered folder.
pub(crate) fn name(kind: Kind, number: u32) -> String {
    match kind {
        Kind::Pages => format!("pages-{number}"),
        Kind::Keys => format!("keys-{number}"),
    }
}

/// Kind and number of a folder of that name, if the store gives such names.
pub(crate) fn parse(text: &str) -> Option<(Kind, u32)> {
    let number = text.split_once('-')?.1.parse().ok()?;
    let mut kinds = [Kind::Pages, Kind::Keys].into_iter();
    kinds.find(|kind| name(*kind, number) == text).map(|kind| (kind, number))
}

/// Gives out numbers, the same one never twice.
pub(crate) struct Folders {
    pub(crate) shelves: Arc<dyn Shelves>,
    /// The next number; the first is 1.
    pub(crate) next: u32,
}

impl Folders {
    pub(crate) fn create(&mut self, kind: Kind) -> Result<(u32, Arc<dyn Shelf>), StoreError> {
        let number = self.next;
        self.next =
            number.checked_add(1).ok_or_else(|| StoreError::Unusable("the numbers of folders are used up".into()))?;
        Ok((number, self.shelves.open(&name(kind, number))?))
    }

    pub(crate) fn open(&self, kind: Kind, number: u32) -> Result<Arc<dyn Shelf>, StoreError> {
        Ok(self.shelves.open(&name(kind, number))?)
    }

    pub(crate) fn remove(&self, kind: Kind, number: u32) -> Result<(), StoreError> {
        Ok(self.shelves.remove(&name(kind, number))?)
    }
}
