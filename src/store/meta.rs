//! Metas: what a checkpoint consists of. A meta is synced last, after all that it names, so that a sound meta names sound
//! things or damage is at work.

use std::collections::{BTreeMap, BTreeSet};

use super::StoreError;
use super::bytes::{In, Out};
use super::limits::PARTITIONS;
use super::pages::PageKey;
use super::runs::SliceName;
use super::shelf::{Change, Shelf};
use super::value::{Envelope, chunk_key};

/// The version of everything that the store writes.
pub(crate) const VERSION: u32 = 2;

/// Where a page lies and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageName {
    /// BLAKE3 of its image.
    pub(crate) hash: [u8; 32],
    pub(crate) folder: u32,
    /// Bytes of its image.
    pub(crate) bytes: u32,
}

/// A checkpoint: the state and every key up to one op.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Metas are numbered; the newest has the greatest number.
    pub(crate) sequence: u64,
    /// The op that the state is of.
    pub op: u64,
    /// The place in the book, as it was given.
    pub waypoint: Vec<u8>,
    /// The base image, as it was given.
    pub base: Vec<u8>,
    /// The hash of the state.
    pub state_hash: [u8; 32],
    /// For each kind its pages, by number.
    pub(crate) pages: BTreeMap<u8, Vec<PageName>>,
    /// For each partition its runs, oldest first.
    pub(crate) runs: Vec<Vec<SliceName>>,
    /// The number of the next folder.
    pub(crate) next_folder: u32,
}

impl Checkpoint {
    /// The pages and the BLAKE3 hash of each image, by kind and number.
    #[cfg(test)]
    pub(crate) fn page_hashes(&self) -> impl Iterator<Item = (PageKey, [u8; 32])> {
        self.named_pages().map(|(key, page)| (key, page.hash))
    }

    /// The pages by kind and number.
    pub(crate) fn named_pages(&self) -> impl Iterator<Item = (PageKey, PageName)> {
        self.pages
            .iter()
            .flat_map(|(kind, pages)| (0..).zip(pages).map(|(number, page)| (PageKey { kind: *kind, number }, *page)))
    }

    /// The folders of the pages.
    pub(crate) fn page_folders(&self) -> BTreeSet<u32> {
        self.pages.values().flatten().map(|page| page.folder).collect()
    }

    /// The folders of the runs.
    pub(crate) fn run_folders(&self) -> BTreeSet<u32> {
        self.runs.iter().flatten().filter(|name| name.keys > 0).map(|name| name.folder).collect()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Out::default();
        out.u32(VERSION);
        out.u64(self.op);
        out.bytes(&self.waypoint);
        out.bytes(&self.base);
        out.raw(&self.state_hash);
        out.u32(self.next_folder);
        out.count(self.pages.len());
        for (kind, pages) in &self.pages {
            out.u8(*kind);
            out.count(pages.len());
            for page in pages {
                out.raw(&page.hash);
                out.u32(page.folder);
                out.u32(page.bytes);
            }
        }
        for names in &self.runs {
            out.count(names.len());
            for name in names {
                out.u32(name.folder);
                [name.base, name.last, name.keys, name.bytes].into_iter().for_each(|field| out.u64(field));
                out.raw(&name.index);
            }
        }
        out.0
    }

    fn from_bytes(sequence: u64, bytes: &[u8]) -> Result<Self, StoreError> {
        let mut fields = In::new(bytes);
        let version = fields.u32()?;
        if version != VERSION {
            return Err(StoreError::Unusable(format!("version {version} is not {VERSION}")));
        }
        let (op, waypoint, base) = (fields.u64()?, fields.bytes()?, fields.bytes()?);
        let (state_hash, next_folder) = (fields.array()?, fields.u32()?);
        let mut pages = BTreeMap::new();
        for _ in 0..fields.count(9)? {
            let kind = fields.u8()?;
            let of_kind = (0..fields.count(40)?)
                .map(|_| Ok(PageName { hash: fields.array()?, folder: fields.u32()?, bytes: fields.u32()? }))
                .collect::<Result<_, StoreError>>()?;
            pages.insert(kind, of_kind);
        }
        let mut runs = Vec::with_capacity(PARTITIONS);
        for _ in 0..PARTITIONS {
            let names = (0..fields.count(52)?).map(|_| {
                let folder = fields.u32()?;
                let (base, last, keys, bytes) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
                Ok(SliceName { folder, base, last, keys, bytes, index: fields.array()? })
            });
            runs.push(names.collect::<Result<_, StoreError>>()?);
        }
        fields.end()?;
        Ok(Self { sequence, op, waypoint, base, state_hash, pages, runs, next_folder })
    }
}

/// Bytes that the checkpoints name, what several name counted once.
pub(crate) fn bytes_named<'a>(checkpoints: impl Iterator<Item = &'a Checkpoint>) -> u64 {
    let (mut pages, mut runs, mut metas) = (BTreeMap::new(), BTreeMap::new(), 0);
    for checkpoint in checkpoints {
        pages.extend(checkpoint.named_pages().map(|(key, page)| ((key, page.folder), u64::from(page.bytes))));
        for (number, names) in checkpoint.runs.iter().enumerate() {
            runs.extend(names.iter().map(|name| ((number, name.folder, name.base), name.bytes)));
        }
        metas += u64::try_from(checkpoint.to_bytes().len()).unwrap_or(u64::MAX);
    }
    pages.values().sum::<u64>() + runs.values().sum::<u64>() + metas
}

/// The changes that write a meta.
pub(crate) fn write(envelope: &Envelope, checkpoint: &Checkpoint) -> Result<Vec<Change>, StoreError> {
    envelope.blob(&prefix(b'm', checkpoint.sequence), checkpoint.op, &checkpoint.to_bytes())
}

/// Reads the meta of that number.
pub(crate) fn read(envelope: &Envelope, shelf: &dyn Shelf, sequence: u64) -> Result<Checkpoint, StoreError> {
    let blob = envelope.read_blob(shelf, &prefix(b'm', sequence))?;
    let (op, bytes) = blob.ok_or_else(|| StoreError::Unusable("it is missing".into()))?;
    let checkpoint = Checkpoint::from_bytes(sequence, &bytes)?;
    if checkpoint.op == op { Ok(checkpoint) } else { Err(StoreError::Unusable("its op differs".into())) }
}

/// The changes that write the trial balance at `op`.
pub(crate) fn write_trial(envelope: &Envelope, op: u64, trial: &[u8]) -> Result<Vec<Change>, StoreError> {
    envelope.blob(&prefix(b't', op), op, trial)
}

/// Reads the trial balance at `op`.
pub(crate) fn read_trial(envelope: &Envelope, shelf: &dyn Shelf, op: u64) -> Result<Vec<u8>, StoreError> {
    let blob = envelope.read_blob(shelf, &prefix(b't', op))?;
    blob.map(|(_, bytes)| bytes).ok_or_else(|| StoreError::Unusable("a trial balance is missing".into()))
}

/// The numbers of all metas, or the ops of all trial balances, whole or not.
pub(crate) fn list(shelf: &dyn Shelf, what: What) -> Result<BTreeSet<u64>, StoreError> {
    let letter = what.letter();
    let mut numbers = BTreeSet::new();
    shelf.scan(&[letter], &[letter + 1], &mut |key, _| {
        numbers.extend(key.get(1..).and_then(|rest| rest.first_chunk()).map(|number| u64::from_be_bytes(*number)));
        true
    })?;
    Ok(numbers)
}

/// The changes that remove everything of that kind and number.
pub(crate) fn remove(shelf: &dyn Shelf, what: What, number: u64) -> Result<Vec<Change>, StoreError> {
    let prefix = prefix(what.letter(), number);
    let mut changes = Vec::new();
    shelf.scan(&chunk_key(&prefix, 0), &super::value::after_blob(&prefix), &mut |key, _| {
        changes.push((key.to_vec(), None));
        true
    })?;
    Ok(changes)
}

/// What lies in the shelf of the metas.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Metas,
    Trials,
}

impl What {
    fn letter(self) -> u8 {
        match self {
            What::Metas => b'm',
            What::Trials => b't',
        }
    }
}

fn prefix(letter: u8, number: u64) -> Vec<u8> {
    [&[letter], number.to_be_bytes().as_slice()].concat()
}
