//! Reads of the state: programs, campaigns, trial balance, memory.

use std::sync::Arc;

use super::command::Purpose;
use super::ids::ProgramNo;
use super::state::{Ledger, Program};
use super::view::{CampaignView, ProgramTrial, ProgramView, TrialRow};

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
            })
        };
        numbers.zip(&self.programs).filter_map(view).collect()
    }

    /// The campaigns of a program, in the order of their numbers; none for a number that no program has.
    #[must_use]
    pub fn campaigns(&self, number: ProgramNo) -> Vec<CampaignView> {
        let Some(program) = self.program(number) else {
            return Vec::new();
        };
        let in_force = program.newest().map(|version| version.campaigns.as_slice()).unwrap_or_default();
        let numbers = (0..=u16::MAX).map(super::ids::CampaignNo);
        let view = |(number, campaign): (super::ids::CampaignNo, &super::state::Campaign)| CampaignView {
            number,
            spec: campaign.spec.clone(),
            in_force: in_force.contains(&number),
            status: campaign.purse.status,
            funded: campaign.purse.funded,
            left: campaign.purse.budget.balance,
            awarded: campaign.purse.awarded,
        };
        numbers.zip(&program.campaigns).map(view).collect()
    }

    pub(crate) fn trial_rows(&self, program: &Program) -> Vec<TrialRow> {
        let row = |account: String, balance: i64| TrialRow { account, balance };
        let totals = &program.totals;
        let mut rows = vec![row("issuance".into(), totals.issuance.balance)];
        for campaign in &program.campaigns {
            rows.push(row(format!("campaign/{}", campaign.spec.id), campaign.purse.budget.balance));
        }
        for (purpose, posted) in Purpose::ALL.iter().zip(&totals.redemption) {
            if posted.head.0 > 0 {
                rows.push(row(format!("redemption/{}", purpose.name()), posted.balance));
            }
        }
        if totals.adjustment.head.0 > 0 {
            rows.push(row("adjustment".into(), totals.adjustment.balance));
        }
        if totals.opening.head.0 > 0 {
            rows.push(row("opening".into(), totals.opening.balance));
        }
        rows.push(row("member/available".into(), totals.available));
        rows.push(row("member/debt".into(), totals.debt.saturating_neg()));
        rows
    }

    /// The balances of every account class, per program.
    #[must_use]
    pub fn trial_balance(&self) -> Vec<ProgramTrial> {
        let trial = |program: &Program| ProgramTrial {
            program: program.id.to_string(),
            members: program.totals.members,
            rows: self.trial_rows(program),
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
