//! What each event does to the rows: whose units went where, and of which months they were.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use jiff::tz::TimeZone;
use smallvec::SmallVec;

use super::rows::{Column, LineKind, Rows};
use super::runs::{Holdings, Place, Run, Runs};
use super::value::Values;
use super::{Closeness, Month, Period, RollError, is_breakage, sides_of};
use crate::audit::told;
use crate::ledger::event::{
    Account, Captured, Due, DueKind, Earned, Event, Granted, Leg, LotId, ProgramPut, Refunded, Reversed, Source,
};
use crate::ledger::ids::{AssetNo, MemberNo, Op};

/// What is kept of an event that a later one names.
#[derive(Debug)]
struct Kept {
    /// The month of its business time.
    month: Month,
    /// Of spending: the units that it took and that are not undone, the first taken first.
    took: Vec<(LotId, Run)>,
}

/// A walk over the events of some members of a program: of those whose foremost has a number in a range.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    period: &'a Period,
    named: &'a HashSet<Op>,
    closeness: &'a Closeness,
    members: Range<u32>,
    zone: TimeZone,
    values: Values,
    assets: BTreeSet<AssetNo>,
    pub(super) holdings: Holdings,
    kept: HashMap<Op, Kept>,
    rows: Rows,
    begun: bool,
    /// The book time for which the values were last looked up.
    valued_us: i64,
    /// What members owe, by asset, as a negative amount.
    debts: HashMap<AssetNo, i128>,
}

/// One member's side of the event that is walked over.
pub(super) struct At<'e> {
    pub(super) op: Op,
    pub(super) member: MemberNo,
    pub(super) month: Month,
    pub(super) legs: &'e [Leg],
}

pub(super) type Step = Result<(), RollError>;

/// Units by source, in the order in which they settle debts.
type Parts = SmallVec<[(Source, u64); 2]>;

impl At<'_> {
    pub(super) fn stray(&self, what: &'static str) -> RollError {
        RollError::Stray { op: self.op.0, what }
    }

    pub(super) fn legs_of(&self, asset: AssetNo) -> impl Iterator<Item = &Leg> {
        self.legs.iter().filter(move |leg| leg.asset == asset)
    }

    fn assets(&self) -> BTreeSet<AssetNo> {
        self.legs.iter().map(|leg| leg.asset).collect()
    }

    pub(super) fn place(&self, asset: AssetNo, lot: LotId) -> Place {
        Place { member: self.member, asset, lot, earn: Op(0) }
    }

    /// What the legs on an account of an asset sum to.
    pub(super) fn sum(&self, asset: AssetNo, on: impl Fn(&Account) -> bool) -> i128 {
        self.legs_of(asset).filter(|leg| on(&leg.account)).map(|leg| i128::from(leg.amount)).sum()
    }

    /// The same, as a number of units; 0 for a sum below zero.
    pub(super) fn units(&self, asset: AssetNo, on: impl Fn(&Account) -> bool) -> u64 {
        u64::try_from(self.sum(asset, on)).unwrap_or(0)
    }

    /// Units that enter lots, leg by leg.
    pub(super) fn entering(&self, asset: AssetNo) -> impl Iterator<Item = (LotId, u64)> {
        self.legs_of(asset).filter(|leg| leg.amount > 0).filter_map(|leg| match leg.account {
            Account::Available { lot, .. } => Some((lot, leg.amount.unsigned_abs())),
            _ => None,
        })
    }

    /// Units that leave a lot, or stop being pending, with the place that they leave; leg by leg.
    pub(super) fn leaving(&self) -> impl Iterator<Item = (Place, u64)> {
        self.legs.iter().filter(|leg| leg.amount < 0).filter_map(|leg| {
            let (lot, earn) = match leg.account {
                Account::Available { lot, .. } | Account::Held { lot, position: Some(_) } => (lot, Op(0)),
                Account::Pending { earn_link, lot } => (lot, self.op.back(earn_link)?),
                _ => return None,
            };
            Some((Place { earn, ..self.place(leg.asset, lot) }, leg.amount.unsigned_abs()))
        })
    }

    /// Units that enter a lot.
    pub(super) fn entered(&self, asset: AssetNo, lot: LotId) -> u64 {
        self.entering(asset).filter(|(entered, _)| *entered == lot).fold(0, |sum, (_, units)| sum.saturating_add(units))
    }
}

pub(super) fn is_debt(account: &Account) -> bool {
    matches!(account, Account::Debt)
}

/// Whether an account is the member's and holds units.
fn is_held(account: &Account) -> bool {
    matches!(account, Account::Available { .. } | Account::Free { .. } | Account::Held { .. } | Account::Pending { .. })
}

pub(super) fn total(runs: &Runs) -> u64 {
    runs.iter().fold(0, |sum, run| sum.saturating_add(run.units))
}

impl<'a> Walk<'a> {
    /// A walk over the events of the members whose foremost have these numbers.
    pub(super) fn new(
        period: &'a Period,
        (named, closeness): (&'a HashSet<Op>, &'a Closeness),
        members: Range<u32>,
        runs_max: usize,
    ) -> Self {
        Self {
            period,
            named,
            closeness,
            members,
            zone: TimeZone::UTC,
            values: Values::default(),
            assets: BTreeSet::new(),
            holdings: Holdings::new(runs_max),
            kept: HashMap::new(),
            rows: Rows::default(),
            begun: false,
            valued_us: i64::MIN,
            debts: HashMap::new(),
        }
    }

    /// The next event of the book.
    pub(super) fn event(&mut self, op: Op, book_time_us: i64, event: &Event<'_>) -> Step {
        if !self.begun && op > self.period.opening {
            self.begin();
        }
        if event.sides().all(|side| side.program != self.period.program) {
            return Ok(());
        }
        if let Event::ProgramPut(put) = event {
            return self.put(op, put, book_time_us);
        }
        if self.begun && book_time_us != self.valued_us {
            self.valued_us = book_time_us;
            self.set_values(book_time_us);
        }
        let month = Month::of(told::dated_us(event, book_time_us), &self.zone);
        let walked = |member: MemberNo| self.members.contains(&self.closeness.foremost(member).0);
        let sides = sides_of(event, self.period.program).filter(|(member, _)| walked(*member));
        let sides: SmallVec<[At<'_>; 2]> = sides.map(|(member, legs)| At { op, member, month, legs }).collect();
        if sides.iter().all(|at| at.legs.is_empty()) {
            return Ok(());
        }
        for leg in sides.iter().flat_map(|at| at.legs) {
            if is_held(&leg.account) {
                self.rows.on_legs(leg.asset, leg.amount.into());
            } else if is_debt(&leg.account) {
                *self.debts.entry(leg.asset).or_default() += i128::from(leg.amount);
            }
        }
        if self.named.contains(&op) {
            self.kept.insert(op, Kept { month, took: Vec::new() });
        }
        match (event, sides.as_slice()) {
            (Event::Transferred(_), [giver, receiver]) => self.give(giver, receiver),
            (Event::MembersMerged(_), [goer, stayer]) => self.join(goer, stayer),
            (Event::Transferred(_) | Event::MembersMerged(_), _) => {
                Err(RollError::Stray { op: op.0, what: "its members are not of its program" })
            }
            (_, [at, ..]) => self.move_units(at, event),
            (_, []) => Ok(()),
        }
    }

    /// One arm for each kind of event: another kind must say here which column its units are moved in.
    fn move_units(&mut self, at: &At<'_>, event: &Event<'_>) -> Step {
        match event {
            Event::Earned(earned) => self.earn(at, earned),
            Event::Opened(opened) if opened.points > 0 => {
                let parts = Parts::from_iter([(Source::Opening, opened.points.unsigned_abs())]);
                self.credit_all(at, Column::MovedIn, &parts)
            }
            Event::Opened(_) => self.debit(at, Column::MovedIn),
            Event::Adjusted(adjusted) if adjusted.points > 0 => {
                let parts = Parts::from_iter([(Source::Granted, adjusted.points.unsigned_abs())]);
                self.credit_all(at, Column::Adjusted, &parts)
            }
            Event::Adjusted(_) => self.debit(at, Column::Adjusted),
            Event::Granted(granted) => self.credit_all(at, Column::Issued, &parts_of(granted)),
            Event::Redeemed(_) => self.debit(at, Column::Redeemed),
            Event::Captured(captured) => self.capture(at, captured),
            Event::Released(_) => self.debit(at, Column::Expired),
            Event::Refunded(refunded) => self.refund(at, refunded),
            Event::Reversed(reversed) => self.reverse(at, reversed),
            Event::Activated(_) => self.mature(at),
            Event::Due(due) => self.fall_due(at, due),
            // They pin units, or move none.
            Event::Held(_) | Event::StandingChanged(_) | Event::Rejected(_) | Event::AdminRejected(_) => Ok(()),
            Event::ProgramPut(_) | Event::CampaignChanged(_) | Event::PeriodClosed(_) => Ok(()),
            Event::RewardPut(_) | Event::MemberSet(_) | Event::CheckedOut(_) => Ok(()),
            Event::Converted(converted) if converted.common.program == self.period.program => {
                self.debit(at, Column::Converted)
            }
            Event::Converted(converted) => {
                let parts = Parts::from_iter([(Source::Transferred, converted.to_units)]);
                self.credit_all(at, Column::Converted, &parts)
            }
            // Of these both sides are looked at together.
            Event::Transferred(_) | Event::MembersMerged(_) => Ok(()),
            Event::SnapshotTaken(_) | Event::SnapshotDeleted(_) | Event::ClockConfirmed(_) => Ok(()),
        }
    }

    fn put(&mut self, op: Op, put: &ProgramPut<'_>, book_time_us: i64) -> Step {
        let stray = RollError::Stray { op: op.0, what: "the time zone of the program is unknown" };
        self.zone = TimeZone::get(&put.spec.time_zone).map_err(|_| stray)?;
        self.values.put(put);
        let known = self.assets.len();
        self.assets.extend((0..=u8::MAX).map(AssetNo).take(put.spec.terms().assets.len()));
        if self.begun {
            if known == 0 {
                self.open_values();
            }
            self.set_values(book_time_us);
        }
        Ok(())
    }

    fn open_values(&mut self) {
        for asset in &self.assets {
            self.rows.set_value(*asset, self.values.at(*asset, self.period.from_us.saturating_sub(1)));
        }
    }

    fn set_values(&mut self, at_us: i64) {
        for asset in &self.assets {
            self.rows.set_value(*asset, self.values.at(*asset, at_us));
        }
    }

    /// Opens the period with what there is.
    fn begin(&mut self) {
        self.begun = true;
        self.open_values();
        for (place, runs) in self.holdings.iter() {
            for run in runs {
                self.rows.opened(key(place.asset, place.lot.source, run.month), run.units.into());
            }
        }
        for (asset, owed) in &self.debts {
            self.rows.opened((*asset, LineKind::Debt, None), *owed);
        }
    }

    /// Ends the walk, and closes the period with what there is.
    pub(super) fn end(mut self) -> Result<Rows, RollError> {
        if !self.begun {
            self.begin();
        }
        for asset in &self.assets {
            let value = self.values.at(*asset, self.period.until_us.saturating_sub(1));
            self.rows.set_closing_value(*asset, value);
        }
        for (place, runs) in self.holdings.iter() {
            for run in runs {
                self.rows.closed(key(place.asset, place.lot.source, run.month), run.units.into());
            }
        }
        for (asset, owed) in &self.debts {
            self.rows.closed((*asset, LineKind::Debt, None), *owed);
        }
        Ok(self.rows)
    }

    /// Notes a movement, if it is one of the period.
    pub(super) fn note(&mut self, (asset, source, month): (AssetNo, Source, Month), column: Column, units: i128) {
        if self.begun && units != 0 {
            self.rows.moved(key(asset, source, month), column, units);
        }
    }

    pub(super) fn note_debt(&mut self, asset: AssetNo, column: Column, units: i128) {
        if self.begun && units != 0 {
            self.rows.moved((asset, LineKind::Debt, None), column, units);
        }
    }

    pub(super) fn take(&mut self, at: &At<'_>, place: &Place, units: u64) -> Result<Runs, RollError> {
        self.holdings.take(place, units).ok_or_else(|| at.stray("more leaves a lot than had entered it"))
    }

    fn earn(&mut self, at: &At<'_>, earned: &Earned<'_>) -> Step {
        let pending = earned.more.as_deref().is_some_and(|more| more.matures.is_some());
        for asset in at.assets() {
            let of = |on: fn(&Account) -> bool| u64::try_from(-at.sum(asset, on)).unwrap_or(0);
            let base = of(|account| matches!(account, Account::Issuance { .. }));
            let bonus = of(|account| matches!(account, Account::Campaign { .. }));
            let parts = Parts::from_iter([(Source::Base, base), (Source::Campaign, bonus)]);
            if !pending {
                self.credit(at, asset, Column::Issued, &parts)?;
                continue;
            }
            for leg in at.legs_of(asset) {
                let Account::Pending { lot, .. } = leg.account else { continue };
                let run = Run { units: leg.amount.unsigned_abs(), month: at.month };
                self.note((asset, lot.source, at.month), Column::Issued, leg.amount.into());
                self.holdings.put(Place { earn: at.op, ..at.place(asset, lot) }, run)?;
            }
        }
        Ok(())
    }

    fn credit_all(&mut self, at: &At<'_>, column: Column, parts: &Parts) -> Step {
        at.assets().into_iter().try_for_each(|asset| self.credit(at, asset, column, parts))
    }

    /// Units given, at most one lot a source: debts are settled part after part; what neither settles one nor enters a lot had
    /// lapsed.
    fn credit(&mut self, at: &At<'_>, asset: AssetNo, column: Column, parts: &Parts) -> Step {
        let mut owed = at.units(asset, is_debt);
        for (source, units) in parts {
            let row = (asset, *source, at.month);
            let entering = at.entering(asset).find(|(lot, _)| lot.source == *source);
            let entered = entering.map_or(0, |(_, units)| units);
            let settled = owed.min(*units);
            owed -= settled;
            let lapsed = units.checked_sub(settled).and_then(|rest| rest.checked_sub(entered));
            let lapsed = lapsed.ok_or_else(|| at.stray("more enters a lot than was given"))?;
            self.note(row, column, (*units).into());
            self.settle(row, settled);
            self.note(row, Column::Expired, -i128::from(lapsed));
            if let Some((lot, units)) = entering {
                self.holdings.put(at.place(asset, lot), Run { units, month: at.month })?;
            }
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, row: (AssetNo, Source, Month), settled: u64) {
        self.note(row, Column::Settled, -i128::from(settled));
        self.note_debt(row.0, Column::Settled, settled.into());
    }

    /// Units that leave lots or stop being pending, and what is owed for want of them.
    fn debit(&mut self, at: &At<'_>, column: Column) -> Step {
        for (place, units) in at.leaving() {
            let taken = self.take(at, &place, units)?;
            self.leave(at, &place, &taken, column);
        }
        for asset in at.assets() {
            self.note_debt(asset, column, at.sum(asset, is_debt));
        }
        Ok(())
    }

    fn leave(&mut self, at: &At<'_>, place: &Place, taken: &Runs, column: Column) {
        for run in taken {
            self.note((place.asset, place.lot.source, run.month), column, -i128::from(run.units));
        }
        if let Some(kept) = self.kept.get_mut(&at.op) {
            kept.took.extend(taken.iter().map(|run| (place.lot, *run)));
        }
    }

    /// The first units that leave are spent; the others had lapsed while they were pinned.
    fn capture(&mut self, at: &At<'_>, captured: &Captured<'_>) -> Step {
        let mut rest = captured.units;
        for (place, units) in at.leaving() {
            let spent = units.min(rest);
            rest -= spent;
            let taken = self.take(at, &place, spent)?;
            self.leave(at, &place, &taken, Column::Redeemed);
            for run in self.take(at, &place, units - spent)? {
                self.note((place.asset, place.lot.source, run.month), Column::Expired, -i128::from(run.units));
            }
        }
        Ok(())
    }

    fn refund(&mut self, at: &At<'_>, refunded: &Refunded<'_>) -> Step {
        self.debit(at, Column::TakenBack)?;
        let month = refunded.from.as_ref().and_then(|from| at.op.back(from.original_link));
        let month = month.and_then(|original| self.kept.get(&original)).map_or(at.month, |kept| kept.month);
        for asset in at.assets() {
            let bonus = at.units(asset, |account| matches!(account, Account::Campaign { .. }));
            self.reach_back(at, asset, (Source::Campaign, bonus), (Column::TakenBack, month));
        }
        Ok(())
    }

    /// Units that are taken from what had lapsed: of the bonus's source what was asked of it beyond what such lots gave, the rest of
    /// the base's. Members have had none of them since they lapsed, so that the row is left as it was: less lapsed, more was
    /// taken back.
    fn reach_back(
        &mut self,
        at: &At<'_>,
        asset: AssetNo,
        (of_bonus, asked): (Source, u64),
        (column, month): (Column, Month),
    ) {
        let lapsed = u64::try_from(-at.sum(asset, is_breakage)).unwrap_or(0);
        let given = at.leaving().filter(|(place, _)| place.asset == asset && place.lot.source == of_bonus);
        let given = given.fold(0_u64, |sum, (_, units)| sum.saturating_add(units));
        let bonus = lapsed.min(asked.saturating_sub(given));
        for (source, units) in [(of_bonus, bonus), (Source::Base, lapsed - bonus)] {
            self.note((asset, source, month), Column::Expired, units.into());
            self.note((asset, source, month), column, -i128::from(units));
        }
    }

    fn reverse(&mut self, at: &At<'_>, reversed: &Reversed<'_>) -> Step {
        let asset = reversed.asset;
        let original = at.op.back(reversed.original_link).ok_or_else(|| at.stray("its original is missing"))?;
        let spent = undone(at, asset, |account| matches!(account, Account::Redemption { .. }));
        if spent > 0 {
            return self.give_back(at, (asset, original), Column::Redeemed, spent);
        }
        let is_adjustment = |account: &Account| matches!(account, Account::Adjustment { .. });
        let adjusted = undone(at, asset, is_adjustment);
        if adjusted > 0 {
            return self.give_back(at, (asset, original), Column::Adjusted, adjusted);
        }
        let column = if at.sum(asset, is_adjustment) > 0 { Column::Adjusted } else { Column::TakenBack };
        self.debit(at, column)?;
        let month = self.kept.get(&original).map_or(at.month, |kept| kept.month);
        let bonus = at.units(asset, |account| matches!(account, Account::Issuance { .. }));
        let of_bonus = if at.legs_of(asset).any(|leg| matches!(leg.account, Account::Cash { .. })) {
            (Source::Bonus, bonus)
        } else {
            (Source::Granted, u64::MAX)
        };
        self.reach_back(at, asset, of_bonus, (column, month));
        Ok(())
    }

    /// Spent units come back, those taken last first, with the source and month that they had: they settle debts, enter their
    /// lots, or go on to breakage where these have lapsed.
    fn give_back(&mut self, at: &At<'_>, (asset, original): (AssetNo, Op), column: Column, units: u64) -> Step {
        let kept = self.kept.get_mut(&original).ok_or_else(|| at.stray("what it undoes moved nothing"))?;
        let back = coming_back(&mut kept.took, units).ok_or_else(|| at.stray("more comes back than was taken"))?;
        let mut owed = at.units(asset, is_debt);
        let some_lapsed = at.sum(asset, is_breakage) > 0;
        let mut entering = at.entering(asset);
        for (lot, runs) in back {
            let row = |run: &Run| (asset, lot.source, run.month);
            let mut settled = owed.min(total(&runs));
            owed -= settled;
            // Where there are days of grace nothing lapses, and the lot may be another; where there are none, it is this or none.
            let enters =
                settled < total(&runs) && (!some_lapsed || at.entering(asset).any(|(entered, _)| entered == lot));
            let into = if enters { entering.next() } else { None };
            let mut entered = 0_u64;
            for run in &runs {
                self.note(row(run), column, run.units.into());
                let pays = settled.min(run.units);
                settled -= pays;
                self.settle(row(run), pays);
                let rest = Run { units: run.units - pays, month: run.month };
                match into {
                    Some((lot, _)) => self.holdings.put(at.place(asset, lot), rest)?,
                    None => self.note(row(run), Column::Expired, -i128::from(rest.units)),
                }
                entered = entered.saturating_add(rest.units);
            }
            if into.is_some_and(|(_, units)| units != entered) {
                return Err(at.stray("another number of units enters a lot than comes back"));
            }
        }
        Ok(())
    }

    /// Pending units become available: they settle debts, enter their lots, or had lapsed.
    fn mature(&mut self, at: &At<'_>) -> Step {
        for asset in at.assets() {
            let mut owed = at.units(asset, is_debt);
            for (place, units) in at.leaving().filter(|(place, _)| place.asset == asset) {
                let enters = at.entering(asset).any(|(lot, _)| lot == place.lot);
                for run in self.take(at, &place, units)? {
                    let row = (asset, place.lot.source, run.month);
                    let settled = owed.min(run.units);
                    owed -= settled;
                    self.settle(row, settled);
                    let rest = Run { units: run.units - settled, month: run.month };
                    match enters {
                        true => self.holdings.put(at.place(asset, place.lot), rest)?,
                        false => self.note(row, Column::Expired, -i128::from(rest.units)),
                    }
                }
            }
        }
        Ok(())
    }

    fn fall_due(&mut self, at: &At<'_>, due: &Due) -> Step {
        match due.kind {
            DueKind::Expired { .. } => self.debit(at, Column::Expired),
            DueKind::Matured { .. } => self.mature(at),
            DueKind::HoldEnded { .. } => self.debit(at, Column::Expired),
            DueKind::LotsMerged => {
                for (place, units) in at.leaving() {
                    let into = at.entering(place.asset).next();
                    let (lot, _) = into.ok_or_else(|| at.stray("a lot goes into none"))?;
                    for run in self.take(at, &place, units)? {
                        self.holdings.put(at.place(place.asset, lot), run)?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn key(asset: AssetNo, source: Source, month: Month) -> (AssetNo, LineKind, Option<Month>) {
    (asset, LineKind::Lots(source), Some(month))
}

fn parts_of(granted: &Granted<'_>) -> Parts {
    match granted.topped_up {
        true => Parts::from_iter([(Source::Base, granted.units), (Source::Bonus, granted.bonus)]),
        false => Parts::from_iter([(Source::Granted, granted.units)]),
    }
}

/// What a reversal takes off an account that spending had credited.
fn undone(at: &At<'_>, asset: AssetNo, on: impl Fn(&Account) -> bool) -> u64 {
    u64::try_from(-at.sum(asset, on)).unwrap_or(0)
}

/// Takes units from the end of what was taken, lot by lot; `None` where there are not so many.
fn coming_back(took: &mut Vec<(LotId, Run)>, units: u64) -> Option<Vec<(LotId, Runs)>> {
    let mut back: Vec<(LotId, Runs)> = Vec::new();
    let mut rest = units;
    while rest > 0 {
        let (lot, run) = took.last_mut()?;
        let part = Run { units: run.units.min(rest), month: run.month };
        let lot = *lot;
        rest -= part.units;
        run.units -= part.units;
        if run.units == 0 {
            took.pop();
        }
        match back.last_mut().filter(|(last, _)| *last == lot) {
            Some((_, runs)) => runs.push(part),
            None => back.push((lot, Runs::from_iter([part]))),
        }
    }
    Some(back)
}
