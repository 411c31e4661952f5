//! What members own lot by lot: from their books to rows, and what these rows must come to.

use crate::ledger::command::Matures;
use crate::ledger::event::LotId;
use crate::ledger::ids::{AssetNo, RewardNo};
use crate::ledger::view::{BaseProgram, PIECES};
use crate::ledger::{HoldView, LotView, PendingView};

use super::columns::{HoldRow, Instant, LotRow, PendingRow, Record};
use super::rows::{lot_name, minute};
use super::source::MemberBooks;
use super::sums::Sums;
use super::{ExportError, asset_name};

/// The names of accounts that lots, holds and pending earns come to.
const AVAILABLE: &str = "member/available";
const HELD: &str = "member/held";
const PENDING: &str = "member/pending";
/// How the names of accounts end on which pieces of rewards stand that holds reserve.
const RESERVED: &str = "/reserved";

/// The rows of a member's lots, holds and pending earns.
pub(super) fn rows_of(program: &BaseProgram, books: &MemberBooks) -> Result<Vec<Record>, ExportError> {
    let mut rows = Vec::with_capacity(books.lots.len());
    for lot in &books.lots {
        rows.push(Record::Lot(lot_row(program, &books.id, lot)?));
    }
    for hold in &books.holds {
        for (lot, units) in &hold.parts {
            rows.push(Record::Hold(hold_row(program, &books.id, hold, *lot, *units)?));
        }
    }
    for pending in &books.pending {
        for part in &pending.parts {
            rows.push(Record::Pending(pending_row(program, &books.id, pending, *part)?));
        }
    }
    Ok(rows)
}

fn lot_row(program: &BaseProgram, member: &str, lot: &LotView) -> Result<LotRow, ExportError> {
    let (source, lapses_at, rolling) = lot_name(lot.lot);
    Ok(LotRow {
        program: program.trial.program.clone(),
        member: member.to_owned(),
        asset: asset_name(program, lot.asset)?.to_owned(),
        source,
        lapses_at,
        rolling,
        until: lot.until.map(minute),
        entered: lot.entered,
        left: lot.left,
        units: lot.entered.saturating_sub(lot.left),
        held: lot.held,
        opened_op: lot.opened.0,
    })
}

fn hold_row(
    program: &BaseProgram,
    member: &str,
    hold: &HoldView,
    lot: LotId,
    units: u64,
) -> Result<HoldRow, ExportError> {
    let (lot_source, lot_lapses_at, lot_rolling) = lot_name(lot);
    let reward = |(number, _): (RewardNo, u64)| program.rewards.get(usize::from(number.0)).cloned();
    let unnamed = || ExportError::Refused(format!("the hold at op {} reserves pieces of an unknown reward", hold.op.0));
    Ok(HoldRow {
        program: program.trial.program.clone(),
        member: member.to_owned(),
        asset: asset_name(program, hold.asset)?.to_owned(),
        op: hold.op.0,
        purpose: hold.purpose.name().to_owned(),
        until: Instant(hold.until_us),
        lot_source,
        lot_lapses_at,
        lot_rolling,
        units,
        reward: match hold.reserves {
            Some(reserves) => reward(reserves).ok_or_else(unnamed)?,
            None => String::new(),
        },
        pieces: hold.reserves.map(|(_, pieces)| pieces),
    })
}

fn pending_row(
    program: &BaseProgram,
    member: &str,
    pending: &PendingView,
    (asset, lot, units): (AssetNo, LotId, u64),
) -> Result<PendingRow, ExportError> {
    let (lot_source, lot_lapses_at, lot_rolling) = lot_name(lot);
    Ok(PendingRow {
        program: program.trial.program.clone(),
        member: member.to_owned(),
        asset: asset_name(program, asset)?.to_owned(),
        op: pending.earn.0,
        matures_at: match pending.matures {
            Matures::At(us) => Some(Instant(us)),
            Matures::Activated => None,
        },
        lot_source,
        lot_lapses_at,
        lot_rolling,
        units,
    })
}

/// What the rows of lots, holds and pending earns come to, member by member without holding one in memory.
#[derive(Default)]
pub(super) struct Owned {
    /// The accounts of members that the rows come to.
    accounts: Sums,
    /// Lot by lot what is held in it, by the lots and by the holds.
    held: Sums,
    pinned: Sums,
    /// Pieces that holds reserve.
    reserved: Sums,
    /// The op of the hold whose row was the last, with the reward and the pieces that it reserves.
    last_hold: Option<(u64, String, Option<u64>)>,
}

impl Owned {
    pub(super) fn lot(&mut self, row: &LotRow) -> Result<(), String> {
        let free = row.units.checked_sub(row.held);
        let (Some(free), Some(units)) = (free, row.entered.checked_sub(row.left)) else {
            return Err(format!("a lot of {} in {} of {} holds less than nothing", row.member, row.asset, row.program));
        };
        if units != row.units {
            return Err(format!(
                "a lot of {} in {} of {} holds {} units, and {units} by its positions",
                row.member, row.asset, row.program, row.units
            ));
        }
        let whose = [&row.program, &row.asset, &row.member];
        self.accounts.owned(whose, AVAILABLE, "", free);
        self.accounts.owned(whose, HELD, "", row.held);
        self.held.owned(whose, HELD, &lot_key(&row.source, row.lapses_at, row.rolling), row.held);
        Ok(())
    }

    pub(super) fn hold(&mut self, row: &HoldRow) -> Result<(), String> {
        let lot = lot_key(&row.lot_source, row.lot_lapses_at, row.lot_rolling);
        self.pinned.owned([&row.program, &row.asset, &row.member], HELD, &lot, row.units);
        // A hold's rows follow each other, and each says the pieces of all of it.
        let says = (row.op, row.reward.clone(), row.pieces);
        if let Some(last) = self.last_hold.as_ref().filter(|(op, ..)| *op == row.op) {
            let what = || format!("the rows of the hold at op {} differ in the pieces that it reserves", row.op);
            return if *last == says { Ok(()) } else { Err(what()) };
        }
        self.last_hold = Some(says);
        if let Some(pieces) = row.pieces {
            let account = format!("reward/{}{RESERVED}", row.reward);
            self.reserved.owned([&row.program, &PIECES.to_owned(), &String::new()], &account, "", pieces);
        }
        Ok(())
    }

    pub(super) fn pending(&mut self, row: &PendingRow) {
        self.accounts.owned([&row.program, &row.asset, &row.member], PENDING, "", row.units);
    }

    /// The first account in which the rows do not come to `accounts`, or in which holds pin other units than lots say
    /// or reserve other pieces than their accounts.
    pub(super) fn difference(&self, accounts: &Sums) -> Option<String> {
        let reserved = accounts.only(|account| account.starts_with("reward/") && account.ends_with(RESERVED));
        let accounts = accounts.only(|account| [AVAILABLE, HELD, PENDING].contains(&account));
        accounts
            .difference(&self.accounts, ["the accounts", "the lots and what is pending"])
            .or_else(|| reserved.difference(&self.reserved, ["the accounts", "the holds"]))
            .or_else(|| self.held.difference(&self.pinned, ["the lots", "the holds"]))
    }
}

fn lot_key(source: &str, lapses_at: Option<Instant>, rolling: u64) -> String {
    format!("{source} {:?} {rolling}", lapses_at.map(|Instant(us)| us))
}
