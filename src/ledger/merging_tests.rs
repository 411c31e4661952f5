//! Members who go into others, and what members are, of the program of [`super::taking_tests`].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod limits;

use super::command::{Action, AdminAction, Matures, Original, Purpose, Standing};
use super::event::{Account, CapSpan, Event, Expiry, LotId, Source};
use super::holding::Holding;
use super::ids::{AssetNo, MemberNo, Op, TagNo};
use super::reason::Reason;
use super::spec::CapPer;
use super::taking_tests::{GROWTH, OWED, P, POINTS, Rules, adjust, earn, pending, redeem, refund, reverse};
use super::trail::Trail;
use super::world::{DAY_US, World};

const ANN: MemberNo = MemberNo(0);
const BOB: MemberNo = MemberNo(1);
const CID: MemberNo = MemberNo(2);

fn merge(world: &World, into: &str) -> Action {
    Action::Merge { into: world.named(P, into), actor: "ana".into(), reason: "two cards".into() }
}

fn set(joined_day: Option<i32>, add: &[&str], remove: &[&str]) -> Action {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Action::MemberSet { joined_day, add: list(add), remove: list(remove) }
}

fn owe(points: i64) -> Action {
    let (actor, reason) = ("ana".into(), "moved in".into());
    Action::Opening { asset: POINTS, points: -points, lapses_us: None, actor, reason }
}

fn hold(units: u64) -> Action {
    Action::Hold { asset: POINTS, units, until_us: None, purpose: Purpose::Gift }
}

impl World {
    fn done(&mut self, member: &str, action: Action) -> Op {
        let (op, refused) = self.try_for(member, action);
        assert_eq!(refused, None, "{member}");
        self.settle();
        op
    }

    fn merged(&mut self, member: &str, into: &str) -> Op {
        let action = merge(self, into);
        self.done(member, action)
    }

    /// Available, held, pending and debt in points.
    fn has(&self, member: MemberNo) -> [i64; 4] {
        let has = self.holding(member).balances(POINTS);
        [has.available, has.held, has.pending, has.debt]
    }

    fn statement(&self, member: MemberNo) -> Vec<u64> {
        let mut trail = Trail::new(self.ledger.member_head(member), member);
        let mut ops = Vec::new();
        while let Some(op) = trail.op() {
            ops.push(op.0);
            assert!(trail.pass(&self.event(op)));
        }
        ops
    }
}

/// Nobody has anything, and ann and bob are known.
fn two() -> World {
    let mut world = World::new(OWED);
    for member in ["ann", "bob"] {
        world.done(member, set(None, &[], &[]));
    }
    world
}

#[test]
fn an_id_that_was_merged_answers_for_ever_also_along_a_chain_and_from_the_images() {
    let mut world = two();
    world.done("cid", set(None, &[], &[]));
    world.done("ann", earn("plain", 10_000));
    world.merged("ann", "bob");
    world.done("bob", earn("plain", 1_000));
    world.merged("bob", "cid");
    world.done("ann", earn("plain", 100));
    let loaded = world.reloaded();
    assert_eq!(loaded.state_hash(), world.ledger.state_hash());
    for ledger in [&loaded, &world.ledger] {
        for member in ["ann", "bob", "cid"] {
            assert_eq!(ledger.member(world.named(P, member).hash), Some(CID), "{member}");
        }
        assert_eq!(ledger.way(ANN).as_slice(), [ANN, BOB, CID]);
        assert_eq!(ledger.card(CID, world.now_us).aliases, 2);
    }
    assert_eq!((world.has(CID), world.has(BOB), world.has(ANN)), ([111, 0, 0, 0], [0; 4], [0; 4]));
    assert_eq!(world.ledger.member_id(ANN), Some("ann"), "it stays its own name");
    for gone in [ANN, BOB] {
        let left = world.holding(gone);
        assert_eq!(left, Holding { head: left.head, ..Holding::default() });
    }
}

#[test]
fn whom_a_merge_refuses_it_says_in_order() {
    let mut world = two();
    let mut refused = |member: &str, into: &str| {
        let action = merge(&world, into);
        let (op, refused) = world.try_for(member, action);
        let Event::Rejected(rejected) = world.event(op) else { panic!("applied") };
        (refused.unwrap(), rejected.field.to_owned())
    };
    let of = |reason, field: &str| (reason, field.to_owned());
    assert_eq!(refused("nobody", "bob"), of(Reason::MemberUnknown, "member"));
    assert_eq!(refused("ann", "nobody"), of(Reason::MemberUnknown, "merge.into"));
    assert_eq!(refused("ann", "ann"), of(Reason::SelfTransfer, "merge.into"));
    world.done("cid", set(None, &[], &[]));
    world.merged("ann", "bob");
    let mut refused = |member: &str, into: &str| {
        let action = merge(&world, into);
        world.try_for(member, action).1.unwrap()
    };
    assert_eq!(refused("ann", "cid"), Reason::MemberMerged);
    assert_eq!((refused("ann", "bob"), refused("bob", "ann")), (Reason::SelfTransfer, Reason::SelfTransfer));
    let close = || Action::Standing { change: Standing::Closed, actor: "ana".into(), reason: "left".into() };
    world.done("cid", close());
    for (member, into, field) in [("cid", "bob", "member"), ("bob", "cid", "merge.into")] {
        let action = merge(&world, into);
        let (op, _) = world.try_for(member, action);
        let Event::Rejected(rejected) = world.event(op) else { panic!("applied") };
        assert_eq!((rejected.reason, rejected.field), (Reason::MemberClosed, field));
    }
}

#[test]
fn what_lots_hold_goes_over_with_its_dates_and_what_is_left_of_a_purchase_is_taken_from_there() {
    let mut world = World::new(Rules { days: Some(30), ..OWED });
    world.done("ann", set(None, &[], &[]));
    let early = world.done("bob", earn("plain", 5_000));
    let bought = world.done("ann", earn("purchase", 10_000));
    world.done("ann", redeem(POINTS, 30, Purpose::Gift));
    world.now_us += 2 * DAY_US;
    world.done("bob", earn("plain", 7_000));
    let went = world.merged("ann", "bob");
    assert_eq!(world.event(went).legs().len(), 2, "a lot of the base, one of the campaign");
    let units = |source, world: &World| {
        let lots = world.holding(BOB).lots;
        lots.iter().filter(|lot| lot.key.lot.source == source).map(|lot| lot.units()).collect::<Vec<_>>()
    };
    assert_eq!((units(Source::Base, &world), units(Source::Campaign, &world)), (vec![120, 70], vec![100]));
    // Of 100 and 100 the first 30 are spent: its own are taken wherever they lie, and then others.
    world.done("ann", refund(bought, 5_000));
    assert_eq!((units(Source::Base, &world), units(Source::Campaign, &world)), (vec![70, 70], vec![50]));
    world.done("bob", refund(bought, 5_000));
    assert_eq!((units(Source::Base, &world), units(Source::Campaign, &world)), (vec![20, 70], vec![0; 0]));
    world.done("ann", refund(early, 5_000));
    assert_eq!(world.has(BOB), [40, 0, 0, 0]);
}

#[test]
fn units_are_followed_through_two_merges_to_where_they_lapsed() {
    let mut world = World::new(Rules { days: Some(30), ..OWED });
    for member in ["ann", "bob", "cid"] {
        world.done(member, set(None, &[], &[]));
    }
    world.done("bob", earn("plain", 3_000));
    world.done("cid", earn("plain", 2_000));
    let bought = world.done("ann", earn("plain", 10_000));
    world.done("ann", redeem(POINTS, 10, Purpose::Gift));
    world.merged("ann", "bob");
    let other = world.done("bob", earn("plain", 4_000));
    world.merged("bob", "cid");
    world.done("cid", redeem(POINTS, 60, Purpose::Gift));
    world.now_us += 40 * DAY_US;
    world.settle();
    assert_eq!(world.has(CID), [0; 4]);
    // In the lot lay 20 of cid, 30 of bob, 90 of the purchase, 40 of the other one; 60 went.
    let refunded = world.done("ann", refund(bought, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 0, 0, 0, -80, -20, 0, 0]);
    let refunded = world.done("cid", refund(other, 4_000));
    assert_eq!(world.moved(refunded, POINTS), [40, 0, 0, 0, -40, 0, 0, 0]);
}

#[test]
fn what_comes_over_settles_the_debts_of_both_and_then_what_was_there_pays_what_came_over_of_debt() {
    // What each has of points and owes before, and what the one who stays has then and owes.
    for (goes, stays, then) in [
        ((100, 0), (0, 30), (70, 0)),
        ((0, 40), (100, 0), (60, 0)),
        ((20, 0), (0, 50), (0, 30)),
        ((0, 50), (20, 0), (0, 30)),
        ((0, 10), (0, 20), (0, 30)),
    ] {
        let mut world = two();
        for (member, (points, owes)) in [("ann", goes), ("bob", stays)] {
            if points > 0 {
                world.done(member, adjust(points));
            }
            if owes > 0 {
                world.done(member, owe(owes));
            }
        }
        world.merged("ann", "bob");
        let [available, _, _, debt] = world.has(BOB);
        assert_eq!((available, debt), then, "{goes:?} {stays:?}");
    }
}

#[test]
fn units_that_settled_a_debt_in_the_merge_are_the_first_of_their_lot_and_count_as_spent() {
    let mut world = World::new(Rules { days: Some(30), ..OWED });
    for member in ["ann", "bob"] {
        world.done(member, set(None, &[], &[]));
    }
    world.done("bob", owe(30));
    let first = world.done("ann", earn("plain", 2_000));
    let second = world.done("ann", earn("plain", 5_000));
    world.merged("ann", "bob");
    assert_eq!(world.has(BOB), [40, 0, 0, 0]);
    // Spent before any others, but not by who takes back what is its own.
    let lapses_us = Some(world.now_us + 5 * DAY_US);
    let (actor, reason) = ("ana".into(), "moved in".into());
    world.done("bob", Action::Opening { asset: POINTS, points: 25, lapses_us, actor, reason });
    let of = |source, world: &World| {
        let lots = world.holding(BOB).lots;
        lots.iter().filter(|lot| lot.key.lot.source == source).map(|lot| lot.units()).sum::<u64>()
    };
    let both = |world: &World| (of(Source::Base, world), of(Source::Opening, world));
    world.done("ann", refund(first, 2_000));
    assert_eq!(both(&world), (40, 5), "nothing of the first is left");
    world.done("ann", refund(second, 4_000));
    assert_eq!(both(&world), (0, 5), "of the second are forty");
    world.done("ann", refund(second, 1_000));
    assert_eq!(world.has(BOB), [0, 0, 0, 5]);
}

#[test]
fn what_is_free_beside_a_debt_stays_so_but_for_what_came_over() {
    // A hold that is let go credits nobody: ann and bob each have 10 free and owe 10.
    let mut world = two();
    for member in ["ann", "bob"] {
        let op = world.done(member, earn("plain", 1_000));
        let held = world.done(member, hold(10));
        world.done(member, refund(op, 1_000));
        world.done(member, Action::Release { hold: Original::Op(held) });
    }
    assert_eq!((world.has(ANN), world.has(BOB)), ([10, 0, 0, 10], [10, 0, 0, 10]));
    world.merged("ann", "bob");
    assert_eq!(world.has(BOB), [0; 4]);
}

#[test]
fn holds_and_pending_earns_go_on_with_whoever_has_them_now() {
    let mut world = two();
    world.done("ann", earn("plain", 10_000));
    let held = world.done("ann", hold(60));
    world.done("bob", earn("plain", 1_000));
    let own = world.done("bob", hold(5));
    let waiting = world.done("ann", pending("purchase", 2_000, Matures::At(world.now_us + DAY_US)));
    let other = world.done("ann", pending("plain", 3_000, Matures::Activated));
    let went = world.merged("ann", "bob");
    assert_eq!(world.has(BOB), [45, 65, 70, 0]);
    let Event::MembersMerged(merged) = world.event(went) else { panic!("no merge") };
    let held_legs = |legs: &[super::event::Leg]| {
        let held = legs.iter().filter(|leg| matches!(leg.account, Account::Held { .. } | Account::Free { .. }));
        held.map(|leg| leg.amount).collect::<Vec<_>>()
    };
    assert_eq!((held_legs(&merged.legs), held_legs(&merged.other.legs)), (vec![-60, 60], vec![-60, 60]));
    let ops: Vec<Op> = world.holding(BOB).holds.iter().map(|hold| hold.op).collect();
    assert_eq!(ops, [held, own]);
    let loaded = world.reloaded();
    assert_eq!(loaded.state_hash(), world.ledger.state_hash());
    let captured = world.done("ann", Action::Capture { hold: Original::Op(held), units: 20, last: true });
    assert_eq!(world.has(BOB), [85, 5, 70, 0]);
    world.done("bob", reverse(captured, None));
    assert_eq!(world.has(BOB), [105, 5, 70, 0]);
    world.done("ann", refund(other, 1_000));
    world.done("bob", Action::Activate { original: Original::Op(other) });
    assert_eq!(world.has(BOB), [125, 5, 40, 0]);
    world.now_us += 2 * DAY_US;
    world.settle();
    assert_eq!(world.has(BOB), [165, 5, 0, 0]);
    world.done("ann", refund(waiting, 2_000));
    assert_eq!(world.has(BOB), [125, 5, 0, 0]);
}

#[test]
fn a_hold_that_came_over_ends_at_its_deadline() {
    let mut world = two();
    world.done("ann", earn("plain", 1_000));
    let until_us = Some(world.now_us + DAY_US);
    world.done("ann", Action::Hold { asset: POINTS, units: 4, until_us, purpose: Purpose::Gift });
    world.merged("ann", "bob");
    assert_eq!(world.has(BOB), [6, 4, 0, 0]);
    world.now_us += DAY_US;
    world.settle();
    assert_eq!(world.has(BOB), [10, 0, 0, 0]);
}

#[test]
fn counters_of_caps_add_up_and_a_refund_gives_its_room_back_to_whoever_has_them_now() {
    let span = CapSpan { per: CapPer::Campaign, first_day: 0 };
    let campaign = super::ids::CampaignNo(0);
    let mut world = two();
    for (member, used) in [(ANN, 30), (BOB, 12)] {
        world.ledger.members.set_cap((member, campaign, span), Some(used));
    }
    world.merged("ann", "bob");
    let cap = |member| world.ledger.members.cap(&(member, campaign, span));
    assert_eq!((cap(ANN), cap(BOB), world.ledger.members.caps_len()), (None, Some(42), 1));
}

#[test]
fn a_merge_that_is_undone_puts_all_back() {
    let mut world = two();
    world.done("cid", set(Some(3), &["cid"], &[]));
    world.done("ann", earn("grown", 10_000));
    world.done("ann", hold(10));
    world.done("ann", pending("plain", 700, Matures::Activated));
    world.done("ann", set(Some(100), &["old", "vip"], &[]));
    world.done("bob", owe(30));
    world.done("bob", set(Some(50), &["vip"], &[]));
    let freeze = Action::Standing { change: Standing::Frozen, actor: "ana".into(), reason: "lost card".into() };
    world.done("ann", freeze);
    world
        .ledger
        .members
        .set_cap((ANN, super::ids::CampaignNo(0), CapSpan { per: CapPer::Campaign, first_day: 0 }), Some(9));
    let hash = world.ledger.state_hash();
    let before = [ANN, BOB, CID].map(|member| world.holding(member));
    let events = world.events.len();
    world.ledger.begin_undo();
    world.merged("ann", "bob");
    world.done("dan", set(None, &["new"], &[]));
    world.merged("bob", "cid");
    world.merged("cid", "dan");
    assert_eq!((world.member(P, "ann"), world.has(MemberNo(3))), (Some(MemberNo(3)), [160, 10, 7, 0]));
    world.ledger.roll_back();
    world.events.truncate(events);
    assert_eq!(world.ledger.state_hash(), hash);
    assert_eq!([ANN, BOB, CID].map(|member| world.holding(member)), before);
    assert_eq!((world.member(P, "ann"), world.member(P, "bob"), world.member(P, "dan")), (Some(ANN), Some(BOB), None));
    world.ledger.check_sums().unwrap();
    world.merged("ann", "bob");
    assert_eq!(world.has(BOB), [160, 10, 7, 0]);
}

#[test]
fn whoever_was_frozen_stays_so_in_the_other_and_what_either_is_the_other_is() {
    let mut world = two();
    let freeze = Action::Standing { change: Standing::Frozen, actor: "ana".into(), reason: "lost card".into() };
    world.done("ann", set(Some(100), &["old", "vip"], &[]));
    world.done("bob", set(Some(200), &["vip", "new"], &[]));
    world.done("ann", freeze);
    world.merged("ann", "bob");
    let card = world.ledger.card(BOB, world.now_us);
    let tags = ["new", "old", "vip"].map(str::to_owned).to_vec();
    assert_eq!((card.standing, card.joined_day, card.tags), (Standing::Frozen, Some(100), tags));
    world.done("bob", earn("plain", 1_000));
    assert_eq!(world.try_for("bob", redeem(POINTS, 1, Purpose::Gift)).1, Some(Reason::MemberFrozen));
}

#[test]
fn the_statement_goes_on_into_both_and_a_reference_finds_a_purchase_of_either() {
    let mut world = two();
    let own = world.try_noted("ann", "order 1", earn("plain", 1_000)).0;
    let other = world.try_noted("bob", "order 2", earn("plain", 2_000)).0;
    let action = merge(&world, "bob");
    let went = world.done("ann", action);
    let later = world.done("ann", earn("plain", 100));
    assert_eq!(world.statement(BOB), [later.0, went.0, other.0, own.0, 4, 3]);
    let by_reference = |reference: &str| {
        let original = Original::Reference(reference.into());
        Action::Refund { original, basis: super::command::Basis::Spend(1_000), event_kind: None }
    };
    for (member, reference, original) in [("bob", "order 1", own), ("ann", "order 2", other)] {
        let op = world.done(member, by_reference(reference));
        let Event::Refunded(refunded) = world.event(op) else { panic!("no refund") };
        assert_eq!(op.back(refunded.from.as_ref().unwrap().original_link), Some(original));
    }
}

#[test]
fn an_event_between_two_who_became_one_stands_in_their_statement_once() {
    let mut world = two();
    world.done("ann", earn("plain", 1_000));
    let to = world.named(P, "bob");
    let gave = world.done("ann", Action::Transfer { to, asset: POINTS, units: 4 });
    let went = world.merged("ann", "bob");
    assert_eq!(world.statement(BOB), [went.0, gave.0, 5, 4, 3]);
}

#[test]
fn rolling_units_live_as_long_as_those_of_either() {
    let mut world = two();
    for (member, until) in [(ANN, 90_000_000), (BOB, 80_000_000)] {
        let mut holding = world.holding(member);
        holding.set_roll(GROWTH, until);
        world.ledger.members.set_holding(member, &holding);
    }
    let went = world.merged("ann", "bob");
    let Event::MembersMerged(merged) = world.event(went) else { panic!("no merge") };
    assert_eq!(
        (merged.other.rolls.as_slice(), world.holding(BOB).rolls_until(GROWTH)),
        ([(GROWTH, 90_000_000)].as_slice(), Some(90_000_000))
    );
}

#[test]
fn what_is_told_of_a_member_is_what_changes_and_creates_it_where_it_is_unknown() {
    let mut world = World::new(OWED);
    let said = |world: &World, op: Op| {
        let Event::MemberSet(said) = world.event(op) else { panic!("not told") };
        let added: Vec<_> = said.added.iter().map(|put| (put.tag, put.name.map(str::to_owned))).collect();
        (said.joined_day, added, said.removed)
    };
    let op = world.done("ann", set(Some(-3), &["vip", "vip", "new"], &["none"]));
    let named = |number, name: &str| (TagNo(number), Some(name.to_owned()));
    assert_eq!(said(&world, op), (Some(-3), vec![named(0, "vip"), named(1, "new")], vec![]));
    let op = world.done("bob", set(None, &["new", "old"], &["vip"]));
    assert_eq!(said(&world, op), (None, vec![(TagNo(1), None), named(2, "old")], vec![]));
    let op = world.done("ann", set(Some(-3), &["vip"], &[]));
    assert_eq!(said(&world, op), (None, vec![], vec![]), "nothing changes");
    let op = world.done("ann", set(Some(7), &["old"], &["new", "vip"]));
    assert_eq!(said(&world, op), (Some(7), vec![(TagNo(2), None)], vec![TagNo(0), TagNo(1)]));
    let card = world.ledger.card(ANN, world.now_us);
    assert_eq!((card.joined_day, card.tags, card.aliases), (Some(7), vec!["old".to_owned()], 0));
    let loaded = world.reloaded();
    assert_eq!((loaded.state_hash(), loaded.card(ANN, 0).tags), (world.ledger.state_hash(), vec!["old".to_owned()]));
}

#[test]
fn lots_of_one_key_become_one_with_the_units_of_both() {
    let mut world = two();
    world.done("bob", earn("plain", 1_000));
    world.done("ann", earn("plain", 2_000));
    let went = world.merged("ann", "bob");
    let Event::MembersMerged(merged) = world.event(went) else { panic!("no merge") };
    let lot = LotId { source: Source::Base, expiry: Expiry::Never };
    let at = |legs: &[super::event::Leg]| legs.iter().map(|leg| (leg.account, leg.amount)).collect::<Vec<_>>();
    let available = |position| Account::Available { lot, position };
    assert_eq!((at(&merged.legs), at(&merged.other.legs)), (vec![(available(0), -20)], vec![(available(10), 20)]));
    let fund = AdminAction::FundCampaign { campaign: "double".into(), points: 1 };
    world.admin(P, fund);
    assert_eq!(world.holding(BOB).lots.len(), 1);
}
