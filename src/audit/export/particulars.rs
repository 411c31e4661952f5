//! What the events of one kind say, and no others.

use serde_json::json;

use crate::audit::told;
use crate::ledger::command::{Basis, Matures};
use crate::ledger::event::{
    AssetMore, CampaignChange, Captured, Claimed, Converted, Due, DueKind, Event, Leg, MemberSet, RefundMore, Refunded,
    Reversed, Text,
};
use crate::ledger::ids::{AssetNo, Op};
use crate::ledger::reward::pieces_of;

use super::ExportError;
use super::columns::{EventRow, Instant, time_text};
use super::members::{standing_name, tags_text};
use super::rows::{Assets, clear, minute, text_of};

/// Fills what only events of its kind say. One arm for each kind: another kind must say here what it says.
pub(super) fn fill_particulars(row: &mut EventRow, event: &Event<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    match event {
        Event::Earned(earned) => {
            fill_basis(row, earned.basis);
            earned.event_kind.unwrap_or_default().clone_into(&mut row.event_kind);
            row.rule_version = Some(earned.version.0.into());
            let more = earned.more.as_deref().cloned().unwrap_or_default();
            row.asset = assets.id(more.asset)?;
            row.lapsed = assets.units(&more.lapsed)?;
            row.rolls = rolls(&more.rolls, assets)?;
            row.until = match more.matures {
                Some(Matures::At(us)) => Some(Instant(us)),
                Some(Matures::Activated) | None => None,
            };
        }
        Event::Refunded(refunded) => fill_refund(row, refunded, assets)?,
        Event::Redeemed(redeemed) => {
            row.units = i64::try_from(redeemed.points).ok();
            redeemed.purpose.name().clone_into(&mut row.purpose);
            fill_more(row, redeemed.more.as_deref(), assets)?;
        }
        Event::Adjusted(adjusted) => {
            row.units = Some(adjusted.points);
            fill_act(row, &adjusted.actor, &adjusted.reason);
            fill_more(row, adjusted.more.as_deref(), assets)?;
        }
        Event::Opened(opened) => {
            row.units = Some(opened.points);
            fill_act(row, &opened.actor, &opened.reason);
            fill_more(row, opened.more.as_deref(), assets)?;
        }
        Event::SnapshotTaken(taken) => taken.name.clone_into(&mut row.snapshot),
        Event::SnapshotDeleted(deleted) => deleted.name.clone_into(&mut row.snapshot),
        Event::ProgramPut(put) => row.rule_version = Some(put.version.0.into()),
        Event::PeriodClosed(closed) => row.until = Some(Instant(closed.until_us)),
        Event::CampaignChanged(changed) => {
            let campaign = assets.ids.campaign(changed.common.program, changed.campaign);
            campaign.unwrap_or_default().clone_into(&mut row.campaign);
            if changed.change == CampaignChange::Funded {
                fill_moved(row, &changed.legs, assets)?;
            }
        }
        Event::StandingChanged(changed) => {
            fill_act(row, &changed.actor, &changed.reason);
            row.standing = standing_name(changed.change).to_owned();
        }
        Event::Due(due) => fill_due(row, due, assets)?,
        Event::RewardPut(put) => {
            put.sku.clone_into(&mut row.reward);
            row.asset = assets.id(put.asset)?;
            (row.pieces, row.price) = (Some(put.stocked), Some(put.price));
        }
        Event::Activated(activated) => {
            row.original_op = back(row, activated.earn_link);
            row.lapsed = assets.units(&activated.lapsed)?;
            fill_moved(row, &activated.legs, assets)?;
        }
        Event::Reversed(reversed) => fill_reversed(row, reversed, assets)?,
        Event::Held(held) => {
            fill_units(row, (held.asset, held.units), assets)?;
            held.purpose.name().clone_into(&mut row.purpose);
            row.until = Some(Instant(held.until_us));
        }
        Event::Captured(captured) => fill_captured(row, captured, assets)?,
        Event::Released(released) => {
            fill_units(row, (released.asset, released.units), assets)?;
            row.original_op = back(row, released.hold_link);
            row.lapsed = assets.units(&[(released.asset, released.lapsed)])?;
        }
        Event::Granted(granted) => {
            fill_units(row, (granted.asset, granted.units), assets)?;
            row.bonus = granted.topped_up.then_some(granted.bonus);
            row.lapsed = assets.units(&[(granted.asset, granted.lapsed)])?;
        }
        Event::Transferred(transferred) => fill_units(row, (transferred.asset, transferred.units), assets)?,
        Event::Converted(converted) => fill_converted(row, converted, assets)?,
        Event::MembersMerged(merged) => fill_act(row, &merged.actor, &merged.reason),
        Event::MemberSet(said) => fill_said(row, said, assets)?,
        // What a checkout does its parts say, events of their own.
        Event::CheckedOut(_) | Event::ClockConfirmed(_) | Event::Rejected(_) | Event::AdminRejected(_) => {}
    }
    Ok(())
}

/// The pieces of a reward that an event is about.
pub(super) fn fill_pieces(row: &mut EventRow, event: &Event<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    let Some(Claimed { reward, pieces, price }) = pieces_of(event) else { return Ok(()) };
    let reward = assets.ids.reward(assets.program, reward).ok_or(ExportError::Unnamed(assets.op))?;
    reward.clone_into(&mut row.reward);
    row.pieces = i64::try_from(pieces).ok();
    row.price = Some(price).filter(|price| *price > 0);
    Ok(())
}

/// The op that lies `link` before the event.
fn back(row: &EventRow, link: u64) -> Option<u64> {
    Op(row.op).back(link).map(|op| op.0)
}

fn fill_units(row: &mut EventRow, (asset, units): (AssetNo, u64), assets: &Assets<'_>) -> Result<(), ExportError> {
    row.asset = assets.id(asset)?;
    row.units = i64::try_from(units).ok();
    Ok(())
}

fn fill_reversed(row: &mut EventRow, reversed: &Reversed<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    fill_units(row, (reversed.asset, reversed.units), assets)?;
    row.original_op = back(row, reversed.original_link);
    row.lapsed = assets.units(&[(reversed.asset, reversed.lapsed)])?;
    row.not_taken = parts([("base".to_owned(), reversed.not_taken)].into_iter());
    Ok(())
}

fn fill_captured(row: &mut EventRow, captured: &Captured<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    fill_units(row, (captured.asset, captured.units), assets)?;
    row.original_op = back(row, captured.hold_link);
    captured.purpose.name().clone_into(&mut row.purpose);
    row.released = Some(captured.released);
    row.lapsed = assets.units(&[(captured.asset, captured.lapsed)])?;
    Ok(())
}

fn fill_converted(row: &mut EventRow, converted: &Converted<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    fill_units(row, (converted.asset, converted.units), assets)?;
    row.asked = Some(converted.asked).filter(|asked| *asked != converted.units);
    let until: Vec<_> = converted.rolls.map(|until| (converted.asset, until)).into_iter().collect();
    row.rolls = rolls(&until, assets)?;
    Ok(())
}

/// What a member is said to be.
fn fill_said(row: &mut EventRow, said: &MemberSet<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    let name = |tag| assets.ids.tag(assets.program, tag).ok_or(ExportError::Unnamed(assets.op));
    row.joined_on = said.joined_day.and_then(told::day_text).unwrap_or_default();
    row.tags_added = tags_text(&said.added.iter().map(|put| name(put.tag)).collect::<Result<Vec<_>, _>>()?);
    row.tags_removed = tags_text(&said.removed.iter().map(|tag| name(*tag)).collect::<Result<Vec<_>, _>>()?);
    Ok(())
}

fn fill_refund(row: &mut EventRow, refunded: &Refunded<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    fill_basis(row, refunded.basis);
    refunded.event_kind.unwrap_or_default().clone_into(&mut row.event_kind);
    row.rule_version = Some(refunded.version.0.into());
    let from = refunded.from.as_ref();
    row.original_op = from.and_then(|from| back(row, from.original_link));
    let RefundMore { asset, lapsed, not_taken, .. } = refunded.more.as_deref().cloned().unwrap_or_default();
    row.asset = assets.id(asset)?;
    let lapsed: Vec<_> = lapsed.into_iter().map(|(asset, now, _)| (asset, now)).collect();
    row.lapsed = assets.units(&lapsed)?;
    let name = |part: u8| match part {
        0 => Ok("base".to_owned()),
        1 => Ok("also".to_owned()),
        part => {
            let share = from.and_then(|from| from.shares.get(usize::from(part - 2)));
            let id = share.and_then(|share| assets.ids.campaign(assets.program, share.campaign));
            id.map(|id| format!("campaign/{id}")).ok_or(ExportError::Unnamed(assets.op))
        }
    };
    let named = not_taken.into_iter().map(|(part, units)| Ok((name(part)?, units)));
    row.not_taken = parts(named.collect::<Result<Vec<_>, ExportError>>()?.into_iter());
    Ok(())
}

fn parts(units: impl Iterator<Item = (String, u64)>) -> String {
    text_of(units.filter(|(_, units)| *units > 0).map(|(part, units)| (part, json!(units))).collect())
}

pub(super) fn rolls(rolls: &[(AssetNo, u32)], assets: &Assets<'_>) -> Result<String, ExportError> {
    assets.object(rolls.iter().map(|(asset, until)| (*asset, json!(time_text(minute(*until).0)))))
}

fn fill_more(row: &mut EventRow, more: Option<&AssetMore>, assets: &Assets<'_>) -> Result<(), ExportError> {
    let AssetMore { asset, asked, minor, lapsed, rolls: until, claimed: _ } = more.cloned().unwrap_or_default();
    row.asset = assets.id(asset)?;
    row.asked = Some(asked).filter(|asked| *asked > 0);
    row.offset_minor = Some(minor).filter(|minor| *minor > 0);
    row.lapsed = assets.units(&[(asset, lapsed)])?;
    let until: Vec<_> = until.map(|until| (asset, until)).into_iter().collect();
    row.rolls = rolls(&until, assets)?;
    Ok(())
}

fn fill_act(row: &mut EventRow, actor: &Text<'_>, reason: &Text<'_>) {
    row.actor = clear(actor);
    row.actor_reason = clear(reason);
}

fn fill_due(row: &mut EventRow, due: &Due, assets: &Assets<'_>) -> Result<(), ExportError> {
    (row.effective_at, row.original_op) = match due.kind {
        DueKind::Expired { lapsed_min } => (Some(minute(lapsed_min)), None),
        DueKind::LotsMerged => (None, None),
        DueKind::Matured { earn_link, matured_us } => (Some(Instant(matured_us)), back(row, earn_link)),
        DueKind::HoldEnded { hold_link, ended_us } => (Some(Instant(ended_us)), back(row, hold_link)),
    };
    fill_moved(row, &due.legs, assets)
}

/// The asset of the first leg, and the units of it that were credited.
fn fill_moved(row: &mut EventRow, legs: &[Leg], assets: &Assets<'_>) -> Result<(), ExportError> {
    let Some(first) = legs.first() else { return Ok(()) };
    row.asset = assets.id(first.asset)?;
    let credits = legs.iter().filter(|leg| leg.asset == first.asset).map(|leg| leg.amount.max(0));
    row.units = Some(credits.fold(0, i64::saturating_add));
    Ok(())
}

fn fill_basis(row: &mut EventRow, basis: Basis) {
    match basis {
        Basis::Spend(minor) => row.amount_minor = Some(minor),
        Basis::Points(points) => row.units = i64::try_from(points).ok(),
    }
}
