//! The balances now: what all events so far come to.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::command::Purpose;
use super::decide::LATE_MAX_US;
use super::event::{Balances, CapSpan};
use super::ids::{CampaignNo, MemberNo, Op, ProgramNo, VersionNo};
use super::index::Index;
use super::members::{Holding, Members};
use super::spec::{CampaignSpec, CapPer, ProgramSpec, Rule};
use super::view::CampaignStatus;

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

/// What a step of an atomic batch was before it, so that the batch can be undone.
#[derive(Debug)]
pub(crate) enum Undo {
    Opened,
    Holding(MemberNo, Holding),
    Totals(ProgramNo, Totals),
    Purse(ProgramNo, CampaignNo, Purse),
    Key(u128),
    TakenBack(Op, Option<Op>),
    Cap(CapKey, Option<u64>),
    Newest(Op),
}

/// The ledger's state. One thread changes it, through [`Ledger::evolve`] alone.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) limits: Limits,
    pub(crate) newest: Op,
    pub(crate) programs: Vec<Program>,
    pub(crate) members: Members,
    pub(crate) keys: Index<Op>,
    pub(crate) taken_back: HashMap<Op, Op>,
    pub(crate) caps: HashMap<CapKey, u64>,
    /// The day of book time, since the Unix epoch, on which counters of caps were last swept.
    pub(crate) swept_day: i64,
    pub(crate) undo: Option<Vec<Undo>>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            newest: Op(0),
            programs: Vec::new(),
            members: Members::new(),
            keys: Index::new(),
            taken_back: HashMap::new(),
            caps: HashMap::new(),
            swept_day: i64::MIN,
            undo: None,
        }
    }

    /// The newest event's op; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> Op {
        self.newest
    }

    /// The op that took a key, if one did.
    #[must_use]
    pub fn key(&self, print: u128) -> Option<Op> {
        self.keys.get(print)
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
        self.members.identity(member).map(|identity| &*identity.id)
    }

    /// The latest refund of an earn, if it was refunded.
    #[must_use]
    pub fn latest_refund(&self, original: Op) -> Option<Op> {
        self.taken_back.get(&original).copied()
    }

    /// The number of a program.
    #[must_use]
    pub fn program_number(&self, id: &str) -> Option<ProgramNo> {
        let place = self.programs.iter().position(|program| &*program.id == id)?;
        u16::try_from(place).ok().map(ProgramNo)
    }

    pub(crate) fn program(&self, number: ProgramNo) -> Option<&Program> {
        self.programs.get(usize::from(number.0))
    }

    pub(crate) fn program_mut(&mut self, number: ProgramNo) -> Option<&mut Program> {
        self.programs.get_mut(usize::from(number.0))
    }

    /// Whether every member's lots hold what is available, and the accounts of every program sum to zero; the first
    /// that does not is named.
    ///
    /// # Errors
    /// A sentence that names the member or program.
    pub fn check_sums(&self) -> Result<(), String> {
        let mut sums = vec![(0_i128, 0_i128); self.programs.len()];
        for (identity, holding) in self.members.iter() {
            let lots = holding.lot_units().and_then(|units| i64::try_from(units).ok());
            if lots != Some(holding.balances.available) {
                return Err(format!("the lots of member {} differ from the available balance", identity.id));
            }
            if let Some(sum) = sums.get_mut(usize::from(identity.program.0)) {
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
    /// goes back to import mode counts the forgotten spans anew. A frame begins with it, and an event that is replayed;
    /// never inside an undo scope, so that live state and replay agree at every op.
    pub fn turn_day(&mut self, book_time_us: i64) {
        let day = book_time_us.div_euclid(DAY_US);
        if day <= self.swept_day || self.undo.is_some() {
            return;
        }
        self.swept_day = day;
        let (programs, members) = (&self.programs, &self.members);
        self.caps.retain(|(member, number, span), _| {
            let program = members.identity(*member).and_then(|m| programs.get(usize::from(m.program.0)));
            let Some((program, newest)) = program.and_then(|p| p.newest().map(|newest| (p, newest))) else {
                return true;
            };
            let Some(campaign) = program.campaign(*number) else { return true };
            // A day more than business time may be late, for the distance between local and universal days.
            let last_day = i64::from(span.first_day) + MONTH_DAYS_MAX + LATE_MAX_US.div_euclid(DAY_US) + 1;
            let met = span.per == CapPer::Campaign || newest.spec.import_mode || day <= last_day;
            met && campaign.purse.status != CampaignStatus::Closed
        });
    }

    /// Begins a scope that [`Self::roll_back`] can undo.
    pub fn begin_undo(&mut self) {
        self.undo = Some(vec![Undo::Newest(self.newest)]);
    }

    /// Ends the scope and keeps what happened in it.
    pub fn commit_undo(&mut self) {
        self.undo = None;
    }

    /// Ends the scope and takes everything that happened in it back.
    pub fn roll_back(&mut self) {
        for step in self.undo.take().unwrap_or_default().into_iter().rev() {
            match step {
                Undo::Opened => self.members.close_newest(),
                Undo::Holding(member, before) => {
                    if let Some(holding) = self.members.holding_mut(member) {
                        *holding = before;
                    }
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
                Undo::Key(print) => self.keys.remove(print),
                Undo::TakenBack(original, Some(before)) => {
                    self.taken_back.insert(original, before);
                }
                Undo::TakenBack(original, None) => {
                    self.taken_back.remove(&original);
                }
                Undo::Cap(key, Some(before)) => {
                    self.caps.insert(key, before);
                }
                Undo::Cap(key, None) => {
                    self.caps.remove(&key);
                }
                Undo::Newest(op) => self.newest = op,
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
