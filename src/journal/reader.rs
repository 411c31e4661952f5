//! Reads a segment's file in large steps, and looks over what lies behind its last frame.

use std::sync::Arc;

use crate::constants::PAGE_BYTES;
use crate::io::DiskFile;

use super::error::{Case, JournalError};
use super::layout::{FrameHeader, is_zero};
use super::segment::Segment;
use super::{to_u64, to_usize};

/// Reads are this large, so that a replay is bound by hashing and not by calls.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// A page, as an offset in a file.
pub(crate) const PAGE: u64 = 4096;
const _: () = assert!(PAGE == PAGE_BYTES as u64);

/// A segment's file, read in large steps; what it lacks of its size reads as zeros.
pub(crate) struct Reader {
    file: Arc<dyn DiskFile>,
    pub(crate) name: String,
    pub(crate) key: [u8; 32],
    pub(crate) size: u64,
    pub(crate) length: u64,
    window: Vec<u8>,
    window_offset: u64,
}

impl Reader {
    pub(crate) fn new(segment: &Segment, key: [u8; 32]) -> Result<Self, JournalError> {
        let reader = Self::of_file(segment.file.clone(), &segment.name(), key)?;
        Ok(Self { size: segment.header.bytes, ..reader })
    }

    /// Reads a file as it is now.
    pub(crate) fn of_file(file: Arc<dyn DiskFile>, name: &str, key: [u8; 32]) -> Result<Self, JournalError> {
        let length = file.len().map_err(JournalError::io("read the length of", name))?;
        Ok(Self { file, name: name.to_owned(), key, size: length, length, window: Vec::new(), window_offset: 0 })
    }

    /// The bytes of a range that lies within the segment's size.
    pub(crate) fn slice(&mut self, offset: u64, length: usize) -> Result<&[u8], JournalError> {
        let window_end = self.window_offset + to_u64(self.window.len());
        if offset < self.window_offset || offset + to_u64(length) > window_end {
            let ahead = to_usize(self.size.saturating_sub(offset)).min(READ_BYTES);
            self.window.resize(length.max(ahead), 0);
            let read = self.file.read_at(&mut self.window, offset).map_err(JournalError::io("read", &self.name))?;
            self.window.get_mut(read..).unwrap_or_default().fill(0);
            self.window_offset = offset;
        }
        let at = to_usize(offset - self.window_offset);
        Ok(self.window.get(at..at + length).unwrap_or_default())
    }

    pub(crate) fn page(&mut self, offset: u64) -> Result<&[u8], JournalError> {
        self.slice(offset, PAGE_BYTES)
    }

    pub(crate) fn damaged(&self, case: Case, offset: u64, detail: impl Into<String>) -> JournalError {
        JournalError::damaged(case, &self.name, offset, detail)
    }

    /// Looks at everything from `offset` to the end of the segment.
    pub(crate) fn survey(&mut self, offset: u64) -> Result<Survey, JournalError> {
        let mut survey = Survey { first_used: None, used_end: offset, header: None };
        let mut last_used = None;
        let mut at = offset;
        while at + PAGE <= self.size {
            let key = self.key;
            let page = self.page(at)?;
            if !is_zero(page) {
                if survey.first_used.is_none() {
                    let zeros = page.iter().take_while(|byte| **byte == 0).count();
                    survey.first_used = Some(at + to_u64(zeros));
                }
                // The frame under suspicion is no witness of itself.
                if at != offset && FrameHeader::decode(page, &key).is_ok() {
                    survey.header.get_or_insert(at);
                }
                last_used = Some(at);
            }
            at += PAGE;
        }
        if let Some(at) = last_used {
            let zeros = self.page(at)?.iter().rev().take_while(|byte| **byte == 0).count();
            survey.used_end = at + PAGE - to_u64(zeros);
        }
        Ok(survey)
    }
}

/// What lies behind the last good frame of a segment.
pub(crate) struct Survey {
    pub(crate) first_used: Option<u64>,
    /// End of the last byte that is not zero.
    pub(crate) used_end: u64,
    /// The first page after the first that holds a sound header of a frame.
    pub(crate) header: Option<u64>,
}
