//! A book of every kind of act, recorded and replayed, comes to the same again, and to what the model says; what is wrong with a trace is
//! told, and nothing in it leads back to anybody.

#![allow(clippy::unwrap_used)]

// The tests need less of it than the program does.
#[allow(dead_code)]
#[path = "../src/process.rs"]
mod process;
#[path = "record/shop.rs"]
mod shop;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use stampbook::io::RealDisk;
use stampbook::journal;
use stampbook::ledger::codec;
use stampbook::ledger::event::{DueKind, Event};
use tempfile::TempDir;

use process::{serve, stampbook};
use shop::{SECRETS, Shop};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Commands of the book.
const COMMANDS: u64 = 1_500;

/// A recorded book.
struct Recorded {
    folder: TempDir,
    said: Value,
}

impl Recorded {
    /// Posts commands to a server whose clock is driven, stops it, and records its book.
    async fn new(seed: u64, commands: u64) -> Self {
        let (binary, folder) = (stampbook().unwrap(), tempfile::tempdir().unwrap());
        let config = folder.path().join("config.toml");
        fs::write(&config, format!("clock = \"driven\"\nclock_start = \"{}\"\n", shop::BEGINS)).unwrap();
        let data = folder.path().join("data");
        let mut server = serve(&binary, &data, Some(&config)).unwrap();
        let mut shop = Shop::open(&server.address, seed).await;
        for _ in 0..commands {
            shop.step().await;
        }
        server.terminate().unwrap();
        let output =
            loadtest(&["record", "--json", "--data"], &[&data, Path::new("--out"), &folder.path().join("trace")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { said: serde_json::from_slice(&output.stdout).unwrap(), folder }
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    /// The kinds of events in the book, refusals by their reasons.
    fn kinds(&self) -> BTreeSet<String> {
        let disk = RealDisk::open_existing(self.folder.path().join("data")).unwrap();
        let (mut kinds, mut parts) = (BTreeSet::new(), BTreeSet::new());
        let mut visit = |visit: journal::Visit<'_>| {
            let event = codec::decode(visit.event).map_err(|error| error.to_string())?;
            if event.common().is_some_and(|common| common.key.is_empty()) {
                parts.insert(visit.op);
            }
            match &event {
                Event::Reversed(reversed) if parts.contains(&(visit.op - reversed.original_link)) => {
                    kinds.insert("part reversed".to_owned());
                }
                _ => {}
            }
            kinds.insert(kind_of(&event));
            Ok(())
        };
        journal::scan(&disk, &mut visit, &mut |_| {}).unwrap();
        kinds
    }
}

fn kind_of(event: &Event<'_>) -> String {
    let part = event.common().is_some_and(|common| common.key.is_empty());
    let name = format!("{event:?}").split('(').next().unwrap().to_owned();
    match event {
        Event::Due(due) => match due.kind {
            DueKind::Expired { .. } => "expired".to_owned(),
            DueKind::LotsMerged => "lots merged".to_owned(),
            DueKind::Matured { .. } => "matured".to_owned(),
            DueKind::HoldEnded { .. } => "hold ended".to_owned(),
        },
        Event::Rejected(_) | Event::AdminRejected(_) => name,
        Event::Held(held) if held.claimed.is_some() => "reserved".to_owned(),
        Event::Redeemed(redeemed) if redeemed.more.as_deref().is_some_and(|more| more.claimed.is_some()) => {
            "claimed".to_owned()
        }
        Event::Granted(granted) if granted.topped_up => "topped up".to_owned(),
        Event::CampaignChanged(changed) => format!("{:?}", changed.change),
        Event::StandingChanged(changed) => format!("{:?}", changed.change),
        _ if part => format!("{name} in a checkout"),
        _ => name,
    }
}

fn loadtest(words: &[&str], paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(words).args(paths).output().unwrap()
}

/// What a replay says that fails.
fn failure(trace: &Path) -> String {
    let output = loadtest(&["replay"], &[trace]);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_of_every_kind_of_act_is_replayed_to_the_same_state_as_the_model() {
    let recorded = Recorded::new(1, COMMANDS).await;
    let kinds = recorded.kinds();
    let wanted = [
        "Earned",
        "Refunded",
        "Redeemed",
        "claimed",
        "Adjusted",
        "Opened",
        "Activated",
        "Reversed",
        "part reversed",
        "Held",
        "reserved",
        "Captured",
        "Released",
        "topped up",
        "Granted",
        "Frozen",
        "Open",
        "Closed",
        "Transferred",
        "Converted",
        "MembersMerged",
        "MemberSet",
        "CheckedOut",
        "Earned in a checkout",
        "Redeemed in a checkout",
        "Rejected",
        "AdminRejected",
        "ProgramPut",
        "Funded",
        "Paused",
        "Resumed",
        "RewardPut",
        "PeriodClosed",
        "expired",
        "matured",
        "hold ended",
    ];
    for kind in wanted {
        assert!(kinds.contains(kind), "nothing {kind} in the book: {kinds:?}");
    }
    let output = loadtest(&["replay", "--json", "--speed", "max", "--speed", "4000000000"], &[&recorded.trace()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let state = recorded.said["state"].as_str().unwrap();
    assert_eq!((&said["model"], &said["recorded"]), (&Value::from(state), &Value::from(state)));
    let replays = said["replays"].as_array().unwrap();
    assert_eq!(replays.len(), 2);
    assert!(replays.iter().all(|replay| replay["state"] == state), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_names_anybody_is_in_a_trace_and_a_damaged_one_is_refused() {
    let recorded = Recorded::new(2, 200).await;
    let bytes = fs::read(recorded.trace()).unwrap();
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the trace");
    }
    let damaged = recorded.folder.path().join("damaged");
    for at in [20, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&damaged, &flipped).unwrap();
        let said = failure(&damaged);
        assert!(said.contains("damaged: the trace is damaged or cut short"), "byte {at}: {said}");
    }
    for length in [20, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&damaged, &bytes[..length]).unwrap();
        let said = failure(&damaged);
        assert!(said.contains("damaged: the trace is damaged or cut short"), "{length} bytes: {said}");
    }
}
