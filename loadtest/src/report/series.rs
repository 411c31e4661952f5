//! What a run's folder says, as lines of the plots.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use maud::Markup;

use super::folder::{Run, Second};
use super::hlog::{Interval, Log};
use super::plot::{Axis, Band, Line, Plot, Tone};
use super::scale::Scale;
use super::words::{duration, grouped_float, one_in};
use crate::Failure;
use crate::tally::grouped;

/// A line has at most about so many steps; what is more is taken together.
const STEPS_MAX: u64 = 360;
/// So many operations at most have lines of their own.
const OPERATIONS_MAX: usize = 4;

/// The runs of a report: the one that it is of, and perhaps another beside it.
#[derive(Clone, Copy)]
pub(super) struct Runs<'r> {
    pub(super) this: &'r Run,
    pub(super) other: Option<&'r Run>,
}

/// What a plot counts, for its ticks.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Microseconds,
    Commands,
}

type Points = Vec<Vec<(f64, f64)>>;

impl<'r> Runs<'r> {
    fn each(&self) -> impl Iterator<Item = (&'r Run, bool)> + use<'r> {
        [(self.this, false)].into_iter().chain(self.other.map(|other| (other, true)))
    }

    /// The end of the longer one.
    fn end_ms(&self) -> u64 {
        self.each().map(|(run, _)| run.end_ms()).max().unwrap_or_default()
    }

    /// How long the steps of a line are, in milliseconds.
    pub(super) fn step_ms(&self) -> u64 {
        self.end_ms().div_ceil(STEPS_MAX * 1_000).max(1) * 1_000
    }

    /// What was offered and what was answered, and the rest where there is any.
    pub(super) fn rate(&self) -> Markup {
        type Pick = fn(&Second) -> u64;
        let picks: [(&str, Tone, Pick); 4] = [
            ("offered", Tone::Faint, |second| second.offered),
            ("refused", Tone::Strong, |second| second.refused),
            ("failed", Tone::Second, |second| second.given_up.saturating_add(second.errors)),
            ("answered", Tone::First, |second| second.answered),
        ];
        let mut lines = Vec::new();
        for (name, tone, pick) in picks {
            let none = self.each().all(|(run, _)| run.seconds.iter().all(|second| pick(second) == 0));
            if none && !["offered", "answered"].contains(&name) {
                continue;
            }
            for (run, other) in self.each() {
                lines.push(Line { name: name.into(), tone, other, pieces: run.per_second(pick, self.step_ms()) });
            }
        }
        let scale = Scale::linear(most(&lines), Some(5));
        let ticks = scale.ticks(5, 1.0).into_iter().map(|tick| (tick, grouped_float(tick))).collect();
        self.over_time("Commands offered and answered a second, over time", "commands a second", scale, ticks, lines)
    }

    /// Quantiles of one of the logs over time; `None` where neither run has such values.
    pub(super) fn quantiles(&self, of: Of<'_>) -> Result<Option<Markup>, Failure> {
        let mut lines = Vec::new();
        for (run, other) in self.each() {
            let steps = merged((of.intervals)(run), self.step_ms())?;
            for (name, tone, quantile) in of.quantiles {
                let values = steps.iter().map(|step| (step.from_ms, step.to_ms, step.quantile(*quantile)));
                lines.push(Line { name: (*name).into(), tone: *tone, other, pieces: staircase(values) });
            }
        }
        if lines.iter().all(|line| line.pieces.is_empty()) {
            return Ok(None);
        }
        // Quantile by quantile, so that none of either run lies under a lower one of the other.
        lines.sort_by_key(|line| of.quantiles.iter().position(|(name, ..)| *name == line.name));
        let scale = Scale::log(least(&lines), most(&lines));
        let ticks = scale.ticks(5, 1.0).into_iter().map(|tick| (tick, of.unit.label(tick))).collect();
        Ok(Some(self.over_time(of.name, of.unit.name(), scale, ticks, lines)))
    }

    fn over_time(
        &self,
        name: &'static str,
        y_name: &'static str,
        y: Scale,
        y_ticks: Vec<(f64, String)>,
        lines: Vec<Line>,
    ) -> Markup {
        let x = Scale::linear(float(self.end_ms()), None);
        let ticks = x.ticks(12, 1_000.0).into_iter();
        let seconds = |tick: f64| grouped_float(tick).trim_end_matches(",000").to_owned();
        let x_ticks = ticks.map(|tick| (tick, seconds(tick))).collect();
        let bands = self.this.told.phases.iter();
        let bands =
            bands.map(|phase| Band { from: float(phase.from_ms), to: float(phase.to_ms), name: phase.name.clone() });
        Plot {
            name,
            x: Axis { scale: x, name: "seconds since the start", ticks: x_ticks },
            y: Axis { scale: y, name: y_name, ticks: y_ticks },
            bands: bands.collect(),
            lines,
        }
        .svg()
    }

    /// How many of a hundred, of a thousand, of ten thousand were slower than what.
    pub(super) fn by_quantile(&self) -> Result<Markup, Failure> {
        let mut lines = Vec::new();
        let mut answers_max = 1;
        for (run, other) in self.each() {
            let mut line = |name: &str, tone, histogram: &Histogram<u64>| {
                answers_max = answers_max.max(histogram.len());
                lines.push(Line { name: name.into(), tone, other, pieces: vec![slower(histogram)] });
            };
            line("all", Tone::Strong, &whole(run.latency.values().flatten())?);
            let operations = run.latency.iter().map(|(name, intervals)| Ok((name, whole(intervals)?)));
            let operations = operations.collect::<Result<Vec<_>, Failure>>()?;
            if self.other.is_none() && (2..=OPERATIONS_MAX).contains(&operations.len()) {
                let tones = [Tone::First, Tone::Second, Tone::Third, Tone::Fourth];
                for ((name, histogram), tone) in operations.iter().zip(tones) {
                    line(name, tone, histogram);
                }
            }
        }
        let x = Scale::log(1.0, float(answers_max).max(100.0));
        let y = Scale::log(least(&lines), most(&lines));
        let x_ticks = x.ticks(9, 1.0).into_iter().map(|tick| (tick, one_in(tick))).collect();
        let y_ticks = y.ticks(5, 1.0).into_iter().map(|tick| (tick, Unit::Microseconds.label(tick))).collect();
        Ok(Plot {
            name: "Latency by quantile",
            x: Axis { scale: x, name: "of the answers were at least as fast", ticks: x_ticks },
            y: Axis { scale: y, name: Unit::Microseconds.name(), ticks: y_ticks },
            bands: Vec::new(),
            lines,
        }
        .svg())
    }
}

/// What a plot of quantiles over time shows.
pub(super) struct Of<'q> {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) quantiles: &'q [(&'static str, Tone, f64)],
    pub(super) intervals: for<'r> fn(&'r Run) -> Vec<&'r Interval>,
}

/// Latencies of all operations.
pub(super) fn latencies(run: &Run) -> Vec<&Interval> {
    run.latency.values().flatten().collect()
}

/// One of the server's own measures.
pub(super) fn measured<'r>(run: &'r Run, tag: &str) -> Vec<&'r Interval> {
    let of = |log: &'r Log| log.get(tag);
    run.server.as_ref().and_then(of).into_iter().flatten().collect()
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "time, logarithmic",
            Self::Commands => "commands, logarithmic",
        }
    }

    fn label(self, tick: f64) -> String {
        let whole = format!("{tick:.0}");
        match (self, whole.parse()) {
            (Self::Microseconds, Ok(us)) => duration(us),
            _ => grouped(whole),
        }
    }
}

impl Run {
    /// When the last of it was over.
    fn end_ms(&self) -> u64 {
        let phases = self.told.phases.iter().map(|phase| phase.to_ms);
        let seconds = self.seconds.last().map(|second| second.at_ms.saturating_add(1_000));
        phases.chain(seconds).max().unwrap_or_default().max(1_000)
    }

    /// What is counted each second, taken together to steps as a mean a second.
    fn per_second(&self, pick: impl Fn(&Second) -> u64, step_ms: u64) -> Points {
        let mut steps = BTreeMap::<u64, (u64, u64)>::new();
        for second in &self.seconds {
            let (sum, count) = steps.entry(second.at_ms / step_ms).or_default();
            *sum = sum.saturating_add(pick(second));
            *count += 1;
        }
        let step = |(number, (sum, count)): (u64, (u64, u64))| {
            let from_ms = number.saturating_mul(step_ms);
            (from_ms, from_ms.saturating_add(step_ms), Some(sum / count.max(1)))
        };
        staircase(steps.into_iter().map(step))
    }
}

/// What was measured in a step of a line.
struct Step {
    from_ms: u64,
    to_ms: u64,
    histogram: Histogram<u64>,
}

impl Step {
    fn quantile(&self, quantile: f64) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.value_at_quantile(quantile))
    }
}

/// Takes together what was measured in the same step, most of it at least: nobody asks a server at the very second.
fn merged(intervals: Vec<&Interval>, step_ms: u64) -> Result<Vec<Step>, Failure> {
    let mut steps = BTreeMap::<u64, Vec<&Interval>>::new();
    for interval in intervals {
        let middle_ms = interval.from_ms.midpoint(interval.to_ms);
        steps.entry(middle_ms / step_ms).or_default().push(interval);
    }
    let step = |of: Vec<&Interval>| {
        let from_ms = of.iter().map(|interval| interval.from_ms).min().unwrap_or_default();
        let to_ms = of.iter().map(|interval| interval.to_ms).max().unwrap_or_default();
        Ok(Step { from_ms, to_ms, histogram: whole(of)? })
    };
    steps.into_values().map(step).collect()
}

/// All of them as one.
pub(super) fn whole<'i>(intervals: impl IntoIterator<Item = &'i Interval>) -> Result<Histogram<u64>, Failure> {
    let mut whole: Option<Histogram<u64>> = None;
    for interval in intervals {
        match &mut whole {
            None => whole = Some(interval.histogram.clone()),
            Some(whole) => {
                whole.auto(true);
                whole.add(&interval.histogram)?;
            }
        }
    }
    Ok(match whole {
        Some(whole) => whole,
        None => Histogram::new(3)?,
    })
}

/// Each value over its own while; one whose while begins where the one before ended, to a tick or two of the clock, goes on from it.
fn staircase(values: impl Iterator<Item = (u64, u64, Option<u64>)>) -> Points {
    let mut pieces: Points = Vec::new();
    let mut end: Option<u64> = None;
    for (from_ms, to_ms, value) in values {
        let Some(value) = value else { continue };
        let step = [(float(from_ms), float(value)), (float(to_ms), float(value))];
        match pieces.last_mut().filter(|_| end.is_some_and(|end| from_ms.abs_diff(end) <= 2)) {
            None => pieces.push(step.to_vec()),
            Some(piece) => match piece.last_mut().filter(|(_, before)| *before == step[1].1) {
                Some(last) => *last = step[1],
                None => piece.extend(step),
            },
        }
        end = Some(to_ms);
    }
    pieces
}

/// For each share of the answers how slow the fastest of the rest was, up to the slowest of all: `x` is such that one in `x` was slower.
#[allow(clippy::float_arithmetic, reason = "shares of answers, for places on paper")]
fn slower(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    const POINTS_PER_DECADE: f64 = 24.0;
    let answers = float(histogram.len());
    let mut points = Vec::new();
    let mut one_in = 1.0;
    while one_in < answers {
        points.push((one_in, float(histogram.value_at_quantile(1.0 - 1.0 / one_in))));
        one_in *= 10_f64.powf(1.0 / POINTS_PER_DECADE);
    }
    points.push((answers.max(1.0), float(histogram.max())));
    points
}

fn most(lines: &[Line]) -> f64 {
    values(lines).fold(0.0, f64::max)
}

fn least(lines: &[Line]) -> f64 {
    values(lines).fold(f64::MAX, f64::min).min(most(lines))
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| line.pieces.iter().flatten()).map(|(_, value)| *value)
}

/// For a place on paper: what a float cannot tell apart, nobody can see.
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    fn interval(from_ms: u64, values: &[u64]) -> Interval {
        let mut histogram = Histogram::new_with_bounds(1, 600_000_000, 3).unwrap();
        values.iter().for_each(|value| histogram.record(*value).unwrap());
        Interval { from_ms, to_ms: from_ms + 1_000, histogram }
    }

    #[test]
    fn a_line_breaks_where_nothing_was_measured() {
        let line = staircase([(0, 1_000, Some(5)), (1_000, 2_000, None), (2_000, 3_000, Some(7))].into_iter());
        assert_eq!(line, [[(0.0, 5.0), (1_000.0, 5.0)], [(2_000.0, 7.0), (3_000.0, 7.0)]]);
        let line = staircase([(0, 999, Some(5)), (1_000, 2_000, Some(7)), (2_000, 3_000, Some(7))].into_iter());
        assert_eq!(line, [[(0.0, 5.0), (999.0, 5.0), (1_000.0, 7.0), (3_000.0, 7.0)]], "one that stays goes on");
    }

    #[test]
    fn intervals_of_a_step_are_one_distribution() {
        let intervals = [interval(0, &[10, 20]), interval(0, &[30]), interval(990, &[35]), interval(2_010, &[40])];
        let steps = merged(intervals.iter().collect(), 1_000).unwrap();
        let told: Vec<_> = steps.iter().map(|step| (step.from_ms, step.quantile(0.5), step.quantile(1.0))).collect();
        assert_eq!(told, [(0, Some(20), Some(30)), (990, Some(35), Some(35)), (2_010, Some(40), Some(40))]);
        let steps = merged(intervals.iter().collect(), 4_000).unwrap();
        let told: Vec<_> = steps.iter().map(|step| (step.to_ms, step.histogram.len(), step.quantile(1.0))).collect();
        assert_eq!(told, [(3_010, 5, Some(40))]);
    }

    #[test]
    fn the_curve_of_quantiles_reaches_from_the_fastest_to_the_slowest() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        histogram.record_n(100, 900).unwrap();
        histogram.record_n(200, 99).unwrap();
        histogram.record(900).unwrap();
        let curve = slower(&histogram);
        let within = |from, to| curve.iter().filter(move |(x, _)| (from..to).contains(x)).map(|(_, value)| *value);
        assert!(within(1.0, 9.9).all(|value| value == 100.0) && within(10.1, 990.0).all(|value| value == 200.0));
        assert_eq!((curve.first(), curve.last()), (Some(&(1.0, 100.0)), Some(&(1_000.0, 900.0))));
        assert!((70..75).contains(&curve.len()), "{}", curve.len());
    }
}
