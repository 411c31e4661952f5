//! The traffic of a campaign night, from nothing but a seed: a command can be made again whenever it must be sent again.

use stampbook::proto::{Command, Earn, Purpose, Redeem, command::Action, earn::Basis};

use crate::program;
use crate::rng::Rng;

/// 2025-11-11T18:00 in Shanghai; double points begin two hours later.
const BEGINS_US: i64 = 1_762_855_200_000_000;
/// Six hours, to midnight.
const LASTS_US: i64 = 6 * 3_600 * 1_000_000;

/// A night of that many commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Night {
    pub(super) seed: u64,
    pub(super) commands: usize,
    pub(super) members: u64,
}

impl Night {
    /// The command of that number: nine purchases to one redemption, in the order of the night.
    pub(super) fn command(&self, index: usize) -> Command {
        let number = u64::try_from(index).unwrap_or_default();
        let mut rng = Rng::new(self.seed, number);
        let member = format!("member-{:06}", rng.below(self.members));
        let action = if rng.below(10) == 0 {
            let points = i64::try_from(100 * (1 + rng.below(5))).unwrap_or(100);
            Action::Redeem(Redeem { points, purpose: Purpose::CashOffset.into(), ..Default::default() })
        } else {
            let amount = i64::try_from(500 + rng.below(50_000)).unwrap_or(500);
            Action::Earn(Earn {
                basis: Some(Basis::AmountMinor(amount)),
                event_kind: "purchase".to_owned(),
                ..Default::default()
            })
        };
        Command {
            program: program::NIGHT.program.to_owned(),
            key: format!("order-{index}"),
            member,
            occurred_at_us: Some(self.occurred_at_us(index)),
            reference: format!("order-{index}"),
            channel: "app".to_owned(),
            action: Some(action),
            ..Command::default()
        }
    }

    /// Spread evenly over the night.
    fn occurred_at_us(&self, index: usize) -> i64 {
        let (index, all) = (i128::try_from(index).unwrap_or_default(), i128::try_from(self.commands).unwrap_or(1));
        BEGINS_US + i64::try_from(i128::from(LASTS_US) * index / all.max(1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Night;

    #[test]
    fn a_command_made_again_is_the_same_command() {
        let night = Night { seed: 3, commands: 100, members: 10 };
        for index in 0..100 {
            assert_eq!(night.command(index), night.command(index));
        }
        assert_ne!(night.command(1).member, night.command(2).member);
    }

    #[test]
    fn the_night_ends_at_midnight() {
        let night = Night { seed: 3, commands: 1_000_000, members: 10 };
        let last = night.command(999_999).occurred_at_us;
        assert!(last < Some(1_762_876_800_000_000) && last > Some(1_762_876_700_000_000));
    }
}
