//! Random numbers from a seed, the same everywhere.

/// Random numbers from a seed, the same everywhere (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low).unwrap() + 1;
        low + i64::try_from(self.draw() % width).unwrap()
    }

    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: i64) -> bool {
        self.between(0, 999) < per_mille
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let last = i64::try_from(of.len()).unwrap() - 1;
        of[usize::try_from(self.between(0, last)).unwrap()].clone()
    }
}
