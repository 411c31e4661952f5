//! The golden book: written once by the first version of the format, and opened by every later one with the same
//! balances. A change of the code that these tests notice is a change of what old books mean.
//!
//! `cargo test --test golden -- --ignored make` wrote it. It is not written again: a new version of the format gets a
//! golden book of its own beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "golden/keeper.rs"]
mod keeper;
#[path = "golden/make.rs"]
mod make;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use stampbook::config::Config;
use stampbook::engine::request::{AnswerBody, Read, Work};
use stampbook::engine::{Engine, EngineConfig, Handle};
use stampbook::io::sim::SimClock;
use stampbook::io::{Disk, RealDisk};
use stampbook::journal::scan;
use stampbook::ledger::event::{Account, Event};
use stampbook::ledger::ids::{MemberRef, Op, ProgramNo};
use stampbook::ledger::read::STATE_HASH_VERSION;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::view::ProgramTrial;
use stampbook::ledger::{Limits, codec};
use stampbook::verify::{Options, verify};
use tempfile::TempDir;

const NOTE: &str = "The book is of the first release and never changes. The state hash is of the form that state_version \
                    names: the first release wrote version 1.";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixture().join("expected.json")).unwrap()).unwrap()
}

/// The files of the golden book, by name.
fn files() -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(fixture().join("book")).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

fn hashes(files: &BTreeMap<String, Vec<u8>>) -> Value {
    files.iter().map(|(name, bytes)| (name.clone(), json!(blake3::hash(bytes).to_hex().as_str()))).collect()
}

/// A copy of the golden book that may be written to.
fn copy() -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, bytes) in files() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

/// Every event of a book, by op from 1.
fn events_of(disk: &dyn Disk) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    let mut visit = |visit: stampbook::journal::Visit<'_>| {
        events.push(visit.event.to_vec());
        Ok(())
    };
    scan(disk, &mut visit, &mut |_| {}).unwrap();
    events
}

fn golden_events() -> Vec<Vec<u8>> {
    let dir = copy();
    events_of(&RealDisk::open_existing(dir.path()).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn trial_json(trial: &[ProgramTrial]) -> Value {
    let rows = |program: &ProgramTrial| -> Value {
        program.rows.iter().map(|row| (row.account.clone(), json!(row.balance))).collect()
    };
    trial.iter().map(|program| (program.program.clone(), rows(program))).collect()
}

/// The programs' ids, and the members in order of their numbers, with the number of their program.
fn names_of(events: &[Vec<u8>]) -> (Vec<String>, Vec<(ProgramNo, String)>) {
    let (mut programs, mut members) = (Vec::new(), Vec::new());
    for bytes in events {
        let event = codec::decode(bytes).unwrap();
        if let Event::ProgramPut(put) = &event {
            programs.extend(put.common.program_id.map(str::to_owned));
        }
        if let Some(MemberRef::Opened(_, id)) = event.common().map(|common| common.member) {
            members.push((event.identity().0, id.to_owned()));
        }
    }
    (programs, members)
}

fn ask(handle: &Handle, read: Read) -> AnswerBody {
    handle.submit(Work::Read(read)).unwrap().blocking_recv().unwrap().unwrap().body
}

/// What a running engine says of every member: available and debt, by program and id.
fn members_json(handle: &Handle, events: &[Vec<u8>]) -> Value {
    let (programs, members) = names_of(events);
    let program = |number: ProgramNo| programs[usize::from(number.0)].as_str();
    let asked = members.iter().map(|(number, id)| handle.prints().member(program(*number), id));
    let AnswerBody::Members(states) = ask(handle, Read::Members(asked.collect())) else { panic!() };
    let mut shown = json!({});
    for ((number, id), state) in members.iter().zip(states) {
        let balances = state.unwrap().balances;
        shown[program(*number)][id] = json!({ "available": balances.available, "debt": balances.debt });
    }
    shown
}

fn start(dir: &Path) -> Engine {
    let config = EngineConfig {
        limits: Limits { members_max: 1_000, cap_counters_max: 1_000, lots_bytes_max: usize::MAX },
        queue_requests_max: 64,
        queue_age_max_us: 60_000_000,
        ..Config::default().engine(None)
    };
    let clock = Arc::new(SimClock::new(keeper::BEGAN_US + 100 * keeper::FRAME_US));
    Engine::start(Arc::new(RealDisk::open(dir).unwrap()), clock, &config).unwrap()
}

#[test]
fn the_golden_book_opens_with_the_same_balances_and_the_same_state() {
    let (dir, expected) = (copy(), expected());
    let events = golden_events();
    let engine = start(dir.path());
    let handle = engine.handle();
    assert_eq!(engine.recovery().events, expected["op"].as_u64().unwrap());
    assert_eq!(engine.recovery().torn_bytes, 0);
    assert_eq!(hex(&handle.book().head().hash), expected["head"]);
    let AnswerBody::TrialBalance(trial) = ask(&handle, Read::TrialBalance) else { panic!() };
    assert_eq!(trial_json(&trial), expected["trial_balance"]);
    assert_eq!(members_json(&handle, &events), expected["members"]);
    let AnswerBody::StateHash(state) = ask(&handle, Read::StateHash) else { panic!() };
    // A later version of the canonical form has another hash of the same state: then these lines of the fixture change,
    // and no other.
    assert_eq!(
        (json!(STATE_HASH_VERSION), json!(hex(&state))),
        (expected["state_version"].clone(), expected["state"].clone())
    );
    engine.shut_down();
}

#[test]
fn every_key_of_the_golden_book_is_remembered_with_its_op() {
    let (dir, events) = (copy(), golden_events());
    let engine = start(dir.path());
    let handle = engine.handle();
    let (programs, _) = names_of(&events);
    for (op, bytes) in (1..).map(Op).zip(&events) {
        let event = codec::decode(bytes).unwrap();
        let (number, key, _) = event.identity();
        let refused = event.admin_common().and_then(|common| common.program_id);
        let program = refused.unwrap_or_else(|| &programs[usize::from(number.0)]);
        let AnswerBody::Key(found) = ask(&handle, Read::Key(handle.prints().key(program, key))) else { panic!() };
        assert_eq!(found, Some(op));
    }
    engine.shut_down();
}

#[test]
fn the_golden_book_is_proved_by_its_rules() {
    let (dir, expected) = (copy(), expected());
    let disk = RealDisk::open_existing(dir.path()).unwrap();
    let report = verify(&disk, &Options { rules: true, ..Options::default() }, &mut |_| {}).unwrap();
    assert_eq!(
        (json!(report.head.op), json!(hex(&report.head.hash))),
        (expected["op"].clone(), expected["head"].clone())
    );
    assert_eq!(trial_json(&report.trial_balance), expected["trial_balance"]);
    assert_eq!(report.proved, expected["proved"].as_u64());
    assert!(report.end.segments >= 3, "{:?}", report.end);
}

#[test]
fn the_golden_book_is_the_one_that_was_written() {
    assert_eq!(hashes(&files()), expected()["files"]);
}

#[test]
fn every_event_of_the_golden_book_is_written_again_as_the_same_bytes() {
    for bytes in golden_events() {
        let event = codec::decode(&bytes).unwrap();
        let mut again = Vec::new();
        codec::encode(&event, &mut again).unwrap();
        assert_eq!(hex(&again), hex(&bytes), "{event:?}");
    }
}

/// The name that stands before the fields in a value's debug form.
fn name(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").split([' ', '(', '{']).next().unwrap().to_owned()
}

/// The variants that an event shows, and the reasons.
fn tell(event: &Event<'_>, seen: &mut BTreeSet<String>, reasons: &mut BTreeSet<u16>) {
    let mut see = |what: &str, value: String| {
        seen.insert(format!("{what} {value}"));
    };
    see("event", name(event));
    reasons.extend(event.rejection().map(|(reason, _)| reason.number()));
    if let Some(common) = event.common() {
        see("member", name(&common.member));
        see("notes", name(&common.notes));
    }
    for leg in event.legs() {
        see("account", name(&leg.account));
        match leg.account {
            Account::Available { lot, .. } => see("source", name(&lot.source)),
            Account::Redemption { purpose, .. } => see("purpose", name(&purpose)),
            _ => {}
        }
    }
    match event {
        Event::Earned(earned) => {
            see("shares", earned.shares.len().to_string());
            see("basis", name(&earned.basis));
            for share in earned.shares.iter() {
                reasons.extend(share.reason.map(Reason::number));
                see("stopped", share.stopped.to_string());
                let per = share.cap.map(|cap| cap.span.per);
                see("cap", format!("{per:?}"));
            }
        }
        Event::Refunded(refunded) => {
            see("original", refunded.from.is_some().to_string());
            let shares = refunded.from.iter().flat_map(|from| from.shares.iter());
            shares.for_each(|share| see("closed", share.closed.to_string()));
        }
        Event::Adjusted(adjusted) => see("adjusted", (adjusted.points > 0).to_string()),
        Event::Rejected(rejected) => see("refused", name(&rejected.kind)),
        Event::ProgramPut(put) => see("version", put.version.0.to_string()),
        Event::CampaignChanged(changed) => see("change", name(&changed.change)),
        Event::AdminRejected(rejected) => see("refused", name(&rejected.kind)),
        Event::Redeemed(_) => {}
        _ => panic!("not of the first release"),
    }
}

#[test]
fn the_golden_book_holds_every_kind_of_event_account_and_reason() {
    let (mut seen, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    for bytes in golden_events() {
        tell(&codec::decode(&bytes).unwrap(), &mut seen, &mut reasons);
    }
    let wanted = [
        ("event", "Earned Refunded Redeemed Adjusted Rejected ProgramPut CampaignChanged AdminRejected"),
        ("member", "Known Opened Unknown"),
        ("notes", "None Some"),
        ("account", "Available Debt Issuance Campaign Redemption Adjustment"),
        ("source", "Base Campaign Granted"),
        ("purpose", "CashOffset Gift Coupon Lottery Charity Miles"),
        ("shares", "0 1 2"),
        ("basis", "Spend Points"),
        ("stopped", "false true"),
        ("cap", "None Some(Day) Some(Week) Some(Month) Some(Campaign)"),
        ("original", "false true"),
        ("closed", "false true"),
        ("adjusted", "false true"),
        ("refused", "Earn Refund Redeem Adjust PutProgram FundCampaign PauseCampaign ResumeCampaign CloseCampaign"),
        ("version", "1 2"),
        ("change", "Funded Paused Resumed Closed"),
    ];
    for (what, values) in wanted {
        for value in values.split(' ') {
            assert!(seen.contains(&format!("{what} {value}")), "no {what} {value} in {seen:#?}");
        }
    }
    // A book in which a limit is reached is not a small one, and later reasons are not of the first release.
    let newest = Reason::ProgramFixedField.number();
    let small = |reason: &&Reason| **reason != Reason::LimitReached && reason.number() <= newest;
    let missing: Vec<_> = Reason::ALL.iter().filter(small).filter(|r| !reasons.contains(&r.number())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_example_in_the_format_is_an_event_of_the_golden_book() {
    let text = include_str!("../src/FORMAT.md");
    let drawing = text.split_once("```hex\n").unwrap().1.split_once("```").unwrap().0;
    // Each line: where it stands, bytes, two spaces or more, what they say.
    let mut drawn = Vec::new();
    for line in drawing.lines() {
        let (place, rest) = line.trim_start().split_once(' ').unwrap();
        assert_eq!(place.parse(), Ok(drawn.len()), "{line}");
        let bytes = rest.trim_start().split("  ").next().unwrap().split(' ');
        drawn.extend(bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    assert!(golden_events().contains(&drawn));
    let event = codec::decode(&drawn).unwrap();
    let mut again = Vec::new();
    codec::encode(&event, &mut again).unwrap();
    assert_eq!(hex(&again), hex(&drawn));
    let Event::Earned(earned) = event else { panic!() };
    assert_eq!((earned.base, earned.shares[0].awarded, earned.common.after.available), (123, 123, 246));
}

#[test]
#[ignore = "writes the golden book"]
fn make() {
    let mut book = make::golden_book();
    let head = book.close();
    let mut files = BTreeMap::new();
    for name in book.disk.list().unwrap() {
        files.insert(name.clone(), book.disk.bytes_of(&name).unwrap());
    }
    let events = events_of(&book.disk);
    let report = verify(&book.disk, &Options { rules: true, ..Options::default() }, &mut |_| {}).unwrap();
    let (programs, members) = names_of(&events);
    let mut shown = json!({});
    for (number, id) in &members {
        let program = &programs[usize::from(number.0)];
        let member = book.ledger.member(book.prints.member(program, id)).unwrap();
        let balances = book.ledger.balances(member);
        shown[program][id] = json!({ "available": balances.available, "debt": balances.debt });
    }
    let expected = json!({
        "op": head.op,
        "head": hex(&head.hash),
        "proved": report.proved,
        "note": NOTE,
        "state_version": STATE_HASH_VERSION,
        "state": hex(&book.ledger.state_hash()),
        "trial_balance": trial_json(&book.ledger.trial_balance()),
        "members": shown,
        "files": hashes(&files),
    });
    std::fs::create_dir_all(fixture().join("book")).unwrap();
    for (name, bytes) in files {
        std::fs::write(fixture().join("book").join(name), bytes).unwrap();
    }
    let text = serde_json::to_string_pretty(&expected).unwrap() + "\n";
    std::fs::write(fixture().join("expected.json"), text).unwrap();
}
