//! When batches are due: a function of their number alone, so that no delay is handed on to the batches behind it.

use std::time::Duration;

/// A constant rate of batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate_per_s: u64,
    batch: u64,
}

impl Schedule {
    /// `rate_per_s` commands a second in batches of `batch`; neither is 0.
    pub(super) fn new(rate_per_s: u64, batch: u16) -> Self {
        Self { rate_per_s: rate_per_s.max(1), batch: u64::from(batch).max(1) }
    }

    /// When a batch is due, from the start. Rounded down from the exact moment, so errors do not add up.
    pub(super) fn due(&self, batch: u64) -> Duration {
        let ns = u128::from(batch) * u128::from(self.batch) * 1_000_000_000 / u128::from(self.rate_per_s);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How many batches are due within a while: the first one is due at once.
    pub(super) fn within(&self, seconds: u64) -> u64 {
        seconds.saturating_mul(self.rate_per_s).div_ceil(self.batch)
    }

    /// Between two batches.
    pub(super) fn spacing(&self) -> Duration {
        self.due(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_due_at_the_rate_however_long_it_lasts() {
        // 7 does not divide a second: an interval that is rounded and added up would drift.
        let schedule = Schedule::new(7_000, 1_000);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(7), Duration::from_secs(1));
        assert_eq!(schedule.due(7 * 86_400 * 365), Duration::from_secs(86_400 * 365));
        assert_eq!(schedule.due(1), Duration::from_nanos(142_857_142));
    }

    #[test]
    fn as_many_batches_are_within_a_while_as_are_due_before_its_end() {
        for (rate, batch, seconds) in [(1_000, 1_000, 1), (999, 1_000, 3), (123_457, 1_000, 7), (210_000, 1_000, 120)] {
            let schedule = Schedule::new(rate, batch);
            let count = schedule.within(seconds);
            let end = Duration::from_secs(seconds);
            assert!(schedule.due(count - 1) < end, "{rate}");
            assert!(schedule.due(count) >= end, "{rate}");
        }
    }
}
