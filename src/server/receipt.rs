//! A receipt is a function of its event, and of nothing else but the book's name and `replayed`.

use super::reason_text::explain;
use crate::engine::BookInfo;
use crate::engine::names::Names;
use crate::ledger::event::{Account, Adjusted, Balances, Earned, Event, Leg, Opened, Redeemed, Refunded};
use crate::ledger::ids::{CampaignNo, Op, ProgramNo};
use crate::ledger::reason::Reason;
use crate::proto as pb;

/// Writes receipts of one book.
#[derive(Clone, Copy)]
pub struct Scribe<'a> {
    /// The book's name.
    pub info: &'a BookInfo,
    /// The names behind the numbers of programs and campaigns.
    pub names: &'a Names,
}

impl Scribe<'_> {
    /// The receipt of the event that is `op` of the book. `key` is the event's, handed in so that a caller who owns it need
    /// not copy it.
    #[must_use]
    pub fn receipt(&self, op: Op, book_time_us: i64, event: &Event<'_>, key: String) -> pb::Receipt {
        let mut receipt = pb::Receipt {
            outcome: pb::Outcome::Applied.into(),
            key,
            book_id: self.info.book_id.clone(),
            op: op.0,
            book_time_us,
            restored: self.restored(),
            ..pb::Receipt::default()
        };
        if let Some(common) = event.common() {
            receipt.balance = common.member.number().map(|_| balance(common.after));
        }
        match event {
            Event::Earned(earned) => self.earned(&mut receipt, earned),
            Event::Refunded(refunded) => self.refunded(&mut receipt, refunded),
            Event::Redeemed(redeemed) => spent(&mut receipt, redeemed),
            Event::Adjusted(adjusted) => moved(&mut receipt, adjusted),
            Event::Opened(opened) => brought(&mut receipt, opened),
            Event::ProgramPut(_) | Event::CampaignChanged(_) | Event::ClockConfirmed(_) => {}
            Event::SnapshotTaken(_) | Event::SnapshotDeleted(_) => {}
            Event::Rejected(rejected) => reject(&mut receipt, rejected.reason, rejected.field),
            Event::AdminRejected(rejected) => reject(&mut receipt, rejected.reason, rejected.field),
        }
        receipt
    }

    /// A campaign's id.
    #[must_use]
    pub fn campaign(&self, program: ProgramNo, campaign: CampaignNo) -> String {
        self.names.campaign(program, campaign).unwrap_or_default().to_owned()
    }

    fn earned(&self, receipt: &mut pb::Receipt, earned: &Earned<'_>) {
        let mut awards = Vec::with_capacity(1 + earned.shares.len());
        for share in earned.shares.iter().filter(|share| share.awarded != 0 || share.short != 0) {
            awards.push(pb::Award {
                source: pb::Source::Campaign.into(),
                campaign: self.campaign(earned.common.program, share.campaign),
                desired: points(share.awarded).saturating_add(points(share.short)),
                awarded: points(share.awarded),
                reason: number(share.reason),
            });
        }
        awards.sort_unstable_by(|a, b| a.campaign.cmp(&b.campaign));
        if earned.base != 0 {
            let base = points(earned.base);
            let award =
                pb::Award { source: pb::Source::Base.into(), desired: base, awarded: base, ..Default::default() };
            awards.insert(0, award);
        }
        receipt.desired = awards.iter().map(|award| award.desired).sum();
        receipt.awarded = awards.iter().map(|award| award.awarded).sum();
        receipt.awards = awards;
    }

    fn refunded(&self, receipt: &mut pb::Receipt, refunded: &Refunded<'_>) {
        let mut parts = Vec::new();
        if let Some(from) = &refunded.from {
            for share in from.shares.iter().filter(|share| share.of != 0) {
                parts.push(pb::TakeBack {
                    source: pb::Source::Campaign.into(),
                    campaign: self.campaign(refunded.common.program, share.campaign),
                    original: points(share.of),
                    taken: points(share.taken),
                    taken_total: points(share.taken_total),
                });
            }
        }
        parts.sort_unstable_by(|a, b| a.campaign.cmp(&b.campaign));
        let (original, taken_total) = refunded.from.as_ref().map_or((0, 0), |from| (from.base_of, from.base_total));
        if refunded.base != 0 || original != 0 {
            let base = pb::TakeBack {
                source: pb::Source::Base.into(),
                campaign: String::new(),
                original: points(original),
                taken: points(refunded.base),
                taken_total: points(taken_total),
            };
            parts.insert(0, base);
        }
        receipt.asked = parts.iter().map(|part| part.taken).sum();
        receipt.taken = debits(&refunded.legs, |account| matches!(account, Account::Available { .. }));
        receipt.owed = debits(&refunded.legs, |account| matches!(account, Account::Debt));
        receipt.taken_back = parts;
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spent(receipt: &mut pb::Receipt, redeemed: &Redeemed<'_>) {
    receipt.asked = points(redeemed.points);
    receipt.taken = debits(&redeemed.legs, |account| matches!(account, Account::Available { .. }));
}

fn moved(receipt: &mut pb::Receipt, adjusted: &Adjusted<'_>) {
    if adjusted.points > 0 {
        receipt.awarded = adjusted.points;
    } else {
        receipt.asked = adjusted.points.saturating_neg();
        receipt.taken = debits(&adjusted.legs, |account| matches!(account, Account::Available { .. }));
    }
}

fn brought(receipt: &mut pb::Receipt, opened: &Opened<'_>) {
    if opened.points > 0 {
        receipt.awarded = opened.points;
    } else {
        receipt.owed = opened.points.saturating_neg();
    }
}

fn reject(receipt: &mut pb::Receipt, reason: Reason, field: &str) {
    receipt.outcome = pb::Outcome::Rejected.into();
    receipt.reason = number(Some(reason));
    receipt.retry = pb::Retry::NewKey.into();
    field.clone_into(&mut receipt.field);
    explain(reason).clone_into(&mut receipt.message);
}

/// What the legs took from the accounts that `of` picks.
fn debits(legs: &[Leg], of: impl Fn(&Account) -> bool) -> i64 {
    legs.iter().filter(|leg| leg.amount < 0 && of(&leg.account)).map(|leg| leg.amount.saturating_neg()).sum()
}

/// Balances as the contract shows them.
#[must_use]
pub fn balance(balances: Balances) -> pb::Balance {
    pb::Balance { available: balances.available, debt: balances.debt }
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

/// The receipt of a command that would add a member to books that are full.
#[must_use]
pub fn members_limit(info: &BookInfo, key: String) -> pb::Receipt {
    pb::Receipt {
        outcome: pb::Outcome::Shed.into(),
        reason: pb::Reason::MembersLimit.into(),
        retry: pb::Retry::SameKey.into(),
        key,
        book_id: info.book_id.clone(),
        message: "the server holds as many members as it is configured for".to_owned(),
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
