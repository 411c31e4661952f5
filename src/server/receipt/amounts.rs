//! What a receipt says of amounts: awarded, asked, taken, owed, kind by kind.

use super::{Scribe, number, points};
use crate::ledger::event::{
    Account, Captured, DueKind, Earned, Event, FIRST_CAMPAIGN_PART, Granted, Held, Leg, Matures, Refunded, Released,
    Reversed, Source,
};
use crate::ledger::ids::{AssetNo, Op, ProgramNo};
use crate::proto as pb;

/// The number of a refund's part that is the original's base.
const BASE_PART: usize = 0;
/// That of the second award.
const ALSO_PART: usize = 1;

impl Scribe<'_> {
    pub(super) fn amounts(&self, receipt: &mut pb::Receipt, op: Op, event: &Event<'_>) {
        let program = event.identity().0;
        let asset = counted(event);
        receipt.asset = self.other_asset(program, asset);
        match event {
            Event::Earned(earned) => self.earned(receipt, earned),
            Event::Activated(activated) => self.became_available(receipt, program, &activated.legs),
            Event::Due(due) if matches!(due.kind, DueKind::Matured { .. }) => {
                self.became_available(receipt, program, &due.legs);
            }
            Event::Refunded(refunded) => {
                self.refunded(receipt, refunded);
                taken_from(receipt, asset, &refunded.legs);
            }
            Event::Redeemed(redeemed) => {
                let more = redeemed.more.as_deref().cloned().unwrap_or_default();
                receipt.asked = points(more.asked.max(redeemed.points));
                receipt.taken = points(redeemed.points);
                receipt.offset_minor = points(more.minor);
            }
            Event::Adjusted(adjusted) if adjusted.points > 0 => receipt.awarded = adjusted.points,
            Event::Adjusted(adjusted) => {
                receipt.asked = adjusted.points.saturating_neg();
                receipt.taken = receipt.asked;
            }
            Event::Opened(opened) if opened.points > 0 => receipt.awarded = opened.points,
            Event::Opened(opened) => receipt.owed = opened.points.saturating_neg(),
            Event::Reversed(reversed) => undone(receipt, op, reversed),
            Event::Held(held) => receipt.hold = Some(pinned(op, held)),
            Event::Captured(captured) => {
                receipt.asked = points(captured.units);
                receipt.taken = receipt.asked;
                receipt.hold = Some(captured_from(op, captured));
            }
            Event::Released(released) => receipt.hold = Some(let_go(op, released)),
            Event::Granted(Granted { units, bonus, .. }) => receipt.awarded = points(units.saturating_add(*bonus)),
            Event::Transferred(transferred) => {
                receipt.asked = points(transferred.units);
                receipt.taken = receipt.asked;
            }
            Event::Converted(converted) => {
                receipt.asked = points(converted.asked);
                receipt.taken = points(converted.units);
            }
            Event::MembersMerged(_) => {}
            Event::MemberSet(_) | Event::RewardPut(_) | Event::CheckedOut(_) => {}
            Event::StandingChanged(_) | Event::Due(_) | Event::Rejected(_) | Event::AdminRejected(_) => {}
            Event::ProgramPut(_) | Event::CampaignChanged(_) | Event::ClockConfirmed(_) => {}
            Event::SnapshotTaken(_) | Event::SnapshotDeleted(_) | Event::PeriodClosed(_) => {}
        }
    }

    fn earned(&self, receipt: &mut pb::Receipt, earned: &Earned<'_>) {
        let program = earned.common.program;
        let mut awards = Vec::with_capacity(1 + earned.shares.len());
        let base = |asset: AssetNo, units: u64| pb::Award {
            source: pb::Source::Base.into(),
            campaign: String::new(),
            desired: points(units),
            awarded: points(units),
            reason: 0,
            asset: self.other_asset(program, asset),
        };
        if earned.base != 0 {
            awards.push(base(counted_of_earn(earned), earned.base));
        }
        let more = earned.more.as_deref();
        if let Some((asset, units)) = more.and_then(|more| more.also).filter(|(_, units)| *units != 0) {
            awards.push(base(asset, units));
        }
        let campaigns = awards.len();
        for share in earned.shares.iter().filter(|share| share.awarded != 0 || share.short != 0) {
            awards.push(pb::Award {
                source: pb::Source::Campaign.into(),
                campaign: self.campaign(program, share.campaign),
                desired: points(share.awarded).saturating_add(points(share.short)),
                awarded: points(share.awarded),
                reason: number(share.reason),
                asset: self.other_asset(program, self.names.campaign_asset(program, share.campaign)),
            });
        }
        if let Some(campaigns) = awards.get_mut(campaigns..) {
            campaigns.sort_unstable_by(|a, b| a.campaign.cmp(&b.campaign));
        }
        receipt.pending = more.and_then(|more| more.matures).map(|matures| pb::Pending {
            until_us: match matures {
                Matures::At(us) => Some(us),
                Matures::Activated => None,
            },
        });
        sum_awards(receipt, awards);
    }

    /// What was pending and is so no more, by asset and source.
    fn became_available(&self, receipt: &mut pb::Receipt, program: ProgramNo, legs: &[Leg]) {
        let mut awards: Vec<pb::Award> = Vec::new();
        for leg in legs {
            let Account::Pending { lot, .. } = leg.account else { continue };
            let (units, source) = (leg.amount.saturating_neg(), i32::from(source(lot.source)));
            let asset = self.other_asset(program, leg.asset);
            match awards.iter_mut().find(|known| known.asset == asset && known.source == source) {
                Some(known) => known.awarded = known.awarded.saturating_add(units),
                None => awards.push(pb::Award { source, awarded: units, asset, ..Default::default() }),
            }
        }
        for award in &mut awards {
            award.desired = award.awarded;
        }
        sum_awards(receipt, awards);
    }

    fn refunded(&self, receipt: &mut pb::Receipt, refunded: &Refunded<'_>) {
        let program = refunded.common.program;
        let more = refunded.more.as_deref();
        let base = |part: usize, asset: AssetNo, (original, taken, taken_total): (u64, u64, u64)| pb::TakeBack {
            source: pb::Source::Base.into(),
            campaign: String::new(),
            original: points(original),
            taken: points(taken),
            taken_total: points(taken_total),
            asset: self.other_asset(program, asset),
            not_taken: points(refunded.not_taken(part)),
        };
        let mut parts = Vec::new();
        let (original, total) = refunded.from.as_ref().map_or((0, 0), |from| (from.base_of, from.base_total));
        if refunded.base != 0 || original != 0 {
            let asset = more.map(|more| more.asset).unwrap_or_default();
            parts.push(base(BASE_PART, asset, (original, refunded.base, total)));
        }
        if let Some(also) = more.and_then(|more| more.also).filter(|also| also.of != 0 || also.taken != 0) {
            parts.push(base(ALSO_PART, also.asset, (also.of, also.taken, also.taken_total)));
        }
        let campaigns = parts.len();
        let shares = refunded.from.iter().flat_map(|from| from.shares.iter());
        for (part, share) in (FIRST_CAMPAIGN_PART..).zip(shares).filter(|(_, share)| share.of != 0) {
            parts.push(pb::TakeBack {
                source: pb::Source::Campaign.into(),
                campaign: self.campaign(program, share.campaign),
                original: points(share.of),
                taken: points(share.taken),
                taken_total: points(share.taken_total),
                asset: self.other_asset(program, self.names.campaign_asset(program, share.campaign)),
                not_taken: points(refunded.not_taken(part)),
            });
        }
        if let Some(campaigns) = parts.get_mut(campaigns..) {
            campaigns.sort_unstable_by(|a, b| a.campaign.cmp(&b.campaign));
        }
        let counted = parts.iter().filter(|part| part.asset == receipt.asset);
        (receipt.asked, receipt.not_taken) =
            counted.fold((0, 0), |(asked, not), part| (asked + part.taken, not + part.not_taken));
        receipt.taken_back = parts;
    }
}

/// The asset that the amounts of an event count.
pub(in crate::server) fn counted(event: &Event<'_>) -> AssetNo {
    match event {
        Event::Earned(earned) => counted_of_earn(earned),
        Event::Refunded(refunded) => refunded.more.as_deref().map(|more| more.asset).unwrap_or_default(),
        Event::Redeemed(redeemed) => redeemed.more.as_deref().map(|more| more.asset).unwrap_or_default(),
        Event::Adjusted(adjusted) => adjusted.more.as_deref().map(|more| more.asset).unwrap_or_default(),
        Event::Opened(opened) => opened.more.as_deref().map(|more| more.asset).unwrap_or_default(),
        Event::Reversed(reversed) => reversed.asset,
        Event::Held(held) => held.asset,
        Event::Captured(captured) => captured.asset,
        Event::Released(released) => released.asset,
        Event::Granted(granted) => granted.asset,
        Event::RewardPut(put) => put.asset,
        Event::Transferred(transferred) => transferred.asset,
        Event::Converted(converted) => converted.asset,
        _ => AssetNo::POINTS,
    }
}

fn counted_of_earn(earned: &Earned<'_>) -> AssetNo {
    earned.more.as_deref().map(|more| more.asset).unwrap_or_default()
}

/// Where units come from, as the contract has it.
pub(in crate::server) fn source(source: Source) -> pb::Source {
    match source {
        Source::Base => pb::Source::Base,
        Source::Campaign => pb::Source::Campaign,
        Source::Granted => pb::Source::Granted,
        Source::Opening => pb::Source::Opening,
        Source::Bonus => pb::Source::Bonus,
        Source::Transferred => pb::Source::Transferred,
    }
}

fn sum_awards(receipt: &mut pb::Receipt, awards: Vec<pb::Award>) {
    let counted = awards.iter().filter(|award| award.asset == receipt.asset);
    (receipt.desired, receipt.awarded) =
        counted.fold((0, 0), |(desired, awarded), award| (desired + award.desired, awarded + award.awarded));
    receipt.awards = awards;
}

/// What a taking back took, and from where.
fn taken_from(receipt: &mut pb::Receipt, asset: AssetNo, legs: &[Leg]) {
    receipt.taken = debits(legs, asset, |account| matches!(account, Account::Available { .. }));
    receipt.cancelled = debits(legs, asset, |account| matches!(account, Account::Pending { .. }));
    receipt.owed = debits(legs, asset, |account| matches!(account, Account::Debt));
}

fn undone(receipt: &mut pb::Receipt, op: Op, reversed: &Reversed<'_>) {
    let legs = &reversed.legs;
    // Where units came back, they came from the account that they had gone to.
    let from = |account: &Account| matches!(account, Account::Redemption { .. } | Account::Adjustment { .. });
    let spending = legs.iter().any(|leg| from(&leg.account) && leg.amount < 0);
    if !spending {
        taken_from(receipt, reversed.asset, legs);
        receipt.not_taken = points(reversed.not_taken);
        let lapsed = debits(legs, reversed.asset, |account| matches!(account, Account::Breakage { .. }));
        receipt.asked = [receipt.taken, receipt.cancelled, receipt.owed, receipt.not_taken, lapsed].iter().sum();
    }
    receipt.reversal = Some(pb::Reversal {
        original_op: op.back(reversed.original_link).map_or(0, |op| op.0),
        original: points(reversed.of),
        units: points(reversed.units),
        units_total: points(reversed.units_total),
        returned: if spending { points(reversed.units.saturating_sub(reversed.lapsed)) } else { 0 },
    });
}

fn pinned(op: Op, held: &Held<'_>) -> pb::HoldState {
    pb::HoldState { op: op.0, units: points(held.units), until_us: Some(held.until_us), ..Default::default() }
}

fn captured_from(op: Op, captured: &Captured<'_>) -> pb::HoldState {
    let hold = op.back(captured.hold_link).map_or(0, |op| op.0);
    pb::HoldState { op: hold, released: points(captured.released), over: captured.over, ..Default::default() }
}

fn let_go(op: Op, released: &Released<'_>) -> pb::HoldState {
    let hold = op.back(released.hold_link).map_or(0, |op| op.0);
    pb::HoldState { op: hold, released: points(released.units), over: true, ..Default::default() }
}

/// What the legs took of an asset from the accounts that `of` picks.
fn debits(legs: &[Leg], asset: AssetNo, of: impl Fn(&Account) -> bool) -> i64 {
    let taken = legs.iter().filter(|leg| leg.asset == asset && leg.amount < 0 && of(&leg.account));
    taken.map(|leg| leg.amount.saturating_neg()).sum()
}
