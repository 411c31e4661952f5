//! How fast the engine takes commands, by which the door foretells how long one who comes now would wait.

/// Time that the mean reaches back over, in microseconds: twice this at most.
const MEMORY_US: u64 = 250_000;
/// Time and requests before which nothing is foretold.
const BUSY_US_MIN: u64 = 100_000;
const REQUESTS_MIN: u32 = 8;
/// What a request counts for at most, the wait for the journal behind it included, and each of its commands beside it: whatever stopped
/// the engine for longer does so no more.
const REQUEST_US_MAX: u64 = 50_000;
const COMMAND_US_MAX: u64 = 100;

/// What the engine needed for commands since it last had none to take.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last request was taken, and its commands.
    last: Option<(u64, u64)>,
    requests: u32,
    busy_us: u64,
    commands: u64,
}

impl Pace {
    /// Notes that a request of so many commands is taken, right behind the one before it. Returns what a command takes, in
    /// nanoseconds; 0 if too little is known. The time is the monotonic clock's in microseconds.
    pub(super) fn took(&mut self, now_us: u64, commands: u64) -> u64 {
        if let Some((from_us, before)) = self.last.replace((now_us, commands)) {
            let most_us = REQUEST_US_MAX.saturating_add(before.saturating_mul(COMMAND_US_MAX));
            self.requests = self.requests.saturating_add(1);
            self.busy_us = self.busy_us.saturating_add(now_us.saturating_sub(from_us).min(most_us));
            self.commands = self.commands.saturating_add(before);
            while self.busy_us >= 2 * MEMORY_US {
                self.busy_us /= 2;
                self.commands /= 2;
            }
        }
        let is_known = self.requests >= REQUESTS_MIN && self.busy_us >= BUSY_US_MIN;
        if is_known { self.busy_us.saturating_mul(1_000) / self.commands.max(1) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last pace of so many requests at equal distances.
    fn run(pace: &mut Pace, now_us: &mut u64, requests: u32, commands: u64, each_us: u64) -> u64 {
        (0..requests).fold(0, |_, _| {
            *now_us += each_us;
            pace.took(*now_us, commands)
        })
    }

    #[test]
    fn the_pace_is_that_of_the_last_half_of_a_second() {
        let (mut pace, mut now_us) = (Pace::default(), 7);
        assert_eq!(run(&mut pace, &mut now_us, 2_000, 1_000, 2_000), 2_000);
        let faster_ns = run(&mut pace, &mut now_us, 40_000, 1_000, 200);
        assert!((200..=202).contains(&faster_ns), "{faster_ns}");
    }

    #[test]
    fn nothing_is_foretold_by_a_few_requests_or_a_few_milliseconds() {
        let (mut pace, mut now_us) = (Pace::default(), 0);
        assert_eq!(run(&mut pace, &mut now_us, 8, 1_000, 90_000), 0, "the eighth is not over");
        assert_eq!(run(&mut pace, &mut now_us, 1, 1_000, 90_000), 90_000);
        let (mut pace, mut now_us) = (Pace::default(), 0);
        assert_eq!(run(&mut pace, &mut now_us, 1_000, 1, 100), 0);
        assert_eq!(run(&mut pace, &mut now_us, 1, 1, 100), 100_000);
    }

    #[test]
    fn a_standstill_is_soon_forgotten() {
        let (mut pace, mut now_us) = (Pace::default(), 0);
        run(&mut pace, &mut now_us, 10_000, 1, 20);
        now_us += 3_600_000_000;
        assert!(pace.took(now_us, 1) < 30_000, "50 ms and not an hour, over ten thousand requests");
        let after_ns = run(&mut pace, &mut now_us, 50_000, 1, 20);
        assert!(after_ns < 22_000, "{after_ns}");
    }
}
