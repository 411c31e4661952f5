//! Units that move between two members, of one program or of two in a [`World`].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::command::{Action, Basis, Original, Purpose, Standing};
use super::event::{Account, AssetBalances, Event, Expiry, Leg, LotId, Source};
use super::holding::Holding;
use super::ids::{AssetNo, MemberNo, MemberRef, Op, ProgramNo};
use super::later::Later;
use super::reason::Reason;
use super::spec::{
    AssetKind, AssetSpec, ConversionRate, DebtPolicy, ExpiryPolicy, Lifetime, ProgramMore, ProgramSpec, Ratio, RoundUp,
    Rounding, Rule,
};
use super::state::{Ledger, Moment};
use super::world::{BEGAN_US, DAY_US, World};
use super::{Decision, codec};

const POINTS: AssetNo = AssetNo::POINTS;
const GROWTH: AssetNo = AssetNo(1);
const COUPON: AssetNo = AssetNo(2);
const ROLLING: AssetNo = AssetNo(3);
const SHOP: ProgramNo = ProgramNo(0);
const AIR: ProgramNo = ProgramNo(1);

fn asset(id: &str, kind: AssetKind, lifetime: Lifetime) -> AssetSpec {
    let expiry = ExpiryPolicy { lifetime, round_up: RoundUp::Day };
    AssetSpec { id: id.into(), kind, expiry, debt: DebtPolicy::Debt, ..AssetSpec::points() }
}

fn rate(to: &str, units: u64, to_units: u64) -> ConversionRate {
    ConversionRate { to: to.into(), asset: POINTS, to_asset: "points".into(), units, to_units }
}

/// A point a pound. Units of the program live for `lifetime`.
fn spec(lifetime: Lifetime, conversions: Vec<ConversionRate>, accepts_from: &[&str]) -> ProgramSpec {
    ProgramSpec {
        name: "Test".into(),
        currency: "GBP".into(),
        time_zone: "UTC".into(),
        tz_version: String::new(),
        import_mode: true,
        effective_from_us: None,
        greatest_total: Ratio { numerator: 1, denominator: 1 },
        rules: vec![Rule {
            kind: "purchase".into(),
            rate: Ratio { numerator: 1, denominator: 100 },
            rounding: Rounding::Floor,
            more: Later::default(),
        }],
        campaigns: Vec::new(),
        more: Later::new(ProgramMore {
            assets: vec![
                asset("points", AssetKind::Spendable, lifetime),
                asset("growth", AssetKind::Qualifying, Lifetime::Never),
                asset("coupon", AssetKind::Entitlement, Lifetime::Never),
                asset("rolling", AssetKind::Spendable, Lifetime::RollingDays(10)),
            ],
            conversions,
            accepts_from: accepts_from.iter().map(|id| (*id).to_owned()).collect(),
            ..ProgramMore::default()
        }),
    }
}

impl World {
    /// Two programs that take one another's units: 10 points of the shop are 3 of the airline, and 2 of those 5 of the shop.
    fn trading() -> Self {
        let mut world = Self::empty(&["shop", "air"], 6);
        world.put(SHOP, spec(Lifetime::Never, vec![rate("air", 10, 3)], &["air"]));
        world.put(AIR, spec(Lifetime::Days(30), vec![rate("shop", 2, 5)], &["shop"]));
        world
    }

    /// Does something for a member of a program; the op, or why it was refused and of which field.
    fn of(&mut self, program: ProgramNo, member: &str, action: Action) -> Result<Op, (Reason, String)> {
        let (op, refused) = self.ask(program, member, "", action);
        refused.map_or(Ok(op), Err)
    }

    fn shop(&mut self, member: &str, action: Action) -> Result<Op, (Reason, String)> {
        self.of(SHOP, member, action)
    }

    fn give(&mut self, from: &str, to: &str, asset: AssetNo, units: u64) -> Result<Op, (Reason, String)> {
        let to = self.named(SHOP, to);
        self.shop(from, Action::Transfer { to, asset, units })
    }

    /// Points of one program turned into those of the other, of the member of the same id.
    fn turn(&mut self, from: ProgramNo, member: &str, units: u64) -> Result<Op, (Reason, String)> {
        let to_program = ProgramNo(1 - from.0);
        let to = self.named(to_program, member);
        self.of(from, member, Action::Convert { to_program, to, asset: POINTS, to_asset: POINTS, units })
    }

    /// Brings units over into a lot that lapses so many days from now, or never.
    fn lot(&mut self, member: &str, points: i64, days: Option<i64>) {
        let lapses_us = days.map(|days| self.now_us + days * DAY_US);
        let (actor, reason) = ("ana".to_owned(), "moved in".to_owned());
        self.shop(member, Action::Opening { asset: POINTS, points, lapses_us, actor, reason }).unwrap();
    }

    fn adjust(&mut self, member: &str, asset: AssetNo, points: i64) {
        let (actor, reason) = ("ana".to_owned(), "test".to_owned());
        self.shop(member, Action::Adjust { asset, points, actor, reason }).unwrap();
    }

    fn of_member(&self, program: ProgramNo, member: &str) -> Holding {
        self.holding(self.member(program, member).unwrap())
    }

    /// Available units of an asset, and what is owed of it.
    fn units(&self, program: ProgramNo, member: &str, asset: AssetNo) -> (i64, i64) {
        let AssetBalances { available, debt, .. } = self.of_member(program, member).balances(asset);
        (available, debt)
    }

    fn lots_of(&self, program: ProgramNo, member: &str) -> Vec<(LotId, u64)> {
        let holding = self.of_member(program, member);
        holding.lots.iter().filter(|lot| lot.units() > 0).map(|lot| (lot.key.lot, lot.units())).collect()
    }

    fn account(&self, program: ProgramNo, name: &str) -> i64 {
        let trial = &self.ledger.trial_balance()[usize::from(program.0)];
        trial.rows.iter().find(|row| row.asset == "points" && row.account == name).map_or(0, |row| row.balance)
    }
}

fn lot(source: Source, expiry: Expiry) -> LotId {
    LotId { source, expiry }
}

/// The minute so many days after the beginning.
fn day(days: i64) -> Expiry {
    Expiry::At(u32::try_from((BEGAN_US + days * DAY_US) / 60_000_000).unwrap())
}

fn moved(legs: &[Leg]) -> Vec<(Option<LotId>, i64)> {
    let lot = |leg: &Leg| match leg.account {
        Account::Available { lot, .. } => Some(lot),
        _ => None,
    };
    legs.iter().map(|leg| (lot(leg), leg.amount)).collect()
}

fn earn(pounds: u64) -> Action {
    let event_kind = Some("purchase".into());
    Action::Earn { basis: Basis::Spend(pounds * 100), event_kind, asset: POINTS, matures: None }
}

fn refund(op: Op, pounds: u64) -> Action {
    Action::Refund { original: Original::Op(op), basis: Basis::Spend(pounds * 100), event_kind: None }
}

fn standing(change: Standing) -> Action {
    Action::Standing { change, actor: "ana".into(), reason: "test".into() }
}

fn refused<T: std::fmt::Debug>(posted: Result<T, (Reason, String)>, reason: Reason, field: &str) {
    assert_eq!(posted.unwrap_err(), (reason, field.to_owned()));
}

#[test]
fn a_transfer_takes_what_would_be_spent_first_and_settles_the_receivers_debt_before_his_lots() {
    let mut world = World::trading();
    world.lot("ann", 50, None);
    world.lot("ann", 30, Some(20));
    world.lot("ann", 40, Some(10));
    world.adjust("ann", POINTS, 5);
    world.lot("bob", -25, None);
    world.lot("bob", 7, Some(90));
    world.lot("bob", -25, None);
    let op = world.give("ann", "bob", POINTS, 100).unwrap();
    let Event::Transferred(event) = world.event(op) else { panic!("no transfer") };
    let opening = |expiry| Some(lot(Source::Opening, expiry));
    let given = |expiry| Some(lot(Source::Transferred, expiry));
    assert_eq!(moved(&event.legs), [(opening(day(10)), -40), (opening(day(20)), -30), (opening(Expiry::Never), -30)]);
    // 50 - 7 of debt: 40 of the first lot and 3 of the second.
    let received = [(None, 43), (given(day(20)), 27), (given(Expiry::Never), 30)];
    assert_eq!(moved(&event.other.legs), received);
    assert_eq!(event.other.after, [AssetBalances { available: 57, ..AssetBalances::default() }]);
    assert_eq!((world.units(SHOP, "ann", POINTS), world.units(SHOP, "bob", POINTS)), ((25, 0), (57, 0)));
    let heads = [world.of_member(SHOP, "ann").head, world.of_member(SHOP, "bob").head];
    assert_eq!(heads, [op, op], "it is the newest event of both");
    // What was given goes on with its date.
    world.now_us += 20 * DAY_US;
    world.settle();
    assert_eq!(world.units(SHOP, "bob", POINTS), (30, 0));
}

#[test]
fn units_of_one_date_from_two_sources_enter_one_lot_of_the_receiver() {
    let mut world = World::trading();
    world.lot("ann", 10, Some(10));
    world.shop("ann", earn(20)).unwrap();
    world.adjust("ann", POINTS, 30);
    world.give("ann", "bob", POINTS, 55).unwrap();
    let lots = [(lot(Source::Transferred, Expiry::Never), 45), (lot(Source::Transferred, day(10)), 10)];
    assert_eq!(world.lots_of(SHOP, "bob"), lots);
    assert_eq!(world.units(SHOP, "ann", POINTS), (5, 0));
}

#[test]
fn entitlements_are_given_and_what_qualifies_for_tiers_is_not() {
    let mut world = World::trading();
    let coupons = Action::Grant { asset: COUPON, units: 3, lapses_us: Some(BEGAN_US + 5 * DAY_US) };
    world.shop("ann", coupons).unwrap();
    world.adjust("ann", GROWTH, 9);
    world.give("ann", "bob", COUPON, 2).unwrap();
    assert_eq!(world.lots_of(SHOP, "bob"), [(lot(Source::Transferred, day(5)), 2)]);
    refused(world.give("ann", "bob", GROWTH, 1), Reason::AssetKindMismatch, "transfer.asset");
    refused(world.give("ann", "bob", AssetNo(9), 1), Reason::AssetUnknown, "transfer.asset");
}

#[test]
fn rolling_units_live_as_the_receivers_do_and_where_he_has_none_as_the_givers() {
    let mut world = World::trading();
    let until = |world: &World, member| world.of_member(SHOP, member).rolls_until(ROLLING).map(Expiry::At);
    let told = |world: &World, op| world.event(op).other().unwrap().rolls.clone();
    world.adjust("ann", ROLLING, 100);
    world.now_us += 4 * DAY_US;
    world.adjust("bob", ROLLING, 10);
    let (ann, bob) = (until(&world, "ann"), until(&world, "bob"));
    assert_eq!((ann, bob), (Some(day(11)), Some(day(15))));
    // To one who has none: the giver's, whose own does not move by it.
    let op = world.give("ann", "cat", ROLLING, 10).unwrap();
    assert_eq!((until(&world, "cat"), until(&world, "ann")), (ann, ann));
    assert_eq!(told(&world, op).len(), 1);
    // To ones who have some: his own, later or sooner.
    let op = world.give("ann", "bob", ROLLING, 10).unwrap();
    assert_eq!((until(&world, "bob"), told(&world, op)), (bob, vec![]));
    let op = world.give("bob", "cat", ROLLING, 5).unwrap();
    assert_eq!((until(&world, "cat"), told(&world, op)), (ann, vec![]));
    // What he had has lapsed: units that are given to him do not.
    world.now_us += 8 * DAY_US;
    world.give("bob", "cat", ROLLING, 5).unwrap();
    assert_eq!((until(&world, "cat"), world.units(SHOP, "cat", ROLLING)), (bob, (5, 0)));
}

#[test]
fn units_given_to_one_whose_pinned_units_have_lapsed_live_as_long_as_the_givers() {
    let mut world = World::trading();
    world.adjust("cat", ROLLING, 5);
    let until_us = Some(BEGAN_US + 25 * DAY_US);
    world.shop("cat", Action::Hold { asset: ROLLING, units: 5, until_us, purpose: Purpose::Gift }).unwrap();
    world.now_us += 12 * DAY_US;
    world.adjust("ann", ROLLING, 10);
    world.give("ann", "cat", ROLLING, 4).unwrap();
    assert_eq!(world.units(SHOP, "cat", ROLLING), (4, 0));
    assert_eq!(world.of_member(SHOP, "cat").rolls_until(ROLLING).map(Expiry::At), Some(day(23)));
}

#[test]
fn who_may_not_give_or_take_is_told_and_an_unknown_receiver_is_created() {
    let mut world = World::trading();
    refused(world.give("ann", "bob", POINTS, 1), Reason::MemberUnknown, "member");
    world.shop("ann", earn(10)).unwrap();
    refused(world.give("ann", "ann", POINTS, 1), Reason::SelfTransfer, "transfer.to");
    refused(world.give("ann", "bob", POINTS, 11), Reason::InsufficientPoints, "transfer.units");
    assert!(world.ledger.member(world.named(SHOP, "bob").hash).is_none(), "a refusal creates nobody");
    let op = world.give("ann", "bob", POINTS, 4).unwrap();
    assert_eq!(world.event(op).other().unwrap().member, MemberRef::Opened(MemberNo(1), "bob"));
    world.shop("bob", standing(Standing::Frozen)).unwrap();
    world.give("ann", "bob", POINTS, 1).unwrap();
    refused(world.give("bob", "ann", POINTS, 1), Reason::MemberFrozen, "member");
    world.shop("bob", standing(Standing::Closed)).unwrap();
    refused(world.give("ann", "bob", POINTS, 1), Reason::MemberClosed, "transfer.to");
    refused(world.give("bob", "ann", POINTS, 1), Reason::MemberClosed, "member");
    // The books hold six members.
    for member in ["cat", "dan", "eve", "fay"] {
        world.give("ann", member, POINTS, 1).unwrap();
    }
    let to = world.named(SHOP, "gus");
    let command = world.command(SHOP, "ann", "", Action::Transfer { to, asset: POINTS, units: 1 });
    assert_eq!(world.ledger.decide(&command, None, world.at()), Decision::LimitReached);
}

#[test]
fn what_was_given_away_counts_as_spent_and_what_came_back_is_not_the_purchases_own() {
    let mut world = World::trading();
    let op = world.shop("ann", earn(100)).unwrap();
    world.give("ann", "bob", POINTS, 70).unwrap();
    world.shop("ann", refund(op, 50)).unwrap();
    assert_eq!(world.units(SHOP, "ann", POINTS), (0, 20), "30 were there and 20 are owed");
    assert_eq!(world.units(SHOP, "bob", POINTS), (70, 0), "nobody takes from whom they were given to");
    world.give("bob", "ann", POINTS, 30).unwrap();
    assert_eq!(
        world.lots_of(SHOP, "ann"),
        [(lot(Source::Transferred, Expiry::Never), 10)],
        "they settle the debt first"
    );
    world.shop("ann", refund(op, 50)).unwrap();
    assert_eq!(world.units(SHOP, "ann", POINTS), (0, 40));
}

#[test]
fn a_conversion_takes_whole_units_both_ways_and_each_program_settles_with_the_other() {
    let mut world = World::trading();
    world.shop("ann", earn(100)).unwrap();
    let op = world.turn(SHOP, "ann", 57).unwrap();
    let Event::Converted(event) = world.event(op) else { panic!("no conversion") };
    assert_eq!((event.asked, event.units, event.to_units, event.lapsed), (57, 50, 15, 0));
    assert_eq!(moved(&event.legs), [(Some(lot(Source::Base, Expiry::Never)), -50), (None, 50)]);
    let entered = Some(lot(Source::Transferred, day(31)));
    assert_eq!(moved(&event.other.legs), [(None, -15), (entered, 15)], "it lives as the airline's points do");
    assert_eq!((world.account(SHOP, "conversion/air"), world.account(AIR, "conversion/shop")), (50, -15));
    let op = world.turn(AIR, "ann", 9).unwrap();
    let Event::Converted(event) = world.event(op) else { panic!("no conversion") };
    assert_eq!((event.units, event.to_units), (8, 20));
    assert_eq!((world.account(SHOP, "conversion/air"), world.account(AIR, "conversion/shop")), (30, -7));
    assert_eq!((world.units(SHOP, "ann", POINTS), world.units(AIR, "ann", POINTS)), ((70, 0), (7, 0)));
    refused(world.turn(SHOP, "ann", 9), Reason::ConversionTooSmall, "convert.units");
    refused(world.turn(SHOP, "ann", 80), Reason::InsufficientPoints, "convert.units");
    refused(world.turn(SHOP, "bob", 10), Reason::MemberUnknown, "member");
}

#[test]
fn a_conversion_settles_debt_there_and_what_lapsed_before_it_was_booked_goes_to_breakage_there() {
    let mut world = World::trading();
    world.shop("ann", earn(1_000)).unwrap();
    let op = world.of(AIR, "ann", earn(10)).unwrap();
    world.turn(AIR, "ann", 10).unwrap();
    world.of(AIR, "ann", refund(op, 10)).unwrap();
    assert_eq!(world.units(AIR, "ann", POINTS), (0, 10));
    world.turn(SHOP, "ann", 50).unwrap();
    assert_eq!((world.units(AIR, "ann", POINTS), world.account(AIR, "breakage")), ((5, 0), 0));
    // It happened long before it was booked.
    (world.occurred_us, world.now_us) = (Some(world.now_us), world.now_us + 40 * DAY_US);
    let op = world.turn(SHOP, "ann", 100).unwrap();
    let Event::Converted(event) = world.event(op) else { panic!("no conversion") };
    assert_eq!((event.to_units, event.lapsed), (30, 30));
    assert_eq!((world.units(AIR, "ann", POINTS), world.account(AIR, "breakage")), ((0, 0), 35));
}

#[test]
fn the_rate_is_that_of_the_business_time_and_the_other_program_must_take_the_units_now() {
    let mut world = World::trading();
    world.shop("ann", earn(1_000)).unwrap();
    let early = world.now_us;
    world.now_us += DAY_US;
    world.put(SHOP, spec(Lifetime::Never, vec![rate("air", 1, 7)], &["air"]));
    let op = world.turn(SHOP, "ann", 10).unwrap();
    let Event::Converted(event) = world.event(op) else { panic!("no conversion") };
    assert_eq!((event.units, event.to_units), (10, 70));
    world.occurred_us = Some(early);
    let op = world.turn(SHOP, "ann", 10).unwrap();
    let Event::Converted(event) = world.event(op) else { panic!("no conversion") };
    assert_eq!((event.units, event.to_units), (10, 3));
    world.put(AIR, spec(Lifetime::Never, vec![], &[]));
    refused(world.turn(SHOP, "ann", 10), Reason::ConversionNotAccepted, "convert.to_program");
    world.occurred_us = None;
    refused(world.turn(AIR, "ann", 10), Reason::ConversionUnknown, "convert.to_program");
    let convert = |world: &World, asset, to_asset| {
        let to = world.named(AIR, "ann");
        Action::Convert { to_program: AIR, to, asset, to_asset, units: 10 }
    };
    let action = convert(&world, GROWTH, POINTS);
    refused(world.shop("ann", action), Reason::AssetKindMismatch, "convert.asset");
    let action = convert(&world, POINTS, COUPON);
    refused(world.shop("ann", action), Reason::AssetKindMismatch, "convert.to_asset");
    let action = convert(&world, POINTS, AssetNo(9));
    refused(world.shop("ann", action), Reason::AssetUnknown, "convert.to_asset");
    let action = convert(&world, POINTS, ROLLING);
    refused(world.shop("ann", action), Reason::ConversionUnknown, "convert.to_program");
}

#[test]
fn a_conversion_is_an_activity_on_both_sides() {
    let mut world = World::trading();
    let rolling = |to: &str| ConversionRate { asset: ROLLING, to_asset: "rolling".into(), ..rate(to, 1, 1) };
    world.put(SHOP, spec(Lifetime::Never, vec![rolling("air")], &[]));
    world.adjust("ann", ROLLING, 10);
    world.now_us += 5 * DAY_US;
    let to = world.named(AIR, "ann");
    let action = Action::Convert { to_program: AIR, to, asset: ROLLING, to_asset: ROLLING, units: 4 };
    world.shop("ann", action).unwrap();
    let until = |program| world.of_member(program, "ann").rolls_until(ROLLING).map(Expiry::At);
    assert_eq!((until(SHOP), until(AIR)), (Some(day(16)), Some(day(16))));
    assert_eq!((world.units(SHOP, "ann", ROLLING), world.units(AIR, "ann", ROLLING)), ((6, 0), (4, 0)));
}

#[test]
fn what_is_converted_must_fit_the_books_of_the_other_program() {
    let mut world = World::trading();
    world.put(SHOP, spec(Lifetime::Never, vec![rate("air", 1, 1_000_000_000)], &[]));
    world.adjust("ann", POINTS, 1_000_000_000_000);
    world.turn(SHOP, "ann", 9_000_000_000).unwrap();
    refused(world.turn(SHOP, "ann", 1_000_000_000), Reason::AmountOverflow, "convert.units");
    refused(world.turn(SHOP, "ann", 900_000_000_000), Reason::AmountOverflow, "convert.units");
    assert_eq!(world.units(AIR, "ann", POINTS), (9_000_000_000_000_000_000, 0));
}

#[test]
fn members_whose_units_nearly_fill_the_books_give_to_one_another() {
    let mut world = World::trading();
    for _ in 0..2 {
        let (actor, reason, points) = ("ana".to_owned(), "test".to_owned(), i64::MAX / 2);
        world.shop("ann", Action::Adjust { asset: POINTS, points, actor, reason }).unwrap();
    }
    world.give("ann", "bob", POINTS, 1_000_000_000_000).unwrap();
    assert_eq!(world.units(SHOP, "bob", POINTS), (1_000_000_000_000, 0));
}

#[test]
fn an_undone_batch_leaves_nothing_of_a_transfer_or_conversion() {
    let mut world = World::trading();
    world.shop("ann", earn(100)).unwrap();
    let (before, events) = (world.ledger.state_hash(), world.events.len());
    for turned in [false, true] {
        if turned {
            world.turn(SHOP, "ann", 10).unwrap();
        }
        let before = if turned { world.ledger.state_hash() } else { before };
        let events = if turned { world.events.len() } else { events };
        world.ledger.begin_undo();
        world.give("ann", "bob", POINTS, 10).unwrap();
        world.turn(SHOP, "ann", 20).unwrap();
        world.turn(SHOP, "ann", 20).unwrap();
        world.ledger.roll_back();
        world.events.truncate(events);
        assert_eq!(world.ledger.state_hash(), before);
        world.ledger.check_sums().unwrap();
    }
}

#[test]
fn the_base_image_keeps_what_programs_settle() {
    let mut world = World::trading();
    world.shop("ann", earn(100)).unwrap();
    world.turn(SHOP, "ann", 50).unwrap();
    let image = world.ledger.base_image();
    let read = Ledger::from_base(world.ledger.limits, &image).unwrap();
    assert_eq!(read.base_image(), image);
    assert_eq!(read.programs[0].conversion(POINTS, AIR).balance, 50);
    assert_eq!(read.programs[1].conversion(POINTS, SHOP).balance, -15);
}

#[test]
fn an_event_whose_other_side_does_not_fit_is_found() {
    let mut world = World::trading();
    world.shop("ann", earn(100)).unwrap();
    world.shop("bob", earn(1)).unwrap();
    let to = world.named(SHOP, "bob");
    let command = world.command(SHOP, "ann", "", Action::Transfer { to, asset: POINTS, units: 10 });
    let at = world.at();
    let Decision::Event(Event::Transferred(sound)) = world.ledger.decide(&command, None, at) else { panic!("full") };
    let wrong = |change: fn(&mut super::event::Transferred<'_>)| {
        let mut event = sound.clone();
        change(&mut event);
        let event = Event::Transferred(event);
        assert!(world.ledger.prove(at, &event, None, &world.prints).is_err());
        let mut again = Ledger::new(world.ledger.limits);
        for (op, bytes) in (1..).zip(&world.events) {
            let at = Moment { op: Op(op), book_time_us: BEGAN_US };
            again.replay(at, &codec::decode(bytes).unwrap(), &world.prints).unwrap();
        }
        again.replay(at, &event, &world.prints).unwrap_err().what
    };
    let balances = "the balances after the event are not those that it says";
    assert_eq!(wrong(|event| event.other.after[0].available += 1), balances);
    let link = "the event's link does not lead to the member's previous event";
    assert_eq!(wrong(|event| event.other.member_link += 1), link);
    let one = "an event between two members has one";
    assert_eq!(wrong(|event| event.other.member = MemberRef::Known(MemberNo(0))), one);
    let sums = "the event's legs do not sum to zero";
    assert_eq!(wrong(|event| event.other.program = AIR), sums);
    assert_eq!(wrong(|event| event.other.legs = event.legs.clone()), sums);
}
