//! `stampbook metrics`.

use clap::Args;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::{Value, json};
use stampbook::proto::{GetMetricsRequest, Metric};

use super::{EXIT_REFUSED, Failure, Outcome, Server, Shown, remote};

#[derive(Args)]
pub(super) struct Metrics {
    #[command(flatten)]
    server: Server,
}

impl Metrics {
    pub(super) fn json(&self) -> bool {
        self.server.json
    }

    pub(super) fn run(self) -> Outcome {
        remote::ask(&self.server, async |mut admin| {
            let answer = admin.get_metrics(GetMetricsRequest {}).await.map_err(|status| remote::failure(&status))?;
            let answer = answer.into_inner();
            let read = answer.metrics.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let metrics: Vec<_> = read.iter().map(|(name, histogram)| as_json(name, histogram)).collect();
            let lines: Vec<_> = read.iter().map(|(name, histogram)| line(name, histogram)).collect();
            let head = format!("{:<20} {:>12} {:>10} {:>10} {:>10}\n", "", "count", "p50", "p99", "max");
            Ok(Shown { text: head + &lines.concat(), json: json!({ "at_us": answer.at_us, "metrics": metrics }) })
        })
    }
}

fn read(metric: &Metric) -> Result<(&str, Histogram<u64>), Failure> {
    let unread = |error| Failure::plain(EXIT_REFUSED, format!("{} is no histogram: {error}", metric.name));
    let histogram = Deserializer::new().deserialize(&mut metric.histogram.as_slice()).map_err(unread)?;
    Ok((&metric.name, histogram))
}

fn as_json(name: &str, histogram: &Histogram<u64>) -> Value {
    let [p50, p99] = [0.5, 0.99].map(|quantile| histogram.value_at_quantile(quantile));
    json!({ "name": name, "count": histogram.len(), "p50": p50, "p99": p99, "max": histogram.max() })
}

fn line(name: &str, histogram: &Histogram<u64>) -> String {
    let [p50, p99] = [0.5, 0.99].map(|quantile| histogram.value_at_quantile(quantile));
    format!("{name:<20} {:>12} {p50:>10} {p99:>10} {:>10}\n", histogram.len(), histogram.max())
}
