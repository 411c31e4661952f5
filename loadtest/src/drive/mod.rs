//! One window of open-loop load: requests go out when they are due, whatever became of those before.

pub(crate) mod arrivals;
mod gap;
pub(crate) mod record;
pub(crate) mod retry;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Status};

use self::arrivals::{Due, Schedule};
use self::record::{Record, Second};
use self::retry::{Loss, Retries};
use crate::wire::{BytesCodec, Counted, Receipts};
use crate::{Failure, client};

/// Commands between their due time and their answer. A server takes 64 MiB of requests; a batch of 1,000 has 90 KB, and with so many under way
/// a server has not answered for seconds. At the limit the load waits, and the window has not kept its schedule.
const IN_FLIGHT_COMMANDS: usize = 512_000;
/// The bounds on that in requests.
const IN_FLIGHT_REQUESTS: (usize, usize) = (512, 16_384);
const CONNECTIONS: usize = 4;
/// The window is the schedule without its first stretch, which warms up: so that neither connections nor caches are cold when it begins.
const WARM_UP_STRETCH: usize = 0;
/// An answer that takes longer will not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Of the method.
    pub(crate) path: PathAndQuery,
    /// The message, encoded.
    pub(crate) bytes: Vec<u8>,
    /// The number of the operation of each command in it. A read is one command.
    pub(crate) operations: Vec<u8>,
    /// Whether it reads, and is answered by no receipts.
    pub(crate) reads: bool,
}

/// Where requests come from.
pub(crate) trait Traffic: Send + 'static {
    /// The names of the operations, by number.
    fn operations(&self) -> Vec<&'static str>;
    /// The next request, of that stretch of the schedule.
    fn request(&mut self, stretch: usize) -> Request;
}

/// How a window is gone through.
#[derive(Debug)]
pub(crate) struct Drive {
    /// When requests are due.
    pub(crate) schedule: Schedule,
    /// Commands of a request at most.
    pub(crate) batch: u16,
    /// What is sent again, and when.
    pub(crate) retries: Retries,
    /// How long each attempt may take, told to the server too; none: nothing is told, and [`PATIENCE`] is the limit.
    pub(crate) deadline: Option<Duration>,
    /// Ends the window early.
    pub(crate) enough: Arc<AtomicBool>,
    /// Gets each second of the window when it is over.
    pub(crate) follower: Option<Sender<Second>>,
}

/// What a window came to.
#[derive(Debug)]
pub(crate) struct Driven {
    /// See [`Record`].
    pub(crate) record: Record,
    /// When its last request was due, or its time was over: from the start of the load, as all times of the record.
    pub(crate) end: Duration,
}

/// What the tasks of a window share.
struct Shared {
    start: Instant,
    retries: Retries,
    deadline: Option<Duration>,
    record: Mutex<Record>,
}

/// A request on its way.
struct OnItsWay {
    number: u64,
    due: Due,
    request: Request,
    /// Until it is answered or given up.
    _place: OwnedSemaphorePermit,
}

impl Shared {
    /// The record at the present time, which no two of its users see in another order.
    fn now(&self) -> (MutexGuard<'_, Record>, Duration) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.start.elapsed();
        record.tick(now);
        (record, now)
    }
}

/// Puts the load on the server at `address`, until the schedule or `enough` ends it and all is answered.
pub(crate) async fn drive(address: &str, traffic: impl Traffic, drive: Drive) -> Result<Driven, Failure> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut grpc = client::raw(client::connect(address).await?);
        grpc.ready().await?;
        connections.push(grpc);
    }
    let Drive { schedule, batch, retries, deadline, enough, follower } = drive;
    let begin = schedule.begin(WARM_UP_STRETCH + 1);
    let (least, most) = IN_FLIGHT_REQUESTS;
    let places = (IN_FLIGHT_COMMANDS / usize::from(batch).max(1)).clamp(least, most);
    let record = Mutex::new(Record::new(&traffic.operations(), begin, follower)?);
    let shared = Arc::new(Shared { start: Instant::now(), retries, deadline, record });
    let ticker = tokio::spawn(tick(Arc::clone(&shared)));
    let semaphore = Arc::new(Semaphore::new(places));
    let generator = {
        let (shared, places, runtime) = (Arc::clone(&shared), Arc::clone(&semaphore), Handle::current());
        // A thread of its own sleeps to the microsecond, which the runtime's timer does not.
        std::thread::spawn(move || generate(&shared, &runtime, &places, connections, traffic, schedule, &enough))
    };
    let end = tokio::task::spawn_blocking(move || generator.join())
        .await?
        .map_err(|_| "the generator of the load broke")??;
    // All places free: everything is answered.
    let patience = 2 * PATIENCE + shared.retries.longest(deadline.unwrap_or(PATIENCE));
    let answered = tokio::time::timeout(patience, semaphore.acquire_many(u32::try_from(places)?)).await;
    answered.map_err(|_| "answers are owed that do not come")??.forget();
    ticker.abort();
    let _ = ticker.await;
    let shared = Arc::into_inner(shared).ok_or("a request is still under way")?;
    let mut record = shared.record.into_inner().unwrap_or_else(PoisonError::into_inner);
    record.close();
    Ok(Driven { record, end })
}

/// Closes seconds on time, also while nothing is answered.
async fn tick(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(shared.now());
    }
}

/// Hands out every request when it is due. Gives the instant that the window ended at.
fn generate(
    shared: &Arc<Shared>,
    runtime: &Handle,
    places: &Arc<Semaphore>,
    connections: Vec<Grpc<Channel>>,
    mut traffic: impl Traffic,
    schedule: Schedule,
    enough: &AtomicBool,
) -> Result<Duration, Failure> {
    let over = schedule.end();
    for ((number, due), connection) in (0..).zip(schedule).zip(connections.iter().cycle()) {
        if due.stretch > WARM_UP_STRETCH && enough.load(Ordering::Relaxed) {
            return Ok(due.at);
        }
        // Written before it is due: what is left to do then is to send it.
        let request = traffic.request(due.stretch);
        let at = shared.start + due.at;
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let late = at.elapsed();
        let (place, waited) = match Arc::clone(places).try_acquire_owned() {
            Ok(place) => (place, false),
            Err(_) => (runtime.block_on(Arc::clone(places).acquire_owned())?, true),
        };
        shared.retries.first_try();
        let (mut record, _) = shared.now();
        record.begun();
        if due.stretch > WARM_UP_STRETCH {
            record.offered(u64::try_from(request.operations.len())?, due.at);
            record.each(&request.operations, |counts| counts.sent += 1);
            record.held_back += u64::from(waited);
            record.late = record.late.max(late);
        }
        drop(record);
        let on_its_way = OnItsWay { number, due, request, _place: place };
        runtime.spawn(send(on_its_way, Arc::clone(shared), connection.clone()));
    }
    Ok(over)
}

/// Sends a request until it is answered or given up.
// The place, which goes with `way`, is free only when all else is let go.
async fn send(mut way: OnItsWay, shared: Arc<Shared>, mut grpc: Grpc<Channel>) {
    let mut attempts = 1;
    loop {
        let answer = attempt(&shared, &mut grpc, &mut way.request).await;
        let Some(pause) = settle(&shared, &way, attempts, answer) else { break };
        tokio::time::sleep(pause).await;
        attempts += 1;
    }
}

/// Notes what became of an attempt. Gives how long to wait before the next one; none: that is the end.
fn settle(shared: &Shared, way: &OnItsWay, attempts: u32, answer: Result<Vec<Counted>, Status>) -> Option<Duration> {
    let counts = way.due.stretch > WARM_UP_STRETCH;
    let operations = &way.request.operations;
    let (mut record, now) = shared.now();
    let status = match answer {
        Ok(receipts) => {
            record.ended();
            record.gap.answered(now);
            if counts {
                let receipts = (!way.request.reads).then_some(receipts.as_slice());
                record.answered(operations, receipts, now.saturating_sub(way.due.at));
            }
            return None;
        }
        Err(status) => status,
    };
    let (shed, pushback) = match Loss::of(&status) {
        Loss::Shed(pushback) => (true, Some(pushback)),
        Loss::Unknown(pushback) => (false, Some(pushback)),
        Loss::Final => (false, None),
    };
    let pause = pushback.and_then(|pushback| shared.retries.after(way.number, attempts, pushback));
    if pause.is_none() {
        record.ended();
    }
    if counts {
        record.each(operations, |counts| {
            counts.refused += u64::from(shed);
            counts.retried += u64::from(pause.is_some());
            counts.given_up += u64::from(pause.is_none() && pushback.is_some());
            counts.errors += u64::from(pushback.is_none());
        });
        if pushback.is_none() {
            record.last_error = Some(status.to_string());
        } else if pause.is_none() {
            record.last_loss = Some(status.to_string());
        }
    }
    pause
}

/// One attempt. What it reads is not looked at.
async fn attempt(shared: &Shared, grpc: &mut Grpc<Channel>, request: &mut Request) -> Result<Vec<Counted>, Status> {
    let bytes = if shared.retries.are_made() { request.bytes.clone() } else { std::mem::take(&mut request.bytes) };
    let mut message = tonic::Request::new(bytes);
    if let Some(deadline) = shared.deadline {
        message.set_timeout(deadline);
    }
    let path = request.path.clone();
    let call = async {
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        if request.reads {
            let read = grpc.unary(message, path, BytesCodec::<()>::new()).await;
            return read.map(|_| Vec::new());
        }
        Ok(grpc.unary(message, path, BytesCodec::<Receipts>::new()).await?.into_inner().receipts)
    };
    let answer = tokio::time::timeout(shared.deadline.unwrap_or(PATIENCE), call).await;
    match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
        // A single command's conflict, and a read of what is not there, are answers that come as statuses.
        Err(status) if status.code() == Code::AlreadyExists => Ok(vec![Counted::CONFLICT]),
        Err(status) if request.reads && status.code() == Code::NotFound => Ok(Vec::new()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests;
