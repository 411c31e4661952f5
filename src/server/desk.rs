//! What the services share: asking the engine, and turning its answers into receipts.

use std::fmt::Display;
use std::mem;
use std::sync::Arc;

use smol_str::SmolStr;
use tonic::Status;

use super::convert::Converter;
use super::receipt::reply::Reply;
use super::receipt::{Scribe, aborted, conflict, members_limit, name_other};
use super::rooms::Rooms;
use super::status;
use crate::engine::request::{Answer, AnswerBody, ItemResult, Read, Refusal, Work};
use crate::engine::{BookInfo, Handle};
use crate::journal::{Book, FrameBody, JournalError, StoredBlock};
use crate::ledger::codec::{self, CodecError};
use crate::ledger::command::Command;
use crate::ledger::event::Event;
use crate::ledger::ids::Op;
use crate::proto as pb;

/// The engine as the services see it.
#[derive(Clone)]
pub(super) struct Desk {
    handle: Handle,
    rooms: Arc<Rooms>,
}

/// What a key is bound to.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    /// The key.
    pub key: SmolStr,
    /// The hash of the body.
    pub body_hash: [u8; 16],
    /// The id of the other member that the body names, if it names one.
    pub other: Option<String>,
}

impl Sent {
    /// What a member's command is bound to; its key is taken out of it.
    #[must_use]
    pub(super) fn of(command: &mut Command) -> Self {
        let other = command.action.other().map(|named| named.id.clone());
        Self { key: mem::take(&mut command.key), body_hash: command.body_hash, other }
    }
}

/// A command whose key was taken, at its place in the request.
struct Known {
    place: usize,
    sent: Sent,
    op: Op,
}

/// The book, with the block that was read last.
struct Stored<'a> {
    book: &'a Book,
    block: Option<StoredBlock>,
}

impl Stored<'_> {
    /// An event's bytes and its book time: a key sent twice in one request may have been decided with it, in its frame.
    fn event_of<'s>(&'s mut self, frame: Option<&'s FrameBody>, op: Op) -> Result<(&'s [u8], i64), JournalError> {
        match frame.and_then(|frame| Some((frame.event(op.0)?, frame.book_time_us()))) {
            Some(found) => Ok(found),
            None => self.event(op),
        }
    }

    /// An event's bytes and its book time.
    fn event(&mut self, op: Op) -> Result<(&[u8], i64), JournalError> {
        let block = match self.block.take() {
            Some(block) if block.event(op.0).is_some() => block,
            _ => self.book.read_block_of(op.0)?,
        };
        let block = self.block.insert(block);
        let bytes = block.event(op.0).ok_or(JournalError::NotFound(op.0))?;
        Ok((bytes, block.book_time_us()))
    }
}

/// Why an event that the book holds could not be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// The book did not give it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Its bytes are none that this build knows.
    #[error("op {0}: {1}")]
    Codec(u64, CodecError),
}

impl Desk {
    /// The desk before an engine.
    #[must_use]
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, rooms: Arc::default() }
    }

    /// The engine's handle.
    #[must_use]
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The book's name.
    #[must_use]
    pub(super) fn info(&self) -> &BookInfo {
        self.handle.book_info()
    }

    /// Room for the commands of batches.
    #[must_use]
    pub(super) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// A converter for the commands of one request.
    pub(super) fn converter(&self) -> Converter<'_> {
        Converter::new(self.handle.names(), self.handle.prints())
    }

    /// Asks the engine and waits until all that it says is durable.
    ///
    /// # Errors
    /// The status of a refusal.
    pub(super) async fn ask(&self, work: Work) -> Result<Answer, Status> {
        let answer = self.handle.submit(work).map_err(|refused| status::refused(refused.refusal))?;
        // A sender dropped without an answer died with the engine, its outcome unknown.
        let answered = answer.await.unwrap_or(Err(Refusal::Unknown));
        answered.map_err(status::refused)
    }

    /// Asks the engine for a part of the state.
    ///
    /// # Errors
    /// The status of a refusal.
    pub(super) async fn read(&self, read: Read) -> Result<Answer, Status> {
        self.ask(Work::Read(read)).await
    }

    /// The bytes of a response with the receipts of a request's commands, in order.
    ///
    /// # Errors
    /// A status where the book cannot be read; every command of the request is settled all the same.
    pub(super) async fn receipts(&self, body: AnswerBody, atomic: bool) -> Result<Vec<u8>, Status> {
        let AnswerBody::Posted { results, frame, mut commands } = body else {
            return Err(status::unexpected());
        };
        if results.len() != commands.len() {
            return Err(status::unexpected());
        }
        let known = results.iter().zip(&mut commands).filter_map(|(result, command)| match *result {
            ItemResult::Known(op) => Some((op, Sent::of(command))),
            _ => None,
        });
        let known = self.settled(known.collect(), &frame).await?;
        let names = self.handle.names();
        let scribe = Scribe { info: self.info(), names: &names };
        let frame = frame.as_deref();
        let mut reply = Reply::new(scribe, results.len());
        if atomic && !known.is_empty() {
            refuse_mixture(scribe, frame, &results, commands, known)?.iter().for_each(|receipt| reply.put(receipt));
            return Ok(reply.into_bytes());
        }
        let mut known = known.iter();
        for (result, command) in results.iter().zip(&mut commands) {
            match *result {
                ItemResult::Known(_) => reply.put(known.next().ok_or_else(status::unexpected)?),
                ItemResult::Fresh(op) if put_plain(&mut reply, frame, op, &command.key) => {}
                _ => reply.put(&new_receipt(&scribe, frame, result, Sent::of(command))?),
            }
        }
        self.rooms.leave(commands);
        Ok(reply.into_bytes())
    }

    /// The bytes of the response to a command that was sent by itself, where it is new and a plain earn: those of a batch's with one
    /// receipt, which is the same field in both.
    pub(super) fn plain_receipt(&self, body: &AnswerBody) -> Option<Vec<u8>> {
        let AnswerBody::Posted { results, frame, commands } = body else { return None };
        let (&[ItemResult::Fresh(op)], [command]) = (results.as_slice(), commands.as_slice()) else { return None };
        let names = self.handle.names();
        let mut reply = Reply::new(Scribe { info: self.info(), names: &names }, 1);
        put_plain(&mut reply, frame.as_deref(), op, &command.key).then(|| reply.into_bytes())
    }

    /// The receipt of a member's command that was sent by itself.
    ///
    /// # Errors
    /// A status where the book cannot be read; the command is settled all the same.
    pub(super) async fn receipt_of(&self, mut body: AnswerBody) -> Result<pb::Receipt, Status> {
        let command = match &mut body {
            AnswerBody::Posted { commands, .. } => commands.pop(),
            _ => None,
        };
        let mut command = command.ok_or_else(status::unexpected)?;
        self.receipt(body, Sent::of(&mut command)).await
    }

    /// The receipt of an operator's command.
    ///
    /// # Errors
    /// A status where the book cannot be read.
    pub(super) async fn receipt(&self, body: AnswerBody, sent: Sent) -> Result<pb::Receipt, Status> {
        let AnswerBody::Posted { results, frame, .. } = body else {
            return Err(status::unexpected());
        };
        match results.first() {
            Some(ItemResult::Known(op)) => {
                self.settled(vec![(*op, sent)], &frame).await?.pop().ok_or_else(status::unexpected)
            }
            Some(result) => {
                let names = self.handle.names();
                let scribe = Scribe { info: self.info(), names: &names };
                new_receipt(&scribe, frame.as_deref(), result, sent)
            }
            None => Err(status::unexpected()),
        }
    }

    /// What the known keys stand for, in their order: read off the runtime, in one task for all of them.
    async fn settled(
        &self,
        known: Vec<(Op, Sent)>,
        frame: &Option<Arc<FrameBody>>,
    ) -> Result<Vec<pb::Receipt>, Status> {
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let (handle, frame) = (self.handle.clone(), frame.clone());
        let mut known: Vec<Known> =
            known.into_iter().enumerate().map(|(place, (op, sent))| Known { place, sent, op }).collect();
        // What was posted together is asked for together: in the order of the book each block is read once.
        known.sort_unstable_by_key(|known| known.op);
        let settled = blocking(move || {
            let names = handle.names();
            let scribe = Scribe { info: handle.book_info(), names: &names };
            let mut stored = Stored { book: handle.book(), block: None };
            let look_up = |known: Known| {
                let place = known.place;
                known_receipt(&scribe, &mut stored, frame.as_deref(), known).map(|receipt| (place, receipt))
            };
            known.into_iter().map(look_up).collect::<Result<Vec<_>, Unreadable>>()
        });
        let mut settled = settled.await?;
        settled.sort_unstable_by_key(|(place, _)| *place);
        Ok(settled.into_iter().map(|(_, receipt)| receipt).collect())
    }
}

/// Runs a task that reads the disk where it holds up no other request.
///
/// # Errors
/// The status of a book that cannot be read.
pub(super) async fn blocking<T, E, F>(task: F) -> Result<T, Status>
where
    T: Send + 'static,
    E: Display + Send + 'static,
    F: FnOnce() -> Result<T, E> + Send + 'static,
{
    match tokio::task::spawn_blocking(task).await {
        Ok(done) => done.map_err(|error| status::unreadable(&error)),
        Err(error) => Err(status::unreadable(&error)),
    }
}

/// Puts the receipt of an event decided for this very request where it is a plain earn; else puts nothing and returns false.
fn put_plain(reply: &mut Reply<'_>, frame: Option<&FrameBody>, op: Op, key: &str) -> bool {
    let event = frame.and_then(|frame| Some((frame.book_time_us(), frame.event(op.0)?)));
    event.is_some_and(|(book_time_us, event)| reply.put_plain(op, book_time_us, event, key))
}

/// The receipt of a command whose key was new.
fn new_receipt(
    scribe: &Scribe<'_>,
    frame: Option<&FrameBody>,
    result: &ItemResult,
    sent: Sent,
) -> Result<pb::Receipt, Status> {
    match *result {
        ItemResult::Fresh(op) => fresh(scribe, frame, op, sent),
        ItemResult::MembersLimit => Ok(members_limit(scribe.info, sent.key.into())),
        ItemResult::Aborted => Ok(aborted(scribe.info, sent.key.into())),
        ItemResult::Known(_) => Err(status::unexpected()),
    }
}

/// The receipt of an event decided for this very request.
fn fresh(scribe: &Scribe<'_>, frame: Option<&FrameBody>, op: Op, sent: Sent) -> Result<pb::Receipt, Status> {
    let frame = frame.ok_or_else(status::unexpected)?;
    let bytes = frame.event(op.0).ok_or_else(status::unexpected)?;
    let event = codec::decode(bytes).map_err(|error| status::unreadable(&Unreadable::Codec(op.0, error)))?;
    let mut receipt = scribe.receipt(op, frame.book_time_us(), &event, sent.key.into());
    sent.other.iter().for_each(|id| name_other(&mut receipt, id));
    for part in parts_of(op, &event) {
        receipt.parts.push(fresh(scribe, Some(frame), part, Sent::default())?);
    }
    Ok(receipt)
}

/// The events of a checkout's parts.
fn parts_of(op: Op, event: &Event<'_>) -> impl Iterator<Item = Op> {
    let links = match event {
        Event::CheckedOut(checkout) => Some(&checkout.parts),
        _ => None,
    };
    links.into_iter().flat_map(|links| links.iter()).filter_map(move |link| op.back(*link))
}

/// The first receipt again, or a conflict.
fn known_receipt(
    scribe: &Scribe<'_>,
    stored: &mut Stored<'_>,
    frame: Option<&FrameBody>,
    known: Known,
) -> Result<pb::Receipt, Unreadable> {
    let Known { sent, op, .. } = known;
    let parts: Vec<Op>;
    let mut receipt = {
        let (bytes, book_time_us) = stored.event_of(frame, op)?;
        let event = codec::decode(bytes).map_err(|error| Unreadable::Codec(op.0, error))?;
        let (_, key, body_hash) = event.identity();
        if key != sent.key || body_hash != sent.body_hash {
            return Ok(conflict(scribe.info, sent.key.into(), pb::Reason::KeyReused, op));
        }
        parts = parts_of(op, &event).collect();
        let mut receipt = scribe.receipt(op, book_time_us, &event, sent.key.into());
        sent.other.iter().for_each(|id| name_other(&mut receipt, id));
        receipt
    };
    for part in parts {
        let (bytes, book_time_us) = stored.event_of(frame, part)?;
        let event = codec::decode(bytes).map_err(|error| Unreadable::Codec(part.0, error))?;
        receipt.parts.push(scribe.receipt(part, book_time_us, &event, String::new()));
    }
    receipt.replayed = true;
    Ok(receipt)
}

/// Composes the answer of an atomic batch in which keys are known: all of them, or that of one remembered rejection, and
/// it stands as it is; else the whole is a conflict that changes nothing.
fn refuse_mixture(
    scribe: Scribe<'_>,
    frame: Option<&FrameBody>,
    results: &[ItemResult],
    commands: Vec<Command>,
    known: Vec<pb::Receipt>,
) -> Result<Vec<pb::Receipt>, Status> {
    let rejection = known.iter().any(|receipt| receipt.replayed && receipt.outcome() == pb::Outcome::Rejected);
    let stands = known.len() == results.len() || (known.len() == 1 && rejection);
    let mut known = known.into_iter();
    let mut receipts = Vec::with_capacity(results.len());
    for (result, mut command) in results.iter().zip(commands) {
        receipts.push(match result {
            ItemResult::Known(_) => known.next().ok_or_else(status::unexpected)?,
            _ => new_receipt(&scribe, frame, result, Sent::of(&mut command))?,
        });
    }
    for receipt in receipts.iter_mut().filter(|receipt| !stands && receipt.outcome() != pb::Outcome::Conflict) {
        let key = mem::take(&mut receipt.key);
        *receipt = conflict(scribe.info, key, pb::Reason::BatchKeysMixed, Op(receipt.op));
    }
    Ok(receipts)
}
