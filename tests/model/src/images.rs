//! The images of a state, as whoever keeps a capture sees them.

use std::collections::BTreeMap;

use stampbook::ledger::ids::Op;
use stampbook::ledger::{Captured, ImageError, Ledger, PageId, state_hash_of};

use super::{Book, ROOMY};

/// A capture: pages that did not change stay from the captures before.
#[derive(Clone, Debug, Default)]
pub struct Images {
    pub op: Op,
    pub base: Vec<u8>,
    pub pages: BTreeMap<PageId, Vec<u8>>,
}

impl Images {
    /// All of a state at once.
    pub fn whole(ledger: &mut Ledger) -> Self {
        let Captured { op, base, .. } = ledger.begin_capture(true);
        let mut images = Self { op, base, pages: BTreeMap::new() };
        while images.copy(ledger, 3) > 0 {}
        images
    }

    pub fn hash(&self) -> [u8; 32] {
        state_hash_of(self.op, &self.base, self.pages.values().map(|bytes| *blake3::hash(bytes).as_bytes()))
    }

    /// Takes what a capture copied, all of it or up to so many pages at a time.
    pub fn copy(&mut self, ledger: &mut Ledger, pages_max: usize) -> usize {
        let copies = ledger.capture_next(pages_max);
        for copy in &copies {
            let mut bytes = Vec::new();
            copy.encode(&mut bytes);
            self.pages.insert(copy.id(), bytes);
        }
        copies.len()
    }

    /// The state again, of a book's ledger.
    pub fn load(&self, book: &Book) -> Result<Ledger, ImageError> {
        let mut ledger = Ledger::from_base(ROOMY, &self.base)?;
        for (id, bytes) in &self.pages {
            ledger.load_page(*id, bytes, &book.prints)?;
        }
        ledger.finish_load()?;
        Ok(ledger)
    }
}
