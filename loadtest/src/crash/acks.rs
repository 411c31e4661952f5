//! Everything that was ever acknowledged, in 20 bytes a command, and what it comes to.

use std::hash::{DefaultHasher, Hash, Hasher};

use prost::Message;
use stampbook::proto::{Outcome, Receipt};

/// The first answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ack {
    /// [`NONE`], [`ABORTED`] or the op of its event.
    op: u64,
    /// Of the receipt, `replayed` apart.
    print: u64,
}

/// No answer yet.
const NONE: u64 = 0;
/// Came to nothing with its batch.
const ABORTED: u64 = u64::MAX;
/// Events of operators that there may be beside those of commands.
const OPERATORS_MAX: usize = 100_000;

/// First answers by number of the command, and commands by op.
#[derive(Debug, Default)]
pub(super) struct Acks {
    firsts: Vec<Ack>,
    /// By op: the number of its command, plus one.
    owners: Vec<u32>,
    /// Events that commands own.
    pub(super) events: u64,
    pub(super) rejected: u64,
    pub(super) aborted: u64,
    /// Points that the receipts gave to members, less those they took from them.
    pub(super) owed_to_members: i64,
    /// Points that the receipts gave out of the campaign's budget, less those that came back to it.
    pub(super) awarded_by_campaign: i64,
}

impl Acks {
    /// Makes room for one more command and gives its number.
    pub(super) fn add(&mut self) -> usize {
        self.firsts.push(Ack { op: NONE, print: 0 });
        self.firsts.len() - 1
    }

    /// How many commands there are.
    pub(super) fn len(&self) -> usize {
        self.firsts.len()
    }

    /// The op of a command's event; `None` while there is no answer, and where there is no event.
    pub(super) fn op(&self, number: usize) -> Option<u64> {
        self.firsts.get(number).map(|ack| ack.op).filter(|op| !matches!(*op, NONE | ABORTED))
    }

    /// The first command from `from` on that got no answer.
    pub(super) fn first_unanswered(&self, from: usize) -> Option<usize> {
        let rest = self.firsts.get(from..).unwrap_or_default();
        rest.iter().position(|ack| ack.op == NONE).map(|at| from + at)
    }

    /// Ops up to `last` that no command owns.
    pub(super) fn unowned(&self, last: u64) -> Vec<u64> {
        (1..=last).filter(|op| self.owner(*op) == Some(0)).collect()
    }

    /// The commands whose ops are within `reach` of an op.
    pub(super) fn near(&self, op: u64, reach: u64) -> Vec<usize> {
        let owners = (op.saturating_sub(reach)..=op.saturating_add(reach)).filter_map(|op| self.owner(op));
        owners.filter_map(|owner| usize::try_from(owner).ok()?.checked_sub(1)).collect()
    }

    fn owner(&self, op: u64) -> Option<u32> {
        let at = usize::try_from(op).ok().filter(|at| *at <= self.firsts.len() + OPERATORS_MAX)?;
        Some(self.owners.get(at).copied().unwrap_or_default())
    }

    /// Takes a receipt of a command: the first one is kept, every other must be equal to it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn settle(&mut self, number: usize, receipt: &Receipt) -> Result<(), String> {
        let ack = match receipt.outcome() {
            Outcome::Aborted => Ack { op: ABORTED, print: 0 },
            Outcome::Applied | Outcome::Rejected if receipt.op != NONE => Ack { op: receipt.op, print: print(receipt) },
            _ => return Err(format!("command {number} got {receipt:?}")),
        };
        let first = self.firsts.get_mut(number).ok_or_else(|| format!("there is no command {number}: {receipt:?}"))?;
        if *first == ack {
            return Ok(());
        }
        if first.op != NONE {
            return Err(format!("command {number} was answered as {first:?}, and now as {ack:?}: {receipt:?}"));
        }
        *first = ack;
        if ack.op == ABORTED {
            self.aborted += 1;
            return Ok(());
        }
        self.own(number, receipt)?;
        self.count(receipt);
        Ok(())
    }

    fn own(&mut self, number: usize, receipt: &Receipt) -> Result<(), String> {
        let op = receipt.op;
        match self.owner(op) {
            Some(0) => {}
            Some(other) => return Err(format!("op {op} was acknowledged for command {} too: {receipt:?}", other - 1)),
            None => return Err(format!("op {op} is beyond all commands: {receipt:?}")),
        }
        let at = usize::try_from(op).map_err(|error| error.to_string())?;
        if self.owners.len() <= at {
            self.owners.resize(at + 1, 0);
        }
        if let Some(owner) = self.owners.get_mut(at) {
            *owner = u32::try_from(number + 1).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn count(&mut self, receipt: &Receipt) {
        self.events += 1;
        self.rejected += u64::from(receipt.outcome() == Outcome::Rejected);
        self.owed_to_members += receipt.awarded - receipt.asked;
        let given = receipt.awards.iter().filter(|award| !award.campaign.is_empty()).map(|award| award.awarded);
        let back = receipt.taken_back.iter().filter(|part| !part.campaign.is_empty()).map(|part| part.taken);
        self.awarded_by_campaign += given.sum::<i64>() - back.sum::<i64>();
    }
}

fn print(receipt: &Receipt) -> u64 {
    let mut hasher = DefaultHasher::new();
    Receipt { replayed: false, ..receipt.clone() }.encode_to_vec().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn receipt(op: u64, awarded: i64) -> Receipt {
        Receipt { outcome: Outcome::Applied.into(), op, awarded, ..Receipt::default() }
    }

    fn acks() -> Acks {
        let mut acks = Acks::default();
        assert_eq!((acks.add(), acks.add()), (0, 1));
        acks.settle(0, &receipt(3, 7)).unwrap();
        acks
    }

    #[test]
    fn the_same_receipt_again_changes_nothing_whether_or_not_it_says_so() {
        let mut acks = acks();
        acks.settle(0, &Receipt { replayed: true, ..receipt(3, 7) }).unwrap();
        assert_eq!((acks.events, acks.owed_to_members, acks.op(0)), (1, 7, Some(3)));
    }

    #[test]
    fn another_op_or_another_field_for_the_same_key_is_told() {
        for other in [receipt(4, 7), receipt(3, 8), Receipt { outcome: Outcome::Aborted.into(), ..receipt(0, 0) }] {
            assert!(acks().settle(0, &other).unwrap_err().contains("was answered as"));
        }
    }

    #[test]
    fn one_op_for_two_keys_is_told() {
        assert!(acks().settle(1, &receipt(3, 7)).unwrap_err().contains("for command 0 too"));
    }

    #[test]
    fn what_has_no_answer_and_what_has_no_owner_is_found() {
        let mut acks = acks();
        assert_eq!((acks.first_unanswered(0), acks.unowned(4)), (Some(1), vec![1, 2, 4]));
        acks.settle(1, &Receipt { outcome: Outcome::Aborted.into(), ..Receipt::default() }).unwrap();
        assert_eq!((acks.first_unanswered(0), acks.op(1), acks.events), (None, None, 1));
    }

    #[test]
    fn the_commands_around_an_op_are_those_that_own_the_ops() {
        let mut acks = acks();
        acks.settle(1, &receipt(6, 1)).unwrap();
        assert_eq!((acks.near(4, 1), acks.near(4, 2), acks.near(0, 2)), (vec![0], vec![0, 1], vec![]));
        assert!(acks.near(u64::MAX, 3).is_empty());
    }

    #[test]
    fn a_conflict_is_no_answer() {
        let conflict = Receipt { outcome: Outcome::Conflict.into(), ..receipt(3, 0) };
        assert!(acks().settle(0, &conflict).is_err());
    }
}
