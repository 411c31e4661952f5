//! The ids behind the numbers of programs and campaigns, for threads other than the engine's. Only what is durable.

use std::sync::{Arc, PoisonError, RwLock};

use crate::ledger::Ledger;
use crate::ledger::ids::{CampaignNo, ProgramNo};

/// A program's id and its campaigns' ids by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramNames {
    /// The program's id.
    pub id: String,
    /// The campaigns' ids.
    pub campaigns: Vec<String>,
}

/// Every program's names by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    programs: Vec<ProgramNames>,
}

impl Names {
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let names = |program: crate::ledger::view::ProgramView| ProgramNames {
            campaigns: ledger.campaigns(program.number).into_iter().map(|campaign| campaign.spec.id).collect(),
            id: program.id,
        };
        Self { programs: ledger.programs().into_iter().map(names).collect() }
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

    /// A campaign's id.
    #[must_use]
    pub fn campaign(&self, program: ProgramNo, campaign: CampaignNo) -> Option<&str> {
        self.program(program)?.campaigns.get(usize::from(campaign.0)).map(String::as_str)
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
