//! Lots that books hold beside one earn of each member, for what is measured with them.

use jiff::Timestamp;
use prost::Message;
use serde::{Deserialize, Serialize};
use stampbook::proto::{Command, Earn, Opening, PostBatchRequest, command::Action, earn::Basis};
use tonic::transport::Channel;

use crate::run::BUDGET;
use crate::stage::FILL_BATCH;
use crate::wire::member_id;
use crate::{Failure, program};

/// The members with [`Lots::heavy`]: every so manieth, from the first on.
pub(crate) const HEAVY_EVERY: u64 = 10;
/// Lots of a member with lapsing ones.
pub(crate) const LAPSING_EACH: u64 = 5;
/// Units of a lapsing lot, so that what has lapsed says how many lots have.
pub(crate) const LAPSING_UNITS: i64 = 1;
/// The first instant at which a lapsing lot does, and the time from one to the next, in microseconds.
const LAPSING_FROM_US: i64 = 1_925_000_000_000_000;
const LAPSING_STEP_US: i64 = 86_400_000_000;
/// When all of them have.
pub(crate) const LAPSED_US: i64 = LAPSING_FROM_US + 5 * LAPSING_STEP_US;
/// No two instants that are so far apart lie in one month.
const MONTH_US: i64 = 31 * 86_400_000_000;

/// Which lots.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Lots {
    /// Every tenth member has so many in each of two assets, of as many months; they lapse in years.
    pub(crate) heavy: u16,
    /// So many members of a program of their own have [`LAPSING_EACH`], which lapse until [`LAPSED_US`].
    pub(crate) lapsing_members: u64,
}

/// Writes the requests that bring the lots, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bringer {
    lots: Lots,
    /// Members with [`Lots::heavy`].
    heavy_members: u64,
    now_us: i64,
}

impl Lots {
    /// How many there are in all, in books of so many members.
    pub(crate) fn count(&self, members: u64) -> u64 {
        2 * u64::from(self.heavy) * heavy_members(members) + LAPSING_EACH * self.lapsing_members
    }

    /// Puts the programs that the lots are of, unless they are there.
    pub(crate) async fn set_up(&self, channel: Channel) -> Result<(), Failure> {
        if self.heavy > 0 {
            program::LOTS.set_up(channel.clone(), BUDGET).await?;
        }
        if self.lapsing_members > 0 {
            program::put(channel, program::LAPSING, program::LAPSING_DEFINITION).await?;
        }
        Ok(())
    }
}

fn heavy_members(members: u64) -> u64 {
    members.div_ceil(HEAVY_EVERY)
}

impl Bringer {
    /// For books of so many members.
    pub(crate) fn new(lots: Lots, members: u64) -> Self {
        let heavy_members = if lots.heavy > 0 { heavy_members(members) } else { 0 };
        Self { lots, heavy_members, now_us: Timestamp::now().as_microsecond() }
    }

    /// Commands of one member with many lots, one with lapsing ones.
    fn each(&self) -> (u64, u64) {
        (u64::from(self.lots.heavy).max(1), LAPSING_EACH)
    }

    /// How many requests bring the first kind, and how many both.
    fn batches(&self) -> (u64, u64) {
        let (heavy, lapsing) = self.each();
        let first = self.heavy_members.div_ceil(FILL_BATCH / heavy);
        (first, first + self.lots.lapsing_members.div_ceil(FILL_BATCH / lapsing))
    }

    /// How many requests there are.
    pub(crate) fn requests(&self) -> u64 {
        self.batches().1
    }

    /// How many commands there are.
    pub(crate) fn commands(&self) -> u64 {
        let (heavy, lapsing) = self.each();
        heavy * self.heavy_members + lapsing * self.lots.lapsing_members
    }

    /// The request of that number, and how many commands it holds.
    pub(crate) fn request(&self, number: u64) -> Result<(Vec<u8>, u64), Failure> {
        let (first, _) = self.batches();
        let (heavy, lapsing) = self.each();
        let mut items = Vec::new();
        if number < first {
            let members = FILL_BATCH / heavy;
            for member in number * members..self.heavy_members.min((number + 1) * members) {
                for lot in 0..heavy {
                    items.push(self.haul(member * HEAVY_EVERY, i64::try_from(lot)?));
                }
            }
        } else {
            let (members, number) = (FILL_BATCH / lapsing, number - first);
            for member in number * members..self.lots.lapsing_members.min((number + 1) * members) {
                for lot in 0..lapsing {
                    items.push(lapsing_lot(member, i64::try_from(lot)?));
                }
            }
        }
        let commands = u64::try_from(items.len())?;
        Ok((PostBatchRequest { items, atomic: false }.encode_to_vec(), commands))
    }

    /// A lot in each of two assets, of a month of its own.
    fn haul(&self, member: u64, lot: i64) -> Command {
        let earn = Earn { basis: Some(Basis::AmountMinor(1_000)), event_kind: "haul".to_owned(), ..Earn::default() };
        Command {
            program: program::LOTS.program.to_owned(),
            key: format!("haul-{member:012}-{lot:02}"),
            member: name(member),
            occurred_at_us: Some(self.now_us - lot * MONTH_US),
            action: Some(Action::Earn(earn)),
            ..Command::default()
        }
    }
}

fn lapsing_lot(member: u64, lot: i64) -> Command {
    let opening = Opening {
        points: LAPSING_UNITS,
        actor: "loadtest".to_owned(),
        reason: "to lapse".to_owned(),
        lapses_at_us: Some(LAPSING_FROM_US + lot * LAPSING_STEP_US),
        ..Opening::default()
    };
    Command {
        program: program::LAPSING.to_owned(),
        key: format!("lapse-{member:011}-{lot:02}"),
        member: name(member),
        action: Some(Action::Opening(opening)),
        ..Command::default()
    }
}

fn name(member: u64) -> String {
    String::from_utf8_lossy(&member_id(member)).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_lot_is_brought_once_to_the_members_that_it_is_for() {
        let (lots, members) = (Lots { heavy: 32, lapsing_members: 1_001 }, 2_495);
        let bringer = Bringer::new(lots, members);
        let (mut keys, mut heavy, mut lapsing) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut counted = 0;
        for number in 0..bringer.requests() {
            let (bytes, commands) = bringer.request(number).unwrap();
            let items = PostBatchRequest::decode(bytes.as_slice()).unwrap().items;
            assert!(commands > 0 && commands <= FILL_BATCH);
            assert_eq!(u64::try_from(items.len()).unwrap(), commands);
            counted += commands;
            for item in items {
                let to = if item.program == "lapsing" { &mut lapsing } else { &mut heavy };
                to.insert(item.member);
                assert!(keys.insert(item.key));
            }
        }
        assert_eq!((counted, counted), (bringer.commands(), 32 * 250 + 5 * 1_001));
        assert_eq!(lots.count(members), 64 * 250 + 5 * 1_001);
        assert!(heavy.into_iter().eq((0..250).map(|number| name(number * HEAVY_EVERY))));
        assert!(lapsing.into_iter().eq((0..1_001).map(name)));
    }

    #[test]
    fn lots_of_a_member_differ_in_month_or_day_and_lapse_by_the_time_that_is_said() {
        let bringer = Bringer::new(Lots { heavy: 32, lapsing_members: 0 }, 10);
        let months: BTreeSet<_> = (0..32)
            .map(|lot| Timestamp::from_microsecond(bringer.haul(0, lot).occurred_at_us.unwrap()).unwrap())
            .map(|at| at.to_string()[..7].to_owned())
            .collect();
        assert_eq!(months.len(), 32);
        let lapses = |lot| match lapsing_lot(0, lot).action {
            Some(Action::Opening(opening)) => opening.lapses_at_us.unwrap(),
            other => panic!("{other:?}"),
        };
        let instants: BTreeSet<_> = (0..i64::try_from(LAPSING_EACH).unwrap()).map(lapses).collect();
        assert_eq!(u64::try_from(instants.len()).unwrap(), LAPSING_EACH);
        assert!(instants.iter().all(|at| *at < LAPSED_US));
    }
}
