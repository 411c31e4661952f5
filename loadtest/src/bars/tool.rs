//! Other commands of this program, run as a user would run them, for their JSON.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Failure;

/// How long an interrupted command may take to stop its servers.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// A command that runs; dropped, it is interrupted, and stops its servers in order.
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let until = Instant::now() + STOP_PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end and gives the JSON that it printed, whether it was content with that or not.
///
/// # Errors
/// It printed none.
pub(super) async fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<Value, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--json").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut tool = Tool(command.spawn()?);
    let mut stdout = tool.0.stdout.take().ok_or("the command has no standard output")?;
    let reading = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        stdout.read_to_string(&mut said).map(|_| said)
    });
    let said = reading.await??;
    let status = tool.0.wait()?;
    let line = said.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|_| format!("the command ended with {status} and printed no figures").into())
}

/// A number in what a command printed, by its path.
pub(super) fn number(told: &Value, path: &str) -> Result<u64, Failure> {
    told.pointer(path).and_then(Value::as_u64).ok_or_else(|| format!("the command did not print {path}").into())
}
