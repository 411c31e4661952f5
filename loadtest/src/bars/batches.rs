//! The rate in batches with checkpoints running, and the tail that the load leaves behind the newest checkpoint.

use stampbook::proto::GetTrialBalanceRequest;
use stampbook::proto::account_service_client::AccountServiceClient;

use super::figure::{Bar, Figure, Unit};
use super::{Ground, latencies};
use crate::log::{LogTail, field};
use crate::process::log_of;
use crate::restart::tail::written_bytes;
use crate::run::{Load, Mode, drive};
use crate::tally::grouped;
use crate::{Failure, client};

/// Commands a second in batches of 4,000.
const LARGE_PER_SECOND_MIN: u64 = 1_000_000;
/// Commands a second in batches of 100 from 32 callers.
const SMALL_PER_SECOND_MIN: u64 = 400_000;
/// Of book behind the newest checkpoint.
const TAIL_BYTES_MAX: u64 = 1 << 30;
/// The size of batches, connections and requests under way on each, and the bar.
const SIZES: [(u16, [u16; 2], Bar); 4] = [
    (4_000, [2, 4], Bar::AtLeast(LARGE_PER_SECOND_MIN)),
    (1_000, [2, 4], Bar::Open),
    (8_000, [2, 4], Bar::Open),
    (100, [4, 8], Bar::AtLeast(SMALL_PER_SECOND_MIN)),
];

pub(super) async fn measure(ground: &Ground, figures: &mut Vec<Figure>) -> Result<(), Failure> {
    for (batch, shape, bar) in SIZES {
        let load = Load::of(Mode::Batch, batch, shape, ground.stage.members, ground.seconds);
        let (summary, tail) = one(ground, &load).await?;
        let [connections, in_flight] = shape;
        let what = format!("batches of {}, {connections} connections x {in_flight}", grouped(batch));
        figures.push(Figure::new(what, summary.rate_per_s, Unit::PerSecond, bar).noting(latencies(&summary)));
        if batch == 4_000 {
            figures.push(Figure::new(
                "book that a start must replay after it",
                tail,
                Unit::Bytes,
                Bar::AtMost(TAIL_BYTES_MAX),
            ));
        }
    }
    Ok(())
}

/// The load, a kill, and what the next start has to replay, by the bytes that its events have on average.
async fn one(ground: &Ground, load: &Load) -> Result<(crate::tally::Summary, u64), Failure> {
    let data = ground.copy().await?;
    let mut server = ground.stage.serve(&data, &ground.config).await?;
    let summary = drive(&server.address, load).await?;
    summary.complaint()?;
    server.kill()?;
    // While nobody moves its files.
    let written = u128::from(written_bytes(&data)?);
    let mut log = LogTail::from_here(&log_of(&data))?;
    let server = ground.stage.serve(&data, &ground.config).await?;
    let replayed = log.lines()?.iter().find_map(|line| field(line, "replayed"));
    let replayed = replayed.ok_or("the server does not say how much it replayed")?;
    let ops = newest_op(&server.address).await?;
    Ok((summary, u64::try_from(u128::from(replayed) * written / u128::from(ops.max(1)))?))
}

/// The newest op of a server's book.
pub(super) async fn newest_op(address: &str) -> Result<u64, Failure> {
    let mut account = AccountServiceClient::new(client::connect(address).await?);
    Ok(account.get_trial_balance(GetTrialBalanceRequest::default()).await?.into_inner().op)
}
