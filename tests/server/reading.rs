//! Reading members, events and the trial balance.

use stampbook::proto as pb;
use stampbook::proto::{AccountClass, Kind, Outcome};
use tonic::Code;

use crate::house::{BUDGET, House, PROGRAM, adjust, fields, gift, purchase, reason, redeem, refund};

fn statement(member: &str) -> pb::ListEventsRequest {
    pb::ListEventsRequest { program: PROGRAM.into(), member: member.into(), ..Default::default() }
}

/// All events that the question is answered with, page after page.
async fn walk(house: &mut House, mut question: pb::ListEventsRequest) -> Vec<pb::Event> {
    let mut events = Vec::new();
    loop {
        let page = house.accounts.list_events(question.clone()).await.unwrap().into_inner();
        assert!(question.page_size == 0 || page.events.len() <= usize::try_from(question.page_size).unwrap());
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return events;
        }
        question.page_token = page.next_page_token;
    }
}

/// One command of every kind and outcome.
async fn busy_day(house: &mut House) -> Vec<pb::Receipt> {
    let noted = pb::Command {
        reference: "INV-1".into(),
        channel: "app".into(),
        partner: "acme".into(),
        location: "leeds".into(),
        metadata: [("till".to_owned(), "4".to_owned())].into(),
        occurred_at_us: Some(1_290_000_000_000_000),
        ..purchase("c1", "ann", 10_000)
    };
    let commands = vec![
        noted,
        redeem("c2", "ann", 150),
        redeem("c3", "ann", 1_000),
        refund("c4", "ann", "c1", 5_000),
        adjust("c5", "ann", 500),
        adjust("c6", "ann", -20),
        redeem("c7", "nobody", 1),
        gift("c8", "ben", 9),
        purchase("c9", "ben", 1),
    ];
    let mut receipts = house.batch(commands[..5].to_vec(), false).await.unwrap();
    for command in &commands[5..] {
        receipts.push(house.post(command.clone()).await.unwrap());
    }
    receipts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receipt_is_rebuilt_from_its_event_in_the_book() {
    let mut house = House::furnished().await;
    let receipts = busy_day(&mut house).await;
    for round in 0..2 {
        for receipt in &receipts {
            let event = house.event(receipt.op).await.unwrap();
            assert_eq!(event.receipt.as_ref(), Some(receipt), "round {round}");
            assert_eq!(event.legs.iter().map(|leg| leg.amount).sum::<i64>(), 0);
            let name = Some(pb::get_event_request::Name::Key(receipt.key.clone()));
            let by_key = pb::GetEventRequest { program: PROGRAM.into(), name };
            assert_eq!(house.accounts.get_event(by_key).await.unwrap().into_inner().event, Some(event));
        }
        house = house.reopened().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_shows_what_was_sent_and_what_was_moved() {
    let mut house = House::furnished().await;
    let receipts = busy_day(&mut house).await;
    let earn = house.event(receipts[0].op).await.unwrap();
    assert_eq!((earn.kind(), earn.member.as_str(), earn.program.as_str()), (Kind::Earn, "ann", PROGRAM));
    assert_eq!((earn.reference.as_str(), earn.channel.as_str()), ("INV-1", "app"));
    assert_eq!((earn.partner.as_str(), earn.location.as_str()), ("acme", "leeds"));
    assert_eq!((earn.metadata["till"].as_str(), earn.event_kind.as_str()), ("4", "purchase"));
    assert_eq!((earn.occurred_at_us, earn.amount_minor, earn.rule_version), (1_290_000_000_000_000, 10_000, 1));
    assert_eq!(earn.body_hash.len(), 16);
    let mut legs: Vec<_> = earn.legs.iter().map(|leg| (leg.account.as_str(), leg.amount, leg.lots.len())).collect();
    legs.sort_unstable();
    assert_eq!(legs, [("campaign/double-night", -100, 0), ("issuance", -100, 0), ("member/available", 200, 2)]);
    let back = house.event(receipts[3].op).await.unwrap();
    assert_eq!((back.kind(), back.original_op), (Kind::Refund, receipts[0].op));
    let spent = house.event(receipts[1].op).await.unwrap();
    assert_eq!((spent.kind(), spent.points, spent.purpose()), (Kind::Redeem, 150, pb::Purpose::CashOffset));
    let unknown = house.event(receipts[6].op).await.unwrap();
    assert_eq!((unknown.kind(), unknown.member.as_str()), (Kind::Redeem, "nobody"));
    let funded = house.event(2).await.unwrap();
    assert_eq!(
        (funded.kind(), funded.points, funded.campaign.as_str()),
        (Kind::CampaignFunded, BUDGET, "double-night")
    );
    assert_eq!((funded.actor.as_str(), funded.actor_reason.as_str()), ("ana", "test"));
}

async fn explained(
    house: &mut House,
    program: &str,
    name: pb::explain_event_request::Name,
) -> Result<pb::ExplainEventResponse, tonic::Status> {
    let request = pb::ExplainEventRequest { program: program.into(), name: Some(name) };
    house.accounts.explain_event(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_explained_by_op_and_by_key_by_the_version_that_decided_it() {
    use pb::explain_event_request::Name;
    let mut house = House::furnished().await;
    let receipts = busy_day(&mut house).await;
    house.put(&crate::house::DEFINITION.replace("points = 1\n", "points = 7\n"), None, "put-2").await.unwrap();
    for _ in 0..2 {
        for receipt in &receipts {
            let by_op = explained(&mut house, PROGRAM, Name::Op(receipt.op)).await.unwrap();
            let by_key = explained(&mut house, PROGRAM, Name::Key(receipt.key.clone())).await.unwrap();
            assert_eq!(by_op.lines, by_key.lines);
            assert_eq!(by_op.event.unwrap().receipt.as_ref(), Some(receipt));
            assert!(by_op.lines.iter().all(|line| !line.text.contains("says another")), "{:?}", by_op.lines);
        }
        let lines = explained(&mut house, PROGRAM, Name::Op(receipts[0].op)).await.unwrap().lines;
        let line = |name: &str| lines.iter().find(|line| line.name == name).unwrap();
        assert!(line("base").text.contains("1/100 points a minor unit"), "{}", line("base").text);
        let numbers = &line("campaign").numbers;
        assert!(numbers.contains(&pb::NamedNumber { name: "awarded".into(), value: 100 }), "{numbers:?}");
        assert_eq!((line("campaign").campaign.as_str(), line("enters").lot.unwrap().units), ("double-night", 100));
        let funded = explained(&mut house, PROGRAM, Name::Op(2)).await.unwrap().lines;
        assert!(funded.iter().any(|line| line.text.contains("double-night is funded")), "{funded:?}");
        house = house.reopened().await;
    }
    house.snapshot("eve").await.unwrap();
    let newest = receipts.last().unwrap().op + 2;
    let taken = explained(&mut house, "", Name::Op(newest)).await.unwrap().lines;
    assert!(taken.iter().any(|line| line.text.starts_with("Snapshot eve of the state at this op")), "{taken:?}");
    for (program, name) in [(PROGRAM, Name::Op(newest)), ("", Name::Op(1)), (PROGRAM, Name::Key("other".into()))] {
        let status = explained(&mut house, program, name).await.unwrap_err();
        assert_eq!(reason(&status), (Code::NotFound, "EVENT_NOT_FOUND".into()));
    }
    let unnamed = pb::ExplainEventRequest { program: PROGRAM.into(), name: None };
    assert_eq!(fields(&house.accounts.explain_event(unnamed).await.unwrap_err()), ["op"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_pages_through_every_event_of_a_member_newest_first() {
    let mut house = House::furnished().await;
    let mut ops = Vec::new();
    for n in 0..120 {
        let command = match n % 3 {
            0 => pb::Command { reference: format!("R{}", n % 2), ..gift(&format!("a{n}"), "ann", 5) },
            1 => redeem(&format!("a{n}"), "ann", 1),
            _ => redeem(&format!("a{n}"), "ann", 1_000_000),
        };
        ops.push(house.post(command).await.unwrap().op);
        house.post(gift(&format!("b{n}"), "ben", 1)).await.unwrap();
    }
    ops.reverse();
    for page_size in [0, 1, 7, 500] {
        let events = walk(&mut house, pb::ListEventsRequest { page_size, ..statement("ann") }).await;
        let seen: Vec<_> = events.iter().map(|event| event.receipt.as_ref().unwrap().op).collect();
        assert_eq!(seen, ops, "pages of {page_size}");
        assert!(events.iter().all(|event| event.member == "ann"));
    }
    let earns = pb::ListEventsRequest { kinds: vec![Kind::Earn.into()], page_size: 9, ..statement("ann") };
    assert_eq!(walk(&mut house, earns).await.len(), 40);
    let spends = pb::ListEventsRequest { kinds: vec![Kind::Redeem.into()], ..statement("ann") };
    let spends = walk(&mut house, spends).await;
    assert_eq!(spends.len(), 80);
    let refused = |event: &&pb::Event| event.receipt.as_ref().unwrap().outcome() == Outcome::Rejected;
    assert_eq!(spends.iter().filter(refused).count(), 40);
    let by_reference = pb::ListEventsRequest { reference: "R1".into(), page_size: 3, ..statement("ann") };
    assert_eq!(walk(&mut house, by_reference).await.len(), 20);
    let middle = house.event(ops[60]).await.unwrap().receipt.unwrap().book_time_us;
    let newer = pb::ListEventsRequest { from_us: Some(middle), page_size: 8, ..statement("ann") };
    let older = pb::ListEventsRequest { to_us: Some(middle), page_size: 8, ..statement("ann") };
    let (newer, older) = (walk(&mut house, newer).await, walk(&mut house, older).await);
    assert!(newer.iter().all(|event| event.receipt.as_ref().unwrap().book_time_us >= middle));
    assert_eq!(newer.len() + older.len(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_belongs_to_its_question() {
    let mut house = House::furnished().await;
    for n in 0..5 {
        house.post(gift(&format!("a{n}"), "ann", 5)).await.unwrap();
        house.post(gift(&format!("b{n}"), "ben", 5)).await.unwrap();
    }
    let question = pb::ListEventsRequest { page_size: 2, ..statement("ann") };
    let token = house.accounts.list_events(question.clone()).await.unwrap().into_inner().next_page_token;
    for (page_token, member) in [(token.clone(), "ben"), ("nonsense".into(), "ann"), (format!("{token}0"), "ann")] {
        let stray = pb::ListEventsRequest { page_token, member: member.into(), ..question.clone() };
        let status = house.accounts.list_events(stray).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_MALFORMED".into()));
        assert_eq!(fields(&status), ["page_token"]);
    }
    let too_large = pb::ListEventsRequest { page_size: 501, ..statement("ann") };
    assert_eq!(fields(&house.accounts.list_events(too_large).await.unwrap_err()), ["page_size"]);
    assert!(walk(&mut house, statement("nobody")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found_with_a_reason() {
    let mut house = House::furnished().await;
    let newest = house.post(gift("k", "ann", 1)).await.unwrap().op;
    for op in [0, newest + 1, u64::MAX] {
        let status = house.event(op).await.unwrap_err();
        assert_eq!(reason(&status), (Code::NotFound, "EVENT_NOT_FOUND".into()));
    }
    let name = Some(pb::get_event_request::Name::Key("other".into()));
    let status = house.accounts.get_event(pb::GetEventRequest { program: PROGRAM.into(), name }).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "EVENT_NOT_FOUND".into()));
    let request = pb::GetMemberRequest { program: PROGRAM.into(), member: "nobody".into(), as_of: None };
    let status = house.accounts.get_member(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "MEMBER_UNKNOWN".into()));
    let request = pb::GetMemberRequest { program: "nowhere".into(), member: "ann".into(), as_of: None };
    let status = house.accounts.get_member(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "PROGRAM_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_read_together_as_of_one_op() {
    let mut house = House::furnished().await;
    house.post(gift("a", "ann", 3)).await.unwrap();
    let newest = house.post(gift("b", "ben", 4)).await.unwrap().op;
    let members = ["ben", "eve", "ann"].map(str::to_owned).to_vec();
    let request = pb::BatchGetMembersRequest { program: PROGRAM.into(), members };
    let response = house.accounts.batch_get_members(request).await.unwrap().into_inner();
    let found: Vec<_> = response
        .members
        .iter()
        .map(|member| (member.id.as_str(), member.balance.as_ref().unwrap().available))
        .collect();
    assert_eq!(found, [("ben", 4), ("ann", 3)]);
    assert_eq!((response.unknown, response.op), (vec!["eve".to_owned()], newest));
    assert_eq!(response.members[0].last_op, newest);
    let many = pb::BatchGetMembersRequest { program: PROGRAM.into(), members: vec!["m".into(); 1_001] };
    let status = house.accounts.batch_get_members(many).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "TOO_MANY_ITEMS".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trial_balance_balances_and_names_every_account() {
    let mut house = House::furnished().await;
    busy_day(&mut house).await;
    let request = pb::GetTrialBalanceRequest { program: PROGRAM.into(), as_of: None, basis: 0 };
    let trial = house.accounts.get_trial_balance(request).await.unwrap().into_inner();
    let total = &trial.totals[0];
    assert_eq!(total.debit, total.credit);
    assert_eq!(trial.rows.iter().map(|row| row.debit).sum::<i64>(), total.debit);
    let credit = |account: &str| trial.rows.iter().find(|row| row.account == account).map(|row| row.credit);
    assert_eq!(credit("redemption/cash_offset"), Some(150));
    assert_eq!(credit("campaign/double-night"), Some(BUDGET - 50));
    assert!(trial.rows.windows(2).all(|pair| pair[0].class <= pair[1].class));
    assert!(trial.rows.iter().all(|row| row.class() != AccountClass::Unspecified && row.asset == "points"));
    let everything = pb::GetTrialBalanceRequest::default();
    assert_eq!(house.accounts.get_trial_balance(everything).await.unwrap().into_inner().rows, trial.rows);
    let elsewhere = pb::GetTrialBalanceRequest { program: "nowhere".into(), as_of: None, basis: 0 };
    let status = house.accounts.get_trial_balance(elsewhere).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_shows_every_asset_and_how_the_member_stands() {
    let mut house = House::furnished().await;
    house.post(gift("k1", "ann", 40)).await.unwrap();
    house.post(redeem("k2", "ann", 15)).await.unwrap();
    let request = pb::GetMemberRequest { program: PROGRAM.into(), member: "ann".into(), as_of: None };
    let member = house.accounts.get_member(request).await.unwrap().into_inner().member.unwrap();
    let points = pb::AssetCard { asset: "points".into(), available: 25, ..Default::default() };
    assert_eq!((member.assets.as_slice(), member.standing()), (&[points][..], pb::Standing::Open));
    assert_eq!(member.balance, Some(pb::Balance { available: 25, ..Default::default() }));
    let request = pb::BatchGetMembersRequest { program: PROGRAM.into(), members: vec!["ann".into()] };
    assert_eq!(house.accounts.batch_get_members(request).await.unwrap().into_inner().members, [member]);
}

#[tokio::test(flavor = "multi_thread")]
async fn points_that_never_lapse_are_in_no_forecast() {
    use pb::get_expiring_request::Until;
    let mut house = House::furnished().await;
    let op = house.post(gift("k1", "ann", 40)).await.unwrap().op;
    for member in ["ann", "nobody", ""] {
        for until in [Until::WithinDays(1), Until::WithinDays(3_660), Until::UntilUs(253_401_955_200_000_000)] {
            let (program, member) = (PROGRAM.into(), member.into());
            let request = pb::GetExpiringRequest { program, member, until: Some(until) };
            let answer = house.accounts.get_expiring(request).await.unwrap().into_inner();
            assert_eq!((answer.expiring.as_slice(), answer.op), (&[][..], op));
        }
    }
    for (until, field) in [
        (None, "within_days"),
        (Some(Until::WithinDays(0)), "within_days"),
        (Some(Until::WithinDays(3_661)), "within_days"),
        (Some(Until::UntilUs(i64::MAX)), "until_us"),
    ] {
        let request = pb::GetExpiringRequest { program: PROGRAM.into(), member: String::new(), until };
        assert_eq!(fields(&house.accounts.get_expiring(request).await.unwrap_err()), [field]);
    }
}
