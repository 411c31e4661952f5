//! A naive ledger, written from the program rules and not from the real one: maps of account names to balances, lists of
//! lots, holds and pending earns, a list of everything that happened, linear scans, wide integers. Slow, and short enough
//! to be read as a statement of what the ledger ought to do.

pub(crate) mod admin;
pub(crate) mod award;
#[allow(dead_code, reason = "shared with the worked examples, which use more of it")]
pub(crate) mod book;
pub(crate) mod caps;
pub(crate) mod dates;
pub(crate) mod due;
pub(crate) mod earns;
pub(crate) mod generate;
pub(crate) mod holds;
pub(crate) mod life;
pub(crate) mod member;
pub(crate) mod moves;
pub(crate) mod programs;
pub(crate) mod refunds;
pub(crate) mod reversals;
pub(crate) mod rng;
#[allow(dead_code, reason = "shared with the worked examples, which use more of it")]
pub(crate) mod rules;

use std::collections::BTreeMap;

use stampbook::ledger::Limits;
use stampbook::ledger::command::{Action, Basis, Command, Original, Purpose, Standing};
use stampbook::ledger::event::LotId;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{AssetKind, AssetSpec, CampaignSpec, ProgramSpec};
use stampbook::ledger::view::CampaignStatus;

use book::{Said, asset_of, prefix};
use caps::{CapSpan, Counter};
use member::{Draft, Member};
use rules::more_of;

/// What the model says of a command; what the events say beside it stands in [`Model::said`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one is made a command")]
pub(crate) enum Verdict {
    /// A new event, which says this.
    Fresh(Said),
    /// The key stands at that op with the same body.
    Replayed(u64),
    /// The key stands at that op with another body.
    Conflict(u64),
    /// No room for one more member; nothing is remembered.
    Limit,
    /// Nobody asked: it was looked after what is due.
    Swept,
}

/// A campaign's award in an earn, and where its cap counted it.
#[derive(Clone, Debug)]
pub(crate) struct Award {
    pub campaign: String,
    pub asset: u8,
    pub points: i128,
    pub cap_span: Option<CapSpan>,
}

/// An earn, as later decisions look back at it.
#[derive(Clone, Debug)]
pub(crate) struct Earned {
    pub basis: Basis,
    pub version: u32,
    pub asset: u8,
    pub base: i128,
    pub also: Option<(u8, i128)>,
    pub awards: Vec<Award>,
}

/// What a refund asked of a campaign's award, and what it took.
#[derive(Clone, Debug)]
pub(crate) struct Back {
    pub campaign: String,
    pub asked: i128,
    pub taken: i128,
}

/// A refund, as later decisions look back at it.
#[derive(Clone, Debug)]
pub(crate) struct Refunded {
    pub original: usize,
    pub amount: i128,
    pub base: i128,
    pub also: i128,
    pub parts: Vec<Back>,
    pub lapsed: BTreeMap<u8, i128>,
}

/// The part of an event that later decisions look back at.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Earned(Earned),
    Refunded(Refunded),
    /// Units spent, in the order in which the lots were taken, and the account that they went to.
    Spent {
        asset: u8,
        account: String,
        lots: Vec<(LotId, i128)>,
    },
    /// Units given, and the accounts that they came from: of a top-up the principal, then the bonus.
    Given {
        asset: u8,
        parts: Vec<(String, LotId, i128)>,
    },
    Reversed {
        original: usize,
        units: i128,
        bonus: i128,
    },
    Other,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub program: String,
    /// Empty where nobody asked for it.
    pub key: String,
    pub body_hash: [u8; 16],
    pub member: Option<String>,
    pub reference: String,
    pub what: What,
}

/// One version of a program's rules.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub effective_from_us: i64,
    pub spec: ProgramSpec,
}

/// A program: everything by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub id: String,
    pub versions: Vec<Version>,
    /// The balances of the program's own accounts.
    pub accounts: BTreeMap<String, i128>,
    pub members: BTreeMap<String, Member>,
    pub campaigns: BTreeMap<String, CampaignStatus>,
    pub campaign_assets: BTreeMap<String, u8>,
    pub funded: BTreeMap<String, i128>,
    pub closed_until_us: Option<i64>,
}

/// The naive ledger.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub limits: Limits,
    pub programs: Vec<Program>,
    pub history: Vec<Happened>,
    /// What each event says, in order of their ops.
    pub said: Vec<Said>,
    pub snapshots: Vec<Snapshot>,
    /// Counters of caps that were forgotten, and how long the history was then.
    forgotten: BTreeMap<Counter, usize>,
    swept_day: i64,
}

/// A snapshot that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub name: String,
    pub op: u64,
    pub taken_us: i64,
    pub retain_until_us: Option<i64>,
    pub deleted: Option<u64>,
}

/// A decision: the member's account after it, what it says, what to remember, and which campaigns stop with it.
pub(crate) struct Decided {
    pub draft: Draft,
    pub said: Said,
    pub what: What,
    pub stops: Vec<String>,
}

/// A refusal, by reason and field.
pub(crate) type Refusal = (Reason, &'static str);

const LATE_MAX_US: i64 = 30 * 86_400 * 1_000_000;
const EARLY_MAX_US: i64 = 5 * 60 * 1_000_000;

/// What a command is decided from: the program, the rules of the business time, the member as it is.
pub(crate) struct Case<'m> {
    pub program: &'m Program,
    pub command: &'m Command,
    pub version: u32,
    pub spec: &'m ProgramSpec,
    pub occurred_at_us: i64,
    pub now_us: i64,
    pub draft: Draft,
}

impl Case<'_> {
    /// What the rules of the business time say of an asset.
    pub(crate) fn asset(&self, asset: u8) -> AssetSpec {
        more_of(self.spec).assets[usize::from(asset)].clone()
    }

    /// The lot that units of an asset enter by the rules of the business time.
    pub(crate) fn lot(&self, asset: u8, source: stampbook::ledger::event::Source) -> LotId {
        let expiry = dates::expiry(self.spec, &self.asset(asset).expiry, self.occurred_at_us);
        LotId { source, expiry }
    }

    /// The member was active: what rolls lives longer, and never shorter.
    pub(crate) fn roll(&mut self, asset: u8) {
        let policy = self.asset(asset).expiry;
        if !dates::rolls(&policy) {
            return;
        }
        if let Some(until) = dates::lapse_minute(self.spec, &policy, self.occurred_at_us) {
            let known = self.draft.member.untils.entry(asset).or_default();
            *known = until.max(*known);
        }
    }

    /// The event of it.
    pub(crate) fn decided(self, said: Said, what: What) -> Result<Decided, Refusal> {
        Ok(Decided { draft: self.draft, said, what, stops: Vec::new() })
    }
}

impl Program {
    pub(crate) fn balance(&self, account: &str) -> i128 {
        self.accounts.get(account).copied().unwrap_or(0)
    }

    pub(crate) fn member(&self, name: &str) -> Member {
        self.members.get(name).cloned().unwrap_or_default()
    }

    /// The name of a campaign's budget.
    pub(crate) fn budget(&self, campaign: &str) -> String {
        format!("{}campaign/{campaign}", prefix(self.campaign_assets[campaign]))
    }

    /// The rules for a business time: the newest of the versions that hold by then.
    fn version_at(&self, occurred_at_us: i64) -> (u32, &ProgramSpec) {
        let at = (0..self.versions.len()).rfind(|at| self.versions[*at].effective_from_us <= occurred_at_us).unwrap();
        (u32::try_from(at).unwrap() + 1, &self.versions[at].spec)
    }

    pub(crate) fn newest(&self) -> &ProgramSpec {
        &self.versions.last().unwrap().spec
    }

    /// The sums over all members of what is available, held, pending and owed of an asset.
    pub(crate) fn sums(&self, asset: u8) -> [i128; 4] {
        self.members.values().map(|member| member.balances(asset)).fold([0; 4], |mut sums, balances| {
            sums.iter_mut().zip(balances).for_each(|(sum, balance)| *sum += balance);
            sums
        })
    }

    /// Whether every account, and the members' accounts together, stay in the range of the books; and what members have and
    /// wait for with what lapsed, since all of it may come to one account.
    fn fits(&self, draft: &Draft) -> bool {
        let range = -i128::from(i64::MAX)..=i128::from(i64::MAX);
        let own = draft.legs.iter().filter(|(account, _)| !is_member(account));
        let before = self.member(&draft.name);
        let in_range = |asset: &u8| {
            let (sums, before, after) = (self.sums(*asset), before.balances(*asset), draft.member.balances(*asset));
            let sums: Vec<i128> = (0..4).map(|at| sums[at] - before[at] + after[at]).collect();
            let breakage = format!("{}breakage", prefix(*asset));
            let lapsed = self.balance(&breakage) + draft.legs.get(&breakage).copied().unwrap_or(0);
            range.contains(&sums[3]) && range.contains(&(sums[0] + sums[1] + sums[2] + lapsed))
        };
        own.into_iter().all(|(account, amount)| range.contains(&(self.balance(account) + amount)))
            && draft.touched.iter().all(in_range)
    }

    /// Debits and credits the program's own accounts of an event.
    fn post(&mut self, legs: &BTreeMap<String, i128>) {
        let mut sums: BTreeMap<u8, i128> = BTreeMap::new();
        for (account, amount) in legs {
            *sums.entry(asset_of(account)).or_default() += amount;
            if !is_member(account) {
                *self.accounts.entry(account.clone()).or_default() += amount;
            }
        }
        assert!(sums.values().all(|sum| *sum == 0), "the model's own legs sum to zero: {legs:?}");
    }
}

/// Whether an account is a member's.
pub(crate) fn is_member(account: &str) -> bool {
    account.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':').starts_with("member/")
}

/// Adds to an account of an event; an amount of nothing makes no leg.
pub(crate) fn add(legs: &mut BTreeMap<String, i128>, account: &str, amount: i128) {
    if amount != 0 {
        *legs.entry(account.to_owned()).or_default() += amount;
        legs.retain(|_, amount| *amount != 0);
    }
}

/// The contract's path of a field: an amount or an original is a field of the action sent, by the way it was given.
fn path(command: &Command, field: &str) -> String {
    let (action, by) = match (&command.action, field) {
        (Action::Earn { basis: Basis::Spend(_), .. }, "amount") => ("earn", "amount_minor"),
        (Action::Earn { .. }, "amount") => ("earn", "points"),
        (Action::Refund { basis: Basis::Spend(_), .. }, "amount") => ("refund", "amount_minor"),
        (Action::Refund { .. }, "amount") => ("refund", "points"),
        (Action::Redeem { .. }, "amount") => ("redeem", "points"),
        (Action::Adjust { .. }, "amount") => ("adjust", "points"),
        (Action::Opening { .. }, "amount") => ("opening", "points"),
        (Action::Refund { original, .. }, "original") => ("refund", by_name(original)),
        (Action::Reverse { original, .. }, "original") => ("reverse", by_name(original)),
        (Action::Activate { original }, "original") => ("activate", by_name(original)),
        _ => return field.to_owned(),
    };
    format!("{action}.{by}")
}

/// The field by which a command names an earlier one.
fn by_name(original: &Original) -> &'static str {
    match original {
        Original::Op(_) => "original_op",
        Original::Key(_) => "original_key",
        _ => "original_reference",
    }
}

/// The asset that a command names.
fn asked(action: &Action) -> u8 {
    match action {
        Action::Earn { asset, .. }
        | Action::Redeem { asset, .. }
        | Action::Hold { asset, .. }
        | Action::TopUp { asset, .. }
        | Action::Grant { asset, .. }
        | Action::Adjust { asset, .. }
        | Action::Opening { asset, .. } => asset.0,
        _ => 0,
    }
}

/// Whether a command puts units into an account, so that it may begin one.
fn credits(action: &Action) -> bool {
    match action {
        Action::Earn { .. } | Action::TopUp { .. } | Action::Grant { .. } | Action::Opening { .. } => true,
        Action::Adjust { points, .. } => *points > 0,
        _ => false,
    }
}

/// Whether a member who stands so may do that.
fn may(standing: Standing, action: &Action) -> Result<(), Refusal> {
    let spends = matches!(action, Action::Redeem { .. } | Action::Hold { .. } | Action::Capture { .. });
    match standing {
        Standing::Frozen if spends => Err((Reason::MemberFrozen, "member")),
        Standing::Closed if spends || credits(action) || matches!(action, Action::Activate { .. }) => {
            Err((Reason::MemberClosed, "member"))
        }
        _ => Ok(()),
    }
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            programs: Vec::new(),
            history: Vec::new(),
            said: Vec::new(),
            snapshots: Vec::new(),
            forgotten: BTreeMap::new(),
            swept_day: i64::MIN,
        }
    }

    fn known(&self, program: &str, key: &str, body_hash: [u8; 16]) -> Option<Verdict> {
        let at = self.history.iter().position(|event| event.program == program && event.key == key)?;
        let op = u64::try_from(at).unwrap() + 1;
        let same = self.history[at].body_hash == body_hash;
        Some(if same { Verdict::Replayed(op) } else { Verdict::Conflict(op) })
    }

    /// Decides a member's command and keeps what it does, after what was due and before what it makes due.
    pub(crate) fn post(&mut self, command: &Command, now_us: i64) -> Verdict {
        self.sweep(now_us);
        let number = usize::from(command.program.0);
        if let Some(known) = self.known(&self.programs[number].id, &command.key, command.body_hash) {
            return known;
        }
        self.fall_due(number, &command.member, now_us);
        let decided = self.decide(number, command, now_us).and_then(|decided| {
            let fits = self.programs[number].fits(&decided.draft);
            if fits { Ok(decided) } else { Err((Reason::AmountOverflow, "amount")) }
        });
        let program = &self.programs[number];
        let exists = program.members.contains_key(&command.member);
        // What is judged on a member's account needs one first.
        let on_account = matches!(decided, Ok(_) | Err((Reason::RefundNotCovered | Reason::LapsesPast, _)));
        match &decided {
            _ if on_account && !exists && self.members_count() >= self.limits.members_max => return Verdict::Limit,
            Ok(decided) if !self.counters_fit(&program.id, &command.member, &decided.what) => return Verdict::Limit,
            _ => {}
        }
        let said = match decided {
            Ok(decided) => self.apply(number, command, decided),
            Err((reason, field)) => self.refuse(number, command, (reason, path(command, field))),
        };
        self.said.push(said.clone());
        self.fall_due(number, &command.member, now_us);
        Verdict::Fresh(said)
    }

    fn apply(&mut self, number: usize, command: &Command, decided: Decided) -> Said {
        let Decided { draft, mut said, what, stops } = decided;
        let program = &mut self.programs[number];
        program.post(&draft.legs);
        for campaign in stops {
            program.campaigns.insert(campaign, CampaignStatus::Stopped);
        }
        said.legs.clone_from(&draft.legs);
        said.positions = draft.positions();
        let touched: Vec<u8> = draft.touched.iter().copied().collect();
        let member = draft.finish();
        say_after(&mut said, &member, &touched);
        program.members.insert(command.member.clone(), member);
        self.remember(number, command, true, what);
        said
    }

    fn refuse(&mut self, number: usize, command: &Command, refused: (Reason, String)) -> Said {
        let mut said = Said { what: "rejected".to_owned(), refused: Some(refused), ..Said::default() };
        let known = self.programs[number].members.get(&command.member);
        if let Some(member) = known {
            say_after(&mut said, member, &[asked(&command.action)]);
        }
        self.remember(number, command, known.is_some(), What::Other);
        said
    }

    fn remember(&mut self, number: usize, command: &Command, concerned: bool, what: What) {
        self.history.push(Happened {
            program: self.programs[number].id.clone(),
            key: command.key.clone(),
            body_hash: command.body_hash,
            member: concerned.then(|| command.member.clone()),
            reference: command.notes.as_ref().map_or(String::new(), |notes| notes.reference.clone()),
            what,
        });
    }

    fn members_count(&self) -> u32 {
        u32::try_from(self.programs.iter().map(|program| program.members.len()).sum::<usize>()).unwrap()
    }

    /// The checks come in this order: the command's own, the asset, the member, and then what the action is about.
    fn decide(&self, number: usize, command: &Command, now_us: i64) -> Result<Decided, Refusal> {
        let program = &self.programs[number];
        let newest = program.newest();
        if matches!(command.action, Action::Opening { .. }) && !newest.import_mode {
            return Err((Reason::NotImporting, "opening"));
        }
        if command.currency.as_ref().is_some_and(|currency| *currency != newest.currency) {
            return Err((Reason::CurrencyMismatch, "currency"));
        }
        let occurred_at_us = command.occurred_at_us.unwrap_or(now_us);
        if !newest.import_mode && occurred_at_us < now_us - LATE_MAX_US {
            return Err((Reason::OccurredTooLate, "occurred_at_us"));
        }
        if !newest.import_mode && occurred_at_us > now_us + EARLY_MAX_US {
            return Err((Reason::OccurredTooEarly, "occurred_at_us"));
        }
        let (version, spec) = program.version_at(occurred_at_us);
        kind_fits(spec, &command.action)?;
        match &command.action {
            Action::Hold { until_us, .. } => {
                holds::until(spec, *until_us, now_us)?;
            }
            Action::Earn { basis, event_kind, .. } => {
                earns::awards_of(spec, *basis, event_kind.as_deref(), "earn.event_kind")?;
            }
            _ => {}
        }
        // A refund that names no original posts whatever is known of the member.
        let begins = credits(&command.action) || matches!(command.action, Action::Refund { .. });
        if !program.members.contains_key(&command.member) && !begins {
            return Err((Reason::MemberUnknown, "member"));
        }
        let member = program.member(&command.member);
        may(member.standing, &command.action)?;
        let draft = Draft::new(&command.member, member, self.history.len() + 1, now_us);
        let case = Case { program, command, version, spec, occurred_at_us, now_us, draft };
        match &command.action {
            Action::Earn { .. } => self.earn(case),
            Action::Refund { .. } => self.refund(case),
            Action::Redeem { .. } => moves::redeem(case),
            Action::Reverse { .. } => self.reverse(case),
            Action::Hold { .. } => holds::hold(case),
            Action::Capture { .. } => self.capture(case),
            Action::Release { .. } => self.release(case),
            Action::Activate { .. } => self.activate(case),
            Action::TopUp { .. } => moves::top_up(case),
            Action::Grant { .. } => moves::grant(case),
            Action::Adjust { .. } => moves::adjust(case),
            Action::Opening { .. } => moves::opening(case),
            Action::Standing { .. } => life::standing(case),
            Action::Transfer { .. } | Action::Convert { .. } | Action::Merge { .. } | Action::MemberSet { .. } => {
                Err((Reason::LimitReached, "the naive ledger does not know it yet"))
            }
            Action::Claim { .. } | Action::Reserve { .. } | Action::Checkout { .. } => {
                Err((Reason::LimitReached, "the naive ledger does not know it yet"))
            }
        }
    }
}

/// What an event tells of the member's balances: `points` as ever, and in whole the other assets that it touches, and
/// `points` where some are held or pending.
fn say_after(said: &mut Said, member: &Member, touched: &[u8]) {
    let points = member.balances(0);
    said.after = (points[0], points[3]);
    if points[1] > 0 || points[2] > 0 {
        said.others.insert(0, points);
    }
    for asset in touched.iter().copied().filter(|asset| *asset != 0) {
        said.others.insert(asset, member.balances(asset));
    }
    said.untils = member.untils.iter().map(|(asset, minute)| (*asset, i128::from(*minute))).collect();
}

/// The asset that a campaign multiplies and gives.
pub(crate) fn asset_of_campaign(spec: &CampaignSpec) -> u8 {
    spec.asset.as_deref().copied().unwrap_or_default().0
}

/// Whether the asset that a command names is of a kind that the command is for.
fn kind_fits(spec: &ProgramSpec, action: &Action) -> Result<(), Refusal> {
    let spent_on = |purpose: Purpose| match purpose {
        Purpose::Payment => AssetKind::StoredValue,
        Purpose::Use => AssetKind::Entitlement,
        _ => AssetKind::Spendable,
    };
    let (asset, kinds) = match action {
        // What is not even known of the earn is told first.
        Action::Earn { event_kind: Some(kind), .. } if !spec.rules.iter().any(|rule| rule.kind == *kind) => {
            return Err((Reason::EventKindUnknown, "earn.event_kind"));
        }
        Action::Earn { asset, .. } => (asset, vec![AssetKind::Spendable, AssetKind::Qualifying]),
        Action::Redeem { asset, purpose, .. } | Action::Hold { asset, purpose, .. } => {
            (asset, vec![spent_on(*purpose)])
        }
        Action::TopUp { asset, .. } => (asset, vec![AssetKind::StoredValue]),
        Action::Grant { asset, .. } => (asset, vec![AssetKind::Entitlement]),
        _ => return Ok(()),
    };
    match kinds.contains(&more_of(spec).assets[usize::from(asset.0)].kind) {
        true => Ok(()),
        false => Err((Reason::AssetKindMismatch, "asset")),
    }
}
