//! What the books must show between two crashes, and at the end.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::{GetEventRequest, GetTrialBalanceRequest, Kind, PostBatchRequest, get_event_request::Name};

use super::traffic::Mixed;
use crate::clients::Traffic;
use crate::rng::Rng;
use crate::{Failure, client, program, tools};

/// Commands of a batch.
const BATCH: usize = 1_000;
/// Commands of earlier cycles that are sent again after each crash, one from each of so many equal ranges.
const RANGES: usize = 2_500;
/// A snapshot that was under way at a crash is finished after it, within this.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(30);

/// All commands whose ops are so near to an edge are sent again.
const DENSE: u64 = 1_000;

/// Sends all commands of the last cycle again, all around the `edges` and a sample of all before, and holds the balances against the receipts. Gives how many were
/// sent. Nothing else may be posting.
pub(super) async fn books(traffic: &Mixed, address: &str, edges: &[u64], rng: &mut Rng) -> Result<usize, Failure> {
    let numbers = sample(traffic, edges, rng)?;
    let channel = client::connect(address).await?;
    let mut ledger = client::ledger(channel.clone());
    for numbers in numbers.chunks(BATCH) {
        let items = numbers.iter().map(|number| traffic.command(*number)).collect();
        let receipts = ledger.post_batch(PostBatchRequest { items, atomic: false }).await?.into_inner().receipts;
        if receipts.len() != numbers.len() {
            return Err("a batch got the wrong number of receipts".into());
        }
        for (number, receipt) in numbers.iter().zip(&receipts) {
            if !receipt.replayed {
                let op = traffic.table().acks.op(*number).unwrap_or_default();
                return Err(format!("command {number}, acknowledged as op {op}, was lost: now {receipt:?}").into());
            }
            traffic.settle(*number, receipt)?;
        }
    }
    balances(traffic, channel).await?;
    Ok(numbers.len())
}

/// Commands that have an event: one of each range of those before the last cycle, all around the edges, and all of the last cycle.
fn sample(traffic: &Mixed, edges: &[u64], rng: &mut Rng) -> Result<Vec<usize>, Failure> {
    let table = traffic.table();
    let last = table.starts.last().copied().unwrap_or_default();
    if let Some(number) = table.acks.first_unanswered(last) {
        return Err(format!("command {number} was never answered").into());
    }
    let mut numbers = Vec::new();
    for range in 0..RANGES.min(last) {
        let (from, to) = (range * last / RANGES.min(last), (range + 1) * last / RANGES.min(last));
        numbers.push(from + usize::try_from(rng.below(u64::try_from(to - from)?))?);
    }
    for edge in edges.iter().filter(|edge| **edge > 0) {
        numbers.extend(table.acks.near(*edge, DENSE));
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers.retain(|number| *number < last);
    numbers.extend(last..table.acks.len());
    numbers.retain(|number| table.acks.op(*number).is_some());
    Ok(numbers)
}

async fn balances(traffic: &Mixed, channel: tonic::transport::Channel) -> Result<(), Failure> {
    let fixture = program::CRASH;
    let campaign = fixture.campaign(channel.clone()).await?;
    let ask = GetTrialBalanceRequest { program: fixture.program.to_owned(), as_of: None, basis: 0 };
    let trial = AccountServiceClient::new(channel).get_trial_balance(ask).await?.into_inner();
    let sum_of = |prefix: &str| {
        let rows = trial.rows.iter().filter(|row| row.account.starts_with(prefix));
        rows.map(|row| row.credit - row.debit).sum::<i64>()
    };
    let (owed, awarded) = {
        let acks = &traffic.table().acks;
        (acks.owed_to_members, acks.awarded_by_campaign)
    };
    let claims = [
        ("the trial balance", sum_of(""), 0),
        ("debit less credit of its totals", trial.totals.iter().map(|total| total.debit - total.credit).sum(), 0),
        ("members' points, against what their receipts come to", sum_of("member/"), owed),
        ("the campaign's awards, against what the receipts come to", campaign.awarded, awarded),
        ("the campaign's budget, left and awarded against funded", campaign.left + campaign.awarded, campaign.funded),
        ("the campaign's account, against what is left", sum_of(&format!("campaign/{}", campaign.id)), campaign.left),
    ];
    match claims.iter().find(|(_, found, expected)| found != expected) {
        None => Ok(()),
        Some((what, found, expected)) => {
            Err(format!("at op {}: {what}: {found}, not {expected}: {campaign:?} {:?}", trial.op, trial.rows).into())
        }
    }
}

/// Every event has one command that was acknowledged with it, or is an operator's, or took one of the snapshots at `taken`. Gives how many are of
/// the last two kinds.
pub(super) async fn owners(traffic: &Mixed, address: &str, taken: &[u64]) -> Result<usize, Failure> {
    let mut account = AccountServiceClient::new(client::connect(address).await?);
    let program = program::CRASH.program.to_owned();
    let trial = account
        .get_trial_balance(GetTrialBalanceRequest { program: program.clone(), as_of: None, basis: 0 })
        .await?
        .into_inner();
    let unowned = traffic.table().acks.unowned(trial.op);
    for op in unowned.iter().filter(|op| !taken.contains(op)) {
        let ask = GetEventRequest { program: program.clone(), name: Some(Name::Op(*op)) };
        let event = account.get_event(ask).await?.into_inner().event.unwrap_or_default();
        if !matches!(event.kind(), Kind::ProgramPut | Kind::CampaignFunded) {
            return Err(format!("op {op} is an event that no client knows: {event:?}").into());
        }
    }
    Ok(unowned.len())
}

/// Every snapshot that was promised becomes ready. Gives their ops.
pub(super) async fn snapshots(binary: &Path, address: &str) -> Result<Vec<u64>, Failure> {
    let until = Instant::now() + SNAPSHOT_PATIENCE;
    loop {
        let listed = tools::run_aside(tools::list_snapshots(binary, address)).await?;
        let listed = listed.get("snapshots").and_then(Value::as_array).cloned().unwrap_or_default();
        let state = |snapshot: &Value| snapshot.get("state").and_then(Value::as_str).map(str::to_ascii_lowercase);
        let waits = listed.iter().find(|snapshot| state(snapshot).as_deref() != Some("ready"));
        match waits {
            None => return Ok(listed.iter().filter_map(|snapshot| snapshot.get("op")?.as_u64()).collect()),
            Some(waits) if Instant::now() > until => return Err(format!("a snapshot is not ready: {waits}").into()),
            Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The proof of the books speaks of as many events as the clients know.
pub(super) fn proof(verified: &Value, events: u64) -> Result<(), Failure> {
    let number = |name: &str| verified.get(name).and_then(Value::as_u64);
    if is_sound(verified) && number("op") == Some(events) && number("events") == Some(events) {
        Ok(())
    } else {
        Err(format!("the clients know {events} events, the proof says {verified}").into())
    }
}

/// The proof found nothing wrong.
pub(super) fn is_sound(verified: &Value) -> bool {
    verified.get("sound").and_then(Value::as_bool) == Some(true)
}
