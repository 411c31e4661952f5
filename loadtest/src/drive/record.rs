//! What became of the commands of a window: by operation, by second, and in latencies from the moment each was due.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::Serialize;
use stampbook::proto::Outcome;

use super::gap::GapMeter;
use crate::Failure;
use crate::tally::{LATENCY_US_MAX, latencies, microseconds};
use crate::wire::Counted;

/// Commands, by what became of them. All that was sent is answered, given up or an error in the end; what was answered is applied, rejected,
/// replayed, a conflict, or a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Sent for the first time.
    pub(crate) sent: u64,
    /// Got an answer, sooner or later.
    pub(crate) answered: u64,
    /// Applied by this run.
    pub(crate) applied: u64,
    /// Rejected by a rule.
    pub(crate) rejected: u64,
    /// Answered with the receipt of an earlier command of that key.
    pub(crate) replayed: u64,
    /// The key belongs to another command.
    pub(crate) conflicts: u64,
    /// Shed by the server: once for each time.
    pub(crate) refused: u64,
    /// Sent again: once for each time.
    pub(crate) retried: u64,
    /// Neither answered nor sent again: the retries or their budget were used up.
    pub(crate) given_up: u64,
    /// Failed in a way that sending again does not help.
    pub(crate) errors: u64,
}

impl Counts {
    /// The names of [`Self::cells`].
    pub(crate) const NAMES: [&str; 10] = [
        "sent",
        "answered",
        "applied",
        "rejected",
        "replayed",
        "conflicts",
        "refused",
        "retried",
        "given_up",
        "errors",
    ];

    /// All counts, in the order of their names.
    pub(crate) fn cells(&self) -> [u64; 10] {
        let Self { sent, answered, applied, rejected, replayed, conflicts, refused, retried, given_up, errors } = *self;
        [sent, answered, applied, rejected, replayed, conflicts, refused, retried, given_up, errors]
    }

    fn add(&mut self, other: &Self) {
        let Self { sent, answered, applied, rejected, replayed, conflicts, refused, retried, given_up, errors } = other;
        self.sent += sent;
        self.answered += answered;
        self.applied += applied;
        self.rejected += rejected;
        self.replayed += replayed;
        self.conflicts += conflicts;
        self.refused += refused;
        self.retried += retried;
        self.given_up += given_up;
        self.errors += errors;
    }

    /// One more receipt.
    fn receipt(&mut self, receipt: Counted) {
        match Outcome::try_from(receipt.outcome) {
            Ok(Outcome::Applied | Outcome::Rejected) if receipt.replayed => self.replayed += 1,
            Ok(Outcome::Applied) => self.applied += 1,
            Ok(Outcome::Rejected) => self.rejected += 1,
            Ok(Outcome::Conflict) => self.conflicts += 1,
            // Of one item of a batch that was answered, this is MEMBERS_LIMIT alone, since all else is shed by whole requests: it is for want of
            // an operator, and neither waiting nor sending it again helps.
            Ok(Outcome::Shed) => {
                self.refused += 1;
                self.given_up += 1;
                return;
            }
            _ => {
                self.errors += 1;
                return;
            }
        }
        self.answered += 1;
    }
}

/// One second of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Commands that were due.
    pub(crate) offered: u64,
    /// What became of commands in it, whenever they were due.
    pub(crate) counts: Counts,
    /// Requests without an outcome at its end.
    pub(crate) in_flight: u64,
}

/// A second that is over, for whoever follows the run.
#[derive(Clone, Debug)]
pub(crate) struct Second {
    /// When the first of all began, by the wall clock.
    pub(crate) began: SystemTime,
    /// Its number, from 0.
    pub(crate) number: u64,
    /// Its counts; more may still become known as offered in it.
    pub(crate) row: Row,
    /// What was answered in it, by operation, in microseconds.
    pub(crate) latencies_us: Vec<Histogram<u64>>,
}

/// One operation over the whole window.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What became of its commands.
    pub(crate) counts: Counts,
    /// Of what was answered, in microseconds.
    pub(crate) latencies_us: Histogram<u64>,
}

/// Everything that is known of a window. Times are counted from the start of the load; the window begins after the warm-up.
#[derive(Debug)]
pub(crate) struct Record {
    /// When the window begins.
    pub(crate) begin: Duration,
    /// The same by the wall clock.
    pub(crate) began: SystemTime,
    /// In the order of their numbers.
    pub(crate) operations: Vec<Operation>,
    /// One for each second by number, and for those after the end until all was answered.
    pub(crate) rows: BTreeMap<u64, Row>,
    /// The longest while without an answer.
    pub(crate) gap: GapMeter,
    /// Requests that went out late since too many were under way.
    pub(crate) held_back: u64,
    /// How late the generator itself handed out a request at most.
    pub(crate) late: Duration,
    /// Why commands failed, the last time.
    pub(crate) last_error: Option<String>,
    /// Why commands were given up, the last time.
    pub(crate) last_loss: Option<String>,
    in_flight: u64,
    follower: Option<Sender<Second>>,
    second: u64,
    of_second_us: Vec<Histogram<u64>>,
    /// Grows with what it holds, for one of each operation is begun every second.
    empty: Histogram<u64>,
}

impl Record {
    /// Of a load that starts now, with operations of these names by number. A follower gets each second when it is over.
    pub(crate) fn new(
        names: &[&'static str],
        begin: Duration,
        follower: Option<Sender<Second>>,
    ) -> Result<Self, Failure> {
        let operation = |name: &&'static str| -> Result<Operation, Failure> {
            Ok(Operation { name, counts: Counts::default(), latencies_us: latencies()? })
        };
        let empty = Histogram::new(3)?;
        Ok(Self {
            begin,
            began: SystemTime::now() + begin,
            operations: names.iter().map(operation).collect::<Result<_, _>>()?,
            rows: BTreeMap::new(),
            gap: GapMeter::new(begin),
            held_back: 0,
            late: Duration::ZERO,
            last_error: None,
            last_loss: None,
            in_flight: 0,
            second: 0,
            of_second_us: vec![empty.clone(); names.len()],
            empty,
            follower,
        })
    }

    /// The time is `now`: seconds that are over are closed. Those who are answered wait meanwhile, so it does little.
    pub(crate) fn tick(&mut self, now: Duration) {
        let Some(within) = now.checked_sub(self.begin) else { return };
        while self.second < within.as_secs() {
            let in_flight = self.in_flight;
            let row = self.row(self.second);
            row.in_flight = in_flight;
            let row = *row;
            if let Some(follower) = &self.follower {
                let fresh = vec![self.empty.clone(); self.of_second_us.len()];
                let latencies_us = std::mem::replace(&mut self.of_second_us, fresh);
                // Who follows no more needs nothing.
                let _ = follower.send(Second { began: self.began, number: self.second, row, latencies_us });
            }
            self.second += 1;
        }
    }

    /// The last second is closed, whole or not.
    pub(crate) fn close(&mut self) {
        self.tick(self.begin + Duration::from_secs(self.second + 1));
        self.follower = None;
    }

    fn row(&mut self, number: u64) -> &mut Row {
        self.rows.entry(number).or_default()
    }

    /// So many commands were due at that instant.
    pub(crate) fn offered(&mut self, commands: u64, due: Duration) {
        self.row(due.saturating_sub(self.begin).as_secs()).offered += commands;
    }

    /// A request is under way, counted or not.
    pub(crate) fn begun(&mut self) {
        self.in_flight += 1;
    }

    /// A request is under way no more.
    pub(crate) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Notes one thing of each command of a request, given by operation.
    pub(crate) fn each(&mut self, operations: &[u8], note: impl Fn(&mut Counts)) {
        let mut sum = Counts::default();
        for operation in operations {
            if let Some(operation) = self.operations.get_mut(usize::from(*operation)) {
                note(&mut operation.counts);
                note(&mut sum);
            }
        }
        self.add(&sum);
    }

    /// Receipts that came `after` their request was due, one for each of its commands; `None`: it read, and this is what it asked for.
    pub(crate) fn answered(&mut self, operations: &[u8], receipts: Option<&[Counted]>, after: Duration) {
        let mut counts = vec![Counts::default(); self.operations.len()];
        for (index, operation) in operations.iter().enumerate() {
            let Some(counts) = counts.get_mut(usize::from(*operation)) else { continue };
            match receipts.map(|receipts| receipts.get(index)) {
                None => counts.answered += 1,
                Some(Some(receipt)) => counts.receipt(*receipt),
                Some(None) => counts.errors += 1,
            }
        }
        let latency_us = microseconds(after);
        let mut sum = Counts::default();
        for ((operation, of_second_us), counts) in self
            .operations
            .iter_mut()
            .zip(&mut self.of_second_us)
            .zip(&counts)
            .filter(|(_, c)| **c != Counts::default())
        {
            operation.counts.add(counts);
            operation.latencies_us.saturating_record_n(latency_us, counts.answered);
            // It grows up to anything, and cannot fail.
            let _ = of_second_us.record_n(latency_us.min(LATENCY_US_MAX), counts.answered);
            sum.add(counts);
        }
        if sum.given_up > 0 {
            self.last_loss =
                Some("MEMBERS_LIMIT: the books hold as many members, counters or lots as they may".to_owned());
        }
        if sum.errors > 0 {
            self.last_error = Some(format!("{} receipts of a request are missing or no answer", sum.errors));
        }
        self.add(&sum);
    }

    fn add(&mut self, counts: &Counts) {
        self.row(self.second).counts.add(counts);
    }

    /// All operations as one.
    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.operations.iter().for_each(|operation| total.add(&operation.counts));
        total
    }

    /// The latencies of all operations, in microseconds.
    pub(crate) fn latencies_us(&self) -> Result<Histogram<u64>, Failure> {
        let mut all = latencies()?;
        for operation in &self.operations {
            all.add(&operation.latencies_us)?;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn receipt(outcome: Outcome, replayed: bool) -> Counted {
        Counted { outcome: outcome.into(), replayed }
    }

    #[test]
    fn each_command_of_an_answer_is_counted_once_and_under_its_operation() {
        let mut record = Record::new(&["earn", "redeem"], ms(0), None).unwrap();
        let operations = [0, 1, 0, 1, 0, 1, 1];
        let receipts = [
            receipt(Outcome::Applied, false),
            receipt(Outcome::Rejected, false),
            receipt(Outcome::Applied, true),
            receipt(Outcome::Rejected, true),
            receipt(Outcome::Conflict, false),
            receipt(Outcome::Shed, false),
        ];
        record.each(&operations, |counts| counts.sent += 1);
        record.answered(&operations, Some(&receipts), ms(3));
        let earn = Counts { sent: 3, answered: 3, applied: 1, replayed: 1, conflicts: 1, ..Counts::default() };
        let redeem = Counts {
            sent: 4,
            answered: 2,
            rejected: 1,
            replayed: 1,
            refused: 1,
            given_up: 1,
            errors: 1,
            ..Counts::default()
        };
        assert_eq!(record.operations.iter().map(|operation| operation.counts).collect::<Vec<_>>(), [earn, redeem]);
        assert_eq!(record.operations.iter().map(|of| of.latencies_us.len()).collect::<Vec<_>>(), [3, 2]);
        assert!(record.last_loss.as_ref().unwrap().contains("MEMBERS_LIMIT"));
        let total = record.total();
        assert_eq!(total.sent, total.answered + total.given_up + total.errors);
        assert_eq!(record.rows[&0].counts, total);
        record.answered(&[1], None, ms(3));
        assert_eq!(record.total(), Counts { answered: total.answered + 1, ..total }, "a read is answered and no more");
    }

    #[test]
    fn a_follower_gets_every_second_once_and_they_add_up_to_the_whole() {
        let (sender, receiver) = channel();
        let mut record = Record::new(&["earn"], ms(3_000), Some(sender)).unwrap();
        record.tick(ms(2_900));
        for at in [3_100, 3_999, 4_000, 7_500] {
            record.begun();
            record.tick(ms(at));
            record.offered(1, ms(at));
            record.answered(&[0], Some(&[receipt(Outcome::Applied, false)]), ms(at - 3_000));
        }
        record.ended();
        record.offered(1, ms(3_500));
        record.close();
        let seconds: Vec<_> = receiver.iter().collect();
        assert_eq!(seconds.iter().map(|second| second.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(seconds.iter().map(|second| second.row.counts.applied).collect::<Vec<_>>(), [2, 1, 0, 0, 1]);
        assert_eq!(seconds.iter().map(|second| second.row.in_flight).collect::<Vec<_>>(), [3, 4, 4, 4, 3]);
        assert_eq!(record.rows.values().map(|row| row.offered).collect::<Vec<_>>(), [3, 1, 0, 0, 1]);
        let mut sum = latencies().unwrap();
        seconds.iter().for_each(|second| sum.add(&second.latencies_us[0]).unwrap());
        assert_eq!(sum, record.latencies_us().unwrap());
        assert_eq!(sum.len(), 4);
    }
}
