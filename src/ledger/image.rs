//! The images of pages: canonical bytes, a function of what the page holds and of nothing else. Numbers are varints, see
//! [`super::varint`].
//!
//! ```text
//! names:     version u8 = 1   members   for each {program   length of the id   the id}
//! holdings:  version u8 = 1   members   for each {debt   head op   lots u8   lots}
//!            counters   for each, in order {place in the page   campaign   span u8   first day (signed)   used}
//! lots:      a bit each: 1 base, 2 campaign, 4 granted, 8 opening; for each that ever held something
//!            {entered   left   head op less the op that opened it}
//! span:      0 campaign, 1 day, 2 week, 3 month
//! ```

use arrayvec::ArrayVec;

use super::event::{Balances, CapSpan, Source};
use super::holding::{Holding, LOTS, Lot, OP_MAX, SOURCES, Slot};
use super::ids::{CampaignNo, MemberNo, Op, ProgramNo};
use super::members::{ID_BYTES_MAX, MEMBERS_PER_PAGE};
use super::spec::CapPer;
use super::state::CapKey;
use super::varint::{ImageError, Reader, Writer};

/// The version that leads each page's image.
const PAGE_VERSION: u8 = 1;
/// The version of the canonical form that the state hash covers.
pub const STATE_HASH_VERSION: u8 = 2;

/// What a page holds. Their order is that of the state hash.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PageKind {
    /// Program and id of each of its members; written once.
    Names,
    /// Balances, newest event and lots of each of its members, and the counters of their caps.
    Holdings,
}

impl PageKind {
    /// Its number wherever pages are kept.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Names => 0,
            Self::Holdings => 1,
        }
    }

    /// The kind of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Names, Self::Holdings].into_iter().find(|kind| kind.number() == number)
    }
}

/// A page of the state.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageId {
    /// What it holds.
    pub kind: PageKind,
    /// Its number within its kind: it holds the members from `number` x [`MEMBERS_PER_PAGE`].
    pub number: u32,
}

/// A lot of a member, as it stands in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LotView {
    /// Where its units came from.
    pub source: Source,
    /// Units that entered it so far.
    pub entered: u64,
    /// Units that left it so far.
    pub left: u64,
    /// The op that put units into it when it was last empty.
    pub opened: Op,
}

/// What a member owns, as it stands in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingView {
    /// What is available and what is owed.
    pub balances: Balances,
    /// The member's newest event.
    pub head: Op,
    /// The lots that ever held something, in order of their sources.
    pub lots: ArrayVec<LotView, LOTS>,
}

/// The hash of a state from its parts: the base image, and the BLAKE3 hash of each page's image in order, all pages of
/// names and then all of holdings.
pub fn state_hash_of(op: Op, base: &[u8], hashes: impl Iterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("stampbook state hash");
    hasher.update(&[STATE_HASH_VERSION]).update(&op.0.to_le_bytes());
    // Its length first, so that the end of the base cannot pass for the beginning of the pages.
    hasher.update(&u64::try_from(base.len()).unwrap_or(u64::MAX).to_le_bytes()).update(base);
    for hash in hashes {
        hasher.update(&hash);
    }
    *hasher.finalize().as_bytes()
}

pub(crate) fn write_names<'n>(members: usize, names: impl Iterator<Item = (ProgramNo, &'n [u8])>, out: &mut Vec<u8>) {
    out.push(PAGE_VERSION);
    let mut out = Writer(out);
    out.count(members);
    for (program, id) in names {
        out.number(program.0);
        out.bytes(id);
    }
}

/// The program and id of each member of a page of names.
///
/// # Errors
/// [`ImageError`] where the bytes are no image of such a page.
pub fn names_of(bytes: &[u8]) -> Result<Vec<(ProgramNo, &str)>, ImageError> {
    let mut reader = Reader::new(bytes, PAGE_VERSION)?;
    let count = members_of(&mut reader)?;
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let program = ProgramNo(reader.small()?);
        let id = reader.text()?;
        if id.len() > ID_BYTES_MAX {
            return Err(reader.wrong("an id is too long"));
        }
        names.push((program, id));
    }
    reader.end()?;
    Ok(names)
}

fn members_of(reader: &mut Reader<'_>) -> Result<usize, ImageError> {
    match reader.count()? {
        count if count <= MEMBERS_PER_PAGE => Ok(count),
        _ => Err(reader.wrong("a page holds too many members")),
    }
}

/// `caps` are in order.
pub(crate) fn write_holdings(slots: &[Slot], caps: &[(CapKey, u64)], out: &mut Vec<u8>) {
    out.push(PAGE_VERSION);
    let mut out = Writer(out);
    out.count(slots.len());
    for holding in slots.iter().map(Slot::holding) {
        out.number(holding.balances.debt.unsigned_abs());
        out.number(holding.head.0);
        let bits = [1_u8, 2, 4, 8];
        let there = |lot: &Lot| *lot != Lot::default();
        out.byte(bits.iter().zip(&holding.lots).filter(|(_, lot)| there(lot)).map(|(bit, _)| bit).sum());
        for lot in holding.lots.iter().filter(|lot| there(lot)) {
            out.number(lot.entered);
            out.number(lot.left);
            out.number(holding.head.0.saturating_sub(lot.opened.0));
        }
    }
    out.count(caps.len());
    for ((member, campaign, span), used) in caps {
        out.count(usize::try_from(member.0).unwrap_or(0) % MEMBERS_PER_PAGE);
        out.number(campaign.0);
        out.byte(match span.per {
            CapPer::Campaign => 0,
            CapPer::Day => 1,
            CapPer::Week => 2,
            CapPer::Month => 3,
        });
        out.signed(span.first_day.into());
        out.number(*used);
    }
}

fn read_holding(reader: &mut Reader<'_>) -> Result<Holding, ImageError> {
    let debt: i64 = reader.small()?;
    let head = Op(reader.number()?);
    if head > OP_MAX {
        return Err(reader.wrong("an op is too great"));
    }
    let there = reader.byte()?;
    if there > 15 {
        return Err(reader.wrong("a member has a lot of an unknown source"));
    }
    let mut holding = Holding { balances: Balances { available: 0, debt }, head, ..Holding::default() };
    let mut units = 0_u64;
    for (lot, _) in holding.lots.iter_mut().zip([1, 2, 4, 8]).filter(|(_, bit)| there & bit > 0) {
        let (entered, left, behind) = (reader.number()?, reader.number()?, reader.number()?);
        let opened = head.0.checked_sub(behind).map(Op).ok_or_else(|| reader.wrong("a lot is from a later op"))?;
        *lot = Lot { entered, left, opened };
        let sum = units.checked_add(lot.units()).filter(|_| left <= entered && *lot != Lot::default());
        units = sum.ok_or_else(|| reader.wrong("a lot holds what it cannot"))?;
    }
    holding.balances.available = i64::try_from(units).map_err(|_| reader.wrong("a balance is too great"))?;
    Ok(holding)
}

fn read_cap(reader: &mut Reader<'_>, page: u32, members: usize) -> Result<(CapKey, u64), ImageError> {
    let place: usize = reader.small()?;
    if place >= members {
        return Err(reader.wrong("a counter of a cap has no member"));
    }
    let number = usize::try_from(page).ok().and_then(|page| page.checked_mul(MEMBERS_PER_PAGE)?.checked_add(place));
    let number = number.and_then(|number| u32::try_from(number).ok());
    let member = MemberNo(number.ok_or_else(|| reader.wrong("a member's number is too great"))?);
    let campaign = CampaignNo(reader.small()?);
    let per = match reader.byte()? {
        0 => CapPer::Campaign,
        1 => CapPer::Day,
        2 => CapPer::Week,
        3 => CapPer::Month,
        _ => return Err(reader.wrong("the span of a cap is unknown")),
    };
    let first_day = i32::try_from(reader.signed()?).map_err(|_| reader.wrong("the day of a cap is too great"))?;
    Ok(((member, campaign, CapSpan { per, first_day }), reader.number()?))
}

/// Holdings of a page's members, and the counters of their caps in order.
type HoldingsImage = (Vec<Holding>, Vec<(CapKey, u64)>);

/// What the image of page `page` holds: its members' holdings, and the counters of their caps.
pub(crate) fn read_holdings(bytes: &[u8], page: u32) -> Result<HoldingsImage, ImageError> {
    let mut reader = Reader::new(bytes, PAGE_VERSION)?;
    let members = members_of(&mut reader)?;
    let mut holdings = Vec::with_capacity(members);
    for _ in 0..members {
        holdings.push(read_holding(&mut reader)?);
    }
    let count = reader.count()?;
    let mut caps: Vec<(CapKey, u64)> = Vec::new();
    for _ in 0..count {
        let cap = read_cap(&mut reader, page, members)?;
        if caps.last().is_some_and(|last| last.0 >= cap.0) {
            return Err(reader.wrong("the counters of caps are not in order"));
        }
        caps.push(cap);
    }
    reader.end()?;
    Ok((holdings, caps))
}

/// What each member of a page of holdings owns.
///
/// # Errors
/// [`ImageError`] where the bytes are no image of such a page.
pub fn holdings_of(bytes: &[u8]) -> Result<Vec<HoldingView>, ImageError> {
    let view = |holding: Holding| {
        let lots = SOURCES.into_iter().zip(holding.lots).filter(|(_, lot)| *lot != Lot::default());
        let lot = |(source, Lot { entered, left, opened }): (Source, Lot)| LotView { source, entered, left, opened };
        HoldingView { balances: holding.balances, head: holding.head, lots: lots.map(lot).collect() }
    };
    Ok(read_holdings(bytes, 0)?.0.into_iter().map(view).collect())
}
