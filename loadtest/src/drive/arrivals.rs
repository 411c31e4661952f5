//! When requests are due: at a constant rate or as a Poisson process, along stretches whose rate stays or goes evenly from one to another.
//! It never depends on what became of a request, so that no delay is handed on to those behind it.
#![allow(clippy::float_arithmetic, reason = "instants of a load that is made up; nothing here enters the books")]

use std::time::Duration;

use clap::ValueEnum;
use rand_distr::{Distribution, Exp1};
use serde::Deserialize;

use crate::rng::Rng;

/// How requests lie within their rate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrivals {
    /// The same time from each to the next.
    #[default]
    Constant,
    /// As of many callers who know nothing of each other: gaps are distributed exponentially.
    Poisson,
}

/// A while with a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// How long it lasts.
    pub(crate) seconds: u64,
    /// Requests a second at its begin, more than 0.
    pub(crate) from_per_s: f64,
    /// Requests a second at its end, more than 0.
    pub(crate) to_per_s: f64,
}

impl Stretch {
    /// `commands` a second, of which a request holds `batch`, with no change in between.
    pub(crate) fn constant(seconds: u64, commands: u32, batch: u16) -> Self {
        let rate = f64::from(commands) / f64::from(batch);
        Self { seconds, from_per_s: rate, to_per_s: rate }
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How many requests are due in it, on average.
    fn requests(&self) -> f64 {
        (self.from_per_s + self.to_per_s) / 2.0 * self.duration().as_secs_f64()
    }

    /// When so many requests are due, on average, from its begin: the inverse of `from t + (to - from) t^2 / 2 seconds`.
    fn when(&self, requests: f64) -> Duration {
        let slope = (self.to_per_s - self.from_per_s) / self.duration().as_secs_f64();
        let root = (self.from_per_s * self.from_per_s + 2.0 * slope * requests).max(0.0).sqrt();
        // At most its whole length, where rounding would leave it.
        Duration::try_from_secs_f64(2.0 * requests / (self.from_per_s + root)).unwrap_or_default().min(self.duration())
    }
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// From the begin of the first stretch.
    pub(crate) at: Duration,
    /// The number of its stretch.
    pub(crate) stretch: usize,
}

/// All requests in the order in which they are due.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    stretches: Vec<Stretch>,
    arrivals: Arrivals,
    rng: Rng,
    stretch: usize,
    /// When the present stretch began.
    begin: Duration,
    /// How many requests are due before the next one, on average, from the begin of the present stretch.
    before: f64,
}

impl Schedule {
    /// `seed` decides the gaps of a Poisson process.
    pub(crate) fn new(stretches: Vec<Stretch>, arrivals: Arrivals, seed: u64) -> Self {
        // Of a lane that no other sequence of the seed has.
        let rng = Rng::new(seed, u64::MAX);
        let mut schedule = Self { stretches, arrivals, rng, stretch: 0, begin: Duration::ZERO, before: 0.0 };
        if arrivals == Arrivals::Poisson {
            schedule.before = schedule.gap();
        }
        schedule
    }

    /// When it is over.
    pub(crate) fn end(&self) -> Duration {
        self.stretches.iter().map(Stretch::duration).sum()
    }

    /// When a stretch begins.
    pub(crate) fn begin(&self, stretch: usize) -> Duration {
        self.stretches.iter().take(stretch).map(Stretch::duration).sum()
    }

    /// From one request to the next, in units of the mean.
    fn gap(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => Exp1.sample(&mut self.rng),
        }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let stretch = self.stretches.get(self.stretch)?;
            let requests = stretch.requests();
            if self.before < requests {
                let due = Due { at: self.begin + stretch.when(self.before), stretch: self.stretch };
                self.before += self.gap();
                return Some(due);
            }
            self.before -= requests;
            self.begin += stretch.duration();
            self.stretch += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(seconds: u64, from_per_s: f64, to_per_s: f64) -> Stretch {
        Stretch { seconds, from_per_s, to_per_s }
    }

    fn schedule(stretches: &[Stretch], arrivals: Arrivals) -> Schedule {
        Schedule::new(stretches.to_vec(), arrivals, 7)
    }

    #[test]
    fn requests_are_due_at_the_rate_however_long_it_lasts() {
        // 7 does not divide a second: an interval that is rounded and added up would drift.
        let due: Vec<_> = schedule(&[Stretch::constant(86_400, 7_000, 1_000)], Arrivals::Constant).collect();
        assert_eq!(due.len(), 7 * 86_400);
        assert_eq!(due.first().map(|due| due.at), Some(Duration::ZERO));
        for (number, due) in due.iter().enumerate().skip(1).step_by(7 * 3_599) {
            let exact = Duration::from_nanos(u64::try_from(number).unwrap_or_default() * 1_000_000_000 / 7);
            assert!(due.at.abs_diff(exact) < Duration::from_micros(1), "{number}: {due:?}");
        }
    }

    #[test]
    fn a_poisson_process_has_the_mean_and_the_variance_that_it_should() {
        let rate = 500.0;
        let due: Vec<_> = schedule(&[ramp(400, rate, rate)], Arrivals::Poisson).map(|due| due.at).collect();
        let gaps: Vec<_> = due.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * rate).collect();
        let count = f64::from(u32::try_from(gaps.len()).unwrap_or_default());
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        // Gaps are exponential: mean and variance are 1. Six standard errors of 200,000 draws.
        assert!((mean - 1.0).abs() < 0.014, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
        // How many fall into a tenth of a second is Poisson: mean and variance are both 50.
        let mut counts = vec![0.0; 4_000];
        for at in &due {
            let tenth = usize::try_from(at.as_millis() / 100).unwrap_or_default();
            counts[tenth] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 4_000.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 4_000.0;
        assert!((mean - 50.0).abs() < 0.7, "{mean}");
        assert!((variance - 50.0).abs() < 7.0, "{variance}");
    }

    #[test]
    fn a_ramp_goes_evenly_from_one_rate_to_the_other() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let stretches = [ramp(10, 100.0, 1_000.0), ramp(10, 1_000.0, 200.0), ramp(5, 200.0, 200.0)];
            let due: Vec<_> = schedule(&stretches, arrivals).collect();
            let within = |from: u64, to: u64| {
                let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
                u32::try_from(due.iter().filter(|due| (from..to).contains(&due.at)).count()).map_or(0.0, f64::from)
            };
            // The mean rate of each while times its length; six times the deviation that a Poisson process has.
            for (from, to, wanted) in
                [(0, 1, 145.0), (9, 10, 955.0), (0, 10, 5_500.0), (10, 15, 4_000.0), (20, 25, 1_000.0), (25, 99, 0.0)]
            {
                let counted = within(from, to);
                assert!((counted - wanted).abs() <= 6.0 * f64::sqrt(wanted), "{from} to {to}: {counted}");
            }
            assert!(due.is_sorted_by_key(|due| due.at));
        }
    }

    #[test]
    fn each_request_is_of_the_stretch_that_it_is_due_in() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let schedule = schedule(&[ramp(3, 50.0, 50.0), ramp(2, 1_000.0, 1_000.0)], arrivals);
            assert_eq!((schedule.begin(1), schedule.end()), (Duration::from_secs(3), Duration::from_secs(5)));
            for due in schedule {
                assert_eq!(due.stretch, usize::from(due.at >= Duration::from_secs(3)), "{due:?}");
                assert!(due.at < Duration::from_secs(5));
            }
        }
    }
}
