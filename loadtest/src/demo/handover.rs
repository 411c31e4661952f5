//! What an auditor takes home from the night: a snapshot of its end, exported in two formats that others read.

use std::path::{Path, PathBuf};

use crate::stage::files_below;
use crate::{Failure, tools};

/// Of the snapshot.
const NAME: &str = "end-of-the-night";

/// A snapshot, and where it was exported to.
#[derive(Debug)]
pub(super) struct Handover {
    /// The op of the snapshot's event.
    pub(super) op: u64,
    /// One folder for each format.
    folder: PathBuf,
}

impl Handover {
    /// Takes the snapshot on the running server.
    pub(super) fn take(binary: &Path, address: &str, folder: Option<&Path>) -> Result<Self, Failure> {
        let created = tools::run(tools::create_snapshot(binary, address, NAME))?;
        let op = created.get("snapshot").and_then(|snapshot| snapshot.get("op")?.as_u64());
        let op = op.ok_or_else(|| format!("the snapshot has no op: {created}"))?;
        let folder = match folder {
            Some(folder) => folder.to_path_buf(),
            // It stays: whoever ran the night is to look at it.
            None => tempfile::Builder::new().prefix("stampbook-export-").tempdir()?.keep(),
        };
        Ok(Self { op, folder })
    }

    /// Exports it from the books, which no server has open.
    pub(super) fn export(&self, binary: &Path, data: &Path) -> Result<(), Failure> {
        for format in ["hledger", "parquet"] {
            tools::run(tools::export(binary, data, NAME, format, &self.folder.join(format)))?;
        }
        Ok(())
    }

    /// For people.
    pub(super) fn print(&self) -> Result<(), Failure> {
        let (journal, parquet) = (self.folder.join("hledger"), self.folder.join("parquet"));
        println!(
            "\nsnapshot \"{NAME}\" at op {}, exported to {}",
            crate::tally::grouped(self.op),
            self.folder.display()
        );
        println!("  prove it with hledger, which knows nothing of Stampbook:");
        for path in files_below(&journal)?.iter().filter(|path| path.extension().is_some_and(|kind| kind == "journal"))
        {
            println!("    hledger -f {0} check && hledger -f {0} bal --depth 2", path.display());
        }
        println!("  ask it with DuckDB (pip install duckdb):");
        println!(
            "    python3 -c \"import duckdb; print(duckdb.sql(\\\"select account, sum(debit), sum(credit) from '{}' group by 1 order by 1\\\"))\"",
            parquet.join("postings*.parquet").display()
        );
        Ok(())
    }
}
