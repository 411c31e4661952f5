//! Two years of a shop's trade, replayed on a real server, come to known points: once, twice, doubled, through a crash, and with points
//! that lapse and are spent.

#![allow(clippy::unwrap_used)]

// The tests need less of it than the program does.
#[allow(dead_code)]
#[path = "../src/process.rs"]
mod process;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use stampbook::io::RealDisk;
use stampbook::journal;
use stampbook::ledger::codec;
use stampbook::ledger::event::Event;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::{BatchGetMembersRequest, GetTrialBalanceRequest, Member, TrialBalanceRow};
use tempfile::TempDir;
use tonic::transport::Channel;

use process::{Server, serve, stampbook};

type Failure = Box<dyn Error + Send + Sync>;

const EVENTS: u64 = 44_870;
const REPEATS: u64 = 901;
/// Events of the program itself in the books before the trace.
const PROGRAM_EVENTS: u64 = 1;

/// A server on books of its own.
struct House {
    binary: PathBuf,
    // Before the folder, so that the server is gone when that is removed.
    server: Server,
    folder: TempDir,
}

/// What there is to say of all balances.
#[derive(Debug, PartialEq)]
struct Balances {
    op: u64,
    rows: Vec<TrialBalanceRow>,
    members: Vec<Member>,
}

impl House {
    fn new(program: &str) -> Self {
        let binary = stampbook().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = serve(&binary, &folder.path().join("data"), None).unwrap();
        let house = Self { binary, server, folder };
        let file = here("programs").join(format!("{program}.toml"));
        house.stampbook(&["program", "apply", file.to_str().unwrap()]);
        house
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn stampbook(&self, arguments: &[&str]) {
        let target = ["--target", &self.server.address];
        let ended = Command::new(&self.binary).args(arguments).args(target).stdout(Stdio::null()).status().unwrap();
        assert!(ended.success(), "{arguments:?}");
    }

    fn replaying(&self, program: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(["replay", "--json", "--program", program, "--target", &self.server.address]).arg(trace());
        command
    }

    fn replay(&self, program: &str) -> Value {
        let output = self.replaying(program).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn account(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::connect(format!("http://{}", self.server.address)).await.unwrap()
    }

    async fn balances(&self, program: &str) -> Balances {
        let mut account = self.account().await;
        let ask = GetTrialBalanceRequest { program: program.to_owned(), as_of: None, basis: 0 };
        let trial = account.get_trial_balance(ask).await.unwrap().into_inner();
        let mut members = Vec::new();
        for ids in members_of_trace().chunks(1_000) {
            let ask = BatchGetMembersRequest { program: program.to_owned(), members: ids.to_vec() };
            members.extend(account.batch_get_members(ask).await.unwrap().into_inner().members);
        }
        Balances { op: trial.op, rows: trial.rows, members }
    }

    /// Counts the events in the books for which `is` holds, offline.
    fn count_events(&self, is: impl Fn(&Event<'_>) -> bool) -> u64 {
        let disk = RealDisk::open_existing(self.data()).unwrap();
        let mut count = 0;
        let mut visit = |visit: journal::Visit<'_>| {
            let event = codec::decode(visit.event).map_err(|error| error.to_string())?;
            count += u64::from(is(&event));
            Ok(())
        };
        journal::scan(&disk, &mut visit, &mut |_| {}).unwrap();
        count
    }
}

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn trace() -> PathBuf {
    here("data").join("online-retail-ii.csv")
}

fn members_of_trace() -> Vec<String> {
    let mut reader = csv::Reader::from_path(trace()).unwrap();
    let mut members: Vec<_> = reader.records().map(|row| row.unwrap().get(3).unwrap().to_owned()).collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// The fields of a report, in order.
fn numbers<const N: usize>(report: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| report.get(name).and_then(Value::as_u64).unwrap())
}

impl Balances {
    /// Credit less debit of an account.
    fn of(&self, account: &str) -> i64 {
        self.rows.iter().filter(|row| row.account == account).map(|row| row.credit - row.debit).sum()
    }

    fn net(&self) -> i64 {
        self.of("member/available") + self.of("member/debt")
    }
}

#[tokio::test]
async fn the_trace_comes_to_its_points_and_posting_it_again_changes_nothing() {
    let mut house = House::new("online-retail");
    let first = house.replay("online-retail");
    assert_eq!(
        numbers(&first, ["posted", "replayed", "rejected", "conflicts", "awarded", "refunded"]),
        [EVENTS, REPEATS, 0, 0, 17_414_157, 1_083_663]
    );
    let before = house.balances("online-retail").await;
    assert_eq!((before.op, before.members.len()), (EVENTS + PROGRAM_EVENTS, 5_939));
    assert_eq!((before.net(), before.of("issuance")), (16_330_494, -16_330_494));
    let of_members: i64 = before.members.iter().filter_map(|member| member.balance).map(|b| b.available - b.debt).sum();
    assert_eq!(of_members, before.net());

    let second = house.replay("online-retail");
    assert_eq!(numbers(&second, ["posted", "replayed", "rejected", "conflicts"]), [0, EVENTS + REPEATS, 0, 0]);
    assert_eq!(house.balances("online-retail").await, before);

    house.server.terminate().unwrap();
    assert_eq!(house.count_events(|event| event.common().is_some()), EVENTS);
    assert_eq!(house.count_events(|event| event.common().is_some() && event.legs().is_empty()), 58);
}

#[tokio::test]
async fn double_points_in_december_pay_what_the_purchases_of_those_days_are_worth() {
    let mut house = House::new("online-retail-double");
    let fund = ["campaign", "fund", "--program", "online-retail-double", "--campaign", "double-december"];
    let act = ["--points", "1000000", "--key", "fund-1", "--actor", "ana", "--reason", "the budget"];
    house.stampbook(&[&fund[..], &act[..]].concat());
    let report = house.replay("online-retail-double");
    assert_eq!(
        numbers(&report, ["posted", "awarded", "awarded_by_campaigns", "refunded"]),
        [EVENTS, 17_414_157 + 362_414, 362_414, 1_083_663]
    );
    let balances = house.balances("online-retail-double").await;
    assert_eq!(balances.of("campaign/double-december"), 1_000_000 - 362_414);
    assert_eq!(balances.net(), 16_330_494 + 362_414);

    house.server.terminate().unwrap();
    let paid = |event: &Event<'_>| match event {
        Event::Earned(earned) => earned.shares.iter().any(|share| share.awarded > 0),
        _ => false,
    };
    assert_eq!(house.count_events(paid), 890);
}

#[tokio::test]
async fn a_replay_cut_short_by_a_kill_and_begun_again_comes_to_the_same_balances() {
    let whole = House::new("online-retail");
    whole.replay("online-retail");
    let expected = whole.balances("online-retail").await;
    drop(whole);

    let mut house = House::new("online-retail");
    let mut cut_short = house.replaying("online-retail").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut account = house.account().await;
    let patience = Instant::now() + Duration::from_secs(30);
    while account.get_trial_balance(GetTrialBalanceRequest::default()).await.unwrap().into_inner().op < EVENTS / 3 {
        assert!(Instant::now() < patience, "the replay does not get on");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    house.server.kill().unwrap();
    assert!(!cut_short.wait().unwrap().success(), "the replay was over before the kill");
    house.server = serve(&house.binary, &house.data(), None).unwrap();

    let report = house.replay("online-retail");
    let [posted, replayed, rejected] = numbers(&report, ["posted", "replayed", "rejected"]);
    assert_eq!((posted + replayed, rejected), (EVENTS + REPEATS, 0));
    assert!(posted > 0 && replayed >= EVENTS / 3 - PROGRAM_EVENTS, "{report}");
    let found = house.balances("online-retail").await;
    assert_eq!((found.op, &found.rows), (expected.op, &expected.rows));
    assert_eq!(found, expected);
}

/// The interpreter that has DuckDB: the one in `PYTHON`, which must have it, or python3 if it has.
fn python() -> Option<std::ffi::OsString> {
    let named = std::env::var_os("PYTHON");
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let ready =
        Command::new(&python).args(["-c", "import duckdb"]).output().is_ok_and(|output| output.status.success());
    assert!(ready || named.is_none(), "the interpreter in PYTHON lacks duckdb");
    if !ready {
        eprintln!("skipped: python3 lacks duckdb");
    }
    ready.then_some(python)
}

/// The table that DuckDB makes of an export.
const TABLE_BY_DUCKDB: &str = "
import duckdb, json, os, sys
sql = open(sys.argv[1]).read()
os.chdir(sys.argv[2])
print(json.dumps(dict(duckdb.sql(sql).fetchall())))
";

/// An export in which the first posting of which something holds is gone, or is of another kind.
const DAMAGED_BY_DUCKDB: &str = "
import duckdb, glob, os, shutil, sys
sql, export, damaged, which, change = sys.argv[1:]
sql = open(sql).read()
shutil.copytree(export, damaged)
os.chdir(damaged)
duckdb.sql(f'''create temp table damaged as
    with numbered as (select *, row_number() over () as place from 'postings-*.parquet'),
        first as (select min(place) as place from numbered where {which})
    {change}''')
for file in glob.glob('postings-*.parquet'):
    os.remove(file)
duckdb.sql('''copy damaged to 'postings-1.parquet' ''')
duckdb.sql(sql).fetchall()
";
const GONE: &str = "select * exclude place from numbered where place <> (select place from first)";
const OF_ANOTHER_KIND: &str =
    "select * exclude place replace (if(place = (select place from first), 'adjust', kind) as kind) from numbered";

/// The table finds each damage, and says which.
fn finds_damage(python: &std::ffi::OsStr, export: &Path, folder: &Path) {
    let of_lots = |which: &str| {
        let over = "lot_lapses_at <= (select max(book_time) from 'events-*.parquet')";
        format!("account = 'member/available' and {over} and {which}")
    };
    for (place, which, change, finds) in [
        (0, of_lots("credit > 0"), GONE, "a lot gave more than it had"),
        (1, of_lots("debit > 0"), GONE, "a lot that is over still has units"),
        (2, "account like 'redemption/%'".to_owned(), GONE, "an account is not the sum of its postings"),
        (3, "account = 'issuance' and kind = 'earn'".to_owned(), OF_ANOTHER_KIND, "it does not balance"),
    ] {
        let damaged = folder.join(format!("damaged-{place}"));
        let mut command = Command::new(python);
        command.args(["-c", DAMAGED_BY_DUCKDB]).arg(here("sql").join("trace.sql")).arg(export).arg(damaged);
        let output = command.args([&which, change]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(finds), "{which}: {said}");
    }
}

#[test]
fn every_point_of_a_year_of_trade_is_somewhere_by_the_receipts_and_by_the_export() {
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["trace", "--json", "--rows", "3500", "--until", "2011-01-10T00:00:00Z", "--export"]).arg(&export);
    let output = command.arg(trace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        numbers(&report, ["rows", "purchases", "refunds", "refunds_named", "redemptions"]),
        [3_500, 2_769, 731, 519, 995]
    );
    let names = ["issued", "owed", "spendable", "spent", "lapsed", "taken_back"];
    let table = report.get("table").unwrap();
    let [issued, owed, spendable, spent, lapsed, taken_back] = numbers(table, names);
    assert_eq!(issued + owed, spendable + spent + lapsed + taken_back);
    assert_eq!(
        [issued, owed, spendable, spent, lapsed, taken_back],
        [1_339_427, 18_620, 131_785, 1_035_400, 139_545, 51_317]
    );

    let Some(python) = python() else { return };
    let sql = here("sql").join("trace.sql");
    let output = Command::new(&python).args(["-c", TABLE_BY_DUCKDB]).arg(sql).arg(&export).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = ["issued", "owed by members", "spendable", "spent", "lapsed", "taken back"];
    assert_eq!(numbers(&found, names), [issued, owed, spendable, spent, lapsed, taken_back]);
    finds_damage(&python, &export, folder.path());
}
