//! A plot as inline SVG. Its colours are classes, so that they are the page's: dark in a dark room, dark on white in print.
//!
//! The few elements that a plot has are written here: of the libraries with an SVG backend none lets the page choose the colours, and each would
//! bring more code than is here.
#![allow(clippy::float_arithmetic, reason = "places on paper; no points pass here")]

use maud::{Markup, html};

use super::scale::Scale;

/// The picture's size, and where in it the plot lies, in units of the picture.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 652.0;
const TOP: f64 = 38.0;
const BOTTOM: f64 = 246.0;
/// Two labels are at least so far apart.
const LABEL_HEIGHT: f64 = 15.0;
/// About how wide a character is.
const CHARACTER: f64 = 6.6;

/// A plot.
pub(super) struct Plot {
    /// What it shows, for who cannot see it.
    pub(super) name: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) bands: Vec<Band>,
    /// Drawn in this order: each lies over those before it.
    pub(super) lines: Vec<Line>,
}

/// An axis, with what is written beside it.
pub(super) struct Axis {
    pub(super) scale: Scale,
    /// What is told along it, with the unit where the ticks do not have it.
    pub(super) name: &'static str,
    pub(super) ticks: Vec<(f64, String)>,
}

/// A stretch along the x axis with a name.
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}

/// What tells lines apart, beside their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    First,
    Second,
    Third,
    Fourth,
    /// What all the others are held against: broad, under them.
    Strong,
    /// What was to be: broader still, and pale.
    Faint,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Third => "third",
            Self::Fourth => "fourth",
            Self::Strong => "strong",
            Self::Faint => "faint",
        }
    }
}

/// A line with its name at its end.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) tone: Tone,
    /// Of the run that is compared with: dashed, and named by the line of the same tone.
    pub(super) other: bool,
    /// Pieces of joined points.
    pub(super) pieces: Vec<Vec<(f64, f64)>>,
}

impl Plot {
    /// The picture.
    pub(super) fn svg(&self) -> Markup {
        let (x, y) = (self.x.scale.between(LEFT, RIGHT), self.y.scale.between(BOTTOM, TOP));
        html! {
            svg viewBox=(format!("0 0 {WIDTH:.0} {HEIGHT:.0}")) role="img" aria-label=(self.name) {
                @for (number, band) in self.bands.iter().enumerate() { (stripe(band, number, x)) }
                @for (at, label) in &self.y.ticks {
                    path class="grid" d={ "M" (LEFT) " " (px(y.place(*at))) "H" (RIGHT) } {}
                    text x=(LEFT - 8.0) y=(px(y.place(*at) + 4.0)) text-anchor="end" { (label) }
                }
                @for (at, label) in &self.x.ticks {
                    path class="tick" d={ "M" (px(x.place(*at))) " " (BOTTOM) "v5" } {}
                    text x=(px(x.place(*at))) y=(BOTTOM + 19.0) text-anchor="middle" { (label) }
                }
                path class="axis" d={ "M" (LEFT) " " (BOTTOM) "H" (RIGHT) } {}
                text.name x="0" y="12" { (self.y.name) }
                text.name x=(RIGHT) y=(BOTTOM + 38.0) text-anchor="end" { (self.x.name) }
                @for line in &self.lines { (trace(line, x, y)) }
                @for (at, line) in self.labels(y) {
                    text.label.(line.tone.class()) x=(RIGHT + 8.0) y=(px(at + 4.0)) { (line.name) }
                }
            }
        }
    }

    /// The names of the lines and how far down each lies: beside the line's end, but no two over each other.
    fn labels(&self, y: Scale) -> Vec<(f64, &Line)> {
        let named = self.lines.iter().filter(|line| !line.other);
        let end = |line: &Line| line.pieces.last().and_then(|piece| piece.last()).map(|(_, value)| y.place(*value));
        let mut labels: Vec<_> = named.filter_map(|line| Some((end(line)?, line))).collect();
        labels.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let places: Vec<_> = labels.iter().map(|(at, _)| *at).collect();
        spread(&places).into_iter().zip(labels).map(|(at, (_, line))| (at, line)).collect()
    }
}

/// Moves places, which are in order, as little apart as makes them a label's height apart, within the plot.
fn spread(places: &[f64]) -> Vec<f64> {
    let mut spread: Vec<f64> = Vec::with_capacity(places.len());
    for place in places {
        let above = spread.last().map_or(f64::MIN, |above| above + LABEL_HEIGHT);
        spread.push(place.max(above));
    }
    let mut below = BOTTOM + LABEL_HEIGHT;
    for place in spread.iter_mut().rev() {
        *place = place.min(below - LABEL_HEIGHT);
        below = *place;
    }
    spread
}

/// A band, every other one shaded, with its name where that fits.
fn stripe(band: &Band, number: usize, x: Scale) -> Markup {
    let (from, to) = (x.place(band.from), x.place(band.to));
    // Names are short, so that a count of their characters is exact as a float.
    let fits = band.name.chars().count() as f64 * CHARACTER < to - from;
    html! {
        rect.band.shaded[!number.is_multiple_of(2)] x=(px(from)) y=(TOP - 16.0) width=(px(to - from)) height=(BOTTOM - TOP + 16.0) {
            title { (band.name) }
        }
        @if fits { text.phase x=(px((from + to) / 2.0)) y=(TOP - 4.0) text-anchor="middle" { (band.name) } }
    }
}

fn trace(line: &Line, x: Scale, y: Scale) -> Markup {
    let mut path = String::new();
    for piece in &line.pieces {
        let mut before = None;
        for (at, value) in piece {
            let (at, value) = (px(x.place(*at)), px(y.place(*value)));
            path += &match &before {
                None => format!("M{at} {value}"),
                Some((x, y)) if *x == at && *y == value => String::new(),
                Some((_, y)) if *y == value => format!("H{at}"),
                Some((x, _)) if *x == at => format!("V{value}"),
                Some(_) => format!("L{at} {value}"),
            };
            before = Some((at, value));
        }
    }
    html! { path.line.other[line.other].(line.tone.class()) d=(path) {} }
}

/// A place in the picture, to a tenth of its unit.
fn px(place: f64) -> String {
    format!("{place:.1}")
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    fn axis(scale: Scale) -> Axis {
        Axis { scale, name: "value", ticks: vec![(0.0, "0".into())] }
    }

    fn line(name: &str, pieces: Vec<Vec<(f64, f64)>>) -> Line {
        Line { name: name.into(), tone: Tone::First, other: false, pieces }
    }

    fn plot(lines: Vec<Line>) -> Plot {
        let (x, y) = (axis(Scale::linear(100.0, None)), axis(Scale::linear(10.0, None)));
        Plot { name: "a plot", x, y, bands: Vec::new(), lines }
    }

    #[test]
    fn points_lie_where_the_scales_put_them_and_gaps_are_not_bridged() {
        let pieces = vec![vec![(0.0, 0.0), (50.0, 5.0)], vec![(75.0, 10.0), (100.0, 10.0)]];
        let svg = plot(vec![line("p50", pieces)]).svg().into_string();
        assert!(svg.contains(r#"d="M72.0 246.0L362.0 142.0M507.0 38.0H652.0""#), "{svg}");
    }

    #[test]
    fn labels_keep_their_order_and_a_distance_within_the_plot() {
        assert_eq!(spread(&[100.0, 200.0]), [100.0, 200.0]);
        assert_eq!(spread(&[100.0, 101.0, 102.0]), [100.0, 115.0, 130.0]);
        assert_eq!(spread(&[240.0, 245.0, 246.0]), [216.0, 231.0, 246.0]);
        let lines = ["low", "high"].into_iter().zip([1.0, 9.0]);
        let lines = lines.map(|(name, value)| line(name, vec![vec![(0.0, value)]])).collect();
        let svg = plot(lines).svg().into_string();
        assert!(svg.find(">high<").unwrap() < svg.find(">low<").unwrap(), "from top to bottom: {svg}");
    }

    #[test]
    fn the_other_run_is_dashed_and_a_name_cannot_break_out() {
        let name = "</text><script>alert(1)</script>";
        let other = Line { other: true, ..line("p50", vec![vec![(0.0, 1.0)]]) };
        let mut plot = plot(vec![line(name, vec![vec![(0.0, 1.0)]]), other]);
        plot.bands.push(Band { from: 0.0, to: 100.0, name: name.into() });
        let svg = plot.svg().into_string();
        assert!(!svg.contains("<script>"), "{svg}");
        assert_eq!(svg.matches("other").count(), 1);
    }
}
