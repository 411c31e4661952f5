//! Random commands that look for trouble: few members, small budgets, tight caps, many take-backs, holds and pending
//! earns over lapses, keys sent again, and a clock that jumps: by minutes, hours, days and months, and onto the instants
//! at which something ends.

use std::collections::{BTreeMap, BTreeSet};

use stampbook::ledger::command::{Action, AdminCommand, Command, Original};
use stampbook::ledger::ids::{Op, ProgramNo};

use super::book::{Book, body_hash};
use super::rng::Rng;
use super::rules::{DAY, SECOND, put};

/// A command as it is sent.
#[derive(Clone, Debug)]
pub enum Sent {
    /// On a member's account.
    Member(Command),
    /// On a program.
    Admin(AdminCommand),
    /// No command: the sweep comes to a member of a program.
    Sweep(usize, String),
}

/// A command that was sent, to come back to later.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub op: Op,
    pub program: usize,
    pub member: String,
    pub print: u128,
    pub reference: String,
    pub action: Action,
}

/// Pieces of a reward that a hold reserves.
#[derive(Clone, Debug)]
pub struct Shelved {
    pub program: usize,
    pub sku: String,
    pub until_us: i64,
    pub pieces: i128,
    /// Pieces of the reward that are left beside them.
    pub left: i128,
}

/// What a book is to be full of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Character {
    /// Everything.
    Mixed,
    /// Members with as many lots as they may have.
    ManyLots,
    /// Units that live on with activity.
    Rolling,
    /// Holds and pending earns, up to their bounds.
    Waiting,
}

/// Makes commands and the times at which they arrive.
#[derive(Clone, Debug)]
pub struct Generator {
    pub rng: Rng,
    pub now_us: i64,
    /// Members that commands are for, but for passers-by.
    pub members: i64,
    pub character: Character,
    /// Which zones the programs are in.
    pub zones: usize,
    /// What the program's members have available, by asset.
    pub available: BTreeMap<(usize, String, u8), i128>,
    /// The holds that are open and the earns that are pending, by program and op.
    pub holds: Vec<(usize, Op)>,
    pub waiting: Vec<(usize, Op)>,
    /// Units that the open holds pin for pieces of rewards, by op, and the price of one.
    pub reserved: BTreeMap<Op, (i128, i128)>,
    /// What they reserve, by the hold.
    pub shelved: Vec<Shelved>,
    /// Members that went into another, by program.
    pub gone: BTreeSet<(usize, String)>,
    /// Instants at which something of a member falls due.
    pub soon: Vec<i64>,
    /// Instants at which some rule begins or ends.
    pub edges: Vec<i64>,
    /// How fast time goes: a book covers from a few months to about two years.
    pace: i64,
    sent: Vec<Sent>,
    pub(super) known: Vec<Known>,
}

pub const PROGRAMS: [&str; 2] = ["high-street", "night-market"];
pub const KINDS: [&str; 3] = ["purchase", "review", "birthday"];
pub const SKUS: [&str; 3] = ["mug", "tent", "voucher"];
pub const CAMPAIGNS: [&str; 7] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"];
pub(super) const HOUR: i64 = 3_600 * SECOND;
/// 2026-03-20, nine days before the clocks change in London.
const BEGIN_US: i64 = 1_773_964_800 * SECOND;

impl Generator {
    pub fn new(seed: u64) -> Self {
        let of = |count: u64| usize::try_from(seed % count).unwrap();
        let character = [Character::Mixed, Character::ManyLots, Character::Rolling, Character::Waiting][of(4)];
        Self {
            rng: Rng(seed),
            now_us: BEGIN_US,
            members: if character == Character::Mixed { 5 } else { 3 },
            character,
            zones: of(3),
            available: BTreeMap::new(),
            holds: Vec::new(),
            waiting: Vec::new(),
            reserved: BTreeMap::new(),
            shelved: Vec::new(),
            gone: BTreeSet::new(),
            soon: Vec::new(),
            edges: Vec::new(),
            pace: [2, 1, 1][of(3)],
            sent: Vec::new(),
            known: Vec::new(),
        }
    }

    pub fn sent_count(&self) -> usize {
        self.sent.len()
    }

    /// The next command, at a time not before the last.
    pub fn next(&mut self, book: &Book) -> Sent {
        if self.sent.len() >= PROGRAMS.len() {
            self.now_us = self.later();
        }
        let sent = match self.rng.between(0, 99) {
            _ if self.sent.len() < PROGRAMS.len() => self.first_version(book),
            0..=4 => self.again(book),
            5..=11 => Sent::Admin(self.operator(book)),
            12..=14 => {
                let program = usize::from(self.rng.chance(400));
                Sent::Sweep(program, self.name(program))
            }
            _ => Sent::Member(self.member(book)),
        };
        self.sent.push(sent.clone());
        sent
    }

    /// When the next command arrives: now, soon, after a jump, or where something ends.
    fn later(&mut self) -> i64 {
        let now_us = self.now_us;
        match self.rng.between(0, 999) {
            // Much at once, so that it piles up.
            0..=849 if self.character == Character::Waiting => now_us + self.rng.between(0, 600 * SECOND),
            0..=199 => now_us,
            200..=499 => now_us + self.pace * self.rng.between(0, 600 * SECOND),
            500..=879 => now_us + self.pace * self.rng.between(0, 4 * HOUR),
            880..=919 => now_us + self.rng.between(0, 3 * DAY),
            920..=921 => now_us + self.rng.between(20 * DAY, 70 * DAY),
            922 if self.pace > 1 => now_us + self.rng.between(100 * DAY, 200 * DAY),
            // The last microseconds of an hour and the first of the next: where days, months and clocks change.
            922..=944 => now_us - now_us.rem_euclid(HOUR) + HOUR - self.rng.between(0, 1),
            _ => {
                let ahead = now_us..now_us + self.pace * 10 * DAY;
                let soon: Vec<i64> = self.soon.iter().copied().filter(|at| ahead.contains(at)).collect();
                let at_us = if soon.is_empty() { now_us } else { self.rng.pick(&soon) };
                now_us.max(at_us + self.rng.between(-1, 1))
            }
        }
    }

    /// Tells the generator where a command came to stand, so that it can come back to it: to few that were refused.
    pub fn stands_at(&mut self, sent: &Sent, op: Op, refused: bool) {
        let Sent::Member(command) = sent else { return };
        let back_to = |action: &Action| !matches!(action, Action::Standing { .. } | Action::Activate { .. });
        if !back_to(&command.action) || refused && !op.0.is_multiple_of(20) {
            return;
        }
        self.known.push(Known {
            op,
            program: usize::from(command.program.0),
            member: command.member.to_string(),
            print: command.key_print,
            reference: command.notes.as_ref().map_or(String::new(), |notes| notes.reference.clone()),
            action: command.action.clone(),
        });
    }

    fn first_version(&mut self, book: &Book) -> Sent {
        let number = self.sent.len();
        let spec = self.spec(number);
        Sent::Admin(book.admin(PROGRAMS[number], &self.key(), put(spec)))
    }

    pub(super) fn key(&mut self) -> String {
        format!("key-{}", self.sent.len())
    }

    /// An earlier command: as it was, with another body, or in the other program.
    fn again(&mut self, book: &Book) -> Sent {
        let mut sent = self.rng.pick(&self.sent);
        let other_body = self.rng.chance(300);
        match &mut sent {
            Sent::Member(command) if self.rng.chance(200) => {
                let other = 1 - usize::from(command.program.0);
                let (key, member) = (command.key.clone(), command.member.clone());
                let action = elsewhere(book, other, command.action.clone());
                *command = book.command(other, &key, &member, action);
                book.fill_parts(command);
            }
            Sent::Member(command) if other_body => {
                command.action = self.action(usize::from(command.program.0), &command.member.clone(), book);
                book.fill_parts(command);
                command.body_hash = body_hash(command);
            }
            Sent::Admin(command) if other_body => {
                command.reason.push_str(", again");
                command.body_hash = body_hash(command);
            }
            _ => {}
        }
        sent
    }

    /// A member; where it went into another, mostly one who comes after it.
    pub(super) fn name(&mut self, program: usize) -> String {
        let mut name = format!("member-{}", self.rng.between(0, self.members - 1));
        while self.gone.contains(&(program, name.clone())) && self.rng.chance(900) {
            name.push('+');
        }
        name
    }

    fn member(&mut self, book: &Book) -> Command {
        let program = usize::from(self.rng.chance(400));
        let member = match self.rng.between(0, 99) {
            0 => format!("passer-by-{}", self.sent.len()),
            _ => self.name(program),
        };
        let action = self.action(program, &member, book);
        // What comes back to an earlier command goes to the member whose it is, most of the time.
        let original = match &action {
            Action::Refund { original, .. } | Action::Reverse { original, .. } | Action::Activate { original } => {
                original
            }
            Action::Capture { hold, .. } | Action::Release { hold } => hold,
            _ => &Original::None,
        };
        let is_it = |known: &&Known| match original {
            Original::Op(op) => known.op == *op,
            Original::Key(print) => known.print == *print,
            _ => false,
        };
        let owner = self.known.iter().rev().find(is_it).map(|known| known.member.clone());
        let member = owner.filter(|_| self.rng.chance(960)).unwrap_or(member);
        let reference = match self.rng.chance(500) {
            true => format!("order-{}", self.rng.between(0, 30)),
            false => String::new(),
        };
        let mut command = book.noted(program, &self.key(), &member, &reference, action);
        command.occurred_at_us = self.occurred_at();
        command.currency = match self.rng.between(0, 99) {
            0 => Some(*b"XTS"),
            1..=30 => self.currency(program).as_bytes().try_into().ok(),
            _ => None,
        };
        book.fill_parts(&mut command);
        command.body_hash = body_hash(&command);
        command
    }

    fn occurred_at(&mut self) -> Option<i64> {
        Some(match self.rng.between(0, 99) {
            0..=49 => return None,
            50..=55 => self.edge(),
            56..=58 => self.now_us - self.now_us.rem_euclid(HOUR) - self.rng.between(0, 1),
            59..=82 => self.now_us - self.rng.between(0, 2 * DAY),
            83..=91 => self.now_us - self.rng.between(0, 30 * DAY),
            92 => self.now_us - 30 * DAY,
            93 => self.now_us - 30 * DAY - 1,
            94 => self.now_us + 300 * SECOND,
            95 => self.now_us + 300 * SECOND + 1,
            96 => self.now_us - self.rng.between(30 * DAY, 400 * DAY),
            97 => self.now_us + self.rng.between(0, 3 * DAY),
            _ => self.now_us + self.rng.between(0, 300 * SECOND),
        })
    }

    /// The instant at which a recent rule begins or ends, or the last one before it.
    fn edge(&mut self) -> i64 {
        let reachable = self.now_us - 30 * DAY..=self.now_us + 300 * SECOND;
        let edges: Vec<i64> = self.edges.iter().copied().filter(|edge| reachable.contains(edge)).collect();
        let edge = if edges.is_empty() { self.now_us } else { self.rng.pick(&edges) };
        edge - self.rng.between(0, 1)
    }
}

/// The same in another program: ids are hashed there anew.
fn elsewhere(book: &Book, program: usize, mut action: Action) -> Action {
    match &mut action {
        Action::Transfer { to, .. } => *to = book.named(program, &to.id),
        Action::Merge { into, .. } => *into = book.named(program, &into.id),
        Action::Convert { to_program, to, .. } => {
            *to_program = ProgramNo(u16::try_from(1 - program).unwrap());
            *to = book.named(1 - program, &to.id);
        }
        _ => {}
    }
    action
}
