//! Why an export cannot be made, or is not what it says.

use std::io;

use crate::audit::snapshot::SnapshotError;
use crate::journal::JournalError;
use crate::ledger::codec::CodecError;

use super::manifest::MANIFEST_FILE;

/// Why an export cannot be made, or is not what it says.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file of the export cannot be read or written, or nobody takes it any more.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The book cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An event cannot be read.
    #[error("op {0}: {1}")]
    Codec(u64, CodecError),
    /// The book ends before the range of events.
    #[error("the events up to op {0} are asked for, and the book ends before it")]
    BookEnds(u64),
    /// The snapshot lacks the name of a campaign or asset that an event speaks of.
    #[error("op {0}: the snapshot does not know a campaign or asset that it speaks of")]
    Unnamed(u64),
    /// The snapshot lacks a member that an event speaks of.
    #[error("the snapshot does not know member {0}")]
    MemberUnnamed(u32),
    /// There is no manifest, so no export was ever finished there.
    #[error(
        "there is no finished export here: {MANIFEST_FILE} is missing; where an export broke off, the same export again ends it"
    )]
    NoExport,
    /// Another process writes an export into the directory.
    #[error("the directory is in use by another export")]
    InUse,
    /// An export does not go where something else lies.
    #[error("the directory holds {0}, which is of no export: choose an empty one")]
    Stray(String),
    /// The directory holds an export of another snapshot, format or range.
    #[error("the directory holds another export: choose an empty one")]
    Another,
    /// What was asked for makes no sense.
    #[error("{0}")]
    Refused(String),
    /// A file of an export is not what its manifest, its other files or the book say.
    #[error("{file}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
}

impl ExportError {
    pub(super) fn io(file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { file, source }
    }

    pub(super) fn damaged(file: &str, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.into() }
    }
}
