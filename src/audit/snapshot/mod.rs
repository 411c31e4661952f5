//! A snapshot: the exact state at one op, as a file that whoever holds it can prove, and a manifest that says what it is.
//!
//! ```text
//! <name>.snapshot:  header   magic "STAMPSNP" [8]  version u16 = 1  zeros [6]
//!                   parts    the base image and the page images, one after the other, in the order they were written
//!                   table    for each part: kind u8 (255 is the base)  zeros [3]  number u32  offset u64  length u32  zeros [4]
//!                            BLAKE3 of the part [32]; ascending by kind and number
//!                   trailer  offset of the table u64  parts u64  BLAKE3 of header and table [32]  magic "SNPTRAIL" [8]
//!                            BLAKE3 of these 56 bytes [32]
//! <name>.json:      the manifest, which names the BLAKE3 of the manifest before it
//! <name>.deleted:   empty: the snapshot was deleted and its file removed; the manifest stays
//! ```
//!
//! All are written aside, synced and renamed, the manifest last: a snapshot that has a manifest is whole. A manifest is never
//! written over. A file that was lost is made again where it comes out as its manifest says; a manifest that was never written is
//! left out once there is a later one, which follows on from the one before.

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::io::{Disk, DiskFile};
use crate::ledger::ids::Op;
use crate::ledger::state_hash_of;

use super::files::{self, NewFile, hex};

mod manifest;

pub(crate) use manifest::was_deleted;
pub use manifest::{
    Listed, MANIFEST_BYTES_MAX, Manifest, ManifestInput, Previous, Shelved, check_follows, check_room, list,
    manifest_text, remove,
};
use manifest::{Place, place, read_manifest};

const MAGIC: &[u8; 8] = b"STAMPSNP";
const TRAILER_MAGIC: &[u8; 8] = b"SNPTRAIL";
/// The version of the file that is written, and the only one whose state is read.
pub const SNAPSHOT_VERSION: u16 = 2;
/// The version before, whose states were hashed in another form: it is listed, and its files are held against its manifest.
pub const SNAPSHOT_VERSION_BEFORE: u16 = 1;
const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 56;
const TRAILER_BYTES: usize = 88;
/// The base image's kind in the table.
const BASE: u8 = u8::MAX;
/// Bytes of a part: far above what any image has, and below what a wrong length could make a reader allocate.
pub const PART_BYTES_MAX: u32 = 1 << 30;
/// Parts of a snapshot: two pages for every 512 of 2^32 members, and the base.
pub const PARTS_MAX: u64 = (1 << 24) + 1;
/// Bytes of a snapshot's name.
pub const NAME_BYTES_MAX: usize = 64;

const SNAPSHOT: &str = ".snapshot";
const MANIFEST: &str = ".json";
const DELETED: &str = ".deleted";

/// Why a snapshot cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk failed.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A name that no snapshot has.
    #[error("name {0:?}: a snapshot's name has 1 to 64 bytes of a-z 0-9 . _ - and does not begin with a dot")]
    Name(String),
    /// There is a manifest of that name, and no such snapshot in the book.
    #[error("{0}.json is in the directory of snapshots, and the book took no snapshot of that name")]
    Stray(String),
    /// It was not written in its time.
    #[error("snapshot {name} has no manifest, and {later}.json follows on from the one before it: it stays missing")]
    Late {
        /// The snapshot.
        name: String,
        /// A later one of the same book.
        later: String,
    },
    /// There is none of that name.
    #[error("there is no snapshot named {0}")]
    Missing(String),
    /// A file is not what was written.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A file of a later version.
    #[error("{file} is of version {version}, and this build reads version {SNAPSHOT_VERSION}")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u16,
    },
    /// The writer was handed something that a snapshot cannot hold.
    #[error("snapshot {name}: {what}")]
    Refused {
        /// The snapshot.
        name: String,
        /// What was wrong.
        what: String,
    },
}

fn io_error(file: &str) -> impl FnOnce(io::Error) -> SnapshotError {
    let file = file.to_owned();
    move |source| SnapshotError::Io { file, source }
}

fn damaged(file: &str, what: impl Into<String>) -> SnapshotError {
    SnapshotError::Damaged { file: file.to_owned(), what: what.into() }
}

/// Whether a snapshot may have this name: 1 to 64 bytes of `a-z 0-9 . _ -`, not beginning with a dot.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

/// A part as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    kind: u8,
    number: u32,
    offset: u64,
    length: u32,
    hash: [u8; 32],
}

impl Entry {
    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind, 0, 0, 0]);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.hash);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            kind: *bytes.first()?,
            number: u32::from_le_bytes(array(bytes, 4)?),
            offset: u64::from_le_bytes(array(bytes, 8)?),
            length: u32::from_le_bytes(array(bytes, 16)?),
            hash: array(bytes, 24)?,
        })
    }

    /// What the table is sorted by: the base first, then kind and number.
    fn key(&self) -> (bool, u8, u32) {
        (self.kind != BASE, self.kind, self.number)
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let [low, high] = SNAPSHOT_VERSION.to_le_bytes();
    for (place, byte) in header.iter_mut().zip(MAGIC.iter().copied().chain([low, high])) {
        *place = byte;
    }
    header
}

/// Writes one snapshot. Dropped before it is finished, it leaves only an unfinished file that the next writer of the
/// name removes.
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    name: String,
    input: ManifestInput,
    place: Place,
    file: NewFile,
    parts: Vec<Entry>,
}

impl SnapshotWriter {
    /// Begins the snapshot `name` in the directory `disk`. Where its manifest is there, the file alone is made again.
    ///
    /// # Errors
    /// `Name`; `Late` where it has no manifest and a later one has; `Damaged` for its manifest or the one before it; `Io`.
    pub fn create(disk: Arc<dyn Disk>, name: &str, input: ManifestInput) -> Result<Self, SnapshotError> {
        if !is_name(name) {
            return Err(SnapshotError::Name(name.to_owned()));
        }
        let place = place(&*disk, name, &input)?;
        let file_name = format!("{name}{SNAPSHOT}");
        let mut file = NewFile::create(&*disk, &file_name).map_err(io_error(&file_name))?;
        file.write(&header()).map_err(io_error(&file_name))?;
        Ok(Self { disk, name: name.to_owned(), input, place, file, parts: Vec::new() })
    }

    /// Appends the base image, once.
    ///
    /// # Errors
    /// `Io`, `Refused`.
    pub fn base(&mut self, image: &[u8]) -> Result<(), SnapshotError> {
        self.part(BASE, 0, image)
    }

    /// Appends a page's image. Pages may come in any order, each once.
    ///
    /// # Errors
    /// `Io`; `Refused` for the kind 255 and for an image over [`PART_BYTES_MAX`].
    pub fn page(&mut self, kind: u8, number: u32, image: &[u8]) -> Result<(), SnapshotError> {
        if kind == BASE {
            return Err(self.refused("a page has no kind 255"));
        }
        self.part(kind, number, image)
    }

    fn refused(&self, what: &str) -> SnapshotError {
        SnapshotError::Refused { name: self.name.clone(), what: what.to_owned() }
    }

    fn file_name(&self) -> String {
        format!("{}{SNAPSHOT}", self.name)
    }

    fn part(&mut self, kind: u8, number: u32, image: &[u8]) -> Result<(), SnapshotError> {
        let length = u32::try_from(image.len()).ok().filter(|length| *length <= PART_BYTES_MAX);
        let length = length.ok_or_else(|| self.refused("an image is too long"))?;
        let hash = *blake3::hash(image).as_bytes();
        self.parts.push(Entry { kind, number, offset: self.file.position(), length, hash });
        self.file.write(image).map_err(io_error(&self.file_name()))
    }

    /// Finishes the file and writes its manifest, both durably. The manifest follows that of the newest snapshot before it
    /// that has one. Where it was there already, it stays, and a file that it does not name is not kept.
    ///
    /// # Errors
    /// `Io`; `Refused` where the base image is missing or a part came twice; `Damaged` where the manifest says something else.
    pub fn finish(mut self) -> Result<Manifest, SnapshotError> {
        self.parts.sort_unstable_by_key(Entry::key);
        let twice = self.parts.windows(2).any(|pair| matches!(pair, [a, b] if a.key() == b.key()));
        if twice || self.parts.first().is_none_or(|part| part.kind != BASE) {
            return Err(self.refused(if twice { "a part came twice" } else { "it has no base image" }));
        }
        let file_name = self.file_name();
        let mut tail = Vec::with_capacity(self.parts.len() * ENTRY_BYTES + TRAILER_BYTES);
        self.parts.iter().for_each(|part| part.append(&mut tail));
        let hash = blake3::Hasher::new().update(&header()).update(&tail).finalize();
        let start = tail.len();
        tail.extend_from_slice(&self.file.position().to_le_bytes());
        tail.extend_from_slice(&u64::try_from(self.parts.len()).unwrap_or(u64::MAX).to_le_bytes());
        tail.extend_from_slice(hash.as_bytes());
        tail.extend_from_slice(TRAILER_MAGIC);
        let hash = blake3::hash(tail.get(start..).unwrap_or_default());
        tail.extend_from_slice(hash.as_bytes());
        self.file.write(&tail).map_err(io_error(&file_name))?;
        let Place { previous, kept } = self.place;
        let manifest = Manifest::new(&self.name, &self.input, previous, &self.file.written());
        let manifest_name = format!("{}{MANIFEST}", self.name);
        let differing = kept.as_ref().map(|kept| kept.differences(&manifest)).unwrap_or_default();
        if !differing.is_empty() {
            self.file.give_up(&*self.disk);
            let what =
                format!("its {} say otherwise than the book, from which it was made again", differing.join(", "));
            return Err(damaged(&manifest_name, what));
        }
        self.file.finish(&*self.disk).map_err(io_error(&file_name))?;
        self.disk.sync_dir().map_err(io_error("the directory of snapshots"))?;
        if kept.is_none() {
            let mut text = serde_json::to_vec_pretty(&manifest)
                .map_err(|error| SnapshotError::Refused { name: manifest.name.clone(), what: error.to_string() })?;
            text.push(b'\n');
            files::put(&*self.disk, &manifest_name, &text).map_err(io_error(&manifest_name))?;
        }
        Ok(manifest)
    }
}

/// A snapshot that is read. Every part is verified when it is read; clones of the file handle may read at once.
pub struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    file_name: String,
    manifest: Manifest,
    parts: Vec<Entry>,
}

impl SnapshotReader {
    /// Opens the snapshot `name`: reads its manifest, and verifies the table of its parts.
    ///
    /// # Errors
    /// `Name`; `Missing` where there is no such snapshot or its file was removed; `Damaged`, `Version`, `Io`.
    pub fn open(disk: &dyn Disk, name: &str) -> Result<Self, SnapshotError> {
        let (manifest, _) = read_manifest(disk, name)?;
        let file_name = format!("{name}{SNAPSHOT}");
        let file = disk.open(&file_name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SnapshotError::Missing(name.to_owned()),
            _ => io_error(&file_name)(error),
        })?;
        let length = file.len().map_err(io_error(&file_name))?;
        if length != manifest.bytes {
            let what = format!("it has {length} bytes, and the field bytes of its manifest says {}", manifest.bytes);
            return Err(damaged(&file_name, what));
        }
        let (version, parts) = read_table(&*file, &file_name, length)?;
        // The version says in which form the state was hashed, so it is not the manifest's alone to say.
        if version != manifest.version {
            return Err(damaged(&file_name, format!("its version is {version}, and not that of its manifest")));
        }
        Ok(Self { file, file_name, manifest, parts })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The base image.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn base(&self) -> Result<Vec<u8>, SnapshotError> {
        let base = self.parts.first().filter(|part| part.kind == BASE);
        self.read(base.ok_or_else(|| damaged(&self.file_name, "it has no base image"))?)
    }

    /// The image of one page; `None` where the snapshot has no such page.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn page(&self, kind: u8, number: u32) -> Result<Option<Vec<u8>>, SnapshotError> {
        let found = self.parts.binary_search_by_key(&(kind != BASE, kind, number), Entry::key);
        found.ok().and_then(|at| self.parts.get(at)).map(|part| self.read(part)).transpose()
    }

    /// Kind, number and BLAKE3 of every page, ascending by kind and number.
    pub fn pages(&self) -> impl Iterator<Item = (u8, u32, [u8; 32])> + '_ {
        let pages = self.parts.iter().filter(|part| part.kind != BASE);
        pages.map(|part| (part.kind, part.number, part.hash))
    }

    /// Holds every byte of the file against the manifest.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        let (mut blake3, mut sha256) = (blake3::Hasher::new(), Sha256::new());
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.manifest.bytes {
            let read = self.file.read_at(&mut buffer, at).map_err(io_error(&self.file_name))?;
            if read == 0 {
                break;
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            blake3.update(bytes);
            sha256.update(bytes);
            at += u64::try_from(read).unwrap_or(u64::MAX);
        }
        let differs = |field| Err(damaged(&self.file_name, format!("its {field} is not that of its manifest")));
        match () {
            () if hex(blake3.finalize().as_bytes()) != self.manifest.blake3 => differs("blake3"),
            () if hex(&sha256.finalize()) != self.manifest.sha256 => differs("sha256"),
            () => Ok(()),
        }
    }

    /// Holds the state hash in the manifest against the base image and the hashes of the pages.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn verify_state(&self) -> Result<(), SnapshotError> {
        if self.manifest.version == SNAPSHOT_VERSION_BEFORE {
            return Ok(());
        }
        let pages = self.pages().map(|(_, _, hash)| hash);
        let hash = state_hash_of(Op(self.manifest.op), &self.base()?, pages);
        match hex(&hash) == self.manifest.state_hash {
            true => Ok(()),
            false => Err(damaged(&self.file_name, "its parts are not the state whose state_hash its manifest says")),
        }
    }

    fn read(&self, part: &Entry) -> Result<Vec<u8>, SnapshotError> {
        let bytes = read_exact(&*self.file, &self.file_name, part.offset, part.length)?;
        match *blake3::hash(&bytes).as_bytes() == part.hash {
            true => Ok(bytes),
            false => Err(damaged(&self.file_name, format!("the part at byte {} is not what was written", part.offset))),
        }
    }
}

fn read_exact(file: &dyn DiskFile, name: &str, offset: u64, length: u32) -> Result<Vec<u8>, SnapshotError> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, offset).map_err(io_error(name))?;
    if read == bytes.len() {
        Ok(bytes)
    } else {
        Err(damaged(name, format!("it ends within the part at byte {offset}")))
    }
}

/// Reads header, trailer and table, and gives the version and the parts; what they say lies within the file's `length`.
fn read_table(file: &dyn DiskFile, name: &str, length: u64) -> Result<(u16, Vec<Entry>), SnapshotError> {
    let header_bytes = u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX);
    let trailer_bytes = u32::try_from(TRAILER_BYTES).unwrap_or(u32::MAX);
    let Some(trailer_at) = length.checked_sub(u64::from(trailer_bytes)).filter(|at| *at >= u64::from(header_bytes))
    else {
        return Err(damaged(name, "it is too short"));
    };
    let head = read_exact(file, name, 0, header_bytes)?;
    if head.get(..8) != Some(MAGIC.as_slice()) {
        return Err(damaged(name, "it is no snapshot"));
    }
    let version = array(&head, 8).map_or(0, u16::from_le_bytes);
    if version != SNAPSHOT_VERSION && version != SNAPSHOT_VERSION_BEFORE {
        return Err(SnapshotError::Version { file: name.to_owned(), version });
    }
    let bad = || damaged(name, "its table of parts is not what was written");
    let trailer = read_exact(file, name, trailer_at, trailer_bytes)?;
    let (said, seal) = trailer.split_at_checked(TRAILER_BYTES - 32).ok_or_else(bad)?;
    if blake3::hash(said).as_bytes().as_slice() != seal || said.get(48..) != Some(TRAILER_MAGIC.as_slice()) {
        return Err(bad());
    }
    let offset = array(said, 0).map(u64::from_le_bytes).ok_or_else(bad)?;
    let count = array(said, 8).map(u64::from_le_bytes).filter(|count| *count <= PARTS_MAX).ok_or_else(bad)?;
    let bytes = count.saturating_mul(u64::try_from(ENTRY_BYTES).unwrap_or(u64::MAX));
    if offset.checked_add(bytes) != Some(trailer_at) {
        return Err(bad());
    }
    let table = read_exact(file, name, offset, u32::try_from(bytes).map_err(|_| bad())?)?;
    let hash = blake3::Hasher::new().update(&head).update(&table).finalize();
    if Some(hash.as_bytes().as_slice()) != said.get(16..48) {
        return Err(bad());
    }
    let parts = table.chunks(ENTRY_BYTES).map(Entry::read).collect::<Option<Vec<_>>>().ok_or_else(bad)?;
    let within = |part: &Entry| {
        let end = part.offset.checked_add(u64::from(part.length));
        part.length <= PART_BYTES_MAX && end.is_some_and(|end| end <= offset)
    };
    let ascending = parts.windows(2).all(|pair| matches!(pair, [a, b] if a.key() < b.key()));
    if ascending && parts.iter().all(within) { Ok((version, parts)) } else { Err(bad()) }
}

#[cfg(test)]
mod tests;
