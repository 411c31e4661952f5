//! Properties of the ledger under random commands, against a naive ledger that is written from the program rules.
//! A failure names the seed and the op; `STAMPBOOK_SEED=n cargo test --test properties` runs that book alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod model;

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, AdminAction, Basis, Original};
use stampbook::ledger::event::{Account, Event};
use stampbook::ledger::ids::Op;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{Cap, CapPer, ProgramSpec};
use stampbook::ledger::view::CampaignStatus;
use stampbook::ledger::{Ledger, Limits, codec};

use model::book::{Book, Posted, ROOMY};
use model::generate::{Generator, PROGRAMS, Sent};
use model::rules::{DAY, campaign, program, put, ratio, refund, rule, spend};
use model::{Model, Program, Verdict, What};

const BOOKS: u64 = 68;
const COMMANDS: usize = 1_500;

fn seeds() -> Vec<u64> {
    match std::env::var("STAMPBOOK_SEED") {
        Ok(seed) => vec![seed.parse().expect("STAMPBOOK_SEED is a number")],
        Err(_) => (1..=BOOKS).collect(),
    }
}

/// A book, the model beside it, and where the next command comes from.
struct Run {
    book: Book,
    model: Model,
    generator: Generator,
}

impl Run {
    fn new(seed: u64, limits: Limits) -> Self {
        Self { book: Book::new(limits), model: Model::new(limits), generator: Generator::new(seed) }
    }

    /// Posts the next random command.
    fn step(&mut self) -> Verdict {
        let sent = self.generator.next(&self.book);
        self.post(&sent)
    }

    /// Posts a command to both, which must say the same. Returns what the model said.
    fn post(&mut self, sent: &Sent) -> Verdict {
        let now_us = self.generator.now_us;
        let expected = match sent {
            Sent::Member(command) => self.model.post(command, now_us),
            Sent::Admin(command) => self.model.post_admin(command, now_us),
        };
        let found = match post(&mut self.book, sent, now_us) {
            Posted::Fresh(op) => {
                self.generator.stands_at(sent, op);
                Verdict::Fresh(self.book.said(op))
            }
            Posted::Replayed(op) => Verdict::Replayed(op.0),
            Posted::Conflict(op) => Verdict::Conflict(op.0),
            Posted::Limit => Verdict::Limit,
        };
        assert_eq!(found, expected, "\nleft is the ledger, right the model, of {sent:?} at {now_us}");
        expected
    }

    fn steps(&mut self, seed: u64, count: usize) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for _ in 0..count {
            let told = Told { seed, op: self.model.history.len() + 1 };
            verdicts.push(self.step());
            std::mem::forget(told);
        }
        verdicts
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
    fn balances_agree(&self) {
        self.snapshots_agree();
        self.book.ledger.check_sums().unwrap();
        for (trial, program) in self.book.ledger.trial_balance().iter().zip(&self.model.programs) {
            assert_eq!(trial.program, program.id);
            assert_eq!(usize::try_from(trial.members).unwrap(), program.members.len());
            assert_eq!(trial.rows.iter().map(|row| i128::from(row.balance)).sum::<i128>(), 0);
            let rows: BTreeMap<String, i128> =
                trial.rows.iter().map(|row| (row.account.clone(), row.balance.into())).collect();
            assert_eq!(nonzero(rows), nonzero(trial_of(program)));
        }
        for (number, program) in self.model.programs.iter().enumerate() {
            for member in &program.members {
                let balances = self.book.balances(number, member).unwrap();
                let found = (i128::from(balances.available), i128::from(balances.debt));
                assert_eq!(found, (program.available(member), program.debt(member)), "{member}");
            }
            self.campaigns_agree(number, program);
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
            assert_eq!(i128::from(view.left), program.balance(&format!("campaign/{id}")), "{id}");
            assert_eq!(i128::from(view.awarded), self.awarded(&program.id, id), "{id}");
            let named = program.newest().campaigns.iter().any(|campaign| campaign.id == *id);
            assert_eq!(view.in_force, named, "{id}");
        }
    }

    /// All that a campaign awarded, less what came back.
    fn awarded(&self, program: &str, campaign: &str) -> i128 {
        let of = |what: &What| match what {
            What::Earned { awards, .. } => {
                awards.iter().filter(|award| award.campaign == campaign).map(|award| award.points).sum()
            }
            What::Refunded { taken, .. } => {
                -taken.iter().filter(|(id, _)| id == campaign).map(|(_, points)| points).sum::<i128>()
            }
            What::Other => 0,
        };
        self.model.history.iter().filter(|event| event.program == program).map(|event| of(&event.what)).sum()
    }
}

/// Says which book failed and where, when a panic drops it.
struct Told {
    seed: u64,
    op: usize,
}

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("failed at STAMPBOOK_SEED={} op {}", self.seed, self.op);
    }
}

fn post(book: &mut Book, sent: &Sent, now_us: i64) -> Posted {
    match sent {
        Sent::Member(command) => book.post(command, now_us),
        Sent::Admin(command) => book.post_admin(command, now_us),
    }
}

/// The model's accounts as a trial balance has them: members' accounts by class.
fn trial_of(program: &Program) -> BTreeMap<String, i128> {
    let mut rows = BTreeMap::new();
    for (account, balance) in &program.accounts {
        let row = match account.strip_prefix("member/") {
            Some(of) if of.ends_with("/debt") => "member/debt",
            Some(_) => "member/available",
            None => account,
        };
        *rows.entry(row.to_owned()).or_default() += balance;
    }
    rows
}

fn nonzero(rows: BTreeMap<String, i128>) -> BTreeMap<String, i128> {
    rows.into_iter().filter(|(_, balance)| *balance != 0).collect()
}

/// A fresh ledger from the bytes of a book; `None` where an event does not fit the state.
fn replayed<'a>(book: &Book, events: impl Iterator<Item = &'a Vec<u8>>) -> Option<Ledger> {
    let mut ledger = Ledger::new(ROOMY);
    for (bytes, (at, _)) in events.zip(&book.shelf.events) {
        let event = codec::decode(bytes).unwrap();
        ledger.replay(*at, &event, &book.prints).ok()?;
    }
    Some(ledger)
}

fn bytes_of(book: &Book) -> impl Iterator<Item = &Vec<u8>> {
    book.shelf.events.iter().map(|(_, bytes)| bytes)
}

#[test]
fn random_commands_come_to_what_the_naive_ledger_says_and_replay_to_the_same_state() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for seed in seeds() {
        let mut run = Run::new(seed, ROOMY);
        for verdict in run.steps(seed, COMMANDS) {
            *seen.entry(class_of(&verdict)).or_default() += 1;
        }
        run.balances_agree();
        let live = run.book.ledger.state_hash();
        for _ in 0..2 {
            let replayed = replayed(&run.book, bytes_of(&run.book)).expect("the book replays");
            assert_eq!(replayed.state_hash(), live, "seed {seed}");
        }
        let stopped = |program: &Program| program.campaigns.values().any(|s| *s == CampaignStatus::Stopped);
        *seen.entry("stopped at the end".into()).or_default() += usize::from(run.model.programs.iter().any(stopped));
    }
    if std::env::var("STAMPBOOK_SEED").is_err() {
        println!("{seen:#?}");
        assert!(BOOKS * u64::try_from(COMMANDS).unwrap() >= 100_000);
        everything_happened(&seen);
    }
}

/// What kind of outcome it is, to prove that the commands reach them all.
fn class_of(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fresh(said) => match &said.refused {
            Some((reason, _)) => format!("{reason:?}"),
            None if said.parts.iter().any(|part| part.reason == Some(Reason::CapReached)) => "capped".into(),
            None if said.parts.iter().any(|part| part.reason.is_some()) => "clipped".into(),
            None => format!("applied with {} campaigns", said.parts.len()),
        },
        Verdict::Replayed(_) => "replayed".into(),
        Verdict::Conflict(_) => "conflict".into(),
        Verdict::Limit => "limit".into(),
    }
}

fn everything_happened(seen: &BTreeMap<String, usize>) {
    // The clock is the engine's: what it leaves to the ledger is tested there.
    let clock = [Reason::ClockDiffers, Reason::ClockNotLeapt];
    let out_of_reach = [[Reason::LimitReached, Reason::AmountOverflow], clock].concat();
    let reasons = Reason::ALL.iter().filter(|reason| !out_of_reach.contains(reason));
    let reasons = reasons.filter(|reason| !matches!(reason, Reason::CampaignBudgetExhausted | Reason::CapReached));
    let mut classes: Vec<String> = reasons.map(|reason| format!("{reason:?}")).collect();
    let others = ["capped", "clipped", "replayed", "conflict", "stopped at the end", "applied with 4 campaigns"];
    classes.extend(others.map(String::from));
    for class in classes {
        assert!(seen.contains_key(&class), "no command came to {class}");
    }
}

#[test]
fn a_book_with_an_event_dropped_or_altered_does_not_replay_to_the_same_state() {
    let mut run = Run::new(77, ROOMY);
    run.steps(77, 400);
    let live = run.book.ledger.state_hash();
    for at in 0..run.book.shelf.events.len() {
        let mut events: Vec<Vec<u8>> = bytes_of(&run.book).cloned().collect();
        let altered = altered(&codec::decode(&events[at]).unwrap());
        events[at] = altered;
        let ledger = replayed(&run.book, events.iter());
        assert_ne!(ledger.map(|ledger| ledger.state_hash()), Some(live), "op {} altered", at + 1);
        events.remove(at);
        let ledger = replayed(&run.book, events.iter());
        assert_ne!(ledger.map(|ledger| ledger.state_hash()), Some(live), "op {} dropped", at + 1);
    }
}

/// The event with one fact changed: two legs, balanced; where it has none the key; of rules the greatest total.
fn altered(event: &Event<'_>) -> Vec<u8> {
    let mut event = event.clone();
    let (key, legs) = match &mut event {
        Event::Earned(e) => (&mut e.common.key, Some(&mut e.legs.0)),
        Event::Refunded(e) => (&mut e.common.key, Some(&mut e.legs.0)),
        Event::Redeemed(e) => (&mut e.common.key, Some(&mut e.legs.0)),
        Event::Adjusted(e) => (&mut e.common.key, Some(&mut e.legs.0)),
        Event::CampaignChanged(e) => (&mut e.common.key, Some(&mut e.legs.0)),
        Event::Rejected(e) => (&mut e.common.key, None),
        Event::AdminRejected(e) => (&mut e.common.key, None),
        Event::Opened(e) => (&mut e.common.key, Some(&mut e.legs.0)),
        Event::SnapshotTaken(e) => (&mut e.common.key, None),
        Event::SnapshotDeleted(e) => (&mut e.common.key, None),
        Event::ClockConfirmed(e) => (&mut e.common.key, None),
        Event::ProgramPut(e) => {
            e.spec.greatest_total.numerator += 1;
            return encoded(&event);
        }
    };
    match legs.map(|legs| legs.as_mut_slice()) {
        Some([first, second, ..]) => {
            first.amount += 1;
            second.amount -= 1;
        }
        _ => *key = "altered",
    }
    encoded(&event)
}

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(event, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_happens_in_a_scope_that_is_rolled_back_leaves_no_trace() {
    let mut run = Run::new(5, ROOMY);
    for round in 0..80_usize {
        run.steps(5, 20);
        let (shelf, model, generator) = (run.book.shelf.clone(), run.model.clone(), run.generator.clone());
        // A batch is decided at one book time.
        let now_us = run.generator.now_us;
        let before = run.book.ledger.state_hash();
        run.book.ledger.begin_undo();
        let mut fresh = 0;
        while fresh <= round % 20 {
            let sent = run.generator.next(&run.book);
            run.generator.now_us = now_us;
            // An atomic batch holds members' commands alone.
            if matches!(sent, Sent::Member(_)) && matches!(run.post(&sent), Verdict::Fresh(_)) {
                fresh += 1;
            }
        }
        assert_ne!(run.book.ledger.state_hash(), before, "round {round}");
        if round % 4 == 3 {
            run.book.ledger.commit_undo();
            continue;
        }
        run.book.ledger.roll_back();
        assert_eq!(run.book.ledger.state_hash(), before, "round {round}");
        // The same commands come again, and must be decided as the naive ledger decides them now.
        (run.book.shelf, run.model, run.generator) = (shelf, model, generator);
    }
    run.balances_agree();
    let again = replayed(&run.book, bytes_of(&run.book)).expect("the book replays");
    assert_eq!(again.state_hash(), run.book.ledger.state_hash());
}

#[test]
fn a_full_book_takes_no_new_member_and_forgets_that_one_asked() {
    let limits = Limits { members_max: 30, ..ROOMY };
    let mut run = Run::new(9, limits);
    let verdicts = run.steps(9, COMMANDS);
    assert!(verdicts.contains(&Verdict::Limit));
    run.balances_agree();
    assert_eq!(run.book.ledger.counts().0, 30);
    assert_eq!(run.book.ledger.newest(), Op(u64::try_from(run.book.shelf.events.len()).unwrap()));
    assert_eq!(run.model.programs.len(), PROGRAMS.len());
}

#[test]
fn counters_of_caps_stay_within_their_bound_and_those_that_there_are_go_on() {
    let (mut full, mut went_on) = (0, 0);
    for cap_counters_max in 4..16 {
        let seed = 100 + u64::try_from(cap_counters_max).unwrap();
        let mut run = Run::new(seed, Limits { cap_counters_max, ..ROOMY });
        let mut limited = false;
        for verdict in run.steps(seed, 600) {
            limited |= verdict == Verdict::Limit;
            let capped = matches!(class_of(&verdict).as_str(), "capped" | "clipped");
            went_on += usize::from(limited && capped);
        }
        assert!(run.model.counters().len() <= cap_counters_max);
        full += usize::from(limited);
        run.balances_agree();
    }
    assert!(full >= 4, "the counters ran out in {full} books");
    assert!(went_on > 40, "{went_on} awards were capped or clipped after that");
}

#[test]
fn what_would_leave_the_range_of_the_books_is_refused_and_changes_nothing() {
    let mut run = Run::new(21, ROOMY);
    let generous = campaign("alpha", "a", ratio(1_000, 1));
    let mut spec = program(vec![rule("purchase", ratio(1, 1))], vec![generous, campaign("bravo", "b", ratio(2, 1))]);
    spec.greatest_total = ratio(1_000, 1);
    let max = i64::MAX.unsigned_abs();
    let fund = |campaign: &str, points| AdminAction::FundCampaign { campaign: campaign.to_owned(), points };
    let actions = [put(spec), fund("alpha", u64::MAX), fund("alpha", max), fund("alpha", 1), fund("bravo", 1)];
    let refused = |verdict: Verdict| match verdict {
        Verdict::Fresh(said) => said.refused.map(|(reason, _)| reason),
        other => panic!("{other:?}"),
    };
    let mut outcomes = Vec::new();
    for (at, action) in actions.into_iter().enumerate() {
        let command = run.book.admin("high-street", &format!("operator-{at}"), action);
        outcomes.push(refused(run.post(&Sent::Admin(command))));
    }
    let over = Some(Reason::AmountOverflow);
    assert_eq!(outcomes, [None, over, None, over, over]);
    // All that can be authorised is, so that nothing can be issued; what comes from a budget or goes back still can.
    let mut post = |action: Action| {
        let key = format!("caller-{}", run.model.history.len());
        let command = run.book.command(0, &key, "ann", action);
        refused(run.post(&Sent::Member(command)))
    };
    assert_eq!(post(spend(1, "purchase")), over);
    assert_eq!(post(refund_alone(1_000_000_000_000)), None);
    assert_eq!(post(spend(999_999_999_999, "purchase")), None);
    assert_eq!(post(spend(2, "purchase")), over);
    assert_eq!(post(spend(1, "purchase")), None);
    run.balances_agree();
}

#[test]
fn a_counter_that_was_forgotten_begins_anew_and_a_refund_from_before_takes_no_more_than_it_holds() {
    let mut run = Run::new(41, ROOMY);
    let begin_us = run.generator.now_us;
    let mut capped = campaign("alpha", "a", ratio(2, 1));
    capped.cap = Some(Cap { points: 60, per: CapPer::Day });
    capped.start_us = begin_us;
    let mut live = program(vec![rule("purchase", ratio(1, 1))], vec![capped]);
    live.import_mode = false;
    let import = ProgramSpec { import_mode: true, ..live.clone() };
    let fund = AdminAction::FundCampaign { campaign: "alpha".to_owned(), points: 1_000 };
    let operator = |run: &mut Run, action| {
        let command = run.book.admin("high-street", &format!("operator-{}", run.model.history.len()), action);
        assert!(matches!(run.post(&Sent::Admin(command)), Verdict::Fresh(said) if said.refused.is_none()));
    };
    // What the campaign awarded, or got back.
    let bonus = |run: &mut Run, action| {
        let mut command = run.book.command(0, &format!("caller-{}", run.model.history.len()), "ann", action);
        command.occurred_at_us = Some(begin_us);
        match run.post(&Sent::Member(command)) {
            Verdict::Fresh(said) => said.parts.iter().map(|part| part.moved).sum(),
            other => panic!("{other:?}"),
        }
    };
    operator(&mut run, put(live));
    operator(&mut run, fund);
    assert_eq!((bonus(&mut run, spend(50, "purchase")), bonus(&mut run, spend(50, "purchase"))), (50, 10));
    run.generator.now_us += 70 * DAY;
    operator(&mut run, put(import));
    assert_eq!(bonus(&mut run, spend(20, "purchase")), 20);
    assert_eq!(bonus(&mut run, refund(Original::Op(Op(3)), 50)), 50);
    assert_eq!(bonus(&mut run, spend(90, "purchase")), 60);
    run.balances_agree();
}

/// A refund that names no original.
fn refund_alone(minor_units: u64) -> Action {
    let (basis, event_kind) = (Basis::Spend(minor_units), Some("purchase".to_owned()));
    Action::Refund { original: Original::None, basis, event_kind }
}

#[test]
fn an_award_that_is_off_by_one_though_balanced_evolves_but_is_not_proved() {
    let mut run = Run::new(31, ROOMY);
    run.steps(31, 400);
    let (mut ledger, mut planted) = (Ledger::new(ROOMY), 0);
    for (at, bytes) in &run.book.shelf.events {
        let event = codec::decode(bytes).unwrap();
        if let Event::Earned(mut earned) = event.clone()
            && let [issued, credited] = &mut earned.legs.0[..]
            && matches!(credited.account, Account::Available { .. })
            && earned.basis != Basis::Points(earned.base)
        {
            earned.base += 1;
            issued.amount -= 1;
            credited.amount += 1;
            earned.common.after.available += 1;
            let wrong = Event::Earned(earned);
            ledger.begin_undo();
            ledger.replay(*at, &wrong, &run.book.prints).expect("its books balance");
            ledger.roll_back();
            let told = ledger.prove(*at, &wrong, None, &run.book.prints).unwrap_err();
            assert!(told.contains("base award"), "{told}");
            planted += 1;
        }
        ledger.replay(*at, &event, &run.book.prints).unwrap();
    }
    assert!(planted > 20, "{planted} earns are of that form");
}
