//! What falls due of a member by itself: one thing after the other, the next looked for in all that the member has.

use std::collections::BTreeMap;

use stampbook::ledger::event::{Expiry, LOTS_MAX, LotId, Source, Standing};

use super::book::{Said, tell};
use super::dates::MINUTE;
use super::member::{Draft, Lot, Member};
use super::{Happened, Model, What, balanced, rewards};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    HoldEnded { op: usize },
    Matured { op: usize },
    Expired { source: Source, asset: u8, expiry: Expiry },
}

fn expired(lot: &Lot) -> Item {
    Item::Expired { source: lot.id.source, asset: lot.asset, expiry: lot.id.expiry }
}

/// Everything of a member that falls due at some instant, with the instant.
fn items(member: &Member) -> Vec<(i64, Item)> {
    let mut items = Vec::new();
    items.extend(member.holds.iter().map(|hold| (hold.until_us, Item::HoldEnded { op: hold.op })));
    for entry in &member.waiting {
        items.extend(entry.matures_us.map(|at_us| (at_us, Item::Matured { op: entry.op })));
    }
    for lot in with_free_units(member) {
        items.extend(member.lapses_us(lot.asset, lot.id).map(|at_us| (at_us, expired(lot))));
    }
    items
}

fn with_free_units(member: &Member) -> impl Iterator<Item = &Lot> {
    member.lots.iter().filter(|lot| member.free(lot.asset, lot.id) > 0)
}

/// What a closed member has left lapses at once, when nothing else is due.
fn left_by_closed(member: &Member, now_us: i64) -> Option<(i64, Item)> {
    let lots = with_free_units(member).filter(|_| member.standing == Standing::Closed);
    let first = lots.min_by_key(|lot| (lot.asset, lot.id))?;
    Some((now_us, expired(first)))
}

/// The instants at which something of a member falls due.
pub fn instants(member: &Member) -> impl Iterator<Item = i64> {
    items(member).into_iter().map(|(at_us, _)| at_us)
}

/// The two neighbours that are to be merged where an asset has too many lots.
fn neighbours(member: &Member) -> Option<(u8, LotId, LotId)> {
    let assets: Vec<u8> = (0..=u8::MAX)
        .filter(|asset| {
            let lots = member.lots.iter().filter(|lot| lot.asset == *asset && !lot.units.is_empty());
            lots.count() > LOTS_MAX
        })
        .collect();
    let asset = *assets.first()?;
    let mut dated: BTreeMap<_, Vec<(u32, LotId)>> = BTreeMap::new();
    for lot in member.lots.iter().filter(|lot| lot.asset == asset) {
        if let Expiry::At(minute) = lot.id.expiry {
            dated.entry(lot.id.source).or_default().push((minute, lot.id));
        }
    }
    let mut pairs = Vec::new();
    for lots in dated.values_mut() {
        lots.sort_unstable();
        for pair in lots.windows(2) {
            let ((first, earlier), (second, later)) = (pair[0], pair[1]);
            pairs.push((second - first, first, earlier, later));
        }
    }
    pairs.into_iter().min().map(|(_, _, earlier, later)| (asset, earlier, later))
}

/// The next thing that is due of a member by now, and what it does.
fn next(name: &str, member: &Member, op: usize, now_us: i64) -> Option<(Said, Draft)> {
    let due = items(member).into_iter().filter(|(at_us, _)| *at_us <= now_us).min();
    let due = due.or_else(|| left_by_closed(member, now_us));
    let crowded = if due.is_none() { neighbours(member) } else { None };
    if due.is_none() && crowded.is_none() {
        return None;
    }
    let mut draft = Draft::new(name, member.clone(), op, now_us);
    let mut said = Said::default();
    if let Some((asset, earlier, later)) = crowded {
        said.what = "merged".to_owned();
        merge(&mut draft, asset, earlier, later);
        return Some((said, draft));
    }
    match due {
        Some((at_us, Item::HoldEnded { op: of })) => {
            said.what = "hold ended".to_owned();
            tell(&mut said.more, "hold", of);
            tell(&mut said.more, "at", at_us);
            let at = draft.member.holds.iter().position(|hold| hold.op == of).unwrap();
            let hold = draft.member.holds.remove(at);
            rewards::back_on_the_shelf(&mut draft, &hold, hold.units());
            for (id, units) in hold.parts {
                draft.put_held(hold.asset, id, -units);
                draft.put_free(hold.asset, id, units);
            }
        }
        Some((at_us, Item::Matured { op: of })) => {
            said.what = "matured".to_owned();
            tell(&mut said.more, "earn", of);
            tell(&mut said.more, "at", at_us);
            // What lapsed while it waited enters its lot, and lapses next.
            for (asset, id, units) in available(&mut draft, of) {
                let rest = draft.settle(asset, units);
                draft.enter(asset, id, &[(of, rest)]);
                draft.put_free(asset, id, rest);
            }
        }
        Some((at_us, Item::Expired { source, asset, expiry })) => {
            let id = LotId { source, expiry };
            said.what = "expired".to_owned();
            tell(&mut said.more, "minute", at_us / MINUTE);
            let units = member.free(asset, id);
            let gone = draft.leave(asset, id, units);
            draft.put_free(asset, id, -units);
            draft.lapse(asset, &gone);
        }
        None => return None,
    }
    Some((said, draft))
}

/// Takes what is pending of an earn from where it waits, part after part.
fn available(draft: &mut Draft, earn: usize) -> Vec<(u8, LotId, i128)> {
    let at = draft.member.waiting.iter().position(|entry| entry.op == earn).unwrap();
    let entry = draft.member.waiting.remove(at);
    for (asset, id, units) in &entry.parts {
        draft.put_pending(*asset, *id, earn, -units);
    }
    entry.parts
}

/// Credits what is pending of an earn before its time, or without one; what of it had lapsed, by asset.
pub fn activate(draft: &mut Draft, earn: usize) -> BTreeMap<u8, i128> {
    let mut lapsed = BTreeMap::new();
    for (asset, id, units) in available(draft, earn) {
        *lapsed.entry(asset).or_default() += draft.credit(asset, id, units, earn);
    }
    lapsed
}

/// All units of a lot go into the later one, and what holds pin of them stays pinned there: no account of the member
/// changes, and the legs tell of the lots alone.
fn merge(draft: &mut Draft, asset: u8, earlier: LotId, later: LotId) {
    let all = draft.member.units(asset, earlier);
    for hold in draft.member.holds.iter_mut().filter(|hold| hold.asset == asset) {
        for part in hold.parts.iter_mut().filter(|part| part.0 == earlier) {
            part.0 = later;
        }
    }
    let units = draft.leave(asset, earlier, all);
    draft.enter(asset, later, &units);
    draft.put_free(asset, earlier, -all);
    draft.put_free(asset, later, all);
}

impl Model {
    /// Writes what is due of a member by now, until nothing is.
    pub fn fall_due(&mut self, program: usize, name: &str, now_us: i64) {
        let name = self.programs[program].root(name).to_owned();
        while self.one_falls_due(program, &name, now_us) {}
    }

    /// Writes what is due first of a member by now; whether anything was.
    pub fn one_falls_due(&mut self, program: usize, name: &str, now_us: i64) -> bool {
        let Some(member) = self.programs[program].members.get(name) else { return false };
        let op = self.history.len() + 1;
        let Some((mut said, draft)) = next(name, member, op, now_us) else { return false };
        said.legs.clone_from(&draft.legs);
        said.positions = draft.positions.clone();
        let touched = draft.touched.clone();
        let member = draft.finish();
        said.others = touched.into_iter().map(|asset| (asset, member.balances(asset))).collect();
        said.untils = member.untils.iter().map(|(asset, minute)| (*asset, i128::from(*minute))).collect();
        let program = &mut self.programs[program];
        balanced(said.legs.iter());
        program.post(&said.legs);
        program.put_member(name.to_owned(), member);
        let program = program.id.clone();
        self.keep(Happened {
            program,
            key: String::new(),
            body_hash: [0; 16],
            member: Some(name.to_owned()),
            reference: String::new(),
            what: What::Other,
        });
        self.said.push(said);
        true
    }
}
