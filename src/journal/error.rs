//! What can go wrong with a book, in words an operator can act on.

use std::io;

use super::Head;

/// Why the journal could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused. A writer that met this latches.
    #[error("could not {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file it was tried on.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full. A writer that met this latches; free some space and start again.
    #[error("the disk is full: could not {action} {file}: {source}")]
    Full {
        /// What was tried.
        action: &'static str,
        /// The file it was tried on.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The book is not what was written.
    #[error("{file} is damaged at byte {offset} ({}): {detail}; {}", .case.name(), .case.remedy())]
    Damaged {
        /// The segment file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// Which case of the recovery table this is.
        case: Case,
        /// What was found there.
        detail: String,
    },
    /// Another process has the book open.
    #[error("the book is in use by another process")]
    Locked,
    /// An earlier write or sync failed, so nothing more is written by this process.
    #[error("the journal has failed earlier and writes nothing more; restart to recover")]
    Latched,
    /// No durable event has this op.
    #[error("there is no op {0} in the book")]
    NotFound(u64),
    /// There is no book in the directory.
    #[error("there is no book here")]
    NoBook,
    /// The book ends before an op that was durable once: acknowledged data is gone. Nothing was changed.
    #[error(
        "the book ends at op {book_op}, and it held op {known_op}: acknowledged data is gone; put the missing segments back from \
         a copy, or restore a backup"
    )]
    EndsBefore {
        /// The op that was durable.
        known_op: u64,
        /// The last op that is there.
        book_op: u64,
    },
    /// The book goes on past a place that was noted, and holds another frame there. Nothing was changed.
    #[error(
        "the book does not hold the frame of op {op} that was noted at byte {offset} of {segment}: it has another past"
    )]
    NotOnBook {
        /// The op that was noted.
        op: u64,
        /// The segment that was to hold it, by the name of its first copy.
        segment: String,
        /// Where in it the frame was to begin, in bytes.
        offset: u64,
    },
    /// No frame ends with this op: a place in the book is the end of a frame.
    #[error("op {0} is not the last of its frame")]
    NotAFrameEnd(u64),
    /// Bytes that are no waypoint.
    #[error("a place in the book cannot be read: {0}")]
    BadWaypoint(&'static str),
    /// A restore into the directory has begun and not ended.
    #[error("a restore into this directory was not finished, so there is no book yet: run the restore again")]
    NotRestored,
    /// A frame does not continue the book: its first op is not the next, or its time goes back.
    #[error("a frame of op {first_op} at {book_time_us} us does not continue the book at {head:?}, {last_time_us} us")]
    OutOfOrder {
        /// First op of the frame.
        first_op: u64,
        /// Book time of the frame, in microseconds.
        book_time_us: i64,
        /// The head that it was to follow.
        head: Head,
        /// Book time of that head, in microseconds.
        last_time_us: i64,
    },
    /// A frame is larger than a segment can hold.
    #[error("a frame of {frame_bytes} bytes does not fit a segment of {segment_bytes}")]
    TooLarge {
        /// Bytes of the frame, padding included.
        frame_bytes: usize,
        /// Bytes of a segment.
        segment_bytes: u64,
    },
    /// The options are not possible.
    #[error("journal options: {0}; a segment is 5 to 2^32 pages of 4096 bytes")]
    Options(String),
}

impl JournalError {
    pub(crate) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { action, file: file.to_owned(), source }
            }
            _ => Self::Io { action, file: file.to_owned(), source },
        }
    }

    pub(crate) fn damaged(case: Case, file: &str, offset: u64, detail: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, case, detail: detail.into() }
    }
}

/// The cases of recovery, named alike here, in reports and logs, in FORMAT.md and in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// There was no book; one was begun.
    NewBook,
    /// After the last frame there is nothing. Opens.
    CleanEnd,
    /// After the last frame the page that a header would be on is not one. Cut.
    TornHeader,
    /// After the last frame there is a header whose body is not what it says. Cut.
    TornBody,
    /// After the last frame comes an empty page, and then something. Cut.
    LostHeader,
    /// The last segment is shorter than it was made; what is missing counts as zeros. Cut.
    ShortTail,
    /// A frame is not what was written, and others follow it. Refused.
    DamagedFrame,
    /// A sound frame does not continue the one before it. Refused.
    BrokenChain,
    /// A segment's header is not what was written. Refused.
    BadSegmentHeader,
    /// The genesis is not what was written. Refused.
    BadGenesis,
    /// A segment between others is not there. Refused.
    MissingSegment,
    /// A segment says that another follows, and there is none. Refused.
    SealWithoutSuccessor,
    /// A segment ends without a seal, and the next has frames. Refused.
    LostSeal,
    /// A segment is shorter than it was made, and others follow. Refused.
    ShortSegment,
    /// There is something after a seal. Refused.
    BytesAfterSeal,
    /// There is something in a segment that was made ahead and not begun. Refused.
    DirtySpare,
    /// A sound event that the ledger does not accept. Refused.
    EventRefused,
    /// A book of a later version of this program. Refused.
    UnknownVersion,
}

impl Case {
    /// The name in reports, logs and FORMAT.md.
    pub fn name(self) -> &'static str {
        match self {
            Case::NewBook => "new-book",
            Case::CleanEnd => "clean-end",
            Case::TornHeader => "torn-header",
            Case::TornBody => "torn-body",
            Case::LostHeader => "lost-header",
            Case::ShortTail => "short-tail",
            Case::DamagedFrame => "damaged-frame",
            Case::BrokenChain => "broken-chain",
            Case::BadSegmentHeader => "bad-segment-header",
            Case::BadGenesis => "bad-genesis",
            Case::MissingSegment => "missing-segment",
            Case::SealWithoutSuccessor => "seal-without-successor",
            Case::LostSeal => "lost-seal",
            Case::ShortSegment => "short-segment",
            Case::BytesAfterSeal => "bytes-after-seal",
            Case::DirtySpare => "dirty-spare",
            Case::EventRefused => "event-refused",
            Case::UnknownVersion => "unknown-version",
        }
    }

    /// What the operator can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Case::NewBook | Case::CleanEnd => "nothing to do",
            Case::TornHeader | Case::TornBody | Case::LostHeader | Case::ShortTail => {
                "the end of the book is cut there when the server starts, and the bytes are kept"
            }
            Case::MissingSegment | Case::SealWithoutSuccessor => "put the missing segment file back from a copy",
            Case::EventRefused => "start the version that wrote it, and report this",
            Case::UnknownVersion => "start a version that knows this format",
            _ => "put this segment file back from a copy; nothing has been changed",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_case_has_one_name_in_text_and_in_reports() {
        for case in [Case::CleanEnd, Case::TornHeader, Case::SealWithoutSuccessor, Case::BytesAfterSeal, Case::NewBook]
        {
            assert_eq!(serde_json::to_value(case).unwrap(), case.name());
        }
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = JournalError::io("write", "f")(io::ErrorKind::StorageFull.into());
        assert!(matches!(full, JournalError::Full { .. }));
        let other = JournalError::io("write", "f")(io::ErrorKind::Other.into());
        assert!(matches!(other, JournalError::Io { .. }));
    }
}
