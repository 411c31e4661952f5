//! Operating: programs, campaigns, rewards and the clock.

use tonic::{Code, Request, Response, Status};

use super::account_service::program as known_program;
use super::act::{Act, hash};
use super::body_hash::AdminBody;
use super::desk::{Desk, Unreadable, blocking};
use super::shape::{self, Fault};
use super::{rules, status};
use crate::constants::{
    ASSET_ID_BYTES_MAX, POINTS_MAX, PROGRAM_ID_BYTES_MAX, REMARKS_SHOWN_MAX, REWARD_NAME_BYTES_MAX,
};
use crate::engine::names::POINTS;
use crate::engine::request::{Answer, AnswerBody, Read};
use crate::ledger::codec;
use crate::ledger::command::AdminAction;
use crate::ledger::event::Event;
use crate::ledger::ids::{Op, ProgramNo};
use crate::ledger::view::{CampaignView, ProgramView, RewardView};
use crate::program;
use crate::proto as pb;
use crate::proto::admin_service_server::AdminService;

/// The service.
pub(super) struct Admin {
    desk: Desk,
}

impl Admin {
    /// The service before an engine.
    #[must_use]
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk }
    }

    /// Posts a change of a campaign and reads the campaign as it stands then, if the engine has room for that.
    async fn change(
        &self,
        act: Act,
        campaign: String,
        action: impl FnOnce(String) -> AdminAction,
    ) -> Result<(pb::Receipt, Option<pb::Campaign>), Status> {
        let checked = check(&act).and_then(|()| shape::needed("campaign", &campaign, PROGRAM_ID_BYTES_MAX));
        checked.map_err(|fault| status::invalid(&[fault.of(act.key.clone())]))?;
        let number = known_program(&self.desk, &act.program)?;
        let receipt = act.post(&self.desk, action(campaign.clone())).await?;
        // The change is settled: a look at the campaign that is refused must not make it seem undone.
        let campaigns = self.campaigns(number).await.map_or_else(|_| Vec::new(), |(_, campaigns)| campaigns);
        let campaign = campaigns.iter().find(|view| view.spec.id == campaign).map(rules::campaign);
        Ok((receipt, campaign))
    }

    async fn programs(&self) -> Result<(Op, Vec<ProgramView>), Status> {
        match self.desk.read(Read::Programs).await? {
            Answer { op, body: AnswerBody::Programs(programs) } => Ok((op, programs)),
            _ => Err(status::unexpected()),
        }
    }

    async fn campaigns(&self, program: ProgramNo) -> Result<(Op, Vec<CampaignView>), Status> {
        match self.desk.read(Read::Campaigns(program)).await? {
            Answer { op, body: AnswerBody::Campaigns(campaigns) } => Ok((op, campaigns)),
            _ => Err(status::unexpected()),
        }
    }

    async fn rewards(&self, program: ProgramNo) -> Result<(Op, Vec<RewardView>), Status> {
        match self.desk.read(Read::Rewards(program)).await? {
            Answer { op, body: AnswerBody::Rewards(rewards) } => Ok((op, rewards)),
            _ => Err(status::unexpected()),
        }
    }

    /// The version that a receipt's event put; 0 where it put none. It is read from the book, for a replay is the same.
    async fn version_put(&self, receipt: &pb::Receipt) -> Result<u32, Status> {
        let handle = self.desk.handle().clone();
        let op = receipt.op;
        let version = blocking(move || {
            let stored = handle.book().read(op)?;
            match codec::decode(&stored.bytes).map_err(|error| Unreadable::Codec(op, error))? {
                Event::ProgramPut(put) => Ok::<_, Unreadable>(put.version.0),
                _ => Ok(0),
            }
        });
        version.await
    }

    fn book_id(&self) -> String {
        self.desk.info().book_id.clone()
    }
}

fn check(act: &Act) -> Result<(), Fault> {
    shape::needed("program", &act.program, PROGRAM_ID_BYTES_MAX)?;
    act.check()
}

/// What a request asks of a reward.
fn reward_act(request: pb::PutRewardRequest) -> Result<AdminAction, Fault> {
    let pb::PutRewardRequest { reward: sku, name, asset, price, open, stocked, .. } = request;
    shape::reward_id(&sku)?;
    shape::needed("name", &name, REWARD_NAME_BYTES_MAX)?;
    shape::text("asset", &asset, ASSET_ID_BYTES_MAX)?;
    let price = shape::points("price", price)?;
    if !(-POINTS_MAX..=POINTS_MAX).contains(&stocked) {
        return Err(Fault::out_of_range("stocked", &format!("must be at most {POINTS_MAX} either way")));
    }
    let asset = if asset.is_empty() { POINTS.to_owned() } else { asset };
    Ok(AdminAction::PutReward { sku, name, asset, price, open, stocked })
}

/// A definition's remarks as faults of the request, each naming line, column and field.
fn faults(remarks: &[program::Remark], key: &str) -> Vec<Fault> {
    let fault = |remark: &program::Remark| {
        let field = format!("definition:{}:{}:{}", remark.line, remark.column, remark.field);
        Fault::new(field, pb::Reason::DefinitionInvalid, remark.message.clone()).of(key.to_owned())
    };
    remarks.iter().take(REMARKS_SHOWN_MAX).map(fault).collect()
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn put_program(
        &self,
        request: Request<pb::PutProgramRequest>,
    ) -> Result<Response<pb::PutProgramResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::PutProgram(&request));
        let pb::PutProgramRequest { program: id, definition, expected_version, key, actor, reason } = request;
        let act = Act { program: id, key, actor, reason, body_hash };
        check(&act).map_err(|fault| status::invalid(&[fault.of(act.key.clone())]))?;
        let parsed = program::parse(&definition, "definition")
            .map_err(|remarks| status::invalid(&faults(&remarks, &act.key)))?;
        if parsed.id != act.program {
            let fault = Fault::malformed("program", "is another than the definition's id");
            return Err(status::invalid(&[fault.of(act.key)]));
        }
        let warnings = parsed.warnings.iter().map(ToString::to_string).collect();
        let action = AdminAction::PutProgram { expected_version, spec: Box::new(parsed.spec), definition };
        let receipt = act.post(&self.desk, action).await?;
        let version = self.version_put(&receipt).await?;
        Ok(Response::new(pb::PutProgramResponse { receipt: Some(receipt), version, warnings }))
    }

    async fn get_program(
        &self,
        request: Request<pb::GetProgramRequest>,
    ) -> Result<Response<pb::GetProgramResponse>, Status> {
        let id = request.into_inner().program;
        known_program(&self.desk, &id)?;
        let (op, programs) = self.programs().await?;
        let view = programs.iter().find(|view| view.id == id).ok_or_else(status::unexpected)?;
        let program = Some(rules::program(view));
        Ok(Response::new(pb::GetProgramResponse { program, book_id: self.book_id(), op: op.0 }))
    }

    async fn list_programs(
        &self,
        _request: Request<pb::ListProgramsRequest>,
    ) -> Result<Response<pb::ListProgramsResponse>, Status> {
        let (op, mut programs) = self.programs().await?;
        programs.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let programs = programs.iter().map(rules::program).collect();
        Ok(Response::new(pb::ListProgramsResponse { programs, book_id: self.book_id(), op: op.0 }))
    }

    async fn list_campaigns(
        &self,
        request: Request<pb::ListCampaignsRequest>,
    ) -> Result<Response<pb::ListCampaignsResponse>, Status> {
        let number = known_program(&self.desk, &request.into_inner().program)?;
        let (op, mut campaigns) = self.campaigns(number).await?;
        campaigns.sort_unstable_by(|a, b| a.spec.id.cmp(&b.spec.id));
        let campaigns = campaigns.iter().map(rules::campaign).collect();
        Ok(Response::new(pb::ListCampaignsResponse { campaigns, book_id: self.book_id(), op: op.0 }))
    }

    async fn get_campaign(
        &self,
        request: Request<pb::GetCampaignRequest>,
    ) -> Result<Response<pb::GetCampaignResponse>, Status> {
        let pb::GetCampaignRequest { program, campaign: id } = request.into_inner();
        let number = known_program(&self.desk, &program)?;
        shape::needed("campaign", &id, PROGRAM_ID_BYTES_MAX).map_err(|fault| status::invalid(&[fault]))?;
        let (op, campaigns) = self.campaigns(number).await?;
        let Some(view) = campaigns.iter().find(|view| view.spec.id == id) else {
            return Err(status::not_found(pb::Reason::CampaignUnknown, "the program has no such campaign"));
        };
        let campaign = Some(rules::campaign(view));
        Ok(Response::new(pb::GetCampaignResponse { campaign, book_id: self.book_id(), op: op.0 }))
    }

    async fn fund_campaign(
        &self,
        request: Request<pb::FundCampaignRequest>,
    ) -> Result<Response<pb::FundCampaignResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::FundCampaign(&request));
        let pb::FundCampaignRequest { program, campaign, points, key, actor, reason } = request;
        let points = shape::points("points", points).map_err(|fault| status::invalid(&[fault.of(key.clone())]))?;
        let act = Act { program, key, actor, reason, body_hash };
        let fund = |campaign| AdminAction::FundCampaign { campaign, points };
        let (receipt, campaign) = self.change(act, campaign, fund).await?;
        Ok(Response::new(pb::FundCampaignResponse { receipt: Some(receipt), campaign }))
    }

    async fn pause_campaign(
        &self,
        request: Request<pb::PauseCampaignRequest>,
    ) -> Result<Response<pb::PauseCampaignResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::PauseCampaign(&request));
        let pb::PauseCampaignRequest { program, campaign, key, actor, reason } = request;
        let act = Act { program, key, actor, reason, body_hash };
        let pause = |campaign| AdminAction::PauseCampaign { campaign };
        let (receipt, campaign) = self.change(act, campaign, pause).await?;
        Ok(Response::new(pb::PauseCampaignResponse { receipt: Some(receipt), campaign }))
    }

    async fn resume_campaign(
        &self,
        request: Request<pb::ResumeCampaignRequest>,
    ) -> Result<Response<pb::ResumeCampaignResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::ResumeCampaign(&request));
        let pb::ResumeCampaignRequest { program, campaign, key, actor, reason } = request;
        let act = Act { program, key, actor, reason, body_hash };
        let resume = |campaign| AdminAction::ResumeCampaign { campaign };
        let (receipt, campaign) = self.change(act, campaign, resume).await?;
        Ok(Response::new(pb::ResumeCampaignResponse { receipt: Some(receipt), campaign }))
    }

    async fn close_campaign(
        &self,
        request: Request<pb::CloseCampaignRequest>,
    ) -> Result<Response<pb::CloseCampaignResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::CloseCampaign(&request));
        let pb::CloseCampaignRequest { program, campaign, key, actor, reason } = request;
        let act = Act { program, key, actor, reason, body_hash };
        let close = |campaign| AdminAction::CloseCampaign { campaign };
        let (receipt, campaign) = self.change(act, campaign, close).await?;
        Ok(Response::new(pb::CloseCampaignResponse { receipt: Some(receipt), campaign }))
    }

    async fn put_reward(
        &self,
        request: Request<pb::PutRewardRequest>,
    ) -> Result<Response<pb::PutRewardResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::PutReward(&request));
        let (program, key) = (request.program.clone(), request.key.clone());
        let (actor, reason) = (request.actor.clone(), request.reason.clone());
        let act = Act { program, key, actor, reason, body_hash };
        let id = request.reward.clone();
        let action = check(&act).and_then(|()| reward_act(request));
        let action = action.map_err(|fault| status::invalid(&[fault.of(act.key.clone())]))?;
        let number = known_program(&self.desk, &act.program)?;
        let receipt = act.post(&self.desk, action).await?;
        // As with campaigns: the act is settled, whether it can be looked at or not.
        let rewards = self.rewards(number).await.map_or_else(|_| Vec::new(), |(_, rewards)| rewards);
        let reward = rewards.iter().find(|view| view.sku == id).map(rules::reward);
        Ok(Response::new(pb::PutRewardResponse { receipt: Some(receipt), reward }))
    }

    async fn list_rewards(
        &self,
        request: Request<pb::ListRewardsRequest>,
    ) -> Result<Response<pb::ListRewardsResponse>, Status> {
        let number = known_program(&self.desk, &request.into_inner().program)?;
        let (op, mut rewards) = self.rewards(number).await?;
        rewards.sort_unstable_by(|a, b| a.sku.cmp(&b.sku));
        let rewards = rewards.iter().map(rules::reward).collect();
        Ok(Response::new(pb::ListRewardsResponse { rewards, book_id: self.book_id(), op: op.0 }))
    }

    async fn get_reward(
        &self,
        request: Request<pb::GetRewardRequest>,
    ) -> Result<Response<pb::GetRewardResponse>, Status> {
        let pb::GetRewardRequest { program, reward: id } = request.into_inner();
        let number = known_program(&self.desk, &program)?;
        shape::reward_id(&id).map_err(|fault| status::invalid(&[fault]))?;
        let (op, rewards) = self.rewards(number).await?;
        let Some(view) = rewards.iter().find(|view| view.sku == id) else {
            return Err(status::not_found(pb::Reason::RewardUnknown, "the program has no such reward"));
        };
        let reward = Some(rules::reward(view));
        Ok(Response::new(pb::GetRewardResponse { reward, book_id: self.book_id(), op: op.0 }))
    }

    async fn confirm_clock(
        &self,
        request: Request<pb::ConfirmClockRequest>,
    ) -> Result<Response<pb::ConfirmClockResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::ConfirmClock(&request));
        let pb::ConfirmClockRequest { clock_us, key, actor, reason } = request;
        let act = Act { program: String::new(), key, actor, reason, body_hash };
        let checked = act.check().and_then(|()| shape::instant("clock_us", clock_us));
        checked.map_err(|fault| status::invalid(&[fault.of(act.key.clone())]))?;
        let receipt = act.post(&self.desk, AdminAction::ConfirmClock { clock_us, leap: None }).await?;
        Ok(Response::new(pb::ConfirmClockResponse { receipt: Some(receipt) }))
    }

    async fn close_period(
        &self,
        request: Request<pb::ClosePeriodRequest>,
    ) -> Result<Response<pb::ClosePeriodResponse>, Status> {
        let request = request.into_inner();
        let body_hash = hash(AdminBody::ClosePeriod(&request));
        let pb::ClosePeriodRequest { program, until_us, key, actor, reason } = request;
        let act = Act { program, key, actor, reason, body_hash };
        let checked = check(&act).and_then(|()| shape::instant("until_us", until_us));
        checked.map_err(|fault| status::invalid(&[fault.of(act.key.clone())]))?;
        known_program(&self.desk, &act.program)?;
        let receipt = act.post(&self.desk, AdminAction::ClosePeriod { until_us }).await?;
        Ok(Response::new(pb::ClosePeriodResponse { receipt: Some(receipt) }))
    }

    async fn drive_clock(
        &self,
        request: Request<pb::DriveClockRequest>,
    ) -> Result<Response<pb::DriveClockResponse>, Status> {
        let to_us = request.into_inner().to_us;
        let Some(clock) = self.desk.handle().clock().driven() else {
            let why = "the server's clock is the machine's: it cannot be driven";
            return Err(status::plain(Code::FailedPrecondition, pb::Reason::ClockNotDriven, why));
        };
        let driven = shape::instant("to_us", to_us).and_then(|()| {
            let back = |shows| Fault::out_of_range("to_us", &format!("lies before the clock's time, {shows}"));
            clock.drive(to_us).map_err(back)
        });
        let from_us = driven.map_err(|fault| status::invalid(&[fault]))?;
        Ok(Response::new(pb::DriveClockResponse { from_us }))
    }

    async fn get_metrics(&self, _: Request<pb::GetMetricsRequest>) -> Result<Response<pb::GetMetricsResponse>, Status> {
        let handle = self.desk.handle();
        let at_us = handle.clock().wall_us();
        let serialised = handle.metrics().serialised().map_err(|error| Status::internal(error.to_string()))?;
        let metric = |(name, histogram): (&str, _)| pb::Metric { name: name.to_owned(), histogram };
        Ok(Response::new(pb::GetMetricsResponse { metrics: serialised.into_iter().map(metric).collect(), at_us }))
    }
}
