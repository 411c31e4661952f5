//! Files that are either whole under their name or not there: written as `.new`, synced, renamed.

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::io::{Disk, DiskFile};

/// What an unfinished file is called after its name.
pub(crate) const UNFINISHED: &str = ".new";
/// Bytes that a [`NewFile`] gathers before it writes.
const GATHER_BYTES: usize = 1024 * 1024;

/// A file being written from its beginning to its end.
pub struct NewFile {
    name: String,
    file: Arc<dyn DiskFile>,
    gathered: Vec<u8>,
    written: u64,
    blake3: blake3::Hasher,
    sha256: Sha256,
}

/// The length and the hashes of a file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its length in bytes.
    pub bytes: u64,
    /// BLAKE3 of all of it.
    pub blake3: [u8; 32],
    /// SHA-256 of all of it.
    pub sha256: [u8; 32],
}

impl NewFile {
    /// Begins the file `name`, in place of an unfinished one of that name.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(disk: &dyn Disk, name: &str) -> io::Result<Self> {
        let unfinished = format!("{name}{UNFINISHED}");
        match disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(&unfinished)?;
        Ok(Self {
            name: name.to_owned(),
            file,
            gathered: Vec::new(),
            written: 0,
            blake3: blake3::Hasher::new(),
            sha256: Sha256::new(),
        })
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.written.saturating_add(u64::try_from(self.gathered.len()).unwrap_or(u64::MAX))
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.blake3.update(bytes);
        self.sha256.update(bytes);
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.gathered, self.written)?;
        self.written = self.position();
        self.gathered.clear();
        Ok(())
    }

    /// Syncs the file and gives it its name, in place of one that had it. The name is durable after the next
    /// [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(mut self, disk: &dyn Disk) -> io::Result<Written> {
        self.flush()?;
        self.file.sync_data()?;
        disk.rename(&format!("{}{UNFINISHED}", self.name), &self.name)?;
        let (blake3, sha256) = (*self.blake3.finalize().as_bytes(), self.sha256.finalize().into());
        Ok(Written { bytes: self.written, blake3, sha256 })
    }
}

/// Writes a whole file, durably, in place of one of its name.
///
/// # Errors
/// The disk's.
pub fn put(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<Written> {
    let mut file = NewFile::create(disk, name)?;
    file.write(bytes)?;
    let written = file.finish(disk)?;
    disk.sync_dir()?;
    Ok(written)
}

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// The disk's; `InvalidData` for a longer file.
pub fn read(disk: &dyn Disk, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let bytes = file.len()?;
    if bytes > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{bytes} bytes are too many")));
    }
    let mut read = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let length = file.read_at(&mut read, 0)?;
    read.truncate(length);
    Ok(read)
}

/// Bytes in hexadecimal digits, as all reports and manifests show them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('?', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// `N` bytes from hexadecimal digits.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(high)? * 16 + digit(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::io::sim::{Crash, SimDisk};

    #[test]
    fn a_file_is_whole_under_its_name_or_not_there_wherever_the_machine_stops() {
        let whole = vec![7; 10_000];
        for last in 0..8 {
            let disk = SimDisk::new(last);
            put(&disk, "f", b"old").unwrap();
            disk.halt_after(disk.operations() + last);
            let written = put(&disk, "f", &whole);
            for policy in [Crash::Dropped, Crash::Kept, Crash::Torn] {
                let after = disk.crash(policy);
                let found = read(&after, "f", 1 << 20).unwrap();
                assert!(found == whole || (found == b"old" && written.is_err()), "after {last}, {policy:?}");
            }
        }
    }

    #[test]
    fn hexadecimal_digits_are_read_back_and_nothing_else_is() {
        assert_eq!(hex(&[0, 0x5a, 0xff]), "005aff");
        assert_eq!(unhex::<3>("005aff"), Some([0, 0x5a, 0xff]));
        for bad in ["005af", "005aff0", "005agg", "+05aff"] {
            assert_eq!(unhex::<3>(bad), None, "{bad}");
        }
    }
}
