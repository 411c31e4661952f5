//! Two years of a shop's trade, exported: what tools that none of us wrote make of the files, and what becomes of a file
//! that somebody touched.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "export/trace.rs"]
mod trace;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use trace::Trace;

const EVENTS: u64 = 44_870;
const AWARDED: i64 = 17_414_157;
const REFUNDED: i64 = 1_083_663;

/// The book of the whole trace, posted once for all tests.
fn book() -> &'static Trace {
    static BOOK: OnceLock<Trace> = OnceLock::new();
    BOOK.get_or_init(trace::trace)
}

fn stampbook(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stampbook")).args(arguments).arg("--json").output().unwrap()
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Exports the trace from an op on to a folder of its own.
fn export_from(op: u64, format: &str, folder: &str) -> PathBuf {
    let (out, data) = (book().folder.path().join(folder), book().data());
    let place = ["--data", data.to_str().unwrap(), "--out", out.to_str().unwrap(), "--from-op", &op.to_string()];
    let answer = answer(&stampbook(&[&["export", "--snapshot", "close", "--format", format], &place[..]].concat()));
    assert_eq!(answer["manifest"]["rows"]["events"], EVENTS + 2 - op + 1, "{answer}");
    out
}

/// Exports all of the trace to a folder of its own.
fn export(format: &str, folder: &str) -> PathBuf {
    export_from(1, format, folder)
}

fn verify(dir: &Path, with_book: bool) -> Output {
    let data = book().data();
    let mut arguments = vec!["verify", "--export", dir.to_str().unwrap()];
    if with_book {
        arguments.extend(["--data", data.to_str().unwrap()]);
    }
    stampbook(&arguments)
}

/// A tool from the outside: the one that the variable names, which must work, or the one of that name, if it does.
fn tool(variable: &str, name: &str, works: &[&str]) -> Option<OsString> {
    let named = env::var_os(variable);
    let tool = named.clone().unwrap_or_else(|| name.into());
    if Command::new(&tool).args(works).output().is_ok_and(|output| output.status.success()) {
        return Some(tool);
    }
    assert!(named.is_none(), "{variable} names a tool that does not do {works:?}");
    eprintln!("SKIPPED: {name} {works:?} does not work here; the line of .ci/run that brings it must have failed");
    None
}

fn balance(account: &str) -> i64 {
    let rows = book().trial.iter().flat_map(|program| &program.rows);
    rows.filter(|row| row.account == account).map(|row| row.balance).sum()
}

#[test]
fn the_trace_comes_to_its_points() {
    assert_eq!(balance("member/available") + balance("member/debt"), AWARDED - REFUNDED);
    assert_eq!(book().op, EVENTS + 2);
}

#[test]
fn hledger_proves_the_books_and_has_the_balances_of_the_trial_balance() {
    let Some(hledger) = tool("HLEDGER", "hledger", &["--version"]) else { return };
    let journal = export("hledger", "hledger").join("books.journal");
    let run = |arguments: &[&str]| {
        let output = Command::new(&hledger).arg("-f").arg(&journal).args(arguments).env("LANG", "C").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["check"]);
    let balances = run(&["balance", "--flat", "--depth", "3", "--empty", "--no-total", "-O", "csv"]);
    let mut found = BTreeMap::new();
    for row in csv::Reader::from_reader(balances.as_bytes()).records() {
        let row = row.unwrap();
        let amount: i64 = row[1].split(' ').next().unwrap().parse().unwrap();
        found.insert(row[0].to_owned(), -amount);
    }
    let name = |program: &str, account: &str| format!("{program}:{}", account.replace('/', ":"));
    let programs = book().trial.iter();
    let expected: BTreeMap<_, _> = programs
        .flat_map(|program| program.rows.iter().map(|row| (name(&program.program, &row.account), row.balance)))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(answer(&verify(journal.parent().unwrap(), true))["against_book"], true);
}

#[test]
fn duckdb_has_the_manifests_totals_and_the_trial_balance_from_parquet() {
    let Some(python) = tool("PYTHON", "python3", &["-c", "import duckdb"]) else { return };
    let dir = export("parquet", "parquet");
    assert_eq!(answer(&verify(&dir, true))["against_book"], true);
    let found = script(&python, "export_parquet.py", &dir);
    for row in book().trial.iter().flat_map(|program| &program.rows) {
        assert_eq!(found["accounts"][&row.account].as_i64().unwrap_or(0), row.balance, "{}", row.account);
        assert_eq!(found["postings"][&row.account].as_i64().unwrap_or(0), row.balance, "{}", row.account);
    }
}

#[test]
fn another_program_recomputes_every_balance_from_csv() {
    let Some(python) = tool("PYTHON", "python3", &["-c", "import csv"]) else { return };
    let dir = export("csv", "csv");
    let found = script(&python, "export_csv.py", &dir);
    assert_eq!(found["members"], 5_939);
    assert_eq!(found["differences"], Value::Array(Vec::new()));
    assert_eq!(found["net"], AWARDED - REFUNDED);
}

/// What a script says of an export: one line of JSON.
fn script(python: &OsString, name: &str, dir: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name);
    let output = Command::new(python).arg(script).arg(dir).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_row_deleted_doubled_or_altered_is_caught_in_each_format() {
    for (format, file) in
        [("jsonl", "postings-000001.jsonl"), ("csv", "accounts-000001.csv"), ("hledger", "transactions-000001.journal")]
    {
        let dir = export_from(40_000, format, &format!("tampered-{format}"));
        answer(&verify(&dir, false));
        let path = dir.join(file);
        let whole = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = whole.lines().collect();
        let middle = lines.len() / 2 + usize::from(lines[lines.len() / 2].is_empty());
        for how in ["deleted", "doubled", "altered"] {
            let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            match how {
                "deleted" => drop(changed.remove(middle)),
                "doubled" => changed.insert(middle, changed[middle].clone()),
                _ => {
                    changed[middle] =
                        changed[middle].replacen(|c: char| c.is_ascii_digit(), "7", 1).replacen('7', "8", 1)
                }
            }
            fs::write(&path, changed.join("\n") + "\n").unwrap();
            let output = verify(&dir, false);
            assert_eq!(output.status.code(), Some(3), "{format} {how}");
            assert!(String::from_utf8_lossy(&output.stdout).contains(file), "{format} {how}: the file is not named");
        }
        fs::write(&path, whole).unwrap();
        answer(&verify(&dir, true));
    }
    let dir = export_from(40_000, "parquet", "tampered-parquet");
    let path = dir.join("postings-000001.parquet");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(verify(&dir, false).status.code(), Some(3));
}

#[test]
fn an_export_again_is_told_as_made_and_another_into_the_same_folder_is_refused() {
    let dir = export_from(44_000, "jsonl", "again");
    let manifest = fs::read(dir.join("manifest.json")).unwrap();
    export_from(44_000, "jsonl", "again");
    assert_eq!(fs::read(dir.join("manifest.json")).unwrap(), manifest);
    let data = book().data();
    let (data, out) = (data.to_str().unwrap(), dir.to_str().unwrap());
    let other = ["export", "--data", data, "--snapshot", "close", "--format", "csv", "--out", out];
    assert_eq!(stampbook(&other).status.code(), Some(2));
    let missing = ["export", "--data", data, "--snapshot", "open", "--format", "csv", "--out", out];
    assert_eq!(stampbook(&missing).status.code(), Some(2));
}

fn arguments(out: &Path) -> Vec<String> {
    let data = book().data();
    let place = ["--data", data.to_str().unwrap(), "--out", out.to_str().unwrap(), "--from-op", "43000"];
    let what = ["export", "--snapshot", "close", "--format", "jsonl"];
    what.iter().chain(&place).map(|argument| (*argument).to_owned()).collect()
}

fn files_in(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn an_export_that_is_killed_is_completed_by_the_same_command_to_the_same_bytes() {
    let whole = files_in(&export_from(43_000, "jsonl", "undisturbed"));
    // The last of them are there for a moment only: whenever the blow falls, the end is the same.
    for (round, moment) in
        ["accounts-000001.jsonl.new", "000001.part.json", "events-000001.jsonl.new", "manifest.json"].iter().enumerate()
    {
        let out = book().folder.path().join(format!("killed-{round}"));
        let mut export =
            Command::new(env!("CARGO_BIN_EXE_stampbook")).args(arguments(&out)).stdout(Stdio::null()).spawn().unwrap();
        while !out.join(moment).exists() && export.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        export.kill().unwrap();
        export.wait().unwrap();
        assert_eq!(export_from(43_000, "jsonl", &format!("killed-{round}")), out);
        assert!(files_in(&out) == whole, "killed at {moment}: {:?}", files_in(&out).keys());
        answer(&verify(&out, false));
    }
}

#[test]
fn an_export_waits_for_nobody_and_a_refused_one_leaves_no_directory_behind() {
    let out = book().folder.path().join("held");
    let run = |out: &Path| {
        let arguments = arguments(out);
        stampbook(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    fs::create_dir(&out).unwrap();
    let lock = fs::File::create(out.join("LOCK")).unwrap();
    lock.lock().unwrap();
    let refused = run(&out);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("in use by another export"));
    assert_eq!(files_in(&out).keys().collect::<Vec<_>>(), ["LOCK"]);
    drop(lock);
    answer(&run(&out));
    assert!(!out.join("LOCK").exists());
    let inner = out.parent().unwrap().join("none/inner");
    for (from, name) in [("50000", "close"), ("1", "open")] {
        let data = book().data();
        let place = ["--data", data.to_str().unwrap(), "--out", inner.to_str().unwrap(), "--from-op", from];
        let refused = stampbook(&[&["export", "--snapshot", name, "--format", "csv"], &place[..]].concat());
        assert_eq!(refused.status.code(), Some(2));
        assert!(!inner.parent().unwrap().exists());
    }
}

#[test]
fn a_missing_file_is_damage_and_a_missing_manifest_is_an_export_that_is_not_finished() {
    let dir = export_from(43_000, "jsonl", "missing");
    fs::remove_file(dir.join("postings-000001.jsonl")).unwrap();
    let again = arguments(&dir);
    let export = || stampbook(&again.iter().map(String::as_str).collect::<Vec<_>>());
    for output in [verify(&dir, false), export()] {
        assert_eq!(output.status.code(), Some(3));
        assert!(String::from_utf8_lossy(&output.stdout).contains("postings-000001.jsonl"));
    }
    fs::remove_file(dir.join("manifest.json")).unwrap();
    let output = verify(&dir, false);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no finished export"));
    answer(&export());
    answer(&verify(&dir, true));
}
