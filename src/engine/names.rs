//! The ids behind the numbers of programs, campaigns and assets, for threads other than the engine's. Only what is durable.

use std::sync::{Arc, PoisonError, RwLock};

use crate::ledger::Ledger;
use crate::ledger::ids::{AssetNo, CampaignNo, Op, ProgramNo, RewardNo};
use crate::ledger::view::{Closing, PIECES, ProgramView, asset_ids, late_for};

/// The asset that every program has, under number 0.
pub const POINTS: &str = "points";

/// A program's id, and the ids of its campaigns and assets by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramNames {
    /// The program's id.
    pub id: String,
    /// The campaigns' ids.
    pub campaigns: Vec<String>,
    /// The campaigns' assets.
    pub campaign_assets: Vec<AssetNo>,
    /// The assets' ids, `points` first.
    pub assets: Vec<String>,
    /// The rewards' ids.
    pub rewards: Vec<String>,
    /// Every closing of the books, in order.
    pub closings: Vec<Closing>,
}

/// Every program's names by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    programs: Vec<ProgramNames>,
}

impl Names {
    /// The names of a ledger's programs, campaigns and assets.
    #[must_use]
    pub fn of(ledger: &Ledger) -> Self {
        let names = |program: ProgramView| {
            let campaigns = ledger.campaigns(program.number);
            ProgramNames {
                campaign_assets: campaigns.iter().map(|campaign| campaign.spec.asset_no()).collect(),
                campaigns: campaigns.into_iter().map(|campaign| campaign.spec.id).collect(),
                assets: asset_ids(&program.spec),
                closings: program.closings,
                rewards: ledger.rewards(program.number).into_iter().map(|reward| reward.sku).collect(),
                id: program.id,
            }
        };
        Self { programs: ledger.programs().into_iter().map(names).collect() }
    }

    /// The names of the programs, in the order of their numbers.
    #[must_use]
    pub fn from_programs(programs: Vec<ProgramNames>) -> Self {
        Self { programs }
    }

    /// The number of a program.
    #[must_use]
    pub fn program_number(&self, id: &str) -> Option<ProgramNo> {
        let place = self.programs.iter().position(|program| program.id == id)?;
        u16::try_from(place).ok().map(ProgramNo)
    }

    /// A program's names.
    #[must_use]
    pub fn program(&self, number: ProgramNo) -> Option<&ProgramNames> {
        self.programs.get(usize::from(number.0))
    }

    /// Until when a program's books were closed when an event was booked that is dated before it, see [`late_for`].
    #[must_use]
    pub fn late_for(&self, program: ProgramNo, op: Op, dated_us: i64) -> Option<i64> {
        late_for(&self.program(program)?.closings, op, dated_us)
    }

    /// A campaign's id.
    #[must_use]
    pub fn campaign(&self, program: ProgramNo, campaign: CampaignNo) -> Option<&str> {
        self.program(program)?.campaigns.get(usize::from(campaign.0)).map(String::as_str)
    }

    /// The asset that a campaign gives; `points` for a campaign that the program does not have.
    #[must_use]
    pub fn campaign_asset(&self, program: ProgramNo, campaign: CampaignNo) -> AssetNo {
        let assets = self.program(program).map(|names| names.campaign_assets.as_slice()).unwrap_or_default();
        assets.get(usize::from(campaign.0)).copied().unwrap_or_default()
    }

    /// A reward's id.
    #[must_use]
    pub fn reward(&self, program: ProgramNo, reward: RewardNo) -> Option<&str> {
        self.program(program)?.rewards.get(usize::from(reward.0)).map(String::as_str)
    }

    /// The number of an asset.
    #[must_use]
    pub fn asset_number(&self, program: ProgramNo, id: &str) -> Option<AssetNo> {
        if id == POINTS {
            return Some(AssetNo::POINTS);
        }
        let place = self.program(program)?.assets.iter().position(|asset| asset == id)?;
        u8::try_from(place).ok().map(AssetNo)
    }

    /// An asset's id.
    #[must_use]
    pub fn asset(&self, program: ProgramNo, asset: AssetNo) -> Option<&str> {
        match asset {
            AssetNo::POINTS => Some(POINTS),
            AssetNo::PIECES => Some(PIECES),
            AssetNo(number) => self.program(program)?.assets.get(usize::from(number)).map(String::as_str),
        }
    }
}

/// The newest durable names.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    names: RwLock<Arc<Names>>,
}

impl Directory {
    pub(crate) fn get(&self) -> Arc<Names> {
        Arc::clone(&self.names.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, names: Arc<Names>) {
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
    }
}
