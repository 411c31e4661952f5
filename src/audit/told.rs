//! What an event says of how its members stand after it.

use jiff::Span;
use jiff::civil::Date;

use crate::ledger::event::{AssetBalances, DueKind, Event, Leg};
use crate::ledger::ids::{AssetNo, MemberNo};
use crate::ledger::instant_of;

use super::chart::Class;

/// The balances of one of an event's members after it, in the assets that the event tells of.
#[must_use]
pub fn after(event: &Event<'_>, member: MemberNo) -> Vec<AssetBalances> {
    match event.other().filter(|other| other.member.number() == Some(member)) {
        Some(other) => other.after.clone(),
        None => balances_after(event),
    }
}

/// The balances of the command's member after an event, in the assets that the event tells of: all those that it moved units of. An event of a
/// command tells of points in any case, first; none tells of anything where there is no member.
#[must_use]
pub fn balances_after(event: &Event<'_>) -> Vec<AssetBalances> {
    if let Event::Due(due) = event {
        return due.after.to_vec();
    }
    let Some(common) = event.common().filter(|common| common.member.number().is_some()) else { return Vec::new() };
    let others = common.others.as_deref().map(Vec::as_slice).unwrap_or_default();
    let (available, debt) = (common.after.available, common.after.debt);
    let points = AssetBalances { available, debt, ..AssetBalances::default() };
    // Points that are held or pending stand among the others.
    let pinned = others.iter().find(|other| other.asset == AssetNo::POINTS);
    let points = pinned.map_or(points, |pinned| AssetBalances { available, debt, ..*pinned });
    let others = others.iter().filter(|other| other.asset != AssetNo::POINTS).copied();
    std::iter::once(points).chain(others).collect()
}

/// The instant that an event counts for, in microseconds since the Unix epoch: the business time of a command, the instant at
/// which something lapsed, matured or ended of what the ledger did by itself, and the book time of all else.
#[must_use]
pub fn dated_us(event: &Event<'_>, book_time_us: i64) -> i64 {
    match event {
        Event::Due(due) => match due.kind {
            DueKind::Expired { lapsed_min } => instant_of(lapsed_min).min(book_time_us),
            DueKind::Matured { matured_us, .. } => matured_us.min(book_time_us),
            DueKind::HoldEnded { ended_us, .. } => ended_us.min(book_time_us),
            DueKind::LotsMerged => book_time_us,
        },
        _ => event.common().map_or(book_time_us, |common| book_time_us.saturating_sub(common.behind_us)),
    }
}

/// A date, of days since the Unix epoch, as `2026-11-21`; `None` for a day of no calendar.
#[must_use]
pub fn day_text(day: i32) -> Option<String> {
    Date::constant(1970, 1, 1).checked_add(Span::new().try_days(day).ok()?).ok().map(|date| date.to_string())
}

/// What a member's balances in an asset were before an event with these legs, which they were `after`.
#[must_use]
pub fn before(after: &AssetBalances, legs: &[Leg]) -> AssetBalances {
    let mut before = *after;
    for leg in legs.iter().filter(|leg| leg.asset == after.asset) {
        match Class::of(&leg.account) {
            Class::Available => before.available = before.available.saturating_sub(leg.amount),
            Class::Held => before.held = before.held.saturating_sub(leg.amount),
            Class::Pending => before.pending = before.pending.saturating_sub(leg.amount),
            // What is owed is told as a positive number, and stands on its account as a debit.
            Class::Debt => before.debt = before.debt.saturating_add(leg.amount),
            _ => {}
        }
    }
    before
}

/// A member's accounts in an asset with their balances, credit positive, in the order of the trial balance.
#[must_use]
pub fn accounts_of(balances: &AssetBalances) -> [(Class, i64); 4] {
    let AssetBalances { available, held, pending, debt, .. } = *balances;
    [
        (Class::Available, available),
        (Class::Held, held),
        (Class::Pending, pending),
        (Class::Debt, debt.saturating_neg()),
    ]
}
