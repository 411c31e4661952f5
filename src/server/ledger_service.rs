//! Posting: one command, a batch of them, or a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::admission::Charge;
use super::desk::Desk;
use super::shape::Fault;
use super::status;
use super::stream;
use crate::constants::COMMANDS_PER_BATCH_MAX;
use crate::engine::request::{StreamId, Work};
use crate::ledger::command::{Command, MERGE_EVENTS, TRANSFER_EVENTS};
use crate::proto as pb;
use crate::proto::ledger_service_server::LedgerService;

/// The service.
pub(super) struct Ledger {
    desk: Desk,
    streams: AtomicU64,
    stopping: watch::Receiver<bool>,
}

impl Ledger {
    /// The service before an engine; streams end when `stopping` turns true.
    #[must_use]
    pub(super) fn new(desk: Desk, stopping: watch::Receiver<bool>) -> Self {
        Self { desk, streams: AtomicU64::new(0), stopping }
    }

    fn post_of(&self, commands: Vec<Command>, atomic: bool) -> Work {
        Work::Post { commands, atomic, stream: None }
    }
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn post(&self, request: Request<pb::PostRequest>) -> Result<Response<pb::PostResponse>, Status> {
        let sent = request.into_inner().command.ok_or_else(|| status::invalid(&[Fault::missing("command")]))?;
        let converted = self.desk.converter().convert(sent);
        let command = converted.map_err(|fault| status::invalid(&[fault.within("command.")]))?;
        let answer = self.desk.ask(self.post_of(vec![command], false)).await?;
        let receipt = self.desk.receipts(answer.body, false).await?.pop().ok_or_else(status::unexpected)?;
        match receipt.outcome() {
            pb::Outcome::Applied | pb::Outcome::Rejected => {
                Ok(Response::new(pb::PostResponse { receipt: Some(receipt) }))
            }
            _ => Err(status::unposted(&receipt)),
        }
    }

    async fn post_batch(
        &self,
        request: Request<pb::PostBatchRequest>,
    ) -> Result<Response<pb::PostBatchResponse>, Status> {
        let pb::PostBatchRequest { items, atomic } = request.into_inner();
        let commands = batch(&self.desk, items, atomic).map_err(|fault| status::invalid(&[fault]))?;
        let answer = self.desk.ask(self.post_of(commands, atomic)).await?;
        let receipts = self.desk.receipts(answer.body, atomic).await?;
        Ok(Response::new(pb::PostBatchResponse { receipts }))
    }

    type PostStreamStream = ReceiverStream<Result<pb::PostStreamResponse, Status>>;

    async fn post_stream(
        &self,
        mut request: Request<Streaming<pb::PostStreamRequest>>,
    ) -> Result<Response<Self::PostStreamStream>, Status> {
        let charge = request.extensions_mut().remove::<Arc<Charge>>();
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let stopping = self.stopping.clone();
        Ok(Response::new(stream::run(self.desk.clone(), stream, request.into_inner(), charge, stopping)))
    }
}

/// The commands of a batch, all of sound shape.
fn batch(desk: &Desk, items: Vec<pb::Command>, atomic: bool) -> Result<Vec<Command>, Fault> {
    if items.is_empty() {
        return Err(Fault::missing("items"));
    }
    let events = items.iter().map(events_of).sum::<usize>();
    if events > COMMANDS_PER_BATCH_MAX {
        let with = if events > items.len() { ", the parts of checkouts counted and a merge as four" } else { "" };
        let message = format!("{events} items{with}; a batch takes at most {COMMANDS_PER_BATCH_MAX}");
        return Err(Fault::new("items", pb::Reason::TooManyItems, message));
    }
    let mut converter = desk.converter();
    let mut commands = Vec::with_capacity(items.len());
    for (place, sent) in items.into_iter().enumerate() {
        commands.push(converter.convert(sent).map_err(|fault| fault.within(&format!("items[{place}].")))?);
    }
    if atomic {
        one_program(&commands)?;
        no_key_twice(&commands)?;
    }
    Ok(commands)
}

/// Events that a command comes to: each part of a checkout is one, and what closes it; a merge takes the room of four.
pub(super) fn events_of(command: &pb::Command) -> usize {
    match &command.action {
        Some(pb::command::Action::Checkout(checkout)) => 1 + checkout.parts.len(),
        Some(pb::command::Action::Merge(_)) => MERGE_EVENTS,
        Some(pb::command::Action::Transfer(_)) => TRANSFER_EVENTS,
        _ => 1,
    }
}

fn one_program(commands: &[Command]) -> Result<(), Fault> {
    let program = commands.first().map(|command| command.program);
    match commands.iter().position(|command| Some(command.program) != program) {
        None => Ok(()),
        Some(place) => Err(Fault::new(
            format!("items[{place}].program"),
            pb::Reason::BatchProgramsMixed,
            "the items of an atomic batch belong to one program",
        )),
    }
}

fn no_key_twice(commands: &[Command]) -> Result<(), Fault> {
    let mut keys: Vec<(u128, usize)> =
        commands.iter().enumerate().map(|(place, command)| (command.key_print, place)).collect();
    keys.sort_unstable();
    let twice = keys.windows(2).find_map(|pair| match pair {
        [(a, _), (b, place)] if a == b => Some(*place),
        _ => None,
    });
    let Some(place) = twice else { return Ok(()) };
    let key = commands.get(place).map(|command| command.key.clone()).unwrap_or_default();
    let message = "a key occurs once in an atomic batch";
    Err(Fault::new(format!("items[{place}].key"), pb::Reason::DuplicateKeyInBatch, message).of(key))
}
