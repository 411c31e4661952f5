//! What a member has, as plain lists: each lot a queue of units with the op that brought them, each hold a list of what it
//! pins, each pending earn a list of what it will bring. Totals are summed whenever one is asked for.

use std::collections::{BTreeMap, BTreeSet};

use stampbook::ledger::event::{Expiry, LotId, Purpose, Source, Standing};
use stampbook::ledger::ids::AssetNo;

use super::add;
use super::book::{lot_name, prefix};
use super::dates::MINUTE;

/// The number by which pieces of rewards are counted.
pub const PIECES: u8 = AssetNo::PIECES.0;

/// A lot that lies here or lay here.
#[derive(Clone, Debug)]
pub struct Lot {
    pub asset: u8,
    pub id: LotId,
    /// Units that entered it and that left it so far.
    pub entered: i128,
    pub left: i128,
    /// The op that put units into it when it was last empty.
    pub opened: usize,
    /// What it holds in the order in which it came: the op whose units they are, and how many.
    pub units: Vec<(usize, i128)>,
}

/// Units pinned.
#[derive(Clone, Debug)]
pub struct Hold {
    pub op: usize,
    pub asset: u8,
    pub purpose: Purpose,
    pub until_us: i64,
    /// In the order in which they were pinned.
    pub parts: Vec<(LotId, i128)>,
    /// The reward whose pieces are reserved with them, and the price of one.
    pub reserves: Option<(String, i128)>,
}

impl Hold {
    pub fn units(&self) -> i128 {
        self.parts.iter().map(|(_, units)| units).sum()
    }
}

/// An earn that is pending.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub op: usize,
    /// `None`: when it is activated.
    pub matures_us: Option<i64>,
    /// What will come of it: part after part.
    pub parts: Vec<(u8, LotId, i128)>,
}

/// A member.
#[derive(Clone, Debug)]
pub struct Member {
    pub standing: Standing,
    pub debts: BTreeMap<u8, i128>,
    /// Until when rolling units live, in minutes.
    pub untils: BTreeMap<u8, u32>,
    pub lots: Vec<Lot>,
    pub holds: Vec<Hold>,
    pub waiting: Vec<Waiting>,
    /// What lapsed of an event's own units and was not taken back since.
    pub lapsed: BTreeMap<(usize, u8), i128>,
    /// The greatest count of units that entered a dated lot which is gone.
    pub floor: i128,
    /// The local date on which the member joined, in days.
    pub joined: Option<i32>,
    pub tags: BTreeSet<String>,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            standing: Standing::Open,
            debts: BTreeMap::new(),
            untils: BTreeMap::new(),
            lots: Vec::new(),
            holds: Vec::new(),
            waiting: Vec::new(),
            lapsed: BTreeMap::new(),
            floor: 0,
            joined: None,
            tags: BTreeSet::new(),
        }
    }
}

fn is_dated(id: LotId) -> bool {
    matches!(id.expiry, Expiry::At(_))
}

impl Member {
    /// Units in a lot, pinned ones too.
    pub fn units(&self, asset: u8, id: LotId) -> i128 {
        let lot = self.lots.iter().find(|lot| lot.asset == asset && lot.id == id);
        lot.map_or(0, |lot| lot.entered - lot.left)
    }

    /// Units of a lot that holds pin.
    pub fn held(&self, asset: u8, id: LotId) -> i128 {
        let holds = self.holds.iter().filter(|hold| hold.asset == asset);
        holds.flat_map(|hold| &hold.parts).filter(|(of, _)| *of == id).map(|(_, units)| units).sum()
    }

    /// Units of a lot that nothing pins.
    pub fn free(&self, asset: u8, id: LotId) -> i128 {
        self.units(asset, id) - self.held(asset, id)
    }

    /// Of the units that an event put into a lot those that are still there, and free.
    pub fn own(&self, asset: u8, id: LotId, op: usize) -> i128 {
        let lot = self.lots.iter().find(|lot| lot.asset == asset && lot.id == id).unwrap();
        let own: i128 = lot.units.iter().filter(|(of, _)| *of == op).map(|(_, units)| units).sum();
        own.min(self.free(asset, id))
    }

    pub fn debt(&self, asset: u8) -> i128 {
        self.debts.get(&asset).copied().unwrap_or(0)
    }

    /// The assets that the member has something of, or owes, some of them more than once.
    pub fn assets(&self) -> impl Iterator<Item = u8> {
        let pending = self.waiting.iter().flat_map(|entry| &entry.parts).map(|(asset, _, _)| *asset);
        self.lots.iter().map(|lot| lot.asset).chain(pending).chain(self.debts.keys().copied())
    }

    /// Available, held, pending and owed units of an asset.
    pub fn balances(&self, asset: u8) -> [i128; 4] {
        let ids: Vec<LotId> = self.lots.iter().filter(|lot| lot.asset == asset).map(|lot| lot.id).collect();
        let available = ids.iter().map(|id| self.free(asset, *id)).sum();
        let held = ids.iter().map(|id| self.held(asset, *id)).sum();
        let parts = self.waiting.iter().flat_map(|entry| &entry.parts);
        let pending = parts.filter(|(of, _, _)| *of == asset).map(|(_, _, units)| units).sum();
        [available, held, pending, self.debt(asset)]
    }

    /// The instant at which a lot lapses.
    pub fn lapses_us(&self, asset: u8, id: LotId) -> Option<i64> {
        let minute = match id.expiry {
            Expiry::Never => None,
            Expiry::At(minute) => Some(minute),
            Expiry::Rolling => self.untils.get(&asset).copied(),
        };
        minute.map(|minute| i64::from(minute) * MINUTE)
    }

    pub fn has_lapsed(&self, asset: u8, id: LotId, now_us: i64) -> bool {
        self.lapses_us(asset, id).is_some_and(|lapses_us| lapses_us <= now_us)
    }

    /// The lots of an asset with free units, in the order in which they are spent.
    pub fn spending_order(&self, asset: u8) -> Vec<LotId> {
        let mut lots: Vec<&Lot> =
            self.lots.iter().filter(|lot| lot.asset == asset && self.free(asset, lot.id) > 0).collect();
        lots.sort_by_key(|lot| {
            // What a top-up gave on top; there are top-ups of stored value alone.
            let gift = lot.id.source == Source::Bonus;
            let lapses_us = self.lapses_us(asset, lot.id).unwrap_or(i64::MAX);
            (gift, lapses_us, lot.opened, lot.id.source, lot.id.expiry)
        });
        lots.into_iter().map(|lot| lot.id).collect()
    }
}

/// A member's account in the making of one event.
#[derive(Clone, Debug)]
pub struct Draft {
    pub name: String,
    pub member: Member,
    pub op: usize,
    pub now_us: i64,
    /// Amounts by account name, credit positive.
    pub legs: BTreeMap<String, i128>,
    /// The assets that have a leg.
    pub touched: BTreeSet<u8>,
    /// Where the intervals begin of what entered and of what left each lot.
    pub positions: BTreeMap<String, i128>,
}

impl Draft {
    pub fn new(name: &str, member: Member, op: usize, now_us: i64) -> Self {
        let (legs, touched, positions) = Default::default();
        Self { name: name.to_owned(), member, op, now_us, legs, touched, positions }
    }

    /// Puts an amount on one of the program's accounts.
    pub fn put(&mut self, asset: u8, account: &str, amount: i128) {
        if amount != 0 && asset != PIECES {
            self.touched.insert(asset);
        }
        add(&mut self.legs, &format!("{}{account}", prefix(asset)), amount);
    }

    fn put_own(&mut self, asset: u8, id: LotId, suffix: &str, amount: i128) {
        let account = format!("{}{suffix}", lot_name(&self.name, id));
        self.put(asset, &account, amount);
    }

    pub fn put_free(&mut self, asset: u8, id: LotId, amount: i128) {
        self.put_own(asset, id, "", amount);
    }

    pub fn put_held(&mut self, asset: u8, id: LotId, amount: i128) {
        self.put_own(asset, id, "/held", amount);
    }

    pub fn put_pending(&mut self, asset: u8, id: LotId, earn: usize, amount: i128) {
        self.put_own(asset, id, &format!("/pending/{earn}"), amount);
    }

    /// Owes more, or less.
    pub fn owe(&mut self, asset: u8, more: i128) {
        *self.member.debts.entry(asset).or_default() += more;
        let account = format!("member/{}/debt", self.name);
        self.put(asset, &account, -more);
    }

    fn lot(&mut self, asset: u8, id: LotId) -> &mut Lot {
        let floor = if is_dated(id) { self.member.floor } else { 0 };
        let lots = &mut self.member.lots;
        let at = lots.iter().position(|lot| lot.asset == asset && lot.id == id).unwrap_or_else(|| {
            lots.push(Lot { asset, id, entered: floor, left: floor, opened: 0, units: Vec::new() });
            lots.len() - 1
        });
        &mut lots[at]
    }

    /// Remembers where an interval begins, of which only the first part matters.
    fn note(&mut self, asset: u8, id: LotId, way: &str, position: i128) {
        let name = format!("{}{} {way}", prefix(asset), lot_name(&self.name, id));
        self.positions.entry(name).or_insert(position);
    }

    /// Puts units into a lot without a leg.
    pub fn enter(&mut self, asset: u8, id: LotId, units: &[(usize, i128)]) {
        if units.iter().all(|(_, units)| *units == 0) {
            return;
        }
        let (op, begins) = (self.op, self.lot(asset, id).entered);
        self.note(asset, id, "in", begins);
        let lot = self.lot(asset, id);
        if lot.units.is_empty() {
            lot.opened = op;
        }
        for (of, units) in units.iter().copied().filter(|(_, units)| *units > 0) {
            lot.entered += units;
            lot.units.push((of, units));
        }
    }

    /// Takes the units out of a lot, without a leg, that have been in it for longest; whose they are. A dated lot that holds
    /// nothing is gone.
    pub fn leave(&mut self, asset: u8, id: LotId, mut units: i128) -> Vec<(usize, i128)> {
        if units == 0 {
            return Vec::new();
        }
        let begins = self.lot(asset, id).left;
        self.note(asset, id, "out", begins);
        let lot = self.lot(asset, id);
        lot.left += units;
        let mut gone = Vec::new();
        for (op, there) in &mut lot.units {
            let taken = (*there).min(units);
            *there -= taken;
            units -= taken;
            gone.push((*op, taken));
            if units == 0 {
                break;
            }
        }
        assert_eq!(units, 0, "the model takes no more than there is");
        let empty = lot.units.iter().take_while(|(_, there)| *there == 0).count();
        lot.units.drain(..empty);
        if is_dated(id) && lot.units.is_empty() {
            self.member.floor = lot.entered.max(self.member.floor);
            self.member.lots.retain(|lot| lot.asset != asset || lot.id != id);
        }
        gone
    }

    /// Units lapse, whosever they are.
    pub fn lapse(&mut self, asset: u8, units: &[(usize, i128)]) {
        for (op, units) in units {
            *self.member.lapsed.entry((*op, asset)).or_default() += units;
            self.put(asset, "breakage", *units);
        }
    }

    /// Settles what the member owes with units that it is to get; what is left of them.
    pub fn settle(&mut self, asset: u8, units: i128) -> i128 {
        let settled = units.min(self.member.debt(asset));
        self.owe(asset, -settled);
        units - settled
    }

    /// Credits the member with units of an event: what is owed first, then the lot, if that has not lapsed. How many
    /// lapsed.
    pub fn credit(&mut self, asset: u8, id: LotId, units: i128, of: usize) -> i128 {
        let rest = self.settle(asset, units);
        if rest == 0 {
            return 0;
        }
        if self.member.has_lapsed(asset, id, self.now_us) {
            self.lapse(asset, &[(of, rest)]);
            return rest;
        }
        self.enter(asset, id, &[(of, rest)]);
        self.put_free(asset, id, rest);
        0
    }

    /// Takes free units of one lot, at most those that are there; how many.
    pub fn debit(&mut self, asset: u8, id: LotId, units: i128) -> i128 {
        let taken = units.min(self.member.free(asset, id));
        self.leave(asset, id, taken);
        self.put_free(asset, id, -taken);
        taken
    }

    /// Takes free units in spending order; what was taken of which lot.
    pub fn spend(&mut self, asset: u8, units: i128) -> Vec<(LotId, i128)> {
        let (mut rest, mut taken) = (units, Vec::new());
        for id in self.member.spending_order(asset) {
            let here = self.debit(asset, id, rest);
            rest -= here;
            if here > 0 {
                taken.push((id, here));
            }
        }
        taken
    }

    /// The member after the event.
    pub fn finish(mut self) -> Member {
        for lot in &self.member.lots {
            let held: i128 = lot.units.iter().map(|(_, units)| units).sum();
            assert_eq!(lot.entered - lot.left, held, "the model's own lot {lot:?}");
            assert!(held > 0 || !is_dated(lot.id), "the model's own lot {lot:?} is there with nothing in it");
            assert!(self.member.free(lot.asset, lot.id) >= 0, "the model pins no more than there is");
        }
        self.member.waiting.retain(|entry| !entry.parts.is_empty());
        self.member
    }
}
