//! Values that say what they are: every one carries its op and a checksum over its key, its op and its payload, keyed by
//! the book, so that nothing flipped, misplaced or of another book passes. Longer things are cut in chunks.

use super::StoreError;
use super::limits::{BLOB_BYTES_MAX, CHECK_BYTES, CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, VALUE_HEADER_BYTES};
use super::shelf::{Change, Shelf};

/// 16 bytes of BLAKE3.
pub(crate) type Check = [u8; CHECK_BYTES];

/// The book that a store is a cache of: nothing of another one is ever taken for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookName {
    /// The book's id.
    pub book_id: [u8; 16],
    /// Its incarnation: a restore into the past has a new one, and so a store of its own.
    pub incarnation: u32,
}

/// Makes and opens the values of one book.
#[derive(Clone)]
pub(crate) struct Envelope {
    key: [u8; 32],
}

impl Envelope {
    pub(crate) fn new(book: BookName) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("stampbook 2026-11 store value");
        hasher.update(&book.book_id).update(&book.incarnation.to_le_bytes());
        Self { key: *hasher.finalize().as_bytes() }
    }

    /// The checksum of a payload under a key. The payload comes first: BLAKE3 hashes several kilobytes at once where they are given
    /// at once and from the beginning.
    fn check(&self, key: &[u8], op: u64, payload: &[u8]) -> Check {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(payload).update(&u64::try_from(payload.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(&op.to_le_bytes()).update(key);
        short(&hasher.finalize())
    }

    /// The value of `payload` under `key`.
    pub(crate) fn wrap(&self, key: &[u8], op: u64, payload: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(VALUE_HEADER_BYTES + payload.len());
        value.extend_from_slice(&op.to_le_bytes());
        value.extend_from_slice(&self.check(key, op, payload));
        value.extend_from_slice(payload);
        value
    }

    /// Op, checksum and payload of a value that `key` was found to have.
    pub(crate) fn unwrap<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<(u64, Check, &'a [u8]), StoreError> {
        let split = value.split_first_chunk::<8>();
        let split = split.and_then(|(op, rest)| Some((op, rest.split_first_chunk::<CHECK_BYTES>()?)));
        let Some((op, (check, payload))) = split else {
            return Err(unsound(key, "too short"));
        };
        let op = u64::from_le_bytes(*op);
        if self.check(key, op, payload) != *check {
            return Err(unsound(key, "its checksum does not hold"));
        }
        Ok((op, *check, payload))
    }

    /// The changes that write `bytes` under `prefix` and a chunk's number each. Fails when there are too many bytes.
    pub(crate) fn blob(&self, prefix: &[u8], op: u64, bytes: &[u8]) -> Result<Vec<Change>, StoreError> {
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= BLOB_BYTES_MAX);
        let length =
            length.ok_or_else(|| StoreError::Refused(format!("{} bytes are over {BLOB_BYTES_MAX}", bytes.len())))?;
        let mut changes = Vec::with_capacity(bytes.len() / CHUNK_BYTES_MAX + 1);
        let mut chunks = bytes.chunks(CHUNK_BYTES_MAX);
        for number in 0..=u16::MAX {
            let chunk = chunks.next();
            if chunk.is_none() && number > 0 {
                break;
            }
            let chunk = chunk.unwrap_or_default();
            let mut payload = Vec::with_capacity(CHUNK_HEADER_BYTES + chunk.len());
            payload.extend_from_slice(&length.to_le_bytes());
            payload.extend_from_slice(chunk);
            let key = chunk_key(prefix, number);
            let value = self.wrap(&key, op, &payload);
            changes.push((key, Some(value)));
        }
        Ok(changes)
    }

    /// The blob under `prefix`, its op with it; `None` if no part of it is there.
    pub(crate) fn read_blob(&self, shelf: &dyn Shelf, prefix: &[u8]) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let mut reader = BlobReader::new(prefix.to_vec());
        let mut failure = None;
        shelf.scan(&chunk_key(prefix, 0), &after_blob(prefix), &mut |key, value| {
            failure = reader.take(self, key, value).err();
            failure.is_none()
        })?;
        match failure {
            Some(error) => Err(error),
            None if reader.is_empty() => Ok(None),
            None => reader.finish().map(Some),
        }
    }
}

/// Puts the chunks of one blob together, as a scan brings them.
pub(crate) struct BlobReader {
    prefix: Vec<u8>,
    next: u16,
    op: u64,
    length: usize,
    bytes: Vec<u8>,
}

impl BlobReader {
    pub(crate) fn new(prefix: Vec<u8>) -> Self {
        Self { prefix, next: 0, op: 0, length: 0, bytes: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Whether every chunk has been taken.
    pub(crate) fn is_whole(&self) -> bool {
        self.next > 0 && self.bytes.len() >= self.length
    }

    /// Takes the next chunk.
    pub(crate) fn take(&mut self, envelope: &Envelope, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key != chunk_key(&self.prefix, self.next).as_slice() {
            return Err(unsound(key, "another chunk was due"));
        }
        let (op, _, payload) = envelope.unwrap(key, value)?;
        let (length, chunk) =
            payload.split_first_chunk::<CHUNK_HEADER_BYTES>().ok_or_else(|| unsound(key, "too short"))?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if self.next == 0 {
            (self.op, self.length) = (op, length);
            self.bytes.reserve(length.min(BLOB_BYTES_MAX));
        }
        if (op, length) != (self.op, self.length) || self.bytes.len() + chunk.len() > length {
            return Err(unsound(key, "a chunk of another time"));
        }
        self.bytes.extend_from_slice(chunk);
        self.next = self.next.checked_add(1).ok_or_else(|| unsound(key, "too many chunks"))?;
        Ok(())
    }

    /// The blob and its op, if all of it was there.
    pub(crate) fn finish(self) -> Result<(u64, Vec<u8>), StoreError> {
        if self.is_whole() && self.bytes.len() == self.length {
            Ok((self.op, self.bytes))
        } else {
            Err(unsound(&self.prefix, "chunks are missing"))
        }
    }
}

/// The key of a chunk of the blob under `prefix`.
pub(crate) fn chunk_key(prefix: &[u8], number: u16) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

/// A bound above every chunk of the blob under `prefix`.
pub(crate) fn after_blob(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff, 0xff, 0]].concat()
}

/// The first 16 bytes of a hash.
pub(crate) fn short(hash: &blake3::Hash) -> Check {
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

fn unsound(key: &[u8], why: &str) -> StoreError {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    StoreError::Unusable(format!("the value of key {key} is unsound: {why}"))
}
