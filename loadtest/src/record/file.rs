//! A trace as a file; see `TRACE.md`.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use super::entry::{End, Entry, What};
use crate::Failure;

/// What a trace begins with: its format and the format's version.
const MAGIC: &[u8] = b"stampbook trace 1\n";
/// The bytes of the hash that a trace ends with.
const HASH_BYTES: u64 = 32;
/// An entry that claims to be longer is none: a program's definition has 8 KiB at most, a checkout eight parts.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Whether a file begins as a trace does, of whatever version.
pub(crate) fn is_trace(path: &Path) -> Result<bool, Failure> {
    let name = MAGIC.split(|byte| byte.is_ascii_digit()).next().unwrap_or(MAGIC);
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut begins = Vec::new();
    file.take(u64::try_from(name.len())?).read_to_end(&mut begins)?;
    Ok(begins == name)
}

/// Writes a trace, entry after entry.
pub(crate) struct Writer {
    out: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins a trace in a file that is not there yet.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => format!("{}: is there already; name a file that is not", path.display()),
            _ => format!("{}: {error}", path.display()),
        })?;
        let mut writer = Self { out: BufWriter::new(file), hasher: blake3::Hasher::new(), bytes: MAGIC.to_vec() };
        writer.flush()?;
        Ok(writer)
    }

    /// Writes an entry.
    pub(crate) fn write(&mut self, entry: &Entry) -> Result<(), Failure> {
        entry.encode_length_delimited(&mut self.bytes)?;
        self.flush()
    }

    /// Writes the hash of all that was written, and gives the bytes of the file.
    pub(crate) fn finish(mut self) -> Result<u64, Failure> {
        self.out.write_all(self.hasher.finalize().as_bytes())?;
        let file = self.out.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.hasher.update(&self.bytes);
        self.out.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// A trace that is whole.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    path: PathBuf,
    /// What it ends with.
    pub(crate) end: End,
}

impl Trace {
    /// Reads a trace through, and refuses one that is not whole.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let of_file = |what: String| format!("{}: {what}", path.display());
        let mut last = None;
        let mut entries = Entries::open(path).map_err(|error| of_file(error.to_string()))?;
        let mut read = 0_u64;
        loop {
            match entries.next_bytes() {
                Ok(true) => {
                    read += 1;
                    last = (entries.left == 0).then(|| entries.bytes.clone());
                }
                Ok(false) => break,
                Err(error) => return Err(of_file(error.to_string()).into()),
            }
        }
        entries.check_hash().map_err(of_file)?;
        let last = last.ok_or_else(|| of_file("the trace has no end".to_owned()))?;
        match Entry::decode(last.as_slice())?.what {
            Some(What::End(end)) if end.entries == read - 1 => Ok(Self { path: path.to_owned(), end }),
            _ => Err(of_file("the trace has no end, or not as many entries as that says".to_owned()).into()),
        }
    }

    /// Its entries, the end not among them.
    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = Result<Entry, Failure>> + use<>, Failure> {
        let entries = Entries::open(&self.path)?;
        let count = usize::try_from(self.end.entries)?;
        Ok(entries.take(count))
    }
}

/// Reads entry after entry.
struct Entries {
    file: BufReader<File>,
    /// Bytes of entries that are not read yet.
    left: u64,
    hasher: blake3::Hasher,
    bytes: Vec<u8>,
}

impl Entries {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut magic = vec![0; MAGIC.len()];
        let mut file = BufReader::with_capacity(1 << 16, file);
        file.read_exact(&mut magic).map_err(|_| "it is no trace")?;
        if magic != MAGIC {
            return Err("it is no trace, or one of another version".into());
        }
        let left = length.checked_sub(HASH_BYTES + u64::try_from(MAGIC.len())?).ok_or(CUT)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(MAGIC);
        Ok(Self { file, left, hasher, bytes: Vec::new() })
    }

    /// Reads the next entry's bytes; `false` where there is none.
    fn next_bytes(&mut self) -> Result<bool, Failure> {
        if self.left == 0 {
            return Ok(false);
        }
        let mut prefix = Vec::new();
        loop {
            let mut byte = [0];
            self.file.read_exact(&mut byte).map_err(|_| CUT)?;
            prefix.extend(byte);
            if byte.iter().all(|byte| *byte < 0x80) || prefix.len() > 9 {
                break;
            }
        }
        let length = prost::decode_length_delimiter(prefix.as_slice()).map_err(|_| CUT)?;
        let whole = u64::try_from(length + prefix.len())?;
        if length > ENTRY_BYTES_MAX || whole > self.left {
            return Err(CUT.into());
        }
        self.bytes.resize(length, 0);
        self.file.read_exact(&mut self.bytes).map_err(|_| CUT)?;
        self.hasher.update(&prefix);
        self.hasher.update(&self.bytes);
        self.left -= whole;
        Ok(true)
    }

    /// Holds what was read against the hash behind it.
    fn check_hash(&mut self) -> Result<(), String> {
        let mut hash = [0; 32];
        self.file.read_exact(&mut hash).map_err(|_| CUT)?;
        if self.hasher.finalize() == hash { Ok(()) } else { Err(CUT.to_owned()) }
    }
}

const CUT: &str = "the trace is damaged or cut short";

impl Iterator for Entries {
    type Item = Result<Entry, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_bytes() {
            Ok(false) => None,
            Ok(true) => Some(Entry::decode(self.bytes.as_slice()).map_err(Failure::from)),
            Err(error) => Some(Err(error)),
        }
    }
}
