//! The rate through the bidirectional stream.

use super::figure::{Bar, Figure, Unit};
use super::{Ground, latencies};
use crate::Failure;
use crate::run::{Load, Mode};

/// Commands a second.
const PER_SECOND_MIN: u64 = 700_000;

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    let load = Load::of(Mode::Stream, 1_000, [2, 4], ground.stage.members, ground.seconds);
    let summary = ground.rate(&load).await?;
    let what = "stream, messages of 1,000, 2 connections x 4";
    let figure = Figure::new(what, summary.rate_per_s, Unit::PerSecond, Bar::AtLeast(PER_SECOND_MIN));
    figures.push(figure.noting(latencies(&summary)));
    Ok(())
}
