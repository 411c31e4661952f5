//! What a caller sends, and what the ledger is asked, action by action.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::constants::OCCURRED_US_MAX;
use crate::engine::names::ProgramNames;
use pb::command::Action as Sent;

const GROWTH: AssetNo = AssetNo(1);
const WALLET: AssetNo = AssetNo(2);
const COUPON: AssetNo = AssetNo(3);

/// Two programs; the second one has assets of its own.
fn names() -> Names {
    let program = |id: &str, assets: &[&str]| ProgramNames {
        id: id.to_owned(),
        campaigns: Vec::new(),
        campaign_assets: Vec::new(),
        assets: assets.iter().map(|asset| (*asset).to_owned()).collect(),
        rewards: Vec::new(),
        closings: Vec::new(),
    };
    Names::from_programs(vec![
        program("plain", &["points"]),
        program("club", &["points", "growth", "wallet", "coupon"]),
    ])
}

fn read_in(program: u16, id: &str, sent: Sent) -> Result<Action, Fault> {
    let (names, prints) = (names(), Prints::new([7; 32]));
    let within = Within { names: &names, prints: &prints, program: ProgramNo(program), program_id: id, member_id: "m" };
    within.action(Some(sent))
}

fn read(sent: Sent) -> Result<Action, Fault> {
    read_in(1, "club", sent)
}

/// The field and the reason of what is refused.
fn fault(sent: Sent) -> (String, pb::Reason) {
    let fault = read(sent).unwrap_err();
    (fault.field, fault.reason)
}

fn refused(sent: Sent, field: &str, reason: pb::Reason) {
    assert_eq!(fault(sent), (field.to_owned(), reason));
}

fn earn(basis: pb::earn::Basis) -> pb::Earn {
    pb::Earn { basis: Some(basis), event_kind: "purchase".into(), ..Default::default() }
}

fn refund(
    original: Option<pb::refund::Original>,
    amount: Option<pb::refund::Amount>,
    kind: &str,
) -> Result<Action, Fault> {
    read(Sent::Refund(pb::Refund { original, amount, event_kind: kind.into() }))
}

fn key_print(key: &str) -> Original {
    Original::Key(Prints::new([7; 32]).key("club", key))
}

#[test]
fn spend_needs_an_event_kind_and_points_do_not() {
    let kindless = |basis| Sent::Earn(pb::Earn { event_kind: String::new(), ..earn(basis) });
    refused(kindless(pb::earn::Basis::AmountMinor(1)), "earn.event_kind", pb::Reason::FieldMissing);
    let action = read(kindless(pb::earn::Basis::Points(5))).unwrap();
    let basis = Basis::Points(5);
    assert_eq!(action, Action::Earn { basis, event_kind: None, asset: AssetNo::POINTS, matures: None });
}

#[test]
fn an_earn_by_points_has_an_asset_and_one_by_spend_has_those_of_its_rule() {
    let of = |asset: &str, basis| Sent::Earn(pb::Earn { asset: asset.into(), ..earn(basis) });
    for (id, number) in [("", AssetNo::POINTS), ("points", AssetNo::POINTS), ("growth", GROWTH), ("coupon", COUPON)] {
        let Action::Earn { asset, .. } = read(of(id, pb::earn::Basis::Points(5))).unwrap() else { panic!() };
        assert_eq!(asset, number);
    }
    refused(of("growth", pb::earn::Basis::AmountMinor(5)), "earn.asset", pb::Reason::FieldMalformed);
    refused(of("gems", pb::earn::Basis::Points(5)), "earn.asset", pb::Reason::AssetUnknown);
    refused(of(&"g".repeat(65), pb::earn::Basis::Points(5)), "earn.asset", pb::Reason::FieldTooLong);
}

#[test]
fn an_asset_is_one_of_the_commands_own_program() {
    let growth = || Sent::Earn(pb::Earn { asset: "growth".into(), ..earn(pb::earn::Basis::Points(5)) });
    assert!(read_in(1, "club", growth()).is_ok());
    assert_eq!(read_in(0, "plain", growth()).unwrap_err().reason, pb::Reason::AssetUnknown);
}

#[test]
fn an_earn_is_pending_until_an_instant_or_until_it_is_activated() {
    use pb::earn::Pending;
    let waits = |pending| Sent::Earn(pb::Earn { pending: Some(pending), ..earn(pb::earn::Basis::AmountMinor(5)) });
    for (pending, expected) in [
        (Pending::PendingUntilUs(OCCURRED_US_MAX), Matures::At(OCCURRED_US_MAX)),
        (Pending::UntilActivated(true), Matures::Activated),
    ] {
        let Action::Earn { matures, .. } = read(waits(pending)).unwrap() else { panic!() };
        assert_eq!(matures, Some(expected));
    }
    let late = Pending::PendingUntilUs(OCCURRED_US_MAX + 1);
    refused(waits(late), "earn.pending_until_us", pb::Reason::FieldOutOfRange);
    refused(waits(Pending::UntilActivated(false)), "earn.until_activated", pb::Reason::FieldMalformed);
}

#[test]
fn a_refund_names_its_original_or_the_kind_whose_rate_counts() {
    use pb::refund::{Amount, Original as Named};
    let minor = || Some(Amount::AmountMinor(5));
    let by_op = refund(Some(Named::OriginalOp(9)), minor(), "").unwrap();
    assert_eq!(by_op, Action::Refund { original: Original::Op(Op(9)), basis: Basis::Spend(5), event_kind: None });
    let by_key = refund(Some(Named::OriginalKey("k".into())), Some(Amount::Points(5)), "").unwrap();
    assert_eq!(by_key, Action::Refund { original: key_print("k"), basis: Basis::Points(5), event_kind: None });
    for (original, amount, kind, field) in [
        (None, minor(), "", "refund.event_kind"),
        (Some(Named::OriginalOp(9)), minor(), "purchase", "refund.event_kind"),
        (Some(Named::OriginalOp(0)), minor(), "", "refund.original_op"),
        (Some(Named::OriginalKey("k".repeat(129))), minor(), "", "refund.original_key"),
        (Some(Named::OriginalReference(String::new())), minor(), "", "refund.original_reference"),
        (Some(Named::OriginalOp(9)), None, "", "refund.amount_minor"),
        (Some(Named::OriginalOp(9)), Some(Amount::Points(0)), "", "refund.points"),
    ] {
        assert_eq!(refund(original, amount, kind).unwrap_err().field, field);
    }
    assert!(refund(None, minor(), "purchase").is_ok());
    assert!(refund(None, Some(Amount::Points(5)), "").is_ok());
}

#[test]
fn a_reversal_names_its_original_and_how_much_of_it() {
    use pb::reverse::Original as Named;
    let reverse = |original, units| Sent::Reverse(pb::Reverse { original, units });
    let by_reference = read(reverse(Some(Named::OriginalReference("INV-1".into())), None)).unwrap();
    assert_eq!(by_reference, Action::Reverse { original: Original::Reference("INV-1".into()), units: None });
    let by_key = read(reverse(Some(Named::OriginalKey("k".into())), Some(POINTS_MAX))).unwrap();
    assert_eq!(by_key, Action::Reverse { original: key_print("k"), units: Some(POINTS_MAX.unsigned_abs()) });
    for (original, units, field) in [
        (None, Some(1), "reverse.original_op"),
        (Some(Named::OriginalOp(0)), Some(1), "reverse.original_op"),
        (Some(Named::OriginalKey(String::new())), Some(1), "reverse.original_key"),
        (Some(Named::OriginalReference("r".repeat(129))), Some(1), "reverse.original_reference"),
        (Some(Named::OriginalOp(9)), Some(0), "reverse.units"),
        (Some(Named::OriginalOp(9)), Some(-1), "reverse.units"),
        (Some(Named::OriginalOp(9)), Some(POINTS_MAX + 1), "reverse.units"),
    ] {
        assert_eq!(fault(reverse(original, units)).0, field);
    }
}

#[test]
fn a_purpose_is_one_that_is_known_and_using_is_not_redeeming() {
    let redeem =
        |purpose: i32| Sent::Redeem(pb::Redeem { points: 1, purpose, asset: "wallet".into(), ..Default::default() });
    for (number, expected) in (1..).zip(&Purpose::ALL[..7]) {
        let action = read(redeem(number)).unwrap();
        assert_eq!(action, Action::Redeem { asset: WALLET, points: 1, purpose: *expected });
    }
    for (purpose, reason) in [
        (0, pb::Reason::FieldMissing),
        (8, pb::Reason::FieldMalformed),
        (9, pb::Reason::FieldMalformed),
        (-1, pb::Reason::FieldMalformed),
    ] {
        refused(redeem(purpose), "redeem.purpose", reason);
    }
    let used = |asset: &str, units| Sent::Use(pb::Use { asset: asset.into(), units });
    let action = read(used("coupon", 2)).unwrap();
    assert_eq!(action, Action::Redeem { asset: COUPON, points: 2, purpose: Purpose::Use });
    refused(used("", 2), "use.asset", pb::Reason::FieldMissing);
    refused(used("gems", 2), "use.asset", pb::Reason::AssetUnknown);
    refused(used("coupon", 0), "use.units", pb::Reason::FieldOutOfRange);
}

#[test]
fn an_operators_units_go_either_way_with_who_and_why() {
    let adjust = |points, actor: &str, reason: &str| {
        let asset = "growth".to_owned();
        Sent::Adjust(pb::Adjust { points, actor: actor.into(), reason: reason.into(), asset })
    };
    let opening = |points, actor: &str, reason: &str| {
        let (actor, reason) = (actor.into(), reason.into());
        Sent::Opening(pb::Opening { points, actor, reason, ..Default::default() })
    };
    for points in [1, -1, POINTS_MAX, -POINTS_MAX] {
        let (actor, reason) = (|| "ana".to_owned(), || "moved in".to_owned());
        let adjusted = Action::Adjust { asset: GROWTH, points, actor: actor(), reason: reason() };
        assert_eq!(read(adjust(points, "ana", "moved in")).unwrap(), adjusted);
        let opened =
            Action::Opening { asset: AssetNo::POINTS, points, lapses_us: None, actor: actor(), reason: reason() };
        assert_eq!(read(opening(points, "ana", "moved in")).unwrap(), opened);
    }
    for (points, actor, reason, field) in [
        (0, "ana", "moved in", "points"),
        (POINTS_MAX + 1, "ana", "moved in", "points"),
        (i64::MIN, "ana", "moved in", "points"),
        (1, "", "moved in", "actor"),
        (1, "ana", "", "reason"),
    ] {
        assert_eq!(fault(adjust(points, actor, reason)).0, format!("adjust.{field}"));
        assert_eq!(fault(opening(points, actor, reason)).0, format!("opening.{field}"));
    }
}

#[test]
fn what_is_moved_in_can_lapse_and_what_is_owed_cannot() {
    let opening = |points, lapses_at_us| {
        let (actor, reason, asset) = ("ana".into(), "moved in".into(), "growth".into());
        Sent::Opening(pb::Opening { points, actor, reason, asset, lapses_at_us })
    };
    let Action::Opening { asset, lapses_us, .. } = read(opening(5, Some(60))).unwrap() else { panic!() };
    assert_eq!((asset, lapses_us), (GROWTH, Some(60)));
    refused(opening(-5, Some(60)), "opening.lapses_at_us", pb::Reason::FieldMalformed);
    refused(opening(5, Some(i64::MAX)), "opening.lapses_at_us", pb::Reason::FieldOutOfRange);
}

#[test]
fn a_hold_pins_units_of_an_asset_for_a_purpose() {
    let sent = pb::Hold { units: 5, purpose: pb::Purpose::Gift.into(), ..Default::default() };
    let action = read(Sent::Hold(sent.clone())).unwrap();
    let held = Action::Hold { asset: AssetNo::POINTS, units: 5, until_us: None, purpose: Purpose::Gift };
    assert_eq!(action, held);
    let used = pb::Hold { asset: "coupon".into(), purpose: pb::Purpose::Use.into(), until_us: Some(7), ..sent.clone() };
    let held = Action::Hold { asset: COUPON, units: 5, until_us: Some(7), purpose: Purpose::Use };
    assert_eq!(read(Sent::Hold(used)).unwrap(), held);
    for (wrong, field) in [
        (pb::Hold { asset: "gems".into(), ..sent.clone() }, "hold.asset"),
        (pb::Hold { units: 0, ..sent.clone() }, "hold.units"),
        (pb::Hold { purpose: 0, ..sent.clone() }, "hold.purpose"),
        (pb::Hold { until_us: Some(i64::MIN), ..sent }, "hold.until_us"),
    ] {
        assert_eq!(fault(Sent::Hold(wrong)).0, field);
    }
}

#[test]
fn a_capture_and_a_release_name_their_hold() {
    let capture = |hold, units| Sent::Capture(pb::Capture { hold, units, last: true });
    let by_op = read(capture(Some(pb::capture::Hold::HoldOp(9)), 5)).unwrap();
    assert_eq!(by_op, Action::Capture { hold: Original::Op(Op(9)), units: 5, last: true });
    refused(capture(None, 5), "capture.hold_op", pb::Reason::FieldMissing);
    refused(capture(Some(pb::capture::Hold::HoldKey(String::new())), 5), "capture.hold_key", pb::Reason::FieldMissing);
    refused(capture(Some(pb::capture::Hold::HoldOp(9)), 0), "capture.units", pb::Reason::FieldOutOfRange);
    let release = |hold| Sent::Release(pb::Release { hold });
    let by_key = read(release(Some(pb::release::Hold::HoldKey("h".into())))).unwrap();
    assert_eq!(by_key, Action::Release { hold: key_print("h") });
    refused(release(None), "release.hold_op", pb::Reason::FieldMissing);
    refused(release(Some(pb::release::Hold::HoldOp(0))), "release.hold_op", pb::Reason::FieldOutOfRange);
}

#[test]
fn a_top_up_is_paid_for_and_may_have_a_bonus() {
    let top_up = |asset: &str, principal_minor, bonus_minor| {
        Sent::TopUp(pb::TopUp { asset: asset.into(), principal_minor, bonus_minor })
    };
    for bonus in [0, POINTS_MAX] {
        let action = read(top_up("wallet", 5, bonus)).unwrap();
        assert_eq!(action, Action::TopUp { asset: WALLET, principal: 5, bonus: bonus.unsigned_abs() });
    }
    for (asset, principal, bonus, field) in [
        ("", 5, 0, "top_up.asset"),
        ("gems", 5, 0, "top_up.asset"),
        ("wallet", 0, 5, "top_up.principal_minor"),
        ("wallet", 5, -1, "top_up.bonus_minor"),
        ("wallet", 5, POINTS_MAX + 1, "top_up.bonus_minor"),
    ] {
        assert_eq!(fault(top_up(asset, principal, bonus)).0, field);
    }
}

#[test]
fn a_grant_gives_units_that_may_lapse() {
    let grant = |asset: &str, units, lapses_at_us| Sent::Grant(pb::Grant { asset: asset.into(), units, lapses_at_us });
    let action = read(grant("coupon", 1, Some(9))).unwrap();
    assert_eq!(action, Action::Grant { asset: COUPON, units: 1, lapses_us: Some(9) });
    for (asset, units, lapses, field) in [
        ("", 1, None, "grant.asset"),
        ("coupon", 0, None, "grant.units"),
        ("coupon", 1, Some(i64::MAX), "grant.lapses_at_us"),
    ] {
        assert_eq!(fault(grant(asset, units, lapses)).0, field);
    }
}

#[test]
fn an_activation_names_its_earn() {
    use pb::activate::Original as Named;
    let activate = |original| Sent::Activate(pb::Activate { original });
    let action = read(activate(Some(Named::OriginalKey("k".into())))).unwrap();
    assert_eq!(action, Action::Activate { original: key_print("k") });
    refused(activate(None), "activate.original_op", pb::Reason::FieldMissing);
    refused(activate(Some(Named::OriginalOp(0))), "activate.original_op", pb::Reason::FieldOutOfRange);
}

#[test]
fn a_standing_is_changed_by_somebody_for_a_reason() {
    type Act = fn(String, String) -> Sent;
    let acts: [(&str, Standing, Act); 3] = [
        ("freeze", Standing::Frozen, |actor, reason| Sent::Freeze(pb::Freeze { actor, reason })),
        ("unfreeze", Standing::Open, |actor, reason| Sent::Unfreeze(pb::Unfreeze { actor, reason })),
        ("close", Standing::Closed, |actor, reason| Sent::Close(pb::Close { actor, reason })),
    ];
    for (name, change, act) in acts {
        let action = read(act("ana".into(), "fraud".into())).unwrap();
        assert_eq!(action, Action::Standing { change, actor: "ana".into(), reason: "fraud".into() });
        assert_eq!(fault(act(String::new(), "fraud".into())).0, format!("{name}.actor"));
        assert_eq!(fault(act("ana".into(), "r".repeat(257))).0, format!("{name}.reason"));
    }
}

#[test]
fn pieces_of_a_reward_are_said_by_its_name_and_how_many_and_by_nothing_else() {
    let gift = pb::Purpose::Gift.into();
    let sent = pb::Redeem { reward: "mug".into(), quantity: PIECES_MAX, purpose: gift, ..Default::default() };
    let held = pb::Hold { reward: "mug".into(), quantity: 1, purpose: gift, until_us: Some(7), ..Default::default() };
    let (sku, pieces, purpose) = ("mug".to_owned(), PIECES_MAX.unsigned_abs(), Purpose::Gift);
    assert_eq!(read(Sent::Redeem(sent.clone())).unwrap(), Action::Claim { sku: sku.clone(), pieces, purpose });
    let reserved = Action::Reserve { sku, pieces: 1, until_us: Some(7), purpose };
    assert_eq!(read(Sent::Hold(held.clone())).unwrap(), reserved);
    let (payment, used) = (pb::Purpose::Payment.into(), pb::Purpose::Use.into());
    let (malformed, range) = (pb::Reason::FieldMalformed, pb::Reason::FieldOutOfRange);
    for (wrong, field, reason) in [
        (pb::Redeem { reward: String::new(), points: 1, ..sent.clone() }, "quantity", malformed),
        (pb::Redeem { reward: "m".repeat(65), ..sent.clone() }, "reward", pb::Reason::FieldTooLong),
        (pb::Redeem { points: 1, ..sent.clone() }, "points", malformed),
        (pb::Redeem { asset: "points".into(), ..sent.clone() }, "asset", malformed),
        (pb::Redeem { purpose: payment, ..sent.clone() }, "purpose", malformed),
        (pb::Redeem { purpose: used, ..sent.clone() }, "purpose", malformed),
        (pb::Redeem { quantity: 0, ..sent.clone() }, "quantity", range),
        (pb::Redeem { quantity: -1, ..sent.clone() }, "quantity", range),
        (pb::Redeem { quantity: PIECES_MAX + 1, ..sent }, "quantity", range),
    ] {
        refused(Sent::Redeem(wrong), &format!("redeem.{field}"), reason);
    }
    for (wrong, field, reason) in [
        (pb::Hold { reward: String::new(), units: 1, ..held.clone() }, "quantity", malformed),
        (pb::Hold { reward: "m".repeat(65), ..held.clone() }, "reward", pb::Reason::FieldTooLong),
        (pb::Hold { units: 1, ..held.clone() }, "units", malformed),
        (pb::Hold { asset: "points".into(), ..held.clone() }, "asset", malformed),
        (pb::Hold { purpose: payment, ..held.clone() }, "purpose", malformed),
        (pb::Hold { purpose: used, ..held.clone() }, "purpose", malformed),
        (pb::Hold { quantity: 0, ..held }, "quantity", range),
    ] {
        refused(Sent::Hold(wrong), &format!("hold.{field}"), reason);
    }
}

#[test]
fn a_member_is_told_a_date_or_tags_each_once() {
    let list = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let set = |joined_on: Option<&str>, add: &[&str], remove: &[&str]| {
        let (joined_on, add_tags, remove_tags) = (joined_on.map(str::to_owned), list(add), list(remove));
        Sent::MemberSet(pb::MemberSet { joined_on, add_tags, remove_tags })
    };
    let numbers: Vec<String> = (0..=TAGS_PER_MEMBER_MAX).map(|number| format!("tag {number}")).collect();
    let tags: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let (all, long) = (&tags[..TAGS_PER_MEMBER_MAX], "t".repeat(TAG_BYTES_MAX + 1));
    for (date, day) in [("1970-01-02", 1), ("0001-01-01", -719_162), ("9999-12-31", 2_932_896)] {
        let Action::MemberSet { joined_day, .. } = read(set(Some(date), &[], &[])).unwrap() else { panic!() };
        assert_eq!(joined_day, Some(day));
    }
    for (add, remove) in [(all, &["vip"][..]), (&["vip"][..], all)] {
        let told = Action::MemberSet { joined_day: None, add: list(add), remove: list(remove) };
        assert_eq!(read(set(None, add, remove)).unwrap(), told);
    }
    for (wrong, field, reason) in [
        (set(None, &[], &[]), "joined_on", pb::Reason::FieldMissing),
        (set(Some(""), &[], &[]), "joined_on", pb::Reason::FieldMalformed),
        (set(Some("2026-02-29"), &[], &[]), "joined_on", pb::Reason::FieldMalformed),
        (set(Some("2026-2-28"), &[], &[]), "joined_on", pb::Reason::FieldMalformed),
        (set(Some("28-02-2026"), &[], &[]), "joined_on", pb::Reason::FieldMalformed),
        (set(Some("2026-W09-6"), &[], &[]), "joined_on", pb::Reason::FieldMalformed),
        (set(Some("2026-02-28T12:00"), &[], &[]), "joined_on", pb::Reason::FieldMalformed),
        (set(Some("20260228T1"), &[], &[]), "joined_on", pb::Reason::FieldMalformed),
        (set(Some("0000-12-31"), &[], &[]), "joined_on", pb::Reason::FieldOutOfRange),
        (set(None, &tags, &[]), "add_tags", pb::Reason::FieldOutOfRange),
        (set(None, &[], &tags), "remove_tags", pb::Reason::FieldOutOfRange),
        (set(None, &["vip", ""], &[]), "add_tags[1]", pb::Reason::FieldMissing),
        (set(None, &[], &[&long]), "remove_tags[0]", pb::Reason::FieldTooLong),
        (set(None, &["vip", "new", "vip"], &[]), "add_tags[2]", pb::Reason::FieldMalformed),
        (set(None, &[], &["vip", "vip"]), "remove_tags[1]", pb::Reason::FieldMalformed),
        (set(None, &["vip", "new"], &["old", "new"]), "remove_tags[1]", pb::Reason::FieldMalformed),
    ] {
        refused(wrong, &format!("member_set.{field}"), reason);
    }
}
