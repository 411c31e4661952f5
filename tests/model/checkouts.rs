//! Several commands as one: each part sees what the ones before it did, and all of them happen or none.

use stampbook::ledger::command::{Action, Command};

use super::book::{Said, tell};
use super::posts::say_after;
use super::{Model, Verdict, What};

impl Model {
    /// Decides the parts one after another, and closes them.
    pub(crate) fn check_out(&mut self, command: &Command, parts: &[Command], now_us: i64) -> Verdict {
        let number = usize::from(command.program.0);
        let before = self.clone();
        let mut said = Said { what: "checked out".to_owned(), ..Said::default() };
        let mut earn = None;
        for (place, part) in parts.iter().enumerate() {
            let at = self.history.len();
            match self.post_one(part, now_us) {
                Verdict::Fresh(Said { refused: None, .. }) => {}
                Verdict::Fresh(Said { refused: Some((reason, field)), .. }) => {
                    *self = before;
                    // A field of the command's own is no field of the part.
                    let own = !field.contains('.');
                    let field = if own { field } else { format!("checkout.parts[{place}].{field}") };
                    let said = self.refuse(number, command, (reason, field));
                    self.said.push(said.clone());
                    return Verdict::Fresh(said);
                }
                verdict => {
                    *self = before;
                    return verdict;
                }
            }
            tell(&mut said.more, &format!("part {place}"), at + 1);
            if matches!(part.action, Action::Earn { .. }) {
                earn = Some(at);
                tell(&mut said.more, "earn", place + 1);
            }
        }
        let program = &self.programs[number];
        let name = program.root(&command.member).to_owned();
        say_after(&mut said, &program.members[&name], &[]);
        self.remember(number, command, Some(name), What::CheckedOut { earn });
        self.said.push(said.clone());
        Verdict::Fresh(said)
    }
}
