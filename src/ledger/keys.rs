//! Which op took which idempotency key. In shards, so that a table that grows stops one shard's share of the keys only.

use hashbrown::HashTable;

use super::ids::Op;

const SHARDS: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Entry {
    high: u64,
    low: u64,
    op: Op,
}

/// Fingerprints of keys, each with its op.
#[derive(Debug)]
pub(crate) struct Keys {
    shards: Vec<HashTable<Entry>>,
    count: u64,
}

fn halves(print: u128) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = print.to_be_bytes();
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p]))
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect(), count: 0 }
    }

    fn place(high: u64) -> usize {
        usize::try_from(high % 1024).unwrap_or(0)
    }

    pub(crate) fn get(&self, print: u128) -> Option<Op> {
        let (high, low) = halves(print);
        let shard = self.shards.get(Self::place(high))?;
        shard.find(low, |entry| entry.low == low && entry.high == high).map(|entry| entry.op)
    }

    /// Takes a key; `false` where it is already taken, and nothing changes.
    pub(crate) fn insert(&mut self, print: u128, op: Op) -> bool {
        let (high, low) = halves(print);
        let Some(shard) = self.shards.get_mut(Self::place(high)) else {
            return false;
        };
        let found = shard.entry(low, |entry| entry.low == low && entry.high == high, |entry| entry.low);
        match found {
            hashbrown::hash_table::Entry::Occupied(_) => false,
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(Entry { high, low, op });
                self.count += 1;
                true
            }
        }
    }

    pub(crate) fn remove(&mut self, print: u128) {
        let (high, low) = halves(print);
        let Some(shard) = self.shards.get_mut(Self::place(high)) else {
            return;
        };
        if let Ok(found) = shard.find_entry(low, |entry| entry.low == low && entry.high == high) {
            found.remove();
            self.count -= 1;
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, Op)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|entry| (entry.high, entry.low, entry.op)))
    }
}
