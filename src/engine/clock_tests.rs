//! What a wall clock that leaps ahead does to the engine, and how the book goes on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use super::request::{AnswerBody, ItemResult, Read};
use super::start::replay_all;
use super::tests::{Client, config, earn, set_up};
use super::*;
use crate::io::DrivenClock;
use crate::io::sim::{SimClock, SimDisk};
use crate::ledger::command::{AdminAction, Leap};
use crate::ledger::event::{AdminKind, Event};
use crate::ledger::ids::Op;
use crate::ledger::reason::Reason;

const BEGUN_US: i64 = 1_800_000_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;

fn start(disk: &SimDisk, clock: Arc<dyn Clock>) -> (Engine, Client) {
    let engine = Engine::start(Arc::new(disk.clone()), clock, &config(1 << 20)).unwrap();
    let handle = engine.handle();
    (engine, Client { handle })
}

/// A book of three events at the beginning, and a clock that then went on for `minutes`.
fn begun(disk: &SimDisk) -> (Engine, Client, Arc<SimClock>) {
    let clock = Arc::new(SimClock::new(BEGUN_US));
    let (engine, client) = start(disk, clock.clone());
    set_up(&client, 1_000);
    assert_eq!(client.post(vec![client.command("k1", "ada", earn(100))], false), [ItemResult::Fresh(Op(3))]);
    (engine, client, clock)
}

fn confirmation(client: &Client, key: &str, clock_us: i64) -> Work {
    let action = AdminAction::ConfirmClock { clock_us, leap: None };
    let mut command = client.admin_command(key, action);
    command.program_id = String::new();
    command.key_print = client.handle.prints().key("", key);
    Work::Admin(Box::new(command))
}

fn result_of(answer: Answer) -> ItemResult {
    match answer.body {
        AnswerBody::Posted { results, .. } => results[0],
        other => panic!("{other:?}"),
    }
}

fn confirm(client: &Client, key: &str, clock_us: i64) -> ItemResult {
    result_of(client.ask(confirmation(client, key, clock_us)))
}

fn refused(client: &Client, work: Work) -> Refusal {
    client.handle.submit(work).unwrap().blocking_recv().unwrap().unwrap_err()
}

fn writes(client: &Client) -> Vec<Work> {
    let post = |commands, atomic| Work::post(commands, atomic, None);
    let fund = AdminAction::FundCampaign { campaign: "double".into(), points: 1 };
    let snapshot = AdminAction::CreateSnapshot { name: "s".into(), retain_until_us: None };
    let known = client.command("k1", "ada", earn(100));
    let new = client.command("k2", "bob", earn(100));
    vec![
        post(vec![new.clone()], false),
        post(vec![known, new.clone()], false),
        post(vec![new], true),
        Work::Admin(Box::new(client.admin_command("more", fund))),
        Work::Admin(Box::new(client.admin_command("shot", snapshot))),
    ]
}

/// The event of an op and its time after the beginning.
fn with_event<T>(client: &Client, op: u64, look: impl FnOnce(&Event<'_>) -> T) -> (T, i64) {
    let stored = client.handle.book().read(op).unwrap();
    (look(&codec::decode(&stored.bytes).unwrap()), stored.book_time_us - BEGUN_US)
}

fn confirmed(event: &Event<'_>) -> (i64, i64) {
    match event {
        Event::ClockConfirmed(confirmed) => (confirmed.from_us - BEGUN_US, confirmed.to_us - BEGUN_US),
        other => panic!("{other:?}"),
    }
}

fn rejected(event: &Event<'_>) -> (AdminKind, Reason) {
    match event {
        Event::AdminRejected(rejected) => (rejected.kind, rejected.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_leap_in_service_stops_every_write_leaves_nothing_and_lets_reads_go_on() {
    let disk = SimDisk::new(1);
    let (engine, client, clock) = begun(&disk);
    clock.advance(60 * MINUTE);
    clock.step_wall(BEGUN_US + 66 * MINUTE_US);
    let before = client.state_hash();
    let leap = Leap { book_us: BEGUN_US, clock_us: BEGUN_US + 66 * MINUTE_US };
    for work in writes(&client) {
        assert_eq!(refused(&client, work), Refusal::ClockUnconfirmed(leap));
    }
    // It does not pass by itself.
    clock.step_wall(BEGUN_US + 60 * MINUTE_US);
    let leap = Leap { clock_us: BEGUN_US + 60 * MINUTE_US, ..leap };
    for work in writes(&client) {
        assert_eq!(refused(&client, work), Refusal::ClockUnconfirmed(leap));
    }
    assert_eq!(client.state_hash(), before);
    assert_eq!(client.handle.passed_us(), BEGUN_US);
    let key = client.handle.prints().key("p", "k2");
    assert!(matches!(client.ask(Work::Read(Read::Key(key))).body, AnswerBody::Key(None)));
    engine.shut_down();
    assert_eq!(replay_all(&disk, None).unwrap().state_hash(), before);
}

#[test]
fn a_confirmed_clock_is_an_event_at_the_new_time_and_writing_goes_on() {
    let disk = SimDisk::new(2);
    let (engine, client, clock) = begun(&disk);
    clock.step_wall(BEGUN_US + DAY_US);
    for work in writes(&client) {
        refused(&client, work);
    }
    assert_eq!(confirm(&client, "late", BEGUN_US + DAY_US - 5 * MINUTE_US - 1), ItemResult::Fresh(Op(4)));
    let differs = (AdminKind::ConfirmClock, Reason::ClockDiffers);
    assert_eq!(with_event(&client, 4, rejected), (differs, 0), "what is refused moves no time");
    refused(&client, writes(&client).remove(0));
    assert_eq!(confirm(&client, "right", BEGUN_US + DAY_US - 5 * MINUTE_US), ItemResult::Fresh(Op(5)));
    assert_eq!(with_event(&client, 5, confirmed), ((0, DAY_US), DAY_US));
    assert_eq!(confirm(&client, "right", BEGUN_US), ItemResult::Known(Op(5)));
    clock.advance(MINUTE);
    assert_eq!(client.post(vec![client.command("k2", "bob", earn(100))], false), [ItemResult::Fresh(Op(6))]);
    assert_eq!(with_event(&client, 6, |_| ()).1, DAY_US + MINUTE_US);
    assert_eq!(confirm(&client, "again", BEGUN_US + DAY_US), ItemResult::Fresh(Op(7)));
    let not_leapt = (AdminKind::ConfirmClock, Reason::ClockNotLeapt);
    assert_eq!(with_event(&client, 7, rejected), (not_leapt, DAY_US + MINUTE_US));
    let live = client.state_hash();
    engine.shut_down();
    assert_eq!(replay_all(&disk, None).unwrap().state_hash(), live);
}

#[test]
fn a_confirmation_and_what_was_sent_around_it_at_once_are_each_booked_at_their_time() {
    let disk = SimDisk::new(3);
    let (engine, client, clock) = begun(&disk);
    clock.step_wall(BEGUN_US + DAY_US);
    refused(&client, writes(&client).remove(0));
    let works = [
        confirmation(&client, "wrong", BEGUN_US),
        confirmation(&client, "right", BEGUN_US + DAY_US),
        Work::post(vec![client.command("k2", "bob", earn(100))], false, None),
    ];
    let waiting: Vec<_> = works.into_iter().map(|work| client.handle.submit(work).unwrap()).collect();
    for (receiver, op) in waiting.into_iter().zip(4..) {
        assert_eq!(result_of(receiver.blocking_recv().unwrap().unwrap()), ItemResult::Fresh(Op(op)));
    }
    assert_eq!(with_event(&client, 4, |_| ()).1, 0);
    assert_eq!(with_event(&client, 5, confirmed), ((0, DAY_US), DAY_US));
    assert_eq!(with_event(&client, 6, |_| ()).1, DAY_US);
    engine.shut_down();
}

#[test]
fn a_clock_that_was_put_right_is_confirmed_where_it_is_and_never_before_the_book() {
    for (right_us, to_us) in [(20 * MINUTE_US, 20 * MINUTE_US), (-MINUTE_US, 0)] {
        let disk = SimDisk::new(4);
        let (engine, client, clock) = begun(&disk);
        clock.step_wall(BEGUN_US + 400 * DAY_US);
        refused(&client, writes(&client).remove(0));
        clock.step_wall(BEGUN_US + right_us);
        assert_eq!(confirm(&client, "c", BEGUN_US + right_us), ItemResult::Fresh(Op(4)));
        assert_eq!(with_event(&client, 4, confirmed), ((0, to_us), to_us));
        assert_eq!(client.post(vec![client.command("k2", "bob", earn(100))], false), [ItemResult::Fresh(Op(5))]);
        engine.shut_down();
    }
}

#[test]
fn a_start_more_than_thirty_days_ahead_of_the_book_waits_for_a_confirmation_however_often_it_starts() {
    let disk = SimDisk::new(5);
    let (engine, ..) = begun(&disk);
    engine.shut_down();
    let late_us = BEGUN_US + 30 * DAY_US + 1;
    for _ in 0..2 {
        let (engine, client) = start(&disk, Arc::new(SimClock::new(late_us)));
        let leap = Leap { book_us: BEGUN_US, clock_us: late_us };
        assert_eq!(refused(&client, writes(&client).remove(0)), Refusal::ClockUnconfirmed(leap));
        assert_eq!(client.ask(Work::Read(Read::StateHash)).op, Op(3));
        engine.shut_down();
    }
    let (engine, client) = start(&disk, Arc::new(SimClock::new(late_us)));
    assert_eq!(confirm(&client, "c", late_us), ItemResult::Fresh(Op(4)));
    engine.shut_down();
    let (engine, client) = start(&disk, Arc::new(SimClock::new(late_us)));
    assert_eq!(client.post(vec![client.command("k2", "bob", earn(100))], false), [ItemResult::Fresh(Op(5))]);
    engine.shut_down();
}

#[test]
fn a_leap_that_is_not_confirmed_is_there_after_a_restart_if_it_is_of_more_than_thirty_days() {
    for (leap_us, holds) in [(400 * DAY_US, true), (10 * MINUTE_US, false)] {
        let disk = SimDisk::new(6);
        let (engine, client, clock) = begun(&disk);
        clock.step_wall(BEGUN_US + leap_us);
        refused(&client, writes(&client).remove(0));
        // A refusal that is remembered is at the book's time, and does not hide the leap.
        assert_eq!(confirm(&client, "wrong", BEGUN_US), ItemResult::Fresh(Op(4)));
        engine.shut_down();
        let (engine, client) = start(&disk, clock);
        let commands = vec![client.command("k2", "bob", earn(100))];
        let answer = client.handle.submit(Work::post(commands, false, None)).unwrap();
        assert_eq!(answer.blocking_recv().unwrap().is_err(), holds, "{leap_us}");
        engine.shut_down();
    }
}

#[test]
fn a_book_lives_through_years_on_a_driven_clock_and_goes_on_where_it_was() {
    let disk = SimDisk::new(7);
    let clock = Arc::new(DrivenClock::new(BEGUN_US));
    let (engine, client) = start(&disk, clock.clone());
    set_up(&client, 1_000);
    clock.drive(BEGUN_US + 800 * DAY_US).unwrap();
    assert_eq!(client.post(vec![client.command("k1", "ada", earn(100))], false), [ItemResult::Fresh(Op(3))]);
    assert_eq!(with_event(&client, 3, |_| ()).1, 800 * DAY_US);
    assert_eq!(confirm(&client, "c", BEGUN_US + 800 * DAY_US), ItemResult::Fresh(Op(4)));
    assert_eq!(with_event(&client, 4, rejected).0.1, Reason::ClockNotLeapt);
    engine.shut_down();
    let clock = Arc::new(DrivenClock::new(0));
    let (engine, client) = start(&disk, clock.clone());
    assert_eq!(clock.wall_us(), BEGUN_US + 800 * DAY_US);
    clock.drive(BEGUN_US + 1_600 * DAY_US).unwrap();
    assert_eq!(client.post(vec![client.command("k2", "bob", earn(100))], false), [ItemResult::Fresh(Op(5))]);
    assert_eq!(with_event(&client, 5, |_| ()).1, 1_600 * DAY_US);
    engine.shut_down();
}
