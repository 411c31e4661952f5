//! A book and the model beside it: every command goes to both, which must say the same of every event, and at the end have the
//! same of everything.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use stampbook::ledger::Limits;
use stampbook::ledger::command::Action;
use stampbook::ledger::ids::{Op, ProgramNo};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::view::{ProgramTrial, TrialRow};

use model::book::{Book, Posted, Said};
use model::generate::{Generator, PROGRAMS, Sent, Shelved};
use model::member::{Hold, Member};
use model::{Model, Program, Verdict, What, due};

/// A book, the model beside it, and where the next command comes from.
pub(crate) struct Run {
    pub book: Book,
    pub model: Model,
    pub generator: Generator,
    /// Holds that were ended for others, who wanted the pieces that they reserved.
    pub freed: usize,
    /// What was sent, and when.
    sent: Vec<(i64, Sent)>,
}

impl Run {
    pub(crate) fn new(seed: u64, limits: Limits) -> Self {
        let (book, model, generator) = (Book::new(limits), Model::new(limits), Generator::new(seed));
        Self { book, model, generator, freed: 0, sent: Vec::new() }
    }

    /// Posts the next random command.
    fn step(&mut self) -> Verdict {
        let sent = self.next();
        self.post(&sent)
    }

    /// The next random command, made with an eye on what members have and on what falls due.
    pub(crate) fn next(&mut self) -> Sent {
        (self.generator.soon, self.generator.available) = (Vec::new(), BTreeMap::new());
        (self.generator.holds, self.generator.waiting) = (Vec::new(), Vec::new());
        (self.generator.reserved, self.generator.gone) = (BTreeMap::new(), BTreeSet::new());
        self.generator.shelved = Vec::new();
        let op = |at: usize| Op(u64::try_from(at).unwrap());
        for (number, program) in self.model.programs.iter().enumerate() {
            self.generator.gone.extend(program.merged.keys().map(|name| (number, name.clone())));
            for (name, member) in &program.members {
                let reserves = |hold: &Hold| Some((op(hold.op), (hold.units(), hold.reserves.as_ref()?.1)));
                self.generator.reserved.extend(member.holds.iter().filter_map(reserves));
                let shelved = |hold: &Hold| {
                    let (sku, price) = hold.reserves.clone()?;
                    let (pieces, left, until_us) = (hold.units() / price, program.stock(&sku), hold.until_us);
                    Some(Shelved { program: number, sku, until_us, pieces, left })
                };
                self.generator.shelved.extend(member.holds.iter().filter_map(shelved));
                self.generator.soon.extend(due::instants(member));
                self.generator.holds.extend(member.holds.iter().map(|hold| (number, op(hold.op))));
                self.generator.waiting.extend(member.waiting.iter().map(|entry| (number, op(entry.op))));
                for asset in 0..5 {
                    let [available, ..] = member.balances(asset);
                    self.generator.available.insert((number, name.clone(), asset), available);
                }
            }
        }
        let sent = self.generator.next(&self.book);
        self.sent.push((self.generator.now_us, sent.clone()));
        sent
    }

    /// Whether the model refuses a command of several parts, or has no room for it.
    pub(crate) fn is_refused_checkout(&self, sent: &Sent) -> bool {
        match sent {
            Sent::Member(command) if matches!(command.action, Action::Checkout { .. }) => {
                match self.model.clone().post(command, self.generator.now_us) {
                    Verdict::Fresh(said) => said.refused.is_some(),
                    verdict => verdict == Verdict::Limit,
                }
            }
            _ => false,
        }
    }

    /// Posts a command to both, which must say the same, of it and of what was due before and after it. Returns what the
    /// model said.
    pub(crate) fn post(&mut self, sent: &Sent) -> Verdict {
        let now_us = self.generator.now_us;
        let before = self.model.said.len();
        let expected = match sent {
            Sent::Member(command) => self.model.post(command, now_us),
            Sent::Admin(command) => self.model.post_admin(command, now_us),
            Sent::Sweep(program, member) => {
                self.model.fall_due(*program, member, now_us);
                Verdict::Swept
            }
        };
        let posted = post(&mut self.book, sent, now_us);
        for at in before..self.model.said.len().min(self.book.shelf.events.len()) {
            let found = self.book.said(Op(u64::try_from(at).unwrap() + 1));
            let (found, expected) = (comparable(found), comparable(self.model.said[at].clone()));
            assert_eq!(
                found,
                expected,
                "\nop {}: left is the ledger, right the model, of {sent:?} at {now_us}",
                at + 1
            );
        }
        assert_eq!(self.book.shelf.events.len(), self.model.said.len(), "events, after {sent:?} at {now_us}");
        self.freed += self.freed_since(before, sent);
        let agree = match (posted, &expected) {
            (Posted::Fresh(op), Verdict::Fresh(said)) => {
                self.generator.stands_at(sent, op, said.refused.is_some());
                true
            }
            (Posted::Replayed(op), Verdict::Replayed(at)) | (Posted::Conflict(op), Verdict::Conflict(at)) => {
                op.0 == *at
            }
            (Posted::Limit, Verdict::Limit) | (Posted::Swept, Verdict::Swept) => true,
            _ => false,
        };
        assert!(agree, "the ledger says {posted:?} and the model {expected:?} of {sent:?} at {now_us}");
        expected
    }

    /// Holds that ended since there were so many events, since others wanted what they reserve.
    fn freed_since(&self, before: usize, sent: &Sent) -> usize {
        let own = match sent {
            Sent::Member(command) if command.action.other().is_none() => {
                format!("member/{}/", self.model.programs[usize::from(command.program.0)].root(&command.member))
            }
            Sent::Admin(_) => "nobody".to_owned(),
            _ => return 0,
        };
        let ended = self.model.said.iter().skip(before).filter(|said| said.what == "hold ended");
        ended.filter(|said| !said.legs.keys().any(|account| account.contains(&own))).count()
    }

    /// Posts so many random commands. Where one fails, those up to it are the shortest run that does: it is told.
    pub(crate) fn steps(&mut self, seed: u64, count: u64) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for _ in 0..count {
            match catch_unwind(AssertUnwindSafe(|| self.step())) {
                Ok(verdict) => verdicts.push(verdict),
                Err(panic) => {
                    self.tell(seed);
                    resume_unwind(panic);
                }
            }
        }
        verdicts
    }

    /// Tells the run: the seed and the number of commands, the rules, and what was sent for the member of the last one.
    fn tell(&self, seed: u64) {
        eprintln!("STAMPBOOK_SEED={seed} fails at its command {}, op {}", self.sent.len(), self.model.said.len());
        let Some((_, Sent::Member(last))) = self.sent.last() else { return };
        for (number, version) in self.model.programs[usize::from(last.program.0)].versions.iter().enumerate() {
            eprintln!("version {} from {}: {:#?}", number + 1, version.effective_from_us, version.spec);
        }
        for (at_us, sent) in &self.sent {
            let (program, member) = match sent {
                Sent::Member(command) => (usize::from(command.program.0), command.member.as_str()),
                Sent::Sweep(program, member) => (*program, member.as_str()),
                Sent::Admin(_) => continue,
            };
            if program == usize::from(last.program.0) && member == last.member {
                eprintln!("at {at_us}: {sent:?}");
            }
        }
    }

    fn snapshots_agree(&self) {
        let views = self.book.ledger.snapshots();
        assert_eq!(views.len(), self.model.snapshots.len());
        for (view, snapshot) in views.iter().zip(&self.model.snapshots) {
            assert_eq!((&view.name, view.op.0), (&snapshot.name, snapshot.op));
            assert_eq!((view.book_time_us, view.retain_until_us), (snapshot.taken_us, snapshot.retain_until_us));
            assert_eq!(view.deleted.map(|op| op.0), snapshot.deleted);
        }
    }

    /// Every balance that readers see is the model's.
    pub(crate) fn balances_agree(&self) {
        self.snapshots_agree();
        self.book.ledger.check_sums().unwrap();
        for (trial, program) in self.book.ledger.trial_balance().iter().zip(&self.model.programs) {
            assert_eq!(trial.program, program.id);
            assert_eq!(usize::try_from(trial.members).unwrap(), program.members.len());
            let rows = rows_of(trial);
            assert_eq!(rows.values().sum::<i128>(), 0);
            assert_eq!(nonzero(rows), nonzero(program.trial()));
        }
        for (number, program) in self.model.programs.iter().enumerate() {
            for (name, member) in &program.members {
                // Whoever went into another is seen as that one.
                let member =
                    if program.merged.contains_key(name) { &program.members[program.root(name)] } else { member };
                self.card_agrees(number, name, member);
            }
            self.rewards_agree(number, program);
            self.campaigns_agree(number, program);
        }
    }

    /// What a reader is shown of a member is what the model has of him.
    fn card_agrees(&self, number: usize, name: &str, member: &Member) {
        let hash = self.book.prints.member(PROGRAMS[number], name);
        let card = self.book.ledger.card(self.book.ledger.member(hash).unwrap(), self.generator.now_us);
        assert_eq!((card.standing, card.joined_day), (member.standing, member.joined), "{name}");
        assert!(card.tags.iter().eq(&member.tags), "{name}: {:?}", card.tags);
        for asset in 0..5 {
            let shown = card.assets.iter().find(|shown| shown.balances.asset.0 == asset).map(|shown| shown.balances);
            let shown = shown.map_or([0; 4], |of| [of.available, of.held, of.pending, of.debt]).map(i128::from);
            assert_eq!(shown, member.balances(asset), "{name}, asset {asset}");
        }
    }

    fn rewards_agree(&self, number: usize, program: &Program) {
        let views = self.book.ledger.rewards(ProgramNo(u16::try_from(number).unwrap()));
        assert_eq!(views.len(), program.rewards.len());
        for view in views {
            let reward = &program.rewards[&view.sku];
            assert_eq!((i128::from(view.price), view.open), (reward.price, reward.open), "{}", view.sku);
            let pieces = (program.stock(&view.sku), program.reserved(&view.sku));
            assert_eq!((i128::from(view.left), i128::from(view.reserved)), pieces, "{}", view.sku);
        }
    }

    fn campaigns_agree(&self, number: usize, program: &Program) {
        let view = &self.book.ledger.programs()[number];
        assert_eq!(*view.spec, *program.newest());
        assert_eq!(usize::try_from(view.version.0).unwrap(), program.versions.len());
        let views = self.book.ledger.campaigns(view.number);
        assert_eq!(views.len(), program.campaigns.len());
        for view in views {
            let id = &view.spec.id;
            assert_eq!(view.status, program.campaigns[id], "{id}");
            assert_eq!(i128::from(view.funded), program.funded.get(id).copied().unwrap_or(0), "{id}");
            assert_eq!(i128::from(view.left), program.balance(&program.budget(id)), "{id}");
            assert_eq!(i128::from(view.awarded), self.awarded(&program.id, id), "{id}");
            let named = program.newest().campaigns.iter().any(|campaign| campaign.id == *id);
            assert_eq!(view.in_force, named, "{id}");
        }
    }

    /// All that a campaign awarded, less what came back.
    fn awarded(&self, program: &str, campaign: &str) -> i128 {
        let of = |what: &What| match what {
            What::Earned(earned) => {
                earned.awards.iter().filter(|award| award.campaign == campaign).map(|award| award.points).sum()
            }
            What::Refunded(refund) => {
                -refund.parts.iter().filter(|back| back.campaign == campaign).map(|back| back.taken).sum::<i128>()
            }
            _ => 0_i128,
        };
        self.model.history.iter().filter(|event| event.program == program).map(|event| of(&event.what)).sum()
    }
}

/// What is compared of an event: which field a refusal names is the contract's affair, but for earns and refunds.
fn comparable(mut said: Said) -> Said {
    if let Some((reason, field)) = &mut said.refused {
        let of_award = field.starts_with("earn.") || field.starts_with("refund.");
        if reason.number() > Reason::NotImporting.number() || *reason == Reason::MemberUnknown || !of_award {
            field.clear();
        }
    }
    said
}

fn post(book: &mut Book, sent: &Sent, now_us: i64) -> Posted {
    match sent {
        Sent::Member(command) => book.post(command, now_us),
        Sent::Admin(command) => book.post_admin(command, now_us),
        Sent::Sweep(program, member) => book.sweep(*program, member, now_us),
    }
}

/// The rows of a trial balance by name; those of other assets than `points` begin with the asset's id.
fn rows_of(trial: &ProgramTrial) -> BTreeMap<String, i128> {
    let named = |row: &TrialRow| match row.asset.as_str() {
        "points" => row.account.clone(),
        asset => format!("{asset}:{}", row.account),
    };
    trial.rows.iter().map(|row| (named(row), row.balance.into())).collect()
}

fn nonzero(rows: BTreeMap<String, i128>) -> BTreeMap<String, i128> {
    rows.into_iter().filter(|(_, balance)| *balance != 0).collect()
}
