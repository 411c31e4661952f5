//! Two members who become one.

use stampbook::ledger::command::{Action, Standing};
use stampbook::ledger::event::{LEGS_MAX, LotId};
use stampbook::ledger::reason::Reason;

use super::book::Said;
use super::earns::PENDING_MAX;
use super::holds::HOLDS_MAX;
use super::member::{Draft, Lot};
use super::profiles::TAGS_MAX;
use super::{Case, Counterpart, Decided, Refusal, What};

/// Ids that may lead to one member, beside his own.
const ALIASES_MAX: usize = 1_000;

/// Decides a merge: all that the member has and owes, and what he is, becomes another's.
pub fn merge(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Merge { into, .. } = &case.command.action else { unreachable!() };
    let too_large = (Reason::MergeTooLarge, "merge.into");
    let stays = case.program.root(&into.id).to_owned();
    if !case.program.members.contains_key(&stays) {
        return Err((Reason::MemberUnknown, "merge.into"));
    }
    if case.draft.name == stays {
        return Err((Reason::SelfTransfer, "merge.into"));
    }
    if case.draft.name != case.command.member {
        return Err((Reason::MemberMerged, "member"));
    }
    let mut other = Draft::new(&stays, case.program.member(&stays), case.draft.op, case.now_us);
    if case.draft.member.standing == Standing::Closed {
        return Err((Reason::MemberClosed, "member"));
    }
    if other.member.standing == Standing::Closed {
        return Err((Reason::MemberClosed, "merge.into"));
    }
    let leads_there = |id: &&String| [&stays, &case.draft.name].contains(&&case.program.root(id).to_owned());
    if case.program.merged.keys().filter(leads_there).count() >= ALIASES_MAX {
        return Err((Reason::AliasesFull, "merge.into"));
    }
    let (goer, stayer) = (&case.draft.member, &other.member);
    if goer.holds.len() + stayer.holds.len() > HOLDS_MAX
        || goer.waiting.len() + stayer.waiting.len() > PENDING_MAX
        || goer.tags.union(&stayer.tags).count() > TAGS_MAX
    {
        return Err(too_large);
    }
    let mut count = Count::default();
    move_what_he_is(&mut case.draft, &mut other);
    move_units(&mut case.draft, &mut other, &mut count);
    move_waiting(&mut case.draft, &mut other, &mut count);
    if count.own > LEGS_MAX || count.other > LEGS_MAX {
        return Err(too_large);
    }
    // The event tells on the other's side of everything that moved.
    other.touched.extend(case.draft.touched.iter());
    let said = Said { what: "members merged".to_owned(), ..Said::default() };
    let other = Some(Counterpart { program: case.number, draft: other });
    Ok(Decided { other, ..case.decided(said, What::Merged { into: stays })? })
}

/// The legs of an event, of which it has only so many on each side.
#[derive(Default)]
struct Count {
    own: usize,
    other: usize,
}

/// What becomes of the one who stays beside units.
fn move_what_he_is(own: &mut Draft, other: &mut Draft) {
    let (goer, stayer) = (&mut own.member, &mut other.member);
    for (asset, until) in &goer.untils {
        let known = stayer.untils.entry(*asset).or_default();
        *known = *until.max(known);
    }
    for (of, units) in std::mem::take(&mut goer.lapsed) {
        *stayer.lapsed.entry(of).or_default() += units;
    }
    stayer.tags.append(&mut goer.tags);
    stayer.joined = [goer.joined.take(), stayer.joined].into_iter().flatten().min();
    if goer.standing == Standing::Frozen {
        stayer.standing = Standing::Frozen;
    }
}

/// Moves what lots hold, and what is owed: what is free of it settles the debt of both first, in the order in which it would
/// be spent, and what the other has settles what it leaves of the debt that came to him.
fn move_units(own: &mut Draft, other: &mut Draft, count: &mut Count) {
    for asset in 0..=u8::MAX {
        let (brought, known) = (own.member.debt(asset), other.member.debt(asset));
        let lots: Vec<Lot> = own.member.lots.iter().filter(|lot| lot.asset == asset).cloned().collect();
        if brought == 0 && lots.is_empty() {
            continue;
        }
        let in_order = own.member.spending_order(asset);
        let mut owed = brought + known;
        let paid: Vec<(LotId, i128)> = in_order
            .into_iter()
            .map(|id| {
                let pays = own.member.free(asset, id).min(owed);
                owed -= pays;
                (id, pays)
            })
            .collect();
        let from_stock = other.spend(asset, owed.min(brought));
        count.other += from_stock.len();
        owed -= from_stock.iter().map(|(_, units)| units).sum::<i128>();
        own.owe(asset, -brought);
        other.owe(asset, owed - known);
        count.own += usize::from(brought != 0);
        count.other += usize::from(owed != known);
        for lot in lots.iter().filter(|lot| !lot.units.is_empty()) {
            let pays = paid.iter().find(|(id, _)| *id == lot.id).map_or(0, |(_, pays)| *pays);
            move_lot(own, other, lot, pays, count);
        }
    }
    let holds = std::mem::take(&mut own.member.holds);
    other.member.holds.extend(holds);
    other.member.holds.sort_by_key(|hold| hold.op);
}

/// Moves a lot but for its first units, which pay debts; what is pinned of it stays pinned.
fn move_lot(own: &mut Draft, other: &mut Draft, lot: &Lot, pays: i128, count: &mut Count) {
    let (asset, id) = (lot.asset, lot.id);
    let (all, held) = (own.member.units(asset, id), own.member.held(asset, id));
    own.leave(asset, id, pays);
    let rest = own.leave(asset, id, all - pays);
    other.enter(asset, id, &rest);
    own.put_free(asset, id, held - all);
    own.put_held(asset, id, -held);
    other.put_free(asset, id, all - pays - held);
    other.put_held(asset, id, held);
    let pinned = if held > 0 { 2 } else { 0 };
    count.own += 1 + pinned;
    count.other += usize::from(all > pays) + pinned;
}

fn move_waiting(own: &mut Draft, other: &mut Draft, count: &mut Count) {
    for entry in std::mem::take(&mut own.member.waiting) {
        for (asset, id, units) in &entry.parts {
            own.put_pending(*asset, *id, entry.op, -units);
            other.put_pending(*asset, *id, entry.op, *units);
            count.own += 1;
            count.other += 1;
        }
        other.member.waiting.push(entry);
    }
    other.member.waiting.sort_by_key(|entry| entry.op);
}
