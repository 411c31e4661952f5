//! A stream of commands: several groups in flight, receipts in the order of the commands, and a full queue met by
//! waiting, so that HTTP/2 flow control holds the client back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::admission::{Charge, Load};
use super::desk::{Desk, encoded};
use super::ledger_service::events_of;
use super::ready_made::PostStreamResponse;
use super::shape::Fault;
use super::{receipt, status};
use crate::constants::{
    COMMANDS_PER_BATCH_MAX, STREAM_COMMANDS_IN_FLIGHT_MAX, STREAM_GROUP_COMMANDS, STREAM_GROUPS_IN_FLIGHT_MAX,
    STREAM_ITEMS_MAX,
};
use crate::engine::request::{Answer, Refusal, StreamId, Work};
use crate::ledger::command::{MERGE_EVENTS, TRANSFER_EVENTS};
use crate::ledger::event::CHECKOUT_PARTS_MAX;
use crate::proto as pb;

/// How long a stream that found the queue full waits before it tries again.
const PAUSE: Duration = Duration::from_millis(1);
/// Responses that wait for the client to read them.
const RESPONSES_WAITING_MAX: usize = 2;
/// Events that one command comes to at most: a checkout's parts and what closes it.
const COMMAND_EVENTS_MAX: usize = CHECKOUT_PARTS_MAX + 1;

const _: () = assert!(
    MERGE_EVENTS <= COMMAND_EVENTS_MAX && TRANSFER_EVENTS <= COMMAND_EVENTS_MAX,
    "no command comes to more events than the greatest checkout"
);
const _: () = assert!(
    STREAM_GROUP_COMMANDS - 1 + STREAM_ITEMS_MAX * COMMAND_EVENTS_MAX <= COMMANDS_PER_BATCH_MAX,
    "what is just short of a group and one message more come to no more events than a batch, and so lie in one frame"
);

type Responses = mpsc::Sender<Result<PostStreamResponse, Status>>;
type Pending = oneshot::Receiver<Result<Answer, Refusal>>;

/// Begins to serve a stream; what is returned yields its responses.
#[must_use]
pub(super) fn run(
    desk: Desk,
    stream: StreamId,
    inbound: Streaming<pb::PostStreamRequest>,
    charge: Option<Arc<Charge>>,
    stopping: watch::Receiver<bool>,
) -> ReceiverStream<Result<PostStreamResponse, Status>> {
    let (responses, outbound) = mpsc::channel(RESPONSES_WAITING_MAX);
    let pipeline = Pipeline { desk, stream, inbound, charge, groups: VecDeque::new(), commands: 0, end: None };
    tokio::spawn(pipeline.serve(responses, stopping));
    ReceiverStream::new(outbound)
}

/// Where a group stands.
enum Stage {
    /// The queue was full; it is to be tried again. Only the newest group can be here.
    Parked(Work),
    /// With the engine.
    Sent(Pending),
    /// No command in it was sound.
    Hollow,
}

/// Some commands that went to the engine together.
struct Group {
    stage: Stage,
    /// Items in all, the unsound included.
    items: usize,
    /// The places of items whose shape is wrong.
    faults: Vec<(usize, Fault)>,
    /// What its messages weighed; released with the group.
    load: Option<Load>,
}

struct Pipeline {
    desk: Desk,
    stream: StreamId,
    inbound: Streaming<pb::PostStreamRequest>,
    charge: Option<Arc<Charge>>,
    groups: VecDeque<Group>,
    commands: usize,
    /// Why nothing more is read: the client is done (`Ok`), or the stream ends with a status once all is answered.
    end: Option<Result<(), Status>>,
}

impl Pipeline {
    async fn serve(mut self, responses: Responses, mut stopping: watch::Receiver<bool>) {
        loop {
            if self.groups.is_empty()
                && let Some(end) = self.end.take()
            {
                if let Err(status) = end {
                    // The client may be gone; then there is no one to tell.
                    let _ = responses.send(Err(status)).await;
                }
                return;
            }
            let crowded = self.charge.as_ref().is_some_and(|charge| charge.is_crowded());
            let parked = self.groups.back().is_some_and(|group| matches!(group.stage, Stage::Parked(_)));
            let room = self.commands < STREAM_COMMANDS_IN_FLIGHT_MAX && self.groups.len() < STREAM_GROUPS_IN_FLIGHT_MAX;
            let reads = self.end.is_none() && room && !parked && !crowded;
            tokio::select! {
                biased;
                () = responses.closed() => return self.abandon().await,
                answered = answered(&mut self.groups) => {
                    if !self.respond(answered, &responses).await {
                        return self.abandon().await;
                    }
                }
                message = self.inbound.message(), if reads => self.take(message).await,
                () = tokio::time::sleep(PAUSE), if parked || (crowded && self.end.is_none()) => self.retry(),
                () = told(&mut stopping), if self.end.is_none() => {
                    self.end = Some(Err(status::refused(Refusal::ShuttingDown)));
                }
            }
        }
    }

    /// Waits until the engine is done with what it has, though nobody reads the answers: until then it counts as in flight.
    async fn abandon(mut self) {
        while let Some(group) = self.groups.pop_front() {
            if let Stage::Sent(pending) = group.stage {
                let _unread = pending.await;
            }
        }
    }

    /// Takes in a message, with those behind it that have already arrived, and sends them on as one group.
    async fn take(&mut self, message: Result<Option<pb::PostStreamRequest>, Status>) {
        let (mut items, mut events) = (Vec::new(), 0_usize);
        let mut message = Some(message);
        while let Some(arrived) = message.take() {
            match arrived {
                Ok(Some(request)) if request.items.is_empty() => {
                    self.end = Some(Err(status::invalid(&[Fault::missing("items")])));
                }
                Ok(Some(request)) if request.items.len() > STREAM_ITEMS_MAX => {
                    let text = format!("{} items; a message takes at most {STREAM_ITEMS_MAX}", request.items.len());
                    let fault = Fault::new("items", pb::Reason::TooManyItems, text);
                    self.end = Some(Err(status::invalid(&[fault])));
                }
                Ok(Some(request)) => {
                    events += request.items.iter().map(events_of).sum::<usize>();
                    if items.is_empty() {
                        items = request.items;
                    } else {
                        items.extend(request.items);
                    }
                }
                Ok(None) => self.end = Some(Ok(())),
                Err(status) => self.end = Some(Err(broken(status))),
            }
            if self.end.is_none() && events < STREAM_GROUP_COMMANDS {
                tokio::select! {
                    biased;
                    next = self.inbound.message() => message = Some(next),
                    () = std::future::ready(()) => {}
                }
            }
        }
        if !items.is_empty() {
            self.submit(items);
        }
    }

    fn submit(&mut self, items: Vec<pb::Command>) {
        let count = items.len();
        let mut faults = Vec::new();
        let mut commands = Vec::with_capacity(count);
        let mut converter = self.desk.converter();
        for (place, sent) in items.into_iter().enumerate() {
            match converter.convert(sent) {
                Ok(command) => commands.push(command),
                Err(fault) => faults.push((place, fault)),
            }
        }
        drop(converter);
        let stage = if commands.is_empty() {
            Stage::Hollow
        } else {
            self.offer(Work::Post { commands, atomic: false, stream: Some(self.stream) })
        };
        self.commands = self.commands.saturating_add(count);
        let load = self.charge.as_ref().map(|charge| charge.split());
        self.groups.push_back(Group { stage, items: count, faults, load });
    }

    fn offer(&mut self, work: Work) -> Stage {
        match self.desk.handle().submit(work) {
            Ok(pending) => Stage::Sent(pending),
            Err(refused) if waits(refused.refusal) => Stage::Parked(refused.work),
            Err(refused) => {
                let (sender, pending) = oneshot::channel();
                // The receiver is at hand, so the refusal reaches it.
                let _ = sender.send(Err(refused.refusal));
                Stage::Sent(pending)
            }
        }
    }

    fn retry(&mut self) {
        match self.groups.pop_back() {
            Some(Group { stage: Stage::Parked(work), items, faults, load }) => {
                let stage = self.offer(work);
                self.groups.push_back(Group { stage, items, faults, load });
            }
            Some(group) => self.groups.push_back(group),
            None => {}
        }
    }

    /// Sends the receipts of the oldest group; false when the stream is over.
    async fn respond(&mut self, answered: Option<Result<Answer, Refusal>>, responses: &Responses) -> bool {
        let Some(group) = self.groups.pop_front() else { return true };
        self.commands = self.commands.saturating_sub(group.items);
        let sound = match answered {
            None => Ok(Vec::new()),
            Some(Ok(answer)) => self.desk.receipts(answer.body, false).await,
            Some(Err(refusal)) => Err(status::refused(refusal)),
        };
        let response =
            sound.map(|sound| PostStreamResponse { receipts: self.in_order(sound, group.items, group.faults) });
        drop(group.load);
        let failed = response.is_err();
        responses.send(response).await.is_ok() && !failed
    }

    /// The receipts of a group's items, the unsound in their places among the others.
    fn in_order(&self, sound: Vec<Bytes>, items: usize, faults: Vec<(usize, Fault)>) -> Vec<Bytes> {
        if faults.is_empty() {
            return sound;
        }
        let mut receipts = Vec::with_capacity(items);
        let mut sound = sound.into_iter();
        for (place, fault) in faults {
            receipts.extend(sound.by_ref().take(place.saturating_sub(receipts.len())));
            receipts.push(encoded(&receipt::invalid(self.desk.info(), fault), &mut BytesMut::new()));
        }
        receipts.extend(sound);
        receipts
    }
}

/// Whether a refusal passes with time.
fn waits(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::QueueFull | Refusal::QueueTooOld | Refusal::InFlight)
}

/// The answer to the oldest group, `None` where it holds nothing that the engine was asked. Never, while there is no such group.
async fn answered(groups: &mut VecDeque<Group>) -> Option<Result<Answer, Refusal>> {
    match groups.front_mut().map(|group| &mut group.stage) {
        Some(Stage::Sent(pending)) => Some(pending.await.unwrap_or(Err(Refusal::Unknown))),
        Some(Stage::Hollow) => None,
        Some(Stage::Parked(_)) | None => std::future::pending().await,
    }
}

/// Resolves when the server goes down.
async fn told(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone is as good as a word.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// A message that cannot be taken in is a wrong shape here as it is elsewhere.
fn broken(status: Status) -> Status {
    status::unread(&status).unwrap_or(status)
}
