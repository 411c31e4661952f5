//! The base image: all of the state that lies in no page. Programs with their versions and campaigns, totals, snapshots,
//! and the digests that stand for every key and every take-back, so that nobody has to enumerate them. Its numbers are
//! varints, see [`super::varint`]; a text is its length and its bytes.
//!
//! ```text
//! base:      version u8 = 2   op   day of the last sweep (signed)   digest of keys [16]   digest of take-backs [16]
//!            programs   for each {id   versions   campaigns   members   assets   tags {name}   rewards   pieces}
//!            snapshots   for each, in order of their ops   members who went into others, in that order {who   into whom}
//!            closings, where a program has any: for each program {count   for each {op   until (signed)}}
//! version:   effective from (signed)   rules, as in their event   definition   the number of each campaign of the rules
//! campaign:  status u8 (0 open, 1 paused, 2 stopped, 3 closed)   budget posted   funded (signed)   awarded (signed)
//! asset:     issuance, adjustment, opening, breakage, cash, eight redemptions, each posted   lots (signed)
//!            held (signed)   pending (signed)   debt (signed)   conversions {program   posted}, in order of the programs
//! reward:    sku   name   asset u8   price   open u8   stock posted   reserved posted
//! pieces:    where there are rewards: issuance, eight redemptions, each posted
//! posted:    balance (signed)   head op
//! snapshot:  name   op   book time (signed)   0, or 1 and the retention (signed)   the op that deleted it, or 0
//! ```

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::aliases::Aliases;
use super::codec;
use super::generation::Generation;
use super::ids::{AssetNo, CampaignNo, MemberNo, Op, ProgramNo, VersionNo};
use super::members::Members;
use super::profile::PROGRAM_TAGS_MAX;
use super::reward::{Reward, Rewards};
use super::spec::{ASSETS_MAX, ProgramSpec};
use super::state::{
    Accounts, AssetBooks, CAMPAIGNS_MAX, CLOSINGS_MAX, Campaign, Ledger, Limits, PROGRAMS_MAX, Posted, Program, Purse,
    SNAPSHOTS_MAX, Sums, VERSIONS_MAX, Version,
};
use super::varint::{ImageError, Reader, Writer};
use super::view::{BaseProgram, CampaignStatus, Closing, SnapshotView, asset_ids};

/// The version that leads the base image.
const BASE_VERSION: u8 = 2;

fn write_posted(out: &mut Writer<'_>, posted: &Posted) {
    out.signed(posted.balance);
    out.number(posted.head.0);
}

fn read_posted(reader: &mut Reader<'_>) -> Result<Posted, ImageError> {
    Ok(Posted { balance: reader.signed()?, head: Op(reader.number()?) })
}

fn posted_of(accounts: &mut Accounts) -> impl Iterator<Item = &mut Posted> {
    let Accounts { issuance, adjustment, opening, breakage, cash, redemption } = accounts;
    [issuance, adjustment, opening, breakage, cash].into_iter().chain(redemption)
}

fn write_asset(out: &mut Writer<'_>, books: &AssetBooks) {
    let mut accounts = books.accounts;
    posted_of(&mut accounts).for_each(|posted| write_posted(out, posted));
    // What lapses when is the pages' to say.
    let Sums { lots, held, pending, debt, lapsing: _, pinned: _ } = &books.sums;
    [lots, held, pending, debt].into_iter().for_each(|sum| out.signed(*sum));
    out.count(books.conversions.len());
    for (other, posted) in &books.conversions {
        out.number(other.0);
        write_posted(out, posted);
    }
}

fn read_asset(reader: &mut Reader<'_>) -> Result<AssetBooks, ImageError> {
    let mut books = AssetBooks::default();
    for posted in posted_of(&mut books.accounts) {
        *posted = read_posted(reader)?;
    }
    let Sums { lots, held, pending, debt, lapsing: _, pinned: _ } = &mut books.sums;
    for sum in [lots, held, pending, debt] {
        *sum = reader.signed()?;
    }
    for _ in 0..reader.count()? {
        let other = ProgramNo(reader.small()?);
        if books.conversions.last().is_some_and(|(last, _)| *last >= other) {
            return Err(reader.wrong("the accounts of other programs are not in order"));
        }
        books.conversions.push((other, read_posted(reader)?));
    }
    Ok(books)
}

fn write_program(out: &mut Writer<'_>, program: &Program) {
    out.bytes(program.id.as_bytes());
    out.count(program.versions.len());
    for version in &program.versions {
        out.signed(version.effective_from_us);
        let mut rules = Vec::new();
        // Rules in the state came through an event's bytes, so they can be written again.
        let written = codec::append_rules(&version.spec, &mut rules).is_ok();
        out.bytes(if written { &rules } else { &[] });
        out.bytes(version.definition.as_bytes());
        for campaign in &version.campaigns {
            out.number(campaign.0);
        }
    }
    out.count(program.campaigns.len());
    for Campaign { purse: Purse { status, budget, funded, awarded }, .. } in &program.campaigns {
        out.byte(match status {
            CampaignStatus::Open => 0,
            CampaignStatus::Paused => 1,
            CampaignStatus::Stopped => 2,
            CampaignStatus::Closed => 3,
        });
        write_posted(out, budget);
        out.signed(*funded);
        out.signed(*awarded);
    }
    out.number(program.members);
    out.count(program.assets.len());
    program.assets.iter().for_each(|books| write_asset(out, books));
    out.count(program.tags.len());
    program.tags.iter().for_each(|tag| out.bytes(tag.as_bytes()));
    let rewards = program.rewards.list();
    out.count(rewards.len());
    rewards.iter().for_each(|reward| write_reward(out, reward));
    if !rewards.is_empty() {
        let mut pieces = program.pieces;
        pieces_of(&mut pieces).for_each(|posted| write_posted(out, posted));
    }
}

/// The accounts on which pieces of rewards stand beside the rewards' own.
fn pieces_of(accounts: &mut Accounts) -> impl Iterator<Item = &mut Posted> {
    std::iter::once(&mut accounts.issuance).chain(&mut accounts.redemption)
}

fn write_reward(out: &mut Writer<'_>, reward: &Reward) {
    let Reward { sku, name, asset, price, open, stock, reserved } = reward;
    out.bytes(sku.as_bytes());
    out.bytes(name.as_bytes());
    out.byte(asset.0);
    out.number(*price);
    out.byte(u8::from(*open));
    write_posted(out, stock);
    write_posted(out, reserved);
}

fn read_reward(reader: &mut Reader<'_>) -> Result<Reward, ImageError> {
    Ok(Reward {
        sku: reader.text()?.into(),
        name: reader.text()?.into(),
        asset: AssetNo(reader.byte()?),
        price: reader.number()?,
        open: match reader.byte()? {
            0 => false,
            1 => true,
            _ => return Err(reader.wrong("whether a reward is on offer is unknown")),
        },
        stock: read_posted(reader)?,
        reserved: read_posted(reader)?,
    })
}

fn read_version(reader: &mut Reader<'_>, number: u32) -> Result<Version, ImageError> {
    let effective_from_us = reader.signed()?;
    let rules = reader.bytes()?;
    let spec = codec::read_rules(rules).map_err(|_| reader.wrong("the rules of a version cannot be read"))?;
    let definition = reader.text()?.into();
    let mut campaigns = Vec::with_capacity(spec.campaigns.len());
    for _ in &spec.campaigns {
        campaigns.push(CampaignNo(reader.small()?));
    }
    let more = spec.more.as_deref().cloned().unwrap_or_default();
    Ok(Version { number: VersionNo(number), effective_from_us, spec: Arc::new(spec), definition, campaigns, more })
}

fn read_purse(reader: &mut Reader<'_>) -> Result<Purse, ImageError> {
    let status = match reader.byte()? {
        0 => CampaignStatus::Open,
        1 => CampaignStatus::Paused,
        2 => CampaignStatus::Stopped,
        3 => CampaignStatus::Closed,
        _ => return Err(reader.wrong("the status of a campaign is unknown")),
    };
    Ok(Purse { status, budget: read_posted(reader)?, funded: reader.signed()?, awarded: reader.signed()? })
}

fn read_program(reader: &mut Reader<'_>) -> Result<Program, ImageError> {
    let id = reader.text()?.into();
    let mut versions = Vec::new();
    let count = reader.count()?;
    if count == 0 || count > VERSIONS_MAX {
        return Err(reader.wrong("a program has no version, or too many"));
    }
    for number in (1..).take(count) {
        versions.push(read_version(reader, number)?);
    }
    let count = reader.count()?;
    if count > CAMPAIGNS_MAX {
        return Err(reader.wrong("a program has too many campaigns"));
    }
    let mut purses = Vec::new();
    for _ in 0..count {
        purses.push(read_purse(reader)?);
    }
    let campaigns = campaigns_of(&versions, &purses).ok_or_else(|| reader.wrong("a campaign is in no version"))?;
    let newest = versions.last().map(|version| version.spec.time_zone.as_str()).unwrap_or_default();
    let zone = TimeZone::get(newest).map_err(|_| reader.wrong("a program's time zone is unknown"))?;
    let members = reader.number()?;
    let assets = reader.count()?;
    if assets == 0 || assets > ASSETS_MAX {
        return Err(reader.wrong("a program has no asset, or too many"));
    }
    let assets = (0..assets).map(|_| read_asset(reader)).collect::<Result<_, _>>()?;
    let tags = reader.count()?;
    if tags > PROGRAM_TAGS_MAX {
        return Err(reader.wrong("a program has too many tags"));
    }
    let tags = (0..tags).map(|_| reader.text().map(Into::into)).collect::<Result<_, _>>()?;
    let (mut rewards, mut pieces) = (Rewards::default(), Accounts::default());
    let count = reader.count()?;
    for _ in 0..count {
        if !rewards.push(read_reward(reader)?) {
            return Err(reader.wrong("a program has a reward twice, or too many"));
        }
    }
    if count > 0 {
        for posted in pieces_of(&mut pieces) {
            *posted = read_posted(reader)?;
        }
    }
    Ok(Program { id, zone, campaigns, versions, assets, pieces, rewards, members, closings: Vec::new(), tags })
}

/// A campaign's rules are those of the newest version that names it.
fn campaigns_of(versions: &[Version], purses: &[Purse]) -> Option<Vec<Campaign>> {
    let mut specs = vec![None; purses.len()];
    for version in versions {
        for (number, spec) in version.campaigns.iter().zip(&version.spec.campaigns) {
            *specs.get_mut(usize::from(number.0))? = Some(spec);
        }
    }
    let campaign = |(spec, purse): (Option<&super::spec::CampaignSpec>, &Purse)| {
        Some(Campaign { spec: spec?.clone(), purse: *purse })
    };
    specs.into_iter().zip(purses).map(campaign).collect()
}

fn write_snapshot(out: &mut Writer<'_>, snapshot: &SnapshotView) {
    out.bytes(snapshot.name.as_bytes());
    out.number(snapshot.op.0);
    out.signed(snapshot.book_time_us);
    out.optional(snapshot.retain_until_us);
    out.number(snapshot.deleted.map_or(0, |op| op.0));
}

fn read_snapshot(reader: &mut Reader<'_>) -> Result<SnapshotView, ImageError> {
    Ok(SnapshotView {
        name: reader.text()?.to_owned(),
        op: Op(reader.number()?),
        book_time_us: reader.signed()?,
        retain_until_us: reader.optional()?,
        deleted: Some(Op(reader.number()?)).filter(|op| op.0 > 0),
    })
}

/// Nothing where no books were closed, so that the image of such a state is what it was before books could be closed.
fn write_closings(out: &mut Writer<'_>, programs: &[Program]) {
    if programs.iter().all(|program| program.closings.is_empty()) {
        return;
    }
    for program in programs {
        out.count(program.closings.len());
        for closing in &program.closings {
            out.number(closing.op.0);
            out.signed(closing.until_us);
        }
    }
}

fn read_closings(reader: &mut Reader<'_>, programs: &mut [Program]) -> Result<(), ImageError> {
    if reader.end().is_ok() {
        return Ok(());
    }
    for program in programs.iter_mut() {
        let count = reader.count()?;
        if count > CLOSINGS_MAX {
            return Err(reader.wrong("a program's books were closed too often"));
        }
        for _ in 0..count {
            program.closings.push(Closing { op: Op(reader.number()?), until_us: reader.signed()? });
        }
    }
    match programs.iter().any(|program| !program.closings.is_empty()) {
        true => Ok(()),
        false => Err(reader.wrong("the image has closings and says of none")),
    }
}

fn digest(reader: &mut Reader<'_>) -> Result<u128, ImageError> {
    let bytes = reader.raw(16)?.first_chunk::<16>().copied();
    Ok(u128::from_le_bytes(bytes.ok_or_else(|| reader.wrong("the image ends early"))?))
}

impl Ledger {
    /// The image of all that lies in no page: a function of the state and of nothing else.
    #[must_use]
    pub fn base_image(&self) -> Vec<u8> {
        let mut bytes = vec![BASE_VERSION];
        let mut out = Writer(&mut bytes);
        out.number(self.newest.0);
        out.signed(self.swept_day);
        out.0.extend_from_slice(&self.keys_digest.to_le_bytes());
        out.0.extend_from_slice(&self.taken_digest.to_le_bytes());
        out.count(self.programs.len());
        self.programs.iter().for_each(|program| write_program(&mut out, program));
        out.count(self.snapshots.len());
        self.snapshots.iter().for_each(|snapshot| write_snapshot(&mut out, snapshot));
        let steps = self.members.aliases.steps();
        out.count(steps.len());
        for (goer, into) in steps {
            out.number(goer.0);
            out.number(into.0);
        }
        write_closings(&mut out, &self.programs);
        bytes
    }

    /// A ledger from a base image, to which the pages are to be loaded: [`Ledger::load_page`] for each page of names and
    /// then for each of holdings, then [`Ledger::finish_load`]. It has no keys in memory.
    ///
    /// # Errors
    /// [`ImageError`] where the bytes are no base image.
    pub fn from_base(limits: Limits, base: &[u8]) -> Result<Self, ImageError> {
        let mut reader = Reader::new(base, BASE_VERSION)?;
        let mut ledger = Self::new(limits);
        ledger.newest = Op(reader.number()?);
        ledger.generation = Generation::new(ledger.newest);
        ledger.swept_day = reader.signed()?;
        ledger.keys_digest = digest(&mut reader)?;
        ledger.taken_digest = digest(&mut reader)?;
        for _ in 0..reader.count()? {
            ledger.programs.push(read_program(&mut reader)?);
        }
        for _ in 0..reader.count()? {
            ledger.snapshots.push(read_snapshot(&mut reader)?);
        }
        let mut aliases = Aliases::default();
        for _ in 0..reader.count()? {
            if !aliases.join(MemberNo(reader.small()?), MemberNo(reader.small()?)) {
                return Err(reader.wrong("a member went into another who cannot be"));
            }
        }
        read_closings(&mut reader, &mut ledger.programs)?;
        reader.end()?;
        if ledger.programs.len() > PROGRAMS_MAX || ledger.snapshots.len() > SNAPSHOTS_MAX {
            return Err(reader.wrong("the image holds too many programs or snapshots"));
        }
        // The limit is trusted and the image is not: it cannot ask for room that nobody fills.
        let members = ledger.members_to_load().min(limits.members_max.into());
        ledger.members = Members::with_room(usize::try_from(members).unwrap_or(0));
        ledger.members.aliases = aliases;
        Ok(ledger)
    }

    /// How many members the programs' totals count.
    pub(crate) fn members_to_load(&self) -> u64 {
        self.programs.iter().fold(0_u64, |sum, program| sum.saturating_add(program.members))
    }
}

/// Limits for a ledger that takes no member.
const NOBODY: Limits = Limits { members_max: 0, cap_counters_max: 0, lots_bytes_max: 0 };

/// The programs of a base image, in order of their numbers.
///
/// # Errors
/// [`ImageError`] where the bytes are no base image.
pub fn programs_of(base: &[u8]) -> Result<Vec<BaseProgram>, ImageError> {
    let ledger = Ledger::from_base(NOBODY, base)?;
    let view = |(trial, program): (_, &Program)| {
        let spec: &ProgramSpec = &program.newest()?.spec;
        Some(BaseProgram {
            trial,
            name: spec.name.clone(),
            currency: spec.currency.clone(),
            time_zone: spec.time_zone.clone(),
            campaigns: program.campaigns.iter().map(|campaign| campaign.spec.id.clone()).collect(),
            assets: asset_ids(spec),
            closings: program.closings.clone(),
            rewards: program.rewards.list().iter().map(|reward| reward.sku.to_string()).collect(),
            tags: program.tags.iter().map(|tag| tag.to_string()).collect(),
        })
    };
    Ok(ledger.trial_balance().into_iter().zip(&ledger.programs).filter_map(view).collect())
}

/// The members of a base image who went into others, and into whom, in order of their events.
///
/// # Errors
/// [`ImageError`] where the bytes are no base image.
pub fn merges_of(base: &[u8]) -> Result<Vec<(MemberNo, MemberNo)>, ImageError> {
    Ok(Ledger::from_base(NOBODY, base)?.members.aliases.steps().to_vec())
}

/// The snapshots that a base image knows, in order of their ops, the deleted ones included.
///
/// # Errors
/// [`ImageError`] where the bytes are no base image.
pub fn snapshots_of(base: &[u8]) -> Result<Vec<SnapshotView>, ImageError> {
    Ok(Ledger::from_base(NOBODY, base)?.snapshots)
}
