//! Events and members as the ledger has them, shown.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::super::receipt::tests::{
    GROWTH, OP, POINTS, WALLET, available, clear, common, info, legs, lot, names, other,
};
use super::*;
use crate::ledger::event::{
    Activated, AssetBalances, AssetMore, Balances, Captured, Converted, Granted, Held, Legs, Redeemed, Rejected,
    Released, Reversed, Source, StandingChanged,
};
use crate::ledger::ids::{MemberNo, MemberRef};
use crate::ledger::later::Later;
use crate::ledger::list::List;
use crate::ledger::reason::Reason;

fn shown(event: &Event<'_>) -> pb::Event {
    let (names, info) = (names(), info());
    super::event(&Scribe { info: &info, names: &names }, OP, 7, event, "m".into())
}

fn due(kind: DueKind, moved: Legs) -> pb::Event {
    let (program, member) = (ProgramNo(0), MemberNo(4));
    let due = Due { program, member, member_link: 3, ends_link: 0, kind, after: List::default(), legs: moved };
    shown(&Event::Due(due))
}

#[test]
fn what_the_ledger_did_by_itself_says_when_it_was_due_and_what_ended() {
    let old = lot(Source::Base, Expiry::At(9));
    let moved = legs(&[(available(old), GROWTH, -5), (Account::Breakage { link: 0 }, GROWTH, 5)]);
    let expired = due(DueKind::Expired { lapsed_min: 9 }, moved);
    assert_eq!((expired.kind(), expired.effective_at_us), (pb::Kind::Expired, Some(540_000_000)));
    assert_eq!((expired.program.as_str(), expired.member.as_str()), ("club", "m"));
    assert_eq!(expired.receipt.as_ref().unwrap().key, "");
    assert_eq!((expired.legs[1].account.as_str(), expired.legs[1].asset.as_str()), ("breakage", "growth"));
    let matured = due(DueKind::Matured { earn_link: 30, matured_us: 5 }, Legs::default());
    assert_eq!((matured.kind(), matured.original_op, matured.effective_at_us), (pb::Kind::Matured, 70, Some(5)));
    let ended = due(DueKind::HoldEnded { hold_link: 20, ended_us: 6 }, Legs::default());
    assert_eq!((ended.kind(), ended.hold_op, ended.effective_at_us), (pb::Kind::HoldEnded, 80, Some(6)));
    let merged = due(DueKind::LotsMerged, Legs::default());
    assert_eq!((merged.kind(), merged.effective_at_us), (pb::Kind::LotsMerged, None));
}

#[test]
fn legs_join_by_account_asset_and_direction_and_tell_their_lots() {
    let (old, young) = (lot(Source::Base, Expiry::At(9)), lot(Source::Base, Expiry::At(11)));
    let rolling = lot(Source::Bonus, Expiry::Rolling);
    let moved = legs(&[
        (Account::Available { lot: old, position: 4 }, POINTS, -30),
        (Account::Available { lot: young, position: 8 }, POINTS, 30),
        (Account::Free { lot: young }, POINTS, -2),
        (Account::Held { lot: young, position: None }, POINTS, 2),
        (Account::Available { lot: rolling, position: 0 }, WALLET, -7),
        (Account::Pending { earn_link: 3, lot: rolling }, WALLET, 7),
    ]);
    let merged = due(DueKind::LotsMerged, moved);
    let legs: Vec<_> = merged.legs.iter().map(|leg| (leg.account.as_str(), leg.asset.as_str(), leg.amount)).collect();
    let expected = [
        ("member/available", "points", -32),
        ("member/available", "points", 30),
        ("member/held", "points", 2),
        ("member/available", "wallet", -7),
        ("member/pending", "wallet", 7),
    ];
    assert_eq!(legs, expected);
    let part = |source: pb::Source, expires_at_us, units, position, rolling| pb::LotPart {
        source: source.into(),
        expires_at_us,
        units,
        position,
        rolling,
    };
    let taken = [
        part(pb::Source::Base, Some(540_000_000), 30, Some(4), false),
        part(pb::Source::Base, Some(660_000_000), 2, None, false),
    ];
    assert_eq!(merged.legs[0].lots, taken);
    assert_eq!(merged.legs[2].lots, [part(pb::Source::Base, Some(660_000_000), 2, None, false)]);
    assert_eq!(merged.legs[3].lots, [part(pb::Source::Bonus, None, 7, Some(0), true)]);
    assert_eq!(merged.legs[4].lots, [part(pb::Source::Bonus, None, 7, None, true)]);
}

#[test]
fn a_hold_is_followed_by_its_op() {
    let (common, asset, purpose) = (|| common((0, 0), &[]), WALLET, Purpose::Payment);
    let moved = Legs::default;
    let held = shown(&Event::Held(Held {
        common: common(),
        asset,
        units: 300,
        purpose,
        until_us: 77,
        claimed: None,
        legs: moved(),
    }));
    assert_eq!((held.kind(), held.points, held.asset.as_str()), (pb::Kind::Hold, 300, "wallet"));
    assert_eq!((held.purpose(), held.hold_until_us, held.hold_op), (pb::Purpose::Payment, Some(77), 0));
    let (hold_link, units) = (20, 100);
    let captured = Captured {
        common: common(),
        hold_link,
        asset,
        units,
        purpose,
        released: 0,
        over: false,
        lapsed: 0,
        ends_link: 0,
        rolls: None,
        legs: moved(),
    };
    let captured = shown(&Event::Captured(captured));
    assert_eq!((captured.kind(), captured.points, captured.hold_op), (pb::Kind::Capture, 100, 80));
    assert_eq!(captured.purpose(), pb::Purpose::Payment);
    let released = shown(&Event::Released(Released {
        common: common(),
        hold_link,
        asset,
        units,
        lapsed: 0,
        ends_link: 0,
        legs: moved(),
    }));
    assert_eq!((released.kind(), released.points, released.hold_op), (pb::Kind::Release, 100, 80));
}

#[test]
fn what_was_undone_or_made_available_is_named() {
    let (common, legs) = (|| common((0, 0), &[]), Legs::default);
    let activated = Activated { common: common(), earn_link: 30, ends_link: 0, lapsed: vec![], legs: legs() };
    let activated = shown(&Event::Activated(activated));
    assert_eq!((activated.kind(), activated.original_op), (pb::Kind::Activate, 70));
    let reversed = Reversed {
        common: common(),
        original_link: 60,
        previous_link: 1,
        asset: GROWTH,
        of: 9,
        units: 5,
        units_total: 8,
        lapsed: 0,
        lapsed_total: 0,
        not_taken: 0,
        legs: legs(),
    };
    let reversed = shown(&Event::Reversed(reversed));
    assert_eq!((reversed.kind(), reversed.original_op, reversed.points), (pb::Kind::Reverse, 40, 5));
    assert_eq!(reversed.asset, "growth");
}

#[test]
fn a_top_up_is_not_a_grant() {
    let granted = |topped_up, bonus| {
        let (common, legs) = (common((0, 0), &[]), Legs::default());
        shown(&Event::Granted(Granted {
            common,
            asset: WALLET,
            topped_up,
            units: 1_000,
            bonus,
            lapsed: 0,
            rolls: None,
            legs,
        }))
    };
    let (loaded, given) = (granted(true, 100), granted(false, 0));
    assert_eq!((loaded.kind(), loaded.points, loaded.bonus), (pb::Kind::TopUp, 1_000, 100));
    assert_eq!((given.kind(), given.points, given.bonus), (pb::Kind::Grant, 1_000, 0));
}

#[test]
fn a_standing_says_what_became_of_the_member_and_who_did_it() {
    for (change, expected) in [
        (Standing::Open, pb::Standing::Open),
        (Standing::Frozen, pb::Standing::Frozen),
        (Standing::Closed, pb::Standing::Closed),
    ] {
        let (actor, reason) = (clear("ana"), clear("fraud"));
        let changed = StandingChanged { common: common((0, 0), &[]), change, actor, reason };
        let event = shown(&Event::StandingChanged(changed));
        assert_eq!((event.kind(), event.standing()), (pb::Kind::Standing, expected));
        assert_eq!((event.actor.as_str(), event.actor_reason.as_str()), ("ana", "fraud"));
    }
}

#[test]
fn activity_shows_until_when_rolling_units_live() {
    let redeemed = Event::Redeemed(Redeemed {
        common: common((0, 0), &[]),
        points: 5,
        purpose: Purpose::Gift,
        legs: Legs::default(),
        more: Later::new(AssetMore { asset: GROWTH, rolls: Some(9), ..AssetMore::default() }),
    });
    let rolling = pb::Rolling { asset: "growth".into(), expires_at_us: 540_000_000 };
    assert_eq!(shown(&redeemed).rolling, [rolling]);
}

#[test]
fn every_refused_command_keeps_its_kind() {
    let kinds = [
        (CommandKind::Earn, pb::Kind::Earn),
        (CommandKind::Refund, pb::Kind::Refund),
        (CommandKind::Redeem, pb::Kind::Redeem),
        (CommandKind::Adjust, pb::Kind::Adjust),
        (CommandKind::Opening, pb::Kind::Opening),
        (CommandKind::Reverse, pb::Kind::Reverse),
        (CommandKind::Hold, pb::Kind::Hold),
        (CommandKind::Capture, pb::Kind::Capture),
        (CommandKind::Release, pb::Kind::Release),
        (CommandKind::Activate, pb::Kind::Activate),
        (CommandKind::TopUp, pb::Kind::TopUp),
        (CommandKind::Grant, pb::Kind::Grant),
        (CommandKind::Standing, pb::Kind::Standing),
    ];
    for (asked, expected) in kinds {
        let (common, reason) = (common((0, 0), &[]), Reason::MemberClosed);
        let event = shown(&Event::Rejected(Rejected { common, kind: asked, reason, field: "member" }));
        assert_eq!(event.kind(), expected);
    }
}

#[test]
fn every_reason_of_the_ledger_is_one_of_the_contract() {
    let words = |name: String| name.replace('_', "").to_lowercase();
    for reason in Reason::ALL {
        let shown = pb::Reason::try_from(i32::from(reason.number()));
        let name = shown.map(|shown| words(shown.as_str_name().trim_start_matches("REASON_").to_owned()));
        assert_eq!(name.ok(), Some(words(format!("{reason:?}"))), "{}", reason.number());
    }
}

#[test]
fn a_conversion_shows_the_legs_of_both_programs_in_the_words_of_each() {
    let own = lot(Source::Base, Expiry::Never);
    let settled = |program| Account::Conversion { program: ProgramNo(program), link: 0 };
    let there = legs(&[(settled(0), GROWTH, -15), (available(own), GROWTH, 15)]);
    let shown = shown(&Event::Converted(Converted {
        common: common((0, 0), &[]),
        asset: GROWTH,
        asked: 50,
        units: 50,
        to_asset: AssetNo(1),
        to_units: 15,
        lapsed: 0,
        rolls: Some(7),
        other: other(1, MemberRef::Known(MemberNo(9)), there),
        legs: legs(&[(available(own), GROWTH, -50), (settled(1), GROWTH, 50)]),
    }));
    assert_eq!((shown.kind(), shown.points, shown.asset.as_str()), (pb::Kind::Convert, 50, "growth"));
    let told = |legs: &[pb::Leg]| -> Vec<_> {
        legs.iter().map(|leg| (leg.account.clone(), leg.asset.clone(), leg.amount)).collect()
    };
    let leg = |account: &str, asset: &str, amount| (account.to_owned(), asset.to_owned(), amount);
    assert_eq!(told(&shown.legs), [leg("member/available", "growth", -50), leg("conversion/air", "growth", 50)]);
    assert_eq!(told(&shown.other_legs), [leg("conversion/club", "miles", -15), leg("member/available", "miles", 15)]);
    let rolls = |rolling: &[pb::Rolling]| (rolling[0].asset.clone(), rolling[0].expires_at_us / 60_000_000);
    assert_eq!((rolls(&shown.rolling), rolls(&shown.other_rolling)), (("growth".into(), 7), ("miles".into(), 9)));
}

#[test]
fn a_card_does_not_offer_what_has_lapsed() {
    let card = |asset, available, lapsed, next_lapse| AssetCard {
        balances: AssetBalances { asset, available, held: 3, pending: 4, debt: 5 },
        lapsed,
        next_lapse,
    };
    let card = MemberCard {
        standing: Standing::Frozen,
        assets: vec![card(POINTS, 100, 30, Some((9, 20))), card(GROWTH, 7, 0, None)],
        joined_day: Some(-1),
        tags: vec!["new".into(), "vip".into()],
        aliases: 2,
    };
    let state = MemberState {
        number: MemberNo(4),
        way: [MemberNo(4)].into_iter().collect(),
        balances: Balances { available: 100, debt: 5 },
        head: OP,
    };
    let member = member(&names(), ProgramNo(0), "m".into(), &state, &card);
    assert_eq!(member.balance, Some(pb::Balance { available: 70, debt: 5, held: 3, pending: 4 }));
    assert_eq!((member.standing(), member.last_op, member.assets.len()), (pb::Standing::Frozen, 100, 2));
    let told = (member.joined_on.as_deref(), member.tags.as_slice(), member.aliases);
    assert_eq!(told, (Some("1969-12-31"), ["new".to_owned(), "vip".to_owned()].as_slice(), 2));
    let points = pb::AssetCard {
        asset: "points".into(),
        available: 70,
        held: 3,
        pending: 4,
        debt: 5,
        lapsed: 30,
        next_expiry_at_us: Some(540_000_000),
        next_expiry_units: 20,
    };
    assert_eq!(member.assets[0], points);
    assert_eq!((member.assets[1].asset.as_str(), member.assets[1].next_expiry_at_us), ("growth", None));
}
