//! How the engine slows down for the keeper: the nearer it is to a bound at which it may take nothing new, the longer it rests
//! behind what it took, so that callers wait a little longer and are not refused by the second.

/// A pressure at which nothing new is taken, in thousandths.
pub(super) const FULL: u64 = 1_000;
/// A rest is put off until so much is owed: a shorter sleep lasts longer than it should.
const REST_US_MIN: u64 = 1_000;
/// The longest rest at a time.
const REST_US_MAX: u64 = 50_000;

/// How far something stands from where slowing down begins, to the bound at which nothing new is taken: 0 to [`FULL`].
pub(super) fn pressure(is: u64, slow: u64, bound: u64) -> u64 {
    match (is >= bound, is.checked_sub(slow)) {
        (true, _) => FULL,
        (false, None) => 0,
        (false, Some(beyond)) => {
            let share = u128::from(beyond) * u128::from(FULL) / u128::from((bound - slow).max(1));
            u64::try_from(share).unwrap_or(FULL)
        }
    }
}

/// The rests of the engine.
#[derive(Debug, Default)]
pub(super) struct Restraint {
    owed_us: u64,
    until_us: u64,
}

impl Restraint {
    /// Notes what was taken under a pressure below [`FULL`]: of the time it takes and the rest behind it, the rest has the share that the
    /// pressure says. Times of the monotonic clock in microseconds.
    pub(super) fn took(&mut self, from_us: u64, to_us: u64, pressure: u64) {
        let took_us = to_us.saturating_sub(from_us);
        let rest_us = took_us.saturating_mul(pressure) / FULL.saturating_sub(pressure).max(1);
        self.owed_us = self.owed_us.saturating_add(rest_us);
        if self.owed_us >= REST_US_MIN {
            self.until_us = to_us.saturating_add(self.owed_us.min(REST_US_MAX));
            self.owed_us = 0;
        }
    }

    /// How long the rest still lasts, in microseconds.
    pub(super) fn left_us(&self, now_us: impl Fn() -> u64) -> u64 {
        match self.until_us {
            0 => 0,
            until_us => until_us.saturating_sub(now_us()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_from_where_slowing_down_begins_to_the_bound() {
        assert_eq!(
            [0, 749, 750, 800, 999, 1_000, u64::MAX].map(|is| pressure(is, 750, 1_000)),
            [0, 0, 0, 200, 996, FULL, FULL]
        );
        assert_eq!([0, u64::MAX - 1].map(|is| pressure(is, u64::MAX, u64::MAX)), [0, 0]);
        assert_eq!(pressure(u64::MAX - 1, 0, u64::MAX), 999);
        // Read while the keeper moves both of them.
        assert_eq!([4, 5, 6].map(|is| pressure(is, 9, 5)), [0, FULL, FULL]);
    }

    #[test]
    fn of_the_time_the_rests_have_the_share_that_the_pressure_says() {
        for (pressure, rested) in [(0, 0), (250, 25), (500, 50), (900, 90)] {
            let (mut restraint, mut now_us, mut rests_us) = (Restraint::default(), 5, 0);
            while now_us < 1_000_000 {
                let left_us = restraint.left_us(|| now_us);
                rests_us += left_us;
                now_us += left_us;
                restraint.took(now_us, now_us + 100, pressure);
                now_us += 100;
            }
            assert!((rests_us * 100 / now_us).abs_diff(rested) <= 1, "{pressure}: {rests_us} of {now_us}");
        }
    }

    #[test]
    fn a_rest_is_short_whatever_was_taken() {
        let mut restraint = Restraint::default();
        restraint.took(0, 10_000_000, 999);
        assert_eq!(restraint.left_us(|| 10_000_000), REST_US_MAX);
        assert_eq!(restraint.left_us(|| 10_060_000), 0);
    }
}
