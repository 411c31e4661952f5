//! Numbers by keyed fingerprint: the ops of keys, the numbers of members. The fingerprint stands for the text it was
//! made from, so a look-up compares no strings. A slot keeps 106 of its 128 bits, 10 of them in the choice of the
//! shard: two of a billion texts agree in so many once in 10^14 books, and nobody can aim for it without the book's
//! secret. Slots lie in open addressing with linear probing, so that a look-up touches one place in memory, and
//! [`Index::touch`] can bring it near before it is needed: at ten million members the wait for memory is most of what a
//! command costs. In shards, so that growth holds up no more than a shard's share.

use super::near;

const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 10;
/// The lowest bits of a fingerprint, which no slot keeps. What finds runs of keys on disk uses the upper half alone.
const DROPPED_BITS: u32 = 22;
/// Bits of the upper half that lie in a slot; the others choose the shard.
const HIGH_BITS: u32 = 64 - SHARD_BITS;
/// Slots that a shard begins with; capacities are powers of two.
const SLOTS_MIN: usize = 16;

/// The bits of a fingerprint by which the ledger knows it: the lowest 22 are cleared.
#[must_use]
pub fn key_bits(print: u128) -> u128 {
    print >> DROPPED_BITS << DROPPED_BITS
}

/// A slot of 16 bytes: 96 bits of the fingerprint and a value, 0 where the slot is empty.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The upper half without the shard's bits, and above it the highest bits of the lower half.
    first: u64,
    /// The next 32 bits of the lower half, which also choose the place.
    second: u32,
    value: u32,
}

fn half(print: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = print.to_be_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn word(bits: u64) -> u32 {
    let [.., a, b, c, d] = bits.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The shard of a fingerprint, and its slot without a value.
fn split(print: u128) -> (usize, Slot) {
    let (high, low) = (half(print), half(print << 64));
    let shard = usize::from(u16::try_from(high & ((1 << SHARD_BITS) - 1)).unwrap_or(0));
    let first = (high >> SHARD_BITS) | (low >> HIGH_BITS << HIGH_BITS);
    (shard, Slot { first, second: word(low >> DROPPED_BITS), value: 0 })
}

/// The bits of the fingerprint that a slot of a shard was made from.
fn join(shard: u64, slot: Slot) -> u128 {
    let high = ((slot.first & ((1 << HIGH_BITS) - 1)) << SHARD_BITS) | shard;
    let low = (slot.first >> HIGH_BITS << HIGH_BITS) | (u64::from(slot.second) << DROPPED_BITS);
    (u128::from(high) << 64) | u128::from(low)
}

/// One table; at most three quarters full.
#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    used: usize,
}

/// Where a probe ended.
enum Place {
    Found(usize, u32),
    Free(usize),
}

impl Shard {
    fn home(&self, second: u32) -> usize {
        // Capacities are powers of two, so the mask keeps what indexes the table.
        usize::try_from(second).unwrap_or(usize::MAX) & self.slots.len().wrapping_sub(1)
    }

    fn probe(&self, sought: Slot) -> Option<Place> {
        let mut place = self.home(sought.second);
        for _ in 0..self.slots.len() {
            let slot = self.slots.get(place)?;
            if slot.value == 0 {
                return Some(Place::Free(place));
            }
            if slot.first == sought.first && slot.second == sought.second {
                return Some(Place::Found(place, slot.value));
            }
            place = self.after(place);
        }
        None
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }

    fn put(&mut self, new: Slot) -> bool {
        if self.used >= self.slots.len() / 4 * 3 {
            self.grow((self.slots.len() * 2).max(SLOTS_MIN));
        }
        let Some(Place::Free(place)) = self.probe(new) else { return false };
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = new;
            self.used += 1;
        }
        true
    }

    fn grow(&mut self, capacity: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); capacity]);
        for moved in old.into_iter().filter(|slot| slot.value > 0) {
            if let Some(Place::Free(place)) = self.probe(moved)
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
            let Some(slot) = self.slots.get(place).copied().filter(|slot| slot.value > 0) else { break };
            let mask = self.slots.len() - 1;
            // It may move if its home does not lie behind the hole.
            let from_home = place.wrapping_sub(self.home(slot.second)) & mask;
            let from_hole = place.wrapping_sub(hole) & mask;
            if from_home >= from_hole
                && let Some(free) = self.slots.get_mut(hole)
            {
                *free = slot;
                hole = place;
            }
        }
        if let Some(slot) = self.slots.get_mut(hole) {
            *slot = Slot::default();
        }
    }
}

/// Numbers from 1 by fingerprint.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Vec<Shard>,
    count: u64,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), count: 0 }
    }

    /// An index that takes about `count` fingerprints before it grows.
    pub(crate) fn with_room(count: usize) -> Self {
        let mut index = Self::new();
        let slots = (count / SHARDS / 3 * 4).next_power_of_two();
        if slots > SLOTS_MIN {
            index.shards.iter_mut().for_each(|shard| shard.grow(slots));
        }
        index
    }

    pub(crate) fn get(&self, print: u128) -> Option<u32> {
        let (shard, sought) = split(print);
        match self.shards.get(shard)?.probe(sought)? {
            Place::Found(_, value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// Asks for the place where the fingerprint would be, see [`near::ask`].
    pub(crate) fn touch(&self, print: u128) {
        let (shard, sought) = split(print);
        if let Some(slot) = self.shards.get(shard).and_then(|shard| shard.slots.get(shard.home(sought.second))) {
            near::ask(slot);
        }
    }

    /// Puts a value in, from 1; `false` where the fingerprint has one already or the value is 0, and nothing changes.
    pub(crate) fn insert(&mut self, print: u128, value: u32) -> bool {
        let (shard, slot) = split(print);
        let Some(shard) = self.shards.get_mut(shard).filter(|_| value > 0) else { return false };
        let fresh = shard.put(Slot { value, ..slot });
        self.count += u64::from(fresh);
        fresh
    }

    pub(crate) fn remove(&mut self, print: u128) {
        let (shard, sought) = split(print);
        let Some(shard) = self.shards.get_mut(shard) else { return };
        if let Some(Place::Found(place, _)) = shard.probe(sought) {
            shard.take(place);
            self.count -= 1;
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// Every value with the bits of its fingerprint, see [`key_bits`]; in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, u32)> {
        (0_u64..).zip(&self.shards).flat_map(|(number, shard)| {
            let used = shard.slots.iter().filter(|slot| slot.value > 0);
            used.map(move |slot| (join(number, *slot), slot.value))
        })
    }

    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.slots.capacity() * size_of::<Slot>() + size_of::<Shard>()).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few shards and few homes, so that probes run into one another and around the end of the table.
        #[test]
        fn an_index_answers_as_a_map_does(steps in prop::collection::vec((0_u8..3, 0_u128..40, 0_u128..3), 0..600)) {
            let (mut index, mut map) = (Index::new(), HashMap::new());
            for (value, (step, low, high)) in (1_u32..).zip(steps) {
                // Homes at the end of a table of any size, and clashes of the lower half under other upper halves.
                let print = key_bits((high << 74) | (u128::from(u64::MAX) - ((low % 7) << 22) - ((low / 7) << 56)));
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
            prop_assert_eq!(index.len(), u64::try_from(map.len()).unwrap());
            prop_assert_eq!(&index.iter().collect::<HashMap<_, _>>(), &map);
            for (print, value) in map {
                prop_assert_eq!(index.get(print), Some(value));
            }
        }

        #[test]
        fn a_fingerprint_is_known_by_its_upper_106_bits(print: u128, bit in 0_u32..128, room in 0_usize..100_000) {
            let mut index = Index::with_room(room);
            prop_assert!(index.insert(print, 7));
            prop_assert_eq!(index.get(print ^ (1 << bit)), (bit < 22).then_some(7));
            prop_assert_eq!(index.iter().next(), Some((key_bits(print), 7)));
        }
    }

    #[test]
    fn a_slot_is_sixteen_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }
}
