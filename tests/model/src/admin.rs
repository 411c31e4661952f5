//! What operators' commands come to, by the book of rules.

use std::collections::BTreeMap;

use stampbook::ledger::command::{AdminAction, AdminCommand};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{CampaignSpec, ProgramSpec};
use stampbook::ledger::view::CampaignStatus;

use super::book::{Said, prefix};
use super::{
    Happened, Model, Program, Refusal, Snapshot, Verdict, Version, What, add, asset_of_campaign, balanced, more_of,
    rewards,
};

/// The greatest balance, either way.
const BALANCE_MAX: i128 = i64::MAX as i128;

impl Model {
    /// Decides an operator's command and keeps what it does.
    pub fn post_admin(&mut self, command: &AdminCommand, book_time_us: i64) -> Verdict {
        self.sweep(book_time_us);
        if let Some(known) = self.known(&command.program_id, &command.key, command.body_hash) {
            return known;
        }
        let number = self.programs.iter().position(|program| program.id == command.program_id);
        if let Some(number) = number {
            self.free_for_operator(number, &command.action, book_time_us);
        }
        let decided = match (&command.action, number) {
            (AdminAction::PutProgram { expected_version, spec, .. }, _) => {
                self.put(&command.program_id, *expected_version, spec, book_time_us)
            }
            (AdminAction::CreateSnapshot { name, retain_until_us }, _) => {
                self.create_snapshot(name, *retain_until_us, book_time_us)
            }
            (AdminAction::DeleteSnapshot { name }, _) => self.delete_snapshot(name, book_time_us),
            (_, None) => Err((Reason::ProgramUnknown, "program")),
            (AdminAction::ClosePeriod { until_us }, Some(number)) => {
                close_period(&mut self.programs[number], *until_us, book_time_us)
            }
            (action @ AdminAction::PutReward { .. }, Some(number)) => rewards::put(&mut self.programs[number], action),
            (action, Some(number)) => change(&mut self.programs[number], action),
        };
        let said = match decided {
            Ok(said) => said,
            Err((reason, field)) => {
                let refused = Some((reason, field.to_owned()));
                Said { what: "operator rejected".to_owned(), refused, ..Said::default() }
            }
        };
        if let Some(program) = self.programs.iter_mut().find(|program| program.id == command.program_id) {
            balanced(said.legs.iter());
            program.post(&said.legs);
        }
        self.keep(Happened {
            program: command.program_id.clone(),
            key: command.key.clone(),
            body_hash: command.body_hash,
            member: None,
            reference: String::new(),
            what: What::Other,
        });
        self.said.push(said.clone());
        Verdict::Fresh(said)
    }

    fn create_snapshot(&mut self, name: &str, retain_until_us: Option<i64>, taken_us: i64) -> Result<Said, Refusal> {
        if self.snapshots.iter().any(|known| known.name == name) {
            return Err((Reason::SnapshotExists, "name"));
        }
        let (name, op) = (name.to_owned(), self.next_op());
        self.snapshots.push(Snapshot { name, op, taken_us, retain_until_us, deleted: None });
        Ok(named("snapshot taken"))
    }

    fn delete_snapshot(&mut self, name: &str, book_time_us: i64) -> Result<Said, Refusal> {
        let op = self.next_op();
        let mut there = self.snapshots.iter_mut().filter(|known| known.deleted.is_none());
        let snapshot = there.find(|known| known.name == name).ok_or((Reason::SnapshotUnknown, "name"))?;
        if snapshot.retain_until_us.is_some_and(|until| book_time_us < until) {
            return Err((Reason::SnapshotRetained, "name"));
        }
        snapshot.deleted = Some(op);
        Ok(named("snapshot deleted"))
    }

    fn next_op(&self) -> u64 {
        u64::try_from(self.history.len()).unwrap() + 1
    }

    fn put(&mut self, id: &str, expected: Option<u32>, spec: &ProgramSpec, book_time_us: i64) -> Result<Said, Refusal> {
        let known = self.programs.iter().find(|program| program.id == id).cloned();
        let mut program = known.clone().unwrap_or_else(|| Program { id: id.to_owned(), ..Program::default() });
        let newest = u32::try_from(program.versions.len()).unwrap();
        if expected.is_some_and(|expected| expected != newest) {
            return Err((Reason::VersionMismatch, "expected_version"));
        }
        if let Some(before) = program.versions.last() {
            let fixed = |spec: &ProgramSpec| (spec.currency.clone(), spec.time_zone.clone());
            if fixed(&before.spec) != fixed(spec) {
                return Err((Reason::ProgramFixedField, "definition"));
            }
            let fixed = |spec: &ProgramSpec| -> Vec<_> {
                more_of(spec).assets.into_iter().map(|asset| (asset.id, asset.kind)).collect()
            };
            if !fixed(spec).starts_with(&fixed(&before.spec)) {
                return Err((Reason::AssetFixed, "definition"));
            }
            let moved = |campaign: &CampaignSpec| {
                let known = program.campaign_assets.get(&campaign.id);
                known.is_some_and(|known| *known != asset_of_campaign(campaign))
            };
            if spec.campaigns.iter().any(moved) {
                return Err((Reason::CampaignAssetFixed, "definition"));
            }
        }
        let asked = spec.effective_from_us.unwrap_or(book_time_us);
        if newest > 0 && !spec.import_mode && asked < book_time_us {
            return Err((Reason::EffectiveFromPast, "definition"));
        }
        let window_before = |id: &str| {
            let campaigns = program.versions.last().map_or(&[][..], |version| &version.spec.campaigns);
            campaigns.iter().find(|campaign| campaign.id == id).map(|campaign| campaign.start_us)
        };
        let starts_past = spec
            .campaigns
            .iter()
            .any(|campaign| campaign.start_us < book_time_us && window_before(&campaign.id) != Some(campaign.start_us));
        if !spec.import_mode && starts_past {
            return Err((Reason::CampaignStartPast, "definition"));
        }
        let effective_from_us = if newest == 0 { i64::MIN } else { asked };
        program.versions.push(Version { effective_from_us, spec: spec.clone() });
        for campaign in &spec.campaigns {
            program.campaigns.entry(campaign.id.clone()).or_insert(CampaignStatus::Open);
            program.campaign_assets.insert(campaign.id.clone(), asset_of_campaign(campaign));
        }
        match self.programs.iter_mut().find(|program| program.id == id) {
            Some(place) => *place = program,
            None => self.programs.push(program),
        }
        Ok(Said { version: Some(newest + 1), ..named("program") })
    }
}

fn named(what: &str) -> Said {
    Said { what: what.to_owned(), ..Said::default() }
}

/// Books are closed to later and later instants, none of them ahead.
fn close_period(program: &mut Program, until_us: i64, book_time_us: i64) -> Result<Said, Refusal> {
    if book_time_us < until_us {
        return Err((Reason::PeriodNotOver, "until_us"));
    }
    if program.closed_until_us.is_some_and(|closed| until_us <= closed) {
        return Err((Reason::PeriodClosed, "until_us"));
    }
    program.closed_until_us = Some(until_us);
    let mut said = named("period closed");
    said.more.insert("until".to_owned(), until_us.into());
    Ok(said)
}

/// Funds, pauses, resumes or closes a campaign.
fn change(program: &mut Program, action: &AdminAction) -> Result<Said, Refusal> {
    let (AdminAction::FundCampaign { campaign, .. }
    | AdminAction::PauseCampaign { campaign }
    | AdminAction::ResumeCampaign { campaign }
    | AdminAction::CloseCampaign { campaign }) = action
    else {
        unreachable!()
    };
    let status = *program.campaigns.get(campaign).ok_or((Reason::CampaignUnknown, "campaign"))?;
    if status == CampaignStatus::Closed {
        return Err((Reason::CampaignClosed, "campaign"));
    }
    let budget = program.budget(campaign);
    let issuance = format!("{}issuance", prefix(program.campaign_assets[campaign]));
    let mut legs = BTreeMap::new();
    let after = match action {
        AdminAction::FundCampaign { points, .. } => {
            let points = i128::from(*points);
            let funded = program.funded.get(campaign).copied().unwrap_or(0) + points;
            let balances = [program.balance(&budget) + points, points - program.balance(&issuance), funded];
            if balances.iter().any(|balance| *balance > BALANCE_MAX) {
                return Err((Reason::AmountOverflow, "points"));
            }
            program.funded.insert(campaign.clone(), funded);
            add(&mut legs, &issuance, -points);
            add(&mut legs, &budget, points);
            status
        }
        AdminAction::PauseCampaign { .. } if status == CampaignStatus::Paused => {
            return Err((Reason::CampaignPaused, "campaign"));
        }
        AdminAction::PauseCampaign { .. } => CampaignStatus::Paused,
        AdminAction::ResumeCampaign { .. } if status == CampaignStatus::Open => {
            return Err((Reason::CampaignNotPaused, "campaign"));
        }
        AdminAction::ResumeCampaign { .. } => CampaignStatus::Open,
        _ => {
            let rest = program.balance(&budget);
            add(&mut legs, &issuance, rest);
            add(&mut legs, &budget, -rest);
            CampaignStatus::Closed
        }
    };
    program.campaigns.insert(campaign.clone(), after);
    Ok(Said { legs, ..named("campaign") })
}
