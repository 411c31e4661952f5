//! Where values lie on a plot, and which of them are written beside its axes.
#![allow(clippy::float_arithmetic, reason = "places on paper; no points pass here")]

/// An axis: values from one end to the other, and where these lie in the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    kind: Kind,
    from: f64,
    to: f64,
    begin: f64,
    end: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Linear,
    /// Equal ratios are equal lengths.
    Log,
}

impl Scale {
    /// From nothing to `most`, or to the round value above it where `round` is asked for.
    pub(super) fn linear(most: f64, round: Option<usize>) -> Self {
        let most = most.max(1.0);
        let to = round.map_or(most, |ticks| {
            let step = step(most, ticks);
            (most / step).ceil() * step
        });
        Self { kind: Kind::Linear, from: 0.0, to, begin: 0.0, end: 1.0 }
    }

    /// From the round value well below `least` to the one above `most`, both at least 1.
    pub(super) fn log(least: f64, most: f64) -> Self {
        let from = round_below((least / 1.2).max(1.0));
        let mut to = from;
        while to < most {
            to = round_above(to);
        }
        Self { kind: Kind::Log, from, to: if to > from { to } else { round_above(from) }, begin: 0.0, end: 1.0 }
    }

    /// The same, laid between two places of the picture.
    pub(super) fn between(self, begin: f64, end: f64) -> Self {
        Self { begin, end, ..self }
    }

    /// Where a value lies; one beyond the ends lies at them.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        let share = match self.kind {
            Kind::Linear => (value - self.from) / (self.to - self.from),
            Kind::Log => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        self.begin + share * (self.end - self.begin)
    }

    /// Round values from end to end: about so many on a linear scale, where they are whole multiples of `unit`; on a logarithmic one
    /// powers of ten, and 2 and 5 times these where it is short.
    pub(super) fn ticks(&self, about: usize, unit: f64) -> Vec<f64> {
        let mut ticks = Vec::new();
        match self.kind {
            Kind::Linear => {
                let step = step(self.to / unit, about) * unit;
                let mut tick = self.from;
                while tick <= self.to + step * 1e-6 {
                    ticks.push(tick);
                    tick += step;
                }
            }
            Kind::Log => {
                let short = self.to / self.from < 1_500.0;
                let mut tick = self.from;
                while tick <= self.to * (1.0 + 1e-6) {
                    if short || is_power_of_ten(tick) {
                        ticks.push(tick);
                    }
                    tick = round_above(tick);
                }
            }
        }
        ticks
    }
}

/// The round step, at least 1, with which so many of them at most reach `span`.
fn step(span: f64, at_most: usize) -> f64 {
    let mut step = 1.0;
    // A plot has few ticks, so that a count of them is exact as a float.
    while span / step > at_most as f64 {
        step = round_above(step);
    }
    step
}

/// 1, 2 or 5 times a power of ten: the greatest not above `value`, which is at least 1.
fn round_below(value: f64) -> f64 {
    let mut round = 1.0;
    while round_above(round) <= value {
        round = round_above(round);
    }
    round
}

/// The next after a round value.
fn round_above(round: f64) -> f64 {
    let power = 10_f64.powf((round * 1.01).log10().floor());
    match round / power {
        lead if lead < 1.5 => 2.0 * power,
        lead if lead < 3.0 => 5.0 * power,
        _ => 10.0 * power,
    }
}

fn is_power_of_ten(round: f64) -> bool {
    let power = 10_f64.powf((round * 1.01).log10().floor());
    round / power < 1.5
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "places that are computed exactly")]

    use super::*;

    #[test]
    fn values_lie_in_proportion_between_the_ends() {
        let scale = Scale::linear(57_000.0, Some(5)).between(300.0, 0.0);
        assert_eq!([0.0, 30_000.0, 60_000.0].map(|value| scale.place(value)), [300.0, 150.0, 0.0]);
        assert_eq!(scale.place(70_000.0), 0.0, "beyond the end is at the end");
        assert_eq!(Scale::linear(57.0, None).between(0.0, 570.0).place(19.0), 190.0);
    }

    #[test]
    fn equal_ratios_are_equal_lengths_on_a_logarithmic_scale() {
        let scale = Scale::log(150.0, 1_000_000.0).between(0.0, 400.0);
        let places = [100.0, 1_000.0, 10_000.0, 1_000_000.0].map(|value| scale.place(value).round());
        assert_eq!(places, [0.0, 100.0, 200.0, 400.0]);
        assert_eq!(scale.place(0.0), 0.0, "nothing lies at the least");
    }

    #[test]
    fn ticks_are_round_and_within_the_ends() {
        let labels = |scale: Scale, about, unit| {
            scale.ticks(about, unit).into_iter().map(|tick| format!("{tick:.0}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(Scale::linear(57_000.0, Some(5)), 5, 1.0), "0 20000 40000 60000");
        assert_eq!(labels(Scale::linear(3.0, Some(5)), 5, 1.0), "0 1 2 3");
        assert_eq!(
            labels(Scale::linear(90_000.0, None), 10, 1_000.0),
            "0 10000 20000 30000 40000 50000 60000 70000 80000 90000"
        );
        assert_eq!(labels(Scale::log(250.0, 8_000.0), 5, 1.0), "200 500 1000 2000 5000 10000");
        assert_eq!(labels(Scale::log(3.0, 700_000.0), 5, 1.0), "10 100 1000 10000 100000 1000000");
        assert_eq!(labels(Scale::log(0.0, 0.0), 5, 1.0), "1 2");
    }
}
