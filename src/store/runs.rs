//! Runs: the keys of a range of ops, sorted by print, in blocks of some 4 KiB, one piece for each partition.
//!
//! A run's piece in one partition is a [`Slice`]. It keeps in memory where each block begins and a filter over each
//! million of its keys; both lie in the folder too, and a meta names the index by its checksum, the index the blocks and
//! filters by theirs, so that nothing older or newer can stand in for them.

use std::sync::Arc;

use super::StoreError;
use super::bytes::{In, Out};
use super::filters::Filter;
use super::limits::{BLOCKS_READ_AHEAD, ENTRIES_PER_BLOCK, ENTRY_BYTES, FILTER_KEYS_MAX, RUN_OPS_MAX};
use super::shelf::{Batch, Change, Shelf};
use super::value::{Check, Envelope, short};

/// A key: the upper 64 bits of its print, and the op of its event.
pub(crate) type Entry = (u64, u64);

/// The partition of a print, from its upper 64 bits.
pub(crate) fn partition_of(print: u64) -> u8 {
    print.to_be_bytes()[0]
}

/// A folder that holds runs. It stays on disk while a meta names it, and open while anybody holds it.
pub(crate) struct RunFolder {
    pub(crate) number: u32,
    pub(crate) shelf: Arc<dyn Shelf>,
}

impl RunFolder {
    /// A batch of changes to it.
    pub(crate) fn batch(&self) -> Batch {
        Batch::new(self.shelf.clone())
    }
}

/// What a meta says of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SliceName {
    /// The folder, 0 for a slice without keys.
    pub(crate) folder: u32,
    /// The keys are of ops above this one,
    pub(crate) base: u64,
    /// and up to this one.
    pub(crate) last: u64,
    pub(crate) keys: u64,
    /// Bytes of all its values.
    pub(crate) bytes: u64,
    /// The checksum of its index.
    pub(crate) index: Check,
}

/// The keys of one partition in a range of ops.
pub(crate) struct Slice {
    pub(crate) name: SliceName,
    partition: u8,
    folder: Option<Arc<RunFolder>>,
    parts: Vec<Part>,
    blocks: Vec<BlockHead>,
    filters_held: bool,
}

/// Up to a million keys under one filter.
struct Part {
    /// The least print.
    first: u64,
    /// The checksum of the filter's bytes; none if there is no filter.
    check: Option<Check>,
    filter: Option<Filter>,
}

#[derive(Clone, Copy)]
struct BlockHead {
    /// The least print.
    first: u64,
    /// The head of the value's checksum.
    check: [u8; 8],
}

impl Slice {
    /// A slice without keys.
    pub(crate) fn empty(partition: u8, base: u64, last: u64) -> Self {
        let name = SliceName { folder: 0, base, last, keys: 0, bytes: 0, index: Check::default() };
        Self { name, partition, folder: None, parts: Vec::new(), blocks: Vec::new(), filters_held: true }
    }

    /// Opens the slice that a meta names, with its filters if `filters`.
    pub(crate) fn open(
        name: SliceName,
        partition: u8,
        folder: Option<Arc<RunFolder>>,
        envelope: &Envelope,
        filters: bool,
    ) -> Result<Self, StoreError> {
        let Some(held) = folder.as_ref().filter(|_| name.keys > 0) else {
            return Ok(Self::empty(partition, name.base, name.last));
        };
        let shelf = held.shelf.as_ref();
        let missing =
            |what: &str| StoreError::Unusable(format!("keys-{}: {what} is missing or of another time", held.number));
        let (_, index) = envelope.read_blob(shelf, &[partition, b'i'])?.ok_or_else(|| missing("an index"))?;
        if short(&blake3::hash(&index)) != name.index {
            return Err(missing("an index"));
        }
        let (mut parts, blocks) = read_index(&index)?;
        if filters {
            for (number, part) in parts.iter_mut().enumerate() {
                let Some(check) = part.check else { continue };
                let (_, bytes) =
                    envelope.read_blob(shelf, &filter_prefix(partition, number))?.ok_or_else(|| missing("a filter"))?;
                if short(&blake3::hash(&bytes)) != check {
                    return Err(missing("a filter"));
                }
                part.filter = Some(Filter::from_bytes(&bytes)?);
            }
        }
        Ok(Self { name, partition, folder, parts, blocks, filters_held: filters })
    }

    /// The same slice without its filters in memory.
    pub(crate) fn without_filters(&self) -> Self {
        let bare = |part: &Part| Part { first: part.first, check: part.check, filter: None };
        Self {
            name: self.name.clone(),
            partition: self.partition,
            folder: self.folder.clone(),
            parts: self.parts.iter().map(bare).collect(),
            blocks: self.blocks.clone(),
            filters_held: false,
        }
    }

    /// Whether the filters are in memory, as far as there are any.
    pub(crate) fn holds_filters(&self) -> bool {
        self.filters_held
    }

    /// Bytes of memory of the filters.
    pub(crate) fn filter_bytes(&self) -> u64 {
        self.parts.iter().filter_map(|part| part.filter.as_ref()).map(Filter::bytes).sum()
    }

    /// Bytes of memory of all else.
    pub(crate) fn index_bytes(&self) -> u64 {
        let bytes = size_of::<Self>()
            + self.parts.capacity() * size_of::<Part>()
            + self.blocks.capacity() * size_of::<BlockHead>();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Whether a key of this print may be in the slice: never `false` when one is.
    pub(crate) fn may_hold(&self, print: u64) -> bool {
        let number = self.parts.partition_point(|part| part.first <= print);
        let Some(part) = number.checked_sub(1).and_then(|number| self.parts.get(number)) else { return false };
        part.filter.as_ref().is_none_or(|filter| filter.may_hold(print))
    }

    /// The ops of the keys of this print, oldest first.
    pub(crate) fn find(&self, envelope: &Envelope, print: u64) -> Result<Vec<u64>, StoreError> {
        let mut ops = Vec::new();
        // Keys of the same print may begin in the block before the first one that begins with it.
        let first = self.blocks.partition_point(|block| block.first < print).saturating_sub(1);
        for number in first..self.blocks.len() {
            if self.blocks.get(number).is_none_or(|block| block.first > print) {
                break;
            }
            let entries = self.block(envelope, number)?;
            ops.extend(entries.iter().filter(|entry| entry.0 == print).map(|entry| entry.1));
        }
        Ok(ops)
    }

    /// The entries of a block.
    fn block(&self, envelope: &Envelope, number: usize) -> Result<Vec<Entry>, StoreError> {
        let key = block_key(self.partition, number)?;
        let value = self.folder.as_ref().map(|folder| folder.shelf.get(&key)).transpose()?.flatten();
        let mut entries = Vec::with_capacity(ENTRIES_PER_BLOCK);
        self.read_block(
            envelope,
            number,
            value.as_ref().map(|value| (key.as_slice(), value.as_slice())),
            &mut entries,
        )?;
        Ok(entries)
    }

    /// The entries of some blocks from `first` on.
    fn blocks(&self, envelope: &Envelope, first: usize) -> Result<Vec<Entry>, StoreError> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let end = self.blocks.len().min(first.saturating_add(BLOCKS_READ_AHEAD));
        let mut entries = Vec::with_capacity(ENTRIES_PER_BLOCK * (end - first));
        let (mut next, mut outcome) = (first, Ok(()));
        folder.shelf.scan(
            &block_key(self.partition, first)?,
            &block_key(self.partition, end)?,
            &mut |key, value| {
                outcome = self.read_block(envelope, next, Some((key, value)), &mut entries);
                next += 1;
                outcome.is_ok()
            },
        )?;
        outcome?;
        if next == end { Ok(entries) } else { self.read_block(envelope, next, None, &mut entries).map(|()| entries) }
    }

    /// Adds the entries of the block of that number, which is what was found, or fails.
    fn read_block(
        &self,
        envelope: &Envelope,
        number: usize,
        found: Option<(&[u8], &[u8])>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        let missing =
            || StoreError::Unusable(format!("keys-{}: a block is missing or of another time", self.name.folder));
        let (key, value) = found.ok_or_else(missing)?;
        let (_, check, payload) = envelope.unwrap(key, value)?;
        let head = self.blocks.get(number).ok_or_else(missing)?;
        if key != block_key(self.partition, number)?.as_slice() || check.first_chunk() != Some(&head.check) {
            return Err(missing());
        }
        let mut fields = In::new(payload);
        for _ in 0..fields.count(ENTRY_BYTES)? {
            let [a, b, c, d, e, f, g] = fields.array()?;
            let [h, i, j, k, l, m] = fields.array()?;
            let op = self.name.base.saturating_add(u64::from_le_bytes([h, i, j, k, l, m, 0, 0]));
            entries.push((u64::from_be_bytes([self.partition, a, b, c, d, e, f, g]), op));
        }
        fields.end()
    }

    /// The entries in order.
    pub(crate) fn entries<'a>(&'a self, envelope: &'a Envelope) -> SliceEntries<'a> {
        SliceEntries { slice: self, envelope, next: 0, block: Vec::new().into_iter() }
    }
}

/// Reads a slice some blocks at a time.
pub(crate) struct SliceEntries<'a> {
    slice: &'a Slice,
    envelope: &'a Envelope,
    next: usize,
    block: std::vec::IntoIter<Entry>,
}

impl Iterator for SliceEntries<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.block.next() {
                return Some(Ok(entry));
            }
            if self.next >= self.slice.blocks.len() {
                return None;
            }
            match self.slice.blocks(self.envelope, self.next) {
                Ok(entries) => self.block = entries.into_iter(),
                Err(error) => return Some(Err(error)),
            }
            self.next += BLOCKS_READ_AHEAD;
        }
    }
}

/// Writes a slice from entries in order.
pub(crate) struct SliceWriter<'a> {
    envelope: &'a Envelope,
    folder: Arc<RunFolder>,
    slice: Slice,
    /// The entries of the open block, packed, and how many.
    block: Vec<u8>,
    block_entries: usize,
    block_first: u64,
    /// The prints of the open part.
    prints: Vec<u64>,
    batch: &'a mut Batch,
}

impl<'a> SliceWriter<'a> {
    /// A writer of the keys of `partition` above `base` and up to `last` into `folder`, by way of `batch`.
    pub(crate) fn new(
        envelope: &'a Envelope,
        (folder, batch): (&Arc<RunFolder>, &'a mut Batch),
        (partition, base, last): (u8, u64, u64),
    ) -> Result<Self, StoreError> {
        if last.checked_sub(base).is_none_or(|ops| ops > RUN_OPS_MAX) {
            return Err(StoreError::Refused(format!("a run cannot span the ops from {base} to {last}")));
        }
        Ok(Self {
            envelope,
            folder: folder.clone(),
            slice: Slice::empty(partition, base, last),
            block: Vec::new(),
            block_entries: 0,
            block_first: 0,
            prints: Vec::new(),
            batch,
        })
    }

    /// Adds an entry, none less than the one before.
    pub(crate) fn push(&mut self, (print, op): Entry) -> Result<(), StoreError> {
        let name = &self.slice.name;
        if op <= name.base || op > name.last || partition_of(print) != self.slice.partition {
            return Err(StoreError::Refused(format!("op {op} is not above {} and up to {}", name.base, name.last)));
        }
        if self.block_entries == ENTRIES_PER_BLOCK {
            self.end_block()?;
        }
        if self.prints.len() >= FILTER_KEYS_MAX && self.block_entries == 0 {
            self.end_part()?;
        }
        if self.block_entries == 0 {
            self.block_first = print;
        }
        if let (Some(print), Some(op)) =
            (print.to_be_bytes().get(1..), (op - self.slice.name.base).to_le_bytes().get(..6))
        {
            self.block.extend_from_slice(print);
            self.block.extend_from_slice(op);
        }
        self.block_entries += 1;
        self.prints.push(print);
        self.slice.name.keys += 1;
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), StoreError> {
        let key = block_key(self.slice.partition, self.slice.blocks.len())?;
        let mut payload = Out::default();
        payload.count(self.block_entries);
        payload.raw(&self.block);
        let value = self.envelope.wrap(&key, self.slice.name.last, &payload.0);
        let check = value.get(8..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        self.slice.blocks.push(BlockHead { first: self.block_first, check });
        self.block.clear();
        self.block_entries = 0;
        self.add(vec![(key, Some(value))])
    }

    /// Ends the open part with its filter; the block before it has ended.
    fn end_part(&mut self) -> Result<(), StoreError> {
        let Some(first) = self.prints.first().copied() else { return Ok(()) };
        let filter = Filter::build(&mut self.prints);
        self.prints.clear();
        let bytes = filter.as_ref().map(Filter::to_bytes);
        let check = bytes.as_ref().map(|bytes| short(&blake3::hash(bytes)));
        if let Some(bytes) = bytes {
            let prefix = filter_prefix(self.slice.partition, self.slice.parts.len());
            self.add(self.envelope.blob(&prefix, self.slice.name.last, &bytes)?)?;
        }
        self.slice.parts.push(Part { first, check, filter });
        Ok(())
    }

    fn add(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let bytes = self.batch.add(changes)?;
        self.slice.name.bytes += u64::try_from(bytes).unwrap_or(0);
        Ok(())
    }

    /// The slice, all of it in the batch and none of it synced.
    pub(crate) fn finish(mut self) -> Result<Slice, StoreError> {
        if self.block_entries > 0 {
            self.end_block()?;
        }
        self.end_part()?;
        if self.slice.name.keys > 0 {
            let index = write_index(&self.slice);
            self.slice.name.index = short(&blake3::hash(&index));
            self.add(self.envelope.blob(&[self.slice.partition, b'i'], self.slice.name.last, &index)?)?;
            self.slice.name.folder = self.folder.number;
            self.slice.folder = Some(self.folder.clone());
        }
        self.slice.parts.shrink_to_fit();
        self.slice.blocks.shrink_to_fit();
        Ok(self.slice)
    }
}

fn write_index(slice: &Slice) -> Vec<u8> {
    let mut out = Out::default();
    out.count(slice.parts.len());
    for part in &slice.parts {
        out.u64(part.first);
        out.u8(u8::from(part.check.is_some()));
        out.raw(&part.check.unwrap_or_default());
    }
    out.count(slice.blocks.len());
    for block in &slice.blocks {
        out.u64(block.first);
        out.raw(&block.check);
    }
    out.0
}

fn read_index(bytes: &[u8]) -> Result<(Vec<Part>, Vec<BlockHead>), StoreError> {
    let mut fields = In::new(bytes);
    let parts = (0..fields.count(25)?).map(|_| {
        let (first, has, check) = (fields.u64()?, fields.u8()?, fields.array()?);
        Ok(Part { first, check: (has != 0).then_some(check), filter: None })
    });
    let parts = parts.collect::<Result<_, StoreError>>()?;
    let blocks = (0..fields.count(16)?).map(|_| Ok(BlockHead { first: fields.u64()?, check: fields.array()? }));
    let blocks = blocks.collect::<Result<_, StoreError>>()?;
    fields.end()?;
    Ok((parts, blocks))
}

/// The key of a block: a slice has fewer than 2^32 of them.
fn block_key(partition: u8, number: usize) -> Result<Vec<u8>, StoreError> {
    let number = u32::try_from(number).map_err(|_| StoreError::Refused("a slice has too many blocks".into()))?;
    Ok([&[partition, b'b'], number.to_be_bytes().as_slice()].concat())
}

/// The prefix of a part's filter.
fn filter_prefix(partition: u8, part: usize) -> Vec<u8> {
    [&[partition, b'f'], u32::try_from(part).unwrap_or(u32::MAX).to_be_bytes().as_slice()].concat()
}
