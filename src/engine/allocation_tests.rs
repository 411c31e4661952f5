#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use super::request::{AnswerBody, ItemResult, Work};
use super::run::Core;
use super::tests::{Client, config, earn, spec};
use super::*;
use crate::io::sim::{SimClock, SimDisk};
use crate::ledger::command::AdminAction;

const MEMBERS: usize = 300;
/// What a frame takes of memory when it is handed to the journal: its share, and the list of its answers.
const OF_A_FRAME: u64 = 2;

/// An engine whose deciding thread is the test's.
struct Night {
    engine: Engine,
    core: Core,
    client: Client,
    keys: usize,
}

impl Night {
    fn new() -> Self {
        let (disk, clock) = (SimDisk::new(1), SimClock::new(1_800_000_000_000_000));
        let limits = Limits { members_max: 1_000, cap_counters_max: 1_000, lots_bytes_max: usize::MAX };
        let config = EngineConfig { limits, ..config(1 << 24) };
        let (engine, core) = Engine::around(Arc::new(disk), Arc::new(clock), &config).unwrap();
        core.queue.bell().claim();
        let client = Client { handle: engine.handle() };
        Self { engine, core, client, keys: 0 }
    }

    /// Decides a request: what that allocates on this thread, and what handing over its frame does.
    fn decide(&mut self, work: Work) -> (u64, u64, AnswerBody) {
        let answer = self.client.handle.submit(work).unwrap();
        let decided = allocation_counter::measure(|| assert!(self.core.take().unwrap()));
        let handed_over = allocation_counter::measure(|| self.core.hand_over_waiting());
        let answer = answer.blocking_recv().unwrap().unwrap();
        (decided.count_total, handed_over.count_total, answer.body)
    }

    /// The same for a batch of earns of known members under new keys.
    fn earns(&mut self, count: usize) -> (u64, u64) {
        let first = self.keys;
        self.keys += count;
        let command =
            |key| self.client.command(&format!("key-{key}"), &format!("member-{}", key % MEMBERS), earn(1_000));
        let work = Work::post((first..self.keys).map(command).collect(), false, None);
        let (decided, handed_over, body) = self.decide(work);
        let AnswerBody::Posted { results, .. } = body else { panic!("{body:?}") };
        assert!(results.len() == count && results.iter().all(|result| matches!(result, ItemResult::Fresh(_))));
        (decided, handed_over)
    }
}

/// On a campaign night's earns the thread that everybody waits for takes no memory: whatever a request needs was made by who sent
/// it, and frames are built in the memory of those before. Tables that grow are made roomy first.
#[test]
fn deciding_allocates_nothing_in_steady_state_whatever_the_size_of_a_request() {
    let mut night = Night::new();
    let put = AdminAction::PutProgram { expected_version: Some(0), spec: Box::new(spec()), definition: "text".into() };
    let fund = AdminAction::FundCampaign { campaign: "double".into(), points: 1 << 40 };
    for (key, action) in [("put", put), ("fund", fund)] {
        let command = night.client.admin_command(key, action);
        night.decide(Work::Admin(Box::new(command)));
    }
    for _ in 0..10 {
        night.earns(1_000);
    }
    night.core.ledger.make_roomy();
    for count in [1, 1, 10, 100, 1_000, 100, 10, 1] {
        let (decided, handed_over) = night.earns(count);
        assert_eq!(decided, 0, "{count} commands");
        assert!(handed_over <= OF_A_FRAME, "{handed_over} for {count} commands");
    }
    let Night { engine, core, .. } = night;
    engine.handle.shared.queue.close();
    core.run();
    engine.shut_down();
}
