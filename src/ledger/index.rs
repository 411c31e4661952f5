//! Values by 128-bit keyed fingerprint: the ops of keys, the numbers of members. The fingerprint stands for the text it
//! was made from, so a look-up compares no strings and touches one place in memory. In shards, so that a table that
//! grows holds up no more than its shard's share.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

const SHARDS: u64 = 1024;

#[derive(Clone, Copy, Debug)]
struct Slot<V> {
    high: u64,
    low: u64,
    value: V,
}

/// Values by fingerprint.
#[derive(Debug)]
pub(crate) struct Index<V> {
    shards: Vec<HashTable<Slot<V>>>,
    count: u64,
}

fn halves(print: u128) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = print.to_be_bytes();
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p]))
}

fn shard_of(high: u64) -> usize {
    usize::try_from(high % SHARDS).unwrap_or(0)
}

impl<V: Copy> Index<V> {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect(), count: 0 }
    }

    pub(crate) fn get(&self, print: u128) -> Option<V> {
        let (high, low) = halves(print);
        let shard = self.shards.get(shard_of(high))?;
        shard.find(low, |slot| slot.low == low && slot.high == high).map(|slot| slot.value)
    }

    /// Puts a value in; `false` where the fingerprint has one already, and nothing changes.
    pub(crate) fn insert(&mut self, print: u128, value: V) -> bool {
        let (high, low) = halves(print);
        let Some(shard) = self.shards.get_mut(shard_of(high)) else { return false };
        match shard.entry(low, |slot| slot.low == low && slot.high == high, |slot| slot.low) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(Slot { high, low, value });
                self.count += 1;
                true
            }
        }
    }

    pub(crate) fn remove(&mut self, print: u128) {
        let (high, low) = halves(print);
        let Some(shard) = self.shards.get_mut(shard_of(high)) else { return };
        if let Ok(found) = shard.find_entry(low, |slot| slot.low == low && slot.high == high) {
            found.remove();
            self.count -= 1;
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|slot| (slot.high, slot.low, slot.value)))
    }
}
