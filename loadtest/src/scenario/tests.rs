#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;
use stampbook::proto::GetTrialBalanceRequest;
use stampbook::proto::account_service_client::AccountServiceClient;

use super::*;

/// Low rates, for a server without optimisation.
const TEXT: &str = r#"
    title = "A short one"
    program = "loadtest"
    seed = 11
    members = { count = 500, zipf = 1.0 }
    arrivals = "poisson"
    batch = 5
    warm_up_seconds = 0
    duplicates_percent = 20
    mix = { purchase = 30, visit = 30, redeem = 10, refund = 10, card = 10, statement = 4, event = 3, explain = 3 }
    [retry]
    attempts = 5
    backoff_ms = 20
    backoff_ms_max = 200
    budget_percent = 100
    [[phases]]
    name = "even"
    seconds = 2
    rate = 300
    [[phases]]
    name = "rising"
    seconds = 1
    rate = 300
    rate_at_end = 500
"#;

/// The newest op of the books.
async fn op(address: &str) -> u64 {
    let channel = client::connect(address).await.unwrap();
    let request = GetTrialBalanceRequest { program: "loadtest".to_owned(), ..GetTrialBalanceRequest::default() };
    AccountServiceClient::new(channel).get_trial_balance(request).await.unwrap().into_inner().op
}

/// Counts of a log by tag, and the greatest value.
fn read_log(file: &Path) -> BTreeMap<String, (u64, u64)> {
    let text = fs::read(file).unwrap();
    let mut counts: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for entry in IntervalLogIterator::new(&text) {
        let LogEntry::Interval(line) = entry.unwrap() else { continue };
        let bytes = BASE64_STANDARD.decode(line.encoded_histogram()).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        let (count, most) = counts.entry(line.tag().unwrap().as_str().to_owned()).or_default();
        (*count, *most) = (*count + histogram.len(), histogram.max().max(*most));
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_books_every_command_once_and_its_folder_says_so() {
    let stage = Stage::new(500).unwrap();
    let file = stage.path("short.toml");
    fs::write(&file, TEXT).unwrap();
    let config = stage.config("server", None, "").unwrap();
    let books = stage.prepared(None, &config).await.unwrap();
    let server = stage.serve(&books, &config).await.unwrap();
    let before = op(&server.address).await;
    let out = stage.path("run");
    let options = Options {
        file,
        target: Some(server.address.clone()),
        out: out.clone(),
        rate_percent: 100,
        seed: None,
        config: None,
        data: None,
    };
    scenario(options.clone(), true).await.unwrap();

    let run: Value = serde_json::from_slice(&fs::read(out.join("run.json")).unwrap()).unwrap();
    assert_eq!((&run["schema"], &run["seconds"], &run["kept_schedule"]), (&1.into(), &3.into(), &true.into()));
    assert_eq!(run["scenario"], TEXT);
    assert_eq!(run["phases"][1]["from_ms"], 2_000);
    let totals = run["totals"].as_object().unwrap();
    let sum = |what: &str| totals.values().map(|of| of[what].as_u64().unwrap()).sum::<u64>();

    // Each first outcome is an event, and each duplicate is the event of its first.
    assert_eq!(op(&server.address).await - before, sum("applied") + sum("rejected"));
    assert!(sum("replayed") > 50 && sum("conflicts") == 0, "{totals:?}");
    let reads = ["card", "statement", "event", "explain"].map(|name| totals[name]["answered"].as_u64().unwrap());
    assert!(reads.iter().all(|count| *count > 10), "{reads:?}");
    assert_eq!(sum("answered"), sum("applied") + sum("rejected") + sum("replayed") + reads.iter().sum::<u64>());
    assert_eq!((sum("sent"), sum("given_up"), sum("errors")), (sum("answered"), 0, 0));

    let mut csv = csv::Reader::from_path(out.join("seconds.csv")).unwrap();
    let names = csv.headers().unwrap().clone();
    let rows: Vec<_> = csv.records().map(|row| row.unwrap()).collect();
    for (column, name) in names.iter().enumerate().skip(1).take(11) {
        let of_rows: u64 = rows.iter().map(|row| row[column].parse::<u64>().unwrap()).sum();
        assert_eq!(of_rows, sum(if name == "offered" { "sent" } else { name }), "{name}");
    }
    for (at, row) in (0..).step_by(1_000).zip(&rows) {
        assert_eq!(row[0], at.to_string());
    }
    assert_eq!(rows.last().unwrap().iter().next_back(), Some("0"), "nothing is in flight in the end");

    let mut of_all = (0, 0);
    for (tag, (count, most)) in read_log(&out.join("latency.hlog")) {
        assert_eq!((&run["latency"][&tag]["count"], &run["latency"][&tag]["max_us"]), (&count.into(), &most.into()));
        of_all = (of_all.0 + count, most.max(of_all.1));
    }
    assert_eq!(of_all.0, sum("answered"));
    assert_eq!(run["latency"]["all"]["max_us"], of_all.1);
    let server_log = read_log(&out.join("server.hlog"));
    assert_eq!(server_log.keys().collect::<Vec<_>>(), ["commands_per_frame", "queue_age_us", "sync_us"]);

    let again = scenario(options, true).await.unwrap_err().to_string();
    assert!(again.ends_with("run holds something: name a folder that is empty or not there"), "{again}");
}
