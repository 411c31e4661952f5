//! Every bar that speaks of rate, latency, replay, disk, interference or overload, measured by one command: bar, figure and verdict.

mod batches;
mod disk;
mod figure;
mod hot;
mod idle;
mod interference;
mod keys;
mod overload;
mod pin;
mod restart;
mod room;
mod stream;
mod tool;
mod unary;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;

use self::figure::Figure;
use crate::Failure;
use crate::folder::machine::Machine;
use crate::process::Server;
use crate::run::{Load, drive};
use crate::stage::Stage;
use crate::tally::{Summary, grouped};

/// Rates are of so long, and of so long when they are only tried.
const SECONDS: u64 = 60;
const QUICK_SECONDS: u64 = 6;
/// Within the folder of kept books: those with the members alone.
const MEMBERS_BOOKS: &str = "members";
/// Within the stage: the copy that is worked on.
const COPY: &str = "copy";

/// `loadtest bars`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Measure only these.
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Name>,
    /// Short runs and one round of each, for trying: its figures say little.
    #[arg(long)]
    quick: bool,
    /// Members that the books hold before; the bars are for the default.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    members: u64,
    /// Keep the books with the members here, and those with the keys, and work on copies: filled once, used by every run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Name {
    /// Rates in batches of 4,000, 1,000, 8,000 and 100, and the tail that the load leaves.
    Batches,
    /// Rate through the bidirectional stream.
    Stream,
    /// Rate in single calls against the bare echo.
    Unary,
    /// Latency of one caller on an idle server against a sync.
    Idle,
    /// One campaign in every posting against a thousand.
    Hot,
    /// Rate after ten keys a member (100 million) against one.
    Keys,
    /// Latency with checkpoints and a snapshot against without.
    Interference,
    /// Start after a crash.
    Restart,
    /// Bytes of book a command.
    Disk,
    /// Three times as much load as fits.
    Overload,
}

/// What the measurements have in common.
#[derive(Debug)]
struct Ground {
    stage: Stage,
    /// The server's settings as they come.
    config: PathBuf,
    /// Where prepared books are kept.
    kept: PathBuf,
    /// How long a rate is measured.
    seconds: u64,
    quick: bool,
}

/// What a name came to.
struct Told {
    name: String,
    figures: Vec<Figure>,
    /// Filling and copying of books included.
    took_s: u64,
    /// Whether it came to its end.
    whole: bool,
}

/// Measures what is wanted and prints the table, whatever of it could be measured. What is missed is told there; only what could not be measured is
/// an error.
pub(crate) async fn bars(options: Options, json: bool) -> Result<(), Failure> {
    let stage = Stage::new(options.members)?;
    let ground = Ground {
        config: stage.config("server", None, "")?,
        kept: options.data.clone().unwrap_or_else(|| stage.path("kept")),
        seconds: if options.quick { QUICK_SECONDS } else { SECONDS },
        quick: options.quick,
        stage,
    };
    if let Some(data) = options.data.as_ref().filter(|data| !data.exists()) {
        eprintln!("{}: is not there yet; it is made, and its books are filled first", data.display());
    }
    let names: Vec<_> = if options.only.is_empty() { Name::value_variants().to_vec() } else { options.only.clone() };
    let mut told = Vec::new();
    for name in names {
        told.push(ground.one(name).await);
    }
    ground.print(&told, json);
    let missing: Vec<_> = told.iter().filter(|told| !told.whole).map(|told| told.name.as_str()).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not measured: {}", missing.join(", ")).into()) }
}

impl Name {
    /// As it is given to `--only`.
    fn title(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What is measured, in words.
    fn words(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default().trim_end_matches('.').to_owned()
    }

    /// For how many seconds the load goes on that one book takes, at its full rate. Small books do not count.
    fn load_s(self, ground: &Ground) -> u64 {
        match self {
            Self::Batches | Self::Stream | Self::Disk => ground.seconds,
            Self::Hot => 2 * (ground.seconds + ground.seconds.min(hot::WARM_UP_SECONDS)),
            Self::Interference => interference::full_seconds(ground.quick),
            Self::Overload => 2 * ground.seconds,
            // They ask by themselves, or write little.
            Self::Keys | Self::Unary | Self::Idle | Self::Restart => 0,
        }
    }
}

impl Ground {
    /// What a name comes to, told while it is measured.
    async fn one(&self, name: Name) -> Told {
        let (title, mut figures, begun) = (name.title(), Vec::new(), Instant::now());
        eprintln!("measuring: {title}");
        let ended = self.measure(name, &mut figures).await;
        let whole = ended.is_ok();
        if let Err(failure) = ended {
            figures.push(Figure::missing(name.words(), failure.to_string()));
        }
        figures.iter().for_each(|figure| eprintln!("  {figure}"));
        // It may be as large as the disk has room for.
        let _ = fs::remove_dir_all(self.stage.path(COPY));
        Told { name: title, figures, took_s: begun.elapsed().as_secs(), whole }
    }

    /// Adds the figures of a name as they become known.
    async fn measure(&self, name: Name, figures: &mut Vec<Figure>) -> Result<(), Failure> {
        room::memory(self.stage.members, 0)?;
        let members = self.stage.members * room::BYTES_A_MEMBER;
        let load = name.load_s(self) * room::COMMANDS_A_SECOND * room::BYTES_A_COMMAND;
        let filled = if self.members_folder().exists() { 0 } else { members };
        room::disk(&self.kept, &self.stage.path(""), filled, members + load)?;
        match name {
            Name::Batches => batches::measure(self, figures).await,
            Name::Stream => stream::measure(self, figures).await,
            Name::Unary => unary::measure(self, figures).await,
            Name::Idle => idle::measure(self, figures).await,
            Name::Hot => hot::measure(self, figures).await,
            Name::Keys => keys::measure(self, figures).await,
            Name::Interference => interference::measure(self, figures).await,
            Name::Restart => restart::measure(self, figures).await,
            Name::Disk => disk::measure(self, figures).await,
            Name::Overload => overload::measure(self, figures).await,
        }
    }

    /// How many alternating rounds there are where `rounds` make a figure.
    fn rounds(&self, rounds: u32) -> u32 {
        if self.quick { 1 } else { rounds }
    }

    /// The folder of the books with the members, for commands that have `--data`.
    fn members_folder(&self) -> PathBuf {
        self.kept.join(MEMBERS_BOOKS)
    }

    /// A copy of the books with the members.
    async fn copy(&self) -> Result<PathBuf, Failure> {
        let prepared = self.stage.prepared(Some(&self.members_folder()), &self.config).await?;
        self.stage.copy(&prepared, COPY).await
    }

    /// A server of such a copy, with these settings.
    async fn server(&self, config: &Path) -> Result<Server, Failure> {
        self.stage.serve(&self.copy().await?, config).await
    }

    /// This load on a server of a copy; every command must be answered, if only by a refusal for the time being.
    async fn rate(&self, load: &Load) -> Result<Summary, Failure> {
        let server = self.server(&self.config).await?;
        let summary = drive(&server.address, load).await?;
        summary.complaint()?;
        Ok(summary)
    }

    fn print(&self, told: &[Told], json: bool) {
        let (members, machine, took_s) =
            (self.stage.members, Machine::this(), told.iter().map(|told| told.took_s).sum());
        if json {
            let bars: Vec<_> =
                told.iter().flat_map(|of| of.figures.iter().map(|figure| figure.json(&of.name))).collect();
            let took: serde_json::Map<_, _> = told.iter().map(|of| (of.name.clone(), json!(of.took_s))).collect();
            let whole = json!({
                "machine": machine, "version": env!("CARGO_PKG_VERSION"), "members": members, "seconds": self.seconds,
                "quick": self.quick, "bars": bars, "took_s": took, "took_s_all": took_s,
            });
            println!("{whole}");
            return;
        }
        println!("{machine}");
        println!(
            "{} members, rates of {} s with checkpoints running, client and server on the same cores",
            grouped(members),
            self.seconds
        );
        if self.quick {
            println!("tried, not measured: the runs are short");
        }
        let figures = || told.iter().flat_map(|of| &of.figures);
        let width = figures().map(|figure| figure.what.chars().count()).max().unwrap_or_default();
        for Told { name, figures, took_s, .. } in told {
            println!("{name}, in {}", minutes(*took_s));
            figures.iter().for_each(|figure| println!("  {}", figure.line(width)));
        }
        println!("all in {}", minutes(took_s));
    }
}

/// How long the answers of a load took, and how many commands got none for the time being.
fn latencies(summary: &Summary) -> String {
    let mut note = format!("p50 {} us, p99 {} us", grouped(summary.p50_us), grouped(summary.p99_us));
    if summary.refused > 0 {
        note += &format!("; {} commands refused for the time being", grouped(summary.refused));
    }
    note
}

/// A span for people.
fn minutes(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

/// The one in the middle; of two the lower.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// `a` in thousandths of `b`.
fn permille(a: u64, b: u64) -> u64 {
    a.saturating_mul(1_000) / b.max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_name_can_be_asked_for_alone() {
        for name in Name::value_variants() {
            assert_eq!(Name::from_str(&name.title(), false).unwrap(), *name);
        }
        assert_eq!(Name::value_variants().len(), 10);
    }

    #[test]
    fn what_is_not_measured_is_told_in_words() {
        assert!(Name::value_variants().iter().all(|name| !name.words().is_empty() && !name.words().ends_with('.')));
        assert_eq!((minutes(59), minutes(125)), ("59 s".to_owned(), "2 min 5 s".to_owned()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_one_name_lacks_is_its_verdict_and_those_before_it_stay() {
        let stage = Stage::new(10_000_000_000).unwrap();
        let (config, kept) = (stage.path("none"), stage.path("kept"));
        let ground = Ground { config, kept, seconds: 1, quick: true, stage };
        let told = ground.one(Name::Idle).await;
        assert!(!told.whole && told.figures.len() == 1);
        let told = told.figures.first().unwrap().json("idle");
        assert_eq!(told["verdict"], "not measured");
        assert!(told["note"].as_str().unwrap().contains("of memory are missing"), "{told}");
    }

    #[test]
    fn thousandths_round_down() {
        assert_eq!((permille(849, 1_000), permille(2, 3), permille(5, 0)), (849, 666, 5_000));
        assert_eq!((median(vec![9, 1, 5]), median(vec![4, 2])), (5, 2));
    }
}
