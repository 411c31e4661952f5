//! From the ledger's actions, as a book gives them back, to the contract's, with pseudonyms for all that names a person or a thing
//! of the shop.

use jiff::civil::Date;
use stampbook::constants::OCCURRED_US_MIN;
use stampbook::engine::names::Names;
use stampbook::ledger::command::{Action, Basis, Command, Matures, Original, Purpose, Standing};
use stampbook::ledger::ids::{AssetNo, Op, ProgramNo};
use stampbook::proto::{self as pb, checkout_part::Part, command::Action as Sent};

use super::alias::Aliases;
use crate::Failure;

/// Who did and why, where the contract wants to know: the book's own words stay in the book.
pub(crate) const SOMEBODY: &str = "recorded";

/// What an action is translated with.
pub(crate) struct Words<'w> {
    /// Makes pseudonyms.
    pub(crate) aliases: &'w Aliases,
    /// The names behind the numbers.
    pub(crate) names: &'w Names,
    /// The key, in its pseudonym, under which the event at an op can be named; empty where it has none.
    pub(crate) key_of: &'w dyn Fn(Op) -> String,
}

impl Words<'_> {
    /// The command as a replay sends it, at the business time that the recorded one was resolved to.
    pub(crate) fn command(&self, asked: &Command) -> Result<pb::Command, Failure> {
        Ok(pb::Command {
            program: self.program(asked.program)?,
            key: self.aliases.of(&asked.key),
            member: self.aliases.of(&asked.member),
            occurred_at_us: asked.occurred_at_us,
            action: Some(self.action(asked.program, &asked.action)?),
            ..pb::Command::default()
        })
    }

    /// A program's id.
    fn program(&self, number: ProgramNo) -> Result<String, Failure> {
        Ok(self.names.program(number).ok_or("an event's program is unknown")?.id.clone())
    }

    /// An asset's id; of `points` none, as most callers send it.
    fn asset(&self, program: ProgramNo, asset: AssetNo) -> Result<String, Failure> {
        match asset {
            AssetNo::POINTS => Ok(String::new()),
            _ => Ok(self.names.asset(program, asset).ok_or("an event's asset is unknown")?.to_owned()),
        }
    }

    fn key(&self, original: &Original) -> Result<String, Failure> {
        match original {
            Original::Op(op) => Some((self.key_of)(*op)).filter(|key| !key.is_empty()),
            _ => None,
        }
        .ok_or_else(|| "an event names another that has no key".into())
    }

    /// The action as the contract has it.
    pub(crate) fn action(&self, program: ProgramNo, action: &Action) -> Result<Sent, Failure> {
        let asset = |number: &AssetNo| self.asset(program, *number);
        let (actor, reason) = (SOMEBODY.to_owned(), SOMEBODY.to_owned());
        Ok(match action {
            Action::Earn { basis, event_kind, asset: number, matures } => Sent::Earn(pb::Earn {
                basis: Some(match basis {
                    Basis::Spend(minor) => pb::earn::Basis::AmountMinor(signed(*minor)?),
                    Basis::Points(points) => pb::earn::Basis::Points(signed(*points)?),
                }),
                event_kind: event_kind.as_deref().unwrap_or_default().to_owned(),
                asset: if matches!(basis, Basis::Spend(_)) { String::new() } else { asset(number)? },
                pending: matures.map(pending),
            }),
            Action::Refund { original, basis, event_kind } => Sent::Refund(pb::Refund {
                original: match original {
                    Original::None => None,
                    named => Some(pb::refund::Original::OriginalKey(self.key(named)?)),
                },
                amount: Some(match basis {
                    Basis::Spend(minor) => pb::refund::Amount::AmountMinor(signed(*minor)?),
                    Basis::Points(points) => pb::refund::Amount::Points(signed(*points)?),
                }),
                event_kind: event_kind.as_deref().unwrap_or_default().to_owned(),
            }),
            Action::Redeem { asset: number, points, purpose: Purpose::Use } => {
                Sent::Use(pb::Use { asset: asset(number)?, units: signed(*points)? })
            }
            Action::Redeem { asset: number, points, purpose } => Sent::Redeem(pb::Redeem {
                points: signed(*points)?,
                purpose: purpose_of(*purpose),
                asset: asset(number)?,
                ..pb::Redeem::default()
            }),
            Action::Claim { sku, pieces, purpose } => Sent::Redeem(pb::Redeem {
                purpose: purpose_of(*purpose),
                reward: self.aliases.of(sku),
                quantity: signed(*pieces)?,
                ..pb::Redeem::default()
            }),
            Action::TopUp { asset: number, principal, bonus } => Sent::TopUp(pb::TopUp {
                asset: asset(number)?,
                principal_minor: signed(*principal)?,
                bonus_minor: signed(*bonus)?,
            }),
            Action::Grant { asset: number, units, lapses_us } => {
                Sent::Grant(pb::Grant { asset: asset(number)?, units: signed(*units)?, lapses_at_us: *lapses_us })
            }
            Action::Adjust { asset: number, points, .. } => {
                Sent::Adjust(pb::Adjust { points: *points, actor, reason, asset: asset(number)? })
            }
            Action::Opening { asset: number, points, lapses_us, .. } => {
                let (asset, lapses_at_us) = (asset(number)?, *lapses_us);
                Sent::Opening(pb::Opening { points: *points, actor, reason, asset, lapses_at_us })
            }
            action => self.of_holds(program, action)?,
        })
    }

    /// Of actions on holds, and of those that come back to an earlier one.
    fn of_holds(&self, program: ProgramNo, action: &Action) -> Result<Sent, Failure> {
        Ok(match action {
            Action::Hold { asset, units, until_us, purpose } => Sent::Hold(pb::Hold {
                asset: self.asset(program, *asset)?,
                units: signed(*units)?,
                purpose: purpose_of(*purpose),
                until_us: *until_us,
                ..pb::Hold::default()
            }),
            Action::Reserve { sku, pieces, until_us, purpose } => Sent::Hold(pb::Hold {
                purpose: purpose_of(*purpose),
                until_us: *until_us,
                reward: self.aliases.of(sku),
                quantity: signed(*pieces)?,
                ..pb::Hold::default()
            }),
            Action::Capture { hold, units, last } => {
                let hold = Some(pb::capture::Hold::HoldKey(self.key(hold)?));
                Sent::Capture(pb::Capture { hold, units: signed(*units)?, last: *last })
            }
            Action::Release { hold } => {
                Sent::Release(pb::Release { hold: Some(pb::release::Hold::HoldKey(self.key(hold)?)) })
            }
            Action::Activate { original } => {
                let original = Some(pb::activate::Original::OriginalKey(self.key(original)?));
                Sent::Activate(pb::Activate { original })
            }
            Action::Reverse { original, units } => Sent::Reverse(pb::Reverse {
                original: Some(pb::reverse::Original::OriginalKey(self.key(original)?)),
                units: units.map(signed).transpose()?,
            }),
            action => self.of_members(program, action)?,
        })
    }

    /// Of actions that concern what members are, or two of them.
    fn of_members(&self, program: ProgramNo, action: &Action) -> Result<Sent, Failure> {
        let (actor, reason) = (SOMEBODY.to_owned(), SOMEBODY.to_owned());
        Ok(match action {
            Action::Standing { change: Standing::Open, .. } => Sent::Unfreeze(pb::Unfreeze { actor, reason }),
            Action::Standing { change: Standing::Frozen, .. } => Sent::Freeze(pb::Freeze { actor, reason }),
            Action::Standing { change: Standing::Closed, .. } => Sent::Close(pb::Close { actor, reason }),
            Action::Transfer { to, asset, units } => Sent::Transfer(pb::Transfer {
                to: self.aliases.of(&to.id),
                asset: self.asset(program, *asset)?,
                units: signed(*units)?,
            }),
            Action::Convert { to_program, to, asset, to_asset, units } => Sent::Convert(pb::Convert {
                to_program: self.program(*to_program)?,
                to: self.aliases.of(&to.id),
                asset: self.asset(program, *asset)?,
                to_asset: self.asset(*to_program, *to_asset)?,
                units: signed(*units)?,
            }),
            Action::Merge { into, .. } => Sent::Merge(pb::Merge { into: self.aliases.of(&into.id), actor, reason }),
            Action::MemberSet { joined_day, add, remove } => {
                let tags = |tags: &[String]| tags.iter().map(|tag| self.aliases.of(tag)).collect::<Vec<_>>();
                let mut set = pb::MemberSet {
                    joined_on: joined_day.map(date).transpose()?,
                    add_tags: tags(add),
                    remove_tags: tags(remove),
                };
                if set == pb::MemberSet::default() {
                    // It told what was known already, and what that was is not in the book: a tag that nobody has is taken off.
                    set.remove_tags = vec![self.aliases.of("")];
                }
                Sent::MemberSet(set)
            }
            other => return Err(format!("an event of {other:?} is not known to a trace").into()),
        })
    }
}

/// The part of a checkout that does this.
pub(crate) fn part_of(sent: Sent) -> Result<Part, Failure> {
    Ok(match sent {
        Sent::Redeem(redeem) => Part::Redeem(redeem),
        Sent::Use(used) => Part::Use(used),
        Sent::Capture(capture) => Part::Capture(capture),
        Sent::Earn(earn) => Part::Earn(earn),
        other => return Err(format!("{other:?} is no part of a checkout").into()),
    })
}

fn signed(units: u64) -> Result<i64, Failure> {
    i64::try_from(units).map_err(|_| "an event's units are too many".into())
}

/// Until when an award waits. One that did not wait is told to have waited until the beginning of time, whatever its rule says.
fn pending(matures: Matures) -> pb::earn::Pending {
    match matures {
        Matures::At(instant) => pb::earn::Pending::PendingUntilUs(instant.max(OCCURRED_US_MIN)),
        Matures::Activated => pb::earn::Pending::UntilActivated(true),
    }
}

fn date(day: i32) -> Result<String, Failure> {
    let epoch = Date::constant(1970, 1, 1);
    Ok(epoch.checked_add(jiff::Span::new().try_days(day)?)?.to_string())
}

fn purpose_of(purpose: Purpose) -> i32 {
    match purpose {
        Purpose::CashOffset => pb::Purpose::CashOffset,
        Purpose::Gift => pb::Purpose::Gift,
        Purpose::Coupon => pb::Purpose::Coupon,
        Purpose::Lottery => pb::Purpose::Lottery,
        Purpose::Charity => pb::Purpose::Charity,
        Purpose::Miles => pb::Purpose::Miles,
        Purpose::Payment => pb::Purpose::Payment,
        Purpose::Use => pb::Purpose::Use,
    }
    .into()
}
