//! Random operators' commands: rules, campaigns, rewards and snapshots.

use stampbook::ledger::command::{AdminAction, AdminCommand};

use super::book::Book;
use super::generate::{CAMPAIGNS, Generator, PROGRAMS, SKUS};
use super::rules::{DAY, put};

impl Generator {
    pub(super) fn operator(&mut self, book: &Book) -> AdminCommand {
        if self.rng.chance(180) {
            return self.snapshot(book);
        }
        let number = usize::from(self.rng.chance(400));
        if self.rng.chance(350) {
            let action = self.reward(number);
            return book.admin(PROGRAMS[number], &self.key(), action);
        }
        let id = if self.rng.chance(20) { "no-such-program" } else { PROGRAMS[number] };
        let campaign = if self.rng.chance(20) { "no-such-campaign" } else { self.rng.pick(&CAMPAIGNS) };
        let campaign = campaign.to_owned();
        let action = match self.rng.between(0, 99) {
            0..=54 => {
                let points = match self.rng.between(0, 9) {
                    0..=6 => self.rng.between(1, 3_000),
                    7..=8 => self.rng.between(1, 1_000_000),
                    _ => i64::try_from(self.amount()).unwrap(),
                };
                AdminAction::FundCampaign { campaign, points: u64::try_from(points).unwrap() }
            }
            55..=62 => AdminAction::PauseCampaign { campaign },
            63..=84 => AdminAction::ResumeCampaign { campaign },
            85 => AdminAction::CloseCampaign { campaign },
            86..=90 => AdminAction::ClosePeriod { until_us: self.now_us + self.rng.between(-60 * DAY, 10 * DAY) },
            _ => {
                let mut action = put(self.spec(number));
                if let (AdminAction::PutProgram { expected_version, .. }, true) = (&mut action, self.rng.chance(100)) {
                    *expected_version = Some(u32::try_from(self.rng.between(0, 9)).unwrap());
                }
                if id == "no-such-program" {
                    AdminAction::PauseCampaign { campaign: "alpha".to_owned() }
                } else {
                    action
                }
            }
        };
        book.admin(id, &self.key(), action)
    }

    /// A reward of which there are so few that they run out.
    fn reward(&mut self, program: usize) -> AdminAction {
        let shelved = self.shelved(program);
        let sku = shelved.as_ref().map_or_else(|| self.rng.pick(&SKUS).to_owned(), |(sku, _)| sku.clone());
        let asset = match self.rng.between(0, 99) {
            0..=1 => "wallet",
            2 => "rubles",
            3..=69 => "points",
            _ => "stars",
        };
        let price = match self.rng.between(0, 9) {
            0..=3 => self.rng.between(1, 9),
            4..=8 => self.rng.between(1, 300),
            _ => 1_000_000_000_000,
        };
        let stocked = match (shelved, self.rng.between(0, 9)) {
            (Some((_, pieces)), _) => -pieces,
            (None, 0) => 0,
            (None, 1..=2) => self.rng.between(-3, -1),
            (None, 3..=7) => self.rng.between(1, 5),
            _ => self.rng.between(1, 60),
        };
        let (name, price) = ("A thing".to_owned(), u64::try_from(price).unwrap());
        AdminAction::PutReward { sku, name, asset: asset.to_owned(), price, open: self.rng.chance(850), stocked }
    }

    fn snapshot(&mut self, book: &Book) -> AdminCommand {
        let name = format!("close-{}", self.rng.between(0, 9));
        let retain_until_us = self.rng.chance(500).then(|| self.now_us + self.rng.between(-DAY, 20 * DAY));
        let action = match self.rng.chance(600) {
            true => AdminAction::CreateSnapshot { name, retain_until_us },
            false => AdminAction::DeleteSnapshot { name },
        };
        book.admin("", &self.key(), action)
    }
}
