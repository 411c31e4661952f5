//! Receipts straight into the bytes of a reply: plain earns field by field, all others as messages, of which no more than
//! one is in memory.

use arrayvec::ArrayVec;
use prost::Message;

use super::{Scribe, number, points};
use crate::ledger::event::WINNERS_MAX;
use crate::ledger::ids::{AssetNo, Op};
use crate::ledger::plain::read::{self, ShownEarn, ShownShare};
use crate::proto as pb;
use crate::server::wire::Writer;

/// What most receipts have room in.
const RECEIPT_BYTES: usize = 192;
/// The field `receipts` of the responses to batches and streams.
const RECEIPTS: u32 = 1;
/// Bytes that the length of most receipts takes.
const LENGTH_BYTES: usize = 2;

/// The bytes of a response to a batch or a stream, receipt by receipt.
pub struct Reply<'a> {
    scribe: Scribe<'a>,
    /// What every receipt of a restored book says of it.
    restored: Vec<u8>,
    bytes: Vec<u8>,
}

impl<'a> Reply<'a> {
    /// An empty response, which is to have so many receipts.
    #[must_use]
    pub fn new(scribe: Scribe<'a>, receipts: usize) -> Self {
        let restored = pb::Receipt { restored: scribe.restored(), ..pb::Receipt::default() }.encode_to_vec();
        Self { scribe, restored, bytes: Vec::with_capacity(receipts.saturating_mul(RECEIPT_BYTES)) }
    }

    /// All that was put.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Puts a receipt.
    pub fn put(&mut self, receipt: &pb::Receipt) {
        put(receipt, &mut self.bytes);
    }

    /// Puts the receipt of the event that is `op` of the book and has those bytes, where it is a plain earn; else puts nothing
    /// and returns false.
    #[must_use]
    pub fn put_plain(&mut self, op: Op, book_time_us: i64, event: &[u8], key: &str) -> bool {
        let Some(earn) = read::earn(event) else { return false };
        let mut shares: ArrayVec<(&str, &ShownShare), WINNERS_MAX> = ArrayVec::new();
        for share in earn.shares.iter().filter(|share| share.awarded != 0 || share.short != 0) {
            if self.scribe.names.campaign_asset(earn.program, share.campaign) != AssetNo::POINTS {
                return false;
            }
            let id = self.scribe.names.campaign(earn.program, share.campaign).unwrap_or_default();
            let _ = shares.try_push((id, share));
        }
        shares.sort_unstable_by_key(|share| share.0);
        let (info, restored) = (self.scribe.info, &self.restored);
        Writer(&mut self.bytes).message(RECEIPTS, LENGTH_BYTES, |to| {
            to.named(1, pb::Outcome::Applied);
            to.text(5, key);
            to.text(6, &info.book_id);
            to.unsigned(7, op.0);
            to.number(8, book_time_us);
            put_awards(to, &earn, &shares);
            if !restored.is_empty() {
                to.0.extend_from_slice(restored);
            }
        });
        true
    }
}

/// Puts the balance and the awards of an earn.
#[inline]
fn put_awards(to: &mut Writer<'_>, earn: &ShownEarn, shares: &[(&str, &ShownShare)]) {
    to.message(9, 1, |to| {
        to.number(1, earn.after.available);
        to.number(2, earn.after.debt);
    });
    let desired = |share: &ShownShare| points(share.awarded).saturating_add(points(share.short));
    let base = points(earn.base);
    to.number(10, shares.iter().fold(base, |sum, (_, share)| sum.saturating_add(desired(share))));
    to.number(11, shares.iter().fold(base, |sum, (_, share)| sum.saturating_add(points(share.awarded))));
    if base != 0 {
        to.message(12, 1, |to| {
            to.named(1, pb::Source::Base);
            to.number(3, base);
            to.number(4, base);
        });
    }
    for (campaign, share) in shares {
        to.message(12, 1, |to| {
            to.named(1, pb::Source::Campaign);
            to.text(2, campaign);
            to.number(3, desired(share));
            to.number(4, points(share.awarded));
            to.named(5, number(share.reason));
        });
    }
}

/// Puts a receipt into the bytes of a response.
pub(in crate::server) fn put(receipt: &pb::Receipt, to: &mut Vec<u8>) {
    Writer(to).message(RECEIPTS, LENGTH_BYTES, |to| {
        // A vector always has room.
        let _ = receipt.encode(to.0);
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::tests::{OP, info, names};
    use super::*;
    use crate::constants::POINTS_MAX;
    use crate::engine::BookInfo;
    use crate::journal::Parent;
    use crate::ledger::codec;
    use crate::ledger::event::{Earned, Event};
    use crate::ledger::ids::{CampaignNo, ProgramNo};
    use crate::ledger::plain::read::tests::earned;

    /// The same earn of a program that has names, in amounts that a book may have.
    fn bounded(mut earned: Earned<'static>) -> Earned<'static> {
        let most = POINTS_MAX.unsigned_abs();
        earned.common.program = ProgramNo(earned.common.program.0 % 3);
        earned.base %= most;
        for share in &mut earned.shares.0 {
            share.campaign = CampaignNo(share.campaign.0 % 4);
            (share.awarded, share.short) = (share.awarded % most, share.short % most);
        }
        earned
    }

    proptest! {
        #[test]
        fn a_receipt_put_straight_into_a_reply_has_the_bytes_of_the_message(
            earned in earned(), key in "[a-z]{0,200}", book_id in "[a-f]{0,40}", restored in any::<bool>(),
        ) {
            let parent = restored.then_some(Parent { book_id: [7; 16], op: 9, hash: [8; 32] });
            let (names, info) = (names(), BookInfo { book_id, incarnation: u32::from(restored), parent });
            let scribe = Scribe { info: &info, names: &names };
            let event = Event::Earned(bounded(earned));
            let mut bytes = Vec::new();
            codec::encode(&event, &mut bytes).unwrap();
            let (mut direct, mut general) = (Reply::new(scribe, 8), Reply::new(scribe, 1));
            general.put(&scribe.receipt(OP, 1_800_000_000_000_000, &event, key.clone()));
            let mut put = false;
            let taken =
                allocation_counter::measure(|| put = direct.put_plain(OP, 1_800_000_000_000_000, &bytes, &key));
            prop_assert!(!put || taken.count_total == 0, "there was room for it");
            let direct = direct.into_bytes();
            prop_assert!(put || direct.is_empty());
            prop_assert!(!put || direct == general.into_bytes());
            let Event::Earned(earned) = &event else { unreachable!() };
            let growth = earned.common.program.0 == 0 && earned.shares.iter().any(|share| share.campaign.0 == 1);
            prop_assert!(put || growth || read::earn(&bytes).is_none());
        }
    }

    #[test]
    fn a_reply_is_the_message_with_its_receipts() {
        let (names, info) = (names(), info());
        let mut reply = Reply::new(Scribe { info: &info, names: &names }, 3);
        let key = |length: usize| pb::Receipt { key: "k".repeat(length), ..pb::Receipt::default() };
        let receipts: Vec<pb::Receipt> = [0, 1, 124, 125, 126, 16_379, 16_380, 16_381, 20_000].map(key).into();
        receipts.iter().for_each(|receipt| reply.put(receipt));
        assert_eq!(reply.into_bytes(), pb::PostBatchResponse { receipts }.encode_to_vec());
    }

    #[test]
    fn a_reply_of_one_receipt_is_that_to_a_command_by_itself_too() {
        let receipt = pb::Receipt { key: "key".to_owned(), op: 7, ..pb::Receipt::default() };
        let batch = pb::PostBatchResponse { receipts: vec![receipt.clone()] };
        assert_eq!(batch.encode_to_vec(), pb::PostResponse { receipt: Some(receipt) }.encode_to_vec());
    }
}
