//! What the server measured of its write path, over gRPC and on the command line.

use std::collections::BTreeMap;
use std::process::Command;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;
use stampbook::proto::GetMetricsRequest;

use crate::house::{House, gift};

async fn metrics(house: &mut House) -> BTreeMap<String, Histogram<u64>> {
    let answer = house.admin.get_metrics(GetMetricsRequest {}).await.unwrap().into_inner();
    assert!(answer.at_us > 0);
    let read = |bytes: Vec<u8>| Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
    answer.metrics.into_iter().map(|metric| (metric.name, read(metric.histogram))).collect()
}

/// The sum of all values, which are recorded exactly where they are small.
fn sum(histogram: &Histogram<u64>) -> u64 {
    histogram.iter_recorded().map(|step| step.value_iterated_to() * step.count_at_value()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_and_each_frame_is_measured_once() {
    let mut house = House::furnished().await;
    let before = metrics(&mut house).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), ["commands_per_frame", "queue_age_us", "sync_us"]);
    // One after another, so that each is a frame of its own.
    for number in 0..3 {
        house.post(gift(&format!("g{number}"), "ann", 5)).await.unwrap();
    }
    let batch = (0..40).map(|number| gift(&format!("b{number}"), "ann", 1)).collect();
    let newest = house.batch(batch, false).await.unwrap().last().unwrap().op;
    // What is known already is asked for, and no frame is written.
    house.post(gift("g0", "ann", 5)).await.unwrap();
    let after = metrics(&mut house).await;
    let more = |name: &str| after[name].len() - before[name].len();
    assert_eq!(["queue_age_us", "commands_per_frame", "sync_us"].map(more), [5, 4, 4]);
    let frames = &after["commands_per_frame"];
    assert_eq!((frames.max(), sum(frames)), (40, newest), "every event lies in one frame");
    assert!(after["sync_us"].max() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_count_quantiles_and_most_of_each() {
    let house = House::furnished().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_stampbook"));
    command.args(["metrics", "--json", "--target", &house.address.to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let frames = &said["metrics"].as_array().unwrap()[1];
    assert_eq!(
        (&frames["name"], &frames["count"], &frames["p50"], &frames["p99"], &frames["max"]),
        (&"commands_per_frame".into(), &2.into(), &1.into(), &1.into(), &1.into()),
        "a program was put and a campaign funded"
    );
}
