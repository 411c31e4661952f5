//! What members are, beside what they own: from their books to rows, and what these rows must come to.

use jiff::civil::Date;
use serde_json::Value as Json;

use crate::audit::told;
use crate::ledger::command::Standing;
use crate::ledger::ids::TagNo;
use crate::ledger::view::BaseProgram;

use super::ExportError;
use super::columns::{AccountRow, EventRow, MemberRow};
use super::rows::Ids;
use super::source::MemberBooks;
use super::sums::Sums;

/// A member's row.
pub(super) fn row_of(program: &BaseProgram, books: &MemberBooks, ids: &mut dyn Ids) -> Result<MemberRow, ExportError> {
    let name = |tag: &TagNo| program.tags.get(usize::from(tag.0)).map(String::as_str);
    let unnamed =
        || ExportError::Refused(format!("the snapshot has a member of {} with a tag of no name", program.name));
    let mut tags = books.tags.iter().map(name).collect::<Option<Vec<_>>>().ok_or_else(unnamed)?;
    tags.sort_unstable();
    Ok(MemberRow {
        program: program.trial.program.clone(),
        member: books.id.clone(),
        standing: standing_name(books.standing).to_owned(),
        joined_on: books.joined_day.and_then(told::day_text).unwrap_or_default(),
        tags: tags_text(&tags),
        merged_into: books.merged_into.map(|into| ids.member(into)).transpose()?.unwrap_or_default(),
    })
}

pub(super) fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Open => "open",
        Standing::Frozen => "frozen",
        Standing::Closed => "closed",
    }
}

/// Names of tags; no text for none.
pub(super) fn tags_text(tags: &[&str]) -> String {
    if tags.is_empty() { String::new() } else { Json::from(tags.to_vec()).to_string() }
}

/// Whether there is a row for each member who has accounts, and whether those who went into others are those of whom the events
/// say so, without holding one in memory.
#[derive(Default)]
pub(super) struct Listed {
    members: Sums,
    with_accounts: Sums,
    gone: Sums,
    merged: Sums,
}

impl Listed {
    pub(super) fn member(&mut self, row: &MemberRow) -> Result<(), String> {
        let Self { members, gone, .. } = self;
        let MemberRow { program, member, standing, joined_on, tags, merged_into } = row;
        if !["open", "frozen", "closed"].contains(&standing.as_str()) {
            return Err(format!("{member} of {program} has the standing {standing:?}"));
        }
        let date = joined_on.parse::<Date>().ok().map(|date| date.to_string());
        if !joined_on.is_empty() && date.as_ref() != Some(joined_on) {
            return Err(format!("{member} of {program} joined on {joined_on:?}, which is no date"));
        }
        let named: Vec<String> =
            if tags.is_empty() { Vec::new() } else { serde_json::from_str(tags).unwrap_or_default() };
        let names: Vec<&str> = named.iter().map(String::as_str).collect();
        if !names.is_sorted_by(|a, b| a < b) || tags_text(&names) != *tags {
            return Err(format!("{member} of {program} has the tags {tags}, which are no list of names in order"));
        }
        members.one([program, member, ""]);
        if !merged_into.is_empty() {
            gone.one([program, member, merged_into]);
        }
        Ok(())
    }

    /// Takes a row of accounts: every member has one of what is available in points.
    pub(super) fn account(&mut self, row: &AccountRow) {
        if (row.account.as_str(), row.asset.as_str()) == ("member/available", "points") {
            self.with_accounts.one([&row.program, &row.member, ""]);
        }
    }

    pub(super) fn event(&mut self, row: &EventRow) {
        if (row.kind.as_str(), row.outcome.as_str()) == ("merge", "applied") {
            self.merged.one([&row.program, &row.member, &row.other_member]);
        }
    }

    /// In which program the rows are not those of the members; `all_events` says whether every event was there.
    pub(super) fn difference(&self, all_events: bool) -> Option<String> {
        let differs = |one: &Sums, other: &Sums| one.differing(other).map(str::to_owned);
        if let Some(program) = differs(&self.members, &self.with_accounts) {
            return Some(format!("the members of {program} are not those who have accounts"));
        }
        let program = all_events.then(|| differs(&self.gone, &self.merged)).flatten()?;
        Some(format!("the members of {program} who went into others are not those of its events"))
    }
}
