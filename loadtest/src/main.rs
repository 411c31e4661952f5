//! Campaign traffic for a Stampbook server: a demonstration, a replay of recorded trade, load, crashes and measurements.

mod bars;
mod client;
mod clients;
mod crash;
mod demo;
mod drive;
mod echo;
mod folder;
mod log;
mod lots;
mod memory;
mod open;
mod peers;
mod process;
mod program;
mod record;
mod replay;
mod report;
mod restart;
mod rng;
mod run;
mod scenario;
mod stage;
mod tally;
mod tools;
mod trace;
mod wire;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What goes wrong here is told to a person and ends the program.
type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "loadtest", version, about = "Campaign traffic for a Stampbook server")]
struct Arguments {
    /// End with one line of JSON on standard output instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A campaign night on a server of its own, killed in the middle of it; everything acknowledged must be there afterwards.
    Demo(demo::Options),
    /// Make an anonymised trace of a book, for `replay`.
    Record(record::Options),
    /// Repeat a trace of `record` on fresh servers and hold the end against a model, or post recorded trade.
    Replay(replay::Options),
    /// Live through a recorded trace on a server of its own with a driven clock, points lapsing and being spent, and tell where every point is.
    Trace(trace::Options),
    /// Closed-loop load on a running server.
    Run(run::Options),
    /// Open-loop load at a constant rate on a server of its own, also with and without checkpoints in turn.
    Open(open::Options),
    /// Open-loop load from a scenario file, recorded in a folder.
    Scenario(scenario::Options),
    /// Millions of lots lapse at once and are swept under open-loop load, in turn with the same load alone.
    Sweep(open::SweepOptions),
    /// The most memory that a server of its own takes, through a checkpoint and a snapshot under load.
    Memory(memory::Options),
    /// How long a server of its own takes to start after a kill under load with a long tail and cold files.
    Restart(restart::Options),
    /// Show a run that `scenario` or `open` recorded, perhaps beside another, as one HTML page.
    Report(report::Options),
    /// Kill a server of its own again and again under mixed load, and hold the books against everything that was acknowledged.
    Crash(crash::Options),
    /// The same commands against Stampbook, PostgreSQL and Redis, each durable, in alternating runs.
    Peers(peers::Options),
    /// Measure every bar of rate, latency, replay, disk, interference and overload, and say which are reached.
    Bars(bars::Options),
    /// The same load on a bare echo of the same messages: the ceiling for `run`.
    Echo(echo::Options),
    /// The echo itself; `echo` starts it.
    #[command(hide = true)]
    EchoServer,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            // Whoever is interrupted drops what it started, servers included.
            tokio::select! {
                done = run(arguments.command, arguments.json) => done,
                Ok(()) = tokio::signal::ctrl_c() => Err("interrupted".into()),
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("loadtest: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Demo(options) => demo::demo(options, json).await,
        Command::Record(options) => record::record(options, json).await,
        Command::Replay(options) => replay::replay(options, json).await,
        Command::Trace(options) => trace::trace(options, json).await,
        Command::Run(options) => run::run(options, json).await,
        Command::Open(options) => open::open(options, json).await,
        Command::Scenario(options) => scenario::scenario(options, json).await,
        Command::Sweep(options) => open::sweep(options, json).await,
        Command::Memory(options) => memory::memory(options, json).await,
        Command::Restart(options) => restart::restart(options, json).await,
        Command::Report(options) => report::report(&options, json),
        Command::Crash(options) => crash::crash(options, json).await,
        Command::Peers(options) => peers::peers(options, json).await,
        Command::Bars(options) => bars::bars(options, json).await,
        Command::Echo(options) => echo::echo(options, json).await,
        Command::EchoServer => echo::serve().await,
    }
}
