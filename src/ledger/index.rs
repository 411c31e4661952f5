//! Values by 128-bit keyed fingerprint: the ops of keys, the numbers of members. The fingerprint stands for the text it
//! was made from, so a look-up compares no strings. Slots lie in open addressing with linear probing, so that a look-up
//! touches one place in memory, and [`Index::touch`] can bring it near before it is needed: at ten million members the
//! wait for memory is most of what a command costs. In shards, so that growth holds up no more than a shard's share.

use std::hint::black_box;

const SHARDS: u64 = 1024;
/// Slots that a shard begins with; capacities are powers of two.
const SLOTS_MIN: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Slot<V> {
    high: u64,
    low: u64,
    value: Option<V>,
}

/// One table; at most three quarters full.
#[derive(Debug)]
struct Shard<V> {
    slots: Vec<Slot<V>>,
    used: usize,
}

/// Where a probe ended.
enum Place {
    Found(usize),
    Free(usize),
}

impl<V: Copy> Shard<V> {
    fn empty() -> Slot<V> {
        Slot { high: 0, low: 0, value: None }
    }

    fn home(&self, low: u64) -> usize {
        // Capacities are powers of two, so the mask keeps what indexes the table.
        usize::try_from(low).unwrap_or(usize::MAX) & self.slots.len().wrapping_sub(1)
    }

    fn probe(&self, high: u64, low: u64) -> Option<Place> {
        let mut place = self.home(low);
        for _ in 0..self.slots.len() {
            let slot = self.slots.get(place)?;
            if slot.value.is_none() {
                return Some(Place::Free(place));
            }
            if slot.low == low && slot.high == high {
                return Some(Place::Found(place));
            }
            place = self.after(place);
        }
        None
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }

    fn put(&mut self, new: Slot<V>) -> bool {
        if self.used >= self.slots.len() / 4 * 3 {
            self.grow();
        }
        let Some(Place::Free(place)) = self.probe(new.high, new.low) else { return false };
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = new;
            self.used += 1;
        }
        true
    }

    fn grow(&mut self) {
        let capacity = (self.slots.len() * 2).max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![Self::empty(); capacity]);
        for moved in old.into_iter().filter(|slot| slot.value.is_some()) {
            if let Some(Place::Free(place)) = self.probe(moved.high, moved.low)
                && let Some(slot) = self.slots.get_mut(place)
            {
                *slot = moved;
            }
        }
    }

    /// Empties a slot and moves up what had been pushed past it, so that no probe ends early.
    fn take(&mut self, mut hole: usize) {
        self.used -= 1;
        let mut place = hole;
        loop {
            place = self.after(place);
            let Some(slot) = self.slots.get(place).copied().filter(|slot| slot.value.is_some()) else { break };
            let mask = self.slots.len() - 1;
            // It may move if its home does not lie behind the hole.
            let from_home = place.wrapping_sub(self.home(slot.low)) & mask;
            let from_hole = place.wrapping_sub(hole) & mask;
            if from_home >= from_hole
                && let Some(free) = self.slots.get_mut(hole)
            {
                *free = slot;
                hole = place;
            }
        }
        if let Some(slot) = self.slots.get_mut(hole) {
            *slot = Self::empty();
        }
    }
}

/// Values by fingerprint.
#[derive(Debug)]
pub(crate) struct Index<V> {
    shards: Vec<Shard<V>>,
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
        Self { shards: (0..SHARDS).map(|_| Shard { slots: Vec::new(), used: 0 }).collect(), count: 0 }
    }

    pub(crate) fn get(&self, print: u128) -> Option<V> {
        let (high, low) = halves(print);
        let shard = self.shards.get(shard_of(high))?;
        match shard.probe(high, low)? {
            Place::Found(place) => shard.slots.get(place)?.value,
            Place::Free(_) => None,
        }
    }

    /// Loads the place where the fingerprint would be. Loads for several fingerprints, one after another, wait for memory
    /// together; the look-ups after them do not wait.
    pub(crate) fn touch(&self, print: u128) {
        let (high, low) = halves(print);
        if let Some(shard) = self.shards.get(shard_of(high)) {
            black_box(shard.slots.get(shard.home(low)).map(|slot| slot.low));
        }
    }

    /// Puts a value in; `false` where the fingerprint has one already, and nothing changes.
    pub(crate) fn insert(&mut self, print: u128, value: V) -> bool {
        let (high, low) = halves(print);
        let Some(shard) = self.shards.get_mut(shard_of(high)) else { return false };
        let fresh = shard.put(Slot { high, low, value: Some(value) });
        self.count += u64::from(fresh);
        fresh
    }

    pub(crate) fn remove(&mut self, print: u128) {
        let (high, low) = halves(print);
        let Some(shard) = self.shards.get_mut(shard_of(high)) else { return };
        if let Some(Place::Found(place)) = shard.probe(high, low) {
            shard.take(place);
            self.count -= 1;
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, V)> {
        let slots = self.shards.iter().flat_map(|shard| &shard.slots);
        slots.filter_map(|slot| slot.value.map(|value| (slot.high, slot.low, value)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few shards and few homes, so that probes run into one another and around the end of the table.
        #[test]
        fn an_index_answers_as_a_map_does(steps in prop::collection::vec((0_u8..3, 0_u128..40, 0_u128..3), 0..600)) {
            let (mut index, mut map) = (Index::new(), HashMap::new());
            for (value, (step, low, high)) in steps.into_iter().enumerate() {
                // Homes at the end of a table of any size, and clashes of the low half under other high halves.
                let print = (high << 74) | (u128::from(u64::MAX) - (low % 7) - ((low / 7) << 40));
                match step {
                    0 | 1 => {
                        let fresh = !map.contains_key(&print);
                        map.entry(print).or_insert(value);
                        prop_assert_eq!(index.insert(print, value), fresh);
                    }
                    _ => {
                        map.remove(&print);
                        index.remove(print);
                    }
                }
                index.touch(print);
                prop_assert_eq!(index.get(print), map.get(&print).copied());
            }
            prop_assert_eq!(index.len(), u64::try_from(map.len()).unwrap_or(0));
            prop_assert_eq!(index.iter().count(), map.len());
            for (print, value) in map {
                prop_assert_eq!(index.get(print), Some(value));
            }
        }
    }
}
