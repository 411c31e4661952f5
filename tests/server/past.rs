//! Reads as of an op or an instant that has passed, held against a history that the test keeps itself.

use std::collections::BTreeMap;

use stampbook::proto as pb;
use stampbook::proto::get_member_request::AsOf as MemberAsOf;
use stampbook::proto::get_trial_balance_request::AsOf as TrialAsOf;
use tonic::{Code, Status};

use crate::house::{BUDGET, House, PROGRAM, adjust, fields, gift, opening, purchase, reason, redeem, refund};

/// What the book held after an op.
#[derive(Clone, Debug, Default)]
struct Moment {
    book_time_us: i64,
    /// Balance and newest op of each member.
    members: BTreeMap<String, (pb::Balance, u64)>,
    /// Account -> credit less debit, of the whole program.
    accounts: BTreeMap<String, i64>,
}

/// A day on which everything happens, and what the book held after each op.
async fn history(house: &mut House) -> Vec<Moment> {
    let mut commands = Vec::new();
    for n in 0..12 {
        let (ann, ben) = (format!("a{n}"), format!("b{n}"));
        commands.extend([
            purchase(&format!("{ann}-p"), "ann", 10_000 + n),
            redeem(&format!("{ann}-r"), "ann", 50 + n),
            redeem(&format!("{ann}-x"), "ann", 1_000_000),
            opening(&format!("{ben}-o"), &format!("ben{n}"), 7 - 2 * n),
            adjust(&format!("{ann}-d"), "ann", if n % 2 == 0 { 9 } else { -9 }),
            refund(&format!("{ann}-b"), "ann", &format!("{ann}-p"), 5_000),
            gift(&format!("{ben}-g"), "late", 1),
        ]);
    }
    let mut moments: Vec<Moment> = Vec::new();
    let mut now = Moment::default();
    // The program and the funding are there already.
    for op in 1..=2 {
        take(&mut now, &house.event(op).await.unwrap());
        moments.push(now.clone());
    }
    for (place, command) in commands.into_iter().enumerate() {
        if place % 9 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let receipt = house.post(command).await.unwrap();
        assert_eq!(usize::try_from(receipt.op).unwrap(), moments.len() + 1);
        take(&mut now, &house.event(receipt.op).await.unwrap());
        moments.push(now.clone());
    }
    moments
}

fn take(now: &mut Moment, event: &pb::Event) {
    let receipt = event.receipt.as_ref().unwrap();
    now.book_time_us = receipt.book_time_us;
    if let Some(balance) = receipt.balance {
        now.members.insert(event.member.clone(), (balance, receipt.op));
    }
    for leg in &event.legs {
        *now.accounts.entry(leg.account.clone()).or_default() += leg.amount;
    }
}

async fn member(house: &mut House, member: &str, as_of: MemberAsOf) -> Result<pb::GetMemberResponse, Status> {
    let request = pb::GetMemberRequest { program: PROGRAM.into(), member: member.into(), as_of: Some(as_of) };
    house.accounts.get_member(request).await.map(tonic::Response::into_inner)
}

/// The rows that are not zero, credit less debit.
fn accounts(trial: &pb::GetTrialBalanceResponse) -> BTreeMap<String, i64> {
    trial.rows.iter().map(|row| (row.account.clone(), row.credit - row.debit)).collect()
}

fn nonzero(moment: &Moment) -> BTreeMap<String, i64> {
    let rows = moment.accounts.iter().filter(|(_, balance)| **balance != 0);
    rows.map(|(account, balance)| (account.clone(), *balance)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_and_the_trial_balance_are_told_for_every_op_as_they_were_then() {
    let mut house = House::furnished().await;
    let moments = history(&mut house).await;
    for round in 0..2 {
        for (op, moment) in (1..).zip(&moments) {
            let trial = house.trial(Some(TrialAsOf::AsOfOp(op))).await;
            assert_eq!((trial.op, accounts(&trial)), (op, nonzero(moment)), "op {op} round {round}");
            assert_eq!(trial.totals[0].members, u64::try_from(moment.members.len()).unwrap(), "op {op}");
            for name in ["ann", "ben3", "ben9", "late"] {
                let told = member(&mut house, name, MemberAsOf::AsOfOp(op)).await;
                match moment.members.get(name) {
                    Some((balance, last_op)) => {
                        let told = told.unwrap();
                        let then = told.member.unwrap();
                        assert_eq!(
                            (told.op, then.balance, then.last_op),
                            (op, Some(*balance), *last_op),
                            "{name} {op}"
                        );
                    }
                    None => {
                        let status = told.unwrap_err();
                        assert_eq!(reason(&status), (Code::NotFound, "MEMBER_UNKNOWN".into()), "{name} {op}");
                    }
                }
            }
        }
        house = house.reopened().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_means_the_newest_event_booked_by_then() {
    let mut house = House::furnished().await;
    let moments = history(&mut house).await;
    let newest_by = |us: i64| u64::try_from(moments.iter().filter(|moment| moment.book_time_us <= us).count()).unwrap();
    for moment in moments.iter().step_by(5) {
        for us in [moment.book_time_us - 1, moment.book_time_us, moment.book_time_us + 1] {
            let op = newest_by(us);
            if op == 0 {
                continue;
            }
            let trial = house.trial(Some(TrialAsOf::AsOfTimeUs(us))).await;
            let then = &moments[usize::try_from(op).unwrap() - 1];
            assert_eq!((trial.op, accounts(&trial)), (op, nonzero(then)));
            if let Some((balance, _)) = then.members.get("ann") {
                let told = member(&mut house, "ann", MemberAsOf::AsOfTimeUs(us)).await.unwrap();
                assert_eq!((told.op, told.member.unwrap().balance), (op, Some(*balance)));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_past_costs_is_said() {
    let mut house = House::furnished().await;
    let moments = history(&mut house).await;
    let newest = u64::try_from(moments.len()).unwrap();
    let now = house.trial(None).await;
    assert_eq!((now.op, now.events_replayed), (newest, 0));
    assert_eq!(house.trial(Some(TrialAsOf::AsOfOp(newest))).await.events_replayed, 0);
    let then = house.trial(Some(TrialAsOf::AsOfOp(newest - 1))).await;
    // At most all of them: where a trial balance is kept nearer, fewer.
    assert!((1..newest).contains(&then.events_replayed), "{}", then.events_replayed);
    let told = member(&mut house, "ann", MemberAsOf::AsOfOp(newest)).await.unwrap();
    assert_eq!(told.events_replayed, 0);
    // The member's own events from the newest down to the one that answers, and no others.
    let first = house.event(3).await.unwrap();
    assert_eq!(first.member, "ann");
    let told = member(&mut house, "ann", MemberAsOf::AsOfOp(3)).await.unwrap();
    assert_eq!(told.events_replayed, 12 * 5);
    assert_eq!(now.rows.iter().map(|row| row.credit - row.debit).sum::<i64>(), 0);
    assert!(now.rows.iter().any(|row| row.account == "issuance" && row.debit > BUDGET));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_happened_or_never_was_is_refused_by_field() {
    let mut house = House::furnished().await;
    let receipt = house.post(gift("g1", "ann", 1)).await.unwrap();
    let ahead = receipt.book_time_us + 3_600_000_000;
    for (as_of, field) in [
        (MemberAsOf::AsOfOp(0), "as_of_op"),
        (MemberAsOf::AsOfOp(receipt.op + 1), "as_of_op"),
        (MemberAsOf::AsOfOp(u64::MAX), "as_of_op"),
        (MemberAsOf::AsOfTimeUs(0), "as_of_time_us"),
        (MemberAsOf::AsOfTimeUs(i64::MIN), "as_of_time_us"),
        (MemberAsOf::AsOfTimeUs(ahead), "as_of_time_us"),
        (MemberAsOf::AsOfTimeUs(i64::MAX), "as_of_time_us"),
    ] {
        let status = member(&mut house, "ann", as_of).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_OUT_OF_RANGE".into()), "{as_of:?}");
        assert_eq!(fields(&status), [field], "{as_of:?}");
        let as_of = match as_of {
            MemberAsOf::AsOfOp(op) => TrialAsOf::AsOfOp(op),
            MemberAsOf::AsOfTimeUs(us) => TrialAsOf::AsOfTimeUs(us),
        };
        let request = pb::GetTrialBalanceRequest { program: PROGRAM.into(), as_of: Some(as_of), basis: 0 };
        let status = house.accounts.get_trial_balance(request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]), "{as_of:?}");
    }
    let status = member(&mut house, "ann", MemberAsOf::AsOfOp(2)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "MEMBER_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_that_lies_more_events_back_than_one_read_walks_is_refused() {
    let mut house = House::furnished().await;
    let first = house.post(gift("first", "ann", 1)).await.unwrap().op;
    let walked = i32::try_from(stampbook::audit::past::PAST_WALK_EVENTS_MAX).unwrap();
    let commands: Vec<_> = (0..walked).map(|n| gift(&format!("g{n}"), "ann", 1)).collect();
    for commands in commands.chunks(10_000) {
        house.batch(commands.to_vec(), false).await.unwrap();
    }
    let status = member(&mut house, "ann", MemberAsOf::AsOfOp(first)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "AS_OF_TOO_FAR".into()));
    let told = member(&mut house, "ann", MemberAsOf::AsOfOp(first + 1)).await.unwrap();
    assert_eq!(told.member.unwrap().balance.unwrap().available, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_of_the_past_tells_what_was_held_and_pending_in_every_asset() {
    let grown = "\n[[assets]]\nid = \"growth\"\nkind = \"qualifying\"\n";
    let also = "kind = \"purchase\"\nalso = { asset = \"growth\", points = 3, per_minor = 100 }\n";
    let definition = crate::house::DEFINITION.replace("kind = \"purchase\"\n", also) + grown;
    let mut house = House::open(tempfile::tempdir().unwrap(), &crate::house::small()).await;
    house.put(&definition, None, "put-1").await.unwrap();
    let pinned = |key: &str, action| pb::Command { action: Some(action), ..gift(key, "ann", 1) };
    let hold = pb::Hold { units: 30, purpose: pb::Purpose::Gift.into(), ..Default::default() };
    let basis = Some(pb::earn::Basis::Points(7));
    let pending = Some(pb::earn::Pending::UntilActivated(true));
    let waits = pb::Earn { basis, pending, ..Default::default() };
    let capture = pb::Capture { hold: Some(pb::capture::Hold::HoldKey("hold".into())), units: 10, last: false };
    let mut then = Vec::new();
    for command in [
        purchase("p", "ann", 10_000),
        pinned("hold", pb::command::Action::Hold(hold)),
        pinned("waits", pb::command::Action::Earn(waits)),
        pinned("capture", pb::command::Action::Capture(capture)),
        gift("g", "ann", 5),
    ] {
        let receipt = house.post(command).await.unwrap();
        assert_eq!(receipt.outcome(), pb::Outcome::Applied, "{receipt:?}");
        let request = pb::GetMemberRequest { program: PROGRAM.into(), member: "ann".into(), as_of: None };
        let now = house.accounts.get_member(request).await.unwrap().into_inner().member.unwrap();
        then.push((receipt.op, pb::Member { standing: 0, ..now }));
    }
    let last = &then.last().unwrap().1;
    let balance = pb::Balance { available: 75, debt: 0, held: 20, pending: 7 };
    assert_eq!((last.balance, last.assets.len(), last.assets[1].available), (Some(balance), 2, 300));
    for (op, expected) in &then {
        let told = member(&mut house, "ann", MemberAsOf::AsOfOp(*op)).await.unwrap();
        assert_eq!(told.member.as_ref(), Some(expected), "op {op}");
    }
}
