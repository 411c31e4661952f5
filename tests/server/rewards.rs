//! Rewards over the wire: put, bought by many at once, reserved, and told.

use std::process::Command;

use stampbook::config::{ClockSetting, Config};
use stampbook::proto as pb;
use stampbook::proto::command::Action;
use stampbook::proto::get_trial_balance_request::AsOf;
use stampbook::proto::{Kind, Outcome, Purpose, Reason};
use tonic::Code;

use crate::house::{DEFINITION, House, PROGRAM, fields, first, gift, reason, redeem, small};

const PRICE: i64 = 100;

/// A mug for 100 points, with so many put in.
fn mug(key: &str, stocked: i64) -> pb::PutRewardRequest {
    pb::PutRewardRequest {
        program: PROGRAM.into(),
        reward: "mug".into(),
        name: "A mug".into(),
        asset: String::new(),
        price: PRICE,
        open: true,
        stocked,
        key: key.into(),
        actor: "ana".into(),
        reason: "test".into(),
    }
}

fn acted(key: &str, member: &str, action: Action) -> pb::Command {
    pb::Command { action: Some(action), ..gift(key, member, 1) }
}

fn claim(key: &str, member: &str, quantity: i64) -> pb::Command {
    let (reward, purpose) = ("mug".to_owned(), Purpose::Gift.into());
    acted(key, member, Action::Redeem(pb::Redeem { reward, quantity, purpose, ..Default::default() }))
}

fn reserve(key: &str, member: &str, quantity: i64) -> pb::Command {
    let (reward, purpose) = ("mug".to_owned(), Purpose::Gift.into());
    acted(key, member, Action::Hold(pb::Hold { reward, quantity, purpose, ..Default::default() }))
}

async fn put(house: &mut House, request: pb::PutRewardRequest) -> pb::PutRewardResponse {
    house.admin.put_reward(request).await.unwrap().into_inner()
}

async fn got(house: &mut House) -> pb::Reward {
    let request = pb::GetRewardRequest { program: PROGRAM.into(), reward: "mug".into() };
    house.admin.get_reward(request).await.unwrap().into_inner().reward.unwrap()
}

/// Credit less debit by account, of what is counted in pieces.
async fn pieces(house: &mut House, as_of: Option<AsOf>) -> Vec<(String, i64)> {
    let trial = house.trial(as_of).await;
    let rows = trial.rows.into_iter().filter(|row| row.asset == "pieces");
    let rows: Vec<_> = rows.map(|row| (row.account, row.credit - row.debit)).collect();
    assert_eq!(rows.iter().map(|(_, balance)| balance).sum::<i64>(), 0);
    rows
}

fn rows(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(account, balance)| ((*account).to_owned(), *balance)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callers_who_want_the_last_piece_at_once_one_gets_it() {
    let mut house = House::furnished().await;
    put(&mut house, mug("w1", 1)).await;
    let members: Vec<_> = (0..64).map(|n| format!("m{n}")).collect();
    let gifts = members.iter().map(|member| gift(&format!("g-{member}"), member, PRICE)).collect();
    house.batch(gifts, false).await.unwrap();
    let calls: Vec<_> = members
        .iter()
        .map(|member| {
            let mut ledger = house.ledger.clone();
            let command = Some(claim(&format!("c-{member}"), member, 1));
            tokio::spawn(async move { ledger.post(pb::PostRequest { command }).await })
        })
        .collect();
    let mut applied = Vec::new();
    for call in calls {
        let receipt = call.await.unwrap().unwrap().into_inner().receipt.unwrap();
        match receipt.outcome() {
            Outcome::Applied => applied.push(receipt),
            outcome => {
                assert_eq!((outcome, receipt.reason()), (Outcome::Rejected, Reason::OutOfStock));
                assert_eq!((receipt.field.as_str(), receipt.reward.is_none()), ("redeem.quantity", true));
                assert_eq!(receipt.balance.unwrap().available, PRICE);
            }
        }
    }
    assert_eq!(applied.len(), 1);
    let moved = applied[0].reward.as_ref().unwrap();
    assert_eq!((moved.reward.as_str(), moved.pieces, moved.price), ("mug", 1, PRICE));
    assert_eq!((applied[0].taken, applied[0].balance.unwrap().available), (PRICE, 0));
    assert_eq!((got(&mut house).await.left, got(&mut house).await.reserved), (0, 0));
    assert_eq!(pieces(&mut house, None).await, rows(&[("issuance", -1), ("redemption/gift", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_is_put_once_a_key_and_shown_as_it_stands() {
    let mut house = House::furnished().await;
    let first_put = put(&mut house, mug("w1", 5)).await;
    let receipt = first_put.receipt.unwrap();
    assert_eq!((receipt.outcome(), first_put.reward.unwrap().left), (Outcome::Applied, 5));
    let again = put(&mut house, mug("w1", 5)).await;
    let replay = again.receipt.unwrap();
    assert!(replay.replayed);
    assert_eq!((first(&replay), got(&mut house).await.left), (receipt.clone(), 5));
    let conflict = house.admin.put_reward(mug("w1", 6)).await.unwrap_err();
    assert_eq!(reason(&conflict), (Code::AlreadyExists, "KEY_REUSED".into()));
    let more = pb::PutRewardRequest { reward: "Bag-1".into(), open: false, ..mug("w2", 0) };
    put(&mut house, more).await;
    let request = pb::ListRewardsRequest { program: PROGRAM.into() };
    let listed = house.admin.list_rewards(request).await.unwrap().into_inner().rewards;
    let ids: Vec<_> = listed.iter().map(|reward| (reward.id.as_str(), reward.open, reward.asset.as_str())).collect();
    assert_eq!(ids, [("Bag-1", false, "points"), ("mug", true, "points")]);
    let request = pb::GetRewardRequest { program: PROGRAM.into(), reward: "cap".into() };
    let unknown = house.admin.get_reward(request).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "REWARD_UNKNOWN".into()));
    let out = put(&mut house, mug("w3", -6)).await.receipt.unwrap();
    assert_eq!((out.reason(), out.field.as_str()), (Reason::OutOfStock, "stocked"));
    let event = house.event(receipt.op).await.unwrap();
    assert_eq!((event.kind(), event.reward.as_str(), event.pieces, event.price), (Kind::RewardPut, "mug", 5, PRICE));
    assert_eq!(event.actor, "ana");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_of_a_wrong_shape_is_refused_by_its_field() {
    let mut house = House::furnished().await;
    let wrong = [
        (pb::PutRewardRequest { reward: "a mug".into(), ..mug("w", 1) }, "reward"),
        (pb::PutRewardRequest { reward: "a/reserved".into(), ..mug("w", 1) }, "reward"),
        (pb::PutRewardRequest { name: String::new(), ..mug("w", 1) }, "name"),
        (pb::PutRewardRequest { price: 0, ..mug("w", 1) }, "price"),
        (mug("w", 1_000_000_000_001), "stocked"),
        (pb::PutRewardRequest { actor: String::new(), ..mug("w", 1) }, "actor"),
        (mug("", 1), "key"),
    ];
    for (request, field) in wrong {
        let status = house.admin.put_reward(request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    assert!(pieces(&mut house, None).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_reserve_is_told_kept_over_a_start_and_known_of_the_past() {
    let mut house = House::furnished().await;
    put(&mut house, mug("w1", 5)).await;
    house.post(gift("g", "ann", 1_000)).await.unwrap();
    let held = house.post(reserve("h", "ann", 3)).await.unwrap();
    let told = |receipt: &pb::Receipt| receipt.reward.as_ref().map(|moved| (moved.pieces, moved.price));
    assert_eq!((held.outcome(), told(&held)), (Outcome::Applied, Some((3, PRICE))));
    let mut house = house.reopened().await;
    assert_eq!((got(&mut house).await.left, got(&mut house).await.reserved), (2, 3));
    let capture = |key: &str, units, last| {
        let hold = Some(pb::capture::Hold::HoldKey("h".into()));
        acted(key, "ann", Action::Capture(pb::Capture { hold, units, last }))
    };
    let part = house.post(capture("c1", 50, false)).await.unwrap();
    assert_eq!((part.reason(), part.field.as_str()), (Reason::NotWholePieces, "capture.units"));
    let taken = house.post(capture("c2", 200, true)).await.unwrap();
    assert_eq!((taken.outcome(), told(&taken)), (Outcome::Applied, Some((2, PRICE))));
    let original = Some(pb::reverse::Original::OriginalKey("c2".into()));
    let undone = house.post(acted("u", "ann", Action::Reverse(pb::Reverse { original, units: Some(100) })));
    let undone = undone.await.unwrap();
    assert_eq!((undone.outcome(), told(&undone)), (Outcome::Applied, Some((1, 0))));
    let now = rows(&[("issuance", -5), ("redemption/gift", 1), ("reward/mug", 4)]);
    assert_eq!(pieces(&mut house, None).await, now);
    let then = rows(&[("issuance", -5), ("reward/mug", 2), ("reward/mug/reserved", 3)]);
    assert_eq!(pieces(&mut house, Some(AsOf::AsOfOp(held.op))).await, then);
    assert_eq!(pieces(&mut house, Some(AsOf::AsOfOp(undone.op))).await, now);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_batch_that_fails_takes_no_piece() {
    let mut house = House::furnished().await;
    put(&mut house, mug("w1", 2)).await;
    house.post(gift("g", "ann", 300)).await.unwrap();
    let items = vec![claim("a", "ann", 1), reserve("b", "ann", 1), redeem("c", "ann", 101)];
    let receipts = house.batch(items, true).await.unwrap();
    assert_eq!(receipts[2].reason(), Reason::InsufficientPoints);
    assert_eq!((got(&mut house).await.left, house.balance("ann").await.available), (2, 300));
    let receipts = house.batch(vec![claim("d", "ann", 1), reserve("e", "ann", 1)], true).await.unwrap();
    assert!(receipts.iter().all(|receipt| receipt.outcome() == Outcome::Applied));
    assert_eq!((got(&mut house).await.left, got(&mut house).await.reserved), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_whose_hold_is_over_goes_to_whoever_asks_first_and_the_book_proves_it() {
    const BEGUN_US: i64 = 1_577_836_800_000_000;
    let config = Config { clock: ClockSetting::Driven, clock_start_us: Some(BEGUN_US), ..small() };
    let mut house = House::open(tempfile::tempdir().unwrap(), &config).await;
    house.put(DEFINITION, None, "put-1").await.unwrap();
    put(&mut house, mug("w1", 1)).await;
    for member in ["ann", "bob"] {
        house.post(gift(&format!("g-{member}"), member, PRICE)).await.unwrap();
    }
    // Sooner than the sweep, which has been round, comes by again.
    let until_us = BEGUN_US + 500_000;
    let mut held = reserve("h", "ann", 1);
    if let Some(Action::Hold(hold)) = &mut held.action {
        hold.until_us = Some(until_us);
    }
    let held = house.post(held).await.unwrap();
    assert_eq!(held.outcome(), Outcome::Applied);
    let early = house.post(claim("c1", "bob", 1)).await.unwrap();
    assert_eq!(early.reason(), Reason::OutOfStock);
    house.admin.drive_clock(pb::DriveClockRequest { to_us: until_us }).await.unwrap();
    let bought = house.post(claim("c2", "bob", 1)).await.unwrap();
    assert_eq!((bought.outcome(), bought.op), (Outcome::Applied, early.op + 2));
    let ended = house.event(early.op + 1).await.unwrap();
    let told = (ended.kind(), ended.member.as_str(), ended.reward.as_str(), ended.effective_at_us);
    assert_eq!(told, (Kind::HoldEnded, "ann", "mug", Some(until_us)));
    assert_eq!((got(&mut house).await.left, got(&mut house).await.reserved), (0, 0));
    assert_eq!(house.balance("ann").await.available, PRICE);
    let again = house.post(claim("c2", "bob", 1)).await.unwrap();
    assert_eq!(first(&again), bought);
    let (dir, _) = house.close().await;
    assert_eq!(stampbook(&["verify", "--rules", "--data", dir.path().to_str().unwrap()])["sound"], true);
}

fn stampbook(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_stampbook")).args(arguments).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_str(&said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rewards_are_put_and_listed_from_the_command_line_proved_and_exported() {
    let mut house = House::furnished().await;
    let target = house.address.to_string();
    let said = ["--program", PROGRAM, "--reward", "mug", "--name", "A mug", "--price", "100"];
    let act = ["--actor", "ana", "--reason", "test", "--target", &target];
    let answer = stampbook(&[&["reward", "put", "--stock", "9", "--key", "w1"], &said[..], &act].concat());
    assert_eq!((&answer["outcome"], &answer["reward"]["left"]), (&"APPLIED".into(), &9.into()));
    stampbook(&[&["reward", "put", "--stock", "-2", "--closed", "--key", "w2"], &said[..], &act].concat());
    let closed = house.post(claim("x", "ann", 1)).await.unwrap();
    assert_eq!(closed.reason(), Reason::RewardClosed);
    stampbook(&[&["reward", "put", "--key", "w3"], &said[..], &act].concat());
    house.post(gift("g", "ann", 1_000)).await.unwrap();
    house.post(claim("c", "ann", 3)).await.unwrap();
    let held = house.post(reserve("h", "ann", 2)).await.unwrap();
    let listed = stampbook(&["reward", "list", "--program", PROGRAM, "--target", &target]);
    let mug = &listed["rewards"][0];
    assert_eq!((&mug["left"], &mug["reserved"], &mug["open"]), (&2.into(), &2.into(), &true.into()));
    let original = Some(pb::reverse::Original::OriginalKey("c".into()));
    house.post(acted("u", "ann", Action::Reverse(pb::Reverse { original, units: Some(200) }))).await.unwrap();
    house.snapshot("close").await.unwrap();
    crate::audit::ready(&mut house, "close").await;
    let (dir, _) = house.close().await;
    let data = dir.path().to_str().unwrap();
    let proved = stampbook(&["verify", "--data", data, "--rules"]);
    assert!(proved.is_object());
    for format in ["jsonl", "csv", "parquet", "hledger"] {
        for from in ["1".to_owned(), held.op.to_string()] {
            let out = dir.path().join(format!("{format}-{from}"));
            let out = out.to_str().unwrap();
            let exported = ["export", "--snapshot", "close", "--format", format, "--data", data, "--out", out];
            stampbook(&[&exported[..], &["--from-op", &from]].concat());
            assert_eq!(stampbook(&["verify", "--export", out, "--data", data])["against_book"], true);
        }
    }
    let rows = std::fs::read_to_string(dir.path().join("jsonl-1/events-000001.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = rows.iter().filter(|row| row["reward"] == "mug");
    let told: Vec<_> = told.map(|row| (row["kind"].as_str().unwrap(), row["pieces"].as_i64().unwrap())).collect();
    let put = [("reward_put", 9), ("reward_put", -2), ("reward_put", 0)];
    assert_eq!(told, [&put[..], &[("redeem", 3), ("hold", 2), ("reverse", 2)]].concat());
}
