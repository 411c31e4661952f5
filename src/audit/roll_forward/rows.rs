//! The rows of a roll-forward, and how they are summed, valued and checked.

use std::collections::BTreeMap;

use super::value::worth;
use super::{Month, Period, RollError};
use crate::ledger::event::Source;
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::FairValue;

/// What happened to units, seen from what is owed to members: what makes that greater is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Earned, topped up, granted.
    Issued,
    /// Opening balances brought over from another system.
    MovedIn,
    /// Spent, less what of it was undone.
    Redeemed,
    /// Lapsed, less what refunds and reversals took back of lapsed units afterwards.
    Expired,
    /// Taken back by refunds and reversals, from wherever they took it: lots, pending units, lapsed units, debt.
    TakenBack,
    /// Operators' adjustments, less what of them was undone.
    Adjusted,
    /// Converted from or to another program.
    Converted,
    /// Given to or by other members.
    Transferred,
    /// Credited and used to settle a debt, out of the row that it was credited in: in all, nothing.
    Settled,
}

/// Every column, in order.
pub const COLUMNS: [Column; 9] = [
    Column::Issued,
    Column::MovedIn,
    Column::Redeemed,
    Column::Expired,
    Column::TakenBack,
    Column::Adjusted,
    Column::Converted,
    Column::Transferred,
    Column::Settled,
];

/// What a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineKind {
    /// Units in lots or pending, of one source.
    Lots(Source),
    /// What members owe, as a negative amount.
    Debt,
    /// All lots of an asset together: what the trial balance says of `member/available`, `member/held` and `member/pending`.
    Liability,
}

/// Amounts of a line, in units or in minor units of money. The closing is the opening and all that was moved, and of money the
/// change of value beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// At the beginning.
    pub opening: i64,
    /// In order of [`COLUMNS`].
    pub moved: [i64; COLUMNS.len()],
    /// What a change of the fair value makes, with what rounding leaves; 0 of units.
    pub value_change: i64,
    /// At the end.
    pub closing: i64,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The asset.
    pub asset: AssetNo,
    /// What it is of.
    pub kind: LineKind,
    /// The month of the earn; none of debts and of sums.
    pub month: Option<Month>,
    /// In units.
    pub units: Amounts,
    /// In minor units of money; zeros where the asset has no value.
    pub minor: Amounts,
}

/// A roll-forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollForward {
    /// By asset: its lots by source and month, its debts, all its lots together. Lines with nothing in them are left out, but for the
    /// last of them.
    pub lines: Vec<Line>,
    /// Events that were read for it, by all walks together.
    pub events_read: u64,
}

type Key = (AssetNo, LineKind, Option<Month>);

/// A line while events are added.
#[derive(Debug, Default)]
struct Row {
    opening: i128,
    /// By the value that was in force, in order of the asset's values.
    moved: Vec<[i128; COLUMNS.len()]>,
    closing: i128,
}

/// The rows of some members, or of all.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: BTreeMap<Key, Row>,
    /// The values of each asset in the period, in order: the first is that of the opening.
    values: BTreeMap<AssetNo, Vec<Option<FairValue>>>,
    closing_values: BTreeMap<AssetNo, Option<FairValue>>,
    /// What the legs on lots and pending units come to, by asset.
    legs: BTreeMap<AssetNo, i128>,
}

impl Rows {
    /// The value in force from here on.
    pub(super) fn set_value(&mut self, asset: AssetNo, value: Option<FairValue>) {
        let values = self.values.entry(asset).or_default();
        if values.last() != Some(&value) {
            values.push(value);
        }
    }

    pub(super) fn set_closing_value(&mut self, asset: AssetNo, value: Option<FairValue>) {
        self.closing_values.insert(asset, value);
    }

    pub(super) fn moved(&mut self, key: Key, column: Column, units: i128) {
        let era = self.values.get(&key.0).map_or(0, |values| values.len().saturating_sub(1));
        let row = self.rows.entry(key).or_default();
        if row.moved.len() <= era {
            row.moved.resize(era + 1, [0; COLUMNS.len()]);
        }
        let place = COLUMNS.iter().position(|known| *known == column);
        if let Some(sum) = place.and_then(|place| row.moved.get_mut(era)?.get_mut(place)) {
            *sum += units;
        }
    }

    pub(super) fn opened(&mut self, key: Key, units: i128) {
        self.rows.entry(key).or_default().opening += units;
    }

    pub(super) fn closed(&mut self, key: Key, units: i128) {
        self.rows.entry(key).or_default().closing += units;
    }

    pub(super) fn on_legs(&mut self, asset: AssetNo, units: i128) {
        *self.legs.entry(asset).or_default() += units;
    }

    /// Adds the rows of other members.
    pub(super) fn add(&mut self, others: Self) -> Result<(), RollError> {
        if self.rows.is_empty() && self.values.is_empty() {
            *self = others;
            return Ok(());
        }
        if self.values != others.values || self.closing_values != others.closing_values {
            return Err(RollError::Unbalanced("two walks through the book met other values".to_owned()));
        }
        for (asset, units) in others.legs {
            self.on_legs(asset, units);
        }
        for (key, other) in others.rows {
            let row = self.rows.entry(key).or_default();
            row.opening += other.opening;
            row.closing += other.closing;
            if row.moved.len() < other.moved.len() {
                row.moved.resize(other.moved.len(), [0; COLUMNS.len()]);
            }
            for (sums, more) in row.moved.iter_mut().zip(other.moved) {
                sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            }
        }
        Ok(())
    }

    /// The lines, each of them checked.
    pub(super) fn into_lines(self, period: &Period, events_read: u64) -> Result<RollForward, RollError> {
        let mut lines = Vec::new();
        let asked = |asset: &AssetNo| period.asset.is_none_or(|asked| asked == *asset);
        for asset in self.values.keys().copied().filter(asked) {
            let first = (asset, LineKind::Lots(Source::Base), None);
            let of_asset = self.rows.range(first..).take_while(|((of, ..), _)| *of == asset);
            let mut liability = Line::empty(asset, LineKind::Liability, None);
            for ((_, kind, month), row) in of_asset {
                let line = self.line(asset, *kind, *month, row)?;
                if *kind != LineKind::Debt {
                    liability.units.add(&line.units)?;
                    liability.minor.add(&line.minor)?;
                }
                if line != Line::empty(asset, *kind, *month) {
                    lines.push(line);
                }
            }
            let legs = self.legs.get(&asset).copied().unwrap_or_default();
            if i128::from(liability.units.closing) != legs {
                let found = liability.units.closing;
                let what = format!("asset {} closes with {found}, and its legs come to {legs}", asset.0);
                return Err(RollError::Unbalanced(what));
            }
            lines.push(liability);
        }
        Ok(RollForward { lines, events_read })
    }

    fn line(&self, asset: AssetNo, kind: LineKind, month: Option<Month>, row: &Row) -> Result<Line, RollError> {
        let mut line = Line::empty(asset, kind, month);
        let narrow = |units: i128| i64::try_from(units).map_err(|_| RollError::Overflow);
        let values = self.values.get(&asset).map(Vec::as_slice).unwrap_or_default();
        let money = |units, value: Option<FairValue>| worth(units, value).ok_or(RollError::Overflow).and_then(narrow);
        line.units.opening = narrow(row.opening)?;
        line.units.closing = narrow(row.closing)?;
        line.minor.opening = money(row.opening, values.first().copied().flatten())?;
        line.minor.closing = money(row.closing, self.closing_values.get(&asset).copied().flatten())?;
        for (era, moved) in row.moved.iter().enumerate() {
            let value = values.get(era).copied().flatten();
            for (place, units) in moved.iter().enumerate() {
                add_to(line.units.moved.get_mut(place), narrow(*units)?)?;
                add_to(line.minor.moved.get_mut(place), money(*units, value)?)?;
            }
        }
        let Amounts { opening, moved, closing, .. } = line.minor;
        let change = i128::from(closing) - i128::from(opening) - moved.iter().map(|sum| i128::from(*sum)).sum::<i128>();
        line.minor.value_change = narrow(change)?;
        let Amounts { opening, moved, closing, .. } = line.units;
        if i128::from(opening) + moved.iter().map(|sum| i128::from(*sum)).sum::<i128>() != i128::from(closing) {
            return Err(RollError::Unbalanced(format!("{kind:?} of asset {} and {month:?}: {row:?}", asset.0)));
        }
        Ok(line)
    }
}

fn add_to(sum: Option<&mut i64>, more: i64) -> Result<(), RollError> {
    let Some(sum) = sum else { return Ok(()) };
    *sum = sum.checked_add(more).ok_or(RollError::Overflow)?;
    Ok(())
}

impl Amounts {
    fn add(&mut self, more: &Self) -> Result<(), RollError> {
        add_to(Some(&mut self.opening), more.opening)?;
        add_to(Some(&mut self.value_change), more.value_change)?;
        add_to(Some(&mut self.closing), more.closing)?;
        self.moved.iter_mut().zip(more.moved).try_for_each(|(sum, more)| add_to(Some(sum), more))
    }
}

impl Line {
    fn empty(asset: AssetNo, kind: LineKind, month: Option<Month>) -> Self {
        Self { asset, kind, month, units: Amounts::default(), minor: Amounts::default() }
    }
}
