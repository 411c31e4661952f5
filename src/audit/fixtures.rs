//! A small book with everything in it, for the tests of this module: two programs, campaigns, refunds, debts, refusals.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use smol_str::SmolStr;

use super::snapshot::{ManifestInput, SnapshotWriter};
use crate::engine::names::Names;
use crate::io::sim::SimDisk;
use crate::journal::{Book, FrameBuilder, Genesis, Head, Journal, JournalOptions, Writer};
use crate::ledger::command::{Action, AdminAction, AdminCommand, Basis, Command, Notes, Original, Purpose};
use crate::ledger::event::{Balances, Event};
use crate::ledger::ids::{AssetNo, MemberNo, Op};
use crate::ledger::own::End;
use crate::ledger::print::Prints;
use crate::ledger::view::ProgramTrial;
use crate::ledger::{Decision, Found, Ledger, Limits, Moment, Need, Resolved, codec};

const SECRET: [u8; 32] = [7; 32];
/// 2026-01-01T00:00:00Z.
pub(crate) const BEGAN_US: i64 = 1_767_225_600_000_000;
/// Members whose ids no format must trip over.
pub(crate) const MEMBERS: [&str; 8] =
    ["ann", "bob", "comma, \"quote\"", "semi;colon  two", "line\nbreak", "(virtual):x", "积分", "%41=b|c"];

pub(crate) fn genesis() -> Genesis {
    Genesis {
        book_id: [3; 16],
        secret: SECRET,
        incarnation: 1,
        parent: Some(crate::journal::Parent { book_id: [2; 16], op: 9, hash: [8; 32] }),
        created_at_us: BEGAN_US,
        event_format: 1,
    }
}

/// The book, and what the ledger said after every op.
pub(crate) struct TestBook {
    pub(crate) disk: SimDisk,
    pub(crate) book: Book,
    pub(crate) ledger: Ledger,
    pub(crate) trials: Vec<Vec<ProgramTrial>>,
    /// By op, the balances of the members of the first program, where they exist, in the order of [`MEMBERS`].
    pub(crate) balances: Vec<Vec<Option<(Balances, Op)>>>,
    pub(crate) head: Head,
    prints: Prints,
    writer: Writer,
    open: Option<FrameBuilder>,
    now_us: i64,
    events: Vec<Vec<u8>>,
}

fn earn(basis: Basis, event_kind: Option<SmolStr>) -> Action {
    Action::Earn { basis, event_kind, asset: AssetNo::POINTS, matures: None }
}

pub(crate) fn definition(program: &str) -> String {
    format!(
        "id = \"{program}\"\nname = \"Test\"\ncurrency = \"GBP\"\ntime_zone = \"Europe/London\"\nmode = \"import\"\n\
         [[rules]]\nkind = \"purchase\"\npoints = 10\nper_minor = 100\n\
         [[campaigns]]\nid = \"double\"\nstart = \"2000-01-01T00:00:00\"\nend = \"2100-01-01T00:00:00\"\n\
         multiplier = \"2\"\n[[campaigns]]\nid = \"half-off\"\nstart = \"2000-01-01T00:00:00\"\n\
         end = \"2100-01-01T00:00:00\"\nmultiplier = \"3/2\"\ngroup = \"other\"\n"
    )
}

impl TestBook {
    /// A book of about `events` events, in frames of three.
    pub(crate) fn new(events: u64) -> Self {
        let disk = SimDisk::new(1);
        let options = JournalOptions::with_segment_bytes(64 * 4096);
        let opened = Journal::open(Arc::new(disk.clone()), genesis, options, &mut |_| Ok(())).unwrap();
        let mut book = Self {
            disk,
            book: opened.book,
            ledger: Ledger::new(Limits { members_max: 1_000, cap_counters_max: 1_000, lots_bytes_max: usize::MAX }),
            trials: vec![Vec::new()],
            balances: vec![vec![None; MEMBERS.len()]],
            head: Head { op: 0, hash: [0; 32] },
            prints: Prints::new(SECRET),
            writer: opened.writer,
            open: None,
            now_us: BEGAN_US,
            events: Vec::new(),
        };
        book.write(events);
        book
    }

    fn write(&mut self, events: u64) {
        for program in ["shop", "cafe"] {
            let text = definition("shop");
            let spec = Box::new(crate::program::parse(&text, "test").unwrap().spec);
            self.admin(program, AdminAction::PutProgram { expected_version: Some(0), spec, definition: text });
            for campaign in ["double", "half-off", "none"] {
                self.admin(program, AdminAction::FundCampaign { campaign: campaign.into(), points: 500 });
            }
        }
        let mut seed = 1_u64;
        while self.ledger.newest().0 < events {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = usize::try_from(seed >> 40).unwrap();
            let member = MEMBERS.get(pick % MEMBERS.len()).unwrap();
            let program = if pick.is_multiple_of(5) { "cafe" } else { "shop" };
            let amount = u64::try_from(pick % 3_000 + 1).unwrap();
            let kind = || Some("purchase".into());
            let action = match pick % 11 {
                0..=4 => earn(Basis::Spend(amount), kind()),
                5 => earn(Basis::Points(amount), None),
                6 => earn(Basis::Spend(1), Some("unheard of".into())),
                7 | 8 => {
                    Action::Redeem { asset: AssetNo::POINTS, points: amount % 150 + 1, purpose: Purpose::ALL[pick % 6] }
                }
                9 => {
                    let original = Original::Op(Op(u64::try_from(pick).unwrap() % (self.ledger.newest().0 + 2) + 1));
                    Action::Refund { original, basis: Basis::Spend(amount % 300 + 1), event_kind: None }
                }
                _ if amount.is_multiple_of(2) => Action::Adjust {
                    asset: AssetNo::POINTS,
                    points: i64::try_from(amount).unwrap() - 1_500,
                    actor: "ana, the boss".into(),
                    reason: "because \"so\"\tsaid".into(),
                },
                _ => Action::Refund { original: Original::None, basis: Basis::Spend(amount), event_kind: kind() },
            };
            self.post(program, member, action);
        }
        self.end_frame();
        self.head = self.book.head();
        self.writer.witness().unwrap();
    }

    pub(crate) fn names(&self) -> Names {
        Names::of(&self.ledger)
    }

    /// The number of one of [`MEMBERS`], who exists.
    pub(crate) fn number(&self, place: usize) -> MemberNo {
        self.ledger.member(self.prints.member("shop", MEMBERS[place])).unwrap()
    }

    fn next(&mut self) -> Moment {
        let op = self.ledger.newest().next();
        if op.0 % 3 == 1 {
            self.end_frame();
        }
        if self.open.is_none() {
            self.open = Some(FrameBuilder::new(op.0, self.now_us));
        }
        Moment { op, book_time_us: self.now_us }
    }

    fn end_frame(&mut self) {
        if let Some(frame) = self.open.take() {
            self.writer.append(Arc::new(frame.close())).unwrap();
            self.now_us += 7 * 3_600_000_000 + 123_456;
        }
    }

    fn book(&mut self, at: Moment, event: &Event<'_>) {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        self.ledger.replay(at, event, &self.prints).unwrap();
        assert_eq!(self.open.as_mut().unwrap().push(&bytes), Ok(at.op.0));
        self.events.push(bytes);
        self.trials.push(self.ledger.trial_balance());
        let before = self.balances.last().unwrap().clone();
        let now = MEMBERS.iter().zip(before).map(|(member, before)| {
            let number = self.ledger.member(self.prints.member("shop", member))?;
            let concerned = event.member() == Some(number);
            Some((self.ledger.balances(number), if concerned { at.op } else { before.unwrap().1 }))
        });
        let now = now.collect();
        self.balances.push(now);
    }

    fn admin(&mut self, program: &str, action: AdminAction) {
        let at = self.next();
        let key = format!("operator {}", at.op.0);
        let command = AdminCommand {
            program_id: program.into(),
            key_print: self.prints.key(program, &key),
            key,
            body_hash: [0xad; 16],
            actor: "ana".into(),
            reason: "spring; season".into(),
            action,
        };
        let event = self.ledger.decide_admin(&command, at);
        self.book(at, &event);
    }

    fn post(&mut self, program: &str, member: &str, action: Action) {
        let at = self.next();
        let key = format!("order|{}", at.op.0);
        let notes = Notes {
            reference: format!("ref, {}", at.op.0),
            channel: "app \"ios\"".into(),
            metadata: vec![("b".into(), "2\n".into()), ("a".into(), "{}".into())],
            ..Notes::default()
        };
        let command = Command {
            program: self.ledger.program_number(program).unwrap(),
            key_print: self.prints.key(program, &key),
            key: key.into(),
            body_hash: [2; 16],
            member: member.into(),
            member_hash: self.prints.member(program, member),
            occurred_at_us: Some(at.book_time_us - 86_400_000_001),
            currency: None,
            notes: at.op.0.is_multiple_of(2).then(|| Box::new(notes)),
            action,
        };
        let resolved = match self.ledger.needs(&command, &|_| Found::Free) {
            Need::Original { op, latest_refund } => {
                let read = |op: Op| codec::decode(&self.events[usize::try_from(op.0).unwrap() - 1]).unwrap();
                let latest = latest_refund.map(|op| (op, read(op)));
                let resolved = Resolved::from_events(op, &read(op), latest.as_ref().map(|(op, event)| (*op, event)));
                resolved.followed(&self.ledger, |op, _| Ok::<_, ()>(End::of(op, &read(op)))).ok()
            }
            _ => None,
        };
        let Decision::Event(event) = self.ledger.decide(&command, resolved.as_ref(), at) else {
            panic!("the limits are wide enough")
        };
        self.book(at, &event);
    }
}

impl TestBook {
    /// Keeps the state after the last event as a snapshot on a disk of its own.
    pub(crate) fn snapshot(&mut self, name: &str) -> SimDisk {
        let disk = SimDisk::new(2);
        let input = self.manifest_input();
        let mut writer = SnapshotWriter::create(Arc::new(disk.clone()), name, input).unwrap();
        let captured = self.ledger.begin_capture(true);
        writer.base(&captured.base).unwrap();
        for copy in self.ledger.capture_next(usize::MAX) {
            let mut image = Vec::new();
            copy.encode(&mut image);
            writer.page(copy.id().kind.number(), copy.id().number, &image).unwrap();
        }
        writer.finish().unwrap();
        disk
    }

    fn manifest_input(&self) -> ManifestInput {
        ManifestInput {
            book_id: genesis().book_id,
            incarnation: genesis().incarnation,
            op: self.head.op,
            book_time_us: self.book.waypoint_at(self.head.op).unwrap().book_time_us,
            head_hash: self.head.hash,
            state_hash: self.ledger.state_hash(),
            members: self.ledger.counts().0,
            trial_balance: self.ledger.trial_balance(),
            retain_until_us: None,
            taken: Vec::new(),
        }
    }
}
