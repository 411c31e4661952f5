//! Random commands between members, on what a member is, on rewards, and of several parts.

use stampbook::ledger::command::{Action, Basis, Command, Purpose};
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};

use super::book::Book;
use super::generate::{Character, Generator, SKUS, Shelved};
use super::orders::is_hold;
use super::rules::{COUPON, DAY, GROWTH, STARS, WALLET};

impl Generator {
    /// Units that a hold pins for pieces.
    pub(super) fn reserved(&mut self, hold: Op) -> u64 {
        let (units, price) = self.reserved.get(&hold).copied().unwrap_or((50, 1));
        let whole = units / price;
        let pieces = self.rng.between(1, i64::try_from(whole).unwrap().max(1));
        let units = if self.rng.chance(900) { i128::from(pieces) * price } else { units };
        u64::try_from(units).unwrap()
    }

    /// One of these commands.
    pub(super) fn crossing(&mut self, program: usize, member: &str, book: &Book) -> Action {
        match self.rng.between(0, 99) {
            0..=29 => self.transfer(program, member, book),
            30..=49 => self.convert(program, member, book),
            50..=54 => self.merge(program, book),
            55..=66 => self.member_set(),
            67..=76 => {
                let (sku, pieces, purpose) = self.pieces();
                Action::Claim { sku, pieces, purpose }
            }
            77..=86 => self.reserve(),
            _ => self.checkout(program, member, book),
        }
    }

    fn other(&mut self, program: usize) -> String {
        match self.rng.between(0, 49) {
            0 => format!("friend-{}", self.sent_count()),
            _ => self.name(program),
        }
    }

    fn transfer(&mut self, program: usize, member: &str, book: &Book) -> Action {
        let asset = match self.rng.between(0, 49) {
            0 => self.rng.pick(&[WALLET, GROWTH]),
            1..=9 => COUPON,
            10..=24 => STARS,
            _ => AssetNo::POINTS,
        };
        let to = self.other(program);
        Action::Transfer { to: book.named(program, &to), asset, units: self.part_of(program, member, asset) }
    }

    fn convert(&mut self, program: usize, member: &str, book: &Book) -> Action {
        let there = 1 - program;
        let to = if self.rng.chance(500) { member.to_owned() } else { self.other(there) };
        let kinds = [AssetNo::POINTS, AssetNo::POINTS, AssetNo::POINTS, STARS];
        let asset = if self.rng.chance(20) { WALLET } else { self.rng.pick(&kinds) };
        let to_asset = if self.rng.chance(20) { GROWTH } else { self.rng.pick(&kinds) };
        Action::Convert {
            to_program: ProgramNo(u16::try_from(there).unwrap()),
            to: book.named(there, &to),
            asset,
            to_asset,
            units: self.part_of(program, member, asset),
        }
    }

    /// Merges are rare, or there were nobody left.
    fn merge(&mut self, program: usize, book: &Book) -> Action {
        let into = match self.rng.between(0, 19) {
            0 => "nobody".to_owned(),
            _ => self.name(program),
        };
        let (actor, reason) = ("desk".to_owned(), "the same person".to_owned());
        Action::Merge { into: book.named(program, &into), actor, reason }
    }

    fn member_set(&mut self) -> Action {
        let joined_day = self.rng.chance(400).then(|| i32::try_from(self.rng.between(19_000, 19_010)).unwrap());
        let mut tags: Vec<String> =
            (0..self.rng.between(0, 9)).map(|_| format!("tag-{}", self.rng.between(0, 44))).collect();
        tags.sort_unstable();
        tags.dedup();
        let kept = usize::try_from(self.rng.between(0, 9)).unwrap().min(tags.len());
        // Most are put on, so that a member may come to have as many as may be.
        let remove = tags.split_off(tags.len() - kept / 4);
        Action::MemberSet { joined_day, add: tags, remove }
    }

    /// More pieces of a reward than are left, where a hold is over that reserves some and nobody booked its end.
    pub(super) fn shelved(&mut self, program: usize) -> Option<(String, i64)> {
        let over = |shelved: &&Shelved| shelved.program == program && shelved.until_us <= self.now_us;
        let over: Vec<Shelved> = self.shelved.iter().filter(over).cloned().collect();
        if over.is_empty() || !self.rng.chance(300) {
            return None;
        }
        let Shelved { sku, pieces, left, .. } = self.rng.pick(&over);
        let more = self.rng.between(1, i64::try_from(pieces).unwrap());
        Some((sku, i64::try_from(left).unwrap() + more))
    }

    /// A claim or a reservation of pieces that holds which are over reserve, where there are any.
    pub(super) fn want_shelved(&mut self, program: usize) -> Option<Action> {
        let (sku, pieces) = self.shelved(program)?;
        let (pieces, purpose) = (u64::try_from(pieces).unwrap(), self.rng.pick(&Purpose::ALL[..6]));
        Some(match self.rng.chance(700) {
            true => Action::Claim { sku, pieces, purpose },
            false => Action::Reserve { sku, pieces, until_us: None, purpose },
        })
    }

    fn pieces(&mut self) -> (String, u64, Purpose) {
        let sku = if self.rng.chance(20) { "moon" } else { self.rng.pick(&SKUS) };
        let pieces = match self.rng.between(0, 99) {
            0 => 1_000_000,
            1..=60 => 1,
            _ => self.rng.between(1, 5),
        };
        (sku.to_owned(), u64::try_from(pieces).unwrap(), self.rng.pick(&Purpose::ALL[..6]))
    }

    fn reserve(&mut self) -> Action {
        let (sku, pieces, purpose) = self.pieces();
        let until_us = match self.rng.between(0, 9) {
            0..=2 => None,
            3..=8 => Some(self.now_us + self.rng.between(1, 3 * DAY)),
            _ => Some(self.now_us + self.rng.between(-DAY, 60 * DAY)),
        };
        Action::Reserve { sku, pieces, until_us, purpose }
    }

    /// Several commands as one: what is spent in several ways, and an earn on the rest. The parts are commands only once the
    /// whole is one.
    fn checkout(&mut self, program: usize, member: &str, book: &Book) -> Action {
        let mut actions = Vec::new();
        for _ in 0..self.rng.between(1, 4) {
            actions.push(match self.rng.between(0, 9) {
                0..=1 => {
                    let (sku, pieces, purpose) = self.pieces();
                    Action::Claim { sku, pieces, purpose }
                }
                2 => self.capture_of(program),
                _ => {
                    let (asset, purpose) = self.asset();
                    let points = (self.part_of(program, member, asset) / 9).max(1);
                    Action::Redeem { asset, points, purpose }
                }
            });
        }
        if actions.len() < 2 || self.rng.chance(700) {
            let (basis, event_kind) = (Basis::Spend(self.amount()), Some(self.kind().into()));
            let matures = self.matures();
            let place = usize::try_from(self.rng.between(0, i64::try_from(actions.len()).unwrap())).unwrap();
            actions.insert(place, Action::Earn { basis, event_kind, asset: AssetNo::POINTS, matures });
        }
        let parts: Vec<Command> = actions.into_iter().map(|action| book.command(program, "", member, action)).collect();
        Action::Checkout { parts }
    }

    fn capture_of(&mut self, program: usize) -> Action {
        let hold = self.original(program, is_hold, &self.holds.clone());
        let units = match self.character {
            Character::Waiting => self.rng.between(1, 5),
            _ => self.rng.between(1, 60),
        };
        Action::Capture { hold, units: u64::try_from(units).unwrap(), last: self.rng.chance(300) }
    }
}
