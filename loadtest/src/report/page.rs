//! The page: what was run and what came of it in sentences, then the plots, then the tables.

use hdrhistogram::Histogram;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::folder::{Quantiles, Run};
use super::plot::Tone;
use super::series::{Of, Runs, Unit, latencies, measured, whole};
use super::words::{duration, instant, machine, milliseconds, ratio, seconds};
use crate::Failure;
use crate::tally::grouped;

/// Nothing but the style that is in the page is taken from anywhere, and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Quantiles over time of what the server measures.
const OF_SERVER: [(&str, Tone, f64); 3] =
    [("max", Tone::Strong, 1.0), ("p99", Tone::Second, 0.99), ("p50", Tone::First, 0.5)];
/// Quantiles over time of what callers see.
const OF_CALLERS: [(&str, Tone, f64); 4] =
    [("max", Tone::Strong, 1.0), ("p99.9", Tone::Third, 0.999), ("p99", Tone::Second, 0.99), ("p50", Tone::First, 0.5)];

/// The report of a run, beside another if there is one.
pub(super) fn page(runs: Runs<'_>) -> Result<String, Failure> {
    let Runs { this, other } = runs;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (this.told.title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                p { "A load test of Stampbook, a ledger of loyalty points." }
                h1 { (this.told.title) }
                @for doubt in this.doubts() { p.warning { (doubt) } }
                p { (this.what()) " Commands were sent when they were due, whether or not those before were answered." }
                p { @for sentence in this.outcome() { (sentence) " " } }
                p { "It ran on " (machine(&this.told.machine)) "." }
                @if let Some(other) = other { (compared(this, other)?) }
                (plots(runs)?)
                (phases(this))
                (totals(this))
                (latency(this))
                (machines(this, other))
                (scenarios(this, other))
            }
        }
    };
    Ok(page.into_string())
}

fn plots(runs: Runs<'_>) -> Result<Markup, Failure> {
    let callers =
        Of { name: "Latency over time", unit: Unit::Microseconds, quantiles: &OF_CALLERS, intervals: latencies };
    let server = |name, unit, intervals| runs.quantiles(Of { name, unit, quantiles: &OF_SERVER, intervals });
    let nothing_measured = || html! { p { "Nothing was measured." } };
    let plots = [
        (
            "Commands offered and answered",
            "What was due in each step of time, and what was answered in it, whenever it was due.",
            Some(runs.rate()),
        ),
        (
            "Latency over time",
            "From the moment when a command was due to its answer; p99 means that 99 of a hundred answers came at least as fast. A line breaks where nothing was answered.",
            runs.quantiles(callers)?,
        ),
        (
            "Latency by quantile",
            "How long the slowest of ten, of a hundred, of a thousand answers took; the end of a line is the slowest of all.",
            Some(runs.by_quantile()?),
        ),
        (
            "Queue age",
            "How long requests had waited in the server when its engine took them.",
            server("Queue age over time", Unit::Microseconds, |run| measured(run, "queue_age_us"))?,
        ),
        (
            "Commands in a frame",
            "A frame is what one write and one sync make durable together: it grows under load.",
            server("Commands in a frame over time", Unit::Commands, |run| measured(run, "commands_per_frame"))?,
        ),
        (
            "Sync time",
            "How long the server took to write a frame and to have the disk confirm it.",
            server("Sync time over time", Unit::Microseconds, |run| measured(run, "sync_us"))?,
        ),
    ];
    let step = runs.step_ms() / 1_000;
    Ok(html! {
        @for (name, explained, plot) in plots {
            figure {
                h2 { (name) }
                p { (explained) @if step > 1 && name != "Latency by quantile" { " A step is " (step) " s." } }
                @if runs.other.is_some() { (key()) }
                (plot.unwrap_or_else(nothing_measured))
            }
        }
    })
}

/// Which line is of which run.
fn key() -> Markup {
    let sample = |class| html! { svg viewBox="0 0 40 10" aria-hidden="true" { path class=(class) d="M0 5H40" {} } };
    html! {
        div.key {
            span { (sample("line strong")) " this run" }
            span { (sample("line other strong")) " the other run" }
        }
    }
}

fn phases(run: &Run) -> Markup {
    html! {
        section {
            h2 { "Phases" }
            div.wide { table {
                thead { tr { th { "phase" } th { "from, s" } th { "to, s" } th { "offered a second, mean" } } }
                @for phase in &run.told.phases {
                    tr {
                        td { (phase.name) }
                        td { (seconds(phase.from_ms)) }
                        td { (seconds(phase.to_ms)) }
                        td { (grouped(phase.offered_per_s)) }
                    }
                }
            } }
        }
    }
}

fn totals(run: &Run) -> Markup {
    let total = run.total();
    let rows = run.told.totals.iter().map(|(name, counts)| (name.as_str(), counts)).chain([("all", &total)]);
    html! {
        section {
            h2 { "Commands by operation" }
            p { "Refused and retried count each time; the others count each command once." }
            div.wide { table {
                thead { tr { th { "operation" } @for (name, _) in total.named() { th { (name) } } } }
                @for (name, counts) in rows {
                    tr { td { (name) } @for (_, count) in counts.named() { td { (grouped(count)) } } }
                }
            } }
        }
    }
}

fn latency(run: &Run) -> Markup {
    let times = |of: &Quantiles| [of.p50_us, of.p90_us, of.p99_us, of.p999_us, of.max_us];
    html! {
        section {
            h2 { "Latency by operation, in milliseconds" }
            div.wide { table {
                thead { tr {
                    th { "operation" }
                    @for name in ["p50", "p90", "p99", "p99.9", "max", "answers"] { th { (name) } }
                } }
                @for (name, of) in &run.told.latency {
                    tr {
                        td { (name) }
                        @for us in times(of) { td { (milliseconds(us)) } }
                        td { (grouped(of.count)) }
                    }
                }
            } }
        }
    }
}

fn machines(this: &Run, other: Option<&Run>) -> Markup {
    let rows = |run: &Run| {
        let of = &run.told.machine;
        let memory = format!("{} MiB", grouped(of.memory_mib));
        [instant(run.started_at), of.cpus.to_string(), of.cpu_model.clone(), memory, of.kernel.clone(), of.os.clone()]
    };
    let names = ["started", "CPUs", "CPU model", "memory", "kernel", "system"];
    let others = other.map(rows);
    html! {
        section {
            h2 { "Machine" }
            div.wide { table.machines {
                @if others.is_some() { thead { tr { th {} th { "this run" } th { "the other run" } } } }
                @for (number, (name, value)) in names.into_iter().zip(rows(this)).enumerate() {
                    tr {
                        th { (name) }
                        td { (value) }
                        @if let Some(value) = others.as_ref().and_then(|others| others.get(number)) { td { (value) } }
                    }
                }
            } }
        }
    }
}

fn scenarios(this: &Run, other: Option<&Run>) -> Markup {
    let another = other.map(|other| other.told.scenario.as_str()).filter(|text| *text != this.told.scenario);
    html! {
        section.long { h2 { "Scenario" } pre { (this.told.scenario) } }
        @if let Some(text) = another { section.long { h2 { "Scenario of the other run" } pre { (text) } } }
    }
}

/// How a figure is written.
type Write = fn(u64) -> String;
/// A row of the comparison: what, how it is written, and its values of this run and of the other.
type Row = (String, Write, u64, u64);

fn compared(this: &Run, other: &Run) -> Result<Markup, Failure> {
    let count: Write = |count| grouped(count);
    let mut rows: Vec<Row> = vec![("answered a second".into(), count, this.answered_per_s(), other.answered_per_s())];
    let (a, b) = (this.all(), other.all());
    let quantiles = [
        ("p50", a.p50_us, b.p50_us),
        ("p90", a.p90_us, b.p90_us),
        ("p99", a.p99_us, b.p99_us),
        ("p99.9", a.p999_us, b.p999_us),
        ("max", a.max_us, b.max_us),
    ];
    rows.extend(quantiles.map(|(name, a, b)| (format!("latency {name}"), duration as _, a, b)));
    let (a, b) = (this.told.longest_gap_us, other.told.longest_gap_us);
    rows.push(("longest while without an answer".into(), duration, a, b));
    let (a, b) = (this.total(), other.total());
    rows.extend(a.named().into_iter().zip(b.named()).map(|((name, a), (_, b))| (name.to_owned(), count, a, b)));
    rows.extend(measures(this, other)?);
    Ok(html! {
        section.long {
            h2 { "Beside another run" }
            p { "The other run is “" (other.told.title) "”: " (other.what()) " It ran on " (machine(&other.told.machine)) "." }
            @if this.told.machine != other.told.machine {
                p.warning { "The machines differ: the ratios tell of the machines as well." }
            }
            @if this.told.scenario != other.told.scenario {
                p.warning { "The scenarios differ: the ratios tell of the load as well." }
            }
            @for doubt in other.doubts() { p.warning { "Of the other run: " (doubt) } }
            div.wide { table {
                thead { tr { th { "" } th { "this run" } th { "the other run" } th { "this / the other" } } }
                @for (name, write, a, b) in rows {
                    tr { td { (name) } td { (write(a)) } td { (write(b)) } td { (ratio(a, b)) } }
                }
            } }
        }
    })
}

/// What both servers measured of themselves, over the whole runs.
fn measures(this: &Run, other: &Run) -> Result<Vec<Row>, Failure> {
    let tags: [(&str, &str, Write); 3] = [
        ("queue age", "queue_age_us", duration),
        ("commands in a frame", "commands_per_frame", |count| grouped(count)),
        ("sync time", "sync_us", duration),
    ];
    let mut rows = Vec::new();
    for (name, tag, write) in tags {
        let (a, b) = (whole(measured(this, tag))?, whole(measured(other, tag))?);
        if a.is_empty() || b.is_empty() {
            continue;
        }
        for (quantile, at) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let of = |histogram: &Histogram<u64>| histogram.value_at_quantile(at);
            rows.push((format!("{name} {quantile}"), write, of(&a), of(&b)));
        }
    }
    Ok(rows)
}
