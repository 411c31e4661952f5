//! Random commands that look for trouble: few members, small budgets, tight caps, many take-backs, holds and pending
//! earns over lapses, keys sent again, and a clock that jumps: by minutes, hours, days and months, and onto the instants
//! at which something ends.

use std::collections::BTreeMap;

use stampbook::ledger::command::{
    Action, AdminAction, AdminCommand, Basis, Command, Matures, Original, Purpose, Standing,
};
use stampbook::ledger::ids::{AssetNo, Op};

use super::book::{Book, body_hash};
use super::rng::Rng;
use super::rules::{COUPON, DAY, GROWTH, SECOND, STARS, WALLET, put, refund};

/// A command as it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    /// On a member's account.
    Member(Command),
    /// On a program.
    Admin(AdminCommand),
    /// No command: the sweep comes to a member of a program.
    Sweep(usize, String),
}

/// A command that was sent, to come back to later.
#[derive(Clone, Debug)]
struct Known {
    op: Op,
    program: usize,
    member: String,
    print: u128,
    reference: String,
    action: Action,
}

/// What a book is to be full of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
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
pub(crate) struct Generator {
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
    /// Instants at which something of a member falls due.
    pub soon: Vec<i64>,
    /// Instants at which some rule begins or ends.
    pub edges: Vec<i64>,
    /// How fast time goes: a book covers from a few months to about two years.
    pace: i64,
    sent: Vec<Sent>,
    known: Vec<Known>,
}

pub(crate) const PROGRAMS: [&str; 2] = ["high-street", "night-market"];
pub(crate) const KINDS: [&str; 3] = ["purchase", "review", "birthday"];
pub(crate) const CAMPAIGNS: [&str; 7] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"];
const HOUR: i64 = 3_600 * SECOND;
/// 2026-03-20, nine days before the clocks change in London.
const BEGIN_US: i64 = 1_773_964_800 * SECOND;

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let of = |count: u64| usize::try_from(seed % count).unwrap();
        let character = [Character::Mixed, Character::ManyLots, Character::Rolling, Character::Waiting][of(4)];
        Self {
            rng: Rng(seed),
            now_us: BEGIN_US,
            members: if character == Character::Mixed { 15 } else { 2 },
            character,
            zones: of(3),
            available: BTreeMap::new(),
            holds: Vec::new(),
            waiting: Vec::new(),
            soon: Vec::new(),
            edges: Vec::new(),
            pace: [2, 1, 1][of(3)],
            sent: Vec::new(),
            known: Vec::new(),
        }
    }

    pub(crate) fn sent_count(&self) -> usize {
        self.sent.len()
    }

    /// The next command, at a time not before the last.
    pub(crate) fn next(&mut self, book: &Book) -> Sent {
        if self.sent.len() >= PROGRAMS.len() {
            self.now_us = self.later();
        }
        let sent = match self.rng.between(0, 99) {
            _ if self.sent.len() < PROGRAMS.len() => self.first_version(book),
            0..=4 => self.again(book),
            5..=9 => Sent::Admin(self.operator(book)),
            10..=12 => Sent::Sweep(usize::from(self.rng.chance(400)), self.name()),
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
    pub(crate) fn stands_at(&mut self, sent: &Sent, op: Op, refused: bool) {
        let Sent::Member(command) = sent else { return };
        if matches!(command.action, Action::Standing { .. } | Action::Activate { .. })
            || refused && !op.0.is_multiple_of(20)
        {
            return;
        }
        self.known.push(Known {
            op,
            program: usize::from(command.program.0),
            member: command.member.clone(),
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

    fn key(&mut self) -> String {
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
                *command = book.command(other, &key, &member, command.action.clone());
            }
            Sent::Member(command) if other_body => {
                command.action = self.action(usize::from(command.program.0), &command.member.clone());
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

    fn name(&mut self) -> String {
        format!("member-{}", self.rng.between(0, self.members - 1))
    }

    fn member(&mut self, book: &Book) -> Command {
        let program = usize::from(self.rng.chance(400));
        let member = match self.rng.between(0, 99) {
            0 => format!("passer-by-{}", self.sent.len()),
            _ => self.name(),
        };
        let action = self.action(program, &member);
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
            0 => Some("XTS".to_owned()),
            1..=30 => Some(self.currency(program).to_owned()),
            _ => None,
        };
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

    fn amount(&mut self) -> u64 {
        let amount = match self.rng.between(0, 999) {
            0..=2 => 1_000_000_000_000,
            3..=5 => self.rng.between(100_000_000_000, 1_000_000_000_000),
            6..=99 => self.rng.between(1, 9),
            100..=399 => self.rng.between(1, 999),
            400..=950 => self.rng.between(100, 9_999),
            _ => self.rng.between(10_000, 5_000_000),
        };
        u64::try_from(amount).unwrap()
    }

    /// An amount to spend: of what the member has all, some, or a little too much; or any.
    fn part_of(&mut self, program: usize, member: &str, asset: AssetNo) -> u64 {
        let available = self.available.get(&(program, member.to_owned(), asset.0)).copied().unwrap_or(0);
        let available = i64::try_from(available).unwrap();
        let amount = match self.rng.between(0, 9) {
            _ if available == 0 => return self.amount(),
            0..=8 if self.character == Character::ManyLots => (available / self.rng.between(10, 90)).max(1),
            0 => available,
            1 => available + 1,
            2..=5 => self.rng.between(1, available),
            6..=8 => (available / self.rng.between(2, 9)).max(1),
            _ => return self.amount(),
        };
        u64::try_from(amount.min(1_000_000_000_000)).unwrap()
    }

    fn kind(&mut self) -> String {
        match self.rng.between(0, 99) {
            0..=1 => "unheard-of".to_owned(),
            2..=70 => KINDS[0].to_owned(),
            _ => self.rng.pick(&KINDS).to_owned(),
        }
    }

    /// An asset, and what it may be spent on; now and then the two do not fit.
    fn asset(&mut self) -> (AssetNo, Purpose) {
        let any = self.rng.pick(&Purpose::ALL);
        match self.rng.between(0, 99) {
            0..=54 => (AssetNo::POINTS, self.rng.pick(&Purpose::ALL[..6])),
            55..=69 => (STARS, self.rng.pick(&Purpose::ALL[1..6])),
            70..=82 => (WALLET, Purpose::Payment),
            83..=95 => (COUPON, Purpose::Use),
            96..=97 => (GROWTH, any),
            _ => (self.rng.pick(&[AssetNo::POINTS, WALLET, COUPON]), any),
        }
    }

    fn matures(&mut self) -> Option<Matures> {
        let often = if self.character == Character::Waiting { 700 } else { 120 };
        if !self.rng.chance(often) {
            return None;
        }
        Some(match self.rng.between(0, 9) {
            0..=3 => Matures::Activated,
            5..=7 if self.character == Character::Waiting => Matures::Activated,
            4 => Matures::At(self.now_us + self.rng.between(-1, 1)),
            _ => Matures::At(self.now_us + self.rng.between(-DAY, 60 * DAY)),
        })
    }

    fn lapses(&mut self) -> Option<i64> {
        Some(match self.rng.between(0, 19) {
            0..=11 => return None,
            12 => self.now_us + self.rng.between(-1, 1),
            13 => self.now_us - self.rng.between(0, 60 * DAY),
            _ => self.now_us + self.rng.between(1, 200) * self.rng.pick(&[DAY, DAY, HOUR, SECOND]),
        })
    }

    fn action(&mut self, program: usize, member: &str) -> Action {
        let (actor, reason) = ("desk".to_owned(), "goodwill".to_owned());
        if self.character == Character::Waiting && self.rng.chance(250) {
            return self.hold(program, member);
        }
        match self.rng.between(0, 999) {
            0..=289 => {
                let (basis, event_kind) = (Basis::Spend(self.amount()), Some(self.kind()));
                Action::Earn { basis, event_kind, asset: AssetNo::POINTS, matures: self.matures() }
            }
            290..=359 => {
                let event_kind = if self.rng.chance(600) { Some(self.kind()) } else { None };
                let asset = self.rng.pick(&[AssetNo::POINTS, AssetNo::POINTS, GROWTH, STARS, STARS, WALLET]);
                Action::Earn { basis: Basis::Points(self.amount()), event_kind, asset, matures: self.matures() }
            }
            360..=519 => self.refund(program, member),
            520..=629 => {
                let (asset, purpose) = self.asset();
                Action::Redeem { asset, points: self.part_of(program, member, asset), purpose }
            }
            630..=704 => self.reverse(program),
            705..=784 => self.hold(program, member),
            785..=859 => self.capture(program),
            860..=894 => Action::Activate { original: self.original(program, is_earn, &self.waiting.clone()) },
            895..=914 => {
                let asset = if self.rng.chance(950) { WALLET } else { STARS };
                let bonus = if self.rng.chance(600) { self.amount() / 7 } else { 0 };
                Action::TopUp { asset, principal: self.amount(), bonus }
            }
            915..=934 => {
                let asset = if self.rng.chance(950) { COUPON } else { AssetNo::POINTS };
                Action::Grant { asset, units: self.amount(), lapses_us: self.lapses() }
            }
            935..=964 => {
                let asset = self.asset().0;
                let points = i64::try_from(self.part_of(program, member, asset)).unwrap();
                let points = if self.rng.chance(500) { points } else { -points };
                Action::Adjust { asset, points, actor, reason }
            }
            965..=989 => {
                let (asset, points) = (self.asset().0, i64::try_from(self.amount()).unwrap());
                let (points, lapses_us) = if self.rng.chance(700) { (points, self.lapses()) } else { (-points, None) };
                Action::Opening { asset, points, lapses_us, actor, reason }
            }
            _ => {
                let closes = if self.character == Character::Mixed { 80 } else { 15 };
                let change = match self.rng.chance(closes) {
                    true => Standing::Closed,
                    false => self.rng.pick(&[Standing::Open, Standing::Open, Standing::Open, Standing::Frozen]),
                };
                Action::Standing { change, actor, reason }
            }
        }
    }

    /// One of these, or a recent command of the program, of one kind, by op or key; or none such.
    fn original(&mut self, program: usize, kind: fn(&Action) -> bool, open: &[(usize, Op)]) -> Original {
        let open: Vec<Op> = open.iter().filter(|(of, _)| *of == program).map(|(_, op)| *op).collect();
        if !open.is_empty() && self.rng.chance(800) {
            let op = self.rng.pick(&open);
            let known = self.known.iter().find(|known| known.op == op).filter(|_| self.rng.chance(400));
            return known.map_or(Original::Op(op), |known| Original::Key(known.print));
        }
        let reach = if self.rng.chance(150) { usize::MAX } else { 12 };
        let fits = |known: &&Known| known.program == program && kind(&known.action);
        let recent: Vec<Known> = self.known.iter().rev().filter(fits).take(reach).cloned().collect();
        if recent.is_empty() {
            return Original::Op(Op(u64::try_from(self.rng.between(0, 3_000)).unwrap()));
        }
        let known = self.rng.pick(&recent);
        match self.rng.between(0, 99) {
            0..=54 => Original::Op(known.op),
            55..=94 => Original::Key(known.print),
            95..=97 => Original::Op(Op(u64::try_from(self.rng.between(0, 3_000)).unwrap())),
            _ => Original::Key(u128::from(self.rng.next())),
        }
    }

    fn reverse(&mut self, program: usize) -> Action {
        let kind = if self.rng.chance(970) { is_reversible } else { |_: &Action| true };
        let original = match self.rng.chance(100) {
            true => Original::Reference(format!("order-{}", self.rng.between(0, 31))),
            false => self.original(program, kind, &[]),
        };
        let units = match self.rng.between(0, 9) {
            0..=2 => None,
            3..=6 => Some(u64::try_from(self.rng.between(1, 300)).unwrap()),
            _ => Some(self.amount()),
        };
        Action::Reverse { original, units }
    }

    fn hold(&mut self, program: usize, member: &str) -> Action {
        let (mut asset, mut purpose) = self.asset();
        if self.character == Character::Waiting {
            let have =
                |asset: AssetNo| self.available.get(&(program, member.to_owned(), asset.0)).copied().unwrap_or(0);
            let of = [
                (AssetNo::POINTS, Purpose::Gift),
                (STARS, Purpose::Miles),
                (WALLET, Purpose::Payment),
                (COUPON, Purpose::Use),
            ];
            (asset, purpose) = of.into_iter().max_by_key(|(asset, _)| have(*asset)).unwrap_or((asset, purpose));
        }
        let units = match self.character {
            Character::Waiting => u64::try_from(self.rng.between(1, 5)).unwrap(),
            _ => self.part_of(program, member, asset),
        };
        let until_us = match self.rng.between(0, 19) {
            0..=13 if self.character == Character::Waiting => None,
            0..=7 => None,
            8..=16 => Some(self.now_us + self.rng.between(1, 7 * DAY)),
            17 => Some(self.now_us + 30 * DAY + self.rng.between(0, 1)),
            18 => Some(self.now_us + self.rng.between(-1, 1)),
            _ => Some(self.now_us + self.rng.between(-DAY, 60 * DAY)),
        };
        Action::Hold { asset, units, until_us, purpose }
    }

    fn capture(&mut self, program: usize) -> Action {
        let hold = self.original(program, is_hold, &self.holds.clone());
        if self.rng.chance(300) {
            return Action::Release { hold };
        }
        let held = self.known.iter().rev().find_map(|known| match (&hold, &known.action) {
            (Original::Op(op), Action::Hold { units, .. }) if known.op == *op => Some(*units),
            (Original::Key(print), Action::Hold { units, .. }) if known.print == *print => Some(*units),
            _ => None,
        });
        let held = i64::try_from(held.unwrap_or(50)).unwrap();
        let units = match self.rng.between(0, 9) {
            0..=2 => held,
            3..=8 => self.rng.between(1, held),
            _ => held + 1,
        };
        Action::Capture { hold, units: u64::try_from(units).unwrap(), last: self.rng.chance(300) }
    }

    fn refund(&mut self, program: usize, member: &str) -> Action {
        let mine = |known: &&Known| known.program == program && is_earn(&known.action);
        let reach = if self.rng.chance(150) { usize::MAX } else { 60 };
        let recent: Vec<Known> = self.known.iter().rev().filter(mine).take(reach).cloned().collect();
        if recent.is_empty() || self.rng.chance(80) {
            let basis = self.amount();
            let basis = if self.rng.chance(800) { Basis::Spend(basis) } else { Basis::Points(basis) };
            return Action::Refund { original: Original::None, basis, event_kind: Some(self.kind()) };
        }
        let earn = self.rng.pick(&recent);
        let Action::Earn { basis: of, .. } = earn.action else { unreachable!() };
        let (amount, other): (u64, fn(u64) -> Basis) = match of {
            Basis::Spend(amount) => (amount, Basis::Points),
            Basis::Points(amount) => (amount, Basis::Spend),
        };
        let amount = match self.rng.between(0, 9) {
            0..=2 => amount,
            3..=6 => (amount / 3).max(1),
            7..=8 => u64::try_from(self.rng.between(1, i64::try_from(amount).unwrap())).unwrap(),
            _ => self.amount(),
        };
        let basis = match of {
            _ if self.rng.chance(20) => other(amount),
            Basis::Spend(_) => Basis::Spend(amount),
            Basis::Points(_) => Basis::Points(amount),
        };
        let original = match self.rng.between(0, 99) {
            0..=39 => Original::Op(earn.op),
            40..=64 => Original::Key(earn.print),
            65..=66 => Original::Op(Op(u64::try_from(self.rng.between(0, 3_000)).unwrap())),
            67 => Original::Key(u128::from(self.rng.next())),
            68..=89 => {
                let own = recent.iter().find(|earn| earn.member == member && !earn.reference.is_empty());
                Original::Reference(own.map_or("order-0".to_owned(), |own| own.reference.clone()))
            }
            _ => Original::Reference(format!("order-{}", self.rng.between(0, 32))),
        };
        match basis {
            Basis::Spend(minor_units) => refund(original, minor_units),
            Basis::Points(_) => Action::Refund { original, basis, event_kind: None },
        }
    }

    fn operator(&mut self, book: &Book) -> AdminCommand {
        if self.rng.chance(250) {
            return self.snapshot(book);
        }
        let number = usize::from(self.rng.chance(400));
        let id = if self.rng.chance(20) { "no-such-program" } else { PROGRAMS[number] };
        let campaign = if self.rng.chance(20) { "no-such-campaign" } else { self.rng.pick(&CAMPAIGNS) };
        let campaign = campaign.to_owned();
        let action = match self.rng.between(0, 99) {
            0..=54 => {
                let points = match self.rng.between(0, 9) {
                    0..=6 => self.rng.between(1, 3_000),
                    7..=8 => self.rng.between(1, 1_000_000),
                    _ => i64::try_from(self.amount()).unwrap(),
                };
                AdminAction::FundCampaign { campaign, points: u64::try_from(points).unwrap() }
            }
            55..=62 => AdminAction::PauseCampaign { campaign },
            63..=84 => AdminAction::ResumeCampaign { campaign },
            85 => AdminAction::CloseCampaign { campaign },
            86..=90 => AdminAction::ClosePeriod { until_us: self.now_us + self.rng.between(-60 * DAY, 10 * DAY) },
            _ => {
                let mut action = put(self.spec(number));
                if let (AdminAction::PutProgram { expected_version, .. }, true) = (&mut action, self.rng.chance(100)) {
                    *expected_version = Some(u32::try_from(self.rng.between(0, 9)).unwrap());
                }
                if id == "no-such-program" {
                    AdminAction::PauseCampaign { campaign: "alpha".to_owned() }
                } else {
                    action
                }
            }
        };
        book.admin(id, &self.key(), action)
    }

    fn snapshot(&mut self, book: &Book) -> AdminCommand {
        let name = format!("close-{}", self.rng.between(0, 9));
        let retain_until_us = self.rng.chance(500).then(|| self.now_us + self.rng.between(-DAY, 20 * DAY));
        let action = match self.rng.chance(600) {
            true => AdminAction::CreateSnapshot { name, retain_until_us },
            false => AdminAction::DeleteSnapshot { name },
        };
        book.admin("", &self.key(), action)
    }
}

fn is_earn(action: &Action) -> bool {
    matches!(action, Action::Earn { .. })
}

fn is_hold(action: &Action) -> bool {
    matches!(action, Action::Hold { .. })
}

fn is_reversible(action: &Action) -> bool {
    let spent = matches!(action, Action::Redeem { .. } | Action::Capture { .. } | Action::Adjust { .. });
    spent || matches!(action, Action::TopUp { .. } | Action::Grant { .. })
}
