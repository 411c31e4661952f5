//! The trial balance by effective time, and the lines that lead to it from the one of what was posted.
//!
//! An event counts for the instant that it is dated ([`told::dated_us`]) and with all its legs. Of what lapsed and is not booked
//! at all yet the ledger's state tells.

use std::collections::BTreeMap;

use super::chart::Class;
use super::export::ExportError;
use super::export::source::Events;
use super::told;
use crate::engine::names::Names;
use crate::ledger::codec;
use crate::ledger::event::Event;
use crate::ledger::ids::{AssetNo, Op, ProgramNo};
use crate::ledger::view::{ProgramTrial, TrialRow};

/// Why an account's balance by effective time is another than the one posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// What ended by the instant and was booked later by the ledger itself, or is not booked yet.
    NotSwept,
    /// Commands booked after the instant and dated at or before it.
    ArrivedLate,
    /// Commands booked by the instant and dated after it.
    DatedAhead,
}

/// An instant, and what was posted by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The instant, microseconds since the Unix epoch.
    pub at_us: i64,
    /// The newest event booked at or before it.
    pub posted: Op,
    /// The newest event that is known.
    pub known: Op,
}

/// Amounts by program, asset, account and reason, credit positive; none of them 0.
pub type Lines = BTreeMap<(ProgramNo, AssetNo, Class, Why), i64>;

/// What leads from the trial balance as posted at a cut to the one by effective time. `unswept` is what had lapsed by the instant and
/// was in no event up to `known`, of each program in the order of their numbers.
///
/// # Errors
/// `Codec`, `Journal` and `BookEnds` where the book cannot be read; `Refused` where a sum leaves its range.
pub fn lines(events: &dyn Events, cut: &Cut, unswept: &[Vec<(AssetNo, i64)>]) -> Result<Lines, ExportError> {
    let mut sums: BTreeMap<(ProgramNo, AssetNo, Class, Why), i128> = BTreeMap::new();
    let mut each = |op: u64, time_us: i64, bytes: &[u8]| {
        let event = codec::decode(bytes).map_err(|error| ExportError::Codec(op, error))?;
        let (posted, counts) = (Op(op) <= cut.posted, told::dated_us(&event, time_us) <= cut.at_us);
        let (why, sign) = match (posted, counts) {
            (true, true) | (false, false) => return Ok(()),
            (true, false) => (Why::DatedAhead, -1),
            (false, true) if matches!(event, Event::Due(_)) => (Why::NotSwept, 1),
            (false, true) => (Why::ArrivedLate, 1),
        };
        for (program, legs) in event.sides() {
            for leg in legs {
                let key = (program, leg.asset, Class::of(&leg.account), why);
                *sums.entry(key).or_default() += sign * i128::from(leg.amount);
            }
        }
        Ok(())
    };
    if cut.known > Op(0) {
        events.each(1, cut.known.0, &mut each)?;
    }
    for (program, lapsed) in (0..=u16::MAX).map(ProgramNo).zip(unswept) {
        for (asset, units) in lapsed {
            *sums.entry((program, *asset, Class::Available, Why::NotSwept)).or_default() -= i128::from(*units);
            *sums.entry((program, *asset, Class::Breakage, Why::NotSwept)).or_default() += i128::from(*units);
        }
    }
    let narrow = |(key, sum)| match i64::try_from(sum) {
        Ok(sum) => Ok((key, sum)),
        Err(_) => Err(ExportError::Refused("a sum leaves the range of the books".to_owned())),
    };
    sums.into_iter().filter(|(_, sum)| *sum != 0).map(narrow).collect()
}

/// Adds the lines to trial balances as they were posted. Rows that there were not stand behind the others of their program.
pub fn add(trials: &mut [ProgramTrial], lines: &Lines, names: &Names) {
    for ((program, asset, class, _), amount) in lines {
        let Some((id, asset, account)) = named(names, *program, *asset, *class) else { continue };
        let Some(trial) = trials.iter_mut().find(|trial| trial.program == id) else { continue };
        match trial.rows.iter_mut().find(|row| row.asset == asset && row.account == account) {
            Some(row) => row.balance = row.balance.saturating_add(*amount),
            None => {
                let behind = trial.rows.iter().rposition(|row| row.asset == asset);
                let place = behind.map_or(trial.rows.len(), |place| place + 1);
                trial.rows.insert(place, TrialRow { asset, account, balance: *amount });
            }
        }
    }
}

/// The ids of a program and an asset, and the name of an account, as trial balances have them.
#[must_use]
pub fn named(names: &Names, program: ProgramNo, asset: AssetNo, class: Class) -> Option<(String, String, String)> {
    let id = match class {
        Class::Campaign(campaign) => names.campaign(program, campaign)?,
        Class::Conversion(other) => &names.program(other)?.id,
        Class::Stock(reward) | Class::Reserved(reward) => names.reward(program, reward)?,
        _ => "",
    };
    Some((names.program(program)?.id.clone(), names.asset(program, asset)?.to_owned(), class.name(id)))
}
