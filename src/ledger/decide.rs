//! What a command comes to, given the state: an event, applied or refused. It changes nothing. The key was looked up
//! before, so that an honest retry gets its first answer whatever has changed since.

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};

use super::award::{self, Candidate, POINTS_MAX};
use super::command::{Action, Basis, Command, Notes, Original, Purpose};
use super::event::{
    Account, Adjusted, Balances, CapSpan, CapUse, CommandKind, Common, Earned, Event, Leg, Legs, NotesRef, Opened,
    Redeemed, Rejected, Share, Source, Text,
};
use super::holding::Holding;
use super::ids::{MemberNo, MemberRef, Op, ProgramNo};
use super::list::List;
use super::original::Resolved;
use super::posting::{Posting, units};
use super::reason::Reason;
use super::spec::{CampaignSpec, CapPer};
use super::state::{Ledger, Moment, Program, Version};
use super::view::CampaignStatus;

/// How far business time may lie behind book time outside import mode: 30 days, in microseconds.
pub const LATE_MAX_US: i64 = 30 * 24 * 3600 * 1_000_000;
/// How far business time may lie ahead of book time outside import mode: 5 minutes, in microseconds.
pub const EARLY_MAX_US: i64 = 5 * 60 * 1_000_000;

/// What a command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it lives on the stack for the time of one command")]
pub enum Decision<'c> {
    /// An event to be written.
    Event(Event<'c>),
    /// The books hold as many members, or counters of caps, as they may: nothing is written, nothing remembered.
    LimitReached,
}

pub(super) type Refused = (Reason, &'static str);

pub(super) enum Halt {
    Refused(Reason, &'static str),
    Limit,
}

impl From<Refused> for Halt {
    fn from((reason, field): Refused) -> Self {
        Self::Refused(reason, field)
    }
}

/// Clear text under scheme 0.
pub(crate) fn clear(text: &str) -> Text<'_> {
    Text { scheme: 0, text }
}

fn notes_of(notes: &Notes) -> NotesRef<'_> {
    NotesRef {
        reference: clear(&notes.reference),
        channel: clear(&notes.channel),
        partner: clear(&notes.partner),
        location: clear(&notes.location),
        metadata: notes.metadata.iter().map(|(name, value)| (clear(name), clear(value))).collect(),
    }
}

/// The first local day, in days since the Unix epoch, of the span of a cap that an instant falls in.
#[must_use]
pub fn cap_day(program_zone: &jiff::tz::TimeZone, per: CapPer, occurred_at_us: i64) -> Option<i32> {
    if per == CapPer::Campaign {
        return Some(0);
    }
    let date = Timestamp::from_microsecond(occurred_at_us).ok()?.to_zoned(program_zone.clone()).date();
    let first = match per {
        CapPer::Campaign | CapPer::Day => date,
        CapPer::Week if date.weekday() == Weekday::Monday => date,
        CapPer::Week => date.nth_weekday(-1, Weekday::Monday).ok()?,
        CapPer::Month => date.first_of_month(),
    };
    let epoch = Date::constant(1970, 1, 1);
    epoch.until(first).ok().map(|span| span.get_days())
}

impl Ledger {
    /// What a command comes to. The caller has looked up the key and found it free; `resolved` is what the book says
    /// of a refund's original.
    #[must_use]
    pub fn decide<'c>(&self, command: &'c Command, resolved: Option<&Resolved>, at: Moment) -> Decision<'c> {
        let known = self.members.find(command.member_hash);
        let outcome = match &command.action {
            Action::Earn { basis, event_kind } => self.earn(command, *basis, event_kind.as_deref(), known, at),
            Action::Refund { original, basis, event_kind } => match original {
                Original::None => self.refund_alone(command, *basis, event_kind.as_deref(), known, at),
                _ => self.refund(command, *basis, resolved, known, at),
            },
            Action::Redeem { points, purpose } => self.redeem(command, *points, *purpose, known, at),
            Action::Adjust { points, actor, reason } => self.adjust(command, *points, (actor, reason), known, at),
            Action::Opening { points, actor, reason } => self.opening(command, *points, (actor, reason), known, at),
        };
        let outcome = outcome.and_then(|event| match self.fits(command.program, event.legs()) {
            true => Ok(event),
            false => Err(Halt::Refused(Reason::AmountOverflow, AMOUNT)),
        });
        match outcome {
            Ok(event) => Decision::Event(event),
            Err(Halt::Limit) => Decision::LimitReached,
            Err(Halt::Refused(reason, field)) => {
                Decision::Event(self.reject(command, reason, path_of(command, field), at))
            }
        }
    }

    /// The event that remembers a command's refusal.
    #[must_use]
    pub fn reject<'c>(&self, command: &'c Command, reason: Reason, field: &'c str, at: Moment) -> Event<'c> {
        let known = self.members.find(command.member_hash);
        let (member, holding) = match known {
            Some(number) => (MemberRef::Known(number), self.members.holding(number)),
            None => (MemberRef::Unknown(&command.member), None),
        };
        let common = common_of(command, member, &holding.unwrap_or_default(), at);
        Event::Rejected(Rejected { common, kind: kind_of(command), reason, field })
    }

    /// Whether every balance and every sum over members that the legs change stays in range: what would not fit is
    /// refused here, so that no event can be written that the books could not take.
    fn fits(&self, program: ProgramNo, legs: &[Leg]) -> bool {
        let Some(program) = self.program(program) else {
            return false;
        };
        let totals = &program.totals;
        let (mut available, mut debt) = (totals.available, totals.debt);
        legs.iter().all(|leg| {
            let balance = match leg.account {
                Account::Available { .. } => available,
                Account::Debt => debt.saturating_neg(),
                Account::Issuance { .. } => totals.issuance.balance,
                Account::Adjustment { .. } => totals.adjustment.balance,
                Account::Opening { .. } => totals.opening.balance,
                Account::Redemption { purpose, .. } => {
                    totals.redemption.get(purpose.place()).map_or(0, |posted| posted.balance)
                }
                Account::Campaign { campaign, .. } => {
                    program.campaign(campaign).map_or(0, |campaign| campaign.purse.budget.balance)
                }
            };
            let Some(after) = balance.checked_add(leg.amount).filter(|after| *after > i64::MIN) else {
                return false;
            };
            match leg.account {
                Account::Available { .. } => available = after,
                Account::Debt => debt = after.saturating_neg(),
                _ => {}
            }
            true
        })
    }

    /// The checks that every command meets after its key: currency and business time.
    pub(super) fn admit(&self, command: &Command, at: Moment) -> Result<(&Program, &Version, i64), Halt> {
        let program = self.program(command.program).ok_or((Reason::ProgramUnknown, "program"))?;
        let newest = program.newest().ok_or((Reason::ProgramUnknown, "program"))?;
        if command.currency.as_ref().is_some_and(|currency| *currency != newest.spec.currency) {
            return Err((Reason::CurrencyMismatch, "currency").into());
        }
        let occurred = command.occurred_at_us.unwrap_or(at.book_time_us);
        if !newest.spec.import_mode {
            if occurred < at.book_time_us.saturating_sub(LATE_MAX_US) {
                return Err((Reason::OccurredTooLate, "occurred_at_us").into());
            }
            if occurred > at.book_time_us.saturating_add(EARLY_MAX_US) {
                return Err((Reason::OccurredTooEarly, "occurred_at_us").into());
            }
        }
        let version = program.version_at(occurred).ok_or((Reason::ProgramUnknown, "program"))?;
        Ok((program, version, occurred))
    }

    /// The posting on a member that exists or that the event creates.
    pub(super) fn posting<'c>(
        &self,
        command: &'c Command,
        known: Option<MemberNo>,
        op: Op,
    ) -> Result<(MemberRef<'c>, Posting), Halt> {
        let (member, holding) = match known {
            Some(number) => (MemberRef::Known(number), self.members.holding(number).unwrap_or_default()),
            None => {
                let number = self.members.next().filter(|next| next.0 < self.limits.members_max).ok_or(Halt::Limit)?;
                (MemberRef::Opened(number, &command.member), Holding::default())
            }
        };
        Ok((member, Posting { op, holding, legs: Legs::default() }))
    }

    fn earn<'c>(
        &self,
        command: &'c Command,
        basis: Basis,
        event_kind: Option<&'c str>,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, occurred) = self.admit(command, at)?;
        let (base, field) = base_of(version, basis, event_kind, ("earn.event_kind", AMOUNT))?;
        let (member, mut posting) = self.posting(command, known, at.op)?;
        let mut shares = List::default();
        if let Some(kind) = event_kind
            && base > 0
        {
            let candidates = self.candidates(program, version, kind, known, occurred);
            shares =
                award::shares(base, version.spec.greatest_total, &candidates).ok_or((Reason::AmountOverflow, field))?;
            if !self.counters_fit(known, &shares, at) {
                return Err(Halt::Limit);
            }
        }
        let bonus = fund_award(program, &mut posting, base, &shares, field)?;
        posting.credit(&[(Source::Base, base), (Source::Campaign, bonus)], field)?;
        let common = common_of(command, member, &posting.holding, at);
        let version = version.number;
        Ok(Event::Earned(Earned { common, basis, event_kind, version, base, shares, legs: posting.legs }))
    }

    /// Whether the counters that an award begins find room beside those that there are.
    fn counters_fit(&self, member: Option<MemberNo>, shares: &[Share], at: Moment) -> bool {
        let begins = |share: &&Share| {
            let key = member.zip(share.cap).map(|(member, cap)| (member, share.campaign, cap.span));
            share.cap.is_some() && share.awarded > 0 && key.as_ref().is_none_or(|key| self.members.cap(key).is_none())
        };
        let begun = shares.iter().filter(begins).count();
        let fits = |there: usize| there.saturating_add(begun) <= self.limits.cap_counters_max;
        begun == 0 || fits(self.members.caps_len()) || fits(self.caps_at(at.book_time_us))
    }

    /// The open campaigns of a version whose window and kinds take the event in.
    pub(crate) fn candidates<'s>(
        &self,
        program: &Program,
        version: &'s Version,
        kind: &str,
        member: Option<MemberNo>,
        occurred_at_us: i64,
    ) -> Vec<Candidate<'s>> {
        let takes = |spec: &CampaignSpec| {
            spec.start_us <= occurred_at_us
                && occurred_at_us < spec.end_us
                && (spec.kinds.is_empty() || spec.kinds.iter().any(|known| known == kind))
        };
        let mut candidates = Vec::new();
        for (spec, number) in version.spec.campaigns.iter().zip(&version.campaigns).filter(|(spec, _)| takes(spec)) {
            let Some(campaign) = program.campaign(*number) else {
                continue;
            };
            if campaign.purse.status != CampaignStatus::Open {
                continue;
            }
            let cap = spec.cap.map(|cap| {
                let first_day = cap_day(&program.zone, cap.per, occurred_at_us).unwrap_or(0);
                let span = CapSpan { per: cap.per, first_day };
                let used = member.and_then(|m| self.members.cap(&(m, *number, span))).unwrap_or(0);
                CapUse { span, room: cap.points.saturating_sub(used) }
            });
            candidates.push(Candidate {
                campaign: *number,
                id: &spec.id,
                group: &spec.group,
                multiplier: spec.multiplier,
                budget_left: u64::try_from(campaign.purse.budget.balance).unwrap_or(0),
                cap,
                on_exhausted: spec.on_exhausted,
            });
        }
        candidates
    }

    fn redeem<'c>(
        &self,
        command: &'c Command,
        points: u64,
        purpose: Purpose,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        const FIELD: &str = "redeem.points";
        let (program, _, _) = self.admit(command, at)?;
        let number = known.ok_or((Reason::MemberUnknown, "member"))?;
        let (member, mut posting) = self.posting(command, Some(number), at.op)?;
        if posting.debit(points, &[]) > 0 {
            return Err((Reason::InsufficientPoints, FIELD).into());
        }
        let head = program.totals.redemption.get(purpose.place()).map_or(Op(0), |posted| posted.head);
        let account = Account::Redemption { purpose, link: at.op.distance_from(head) };
        posting.push(account, units(points, FIELD)?);
        let common = common_of(command, member, &posting.holding, at);
        Ok(Event::Redeemed(Redeemed { common, points, purpose, legs: posting.legs }))
    }

    fn adjust<'c>(
        &self,
        command: &'c Command,
        points: i64,
        (actor, reason): (&'c str, &'c str),
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        const FIELD: &str = "adjust.points";
        let (program, _, _) = self.admit(command, at)?;
        if points < 0 && known.is_none() {
            return Err((Reason::MemberUnknown, "member").into());
        }
        let (member, mut posting) = self.posting(command, known, at.op)?;
        let link = at.op.distance_from(program.totals.adjustment.head);
        posting.push(Account::Adjustment { link }, points.checked_neg().ok_or((Reason::AmountOverflow, FIELD))?);
        if points > 0 {
            posting.credit(&[(Source::Granted, points.unsigned_abs())], FIELD)?;
        } else if posting.debit(points.unsigned_abs(), &[]) > 0 {
            return Err((Reason::InsufficientPoints, FIELD).into());
        }
        let common = common_of(command, member, &posting.holding, at);
        let (actor, reason) = (clear(actor), clear(reason));
        Ok(Event::Adjusted(Adjusted { common, points, actor, reason, legs: posting.legs }))
    }

    /// A balance brought over from another system: points go through the member's account as any credit does, and a debt
    /// is owed as it was there, whatever the member has here.
    fn opening<'c>(
        &self,
        command: &'c Command,
        points: i64,
        (actor, reason): (&'c str, &'c str),
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        const FIELD: &str = "opening.points";
        let newest = self.program(command.program).and_then(Program::newest);
        if newest.is_some_and(|newest| !newest.spec.import_mode) {
            return Err((Reason::NotImporting, "opening").into());
        }
        let (program, _, _) = self.admit(command, at)?;
        let overflow = (Reason::AmountOverflow, FIELD);
        let (member, mut posting) = self.posting(command, known, at.op)?;
        let link = at.op.distance_from(program.totals.opening.head);
        posting.push(Account::Opening { link }, points.checked_neg().ok_or(overflow)?);
        if points > 0 {
            posting.credit(&[(Source::Opening, points.unsigned_abs())], FIELD)?;
        } else {
            let debt = posting.holding.balances.debt.checked_sub(points);
            posting.holding.balances.debt = debt.ok_or(overflow)?;
            posting.push(Account::Debt, points);
        }
        let common = common_of(command, member, &posting.holding, at);
        let (actor, reason) = (clear(actor), clear(reason));
        Ok(Event::Opened(Opened { common, points, actor, reason, legs: posting.legs }))
    }
}

fn kind_of(command: &Command) -> CommandKind {
    match command.action {
        Action::Earn { .. } => CommandKind::Earn,
        Action::Refund { .. } => CommandKind::Refund,
        Action::Redeem { .. } => CommandKind::Redeem,
        Action::Adjust { .. } => CommandKind::Adjust,
        Action::Opening { .. } => CommandKind::Opening,
    }
}

pub(super) fn common_of<'c>(command: &'c Command, member: MemberRef<'c>, holding: &Holding, at: Moment) -> Common<'c> {
    let Holding { balances, head, .. } = holding;
    Common {
        program: command.program,
        key: &command.key,
        body_hash: command.body_hash,
        member,
        member_link: at.op.distance_from(*head),
        behind_us: at.book_time_us.saturating_sub(command.occurred_at_us.unwrap_or(at.book_time_us)),
        notes: command.notes.as_deref().map(notes_of),
        after: match member {
            MemberRef::Unknown(_) => Balances::default(),
            _ => *balances,
        },
    }
}

/// The base award of spend under the rule of its kind, or the points that the caller names.
pub(super) fn base_of(
    version: &Version,
    basis: Basis,
    event_kind: Option<&str>,
    (kind_field, amount_field): (&'static str, &'static str),
) -> Result<(u64, &'static str), Refused> {
    let rule = match event_kind {
        Some(kind) => Some(version.rule(kind).ok_or((Reason::EventKindUnknown, kind_field))?),
        None => None,
    };
    let base = match (basis, rule) {
        (Basis::Spend(amount), Some(rule)) => award::base(rule, amount),
        (Basis::Spend(_), None) => return Err((Reason::EventKindUnknown, kind_field)),
        (Basis::Points(points), _) => Some(points).filter(|points| *points <= POINTS_MAX),
    };
    Ok((base.ok_or((Reason::AmountOverflow, amount_field))?, amount_field))
}

/// Puts the legs that pay for an award: `issuance` for the base, each campaign's budget for its share.
fn fund_award(
    program: &Program,
    posting: &mut Posting,
    base: u64,
    shares: &[Share],
    field: &'static str,
) -> Result<u64, Halt> {
    posting.on_issuance(program, -units(base, field)?);
    let mut bonus = 0_u64;
    for share in shares {
        posting.on_budget(program, share.campaign, -units(share.awarded, field)?);
        bonus = bonus.checked_add(share.awarded).ok_or((Reason::AmountOverflow, field))?;
    }
    Ok(bonus)
}

/// The amount of a command, whichever field of its action holds it; see [`path_of`].
pub(super) const AMOUNT: &str = "amount";
/// The name of a refund's original, whichever field holds it; see [`path_of`].
pub(super) const ORIGINAL: &str = "original";

/// The path of a field in the contract: what the rules call amount or original is a field of the action that was sent.
fn path_of(command: &Command, field: &'static str) -> &'static str {
    match (field, &command.action) {
        (AMOUNT, Action::Earn { basis: Basis::Spend(_), .. }) => "earn.amount_minor",
        (AMOUNT, Action::Earn { basis: Basis::Points(_), .. }) => "earn.points",
        (AMOUNT, Action::Refund { basis: Basis::Spend(_), .. }) => "refund.amount_minor",
        (AMOUNT, Action::Refund { basis: Basis::Points(_), .. }) => "refund.points",
        (AMOUNT, Action::Redeem { .. }) => "redeem.points",
        (AMOUNT, Action::Adjust { .. }) => "adjust.points",
        (AMOUNT, Action::Opening { .. }) => "opening.points",
        (ORIGINAL, Action::Refund { original: Original::Op(_), .. }) => "refund.original_op",
        (ORIGINAL, Action::Refund { original: Original::Key(_), .. }) => "refund.original_key",
        (ORIGINAL, Action::Refund { original: Original::Reference(_), .. }) => "refund.original_reference",
        _ => field,
    }
}

/// The number of a program in an operator's event that is refused because there is no such program, or that concerns
/// the whole book.
pub(crate) const NO_PROGRAM: ProgramNo = ProgramNo(u16::MAX);
