//! The reading half of a backup: the bytes that the other side lacks, piece by piece, then the manifest.

use std::collections::VecDeque;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::audit::files::hex;
use crate::constants::FILE_CHUNK_BYTES_MAX;
use crate::io::{Disk, DiskFile};
use crate::journal::Extent;

use super::BackupError;
use super::manifest::{BackupFile, BackupManifest, tail_name};

/// A piece of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of a file. Files come one after the other, each from its beginning to its end.
    Bytes {
        /// The file's name in the backup.
        file: String,
        /// Where in it they go.
        offset: u64,
        /// At most `FILE_CHUNK_BYTES_MAX`.
        bytes: Vec<u8>,
    },
    /// The last piece.
    Manifest(BackupManifest),
}

/// Reads a backup piece by piece. It blocks: not for a thread that serves others.
pub struct Chunks {
    disk: Arc<dyn Disk>,
    files: VecDeque<Planned>,
    reading: Option<Reading>,
    manifest: Option<BackupManifest>,
    bytes_to_send: u64,
}

/// A file of the backup that is being made.
struct Planned {
    name: String,
    segment: String,
    length: u64,
    /// Its SHA-256 if the other side has it.
    held: Option<String>,
}

struct Reading {
    planned: Planned,
    file: Arc<dyn DiskFile>,
    offset: u64,
    sha256: Sha256,
}

impl Chunks {
    /// The pieces of a backup of `extent` for someone who has the files `held` of a backup that ended at `previous_op`, 0 for none.
    ///
    /// # Errors
    /// [`BackupError::OtherBackup`] if that backup goes further than the book does; `Journal` if the book cannot be read.
    pub fn new(extent: Extent, held: &[BackupFile], previous_op: u64) -> Result<Self, BackupError> {
        if previous_op > extent.end.op {
            let detail = format!("it goes up to op {previous_op}, and the book to op {}", extent.end.op);
            return Err(BackupError::OtherBackup(detail));
        }
        let held: std::collections::HashMap<&str, &BackupFile> =
            held.iter().map(|file| (file.name.as_str(), file)).collect();
        let mut files = VecDeque::new();
        let (mut segment_bytes, mut bytes_to_send) = (0, 0);
        for (at, segment) in extent.names.iter().enumerate() {
            let length = extent.bytes_of(at)?;
            segment_bytes = extent.file_bytes(at)?.max(segment_bytes);
            let last = at + 1 == extent.names.len();
            let name = if last { tail_name(segment, extent.end.op) } else { segment.clone() };
            let held = held.get(name.as_str()).filter(|file| file.length == length).map(|file| file.sha256.clone());
            if held.is_none() {
                bytes_to_send += length;
            }
            files.push_back(Planned { name, segment: segment.clone(), length, held });
        }
        let manifest = Some(BackupManifest::of(&extent, segment_bytes, previous_op));
        Ok(Self { disk: extent.disk().clone(), files, reading: None, manifest, bytes_to_send })
    }

    /// Bytes of all pieces together, the manifest aside.
    #[must_use]
    pub fn bytes_to_send(&self) -> u64 {
        self.bytes_to_send
    }

    fn piece(&mut self) -> Result<Option<Piece>, BackupError> {
        loop {
            if let Some(reading) = self.reading.as_mut().filter(|reading| reading.offset < reading.planned.length) {
                return reading.read().map(Some);
            }
            if let Some(Reading { planned, sha256, .. }) = self.reading.take() {
                self.list(planned.name, planned.length, hex(&sha256.finalize()));
            }
            let Some(mut planned) = self.files.pop_front() else {
                return Ok(self.manifest.take().map(Piece::Manifest));
            };
            if let Some(sha256) = planned.held.take() {
                self.list(planned.name, planned.length, sha256);
                continue;
            }
            let file = self.disk.open(&planned.segment).map_err(BackupError::io("open", &planned.segment))?;
            self.reading = Some(Reading { planned, file, offset: 0, sha256: Sha256::new() });
        }
    }

    fn list(&mut self, name: String, length: u64, sha256: String) {
        if let Some(manifest) = &mut self.manifest {
            manifest.files.push(BackupFile { name, length, sha256 });
        }
    }
}

impl Reading {
    fn read(&mut self) -> Result<Piece, BackupError> {
        let rest = usize::try_from(self.planned.length - self.offset).unwrap_or(usize::MAX);
        let mut bytes = vec![0; rest.min(FILE_CHUNK_BYTES_MAX)];
        let name = &self.planned.segment;
        let read = self.file.read_at(&mut bytes, self.offset).map_err(BackupError::io("read", name))?;
        if read < bytes.len() {
            let detail = "it is shorter than it was a moment ago".to_owned();
            return Err(BackupError::Damaged { file: name.clone(), detail });
        }
        self.sha256.update(&bytes);
        let offset = self.offset;
        self.offset += u64::try_from(read).unwrap_or(u64::MAX);
        Ok(Piece::Bytes { file: self.planned.name.clone(), offset, bytes })
    }
}

impl Iterator for Chunks {
    type Item = Result<Piece, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.piece();
        if piece.is_err() {
            // Nothing follows an error.
            (self.reading, self.manifest) = (None, None);
            self.files.clear();
        }
        piece.transpose()
    }
}
