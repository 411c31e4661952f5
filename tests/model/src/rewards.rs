//! Things that are bought with units: put on offer, bought, reserved, brought back.

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, AdminAction, Command};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::AssetKind;

use super::award::AMOUNT_MAX;
use super::book::{Said, prefix, tell};
use super::holds::{HOLDS_MAX, pin, until};
use super::member::{Draft, Hold, PIECES};
use super::moves::spend;
use super::{Case, Decided, Model, Program, Refusal, Reward, What, add, more_of};

/// Rewards that a program may have.
const REWARDS_MAX: usize = 1_024;

impl Program {
    /// Pieces that are left of a reward.
    pub fn stock(&self, sku: &str) -> i128 {
        self.balance(&format!("{}reward/{sku}", prefix(PIECES)))
    }

    /// Pieces of it that holds reserve.
    pub fn reserved(&self, sku: &str) -> i128 {
        self.balance(&format!("{}reward/{sku}/reserved", prefix(PIECES)))
    }
}

impl Model {
    /// What a hold reserves is anybody's once the hold is over: who wants more pieces than are left has such holds ended, the one
    /// that was over first before the others, until there are enough or none is left.
    fn free_pieces(&mut self, program: usize, sku: &str, wanted: i128, now_us: i64) {
        while self.programs[program].stock(sku) < wanted {
            let over = self.programs[program].members.iter().flat_map(|(name, member)| {
                let of_reward = |hold: &&Hold| hold.reserves.as_ref().is_some_and(|(of, _)| of == sku);
                let over = member.holds.iter().filter(of_reward).filter(|hold| hold.until_us <= now_us);
                over.map(move |hold| (hold.until_us, hold.op, name))
            });
            let Some((_, _, name)) = over.min() else { return };
            let name = name.clone();
            self.one_falls_due(program, &name, now_us);
        }
    }

    /// Frees the pieces that a command wants, all that its parts want of a reward together.
    pub fn free_for(&mut self, command: &Command, now_us: i64) {
        let mut wanted: BTreeMap<&str, i128> = BTreeMap::new();
        for part in std::iter::once(command).chain(command.parts()) {
            if let Action::Claim { sku, pieces, .. } | Action::Reserve { sku, pieces, .. } = &part.action {
                *wanted.entry(sku).or_default() += i128::from(*pieces);
                self.free_pieces(usize::from(command.program.0), sku, wanted[sku.as_str()], now_us);
            }
        }
    }

    /// Frees the pieces that an operator takes out of a stock, or all, where the reward is to cost another asset.
    pub fn free_for_operator(&mut self, program: usize, action: &AdminAction, now_us: i64) {
        let AdminAction::PutReward { sku, asset, stocked, .. } = action else { return };
        let assets = more_of(self.programs[program].newest()).assets;
        let Some(known) = self.programs[program].rewards.get(sku) else { return };
        let same = assets[usize::from(known.asset)].id == *asset;
        self.free_pieces(program, sku, if same { -i128::from(*stocked) } else { i128::MAX }, now_us);
    }
}

/// Puts a reward on offer, or changes it.
pub fn put(program: &mut Program, action: &AdminAction) -> Result<Said, Refusal> {
    let AdminAction::PutReward { sku, asset, price, open, stocked, .. } = action else { unreachable!() };
    let assets = more_of(program.newest()).assets;
    let number = assets.iter().position(|known| known.id == *asset).ok_or((Reason::AssetUnknown, "asset"))?;
    if assets[number].kind != AssetKind::Spendable {
        return Err((Reason::AssetKindMismatch, "asset"));
    }
    let asset = u8::try_from(number).unwrap();
    let known = program.rewards.get(sku);
    if known.is_none() && program.rewards.len() >= REWARDS_MAX {
        return Err((Reason::LimitReached, "sku"));
    }
    if known.is_some_and(|known| known.asset != asset) && program.reserved(sku) > 0 {
        return Err((Reason::RewardReserved, "asset"));
    }
    let stock = program.stock(sku) + i128::from(*stocked);
    if stock < 0 {
        return Err((Reason::OutOfStock, "stocked"));
    }
    program.rewards.insert(sku.clone(), Reward { asset, price: i128::from(*price), open: *open });
    let mut said = Said { what: "reward put".to_owned(), ..Said::default() };
    tell(&mut said.more, &format!("puts {sku}"), 1_i64);
    tell(&mut said.more, "asset", asset);
    tell(&mut said.more, "price", *price);
    tell(&mut said.more, "open", i64::from(*open));
    tell(&mut said.more, "stocked", *stocked);
    tell(&mut said.more, "stock", stock);
    add(&mut said.legs, &format!("{}issuance", prefix(PIECES)), -i128::from(*stocked));
    add(&mut said.legs, &format!("{}reward/{sku}", prefix(PIECES)), i128::from(*stocked));
    Ok(said)
}

/// The asset of a reward that is on offer and there, the price of a piece and of all: checked before the member is looked at.
pub fn price(program: &Program, sku: &str, pieces: u64) -> Result<(u8, i128, i128), Refusal> {
    let reward = program.rewards.get(sku).ok_or((Reason::RewardUnknown, "reward"))?;
    if !reward.open {
        return Err((Reason::RewardClosed, "reward"));
    }
    if program.stock(sku) < i128::from(pieces) {
        return Err((Reason::OutOfStock, "amount"));
    }
    let units = reward.price * i128::from(pieces);
    if units > AMOUNT_MAX {
        return Err((Reason::AmountOverflow, "amount"));
    }
    Ok((reward.asset, reward.price, units))
}

/// Takes pieces off the shelf and puts them on another account.
fn take(draft: &mut Draft, sku: &str, pieces: i128, account: &str) {
    draft.put(PIECES, &format!("reward/{sku}"), -pieces);
    draft.put(PIECES, account, pieces);
}

/// Decides what pieces cost, and takes it.
pub fn claim(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Claim { sku, pieces, purpose } = &case.command.action else { unreachable!() };
    let (asset, price, units) = price(case.program, sku, *pieces)?;
    let account = format!("redemption/{}", purpose.name());
    let pieces = i128::from(*pieces);
    take(&mut case.draft, sku, pieces, &account);
    let mut what = spend(&mut case, asset, &account, units, "redeem.points")?;
    if let What::Spent { pieces: bought, .. } = &mut what {
        *bought = Some((sku.clone(), pieces));
    }
    case.roll(asset);
    let mut said = Said { what: "redeemed".to_owned(), ..Said::default() };
    tell(&mut said.more, "asset", asset);
    tell(&mut said.more, "units", units);
    tell(&mut said.more, &format!("pieces of {sku}"), pieces);
    tell(&mut said.more, "price", price);
    case.decided(said, what)
}

/// Decides a hold of what pieces cost, and of the pieces.
pub fn reserve(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Reserve { sku, pieces, until_us, purpose } = &case.command.action else { unreachable!() };
    let (asset, price, units) = price(case.program, sku, *pieces)?;
    let until_us = until(case.spec, *until_us, case.now_us)?;
    if case.draft.member.holds.len() >= HOLDS_MAX {
        return Err((Reason::HoldsFull, "member"));
    }
    if case.draft.member.balances(asset)[0] < units {
        return Err((Reason::InsufficientPoints, "hold.units"));
    }
    let pieces = i128::from(*pieces);
    take(&mut case.draft, sku, pieces, &format!("reward/{sku}/reserved"));
    let (op, purpose) = (case.draft.op, *purpose);
    let parts = pin(&mut case.draft, asset, units);
    let reserves = Some((sku.clone(), price));
    case.draft.member.holds.push(Hold { op, asset, purpose, until_us, parts, reserves });
    let mut said = Said { what: "held".to_owned(), ..Said::default() };
    tell(&mut said.more, "asset", asset);
    tell(&mut said.more, "units", units);
    tell(&mut said.more, "until", until_us);
    tell(&mut said.more, &format!("pieces of {sku}"), pieces);
    tell(&mut said.more, "price", price);
    case.decided(said, What::Other)
}

/// Hands out the pieces that so many units of a hold pay for; none where it reserves none.
pub fn capture(draft: &mut Draft, hold: &Hold, units: i128) -> Result<Option<(String, i128)>, Refusal> {
    let Some((sku, price)) = &hold.reserves else { return Ok(None) };
    if units % price != 0 {
        return Err((Reason::NotWholePieces, "amount"));
    }
    let pieces = units / price;
    draft.put(PIECES, &format!("reward/{sku}/reserved"), -pieces);
    draft.put(PIECES, &format!("redemption/{}", hold.purpose.name()), pieces);
    Ok(Some((sku.clone(), pieces)))
}

/// Pieces that so many units of a hold reserve are for anybody again.
pub fn back_on_the_shelf(draft: &mut Draft, hold: &Hold, units: i128) {
    if let Some((sku, price)) = &hold.reserves {
        draft.put(PIECES, &format!("reward/{sku}/reserved"), -units / price);
        draft.put(PIECES, &format!("reward/{sku}"), units / price);
    }
}

/// Pieces that were bought come back.
pub fn bring_back(draft: &mut Draft, sku: &str, account: &str, pieces: i128) {
    draft.put(PIECES, account, -pieces);
    draft.put(PIECES, &format!("reward/{sku}"), pieces);
}
