//! What a command comes to, given the state: an event, applied or refused. It changes nothing. The key was looked up
//! before, so that an honest retry gets its first answer whatever has changed since.

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};

use super::command::{Action, Basis, Command, Notes, Original, Purpose, Standing};
use super::convert::Conversion;
use super::event::{
    Account, Balances, CommandKind, Common, Event, Expiry, Leg, LotId, NotesRef, Rejected, Source, Text,
};
use super::expiry::lapse_minute;
use super::holding::Holding;
use super::ids::{AssetNo, MemberNo, MemberRef, ProgramNo};
use super::later::Later;
use super::original::Resolved;
use super::posting::Posting;
use super::reason::Reason;
use super::reward::Reward;
use super::spec::{AssetSpec, CapPer, Lifetime};
use super::state::{AssetBooks, Ledger, Moment, Program, Version};

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
    /// What a command comes to. The caller has looked up the key and found it free, and written what was due of the
    /// member; `resolved` is what the book says of the event that the command names.
    #[must_use]
    pub fn decide<'c>(&self, command: &'c Command, resolved: Option<&Resolved>, at: Moment) -> Decision<'c> {
        let known = self.members.find(command.member_hash);
        let outcome = match &command.action {
            Action::Earn { .. } => self.earn(command, known, at),
            Action::Refund { original, basis, event_kind } => match original {
                Original::None => self.refund_alone(command, *basis, event_kind.as_deref(), known, at),
                _ => self.refund(command, *basis, resolved, known, at),
            },
            Action::Redeem { asset, points, purpose } => {
                self.redeem(command, (*asset, *points, *purpose), None, known, at)
            }
            Action::Reverse { units, .. } => self.reverse(command, *units, resolved, known, at),
            Action::Hold { asset, units, until_us, purpose } => {
                self.hold(command, (*asset, *units, *purpose), *until_us, None, known, at)
            }
            Action::Capture { units, last, .. } => self.capture(command, (*units, *last), resolved, known, at),
            Action::Release { .. } => self.release(command, resolved, known, at),
            Action::Activate { .. } => self.activate(command, resolved, known, at),
            Action::TopUp { asset, principal, bonus } => self.top_up(command, (*asset, *principal, *bonus), known, at),
            Action::Grant { asset, units, lapses_us } => self.grant(command, (*asset, *units), *lapses_us, known, at),
            Action::Adjust { asset, points, .. } => self.adjust(command, (*asset, *points), known, at),
            Action::Opening { asset, points, lapses_us, .. } => {
                self.opening(command, (*asset, *points), *lapses_us, known, at)
            }
            Action::Standing { change, .. } => self.stand(command, *change, known, at),
            Action::Claim { .. } => self.claim(command, known, at),
            Action::Reserve { .. } => self.reserve(command, known, at),
            Action::Transfer { to, asset, units } => self.transfer(command, to, (*asset, *units), known, at),
            Action::Convert { to_program, to, asset, to_asset, units } => {
                let (asset, to_program, to_asset, units) = (*asset, *to_program, *to_asset, *units);
                self.convert(command, to, Conversion { asset, units, to_program, to_asset }, known, at)
            }
            Action::Merge { into, .. } => self.merge(command, into, at),
            Action::MemberSet { .. } => self.member_set(command, known, at),
            // Its parts are decided one after another; see `Ledger::check_out`.
            Action::Checkout { .. } => Err((Reason::AmountOverflow, "checkout").into()),
        };
        let (reason, field) = match outcome {
            Ok(event) if self.fits(&event) => return Decision::Event(event),
            Ok(_) => (Reason::AmountOverflow, AMOUNT),
            Err(Halt::Refused(reason, field)) => (reason, field),
            Err(Halt::Limit) => return Decision::LimitReached,
        };
        Decision::Event(self.reject(command, reason, path_of(command, field), at))
    }

    /// The event that remembers a command's refusal.
    #[must_use]
    pub fn reject<'c>(&self, command: &'c Command, reason: Reason, field: &'c str, at: Moment) -> Event<'c> {
        let known = self.members.find(command.member_hash);
        let (member, holding) = match known {
            Some(number) => (MemberRef::Known(number), self.members.holding(number)),
            None => (MemberRef::Unknown(&command.member), None),
        };
        let (kind, asset) = self.kind_of(command);
        let posting = Posting::on(holding.unwrap_or_default(), at);
        let mut common = common_of(command, member, &posting, at);
        if known.is_some() {
            common.others = Later::new(posting.holding.others(&[asset]));
        }
        Event::Rejected(Rejected { common, kind, reason, field })
    }

    /// What a command is, and the asset that it asks for.
    fn kind_of(&self, command: &Command) -> (CommandKind, AssetNo) {
        let points = AssetNo::POINTS;
        match &command.action {
            Action::Earn { asset, .. } => (CommandKind::Earn, *asset),
            Action::Refund { .. } => (CommandKind::Refund, points),
            Action::Redeem { asset, .. } => (CommandKind::Redeem, *asset),
            Action::Adjust { asset, .. } => (CommandKind::Adjust, *asset),
            Action::Opening { asset, .. } => (CommandKind::Opening, *asset),
            Action::Reverse { .. } => (CommandKind::Reverse, points),
            Action::Hold { asset, .. } => (CommandKind::Hold, *asset),
            Action::Capture { .. } => (CommandKind::Capture, points),
            Action::Release { .. } => (CommandKind::Release, points),
            Action::Activate { .. } => (CommandKind::Activate, points),
            Action::TopUp { asset, .. } => (CommandKind::TopUp, *asset),
            Action::Grant { asset, .. } => (CommandKind::Grant, *asset),
            Action::Standing { .. } => (CommandKind::Standing, points),
            Action::Transfer { asset, .. } => (CommandKind::Transfer, *asset),
            Action::Convert { asset, .. } => (CommandKind::Convert, *asset),
            Action::Merge { .. } => (CommandKind::Merge, points),
            Action::MemberSet { .. } => (CommandKind::MemberSet, points),
            Action::Claim { sku, .. } => (CommandKind::Redeem, self.asset_of_reward(command.program, sku)),
            Action::Reserve { sku, .. } => (CommandKind::Hold, self.asset_of_reward(command.program, sku)),
            Action::Checkout { .. } => (CommandKind::Checkout, points),
        }
    }

    /// Whether every balance and every sum over members that the legs change stays in range, now and when all that is
    /// pending has matured and all lots have lapsed: what would not fit is refused here, so that no event can be written
    /// that the books could not take.
    fn fits(&self, event: &Event<'_>) -> bool {
        match event.other() {
            // What one member gives the other takes.
            Some(other) if other.program == event.identity().0 => {
                let legs: Vec<_> = event.legs().iter().chain(&*other.legs).copied().collect();
                self.legs_fit(other.program, &legs)
            }
            _ => event.sides().all(|side| self.legs_fit(side.program, side.legs)),
        }
    }

    fn legs_fit(&self, program: ProgramNo, legs: &[Leg]) -> bool {
        let Some(program) = self.program(program) else {
            return false;
        };
        // What all legs move together: where a balance has room for that, no order of them can leave the range.
        let moved = legs.iter().fold(0_u64, |sum, leg| sum.saturating_add(leg.amount.unsigned_abs()));
        let has_room = |balance: i64| balance.unsigned_abs().saturating_add(moved) <= i64::MAX.unsigned_abs();
        let sum = |asset: AssetNo, of: fn(&Account) -> bool| {
            let legs = legs.iter().filter(|leg| leg.asset == asset && of(&leg.account));
            legs.map(|leg| i128::from(leg.amount)).sum::<i128>()
        };
        let in_range = |balance: i64, moved: i128| {
            // The range is symmetric, so that every balance can be negated.
            if has_room(balance) {
                return true;
            }
            let after = i128::from(balance) + moved;
            i64::try_from(after).is_ok_and(|after| after > i64::MIN)
        };
        legs.iter().all(|leg| {
            let accounts = program.accounts(leg.asset);
            let amount = i128::from(leg.amount);
            if let Account::Stock { reward, .. } | Account::Reserved { reward, .. } = leg.account {
                let balance = |reward: &Reward| match leg.account {
                    Account::Stock { .. } => reward.stock.balance,
                    _ => reward.reserved.balance,
                };
                return program.reward(reward).is_some_and(|reward| in_range(balance(reward), amount));
            }
            let (lots, pending, debt) = match program.assets.get(usize::from(leg.asset.0)) {
                Some(AssetBooks { sums, .. }) => (sums.lots, sums.pending, sums.debt),
                None if leg.asset == AssetNo::PIECES => (0, 0, 0),
                None => return false,
            };
            match leg.account {
                Account::Available { .. }
                | Account::Free { .. }
                | Account::Held { .. }
                | Account::Pending { .. }
                | Account::Breakage { .. } => {
                    let there = [lots, pending, accounts.breakage.balance].map(i128::from).iter().sum::<i128>();
                    let most = there + i128::from(moved);
                    most <= i128::from(i64::MAX) || there + sum(leg.asset, may_lapse) <= i128::from(i64::MAX)
                }
                Account::Debt => in_range(debt.saturating_neg(), amount),
                Account::Conversion { program: other, .. } => {
                    in_range(program.conversion(leg.asset, other).balance, amount)
                }
                Account::Stock { .. } | Account::Reserved { .. } => true,
                Account::Issuance { .. } => in_range(accounts.issuance.balance, amount),
                Account::Adjustment { .. } => in_range(accounts.adjustment.balance, amount),
                Account::Opening { .. } => in_range(accounts.opening.balance, amount),
                Account::Cash { .. } => in_range(accounts.cash.balance, amount),
                Account::Redemption { purpose, .. } => {
                    accounts.redemption.get(purpose.place()).is_some_and(|posted| in_range(posted.balance, amount))
                }
                Account::Campaign { campaign, .. } => {
                    program.campaign(campaign).is_some_and(|known| in_range(known.purse.budget.balance, amount))
                }
            }
        })
    }

    /// The checks that every command meets after its key: currency and business time.
    pub(super) fn admit(&self, command: &Command, at: Moment) -> Result<(&Program, &Version, i64), Halt> {
        let program = self.program(command.program).ok_or((Reason::ProgramUnknown, "program"))?;
        let newest = program.newest().ok_or((Reason::ProgramUnknown, "program"))?;
        if command.currency.is_some_and(|currency| currency != newest.spec.currency.as_bytes()) {
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
        at: Moment,
    ) -> Result<(MemberRef<'c>, Posting), Halt> {
        self.posting_for(&command.member, known, at)
    }

    /// The same for the member of an id.
    pub(super) fn posting_for<'c>(
        &self,
        id: &'c str,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<(MemberRef<'c>, Posting), Halt> {
        let (member, holding) = match known {
            Some(number) => (MemberRef::Known(number), self.members.holding(number).unwrap_or_default()),
            None => {
                let number = self.members.next().filter(|next| next.0 < self.limits.members_max).ok_or(Halt::Limit)?;
                (MemberRef::Opened(number, id), Holding::default())
            }
        };
        Ok((member, Posting::on(holding, at)))
    }

    /// The posting on a member that exists.
    pub(super) fn posting_of<'c>(
        &self,
        command: &'c Command,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<(MemberRef<'c>, Posting), Halt> {
        let number = known.ok_or((Reason::MemberUnknown, "member"))?;
        self.posting(command, Some(number), at)
    }
}

impl Ledger {
    /// Whether there is room for what a command may add to what members own.
    pub(super) fn takes_lots(&self) -> Result<(), Halt> {
        match self.members.beside_bytes() < self.limits.lots_bytes_max {
            true => Ok(()),
            false => Err(Halt::Limit),
        }
    }
}

/// Whether what stands on an account has lapsed, or may.
fn may_lapse(account: &Account) -> bool {
    matches!(account, Account::Available { .. } | Account::Free { .. } | Account::Held { .. })
        || matches!(account, Account::Pending { .. } | Account::Breakage { .. })
}

/// Refuses what a member who is closed, or frozen and about to spend, may not do.
pub(super) fn may(holding: &Holding, spends: bool) -> Result<(), Refused> {
    match holding.standing {
        Standing::Closed => Err((Reason::MemberClosed, "member")),
        Standing::Frozen if spends => Err((Reason::MemberFrozen, "member")),
        _ => Ok(()),
    }
}

/// The asset of a command as a version has it.
pub(super) fn asset_of<'v>(
    version: &'v Version,
    asset: AssetNo,
    field: &'static str,
) -> Result<&'v AssetSpec, Refused> {
    version.asset(asset).ok_or((Reason::AssetUnknown, field))
}

/// The lot that units of an asset enter which begin to live at an instant.
pub(super) fn lot_for(program: &Program, version: &Version, asset: AssetNo, source: Source, start_us: i64) -> LotId {
    let Some(spec) = version.asset(asset) else { return LotId { source, expiry: Expiry::Never } };
    let expiry = match spec.expiry.lifetime {
        Lifetime::Never => Expiry::Never,
        Lifetime::RollingDays(_) | Lifetime::RollingMonths(_) => Expiry::Rolling,
        Lifetime::Days(_) | Lifetime::Months(_) | Lifetime::Until(_) => {
            lapse_minute(&spec.expiry, &program.zone, start_us).map_or(Expiry::Never, Expiry::At)
        }
    };
    LotId { source, expiry }
}

/// Until when the member's rolling units of an asset live after an activity at an instant, where they roll at all: never
/// less than before.
pub(super) fn roll(
    program: &Program,
    version: &Version,
    asset: AssetNo,
    posting: &mut Posting,
    active_us: i64,
) -> Option<u32> {
    let policy = &version.asset(asset)?.expiry;
    if !matches!(policy.lifetime, Lifetime::RollingDays(_) | Lifetime::RollingMonths(_)) {
        return None;
    }
    let until = lapse_minute(policy, &program.zone, active_us).unwrap_or(u32::MAX);
    let until = until.max(posting.holding.rolls_until(asset).unwrap_or(0));
    posting.holding.set_roll(asset, until);
    Some(until)
}

pub(super) fn common_of<'c>(command: &'c Command, member: MemberRef<'c>, posting: &Posting, at: Moment) -> Common<'c> {
    let (after, others) = match member {
        MemberRef::Unknown(_) => (Balances::default(), Vec::new()),
        _ => (posting.holding.points(), posting.others()),
    };
    Common {
        program: command.program,
        key: &command.key,
        body_hash: command.body_hash,
        member,
        member_link: at.op.distance_from(posting.holding.head),
        behind_us: at.book_time_us.saturating_sub(command.occurred_at_us.unwrap_or(at.book_time_us)),
        notes: command.notes.as_deref().map(notes_of),
        after,
        others: Later::new(others),
    }
}

/// The amount of a command, whichever field of its action holds it; see [`path_of`].
pub(super) const AMOUNT: &str = "amount";
/// The name of a refund's original, whichever field holds it; see [`path_of`].
pub(super) const ORIGINAL: &str = "original";

/// The asset of a command; see [`path_of`].
pub(super) const ASSET: &str = "asset";
/// When units of a command lapse; see [`path_of`].
pub(super) const LAPSES: &str = "lapses";

/// The reward of a command; see [`path_of`].
pub(super) const REWARD: &str = "reward";
/// The other member of a command; see [`path_of`].
pub(super) const OTHER: &str = "other";

/// The path of a field in the contract: what the rules call amount or original is a field of the action that was sent.
fn path_of(command: &Command, field: &'static str) -> &'static str {
    match (field, &command.action) {
        (AMOUNT, Action::Earn { basis: Basis::Spend(_), .. }) => "earn.amount_minor",
        (AMOUNT, Action::Earn { basis: Basis::Points(_), .. }) => "earn.points",
        (AMOUNT, Action::Refund { basis: Basis::Spend(_), .. }) => "refund.amount_minor",
        (AMOUNT, Action::Refund { basis: Basis::Points(_), .. }) => "refund.points",
        (AMOUNT, Action::Redeem { purpose: Purpose::Use, .. }) => "use.units",
        (AMOUNT, Action::Redeem { .. }) => "redeem.points",
        (AMOUNT, Action::Adjust { .. }) => "adjust.points",
        (AMOUNT, Action::Opening { .. }) => "opening.points",
        (AMOUNT, Action::Reverse { .. }) => "reverse.units",
        (AMOUNT, Action::Hold { .. }) => "hold.units",
        (AMOUNT, Action::Capture { .. }) => "capture.units",
        (AMOUNT, Action::TopUp { .. }) => "top_up.principal_minor",
        (AMOUNT, Action::Grant { .. }) => "grant.units",
        (ORIGINAL, Action::Refund { original: Original::Op(_), .. }) => "refund.original_op",
        (ORIGINAL, Action::Refund { original: Original::Key(_), .. }) => "refund.original_key",
        (ORIGINAL, Action::Refund { original: Original::Reference(_), .. }) => "refund.original_reference",
        (ORIGINAL, Action::Reverse { original: Original::Op(_), .. }) => "reverse.original_op",
        (ORIGINAL, Action::Reverse { original: Original::Key(_), .. }) => "reverse.original_key",
        (ORIGINAL, Action::Reverse { .. }) => "reverse.original_reference",
        (ORIGINAL, Action::Activate { original: Original::Op(_) }) => "activate.original_op",
        (ORIGINAL, Action::Activate { original: Original::Key(_) }) => "activate.original_key",
        (ORIGINAL, Action::Activate { .. }) => "activate.original_reference",
        (ORIGINAL, Action::Capture { hold: Original::Key(_), .. }) => "capture.hold_key",
        (ORIGINAL, Action::Capture { .. }) => "capture.hold_op",
        (ORIGINAL, Action::Release { hold: Original::Key(_) }) => "release.hold_key",
        (ORIGINAL, Action::Release { .. }) => "release.hold_op",
        (ASSET, Action::Earn { .. }) => "earn.asset",
        (ASSET, Action::Redeem { purpose: Purpose::Use, .. }) => "use.asset",
        (ASSET, Action::Redeem { .. }) => "redeem.asset",
        (ASSET, Action::Adjust { .. }) => "adjust.asset",
        (ASSET, Action::Opening { .. }) => "opening.asset",
        (ASSET, Action::Hold { .. }) => "hold.asset",
        (ASSET, Action::TopUp { .. }) => "top_up.asset",
        (ASSET, Action::Grant { .. }) => "grant.asset",
        (LAPSES, Action::Opening { .. }) => "opening.lapses_at_us",
        (LAPSES, Action::Grant { .. }) => "grant.lapses_at_us",
        (AMOUNT, Action::Transfer { .. }) => "transfer.units",
        (AMOUNT, Action::Convert { .. }) => "convert.units",
        (AMOUNT, Action::Claim { .. }) => "redeem.quantity",
        (AMOUNT, Action::Reserve { .. }) => "hold.quantity",
        (ASSET, Action::Transfer { .. }) => "transfer.asset",
        (ASSET, Action::Convert { .. }) => "convert.asset",
        (REWARD | ASSET, Action::Claim { .. }) => "redeem.reward",
        (REWARD | ASSET, Action::Reserve { .. }) => "hold.reward",
        (OTHER, Action::Transfer { .. }) => "transfer.to",
        (OTHER, Action::Convert { .. }) => "convert.to",
        (OTHER, Action::Merge { .. }) => "merge.into",
        _ => field,
    }
}

/// The number of a program in an operator's event that is refused because there is no such program, or that concerns
/// the whole book.
pub(crate) const NO_PROGRAM: ProgramNo = ProgramNo(u16::MAX);
