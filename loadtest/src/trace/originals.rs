//! Which purchase a refund is of. The trace does not say; the member's latest earlier one with at least the refund's amount not yet
//! refunded is taken for it.

use std::collections::HashMap;

use stampbook::proto::{Command, command::Action, earn::Basis, refund::Amount, refund::Original};

/// A member's purchase, and how much of it was not refunded yet, in minor units.
#[derive(Debug)]
struct Purchase {
    key: String,
    left_minor: i64,
}

/// Names the originals of refunds, row by row in the order of the trace.
#[derive(Debug, Default)]
pub(super) struct Originals {
    purchases: HashMap<String, Vec<Purchase>>,
    /// Rows by their keys: the original that a refund was given, none for all others. A row that comes again is the same command again.
    rows: HashMap<String, Option<String>>,
    /// Refunds, and those of them that name an original; rows that come again not counted.
    pub(super) refunds: u64,
    pub(super) named: u64,
}

impl Originals {
    /// Goes on to the next row.
    pub(super) fn name(&mut self, command: &mut Command) {
        let of_member = self.purchases.entry(command.member.clone()).or_default();
        let known = self.rows.get(&command.key);
        let original = match &command.action {
            Some(Action::Earn(earn)) if known.is_none() => {
                if let Some(Basis::AmountMinor(left_minor)) = earn.basis {
                    of_member.push(Purchase { key: command.key.clone(), left_minor });
                }
                None
            }
            Some(Action::Refund(refund)) if known.is_none() => {
                let purchase = match refund.amount {
                    Some(Amount::AmountMinor(amount)) => of_member
                        .iter_mut()
                        .rev()
                        .find(|purchase| purchase.left_minor >= amount)
                        .inspect(|_| self.named += 1)
                        .map(|purchase| {
                            purchase.left_minor -= amount;
                            purchase.key.clone()
                        }),
                    _ => None,
                };
                self.refunds += 1;
                purchase
            }
            _ => known.cloned().flatten(),
        };
        if let (Some(Action::Refund(refund)), Some(key)) = (&mut command.action, &original) {
            refund.original = Some(Original::OriginalKey(key.clone()));
            // Its kind is the original's.
            refund.event_kind.clear();
        }
        self.rows.entry(command.key.clone()).or_insert(original);
    }
}

#[cfg(test)]
mod tests {
    use stampbook::proto::{Earn, Refund};

    use super::*;

    fn purchase(key: &str, member: &str, amount: i64) -> Command {
        let earn = Earn { basis: Some(Basis::AmountMinor(amount)), event_kind: "purchase".into(), ..Earn::default() };
        Command { key: key.into(), member: member.into(), action: Some(Action::Earn(earn)), ..Command::default() }
    }

    fn refund(key: &str, member: &str, amount: i64) -> Command {
        let amount = Some(Amount::AmountMinor(amount));
        let refund = Refund { original: None, amount, event_kind: "purchase".into() };
        Command { key: key.into(), member: member.into(), action: Some(Action::Refund(refund)), ..Command::default() }
    }

    /// The originals that refunds are given, each with its event kind.
    fn named<const N: usize>(rows: [Command; N]) -> (Vec<(Option<String>, String)>, Originals) {
        let mut originals = Originals::default();
        let mut given = Vec::new();
        for mut row in rows {
            originals.name(&mut row);
            if let Some(Action::Refund(refund)) = row.action {
                let key = refund.original.map(|original| match original {
                    Original::OriginalKey(key) => key,
                    other => format!("{other:?}"),
                });
                given.push((key, refund.event_kind));
            }
        }
        (given, originals)
    }

    #[test]
    fn a_refund_is_of_the_latest_purchase_of_its_member_with_enough_left() {
        let rows = [
            purchase("old", "ann", 900),
            purchase("new", "ann", 500),
            purchase("of-bob", "bob", 5_000),
            refund("r1", "ann", 300),
            refund("r2", "ann", 300),
            refund("r3", "ann", 200),
            refund("r4", "ann", 601),
        ];
        let (given, originals) = named(rows);
        let of = |key: &str| (Some(key.to_owned()), String::new());
        assert_eq!(given, [of("new"), of("old"), of("new"), (None, "purchase".to_owned())]);
        assert_eq!((originals.refunds, originals.named), (4, 3));
    }

    #[test]
    fn a_row_that_comes_again_is_the_same_command_and_takes_nothing_more() {
        let rows = [
            purchase("p", "ann", 500),
            purchase("p", "ann", 500),
            refund("r1", "ann", 400),
            refund("r1", "ann", 400),
            refund("r2", "ann", 400),
            refund("r2", "ann", 400),
        ];
        let (given, originals) = named(rows);
        let (of_p, none) = ((Some("p".to_owned()), String::new()), (None, "purchase".to_owned()));
        assert_eq!(given, [of_p.clone(), of_p, none.clone(), none]);
        assert_eq!((originals.refunds, originals.named), (2, 1));
    }
}
