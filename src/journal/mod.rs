//! The book: a hash-chained journal of events in preallocated segments. It is the only truth; everything else is a cache.
//!
//! - [`FrameBuilder`] collects events, in place, into a [`FrameBody`].
//! - [`Writer`] chains a body, writes it as one frame, syncs it, and only then shows it to readers.
//! - [`Book`] reads one event, or one frame, on any thread, never past what is durable, and verifies what it reads.
//! - [`Journal::open`] replays a book, or makes a new one; [`Journal::open_from`] replays what lies behind a [`Waypoint`];
//!   [`scan`] verifies one offline and changes nothing.
//!
//! Absent on purpose: the journal knows nothing of what an event means, reads no clock, and repairs nothing but the end
//! of the book that a crash may leave.
#![doc = include_str!("../FORMAT.md")]

mod book;
mod catalogue;
mod error;
mod extent;
mod frame;
mod layout;
mod open;
mod reader;
mod recovery;
mod replay;
mod rewrite;
mod seek;
mod segment;
mod verify;
mod walk;
mod waypoint;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod waypoint_tests;

use crate::constants::{PAGE_BYTES, SEGMENT_BYTES_DEFAULT};

pub use book::{Book, StoredBlock, StoredEvent};
pub use error::{Case, JournalError};
pub use extent::{Cut, CutPoint, Extent, find_cut};
pub use frame::{FrameBody, FrameBuilder, FrameFull};
pub use layout::{FORMAT_VERSION, Genesis, Parent};
pub use open::{Journal, Opened, ScanReport, genesis_of, scan, scan_from, scan_to};
pub use recovery::RecoveryReport;
pub use replay::{Preparer, Replay, each_event};
pub use rewrite::rewrite;
pub(crate) use rewrite::{begin_rewriting, end_rewriting};
pub(crate) use segment::{RESTORING, parse_name as parse_segment_name};
pub use walk::Visit;
pub use waypoint::{WAYPOINT_BYTES, Waypoint};
pub use writer::Writer;

/// The state of the book after its last frame: what a receipt, a checkpoint or an auditor may hold it to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last op; 0 in an empty book.
    pub op: u64,
    /// BLAKE3 of the last frame, which covers, through the chain, every byte of every event before it.
    pub hash: [u8; 32],
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "op {} {}", self.op, blake3::Hash::from_bytes(self.hash).to_hex())
    }
}

/// How a journal is to be written. What was written with other options stays readable.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Size of new segment files, in bytes: whole pages of 4,096, at least five. A frame must fit in one with 4 pages
    /// to spare, so only tests go below the default.
    pub segment_bytes: u64,
    /// A fault built in on purpose, to see the crash test find it.
    #[cfg(test)]
    pub(crate) plant: Option<Plant>,
}

/// The faults that the crash test must find.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A frame is acknowledged when it is written; its sync comes with the next.
    AckBeforeSync,
    /// New segments are not made durable in the directory.
    SkipDirectorySync,
    /// The tail goes on being written where it was found.
    RehomeLate,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self::with_segment_bytes(SEGMENT_BYTES_DEFAULT)
    }
}

impl JournalOptions {
    /// Options with another size of segment, in bytes.
    pub fn with_segment_bytes(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            #[cfg(test)]
            plant: None,
        }
    }

    fn check(&self) -> Result<(), JournalError> {
        let page = to_u64(PAGE_BYTES);
        if self.segment_bytes.is_multiple_of(page) && (5..=u64::from(u32::MAX)).contains(&(self.segment_bytes / page)) {
            Ok(())
        } else {
            Err(JournalError::Options(format!("segment_bytes is {}", self.segment_bytes)))
        }
    }

    /// Whether new segments are made durable in the directory; only a planted fault says no.
    fn syncs_directory(&self) -> bool {
        #[cfg(test)]
        return self.plant != Some(Plant::SkipDirectorySync);
        #[cfg(not(test))]
        true
    }

    /// Whether the tail is moved to a new file before it is written to; only a planted fault says no.
    fn rehomes(&self) -> bool {
        #[cfg(test)]
        return self.plant != Some(Plant::RehomeLate);
        #[cfg(not(test))]
        true
    }

    /// Whether a frame is synced before it is acknowledged; only a planted fault says no.
    fn syncs_first(&self) -> bool {
        #[cfg(test)]
        return self.plant != Some(Plant::AckBeforeSync);
        #[cfg(not(test))]
        true
    }
}

/// A length in memory as a length on disk.
fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A length on disk as a length in memory; one that no memory holds becomes one that no slice has.
fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// A length that the limits keep under 32 bits.
fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Rounds a length up to whole pages.
fn padded(length: usize) -> usize {
    length.next_multiple_of(PAGE_BYTES)
}
