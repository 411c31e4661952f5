//! Messages as bytes: a codec that leaves them as they are, and a writer and a reader of their fields.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{DecodeBuf, EncodeBuf};

/// Hands over requests as they arrived and sends responses as they were written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Codec;

impl tonic::codec::Codec for Codec {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Codec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&message);
        Ok(())
    }
}

impl tonic::codec::Decoder for Codec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// How a field lies on the wire: a number in seven bits a byte.
const VARINT: u32 = 0;
/// How a field lies on the wire: a length and as many bytes.
const LENGTH_DELIMITED: u32 = 2;

/// Writes a message field by field, in ascending order of their numbers, as `prost` does: what is 0 or empty is left out.
pub(super) struct Writer<'o>(pub(super) &'o mut Vec<u8>);

impl Writer<'_> {
    #[inline]
    fn varint(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(small @ 0..=0x7f) => self.0.push(small),
            _ => self.long_varint(value),
        }
    }

    fn long_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.0.push(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.0.push(low);
    }

    #[inline]
    fn tag(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    /// A `uint64`.
    #[inline]
    pub(super) fn unsigned(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, VARINT);
            self.varint(value);
        }
    }

    /// An `int64`.
    #[inline]
    pub(super) fn number(&mut self, field: u32, value: i64) {
        self.unsigned(field, value.cast_unsigned());
    }

    /// An enum.
    #[inline]
    pub(super) fn named(&mut self, field: u32, value: impl Into<i32>) {
        self.number(field, i64::from(value.into()));
    }

    /// A string.
    #[inline]
    pub(super) fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.tag(field, LENGTH_DELIMITED);
            self.varint(length(text.len()));
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    /// What stands before the content of a message of `bytes` bytes.
    pub(super) fn head(&mut self, field: u32, bytes: usize) {
        self.tag(field, LENGTH_DELIMITED);
        self.varint(length(bytes));
    }

    /// A message that is set. `guess` is how many bytes its length will probably take; another number costs a move.
    #[inline]
    pub(super) fn message(&mut self, field: u32, guess: usize, put: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, LENGTH_DELIMITED);
        let room = self.0.len();
        (0..guess).for_each(|_| self.0.push(0));
        put(&mut Writer(self.0));
        let content = self.0.len() - room - guess;
        self.close(room, guess, content);
    }

    /// Writes the length of `content` bytes, which stand behind `guess` bytes from `room` on.
    #[inline]
    fn close(&mut self, room: usize, guess: usize, content: usize) {
        if let (1, Ok(short @ 0..=0x7f), Some(place)) = (guess, u8::try_from(content), self.0.get_mut(room)) {
            *place = short;
            return;
        }
        self.fill_in(room, guess, content);
    }

    fn fill_in(&mut self, room: usize, guess: usize, content: usize) {
        let needed = varint_bytes(content);
        if needed < guess {
            self.0.drain(room..room + guess - needed);
        } else if needed > guess {
            self.0.splice(room..room, std::iter::repeat_n(0, needed - guess));
        }
        let mut rest = content;
        if let Some((last, before)) = self.0.get_mut(room..room + needed).and_then(<[u8]>::split_last_mut) {
            for place in before {
                let [low, ..] = rest.to_le_bytes();
                *place = low | 0x80;
                rest >>= 7;
            }
            let [low, ..] = rest.to_le_bytes();
            *last = low;
        }
    }
}

/// Bytes that a length takes as a varint.
fn varint_bytes(length: usize) -> usize {
    match length {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        _ => 1 + varint_bytes(length >> 7),
    }
}

/// A length in memory; no more than 64 bits anywhere.
fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Reads a message field by field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    /// Whether all is read.
    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte, as tags of fields 1 to 15 are.
    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number in seven bits a byte, lowest first; `None` also where it has more than 64 bits.
    #[inline]
    pub(super) fn varint(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64_u32).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A length and as many bytes.
    #[inline]
    pub(super) fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A length and a text of as many bytes.
    #[inline]
    pub(super) fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// A field of a message, as it lies there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'b> {
    /// Its number; 0 where what is left is no field.
    pub(super) number: u32,
    /// What it holds, if it is of the kind that says its length.
    pub(super) content: Option<&'b [u8]>,
    /// All of it, its tag included; all that is left, where that is no field.
    pub(super) whole: &'b [u8],
}

/// The fields of a message. They are told apart and not looked into: a field may be unsound, which decoding it tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'b>(pub(super) &'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Field<'b>;

    #[inline]
    fn next(&mut self) -> Option<Field<'b>> {
        if self.0.is_empty() {
            return None;
        }
        let mut reader = Reader(self.0);
        let (number, content) = reader.tagged().unwrap_or_else(|| {
            reader = Reader(&[]);
            (0, None)
        });
        let (whole, rest) = self.0.split_at_checked(self.0.len() - reader.0.len())?;
        self.0 = rest;
        Some(Field { number, content, whole })
    }
}

impl<'b> Reader<'b> {
    /// A field: its number, and what it holds if it says its length.
    #[inline]
    fn tagged(&mut self) -> Option<(u32, Option<&'b [u8]>)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        let content = match tag & 7 {
            VARINT => self.varint().map(|_| None)?,
            LENGTH_DELIMITED => Some(self.bytes()?),
            kind => self.rare(kind).map(|()| None)?,
        };
        Some((tag >> 3, content))
    }

    /// Passes a field of a kind that the contract does not use: of a fixed length, or a group, which ends where all that
    /// begins in it has ended.
    fn rare(&mut self, mut kind: u32) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match kind {
                VARINT => self.varint().map(|_| ())?,
                1 => self.pass(8)?,
                LENGTH_DELIMITED => self.bytes().map(|_| ())?,
                3 => open += 1,
                4 => open = open.checked_sub(1)?,
                5 => self.pass(4)?,
                _ => return None,
            }
            if open == 0 {
                return Some(());
            }
            kind = u32::try_from(self.varint()?).ok()? & 7;
        }
    }

    fn pass(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }
}
