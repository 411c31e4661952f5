//! Units spent, given and brought over.

use stampbook::ledger::command::{Action, Purpose};
use stampbook::ledger::event::{LotId, Source};
use stampbook::ledger::reason::Reason;

use super::book::{Said, tell};
use super::{Case, Decided, Refusal, What, dates, more_of};

/// Takes free units in spending order and puts them on one account: all of them, or the command is refused.
pub fn spend(case: &mut Case<'_>, asset: u8, account: &str, units: i128, field: &'static str) -> Result<What, Refusal> {
    if case.draft.member.balances(asset)[0] < units {
        return Err((Reason::InsufficientPoints, field));
    }
    let lots = case.draft.spend(asset, units);
    case.draft.put(asset, account, units);
    Ok(What::Spent { asset, account: account.to_owned(), lots, pieces: None })
}

/// Decides a redemption.
pub fn redeem(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Redeem { asset, points, purpose } = &case.command.action else { unreachable!() };
    let (asset, asked, purpose) = (asset.0, i128::from(*points), *purpose);
    let (mut units, mut minor) = (asked, 0);
    if let (Purpose::CashOffset, 0, Some(offset)) = (purpose, asset, more_of(case.spec).offset) {
        let whole = asked / i128::from(offset.points);
        (units, minor) = (whole * i128::from(offset.points), whole * i128::from(offset.minor));
        if whole == 0 {
            return Err((Reason::OffsetTooSmall, "redeem.points"));
        }
    }
    let what = spend(&mut case, asset, &format!("redemption/{}", purpose.name()), units, "redeem.points")?;
    case.roll(asset);
    let mut said = Said { what: "redeemed".to_owned(), ..Said::default() };
    tell(&mut said.more, "asset", asset);
    tell(&mut said.more, "units", units);
    tell(&mut said.more, "asked", if units == asked { 0 } else { asked });
    tell(&mut said.more, "minor", minor);
    case.decided(said, what)
}

/// Credits what somebody gives, part after part, each from an account of its own.
fn give(mut case: Case<'_>, mut said: Said, asset: u8, parts: Vec<(String, LotId, i128)>) -> Result<Decided, Refusal> {
    case.roll(asset);
    let mut lapsed = 0;
    for (account, id, units) in &parts {
        case.draft.put(asset, account, -units);
        lapsed += case.draft.credit(asset, *id, *units, case.draft.op);
    }
    tell(&mut said.more, "asset", asset);
    tell(&mut said.more, "lapsed", lapsed);
    case.decided(said, What::Given { asset, parts })
}

/// Decides an adjustment.
pub fn adjust(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Adjust { asset, points, .. } = &case.command.action else { unreachable!() };
    let (asset, units) = (asset.0, i128::from(*points));
    let mut said = Said { what: "adjusted".to_owned(), ..Said::default() };
    tell(&mut said.more, "units", units);
    if units < 0 {
        let what = spend(&mut case, asset, "adjustment", -units, "adjust.points")?;
        tell(&mut said.more, "asset", asset);
        return case.decided(said, what);
    }
    let id = case.lot(asset, Source::Granted);
    give(case, said, asset, vec![("adjustment".to_owned(), id, units)])
}

/// The lot that units enter for which a caller may say when they lapse.
fn lot_until(case: &Case<'_>, asset: u8, source: Source, lapses_us: Option<i64>) -> Result<LotId, Refusal> {
    let Some(instant) = lapses_us else { return Ok(case.lot(asset, source)) };
    let id = LotId { source, expiry: dates::named(instant) };
    match case.draft.member.has_lapsed(asset, id, case.now_us) {
        true => Err((Reason::LapsesPast, "lapses_us")),
        false => Ok(id),
    }
}

/// Decides an opening balance.
pub fn opening(mut case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Opening { asset, points, lapses_us, .. } = &case.command.action else { unreachable!() };
    let (asset, units) = (asset.0, i128::from(*points));
    let mut said = Said { what: "opened".to_owned(), ..Said::default() };
    tell(&mut said.more, "units", units);
    if units < 0 {
        // What was owed in the other system is owed here, whatever the member has.
        tell(&mut said.more, "asset", asset);
        case.draft.put(asset, "opening", -units);
        case.draft.owe(asset, -units);
        return case.decided(said, What::Other);
    }
    let id = lot_until(&case, asset, Source::Opening, *lapses_us)?;
    let decided = give(case, said, asset, vec![("opening".to_owned(), id, units)])?;
    Ok(Decided { what: What::Other, ..decided })
}

/// Decides a top-up: what was paid, and what is given with it.
pub fn top_up(case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::TopUp { asset, principal, bonus } = &case.command.action else { unreachable!() };
    let (asset, principal, bonus) = (asset.0, i128::from(*principal), i128::from(*bonus));
    let mut said = Said { what: "granted".to_owned(), ..Said::default() };
    tell(&mut said.more, "topped up", 1_i64);
    tell(&mut said.more, "units", principal);
    tell(&mut said.more, "bonus", bonus);
    let (paid, given) = (case.lot(asset, Source::Base), case.lot(asset, Source::Bonus));
    give(case, said, asset, vec![("cash".to_owned(), paid, principal), ("issuance".to_owned(), given, bonus)])
}

/// Decides an entitlement given.
pub fn grant(case: Case<'_>) -> Result<Decided, Refusal> {
    let Action::Grant { asset, units, lapses_us } = &case.command.action else { unreachable!() };
    let (asset, units) = (asset.0, i128::from(*units));
    let id = lot_until(&case, asset, Source::Granted, *lapses_us)?;
    let mut said = Said { what: "granted".to_owned(), ..Said::default() };
    tell(&mut said.more, "units", units);
    give(case, said, asset, vec![("issuance".to_owned(), id, units)])
}
