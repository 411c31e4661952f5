//! `stampbook program` and `stampbook campaign`, as an operator uses them: offline, and against a server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../programs/double-points.toml");
/// What a program can say beside rules and campaigns; in import mode, so that its campaigns may begin at any time.
const GROCER: &str = include_str!("../programs/grocer.toml");

fn stampbook(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stampbook")).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A server on a temporary directory, killed when the test is over.
struct Server {
    child: Child,
    target: String,
    dir: TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_stampbook"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("book"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let target = line.strip_prefix("listening on ").expect("the address is printed").trim().to_owned();
        Self { child, target, dir }
    }

    /// Writes a program's file.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        stampbook(&[arguments, &["--target", &self.target, "--json"]].concat())
    }

    fn apply(&self, file: &Path, more: &[&str]) -> Output {
        self.ask(&[&["program", "apply", file.to_str().unwrap()], more].concat())
    }

    fn campaign(&self, act: &str, key: &str, more: &[&str]) -> Output {
        let about =
            ["--program", "high-street", "--campaign", "double-night", "--actor", "ana", "--reason", "the night"];
        self.ask(&[&["campaign", act, "--key", key], about.as_slice(), more].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_check_needs_no_server_and_names_every_place() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("p.toml");
    let name = path.to_str().unwrap();
    std::fs::write(&path, EXAMPLE).unwrap();
    let sound = stampbook(&["program", "check", name]);
    assert_eq!(sound.status.code(), Some(0));
    assert!(text(&sound.stdout).contains("sound: program high-street"));

    std::fs::write(&path, EXAMPLE.replace("\"GBP\"", "\"pounds\"").replace("points = 1 ", "point = 1 ")).unwrap();
    let faulty = stampbook(&["program", "check", name]);
    assert_eq!((faulty.status.code(), faulty.stdout.len()), (Some(2), 0));
    let lines: Vec<_> = text(&faulty.stderr).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with(&format!("{name}:11:12: currency: is \"pounds\"")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("{name}:17:1: rules[0].points: is missing")), "{lines:?}");
    assert!(lines[2].starts_with(&format!("{name}:19:1: rules[0].point: is unknown")), "{lines:?}");
    let as_json = json(&stampbook(&["program", "check", name, "--json"]));
    assert_eq!((&as_json["sound"], &as_json["errors"][0]["line"]), (&Value::Bool(false), &Value::from(11)));
}

#[test]
fn what_cannot_be_read_or_reached_is_told_from_what_is_wrong() {
    assert_eq!(stampbook(&["program", "check", "/nowhere/p.toml"]).status.code(), Some(4));
    assert_eq!(stampbook(&["program", "show", "p", "--target", "127.0.0.1:1"]).status.code(), Some(4));
    assert_eq!(stampbook(&["program", "show", "p", "--target", "no address"]).status.code(), Some(2));
    assert_eq!(stampbook(&["program", "show", "p"]).status.code(), Some(2), "a target is needed");
}

#[test]
fn applying_a_file_again_changes_nothing_and_a_changed_file_is_the_next_version() {
    let server = Server::start();
    let file = server.file("p.toml", EXAMPLE);
    let first = json(&server.apply(&file, &[]));
    assert_eq!((&first["outcome"], &first["version"]), (&"APPLIED".into(), &1.into()));
    let again = json(&server.apply(&file, &[]));
    assert_eq!((&again["unchanged"], &again["version"]), (&true.into(), &1.into()));
    let replay = json(&server.apply(&file, &["--expected-version", "0"]));
    assert_eq!(
        (&replay["replayed"], &replay["op"]),
        (&true.into(), &first["op"]),
        "the key comes from file and version"
    );

    let changed = server.file("q.toml", &EXAMPLE.replace("High Street Club", "High Street Friends"));
    assert_eq!(json(&server.apply(&changed, &[]))["version"], 2);
    // Back to the first text is a third version, not the first receipt again.
    assert_eq!(json(&server.apply(&file, &[]))["version"], 3);

    let shown = stampbook(&["program", "show", "high-street", "--target", &server.target]);
    let (head, rest) = text(&shown.stdout).split_once('\n').unwrap();
    assert!(head.starts_with("# high-street version 3, "), "{head}");
    assert_eq!(rest, EXAMPLE);
}

#[test]
fn assets_and_what_rules_say_of_them_are_printed_by_check_and_show_alike() {
    let server = Server::start();
    let file = server.file("g.toml", &GROCER.replace("mode = \"live\"", "mode = \"import\""));
    let name = file.to_str().unwrap();
    let check = stampbook(&["program", "check", name]);
    let lines: Vec<_> = text(&check.stdout).lines().collect();
    assert!(lines[0].ends_with("sound: program grocer, rules 3, campaigns 2, assets 4"), "{lines:?}");
    assert_eq!(lines[2], "  growth: qualifying, lapses after 12 months of inactivity, a shortfall is owed");
    assert!(lines[5].ends_with("what comes back lapsed lives 30 days more, 100 points offset 100 minor units"));
    assert_eq!(lines[6], "  250 points become 400 miles of skyline");
    assert_eq!(lines[7], "  takes units of skyline that are turned into its own");

    let checked = json(&stampbook(&["program", "check", name, "--json"]));
    assert_eq!(json(&server.apply(&file, &[]))["version"], 1);
    let shown = json(&server.ask(&["program", "show", "grocer"]));
    for field in ["assets", "offset", "grace_days", "hold_days_max", "event_rules", "conversions", "accepts_from"] {
        assert_eq!(shown[field], checked[field], "{field}");
    }
    let rate = serde_json::json!({
        "to_program": "skyline", "asset": "points", "to_asset": "miles", "units": 250, "to_units": 400,
    });
    assert_eq!((&shown["conversions"][0], &shown["accepts_from"][0]), (&rate, &"skyline".into()));
    let (points, delivery) = (&shown["assets"][0], &shown["assets"][3]);
    assert_eq!(points["expiry"], serde_json::json!({ "months": 12, "rolling": false, "round_up": "quarter" }));
    assert_eq!((&points["debt_max"], &points["on_shortfall"]), (&20_000.into(), &"debt".into()));
    assert_eq!(points["values"][1]["redeemed_basis_points"], 8_250);
    assert_eq!(delivery["expiry"]["until_us"], 1_830_297_600_000_000_i64);
    let purchase = &shown["event_rules"][0];
    assert_eq!((&purchase["also"]["asset"], &purchase["pending"]["days"]), (&"growth".into(), &14.into()));
    let listed = json(&server.ask(&["campaign", "list", "--program", "grocer"]));
    let assets: Vec<_> = listed["campaigns"].as_array().unwrap().iter().map(|c| c["asset"].clone()).collect();
    assert_eq!(assets, ["growth", "points"], "by id");
}

#[test]
fn a_refusal_of_the_server_has_its_own_exit_code_and_reason() {
    let server = Server::start();
    let file = server.file("p.toml", EXAMPLE);
    let stale = server.apply(&file, &["--expected-version", "7"]);
    assert_eq!(stale.status.code(), Some(1));
    assert_eq!(json(&stale)["reason"], "VERSION_MISMATCH");
    assert_eq!(server.apply(&file, &["--key", "k"]).status.code(), Some(0));
    let other = server.apply(&server.file("q.toml", &EXAMPLE.replace("High", "Low")), &["--key", "k"]);
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(json(&other)["reason"], "KEY_REUSED");
    let unknown = server.ask(&["program", "show", "low-street"]);
    assert_eq!((unknown.status.code(), &json(&unknown)["reason"]), (Some(2), &"PROGRAM_UNKNOWN".into()));
    let nothing = server.campaign("fund", "f", &["--points", "0"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert_eq!(json(&nothing)["fields"][0]["field"], "points");
}

#[test]
fn a_campaign_is_funded_paused_resumed_and_closed_once_per_key() {
    let server = Server::start();
    let file = server.file("p.toml", EXAMPLE);
    assert_eq!(server.apply(&file, &[]).status.code(), Some(0));
    for replayed in [false, true] {
        let funded = json(&server.campaign("fund", "f1", &["--points", "500"]));
        assert_eq!((&funded["replayed"], &funded["campaign"]["left"]), (&replayed.into(), &500.into()));
    }
    assert_eq!(json(&server.campaign("pause", "p1", &[]))["campaign"]["status"], "paused");
    assert_eq!(json(&server.campaign("pause", "p2", &[]))["reason"], "CAMPAIGN_PAUSED");
    assert_eq!(json(&server.campaign("resume", "r1", &[]))["campaign"]["status"], "open");
    assert_eq!(json(&server.campaign("close", "c1", &[]))["campaign"]["status"], "closed");
    let late = server.campaign("fund", "f2", &["--points", "1"]);
    assert_eq!((late.status.code(), &json(&late)["reason"]), (Some(1), &"CAMPAIGN_CLOSED".into()));

    let listed = json(&server.ask(&["campaign", "list", "--program", "high-street"]));
    let campaign = &listed["campaigns"][0];
    assert_eq!((&campaign["id"], &campaign["left"]), (&"double-night".into(), &0.into()));
}

#[test]
fn what_an_operator_did_can_be_proved_once_no_server_has_the_book_open() {
    let mut server = Server::start();
    let file = server.file("p.toml", EXAMPLE);
    assert_eq!(server.apply(&file, &[]).status.code(), Some(0));
    assert_eq!(server.campaign("fund", "f1", &["--points", "500"]).status.code(), Some(0));
    let book = server.dir.path().join("book");
    let prove = || stampbook(&["verify", "--data", book.to_str().unwrap(), "--rules", "--json"]);
    assert_eq!(prove().status.code(), Some(4), "a server has the book open");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let proved = prove();
    let report = json(&proved);
    assert_eq!((&report["sound"], &report["op"]), (&true.into(), &2.into()), "{report}");
    let rows = report["trial_balance"][0]["rows"].as_array().unwrap();
    let balance = |account: &str| &rows.iter().find(|row| row["account"] == account).unwrap()["balance"];
    assert_eq!((balance("issuance"), balance("campaign/double-night")), (&(-500).into(), &500.into()));
}
