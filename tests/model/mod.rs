//! A naive ledger, written from the program rules and not from the real one: maps of account names to balances, a list
//! of everything that happened, linear scans, wide integers. Slow, and short enough to be read as a statement of what
//! the ledger ought to do.

pub(crate) mod admin;
pub(crate) mod award;
#[allow(dead_code, reason = "shared with the worked examples, which use more of it")]
pub(crate) mod book;
pub(crate) mod caps;
pub(crate) mod generate;
pub(crate) mod refunds;
#[allow(dead_code, reason = "shared with the worked examples, which use more of it")]
pub(crate) mod rules;

use std::collections::{BTreeMap, BTreeSet};

use stampbook::ledger::Limits;
use stampbook::ledger::command::{Action, Basis, Command, Original};
use stampbook::ledger::event::Source;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{CampaignSpec, ProgramSpec};
use stampbook::ledger::view::CampaignStatus;

use award::{AMOUNT_MAX, Candidate};
use book::{Part, Said, lot_name};
use caps::{CapSpan, Counter, cap_span};

/// What the model says of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A new event, which says this.
    Fresh(Said),
    /// The key stands at that op with the same body.
    Replayed(u64),
    /// The key stands at that op with another body.
    Conflict(u64),
    /// No room for one more member; nothing is remembered.
    Limit,
}

/// A campaign's award in an earn, and where its cap counted it.
#[derive(Clone, Debug)]
pub(crate) struct Award {
    pub campaign: String,
    pub points: i128,
    pub cap_span: Option<CapSpan>,
}

/// The part of an event that later decisions look back at.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Earned { basis: Basis, version: u32, base: i128, awards: Vec<Award> },
    Refunded { original: usize, amount: i128, base: i128, taken: Vec<(String, i128)> },
    Other,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub program: String,
    pub key: String,
    pub body_hash: [u8; 16],
    pub member: Option<String>,
    pub reference: String,
    pub what: What,
    /// Where the units that it credited lie: by lot, the first position and how many.
    pub credited: BTreeMap<String, (i128, i128)>,
}

/// One version of a program's rules.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub effective_from_us: i64,
    pub spec: ProgramSpec,
}

/// A member's lot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lot {
    pub entered: i128,
    pub left: i128,
    pub opened: usize,
}

/// A program: everything by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub id: String,
    pub versions: Vec<Version>,
    pub accounts: BTreeMap<String, i128>,
    pub lots: BTreeMap<String, Lot>,
    pub members: BTreeSet<String>,
    pub campaigns: BTreeMap<String, CampaignStatus>,
    pub funded: BTreeMap<String, i128>,
}

/// The naive ledger.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub limits: Limits,
    pub programs: Vec<Program>,
    pub history: Vec<Happened>,
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

/// A decision: what it says, what to remember, and which campaigns stop with it.
pub(crate) struct Decided {
    pub said: Said,
    pub what: What,
    pub stops: Vec<String>,
}

/// A refusal, by reason and field.
pub(crate) type Refusal = (Reason, &'static str);

const LATE_MAX_US: i64 = 30 * 86_400 * 1_000_000;
const EARLY_MAX_US: i64 = 5 * 60 * 1_000_000;

/// Spending order of lots that were opened by the same event.
const SOURCES: [Source; 4] = [Source::Base, Source::Campaign, Source::Granted, Source::Opening];

impl Program {
    pub(crate) fn balance(&self, account: &str) -> i128 {
        self.accounts.get(account).copied().unwrap_or(0)
    }

    pub(crate) fn available(&self, member: &str) -> i128 {
        SOURCES.iter().map(|source| self.balance(&lot_name(member, *source))).sum()
    }

    pub(crate) fn debt(&self, member: &str) -> i128 {
        -self.balance(&format!("member/{member}/debt"))
    }

    /// The rules for a business time: the newest of the versions that hold by then.
    fn version_at(&self, occurred_at_us: i64) -> (u32, &ProgramSpec) {
        let at = (0..self.versions.len()).rfind(|at| self.versions[*at].effective_from_us <= occurred_at_us).unwrap();
        (u32::try_from(at).unwrap() + 1, &self.versions[at].spec)
    }

    pub(crate) fn newest(&self) -> &ProgramSpec {
        &self.versions.last().unwrap().spec
    }

    /// Whether every account, and the members' accounts together, stay in the range of the books.
    fn fits(&self, legs: &BTreeMap<String, i128>) -> bool {
        let range = -i128::from(i64::MAX)..=i128::from(i64::MAX);
        let sum = |of: &BTreeMap<String, i128>, class: fn(&str) -> bool| {
            of.iter().filter(|(account, _)| class(account)).map(|(_, amount)| amount).sum::<i128>()
        };
        let classes: [fn(&str) -> bool; 2] = [is_lot, |account| account.ends_with("/debt")];
        legs.iter().all(|(account, amount)| range.contains(&(self.balance(account) + amount)))
            && classes.iter().all(|class| range.contains(&(sum(&self.accounts, *class) + sum(legs, *class))))
    }

    /// Debits and credits every account of an event.
    fn post(&mut self, op: usize, legs: &BTreeMap<String, i128>) {
        for (account, amount) in legs {
            *self.accounts.entry(account.clone()).or_default() += amount;
            if is_lot(account) {
                let lot = self.lots.entry(account.clone()).or_default();
                if lot.entered == lot.left {
                    lot.opened = op;
                }
                if *amount > 0 { lot.entered += amount } else { lot.left -= amount }
            }
        }
        assert_eq!(legs.values().sum::<i128>(), 0, "the model's own legs sum to zero");
    }

    /// The member's lots that hold something, in the order in which they are spent.
    pub(crate) fn spending_order(&self, member: &str) -> Vec<Source> {
        let mut lots: Vec<(usize, Source)> = SOURCES
            .into_iter()
            .filter_map(|source| Some((self.lots.get(&lot_name(member, source))?, source)))
            .filter(|(lot, _)| lot.entered > lot.left)
            .map(|(lot, source)| (lot.opened, source))
            .collect();
        lots.sort_unstable();
        lots.into_iter().map(|(_, source)| source).collect()
    }

    /// Credits a member: debt first.
    fn credit(&self, legs: &mut BTreeMap<String, i128>, member: &str, source: Source, points: i128) {
        let debt = format!("member/{member}/debt");
        let owed = self.debt(member) - legs.get(&debt).copied().unwrap_or(0);
        let settled = points.min(owed);
        add(legs, &debt, settled);
        add(legs, &lot_name(member, source), points - settled);
    }

    /// Debits up to `points` of one lot; says how many it could not.
    pub(crate) fn debit(&self, legs: &mut BTreeMap<String, i128>, member: &str, source: Source, points: i128) -> i128 {
        let lot = lot_name(member, source);
        let there = self.balance(&lot) + legs.get(&lot).copied().unwrap_or(0);
        let taken = points.min(there);
        add(legs, &lot, -taken);
        points - taken
    }
}

/// Whether an account is one of a member's lots.
fn is_lot(account: &str) -> bool {
    account.starts_with("member/") && !account.ends_with("/debt")
}

/// Adds to an account of an event; an amount of nothing makes no leg.
pub(crate) fn add(legs: &mut BTreeMap<String, i128>, account: &str, amount: i128) {
    if amount != 0 {
        *legs.entry(account.to_owned()).or_default() += amount;
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
        (Action::Refund { original: Original::Op(_), .. }, "original") => ("refund", "original_op"),
        (Action::Refund { original: Original::Key(_), .. }, "original") => ("refund", "original_key"),
        (Action::Refund { .. }, "original") => ("refund", "original_reference"),
        _ => return field.to_owned(),
    };
    format!("{action}.{by}")
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            programs: Vec::new(),
            history: Vec::new(),
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

    /// Decides a member's command and keeps what it does.
    pub(crate) fn post(&mut self, command: &Command, book_time_us: i64) -> Verdict {
        self.sweep(book_time_us);
        let number = usize::from(command.program.0);
        let program = &self.programs[number];
        if let Some(known) = self.known(&program.id, &command.key, command.body_hash) {
            return known;
        }
        let member = &command.member;
        let exists = program.members.contains(member);
        let decided =
            self.decide(number, command, book_time_us).and_then(|decided| match program.fits(&decided.said.legs) {
                true => Ok(decided),
                false => Err((Reason::AmountOverflow, "amount")),
            });
        let mut decided = match decided {
            Ok(_) if !exists && self.members_count() >= self.limits.members_max => return Verdict::Limit,
            Ok(decided) if !self.counters_fit(&program.id, member, &decided.what) => return Verdict::Limit,
            Ok(decided) => decided,
            Err((reason, field)) => Decided {
                said: Said { refused: Some((reason, path(command, field))), ..Said::default() },
                what: What::Other,
                stops: Vec::new(),
            },
        };
        let op = self.history.len() + 1;
        let program = &mut self.programs[number];
        let mut credited = BTreeMap::new();
        for (account, amount) in decided.said.legs.iter().filter(|(account, _)| is_lot(account)) {
            let lot = program.lots.get(account).copied().unwrap_or_default();
            let position = if *amount > 0 { lot.entered } else { lot.left };
            decided.said.positions.insert(account.clone(), position);
            if *amount > 0 {
                credited.insert(account.clone(), (position, *amount));
            }
        }
        program.post(op, &decided.said.legs);
        for campaign in decided.stops {
            program.campaigns.insert(campaign, CampaignStatus::Stopped);
        }
        let concerned = exists || decided.said.refused.is_none();
        if concerned {
            program.members.insert(member.clone());
            decided.said.after = (program.available(member), program.debt(member));
        }
        self.history.push(Happened {
            program: program.id.clone(),
            key: command.key.clone(),
            body_hash: command.body_hash,
            member: concerned.then(|| member.clone()),
            reference: command.notes.as_ref().map_or(String::new(), |notes| notes.reference.clone()),
            what: decided.what,
            credited,
        });
        Verdict::Fresh(decided.said)
    }

    fn members_count(&self) -> u32 {
        u32::try_from(self.programs.iter().map(|program| program.members.len()).sum::<usize>()).unwrap()
    }

    fn decide(&self, number: usize, command: &Command, book_time_us: i64) -> Result<Decided, Refusal> {
        let program = &self.programs[number];
        let newest = program.newest();
        if matches!(command.action, Action::Opening { .. }) && !newest.import_mode {
            return Err((Reason::NotImporting, "opening"));
        }
        if command.currency.as_ref().is_some_and(|currency| *currency != newest.currency) {
            return Err((Reason::CurrencyMismatch, "currency"));
        }
        let occurred_at_us = command.occurred_at_us.unwrap_or(book_time_us);
        if !newest.import_mode && occurred_at_us < book_time_us - LATE_MAX_US {
            return Err((Reason::OccurredTooLate, "occurred_at_us"));
        }
        if !newest.import_mode && occurred_at_us > book_time_us + EARLY_MAX_US {
            return Err((Reason::OccurredTooEarly, "occurred_at_us"));
        }
        match &command.action {
            Action::Earn { basis, event_kind } => {
                self.earn(program, &command.member, *basis, event_kind.as_deref(), occurred_at_us)
            }
            Action::Refund { .. } => self.refund(program, command, occurred_at_us),
            Action::Redeem { points, purpose } => {
                let account = format!("redemption/{}", purpose.name());
                spend(program, &command.member, &account, (*points).into(), "redeem.points")
            }
            Action::Adjust { points, .. } if *points < 0 => {
                let points = -i128::from(*points);
                spend(program, &command.member, "adjustment", points, "adjust.points")
            }
            Action::Adjust { points, .. } => {
                let mut legs = BTreeMap::new();
                add(&mut legs, "adjustment", -i128::from(*points));
                program.credit(&mut legs, &command.member, Source::Granted, (*points).into());
                Ok(Decided { said: Said { legs, ..Said::default() }, what: What::Other, stops: Vec::new() })
            }
            Action::Opening { points, .. } => {
                let mut legs = BTreeMap::new();
                add(&mut legs, "opening", -i128::from(*points));
                match *points > 0 {
                    true => program.credit(&mut legs, &command.member, Source::Opening, (*points).into()),
                    // What was owed in the other system is owed here, whatever the member has.
                    false => add(&mut legs, &format!("member/{}/debt", command.member), (*points).into()),
                }
                Ok(Decided { said: Said { legs, ..Said::default() }, what: What::Other, stops: Vec::new() })
            }
        }
    }

    fn earn(
        &self,
        program: &Program,
        member: &str,
        basis: Basis,
        kind: Option<&str>,
        occurred_at_us: i64,
    ) -> Result<Decided, Refusal> {
        let (version, spec) = program.version_at(occurred_at_us);
        let rule = spec.rules.iter().find(|rule| Some(rule.kind.as_str()) == kind);
        let base = match (basis, kind, rule) {
            (Basis::Points(points), None, _) | (Basis::Points(points), _, Some(_)) => points.into(),
            (Basis::Spend(minor_units), _, Some(rule)) => award::base(rule, minor_units.into()),
            (_, _, None) => return Err((Reason::EventKindUnknown, "earn.event_kind")),
        };
        if base > AMOUNT_MAX {
            return Err((Reason::AmountOverflow, "amount"));
        }
        let candidates = match kind {
            Some(kind) if base > 0 => self.candidates(program, spec, member, kind, occurred_at_us),
            _ => Vec::new(),
        };
        let parts = award::parts(base, spec.greatest_total, &candidates);
        let mut legs = BTreeMap::new();
        add(&mut legs, "issuance", -base);
        program.credit(&mut legs, member, Source::Base, base);
        for part in &parts {
            add(&mut legs, &format!("campaign/{}", part.campaign), -part.moved);
            program.credit(&mut legs, member, Source::Campaign, part.moved);
        }
        let campaign = |part: &Part| spec.campaigns.iter().find(|campaign| campaign.id == part.campaign).unwrap();
        let stops = parts
            .iter()
            .filter(|part| part.reason == Some(Reason::CampaignBudgetExhausted))
            .filter(|part| campaign(part).on_exhausted == stampbook::ledger::spec::OnExhausted::Stop)
            .map(|part| part.campaign.clone())
            .collect();
        let award = |part: &Part| Award {
            campaign: part.campaign.clone(),
            points: part.moved,
            cap_span: campaign(part).cap.map(|cap| cap_span(spec, cap.per, occurred_at_us)),
        };
        let what = What::Earned { basis, version, base, awards: parts.iter().map(award).collect() };
        let said = Said { version: Some(version), base, parts, legs, ..Said::default() };
        Ok(Decided { said, what, stops })
    }

    /// The campaigns of a version that take part in an event of that kind and time.
    fn candidates(
        &self,
        program: &Program,
        spec: &ProgramSpec,
        member: &str,
        kind: &str,
        occurred_at_us: i64,
    ) -> Vec<Candidate> {
        let counters = self.counters();
        let takes_part = |campaign: &&CampaignSpec| {
            (campaign.start_us..campaign.end_us).contains(&occurred_at_us)
                && (campaign.kinds.is_empty() || campaign.kinds.iter().any(|of| of == kind))
                && program.campaigns[&campaign.id] == CampaignStatus::Open
        };
        let candidate = |campaign: &CampaignSpec| Candidate {
            id: campaign.id.clone(),
            group: campaign.group.clone(),
            multiplier: campaign.multiplier,
            budget_left: program.balance(&format!("campaign/{}", campaign.id)),
            cap_room: campaign.cap.map(|cap| {
                let span = cap_span(spec, cap.per, occurred_at_us);
                let counter = (program.id.clone(), member.to_owned(), campaign.id.clone(), span);
                let used = counters.get(&counter).copied().unwrap_or(0);
                (i128::from(cap.points) - used).max(0)
            }),
        };
        spec.campaigns.iter().filter(takes_part).map(candidate).collect()
    }
}

/// Takes available points in spending order and puts them on one account.
fn spend(
    program: &Program,
    member: &str,
    account: &str,
    points: i128,
    field: &'static str,
) -> Result<Decided, Refusal> {
    if !program.members.contains(member) {
        return Err((Reason::MemberUnknown, "member"));
    }
    if program.available(member) < points {
        return Err((Reason::InsufficientPoints, field));
    }
    let mut legs = BTreeMap::new();
    add(&mut legs, account, points);
    let rest = program
        .spending_order(member)
        .into_iter()
        .fold(points, |rest, source| program.debit(&mut legs, member, source, rest));
    assert_eq!(rest, 0);
    Ok(Decided { said: Said { legs, ..Said::default() }, what: What::Other, stops: Vec::new() })
}
