//! Properties of the ledger under random commands, against a naive ledger that is written from the program rules.
//! `STAMPBOOK_PROPERTY_COMMANDS=1000000` says how many commands. A failure tells the shortest run that fails: the seed, how
//! many commands, the rules, and what was sent for the member; `STAMPBOOK_SEED=n` runs that book alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "properties/altered.rs"]
mod altered;
#[path = "properties/explained.rs"]
mod explained;
#[path = "properties/rolled.rs"]
mod rolled;
#[path = "properties/run.rs"]
mod run;

use std::collections::BTreeMap;
use std::panic::resume_unwind;

use stampbook::ledger::command::{Action, AdminAction, Basis, Matures, Original};
use stampbook::ledger::event::{Account, Event, Leg, Legs};
use stampbook::ledger::ids::{AssetNo, Op};
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{Cap, CapPer, ProgramSpec};
use stampbook::ledger::view::CampaignStatus;
use stampbook::ledger::{Ledger, Limits, codec};

use altered::altered;
use model::book::{Book, ROOMY};
use model::generate::{PROGRAMS, Sent};
use model::rules::{DAY, campaign, program, put, ratio, refund, rule, spend};
use model::{Program, Verdict};
use run::Run;

/// Commands of a book.
const COMMANDS: u64 = 1_500;
/// Commands of all books, if nobody says otherwise.
const COMMANDS_OF_ALL: u64 = 50_000;

fn number_in(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn seeds() -> Vec<u64> {
    let commands = number_in("STAMPBOOK_PROPERTY_COMMANDS").unwrap_or(COMMANDS_OF_ALL);
    match number_in("STAMPBOOK_SEED") {
        Some(seed) => vec![seed],
        None => (1..=commands.div_ceil(COMMANDS)).collect(),
    }
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
    let seeds = seeds();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    std::thread::scope(|scope| {
        let of_thread = |thread: usize| seeds.iter().copied().skip(thread).step_by(threads).map(a_book);
        let books: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || of_thread(thread).collect::<Vec<_>>())).collect();
        for outcomes in books.into_iter().flat_map(|books| books.join().unwrap_or_else(|panic| resume_unwind(panic))) {
            for (class, count) in outcomes {
                *seen.entry(class).or_default() += count;
            }
        }
    });
    println!("{seen:#?}");
    if seeds.len() >= seeds_enough() {
        everything_happened(&seen);
    }
}

/// Runs the book of a seed; how often each outcome came.
fn a_book(seed: u64) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut run = Run::new(seed, ROOMY);
    for verdict in run.steps(seed, COMMANDS) {
        *seen.entry(class_of(&verdict)).or_default() += 1;
    }
    for said in &run.model.said {
        *seen.entry(said.what.clone()).or_default() += 1;
    }
    *seen.entry("freed for others".into()).or_default() += run.freed;
    *seen.entry("plain earns".into()).or_default() += run.book.plain;
    run.balances_agree();
    *seen.entry("rolled in parts".into()).or_default() += rolled::every_period_balances(&run.book, seed);
    let live = run.book.ledger.state_hash();
    for _ in 0..2 {
        let replayed = replayed(&run.book, bytes_of(&run.book)).expect("the book replays");
        assert_eq!(replayed.state_hash(), live, "seed {seed}");
    }
    let stopped = |program: &Program| program.campaigns.values().any(|s| *s == CampaignStatus::Stopped);
    *seen.entry("stopped at the end".into()).or_default() += usize::from(run.model.programs.iter().any(stopped));
    seen
}

/// Books enough for every outcome to come.
fn seeds_enough() -> usize {
    usize::try_from(COMMANDS_OF_ALL / COMMANDS).unwrap()
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
        Verdict::Swept => "swept".into(),
    }
}

fn everything_happened(seen: &BTreeMap<String, usize>) {
    // They take more of one member or one program than chance brings: tests of their own have them.
    let out_of_reach =
        [Reason::LimitReached, Reason::AmountOverflow, Reason::HoldsFull, Reason::PendingFull, Reason::AliasesFull];
    // An operator's acts on the clock are none of a program's.
    let of_clock = |reason: &Reason| matches!(reason, Reason::ClockDiffers | Reason::ClockNotLeapt);
    let reasons = Reason::ALL.iter().filter(|reason| !out_of_reach.contains(reason) && !of_clock(reason));
    let reasons = reasons.filter(|reason| !matches!(reason, Reason::CampaignBudgetExhausted | Reason::CapReached));
    let mut classes: Vec<String> = reasons.map(|reason| format!("{reason:?}")).collect();
    let others = ["capped", "clipped", "replayed", "conflict", "stopped at the end", "applied with 4 campaigns"];
    classes.extend(["freed for others", "plain earns"].map(String::from));
    classes.extend(others.map(String::from));
    let events = [
        "expired",
        "merged",
        "matured",
        "hold ended",
        "activated",
        "reversed",
        "held",
        "captured",
        "released",
        "period closed",
    ];
    classes.extend(events.map(String::from));
    let crossings = ["transferred", "converted", "members merged", "member set", "reward put", "checked out"];
    classes.extend(crossings.map(String::from));
    for class in classes {
        assert!(seen.get(&class).is_some_and(|count| *count > 0), "no command came to {class}");
    }
    assert!(seen["rolled in parts"] > 0);
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
            let sent = run.next();
            run.generator.now_us = now_us;
            // An atomic batch holds members' commands alone, and one that is refused undoes all of it.
            if matches!(sent, Sent::Member(_))
                && !run.is_refused_checkout(&sent)
                && matches!(run.post(&sent), Verdict::Fresh(_))
            {
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
    let limits = Limits { members_max: 12, ..ROOMY };
    let mut run = Run::new(9, limits);
    run.generator.members = 15;
    let verdicts = run.steps(9, COMMANDS);
    assert!(verdicts.contains(&Verdict::Limit));
    run.balances_agree();
    assert_eq!(run.book.ledger.counts().0, 12);
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
        for verdict in run.steps(seed, 2_000) {
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
fn what_could_not_mature_or_lapse_is_refused_when_it_is_earned() {
    let mut run = Run::new(21, ROOMY);
    let operator = run.book.admin("high-street", "operator", put(program(vec![rule("purchase", ratio(1, 1))], vec![])));
    run.post(&Sent::Admin(operator));
    let (lapses_us, matures_us) = (run.generator.now_us + 20 * DAY, run.generator.now_us + 10 * DAY);
    let post = |run: &mut Run, member: &str, action: Action| {
        let key = format!("caller-{}", run.model.history.len());
        let command = run.book.command(0, &key, member, action);
        match run.post(&Sent::Member(command)) {
            Verdict::Fresh(said) => said.refused.map(|(reason, _)| reason),
            other => panic!("{other:?}"),
        }
    };
    let (actor, reason, asset) = ("ana".to_owned(), "moved in".to_owned(), AssetNo::POINTS);
    let opening = Action::Opening { asset, points: i64::MAX - 100, lapses_us: Some(lapses_us), actor, reason };
    let earn = |points, matures| Action::Earn { basis: Basis::Points(points), event_kind: None, asset, matures };
    let later = Some(Matures::At(matures_us));
    assert_eq!(post(&mut run, "ann", opening), None);
    assert_eq!(post(&mut run, "ben", earn(101, later)), Some(Reason::AmountOverflow));
    assert_eq!(post(&mut run, "ben", earn(60, later)), None);
    assert_eq!(post(&mut run, "cleo", earn(41, None)), Some(Reason::AmountOverflow));
    assert_eq!(post(&mut run, "cleo", earn(40, None)), None);
    run.generator.now_us = lapses_us + DAY;
    for member in ["ann", "ben", "cleo"] {
        run.post(&Sent::Sweep(0, member.to_owned()));
    }
    // What has lapsed keeps its place.
    assert_eq!(post(&mut run, "cleo", earn(1, None)), Some(Reason::AmountOverflow));
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
    let (basis, event_kind) = (Basis::Spend(minor_units), Some("purchase".into()));
    Action::Refund { original: Original::None, basis, event_kind }
}

#[test]
fn an_award_that_is_off_by_one_though_balanced_evolves_but_is_not_proved() {
    let mut run = Run::new(31, ROOMY);
    run.steps(31, 3_000);
    let (mut ledger, mut planted) = (Ledger::new(ROOMY), 0);
    for (at, bytes) in &run.book.shelf.events {
        let event = codec::decode(bytes).unwrap();
        if let Event::Earned(mut earned) = event.clone()
            && let [_, credited] = &earned.legs[..]
            && matches!(credited.account, Account::Available { .. })
            && earned.basis != Basis::Points(earned.base)
            && credited.asset == AssetNo::POINTS
        {
            earned.base += 1;
            let (issued, credited) = (earned.legs[0], earned.legs[1]);
            earned.legs = Legs::default();
            assert!(earned.legs.push(Leg { amount: issued.amount - 1, ..issued }));
            assert!(earned.legs.push(Leg { amount: credited.amount + 1, ..credited }));
            earned.common.after.available += 1;
            for told in earned.common.others.0.iter_mut().flat_map(|told| told.iter_mut()) {
                told.available += i64::from(told.asset == AssetNo::POINTS);
            }
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
