//! The rate on books that hold many keys, nearly all of them sealed, against those with one key a member, in turn.

use std::path::Path;

use rustix::fs::statvfs;

use super::figure::{Bar, Figure, Unit};
use super::{Ground, median, permille};
use crate::Failure;
use crate::process::Server;
use crate::run::{Load, Mode, drive};
use crate::stage::Stage;
use crate::tally::grouped;

/// Of the rate without the keys.
const PERMILLE_MIN: u64 = 800;
/// Keys a member, its own among them: 100 million for 10 million members. A server keeps some 6 million of them in memory and seals the rest.
const KEYS_A_MEMBER: u64 = 10;
const ROUNDS: u32 = 2;
/// Within the folder of kept books.
const BOOKS: &str = "keys";
/// Of disk for each key: its event in the book, and its place in the runs, which the copy has for itself.
const BOOK_BYTES_A_KEY: u64 = 110;
const RUN_BYTES_A_KEY: u64 = 32;
/// Keys of a run at the most, and so what a copy grows by.
const KEYS_A_SECOND: u64 = 1_200_000;

pub(super) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let members = ground.stage.members;
    let keys = members * KEYS_A_MEMBER;
    let stage = Stage::with_keys(members, keys - members)?;
    let kept = ground.kept.join(BOOKS);
    let grows = BOOK_BYTES_A_KEY * ground.seconds * KEYS_A_SECOND;
    let filled = if kept.exists() { 0 } else { keys * (BOOK_BYTES_A_KEY + RUN_BYTES_A_KEY) };
    room(&ground.kept, &stage.path(""), filled, keys * RUN_BYTES_A_KEY + grows)?;
    let prepared = stage.prepared(Some(&kept), &ground.config).await?;
    let load = Load::of(Mode::Batch, 4_000, [2, 4], members, ground.seconds);
    let (mut ratios, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ground.rounds(ROUNDS) {
        let (mut rate, mut of) = (0, 0);
        for many in [round % 2 == 0, round % 2 == 1] {
            if many {
                let data = stage.copy(&prepared, "copy").await?;
                let server: Server = stage.serve(&data, &ground.config).await?;
                let summary = drive(&server.address, &load).await?;
                summary.complaint()?;
                rate = summary.rate_per_s;
                drop(server);
                std::fs::remove_dir_all(&data)?;
            } else {
                of = ground.rate(&load).await?.rate_per_s;
            }
        }
        ratios.push(permille(rate, of));
        with.push(rate);
        without.push(of);
    }
    let told = |rates: &[u64]| rates.iter().map(grouped).collect::<Vec<_>>().join(", ");
    let what = format!("after {} keys, of the rate after {}", grouped(keys), grouped(members));
    let note = format!("batches of 4,000: {}/s against {}/s, in turn", told(&with), told(&without));
    Ok(vec![Figure::new(what, median(ratios), Unit::Permille, Bar::AtLeast(PERMILLE_MIN)).noting(note)])
}

/// Whether the disks have room for books that are kept and for what runs write.
fn room(kept: &Path, work: &Path, kept_bytes: u64, work_bytes: u64) -> Result<(), Failure> {
    std::fs::create_dir_all(kept)?;
    let (kept_free, work_free) = (statvfs(kept)?, statvfs(work)?);
    let one_disk = kept_free.f_fsid == work_free.f_fsid;
    for (folder, free, wanted) in [
        (kept, kept_free, if one_disk { kept_bytes + work_bytes } else { kept_bytes }),
        (work, work_free, if one_disk { 0 } else { work_bytes }),
    ] {
        let bytes = free.f_bavail * free.f_frsize;
        if bytes < wanted {
            let (folder, missing) = (folder.display(), (wanted - bytes).div_ceil(1 << 20));
            return Err(format!(
                "{folder}: {} MiB of disk are missing of {} MiB",
                grouped(missing),
                grouped(wanted >> 20)
            )
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_missing_of_the_disk_is_told() {
        let folder = tempfile::tempdir().unwrap();
        room(folder.path(), folder.path(), 1, 1).unwrap();
        let told = room(folder.path(), folder.path(), 1 << 60, 1).unwrap_err().to_string();
        assert!(told.contains("are missing of 1,099,511,627,776 MiB"), "{told}");
        assert!(room(folder.path(), folder.path(), 1, 1 << 60).is_err());
    }
}
