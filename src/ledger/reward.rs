//! Things that units buy: rewards with a stock. Pieces leave it in the event that spends the units, lie beside it while a
//! hold reserves them, and come back with what is let go or undone.

use std::collections::HashMap;

use super::command::{Action, AdminAction, AdminCommand, Command, Purpose};
use super::decide::{AMOUNT, Halt, REWARD, Refused};
use super::event::{Account, Claimed, Event, Leg, Legs, RewardPut};
use super::evolve::{Step, post};
use super::holding::{Hold, Holding};
use super::ids::{AssetNo, MemberNo, Op, ProgramNo, RewardNo};
use super::posting::{Posting, units};
use super::reason::Reason;
use super::refund::part_of;
use super::reserved::Reservations;
use super::spec::AssetKind;
use super::state::{Ledger, Moment, Posted, Program, Undo, Version};
use super::view::RewardView;
use super::{admin, award};

/// Rewards that a program may have.
pub const REWARDS_MAX: usize = 1_024;

/// A reward of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reward {
    pub(crate) sku: Box<str>,
    pub(crate) name: Box<str>,
    /// What it is paid in.
    pub(crate) asset: AssetNo,
    /// Units of the asset for one piece, from 1.
    pub(crate) price: u64,
    /// Whether it is on offer.
    pub(crate) open: bool,
    /// Pieces left; its newest event is the newest that moved them or put the reward.
    pub(crate) stock: Posted,
    /// Pieces that holds reserve.
    pub(crate) reserved: Posted,
}

/// The rewards of a program, by their numbers and by their ids.
#[derive(Debug, Default)]
pub(crate) struct Rewards {
    list: Vec<Reward>,
    numbers: HashMap<Box<str>, RewardNo>,
    /// The holds that reserve pieces.
    pub(super) reserving: Reservations,
}

impl Rewards {
    pub(crate) fn list(&self) -> &[Reward] {
        &self.list
    }

    /// The number of the next; `None` where there are as many as there may be.
    fn next(&self) -> Option<RewardNo> {
        u16::try_from(self.list.len()).ok().filter(|next| usize::from(*next) < REWARDS_MAX).map(RewardNo)
    }

    /// Adds the next; `false` where its id is taken, or there are as many as there may be.
    pub(crate) fn push(&mut self, reward: Reward) -> bool {
        let Some(number) = self.next().filter(|_| !self.numbers.contains_key(&reward.sku)) else { return false };
        self.numbers.insert(reward.sku.clone(), number);
        self.list.push(reward);
        true
    }
}

impl Program {
    pub(crate) fn reward(&self, number: RewardNo) -> Option<&Reward> {
        self.rewards.list.get(usize::from(number.0))
    }

    fn reward_mut(&mut self, number: RewardNo) -> Option<&mut Reward> {
        self.rewards.list.get_mut(usize::from(number.0))
    }

    /// A reward by its id.
    pub(super) fn reward_named(&self, sku: &str) -> Option<(RewardNo, &Reward)> {
        let number = *self.rewards.numbers.get(sku)?;
        Some((number, self.reward(number)?))
    }
}

/// What an event moves of a reward's pieces: credits positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PiecesMoved {
    /// The reward.
    pub reward: RewardNo,
    /// On those that are left.
    pub stock: i64,
    /// On those that holds reserve.
    pub reserved: i64,
    /// On those that were bought.
    pub bought: i64,
}

impl PiecesMoved {
    /// From the event's legs; `None` where they move none.
    #[must_use]
    pub fn of(legs: &[Leg]) -> Option<Self> {
        let pieces = legs.iter().filter(|leg| leg.asset == AssetNo::PIECES);
        let reward = pieces.clone().find_map(|leg| match leg.account {
            Account::Stock { reward, .. } | Account::Reserved { reward, .. } => Some(reward),
            _ => None,
        })?;
        let mut moved = Self { reward, stock: 0, reserved: 0, bought: 0 };
        for leg in pieces {
            let sum = match leg.account {
                Account::Stock { .. } => &mut moved.stock,
                Account::Reserved { .. } => &mut moved.reserved,
                Account::Redemption { .. } => &mut moved.bought,
                _ => continue,
            };
            *sum = sum.saturating_add(leg.amount);
        }
        Some(moved)
    }
}

/// Of an event that buys, reserves, lets go of or brings back pieces: which and how many it is about, and what one costs, 0 where
/// the event does not say it.
#[must_use]
pub fn pieces_of(event: &Event<'_>) -> Option<Claimed> {
    let moved = PiecesMoved::of(event.legs())?;
    let units = match event {
        Event::Redeemed(e) => e.points,
        Event::Held(e) => e.units,
        Event::Captured(e) => e.units,
        Event::Released(e) => e.units,
        Event::Reversed(_) | Event::Due(_) => 0,
        _ => return None,
    };
    let pieces = if moved.bought != 0 { moved.bought } else { moved.reserved }.unsigned_abs();
    Some(Claimed { reward: moved.reward, pieces, price: units.checked_div(pieces).unwrap_or(0) })
}

/// Whether an event that buys or reserves pieces moves those that it tells, and no other event of its kind any.
fn is_claimed(event: &Event<'_>) -> bool {
    let (told, units) = match event {
        Event::Redeemed(e) => (e.more.as_deref().and_then(|more| more.claimed), e.points),
        Event::Held(e) => (e.claimed, e.units),
        // What these move follows from their hold or their original.
        Event::Captured(_) | Event::Released(_) | Event::Reversed(_) | Event::Due(_) => return true,
        _ => (None, 0),
    };
    match told {
        None => !event.legs().iter().any(|leg| leg.asset == AssetNo::PIECES),
        Some(told) => pieces_of(event) == Some(told) && told.price.checked_mul(told.pieces) == Some(units),
    }
}

/// Whether the pieces reserved by the hold that an event is about change as the event's legs say.
pub(super) fn are_reserved(hold: Option<Op>, before: &Holding, after: &Holding, legs: &[Leg]) -> bool {
    let Some(op) = hold else { return !legs.iter().any(|leg| matches!(leg.account, Account::Reserved { .. })) };
    let moved = PiecesMoved::of(legs);
    let of = |holding: &Holding| {
        let hold = holding.holds.iter().find(|hold| hold.op == op)?;
        let (reward, pieces) = hold.reserves()?;
        let whole = hold.reward.and_then(|(_, price)| price.checked_mul(pieces)) == Some(hold.units());
        Some((reward, i64::try_from(pieces).ok().filter(|_| whole)))
    };
    match (of(before), of(after), moved) {
        (None, None, None) => true,
        (before, after, Some(moved)) => {
            let pieces = |side: Option<(RewardNo, Option<i64>)>| match side {
                Some((reward, pieces)) => pieces.filter(|_| reward == moved.reward),
                None => Some(0),
            };
            let change = pieces(after).zip(pieces(before)).and_then(|(after, before)| after.checked_sub(before));
            change == Some(moved.reserved)
        }
        _ => false,
    }
}

/// The asset that a reward is paid in, by its id.
fn paid_in(version: &Version, id: &str) -> Result<AssetNo, Refused> {
    let mut assets = (0..=u8::MAX).map(AssetNo).zip(&version.more.assets);
    let (asset, spec) = assets.find(|(_, spec)| spec.id == id).ok_or((Reason::AssetUnknown, "asset"))?;
    match spec.kind {
        AssetKind::Spendable => Ok(asset),
        _ => Err((Reason::AssetKindMismatch, "asset")),
    }
}

impl Ledger {
    /// A reward put on offer, changed, or given more or fewer pieces.
    pub(super) fn put_reward<'c>(
        &self,
        command: &'c AdminCommand,
        number: ProgramNo,
        at: Moment,
    ) -> Result<Event<'c>, Refused> {
        let AdminAction::PutReward { sku, name, asset, price, open, stocked } = &command.action else {
            return Err((Reason::RewardUnknown, "reward"));
        };
        let program = self.program(number).ok_or((Reason::ProgramUnknown, "program"))?;
        let asset = paid_in(program.newest().ok_or((Reason::ProgramUnknown, "program"))?, asset)?;
        let known = program.reward_named(sku);
        if known.is_some_and(|(_, old)| old.asset != asset && old.reserved.balance > 0) {
            return Err((Reason::RewardReserved, "asset"));
        }
        let reward = known.map(|(number, _)| number).or_else(|| program.rewards.next());
        let reward = reward.ok_or((Reason::LimitReached, "reward"))?;
        let (stocked, stock) = (*stocked, known.map(|(_, old)| old.stock).unwrap_or_default());
        let overflow = (Reason::AmountOverflow, "stocked");
        let left = stock.balance.checked_add(stocked).ok_or(overflow)?;
        let stock_after = u64::try_from(left).map_err(|_| (Reason::OutOfStock, "stocked"))?;
        let issuance = program.pieces.issuance;
        issuance.balance.checked_sub(stocked).filter(|after| *after > i64::MIN).ok_or(overflow)?;
        let reward_link = at.op.distance_from(stock.head);
        let mut legs = Legs::default();
        if stocked != 0 {
            let from = Account::Issuance { link: at.op.distance_from(issuance.head) };
            let to = Account::Stock { reward, link: reward_link };
            for (account, amount) in [(from, -stocked), (to, stocked)] {
                let _room = legs.push(Leg { account, asset: AssetNo::PIECES, amount });
            }
        }
        let (common, price, open) = (admin::common_of(command, number, false), *price, *open);
        Ok(Event::RewardPut(RewardPut {
            common,
            reward,
            sku,
            name,
            asset,
            price,
            open,
            stocked,
            stock_after,
            reward_link,
            legs,
        }))
    }

    /// What pieces of a reward on offer cost: the asset, the units, and what is claimed.
    fn priced(&self, program: ProgramNo, sku: &str, pieces: u64) -> Result<(AssetNo, u64, Claimed), Refused> {
        let program = self.program(program).ok_or((Reason::ProgramUnknown, "program"))?;
        let (number, reward) = program.reward_named(sku).ok_or((Reason::RewardUnknown, REWARD))?;
        if !reward.open {
            return Err((Reason::RewardClosed, REWARD));
        }
        if u64::try_from(reward.stock.balance).map_or(true, |left| left < pieces) {
            return Err((Reason::OutOfStock, AMOUNT));
        }
        let units = reward.price.checked_mul(pieces).filter(|units| *units <= award::POINTS_MAX);
        let units = units.ok_or((Reason::AmountOverflow, AMOUNT))?;
        Ok((reward.asset, units, Claimed { reward: number, pieces, price: reward.price }))
    }

    /// Pieces of a reward bought.
    pub(super) fn claim<'c>(
        &self,
        command: &'c Command,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let Action::Claim { sku, pieces, purpose } = &command.action else {
            return Err((Reason::RewardUnknown, REWARD).into());
        };
        self.admit(command, at)?;
        let (asset, units, claimed) = self.priced(command.program, sku, *pieces)?;
        self.redeem(command, (asset, units, *purpose), Some(claimed), known, at)
    }

    /// Units pinned with the pieces of a reward that they are to buy.
    pub(super) fn reserve<'c>(
        &self,
        command: &'c Command,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let Action::Reserve { sku, pieces, until_us, purpose } = &command.action else {
            return Err((Reason::RewardUnknown, REWARD).into());
        };
        self.admit(command, at)?;
        let (asset, units, claimed) = self.priced(command.program, sku, *pieces)?;
        self.hold(command, (asset, units, *purpose), *until_us, Some(claimed), known, at)
    }

    /// The asset that a command about a reward is paid in; `points` where there is no such reward.
    pub(super) fn asset_of_reward(&self, program: ProgramNo, sku: &str) -> AssetNo {
        let reward = self.program(program).and_then(|program| program.reward_named(sku));
        reward.map_or(AssetNo::POINTS, |(_, reward)| reward.asset)
    }

    /// Applies an operator's act on a reward.
    pub(super) fn apply_reward(&mut self, op: Op, put: &RewardPut<'_>) -> Step {
        let number = put.common.program;
        let program = self.program_mut(number).ok_or("the event's program is unknown")?;
        if Some(put.reward) == program.rewards.next() {
            let (sku, name, stock, reserved) = (put.sku.into(), "".into(), Posted::default(), Posted::default());
            if !program.rewards.push(Reward { sku, name, asset: put.asset, price: 0, open: false, stock, reserved }) {
                return Err("a reward is created twice");
            }
        }
        let reward = program.reward_mut(put.reward).ok_or("a reward is created out of order")?;
        if &*reward.sku != put.sku {
            return Err("a reward's number belongs to another");
        }
        if put.reward_link != op.distance_from(reward.stock.head) {
            return Err("an event's link does not lead to the reward's previous event");
        }
        if put.asset != reward.asset && reward.reserved.balance != 0 {
            return Err("a reward of which pieces are reserved changes its asset");
        }
        reward.name = put.name.into();
        (reward.asset, reward.price, reward.open) = (put.asset, put.price, put.open);
        for leg in put.legs.iter() {
            self.post_program(op, number, leg)?;
        }
        let reward = self.program_mut(number).and_then(|program| program.reward_mut(put.reward));
        let stock = &mut reward.ok_or("a reward is unknown")?.stock;
        stock.head = op;
        match u64::try_from(stock.balance) == Ok(put.stock_after) {
            true => Ok(()),
            false => Err("the pieces left after the event are not those that it says"),
        }
    }

    /// Posts a leg on the pieces of a reward.
    pub(super) fn post_pieces(&mut self, op: Op, number: ProgramNo, reward: RewardNo, leg: &Leg) -> Step {
        if leg.asset != AssetNo::PIECES {
            return Err("a reward is counted in something else than pieces");
        }
        self.note(|ledger| {
            let Reward { stock, reserved, .. } = ledger.program(number)?.reward(reward)?;
            Some(Undo::Pieces(number, reward, *stock, *reserved))
        });
        let program = self.program_mut(number).ok_or("the event's program is unknown")?;
        let reward = program.reward_mut(reward).ok_or("a leg's reward is unknown")?;
        let (posted, link) = match leg.account {
            Account::Stock { link, .. } => (&mut reward.stock, link),
            Account::Reserved { link, .. } => (&mut reward.reserved, link),
            _ => return Err("a leg on pieces is on no account of a reward"),
        };
        post(posted, leg.amount, link, op)?;
        match posted.balance < 0 {
            true => Err("more pieces of a reward go than there are"),
            false => Ok(()),
        }
    }

    /// Puts the pieces of a reward back to what they were.
    pub(super) fn undo_pieces(&mut self, program: ProgramNo, reward: RewardNo, stock: Posted, reserved: Posted) {
        if let Some(known) = self.program_mut(program).and_then(|program| program.reward_mut(reward)) {
            (known.stock, known.reserved) = (stock, reserved);
        }
    }

    /// Whether an event moves the pieces that it tells.
    pub(super) fn check_claimed(event: &Event<'_>) -> Step {
        match is_claimed(event) {
            true => Ok(()),
            false => Err("the pieces that an event moves are not those that it tells"),
        }
    }

    /// The rewards of a program, in the order of their numbers; none for a number that no program has.
    #[must_use]
    pub fn rewards(&self, number: ProgramNo) -> Vec<RewardView> {
        let Some(program) = self.program(number) else { return Vec::new() };
        let asset = |reward: &Reward| program.newest()?.asset(reward.asset).map(|asset| asset.id.clone());
        let view = |reward: &Reward| RewardView {
            sku: reward.sku.to_string(),
            name: reward.name.to_string(),
            asset: asset(reward).unwrap_or_default(),
            price: reward.price,
            open: reward.open,
            left: reward.stock.balance,
            reserved: reward.reserved.balance,
        };
        program.rewards.list.iter().map(view).collect()
    }
}

/// Moves pieces of a reward: so many go to what was bought for a purpose, or come back from there (negative), so many that
/// were reserved are so no more (negative), and the stock bears the rest.
fn move_pieces(
    program: &Program,
    posting: &mut Posting,
    reward: RewardNo,
    (purpose, bought): (Purpose, i64),
    reserved: i64,
) -> Result<(), Refused> {
    let known = program.reward(reward).ok_or((Reason::RewardUnknown, REWARD))?;
    let stock = bought.checked_add(reserved).and_then(i64::checked_neg).ok_or((Reason::AmountOverflow, AMOUNT))?;
    let accounts = program.accounts(AssetNo::PIECES);
    let sold = accounts.redemption.get(purpose.place()).map_or(Op(0), |posted| posted.head);
    let link = |head| posting.op.distance_from(head);
    let legs = [
        (Account::Stock { reward, link: link(known.stock.head) }, stock),
        (Account::Reserved { reward, link: link(known.reserved.head) }, reserved),
        (Account::Redemption { purpose, link: link(sold) }, bought),
    ];
    legs.into_iter().for_each(|(account, amount)| posting.push(AssetNo::PIECES, account, amount));
    Ok(())
}

/// Lets bought pieces leave the stock.
pub(super) fn sell(
    program: &Program,
    posting: &mut Posting,
    claimed: Claimed,
    purpose: Purpose,
) -> Result<(), Refused> {
    move_pieces(program, posting, claimed.reward, (purpose, units(claimed.pieces, AMOUNT)?), 0)
}

/// Takes the pieces that a hold is to reserve out of the stock.
pub(super) fn reserve(
    program: &Program,
    posting: &mut Posting,
    claimed: Claimed,
    purpose: Purpose,
) -> Result<(), Refused> {
    move_pieces(program, posting, claimed.reward, (purpose, 0), units(claimed.pieces, AMOUNT)?)
}

/// Of a hold that is captured or let go: the pieces that are bought with the units spent; those of the units let go return to
/// the stock. What is spent must buy whole pieces.
pub(super) fn end_reserved(
    program: &Program,
    posting: &mut Posting,
    hold: &Hold,
    (spent, let_go): (u64, u64),
) -> Result<(), Refused> {
    let Some((reward, price)) = hold.reward else { return Ok(()) };
    if spent.checked_rem(price) != Some(0) {
        return Err((Reason::NotWholePieces, AMOUNT));
    }
    let pieces = |of: u64| units(of.checked_div(price).unwrap_or(0), AMOUNT);
    let (bought, back) = (pieces(spent)?, pieces(let_go)?);
    move_pieces(program, posting, reward, (hold.purpose, bought), -(bought.saturating_add(back)))
}

/// Brings back what was bought with units that are undone: in proportion, floored over all reversals so far.
pub(super) fn restore(
    program: &Program,
    posting: &mut Posting,
    claimed: Option<Claimed>,
    purpose: Purpose,
    (of, undone, units_undone): (u64, u64, u64),
) -> Result<(), Refused> {
    let Some(Claimed { reward, pieces, .. }) = claimed else { return Ok(()) };
    let overflow = (Reason::AmountOverflow, AMOUNT);
    let before = part_of(pieces, undone, of, 0).ok_or(overflow)?;
    let total = undone.checked_add(units_undone).ok_or(overflow)?;
    let back = part_of(pieces, total, of, before).ok_or(overflow)?;
    move_pieces(program, posting, reward, (purpose, -units(back, AMOUNT)?), 0)
}
