//! Checks that a frame is what was written, down to every byte of its padding.

use crate::constants::{BLOCK_ENTRY_BYTES, FRAME_HEADER_BYTES};

use super::frame::{Block, BlockStart, FrameBody};
use super::layout::{FrameHeader, array, is_zero};
use super::{padded, to_u32, to_usize};

/// What is wrong in a frame, and where, in bytes from its start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

fn fault(at: usize, what: &'static str) -> Fault {
    Fault { at, what }
}

/// The index of a frame: where each block lies, and its hash. It is covered by the frame's hash.
#[derive(Clone, Copy)]
pub(crate) struct Index<'a> {
    bytes: &'a [u8],
    blocks_bytes: u32,
    events: u32,
}

impl<'a> Index<'a> {
    /// Takes the bytes behind the blocks for the index of this frame, if they are.
    pub(crate) fn verify(header: &FrameHeader, bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.len() != header.index_bytes() || header.hash_with(bytes) != header.hash {
            return Err(fault(0, "the frame's hash does not match"));
        }
        Ok(Self { bytes, blocks_bytes: header.blocks_bytes, events: header.count })
    }

    /// Where a block starts; past the last one, where they end.
    pub(crate) fn start(&self, at: usize) -> Option<BlockStart> {
        let place = at * BLOCK_ENTRY_BYTES;
        if place == self.bytes.len() {
            return Some(BlockStart { byte: self.blocks_bytes, event: self.events });
        }
        let byte = array(self.bytes, place).map(u32::from_le_bytes)?;
        let event = array(self.bytes, place + 4).map(u32::from_le_bytes)?;
        Some(BlockStart { byte, event })
    }

    pub(crate) fn count(&self) -> usize {
        self.bytes.len() / BLOCK_ENTRY_BYTES
    }

    /// The block that holds the event of this index in the frame.
    pub(crate) fn block_of(&self, event: u32) -> Option<usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low.midpoint(high);
            if self.start(middle)?.event <= event { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1)
    }

    /// Takes bytes for the block at `at`, if they are.
    pub(crate) fn verify_block<'b>(&self, at: usize, bytes: &'b [u8]) -> Result<Block<'b>, Fault> {
        let place = self.start(at).zip(self.start(at + 1));
        let expected: Option<[u8; 32]> = array(self.bytes, at * BLOCK_ENTRY_BYTES + 8);
        let (Some((start, next)), Some(expected)) = (place, expected) else {
            return Err(fault(0, "the frame's index is short"));
        };
        let in_frame = FRAME_HEADER_BYTES + to_usize(start.byte.into());
        if blake3::hash(bytes) != expected {
            return Err(fault(in_frame, "a block's hash does not match"));
        }
        let count = next.event.checked_sub(start.event).ok_or(fault(0, "the frame's index goes back"))?;
        Ok(Block { bytes, first: start.event, count })
    }
}

/// A frame read as a whole, its hash and padding checked.
pub(crate) struct Frame<'a> {
    pub(crate) index: Index<'a>,
    blocks: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks everything but the blocks.
    pub(crate) fn verify(header: &FrameHeader, frame: &'a [u8]) -> Result<Self, Fault> {
        let blocks_end = FRAME_HEADER_BYTES + to_usize(header.blocks_bytes.into());
        let content_end = header.content_bytes();
        let blocks = frame.get(FRAME_HEADER_BYTES..blocks_end).ok_or(fault(0, "the frame is cut short"))?;
        let index = frame.get(blocks_end..content_end).ok_or(fault(0, "the frame is cut short"))?;
        let padding = frame.get(content_end..).unwrap_or_default();
        if !is_zero(padding) {
            let before = padding.iter().take_while(|byte| **byte == 0).count();
            return Err(fault(content_end + before, "the frame's padding is not zero"));
        }
        Ok(Self { index: Index::verify(header, index)?, blocks })
    }

    /// Checks one block and returns it.
    pub(crate) fn block(&self, at: usize) -> Result<Block<'a>, Fault> {
        let range = self.index.start(at).zip(self.index.start(at + 1));
        let (start, next) = range.ok_or(fault(0, "the frame's index is short"))?;
        let bytes = self.blocks.get(to_usize(start.byte.into())..to_usize(next.byte.into()));
        self.index.verify_block(at, bytes.ok_or(fault(0, "the frame's index goes back"))?)
    }

    /// Checks every block, and that together they begin at the beginning; that they end at the end is in the index.
    pub(crate) fn blocks(&self) -> Result<Vec<Block<'a>>, Fault> {
        let begins = self.index.start(0).is_some_and(|start| start.byte == 0 && start.event == 0);
        if !begins && self.index.count() > 0 {
            return Err(fault(0, "the frame's index does not begin at its beginning"));
        }
        (0..self.index.count()).map(|at| self.block(at)).collect()
    }

    pub(crate) fn starts(&self) -> Vec<BlockStart> {
        (0..self.index.count()).filter_map(|at| self.index.start(at)).collect()
    }

    pub(crate) fn blocks_bytes(&self) -> &'a [u8] {
        self.blocks
    }
}

/// Bytes that a frame with this body takes, padding included.
pub(crate) fn laid_out_bytes(body: &FrameBody) -> usize {
    padded(FRAME_HEADER_BYTES + body.body_bytes() + body.block_count() * BLOCK_ENTRY_BYTES)
}

/// Writes a frame's content without its padding into `buffer`: room for the header, the blocks, the index.
/// Returns the number of blocks.
pub(crate) fn lay_out(body: &FrameBody, buffer: &mut Vec<u8>) -> u32 {
    buffer.clear();
    buffer.resize(FRAME_HEADER_BYTES, 0);
    buffer.extend_from_slice(body.bytes());
    let mut byte = 0;
    for block in (0..body.block_count()).filter_map(|at| body.block(at)) {
        buffer.extend_from_slice(&to_u32(byte).to_le_bytes());
        buffer.extend_from_slice(&block.first.to_le_bytes());
        buffer.extend_from_slice(blake3::hash(block.bytes).as_bytes());
        byte += block.bytes.len();
    }
    to_u32(body.block_count())
}
