//! Reads of the state: programs, campaigns, trial balance, state hash.

use std::sync::Arc;

use super::codec;
use super::command::Purpose;
use super::ids::ProgramNo;
use super::spec::CapPer;
use super::state::{Ledger, Program};
use super::view::{CampaignStatus, CampaignView, ProgramTrial, ProgramView, TrialRow};

/// The version of the canonical form that [`Ledger::state_hash`] hashes.
pub const STATE_HASH_VERSION: u8 = 1;

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

    /// The hash of the logical state, over a canonical form that does not depend on how the state is held: equal for
    /// the live state and for a replay of the same book.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("stampbook state hash");
        hasher.update(&[STATE_HASH_VERSION]);
        hasher.update(&self.newest.0.to_le_bytes());
        hash_count(&mut hasher, self.programs.len());
        for program in &self.programs {
            hash_program(&mut hasher, program);
        }
        hash_count(&mut hasher, self.members.len());
        for (identity, holding) in self.members.iter() {
            hasher.update(&identity.program.0.to_le_bytes());
            hash_text(&mut hasher, &identity.id);
            hasher.update(&holding.balances.available.to_le_bytes());
            hasher.update(&holding.balances.debt.to_le_bytes());
            hasher.update(&holding.head.0.to_le_bytes());
            for lot in &holding.lots {
                hasher.update(&lot.entered.to_le_bytes());
                hasher.update(&lot.left.to_le_bytes());
                hasher.update(&lot.opened.0.to_le_bytes());
            }
        }
        let mut keys: Vec<_> = self.keys.iter().map(|(high, low, op)| (op.0, high, low)).collect();
        keys.sort_unstable();
        hash_count(&mut hasher, keys.len());
        for (op, high, low) in keys {
            hasher.update(&op.to_le_bytes()).update(&high.to_le_bytes()).update(&low.to_le_bytes());
        }
        let mut taken: Vec<_> = self.taken_back.iter().map(|(original, refund)| (original.0, refund.0)).collect();
        taken.sort_unstable();
        hash_count(&mut hasher, taken.len());
        for (original, refund) in taken {
            hasher.update(&original.to_le_bytes()).update(&refund.to_le_bytes());
        }
        let mut caps: Vec<_> = self.caps.iter().map(|((m, c, span), used)| (m.0, c.0, *span, *used)).collect();
        caps.sort_unstable();
        hash_count(&mut hasher, caps.len());
        for (member, campaign, span, used) in caps {
            hasher.update(&member.to_le_bytes()).update(&campaign.to_le_bytes());
            let per = match span.per {
                CapPer::Campaign => 0,
                CapPer::Day => 1,
                CapPer::Week => 2,
                CapPer::Month => 3_u8,
            };
            hasher.update(&[per]).update(&span.first_day.to_le_bytes()).update(&used.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// How many members and keys there are.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (u64::try_from(self.members.len()).unwrap_or(u64::MAX), self.keys.len())
    }
}

/// How many entries follow, so that the end of one list cannot pass for the beginning of the next.
fn hash_count(hasher: &mut blake3::Hasher, count: usize) {
    hasher.update(&u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes());
}

fn hash_text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(text.as_bytes()).update(&[0xff]);
}

fn hash_program(hasher: &mut blake3::Hasher, program: &Program) {
    hash_text(hasher, &program.id);
    hash_count(hasher, program.versions.len());
    for version in &program.versions {
        hasher.update(&version.number.0.to_le_bytes()).update(&version.effective_from_us.to_le_bytes());
        hash_text(hasher, &version.definition);
        let mut rules = Vec::new();
        // Rules in the state came through an event's bytes, so they can be written again.
        let written = codec::append_rules(&version.spec, &mut rules).is_ok();
        hash_count(hasher, if written { rules.len() } else { usize::MAX });
        hasher.update(&rules);
        hash_count(hasher, version.campaigns.len());
        for campaign in &version.campaigns {
            hasher.update(&campaign.0.to_le_bytes());
        }
    }
    let totals = &program.totals;
    for posted in [&totals.issuance, &totals.adjustment].into_iter().chain(&totals.redemption) {
        hasher.update(&posted.balance.to_le_bytes()).update(&posted.head.0.to_le_bytes());
    }
    for sum in [totals.available, totals.debt] {
        hasher.update(&sum.to_le_bytes());
    }
    hasher.update(&totals.members.to_le_bytes());
    hash_count(hasher, program.campaigns.len());
    for campaign in &program.campaigns {
        hash_text(hasher, &campaign.spec.id);
        let status = match campaign.purse.status {
            CampaignStatus::Open => 0,
            CampaignStatus::Paused => 1,
            CampaignStatus::Stopped => 2,
            CampaignStatus::Closed => 3_u8,
        };
        hasher.update(&[status]);
        for sum in [campaign.purse.budget.balance, campaign.purse.funded, campaign.purse.awarded] {
            hasher.update(&sum.to_le_bytes());
        }
        hasher.update(&campaign.purse.budget.head.0.to_le_bytes());
    }
}
