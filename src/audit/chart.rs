//! The chart of accounts: what accounts there are in a program, how they are named, and what their balances mean.

use crate::engine::names::Names;
use crate::ledger::command::Purpose;
use crate::ledger::event::{Account, Source};
use crate::ledger::ids::{CampaignNo, ProgramNo, RewardNo};

/// An account of a program, or all its members' accounts of a kind together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// All ever authorised.
    Issuance,
    /// A campaign's budget.
    Campaign(CampaignNo),
    /// Spent, by the place of its purpose in [`Purpose::ALL`].
    Redemption(u8),
    /// Operators' acts.
    Adjustment,
    /// Moved in at the start.
    Opening,
    /// Lapsed.
    Breakage,
    /// Money of stored value.
    Cash,
    /// Settlement with another program.
    Conversion(ProgramNo),
    /// Pieces of a reward that are left.
    Stock(RewardNo),
    /// Pieces of a reward that holds reserve.
    Reserved(RewardNo),
    /// Owed to members.
    Available,
    /// Owed to members and pinned.
    Held,
    /// Owed to members and not yet available.
    Pending,
    /// Owed by members.
    Debt,
}

impl Class {
    /// The account that a leg is on.
    #[must_use]
    pub fn of(account: &Account) -> Self {
        match account {
            Account::Available { .. } | Account::Free { .. } => Self::Available,
            Account::Held { .. } => Self::Held,
            Account::Pending { .. } => Self::Pending,
            Account::Breakage { .. } => Self::Breakage,
            Account::Cash { .. } => Self::Cash,
            Account::Debt => Self::Debt,
            Account::Issuance { .. } => Self::Issuance,
            Account::Campaign { campaign, .. } => Self::Campaign(*campaign),
            Account::Redemption { purpose, .. } => Self::Redemption(u8::try_from(purpose.place()).unwrap_or(u8::MAX)),
            Account::Adjustment { .. } => Self::Adjustment,
            Account::Opening { .. } => Self::Opening,
            Account::Conversion { program, .. } => Self::Conversion(*program),
            Account::Stock { reward, .. } => Self::Stock(*reward),
            Account::Reserved { reward, .. } => Self::Reserved(*reward),
        }
    }

    /// The account of that name, as in the trial balance; `number` finds the number of a `campaign`, a `reward` or a
    /// program (`conversion`) by its id.
    #[must_use]
    pub fn named(name: &str, number: impl Fn(&str, &str) -> Option<u16>) -> Option<Self> {
        match name {
            "issuance" => Some(Self::Issuance),
            "adjustment" => Some(Self::Adjustment),
            "opening" => Some(Self::Opening),
            "member/available" => Some(Self::Available),
            "member/debt" => Some(Self::Debt),
            "member/held" => Some(Self::Held),
            "member/pending" => Some(Self::Pending),
            "breakage" => Some(Self::Breakage),
            "cash" => Some(Self::Cash),
            _ => match name.split_once('/')? {
                ("campaign", id) => number("campaign", id).map(CampaignNo).map(Self::Campaign),
                ("conversion", id) => number("conversion", id).map(ProgramNo).map(Self::Conversion),
                // No reward's id has a slash.
                ("reward", id) => match id.strip_suffix("/reserved") {
                    Some(id) => number("reward", id).map(RewardNo).map(Self::Reserved),
                    None => number("reward", id).map(RewardNo).map(Self::Stock),
                },
                ("redemption", purpose) => {
                    let place = Purpose::ALL.iter().position(|known| known.name() == purpose)?;
                    u8::try_from(place).ok().map(Self::Redemption)
                }
                _ => None,
            },
        }
    }

    /// The name in the trial balance, in events and in exports; `id` is that of the campaign, the reward or the other program
    /// that it may be of.
    #[must_use]
    pub fn name(self, id: &str) -> String {
        match self {
            Self::Available => "member/available".to_owned(),
            Self::Debt => "member/debt".to_owned(),
            Self::Held => "member/held".to_owned(),
            Self::Pending => "member/pending".to_owned(),
            Self::Breakage => "breakage".to_owned(),
            Self::Cash => "cash".to_owned(),
            Self::Issuance => "issuance".to_owned(),
            Self::Campaign(_) => format!("campaign/{id}"),
            Self::Redemption(place) => {
                let purpose = Purpose::ALL.get(usize::from(place)).map_or("unknown", |purpose| purpose.name());
                format!("redemption/{purpose}")
            }
            Self::Adjustment => "adjustment".to_owned(),
            Self::Opening => "opening".to_owned(),
            Self::Conversion(_) => format!("conversion/{id}"),
            Self::Stock(_) => format!("reward/{id}"),
            Self::Reserved(_) => format!("reward/{id}/reserved"),
        }
    }

    /// The name in a program, with the id from the book's names; `None` where they do not reach so far.
    #[must_use]
    pub fn name_in(self, names: &Names, program: ProgramNo) -> Option<String> {
        let id = match self {
            Self::Campaign(campaign) => names.campaign(program, campaign)?,
            Self::Conversion(other) => &names.program(other)?.id,
            Self::Stock(reward) | Self::Reserved(reward) => names.reward(program, reward)?,
            _ => "",
        };
        Some(self.name(id))
    }

    /// Whether the account is of one member.
    #[must_use]
    pub fn is_members(self) -> bool {
        matches!(self, Self::Available | Self::Debt | Self::Held | Self::Pending)
    }
}

/// A line of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ChartLine {
    /// The class.
    pub class: &'static str,
    /// The accounts' names.
    pub account: &'static str,
    /// The side on which a balance is expected.
    pub side: &'static str,
    /// What the balance means.
    pub meaning: &'static str,
}

/// The chart of accounts, as it goes into every export.
pub const CHART: &[ChartLine] = &[
    line("issuance", "issuance", "debit", "all units ever authorised: awarded by the program or funded into campaigns"),
    line("campaign_budget", "campaign/<id>", "credit", "funded into the campaign and not yet awarded"),
    line("redemption", "redemption/<purpose>", "credit", "spent by members, by purpose"),
    line("adjustment", "adjustment", "either", "operators' acts: a debit is what they granted, net"),
    line("opening", "opening", "debit", "moved in at the start from another system"),
    line("member_liability", "member/available", "credit", "owed to the member, who may spend it"),
    line("member_liability", "member/held", "credit", "owed to the member, and pinned by a hold"),
    line("member_liability", "member/pending", "credit", "owed to the member, who may not spend it yet"),
    line("member_debt", "member/debt", "debit", "owed by the member"),
    line("breakage", "breakage", "credit", "lapsed before members spent it"),
    line("stock", "reward/<sku>", "credit", "pieces left of the reward; in pieces, issuance is those ever put in"),
    line("stock", "reward/<sku>/reserved", "credit", "pieces of the reward that holds reserve"),
    line("clearing", "cash", "debit", "money that stored value was paid with, in units of the asset"),
    line(
        "clearing",
        "conversion/<program>",
        "either",
        "turned into units of the other program, less what came from there",
    ),
];

const fn line(class: &'static str, account: &'static str, side: &'static str, meaning: &'static str) -> ChartLine {
    ChartLine { class, account, side, meaning }
}

/// The class of an account by its name, as the chart has it; empty for a name that is in no chart.
#[must_use]
pub fn class_of(account: &str) -> &'static str {
    let matches = |line: &&ChartLine| match line.account.split_once('<') {
        Some((prefix, _)) => account.len() > prefix.len() && account.starts_with(prefix),
        None => line.account == account,
    };
    CHART.iter().find(matches).map_or("", |line| line.class)
}

/// The name of a lot's source.
#[must_use]
pub fn source_name(source: Source) -> &'static str {
    match source {
        Source::Base => "base",
        Source::Campaign => "campaign",
        Source::Granted => "granted",
        Source::Opening => "opening",
        Source::Bonus => "bonus",
        Source::Transferred => "transferred",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_account_has_a_name_that_leads_back_to_it_and_a_class_in_the_chart() {
        let redemptions = (0..8).map(Class::Redemption);
        let campaign = Class::Campaign(CampaignNo(3));
        let conversion = Class::Conversion(ProgramNo(3));
        let programs = [Class::Issuance, campaign, Class::Adjustment, Class::Opening, Class::Breakage, Class::Cash];
        let members = [Class::Available, Class::Debt, Class::Held, Class::Pending];
        let pieces = [Class::Stock(RewardNo(3)), Class::Reserved(RewardNo(3))];
        for class in redemptions.chain(programs).chain(members).chain(pieces).chain([conversion]) {
            let name = class.name("spring.may");
            let find = |_: &str, id: &str| (id == "spring.may").then_some(3);
            assert_eq!(Class::named(&name, find), Some(class), "{name}");
            assert!(!class_of(&name).is_empty(), "{name}");
            assert_eq!(class.is_members(), name.starts_with("member/"), "{name}");
        }
        assert_eq!((class_of("redemption/"), class_of("rent")), ("", ""));
        assert_eq!(Class::named("redemption/rent", |_, _| None), None);
    }
}
