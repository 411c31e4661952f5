//! Programs and campaigns, operated over gRPC.

use stampbook::proto as pb;
use stampbook::proto::{CampaignStatus, Outcome, Reason};
use tonic::Code;

use crate::house::{BUDGET, CAMPAIGN, DEFINITION, House, PROGRAM, fields, first, gift, purchase, reason, small};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_put_with_its_version_and_shown_as_it_was_put() {
    let mut house = House::furnished().await;
    let again = house.put(DEFINITION, None, "put-1").await.unwrap();
    assert!(again.receipt.as_ref().unwrap().replayed);
    assert_eq!(again.version, 1);
    let second = DEFINITION.replace("High Street Club", "The Club");
    let stale = house.put(&second, Some(0), "put-2").await.unwrap();
    assert_eq!(stale.receipt.unwrap().reason(), Reason::VersionMismatch);
    assert_eq!(stale.version, 0);
    let put = house.put(&second, Some(1), "put-3").await.unwrap();
    assert_eq!((put.receipt.unwrap().outcome(), put.version), (Outcome::Applied, 2));
    let request = pb::GetProgramRequest { program: PROGRAM.into() };
    let program = house.admin.get_program(request).await.unwrap().into_inner().program.unwrap();
    assert_eq!((program.version, program.name.as_str(), program.definition), (2, "The Club", second));
    assert_eq!((program.currency.as_str(), program.time_zone.as_str()), ("GBP", "Europe/London"));
    assert_eq!(program.rules[0].points_per_minor, Some(pb::Rational { numerator: 1, denominator: 100 }));
    let listed = house.admin.list_programs(pb::ListProgramsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.programs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_definition_names_line_and_field_of_every_fault() {
    let mut house = House::furnished().await;
    let faulty = DEFINITION.replace("\"GBP\"", "\"pounds\"").replace("multiplier = \"2\"", "multiplier = \"0.5\"");
    let status = house.put(&faulty, None, "put-2").await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "DEFINITION_INVALID".into()));
    let named = fields(&status);
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(named[0].starts_with("definition:4:") && named[0].ends_with(":currency"), "{named:?}");
    assert!(named[1].starts_with("definition:23:") && named[1].ends_with("multiplier"), "{named:?}");
    let other = DEFINITION.replace("id = \"high-street\"", "id = \"low-street\"");
    assert_eq!(fields(&house.put(&other, None, "put-2").await.unwrap_err()), ["program"]);
    let mut nameless = pb::PutProgramRequest { program: PROGRAM.into(), key: "k".into(), ..Default::default() };
    assert_eq!(fields(&house.admin.put_program(nameless.clone()).await.unwrap_err()), ["actor"]);
    nameless.actor = "ana".into();
    assert_eq!(fields(&house.admin.put_program(nameless).await.unwrap_err()), ["reason"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_funded_once_however_often_it_is_sent() {
    let mut house = House::furnished().await;
    let funded = house.fund(500, "fund-2").await.unwrap();
    let again = house.fund(500, "fund-2").await.unwrap();
    let (receipt, replay) = (funded.receipt.unwrap(), again.receipt.unwrap());
    assert!(replay.replayed && first(&replay) == receipt);
    let campaign = again.campaign.unwrap();
    assert_eq!((campaign.funded, campaign.left, campaign.awarded), (BUDGET + 500, BUDGET + 500, 0));
    let status = house.fund(501, "fund-2").await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "KEY_REUSED".into()));
    // A member's command shares the program's keys.
    let status = house.post(purchase("fund-2", "ann", 100)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "KEY_REUSED".into()));
    let status = house.fund(0, "fund-3").await.unwrap_err();
    assert_eq!(fields(&status), ["points"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_awards_only_while_it_is_open() {
    let mut house = House::furnished().await;
    let act =
        |key: &str| (PROGRAM.to_owned(), CAMPAIGN.to_owned(), key.to_owned(), "ana".to_owned(), "test".to_owned());
    let pause = |key: &str| {
        let (program, campaign, key, actor, reason) = act(key);
        pb::PauseCampaignRequest { program, campaign, key, actor, reason }
    };
    let resume = |key: &str| {
        let (program, campaign, key, actor, reason) = act(key);
        pb::ResumeCampaignRequest { program, campaign, key, actor, reason }
    };
    let paused = house.admin.pause_campaign(pause("p1")).await.unwrap().into_inner();
    assert_eq!(paused.campaign.unwrap().status(), CampaignStatus::Paused);
    assert_eq!(house.post(purchase("k1", "ann", 1_000)).await.unwrap().awarded, 10);
    let twice = house.admin.pause_campaign(pause("p2")).await.unwrap().into_inner();
    assert_eq!(twice.receipt.unwrap().reason(), Reason::CampaignPaused);
    // The same fields under a used key ask for something else here.
    let status = house.admin.resume_campaign(resume("p1")).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "KEY_REUSED".into()));
    let resumed = house.admin.resume_campaign(resume("r1")).await.unwrap().into_inner();
    assert_eq!(resumed.campaign.unwrap().status(), CampaignStatus::Open);
    assert_eq!(house.post(purchase("k2", "ann", 1_000)).await.unwrap().awarded, 20);
    let (program, campaign, key, actor, reason) = act("c1");
    let close = pb::CloseCampaignRequest { program, campaign, key, actor, reason };
    let closed = house.admin.close_campaign(close).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!((closed.status(), closed.left, closed.awarded), (CampaignStatus::Closed, 0, 10));
    assert_eq!(house.post(purchase("k3", "ann", 1_000)).await.unwrap().awarded, 10);
    assert_eq!(house.fund(5, "fund-9").await.unwrap().receipt.unwrap().reason(), Reason::CampaignClosed);
}

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_are_listed_and_an_unknown_one_is_not_found() {
    let mut house = House::furnished().await;
    let request = pb::ListCampaignsRequest { program: PROGRAM.into() };
    let campaigns = house.admin.list_campaigns(request).await.unwrap().into_inner().campaigns;
    assert_eq!(campaigns.len(), 1);
    assert_eq!((campaigns[0].id.as_str(), campaigns[0].in_force), (CAMPAIGN, true));
    assert_eq!(campaigns[0].multiplier, Some(pb::Rational { numerator: 2, denominator: 1 }));
    let request = pb::GetCampaignRequest { program: PROGRAM.into(), campaign: "none".into() };
    let status = house.admin.get_campaign(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "CAMPAIGN_UNKNOWN".into()));
    let request = pb::FundCampaignRequest {
        program: PROGRAM.into(),
        campaign: "none".into(),
        points: 1,
        key: "f".into(),
        actor: "ana".into(),
        reason: "test".into(),
    };
    let refused = house.admin.fund_campaign(request).await.unwrap().into_inner();
    assert_eq!(refused.receipt.unwrap().reason(), Reason::CampaignUnknown);
    assert_eq!(refused.campaign, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_that_is_answered_as_shed_was_not_done() {
    let crowded = stampbook::config::Config { queue_requests_max: 1, ..small() };
    let (dir, _) = House::furnished().await.close().await;
    let mut house = House::open(dir, &crowded).await;
    let crowd: Vec<_> = (0..4)
        .map(|n| {
            let mut ledger = house.ledger.clone();
            let items: Vec<_> = (0..1_000).map(|i| gift(&format!("b{n}-{i}"), "ann", 1)).collect();
            tokio::spawn(async move {
                loop {
                    let _ = ledger.post_batch(pb::PostBatchRequest { items: items.clone(), atomic: false }).await;
                }
            })
        })
        .collect();
    let mut shed = Vec::new();
    for n in 0..120 {
        let key = format!("more-{n}");
        if let Err(status) = house.fund(1, &key).await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            shed.push(key);
        }
    }
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
    for key in shed {
        // What was shed left its key free, so that another amount under it is no conflict.
        let funded = loop {
            match house.fund(2, &key).await {
                Err(status) if status.code() == Code::ResourceExhausted => {}
                answered => break answered,
            }
        };
        assert!(!funded.unwrap().receipt.unwrap().replayed, "{key}");
    }
}
