//! The bytes of segment headers, the genesis and frame headers, all little-endian. FORMAT.md draws them.

use crate::constants::{BLOCK_ENTRY_BYTES, FRAME_HEADER_BYTES, PAGE_BYTES};

use super::{padded, to_usize};

/// Version of the format that this program writes, and the greatest that it reads.
pub const FORMAT_VERSION: u16 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"STAMPSEG";
const GENESIS_MAGIC: [u8; 8] = *b"STAMPGEN";
const FRAME_MAGIC: [u8; 8] = *b"STAMPFRM";
const SEGMENT_KEY_CONTEXT: &str = "stampbook 2026 checksum of frame headers in a segment";

/// A page of zeros, to compare with.
pub(crate) static ZERO_PAGE: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// Reads `N` bytes at `at`.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(PAGE_BYTES).all(|chunk| ZERO_PAGE.get(..chunk.len()) == Some(chunk))
}

/// Lays fields one after the other over a zeroed page.
struct Fields<'a> {
    page: &'a mut [u8],
    at: usize,
}

impl Fields<'_> {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.at + bytes.len();
        if let Some(place) = self.page.get_mut(self.at..end) {
            place.copy_from_slice(bytes);
        }
        self.at = end;
        self
    }

    /// The hash of all fields so far, as the next field.
    fn seal(&mut self) -> [u8; 32] {
        let hash = blake3::hash(self.page.get(..self.at).unwrap_or_default());
        self.put(hash.as_bytes());
        *hash.as_bytes()
    }
}

/// Why a page is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PageFault {
    /// Not what was written.
    Bad(&'static str),
    /// Sound, and of a version to come.
    Version(u16),
}

/// Checks a page that ends in a hash of its fields and zeros: magic, hash, zeros, version.
fn check_page(page: &[u8], magic: [u8; 8], fields: usize) -> Result<[u8; 32], PageFault> {
    let hash: [u8; 32] = array(page, fields).ok_or(PageFault::Bad("it is cut short"))?;
    if array(page, 0) != Some(magic) {
        return Err(PageFault::Bad("it does not begin with its magic"));
    }
    if blake3::hash(page.get(..fields).unwrap_or_default()) != hash {
        return Err(PageFault::Bad("its checksum does not match"));
    }
    if page.len() != PAGE_BYTES || !page.get(fields + 32..).is_some_and(is_zero) {
        return Err(PageFault::Bad("its padding is not zero"));
    }
    match array(page, 8).map_or(0, u16::from_le_bytes) {
        FORMAT_VERSION => Ok(hash),
        version => Err(PageFault::Version(version)),
    }
}

/// The first page of every segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Place in the book, from 0.
    pub(crate) index: u32,
    /// How often this segment has been copied to a new file by a start.
    pub(crate) copy: u32,
    /// Size of the file.
    pub(crate) bytes: u64,
    pub(crate) book_id: [u8; 16],
}

const SEGMENT_FIELDS: usize = 48;

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        let mut fields = Fields { page: &mut page, at: 0 };
        fields.put(&SEGMENT_MAGIC).put(&FORMAT_VERSION.to_le_bytes()).put(&[0; 6]);
        fields.put(&self.index.to_le_bytes()).put(&self.copy.to_le_bytes());
        fields.put(&self.bytes.to_le_bytes()).put(&self.book_id).seal();
        page
    }

    pub(crate) fn decode(page: &[u8]) -> Result<Self, PageFault> {
        check_page(page, SEGMENT_MAGIC, SEGMENT_FIELDS)?;
        let short = PageFault::Bad("it is cut short");
        let read = || {
            Some(Self {
                index: u32::from_le_bytes(array(page, 16)?),
                copy: u32::from_le_bytes(array(page, 20)?),
                bytes: u64::from_le_bytes(array(page, 24)?),
                book_id: array(page, 32)?,
            })
        };
        read().ok_or(short)
    }
}

/// What a restored or re-cut book descends from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The book it descends from.
    pub book_id: [u8; 16],
    /// The last op of that book that is part of this one's past.
    pub op: u64,
    /// The hash of that book's head at that op.
    pub hash: [u8; 32],
}

/// The birth certificate of a book; the second page of segment 0, and the first link of the chain.
#[derive(Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Name of this history.
    pub book_id: [u8; 16],
    /// Key of all fingerprints and header checksums. Whoever has it can make keys collide: it leaves the book in no export.
    pub secret: [u8; 32],
    /// 0 for a book begun empty, one more than its parent's for a restored or re-cut one.
    pub incarnation: u32,
    /// What this book descends from, if anything.
    pub parent: Option<Parent>,
    /// When it was begun, in microseconds since the Unix epoch. No frame is older.
    pub created_at_us: i64,
    /// Version of the events' encoding at the book's beginning; each event says its own.
    pub event_format: u16,
}

impl std::fmt::Debug for Genesis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Genesis")
            .field("book_id", &self.book_id)
            .field("secret", &"(not shown)")
            .field("incarnation", &self.incarnation)
            .field("parent", &self.parent)
            .field("created_at_us", &self.created_at_us)
            .field("event_format", &self.event_format)
            .finish()
    }
}

const GENESIS_FIELDS: usize = 136;

impl Genesis {
    /// The page, and its hash with which the chain begins.
    pub(crate) fn encode(&self) -> ([u8; PAGE_BYTES], [u8; 32]) {
        let mut page = [0; PAGE_BYTES];
        let mut fields = Fields { page: &mut page, at: 0 };
        let parent = self.parent.unwrap_or(Parent { book_id: [0; 16], op: 0, hash: [0; 32] });
        fields.put(&GENESIS_MAGIC).put(&FORMAT_VERSION.to_le_bytes()).put(&self.event_format.to_le_bytes());
        fields.put(&self.incarnation.to_le_bytes()).put(&self.created_at_us.to_le_bytes());
        fields.put(&self.book_id).put(&self.secret);
        fields.put(&u64::from(self.parent.is_some()).to_le_bytes());
        fields.put(&parent.book_id).put(&parent.op.to_le_bytes()).put(&parent.hash);
        let hash = fields.seal();
        (page, hash)
    }

    pub(crate) fn decode(page: &[u8]) -> Result<(Self, [u8; 32]), PageFault> {
        let hash = check_page(page, GENESIS_MAGIC, GENESIS_FIELDS)?;
        let read = || {
            let parent =
                Parent { book_id: array(page, 80)?, op: u64::from_le_bytes(array(page, 96)?), hash: array(page, 104)? };
            Some(Self {
                event_format: u16::from_le_bytes(array(page, 10)?),
                incarnation: u32::from_le_bytes(array(page, 12)?),
                created_at_us: i64::from_le_bytes(array(page, 16)?),
                book_id: array(page, 24)?,
                secret: array(page, 40)?,
                parent: (u64::from_le_bytes(array(page, 72)?) != 0).then_some(parent),
            })
        };
        read().map(|genesis| (genesis, hash)).ok_or(PageFault::Bad("it is cut short"))
    }

    /// The key under which the frame headers of a segment are checked. A member cannot know it, so no bytes that a
    /// member sends look like a header, and a header of another segment or book is not one here.
    pub(crate) fn segment_key(&self, index: u32) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(SEGMENT_KEY_CONTEXT);
        hasher.update(&self.book_id).update(&self.secret).update(&index.to_le_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Holds events.
    Events,
    /// Holds nothing, and shows that the frame before it was synced.
    Witness,
    /// Holds nothing, and says that the book goes on in the next segment.
    Seal,
}

/// The head of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// Number of events.
    pub(crate) count: u32,
    /// Op of the first event, or the next op if there is none.
    pub(crate) first_op: u64,
    pub(crate) book_time_us: i64,
    /// Bytes of all blocks together.
    pub(crate) blocks_bytes: u32,
    /// Number of blocks, and of entries in the index behind them.
    pub(crate) block_count: u32,
    pub(crate) previous_hash: [u8; 32],
    /// BLAKE3 of the fields above and the index, which holds the hashes of the blocks.
    pub(crate) hash: [u8; 32],
}

/// Bytes of a header that the frame's hash covers.
pub(crate) const HASHED_HEADER_BYTES: usize = 72;
const CHECKED_HEADER_BYTES: usize = 104;

impl FrameHeader {
    /// The fields that the frame's hash covers.
    pub(crate) fn encode_hashed(&self) -> [u8; HASHED_HEADER_BYTES] {
        let kind = match self.kind {
            FrameKind::Events => 1,
            FrameKind::Witness => 2,
            FrameKind::Seal => 3,
        };
        let mut bytes = [0; HASHED_HEADER_BYTES];
        let mut fields = Fields { page: &mut bytes, at: 0 };
        fields.put(&FRAME_MAGIC).put(&FORMAT_VERSION.to_le_bytes()).put(&[kind, 0]).put(&self.count.to_le_bytes());
        fields.put(&self.first_op.to_le_bytes()).put(&self.book_time_us.to_le_bytes());
        fields.put(&self.blocks_bytes.to_le_bytes()).put(&self.block_count.to_le_bytes()).put(&self.previous_hash);
        bytes
    }

    /// All of the header, for a segment of this key.
    pub(crate) fn encode(&self, key: &[u8; 32]) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        Fields { page: &mut bytes, at: 0 }.put(&self.encode_hashed()).put(&self.hash);
        let check = header_check(key, &bytes);
        Fields { page: &mut bytes, at: CHECKED_HEADER_BYTES }.put(&check);
        bytes
    }

    /// Reads a header, trusting none of it before the checksum has matched.
    pub(crate) fn decode(bytes: &[u8], key: &[u8; 32]) -> Result<Self, PageFault> {
        if array(bytes, 0) != Some(FRAME_MAGIC) {
            return Err(PageFault::Bad("no frame begins here"));
        }
        if array(bytes, CHECKED_HEADER_BYTES) != Some(header_check(key, bytes)) {
            return Err(PageFault::Bad("the checksum of the frame's header does not match"));
        }
        let version = array(bytes, 8).map_or(0, u16::from_le_bytes);
        if version != FORMAT_VERSION {
            return Err(PageFault::Version(version));
        }
        let kind = match array(bytes, 10) {
            Some([1, 0]) => FrameKind::Events,
            Some([2, 0]) => FrameKind::Witness,
            Some([3, 0]) => FrameKind::Seal,
            _ => return Err(PageFault::Bad("the frame is of no known kind")),
        };
        let read = || {
            Some(Self {
                kind,
                count: u32::from_le_bytes(array(bytes, 12)?),
                first_op: u64::from_le_bytes(array(bytes, 16)?),
                book_time_us: i64::from_le_bytes(array(bytes, 24)?),
                blocks_bytes: u32::from_le_bytes(array(bytes, 32)?),
                block_count: u32::from_le_bytes(array(bytes, 36)?),
                previous_hash: array(bytes, 40)?,
                hash: array(bytes, 72)?,
            })
        };
        read().ok_or(PageFault::Bad("the frame's header is cut short"))
    }

    /// Bytes of the index behind the blocks.
    pub(crate) fn index_bytes(&self) -> usize {
        to_usize(self.block_count.into()).saturating_mul(BLOCK_ENTRY_BYTES)
    }

    /// Bytes of the frame without its padding.
    pub(crate) fn content_bytes(&self) -> usize {
        self.index_bytes().saturating_add(to_usize(self.blocks_bytes.into())).saturating_add(FRAME_HEADER_BYTES)
    }

    /// Bytes of the frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        padded(self.content_bytes())
    }

    /// The frame's hash, given its index.
    pub(crate) fn hash_with(&self, index: &[u8]) -> [u8; 32] {
        *blake3::Hasher::new().update(&self.encode_hashed()).update(index).finalize().as_bytes()
    }
}

fn header_check(key: &[u8; 32], bytes: &[u8]) -> [u8; 16] {
    let hash = blake3::keyed_hash(key, bytes.get(..CHECKED_HEADER_BYTES).unwrap_or_default());
    array(hash.as_bytes(), 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn genesis() -> Genesis {
        let parent = Some(Parent { book_id: [3; 16], op: 99, hash: [4; 32] });
        Genesis { book_id: [1; 16], secret: [2; 32], incarnation: 7, parent, created_at_us: -5, event_format: 1 }
    }

    fn header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Events,
            count: 3,
            first_op: 1 << 40,
            book_time_us: -1,
            blocks_bytes: 77,
            block_count: 1,
            previous_hash: [5; 32],
            hash: [6; 32],
        }
    }

    #[test]
    fn what_is_written_on_a_page_is_read_from_it() {
        let segment = SegmentHeader { index: 1, copy: 2, bytes: 3 << 32, book_id: [9; 16] };
        assert_eq!(SegmentHeader::decode(&segment.encode()), Ok(segment));
        for genesis in [genesis(), Genesis { parent: None, ..genesis() }] {
            let (page, hash) = genesis.encode();
            assert_eq!(Genesis::decode(&page), Ok((genesis, hash)));
        }
        assert_eq!(FrameHeader::decode(&header().encode(&[8; 32]), &[8; 32]), Ok(header()));
    }

    #[test]
    fn no_byte_of_a_page_can_change_unseen() {
        let mut pages =
            [SegmentHeader { index: 1, copy: 2, bytes: 3, book_id: [9; 16] }.encode(), genesis().encode().0];
        for at in 0..PAGE_BYTES {
            pages.iter_mut().for_each(|page| page[at] ^= 1);
            assert!(SegmentHeader::decode(&pages[0]).is_err(), "segment header, byte {at}");
            assert!(Genesis::decode(&pages[1]).is_err(), "genesis, byte {at}");
            pages.iter_mut().for_each(|page| page[at] ^= 1);
        }
        let mut bytes = header().encode(&[8; 32]);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x80;
            assert!(FrameHeader::decode(&bytes, &[8; 32]).is_err(), "frame header, byte {at}");
            bytes[at] ^= 0x80;
        }
    }

    #[test]
    fn a_header_is_none_in_another_segment_or_book() {
        let bytes = header().encode(&genesis().segment_key(1));
        assert!(FrameHeader::decode(&bytes, &genesis().segment_key(1)).is_ok());
        assert!(FrameHeader::decode(&bytes, &genesis().segment_key(2)).is_err());
        let other = Genesis { secret: [3; 32], ..genesis() };
        assert!(FrameHeader::decode(&bytes, &other.segment_key(1)).is_err());
    }

    #[test]
    fn the_secret_is_not_shown() {
        let genesis = Genesis { secret: [0xab; 32], ..genesis() };
        assert!(!format!("{genesis:?}").contains("171"));
    }
}
