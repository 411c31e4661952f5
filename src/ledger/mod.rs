//! The pure ledger: what a command comes to, and what an event does to the state. No clock, no I/O, no async, no
//! logging, so that it can be replayed, simulated and proved. It imports nothing of ours.

mod admin;
pub mod award;
pub mod codec;
pub mod command;
pub mod decide;
pub mod event;
pub mod evolve;
pub mod ids;
mod index;
pub mod list;
mod members;
pub mod original;
mod paged;
mod posting;
pub mod print;
mod prove;
pub mod read;
pub mod reason;
mod refund;
pub mod spec;
pub mod state;
pub mod view;

pub use decide::Decision;
pub use evolve::{Hashes, Inconsistent};
pub use original::{Need, Resolved};
pub use state::{Ledger, Limits, Moment};
