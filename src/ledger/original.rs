//! What a refund has to know of the earn that it takes back: facts of two events, the earn and its latest refund.

use arrayvec::ArrayVec;

use super::command::{Basis, Command, Original};
use super::event::{Account, CapSpan, Event, Source, WINNERS_MAX};
use super::generation::{Found, Lookup};
use super::ids::{CampaignNo, MemberNo, Op, ProgramNo, VersionNo};
use super::state::Ledger;

/// A campaign's part in an earn, and what refunds took of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginalShare {
    /// Which campaign.
    pub campaign: CampaignNo,
    /// What it awarded.
    pub awarded: u64,
    /// What refunds took back so far.
    pub taken: u64,
    /// The span of the cap that counted it.
    pub cap: Option<CapSpan>,
}

/// The positions that an earn's units took in a lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Where they begin.
    pub position: u64,
    /// How many there are.
    pub units: u64,
}

/// The facts of an applied earn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalFacts {
    /// Its op.
    pub op: Op,
    /// Its program.
    pub program: ProgramNo,
    /// Its member.
    pub member: MemberNo,
    /// What it was reckoned from.
    pub basis: Basis,
    /// The version of the rules.
    pub version: VersionNo,
    /// The base award.
    pub base: u64,
    /// The campaigns' parts.
    pub shares: ArrayVec<OriginalShare, WINNERS_MAX>,
    /// Where its base units lie.
    pub base_lot: Option<Interval>,
    /// Where its campaigns' units lie.
    pub campaign_lot: Option<Interval>,
    /// The latest refund of it.
    pub latest_refund: Option<Op>,
    /// How much of its amount is refunded.
    pub amount_refunded: u64,
    /// What refunds took of its base.
    pub base_taken: u64,
}

/// What the book says of a refund's original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Nothing answers to the name.
    NotFound,
    /// An event does, but it is no applied earn.
    NotAnEarn,
    /// The earn.
    Found(Box<OriginalFacts>),
}

/// What has to be read from the book or its runs before a command can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Nothing, since nothing answers to the name.
    NotFound,
    /// The earn, and its latest refund if there is one.
    Original {
        /// The earn.
        op: Op,
        /// Its latest refund.
        latest_refund: Option<Op>,
    },
    /// The member's events from this one backwards, for the newest applied earn with the reference.
    Walk {
        /// The member's newest event.
        head: Op,
    },
    /// What the runs answer to this.
    Runs(Lookup),
}

impl Resolved {
    /// The facts of an original, from its event and that of its latest refund.
    #[must_use]
    pub fn from_events(op: Op, original: &Event<'_>, latest_refund: Option<(Op, &Event<'_>)>) -> Self {
        let Event::Earned(earned) = original else {
            return Self::NotAnEarn;
        };
        let Some(member) = earned.common.member.number() else {
            return Self::NotAnEarn;
        };
        let interval = |source: Source| {
            earned.legs.iter().find_map(|leg| match leg.account {
                Account::Available { lot, position } if lot.source == source => {
                    Some(Interval { position, units: leg.amount.unsigned_abs() })
                }
                _ => None,
            })
        };
        let mut facts = OriginalFacts {
            op,
            program: earned.common.program,
            member,
            basis: earned.basis,
            version: earned.version,
            base: earned.base,
            shares: ArrayVec::new(),
            base_lot: interval(Source::Base),
            campaign_lot: interval(Source::Campaign),
            latest_refund: None,
            amount_refunded: 0,
            base_taken: 0,
        };
        for share in earned.shares.iter() {
            facts.shares.push(OriginalShare {
                campaign: share.campaign,
                awarded: share.awarded,
                taken: 0,
                cap: share.cap.map(|cap| cap.span),
            });
        }
        if let Some((refund_op, Event::Refunded(refund))) = latest_refund
            && let Some(from) = &refund.from
        {
            facts.latest_refund = Some(refund_op);
            facts.amount_refunded = from.amount_total;
            facts.base_taken = from.base_total;
            for (share, taken) in facts.shares.iter_mut().zip(from.shares.iter()) {
                share.taken = taken.taken_total;
            }
        }
        Self::Found(Box::new(facts))
    }
}

impl Ledger {
    /// What has to be read before `command` can be decided; `runs` is asked where memory has no answer.
    #[must_use]
    pub fn needs(&self, command: &Command, runs: &impl Fn(Lookup) -> Found) -> Need {
        let super::command::Action::Refund { original, .. } = &command.action else {
            return Need::Nothing;
        };
        match original {
            Original::None => Need::Nothing,
            Original::Op(op) if op.0 == 0 || *op > self.newest => Need::NotFound,
            Original::Op(op) => self.needs_original(*op, runs),
            Original::Key(print) => match self.find_key(*print, runs) {
                Ok(op) => op.map_or(Need::NotFound, |op| self.needs_original(op, runs)),
                Err(lookup) => Need::Runs(lookup),
            },
            Original::Reference(_) => match self.members.find(command.member_hash) {
                Some(member) => Need::Walk { head: self.member_head(member) },
                None => Need::NotFound,
            },
        }
    }

    /// What has to be read of an earn that is known by its op.
    #[must_use]
    pub fn needs_original(&self, op: Op, runs: &impl Fn(Lookup) -> Found) -> Need {
        match self.find_refund(op, runs) {
            Ok(latest_refund) => Need::Original { op, latest_refund },
            Err(lookup) => Need::Runs(lookup),
        }
    }
}
