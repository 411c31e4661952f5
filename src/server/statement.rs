//! A member's statement: the book walked back along the member's links, away from the runtime.

use super::desk::Unreadable;
use super::receipt::Scribe;
use super::shape::{self, Fault};
use super::show;
use crate::constants::{PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX, PAGE_SCAN_EVENTS_MAX, REFERENCE_BYTES_MAX};
use crate::engine::Handle;
use crate::engine::request::MemberState;
use crate::ledger::codec;
use crate::ledger::event::Event;
use crate::ledger::ids::{MemberNo, Op};
use crate::ledger::print::Prints;
use crate::ledger::trail::Trail;
use crate::proto as pb;

/// Bytes of the mark that ties a page token to the question it belongs to.
const MARK_BYTES: usize = 8;

/// A page of a statement.
pub(super) struct Page {
    /// The events, newest first.
    pub(super) events: Vec<pb::Event>,
    /// Of the events between two members, by their place: the command's own member and the other one, whose ids they may lack.
    pub(super) between: Vec<(usize, MemberNo, MemberNo)>,
    /// The token of the next page, empty for none.
    pub(super) token: String,
}

/// What a page of a statement is asked for.
#[derive(Debug)]
pub(super) struct Question {
    kinds: Vec<pb::Kind>,
    reference: String,
    from_us: i64,
    to_us: i64,
    events_max: usize,
    /// Where the page begins, from the page before; `None` for the newest event.
    begin: Option<Token>,
    mark: [u8; MARK_BYTES],
}

impl Question {
    /// Reads a request; its program and member are another's to check.
    ///
    /// # Errors
    /// What is wrong with its shape.
    pub(super) fn read(request: &pb::ListEventsRequest) -> Result<Self, Fault> {
        shape::text("reference", &request.reference, REFERENCE_BYTES_MAX)?;
        let mut kinds = Vec::new();
        for (place, number) in request.kinds.iter().enumerate() {
            match pb::Kind::try_from(*number) {
                Ok(kind) if kind != pb::Kind::Unspecified && !kinds.contains(&kind) => kinds.push(kind),
                Ok(kind) if kind != pb::Kind::Unspecified => {}
                _ => return Err(Fault::malformed(&format!("kinds[{place}]"), "is not a kind known here")),
            }
        }
        let events_max = match usize::try_from(request.page_size) {
            Ok(0) => PAGE_EVENTS_DEFAULT,
            Ok(size) if size <= PAGE_EVENTS_MAX => size,
            _ => return Err(Fault::out_of_range("page_size", &format!("must be 0 to {PAGE_EVENTS_MAX}"))),
        };
        let mark = mark(request);
        let begin = match request.page_token.as_str() {
            "" => None,
            token => Some(read_token(token)?),
        };
        Ok(Self {
            kinds,
            reference: request.reference.clone(),
            from_us: request.from_us.unwrap_or(i64::MIN),
            to_us: request.to_us.unwrap_or(i64::MAX),
            events_max,
            begin,
            mark,
        })
    }

    /// Walks the book from where the page begins. Reads the disk.
    ///
    /// # Errors
    /// A book that cannot be read; within, a page token that leads to no event of the member.
    pub(super) fn answer(
        &self,
        handle: &Handle,
        id: String,
        state: &MemberState,
    ) -> Result<Result<Page, Fault>, Unreadable> {
        let names = handle.names();
        let scribe = Scribe { info: handle.book_info(), names: &names };
        let (mut events, mut between) = (Vec::new(), Vec::new());
        let prints = handle.prints();
        let mut trail = Trail::new(state.head, state.number);
        if let Some(token) = &self.begin {
            trail = Trail::from_stands(&token.stands);
            let goes_on = trail.op().is_some_and(|op| op <= state.head);
            if !goes_on || write_token(&trail, self.mark, prints) != token.text {
                return Ok(Err(stray()));
            }
        }
        for _ in 0..PAGE_SCAN_EVENTS_MAX {
            let Some(op) = trail.op().filter(|_| events.len() < self.events_max) else { break };
            let stored = handle.book().read(op.0)?;
            let event = codec::decode(&stored.bytes).map_err(|error| Unreadable::Codec(op.0, error))?;
            if !trail.pass(&event) {
                return Ok(Err(stray()));
            }
            if self.wants(&event, stored.book_time_us) {
                let other = event.other().and_then(|other| other.member.number());
                between.extend(event.member().zip(other).map(|(own, other)| (events.len(), own, other)));
                events.push(show::event(&scribe, op, stored.book_time_us, &event, id.clone()));
            }
            // Book time never runs backwards, so that nothing further back can be wanted.
            if stored.book_time_us < self.from_us {
                trail = Trail::from_stands(&[]);
            }
        }
        let token = write_token(&trail, self.mark, prints);
        Ok(Ok(Page { events, between, token }))
    }

    fn wants(&self, event: &Event<'_>, book_time_us: i64) -> bool {
        let notes = event.common().and_then(|common| common.notes.as_ref());
        let reference = notes.map(|notes| notes.reference.text).unwrap_or_default();
        (self.from_us <= book_time_us && book_time_us < self.to_us)
            && (self.kinds.is_empty() || self.kinds.contains(&show::kind(event)))
            && (self.reference.is_empty() || self.reference == reference)
    }
}

fn stray() -> Fault {
    Fault::malformed("page_token", "is not one that this question was answered with")
}

/// What ties a token to its question: all fields but the size of the page and the token.
fn mark(request: &pb::ListEventsRequest) -> [u8; MARK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    for text in [&request.program, &request.member, &request.reference] {
        hasher.update(text.as_bytes()).update(&[0xff]);
    }
    for time in [request.from_us, request.to_us] {
        hasher.update(&[u8::from(time.is_some())]).update(&time.unwrap_or_default().to_le_bytes());
    }
    for kind in &request.kinds {
        hasher.update(&kind.to_le_bytes());
    }
    let mut mark = [0; MARK_BYTES];
    hasher.finalize_xof().fill(&mut mark);
    mark
}

/// A page token: where the walk goes on, of each member whose events are in the statement.
#[derive(Debug)]
struct Token {
    text: String,
    stands: Vec<(Op, MemberNo)>,
}

/// Empty at the end of the statement. What ties it to its question is made with the book's secret: a token leads to the events of
/// the member who was asked for, and to no others.
fn write_token(trail: &Trail, mark: [u8; MARK_BYTES], prints: &Prints) -> String {
    if trail.op().is_none() {
        return String::new();
    }
    let stands: Vec<String> = trail.stands().iter().map(|(op, member)| format!("{:x}.{:x}", op.0, member.0)).collect();
    let stands = stands.join("_");
    let tie = prints.page(&format!("{:016x}", u64::from_le_bytes(mark)), &stands);
    format!("{stands}-{tie:032x}")
}

fn read_token(token: &str) -> Result<Token, Fault> {
    let stand = |text: &str| {
        let (op, member) = text.split_once('.')?;
        let op = u64::from_str_radix(op, 16).ok()?;
        u32::from_str_radix(member, 16).ok().map(|member| (Op(op), MemberNo(member)))
    };
    let (stands, _) = token.split_once('-').ok_or_else(stray)?;
    let stands = stands.split('_').map(stand).collect::<Option<_>>().ok_or_else(stray)?;
    Ok(Token { text: token.to_owned(), stands })
}
