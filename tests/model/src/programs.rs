//! Random rules of programs: five assets of the four kinds, every policy, campaigns on points and on growth.

use stampbook::ledger::ids::AssetNo;
use stampbook::ledger::later::Later;
use stampbook::ledger::spec::{
    AlsoAward, AssetSpec, CampaignSpec, Cap, CapPer, ConversionRate, DebtPolicy, ExpiryPolicy, HOLD_DAYS_MAX, Lifetime,
    Offset, OnExhausted, PendingRule, ProgramMore, ProgramSpec, Ratio, RoundUp, Rounding, Rule, RuleMore,
};

use super::generate::{CAMPAIGNS, Character, Generator, KINDS, PROGRAMS};
use super::rules::{DAY, GROWTH, SECOND, STARS, assets, ratio};

/// Two programs a book, in zones whose clocks change: by night, never, at midnight, and half an hour off.
const ZONES: [[(&str, &str); 2]; 3] = [
    [("Europe/London", "GBP"), ("Asia/Shanghai", "CNY")],
    [("America/Havana", "CUP"), ("Europe/London", "GBP")],
    [("Asia/Kolkata", "INR"), ("America/Havana", "CUP")],
];
/// The groups of the campaigns on points; those on growth are a group of their own.
const GROUPS: [&str; 3] = ["brand", "season", "store"];

/// The asset that a campaign multiplies, by its id.
fn asset_of(id: &str) -> AssetNo {
    if ["foxtrot", "golf"].contains(&id) { GROWTH } else { AssetNo::POINTS }
}

impl Generator {
    /// The currency of a program.
    pub fn currency(&self, number: usize) -> &'static str {
        self.zone(number).1
    }

    fn zone(&self, number: usize) -> (&'static str, &'static str) {
        ZONES[self.zones][number]
    }

    fn rate(&mut self) -> Ratio {
        let rates = [(1, 100), (10, 100), (1, 1), (1, 1_000), (3, 7), (5, 1), (1_000, 3)];
        let (numerator, denominator) = self.rng.pick(&rates);
        ratio(numerator, denominator)
    }

    fn rounding(&mut self) -> Rounding {
        self.rng.pick(&[Rounding::Floor, Rounding::HalfUp, Rounding::Ceiling])
    }

    fn days(&mut self, most: i64) -> u32 {
        u32::try_from(self.rng.between(1, most)).unwrap()
    }

    fn expiry(&mut self) -> ExpiryPolicy {
        let round_up = self.rng.pick(&[RoundUp::Day, RoundUp::Month, RoundUp::Quarter, RoundUp::Year]);
        let lifetime = match (self.character, self.rng.between(0, 9)) {
            // Many dates at once: a new lot every day, for a year.
            (Character::ManyLots, 0..=7) => {
                return ExpiryPolicy { lifetime: Lifetime::Days(self.days(400) + 200), round_up: RoundUp::Day };
            }
            (Character::Rolling, 0..=5) => Lifetime::RollingDays(self.days(40)),
            (_, 0..=1) => Lifetime::Never,
            (_, 2..=3) => Lifetime::Days(self.days(100)),
            (_, 4..=5) => Lifetime::Months(self.days(14)),
            (_, 6) => Lifetime::Until(self.fixed_date()),
            (_, 7) => Lifetime::RollingDays(self.days(60)),
            (_, 8) => Lifetime::RollingMonths(self.days(6)),
            _ => Lifetime::Days(self.days(7)),
        };
        ExpiryPolicy { lifetime, round_up }
    }

    /// A fixed date, which may lie in the past.
    fn fixed_date(&mut self) -> i64 {
        let day = (self.now_us / DAY + self.rng.between(-30, 500)) * DAY;
        day + self.rng.pick(&[0, 0, 4, 5, 16, 23]) * 3_600 * SECOND - self.rng.between(0, 1)
    }

    fn assets(&mut self) -> Vec<AssetSpec> {
        assets(|_| {
            let debt = self.rng.pick(&[DebtPolicy::Debt, DebtPolicy::Debt, DebtPolicy::Clamp, DebtPolicy::Reject]);
            let most = u64::try_from(self.rng.between(1, 3_000)).unwrap();
            (self.expiry(), debt, (debt == DebtPolicy::Debt && self.rng.chance(400)).then_some(most))
        })
    }

    fn more(&mut self, number: usize) -> ProgramMore {
        let (points, minor) = self.rng.pick(&[(100, 100), (7, 3), (1, 1), (500, 200)]);
        ProgramMore {
            assets: self.assets(),
            offset: self.rng.chance(600).then_some(Offset { points, minor }),
            grace_days: self.rng.pick(&[0, 0, 1, 7, 30]),
            hold_days_max: self.rng.pick(&[1, 7, HOLD_DAYS_MAX, HOLD_DAYS_MAX, HOLD_DAYS_MAX]),
            conversions: self.conversions(PROGRAMS[1 - number]),
            accepts_from: if self.rng.chance(900) { vec![PROGRAMS[1 - number].to_owned()] } else { Vec::new() },
        }
    }

    /// What units of a program come to in the other one, mostly.
    fn conversions(&mut self, to: &str) -> Vec<ConversionRate> {
        let mut rates = Vec::new();
        for (asset, to_asset) in [(AssetNo::POINTS, "points"), (AssetNo::POINTS, "stars"), (STARS, "points")] {
            let (units, to_units) = self.rng.pick(&[(1, 1), (3, 1), (100, 7), (1, 5), (2_000, 3)]);
            if self.rng.chance(850) {
                rates.push(ConversionRate { to: to.to_owned(), asset, to_asset: to_asset.to_owned(), units, to_units });
            }
        }
        rates
    }

    fn rule(&mut self, kind: &str) -> Rule {
        let also = self.rng.chance(450).then(|| AlsoAward {
            asset: if self.rng.chance(700) { GROWTH } else { STARS },
            rate: self.rate(),
            rounding: self.rounding(),
        });
        let pending = self.rng.chance(250).then(|| match self.rng.chance(600) {
            true => PendingRule::Days(self.days(20)),
            false => PendingRule::UntilActivated,
        });
        let (rate, rounding) = (self.rate(), self.rounding());
        Rule { kind: kind.to_owned(), rate, rounding, more: Later::new(RuleMore { also, pending }) }
    }

    /// Rules of a program, mostly such as may follow on those that it has.
    pub fn spec(&mut self, number: usize) -> ProgramSpec {
        let first = self.sent_count() <= 2;
        let (zone, currency) = match self.rng.chance(20) && !first {
            true => ("America/New_York", "USD"),
            false => self.zone(number),
        };
        let mut rules = Vec::new();
        for kind in KINDS {
            if kind == KINDS[0] || self.rng.chance(800) {
                rules.push(self.rule(kind));
            }
        }
        let mut campaigns = Vec::new();
        let import_mode = self.rng.chance(500);
        // Live versions look ahead, but for a few that are to be refused.
        let back_most = if import_mode || (!first && self.rng.chance(150)) { 40 * DAY } else { 0 };
        for id in CAMPAIGNS {
            if self.rng.chance(800) {
                campaigns.push(self.campaign(id, back_most));
            }
        }
        let effective_from_us = match self.rng.between(0, 9) {
            0..=4 => None,
            5..=7 => Some(self.now_us + self.rng.between(0, 10 * DAY)),
            _ => Some(self.now_us - self.rng.between(0, back_most / 2)),
        };
        self.edges.extend(effective_from_us);
        self.edges.extend(campaigns.iter().flat_map(|campaign| [campaign.start_us, campaign.end_us]));
        let mut more = self.more(number);
        if !first && self.rng.chance(30) {
            more.assets.swap(1, 4);
        }
        if !first && self.rng.chance(30) {
            campaigns.iter_mut().take(1).for_each(|campaign| campaign.asset = Later::new(STARS));
        }
        ProgramSpec {
            name: "Club".to_owned(),
            currency: currency.to_owned(),
            time_zone: zone.to_owned(),
            tz_version: "2026a".to_owned(),
            import_mode,
            effective_from_us,
            greatest_total: self.rng.pick(&[ratio(10, 1), ratio(5, 1), ratio(7, 2), ratio(1, 1), ratio(1_000, 1)]),
            rules,
            campaigns,
            more: Later::new(more),
        }
    }

    fn campaign(&mut self, id: &str, back_most: i64) -> CampaignSpec {
        let multipliers = [(1, 1), (3, 2), (6, 5), (2, 1), (2, 1), (3, 1), (3, 1), (11, 10), (10_000, 9_999), (40, 1)];
        let (numerator, denominator) = self.rng.pick(&multipliers);
        let start_us = match self.rng.between(0, 3) {
            0 => self.now_us + self.rng.between(0, 5 * DAY),
            _ => self.now_us - self.rng.between(0, back_most),
        };
        let per = self.rng.pick(&[CapPer::Campaign, CapPer::Day, CapPer::Week, CapPer::Month]);
        let points = u64::try_from(self.rng.between(1, 600)).unwrap();
        let asset = asset_of(id);
        CampaignSpec {
            id: id.to_owned(),
            start_us,
            end_us: start_us + self.rng.between(3_600 * SECOND, 200 * DAY),
            kinds: match self.rng.between(0, 2) {
                0 => vec![self.rng.pick(&KINDS).to_owned()],
                1 => KINDS[..2].iter().map(|kind| (*kind).to_owned()).collect(),
                _ => Vec::new(),
            },
            multiplier: ratio(numerator, denominator),
            group: if asset == GROWTH { "tier".to_owned() } else { self.rng.pick(&GROUPS).to_owned() },
            on_exhausted: self.rng.pick(&[OnExhausted::Clip, OnExhausted::Stop]),
            cap: self.rng.chance(500).then_some(Cap { points, per }),
            asset: Later::new(asset),
        }
    }
}
