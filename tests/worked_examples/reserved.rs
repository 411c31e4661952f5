//! Pieces that a hold reserves are anybody's from its deadline on, whether its end is booked by then or not.

use stampbook::ledger::command::{Action, AdminAction, Purpose};
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};
use stampbook::ledger::reason::Reason;

use super::rewards::{claim, loaded, mug, mugs, refused, stocked, unlapsing};
use super::till::{Till, at, release};
use model::book::{Posted, Said};

/// Posts for any member.
fn by(till: &mut Till, member: &str, action: Action) -> Op {
    let key = format!("{member}-{}", till.book.shelf.events.len());
    let mut command = till.book.command(0, &key, member, action);
    till.book.fill_parts(&mut command);
    match till.book.post(&command, till.now_us) {
        Posted::Fresh(op) => op,
        other => panic!("{other:?}"),
    }
}

fn why(till: &Till, op: Op) -> Option<Reason> {
    till.book.said(op).refused.map(|(reason, _)| reason)
}

/// A reservation until a local time in January.
fn reserve(till: &mut Till, member: &str, pieces: u64, until: &str) -> Op {
    let (sku, until_us) = ("mug".to_owned(), Some(at(&format!("2026-01-{until}"))));
    let op = by(till, member, Action::Reserve { sku, pieces, until_us, purpose: Purpose::Gift });
    assert_eq!(why(till, op), None);
    op
}

/// So many mugs, and members with 1,000 points each.
fn shop(mugs: i64) -> Till {
    let mut till = stocked(unlapsing(), mugs);
    for member in ["bob", "cid", "dot"] {
        let (actor, reason) = ("ana".to_owned(), "moved in".to_owned());
        by(
            &mut till,
            member,
            Action::Opening { asset: AssetNo::POINTS, points: 1_000, lapses_us: None, actor, reason },
        );
    }
    till
}

/// Which holds ended since there were so many events.
fn ended(till: &Till, before: usize) -> Vec<i128> {
    let holds = till.since(before).into_iter().filter(|said: &Said| said.what == "hold ended");
    holds.map(|said| said.more["hold"]).collect()
}

fn op(op: Op) -> i128 {
    op.0.into()
}

#[test]
fn the_last_piece_goes_to_whoever_asks_from_the_deadline_of_its_hold_on() {
    let mut till = shop(1);
    let held = reserve(&mut till, "ann", 1, "10T12:00");
    till.on("2026-01-10T12:00").now_us -= 1;
    let refused = by(&mut till, "bob", claim(1));
    assert_eq!(why(&till, refused), Some(Reason::OutOfStock));
    till.now_us += 1;
    let before = till.book.shelf.events.len();
    let bought = by(&mut till, "bob", claim(1));
    assert_eq!((why(&till, bought), ended(&till, before)), (None, vec![op(held)]));
    assert_eq!(till.book.shelf.events.len(), before + 2, "one event each, the end first");
    assert_eq!(mugs(&till), [0, 0, 1]);
    assert_eq!(till.refused(release(held)), Reason::HoldUnknown);
}

#[test]
fn holds_that_are_over_end_one_after_another_until_enough_is_left_and_no_others_do() {
    let mut till = shop(5);
    let second = reserve(&mut till, "ann", 1, "10T12:00");
    let first = reserve(&mut till, "bob", 1, "05T12:00");
    let open = reserve(&mut till, "cid", 1, "30T12:00");
    let third = reserve(&mut till, "cid", 2, "11T12:00");
    till.on("2026-01-20T12:00");
    for (pieces, holds, left) in [(1, vec![first], [0, 4, 1]), (2, vec![second, third], [1, 1, 3])] {
        let before = till.book.shelf.events.len();
        let bought = by(&mut till, "dot", claim(pieces));
        assert_eq!(why(&till, bought), None);
        assert_eq!((ended(&till, before), mugs(&till)), (holds.into_iter().map(op).collect(), left));
    }
    let refused = by(&mut till, "dot", claim(2));
    assert_eq!((why(&till, refused), mugs(&till)), (Some(Reason::OutOfStock), [1, 1, 3]));
    by(&mut till, "cid", release(open));
    assert_eq!(mugs(&till), [2, 0, 3]);
}

#[test]
fn what_fell_due_of_the_holder_before_his_hold_ended_is_booked_before_it_and_no_more() {
    let mut till = shop(1);
    reserve(&mut till, "ann", 1, "10T12:00");
    till.lot(50, Some("2026-01-09T00:00"));
    till.lot(60, Some("2026-01-11T00:00"));
    till.on("2026-01-12T12:00");
    let before = till.book.shelf.events.len();
    by(&mut till, "bob", claim(1));
    let said: Vec<String> = till.since(before).into_iter().map(|said| said.what).collect();
    assert_eq!(said, ["expired", "hold ended", "redeemed"]);
}

#[test]
fn what_a_reservation_or_an_operator_wants_comes_from_holds_that_are_over_too() {
    let mut till = shop(3);
    for until in ["05T12:00", "06T12:00", "07T12:00"] {
        reserve(&mut till, "ann", 1, until);
    }
    till.on("2026-01-10T12:00");
    reserve(&mut till, "bob", 1, "20T12:00");
    assert_eq!(mugs(&till), [0, 3, 0]);
    assert_eq!(refused(&mut till, mug(-1, true)), None);
    assert_eq!(mugs(&till), [0, 2, 0]);
    let in_stars = || {
        let (sku, name, asset) = ("mug".to_owned(), "A mug".to_owned(), "stars".to_owned());
        AdminAction::PutReward { sku, name, asset, price: 1, open: true, stocked: 0 }
    };
    let reserved = |till: &mut Till| refused(till, in_stars()).map(|(reason, _)| reason);
    assert_eq!(reserved(&mut till), Some(Reason::RewardReserved), "bob's hold is not over");
    assert_eq!(mugs(&till), [1, 1, 0]);
    till.on("2026-01-20T12:00");
    assert_eq!(reserved(&mut till), None);
    assert_eq!(mugs(&till), [2, 0, 0]);
}

#[test]
fn a_checkout_has_what_its_parts_want_together() {
    let mut till = shop(2);
    reserve(&mut till, "ann", 1, "05T12:00");
    reserve(&mut till, "bob", 1, "06T12:00");
    till.on("2026-01-10T12:00");
    let parts = [claim(1), claim(1)].map(|action| till.book.command(0, "", "cid", action)).to_vec();
    let closed = by(&mut till, "cid", Action::Checkout { parts });
    assert_eq!((why(&till, closed), mugs(&till)), (None, [0, 0, 2]));
}

#[test]
fn a_hold_that_went_over_with_its_member_ends_there() {
    let mut till = shop(1);
    reserve(&mut till, "ann", 1, "05T12:00");
    let into = till.book.named(0, "bob");
    let merged = by(&mut till, "ann", Action::Merge { into, actor: "ana".to_owned(), reason: "one".to_owned() });
    assert_eq!(why(&till, merged), None);
    till.on("2026-01-05T12:00");
    let bought = by(&mut till, "cid", claim(1));
    assert_eq!((why(&till, bought), mugs(&till)), (None, [0, 0, 1]));
}

#[test]
fn holds_that_reserve_are_found_in_a_state_from_its_images() {
    let mut till = shop(1);
    reserve(&mut till, "ann", 1, "05T12:00");
    till.on("2026-01-05T12:00");
    till.book.ledger = loaded(&mut till);
    let bought = by(&mut till, "bob", claim(1));
    assert_eq!((why(&till, bought), mugs(&till)), (None, [0, 0, 1]));
    let views = till.book.ledger.rewards(ProgramNo(0));
    assert_eq!((views[0].left, views[0].reserved), (0, 0));
}

#[test]
fn an_end_that_is_undone_with_its_batch_is_written_again() {
    let mut till = shop(1);
    let held = reserve(&mut till, "ann", 1, "05T12:00");
    till.on("2026-01-05T12:00");
    let (hash, shelf) = (till.book.ledger.state_hash(), till.book.shelf.clone());
    for _ in 0..2 {
        let before = till.book.shelf.events.len();
        till.book.ledger.begin_undo();
        let bought = by(&mut till, "bob", claim(1));
        assert_eq!((why(&till, bought), ended(&till, before)), (None, vec![op(held)]));
        let refused = by(&mut till, "cid", claim(1));
        assert_eq!(why(&till, refused), Some(Reason::OutOfStock));
        till.book.ledger.roll_back();
        till.book.shelf = shelf.clone();
        assert_eq!((mugs(&till), till.book.ledger.state_hash()), ([0, 1, 0], hash));
    }
}
