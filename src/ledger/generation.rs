//! Keys and take-backs in memory: the newest generation, and those that are being sealed into runs on disk. What a
//! generation holds of the older ones is the store's to say.

use std::collections::HashMap;
use std::sync::Arc;

use super::ids::Op;
use super::index::{Index, key_bits};
use super::state::Ledger;

/// Keys at which a generation is to be sealed.
pub const KEYS_PER_GENERATION: u64 = 2_800_000;
/// Ops that a generation may span before it is to be sealed; it cannot span twice as many.
pub const OPS_PER_GENERATION: u64 = 1 << 31;

/// The keys of the ops of one span, and which earns refunds of that span took back.
#[derive(Debug)]
pub struct Generation {
    after: Op,
    last: Op,
    keys: Index,
    /// In shards by original, so that growth holds up no more than a shard's share.
    taken: Vec<HashMap<Op, Op>>,
}

/// Shards of the take-backs of a generation.
const TAKEN_SHARDS: u64 = 64;

fn shard_of(original: Op) -> usize {
    usize::try_from(original.0 % TAKEN_SHARDS).unwrap_or(0)
}

impl Generation {
    /// An empty one, whose ops begin behind `after`.
    pub(crate) fn new(after: Op) -> Self {
        Self { after, last: after, keys: Index::new(), taken: (0..TAKEN_SHARDS).map(|_| HashMap::new()).collect() }
    }

    /// The op before its first.
    #[must_use]
    pub fn after(&self) -> Op {
        self.after
    }

    /// Its last op.
    #[must_use]
    pub fn last(&self) -> Op {
        self.last
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.keys.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.len() == 0
    }

    /// Every key, as the bits of its fingerprint that [`key_bits`] keeps, with its op; in no order.
    pub fn keys(&self) -> impl Iterator<Item = (u128, Op)> {
        self.keys.iter().map(|(bits, distance)| (bits, Op(self.after.0.saturating_add(distance.into()))))
    }

    /// Every earn that was taken back, with the latest refund of it in this span; in no order.
    pub fn taken(&self) -> impl Iterator<Item = (Op, Op)> {
        self.taken.iter().flatten().map(|(original, refund)| (*original, *refund))
    }

    fn key(&self, print: u128) -> Option<Op> {
        self.keys.get(print).map(|distance| Op(self.after.0.saturating_add(distance.into())))
    }

    pub(crate) fn remove(&mut self, print: u128) {
        self.keys.remove(print);
    }

    /// Keeps which refund took an earn back; the one before it in this span, if there is one.
    pub(crate) fn take(&mut self, original: Op, refund: Option<Op>) -> Option<Op> {
        let taken = self.taken.get_mut(shard_of(original))?;
        match refund {
            Some(refund) => taken.insert(original, refund),
            None => taken.remove(&original),
        }
    }

    fn refund(&self, original: Op) -> Option<Op> {
        self.taken.get(shard_of(original))?.get(&original).copied()
    }

    /// Roughly its bytes.
    pub(crate) fn bytes(&self) -> usize {
        // A map keeps a byte beside each entry, and is at most seven eighths full.
        let taken = |taken: &HashMap<Op, Op>| taken.capacity() / 7 * 8 * (size_of::<(Op, Op)>() + 1);
        self.keys.bytes() + self.taken.iter().map(taken).sum::<usize>()
    }
}

/// What the runs are asked, where memory has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// Which op took the key with that fingerprint.
    Key(u128),
    /// The latest refund of the earn at that op.
    Taken(Op),
}

/// What the runs answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// That op.
    Taken(Op),
    /// None of the ops in the runs.
    Free,
    /// They were not asked yet.
    Unknown,
}

impl Found {
    fn or(self, lookup: Lookup) -> Result<Option<Op>, Lookup> {
        match self {
            Self::Taken(op) => Ok(Some(op)),
            Self::Free => Ok(None),
            Self::Unknown => Err(lookup),
        }
    }
}

impl Ledger {
    pub(crate) fn touch_key(&self, print: u128) {
        self.in_memory().for_each(|generation| generation.keys.touch(print));
    }

    pub(crate) fn touch_newest(&self, print: u128) {
        self.generation.keys.touch(print);
    }

    fn in_memory(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.generation).chain(self.sealing.iter().rev().map(Arc::as_ref))
    }

    /// The op that took a key, as far as memory reaches back, see [`Self::memory_after`].
    #[must_use]
    pub fn key(&self, print: u128) -> Option<Op> {
        self.in_memory().find_map(|generation| generation.key(print))
    }

    /// The latest refund of an earn, as far as memory reaches back, see [`Self::memory_after`].
    #[must_use]
    pub fn latest_refund(&self, original: Op) -> Option<Op> {
        self.in_memory().find_map(|generation| generation.refund(original))
    }

    /// Keys and refunds of the ops after this one are in memory; 0 where all are. An answer of the runs counts only as
    /// long as it was given by runs that reach at least to this op.
    #[must_use]
    pub fn memory_after(&self) -> Op {
        self.in_memory().last().map_or(Op(0), Generation::after)
    }

    /// The op that took a key: from memory, or else as the runs say.
    ///
    /// # Errors
    /// The look-up, where the runs were not asked yet.
    pub fn find_key(&self, print: u128, runs: &impl Fn(Lookup) -> Found) -> Result<Option<Op>, Lookup> {
        match self.key(print) {
            Some(op) => Ok(Some(op)),
            None if self.memory_after() == Op(0) => Ok(None),
            None => runs(Lookup::Key(print)).or(Lookup::Key(print)),
        }
    }

    /// The latest refund of an earn: from memory, or else as the runs say.
    ///
    /// # Errors
    /// The look-up, where the runs were not asked yet.
    pub fn find_refund(&self, original: Op, runs: &impl Fn(Lookup) -> Found) -> Result<Option<Op>, Lookup> {
        match self.latest_refund(original) {
            Some(op) => Ok(Some(op)),
            // A refund comes after its earn, so that memory holds all refunds of an earn that it holds.
            None if self.memory_after() == Op(0) || original > self.memory_after() => Ok(None),
            None => runs(Lookup::Taken(original)).or(Lookup::Taken(original)),
        }
    }

    /// Whether the newest generation holds so many keys, or as much as it should at most.
    #[must_use]
    pub fn seal_due(&self, keys: u64) -> bool {
        let span = self.newest.0.saturating_sub(self.generation.after.0);
        self.generation.len() >= keys.min(KEYS_PER_GENERATION) || span >= OPS_PER_GENERATION
    }

    /// Closes the newest generation and begins another. It stays in memory until [`Self::drop_sealed`]. `None` where it
    /// is empty, and inside an undo scope, which needs it open.
    pub fn seal(&mut self) -> Option<Arc<Generation>> {
        if self.generation.is_empty() || self.undo.is_some() {
            return None;
        }
        let mut sealed = std::mem::replace(&mut self.generation, Generation::new(self.newest));
        sealed.last = self.newest;
        let sealed = Arc::new(sealed);
        self.sealing.push(Arc::clone(&sealed));
        Some(sealed)
    }

    /// Forgets the sealed generations whose last op is at most `upto`: the runs answer for them now. They are given back,
    /// so that their tables, a hundred MiB and more, can be freed on another thread.
    pub fn drop_sealed(&mut self, upto: Op) -> Vec<Arc<Generation>> {
        let dropped = self.sealing.iter().take_while(|generation| generation.last <= upto).count();
        self.sealing.drain(..dropped).collect()
    }

    /// Gives the newest generation room for keys of a test that counts allocations.
    #[cfg(test)]
    pub(crate) fn make_roomy(&mut self) {
        let mut keys = Index::with_room(1 << 18);
        for (print, value) in self.generation.keys.iter() {
            assert!(keys.insert(print, value));
        }
        self.generation.keys = keys;
    }

    /// Puts an event's key in. Whether an older generation has it was asked when the event was decided, and is asked again
    /// by whoever proves a book: a ledger that is never sealed has one generation.
    pub(crate) fn take_key(&mut self, print: u128, op: Op) -> Result<(), &'static str> {
        let distance = op.0.saturating_sub(self.generation.after.0);
        let distance = u32::try_from(distance).map_err(|_| "the newest generation of keys should have been sealed")?;
        if !self.generation.keys.insert(print, distance) {
            return Err("the event's key was taken by an earlier event");
        }
        self.keys_digest = self.keys_digest.wrapping_add(term(key_bits(print), op));
        Ok(())
    }

    /// Keeps that a refund took an earn back, and which one did before it. Returns what the newest generation knew.
    pub(crate) fn take_refund(
        &mut self,
        original: Op,
        before: Option<Op>,
        refund: Op,
    ) -> Result<Option<Op>, &'static str> {
        let fits = match (self.latest_refund(original), before) {
            (None, Some(before)) => before > original && before <= self.memory_after(),
            (known, before) => known == before,
        };
        if !fits {
            return Err("a refund's link does not lead to the refund before it");
        }
        let old = before.map_or(0, |before| term(original.0.into(), before));
        self.taken_digest = self.taken_digest.wrapping_sub(old).wrapping_add(term(original.0.into(), refund));
        Ok(self.generation.take(original, Some(refund)))
    }
}

/// What an entry adds to a digest: sums of such terms tell two sets apart, whatever the order they were added in.
fn term(bits: u128, op: Op) -> u128 {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bits.to_le_bytes();
    let (low, high) = (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest));
    let first = mix(low ^ mix(op.0 ^ mix(high)));
    let second = mix(high ^ mix(first ^ mix(low ^ op.0.rotate_left(32))));
    (u128::from(first) << 64) | u128::from(second)
}

/// The finalizer of splitmix64: every bit in reaches every bit out.
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::state::Limits;
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(Limits { members_max: 10, cap_counters_max: 10, lots_bytes_max: usize::MAX })
    }

    #[test]
    fn a_generation_is_due_by_its_span_long_before_it_takes_no_more() {
        let mut ledger = ledger();
        ledger.newest = Op(OPS_PER_GENERATION - 1);
        assert!(!ledger.seal_due(KEYS_PER_GENERATION));
        ledger.newest = Op(OPS_PER_GENERATION);
        assert!(ledger.seal_due(KEYS_PER_GENERATION));
        assert_eq!(ledger.take_key(1 << 64, Op(u64::from(u32::MAX))), Ok(()));
        assert_eq!(ledger.key(1 << 64), Some(Op(u64::from(u32::MAX))));
        assert!(ledger.take_key(2 << 64, Op(u64::from(u32::MAX) + 1)).is_err());
        ledger.newest = Op(u64::from(u32::MAX));
        assert!(ledger.seal().is_some());
        assert_eq!(ledger.take_key(2 << 64, Op(u64::from(u32::MAX) + 1)), Ok(()));
        assert!(ledger.take_key(2 << 64, Op(u64::from(u32::MAX) + 2)).is_err());
    }

    #[test]
    fn runs_are_asked_only_for_what_memory_cannot_know() {
        let mut ledger = ledger();
        let never = |_: Lookup| -> Found { panic!("memory has the answer") };
        assert_eq!(ledger.find_key(7, &never), Ok(None));
        assert_eq!(ledger.find_refund(Op(7), &never), Ok(None));
        ledger.take_key(1 << 64, Op(1)).unwrap_or_default();
        ledger.newest = Op(1);
        assert_eq!(ledger.seal().map(|sealed| sealed.len()), Some(1));
        assert!(ledger.seal().is_none(), "an empty generation is not sealed");
        assert_eq!(ledger.find_key(1 << 64, &never), Ok(Some(Op(1))));
        assert_eq!(ledger.find_key(2 << 64, &never), Ok(None));
        assert_eq!(ledger.drop_sealed(Op(0)).len(), 0);
        assert_eq!(ledger.drop_sealed(Op(1)).len(), 1);
        let unknown = |_: Lookup| Found::Unknown;
        assert_eq!(ledger.find_key(2 << 64, &unknown), Err(Lookup::Key(2 << 64)));
        assert_eq!(ledger.find_refund(Op(1), &unknown), Err(Lookup::Taken(Op(1))));
        assert_eq!(ledger.find_refund(Op(2), &never), Ok(None), "a refund comes after its earn");
        assert_eq!(ledger.find_key(2 << 64, &|_| Found::Taken(Op(1))), Ok(Some(Op(1))));
    }

    #[test]
    fn a_refund_links_to_the_one_before_it_as_far_as_memory_reaches() {
        let mut ledger = ledger();
        let print = |op: u64| u128::from(op) << 64;
        for op in 1..=4 {
            assert_eq!(ledger.take_key(print(op), Op(op)), Ok(()));
        }
        assert!(ledger.take_refund(Op(1), Some(Op(2)), Op(3)).is_err(), "there was none before");
        assert_eq!(ledger.take_refund(Op(1), None, Op(3)), Ok(None));
        assert!(ledger.take_refund(Op(1), None, Op(4)).is_err());
        let digest = ledger.taken_digest;
        assert_eq!(ledger.take_refund(Op(1), Some(Op(3)), Op(4)), Ok(Some(Op(3))));
        ledger.newest = Op(4);
        assert!(ledger.seal().is_some());
        ledger.drop_sealed(Op(4));
        assert!(ledger.take_refund(Op(1), Some(Op(5)), Op(6)).is_err(), "memory would hold it");
        assert!(ledger.take_refund(Op(5), Some(Op(4)), Op(6)).is_err(), "a refund from before its earn");
        assert_eq!(ledger.take_refund(Op(1), Some(Op(4)), Op(5)), Ok(None), "which was the last is the event's to say");
        assert_ne!(ledger.taken_digest, digest);
        // The digest is of the latest refund of each earn, whatever came before it.
        let mut short = self::ledger();
        assert_eq!(short.take_refund(Op(1), None, Op(5)), Ok(None));
        assert_eq!(short.taken_digest, ledger.taken_digest);
    }
}
