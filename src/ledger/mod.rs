//! The pure ledger: what a command comes to, and what an event does to the state. No clock, no I/O, no async, no
//! logging, so that it can be replayed, simulated and proved. It imports nothing of ours.

mod admin;
mod admin_event;
mod aliases;
pub mod award;
mod base;
pub mod capture;
mod card;
mod checkout;
pub mod codec;
pub mod command;
mod convert;
pub mod decide;
mod due;
mod earn;
pub mod event;
pub mod evolve;
pub mod expiry;
pub mod generation;
mod give;
mod hold;
mod holding;
pub mod ids;
pub mod image;
mod index;
mod join;
pub mod later;
pub mod list;
mod load;
mod members;
mod merge;
#[cfg(test)]
mod merging_tests;
pub mod move_event;
#[cfg(test)]
mod moving_tests;
mod near;
pub mod original;
pub mod own;
mod owned;
pub mod plain;
mod posting;
pub mod print;
mod profile;
mod prove;
pub mod read;
pub mod reason;
pub mod reason_text;
mod refund;
mod reserved;
mod reverse;
pub mod reward;
mod slot;
pub mod spec;
mod spend;
pub mod state;
#[cfg(test)]
mod taking_tests;
pub mod trail;
mod turn;
mod varint;
pub mod view;
#[cfg(test)]
mod world;

pub use admin::CONFIRM_WITHIN_US;
pub use aliases::Way;
pub use base::{merges_of, programs_of, snapshots_of};
pub use capture::{Captured, PageCopy};
pub use card::EXPIRING_MAX;
pub use decide::Decision;
pub use evolve::{Hashes, Inconsistent, hashes_of};
pub use generation::{Found, Generation, KEYS_PER_GENERATION, Lookup};
pub(crate) use holding::instant_of;
pub use image::{PageId, PageKind, names_of, state_hash_of};
pub use index::key_bits;
pub use load::hash_names;
pub use members::{ID_BYTES_MAX, MEMBERS_PER_PAGE};
pub use original::{Need, Resolved};
pub use owned::{HoldView, HoldingView, LotView, PendingView, holdings_of};
pub(crate) use profile::TAGS_MAX;
pub use read::MemoryBytes;
pub use reserved::{Wanted, WantedSoFar};
pub use state::{Ledger, Limits, Moment, SNAPSHOTS_MAX};
pub use varint::ImageError;
