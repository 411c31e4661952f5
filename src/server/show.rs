//! Events, members, programs and campaigns as readers are shown them.

use super::receipt::{Scribe, balance, points};
use crate::engine::request::MemberState;
use crate::ledger::command::{Basis, Purpose};
use crate::ledger::event::{
    Account, AdminCommon, AdminKind, CampaignChange, CommandKind, Common, Event, Leg, Source, Text,
};
use crate::ledger::ids::{Op, ProgramNo};
use crate::ledger::spec::{Cap, CapPer, OnExhausted, Ratio, Rounding};
use crate::ledger::view::{CampaignStatus, CampaignView, ProgramView};
use crate::proto as pb;

/// The event that is `op` of the book, as readers are shown it. `member` is the id of its member, empty for an event of
/// the program itself.
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
        legs: legs(scribe, program, event.legs()),
        ..pb::Event::default()
    };
    if let Some(common) = event.common() {
        show_common(&mut shown, common, book_time_us);
    }
    if let Some(common) = event.admin_common() {
        show_admin_common(&mut shown, common);
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
            let original = refunded.from.as_ref().and_then(|from| op.back(from.original_link));
            shown.original_op = original.map_or(0, |op| op.0);
        }
        Event::Redeemed(redeemed) => {
            shown.points = points(redeemed.points);
            shown.purpose = purpose(redeemed.purpose).into();
        }
        Event::Adjusted(adjusted) => {
            shown.points = adjusted.points;
            shown.actor = clear(&adjusted.actor);
            shown.actor_reason = clear(&adjusted.reason);
        }
        Event::Opened(opened) => {
            shown.points = opened.points;
            shown.actor = clear(&opened.actor);
            shown.actor_reason = clear(&opened.reason);
        }
        Event::SnapshotTaken(taken) => {
            shown.snapshot = taken.name.to_owned();
            shown.retain_until_us = taken.retain_until_us;
        }
        Event::SnapshotDeleted(deleted) => shown.snapshot = deleted.name.to_owned(),
        Event::ClockConfirmed(confirmed) => shown.clock_from_us = Some(confirmed.from_us),
        Event::ProgramPut(put) => shown.rule_version = put.version.0,
        Event::CampaignChanged(changed) => {
            shown.campaign = scribe.campaign(changed.common.program, changed.campaign);
            if changed.change == CampaignChange::Funded {
                shown.points = changed.legs.iter().map(|leg| leg.amount.max(0)).sum();
            }
        }
        Event::Rejected(_) | Event::AdminRejected(_) => {}
    }
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
        Event::Rejected(rejected) => match rejected.kind {
            CommandKind::Earn => pb::Kind::Earn,
            CommandKind::Refund => pb::Kind::Refund,
            CommandKind::Redeem => pb::Kind::Redeem,
            CommandKind::Adjust => pb::Kind::Adjust,
            CommandKind::Opening => pb::Kind::Opening,
        },
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
        },
    }
}

/// The legs, those on lots of one account joined in one.
fn legs(scribe: &Scribe<'_>, program: ProgramNo, legs: &[Leg]) -> Vec<pb::Leg> {
    let mut shown: Vec<pb::Leg> = Vec::with_capacity(legs.len());
    for leg in legs {
        let account = account_name(scribe, program, &leg.account);
        let lot = lot_part(leg);
        match shown.iter_mut().find(|joined| lot.is_some() && joined.account == account) {
            Some(joined) => {
                joined.amount = joined.amount.saturating_add(leg.amount);
                joined.lots.extend(lot);
            }
            None => {
                let lots = lot.into_iter().collect();
                shown.push(pb::Leg { account, asset: "points".to_owned(), amount: leg.amount, lots });
            }
        }
    }
    shown
}

fn account_name(scribe: &Scribe<'_>, program: ProgramNo, account: &Account) -> String {
    match account {
        Account::Available { .. } => "member/available".to_owned(),
        Account::Debt => "member/debt".to_owned(),
        Account::Issuance { .. } => "issuance".to_owned(),
        Account::Campaign { campaign, .. } => format!("campaign/{}", scribe.campaign(program, *campaign)),
        Account::Redemption { purpose, .. } => format!("redemption/{}", purpose.name()),
        Account::Adjustment { .. } => "adjustment".to_owned(),
        Account::Opening { .. } => "opening".to_owned(),
    }
}

fn lot_part(leg: &Leg) -> Option<pb::LotPart> {
    let Account::Available { lot, position } = leg.account else { return None };
    let source = match lot.source {
        Source::Base => pb::Source::Base,
        Source::Campaign => pb::Source::Campaign,
        Source::Granted => pb::Source::Granted,
        Source::Opening => pb::Source::Opening,
    };
    Some(pb::LotPart {
        source: source.into(),
        expires_at_us: None,
        units: leg.amount.saturating_abs(),
        position: points(position),
    })
}

fn purpose(purpose: Purpose) -> pb::Purpose {
    match purpose {
        Purpose::CashOffset => pb::Purpose::CashOffset,
        Purpose::Gift => pb::Purpose::Gift,
        Purpose::Coupon => pb::Purpose::Coupon,
        Purpose::Lottery => pb::Purpose::Lottery,
        Purpose::Charity => pb::Purpose::Charity,
        Purpose::Miles => pb::Purpose::Miles,
    }
}

/// A member.
#[must_use]
pub fn member(id: String, state: &MemberState) -> pb::Member {
    pb::Member { id, balance: Some(balance(state.balances)), last_op: state.head.0 }
}

/// A program.
#[must_use]
pub fn program(view: &ProgramView) -> pb::Program {
    pb::Program {
        id: view.id.clone(),
        version: view.version.0,
        effective_from_us: Some(view.effective_from_us).filter(|us| *us != i64::MIN),
        definition: view.definition.to_string(),
        name: view.spec.name.clone(),
        currency: view.spec.currency.clone(),
        time_zone: view.spec.time_zone.clone(),
        tz_version: view.spec.tz_version.clone(),
        import: view.spec.import_mode,
        greatest_total: Some(rational(view.spec.greatest_total)),
        rules: view.spec.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &crate::ledger::spec::Rule) -> pb::EventRule {
    let rounding = match rule.rounding {
        Rounding::Floor => pb::Rounding::Floor,
        Rounding::HalfUp => pb::Rounding::HalfUp,
        Rounding::Ceiling => pb::Rounding::Ceiling,
    };
    pb::EventRule {
        event_kind: rule.kind.clone(),
        points_per_minor: Some(rational(rule.rate)),
        rounding: rounding.into(),
    }
}

/// A campaign.
#[must_use]
pub fn campaign(view: &CampaignView) -> pb::Campaign {
    let status = match view.status {
        CampaignStatus::Open => pb::CampaignStatus::Open,
        CampaignStatus::Paused => pb::CampaignStatus::Paused,
        CampaignStatus::Stopped => pb::CampaignStatus::Stopped,
        CampaignStatus::Closed => pb::CampaignStatus::Closed,
    };
    let on_exhausted = match view.spec.on_exhausted {
        OnExhausted::Clip => pb::OnExhausted::Clip,
        OnExhausted::Stop => pb::OnExhausted::Stop,
    };
    pb::Campaign {
        id: view.spec.id.clone(),
        status: status.into(),
        in_force: view.in_force,
        start_us: view.spec.start_us,
        end_us: view.spec.end_us,
        multiplier: Some(rational(view.spec.multiplier)),
        group: view.spec.group.clone(),
        event_kinds: view.spec.kinds.clone(),
        on_exhausted: on_exhausted.into(),
        cap: view.spec.cap.map(cap),
        funded: view.funded,
        left: view.left,
        awarded: view.awarded,
    }
}

fn cap(cap: Cap) -> pb::Cap {
    let period = match cap.per {
        CapPer::Campaign => pb::CapPeriod::Campaign,
        CapPer::Day => pb::CapPeriod::Day,
        CapPer::Week => pb::CapPeriod::Week,
        CapPer::Month => pb::CapPeriod::Month,
    };
    pb::Cap { points: points(cap.points), period: period.into() }
}

fn rational(ratio: Ratio) -> pb::Rational {
    pb::Rational { numerator: points(ratio.numerator), denominator: points(ratio.denominator) }
}
