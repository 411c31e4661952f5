//! How fast the engine takes commands, by which the door foretells how long one who comes now would wait.

/// Time that the mean reaches back over, in microseconds: twice this at most.
const MEMORY_US: u64 = 125_000;
/// What one request counts for at most: whatever stopped the engine for longer does so no more.
const REQUEST_US_MAX: u64 = 50_000;

/// What the engine needed for commands of late while others waited.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When a request was last taken while others waited, and its commands.
    last: Option<(u64, u64)>,
    busy_us: u64,
    commands: u64,
}

impl Pace {
    /// Notes that a request of so many commands is taken; `others` says whether more wait behind it. Returns what a command takes, in
    /// nanoseconds; 0 if nothing is known yet. The time is the monotonic clock's in microseconds.
    pub(super) fn took(&mut self, now_us: u64, commands: u64, others: bool) -> u64 {
        if let Some((from_us, before)) = self.last {
            self.busy_us += now_us.saturating_sub(from_us).min(REQUEST_US_MAX);
            self.commands = self.commands.saturating_add(before);
            if self.busy_us >= 2 * MEMORY_US {
                self.busy_us /= 2;
                self.commands /= 2;
            }
        }
        self.last = others.then_some((now_us, commands));
        self.busy_us.saturating_mul(1_000) / self.commands.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_quarter_of_a_second_and_of_times_when_others_waited() {
        let (mut pace, mut now_us) = (Pace::default(), 7);
        assert_eq!(pace.took(now_us, 1_000, false), 0);
        // Nobody waited: the time until the next one came says nothing.
        now_us += 9_000_000;
        assert_eq!(pace.took(now_us, 1_000, true), 0);
        for _ in 0..2_000 {
            now_us += 2_000;
            assert_eq!(pace.took(now_us, 1_000, true), 2_000);
        }
        // Ten times as fast from now on.
        let mut last_ns = 0;
        for _ in 0..20_000 {
            now_us += 200;
            last_ns = pace.took(now_us, 1_000, true);
        }
        assert!((200..=202).contains(&last_ns), "{last_ns}");
    }

    #[test]
    fn a_standstill_is_soon_forgotten() {
        let (mut pace, mut now_us) = (Pace::default(), 0);
        pace.took(now_us, 1_000, true);
        now_us += 3_600_000_000;
        assert_eq!(pace.took(now_us, 1_000, true), 50_000);
        let mut last_ns = 0;
        for _ in 0..500 {
            now_us += 1_000;
            last_ns = pace.took(now_us, 1_000, true);
        }
        assert!(last_ns < 1_300, "{last_ns}");
    }
}
