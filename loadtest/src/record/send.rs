//! A trace on its way to a server: which commands go together, at what time, and what is answered.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::command::Action;
use stampbook::proto::earn::Pending;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{Command, DriveClockRequest, Outcome, PostBatchRequest, Receipt};
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::entry::{Entry, What};
use crate::replay::Speed;
use crate::{Failure, client};

/// Commands that go together at most.
const COMMANDS_MAX: usize = 1_000;
/// Recorded time that they cover at most.
const SPAN_US: i64 = 20_000;
/// Dates of lots, local days and campaigns begin on the minute.
const MINUTE_US: i64 = 60_000_000;
/// How long a server that sheds load or cannot be reached is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Puts entries together that are sent at once, at the recorded time of the last of them. The clock runs ahead of the others then, by
/// [`SPAN_US`] at most, and at no instant that lies between does anything begin or end, so that each is decided as it was.
#[derive(Default)]
pub(crate) struct Gatherer {
    entries: Vec<Entry>,
    /// Instants ahead at which a hold or a wait ends.
    instants: BTreeSet<i64>,
}

impl Gatherer {
    /// Takes the next entry; those that are to be sent before it, if it does not go with them.
    pub(crate) fn take(&mut self, entry: Entry) -> Vec<Entry> {
        let before = match self.goes_with(&entry) {
            true => Vec::new(),
            false => self.rest(),
        };
        let passed = self.entries.first().map_or(entry.book_time_us, |first| first.book_time_us);
        while self.instants.first().is_some_and(|instant| *instant <= passed) {
            self.instants.pop_first();
        }
        self.instants.extend(entry.command().and_then(ends_us).filter(|end_us| *end_us > passed));
        self.entries.push(entry);
        before
    }

    /// What is to be sent in the end.
    pub(crate) fn rest(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    fn goes_with(&self, entry: &Entry) -> bool {
        let Some(first) = self.entries.first() else { return true };
        let (from_us, to_us) = (first.book_time_us, entry.book_time_us);
        let commands = first.command().is_some() && entry.command().is_some();
        // Its part must be known before it can be named.
        commands
            && entry.part.is_none()
            && self.entries.len() < COMMANDS_MAX
            && to_us <= from_us.saturating_add(SPAN_US)
            && from_us.div_euclid(MINUTE_US) == to_us.div_euclid(MINUTE_US)
            && self.instants.range(from_us..=to_us).all(|instant| *instant <= from_us)
    }
}

/// When what a command begins comes to its end: a hold, or the wait of an award.
fn ends_us(command: &Command) -> Option<i64> {
    match command.action.as_ref()? {
        Action::Hold(hold) => hold.until_us,
        Action::Earn(earn) => match earn.pending {
            Some(Pending::PendingUntilUs(until_us)) => Some(until_us),
            _ => None,
        },
        Action::Checkout(checkout) => {
            let part = |part: &stampbook::proto::CheckoutPart| match &part.part {
                Some(stampbook::proto::checkout_part::Part::Earn(earn)) => match earn.pending {
                    Some(Pending::PendingUntilUs(until_us)) => Some(until_us),
                    _ => None,
                },
                _ => None,
            };
            checkout.parts.iter().find_map(part)
        }
        _ => None,
    }
}

/// Sends a trace to a server whose clock is driven.
pub(crate) struct Sender {
    ledger: LedgerServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
    now_us: i64,
    /// Where the parts of each checkout stand, by its program and key.
    parts: HashMap<(String, String), Vec<u64>>,
    pace: Pace,
    bar: ProgressBar,
}

impl Sender {
    /// For the server at an address, whose clock shows `first_us`.
    pub(crate) async fn connect(address: &str, first_us: i64, speed: Speed, bar: ProgressBar) -> Result<Self, Failure> {
        let channel = client::connect(address).await?;
        Ok(Self {
            ledger: client::ledger(channel.clone()),
            admin: AdminServiceClient::new(channel),
            now_us: first_us,
            parts: HashMap::new(),
            pace: Pace { begun: Instant::now(), first_us, speed, late: Duration::ZERO },
            bar,
        })
    }

    /// Sends entries together, and holds the answers against them.
    pub(crate) async fn send(&mut self, entries: Vec<Entry>) -> Result<(), Failure> {
        let Some(last) = entries.last() else { return Ok(()) };
        self.pace.wait(last.book_time_us).await;
        self.drive(last.book_time_us).await?;
        let count = u64::try_from(entries.len())?;
        match entries.first() {
            Some(act) if act.command().is_none() => {
                let receipt = self.act(act).await.map_err(|error| at(act, &error))?;
                check_outcome(act, &receipt)?;
            }
            _ => self.commands(entries).await?,
        }
        self.bar.inc(count);
        Ok(())
    }

    /// Drives the clock on.
    pub(crate) async fn drive(&mut self, to_us: i64) -> Result<(), Failure> {
        if to_us > self.now_us {
            let admin = &self.admin;
            again(|| async { admin.clone().drive_clock(DriveClockRequest { to_us }).await }).await?;
            self.now_us = to_us;
        }
        Ok(())
    }

    /// How far the replay was behind its pace at most.
    pub(crate) fn late(&self) -> Duration {
        self.pace.late
    }

    async fn commands(&mut self, mut entries: Vec<Entry>) -> Result<(), Failure> {
        for entry in &mut entries {
            let Some((key, place)) = entry.names_part() else { continue };
            let program = entry.command().map(|command| command.program.clone()).unwrap_or_default();
            let parts = self.parts.get(&(program, key.to_owned()));
            let op = parts.and_then(|parts| parts.get(usize::try_from(place).ok()?)).copied();
            let op = op.ok_or_else(|| at(entry, &"it names a part of a checkout that is not there"))?;
            entry.name_part(op);
        }
        let items = entries.iter().filter_map(|entry| entry.command().cloned()).collect();
        let request = PostBatchRequest { items, atomic: false };
        let ledger = &self.ledger;
        let receipts = again(|| async { ledger.clone().post_batch(request.clone()).await });
        let receipts = receipts.await?.receipts;
        if receipts.len() != entries.len() {
            return Err(format!("{} receipts for {} commands", receipts.len(), entries.len()).into());
        }
        let mut before = 0;
        for (entry, receipt) in entries.iter().zip(&receipts) {
            check_outcome(entry, receipt)?;
            check_after(entry, receipt)?;
            if receipt.op <= before {
                return Err(at(entry, &format!("op {} came before op {before}", receipt.op)).into());
            }
            before = receipt.op;
            if let (false, Some(command)) = (receipt.parts.is_empty(), entry.command()) {
                let ops = receipt.parts.iter().map(|part| part.op).collect();
                self.parts.insert((command.program.clone(), command.key.clone()), ops);
            }
        }
        Ok(())
    }

    /// Does what an operator did.
    async fn act(&self, entry: &Entry) -> Result<Receipt, Failure> {
        macro_rules! ask {
            ($call:ident, $request:expr) => {
                again(|| async { self.admin.clone().$call($request.clone()).await }).await?.receipt
            };
        }
        let receipt = match entry.what.as_ref().ok_or("the entry is of a kind that is not known here")? {
            What::PutProgram(request) => ask!(put_program, request),
            What::Fund(request) => ask!(fund_campaign, request),
            What::Pause(request) => ask!(pause_campaign, request),
            What::Resume(request) => ask!(resume_campaign, request),
            What::Close(request) => ask!(close_campaign, request),
            What::PutReward(request) => ask!(put_reward, request),
            What::ClosePeriod(request) => ask!(close_period, request),
            What::Command(_) | What::End(_) => None,
        };
        receipt.ok_or_else(|| "the answer holds no receipt".into())
    }
}

/// Asks again, with the same keys, while nobody knows what came of it.
async fn again<T, F: Future<Output = Result<Response<T>, Status>>>(call: impl Fn() -> F) -> Result<T, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if client::is_worth_repeating(&status) && Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

/// A failure with the place in the recorded book.
fn at(entry: &Entry, what: &dyn std::fmt::Display) -> String {
    let key = entry.command().map(|command| format!(" key {}", command.key)).unwrap_or_default();
    format!("op {} of the recorded book{key}: {what}", entry.op)
}

/// Whether an entry was applied, or refused, as it was in the recorded book.
fn check_outcome(entry: &Entry, receipt: &Receipt) -> Result<(), Failure> {
    let expected = if entry.refused.is_empty() { Outcome::Applied } else { Outcome::Rejected };
    match receipt.outcome() {
        outcome if outcome == expected => Ok(()),
        outcome => {
            let why = format!("{outcome:?} {:?} and not {expected:?}: {}", receipt.reason(), receipt.message);
            Err(at(entry, &why).into())
        }
    }
}

/// Whether the member has what he had in the recorded book.
fn check_after(entry: &Entry, receipt: &Receipt) -> Result<(), Failure> {
    let balance = receipt.balance.unwrap_or_default();
    match (balance.available, balance.debt) == (entry.available, entry.debt) {
        true => Ok(()),
        false => {
            let why = format!(
                "the member has {} points and owes {} after it, and not {} and {}",
                balance.available, balance.debt, entry.available, entry.debt
            );
            Err(at(entry, &why).into())
        }
    }
}

/// When what is due.
struct Pace {
    begun: Instant,
    first_us: i64,
    speed: Speed,
    late: Duration,
}

impl Pace {
    /// Waits until what was recorded at an instant is to be sent.
    async fn wait(&mut self, at_us: i64) {
        let Speed::Times(times) = self.speed else { return };
        let recorded_us = u64::try_from(at_us.saturating_sub(self.first_us)).unwrap_or(0);
        let due = self.begun + Duration::from_micros(recorded_us) / times;
        match due.checked_duration_since(Instant::now()) {
            Some(early) => tokio::time::sleep(early).await,
            None => self.late = self.late.max(due.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use stampbook::proto::Hold;

    use super::*;

    fn entry(op: u64, book_time_us: i64, action: Option<Action>) -> Entry {
        Entry {
            op,
            book_time_us,
            what: Some(What::Command(Command { action, ..Command::default() })),
            ..Entry::default()
        }
    }

    fn gathered(entries: Vec<Entry>) -> Vec<Vec<u64>> {
        let mut gatherer = Gatherer::default();
        let mut together: Vec<_> = entries.into_iter().map(|entry| gatherer.take(entry)).collect();
        together.push(gatherer.rest());
        let ops = |entries: &Vec<Entry>| entries.iter().map(|entry| entry.op).collect::<Vec<_>>();
        together.iter().map(ops).filter(|ops| !ops.is_empty()).collect()
    }

    #[test]
    fn what_goes_together_covers_no_more_than_the_span_and_no_minute() {
        let at = [0, SPAN_US, SPAN_US + 1, MINUTE_US - 1, MINUTE_US];
        let entries = (1..).zip(at).map(|(op, at_us)| entry(op, at_us, None)).collect();
        assert_eq!(gathered(entries), [vec![1, 2], vec![3], vec![4], vec![5]]);
    }

    #[test]
    fn nothing_goes_together_across_the_end_of_a_hold() {
        let hold = |until_us| Some(Action::Hold(Hold { until_us: Some(until_us), ..Hold::default() }));
        let entries = vec![
            entry(1, 1_000, hold(1_500)),
            entry(2, 1_499, None),
            entry(3, 1_500, None),
            entry(4, 1_600, hold(90_000)),
            entry(5, 80_000, None),
            entry(6, 90_000, None),
            entry(7, 90_001, None),
        ];
        assert_eq!(gathered(entries), [vec![1, 2], vec![3, 4], vec![5], vec![6, 7]]);
    }

    #[test]
    fn an_act_goes_alone_and_a_part_is_named_once_its_checkout_is_answered() {
        let act = Entry { op: 2, what: Some(What::Pause(Default::default())), ..Entry::default() };
        let part = Entry { part: Some(0), ..entry(5, 0, None) };
        let entries = vec![entry(1, 0, None), act, entry(3, 0, None), entry(4, 0, None), part, entry(6, 0, None)];
        assert_eq!(gathered(entries), [vec![1], vec![2], vec![3, 4], vec![5, 6]]);
    }
}
