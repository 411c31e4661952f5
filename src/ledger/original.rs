//! What a command has to know of the event that it names: facts of the event itself, of the latest refund or reversal of
//! it, and of what became of its units since.

use arrayvec::ArrayVec;
use smallvec::SmallVec;

use super::aliases::Way;
use super::command::{Action, Basis, Command, Original, Purpose};
use super::event::{CapSpan, Claimed, Earned, Event, LotId, Refunded, Reversed, WINNERS_MAX};
use super::generation::{Found, Lookup};
use super::ids::{AssetNo, CampaignNo, MemberNo, Op, ProgramNo, VersionNo};
use super::own::{ENDS_MAX, End, Own, leaving, split};
use super::reward::pieces_of;
use super::state::Ledger;

/// A campaign's part in an earn, and what refunds asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginalShare {
    /// Which campaign.
    pub campaign: CampaignNo,
    /// What it awarded.
    pub awarded: u64,
    /// What refunds asked so far.
    pub taken: u64,
    /// The span of the cap that counted it.
    pub cap: Option<CapSpan>,
}

/// The facts of an applied earn, and how much of it was refunded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarnFacts {
    /// What it was reckoned from.
    pub basis: Basis,
    /// The version of the rules.
    pub version: VersionNo,
    /// The asset of the base award.
    pub asset: AssetNo,
    /// The base award.
    pub base: u64,
    /// The second award: its asset, how much it was, what refunds asked of it.
    pub also: Option<(AssetNo, u64, u64)>,
    /// The campaigns' parts.
    pub shares: ArrayVec<OriginalShare, WINNERS_MAX>,
    /// How much of its amount is refunded.
    pub amount_refunded: u64,
    /// What refunds asked of its base.
    pub base_taken: u64,
}

/// The account that an event which can be undone moved units from or to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// They were spent.
    Redemption(Purpose),
    /// An operator gave or took them.
    Adjustment,
    /// They were given.
    Issuance,
    /// They were paid for.
    Cash,
}

/// What an event did that can be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It took units from the member: the lots that it took them from, in the order in which it did.
    Took(SmallVec<[(LotId, u64); 2]>),
    /// It gave the member units, and so many on top of those that were paid for.
    Gave {
        /// Units on top.
        bonus: u64,
    },
}

/// The facts of an event that can be undone, and how much of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoFacts {
    /// The asset.
    pub asset: AssetNo,
    /// Its units; of a top-up those that were paid for.
    pub of: u64,
    /// Units that reversals undid so far.
    pub undone: u64,
    /// The account on the other side.
    pub counter: Counter,
    /// The pieces of a reward that were bought with the units.
    pub claimed: Option<Claimed>,
    /// What it did.
    pub deed: Deed,
}

/// What kind of event was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An earn, which a refund takes back and an activation makes available.
    Earn(EarnFacts),
    /// One that a reversal undoes.
    Undoable(UndoFacts),
}

/// The facts of an event that a command names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its op.
    pub op: Op,
    /// Its program.
    pub program: ProgramNo,
    /// Its member, or whoever has now what he had: see [`Resolved::followed`].
    pub member: MemberNo,
    /// The latest refund or reversal of it.
    pub latest: Option<Op>,
    /// What is particular to its kind.
    pub kind: Kind,
    /// Where the units are that it gave the member.
    pub own: Own,
    /// How many of those that lapsed refunds or reversals took so far, by asset.
    pub lapsed_taken: SmallVec<[(AssetNo, u64); 1]>,
}

impl Facts {
    /// Units of an asset that refunds or reversals took so far from what had lapsed.
    pub(crate) fn lapsed_taken(&self, asset: AssetNo) -> u64 {
        self.lapsed_taken.iter().find(|(known, _)| *known == asset).map_or(0, |(_, units)| *units)
    }

    /// Units of an asset that the event gave, that lapsed, and that nothing took back so far.
    pub(crate) fn lapsed_left(&self, asset: AssetNo) -> u64 {
        self.own.lapsed(asset).saturating_sub(self.lapsed_taken(asset))
    }
}

/// What the book says of the event that a command names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Nothing answers to the name.
    NotFound,
    /// An event does, but it is neither an applied earn nor one that can be undone.
    Other,
    /// The op that is named, of which nothing has to be read: what is held by it lies in the state.
    Hold(Op),
    /// The event.
    Found(Box<Facts>),
}

/// What has to be read from the book or its runs before a command can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Nothing, since nothing answers to the name.
    NotFound,
    /// Nothing: the hold with that op is meant.
    Hold(Op),
    /// An event, and the latest refund or reversal of it if there is one; then what became of its units, see
    /// [`Resolved::followed`].
    Original {
        /// The event.
        op: Op,
        /// Its latest refund or reversal.
        latest_refund: Option<Op>,
    },
    /// The member's events from this one backwards, for the newest one with the reference that can be meant.
    Walk {
        /// The member's newest event.
        head: Op,
    },
    /// What the runs answer to this.
    Runs(Lookup),
}

/// What kind of event a reference is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sought {
    /// An applied earn.
    Earn,
    /// An event that can be undone.
    Undoable,
}

impl Sought {
    /// Whether an event is of the kind.
    #[must_use]
    pub fn takes(self, event: &Event<'_>) -> bool {
        match self {
            Self::Earn => matches!(event, Event::Earned(_)),
            Self::Undoable => undo_of(event).is_some(),
        }
    }
}

/// How a command names the event that it is about, and what kind of event that may be; `None` for a command that names
/// none, or a hold.
#[must_use]
pub fn named_by(action: &Action) -> Option<(&Original, Sought)> {
    match action {
        Action::Refund { original, .. } | Action::Activate { original } => Some((original, Sought::Earn)),
        Action::Reverse { original, .. } => Some((original, Sought::Undoable)),
        _ => None,
    }
}

/// The event that an event takes back or undoes.
#[must_use]
pub fn taken_by(op: Op, event: &Event<'_>) -> Option<Op> {
    match event {
        Event::Refunded(refund) => op.back(refund.from.as_ref()?.original_link),
        Event::Reversed(reversed) => op.back(reversed.original_link),
        _ => None,
    }
}

fn earn_of(earned: &Earned<'_>) -> EarnFacts {
    let more = earned.more.as_deref();
    let mut facts = EarnFacts {
        basis: earned.basis,
        version: earned.version,
        asset: more.map(|more| more.asset).unwrap_or_default(),
        base: earned.base,
        also: more.and_then(|more| more.also).map(|(asset, units)| (asset, units, 0)),
        shares: ArrayVec::new(),
        amount_refunded: 0,
        base_taken: 0,
    };
    for share in earned.shares.iter() {
        let cap = share.cap.map(|cap| cap.span);
        facts.shares.push(OriginalShare { campaign: share.campaign, awarded: share.awarded, taken: 0, cap });
    }
    facts
}

fn took(event: &Event<'_>, units: u64) -> Deed {
    let (spent, _) = split(leaving(event.legs()), units);
    Deed::Took(spent.into_iter().map(|place| (place.key.lot, place.units)).collect())
}

/// What an event did, if it can be undone: not what was given away, and not what undid another event.
fn undo_of(event: &Event<'_>) -> Option<UndoFacts> {
    let (asset, of, counter, deed) = match event {
        Event::Redeemed(e) if e.purpose != Purpose::Charity => {
            let asset = e.more.as_deref().map(|more| more.asset).unwrap_or_default();
            (asset, e.points, Counter::Redemption(e.purpose), took(event, e.points))
        }
        Event::Captured(e) if e.purpose != Purpose::Charity => {
            (e.asset, e.units, Counter::Redemption(e.purpose), took(event, e.units))
        }
        Event::Adjusted(e) => {
            let asset = e.more.as_deref().map(|more| more.asset).unwrap_or_default();
            let units = e.points.unsigned_abs();
            let deed = if e.points < 0 { took(event, units) } else { Deed::Gave { bonus: 0 } };
            (asset, units, Counter::Adjustment, deed)
        }
        Event::Granted(e) => {
            let counter = if e.topped_up { Counter::Cash } else { Counter::Issuance };
            (e.asset, e.units, counter, Deed::Gave { bonus: e.bonus })
        }
        _ => return None,
    };
    Some(UndoFacts { asset, of, undone: 0, counter, claimed: pieces_of(event), deed })
}

impl Resolved {
    /// The hold that is meant.
    pub(super) fn hold(&self) -> Option<Op> {
        match self {
            Self::Hold(op) => Some(*op),
            _ => None,
        }
    }

    /// The member whose event it is, where it is one that can be taken back or undone.
    #[must_use]
    pub fn member(&self) -> Option<MemberNo> {
        match self {
            Self::Found(facts) => Some(facts.member),
            _ => None,
        }
    }

    /// The facts of an event, from itself and the latest refund or reversal of it.
    #[must_use]
    pub fn from_events(op: Op, original: &Event<'_>, latest: Option<(Op, &Event<'_>)>) -> Self {
        let kind = match original {
            Event::Earned(earned) => Some(Kind::Earn(earn_of(earned))),
            _ => undo_of(original).map(Kind::Undoable),
        };
        let member = original.common().and_then(|common| common.member.number());
        let (Some(kind), Some(member)) = (kind, member) else { return Self::Other };
        let (program, _, _) = original.identity();
        let (own, lapsed_taken) = (Own::of(original.legs()), SmallVec::new());
        let mut facts = Facts { op, program, member, latest: None, kind, own, lapsed_taken };
        match latest {
            Some((at, Event::Refunded(refund))) => facts.refunded(at, refund),
            Some((at, Event::Reversed(reversed))) => facts.reversed(at, reversed),
            _ => {}
        }
        Self::Found(Box::new(facts))
    }

    /// Finds who has now what the event's member had, and follows what became of the event's units since: `end` is asked for the member's ends, the newest first, see
    /// [`ENDS_MAX`].
    ///
    /// # Errors
    /// What `end` answers where it does not know yet.
    pub fn followed<E>(
        mut self,
        ledger: &Ledger,
        mut end: impl FnMut(Op, Op) -> Result<Option<End>, E>,
    ) -> Result<Self, E> {
        let Self::Found(facts) = &mut self else { return Ok(self) };
        let way = ledger.way(facts.member);
        facts.member = way.last().copied().unwrap_or(facts.member);
        if matches!(&facts.kind, Kind::Undoable(UndoFacts { deed: Deed::Took(_), .. })) {
            return Ok(self);
        }
        let mut next = ledger.members.holding(facts.member).map(|holding| holding.ends);
        let mut ends = Vec::new();
        while let Some(op) = next.filter(|op| *op > facts.op)
            && ends.len() < ENDS_MAX
        {
            let Some(found) = end(op, facts.op)? else { break };
            next = found.before(&way);
            ends.push(found);
        }
        facts.own.follow(facts.op, &way, ends.iter().rev());
        Ok(self)
    }
}

impl Facts {
    fn refunded(&mut self, at: Op, refund: &Refunded<'_>) {
        let (Kind::Earn(earn), Some(from)) = (&mut self.kind, &refund.from) else { return };
        self.latest = Some(at);
        earn.amount_refunded = from.amount_total;
        earn.base_taken = from.base_total;
        for (share, taken) in earn.shares.iter_mut().zip(from.shares.iter()) {
            share.taken = taken.taken_total;
        }
        let Some(more) = refund.more.as_deref() else { return };
        if let (Some((_, _, taken)), Some(also)) = (&mut earn.also, more.also) {
            *taken = also.taken_total;
        }
        self.lapsed_taken = more.lapsed.iter().map(|(asset, _, total)| (*asset, *total)).collect();
    }

    fn reversed(&mut self, at: Op, reversed: &Reversed<'_>) {
        let Kind::Undoable(undo) = &mut self.kind else { return };
        self.latest = Some(at);
        undo.undone = reversed.units_total;
        self.lapsed_taken = SmallVec::from_iter([(reversed.asset, reversed.lapsed_total)]);
    }
}

impl Ledger {
    /// A member and those into whom he went in turn: the last has now what he had.
    #[must_use]
    pub fn way(&self, member: MemberNo) -> Way {
        self.members.aliases.way(member)
    }

    /// The way from the member whom an id named at first; `None` for an id that names no member.
    #[must_use]
    pub fn way_of(&self, member_hash: u128) -> Option<Way> {
        self.members.find_own(member_hash).map(|number| self.way(number))
    }

    /// What has to be read before `command` can be decided; `runs` is asked where memory has no answer.
    #[must_use]
    pub fn needs(&self, command: &Command, runs: &impl Fn(Lookup) -> Found) -> Need {
        match &command.action {
            Action::Capture { hold, .. } | Action::Release { hold } => match self.op_of(hold, runs) {
                Ok(op) => op.map_or(Need::NotFound, Need::Hold),
                Err(lookup) => Need::Runs(lookup),
            },
            action => match named_by(action) {
                None | Some((Original::None, _)) => Need::Nothing,
                Some((Original::Reference(_), _)) => match self.members.find(command.member_hash) {
                    Some(member) => Need::Walk { head: self.member_head(member) },
                    None => Need::NotFound,
                },
                Some((original, _)) => match self.op_of(original, runs) {
                    Ok(op) => op.map_or(Need::NotFound, |op| self.needs_original(op, runs)),
                    Err(lookup) => Need::Runs(lookup),
                },
            },
        }
    }

    /// The op that is named, or by whose key; `None` where nothing answers to it, and for a reference.
    fn op_of(&self, original: &Original, runs: &impl Fn(Lookup) -> Found) -> Result<Option<Op>, Lookup> {
        match original {
            Original::None | Original::Reference(_) => Ok(None),
            Original::Op(op) => Ok(Some(*op).filter(|op| op.0 > 0 && *op <= self.newest)),
            Original::Key(print) => self.find_key(*print, runs),
        }
    }

    /// What has to be read of an event that is known by its op.
    #[must_use]
    pub fn needs_original(&self, op: Op, runs: &impl Fn(Lookup) -> Found) -> Need {
        match self.find_refund(op, runs) {
            Ok(latest_refund) => Need::Original { op, latest_refund },
            Err(lookup) => Need::Runs(lookup),
        }
    }
}
