//! A start after a crash with a long tail and cold files: `loadtest restart`.

use serde_json::Value;

use super::Ground;
use super::figure::{Bar, Figure, Unit};
use super::tool::{number, run};
use crate::Failure;
use crate::log::field;
use crate::tally::grouped;

/// Events replayed a second.
const PER_SECOND_MIN: u64 = 2_000_000;
/// From the start of the process to its taking of requests.
const READY_US_MAX: u64 = 10_000_000;
/// Bytes of tail when it is only tried.
const QUICK_TAIL_BYTES: u64 = 100 << 20;

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    ground.stage.prepared(Some(&ground.members_folder()), &ground.config).await?;
    let members = ground.stage.members.to_string();
    let mut arguments = vec!["restart".to_owned(), "--members".to_owned(), members, "--data".to_owned()];
    arguments.push(ground.members_folder().display().to_string());
    if ground.quick {
        arguments.extend(["--tail-bytes".to_owned(), QUICK_TAIL_BYTES.to_string()]);
    }
    figures.extend(figures_of(&run(arguments).await?)?);
    Ok(())
}

/// By what `restart --json` prints.
fn figures_of(told: &Value) -> Result<Vec<Figure>, Failure> {
    let lines = told.get("log").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let started = |name| lines.clone().find_map(|line| field(line, name));
    let rate = started("per_second").ok_or("the server does not say how fast it replayed")?;
    let replayed = started("replayed").unwrap_or_default();
    let tail = grouped(number(told, "/tail_bytes")? >> 20);
    Ok(vec![
        Figure::new("replay after a crash, events", rate, Unit::PerSecond, Bar::AtLeast(PER_SECOND_MIN))
            .noting(format!("{} events, {tail} MiB, caches cold", grouped(replayed))),
        Figure::new("ready after a crash", number(told, "/ready_ms")? * 1_000, Unit::Us, Bar::AtMost(READY_US_MAX)),
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn the_rate_is_what_the_server_says_of_its_start() {
        let line = "2026-01-01T00:00:00Z INFO the state is at the end of the book checkpoint_op=3 replayed=2500000 per_second=1999999 open=1ms";
        let told = json!({ "ready_ms": 10_000, "tail_bytes": 1 << 29, "log": ["opening the book", line] });
        let figures = figures_of(&told).unwrap();
        assert_eq!((figures[0].figure, figures[1].figure), (Some(1_999_999), Some(10_000_000)));
        let verdicts: Vec<_> = figures.iter().map(|figure| figure.json("")["verdict"].clone()).collect();
        assert_eq!(verdicts, ["missed", "reached"]);
    }
}
