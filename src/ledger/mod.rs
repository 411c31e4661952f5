//! The pure ledger: what a command comes to, and what an event does to the state. No clock, no I/O, no async, no
//! logging, so that it can be replayed, simulated and proved. It imports nothing of ours.

mod admin;
mod admin_event;
pub mod award;
mod base;
pub mod capture;
pub mod codec;
pub mod command;
pub mod decide;
pub mod event;
pub mod evolve;
pub mod generation;
mod holding;
pub mod ids;
pub mod image;
mod index;
pub mod list;
mod load;
mod members;
pub mod original;
mod posting;
pub mod print;
mod prove;
pub mod read;
pub mod reason;
mod refund;
pub mod spec;
pub mod state;
mod varint;
pub mod view;

pub use admin::CONFIRM_WITHIN_US;
pub use base::{programs_of, snapshots_of};
pub use capture::{Captured, PageCopy};
pub use decide::Decision;
pub use evolve::{Hashes, Inconsistent, hashes_of};
pub use generation::{Found, Generation, KEYS_PER_GENERATION, Lookup};
pub use image::{HoldingView, LotView, PageId, PageKind, holdings_of, names_of, state_hash_of};
pub use index::key_bits;
pub use load::hash_names;
pub use members::{ID_BYTES_MAX, MEMBERS_PER_PAGE};
pub use original::{Need, Resolved};
pub use read::MemoryBytes;
pub use state::{Ledger, Limits, Moment, SNAPSHOTS_MAX};
pub use varint::ImageError;
