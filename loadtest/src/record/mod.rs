//! `loadtest record` makes an anonymised trace of a book, and `loadtest replay` repeats it on fresh servers and holds the end against
//! a model. What stands in a trace is in `TRACE.md`.

mod action;
mod alias;
mod definition;
mod entry;
pub(crate) mod file;
mod judge;
pub(crate) mod replay;
mod send;
mod state;
mod tell;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use stampbook::io::RealDisk;
use stampbook::journal::{self, JournalError};
use stampbook::ledger::Moment;
use stampbook::ledger::ids::Op;
use stampbook::ledger::print::Prints;

use self::entry::{End, Total};
use self::file::Writer;
use self::state::State;
use self::tell::Recorder;
use crate::Failure;
use crate::tally::{grouped, rate_per_s};

/// Events between two words on progress.
const PROGRESS_EVENTS: u64 = 10_000;

/// `loadtest record`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The books: the data directory of a server that is stopped.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The trace, a file that is not there yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What was recorded.
#[derive(Debug, Serialize)]
struct Report {
    entries: u64,
    events: u64,
    members: u64,
    bytes: u64,
    state: String,
    elapsed_ms: u64,
}

/// Records a book, and removes a trace that could not be finished.
pub(crate) async fn record(options: Options, json: bool) -> Result<(), Failure> {
    let report = tokio::task::spawn_blocking(move || {
        let writer = Writer::create(&options.out)?;
        write(&options.data, writer).inspect_err(|_| drop(std::fs::remove_file(&options.out)))
    });
    let report = report.await??;
    if json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    let elapsed = std::time::Duration::from_millis(report.elapsed_ms);
    println!(
        "{} commands and acts of {} events in {} ms, {} a second",
        grouped(report.entries),
        grouped(report.events),
        grouped(report.elapsed_ms),
        grouped(rate_per_s(report.entries, elapsed))
    );
    println!("  {} members, {} bytes", grouped(report.members), grouped(report.bytes));
    println!("state {}", report.state);
    Ok(())
}

/// Writes the trace of the book in `data`.
fn write(data: &Path, writer: Writer) -> Result<Report, Failure> {
    let begun = Instant::now();
    let of_data = |error: &dyn std::fmt::Display| format!("{}: {error}", data.display());
    let disk = RealDisk::open_existing(data).map_err(|error| of_data(&error))?;
    // Of a book that is being written the trace would be a beginning that says it is all.
    if disk.is_held() {
        return Err(of_data(&"a server has this book open: stop it, or record a copy").into());
    }
    let genesis = journal::genesis_of(&disk).map_err(|error| of_data(&error))?;
    let genesis = genesis.ok_or_else(|| of_data(&JournalError::NoBook))?;
    let mut recorder = Recorder::new(Prints::new(genesis.secret), writer)?;
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{human_pos} events {per_sec}")?);
    let scanned = journal::scan(
        &disk,
        &mut |visit| {
            if visit.op.is_multiple_of(PROGRESS_EVENTS) {
                bar.set_position(visit.op);
            }
            let at = Moment { op: Op(visit.op), book_time_us: visit.book_time_us };
            recorder.take(at, visit.event).map_err(|error| format!("op {}: {error}", visit.op))
        },
        &mut |_| {},
    );
    bar.finish_and_clear();
    let events = scanned.map_err(|error| of_data(&error))?.head.op;
    let Recorder { ledger, prints, aliases, last_us, .. } = &mut recorder;
    let state = State::of_ledger(ledger, prints, *last_us, &|name| aliases.of(name))?;
    let end = End {
        entries: recorder.entries,
        first_us: recorder.first_us.ok_or("the book holds nothing that can be replayed")?,
        last_us: recorder.last_us,
        members: u64::try_from(state.members())?,
        state: state.hash()?,
        totals: totals(&state)?,
    };
    let End { entries, members, state, .. } = end.clone();
    let bytes = recorder.finish(end)?;
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis())?;
    Ok(Report { entries, events, members, bytes, state, elapsed_ms })
}

/// Every account of a state, in order.
fn totals(state: &State) -> Result<Vec<Total>, Failure> {
    let programs = state.programs.iter();
    let rows = programs.flat_map(|(id, program)| program.accounts.iter().map(move |(account, sum)| (id, account, sum)));
    rows.map(|(program, account, sum)| {
        Ok(Total { program: program.clone(), account: account.clone(), balance: i64::try_from(*sum)? })
    })
    .collect()
}
