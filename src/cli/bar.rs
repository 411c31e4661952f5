//! The progress bar of work whose size is known.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes.
    Bytes,
    /// Events, or rows.
    Events,
}

/// A progress bar with a rate, where standard error is a terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    stage: &'static str,
}

impl Bar {
    /// A bar that says nothing yet.
    pub(super) fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        Self { bar, stage: "" }
    }

    /// Shows how much of a stage is done; another stage begins anew.
    pub(super) fn show(&mut self, stage: &'static str, unit: Unit, done: u64, total: u64) {
        if self.stage != stage {
            self.stage = stage;
            self.bar.reset();
            let template = match unit {
                Unit::Events => "{msg:7} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}",
                Unit::Bytes => "{msg:7} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
            };
            // A bar that cannot be styled is shown as it is.
            self.bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar.set_message(stage);
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
