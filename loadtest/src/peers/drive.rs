//! Closed-loop callers that post the same commands to whatever store they call.

use std::future::Future;
use std::time::{Duration, Instant};

use stampbook::proto::Outcome;
use tokio::task::JoinSet;

use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::{Counted, Drawn, Writer};
use crate::{Failure, program};

/// Minor units that earn a point.
const MINOR_A_POINT: u64 = 100;

/// What was awarded for a command that was posted for the first time, as every store answers it.
pub(crate) const APPLIED: Counted = Counted { outcome: Outcome::Applied as i32, replayed: false };

/// One caller of a store.
pub(crate) trait Caller: Send + 'static {
    /// Posts these commands as one request, and is answered for each when it is durable.
    ///
    /// # Errors
    /// Whatever kept it from an answer: the run has failed then.
    fn post(&mut self, commands: &[Drawn]) -> impl Future<Output = Result<Vec<Counted>, Failure>> + Send;
}

/// The points of a command by the rule, and again by the campaign.
pub(crate) fn points(command: &Drawn) -> (u64, u64) {
    let base = command.amount / MINOR_A_POINT;
    (base, if command.doubled { base } else { 0 })
}

/// What commands should have done to the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) commands: u64,
    /// By the rule, from issuance to members.
    pub(crate) base: u64,
    /// By the campaign, from its budget to members.
    pub(crate) extra: u64,
}

impl Sent {
    fn add(&mut self, other: Self) {
        self.commands += other.commands;
        self.base += other.base;
        self.extra += other.extra;
    }
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) sent: Sent,
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
    /// Calls that did nothing and were sent again.
    pub(crate) retries: u64,
}

/// The commands of one caller: the same for every store, and different from those of other callers and rounds.
pub(crate) fn commands_of(seed: u64, caller: u64, members: u64) -> Result<Writer, Failure> {
    let writer = Writer::new(program::LOAD.program, members, Rng::new(seed, caller));
    writer.ok_or_else(|| "the template of a command cannot be patched".into())
}

/// Lets every caller post `batch` commands at a time until the time is over, and waits for the last answers.
pub(crate) async fn drive<C: Caller>(
    callers: Vec<(C, Writer)>,
    batch: usize,
    lasts: Duration,
) -> Result<Driven, Failure> {
    let begun = Instant::now();
    let mut lanes = JoinSet::new();
    for (caller, writer) in callers {
        lanes.spawn(lane(caller, writer, batch, begun + lasts));
    }
    let (mut tally, mut sent) = (Tally::new()?, Sent::default());
    while let Some(ended) = lanes.join_next().await {
        let (lane_tally, lane_sent) = ended??;
        tally.add(&lane_tally)?;
        sent.add(lane_sent);
    }
    Ok(Driven { sent, tally, elapsed: begun.elapsed(), retries: 0 })
}

async fn lane<C: Caller>(
    mut caller: C,
    mut writer: Writer,
    batch: usize,
    until: Instant,
) -> Result<(Tally, Sent), Failure> {
    let (mut tally, mut sent) = (Tally::new()?, Sent::default());
    let mut commands = Vec::with_capacity(batch);
    while Instant::now() < until {
        commands.clear();
        commands.extend((0..batch).map(|_| writer.draw()));
        let from = Instant::now();
        let answers = caller.post(&commands).await?;
        tally.answered(&answers, from.elapsed());
        if answers.len() != batch || answers.iter().any(|answer| *answer != APPLIED) {
            return Err(format!("of {batch} new commands not all were applied: {answers:?}").into());
        }
        for command in &commands {
            let (base, extra) = points(command);
            sent.add(Sent { commands: 1, base, extra });
        }
    }
    Ok((tally, sent))
}
