//! What the server measures of itself, second by second: its distributions are of all since it was started, so that a second is the
//! difference between two looks.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use stampbook::proto::GetMetricsRequest;
use stampbook::proto::admin_service_client::AdminServiceClient;
use tokio::sync::oneshot;
use tonic::Code;
use tonic::transport::Channel;

use super::hlog::Hlog;
use crate::Failure;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// A distribution by its name.
type Metric = (String, Histogram<u64>);

/// All since the server was started; none where the server measures nothing.
pub(crate) async fn metrics(channel: &Channel) -> Result<Option<Vec<Metric>>, Failure> {
    let answer = match AdminServiceClient::new(channel.clone()).get_metrics(GetMetricsRequest {}).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => return Ok(None),
        Err(status) => return Err(status.into()),
    };
    let mut all = Vec::new();
    for metric in answer.metrics {
        let histogram = Deserializer::new().deserialize(&mut metric.histogram.as_slice());
        all.push((metric.name, histogram.map_err(|error| format!("a distribution of the server: {error}"))?));
    }
    Ok(Some(all))
}

/// Writes what the server measures into a file of the HdrHistogram log format, a line a second and distribution, from `begin` until the run is
/// `over`. Makes no file where the server measures nothing.
pub(crate) async fn follow(
    channel: Channel,
    file: &Path,
    begin: Instant,
    mut over: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    let mut looks = tokio::time::interval_at(begin.into(), INTERVAL);
    let mut log = None;
    let mut last: Option<(Duration, Vec<Metric>)> = None;
    loop {
        let is_over = tokio::select! {
            _ = looks.tick() => false,
            _ = &mut over => true,
        };
        let at = begin.elapsed();
        let now = match metrics(&channel).await {
            Ok(Some(now)) => now,
            // A server in trouble may not answer; the next look then takes in more than a second.
            Err(_) if !is_over => continue,
            Ok(None) | Err(_) => return Ok(()),
        };
        if let Some((from, before)) = &last {
            let log = match &mut log {
                Some(log) => log,
                None => log.insert(Hlog::new(File::create(file)?, SystemTime::now() - begin.elapsed())?),
            };
            let tags = since(before, &now);
            let tags = tags.iter().map(|(name, histogram)| (name.as_str(), histogram));
            log.write(*from, at.saturating_sub(*from), tags)?;
        }
        if is_over {
            return Ok(());
        }
        last = Some((at, now));
    }
}

/// What came between two looks. Of a server that was started in between, all that it knows.
fn since(before: &[Metric], now: &[Metric]) -> Vec<Metric> {
    let since = |(name, now): &Metric| {
        let mut difference = now.clone();
        let before = before.iter().find(|(of, _)| of == name);
        match before.map(|(_, before)| difference.subtract(before)) {
            None | Some(Ok(())) => (name.clone(), difference),
            Some(Err(_)) => (name.clone(), now.clone()),
        }
    };
    now.iter().map(since).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_came_between_two_looks_is_the_difference_of_their_counts() {
        let of = |values: &[u64]| {
            let mut histogram = Histogram::new_with_bounds(1, 10_000, 2).unwrap();
            values.iter().for_each(|value| histogram.record(*value).unwrap());
            histogram
        };
        let metric = |name: &str, values| (name.to_owned(), of(values));
        let before = [metric("a", &[1, 5_000]), metric("b", &[9, 9])];
        let now = [metric("b", &[7]), metric("a", &[1, 5_000, 40, 1]), metric("c", &[3])];
        let since = since(&before, &now);
        assert_eq!(since, [metric("b", &[7]), metric("a", &[1, 40]), metric("c", &[3])]);
        assert_eq!(since[1].1.max(), 40);
    }
}
