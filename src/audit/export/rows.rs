//! From events to rows.

use serde_json::{Map, Value as Json, json};

use crate::audit::chart::{Class, source_name};
use crate::audit::files::hex;
use crate::audit::told;
use crate::ledger::command::{Basis, Matures, Standing};
use crate::ledger::event::{
    Account, AdminKind, AssetBalances, AssetMore, CampaignChange, Claimed, CommandKind, Common, Due, DueKind, Event,
    Expiry, Leg, LotId, NotesRef, Other, RefundMore, Refunded, Text,
};
use crate::ledger::ids::{AssetNo, CampaignNo, MemberNo, MemberRef, Op, ProgramNo, RewardNo};
use crate::ledger::reason::Reason;
use crate::ledger::reward::pieces_of;

use super::ExportError;
use super::columns::{EventRow, Instant, PostingRow, time_text};

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
    /// A member's id.
    fn member(&mut self, number: MemberNo) -> Result<String, ExportError>;
}

/// A balance, credit positive, as debit and credit.
pub(super) fn sides(balance: i64) -> (i64, i64) {
    if balance < 0 { (balance.saturating_neg(), 0) } else { (0, balance) }
}

/// The instant of a lapse.
pub(super) fn minute(minutes: u32) -> Instant {
    Instant(i64::from(minutes) * 60_000_000)
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
        legs: event.sides().fold(0, |sum, (_, legs)| sum.saturating_add(u64::try_from(legs.len()).unwrap_or(u64::MAX))),
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
struct Assets<'a> {
    ids: &'a dyn Ids,
    program: ProgramNo,
    op: u64,
}

impl Assets<'_> {
    fn id(&self, asset: AssetNo) -> Result<String, ExportError> {
        self.ids.asset(self.program, asset).map(str::to_owned).ok_or(ExportError::Unnamed(self.op))
    }

    /// An object by asset; no text where there is nothing to say.
    fn object(&self, values: impl Iterator<Item = (AssetNo, Json)>) -> Result<String, ExportError> {
        values.map(|(asset, value)| Ok((self.id(asset)?, value))).collect::<Result<_, _>>().map(text_of)
    }

    fn units(&self, units: &[(AssetNo, u64)]) -> Result<String, ExportError> {
        self.object(units.iter().filter(|(_, units)| *units > 0).map(|(asset, units)| (*asset, json!(units))))
    }
}

fn text_of(object: Map<String, Json>) -> String {
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
fn clear(text: &Text<'_>) -> String {
    if text.scheme == 0 { text.text.to_owned() } else { String::new() }
}

fn fill_particulars(row: &mut EventRow, event: &Event<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
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
        _ => fill_lots_particulars(row, event, assets)?,
    }
    Ok(())
}

/// The pieces of a reward that an event is about.
fn fill_pieces(row: &mut EventRow, event: &Event<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    let Some(Claimed { reward, pieces, price }) = pieces_of(event) else { return Ok(()) };
    let reward = assets.ids.reward(assets.program, reward).ok_or(ExportError::Unnamed(assets.op))?;
    reward.clone_into(&mut row.reward);
    row.pieces = i64::try_from(pieces).ok();
    row.price = Some(price).filter(|price| *price > 0);
    Ok(())
}

/// Of the events that came with the life of a point: what holds, reversals, maturities and grants say.
fn fill_lots_particulars(row: &mut EventRow, event: &Event<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    let back = |link: u64| Op(row.op).back(link).map(|op| op.0);
    let (original, asset, units) = match event {
        Event::Activated(activated) => {
            row.original_op = back(activated.earn_link);
            row.lapsed = assets.units(&activated.lapsed)?;
            return fill_moved(row, &activated.legs, assets);
        }
        Event::Reversed(reversed) => (back(reversed.original_link), reversed.asset, reversed.units),
        Event::Held(held) => (None, held.asset, held.units),
        Event::Captured(captured) => (back(captured.hold_link), captured.asset, captured.units),
        Event::Released(released) => (back(released.hold_link), released.asset, released.units),
        Event::Granted(granted) => (None, granted.asset, granted.units),
        Event::Transferred(transferred) => (None, transferred.asset, transferred.units),
        Event::Converted(converted) => {
            row.asked = Some(converted.asked).filter(|asked| *asked != converted.units);
            let until: Vec<_> = converted.rolls.map(|until| (converted.asset, until)).into_iter().collect();
            row.rolls = rolls(&until, assets)?;
            (None, converted.asset, converted.units)
        }
        Event::MembersMerged(merged) => {
            fill_act(row, &merged.actor, &merged.reason);
            return Ok(());
        }
        _ => return Ok(()),
    };
    row.original_op = original;
    row.asset = assets.id(asset)?;
    row.units = i64::try_from(units).ok();
    match event {
        Event::Reversed(reversed) => {
            row.lapsed = assets.units(&[(asset, reversed.lapsed)])?;
            row.not_taken = parts([("base".to_owned(), reversed.not_taken)].into_iter());
        }
        Event::Held(held) => {
            held.purpose.name().clone_into(&mut row.purpose);
            row.until = Some(Instant(held.until_us));
        }
        Event::Captured(captured) => {
            captured.purpose.name().clone_into(&mut row.purpose);
            row.released = Some(captured.released);
            row.lapsed = assets.units(&[(asset, captured.lapsed)])?;
        }
        Event::Released(released) => row.lapsed = assets.units(&[(asset, released.lapsed)])?,
        Event::Granted(granted) => {
            row.bonus = granted.topped_up.then_some(granted.bonus);
            row.lapsed = assets.units(&[(asset, granted.lapsed)])?;
        }
        _ => {}
    }
    Ok(())
}

fn fill_refund(row: &mut EventRow, refunded: &Refunded<'_>, assets: &Assets<'_>) -> Result<(), ExportError> {
    fill_basis(row, refunded.basis);
    refunded.event_kind.unwrap_or_default().clone_into(&mut row.event_kind);
    row.rule_version = Some(refunded.version.0.into());
    let from = refunded.from.as_ref();
    row.original_op = from.and_then(|from| Op(row.op).back(from.original_link)).map(|op| op.0);
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

fn rolls(rolls: &[(AssetNo, u32)], assets: &Assets<'_>) -> Result<String, ExportError> {
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
    let back = |link: u64| Op(row.op).back(link).map(|op| op.0);
    (row.effective_at, row.original_op) = match due.kind {
        DueKind::Expired { lapsed_min } => (Some(minute(lapsed_min)), None),
        DueKind::LotsMerged => (None, None),
        DueKind::Matured { earn_link, matured_us } => (Some(Instant(matured_us)), back(earn_link)),
        DueKind::HoldEnded { hold_link, ended_us } => (Some(Instant(ended_us)), back(hold_link)),
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

fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Open => "open",
        Standing::Frozen => "frozen",
        Standing::Closed => "closed",
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
