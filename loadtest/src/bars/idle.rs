//! One caller on a server with nothing else to do, against the sync that every answer must wait for.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::figure::{Bar, Figure, Unit};
use super::{Ground, median};
use crate::Failure;
use crate::run::{Load, Mode, drive};
use crate::tally::{grouped, microseconds};

/// On top of one sync.
const OVER_SYNC_US_MAX: u64 = 150;
/// Call and sync are measured in turn, so many times each.
const TURNS: u64 = 3;
/// What the journal writes for a small frame.
const PAGE_BYTES: usize = 4_096;
/// Pages of the file; it is written from the start again behind its end.
const PAGES: u64 = 8_192;

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    let server = ground.server(&ground.config).await?;
    let seconds = (ground.seconds / (2 * TURNS)).max(1);
    let load = Load::of(Mode::Unary, 1, [1, 1], ground.stage.members, seconds);
    let (mut calls, mut tails, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let summary = drive(&server.address, &load).await?;
        summary.complaint()?;
        calls.push(summary.p50_us);
        tails.push(summary.p99_us);
        let path = ground.stage.path("syncs");
        let sync = tokio::task::spawn_blocking(move || sync_us(&path, Duration::from_secs(seconds)));
        syncs.push(sync.await??);
    }
    let (call, sync) = (median(calls), median(syncs));
    let note = format!(
        "a sync of 4 KiB in the same folder {} us; p99 of the calls {} us",
        grouped(sync),
        grouped(median(tails))
    );
    let what = "single calls, one caller, idle server: p50";
    figures.push(Figure::new(what, call, Unit::Us, Bar::AtMost(sync + OVER_SYNC_US_MAX)).noting(note));
    Ok(())
}

/// The median time of one page written and synced as the journal does, into a file that was laid out and written before.
fn sync_us(path: &PathBuf, lasts: Duration) -> Result<u64, Failure> {
    let file = File::options().create(true).truncate(true).write(true).open(path)?;
    let zeros = vec![0; PAGE_BYTES];
    for page in 0..PAGES {
        file.write_all_at(&zeros, page * 4_096)?;
    }
    file.sync_all()?;
    let full = vec![1; PAGE_BYTES];
    let mut syncs = Vec::new();
    let begun = Instant::now();
    for page in (0..PAGES).cycle() {
        if begun.elapsed() >= lasts {
            break;
        }
        let from = Instant::now();
        file.write_all_at(&full, page * 4_096)?;
        file.sync_data()?;
        syncs.push(microseconds(from.elapsed()));
    }
    std::fs::remove_file(path)?;
    Ok(median(syncs))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn syncs_are_timed_in_a_file_that_is_gone_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("syncs");
        sync_us(&path, Duration::from_millis(20)).unwrap();
        assert!(!path.exists());
    }
}
