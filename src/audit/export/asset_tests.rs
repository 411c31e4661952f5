//! Exports of a book with several assets, whose events were written by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::env;
use std::process::Command;
use std::sync::Arc;

use super::columns::{EventRow, Instant, PostingRow, Row, time_text};
use super::manifest::MANIFEST_FILE;
use super::sink::DirSink;
use super::source::SnapshotIds;
use super::tests::{contents, fix_up, request, verify};
use super::*;
use crate::audit::paper::{LATE_MIN, PaperBook, SOON_MIN};
use crate::audit::scene::UNTIL_US;
use crate::io::sim::SimDisk;

fn export_of(paper: &PaperBook, request: Request) -> SimDisk {
    let disk = SimDisk::new(3);
    let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
    let source = Source { accounts: paper, events: &paper.book, origin: paper.origin() };
    export(&source, request, &[], &mut sink, &mut |_| {}).unwrap();
    disk
}

fn rows(paper: &PaperBook, op: u64) -> (EventRow, Vec<PostingRow>) {
    let stored = paper.book.read(op).unwrap();
    let event = codec::decode(&stored.bytes).unwrap();
    rows_of(op, stored.book_time_us, &event, &mut SnapshotIds::new(paper)).unwrap()
}

#[test]
fn every_format_from_every_op_comes_to_the_accounts_in_every_asset() {
    let paper = PaperBook::lived();
    for format in Format::ALL {
        let mut seen = 0;
        for from_op in 1..=paper.newest().0 {
            let disk = export_of(&paper, request(format, from_op));
            let report = verify(&disk, None).unwrap_or_else(|error| panic!("{format:?} from {from_op}: {error}"));
            assert_eq!(report.rows.events, paper.newest().0 - from_op + 1);
            let mut found: Vec<_> =
                report.manifest.totals.iter().map(|total| (&*total.program, &*total.asset)).collect();
            found.sort_unstable();
            let shop = ["coupon", "growth", "points", "wallet"].map(|asset| ("shop", asset));
            seen += usize::from(found.len() == 5 && found[0] == ("cafe", "points") && found[1..] == shop);
        }
        assert!(seen > 20, "{format:?}: all assets are in all but the shortest exports");
    }
}

#[test]
fn the_accounts_are_every_members_in_every_asset_with_their_classes() {
    let paper = PaperBook::lived();
    let disk = export_of(&paper, request(Format::Jsonl, 1));
    let text = String::from_utf8(disk.bytes_of("accounts-000001.jsonl").unwrap()).unwrap();
    let mut found = BTreeMap::new();
    let mut classes = BTreeMap::new();
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let balance = row["credit"].as_i64().unwrap() - row["debit"].as_i64().unwrap();
        *found.entry((text("program"), text("asset"), text("account"))).or_insert(0) += balance;
        classes.insert(text("account"), text("class"));
    }
    let trials = paper.trials.last().unwrap().iter();
    let expected = trials.flat_map(|trial| {
        trial.rows.iter().map(|row| ((trial.program.clone(), row.asset.clone(), row.account.clone()), row.balance))
    });
    assert_eq!(found, expected.collect());
    let of = |account: &str| classes[account].as_str();
    assert_eq!((of("breakage"), of("cash"), of("member/available")), ("breakage", "clearing", "member_liability"));
}

#[test]
fn every_kind_of_event_has_its_particulars() {
    let paper = PaperBook::lived();
    let names: Vec<&str> = EventRow::COLUMNS.iter().map(|column| column.name).collect();
    // By op, what stands in columns that most events have nothing in, as CSV writes it.
    let told = |op: u64| {
        let fields: BTreeMap<&str, String> = names.iter().copied().zip(fields(&rows(&paper, op).0)).collect();
        let columns = [
            "kind",
            "asset",
            "units",
            "asked",
            "bonus",
            "released",
            "lapsed",
            "not_taken",
            "offset_minor",
            "purpose",
            "rolls",
            "standing",
            "original_op",
        ];
        columns.iter().map(|name| fields[name].clone()).filter(|field| !field.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let late = time_text(i64::from(LATE_MIN) * 60_000_000);
    let expected = [
        (3, "campaign_funded points 500"),
        (4, "campaign_funded growth 300"),
        (5, "earn points"),
        (7, "earn growth 9"),
        (8, "earn points 70 {\"points\":20}"),
        (9, &format!("earn points 5 {{\"points\":\"{late}\"}}")),
        (10, "opening points -20"),
        (11, "hold points 60 gift"),
        (12, "capture points 25 10 {\"points\":4} gift 11"),
        (14, "release points 3 13"),
        (15, "adjust growth -2"),
        (16, "top_up wallet 1000 100"),
        (17, "redeem wallet 300 payment"),
        (18, "grant coupon 2"),
        (20, "redeem points 20 27 200 cash_offset"),
        (21, "hold_ended points 25 11"),
        (22, "matured points 40 6"),
        (23, "lots_merged points 30"),
        (24, "expired points 21"),
        (25, "activate growth 9 {\"growth\":4} 7"),
        (27, "reverse points 10 {\"points\":4} 12"),
        (28, "refund points {\"points\":10} {\"campaign/double\":5} 5"),
        (29, "reverse wallet 600 {\"base\":100} 16"),
        (31, "standing frozen"),
        (32, "hold"),
        (33, "reverse"),
        (36, "transfer coupon 3"),
        (37, &format!("convert points 20 29 {{\"points\":\"{late}\"}}")),
        (38, "convert points 10"),
    ];
    for (op, expected) in expected {
        assert_eq!(told(op), expected, "op {op}");
    }
    let until = |op: u64| rows(&paper, op).0.until.map(|Instant(us)| us);
    assert_eq!((until(6), until(7), until(11)), (Some(UNTIL_US), None, Some(UNTIL_US)));
    let due = |op: u64| rows(&paper, op).0.effective_at.map(|Instant(us)| us);
    assert_eq!((due(21), due(22), due(23)), (Some(UNTIL_US), Some(UNTIL_US), None));
    assert_eq!((due(24), due(25)), (Some(i64::from(SOON_MIN) * 60_000_000), None));
}

#[test]
fn an_event_between_two_members_has_the_columns_and_the_postings_of_both() {
    let paper = PaperBook::lived();
    let (given, _) = rows(&paper, 36);
    let other = |row: &EventRow| (row.other_program.clone(), row.other_member.clone(), row.other_asset.clone());
    assert_eq!((given.legs, other(&given)), (2, ("shop".into(), "ann".into(), String::new())));
    assert_eq!(given.other_after, r#"{"coupon":{"available":3,"debt":0,"held":0,"pending":0}}"#);
    let (turned, postings) = rows(&paper, 37);
    assert_eq!(other(&turned), ("cafe".into(), "cid".into(), "points".into()));
    assert_eq!((turned.other_units, turned.other_lapsed.as_str()), (Some(50), r#"{"points":5}"#));
    assert_eq!(turned.other_after, r#"{"points":{"available":25,"debt":0,"held":0,"pending":0}}"#);
    let moved: Vec<_> = postings
        .iter()
        .map(|row| (row.leg, &*row.program, &*row.member, &*row.account, row.credit - row.debit))
        .collect();
    let bob = "bob|, \"b\"";
    let expected = [
        (1, "shop", bob, "member/available", -20),
        (2, "shop", "", "conversion/cafe", 20),
        (3, "cafe", "", "conversion/shop", -50),
        (4, "cafe", "cid", "member/debt", 20),
        (5, "cafe", "cid", "member/available", 25),
        (6, "cafe", "", "breakage", 5),
    ];
    assert_eq!(moved, expected);
    let (back, _) = rows(&paper, 38);
    assert_eq!((back.program.as_str(), back.member.as_str()), ("cafe", "cid"));
    assert_eq!(back.other_rolls, format!("{{\"points\":\"{}\"}}", time_text(i64::from(LATE_MIN) * 60_000_000)));
    let plain = rows(&paper, 5).0;
    assert_eq!((other(&plain), plain.other_after.as_str()), Default::default());
}

#[test]
fn what_fell_due_names_its_member_and_no_key_and_tells_the_balances_that_it_touched() {
    let paper = PaperBook::lived();
    let (matured, postings) = rows(&paper, 22);
    assert_eq!((matured.member.as_str(), matured.key.as_str(), matured.body_hash.as_str()), ("bob|, \"b\"", "", ""));
    assert!(postings.iter().all(|row| row.member == matured.member), "{postings:?}");
    let after = (matured.available_after, matured.held_after, matured.pending_after, matured.debt_after);
    assert_eq!(after, (Some(45), Some(0), Some(0), Some(0)));
    assert_eq!(matured.others_after, r#"{"growth":{"available":2,"debt":0,"held":0,"pending":9}}"#);
    let (expired, _) = rows(&paper, 26);
    assert_eq!((expired.available_after, expired.debt_after), (None, None), "it says nothing of points");
    assert!(expired.others_after.starts_with("{\"growth\""), "{}", expired.others_after);
    let (unknown, _) = rows(&paper, 33);
    assert_eq!((unknown.member.as_str(), unknown.available_after), ("nobody", None));
}

#[test]
fn a_posting_says_its_lot_when_it_lapses_and_where_units_enter_or_leave_it() {
    let paper = PaperBook::lived();
    let lots = |op: u64| -> Vec<_> {
        let rows = rows(&paper, op).1.into_iter().filter(|row| !row.lot_source.is_empty());
        let lapse = |row: &PostingRow| row.lot_lapses_at.map(|Instant(us)| us / 60_000_000);
        rows.map(|row| (row.account.clone(), lapse(&row), row.lot_rolling, row.lot_position)).collect()
    };
    let (soon, late) = (Some(i64::from(SOON_MIN)), Some(i64::from(LATE_MIN)));
    let of = |account: &str, lapse, rolling, position| (account.to_owned(), lapse, Some(rolling), position);
    let captured = [
        of("member/held", soon, 0, Some(0)),
        of("member/held", soon, 0, None),
        of("member/available", soon, 0, None),
        of("member/held", soon, 0, Some(25)),
    ];
    assert_eq!(lots(12), captured);
    assert_eq!(lots(14), [of("member/held", None, 1, None), of("member/available", None, 1, None)]);
    assert_eq!(lots(7), [of("member/pending", late, 0, None)]);
    assert_eq!(lots(16)[1], of("member/available", None, 0, Some(0)));
}

/// The fields of a row as CSV writes them.
fn fields(row: &EventRow) -> Vec<String> {
    let mut bytes = Vec::new();
    csv::append(&Record::Event(row.clone()), &mut bytes);
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice());
    reader.records().next().unwrap().unwrap().iter().map(str::to_owned).collect()
}

#[test]
fn a_leg_moved_to_another_asset_is_found_though_all_legs_together_sum_to_zero() {
    let paper = PaperBook::lived();
    let disk = export_of(&paper, request(Format::Jsonl, 1));
    let name = "postings-000001.jsonl";
    let text = String::from_utf8(disk.bytes_of(name).unwrap()).unwrap();
    let line = text.lines().find(|line| line.starts_with("{\"op\":5,\"leg\":7,")).unwrap();
    assert!(line.contains("\"asset\":\"growth\""), "{line}");
    let moved = line.replace("\"asset\":\"growth\"", "\"asset\":\"points\"");
    fix_up(&disk, name, text.replace(line, &moved).as_bytes());
    let error = verify(&disk, None).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("the legs of op 5 in growth sum to -30"), "{error}");
}

#[test]
fn an_asset_that_the_snapshot_does_not_know_is_named_as_such() {
    let mut paper = PaperBook::lived();
    paper.forget_assets();
    let source = Source { accounts: &paper, events: &paper.book, origin: paper.origin() };
    let refused = export(&source, request(Format::Csv, 1), &[], &mut super::verify::Nowhere, &mut |_| {}).unwrap_err();
    assert!(refused.to_string().contains("asset"), "{refused}");
}

#[test]
fn hledger_proves_a_journal_of_several_assets_from_any_op() {
    let named = env::var_os("HLEDGER");
    let hledger = named.clone().unwrap_or_else(|| "hledger".into());
    if !Command::new(&hledger).arg("--version").output().is_ok_and(|output| output.status.success()) {
        assert!(named.is_none(), "HLEDGER names a tool that does not work");
        eprintln!("SKIPPED: hledger does not work here");
        return;
    }
    let paper = PaperBook::lived();
    for from_op in [1, 12, 23] {
        let disk = export_of(&paper, request(Format::Hledger, from_op));
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in contents(&disk).into_iter().filter(|(name, _)| name != MANIFEST_FILE) {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let run = |what: &[&str]| {
            let journal = folder.path().join("books.journal");
            let output = Command::new(&hledger).arg("-f").arg(journal).args(what).env("LANG", "C").output().unwrap();
            assert!(output.status.success(), "from {from_op}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        run(&["check"]);
        let shop = &paper.trials.last().unwrap()[0];
        for asset in ["points", "growth", "wallet"] {
            let held = format!("cur:shop:{asset}");
            let text = run(&["balance", "--flat", "--depth", "3", "-O", "csv", "--no-total", &held]);
            for row in shop.rows.iter().filter(|row| row.asset == asset && row.balance != 0) {
                let name = format!("\"shop:{}\",\"{} ", row.account.replace('/', ":"), -row.balance);
                assert!(text.contains(&name), "from {from_op} {asset}: {name} is not in {text}");
            }
        }
    }
}
