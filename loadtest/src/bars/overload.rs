//! Three times as much open-loop load as a server on one core takes, from a generator on another one: what it still does, and how soon it refuses.

use std::sync::atomic::{AtomicU64, Ordering};
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
use super::{Ground, permille, room};
use crate::peers::drive::{APPLIED, commands_of};
use crate::process::Server;
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
/// Of memory for one that is encoded beforehand.
const BATCH_BYTES: u64 = 96 << 10;
const CONNECTIONS: usize = 4;
/// Requests between sending and answer; at the limit the generator waits, and says so.
const IN_FLIGHT_MAX: u32 = 4_096;
/// Answers that are owed at the end come within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// A server on one core has one network thread.
const CONFIG: &str = "worker_threads = 1\n";

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    let (members, seconds) = (ground.stage.members, ground.seconds);
    let config = ground.stage.config("one-core", None, CONFIG)?;
    let server = ground.server(&config).await?;
    let pinned = Pinned::apart(server.pid())?;
    let peak = drive(&server.address, &Load::of_batches(BATCH, members, seconds)).await?;
    peak.complaint()?;
    room::memory(0, batches_of(peak.rate_per_s, seconds) * BATCH_BYTES)?;
    let told = overload(&server, members, peak.rate_per_s, seconds).await?;
    figures.extend(told.figures(peak.rate_per_s, seconds));
    let unary = drive(&server.address, &Load::of(Mode::Unary, 1, [4, 256], members, seconds)).await?;
    drop(pinned);
    let calls = format!("4 connections x 256, one core each; {}, p99 {} us", unary.outcomes(), grouped(unary.p99_us));
    let what = "single calls, what one core can offer";
    figures.push(Figure::new(what, unary.rate_per_s, Unit::PerSecond, Bar::Open).noting(calls));
    Ok(())
}

/// Batches that are encoded beforehand. What is applied is used up: a fifth more than at the peak, and what is under way at the end.
fn batches_of(peak_per_s: u64, seconds: u64) -> u64 {
    (peak_per_s * seconds * 6 / 5).div_ceil(u64::from(BATCH)) + u64::from(IN_FLIGHT_MAX)
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
    cut_off: u64,
    /// Of a core, while it was sent, in thousandths: the server and the generator.
    busy: [u64; 2],
}

impl Told {
    fn figures(&self, peak_per_s: u64, seconds: u64) -> [Figure; 2] {
        let goodput = rate_per_s(self.answered.commands(), Duration::from_secs(seconds));
        let (refused, answered) = (self.refused.summary(self.elapsed), self.answered.summary(self.elapsed));
        let [server, generator] = self.busy.map(|busy| busy / 10);
        let note = format!(
            "{}/s of {}/s; {}/s offered, {}/s wanted, {} requests held back, {} us late at most; answered in {} us at p99; \
             server {server} % of its core, generator {generator} % of the other",
            grouped(goodput),
            grouped(peak_per_s),
            grouped(rate_per_s(self.sent * u64::from(BATCH), self.elapsed)),
            grouped(TIMES * peak_per_s),
            grouped(self.held_back),
            grouped(microseconds(self.late)),
            grouped(answered.p99_us),
        );
        let (refusals, cut_off) = (grouped(refused.commands), grouped(self.cut_off));
        // Where nothing was refused, nothing is to be said of how soon.
        let soon = if refused.commands == 0 { Bar::Open } else { Bar::AtMost(REFUSAL_P99_US_MAX) };
        [
            Figure::new(
                "goodput at 3 times the peak, of the peak",
                permille(goodput, peak_per_s),
                Unit::Permille,
                Bar::AtLeast(GOODPUT_PERMILLE_MIN),
            )
            .noting(note),
            Figure::new("refusals at 3 times the peak: p99", refused.p99_us, Unit::Us, soon)
                .noting(format!("{refusals} commands refused, {cut_off} cut off")),
        ]
    }
}

/// What the requests under way share.
struct Shared {
    until: Instant,
    answered: Mutex<Tally>,
    refused: Mutex<Tally>,
    /// Batches to be sent: encoded beforehand, and those that were refused, whose keys are as new as before.
    batches: Mutex<Vec<Vec<u8>>>,
    /// Commands of requests that the connection gave back unread: HTTP/2 says that nothing was done, though not why.
    cut_off: AtomicU64,
    /// What was neither answer nor refusal.
    broken: Mutex<Option<String>>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn overload(server: &Server, members: u64, peak_per_s: u64, seconds: u64) -> Result<Told, Failure> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(client::raw(client::connect(&server.address).await?));
    }
    let mut writer = commands_of(entropy(), 0, members)?;
    let batches = (0..batches_of(peak_per_s, seconds)).map(|_| writer.request(usize::from(BATCH))).collect();
    let busy_now = || Ok::<_, Failure>([busy_ms(server.pid())?, busy_ms(std::process::id())?]);
    let [server_before, own_before] = busy_now()?;
    let begun = Instant::now();
    let shared = Arc::new(Shared {
        until: begun + Duration::from_secs(seconds),
        answered: Mutex::new(Tally::new()?),
        refused: Mutex::new(Tally::new()?),
        batches: Mutex::new(batches),
        cut_off: AtomicU64::new(0),
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
    let [server_after, own_after] = busy_now()?;
    let answered = tokio::time::timeout(PATIENCE, places.acquire_many(IN_FLIGHT_MAX)).await;
    answered.map_err(|_| "answers are owed that do not come")??.forget();
    let shared = Arc::into_inner(shared).ok_or("a request is still under way")?;
    if let Some(why) = shared.broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(format!("neither an answer nor a refusal: {why}").into());
    }
    let tally = |tally: Mutex<Tally>| tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (cut_off, took_ms) = (shared.cut_off.into_inner(), u64::try_from(elapsed.as_millis())?);
    let busy = [server_after - server_before, own_after - own_before].map(|busy_ms| permille(busy_ms, took_ms));
    let (answered, refused) = (tally(shared.answered), tally(shared.refused));
    Ok(Told { answered, refused, sent, elapsed, held_back, late, cut_off, busy })
}

/// The processor time that a process has had, in milliseconds.
fn busy_ms(process: u32) -> Result<u64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Behind the name, which may hold anything, the 12th and 13th fields: hundredths of a second in the program and in the system.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks * 10)
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
        Err((Code::Unavailable, why)) if why.contains("REFUSED_STREAM") => {
            shared.cut_off.fetch_add(u64::from(BATCH), Ordering::Relaxed);
            lock(&shared.batches).push(bytes);
        }
        Err((_, why)) => *lock(&shared.broken) = Some(why),
    }
    drop(shared);
    drop(place);
}

fn refused(shared: &Shared, after: Duration, bytes: Vec<u8>) {
    lock(&shared.refused).answered(&[APPLIED; BATCH as usize], after);
    lock(&shared.batches).push(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_batch_has_the_memory_that_is_asked_for() {
        let bytes = commands_of(1, 0, 10).unwrap().request(usize::from(BATCH)).capacity();
        assert!(u64::try_from(bytes).unwrap() <= BATCH_BYTES, "{bytes}");
    }

    #[test]
    fn a_process_that_works_is_seen_to_be_busy() {
        let (before, begun) = (busy_ms(std::process::id()).unwrap(), Instant::now());
        while busy_ms(std::process::id()).unwrap() < before + 30 {
            assert!(begun.elapsed() < PATIENCE, "no processor time is counted");
        }
    }
}
