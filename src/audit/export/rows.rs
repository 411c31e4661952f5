//! From events to rows.

use serde_json::{Map, Value as Json, json};

use crate::audit::chart::{Class, source_name};
use crate::audit::files::hex;
use crate::audit::told;
use crate::ledger::event::{
    Account, AdminKind, AssetBalances, CampaignChange, CommandKind, Common, DueKind, Event, Expiry, Leg, LotId,
    NotesRef, Other, Text,
};
use crate::ledger::ids::{AssetNo, CampaignNo, MemberNo, MemberRef, Op, ProgramNo, RewardNo, TagNo};
use crate::ledger::instant_of;
use crate::ledger::reason::Reason;

use super::ExportError;
use super::columns::{EventRow, Instant, PostingRow};
use super::particulars::{fill_particulars, fill_pieces, rolls};

/// The ids behind the numbers of programs, assets, campaigns and members.
pub(super) trait Ids {
    /// A program's id.
    fn program(&self, number: ProgramNo) -> Option<&str>;
    /// An asset's id.
    fn asset(&self, program: ProgramNo, number: AssetNo) -> Option<&str>;
    /// A campaign's id.
    fn campaign(&self, program: ProgramNo, number: CampaignNo) -> Option<&str>;
    /// Until when a program's books were closed when an event was booked that is dated before it.
    fn late_for(&self, program: ProgramNo, op: Op, dated_us: i64) -> Option<i64>;
    /// A reward's id.
    fn reward(&self, program: ProgramNo, number: RewardNo) -> Option<&str>;
    /// A tag's name.
    fn tag(&self, program: ProgramNo, number: TagNo) -> Option<&str>;
    /// A member's id.
    fn member(&mut self, number: MemberNo) -> Result<String, ExportError>;
}

/// A balance, credit positive, as debit and credit.
pub(super) fn sides(balance: i64) -> (i64, i64) {
    if balance < 0 { (balance.saturating_neg(), 0) } else { (0, balance) }
}

/// The instant of a lapse.
pub(super) fn minute(minutes: u32) -> Instant {
    Instant(instant_of(minutes))
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
        legs: u64::try_from(event.sides().map(|side| side.legs.len()).sum::<usize>()).unwrap_or(u64::MAX),
        late_for: ids.late_for(program, Op(op), told::dated_us(event, book_time_us)).map(Instant),
        ..EventRow::default()
    };
    if !matches!(event, Event::Due(_)) {
        row.body_hash = hex(&body_hash);
    }
    if let Some((reason, field)) = event.rejection() {
        row.reason = reason_name(reason);
        field.clone_into(&mut row.field);
    }
    if let Some(common) = event.common() {
        fill_common(&mut row, common);
    }
    row.member = match event.common() {
        Some(common) => member_id(&common.member, ids)?,
        None => event.member().map(|number| ids.member(number)).transpose()?.unwrap_or_default(),
    };
    if let Some(common) = event.admin_common() {
        row.actor = clear(&common.actor);
        row.actor_reason = clear(&common.reason);
    }
    if let Some(other) = event.other() {
        row.other_member = member_id(&other.member, ids)?;
    }
    let assets = Assets { ids, program, op };
    fill_after(&mut row, event, &assets)?;
    fill_particulars(&mut row, event, &assets)?;
    fill_pieces(&mut row, event, &assets)?;
    let mut postings = postings_of(&row, (1, event.legs()), (&row.program, &row.member), &assets)?;
    if let Some(other) = event.other() {
        let there = Assets { program: other.program, ..assets };
        let id = ids.program(other.program).ok_or(ExportError::Unnamed(op))?;
        fill_other(&mut row, event, other, (id, &there))?;
        let first = u64::try_from(postings.len()).unwrap_or(u64::MAX).saturating_add(1);
        postings.extend(postings_of(&row, (first, &other.legs), (id, &row.other_member), &there)?);
    }
    Ok((row, postings))
}

fn member_id(member: &MemberRef<'_>, ids: &mut dyn Ids) -> Result<String, ExportError> {
    match member {
        MemberRef::Known(number) => ids.member(*number),
        MemberRef::Opened(_, id) | MemberRef::Unknown(id) => Ok((*id).to_owned()),
    }
}

/// The other member's columns.
fn fill_other(
    row: &mut EventRow,
    event: &Event<'_>,
    other: &Other<'_>,
    (program, there): (&str, &Assets<'_>),
) -> Result<(), ExportError> {
    program.clone_into(&mut row.other_program);
    if let Event::Converted(converted) = event {
        row.other_asset = there.id(converted.to_asset)?;
        row.other_units = Some(converted.to_units);
        row.other_lapsed = there.units(&[(converted.to_asset, converted.lapsed)])?;
    }
    row.other_rolls = rolls(&other.rolls, there)?;
    row.other_after = there.object(other.after.iter().map(|after| (after.asset, balances_json(after))))?;
    Ok(())
}

fn balances_json(after: &AssetBalances) -> Json {
    json!({ "available": after.available, "held": after.held, "pending": after.pending, "debt": after.debt })
}

/// The ids of the assets and campaigns of the program that an event is of.
pub(super) struct Assets<'a> {
    pub(super) ids: &'a dyn Ids,
    pub(super) program: ProgramNo,
    pub(super) op: u64,
}

impl Assets<'_> {
    pub(super) fn id(&self, asset: AssetNo) -> Result<String, ExportError> {
        self.ids.asset(self.program, asset).map(str::to_owned).ok_or(ExportError::Unnamed(self.op))
    }

    /// An object by asset; no text where there is nothing to say.
    pub(super) fn object(&self, values: impl Iterator<Item = (AssetNo, Json)>) -> Result<String, ExportError> {
        values.map(|(asset, value)| Ok((self.id(asset)?, value))).collect::<Result<_, _>>().map(text_of)
    }

    pub(super) fn units(&self, units: &[(AssetNo, u64)]) -> Result<String, ExportError> {
        self.object(units.iter().filter(|(_, units)| *units > 0).map(|(asset, units)| (*asset, json!(units))))
    }
}

pub(super) fn text_of(object: Map<String, Json>) -> String {
    if object.is_empty() { String::new() } else { Json::Object(object).to_string() }
}

fn fill_common(row: &mut EventRow, common: &Common<'_>) {
    row.occurred_at = Instant(row.book_time.0.saturating_sub(common.behind_us));
    if let Some(notes) = &common.notes {
        row.reference = clear(&notes.reference);
        row.channel = clear(&notes.channel);
        row.partner = clear(&notes.partner);
        row.location = clear(&notes.location);
        row.metadata = metadata(notes);
    }
}

fn fill_after(row: &mut EventRow, event: &Event<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    let mut others = Vec::new();
    for after in told::balances_after(event) {
        if after.asset == AssetNo::POINTS {
            row.available_after = Some(after.available);
            row.held_after = Some(after.held);
            row.pending_after = Some(after.pending);
            row.debt_after = Some(after.debt);
        } else {
            others.push((after.asset, balances_json(&after)));
        }
    }
    row.others_after = assets.object(others.into_iter())?;
    Ok(())
}

fn metadata(notes: &NotesRef<'_>) -> String {
    text_of(notes.metadata.iter().map(|(name, value)| (clear(name), clear(value).into())).collect())
}

/// Text under a scheme other than clear has no form for readers; this build writes none.
pub(super) fn clear(text: &Text<'_>) -> String {
    if text.scheme == 0 { text.text.to_owned() } else { String::new() }
}

/// The name of the account that a leg of a program is on.
pub(super) fn account_name(
    op: u64,
    program: ProgramNo,
    account: &Account,
    ids: &dyn Ids,
) -> Result<String, ExportError> {
    let class = Class::of(account);
    let id = match class {
        Class::Campaign(campaign) => ids.campaign(program, campaign).ok_or(ExportError::Unnamed(op))?,
        Class::Conversion(other) => ids.program(other).ok_or(ExportError::Unnamed(op))?,
        Class::Stock(reward) | Class::Reserved(reward) => {
            ids.reward(program, reward).ok_or(ExportError::Unnamed(op))?
        }
        _ => "",
    };
    Ok(class.name(id))
}

/// The rows of the legs of one side of an event: of a program, and of a member of it.
fn postings_of(
    event: &EventRow,
    (first, legs): (u64, &[Leg]),
    side: (&str, &str),
    assets: &Assets<'_>,
) -> Result<Vec<PostingRow>, ExportError> {
    (first..).zip(legs).map(|(number, leg)| posting(event, number, leg, side, assets)).collect()
}

fn posting(
    event: &EventRow,
    number: u64,
    leg: &Leg,
    (program, member): (&str, &str),
    assets: &Assets<'_>,
) -> Result<PostingRow, ExportError> {
    let (debit, credit) = sides(leg.amount);
    let mut row = PostingRow {
        op: event.op,
        leg: number,
        book_time: event.book_time,
        occurred_at: event.occurred_at,
        kind: event.kind.clone(),
        program: program.to_owned(),
        account: account_name(event.op, assets.program, &leg.account, assets.ids)?,
        asset: assets.id(leg.asset)?,
        debit,
        credit,
        key: event.key.clone(),
        reference: event.reference.clone(),
        rule_version: event.rule_version,
        ..PostingRow::default()
    };
    if Class::of(&leg.account).is_members() {
        member.clone_into(&mut row.member);
    }
    if let Some((lot, position)) = lot_of(&leg.account) {
        let (source, lapses_at, rolling) = lot_name(lot);
        (row.lot_source, row.lot_lapses_at, row.lot_rolling) = (source, lapses_at, Some(rolling));
        row.lot_position = position;
    }
    Ok(row)
}

/// What tells a lot from the others of its asset: its source, when it lapses at a date of its own, and whether it is rolling.
pub(super) fn lot_name(LotId { source, expiry }: LotId) -> (String, Option<Instant>, u64) {
    let lapses_at = match expiry {
        Expiry::At(minutes) => Some(minute(minutes)),
        Expiry::Never | Expiry::Rolling => None,
    };
    (source_name(source).to_owned(), lapses_at, u64::from(expiry == Expiry::Rolling))
}

/// The lot that an account of a member's is of, and where in it the units stand that enter or leave it.
fn lot_of(account: &Account) -> Option<(LotId, Option<u64>)> {
    match account {
        Account::Available { lot, position } => Some((*lot, Some(*position))),
        Account::Held { lot, position } => Some((*lot, *position)),
        Account::Free { lot } | Account::Pending { lot, .. } => Some((*lot, None)),
        _ => None,
    }
}

/// What an event did, or was asked to do.
pub(in crate::audit) fn kind_name(event: &Event<'_>) -> &'static str {
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
            CommandKind::Reverse => "reverse",
            CommandKind::Hold => "hold",
            CommandKind::Capture => "capture",
            CommandKind::Release => "release",
            CommandKind::Activate => "activate",
            CommandKind::TopUp => "top_up",
            CommandKind::Grant => "grant",
            CommandKind::Standing => "standing",
            CommandKind::Transfer => "transfer",
            CommandKind::Convert => "convert",
            CommandKind::Merge => "merge",
            CommandKind::MemberSet => "member_set",
            CommandKind::Checkout => "checkout",
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
            AdminKind::ClosePeriod => "period_closed",
            AdminKind::PutReward => "reward_put",
        },
        Event::SnapshotTaken(_) => "snapshot_taken",
        Event::SnapshotDeleted(_) => "snapshot_deleted",
        Event::Due(due) => match due.kind {
            DueKind::Expired { .. } => "expired",
            DueKind::LotsMerged => "lots_merged",
            DueKind::Matured { .. } => "matured",
            DueKind::HoldEnded { .. } => "hold_ended",
        },
        Event::Activated(_) => "activate",
        Event::Reversed(_) => "reverse",
        Event::Held(_) => "hold",
        Event::Captured(_) => "capture",
        Event::Released(_) => "release",
        Event::Granted(granted) if granted.topped_up => "top_up",
        Event::Granted(_) => "grant",
        Event::StandingChanged(_) => "standing",
        Event::ClockConfirmed(_) => "clock_confirmed",
        Event::Transferred(_) => "transfer",
        Event::Converted(_) => "convert",
        Event::MembersMerged(_) => "merge",
        Event::MemberSet(_) => "member_set",
        Event::RewardPut(_) => "reward_put",
        Event::CheckedOut(_) => "checkout",
        Event::PeriodClosed(_) => "period_closed",
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
