//! Traces made by hand.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use stampbook::config::Config;
use stampbook::io::{Disk, RealDisk};
use stampbook::proto::command::Action;
use stampbook::proto::earn::Basis;
use stampbook::proto::{Command, Earn, Outcome, PostBatchRequest, Purpose, PutProgramRequest, Redeem};
use tempfile::TempDir;

use super::entry::{End, Entry, What};
use super::file::{Trace, Writer, is_trace};
use super::{Options, judge, record, replay};
use crate::program::NIGHT;
use crate::replay::Speed;
use crate::stage::Stage;
use crate::{client, program};

/// 2025-11-11T13:00:00Z, in the campaign.
const NIGHT_US: i64 = 1_762_866_000_000_000;

fn put() -> Entry {
    let put = PutProgramRequest {
        program: NIGHT.program.to_owned(),
        definition: NIGHT.definition.to_owned(),
        key: "put".to_owned(),
        actor: "a".to_owned(),
        reason: "r".to_owned(),
        ..PutProgramRequest::default()
    };
    Entry { op: 1, book_time_us: NIGHT_US, what: Some(What::PutProgram(put)), ..Entry::default() }
}

/// An earn of 100 points, after which the member has `available`.
fn earn(op: u64, available: i64) -> Entry {
    let earn = Earn { basis: Some(Basis::AmountMinor(10_000)), event_kind: "purchase".to_owned(), ..Earn::default() };
    let command = Command {
        program: NIGHT.program.to_owned(),
        key: format!("key-{op}"),
        member: "member".to_owned(),
        occurred_at_us: Some(NIGHT_US),
        action: Some(Action::Earn(earn)),
        ..Command::default()
    };
    Entry { op, book_time_us: NIGHT_US, available, what: Some(What::Command(command)), ..Entry::default() }
}

fn trace(entries: &[Entry]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let mut writer = Writer::create(&path).unwrap();
    entries.iter().for_each(|entry| writer.write(entry).unwrap());
    let count = u64::try_from(entries.len()).unwrap();
    let end = End { entries: count, first_us: NIGHT_US, last_us: NIGHT_US, members: 1, ..End::default() };
    let last = Entry { book_time_us: NIGHT_US, what: Some(What::End(end)), ..Entry::default() };
    writer.write(&last).unwrap();
    writer.finish().unwrap();
    (folder, path)
}

#[test]
fn a_trace_is_read_as_it_was_written() {
    let entries = [put(), earn(2, 100), earn(3, 200)];
    let (_folder, path) = trace(&entries);
    assert!(is_trace(&path).unwrap());
    let read: Vec<Entry> = Trace::open(&path).unwrap().entries().unwrap().map(Result::unwrap).collect();
    assert_eq!(read, entries);
}

#[test]
fn a_trace_that_lacks_an_entry_is_refused() {
    let (_folder, path) = trace(&[put()]);
    let mut writer = Writer::create(&path.with_extension("short")).unwrap();
    let end = End { entries: 2, ..End::default() };
    writer.write(&put()).unwrap();
    writer.write(&Entry { what: Some(What::End(end)), ..Entry::default() }).unwrap();
    writer.finish().unwrap();
    let said = Trace::open(&path.with_extension("short")).unwrap_err().to_string();
    assert!(said.contains("trace.short") && said.contains("not as many entries"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_otherwise_than_the_recorded_one_is_told_with_the_place() {
    // The campaign gave as much again there, and here nobody funded it.
    let (_folder, path) = trace(&[put(), earn(2, 200)]);
    let said = replay::replay(&path, &[Speed::Max], true).await.unwrap_err().to_string();
    let place = "op 2 of the recorded book key key-2: the member has 100 points and owes 0 after it, and not 200 and 0";
    assert!(said.contains(place), "{said}");
    let said = judge::state_of(&Trace::open(&path).unwrap()).unwrap_err().to_string();
    assert!(said.contains("at op 2 of the recorded book"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_refused_must_be_refused_again() {
    let refused = Entry { refused: "InsufficientPoints".to_owned(), ..earn(2, 0) };
    let (_folder, path) = trace(&[put(), refused]);
    let said = replay::replay(&path, &[Speed::Max], true).await.unwrap_err().to_string();
    assert!(said.contains("op 2 of the recorded book key key-2: Applied"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_not_the_recorded_one_fails_the_replay() {
    // The trace tells of no state in the end.
    let (_folder, path) = trace(&[put(), earn(2, 100)]);
    let said = replay::replay(&path, &[Speed::Max], true).await.unwrap_err().to_string();
    assert!(said.contains("the state is another than the recorded book's"), "{said}");
}

/// Records a book, next to it.
async fn recorded(data: &Path) -> Result<PathBuf, crate::Failure> {
    let options = Options { data: data.to_owned(), out: data.with_extension("trace") };
    record(options.clone(), true).await.map(|()| options.out)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_refused_again_in_a_program_of_the_currency_that_is_none() {
    let stage = Stage::new(1).unwrap();
    let (data, config) = (stage.path("data"), stage.config("server", None, "").unwrap());
    let mut server = stage.serve(&data, &config).await.unwrap();
    let channel = client::connect(&server.address).await.unwrap();
    program::put(channel.clone(), NIGHT.program, &NIGHT.definition.replace("CNY", "XXX")).await.unwrap();
    let (Some(What::Command(earned)), redeem) =
        (earn(1, 100).what, Redeem { points: 101, purpose: Purpose::Gift.into(), ..Redeem::default() })
    else {
        panic!("no command")
    };
    let refused = Command { key: "refused".to_owned(), action: Some(Action::Redeem(redeem)), ..earned.clone() };
    let batch = PostBatchRequest { items: vec![earned, refused], atomic: false };
    let receipts = client::ledger(channel).post_batch(batch).await.unwrap().into_inner().receipts;
    let outcomes: Vec<Outcome> = receipts.iter().map(stampbook::proto::Receipt::outcome).collect();
    assert_eq!(outcomes, [Outcome::Applied, Outcome::Rejected]);
    server.terminate().unwrap();
    let trace = recorded(&data).await.unwrap();
    replay::replay(&trace, &[Speed::Max], true).await.unwrap();
}

#[tokio::test]
async fn a_book_that_is_held_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _lock = RealDisk::open(&data).unwrap().try_lock().unwrap().unwrap();
    let said = recorded(&data).await.unwrap_err().to_string();
    assert!(said.contains("data: a server has this book open") && !data.with_extension("trace").exists(), "{said}");
}

#[test]
fn a_replay_has_room_for_whatever_a_book_holds() {
    let config = Config::parse(&replay::settings(NIGHT_US).unwrap()).unwrap();
    let all = usize::try_from(i64::MAX).unwrap();
    assert_eq!((config.cap_counters_max, config.lots_bytes_max), (all, all));
}
