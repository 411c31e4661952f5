//! `stampbook campaign fund|pause|resume|close|list`.

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stampbook::proto::{
    Campaign as State, CloseCampaignRequest, FundCampaignRequest, ListCampaignsRequest, PauseCampaignRequest, Receipt,
    ResumeCampaignRequest,
};

use super::{Outcome, Server, Shown, remote};

#[derive(Subcommand)]
pub(super) enum Campaign {
    /// Move points from issuance to a campaign's budget.
    Fund {
        /// Points, from 1.
        #[arg(long)]
        points: i64,
        #[command(flatten)]
        act: Act,
    },
    /// Let a campaign award nothing until it is resumed.
    Pause {
        #[command(flatten)]
        act: Act,
    },
    /// Let a paused or stopped campaign go on.
    Resume {
        #[command(flatten)]
        act: Act,
    },
    /// End a campaign for good; the rest of its budget goes back to issuance.
    Close {
        #[command(flatten)]
        act: Act,
    },
    /// List the campaigns of a program.
    List {
        /// The program's id.
        #[arg(long)]
        program: String,
        #[command(flatten)]
        server: Server,
    },
}

/// What every act on a campaign says.
#[derive(Args)]
pub(super) struct Act {
    /// The program's id.
    #[arg(long)]
    program: String,
    /// The campaign's id.
    #[arg(long)]
    campaign: String,
    /// The idempotency key: the same command with the same key acts once.
    #[arg(long)]
    key: String,
    /// Who does it.
    #[arg(long)]
    actor: String,
    /// Why.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    server: Server,
}

macro_rules! act {
    ($act:expr, $call:ident, $request:ident $(, $field:ident)*) => {
        remote::ask(&$act.server, async |mut admin| {
            let Act { program, campaign, key, actor, reason, .. } = &$act;
            let request = $request {
                program: program.clone(),
                campaign: campaign.clone(),
                key: key.clone(),
                actor: actor.clone(),
                reason: reason.clone(),
                $($field,)*
            };
            let answer = admin.$call(request).await.map_err(|status| remote::unanswered(&status))?.into_inner();
            acted(answer.receipt.as_ref(), answer.campaign.as_ref())
        })
    };
}

impl Campaign {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Fund { act, .. } | Self::Pause { act } | Self::Resume { act } | Self::Close { act } => {
                act.server.json
            }
            Self::List { server, .. } => server.json,
        }
    }

    pub(super) fn run(self) -> Outcome {
        match self {
            Self::Fund { points, act } => act!(act, fund_campaign, FundCampaignRequest, points),
            Self::Pause { act } => act!(act, pause_campaign, PauseCampaignRequest),
            Self::Resume { act } => act!(act, resume_campaign, ResumeCampaignRequest),
            Self::Close { act } => act!(act, close_campaign, CloseCampaignRequest),
            Self::List { program, server } => list(program, &server),
        }
    }
}

fn acted(receipt: Option<&Receipt>, campaign: Option<&State>) -> Outcome {
    let json = remote::with(remote::applied(receipt)?, json!({ "campaign": campaign.map(state_json) }));
    let state = campaign.map(|c| format!("{}\n", line(c))).unwrap_or_default();
    Ok(Shown { text: format!("{state}{}", remote::booked(receipt)), json })
}

fn list(program: String, server: &Server) -> Outcome {
    remote::ask(server, async |mut admin| {
        let request = ListCampaignsRequest { program };
        let answer = admin.list_campaigns(request).await.map_err(|status| remote::failure(&status))?.into_inner();
        let mut text: String = answer.campaigns.iter().map(|campaign| line(campaign) + "\n").collect();
        let _ = write!(text, "{} campaigns; book {} op {}", answer.campaigns.len(), answer.book_id, answer.op);
        let campaigns: Vec<_> = answer.campaigns.iter().map(state_json).collect();
        Ok(Shown { text, json: json!({ "campaigns": campaigns, "book_id": answer.book_id, "op": answer.op }) })
    })
}

fn status(campaign: &State) -> String {
    let name = campaign.status().as_str_name();
    name.strip_prefix("CAMPAIGN_STATUS_").unwrap_or(name).to_lowercase()
}

fn line(campaign: &State) -> String {
    let dropped = if campaign.in_force { "" } else { ", not in the newest version" };
    format!(
        "{}: {}{dropped}, {} to {}, {} funded {}, awarded {}, left {}",
        campaign.id,
        status(campaign),
        remote::instant(campaign.start_us),
        remote::instant(campaign.end_us),
        campaign.asset,
        campaign.funded,
        campaign.awarded,
        campaign.left,
    )
}

fn state_json(campaign: &State) -> Value {
    json!({
        "id": campaign.id,
        "status": status(campaign),
        "in_force": campaign.in_force,
        "start_us": campaign.start_us,
        "end_us": campaign.end_us,
        "group": campaign.group,
        "asset": campaign.asset,
        "funded": campaign.funded,
        "awarded": campaign.awarded,
        "left": campaign.left,
    })
}
