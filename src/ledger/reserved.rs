//! Pieces that holds reserve, and whose they are once a hold is over: anybody's. Who asks for more pieces than are left finds
//! the holds that stand in the way, and their ends are booked before it is decided.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{Action, AdminAction, AdminCommand, Command};
use super::event::Event;
use super::holding::Hold;
use super::ids::{MemberNo, Op, ProgramNo, RewardNo};
use super::state::{Ledger, Moment};

/// Holds that reserve pieces of a program's rewards, by reward in the order in which they end. It follows from what members have,
/// so no image holds it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reservations(BTreeSet<(RewardNo, i64, Op, MemberNo)>);

impl Reservations {
    /// Follows the holds of a member from what they were to what they are.
    pub(super) fn follow(&mut self, member: MemberNo, before: &[Hold], after: &[Hold]) {
        let reserving = |hold: &Hold| Some((hold.reward?.0, hold.until_us, hold.op, member));
        for gone in before.iter().filter_map(reserving) {
            self.0.remove(&gone);
        }
        self.0.extend(after.iter().filter_map(reserving));
    }

    /// Of the holds on a reward that are over at an instant the one that ended first: the member whose it is.
    fn first_over(&self, reward: RewardNo, now_us: i64) -> Option<MemberNo> {
        let mut of_reward = self.0.range((reward, i64::MIN, Op(0), MemberNo(0))..);
        let (_, _, _, member) = of_reward.next().filter(|(of, until_us, ..)| *of == reward && *until_us <= now_us)?;
        Some(*member)
    }
}

impl Hold {
    /// The reward whose pieces the hold reserves, and how many.
    pub(crate) fn reserves(&self) -> Option<(RewardNo, u64)> {
        let (reward, price) = self.reward?;
        Some((reward, self.units().checked_div(price)?))
    }
}

/// What members' holds reserve, gathered from the members.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    pieces: BTreeMap<(ProgramNo, RewardNo), i128>,
    holds: BTreeMap<ProgramNo, Reservations>,
}

impl Reserved {
    pub(super) fn add(&mut self, program: ProgramNo, member: MemberNo, holds: &[Hold]) {
        for (reward, pieces) in holds.iter().filter_map(Hold::reserves) {
            *self.pieces.entry((program, reward)).or_default() += i128::from(pieces);
        }
        if !holds.is_empty() {
            self.holds.entry(program).or_default().follow(member, &[], holds);
        }
    }
}

/// Pieces of a reward that are to be taken from those that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    program: ProgramNo,
    reward: RewardNo,
    pieces: u64,
}

/// What commands want together that are decided one after another.
#[derive(Debug, Default)]
pub struct WantedSoFar(BTreeMap<(ProgramNo, RewardNo), u64>);

impl WantedSoFar {
    /// Adds what the next command wants; how many pieces of the reward that makes in all.
    pub fn add(&mut self, wanted: Wanted) -> Wanted {
        let pieces = self.0.entry((wanted.program, wanted.reward)).or_default();
        *pieces = pieces.saturating_add(wanted.pieces);
        Wanted { pieces: *pieces, ..wanted }
    }
}

impl Ledger {
    /// The pieces that a command wants; of a checkout ask its parts.
    #[must_use]
    pub fn wanted(&self, command: &Command) -> Option<Wanted> {
        let (Action::Claim { sku, pieces, .. } | Action::Reserve { sku, pieces, .. }) = &command.action else {
            return None;
        };
        let (reward, _) = self.program(command.program)?.reward_named(sku)?;
        Some(Wanted { program: command.program, reward, pieces: *pieces })
    }

    /// The pieces that an operator's command takes out of a stock; more than there can be where it wants none to be reserved, since
    /// the reward is to be paid in another asset.
    #[must_use]
    pub fn wanted_by_operator(&self, command: &AdminCommand) -> Option<Wanted> {
        let AdminAction::PutReward { sku, asset, stocked, .. } = &command.action else { return None };
        let number = self.program_number(&command.program_id)?;
        let program = self.program(number)?;
        let (reward, known) = program.reward_named(sku)?;
        let pieces = match program.newest()?.asset(known.asset).is_some_and(|paid_in| paid_in.id == *asset) {
            true => stocked.saturating_neg().try_into().ok()?,
            false => u64::MAX,
        };
        Some(Wanted { program: number, reward, pieces })
    }

    /// What falls due first of the member whose hold is over and reserves pieces that are wanted: to be evolved, and asked again until
    /// there is nothing: either enough are left by then, or none is reserved by a hold that is over.
    #[must_use]
    pub fn due_for(&self, wanted: Wanted, at: Moment) -> Option<Event<'static>> {
        let Wanted { program, reward, pieces } = wanted;
        let program = self.program(program)?;
        let left = u64::try_from(program.reward(reward)?.stock.balance).unwrap_or(0);
        let member = program.rewards.reserving.first_over(reward, at.book_time_us).filter(|_| left < pieces)?;
        self.due(member, at)
    }

    /// Whether so many pieces as the members' holds reserve stand on the rewards' accounts, and the holds are known in the order in
    /// which they end.
    ///
    /// # Errors
    /// A sentence that names program and reward.
    pub(super) fn check_reserved(&self, found: &Reserved) -> Result<(), String> {
        let none = Reservations::default();
        for (number, program) in (0..=u16::MAX).map(ProgramNo).zip(&self.programs) {
            for (place, reward) in (0..=u16::MAX).map(RewardNo).zip(program.rewards.list()) {
                let held = found.pieces.get(&(number, place)).copied().unwrap_or_default();
                if held != i128::from(reward.reserved.balance) {
                    let (sku, id) = (&reward.sku, &program.id);
                    return Err(format!("the holds of program {id} reserve other pieces of {sku} than its account"));
                }
            }
            if found.holds.get(&number).unwrap_or(&none) != &program.rewards.reserving {
                return Err(format!(
                    "the holds of program {} that reserve pieces are others than is known",
                    program.id
                ));
            }
        }
        Ok(())
    }
}
