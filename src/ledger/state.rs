//! The balances now: what all events so far come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::capture::Capture;
use super::command::{Action, Command, Purpose};
use super::decide::LATE_MAX_US;
use super::event::{AssetBalances, Balances, CapSpan, Expiry};
use super::evolve::Hashes;
use super::generation::Generation;
use super::holding::{Holding, Lot, LotKey};
use super::ids::{AssetNo, CampaignNo, MemberNo, Op, ProgramNo, RewardNo, VersionNo};
use super::members::Members;
use super::near;
use super::reserved::Reserved;
use super::reward::Rewards;
use super::spec::{ASSETS_MAX, AssetSpec, CampaignSpec, CapPer, ProgramMore, ProgramSpec, Rule};
use super::view::{CampaignStatus, Closing, SnapshotView};

/// A day in microseconds.
const DAY_US: i64 = 24 * 3600 * 1_000_000;
/// The days of the longest span of a cap.
const MONTH_DAYS_MAX: i64 = 31;

/// Programs that a book may hold.
pub const PROGRAMS_MAX: usize = 64;
/// Versions that a program may have.
pub const VERSIONS_MAX: usize = 1_000;
/// Campaigns that a program may have over all its versions.
pub const CAMPAIGNS_MAX: usize = 1_024;
/// Times that a program's books may be closed: those of every month for eighty years.
pub const CLOSINGS_MAX: usize = 1_000;
/// Snapshots that a book may have had, the deleted ones included.
pub const SNAPSHOTS_MAX: usize = 10_000;

/// The bounds on what the books hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members over all programs.
    pub members_max: u32,
    /// Counters of members' caps, over all campaigns and spans.
    pub cap_counters_max: usize,
    /// Bytes of lots, holds and pending earns that members have beside the few lots that lie with their balances.
    pub lots_bytes_max: usize,
}

/// The op and the book time of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The event's op.
    pub op: Op,
    /// The server's time, never backwards, in microseconds since the Unix epoch.
    pub book_time_us: i64,
}

/// An account of a program: its balance, credit positive, and its newest event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) balance: i64,
    pub(crate) head: Op,
}

/// The accounts of one asset of a program that are neither a member's nor a campaign's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) issuance: Posted,
    pub(crate) adjustment: Posted,
    pub(crate) opening: Posted,
    pub(crate) breakage: Posted,
    pub(crate) cash: Posted,
    pub(crate) redemption: [Posted; Purpose::ALL.len()],
}

impl Posted {
    /// One that nothing was ever posted on.
    const NONE: Self = Self { balance: 0, head: Op(0) };
}

impl Accounts {
    /// Those of an asset that there is not.
    const NONE: Self = Self {
        issuance: Posted::NONE,
        adjustment: Posted::NONE,
        opening: Posted::NONE,
        breakage: Posted::NONE,
        cash: Posted::NONE,
        redemption: [Posted::NONE; Purpose::ALL.len()],
    };
}

/// The sums over a program's members in one asset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// What lots hold: available and held.
    pub(crate) lots: i64,
    pub(crate) held: i64,
    pub(crate) pending: i64,
    pub(crate) debt: i64,
    /// What lots hold that lapses, by the minute at which it does.
    pub(crate) lapsing: BTreeMap<u32, i64>,
    /// How much of that holds pin, so that it does not lapse before it is let go.
    pub(crate) pinned: BTreeMap<u32, i64>,
}

/// An asset of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AssetBooks {
    pub(crate) accounts: Accounts,
    /// What the program settles with others, in order of their numbers; those that anything moved on.
    pub(crate) conversions: Vec<(ProgramNo, Posted)>,
    pub(crate) sums: Sums,
}

impl AssetBooks {
    /// What is settled with another program, where anything was.
    pub(crate) fn conversion(&self, other: ProgramNo) -> Option<Posted> {
        let place = self.conversions.binary_search_by_key(&other, |(program, _)| *program).ok()?;
        self.conversions.get(place).map(|(_, posted)| *posted)
    }

    /// Sets the account of another program; `None`: nothing ever moved on it.
    pub(crate) fn set_conversion(&mut self, other: ProgramNo, posted: Option<Posted>) {
        let place = self.conversions.binary_search_by_key(&other, |(program, _)| *program);
        match (place, posted) {
            (Ok(place), Some(posted)) => {
                if let Some(known) = self.conversions.get_mut(place) {
                    known.1 = posted;
                }
            }
            (Err(place), Some(posted)) => self.conversions.insert(place, (other, posted)),
            (Ok(place), None) => {
                self.conversions.remove(place);
            }
            (Err(_), None) => {}
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) number: VersionNo,
    pub(crate) effective_from_us: i64,
    pub(crate) spec: Arc<ProgramSpec>,
    pub(crate) definition: Arc<str>,
    pub(crate) campaigns: Vec<CampaignNo>,
    /// What the rules say of assets, said or not.
    pub(crate) more: ProgramMore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purse {
    pub(crate) status: CampaignStatus,
    pub(crate) budget: Posted,
    pub(crate) funded: i64,
    pub(crate) awarded: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) spec: CampaignSpec,
    pub(crate) purse: Purse,
}

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) id: Box<str>,
    pub(crate) zone: TimeZone,
    pub(crate) versions: Vec<Version>,
    pub(crate) campaigns: Vec<Campaign>,
    /// By the numbers of the assets.
    pub(crate) assets: Vec<AssetBooks>,
    /// In pieces of rewards: those ever put in, and those that were bought.
    pub(crate) pieces: Accounts,
    pub(crate) rewards: Rewards,
    pub(crate) members: u64,
    /// Every closing of the books, in order.
    pub(crate) closings: Vec<Closing>,
    /// The names of members' tags, by their numbers.
    pub(crate) tags: Vec<Box<str>>,
}

impl Program {
    /// The accounts of an asset; empty ones for an asset that there is not.
    pub(crate) fn accounts(&self, asset: AssetNo) -> &Accounts {
        match asset {
            AssetNo::PIECES => &self.pieces,
            _ => self.assets.get(usize::from(asset.0)).map_or(&Accounts::NONE, |books| &books.accounts),
        }
    }

    pub(crate) fn accounts_mut(&mut self, asset: AssetNo) -> Option<&mut Accounts> {
        match asset {
            AssetNo::PIECES => Some(&mut self.pieces),
            _ => self.books_mut(asset).map(|books| &mut books.accounts),
        }
    }

    /// What an asset settles with another program; nothing where nothing ever was.
    pub(crate) fn conversion(&self, asset: AssetNo, other: ProgramNo) -> Posted {
        let books = self.assets.get(usize::from(asset.0));
        books.and_then(|books| books.conversion(other)).unwrap_or_default()
    }

    pub(crate) fn books_mut(&mut self, asset: AssetNo) -> Option<&mut AssetBooks> {
        self.assets.get_mut(usize::from(asset.0))
    }

    /// Counts when lots of a member lapse that was loaded: the other sums were loaded too.
    pub(crate) fn count_lapsing(&mut self, holding: &Holding) -> Result<(), &'static str> {
        for lot in &holding.lots {
            let Some(minute) = holding.lapse_of(lot.key) else { continue };
            let units = i64::try_from(lot.units()).map_err(|_| OVERFLOW)?;
            let sums = &mut self.books_mut(lot.key.asset).ok_or(NO_ASSET)?.sums;
            sums.add_lot(Some(minute), units)?;
            sums.lots -= units;
        }
        for (asset, minute, units) in pinned_of(holding) {
            let sums = &mut self.books_mut(asset).ok_or(NO_ASSET)?.sums;
            add_at(&mut sums.pinned, minute, i64::try_from(units).map_err(|_| OVERFLOW)?)?;
        }
        Ok(())
    }

    /// Makes room for the books of all assets of a version.
    pub(crate) fn grow_assets(&mut self, count: usize) {
        let count = count.min(ASSETS_MAX);
        if self.assets.len() < count {
            self.assets.resize_with(count, AssetBooks::default);
        }
    }

    pub(crate) fn newest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// The newest version that holds at a business time.
    pub(crate) fn version_at(&self, occurred_at_us: i64) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.effective_from_us <= occurred_at_us)
    }

    pub(crate) fn version(&self, number: VersionNo) -> Option<&Version> {
        let place = usize::try_from(number.0).ok()?.checked_sub(1)?;
        self.versions.get(place)
    }

    pub(crate) fn campaign(&self, number: CampaignNo) -> Option<&Campaign> {
        self.campaigns.get(usize::from(number.0))
    }

    pub(crate) fn campaign_mut(&mut self, number: CampaignNo) -> Option<&mut Campaign> {
        self.campaigns.get_mut(usize::from(number.0))
    }

    pub(crate) fn campaign_number(&self, id: &str) -> Option<CampaignNo> {
        let place = self.campaigns.iter().position(|campaign| campaign.spec.id == id)?;
        u16::try_from(place).ok().map(CampaignNo)
    }
}

impl Version {
    /// What the rules say of an asset.
    pub(crate) fn asset(&self, asset: AssetNo) -> Option<&AssetSpec> {
        self.more.assets.get(usize::from(asset.0))
    }

    pub(crate) fn rule(&self, kind: &str) -> Option<&Rule> {
        self.spec.rules.iter().find(|rule| rule.kind == kind)
    }
}

const OVERFLOW: &str = "a sum over members overflows";
const NO_ASSET: &str = "an event is in an asset that its program has not";

impl Sums {
    pub(super) fn add_lot(&mut self, minute: Option<u32>, units: i64) -> Result<(), &'static str> {
        self.lots = self.lots.checked_add(units).ok_or(OVERFLOW)?;
        minute.map_or(Ok(()), |minute| add_at(&mut self.lapsing, minute, units))
    }
}

fn add_at(sums: &mut BTreeMap<u32, i64>, minute: u32, units: i64) -> Result<(), &'static str> {
    if units != 0 {
        let sum = sums.entry(minute).or_default();
        *sum = sum.checked_add(units).ok_or(OVERFLOW)?;
        if *sum == 0 {
            sums.remove(&minute);
        }
    }
    Ok(())
}

/// What holds pin of the lots of a member that lapse: the asset, the minute, the units.
fn pinned_of(holding: &Holding) -> impl Iterator<Item = (AssetNo, u32, u64)> {
    let parts = holding.holds.iter().flat_map(|hold| hold.parts.iter().map(|part| (hold.asset, *part)));
    parts.filter_map(|(asset, (lot, units))| Some((asset, holding.lapse_of(LotKey { asset, lot })?, units)))
}

/// Adds what a member has to the sums of a program's assets.
fn add_holding(sums: &mut [Sums], holding: &Holding) -> Result<(), &'static str> {
    for lot in &holding.lots {
        let units = i64::try_from(lot.units()).map_err(|_| OVERFLOW)?;
        let sums = sums.get_mut(usize::from(lot.key.asset.0)).ok_or(NO_ASSET)?;
        sums.add_lot(holding.lapse_of(lot.key), units)?;
    }
    for (asset, minute, units) in pinned_of(holding) {
        let sums = sums.get_mut(usize::from(asset.0)).ok_or(NO_ASSET)?;
        add_at(&mut sums.pinned, minute, i64::try_from(units).map_err(|_| OVERFLOW)?)?;
    }
    for (place, sums) in (0_u8..).zip(sums.iter_mut()) {
        let AssetBalances { held, pending, debt, .. } = holding.balances(AssetNo(place));
        for (sum, units) in [(&mut sums.held, held), (&mut sums.pending, pending), (&mut sums.debt, debt)] {
            *sum = sum.checked_add(units).ok_or(OVERFLOW)?;
        }
    }
    Ok(())
}

/// What a cap counts: a member, a campaign of the member's program, a span.
pub(crate) type CapKey = (MemberNo, CampaignNo, CapSpan);

/// The span of a cap of a program's campaign: what the counters of all members have in common.
pub(crate) type ProgramSpan = (ProgramNo, CampaignNo, CapSpan);

/// The day of book time, since the Unix epoch.
fn day_of(book_time_us: i64) -> i64 {
    book_time_us.div_euclid(DAY_US)
}

/// Whether no earn can meet the counters of a span any more from that day on.
fn is_over(programs: &[Program], (program, campaign, span): ProgramSpan, day: i64) -> bool {
    let Some(program) = programs.get(usize::from(program.0)) else { return false };
    let Some((newest, campaign)) = program.newest().zip(program.campaign(campaign)) else { return false };
    // A day more than business time may be late, for the distance between local and universal days.
    let last_day = i64::from(span.first_day) + MONTH_DAYS_MAX + LATE_MAX_US.div_euclid(DAY_US) + 1;
    let met = span.per == CapPer::Campaign || newest.spec.import_mode || day <= last_day;
    !met || campaign.purse.status == CampaignStatus::Closed
}

/// What a step of an atomic batch was before it, so that the batch can be undone.
#[derive(Debug)]
pub(crate) enum Undo {
    /// What the scope began with.
    Began {
        newest: Op,
        keys_digest: u128,
        taken_digest: u128,
    },
    /// A member, by program and the hash of the id.
    Opened(ProgramNo, u128),
    Holding(MemberNo, Box<Holding>),
    Accounts(ProgramNo, AssetNo, Box<Accounts>),
    /// What an asset of a program settled with another program.
    Conversion(ProgramNo, AssetNo, ProgramNo, Option<Posted>),
    Purse(ProgramNo, CampaignNo, Purse),
    /// A reward's pieces: those that are left, and those that are reserved.
    Pieces(ProgramNo, RewardNo, Posted, Posted),
    Key(u128),
    TakenBack(Op, Option<Op>),
    Cap(CapKey, Option<u64>),
    /// How many names of tags a program had.
    Tags(ProgramNo, usize),
    /// A member went into another, to whom so many led before.
    Joined(usize),
}

/// The ledger's state. One thread changes it, through [`Ledger::evolve`] alone.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) limits: Limits,
    pub(crate) newest: Op,
    pub(crate) programs: Vec<Program>,
    /// Every snapshot ever taken, in order.
    pub(crate) snapshots: Vec<SnapshotView>,
    pub(crate) members: Members,
    /// The newest keys and take-backs.
    pub(crate) generation: Generation,
    /// Those that are being written into runs, oldest first.
    pub(crate) sealing: Vec<Arc<Generation>>,
    /// What all keys and their ops come to, also those that are no longer in memory.
    pub(crate) keys_digest: u128,
    /// What all take-backs come to: of each earn the latest.
    pub(crate) taken_digest: u128,
    /// The day of book time, since the Unix epoch, on which counters of caps were last swept.
    pub(crate) swept_day: i64,
    pub(crate) undo: Option<Vec<Undo>>,
    /// The day that is to be swept for when the undo scope ends and its events stay.
    day_due: Option<i64>,
    pub(crate) capture: Option<Capture>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            newest: Op(0),
            programs: Vec::new(),
            snapshots: Vec::new(),
            members: Members::new(),
            generation: Generation::new(Op(0)),
            sealing: Vec::new(),
            keys_digest: 0,
            taken_digest: 0,
            swept_day: i64::MIN,
            undo: None,
            day_due: None,
            capture: None,
        }
    }

    /// The newest event's op; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> Op {
        self.newest
    }

    /// Asks for what deciding these commands will look up, so that each pass waits for memory once and not once a command.
    /// It changes nothing and says nothing.
    pub fn touch(&self, commands: &[Command]) {
        for command in commands {
            // The network's threads wrote them: they lie near another core.
            near::ask(command.key.as_str());
            if let Action::Earn { event_kind: Some(kind), .. } = &command.action {
                near::ask(kind.as_str());
            }
            self.touch_key(command.key_print);
            self.members.touch(command.member_hash);
        }
        for command in commands {
            if let Some(number) = self.members.find(command.member_hash) {
                self.members.touch_number(number);
            }
        }
    }

    /// Asks for what replaying an event will look up, so that events ahead wait for memory together; see [`Self::touch`].
    pub fn touch_event(&self, hashes: Hashes, member: Option<MemberNo>) {
        self.touch_newest(hashes.key);
        match member {
            // An event that opens its member alone has the hash of the id.
            Some(_) if hashes.member != 0 => self.members.touch(hashes.member),
            Some(number) => self.members.touch_number(number),
            None => {}
        }
    }

    /// The number of the member whose id has that hash, see [`super::print::Prints::member`].
    #[must_use]
    pub fn member(&self, member_hash: u128) -> Option<MemberNo> {
        self.members.find(member_hash)
    }

    /// A member's balances; zeros for a number that no member has.
    #[must_use]
    pub fn balances(&self, member: MemberNo) -> Balances {
        self.members.holding(member).map_or(Balances::default(), |holding| holding.points())
    }

    /// A member's newest event.
    #[must_use]
    pub fn member_head(&self, member: MemberNo) -> Op {
        self.members.holding(member).map_or(Op(0), |holding| holding.head)
    }

    /// A member's id.
    #[must_use]
    pub fn member_id(&self, member: MemberNo) -> Option<&str> {
        self.members.id(member)
    }

    /// The number of a program.
    #[must_use]
    pub fn program_number(&self, id: &str) -> Option<ProgramNo> {
        let place = self.programs.iter().position(|program| &*program.id == id)?;
        u16::try_from(place).ok().map(ProgramNo)
    }

    /// The id of a program.
    #[must_use]
    pub fn program_id(&self, number: ProgramNo) -> Option<&str> {
        self.program(number).map(|program| &*program.id)
    }

    pub(crate) fn program(&self, number: ProgramNo) -> Option<&Program> {
        self.programs.get(usize::from(number.0))
    }

    pub(crate) fn program_mut(&mut self, number: ProgramNo) -> Option<&mut Program> {
        self.programs.get_mut(usize::from(number.0))
    }

    /// Every snapshot ever taken, in the order of their ops, the deleted ones included.
    #[must_use]
    pub fn snapshots(&self) -> &[SnapshotView] {
        &self.snapshots
    }

    /// Brings what changed between two states of a member's holding into the sums over members.
    ///
    /// # Errors
    /// What would overflow, or a program or asset that there is not.
    pub(crate) fn count(
        &mut self,
        (program, member): (ProgramNo, MemberNo),
        before: &Holding,
        after: &Holding,
    ) -> Result<(), &'static str> {
        let program = self.program_mut(program).ok_or("the event's program is unknown")?;
        if before.is_plain() && after.is_plain() && before.has_lots_of(after) {
            for (was, is) in before.lots.iter().zip(&after.lots).filter(|(was, is)| was.units() != is.units()) {
                let signed = |lot: &Lot| i64::try_from(lot.units()).map_err(|_| OVERFLOW);
                let moved = signed(is)?.checked_sub(signed(was)?).ok_or(OVERFLOW)?;
                let sums = &mut program.books_mut(is.key.asset).ok_or(NO_ASSET)?.sums;
                sums.add_lot(after.lapse_of(is.key), moved)?;
            }
            return Ok(());
        }
        if before.holds != after.holds {
            program.rewards.reserving.follow(member, &before.holds, &after.holds);
        }
        let rolled = before.rolls != after.rolls;
        let same = |lot: &Lot, other: Option<&Lot>| {
            // A rolling lot moves in time without a change of its own.
            other == Some(lot) && !(rolled && lot.key.lot.expiry == Expiry::Rolling)
        };
        for (holding, other, sign) in [(before, after, -1_i64), (after, before, 1)] {
            for lot in holding.lots.iter().filter(|lot| !same(lot, other.lot(lot.key))) {
                let units = i64::try_from(lot.units()).map_err(|_| OVERFLOW)?;
                let minute = holding.lapse_of(lot.key);
                program.books_mut(lot.key.asset).ok_or(NO_ASSET)?.sums.add_lot(minute, sign * units)?;
            }
            if rolled || before.holds != after.holds {
                for (asset, minute, units) in pinned_of(holding) {
                    let sums = &mut program.books_mut(asset).ok_or(NO_ASSET)?.sums;
                    add_at(&mut sums.pinned, minute, sign * i64::try_from(units).map_err(|_| OVERFLOW)?)?;
                }
            }
            let mut add = |asset: AssetNo, part: fn(&mut Sums) -> &mut i64, units: i64| {
                let sum = part(&mut program.books_mut(asset).ok_or(NO_ASSET)?.sums);
                *sum = sum.checked_add(sign * units).ok_or(OVERFLOW)?;
                Ok::<_, &'static str>(())
            };
            if before.debts != after.debts {
                for (asset, debt) in &holding.debts {
                    add(*asset, |sums| &mut sums.debt, *debt)?;
                }
            }
            if before.holds != after.holds {
                for hold in &holding.holds {
                    add(hold.asset, |sums| &mut sums.held, i64::try_from(hold.units()).map_err(|_| OVERFLOW)?)?;
                }
            }
            if before.pending != after.pending {
                for (key, units) in holding.pending.iter().flat_map(|pending| &pending.parts) {
                    add(key.asset, |sums| &mut sums.pending, i64::try_from(*units).map_err(|_| OVERFLOW)?)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the members' balances come to the sums of their programs, and the accounts of every program sum to
    /// zero in each asset; the first that does not is named. What is available to a member is what the lots hold less
    /// what is held, and nothing beside.
    ///
    /// # Errors
    /// A sentence that names the program.
    pub fn check_sums(&self) -> Result<(), String> {
        let mut summed: Vec<Vec<Sums>> =
            self.programs.iter().map(|program| vec![Sums::default(); program.assets.len()]).collect();
        let mut reserved = Reserved::default();
        for (member, (program, holding)) in (0..=u32::MAX).map(MemberNo).zip(self.members.iter()) {
            let sums = summed.get_mut(usize::from(program.0)).ok_or("a member's program is unknown")?;
            add_holding(sums, &holding).map_err(str::to_owned)?;
            reserved.add(program, member, &holding.holds);
        }
        self.check_reserved(&reserved)?;
        for (program, summed) in self.programs.iter().zip(summed) {
            if program.assets.iter().map(|books| &books.sums).ne(summed.iter()) {
                return Err(format!("the members' balances of program {} differ from their total", program.id));
            }
            let mut sums: BTreeMap<AssetNo, i128> = BTreeMap::new();
            for (asset, row) in self.trial_of(program) {
                *sums.entry(asset).or_default() += i128::from(row.balance);
            }
            if sums.values().any(|sum| *sum != 0) {
                return Err(format!("the accounts of program {} do not sum to zero", program.id));
            }
        }
        Ok(())
    }

    /// Drops the counters of caps that no earn can meet any more, once a day of book time: those of closed campaigns,
    /// and outside import mode those of days, weeks and months that are over by longer than business time may be late.
    /// A cap over the whole campaign counts until it is closed, since a later version may move its end. A program that
    /// goes back to import mode counts the forgotten spans anew. Events alone turn the day, so that live state and replay
    /// agree at every op; those of an undo scope when it ends, since what was swept is not put back.
    pub(crate) fn turn_day(&mut self, book_time_us: i64) {
        let day = day_of(book_time_us);
        if day <= self.swept_day {
            return;
        }
        if self.undo.is_some() {
            self.day_due = Some(day);
            return;
        }
        self.swept_day = day;
        let programs = &self.programs;
        self.members.sweep_caps(|span| is_over(programs, span, day));
    }

    /// How many counters of caps there are once an event of that time has turned the day.
    pub(crate) fn caps_at(&self, book_time_us: i64) -> usize {
        let day = day_of(book_time_us);
        let over = match day > self.swept_day {
            true => self.members.caps_of(|span| is_over(&self.programs, span, day)),
            false => 0,
        };
        self.members.caps_len().saturating_sub(over)
    }

    /// Begins a scope that [`Self::roll_back`] can undo.
    pub fn begin_undo(&mut self) {
        let (newest, keys_digest, taken_digest) = (self.newest, self.keys_digest, self.taken_digest);
        self.undo = Some(vec![Undo::Began { newest, keys_digest, taken_digest }]);
    }

    /// Ends the scope and keeps what happened in it.
    pub fn commit_undo(&mut self) {
        self.undo = None;
        if let Some(day) = self.day_due.take() {
            self.turn_day(day.saturating_mul(DAY_US));
        }
    }

    /// Ends the scope and takes everything that happened in it back.
    pub fn roll_back(&mut self) {
        self.day_due = None;
        for step in self.undo.take().unwrap_or_default().into_iter().rev() {
            match step {
                Undo::Opened(program, hash) => {
                    self.members.close_newest(hash);
                    if let Some(program) = self.program_mut(program) {
                        program.members = program.members.saturating_sub(1);
                    }
                }
                Undo::Holding(member, before) => {
                    if let (Some(after), Some(program)) = (self.members.holding(member), self.members.program(member)) {
                        // What was summed once can be summed back.
                        let _summed = self.count((program, member), &after, &before);
                        self.members.set_holding(member, &before);
                    }
                }
                Undo::Accounts(program, asset, before) => {
                    if let Some(accounts) = self.program_mut(program).and_then(|program| program.accounts_mut(asset)) {
                        *accounts = *before;
                    }
                }
                Undo::Conversion(program, asset, other, before) => {
                    if let Some(books) = self.program_mut(program).and_then(|program| program.books_mut(asset)) {
                        books.set_conversion(other, before);
                    }
                }
                Undo::Purse(program, campaign, before) => {
                    if let Some(campaign) = self.program_mut(program).and_then(|p| p.campaign_mut(campaign)) {
                        campaign.purse = before;
                    }
                }
                Undo::Pieces(program, reward, stock, reserved) => {
                    self.undo_pieces(program, reward, stock, reserved);
                }
                Undo::Key(print) => self.generation.remove(print),
                Undo::TakenBack(original, before) => {
                    self.generation.take(original, before);
                }
                Undo::Cap(key, before) => self.members.set_cap(key, before),
                Undo::Tags(program, before) => {
                    if let Some(program) = self.program_mut(program) {
                        program.tags.truncate(before);
                    }
                }
                Undo::Joined(led) => self.members.aliases.part(led),
                Undo::Began { newest, keys_digest, taken_digest } => {
                    (self.newest, self.keys_digest, self.taken_digest) = (newest, keys_digest, taken_digest);
                }
            }
        }
    }

    pub(crate) fn note(&mut self, step: impl FnOnce(&Self) -> Option<Undo>) {
        if self.undo.is_some()
            && let Some(step) = step(self)
            && let Some(undo) = &mut self.undo
        {
            undo.push(step);
        }
    }
}
