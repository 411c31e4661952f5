//! The server over a real socket and a real disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(unreachable_pub, reason = "an integration test has no readers outside")]

#[path = "server/assets.rs"]
mod assets;
#[path = "server/atomic.rs"]
mod atomic;
#[path = "server/audit.rs"]
mod audit;
#[path = "server/auditing.rs"]
mod auditing;
#[path = "server/backup.rs"]
mod backup;
#[path = "server/checkout.rs"]
mod checkout;
#[path = "server/clock.rs"]
mod clock;
#[path = "server/closing.rs"]
mod closing;
#[path = "server/giving.rs"]
mod giving;
#[path = "server/house.rs"]
mod house;
#[path = "server/import.rs"]
mod import;
#[path = "server/life.rs"]
mod life;
#[path = "server/lots.rs"]
mod lots;
#[path = "server/merging.rs"]
mod merging;
#[path = "server/metrics.rs"]
mod metrics;
#[path = "server/opening.rs"]
mod opening;
#[path = "server/operating.rs"]
mod operating;
#[path = "server/past.rs"]
mod past;
#[path = "server/posting.rs"]
mod posting;
#[path = "server/process.rs"]
mod process;
#[path = "server/reading.rs"]
mod reading;
#[path = "server/resets.rs"]
mod resets;
#[path = "server/rewards.rs"]
mod rewards;
#[path = "server/snapshots.rs"]
mod snapshots;
#[path = "server/streaming.rs"]
mod streaming;
#[path = "server/taking_back.rs"]
mod taking_back;
