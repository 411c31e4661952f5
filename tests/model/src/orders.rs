//! Random commands on one member: earns and what takes them back, spending, holds, gifts and operators' acts.

use stampbook::ledger::command::{Action, Basis, Matures, Original, Purpose, Standing};
use stampbook::ledger::ids::{AssetNo, Op};

use super::book::Book;
use super::generate::{Character, Generator, HOUR, KINDS, Known};
use super::rules::{COUPON, DAY, GROWTH, SECOND, STARS, WALLET, refund};

impl Generator {
    pub(super) fn amount(&mut self) -> u64 {
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
    pub(super) fn part_of(&mut self, program: usize, member: &str, asset: AssetNo) -> u64 {
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

    pub(super) fn kind(&mut self) -> String {
        match self.rng.between(0, 99) {
            0..=1 => "unheard-of".to_owned(),
            2..=70 => KINDS[0].to_owned(),
            _ => self.rng.pick(&KINDS).to_owned(),
        }
    }

    /// An asset, and what it may be spent on; now and then the two do not fit.
    pub(super) fn asset(&mut self) -> (AssetNo, Purpose) {
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

    pub(super) fn matures(&mut self) -> Option<Matures> {
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

    pub(super) fn action(&mut self, program: usize, member: &str, book: &Book) -> Action {
        let (actor, reason) = ("desk".to_owned(), "goodwill".to_owned());
        if self.character == Character::Waiting && self.rng.chance(250) {
            return self.hold(program, member);
        }
        if let Some(action) = self.want_shelved(program) {
            return action;
        }
        if self.rng.chance(170) {
            return self.crossing(program, member, book);
        }
        match self.rng.between(0, 999) {
            0..=289 => {
                let (basis, event_kind) = (Basis::Spend(self.amount()), Some(self.kind().into()));
                Action::Earn { basis, event_kind, asset: AssetNo::POINTS, matures: self.matures() }
            }
            290..=359 => {
                let event_kind = if self.rng.chance(600) { Some(self.kind().into()) } else { None };
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
    pub(super) fn original(&mut self, program: usize, kind: fn(&Action) -> bool, open: &[(usize, Op)]) -> Original {
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
            _ => Original::Key(u128::from(self.rng.draw())),
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
        let named = |known: &&Known| match &hold {
            Original::Op(op) => known.op == *op,
            Original::Key(print) => known.print == *print,
            _ => false,
        };
        let held = match self.known.iter().rev().find(named).map(|known| (known.op, &known.action)) {
            Some((_, Action::Hold { units, .. })) => *units,
            Some((op, Action::Reserve { .. })) => self.reserved(op),
            _ => 50,
        };
        let held = i64::try_from(held).unwrap();
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
            return Action::Refund { original: Original::None, basis, event_kind: Some(self.kind().into()) };
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
            67 => Original::Key(u128::from(self.rng.draw())),
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
}

pub(super) fn is_earn(action: &Action) -> bool {
    matches!(action, Action::Earn { .. })
}

pub(super) fn is_hold(action: &Action) -> bool {
    matches!(action, Action::Hold { .. } | Action::Reserve { .. })
}

pub(super) fn is_reversible(action: &Action) -> bool {
    let spent = matches!(action, Action::Redeem { .. } | Action::Capture { .. } | Action::Adjust { .. })
        || matches!(action, Action::Claim { .. });
    spent || matches!(action, Action::TopUp { .. } | Action::Grant { .. })
}
