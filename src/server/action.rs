//! From the contract's actions to the ledger's: which units, of which asset, of which event, and every check of their shape.

#[cfg(test)]
mod tests;

use super::shape::{self, Fault};
use crate::constants::{
    AMOUNT_MINOR_MAX, ASSET_ID_BYTES_MAX, EVENT_KIND_BYTES_MAX, KEY_BYTES_MAX, POINTS_MAX, REFERENCE_BYTES_MAX,
};
use crate::engine::names::Names;
use crate::ledger::command::{Action, Basis, Matures, Original, Purpose, Standing};
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
}

/// How another event is named, whichever message says it.
enum Named {
    Op(u64),
    Key(String),
    Reference(String),
}

macro_rules! named {
    ($($path:path { $($variant:ident => $to:ident),* })*) => {
        $(impl From<$path> for Named {
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
            Sent::Earn(earn) => self.earn(earn),
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
        }
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
    fn named(self, field: &str, named: Option<impl Into<Named>>) -> Result<Original, Fault> {
        match named.map(Into::into) {
            None => Err(Fault::missing(&format!("{field}_op"))),
            Some(Named::Op(0)) => Err(Fault::out_of_range(&format!("{field}_op"), "must be at least 1")),
            Some(Named::Op(op)) => Ok(Original::Op(Op(op))),
            Some(Named::Key(key)) => {
                shape::needed(&format!("{field}_key"), &key, KEY_BYTES_MAX)?;
                Ok(Original::Key(self.prints.key(self.program_id, &key)))
            }
            Some(Named::Reference(reference)) => {
                shape::needed(&format!("{field}_reference"), &reference, REFERENCE_BYTES_MAX)?;
                Ok(Original::Reference(reference))
            }
        }
    }

    fn earn(self, earn: pb::Earn) -> Result<Action, Fault> {
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
        Ok(Action::Earn { basis, event_kind, asset: self.asset("earn.asset", &earn.asset)?, matures })
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
        let event_kind = event_kind("refund.event_kind", refund.event_kind)?;
        match (&original, basis, &event_kind) {
            (Original::None, Basis::Spend(_), None) => Err(Fault::missing("refund.event_kind")),
            (Original::None, _, _) | (_, _, None) => Ok(Action::Refund { original, basis, event_kind }),
            (_, _, Some(_)) => Err(Fault::malformed("refund.event_kind", "must be empty where an original is named")),
        }
    }

    fn redeem(self, redeem: &pb::Redeem) -> Result<Action, Fault> {
        let points = shape::points("redeem.points", redeem.points)?;
        let purpose = match purpose("redeem.purpose", redeem.purpose)? {
            Purpose::Use => return Err(Fault::malformed("redeem.purpose", "is what `use` is for")),
            purpose => purpose,
        };
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
        let asset = self.asset("hold.asset", &hold.asset)?;
        let units = shape::points("hold.units", hold.units)?;
        let purpose = purpose("hold.purpose", hold.purpose)?;
        hold.until_us.map_or(Ok(()), |us| shape::calendar("hold.until_us", us))?;
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
}

fn standing(prefix: &str, change: Standing, actor: String, reason: String) -> Result<Action, Fault> {
    shape::act(prefix, &actor, &reason)?;
    Ok(Action::Standing { change, actor, reason })
}

fn event_kind(field: &str, kind: String) -> Result<Option<String>, Fault> {
    shape::text(field, &kind, EVENT_KIND_BYTES_MAX)?;
    Ok(Some(kind).filter(|kind| !kind.is_empty()))
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
