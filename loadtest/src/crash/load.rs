//! Mixed commands from nothing but a seed and their numbers: what must be sent again can be made again, and none is kept.

use stampbook::proto::{
    Adjust, Command, Earn, Purpose, Redeem, Refund, command::Action, earn::Basis, refund::Amount, refund::Original,
};

use crate::program;
use crate::rng::Rng;

/// 2025-06-01T00:00Z, within the campaign.
const BEGINS_US: i64 = 1_748_736_000_000_000;
const DAY_US: u64 = 86_400_000_000;
/// Days of trade: caps by the day meet some members and not others.
const DAYS: u64 = 30;
/// Refunds name an original among so many commands before them, which may still be under way.
const NEAR: usize = 200;
/// Bytes of metadata on some commands, so that the book fills its segments.
const FILL_BYTES: usize = 400;

/// All commands there can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) seed: u64,
    pub(super) members: u64,
}

/// What can be known of a command from its number alone; refunds apart.
struct Draft {
    rng: Rng,
    member: String,
    /// `None`: a refund.
    action: Option<Action>,
}

/// The commands that a refund may name by op: those of earlier cycles, whose ops are settled.
#[derive(Clone, Copy)]
pub(super) struct Earlier<'a> {
    pub(super) commands: usize,
    pub(super) op_of: &'a dyn Fn(usize) -> Option<u64>,
}

impl Load {
    /// The key of a command.
    pub(super) fn key(number: usize) -> String {
        format!("command-{number}")
    }

    /// The command of that number.
    pub(super) fn command(&self, number: usize, earlier: Earlier<'_>) -> Command {
        let Draft { mut rng, mut member, action } = self.draft(number);
        let day = i64::try_from(rng.below(DAYS) * DAY_US).unwrap_or_default();
        let filled = rng.below(4) == 0;
        let action = action.unwrap_or_else(|| {
            let (of, refund) = self.refund(number, &mut rng, earlier);
            member = of.unwrap_or_else(|| member.clone());
            Action::Refund(refund)
        });
        let metadata = filled.then(|| ("filling".to_owned(), "x".repeat(FILL_BYTES)));
        Command {
            program: program::CRASH.program.to_owned(),
            key: Self::key(number),
            member,
            occurred_at_us: Some(BEGINS_US + day),
            reference: format!("order-{number}"),
            metadata: metadata.into_iter().collect(),
            action: Some(action),
            ..Command::default()
        }
    }

    fn draft(&self, number: usize) -> Draft {
        let mut rng = Rng::new(self.seed, u64::try_from(number).unwrap_or_default());
        let kind = rng.below(20);
        let member = format!("member-{:05}", rng.below(self.members));
        let points = i64::try_from(100 + rng.below(400)).unwrap_or(100);
        let event_kind = "purchase".to_owned();
        let action = match kind {
            0..10 => Some(Action::Earn(Earn {
                basis: Some(Basis::AmountMinor(50 * points)),
                event_kind,
                ..Default::default()
            })),
            10..12 => Some(Action::Earn(Earn { basis: Some(Basis::Points(points)), event_kind, ..Default::default() })),
            12..15 => None,
            15..18 => {
                Some(Action::Redeem(Redeem { points: 4 * points, purpose: Purpose::Gift.into(), ..Default::default() }))
            }
            _ => {
                let points = if kind == 18 { points } else { -points / 4 };
                let (actor, reason) = ("loadtest".to_owned(), "correction".to_owned());
                Some(Action::Adjust(Adjust { points, actor, reason, ..Default::default() }))
            }
        };
        Draft { rng, member, action }
    }

    /// A refund, and the member of its original if it names one.
    fn refund(&self, number: usize, rng: &mut Rng, earlier: Earlier<'_>) -> (Option<String>, Refund) {
        let named = rng.below(4);
        let whole = rng.below(2) == 0;
        let part = |all: i64, rng: &mut Rng| match u64::try_from(all) {
            Ok(all) if !whole && all > 1 => i64::try_from(1 + rng.below(all)).unwrap_or(1),
            _ => all,
        };
        let by_op = named == 1 && earlier.commands > 0;
        let (from, to) = if by_op { (0, earlier.commands) } else { (number.saturating_sub(NEAR), number) };
        let Some((original, member, basis)) = self.earn_among(from, to, rng).filter(|_| named != 0) else {
            let amount = Some(Amount::AmountMinor(part(20_000, rng)));
            return (None, Refund { original: None, amount, event_kind: "purchase".to_owned() });
        };
        let original = match (earlier.op_of)(original).filter(|_| by_op) {
            Some(op) => Original::OriginalOp(op),
            None if named == 2 => Original::OriginalReference(format!("order-{original}")),
            None => Original::OriginalKey(Self::key(original)),
        };
        let amount = match basis {
            Basis::AmountMinor(all) => Amount::AmountMinor(part(all, rng)),
            Basis::Points(all) => Amount::Points(part(all, rng)),
        };
        (Some(member), Refund { original: Some(original), amount: Some(amount), event_kind: String::new() })
    }

    /// An earn with a number in `from..to`: the first at or after a random one.
    fn earn_among(&self, from: usize, to: usize, rng: &mut Rng) -> Option<(usize, String, Basis)> {
        let width = u64::try_from(to.checked_sub(from)?).ok().filter(|width| *width > 0)?;
        let start = from + usize::try_from(rng.below(width)).ok()?;
        (start..to).find_map(|number| match self.draft(number) {
            Draft { member, action: Some(Action::Earn(earn)), .. } => Some((number, member, earn.basis?)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LOAD: Load = Load { seed: 5, members: 50 };

    fn command(number: usize) -> Command {
        let op_of = |number: usize| Some(u64::try_from(number).unwrap() + 100);
        LOAD.command(number, Earlier { commands: 500, op_of: &op_of })
    }

    #[test]
    fn a_command_made_again_is_the_same_command() {
        for number in 500..1_500 {
            assert_eq!(command(number), command(number));
        }
    }

    #[test]
    fn refunds_name_earns_of_their_member_in_every_way_and_within_their_amount() {
        let mut seen = [0; 4];
        for number in 500..3_000 {
            let sent = command(number);
            let Some(Action::Refund(refund)) = sent.action else { continue };
            let original = match refund.original {
                None => {
                    seen[0] += 1;
                    continue;
                }
                Some(Original::OriginalOp(op)) => (1, usize::try_from(op).unwrap() - 100),
                Some(Original::OriginalKey(key)) => (2, key.trim_start_matches("command-").parse().unwrap()),
                Some(Original::OriginalReference(order)) => (3, order.trim_start_matches("order-").parse().unwrap()),
            };
            seen[original.0] += 1;
            let original = command(original.1);
            assert_eq!(original.member, sent.member);
            match (original.action, refund.amount) {
                (
                    Some(Action::Earn(Earn { basis: Some(Basis::AmountMinor(all)), .. })),
                    Some(Amount::AmountMinor(part)),
                )
                | (Some(Action::Earn(Earn { basis: Some(Basis::Points(all)), .. })), Some(Amount::Points(part))) => {
                    assert!((1..=all).contains(&part));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
    }
}
