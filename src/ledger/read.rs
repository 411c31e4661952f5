//! Reads of the state: programs, campaigns, trial balance, memory.

use std::sync::Arc;

use super::command::Purpose;
use super::ids::{AssetNo, ProgramNo, VersionNo};
use super::spec::CampaignSpec;
use super::state::{Accounts, Ledger, Posted, Program, Sums};
use super::view::{CampaignView, PIECES, ProgramTrial, ProgramView, RulesView, TrialRow, asset_ids};

pub use super::image::STATE_HASH_VERSION;

impl Ledger {
    /// Every program, in its newest version.
    #[must_use]
    pub fn programs(&self) -> Vec<ProgramView> {
        let numbers = (0..=u16::MAX).map(ProgramNo);
        let view = |(number, program): (ProgramNo, &Program)| {
            program.newest().map(|version| ProgramView {
                number,
                id: program.id.to_string(),
                version: version.number,
                effective_from_us: version.effective_from_us,
                spec: Arc::clone(&version.spec),
                definition: Arc::clone(&version.definition),
                closings: program.closings.clone(),
            })
        };
        numbers.zip(&self.programs).filter_map(view).collect()
    }

    /// A version of a program's rules, or the newest; `None` where there is no such program or version.
    #[must_use]
    pub fn rules(&self, program: ProgramNo, version: Option<VersionNo>) -> Option<RulesView> {
        let program = self.program(program)?;
        let version = version.map_or_else(|| program.newest(), |number| program.version(number))?;
        Some(RulesView {
            number: version.number,
            effective_from_us: version.effective_from_us,
            spec: Arc::clone(&version.spec),
            campaigns: version.campaigns.clone(),
        })
    }

    /// The campaigns of a program, in the order of their numbers; none for a number that no program has.
    #[must_use]
    pub fn campaigns(&self, number: ProgramNo) -> Vec<CampaignView> {
        let Some(program) = self.program(number) else {
            return Vec::new();
        };
        let in_force = program.newest().map(|version| version.campaigns.as_slice()).unwrap_or_default();
        let asset = |campaign: &CampaignSpec| program.newest()?.spec.asset(campaign.asset_no()).map(|a| a.id.clone());
        let numbers = (0..=u16::MAX).map(super::ids::CampaignNo);
        let view = |(number, campaign): (super::ids::CampaignNo, &super::state::Campaign)| CampaignView {
            number,
            spec: campaign.spec.clone(),
            asset: asset(&campaign.spec).unwrap_or_default(),
            in_force: in_force.contains(&number),
            status: campaign.purse.status,
            funded: campaign.purse.funded,
            left: campaign.purse.budget.balance,
            awarded: campaign.purse.awarded,
        };
        numbers.zip(&program.campaigns).map(view).collect()
    }

    /// The rows of a program's trial balance, see [`ProgramTrial`].
    pub(crate) fn trial_of(&self, program: &Program) -> Vec<(AssetNo, TrialRow)> {
        let mut rows = Vec::new();
        let ids = program.newest().map(|version| asset_ids(&version.spec)).unwrap_or_default();
        for ((number, books), id) in (0..).zip(&program.assets).zip(ids) {
            let asset = AssetNo(number);
            let points = asset == AssetNo::POINTS;
            let mut row = |account: String, balance: i64, there: bool| {
                if there {
                    rows.push((asset, TrialRow { asset: id.clone(), account, balance }));
                }
            };
            let accounts = &books.accounts;
            let mut posted = |account: &str, posted: &Posted, always: bool| {
                row(account.to_owned(), posted.balance, always || posted.head.0 > 0);
            };
            posted("issuance", &accounts.issuance, points);
            for campaign in program.campaigns.iter().filter(|campaign| campaign.spec.asset_no() == asset) {
                posted(&format!("campaign/{}", campaign.spec.id), &campaign.purse.budget, true);
            }
            for (purpose, redeemed) in Purpose::ALL.iter().zip(&accounts.redemption) {
                posted(&format!("redemption/{}", purpose.name()), redeemed, false);
            }
            posted("adjustment", &accounts.adjustment, false);
            posted("opening", &accounts.opening, false);
            posted("breakage", &accounts.breakage, false);
            posted("cash", &accounts.cash, false);
            for (other, settled) in &books.conversions {
                let other = self.program_id(*other).unwrap_or_default();
                posted(&format!("conversion/{other}"), settled, false);
            }
            let Sums { lots, held, pending, debt, .. } = &books.sums;
            let available = lots.saturating_sub(*held);
            row("member/available".into(), available, points || available != 0);
            row("member/held".into(), *held, *held != 0);
            row("member/pending".into(), *pending, *pending != 0);
            row("member/debt".into(), debt.saturating_neg(), points || *debt != 0);
        }
        rows.extend(pieces_of(program).into_iter().map(|row| (AssetNo::PIECES, row)));
        rows
    }

    /// The balances of every account class, per program.
    #[must_use]
    pub fn trial_balance(&self) -> Vec<ProgramTrial> {
        let trial = |program: &Program| ProgramTrial {
            program: program.id.to_string(),
            members: program.members,
            rows: self.trial_of(program).into_iter().map(|(_, row)| row).collect(),
        };
        self.programs.iter().map(trial).collect()
    }

    /// How many members and keys there are. Every event takes one key.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (u64::try_from(self.members.len()).unwrap_or(u64::MAX), self.newest.0)
    }

    /// Roughly how much memory the state takes, by part.
    #[must_use]
    pub fn memory_bytes(&self) -> MemoryBytes {
        let (index, names, holdings, caps) = self.members.bytes();
        let sealing: usize = self.sealing.iter().map(|generation| generation.bytes()).sum();
        let (keys, capture) = (self.generation.bytes() + sealing, self.members.log_bytes);
        MemoryBytes { index, names, holdings, caps, keys, capture }
    }
}

/// The rows in pieces of rewards.
fn pieces_of(program: &Program) -> Vec<TrialRow> {
    let Accounts { issuance, redemption, .. } = &program.pieces;
    let row = |account: String, posted: &Posted| TrialRow { asset: PIECES.into(), account, balance: posted.balance };
    let purposes = Purpose::ALL.iter().map(|purpose| format!("redemption/{}", purpose.name()));
    let moved = std::iter::once("issuance".to_owned()).chain(purposes).zip(std::iter::once(issuance).chain(redemption));
    let mut rows: Vec<_> =
        moved.filter(|(_, posted)| posted.head.0 > 0).map(|(name, posted)| row(name, posted)).collect();
    rows.extend(program.rewards.list().iter().map(|reward| row(format!("reward/{}", reward.sku), &reward.stock)));
    let reserved = program.rewards.list().iter().filter(|reward| reward.reserved.head.0 > 0);
    rows.extend(reserved.map(|reward| row(format!("reward/{}/reserved", reward.sku), &reward.reserved)));
    rows
}

/// Roughly how many bytes of memory each part of the state takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryBytes {
    /// The index of members' ids.
    pub index: usize,
    /// Their ids.
    pub names: usize,
    /// What they own.
    pub holdings: usize,
    /// The counters of their caps.
    pub caps: usize,
    /// Keys and take-backs that are in memory.
    pub keys: usize,
    /// Pre-images that are held for a capture.
    pub capture: usize,
}

impl MemoryBytes {
    /// All together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.index + self.names + self.holdings + self.caps + self.keys + self.capture
    }
}
