//! Puts a program on a server and funds its campaign, unless that has been done.

use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::{
    Campaign, FundCampaignRequest, GetCampaignRequest, GetProgramRequest, Outcome, PutProgramRequest, Receipt,
};
use tonic::Code;
use tonic::transport::Channel;

use crate::Failure;

/// A program that comes with this crate, and the campaign in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixture {
    /// The program's id.
    pub(crate) program: &'static str,
    /// The campaign's id.
    pub(crate) campaign: &'static str,
    /// The TOML text.
    pub(crate) definition: &'static str,
}

/// For `run`.
pub(crate) const LOAD: Fixture =
    Fixture { program: "loadtest", campaign: "double-points", definition: include_str!("../programs/loadtest.toml") };

/// For `memory --lots`: the program of `run` with dated lots and another asset.
pub(crate) const LOTS: Fixture = Fixture { definition: include_str!("../programs/loadtest-lots.toml"), ..LOAD };

/// For `sweep`: the program of the members whose lots lapse.
pub(crate) const LAPSING: &str = "lapsing";
pub(crate) const LAPSING_DEFINITION: &str = include_str!("../programs/lapsing.toml");

/// For `demo`.
pub(crate) const NIGHT: Fixture = Fixture {
    program: "campaign-night",
    campaign: "double-night",
    definition: include_str!("../programs/campaign-night.toml"),
};

/// For `crash`.
pub(crate) const CRASH: Fixture =
    Fixture { program: "crash", campaign: "double-points", definition: include_str!("../programs/crash.toml") };

const ACTOR: &str = "loadtest";

impl Fixture {
    /// Puts the program if there is none, and funds the campaign with `points` if it holds less than half of that.
    pub(crate) async fn set_up(&self, channel: Channel, points: i64) -> Result<(), Failure> {
        put(channel.clone(), self.program, self.definition).await?;
        let mut admin = AdminServiceClient::new(channel.clone());
        let program = self.program.to_owned();
        let campaign = self.campaign(channel).await?;
        if campaign.left < points / 2 {
            let fund = FundCampaignRequest {
                program,
                campaign: self.campaign.to_owned(),
                points,
                // What was funded before makes the key: two that fund at once fund once.
                key: format!("{}-funded-{}", self.campaign, campaign.funded),
                actor: ACTOR.to_owned(),
                reason: "budget".to_owned(),
            };
            applied(admin.fund_campaign(fund).await?.into_inner().receipt)?;
        }
        Ok(())
    }

    /// The campaign as it stands.
    pub(crate) async fn campaign(&self, channel: Channel) -> Result<Campaign, Failure> {
        let get = GetCampaignRequest { program: self.program.to_owned(), campaign: self.campaign.to_owned() };
        let answer = AdminServiceClient::new(channel).get_campaign(get).await?.into_inner();
        answer.campaign.ok_or_else(|| "the answer holds no campaign".into())
    }
}

/// Puts the program's first version if there is none.
pub(crate) async fn put(channel: Channel, program: &str, definition: &str) -> Result<(), Failure> {
    let mut admin = AdminServiceClient::new(channel);
    match admin.get_program(GetProgramRequest { program: program.to_owned() }).await {
        Ok(_) => Ok(()),
        Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => {
            let put = PutProgramRequest {
                program: program.to_owned(),
                definition: definition.to_owned(),
                expected_version: Some(0),
                key: format!("{program}-1"),
                actor: ACTOR.to_owned(),
                reason: "first version".to_owned(),
            };
            applied(admin.put_program(put).await?.into_inner().receipt)
        }
        Err(status) => Err(status.into()),
    }
}

fn applied(receipt: Option<Receipt>) -> Result<(), Failure> {
    match receipt {
        Some(receipt) if receipt.outcome() == Outcome::Applied => Ok(()),
        other => Err(format!("the server did not apply it: {other:?}").into()),
    }
}
