//! The roll-forward: how what is owed to members went from the beginning of a period to its end, by asset, source and month
//! of the earn, in units and in money.
//!
//! It is made by a walk through the book from its first event on, since no state says when the units of a lot were earned. Of each
//! lot it keeps runs of units of one month ([`runs`]); what leaves a lot leaves from its front, as everywhere. A first walk finds
//! the events that are named later by a reversal or by a refund that reaches back for lapsed units, so that the second keeps
//! the months of what these moved, and of no others. What a walk holds is bounded by [`RUNS_MAX`] and [`NAMED_MAX`]. Members
//! between whom units moved are walked over together ([`closeness`]), and of a conversion each program sees its own side.

mod between;
mod closeness;
mod rows;
mod runs;
mod value;
mod walk;

use std::collections::HashSet;
use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::audit::explain::named_by;
use crate::audit::export::ExportError;
use crate::audit::export::source::{Events, each_event};
use crate::journal::JournalError;
use crate::ledger::event::{Account, Event, Leg};
use crate::ledger::ids::{AssetNo, MemberNo, Op, ProgramNo};

use closeness::Closeness;
pub use rows::{Amounts, COLUMNS, Column, Line, LineKind, RollForward};
pub use runs::RUNS_MAX;
use walk::Walk;

/// Events of which a walk keeps the months since later ones undo them, about 150 bytes each.
pub const NAMED_MAX: usize = 4_000_000;

/// Why there is no roll-forward.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// The book cannot be read.
    #[error(transparent)]
    Book(#[from] ExportError),
    /// An event does not go with those before it.
    #[error("op {op}: {what}")]
    Stray {
        /// The event.
        op: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// There are more runs than a walk may hold.
    #[error(
        "the lots of one member, or of members who gave units to each other or went into each other, need more than {RUNS_MAX} runs \
         of months"
    )]
    Full,
    /// More events are undone later than a walk may keep.
    #[error("more than {NAMED_MAX} events are undone by later ones")]
    NamedFull,
    /// A sum leaves its range.
    #[error("a sum of units or money leaves the range of the books")]
    Overflow,
    /// The rows do not come to what the legs of the members' accounts sum to, or a row does not balance.
    #[error("the rows do not balance: {0}")]
    Unbalanced(String),
}

impl From<JournalError> for RollError {
    fn from(error: JournalError) -> Self {
        Self::Book(error.into())
    }
}

/// A month of a calendar, counted from that of the year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub i32);

impl Month {
    /// The month in which an instant, microseconds since the Unix epoch, lies in a time zone; the first one of all for an instant
    /// that has no date.
    #[must_use]
    pub fn of(at_us: i64, zone: &TimeZone) -> Self {
        let at = Timestamp::from_microsecond(at_us).unwrap_or(Timestamp::MIN);
        let date = zone.to_datetime(at).date();
        Self(i32::from(date.year()) * 12 + i32::from(date.month()) - 1)
    }
}

impl std::fmt::Display for Month {
    /// As `2026-01`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

/// Of which program and which time.
#[derive(Clone, Debug)]
pub struct Period {
    /// The program.
    pub program: ProgramNo,
    /// The one asset; none: all.
    pub asset: Option<AssetNo>,
    /// The newest event before the period; 0: it begins with the book.
    pub opening: Op,
    /// The newest event of the period, or before it where it has none.
    pub closing: Op,
    /// The first instant of the period, microseconds since the Unix epoch: units are opened at the value in force just before.
    pub from_us: i64,
    /// The first instant behind the period: units are closed at the value in force just before.
    pub until_us: i64,
}

/// What a first walk finds.
#[derive(Debug, Default)]
struct Survey {
    /// The events that are named by later ones.
    named: HashSet<Op>,
    /// One more than the greatest number of a member of the program.
    members_end: u32,
    /// Which members must be walked over together.
    closeness: Closeness,
}

/// The roll-forward of a period.
///
/// # Errors
/// `Book` where the book cannot be read; `Stray` and `Unbalanced` where it does not fit together; `Full`, `NamedFull`
/// and `Overflow` where a bound is met.
pub fn roll_forward(events: &dyn Events, period: &Period) -> Result<RollForward, RollError> {
    roll_forward_within(events, period, RUNS_MAX)
}

/// The same where a walk holds so many runs at most.
///
/// # Errors
/// As [`roll_forward`].
pub fn roll_forward_within(events: &dyn Events, period: &Period, runs_max: usize) -> Result<RollForward, RollError> {
    let mut survey = Survey::default();
    let closing = period.closing.0;
    each_event(events, 1, closing, &mut |op, _, event| survey.look(op, event, period.program))?;
    let mut read = closing;
    let mut rows = rows::Rows::default();
    let all = 0..survey.members_end.max(1);
    let mut ranges = vec![all];
    while let Some(range) = ranges.pop() {
        let mut walk = Walk::new(period, (&survey.named, &survey.closeness), range.clone(), runs_max);
        let walked = each_event(events, 1, closing, &mut |op, time_us, event| walk.event(op, time_us, event));
        match walked.and_then(|()| walk.end()) {
            Ok(of_range) => {
                read = read.saturating_add(closing);
                rows.add(of_range)?;
            }
            Err(RollError::Full) if range.len() > 1 => ranges.extend(halves(&range)),
            Err(error) => return Err(error),
        }
    }
    rows.into_lines(period, read)
}

fn halves(range: &Range<u32>) -> [Range<u32>; 2] {
    let middle = range.start + (range.end - range.start) / 2;
    [middle..range.end, range.start..middle]
}

impl Survey {
    fn look(&mut self, op: Op, event: &Event<'_>, program: ProgramNo) -> Result<(), RollError> {
        let mut first = None;
        for (member, _) in sides_of(event, program) {
            self.members_end = self.members_end.max(member.0.saturating_add(1));
            match first {
                None => first = Some(member),
                Some(first) => self.closeness.bring_together(first, member),
            }
        }
        let undoes = match event {
            Event::Reversed(_) => true,
            Event::Refunded(refunded) => refunded.legs.iter().any(|leg| is_breakage(&leg.account)),
            _ => false,
        };
        if undoes && event.identity().0 == program {
            self.named.extend(named_by(op, event));
        }
        if self.named.len() > NAMED_MAX { Err(RollError::NamedFull) } else { Ok(()) }
    }
}

/// The members of a program whom an event concerns, with the legs on their sides.
fn sides_of<'e>(event: &'e Event<'_>, program: ProgramNo) -> impl Iterator<Item = (MemberNo, &'e [Leg])> {
    event.sides().filter(move |side| side.program == program).filter_map(|side| Some((side.member?, side.legs)))
}

fn is_breakage(account: &Account) -> bool {
    matches!(account, Account::Breakage { .. })
}
