//! The list of rows that were not booked, and why, as CSV.

use std::fs::File;
use std::path::Path;

use csv::Writer;
use stampbook::proto::{Outcome, Receipt};

use super::super::{EXIT_IO, Failure, remote};
use super::file::Row;

/// The list, if one was asked for.
pub(super) struct Rejects {
    file: Option<(Writer<File>, String)>,
}

impl Rejects {
    /// Begins the list, in place of a file of that name.
    pub(super) fn create(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self { file: None }) };
        let name = path.display().to_string();
        let mut list = Writer::from_path(path).map_err(|error| failed(&name, &error))?;
        let header = ["line", "source_key", "member", "points", "outcome", "reason", "field", "message", "asset"];
        list.write_record(header).map_err(|error| failed(&name, &error))?;
        Ok(Self { file: Some((list, name)) })
    }

    /// Lists a row if its receipt says that it was not booked.
    pub(super) fn note(&mut self, row: &Row, receipt: &Receipt) -> Result<(), Failure> {
        let Some((list, name)) = &mut self.file else { return Ok(()) };
        if receipt.outcome() == Outcome::Applied {
            return Ok(());
        }
        let outcome = remote::short(receipt.outcome().as_str_name(), "OUTCOME_");
        let reason = remote::short(receipt.reason().as_str_name(), "REASON_");
        let (line, points) = (row.line.to_string(), row.points.to_string());
        let (key, member) = (row.source_key.as_str(), row.member.as_str());
        let (field, message) = (receipt.field.as_str(), receipt.message.as_str());
        let record = [line.as_str(), key, member, &points, outcome, reason, field, message, &row.asset];
        list.write_record(record).map_err(|error| failed(name, &error))
    }

    /// Writes what is left to be written.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Some((mut list, name)) = self.file else { return Ok(()) };
        list.flush().map_err(|error| failed(&name, &error))
    }
}

fn failed(name: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::plain(EXIT_IO, format!("{name}: {error}"))
}
