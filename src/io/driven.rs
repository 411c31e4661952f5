//! A wall clock that is moved by hand, so that tests, demonstrations and replays live through years.

use std::sync::atomic::{AtomicI64, Ordering};

use super::{Clock, RealClock};

/// A clock whose wall time stands still until it is driven forward; its monotonic time is the machine's.
pub struct DrivenClock {
    wall_us: AtomicI64,
    machine: RealClock,
}

impl DrivenClock {
    /// A clock that shows `wall_us`, in microseconds since the Unix epoch.
    pub fn new(wall_us: i64) -> Self {
        Self { wall_us: AtomicI64::new(wall_us), machine: RealClock::new() }
    }

    /// Moves the wall time forward to `to_us` and returns what it was before. The time that it shows already is no move.
    ///
    /// # Errors
    /// The time that it shows, where that is later.
    pub fn drive(&self, to_us: i64) -> Result<i64, i64> {
        let before_us = self.wall_us.fetch_max(to_us, Ordering::SeqCst);
        if before_us <= to_us { Ok(before_us) } else { Err(before_us) }
    }
}

impl Clock for DrivenClock {
    fn wall_us(&self) -> i64 {
        self.wall_us.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.machine.monotonic_us()
    }

    fn driven(&self) -> Option<&DrivenClock> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_until_it_is_driven_and_never_goes_back() {
        let clock = DrivenClock::new(100);
        assert_eq!((clock.wall_us(), clock.drive(100), clock.drive(250)), (100, Ok(100), Ok(100)));
        assert_eq!((clock.drive(249), clock.wall_us()), (Err(250), 250));
    }
}
