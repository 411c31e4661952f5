//! The longest while without any answer.

use std::time::Duration;

/// Times are counted from one start, whichever that is; a window has a begin and an end on that scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GapMeter {
    begin: Duration,
    newest: Duration,
    longest: Duration,
    longest_from: Duration,
}

impl GapMeter {
    /// A window begins: what comes without an answer from here on counts.
    pub(crate) fn new(begin: Duration) -> Self {
        Self { begin, newest: begin, longest: Duration::ZERO, longest_from: begin }
    }

    /// An answer came. Callers need not come in the order of their answers.
    pub(crate) fn answered(&mut self, at: Duration) {
        let gap = at.saturating_sub(self.newest);
        if gap > self.longest {
            (self.longest, self.longest_from) = (gap, self.newest);
        }
        self.newest = self.newest.max(at);
    }

    /// The window ends; answers after its end are owed to it and were counted as they came.
    pub(crate) fn finish(mut self, end: Duration) -> Gap {
        self.answered(end);
        Gap { longest: self.longest, from: self.longest_from - self.begin, newest: self.newest - self.begin }
    }
}

/// What a window came to; times from its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The longest while without any answer.
    pub(crate) longest: Duration,
    /// When it began.
    pub(crate) from: Duration,
    /// When the last answer came, or the window ended, whichever was later.
    pub(crate) newest: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn gap(begin: u64, answers: &[u64], end: u64) -> (Duration, Duration) {
        let mut meter = GapMeter::new(ms(begin));
        answers.iter().for_each(|at| meter.answered(ms(*at)));
        let gap = meter.finish(ms(end));
        (gap.longest, gap.from)
    }

    #[test]
    fn the_longest_gap_counts_wherever_it_lies() {
        assert_eq!(gap(100, &[110, 150, 160], 165), (ms(40), ms(10)));
        assert_eq!(gap(100, &[170, 180, 190], 195), (ms(70), ms(0)), "before the first answer");
        assert_eq!(gap(100, &[110, 120], 300), (ms(180), ms(20)), "after the last answer");
        assert_eq!(gap(100, &[], 300), (ms(200), ms(0)), "no answer at all");
    }

    #[test]
    fn answers_before_the_window_and_out_of_order_make_no_gap_longer_or_shorter() {
        assert_eq!(gap(100, &[20, 90, 130, 110, 160], 160), (ms(30), ms(0)));
    }

    #[test]
    fn an_answer_after_the_end_is_waited_for() {
        assert_eq!(gap(0, &[10, 20, 500], 30), (ms(480), ms(20)));
    }
}
