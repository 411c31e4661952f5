//! Units that go from one member to another, within a program and between two, members who become one, and several commands as
//! one.

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, AdminAction, Matures, Original, Purpose, Standing};
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};
use stampbook::ledger::later::Later;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{ConversionRate, DebtPolicy, Lifetime, ProgramMore};

use super::legs;
use super::till::{Till, at, earn, hold, minute, points, redeem, refund, rules_of, standing};
use model::book::{Posted, Said};
use model::rules::{COUPON, GROWTH, NEVER, WALLET, living, put};

const JAN: &str = "2026-02-01T00:00";
const MAR: &str = "2026-04-01T00:00";

fn unlapsing() -> ProgramMore {
    points(NEVER, DebtPolicy::Debt, None)
}

/// Posts for a member of a program under a key of its own.
fn post(till: &mut Till, (program, member): (usize, &str), action: Action) -> (Op, Said) {
    let key = format!("mover-{}", till.book.shelf.events.len());
    let mut command = till.book.command(program, &key, member, action);
    till.book.fill_parts(&mut command);
    let posted = till.book.post(&command, till.now_us);
    let Posted::Fresh(op) = posted else { panic!("{posted:?}") };
    (op, till.book.said(op))
}

pub(crate) fn done(till: &mut Till, of: (usize, &str), action: Action) -> (Op, Said) {
    let (op, said) = post(till, of, action);
    assert_eq!(said.refused, None);
    (op, said)
}

fn refused(till: &mut Till, of: (usize, &str), action: Action) -> Reason {
    post(till, of, action).1.refused.expect("it is refused").0
}

/// Brings points over for a member of the first program.
fn lot(till: &mut Till, member: &str, points: i64, lapses: Option<&str>) {
    let (actor, reason, lapses_us) = ("ana".to_owned(), "moved in".to_owned(), lapses.map(at));
    done(till, (0, member), Action::Opening { asset: AssetNo::POINTS, points, lapses_us, actor, reason });
}

fn give(till: &Till, to: &str, asset: AssetNo, units: u64) -> Action {
    Action::Transfer { to: till.book.named(0, to), asset, units }
}

pub(crate) fn give_points(till: &Till, to: &str, units: u64) -> Action {
    give(till, to, AssetNo::POINTS, units)
}

/// What an event did on the other member's side.
fn received(said: &Said) -> &BTreeMap<String, i128> {
    &said.other.as_ref().expect("two members").legs
}

fn spendable(till: &Till, program: usize, member: &str) -> (i64, i64) {
    let balances = till.book.balances(program, member).unwrap();
    (balances.available, balances.debt)
}

/// A till whose ann has 50 points of January, 80 of March, and 30 that never lapse.
fn mixed() -> Till {
    let mut till = Till::new(unlapsing());
    till.lot(50, Some(JAN));
    till.lot(80, Some(MAR));
    till.lot(30, None);
    till
}

fn dated(member: &str, source: &str, lapses: &str) -> String {
    format!("member/{member}/{source}@{}", minute(lapses))
}

#[test]
fn what_is_given_away_leaves_soonest_lapse_first_and_keeps_its_dates() {
    let mut till = mixed();
    let action = give_points(&till, "bob", 140);
    let (_, said) = till.done(action);
    let (jan, mar) = (dated("ann", "opening", JAN), dated("ann", "opening", MAR));
    let gone = [(jan.as_str(), -50), (mar.as_str(), -80), ("member/ann/opening", -10)];
    assert_eq!((said.legs.clone(), said.after), (legs(&gone), (20, 0)));
    let (jan, mar) = (dated("bob", "transferred", JAN), dated("bob", "transferred", MAR));
    let come = [(jan.as_str(), 50), (mar.as_str(), 80), ("member/bob/transferred", 10)];
    assert_eq!(*received(&said), legs(&come));
    till.on("2026-02-15T12:00");
    till.book.sweep(0, "bob", till.now_us);
    assert_eq!(spendable(&till, 0, "bob"), (90, 0));
}

#[test]
fn what_is_given_settles_what_the_receiver_owes_by_its_first_units() {
    let mut till = mixed();
    lot(&mut till, "bob", -60, None);
    let action = give_points(&till, "bob", 100);
    let (_, said) = till.done(action);
    let mar = dated("bob", "transferred", MAR);
    assert_eq!(*received(&said), legs(&[("member/bob/debt", 60), (&mar, 40)]));
    assert_eq!(spendable(&till, 0, "bob"), (40, 0));
}

#[test]
fn what_was_given_away_counts_as_spent_when_its_purchase_is_refunded() {
    let mut till = Till::new(unlapsing());
    let (bought, _) = till.done(earn(100, None));
    let action = give_points(&till, "bob", 70);
    till.done(action);
    let (_, said) = till.done(refund(bought, 100));
    assert_eq!(said.legs, legs(&[("issuance", 100), ("member/ann/base", -30), ("member/ann/debt", -70)]));
    assert_eq!(spendable(&till, 0, "bob"), (70, 0));
}

#[test]
fn rolling_units_live_as_long_with_the_receiver_as_his_own_or_else_as_they_did() {
    let mut till = Till::new(points(living(Lifetime::RollingDays(10)), DebtPolicy::Debt, None));
    till.done(earn(50, None));
    till.on("2026-01-05T12:00");
    done(&mut till, (0, "bob"), earn(1, None));
    let mut until = |to: &str| {
        let action = give_points(&till, to, 5);
        till.done(action).1.other.unwrap().untils[&0]
    };
    assert_eq!(until("bob"), minute("2026-01-16T00:00").into());
    assert_eq!(until("cid"), minute("2026-01-12T00:00").into());
}

#[test]
fn who_may_not_give_and_who_may_not_take_is_refused_and_nothing_moves() {
    let mut till = mixed();
    till.done(Action::TopUp { asset: WALLET, principal: 50, bonus: 0 });
    till.done(Action::Grant { asset: COUPON, units: 2, lapses_us: None });
    for (to, asset, units, reason) in [
        ("ann", AssetNo::POINTS, 1, Reason::SelfTransfer),
        ("bob", AssetNo::POINTS, 161, Reason::InsufficientPoints),
        ("bob", WALLET, 1, Reason::AssetKindMismatch),
        ("bob", GROWTH, 1, Reason::AssetKindMismatch),
    ] {
        let action = give(&till, to, asset, units);
        assert_eq!(till.refused(action), reason);
    }
    assert!(till.book.balances(0, "bob").is_none(), "a refused transfer creates nobody");
    let action = give(&till, "bob", COUPON, 1);
    till.done(action);
    done(&mut till, (0, "bob"), standing(Standing::Closed));
    let action = give_points(&till, "bob", 1);
    assert_eq!(till.refused(action), Reason::MemberClosed);
    let action = give_points(&till, "ann", 1);
    assert_eq!(refused(&mut till, (0, "nobody"), action), Reason::MemberUnknown);
    till.done(standing(Standing::Frozen));
    let action = give_points(&till, "cid", 1);
    assert_eq!(till.refused(action), Reason::MemberFrozen);
    done(&mut till, (0, "dan"), earn(1, None));
    let action = give_points(&till, "ann", 1);
    done(&mut till, (0, "dan"), action);
    assert_eq!(spendable(&till, 0, "ann"), (161, 0));
}

fn rate(to: &str, units: u64, to_units: u64) -> ConversionRate {
    let (to, to_asset) = (to.to_owned(), "points".to_owned());
    ConversionRate { to, asset: AssetNo::POINTS, to_asset, units, to_units }
}

/// A till of two programs: three points of the first are two of the second, and one of the second is one of the first.
/// What comes into the second lapses after ten days.
fn two_programs() -> Till {
    let own = ProgramMore {
        conversions: vec![rate("night-market", 3, 2)],
        accepts_from: vec!["night-market".to_owned()],
        ..unlapsing()
    };
    let mut till = Till::new(own);
    open_market(&mut till, vec!["high-street".to_owned()]);
    till.lot(200, None);
    till
}

fn open_market(till: &mut Till, accepts_from: Vec<String>) {
    let lapsing = points(living(Lifetime::Days(10)), DebtPolicy::Debt, None);
    let more = ProgramMore { conversions: vec![rate("high-street", 1, 1)], accepts_from, ..lapsing };
    let mut spec = rules_of(ProgramMore::default());
    spec.more = Later::new(more);
    let key = format!("market-{}", till.book.shelf.events.len());
    let command = till.book.admin("night-market", &key, put(spec));
    assert!(matches!(till.book.post_admin(&command, till.now_us), Posted::Fresh(_)));
}

fn convert(till: &Till, to_program: usize, to: &str, units: u64) -> Action {
    Action::Convert {
        to_program: ProgramNo(u16::try_from(to_program).unwrap()),
        to: till.book.named(to_program, to),
        asset: AssetNo::POINTS,
        to_asset: AssetNo::POINTS,
        units,
    }
}

#[test]
fn a_conversion_takes_whole_units_and_each_program_settles_with_the_other() {
    let mut till = two_programs();
    let action = convert(&till, 1, "ann", 100);
    let (_, said) = till.done(action);
    assert_eq!(said.legs, legs(&[("member/ann/opening", -99), ("conversion/night-market", 99)]));
    let lapsing = dated("ann", "transferred", "2026-01-12T00:00");
    assert_eq!(*received(&said), legs(&[("conversion/high-street", -66), (&lapsing, 66)]));
    assert_eq!((said.more["asked"], said.more["units"], said.more["to units"]), (100, 99, 66));
    // And back, to somebody else.
    let action = convert(&till, 0, "bob", 66);
    let (_, said) = done(&mut till, (1, "ann"), action);
    assert_eq!(said.legs, legs(&[(&lapsing, -66), ("conversion/high-street", 66)]));
    assert_eq!(*received(&said), legs(&[("conversion/night-market", -66), ("member/bob/transferred", 66)]));
    let settled = |program: usize, account: &str| {
        let trial = till.book.ledger.trial_balance();
        trial[program].rows.iter().find(|row| row.account == account).map_or(0, |row| row.balance)
    };
    assert_eq!((settled(0, "conversion/night-market"), settled(1, "conversion/high-street")), (33, 0));
    till.book.ledger.check_sums().unwrap();
}

#[test]
fn what_is_received_had_lapsed_if_the_conversion_comes_that_late() {
    let mut till = two_programs();
    till.on("2026-02-01T12:00");
    let action = convert(&till, 1, "ann", 3);
    let mut command = till.book.command(0, "late", "ann", action);
    command.occurred_at_us = Some(at("2026-01-05T12:00"));
    let Posted::Fresh(op) = till.book.post(&command, till.now_us) else { panic!("it is new") };
    let said = till.book.said(op);
    assert_eq!(*received(&said), legs(&[("conversion/high-street", -2), ("breakage", 2)]));
    assert_eq!((said.more["lapsed"], spendable(&till, 1, "ann")), (2, (0, 0)));
}

#[test]
fn a_conversion_needs_a_rate_on_one_side_and_consent_on_the_other() {
    let mut till = two_programs();
    let of = |till: &Till, units: u64, asset, to_asset| {
        let Action::Convert { to_program, to, .. } = convert(till, 1, "ann", 1) else { unreachable!() };
        Action::Convert { to_program, to, asset, to_asset, units }
    };
    for (asset, to_asset, units, reason) in [
        (AssetNo::POINTS, AssetNo::POINTS, 2, Reason::ConversionTooSmall),
        (AssetNo::POINTS, AssetNo::POINTS, 204, Reason::InsufficientPoints),
        (AssetNo::POINTS, model::rules::STARS, 3, Reason::ConversionUnknown),
        (WALLET, AssetNo::POINTS, 3, Reason::AssetKindMismatch),
        (AssetNo::POINTS, COUPON, 3, Reason::AssetKindMismatch),
    ] {
        let action = of(&till, units, asset, to_asset);
        assert_eq!(till.refused(action), reason, "{asset:?} {to_asset:?} {units}");
    }
    open_market(&mut till, Vec::new());
    let action = convert(&till, 1, "ann", 3);
    assert_eq!(till.refused(action), Reason::ConversionNotAccepted);
    assert_eq!(spendable(&till, 0, "ann"), (200, 0));
}

pub(crate) fn merge(till: &Till, into: &str) -> Action {
    let (actor, reason) = ("ana".to_owned(), "the same person".to_owned());
    Action::Merge { into: till.book.named(0, into), actor, reason }
}

#[test]
fn what_a_member_has_goes_with_its_dates_into_another_and_settles_the_debt_of_both() {
    let mut till = mixed();
    lot(&mut till, "ann", -20, None);
    lot(&mut till, "bob", 5, None);
    lot(&mut till, "bob", -70, None);
    let action = merge(&till, "bob");
    let (_, said) = till.done(action);
    let (jan, mar) = (dated("ann", "opening", JAN), dated("ann", "opening", MAR));
    let gone = [(jan.as_str(), -50), (mar.as_str(), -80), ("member/ann/opening", -30), ("member/ann/debt", 20)];
    assert_eq!((said.legs.clone(), said.after), (legs(&gone), (0, 0)));
    // 50 of January and 40 of March pay both debts; what bob had is untouched.
    let mar = dated("bob", "opening", MAR);
    let come = [(mar.as_str(), 40), ("member/bob/opening", 30), ("member/bob/debt", 70)];
    assert_eq!(*received(&said), legs(&come));
    assert_eq!(spendable(&till, 0, "bob"), (75, 0));
    assert_eq!(spendable(&till, 0, "ann"), (75, 0), "the id leads to who stays");
}

#[test]
fn a_debt_that_comes_with_nothing_is_paid_from_what_the_other_has() {
    let mut till = Till::new(unlapsing());
    till.lot(-40, None);
    lot(&mut till, "bob", 15, Some(JAN));
    lot(&mut till, "bob", 10, None);
    let action = merge(&till, "bob");
    let (_, said) = till.done(action);
    let jan = dated("bob", "opening", JAN);
    let come = [(jan.as_str(), -15), ("member/bob/opening", -10), ("member/bob/debt", -15)];
    assert_eq!((said.legs.clone(), received(&said).clone()), (legs(&[("member/ann/debt", 40)]), legs(&come)));
}

#[test]
fn what_is_held_and_pending_goes_on_with_who_stays_and_a_purchase_from_before_is_refunded_there() {
    let mut till = Till::new(unlapsing());
    let (bought, _) = till.done(earn(10, None));
    let (waits, _) = till.done(earn(7, Some(Matures::Activated)));
    let (held, _) = till.done(hold(4, "2026-01-20T12:00"));
    done(&mut till, (0, "bob"), earn(100, None));
    let action = merge(&till, "bob");
    let (_, said) = till.done(action);
    let pending = |member: &str| format!("member/{member}/base/pending/{}", waits.0);
    let (own, come) = (pending("ann"), pending("bob"));
    assert_eq!(said.legs, legs(&[("member/ann/base", -6), ("member/ann/base/held", -4), (&own, -7)]));
    assert_eq!(*received(&said), legs(&[("member/bob/base", 6), ("member/bob/base/held", 4), (&come, 7)]));
    assert_eq!(said.other.as_ref().unwrap().after[&0], [106, 4, 7, 0]);
    // Under either id.
    let (_, said) = done(&mut till, (0, "ann"), Action::Capture { hold: Original::Op(held), units: 1, last: true });
    assert_eq!(said.legs, legs(&[("member/bob/base", 3), ("member/bob/base/held", -4), ("redemption/gift", 1)]));
    let (_, said) = done(&mut till, (0, "bob"), refund(bought, 10));
    assert_eq!(said.legs, legs(&[("issuance", 10), ("member/bob/base", -10)]));
    let (_, said) = done(&mut till, (0, "bob"), Action::Activate { original: Original::Op(waits) });
    assert_eq!(said.after, (106, 0));
}

#[test]
fn an_id_leads_on_through_every_merge_and_goes_into_none_again() {
    let mut till = Till::new(unlapsing());
    let (bought, _) = till.done(earn(10, None));
    done(&mut till, (0, "bob"), earn(20, None));
    done(
        &mut till,
        (0, "cid"),
        Action::MemberSet { joined_day: Some(20_000), add: vec!["gold".to_owned()], remove: vec![] },
    );
    done(&mut till, (0, "cid"), standing(Standing::Frozen));
    let action = merge(&till, "bob");
    till.done(action);
    let action = merge(&till, "cid");
    done(&mut till, (0, "bob"), action);
    assert_eq!(spendable(&till, 0, "ann"), (30, 0));
    let action = merge(&till, "bob");
    assert_eq!(till.refused(action), Reason::SelfTransfer);
    done(&mut till, (0, "dan"), earn(1, None));
    let action = merge(&till, "dan");
    assert_eq!(till.refused(action), Reason::MemberMerged);
    assert_eq!(till.refused(redeem(1)), Reason::MemberFrozen);
    assert_eq!(till.done(refund(bought, 10)).1.after, (20, 0));
}

/// Commands as parts of one.
fn checkout(till: &Till, actions: Vec<Action>) -> Action {
    Action::Checkout { parts: actions.into_iter().map(|action| till.book.command(0, "", "ann", action)).collect() }
}

fn mug(stocked: i64) -> AdminAction {
    let (sku, name, asset) = ("mug".to_owned(), "A mug".to_owned(), "points".to_owned());
    AdminAction::PutReward { sku, name, asset, price: 15, open: true, stocked }
}

/// What an order is paid with, and what it earns.
fn order(till: &Till, pay: u64) -> Action {
    checkout(
        till,
        vec![
            redeem(40),
            Action::Redeem { asset: WALLET, points: pay, purpose: Purpose::Payment },
            Action::Redeem { asset: COUPON, points: 1, purpose: Purpose::Use },
            Action::Claim { sku: "mug".to_owned(), pieces: 2, purpose: Purpose::Gift },
            earn(25, None),
        ],
    )
}

#[test]
fn an_order_of_several_commands_is_done_whole_and_its_refund_takes_back_what_it_earned() {
    let mut till = Till::new(unlapsing());
    till.lot(100, None);
    till.done(Action::TopUp { asset: WALLET, principal: 900, bonus: 0 });
    till.done(Action::Grant { asset: COUPON, units: 1, lapses_us: None });
    till.operator(mug(2));
    let state = till.book.ledger.state_hash();
    let before = till.book.shelf.events.len();
    let action = order(&till, 901);
    assert_eq!(till.refused(action), Reason::InsufficientPoints);
    let said = till.since(before);
    assert_eq!(said.len(), 1, "what its first part did is undone");
    assert_eq!(said[0].refused.as_ref().unwrap().1, "checkout.parts[1].redeem.points");
    assert_ne!(till.book.ledger.state_hash(), state, "that it was refused is remembered");
    let before = till.book.shelf.events.len();
    let key = format!("order-{before}");
    let action = order(&till, 900);
    let mut command = till.book.command(0, &key, "ann", action);
    till.book.fill_parts(&mut command);
    let Posted::Fresh(op) = till.book.post(&command, till.now_us) else { panic!("it is new") };
    let said = till.since(before);
    let [spent, paid, used, claimed, earned, closed] = &said[..] else { panic!("{said:?}") };
    assert_eq!(spent.legs, legs(&[("member/ann/opening", -40), ("redemption/gift", 40)]));
    assert_eq!(paid.legs, legs(&[("2:member/ann/base", -900), ("2:redemption/payment", 900)]));
    assert_eq!(used.legs, legs(&[("3:member/ann/granted", -1), ("3:redemption/use", 1)]));
    let pieces = [("255:reward/mug", -2), ("255:redemption/gift", 2)];
    let expected = [("member/ann/opening", -30), ("redemption/gift", 30)];
    assert_eq!(claimed.legs, legs(&[&pieces[..], &expected[..]].concat()));
    assert_eq!(earned.legs, legs(&[("issuance", -25), ("member/ann/base", 25)]));
    assert_eq!((closed.what.as_str(), closed.more["earn"], closed.after), ("checked out", 5, (55, 0)));
    assert_eq!(till.book.post(&command, till.now_us), Posted::Replayed(op));
    let (_, said) = till.done(refund(op, 25));
    assert_eq!(said.legs, legs(&[("issuance", 25), ("member/ann/base", -25)]));
    // What was bought is brought back by the part.
    let part = Op(op.0 - 2);
    let (_, said) = till.done(Action::Reverse { original: Original::Op(part), units: Some(29) });
    let expected = [("255:redemption/gift", -1), ("255:reward/mug", 1), ("redemption/gift", -29)];
    assert_eq!(said.legs, legs(&[&expected[..], &[("member/ann/opening", 29)]].concat()));
}
