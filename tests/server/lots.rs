//! What members own lot by lot, out of one server and into another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use stampbook::proto as pb;
use stampbook::proto::command::Action;
use stampbook::proto::{Kind, Outcome};

use crate::audit::cli;
use crate::house::{DEFINITION, House, PROGRAM, adjust, gift, opening, small};

const ASSETS: &str = r#"
[[assets]]
id = "points"
kind = "spendable"
expires = "12 months"

[[assets]]
id = "growth"
kind = "qualifying"
expires = "90 days rolling"

[[assets]]
id = "coupon"
kind = "entitlement"
"#;
const DAY_US: i64 = 86_400_000_000;

fn now_us() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

async fn house() -> House {
    let mut house = House::open(tempfile::tempdir().unwrap(), &small()).await;
    let text = format!("{DEFINITION}{ASSETS}");
    assert_eq!(house.put(&text, Some(0), "put-1").await.unwrap().version, 1);
    house
}

fn acting(key: &str, member: &str, action: Action) -> pb::Command {
    pb::Command { action: Some(action), ..gift(key, member, 1) }
}

/// Members with several lots in three assets, one in debt, one with a hold; pending units, too.
async fn trade(house: &mut House) {
    let late =
        |command: pb::Command, days: i64| pb::Command { occurred_at_us: Some(now_us() - days * DAY_US), ..command };
    let growth = |key: &str, member: &str, units| {
        let (basis, asset) = (Some(pb::earn::Basis::Points(units)), "growth".to_owned());
        acting(key, member, Action::Earn(pb::Earn { basis, asset, ..Default::default() }))
    };
    let coupon = pb::Grant { asset: "coupon".into(), units: 2, lapses_at_us: Some(now_us() + 20 * DAY_US) };
    let hold = pb::Hold { units: 45, purpose: pb::Purpose::Gift.into(), ..Default::default() };
    let pending = pb::Earn {
        basis: Some(pb::earn::Basis::Points(8)),
        pending: Some(pb::earn::Pending::UntilActivated(true)),
        ..Default::default()
    };
    let commands = [
        late(gift("g1", "ann", 10), 1),
        late(gift("g2", "ann", 20), 45),
        late(gift("g3", "ann", 40), 100),
        adjust("a1", "ann", 5),
        acting("c1", "ann", Action::Grant(coupon)),
        growth("w1", "ben", 30),
        opening("o1", "cid", -7),
        gift("g4", "dee, \"d\"", 3),
        acting("h1", "ann", Action::Hold(hold)),
        acting("p1", "ben", Action::Earn(pending)),
    ];
    for command in commands {
        let receipt = house.post(command).await.unwrap();
        assert_eq!(receipt.outcome(), Outcome::Applied, "{receipt:?}");
    }
}

/// What a command says that succeeds.
async fn said(arguments: &[&str]) -> Value {
    let (code, said) = cli(arguments).await;
    assert_eq!(code, 0, "{said}");
    said
}

/// Exports a snapshot of a server as CSV, and proves it against its book.
async fn exported(house: &mut House, name: &str, out: &Path) {
    let (target, out) = (house.address.to_string(), out.to_str().unwrap());
    said(&["snapshot", "create", name, "--target", &target]).await;
    said(&["export", "--target", &target, "--snapshot", name, "--format", "csv", "--out", out]).await;
    let data = house.dir.path().to_str().unwrap();
    let proved = said(&["verify", "--export", out, "--data", data]).await;
    assert_eq!((proved["sound"].as_bool(), proved["against_book"].as_bool()), (Some(true), Some(true)));
}

/// The rows of a table as maps by column.
fn rows(out: &Path, table: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(out.join(format!("{table}-000001.csv"))).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// When the units of a row of lots lapse; empty for never.
fn lapse(row: &BTreeMap<String, String>) -> String {
    if row["rolling"] == "1" { row["until"].clone() } else { row["lapses_at"].clone() }
}

/// By member, asset and date, the units.
type Dated = BTreeMap<(String, String, String), i64>;

fn dated(out: &Path) -> Dated {
    let mut dated = Dated::new();
    for row in rows(out, "lots").iter().filter(|row| row["units"] != "0") {
        let key = (row["member"].clone(), row["asset"].clone(), lapse(row));
        *dated.entry(key).or_default() += row["units"].parse::<i64>().unwrap();
    }
    dated
}

fn owed(out: &Path) -> BTreeMap<(String, String), i64> {
    let accounts =
        rows(out, "accounts").into_iter().filter(|row| row["account"] == "member/debt" && row["debit"] != "0");
    accounts.map(|row| ((row["member"].clone(), row["asset"].clone()), row["debit"].parse().unwrap())).collect()
}

/// Writes the lots and debts of an export as a file to import, as EXPORT.md says; what it must come to.
fn as_openings(out: &Path, file: &Path) -> String {
    let mut openings = csv::Writer::from_path(file).unwrap();
    openings.write_record(["source_key", "member", "points", "asset", "source", "lapses_at"]).unwrap();
    let (mut units, mut members) = (BTreeMap::<String, i64>::new(), BTreeSet::new());
    let lots = rows(out, "lots").into_iter().filter(|row| row["units"] != "0");
    let lots = lots.map(|row| (row["member"].clone(), row["asset"].clone(), row["units"].clone(), lapse(&row)));
    let debts =
        owed(out).into_iter().map(|((member, asset), debt)| (member, asset, (-debt).to_string(), String::new()));
    for (number, (member, asset, points, lapses_at)) in (1..).zip(lots.chain(debts)) {
        *units.entry(asset.clone()).or_default() += points.parse::<i64>().unwrap();
        openings.write_record([&format!("lot-{number}"), &member, &points, &asset, "opening", &lapses_at]).unwrap();
        members.insert(member);
    }
    openings.flush().unwrap();
    let units = units.iter().map(|(asset, units)| format!("{asset}={units},")).collect::<String>();
    format!("{units}members={}", members.len())
}

async fn cards(house: &mut House, member: &str) -> Vec<pb::AssetCard> {
    let request = pb::GetMemberRequest { program: PROGRAM.into(), member: member.into(), as_of: None };
    house.accounts.get_member(request).await.unwrap().into_inner().member.unwrap().assets
}

/// By asset, what the card of a member says is there to be spent once holds are let go, and what is owed.
async fn card(house: &mut House, member: &str) -> BTreeMap<String, (i64, i64)> {
    let cards = cards(house, member).await.into_iter();
    let cards = cards.map(|card| (card.asset, (card.available + card.held, card.debt)));
    cards.filter(|(_, card)| *card != (0, 0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lots_of_an_export_moved_into_a_fresh_server_are_there_by_member_asset_and_date() {
    let mut from = house().await;
    trade(&mut from).await;
    let folder = tempfile::tempdir().unwrap();
    let (before, after, file) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("lots.csv"));
    exported(&mut from, "close", &before).await;
    let lots = dated(&before);
    // Three months of points and what the operator gave never, growth, coupons, and one of dee's.
    assert!(lots.len() >= 6 && owed(&before).len() == 1, "{lots:?}");
    let pinned: i64 = rows(&before, "holds").iter().map(|row| row["units"].parse::<i64>().unwrap()).sum();
    let waiting = rows(&before, "pending");
    assert_eq!((pinned, waiting.len(), waiting[0]["units"].as_str()), (45, 1, "8"));
    let control = as_openings(&before, &file);
    let mut to = house().await;
    let target = to.address.to_string();
    let told = ["--program", PROGRAM, "--key-prefix", "moved", "--actor", "ana", "--reason", "moved in"];
    let place = ["--target", &target, "--file", file.to_str().unwrap(), "--control", &control];
    let import = [&["import"], &told[..], &place[..]].concat();
    let report = said(&import).await;
    assert_eq!(report["applied"]["rows"], report["file"]["rows"], "{report}");
    assert_eq!(report["opening_after"], report["file"]["units"], "{report}");
    exported(&mut to, "opened", &after).await;
    assert_eq!((dated(&after), owed(&after)), (lots, owed(&before)));
    assert!(rows(&after, "lots").iter().all(|row| row["source"] == "opening"));
    for member in ["ann", "ben", "cid", "dee, \"d\""] {
        assert_eq!(card(&mut to, member).await, card(&mut from, member).await, "{member}");
    }
    let again = said(&import).await;
    assert_eq!(
        (again["applied"]["rows"].as_u64(), again["replayed"]["rows"].clone()),
        (Some(0), report["file"]["rows"].clone())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lots_come_in_at_their_earn_month_with_their_asset_and_date_and_what_had_lapsed_since_is_breakage() {
    let mut house = house().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lots.csv");
    let begun_us = now_us();
    let at = |days: i64| jiff::Timestamp::from_microsecond(begun_us + days * DAY_US).unwrap().to_string();
    let text = format!(
        "member,points,source_key,occurred_at,asset,lapses_at\nann,5,a,{},,\nann,7,b,{},,\nann,9,c,,coupon,{}\n\
         ann,-4,d,,,\nann,6,e,,,\n",
        at(-40),
        at(-800),
        at(30)
    );
    std::fs::write(&file, text).unwrap();
    let told = ["--program", PROGRAM, "--key-prefix", "old", "--actor", "ana", "--reason", "moved in"];
    let target = house.address.to_string();
    let place = ["--target", &target, "--file", file.to_str().unwrap(), "--control", "points=14,coupon=9,members=1"];
    let report = said(&[&["import"], &told[..], &place[..]].concat()).await;
    assert_eq!(report["applied"]["rows"].as_u64(), Some(5), "{report}");
    // 7 had lapsed when they came; of the debt of 4 all was settled by what followed it, and by nothing before.
    let had = card(&mut house, "ann").await;
    assert_eq!(had, BTreeMap::from([("points".into(), (7, 0)), ("coupon".into(), (9, 0))]));
    let coupon = cards(&mut house, "ann").await.into_iter().find(|card| card.asset == "coupon").unwrap();
    let rounded_up = coupon.next_expiry_at_us.unwrap() - (begun_us + 30 * DAY_US);
    assert!((0..60_000_000).contains(&rounded_up), "{rounded_up}");
    let trial = house.trial(None).await;
    let lapsed = trial.rows.iter().find(|row| row.account == "breakage").map(|row| (row.asset.clone(), row.credit));
    assert_eq!(lapsed, Some(("points".into(), 7)));
    let name = Some(pb::get_event_request::Name::Key("old/a".into()));
    let request = pb::GetEventRequest { program: PROGRAM.into(), name };
    let event = house.accounts.get_event(request).await.unwrap().into_inner().event.unwrap();
    assert_eq!(event.kind(), Kind::Opening, "{event:?}");
    let days = (event.receipt.unwrap().book_time_us - event.occurred_at_us) / DAY_US;
    assert!((39..=41).contains(&days), "{days}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_posted_from_a_file_with_an_asset_that_the_program_lacks_or_with_another_total_in_one() {
    let mut house = house().await;
    let op = house.trial(None).await.op;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lots.csv");
    for (asset, control, told) in [
        ("miles", "points=1", "no asset \"miles\""),
        ("growth", "points=1,growth=3", "growth: the file comes to 2 and the control total is 3"),
        ("growth", "points=3", "points: the file comes to 1 and the control total is 3"),
        ("growth", "coupon=1", "coupon: the file comes to 0 and the control total is 1"),
    ] {
        std::fs::write(&file, format!("source_key,member,points,asset\na,ann,1,\nb,ann,2,{asset}\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stampbook"));
        command.args(["import", "--json", "--program", PROGRAM, "--key-prefix", "old", "--actor", "ana"]);
        command.args(["--reason", "moved in", "--control", control, "--target"]).arg(house.address.to_string());
        command.arg("--file").arg(&file);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{report}");
        assert!(report["error"].as_str().unwrap().contains(told), "{control}: {report}");
    }
    assert_eq!(house.trial(None).await.op, op);
}
