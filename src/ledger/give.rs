//! Giving units to another member of the program, with their dates.

use smallvec::SmallVec;

use super::command::{Command, Named};
use super::decide::{AMOUNT, ASSET, Halt, OTHER, asset_of, common_of, may};
use super::event::{Account, Event, Expiry, LotId, Other, Source, Transferred};
use super::holding::{Holding, instant_of};
use super::ids::{AssetNo, MemberNo, MemberRef};
use super::posting::Posting;
use super::reason::Reason;
use super::spec::AssetKind;
use super::state::{Ledger, Moment};

impl Ledger {
    pub(super) fn transfer<'c>(
        &self,
        command: &'c Command,
        to: &'c Named,
        (asset, wanted): (AssetNo, u64),
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, _) = self.admit(command, at)?;
        if !matches!(asset_of(version, asset, ASSET)?.kind, AssetKind::Spendable | AssetKind::Entitlement) {
            return Err((Reason::AssetKindMismatch, ASSET).into());
        }
        let (member, mut posting) = self.posting_of(command, known, at)?;
        may(&posting.holding, true)?;
        if self.members.find(to.hash) == known {
            return Err((Reason::SelfTransfer, OTHER).into());
        }
        let (receiver, mut received) = self.receiving(to, at)?;
        if posting.debit(asset, wanted, &[], false) > 0 {
            return Err((Reason::InsufficientPoints, AMOUNT).into());
        }
        let given = given_lots(&posting);
        let rolls: Vec<_> =
            roll_with(&posting.holding, &mut received, asset, &given).map(|until| (asset, until)).into_iter().collect();
        received.credit(program, asset, &given, AMOUNT)?;
        let common = common_of(command, member, &posting, at);
        let other = Box::new(Other {
            program: command.program,
            member: receiver,
            member_link: at.op.distance_from(received.holding.head),
            after: vec![received.holding.balances(asset)],
            rolls,
            legs: received.legs_checked(AMOUNT)?,
        });
        let legs = posting.legs_checked(AMOUNT)?;
        Ok(Event::Transferred(Transferred { common, asset, units: wanted, other, legs }))
    }

    /// The posting on a member who is given units: whoever is unknown is created, and whoever is closed takes nothing.
    pub(super) fn receiving<'c>(&self, to: &'c Named, at: Moment) -> Result<(MemberRef<'c>, Posting), Halt> {
        self.takes_lots()?;
        let (member, posting) = self.posting_for(&to.id, self.members.find(to.hash), at)?;
        may(&posting.holding, false).map_err(|(reason, _)| (reason, OTHER))?;
        Ok((member, posting))
    }
}

/// The receiver's lots for what left the giver's, in the order in which it left them.
fn given_lots(posting: &Posting) -> SmallVec<[(LotId, u64); 4]> {
    let lot = |leg: &super::event::Leg| match leg.account {
        Account::Available { lot, .. } => {
            Some((LotId { source: Source::Transferred, ..lot }, leg.amount.unsigned_abs()))
        }
        _ => None,
    };
    posting.legs.iter().filter_map(lot).collect()
}

/// Until when the receiver's rolling units live where rolling ones are given: as long as those that he has and that live still,
/// else as long as the giver's. `None` where nothing rolls, or nothing changes.
fn roll_with(giver: &Holding, received: &mut Posting, asset: AssetNo, given: &[(LotId, u64)]) -> Option<u32> {
    given.iter().find(|(lot, _)| lot.expiry == Expiry::Rolling)?;
    let own = received.holding.rolls_until(asset);
    let rolling = |key: super::holding::LotKey| key.asset == asset && key.lot.expiry == Expiry::Rolling;
    let has = received.holding.lots.iter().any(|lot| rolling(lot.key) && lot.units() > 0);
    if has && own.is_some_and(|until| instant_of(until) > received.now_us) {
        return None;
    }
    let until = giver.rolls_until(asset).max(own)?;
    received.holding.set_roll(asset, until);
    Some(until).filter(|until| Some(*until) != own)
}
