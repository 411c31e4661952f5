//! Posting: one command, a batch of them, or a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use prost::Message;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::admission::Charge;
use super::convert::Converter;
use super::desk::Desk;
use super::items;
use super::ready_made::ledger_service_server::LedgerService;
use super::rooms::Rooms;
use super::shape::Fault;
use super::status;
use super::stream;
use super::turns::Turns;
use crate::constants::COMMANDS_PER_BATCH_MAX;
use crate::engine::request::{StreamId, Work};
use crate::ledger::command::{Command, MERGE_EVENTS, TRANSFER_EVENTS};
use crate::proto as pb;

/// The service.
pub(super) struct Ledger {
    desk: Desk,
    turns: Arc<Turns>,
    streams: AtomicU64,
    stopping: watch::Receiver<bool>,
}

impl Ledger {
    /// The service before an engine, which reads batches in these turns; streams end when `stopping` turns true.
    #[must_use]
    pub(super) fn new(desk: Desk, turns: Arc<Turns>, stopping: watch::Receiver<bool>) -> Self {
        Self { desk, turns, streams: AtomicU64::new(0), stopping }
    }

    fn post_of(&self, commands: Vec<Command>, atomic: bool) -> Work {
        Work::post(commands, atomic, None)
    }
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn post(&self, request: Request<Bytes>) -> Result<Response<Vec<u8>>, Status> {
        let command = one(&self.desk, &request.into_inner()).map_err(|fault| status::invalid(&[fault]))?;
        let answer = self.desk.ask(self.post_of(vec![command], false)).await?;
        if let Some(plain) = self.desk.plain_receipt(&answer.body) {
            return Ok(Response::new(plain));
        }
        let receipt = self.desk.receipt_of(answer.body).await?;
        match receipt.outcome() {
            pb::Outcome::Applied | pb::Outcome::Rejected => {
                Ok(Response::new(pb::PostResponse { receipt: Some(receipt) }.encode_to_vec()))
            }
            _ => Err(status::unposted(&receipt)),
        }
    }

    async fn post_batch(&self, request: Request<Bytes>) -> Result<Response<Vec<u8>>, Status> {
        let turn = self.turns.take().await;
        let read = batch(self.desk.converter(), self.desk.rooms(), &request.into_inner());
        drop(turn);
        let (commands, atomic) = read.map_err(|fault| status::invalid(&[fault]))?;
        let answer = self.desk.ask(self.post_of(commands, atomic)).await?;
        self.desk.receipts(answer.body, atomic).await.map(Response::new)
    }

    type PostStreamStream = ReceiverStream<Result<Vec<u8>, Status>>;

    async fn post_stream(
        &self,
        mut request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::PostStreamStream>, Status> {
        let charge = request.extensions_mut().remove::<Arc<Charge>>();
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let stopping = self.stopping.clone();
        Ok(Response::new(stream::run(self.desk.clone(), stream, request.into_inner(), charge, stopping)))
    }
}

/// The command of a request to post one.
fn one(desk: &Desk, request: &[u8]) -> Result<Command, Fault> {
    let sent = items::of_post(request)?.ok_or_else(|| Fault::missing("command"))?;
    desk.converter().convert(sent).map_err(|fault| fault.within("command."))
}

/// The commands of a request to post a batch, all of sound shape, and whether they are atomic.
fn batch(mut converter: Converter<'_>, rooms: &Rooms, request: &[u8]) -> Result<(Vec<Command>, bool), Fault> {
    let (items, atomic) = items::of_batch(request)?;
    let count = items.len();
    match count {
        0 => return Err(Fault::missing("items")),
        1..=COMMANDS_PER_BATCH_MAX => {}
        _ => return Err(too_many(count, count)),
    }
    let (mut commands, mut events) = (rooms.take(count), 0);
    for (place, item) in items.enumerate() {
        let command = item.and_then(|item| converter.convert(item));
        let command = command.map_err(|fault| fault.within(&format!("items[{place}].")))?;
        events += command.events();
        // Past the limit they are only counted.
        if events <= COMMANDS_PER_BATCH_MAX {
            commands.push(command);
        }
    }
    if events > COMMANDS_PER_BATCH_MAX {
        return Err(too_many(count, events));
    }
    if atomic {
        one_program(&commands)?;
        no_key_twice(&commands)?;
    }
    Ok((commands, atomic))
}

fn too_many(items: usize, events: usize) -> Fault {
    let counted = match events > items {
        true => format!(
            ", a checkout counted as its parts and one more, a transfer as {TRANSFER_EVENTS}, a merge as {MERGE_EVENTS}"
        ),
        false => String::new(),
    };
    let message = format!("{events} items{counted}; a batch takes at most {COMMANDS_PER_BATCH_MAX}");
    Fault::new("items", pb::Reason::TooManyItems, message)
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
    let key = commands.get(place).map(|command| command.key.to_string()).unwrap_or_default();
    let message = "a key occurs once in an atomic batch";
    Err(Fault::new(format!("items[{place}].key"), pb::Reason::DuplicateKeyInBatch, message).of(key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use pb::command::Action as Sent;

    use super::*;
    use crate::engine::names::{Names, ProgramNames};
    use crate::ledger::print::Prints;
    use crate::server::item::Item;

    /// A place for each kind of action, from 0; a kind that is new has none until it is written here and in [`one_of_each`].
    fn place(action: &Sent) -> usize {
        match action {
            Sent::Earn(_) => 0,
            Sent::Refund(_) => 1,
            Sent::Redeem(_) => 2,
            Sent::Adjust(_) => 3,
            Sent::Reverse(_) => 4,
            Sent::Hold(_) => 5,
            Sent::Capture(_) => 6,
            Sent::Release(_) => 7,
            Sent::Transfer(_) => 8,
            Sent::Convert(_) => 9,
            Sent::TopUp(_) => 10,
            Sent::Grant(_) => 11,
            Sent::Use(_) => 12,
            Sent::Activate(_) => 13,
            Sent::MemberSet(_) => 14,
            Sent::Freeze(_) => 15,
            Sent::Close(_) => 16,
            Sent::Merge(_) => 17,
            Sent::Checkout(_) => 18,
            Sent::Opening(_) => 19,
            Sent::Unfreeze(_) => 20,
        }
    }
    const KINDS: usize = 21;

    fn one_of_each() -> Vec<Sent> {
        let (id, actor, reason, asset) =
            (|| "ben".to_owned(), || "ana".to_owned(), || "why".to_owned(), || "cup".to_owned());
        let (basis, amount) = (Some(pb::earn::Basis::Points(1)), Some(pb::refund::Amount::Points(1)));
        let earn = || pb::Earn { basis, ..Default::default() };
        let part = |_| pb::CheckoutPart { part: Some(pb::checkout_part::Part::Earn(earn())) };
        let used = pb::Use { asset: asset(), units: 1 };
        let redeem = pb::CheckoutPart { part: Some(pb::checkout_part::Part::Use(used.clone())) };
        let purpose = pb::Purpose::Gift.into();
        let original = Some(pb::reverse::Original::OriginalOp(1));
        let checkout = |more: usize| {
            let parts = (0..1).map(part).chain(std::iter::repeat_n(redeem.clone(), more)).collect();
            Sent::Checkout(pb::Checkout { parts })
        };
        vec![
            Sent::Earn(earn()),
            Sent::Refund(pb::Refund { amount, ..Default::default() }),
            Sent::Redeem(pb::Redeem { points: 1, purpose, ..Default::default() }),
            Sent::Adjust(pb::Adjust { points: 1, actor: actor(), reason: reason(), ..Default::default() }),
            Sent::Reverse(pb::Reverse { original, units: None }),
            Sent::Hold(pb::Hold { units: 1, purpose, ..Default::default() }),
            Sent::Capture(pb::Capture { hold: Some(pb::capture::Hold::HoldOp(1)), units: 1, last: false }),
            Sent::Release(pb::Release { hold: Some(pb::release::Hold::HoldOp(1)) }),
            Sent::Transfer(pb::Transfer { to: id(), units: 1, ..Default::default() }),
            Sent::Convert(pb::Convert { to_program: "air".into(), units: 1, ..Default::default() }),
            Sent::TopUp(pb::TopUp { asset: asset(), principal_minor: 1, bonus_minor: 0 }),
            Sent::Grant(pb::Grant { asset: asset(), units: 1, lapses_at_us: None }),
            Sent::Use(used),
            Sent::Activate(pb::Activate { original: Some(pb::activate::Original::OriginalOp(1)) }),
            Sent::MemberSet(pb::MemberSet { joined_on: Some("2026-01-31".into()), ..Default::default() }),
            Sent::Freeze(pb::Freeze { actor: actor(), reason: reason() }),
            Sent::Unfreeze(pb::Unfreeze { actor: actor(), reason: reason() }),
            Sent::Close(pb::Close { actor: actor(), reason: reason() }),
            Sent::Merge(pb::Merge { into: id(), actor: actor(), reason: reason() }),
            Sent::Opening(pb::Opening { points: 1, actor: actor(), reason: reason(), ..Default::default() }),
            checkout(1),
            checkout(7),
        ]
    }

    fn names() -> Arc<Names> {
        let program = |id: &str| ProgramNames {
            id: id.to_owned(),
            campaigns: Vec::new(),
            campaign_assets: Vec::new(),
            assets: ["points", "cup"].map(str::to_owned).to_vec(),
            rewards: Vec::new(),
            closings: Vec::new(),
        };
        Arc::new(Names::from_programs(vec![program("shop"), program("air")]))
    }

    fn of(action: Sent) -> pb::Command {
        let (program, key, member) = ("shop".into(), "key".into(), "ann".into());
        pb::Command { program, key, member, action: Some(action), ..Default::default() }
    }

    /// What a batch of those bytes is taken as.
    fn take(request: &[u8]) -> Result<Vec<Command>, Fault> {
        batch(Converter::new(names(), &Prints::new([7; 32])), &Rooms::default(), request).map(|(commands, _)| commands)
    }

    fn take_items(items: Vec<pb::Command>) -> Result<Vec<Command>, Fault> {
        take(&pb::PostBatchRequest { items, atomic: false }.encode_to_vec())
    }

    #[test]
    fn reading_a_batch_of_plain_earns_allocates_nothing_for_a_command() {
        let (names, prints, rooms) = (names(), Prints::new([7; 32]), Rooms::default());
        let read = |count: usize| {
            let earn = |n: usize| {
                let basis = Some(pb::earn::Basis::AmountMinor(1_000));
                let earn = pb::Earn { basis, event_kind: "purchase".into(), ..Default::default() };
                pb::Command { key: format!("key-{n}"), member: format!("member-{n}"), ..of(Sent::Earn(earn)) }
            };
            let request = pb::PostBatchRequest { items: (0..count).map(earn).collect(), atomic: false }.encode_to_vec();
            let (converter, mut read) = (Converter::new(Arc::clone(&names), &prints), None);
            let taken = allocation_counter::measure(|| read = Some(batch(converter, &rooms, &request)));
            let (commands, _) = read.unwrap().unwrap();
            assert_eq!(commands.len(), count);
            rooms.leave(commands);
            taken.count_total
        };
        read(1_000);
        // The program's name, which the commands of a request share.
        assert_eq!((read(100), read(1_000)), (1, 1));
    }

    #[test]
    fn a_command_of_every_kind_is_taken_however_it_is_decoded() {
        let prints = Prints::new([7; 32]);
        let mut converter = Converter::new(names(), &prints);
        let (mut places, mut counts) = (BTreeSet::new(), BTreeSet::new());
        for action in one_of_each() {
            places.insert(place(&action));
            let bytes = of(action).encode_to_vec();
            let command = converter.convert(Item::read(&bytes).unwrap()).unwrap();
            let by_fields = Item::merged(std::iter::once(&*bytes)).unwrap();
            assert_eq!(converter.convert(by_fields), Ok(command.clone()));
            counts.insert(command.events());
        }
        assert_eq!(places.len(), KINDS);
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 9]);
    }

    #[test]
    fn items_too_many_are_refused_before_any_of_them_is_read() {
        let mut request = [0x0a, 1, 0xff].repeat(COMMANDS_PER_BATCH_MAX);
        assert_eq!(take(&request).unwrap_err().field, "items[0]");
        request.extend([0x0a, 1, 0xff]);
        let fault = take(&request).unwrap_err();
        assert_eq!((fault.field.as_str(), fault.reason), ("items", pb::Reason::TooManyItems));
        assert_eq!(fault.message, "10001 items; a batch takes at most 10000");
    }

    #[test]
    fn what_is_no_command_is_refused_by_its_place_and_field() {
        let sound = of(Sent::Earn(pb::Earn { basis: Some(pb::earn::Basis::Points(1)), ..Default::default() }));
        let mut request = pb::PostBatchRequest { items: vec![sound.clone(), sound], atomic: false }.encode_to_vec();
        let key = request.windows(3).rposition(|bytes| bytes == b"key").unwrap();
        *request.get_mut(key).unwrap() = 0xff;
        let fault = take(&request).unwrap_err();
        assert_eq!((fault.field.as_str(), fault.reason), ("items[1].key", pb::Reason::FieldMalformed));
        let basis = Some(pb::earn::Basis::Points(1));
        let nested = of(Sent::Earn(pb::Earn { basis, event_kind: "bought".into(), ..Default::default() }));
        let mut request = pb::PostBatchRequest { items: vec![nested], atomic: false }.encode_to_vec();
        let kind = request.windows(6).position(|bytes| bytes == b"bought").unwrap();
        *request.get_mut(kind).unwrap() = 0xff;
        assert_eq!(take(&request).unwrap_err().field, "items[0].action.event_kind");
    }

    #[test]
    fn a_batch_takes_as_many_events_as_its_limit_and_tells_how_many_there_were() {
        let transfer = || of(Sent::Transfer(pb::Transfer { to: "ben".into(), units: 1, ..Default::default() }));
        let most = COMMANDS_PER_BATCH_MAX / TRANSFER_EVENTS;
        assert_eq!(take_items(vec![transfer(); most]).map(|taken| taken.len()), Ok(most));
        let fault = take_items(vec![transfer(); most + 10]).unwrap_err();
        assert!(fault.message.starts_with("10020 items, a checkout counted as its parts"), "{}", fault.message);
        assert_eq!((fault.field.as_str(), fault.reason), ("items", pb::Reason::TooManyItems));
    }
}
