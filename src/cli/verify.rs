//! `stampbook verify`.

use clap::Args;

use super::{Failure, Outcome};

#[derive(Args)]
pub(super) struct Verify {
    #[arg(long)]
    pub(super) json: bool,
}
impl Verify {
    pub(super) fn run(self) -> Outcome {
        Err(Failure::plain(0, ""))
    }
}
