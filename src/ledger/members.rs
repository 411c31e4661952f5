//! Members by id and by number, in pages: who they are, written once, apart from what they own, which changes all the
//! time. Pages never move, so growth holds nothing up. A page knows whether it changed since the last capture, and keeps
//! what stood in it while a capture still has to copy it.

use std::collections::{HashMap, HashSet};

use arrayvec::ArrayVec;

use super::aliases::Aliases;
use super::capture::Pending;
use super::command::Standing;
use super::event::LOTS_MAX;
use super::holding::{Holding, Lot};
use super::ids::{MemberNo, Op, ProgramNo};
use super::index::Index;
use super::slot::{LOTS_IN_PLACE, Slot};
use super::state::{CapKey, ProgramSpan};

/// Members of a page.
pub const MEMBERS_PER_PAGE: usize = 512;
/// Bytes of an id at most, so that where the ids of a page end fits 16 bits.
pub const ID_BYTES_MAX: usize = 127;
const _: () = assert!(MEMBERS_PER_PAGE * ID_BYTES_MAX <= 0xffff, "an end fits 16 bits");
/// What a page's text grows by.
const TEXT_STEP_BYTES: usize = 2_048;

/// The ids of a page in one text, and where each ends in it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) text: Vec<u8>,
    pub(crate) ends: Vec<u16>,
    pub(crate) changed: bool,
}

impl Names {
    fn push(&mut self, id: &str) -> Option<()> {
        let end = u16::try_from(self.text.len().checked_add(id.len())?).ok()?;
        if self.text.capacity() < usize::from(end) {
            self.text.reserve_exact(TEXT_STEP_BYTES.max(id.len()));
        }
        if self.ends.capacity() == 0 {
            self.ends.reserve_exact(MEMBERS_PER_PAGE);
        }
        self.text.extend_from_slice(id.as_bytes());
        self.ends.push(end);
        if self.ends.len() == MEMBERS_PER_PAGE {
            self.text.shrink_to_fit();
        }
        Some(())
    }

    fn pop(&mut self) {
        self.ends.pop();
        self.text.truncate(self.ends.last().copied().map_or(0, usize::from));
    }

    fn get(&self, place: usize) -> Option<&str> {
        let start = place.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied().map(usize::from))?;
        let id = self.text.get(start..usize::from(*self.ends.get(place)?))?;
        std::str::from_utf8(id).ok()
    }
}

/// What the members of a page own, but for the counters of their caps.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) slots: Vec<Slot>,
    pub(crate) changed: bool,
    pub(crate) pending: Pending,
    /// Nothing of its members falls due before this instant, in microseconds since the Unix epoch.
    due_us: i64,
}

/// The members of all programs.
#[derive(Debug)]
pub(crate) struct Members {
    numbers: Index,
    pub(crate) names: Vec<Names>,
    pub(crate) pages: Vec<Page>,
    /// The counters of the caps of each page's members.
    pub(crate) caps: Vec<HashMap<CapKey, u64>>,
    count: usize,
    caps_count: usize,
    /// How many of the counters are of each span, so that what is over is known without a look at all of them.
    caps_by_span: HashMap<ProgramSpan, usize>,
    /// Bytes of what members own beside their slots.
    beside_bytes: usize,
    /// Bytes of the pre-images that pages keep for a capture.
    pub(crate) log_bytes: usize,
    /// Members who went into others.
    pub(crate) aliases: Aliases,
}

/// Where a member lies: page and place in it.
fn place(number: MemberNo) -> (usize, usize) {
    let number = usize::try_from(number.0).unwrap_or(usize::MAX);
    (number / MEMBERS_PER_PAGE, number % MEMBERS_PER_PAGE)
}

fn number_of(page: usize, slot: usize) -> Option<MemberNo> {
    u32::try_from(page * MEMBERS_PER_PAGE + slot).ok().map(MemberNo)
}

impl Members {
    pub(crate) fn new() -> Self {
        Self::with_room(0)
    }

    /// Members of whom `count` are expected.
    pub(crate) fn with_room(count: usize) -> Self {
        Self {
            numbers: Index::with_room(count),
            names: Vec::new(),
            pages: Vec::new(),
            caps: Vec::new(),
            count: 0,
            caps_count: 0,
            caps_by_span: HashMap::new(),
            beside_bytes: 0,
            log_bytes: 0,
            aliases: Aliases::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The number that the next member gets; `None` where numbers are used up.
    pub(crate) fn next(&self) -> Option<MemberNo> {
        u32::try_from(self.count).ok().filter(|number| *number < u32::MAX).map(MemberNo)
    }

    pub(crate) fn touch(&self, hash: u128) {
        self.numbers.touch(hash);
    }

    /// Asks for what the member owns, see [`super::near::ask`].
    pub(crate) fn touch_number(&self, number: MemberNo) {
        let (page, place) = place(number);
        if let Some(slot) = self.pages.get(page).and_then(|page| page.slots.get(place)) {
            slot.touch();
        }
    }

    /// The member whom an id leads to.
    pub(crate) fn find(&self, hash: u128) -> Option<MemberNo> {
        self.find_own(hash).map(|number| self.aliases.root(number))
    }

    /// The member whom an event opened under an id, even if he went into another since.
    pub(crate) fn find_own(&self, hash: u128) -> Option<MemberNo> {
        self.numbers.get(hash).and_then(|value| value.checked_sub(1)).map(MemberNo)
    }

    /// Opens a member; `None` where the hash has one already or the id is too long.
    pub(crate) fn open(&mut self, program: ProgramNo, hash: u128, id: &str) -> Option<MemberNo> {
        let number = self.next().filter(|_| id.len() <= ID_BYTES_MAX)?;
        if !self.numbers.insert(hash, number.0 + 1) {
            return None;
        }
        if self.count.is_multiple_of(MEMBERS_PER_PAGE) {
            self.names.push(Names::default());
            let slots = Vec::with_capacity(MEMBERS_PER_PAGE);
            self.pages.push(Page { slots, changed: false, pending: Pending::No, due_us: i64::MAX });
            self.caps.push(HashMap::new());
        }
        let (names, page) = (self.names.last_mut()?, self.pages.last_mut()?);
        names.push(id)?;
        names.changed = true;
        page.slots.push(Slot::new(program));
        page.changed = true;
        self.count += 1;
        Some(number)
    }

    /// Takes the newest member, whose id has that hash, away again: for an atomic batch that is undone.
    pub(crate) fn close_newest(&mut self, hash: u128) {
        let (Some(names), Some(page)) = (self.names.last_mut(), self.pages.last_mut()) else { return };
        names.pop();
        page.slots.pop();
        self.count -= 1;
        self.numbers.remove(hash);
        if self.count.is_multiple_of(MEMBERS_PER_PAGE) {
            self.names.pop();
            self.pages.pop();
            self.caps.pop();
        }
    }

    pub(crate) fn id(&self, number: MemberNo) -> Option<&str> {
        let (page, place) = place(number);
        self.names.get(page)?.get(place)
    }

    pub(crate) fn program(&self, number: MemberNo) -> Option<ProgramNo> {
        self.slot(number).map(Slot::program)
    }

    pub(crate) fn holding(&self, number: MemberNo) -> Option<Holding> {
        self.slot(number).map(Slot::holding)
    }

    fn slot(&self, number: MemberNo) -> Option<&Slot> {
        let (page, place) = place(number);
        self.pages.get(page)?.slots.get(place)
    }

    /// Writes what a member owns; `None` for a number that no member has.
    pub(crate) fn set_holding(&mut self, number: MemberNo, holding: &Holding) -> Option<()> {
        let (page, place) = place(number);
        let page = self.pages.get_mut(page)?;
        let slot = page.slots.get_mut(place)?;
        page.changed = true;
        self.log_bytes += page.pending.keep_slot(place, slot);
        let before = slot.bytes_beside();
        slot.set(holding);
        self.beside_bytes = (self.beside_bytes + slot.bytes_beside()).saturating_sub(before);
        page.due_us = page.due_us.min(holding.next_due_us());
        Some(())
    }

    /// The program, the newest event and the lots of a member who has nothing else; see [`Slot::plain`].
    pub(crate) fn plain(&self, number: MemberNo) -> Option<(ProgramNo, Op, ArrayVec<Lot, LOTS_IN_PLACE>)> {
        let slot = self.slot(number)?;
        slot.plain().map(|(head, lots)| (slot.program(), head, lots))
    }

    /// Writes the newest event and the lots of such a member; `None` for a number that no member has.
    pub(crate) fn set_plain(&mut self, number: MemberNo, head: Op, lots: &ArrayVec<Lot, LOTS_IN_PLACE>) -> Option<()> {
        let (page, place) = place(number);
        let page = self.pages.get_mut(page)?;
        let slot = page.slots.get_mut(place)?;
        page.changed = true;
        self.log_bytes += page.pending.keep_slot(place, slot);
        slot.set_plain(head, lots);
        page.due_us = page.due_us.min(slot.next_due_us());
        Some(())
    }

    /// The first member from `from` on of whom something is due at an instant, looking at no more than `pages_max` pages
    /// that may hold one; and where to go on, `None` at the end.
    pub(crate) fn find_due(
        &mut self,
        from: MemberNo,
        now_us: i64,
        pages_max: usize,
    ) -> (Option<MemberNo>, Option<MemberNo>) {
        let (first, mut start) = place(from);
        let mut looked = 0;
        for (number, page) in self.pages.iter_mut().enumerate().skip(first) {
            if page.due_us > now_us {
                start = 0;
                continue;
            }
            if looked == pages_max {
                return (None, number_of(number, 0));
            }
            looked += 1;
            let mut slots = page.slots.iter().enumerate().skip(start);
            if let Some((slot, _)) = slots.find(|(_, slot)| slot.next_due_us() <= now_us) {
                return (number_of(number, slot), number_of(number, slot + 1));
            }
            if start == 0 {
                page.due_us = page.slots.iter().map(Slot::next_due_us).min().unwrap_or(i64::MAX);
            }
            start = 0;
        }
        (None, None)
    }

    /// Whether nothing can be due of a member at an instant, told without a look at all that he owns; `None` for a number
    /// that no member has.
    pub(crate) fn is_quiet(&self, number: MemberNo, now_us: i64) -> Option<bool> {
        self.slot(number).map(|slot| slot.is_quiet(now_us))
    }

    pub(crate) fn standing(&self, number: MemberNo) -> Option<Standing> {
        self.slot(number).map(Slot::standing)
    }

    /// Bytes of what members own beside their slots.
    pub(crate) fn beside_bytes(&self) -> usize {
        self.beside_bytes
    }

    /// Whether a member has no more lots than one asset may have.
    pub(crate) fn is_roomy(&self, number: MemberNo) -> bool {
        self.slot(number).is_none_or(|slot| slot.lots_len() <= LOTS_MAX)
    }

    /// The counter of a cap.
    pub(crate) fn cap(&self, key: &CapKey) -> Option<u64> {
        self.caps.get(place(key.0).0)?.get(key).copied()
    }

    /// The counters of a member's caps.
    pub(crate) fn caps_of_member(&self, member: MemberNo) -> Vec<(CapKey, u64)> {
        let Some(caps) = self.caps.get(place(member).0) else { return Vec::new() };
        let mut of_member: Vec<_> =
            caps.iter().filter(|(key, _)| key.0 == member).map(|(key, used)| (*key, *used)).collect();
        of_member.sort_unstable();
        of_member
    }

    /// How many counters of caps there are.
    pub(crate) fn caps_len(&self) -> usize {
        self.caps_count
    }

    /// How many of them are of such spans.
    pub(crate) fn caps_of(&self, such: impl Fn(ProgramSpan) -> bool) -> usize {
        self.caps_by_span.iter().filter(|(span, _)| such(**span)).map(|(_, count)| count).sum()
    }

    /// Sets the counter of a cap, or forgets it.
    pub(crate) fn set_cap(&mut self, key: CapKey, used: Option<u64>) {
        let (number, slot) = place(key.0);
        let (Some(caps), Some(page)) = (self.caps.get_mut(number), self.pages.get_mut(number)) else { return };
        let Some(program) = page.slots.get(slot).map(Slot::program) else { return };
        let before = match used {
            Some(used) => caps.insert(key, used),
            None => caps.remove(&key),
        };
        self.caps_count = self.caps_count + usize::from(used.is_some()) - usize::from(before.is_some());
        if used.is_some() != before.is_some() {
            let count = self.caps_by_span.entry((program, key.1, key.2)).or_default();
            *count = *count + usize::from(used.is_some()) - usize::from(before.is_some());
        }
        page.changed = true;
        self.log_bytes += page.pending.keep_cap(key, before);
    }

    /// Forgets the counters of the spans that are over.
    pub(crate) fn sweep_caps(&mut self, is_over: impl Fn(ProgramSpan) -> bool) {
        let mut over = HashSet::new();
        self.caps_by_span.retain(|span, count| {
            if *count > 0 && is_over(*span) {
                over.insert(*span);
                self.caps_count -= *count;
                *count = 0;
            }
            *count > 0
        });
        if over.is_empty() {
            return;
        }
        for (caps, page) in self.caps.iter_mut().zip(&mut self.pages).filter(|(caps, _)| !caps.is_empty()) {
            let Page { slots, changed, pending, .. } = page;
            let log_bytes = &mut self.log_bytes;
            caps.retain(|key, used| {
                let program = slots.get(place(key.0).1).map(Slot::program);
                let kept = program.is_none_or(|program| !over.contains(&(program, key.1, key.2)));
                if !kept {
                    *changed = true;
                    *log_bytes += pending.keep_cap(*key, Some(*used));
                }
                kept
            });
        }
    }

    /// Every member, in order of their numbers: program and holding.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProgramNo, Holding)> {
        self.pages.iter().flat_map(|page| &page.slots).map(|slot| (slot.program(), slot.holding()))
    }

    /// Bytes of the index of ids, of the ids, of what members own, and of the counters of caps.
    pub(crate) fn bytes(&self) -> (usize, usize, usize, usize) {
        let names = |names: &Names| names.text.capacity() + 2 * names.ends.capacity() + size_of::<Names>();
        let slots = |page: &Page| page.slots.capacity() * size_of::<Slot>() + size_of::<Page>();
        // A map keeps a byte beside each entry, and is at most seven eighths full.
        let caps = |caps: &HashMap<CapKey, u64>| {
            caps.capacity() / 7 * 8 * (size_of::<(CapKey, u64)>() + 1) + size_of::<HashMap<CapKey, u64>>()
        };
        (
            self.numbers.bytes() + self.aliases.bytes(),
            self.names.iter().map(names).sum(),
            self.pages.iter().map(slots).sum::<usize>() + self.beside_bytes,
            self.caps.iter().map(caps).sum(),
        )
    }
}
