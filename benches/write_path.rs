//! The stages that a command goes through, each alone: `cargo bench`. End to end is `loadtest run`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stampbook::io::RealDisk;
use stampbook::journal::{FrameBody, FrameBuilder, Genesis, Journal, JournalOptions};
use stampbook::ledger::command::{Action, AdminAction, AdminCommand, Basis, Command};
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};
use stampbook::ledger::print::Prints;
use stampbook::ledger::spec::{CampaignSpec, OnExhausted, ProgramSpec, Ratio, Rounding, Rule};
use stampbook::ledger::{Decision, Hashes, Ledger, Limits, Moment, codec};

const MEMBERS: u64 = 1_000_000;
const BATCH: u64 = 1_000;
const NOW_US: i64 = 1_800_000_000_000_000;

fn spec() -> ProgramSpec {
    ProgramSpec {
        name: "Bench".into(),
        currency: "GBP".into(),
        time_zone: "Europe/London".into(),
        tz_version: "bench".into(),
        import_mode: true,
        effective_from_us: None,
        greatest_total: Ratio { numerator: 10, denominator: 1 },
        rules: vec![Rule {
            kind: "purchase".into(),
            rate: Ratio { numerator: 1, denominator: 10 },
            rounding: Rounding::Floor,
            more: Default::default(),
        }],
        campaigns: vec![CampaignSpec {
            id: "double".into(),
            start_us: i64::MIN,
            end_us: i64::MAX,
            kinds: Vec::new(),
            multiplier: Ratio { numerator: 2, denominator: 1 },
            group: "default".into(),
            on_exhausted: OnExhausted::Clip,
            cap: None,
            asset: Default::default(),
        }],
        more: Default::default(),
    }
}

/// A ledger with a funded double-points campaign, its prints, and random commands without end.
struct Night {
    ledger: Ledger,
    prints: Prints,
    random: u64,
}

impl Night {
    fn new() -> Self {
        let limits = Limits { members_max: u32::MAX, cap_counters_max: 0, lots_bytes_max: usize::MAX };
        let mut night = Self { ledger: Ledger::new(limits), prints: Prints::new([7; 32]), random: 1 };
        let put = AdminAction::PutProgram { expected_version: None, spec: Box::new(spec()), definition: String::new() };
        night.admin("put", put);
        night.admin("fund", AdminAction::FundCampaign { campaign: "double".into(), points: 1 << 60 });
        night
    }

    fn at(&self) -> Moment {
        Moment { op: Op(self.ledger.newest().0 + 1), book_time_us: NOW_US }
    }

    fn admin(&mut self, key: &str, action: AdminAction) {
        let key_print = self.prints.key("p", key);
        let (program_id, key) = ("p".to_owned(), key.to_owned());
        let (actor, reason) = (String::new(), String::new());
        let command = AdminCommand { program_id, key, key_print, body_hash: [0; 16], actor, reason, action };
        let at = self.at();
        let event = self.ledger.decide_admin(&command, at);
        self.ledger.evolve(at, &event, Hashes { key: key_print, member: 0, other: 0 }).unwrap();
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn commands(&mut self) -> Vec<Command> {
        let one = |night: &mut Self| {
            let key = format!("{:020x}", night.next());
            let member = format!("member-{:013}", night.next() % MEMBERS);
            Command {
                program: ProgramNo(0),
                key_print: night.prints.key("p", &key),
                member_hash: night.prints.member("p", &member),
                key,
                body_hash: [1; 16],
                member,
                occurred_at_us: None,
                currency: None,
                notes: None,
                action: Action::Earn {
                    basis: Basis::Spend(1_234),
                    event_kind: Some("purchase".into()),
                    asset: AssetNo::POINTS,
                    matures: None,
                },
            }
        };
        (0..BATCH).map(|_| one(self)).collect()
    }

    /// Decides, encodes and evolves; returns the encoded bytes.
    fn post(&mut self, commands: &[Command]) -> FrameBody {
        let mut frame = FrameBuilder::new(self.at().op.0, NOW_US, Vec::new());
        for pass in commands.chunks(64) {
            self.ledger.touch(pass);
            for command in pass {
                let at = self.at();
                let Decision::Event(event) = self.ledger.decide(command, None, at) else { panic!("limit reached") };
                frame.push_with(|bytes| codec::encode(&event, bytes).unwrap()).unwrap();
                let hashes = Hashes { key: command.key_print, member: command.member_hash, other: 0 };
                self.ledger.evolve(at, &event, hashes).unwrap();
            }
        }
        frame.close()
    }
}

fn stages(c: &mut Criterion) {
    let mut night = Night::new();
    for _ in 0..2 * MEMBERS / BATCH {
        let commands = night.commands();
        night.post(&commands);
    }
    let mut group = c.benchmark_group("command");
    group.throughput(Throughput::Elements(BATCH));
    let prints = night.prints.clone();
    let commands = night.commands();
    group.bench_function("hash key and member", |b| {
        b.iter(|| {
            for command in &commands {
                black_box((prints.key("p", &command.key), prints.member("p", &command.member)));
            }
        });
    });
    group.bench_function("decide, 1M members", |b| {
        b.iter(|| {
            for command in &commands {
                black_box(night.ledger.decide(command, None, night.at()));
            }
        });
    });
    let frame = night.post(&commands);
    let first = frame.first_op();
    group.bench_function("decode", |b| {
        b.iter(|| {
            for op in first..first + BATCH {
                black_box(codec::decode(frame.event(op).unwrap()).unwrap());
            }
        });
    });
    group.bench_function("decide, encode, evolve, 1M members", |b| {
        b.iter_custom(|rounds| {
            let mut spent = std::time::Duration::ZERO;
            for _ in 0..rounds {
                let commands = night.commands();
                let begun = std::time::Instant::now();
                black_box(night.post(&commands));
                spent += begun.elapsed();
            }
            spent
        });
    });
    group.finish();
}

fn journal(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let genesis =
        Genesis { book_id: [1; 16], secret: [2; 32], incarnation: 0, parent: None, created_at_us: 0, event_format: 1 };
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let mut opened = Journal::open(disk, || genesis, JournalOptions::default(), &mut |_| Ok(())).unwrap();
    let mut group = c.benchmark_group("frame, chained, written and synced");
    for events in [1_u64, 1_000, 8_000] {
        group.throughput(Throughput::Elements(events));
        group.bench_function(format!("{events} events of 100 bytes"), |b| {
            b.iter_batched(
                || {
                    let mut frame = FrameBuilder::new(opened.book.head().op + 1, NOW_US, Vec::new());
                    (0..events).for_each(|_| assert!(frame.push(&[5; 100]).is_ok()));
                    Arc::new(frame.close())
                },
                |frame| opened.writer.append(frame).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, stages, journal);
criterion_main!(benches);
