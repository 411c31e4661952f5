//! Single calls against the same calls to a bare echo, in turn.

use super::figure::{Bar, Figure, Unit};
use super::{Ground, median, permille};
use crate::run::{Load, Mode, drive};
use crate::tally::grouped;
use crate::{Failure, echo};

/// Of the echo's rate.
const PERMILLE_MIN: u64 = 850;
const ROUNDS: u32 = 2;

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    let load = Load::of(Mode::Unary, 1, [4, 64], ground.stage.members, ground.seconds);
    let (mut ratios, mut rates, mut echoes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ground.rounds(ROUNDS) {
        let (mut rate, mut of) = (0, 0);
        // Who goes first changes, so that a machine that slows down or warms up favours neither.
        for echoed in [round % 2 == 1, round % 2 == 0] {
            if echoed {
                let server = echo::start()?;
                let summary = drive(&server.address, &load).await?;
                summary.complaint()?;
                of = summary.rate_per_s;
            } else {
                rate = ground.rate(&load).await?.rate_per_s;
            }
        }
        ratios.push(permille(rate, of));
        rates.push(rate);
        echoes.push(of);
    }
    let told = |rates: &[u64]| rates.iter().map(grouped).collect::<Vec<_>>().join(", ");
    let note = format!("{}/s against {}/s of the echo, in turn", told(&rates), told(&echoes));
    let what = "single calls, 4 connections x 64, of a bare echo";
    figures.extend([
        Figure::new(what, median(ratios), Unit::Permille, Bar::AtLeast(PERMILLE_MIN)).noting(note),
        Figure::new("single calls, 4 connections x 64", median(rates), Unit::PerSecond, Bar::Open),
    ]);
    Ok(())
}
