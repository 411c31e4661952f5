//! The server and the tools around it.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// The tables of members and keys are read at random, and most of such a read is finding the page: this one asks the system
/// for huge pages. What the network's threads take and give back with each request costs them less, too.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
