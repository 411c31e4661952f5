//! Turning units into those of another program, as one event on both sides.

use super::command::{Command, Named};
use super::decide::{AMOUNT, ASSET, Halt, Refused, asset_of, common_of, lot_for, may, roll};
use super::event::{Account, Converted, Event, Other, Source};
use super::ids::{AssetNo, MemberNo, ProgramNo};
use super::posting::{Posting, units};
use super::reason::Reason;
use super::spec::{AssetKind, AssetSpec, ConversionRate};
use super::state::{Ledger, Moment, Program, Version};

const TO_PROGRAM: &str = "convert.to_program";
const TO_ASSET: &str = "convert.to_asset";

/// What is to become what.
#[derive(Clone, Copy)]
pub(super) struct Conversion {
    pub(super) asset: AssetNo,
    /// Units to give at most.
    pub(super) units: u64,
    pub(super) to_program: ProgramNo,
    pub(super) to_asset: AssetNo,
}

impl Ledger {
    pub(super) fn convert<'c>(
        &self,
        command: &'c Command,
        to: &'c Named,
        asked: Conversion,
        known: Option<MemberNo>,
        at: Moment,
    ) -> Result<Event<'c>, Halt> {
        let (program, version, occurred) = self.admit(command, at)?;
        let Conversion { asset, to_program, to_asset, .. } = asked;
        spendable(asset_of(version, asset, ASSET)?, ASSET)?;
        let unknown = (Reason::ProgramUnknown, TO_PROGRAM);
        let there = self.program(to_program).filter(|_| to_program != command.program).ok_or(unknown)?;
        let rules = there.version_at(occurred).ok_or(unknown)?;
        let received = spendable(asset_of(rules, to_asset, TO_ASSET)?, TO_ASSET)?;
        let rate = rate_of(version, asset, (there, received)).ok_or((Reason::ConversionUnknown, TO_PROGRAM))?;
        if !there.newest().is_some_and(|newest| newest.more.accepts_from.iter().any(|id| **id == *program.id)) {
            return Err((Reason::ConversionNotAccepted, TO_PROGRAM).into());
        }
        let (given, taken) = whole_units(rate, asked.units)?;
        let (member, mut posting) = self.posting_of(command, known, at)?;
        may(&posting.holding, true)?;
        let (receiver, mut other) = self.receiving(to, at)?;
        if posting.debit(asset, given, &[], false) > 0 {
            return Err((Reason::InsufficientPoints, AMOUNT).into());
        }
        settle(program, &mut posting, asset, to_program, units(given, AMOUNT)?);
        let rolls = roll(program, version, asset, &mut posting, occurred);
        settle(there, &mut other, to_asset, command.program, -units(taken, AMOUNT)?);
        let rolled = roll(there, rules, to_asset, &mut other, occurred);
        let lot = lot_for(there, rules, to_asset, Source::Transferred, occurred);
        let lapsed = other.credit(there, to_asset, &[(lot, taken)], AMOUNT)?;
        let common = common_of(command, member, &posting, at);
        let other = Box::new(Other {
            program: to_program,
            member: receiver,
            member_link: at.op.distance_from(other.holding.head),
            after: vec![other.holding.balances(to_asset)],
            rolls: rolled.map(|until| (to_asset, until)).into_iter().collect(),
            legs: other.legs_checked(AMOUNT)?,
        });
        let (asked, legs) = (asked.units, posting.legs_checked(AMOUNT)?);
        let (units, to_units) = (given, taken);
        Ok(Event::Converted(Converted { common, asset, asked, units, to_asset, to_units, lapsed, rolls, other, legs }))
    }
}

fn spendable<'s>(spec: &'s AssetSpec, field: &'static str) -> Result<&'s AssetSpec, Refused> {
    if spec.kind == AssetKind::Spendable { Ok(spec) } else { Err((Reason::AssetKindMismatch, field)) }
}

fn rate_of<'v>(
    version: &'v Version,
    asset: AssetNo,
    (to, received): (&Program, &AssetSpec),
) -> Option<&'v ConversionRate> {
    let meant = |rate: &&ConversionRate| *rate.to == *to.id && rate.asset == asset && rate.to_asset == received.id;
    version.more.conversions.iter().find(meant)
}

/// What is given of so many units, and what is received for it: whole units on both sides, and no more than was asked.
fn whole_units(rate: &ConversionRate, asked: u64) -> Result<(u64, u64), Refused> {
    let whole = asked.checked_div(rate.units).filter(|whole| *whole > 0).ok_or((Reason::ConversionTooSmall, AMOUNT))?;
    let overflow = (Reason::AmountOverflow, AMOUNT);
    let received = whole.checked_mul(rate.to_units).ok_or(overflow)?;
    Ok((whole.checked_mul(rate.units).ok_or(overflow)?, received))
}

/// Puts units on what a program settles with another.
fn settle(program: &Program, posting: &mut Posting, asset: AssetNo, other: ProgramNo, amount: i64) {
    let link = posting.op.distance_from(program.conversion(asset, other).head);
    posting.push(asset, Account::Conversion { program: other, link }, amount);
}
