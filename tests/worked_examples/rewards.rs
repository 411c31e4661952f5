//! Rewards: bought, reserved and brought back, by the piece.

use proptest::prelude::*;
use stampbook::ledger::command::{Action, AdminAction, Purpose};
use stampbook::ledger::event::{Claimed, Event, Legs};
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};
use stampbook::ledger::later::Later;
use stampbook::ledger::reason::Reason;
use stampbook::ledger::spec::{DebtPolicy, Offset, ProgramMore};
use stampbook::ledger::{Ledger, codec};

use super::till::{Till, capture, hold, points, release, reverse};
use model::book::images::Images;
use model::book::{ROOMY, Said};
use model::rules::NEVER;

const PRICE: u64 = 100;

pub(super) fn unlapsing() -> ProgramMore {
    points(NEVER, DebtPolicy::Debt, None)
}

/// A mug for 100 points.
pub(super) fn mug(stocked: i64, open: bool) -> AdminAction {
    let (sku, name, asset) = ("mug".to_owned(), "A mug".to_owned(), "points".to_owned());
    AdminAction::PutReward { sku, name, asset, price: PRICE, open, stocked }
}

/// A till with so many mugs, whose member has 1,000 points.
pub(super) fn stocked(more: ProgramMore, mugs: i64) -> Till {
    let mut till = Till::new(more);
    till.operator(mug(mugs, true));
    till.lot(1_000, None);
    till
}

pub(super) fn claim(pieces: u64) -> Action {
    Action::Claim { sku: "mug".to_owned(), pieces, purpose: Purpose::Gift }
}

fn reserve(pieces: u64) -> Action {
    Action::Reserve { sku: "mug".to_owned(), pieces, until_us: None, purpose: Purpose::Gift }
}

/// Mugs that are left, reserved and bought. In all they are those that were put in.
pub(super) fn mugs(till: &Till) -> [i64; 3] {
    till.book.ledger.check_sums().unwrap();
    let view = till.book.ledger.rewards(ProgramNo(0)).remove(0);
    let trial = till.book.ledger.trial_balance().remove(0);
    let rows = trial.rows.iter().filter(|row| row.asset == "pieces");
    let of = |account: &str| rows.clone().find(|row| row.account == account).map_or(0, |row| row.balance);
    assert_eq!((of("reward/mug"), of("reward/mug/reserved")), (view.left, view.reserved));
    assert_eq!(rows.clone().map(|row| row.balance).sum::<i64>(), 0);
    [view.left, view.reserved, of("redemption/gift")]
}

fn spendable(till: &mut Till) -> i64 {
    till.book.balances(0, "ann").unwrap().available
}

/// Puts a reward and says why it was refused.
pub(super) fn refused(till: &mut Till, action: AdminAction) -> Option<(Reason, String)> {
    let key = format!("put-{}", till.book.shelf.events.len());
    let command = till.book.admin("high-street", &key, action);
    till.book.post_admin(&command, till.now_us);
    till.book.said(Op(u64::try_from(till.book.shelf.events.len()).unwrap())).refused
}

#[test]
fn what_is_claimed_costs_its_price_and_leaves_the_stock_in_one_event() {
    let mut till = stocked(unlapsing(), 5);
    let before = till.book.shelf.events.len();
    till.done(claim(3));
    assert_eq!(till.book.shelf.events.len(), before + 1);
    assert_eq!((mugs(&till), spendable(&mut till)), ([2, 0, 3], 700));
}

#[test]
fn what_cannot_be_claimed_is_refused_and_moves_nothing() {
    let mut till = stocked(unlapsing(), 20);
    let of = |sku: &str| Action::Claim { sku: sku.to_owned(), pieces: 1, purpose: Purpose::Gift };
    assert_eq!(till.refused(of("cap")), Reason::RewardUnknown);
    assert_eq!(till.refused(claim(21)), Reason::OutOfStock);
    assert_eq!(till.refused(reserve(21)), Reason::OutOfStock);
    assert_eq!(till.refused(claim(11)), Reason::InsufficientPoints);
    till.operator(mug(0, false));
    assert_eq!(till.refused(claim(1)), Reason::RewardClosed);
    assert_eq!(till.refused(reserve(1)), Reason::RewardClosed);
    assert_eq!((mugs(&till), spendable(&mut till)), ([20, 0, 0], 1_000));
}

#[test]
fn what_comes_to_more_points_than_one_command_moves_is_refused() {
    let mut till = stocked(unlapsing(), 2);
    let (sku, name, asset) = ("car".to_owned(), "A car".to_owned(), "points".to_owned());
    till.operator(AdminAction::PutReward { sku, name, asset, price: 1_000_000_000_000, open: true, stocked: 2 });
    let cars = |pieces| Action::Claim { sku: "car".to_owned(), pieces, purpose: Purpose::Gift };
    assert_eq!(till.refused(cars(2)), Reason::AmountOverflow);
    assert_eq!(till.refused(cars(1)), Reason::InsufficientPoints);
}

#[test]
fn a_claim_undone_in_parts_brings_pieces_back_by_whole_ones_and_the_last_part_the_rest() {
    let mut till = stocked(unlapsing(), 3);
    let (op, _) = till.done(claim(3));
    let mut left = Vec::new();
    for units in [99, 1, 150, 49, 1] {
        till.done(reverse(op, Some(units)));
        left.push(mugs(&till)[0]);
    }
    assert_eq!(left, [0, 1, 2, 2, 3]);
    assert_eq!(till.refused(reverse(op, None)), Reason::ReverseExceedsOriginal);
    assert_eq!((mugs(&till), spendable(&mut till)), ([3, 0, 0], 1_000));
}

#[test]
fn a_reward_off_offer_or_at_another_price_takes_back_what_was_bought_of_it() {
    let mut till = stocked(unlapsing(), 3);
    let (op, _) = till.done(claim(2));
    let (sku, name, asset) = ("mug".to_owned(), "Mug".to_owned(), "points".to_owned());
    till.operator(AdminAction::PutReward { sku, name, asset, price: 7, open: false, stocked: -1 });
    assert_eq!(mugs(&till), [0, 0, 2]);
    till.done(reverse(op, None));
    assert_eq!((mugs(&till), spendable(&mut till)), ([2, 0, 0], 1_000));
}

#[test]
fn what_a_charity_got_does_not_come_back() {
    let mut till = stocked(unlapsing(), 3);
    let (op, _) = till.done(Action::Claim { sku: "mug".to_owned(), pieces: 1, purpose: Purpose::Charity });
    assert_eq!(till.refused(reverse(op, None)), Reason::NotReversible);
}

#[test]
fn a_hold_reserves_pieces_and_its_release_brings_them_back() {
    let mut till = stocked(unlapsing(), 3);
    let (op, _) = till.done(reserve(2));
    assert_eq!((mugs(&till), spendable(&mut till)), ([1, 2, 0], 800));
    assert_eq!(till.refused(claim(2)), Reason::OutOfStock);
    till.done(release(op));
    assert_eq!((mugs(&till), spendable(&mut till)), ([3, 0, 0], 1_000));
}

#[test]
fn a_hold_that_ends_at_its_deadline_brings_its_pieces_back() {
    let mut till = stocked(unlapsing(), 3);
    till.done(reserve(3));
    till.on("2026-02-15T12:00").sweep();
    assert_eq!((mugs(&till), spendable(&mut till)), ([3, 0, 0], 1_000));
}

#[test]
fn a_capture_takes_whole_pieces_and_what_it_lets_go_returns_to_the_stock() {
    let mut till = stocked(unlapsing(), 4);
    let (op, _) = till.done(reserve(4));
    assert_eq!(till.refused(capture(op, 150, false)), Reason::NotWholePieces);
    let (first, _) = till.done(capture(op, 100, false));
    assert_eq!(mugs(&till), [0, 3, 1]);
    let (second, _) = till.done(capture(op, 200, true));
    assert_eq!((mugs(&till), spendable(&mut till)), ([1, 0, 3], 700));
    till.done(reverse(first, None));
    till.done(reverse(second, Some(100)));
    assert_eq!((mugs(&till), spendable(&mut till)), ([3, 0, 1], 900));
    assert_eq!(till.refused(release(op)), Reason::HoldUnknown);
}

#[test]
fn a_hold_keeps_its_price_when_the_reward_gets_another() {
    let mut till = stocked(unlapsing(), 4);
    let (op, _) = till.done(reserve(2));
    let (sku, name, asset) = ("mug".to_owned(), "Mug".to_owned(), "points".to_owned());
    till.operator(AdminAction::PutReward { sku, name, asset, price: 30, open: false, stocked: 0 });
    till.done(capture(op, 100, false));
    till.done(release(op));
    assert_eq!((mugs(&till), spendable(&mut till)), ([3, 0, 1], 900));
}

#[test]
fn what_points_are_worth_against_a_price_does_not_change_what_a_reward_costs() {
    let more = ProgramMore { offset: Some(Offset { points: 150, minor: 100 }), ..unlapsing() };
    let mut till = stocked(more, 4);
    till.done(Action::Claim { sku: "mug".to_owned(), pieces: 2, purpose: Purpose::CashOffset });
    assert_eq!(spendable(&mut till), 800);
}

#[test]
fn a_reward_is_put_only_as_it_can_be() {
    let mut till = stocked(unlapsing(), 3);
    let asset = |asset: &str, stocked| {
        let (sku, name, asset) = ("mug".to_owned(), "A mug".to_owned(), asset.to_owned());
        AdminAction::PutReward { sku, name, asset, price: PRICE, open: true, stocked }
    };
    let said = |reason, field: &str| Some((reason, field.to_owned()));
    assert_eq!(refused(&mut till, asset("gems", 0)), said(Reason::AssetUnknown, "asset"));
    assert_eq!(refused(&mut till, asset("growth", 0)), said(Reason::AssetKindMismatch, "asset"));
    assert_eq!(refused(&mut till, mug(-4, true)), said(Reason::OutOfStock, "stocked"));
    let (op, _) = till.done(reserve(1));
    assert_eq!(refused(&mut till, asset("stars", 0)), said(Reason::RewardReserved, "asset"));
    assert_eq!(refused(&mut till, mug(-3, true)), said(Reason::OutOfStock, "stocked"));
    till.done(release(op));
    assert_eq!(refused(&mut till, asset("stars", -1)), None);
    assert_eq!(mugs(&till), [2, 0, 0]);
    assert_eq!(till.refused(claim(1)), Reason::InsufficientPoints, "it costs stars now");
}

#[test]
fn a_program_has_at_most_1024_rewards() {
    let mut till = Till::new(unlapsing());
    let reward = |number: usize| {
        let (sku, name, asset) = (format!("r{number}"), "R".to_owned(), "points".to_owned());
        AdminAction::PutReward { sku, name, asset, price: 1, open: true, stocked: 0 }
    };
    (0..1_024).for_each(|number| till.operator(reward(number)));
    assert_eq!(refused(&mut till, reward(1_024)), Some((Reason::LimitReached, "reward".to_owned())));
    assert_eq!(refused(&mut till, reward(1_023)), None);
}

/// The same state from its images.
pub(super) fn loaded(till: &mut Till) -> Ledger {
    Images::whole(&mut till.book.ledger).load(&till.book).unwrap()
}

#[test]
fn rewards_and_what_holds_reserve_are_the_same_from_their_images() {
    let mut till = stocked(unlapsing(), 9);
    till.done(claim(2));
    let (held, _) = till.done(reserve(3));
    till.done(capture(held, 100, false));
    till.done(hold(50, "2026-01-20T12:00"));
    let ledger = loaded(&mut till);
    ledger.check_sums().unwrap();
    assert_eq!(ledger.state_hash(), till.book.ledger.state_hash());
    assert_eq!(ledger.rewards(ProgramNo(0)), till.book.ledger.rewards(ProgramNo(0)));
    assert_eq!(ledger.trial_balance(), till.book.ledger.trial_balance());
    till.book.ledger = ledger;
    till.done(release(held));
    till.done(claim(1));
    assert_eq!(mugs(&till), [5, 0, 4]);
}

#[test]
fn what_an_atomic_batch_moved_of_rewards_is_undone_with_it() {
    let mut till = stocked(unlapsing(), 9);
    let (bought, _) = till.done(claim(2));
    let (held, _) = till.done(reserve(3));
    let (hash, shelf) = (till.book.ledger.state_hash(), till.book.shelf.clone());
    till.book.ledger.begin_undo();
    till.done(claim(1));
    till.done(reserve(2));
    till.done(capture(held, 100, true));
    till.done(reverse(bought, Some(150)));
    assert_eq!(mugs(&till), [4, 2, 3]);
    till.book.ledger.roll_back();
    till.book.shelf = shelf;
    assert_eq!(mugs(&till), [4, 3, 2]);
    assert_eq!(till.book.ledger.state_hash(), hash);
    till.done(capture(held, 300, false));
    assert_eq!(mugs(&till), [4, 0, 5]);
}

/// What happens to mugs at random: which of seven things, of how many, and to what.
type Step = (u8, u64, usize);

/// Mugs that were put in, and what was bought of them: the op, its units, and those undone so far.
#[derive(Default)]
struct Told {
    stocked: i64,
    bought: Vec<(Op, u64, u64)>,
    holds: Vec<(Op, u64)>,
    open: bool,
}

impl Told {
    /// Pieces that are bought and not brought back.
    fn kept(&self) -> u64 {
        self.bought.iter().map(|(_, units, undone)| units / PRICE - undone / PRICE).sum()
    }

    fn step(&mut self, till: &mut Till, (what, pieces, which): Step) {
        let why = |said: &Said| said.refused.as_ref().map(|(reason, _)| *reason);
        match what {
            0 | 1 => {
                let (op, said) = till.post(claim(pieces));
                if why(&said).is_none() {
                    self.bought.push((op, pieces * PRICE, 0));
                }
            }
            2 => {
                let (op, said) = till.post(reserve(pieces));
                if why(&said).is_none() {
                    self.holds.push((op, pieces * PRICE));
                }
            }
            3 if !self.holds.is_empty() => {
                let place = which % self.holds.len();
                let (hold, units) = self.holds[place];
                let wanted = pieces * PRICE / 2;
                let (op, said) = till.post(capture(hold, wanted, which.is_multiple_of(3)));
                match why(&said) {
                    None => {
                        self.bought.push((op, wanted, 0));
                        self.holds[place].1 = if which.is_multiple_of(3) { 0 } else { units - wanted };
                    }
                    Some(Reason::NotWholePieces) => assert!(pieces % 2 == 1),
                    Some(reason) => {
                        assert!([Reason::HoldExceeded, Reason::HoldUnknown].contains(&reason), "{reason:?}")
                    }
                }
            }
            4 if !self.holds.is_empty() => {
                till.post(release(self.holds[which % self.holds.len()].0));
            }
            5 if !self.bought.is_empty() => {
                let place = which % self.bought.len();
                let (op, units, undone) = self.bought[place];
                let back = (pieces * 37).min(units - undone);
                if back > 0 {
                    till.done(reverse(op, Some(back)));
                    self.bought[place].2 += back;
                }
            }
            6 => {
                till.now_us += 9 * model::rules::DAY;
                till.sweep();
            }
            _ => {
                let stocked = i64::try_from(pieces).unwrap() - 3;
                self.open = !self.open || pieces > 1;
                if refused(till, mug(stocked, self.open)).is_none() {
                    self.stocked += stocked;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_piece_is_sold_twice_and_none_is_lost(steps in prop::collection::vec((0..8_u8, 1..6_u64, 0..9_usize), 1..80)) {
        let mut till = stocked(unlapsing(), 4);
        let mut told = Told { stocked: 4, open: true, ..Told::default() };
        for step in steps {
            told.step(&mut till, step);
            let [left, reserved, bought] = mugs(&till);
            prop_assert!(left >= 0 && reserved >= 0);
            prop_assert_eq!(left + reserved + bought, told.stocked);
            prop_assert_eq!(bought, i64::try_from(told.kept()).unwrap());
        }
        let held = loaded(&mut till).state_hash();
        prop_assert_eq!(held, till.book.ledger.state_hash());
    }
}

/// Replays the till's book with every event changed as said; why it is damaged then.
fn damaged(till: &Till, change: impl Fn(&mut Event<'_>)) -> Option<&'static str> {
    let mut ledger = Ledger::new(ROOMY);
    let mut replay = |at, bytes: &[u8]| {
        let mut event = codec::decode(bytes).unwrap();
        change(&mut event);
        ledger.replay(at, &event, &till.book.prints).map_err(|error| error.what)
    };
    till.book.shelf.events.iter().find_map(|(at, bytes)| replay(*at, bytes).err())
}

#[test]
fn a_book_whose_events_move_other_pieces_than_they_tell_is_damaged() {
    let mut till = stocked(unlapsing(), 9);
    till.done(claim(2));
    let (held, _) = till.done(reserve(3));
    till.done(release(held));
    assert_eq!(damaged(&till, |_| {}), None);
    let claimed = |event: &mut Event<'_>, change: fn(&mut Option<Claimed>)| match event {
        Event::Redeemed(e) => {
            let mut more = e.more.as_deref().cloned().unwrap();
            change(&mut more.claimed);
            e.more = Later::new(more);
        }
        Event::Held(e) => change(&mut e.claimed),
        _ => {}
    };
    let told = Some("the pieces that an event moves are not those that it tells");
    assert_eq!(damaged(&till, |event| claimed(event, |claimed| *claimed = None)), told);
    assert_eq!(damaged(&till, |event| claimed(event, |claimed| claimed.as_mut().unwrap().pieces += 1)), told);
    assert_eq!(damaged(&till, |event| claimed(event, |claimed| claimed.as_mut().unwrap().price += 1)), told);
    let kept = |event: &mut Event<'_>| {
        let Event::Released(e) = event else { return };
        let mut legs = Legs::default();
        for leg in e.legs.iter().filter(|leg| leg.asset != AssetNo::PIECES) {
            assert!(legs.push(*leg));
        }
        e.legs = legs;
    };
    assert_eq!(damaged(&till, kept), Some("the pieces that a hold reserves are not those that the event moves"));
    let stock = |event: &mut Event<'_>| {
        if let Event::RewardPut(put) = event {
            put.stock_after += 1;
        }
    };
    assert_eq!(damaged(&till, stock), Some("the pieces left after the event are not those that it says"));
}
