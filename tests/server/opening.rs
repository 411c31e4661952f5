//! Balances brought from another system.

use stampbook::proto as pb;
use stampbook::proto::{AccountClass, Kind, Outcome, Reason, Source};
use tonic::Code;

use crate::house::{DEFINITION, House, PROGRAM, fields, first, gift, opening, reason, redeem};

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_gives_or_owes_points_against_an_account_of_its_own() {
    let mut house = House::furnished().await;
    let had = house.post(opening("o1", "ann", 120)).await.unwrap();
    assert_eq!((had.outcome(), had.awarded, had.balance.unwrap().available), (Outcome::Applied, 120, 120));
    let owed = house.post(opening("o2", "ben", -40)).await.unwrap();
    assert_eq!((owed.outcome(), owed.owed), (Outcome::Applied, 40));
    assert_eq!((owed.balance.unwrap().available, owed.balance.unwrap().debt), (0, 40));
    // What comes later settles the debt first.
    assert_eq!(house.post(opening("o3", "ben", 50)).await.unwrap().balance.unwrap().available, 10);
    let event = house.event(had.op).await.unwrap();
    assert_eq!((event.kind(), event.member.as_str(), event.points), (Kind::Opening, "ann", 120));
    assert_eq!((event.actor.as_str(), event.actor_reason.as_str()), ("ana", "moved in"));
    let legs: Vec<_> = event.legs.iter().map(|leg| (leg.account.as_str(), leg.amount)).collect();
    assert!(legs.contains(&("member/available", 120)) && legs.contains(&("opening", -120)), "{legs:?}");
    let lots = event.legs.iter().flat_map(|leg| &leg.lots);
    assert_eq!(lots.map(|lot| (lot.source(), lot.units)).collect::<Vec<_>>(), [(Source::Opening, 120)]);
    let event = house.event(owed.op).await.unwrap();
    let legs: Vec<_> = event.legs.iter().map(|leg| (leg.account.as_str(), leg.amount)).collect();
    assert!(legs.contains(&("member/debt", -40)) && legs.contains(&("opening", 40)), "{legs:?}");
    let trial = house.trial(None).await;
    let row = trial.rows.iter().find(|row| row.account == "opening").unwrap();
    assert_eq!((row.class(), row.debit, row.credit), (AccountClass::Opening, 130, 0));
    assert_eq!((trial.totals[0].debit, trial.totals[0].members), (trial.totals[0].credit, 2));
    assert_eq!(house.post(redeem("r1", "ann", 120)).await.unwrap().outcome(), Outcome::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_is_replayed_like_any_command_also_after_a_restart() {
    let mut house = House::furnished().await;
    let receipt = house.post(opening("o1", "ann", 120)).await.unwrap();
    let mut house = house.reopened().await;
    let again = house.post(opening("o1", "ann", 120)).await.unwrap();
    assert!(again.replayed && first(&again) == receipt);
    let status = house.post(opening("o1", "ann", 121)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "KEY_REUSED".into()));
    assert_eq!(house.balance("ann").await.available, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn openings_are_refused_once_the_program_no_longer_imports() {
    let mut house = House::furnished().await;
    house.post(opening("o1", "ann", 5)).await.unwrap();
    let live = DEFINITION.replace("\"import\"", "\"live\"");
    house.put(&live, Some(1), "put-2").await.unwrap();
    for command in [opening("o2", "ann", 5), opening("o3", "new", 5), opening("o4", "ann", -5)] {
        let refused = house.post(command.clone()).await.unwrap();
        assert_eq!((refused.outcome(), refused.reason()), (Outcome::Rejected, Reason::NotImporting));
        assert_eq!(refused.field, "opening");
        assert_eq!(first(&house.post(command).await.unwrap()), refused);
        let event = house.event(refused.op).await.unwrap();
        assert_eq!((event.kind(), event.legs.len()), (Kind::Opening, 0));
    }
    assert_eq!(house.balance("ann").await.available, 5);
    assert_eq!(house.post(gift("g1", "ann", 1)).await.unwrap().outcome(), Outcome::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_of_wrong_shape_is_named_by_its_field_and_books_nothing() {
    let mut house = House::furnished().await;
    let said = |points, actor: &str, why: &str| {
        let said = pb::Opening { points, actor: actor.into(), reason: why.into(), ..Default::default() };
        pb::Command { action: Some(pb::command::Action::Opening(said)), ..opening("o1", "ann", 1) }
    };
    for (command, field) in [
        (said(0, "ana", "moved in"), "command.opening.points"),
        (said(1_000_000_000_001, "ana", "moved in"), "command.opening.points"),
        (said(-1_000_000_000_001, "ana", "moved in"), "command.opening.points"),
        (said(1, "", "moved in"), "command.opening.actor"),
        (said(1, &"a".repeat(65), "moved in"), "command.opening.actor"),
        (said(1, "ana", ""), "command.opening.reason"),
        (said(1, "ana", &"r".repeat(257)), "command.opening.reason"),
    ] {
        let status = house.post(command).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let request = pb::GetMemberRequest { program: PROGRAM.into(), member: "ann".into(), as_of: None };
    assert_eq!(house.accounts.get_member(request).await.unwrap_err().code(), Code::NotFound);
}
