//! From the contract's actions to the ledger's: which units, of which asset, of which event, and every check of their shape.

#[cfg(test)]
mod tests;

use smol_str::SmolStr;

use super::item::Earn;
use super::shape::{self, Fault};
use crate::constants::{
    AMOUNT_MINOR_MAX, ASSET_ID_BYTES_MAX, EVENT_KIND_BYTES_MAX, KEY_BYTES_MAX, MEMBER_ID_BYTES_MAX, PIECES_MAX,
    POINTS_MAX, PROGRAM_ID_BYTES_MAX, REFERENCE_BYTES_MAX, REWARD_ID_BYTES_MAX, TAG_BYTES_MAX, TAGS_PER_MEMBER_MAX,
};
use crate::engine::names::Names;
use crate::ledger::command::{Action, Basis, Matures, Named, Original, Purpose, Standing};
use crate::ledger::event::CHECKOUT_PARTS_MAX;
use crate::ledger::ids::{AssetNo, Op, ProgramNo};
use crate::ledger::print::Prints;
use crate::proto as pb;

/// The program whose action is read.
#[derive(Clone, Copy)]
pub(super) struct Within<'a> {
    /// The names of the programs.
    pub(super) names: &'a Names,
    /// The hasher of keys.
    pub(super) prints: &'a Prints,
    /// The program.
    pub(super) program: ProgramNo,
    /// Its id.
    pub(super) program_id: &'a str,
    /// The id of the command's member.
    pub(super) member_id: &'a str,
}

/// How another event is named, whichever message says it.
enum NamedBy {
    Op(u64),
    Key(String),
    Reference(String),
}

macro_rules! named {
    ($($path:path { $($variant:ident => $to:ident),* })*) => {
        $(impl From<$path> for NamedBy {
            fn from(sent: $path) -> Self {
                type Sent = $path;
                match sent { $(Sent::$variant(value) => Self::$to(value),)* }
            }
        })*
    };
}

named! {
    pb::refund::Original { OriginalOp => Op, OriginalKey => Key, OriginalReference => Reference }
    pb::reverse::Original { OriginalOp => Op, OriginalKey => Key, OriginalReference => Reference }
    pb::activate::Original { OriginalOp => Op, OriginalKey => Key, OriginalReference => Reference }
    pb::capture::Hold { HoldOp => Op, HoldKey => Key }
    pb::release::Hold { HoldOp => Op, HoldKey => Key }
}

impl Within<'_> {
    /// The ledger's action.
    ///
    /// # Errors
    /// The first fault of its shape, with a path that begins in the command.
    pub(super) fn action(self, sent: Option<pb::command::Action>) -> Result<Action, Fault> {
        use pb::command::Action as Sent;
        match sent.ok_or_else(|| Fault::missing("action"))? {
            Sent::Earn(earn) => self.earn(&Earn::from(&earn)),
            Sent::Refund(refund) => self.refund(refund),
            Sent::Redeem(redeem) => self.redeem(&redeem),
            Sent::Adjust(adjust) => self.adjust(adjust),
            Sent::Opening(opening) => self.opening(opening),
            Sent::Reverse(reverse) => self.reverse(reverse),
            Sent::Hold(hold) => self.hold(&hold),
            Sent::Capture(capture) => self.capture(capture),
            Sent::Release(release) => Ok(Action::Release { hold: self.named("release.hold", release.hold)? }),
            Sent::TopUp(top_up) => self.top_up(&top_up),
            Sent::Grant(grant) => self.grant(&grant),
            Sent::Use(used) => Ok(Action::Redeem {
                asset: self.needed_asset("use.asset", &used.asset)?,
                points: shape::points("use.units", used.units)?,
                purpose: Purpose::Use,
            }),
            Sent::Activate(activate) => {
                Ok(Action::Activate { original: self.named("activate.original", activate.original)? })
            }
            Sent::Freeze(act) => standing("freeze.", Standing::Frozen, act.actor, act.reason),
            Sent::Unfreeze(act) => standing("unfreeze.", Standing::Open, act.actor, act.reason),
            Sent::Close(act) => standing("close.", Standing::Closed, act.actor, act.reason),
            Sent::Transfer(transfer) => self.transfer(transfer),
            Sent::Convert(convert) => self.convert(convert),
            Sent::Merge(merge) => self.merge(merge),
            Sent::MemberSet(set) => member_set(set),
            // What it holds are commands; see [`Self::parts`].
            Sent::Checkout(_) => Err(Fault::missing("checkout.parts")),
        }
    }

    /// The actions of a checkout's parts.
    ///
    /// # Errors
    /// The first fault of its shape, with a path that begins in the command.
    pub(super) fn parts(self, checkout: pb::Checkout) -> Result<Vec<Action>, Fault> {
        use pb::checkout_part::Part;
        use pb::command::Action as Sent;
        if !(2..=CHECKOUT_PARTS_MAX).contains(&checkout.parts.len()) {
            let text = format!("must be 2 to {CHECKOUT_PARTS_MAX}");
            return Err(Fault::out_of_range("checkout.parts", &text));
        }
        let mut actions = Vec::with_capacity(checkout.parts.len());
        for (place, part) in checkout.parts.into_iter().enumerate() {
            let path = format!("checkout.parts[{place}].");
            let sent = match part.part {
                Some(Part::Redeem(redeem)) => Sent::Redeem(redeem),
                Some(Part::Use(used)) => Sent::Use(used),
                Some(Part::Capture(capture)) => Sent::Capture(capture),
                Some(Part::Earn(earn)) => Sent::Earn(earn),
                None => return Err(Fault::missing("part").within(&path)),
            };
            let earns = |action: &Action| matches!(action, Action::Earn { .. });
            if matches!(sent, Sent::Earn(_)) && actions.iter().any(earns) {
                return Err(Fault::malformed(&format!("{path}earn"), "is the second one"));
            }
            actions.push(self.action(Some(sent)).map_err(|fault| fault.within(&path))?);
        }
        Ok(actions)
    }

    /// The number of an asset; empty for `points`.
    fn asset(self, field: &str, id: &str) -> Result<AssetNo, Fault> {
        if id.is_empty() {
            return Ok(AssetNo::POINTS);
        }
        shape::text(field, id, ASSET_ID_BYTES_MAX)?;
        self.names.asset_number(self.program, id).ok_or_else(|| Fault::asset_unknown(field))
    }

    /// The same where `points` cannot be meant.
    fn needed_asset(self, field: &str, id: &str) -> Result<AssetNo, Fault> {
        shape::needed(field, id, ASSET_ID_BYTES_MAX)?;
        self.asset(field, id)
    }

    /// Another event, by op, key or reference; `field` is the path without `_op`, `_key` and `_reference`.
    fn named(self, field: &str, named: Option<impl Into<NamedBy>>) -> Result<Original, Fault> {
        match named.map(Into::into) {
            None => Err(Fault::missing(&format!("{field}_op"))),
            Some(NamedBy::Op(0)) => Err(Fault::out_of_range(&format!("{field}_op"), "must be at least 1")),
            Some(NamedBy::Op(op)) => Ok(Original::Op(Op(op))),
            Some(NamedBy::Key(key)) => {
                shape::needed(&format!("{field}_key"), &key, KEY_BYTES_MAX)?;
                Ok(Original::Key(self.prints.key(self.program_id, &key)))
            }
            Some(NamedBy::Reference(reference)) => {
                shape::needed(&format!("{field}_reference"), &reference, REFERENCE_BYTES_MAX)?;
                Ok(Original::Reference(reference))
            }
        }
    }

    /// The action of an earn.
    ///
    /// # Errors
    /// The first fault of its shape, with a path that begins in the command.
    pub(super) fn earn(self, earn: &Earn<'_>) -> Result<Action, Fault> {
        let basis = match earn.basis {
            Some(pb::earn::Basis::AmountMinor(minor)) => {
                Basis::Spend(shape::amount("earn.amount_minor", minor, AMOUNT_MINOR_MAX)?)
            }
            Some(pb::earn::Basis::Points(points)) => Basis::Points(shape::points("earn.points", points)?),
            None => return Err(Fault::missing("earn.amount_minor")),
        };
        let event_kind = event_kind("earn.event_kind", earn.event_kind)?;
        match basis {
            Basis::Spend(_) if event_kind.is_none() => return Err(Fault::missing("earn.event_kind")),
            Basis::Spend(_) if !earn.asset.is_empty() => {
                return Err(Fault::malformed("earn.asset", "must be empty where money was spent: the rules say it"));
            }
            _ => {}
        }
        let matures = match earn.pending {
            None => None,
            Some(pb::earn::Pending::PendingUntilUs(us)) => {
                shape::calendar("earn.pending_until_us", us)?;
                Some(Matures::At(us))
            }
            Some(pb::earn::Pending::UntilActivated(true)) => Some(Matures::Activated),
            Some(pb::earn::Pending::UntilActivated(false)) => {
                return Err(Fault::malformed("earn.until_activated", "must be true where it is set"));
            }
        };
        Ok(Action::Earn { basis, event_kind, asset: self.asset("earn.asset", earn.asset)?, matures })
    }

    fn refund(self, refund: pb::Refund) -> Result<Action, Fault> {
        use pb::refund::Amount;
        let original = match refund.original {
            None => Original::None,
            named => self.named("refund.original", named)?,
        };
        let basis = match refund.amount {
            Some(Amount::AmountMinor(minor)) => {
                Basis::Spend(shape::amount("refund.amount_minor", minor, AMOUNT_MINOR_MAX)?)
            }
            Some(Amount::Points(points)) => Basis::Points(shape::points("refund.points", points)?),
            None => return Err(Fault::missing("refund.amount_minor")),
        };
        let event_kind = event_kind("refund.event_kind", &refund.event_kind)?;
        match (&original, basis, &event_kind) {
            (Original::None, Basis::Spend(_), None) => Err(Fault::missing("refund.event_kind")),
            (Original::None, _, _) | (_, _, None) => Ok(Action::Refund { original, basis, event_kind }),
            (_, _, Some(_)) => Err(Fault::malformed("refund.event_kind", "must be empty where an original is named")),
        }
    }

    fn redeem(self, redeem: &pb::Redeem) -> Result<Action, Fault> {
        let purpose = match purpose("redeem.purpose", redeem.purpose)? {
            Purpose::Use => return Err(Fault::malformed("redeem.purpose", "is what `use` is for")),
            purpose => purpose,
        };
        let of_units = ("redeem.points", redeem.points, redeem.asset.as_str());
        if let Some(pieces) = pieces("redeem.", (&redeem.reward, redeem.quantity), of_units, purpose)? {
            return Ok(Action::Claim { sku: redeem.reward.clone(), pieces, purpose });
        }
        let points = shape::points("redeem.points", redeem.points)?;
        Ok(Action::Redeem { asset: self.asset("redeem.asset", &redeem.asset)?, points, purpose })
    }

    fn adjust(self, adjust: pb::Adjust) -> Result<Action, Fault> {
        let pb::Adjust { points, actor, reason, asset } = adjust;
        shape::signed_points("adjust.points", points)?;
        shape::act("adjust.", &actor, &reason)?;
        Ok(Action::Adjust { asset: self.asset("adjust.asset", &asset)?, points, actor, reason })
    }

    fn opening(self, opening: pb::Opening) -> Result<Action, Fault> {
        let pb::Opening { points, actor, reason, asset, lapses_at_us: lapses_us } = opening;
        shape::signed_points("opening.points", points)?;
        shape::act("opening.", &actor, &reason)?;
        if points < 0 && lapses_us.is_some() {
            return Err(Fault::malformed("opening.lapses_at_us", "must be absent where the member owes"));
        }
        lapses_us.map_or(Ok(()), |us| shape::calendar("opening.lapses_at_us", us))?;
        Ok(Action::Opening { asset: self.asset("opening.asset", &asset)?, points, lapses_us, actor, reason })
    }

    fn reverse(self, reverse: pb::Reverse) -> Result<Action, Fault> {
        let original = self.named("reverse.original", reverse.original)?;
        let units = reverse.units.map(|units| shape::points("reverse.units", units)).transpose()?;
        Ok(Action::Reverse { original, units })
    }

    fn hold(self, hold: &pb::Hold) -> Result<Action, Fault> {
        let purpose = purpose("hold.purpose", hold.purpose)?;
        hold.until_us.map_or(Ok(()), |us| shape::calendar("hold.until_us", us))?;
        let of_units = ("hold.units", hold.units, hold.asset.as_str());
        if let Some(pieces) = pieces("hold.", (&hold.reward, hold.quantity), of_units, purpose)? {
            return Ok(Action::Reserve { sku: hold.reward.clone(), pieces, until_us: hold.until_us, purpose });
        }
        let asset = self.asset("hold.asset", &hold.asset)?;
        let units = shape::points("hold.units", hold.units)?;
        Ok(Action::Hold { asset, units, until_us: hold.until_us, purpose })
    }

    fn capture(self, capture: pb::Capture) -> Result<Action, Fault> {
        let hold = self.named("capture.hold", capture.hold)?;
        Ok(Action::Capture { hold, units: shape::points("capture.units", capture.units)?, last: capture.last })
    }

    fn top_up(self, top_up: &pb::TopUp) -> Result<Action, Fault> {
        let asset = self.needed_asset("top_up.asset", &top_up.asset)?;
        let principal = shape::points("top_up.principal_minor", top_up.principal_minor)?;
        let bonus = match u64::try_from(top_up.bonus_minor) {
            Ok(bonus) if top_up.bonus_minor <= POINTS_MAX => bonus,
            _ => return Err(Fault::out_of_range("top_up.bonus_minor", &format!("must be 0 to {POINTS_MAX}"))),
        };
        Ok(Action::TopUp { asset, principal, bonus })
    }

    fn grant(self, grant: &pb::Grant) -> Result<Action, Fault> {
        let asset = self.needed_asset("grant.asset", &grant.asset)?;
        let units = shape::points("grant.units", grant.units)?;
        grant.lapses_at_us.map_or(Ok(()), |us| shape::calendar("grant.lapses_at_us", us))?;
        Ok(Action::Grant { asset, units, lapses_us: grant.lapses_at_us })
    }

    /// Another member, of this program or another one.
    fn member(self, field: &str, program_id: &str, id: String) -> Result<Named, Fault> {
        shape::needed(field, &id, MEMBER_ID_BYTES_MAX)?;
        let hash = self.prints.member(program_id, &id);
        Ok(Named { id, hash })
    }

    fn transfer(self, transfer: pb::Transfer) -> Result<Action, Fault> {
        let to = self.member("transfer.to", self.program_id, transfer.to)?;
        let asset = self.asset("transfer.asset", &transfer.asset)?;
        Ok(Action::Transfer { to, asset, units: shape::points("transfer.units", transfer.units)? })
    }

    fn convert(self, convert: pb::Convert) -> Result<Action, Fault> {
        let pb::Convert { to_program: id, to, asset, to_asset, units } = convert;
        shape::needed("convert.to_program", &id, PROGRAM_ID_BYTES_MAX)?;
        let to_program = self.names.program_number(&id).filter(|number| *number != self.program);
        let to_program = to_program.ok_or_else(|| Fault::program_unknown("convert.to_program"))?;
        let to = if to.is_empty() { self.member_id.to_owned() } else { to };
        let there = Self { program: to_program, ..self };
        Ok(Action::Convert {
            to_program,
            to: self.member("convert.to", &id, to)?,
            asset: self.asset("convert.asset", &asset)?,
            to_asset: there.asset("convert.to_asset", &to_asset)?,
            units: shape::points("convert.units", units)?,
        })
    }

    fn merge(self, merge: pb::Merge) -> Result<Action, Fault> {
        let into = self.member("merge.into", self.program_id, merge.into)?;
        shape::act("merge.", &merge.actor, &merge.reason)?;
        Ok(Action::Merge { into, actor: merge.actor, reason: merge.reason })
    }
}

/// Pieces of a reward, where one is named: its price says how many units of what.
fn pieces(
    prefix: &str,
    (reward, quantity): (&str, i64),
    (units_field, units, asset): (&str, i64, &str),
    purpose: Purpose,
) -> Result<Option<u64>, Fault> {
    let of = |field: &str| format!("{prefix}{field}");
    if reward.is_empty() {
        return match quantity {
            0 => Ok(None),
            _ => Err(Fault::malformed(&of("quantity"), "must be 0 where no reward is named")),
        };
    }
    shape::text(&of("reward"), reward, REWARD_ID_BYTES_MAX)?;
    if units != 0 {
        return Err(Fault::malformed(units_field, "must be 0 where a reward is named: its price says it"));
    }
    if !asset.is_empty() {
        return Err(Fault::malformed(&of("asset"), "must be empty where a reward is named: the reward says it"));
    }
    if matches!(purpose, Purpose::Payment | Purpose::Use) {
        return Err(Fault::malformed(&of("purpose"), "is not what rewards are for"));
    }
    shape::amount(&of("quantity"), quantity, PIECES_MAX).map(Some)
}

fn member_set(set: pb::MemberSet) -> Result<Action, Fault> {
    let joined = set.joined_on.as_deref().map(|date| shape::local_date("member_set.joined_on", date)).transpose()?;
    for (name, tags) in [("add_tags", &set.add_tags), ("remove_tags", &set.remove_tags)] {
        let field = format!("member_set.{name}");
        if tags.len() > TAGS_PER_MEMBER_MAX {
            return Err(Fault::out_of_range(&field, &format!("must be at most {TAGS_PER_MEMBER_MAX}")));
        }
        for (place, tag) in tags.iter().enumerate() {
            let field = format!("{field}[{place}]");
            shape::needed(&field, tag, TAG_BYTES_MAX)?;
            if tags.iter().take(place).any(|before| before == tag) {
                return Err(Fault::malformed(&field, "is there twice"));
            }
        }
    }
    if let Some(place) = set.remove_tags.iter().position(|tag| set.add_tags.contains(tag)) {
        return Err(Fault::malformed(&format!("member_set.remove_tags[{place}]"), "is in add_tags too"));
    }
    if joined.is_none() && set.add_tags.is_empty() && set.remove_tags.is_empty() {
        return Err(Fault::missing("member_set.joined_on"));
    }
    Ok(Action::MemberSet { joined_day: joined, add: set.add_tags, remove: set.remove_tags })
}

fn standing(prefix: &str, change: Standing, actor: String, reason: String) -> Result<Action, Fault> {
    shape::act(prefix, &actor, &reason)?;
    Ok(Action::Standing { change, actor, reason })
}

fn event_kind(field: &str, kind: &str) -> Result<Option<SmolStr>, Fault> {
    shape::text(field, kind, EVENT_KIND_BYTES_MAX)?;
    Ok(Some(kind).filter(|kind| !kind.is_empty()).map(SmolStr::from))
}

fn purpose(field: &str, number: i32) -> Result<Purpose, Fault> {
    match pb::Purpose::try_from(number) {
        Ok(pb::Purpose::CashOffset) => Ok(Purpose::CashOffset),
        Ok(pb::Purpose::Gift) => Ok(Purpose::Gift),
        Ok(pb::Purpose::Coupon) => Ok(Purpose::Coupon),
        Ok(pb::Purpose::Lottery) => Ok(Purpose::Lottery),
        Ok(pb::Purpose::Charity) => Ok(Purpose::Charity),
        Ok(pb::Purpose::Miles) => Ok(Purpose::Miles),
        Ok(pb::Purpose::Payment) => Ok(Purpose::Payment),
        Ok(pb::Purpose::Use) => Ok(Purpose::Use),
        Ok(pb::Purpose::Unspecified) => Err(Fault::missing(field)),
        Err(_) => Err(Fault::malformed(field, "is not a purpose known here")),
    }
}
