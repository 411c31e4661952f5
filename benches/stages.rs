//! What a command costs stage by stage, each alone, in nanoseconds of one core: `cargo bench --bench stages --
//! [--members N] [--keys N] [--batch N] [--rounds N]`. The model that the end-to-end rate is held against; see
//! `src/ARCHITECTURE.md`.
//!
//! Half of the commands are double-points earns, as `loadtest run` posts them. Without arguments (as `cargo bench` runs it) it takes
//! a million members and no sealed keys; the figures of ARCHITECTURE are of ten million members and a hundred million keys.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use prost::Message;
use stampbook::engine::BookInfo;
use stampbook::engine::names::Names;
use stampbook::io::RealDisk;
use stampbook::journal::{FrameBody, FrameBuilder, Genesis, Journal, JournalOptions, Opened};
use stampbook::ledger::command::{AdminAction, AdminCommand, Command};
use stampbook::ledger::event::Event;
use stampbook::ledger::ids::Op;
use stampbook::ledger::print::Prints;
use stampbook::ledger::spec::ProgramSpec;
use stampbook::ledger::{Decision, Hashes, Ledger, Limits, Moment, codec};
use stampbook::proto as pb;
use stampbook::server::body_hash::body_hash;
use stampbook::server::convert::Converter;
use stampbook::server::items;
use stampbook::server::receipt::Scribe;
use stampbook::server::receipt::reply::Reply;
use stampbook::store::{BookName, SledShelves, Store, StoreOptions};

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW_US: i64 = 1_800_000_000_000_000;
/// Commands whose look-ups wait for memory together, as in the engine.
const PASS: usize = 64;
const PROGRAM: &str = "loadtest";

struct Options {
    members: u64,
    keys: u64,
    batch: u64,
    rounds: u64,
}

impl Options {
    fn read() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let number = |name: &str, usual: u64| {
            let place = arguments.iter().position(|argument| argument == name);
            place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(usual)
        };
        Self {
            members: number("--members", 1_000_000),
            keys: number("--keys", 0),
            batch: number("--batch", 1_000),
            rounds: number("--rounds", 200),
        }
    }
}

fn random(n: u64) -> u64 {
    // splitmix64
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn spec() -> Box<ProgramSpec> {
    let text = include_str!("../loadtest/programs/loadtest.toml");
    Box::new(stampbook::program::parse(text, "loadtest.toml").expect("the load tester's program is sound").spec)
}

/// A book that stands still on the network's side, and a ledger behind it.
struct Night {
    ledger: Ledger,
    prints: Prints,
    names: Arc<Names>,
    info: BookInfo,
    sent: u64,
}

impl Night {
    fn new() -> Self {
        let limits = Limits { members_max: u32::MAX, cap_counters_max: 0, lots_bytes_max: usize::MAX };
        let (names, prints) = (Arc::default(), Prints::new([7; 32]));
        let info = BookInfo { book_id: "0123456789abcdef0123456789abcdef".into(), incarnation: 0, parent: None };
        let mut night = Self { ledger: Ledger::new(limits), prints, names, info, sent: 0 };
        let put = AdminAction::PutProgram { expected_version: None, spec: spec(), definition: String::new() };
        night.admin("put", put);
        let campaign = night.ledger.campaigns(night.ledger.program_number(PROGRAM).unwrap())[0].spec.id.clone();
        night.admin("fund", AdminAction::FundCampaign { campaign, points: 1_000_000_000_000 });
        night.names = Arc::new(Names::of(&night.ledger));
        night
    }

    fn at(&self) -> Moment {
        Moment { op: Op(self.ledger.newest().0 + 1), book_time_us: NOW_US }
    }

    fn admin(&mut self, key: &str, action: AdminAction) {
        let key_print = self.prints.key(PROGRAM, key);
        let (actor, reason) = (String::new(), String::new());
        let (program_id, key) = (PROGRAM.to_owned(), key.to_owned());
        let command = AdminCommand { program_id, key, key_print, body_hash: [0; 16], actor, reason, action };
        let at = self.at();
        let event = self.ledger.decide_admin(&command, at);
        self.ledger.evolve(at, &event, Hashes { key: key_print, member: 0, other: 0 }).unwrap();
    }

    /// A request as it comes off the wire, and the member of each command.
    fn request(&mut self, options: &Options, each: Option<u64>) -> Bytes {
        let items = (0..options.batch).map(|place| {
            self.sent += 1;
            let bits = random(self.sent);
            let member = each.map_or(bits % options.members, |first| (first + place) % options.members);
            let event_kind = if bits & (1 << 40) == 0 { "purchase" } else { "visit" };
            let basis = Some(pb::earn::Basis::AmountMinor(200 + i64::try_from(bits >> 52).unwrap()));
            pb::Command {
                program: PROGRAM.into(),
                key: format!("{bits:016x}abcd"),
                member: format!("member-{member:013}"),
                action: Some(pb::command::Action::Earn(pb::Earn {
                    basis,
                    event_kind: event_kind.into(),
                    ..Default::default()
                })),
                ..Default::default()
            }
        });
        pb::PostBatchRequest { items: items.collect(), atomic: false }.encode_to_vec().into()
    }

    /// Reads, checks and hashes, each command as it comes, as the network's threads do.
    #[inline(never)]
    fn take(&self, request: &Bytes) -> Vec<Command> {
        let mut converter = Converter::new(Arc::clone(&self.names), &self.prints);
        let (items, _) = items::of_batch(request).unwrap();
        items.map(|item| converter.convert(item.unwrap()).unwrap()).collect()
    }

    /// Decides, encodes and evolves as the engine does.
    #[inline(never)]
    fn post(&mut self, commands: &[Command]) -> FrameBody {
        let mut frame = FrameBuilder::new(self.at().op.0, NOW_US);
        for pass in commands.chunks(PASS) {
            self.ledger.touch(pass);
            for command in pass {
                let at = self.at();
                assert!(self.ledger.key(command.key_print).is_none());
                if let Some(earn) = self.ledger.plain_earn(command, at) {
                    frame.push_with(|bytes| codec::encode(&earn.event(command), bytes).unwrap()).unwrap();
                    self.ledger.follow_plain(&earn, command).unwrap();
                    continue;
                }
                let Decision::Event(event) = self.ledger.decide(command, None, at) else { panic!("limit reached") };
                frame.push_with(|bytes| codec::encode(&event, bytes).unwrap()).unwrap();
                let hashes = Hashes { key: command.key_print, member: command.member_hash, other: 0 };
                self.ledger.evolve(at, &event, hashes).unwrap();
            }
        }
        if self.ledger.seal_due(u64::MAX) {
            let newest = self.ledger.seal().map(|generation| generation.last());
            newest.map(|newest| self.ledger.drop_sealed(newest));
        }
        frame.close()
    }

    #[inline(never)]
    fn receipts(&self, frame: &FrameBody, commands: Vec<Command>) -> Vec<u8> {
        let scribe = Scribe { info: &self.info, names: &self.names };
        let mut reply = Reply::new(scribe, commands.len());
        for (op, command) in (frame.first_op()..).zip(commands) {
            let event = frame.event(op).unwrap();
            if !reply.put_plain(Op(op), NOW_US, event, &command.key) {
                reply.put(&scribe.receipt(Op(op), NOW_US, &codec::decode(event).unwrap(), command.key.into()));
            }
        }
        reply.into_bytes()
    }
}

/// The time that something took, and what it made.
fn timed<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let made = work();
    *spent += begun.elapsed();
    made
}

/// Stages in the order of their printing, with the time they took over all commands.
#[derive(Default)]
struct Stages {
    spent: Vec<(&'static str, &'static str, Duration)>,
}

impl Stages {
    fn of(&mut self, thread: &'static str, name: &'static str) -> &mut Duration {
        let place = self.spent.iter().position(|(_, known, _)| *known == name).unwrap_or(self.spent.len());
        if place == self.spent.len() {
            self.spent.push((thread, name, Duration::ZERO));
        }
        &mut self.spent[place].2
    }

    fn print(&self, commands: u64) {
        let nanos = |spent: Duration| spent.as_nanos() / u128::from(commands);
        for (thread, name, spent) in &self.spent {
            println!("{thread:<8} {name:<58} {:>6} ns", nanos(*spent));
        }
        let sum = self.spent.iter().filter(|(thread, ..)| *thread != "part of").map(|(_, _, spent)| *spent).sum();
        println!("{:<67} {:>6} ns a command of all threads", "sum", nanos(sum));
    }
}

fn journal(dir: &std::path::Path) -> Opened {
    let genesis =
        Genesis { book_id: [1; 16], secret: [2; 32], incarnation: 0, parent: None, created_at_us: 0, event_format: 1 };
    let disk = Arc::new(RealDisk::open(dir).unwrap());
    Journal::open(disk, || genesis, JournalOptions::default(), &mut |_| Ok(())).unwrap()
}

/// One round, every stage on its own commands, so that none finds in the cache what another brought.
fn round(night: &mut Night, options: &Options, opened: &mut Opened, stages: &mut Stages) {
    let request = night.request(options, None);
    timed(stages.of("part of", "  read alone"), || {
        items::of_batch(&request).unwrap().0.for_each(|item| {
            black_box(item.unwrap());
        });
    });
    let request = night.request(options, None);
    let commands =
        timed(stages.of("network", "read, check and hash (shape, body, key, member)"), || night.take(&request));
    let prints = night.prints.clone();
    let mut scratch = Vec::new();
    let messages = pb::PostBatchRequest::decode(night.request(options, None)).unwrap().items;
    timed(stages.of("part of", "  hash body, key and member"), || {
        for command in &messages {
            black_box(body_hash(command, &mut scratch));
            black_box((prints.key(PROGRAM, &command.key), prints.member(PROGRAM, &command.member)));
        }
    });
    timed(stages.of("part of", "  look up the key, then the member, without asking ahead"), || {
        for command in &commands {
            black_box(night.ledger.key(command.key_print));
            let member = night.ledger.member(command.member_hash);
            black_box(member.map(|member| night.ledger.balances(member)));
        }
    });
    let request = night.request(options, None);
    let others = night.take(&request);
    timed(stages.of("part of", "  the same, asked for ahead in passes"), || {
        for pass in others.chunks(PASS) {
            night.ledger.touch(pass);
            for command in pass {
                black_box(night.ledger.key(command.key_print));
                let member = night.ledger.member(command.member_hash);
                black_box(member.map(|member| night.ledger.balances(member)));
            }
        }
    });
    let at = night.at();
    let mut events: Vec<Event<'_>> = Vec::with_capacity(others.len());
    timed(stages.of("part of", "  decide (look-ups near)"), || {
        for command in &others {
            let Decision::Event(event) = night.ledger.decide(command, None, at) else { panic!("limit reached") };
            events.push(event);
        }
    });
    let mut bytes = Vec::with_capacity(1 << 20);
    timed(stages.of("part of", "  encode the event"), || {
        events.iter().for_each(|event| codec::encode(event, &mut bytes).unwrap());
    });
    drop(events);
    let request = night.request(options, None);
    let commands = night.take(&request);
    let frame = timed(stages.of("engine", "look up, decide, encode, evolve"), || night.post(&commands));
    let copy = FrameBuilder::new(opened.book.head().op + 1, NOW_US);
    let copy = Arc::new(
        frame
            .events()
            .fold(copy, |mut copy, event| {
                copy.push(event).unwrap();
                copy
            })
            .close(),
    );
    timed(stages.of("journal", "chain, write and sync"), || opened.writer.append(copy).unwrap());
    let receipts = timed(stages.of("network", "receipts from the events' bytes"), || night.receipts(&frame, commands));
    timed(stages.of("network", "encode the reply"), || {
        let mut reply = BytesMut::new();
        reply.extend_from_slice(&receipts);
        black_box(reply);
    });
}

/// What looking for a new key among the sealed ones costs.
fn sealed(options: &Options, stages: &mut Stages) {
    let dir = tempfile::tempdir().unwrap();
    let name = BookName { book_id: [1; 16], incarnation: 0 };
    let mut store = Store::open(Arc::new(SledShelves::new(dir.path())), name, StoreOptions::default()).unwrap().0;
    let mut last = 0;
    while last < options.keys {
        let (after, now) = (last, (last + 2_800_000).min(options.keys));
        store.seal(after, now, (after + 1..=now).map(|op| (random(op), op)).collect()).unwrap();
        while store.merge_step().unwrap() {}
        last = now;
    }
    let (keys, asked) = (store.keys(), options.rounds * options.batch);
    let strange = |number: u64| u128::from(random(options.keys + 1 + number)) << 64;
    timed(stages.of("part of", "  ask the filters over sealed keys one by one"), || {
        for number in 0..asked {
            black_box(keys.may_hold(strange(number), 0));
        }
    });
    timed(stages.of("engine", "ask the filters over sealed keys in passes"), || {
        for pass in (asked..2 * asked).step_by(PASS) {
            black_box(keys.may_hold_any((pass..pass + PASS as u64).map(strange)));
        }
    });
}

fn main() {
    let options = Options::read();
    let mut night = Night::new();
    for batch in 0..options.members.div_ceil(options.batch) {
        let request = night.request(&options, Some(batch * options.batch));
        let commands = night.take(&request);
        night.post(&commands);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut opened = journal(dir.path());
    let mut stages = Stages::default();
    (0..options.rounds.div_ceil(10)).for_each(|_| round(&mut night, &options, &mut opened, &mut Stages::default()));
    (0..options.rounds).for_each(|_| round(&mut night, &options, &mut opened, &mut stages));
    if options.keys > 0 {
        sealed(&options, &mut stages);
    }
    println!("{} members, {} sealed keys, batches of {}", options.members, options.keys, options.batch);
    stages.print(options.rounds * options.batch);
}
