//! The auditor's room: snapshots as files, the past, and exports. It reads the book and never changes it.

pub mod backup;
pub mod chart;
pub mod cut_off;
pub mod explain;
pub mod export;
pub mod files;
pub mod past;
pub mod roll_forward;
pub mod room;
pub mod snapshot;
pub mod told;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
pub(crate) mod paper;
#[cfg(test)]
mod paper_lots;
#[cfg(test)]
mod scene;
