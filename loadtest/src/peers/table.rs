//! Rates and ratios, for people and for programs.

use serde_json::{Value, json};

use super::drive::Driven;
use super::{FORMS, Options, Peer};
use crate::Failure;
use crate::tally::{Tally, grouped, rate_per_s};

/// What the runs of one form on one store came to.
#[derive(Debug)]
struct Cell {
    /// Of each round.
    rates: Vec<u64>,
    /// Of all rounds.
    tally: Tally,
    retries: u64,
}

/// How commands reach each store.
const LINK: &str = "all over TCP on 127.0.0.1, as from a backend on another machine, without TLS";

/// All runs.
#[derive(Debug)]
pub(super) struct Table {
    options: Options,
    peers: Vec<Peer>,
    versions: Vec<String>,
    missing: Vec<String>,
    /// By form, by store.
    cells: Vec<Vec<Cell>>,
}

/// Commands a second, for people.
pub(super) fn rate_of(driven: &Driven) -> String {
    format!("{} commands/s", grouped(rate_per_s(driven.sent.commands, driven.elapsed)))
}

/// The one in the middle; of two the lower.
fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The median over the rounds of rate to rate, in thousandths.
fn ratio_permille(rates: &[u64], of: &[u64]) -> u64 {
    let ratios: Vec<_> = rates.iter().zip(of).map(|(rate, of)| rate.saturating_mul(1_000) / (*of).max(1)).collect();
    median(&ratios)
}

impl Table {
    pub(super) fn new(
        options: &Options,
        peers: Vec<Peer>,
        versions: Vec<String>,
        missing: Vec<String>,
    ) -> Result<Self, Failure> {
        let row = || peers.iter().map(|_| Ok(Cell { rates: Vec::new(), tally: Tally::new()?, retries: 0 })).collect();
        let cells = FORMS.iter().map(|_| row()).collect::<Result<_, Failure>>()?;
        Ok(Self { options: options.clone(), peers, versions, missing, cells })
    }

    /// Takes a run of the form and the store of those numbers.
    pub(super) fn add(&mut self, form: usize, peer: usize, driven: Driven) -> Result<(), Failure> {
        let cell = self.cells.get_mut(form).and_then(|row| row.get_mut(peer)).ok_or("no such run")?;
        cell.rates.push(rate_per_s(driven.sent.commands, driven.elapsed));
        cell.retries += driven.retries;
        cell.tally.add(&driven.tally)
    }

    /// The whole.
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            println!("{}", self.json());
            return Ok(());
        }
        let Options { seconds, rounds, members } = &self.options;
        println!(
            "the same commands, durable before they are answered: {rounds} runs of {seconds} s each, in turn, on fresh books with {} members",
            grouped(members)
        );
        for (peer, version) in self.peers.iter().zip(&self.versions) {
            println!("  {}: {version}; {}", peer.name(), peer.settings());
        }
        println!("  {LINK}");
        println!("  the books of all were balanced after each run, with as many commands as were sent");
        self.missing.iter().for_each(|line| println!("  {line}"));
        println!("{:<26} {:<10} {:>11} {:>12} {:>10} {:>10}", "", "", "commands/s", "of Stampbook", "p50 us", "p99 us");
        for cell in self.lines() {
            let ratio = format!("{}.{} %", cell.ratio_permille / 10, cell.ratio_permille % 10);
            let (rate, p50, p99) = (grouped(cell.rate), grouped(cell.p50_us), grouped(cell.p99_us));
            let retries =
                if cell.retries == 0 { String::new() } else { format!("  {} calls sent again", grouped(cell.retries)) };
            println!("{:<26} {:<10} {rate:>11} {ratio:>12} {p50:>10} {p99:>10}{retries}", cell.form, cell.store);
        }
        Ok(())
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (form, row) in FORMS.iter().zip(&self.cells) {
            let stampbook = row.first().map(|cell| cell.rates.as_slice()).unwrap_or_default();
            for (peer, cell) in self.peers.iter().zip(row) {
                let latencies = cell.tally.summary(std::time::Duration::ZERO);
                lines.push(Line {
                    form: form.name,
                    store: peer.name(),
                    connections: form.connections,
                    in_flight: form.in_flight,
                    batch: form.batch(*peer),
                    rate: median(&cell.rates),
                    rates: cell.rates.clone(),
                    ratio_permille: ratio_permille(&cell.rates, stampbook),
                    p50_us: latencies.p50_us,
                    p99_us: latencies.p99_us,
                    retries: cell.retries,
                });
            }
        }
        lines
    }

    fn json(&self) -> Value {
        let stores: Vec<_> = self
            .peers
            .iter()
            .zip(&self.versions)
            .map(|(peer, version)| json!({ "store": peer.name(), "version": version, "settings": peer.settings() }))
            .collect();
        let runs: Vec<_> = self.lines().into_iter().map(Line::json).collect();
        let Options { seconds, rounds, members } = &self.options;
        json!({
            "seconds": seconds, "rounds": rounds, "members": members, "link": LINK,
            "stores": stores, "missing": self.missing, "runs": runs,
        })
    }
}

/// One form on one store.
struct Line {
    form: &'static str,
    store: &'static str,
    connections: u64,
    in_flight: u64,
    batch: usize,
    rate: u64,
    rates: Vec<u64>,
    ratio_permille: u64,
    p50_us: u64,
    p99_us: u64,
    retries: u64,
}

impl Line {
    fn json(self) -> Value {
        json!({
            "form": self.form, "store": self.store, "connections": self.connections, "in_flight": self.in_flight,
            "batch": self.batch, "rate_per_s": self.rate, "rates_per_s": self.rates,
            "ratio_permille": self.ratio_permille, "p50_us": self.p50_us, "p99_us": self.p99_us, "retries": self.retries,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::super::drive::Sent;
    use super::*;

    #[test]
    fn a_ratio_is_to_the_rate_of_the_same_round() {
        // The machine slowed to a third after the first round; whoever is half as fast still is.
        assert_eq!(ratio_permille(&[450, 150, 150], &[900, 300, 300]), 500);
        assert_eq!(ratio_permille(&[300], &[300]), 1_000);
        assert_eq!((median(&[9, 1, 5]), median(&[4, 2]), median(&[])), (5, 2, 0));
    }

    #[test]
    fn the_json_has_every_run_and_names_what_is_missing() {
        let options = Options { seconds: 2, rounds: 1, members: 10 };
        let missing = vec!["Redis is not measured".to_owned()];
        let mut table =
            Table::new(&options, vec![Peer::Stampbook, Peer::Postgres], vec!["s".into(), "p".into()], missing).unwrap();
        for form in 0..FORMS.len() {
            for (peer, commands) in [(0, 4_000), (1, 1_000)] {
                let sent = Sent { commands, ..Sent::default() };
                let driven = Driven {
                    sent,
                    tally: Tally::new().unwrap(),
                    elapsed: Duration::from_secs(2),
                    retries: commands / 1_000,
                };
                table.add(form, peer, driven).unwrap();
            }
        }
        let told = table.json();
        assert_eq!(told["missing"][0], "Redis is not measured");
        assert_eq!(told["stores"][1]["version"], "p");
        let runs = told["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 2 * FORMS.len());
        for field in
            ["form", "store", "connections", "in_flight", "batch", "rates_per_s", "p50_us", "p99_us", "retries"]
        {
            assert!(runs.iter().all(|run| !run[field].is_null()), "{field}");
        }
        assert_eq!((&runs[1]["rate_per_s"], &runs[1]["ratio_permille"]), (&json!(500), &json!(250)));
        assert_eq!((&runs[0]["retries"], &runs[1]["retries"]), (&json!(4), &json!(1)));
    }
}
