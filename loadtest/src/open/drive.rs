//! One window of open-loop load: batches go out when they are due, whatever became of those before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Channel;

use super::gap::GapMeter;
use super::schedule::Schedule;
use crate::rng::Rng;
use crate::run::entropy;
use crate::tally::{Summary, Tally, microseconds, rate_per_s};
use crate::wire::{BytesCodec, Receipts, Writer, batch_path};
use crate::{Failure, client, program};

/// Batches between their due time and their answer. A server takes 64 MiB of requests; a batch of 1,000 has 90 KB, and with so many under way
/// a server has not answered for seconds. At the limit the load waits, and the window has not kept its schedule.
const IN_FLIGHT_MAX: usize = 512;
const CONNECTIONS: usize = 4;
/// Load before the window, so that neither connections nor caches are cold when it begins.
pub(super) const WARM_UP_SECONDS: u64 = 3;
/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Commands a second.
    pub(super) rate_per_s: u64,
    pub(super) batch: u16,
    /// Of the window; [`WARM_UP_SECONDS`] come before it.
    pub(super) seconds: u64,
    pub(super) members: u64,
}

/// What a window came to. Latencies are from the moment a batch was due to its answer, one for each of its commands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Window {
    /// Commands a second that were due.
    pub(super) offered_per_s: u64,
    #[serde(flatten)]
    pub(super) summary: Summary,
    /// The longest while without any answer, and when in the window it began.
    pub(super) gap_us: u64,
    pub(super) gap_from_ms: u64,
    /// Between two batches: no gap can be shorter.
    pub(super) spacing_us: u64,
    /// Batches that went out late since too many were under way: the schedule was not kept.
    pub(super) held_back: u64,
    /// How late the generator itself sent a batch at most; counted in the latency.
    pub(super) late_us_max: u64,
    /// The answers, to be put together with those of other windows.
    #[serde(skip)]
    pub(super) tally: Arc<Mutex<Tally>>,
}

/// What the tasks of a window share.
struct Shared {
    start: Instant,
    schedule: Schedule,
    /// The first batch of the window; those before warm up.
    first: u64,
    batch: usize,
    tally: Arc<Mutex<Tally>>,
    gap: Mutex<GapMeter>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the load on the server at `address`, until the window is over or, if that is sooner, `enough` is true.
pub(super) async fn drive(address: &str, plan: &Plan, enough: &Arc<AtomicBool>) -> Result<Window, Failure> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut grpc = client::raw(client::connect(address).await?);
        grpc.ready().await?;
        connections.push(grpc);
    }
    let schedule = Schedule::new(plan.rate_per_s, plan.batch);
    let first = schedule.within(WARM_UP_SECONDS);
    let begin = schedule.due(first);
    let shared = Arc::new(Shared {
        start: Instant::now(),
        schedule,
        first,
        batch: usize::from(plan.batch),
        tally: Arc::new(Mutex::new(Tally::new()?)),
        gap: Mutex::new(GapMeter::new(begin)),
    });
    let writer = Writer::new(program::LOAD.program, plan.members, Rng::new(entropy(), 0))
        .ok_or("the template of a command cannot be patched")?;
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let end = first + schedule.within(plan.seconds);
    let generator = {
        let (shared, places, runtime) = (Arc::clone(&shared), Arc::clone(&places), Handle::current());
        let enough = Arc::clone(enough);
        // A thread of its own sleeps to the microsecond, which the runtime's timer does not.
        std::thread::spawn(move || generate(&shared, &runtime, &places, connections, writer, end, &enough))
    };
    let all = u32::try_from(IN_FLIGHT_MAX)?;
    let (end, held_back, late) = tokio::task::spawn_blocking(move || generator.join())
        .await?
        .map_err(|_| "the generator of the load broke")??;
    // All places free: everything is answered.
    let answered = tokio::time::timeout(2 * PATIENCE, places.acquire_many(all)).await;
    answered.map_err(|_| "answers are owed that do not come")??.forget();
    let gap = lock(&shared.gap).finish(schedule.due(end));
    let summary = lock(&shared.tally).summary(gap.newest);
    Ok(Window {
        offered_per_s: rate_per_s((end - first) * u64::from(plan.batch), schedule.due(end) - begin),
        summary,
        gap_us: microseconds(gap.longest),
        gap_from_ms: u64::try_from(gap.from.as_millis())?,
        spacing_us: microseconds(schedule.spacing()),
        held_back,
        late_us_max: microseconds(late),
        tally: Arc::clone(&shared.tally),
    })
}

/// Hands out every batch when it is due. Before which one it ended, how many of the window were held back, and how late one was handed out at
/// most.
fn generate(
    shared: &Arc<Shared>,
    runtime: &Handle,
    places: &Arc<Semaphore>,
    connections: Vec<Grpc<Channel>>,
    mut writer: Writer,
    end: u64,
    enough: &AtomicBool,
) -> Result<(u64, u64, Duration), Failure> {
    let (mut held_back, mut latest) = (0, Duration::ZERO);
    for (batch, connection) in (0..end).zip(connections.iter().cycle()) {
        if batch > shared.first && enough.load(Ordering::Relaxed) {
            return Ok((batch, held_back, latest));
        }
        // Written before it is due: what is left to do then is to send it.
        let bytes = writer.request(shared.batch);
        let due = shared.start + shared.schedule.due(batch);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let late = due.elapsed();
        let (place, waited) = match Arc::clone(places).try_acquire_owned() {
            Ok(place) => (place, false),
            Err(_) => (runtime.block_on(Arc::clone(places).acquire_owned())?, true),
        };
        if batch >= shared.first {
            held_back += u64::from(waited);
            latest = latest.max(late);
        }
        runtime.spawn(send(Arc::clone(shared), connection.clone(), batch, bytes, place));
    }
    Ok((end, held_back, latest))
}

async fn send(shared: Arc<Shared>, mut grpc: Grpc<Channel>, batch: u64, bytes: Vec<u8>, place: OwnedSemaphorePermit) {
    let call = async {
        grpc.ready().await.map_err(|error| error.to_string())?;
        let answer = grpc.unary(Request::new(bytes), batch_path(), BytesCodec::<Receipts>::new()).await;
        answer.map_err(|status| status.to_string())
    };
    let answer = tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| Err("no answer".to_owned()));
    let now = shared.start.elapsed();
    let counts = batch >= shared.first;
    match answer {
        Ok(answer) => {
            lock(&shared.gap).answered(now);
            if counts {
                let after = now.saturating_sub(shared.schedule.due(batch));
                lock(&shared.tally).answered(&answer.get_ref().receipts, after);
            }
        }
        Err(why) if counts => lock(&shared.tally).failed(shared.batch, || why),
        Err(_) => {}
    }
    drop(place);
}
