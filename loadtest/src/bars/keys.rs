//! The rate on books that hold many keys, nearly all of them sealed, against those with one key a member, in turn.

use super::figure::{Bar, Figure, Unit};
use super::room::{self, BYTES_A_COMMAND, COMMANDS_A_SECOND};
use super::{Ground, median, permille};
use crate::Failure;
use crate::process::Server;
use crate::run::{Load, Mode, drive};
use crate::stage::Stage;
use crate::tally::grouped;

/// Of the rate with one key a member.
const PERMILLE_MIN: u64 = 800;
/// Keys a member, its own among them: 100 million for 10 million members. A server keeps the newest 2.8 million in memory and
/// seals the rest.
const KEYS_A_MEMBER: u64 = 10;
const ROUNDS: u32 = 1;
/// Within the folder of kept books.
const BOOKS: &str = "keys";
/// Of disk for each key beside its event in the book: its place in the runs, which the copy has for itself.
const RUN_BYTES_A_KEY: u64 = 32;

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    let members = ground.stage.members;
    let keys = members * KEYS_A_MEMBER;
    let stage = Stage::with_keys(members, keys - members)?;
    let kept = ground.kept.join(BOOKS);
    let grows = BYTES_A_COMMAND * ground.seconds * COMMANDS_A_SECOND;
    let filled = if kept.exists() { 0 } else { keys * (BYTES_A_COMMAND + RUN_BYTES_A_KEY) };
    room::disk(&ground.kept, &stage.path(""), filled, keys * RUN_BYTES_A_KEY + grows)?;
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
    figures.push(Figure::new(what, median(ratios), Unit::Permille, Bar::AtLeast(PERMILLE_MIN)).noting(note));
    Ok(())
}
