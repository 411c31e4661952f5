//! What an operator's command comes to: a version of a program, a change of a campaign, a snapshot, a confirmed clock.

use super::command::{AdminAction, AdminCommand, Leap};
use super::decide::{NO_PROGRAM, clear};
use super::event::{
    Account, AdminCommon, AdminKind, AdminRejected, CampaignChange, CampaignChanged, ClockConfirmed, Event, Leg, Legs,
    PeriodClosed, ProgramPut, SnapshotDeleted, SnapshotTaken,
};
use super::ids::{AssetNo, CampaignNo, Op, ProgramNo, VersionNo};
use super::reason::Reason;
use super::spec::{CampaignSpec, ProgramSpec};
use super::state::{CAMPAIGNS_MAX, CLOSINGS_MAX, Ledger, Moment, PROGRAMS_MAX, Program, SNAPSHOTS_MAX, VERSIONS_MAX};
use super::view::CampaignStatus;

/// How far the time that an operator confirms may be from the wall clock's, in microseconds; `engine` asserts that the constants
/// say the same.
pub const CONFIRM_WITHIN_US: i64 = 5 * 60 * 1_000_000;

type Refused = (Reason, &'static str);

impl Ledger {
    /// What an operator's command comes to. The caller has looked up the key and found it free.
    #[must_use]
    pub fn decide_admin<'c>(&self, command: &'c AdminCommand, at: Moment) -> Event<'c> {
        let known = self.program_number(&command.program_id);
        let outcome = match (&command.action, known) {
            (AdminAction::PutProgram { expected_version, spec, definition }, _) => {
                self.put(command, (*expected_version, spec, definition), known, at)
            }
            (AdminAction::CreateSnapshot { name, retain_until_us }, _) => {
                self.create_snapshot(command, name, *retain_until_us, at)
            }
            (AdminAction::DeleteSnapshot { name }, _) => self.remove_snapshot(command, name, at),
            (AdminAction::ConfirmClock { clock_us, leap }, _) => confirm_clock(command, *clock_us, *leap),
            (AdminAction::ClosePeriod { until_us }, Some(number)) => self.close_period(command, *until_us, number, at),
            (AdminAction::PutReward { .. }, Some(number)) => self.put_reward(command, number, at),
            (_, Some(number)) => self.change(command, number, at),
            (_, None) => Err((Reason::ProgramUnknown, "program")),
        };
        outcome.unwrap_or_else(|(reason, field)| {
            let kind = match command.action {
                AdminAction::PutProgram { .. } => AdminKind::PutProgram,
                AdminAction::FundCampaign { .. } => AdminKind::FundCampaign,
                AdminAction::PauseCampaign { .. } => AdminKind::PauseCampaign,
                AdminAction::ResumeCampaign { .. } => AdminKind::ResumeCampaign,
                AdminAction::CloseCampaign { .. } => AdminKind::CloseCampaign,
                AdminAction::CreateSnapshot { .. } => AdminKind::CreateSnapshot,
                AdminAction::DeleteSnapshot { .. } => AdminKind::DeleteSnapshot,
                AdminAction::ConfirmClock { .. } => AdminKind::ConfirmClock,
                AdminAction::PutReward { .. } => AdminKind::PutReward,
                AdminAction::ClosePeriod { .. } => AdminKind::ClosePeriod,
            };
            let common = common_of(command, known.unwrap_or(NO_PROGRAM), known.is_none());
            Event::AdminRejected(AdminRejected { common, kind, reason, field })
        })
    }

    fn put<'c>(
        &self,
        command: &'c AdminCommand,
        (expected, spec, definition): (Option<u32>, &ProgramSpec, &'c str),
        known: Option<ProgramNo>,
        at: Moment,
    ) -> Result<Event<'c>, Refused> {
        let program = known.and_then(|number| self.program(number));
        let newest = program.and_then(Program::newest);
        let version = newest.map_or(0, |version| version.number.0);
        if expected.is_some_and(|expected| expected != version) {
            return Err((Reason::VersionMismatch, "expected_version"));
        }
        let number = match known {
            Some(number) => number,
            None if self.programs.len() >= PROGRAMS_MAX => {
                return Err((Reason::LimitReached, "program"));
            }
            None => ProgramNo(u16::try_from(self.programs.len()).map_err(|_| (Reason::LimitReached, "program"))?),
        };
        if program.is_some_and(|program| program.versions.len() >= VERSIONS_MAX) {
            return Err((Reason::LimitReached, "program"));
        }
        let fixed = |newest: &ProgramSpec| newest.currency == spec.currency && newest.time_zone == spec.time_zone;
        if newest.is_some_and(|newest| !fixed(&newest.spec)) {
            return Err((Reason::ProgramFixedField, "definition"));
        }
        if let Some(program) = program {
            check_assets(program, spec)?;
        }
        let effective_from_us = match newest {
            None => i64::MIN,
            Some(_) => spec.effective_from_us.unwrap_or(at.book_time_us),
        };
        if newest.is_some() && !spec.import_mode && effective_from_us < at.book_time_us {
            return Err((Reason::EffectiveFromPast, "definition"));
        }
        check_windows(newest.map(|version| &*version.spec), spec, at.book_time_us)?;
        let campaigns = number_campaigns(program, spec)?;
        Ok(Event::ProgramPut(ProgramPut {
            common: common_of(command, number, known.is_none()),
            version: VersionNo(version.saturating_add(1)),
            effective_from_us,
            campaigns,
            spec: spec.clone(),
            definition,
        }))
    }

    fn create_snapshot<'c>(
        &self,
        command: &'c AdminCommand,
        name: &'c str,
        retain_until_us: Option<i64>,
        at: Moment,
    ) -> Result<Event<'c>, Refused> {
        if self.snapshots.iter().any(|snapshot| snapshot.name == name) {
            return Err((Reason::SnapshotExists, "name"));
        }
        if self.snapshots.len() >= SNAPSHOTS_MAX {
            return Err((Reason::LimitReached, "name"));
        }
        let before = self.snapshots.last().map_or(Op(0), |snapshot| snapshot.op);
        let (common, previous_link) = (common_of(command, NO_PROGRAM, true), at.op.distance_from(before));
        Ok(Event::SnapshotTaken(SnapshotTaken { common, name, retain_until_us, previous_link }))
    }

    fn remove_snapshot<'c>(&self, command: &'c AdminCommand, name: &'c str, at: Moment) -> Result<Event<'c>, Refused> {
        let mut there = self.snapshots.iter().filter(|snapshot| snapshot.deleted.is_none());
        let snapshot = there.find(|snapshot| snapshot.name == name).ok_or((Reason::SnapshotUnknown, "name"))?;
        if snapshot.retain_until_us.is_some_and(|until| until > at.book_time_us) {
            return Err((Reason::SnapshotRetained, "name"));
        }
        let (common, taken_link) = (common_of(command, NO_PROGRAM, true), at.op.distance_from(snapshot.op));
        Ok(Event::SnapshotDeleted(SnapshotDeleted { common, name, taken_link }))
    }

    fn close_period<'c>(
        &self,
        command: &'c AdminCommand,
        until_us: i64,
        number: ProgramNo,
        at: Moment,
    ) -> Result<Event<'c>, Refused> {
        let program = self.program(number).ok_or((Reason::ProgramUnknown, "program"))?;
        let last = program.closings.last();
        if until_us > at.book_time_us {
            return Err((Reason::PeriodNotOver, "until_us"));
        }
        if last.is_some_and(|last| until_us <= last.until_us) {
            return Err((Reason::PeriodClosed, "until_us"));
        }
        if program.closings.len() >= CLOSINGS_MAX {
            return Err((Reason::LimitReached, "program"));
        }
        let previous_link = at.op.distance_from(last.map_or(Op(0), |last| last.op));
        Ok(Event::PeriodClosed(PeriodClosed { common: common_of(command, number, false), until_us, previous_link }))
    }

    fn change<'c>(&self, command: &'c AdminCommand, number: ProgramNo, at: Moment) -> Result<Event<'c>, Refused> {
        let program = self.program(number).ok_or((Reason::ProgramUnknown, "program"))?;
        let (id, change) = match &command.action {
            AdminAction::FundCampaign { campaign, .. } => (campaign, CampaignChange::Funded),
            AdminAction::PauseCampaign { campaign } => (campaign, CampaignChange::Paused),
            AdminAction::ResumeCampaign { campaign } => (campaign, CampaignChange::Resumed),
            AdminAction::CloseCampaign { campaign } => (campaign, CampaignChange::Closed),
            AdminAction::PutProgram { .. }
            | AdminAction::CreateSnapshot { .. }
            | AdminAction::DeleteSnapshot { .. }
            | AdminAction::PutReward { .. }
            | AdminAction::ClosePeriod { .. }
            | AdminAction::ConfirmClock { .. } => return Err((Reason::ProgramUnknown, "program")),
        };
        let unknown = (Reason::CampaignUnknown, "campaign");
        let campaign_no = program.campaign_number(id).ok_or(unknown)?;
        let purse = program.campaign(campaign_no).ok_or(unknown)?.purse;
        match (change, purse.status) {
            (_, CampaignStatus::Closed) => return Err((Reason::CampaignClosed, "campaign")),
            (CampaignChange::Paused, CampaignStatus::Paused) => {
                return Err((Reason::CampaignPaused, "campaign"));
            }
            (CampaignChange::Resumed, CampaignStatus::Open) => {
                return Err((Reason::CampaignNotPaused, "campaign"));
            }
            _ => {}
        }
        let moved = match (&command.action, change) {
            (AdminAction::FundCampaign { points, .. }, _) => {
                i64::try_from(*points).map_err(|_| (Reason::AmountOverflow, "points"))?
            }
            (_, CampaignChange::Closed) => -purse.budget.balance,
            _ => 0,
        };
        let overflow = (Reason::AmountOverflow, "points");
        let budget_after = purse.budget.balance.checked_add(moved).ok_or(overflow)?;
        purse.funded.checked_add(moved).ok_or(overflow)?;
        let asset = program.campaign(campaign_no).map_or(AssetNo::POINTS, |campaign| campaign.spec.asset_no());
        let issuance = program.accounts(asset).issuance;
        // As for members' commands, the range is symmetric, so that every balance can be negated.
        issuance.balance.checked_sub(moved).filter(|after| *after > i64::MIN).ok_or(overflow)?;
        let link = at.op.distance_from(purse.budget.head);
        let mut legs = Legs::default();
        if moved != 0 {
            let from = Account::Issuance { link: at.op.distance_from(issuance.head) };
            let _room = legs.push(Leg { account: from, asset, amount: -moved });
            let to = Account::Campaign { campaign: campaign_no, link };
            let _room = legs.push(Leg { account: to, asset, amount: moved });
        }
        let common = common_of(command, number, false);
        let (campaign, campaign_link) = (campaign_no, link);
        Ok(Event::CampaignChanged(CampaignChanged { common, campaign, change, budget_after, campaign_link, legs }))
    }
}

pub(super) fn common_of(command: &AdminCommand, program: ProgramNo, name_it: bool) -> AdminCommon<'_> {
    AdminCommon {
        program,
        program_id: name_it.then_some(&command.program_id),
        key: &command.key,
        body_hash: command.body_hash,
        actor: clear(&command.actor),
        reason: clear(&command.reason),
    }
}

fn confirm_clock(command: &AdminCommand, clock_us: i64, leap: Option<Leap>) -> Result<Event<'_>, Refused> {
    let leap = leap.ok_or((Reason::ClockNotLeapt, ""))?;
    if clock_us.abs_diff(leap.clock_us) > CONFIRM_WITHIN_US.unsigned_abs() {
        return Err((Reason::ClockDiffers, "clock_us"));
    }
    let common = common_of(command, NO_PROGRAM, true);
    // A clock that was put right meanwhile may be behind the book, whose time does not go back.
    let to_us = leap.clock_us.max(leap.book_us);
    Ok(Event::ClockConfirmed(ClockConfirmed { common, from_us: leap.book_us, to_us }))
}

/// The numbers of assets are in every event, so a version keeps those that there are, and a campaign its own: its budget is
/// in units of it.
fn check_assets(program: &Program, spec: &ProgramSpec) -> Result<(), Refused> {
    let known = program.newest().map(|newest| newest.spec.terms().assets.as_slice()).unwrap_or_default();
    let mut assets = spec.terms().assets.iter();
    if !known.iter().all(|old| assets.next().is_some_and(|new| (&new.id, new.kind) == (&old.id, old.kind))) {
        return Err((Reason::AssetFixed, "definition"));
    }
    let moved = |new: &CampaignSpec| {
        let number = program.campaign_number(&new.id);
        number.and_then(|number| program.campaign(number)).is_some_and(|old| old.spec.asset != new.asset)
    };
    match spec.campaigns.iter().any(moved) {
        true => Err((Reason::CampaignAssetFixed, "definition")),
        false => Ok(()),
    }
}

/// Outside import mode no window may begin in the past, unless it began so in the version before.
fn check_windows(newest: Option<&ProgramSpec>, spec: &ProgramSpec, book_time_us: i64) -> Result<(), Refused> {
    let kept = |id: &str, start_us: i64| {
        newest.is_some_and(|newest| newest.campaigns.iter().any(|old| old.id == id && old.start_us == start_us))
    };
    let past = |start_us: i64| start_us < book_time_us;
    match spec.campaigns.iter().any(|c| past(c.start_us) && !kept(&c.id, c.start_us)) {
        true if !spec.import_mode => Err((Reason::CampaignStartPast, "definition")),
        _ => Ok(()),
    }
}

/// The numbers of a version's campaigns: those that the program knows keep theirs, new ones follow.
fn number_campaigns(program: Option<&Program>, spec: &ProgramSpec) -> Result<Vec<CampaignNo>, Refused> {
    let mut next = program.map_or(0, |program| program.campaigns.len());
    let mut numbers = Vec::with_capacity(spec.campaigns.len());
    for campaign in &spec.campaigns {
        let number = match program.and_then(|program| program.campaign_number(&campaign.id)) {
            Some(number) => number,
            None => {
                let number = u16::try_from(next).ok().filter(|_| next < CAMPAIGNS_MAX);
                next += 1;
                CampaignNo(number.ok_or((Reason::LimitReached, "definition"))?)
            }
        };
        numbers.push(number);
    }
    Ok(numbers)
}
