//! Letting a member go into another, for good: his lots with their dates, what is pinned and pending of them, what he owes, the
//! counters of his caps and what he is. His id leads to the other from then on.

use smallvec::SmallVec;

use super::aliases::ALIASES_MAX;
use super::codec::{self, MEMBER_EVENT_BYTES_MAX};
use super::command::{Action, Command, Named};
use super::decide::{Halt, OTHER, Refused, clear, common_of, may};
use super::event::{Account, AssetBalances, Event, MembersMerged, Other};
use super::holding::{HOLDS_MAX, Hold, Holding, Lot, PENDING_MAX, Pending};
use super::ids::{AssetNo, MemberNo, MemberRef};
use super::posting::{Own, Posting, units};
use super::profile::TAGS_MAX;
use super::reason::Reason;
use super::spend::bonus_last;
use super::state::{Ledger, Moment, Version};

const TOO_LARGE: Refused = (Reason::MergeTooLarge, OTHER);

/// The postings on both members of a merge: who goes, and who stays.
struct Merge {
    own: Posting,
    other: Posting,
}

impl Ledger {
    pub(super) fn merge<'c>(&self, command: &'c Command, into: &'c Named, at: Moment) -> Result<Event<'c>, Halt> {
        let Action::Merge { actor, reason, .. } = &command.action else {
            return Err((Reason::MergeTooLarge, "action").into());
        };
        let (_, version, _) = self.admit(command, at)?;
        let (goer, stayer) = self.two_of(command, into)?;
        let holding = |number| self.members.holding(number).unwrap_or_default();
        let (goes, stays) = (holding(goer), holding(stayer));
        may(&goes, false)?;
        may(&stays, false).map_err(|(reason, _)| (reason, OTHER))?;
        self.takes_lots()?;
        if self.members.aliases.count(goer) + self.members.aliases.count(stayer) >= ALIASES_MAX {
            return Err((Reason::AliasesFull, OTHER).into());
        }
        let tags = goes.profile().joined_with(&stays.profile()).tags.len();
        let (holds, pending) = (goes.holds.len() + stays.holds.len(), goes.pending.len() + stays.pending.len());
        if tags > TAGS_MAX || holds > HOLDS_MAX || pending > PENDING_MAX {
            return Err(TOO_LARGE.into());
        }
        let (ends_link, into_ends_link) = (at.op.distance_from(goes.ends), at.op.distance_from(stays.ends));
        let mut merge = Merge { own: Posting::on(goes, at), other: Posting::on(stays, at) };
        let rolls = merge.roll();
        merge.move_lots(version)?;
        merge.move_pending()?;
        merge.move_holds();
        let other = Box::new(Other {
            program: command.program,
            member: MemberRef::Known(stayer),
            member_link: at.op.distance_from(merge.other.holding.head),
            after: merge.after(),
            rolls,
            legs: merge.other.legs_checked(OTHER).map_err(|_| TOO_LARGE)?,
        });
        let common = common_of(command, MemberRef::Known(goer), &merge.own, at);
        let legs = merge.own.legs_checked(OTHER).map_err(|_| TOO_LARGE)?;
        let (actor, reason) = (clear(actor), clear(reason));
        let event =
            Event::MembersMerged(MembersMerged { common, ends_link, into_ends_link, actor, reason, other, legs });
        let mut bytes = Vec::new();
        match codec::encode(&event, &mut bytes) {
            Ok(()) if bytes.len() <= MEMBER_EVENT_BYTES_MAX => Ok(event),
            _ => Err(TOO_LARGE.into()),
        }
    }

    /// Who goes and who stays.
    fn two_of(&self, command: &Command, into: &Named) -> Result<(MemberNo, MemberNo), Refused> {
        let goer = self.members.find_own(command.member_hash).ok_or((Reason::MemberUnknown, "member"))?;
        let stayer = self.members.find(into.hash).ok_or((Reason::MemberUnknown, OTHER))?;
        match self.members.aliases.root(goer) {
            root if root == stayer => Err((Reason::SelfTransfer, OTHER)),
            root if root != goer => Err((Reason::MemberMerged, "member")),
            _ => Ok((goer, stayer)),
        }
    }
}

impl Merge {
    /// Lets the rolling units of both live as long as those that live longest.
    fn roll(&mut self) -> Vec<(AssetNo, u32)> {
        let mut told = Vec::new();
        for (asset, until) in &self.own.holding.rolls {
            let before = self.other.holding.rolls_until(*asset);
            let until = before.unwrap_or(0).max(*until);
            if before != Some(until) {
                self.other.holding.set_roll(*asset, until);
                told.push((*asset, until));
            }
        }
        told
    }

    /// Moves what lots hold and what is owed. What moves settles the debts of both, as anything does that credits a member, the
    /// units first that would be spent first; then what the other has pays what came to him of debt.
    fn move_lots(&mut self, version: &Version) -> Result<(), Refused> {
        let lots: Vec<Lot> = self.own.holding.lots.iter().filter(|lot| lot.units() > 0).copied().collect();
        let mut assets: SmallVec<[AssetNo; 4]> = lots.iter().map(|lot| lot.key.asset).collect();
        assets.extend(self.own.holding.debts.iter().map(|(asset, _)| *asset));
        assets.sort_unstable();
        assets.dedup();
        for asset in assets {
            let bonus_last = version.asset(asset).is_some_and(bonus_last);
            let brought = self.own.holding.debt(asset);
            let owed = brought.checked_add(self.other.holding.debt(asset));
            let mut owed = owed.ok_or((Reason::AmountOverflow, OTHER))?;
            let paid = self.pay(asset, bonus_last, &mut owed);
            let own = units_of(owed.min(brought));
            owed -= units(own - self.other.debit(asset, own, &[], bonus_last), OTHER)?;
            for lot in lots.iter().filter(|lot| lot.key.asset == asset) {
                let paid = paid.iter().find(|(key, _)| *key == lot.key).map_or(0, |(_, units)| *units);
                self.move_lot(lot, paid)?;
            }
            self.own.holding.set_debt(asset, 0);
            self.own.push(asset, Account::Debt, brought);
            let settled = self.other.holding.debt(asset) - owed;
            self.other.holding.set_debt(asset, owed);
            self.other.push(asset, Account::Debt, settled);
        }
        Ok(())
    }

    /// What free units of the lots that move settle of what is owed.
    fn pay(&self, asset: AssetNo, bonus_last: bool, owed: &mut i64) -> SmallVec<[Own; 4]> {
        let mut paid = SmallVec::new();
        for lot in self.own.holding.spending_order(asset, bonus_last) {
            let pays = self.own.holding.free_in(&lot).min(units_of(*owed));
            if pays > 0 {
                *owed = owed.saturating_sub_unsigned(pays);
                paid.push((lot.key, pays));
            }
        }
        paid
    }

    /// Moves all of a lot but its first units, which `paid`. What is pinned of it is pinned where it goes.
    fn move_lot(&mut self, lot: &Lot, paid: u64) -> Result<(), Refused> {
        let (asset, id) = (lot.key.asset, lot.key.lot);
        let held = units(self.own.holding.held_in(lot.key), OTHER)?;
        self.own.push(asset, Account::Held { lot: id, position: None }, -held);
        self.own.push(asset, Account::Free { lot: id }, held);
        let position = self.own.holding.leave(lot.key, lot.units()).ok_or(TOO_LARGE)?;
        self.own.push(asset, Account::Available { lot: id, position }, -units(lot.units(), OTHER)?);
        let moved = lot.units().saturating_sub(paid);
        if moved > 0 {
            let overflow = (Reason::AmountOverflow, OTHER);
            let position = self.other.holding.enter(lot.key, moved, self.other.op).ok_or(overflow)?;
            self.other.push(asset, Account::Available { lot: id, position }, units(moved, OTHER)?);
        }
        self.other.push(asset, Account::Free { lot: id }, -held);
        self.other.push(asset, Account::Held { lot: id, position: None }, held);
        Ok(())
    }

    fn move_pending(&mut self) -> Result<(), Refused> {
        let pending = std::mem::take(&mut self.own.holding.pending);
        for entry in &pending {
            let earn_link = self.own.op.distance_from(entry.earn);
            for (key, waits) in &entry.parts {
                let (account, waits) = (Account::Pending { earn_link, lot: key.lot }, units(*waits, OTHER)?);
                self.own.push(key.asset, account, -waits);
                self.other.push(key.asset, account, waits);
            }
        }
        self.other.holding.take_pending(pending);
        Ok(())
    }

    fn move_holds(&mut self) {
        let holds = std::mem::take(&mut self.own.holding.holds);
        self.other.holding.take_holds(holds);
    }

    /// What the one who stays has then of all that either had something of that moved.
    fn after(&self) -> Vec<AssetBalances> {
        let mut touched: Vec<AssetNo> = self.own.legs.iter().chain(&*self.other.legs).map(|leg| leg.asset).collect();
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().map(|asset| self.other.holding.balances(asset)).collect()
    }
}

fn units_of(owed: i64) -> u64 {
    u64::try_from(owed).unwrap_or(0)
}

impl Holding {
    /// Takes over pending earns of another member.
    pub(super) fn take_pending(&mut self, pending: Vec<Pending>) {
        self.pending.extend(pending);
        self.pending.sort_by_key(|entry| entry.earn);
    }

    /// Takes over holds of another member.
    pub(super) fn take_holds(&mut self, holds: Vec<Hold>) {
        self.holds.extend(holds);
        self.holds.sort_by_key(|hold| hold.op);
    }
}
