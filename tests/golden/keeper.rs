//! Writes a book that is the same bytes whenever and wherever it is written: a fixed genesis, a disk without threads,
//! times that follow from the number of frames.

use std::sync::Arc;

use stampbook::io::Disk;
use stampbook::io::sim::SimDisk;
use stampbook::journal::{FrameBuilder, Genesis, Head, Journal, JournalOptions, Writer};
use stampbook::ledger::command::{Action, AdminAction, AdminCommand, Command, Notes, Original};
use stampbook::ledger::event::Event;
use stampbook::ledger::ids::{Op, ProgramNo};
use stampbook::ledger::own::End;
use stampbook::ledger::print::Prints;
use stampbook::ledger::{Decision, Found, Ledger, Limits, Moment, Need, Resolved, codec};

/// 2026-01-01T00:00:00Z.
pub(crate) const BEGAN_US: i64 = 1_767_225_600_000_000;
/// Seven hours lie between frames.
pub(crate) const FRAME_US: i64 = 7 * 3600 * 1_000_000;
const SECRET: [u8; 32] = [0x17; 32];
/// Header, genesis, three pages of frames, seal.
const SEGMENT_BYTES: u64 = 6 * 4096;

pub(crate) struct Keeper {
    pub(crate) disk: SimDisk,
    pub(crate) ledger: Ledger,
    pub(crate) prints: Prints,
    /// The program that commands are for.
    pub(crate) program: &'static str,
    writer: Writer,
    open: Option<FrameBuilder>,
    book_time_us: i64,
    events: Vec<Vec<u8>>,
}

impl Keeper {
    pub(crate) fn new() -> Self {
        let disk = SimDisk::new(1);
        let genesis = || Genesis {
            book_id: [0x42; 16],
            secret: SECRET,
            incarnation: 0,
            parent: None,
            created_at_us: BEGAN_US,
            event_format: 1,
        };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = JournalOptions::with_segment_bytes(SEGMENT_BYTES);
        let opened = Journal::open(shared, genesis, options, &mut |_| Ok(())).unwrap();
        Self {
            disk,
            ledger: Ledger::new(Limits { members_max: 1_000, cap_counters_max: 1_000, lots_bytes_max: usize::MAX }),
            prints: Prints::new(SECRET),
            program: "high-street",
            writer: opened.writer,
            open: None,
            book_time_us: BEGAN_US,
            events: Vec::new(),
        }
    }

    /// The time of the open frame, or of the next.
    pub(crate) fn now_us(&self) -> i64 {
        self.book_time_us
    }

    fn next(&mut self) -> Moment {
        let op = self.ledger.newest().next();
        if self.open.is_none() {
            self.open = Some(FrameBuilder::new(op.0, self.book_time_us));
        }
        Moment { op, book_time_us: self.book_time_us }
    }

    fn book(&mut self, at: Moment, event: &Event<'_>) -> Op {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        self.ledger.replay(at, event, &self.prints).unwrap();
        assert_eq!(self.open.as_mut().unwrap().push(&bytes), Ok(at.op.0));
        self.events.push(bytes);
        at.op
    }

    /// Ends the frame; the next one is seven hours later.
    pub(crate) fn end_frame(&mut self) {
        let frame = self.open.take().unwrap().close();
        self.writer.append(Arc::new(frame)).unwrap();
        self.book_time_us += FRAME_US;
    }

    pub(crate) fn close(&mut self) -> Head {
        self.writer.witness().unwrap()
    }

    pub(crate) fn admin(&mut self, action: AdminAction) -> Op {
        let at = self.next();
        let key = format!("operator-{}", at.op.0);
        let command = AdminCommand {
            program_id: self.program.into(),
            key_print: self.prints.key(self.program, &key),
            key,
            body_hash: [0xad; 16],
            actor: "ana".into(),
            reason: "spring season".into(),
            action,
        };
        let event = self.ledger.decide_admin(&command, at);
        self.book(at, &event)
    }

    pub(crate) fn command(&self, member: &str, action: Action) -> Command {
        let key = format!("order-{}", self.ledger.newest().0 + 1);
        Command {
            program: self.ledger.program_number(self.program).unwrap_or(ProgramNo(0)),
            key_print: self.prints.key(self.program, &key),
            key: key.into(),
            body_hash: [0x5a; 16],
            member: member.into(),
            member_hash: self.prints.member(self.program, member),
            occurred_at_us: None,
            currency: None,
            notes: None,
            action,
        }
    }

    pub(crate) fn post(&mut self, member: &str, action: Action) -> Op {
        let command = self.command(member, action);
        self.post_command(&command)
    }

    /// Posts with notes of which every field is set.
    pub(crate) fn post_noted(&mut self, member: &str, reference: &str, action: Action) -> Op {
        let notes = Notes {
            reference: reference.into(),
            channel: "shop".into(),
            partner: "café".into(),
            location: "London".into(),
            metadata: vec![("till".into(), "7".into()), ("备注".into(), "会员日".into())],
        };
        let command = Command { notes: Some(Box::new(notes)), ..self.command(member, action) };
        self.post_command(&command)
    }

    pub(crate) fn post_command(&mut self, command: &Command) -> Op {
        let at = self.next();
        let resolved = self.resolve(command);
        let Decision::Event(event) = self.ledger.decide(command, resolved.as_ref(), at) else {
            panic!("the limits are wide enough")
        };
        self.book(at, &event)
    }

    pub(crate) fn event(&self, op: Op) -> Event<'_> {
        codec::decode(&self.events[usize::try_from(op.0).unwrap() - 1]).unwrap()
    }

    fn resolve(&self, command: &Command) -> Option<Resolved> {
        let op = match self.ledger.needs(command, &|_| Found::Free) {
            Need::Nothing => return None,
            Need::NotFound | Need::Hold(_) | Need::Runs(_) => return Some(Resolved::NotFound),
            Need::Original { op, .. } => op,
            Need::Walk { head } => match self.walk(command, head) {
                Some(op) => op,
                None => return Some(Resolved::NotFound),
            },
        };
        let latest = self.ledger.latest_refund(op).map(|op| (op, self.event(op)));
        let resolved = Resolved::from_events(op, &self.event(op), latest.as_ref().map(|(op, event)| (*op, event)));
        resolved.followed(&self.ledger, |op, _| Ok::<_, ()>(End::of(op, &self.event(op)))).ok()
    }

    /// The member's newest earn with the reference that a refund names.
    fn walk(&self, command: &Command, head: Op) -> Option<Op> {
        let Action::Refund { original: Original::Reference(sought), .. } = &command.action else { return None };
        let mut next = Some(head);
        while let Some(op) = next {
            let event = self.event(op);
            let common = event.common()?;
            let named = common.notes.as_ref().is_some_and(|notes| notes.reference.text == sought);
            if named && matches!(event, Event::Earned(_)) {
                return Some(op);
            }
            next = op.back(common.member_link);
        }
        None
    }
}
