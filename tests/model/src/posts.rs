//! How a member's command is posted: what is due first, then the checks in their order, then what it is about.

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, Basis, Command, Named, Original, Purpose, Standing};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{AssetKind, ProgramSpec};
use stampbook::ledger::view::CampaignStatus;

use super::book::{Said, Side, prints};
use super::member::{Draft, Member};
use super::{
    Case, Counterpart, Decided, Happened, Model, Program, Refunded, Refusal, Verdict, What, balanced, earns, gives,
    holds, life, merges, more_of, moves, profiles, rewards,
};

const LATE_MAX_US: i64 = 30 * 86_400 * 1_000_000;
const EARLY_MAX_US: i64 = 5 * 60 * 1_000_000;

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

/// The asset that a command names, or a reward is paid in.
fn asked(program: &Program, action: &Action) -> u8 {
    match action {
        Action::Claim { sku, .. } | Action::Reserve { sku, .. } => {
            program.rewards.get(sku).map_or(0, |reward| reward.asset)
        }
        Action::Earn { asset, .. }
        | Action::Redeem { asset, .. }
        | Action::Hold { asset, .. }
        | Action::TopUp { asset, .. }
        | Action::Grant { asset, .. }
        | Action::Adjust { asset, .. }
        | Action::Opening { asset, .. }
        | Action::Transfer { asset, .. }
        | Action::Convert { asset, .. } => asset.0,
        _ => 0,
    }
}

/// Whether a command puts units into an account, or tells what a member is, so that it may begin one.
fn credits(action: &Action) -> bool {
    match action {
        Action::Earn { .. } | Action::TopUp { .. } | Action::Grant { .. } | Action::Opening { .. } => true,
        Action::MemberSet { .. } => true,
        Action::Adjust { points, .. } => *points > 0,
        _ => false,
    }
}

/// Whether a member who stands so may do that.
fn may(standing: Standing, action: &Action) -> Result<(), Refusal> {
    let spends = matches!(action, Action::Redeem { .. } | Action::Hold { .. } | Action::Capture { .. })
        || matches!(action, Action::Transfer { .. } | Action::Convert { .. })
        || matches!(action, Action::Claim { .. } | Action::Reserve { .. });
    match standing {
        Standing::Frozen if spends => Err((Reason::MemberFrozen, "member")),
        Standing::Closed if spends || credits(action) || matches!(action, Action::Activate { .. }) => {
            Err((Reason::MemberClosed, "member"))
        }
        _ => Ok(()),
    }
}

impl Model {
    pub fn known(&self, program: &str, key: &str, body_hash: [u8; 16]) -> Option<Verdict> {
        let at = *self.stands.get(&prints().key(program, key))?;
        let op = u64::try_from(at).unwrap() + 1;
        let same = self.history[at].body_hash == body_hash;
        Some(if same { Verdict::Replayed(op) } else { Verdict::Conflict(op) })
    }

    /// Decides a member's command and keeps what it does, after what was due and before what it makes due.
    pub fn post(&mut self, command: &Command, now_us: i64) -> Verdict {
        self.sweep(now_us);
        let number = usize::from(command.program.0);
        if let Some(known) = self.known(&self.programs[number].id, &command.key, command.body_hash) {
            return known;
        }
        self.both_fall_due(command, now_us);
        self.free_for(command, now_us);
        match &command.action {
            Action::Checkout { parts } => self.check_out(command, parts, now_us),
            _ => self.post_one(command, now_us),
        }
    }

    /// Writes what is due of the member, and of the other one that the command names.
    fn both_fall_due(&mut self, command: &Command, now_us: i64) {
        self.fall_due(usize::from(command.program.0), &command.member, now_us);
        if let Some((program, named)) = other_of(command) {
            self.fall_due(program, &named.id, now_us);
        }
    }

    /// Decides one command, or a part of several, that is not known.
    pub fn post_one(&mut self, command: &Command, now_us: i64) -> Verdict {
        let number = usize::from(command.program.0);
        let decided = self.decide(number, command, now_us).and_then(|decided| {
            let fits = match &decided.other {
                Some(other) if other.program == number => self.programs[number].fits(&[&decided.draft, &other.draft]),
                Some(other) => {
                    self.programs[number].fits(&[&decided.draft]) && self.programs[other.program].fits(&[&other.draft])
                }
                None => self.programs[number].fits(&[&decided.draft]),
            };
            if fits { Ok(decided) } else { Err((Reason::AmountOverflow, "amount")) }
        });
        let full = self.members_count() >= self.limits.members_max;
        if full && self.opens(number, command, decided.as_ref().err()) {
            return Verdict::Limit;
        }
        let said = match decided {
            Ok(decided) if !self.counters_fit(&self.programs[number].id, &decided.draft.name, &decided.what) => {
                return Verdict::Limit;
            }
            Ok(decided) => self.apply(number, command, decided),
            Err((reason, field)) => self.refuse(number, command, (reason, path(command, field))),
        };
        self.said.push(said.clone());
        self.both_fall_due(command, now_us);
        Verdict::Fresh(said)
    }

    /// Whether the command needs an account that there is not: what is judged on a member's account needs one first.
    fn opens(&self, number: usize, command: &Command, refused: Option<&Refusal>) -> bool {
        let reason = refused.map(|(reason, _)| *reason);
        let lacks = |program: usize, name: &str| {
            let program = &self.programs[program];
            !program.members.contains_key(program.root(name))
        };
        let on_own = matches!(reason, None | Some(Reason::RefundNotCovered | Reason::LapsesPast | Reason::TagsFull));
        let on_other = matches!(reason, None | Some(Reason::InsufficientPoints));
        on_own && lacks(number, &command.member)
            || on_other && other_of(command).is_some_and(|(program, named)| lacks(program, &named.id))
    }

    fn apply(&mut self, number: usize, command: &Command, decided: Decided) -> Said {
        let Decided { draft, other, mut said, what, stops } = decided;
        let within = other.as_ref().filter(|other| other.program == number).map(|other| &other.draft.legs);
        balanced(draft.legs.iter().chain(within.into_iter().flatten()));
        let program = &mut self.programs[number];
        program.post(&draft.legs);
        for campaign in stops {
            program.campaigns.insert(campaign, CampaignStatus::Stopped);
        }
        if let What::Merged { into } = &what {
            program.merged.insert(draft.name.clone(), into.clone());
        }
        if let Action::MemberSet { add, .. } = &command.action {
            let new: Vec<String> = add.iter().filter(|tag| !program.tags.contains(tag)).cloned().collect();
            program.tags.extend(new);
        }
        said.legs.clone_from(&draft.legs);
        said.positions = draft.positions.clone();
        let (name, touched) = (draft.name.clone(), draft.touched.iter().copied().collect::<Vec<_>>());
        let member = draft.finish();
        say_after(&mut said, &member, &touched);
        program.put_member(name.clone(), member);
        said.other = other.map(|other| Box::new(self.apply_other(number, other)));
        self.remember(number, command, Some(name), what);
        said
    }

    /// Keeps what an event does on the other member's side.
    fn apply_other(&mut self, number: usize, other: Counterpart) -> Side {
        let Counterpart { program: there, draft } = other;
        if there != number {
            balanced(draft.legs.iter());
        }
        let program = &mut self.programs[there];
        program.post(&draft.legs);
        let mut side = Side {
            program: program.id.clone(),
            member: draft.name.clone(),
            legs: draft.legs.clone(),
            positions: draft.positions.clone(),
            ..Side::default()
        };
        let touched = draft.touched.clone();
        let member = draft.finish();
        side.after = touched.into_iter().map(|asset| (asset, member.balances(asset))).collect();
        side.untils = untils_of(&member);
        program.put_member(side.member.clone(), member);
        side
    }

    /// Remembers a refusal.
    pub fn refuse(&mut self, number: usize, command: &Command, refused: (Reason, String)) -> Said {
        let mut said = Said { what: "rejected".to_owned(), refused: Some(refused), ..Said::default() };
        let program = &self.programs[number];
        let name = program.root(&command.member).to_owned();
        let known = program.members.get(&name);
        if let Some(member) = known {
            say_after(&mut said, member, &[asked(program, &command.action)]);
        }
        let known = known.is_some();
        self.remember(number, command, known.then_some(name), What::Other);
        said
    }

    /// Keeps what happened for later decisions to look back at.
    pub fn remember(&mut self, number: usize, command: &Command, member: Option<String>, what: What) {
        self.keep(Happened {
            program: self.programs[number].id.clone(),
            key: command.key.to_string(),
            body_hash: command.body_hash,
            member,
            reference: command.notes.as_ref().map_or(String::new(), |notes| notes.reference.clone()),
            what,
        });
    }

    /// Puts an event behind all others, and keeps where it stands.
    pub fn keep(&mut self, event: Happened) {
        let at = self.history.len();
        if !event.key.is_empty() {
            self.stands.entry(prints().key(&event.program, &event.key)).or_insert(at);
        }
        match &event.what {
            What::Refunded(Refunded { original, .. }) | What::Reversed { original, .. } => {
                self.take_backs.entry(*original).or_default().push(at);
            }
            _ => {}
        }
        self.count(&event);
        self.history.push(event);
    }

    /// The refunds and reversals of an event, in order.
    pub fn take_backs_of(&self, at: usize) -> impl Iterator<Item = &What> {
        self.take_backs.get(&at).into_iter().flatten().map(|at| &self.history[*at].what)
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
        if command.currency.is_some_and(|currency| currency != newest.currency.as_bytes()) {
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
            Action::Convert { .. } => {
                self.rate(program, spec, command, occurred_at_us)?;
            }
            Action::Claim { sku, pieces, .. } => {
                rewards::price(program, sku, *pieces)?;
            }
            Action::Reserve { sku, pieces, until_us, .. } => {
                rewards::price(program, sku, *pieces)?;
                holds::until(spec, *until_us, now_us)?;
            }
            _ => {}
        }
        // A refund that names no original posts whatever is known of the member.
        let begins = credits(&command.action) || matches!(command.action, Action::Refund { .. });
        let name = program.root(&command.member);
        if !program.members.contains_key(name) && !begins {
            return Err((Reason::MemberUnknown, "member"));
        }
        let member = program.member(name);
        may(member.standing, &command.action)?;
        let draft = Draft::new(name, member, self.history.len() + 1, now_us);
        let case = Case { number, program, command, version, spec, occurred_at_us, now_us, draft };
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
            Action::Transfer { .. } => gives::transfer(case),
            Action::Convert { .. } => self.convert(case),
            Action::Merge { .. } => merges::merge(case),
            Action::MemberSet { .. } => profiles::member_set(case),
            Action::Claim { .. } => rewards::claim(case),
            Action::Reserve { .. } => rewards::reserve(case),
            Action::Checkout { .. } => unreachable!("its parts are decided, each by itself"),
        }
    }
}

/// The other member that a command names, and the number of the program that he is in.
fn other_of(command: &Command) -> Option<(usize, &Named)> {
    let program = match &command.action {
        Action::Convert { to_program, .. } => *to_program,
        _ => command.program,
    };
    Some((usize::from(program.0), command.action.other()?))
}

/// What an event tells of the member's balances: `points` as ever, and in whole the other assets that it touches, and
/// `points` where some are held or pending.
pub fn say_after(said: &mut Said, member: &Member, touched: &[u8]) {
    let points = member.balances(0);
    said.after = (points[0], points[3]);
    if points[1] > 0 || points[2] > 0 {
        said.others.insert(0, points);
    }
    for asset in touched.iter().copied().filter(|asset| *asset != 0) {
        said.others.insert(asset, member.balances(asset));
    }
    said.untils = untils_of(member);
}

/// Until when rolling units live, by asset.
fn untils_of(member: &Member) -> BTreeMap<u8, i128> {
    member.untils.iter().map(|(asset, minute)| (*asset, i128::from(*minute))).collect()
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
        Action::Transfer { asset, .. } => (asset, vec![AssetKind::Spendable, AssetKind::Entitlement]),
        Action::Convert { asset, .. } => (asset, vec![AssetKind::Spendable]),
        _ => return Ok(()),
    };
    match kinds.contains(&more_of(spec).assets[usize::from(asset.0)].kind) {
        true => Ok(()),
        false => Err((Reason::AssetKindMismatch, "asset")),
    }
}
