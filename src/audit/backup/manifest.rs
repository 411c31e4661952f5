//! What a backup says of itself.

use serde::{Deserialize, Serialize};

use crate::audit::files::{hex, unhex};
use crate::constants::{BACKUP_MANIFEST_BYTES_MAX, HELD_FILES_MAX};
use crate::io::Disk;
use crate::journal::{Extent, Genesis, WAYPOINT_BYTES, Waypoint, parse_segment_name};

use super::BackupError;

/// The manifest's file.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The version of the format that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// Between the name of the last segment and the op up to which it was copied.
const UP_TO: &str = ".op-";

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    /// Its name: that of the segment; the last one's is followed by the op up to which it was copied.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// What a backup holds. It is written last, so that a directory with one holds all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// Version of this format.
    pub format: u32,
    /// The book's id, in hexadecimal digits.
    pub book_id: String,
    /// The book's incarnation.
    pub incarnation: u32,
    /// The last op.
    pub op: u64,
    /// The head of the chain there, in hexadecimal digits.
    pub head: String,
    /// Book time of the last frame, in microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The end of the last frame: a waypoint in hexadecimal digits.
    pub end: String,
    /// Size of the greatest segment file of the book, in bytes.
    pub segment_bytes: u64,
    /// The op of the backup before this one, 0 if there was none.
    pub previous_op: u64,
    /// The files, in the order of the segments.
    pub files: Vec<BackupFile>,
}

/// A manifest as it is written: it vouches for itself, as it does for the files.
#[derive(Serialize, Deserialize)]
struct Sealed<M> {
    #[serde(flatten)]
    manifest: M,
    /// BLAKE3 of the manifest as it is written without this, in hexadecimal digits.
    blake3: String,
}

impl BackupManifest {
    /// A manifest without files.
    pub(crate) fn of(extent: &Extent, segment_bytes: u64, previous_op: u64) -> Self {
        let (genesis, end) = (&extent.genesis, &extent.end);
        Self {
            format: FORMAT,
            book_id: hex(&genesis.book_id),
            incarnation: genesis.incarnation,
            op: end.op,
            head: hex(&end.hash),
            book_time_us: end.book_time_us,
            end: hex(&end.to_bytes()),
            segment_bytes,
            previous_op,
            files: Vec::new(),
        }
    }

    /// Reads and checks the manifest in a directory; `None` if there is none.
    ///
    /// # Errors
    /// [`BackupError::BadManifest`], `Io`.
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>, BackupError> {
        match crate::audit::files::read(disk, MANIFEST_FILE, BACKUP_MANIFEST_BYTES_MAX) {
            Ok(bytes) => Self::from_json(&String::from_utf8_lossy(&bytes)).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BackupError::io("read", MANIFEST_FILE)(error)),
        }
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`BackupError::BadManifest`].
    pub fn from_json(text: &str) -> Result<Self, BackupError> {
        let Sealed { manifest, blake3 }: Sealed<Self> = serde_json::from_str(text).map_err(unusable)?;
        manifest.check().map_err(BackupError::BadManifest)?;
        if blake3 != manifest.blake3()? {
            return Err(BackupError::BadManifest("blake3 is that of another".to_owned()));
        }
        Ok(manifest)
    }

    /// The manifest as it is written.
    ///
    /// # Errors
    /// None that the types leave room for.
    pub fn to_json(&self) -> Result<String, BackupError> {
        serde_json::to_string_pretty(&Sealed { manifest: self, blake3: self.blake3()? }).map_err(unusable)
    }

    fn blake3(&self) -> Result<String, BackupError> {
        let text = serde_json::to_string_pretty(self).map_err(unusable)?;
        Ok(hex(blake3::hash(text.as_bytes()).as_bytes()))
    }

    /// The end of the backup as a place in the book.
    ///
    /// # Errors
    /// [`BackupError::BadManifest`].
    pub fn end(&self) -> Result<Waypoint, BackupError> {
        let bytes: [u8; WAYPOINT_BYTES] =
            unhex(&self.end).ok_or_else(|| BackupError::BadManifest("end is no waypoint".into()))?;
        Waypoint::from_bytes(&bytes).map_err(|error| BackupError::BadManifest(format!("end: {error}")))
    }

    /// The end of the backup, if it is one of this book.
    pub(crate) fn of_book(&self, genesis: &Genesis) -> Result<Waypoint, BackupError> {
        if self.book_id != hex(&genesis.book_id) {
            let detail = format!("it is of book {}, and this is {}", self.book_id, hex(&genesis.book_id));
            return Err(BackupError::OtherBackup(detail));
        }
        self.end()
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format is {}, and {FORMAT} is known", self.format));
        }
        let end = self.end().map_err(|error| error.to_string())?;
        if (end.op, hex(&end.hash), end.book_time_us) != (self.op, self.head.clone(), self.book_time_us) {
            return Err("end is not where op, head and book_time_us say".to_owned());
        }
        if self.files.len() > HELD_FILES_MAX || u32::try_from(self.files.len()) != Ok(end.segment + 1) {
            return Err(format!("files are {}, and the book has {} segments there", self.files.len(), end.segment + 1));
        }
        for (index, file) in (0..).zip(&self.files) {
            if parse_segment_name(segment_of(&file.name)).map(|(index, _)| index) != Some(index) {
                return Err(format!("files[{index}].name is {:?}, and not of that segment", file.name));
            }
            let last = index == end.segment;
            let named = if last { tail_name(segment_of(&file.name), self.op) } else { segment_of(&file.name).into() };
            if file.name != named || (last && file.length != end.offset) {
                return Err(format!("files[{index}] does not end where it should"));
            }
        }
        Ok(())
    }
}

fn unusable(error: serde_json::Error) -> BackupError {
    BackupError::BadManifest(error.to_string())
}

/// The name of the copy of a segment up to an op.
pub(crate) fn tail_name(segment: &str, op: u64) -> String {
    format!("{segment}{UP_TO}{op}")
}

/// The name of the segment that a file of a backup is a copy of.
pub(crate) fn segment_of(name: &str) -> &str {
    name.split_once(UP_TO).map_or(name, |(segment, _)| segment)
}

/// Whether a name is one that a file of a backup may have. No other is ever written or removed.
pub(crate) fn is_of_backup(name: &str) -> bool {
    let segment = segment_of(name);
    let known = parse_segment_name(segment).is_some();
    known && (segment == name || name.rsplit_once(UP_TO).is_some_and(|(_, op)| op.parse::<u64>().is_ok()))
}
