//! What is too much: of two who would become one, and of what a member is.

use super::*;
use crate::ledger::aliases::ALIASES_MAX;
use crate::ledger::taking_tests::spec;

#[test]
fn too_many_lots_are_merged_afterwards_and_more_than_an_event_takes_are_refused() {
    let mut world = two();
    let dated = |world: &World, days: i64| Action::Opening {
        asset: POINTS,
        points: 1,
        lapses_us: Some(world.now_us + days * DAY_US),
        actor: "ana".into(),
        reason: "moved in".into(),
    };
    for days in 1..=32 {
        for (member, days) in [("ann", days), ("bob", days + 40)] {
            let action = dated(&world, days);
            world.done(member, action);
        }
    }
    world.merged("ann", "bob");
    assert_eq!((world.holding(BOB).lots.len(), world.has(BOB)), (32, [64, 0, 0, 0]));
    // Each lot of which something is held takes three legs.
    let mut world = two();
    for asset in [POINTS, AssetNo(3)] {
        for days in 1..=20 {
            let Action::Opening { points, lapses_us, actor, reason, .. } = dated(&world, days) else { continue };
            world.done("ann", Action::Opening { asset, points, lapses_us, actor, reason });
        }
    }
    let action = merge(&world, "bob");
    world.ledger.begin_undo();
    assert_eq!(world.try_for("ann", action.clone()).1, None);
    world.ledger.roll_back();
    world.events.pop();
    world.done("ann", hold(20));
    world.done("ann", Action::Hold { asset: AssetNo(3), units: 20, until_us: None, purpose: Purpose::Use });
    assert_eq!(world.try_for("ann", action).1, Some(Reason::MergeTooLarge));
}

#[test]
fn the_two_have_no_more_holds_pending_earns_and_tags_than_one_may() {
    let more: Vec<String> = (15..34).map(|number| format!("tag {number}")).collect();
    let tags =
        |names: &[String]| Action::MemberSet { joined_day: None, add: names.to_vec(), remove: Vec::new() }.clone();
    let (few, many) = (tags(&(0..20).map(|n| format!("tag {n}")).collect::<Vec<_>>()), tags(&more));
    type Fill = dyn Fn(&mut World, &str);
    let fills: [(usize, Box<Fill>); 2] = [
        (
            16,
            Box::new(|world, member| {
                world.done(member, hold(1));
            }),
        ),
        (
            32,
            Box::new(|world, member| {
                world.done(member, pending("plain", 100, Matures::Activated));
            }),
        ),
    ];
    for (half, fill) in fills {
        let mut world = two();
        for member in ["ann", "bob"] {
            world.done(member, earn("plain", 10_000));
            (0..half).for_each(|_| fill(&mut world, member));
        }
        world.ledger.begin_undo();
        let events = world.events.len();
        world.merged("ann", "bob");
        world.ledger.roll_back();
        world.events.truncate(events);
        fill(&mut world, "bob");
        let action = merge(&world, "bob");
        assert_eq!(world.try_for("ann", action).1, Some(Reason::MergeTooLarge));
    }
    let mut world = two();
    world.done("ann", few);
    world.done("bob", many);
    let action = merge(&world, "bob");
    assert_eq!(world.try_for("ann", action.clone()).1, Some(Reason::MergeTooLarge), "34 tags");
    world.done("bob", set(None, &[], &["tag 33", "tag 32"]));
    world.done("ann", action);
}

#[test]
fn a_member_has_32_tags_at_most_and_a_program_a_thousand_names() {
    let mut world = World::new(OWED);
    let tags = |range: std::ops::Range<u32>| -> Action {
        let add = range.map(|number| format!("tag {number}")).collect();
        Action::MemberSet { joined_day: None, add, remove: Vec::new() }
    };
    world.done("ann", tags(0..32));
    assert_eq!(world.try_for("ann", tags(31..33)).1, Some(Reason::TagsFull));
    world.done("ann", set(None, &["tag 99"], &["tag 0"]));
    let all = |world: &World| world.ledger.programs[0].tags.len();
    for begin in (0..960).step_by(32) {
        world.done("bob", tags(begin..begin + 32));
        let remove = (begin..begin + 32).map(|number| format!("tag {number}")).collect();
        world.done("bob", Action::MemberSet { joined_day: None, add: Vec::new(), remove });
    }
    assert_eq!(all(&world), 960);
    world.done("bob", tags(970..1_000));
    assert_eq!(world.try_for("bob", tags(960..971)).1, Some(Reason::TagsFull), "the names are used up");
    assert_eq!(all(&world), 990);
    let close = Action::Standing { change: Standing::Closed, actor: "ana".into(), reason: "left".into() };
    world.done("ann", close);
    assert_eq!(world.try_for("ann", set(Some(1), &[], &[])).1, Some(Reason::MemberClosed));
}

#[test]
fn at_most_a_thousand_ids_lead_to_a_member_and_all_of_them_come_along() {
    let mut world = World::empty(&["p"], 1_100);
    world.put(P, spec(OWED));
    // With ann herself they are as many as may lead to bob.
    let half = ALIASES_MAX / 2;
    for (stays, ids) in [("ann", 0..half), ("bob", half..ALIASES_MAX - 1)] {
        world.done(stays, set(None, &[], &[]));
        for id in ids {
            let id = format!("card {id}");
            world.done(&id, set(None, &[], &[]));
            world.merged(&id, stays);
        }
    }
    world.merged("ann", "bob");
    let bob = world.member(P, "bob").unwrap();
    assert_eq!(world.ledger.card(bob, world.now_us).aliases, ALIASES_MAX);
    world.done("cid", set(None, &[], &[]));
    for (goes, stays) in [("cid", "bob"), ("bob", "cid")] {
        let action = merge(&world, stays);
        let (_, refused) = world.ask(P, goes, "", action);
        assert_eq!(refused, Some((Reason::AliasesFull, "merge.into".to_owned())), "{goes}");
    }
    assert_eq!(world.member(P, "card 0"), Some(bob));
}
