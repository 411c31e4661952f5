//! What the ledger does by itself: what ends at an instant has ended for every decision, and here it is written down. A
//! pure function of the state and the book time, called before a command of the member is decided, after it, and by the
//! sweep, until nothing is due.

use smallvec::SmallVec;

use super::command::{Matures, Standing};
use super::event::{Account, Due, DueKind, Event, Expiry, LOTS_MAX, LotId};
use super::holding::{Hold, Holding, Lot, LotKey, MINUTE_US, Pending, instant_of};
use super::ids::{AssetNo, MemberNo, Op, ProgramNo};
use super::list::List;
use super::posting::Posting;
use super::reward::end_reserved;
use super::state::{Ledger, Moment, Program};

/// What falls due first.
enum First<'h> {
    Hold(&'h Hold),
    Pending(&'h Pending, i64),
    Lot(&'h Lot, u32),
    Merge(Lot, Lot),
}

/// The first of what has an instant that has come; at one instant holds end before units mature before lots lapse.
fn first_in_time(holding: &Holding, now_us: i64) -> Option<First<'_>> {
    let holds = holding.holds.iter().map(|hold| ((hold.until_us, 0_u8, hold.op, None), First::Hold(hold)));
    let pending = holding.pending.iter().filter_map(|pending| match pending.matures {
        Matures::At(instant) => Some(((instant, 1, pending.earn, None), First::Pending(pending, instant))),
        Matures::Activated => None,
    });
    let lots = holding.lots.iter().filter(|lot| holding.free_in(lot) > 0).filter_map(|lot| {
        let minute = holding.lapse_of(lot.key)?;
        let order = (lot.key.lot.source, lot.key.asset);
        Some(((instant_of(minute), 2, Op(0), Some(order)), First::Lot(lot, minute)))
    });
    let due = holds.chain(pending).chain(lots).filter(|(order, _)| order.0 <= now_us);
    due.min_by_key(|(order, _)| *order).map(|(_, first)| first)
}

/// Of an asset with more lots than it may have, the neighbours of one source that lie nearest to each other in time.
fn nearest_neighbours(holding: &Holding) -> Option<(Lot, Lot)> {
    if holding.lots.len() <= LOTS_MAX {
        return None;
    }
    // Lots lie in order of asset, source and date, so neighbours in time are neighbours in the list.
    let there: SmallVec<[Lot; 40]> = holding.lots.iter().filter(|lot| lot.units() > 0).copied().collect();
    let crowded = there.chunk_by(|a, b| a.key.asset == b.key.asset).find(|lots| lots.len() > LOTS_MAX)?;
    let gap = |pair: &[Lot]| match pair {
        [from, to] if from.key.lot.source == to.key.lot.source => match (from.key.lot.expiry, to.key.lot.expiry) {
            (Expiry::At(from_minute), Expiry::At(to_minute)) => {
                Some((to_minute.saturating_sub(from_minute), from_minute, from.key.lot.source, *from, *to))
            }
            _ => None,
        },
        _ => None,
    };
    let nearest = crowded.windows(2).filter_map(gap).min_by_key(|(gap, from, source, ..)| (*gap, *from, *source));
    nearest.map(|(_, _, _, from, to)| (from, to))
}

impl Ledger {
    /// What falls due of a member at a moment, the first of it: to be evolved, and asked again until there is nothing.
    #[must_use]
    pub fn due(&self, number: MemberNo, at: Moment) -> Option<Event<'static>> {
        if self.members.is_quiet(number, at.book_time_us)? {
            return None;
        }
        let program_no = self.members.program(number)?;
        let program = self.program(program_no)?;
        let holding = self.members.holding(number)?;
        let now_us = at.book_time_us;
        let closed = || {
            let lot = holding.lots.iter().find(|lot| holding.free_in(lot) > 0)?;
            let minute = u32::try_from(now_us.div_euclid(MINUTE_US)).unwrap_or(0);
            (holding.standing == Standing::Closed).then_some(First::Lot(lot, minute))
        };
        let merge = || nearest_neighbours(&holding).map(|(from, to)| First::Merge(from, to));
        let first = first_in_time(&holding, now_us).or_else(closed).or_else(merge)?;
        let posting = Posting::on(holding.clone(), at);
        let (kind, posting) = match first {
            First::Hold(hold) => end_hold(program, posting, hold)?,
            First::Pending(pending, instant) => mature(program, posting, pending, instant)?,
            First::Lot(lot, minute) => expire(program, posting, lot, holding.free_in(lot), minute)?,
            First::Merge(from, to) => merge_lots(posting, &from, &to)?,
        };
        Some(Event::Due(due_of(program_no, number, &holding, kind, posting)))
    }

    /// Whether nothing can be due of the member whose id has that hash, nor of nobody, told without a look at all that he owns.
    #[must_use]
    pub fn is_quiet(&self, member_hash: u128, now_us: i64) -> bool {
        let quiet = |number| self.members.is_quiet(number, now_us).unwrap_or(true);
        self.members.find(member_hash).is_none_or(quiet)
    }

    /// Whether a member is closed for good.
    #[must_use]
    pub fn is_closed(&self, number: MemberNo) -> bool {
        self.members.standing(number) == Some(Standing::Closed)
    }

    /// The first of two lots of a member that are to be merged, since an asset has more than [`LOTS_MAX`]: what an event
    /// may bring about, whatever the time.
    #[must_use]
    pub fn crowded(&self, number: MemberNo, at: Moment) -> Option<Event<'static>> {
        let program_no = self.members.program(number)?;
        if self.members.is_roomy(number) {
            return None;
        }
        let holding = self.members.holding(number)?;
        let (from, to) = nearest_neighbours(&holding)?;
        let (kind, posting) = merge_lots(Posting::on(holding.clone(), at), &from, &to)?;
        Some(Event::Due(due_of(program_no, number, &holding, kind, posting)))
    }

    /// Members of whom something is due at an instant, from `from` on: the first of them, and where to go on; `None`
    /// there at the end. It looks at `pages_max` pages of members at most.
    pub fn find_due(&mut self, from: MemberNo, now_us: i64, pages_max: usize) -> (Option<MemberNo>, Option<MemberNo>) {
        self.members.find_due(from, now_us, pages_max)
    }
}

fn due_of(program: ProgramNo, member: MemberNo, before: &Holding, kind: DueKind, posting: Posting) -> Due {
    let mut assets: SmallVec<[AssetNo; 2]> = posting.legs.iter().map(|leg| leg.asset).collect();
    assets.retain(|asset| *asset != AssetNo::PIECES);
    assets.sort_unstable();
    assets.dedup();
    let mut after = List::default();
    for asset in assets {
        // An earn awards in no more assets than the list holds.
        let _room = after.0.try_push(posting.holding.balances(asset));
    }
    let moves_lots = !matches!(kind, DueKind::HoldEnded { .. });
    Due {
        program,
        member,
        member_link: posting.op.distance_from(before.head),
        ends_link: if moves_lots { posting.op.distance_from(before.ends) } else { 0 },
        kind,
        after,
        legs: posting.legs,
    }
}

fn end_hold(program: &Program, mut posting: Posting, hold: &Hold) -> Option<(DueKind, Posting)> {
    for (lot, units) in &hold.parts {
        let units = i64::try_from(*units).unwrap_or(i64::MAX);
        posting.push(hold.asset, Account::Free { lot: *lot }, units);
        posting.push(hold.asset, Account::Held { lot: *lot, position: None }, -units);
    }
    end_reserved(program, &mut posting, hold, (0, hold.units())).ok()?;
    posting.holding.holds.retain(|open| open.op != hold.op);
    Some((DueKind::HoldEnded { hold_link: posting.op.distance_from(hold.op), ended_us: hold.until_us }, posting))
}

fn mature(program: &Program, mut posting: Posting, pending: &Pending, matured_us: i64) -> Option<(DueKind, Posting)> {
    let earn_link = posting.op.distance_from(pending.earn);
    posting.holding.pending.retain(|waiting| waiting.earn != pending.earn);
    // What lapsed while it waited enters its lot, and falls due next.
    posting.now_us = i64::MIN;
    let mut assets: SmallVec<[AssetNo; 2]> = pending.parts.iter().map(|(key, _)| key.asset).collect();
    assets.dedup();
    for asset in assets {
        let of_asset = pending.parts.iter().filter(|(key, _)| key.asset == asset);
        let parts: SmallVec<[(LotId, u64); 4]> = of_asset.map(|(key, units)| (key.lot, *units)).collect();
        for (lot, units) in &parts {
            posting.push(asset, Account::Pending { earn_link, lot: *lot }, i64::try_from(*units).ok()?.checked_neg()?);
        }
        posting.credit(program, asset, &parts, "").ok()?;
    }
    Some((DueKind::Matured { earn_link, matured_us }, posting))
}

fn expire(program: &Program, mut posting: Posting, lot: &Lot, units: u64, minute: u32) -> Option<(DueKind, Posting)> {
    let LotKey { asset, lot: id } = lot.key;
    let amount = i64::try_from(units).ok()?;
    let position = posting.holding.leave(lot.key, units)?;
    posting.push(asset, Account::Available { lot: id, position }, amount.checked_neg()?);
    posting.on_breakage(program, asset, amount);
    Some((DueKind::Expired { lapsed_min: minute }, posting))
}

fn merge_lots(mut posting: Posting, from: &Lot, to: &Lot) -> Option<(DueKind, Posting)> {
    let (units, asset) = (from.units(), from.key.asset);
    let amount = i64::try_from(units).ok()?;
    let left = posting.holding.leave(from.key, units)?;
    let entered = posting.holding.enter(to.key, units, posting.op)?;
    posting.push(asset, Account::Available { lot: from.key.lot, position: left }, amount.checked_neg()?);
    posting.push(asset, Account::Available { lot: to.key.lot, position: entered }, amount);
    Some((DueKind::LotsMerged, posting))
}
