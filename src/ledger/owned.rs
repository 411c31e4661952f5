//! What members own as the image of a page tells it to readers.

use super::command::{Matures, Purpose, Standing};
use super::event::{AssetBalances, Expiry, LotId};
use super::holding::{Holding, Lot, LotKey};
use super::ids::{AssetNo, Op, RewardNo, TagNo};
use super::image::read_holdings;
use super::profile::Profile;
use super::varint::ImageError;

/// A lot of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LotView {
    /// The asset.
    pub asset: AssetNo,
    /// Where its units came from, and when they lapse.
    pub lot: LotId,
    /// Of a rolling lot: until when its units live as things stand, in minutes since the Unix epoch.
    pub until: Option<u32>,
    /// Units that entered it so far; those of a dated lot are counted from a position that may be greater than 0.
    pub entered: u64,
    /// Units that left it so far, counted alike.
    pub left: u64,
    /// How many of the others a hold pins.
    pub held: u64,
    /// The op that put units into it when it was last empty.
    pub opened: Op,
}

/// A hold of a member that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldView {
    /// The op of the hold.
    pub op: Op,
    /// The asset.
    pub asset: AssetNo,
    /// What its units are for.
    pub purpose: Purpose,
    /// Until when it pins them, in microseconds since the Unix epoch.
    pub until_us: i64,
    /// How many units of which lot, in the order in which they are spent.
    pub parts: Vec<(LotId, u64)>,
    /// The reward whose pieces it reserves, and how many.
    pub reserves: Option<(RewardNo, u64)>,
}

/// An earn whose units are not available yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingView {
    /// The op of the earn.
    pub earn: Op,
    /// What it waits for.
    pub matures: Matures,
    /// How many units of which asset wait for which lot, in the order in which they will enter.
    pub parts: Vec<(AssetNo, LotId, u64)>,
}

/// What a member owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingView {
    /// What there is of each asset of which there is something, in order.
    pub balances: Vec<AssetBalances>,
    /// The member's newest event.
    pub head: Op,
    /// The lots, in order of asset, source and date.
    pub lots: Vec<LotView>,
    /// The open holds, in order of their ops.
    pub holds: Vec<HoldView>,
    /// What is pending, in order of the earns.
    pub pending: Vec<PendingView>,
    /// What the member may do.
    pub standing: Standing,
    /// The local date on which the member joined, in days since the Unix epoch, if it was told.
    pub joined_day: Option<i32>,
    /// The member's tags, in order of their numbers.
    pub tags: Vec<TagNo>,
}

impl From<Holding> for HoldingView {
    fn from(holding: Holding) -> Self {
        let mut assets: Vec<AssetNo> = holding.lots.iter().map(|lot| lot.key.asset).collect();
        assets.extend(holding.debts.iter().map(|(asset, _)| *asset));
        assets.extend(holding.pending.iter().flat_map(|pending| &pending.parts).map(|(key, _)| key.asset));
        assets.sort_unstable();
        assets.dedup();
        let lots = holding.lots.iter().map(|lot| {
            let Lot { key: LotKey { asset, lot: id }, entered, left, opened } = *lot;
            let until = holding.rolls_until(asset).filter(|_| id.expiry == Expiry::Rolling);
            LotView { asset, lot: id, until, entered, left, held: holding.held_in(lot.key), opened }
        });
        let holds = holding.holds.iter().map(|hold| HoldView {
            op: hold.op,
            asset: hold.asset,
            purpose: hold.purpose,
            until_us: hold.until_us,
            parts: hold.parts.to_vec(),
            reserves: hold.reserves(),
        });
        let pending = holding.pending.iter().map(|pending| PendingView {
            earn: pending.earn,
            matures: pending.matures,
            parts: pending.parts.iter().map(|(key, units)| (key.asset, key.lot, *units)).collect(),
        });
        let Profile { joined_day, tags } = holding.profile();
        Self {
            standing: holding.standing,
            joined_day,
            tags,
            balances: assets.into_iter().map(|asset| holding.balances(asset)).collect(),
            head: holding.head,
            lots: lots.collect(),
            holds: holds.collect(),
            pending: pending.collect(),
        }
    }
}

/// What each member of a page of holdings owns.
///
/// # Errors
/// [`ImageError`] where the bytes are no image of such a page.
pub fn holdings_of(bytes: &[u8]) -> Result<Vec<HoldingView>, ImageError> {
    Ok(read_holdings(bytes, 0)?.0.into_iter().map(HoldingView::from).collect())
}
