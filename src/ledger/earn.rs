//! Earning: what a purchase or another event gives, in which assets, and from whose account.

use smallvec::SmallVec;

use super::award::{self, Candidate, POINTS_MAX};
use super::command::{Action, Basis, Command, Matures};
use super::decide::{AMOUNT, ASSET, Halt, Refused, asset_of, cap_day, common_of, lot_for, may, roll};
use super::event::{Account, CapSpan, CapUse, EarnMore, Earned, Event, LotId, Share, Source, WINNERS_MAX};
use super::expiry::grace_minute;
use super::holding::{LotKey, PENDING_MAX, Pending, instant_of};
use super::ids::{AssetNo, MemberNo};
use super::later::Later;
use super::list::List;
use super::posting::{Posting, units};
use super::reason::Reason;
use super::spec::{AssetKind, CampaignSpec, PendingRule, Rule};
use super::state::{Ledger, Moment, Program, Version};
use super::view::CampaignStatus;

/// What an award gives in one asset: the base, and what campaigns add.
struct Gift {
    asset: AssetNo,
    base: u64,
    bonus: u64,
}

impl Ledger {
    pub(super) fn earn<'c>(
        &self,
        command: &'c Command,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let Action::Earn { basis, event_kind, asset, matures } = &command.action else {
            return Err((Reason::EventKindUnknown, "action").into());
        };
        let (basis, kind, asset) = (*basis, event_kind.as_deref(), *asset);
        let (program, version, occurred) = self.admit(command, at)?;
        let (base, field) = base_of(version, basis, kind, ("earn.event_kind", AMOUNT))?;
        let also = also_of(version, basis, kind)?;
        match asset_of(version, asset, ASSET)?.kind {
            AssetKind::Spendable | AssetKind::Qualifying => {}
            AssetKind::StoredValue | AssetKind::Entitlement => return Err((Reason::AssetKindMismatch, ASSET).into()),
        }
        let (member, mut posting) = self.posting(command, known, at)?;
        may(&posting.holding, false)?;
        self.takes_lots()?;
        let awards = [(asset, base), also.unwrap_or((asset, 0))];
        let mut shares = List::default();
        if let Some(kind) = kind {
            shares =
                self.shares(program, version, kind, known, occurred, &awards).ok_or((Reason::AmountOverflow, field))?;
            if !self.counters_fit(known, &shares, at) {
                return Err(Halt::Limit);
            }
        }
        let gifts = fund_award(program, &mut posting, (asset, base), also, &shares, field)?;
        let matures = matures.or_else(|| pending_by_rule(program, version.rule(kind.unwrap_or_default()), occurred));
        let matures = matures.filter(|matures| !matches!(matures, Matures::At(instant) if *instant <= at.book_time_us));
        let mut more = EarnMore { asset, also, matures: None, lapsed: Vec::new(), rolls: Vec::new() };
        for gift in &gifts {
            if let Some(until) = roll(program, version, gift.asset, &mut posting, occurred) {
                more.rolls.push((gift.asset, until));
            }
            let lot = |source| lot_for(program, version, gift.asset, source, occurred);
            let parts = [(lot(Source::Base), gift.base), (lot(Source::Campaign), gift.bonus)];
            match matures {
                Some(matures) => {
                    more.matures = Some(matures);
                    wait(&mut posting, gift.asset, &parts, matures, field)?;
                }
                None => match posting.credit(program, gift.asset, &parts, field)? {
                    0 => {}
                    lapsed => more.lapsed.push((gift.asset, lapsed)),
                },
            }
        }
        let common = common_of(command, member, &posting, at);
        let (version, legs, more) = (version.number, posting.legs_checked(field)?, more.said());
        Ok(Event::Earned(Earned { common, basis, event_kind: kind, version, base, shares, legs, more }))
    }

    /// The campaigns' shares in an award, in order of their ids: reckoned in each asset by itself. `None` where it
    /// overflows, or too many campaigns win.
    fn shares(
        &self,
        program: &Program,
        version: &Version,
        kind: &str,
        member: Option<MemberNo>,
        occurred_at_us: i64,
        awards: &[(AssetNo, u64)],
    ) -> Option<List<Share, WINNERS_MAX>> {
        let mut all: List<Share, WINNERS_MAX> = List::default();
        let candidates = self.candidates(program, version, kind, member, occurred_at_us);
        if candidates.is_empty() {
            return Some(all);
        }
        for (asset, base) in awards.iter().filter(|(_, base)| *base > 0) {
            for share in award::shares(*base, version.spec.greatest_total, *asset, &candidates)?.0 {
                all.0.try_push(share).ok()?;
            }
        }
        if all.len() < 2 {
            return Some(all);
        }
        let id = |share: &Share| program.campaign(share.campaign).map(|campaign| campaign.spec.id.as_str());
        all.0.sort_by(|a, b| id(a).cmp(&id(b)));
        Some(all)
    }

    /// Whether the counters that an award begins find room beside those that there are.
    fn counters_fit(&self, member: Option<MemberNo>, shares: &[Share], at: Moment) -> bool {
        let begins = |share: &&Share| {
            let key = member.zip(share.cap).map(|(member, cap)| (member, share.campaign, cap.span));
            share.cap.is_some() && share.awarded > 0 && key.as_ref().is_none_or(|key| self.members.cap(key).is_none())
        };
        let begun = shares.iter().filter(begins).count();
        let fits = |there: usize| there.saturating_add(begun) <= self.limits.cap_counters_max;
        begun == 0 || fits(self.members.caps_len()) || fits(self.caps_at(at.book_time_us))
    }

    /// The open campaigns of a version whose window and kinds take the event in.
    pub(crate) fn candidates<'s>(
        &self,
        program: &Program,
        version: &'s Version,
        kind: &str,
        member: Option<MemberNo>,
        occurred_at_us: i64,
    ) -> SmallVec<[Candidate<'s>; 8]> {
        let takes = |spec: &CampaignSpec| {
            spec.start_us <= occurred_at_us
                && occurred_at_us < spec.end_us
                && (spec.kinds.is_empty() || spec.kinds.iter().any(|known| known == kind))
        };
        let mut candidates = SmallVec::new();
        for (spec, number) in version.spec.campaigns.iter().zip(&version.campaigns).filter(|(spec, _)| takes(spec)) {
            let Some(campaign) = program.campaign(*number) else {
                continue;
            };
            if campaign.purse.status != CampaignStatus::Open {
                continue;
            }
            let cap = spec.cap.map(|cap| {
                let first_day = cap_day(&program.zone, cap.per, occurred_at_us).unwrap_or(0);
                let span = CapSpan { per: cap.per, first_day };
                let used = member.and_then(|m| self.members.cap(&(m, *number, span))).unwrap_or(0);
                CapUse { span, room: cap.points.saturating_sub(used) }
            });
            candidates.push(Candidate {
                campaign: *number,
                asset: spec.asset_no(),
                id: &spec.id,
                group: &spec.group,
                multiplier: spec.multiplier,
                budget_left: u64::try_from(campaign.purse.budget.balance).unwrap_or(0),
                cap,
                on_exhausted: spec.on_exhausted,
            });
        }
        candidates
    }
}

/// The base award of spend under the rule of its kind, or the points that the caller names.
pub(super) fn base_of(
    version: &Version,
    basis: Basis,
    event_kind: Option<&str>,
    (kind_field, amount_field): (&'static str, &'static str),
) -> Result<(u64, &'static str), Refused> {
    let rule = match event_kind {
        Some(kind) => Some(version.rule(kind).ok_or((Reason::EventKindUnknown, kind_field))?),
        None => None,
    };
    let base = match (basis, rule) {
        (Basis::Spend(amount), Some(rule)) => award::base(rule.rate, rule.rounding, amount),
        (Basis::Spend(_), None) => return Err((Reason::EventKindUnknown, kind_field)),
        (Basis::Points(points), _) => Some(points).filter(|points| *points <= POINTS_MAX),
    };
    Ok((base.ok_or((Reason::AmountOverflow, amount_field))?, amount_field))
}

/// The second award of spend under the rule of its kind.
pub(super) fn also_of(
    version: &Version,
    basis: Basis,
    event_kind: Option<&str>,
) -> Result<Option<(AssetNo, u64)>, Refused> {
    let rule = event_kind.and_then(|kind| version.rule(kind)).and_then(|rule| rule.more.as_deref());
    let (Basis::Spend(amount), Some(also)) = (basis, rule.and_then(|more| more.also)) else { return Ok(None) };
    let units = award::base(also.rate, also.rounding, amount).ok_or((Reason::AmountOverflow, AMOUNT))?;
    Ok(Some((also.asset, units)))
}

/// Until when a rule lets its awards wait.
fn pending_by_rule(program: &Program, rule: Option<&Rule>, occurred_at_us: i64) -> Option<Matures> {
    match rule?.more.as_deref()?.pending? {
        PendingRule::UntilActivated => Some(Matures::Activated),
        PendingRule::Days(days) => {
            let minute = grace_minute(&program.zone, days, occurred_at_us);
            Some(minute.map_or(Matures::Activated, |minute| Matures::At(instant_of(minute))))
        }
    }
}

/// Lets an award wait for its lots.
fn wait(
    posting: &mut Posting,
    asset: AssetNo,
    parts: &[(LotId, u64)],
    matures: Matures,
    field: &'static str,
) -> Result<(), Refused> {
    let earn = posting.op;
    for (lot, points) in parts.iter().filter(|(_, points)| *points > 0) {
        if posting.holding.pending.last().is_none_or(|pending| pending.earn != earn) {
            if posting.holding.pending.len() >= PENDING_MAX {
                return Err((Reason::PendingFull, "member"));
            }
            posting.holding.pending.push(Pending { earn, matures, parts: SmallVec::new() });
        }
        let fits = posting.holding.balances(asset).pending.checked_add(units(*points, field)?);
        fits.ok_or((Reason::AmountOverflow, field))?;
        if let Some(pending) = posting.holding.pending.last_mut() {
            pending.parts.push((LotKey { asset, lot: *lot }, *points));
        }
        posting.push(asset, Account::Pending { earn_link: 0, lot: *lot }, units(*points, field)?);
    }
    Ok(())
}

impl EarnMore {
    /// What is said, if anything is.
    fn said(self) -> Later<Self> {
        match self {
            Self { asset: AssetNo::POINTS, also: None, matures: None, lapsed, rolls }
                if lapsed.is_empty() && rolls.is_empty() =>
            {
                Later::default()
            }
            more => Later::new(more),
        }
    }
}

/// Puts the legs that pay for an award: `issuance` for what the rule gives, each campaign's budget for its share. What the
/// award comes to, by asset.
fn fund_award(
    program: &Program,
    posting: &mut Posting,
    (asset, base): (AssetNo, u64),
    also: Option<(AssetNo, u64)>,
    shares: &[Share],
    field: &'static str,
) -> Result<SmallVec<[Gift; 2]>, Halt> {
    let mut gifts: SmallVec<[Gift; 2]> = SmallVec::new();
    gifts.push(Gift { asset, base, bonus: 0 });
    gifts.extend(also.map(|(asset, base)| Gift { asset, base, bonus: 0 }));
    for gift in &gifts {
        posting.on_issuance(program, gift.asset, -units(gift.base, field)?);
    }
    for share in shares {
        posting.on_budget(program, share.campaign, -units(share.awarded, field)?);
        let asset = program.campaign(share.campaign).map_or(asset, |campaign| campaign.spec.asset_no());
        let gift = gifts.iter_mut().find(|gift| gift.asset == asset).ok_or((Reason::AmountOverflow, field))?;
        gift.bonus = gift.bonus.checked_add(share.awarded).ok_or((Reason::AmountOverflow, field))?;
    }
    Ok(gifts)
}
