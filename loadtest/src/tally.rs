//! What a run counted, and how it is told.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use stampbook::proto::Outcome;

use crate::Failure;
use crate::drive::record::{Counts, Record};
use crate::wire::Counted;

/// Ten minutes: whatever takes longer is counted as that.
pub(crate) const LATENCY_US_MAX: u64 = 600_000_000;

/// Latencies to three digits, none yet.
pub(crate) fn latencies() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?)
}

/// Counts of one or more callers.
#[derive(Debug)]
pub(crate) struct Tally {
    latencies_us: Histogram<u64>,
    commands: u64,
    rejected: u64,
    replayed: u64,
    refused: u64,
    errors: u64,
    last_error: Option<String>,
}

impl Tally {
    /// Nothing counted yet; latencies are kept to three digits.
    pub(crate) fn new() -> Result<Self, Failure> {
        let latencies_us = latencies()?;
        Ok(Self { latencies_us, commands: 0, rejected: 0, replayed: 0, refused: 0, errors: 0, last_error: None })
    }

    /// What a window of open-loop load counted.
    pub(crate) fn of_record(record: &Record) -> Result<Self, Failure> {
        let Counts { answered, rejected, replayed, conflicts, given_up, errors, .. } = record.total();
        Ok(Self {
            latencies_us: record.latencies_us()?,
            commands: answered,
            rejected,
            replayed,
            refused: 0,
            errors: conflicts + given_up + errors,
            last_error: record.last_error.as_ref().or(record.last_loss.as_ref()).cloned(),
        })
    }

    /// Receipts that came `after` their request was sent.
    pub(crate) fn answered(&mut self, receipts: &[Counted], after: Duration) {
        let count = u64::try_from(receipts.len()).unwrap_or(u64::MAX);
        self.commands += count;
        self.latencies_us.saturating_record_n(microseconds(after), count);
        for receipt in receipts {
            self.replayed += u64::from(receipt.replayed);
            match Outcome::try_from(receipt.outcome) {
                Ok(Outcome::Applied) => {}
                Ok(Outcome::Rejected) => self.rejected += 1,
                other => self.failed(1, || format!("a receipt with outcome {other:?}")),
            }
        }
    }

    /// Commands that got no receipt, or one that is no answer.
    pub(crate) fn failed(&mut self, commands: usize, why: impl FnOnce() -> String) {
        self.errors += u64::try_from(commands).unwrap_or(u64::MAX);
        self.last_error = Some(why());
    }

    /// Commands that the server took for too many for now: nothing is wrong, and nothing of them was done.
    pub(crate) fn refused(&mut self, commands: usize) {
        self.refused += u64::try_from(commands).unwrap_or(u64::MAX);
    }

    /// Adds what another caller counted.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), Failure> {
        self.latencies_us.add(&other.latencies_us)?;
        self.commands += other.commands;
        self.rejected += other.rejected;
        self.replayed += other.replayed;
        self.refused += other.refused;
        self.errors += other.errors;
        self.last_error = other.last_error.clone().or(self.last_error.take());
        Ok(())
    }

    /// How many receipts were counted.
    pub(crate) fn commands(&self) -> u64 {
        self.commands
    }

    /// The end of a run that took `elapsed`.
    pub(crate) fn summary(&self, elapsed: Duration) -> Summary {
        Summary {
            commands: self.commands,
            rate_per_s: rate_per_s(self.commands, elapsed),
            p50_us: self.latencies_us.value_at_quantile(0.5),
            p99_us: self.latencies_us.value_at_quantile(0.99),
            p999_us: self.latencies_us.value_at_quantile(0.999),
            max_us: self.latencies_us.max(),
            errors: self.errors,
            rejected: self.rejected,
            replayed: self.replayed,
            refused: self.refused,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            last_error: self.last_error.clone(),
        }
    }
}

/// The result of `run` and `echo`. Latencies are those of the request or message that carried the command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) commands: u64,
    pub(crate) rate_per_s: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    p999_us: u64,
    pub(crate) max_us: u64,
    errors: u64,
    rejected: u64,
    replayed: u64,
    pub(crate) refused: u64,
    elapsed_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl Summary {
    /// An error where commands got no answer, or all were refused.
    pub(crate) fn complaint(&self) -> Result<(), Failure> {
        match &self.last_error {
            Some(why) => Err(format!("{} commands got no answer: {why}", self.errors).into()),
            None if self.commands == 0 && self.refused > 0 => {
                Err(format!("all {} commands were refused for the time being", self.refused).into())
            }
            None => Ok(()),
        }
    }

    /// How long it took.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms)
    }

    /// One line of JSON, or a table for people.
    pub(crate) fn print(&self, title: &str, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("{title}");
        println!(
            "  {} commands in {}.{:03} s",
            grouped(self.commands),
            self.elapsed_ms / 1_000,
            self.elapsed_ms % 1_000
        );
        println!("  {} commands/s", grouped(self.rate_per_s));
        println!("  {}", self.latencies());
        println!("  {}", self.outcomes());
        if let Some(error) = &self.last_error {
            println!("  the last error: {error}");
        }
        Ok(())
    }

    /// What became of the commands, in one line.
    pub(crate) fn outcomes(&self) -> String {
        let Self { rejected, replayed, refused, errors, .. } = self;
        format!("{rejected} rejected, {replayed} replayed, {refused} refused for the time being, {errors} errors")
    }

    /// The quantiles in one line.
    pub(crate) fn latencies(&self) -> String {
        format!("p50 {} us, p99 {} us, p99.9 {} us, max {} us", self.p50_us, self.p99_us, self.p999_us, self.max_us)
    }
}

/// Whole microseconds.
pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Events per second, rounded down.
pub(crate) fn rate_per_s(events: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(events) * 1_000_000 / elapsed.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// With commas between thousands.
pub(crate) fn grouped(number: impl ToString) -> String {
    let digits = number.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_latencies_counted() {
        let mut tally = Tally::new().unwrap();
        let receipt = Counted { outcome: Outcome::Applied.into(), replayed: false };
        tally.answered(&[receipt; 60], Duration::from_millis(8));
        tally.answered(&[receipt; 40], Duration::from_millis(500));
        let summary = tally.summary(Duration::from_millis(50));
        assert_eq!((summary.commands, summary.rate_per_s, summary.errors), (100, 2_000, 0));
        assert_eq!((summary.p50_us / 100, summary.p99_us / 1_000, summary.max_us / 1_000), (80, 500, 500));
    }

    #[test]
    fn what_is_refused_for_the_time_being_is_told_and_no_complaint() {
        let (mut tally, mut other) = (Tally::new().unwrap(), Tally::new().unwrap());
        tally.refused(3);
        other.refused(4);
        tally.add(&other).unwrap();
        assert!(tally.summary(Duration::from_secs(1)).complaint().is_err(), "nothing else was answered");
        tally.answered(&[Counted { outcome: Outcome::Applied.into(), replayed: false }], Duration::from_millis(1));
        let summary = tally.summary(Duration::from_secs(1));
        assert_eq!((summary.refused, summary.errors, summary.commands), (7, 0, 1));
        assert!(summary.complaint().is_ok() && summary.outcomes().contains("7 refused"));
        tally.failed(1, || "lost".to_owned());
        assert!(tally.summary(Duration::from_secs(1)).complaint().is_err());
    }

    #[test]
    fn whatever_of_a_window_got_no_receipt_of_its_own_is_an_error_in_its_summary() {
        let mut record = Record::new(&["earn"], Duration::ZERO, None).unwrap();
        let receipt = |outcome: Outcome| Counted { outcome: outcome.into(), replayed: false };
        let receipts = [receipt(Outcome::Applied), receipt(Outcome::Rejected), receipt(Outcome::Conflict)];
        record.answered(&[0; 3], Some(&receipts), Duration::from_millis(2));
        record.each(&[0; 5], |counts| counts.given_up += 1);
        record.each(&[0; 7], |counts| counts.errors += 1);
        record.last_loss = Some("lost".to_owned());
        let summary = Tally::of_record(&record).unwrap().summary(Duration::from_secs(1));
        assert_eq!((summary.commands, summary.rejected, summary.errors, summary.max_us), (3, 1, 13, 2_000));
        assert!(summary.complaint().unwrap_err().to_string().ends_with("13 commands got no answer: lost"));
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(-1_234_567), "-1,234,567");
    }
}
