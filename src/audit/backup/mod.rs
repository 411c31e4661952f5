//! Backups of a book while it grows, and books from them.
//!
//! A backup is a directory: the sealed segments as they are, the last segment up to a frame, and a manifest with the length and the
//! SHA-256 of each. [`Chunks`] reads what the other side lacks, [`Receiver`] takes it in and proves it before the manifest
//! says that it is there; between the two may lie a network. [`restore`] makes a book of a backup: a new incarnation.

mod manifest;
mod receive;
mod restore;
#[cfg(test)]
mod restore_tests;
mod send;
#[cfg(test)]
mod tests;
mod view;

use std::io;
use std::sync::Arc;

use crate::io::Disk;
use crate::journal::{Extent, JournalError, genesis_of};
use crate::verify::VerifyError;

pub use manifest::{BackupFile, BackupManifest, MANIFEST_FILE};
pub use receive::Receiver;
pub use restore::{RestoreReport, To, restore};
pub use send::{Chunks, Piece};

/// Why a backup or a restore did not come about. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The book, or the one in the backup, cannot be read or is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The restored book does not prove sound.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The disk refused.
    #[error("could not {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file it was tried on.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what the manifest says.
    #[error("{file} of the backup is not what its manifest says: {detail}")]
    Damaged {
        /// The file.
        file: String,
        /// What was found.
        detail: String,
    },
    /// The manifest makes no sense.
    #[error("{MANIFEST_FILE} of the backup cannot be used: {0}")]
    BadManifest(String),
    /// There is no manifest, so no backup was ever finished there.
    #[error("there is no finished backup here: {MANIFEST_FILE} is missing")]
    NoBackup,
    /// The directory holds a backup of another book, or of another past of this one.
    #[error("this directory holds another backup: {0}; take an empty one")]
    OtherBackup(String),
    /// What arrives is not what was announced.
    #[error("the backup that arrives makes no sense: {0}")]
    BadTransfer(String),
    /// Another process uses the directory.
    #[error("{0} is in use by another process")]
    InUse(&'static str),
    /// A backup does not go where a book, or something else, is.
    #[error("the directory holds {0}, and no backup: give the backup a directory of its own")]
    Occupied(String),
    /// What the backup before had of a file, and lost, is not what the book has of it.
    #[error(
        "{0} of the book is not what {MANIFEST_FILE} of the backup before says: verify the book, and if it is sound, take an empty \
         directory"
    )]
    Disagrees(String),
    /// A restore goes into an empty directory only.
    #[error("the directory to restore into is not empty: it holds {0}")]
    NotEmpty(String),
    /// The backup does not reach what was asked.
    #[error("the backup ends at op {book_op} and cannot be restored to {asked}")]
    NotInBackup {
        /// What was asked.
        asked: String,
        /// The last op of the backup.
        book_op: u64,
    },
}

impl BackupError {
    fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, file: file.to_owned(), source }
    }
}

/// How far a backup or a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes that it has done.
    pub done: u64,
    /// Bytes that it has to do, as far as is known.
    pub total: u64,
}

/// The parts of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Copying files into a backup.
    Copy,
    /// Holding a backup's files to its manifest.
    Check,
    /// Following the chain from frame to frame.
    Prove,
    /// Writing the restored book.
    Write,
    /// Following every posting of the restored book; counts events, not bytes.
    Replay,
}

impl Stage {
    /// A word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Copy => "copy",
            Stage::Check => "check",
            Stage::Prove => "prove",
            Stage::Write => "write",
            Stage::Replay => "replay",
        }
    }
}

/// Backs up a book that no server writes, up to its last frame; what `receiver` holds of an earlier backup of this book is not
/// copied again.
///
/// A server that starts meanwhile does no harm: what is copied does not change, and a file that it moves is missed, loudly.
///
/// # Errors
/// [`BackupError`]; an earlier backup is then still whole.
pub fn backup_stopped(
    data: Arc<dyn Disk>,
    receiver: Receiver,
    progress: &mut dyn FnMut(Progress),
) -> Result<BackupManifest, BackupError> {
    let genesis = genesis_of(&*data)?.ok_or(JournalError::NoBook)?;
    let previous = receiver.previous().map(|previous| previous.of_book(&genesis)).transpose()?;
    copy(Extent::stopped(data, previous.as_ref())?, receiver, progress)
}

fn copy(
    extent: Extent,
    mut receiver: Receiver,
    progress: &mut dyn FnMut(Progress),
) -> Result<BackupManifest, BackupError> {
    let chunks = Chunks::new(extent, receiver.held(), receiver.previous_op())?;
    let total = chunks.bytes_to_send();
    let mut done: u64 = 0;
    for piece in chunks {
        match piece? {
            Piece::Bytes { file, offset, bytes } => {
                receiver.take(&file, offset, &bytes)?;
                done = done.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                progress(Progress { stage: Stage::Copy, done, total });
            }
            Piece::Manifest(manifest) => return receiver.finish(manifest, progress),
        }
    }
    Err(BackupError::BadTransfer("it ended without its manifest".into()))
}
