//! A trace repeated on servers of its own, at one speed after another, and what each came to.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;
use stampbook::io::RealDisk;
use stampbook::journal::{self, JournalError};
use stampbook::ledger::ids::Op;
use stampbook::ledger::print::Prints;
use stampbook::ledger::{Moment, codec};

use super::entry::End;
use super::file::Trace;
use super::send::{Gatherer, Sender};
use super::state::State;
use super::{judge, tell, totals};
use crate::Failure;
use crate::replay::Speed;
use crate::stage::Stage;
use crate::tally::{grouped, rate_per_s};

/// What one replay came to.
#[derive(Debug, Serialize)]
struct Replayed {
    speed: String,
    elapsed_ms: u64,
    rate_per_s: u64,
    /// How far it was behind the recorded times at most.
    late_ms: u64,
    /// The state, times and order of writing apart.
    state: String,
    #[serde(skip)]
    end: State,
}

/// What all came to.
#[derive(Debug, Serialize)]
struct Report {
    entries: u64,
    recorded: String,
    replays: Vec<Replayed>,
    model: String,
}

/// Replays a trace at each speed and holds the ends against each other, the recorded book and the model.
///
/// # Errors
/// Where a server or the model answers otherwise than the recorded book, or the ends differ: the text says where.
pub(crate) async fn replay(path: &Path, speeds: &[Speed], json: bool) -> Result<(), Failure> {
    let of = path.to_owned();
    let trace = tokio::task::spawn_blocking(move || Trace::open(&of)).await??;
    let mut report = Report {
        entries: trace.end.entries,
        recorded: trace.end.state.clone(),
        replays: Vec::new(),
        model: String::new(),
    };
    for speed in speeds {
        let replayed =
            one(&trace, *speed).await.map_err(|error| format!("{}: at speed {speed}: {error}", path.display()))?;
        if !json {
            replayed.print(&trace.end);
        }
        report.replays.push(replayed);
    }
    let of = trace.clone();
    let judged = tokio::task::spawn_blocking(move || judge::state_of(&of)).await;
    let model = judged.map_err(|_| "the model cannot go on: what it said is above")??;
    report.model = model.hash()?;
    report.print(json)?;
    for replayed in &report.replays {
        replayed.check(&trace.end, &model)?;
    }
    if !json {
        println!("one state, and the {} totals by account are the recorded ones", trace.end.totals.len());
    }
    Ok(())
}

/// Replays a trace on a server of its own.
async fn one(trace: &Trace, speed: Speed) -> Result<Replayed, Failure> {
    let End { first_us, last_us, members, .. } = trace.end;
    let stage = Stage::new(members)?;
    let config = stage.config("server", None, &settings(first_us)?)?;
    let data = stage.path("books");
    let mut server = stage.serve(&data, &config).await?;
    let bar = ProgressBar::new(trace.end.entries);
    bar.set_style(ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec}")?);
    let begun = Instant::now();
    let mut sender = Sender::connect(&server.address, first_us, speed, bar.clone()).await?;
    let mut gatherer = Gatherer::default();
    for entry in trace.entries()? {
        sender.send(gatherer.take(entry?)).await?;
    }
    sender.send(gatherer.rest()).await?;
    let elapsed = begun.elapsed();
    bar.finish_and_clear();
    tokio::task::block_in_place(|| server.terminate())?;
    let end = tokio::task::spawn_blocking(move || state_in(&data, last_us)).await??;
    Ok(Replayed {
        speed: speed.to_string(),
        elapsed_ms: u64::try_from(elapsed.as_millis())?,
        rate_per_s: rate_per_s(trace.end.entries, elapsed),
        late_ms: u64::try_from(sender.late().as_millis())?,
        state: end.hash()?,
        end,
    })
}

/// The settings of a server that shall take whatever a book holds that begins at an instant. In import mode the counters of caps are never
/// forgotten, so there may be as many as the book has awards; and nobody knows what the recorded server had room for.
pub(super) fn settings(first_us: i64) -> Result<String, Failure> {
    let start = Timestamp::from_microsecond(first_us)?;
    let all = i64::MAX;
    Ok(format!("clock = \"driven\"\nclock_start = \"{start}\"\ncap_counters_max = {all}\nlots_bytes_max = {all}\n"))
}

/// What the book in a folder comes to, once all is booked that is due at `at_us`.
fn state_in(data: &Path, at_us: i64) -> Result<State, Failure> {
    let disk = RealDisk::open_existing(data)?;
    let genesis = journal::genesis_of(&disk)?.ok_or(JournalError::NoBook)?;
    let (mut ledger, prints) = (tell::unbounded(), Prints::new(genesis.secret));
    journal::scan(
        &disk,
        &mut |visit| {
            let at = Moment { op: Op(visit.op), book_time_us: visit.book_time_us };
            let event = codec::decode(visit.event).map_err(|error| format!("op {}: {error}", visit.op))?;
            ledger.replay(at, &event, &prints).map_err(|error| error.to_string())
        },
        &mut |_| {},
    )?;
    State::of_ledger(&mut ledger, &prints, at_us, &str::to_owned)
}

impl Replayed {
    fn print(&self, end: &End) {
        let late = Duration::from_millis(self.late_ms);
        println!(
            "speed {}: {} commands and acts in {} ms, {} a second, at most {late:?} behind",
            self.speed,
            grouped(end.entries),
            grouped(self.elapsed_ms),
            grouped(self.rate_per_s)
        );
        println!("  state {}", self.state);
    }

    /// Holds the end of a replay against the model's and the recorded book's.
    fn check(&self, end: &End, model: &State) -> Result<(), Failure> {
        let of = |what: &str| format!("at speed {}: {what}", self.speed);
        if let Some(difference) = self.end.difference(model) {
            return Err(of(&format!("the server and the model differ: {difference}")).into());
        }
        let found = totals(&self.end)?;
        let unlike = |total: &&super::entry::Total| !found.contains(total);
        if let Some(total) = end.totals.iter().find(unlike) {
            let what = format!("{} {} was {} and is another", total.program, total.account, total.balance);
            return Err(of(&what).into());
        }
        match found.len() == end.totals.len() && self.state == end.state {
            true => Ok(()),
            false => Err(of("the state is another than the recorded book's").into()),
        }
    }
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("the model");
        println!("  state {}", self.model);
        println!("the recorded book");
        println!("  state {}", self.recorded);
        Ok(())
    }
}
