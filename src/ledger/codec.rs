//! Events to bytes and back: kind u8, version u8, length u16, then the frozen struct in bincode's standard layout
//! (little-endian, variable-length integers). The one place that knows bincode, with a limit on what it will read.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{BorrowDecode, Encode};
use thiserror::Error;

use super::event::Event;
use super::ids::{MemberRef, ProgramNo};
use super::spec::ProgramSpec;

/// The most bytes an event may have, header included; `engine` asserts that it is the journal's bound.
pub const EVENT_BYTES_LIMIT: usize = 15 * 1024;
/// Kind, version and length.
pub const EVENT_HEADER_BYTES: usize = 4;

type Config = Configuration<LittleEndian, Varint, Limit<EVENT_BYTES_LIMIT>>;

fn config() -> Config {
    bincode::config::standard().with_limit::<EVENT_BYTES_LIMIT>()
}

/// Why bytes are no event, or an event cannot be written.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CodecError {
    /// The bytes end too early, or go on after the event.
    #[error("an event of {found} bytes says that it has {said}")]
    Length {
        /// What the header says.
        said: usize,
        /// What there is.
        found: usize,
    },
    /// A kind or version that this build does not know.
    #[error("event kind {kind} version {version} is unknown to this build")]
    Unknown {
        /// The kind.
        kind: u8,
        /// The version.
        version: u8,
    },
    /// The struct cannot be read or written.
    #[error("event kind {kind}: {text}")]
    Body {
        /// The kind.
        kind: u8,
        /// What bincode says.
        text: String,
    },
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The kind byte of an event.
fn kind_of(event: &Event<'_>) -> u8 {
    match event {
        Event::Earned(_) => 1,
        Event::Refunded(_) => 2,
        Event::Redeemed(_) => 3,
        Event::Adjusted(_) => 4,
        Event::Rejected(_) => 5,
        Event::ProgramPut(_) => 6,
        Event::CampaignChanged(_) => 7,
        Event::AdminRejected(_) => 8,
        Event::Opened(_) => 9,
        Event::SnapshotTaken(_) => 10,
        Event::SnapshotDeleted(_) => 11,
        Event::ClockConfirmed(_) => 30,
    }
}

fn append<T: Encode>(value: &T, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
    bincode::encode_into_writer(value, Appender(out), config())
        .map_err(|error| CodecError::Body { kind, text: error.to_string() })
}

/// Appends the bytes of a program's rules, as they stand in the event that brought them.
pub(crate) fn append_rules(rules: &ProgramSpec, out: &mut Vec<u8>) -> Result<(), CodecError> {
    append(rules, 6, out)
}

/// Reads a program's rules from exactly their bytes.
pub(crate) fn read_rules(bytes: &[u8]) -> Result<ProgramSpec, CodecError> {
    read(bytes, 6)
}

/// Appends an event's bytes to `out`.
///
/// # Errors
/// [`CodecError`] where the event is longer than [`EVENT_BYTES_LIMIT`]; `out` is then as it was.
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let kind = kind_of(event);
    out.extend_from_slice(&[kind, 1, 0, 0]);
    let written = match event {
        Event::Earned(e) => append(e, kind, out),
        Event::Refunded(e) => append(e, kind, out),
        Event::Redeemed(e) => append(e, kind, out),
        Event::Adjusted(e) => append(e, kind, out),
        Event::Rejected(e) => append(e, kind, out),
        Event::ProgramPut(e) => append(e, kind, out),
        Event::CampaignChanged(e) => append(e, kind, out),
        Event::AdminRejected(e) => append(e, kind, out),
        Event::Opened(e) => append(e, kind, out),
        Event::SnapshotTaken(e) => append(e, kind, out),
        Event::SnapshotDeleted(e) => append(e, kind, out),
        Event::ClockConfirmed(e) => append(e, kind, out),
    };
    let length = out.len() - start;
    let fits = written.and_then(|()| match u16::try_from(length) {
        Ok(short) if length <= EVENT_BYTES_LIMIT => Ok(short),
        _ => Err(CodecError::Body { kind, text: format!("{length} bytes are over the limit of {EVENT_BYTES_LIMIT}") }),
    });
    match (fits, out.get_mut(start + 2..start + EVENT_HEADER_BYTES)) {
        (Ok(short), Some(place)) => {
            place.copy_from_slice(&short.to_le_bytes());
            Ok(())
        }
        (Err(error), _) => {
            out.truncate(start);
            Err(error)
        }
        (Ok(_), None) => Err(CodecError::Length { said: length, found: 0 }),
    }
}

fn read<'a, T: BorrowDecode<'a, ()>>(body: &'a [u8], kind: u8) -> Result<T, CodecError> {
    let (value, used) = bincode::borrow_decode_from_slice(body, config())
        .map_err(|error| CodecError::Body { kind, text: error.to_string() })?;
    if used != body.len() {
        return Err(CodecError::Length { said: used, found: body.len() });
    }
    Ok(value)
}

/// What an event's hashes are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The program's number.
    pub program: ProgramNo,
    /// The program's id, where the event says it.
    pub program_id: Option<&'a str>,
    /// Whether the event creates a program.
    pub creates_program: bool,
    /// The idempotency key.
    pub key: &'a str,
    /// The member, of a member's event.
    pub member: Option<MemberRef<'a>>,
}

impl<'a> From<&Event<'a>> for Named<'a> {
    fn from(event: &Event<'a>) -> Self {
        let (program, key, _) = event.identity();
        let program_id = event.admin_common().and_then(|common| common.program_id);
        let creates_program = matches!(event, Event::ProgramPut(_)) && program_id.is_some();
        Self { program, program_id, creates_program, key, member: event.common().map(|common| common.member) }
    }
}

/// Reads one event from exactly its bytes.
///
/// # Errors
/// [`CodecError`] where the bytes are not one event of a known kind and version.
pub fn decode(bytes: &[u8]) -> Result<Event<'_>, CodecError> {
    let (header, body) = bytes
        .split_first_chunk::<EVENT_HEADER_BYTES>()
        .ok_or(CodecError::Length { said: EVENT_HEADER_BYTES, found: bytes.len() })?;
    let [kind, version, low, high] = *header;
    let said = usize::from(u16::from_le_bytes([low, high]));
    if said != bytes.len() {
        return Err(CodecError::Length { said, found: bytes.len() });
    }
    match (kind, version) {
        (1, 1) => read(body, kind).map(Event::Earned),
        (2, 1) => read(body, kind).map(Event::Refunded),
        (3, 1) => read(body, kind).map(Event::Redeemed),
        (4, 1) => read(body, kind).map(Event::Adjusted),
        (5, 1) => read(body, kind).map(Event::Rejected),
        (6, 1) => read(body, kind).map(Event::ProgramPut),
        (7, 1) => read(body, kind).map(Event::CampaignChanged),
        (8, 1) => read(body, kind).map(Event::AdminRejected),
        (9, 1) => read(body, kind).map(Event::Opened),
        (10, 1) => read(body, kind).map(Event::SnapshotTaken),
        (11, 1) => read(body, kind).map(Event::SnapshotDeleted),
        (30, 1) => read(body, kind).map(Event::ClockConfirmed),
        _ => Err(CodecError::Unknown { kind, version }),
    }
}
