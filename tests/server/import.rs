//! `stampbook import` against a running server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stampbook::config::Config;
use stampbook::proto as pb;
use tempfile::TempDir;

use crate::house::{DEFINITION, House, PROGRAM, gift, opening, small};

/// A file of accounts, and what an import of it is told beside.
struct Move {
    dir: TempDir,
    address: SocketAddr,
    program: &'static str,
}

impl Move {
    fn new(house: &House, rows: &str) -> Self {
        let moved = Self { dir: tempfile::tempdir().unwrap(), address: house.address, program: PROGRAM };
        moved.write(rows);
        moved
    }

    fn write(&self, rows: &str) {
        std::fs::write(self.file(), format!("source_key,member,points\n{rows}")).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("accounts.csv")
    }

    fn rejects(&self) -> PathBuf {
        self.dir.path().join("rejects.csv")
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stampbook"));
        command.args(["import", "--json", "--program", self.program, "--key-prefix", "old", "--actor", "ana"]);
        command.args(["--reason", "moved in", "--target"]).arg(self.address.to_string());
        command.arg("--file").arg(self.file()).arg("--rejects").arg(self.rejects()).args(more);
        command
    }

    /// The exit code and the report.
    async fn run(&self, more: &[&str]) -> (i32, Value) {
        let mut command = self.command(more);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {error}")))
    }
}

/// Rows and points as a report has them.
fn sums(report: &Value, name: &str) -> (u64, i64) {
    (report[name]["rows"].as_u64().unwrap(), report[name]["units"]["points"].as_i64().unwrap_or(0))
}

/// The debit of the account `opening`.
async fn opened(house: &mut House) -> i64 {
    let trial = house.trial(None).await;
    trial.rows.iter().find(|row| row.account == "opening").map_or(0, |row| row.debit - row.credit)
}

/// 2,500 accounts: members twice over, one of three in debt.
fn many() -> (String, i64) {
    let points = |n: i64| if n % 3 == 0 { -(n + 1) } else { 10 * n };
    let rows = (0..2_500).map(|n| format!("acc-{n},m{},{}\n", n / 2, points(n)));
    (rows.collect(), (0..2_500).map(points).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_moves_every_account_in_and_a_second_one_books_nothing() {
    let mut house = House::furnished().await;
    let (rows, total) = many();
    let moved = Move::new(&house, &rows);
    let control = format!("points={total},members=1250");
    let (code, report) = moved.run(&["--control", &control]).await;
    assert_eq!(code, 0, "{report}");
    assert_eq!((sums(&report, "applied"), sums(&report, "replayed")), ((2_500, total), (0, 0)));
    assert_eq!((report["opening_after"]["points"].as_i64(), opened(&mut house).await), (Some(total), total));
    assert_eq!(report["members_after"].as_u64(), Some(1_250));
    // m2 has acc-4 (40) and acc-5 (50); m3 has acc-6 (-7) and then acc-7 (70).
    assert_eq!(house.balance("m2").await, pb::Balance { available: 90, debt: 0, ..Default::default() });
    assert_eq!(house.balance("m3").await, pb::Balance { available: 63, debt: 0, ..Default::default() });
    let op = report["op"].as_u64().unwrap();
    let (code, report) = moved.run(&["--control", &control]).await;
    assert_eq!(code, 0, "{report}");
    assert_eq!((sums(&report, "applied"), sums(&report, "replayed")), ((0, 0), (2_500, total)));
    assert_eq!((report["op"].as_u64(), opened(&mut house).await), (Some(op), total));
    assert_eq!(std::fs::read_to_string(moved.rejects()).unwrap().lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_to_import_is_not_taken_for_the_list_of_rejects() {
    let house = House::furnished().await;
    let moved = Move::new(&house, "a,ann,5\n");
    let before = std::fs::read(moved.file()).unwrap();
    let file = moved.file();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stampbook"));
    command.args(["import", "--json", "--program", PROGRAM, "--key-prefix", "old", "--actor", "ana", "--reason", "r"]);
    command.arg("--target").arg(moved.address.to_string()).arg("--file").arg(&file).arg("--rejects").arg(&file);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("--rejects"));
    assert_eq!(std::fs::read(moved.file()).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_books_refuse_are_listed_by_line_with_the_reason() {
    let mut house = House::furnished().await;
    house.post(opening("old/taken", "ann", 1)).await.unwrap();
    let moved = Move::new(&house, "a,ann,5\ntaken,ann,7\nb,ben,-3\n");
    let (code, report) = moved.run(&[]).await;
    assert_eq!(code, 1, "{report}");
    assert_eq!((sums(&report, "applied"), report["conflicting"].as_u64()), ((2, 2), Some(1)));
    let list = std::fs::read_to_string(moved.rejects()).unwrap();
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[1].starts_with("3,taken,ann,7,CONFLICT,KEY_REUSED,"), "{list}");
    assert_eq!(opened(&mut house).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_for_which_there_was_no_room_are_listed_and_booked_by_the_same_command_once_there_is() {
    let mut house = House::furnished().await;
    house.post(gift("g", "ann", 1)).await.unwrap();
    let (dir, _) = house.close().await;
    let full = House::open(dir, &Config { members_max: 2, ..small() }).await;
    let moved = Move::new(&full, "a,ann,5\nb,ben,7\nc,cid,9\nd,ann,2\n");
    let (code, report) = moved.run(&[]).await;
    assert_eq!(code, 1, "{report}");
    assert_eq!((sums(&report, "applied"), report["refused"]["MEMBERS_LIMIT"].as_u64()), ((3, 14), Some(1)));
    let list = std::fs::read_to_string(moved.rejects()).unwrap();
    let refused: Vec<_> = list.lines().skip(1).map(|line| line.split(',').take(6).collect::<Vec<_>>()).collect();
    assert_eq!(refused, [["4", "c", "cid", "9", "SHED", "MEMBERS_LIMIT"]]);
    let mut house = full.reopened().await;
    let moved = Move { address: house.address, ..moved };
    let (code, report) = moved.run(&[]).await;
    assert_eq!(code, 0, "{report}");
    assert_eq!((sums(&report, "applied"), sums(&report, "replayed")), ((1, 9), (3, 14)));
    assert_eq!(opened(&mut house).await, 23);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_program_that_does_not_import_so_that_no_key_is_used_up() {
    let mut house = House::furnished().await;
    let live = DEFINITION.replace("\"import\"", "\"live\"");
    house.put(&live, Some(1), "put-2").await.unwrap();
    let op = house.trial(None).await.op;
    let moved = Move::new(&house, "a,ann,5\nb,ben,7\n");
    for more in [&["--dry-run"][..], &[]] {
        let (code, report) = moved.run(more).await;
        assert_eq!(code, 2, "{report}");
        let said = report["error"].as_str().unwrap();
        assert!(said.contains(PROGRAM) && said.contains("does not import"), "{said}");
    }
    assert_eq!((house.trial(None).await.op, moved.rejects().exists()), (op, false));
    house.put(DEFINITION, Some(2), "put-3").await.unwrap();
    let (code, report) = moved.run(&[]).await;
    assert_eq!((code, sums(&report, "applied")), (0, (2, 12)), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_posted_from_a_file_that_is_not_sound_or_not_what_was_announced() {
    let mut house = House::furnished().await;
    let op = house.post(gift("g", "ann", 1)).await.unwrap().op;
    let moved = Move::new(&house, "a,ann,5\nb,ben,x\nc,,1\n");
    let (code, report) = moved.run(&[]).await;
    assert_eq!(code, 2, "{report}");
    let faults: Vec<_> =
        report["faults"].as_array().unwrap().iter().map(|f| (f["line"].as_u64(), f["column"].as_str())).collect();
    assert_eq!(faults, [(Some(3), Some("points")), (Some(4), Some("member"))]);
    moved.write("a,ann,5\nb,ben,-2\n");
    for control in ["points=4", "points=3,members=3", "members=1"] {
        let (code, report) = moved.run(&["--control", control]).await;
        assert_eq!(code, 2, "{control}: {report}");
        assert!(report["error"].as_str().unwrap().contains("control total"), "{control}: {report}");
    }
    let (code, report) = moved.run(&["--control", "points=3,members=2", "--dry-run"]).await;
    assert_eq!((code, report["dry_run"].as_bool()), (0, Some(true)), "{report}");
    assert_eq!(house.trial(None).await.op, op);
    // A program that is not there is told before anything is sent.
    let moved = Move { program: "nowhere", ..moved };
    let (code, report) = moved.run(&[]).await;
    assert_eq!(code, 2, "{report}");
}

/// Rows enough to be killed among.
const ROWS: i64 = 60_000;

fn interrupt(mut import: Child) {
    import.kill().unwrap();
    import.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_is_completed_by_the_same_command() {
    let mut house = House::furnished().await;
    let rows: String = (0..ROWS).map(|n| format!("acc-{n},m{n},{}\n", n + 1)).collect();
    let total = ROWS * (ROWS + 1) / 2;
    let moved = Move::new(&house, &rows);
    let import = moved.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while opened(&mut house).await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    interrupt(import);
    // What was sent before may still be decided; then nothing moves any more.
    let mut before = opened(&mut house).await;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = opened(&mut house).await;
        if now == before {
            break;
        }
        before = now;
    }
    assert!(0 < before && before < total, "killed too late: {before} of {total}");
    let (code, report) = moved.run(&["--control", &format!("points={total},members={ROWS}")]).await;
    assert_eq!(code, 0, "{report}");
    assert_eq!(sums(&report, "replayed").1, before);
    assert_eq!(sums(&report, "applied").1, total - before);
    assert_eq!(
        (opened(&mut house).await, house.trial(None).await.totals[0].members),
        (total, u64::try_from(ROWS).unwrap())
    );
    assert!(Path::new(&moved.rejects()).exists());
}
