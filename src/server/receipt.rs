//! A receipt is a function of its event, and of nothing else but the book's name and `replayed`.

pub(super) mod amounts;
pub mod reply;
#[cfg(test)]
pub(super) mod tests;

use crate::engine::BookInfo;
use crate::engine::names::Names;
use crate::ledger::event::{Account, AssetBalances, Claimed, Event, Leg, Other};
use crate::ledger::ids::{AssetNo, CampaignNo, MemberRef, Op, ProgramNo, RewardNo};
use crate::ledger::reason::Reason;
use crate::ledger::reason_text::explain;
use crate::ledger::reward::pieces_of;
use crate::proto as pb;

/// Writes receipts of one book.
#[derive(Clone, Copy)]
pub struct Scribe<'a> {
    /// The book's name.
    pub info: &'a BookInfo,
    /// The names behind the numbers of programs, campaigns and assets.
    pub names: &'a Names,
}

impl Scribe<'_> {
    /// The receipt of the event that is `op` of the book. `key` is the event's, handed in so that a caller who owns it need
    /// not copy it.
    #[must_use]
    pub fn receipt(&self, op: Op, book_time_us: i64, event: &Event<'_>, key: String) -> pb::Receipt {
        let (program, _, _) = event.identity();
        let mut receipt = pb::Receipt {
            outcome: pb::Outcome::Applied.into(),
            key,
            book_id: self.info.book_id.clone(),
            op: op.0,
            book_time_us,
            lapsed: self.lapsed(program, event.legs()),
            restored: self.restored(),
            ..pb::Receipt::default()
        };
        self.balances(&mut receipt, event);
        self.amounts(&mut receipt, op, event);
        receipt.reward = pieces_of(event).map(|claimed| Box::new(self.pieces(program, claimed)));
        receipt.other = event.other().map(|other| Box::new(self.other_side(event, other)));
        if let Some((reason, field)) = event.rejection() {
            reject(&mut receipt, reason, field);
        }
        receipt
    }

    /// A campaign's id.
    #[must_use]
    pub fn campaign(&self, program: ProgramNo, campaign: CampaignNo) -> String {
        self.names.campaign(program, campaign).unwrap_or_default().to_owned()
    }

    /// A reward's id.
    #[must_use]
    pub fn reward(&self, program: ProgramNo, reward: RewardNo) -> String {
        self.names.reward(program, reward).unwrap_or_default().to_owned()
    }

    fn pieces(&self, program: ProgramNo, claimed: Claimed) -> pb::RewardMoved {
        let (pieces, price) = (points(claimed.pieces), points(claimed.price));
        pb::RewardMoved { reward: self.reward(program, claimed.reward), pieces, price }
    }

    /// An asset's id.
    #[must_use]
    pub fn asset(&self, program: ProgramNo, asset: AssetNo) -> String {
        self.names.asset(program, asset).unwrap_or_default().to_owned()
    }

    /// An asset's id where it is not `points`; else empty.
    #[must_use]
    pub fn other_asset(&self, program: ProgramNo, asset: AssetNo) -> String {
        if asset == AssetNo::POINTS { String::new() } else { self.asset(program, asset) }
    }

    /// The member's balances after the event.
    fn balances(&self, receipt: &mut pb::Receipt, event: &Event<'_>) {
        let program = event.identity().0;
        let after = match event {
            Event::Due(due) => {
                receipt.balance = due.after.iter().find(|after| after.asset == AssetNo::POINTS).map(balance);
                &*due.after
            }
            _ => {
                let Some(common) = event.common().filter(|common| common.member.number().is_some()) else { return };
                let others = common.others.as_deref().map(Vec::as_slice).unwrap_or_default();
                let points = others.iter().find(|other| other.asset == AssetNo::POINTS).copied().unwrap_or_default();
                let (available, debt) = (common.after.available, common.after.debt);
                receipt.balance = Some(balance(&AssetBalances { available, debt, ..points }));
                others
            }
        };
        let others = after.iter().filter(|after| after.asset != AssetNo::POINTS);
        receipt.balances = others.map(|after| self.asset_balance(program, after)).collect();
    }

    fn asset_balance(&self, program: ProgramNo, of: &AssetBalances) -> pb::AssetBalance {
        let AssetBalances { available, held, pending, debt, .. } = *of;
        pb::AssetBalance { asset: self.asset(program, of.asset), available, held, pending, debt }
    }

    /// The other member of an event. Events say the id of one whom they create; [`name_other`] sets that of another.
    fn other_side(&self, event: &Event<'_>, other: &Other<'_>) -> pb::OtherSide {
        let (asset, units, lapsed) = match event {
            Event::Transferred(transferred) => (transferred.asset, transferred.units, 0),
            Event::Converted(converted) => (converted.to_asset, converted.to_units, converted.lapsed),
            _ => (AssetNo::POINTS, 0, 0),
        };
        let program = self.names.program(other.program).filter(|_| other.program != event.identity().0);
        pb::OtherSide {
            program: program.map(|names| names.id.clone()).unwrap_or_default(),
            member: match other.member {
                MemberRef::Opened(_, id) | MemberRef::Unknown(id) => id.to_owned(),
                MemberRef::Known(_) => String::new(),
            },
            asset: self.other_asset(other.program, asset),
            units: points(units),
            balances: other.after.iter().map(|after| self.asset_balance(other.program, after)).collect(),
            lapsed: points(lapsed),
        }
    }

    /// What went to `breakage`, or came from it, by asset.
    fn lapsed(&self, program: ProgramNo, legs: &[Leg]) -> Vec<pb::AssetUnits> {
        let mut lapsed: Vec<pb::AssetUnits> = Vec::new();
        for leg in legs.iter().filter(|leg| matches!(leg.account, Account::Breakage { .. })) {
            let (asset, units) = (self.asset(program, leg.asset), leg.amount.saturating_abs());
            match lapsed.iter_mut().find(|known| known.asset == asset) {
                Some(known) => known.units = known.units.saturating_add(units),
                None => lapsed.push(pb::AssetUnits { asset, units }),
            }
        }
        lapsed
    }

    fn restored(&self) -> Option<Box<pb::Restored>> {
        let parent = self.info.parent.as_ref()?;
        Some(Box::new(pb::Restored {
            incarnation: self.info.incarnation,
            parent_book_id: hex(&parent.book_id),
            parent_op: parent.op,
            parent_hash: hex(&parent.hash),
        }))
    }
}

/// Sets the id of the other member of an event between two.
pub fn name_other(receipt: &mut pb::Receipt, id: &str) {
    if let Some(other) = &mut receipt.other {
        id.clone_into(&mut other.member);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reject(receipt: &mut pb::Receipt, reason: Reason, field: &str) {
    receipt.outcome = pb::Outcome::Rejected.into();
    receipt.reason = number(Some(reason));
    receipt.retry = pb::Retry::NewKey.into();
    field.clone_into(&mut receipt.field);
    explain(reason).clone_into(&mut receipt.message);
}

/// What a member has of `points`, as the contract shows it.
#[must_use]
pub fn balance(of: &AssetBalances) -> pb::Balance {
    pb::Balance { available: of.available, debt: of.debt, held: of.held, pending: of.pending }
}

/// Points as the contract counts them; the books hold no number that does not fit.
#[must_use]
pub fn points(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// A reason's number, which is the same in the books and in the contract; 0 for none.
#[must_use]
pub fn number(reason: Option<Reason>) -> i32 {
    reason.map_or(0, |reason| i32::from(reason.number()))
}

/// The receipt of a command whose key holds another command, the event `op`.
#[must_use]
pub fn conflict(info: &BookInfo, key: String, reason: pb::Reason, op: Op) -> pb::Receipt {
    let message = match reason {
        pb::Reason::BatchKeysMixed => "the atomic batch mixes keys that are known with keys that are not",
        _ => "the key has been used with another body",
    };
    pb::Receipt {
        outcome: pb::Outcome::Conflict.into(),
        reason: reason.into(),
        key,
        book_id: info.book_id.clone(),
        op: op.0,
        message: message.to_owned(),
        ..pb::Receipt::default()
    }
}

/// The receipt of a command that would add a member, a counter or a lot to books that are full.
#[must_use]
pub fn members_limit(info: &BookInfo, key: String) -> pb::Receipt {
    pb::Receipt {
        outcome: pb::Outcome::Shed.into(),
        reason: pb::Reason::MembersLimit.into(),
        retry: pb::Retry::SameKey.into(),
        key,
        book_id: info.book_id.clone(),
        message: "the server holds as many members, counters of caps or lots as it is configured for".to_owned(),
        ..pb::Receipt::default()
    }
}

/// The receipt of an item of an atomic batch that came to nothing because of another.
#[must_use]
pub fn aborted(info: &BookInfo, key: String) -> pb::Receipt {
    pb::Receipt {
        outcome: pb::Outcome::Aborted.into(),
        reason: pb::Reason::BatchAborted.into(),
        retry: pb::Retry::SameKey.into(),
        key,
        book_id: info.book_id.clone(),
        message: "another item of the atomic batch failed".to_owned(),
        ..pb::Receipt::default()
    }
}

/// The receipt of an item of a stream whose shape is wrong.
#[must_use]
pub fn invalid(info: &BookInfo, fault: super::shape::Fault) -> pb::Receipt {
    pb::Receipt {
        outcome: pb::Outcome::Invalid.into(),
        reason: fault.reason.into(),
        retry: pb::Retry::Corrected.into(),
        key: fault.key,
        book_id: info.book_id.clone(),
        field: fault.field,
        message: fault.message,
        ..pb::Receipt::default()
    }
}
