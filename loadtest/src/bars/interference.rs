//! Latency of open-loop load at 70 % of capacity with checkpoints and a snapshot, against the same without, in turn: `loadtest open --alternate`.

use serde_json::Value;

use super::figure::{Bar, Figure, Unit};
use super::tool::{number, run};
use super::{Ground, permille};
use crate::Failure;
use crate::tally::grouped;

/// p99 with, of p99 without.
const P99_PERMILLE_MAX: u64 = 2_000;
/// The longest latency, and the longest while without an answer.
const STALL_US_MAX: u64 = 100_000;
/// A window must be long enough for a checkpoint and a snapshot.
const SECONDS: u64 = 300;
const QUICK_SECONDS: u64 = 20;

/// How long a window would last at full rate.
pub(super) fn full_seconds(quick: bool) -> u64 {
    if quick { QUICK_SECONDS } else { SECONDS * 7 / 10 }
}

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    ground.stage.prepared(Some(&ground.members_folder()), &ground.config).await?;
    let seconds = if ground.quick { QUICK_SECONDS } else { SECONDS }.to_string();
    let members = ground.stage.members.to_string();
    let folder = ground.members_folder().display().to_string();
    let told = run([
        "open",
        "--alternate",
        "1",
        "--percent",
        "70",
        "--seconds",
        &seconds,
        "--members",
        &members,
        "--data",
        &folder,
    ])
    .await?;
    figures.extend(figures_of(&told)?);
    Ok(())
}

/// By what `open --alternate --json` prints: `a` is with, `b` without.
fn figures_of(told: &Value) -> Result<Vec<Figure>, Failure> {
    let windows = told.pointer("/a/windows").and_then(Value::as_array).into_iter().flatten();
    for window in windows {
        let snapshot = window.pointer("/snapshot/Ok").is_some();
        if number(window, "/checkpoints")? == 0 || !snapshot {
            return Err("there was no checkpoint, or no snapshot, to stand in the way".into());
        }
    }
    let (p99, without) = (number(told, "/a/whole/p99_us")?, number(told, "/b/whole/p99_us")?);
    let rate = grouped(number(told, "/rate_per_s")?);
    let held_back = sum(told, "/a/windows", "held_back") + sum(told, "/b/windows", "held_back");
    let mut note = format!("open loop at {rate}/s: {} us against {} us", grouped(p99), grouped(without));
    if held_back > 0 {
        note += &format!("; the schedule was not kept, {} requests held back", grouped(held_back));
    }
    let checkpoints = sum(told, "/a/windows", "checkpoints");
    let p999 = grouped(number(told, "/a/whole/p999_us")?);
    Ok(vec![
        Figure::new(
            "p99 with checkpoints and a snapshot, of without",
            permille(p99, without),
            Unit::Permille,
            Bar::AtMost(P99_PERMILLE_MAX),
        )
        .noting(note),
        Figure::new("longest latency with them", number(told, "/a/whole/max_us")?, Unit::Us, Bar::AtMost(STALL_US_MAX))
            .noting(format!("p99.9 {p999} us; {checkpoints} checkpoints")),
        Figure::new("longest while without an answer", number(told, "/a/gap_us")?, Unit::Us, Bar::AtMost(STALL_US_MAX)),
    ])
}

fn sum(told: &Value, windows: &str, field: &str) -> u64 {
    let windows = told.pointer(windows).and_then(Value::as_array).into_iter().flatten();
    windows.filter_map(|window| window.get(field)?.as_u64()).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn with_is_held_against_without() {
        let side = |p99: u64| {
            json!({ "whole": { "p99_us": p99, "p999_us": 9, "max_us": 90_000 }, "gap_us": 120_000,
                "windows": [{ "held_back": 0, "checkpoints": 2, "snapshot": { "Ok": 7 } },
                    { "held_back": 3, "checkpoints": 1, "snapshot": { "Ok": 8 } }] })
        };
        let told = json!({ "rate_per_s": 7, "a": side(3_000), "b": side(1_000) });
        let figures = figures_of(&told).unwrap();
        assert_eq!(figures[0].figure, Some(3_000));
        assert!(figures[0].note.contains("6 requests held back"), "{}", figures[0].note);
        let verdicts: Vec<_> = figures.iter().map(|figure| figure.json("")["verdict"].clone()).collect();
        assert_eq!(verdicts, ["missed", "reached", "missed"]);
        assert!(figures_of(&json!({ "a": 1 })).is_err());
        for (field, with) in [("checkpoints", json!(0)), ("snapshot", json!({ "Err": "refused" }))] {
            let mut told = told.clone();
            told["a"]["windows"][1][field] = with;
            assert!(figures_of(&told).is_err(), "{field}");
        }
    }
}
