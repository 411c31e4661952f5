//! What a program says of its assets, over gRPC, and what its later versions may not change of it.

use stampbook::ledger::reason::Reason;
use stampbook::proto as pb;
use stampbook::proto::{AssetKind, OnShortfall, Outcome};

use crate::house::{CAMPAIGN, DEFINITION, House, PROGRAM, small};

const GROWTH: &str = "\n[[assets]]\nid = \"growth\"\nkind = \"qualifying\"\nexpires = \"90 days rolling\"\n";
const COUPON: &str = "\n[[assets]]\nid = \"coupon\"\nkind = \"entitlement\"\n";

fn definition(parts: &[&str]) -> String {
    format!("{DEFINITION}asset = \"growth\"\n{}", parts.concat())
        .replace(
            "kind = \"purchase\"\n",
            "kind = \"purchase\"\nalso = { asset = \"growth\", points = 3, per_minor = 100 }\n",
        )
        .replace("kind = \"review\"\n", "kind = \"review\"\npending = \"until activated\"\n")
}

fn number(reason: Reason) -> i32 {
    reason.number().into()
}

async fn house(definition: &str) -> House {
    let mut house = House::open(tempfile::tempdir().unwrap(), &small()).await;
    assert_eq!(house.put(definition, Some(0), "put-1").await.unwrap().version, 1);
    house
}

async fn program(house: &mut House) -> pb::Program {
    let request = pb::GetProgramRequest { program: PROGRAM.into() };
    house.admin.get_program(request).await.unwrap().into_inner().program.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_says_nothing_of_assets_has_points_as_they_were() {
    let mut house = house(DEFINITION).await;
    let program = program(&mut house).await;
    let points = pb::Asset {
        id: "points".into(),
        kind: AssetKind::Spendable.into(),
        unit: "point".into(),
        expiry: None,
        on_shortfall: OnShortfall::Debt.into(),
        debt_max: None,
        values: Vec::new(),
    };
    assert_eq!(
        (program.assets, program.offset, program.grace_days, program.hold_days_max),
        (vec![points], None, 0, 30)
    );
    assert!(program.rules.iter().all(|rule| rule.also.is_none() && rule.pending.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_second_awards_and_the_asset_of_a_campaign_are_shown_and_outlive_a_restart() {
    let terms = "grace_days = 5\nhold_days_max = 9\noffset = { points = 100, minor = 80 }\n";
    let text = format!("{terms}{}", definition(&[GROWTH, COUPON]));
    let mut house = house(&text).await;
    let before = program(&mut house).await;
    let ids: Vec<_> =
        before.assets.iter().map(|asset| (asset.id.as_str(), asset.kind(), asset.on_shortfall())).collect();
    let wanted = [
        ("points", AssetKind::Spendable, OnShortfall::Debt),
        ("growth", AssetKind::Qualifying, OnShortfall::Debt),
        ("coupon", AssetKind::Entitlement, OnShortfall::Clamp),
    ];
    assert_eq!(ids, wanted);
    let expiry = before.assets[1].expiry.unwrap();
    assert_eq!((expiry.lifetime, expiry.rolling), (Some(pb::expiry_policy::Lifetime::Days(90)), true));
    assert_eq!(expiry.round_up(), pb::RoundUp::Month);
    assert_eq!(before.offset, Some(pb::OffsetRate { points: 100, minor: 80 }));
    assert_eq!((before.grace_days, before.hold_days_max), (5, 9));
    let also = before.rules[0].also.clone().unwrap();
    assert_eq!((also.asset.as_str(), also.units_per_minor.unwrap().numerator), ("growth", 3));
    assert_eq!(before.rules[1].pending, Some(pb::event_rule::Pending::PendingUntilActivated(true)));
    let mut house = house.reopened().await;
    assert_eq!(program(&mut house).await, before);
    let request = pb::GetCampaignRequest { program: PROGRAM.into(), campaign: CAMPAIGN.into() };
    let campaign = house.admin.get_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!(campaign.asset, "growth");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_keeps_the_assets_that_there_are_in_their_order_with_their_kinds() {
    let mut house = house(&definition(&[GROWTH, COUPON])).await;
    let spendable = GROWTH.replace("qualifying", "spendable");
    for (key, parts) in [
        ("drops-last", vec![GROWTH]),
        ("reorders", vec![COUPON, GROWTH]),
        ("changes-kind", vec![&spendable, COUPON]),
        ("puts-before", vec!["\n[[assets]]\nid = \"miles\"\nkind = \"spendable\"\n", GROWTH, COUPON]),
    ] {
        let put = house.put(&definition(&parts), None, key).await.unwrap();
        let receipt = put.receipt.unwrap();
        assert_eq!(
            (receipt.reason, receipt.field.as_str(), put.version),
            (number(Reason::AssetFixed), "definition", 0),
            "{key}"
        );
    }
    let plain = house.put(DEFINITION, None, "drops-all").await.unwrap().receipt.unwrap();
    assert_eq!(plain.reason, number(Reason::AssetFixed));
    // All but id and kind may change, and what is new comes behind.
    let later = GROWTH.replace("90 days rolling", "never") + COUPON + &COUPON.replace("coupon", "badge");
    let put = house.put(&definition(&[&later]), None, "adds").await.unwrap();
    assert_eq!((put.receipt.unwrap().outcome(), put.version), (Outcome::Applied, 2));
    let assets = program(&mut house).await.assets;
    let ids: Vec<_> = assets.iter().map(|asset| asset.id.as_str()).collect();
    assert_eq!((ids, assets[1].expiry), (vec!["points", "growth", "coupon", "badge"], None));
    let gone = house.put(&definition(&[GROWTH, COUPON]), None, "drops-new").await.unwrap().receipt.unwrap();
    assert_eq!(gone.reason, number(Reason::AssetFixed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_keeps_its_asset_even_when_a_version_did_without_it() {
    let mut house = house(&definition(&[GROWTH])).await;
    let of_points = definition(&[GROWTH]).replace("asset = \"growth\"\n", "");
    let without = of_points.split("[[campaigns]]").next().unwrap().to_owned() + GROWTH;
    for key in ["moved", "moved-later"] {
        let put = house.put(&of_points, None, key).await.unwrap().receipt.unwrap();
        assert_eq!((put.reason, put.field.as_str()), (number(Reason::CampaignAssetFixed), "definition"), "{key}");
        assert_eq!(
            house.put(&without, None, &format!("without-{key}")).await.unwrap().receipt.unwrap().outcome(),
            Outcome::Applied
        );
    }
    let kept = house.put(&definition(&[GROWTH]), None, "kept").await.unwrap().receipt.unwrap();
    assert_eq!(kept.outcome(), Outcome::Applied);
}
