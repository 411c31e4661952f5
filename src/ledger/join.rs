//! What the event of a merge does to the two members: what the one had, the other has. The event tells what moved in its legs and
//! until when rolling units live; what else a member has goes over as it stands: holds, pending earns, counters of caps, tags,
//! the earlier date of joining, a freeze.

use std::collections::BTreeMap;

use super::command::Standing;
use super::event::{Account, Leg, LotId, MembersMerged};
use super::holding::{HOLDS_MAX, Holding, LotKey, PENDING_MAX};
use super::ids::{AssetNo, MemberNo, MemberRef, Op};
use super::profile::TAGS_MAX;
use super::state::{Ledger, Undo};
use super::turn::{enter, leave};

type Step = Result<(), &'static str>;

const OVERFLOW: &str = "a member's balance overflows";
const LEFT: &str = "a member who goes into another leaves something behind";

/// Units by whatever they are counted by.
type Sums<K> = BTreeMap<K, i128>;

/// What legs say of units that do not move within their lots, credit positive.
#[derive(Debug, Default, PartialEq, Eq)]
struct Still {
    free: Sums<LotKey>,
    held: Sums<LotKey>,
    /// By earn.
    pending: Sums<(Op, LotKey)>,
}

impl Still {
    /// What is pinned and pending of a member.
    fn of(holding: &Holding) -> Self {
        let mut still = Self::default();
        for hold in &holding.holds {
            for (lot, units) in &hold.parts {
                let key = LotKey { asset: hold.asset, lot: *lot };
                *still.held.entry(key).or_default() += i128::from(*units);
                *still.free.entry(key).or_default() -= i128::from(*units);
            }
        }
        for entry in &holding.pending {
            for (key, units) in &entry.parts {
                *still.pending.entry((entry.earn, *key)).or_default() += i128::from(*units);
            }
        }
        still
    }

    fn negated(mut self) -> Self {
        self.free.values_mut().for_each(|units| *units = -*units);
        self.held.values_mut().for_each(|units| *units = -*units);
        self.pending.values_mut().for_each(|units| *units = -*units);
        self
    }
}

/// Posts the legs on one of the two members; what they say beside what enters and leaves lots and of debt.
fn post(holding: &mut Holding, op: Op, legs: &[Leg]) -> Result<Still, &'static str> {
    let mut still = Still::default();
    for Leg { account, asset, amount } in legs {
        let key = |lot: LotId| LotKey { asset: *asset, lot };
        match *account {
            Account::Available { lot, position } if *amount > 0 => {
                enter(holding, key(lot), amount.unsigned_abs(), op, position)?;
            }
            Account::Available { lot, position } => leave(holding, key(lot), amount.unsigned_abs(), position)?,
            Account::Debt => {
                let debt = holding.debt(*asset).checked_sub(*amount).filter(|debt| *debt >= 0);
                holding.set_debt(*asset, debt.ok_or(OVERFLOW)?);
            }
            Account::Free { lot } => *still.free.entry(key(lot)).or_default() += i128::from(*amount),
            Account::Held { lot, position: None } => {
                *still.held.entry(key(lot)).or_default() += i128::from(*amount);
            }
            Account::Pending { earn_link, lot } => {
                let earn = op.back(earn_link).ok_or("a pending earn is missing")?;
                *still.pending.entry((earn, key(lot))).or_default() += i128::from(*amount);
            }
            _ => return Err("a merge moves units on an account that is no member's"),
        }
    }
    Ok(still)
}

/// Posts the side of the member who goes: nothing may be left of what he had.
fn empty(goes: &Holding, op: Op, legs: &[Leg]) -> Step {
    let mut left = goes.clone();
    let still = post(&mut left, op, legs)?;
    let nothing = left.debts.is_empty() && left.lots.iter().all(|lot| lot.units() == 0);
    match nothing && still == Still::of(goes).negated() {
        true => Ok(()),
        false => Err(LEFT),
    }
}

/// Posts the side of the member who stays, and gives him what else the other had.
fn take_over(
    stays: &Holding,
    goes: &Holding,
    op: Op,
    legs: &[Leg],
    rolls: &[(AssetNo, u32)],
) -> Result<Holding, &'static str> {
    let mut holding = stays.clone();
    for (asset, until) in rolls {
        if holding.rolls_until(*asset).is_some_and(|old| old > *until) {
            return Err("rolling units live for less than before");
        }
        holding.set_roll(*asset, *until);
    }
    if post(&mut holding, op, legs)? != Still::of(goes) {
        return Err("what is pinned or pending does not go over as it is");
    }
    holding.take_holds(goes.holds.clone());
    holding.take_pending(goes.pending.clone());
    holding.set_profile(stays.profile().joined_with(&goes.profile()));
    let tags = holding.profile.as_ref().map_or(0, |profile| profile.tags.len());
    if holding.holds.len() > HOLDS_MAX || holding.pending.len() > PENDING_MAX || tags > TAGS_MAX {
        return Err("two members together have more than one may have");
    }
    let asset = |asset: AssetNo| {
        let told = holding.balances(asset);
        told.available >= 0
            && told.available.checked_add(told.held).and_then(|units| units.checked_add(told.pending)).is_some()
    };
    let borne = holding.lots.iter().all(|lot| {
        let dated = lot.key.lot.expiry != super::event::Expiry::Rolling || holding.lapse_of(lot.key).is_some();
        dated && holding.held_in(lot.key) <= lot.units() && asset(lot.key.asset)
    });
    let pinned = holding.holds.iter().flat_map(|hold| hold.parts.iter().map(|(lot, _)| (hold.asset, *lot)));
    let there = |(asset, lot)| holding.lot(LotKey { asset, lot }).is_some();
    if !borne || !pinned.into_iter().all(there) {
        return Err("what is held or rolling of a lot does not fit the lot");
    }
    if goes.standing == Standing::Frozen {
        holding.standing = Standing::Frozen;
    }
    (holding.head, holding.ends) = (op, op);
    Ok(holding)
}

impl Ledger {
    /// Lets a member go into another.
    pub(super) fn join(&mut self, op: Op, merged: &MembersMerged<'_>) -> Step {
        let (common, other) = (&merged.common, &merged.other);
        let (MemberRef::Known(goer), MemberRef::Known(stayer)) = (common.member, other.member) else {
            return Err("members are merged whom no event opened");
        };
        let program = common.program;
        let of_program = |member| self.members.program(member) == Some(program);
        if other.program != program || !of_program(goer) || !of_program(stayer) {
            return Err("the event's members are not of its program");
        }
        let holding = |member| self.members.holding(member).ok_or("the event's member is unknown");
        let (goes, stays) = (holding(goer)?, holding(stayer)?);
        if goes.standing == Standing::Closed || stays.standing == Standing::Closed {
            return Err("a member is merged who is closed");
        }
        let links = [(common.member_link, goes.head), (other.member_link, stays.head)];
        if links.iter().any(|(link, head)| *link != op.distance_from(*head)) {
            return Err("the event's link does not lead to the member's previous event");
        }
        let links = [(merged.ends_link, goes.ends), (merged.into_ends_link, stays.ends)];
        if links.iter().any(|(link, ends)| *link != op.distance_from(*ends)) {
            return Err("an event does not lead to the one before it that moved the member's lots");
        }
        empty(&goes, op, &merged.legs)?;
        let left = Holding { head: op, ..Holding::default() };
        let holding = take_over(&stays, &goes, op, &other.legs, &other.rolls)?;
        let others = common.others.as_deref().map(Vec::as_slice).unwrap_or_default();
        let told = |(of, told): (&Holding, &[_])| {
            told.iter().all(|told: &super::event::AssetBalances| of.balances(told.asset) == *told)
        };
        if common.after != left.points() || !told((&left, others)) || !told((&holding, &other.after)) {
            return Err("the balances after the event are not those that it says");
        }
        self.note(|_| Some(Undo::Holding(goer, Box::new(goes.clone()))));
        self.note(|_| Some(Undo::Holding(stayer, Box::new(stays.clone()))));
        self.count((program, goer), &goes, &left)?;
        self.count((program, stayer), &stays, &holding)?;
        self.members.set_holding(goer, &left).ok_or("the event's member is unknown")?;
        self.members.set_holding(stayer, &holding).ok_or("the event's member is unknown")?;
        self.add_caps(goer, stayer)?;
        let led = self.members.aliases.count(stayer);
        match self.members.aliases.join(goer, stayer) {
            true => self.note(|_| Some(Undo::Joined(led))),
            false => return Err("a member goes into another who cannot, or into whom too many did"),
        }
        Ok(())
    }

    /// Adds the counters of a member's caps to those of another.
    fn add_caps(&mut self, goer: MemberNo, stayer: MemberNo) -> Step {
        for (key, used) in self.members.caps_of_member(goer) {
            self.note(|_| Some(Undo::Cap(key, Some(used))));
            self.members.set_cap(key, None);
            let (_, campaign, span) = key;
            let to = (stayer, campaign, span);
            let before = self.members.cap(&to);
            self.note(|_| Some(Undo::Cap(to, before)));
            let sum = before.unwrap_or(0).checked_add(used).ok_or("a cap's counter overflows")?;
            self.members.set_cap(to, Some(sum));
        }
        Ok(())
    }
}
