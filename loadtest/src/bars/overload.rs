//! Three times as much open-loop load as a server on one core takes, from a generator on another one: what it still does, and how soon it refuses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stampbook::proto::Outcome;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::figure::{Bar, Figure, Unit};
use super::pin::Pinned;
use super::{Ground, permille};
use crate::peers::drive::{APPLIED, commands_of};
use crate::run::{Load, Mode, drive, entropy};
use crate::tally::{Tally, grouped, microseconds, rate_per_s};
use crate::wire::{BytesCodec, Receipts, batch_path};
use crate::{Failure, client};

/// Commands a second that are applied, of those without overload.
const GOODPUT_PERMILLE_MIN: u64 = 900;
/// From sending to a refusal, 99 of 100 of them.
const REFUSAL_P99_US_MAX: u64 = 5_000;
/// So many times the peak are offered.
const TIMES: u64 = 3;
const BATCH: u16 = 1_000;
const CONNECTIONS: usize = 4;
/// Requests between sending and answer; at the limit the generator waits, and says so.
const IN_FLIGHT_MAX: u32 = 4_096;
/// Answers that are owed at the end come within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// A server on one core has one network thread.
const CONFIG: &str = "worker_threads = 1\n";

pub(super) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let (members, seconds) = (ground.stage.members, ground.seconds);
    let config = ground.stage.config("one-core", None, CONFIG)?;
    let server = ground.server(&config).await?;
    let pinned = Pinned::apart(server.pid())?;
    let peak = drive(&server.address, &Load::of_batches(BATCH, members, seconds)).await?;
    peak.complaint()?;
    let told = overload(&server.address, members, peak.rate_per_s, seconds).await?;
    let unary = drive(&server.address, &Load::of(Mode::Unary, 1, [4, 256], members, seconds)).await?;
    drop(pinned);
    let goodput = rate_per_s(told.answered.commands(), Duration::from_secs(seconds));
    let refused = told.refused.summary(told.elapsed);
    let answered = told.answered.summary(told.elapsed);
    let note = format!(
        "{}/s of {}/s, {}/s offered on one core; answered in {} us at p99; {} requests held back, {} us late at most",
        grouped(goodput),
        grouped(peak.rate_per_s),
        grouped(rate_per_s(told.sent * u64::from(BATCH), told.elapsed)),
        grouped(answered.p99_us),
        grouped(told.held_back),
        grouped(microseconds(told.late)),
    );
    let refusals = format!("{} commands refused", grouped(refused.commands));
    // Where nothing was refused, nothing is to be said of how soon.
    let soon = if refused.commands == 0 { Bar::Open } else { Bar::AtMost(REFUSAL_P99_US_MAX) };
    let calls = format!("4 connections x 256, one core each; {}, p99 {} us", unary.outcomes(), grouped(unary.p99_us));
    Ok(vec![
        Figure::new(
            "goodput at 3 times the peak, of the peak",
            permille(goodput, peak.rate_per_s),
            Unit::Permille,
            Bar::AtLeast(GOODPUT_PERMILLE_MIN),
        )
        .noting(note),
        Figure::new("refusals at 3 times the peak: p99", refused.p99_us, Unit::Us, soon).noting(refusals),
        Figure::new("single calls, what one core can offer", unary.rate_per_s, Unit::PerSecond, Bar::Open)
            .noting(calls),
    ])
}

/// What the overload came to.
struct Told {
    /// Commands that were applied within the time.
    answered: Tally,
    refused: Tally,
    /// Requests that were sent, within this time.
    sent: u64,
    elapsed: Duration,
    held_back: u64,
    late: Duration,
}

/// What the requests under way share.
struct Shared {
    until: Instant,
    answered: Mutex<Tally>,
    refused: Mutex<Tally>,
    /// Batches to be sent: encoded beforehand, and those that were refused, whose keys are as new as before.
    batches: Mutex<Vec<Vec<u8>>>,
    /// What was neither answer nor refusal.
    broken: Mutex<Option<String>>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn overload(address: &str, members: u64, peak_per_s: u64, seconds: u64) -> Result<Told, Failure> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(client::raw(client::connect(address).await?));
    }
    let mut writer = commands_of(entropy(), 0, members)?;
    // What is applied is used up; a fifth more than at the peak, and what is under way at the end.
    let batches = (peak_per_s * seconds * 6 / 5).div_ceil(u64::from(BATCH)) + u64::from(IN_FLIGHT_MAX);
    let batches = (0..batches).map(|_| writer.request(usize::from(BATCH))).collect();
    let begun = Instant::now();
    let shared = Arc::new(Shared {
        until: begun + Duration::from_secs(seconds),
        answered: Mutex::new(Tally::new()?),
        refused: Mutex::new(Tally::new()?),
        batches: Mutex::new(batches),
        broken: Mutex::new(None),
    });
    let places = Arc::new(Semaphore::new(usize::try_from(IN_FLIGHT_MAX)?));
    let generator = {
        let (shared, places, runtime) = (Arc::clone(&shared), Arc::clone(&places), Handle::current());
        // A thread of its own sleeps to the microsecond, which the runtime's timer does not.
        tokio::task::spawn_blocking(move || generate(&shared, &runtime, &places, &connections, TIMES * peak_per_s))
    };
    let (sent, held_back, late) = generator.await??;
    let elapsed = begun.elapsed();
    let answered = tokio::time::timeout(PATIENCE, places.acquire_many(IN_FLIGHT_MAX)).await;
    answered.map_err(|_| "answers are owed that do not come")??.forget();
    let shared = Arc::into_inner(shared).ok_or("a request is still under way")?;
    if let Some(why) = shared.broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(format!("neither an answer nor a refusal: {why}").into());
    }
    let tally = |tally: Mutex<Tally>| tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Told { answered: tally(shared.answered), refused: tally(shared.refused), sent, elapsed, held_back, late })
}

/// Sends batches at the rate until the time is over, whatever became of those before. How many, how many of them waited for a place, and how late
/// one was at most.
fn generate(
    shared: &Arc<Shared>,
    runtime: &Handle,
    places: &Arc<Semaphore>,
    connections: &[Grpc<Channel>],
    rate_per_s: u64,
) -> Result<(u64, u64, Duration), Failure> {
    let (mut sent, mut held_back, mut latest) = (0, 0, Duration::ZERO);
    let begun = Instant::now();
    for connection in connections.iter().cycle() {
        let due_ns = u128::from(sent) * u128::from(BATCH) * 1_000_000_000 / u128::from(rate_per_s.max(1));
        let due = begun + Duration::from_nanos(u64::try_from(due_ns)?);
        if due >= shared.until {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        latest = latest.max(due.elapsed());
        let place = match Arc::clone(places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                held_back += 1;
                runtime.block_on(Arc::clone(places).acquire_owned())?
            }
        };
        let bytes = lock(&shared.batches).pop().ok_or("more was applied than was encoded beforehand")?;
        runtime.spawn(send(Arc::clone(shared), connection.clone(), bytes, place));
        sent += 1;
    }
    Ok((sent, held_back, latest))
}

async fn send(shared: Arc<Shared>, mut grpc: Grpc<Channel>, bytes: Vec<u8>, place: OwnedSemaphorePermit) {
    let from = Instant::now();
    let answer = match grpc.ready().await {
        Ok(()) => {
            let answer = grpc.unary(Request::new(bytes.clone()), batch_path(), BytesCodec::<Receipts>::new()).await;
            answer.map_err(|status| (status.code(), status.to_string()))
        }
        Err(error) => Err((Code::Unknown, error.to_string())),
    };
    let after = from.elapsed();
    let counts = Instant::now() <= shared.until;
    let shed = |answer: &Receipts| answer.receipts.iter().all(|receipt| receipt.outcome == i32::from(Outcome::Shed));
    match answer {
        Ok(answer) if shed(answer.get_ref()) => refused(&shared, after, bytes),
        Ok(answer) if answer.get_ref().receipts.iter().all(|receipt| *receipt == APPLIED) => {
            if counts {
                lock(&shared.answered).answered(&answer.get_ref().receipts, after);
            }
        }
        Ok(_) => *lock(&shared.broken) = Some("a batch was applied in part".to_owned()),
        Err((Code::ResourceExhausted, _)) => refused(&shared, after, bytes),
        Err((_, why)) => *lock(&shared.broken) = Some(why),
    }
    drop(shared);
    drop(place);
}

fn refused(shared: &Shared, after: Duration, bytes: Vec<u8>) {
    lock(&shared.refused).answered(&[APPLIED; BATCH as usize], after);
    lock(&shared.batches).push(bytes);
}
