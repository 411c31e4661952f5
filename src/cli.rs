//! The command line: what there is to say, and how every answer is shown. The commands themselves live in the modules.

mod audit;
mod backup;
mod bar;
mod campaign;
mod clock;
mod export;
mod import;
mod metrics;
mod out;
mod program;
mod receive;
mod remote;
mod reward;
mod rules;
mod snapshot;
mod verify;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use stampbook::config::ClockSetting;

/// The server refused what was asked.
const EXIT_REFUSED: u8 = 1;
/// What was asked makes no sense; the same code as for a command line that cannot be read.
const EXIT_BAD_INPUT: u8 = 2;
/// The book is damaged, or does not hold the head that it should extend.
const EXIT_DAMAGED: u8 = 3;
/// A file or a server could not be reached.
const EXIT_IO: u8 = 4;

/// A single-node loyalty points ledger.
#[derive(Parser)]
#[command(name = "stampbook", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a book over gRPC until SIGTERM.
    Serve(ServeArgs),
    /// Check, apply or show a program, or close its books up to an instant.
    #[command(subcommand)]
    Program(program::Program),
    /// Fund, pause, resume, close or list campaigns.
    #[command(subcommand)]
    Campaign(campaign::Campaign),
    /// Put rewards on offer, change or stock them, or list them.
    #[command(subcommand)]
    Reward(reward::Reward),
    /// Confirm a server's clock that has leapt ahead, or drive one that is driven by hand.
    #[command(subcommand)]
    Clock(clock::Clock),
    /// What a server measured of its write path since it was started: count, p50, p99 and max of each.
    Metrics(metrics::Metrics),
    /// Take, list, show or delete snapshots.
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// What an auditor asks a server: the roll-forward of a period, the trial balance by either time.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Move members in from another system: their opening balances, from a CSV file.
    Import(import::Import),
    /// Copy a book into a directory, while it is served or not; the next time only what is new.
    Backup(backup::Backup),
    /// Make a book of a backup, as it was at its end, at an op or at a time.
    Restore(backup::Restore),
    /// Write a snapshot's accounts and the events up to it as files for other programs.
    Export(export::Export),
    /// Prove a book that no server has open: every frame, the chain, every posting.
    Verify(verify::Verify),
}

#[derive(Args)]
struct ServeArgs {
    /// The directory of the book; created where there is none.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The address to listen on; port 0 takes a free one. The address is printed once requests are taken.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// A TOML file with limits and sizes.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which clock tells the time: system, or driven, which stands still until `stampbook clock drive`, for tests and replays.
    #[arg(long, value_name = "CLOCK")]
    clock: Option<ClockSetting>,
}

/// Where the server is and how to show its answers.
#[derive(Args)]
struct Server {
    /// The server's address, such as 127.0.0.1:7070.
    #[arg(long, value_name = "ADDR")]
    target: String,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// An answer, for people and for machines.
struct Shown {
    text: String,
    json: Value,
}

/// Why there is none.
#[derive(Debug)]
struct Failure {
    code: u8,
    text: String,
    json: Value,
}

impl Failure {
    /// A failure of which there is no more to tell than its text.
    fn plain(code: u8, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, json: serde_json::json!({ "error": text }), text }
    }
}

type Outcome = Result<Shown, Failure>;

/// Carries out a command line.
pub(crate) fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve(args) => stampbook::server::run(args.data, args.listen, args.config, args.clock),
        Command::Program(command) => show(command.json(), command.run()),
        Command::Campaign(command) => show(command.json(), command.run()),
        Command::Reward(command) => show(command.json(), command.run()),
        Command::Clock(command) => show(command.json(), command.run()),
        Command::Metrics(command) => show(command.json(), command.run()),
        Command::Snapshot(command) => show(command.json(), command.run()),
        Command::Audit(command) => show(command.json(), command.run()),
        Command::Import(command) => show(command.json(), command.run()),
        Command::Backup(command) => show(command.json, command.run()),
        Command::Restore(command) => show(command.json, command.run()),
        Command::Export(command) => show(command.json, command.run()),
        Command::Verify(command) => show(command.json, command.run()),
    }
}

/// Prints an outcome: answers, and everything under `--json`, to standard output, other failures to standard error.
fn show(as_json: bool, outcome: Outcome) -> ExitCode {
    let (code, text, json, failed) = match outcome {
        Ok(shown) => (0, shown.text, shown.json, false),
        Err(failure) => (failure.code, failure.text, failure.json, true),
    };
    let line = if as_json { json.to_string() } else { text.trim_end().to_owned() };
    let written =
        if failed && !as_json { writeln!(std::io::stderr(), "{line}") } else { writeln!(std::io::stdout(), "{line}") };
    // A reader that has gone away is no reason to change what the command came to, unless that was to be read.
    match written {
        Err(_) if code == 0 => ExitCode::from(EXIT_IO),
        _ => ExitCode::from(code),
    }
}
