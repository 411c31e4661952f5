//! What an event does to the state, when it is decided and when it is replayed alike. It follows the facts in the
//! event and checks them against the state: a book whose facts do not fit together is damaged.

use std::sync::Arc;

use jiff::tz::TimeZone;
use thiserror::Error;

use super::codec::Named;
use super::event::{
    Account, CampaignChange, CampaignChanged, CheckedOut, ClockConfirmed, Common, Due, Event, FIRST_CAMPAIGN_PART, Leg,
    Other, PeriodClosed, ProgramPut, Refunded, SnapshotDeleted, SnapshotTaken, TakenFrom,
};
use super::holding::Holding;
use super::ids::{AssetNo, CampaignNo, MemberNo, MemberRef, Op, ProgramNo};
use super::print::Prints;
use super::reward::Rewards;
use super::slot::OP_MAX;
use super::state::{Accounts, CLOSINGS_MAX, Campaign, Ledger, Moment, Posted, Program, Purse, Undo, Version};
use super::turn::Turn;
use super::view::{CampaignStatus, Closing, SnapshotView};

/// Why an event does not fit the state.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("op {}: {what}", op.0)]
pub struct Inconsistent {
    /// The event's op.
    pub op: Op,
    /// What is wrong.
    pub what: &'static str,
}

/// The hashes of an event's key and member id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// The key's fingerprint.
    pub key: u128,
    /// The hash of the member's id; looked at only where the event creates the member.
    pub member: u128,
    /// The same of the other member of an event that moves units between two.
    pub other: u128,
}

pub(super) type Step = Result<(), &'static str>;

pub(super) fn post(posted: &mut Posted, amount: i64, link: u64, op: Op) -> Step {
    if link != op.distance_from(posted.head) {
        return Err("an account's link does not lead to its previous event");
    }
    posted.balance = posted.balance.checked_add(amount).ok_or("an account's balance overflows")?;
    posted.head = op;
    Ok(())
}

/// The hashes that [`Ledger::evolve`] wants, of what an event of the book names. It needs no ledger, only the ids of the
/// programs that earlier events created, so that another thread may make them. `None` for a program that is unknown.
pub fn hashes_of<'p>(
    named: &Named<'_>,
    op: Op,
    program_ids: impl Fn(ProgramNo) -> Option<&'p str>,
    prints: &Prints,
) -> Option<Hashes> {
    let id = match named.program_id {
        Some(id) => id,
        None => program_ids(named.program)?,
    };
    let member = match named.member {
        Some(MemberRef::Opened(_, member)) => prints.member(id, member),
        _ => 0,
    };
    let key = match named.key.is_empty() {
        true => prints.own(op),
        false => prints.key(id, named.key),
    };
    let other = match named.other {
        Some((program, MemberRef::Opened(_, member))) => prints.member(program_ids(program)?, member),
        _ => 0,
    };
    Some(Hashes { key, member, other })
}

/// Whether legs sum to zero in each asset, those of `beside` with them.
fn sum_to_zero(legs: &[Leg], beside: &[Leg]) -> bool {
    let Some(first) = legs.first().or(beside.first()).map(|leg| leg.asset) else { return true };
    let sum_of = |asset| {
        let legs = legs.iter().chain(beside).filter(|leg| leg.asset == asset);
        legs.fold(0_i128, |sum, leg| sum + i128::from(leg.amount))
    };
    let mut others = legs.iter().chain(beside).filter(|leg| leg.asset != first);
    sum_of(first) == 0 && others.all(|leg| sum_of(leg.asset) == 0)
}

/// Whether an event's legs sum to zero: within one program both sides together, across programs each by itself.
fn is_balanced(event: &Event<'_>) -> bool {
    match event.other() {
        None => sum_to_zero(event.legs(), &[]),
        Some(other) if other.program == event.identity().0 => sum_to_zero(event.legs(), &other.legs),
        Some(other) => sum_to_zero(event.legs(), &[]) && sum_to_zero(&other.legs, &[]),
    }
}

/// A confirmed clock changes nothing but the time of the events from its own on.
fn check_confirmed(at: Moment, confirmed: &ClockConfirmed<'_>) -> Step {
    match confirmed.from_us <= confirmed.to_us && confirmed.to_us == at.book_time_us {
        true => Ok(()),
        false => Err("a clock is confirmed to another time than that of the event"),
    }
}

/// The parts of a checkout are events before it, one behind the other.
fn check_parts(op: Op, checkout: &CheckedOut<'_>) -> Step {
    let ordered = checkout.parts.windows(2).all(|pair| pair.first() > pair.last());
    let there = checkout.parts.iter().all(|link| op.back(*link).is_some());
    let earn = checkout.earn.is_none_or(|place| usize::from(place) < checkout.parts.len());
    match ordered && there && earn && !checkout.parts.is_empty() {
        true => Ok(()),
        false => Err("a checkout does not lead back to its parts"),
    }
}

impl Ledger {
    /// Applies an event that was read from the book.
    ///
    /// # Errors
    /// [`Inconsistent`] where the event does not fit the state, which is then no longer to be used.
    pub fn replay(&mut self, at: Moment, event: &Event<'_>, prints: &Prints) -> Result<(), Inconsistent> {
        let id = |number| self.program(number).map(|program| &*program.id);
        let unknown = Inconsistent { op: at.op, what: "the event's program is unknown" };
        let hashes = hashes_of(&Named::from(event), at.op, id, prints).ok_or(unknown)?;
        self.evolve(at, event, hashes)
    }

    /// Applies an event.
    ///
    /// # Errors
    /// [`Inconsistent`] where the event does not fit the state, which is then no longer to be used.
    pub fn evolve(&mut self, at: Moment, event: &Event<'_>, hashes: Hashes) -> Result<(), Inconsistent> {
        self.apply(at, event, hashes).map_err(|what| Inconsistent { op: at.op, what })
    }

    fn apply(&mut self, at: Moment, event: &Event<'_>, hashes: Hashes) -> Step {
        if at.op != self.newest.next() {
            return Err("the event's op does not follow the one before it");
        }
        self.turn_day(at.book_time_us);
        if !is_balanced(event) {
            return Err("the event's legs do not sum to zero");
        }
        if at.op > OP_MAX {
            return Err("ops are used up");
        }
        self.take_key(hashes.key, at.op)?;
        self.note(|_| Some(Undo::Key(hashes.key)));
        match event {
            Event::ProgramPut(put) => self.put_program(put)?,
            Event::CampaignChanged(changed) => self.change_campaign(at.op, changed)?,
            Event::RewardPut(put) => self.apply_reward(at.op, put)?,
            Event::AdminRejected(_) | Event::ClockConfirmed(_) => {}
            Event::SnapshotTaken(taken) => self.take_snapshot(at, taken)?,
            Event::SnapshotDeleted(deleted) => self.delete_snapshot(at.op, deleted)?,
            Event::PeriodClosed(closed) => self.close_books(at, closed)?,
            Event::Due(due) => self.post_due(at.op, due)?,
            Event::MembersMerged(merged) => self.join(at.op, merged)?,
            _ => self.post_member(at.op, event, hashes)?,
        }
        match event {
            Event::ClockConfirmed(confirmed) => check_confirmed(at, confirmed)?,
            Event::CheckedOut(checkout) => check_parts(at.op, checkout)?,
            Event::Earned(earned) => {
                for share in earned.shares.iter() {
                    self.count_share(&earned.common, share)?;
                }
            }
            Event::Refunded(refunded) => {
                if let Some(from) = &refunded.from {
                    let original = at.op.back(from.original_link).ok_or("a refund's original is missing")?;
                    self.take_back(at.op, original, refunded, from)?;
                }
            }
            Event::MemberSet(said) => self.name_tags(said)?,
            Event::Reversed(reversed) => {
                let original = at.op.back(reversed.original_link).ok_or("a reversal's original is missing")?;
                let before = self.take_refund(original, at.op.back(reversed.previous_link), at.op)?;
                self.note(|_| Some(Undo::TakenBack(original, before)));
            }
            _ => {}
        }
        self.newest = at.op;
        Ok(())
    }

    fn open_member(&mut self, program: ProgramNo, number: MemberNo, id: &str, hash: u128) -> Step {
        if self.members.open(program, hash, id) != Some(number) {
            return Err("the event opens a member out of order, or one that exists");
        }
        self.note(|_| Some(Undo::Opened(program, hash)));
        let program = self.program_mut(program).ok_or("the event's program is unknown")?;
        program.members = program.members.checked_add(1).ok_or("too many members")?;
        Ok(())
    }

    /// Posts the legs of a member's event and links the event to the member's previous one.
    fn post_member(&mut self, op: Op, event: &Event<'_>, hashes: Hashes) -> Step {
        let Some(common) = event.common() else { return Err("an event of nobody") };
        let program = common.program;
        if let MemberRef::Opened(number, id) = common.member {
            self.open_member(program, number, id, hashes.member)?;
        }
        let Some(number) = common.member.number() else {
            return if event.legs().is_empty() { Ok(()) } else { Err("an unknown member has legs") };
        };
        Self::check_claimed(event)?;
        let turn = Turn::of(op, event)?;
        let holding = self.post_holding(op, (program, number), common.member_link, event.legs(), &turn)?;
        if holding.points() != common.after {
            return Err("the balances after the event are not those that it says");
        }
        let others = common.others.as_deref().map(Vec::as_slice).unwrap_or_default();
        if !others.iter().all(|told| holding.balances(told.asset) == *told) {
            return Err("the balances after the event are not those that it says");
        }
        match event.other() {
            Some(other) => self.post_other(op, other, (number, hashes)),
            None => Ok(()),
        }
    }

    /// Posts the legs of the other member's side of an event, and links it to that member's previous one.
    fn post_other(&mut self, op: Op, other: &Other<'_>, (own, hashes): (MemberNo, Hashes)) -> Step {
        if let MemberRef::Opened(number, id) = other.member {
            self.open_member(other.program, number, id, hashes.other)?;
        }
        let Some(number) = other.member.number().filter(|number| *number != own) else {
            return Err("an event between two members has one");
        };
        let turn = Turn::of_other(op, other);
        let holding = self.post_holding(op, (other.program, number), other.member_link, &other.legs, &turn)?;
        match other.after.iter().all(|told| holding.balances(told.asset) == *told) {
            true => Ok(()),
            false => Err("the balances after the event are not those that it says"),
        }
    }

    fn post_due(&mut self, op: Op, due: &Due) -> Step {
        let turn = Turn::of_due(op, due)?;
        let holding = self.post_holding(op, (due.program, due.member), due.member_link, &due.legs, &turn)?;
        match due.after.iter().all(|told| holding.balances(told.asset) == *told) {
            true => Ok(()),
            false => Err("the balances after the event are not those that it says"),
        }
    }

    /// Posts the legs of an event of one member; what he has then.
    fn post_holding(
        &mut self,
        op: Op,
        (program, number): (ProgramNo, MemberNo),
        link: u64,
        legs: &[Leg],
        turn: &Turn<'_>,
    ) -> Result<Holding, &'static str> {
        if self.members.program(number) != Some(program) {
            return Err("the event's member is not of its program");
        }
        let before = self.members.holding(number).ok_or("the event's member is unknown")?;
        self.note(|_| Some(Undo::Holding(number, Box::new(before.clone()))));
        let mut holding = before.clone();
        for leg in legs {
            if !turn.post(&mut holding, leg)? {
                self.post_program(op, program, leg)?;
            }
        }
        turn.end(&mut holding, legs)?;
        if !turn.are_reserved(&before, &holding, legs) {
            return Err("the pieces that a hold reserves are not those that the event moves");
        }
        if link != op.distance_from(holding.head) {
            return Err("the event's link does not lead to the member's previous event");
        }
        holding.head = op;
        self.count((program, number), &before, &holding)?;
        self.members.set_holding(number, &holding).ok_or("the event's member is unknown")?;
        Ok(holding)
    }

    pub(super) fn post_program(&mut self, op: Op, number: ProgramNo, leg: &Leg) -> Step {
        if let Account::Stock { reward, .. } | Account::Reserved { reward, .. } = leg.account {
            return self.post_pieces(op, number, reward, leg);
        }
        let counts_pieces = matches!(leg.account, Account::Issuance { .. } | Account::Redemption { .. });
        if leg.asset == AssetNo::PIECES && !counts_pieces {
            return Err("pieces stand on an account that counts none");
        }
        if let Account::Campaign { campaign, .. } = leg.account {
            self.note_purse(number, campaign);
            let purse = &mut self.campaign_mut(number, campaign)?.purse;
            let Account::Campaign { link, .. } = leg.account else { return Ok(()) };
            post(&mut purse.budget, leg.amount, link, op)?;
            return match purse.budget.balance < 0 {
                true => Err("a campaign's budget falls below zero"),
                false => Ok(()),
            };
        }
        if let Account::Conversion { program: other, link } = leg.account {
            return self.post_conversion(op, (number, leg.asset, other), leg.amount, link);
        }
        self.note(|ledger| {
            let accounts = *ledger.program(number)?.accounts(leg.asset);
            Some(Undo::Accounts(number, leg.asset, Box::new(accounts)))
        });
        let program = self.program_mut(number).ok_or("the event's program is unknown")?;
        let accounts = program.accounts_mut(leg.asset).ok_or("a leg is in an asset that there is not")?;
        match leg.account {
            Account::Issuance { link } => post(&mut accounts.issuance, leg.amount, link, op),
            Account::Adjustment { link } => post(&mut accounts.adjustment, leg.amount, link, op),
            Account::Opening { link } => post(&mut accounts.opening, leg.amount, link, op),
            Account::Breakage { link } => post(&mut accounts.breakage, leg.amount, link, op),
            Account::Cash { link } => post(&mut accounts.cash, leg.amount, link, op),
            Account::Redemption { purpose, link } => {
                let place = accounts.redemption.get_mut(purpose.place()).ok_or("a purpose is unknown")?;
                post(place, leg.amount, link, op)
            }
            _ => Err("a member's leg in a program's event"),
        }
    }

    fn post_conversion(
        &mut self,
        op: Op,
        (number, asset, other): (ProgramNo, AssetNo, ProgramNo),
        amount: i64,
        link: u64,
    ) -> Step {
        if other == number || self.program(other).is_none() {
            return Err("an event settles with a program that is no other");
        }
        let program = self.program_mut(number).ok_or("the event's program is unknown")?;
        let books = program.books_mut(asset).ok_or("a leg is in an asset that there is not")?;
        let before = books.conversion(other);
        let mut posted = before.unwrap_or_default();
        post(&mut posted, amount, link, op)?;
        books.set_conversion(other, Some(posted));
        self.note(|_| Some(Undo::Conversion(number, asset, other, before)));
        Ok(())
    }

    fn campaign_mut(&mut self, program: ProgramNo, campaign: CampaignNo) -> Result<&mut Campaign, &'static str> {
        let program = self.program_mut(program).ok_or("the event's program is unknown")?;
        program.campaign_mut(campaign).ok_or("a leg's campaign is unknown")
    }

    fn note_purse(&mut self, program: ProgramNo, campaign: CampaignNo) {
        self.note(|ledger| {
            let purse = ledger.program(program)?.campaign(campaign)?.purse;
            Some(Undo::Purse(program, campaign, purse))
        });
    }

    fn count_share(&mut self, common: &Common<'_>, share: &super::event::Share) -> Step {
        self.note_purse(common.program, share.campaign);
        let program = self.program_mut(common.program).ok_or("the event's program is unknown")?;
        let purse = &mut program.campaign_mut(share.campaign).ok_or("a share's campaign is unknown")?.purse;
        let awarded = i64::try_from(share.awarded).map_err(|_| "a share overflows")?;
        purse.awarded = purse.awarded.checked_add(awarded).ok_or("a campaign's awards overflow")?;
        if share.stopped {
            purse.status = CampaignStatus::Stopped;
        }
        let (Some(cap), Some(member)) = (share.cap, common.member.number()) else {
            return Ok(());
        };
        if share.awarded > 0 {
            let key = (member, share.campaign, cap.span);
            let before = self.members.cap(&key);
            self.note(|_| Some(Undo::Cap(key, before)));
            let used = before.unwrap_or(0).checked_add(share.awarded).ok_or("a cap's counter overflows")?;
            self.members.set_cap(key, Some(used));
        }
        Ok(())
    }

    fn take_back(&mut self, op: Op, original: Op, refunded: &Refunded<'_>, from: &TakenFrom) -> Step {
        let common = &refunded.common;
        let before = self.take_refund(original, op.back(from.previous_link), op)?;
        self.note(|_| Some(Undo::TakenBack(original, before)));
        for (place, share) in from.shares.iter().enumerate() {
            self.note_purse(common.program, share.campaign);
            let purse = &mut self.campaign_mut(common.program, share.campaign)?.purse;
            let taken = share.taken.checked_sub(refunded.not_taken(FIRST_CAMPAIGN_PART + place));
            let taken = taken.and_then(|taken| i64::try_from(taken).ok()).ok_or("a share overflows")?;
            purse.awarded = purse.awarded.checked_sub(taken).ok_or("a campaign's awards overflow")?;
            if let (Some(span), Some(member)) = (share.cap, common.member.number()) {
                let key = (member, share.campaign, span);
                let before = self.members.cap(&key);
                self.note(|_| Some(Undo::Cap(key, before)));
                // A counter may have been forgotten since the earn and begun anew: it holds less than the refund.
                let used = before.map_or(0, |used| used.saturating_sub(share.taken));
                self.members.set_cap(key, Some(used).filter(|used| *used > 0));
            }
        }
        Ok(())
    }

    fn take_snapshot(&mut self, at: Moment, taken: &SnapshotTaken<'_>) -> Step {
        let before = self.snapshots.last().map(|snapshot| snapshot.op);
        if at.op.back(taken.previous_link) != before {
            return Err("a snapshot's link does not lead to the snapshot before it");
        }
        if self.snapshots.iter().any(|snapshot| snapshot.name == taken.name) {
            return Err("a snapshot of that name was taken before");
        }
        self.snapshots.push(SnapshotView {
            name: taken.name.to_owned(),
            op: at.op,
            book_time_us: at.book_time_us,
            retain_until_us: taken.retain_until_us,
            deleted: None,
        });
        Ok(())
    }

    fn delete_snapshot(&mut self, op: Op, deleted: &SnapshotDeleted<'_>) -> Step {
        let taken = op.back(deleted.taken_link).ok_or("a deleted snapshot is not linked")?;
        let mut found = self.snapshots.iter_mut().filter(|snapshot| snapshot.op == taken && snapshot.deleted.is_none());
        let snapshot = found.find(|snapshot| snapshot.name == deleted.name);
        snapshot.ok_or("a snapshot is deleted that there is not")?.deleted = Some(op);
        Ok(())
    }

    fn close_books(&mut self, at: Moment, closed: &PeriodClosed<'_>) -> Step {
        let program = self.program_mut(closed.common.program).ok_or("the event's program is unknown")?;
        let last = program.closings.last();
        if at.op.back(closed.previous_link) != last.map(|last| last.op) {
            return Err("a closing's link does not lead to the closing before it");
        }
        let later = last.is_none_or(|last| last.until_us < closed.until_us) && closed.until_us <= at.book_time_us;
        if !later || program.closings.len() >= CLOSINGS_MAX {
            return Err("a period is closed that is not over, or closed already");
        }
        program.closings.push(Closing { op: at.op, until_us: closed.until_us });
        Ok(())
    }

    fn put_program(&mut self, put: &ProgramPut<'_>) -> Step {
        let number = put.common.program;
        if usize::from(number.0) == self.programs.len() {
            let id = put.common.program_id.ok_or("a new program has no id")?;
            let zone = TimeZone::get(&put.spec.time_zone).map_err(|_| "a program's time zone is unknown")?;
            self.programs.push(Program {
                id: id.into(),
                zone,
                versions: Vec::new(),
                campaigns: Vec::new(),
                assets: Vec::new(),
                pieces: Accounts::default(),
                rewards: Rewards::default(),
                members: 0,
                closings: Vec::new(),
                tags: Vec::new(),
            });
        }
        let program = self.program_mut(number).ok_or("a program is created out of order")?;
        if usize::try_from(put.version.0).ok() != program.versions.len().checked_add(1) {
            return Err("a program's version does not follow the one before it");
        }
        if put.campaigns.len() != put.spec.campaigns.len() {
            return Err("a version has not as many numbers as campaigns");
        }
        for (campaign, spec) in put.campaigns.iter().zip(&put.spec.campaigns) {
            let count = program.campaigns.len();
            match program.campaign_mut(*campaign) {
                Some(known) if known.spec.id == spec.id => known.spec = spec.clone(),
                Some(_) => return Err("a campaign's number belongs to another"),
                None if usize::from(campaign.0) == count => {
                    let (status, budget) = (CampaignStatus::Open, Posted::default());
                    let purse = Purse { status, budget, funded: 0, awarded: 0 };
                    program.campaigns.push(Campaign { spec: spec.clone(), purse });
                }
                None => return Err("a campaign is created out of order"),
            }
        }
        let more = put.spec.more.as_deref().cloned().unwrap_or_default();
        program.grow_assets(more.assets.len());
        program.versions.push(Version {
            more,
            number: put.version,
            effective_from_us: put.effective_from_us,
            spec: Arc::new(put.spec.clone()),
            definition: put.definition.into(),
            campaigns: put.campaigns.clone(),
        });
        Ok(())
    }

    fn change_campaign(&mut self, op: Op, changed: &CampaignChanged<'_>) -> Step {
        let number = changed.common.program;
        let head = self
            .program(number)
            .and_then(|program| program.campaign(changed.campaign))
            .ok_or("an event's campaign is unknown")?
            .purse
            .budget
            .head;
        if changed.campaign_link != op.distance_from(head) {
            return Err("an event's link does not lead to the campaign's previous event");
        }
        for leg in changed.legs.iter() {
            self.post_program(op, number, leg)?;
        }
        let program = self.program_mut(number).ok_or("the event's program is unknown")?;
        let purse = &mut program.campaign_mut(changed.campaign).ok_or("an event's campaign is unknown")?.purse;
        purse.budget.head = op;
        if purse.budget.balance != changed.budget_after {
            return Err("the budget after the event is not what it says");
        }
        match changed.change {
            CampaignChange::Funded => {
                let credited = changed.legs.iter().find(|leg| leg.amount > 0).map_or(0, |leg| leg.amount);
                purse.funded = purse.funded.checked_add(credited).ok_or("a campaign's funds overflow")?;
            }
            CampaignChange::Paused => purse.status = CampaignStatus::Paused,
            CampaignChange::Resumed => purse.status = CampaignStatus::Open,
            CampaignChange::Closed => purse.status = CampaignStatus::Closed,
        }
        Ok(())
    }
}
