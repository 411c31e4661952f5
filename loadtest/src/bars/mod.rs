//! Every bar that speaks of rate, latency, replay, disk or interference, measured by one command: bar, figure and verdict.

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
mod stream;
mod tool;
mod unary;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use self::figure::Figure;
use crate::Failure;
use crate::process::Server;
use crate::run::{Load, drive};
use crate::stage::Stage;
use crate::tally::{Summary, grouped};

/// Rates are of so long, and of so long when they are only tried.
const SECONDS: u64 = 60;
const QUICK_SECONDS: u64 = 6;
/// Within the folder of kept books: those with the members alone.
const MEMBERS_BOOKS: &str = "members";

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
    /// Rate after 100 million keys against none.
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

/// Measures what is wanted and prints the table. What is missed is told there; only what could not be measured is an error.
pub(crate) async fn bars(options: Options, json: bool) -> Result<(), Failure> {
    let stage = Stage::new(options.members)?;
    let ground = Ground {
        config: stage.config("server", None, "")?,
        kept: options.data.clone().unwrap_or_else(|| stage.path("kept")),
        seconds: if options.quick { QUICK_SECONDS } else { SECONDS },
        quick: options.quick,
        stage,
    };
    let names: Vec<_> = if options.only.is_empty() { Name::value_variants().to_vec() } else { options.only.clone() };
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        let title = name.title();
        eprintln!("measuring: {title}");
        match ground.measure(name).await {
            Ok(measured) => {
                measured.iter().for_each(|figure| eprintln!("  {figure}"));
                figures.extend(measured.into_iter().map(|figure| (title.clone(), figure)));
            }
            Err(failure) => {
                eprintln!("  not measured: {failure}");
                failed.push((title, failure.to_string()));
            }
        }
    }
    ground.print(&figures, &failed, json);
    match failed.first() {
        None => Ok(()),
        Some((title, failure)) => Err(format!("{} not measured, the first: {title}: {failure}", failed.len()).into()),
    }
}

impl Name {
    /// As it is given to `--only`.
    fn title(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl Ground {
    async fn measure(&self, name: Name) -> Result<Vec<Figure>, Failure> {
        match name {
            Name::Batches => batches::measure(self).await,
            Name::Stream => stream::measure(self).await,
            Name::Unary => unary::measure(self).await,
            Name::Idle => idle::measure(self).await,
            Name::Hot => hot::measure(self).await,
            Name::Keys => keys::measure(self).await,
            Name::Interference => interference::measure(self).await,
            Name::Restart => restart::measure(self).await,
            Name::Disk => disk::measure(self).await,
            Name::Overload => overload::measure(self).await,
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
        self.stage.copy(&prepared, "copy").await
    }

    /// A server of such a copy, with these settings.
    async fn server(&self, config: &Path) -> Result<Server, Failure> {
        self.stage.serve(&self.copy().await?, config).await
    }

    /// This load on a server of a copy; every command must be answered.
    async fn rate(&self, load: &Load) -> Result<Summary, Failure> {
        let server = self.server(&self.config).await?;
        let summary = drive(&server.address, load).await?;
        summary.complaint()?;
        Ok(summary)
    }

    fn print(&self, figures: &[(String, Figure)], failed: &[(String, String)], json: bool) {
        let members = self.stage.members;
        if json {
            let told: Vec<_> = figures.iter().map(|(name, figure)| figure.json(name)).collect();
            let failed: Vec<_> = failed.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect();
            let whole = json!({
                "members": members, "seconds": self.seconds, "quick": self.quick, "bars": told, "not_measured": failed,
            });
            println!("{whole}");
            return;
        }
        println!("{} members, rates of {} s with checkpoints running", grouped(members), self.seconds);
        if self.quick {
            println!("tried, not measured: the runs are short");
        }
        let width = figures.iter().map(|(_, figure)| figure.what.chars().count()).max().unwrap_or_default();
        figures.iter().for_each(|(name, figure)| println!("{name:<13} {}", figure.line(width)));
        failed.iter().for_each(|(name, why)| println!("{name:<13} not measured: {why}"));
    }
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
    fn thousandths_round_down() {
        assert_eq!((permille(849, 1_000), permille(2, 3), permille(5, 0)), (849, 666, 5_000));
        assert_eq!((median(vec![9, 1, 5]), median(vec![4, 2])), (5, 2));
    }
}
