//! The run as it goes, on standard error: a bar with the figures of the last second on a terminal, else a line every few seconds.

use std::io::IsTerminal;

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use super::PhaseTold;
use crate::Failure;
use crate::drive::record::{Counts, Second};
use crate::tally::{grouped, latencies};

/// Between two lines where there is no terminal.
const LINE_SECONDS: u64 = 5;

/// See the module.
pub(crate) struct View {
    bar: Option<ProgressBar>,
    phases: Vec<PhaseTold>,
    retried: u64,
    given_up: u64,
}

impl View {
    /// Of a run with these phases.
    pub(crate) fn new(phases: &[PhaseTold]) -> Result<Self, Failure> {
        let seconds = phases.last().map_or(0, |phase| phase.to_ms / 1_000);
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(seconds));
        if let Some(bar) = &bar {
            bar.set_style(ProgressStyle::with_template("{prefix:>16} {bar:40} {pos}/{len} s\n{msg}")?);
            bar.set_prefix("warming up");
            bar.tick();
        }
        Ok(Self { bar, phases: phases.to_vec(), retried: 0, given_up: 0 })
    }

    /// A second is over.
    pub(crate) fn show(&mut self, second: &Second) -> Result<(), Failure> {
        let mut all = latencies()?;
        for histogram in &second.latencies_us {
            all.add(histogram)?;
        }
        let Counts { retried, given_up, .. } = second.row.counts;
        self.retried += retried;
        self.given_up += given_up;
        let at_ms = second.number * 1_000;
        let phase = self.phases.iter().find(|phase| (phase.from_ms..phase.to_ms).contains(&at_ms));
        let phase = phase.map_or("answers owed", |phase| phase.name.as_str());
        let told = self.told(second, &all);
        match &self.bar {
            Some(bar) => {
                bar.set_position(second.number + 1);
                bar.set_prefix(phase.to_owned());
                bar.set_message(told);
            }
            None if second.number.is_multiple_of(LINE_SECONDS) => eprintln!("{:>5} s {phase}: {told}", second.number),
            None => {}
        }
        Ok(())
    }

    fn told(&self, second: &Second, latencies_us: &Histogram<u64>) -> String {
        let quantile = |quantile| milliseconds(latencies_us.value_at_quantile(quantile));
        let told = [
            format!("offered {}/s, answered {}/s", grouped(second.row.offered), grouped(second.row.counts.answered)),
            format!("p50 {}, p99 {}, max {} ms", quantile(0.5), quantile(0.99), milliseconds(latencies_us.max())),
            format!("{} in flight", grouped(second.row.in_flight)),
            format!("{} retried, {} given up", grouped(self.retried), grouped(self.given_up)),
        ];
        told.join("; ")
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// With two digits behind the point, rounded down.
fn milliseconds(us: u64) -> String {
    format!("{}.{:02}", grouped(us / 1_000), us % 1_000 / 10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::drive::record::Row;

    #[test]
    fn a_second_is_told_with_its_rates_and_latencies_and_what_was_retried_so_far() {
        let mut latencies_us = [latencies().unwrap(), latencies().unwrap()];
        latencies_us[0].record_n(1_000, 98).unwrap();
        latencies_us[1].record_n(2_000, 2).unwrap();
        let counts = Counts { answered: 100, retried: 7, given_up: 2, ..Counts::default() };
        let row = Row { offered: 1_234, counts, in_flight: 5 };
        let second =
            Second { began: std::time::SystemTime::now(), number: 3, row, latencies_us: latencies_us.to_vec() };
        let view = View { bar: None, phases: Vec::new(), retried: 9, given_up: 3 };
        let mut all = latencies_us[0].clone();
        all.add(&latencies_us[1]).unwrap();
        assert_eq!(
            view.told(&second, &all),
            "offered 1,234/s, answered 100/s; p50 1.00, p99 2.00, max 2.00 ms; 5 in flight; 9 retried, 3 given up"
        );
    }
}
