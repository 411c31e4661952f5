//! The balances now: what all events so far come to.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::capture::Capture;
use super::command::{Command, Purpose};
use super::decide::LATE_MAX_US;
use super::event::{Balances, CapSpan};
use super::evolve::Hashes;
use super::generation::Generation;
use super::holding::Holding;
use super::ids::{CampaignNo, MemberNo, Op, ProgramNo, VersionNo};
use super::members::Members;
use super::spec::{CampaignSpec, CapPer, ProgramSpec, Rule};
use super::view::{CampaignStatus, SnapshotView};

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
/// Snapshots that a book may have had, the deleted ones included.
pub const SNAPSHOTS_MAX: usize = 10_000;

/// The bounds on what the books hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members over all programs.
    pub members_max: u32,
    /// Counters of members' caps, over all campaigns and spans.
    pub cap_counters_max: usize,
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

/// The accounts of a program that are neither a member's nor a campaign's, and the sums over its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) issuance: Posted,
    pub(crate) adjustment: Posted,
    pub(crate) opening: Posted,
    pub(crate) redemption: [Posted; Purpose::ALL.len()],
    pub(crate) available: i64,
    pub(crate) debt: i64,
    pub(crate) members: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) number: VersionNo,
    pub(crate) effective_from_us: i64,
    pub(crate) spec: Arc<ProgramSpec>,
    pub(crate) definition: Arc<str>,
    pub(crate) campaigns: Vec<CampaignNo>,
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
    pub(crate) totals: Totals,
}

impl Program {
    pub(crate) fn newest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// The newest version that holds at a business time.
    pub(crate) fn version_at(&self, occurred_at_us: i64) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.effective_from_us <= occurred_at_us)
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
    pub(crate) fn rule(&self, kind: &str) -> Option<&Rule> {
        self.spec.rules.iter().find(|rule| rule.kind == kind)
    }
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
    /// A member, by the hash of the id.
    Opened(u128),
    Holding(MemberNo, Holding),
    Totals(ProgramNo, Totals),
    Purse(ProgramNo, CampaignNo, Purse),
    Key(u128),
    TakenBack(Op, Option<Op>),
    Cap(CapKey, Option<u64>),
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

    /// Loads what deciding these commands will look up: each pass waits for memory once and not once a command. It
    /// changes nothing and says nothing.
    pub fn touch(&self, commands: &[Command]) {
        for command in commands {
            self.touch_key(command.key_print);
            self.members.touch(command.member_hash);
        }
        for command in commands {
            if let Some(number) = self.members.find(command.member_hash) {
                self.members.touch_number(number);
            }
        }
    }

    /// Loads what replaying an event will look up, so that events ahead wait for memory together; see [`Self::touch`].
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
        self.members.holding(member).map_or(Balances::default(), |holding| holding.balances)
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

    /// Whether the members' balances come to the totals of their programs, and the accounts of every program sum to
    /// zero; the first that does not is named. What is available to a member is what the lots hold, and nothing beside.
    ///
    /// # Errors
    /// A sentence that names the program.
    pub fn check_sums(&self) -> Result<(), String> {
        let mut sums = vec![(0_i128, 0_i128); self.programs.len()];
        for (program, holding) in self.members.iter() {
            if let Some(sum) = sums.get_mut(usize::from(program.0)) {
                sum.0 += i128::from(holding.balances.available);
                sum.1 += i128::from(holding.balances.debt);
            }
        }
        for (program, (available, debt)) in self.programs.iter().zip(sums) {
            let totals = &program.totals;
            if i128::from(totals.available) != available || i128::from(totals.debt) != debt {
                return Err(format!("the members' balances of program {} differ from their total", program.id));
            }
            let rows = self.trial_rows(program);
            if rows.iter().map(|row| i128::from(row.balance)).sum::<i128>() != 0 {
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
                Undo::Opened(hash) => self.members.close_newest(hash),
                Undo::Holding(member, before) => {
                    self.members.set_holding(member, &before);
                }
                Undo::Totals(program, before) => {
                    if let Some(program) = self.program_mut(program) {
                        program.totals = before;
                    }
                }
                Undo::Purse(program, campaign, before) => {
                    if let Some(campaign) = self.program_mut(program).and_then(|p| p.campaign_mut(campaign)) {
                        campaign.purse = before;
                    }
                }
                Undo::Key(print) => self.generation.remove(print),
                Undo::TakenBack(original, before) => {
                    self.generation.take(original, before);
                }
                Undo::Cap(key, before) => self.members.set_cap(key, before),
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
