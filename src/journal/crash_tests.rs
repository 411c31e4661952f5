//! The crash test: a machine that stops, or a disk that fails, at every single operation, and what must be left.
//!
//! After each trial the book holds every acknowledged event, in place and unchanged, and behind them at most the frame that was
//! in flight. The same trials find faults that are built in on purpose; a test that cannot fail proves nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use crate::io::sim::{Crash, SimDisk};

use super::fixtures::{genesis, open_with, options};
use super::replay::Each;
use super::{FrameBuilder, Journal, JournalError, JournalOptions, Opened, Plant, Visit, Waypoint, to_u64};

/// What the callers of the book know.
#[derive(Clone, Default)]
struct Callers {
    /// Events that were acknowledged, or shown by a start that succeeded.
    acknowledged: Vec<Vec<u8>>,
    /// Events of the frame whose append failed or never returned.
    in_flight: Vec<Vec<u8>>,
    /// A place at the end of an acknowledged frame.
    noted: Option<Waypoint>,
    /// How many processes have written: what each writes is its own.
    processes: u8,
}

impl Callers {
    /// One process: opens the book, checks what it finds, appends up to `frames` frames and a witness now and then.
    /// `Err` is a promise broken. An operation that was made to fail ends the process, as it must.
    fn process(&mut self, disk: &SimDisk, plant: Option<Plant>, frames: u64) -> Result<(), String> {
        self.processes += 1;
        let mut opened = match open_with(disk, JournalOptions { plant, ..options() }) {
            Ok((opened, events)) => {
                self.compare(events)?;
                if let Some(cut) = &opened.recovery.cut_file {
                    let kept = disk.crash(Crash::Dropped).bytes_of(cut).unwrap_or_default();
                    if to_u64(kept.len()) != opened.recovery.torn_bytes {
                        return Err(format!("{} cut bytes are kept", kept.len()));
                    }
                }
                opened
            }
            Err(JournalError::Io { .. }) => return Ok(()),
            Err(error) => return Err(format!("the book was refused: {error}")),
        };
        // A start behind the place noted last shows what a start from the first event shows, and the same book.
        if let Some(at) = self.noted {
            self.compare_from(disk, &at, &mut opened)?;
        }
        for round in 0..frames {
            if round % 4 == 3 && opened.writer.witness().is_err() {
                return self.after_failure(&mut opened, disk);
            }
            let first_op = to_u64(self.acknowledged.len()) + 1;
            let mut builder = FrameBuilder::new(first_op, 2_000);
            // Every fifth frame is of two pages.
            for event in 0..if round % 5 == 4 { 6 } else { 1 + round % 2 } {
                let length = if round % 5 == 4 { 900 } else { 40 };
                let bytes = vec![self.processes * 16 + u8::try_from(event).unwrap(); length];
                builder.push(&bytes).unwrap();
                self.in_flight.push(bytes);
            }
            match opened.writer.append(Arc::new(builder.close())) {
                Ok(head) => {
                    self.acknowledged.append(&mut self.in_flight);
                    if round % 3 == 1 {
                        let at = opened.book.waypoint_at(head.op).map_err(|error| error.to_string())?;
                        self.noted = Some(at);
                    }
                    if [head.op, opened.book.durable_op()] != [to_u64(self.acknowledged.len()); 2] {
                        return Err(format!("the head is {head:?}"));
                    }
                }
                Err(_) => return self.after_failure(&mut opened, disk),
            }
        }
        Ok(())
    }

    /// Holds what lies behind a place that was noted earlier to what was promised, on a disk like this one.
    fn compare_from(&self, disk: &SimDisk, at: &Waypoint, whole: &mut Opened) -> Result<(), String> {
        let disk = disk.crash(Crash::Kept);
        let mut events = Vec::new();
        let mut visit = |visit: Visit<'_>| {
            events.push(visit.event.to_vec());
            Ok(())
        };
        let mut each = Each { visit: &mut visit, on_end: |_: &Waypoint| {} };
        let opened = Journal::open_from(Arc::new(disk), genesis, options(), Some(at), &mut each);
        let opened = opened.map_err(|error| format!("refused behind op {}: {error}", at.op))?;
        let behind = usize::try_from(at.op).map_err(|error| error.to_string())?;
        if self.acknowledged.get(behind..) != Some(&events) {
            return Err(format!("{} acknowledged events are there behind op {}", events.len(), at.op));
        }
        let same = |op| opened.book.read(op).ok() == whole.book.read(op).ok();
        let counts = |opened: &Opened| (opened.book.frame_bytes(), opened.book.head());
        if counts(&opened) != counts(whole) || !(1..=to_u64(self.acknowledged.len())).all(same) {
            return Err(format!("the book behind op {} is another", at.op));
        }
        Ok(())
    }

    /// Compares a reopened book with what was promised; what it shows is a promise from then on.
    fn compare(&mut self, events: Vec<Vec<u8>>) -> Result<(), String> {
        let known = self.acknowledged.len();
        if events.get(..known) != Some(&self.acknowledged) {
            return Err(format!("of {known} acknowledged events, {} are there", events.len()));
        }
        let beyond = &events[known..];
        if !beyond.is_empty() && beyond != self.in_flight {
            return Err(format!("{} events are there that were not in flight", beyond.len()));
        }
        self.acknowledged = events;
        self.in_flight.clear();
        Ok(())
    }

    /// After a failure nothing is acknowledged, shown, or written.
    fn after_failure(&self, opened: &mut Opened, disk: &SimDisk) -> Result<(), String> {
        let operations = disk.operations();
        let mut builder = FrameBuilder::new(opened.book.durable_op() + 1, 9_000);
        builder.push(b"late").unwrap();
        let append = opened.writer.append(Arc::new(builder.close()));
        let witness = opened.writer.witness();
        let latched = [append, witness].iter().all(|result| matches!(result, Err(JournalError::Latched)));
        if !latched || disk.operations() != operations {
            return Err("the writer goes on after a failure".to_owned());
        }
        if opened.book.durable_op() != to_u64(self.acknowledged.len()) {
            return Err("an event is shown that was not acknowledged".to_owned());
        }
        Ok(())
    }
}

/// Enough frames for four segments.
const FRAMES: u64 = 12;

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The machine stops after this operation.
    Stop(u64),
    /// This operation fails, the process ends, and the machine crashes.
    Fail(u64),
    /// This operation fails, the process ends, and another follows on the same machine, which then crashes.
    FailAndRestart(u64),
}

/// The operations of a run in which nothing goes wrong.
fn operations() -> u64 {
    let disk = SimDisk::new(0);
    Callers::default().process(&disk, None, FRAMES).unwrap();
    disk.operations()
}

fn faulted(seed: u64, plant: Option<Plant>, fault: Fault) -> Result<(SimDisk, Callers), String> {
    let (disk, mut callers) = (SimDisk::new(seed), Callers::default());
    match fault {
        Fault::Stop(k) => disk.halt_after(k),
        Fault::Fail(k) | Fault::FailAndRestart(k) => disk.fail_at(k),
    }
    callers.process(&disk, plant, FRAMES)?;
    if let Fault::FailAndRestart(_) = fault {
        callers.process(&disk, plant, 2)?;
    }
    Ok((disk, callers))
}

fn trial(seed: u64, plant: Option<Plant>, fault: Fault, crash: Crash) -> Result<(), String> {
    let (disk, mut callers) = faulted(seed, plant, fault)?;
    let after = disk.crash(crash);
    callers.process(&after, plant, 4)?;
    // What was acknowledged after the first crash outlives a second.
    callers.process(&after.crash(Crash::Dropped), plant, 0)
}

/// Every fault at every operation from `first` on, with every kind of crash; `Err` tells of the first promise broken.
fn all_trials(plant: Option<Plant>, first: u64, seeds: std::ops::Range<u64>) -> Result<(), String> {
    let operations = operations();
    assert!(operations > 60, "{operations}");
    for seed in seeds {
        for k in first..=operations {
            for fault in [Fault::Stop(k), Fault::Fail(k), Fault::FailAndRestart(k)] {
                for crash in Crash::ALL {
                    trial(seed, plant, fault, crash)
                        .map_err(|broken| format!("{fault:?}, {crash:?}, seed {seed}: {broken}"))?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn no_acknowledgement_is_lost_and_none_follows_a_failure() {
    all_trials(None, 1, 0..2).unwrap();
}

#[test]
fn a_crash_during_the_recovery_from_a_crash_loses_nothing() {
    for k in (1..=operations()).step_by(5) {
        for (seed, crash) in (k..).zip(Crash::ALL) {
            for again in 1..24 {
                let (disk, mut callers) = faulted(seed, None, Fault::Stop(k)).unwrap();
                let after = disk.crash(Crash::Torn);
                after.halt_after(again);
                let told = |broken| format!("stopped after {k} and {again}, {crash:?}: {broken}");
                callers.process(&after, None, 1).map_err(told).unwrap();
                callers.process(&after.crash(crash), None, 2).map_err(told).unwrap();
            }
        }
    }
}

#[test]
fn a_failure_during_recovery_and_a_crash_during_the_next_lose_nothing() {
    let mut before = Callers::default();
    let disk = SimDisk::new(9);
    before.process(&disk, None, 3).unwrap();
    for (failed, stopped) in (1..16).flat_map(|failed| (1..16).map(move |stopped| (failed, stopped))) {
        for _ in 0..3 {
            let mut callers = before.clone();
            let after = disk.crash(Crash::Dropped);
            let told = |broken| format!("failed at {failed}, stopped after {stopped}: {broken}");
            after.fail_at(failed);
            callers.process(&after, None, 1).map_err(told).unwrap();
            after.halt_after(after.operations() + stopped);
            callers.process(&after, None, 1).map_err(told).unwrap();
            callers.process(&after.crash(Crash::Torn), None, 1).map_err(told).unwrap();
        }
    }
}

#[test]
fn a_build_that_acknowledges_before_the_sync_is_found() {
    let broken = all_trials(Some(Plant::AckBeforeSync), 1, 0..4).unwrap_err();
    assert!(broken.contains("acknowledged events"), "{broken}");
}

#[test]
fn a_build_that_skips_the_sync_of_the_directory_is_found() {
    let broken = all_trials(Some(Plant::SkipDirectorySync), 1, 0..4).unwrap_err();
    assert!(broken.contains("acknowledged events") || broken.contains("refused"), "{broken}");
}

#[test]
fn a_build_that_rehomes_the_tail_late_is_found() {
    // Not by the making of the book, but by a frame whose sync failed and which the next process takes for synced.
    let broken = all_trials(Some(Plant::RehomeLate), operations() / 2, 0..4).unwrap_err();
    assert!(broken.contains("acknowledged events") || broken.contains("refused"), "{broken}");
}
