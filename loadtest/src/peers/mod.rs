//! The same commands against Stampbook, PostgreSQL and Redis: each durable before it is answered, in alternating runs on fresh books with as many
//! members, each run's books held against what was sent.

mod daemon;
pub(crate) mod drive;
mod postgres;
mod redis;
mod stampbook;
mod table;
mod totals;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;

use self::daemon::{find, folders};
use self::drive::{Caller, Driven, commands_of, drive};
use self::postgres::Postgres;
use self::redis::Redis;
use self::stampbook::Stampbook;
use self::table::Table;
use self::totals::Totals;
use crate::Failure;
use crate::run::entropy;
use crate::stage::Stage;

/// `loadtest peers`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How long each run lasts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// So many runs of each kind on each store, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Members that the books of each store hold before, each as likely as the other.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    members: u64,
}

/// What keeps account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Stampbook,
    Postgres,
    Redis,
}

impl Peer {
    const ALL: [Self; 3] = [Self::Stampbook, Self::Postgres, Self::Redis];

    fn name(self) -> &'static str {
        match self {
            Self::Stampbook => "Stampbook",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        }
    }

    /// The Debian package, and the programs of it that are started.
    fn needs(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Stampbook => ("", &[]),
            Self::Postgres => ("postgresql", &["initdb", "postgres"]),
            Self::Redis => ("redis-server", &["redis-server"]),
        }
    }

    /// The first of its programs that is in none of these folders, told with its package.
    fn missing(self, folders: &[PathBuf]) -> Option<String> {
        let (package, programs) = self.needs();
        let program = programs.iter().find(|program| find(folders, program).is_none())?;
        Some(format!("{} is not measured: there is no {program} (Debian package {package})", self.name()))
    }

    fn program(self, folders: &[PathBuf], name: &str) -> Result<PathBuf, Failure> {
        find(folders, name).ok_or_else(|| self.missing(folders).unwrap_or_default().into())
    }

    /// What the server calls itself.
    fn version(self, folders: &[PathBuf]) -> Option<String> {
        match self {
            Self::Stampbook => Some(concat!("stampbook ", env!("CARGO_PKG_VERSION")).to_owned()),
            Self::Postgres => Postgres::version(folders),
            Self::Redis => Redis::version(folders),
        }
    }

    /// How the server was set up to be durable, and how commands reach it.
    fn settings(self) -> String {
        let told = |settings: &[(&str, &str)]| -> String {
            let words: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            words.join(" ")
        };
        match self {
            Self::Stampbook => "as it comes, checkpoints running; gRPC".to_owned(),
            Self::Postgres => format!("{}; {}", told(&postgres::SETTINGS), postgres::HOW),
            Self::Redis => format!("{}; {}", told(&redis::SETTINGS), redis::HOW),
        }
    }
}

/// The first line that a program says when it is asked this.
fn said(program: &Path, asked: &str) -> Option<String> {
    let output = Command::new(program).arg(asked).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

/// A way to send commands. All stores get as many connections, each with as many requests under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    name: &'static str,
    connections: u64,
    in_flight: u64,
    batched: bool,
}

/// One at a time from one, 8 and 64 callers, and many at a time.
const FORMS: [Form; 4] = [
    Form { name: "batched", connections: 4, in_flight: 2, batched: true },
    Form { name: "one by one, 1 caller", connections: 1, in_flight: 1, batched: false },
    Form { name: "one by one, 8 callers", connections: 8, in_flight: 1, batched: false },
    Form { name: "one by one, 64 callers", connections: 64, in_flight: 1, batched: false },
];

impl Form {
    /// Commands of a request: for each store what serves it best.
    fn batch(self, peer: Peer) -> usize {
        match peer {
            _ if !self.batched => 1,
            Peer::Stampbook | Peer::Postgres => 1_000,
            Peer::Redis => 256,
        }
    }
}

/// Books of a store, and what posts to them.
trait Store: Sized {
    /// One of the callers.
    type Caller: Caller;

    /// So many callers on each of so many connections.
    async fn callers(&mut self, connections: u64, in_flight: u64) -> Result<Vec<Self::Caller>, Failure>;

    /// How often a call did nothing and was sent again.
    fn retries(&self) -> u64 {
        0
    }

    /// What the books come to now.
    async fn totals(&mut self) -> Result<Totals, Failure>;
}

/// What a run is put on.
struct Ground {
    stage: Stage,
    folders: Vec<PathBuf>,
    lasts: Duration,
}

/// Measures every store that is installed, in turn, and prints rates and ratios.
pub(crate) async fn peers(options: Options, json: bool) -> Result<(), Failure> {
    let folders = folders();
    let missing: Vec<_> = Peer::ALL.iter().filter_map(|peer| peer.missing(&folders)).collect();
    let peers: Vec<_> = Peer::ALL.into_iter().filter(|peer| peer.missing(&folders).is_none()).collect();
    missing.iter().for_each(|line| eprintln!("{line}"));
    let versions = peers.iter().map(|peer| peer.version(&folders).unwrap_or_default()).collect();
    let ground = Ground { stage: Stage::new(options.members)?, folders, lasts: Duration::from_secs(options.seconds) };
    let mut table = Table::new(&options, peers.clone(), versions, missing)?;
    let seed = entropy();
    for round in 0..options.rounds {
        for (number, form) in FORMS.iter().enumerate() {
            // Who goes first changes, so that a machine that slows down or warms up favours none.
            let first = usize::from(round) % peers.len().max(1);
            for (at, peer) in peers.iter().enumerate().cycle().skip(first).take(peers.len()) {
                let driven = ground.one(*peer, *form, seed ^ u64::from(round)).await?;
                eprintln!("round {}: {}, {}: {}", round + 1, form.name, peer.name(), table::rate_of(&driven));
                table.add(number, at, driven)?;
            }
        }
    }
    table.print(json)
}

impl Ground {
    /// One run on fresh books.
    async fn one(&self, peer: Peer, form: Form, seed: u64) -> Result<Driven, Failure> {
        let members = self.stage.members;
        let driven = match peer {
            Peer::Stampbook => self.run(Stampbook::open(&self.stage).await?, form, form.batch(peer), seed).await,
            Peer::Postgres => {
                self.run(Postgres::open(&self.folders, members).await?, form, form.batch(peer), seed).await
            }
            Peer::Redis => self.run(Redis::open(&self.folders, members).await?, form, form.batch(peer), seed).await,
        };
        driven.map_err(|failure| format!("{}, {}: {failure}", peer.name(), form.name).into())
    }

    async fn run(&self, mut store: impl Store, form: Form, batch: usize, seed: u64) -> Result<Driven, Failure> {
        let before = store.totals().await?;
        let callers = store.callers(form.connections, form.in_flight).await?;
        let lanes = callers
            .into_iter()
            .zip(0..)
            .map(|(caller, lane)| Ok::<_, Failure>((caller, commands_of(seed, lane, self.stage.members)?)));
        let driven = drive(lanes.collect::<Result<_, _>>()?, batch, self.lasts).await?;
        store.totals().await?.hold(&before, &driven.sent)?;
        Ok(Driven { retries: store.retries(), ..driven })
    }
}

#[cfg(test)]
mod tests;
