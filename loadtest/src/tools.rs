//! What operators do while a server runs, done as they do it: through `stampbook` itself.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Failure;

/// Whether the server takes snapshots and `stampbook` exports them.
pub(crate) const SNAPSHOTS: bool = true;

/// `stampbook snapshot create`: ends when the snapshot is ready.
pub(crate) fn create_snapshot(binary: &Path, address: &str, name: &str) -> Command {
    let mut command = Command::new(binary);
    command.args(["snapshot", "create", name, "--json", "--target", address, "--actor", "loadtest"]);
    command
}

/// `stampbook snapshot list`.
pub(crate) fn list_snapshots(binary: &Path, address: &str) -> Command {
    let mut command = Command::new(binary);
    command.args(["snapshot", "list", "--json", "--target", address]);
    command
}

/// `stampbook backup` of a running server.
pub(crate) fn back_up(binary: &Path, address: &str, out: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["backup", "--json", "--target", address, "--out"]).arg(out);
    command
}

/// `stampbook restore` of all that a backup holds.
pub(crate) fn restore(binary: &Path, from: &Path, data: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["restore", "--json", "--from"]).arg(from).arg("--data").arg(data);
    command
}

/// `stampbook export` from a book that no server has open.
pub(crate) fn export(binary: &Path, data: &Path, snapshot: &str, format: &str, out: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["export", "--json", "--snapshot", snapshot, "--format", format]);
    command.arg("--data").arg(data).arg("--out").arg(out);
    command
}

/// Runs a tool to its end and gives the JSON that it ended with.
///
/// # Errors
/// What it said when it failed.
pub(crate) fn run(mut command: Command) -> Result<Value, Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(serde_json::from_str(said.trim()).unwrap_or(Value::Null));
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let arguments: Vec<_> = command.get_args().take(2).map(|word| word.to_string_lossy()).collect();
    Err(format!("stampbook {} ended with {}: {said}{told}", arguments.join(" "), output.status).trim().into())
}

/// The same, off the threads that drive clients.
pub(crate) async fn run_aside(command: Command) -> Result<Value, Failure> {
    tokio::task::spawn_blocking(move || run(command)).await?
}
