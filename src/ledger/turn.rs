//! What one event does to what its member owns, leg by leg.

use super::command::{Matures, Purpose, Standing};
use super::event::{Account, Due, DueKind, Event, Expiry, Leg, MemberSet, Other};
use super::holding::{HOLDS_MAX, Hold, Holding, LotKey, PENDING_MAX, Pending, Priced};
use super::ids::{AssetNo, Op};
use super::reward;

type Step = Result<(), &'static str>;

const OVERFLOW: &str = "a member's balance overflows";

/// What an event says beside its legs.
#[derive(Debug)]
pub(crate) struct Turn<'e> {
    op: Op,
    /// The hold that units are pinned by, or let go from.
    hold: Option<Op>,
    /// The hold that begins: what it is for, until when, and the reward that it reserves.
    begins: Option<(Purpose, i64, Option<Priced>)>,
    /// Whether the hold is over after it.
    over: bool,
    /// When what is pending matures.
    matures: Option<Matures>,
    rolls: &'e [(AssetNo, u32)],
    roll: Option<(AssetNo, u32)>,
    ends_link: Option<u64>,
    /// The lot that went into another, and that other.
    merged: Option<(LotKey, LotKey)>,
    standing: Option<Standing>,
    /// What the member is, told.
    set: Option<&'e MemberSet<'e>>,
}

impl<'e> Turn<'e> {
    fn new(op: Op) -> Self {
        Self {
            op,
            hold: None,
            begins: None,
            over: false,
            matures: None,
            rolls: &[],
            roll: None,
            ends_link: None,
            merged: None,
            standing: None,
            set: None,
        }
    }

    pub(crate) fn of_due(op: Op, due: &Due) -> Result<Self, &'static str> {
        let mut turn = Self::new(op);
        match due.kind {
            DueKind::HoldEnded { hold_link, .. } => {
                turn.hold = Some(op.back(hold_link).ok_or("a hold is missing")?);
                turn.over = true;
            }
            DueKind::LotsMerged => {
                turn.ends_link = Some(due.ends_link);
                turn.merged = Some(merged_of(&due.legs).ok_or("lots are merged without two lots")?);
            }
            DueKind::Expired { .. } | DueKind::Matured { .. } => turn.ends_link = Some(due.ends_link),
        }
        Ok(turn)
    }

    pub(crate) fn of(op: Op, event: &'e Event<'_>) -> Result<Self, &'static str> {
        let mut turn = Self::new(op);
        let hold = |link| op.back(link).map(Some).ok_or("a hold is missing");
        let lapsed = |units: u64, link: u64| (units > 0).then_some(link);
        match event {
            Event::Earned(earned) => {
                if let Some(more) = earned.more.as_deref() {
                    (turn.matures, turn.rolls) = (more.matures, &more.rolls);
                }
            }
            Event::Redeemed(redeemed) => {
                turn.roll = redeemed.more.as_deref().and_then(|more| Some((more.asset, more.rolls?)));
            }
            Event::Opened(opened) => {
                turn.roll = opened.more.as_deref().and_then(|more| Some((more.asset, more.rolls?)));
            }
            Event::Adjusted(adjusted) => {
                turn.roll = adjusted.more.as_deref().and_then(|more| Some((more.asset, more.rolls?)));
            }
            Event::Held(held) => {
                let reward = held.claimed.map(|claimed| (claimed.reward, claimed.price));
                (turn.hold, turn.begins) = (Some(op), Some((held.purpose, held.until_us, reward)));
            }
            Event::Captured(captured) => {
                (turn.hold, turn.over) = (hold(captured.hold_link)?, captured.over);
                turn.ends_link = lapsed(captured.lapsed, captured.ends_link);
                turn.roll = captured.rolls.map(|until| (captured.asset, until));
            }
            Event::Released(released) => {
                (turn.hold, turn.over) = (hold(released.hold_link)?, true);
                turn.ends_link = lapsed(released.lapsed, released.ends_link);
            }
            Event::Granted(granted) => turn.roll = granted.rolls.map(|until| (granted.asset, until)),
            Event::Activated(activated) => turn.ends_link = Some(activated.ends_link),
            Event::Converted(converted) => turn.roll = converted.rolls.map(|until| (converted.asset, until)),
            Event::StandingChanged(changed) => turn.standing = Some(changed.change),
            Event::MemberSet(set) => turn.set = Some(set),
            _ => {}
        }
        Ok(turn)
    }

    /// What an event between two members says of the other one.
    pub(crate) fn of_other(op: Op, other: &'e Other<'_>) -> Self {
        Self { rolls: &other.rolls, ..Self::new(op) }
    }

    /// Posts a leg; `false` where it is on no account of the member.
    pub(crate) fn post(&self, holding: &mut Holding, leg: &Leg) -> Result<bool, &'static str> {
        let units = leg.amount.unsigned_abs();
        let key = |lot| LotKey { asset: leg.asset, lot };
        match leg.account {
            Account::Available { lot, position } if leg.amount > 0 => {
                enter(holding, key(lot), units, self.op, position)?;
            }
            Account::Available { lot, position } => leave(holding, key(lot), units, position)?,
            Account::Debt => {
                let debt = holding.debt(leg.asset).checked_sub(leg.amount).ok_or(OVERFLOW)?;
                if debt < 0 {
                    return Err("a member's debt falls below zero");
                }
                holding.set_debt(leg.asset, debt);
            }
            // What is free is what is not held: the other leg says it.
            Account::Free { .. } => {}
            Account::Held { lot, position: None } if leg.amount > 0 => self.pin(holding, key(lot), units)?,
            Account::Held { lot, position } if leg.amount < 0 => {
                self.unpin(holding, key(lot), units)?;
                if let Some(position) = position {
                    leave(holding, key(lot), units, position)?;
                }
            }
            Account::Held { .. } => return Err("units enter a lot that is held"),
            Account::Pending { earn_link, lot } if leg.amount > 0 => {
                if earn_link != 0 {
                    return Err("units wait for another earn than their own");
                }
                self.wait(holding, key(lot), units)?;
            }
            Account::Pending { earn_link, lot } => {
                let earn = self.op.back(earn_link).ok_or("a pending earn is missing")?;
                stop_waiting(holding, earn, key(lot), units)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn pin(&self, holding: &mut Holding, key: LotKey, units: u64) -> Step {
        let (purpose, until_us, reward) = self.begins.ok_or("units are pinned without a hold")?;
        if holding.lot(key).is_none() {
            return Err("units are pinned in a lot that there is not");
        }
        if holding.holds.last().is_none_or(|hold| hold.op != self.op) {
            if holding.holds.len() >= HOLDS_MAX {
                return Err("a member has too many holds");
            }
            let (op, asset, parts) = (self.op, key.asset, Default::default());
            holding.holds.push(Hold { op, asset, purpose, until_us, reward, parts });
        }
        let hold = holding.holds.last_mut().filter(|hold| hold.asset == key.asset).ok_or("a hold is of two assets")?;
        hold.parts.push((key.lot, units));
        Ok(())
    }

    fn unpin(&self, holding: &mut Holding, key: LotKey, units: u64) -> Step {
        let op = self.hold.ok_or("units are let go without a hold")?;
        let hold = holding.holds.iter_mut().find(|hold| hold.op == op && hold.asset == key.asset);
        let hold = hold.ok_or("an event's hold is not open")?;
        let part = hold.parts.iter_mut().find(|(lot, _)| *lot == key.lot).ok_or("a hold pins nothing of a lot")?;
        part.1 = part.1.checked_sub(units).ok_or("more is let go than a hold pins")?;
        hold.parts.retain(|(_, units)| *units > 0);
        Ok(())
    }

    fn wait(&self, holding: &mut Holding, key: LotKey, units: u64) -> Step {
        let matures = self.matures.ok_or("units are pending and nothing says until when")?;
        if holding.pending.last().is_none_or(|pending| pending.earn != self.op) {
            if holding.pending.len() >= PENDING_MAX {
                return Err("a member has too many pending earns");
            }
            holding.pending.push(Pending { earn: self.op, matures, parts: Default::default() });
        }
        let fits = holding.balances(key.asset).pending.checked_add(i64::try_from(units).map_err(|_| OVERFLOW)?);
        fits.ok_or(OVERFLOW)?;
        holding.pending.last_mut().ok_or(OVERFLOW)?.parts.push((key, units));
        Ok(())
    }

    /// Whether the pieces that the event's hold reserves change as the legs say.
    pub(crate) fn are_reserved(&self, before: &Holding, after: &Holding, legs: &[Leg]) -> bool {
        reward::are_reserved(self.hold, before, after, legs)
    }

    /// Brings what the event says beside its legs.
    pub(crate) fn end(&self, holding: &mut Holding, legs: &[Leg]) -> Step {
        if self.over && holding.holds.iter().any(|hold| Some(hold.op) == self.hold && !hold.parts.is_empty()) {
            return Err("a hold is over that pins units");
        }
        holding.holds.retain(|hold| !hold.parts.is_empty());
        if let Some((from, to)) = self.merged {
            holding.holds.iter_mut().filter(|hold| hold.asset == from.asset).for_each(|hold| follow(hold, from, to));
        }
        for (asset, until) in self.rolls.iter().chain(&self.roll) {
            if holding.rolls_until(*asset).is_some_and(|old| old > *until) {
                return Err("rolling units live for less than before");
            }
            holding.set_roll(*asset, *until);
        }
        if let Some(link) = self.ends_link {
            if link != self.op.distance_from(holding.ends) {
                return Err("an event does not lead to the one before it that moved the member's lots");
            }
            holding.ends = self.op;
        }
        if let Some(set) = self.set {
            let mut profile = holding.profile();
            profile.set(set)?;
            holding.set_profile(profile);
        }
        if let Some(standing) = self.standing {
            holding.standing = standing;
        }
        let pins = |leg: &Leg| matches!(leg.account, Account::Free { .. } | Account::Held { .. });
        let plain = holding.holds.is_empty() && holding.rolls.is_empty() && !legs.iter().any(pins);
        match plain || legs.iter().all(|leg| is_borne_out(holding, legs, leg)) {
            true => Ok(()),
            false => Err("what is held or rolling of a lot does not fit the lot"),
        }
    }
}

/// The lot that all units leave and the one that they enter.
fn merged_of(legs: &[Leg]) -> Option<(LotKey, LotKey)> {
    let lot = |leg: &Leg| match leg.account {
        Account::Available { lot, .. } => Some(LotKey { asset: leg.asset, lot }),
        _ => None,
    };
    match legs {
        [from, to] if from.amount < 0 => lot(from).zip(lot(to)),
        _ => None,
    }
}

/// What a hold pins in a lot that went into another, it pins there.
fn follow(hold: &mut Hold, from: LotKey, to: LotKey) {
    let Some(place) = hold.parts.iter().position(|(lot, _)| *lot == from.lot) else { return };
    match hold.parts.iter().position(|(lot, _)| *lot == to.lot) {
        Some(other) => {
            let (_, units) = hold.parts.remove(place);
            let other = if other > place { other - 1 } else { other };
            if let Some(part) = hold.parts.get_mut(other) {
                part.1 = part.1.saturating_add(units);
            }
        }
        None => {
            if let Some(part) = hold.parts.get_mut(place) {
                part.0 = to.lot;
            }
        }
    }
}

/// Whether a leg on free or held units has its counterpart, its lot holds what is pinned in it, and a rolling lot its date.
fn is_borne_out(holding: &Holding, legs: &[Leg], leg: &Leg) -> bool {
    let lot = match leg.account {
        Account::Available { lot, .. } | Account::Free { lot } | Account::Held { lot, .. } => lot,
        _ => return true,
    };
    let key = LotKey { asset: leg.asset, lot };
    let of_lot = |other: &&Leg| {
        let same = |other_lot| other_lot == lot;
        match other.account {
            Account::Free { lot } | Account::Held { lot, position: None } => same(lot),
            _ => false,
        }
    };
    let moved: i128 =
        legs.iter().filter(|other| other.asset == leg.asset).filter(of_lot).map(|other| i128::from(other.amount)).sum();
    let dated = lot.expiry != Expiry::Rolling || holding.rolls_until(leg.asset).is_some();
    let held = holding.held_in(key);
    moved == 0 && dated && (held == 0 || holding.lot(key).is_some_and(|lot| held <= lot.units()))
}

pub(super) fn enter(holding: &mut Holding, key: LotKey, units: u64, op: Op, position: u64) -> Step {
    match holding.enter(key, units, op) {
        Some(found) if found == position => Ok(()),
        Some(_) => Err("a leg's position is not where the lot stands"),
        None => Err(OVERFLOW),
    }
}

pub(super) fn leave(holding: &mut Holding, key: LotKey, units: u64, position: u64) -> Step {
    match holding.leave(key, units) {
        Some(found) if found == position => Ok(()),
        Some(_) => Err("a leg's position is not where the lot stands"),
        None => Err("more leaves a lot than it holds"),
    }
}

fn stop_waiting(holding: &mut Holding, earn: Op, key: LotKey, units: u64) -> Step {
    let pending = holding.pending.iter_mut().find(|pending| pending.earn == earn).ok_or("an earn is not pending")?;
    let part = pending.parts.iter_mut().find(|(waits, _)| *waits == key).ok_or("nothing waits for a lot")?;
    part.1 = part.1.checked_sub(units).ok_or("more than waits stops waiting")?;
    pending.parts.retain(|(_, units)| *units > 0);
    holding.pending.retain(|pending| !pending.parts.is_empty());
    Ok(())
}
