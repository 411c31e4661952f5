//! The trial balance by effective time, and the lines that lead to it from the one of what was posted.
//!
//! An event counts for the instant that it is dated ([`told::dated_us`]) and with all its legs. Of what lapsed and is not booked
//! at all yet the ledger's state tells.

use std::collections::BTreeMap;

use super::chart::Class;
use super::export::ExportError;
use super::export::source::{Events, each_event};
use super::told;
use crate::engine::names::Names;
use crate::ledger::event::{Event, Side};
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
    each_event(events, 1, cut.known.0, &mut |op, time_us, event| {
        let (posted, counts) = (op <= cut.posted, told::dated_us(event, time_us) <= cut.at_us);
        let (why, sign) = match (posted, counts) {
            (true, true) | (false, false) => return Ok(()),
            (true, false) => (Why::DatedAhead, -1),
            (false, true) if matches!(event, Event::Due(_)) => (Why::NotSwept, 1),
            (false, true) => (Why::ArrivedLate, 1),
        };
        for Side { program, legs, .. } in event.sides() {
            for leg in legs {
                let key = (program, leg.asset, Class::of(&leg.account), why);
                *sums.entry(key).or_default() += sign * i128::from(leg.amount);
            }
        }
        Ok::<_, ExportError>(())
    })?;
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

/// A line as trial balances have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The program's id.
    pub program: String,
    /// The asset's id.
    pub asset: String,
    /// The account's name.
    pub account: String,
    /// Why.
    pub why: Why,
    /// Units, credit positive.
    pub amount: i64,
}

/// The lines with the ids of what they are of.
///
/// # Errors
/// `Refused` where the names do not reach so far.
pub fn named(lines: &Lines, names: &Names) -> Result<Vec<Line>, ExportError> {
    let named = |((program, asset, class, why), amount): (&(ProgramNo, AssetNo, Class, Why), &i64)| {
        let account = class.name_in(names, *program)?;
        let (asset, program) = (names.asset(*program, *asset)?.to_owned(), names.program(*program)?.id.clone());
        Some(Line { program, asset, account, why: *why, amount: *amount })
    };
    let unknown = || ExportError::Refused("the names do not reach as far as the book".to_owned());
    lines.iter().map(|line| named(line).ok_or_else(unknown)).collect()
}

/// Adds the lines to trial balances as they were posted. Rows that there were not stand behind the others of their asset; a program
/// that was put after the cut and has events dated before it comes behind the others.
pub fn add(trials: &mut Vec<ProgramTrial>, lines: &[Line]) {
    for Line { program, asset, account, amount, .. } in lines {
        let place = trials.iter().position(|trial| trial.program == *program).unwrap_or_else(|| {
            trials.push(ProgramTrial { program: program.clone(), members: 0, rows: Vec::new() });
            trials.len() - 1
        });
        let Some(trial) = trials.get_mut(place) else { continue };
        match trial.rows.iter_mut().find(|row| row.asset == *asset && row.account == *account) {
            Some(row) => row.balance = row.balance.saturating_add(*amount),
            None => {
                let behind = trial.rows.iter().rposition(|row| row.asset == *asset);
                let place = behind.map_or(trial.rows.len(), |place| place + 1);
                let (asset, account) = (asset.clone(), account.clone());
                trial.rows.insert(place, TrialRow { asset, account, balance: *amount });
            }
        }
    }
}
