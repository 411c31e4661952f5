//! Plain earns, the traffic of a campaign night, decided and followed without the general way's copies: a member who has a few lots
//! and nothing else earns points by spend, and at most one campaign adds to them in full. What comes of it is, to the byte, what
//! [`Ledger::decide`] and [`Ledger::evolve`] make of it, which tests and debug builds hold it against; all else is left to those.

pub mod read;
pub(super) mod write;

use arrayvec::ArrayVec;

use super::award::{self, Candidate};
use super::command::{Action, Basis, Command};
use super::decide::lot_for;
use super::event::{Account, Balances, Common, Earned, Event, Expiry, Leg, Legs, LotId, Share, Source};
use super::evolve::{Inconsistent, post};
use super::holding::{Lot, LotKey, instant_of};
use super::ids::{AssetNo, MemberNo, MemberRef, Op, VersionNo};
use super::later::Later;
use super::list::List;
use super::slot::{LOTS_IN_PLACE, OP_MAX};
use super::spec::{AssetKind, Lifetime};
use super::state::{Ledger, Moment, Program, Version};

/// Units that enter a lot.
#[derive(Clone, Copy, Debug)]
struct Credit {
    lot: LotId,
    position: u64,
    units: u64,
}

/// What a plain earn comes to, worked out against the state and not yet followed by it.
#[derive(Debug)]
pub struct PlainEarn {
    at: Moment,
    member: MemberNo,
    member_link: u64,
    occurred_us: i64,
    version: VersionNo,
    spend: u64,
    base: u64,
    issuance_link: u64,
    share: Option<Share>,
    budget_link: u64,
    credits: ArrayVec<Credit, 2>,
    /// The member's lots after it.
    lots: ArrayVec<Lot, LOTS_IN_PLACE>,
    available: i64,
}

/// Units as the books post them. What is plain is small: the caller saw that it is in range.
fn amount(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

impl Ledger {
    /// Works out a plain earn. `None` where the command or what it meets is not plain: the general way then says what it comes to.
    /// The caller has looked up the key and found it free, and written what was due of the member.
    #[must_use]
    pub fn plain_earn(&self, command: &Command, at: Moment) -> Option<PlainEarn> {
        let Action::Earn { basis: Basis::Spend(spend), event_kind: Some(kind), asset: AssetNo::POINTS, matures: None } =
            &command.action
        else {
            return None;
        };
        if self.undo.is_some() || command.notes.is_some() || at.op != self.newest.next() || at.op > OP_MAX {
            return None;
        }
        let (program, version, occurred_us) = self.admit(command, at).ok()?;
        let rule = version.rule(kind).filter(|rule| rule.more.0.is_none())?;
        let base = award::base(rule.rate, rule.rounding, *spend).filter(|base| *base > 0)?;
        if !is_plain(version) || self.takes_lots().is_err() {
            return None;
        }
        let member = self.members.find(command.member_hash)?;
        let (owner, head, mut lots) = self.members.plain(member)?;
        if owner != command.program {
            return None;
        }
        let share = self.plain_share(program, version, kind, member, occurred_us, base)?;
        let awarded = share.map_or(0, |share| share.awarded);
        let mut credits = ArrayVec::new();
        for (source, units) in [(Source::Base, base), (Source::Campaign, awarded)] {
            if units > 0 {
                let lot = lot_for(program, version, AssetNo::POINTS, source, occurred_us);
                credits.push(enter(&mut lots, lot, units, at)?);
            }
        }
        let (issuance, sums) = (program.accounts(AssetNo::POINTS), &program.assets.first()?.sums);
        let moved = base.checked_add(awarded)?;
        // Far from the ends of the range nothing has to be reckoned exactly.
        let near = [issuance.issuance.balance, issuance.breakage.balance, sums.lots, sums.pending];
        near.iter().try_fold(moved, |sum, balance| sum.checked_add(balance.unsigned_abs())).filter(far)?;
        let campaign = share.and_then(|share| program.campaign(share.campaign));
        let points = lots.iter().filter(|lot| lot.key.asset == AssetNo::POINTS);
        let available = points.map(Lot::units).try_fold(0_u64, u64::checked_add).filter(far)?;
        Some(PlainEarn {
            at,
            member,
            member_link: at.op.distance_from(head),
            occurred_us,
            version: version.number,
            spend: *spend,
            base,
            issuance_link: at.op.distance_from(issuance.issuance.head),
            share,
            budget_link: campaign.map_or(0, |campaign| at.op.distance_from(campaign.purse.budget.head)),
            credits,
            lots,
            available: amount(available),
        })
    }

    /// The share of the one campaign that takes part, `Some(None)` where none does; `None` where it is not plain: several
    /// campaigns, a cap, or a budget that is short.
    fn plain_share(
        &self,
        program: &Program,
        version: &Version,
        kind: &str,
        member: MemberNo,
        occurred_us: i64,
        base: u64,
    ) -> Option<Option<Share>> {
        let candidates = self.candidates(program, version, kind, Some(member), occurred_us);
        match candidates.as_slice() {
            [] => Some(None),
            [only @ Candidate { asset: AssetNo::POINTS, cap: None, .. }] => {
                let shares = award::shares(base, version.spec.greatest_total, only.asset, &candidates)?;
                shares.first().filter(|share| share.reason.is_none()).map(|share| Some(*share))
            }
            _ => None,
        }
    }

    /// Lets the state follow a plain earn that was worked out on it as it is.
    ///
    /// # Errors
    /// [`Inconsistent`] where it was worked out on another state; this one is then no longer to be used.
    pub fn follow_plain(&mut self, earn: &PlainEarn, command: &Command) -> Result<(), Inconsistent> {
        self.apply_plain(earn, command).map_err(|what| Inconsistent { op: earn.at.op, what })
    }

    fn apply_plain(&mut self, earn: &PlainEarn, command: &Command) -> Result<(), &'static str> {
        let op = earn.at.op;
        if op != self.newest.next() {
            return Err("the event's op does not follow the one before it");
        }
        self.turn_day(earn.at.book_time_us);
        self.take_key(command.key_print, op)?;
        let program = self.program_mut(command.program).ok_or("the event's program is unknown")?;
        let books = program.books_mut(AssetNo::POINTS).ok_or("a leg is in an asset that there is not")?;
        post(&mut books.accounts.issuance, -amount(earn.base), earn.issuance_link, op)?;
        for Credit { lot, units, .. } in &earn.credits {
            let minute = match lot.expiry {
                Expiry::At(minute) => Some(minute),
                Expiry::Never | Expiry::Rolling => None,
            };
            books.sums.add_lot(minute, amount(*units))?;
        }
        if let Some(share) = earn.share {
            let purse = &mut program.campaign_mut(share.campaign).ok_or("a leg's campaign is unknown")?.purse;
            let awarded = amount(share.awarded);
            if awarded > 0 {
                post(&mut purse.budget, -awarded, earn.budget_link, op)?;
            }
            purse.awarded = purse.awarded.checked_add(awarded).ok_or("a campaign's awards overflow")?;
        }
        self.members.set_plain(earn.member, op, &earn.lots).ok_or("the event's member is unknown")?;
        self.newest = op;
        Ok(())
    }
}

impl PlainEarn {
    /// The event that says it.
    #[must_use]
    pub fn event<'c>(&self, command: &'c Command) -> Event<'c> {
        let event_kind = match &command.action {
            Action::Earn { event_kind, .. } => event_kind.as_deref(),
            _ => None,
        };
        Event::Earned(Earned {
            common: Common {
                program: command.program,
                key: &command.key,
                body_hash: command.body_hash,
                member: MemberRef::Known(self.member),
                member_link: self.member_link,
                behind_us: self.at.book_time_us.saturating_sub(self.occurred_us),
                notes: None,
                after: Balances { available: self.available, debt: 0 },
                others: Later::default(),
            },
            basis: Basis::Spend(self.spend),
            event_kind,
            version: self.version,
            base: self.base,
            shares: List(self.share.into_iter().collect()),
            legs: self.legs(),
            more: Later::default(),
        })
    }

    fn legs(&self) -> Legs {
        let mut legs = Legs::default();
        let mut put = |account, amount| {
            // No more than four: an event holds a hundred.
            let _ = legs.push(Leg { account, asset: AssetNo::POINTS, amount });
        };
        put(Account::Issuance { link: self.issuance_link }, -amount(self.base));
        if let Some(share) = self.share.filter(|share| share.awarded > 0) {
            let account = Account::Campaign { campaign: share.campaign, link: self.budget_link };
            put(account, -amount(share.awarded));
        }
        for Credit { lot, position, units } in &self.credits {
            put(Account::Available { lot: *lot, position: *position }, amount(*units));
        }
        legs
    }

    /// The event's op.
    #[must_use]
    pub fn op(&self) -> Op {
        self.at.op
    }
}

/// Whether points of a version are earned and lie as plain ones do.
fn is_plain(version: &Version) -> bool {
    let rolls = |lifetime| matches!(lifetime, Lifetime::RollingDays(_) | Lifetime::RollingMonths(_));
    version.asset(AssetNo::POINTS).is_some_and(|asset| {
        matches!(asset.kind, AssetKind::Spendable | AssetKind::Qualifying) && !rolls(asset.expiry.lifetime)
    })
}

/// Whether a sum is far from the end of the range of a balance.
fn far(sum: &u64) -> bool {
    *sum <= i64::MAX.unsigned_abs() / 4
}

/// Puts units into a lot of points, which begins where there is none yet; `None` where that is no matter of a few lots in place, or
/// the units have lapsed before they are booked.
fn enter(lots: &mut ArrayVec<Lot, LOTS_IN_PLACE>, lot: LotId, units: u64, at: Moment) -> Option<Credit> {
    if matches!(lot.expiry, Expiry::At(minute) if instant_of(minute) <= at.book_time_us) {
        return None;
    }
    let key = LotKey { asset: AssetNo::POINTS, lot };
    // A dated lot begins at the member's floor: that is not plain.
    let place = lots.iter().position(|known| known.key >= key).unwrap_or(lots.len());
    if lots.get(place).is_none_or(|known| known.key != key) {
        if lot.expiry != Expiry::Never || lots.is_full() {
            return None;
        }
        lots.insert(place, Lot { key, entered: 0, left: 0, opened: at.op });
    }
    let known = lots.get_mut(place)?;
    if known.units() == 0 {
        known.opened = at.op;
    }
    let position = known.entered;
    known.entered = position.checked_add(units)?;
    Some(Credit { lot, position, units })
}
