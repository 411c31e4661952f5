//! Reports of folders as `loadtest scenario` leaves them, written here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde_json::{Value, json};

use super::folder::Run;
use super::page::page;
use super::series::Runs;

/// Seconds of each of the three phases.
const PHASE: u64 = 10;
const CALM: u64 = 3_000;
const STEP: u64 = 60_000;

/// Commands offered in that second.
fn offered(second: u64) -> u64 {
    if (PHASE..2 * PHASE).contains(&second) { STEP } else { CALM }
}

fn log(path: &Path, tags: &[(&str, u64)]) {
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut builder = IntervalLogWriterBuilder::new();
    builder.with_base_time(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mut writer = builder.begin_log_with(&mut bytes, &mut serializer).unwrap();
    for second in 0..3 * PHASE {
        for (tag, usual) in tags {
            let mut histogram = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3).unwrap();
            let load = offered(second) / CALM;
            // A hundred values from the usual one up, the last of them far off.
            for percent in 0..100 {
                histogram.record(usual * load * (100 + percent) / 100).unwrap();
            }
            histogram.record(usual * load * (9 + second % 5)).unwrap();
            let from = Duration::from_secs(second);
            writer.write_histogram(&histogram, from, Duration::from_secs(1), Tag::new(tag)).unwrap();
        }
    }
    std::fs::write(path, bytes).unwrap();
}

fn told(title: &str) -> Value {
    let counts = |sent: u64| {
        json!({ "sent": sent, "answered": sent - 7, "applied": sent - 107, "rejected": 60, "replayed": 30, "conflicts": 10,
            "refused": 21, "retried": 14, "given_up": 5, "errors": 2 })
    };
    let quantiles = |p50: u64| json!({ "p50_us": p50, "p90_us": p50 * 2, "p99_us": p50 * 3, "p999_us": p50 * 5, "max_us": p50 * 9, "count": 654_321 });
    json!({
        "schema": 1, "title": title, "scenario": "title = \"Midnight\" # <b>& more</b>", "started_at": "2026-11-22T18:30:00Z",
        "machine": { "cpus": 2, "cpu_model": "A CPU", "memory_mib": 24_576, "kernel": "6.1.0", "os": "Debian 12" },
        "seconds": 3 * PHASE, "warm_up_seconds": 5,
        "phases": [
            { "name": "before", "from_ms": 0, "to_ms": PHASE * 1_000, "offered_per_s": CALM },
            { "name": "midnight", "from_ms": PHASE * 1_000, "to_ms": 2 * PHASE * 1_000, "offered_per_s": STEP },
            { "name": "after", "from_ms": 2 * PHASE * 1_000, "to_ms": 3 * PHASE * 1_000, "offered_per_s": CALM },
        ],
        "totals": { "earn": counts(600_000), "redeem": counts(60_000) },
        "latency": { "earn": quantiles(1_100), "redeem": quantiles(1_300), "all": quantiles(1_234) },
        "longest_gap_us": 12_345, "gap_from_ms": 10_412, "late_us_max": 180, "kept_schedule": true,
    })
}

/// A folder of a midnight step.
fn write_run(dir: &Path, told: &Value) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("run.json"), told.to_string()).unwrap();
    let mut rows = String::from(
        "at_ms,offered,sent,answered,applied,rejected,replayed,conflicts,refused,retried,given_up,errors,in_flight\n",
    );
    for second in 0..3 * PHASE {
        let (at_ms, offered) = (second * 1_000, offered(second));
        let answered = offered - offered / 100 * (second % 3);
        rows += &format!("{at_ms},{offered},{offered},{answered},{answered},0,0,0,{},0,0,0,4\n", second % 2);
    }
    std::fs::write(dir.join("seconds.csv"), rows).unwrap();
    log(&dir.join("latency.hlog"), &[("earn", 900), ("redeem", 1_300)]);
    log(&dir.join("server.hlog"), &[("queue_age_us", 40), ("commands_per_frame", 30), ("sync_us", 700)]);
}

fn reported(dir: &Path, other: Option<&Path>) -> String {
    let (this, other) = (Run::read(dir).unwrap(), other.map(|other| Run::read(other).unwrap()));
    page(Runs { this: &this, other: other.as_ref() }).unwrap()
}

#[test]
fn the_page_has_every_plot_and_says_what_came_out() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &told("Midnight step x20"));
    let page = reported(dir.path(), None);
    assert_eq!((page.matches("<figure>").count(), page.matches("<svg").count()), (6, 6));
    for said in [
        "Of 660,000 commands 659,986 were answered: 21,999 a second over the whole run, 60,000 in the busiest second.",
        "Half of the answers came within 1.23 ms, 99 % within 3.7 ms, 99.9 % within 6.17 ms, the last within 11.1 ms",
        "The longest while without any answer was 12.3 ms, 10.412 s after the start.",
        "refused by the server: 42, each time counted; sent again: 28; given up: 10; failed: 4.",
        "2 CPUs (A CPU), 24.0 GiB of memory, Debian 12, kernel 6.1.0",
        "<td>midnight</td><td>10</td><td>20</td><td>60,000</td>",
        "<td>earn</td><td>600,000</td><td>599,993</td><td>599,893</td><td>60</td><td>30</td><td>10</td><td>21</td><td>14</td>",
        "<td>redeem</td><td>1.300</td><td>2.600</td><td>3.900</td><td>6.500</td><td>11.700</td><td>654,321</td>",
        ">midnight</text>",
        // Of 60,000 a second 3,000 are a twentieth of the height, and each phase is a third of the width.
        "class=\"line faint\" d=\"M72.0 235.6H265.3V38.0H458.7V235.6H652.0\"",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("the other run"), "there is none");
}

#[test]
fn a_run_that_left_commands_without_an_answer_says_that_they_are_in_no_latency() {
    let dir = tempfile::tempdir().unwrap();
    let doubt = "got no answer: they are in no latency";
    let mut told = told("Midnight");
    write_run(dir.path(), &told);
    assert!(!reported(dir.path(), None).contains(doubt), "14 of 660,000 change no quantile that is shown");
    told["totals"]["earn"]["answered"] = json!(540_000);
    write_run(dir.path(), &told);
    assert!(reported(dir.path(), None).contains(&format!("60,007 of 660,000 commands {doubt}")));
}

#[test]
fn the_page_is_one_file_and_its_colours_follow_the_reader() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &told("Midnight"));
    let page = reported(dir.path(), None);
    let body = page.split_once("</style>").unwrap().1;
    for foreign in ["http:", "https:", "src=", "url(", "@import", "<script", "<link", "style="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for fixed in ["#0", "#f", "rgb(", "fill=", "stroke="] {
        assert!(!body.contains(fixed), "{fixed}");
    }
    assert!(page.contains("@media screen and (prefers-color-scheme: dark)") && page.contains("@media print"));
}

#[test]
fn text_of_the_folder_is_text_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let evil = "</title></style><script>alert(1)</script>\"'&";
    let mut told = told(evil);
    for place in ["/scenario", "/machine/cpu_model", "/machine/os", "/machine/kernel", "/phases/1/name"] {
        *told.pointer_mut(place).unwrap() = evil.into();
    }
    let counts = told["totals"]["earn"].clone();
    told["totals"] = json!({ evil: counts });
    told["latency"][evil] = told["latency"]["earn"].clone();
    write_run(dir.path(), &told);
    log(&dir.path().join("latency.hlog"), &[("<script>alert(2)</script>", 900), ("redeem", 900)]);
    let page = reported(dir.path(), Some(dir.path()));
    assert!(!page.contains("<script"));
    assert!(page.contains("<h1>&lt;/title&gt;&lt;/style&gt;&lt;script&gt;alert(1)&lt;/script&gt;"));
    let alone = reported(dir.path(), None);
    assert!(alone.contains("&lt;script&gt;alert(2)&lt;/script&gt;</text>") && !alone.contains("<script"));
}

#[test]
fn another_run_is_in_every_plot_and_its_ratios_are_told() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_run(dir.path(), &told("Midnight"));
    let mut slower = told("Midnight before");
    slower["latency"]["all"]["p99_us"] = 7_404.into();
    slower["totals"]["earn"]["answered"] = 120_000.into();
    slower["machine"]["cpu_model"] = "Another CPU".into();
    write_run(other.path(), &slower);
    log(&other.path().join("server.hlog"), &[("queue_age_us", 80), ("commands_per_frame", 30), ("sync_us", 700)]);
    let page = reported(dir.path(), Some(other.path()));
    let figures: Vec<_> = page.split("<figure>").skip(1).collect();
    assert_eq!(figures.len(), 6);
    for figure in figures {
        let body = figure.split_once("role=\"img\"").unwrap().1.split_once("</svg>").unwrap().0;
        let dashed = body.matches(" other\"").count();
        assert!(dashed >= 1 && dashed * 2 == body.matches("class=\"line").count(), "{figure}");
    }
    for said in [
        "<td>latency p99</td><td>3.7 ms</td><td>7.4 ms</td><td>0.50</td>",
        "<td>answered a second</td><td>21,999</td><td>5,999</td><td>3.66</td>",
        "<td>queue age p50</td><td>70 µs</td><td>140 µs</td><td>0.50</td>",
        "<td>A CPU</td><td>Another CPU</td>",
        "The machines differ",
        "“Midnight before”",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("The scenarios differ"));
}

#[test]
fn a_folder_without_the_servers_own_measures_still_gives_a_report() {
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), &told("Midnight"));
    std::fs::remove_file(dir.path().join("server.hlog")).unwrap();
    let page = reported(dir.path(), None);
    assert!(page.contains("has no server.hlog"));
    assert_eq!((page.matches("Nothing was measured.").count(), page.matches("<svg").count()), (3, 3));
}

#[test]
fn a_run_of_nothing_and_a_run_of_hours_can_be_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = told("Nothing");
    (told["phases"], told["totals"], told["latency"]) = (json!([]), json!({}), json!({}));
    write_run(dir.path(), &told);
    let header = "at_ms,offered,answered,refused,given_up,errors\n";
    std::fs::write(dir.path().join("seconds.csv"), header).unwrap();
    std::fs::write(dir.path().join("latency.hlog"), "#nothing\n").unwrap();
    assert!(reported(dir.path(), None).contains("Of 0 commands 0 were answered"));
    let rows: String = (0..7_200).map(|second| format!("{},{},5,0,0,0\n", second * 1_000, second % 20)).collect();
    std::fs::write(dir.path().join("seconds.csv"), header.to_owned() + &rows).unwrap();
    let page = reported(dir.path(), None);
    assert!(page.contains("A step is 20 s."), "two hours are drawn in 360 steps");
    let rates = page.split("</figure>").next().unwrap();
    assert!(rates.contains("text-anchor=\"end\">10</text>") && !rates.contains(">200<"), "a step is a mean a second");
}

#[test]
fn a_damaged_or_foreign_folder_is_refused_by_the_name_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = (dir.path(), told("Midnight"));
    let refused = |file: &str, text: &str, why: &str| {
        write_run(path, &whole);
        std::fs::write(path.join(file), text).unwrap();
        let error = Run::read(path).unwrap_err().to_string();
        assert!(error.starts_with(&path.join(file).display().to_string()) && error.contains(why), "{error}");
    };
    let without = |field: &str| {
        let mut told = whole.clone();
        told.as_object_mut().unwrap().remove(field);
        told.to_string()
    };
    refused("run.json", "{", "EOF");
    refused("run.json", "{\"name\":\"package\"}", "missing field `schema`");
    refused("run.json", &whole.to_string().replace("\"schema\":1", "\"schema\":2"), "schema is 2");
    refused("run.json", &without("longest_gap_us"), "missing field `longest_gap_us`");
    refused("run.json", &whole.to_string().replace("2026-11-22T", "yesterday "), "started_at");
    refused("seconds.csv", "at_ms,offered\n0,1\n", "missing field `answered`");
    refused("seconds.csv", "at_ms,offered,answered,refused,given_up,errors\n0,1,x,0,0,0\n", "line: 2");
    refused("latency.hlog", "nothing of the kind", "no HdrHistogram interval log");
    refused("server.hlog", "0.000,1.000,1.000,AAAA\n", "entry 1");
    for gone in ["run.json", "seconds.csv", "latency.hlog"] {
        write_run(path, &whole);
        std::fs::remove_file(path.join(gone)).unwrap();
        assert!(Run::read(path).unwrap_err().to_string().contains(gone));
    }
}
