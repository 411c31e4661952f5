//! Random commands that look for trouble: few members, small budgets, tight caps, many refunds, keys sent again.

use stampbook::ledger::command::{Action, AdminAction, AdminCommand, Basis, Command, Original, Purpose};
use stampbook::ledger::ids::Op;
use stampbook::ledger::spec::{CampaignSpec, Cap, CapPer, OnExhausted, ProgramSpec, Ratio, Rounding, Rule};

use super::book::{Book, body_hash};
use super::rules::{DAY, SECOND, put, ratio, refund, spend};

/// Random numbers from a seed, the same everywhere (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low).unwrap() + 1;
        low + i64::try_from(self.next() % width).unwrap()
    }

    /// True `per_mille` times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: i64) -> bool {
        self.between(0, 999) < per_mille
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let last = i64::try_from(of.len()).unwrap() - 1;
        of[usize::try_from(self.between(0, last)).unwrap()].clone()
    }
}

/// A command as it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    /// On a member's account.
    Member(Command),
    /// On a program.
    Admin(AdminCommand),
}

/// An earn that was sent, to take back later.
#[derive(Clone, Debug)]
struct Earn {
    op: Op,
    program: usize,
    member: String,
    print: u128,
    reference: String,
    basis: Basis,
}

/// Makes commands and the times at which they arrive.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    pub rng: Rng,
    pub now_us: i64,
    /// Members that commands are for, but for passers-by.
    pub members: i64,
    /// How fast time goes: a book covers from two months to most of a year.
    pace: i64,
    sent: Vec<Sent>,
    earns: Vec<Earn>,
    /// Instants at which some rule begins or ends.
    edges: Vec<i64>,
}

pub(crate) const PROGRAMS: [&str; 2] = ["high-street", "night-market"];
const ZONES: [(&str, &str); 2] = [("Europe/London", "GBP"), ("Asia/Shanghai", "CNY")];
const KINDS: [&str; 3] = ["purchase", "review", "birthday"];
const CAMPAIGNS: [&str; 7] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"];
const GROUPS: [&str; 4] = ["brand", "season", "store", "tier"];
/// 2026-03-20, nine days before the clocks change in London.
const BEGIN_US: i64 = 1_773_964_800 * SECOND;

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng(seed),
            now_us: BEGIN_US,
            members: 25,
            pace: [1, 1, 4][usize::try_from(seed % 3).unwrap()],
            sent: Vec::new(),
            earns: Vec::new(),
            edges: Vec::new(),
        }
    }

    /// The next command, at a time not before the last.
    pub(crate) fn next(&mut self, book: &Book) -> Sent {
        self.now_us += match self.rng.between(0, 9) {
            0 => 0,
            1..=7 => self.pace * self.rng.between(0, 2 * 3_600 * SECOND),
            _ => self.pace * self.rng.between(0, 6 * 3_600 * SECOND),
        };
        let sent = match self.rng.between(0, 99) {
            _ if self.sent.len() < PROGRAMS.len() => self.first_version(book),
            0..=5 => self.again(book),
            6..=11 => Sent::Admin(self.operator(book)),
            _ => Sent::Member(self.member(book)),
        };
        self.sent.push(sent.clone());
        sent
    }

    /// Tells the generator where an earn came to stand, so that it can be taken back.
    pub(crate) fn stands_at(&mut self, sent: &Sent, op: Op) {
        let Sent::Member(command) = sent else { return };
        let Action::Earn { basis, .. } = command.action else { return };
        self.earns.push(Earn {
            op,
            program: usize::from(command.program.0),
            member: command.member.clone(),
            print: command.key_print,
            reference: command.notes.as_ref().map_or(String::new(), |notes| notes.reference.clone()),
            basis,
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

    fn member(&mut self, book: &Book) -> Command {
        let program = usize::from(self.rng.chance(400));
        let member = match self.rng.between(0, 99) {
            0 => format!("passer-by-{}", self.sent.len()),
            _ => format!("member-{}", self.rng.between(0, self.members - 1)),
        };
        let action = self.action(program, &member);
        let member = match &action {
            // A refund goes to the member who earned, most of the time.
            Action::Refund { original: Original::Op(op), .. } if self.rng.chance(960) => self.owner(*op, member),
            Action::Refund { original: Original::Key(print), .. } if self.rng.chance(960) => {
                let earn = self.earns.iter().rev().find(|earn| earn.print == *print);
                earn.map_or(member, |earn| earn.member.clone())
            }
            _ => member,
        };
        let reference = match self.rng.chance(500) {
            true => format!("order-{}", self.rng.between(0, 30)),
            false => String::new(),
        };
        let mut command = book.noted(program, &self.key(), &member, &reference, action);
        command.occurred_at_us = self.occurred_at();
        command.currency = match self.rng.between(0, 99) {
            0 => Some("XTS".to_owned()),
            1..=30 => Some(ZONES[program].1.to_owned()),
            _ => None,
        };
        command.body_hash = body_hash(&command);
        command
    }

    fn owner(&self, op: Op, else_member: String) -> String {
        self.earns.iter().rev().find(|earn| earn.op == op).map_or(else_member, |earn| earn.member.clone())
    }

    fn occurred_at(&mut self) -> Option<i64> {
        Some(match self.rng.between(0, 99) {
            0..=39 => return None,
            40..=47 => self.edge(),
            48..=49 => self.now_us - self.now_us.rem_euclid(3_600 * SECOND) - self.rng.between(0, 1),
            50..=79 => self.now_us - self.rng.between(0, 2 * DAY),
            80..=91 => self.now_us - self.rng.between(0, 30 * DAY),
            92 => self.now_us - 30 * DAY,
            93 => self.now_us - 30 * DAY - 1,
            94 => self.now_us + 300 * SECOND,
            95 => self.now_us + 300 * SECOND + 1,
            96 => self.now_us - self.rng.between(30 * DAY, 120 * DAY),
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

    fn kind(&mut self) -> String {
        match self.rng.between(0, 99) {
            0..=1 => "unheard-of".to_owned(),
            2..=70 => KINDS[0].to_owned(),
            _ => self.rng.pick(&KINDS).to_owned(),
        }
    }

    fn action(&mut self, program: usize, member: &str) -> Action {
        match self.rng.between(0, 99) {
            0..=41 => spend(self.amount(), &self.kind()),
            42..=47 => {
                let event_kind = if self.rng.chance(600) { Some(self.kind()) } else { None };
                Action::Earn { basis: Basis::Points(self.amount()), event_kind }
            }
            48..=78 => self.refund(program, member),
            79..=93 => {
                let purpose = self.rng.pick(&Purpose::ALL);
                Action::Redeem { points: self.amount(), purpose }
            }
            94..=96 => {
                let points = i64::try_from(self.amount()).unwrap();
                let points = if self.rng.chance(700) { points } else { -points };
                Action::Opening { points, actor: "desk".to_owned(), reason: "moved in".to_owned() }
            }
            _ => {
                let points = i64::try_from(self.amount()).unwrap();
                let points = if self.rng.chance(500) { points } else { -points };
                Action::Adjust { points, actor: "desk".to_owned(), reason: "goodwill".to_owned() }
            }
        }
    }

    fn refund(&mut self, program: usize, member: &str) -> Action {
        let mine = |earn: &&Earn| earn.program == program;
        let reach = if self.rng.chance(150) { usize::MAX } else { 60 };
        let recent: Vec<Earn> = self.earns.iter().rev().filter(mine).take(reach).cloned().collect();
        if recent.is_empty() || self.rng.chance(120) {
            let basis = self.amount();
            let basis = if self.rng.chance(800) { Basis::Spend(basis) } else { Basis::Points(basis) };
            return Action::Refund { original: Original::None, basis, event_kind: Some(self.kind()) };
        }
        let earn = self.rng.pick(&recent);
        let (amount, other): (u64, fn(u64) -> Basis) = match earn.basis {
            Basis::Spend(amount) => (amount, Basis::Points),
            Basis::Points(amount) => (amount, Basis::Spend),
        };
        let amount = match self.rng.between(0, 9) {
            0..=2 => amount,
            3..=6 => (amount / 3).max(1),
            7..=8 => u64::try_from(self.rng.between(1, i64::try_from(amount).unwrap())).unwrap(),
            _ => self.amount(),
        };
        let basis = match earn.basis {
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
        if self.rng.chance(150) {
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
        let name = format!("close-{}", self.rng.between(0, 20));
        let retain_until_us = self.rng.chance(500).then(|| self.now_us + self.rng.between(-DAY, 20 * DAY));
        let action = match self.rng.chance(600) {
            true => AdminAction::CreateSnapshot { name, retain_until_us },
            false => AdminAction::DeleteSnapshot { name },
        };
        book.admin("", &self.key(), action)
    }

    fn rate(&mut self) -> Ratio {
        let rates = [(1, 100), (10, 100), (1, 1), (1, 1_000), (3, 7), (5, 1), (1_000, 3)];
        let (numerator, denominator) = self.rng.pick(&rates);
        ratio(numerator, denominator)
    }

    fn spec(&mut self, number: usize) -> ProgramSpec {
        let (zone, currency) = match self.rng.chance(20) && self.sent.len() > 2 {
            true => ("America/New_York", "USD"),
            false => ZONES[number],
        };
        let mut rules = Vec::new();
        for kind in KINDS {
            if kind == KINDS[0] || self.rng.chance(800) {
                let rounding = self.rng.pick(&[Rounding::Floor, Rounding::HalfUp, Rounding::Ceiling]);
                rules.push(Rule { kind: kind.to_owned(), rate: self.rate(), rounding });
            }
        }
        let mut campaigns = Vec::new();
        let import_mode = self.rng.chance(500);
        // Live versions look ahead, but for a few that are to be refused.
        let back_most = if import_mode || (self.sent.len() > 2 && self.rng.chance(150)) { 40 * DAY } else { 0 };
        for id in CAMPAIGNS {
            if self.rng.chance(800) {
                campaigns.push(self.campaign(id, back_most));
            }
        }
        let effective_from_us = match self.rng.between(0, 9) {
            0..=4 => None,
            5..=7 => Some(self.now_us + self.rng.between(0, 10 * DAY)),
            _ => Some(self.now_us - self.rng.between(0, back_most / 2)),
        };
        self.edges.extend(effective_from_us);
        self.edges.extend(campaigns.iter().flat_map(|campaign| [campaign.start_us, campaign.end_us]));
        ProgramSpec {
            name: "Club".to_owned(),
            currency: currency.to_owned(),
            time_zone: zone.to_owned(),
            tz_version: "2026a".to_owned(),
            import_mode,
            effective_from_us,
            greatest_total: self.rng.pick(&[ratio(10, 1), ratio(5, 1), ratio(7, 2), ratio(1, 1), ratio(1_000, 1)]),
            rules,
            campaigns,
        }
    }

    fn campaign(&mut self, id: &str, back_most: i64) -> CampaignSpec {
        let multipliers = [(1, 1), (3, 2), (6, 5), (2, 1), (2, 1), (3, 1), (3, 1), (11, 10), (10_000, 9_999), (40, 1)];
        let (numerator, denominator) = self.rng.pick(&multipliers);
        let start_us = match self.rng.between(0, 3) {
            0 => self.now_us + self.rng.between(0, 5 * DAY),
            _ => self.now_us - self.rng.between(0, back_most),
        };
        let per = self.rng.pick(&[CapPer::Campaign, CapPer::Day, CapPer::Week, CapPer::Month]);
        let points = u64::try_from(self.rng.between(1, 600)).unwrap();
        CampaignSpec {
            id: id.to_owned(),
            start_us,
            end_us: start_us + self.rng.between(3_600 * SECOND, 90 * DAY),
            kinds: match self.rng.between(0, 2) {
                0 => vec![self.rng.pick(&KINDS).to_owned()],
                1 => KINDS[..2].iter().map(|kind| (*kind).to_owned()).collect(),
                _ => Vec::new(),
            },
            multiplier: ratio(numerator, denominator),
            group: self.rng.pick(&GROUPS).to_owned(),
            on_exhausted: self.rng.pick(&[OnExhausted::Clip, OnExhausted::Stop]),
            cap: self.rng.chance(500).then_some(Cap { points, per }),
        }
    }
}
