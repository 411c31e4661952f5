//! Several commands as one: each part sees what the ones before it did, and all of them happen or none.

use std::collections::BTreeMap;

use stampbook::ledger::command::{Action, Command};
use stampbook::ledger::view::CampaignStatus;

use super::book::{Said, tell};
use super::caps::Counter;
use super::member::Member;
use super::posts::say_after;
use super::{Model, Verdict, What};

/// What parts may change, as it was before them: they have no keys, and take nothing back.
struct Before {
    events: usize,
    accounts: BTreeMap<String, i128>,
    campaigns: BTreeMap<String, CampaignStatus>,
    name: String,
    member: Option<Member>,
    counters: BTreeMap<Counter, i128>,
}

impl Model {
    fn before(&self, number: usize, command: &Command) -> Before {
        let program = &self.programs[number];
        let name = program.root(&command.member).to_owned();
        let counters = self.counters_of(&program.id, &name).map(|(counter, used)| (counter.clone(), *used)).collect();
        Before {
            events: self.history.len(),
            accounts: program.accounts.clone(),
            campaigns: program.campaigns.clone(),
            member: program.members.get(&name).cloned(),
            name,
            counters,
        }
    }

    fn put_back(&mut self, number: usize, before: Before) {
        let Before { events, accounts, campaigns, name, member, counters } = before;
        self.history.truncate(events);
        self.said.truncate(events);
        let program = &mut self.programs[number];
        (program.accounts, program.campaigns) = (accounts, campaigns);
        let known = member.is_some();
        program.put_member(name.clone(), member.unwrap_or_default());
        if !known {
            program.members.remove(&name);
        }
        let id = program.id.clone();
        let since: Vec<Counter> = self.counters_of(&id, &name).map(|(counter, _)| counter.clone()).collect();
        for counter in since {
            self.counters.remove(&counter);
        }
        self.counters.extend(counters);
    }

    /// Decides the parts one after another, and closes them.
    pub fn check_out(&mut self, command: &Command, parts: &[Command], now_us: i64) -> Verdict {
        let number = usize::from(command.program.0);
        let before = self.before(number, command);
        let mut said = Said { what: "checked out".to_owned(), ..Said::default() };
        let (mut earn, mut stand) = (None, Vec::new());
        for (place, part) in parts.iter().enumerate() {
            let at = self.history.len();
            match self.post_one(part, now_us) {
                Verdict::Fresh(Said { refused: None, .. }) => {}
                Verdict::Fresh(Said { refused: Some((reason, field)), .. }) => {
                    self.put_back(number, before);
                    // A field of the command's own is no field of the part.
                    let own = !field.contains('.');
                    let field = if own { field } else { format!("checkout.parts[{place}].{field}") };
                    let said = self.refuse(number, command, (reason, field));
                    self.said.push(said.clone());
                    return Verdict::Fresh(said);
                }
                verdict => {
                    self.put_back(number, before);
                    return verdict;
                }
            }
            stand.push(at);
            tell(&mut said.more, &format!("part {place}"), at + 1);
            if matches!(part.action, Action::Earn { .. }) {
                earn = Some(at);
                tell(&mut said.more, "earn", place + 1);
            }
        }
        let program = &self.programs[number];
        let name = program.root(&command.member).to_owned();
        say_after(&mut said, &program.members[&name], &[]);
        self.remember(number, command, Some(name), What::CheckedOut { parts: stand, earn });
        self.said.push(said.clone());
        Verdict::Fresh(said)
    }
}
