//! A campaign night: clients of three kinds post purchases and redemptions while a campaign doubles the points; in the middle of it
//! the server is killed. Afterwards every acknowledged command must be in the books exactly once.

mod check;
mod handover;
mod night;
mod traffic;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::check::Findings;
use self::handover::Handover;
use self::night::Night;
use self::traffic::Shared;
use crate::clients::{Client, Latencies};
use crate::process::{Server, serve, stampbook, verify};
use crate::tally::{Tally, grouped, rate_per_s};
use crate::{Failure, client, program, tools};

/// Points for the campaign: more than the night awards.
const BUDGET: i64 = 500_000_000;
/// Callers of single commands, a connection each.
const UNARY_CALLERS: usize = 32;

/// `loadtest demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Commands of the night.
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000))]
    commands: u32,
    /// Members.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    members: u64,
    /// Seed of the night.
    #[arg(long, default_value_t = 11)]
    seed: u64,
    /// Where the export at the end goes, and stays; without it a new temporary folder.
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
}

/// What the posting itself took.
#[derive(Debug)]
pub(crate) struct Posted {
    elapsed: Duration,
    away: Duration,
    acknowledged_at_kill: usize,
    resent: usize,
    found: usize,
    latencies: Vec<(&'static str, Tally)>,
}

/// Runs the night on a temporary directory and prints what it found.
pub(crate) async fn demo(options: Options, json: bool) -> Result<(), Failure> {
    let night = Night { seed: options.seed, commands: usize::try_from(options.commands)?, members: options.members };
    eprintln!("building the server, if need be");
    let binary = stampbook()?;
    let folder = tempfile::Builder::new().prefix("stampbook-demo-").tempdir()?;
    let data = folder.path().join("data");
    let mut server = serve(&binary, &data, None)?;
    eprintln!("a server listens on {}, its books are in {}", server.address, data.display());
    let channel = client::connect(&server.address).await?;
    program::NIGHT.set_up(channel, BUDGET).await?;
    eprintln!("1 point per yuan; from 20:00 to midnight double points, from a budget of {}", grouped(BUDGET));
    let bar = ProgressBar::new(u64::from(options.commands));
    bar.set_style(ProgressStyle::with_template("{msg:>10} {bar:40} {human_pos}/{human_len} {per_sec}")?);
    bar.set_message("posting");
    bar.enable_steady_tick(Duration::from_millis(100));
    let (moved, address) = watch::channel(server.address.clone());
    let shared = Arc::new(Shared::new(night, address, bar.clone()));
    let posted = post(&shared, &mut server, &moved, &binary, &data).await?;
    bar.set_message("checking");
    let mut findings = check::online(&shared, &server.address).await?;
    bar.finish_and_clear();
    let handover = if tools::SNAPSHOTS {
        Some(Handover::take(&binary, &server.address, options.export.as_deref())?)
    } else {
        None
    };
    findings.ends_at = handover.as_ref().map_or(findings.op, |handover| handover.op);
    server.terminate()?;
    findings.verified = verify(&binary, &data)?;
    if let Some(handover) = &handover {
        handover.export(&binary, &data)?;
    }
    report(&shared, &posted, &findings, json)?;
    match handover {
        Some(handover) if !json => handover.print(),
        _ => Ok(()),
    }
}

/// Starts all clients, kills the server in the middle, starts it again and waits until every command is answered.
async fn post(
    shared: &Arc<Shared>,
    server: &mut Server,
    moved: &watch::Sender<String>,
    binary: &Path,
    data: &Path,
) -> Result<Posted, Failure> {
    let begun = Instant::now();
    let mut latencies: Vec<(&'static str, Latencies)> = Vec::new();
    for kind in ["single", "batches", "stream"] {
        latencies.push((kind, Arc::new(Mutex::new(Tally::new()?))));
    }
    let mut clients = JoinSet::new();
    for (kind, tally) in &latencies {
        let client = || Client::new(Arc::clone(shared), Arc::clone(tally));
        match *kind {
            "single" => (0..UNARY_CALLERS).for_each(|_| {
                clients.spawn(client().post_each());
            }),
            "batches" => {
                clients.spawn(client().post_batches());
            }
            _ => {
                clients.spawn(client().post_stream());
            }
        }
    }
    let half = shared.night.commands * 45 / 100;
    while shared.answered.load(Ordering::Relaxed) < half {
        tokio::time::sleep(Duration::from_millis(1)).await;
        while let Some(ended) = clients.try_join_next() {
            ended??;
        }
    }
    server.kill()?;
    let acknowledged_at_kill = shared.answered.load(Ordering::Relaxed);
    let killed = Instant::now();
    let told = format!("kill -9 after {} acknowledged commands", grouped(acknowledged_at_kill));
    shared.bar.suspend(|| eprintln!("{told}"));
    let (binary, data): (PathBuf, PathBuf) = (binary.to_owned(), data.to_owned());
    *server = tokio::task::spawn_blocking(move || serve(&binary, &data, None)).await??;
    let away = killed.elapsed();
    shared.bar.suspend(|| eprintln!("started again on {} within {} ms", server.address, away.as_millis()));
    moved.send_replace(server.address.clone());
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let mut tallies = Vec::new();
    for (kind, tally) in latencies {
        let tally = Arc::into_inner(tally).ok_or("a client is still running")?;
        tallies.push((kind, tally.into_inner().unwrap_or_else(PoisonError::into_inner)));
    }
    Ok(Posted {
        elapsed: begun.elapsed(),
        away,
        acknowledged_at_kill,
        resent: shared.resent.load(Ordering::Relaxed),
        found: shared.found.load(Ordering::Relaxed),
        latencies: tallies,
    })
}

fn report(shared: &Shared, posted: &Posted, findings: &Findings, json: bool) -> Result<(), Failure> {
    let commands = u64::try_from(shared.night.commands)?;
    let posting = posted.elapsed.saturating_sub(posted.away);
    let rate = rate_per_s(commands, posting);
    let summaries: Vec<_> = posted.latencies.iter().map(|(kind, tally)| (*kind, tally.summary(posting))).collect();
    if json {
        let clients: serde_json::Map<_, _> =
            summaries.iter().map(|(kind, summary)| ((*kind).to_owned(), serde_json::json!(summary))).collect();
        let line = serde_json::json!({
            "commands": commands,
            "rate_per_s": rate,
            "acknowledged_at_kill": posted.acknowledged_at_kill,
            "away_ms": u64::try_from(posted.away.as_millis())?,
            "resent": posted.resent,
            "found_in_the_books": posted.found,
            "lost": findings.lost,
            "twice": findings.twice,
            "clients": clients,
            "campaign": { "funded": findings.funded, "left": findings.left, "awarded": findings.awarded_by_campaign },
            "verify": findings.verified,
        });
        println!("{line}");
    } else {
        println!("\n{} commands answered, {} a second while the server was up", grouped(commands), grouped(rate));
        for (kind, summary) in &summaries {
            println!("  {kind:<8} {}", summary.latencies());
        }
        println!(
            "  {} commands had no answer when the server died and were sent again; {} of them were in the books already",
            grouped(posted.resent),
            grouped(posted.found)
        );
        findings.print();
    }
    findings.verdict()
}
