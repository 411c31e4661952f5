#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use super::request::{Answer, AnswerBody, ItemResult, Read, Work};
use super::start::replay_all;
use super::*;
use crate::io::sim::{SimClock, SimDisk};
use crate::ledger::command::{Action, AdminAction, AdminCommand, Basis, Command, Original, Purpose};
use crate::ledger::event::Event;
use crate::ledger::ids::Op;
use crate::ledger::spec::{CampaignSpec, Cap, CapPer, OnExhausted, ProgramSpec, Ratio, Rounding, Rule};

pub(super) fn spec() -> ProgramSpec {
    ProgramSpec {
        name: "Test".into(),
        currency: "GBP".into(),
        time_zone: "Europe/London".into(),
        tz_version: "test".into(),
        import_mode: true,
        effective_from_us: None,
        greatest_total: Ratio { numerator: 10, denominator: 1 },
        rules: vec![Rule {
            kind: "purchase".into(),
            rate: Ratio { numerator: 1, denominator: 10 },
            rounding: Rounding::Floor,
            more: Default::default(),
        }],
        campaigns: vec![CampaignSpec {
            id: "double".into(),
            start_us: 0,
            end_us: i64::MAX,
            kinds: vec![],
            multiplier: Ratio { numerator: 2, denominator: 1 },
            group: "default".into(),
            on_exhausted: OnExhausted::Clip,
            cap: None,
            asset: Default::default(),
        }],
        more: Default::default(),
    }
}

pub(super) struct Client {
    pub(super) handle: Handle,
}

impl Client {
    pub(super) fn ask(&self, work: Work) -> Answer {
        self.handle.submit(work).unwrap().blocking_recv().unwrap().unwrap()
    }

    pub(super) fn admin_command(&self, key: &str, action: AdminAction) -> AdminCommand {
        AdminCommand {
            program_id: "p".into(),
            key: key.into(),
            key_print: self.handle.prints().key("p", key),
            body_hash: [1; 16],
            actor: "a".into(),
            reason: "r".into(),
            action,
        }
    }

    pub(super) fn admin(&self, key: &str, action: AdminAction) -> ItemResult {
        match self.ask(Work::Admin(Box::new(self.admin_command(key, action)))).body {
            AnswerBody::Posted { results, .. } => results[0],
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn command(&self, key: &str, member: &str, action: Action) -> Command {
        Command {
            program: ProgramNo(0),
            key: key.into(),
            key_print: self.handle.prints().key("p", key),
            body_hash: [2; 16],
            member: member.into(),
            member_hash: self.handle.prints().member("p", member),
            occurred_at_us: None,
            currency: None,
            notes: None,
            action,
        }
    }

    pub(super) fn post(&self, commands: Vec<Command>, atomic: bool) -> Vec<ItemResult> {
        match self.ask(Work::post(commands, atomic, None)).body {
            AnswerBody::Posted { results, .. } => results,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn state_hash(&self) -> [u8; 32] {
        match self.ask(Work::Read(Read::StateHash)).body {
            AnswerBody::StateHash(hash) => hash,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn config(segment_bytes: u64) -> EngineConfig {
    EngineConfig {
        limits: Limits { members_max: 1_000, cap_counters_max: 1_000, lots_bytes_max: usize::MAX },
        queue_requests_max: 1_024,
        queue_age_max_us: 60_000_000,
        journal: JournalOptions::with_segment_bytes(segment_bytes),
        pace: Pace { on: false, bytes: 1 << 20, after: Duration::from_secs(3_600), tail_bytes_max: 1 << 30 },
        keys_per_generation: 1 << 20,
        store: StoreOptions::default(),
        rooms: None,
    }
}

pub(super) fn start(disk: &SimDisk) -> (Engine, Client) {
    let clock = Arc::new(SimClock::new(1_800_000_000_000_000));
    let engine = Engine::start(Arc::new(disk.clone()), clock, &config(1 << 20)).unwrap();
    let handle = engine.handle();
    (engine, Client { handle })
}

pub(super) fn earn(amount: u64) -> Action {
    Action::Earn {
        basis: Basis::Spend(amount),
        event_kind: Some("purchase".into()),
        asset: crate::ledger::ids::AssetNo::POINTS,
        matures: None,
    }
}

pub(super) fn set_up(client: &Client, budget: u64) {
    let put =
        AdminAction::PutProgram { expected_version: Some(0), spec: Box::new(spec()), definition: "text".to_owned() };
    assert_eq!(client.admin("put", put), ItemResult::Fresh(Op(1)));
    let fund = AdminAction::FundCampaign { campaign: "double".into(), points: budget };
    assert_eq!(client.admin("fund", fund), ItemResult::Fresh(Op(2)));
}

pub(super) fn redeem(points: u64) -> Action {
    Action::Redeem { asset: crate::ledger::ids::AssetNo::POINTS, points, purpose: Purpose::Gift }
}

pub(super) fn refund(original: Original, amount: u64) -> Action {
    Action::Refund { original, basis: Basis::Spend(amount), event_kind: None }
}

#[test]
fn what_was_answered_is_there_after_a_restart_with_the_same_state() {
    let disk = SimDisk::new(1);
    let (engine, client) = start(&disk);
    set_up(&client, 1_000);
    let commands = vec![client.command("k1", "ada", earn(1_234)), client.command("k2", "bob", earn(500))];
    assert_eq!(client.post(commands.clone(), false), [ItemResult::Fresh(Op(3)), ItemResult::Fresh(Op(4))]);
    let hash = client.state_hash();
    engine.shut_down();
    let (engine, client) = start(&disk);
    assert_eq!(client.state_hash(), hash);
    assert_eq!(client.post(commands, false), [ItemResult::Known(Op(3)), ItemResult::Known(Op(4))]);
    assert_eq!(client.state_hash(), hash);
    engine.shut_down();
}

#[test]
fn an_atomic_batch_is_undone_by_the_first_refusal_which_alone_is_remembered() {
    let disk = SimDisk::new(2);
    let (engine, client) = start(&disk);
    set_up(&client, 1_000);
    assert_eq!(client.post(vec![client.command("k1", "ada", earn(1_000))], false), [ItemResult::Fresh(Op(3))]);
    let batch = vec![
        client.command("b1", "bob", earn(100)),
        client.command("b2", "ada", redeem(150)),
        client.command("b3", "ada", redeem(100)),
        client.command("b4", "ada", earn(1)),
    ];
    let results = client.post(batch.clone(), true);
    assert_eq!(results, [ItemResult::Aborted, ItemResult::Aborted, ItemResult::Fresh(Op(4)), ItemResult::Aborted]);
    let members = vec![client.handle.prints().member("p", "bob")];
    assert!(matches!(client.ask(Work::Read(Read::Members(members))).body, AnswerBody::Members(m) if m == [None]));
    let hash = client.state_hash();
    let again = client.post(batch, true);
    assert_eq!(again, [ItemResult::Aborted, ItemResult::Aborted, ItemResult::Known(Op(4)), ItemResult::Aborted]);
    assert_eq!(client.state_hash(), hash);
    let whole = vec![client.command("c1", "bob", earn(100)), client.command("c2", "bob", redeem(20))];
    assert_eq!(client.post(whole, true), [ItemResult::Fresh(Op(5)), ItemResult::Fresh(Op(6))]);
    engine.shut_down();
    let (engine, client) = start(&disk);
    assert_eq!(client.ask(Work::Read(Read::StateHash)).op, Op(6));
    engine.shut_down();
}

#[test]
fn a_refund_finds_its_original_in_its_own_batch_in_flight_and_in_the_book() {
    let disk = SimDisk::new(3);
    let (engine, client) = start(&disk);
    set_up(&client, 10_000);
    let key = |key: &str| Original::Key(client.handle.prints().key("p", key));
    let noted = |key: &str, reference: &str, amount: u64| {
        let notes = crate::ledger::command::Notes { reference: reference.into(), ..Default::default() };
        Command { notes: Some(Box::new(notes)), ..client.command(key, "ada", earn(amount)) }
    };
    let batch = vec![
        noted("e1", "order-1", 1_000),
        client.command("r1", "ada", refund(key("e1"), 300)),
        client.command("r2", "ada", refund(Original::Op(Op(3)), 300)),
        client.command("r3", "ada", refund(Original::Reference("order-1".into()), 300)),
    ];
    assert_eq!(client.post(batch, false), [3, 4, 5, 6].map(|op| ItemResult::Fresh(Op(op))));
    for number in 0..40 {
        client.post(vec![client.command(&format!("x{number}"), "ada", earn(10))], false);
    }
    let last = client.command("r4", "ada", refund(Original::Reference("order-1".into()), 100));
    let op = match client.post(vec![last], false)[..] {
        [ItemResult::Fresh(op)] => op,
        ref other => panic!("{other:?}"),
    };
    let stored = client.handle.book().read(op.0).unwrap();
    match codec::decode(&stored.bytes).unwrap() {
        Event::Refunded(refund) => {
            let from = refund.from.unwrap();
            assert_eq!((from.amount_total, from.base_total, from.shares[0].taken_total), (1_000, 100, 100));
        }
        other => panic!("{other:?}"),
    }
    let over = client.command("r5", "ada", refund(key("e1"), 1));
    let result = client.post(vec![over], false);
    let ItemResult::Fresh(op) = result[0] else { panic!("{result:?}") };
    let stored = client.handle.book().read(op.0).unwrap();
    let rejection = codec::decode(&stored.bytes).unwrap().rejection().unwrap();
    assert_eq!(rejection.0, crate::ledger::reason::Reason::RefundExceedsOriginal);
    engine.shut_down();
}

#[test]
fn a_request_after_the_shutdown_is_refused_and_every_one_before_it_answered() {
    let disk = SimDisk::new(4);
    let (engine, client) = start(&disk);
    set_up(&client, 1_000);
    let mut waiting = Vec::new();
    for number in 0..200 {
        let commands = vec![client.command(&format!("k{number}"), "ada", earn(10))];
        waiting.push(client.handle.submit(Work::post(commands, false, None)).unwrap());
    }
    engine.shut_down();
    for receiver in waiting {
        assert!(receiver.blocking_recv().unwrap().is_ok());
    }
    assert_eq!(client.handle.submit(Work::Read(Read::StateHash)).unwrap_err().refusal, Refusal::ShuttingDown);
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_command_that_leaves_no_event_does_not_turn_the_day() {
    for atomic in [false, true] {
        let (disk, clock) = (SimDisk::new(5), Arc::new(SimClock::new(1_800_000_000_000_000)));
        let limits = Limits { members_max: 1, cap_counters_max: 1_000, lots_bytes_max: usize::MAX };
        let config = EngineConfig { limits, ..config(1 << 20) };
        let engine = Engine::start(Arc::new(disk.clone()), clock.clone(), &config).unwrap();
        let client = Client { handle: engine.handle() };
        set_up(&client, 1_000);
        assert_eq!(client.post(vec![client.command("k1", "ada", earn(100))], atomic), [ItemResult::Fresh(Op(3))]);
        let before = client.state_hash();
        clock.advance(2 * DAY);
        assert_eq!(client.post(vec![client.command("k2", "bob", earn(100))], atomic), [ItemResult::MembersLimit]);
        assert_eq!(client.state_hash(), before, "the state follows events alone");
        engine.shut_down();
        assert_eq!(replay_all(&disk, None).unwrap().state_hash(), before);
    }
}

#[test]
fn a_day_that_turns_makes_room_for_counters_and_a_replay_agrees() {
    for atomic in [false, true] {
        let (disk, begun_us) = (SimDisk::new(6), 1_800_000_000_000_000);
        let clock = Arc::new(SimClock::new(begun_us));
        let config = EngineConfig {
            limits: Limits { members_max: 10, cap_counters_max: 2, lots_bytes_max: usize::MAX },
            ..config(1 << 20)
        };
        let engine = Engine::start(Arc::new(disk.clone()), clock.clone(), &config).unwrap();
        let client = Client { handle: engine.handle() };
        let mut spec = ProgramSpec { import_mode: false, ..spec() };
        spec.campaigns[0].start_us = begun_us;
        spec.campaigns[0].cap = Some(Cap { points: 1_000, per: CapPer::Day });
        let put =
            AdminAction::PutProgram { expected_version: Some(0), spec: Box::new(spec), definition: "text".to_owned() };
        assert_eq!(client.admin("put", put), ItemResult::Fresh(Op(1)));
        let fund = AdminAction::FundCampaign { campaign: "double".into(), points: 10_000 };
        assert_eq!(client.admin("fund", fund), ItemResult::Fresh(Op(2)));
        let earns = |round: &str, members: &[&str]| {
            members
                .iter()
                .map(|member| client.command(&format!("{round}-{member}"), member, earn(100)))
                .collect::<Vec<_>>()
        };
        let full = [ItemResult::Fresh(Op(3)), ItemResult::Fresh(Op(4))];
        assert_eq!(client.post(earns("first", &["ada", "bob"]), atomic), full);
        assert_eq!(client.post(earns("more", &["cleo"]), atomic), [ItemResult::MembersLimit]);
        clock.advance(70 * DAY);
        let again = [ItemResult::Fresh(Op(5)), ItemResult::Fresh(Op(6))];
        assert_eq!(client.post(earns("later", &["cleo", "ada"]), atomic), again);
        assert_eq!(client.post(earns("over", &["bob"]), atomic), [ItemResult::MembersLimit]);
        let live = client.state_hash();
        engine.shut_down();
        assert_eq!(replay_all(&disk, None).unwrap().state_hash(), live, "atomic: {atomic}");
    }
}
