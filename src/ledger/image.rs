//! The images of pages: canonical bytes, a function of what the page holds and of nothing else. Numbers are varints, see
//! [`super::varint`].
//!
//! ```text
//! names:     version u8 = 1   members   for each {program   length of the id   the id}
//! holdings:  version u8 = 2   members   for each {head op   what there is u8   lots   for each {lot}   for each bit of what there is}
//!            counters   for each, in order {place in the page   campaign   span u8   first day (signed)   used}
//! lot:       asset u8   source u8   date   entered   left   head op less the op that opened it
//! date:      0 never, 1 rolling, else the minute plus 2
//! bits:      1 debts {asset u8   owed}   2 ends: head op less it   4 floor   8 standing u8 (1 frozen, 2 closed)
//!            16 rolling {asset u8   minute}   32 pending {earn   0, or 1 and the instant (signed)   parts {asset u8   source u8   date   units}}
//!            64 holds {op   asset u8   purpose u8   until (signed)   0, or a reward's number plus 1 and its price   parts {source u8
//!            date   units}}
//!            128 profile {0, or 1 and the joining day (signed)   tags {number}}
//!            each list begins with its count
//! span:      0 campaign, 1 day, 2 week, 3 month
//! ```

use smallvec::SmallVec;

use super::command::{Matures, Purpose, Standing};
use super::event::{CapSpan, Expiry, LotId, Source};
use super::holding::{HOLDS_MAX, Hold, Holding, Lot, LotKey, PENDING_MAX, Pending};
use super::ids::{AssetNo, CampaignNo, MemberNo, Op, ProgramNo, RewardNo, TagNo};
use super::members::{ID_BYTES_MAX, MEMBERS_PER_PAGE};
use super::profile::{Profile, TAGS_MAX};
use super::slot::{OP_MAX, Slot};
use super::spec::{ASSETS_MAX, CapPer};
use super::state::CapKey;
use super::varint::{ImageError, Reader, Writer};

/// The version that leads a page of names.
const NAMES_VERSION: u8 = 1;
/// The version that leads a page of holdings.
const HOLDINGS_VERSION: u8 = 2;
/// The version of the canonical form that the state hash covers.
pub const STATE_HASH_VERSION: u8 = 3;
/// Lots that an image may give a member: more than any event leaves him.
const LOTS_READ_MAX: usize = 4_096;
/// Every source, by its number in an image.
const SOURCES: [Source; 6] =
    [Source::Base, Source::Campaign, Source::Granted, Source::Opening, Source::Bonus, Source::Transferred];

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
    out.push(NAMES_VERSION);
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
    let mut reader = Reader::new(bytes, NAMES_VERSION)?;
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

fn write_date(out: &mut Writer<'_>, expiry: Expiry) {
    out.number(match expiry {
        Expiry::Never => 0_u64,
        Expiry::Rolling => 1,
        Expiry::At(minute) => u64::from(minute) + 2,
    });
}

fn write_lot_id(out: &mut Writer<'_>, lot: LotId) {
    let place = SOURCES.iter().position(|source| *source == lot.source).unwrap_or(0);
    out.byte(u8::try_from(place).unwrap_or(0));
    write_date(out, lot.expiry);
}

fn write_holding(out: &mut Writer<'_>, holding: &Holding) {
    let Holding { head, ends, floor, standing, debts, lots, rolls, pending, holds, profile } = holding;
    let behind = |op: &Op| head.0.saturating_sub(op.0);
    out.number(head.0);
    let there = [
        !debts.is_empty(),
        ends.0 > 0,
        *floor > 0,
        *standing != Standing::Open,
        !rolls.is_empty(),
        !pending.is_empty(),
        !holds.is_empty(),
        profile.is_some(),
    ];
    out.byte(there.iter().enumerate().filter(|(_, there)| **there).map(|(bit, _)| 1_u8 << bit).sum());
    out.count(lots.len());
    for lot in lots {
        out.byte(lot.key.asset.0);
        write_lot_id(out, lot.key.lot);
        out.number(lot.entered);
        out.number(lot.left);
        out.number(behind(&lot.opened));
    }
    let [with_debts, with_ends, with_floor, with_standing, with_rolls, with_pending, with_holds, _] = there;
    if with_debts {
        out.count(debts.len());
        for (asset, debt) in debts {
            out.byte(asset.0);
            out.number(debt.unsigned_abs());
        }
    }
    if with_ends {
        out.number(behind(ends));
    }
    if with_floor {
        out.number(*floor);
    }
    if with_standing {
        out.byte(match standing {
            Standing::Open => 0,
            Standing::Frozen => 1,
            Standing::Closed => 2,
        });
    }
    if with_rolls {
        out.count(rolls.len());
        for (asset, minute) in rolls {
            out.byte(asset.0);
            out.number(*minute);
        }
    }
    if with_pending {
        out.count(pending.len());
        pending.iter().for_each(|pending| write_pending(out, pending));
    }
    if with_holds {
        out.count(holds.len());
        holds.iter().for_each(|hold| write_hold(out, hold));
    }
    if let Some(profile) = profile {
        out.optional(profile.joined_day.map(i64::from));
        out.count(profile.tags.len());
        profile.tags.iter().for_each(|tag| out.number(tag.0));
    }
}

fn write_pending(out: &mut Writer<'_>, pending: &Pending) {
    out.number(pending.earn.0);
    out.optional(match pending.matures {
        Matures::At(instant) => Some(instant),
        Matures::Activated => None,
    });
    out.count(pending.parts.len());
    for (key, units) in &pending.parts {
        out.byte(key.asset.0);
        write_lot_id(out, key.lot);
        out.number(*units);
    }
}

fn write_hold(out: &mut Writer<'_>, hold: &Hold) {
    out.number(hold.op.0);
    out.byte(hold.asset.0);
    out.byte(u8::try_from(hold.purpose.place()).unwrap_or(0));
    out.signed(hold.until_us);
    match hold.reward {
        Some((reward, price)) => {
            out.number(u32::from(reward.0) + 1);
            out.number(price);
        }
        None => out.number(0_u64),
    }
    out.count(hold.parts.len());
    for (lot, units) in &hold.parts {
        write_lot_id(out, *lot);
        out.number(*units);
    }
}

/// `caps` are in order.
pub(crate) fn write_holdings(slots: &[Slot], caps: &[(CapKey, u64)], out: &mut Vec<u8>) {
    out.push(HOLDINGS_VERSION);
    let mut out = Writer(out);
    out.count(slots.len());
    slots.iter().for_each(|slot| write_holding(&mut out, &slot.holding()));
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

fn read_asset(reader: &mut Reader<'_>) -> Result<AssetNo, ImageError> {
    match reader.byte()? {
        asset if usize::from(asset) < ASSETS_MAX => Ok(AssetNo(asset)),
        _ => Err(reader.wrong("an asset is too great")),
    }
}

fn read_lot_id(reader: &mut Reader<'_>) -> Result<LotId, ImageError> {
    let source = SOURCES.get(usize::from(reader.byte()?)).copied();
    let source = source.ok_or_else(|| reader.wrong("a lot is of an unknown source"))?;
    let expiry = match reader.number()? {
        0 => Expiry::Never,
        1 => Expiry::Rolling,
        date => Expiry::At(u32::try_from(date - 2).map_err(|_| reader.wrong("the date of a lot is too great"))?),
    };
    Ok(LotId { source, expiry })
}

/// A list of at most `max` values.
fn read_list<T>(
    reader: &mut Reader<'_>,
    max: usize,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, ImageError>,
) -> Result<Vec<T>, ImageError> {
    let count = reader.count()?;
    if count > max {
        return Err(reader.wrong("a list of a member is too long"));
    }
    (0..count).map(|_| read(reader)).collect()
}

fn read_holding(reader: &mut Reader<'_>) -> Result<Holding, ImageError> {
    let head = Op(reader.number()?);
    if head > OP_MAX {
        return Err(reader.wrong("an op is too great"));
    }
    let there = reader.byte()?;
    let before = |reader: &mut Reader<'_>| {
        let behind = reader.number()?;
        head.0.checked_sub(behind).map(Op).ok_or_else(|| reader.wrong("an op is later than the member's newest"))
    };
    let mut holding = Holding { head, ..Holding::default() };
    holding.lots = SmallVec::from_vec(read_list(reader, LOTS_READ_MAX, |reader| {
        let key = LotKey { asset: read_asset(reader)?, lot: read_lot_id(reader)? };
        Ok(Lot { key, entered: reader.number()?, left: reader.number()?, opened: before(reader)? })
    })?);
    let has = |bit: u8| there & bit > 0;
    if has(1) {
        let debts = read_list(reader, ASSETS_MAX, |reader| Ok((read_asset(reader)?, reader.small()?)))?;
        holding.debts = SmallVec::from_vec(debts);
    }
    if has(2) {
        holding.ends = before(reader)?;
    }
    if has(4) {
        holding.floor = reader.number()?;
    }
    if has(8) {
        holding.standing = match reader.byte()? {
            1 => Standing::Frozen,
            2 => Standing::Closed,
            _ => return Err(reader.wrong("a member's standing is unknown")),
        };
    }
    if has(16) {
        holding.rolls = read_list(reader, ASSETS_MAX, |reader| Ok((read_asset(reader)?, reader.small()?)))?;
    }
    if has(32) {
        holding.pending = read_list(reader, PENDING_MAX, read_pending)?;
    }
    if has(64) {
        holding.holds = read_list(reader, HOLDS_MAX, read_hold)?;
    }
    if has(128) {
        holding.profile = Some(Box::new(read_profile(reader)?));
    }
    match is_sound(&holding) {
        true => Ok(holding),
        false => Err(reader.wrong("a member holds what nobody can")),
    }
}

fn read_profile(reader: &mut Reader<'_>) -> Result<Profile, ImageError> {
    let joined_day = reader.optional()?.map(i32::try_from).transpose();
    let joined_day = joined_day.map_err(|_| reader.wrong("the day on which a member joined is too great"))?;
    Ok(Profile { joined_day, tags: read_list(reader, TAGS_MAX, |reader| Ok(TagNo(reader.small()?)))? })
}

fn read_pending(reader: &mut Reader<'_>) -> Result<Pending, ImageError> {
    let earn = Op(reader.number()?);
    let matures = reader.optional()?.map_or(Matures::Activated, Matures::At);
    let parts = read_list(reader, LOTS_READ_MAX, |reader| {
        let key = LotKey { asset: read_asset(reader)?, lot: read_lot_id(reader)? };
        Ok((key, reader.number()?))
    })?;
    Ok(Pending { earn, matures, parts: SmallVec::from_vec(parts) })
}

fn read_hold(reader: &mut Reader<'_>) -> Result<Hold, ImageError> {
    let (op, asset) = (Op(reader.number()?), read_asset(reader)?);
    let purpose = Purpose::ALL.get(usize::from(reader.byte()?)).copied();
    let purpose = purpose.ok_or_else(|| reader.wrong("the purpose of a hold is unknown"))?;
    let until_us = reader.signed()?;
    let reward = match reader.number()?.checked_sub(1) {
        Some(number) => {
            let number = u16::try_from(number).map_err(|_| reader.wrong("the reward of a hold is too great"))?;
            Some((RewardNo(number), reader.number()?))
        }
        None => None,
    };
    let parts = read_list(reader, LOTS_READ_MAX, |reader| Ok((read_lot_id(reader)?, reader.number()?)))?;
    Ok(Hold { op, asset, purpose, until_us, reward, parts: SmallVec::from_vec(parts) })
}

/// Whether a holding has its one form, and its sums fit: lots and lists in order, nothing that is nothing, no more held
/// than there is.
fn is_sound(holding: &Holding) -> bool {
    let lot = |lot: &Lot| {
        let there = lot.left <= lot.entered && (lot.units() > 0 || !matches!(lot.key.lot.expiry, Expiry::At(_)));
        let dated = lot.key.lot.expiry != Expiry::Rolling || holding.rolls_until(lot.key.asset).is_some();
        there && dated && holding.held_in(lot.key) <= lot.units()
    };
    let fits = |asset: AssetNo| {
        let lots = holding.lots.iter().filter(|lot| lot.key.asset == asset).map(|lot| i128::from(lot.units()));
        let waiting = holding.pending.iter().flat_map(|pending| &pending.parts).filter(|(key, _)| key.asset == asset);
        lots.chain(waiting.map(|(_, units)| i128::from(*units))).sum::<i128>() <= i128::from(i64::MAX)
    };
    holding.lots.iter().all(lot)
        && holding.lots.is_sorted_by(|a, b| a.key < b.key)
        && holding.lots.iter().all(|lot| fits(lot.key.asset))
        && holding.debts.is_sorted_by(|a, b| a.0 < b.0)
        && holding.debts.iter().all(|(_, debt)| *debt > 0)
        && holding.rolls.is_sorted_by(|a, b| a.0 < b.0)
        && holding.pending.is_sorted_by(|a, b| a.earn < b.earn)
        && holding.pending.iter().flat_map(|pending| &pending.parts).all(|(key, units)| *units > 0 && fits(key.asset))
        && holding.holds.is_sorted_by(|a, b| a.op < b.op)
        && holding
            .holds
            .iter()
            .all(|hold| hold.reward.is_none_or(|(_, price)| hold.units().checked_rem(price) == Some(0)))
        && holding
            .profile
            .as_ref()
            .is_none_or(|profile| **profile != Profile::default() && profile.tags.is_sorted_by(|a, b| a < b))
        && holding.holds.iter().all(|hold| {
            hold.parts
                .iter()
                .all(|(lot, units)| *units > 0 && holding.lot(LotKey { asset: hold.asset, lot: *lot }).is_some())
        })
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
    let mut reader = Reader::new(bytes, HOLDINGS_VERSION)?;
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
