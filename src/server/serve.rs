//! The server's life: open the book, listen, and go down without leaving a request unanswered.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt as _;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::account_service::Accounts;
use super::admin_service::Admin;
use super::admission::{Admission, AdmissionLayer, Method};
use super::audit_service::Audit;
use super::desk::Desk;
use super::fair::Fair;
use super::ledger_service::Ledger;
use super::ready_made::ledger_service_server::LedgerServiceServer;
use super::turns::Turns;
use crate::audit::room::SnapshotFiles;
use crate::config::{ClockSetting, Config, ConfigError};
use crate::constants::{
    MESSAGE_BYTES_MAX, REQUESTS_IN_FLIGHT_MAX, REQUESTS_PER_CONNECTION_MAX, RESETS_PER_CONNECTION_MAX, SNAPSHOTS_DIR,
    STORE_DIR,
};
use crate::engine::rooms::Rooms;
use crate::engine::{Engine, Handle, StartError};
use crate::io::real::{RealClock, RealDisk};
use crate::io::{Clock, Disk, DrivenClock};
use crate::journal::{JournalError, genesis_of};
use crate::proto::account_service_server::AccountServiceServer;
use crate::proto::admin_service_server::AdminServiceServer;
use crate::proto::audit_service_server::AuditServiceServer;
use crate::store::SledShelves;

/// The command line or the settings make no sense.
const EXIT_USAGE: u8 = 2;
/// The book is damaged.
const EXIT_DAMAGED: u8 = 3;
/// A disk or the network failed.
const EXIT_IO: u8 = 4;

/// From the signal to the end, all told.
const SHUTDOWN: Duration = Duration::from_millis(4_500);
/// Of that, for clients to end their calls by themselves, before the engine takes no more.
const SHUTDOWN_POLITE: Duration = Duration::from_millis(2_500);

/// What HTTP/2 lets a client send of one call before it is read: a batch of the greatest number of plain commands.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for all calls of one connection: what may lie in the server of it before it is counted.
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Larger frames cost a batch less.
const HTTP_FRAME_BYTES: u32 = 256 * 1024;
/// A client that is gone without a word is found out after this long.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why a server did not come up, or ended otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The book cannot be served.
    #[error(transparent)]
    Book(#[from] StartError),
    /// The directory, the address or the runtime is not to be had.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// The service descriptions that reflection shows cannot be read.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl ServeError {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => EXIT_USAGE,
            Self::Book(StartError::Journal(error)) => match error {
                JournalError::Options(_) => EXIT_USAGE,
                JournalError::Io { .. } | JournalError::Full { .. } | JournalError::Locked => EXIT_IO,
                _ => EXIT_DAMAGED,
            },
            Self::Book(StartError::BookGone) => EXIT_DAMAGED,
            Self::Book(_) | Self::Io(..) | Self::Reflection(_) => EXIT_IO,
        }
    }
}

/// How a server ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to, every admitted request answered.
    Stopped,
    /// A write or sync failed. Nothing was answered since; the process is to end at once.
    JournalFailed(String),
    /// The listener failed.
    ListenerFailed(String),
}

/// A server that is up.
pub struct Running {
    address: SocketAddr,
    engine: Engine,
    health: HealthReporter,
    stop: watch::Sender<bool>,
    listener: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// Opens the book in `data`, replays it, and listens on `listen`.
///
/// # Errors
/// [`ServeError`]; nothing was served then.
pub async fn start(data: &Path, listen: SocketAddr, config: &Config) -> Result<Running, ServeError> {
    let disk =
        RealDisk::open(data).map_err(|error| ServeError::Io(format!("cannot open {}", data.display()), error))?;
    // Folders beside what is no book yet would keep the restore from being run again.
    if let Err(error @ JournalError::NotRestored) = genesis_of(&disk) {
        return Err(StartError::from(error).into());
    }
    let beside = |name: &str| {
        let path = data.join(name);
        RealDisk::open(&path).map_err(|error| ServeError::Io(format!("cannot open {}", path.display()), error))
    };
    let snapshots_disk: Arc<dyn Disk> = Arc::new(beside(SNAPSHOTS_DIR)?);
    beside(STORE_DIR)?;
    let rooms = Rooms {
        shelves: Arc::new(SledShelves::new(data.join(STORE_DIR))),
        snapshots: Arc::new(SnapshotFiles::new(Arc::clone(&snapshots_disk))),
        snapshots_disk,
    };
    let clock = clock_of(&disk, config)?;
    start_in(Arc::new(disk), clock, listen, config, Some(rooms)).await
}

/// The clock that the settings name.
fn clock_of(disk: &dyn Disk, config: &Config) -> Result<Arc<dyn Clock>, ServeError> {
    if config.clock == ClockSetting::System {
        return Ok(Arc::new(RealClock::new()));
    }
    tracing::warn!(
        "THE CLOCK IS DRIVEN BY HAND: times in this book are not when things happened, and a leap is not noticed; never serve a \
         book that counts so"
    );
    // The engine drives it on to the newest event.
    let start_us = match genesis_of(disk).map_err(StartError::from)? {
        Some(genesis) => genesis.created_at_us,
        None => config.driven_start_us()?,
    };
    Ok(Arc::new(DrivenClock::new(start_us)))
}

/// The same on any disk and clock, with the store in memory and without snapshots.
///
/// # Errors
/// [`ServeError`]; nothing was served then.
pub async fn start_on(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    listen: SocketAddr,
    config: &Config,
) -> Result<Running, ServeError> {
    start_in(disk, clock, listen, config, None).await
}

async fn start_in(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    listen: SocketAddr,
    config: &Config,
    rooms: Option<Rooms>,
) -> Result<Running, ServeError> {
    let engine_config = config.engine(rooms);
    tracing::info!("opening the book");
    let opened = tokio::task::spawn_blocking(move || Engine::start(disk, clock, &engine_config));
    let engine = opened.await.map_err(|error| ServeError::Io("the start broke off".to_owned(), error.into()))??;
    let (recovery, started) = (engine.recovery(), engine.started());
    tracing::info!(?recovery, "the book is open");
    tracing::info!(
        checkpoint_op = started.checkpoint_op,
        members = started.members,
        replayed = started.replayed,
        per_second = started.replayed_per_second(),
        open = ?started.open,
        load = ?started.load,
        replay = ?started.replay,
        rehome = ?started.rehome,
        "the state is at the end of the book"
    );
    // Only now: before, a client would wait for an answer where it should look for another server.
    let bound = TcpListener::bind(listen).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            // Its threads end with it, and the book with a witness; a failure of that changes nothing here.
            let _ = tokio::task::spawn_blocking(move || engine.shut_down()).await;
            return Err(ServeError::Io(format!("cannot listen on {listen}"), error));
        }
    };
    let (stop, stopping) = watch::channel(false);
    let (health, router) = router(engine.handle(), config, stopping.clone()).await?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).map(|accepted| accepted.map(Fair::new));
    let listener = tokio::spawn(router.serve_with_incoming_shutdown(incoming, stopped(stopping)));
    Ok(Running { address, engine, health, stop, listener })
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone is as good as a word.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

type Layered = tower::layer::util::Stack<AdmissionLayer, tower::layer::util::Identity>;

async fn router(
    handle: Handle,
    config: &Config,
    stopping: watch::Receiver<bool>,
) -> Result<(HealthReporter, Router<Layered>), ServeError> {
    let desk = Desk::new(handle.clone());
    let turns = Arc::new(Turns::new(config.worker_threads));
    let ledger = LedgerServiceServer::new(Ledger::new(desk.clone(), Arc::clone(&turns), stopping.clone()));
    let accounts = AccountServiceServer::new(Accounts::new(desk.clone()));
    let admin = AdminServiceServer::new(Admin::new(desk.clone()));
    let audit = Audit::new(desk, stopping);
    tokio::spawn(audit.clone().sweep());
    let audit = AuditServiceServer::new(audit);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<LedgerServiceServer<Ledger>>().await;
    health.set_serving::<AccountServiceServer<Accounts>>().await;
    health.set_serving::<AdminServiceServer<Admin>>().await;
    health.set_serving::<AuditServiceServer<Audit>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(crate::proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let overloaded = move |method| match method {
        Method::Batch => handle.overloaded(turns.wait_us()),
        _ => handle.overloaded(0),
    };
    let admission = Admission::new(config.in_flight_bytes_max, REQUESTS_IN_FLIGHT_MAX);
    let router = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP_FRAME_BYTES)
        .max_concurrent_streams(REQUESTS_PER_CONNECTION_MAX)
        .http2_max_pending_accept_reset_streams(Some(RESETS_PER_CONNECTION_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .layer(AdmissionLayer::new(admission, overloaded))
        .add_service(ledger.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(accounts.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(admin.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(audit.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok((health, router))
}

impl Running {
    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The way into the engine.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.engine.handle()
    }

    /// Serves until `stop` resolves, then goes down: no new connections, every admitted request answered, within five
    /// seconds. Ends at once when the journal fails, or the listener.
    pub async fn until(mut self, stop: impl Future<Output = ()>) -> Ended {
        let mut failed = self.engine.failed();
        let failure = async move {
            match failed.wait_for(Option::is_some).await.map(|why| why.clone()) {
                Ok(why) => why.unwrap_or_default(),
                // The engine says so before it ends for any other reason than being told to.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::pin!(failure);
        tokio::select! {
            biased;
            why = &mut failure => return Ended::JournalFailed(why),
            ended = &mut self.listener => return Ended::ListenerFailed(format!("{ended:?}")),
            () = stop => {}
        }
        tokio::select! {
            biased;
            why = failure => Ended::JournalFailed(why),
            () = self.go_down() => Ended::Stopped,
        }
    }

    async fn go_down(self) {
        let Self { engine, health, stop, mut listener, .. } = self;
        tracing::info!("going down");
        let begun = Instant::now();
        // The empty name stands for the whole server.
        health.set_service_status("", ServingStatus::NotServing).await;
        health.set_not_serving::<LedgerServiceServer<Ledger>>().await;
        health.set_not_serving::<AccountServiceServer<Accounts>>().await;
        health.set_not_serving::<AdminServiceServer<Admin>>().await;
        health.set_not_serving::<AuditServiceServer<Audit>>().await;
        stop.send_replace(true);
        let polite = timeout_at(begun + SHUTDOWN_POLITE, &mut listener).await;
        // From here on the engine refuses; whatever it has taken, it answers.
        let drained = timeout_at(begun + SHUTDOWN, tokio::task::spawn_blocking(move || engine.shut_down())).await;
        if drained.is_err() {
            tracing::warn!("the engine did not come to its end in time; unanswered requests have an unknown outcome");
        }
        if polite.is_err() && timeout_at(begun + SHUTDOWN, listener).await.is_err() {
            tracing::warn!("some clients kept their connections open to the last");
        }
        tracing::info!(after = ?begun.elapsed(), "down");
    }
}

/// `stampbook serve`: runs until SIGTERM or SIGINT and says how it ended in the exit code: 0, 2 for settings that make no
/// sense, 3 for a damaged book, 4 where a disk or the network failed. `clock` goes before what the settings say.
#[must_use]
pub fn run(data: PathBuf, listen: SocketAddr, config: Option<PathBuf>, clock: Option<ClockSetting>) -> ExitCode {
    log_to_stderr();
    match serve(&data, listen, config.as_deref(), clock) {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::JournalFailed(_)) => ExitCode::from(EXIT_IO),
        Ok(Ended::ListenerFailed(why)) => {
            tracing::error!(%why, "the listener failed");
            ExitCode::from(EXIT_IO)
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(
    data: &Path,
    listen: SocketAddr,
    config: Option<&Path>,
    clock: Option<ClockSetting>,
) -> Result<Ended, ServeError> {
    let mut config = Config::load(config)?;
    config.clock = clock.unwrap_or(config.clock);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .enable_all()
        .build()
        .map_err(|error| ServeError::Io("no runtime".to_owned(), error))?;
    let ended = runtime.block_on(async {
        let told = told_to_stop().map_err(|error| ServeError::Io("no signals".to_owned(), error))?;
        tokio::pin!(told);
        // A book may take minutes to replay; whoever loses patience is heard. Nothing was served, so nothing is lost.
        let running = tokio::select! {
            biased;
            () = &mut told => {
                tracing::info!("told to stop before the book was open");
                return Ok(Ended::Stopped);
            }
            running = start(data, listen, &config) => running?,
        };
        let mut stdout = std::io::stdout();
        // Whoever started us may not want to know the address.
        let _ = writeln!(stdout, "listening on {}", running.address()).and_then(|()| stdout.flush());
        Ok(running.until(told).await)
    });
    if let Ok(Ended::JournalFailed(why)) = &ended {
        tracing::error!(%why, "the book cannot be written; nothing more is answered; restart to recover");
        // At once and without destructors: a request whose outcome nobody knows is told nothing.
        std::process::exit(i32::from(EXIT_IO));
    }
    // Neither waits for clients that keep connections open, nor for reads of the book that nobody awaits.
    runtime.shutdown_background();
    ended
}

/// Resolves on the first SIGTERM or SIGINT.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A subscriber that is there already is the caller's choice.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
