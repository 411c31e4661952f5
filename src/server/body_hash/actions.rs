//! The encoding of a command's action: each field under its number in `ledger.proto`.

use super::{Body, Earn};
use crate::proto::{
    Activate, Adjust, Capture, CheckoutPart, Grant, Hold, Opening, Redeem, Refund, Release, Reverse, TopUp, Use,
    activate, capture, checkout_part::Part, command::Action, earn, refund, release, reverse,
};

pub(super) fn put(body: &mut Body<'_>, action: &Action) {
    match action {
        Action::Earn(earn) => body.message(16, |to| put_earn(to, &earn.into())),
        Action::Refund(refund) => body.message(17, |to| put_refund(to, refund)),
        Action::Redeem(redeem) => body.message(18, |to| put_redeem(to, redeem)),
        Action::Adjust(adjust) => body.message(19, |to| put_adjust(to, adjust)),
        Action::Reverse(reverse) => body.message(20, |to| put_reverse(to, reverse)),
        Action::Hold(hold) => body.message(21, |to| put_hold(to, hold)),
        Action::Capture(capture) => body.message(22, |to| put_capture(to, capture)),
        Action::Release(release) => body.message(23, |to| put_release(to, release)),
        Action::TopUp(top_up) => body.message(26, |to| put_top_up(to, top_up)),
        Action::Grant(grant) => body.message(27, |to| put_grant(to, grant)),
        Action::Use(used) => body.message(28, |to| put_use(to, used)),
        Action::Activate(activate) => body.message(29, |to| put_activate(to, activate)),
        Action::Freeze(act) => body.message(31, |to| put_act(to, &act.actor, &act.reason)),
        Action::Close(act) => body.message(32, |to| put_act(to, &act.actor, &act.reason)),
        Action::Opening(opening) => body.message(35, |to| put_opening(to, opening)),
        Action::Unfreeze(act) => body.message(36, |to| put_act(to, &act.actor, &act.reason)),
        Action::Transfer(transfer) => body.message(24, |to| {
            to.text(1, &transfer.to);
            to.text(2, &transfer.asset);
            to.nonzero(3, transfer.units);
        }),
        Action::Convert(convert) => body.message(25, |to| {
            to.text(1, &convert.to_program);
            to.text(2, &convert.to);
            to.text(3, &convert.asset);
            to.text(4, &convert.to_asset);
            to.nonzero(5, convert.units);
        }),
        Action::MemberSet(set) => body.message(30, |to| {
            if let Some(date) = &set.joined_on {
                to.present_text(1, date);
            }
            set.add_tags.iter().for_each(|tag| to.present_text(2, tag));
            set.remove_tags.iter().for_each(|tag| to.present_text(3, tag));
        }),
        Action::Merge(merge) => body.message(33, |to| {
            to.text(1, &merge.into);
            to.text(2, &merge.actor);
            to.text(3, &merge.reason);
        }),
        Action::Checkout(checkout) => body.message(34, |to| {
            checkout.parts.iter().for_each(|part| to.message(1, |to| put_part(to, part)));
        }),
    }
}

fn put_part(to: &mut Body<'_>, part: &CheckoutPart) {
    match &part.part {
        Some(Part::Redeem(redeem)) => to.message(1, |to| put_redeem(to, redeem)),
        Some(Part::Use(used)) => to.message(2, |to| put_use(to, used)),
        Some(Part::Capture(capture)) => to.message(3, |to| put_capture(to, capture)),
        Some(Part::Earn(earn)) => to.message(4, |to| put_earn(to, &earn.into())),
        None => {}
    }
}

fn put_use(to: &mut Body<'_>, used: &Use) {
    to.text(1, &used.asset);
    to.nonzero(2, used.units);
}

pub(super) fn put_earn(to: &mut Body<'_>, earn: &Earn<'_>) {
    match earn.basis {
        Some(earn::Basis::AmountMinor(amount)) => to.signed(1, amount),
        Some(earn::Basis::Points(points)) => to.signed(2, points),
        None => {}
    }
    to.text(3, earn.event_kind);
    to.text(4, earn.asset);
    match earn.pending {
        Some(earn::Pending::PendingUntilUs(us)) => to.signed(5, us),
        Some(earn::Pending::UntilActivated(waits)) => to.unsigned(6, u64::from(waits)),
        None => {}
    }
}

fn put_refund(to: &mut Body<'_>, refund: &Refund) {
    match &refund.original {
        Some(refund::Original::OriginalOp(op)) => to.unsigned(1, *op),
        Some(refund::Original::OriginalKey(key)) => to.present_text(2, key),
        Some(refund::Original::OriginalReference(reference)) => to.present_text(3, reference),
        None => {}
    }
    match refund.amount {
        Some(refund::Amount::AmountMinor(amount)) => to.signed(4, amount),
        Some(refund::Amount::Points(points)) => to.signed(5, points),
        None => {}
    }
    to.text(6, &refund.event_kind);
}

fn put_redeem(to: &mut Body<'_>, redeem: &Redeem) {
    to.nonzero(1, redeem.points);
    to.nonzero(2, i64::from(redeem.purpose));
    to.text(3, &redeem.asset);
    to.text(4, &redeem.reward);
    to.nonzero(5, redeem.quantity);
}

fn put_adjust(to: &mut Body<'_>, adjust: &Adjust) {
    to.nonzero(1, adjust.points);
    to.text(2, &adjust.actor);
    to.text(3, &adjust.reason);
    to.text(4, &adjust.asset);
}

fn put_opening(to: &mut Body<'_>, opening: &Opening) {
    to.nonzero(1, opening.points);
    to.text(2, &opening.actor);
    to.text(3, &opening.reason);
    to.text(4, &opening.asset);
    to.optional(5, opening.lapses_at_us);
}

fn put_reverse(to: &mut Body<'_>, reverse: &Reverse) {
    match &reverse.original {
        Some(reverse::Original::OriginalOp(op)) => to.unsigned(1, *op),
        Some(reverse::Original::OriginalKey(key)) => to.present_text(2, key),
        Some(reverse::Original::OriginalReference(reference)) => to.present_text(3, reference),
        None => {}
    }
    to.optional(4, reverse.units);
}

fn put_hold(to: &mut Body<'_>, hold: &Hold) {
    to.text(1, &hold.asset);
    to.nonzero(2, hold.units);
    to.nonzero(3, i64::from(hold.purpose));
    to.optional(4, hold.until_us);
    to.text(5, &hold.reward);
    to.nonzero(6, hold.quantity);
}

fn put_capture(to: &mut Body<'_>, capture: &Capture) {
    match &capture.hold {
        Some(capture::Hold::HoldOp(op)) => to.unsigned(1, *op),
        Some(capture::Hold::HoldKey(key)) => to.present_text(2, key),
        None => {}
    }
    to.nonzero(3, capture.units);
    to.flag(4, capture.last);
}

fn put_release(to: &mut Body<'_>, release: &Release) {
    match &release.hold {
        Some(release::Hold::HoldOp(op)) => to.unsigned(1, *op),
        Some(release::Hold::HoldKey(key)) => to.present_text(2, key),
        None => {}
    }
}

fn put_top_up(to: &mut Body<'_>, top_up: &TopUp) {
    to.text(1, &top_up.asset);
    to.nonzero(2, top_up.principal_minor);
    to.nonzero(3, top_up.bonus_minor);
}

fn put_grant(to: &mut Body<'_>, grant: &Grant) {
    to.text(1, &grant.asset);
    to.nonzero(2, grant.units);
    to.optional(3, grant.lapses_at_us);
}

fn put_activate(to: &mut Body<'_>, activate: &Activate) {
    match &activate.original {
        Some(activate::Original::OriginalOp(op)) => to.unsigned(1, *op),
        Some(activate::Original::OriginalKey(key)) => to.present_text(2, key),
        Some(activate::Original::OriginalReference(reference)) => to.present_text(3, reference),
        None => {}
    }
}

/// Freeze, unfreeze and close are numbered alike.
fn put_act(to: &mut Body<'_>, actor: &str, reason: &str) {
    to.text(1, actor);
    to.text(2, reason);
}

/// Actions as the golden vectors write them.
#[cfg(test)]
pub(super) mod golden {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;
    use crate::proto::{Checkout, Close, Convert, Earn, Freeze, MemberSet, Merge, Purpose, Transfer, Unfreeze};
    use serde_json::Value;

    pub(in super::super) fn text(object: &Value, name: &str) -> String {
        object.get(name).map_or_else(String::new, |v| v.as_str().unwrap().to_owned())
    }

    pub(in super::super) fn number(object: &Value, name: &str) -> Option<i64> {
        object.get(name).map(|v| v.as_i64().unwrap())
    }

    fn units(json: &Value, name: &str) -> i64 {
        number(json, name).unwrap_or_default()
    }

    fn purpose(json: &Value) -> i32 {
        Purpose::from_str_name(&text(json, "purpose")).unwrap_or_default().into()
    }

    /// The member of a oneof that is there, by the names of its fields.
    fn named<T>(
        json: &Value,
        stem: &str,
        op: impl FnOnce(u64) -> T,
        key: impl FnOnce(String) -> T,
        reference: impl FnOnce(String) -> T,
    ) -> Option<T> {
        let field = |end: &str| json.get(format!("{stem}_{end}"));
        let said = |value: &Value| value.as_str().unwrap().to_owned();
        match (field("op"), field("key"), field("reference")) {
            (Some(number), ..) => Some(op(number.as_u64().unwrap())),
            (_, Some(name), _) => Some(key(said(name))),
            (.., Some(name)) => Some(reference(said(name))),
            _ => None,
        }
    }

    fn earn(json: &Value) -> Earn {
        let spent = number(json, "amount_minor").map(earn::Basis::AmountMinor);
        let waits = json.get("until_activated").map(|v| earn::Pending::UntilActivated(v.as_bool().unwrap()));
        Earn {
            basis: spent.or_else(|| number(json, "points").map(earn::Basis::Points)),
            event_kind: text(json, "event_kind"),
            asset: text(json, "asset"),
            pending: number(json, "pending_until_us").map(earn::Pending::PendingUntilUs).or(waits),
        }
    }

    fn refund(json: &Value) -> Refund {
        use refund::{Amount, Original as By};
        let amount = number(json, "amount_minor").map(Amount::AmountMinor);
        Refund {
            original: named(json, "original", By::OriginalOp, By::OriginalKey, By::OriginalReference),
            amount: amount.or_else(|| number(json, "points").map(Amount::Points)),
            event_kind: text(json, "event_kind"),
        }
    }

    fn reverse(json: &Value) -> Reverse {
        use reverse::Original as By;
        let original = named(json, "original", By::OriginalOp, By::OriginalKey, By::OriginalReference);
        Reverse { original, units: number(json, "units") }
    }

    fn hold(json: &Value) -> Hold {
        let ([asset, reward], quantity) = (["asset", "reward"].map(|name| text(json, name)), units(json, "quantity"));
        let (units, until_us) = (units(json, "units"), number(json, "until_us"));
        Hold { asset, units, purpose: purpose(json), until_us, reward, quantity }
    }

    fn capture(json: &Value) -> Capture {
        use capture::Hold as By;
        let hold = named(json, "hold", By::HoldOp, By::HoldKey, |_| panic!("a hold has no reference"));
        Capture { hold, units: units(json, "units"), last: json.get("last").is_some_and(|v| v.as_bool().unwrap()) }
    }

    fn release(json: &Value) -> Release {
        use release::Hold as By;
        Release { hold: named(json, "hold", By::HoldOp, By::HoldKey, |_| panic!("a hold has no reference")) }
    }

    fn top_up(json: &Value) -> TopUp {
        let [principal_minor, bonus_minor] = ["principal_minor", "bonus_minor"].map(|name| units(json, name));
        TopUp { asset: text(json, "asset"), principal_minor, bonus_minor }
    }

    fn redeem(json: &Value) -> Redeem {
        let [asset, reward] = ["asset", "reward"].map(|name| text(json, name));
        let [points, quantity] = ["points", "quantity"].map(|name| units(json, name));
        Redeem { points, purpose: purpose(json), asset, reward, quantity }
    }

    fn used(json: &Value) -> Use {
        Use { asset: text(json, "asset"), units: units(json, "units") }
    }

    fn texts(json: &Value, name: &str) -> Vec<String> {
        let values = json.get(name).and_then(Value::as_array).into_iter().flatten();
        values.map(|value| value.as_str().unwrap().to_owned()).collect()
    }

    fn checkout(json: &Value) -> Checkout {
        let part = |json: &Value| {
            let part = json.as_object().unwrap().iter().next().map(|(name, json)| match name.as_str() {
                "redeem" => Part::Redeem(redeem(json)),
                "use" => Part::Use(used(json)),
                "capture" => Part::Capture(capture(json)),
                "earn" => Part::Earn(earn(json)),
                _ => panic!("{name} is no part of a checkout"),
            });
            CheckoutPart { part }
        };
        Checkout { parts: json["parts"].as_array().unwrap().iter().map(part).collect() }
    }

    fn activate(json: &Value) -> Activate {
        use activate::Original as By;
        Activate { original: named(json, "original", By::OriginalOp, By::OriginalKey, By::OriginalReference) }
    }

    /// The action of a command, if it has one.
    pub(in super::super) fn action(command: &Value) -> Option<Action> {
        let of = |name: &str| command.get(name).map(|json| (name.to_owned(), json));
        let names = "earn refund redeem adjust reverse hold capture release top_up grant use activate freeze close opening \
                     unfreeze transfer convert member_set merge checkout";
        let (name, json) = names.split(' ').find_map(of)?;
        let [actor, reason, asset] = ["actor", "reason", "asset"].map(|name| text(json, name));
        let points = units(json, "points");
        Some(match name.as_str() {
            "earn" => Action::Earn(earn(json)),
            "refund" => Action::Refund(refund(json)),
            "redeem" => Action::Redeem(redeem(json)),
            "adjust" => Action::Adjust(Adjust { points, actor, reason, asset }),
            "opening" => {
                Action::Opening(Opening { points, actor, reason, asset, lapses_at_us: number(json, "lapses_at_us") })
            }
            "reverse" => Action::Reverse(reverse(json)),
            "hold" => Action::Hold(hold(json)),
            "capture" => Action::Capture(capture(json)),
            "release" => Action::Release(release(json)),
            "top_up" => Action::TopUp(top_up(json)),
            "grant" => {
                Action::Grant(Grant { asset, units: units(json, "units"), lapses_at_us: number(json, "lapses_at_us") })
            }
            "use" => Action::Use(used(json)),
            "transfer" => Action::Transfer(Transfer { to: text(json, "to"), asset, units: units(json, "units") }),
            "convert" => {
                let [to_program, to, to_asset] = ["to_program", "to", "to_asset"].map(|name| text(json, name));
                Action::Convert(Convert { to_program, to, asset, to_asset, units: units(json, "units") })
            }
            "member_set" => {
                let joined_on = json.get("joined_on").map(|v| v.as_str().unwrap().to_owned());
                let [add_tags, remove_tags] = ["add_tags", "remove_tags"].map(|name| texts(json, name));
                Action::MemberSet(MemberSet { joined_on, add_tags, remove_tags })
            }
            "merge" => Action::Merge(Merge { into: text(json, "into"), actor, reason }),
            "checkout" => Action::Checkout(checkout(json)),
            "activate" => Action::Activate(activate(json)),
            "freeze" => Action::Freeze(Freeze { actor, reason }),
            "unfreeze" => Action::Unfreeze(Unfreeze { actor, reason }),
            "close" => Action::Close(Close { actor, reason }),
            _ => panic!("{name} is none of the names"),
        })
    }
}
