//! Receipts of events as the ledger writes them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::reply::Reply;
use super::*;
use crate::engine::names::ProgramNames;
use crate::ledger::codec;
use crate::ledger::command::{Basis, Purpose};
use crate::ledger::event::{
    Activated, Adjusted, AlsoTaken, AssetMore, Balances, Captured, CommandKind, Common, Converted, Due, DueKind,
    EarnMore, Earned, Expiry, Granted, Held, Legs, LotId, Matures, Redeemed, RefundMore, Refunded, Rejected, Released,
    Reversed, Share, Source, TakenFrom, TakenShare, Text, Transferred,
};
use crate::ledger::ids::{MemberNo, MemberRef, VersionNo};
use crate::ledger::later::Later;
use crate::ledger::list::List;

pub(in crate::server) const GROWTH: AssetNo = AssetNo(1);
pub(in crate::server) const WALLET: AssetNo = AssetNo(2);
pub(in crate::server) const POINTS: AssetNo = AssetNo::POINTS;
/// The op of the events of these tests.
pub(in crate::server) const OP: Op = Op(100);

/// A program with two campaigns: number 0, `winter`, gives points, number 1, `apex`, growth. Another one has points and miles.
pub(in crate::server) fn names() -> Names {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let club = ProgramNames {
        id: "club".into(),
        campaigns: ids(&["winter", "apex"]),
        campaign_assets: vec![POINTS, GROWTH],
        assets: ids(&["points", "growth", "wallet"]),
        rewards: Vec::new(),
        closings: Vec::new(),
    };
    let assets = ids(&["points", "miles"]);
    let (campaigns, campaign_assets, rewards, closings) = <_>::default();
    Names::from_programs(vec![
        club,
        ProgramNames { id: "air".into(), campaigns, campaign_assets, assets, rewards, closings },
    ])
}

/// The other side of an event: a member of that program who has so much of asset 1 after it.
pub(in crate::server) fn other(program: u16, member: MemberRef<'static>, legs: Legs) -> Box<Other<'static>> {
    let after = vec![AssetBalances { asset: GROWTH, available: 7, ..AssetBalances::default() }];
    Box::new(Other { program: ProgramNo(program), member, member_link: 0, after, rolls: vec![(GROWTH, 9)], legs })
}

pub(in crate::server) fn info() -> BookInfo {
    BookInfo { book_id: "b".into(), incarnation: 0, parent: None }
}

pub(in crate::server) fn common(after: (i64, i64), others: &[AssetBalances]) -> Common<'static> {
    Common {
        program: ProgramNo(0),
        key: "k",
        body_hash: [1; 16],
        member: MemberRef::Known(MemberNo(4)),
        member_link: 3,
        behind_us: 0,
        notes: None,
        after: Balances { available: after.0, debt: after.1 },
        others: Later::new(others.to_vec()),
    }
}

pub(in crate::server) fn clear(text: &str) -> Text<'_> {
    Text { scheme: 0, text }
}

pub(in crate::server) fn lot(source: Source, expiry: Expiry) -> LotId {
    LotId { source, expiry }
}

pub(in crate::server) fn available(lot: LotId) -> Account {
    Account::Available { lot, position: 10 }
}

pub(in crate::server) fn legs(of: &[(Account, AssetNo, i64)]) -> Legs {
    let mut legs = Legs::default();
    for (account, asset, amount) in of {
        assert!(legs.push(Leg { account: *account, asset: *asset, amount: *amount }));
    }
    legs
}

const BASE: LotId = LotId { source: Source::Base, expiry: Expiry::Never };
const BREAKAGE: Account = Account::Breakage { link: 0 };
const ISSUANCE: Account = Account::Issuance { link: 1 };
const SPENT: Account = Account::Redemption { purpose: Purpose::Gift, link: 0 };

/// The receipt of an event, which is the same where it is put straight into a reply.
fn receipt(event: &Event<'_>) -> pb::Receipt {
    let (names, info) = (names(), info());
    let scribe = Scribe { info: &info, names: &names };
    let receipt = scribe.receipt(OP, 7, event, "k".into());
    let (mut bytes, mut direct, mut general) = (Vec::new(), Reply::new(scribe, 1), Reply::new(scribe, 1));
    codec::encode(event, &mut bytes).unwrap();
    general.put(&receipt);
    if direct.put_plain(OP, 7, &bytes, "k") {
        assert_eq!(direct.into_bytes(), general.into_bytes());
    }
    receipt
}

fn units(asset: &str, units: i64) -> pb::AssetUnits {
    pb::AssetUnits { asset: asset.into(), units }
}

fn earned(more: EarnMore, shares: &[Share], moved: Legs) -> Event<'static> {
    Event::Earned(Earned {
        common: common((0, 0), &[]),
        basis: Basis::Spend(1_000),
        event_kind: Some("purchase"),
        version: VersionNo(1),
        base: 100,
        shares: List(shares.iter().copied().collect()),
        legs: moved,
        more: Later::new(more),
    })
}

fn share(campaign: u16, awarded: u64, short: u64) -> Share {
    let reason = (short > 0).then_some(Reason::CampaignBudgetExhausted);
    Share { campaign: CampaignNo(campaign), awarded, short, reason, stopped: false, cap: None }
}

#[test]
fn balances_tell_held_and_pending_points_and_every_other_asset() {
    let points = AssetBalances { asset: POINTS, available: 0, held: 30, pending: 40, debt: 0 };
    let growth = AssetBalances { asset: GROWTH, available: 5, held: 0, pending: 6, debt: 7 };
    let rejected = |member, others: &[AssetBalances]| {
        Event::Rejected(Rejected {
            common: Common { member, ..common((10, 20), others) },
            kind: CommandKind::Redeem,
            reason: Reason::InsufficientPoints,
            field: "redeem.points",
        })
    };
    let known = receipt(&rejected(MemberRef::Known(MemberNo(4)), &[points, growth]));
    assert_eq!(known.balance, Some(pb::Balance { available: 10, debt: 20, held: 30, pending: 40 }));
    let growth = pb::AssetBalance { asset: "growth".into(), available: 5, held: 0, pending: 6, debt: 7 };
    assert_eq!(known.balances, [growth]);
    assert_eq!((known.outcome(), known.reason()), (pb::Outcome::Rejected, pb::Reason::InsufficientPoints));
    let plain = receipt(&rejected(MemberRef::Known(MemberNo(4)), &[]));
    assert_eq!(plain.balance, Some(pb::Balance { available: 10, debt: 20, held: 0, pending: 0 }));
    let unknown = receipt(&rejected(MemberRef::Unknown("m"), &[points]));
    assert_eq!((unknown.balance, unknown.balances), (None, vec![]));
}

#[test]
fn an_award_in_several_assets_is_summed_in_that_of_the_command() {
    let more = EarnMore { also: Some((GROWTH, 50)), ..EarnMore::default() };
    let receipt = receipt(&earned(more, &[share(0, 100, 20), share(1, 25, 0)], Legs::default()));
    let award = |source: pb::Source, campaign: &str, (desired, awarded), asset: &str| {
        (source as i32, campaign.to_owned(), desired, awarded, asset.to_owned())
    };
    let shown: Vec<_> =
        receipt.awards.into_iter().map(|a| (a.source, a.campaign, a.desired, a.awarded, a.asset)).collect();
    let expected = [
        award(pb::Source::Base, "", (100, 100), ""),
        award(pb::Source::Base, "", (50, 50), "growth"),
        award(pb::Source::Campaign, "apex", (25, 25), "growth"),
        award(pb::Source::Campaign, "winter", (120, 100), ""),
    ];
    assert_eq!(shown, expected);
    assert_eq!((receipt.desired, receipt.awarded, receipt.asset.as_str()), (220, 200, ""));
    assert_eq!(receipt.pending, None);
}

#[test]
fn an_earn_of_another_asset_counts_in_it() {
    let more = EarnMore { asset: GROWTH, ..EarnMore::default() };
    let receipt = receipt(&earned(more, &[share(1, 25, 0)], Legs::default()));
    assert_eq!((receipt.desired, receipt.awarded, receipt.asset.as_str()), (125, 125, "growth"));
    assert!(receipt.awards.iter().all(|award| award.asset == "growth"));
}

#[test]
fn a_pending_award_says_until_when() {
    for (matures, until_us) in [(Matures::At(99), Some(99)), (Matures::Activated, None)] {
        let more = EarnMore { matures: Some(matures), ..EarnMore::default() };
        assert_eq!(receipt(&earned(more, &[], Legs::default())).pending, Some(pb::Pending { until_us }));
    }
}

#[test]
fn what_had_lapsed_is_told_by_asset() {
    let moved = legs(&[
        (ISSUANCE, POINTS, -100),
        (BREAKAGE, POINTS, 60),
        (BREAKAGE, POINTS, 40),
        (ISSUANCE, GROWTH, -5),
        (BREAKAGE, GROWTH, 5),
    ]);
    let receipt = receipt(&earned(EarnMore::default(), &[], moved));
    assert_eq!(receipt.lapsed, [units("points", 100), units("growth", 5)]);
}

#[test]
fn what_became_available_is_told_by_asset_and_source() {
    let pending = |source, link| Account::Pending { earn_link: link, lot: lot(source, Expiry::At(9)) };
    let moved = legs(&[
        (pending(Source::Base, 30), POINTS, -100),
        (pending(Source::Campaign, 30), POINTS, -50),
        (pending(Source::Base, 30), GROWTH, -10),
        (Account::Debt, POINTS, 20),
        (available(BASE), POINTS, 130),
        (BREAKAGE, GROWTH, 10),
    ]);
    let activated = Event::Activated(Activated {
        common: common((130, 0), &[]),
        earn_link: 30,
        ends_link: 0,
        lapsed: vec![(GROWTH, 10)],
        legs: moved.clone(),
    });
    let due = Event::Due(Due {
        program: ProgramNo(0),
        member: MemberNo(4),
        member_link: 3,
        ends_link: 0,
        kind: DueKind::Matured { earn_link: 30, matured_us: 5 },
        after: List::default(),
        legs: moved,
    });
    for receipt in [receipt(&activated), receipt(&due)] {
        let shown: Vec<_> = receipt.awards.iter().map(|a| (a.source(), a.awarded, a.asset.as_str())).collect();
        let (base, campaign) = (pb::Source::Base, pb::Source::Campaign);
        assert_eq!(shown, [(base, 100, ""), (campaign, 50, ""), (base, 10, "growth")]);
        assert_eq!((receipt.desired, receipt.awarded), (150, 150));
        assert_eq!(receipt.lapsed, [units("growth", 10)]);
    }
}

fn refunded(taken_from: TakenFrom, more: RefundMore, moved: Legs) -> Event<'static> {
    Event::Refunded(Refunded {
        common: common((0, 0), &[]),
        basis: Basis::Spend(500),
        event_kind: None,
        version: VersionNo(1),
        base: 100,
        from: Some(taken_from),
        legs: moved,
        more: Later::new(more),
    })
}

#[test]
fn a_refund_says_where_every_point_came_from_and_what_was_let_go() {
    let taken = |campaign, taken| TakenShare {
        campaign: CampaignNo(campaign),
        of: 2 * taken,
        taken,
        taken_total: taken,
        closed: false,
        cap: None,
    };
    let from = TakenFrom {
        original_link: 40,
        previous_link: 0,
        amount: 1_000,
        amount_total: 500,
        base_of: 200,
        base_total: 100,
        shares: List([taken(0, 80), taken(1, 30)].into_iter().collect()),
    };
    let more = RefundMore {
        asset: POINTS,
        also: Some(AlsoTaken { asset: GROWTH, of: 20, taken: 10, taken_total: 10 }),
        lapsed: vec![(POINTS, 15, 15)],
        not_taken: vec![(1, 4), (2, 7), (3, 30)],
    };
    let moved = legs(&[
        (Account::Pending { earn_link: 40, lot: BASE }, POINTS, -50),
        (available(BASE), POINTS, -70),
        (available(BASE), GROWTH, -6),
        (BREAKAGE, POINTS, -15),
        (Account::Debt, POINTS, -38),
        (ISSUANCE, POINTS, 173),
        (ISSUANCE, GROWTH, 6),
    ]);
    let receipt = receipt(&refunded(from, more, moved));
    let lapsed = receipt.lapsed[0].units;
    assert_eq!((receipt.asked, receipt.taken, receipt.cancelled, receipt.owed), (180, 70, 50, 38));
    assert_eq!((receipt.not_taken, &receipt.lapsed[..]), (7, &[units("points", 15)][..]));
    assert_eq!(receipt.asked, receipt.taken + receipt.cancelled + receipt.owed + receipt.not_taken + lapsed);
    let parts: Vec<_> =
        receipt.taken_back.iter().map(|p| (p.campaign.as_str(), p.taken, p.not_taken, p.asset.as_str())).collect();
    let expected = [("", 100, 0, ""), ("", 10, 4, "growth"), ("apex", 30, 30, "growth"), ("winter", 80, 7, "")];
    assert_eq!(parts, expected);
}

#[test]
fn an_offset_tells_what_was_asked_taken_and_worth() {
    let redeemed = |more| {
        Event::Redeemed(Redeemed {
            common: common((50, 0), &[]),
            points: 200,
            purpose: Purpose::CashOffset,
            legs: Legs::default(),
            more: Later::new(more),
        })
    };
    let offset = receipt(&redeemed(AssetMore { asked: 250, minor: 300, ..AssetMore::default() }));
    assert_eq!((offset.asked, offset.taken, offset.offset_minor), (250, 200, 300));
    let plain = receipt(&redeemed(AssetMore::default()));
    assert_eq!((plain.asked, plain.taken, plain.offset_minor, plain.asset.as_str()), (200, 200, 0, ""));
    let wallet = receipt(&redeemed(AssetMore { asset: WALLET, ..AssetMore::default() }));
    assert_eq!((wallet.asked, wallet.taken, wallet.asset.as_str()), (200, 200, "wallet"));
}

fn reversed(units: u64, lapsed: u64, not_taken: u64, moved: Legs) -> Event<'static> {
    Event::Reversed(Reversed {
        common: common((0, 0), &[]),
        original_link: 60,
        previous_link: 0,
        asset: WALLET,
        of: 200,
        units,
        units_total: 150,
        lapsed,
        lapsed_total: 0,
        not_taken,
        legs: moved,
    })
}

#[test]
fn spending_undone_says_what_came_back() {
    let moved = legs(&[
        (SPENT, WALLET, -100),
        (Account::Debt, WALLET, 10),
        (available(BASE), WALLET, 50),
        (BREAKAGE, WALLET, 40),
    ]);
    let receipt = receipt(&reversed(100, 40, 0, moved));
    let reversal = pb::Reversal { original_op: 40, original: 200, units: 100, units_total: 150, returned: 60 };
    assert_eq!((receipt.reversal, receipt.asset.as_str()), (Some(reversal), "wallet"));
    assert_eq!((receipt.asked, receipt.taken, receipt.owed), (0, 0, 0));
    assert_eq!(receipt.lapsed, [units("wallet", 40)]);
}

#[test]
fn giving_undone_says_what_was_taken() {
    let moved = legs(&[
        (Account::Cash { link: 9 }, WALLET, 100),
        (ISSUANCE, WALLET, 10),
        (available(BASE), WALLET, -60),
        (BREAKAGE, WALLET, -20),
        (Account::Debt, WALLET, -30),
    ]);
    let taken = receipt(&reversed(115, 0, 5, moved));
    let reversal = pb::Reversal { original_op: 40, original: 200, units: 115, units_total: 150, returned: 0 };
    assert_eq!(taken.reversal, Some(reversal));
    assert_eq!((taken.asked, taken.taken, taken.owed, taken.not_taken), (115, 60, 30, 5));
    assert_eq!(taken.lapsed, [units("wallet", 20)]);
    let clamped = receipt(&reversed(5, 0, 5, Legs::default()));
    assert_eq!((clamped.asked, clamped.not_taken, clamped.reversal.unwrap().returned), (5, 5, 0));
}

#[test]
fn a_hold_is_told_from_beginning_to_end() {
    let (common, moved) = (|| common((0, 0), &[]), Legs::default);
    let (purpose, asset) = (Purpose::Gift, POINTS);
    let held =
        Event::Held(Held { common: common(), asset, units: 300, purpose, until_us: 77, claimed: None, legs: moved() });
    let state = pb::HoldState { op: 100, units: 300, until_us: Some(77), ..Default::default() };
    assert_eq!(receipt(&held).hold, Some(state));
    let captured = Event::Captured(Captured {
        common: common(),
        hold_link: 20,
        asset,
        units: 100,
        purpose,
        released: 200,
        over: true,
        lapsed: 0,
        ends_link: 0,
        rolls: None,
        legs: legs(&[(Account::Held { lot: BASE, position: Some(3) }, POINTS, -100), (SPENT, POINTS, 100)]),
    });
    let captured = receipt(&captured);
    let state = pb::HoldState { op: 80, released: 200, over: true, ..Default::default() };
    assert_eq!((captured.asked, captured.taken, captured.hold), (100, 100, Some(state)));
    let moved = legs(&[
        (Account::Held { lot: BASE, position: Some(3) }, POINTS, -20),
        (BREAKAGE, POINTS, 20),
        (Account::Held { lot: BASE, position: None }, POINTS, -80),
        (Account::Free { lot: BASE }, POINTS, 80),
    ]);
    let released = Event::Released(Released {
        common: common(),
        hold_link: 20,
        asset,
        units: 100,
        lapsed: 20,
        ends_link: 5,
        legs: moved,
    });
    let released = receipt(&released);
    let state = pb::HoldState { op: 80, released: 100, over: true, ..Default::default() };
    assert_eq!((released.hold, released.taken), (Some(state), 0));
    assert_eq!(released.lapsed, [units("points", 20)]);
}

#[test]
fn what_was_given_is_awarded() {
    let granted = Event::Granted(Granted {
        common: common((0, 0), &[]),
        asset: WALLET,
        topped_up: true,
        units: 1_000,
        bonus: 100,
        lapsed: 0,
        rolls: None,
        legs: Legs::default(),
    });
    let given = receipt(&granted);
    assert_eq!((given.awarded, given.asset.as_str()), (1_100, "wallet"));
    for (moved, expected) in [(5, (5, 0, 0)), (-5, (0, 5, 5))] {
        let adjusted = Event::Adjusted(Adjusted {
            common: common((0, 0), &[]),
            points: moved,
            actor: clear("ana"),
            reason: clear("mended"),
            legs: Legs::default(),
            more: Later::new(AssetMore { asset: GROWTH, ..AssetMore::default() }),
        });
        let receipt = receipt(&adjusted);
        assert_eq!((receipt.awarded, receipt.asked, receipt.taken), expected);
        assert_eq!(receipt.asset, "growth");
    }
}

#[test]
fn an_event_between_two_members_tells_what_left_the_one_and_what_reached_the_other() {
    let transferred = Event::Transferred(Transferred {
        common: common((0, 0), &[]),
        asset: WALLET,
        units: 40,
        other: other(0, MemberRef::Known(MemberNo(9)), Legs::default()),
        legs: Legs::default(),
    });
    let mut given = receipt(&transferred);
    assert_eq!((given.asked, given.taken, given.asset.as_str()), (40, 40, "wallet"));
    name_other(&mut given, "bob");
    let growth = pb::AssetBalance { asset: "growth".into(), available: 7, ..Default::default() };
    let side = |program: &str, member: &str| pb::OtherSide {
        program: program.into(),
        member: member.into(),
        ..Default::default()
    };
    let bob = pb::OtherSide { asset: "wallet".into(), units: 40, balances: vec![growth], ..side("", "bob") };
    assert_eq!(given.other.as_deref(), Some(&bob));
    let converted = Event::Converted(Converted {
        common: common((0, 0), &[]),
        asset: POINTS,
        asked: 59,
        units: 50,
        to_asset: AssetNo(1),
        to_units: 15,
        lapsed: 4,
        rolls: None,
        other: other(1, MemberRef::Opened(MemberNo(9), "cid"), Legs::default()),
        legs: Legs::default(),
    });
    let turned = receipt(&converted);
    assert_eq!((turned.asked, turned.taken, turned.asset.as_str()), (59, 50, ""));
    let miles = pb::AssetBalance { asset: "miles".into(), available: 7, ..Default::default() };
    let cid =
        pb::OtherSide { asset: "miles".into(), units: 15, lapsed: 4, balances: vec![miles], ..side("air", "cid") };
    assert_eq!(turned.other.as_deref(), Some(&cid));
}

#[test]
fn what_fell_due_tells_the_balances_of_what_it_touched() {
    let of = |asset, available| AssetBalances { asset, available, ..AssetBalances::default() };
    let due = |after: &[AssetBalances]| {
        receipt(&Event::Due(Due {
            program: ProgramNo(0),
            member: MemberNo(4),
            member_link: 3,
            ends_link: 0,
            kind: DueKind::Expired { lapsed_min: 9 },
            after: List(after.iter().copied().collect()),
            legs: legs(&[(available(lot(Source::Base, Expiry::At(9))), GROWTH, -5), (BREAKAGE, GROWTH, 5)]),
        }))
    };
    let growth = due(&[of(GROWTH, 3)]);
    assert_eq!((growth.balance, growth.balances.len(), growth.outcome()), (None, 1, pb::Outcome::Applied));
    assert_eq!((growth.balances[0].available, &growth.lapsed[..]), (3, &[units("growth", 5)][..]));
    let points = due(&[of(POINTS, 2)]);
    assert_eq!((points.balance.unwrap().available, points.balances.len()), (2, 0));
}
