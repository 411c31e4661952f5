//! `loadtest report`: a run as one HTML page that needs nothing else, on a screen by day or night and on paper.

mod folder;
mod hlog;
mod page;
mod plot;
mod scale;
mod series;
#[cfg(test)]
mod tests;
mod words;

use std::path::PathBuf;

use clap::Args;

use self::folder::Run;
use self::series::Runs;
use crate::Failure;

/// `loadtest report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The folder of the run.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    /// The folder of another run to show beside it.
    #[arg(long, value_name = "OTHER_RUN_DIR")]
    against: Option<PathBuf>,
    /// Where to write the page.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes the page, once all of it is there.
pub(crate) fn report(options: &Options, json: bool) -> Result<(), Failure> {
    let this = Run::read(&options.run)?;
    let other = options.against.as_deref().map(Run::read).transpose()?;
    let page = page::page(Runs { this: &this, other: other.as_ref() })?;
    let out = options.out.display();
    std::fs::write(&options.out, page).map_err(|error| format!("{out}: {error}"))?;
    if json {
        println!("{}", serde_json::json!({ "report": options.out }));
    } else {
        println!("the report is in {out}");
    }
    Ok(())
}
