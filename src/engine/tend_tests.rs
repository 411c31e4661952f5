#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use super::request::{AnswerBody, ItemResult, Read, StreamId, Work};
use super::tests::{Client, config, earn, redeem, spec};
use super::*;
use crate::constants::FREEING_EVENTS_MAX;
use crate::io::sim::{SimClock, SimDisk};
use crate::ledger::codec;
use crate::ledger::command::{Action, AdminAction, Purpose, Standing};
use crate::ledger::event::{DueKind, Event};
use crate::ledger::ids::Op;
use crate::ledger::later::Later;
use crate::ledger::reason::Reason;
use crate::ledger::spec::{AssetSpec, ExpiryPolicy, Lifetime, ProgramMore, RoundUp};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Points that live for ten days after that of the earn.
fn start(disk: &SimDisk, clock: &Arc<SimClock>) -> (Engine, Client) {
    start_with(disk, clock, &config(1 << 20))
}

fn start_with(disk: &SimDisk, clock: &Arc<SimClock>, config: &EngineConfig) -> (Engine, Client) {
    let engine = Engine::start(Arc::new(disk.clone()), Arc::clone(clock) as Arc<dyn Clock>, config).unwrap();
    let handle = engine.handle();
    (engine, Client { handle })
}

fn set_up(client: &Client) {
    let expiry = ExpiryPolicy { lifetime: Lifetime::Days(10), round_up: RoundUp::Day };
    let assets = vec![AssetSpec { expiry, ..AssetSpec::points() }];
    let more = Later::new(ProgramMore { assets, ..ProgramMore::default() });
    let spec = Box::new(crate::ledger::spec::ProgramSpec { more, import_mode: false, campaigns: vec![], ..spec() });
    let put = AdminAction::PutProgram { expected_version: Some(0), spec, definition: "text".to_owned() };
    assert_eq!(client.admin("put", put), ItemResult::Fresh(Op(1)));
}

fn balance(client: &Client, account: &str) -> i64 {
    match client.ask(Work::Read(Read::TrialBalance)).body {
        AnswerBody::TrialBalance(trials) => {
            trials[0].rows.iter().find(|row| row.account == account).map_or(0, |row| row.balance)
        }
        other => panic!("{other:?}"),
    }
}

fn with_event<T>(client: &Client, op: u64, see: impl FnOnce(&Event<'_>) -> T) -> T {
    let stored = client.handle.book().read(op).unwrap();
    see(&codec::decode(&stored.bytes).unwrap())
}

#[test]
fn what_lapsed_is_written_before_the_command_that_would_spend_it() {
    let (disk, clock) = (SimDisk::new(1), Arc::new(SimClock::new(1_800_000_000_000_000)));
    let (engine, client) = start(&disk, &clock);
    set_up(&client);
    // Two members of one atomic batch, so that what fell due of both stands before the whole of it.
    let first = vec![client.command("a", "ada", earn(1_000)), client.command("b", "bob", earn(500))];
    assert_eq!(client.post(first, false), [ItemResult::Fresh(Op(2)), ItemResult::Fresh(Op(3))]);
    clock.advance(DAY * 12);
    let batch = vec![client.command("c", "ada", earn(70)), client.command("d", "bob", earn(80))];
    let results = client.post(batch, true);
    let ops: Vec<u64> =
        results.iter().map(|result| if let ItemResult::Fresh(op) = result { op.0 } else { 0 }).collect();
    assert_eq!(ops[1], ops[0] + 1, "nothing stands between the events of a batch");
    assert_eq!((balance(&client, "breakage"), balance(&client, "member/available")), (150, 15));
    for op in [4, 5] {
        let expired =
            |event: &Event<'_>| matches!(event, Event::Due(due) if matches!(due.kind, DueKind::Expired { .. }));
        assert!(with_event(&client, op, expired), "op {op}");
    }
    let results = client.post(vec![client.command("e", "ada", redeem(8))], false);
    let ItemResult::Fresh(op) = results[0] else { panic!("{results:?}") };
    assert!(with_event(&client, op.0, |event| matches!(event, Event::Rejected(_))));
    let hash = client.state_hash();
    engine.shut_down();
    let (engine, client) = start(&disk, &clock);
    assert_eq!(client.state_hash(), hash);
    engine.shut_down();
}

#[test]
fn the_sweep_writes_what_fell_due_of_members_whom_nobody_asks_for() {
    let (disk, clock) = (SimDisk::new(2), Arc::new(SimClock::new(1_800_000_000_000_000)));
    let (engine, client) = start(&disk, &clock);
    set_up(&client);
    let members = 600_u32;
    let earns = (0..members).map(|number| client.command(&format!("k{number}"), &format!("m{number}"), earn(100)));
    client.post(earns.collect(), false);
    clock.advance(DAY * 5);
    for _ in 0..100 {
        assert_eq!(balance(&client, "breakage"), 0);
    }
    clock.advance(DAY * 6);
    let swept = i64::from(members) * 10;
    // Each read is a turn of the engine.
    let turns = (0..100_000).find(|_| balance(&client, "breakage") == swept);
    assert!(turns.is_some(), "{} of {swept} swept", balance(&client, "breakage"));
    assert_eq!(balance(&client, "member/available"), 0);
    let hash = client.state_hash();
    engine.shut_down();
    let (engine, client) = start(&disk, &clock);
    assert_eq!(client.state_hash(), hash);
    engine.shut_down();
}

#[test]
fn a_member_who_is_closed_loses_what_is_left_at_once() {
    let (disk, clock) = (SimDisk::new(3), Arc::new(SimClock::new(1_800_000_000_000_000)));
    let (engine, client) = start(&disk, &clock);
    set_up(&client);
    let stand = |change| Action::Standing { change, actor: "ana".into(), reason: "asked for".into() };
    let batch = vec![
        client.command("a", "ada", earn(1_000)),
        client.command("b", "ada", stand(Standing::Closed)),
        client.command("c", "ada", earn(10)),
    ];
    assert_eq!(client.post(batch, false), [2, 3, 5].map(|op| ItemResult::Fresh(Op(op))));
    let kinds: Vec<bool> = [4, 5].map(|op| with_event(&client, op, |event| matches!(event, Event::Rejected(_)))).into();
    assert_eq!(kinds, [false, true], "what was left goes before the next command is decided");
    assert_eq!((balance(&client, "breakage"), balance(&client, "member/available")), (100, 0));
    engine.shut_down();
}

#[test]
fn what_comes_back_to_a_member_who_is_closed_goes_at_once() {
    let (disk, clock) = (SimDisk::new(5), Arc::new(SimClock::new(1_800_000_000_000_000)));
    let (engine, client) = start(&disk, &clock);
    set_up(&client);
    let hold = Action::Hold {
        asset: crate::ledger::ids::AssetNo::POINTS,
        units: 60,
        until_us: None,
        purpose: crate::ledger::command::Purpose::Gift,
    };
    let close = Action::Standing { change: Standing::Closed, actor: "ana".into(), reason: "asked for".into() };
    let batch = vec![client.command("a", "ada", earn(1_000)), client.command("b", "ada", hold)];
    assert_eq!(client.post(batch, false), [2, 3].map(|op| ItemResult::Fresh(Op(op))));
    client.post(vec![client.command("c", "ada", close)], false);
    assert_eq!((balance(&client, "breakage"), balance(&client, "member/held")), (40, 60));
    let release = Action::Release { hold: crate::ledger::command::Original::Op(Op(3)) };
    client.post(vec![client.command("d", "ada", release)], false);
    let left = (balance(&client, "member/held"), balance(&client, "member/available"));
    assert_eq!((balance(&client, "breakage"), left), (100, (0, 0)));
    engine.shut_down();
}

#[test]
fn a_book_with_no_room_for_lots_sheds_what_would_add_to_them_and_serves_the_rest() {
    let (disk, clock) = (SimDisk::new(4), Arc::new(SimClock::new(1_800_000_000_000_000)));
    let config = config(1 << 20);
    let limits = Limits { lots_bytes_max: 1, ..config.limits };
    let (engine, client) = start_with(&disk, &clock, &EngineConfig { limits, ..config });
    set_up(&client);
    let hold = || Action::Hold {
        asset: crate::ledger::ids::AssetNo::POINTS,
        units: 10,
        until_us: None,
        purpose: crate::ledger::command::Purpose::Gift,
    };
    let first = vec![client.command("a", "ada", earn(1_000)), client.command("b", "ada", hold())];
    assert_eq!(client.post(first, false), [2, 3].map(|op| ItemResult::Fresh(Op(op))));
    let more = vec![client.command("c", "ada", hold()), client.command("d", "bob", earn(10))];
    assert_eq!(client.post(more.clone(), false), [ItemResult::MembersLimit, ItemResult::MembersLimit]);
    assert_eq!(client.post(vec![client.command("e", "ada", redeem(20))], false), [ItemResult::Fresh(Op(4))]);
    let release = Action::Release { hold: crate::ledger::command::Original::Op(Op(3)) };
    assert_eq!(client.post(vec![client.command("f", "ada", release)], false), [ItemResult::Fresh(Op(5))]);
    assert_eq!(
        client.post(more, false),
        [ItemResult::Fresh(Op(6)), ItemResult::MembersLimit],
        "the hold takes the room"
    );
    engine.shut_down();
}

const BEGUN_US: i64 = 1_800_000_000_000_000;

/// A mug for one point.
fn mug(stocked: i64) -> AdminAction {
    let (sku, name, asset) = ("mug".into(), "A mug".into(), "points".into());
    AdminAction::PutReward { sku, name, asset, price: 1, open: true, stocked }
}

fn claim(pieces: u64) -> Action {
    Action::Claim { sku: "mug".into(), pieces, purpose: Purpose::Gift }
}

/// A reservation of one mug for a fifth of a second.
fn reserve() -> Action {
    let until_us = Some(BEGUN_US + 200_000);
    Action::Reserve { sku: "mug".into(), pieces: 1, until_us, purpose: Purpose::Gift }
}

/// Mugs that are left, and those that holds reserve.
fn mugs(client: &Client) -> (i64, i64) {
    match client.ask(Work::Read(Read::Rewards(ProgramNo(0)))).body {
        AnswerBody::Rewards(rewards) => (rewards[0].left, rewards[0].reserved),
        other => panic!("{other:?}"),
    }
}

fn op_of(result: ItemResult) -> u64 {
    let ItemResult::Fresh(op) = result else { panic!("{result:?}") };
    op.0
}

fn is_end(event: &Event<'_>) -> bool {
    matches!(event, Event::Due(due) if matches!(due.kind, DueKind::HoldEnded { .. }))
}

/// Lets half a second pass. The sweep has been round before and rests for a whole one, so that it books nothing meanwhile.
fn pass(client: &Client, clock: &SimClock) {
    let turns = (0..50).map(|_| mugs(client));
    assert_eq!(turns.count(), 50);
    clock.advance(Duration::from_millis(500));
}

#[test]
fn the_end_of_a_hold_is_written_before_the_command_that_wants_the_pieces_which_it_reserves() {
    let (disk, clock) = (SimDisk::new(6), Arc::new(SimClock::new(BEGUN_US)));
    let (engine, client) = start(&disk, &clock);
    set_up(&client);
    client.admin("w", mug(1));
    let batch = [("a", "ada", earn(1_000)), ("b", "bob", earn(500)), ("c", "ada", reserve()), ("d", "bob", claim(1))];
    let batch = batch.map(|(key, member, action)| client.command(key, member, action)).to_vec();
    assert_eq!(client.post(batch, false), [3, 4, 5, 6].map(|op| ItemResult::Fresh(Op(op))));
    assert!(with_event(&client, 6, |event| matches!(event, Event::Rejected(_))), "the hold is not over");
    pass(&client, &clock);
    assert_eq!(client.post(vec![client.command("e", "bob", claim(1))], false), [ItemResult::Fresh(Op(8))]);
    assert!(with_event(&client, 7, is_end));
    assert!(with_event(&client, 8, |event| matches!(event, Event::Redeemed(_))));
    assert_eq!((mugs(&client), balance(&client, "member/held")), ((0, 0), 0));
    let hash = client.state_hash();
    engine.shut_down();
    let (engine, client) = start(&disk, &clock);
    assert_eq!(client.state_hash(), hash);
    engine.shut_down();
}

#[test]
fn an_atomic_batch_has_what_its_commands_want_together_and_undoes_no_end_of_a_hold() {
    let (disk, clock) = (SimDisk::new(7), Arc::new(SimClock::new(BEGUN_US)));
    let (engine, client) = start(&disk, &clock);
    set_up(&client);
    client.admin("w", mug(3));
    let members = ["ada", "bob", "cid"];
    client.post(members.map(|member| client.command(member, member, earn(1_000))).to_vec(), false);
    let holds = ["ada", "bob", "ada"].into_iter().enumerate();
    client.post(holds.map(|(at, member)| client.command(&format!("h{at}"), member, reserve())).collect(), false);
    pass(&client, &clock);
    let wants = |key: &str| client.command(key, "cid", claim(1));
    let refused = client.post(vec![wants("a"), wants("b"), client.command("c", "cid", redeem(1_000))], true);
    assert_eq!(refused[..2], [ItemResult::Aborted; 2]);
    // Of three that are reserved the batch wanted two.
    assert_eq!((op_of(refused[2]), mugs(&client)), (11, (2, 1)));
    assert!(with_event(&client, 9, is_end) && with_event(&client, 10, is_end));
    let checkout = Action::Checkout { parts: vec![client.command("", "cid", claim(2))] };
    let batch = vec![wants("d"), client.command("e", "cid", checkout)];
    let ops: Vec<u64> = client.post(batch, true).into_iter().map(op_of).collect();
    assert_eq!((ops, mugs(&client)), (vec![13, 15], (0, 0)), "nothing stands between the events of a batch");
    assert!(with_event(&client, 12, is_end));
    engine.shut_down();
}

/// Has a stock that holds reserve all of, all of them over, and more than one request ends. The stock, and the last op.
fn reserve_all(client: &Client, clock: &SimClock) -> (i64, u64) {
    set_up(client);
    let each = 32;
    let members = FREEING_EVENTS_MAX / each + 1;
    let pieces = members * each;
    let stock = i64::try_from(pieces).unwrap();
    client.admin("w", mug(stock));
    let named = |at: usize| format!("m{}", at % members);
    client.post((0..members).map(|at| client.command(&format!("e{at}"), &named(at), earn(1_000))).collect(), false);
    let holds: Vec<_> = (0..pieces).map(|at| client.command(&format!("h{at}"), &named(at), reserve())).collect();
    let held: Vec<ItemResult> = holds.chunks(1_000).flat_map(|some| client.post(some.to_vec(), false)).collect();
    assert_eq!(mugs(client), (0, stock));
    pass(client, clock);
    (stock, op_of(held[pieces - 1]))
}

#[test]
fn what_is_of_a_stream_is_not_shed_for_holds_in_its_way_so_that_nothing_overtakes_it() {
    let (disk, clock) = (SimDisk::new(8), Arc::new(SimClock::new(BEGUN_US)));
    let (engine, client) = start(&disk, &clock);
    let (stock, before) = reserve_all(&client, &clock);
    let stream = Some(StreamId(1));
    let claims = client.command("c", "m0", claim(stock.unsigned_abs()));
    let works = [claims, client.command("e", "m0", earn(1_000))].map(|command| vec![command]);
    let posted = works.map(|commands| client.handle.submit(Work::post(commands, false, stream)).unwrap());
    let ops = posted.map(|answer| match answer.blocking_recv().unwrap().unwrap().body {
        AnswerBody::Posted { results, .. } => op_of(results[0]),
        other => panic!("{other:?}"),
    });
    let ended = before + stock.unsigned_abs();
    assert_eq!((ops, mugs(&client)), ([ended + 1, ended + 2], (stock, 0)), "refused for its price, not for its pieces");
    let reason = with_event(&client, ops[0], |event| event.rejection().map(|(reason, _)| reason));
    assert_eq!(reason, Some(Reason::InsufficientPoints));
    engine.shut_down();
}

#[test]
fn a_request_that_more_holds_stand_in_the_way_of_than_it_may_end_is_shed_and_finds_the_others_ended_when_it_comes_again()
 {
    let (disk, clock) = (SimDisk::new(8), Arc::new(SimClock::new(BEGUN_US)));
    let (engine, client) = start(&disk, &clock);
    let (stock, before) = reserve_all(&client, &clock);
    // What it would be refused for is not so: it is to come again, and by then finds the others.
    let wants = || client.admin_command("x", mug(-stock));
    let early = client.handle.submit(Work::Admin(Box::new(wants()))).unwrap().blocking_recv().unwrap();
    assert_eq!(early.err(), Some(Refusal::QueueTooOld));
    let rest = stock - i64::try_from(FREEING_EVENTS_MAX).unwrap();
    assert_eq!(mugs(&client), (stock - rest, rest));
    let taken = op_of(client.admin("x", mug(-stock)));
    assert_eq!((taken, mugs(&client)), (before + stock.unsigned_abs() + 1, (0, 0)));
    assert!(with_event(&client, taken, |event| matches!(event, Event::RewardPut(_))));
    engine.shut_down();
}
