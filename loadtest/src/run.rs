//! Closed-loop load: every caller sends its next request when its last one is answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::rng::Rng;
use crate::tally::{Summary, Tally, grouped};
use crate::wire::{BytesCodec, Receipts, Writer, batch_path, post_path, stream_path};
use crate::{Failure, client, program};

/// Points for the campaign, more than any run awards: the most that one funding may move.
pub(crate) const BUDGET: i64 = 1_000_000_000_000;
/// After an error a caller waits, so that a server in trouble is not hammered.
const PAUSE: Duration = Duration::from_millis(5);

/// How commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// One command a call.
    Unary,
    /// Many commands a call.
    Batch,
    /// Many commands a message, on one call a connection.
    Stream,
}

/// The shape of the load.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    /// How commands are sent.
    #[arg(long, value_enum, default_value = "unary")]
    mode: Mode,
    /// Commands in a batch, or in a message of a stream.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    /// Connections.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Requests, or messages of a stream, in flight on each connection.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// Members, each as likely as the other.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    members: u64,
    /// How long, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seed of keys, members and amounts; without it every run posts commands of its own.
    #[arg(long)]
    seed: Option<u64>,
}

/// `loadtest run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The server's address, `host:port`.
    #[arg(long)]
    target: String,
    #[command(flatten)]
    load: Load,
}

/// Posts to a running server and prints what it took.
pub(crate) async fn run(options: Options, json: bool) -> Result<(), Failure> {
    let channel = client::connect(&options.target).await?;
    program::LOAD.set_up(channel, BUDGET).await?;
    let summary = drive(&options.target, &options.load).await?;
    summary.print(&options.load.title(&options.target), json)
}

impl Load {
    /// Batches as fast as they are answered: what a server can take.
    pub(crate) fn of_batches(batch: u16, members: u64, seconds: u64) -> Self {
        Self::of(Mode::Batch, batch, [4, 8], members, seconds)
    }

    /// Requests of one kind and size: on so many connections, so many under way on each.
    pub(crate) fn of(mode: Mode, batch: u16, [connections, in_flight]: [u16; 2], members: u64, seconds: u64) -> Self {
        Self { mode, batch, connections, in_flight, members, seconds, seed: None }
    }

    /// One line that says what was run.
    pub(crate) fn title(&self, target: &str) -> String {
        let mode = match self.mode {
            Mode::Unary => "unary".to_owned(),
            Mode::Batch => format!("batches of {}", grouped(self.batch)),
            Mode::Stream => format!("streams, {} commands a message", grouped(self.batch)),
        };
        let members = grouped(self.members);
        format!(
            "{mode} to {target}: {} connections x {} in flight, {members} members",
            self.connections, self.in_flight
        )
    }
}

/// What all callers of a connection share.
struct Lane {
    grpc: Grpc<Channel>,
    tally: Mutex<Tally>,
    until: Instant,
}

impl Lane {
    fn count(&self, with: impl FnOnce(&mut Tally)) {
        with(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Runs the load against whatever listens on `target`.
pub(crate) async fn drive(target: &str, load: &Load) -> Result<Summary, Failure> {
    let seed = load.seed.unwrap_or_else(entropy);
    let bar = ProgressBar::new_spinner();
    let mut channels = Vec::new();
    for _ in 0..load.connections {
        channels.push(client::connect(target).await?);
    }
    let begun = Instant::now();
    let until = begun + Duration::from_secs(load.seconds);
    let mut lanes = Vec::new();
    let mut callers = JoinSet::new();
    let mut sequence = 0;
    for channel in channels {
        let lane = Arc::new(Lane { grpc: client::raw(channel), tally: Mutex::new(Tally::new()?), until });
        let tasks = if load.mode == Mode::Stream { 1 } else { load.in_flight };
        for _ in 0..tasks {
            let writer = Writer::new(program::LOAD.program, load.members, Rng::new(seed, sequence))
                .ok_or("the template of a command cannot be patched")?;
            sequence += 1;
            let (lane, in_flight, batch) = (Arc::clone(&lane), load.in_flight, usize::from(load.batch));
            match load.mode {
                Mode::Unary => callers.spawn(call(lane, post_path(), writer, 1)),
                Mode::Batch => callers.spawn(call(lane, batch_path(), writer, batch)),
                Mode::Stream => callers.spawn(stream(lane, writer, batch, usize::from(in_flight))),
            };
        }
        lanes.push(lane);
    }
    while !callers.is_empty() {
        if tokio::time::timeout(Duration::from_millis(250), callers.join_next()).await.is_err() {
            show(&bar, &lanes, begun);
        }
    }
    let elapsed = begun.elapsed();
    bar.finish_and_clear();
    let mut total = Tally::new()?;
    for lane in lanes {
        let lane = Arc::into_inner(lane).ok_or("a caller is still running")?;
        total.add(&lane.tally.into_inner().unwrap_or_else(PoisonError::into_inner))?;
    }
    Ok(total.summary(elapsed))
}

/// One caller of calls, until the time is over.
async fn call(lane: Arc<Lane>, path: PathAndQuery, mut writer: Writer, commands: usize) {
    let mut grpc = lane.grpc.clone();
    while Instant::now() < lane.until {
        let request = Request::new(writer.request(commands));
        let sent = Instant::now();
        let answer = match grpc.ready().await {
            Ok(()) => grpc.unary(request, path.clone(), BytesCodec::<Receipts>::new()).await,
            Err(error) => Err(Status::from_error(error.into())),
        };
        match answer {
            Ok(response) => lane.count(|tally| tally.answered(&response.get_ref().receipts, sent.elapsed())),
            Err(status) => {
                lane.count(|tally| match status.code() {
                    Code::ResourceExhausted => tally.refused(commands),
                    _ => tally.failed(commands, || status.to_string()),
                });
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One stream at a time, opened again when it breaks, until the time is over.
async fn stream(lane: Arc<Lane>, mut writer: Writer, commands: usize, in_flight: usize) {
    while Instant::now() < lane.until {
        let mut unanswered = VecDeque::new();
        if let Err(error) = one_stream(&lane, &mut writer, commands, in_flight, &mut unanswered).await {
            let lost = unanswered.iter().map(|(count, _)| count).sum();
            lane.count(|tally| tally.failed(lost, || error.to_string()));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// `unanswered` holds the receipts still owed to each message, and when it was sent.
async fn one_stream(
    lane: &Lane,
    writer: &mut Writer,
    commands: usize,
    in_flight: usize,
    unanswered: &mut VecDeque<(usize, Instant)>,
) -> Result<(), Failure> {
    let mut grpc = lane.grpc.clone();
    grpc.ready().await?;
    let (sender, receiver) = mpsc::channel(in_flight);
    let request = Request::new(ReceiverStream::new(receiver));
    let mut responses = grpc.streaming(request, stream_path(), BytesCodec::<Receipts>::new()).await?.into_inner();
    let mut sender = Some(sender);
    loop {
        while let Some(to) = &sender {
            if Instant::now() >= lane.until {
                sender = None;
            } else if unanswered.len() < in_flight {
                unanswered.push_back((commands, Instant::now()));
                to.send(writer.request(commands)).await?;
            } else {
                break;
            }
        }
        let Some(response) = responses.message().await? else {
            return if unanswered.is_empty() { Ok(()) } else { Err("the stream ended before its receipts".into()) };
        };
        let mut receipts = response.receipts.as_slice();
        while let Some((owed, sent)) = unanswered.front_mut().filter(|_| !receipts.is_empty()) {
            let (now, later) = receipts.split_at((*owed).min(receipts.len()));
            lane.count(|tally| tally.answered(now, sent.elapsed()));
            *owed -= now.len();
            if *owed == 0 {
                unanswered.pop_front();
            }
            receipts = later;
        }
    }
}

fn show(bar: &ProgressBar, lanes: &[Arc<Lane>], begun: Instant) {
    let mut commands = 0;
    for lane in lanes {
        lane.count(|tally| commands += tally.commands());
    }
    let rate = crate::tally::rate_per_s(commands, begun.elapsed());
    bar.set_message(format!("{} commands, {} a second", grouped(commands), grouped(rate)));
    bar.tick();
}

/// A seed that no other run has.
pub(crate) fn entropy() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
