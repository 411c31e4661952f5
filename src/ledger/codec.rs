//! Events to bytes and back: kind u8, version u8, length u16, then the frozen struct in bincode's standard layout
//! (little-endian, variable-length integers). The one place that knows bincode, with a limit on what it will read.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{BorrowDecode, Encode};
use thiserror::Error;

use super::event::{
    Activated, Adjusted, Captured, CheckedOut, Converted, Earned, Event, Granted, Held, MemberSet, MembersMerged,
    Opened, ProgramPut, Redeemed, Refunded, Rejected, Released, Reversed, StandingChanged, Transferred,
};
use super::ids::{AssetNo, MemberRef, ProgramNo};
use super::later::Later;
use super::plain::write;
use super::spec::{ProgramMore, ProgramSpec, RuleMore};

/// The most bytes an event may have, header included; `engine` asserts that it is the journal's bound.
pub const EVENT_BYTES_LIMIT: usize = 15 * 1024;
/// The longest event of a member's command, in bytes: what frames reckon with for each.
pub const MEMBER_EVENT_BYTES_MAX: usize = 5 * 1024;
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
        Event::Due(_) => 12,
        Event::Activated(_) => 13,
        Event::Reversed(_) => 14,
        Event::Held(_) => 15,
        Event::Captured(_) => 16,
        Event::Released(_) => 17,
        Event::Granted(_) => 18,
        Event::StandingChanged(_) => 19,
        Event::Transferred(_) => 20,
        Event::Converted(_) => 21,
        Event::MembersMerged(_) => 22,
        Event::MemberSet(_) => 23,
        Event::RewardPut(_) => 24,
        Event::CheckedOut(_) => 25,
        Event::PeriodClosed(_) => 26,
        Event::ClockConfirmed(_) => 30,
    }
}

/// What stands behind the struct of an event in its second version: the [`Later`] parts of it.
trait Tail<'a> {
    /// Whether there is anything to write.
    fn is_empty(&self) -> bool;
    fn write(&self, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError>;
    /// Reads it from the bytes behind the struct; what is left of them.
    fn read(&mut self, body: &'a [u8], kind: u8) -> Result<&'a [u8], CodecError>;
}

fn read_later<'a, T: BorrowDecode<'a, ()> + Default + PartialEq>(
    later: &mut Later<T>,
    body: &'a [u8],
    kind: u8,
) -> Result<&'a [u8], CodecError> {
    let (value, rest) = read_some(body, kind)?;
    *later = Later::new(value);
    Ok(rest)
}

fn write_later<T: Encode + Default>(later: &Later<T>, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match later.as_deref() {
        Some(value) => append(value, kind, out),
        None => append(&T::default(), kind, out),
    }
}

/// The tail of a member's event: balances in other assets, and what its kind has more to say.
macro_rules! member_tail {
    ($($name:ident$(.$more:ident)?,)*) => {$(
        impl<'a> Tail<'a> for $name<'a> {
            fn is_empty(&self) -> bool {
                self.common.others.0.is_none() $(&& self.$more.0.is_none())?
            }

            fn write(&self, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
                write_later(&self.common.others, kind, out)?;
                $(write_later(&self.$more, kind, out)?;)?
                Ok(())
            }

            fn read(&mut self, body: &'a [u8], kind: u8) -> Result<&'a [u8], CodecError> {
                let body = read_later(&mut self.common.others, body, kind)?;
                $(let body = read_later(&mut self.$more, body, kind)?;)?
                Ok(body)
            }
        }
    )*};
}

member_tail! {
    Earned.more, Refunded.more, Redeemed.more, Adjusted.more, Opened.more, Rejected, Activated, Reversed, Held, Captured,
    Released, Granted, StandingChanged, Transferred, Converted, MembersMerged, MemberSet, CheckedOut,
}

/// The tail of rules: what the first programs did not know of the program, of each rule and of each campaign.
fn rules_tail(rules: &ProgramSpec) -> Option<(ProgramMore, Vec<RuleMore>, Vec<AssetNo>)> {
    let said = rules.more.0.is_some()
        || rules.rules.iter().any(|rule| rule.more.0.is_some())
        || rules.campaigns.iter().any(|campaign| campaign.asset.0.is_some());
    said.then(|| {
        (
            rules.more.as_deref().cloned().unwrap_or_default(),
            rules.rules.iter().map(|rule| rule.more.as_deref().cloned().unwrap_or_default()).collect(),
            rules.campaigns.iter().map(|campaign| campaign.asset.as_deref().copied().unwrap_or_default()).collect(),
        )
    })
}

fn read_rules_tail<'a>(rules: &mut ProgramSpec, body: &'a [u8]) -> Result<&'a [u8], CodecError> {
    type Parts = (ProgramMore, Vec<RuleMore>, Vec<AssetNo>);
    let (tail, rest) = read_some::<Parts>(body, 6)?;
    let (more, of_rules, of_campaigns) = tail;
    if of_rules.len() != rules.rules.len() || of_campaigns.len() != rules.campaigns.len() {
        return Err(CodecError::Body {
            kind: 6,
            text: "the rules and what follows on them differ in number".to_owned(),
        });
    }
    rules.more = Later::new(more);
    for (rule, more) in rules.rules.iter_mut().zip(of_rules) {
        rule.more = Later::new(more);
    }
    for (campaign, asset) in rules.campaigns.iter_mut().zip(of_campaigns) {
        campaign.asset = Later::new(asset);
    }
    Ok(rest)
}

impl<'a> Tail<'a> for ProgramPut<'a> {
    fn is_empty(&self) -> bool {
        rules_tail(&self.spec).is_none()
    }

    fn write(&self, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
        rules_tail(&self.spec).map_or(Ok(()), |tail| append(&tail, kind, out))
    }

    fn read(&mut self, body: &'a [u8], _: u8) -> Result<&'a [u8], CodecError> {
        read_rules_tail(&mut self.spec, body)
    }
}

fn append<T: Encode>(value: &T, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
    bincode::encode_into_writer(value, Appender(out), config())
        .map_err(|error| CodecError::Body { kind, text: error.to_string() })
}

/// Appends the bytes of a program's rules, as they stand in the event that brought them, its tail with them.
pub(crate) fn append_rules(rules: &ProgramSpec, out: &mut Vec<u8>) -> Result<(), CodecError> {
    append(rules, 6, out)?;
    rules_tail(rules).map_or(Ok(()), |tail| append(&tail, 6, out))
}

/// Reads a program's rules from exactly their bytes.
pub(crate) fn read_rules(bytes: &[u8]) -> Result<ProgramSpec, CodecError> {
    let (mut rules, rest) = read_some::<ProgramSpec>(bytes, 6)?;
    let rest = if rest.is_empty() { rest } else { read_rules_tail(&mut rules, rest)? };
    ended(rest, bytes.len()).map(|()| rules)
}

fn append_with_tail<'a, T: Encode + Tail<'a>>(value: &T, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
    append(value, kind, out)?;
    if value.is_empty() { Ok(()) } else { value.write(kind, out) }
}

/// Appends an earn the general way, for tests.
#[cfg(test)]
pub(super) fn general_earn(earned: &Earned<'_>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    append_with_tail(earned, 1, out)
}

fn append_earned(earned: &Earned<'_>, kind: u8, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    if write::put(earned, out) {
        return Ok(());
    }
    out.truncate(start);
    append_with_tail(earned, kind, out)
}

fn has_tail(event: &Event<'_>) -> bool {
    let empty = match event {
        Event::Earned(e) => e.is_empty(),
        Event::Refunded(e) => e.is_empty(),
        Event::Redeemed(e) => e.is_empty(),
        Event::Adjusted(e) => e.is_empty(),
        Event::Rejected(e) => e.is_empty(),
        Event::ProgramPut(e) => e.is_empty(),
        Event::Opened(e) => e.is_empty(),
        Event::Activated(e) => e.is_empty(),
        Event::Reversed(e) => e.is_empty(),
        Event::Held(e) => e.is_empty(),
        Event::Captured(e) => e.is_empty(),
        Event::Released(e) => e.is_empty(),
        Event::Granted(e) => e.is_empty(),
        Event::StandingChanged(e) => e.is_empty(),
        Event::Transferred(e) => e.is_empty(),
        Event::Converted(e) => e.is_empty(),
        Event::MembersMerged(e) => e.is_empty(),
        Event::MemberSet(e) => e.is_empty(),
        Event::CheckedOut(e) => e.is_empty(),
        Event::CampaignChanged(_) | Event::AdminRejected(_) | Event::Due(_) => true,
        Event::SnapshotTaken(_) | Event::SnapshotDeleted(_) | Event::ClockConfirmed(_) => true,
        Event::RewardPut(_) => true,
        Event::PeriodClosed(_) => true,
    };
    !empty
}

/// Appends an event's bytes to `out`.
///
/// # Errors
/// [`CodecError`] where the event is longer than [`EVENT_BYTES_LIMIT`]; `out` is then as it was.
pub fn encode(event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let kind = kind_of(event);
    let version = 1 + u8::from(has_tail(event));
    out.extend_from_slice(&[kind, version, 0, 0]);
    let written = match event {
        Event::Earned(e) => append_earned(e, kind, out),
        Event::Refunded(e) => append_with_tail(e, kind, out),
        Event::Redeemed(e) => append_with_tail(e, kind, out),
        Event::Adjusted(e) => append_with_tail(e, kind, out),
        Event::Rejected(e) => append_with_tail(e, kind, out),
        Event::ProgramPut(e) => append_with_tail(e, kind, out),
        Event::Opened(e) => append_with_tail(e, kind, out),
        Event::Activated(e) => append_with_tail(e, kind, out),
        Event::Reversed(e) => append_with_tail(e, kind, out),
        Event::Held(e) => append_with_tail(e, kind, out),
        Event::Captured(e) => append_with_tail(e, kind, out),
        Event::Released(e) => append_with_tail(e, kind, out),
        Event::Granted(e) => append_with_tail(e, kind, out),
        Event::StandingChanged(e) => append_with_tail(e, kind, out),
        Event::Transferred(e) => append_with_tail(e, kind, out),
        Event::Converted(e) => append_with_tail(e, kind, out),
        Event::MembersMerged(e) => append_with_tail(e, kind, out),
        Event::MemberSet(e) => append_with_tail(e, kind, out),
        Event::CheckedOut(e) => append_with_tail(e, kind, out),
        Event::CampaignChanged(e) => append(e, kind, out),
        Event::AdminRejected(e) => append(e, kind, out),
        Event::SnapshotTaken(e) => append(e, kind, out),
        Event::SnapshotDeleted(e) => append(e, kind, out),
        Event::Due(e) => append(e, kind, out),
        Event::PeriodClosed(e) => append(e, kind, out),
        Event::ClockConfirmed(e) => append(e, kind, out),
        Event::RewardPut(e) => append(e, kind, out),
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

fn read_some<'a, T: BorrowDecode<'a, ()>>(body: &'a [u8], kind: u8) -> Result<(T, &'a [u8]), CodecError> {
    let (value, used) = bincode::borrow_decode_from_slice(body, config())
        .map_err(|error| CodecError::Body { kind, text: error.to_string() })?;
    Ok((value, body.get(used..).unwrap_or_default()))
}

fn ended(rest: &[u8], length: usize) -> Result<(), CodecError> {
    match rest.len() {
        0 => Ok(()),
        more => Err(CodecError::Length { said: length.saturating_sub(more), found: length }),
    }
}

fn read<'a, T: BorrowDecode<'a, ()>>(body: &'a [u8], kind: u8) -> Result<T, CodecError> {
    let (value, rest) = read_some(body, kind)?;
    ended(rest, body.len()).map(|()| value)
}

fn read_tailed<'a, T: BorrowDecode<'a, ()> + Tail<'a>>(body: &'a [u8], kind: u8, version: u8) -> Result<T, CodecError> {
    let (mut value, mut rest) = read_some::<T>(body, kind)?;
    if version == 2 {
        rest = value.read(rest, kind)?;
        // What nobody said is written in the first version: one event has one form.
        if value.is_empty() {
            return Err(CodecError::Body { kind, text: "the second version says no more than the first".to_owned() });
        }
    }
    ended(rest, body.len()).map(|()| value)
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
    /// The other member, of an event that moves units between two, and his program.
    pub other: Option<(ProgramNo, MemberRef<'a>)>,
}

impl<'a> From<&Event<'a>> for Named<'a> {
    fn from(event: &Event<'a>) -> Self {
        let (program, key, _) = event.identity();
        let program_id = event.admin_common().and_then(|common| common.program_id);
        let member = match event {
            Event::Due(due) => Some(MemberRef::Known(due.member)),
            _ => event.common().map(|common| common.member),
        };
        let creates_program = matches!(event, Event::ProgramPut(_)) && program_id.is_some();
        let other = event.other().map(|other| (other.program, other.member));
        Self { program, program_id, creates_program, key, member, other }
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
        (1, 1 | 2) => read_tailed(body, kind, version).map(Event::Earned),
        (2, 1 | 2) => read_tailed(body, kind, version).map(Event::Refunded),
        (3, 1 | 2) => read_tailed(body, kind, version).map(Event::Redeemed),
        (4, 1 | 2) => read_tailed(body, kind, version).map(Event::Adjusted),
        (5, 1 | 2) => read_tailed(body, kind, version).map(Event::Rejected),
        (6, 1 | 2) => read_tailed(body, kind, version).map(Event::ProgramPut),
        (7, 1) => read(body, kind).map(Event::CampaignChanged),
        (8, 1) => read(body, kind).map(Event::AdminRejected),
        (9, 1 | 2) => read_tailed(body, kind, version).map(Event::Opened),
        (10, 1) => read(body, kind).map(Event::SnapshotTaken),
        (11, 1) => read(body, kind).map(Event::SnapshotDeleted),
        (12, 1) => read(body, kind).map(Event::Due),
        (13, 1 | 2) => read_tailed(body, kind, version).map(Event::Activated),
        (14, 1 | 2) => read_tailed(body, kind, version).map(Event::Reversed),
        (15, 1 | 2) => read_tailed(body, kind, version).map(Event::Held),
        (16, 1 | 2) => read_tailed(body, kind, version).map(Event::Captured),
        (17, 1 | 2) => read_tailed(body, kind, version).map(Event::Released),
        (18, 1 | 2) => read_tailed(body, kind, version).map(Event::Granted),
        (19, 1 | 2) => read_tailed(body, kind, version).map(Event::StandingChanged),
        (20, 1 | 2) => read_tailed(body, kind, version).map(Event::Transferred),
        (21, 1 | 2) => read_tailed(body, kind, version).map(Event::Converted),
        (22, 1 | 2) => read_tailed(body, kind, version).map(Event::MembersMerged),
        (23, 1 | 2) => read_tailed(body, kind, version).map(Event::MemberSet),
        (24, 1) => read(body, kind).map(Event::RewardPut),
        (25, 1 | 2) => read_tailed(body, kind, version).map(Event::CheckedOut),
        (26, 1) => read(body, kind).map(Event::PeriodClosed),
        (30, 1) => read(body, kind).map(Event::ClockConfirmed),
        _ => Err(CodecError::Unknown { kind, version }),
    }
}
