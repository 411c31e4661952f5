//! What units are worth in money, and from when on: the fair values of a program's versions.

use crate::ledger::event::ProgramPut;
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::{AssetSpec, FairValue};

/// Basis points of a whole.
const WHOLE_BP: i128 = 10_000;

/// The versions of a program's fair values, as they were put.
#[derive(Debug, Default)]
pub(super) struct Values {
    versions: Vec<(i64, Vec<AssetSpec>)>,
}

impl Values {
    /// A version more.
    pub(super) fn put(&mut self, put: &ProgramPut<'_>) {
        self.versions.push((put.effective_from_us, put.spec.terms().assets.clone()));
    }

    /// What a unit is worth at an instant: by the newest version that holds then, its newest value from that instant or before.
    pub(super) fn at(&self, asset: AssetNo, at_us: i64) -> Option<FairValue> {
        let (_, assets) = self.versions.iter().rev().find(|(from_us, _)| *from_us <= at_us)?;
        let values = &assets.get(usize::from(asset.0))?.values;
        values.iter().rev().find(|value| value.from_us <= at_us).copied()
    }
}

/// Units in minor units of money: units x value x what is expected to be redeemed, the fraction dropped, so that an amount
/// and its undoing cancel. Nothing without a value. `None` where it overflows.
pub(super) fn worth(units: i128, value: Option<FairValue>) -> Option<i128> {
    let Some(FairValue { minor_per_unit, redeemed_bp, .. }) = value else { return Some(0) };
    let above = units.checked_mul(i128::from(minor_per_unit.numerator))?.checked_mul(i128::from(redeemed_bp))?;
    above.checked_div(i128::from(minor_per_unit.denominator).checked_mul(WHOLE_BP)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::spec::Ratio;

    #[test]
    fn a_fraction_of_a_minor_unit_is_dropped_on_either_side_of_zero() {
        let value = |numerator, denominator, redeemed_bp| {
            Some(FairValue { from_us: 0, minor_per_unit: Ratio { numerator, denominator }, redeemed_bp })
        };
        for (units, value, minor) in [
            (199, value(1, 100, 10_000), 1),
            (-199, value(1, 100, 10_000), -1),
            (1_000, value(3, 7, 5_000), 214),
            (i128::from(i64::MAX), value(1, 1, 10_000), i128::from(i64::MAX)),
            (5, None, 0),
        ] {
            assert_eq!(worth(units, value), Some(minor), "{units}");
        }
        assert_eq!(worth(i128::MAX, value(2, 1, 1)), None);
    }
}
