//! The roll-forward and the trial balance by effective time, over gRPC and on the command line, on a clock that is driven.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use stampbook::config::{ClockSetting, Config};
use stampbook::proto as pb;
use stampbook::proto::get_trial_balance_request::AsOf;
use stampbook::proto::roll_forward_request::{From, Until};
use stampbook::proto::{CutOff, Outcome, RollForwardKind, Source, TrialBasis};
use tonic::{Code, Status};

use crate::house::{DEFINITION, House, PROGRAM, fields, gift, reason, redeem, small};

/// 2020-01-01 in London.
const NEW_YEAR_US: i64 = 1_577_836_800_000_000;
const DAY_US: i64 = 86_400_000_000;
const POINTS: &str = "\n[[assets]]\nid = \"points\"\nkind = \"spendable\"\nexpires = \"30 days\"\nround_up = \"day\"\n\
                      values = [{ minor_per_unit = \"1/2\", redeemed = \"80%\" }]\n";

/// The noon of a day of the year, from 1.
fn day(day: i64) -> i64 {
    NEW_YEAR_US + (day - 1) * DAY_US + DAY_US / 2
}

/// A club whose points lapse after 30 days.
async fn club() -> House {
    let config = Config { clock: ClockSetting::Driven, clock_start_us: Some(NEW_YEAR_US), ..small() };
    let mut house = House::open(tempfile::tempdir().unwrap(), &config).await;
    house.put(&(DEFINITION.to_owned() + POINTS), None, "put-1").await.unwrap();
    house
}

async fn drive(house: &mut House, to_us: i64) {
    house.admin.drive_clock(pb::DriveClockRequest { to_us }).await.unwrap();
}

/// Posts a gift of its own key on a day, dated another day.
async fn give(house: &mut House, member: &str, points: i64, posted: i64, dated: i64) -> u64 {
    drive(house, day(posted)).await;
    let key = format!("{member}-{points}-{posted}");
    let command = pb::Command { occurred_at_us: Some(day(dated)), ..gift(&key, member, points) };
    let receipt = house.post(command).await.unwrap();
    assert_eq!(receipt.outcome(), Outcome::Applied);
    receipt.op
}

async fn effective(house: &mut House, as_of: Option<AsOf>) -> pb::GetTrialBalanceResponse {
    let basis = TrialBasis::Effective.into();
    let request = pb::GetTrialBalanceRequest { program: PROGRAM.into(), as_of, basis };
    house.accounts.get_trial_balance(request).await.unwrap().into_inner()
}

fn balances(trial: &pb::GetTrialBalanceResponse) -> BTreeMap<String, i64> {
    trial.rows.iter().map(|row| (row.account.clone(), row.credit - row.debit)).collect()
}

fn lines(trial: &pb::GetTrialBalanceResponse) -> Vec<(&str, CutOff, i64)> {
    trial.cut_off.iter().map(|line| (line.account.as_str(), line.why(), line.amount)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_balance_by_effective_time_tells_what_lapsed_what_came_late_and_what_was_dated_ahead() {
    let mut house = club().await;
    give(&mut house, "ann", 100, 1, 1).await;
    give(&mut house, "bob", 20, 31, 38).await;
    drive(&mut house, day(41)).await;
    give(&mut house, "cat", 50, 41, 34).await;
    // By the fifth of February ann's points have lapsed, bob's are dated later, and those of cat have not arrived.
    let at = Some(AsOf::AsOfTimeUs(day(36)));
    let posted = house.trial(at).await;
    assert_eq!((posted.cut_off.len(), posted.known_op), (0, 0));
    let told = effective(&mut house, at).await;
    assert_eq!(
        lines(&told),
        [
            ("issuance", CutOff::ArrivedLate, -50),
            ("issuance", CutOff::DatedAhead, 20),
            ("breakage", CutOff::LapsedNotSwept, 100),
            ("member/available", CutOff::LapsedNotSwept, -100),
            ("member/available", CutOff::ArrivedLate, 50),
            ("member/available", CutOff::DatedAhead, -20),
        ]
    );
    let mut sums = balances(&posted);
    for (account, _, amount) in lines(&told) {
        *sums.entry(account.to_owned()).or_default() += amount;
    }
    sums.retain(|_, balance| *balance != 0);
    assert_eq!(balances(&told), sums);
    let wanted = [("breakage", 100), ("issuance", -150), ("member/available", 50)];
    assert_eq!(sums, wanted.map(|(account, balance)| (account.to_owned(), balance)).into());
    assert_eq!(told.totals[0].debit, told.totals[0].credit);
    assert_eq!(told.op, posted.op);
    assert!(told.known_op > told.op);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_late_the_balance_by_effective_time_is_the_one_posted_after_the_sweep() {
    let mut house = club().await;
    for (member, points, on) in [("ann", 100, 1), ("bob", 30, 3), ("cat", 7, 20)] {
        give(&mut house, member, points, on, on).await;
    }
    // What cat redeems lies in between, and what a hold of bob pins has not lapsed.
    house.post(redeem("r", "cat", 2)).await.unwrap();
    drive(&mut house, day(30)).await;
    let pin = pb::Hold { units: 12, until_us: Some(day(50)), purpose: pb::Purpose::Gift.into(), ..Default::default() };
    let action = Some(pb::command::Action::Hold(pin));
    let hold = pb::Command { key: "h".into(), action, ..gift("h", "bob", 1) };
    assert_eq!(house.post(hold).await.unwrap().outcome(), Outcome::Applied);
    drive(&mut house, day(40)).await;
    // Whether the sweep has been there by now or not.
    let now = effective(&mut house, None).await;
    let then = effective(&mut house, Some(AsOf::AsOfTimeUs(day(36)))).await;
    for member in ["ann", "bob", "cat"] {
        // Nothing due of a member is left unwritten before a command of his.
        house.post(redeem(&format!("late-{member}"), member, 1_000)).await.unwrap();
    }
    let swept = house.trial(None).await;
    assert_eq!(balances(&now), balances(&swept));
    assert_eq!(balances(&then), balances(&swept));
    assert_eq!(balances(&swept)["breakage"], 118);
    let after = effective(&mut house, None).await;
    assert_eq!((lines(&after), balances(&after)), (Vec::new(), balances(&swept)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_was_put_after_the_instant_is_there_by_effective_time_with_what_it_brought_over() {
    let mut house = club().await;
    give(&mut house, "ann", 100, 1, 1).await;
    drive(&mut house, day(41)).await;
    let definition = DEFINITION.replace(PROGRAM, "annex");
    let put = pb::PutProgramRequest {
        program: "annex".into(),
        definition,
        expected_version: None,
        key: "put".into(),
        actor: "ana".into(),
        reason: "test".into(),
    };
    house.admin.put_program(put).await.unwrap();
    let brought = pb::Command { occurred_at_us: Some(day(8)), program: "annex".into(), ..gift("b", "bob", 30) };
    assert_eq!(house.post(brought).await.unwrap().outcome(), Outcome::Applied);
    let sums = async |house: &mut House, basis: TrialBasis| {
        let (basis, as_of) = (basis.into(), Some(AsOf::AsOfTimeUs(day(20))));
        let request = pb::GetTrialBalanceRequest { program: String::new(), as_of, basis };
        let trial = house.accounts.get_trial_balance(request).await.unwrap().into_inner();
        let row = |row: &pb::TrialBalanceRow| ((row.program.clone(), row.account.clone()), row.credit - row.debit);
        (trial.rows.iter().map(row).collect::<BTreeMap<_, _>>(), trial)
    };
    let (mut posted, _) = sums(&mut house, TrialBasis::Posted).await;
    assert!(posted.keys().all(|(program, _)| program == PROGRAM));
    let (effective, trial) = sums(&mut house, TrialBasis::Effective).await;
    assert_eq!(lines(&trial), [("issuance", CutOff::ArrivedLate, -30), ("member/available", CutOff::ArrivedLate, 30)]);
    for line in trial.cut_off {
        *posted.entry((line.program, line.account)).or_default() += line.amount;
    }
    assert_eq!(effective, posted);
    assert_eq!(effective[&("annex".into(), "member/available".into())], 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_effective_time_an_op_means_all_that_was_booked_with_it_and_now_all_that_is_booked() {
    let mut house = club().await;
    drive(&mut house, day(5)).await;
    let gifts = ["a", "b", "c"].map(|key| gift(key, "ann", 10));
    let ops: Vec<_> = house.batch(gifts.to_vec(), true).await.unwrap().iter().map(|receipt| receipt.op).collect();
    let later = give(&mut house, "bob", 7, 6, 6).await;
    for op in &ops {
        let told = effective(&mut house, Some(AsOf::AsOfOp(*op))).await;
        assert_eq!((told.op, told.known_op, lines(&told)), (ops[2], later, Vec::new()));
        assert_eq!(balances(&told)["member/available"], 30);
    }
    let now = effective(&mut house, None).await;
    assert_eq!((now.op, now.known_op, lines(&now)), (later, later, Vec::new()));
}

async fn roll(house: &mut House, from: Option<From>, until: Option<Until>) -> Result<pb::RollForwardResponse, Status> {
    let request = pb::RollForwardRequest { program: PROGRAM.into(), asset: String::new(), from, until };
    house.audit.roll_forward(request).await.map(tonic::Response::into_inner)
}

fn liability(rolled: &pb::RollForwardResponse) -> (pb::RollForwardAmounts, pb::RollForwardAmounts) {
    let line = rolled.lines.iter().find(|line| line.kind() == RollForwardKind::Liability).unwrap();
    (line.units.unwrap(), line.minor.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_forward_opens_and_closes_with_the_trial_balances_of_its_ops() {
    let mut house = club().await;
    give(&mut house, "ann", 100, 10, 10).await;
    give(&mut house, "bob", 60, 35, 35).await;
    house.post(redeem("r1", "bob", 15)).await.unwrap();
    drive(&mut house, day(70)).await;
    for member in ["ann", "bob"] {
        // Refused, and what is due of them is booked before it.
        house.post(redeem(&format!("late-{member}"), member, 1_000)).await.unwrap();
    }
    let month = |from: &str, until: &str| (Some(From::FromDate(from.into())), Some(Until::UntilDate(until.into())));
    let (from, until) = month("2020-02", "2020-03");
    let february = roll(&mut house, from, until).await.unwrap();
    for (op, of) in [
        (february.opening_op, (|line| line.opening) as fn(&pb::RollForwardAmounts) -> i64),
        (february.closing_op, |line| line.closing),
    ] {
        let trial = house.trial(Some(AsOf::AsOfOp(op))).await;
        assert_eq!(of(&liability(&february).0), balances(&trial)["member/available"], "op {op}");
    }
    let of_base = |rolled: &pb::RollForwardResponse, month: &str| {
        let found = rolled.lines.iter().find(|line| line.month == month && line.source() == Source::Base);
        found.map(|line| (line.units.unwrap(), line.minor.unwrap())).unwrap()
    };
    let (units, minor) = of_base(&february, "2020-02");
    assert_eq!((units.opening, units.issued, units.redeemed, units.closing), (0, 60, -15, 45));
    assert_eq!((minor.issued, minor.redeemed, minor.closing, minor.value_change), (24, -6, 18, 0));
    assert_eq!(february.currency, "GBP");
    // In January's row the hundred lapse when it is booked that they did.
    let whole = roll(&mut house, None, None).await.unwrap();
    assert_eq!((whole.opening_op, liability(&whole).0.closing), (0, 0));
    assert_eq!(of_base(&whole, "2020-01").0.expired, -100);
    let (from, until) = month("2020-02-29", "2020-02-01");
    assert_eq!(fields(&roll(&mut house, from, until).await.unwrap_err()), ["from_date"]);
    let status = roll(&mut house, None, Some(Until::UntilUs(day(71)))).await.unwrap_err();
    assert_eq!(
        (reason(&status), fields(&status)),
        ((Code::InvalidArgument, "FIELD_OUT_OF_RANGE".into()), vec!["until_us".to_owned()])
    );
    let (from, _) = month("winter", "");
    assert_eq!(fields(&roll(&mut house, from, None).await.unwrap_err()), ["from_date"]);
    let asset = pb::RollForwardRequest { program: PROGRAM.into(), asset: "miles".into(), ..Default::default() };
    assert_eq!(fields(&house.audit.roll_forward(asset).await.unwrap_err()), ["asset"]);

    let target = house.address.to_string();
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stampbook"));
        command.arg("audit").args(arguments).args(["--target", &target]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let of = ["roll-forward", "--program", PROGRAM, "--from", "2020-02", "--until", "2020-03"];
    let text = run(&of).await;
    assert!(text.lines().any(|line| line.starts_with("points  base") && line.contains("2020-02")), "{text}");
    let csv = run(&[&of[..], &["--csv"]].concat()).await;
    assert!(csv.contains("points,lots,base,2020-02,units,0,60,0,-15,0,0,0,0,0,0,0,45\n"), "{csv}");
    let json: Value = serde_json::from_str(&run(&[&of[..], &["--json"]].concat()).await).unwrap();
    assert_eq!(json["closing_op"].as_u64(), Some(february.closing_op));
    let trial = ["trial-balance", "--basis", "effective", "--at", "2020-02-20T00:00:00Z", "--json"];
    let json: Value = serde_json::from_str(&run(&trial).await).unwrap();
    assert_eq!(json["cut_off"].as_array().unwrap().len(), 2, "{json}");
    let total = &json["totals"][0];
    assert_eq!((total["asset"].as_str(), total["members"].as_u64()), (Some("points"), Some(2)), "{json}");
    assert!(total["debit"].is_i64() && total["debit"] == total["credit"], "{json}");
}
