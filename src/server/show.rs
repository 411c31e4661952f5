//! Events and members as readers are shown them.

#[cfg(test)]
mod tests;

use super::receipt::amounts::{counted, source};
use super::receipt::{Scribe, balance, points};
use crate::audit::chart::Class;
use crate::audit::explain::Line;
use crate::audit::past::MemberThen;
use crate::audit::told;
use crate::engine::names::{Names, POINTS};
use crate::engine::request::MemberState;
use crate::ledger::command::{Basis, Purpose, Standing};
use crate::ledger::event::{
    Account, AdminCommon, AdminKind, AssetBalances, CampaignChange, CommandKind, Common, Due, DueKind, Event, Expiry,
    Leg, LotId, Text,
};
use crate::ledger::ids::{AssetNo, Op, ProgramNo};
use crate::ledger::instant_of;
use crate::ledger::reward::pieces_of;
use crate::ledger::view::{AssetCard, Forecast, MemberCard};
use crate::proto as pb;

/// The event that is `op` of the book, as readers are shown it. `member` is the id of its member, empty for an event of
/// the program itself; of an event between two members [`super::receipt::name_other`] sets that of the other one.
#[must_use]
pub fn event(scribe: &Scribe<'_>, op: Op, book_time_us: i64, event: &Event<'_>, member: String) -> pb::Event {
    let (program, key, body_hash) = event.identity();
    let mut shown = pb::Event {
        receipt: Some(scribe.receipt(op, book_time_us, event, key.to_owned())),
        kind: kind(event).into(),
        member,
        program: program_id(scribe, event, program),
        body_hash: body_hash.to_vec(),
        occurred_at_us: book_time_us,
        asset: scribe.other_asset(program, counted(event)),
        rolling: rolling(scribe, program, event),
        legs: legs(scribe, program, event.legs()),
        late_for_us: scribe.names.late_for(program, op, told::dated_us(event, book_time_us)),
        other_legs: event.other().map(|other| legs(scribe, other.program, &other.legs)).unwrap_or_default(),
        other_rolling: event
            .other()
            .map(|other| rolling_of(scribe, other.program, other.rolls.iter().copied()))
            .unwrap_or_default(),
        ..pb::Event::default()
    };
    if let Some(common) = event.common() {
        show_common(&mut shown, common, book_time_us);
    }
    if let Some(common) = event.admin_common() {
        show_admin_common(&mut shown, common);
    }
    if let Some(claimed) = pieces_of(event) {
        shown.reward = scribe.reward(program, claimed.reward);
    }
    show_particulars(&mut shown, scribe, op, event);
    shown
}

fn program_id(scribe: &Scribe<'_>, event: &Event<'_>, program: ProgramNo) -> String {
    // A refused first version has the number that another program may have got since.
    let said = event.admin_common().and_then(|common| common.program_id);
    said.or_else(|| scribe.names.program(program).map(|names| names.id.as_str())).unwrap_or_default().to_owned()
}

fn show_common(shown: &mut pb::Event, common: &Common<'_>, book_time_us: i64) {
    shown.occurred_at_us = book_time_us.saturating_sub(common.behind_us);
    if let Some(notes) = &common.notes {
        shown.reference = clear(&notes.reference);
        shown.channel = clear(&notes.channel);
        shown.partner = clear(&notes.partner);
        shown.location = clear(&notes.location);
        shown.metadata = notes.metadata.iter().map(|(name, value)| (clear(name), clear(value))).collect();
    }
}

fn show_admin_common(shown: &mut pb::Event, common: &AdminCommon<'_>) {
    shown.actor = clear(&common.actor);
    shown.actor_reason = clear(&common.reason);
}

fn show_particulars(shown: &mut pb::Event, scribe: &Scribe<'_>, op: Op, event: &Event<'_>) {
    match event {
        Event::Earned(earned) => {
            show_basis(shown, earned.basis);
            shown.event_kind = earned.event_kind.unwrap_or_default().to_owned();
            shown.rule_version = earned.version.0;
        }
        Event::Refunded(refunded) => {
            show_basis(shown, refunded.basis);
            shown.event_kind = refunded.event_kind.unwrap_or_default().to_owned();
            shown.rule_version = refunded.version.0;
            shown.original_op = refunded.from.as_ref().map_or(0, |from| back(op, from.original_link));
        }
        Event::Redeemed(redeemed) => {
            shown.points = points(redeemed.points);
            shown.purpose = purpose(redeemed.purpose).into();
        }
        Event::Adjusted(adjusted) => {
            shown.points = adjusted.points;
            show_act(shown, &adjusted.actor, &adjusted.reason);
        }
        Event::Opened(opened) => {
            shown.points = opened.points;
            show_act(shown, &opened.actor, &opened.reason);
        }
        Event::StandingChanged(changed) => {
            shown.standing = standing(changed.change).into();
            show_act(shown, &changed.actor, &changed.reason);
        }
        Event::Activated(activated) => shown.original_op = back(op, activated.earn_link),
        Event::Reversed(reversed) => {
            shown.points = points(reversed.units);
            shown.original_op = back(op, reversed.original_link);
        }
        Event::Held(held) => {
            shown.points = points(held.units);
            shown.purpose = purpose(held.purpose).into();
            shown.hold_until_us = Some(held.until_us);
        }
        Event::Captured(captured) => {
            shown.points = points(captured.units);
            shown.purpose = purpose(captured.purpose).into();
            shown.hold_op = back(op, captured.hold_link);
        }
        Event::Released(released) => {
            shown.points = points(released.units);
            shown.hold_op = back(op, released.hold_link);
        }
        Event::Granted(granted) => {
            shown.points = points(granted.units);
            shown.bonus = points(granted.bonus);
        }
        Event::Transferred(transferred) => shown.points = points(transferred.units),
        Event::Converted(converted) => shown.points = points(converted.units),
        Event::MembersMerged(merged) => show_act(shown, &merged.actor, &merged.reason),
        Event::Due(due) => show_due(shown, op, due),
        Event::SnapshotTaken(taken) => {
            shown.snapshot = taken.name.to_owned();
            shown.retain_until_us = taken.retain_until_us;
        }
        Event::SnapshotDeleted(deleted) => shown.snapshot = deleted.name.to_owned(),
        Event::RewardPut(put) => {
            (shown.reward, shown.pieces, shown.price) = (put.sku.to_owned(), put.stocked, points(put.price));
        }
        Event::ClockConfirmed(confirmed) => shown.clock_from_us = Some(confirmed.from_us),
        Event::PeriodClosed(closed) => shown.closes_until_us = Some(closed.until_us),
        Event::ProgramPut(put) => shown.rule_version = put.version.0,
        Event::CampaignChanged(changed) => {
            shown.campaign = scribe.campaign(changed.common.program, changed.campaign);
            if changed.change == CampaignChange::Funded {
                shown.points = changed.legs.iter().map(|leg| leg.amount.max(0)).sum();
            }
        }
        _ => {}
    }
}

/// The op that lies `link` behind; 0 for none.
fn back(op: Op, link: u64) -> u64 {
    op.back(link).map_or(0, |op| op.0)
}

fn show_act(shown: &mut pb::Event, actor: &Text<'_>, reason: &Text<'_>) {
    shown.actor = clear(actor);
    shown.actor_reason = clear(reason);
}

fn show_due(shown: &mut pb::Event, op: Op, due: &Due) {
    match due.kind {
        DueKind::Expired { lapsed_min } => shown.effective_at_us = Some(instant_of(lapsed_min)),
        DueKind::LotsMerged => {}
        DueKind::Matured { earn_link, matured_us } => {
            shown.original_op = back(op, earn_link);
            shown.effective_at_us = Some(matured_us);
        }
        DueKind::HoldEnded { hold_link, ended_us } => {
            shown.hold_op = back(op, hold_link);
            shown.effective_at_us = Some(ended_us);
        }
    }
}

/// Until when the member's rolling units live from the event on.
fn rolling(scribe: &Scribe<'_>, program: ProgramNo, event: &Event<'_>) -> Vec<pb::Rolling> {
    let mut rolls: Vec<(AssetNo, u32)> = Vec::new();
    match event {
        Event::Earned(earned) => rolls.extend(earned.more.as_deref().iter().flat_map(|more| &more.rolls)),
        Event::Redeemed(redeemed) => {
            rolls.extend(redeemed.more.as_deref().and_then(|more| Some((more.asset, more.rolls?))));
        }
        Event::Adjusted(adjusted) => {
            rolls.extend(adjusted.more.as_deref().and_then(|more| Some((more.asset, more.rolls?))));
        }
        Event::Opened(opened) => rolls.extend(opened.more.as_deref().and_then(|more| Some((more.asset, more.rolls?)))),
        Event::Captured(captured) => rolls.extend(captured.rolls.map(|until| (captured.asset, until))),
        Event::Granted(granted) => rolls.extend(granted.rolls.map(|until| (granted.asset, until))),
        Event::Converted(converted) => rolls.extend(converted.rolls.map(|until| (converted.asset, until))),
        _ => {}
    }
    rolling_of(scribe, program, rolls.into_iter())
}

fn rolling_of(
    scribe: &Scribe<'_>,
    program: ProgramNo,
    rolls: impl Iterator<Item = (AssetNo, u32)>,
) -> Vec<pb::Rolling> {
    let shown = |(asset, until): (AssetNo, u32)| pb::Rolling {
        asset: scribe.asset(program, asset),
        expires_at_us: instant_of(until),
    };
    rolls.map(shown).collect()
}

fn show_basis(shown: &mut pb::Event, basis: Basis) {
    match basis {
        Basis::Spend(minor) => shown.amount_minor = points(minor),
        Basis::Points(units) => shown.points = points(units),
    }
}

/// Text under a scheme other than clear has no form for readers yet; this build writes none.
fn clear(text: &Text<'_>) -> String {
    if text.scheme == 0 { text.text.to_owned() } else { String::new() }
}

/// What an event did, or what a refused one was asked to do.
#[must_use]
pub fn kind(event: &Event<'_>) -> pb::Kind {
    match event {
        Event::Earned(_) => pb::Kind::Earn,
        Event::Refunded(_) => pb::Kind::Refund,
        Event::Redeemed(_) => pb::Kind::Redeem,
        Event::Adjusted(_) => pb::Kind::Adjust,
        Event::Opened(_) => pb::Kind::Opening,
        Event::SnapshotTaken(_) => pb::Kind::SnapshotTaken,
        Event::SnapshotDeleted(_) => pb::Kind::SnapshotDeleted,
        Event::ClockConfirmed(_) => pb::Kind::ClockConfirmed,
        Event::PeriodClosed(_) => pb::Kind::PeriodClosed,
        Event::Activated(_) => pb::Kind::Activate,
        Event::Reversed(_) => pb::Kind::Reverse,
        Event::Held(_) => pb::Kind::Hold,
        Event::Captured(_) => pb::Kind::Capture,
        Event::Released(_) => pb::Kind::Release,
        Event::Granted(granted) if granted.topped_up => pb::Kind::TopUp,
        Event::Granted(_) => pb::Kind::Grant,
        Event::Transferred(_) => pb::Kind::Transfer,
        Event::Converted(_) => pb::Kind::Convert,
        Event::MembersMerged(_) => pb::Kind::Merge,
        Event::MemberSet(_) => pb::Kind::MemberSet,
        Event::RewardPut(_) => pb::Kind::RewardPut,
        Event::CheckedOut(_) => pb::Kind::Checkout,
        Event::StandingChanged(_) => pb::Kind::Standing,
        Event::Due(due) => match due.kind {
            DueKind::Expired { .. } => pb::Kind::Expired,
            DueKind::LotsMerged => pb::Kind::LotsMerged,
            DueKind::Matured { .. } => pb::Kind::Matured,
            DueKind::HoldEnded { .. } => pb::Kind::HoldEnded,
        },
        Event::Rejected(rejected) => asked_for(rejected.kind),
        Event::ProgramPut(_) => pb::Kind::ProgramPut,
        Event::CampaignChanged(changed) => match changed.change {
            CampaignChange::Funded => pb::Kind::CampaignFunded,
            CampaignChange::Paused => pb::Kind::CampaignPaused,
            CampaignChange::Resumed => pb::Kind::CampaignResumed,
            CampaignChange::Closed => pb::Kind::CampaignClosed,
        },
        Event::AdminRejected(rejected) => match rejected.kind {
            AdminKind::PutProgram => pb::Kind::ProgramPut,
            AdminKind::FundCampaign => pb::Kind::CampaignFunded,
            AdminKind::PauseCampaign => pb::Kind::CampaignPaused,
            AdminKind::ResumeCampaign => pb::Kind::CampaignResumed,
            AdminKind::CloseCampaign => pb::Kind::CampaignClosed,
            AdminKind::CreateSnapshot => pb::Kind::SnapshotTaken,
            AdminKind::DeleteSnapshot => pb::Kind::SnapshotDeleted,
            AdminKind::ConfirmClock => pb::Kind::ClockConfirmed,
            AdminKind::ClosePeriod => pb::Kind::PeriodClosed,
            AdminKind::PutReward => pb::Kind::RewardPut,
        },
    }
}

/// What a refused command was to do.
fn asked_for(kind: CommandKind) -> pb::Kind {
    match kind {
        CommandKind::Earn => pb::Kind::Earn,
        CommandKind::Refund => pb::Kind::Refund,
        CommandKind::Redeem => pb::Kind::Redeem,
        CommandKind::Adjust => pb::Kind::Adjust,
        CommandKind::Opening => pb::Kind::Opening,
        CommandKind::Reverse => pb::Kind::Reverse,
        CommandKind::Hold => pb::Kind::Hold,
        CommandKind::Capture => pb::Kind::Capture,
        CommandKind::Release => pb::Kind::Release,
        CommandKind::Activate => pb::Kind::Activate,
        CommandKind::TopUp => pb::Kind::TopUp,
        CommandKind::Grant => pb::Kind::Grant,
        CommandKind::Standing => pb::Kind::Standing,
        CommandKind::Transfer => pb::Kind::Transfer,
        CommandKind::Convert => pb::Kind::Convert,
        CommandKind::Merge => pb::Kind::Merge,
        CommandKind::MemberSet => pb::Kind::MemberSet,
        CommandKind::Checkout => pb::Kind::Checkout,
    }
}

/// The legs; those on lots of one account and asset that go the same way are joined in one.
fn legs(scribe: &Scribe<'_>, program: ProgramNo, legs: &[Leg]) -> Vec<pb::Leg> {
    let mut shown: Vec<pb::Leg> = Vec::with_capacity(legs.len());
    for leg in legs {
        let account = Class::of(&leg.account).name_in(scribe.names, program).unwrap_or_default();
        let (asset, lot) = (scribe.asset(program, leg.asset), lot_part(leg));
        let joins = |joined: &&mut pb::Leg| {
            let alike = joined.account == account && joined.asset == asset;
            lot.is_some() && alike && (joined.amount < 0) == (leg.amount < 0)
        };
        match shown.iter_mut().find(joins) {
            Some(joined) => {
                joined.amount = joined.amount.saturating_add(leg.amount);
                joined.lots.extend(lot);
            }
            None => {
                let lots = lot.into_iter().collect();
                shown.push(pb::Leg { account, asset, amount: leg.amount, lots });
            }
        }
    }
    shown
}

/// Units of a lot on one leg; `None` for a leg on no lot.
#[must_use]
pub fn lot_part(leg: &Leg) -> Option<pb::LotPart> {
    let (LotId { source: from, expiry }, position) = match leg.account {
        Account::Available { lot, position } => (lot, Some(position)),
        Account::Held { lot, position } => (lot, position),
        Account::Free { lot } | Account::Pending { lot, .. } => (lot, None),
        _ => return None,
    };
    Some(pb::LotPart {
        source: source(from).into(),
        expires_at_us: match expiry {
            Expiry::At(minute) => Some(instant_of(minute)),
            Expiry::Never | Expiry::Rolling => None,
        },
        units: leg.amount.saturating_abs(),
        position: position.map(points),
        rolling: expiry == Expiry::Rolling,
    })
}

fn standing(standing: Standing) -> pb::Standing {
    match standing {
        Standing::Open => pb::Standing::Open,
        Standing::Frozen => pb::Standing::Frozen,
        Standing::Closed => pb::Standing::Closed,
    }
}

fn purpose(purpose: Purpose) -> pb::Purpose {
    match purpose {
        Purpose::CashOffset => pb::Purpose::CashOffset,
        Purpose::Gift => pb::Purpose::Gift,
        Purpose::Coupon => pb::Purpose::Coupon,
        Purpose::Lottery => pb::Purpose::Lottery,
        Purpose::Charity => pb::Purpose::Charity,
        Purpose::Miles => pb::Purpose::Miles,
        Purpose::Payment => pb::Purpose::Payment,
        Purpose::Use => pb::Purpose::Use,
    }
}

/// A member as it is now.
#[must_use]
pub fn member(names: &Names, program: ProgramNo, id: String, state: &MemberState, card: &MemberCard) -> pb::Member {
    let assets: Vec<_> = card.assets.iter().map(|asset| asset_card(names, program, asset)).collect();
    let points = assets.iter().find(|asset| asset.asset == POINTS);
    let balance = |card: &pb::AssetCard| pb::Balance {
        available: card.available,
        debt: card.debt,
        held: card.held,
        pending: card.pending,
    };
    pb::Member {
        id,
        balance: Some(points.map(balance).unwrap_or_default()),
        last_op: state.head.0,
        standing: standing(card.standing).into(),
        assets,
        joined_on: card.joined_day.and_then(told::day_text),
        tags: card.tags.clone(),
        aliases: u32::try_from(card.aliases).unwrap_or(u32::MAX),
    }
}

/// A member as a past event left it: what was lapsed by then and not yet in `breakage` is available.
#[must_use]
pub fn past_member(names: &Names, program: ProgramNo, id: String, then: &MemberThen) -> pb::Member {
    let card = |balances: &AssetBalances| {
        let card = AssetCard { balances: *balances, lapsed: 0, next_lapse: None };
        asset_card(names, program, &card)
    };
    let points = then.balances.iter().find(|balances| balances.asset == AssetNo::POINTS);
    pb::Member {
        id,
        balance: Some(points.map(balance).unwrap_or_default()),
        last_op: then.head.0,
        assets: then.balances.iter().map(card).collect(),
        ..Default::default()
    }
}

fn asset_card(names: &Names, program: ProgramNo, card: &AssetCard) -> pb::AssetCard {
    let AssetCard { balances, lapsed, next_lapse } = *card;
    pb::AssetCard {
        asset: names.asset(program, balances.asset).unwrap_or_default().to_owned(),
        available: balances.available.saturating_sub(lapsed),
        held: balances.held,
        pending: balances.pending,
        debt: balances.debt,
        lapsed,
        next_expiry_at_us: next_lapse.map(|(minute, _)| instant_of(minute)),
        next_expiry_units: next_lapse.map_or(0, |(_, units)| units),
    }
}

/// A step of an explanation.
#[must_use]
pub fn line(line: Line) -> pb::ExplanationLine {
    let number = |(name, value): (&str, i64)| pb::NamedNumber { name: name.to_owned(), value };
    pb::ExplanationLine {
        name: line.name.to_owned(),
        text: line.text,
        asset: line.asset,
        campaign: line.campaign,
        numbers: line.numbers.into_iter().map(number).collect(),
        lot: line.leg.as_ref().and_then(lot_part),
    }
}

/// Units that lapse together.
#[must_use]
pub fn expiring(names: &Names, program: ProgramNo, forecast: &Forecast) -> pb::Expiring {
    pb::Expiring {
        asset: names.asset(program, forecast.asset).unwrap_or_default().to_owned(),
        expires_at_us: instant_of(forecast.at_min),
        units: forecast.units,
    }
}
