//! The book's time. It follows the wall clock and never goes back: while the wall clock is behind, it stands still. A wall
//! clock that runs further ahead than time has passed has leapt, and an expiry that follows it cannot be taken back: from
//! then on nothing is written until an operator confirms the time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::constants::{CLOCK_AHEAD_AT_START_US_MAX, CLOCK_AHEAD_US_MAX};
use crate::io::Clock;
use crate::ledger::command::Leap;

/// What the two clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Microseconds since the Unix epoch.
    pub(crate) wall_us: i64,
    /// Microseconds since an arbitrary start.
    pub(crate) monotonic_us: u64,
}

impl Reading {
    fn of(clock: &dyn Clock) -> Self {
        Self { wall_us: clock.wall_us(), monotonic_us: clock.monotonic_us() }
    }
}

/// The book's time, reckoned from readings.
#[derive(Debug)]
pub(crate) struct BookClock {
    book_us: i64,
    /// The last reading at which the book's time was the wall clock's. The wall clock is held against it and the time that has
    /// passed since: an idle week is none too long, a slow drift never adds up, and a wall clock that was behind for an hour
    /// may take that hour back.
    anchor: Reading,
    leapt: bool,
    /// Whether a leap needs to be confirmed.
    guarded: bool,
}

impl BookClock {
    /// The time of a book whose last frame is of `book_us`. `events` says whether it has any: how long ago a book without was
    /// begun tells nothing of the clock.
    pub(crate) fn new(book_us: i64, events: bool, guarded: bool, now: Reading) -> Self {
        let leapt = guarded && events && now.wall_us.saturating_sub(book_us) > CLOCK_AHEAD_AT_START_US_MAX;
        let wall_us = if leapt { book_us } else { now.wall_us.max(book_us) };
        Self { book_us, anchor: Reading { wall_us, ..now }, leapt, guarded }
    }

    /// The book's time as it was told last.
    pub(crate) fn book_us(&self) -> i64 {
        self.book_us
    }

    /// How far the wall clock is ahead, if it has leapt and nobody has confirmed that.
    pub(crate) fn leap(&self, now: Reading) -> Option<Leap> {
        let passed_us = now.monotonic_us.saturating_sub(self.anchor.monotonic_us);
        let expected_us = self.anchor.wall_us.saturating_add_unsigned(passed_us);
        let ahead_us = now.wall_us.saturating_sub(expected_us);
        let leaps = self.leapt || (self.guarded && ahead_us > CLOCK_AHEAD_US_MAX);
        leaps.then_some(Leap { book_us: self.book_us, clock_us: now.wall_us })
    }

    /// Moves the book's time on.
    ///
    /// # Errors
    /// The leap: the time stays as it is, and from now on every reading is refused until the clock is confirmed.
    pub(crate) fn read(&mut self, now: Reading) -> Result<i64, Leap> {
        if let Some(leap) = self.leap(now) {
            self.leapt = true;
            return Err(leap);
        }
        self.follow(now);
        Ok(self.book_us)
    }

    /// Follows the wall clock again, whose time at `now` was confirmed.
    pub(crate) fn confirm(&mut self, now: Reading) {
        self.leapt = false;
        self.anchor = Reading { wall_us: self.book_us, ..now };
        self.follow(now);
    }

    fn follow(&mut self, now: Reading) {
        if now.wall_us >= self.book_us {
            (self.book_us, self.anchor) = (now.wall_us, now);
        }
    }
}

/// The book's time, for the engine and its readers.
pub(crate) struct SharedClock {
    clock: Arc<dyn Clock>,
    book: Mutex<BookClock>,
}

impl SharedClock {
    /// As [`BookClock::new`]; a driven clock is set to the book's time first, and needs no guard.
    pub(crate) fn new(clock: Arc<dyn Clock>, book_us: i64, events: bool) -> Self {
        if let Some(driven) = clock.driven() {
            // One that is ahead already stays there.
            let _ahead = driven.drive(book_us);
        }
        let now = Reading::of(&*clock);
        let book = BookClock::new(book_us, events, clock.driven().is_none(), now);
        if let Some(leap) = book.leap(now) {
            tell_of(leap);
        }
        Self { clock, book: Mutex::new(book) }
    }

    fn book(&self) -> MutexGuard<'_, BookClock> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The book's time as it was told last.
    pub(crate) fn book_us(&self) -> i64 {
        self.book().book_us()
    }

    /// Reads the clock and moves the book's time on.
    ///
    /// # Errors
    /// A leap that nobody has confirmed.
    pub(crate) fn read(&self) -> Result<i64, Leap> {
        let mut book = self.book();
        let known = book.leapt;
        let read = book.read(Reading::of(&*self.clock));
        if let (Err(leap), false) = (read, known) {
            tell_of(leap);
        }
        read
    }

    /// What has passed by now: nothing is booked before it from now on, unless the wall clock is put back. In a leap that is the
    /// book's time alone.
    pub(crate) fn passed_us(&self) -> i64 {
        let (book, now) = (self.book(), Reading::of(&*self.clock));
        match book.leap(now) {
            Some(leap) => leap.book_us,
            None => now.wall_us.max(book.book_us()),
        }
    }

    /// Ends a leap: the book follows the wall clock, which showed `to_us`.
    pub(crate) fn confirm(&self, to_us: i64) {
        self.book().confirm(Reading { wall_us: to_us, monotonic_us: self.clock.monotonic_us() });
        tracing::warn!(book_time = shown(to_us), "an operator has confirmed the clock; the book follows it again");
    }

    /// Whether a driven clock is ahead of the book's time, which then is to follow at once.
    pub(crate) fn was_driven(&self) -> bool {
        self.clock.driven().is_some_and(|driven| driven.wall_us() > self.book_us())
    }
}

fn tell_of(leap: Leap) {
    tracing::error!(
        book_time = shown(leap.book_us),
        clock = shown(leap.clock_us),
        "the wall clock has leapt ahead of the book; nothing is written until an operator confirms the time: put the clock \
         right if it is wrong, then run `stampbook clock confirm`"
    );
}

/// An instant for people.
fn shown(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| format!("{us} us"), |instant| instant.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const BEGUN_US: i64 = 1_800_000_000_000_000;
    const MINUTE_US: i64 = 60_000_000;
    const HOUR_US: i64 = 60 * MINUTE_US;
    const DAY_US: i64 = 24 * HOUR_US;

    /// A reading `passed_us` after the start, with the wall clock as much after it.
    fn at(passed_us: i64, wall_us: i64) -> Reading {
        Reading { wall_us: BEGUN_US + wall_us, monotonic_us: 7 + passed_us.unsigned_abs() }
    }

    fn started() -> BookClock {
        BookClock::new(BEGUN_US, true, true, at(0, 0))
    }

    fn leap(book_us: i64, clock_us: i64) -> Leap {
        Leap { book_us: BEGUN_US + book_us, clock_us: BEGUN_US + clock_us }
    }

    #[test]
    fn the_book_stands_still_while_the_wall_clock_is_behind_and_never_goes_back() {
        let mut book = started();
        assert_eq!(book.read(at(MINUTE_US, MINUTE_US)), Ok(BEGUN_US + MINUTE_US));
        for behind_us in [MINUTE_US - 1, -DAY_US, 0] {
            assert_eq!(book.read(at(2 * MINUTE_US, behind_us)), Ok(BEGUN_US + MINUTE_US));
        }
        assert_eq!(book.read(at(3 * MINUTE_US, MINUTE_US + 1)), Ok(BEGUN_US + MINUTE_US + 1));
    }

    #[test]
    fn more_than_five_minutes_ahead_of_the_time_that_passed_is_a_leap() {
        let mut book = started();
        let five = 5 * MINUTE_US;
        assert_eq!(book.read(at(HOUR_US, HOUR_US + five)), Ok(BEGUN_US + HOUR_US + five));
        let found = book.read(at(2 * HOUR_US, 2 * HOUR_US + 2 * five + 1));
        assert_eq!(found, Err(leap(HOUR_US + five, 2 * HOUR_US + 2 * five + 1)));
        assert_eq!(book.book_us(), BEGUN_US + HOUR_US + five);
    }

    #[test]
    fn an_idle_week_is_no_leap_and_a_leap_within_it_is_one() {
        let mut book = started();
        assert_eq!(book.read(at(7 * DAY_US, 7 * DAY_US + MINUTE_US)), Ok(BEGUN_US + 7 * DAY_US + MINUTE_US));
        assert!(book.read(at(14 * DAY_US, 14 * DAY_US + HOUR_US)).is_err());
    }

    #[test]
    fn a_slow_drift_never_adds_up_to_a_leap() {
        let mut book = started();
        for hour in 1..=1_000 {
            // A minute in an hour, sixteen hours in all.
            let wall_us = hour * (HOUR_US + MINUTE_US);
            assert_eq!(book.read(at(hour * HOUR_US, wall_us)), Ok(BEGUN_US + wall_us));
        }
    }

    #[test]
    fn a_wall_clock_that_was_behind_for_an_hour_may_take_that_hour_back_and_no_more() {
        let mut book = started();
        for minute in 1..60 {
            assert_eq!(book.read(at(minute * MINUTE_US, minute * MINUTE_US - DAY_US)), Ok(BEGUN_US));
        }
        assert!(book.leap(at(HOUR_US, HOUR_US + 6 * MINUTE_US)).is_some());
        assert_eq!(book.read(at(HOUR_US, HOUR_US)), Ok(BEGUN_US + HOUR_US));
    }

    #[test]
    fn a_leap_holds_until_it_is_confirmed_though_the_clock_be_put_right() {
        let mut book = started();
        assert!(book.read(at(MINUTE_US, DAY_US)).is_err());
        assert_eq!(book.read(at(2 * MINUTE_US, 2 * MINUTE_US)), Err(leap(0, 2 * MINUTE_US)));
        book.confirm(at(3 * MINUTE_US, 3 * MINUTE_US));
        assert_eq!(book.read(at(4 * MINUTE_US, 4 * MINUTE_US)), Ok(BEGUN_US + 4 * MINUTE_US));
        assert!(book.read(at(5 * MINUTE_US, DAY_US)).is_err(), "the next leap is one again");
    }

    #[test]
    fn a_confirmed_leap_is_where_the_book_goes_on() {
        let mut book = started();
        assert!(book.read(at(MINUTE_US, DAY_US)).is_err());
        book.confirm(at(2 * MINUTE_US, DAY_US));
        assert_eq!(book.book_us(), BEGUN_US + DAY_US);
        assert_eq!(book.read(at(2 * MINUTE_US + HOUR_US, DAY_US + HOUR_US)), Ok(BEGUN_US + DAY_US + HOUR_US));
    }

    #[test]
    fn at_a_start_more_than_thirty_days_ahead_of_the_newest_event_is_a_leap() {
        let month = 30 * DAY_US;
        let mut book = BookClock::new(BEGUN_US, true, true, at(0, month));
        assert_eq!(book.read(at(1, month + 1)), Ok(BEGUN_US + month + 1));
        let mut book = BookClock::new(BEGUN_US, true, true, at(0, month + 1));
        assert_eq!(book.read(at(1, month + 2)), Err(leap(0, month + 2)));
        let mut book = BookClock::new(BEGUN_US, false, true, at(0, 1_000 * DAY_US));
        assert!(book.read(at(1, 1_000 * DAY_US)).is_ok(), "a book without events tells nothing of the clock");
    }

    #[test]
    fn a_start_with_the_wall_clock_behind_the_book_waits_for_it() {
        let mut book = BookClock::new(BEGUN_US, true, true, at(0, -HOUR_US));
        assert_eq!(book.read(at(MINUTE_US, MINUTE_US - HOUR_US)), Ok(BEGUN_US));
        assert!(book.read(at(2 * MINUTE_US, HOUR_US)).is_err());
    }

    #[test]
    fn a_clock_that_is_not_guarded_may_go_where_it_will() {
        let mut book = BookClock::new(BEGUN_US, true, false, at(0, 1_000 * DAY_US));
        assert_eq!(book.read(at(1, 1_000 * DAY_US)), Ok(BEGUN_US + 1_000 * DAY_US));
        assert_eq!(book.read(at(2, 2_000 * DAY_US)), Ok(BEGUN_US + 2_000 * DAY_US));
    }
}
