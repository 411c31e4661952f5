//! From events to rows.

use crate::audit::chart::{Class, source_name};
use crate::audit::files::hex;
use crate::ledger::command::Basis;
use crate::ledger::event::{
    Account, AdminKind, Asset, CampaignChange, CommandKind, Common, Event, Leg, NotesRef, Text,
};
use crate::ledger::ids::{CampaignNo, MemberNo, MemberRef, Op, ProgramNo};
use crate::ledger::reason::Reason;

use super::ExportError;
use super::columns::{EventRow, Instant, PostingRow};

/// The ids behind the numbers of programs, campaigns and members.
pub(super) trait Ids {
    /// A program's id.
    fn program(&self, number: ProgramNo) -> Option<&str>;
    /// A campaign's id.
    fn campaign(&self, program: ProgramNo, number: CampaignNo) -> Option<&str>;
    /// A member's id.
    fn member(&mut self, number: MemberNo) -> Result<String, ExportError>;
}

/// The name of an asset.
pub(super) fn asset_name(asset: Asset) -> &'static str {
    match asset {
        Asset::Points => "points",
    }
}

/// A balance, credit positive, as debit and credit.
pub(super) fn sides(balance: i64) -> (i64, i64) {
    if balance < 0 { (balance.saturating_neg(), 0) } else { (0, balance) }
}

/// The rows of one event: its own, and one for each leg.
pub(super) fn rows_of(
    op: u64,
    book_time_us: i64,
    event: &Event<'_>,
    ids: &mut dyn Ids,
) -> Result<(EventRow, Vec<PostingRow>), ExportError> {
    let (program, key, body_hash) = event.identity();
    // A refused first version has the number that another program may have got since.
    let said = event.admin_common().and_then(|common| common.program_id);
    let mut row = EventRow {
        op,
        book_time: Instant(book_time_us),
        occurred_at: Instant(book_time_us),
        kind: kind_name(event).to_owned(),
        outcome: if event.rejection().is_some() { "rejected" } else { "applied" }.to_owned(),
        program: said.or_else(|| ids.program(program)).unwrap_or_default().to_owned(),
        key: key.to_owned(),
        body_hash: hex(&body_hash),
        legs: u64::try_from(event.legs().len()).unwrap_or(u64::MAX),
        ..EventRow::default()
    };
    if let Some((reason, field)) = event.rejection() {
        row.reason = reason_name(reason);
        field.clone_into(&mut row.field);
    }
    if let Some(common) = event.common() {
        fill_common(&mut row, common, ids)?;
    }
    if let Some(common) = event.admin_common() {
        row.actor = clear(&common.actor);
        row.actor_reason = clear(&common.reason);
    }
    fill_particulars(&mut row, event, ids);
    let legs = (1..).zip(event.legs()).map(|(number, leg)| posting(&row, number, leg, program, ids));
    let legs = legs.collect::<Result<_, _>>()?;
    Ok((row, legs))
}

fn fill_common(row: &mut EventRow, common: &Common<'_>, ids: &mut dyn Ids) -> Result<(), ExportError> {
    row.occurred_at = Instant(row.book_time.0.saturating_sub(common.behind_us));
    row.member = match common.member {
        MemberRef::Known(number) => ids.member(number)?,
        MemberRef::Opened(_, id) | MemberRef::Unknown(id) => id.to_owned(),
    };
    if common.member.number().is_some() {
        row.available_after = Some(common.after.available);
        row.debt_after = Some(common.after.debt);
    }
    if let Some(notes) = &common.notes {
        row.reference = clear(&notes.reference);
        row.channel = clear(&notes.channel);
        row.partner = clear(&notes.partner);
        row.location = clear(&notes.location);
        row.metadata = metadata(notes);
    }
    Ok(())
}

fn metadata(notes: &NotesRef<'_>) -> String {
    if notes.metadata.is_empty() {
        return String::new();
    }
    let pairs = notes.metadata.iter().map(|(name, value)| (clear(name), clear(value).into()));
    serde_json::Value::Object(pairs.collect()).to_string()
}

/// Text under a scheme other than clear has no form for readers; this build writes none.
fn clear(text: &Text<'_>) -> String {
    if text.scheme == 0 { text.text.to_owned() } else { String::new() }
}

fn fill_particulars(row: &mut EventRow, event: &Event<'_>, ids: &dyn Ids) {
    match event {
        Event::Earned(earned) => {
            fill_basis(row, earned.basis);
            earned.event_kind.unwrap_or_default().clone_into(&mut row.event_kind);
            row.rule_version = Some(earned.version.0.into());
        }
        Event::Refunded(refunded) => {
            fill_basis(row, refunded.basis);
            refunded.event_kind.unwrap_or_default().clone_into(&mut row.event_kind);
            row.rule_version = Some(refunded.version.0.into());
            let original = refunded.from.as_ref().and_then(|from| Op(row.op).back(from.original_link));
            row.original_op = original.map(|op| op.0);
        }
        Event::Redeemed(redeemed) => {
            row.points = i64::try_from(redeemed.points).ok();
            redeemed.purpose.name().clone_into(&mut row.purpose);
        }
        Event::Adjusted(adjusted) => {
            row.points = Some(adjusted.points);
            row.actor = clear(&adjusted.actor);
            row.actor_reason = clear(&adjusted.reason);
        }
        Event::Opened(opened) => {
            row.points = Some(opened.points);
            row.actor = clear(&opened.actor);
            row.actor_reason = clear(&opened.reason);
        }
        Event::SnapshotTaken(taken) => taken.name.clone_into(&mut row.snapshot),
        Event::SnapshotDeleted(deleted) => deleted.name.clone_into(&mut row.snapshot),
        Event::ProgramPut(put) => row.rule_version = Some(put.version.0.into()),
        Event::CampaignChanged(changed) => {
            let campaign = ids.campaign(changed.common.program, changed.campaign);
            campaign.unwrap_or_default().clone_into(&mut row.campaign);
            if changed.change == CampaignChange::Funded {
                row.points = Some(changed.legs.iter().map(|leg| leg.amount.max(0)).sum());
            }
        }
        Event::Rejected(_) | Event::AdminRejected(_) | Event::ClockConfirmed(_) => {}
    }
}

fn fill_basis(row: &mut EventRow, basis: Basis) {
    match basis {
        Basis::Spend(minor) => row.amount_minor = Some(minor),
        Basis::Points(points) => row.points = i64::try_from(points).ok(),
    }
}

fn posting(
    event: &EventRow,
    number: u64,
    leg: &Leg,
    program: ProgramNo,
    ids: &dyn Ids,
) -> Result<PostingRow, ExportError> {
    let class = Class::of(&leg.account);
    let campaign = match class {
        Class::Campaign(campaign) => ids.campaign(program, campaign).ok_or(ExportError::Unnamed(event.op))?,
        _ => "",
    };
    let (debit, credit) = sides(leg.amount);
    let mut row = PostingRow {
        op: event.op,
        leg: number,
        book_time: event.book_time,
        occurred_at: event.occurred_at,
        kind: event.kind.clone(),
        program: event.program.clone(),
        account: class.name(campaign),
        asset: asset_name(leg.asset).to_owned(),
        debit,
        credit,
        key: event.key.clone(),
        reference: event.reference.clone(),
        rule_version: event.rule_version,
        ..PostingRow::default()
    };
    if class.is_members() {
        row.member.clone_from(&event.member);
    }
    if let Account::Available { lot, position } = leg.account {
        source_name(lot.source).clone_into(&mut row.lot_source);
        row.lot_position = Some(position);
    }
    Ok(row)
}

/// What an event did, or was asked to do.
fn kind_name(event: &Event<'_>) -> &'static str {
    match event {
        Event::Earned(_) => "earn",
        Event::Refunded(_) => "refund",
        Event::Redeemed(_) => "redeem",
        Event::Adjusted(_) => "adjust",
        Event::Opened(_) => "opening",
        Event::Rejected(rejected) => match rejected.kind {
            CommandKind::Earn => "earn",
            CommandKind::Refund => "refund",
            CommandKind::Redeem => "redeem",
            CommandKind::Adjust => "adjust",
            CommandKind::Opening => "opening",
        },
        Event::ProgramPut(_) => "program_put",
        Event::CampaignChanged(changed) => match changed.change {
            CampaignChange::Funded => "campaign_funded",
            CampaignChange::Paused => "campaign_paused",
            CampaignChange::Resumed => "campaign_resumed",
            CampaignChange::Closed => "campaign_closed",
        },
        Event::AdminRejected(rejected) => match rejected.kind {
            AdminKind::PutProgram => "program_put",
            AdminKind::FundCampaign => "campaign_funded",
            AdminKind::PauseCampaign => "campaign_paused",
            AdminKind::ResumeCampaign => "campaign_resumed",
            AdminKind::CloseCampaign => "campaign_closed",
            AdminKind::CreateSnapshot => "snapshot_taken",
            AdminKind::DeleteSnapshot => "snapshot_deleted",
            AdminKind::ConfirmClock => "clock_confirmed",
        },
        Event::SnapshotTaken(_) => "snapshot_taken",
        Event::SnapshotDeleted(_) => "snapshot_deleted",
        Event::ClockConfirmed(_) => "clock_confirmed",
    }
}

/// A reason as the contract names it: `MemberUnknown` is `MEMBER_UNKNOWN`.
fn reason_name(reason: Reason) -> String {
    let mut name = String::new();
    for letter in format!("{reason:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_named_as_in_the_contract() {
        for reason in Reason::ALL {
            let number = i32::from(reason.number());
            let contract = crate::proto::Reason::try_from(number).map(|reason| reason.as_str_name().to_owned());
            assert_eq!(contract, Ok(format!("REASON_{}", reason_name(*reason))));
        }
    }
}
