#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::audit::paper::PaperBook;
use crate::ledger::codec;
use crate::ledger::event::{Account, AdminCommon, ClockConfirmed};

fn scene<'a>(names: &'a Names, named: Option<(Op, &'a Event<'a>)>) -> Scene<'a> {
    Scene { names, rules: None, named }
}

#[test]
fn an_event_is_explained_as_far_as_it_says_where_its_rules_are_not_known() {
    let paper = PaperBook::lived();
    for at in 1..=paper.newest().0 {
        let stored = paper.book.read(at).unwrap();
        let event = codec::decode(&stored.bytes).unwrap();
        let named = named_by(Op(at), &event).map(|op| (op, paper.book.read(op.0).unwrap()));
        let named = named.as_ref().map(|(op, stored)| (*op, codec::decode(&stored.bytes).unwrap()));
        let named = named.as_ref().map(|(op, event)| (*op, event));
        let lines = explain(Op(at), stored.book_time_us, &event, &scene(&paper.names, named));
        assert!(lines.iter().all(|line| line.text.ends_with('.')), "{lines:?}");
        let legs = event.sides().flat_map(|side| side.legs).filter(|leg| !matches!(leg.account, Account::Free { .. }));
        let moved = lines.iter().filter(|line| line.leg.is_some() || LEGS.contains(&line.name)).count();
        assert_eq!(moved, legs.count(), "op {at}: every leg is told once, {lines:?}");
    }
}

/// The names of lines on legs that are on no lot.
const LEGS: [&str; 8] =
    ["account", "settles", "owes", "breakage", "other_account", "other_settles", "other_owes", "other_breakage"];

#[test]
fn a_confirmed_clock_tells_from_when_to_when_the_time_leapt() {
    let text = |text| Text { scheme: 0, text };
    let (actor, reason) = (text("ana"), text("it was wrong before"));
    let program = crate::ledger::decide::NO_PROGRAM;
    let common = AdminCommon { program, program_id: None, key: "k", body_hash: [0; 16], actor, reason };
    let (from_us, to_us) = (1_767_225_600_000_000, 1_767_312_000_000_001);
    let event = Event::ClockConfirmed(ClockConfirmed { common, from_us, to_us });
    let lines = explain(Op(9), to_us, &event, &scene(&Names::default(), None));
    assert_eq!(lines[0].text, "clock confirmed, booked at 2026-01-02 00:00:00.000001 UTC.");
    assert_eq!(
        lines[1].text,
        "The book's time goes on from 2026-01-01 00:00 UTC to 2026-01-02 00:00:00.000001 UTC. By ana: it was wrong before."
    );
}
