//! A place in the book: where a frame ends, what the chain says there, and what was counted up to it.

use super::error::JournalError;
use super::layout::array;

/// Bytes of a [`Waypoint`].
pub const WAYPOINT_BYTES: usize = 88;

const WAYPOINT_VERSION: u16 = 1;

/// The end of a frame, by which a later start finds its way back without reading what lies before.
///
/// It stays good when the segment is copied to a new file: offsets do not change. It is not secret and proves nothing by
/// itself; whoever goes by it reads the frame and compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waypoint {
    /// The last op of the frame, or before it if the frame is empty.
    pub op: u64,
    /// The frame's hash: the head of the chain there.
    pub hash: [u8; 32],
    /// Book time of the frame, in microseconds since the Unix epoch.
    pub book_time_us: i64,
    /// The segment that holds the frame, from 0.
    pub segment: u32,
    /// Where in the segment's file the frame begins, in bytes.
    pub frame_offset: u64,
    /// Where the next frame begins, in bytes.
    pub offset: u64,
    /// Frames from the genesis to here, this one and the empty ones included.
    pub frames: u64,
    /// Bytes of all these frames, padding included.
    pub frame_bytes: u64,
}

impl Waypoint {
    /// The bytes in which others keep it; FORMAT.md draws them. Whoever keeps them sees to their checksum.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; WAYPOINT_BYTES] {
        let mut bytes = [0; WAYPOINT_BYTES];
        let fields: [&[u8]; 9] = [
            &WAYPOINT_VERSION.to_le_bytes(),
            &[0; 2],
            &self.segment.to_le_bytes(),
            &self.op.to_le_bytes(),
            &self.book_time_us.to_le_bytes(),
            &self.frame_offset.to_le_bytes(),
            &self.offset.to_le_bytes(),
            &self.frames.to_le_bytes(),
            &self.frame_bytes.to_le_bytes(),
        ];
        let parts = fields.into_iter().chain(std::iter::once(self.hash.as_slice()));
        for (place, byte) in bytes.iter_mut().zip(parts.flatten()) {
            *place = *byte;
        }
        bytes
    }

    /// Reads what [`Waypoint::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`JournalError::BadWaypoint`] for bytes of another length or version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JournalError> {
        if bytes.len() != WAYPOINT_BYTES {
            return Err(JournalError::BadWaypoint("it is not of a waypoint's length"));
        }
        if array(bytes, 0).map(u16::from_le_bytes) != Some(WAYPOINT_VERSION) || array(bytes, 2) != Some([0; 2]) {
            return Err(JournalError::BadWaypoint("it is of another version"));
        }
        let number = |at| array(bytes, at).map(u64::from_le_bytes);
        let read = || {
            Some(Self {
                segment: u32::from_le_bytes(array(bytes, 4)?),
                op: number(8)?,
                book_time_us: i64::from_le_bytes(array(bytes, 16)?),
                frame_offset: number(24)?,
                offset: number(32)?,
                frames: number(40)?,
                frame_bytes: number(48)?,
                hash: array(bytes, 56)?,
            })
        };
        read().ok_or(JournalError::BadWaypoint("it is cut short"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_waypoint_is_read_from_its_bytes_and_from_no_others() {
        let waypoint = Waypoint {
            op: 1 << 40,
            hash: [7; 32],
            book_time_us: -9,
            segment: 3,
            frame_offset: 4096,
            offset: 1 << 33,
            frames: 77,
            frame_bytes: 88 << 32,
        };
        let bytes = waypoint.to_bytes();
        assert_eq!(Waypoint::from_bytes(&bytes).unwrap(), waypoint);
        let later = [&[2], bytes.get(1..).unwrap()].concat();
        for other in [bytes.get(..80).unwrap(), &later, &[]] {
            assert!(matches!(Waypoint::from_bytes(other), Err(JournalError::BadWaypoint(_))));
        }
    }
}
