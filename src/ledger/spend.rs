//! Spending, giving and operators' acts: everything on one member that is neither an earn nor a taking back.

use super::award::POINTS_MAX;
use super::command::{Action, Command, Purpose, Standing};
use super::decide::{AMOUNT, ASSET, Halt, LAPSES, Refused, asset_of, clear, common_of, lot_for, may, roll};
use super::event::{
    Account, Adjusted, AssetMore, Claimed, Event, Expiry, Granted, LotId, Opened, Redeemed, Source, StandingChanged,
};
use super::holding::{MINUTE_US, instant_of};
use super::ids::{AssetNo, MemberNo};
use super::later::Later;
use super::posting::{Posting, units};
use super::reason::Reason;
use super::reward;
use super::spec::{AssetKind, AssetSpec};
use super::state::{Ledger, Moment, Program, Version};

/// Refuses a purpose that an asset is not spent on.
pub(super) fn spendable_on(spec: &AssetSpec, purpose: Purpose) -> Result<(), Refused> {
    let fits = match spec.kind {
        AssetKind::Spendable => !matches!(purpose, Purpose::Payment | Purpose::Use),
        AssetKind::StoredValue => purpose == Purpose::Payment,
        AssetKind::Entitlement => purpose == Purpose::Use,
        AssetKind::Qualifying => false,
    };
    if fits { Ok(()) } else { Err((Reason::AssetKindMismatch, ASSET)) }
}

/// Stored value is spent principal first.
pub(super) fn bonus_last(spec: &AssetSpec) -> bool {
    spec.kind == AssetKind::StoredValue
}

/// The last minute that an instant lies in or before, so that units live at least as long as was said.
fn minute_after(instant_us: i64) -> Option<u32> {
    let minutes = instant_us.div_euclid(MINUTE_US) + i64::from(instant_us.rem_euclid(MINUTE_US) > 0);
    u32::try_from(minutes).ok()
}

/// The lot of units that are given with a date of their own, or as the asset's policy says.
fn lot_until(
    program: &Program,
    version: &Version,
    (asset, source): (AssetNo, Source),
    lapses_us: Option<i64>,
    (occurred_us, at): (i64, Moment),
) -> Result<LotId, Refused> {
    let Some(lapses_us) = lapses_us else { return Ok(lot_for(program, version, asset, source, occurred_us)) };
    let minute = minute_after(lapses_us).ok_or((Reason::LapsesPast, LAPSES))?;
    match instant_of(minute) > at.book_time_us {
        true => Ok(LotId { source, expiry: Expiry::At(minute) }),
        false => Err((Reason::LapsesPast, LAPSES)),
    }
}

impl Ledger {
    pub(super) fn redeem<'c>(
        &self,
        command: &'c Command,
        (asset, points, purpose): (AssetNo, u64, Purpose),
        claimed: Option<Claimed>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, occurred) = self.admit(command, at)?;
        let spec = asset_of(version, asset, ASSET)?;
        spendable_on(spec, purpose)?;
        let (member, mut posting) = self.posting_of(command, known, at)?;
        may(&posting.holding, true)?;
        let mut more = AssetMore { asset, claimed, ..AssetMore::default() };
        // What a reward costs is no offset against a price.
        let offsets = claimed.is_none() && purpose == Purpose::CashOffset && asset == AssetNo::POINTS;
        let offset = version.more.offset.filter(|_| offsets);
        let spent = match offset {
            None => points,
            Some(offset) => {
                let whole = points.checked_div(offset.points).ok_or((Reason::OffsetTooSmall, AMOUNT))?;
                let minor = whole.checked_mul(offset.minor).filter(|minor| (1..=POINTS_MAX).contains(minor));
                (more.asked, more.minor) = (points, minor.ok_or((Reason::OffsetTooSmall, AMOUNT))?);
                whole * offset.points
            }
        };
        if more.asked == spent {
            more.asked = 0;
        }
        if posting.debit(asset, spent, &[], bonus_last(spec)) > 0 {
            return Err((Reason::InsufficientPoints, AMOUNT).into());
        }
        spend_on(program, &mut posting, asset, purpose, units(spent, AMOUNT)?);
        if let Some(claimed) = claimed {
            reward::sell(program, &mut posting, claimed, purpose)?;
        }
        more.rolls = roll(program, version, asset, &mut posting, occurred);
        let common = common_of(command, member, &posting, at);
        let (legs, more) = (posting.legs_checked(AMOUNT)?, Later::new(more));
        Ok(Event::Redeemed(Redeemed { common, points: spent, purpose, legs, more }))
    }

    pub(super) fn adjust<'c>(
        &self,
        command: &'c Command,
        (asset, points): (AssetNo, i64),
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let Action::Adjust { actor, reason, .. } = &command.action else {
            return Err((Reason::AmountOverflow, AMOUNT).into());
        };
        let (program, version, occurred) = self.admit(command, at)?;
        let spec = asset_of(version, asset, ASSET)?;
        if points < 0 && known.is_none() {
            return Err((Reason::MemberUnknown, "member").into());
        }
        let (member, mut posting) = self.posting(command, known, at)?;
        let link = at.op.distance_from(program.accounts(asset).adjustment.head);
        let taken = points.checked_neg().ok_or((Reason::AmountOverflow, AMOUNT))?;
        posting.push(asset, Account::Adjustment { link }, taken);
        let mut more = AssetMore { asset, ..AssetMore::default() };
        if points > 0 {
            may(&posting.holding, false)?;
            self.takes_lots()?;
            more.rolls = roll(program, version, asset, &mut posting, occurred);
            let lot = lot_for(program, version, asset, Source::Granted, occurred);
            more.lapsed = posting.credit(program, asset, &[(lot, points.unsigned_abs())], AMOUNT)?;
        } else if posting.debit(asset, points.unsigned_abs(), &[], bonus_last(spec)) > 0 {
            return Err((Reason::InsufficientPoints, AMOUNT).into());
        }
        let common = common_of(command, member, &posting, at);
        let (actor, reason) = (clear(actor), clear(reason));
        let (legs, more) = (posting.legs_checked(AMOUNT)?, Later::new(more));
        Ok(Event::Adjusted(Adjusted { common, points, actor, reason, legs, more }))
    }

    /// A balance brought over from another system: units go through the member's account as any credit does, and a debt
    /// is owed as it was there, whatever the member has here.
    pub(super) fn opening<'c>(
        &self,
        command: &'c Command,
        (asset, points): (AssetNo, i64),
        lapses_us: Option<i64>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let Action::Opening { actor, reason, .. } = &command.action else {
            return Err((Reason::AmountOverflow, AMOUNT).into());
        };
        let newest = self.program(command.program).and_then(Program::newest);
        if newest.is_some_and(|newest| !newest.spec.import_mode) {
            return Err((Reason::NotImporting, "opening").into());
        }
        let (program, version, occurred) = self.admit(command, at)?;
        asset_of(version, asset, ASSET)?;
        let (member, mut posting) = self.posting(command, known, at)?;
        may(&posting.holding, false)?;
        self.takes_lots()?;
        let link = at.op.distance_from(program.accounts(asset).opening.head);
        let brought = points.checked_neg().ok_or((Reason::AmountOverflow, AMOUNT))?;
        posting.push(asset, Account::Opening { link }, brought);
        let mut more = AssetMore { asset, ..AssetMore::default() };
        if points > 0 {
            more.rolls = roll(program, version, asset, &mut posting, occurred);
            let lot = lot_until(program, version, (asset, Source::Opening), lapses_us, (occurred, at))?;
            more.lapsed = posting.credit(program, asset, &[(lot, points.unsigned_abs())], AMOUNT)?;
        } else {
            posting.owe(asset, points.unsigned_abs(), AMOUNT)?;
        }
        let common = common_of(command, member, &posting, at);
        let (actor, reason) = (clear(actor), clear(reason));
        let (legs, more) = (posting.legs_checked(AMOUNT)?, Later::new(more));
        Ok(Event::Opened(Opened { common, points, actor, reason, legs, more }))
    }

    pub(super) fn top_up<'c>(
        &self,
        command: &'c Command,
        (asset, principal, bonus): (AssetNo, u64, u64),
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, occurred) = self.admit(command, at)?;
        if asset_of(version, asset, ASSET)?.kind != AssetKind::StoredValue {
            return Err((Reason::AssetKindMismatch, ASSET).into());
        }
        let (member, mut posting) = self.posting(command, known, at)?;
        may(&posting.holding, false)?;
        self.takes_lots()?;
        let link = at.op.distance_from(program.accounts(asset).cash.head);
        posting.push(asset, Account::Cash { link }, -units(principal, AMOUNT)?);
        posting.on_issuance(program, asset, -units(bonus, "top_up.bonus_minor")?);
        let rolls = roll(program, version, asset, &mut posting, occurred);
        let lot = |source| lot_for(program, version, asset, source, occurred);
        let parts = [(lot(Source::Base), principal), (lot(Source::Bonus), bonus)];
        let lapsed = posting.credit(program, asset, &parts, AMOUNT)?;
        let common = common_of(command, member, &posting, at);
        let legs = posting.legs_checked(AMOUNT)?;
        Ok(Event::Granted(Granted { common, asset, topped_up: true, units: principal, bonus, lapsed, rolls, legs }))
    }

    pub(super) fn grant<'c>(
        &self,
        command: &'c Command,
        (asset, granted): (AssetNo, u64),
        lapses_us: Option<i64>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, occurred) = self.admit(command, at)?;
        if asset_of(version, asset, ASSET)?.kind != AssetKind::Entitlement {
            return Err((Reason::AssetKindMismatch, ASSET).into());
        }
        let (member, mut posting) = self.posting(command, known, at)?;
        may(&posting.holding, false)?;
        self.takes_lots()?;
        posting.on_issuance(program, asset, -units(granted, AMOUNT)?);
        let rolls = roll(program, version, asset, &mut posting, occurred);
        let lot = lot_until(program, version, (asset, Source::Granted), lapses_us, (occurred, at))?;
        let lapsed = posting.credit(program, asset, &[(lot, granted)], AMOUNT)?;
        let common = common_of(command, member, &posting, at);
        let legs = posting.legs_checked(AMOUNT)?;
        Ok(Event::Granted(Granted { common, asset, topped_up: false, units: granted, bonus: 0, lapsed, rolls, legs }))
    }

    /// A member who is closed loses what he has by what falls due next.
    pub(super) fn stand<'c>(
        &self,
        command: &'c Command,
        change: Standing,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let Action::Standing { actor, reason, .. } = &command.action else {
            return Err((Reason::StandingUnchanged, "action").into());
        };
        self.admit(command, at)?;
        let (member, mut posting) = self.posting_of(command, known, at)?;
        may(&posting.holding, false)?;
        if posting.holding.standing == change {
            return Err((Reason::StandingUnchanged, "action").into());
        }
        posting.holding.standing = change;
        let common = common_of(command, member, &posting, at);
        let (actor, reason) = (clear(actor), clear(reason));
        Ok(Event::StandingChanged(StandingChanged { common, change, actor, reason }))
    }
}

/// Puts what was spent on its account.
pub(super) fn spend_on(program: &Program, posting: &mut Posting, asset: AssetNo, purpose: Purpose, spent: i64) {
    let accounts = program.accounts(asset);
    let head = accounts.redemption.get(purpose.place()).map_or_else(Default::default, |posted| posted.head);
    let link = posting.op.distance_from(head);
    posting.push(asset, Account::Redemption { purpose, link }, spent);
}
