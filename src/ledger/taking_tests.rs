//! Taking back, undoing and making available, on a small ledger whose clock the test drives: every event goes through its
//! bytes, and after each the books balance.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::command::{Action, AdminAction, AdminCommand, Basis, Command, Matures, Original, Purpose};
use super::event::{Account, Event, Expiry, LotId, RefundMore, Source};
use super::holding::{Holding, LotKey};
use super::ids::{AssetNo, MemberNo, Op, ProgramNo};
use super::later::Later;
use super::original::{Need, Resolved};
use super::own::End;
use super::print::Prints;
use super::reason::Reason;
use super::spec::{
    AlsoAward, AssetKind, AssetSpec, CampaignSpec, DebtPolicy, ExpiryPolicy, Lifetime, OnExhausted, ProgramMore,
    ProgramSpec, Ratio, RoundUp, Rounding, Rule, RuleMore,
};
use super::state::{Ledger, Limits, Moment};
use super::{Decision, Found, codec};

const POINTS: AssetNo = AssetNo::POINTS;
const GROWTH: AssetNo = AssetNo(1);
const STORED: AssetNo = AssetNo(2);
const COUPON: AssetNo = AssetNo(3);
const DAY_US: i64 = 86_400_000_000;
const BEGAN_US: i64 = 1_767_225_600_000_000;

/// What the program says of taking back.
#[derive(Clone, Copy, Debug)]
struct Rules {
    debt: DebtPolicy,
    debt_max: Option<u64>,
    days: Option<u32>,
    grace_days: u32,
}

const OWED: Rules = Rules { debt: DebtPolicy::Debt, debt_max: None, days: None, grace_days: 0 };

fn asset(id: &str, kind: AssetKind, rules: Rules) -> AssetSpec {
    let lifetime = rules.days.map_or(Lifetime::Never, Lifetime::Days);
    let expiry = ExpiryPolicy { lifetime, round_up: RoundUp::Day };
    AssetSpec { id: id.into(), kind, expiry, debt: rules.debt, debt_max: rules.debt_max, ..AssetSpec::points() }
}

/// A point a minor unit and as much growth for a purchase, twice the points by a campaign.
fn spec(rules: Rules) -> ProgramSpec {
    let one = Ratio { numerator: 1, denominator: 1 };
    let also = AlsoAward { asset: GROWTH, rate: Ratio { numerator: 1, denominator: 3 }, rounding: Rounding::Floor };
    let rule = |kind: &str, also| Rule {
        kind: kind.into(),
        rate: Ratio { numerator: 1, denominator: 100 },
        rounding: Rounding::Floor,
        more: Later::new(RuleMore { also, pending: None }),
    };
    ProgramSpec {
        name: "Test".into(),
        currency: "GBP".into(),
        time_zone: "UTC".into(),
        tz_version: String::new(),
        import_mode: true,
        effective_from_us: None,
        greatest_total: Ratio { numerator: 100, denominator: 1 },
        rules: vec![rule("plain", None), rule("purchase", None), rule("grown", Some(also))],
        campaigns: vec![CampaignSpec {
            id: "double".into(),
            start_us: 0,
            end_us: i64::MAX,
            kinds: vec!["purchase".into(), "grown".into()],
            multiplier: Ratio { numerator: 2, denominator: one.denominator },
            group: "g".into(),
            on_exhausted: OnExhausted::Clip,
            cap: None,
            asset: Later::default(),
        }],
        more: Later::new(ProgramMore {
            assets: vec![
                asset("points", AssetKind::Spendable, rules),
                asset("growth", AssetKind::Qualifying, OWED),
                asset("stored", AssetKind::StoredValue, Rules { days: None, ..rules }),
                asset("coupon", AssetKind::Entitlement, rules),
            ],
            grace_days: rules.grace_days,
            ..ProgramMore::default()
        }),
    }
}

struct World {
    ledger: Ledger,
    prints: Prints,
    events: Vec<Vec<u8>>,
    now_us: i64,
}

impl World {
    fn new(rules: Rules) -> Self {
        let ledger = Ledger::new(Limits { members_max: 10, cap_counters_max: 10, lots_bytes_max: usize::MAX });
        let mut world = Self { ledger, prints: Prints::new([5; 32]), events: Vec::new(), now_us: BEGAN_US };
        let spec = Box::new(spec(rules));
        world.admin(AdminAction::PutProgram { expected_version: None, spec, definition: String::new() });
        world.admin(AdminAction::FundCampaign { campaign: "double".into(), points: 1_000_000 });
        world
    }

    fn at(&self) -> Moment {
        Moment { op: self.ledger.newest().next(), book_time_us: self.now_us }
    }

    fn admin(&mut self, action: AdminAction) {
        let at = self.at();
        let key = format!("operator-{}", at.op.0);
        let command = AdminCommand {
            program_id: "p".into(),
            key_print: self.prints.key("p", &key),
            key,
            body_hash: [1; 16],
            actor: "ana".into(),
            reason: "test".into(),
            action,
        };
        let event = self.ledger.decide_admin(&command, at);
        assert_eq!(event.rejection(), None);
        self.book(at, &event);
    }

    fn book(&mut self, at: Moment, event: &Event<'_>) {
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).unwrap();
        let read = codec::decode(&bytes).unwrap();
        assert_eq!(&read, event);
        self.ledger.replay(at, &read, &self.prints).unwrap();
        self.ledger.check_sums().unwrap();
        self.events.push(bytes);
    }

    fn event(&self, op: Op) -> Event<'_> {
        codec::decode(&self.events[usize::try_from(op.0).unwrap() - 1]).unwrap()
    }

    fn settle(&mut self) {
        let next = |world: &Self| {
            let at = world.at();
            world.ledger.due(MemberNo(0), at).or_else(|| world.ledger.crowded(MemberNo(0), at))
        };
        while let Some(event) = next(self) {
            self.book(self.at(), &event);
        }
    }

    fn resolve(&self, command: &Command) -> Option<Resolved> {
        let (op, latest) = match self.ledger.needs(command, &|_| Found::Free) {
            Need::Nothing => return None,
            Need::Hold(op) => return Some(Resolved::Hold(op)),
            Need::Original { op, latest_refund } => (op, latest_refund),
            _ => return Some(Resolved::NotFound),
        };
        let latest = latest.map(|op| (op, self.event(op)));
        let resolved = Resolved::from_events(op, &self.event(op), latest.as_ref().map(|(op, event)| (*op, event)));
        let end = |op, _| Ok::<_, ()>(End::of(op, &self.event(op)));
        Some(resolved.followed(&self.ledger, end).unwrap())
    }

    /// Does something for a member; the op, and why it was refused.
    fn try_for(&mut self, member: &str, action: Action) -> (Op, Option<Reason>) {
        self.settle();
        let at = self.at();
        let key = format!("key-{}", at.op.0);
        let command = Command {
            program: ProgramNo(0),
            key_print: self.prints.key("p", &key),
            key,
            body_hash: [2; 16],
            member: member.into(),
            member_hash: self.prints.member("p", member),
            occurred_at_us: None,
            currency: None,
            notes: None,
            action,
        };
        let resolved = self.resolve(&command);
        let Decision::Event(event) = self.ledger.decide(&command, resolved.as_ref(), at) else { panic!("full") };
        assert_eq!(self.ledger.prove(at, &event, resolved.as_ref(), &self.prints), Ok(()));
        self.book(at, &event);
        let refused = event.rejection().map(|(reason, _)| reason);
        (at.op, refused)
    }

    fn post(&mut self, action: Action) -> Op {
        let (op, refused) = self.try_for("ann", action);
        assert_eq!(refused, None);
        self.settle();
        op
    }

    fn refused(&mut self, action: Action) -> Reason {
        self.try_for("ann", action).1.unwrap()
    }

    fn ann(&self) -> Holding {
        self.ledger.members.holding(MemberNo(0)).unwrap()
    }

    /// What an event moved on the accounts that are not the member's lots, and on the lots in all: issuance, budget,
    /// redemption, cash, breakage, debt, pending, lots.
    fn moved(&self, op: Op, asset: AssetNo) -> [i64; 8] {
        let mut sums = [0; 8];
        for leg in self.event(op).legs().iter().filter(|leg| leg.asset == asset) {
            let place = match leg.account {
                Account::Issuance { .. } => 0,
                Account::Campaign { .. } => 1,
                Account::Redemption { .. } | Account::Adjustment { .. } | Account::Opening { .. } => 2,
                Account::Cash { .. } => 3,
                Account::Breakage { .. } => 4,
                Account::Debt => 5,
                Account::Pending { .. } => 6,
                Account::Available { .. } | Account::Free { .. } | Account::Held { .. } => 7,
                Account::Conversion { .. } | Account::Stock { .. } | Account::Reserved { .. } => 2,
            };
            sums[place] += leg.amount;
        }
        sums
    }

    fn more(&self, op: Op) -> RefundMore {
        let Event::Refunded(refund) = self.event(op) else { panic!("no refund") };
        refund.more.as_deref().cloned().unwrap_or_default()
    }

    fn lots(&self, asset: AssetNo) -> Vec<(LotId, u64)> {
        let holding = self.ann();
        let lots = holding.lots.iter().filter(|lot| lot.key.asset == asset && lot.units() > 0);
        lots.map(|lot| (lot.key.lot, lot.units())).collect()
    }
}

fn earn(kind: &str, amount: u64) -> Action {
    Action::Earn { basis: Basis::Spend(amount), event_kind: Some(kind.into()), asset: POINTS, matures: None }
}

fn pending(kind: &str, amount: u64, matures: Matures) -> Action {
    let (basis, event_kind) = (Basis::Spend(amount), Some(kind.into()));
    Action::Earn { basis, event_kind, asset: POINTS, matures: Some(matures) }
}

fn refund(op: Op, amount: u64) -> Action {
    Action::Refund { original: Original::Op(op), basis: Basis::Spend(amount), event_kind: None }
}

fn redeem(asset: AssetNo, points: u64, purpose: Purpose) -> Action {
    Action::Redeem { asset, points, purpose }
}

fn reverse(op: Op, units: Option<u64>) -> Action {
    Action::Reverse { original: Original::Op(op), units }
}

fn adjust(points: i64) -> Action {
    Action::Adjust { asset: POINTS, points, actor: "ana".into(), reason: "test".into() }
}

fn spent(world: &mut World, points: u64) -> Op {
    world.post(redeem(POINTS, points, Purpose::Gift))
}

#[test]
fn example_7_what_was_spent_is_owed_and_the_next_earn_settles_it() {
    let mut world = World::new(OWED);
    let op = world.post(earn("purchase", 10_000));
    spent(&mut world, 150);
    let refunded = world.post(refund(op, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 100, 0, 0, 0, -150, 0, -50]);
    world.post(earn("plain", 6_000));
    assert_eq!((world.ann().debt(POINTS), world.lots(POINTS)), (90, vec![]));
}

#[test]
fn example_8_thirds_of_a_purchase_come_to_the_whole() {
    let mut world = World::new(OWED);
    let op = world.post(earn("purchase", 10_000));
    for (amount, taken) in [(3_333, 33), (3_333, 33), (3_334, 34)] {
        let refunded = world.post(refund(op, amount));
        assert_eq!(world.moved(refunded, POINTS), [taken, taken, 0, 0, 0, 0, 0, -2 * taken]);
        assert_eq!(world.more(refunded), RefundMore::default(), "it says nothing new");
    }
    assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
}

#[test]
fn example_9_what_lapsed_comes_from_breakage_before_other_lots_and_debt() {
    let rules = Rules { days: Some(10), ..OWED };
    for (other, from_other, owed) in [(0, 0, 50), (200, 50, 0)] {
        let mut world = World::new(rules);
        let op = world.post(earn("purchase", 10_000));
        spent(&mut world, 50);
        world.now_us += 20 * DAY_US;
        if other > 0 {
            world.post(adjust(other));
        }
        let refunded = world.post(refund(op, 10_000));
        assert_eq!(world.moved(refunded, POINTS), [100, 100, 0, 0, -150, -owed, 0, -from_other]);
        assert_eq!(world.more(refunded).lapsed, vec![(POINTS, 150, 150)]);
    }
}

#[test]
fn parts_of_a_refund_take_what_lapsed_once() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let op = world.post(earn("plain", 10_000));
    spent(&mut world, 30);
    world.now_us += 20 * DAY_US;
    world.post(adjust(20));
    let parts = [5_000, 2_500, 2_500].map(|amount| world.post(refund(op, amount)));
    let moved = parts.map(|part| world.moved(part, POINTS));
    assert_eq!(moved, [[50, 0, 0, 0, -50, 0, 0, 0], [25, 0, 0, 0, -20, 0, 0, -5], [25, 0, 0, 0, 0, -10, 0, -15],]);
    assert_eq!(world.more(parts[1]).lapsed, vec![(POINTS, 20, 70)]);
    assert_eq!(world.more(parts[2]).lapsed, vec![(POINTS, 0, 70)]);
}

#[test]
fn a_clamp_lets_campaigns_bear_what_is_missing_and_counts_it_as_taken() {
    let mut world = World::new(Rules { debt: DebtPolicy::Clamp, ..OWED });
    let op = world.post(earn("purchase", 10_000));
    spent(&mut world, 150);
    let refunded = world.post(refund(op, 7_500));
    assert_eq!(world.moved(refunded, POINTS), [50, 0, 0, 0, 0, 0, 0, -50]);
    assert_eq!(world.more(refunded).not_taken, vec![(0, 25), (2, 75)]);
    world.post(earn("plain", 100_000));
    let rest = world.post(refund(op, 2_500));
    assert_eq!(world.moved(rest, POINTS), [25, 25, 0, 0, 0, 0, 0, -50], "what was let go is not asked again");
    assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
}

#[test]
fn debt_ends_at_its_limit_and_what_is_beyond_is_told() {
    let mut world = World::new(Rules { debt_max: Some(60), ..OWED });
    let op = world.post(earn("purchase", 10_000));
    spent(&mut world, 200);
    let first = world.post(refund(op, 2_000));
    assert_eq!(world.moved(first, POINTS), [20, 20, 0, 0, 0, -40, 0, 0]);
    let second = world.post(refund(op, 8_000));
    assert_eq!(world.moved(second, POINTS), [20, 0, 0, 0, 0, -20, 0, 0]);
    assert_eq!(world.more(second).not_taken, vec![(0, 60), (2, 80)]);
}

#[test]
fn reject_takes_all_or_nothing() {
    let mut world = World::new(Rules { debt: DebtPolicy::Reject, ..OWED });
    let op = world.post(earn("purchase", 10_000));
    spent(&mut world, 120);
    assert_eq!(world.refused(refund(op, 5_000)), Reason::RefundNotCovered);
    let refunded = world.post(refund(op, 4_000));
    assert_eq!(world.moved(refunded, POINTS), [40, 40, 0, 0, 0, 0, 0, -80]);
    world.post(earn("plain", 100_000));
    world.post(refund(op, 6_000));
    assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
}

#[test]
fn a_second_award_is_taken_back_in_its_own_asset() {
    let mut world = World::new(OWED);
    let op = world.post(earn("grown", 1_000));
    let first = world.post(refund(op, 500));
    assert_eq!(world.moved(first, POINTS), [5, 5, 0, 0, 0, 0, 0, -10]);
    assert_eq!(world.moved(first, GROWTH), [166, 0, 0, 0, 0, 0, 0, -166]);
    let second = world.post(refund(op, 500));
    assert_eq!(world.moved(second, GROWTH), [167, 0, 0, 0, 0, 0, 0, -167]);
    assert_eq!((world.lots(POINTS), world.lots(GROWTH)), (vec![], vec![]));
    let alone = Action::Refund { original: Original::None, basis: Basis::Spend(300), event_kind: Some("grown".into()) };
    let alone = world.post(alone);
    assert_eq!(world.moved(alone, GROWTH), [100, 0, 0, 0, 0, -100, 0, 0]);
    assert_eq!(world.moved(alone, POINTS), [3, 0, 0, 0, 0, -3, 0, 0], "no bonus without an original");
}

#[test]
fn held_units_are_not_taken() {
    let mut world = World::new(OWED);
    let op = world.post(earn("plain", 10_000));
    world.post(Action::Hold { asset: POINTS, units: 70, until_us: None, purpose: Purpose::Gift });
    let refunded = world.post(refund(op, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 0, 0, 0, 0, -70, 0, -30]);
}

#[test]
fn a_refund_takes_pending_units_first_and_the_rest_matures() {
    let mut world = World::new(Rules { days: Some(100), ..OWED });
    world.post(adjust(500));
    let at = world.now_us + 7 * DAY_US;
    let op = world.post(pending("purchase", 10_000, Matures::At(at)));
    let first = world.post(refund(op, 2_500));
    assert_eq!(world.moved(first, POINTS), [25, 25, 0, 0, 0, 0, -50, 0]);
    world.now_us = at;
    world.settle();
    assert_eq!(world.ann().balances(POINTS).available, 650);
    let second = world.post(refund(op, 7_500));
    assert_eq!(world.moved(second, POINTS), [75, 75, 0, 0, 0, 0, 0, -150]);
    assert_eq!(
        world.lots(POINTS).iter().map(|(lot, units)| (lot.source, *units)).collect::<Vec<_>>(),
        [(Source::Granted, 500)]
    );
}

#[test]
fn activated_units_settle_debt_first_and_are_followed_by_a_refund() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let first = world.post(earn("plain", 3_000));
    spent(&mut world, 30);
    world.post(refund(first, 3_000));
    let op = world.post(pending("purchase", 10_000, Matures::Activated));
    assert_eq!(world.refused(Action::Activate { original: Original::Op(first) }), Reason::NotPending);
    let activated = world.post(Action::Activate { original: Original::Op(op) });
    assert_eq!(world.moved(activated, POINTS), [0, 0, 0, 0, 0, 30, -200, 170]);
    assert_eq!(world.refused(Action::Activate { original: Original::Op(op) }), Reason::NotPending);
    world.now_us += 20 * DAY_US;
    let refunded = world.post(refund(op, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 100, 0, 0, -170, -30, 0, 0], "what lapsed, and what settled debt");
}

#[test]
fn units_that_lapse_while_they_wait_go_to_breakage_when_activated() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let op = world.post(pending("plain", 10_000, Matures::Activated));
    world.now_us += 20 * DAY_US;
    let activated = world.post(Action::Activate { original: Original::Op(op) });
    assert_eq!(world.moved(activated, POINTS), [0, 0, 0, 0, 100, 0, -100, 0]);
    let refunded = world.post(refund(op, 10_000));
    assert_eq!(world.moved(refunded, POINTS), [100, 0, 0, 0, -100, 0, 0, 0]);
}

#[test]
fn a_refund_follows_units_into_the_lot_that_theirs_went_into() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let mut ops = Vec::new();
    for _ in 0..40 {
        // The same source, a lot a day, all alive: more than there may be.
        world.now_us += 3_600_000_000;
        ops.push(world.post(Action::Grant {
            asset: COUPON,
            units: 10,
            lapses_us: Some(world.now_us + 300 * DAY_US + i64::try_from(ops.len()).unwrap() * DAY_US),
        }));
    }
    assert_eq!(world.lots(COUPON).len(), 32);
    for op in ops {
        let undone = world.post(reverse(op, None));
        assert_eq!(world.moved(undone, COUPON), [10, 0, 0, 0, 0, 0, 0, -10]);
    }
    assert_eq!(world.lots(COUPON), vec![]);
}

/// Two lots that lapse one after the other and one that does not, and a hundred spent.
fn example_6(grace_days: u32) -> (World, Op) {
    let mut world = World::new(Rules { days: Some(10), grace_days, ..OWED });
    world.post(earn("plain", 5_000));
    world.now_us += 5 * DAY_US;
    world.post(adjust(80));
    let never = Action::Opening {
        asset: POINTS,
        points: 30,
        lapses_us: Some(BEGAN_US + 1_000 * DAY_US),
        actor: "ana".into(),
        reason: "test".into(),
    };
    world.post(never);
    let op = spent(&mut world, 100);
    world.now_us = BEGAN_US + 12 * DAY_US;
    (world, op)
}

#[test]
fn example_6_what_was_taken_last_comes_back_first_and_what_lapsed_goes_on_to_breakage() {
    let (mut world, op) = example_6(0);
    let undone = world.post(reverse(op, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -100, 0, 50, 0, 0, 50]);
    assert_eq!(world.ann().balances(POINTS).available, 110);
    let (mut world, op) = example_6(0);
    let first = world.post(reverse(op, Some(60)));
    assert_eq!(world.moved(first, POINTS), [0, 0, -60, 0, 10, 0, 0, 50]);
    assert_eq!(world.refused(reverse(op, Some(41))), Reason::ReverseExceedsOriginal);
    let second = world.post(reverse(op, Some(40)));
    assert_eq!(world.moved(second, POINTS), [0, 0, -40, 0, 40, 0, 0, 0]);
    assert_eq!(world.refused(reverse(op, None)), Reason::ReverseExceedsOriginal);
    assert_eq!(world.refused(reverse(second, None)), Reason::NotReversible);
}

#[test]
fn days_of_grace_open_a_lot_for_what_had_lapsed() {
    let (mut world, op) = example_6(3);
    let undone = world.post(reverse(op, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -100, 0, 0, 0, 0, 100]);
    let lapses = world.ann().lot(LotKey { asset: POINTS, lot: world.lots(POINTS)[0].0 }).unwrap().key.lot;
    let minute = u32::try_from((BEGAN_US + 16 * DAY_US) / 60_000_000).unwrap();
    assert_eq!(lapses, LotId { source: Source::Base, expiry: Expiry::At(minute) }, "three whole days more");
}

#[test]
fn undone_spending_settles_debt_first() {
    let mut world = World::new(OWED);
    let op = world.post(earn("plain", 10_000));
    let gift = spent(&mut world, 100);
    world.post(refund(op, 6_000));
    let undone = world.post(reverse(gift, Some(70)));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -70, 0, 0, 60, 0, 10]);
}

#[test]
fn what_was_given_away_and_what_undid_another_is_not_undone() {
    let mut world = World::new(OWED);
    let op = world.post(earn("plain", 10_000));
    let charity = world.post(redeem(POINTS, 10, Purpose::Charity));
    for (named, reason) in [
        (charity, Reason::NotReversible),
        (op, Reason::NotReversible),
        (Op(1), Reason::NotReversible),
        (Op(900), Reason::OriginalNotFound),
    ] {
        assert_eq!(world.refused(reverse(named, None)), reason);
    }
    let gift = spent(&mut world, 10);
    assert_eq!(world.try_for("bob", reverse(gift, None)).1, Some(Reason::MemberUnknown));
    world.try_for("bob", earn("plain", 100));
    assert_eq!(world.try_for("bob", reverse(gift, None)).1, Some(Reason::OriginalOtherMember));
    assert_eq!(
        world.try_for("bob", Action::Activate { original: Original::Op(op) }).1,
        Some(Reason::OriginalOtherMember)
    );
}

#[test]
fn a_capture_is_undone_as_a_redemption_is_and_its_hold_stays_over() {
    let mut world = World::new(OWED);
    world.post(earn("plain", 10_000));
    let hold = world.post(Action::Hold { asset: POINTS, units: 70, until_us: None, purpose: Purpose::Gift });
    let capture = world.post(Action::Capture { hold: Original::Op(hold), units: 40, last: true });
    assert_eq!(world.ann().balances(POINTS).available, 60);
    let undone = world.post(reverse(capture, Some(15)));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -15, 0, 0, 0, 0, 15]);
    assert_eq!(world.refused(reverse(hold, None)), Reason::NotReversible);
    assert_eq!(world.refused(Action::Release { hold: Original::Op(hold) }), Reason::HoldUnknown);
}

#[test]
fn of_a_top_up_the_bonus_goes_in_proportion() {
    let mut world = World::new(Rules { debt: DebtPolicy::Clamp, ..OWED });
    let op = world.post(Action::TopUp { asset: STORED, principal: 1_000, bonus: 101 });
    world.post(redeem(STORED, 500, Purpose::Payment));
    let first = world.post(reverse(op, Some(300)));
    assert_eq!(world.moved(first, STORED), [30, 0, 0, 300, 0, 0, 0, -330]);
    let second = world.post(reverse(op, None));
    assert_eq!(world.moved(second, STORED), [0, 0, 0, 271, 0, 0, 0, -271], "200 of the principal, 71 of the bonus");
    let Event::Reversed(reversed) = world.event(second) else { panic!("no reversal") };
    assert_eq!((reversed.units, reversed.units_total, reversed.not_taken), (700, 1_000, 500));
}

#[test]
fn an_adjustment_is_undone_either_way() {
    let mut world = World::new(Rules { days: Some(10), ..OWED });
    let given = world.post(adjust(100));
    let taken = world.post(adjust(-40));
    let undone = world.post(reverse(taken, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, -40, 0, 0, 0, 0, 40]);
    world.now_us += 20 * DAY_US;
    let undone = world.post(reverse(given, Some(50)));
    assert_eq!(world.moved(undone, POINTS), [0, 0, 50, 0, -50, 0, 0, 0]);
    let undone = world.post(reverse(given, None));
    assert_eq!(world.moved(undone, POINTS), [0, 0, 50, 0, -10, -40, 0, 0], "forty of it had been taken");
}

/// How many of the units of an earn are gone before it is refunded, and in how many parts.
fn split() -> impl Strategy<Value = (u64, u64, Vec<u64>, Rules)> {
    let policy = prop_oneof![Just(DebtPolicy::Debt), Just(DebtPolicy::Clamp)];
    let rules = (policy, any::<bool>()).prop_map(|(debt, lapses)| Rules { debt, days: lapses.then_some(10), ..OWED });
    (1_000_u64..100_000, 0_u64..1_200, prop::collection::vec(1_u64..1_000, 1..12), rules)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn parts_of_a_refund_come_to_the_whole_leg_by_leg((amount, gone, weights, rules) in split()) {
        let sums = |parts: &[u64]| {
            let mut world = World::new(rules);
            let op = world.post(earn("grown", amount));
            let there = u64::try_from(world.ann().balances(POINTS).available).unwrap();
            if gone.min(there) > 0 {
                spent(&mut world, gone.min(there));
            }
            if rules.days.is_some() {
                world.now_us += 20 * DAY_US;
            }
            world.post(adjust(37));
            let mut sums = [[0; 8]; 2];
            for part in parts {
                let refunded = world.post(refund(op, *part));
                for (sum, asset) in sums.iter_mut().zip([POINTS, GROWTH]) {
                    let moved = world.moved(refunded, asset);
                    sum.iter_mut().zip(moved).for_each(|(sum, moved)| *sum += moved);
                }
            }
            assert_eq!(world.refused(refund(op, 1)), Reason::RefundExceedsOriginal);
            if rules.debt == DebtPolicy::Clamp {
                // Who bears what is not taken depends on what was asked when it was missing.
                (sums[0][0], sums[0][1]) = (sums[0][0] + sums[0][1], 0);
            }
            (sums, world.lots(POINTS), world.ann().debts)
        };
        let (weight, mut parts, mut left) = (weights.iter().sum::<u64>(), Vec::new(), amount);
        for share in &weights {
            let part = (amount * share / weight).min(left);
            left -= part;
            parts.extend(Some(part).filter(|part| *part > 0));
        }
        parts.extend(Some(left).filter(|left| *left > 0));
        prop_assert_eq!(sums(&parts), sums(&[amount]));
    }

    #[test]
    fn parts_of_a_reversal_come_to_the_whole(weights in prop::collection::vec(1_u64..40, 1..8), grace_days in 0_u32..3) {
        let after = |parts: &[u64]| {
            let (mut world, op) = example_6(grace_days);
            let mut sum = [0; 8];
            for part in parts {
                let undone = world.post(reverse(op, Some(*part)));
                sum.iter_mut().zip(world.moved(undone, POINTS)).for_each(|(sum, moved)| *sum += moved);
            }
            assert_eq!(world.refused(reverse(op, None)), Reason::ReverseExceedsOriginal);
            (sum, world.lots(POINTS))
        };
        let (mut parts, mut left) = (Vec::new(), 100);
        for part in weights {
            let part = part.min(left);
            left -= part;
            parts.extend(Some(part).filter(|part| *part > 0));
        }
        parts.extend(Some(left).filter(|left| *left > 0));
        prop_assert_eq!(after(&parts), after(&[100]));
    }
}
