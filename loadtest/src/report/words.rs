//! Figures as people read them, and what a run came to in sentences.

use jiff::Timestamp;

use super::folder::{Machine, Phase, Run};
use crate::open;
use crate::tally::grouped;

/// A time of so many microseconds to three digits, in the unit in which it is between 1 and 1,000.
pub(super) fn duration(us: u64) -> String {
    let (unit, name) = match us {
        0..1_000 => return format!("{us} µs"),
        1_000..1_000_000 => (1_000, "ms"),
        _ => (1_000_000, "s"),
    };
    let (divisor, digits) = match us / unit {
        0..10 => (unit / 100, 2),
        10..100 => (unit / 10, 1),
        _ => (unit, 0),
    };
    let rounded = us.saturating_add(divisor / 2) / divisor;
    let figure = match digits {
        0 => grouped(rounded),
        digits => {
            let parts = 10_u64.pow(digits);
            let behind = format!("{:0width$}", rounded % parts, width = usize::try_from(digits).unwrap_or(2));
            format!("{}.{behind}", rounded / parts).trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    };
    format!("{figure} {name}")
}

/// A time of so many microseconds in milliseconds, or of so many milliseconds in seconds.
pub(super) fn milliseconds(us: u64) -> String {
    format!("{}.{:03}", grouped(us / 1_000), us % 1_000)
}

/// A time of so many milliseconds in seconds, as exactly as it is given.
pub(super) fn seconds(ms: u64) -> String {
    let figure = milliseconds(ms);
    if ms.is_multiple_of(1_000) { figure.trim_end_matches(".000").to_owned() } else { figure }
}

/// A whole number that a scale has as a float.
pub(super) fn grouped_float(number: f64) -> String {
    grouped(format!("{number:.0}"))
}

/// All but one in so many, as a share of a hundred.
#[allow(clippy::float_arithmetic, reason = "a label on paper")]
pub(super) fn one_in(number: f64) -> String {
    let share = format!("{:.8}", 100.0 - 100.0 / number);
    format!("{} %", share.trim_end_matches('0').trim_end_matches('.'))
}

/// `this / other` with two digits behind the point, rounded down; a dash where there is nothing to divide by. What is not nothing does not look it.
pub(super) fn ratio(this: u64, other: u64) -> String {
    match (this, other) {
        (_, 0) => "–".to_owned(),
        (1.., _) if this.saturating_mul(100) < other => "< 0.01".to_owned(),
        _ => open::ratio(this, other),
    }
}

/// An instant to the minute.
pub(super) fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A machine in one line.
pub(super) fn machine(machine: &Machine) -> String {
    let Machine { cpus, cpu_model, memory_mib, kernel, os } = machine;
    let gib = format!("{}.{}", memory_mib / 1_024, memory_mib % 1_024 * 10 / 1_024);
    format!("{cpus} CPUs ({cpu_model}), {gib} GiB of memory, {os}, kernel {kernel}")
}

impl Run {
    /// What was run.
    pub(super) fn what(&self) -> String {
        let warm_up = match self.told.warm_up_seconds {
            0 => String::new(),
            seconds => format!(" after {} s of warm-up", grouped(seconds)),
        };
        let phases: Vec<_> = self.told.phases.iter().map(offered).collect();
        format!(
            "{} s of load on {}{warm_up}: {}.",
            grouped(self.told.seconds),
            instant(self.started_at),
            phases.join(", then ")
        )
    }

    /// What came of it, a sentence each.
    pub(super) fn outcome(&self) -> Vec<String> {
        let (total, all) = (self.total(), self.all());
        let busiest = self.seconds.iter().map(|second| second.answered).max().unwrap_or_default();
        let mut said = vec![
            format!(
                "Of {} commands {} were answered: {} a second over the whole run, {} in the busiest second.",
                grouped(total.sent),
                grouped(total.answered),
                grouped(self.answered_per_s()),
                grouped(busiest)
            ),
            format!(
                "Half of the answers came within {}, 99 % within {}, 99.9 % within {}, the last within {}, counted from the moment when \
                 each was due.",
                duration(all.p50_us),
                duration(all.p99_us),
                duration(all.p999_us),
                duration(all.max_us)
            ),
            format!(
                "The longest while without any answer was {}, {} s after the start.",
                duration(self.told.longest_gap_us),
                seconds(self.told.gap_from_ms)
            ),
        ];
        said.push(match (total.refused, total.retried, total.given_up, total.errors) {
            (0, 0, 0, 0) => "The server refused nothing, nothing was given up and nothing failed.".to_owned(),
            (refused, retried, given_up, errors) => format!(
                "Commands refused by the server: {}, each time counted; sent again: {}; given up: {}; failed: {}.",
                count(refused),
                count(retried),
                count(given_up),
                count(errors)
            ),
        });
        said
    }

    /// What a reader must know before trusting the figures.
    pub(super) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if !self.told.kept_schedule {
            doubts.push(format!(
                "The load generator did not keep its schedule: it was late by up to {}, so that less was offered than the plan says.",
                duration(self.told.late_us_max)
            ));
        }
        let total = self.total();
        let unanswered = total.sent.saturating_sub(total.answered);
        // Of a thousand one: so many would change p99.9.
        if unanswered > 0 && unanswered.saturating_mul(1_000) >= total.sent {
            doubts.push(format!(
                "{} of {} commands got no answer: they are in no latency, so that a run that answers fewer may seem faster.",
                grouped(unanswered),
                grouped(total.sent)
            ));
        }
        if self.server.is_none() {
            doubts.push(
                "The run folder has no server.hlog: nothing is known of the server's queue, frames and syncs."
                    .to_owned(),
            );
        }
        doubts
    }
}

/// A count that may be none.
fn count(of: u64) -> String {
    if of == 0 { "none".to_owned() } else { grouped(of) }
}

fn offered(phase: &Phase) -> String {
    let ms = phase.to_ms.saturating_sub(phase.from_ms);
    format!("“{}” {} s with {} commands a second", phase.name, seconds(ms), grouped(phase.offered_per_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_their_unit() {
        let said =
            [0, 999, 1_000, 1_204, 20_000, 41_260, 412_600, 9_999, 1_000_000, 12_340_000, 600_000_000].map(duration);
        let wanted =
            ["0 µs", "999 µs", "1 ms", "1.2 ms", "20 ms", "41.3 ms", "413 ms", "10 ms", "1 s", "12.3 s", "600 s"];
        assert_eq!(said, wanted);
        assert_eq!((milliseconds(1_204_050), milliseconds(7)), ("1,204.050".into(), "0.007".into()));
    }

    #[test]
    fn shares_have_as_many_nines_as_they_need() {
        let said = [1.0, 2.0, 10.0, 50.0, 1_000.0, 1_000_000.0].map(one_in);
        assert_eq!(said, ["0 %", "50 %", "90 %", "98 %", "99.9 %", "99.9999 %"]);
    }

    #[test]
    fn a_ratio_is_of_this_run_to_the_other() {
        assert_eq!([ratio(300, 200), ratio(1, 3), ratio(5, 0), ratio(0, 5)], ["1.50", "0.33", "–", "0.00"]);
        assert_eq!([ratio(1, 100), ratio(1, 101)], ["0.01", "< 0.01"]);
    }
}
