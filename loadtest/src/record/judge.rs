//! The model, fed with a trace: what the end ought to be.

use std::sync::Arc;

use model::book::{Said, prints};
use model::{Model, Verdict, What as Event};
use stampbook::engine::names::{Names, ProgramNames};
use stampbook::ledger::Limits;
use stampbook::ledger::command::{AdminAction, AdminCommand};
use stampbook::ledger::view::asset_ids;
use stampbook::program;
use stampbook::proto as pb;
use stampbook::server::convert::Converter;
use stampbook::server::item::Item;

use super::entry::{Entry, What};
use super::file::Trace;
use super::state::State;
use crate::Failure;

/// The state that the model comes to by a trace.
///
/// # Errors
/// Where the trace cannot be read, or the model says something else than the recorded book of a command.
pub(crate) fn state_of(trace: &Trace) -> Result<State, Failure> {
    let limits = Limits { members_max: u32::MAX, cap_counters_max: usize::MAX, lots_bytes_max: usize::MAX };
    let mut judge = Judge { model: Model::new(limits), names: Arc::default() };
    for entry in trace.entries()? {
        let mut entry = entry?;
        judge
            .take(&mut entry)
            .map_err(|error| format!("the model, at op {} of the recorded book: {error}", entry.op))?;
        judge.model.said.clear();
    }
    Ok(State::of_model(&mut judge.model, trace.end.last_us))
}

struct Judge {
    model: Model,
    names: Arc<Names>,
}

impl Judge {
    fn take(&mut self, entry: &mut Entry) -> Result<(), Failure> {
        if let Some((key, place)) = entry.names_part() {
            let program = entry.command().map(|command| command.program.clone()).unwrap_or_default();
            let op = self.op_of_part(&program, key, place).ok_or("it names a part of a checkout that is not there")?;
            entry.name_part(op);
        }
        let what = entry.what.clone().ok_or("the entry is of a kind that is not known here")?;
        let verdict = match what {
            What::Command(command) => {
                let prints = prints();
                let mut converter = Converter::new(Arc::clone(&self.names), &prints);
                let converted = converter.convert(Item::Other(Box::new(command)));
                let command = converted.map_err(|fault| format!("{}: {}", fault.field, fault.message))?;
                self.model.post(&command, entry.book_time_us)
            }
            act => {
                let command = act_of(act)?;
                let verdict = self.model.post_admin(&command, entry.book_time_us);
                self.names = Arc::new(names_of(&self.model));
                verdict
            }
        };
        let Verdict::Fresh(said) = verdict else { return Err(format!("{verdict:?}").into()) };
        agrees(entry, &said)
    }

    /// Where a part of a checkout stands.
    fn op_of_part(&self, program: &str, key: &str, place: u32) -> Option<u64> {
        let (Verdict::Conflict(op) | Verdict::Replayed(op)) = self.model.known(program, key, [0; 16])? else {
            return None;
        };
        let checkout = self.model.history.get(usize::try_from(op).ok()?.checked_sub(1)?)?;
        let Event::CheckedOut { parts, .. } = &checkout.what else { return None };
        u64::try_from(*parts.get(usize::try_from(place).ok()?)?).ok()?.checked_add(1)
    }
}

/// Whether the model says of an entry what the recorded book does.
fn agrees(entry: &Entry, said: &Said) -> Result<(), Failure> {
    if said.refused.is_some() == entry.refused.is_empty() {
        return Err(format!("it says {:?} and the book {:?}", said.refused, entry.refused).into());
    }
    let after = (i128::from(entry.available), i128::from(entry.debt));
    if entry.command().is_some() && said.after != after {
        return Err(format!("it says (available, debt) {:?} after it and the book {after:?}", said.after).into());
    }
    Ok(())
}

fn names_of(model: &Model) -> Names {
    let names = |program: &model::Program| ProgramNames {
        id: program.id.clone(),
        campaigns: Vec::new(),
        campaign_assets: Vec::new(),
        assets: asset_ids(program.newest()),
        rewards: Vec::new(),
        closings: Vec::new(),
    };
    Names::from_programs(model.programs.iter().map(names).collect())
}

/// An operator's act, as the model is asked.
fn act_of(what: What) -> Result<AdminCommand, Failure> {
    let (program_id, key, action) = match what {
        What::PutProgram(pb::PutProgramRequest { program: id, definition, key, .. }) => {
            let parsed = program::parse(&definition, "definition").map_err(|remarks| format!("{remarks:?}"))?;
            let spec = Box::new(parsed.spec);
            (id, key, AdminAction::PutProgram { expected_version: None, spec, definition })
        }
        What::Fund(pb::FundCampaignRequest { program, campaign, points, key, .. }) => {
            (program, key, AdminAction::FundCampaign { campaign, points: u64::try_from(points)? })
        }
        What::Pause(pb::PauseCampaignRequest { program, campaign, key, .. }) => {
            (program, key, AdminAction::PauseCampaign { campaign })
        }
        What::Resume(pb::ResumeCampaignRequest { program, campaign, key, .. }) => {
            (program, key, AdminAction::ResumeCampaign { campaign })
        }
        What::Close(pb::CloseCampaignRequest { program, campaign, key, .. }) => {
            (program, key, AdminAction::CloseCampaign { campaign })
        }
        What::PutReward(put) => {
            let pb::PutRewardRequest { program, reward: sku, name, asset, price, open, stocked, key, .. } = put;
            let price = u64::try_from(price)?;
            (program, key, AdminAction::PutReward { sku, name, asset, price, open, stocked })
        }
        What::ClosePeriod(pb::ClosePeriodRequest { program, until_us, key, .. }) => {
            (program, key, AdminAction::ClosePeriod { until_us })
        }
        What::Command(_) | What::End(_) => return Err("it is no act of an operator".into()),
    };
    let (actor, reason) = (String::new(), String::new());
    Ok(AdminCommand { program_id, key, key_print: 0, body_hash: [0; 16], actor, reason, action })
}
