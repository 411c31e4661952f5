//! `stampbook import`.

mod file;
mod post;
mod rejects;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use stampbook::constants::{ACTOR_BYTES_MAX, ACTOR_REASON_BYTES_MAX, KEY_BYTES_MAX};
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::{AccountClass, GetProgramRequest, GetTrialBalanceRequest, TrialBalanceRow};
use tonic::transport::Channel;

use self::file::{Rows, Sums};
use self::post::{Booked, Tally};
use self::rejects::Rejects;
use super::{EXIT_BAD_INPUT, EXIT_REFUSED, Failure, Outcome, Server, Shown, remote};

/// A row needs a key of at least one byte behind the prefix and its slash.
const PREFIX_BYTES_MAX: usize = KEY_BYTES_MAX - 2;

#[derive(Args)]
pub(super) struct Import {
    /// The program's id; its newest version must be in import mode.
    #[arg(long)]
    program: String,
    /// The accounts, in CSV with the columns source_key, member and points (units, negative for a debt) and, where they are wanted, asset
    /// (empty for points), lapses_at (empty for as the asset's policy says), occurred_at (when the units were earned, empty for now)
    /// and source (opening). A member with several lots has a row each.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// What makes the file's keys unique in the program: a row's idempotency key is PREFIX/source_key, so that the same
    /// import again books nothing twice.
    #[arg(long, value_name = "PREFIX")]
    key_prefix: String,
    /// Who does it.
    #[arg(long)]
    actor: String,
    /// Why.
    #[arg(long)]
    reason: String,
    /// What the other system says the file must come to: units by asset, and members. Nothing is posted from a file that comes to
    /// something else.
    #[arg(long, value_name = "points=N,ASSET=N,members=M")]
    control: Option<Control>,
    /// Check the file and the program, and post nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where to list, as CSV, the rows that were refused, and why.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Control totals, as the other system has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Control {
    /// Units, by asset.
    units: BTreeMap<String, i64>,
    members: Option<u64>,
}

impl FromStr for Control {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut control = Self::default();
        for part in text.split(',') {
            let (name, number) =
                part.split_once('=').ok_or("control totals are points=N,ASSET=N,members=M, or some of them")?;
            let bad = |_| format!("{name} is {number:?}, which is no such number");
            match name {
                "members" if control.members.is_none() => control.members = Some(number.parse().map_err(bad)?),
                "members" | "" => return Err(format!("{name:?} is no control total, or is there twice")),
                asset => {
                    let before = control.units.insert(asset.to_owned(), number.parse().map_err(bad)?);
                    before.map_or(Ok(()), |_| Err(format!("{name:?} is there twice")))?;
                }
            }
        }
        Ok(control)
    }
}

/// Where the program stands, as far as an import is concerned.
struct Standing {
    /// The debit of the account `opening` by asset: what was moved in.
    opened: BTreeMap<String, i64>,
    members: u64,
    op: u64,
    book_id: String,
}

impl Import {
    pub(super) fn json(&self) -> bool {
        self.server.json
    }

    pub(super) fn run(self) -> Outcome {
        self.check_arguments()?;
        let bytes = std::fs::metadata(&self.file).map_or(0, |metadata| metadata.len());
        let bar = bar(bytes, "checking {bar:30} {bytes}/{total_bytes}");
        let sums = file::check(&self.file, &self.key_prefix, &bar);
        bar.finish_and_clear();
        let sums = sums?;
        self.hold_to_control(&sums)?;
        remote::connected(&self.server.target, async |channel| self.import(channel, &sums).await)
    }

    /// What the server would refuse row by row is said once.
    fn check_arguments(&self) -> Result<(), Failure> {
        // The file of rejects is written anew, so it must not be the one that is read.
        let source = self.file.canonicalize().ok();
        if let Some(rejects) = self.rejects.as_ref().filter(|it| source.is_some() && it.canonicalize().ok() == source) {
            let text = format!("--rejects {}: it is the file to import; nothing was posted", rejects.display());
            return Err(Failure::plain(EXIT_BAD_INPUT, text));
        }
        let limits = [
            ("--key-prefix", &self.key_prefix, PREFIX_BYTES_MAX),
            ("--actor", &self.actor, ACTOR_BYTES_MAX),
            ("--reason", &self.reason, ACTOR_REASON_BYTES_MAX),
        ];
        for (name, value, bytes_max) in limits {
            if value.is_empty() || value.len() > bytes_max {
                let text = format!("{name} has {} bytes; it must have 1 to {bytes_max}", value.len());
                return Err(Failure::plain(EXIT_BAD_INPUT, text));
            }
        }
        Ok(())
    }

    fn hold_to_control(&self, sums: &Sums) -> Result<(), Failure> {
        let mut wrong = String::new();
        let Some(control) = &self.control else { return Ok(()) };
        for (asset, total) in &control.units {
            let units = sums.units.get(asset).copied().unwrap_or_default();
            if units != *total {
                let _ = writeln!(wrong, "{asset}: the file comes to {units} and the control total is {total}");
            }
        }
        if let Some(members) = control.members.filter(|members| *members != sums.members) {
            let _ = writeln!(wrong, "members: the file has {} and the control total is {members}", sums.members);
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Failure::plain(EXIT_BAD_INPUT, format!("{}: {wrong}nothing was posted", self.file.display())))
    }

    async fn import(&self, channel: Channel, sums: &Sums) -> Outcome {
        let mut accounts = AccountServiceClient::new(channel.clone());
        let before = self.standing(&mut accounts).await?;
        self.check_program(channel.clone(), sums).await?;
        if self.dry_run {
            let text = format!("sound: {}; nothing was posted", totals(sums));
            let json = json!({ "dry_run": true, "program": self.program, "file": sums_json(sums) });
            return Ok(Shown { text, json });
        }
        let rows = Rows::open(&self.file, &self.key_prefix)?;
        let mut rejects = Rejects::create(self.rejects.as_deref())?;
        let bar = bar(sums.rows, "posting {bar:30} {pos}/{len} rows, {per_sec}, {eta} to go");
        let posted = post::post(self, channel, rows, before.op, &mut rejects, &bar).await;
        bar.finish_and_clear();
        rejects.finish()?;
        let (tally, hash) = posted?;
        let after = self.standing(&mut accounts).await?;
        let wrong = self.hold_to_books(sums, &tally, hash, &before, &after);
        self.report(sums, &tally, &before, &after, &wrong)
    }

    /// A program that does not import would refuse every row, and each refusal would use up the row's key for ever. One that lacks
    /// an asset would refuse its rows.
    async fn check_program(&self, channel: Channel, sums: &Sums) -> Result<(), Failure> {
        let request = GetProgramRequest { program: self.program.clone() };
        let answer = AdminServiceClient::new(channel).get_program(request).await;
        let answer = answer.map_err(|status| remote::failure(&status))?.into_inner();
        let Some(program) = answer.program else { return Ok(()) };
        let (id, version) = (program.id, program.version);
        if !program.import {
            let text = format!(
                "program {id}: its newest version, {version}, does not import: put a version with mode = \"import\" \
                 first; nothing was posted"
            );
            return Err(Failure::plain(EXIT_BAD_INPUT, text));
        }
        match sums.units.keys().find(|asset| program.assets.iter().all(|known| known.id != **asset)) {
            Some(asset) => {
                let text =
                    format!("program {id}: its newest version, {version}, has no asset {asset:?}; nothing was posted");
                Err(Failure::plain(EXIT_BAD_INPUT, text))
            }
            None => Ok(()),
        }
    }

    async fn standing(&self, accounts: &mut AccountServiceClient<Channel>) -> Result<Standing, Failure> {
        let request = GetTrialBalanceRequest { program: self.program.clone(), as_of: None, basis: 0 };
        let answer = accounts.get_trial_balance(request).await;
        let answer = answer.map_err(|status| remote::failure(&status))?.into_inner();
        let opening = |row: &&TrialBalanceRow| row.class() == AccountClass::Opening;
        let opened = answer.rows.iter().filter(opening);
        Ok(Standing {
            opened: opened.map(|row| (row.asset.clone(), row.debit.saturating_sub(row.credit))).collect(),
            members: answer.totals.first().map_or(0, |total| total.members),
            op: answer.op,
            book_id: answer.book_id,
        })
    }

    /// What is not as it must be after the import, in words.
    fn hold_to_books(
        &self,
        sums: &Sums,
        tally: &Tally,
        hash: [u8; 32],
        before: &Standing,
        after: &Standing,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        if hash != sums.hash {
            wrong.push("the file was changed while it was posted".to_owned());
        }
        let of = |units: &BTreeMap<String, i64>, asset| units.get(asset).copied().unwrap_or_default();
        for asset in after.opened.keys().chain(sums.units.keys()).collect::<BTreeSet<_>>() {
            let moved = of(&after.opened, asset).saturating_sub(of(&before.opened, asset));
            let booked = of(&tally.applied.units, asset);
            if moved != booked {
                wrong.push(format!(
                    "the account opening moved by {moved} {asset} and the rows booked come to {booked}: is another import \
                     into the program running?"
                ));
            }
        }
        // A member that was created stays, so at least those of the rows that are in the books are there.
        if after.members < sums.members.saturating_sub(tally.rejected()) {
            wrong.push(format!("the program has {} members and the file {}", after.members, sums.members));
        }
        wrong
    }

    fn report(&self, sums: &Sums, tally: &Tally, before: &Standing, after: &Standing, wrong: &[String]) -> Outcome {
        let json = json!({
            "program": self.program,
            "file": sums_json(sums),
            "applied": booked_json(&tally.applied),
            "replayed": booked_json(&tally.replayed),
            "conflicting": tally.conflicting,
            "refused": tally.refused,
            "opening_before": &before.opened,
            "opening_after": &after.opened,
            "members_before": before.members,
            "members_after": after.members,
            "wrong": wrong,
            "book_id": after.book_id,
            "op": after.op,
        });
        let mut text = totals(sums);
        let _ = write!(text, "\napplied {} rows, {}", tally.applied.rows, listed(&tally.applied.units));
        let _ = write!(text, "\nbooked before {} rows, {}", tally.replayed.rows, listed(&tally.replayed.units));
        if tally.conflicting > 0 {
            let _ = write!(text, "\nconflicting {}: their keys hold other commands", tally.conflicting);
        }
        for (reason, rows) in &tally.refused {
            let _ = write!(text, "\nrefused {rows}: {reason}");
        }
        let _ = write!(
            text,
            "\nopening {} -> {}, members {} -> {}",
            listed(&before.opened),
            listed(&after.opened),
            before.members,
            after.members
        );
        let _ = write!(text, "; book {} op {}", after.book_id, after.op);
        for what in wrong {
            let _ = write!(text, "\nnot as it must be: {what}");
        }
        if wrong.is_empty() && tally.rejected() == 0 {
            return Ok(Shown { text, json });
        }
        Err(Failure { code: EXIT_REFUSED, text, json })
    }
}

fn totals(sums: &Sums) -> String {
    format!("{} rows, {}, {} members", sums.rows, listed(&sums.units), sums.members)
}

/// Units by asset, in words.
fn listed(units: &BTreeMap<String, i64>) -> String {
    if units.is_empty() {
        return "0 points".to_owned();
    }
    units.iter().map(|(asset, units)| format!("{units} {asset}")).collect::<Vec<_>>().join(", ")
}

fn sums_json(sums: &Sums) -> Value {
    json!({ "rows": sums.rows, "units": &sums.units, "members": sums.members })
}

fn booked_json(booked: &Booked) -> Value {
    json!({ "rows": booked.rows, "units": &booked.units })
}

/// A bar on standard error, drawn where that is a terminal and nowhere else.
fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn control_totals_are_read_in_any_order_and_one_is_enough() {
        let units = |units: &[(&str, i64)]| units.iter().map(|(asset, units)| ((*asset).to_owned(), *units)).collect();
        let both = Control { units: units(&[("points", -5)]), members: Some(7) };
        assert_eq!("points=-5,members=7".parse(), Ok(both.clone()));
        assert_eq!("members=7,points=-5".parse(), Ok(both));
        assert_eq!("members=7".parse(), Ok(Control { units: units(&[]), members: Some(7) }));
        let assets = Control { units: units(&[("points", 1), ("growth", 2)]), members: None };
        assert_eq!("points=1,growth=2".parse(), Ok(assets));
        for text in
            ["", "points", "points=", "points=x", "points=1,points=1", "=1", "members=1,members=1", "members=-1"]
        {
            assert!(text.parse::<Control>().is_err(), "{text}");
        }
    }
}
