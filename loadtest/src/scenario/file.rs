//! What a scenario file says, and what it may not say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::Failure;
use crate::drive::arrivals::{Arrivals, Stretch};
use crate::drive::retry::Policy;
use crate::program::{self, Fixture};

/// Commands a second at most.
const RATE_MAX: u32 = 10_000_000;
/// Of a phase, in seconds.
const SECONDS_MAX: u64 = 86_400;
/// The programs that scenarios may name: those that know the event kinds of [`Operation::Purchase`] and [`Operation::Visit`].
const PROGRAMS: [Fixture; 1] = [program::LOAD];

/// What a member's backend asks of the server.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Earn in the campaign: all that do so draw on one budget.
    Purchase,
    /// Earn outside of the campaign.
    Visit,
    /// Take back the oldest purchase or visit that was not taken back yet.
    Refund,
    /// Spend a few points.
    Redeem,
    /// Buy one piece of the scenario's reward.
    Reward,
    /// A member's card, with the balances of all assets.
    Card,
    /// The newest 20 events of a member.
    Statement,
    /// The event of a command that was sent lately, by its key.
    Event,
    /// The explanation of one.
    Explain,
}

impl Operation {
    /// As it stands in files and reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Visit => "visit",
            Self::Refund => "refund",
            Self::Redeem => "redeem",
            Self::Reward => "reward",
            Self::Card => "card",
            Self::Statement => "statement",
            Self::Event => "event",
            Self::Explain => "explain",
        }
    }

    /// Whether it changes nothing; such a one is a request of its own, whatever the batch is.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Self::Card | Self::Statement | Self::Event | Self::Explain)
    }
}

/// Percent of the commands, a hundred together.
pub(crate) type Mix = BTreeMap<Operation, u8>;

/// See the module.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it is called in reports.
    pub(crate) title: String,
    /// The id of the program that is posted to.
    program: String,
    /// Decides members, amounts, operations, and the gaps of a Poisson process.
    pub(crate) seed: u64,
    /// Who the members are.
    pub(crate) members: Members,
    /// How requests lie within their rate.
    #[serde(default)]
    pub(crate) arrivals: Arrivals,
    /// Commands of a posting request; 1: a single call.
    pub(crate) batch: u16,
    /// Load before the first phase, at its rate, that is not counted.
    #[serde(default = "warm_up_seconds")]
    pub(crate) warm_up_seconds: u64,
    /// So many of a hundred commands that post were sent before, with the same key and body.
    #[serde(default)]
    pub(crate) duplicates_percent: u8,
    /// How long an attempt may take; absent: 60 s, and the server is told nothing.
    pub(crate) deadline_ms: Option<u64>,
    /// Absent: nothing is sent again.
    pub(crate) retry: Option<Policy>,
    /// What [`Operation::Reward`] buys.
    pub(crate) reward: Option<Reward>,
    /// What phases without a mix of their own do.
    #[serde(default)]
    mix: Mix,
    /// One after the other.
    pub(crate) phases: Vec<Phase>,
}

/// The members of a scenario.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Members {
    /// How many.
    pub(crate) count: u64,
    /// The exponent of a Zipf distribution: the nth of them does `1 / n^zipf` of what the first does. Absent: each does as much.
    pub(crate) zipf: Option<f64>,
}

/// A reward that is put on offer before.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reward {
    /// Its id.
    pub(crate) id: String,
    /// Points for a piece.
    pub(crate) price: i64,
    /// Pieces that are put in.
    pub(crate) stock: i64,
}

/// A while of a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Phase {
    /// What it is called in reports.
    pub(crate) name: String,
    /// How long it lasts.
    pub(crate) seconds: u64,
    /// Commands a second.
    pub(crate) rate: u32,
    /// Commands a second at its end, where the rate goes evenly from one to the other.
    pub(crate) rate_at_end: Option<u32>,
    /// Absent: that of the scenario.
    mix: Option<Mix>,
}

fn warm_up_seconds() -> u64 {
    3
}

/// A claim about a field that does not hold.
fn claim(holds: bool, field: &str, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{field}: {}", why())) }
}

fn within<T: PartialOrd + std::fmt::Display>(value: T, least: T, most: T, field: &str) -> Result<(), String> {
    let holds = least <= value && value <= most;
    claim(holds, field, || format!("{value} is not between {least} and {most}"))
}

impl Scenario {
    /// Reads a file. The text too, for the record. An error names file, field, and what is wrong with it.
    pub(crate) fn read(file: &Path) -> Result<(Self, String), Failure> {
        let name = file.display();
        let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let scenario = Self::parse(&text).map_err(|why| format!("{name}: {why}"))?;
        Ok((scenario, text))
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        claim(!self.title.trim().is_empty(), "title", || "is empty".to_owned())?;
        let ids = PROGRAMS.map(|fixture| fixture.program).join(", ");
        claim(self.find_program().is_some(), "program", || format!("{:?} is none of: {ids}", self.program))?;
        within(self.members.count, 1, 1_000_000_000, "members.count")?;
        if let Some(zipf) = self.members.zipf {
            within(zipf, 0.0, 10.0, "members.zipf")?;
        }
        within(self.batch, 1, 10_000, "batch")?;
        within(self.warm_up_seconds, 0, SECONDS_MAX, "warm_up_seconds")?;
        within(self.duplicates_percent, 0, 99, "duplicates_percent")?;
        within(self.deadline_ms.unwrap_or(1), 1, 60_000, "deadline_ms")?;
        if let Some(retry) = self.retry {
            within(retry.attempts, 2, 100, "retry.attempts")?;
            within(retry.backoff_ms, 1, 60_000, "retry.backoff_ms")?;
            within(retry.backoff_ms_max, retry.backoff_ms, 600_000, "retry.backoff_ms_max")?;
            within(retry.budget_percent, 1, 1_000, "retry.budget_percent")?;
        }
        if let Some(reward) = &self.reward {
            claim(!reward.id.is_empty(), "reward.id", || "is empty".to_owned())?;
            within(reward.price, 1, 1_000_000_000_000, "reward.price")?;
            within(reward.stock, 1, 1_000_000_000_000, "reward.stock")?;
        }
        if !self.mix.is_empty() {
            self.check_mix(&self.mix, "mix")?;
        }
        claim(!self.phases.is_empty(), "phases", || "there is none".to_owned())?;
        for (index, phase) in self.phases.iter().enumerate() {
            self.check_phase(phase, &format!("phases[{index}]"))?;
        }
        Ok(())
    }

    fn check_phase(&self, phase: &Phase, field: &str) -> Result<(), String> {
        claim(!phase.name.trim().is_empty(), &format!("{field}.name"), || "is empty".to_owned())?;
        within(phase.seconds, 1, SECONDS_MAX, &format!("{field}.seconds"))?;
        within(phase.rate, 1, RATE_MAX, &format!("{field}.rate"))?;
        within(phase.rate_at_end.unwrap_or(1), 1, RATE_MAX, &format!("{field}.rate_at_end"))?;
        let mix = format!("{field}.mix");
        match &phase.mix {
            Some(own) => self.check_mix(own, &mix),
            None => claim(!self.mix.is_empty(), &mix, || "is absent, and the scenario has none for all".to_owned()),
        }
    }

    fn check_mix(&self, mix: &Mix, field: &str) -> Result<(), String> {
        for (operation, percent) in mix {
            within(*percent, 1, 100, &format!("{field}.{}", operation.name()))?;
        }
        let sum: u32 = mix.values().map(|percent| u32::from(*percent)).sum();
        claim(sum == 100, field, || format!("comes to {sum} percent and not to 100"))?;
        let rewards = mix.contains_key(&Operation::Reward);
        claim(!rewards || self.reward.is_some(), "reward", || format!("is absent, and {field}.reward needs one"))
    }

    fn find_program(&self) -> Option<Fixture> {
        PROGRAMS.into_iter().find(|fixture| fixture.program == self.program)
    }

    /// The program that is posted to.
    pub(crate) fn program(&self) -> Result<Fixture, Failure> {
        self.find_program().ok_or_else(|| format!("no program {:?}", self.program).into())
    }

    /// All rates as so many percent of what they are, 1 at least.
    pub(crate) fn scale(&mut self, percent: u32) {
        let scaled = |rate: u32| {
            let rate = u64::from(rate) * u64::from(percent) / 100;
            u32::try_from(rate).unwrap_or(RATE_MAX).clamp(1, RATE_MAX)
        };
        for phase in &mut self.phases {
            phase.rate = scaled(phase.rate);
            phase.rate_at_end = phase.rate_at_end.map(scaled);
        }
    }

    /// What a phase does.
    pub(crate) fn mix<'a>(&'a self, phase: &'a Phase) -> &'a Mix {
        phase.mix.as_ref().unwrap_or(&self.mix)
    }

    /// The operations of all phases, in their order.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        let mut all: Vec<_> = self.phases.iter().flat_map(|phase| self.mix(phase).keys().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The warm-up and the phases as rates of requests.
    pub(crate) fn stretches(&self) -> Vec<Stretch> {
        let first = self.phases.first().map(|phase| (self.warm_up_seconds, phase.rate, phase.rate, self.mix(phase)));
        let phases = self
            .phases
            .iter()
            .map(|phase| (phase.seconds, phase.rate, phase.rate_at_end.unwrap_or(phase.rate), self.mix(phase)));
        let stretch = |(seconds, from, to, mix)| self.stretch(seconds, from, to, mix);
        first.into_iter().chain(phases).map(stretch).collect()
    }

    #[allow(clippy::float_arithmetic, reason = "rates of a load that is made up; nothing here enters the books")]
    fn stretch(&self, seconds: u64, from: u32, to: u32, mix: &Mix) -> Stretch {
        let reads: u32 = mix.iter().filter(|(of, _)| of.reads()).map(|(_, percent)| u32::from(*percent)).sum();
        let reads = f64::from(reads) / 100.0;
        // A request for each read, and one for as many postings as make a batch.
        let requests = reads + (1.0 - reads) / f64::from(self.batch);
        Stretch { seconds, from_per_s: f64::from(from) * requests, to_per_s: f64::from(to) * requests }
    }
}

impl Phase {
    /// Commands a second that are due, on average.
    pub(crate) fn offered_per_s(&self) -> u64 {
        u64::midpoint(u64::from(self.rate), u64::from(self.rate_at_end.unwrap_or(self.rate)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SOUND: &str = r#"
        title = "t"
        program = "loadtest"
        seed = 1
        members = { count = 10, zipf = 1.0 }
        batch = 5
        mix = { visit = 60, card = 40 }
        [retry]
        attempts = 3
        backoff_ms = 10
        backoff_ms_max = 100
        budget_percent = 10
        [[phases]]
        name = "p"
        seconds = 1
        rate = 100
    "#;

    #[test]
    fn every_scenario_that_comes_with_the_program_is_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let (scenario, _) = Scenario::read(&entry.unwrap().path()).unwrap_or_else(|why| panic!("{why}"));
            let seconds: u64 = scenario.phases.iter().map(|phase| phase.seconds).sum();
            assert!((30..=120).contains(&seconds), "{}", scenario.title);
            count += 1;
        }
        assert_eq!(count, 7);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        Scenario::parse(SOUND).unwrap();
        for (from, to, said) in [
            ("title = \"t\"", "title = \" \"", "title: is empty"),
            ("\"loadtest\"", "\"lapsing\"", "program: \"lapsing\" is none of: loadtest"),
            ("count = 10", "count = 0", "members.count: 0 is not between 1 and 1000000000"),
            ("zipf = 1.0", "zipf = nan", "members.zipf: NaN is not between 0 and 10"),
            ("batch = 5", "batch = 10001", "batch: 10001 is not between"),
            ("batch = 5", "batch = 5\nduplicates_percent = 100", "duplicates_percent: 100 is not between 0 and 99"),
            ("batch = 5", "batch = 5\ndeadline_ms = 0", "deadline_ms: 0 is not between"),
            ("attempts = 3", "attempts = 1", "retry.attempts: 1 is not between 2"),
            ("backoff_ms_max = 100", "backoff_ms_max = 9", "retry.backoff_ms_max: 9 is not between 10"),
            ("budget_percent = 10", "budget_percent = 0", "retry.budget_percent: 0"),
            ("visit = 60", "visit = 61", "mix: comes to 101 percent and not to 100"),
            ("card = 40", "card = 0", "mix.card: 0 is not between 1 and 100"),
            ("card = 40", "reward = 40", "reward: is absent, and mix.reward needs one"),
            ("mix = { visit = 60, card = 40 }", "", "phases[0].mix: is absent, and the scenario has none"),
            ("name = \"p\"", "name = \"\"", "phases[0].name: is empty"),
            ("seconds = 1", "seconds = 0", "phases[0].seconds: 0 is not between"),
            ("rate = 100", "rate = 0", "phases[0].rate: 0 is not between 1 and 10000000"),
            ("rate = 100", "rate = 100\nrate_at_end = 0", "phases[0].rate_at_end: 0 is not between"),
            ("rate = 100", "rate = 100\nmix = { visit = 99 }", "phases[0].mix: comes to 99 percent"),
            // What the reader of TOML finds, it shows with its line.
            ("batch = 5", "batch = 5\ncolour = 3", "unknown field `colour`"),
            ("attempts = 3", "attempts = 3\njitter = 1", "unknown field `jitter`"),
            ("card = 40", "cards = 40", "unknown variant `cards`"),
            ("rate = 100", "rate = -1", "invalid value: integer `-1`"),
            ("seed = 1", "", "missing field `seed`"),
        ] {
            let text = SOUND.replacen(from, to, 1);
            assert_ne!(text, SOUND, "{from}");
            let why = Scenario::parse(&text).unwrap_err();
            assert!(why.contains(said), "{to}: {why}");
        }
        let without = SOUND.split("[[phases]]").next().unwrap();
        assert!(Scenario::parse(without).unwrap_err().contains("missing field `phases`"));
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("odd.toml");
        assert!(Scenario::read(&file).unwrap_err().to_string().contains("odd.toml: "));
        fs::write(&file, SOUND.replace("batch = 5", "batch = 0")).unwrap();
        assert!(
            Scenario::read(&file).unwrap_err().to_string().ends_with("odd.toml: batch: 0 is not between 1 and 10000")
        );
    }

    #[test]
    fn rates_of_requests_and_of_commands_say_the_same() {
        let mut scenario = Scenario::parse(SOUND).unwrap();
        // Of 100 commands 40 read, each in a request, and 60 post in 12 batches of 5.
        assert!(scenario.stretches().iter().all(|stretch| stretch.from_per_s == 52.0 && stretch.to_per_s == 52.0));
        assert_eq!(scenario.stretches().iter().map(|stretch| stretch.seconds).collect::<Vec<_>>(), [3, 1]);
        scenario.phases[0].rate_at_end = Some(301);
        assert_eq!(scenario.phases[0].offered_per_s(), 200);
        scenario.scale(50);
        assert_eq!((scenario.phases[0].rate, scenario.phases[0].rate_at_end), (50, Some(150)));
        scenario.scale(1);
        assert_eq!(scenario.phases[0].rate, 1);
    }
}
