//! Frames of the book made ready for the state to follow: decoded and hashed on the thread that reads ahead, so that the
//! one that changes the state waits for its memory alone.

use self_cell::self_cell;

use crate::constants::REPLAY_PASS_EVENTS;
use crate::journal::FrameBody;
use crate::ledger::codec::CodecError;
use crate::ledger::event::Event;
use crate::ledger::ids::{MemberNo, Op, ProgramNo};
use crate::ledger::print::Prints;
use crate::ledger::{Hashes, Moment, codec, hashes_of};

/// What an event will touch; `None` where it cannot be read or its program is unknown.
pub(super) type Touched = Option<(Hashes, Option<MemberNo>)>;

/// Some events that are followed together, and apart from them, since they are read first, what they will touch.
struct Pass<'b> {
    touched: Vec<Touched>,
    events: Vec<Result<Event<'b>, CodecError>>,
}

/// A frame's events. Each pass is in memory of its own, small enough that what the one before took is used again: one
/// piece for a whole frame would come from the system, and be cleared by it, for every frame.
type Passes<'b> = Vec<Pass<'b>>;

self_cell!(
    struct Decoded {
        owner: FrameBody,
        #[covariant]
        dependent: Passes,
    }
);

/// A frame whose events were decoded and hashed ahead of their turn.
pub(super) struct Ahead(Decoded);

impl Ahead {
    /// The moment of its first event.
    pub(super) fn first(&self) -> Moment {
        let body = self.0.borrow_owner();
        Moment { op: Op(body.first_op()), book_time_us: body.book_time_us() }
    }

    /// Its events, in order, in passes: what those of a pass will touch is brought into the processor's cache together.
    pub(super) fn passes(&self) -> impl Iterator<Item = (&[Touched], &[Result<Event<'_>, CodecError>])> {
        self.0.borrow_dependent().iter().map(|Pass { touched, events }| (touched.as_slice(), events.as_slice()))
    }
}

/// Decodes and hashes the events of frames that come in the order of the book.
pub(super) struct Decoder {
    prints: Prints,
    programs: Vec<String>,
}

impl Decoder {
    /// A decoder for a book in which these programs were created so far.
    pub(super) fn new(prints: Prints, programs: Vec<String>) -> Self {
        Self { prints, programs }
    }

    /// A frame made ready. What is wrong with an event its turn will tell.
    pub(super) fn decode(&mut self, body: FrameBody) -> Ahead {
        Ahead(Decoded::new(body, |body| {
            let mut ops = (body.first_op()..).map(Op);
            let mut left = body.events().peekable();
            let mut passes = Vec::new();
            let mut room = usize::try_from(body.count()).unwrap_or(0);
            while left.peek().is_some() {
                let mut events = Vec::with_capacity(room.min(REPLAY_PASS_EVENTS));
                events.extend(left.by_ref().take(REPLAY_PASS_EVENTS).map(codec::decode));
                let mut touched = Vec::with_capacity(events.len());
                // The events first: the ops would lose one where those end.
                touched.extend(events.iter().zip(&mut ops).map(|(event, op)| self.touched(op, event.as_ref().ok()?)));
                room = room.saturating_sub(events.len());
                passes.push(Pass { touched, events });
            }
            passes
        }))
    }

    fn touched(&mut self, op: Op, event: &Event<'_>) -> Touched {
        let named = codec::Named::from(event);
        if let Some(id) = named.program_id.filter(|_| named.creates_program) {
            self.programs.push(id.to_owned());
        }
        let id_of = |number: ProgramNo| self.programs.get(usize::from(number.0)).map(String::as_str);
        let hashes = hashes_of(&named, op, id_of, &self.prints)?;
        Some((hashes, named.member.and_then(|member| member.number())))
    }
}
