//! A book in memory: commands go in, events go through their bytes as they would through the journal, and whoever asks
//! gets them back in the words of the chart of accounts.

use std::collections::BTreeMap;
use std::convert::Infallible;

use stampbook::audit::explain::{self, Line, Scene};
use stampbook::audit::export::ExportError;
use stampbook::audit::export::source::{EachEvent, Events};
use stampbook::engine::names::Names;
use stampbook::ledger::codec::Named;
use stampbook::ledger::command::{Action, AdminAction, AdminCommand, Command, Named as NamedMember, Notes, Original};
use stampbook::ledger::event::{Balances, Event};
use stampbook::ledger::ids::{Op, ProgramNo};
use stampbook::ledger::original::{Sought, named_by};
use stampbook::ledger::own::End;
use stampbook::ledger::plain::PlainEarn;
use stampbook::ledger::print::Prints;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::{
    Decision, Found, Generation, Hashes, Inconsistent, Ledger, Limits, Lookup, Moment, Need, Resolved, Wanted,
    WantedSoFar, codec, hashes_of, key_bits,
};

#[path = "images.rs"]
pub mod images;
#[path = "said.rs"]
mod said;
#[path = "said_moves.rs"]
mod said_moves;
#[path = "shelf.rs"]
mod shelf;

#[allow(unused_imports, reason = "the worked examples need fewer of them")]
pub use said::{Part, Said, Side, asset_of, lot_name, number_of, prefix, tell};
pub use shelf::Shelf;

/// What the book did with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It was decided now and stands at that op.
    Fresh(Op),
    /// The same key and body stand at that op.
    Replayed(Op),
    /// The key stands at that op with another body.
    Conflict(Op),
    /// The book is full; nothing was written.
    Limit,
    /// Nobody asked: it was looked after what is due.
    Swept,
}

/// The ledger, its book, and the hasher of both.
pub struct Book {
    pub ledger: Ledger,
    pub prints: Prints,
    pub shelf: Shelf,
    pub runs: Runs,
    /// How many earns were plain ones.
    pub plain: usize,
}

/// What the ledger sealed: keys and take-backs that it need not hold any more.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    keys: BTreeMap<u128, Op>,
    taken: BTreeMap<Op, Op>,
}

impl Runs {
    /// Takes a sealed generation in; generations come in the order of their ops.
    pub fn take(&mut self, sealed: &Generation) {
        assert_eq!(usize::try_from(sealed.last().0).unwrap() - self.keys.len(), sealed.keys().count());
        for (bits, op) in sealed.keys() {
            assert!(sealed.after() < op && op <= sealed.last());
            assert_eq!(self.keys.insert(bits, op), None, "a key was sealed twice");
        }
        self.taken.extend(sealed.taken());
    }

    fn answer(&self, lookup: Lookup) -> Found {
        let found = match lookup {
            Lookup::Key(print) => self.keys.get(&key_bits(print)),
            Lookup::Taken(original) => self.taken.get(&original),
        };
        found.map_or(Found::Free, |op| Found::Taken(*op))
    }
}

impl Events for Book {
    fn each(&self, from: u64, to: u64, each: &mut EachEvent<'_>) -> Result<(), ExportError> {
        let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        self.shelf.events[from - 1..to].iter().try_for_each(|(at, bytes)| each(at.op.0, at.book_time_us, bytes))
    }
}

/// Limits that no test but one comes near.
pub const ROOMY: Limits = Limits { members_max: 1_000_000, cap_counters_max: 1_000_000, lots_bytes_max: usize::MAX };

impl Book {
    pub fn new(limits: Limits) -> Self {
        Self { ledger: Ledger::new(limits), prints: prints(), shelf: Shelf::default(), runs: Runs::default(), plain: 0 }
    }

    /// A command as the server would make it, without notes.
    pub fn command(&self, program: usize, key: &str, member: &str, action: Action) -> Command {
        self.noted(program, key, member, "", action)
    }

    /// A command with a reference.
    pub fn noted(&self, program: usize, key: &str, member: &str, reference: &str, action: Action) -> Command {
        let id = self.shelf.program_id(program);
        let notes = Notes { reference: reference.to_owned(), ..Notes::default() };
        let mut command = Command {
            program: ProgramNo(u16::try_from(program).unwrap()),
            key: key.into(),
            key_print: self.prints.key(id, key),
            body_hash: [0; 16],
            member: member.into(),
            member_hash: self.prints.member(id, member),
            occurred_at_us: None,
            currency: None,
            notes: (!reference.is_empty()).then(|| Box::new(notes)),
            action,
        };
        command.body_hash = body_hash(&command);
        command
    }

    /// Another member, as the server would name it.
    pub fn named(&self, program: usize, id: &str) -> NamedMember {
        NamedMember { id: id.to_owned(), hash: self.prints.member(self.shelf.program_id(program), id) }
    }

    /// Gives the parts of a checkout all that the command says, but for its key.
    pub fn fill_parts(&self, command: &mut Command) {
        let whole = Command { key: "".into(), key_print: 0, body_hash: [0; 16], ..command.clone() };
        if let Action::Checkout { parts } = &mut command.action {
            for part in parts {
                *part = Command { action: part.action.clone(), ..whole.clone() };
            }
        }
    }

    /// An operator's command as the server would make it.
    pub fn admin(&self, program_id: &str, key: &str, action: AdminAction) -> AdminCommand {
        let mut command = AdminCommand {
            program_id: program_id.to_owned(),
            key: key.to_owned(),
            key_print: self.prints.key(program_id, key),
            body_hash: [0; 16],
            actor: "night desk".to_owned(),
            reason: "as planned".to_owned(),
            action,
        };
        command.body_hash = body_hash(&command);
        command
    }

    /// Decides a member's command and writes its event.
    pub fn post(&mut self, command: &Command, book_time_us: i64) -> Posted {
        if let Some(known) = self.known(command.key_print, &command.key, command.body_hash) {
            return known;
        }
        self.both_fall_due(command, book_time_us);
        let mut so_far = WantedSoFar::default();
        for part in std::iter::once(command).chain(command.parts()) {
            let wanted = self.ledger.wanted(part).map(|wanted| so_far.add(wanted));
            self.free_pieces(wanted, book_time_us);
        }
        match &command.action {
            Action::Checkout { parts } => self.check_out(command, parts, book_time_us),
            _ => self.post_one(command, book_time_us).0,
        }
    }

    /// Writes what is due of the member, and of the other one that the command names.
    fn both_fall_due(&mut self, command: &Command, book_time_us: i64) {
        self.fall_due(command.member_hash, book_time_us);
        if let Some(other) = command.action.other() {
            self.fall_due(other.hash, book_time_us);
        }
    }

    /// Decides one command, or a part of a checkout, which has no key, and writes its event. Tells why it was refused, if it
    /// was.
    fn post_one(&mut self, command: &Command, book_time_us: i64) -> (Posted, Option<(Reason, String)>) {
        let at = self.begin(book_time_us);
        let resolved = self.resolve(command);
        let (posted, refused) = match self.ledger.decide(command, resolved.as_ref(), at) {
            Decision::Event(event) => {
                self.ledger.prove(at, &event, resolved.as_ref(), &self.prints).unwrap();
                let refused = event.rejection().map(|(reason, field)| (reason, field.to_owned()));
                let posted = match self.ledger.plain_earn(command, at) {
                    Some(earn) => self.write_plain(at, &event, &earn, command),
                    None => self.write(at, &event, self.hashes(command, at.op)),
                };
                (posted, refused)
            }
            Decision::LimitReached => return (Posted::Limit, None),
        };
        self.both_fall_due(command, book_time_us);
        (posted, refused)
    }

    fn hashes(&self, command: &Command, op: Op) -> Hashes {
        Hashes {
            key: if command.key.is_empty() { self.prints.own(op) } else { command.key_print },
            member: command.member_hash,
            other: command.action.other().map_or(0, |named| named.hash),
        }
    }

    /// Decides the parts one after another and closes them, or takes all of it back and remembers why, as the engine does. In
    /// a scope that is open already what was done is the scope's to undo.
    fn check_out(&mut self, command: &Command, parts: &[Command], book_time_us: i64) -> Posted {
        let (shelf, within) = (self.shelf.clone(), self.ledger.undoes());
        if !within {
            self.ledger.begin_undo();
        }
        let mut ops = Vec::new();
        for (place, part) in parts.iter().enumerate() {
            let (posted, refused) = self.post_one(part, book_time_us);
            match (posted, &refused) {
                (Posted::Fresh(op), None) => {
                    ops.push(op);
                    continue;
                }
                // What undoes it is the scope.
                _ if within => return posted,
                _ => {}
            }
            self.ledger.roll_back();
            self.shelf = shelf;
            let Some((reason, field)) = refused else { return posted };
            let at = self.begin(book_time_us);
            let field = if field.contains('.') { format!("checkout.parts[{place}].{field}") } else { field };
            let event = self.ledger.reject(command, reason, &field, at);
            return self.write(at, &event, self.hashes(command, at.op));
        }
        let earn = parts.iter().position(|part| matches!(part.action, Action::Earn { .. }));
        let at = self.begin(book_time_us);
        let earn = earn.map(|place| u8::try_from(place).unwrap());
        let event = self.ledger.check_out(command, &ops, earn, at).unwrap();
        self.ledger.prove(at, &event, None, &self.prints).unwrap();
        let posted = self.write(at, &event, self.hashes(command, at.op));
        if !within {
            self.ledger.commit_undo();
        }
        posted
    }

    /// Writes what is due of a member, as a sweep does.
    pub fn sweep(&mut self, program: usize, member: &str, book_time_us: i64) -> Posted {
        let hash = self.prints.member(self.shelf.program_id(program), member);
        self.fall_due(hash, book_time_us);
        Posted::Swept
    }

    /// Writes what is due of a member by now, until nothing is.
    fn fall_due(&mut self, member_hash: u128, book_time_us: i64) {
        let Some(member) = self.ledger.member(member_hash) else { return };
        self.write_due(book_time_us, |ledger, at| ledger.due(member, at));
    }

    /// Writes the ends of holds that are over and reserve pieces which are wanted.
    fn free_pieces(&mut self, wanted: Option<Wanted>, book_time_us: i64) {
        let Some(wanted) = wanted else { return };
        self.write_due(book_time_us, |ledger, at| ledger.due_for(wanted, at));
    }

    fn write_due(&mut self, book_time_us: i64, due: impl Fn(&Ledger, Moment) -> Option<Event<'static>>) {
        loop {
            let at = self.begin(book_time_us);
            let Some(event) = due(&self.ledger, at) else { return };
            self.ledger.prove(at, &event, None, &self.prints).unwrap();
            let id = |number: ProgramNo| Some(self.shelf.program_id(usize::from(number.0)));
            let hashes = hashes_of(&Named::from(&event), at.op, id, &self.prints).unwrap();
            self.write(at, &event, hashes);
        }
    }

    /// Decides an operator's command and writes its event.
    pub fn post_admin(&mut self, command: &AdminCommand, book_time_us: i64) -> Posted {
        if let Some(known) = self.known(command.key_print, &command.key, command.body_hash) {
            return known;
        }
        self.free_pieces(self.ledger.wanted_by_operator(command), book_time_us);
        let at = self.begin(book_time_us);
        let event = self.ledger.decide_admin(command, at);
        self.write(at, &event, Hashes { key: command.key_print, member: 0, other: 0 })
    }

    /// Each event is a frame of its own here.
    fn begin(&mut self, book_time_us: i64) -> Moment {
        Moment { op: Op(u64::try_from(self.shelf.events.len()).unwrap() + 1), book_time_us }
    }

    fn known(&self, print: u128, key: &str, body_hash: [u8; 16]) -> Option<Posted> {
        let op = self.ledger.find_key(print, &|lookup| self.runs.answer(lookup)).unwrap()?;
        let (_, stood_key, stood_hash) = self.event(op).identity();
        assert_eq!(stood_key, key, "the fingerprint of {key} leads to another key");
        Some(if stood_hash == body_hash { Posted::Replayed(op) } else { Posted::Conflict(op) })
    }

    /// The event at an op, from its bytes.
    pub fn event(&self, op: Op) -> Event<'_> {
        let at = usize::try_from(op.0).unwrap() - 1;
        codec::decode(&self.shelf.events[at].1).unwrap()
    }

    /// Looks up in the book what the ledger says it needs, as the engine's readers do.
    fn resolve(&self, command: &Command) -> Option<Resolved> {
        let runs = &|lookup| self.runs.answer(lookup);
        let need = match self.ledger.needs(command, runs) {
            Need::Walk { .. } => {
                self.by_reference(command).map_or(Need::NotFound, |op| self.ledger.needs_original(op, runs))
            }
            need => need,
        };
        match need {
            Need::Nothing => None,
            Need::Hold(op) => Some(Resolved::Hold(op)),
            Need::Original { mut op, mut latest_refund } => {
                // A checkout means its earn.
                if let Some((_, Sought::Earn)) = named_by(&command.action)
                    && let Some(earn) = self.event(op).checked_out_earn(op)
                {
                    (op, latest_refund) = (earn, self.ledger.find_refund(earn, runs).unwrap());
                }
                let latest = latest_refund.map(|at| (at, self.event(at)));
                let latest = latest.as_ref().map(|(at, event)| (*at, event));
                let end = |end, _| Ok::<_, Infallible>(End::of(end, &self.event(end)));
                let Ok(resolved) = Resolved::from_events(op, &self.event(op), latest).followed(&self.ledger, end);
                Some(resolved)
            }
            Need::NotFound | Need::Walk { .. } | Need::Runs(_) => Some(Resolved::NotFound),
        }
    }

    /// The newest event with the reference that can be meant, of the member or of those who went into him.
    fn by_reference(&self, command: &Command) -> Option<Op> {
        let Some((Original::Reference(wanted), sought)) = named_by(&command.action) else { return None };
        let member = self.ledger.member(command.member_hash);
        let program = self.shelf.program_id(usize::from(command.program.0));
        let is_it = |op: &Op| {
            let event = self.event(*op);
            let Some(common) = event.common() else { return false };
            let (Some(number), Some(notes)) = (common.member.number(), &common.notes) else { return false };
            let id = self.prints.member(program, self.shelf.member_id(number));
            sought.takes(&event)
                && notes.reference.text == wanted
                && common.program == command.program
                && self.ledger.member(id) == member
        };
        (1..=self.shelf.events.len()).rev().map(|op| Op(u64::try_from(op).unwrap())).find(is_it)
    }

    fn write(&mut self, at: Moment, event: &Event<'_>, hashes: Hashes) -> Posted {
        self.keep(at, event, |ledger, read| ledger.evolve(at, read, hashes))
    }

    /// The same for an earn that the ledger calls plain: it must be the event that it is in general, and a ledger that replays
    /// the book in general must come to the same state.
    fn write_plain(&mut self, at: Moment, event: &Event<'_>, earn: &PlainEarn, command: &Command) -> Posted {
        assert_eq!(&earn.event(command), event, "a plain earn is what it is in general");
        self.plain += 1;
        self.keep(at, event, |ledger, _| ledger.follow_plain(earn, command))
    }

    fn keep(
        &mut self,
        at: Moment,
        event: &Event<'_>,
        follow: impl FnOnce(&mut Ledger, &Event<'_>) -> Result<(), Inconsistent>,
    ) -> Posted {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        let read = codec::decode(&bytes).unwrap();
        assert_eq!(&read, event, "an event reads as it was written");
        follow(&mut self.ledger, &read).unwrap_or_else(|error| panic!("{error}: {read:?}"));
        self.shelf.learn(at.op, &read);
        self.shelf.events.push((at, bytes));
        Posted::Fresh(at.op)
    }

    /// What the event at an op says.
    pub fn said(&self, op: Op) -> Said {
        self.shelf.said(op, &self.event(op))
    }

    /// The event at an op, explained.
    pub fn explained(&self, op: Op) -> Vec<Line> {
        let event = self.event(op);
        let rules = self.ledger.rules(event.identity().0, explain::version_of(&event));
        let named = explain::named_by(op, &event).map(|op| (op, self.event(op)));
        let named = named.as_ref().map(|(op, event)| (*op, event));
        let scene = Scene { names: &Names::of(&self.ledger), rules: rules.as_ref(), named };
        let book_time_us = self.shelf.events[usize::try_from(op.0).unwrap() - 1].0.book_time_us;
        explain::explain(op, book_time_us, &event, &scene)
    }

    /// The member's balances as readers are shown them; `None` for an id that names no member.
    pub fn balances(&self, program: usize, member: &str) -> Option<Balances> {
        let id = self.shelf.program_id(program);
        let member = self.ledger.member(self.prints.member(id, member))?;
        Some(self.ledger.balances(member))
    }

    /// The campaign's budget left.
    pub fn budget(&self, program: usize, campaign: &str) -> i64 {
        let number = ProgramNo(u16::try_from(program).unwrap());
        self.ledger.campaigns(number).iter().find(|view| view.spec.id == campaign).unwrap().left
    }
}

/// The hasher of every test's book.
pub fn prints() -> Prints {
    Prints::new([7; 32])
}

/// A stand-in for the server's hash of the body: it covers everything that the caller sent.
pub fn body_hash(command: &(impl Clone + std::fmt::Debug)) -> [u8; 16] {
    let whole = blake3::hash(format!("{command:?}").as_bytes());
    *whole.as_bytes().first_chunk().unwrap()
}
