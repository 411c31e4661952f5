//! A stream of commands: several groups in flight, receipts in the order of the commands, and a full queue met by
//! waiting, so that HTTP/2 flow control holds the client back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::admission::{Charge, Load};
use super::convert::Converter;
use super::desk::Desk;
use super::items;
use super::receipt::reply;
use super::shape::Fault;
use super::wire::Reader;
use super::{receipt, status};
use crate::constants::{
    COMMANDS_PER_BATCH_MAX, STREAM_COMMANDS_IN_FLIGHT_MAX, STREAM_GROUP_COMMANDS, STREAM_GROUPS_IN_FLIGHT_MAX,
    STREAM_ITEMS_MAX,
};
use crate::engine::BookInfo;
use crate::engine::request::{Answer, Refusal, StreamId, Work};
use crate::ledger::command::{Command, MERGE_EVENTS, TRANSFER_EVENTS};
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

type Responses = mpsc::Sender<Result<Vec<u8>, Status>>;
type Pending = oneshot::Receiver<Result<Answer, Refusal>>;

/// Begins to serve a stream; what is returned yields its responses.
#[must_use]
pub(super) fn run(
    desk: Desk,
    stream: StreamId,
    inbound: Streaming<Bytes>,
    charge: Option<Arc<Charge>>,
    stopping: watch::Receiver<bool>,
) -> ReceiverStream<Result<Vec<u8>, Status>> {
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

/// What is taken in for the next group.
#[derive(Default)]
struct Taken {
    /// The items of sound shape.
    commands: Vec<Command>,
    /// The places of items whose shape is wrong.
    faults: Vec<(usize, Fault)>,
    /// Items in all.
    items: usize,
    /// What they come to in events at most.
    events: usize,
}

impl Taken {
    /// Takes in the items of one message: all of them, or none where it is no message or has too many.
    fn take_in(&mut self, mut converter: Converter<'_>, request: &[u8]) -> Result<(), Fault> {
        let items = items::of_stream(request)?;
        let count = items.len();
        match count {
            0 => return Err(Fault::missing("items")),
            1..=STREAM_ITEMS_MAX => {}
            _ => {
                let text = format!("{count} items; a message takes at most {STREAM_ITEMS_MAX}");
                return Err(Fault::new("items", pb::Reason::TooManyItems, text));
            }
        }
        let (commands, faults, events) = (self.commands.len(), self.faults.len(), self.events);
        self.commands.reserve(count);
        for (place, item) in items.enumerate() {
            match item.map(|item| converter.convert(item)) {
                Ok(Ok(command)) => {
                    self.events += command.events();
                    self.commands.push(command);
                }
                Ok(Err(fault)) => {
                    self.events += 1;
                    self.faults.push((self.items + place, fault));
                }
                Err(fault) => {
                    self.commands.truncate(commands);
                    self.faults.truncate(faults);
                    self.events = events;
                    return Err(fault.within(&format!("items[{place}].")));
                }
            }
        }
        self.items += count;
        Ok(())
    }
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
    inbound: Streaming<Bytes>,
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
    async fn take(&mut self, message: Result<Option<Bytes>, Status>) {
        let mut taken = Taken::default();
        let mut message = Some(message);
        while let Some(arrived) = message.take() {
            match arrived {
                Ok(Some(request)) => {
                    if let Err(fault) = taken.take_in(self.desk.converter(), &request) {
                        self.end = Some(Err(status::invalid(&[fault])));
                    }
                }
                Ok(None) => self.end = Some(Ok(())),
                Err(status) => self.end = Some(Err(broken(status))),
            }
            if self.end.is_none() && taken.events < STREAM_GROUP_COMMANDS {
                tokio::select! {
                    biased;
                    next = self.inbound.message() => message = Some(next),
                    () = std::future::ready(()) => {}
                }
            }
        }
        if taken.items > 0 {
            self.submit(taken);
        }
    }

    fn submit(&mut self, taken: Taken) {
        let Taken { commands, faults, items, .. } = taken;
        let stage = if commands.is_empty() {
            Stage::Hollow
        } else {
            self.offer(Work::post(commands, false, Some(self.stream)))
        };
        self.commands = self.commands.saturating_add(items);
        let load = self.charge.as_ref().map(|charge| charge.split());
        self.groups.push_back(Group { stage, items, faults, load });
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
        let response = sound.map(|sound| in_order(self.desk.info(), sound, group.faults));
        drop(group.load);
        let failed = response.is_err();
        responses.send(response).await.is_ok() && !failed
    }
}

/// The receipts of a group's items, the unsound in their places among the others.
fn in_order(info: &BookInfo, sound: Vec<u8>, faults: Vec<(usize, Fault)>) -> Vec<u8> {
    if faults.is_empty() {
        return sound;
    }
    let mut receipts = Vec::with_capacity(sound.len());
    let (mut put, mut rest) = (0, &*sound);
    for (place, fault) in faults {
        let behind = (put..place).fold(rest, |rest, _| behind_one(rest));
        receipts.extend_from_slice(rest.get(..rest.len() - behind.len()).unwrap_or_default());
        reply::put(&receipt::invalid(info, fault), &mut receipts);
        (put, rest) = (place + 1, behind);
    }
    receipts.extend_from_slice(rest);
    receipts
}

/// What stands behind the first receipt of a response.
fn behind_one(receipts: &[u8]) -> &[u8] {
    let mut reader = Reader(receipts);
    let receipt = reader.byte().and_then(|_| reader.bytes());
    receipt.map_or(&[], |_| reader.0)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::engine::names::Names;
    use crate::ledger::print::Prints;

    #[test]
    fn a_message_with_an_item_that_is_no_command_is_not_taken_at_all() {
        let (names, prints) = (Arc::<Names>::default(), Prints::new([7; 32]));
        let mut taken = Taken::default();
        let mut take = |request: &[u8]| {
            let fault = taken.take_in(Converter::new(Arc::clone(&names), &prints), request).err();
            (fault.map(|fault| fault.field), taken.items, taken.faults.len(), taken.events)
        };
        // A command that says nothing is one, of wrong shape.
        assert_eq!(take(&[0x0a, 0]), (None, 1, 1, 1));
        assert_eq!(take(&[0x0a, 0, 0x0a, 0, 0x0a, 2, 0x12, 9]), (Some("items[2].key".into()), 1, 1, 1));
        assert_eq!(take(&[]), (Some("items".into()), 1, 1, 1));
        assert_eq!(take(&[0x0a, 0].repeat(STREAM_ITEMS_MAX + 1)), (Some("items".into()), 1, 1, 1));
        assert_eq!(take(&[0x0a, 0, 0x0a, 0]), (None, 3, 3, 3));
    }

    proptest! {
        #[test]
        fn receipts_of_unsound_items_stand_in_their_places(sound in prop::collection::vec(any::<bool>(), 0..20)) {
            let info = BookInfo { book_id: "b".into(), incarnation: 0, parent: None };
            let (mut receipts, mut faults) = (Vec::new(), Vec::new());
            for (place, sound) in sound.iter().enumerate() {
                // Long enough for lengths of one byte and of two.
                let key = place.to_string().repeat(40);
                match sound {
                    true => reply::put(&pb::Receipt { key, ..Default::default() }, &mut receipts),
                    false => faults.push((place, Fault::missing("member").of(key))),
                }
            }
            let all = in_order(&info, receipts, faults);
            let all = pb::PostStreamResponse::decode(&*all).unwrap().receipts;
            let shown: Vec<bool> = all.iter().map(|receipt| receipt.outcome() != pb::Outcome::Invalid).collect();
            prop_assert_eq!(shown, sound);
            let keys = (0..all.len()).map(|place| place.to_string().repeat(40));
            prop_assert!(all.into_iter().map(|receipt| receipt.key).eq(keys));
        }
    }
}
