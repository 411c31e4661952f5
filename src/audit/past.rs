//! The past: a trial balance and a member's balances as they stood at an earlier op, from the book.

use std::collections::BTreeMap;

use crate::engine::names::Names;
use crate::journal::{Book, JournalError};
use crate::ledger::codec;
use crate::ledger::event::{AssetBalances, Event, Side};
use crate::ledger::ids::{AssetNo, MemberNo, Op, ProgramNo};
use crate::ledger::view::{PIECES, ProgramTrial, TrialRow};

use super::chart::Class;
use super::export::ExportError;
use super::export::source::{Events, each_event};
use super::told;

/// Events of a member that one look at the past may walk over, newest first.
pub const PAST_WALK_EVENTS_MAX: u64 = 100_000;

/// Why the past cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The book cannot be read.
    #[error(transparent)]
    Book(#[from] ExportError),
    /// The op is not in the book.
    #[error("op {op} is not in the book, whose newest is {newest}")]
    NotYet {
        /// The op asked for.
        op: u64,
        /// The newest durable one.
        newest: u64,
    },
    /// The member came into the book after the op.
    #[error("the member is first in the book at op {first}, after op {op}")]
    MemberLater {
        /// The op asked for.
        op: u64,
        /// The member's first op.
        first: u64,
    },
    /// The member has had more events since than are walked over.
    #[error("the member has had more than {PAST_WALK_EVENTS_MAX} events since op {0}")]
    TooFar(u64),
    /// What was handed in does not belong together.
    #[error("op {op}: {what}")]
    Stray {
        /// The op.
        op: u64,
        /// What does not fit.
        what: &'static str,
    },
}

impl From<JournalError> for PastError {
    fn from(error: JournalError) -> Self {
        Self::Book(error.into())
    }
}

/// The accounts in points that every program has, whether anything moved on them or not.
const ALWAYS: [Class; 3] = [Class::Issuance, Class::Available, Class::Debt];

/// A program's sums while events are added.
#[derive(Default)]
struct Sums {
    members: u64,
    balances: BTreeMap<(AssetNo, Class), i128>,
}

/// The trial balance as it stood after `op`, and how many events were replayed for it: those after the op of `base`, an
/// earlier trial balance, or all from the first one. `names` are those of any op from `op` on.
///
/// # Errors
/// `Book` where the book ends before `op` or is not what was written; `Stray` where `base` is later than `op` or not of this book.
pub fn trial_balance_at(
    events: &dyn Events,
    names: &Names,
    base: Option<(u64, Vec<ProgramTrial>)>,
    op: u64,
) -> Result<(Vec<ProgramTrial>, u64), PastError> {
    let (after, base) = base.unwrap_or_default();
    if after > op {
        return Err(PastError::Stray { op, what: "the trial balance to begin with is later" });
    }
    let mut programs = base.iter().map(|trial| from_trial(trial, names, op)).collect::<Result<Vec<_>, _>>()?;
    each_event(events, after.saturating_add(1), op, &mut |at, _, event| add(&mut programs, event, at.0))?;
    let trial = |(number, sums): (ProgramNo, Sums)| to_trial(number, sums, names, op);
    let trials = (0..=u16::MAX).map(ProgramNo).zip(programs).map(trial).collect::<Result<_, _>>()?;
    Ok((trials, op - after))
}

fn from_trial(trial: &ProgramTrial, names: &Names, op: u64) -> Result<Sums, PastError> {
    let program = names.program_number(&trial.program).and_then(|number| names.program(number));
    let number = |kind: &str, id: &str| {
        let ids = match kind {
            "campaign" => &program?.campaigns,
            "reward" => &program?.rewards,
            _ => return names.program_number(id).map(|number| number.0),
        };
        ids.iter().position(|known| known == id).and_then(|place| u16::try_from(place).ok())
    };
    let asset = |id: &str| {
        if id == PIECES {
            return Some(AssetNo::PIECES);
        }
        let place = program?.assets.iter().position(|known| known == id)?;
        u8::try_from(place).ok().map(AssetNo)
    };
    let mut sums = Sums { members: trial.members, ..Sums::default() };
    for row in &trial.rows {
        let stray = || PastError::Stray { op, what: "the trial balance to begin with has an account of no known name" };
        let class = Class::named(&row.account, number).ok_or_else(stray)?;
        sums.balances.insert((asset(&row.asset).ok_or_else(stray)?, class), i128::from(row.balance));
    }
    Ok(sums)
}

/// Adds an event: its legs, the members that it creates, the program and the campaigns that it brings.
fn add(programs: &mut Vec<Sums>, event: &Event<'_>, op: u64) -> Result<(), PastError> {
    let (number, _, _) = event.identity();
    if let Event::ProgramPut(put) = event {
        if usize::from(number.0) == programs.len() {
            programs.push(Sums::default());
        }
        if let Some(sums) = programs.get_mut(usize::from(number.0)) {
            for (campaign, spec) in put.campaigns.iter().zip(&put.spec.campaigns) {
                sums.balances.entry((spec.asset_no(), Class::Campaign(*campaign))).or_default();
            }
        }
        return Ok(());
    }
    if let Event::RewardPut(put) = event
        && let Some(sums) = programs.get_mut(usize::from(number.0))
    {
        sums.balances.entry((AssetNo::PIECES, Class::Stock(put.reward))).or_default();
    }
    for Side { program, opened, legs, .. } in event.sides() {
        if legs.is_empty() && !opened {
            continue;
        }
        let stray = PastError::Stray { op, what: "it moves units in a program that no event brought" };
        let sums = programs.get_mut(usize::from(program.0)).ok_or(stray)?;
        sums.members += u64::from(opened);
        for leg in legs {
            *sums.balances.entry((leg.asset, Class::of(&leg.account))).or_default() += i128::from(leg.amount);
        }
    }
    Ok(())
}

/// The rows that [`ProgramTrial`] says, in its order.
fn to_trial(number: ProgramNo, mut sums: Sums, names: &Names, op: u64) -> Result<ProgramTrial, PastError> {
    for class in ALWAYS {
        sums.balances.entry((AssetNo::POINTS, class)).or_default();
    }
    sums.balances.retain(|(asset, class), balance| {
        !class.is_members() || *balance != 0 || (*asset == AssetNo::POINTS && ALWAYS.contains(class))
    });
    let unknown = || PastError::Stray { op, what: "the names do not reach so far" };
    let mut rows = Vec::with_capacity(sums.balances.len());
    for ((asset, class), balance) in sums.balances {
        let account = class.name_in(names, number).ok_or_else(unknown)?;
        let balance =
            i64::try_from(balance).map_err(|_| PastError::Stray { op, what: "a balance leaves its range" })?;
        let asset = names.asset(number, asset).ok_or_else(unknown)?.to_owned();
        rows.push(TrialRow { asset, account, balance });
    }
    let program = names.program(number).ok_or_else(unknown)?.id.clone();
    Ok(ProgramTrial { program, members: sums.members, rows })
}

/// How a member stood after an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberThen {
    /// The balances, by asset: of points in any case, of others where they were not all zero.
    pub balances: Vec<AssetBalances>,
    /// The op of the member's newest event then.
    pub head: Op,
    /// Events that were read to know it.
    pub events: u64,
}

/// A member's balances as they stood after `op`. `way` is the member and those into whom he went in turn; `head` is the op of any event
/// of the last of them from there on, such as the newest, and `now` that one's balances after it, of which those count in assets that
/// nothing moved since `op`. Before a merge the member is who he was.
///
/// # Errors
/// `NotYet`, `MemberLater`, `TooFar`; `Book` where the book is not what was written; `Stray` where `head` is no event of a member.
pub fn member_at(
    book: &Book,
    way: &[MemberNo],
    now: &[AssetBalances],
    head: Op,
    op: Op,
) -> Result<MemberThen, PastError> {
    let newest = book.durable_op();
    if op.0 > newest {
        return Err(PastError::NotYet { op: op.0, newest });
    }
    let mut balances: BTreeMap<AssetNo, AssetBalances> = now.iter().map(|told| (told.asset, *told)).collect();
    balances.entry(AssetNo::POINTS).or_default();
    let stray = |op: Op| PastError::Stray { op: op.0, what: "it is no event of the member" };
    let mut member = way.last().copied().ok_or(stray(head))?;
    let mut at = head;
    for events in 1..=PAST_WALK_EVENTS_MAX {
        let stored = book.read(at.0)?;
        let event = codec::decode(&stored.bytes).map_err(|error| ExportError::Codec(at.0, error))?;
        if at > op
            && let Event::MembersMerged(merged) = &event
            && merged.other.member.number() == Some(member)
            && let Some(goer) = merged.common.member.number().filter(|goer| way.contains(goer))
        {
            // He has nothing after it: all that he had before is in its legs.
            member = goer;
            balances = BTreeMap::from([(AssetNo::POINTS, AssetBalances::default())]);
        }
        let link = event.link_of(member).ok_or(stray(at))?;
        for side in event.sides().filter(|side| side.member == Some(member)) {
            let legs = if at <= op { &[] } else { side.legs };
            for after in &told::after(&event, member) {
                balances.insert(after.asset, told::before(after, legs));
            }
        }
        if at <= op {
            let left = |told: &AssetBalances| told::accounts_of(told).iter().any(|(_, balance)| *balance != 0);
            balances.retain(|asset, told| *asset == AssetNo::POINTS || left(told));
            return Ok(MemberThen { balances: balances.into_values().collect(), head: at, events });
        }
        at = at.back(link).ok_or(PastError::MemberLater { op: op.0, first: at.0 })?;
    }
    Err(PastError::TooFar(op.0))
}

#[cfg(test)]
#[path = "past_tests.rs"]
mod tests;
