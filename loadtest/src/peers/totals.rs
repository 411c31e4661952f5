//! What a store's books come to, held against what was posted: a benchmark that loses commands is none.

use super::drive::Sent;
use crate::Failure;

/// The trial balance of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// Commands that were applied.
    pub(super) commands: u64,
    /// What was ever issued, to members and to the campaign's budget.
    pub(super) issued: i64,
    /// What all members have.
    pub(super) members: i64,
    /// What is left of the campaign's budget.
    pub(super) campaign: i64,
}

impl Totals {
    /// Whether these books are those of `before` and what was sent since, and their postings sum to zero.
    ///
    /// # Errors
    /// What is not as it should be.
    pub(super) fn hold(&self, before: &Self, sent: &Sent) -> Result<(), Failure> {
        let (base, extra) = (i64::try_from(sent.base)?, i64::try_from(sent.extra)?);
        let expected = Self {
            commands: before.commands + sent.commands,
            issued: before.issued + base,
            members: before.members + base + extra,
            campaign: before.campaign - extra,
        };
        if *self != expected {
            return Err(format!("the books come to {self:?} where {expected:?} was posted").into());
        }
        if self.issued != self.members + self.campaign {
            return Err(format!("the postings do not sum to zero: {self:?}").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_lost_command_and_books_out_of_balance_are_told() {
        let before = Totals { commands: 3, issued: 1_000, members: 0, campaign: 1_000 };
        let sent = Sent { commands: 2, base: 30, extra: 10 };
        let after = Totals { commands: 5, issued: 1_030, members: 40, campaign: 990 };
        after.hold(&before, &sent).unwrap();
        assert!(Totals { commands: 4, ..after }.hold(&before, &sent).is_err());
        assert!(Totals { members: 39, ..after }.hold(&before, &sent).is_err());
        assert!(Totals { campaign: 1_000, ..after }.hold(&before, &sent).is_err());
        let before = Totals { members: 1, ..before };
        assert!(Totals { members: 41, ..after }.hold(&before, &sent).is_err(), "out of balance from the outset");
    }
}
