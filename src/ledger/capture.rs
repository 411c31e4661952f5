//! A view of the state at one op, taken while the state goes on. [`Ledger::begin_capture`] stops nothing: pages are
//! copied a few at a time, and a slot that changes before its page was copied leaves its pre-image first. Whoever gets
//! the copies makes the images, on another thread.

use std::collections::HashMap;

use super::ids::{Op, ProgramNo};
use super::image::{PageId, PageKind, state_hash_of, write_holdings, write_names};
use super::members::{MEMBERS_PER_PAGE, Members};
use super::slot::Slot;
use super::state::{CapKey, Ledger};

/// What a page still owes to a capture.
#[derive(Debug)]
pub(crate) enum Pending {
    /// Nothing.
    No,
    /// Its copy, of so many members; nothing changed so far.
    Clean(usize),
    /// Its copy, and what stood in it before it changed.
    Log(Box<PreImages>),
}

/// What stood in a page when the capture began, where that is no longer so.
#[derive(Debug)]
pub(crate) struct PreImages {
    members: usize,
    /// A bit for each slot that is kept.
    kept: [u64; MEMBERS_PER_PAGE / 64],
    slots: Vec<(usize, Slot)>,
    /// Counters of caps before each change, in order.
    caps: Vec<(CapKey, Option<u64>)>,
}

impl Pending {
    fn log(&mut self) -> Option<&mut PreImages> {
        if let Self::Clean(members) = *self {
            let kept = [0; MEMBERS_PER_PAGE / 64];
            *self = Self::Log(Box::new(PreImages { members, kept, slots: Vec::new(), caps: Vec::new() }));
        }
        match self {
            Self::Log(log) => Some(log),
            _ => None,
        }
    }

    /// Keeps what stands in a slot that is about to change. Returns the bytes that it took.
    pub(crate) fn keep_slot(&mut self, place: usize, slot: &Slot) -> usize {
        let Some(log) = self.log() else { return 0 };
        let Some(bits) = log.kept.get_mut(place / 64).filter(|_| place < log.members) else { return 0 };
        let bit = 1 << (place % 64);
        if *bits & bit > 0 {
            return 0;
        }
        *bits |= bit;
        // The bytes of the copy, which are those that are given back when it goes.
        let copy = slot.clone();
        let bytes = size_of::<(usize, Slot)>() + copy.bytes_beside();
        log.slots.push((place, copy));
        bytes
    }

    /// Keeps what a counter was before it changed. Returns the bytes that it took.
    pub(crate) fn keep_cap(&mut self, key: CapKey, before: Option<u64>) -> usize {
        let Some(log) = self.log() else { return 0 };
        log.caps.push((key, before));
        size_of::<(CapKey, Option<u64>)>()
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Log(log) => {
                let beside: usize = log.slots.iter().map(|(_, slot)| slot.bytes_beside()).sum();
                log.slots.len() * size_of::<(usize, Slot)>()
                    + beside
                    + log.caps.len() * size_of::<(CapKey, Option<u64>)>()
            }
            _ => 0,
        }
    }
}

/// What a capture begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The op whose state it is.
    pub op: Op,
    /// The base image.
    pub base: Vec<u8>,
    /// Pages of each kind.
    pub pages: u32,
    /// The pages to be copied, ascending: those that changed since the last capture began, or all.
    pub changed: Vec<PageId>,
}

/// A capture under way.
#[derive(Debug)]
pub(crate) struct Capture {
    pages: Vec<PageId>,
    next: usize,
    /// Members when it began.
    members: usize,
}

/// A page as it stood when the capture began, not yet encoded.
#[derive(Debug)]
pub struct PageCopy {
    id: PageId,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Names { text: Vec<u8>, ends: Vec<u16>, programs: Vec<ProgramNo> },
    Holdings { slots: Vec<Slot>, caps: Vec<(CapKey, u64)>, log: Option<Box<PreImages>> },
}

impl PageCopy {
    /// Which page it is.
    #[must_use]
    pub fn id(&self) -> PageId {
        self.id
    }

    /// Appends the page's image: the same bytes for the same content, however it was come by.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.content {
            Content::Names { text, ends, programs } => {
                let starts = std::iter::once(0).chain(ends.iter().copied().map(usize::from));
                let id = |(start, end): (usize, &u16)| text.get(start..usize::from(*end)).unwrap_or_default();
                write_names(ends.len(), programs.iter().copied().zip(starts.zip(ends).map(id)), out);
            }
            Content::Holdings { slots, caps, log: None } => write_holdings(slots, &in_order(caps.clone()), out),
            Content::Holdings { slots, caps, log: Some(log) } => {
                let mut slots = slots.clone();
                for (place, before) in &log.slots {
                    if let Some(slot) = slots.get_mut(*place) {
                        slot.clone_from(before);
                    }
                }
                let mut caps: HashMap<CapKey, u64> = caps.iter().copied().collect();
                for (key, before) in log.caps.iter().rev() {
                    match before {
                        Some(used) => caps.insert(*key, *used),
                        None => caps.remove(key),
                    };
                }
                write_holdings(&slots, &in_order(caps.into_iter().collect()), out);
            }
        }
    }
}

fn in_order(mut caps: Vec<(CapKey, u64)>) -> Vec<(CapKey, u64)> {
    caps.sort_unstable();
    caps
}

/// The pages of each kind for so many members.
pub(crate) fn pages_of(members: usize) -> u32 {
    u32::try_from(members.div_ceil(MEMBERS_PER_PAGE)).unwrap_or(u32::MAX)
}

/// How many of `members` lie in a page.
pub(crate) fn members_in(page: usize, members: usize) -> usize {
    members.saturating_sub(page.saturating_mul(MEMBERS_PER_PAGE)).min(MEMBERS_PER_PAGE)
}

impl Members {
    /// A page as it stands, of the members that a capture counts.
    fn page(&self, id: PageId, members: usize) -> Option<PageCopy> {
        let number = usize::try_from(id.number).ok()?;
        let count = members_in(number, members);
        let slots = self.pages.get(number)?.slots.get(..count)?;
        let content = match id.kind {
            PageKind::Names => {
                let names = self.names.get(number)?;
                let ends = names.ends.get(..count)?.to_vec();
                let text = names.text.get(..ends.last().copied().map_or(0, usize::from))?.to_vec();
                Content::Names { text, ends, programs: slots.iter().map(Slot::program).collect() }
            }
            PageKind::Holdings => {
                let caps = self.caps.get(number)?.iter().map(|(key, used)| (*key, *used)).collect();
                Content::Holdings { slots: slots.to_vec(), caps, log: None }
            }
        };
        Some(PageCopy { id, content })
    }

    /// A page as it stood when the capture began.
    fn captured(&mut self, id: PageId, members: usize) -> Option<PageCopy> {
        let mut copy = self.page(id, members)?;
        if let Content::Holdings { log, .. } = &mut copy.content
            && let Some(page) = self.pages.get_mut(usize::try_from(id.number).ok()?)
        {
            self.log_bytes -= page.pending.bytes();
            if let Pending::Log(kept) = std::mem::replace(&mut page.pending, Pending::No) {
                *log = Some(kept);
            }
        }
        Some(copy)
    }
}

impl Ledger {
    /// Begins a capture of the state as it stands: between events, outside of any undo scope. `whole` is for
    /// all pages and not only those that changed since the last capture. One that is still under way is abandoned.
    pub fn begin_capture(&mut self, whole: bool) -> Captured {
        self.abandon_capture();
        let base = self.base_image();
        let members = self.members.len();
        let mut changed = Vec::new();
        for (number, names) in (0..).zip(&mut self.members.names) {
            if std::mem::take(&mut names.changed) || whole {
                changed.push(PageId { kind: PageKind::Names, number });
            }
        }
        for (number, page) in (0..).zip(&mut self.members.pages) {
            if std::mem::take(&mut page.changed) || whole {
                page.pending = Pending::Clean(page.slots.len());
                changed.push(PageId { kind: PageKind::Holdings, number });
            }
        }
        let capture = Capture { pages: changed.clone(), next: 0, members };
        self.capture = Some(capture).filter(|capture| !capture.pages.is_empty());
        Captured { op: self.newest, base, pages: pages_of(members), changed }
    }

    /// Copies the next pages of the capture, at most `pages_max`, outside of any undo scope. None when it is over.
    pub fn capture_next(&mut self, pages_max: usize) -> Vec<PageCopy> {
        let Some(capture) = &mut self.capture else { return Vec::new() };
        let (members, start) = (capture.members, capture.next);
        let end = start.saturating_add(pages_max).min(capture.pages.len());
        let ids = capture.pages.get(start..end).unwrap_or_default();
        let copies = ids.iter().filter_map(|id| self.members.captured(*id, members)).collect();
        capture.next = end;
        if end == capture.pages.len() {
            self.capture = None;
        }
        copies
    }

    /// Whether a capture has pages left to copy.
    #[must_use]
    pub fn capturing(&self) -> bool {
        self.capture.is_some()
    }

    /// Bytes of the pre-images that are held for the capture.
    #[must_use]
    pub fn capture_log_bytes(&self) -> usize {
        self.members.log_bytes
    }

    /// Ends the capture that is under way. All its pages, copied or not, count as changed again.
    pub fn abandon_capture(&mut self) {
        let Some(capture) = self.capture.take() else { return };
        self.count_as_changed(&capture.pages);
        self.members.pages.iter_mut().for_each(|page| page.pending = Pending::No);
        self.members.log_bytes = 0;
    }

    /// Lets pages count as changed, so that the next capture copies them: for one that was copied and could not be kept.
    pub fn count_as_changed(&mut self, pages: &[PageId]) {
        for id in pages {
            let Ok(number) = usize::try_from(id.number) else { continue };
            match id.kind {
                PageKind::Names => {
                    if let Some(names) = self.members.names.get_mut(number) {
                        names.changed = true;
                    }
                }
                PageKind::Holdings => {
                    if let Some(page) = self.members.pages.get_mut(number) {
                        page.changed = true;
                    }
                }
            }
        }
    }

    /// The hash of the whole state, equal for the live state, a replay of the same book, and a state that was loaded.
    /// It copies and encodes every page: for tests and proofs.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        let members = self.members.len();
        let kinds = [PageKind::Names, PageKind::Holdings].into_iter();
        let ids = kinds.flat_map(|kind| (0..pages_of(members)).map(move |number| PageId { kind, number }));
        let hashes = ids.filter_map(|id| {
            bytes.clear();
            self.members.page(id, members)?.encode(&mut bytes);
            Some(*blake3::hash(&bytes).as_bytes())
        });
        state_hash_of(self.newest, &self.base_image(), hashes)
    }
}
