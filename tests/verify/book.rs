//! A book written command by command, as the server would, and with facts that no server would write.

use std::sync::Arc;

use stampbook::io::RealDisk;
use stampbook::journal::{FrameBuilder, Genesis, Head, Journal, JournalOptions, Writer};
use stampbook::ledger::command::{Action, AdminAction, AdminCommand, Basis, Command, Notes, Original, Purpose};
use stampbook::ledger::event::Event;
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};
use stampbook::ledger::own::End;
use stampbook::ledger::print::Prints;
use stampbook::ledger::{Decision, Found, Ledger, Limits, Moment, Need, Resolved, codec};

/// A program with two campaigns: one that stops and is capped, and one in another group that clips.
pub(crate) const PROGRAM: &str = r#"
id = "p"
name = "Test"
currency = "GBP"
time_zone = "Europe/London"
mode = "import"
[[rules]]
kind = "purchase"
points = 10
per_minor = 100
[[campaigns]]
id = "double"
start = "2000-01-01T00:00:00"
end = "2100-01-01T00:00:00"
multiplier = "2"
[[campaigns]]
id = "half"
start = "2000-01-01T00:00:00"
end = "2100-01-01T00:00:00"
multiplier = "3/2"
group = "other"
on_exhausted = "stop"
cap = { points = 200, per = "day" }
"#;

const SECRET: [u8; 32] = [7; 32];
const BEGAN_US: i64 = 1_700_000_000_000_000;

pub(crate) struct Bookkeeper {
    ledger: Ledger,
    prints: Prints,
    writer: Writer,
    now: Moment,
    /// Every event's bytes, by op from 1.
    pub(crate) events: Vec<Vec<u8>>,
    /// The head after each frame.
    pub(crate) heads: Vec<Head>,
}

impl Bookkeeper {
    pub(crate) fn new(dir: &std::path::Path) -> Self {
        let disk = Arc::new(RealDisk::open(dir).unwrap());
        let genesis = || Genesis {
            book_id: [3; 16],
            secret: SECRET,
            incarnation: 0,
            parent: None,
            created_at_us: BEGAN_US,
            event_format: 1,
        };
        let options = JournalOptions::with_segment_bytes(256 * 1024);
        let opened = Journal::open(disk, genesis, options, &mut |_| Ok(())).unwrap();
        Self {
            ledger: Ledger::new(Limits { members_max: 1_000, cap_counters_max: 100_000, lots_bytes_max: usize::MAX }),
            prints: Prints::new(SECRET),
            writer: opened.writer,
            now: Moment { op: Op(0), book_time_us: BEGAN_US },
            events: Vec::new(),
            heads: Vec::new(),
        }
    }

    pub(crate) fn balances(&self, member: &str) -> (i64, i64) {
        let number = self.ledger.member(self.prints.member("p", member)).unwrap();
        let balances = self.ledger.balances(number);
        (balances.available, balances.debt)
    }

    fn next(&self) -> Moment {
        Moment { op: self.now.op.next(), book_time_us: self.now.book_time_us + 60_000_000 }
    }

    /// Takes an event into the ledger and the book.
    fn book(&mut self, at: Moment, event: &Event<'_>) {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        self.ledger.replay(at, event, &self.prints).unwrap();
        self.write(at, bytes);
    }

    /// Takes bytes into the book, whatever they say.
    pub(crate) fn write(&mut self, at: Moment, bytes: Vec<u8>) {
        let mut builder = FrameBuilder::new(at.op.0, at.book_time_us);
        builder.push(&bytes).unwrap();
        self.heads.push(self.writer.append(Arc::new(builder.close())).unwrap());
        self.events.push(bytes);
        self.now = at;
    }

    pub(crate) fn close(mut self) -> Head {
        self.writer.witness().unwrap()
    }

    pub(crate) fn admin(&mut self, action: AdminAction) {
        let at = self.next();
        let key = format!("admin-{}", at.op.0);
        let command = AdminCommand {
            program_id: "p".into(),
            key_print: self.prints.key("p", &key),
            key,
            body_hash: [1; 16],
            actor: "ana".into(),
            reason: "test".into(),
            action,
        };
        let event = self.ledger.decide_admin(&command, at);
        self.book(at, &event);
    }

    /// Puts the program, and funds its campaigns.
    pub(crate) fn open_program(&mut self, funds: u64) {
        let spec = Box::new(stampbook::program::parse(PROGRAM, "test").unwrap().spec);
        self.admin(AdminAction::PutProgram { expected_version: Some(0), spec, definition: PROGRAM.into() });
        for campaign in ["double", "half"] {
            self.admin(AdminAction::FundCampaign { campaign: campaign.into(), points: funds });
        }
    }

    fn command(&self, op: Op, member: &str, action: Action) -> Command {
        let key = format!("key-{}", op.0);
        Command {
            program: ProgramNo(0),
            key_print: self.prints.key("p", &key),
            key: key.into(),
            body_hash: [2; 16],
            member: member.into(),
            member_hash: self.prints.member("p", member),
            occurred_at_us: None,
            currency: Some(*b"GBP"),
            notes: Some(Box::new(Notes { reference: format!("order-{}", op.0), ..Notes::default() })),
            action,
        }
    }

    fn resolve(&self, command: &Command) -> Option<Resolved> {
        let Need::Original { op, latest_refund } = self.ledger.needs(command, &|_| Found::Free) else { return None };
        let read = |op: Op| codec::decode(&self.events[usize::try_from(op.0).unwrap() - 1]).unwrap();
        let latest = latest_refund.map(|op| (op, read(op)));
        let resolved = Resolved::from_events(op, &read(op), latest.as_ref().map(|(op, event)| (*op, event)));
        resolved.followed(&self.ledger, |op, _| Ok::<_, ()>(End::of(op, &read(op)))).ok()
    }

    /// Decides a command, lets `alter` change the facts, and books what comes of it. Returns its op.
    pub(crate) fn post_altered(&mut self, member: &str, action: Action, alter: impl FnOnce(&mut Event<'_>)) -> Op {
        let at = self.next();
        let command = self.command(at.op, member, action);
        let resolved = self.resolve(&command);
        let Decision::Event(mut event) = self.ledger.decide(&command, resolved.as_ref(), at) else {
            panic!("the limits are wide enough")
        };
        alter(&mut event);
        self.book(at, &event);
        at.op
    }

    pub(crate) fn post(&mut self, member: &str, action: Action) -> Op {
        self.post_altered(member, action, |_| {})
    }

    /// Writes what a command comes to after `alter`, without asking whether the ledger takes it. Nothing can follow.
    pub(crate) fn force(&mut self, member: &str, action: Action, alter: impl FnOnce(&mut Event<'_>)) -> Op {
        let at = self.next();
        let command = self.command(at.op, member, action);
        let Decision::Event(mut event) = self.ledger.decide(&command, None, at) else {
            panic!("the limits are wide enough")
        };
        alter(&mut event);
        let mut bytes = Vec::new();
        codec::encode(&event, &mut bytes).unwrap();
        self.write(at, bytes);
        at.op
    }
}

pub(crate) fn purchase(amount: u64) -> Action {
    let event_kind = Some("purchase".into());
    Action::Earn { basis: Basis::Spend(amount), event_kind, asset: AssetNo::POINTS, matures: None }
}

pub(crate) fn refund(original: Op, amount: u64) -> Action {
    Action::Refund { original: Original::Op(original), basis: Basis::Spend(amount), event_kind: None }
}

pub(crate) fn refund_alone(amount: u64) -> Action {
    Action::Refund { original: Original::None, basis: Basis::Spend(amount), event_kind: Some("purchase".into()) }
}

pub(crate) fn redeem(points: u64) -> Action {
    Action::Redeem { asset: AssetNo::POINTS, points, purpose: Purpose::Gift }
}

pub(crate) fn adjust(points: i64) -> Action {
    Action::Adjust { asset: AssetNo::POINTS, points, actor: "ana".into(), reason: "test".into() }
}
