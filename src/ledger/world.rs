//! A small ledger for tests, whose clock they drive: every event goes through its bytes and is proved, and after each the books
//! balance.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::command::{Action, AdminAction, AdminCommand, Command, Named, Notes, Original};
use super::event::Event;
use super::holding::Holding;
use super::ids::{MemberNo, Op, ProgramNo};
use super::image::PageId;
use super::original::{Need, Resolved, named_by};
use super::own::End;
use super::print::Prints;
use super::reason::Reason;
use super::spec::ProgramSpec;
use super::state::{Ledger, Limits, Moment};
use super::trail::Trail;
use super::{Decision, Found, codec};

pub(super) const DAY_US: i64 = 86_400_000_000;
/// When every world begins: the first of January 2026.
pub(super) const BEGAN_US: i64 = 1_767_225_600_000_000;

pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) prints: Prints,
    pub(super) events: Vec<Vec<u8>>,
    pub(super) now_us: i64,
    /// The business time of what is posted; `None`: when it is booked.
    pub(super) occurred_us: Option<i64>,
    /// Of the programs, in order of their numbers.
    ids: &'static [&'static str],
}

impl World {
    /// Empty books for programs of those ids and so many members.
    pub(super) fn empty(ids: &'static [&'static str], members_max: u32) -> Self {
        let ledger = Ledger::new(Limits { members_max, cap_counters_max: 10, lots_bytes_max: usize::MAX });
        let (prints, events) = (Prints::new([5; 32]), Vec::new());
        Self { ledger, prints, events, now_us: BEGAN_US, occurred_us: None, ids }
    }

    pub(super) fn at(&self) -> Moment {
        Moment { op: self.ledger.newest().next(), book_time_us: self.now_us }
    }

    fn id(&self, program: ProgramNo) -> &'static str {
        self.ids[usize::from(program.0)]
    }

    pub(super) fn admin(&mut self, program: ProgramNo, action: AdminAction) {
        let (at, id) = (self.at(), self.id(program));
        let key = format!("operator-{}", at.op.0);
        let command = AdminCommand {
            program_id: id.into(),
            key_print: self.prints.key(id, &key),
            key,
            body_hash: [1; 16],
            actor: "ana".into(),
            reason: "test".into(),
            action,
        };
        let event = self.ledger.decide_admin(&command, at);
        assert_eq!(event.rejection(), None);
        self.book(at, &event);
    }

    pub(super) fn put(&mut self, program: ProgramNo, spec: ProgramSpec) {
        let spec = Box::new(spec);
        self.admin(program, AdminAction::PutProgram { expected_version: None, spec, definition: String::new() });
    }

    pub(super) fn book(&mut self, at: Moment, event: &Event<'_>) {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        let read = codec::decode(&bytes).unwrap();
        assert_eq!(&read, event);
        self.ledger.replay(at, &read, &self.prints).unwrap();
        self.ledger.check_sums().unwrap();
        self.events.push(bytes);
    }

    pub(super) fn event(&self, op: Op) -> Event<'_> {
        codec::decode(&self.events[usize::try_from(op.0).unwrap() - 1]).unwrap()
    }

    /// Books all that is due of anyone.
    pub(super) fn settle(&mut self) {
        let mut members = (0..u32::try_from(self.ledger.counts().0).unwrap()).map(MemberNo);
        let mut next = members.next();
        while let Some(member) = next {
            let at = self.at();
            match self.ledger.due(member, at).or_else(|| self.ledger.crowded(member, at)) {
                Some(event) => self.book(at, &event),
                None => next = members.next(),
            }
        }
    }

    /// What a command names, as the engine would find it.
    fn resolve(&self, command: &Command) -> Option<Resolved> {
        let need = match self.ledger.needs(command, &|_| Found::Free) {
            Need::Walk { head } => match self.walk(command, head) {
                Some(op) => self.ledger.needs_original(op, &|_| Found::Free),
                None => Need::NotFound,
            },
            need => need,
        };
        let (op, latest) = match need {
            Need::Nothing => return None,
            Need::Hold(op) => return Some(Resolved::Hold(op)),
            Need::Original { op, latest_refund } => (op, latest_refund),
            _ => return Some(Resolved::NotFound),
        };
        let latest = latest.map(|op| (op, self.event(op)));
        let resolved = Resolved::from_events(op, &self.event(op), latest.as_ref().map(|(op, event)| (*op, event)));
        let end = |op, _| Ok::<_, ()>(End::of(op, &self.event(op)));
        Some(resolved.followed(&self.ledger, end).unwrap())
    }

    fn walk(&self, command: &Command, head: Op) -> Option<Op> {
        let (Original::Reference(reference), sought) = named_by(&command.action)? else { return None };
        let mut trail = Trail::new(head, self.ledger.member(command.member_hash)?);
        loop {
            let op = trail.op()?;
            let event = self.event(op);
            let notes = event.common().and_then(|common| common.notes.as_ref());
            if sought.takes(&event) && notes.is_some_and(|notes| notes.reference.text == *reference) {
                return Some(op);
            }
            assert!(trail.pass(&event));
        }
    }

    pub(super) fn named(&self, program: ProgramNo, member: &str) -> Named {
        Named { id: member.into(), hash: self.prints.member(self.id(program), member) }
    }

    /// A command with a reference, or with none.
    pub(super) fn command(&self, program: ProgramNo, member: &str, reference: &str, action: Action) -> Command {
        let (key, Named { id, hash }) = (format!("key-{}", self.at().op.0), self.named(program, member));
        let notes = Notes { reference: reference.into(), ..Notes::default() };
        Command {
            program,
            key_print: self.prints.key(self.id(program), &key),
            key: key.into(),
            body_hash: [2; 16],
            member: id.into(),
            member_hash: hash,
            occurred_at_us: self.occurred_us,
            currency: None,
            notes: (!reference.is_empty()).then(|| Box::new(notes)),
            action,
        }
    }

    /// Does something for a member, and first what is due; the op, and why it was refused and of which field.
    pub(super) fn ask(
        &mut self,
        program: ProgramNo,
        member: &str,
        reference: &str,
        action: Action,
    ) -> (Op, Option<(Reason, String)>) {
        self.settle();
        let at = self.at();
        let command = self.command(program, member, reference, action);
        let resolved = self.resolve(&command);
        let Decision::Event(event) = self.ledger.decide(&command, resolved.as_ref(), at) else { panic!("full") };
        assert_eq!(self.ledger.prove(at, &event, resolved.as_ref(), &self.prints), Ok(()));
        self.book(at, &event);
        (at.op, event.rejection().map(|(reason, field)| (reason, field.to_owned())))
    }

    pub(super) fn member(&self, program: ProgramNo, member: &str) -> Option<MemberNo> {
        self.ledger.member(self.named(program, member).hash)
    }

    pub(super) fn holding(&self, member: MemberNo) -> Holding {
        self.ledger.members.holding(member).unwrap()
    }

    /// The same state from its own images.
    pub(super) fn reloaded(&mut self) -> Ledger {
        let captured = self.ledger.begin_capture(true);
        let mut loaded = Ledger::from_base(self.ledger.limits, &captured.base).unwrap();
        let mut pages: Vec<(PageId, Vec<u8>)> = Vec::new();
        while self.ledger.capturing() {
            for copy in self.ledger.capture_next(1) {
                let mut bytes = Vec::new();
                copy.encode(&mut bytes);
                pages.push((copy.id(), bytes));
            }
        }
        pages.iter().for_each(|(id, bytes)| loaded.load_page(*id, bytes, &self.prints).unwrap());
        loaded.finish_load().unwrap();
        loaded
    }
}
