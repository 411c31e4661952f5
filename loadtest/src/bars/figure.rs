//! One figure, the bar that it is held to, and the verdict.

use std::fmt;

use serde_json::{Value, json};

use crate::tally::grouped;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Commands, or events, a second.
    PerSecond,
    /// Thousandths, printed as a percentage.
    Permille,
    /// Microseconds.
    Us,
    /// Bytes.
    Bytes,
}

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    AtLeast(u64),
    AtMost(u64),
    /// It is only printed.
    Open,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// In words.
    pub(super) what: String,
    /// None where it could not be measured.
    pub(super) figure: Option<u64>,
    pub(super) unit: Unit,
    pub(super) bar: Bar,
    /// What else is to be known of it; may be empty.
    pub(super) note: String,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::Permille => "per mille",
            Self::Us => "us",
            Self::Bytes => "bytes",
        }
    }

    fn told(self, number: u64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", grouped(number)),
            Self::Permille => format!("{}.{} %", grouped(number / 10), number % 10),
            Self::Us => format!("{} us", grouped(number)),
            Self::Bytes => format!("{} bytes", grouped(number)),
        }
    }
}

impl Bar {
    fn verdict(self, figure: Option<u64>) -> &'static str {
        match (self, figure) {
            (_, None) => "not measured",
            (Self::AtLeast(bar), Some(figure)) if figure >= bar => "reached",
            (Self::AtMost(bar), Some(figure)) if figure <= bar => "reached",
            (Self::Open, Some(_)) => "no bar",
            (Self::AtLeast(_) | Self::AtMost(_), Some(_)) => "missed",
        }
    }
}

impl Figure {
    /// A figure with nothing more to say of it.
    pub(super) fn new(what: impl Into<String>, figure: u64, unit: Unit, bar: Bar) -> Self {
        Self { what: what.into(), figure: Some(figure), unit, bar, note: String::new() }
    }

    /// What could not be measured, and why.
    pub(super) fn missing(what: String, why: String) -> Self {
        Self { what, figure: None, unit: Unit::PerSecond, bar: Bar::Open, note: why }
    }

    /// The same with more to say of it.
    pub(super) fn noting(self, note: String) -> Self {
        Self { note, ..self }
    }

    /// A line of a table whose first column is so wide.
    pub(super) fn line(&self, width: usize) -> String {
        let bar = match self.bar {
            Bar::AtLeast(bar) => format!("at least {}", self.unit.told(bar)),
            Bar::AtMost(bar) => format!("at most {}", self.unit.told(bar)),
            Bar::Open => String::new(),
        };
        let figure = self.figure.map(|figure| self.unit.told(figure)).unwrap_or_default();
        let verdict = self.bar.verdict(self.figure);
        let line = format!("{:<width$}  {figure:>16}  {bar:<24}  {verdict:<12}  {}", self.what, self.note);
        line.trim_end().to_owned()
    }

    /// For programs.
    pub(super) fn json(&self, name: &str) -> Value {
        let bar = match self.bar {
            Bar::AtLeast(bar) => json!({ "at_least": bar }),
            Bar::AtMost(bar) => json!({ "at_most": bar }),
            Bar::Open => Value::Null,
        };
        json!({
            "name": name, "what": self.what, "figure": self.figure, "unit": self.figure.map(|_| self.unit.name()), "bar": bar,
            "verdict": self.bar.verdict(self.figure), "note": self.note,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_compare_in_the_direction_of_the_bar() {
        for (bar, figure, verdict) in [
            (Bar::AtLeast(100), 100, "reached"),
            (Bar::AtLeast(100), 99, "missed"),
            (Bar::AtMost(100), 100, "reached"),
            (Bar::AtMost(100), 101, "missed"),
            (Bar::Open, 0, "no bar"),
        ] {
            assert_eq!(bar.verdict(Some(figure)), verdict, "{bar:?} {figure}");
            assert_eq!(bar.verdict(None), "not measured");
        }
    }

    #[test]
    fn the_json_has_bar_figure_and_verdict() {
        let figure = Figure::new("rate", 849, Unit::Permille, Bar::AtLeast(850)).noting("three rounds".to_owned());
        let told = figure.json("unary");
        assert_eq!((&told["name"], &told["what"], &told["figure"]), (&json!("unary"), &json!("rate"), &json!(849)));
        assert_eq!((&told["bar"]["at_least"], &told["unit"]), (&json!(850), &json!("per mille")));
        assert_eq!((&told["verdict"], &told["note"]), (&json!("missed"), &json!("three rounds")));
        assert_eq!(Figure { bar: Bar::Open, ..figure }.json("unary")["bar"], Value::Null);
    }

    #[test]
    fn what_could_not_be_measured_has_a_verdict_and_no_figure() {
        let missing = Figure::missing("start".to_owned(), "no room".to_owned());
        let told = missing.json("restart");
        assert_eq!((&told["verdict"], &told["note"]), (&json!("not measured"), &json!("no room")));
        assert!(["figure", "unit", "bar"].iter().all(|field| told[field].is_null()), "{told}");
        assert!(!missing.to_string().contains("/s"), "{missing}");
    }

    #[test]
    fn people_are_told_percentages_and_what_was_to_be_reached() {
        let line = Figure::new("rate", 849, Unit::Permille, Bar::AtLeast(1_000)).to_string();
        assert!(line.contains("84.9 %") && line.contains("at least 100.0 %") && line.ends_with("missed"), "{line}");
    }
}
