//! Servers as child processes, so that they can be killed for real.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// How long a server told to stop may take: it answers what is under way, and may end with a checkpoint.
const STOP_SECONDS_MAX: u64 = 60;

/// A server that listens.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `host:port`.
    pub(crate) address: String,
    // Held so that the child does not write into a closed pipe.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts `command` and waits for its line `listening on HOST:PORT`. What it logs goes to `log`, or nowhere.
    pub(crate) fn start(command: Command, log: Option<&Path>) -> Result<Self, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = spawn(command, log)?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("the server has no standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            let _ = child.kill();
            let status = child.wait()?;
            let said = log.map(last_lines).unwrap_or_default();
            return Err(format!("{program} did not say where it listens: {status}\n{said}").into());
        };
        Ok(Self { child, address: address.to_owned(), _stdout: stdout })
    }

    /// What the process is known by.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has not ended by itself.
    pub(crate) fn is_running(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// SIGKILL: the process gets no say in it.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM: the server drains and ends by itself, within [`STOP_SECONDS_MAX`].
    pub(crate) fn terminate(&mut self) -> Result<(), Failure> {
        // The standard library knows no signal but SIGKILL; every shell knows the others.
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &pid]).status()?;
        if !sent.success() {
            return Err("cannot send SIGTERM to the server".into());
        }
        let patience = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { Err(format!("the server ended with {status}").into()) };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("the server did not end within {STOP_SECONDS_MAX} s of SIGTERM").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(mut command: Command, log: Option<&Path>) -> Result<Child, Failure> {
    let stderr = match log {
        Some(path) => File::options().create(true).append(true).open(path)?.into(),
        None => Stdio::inherit(),
    };
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn();
    spawned.map_err(|error| format!("cannot start {}: {error}", command.get_program().to_string_lossy()).into())
}

/// Where the server of the books in `data` logs: beside them.
pub(crate) fn log_of(data: &Path) -> PathBuf {
    data.with_file_name("server.log")
}

/// Serves the books in `data` on a free port of the loopback; logs go to [`log_of`] them.
pub(crate) fn serve(binary: &Path, data: &Path, config: Option<&Path>) -> Result<Server, Failure> {
    Server::start(serving(binary, data, config), Some(&log_of(data)))
}

/// Starts a server and kills it `after` a while, wherever in its start that finds it.
pub(crate) fn kill_in_start(binary: &Path, data: &Path, config: Option<&Path>, after: Duration) -> Result<(), Failure> {
    let mut child = spawn(serving(binary, data, config), Some(&log_of(data)))?;
    std::thread::sleep(after);
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn serving(binary: &Path, data: &Path, config: Option<&Path>) -> Command {
    let mut command = Command::new(binary);
    command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
}

/// Proves the books in `data` offline, every award recomputed, and gives what `stampbook verify --rules --json` said.
pub(crate) fn verify(binary: &Path, data: &Path) -> Result<serde_json::Value, Failure> {
    let output = Command::new(binary).args(["verify", "--rules", "--json", "--data"]).arg(data).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        return Err(format!("stampbook verify ended with {}: {said}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn last_lines(log: &Path) -> String {
    let mut text = String::new();
    let _ = File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    let lines: Vec<_> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The `stampbook` binary beside this one. Built first when it is missing, or when cargo runs this program and so may have built
/// this one alone from newer sources.
pub(crate) fn stampbook() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or("this program lies in no folder")?;
    // Tests lie one folder deeper than programs.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let binary = folder.join(format!("stampbook{}", std::env::consts::EXE_SUFFIX));
    let cargo = std::env::var_os("CARGO");
    if cargo.is_some() || !binary.exists() {
        build(folder, &cargo.unwrap_or_else(|| "cargo".into()))?;
    }
    if binary.exists() { Ok(binary) } else { Err(format!("{} is not there", binary.display()).into()) }
}

fn build(folder: &Path, cargo: &std::ffi::OsStr) -> Result<(), Failure> {
    let target = folder.parent().ok_or("this program lies in no target folder")?;
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "stampbook", "--bin", "stampbook"]);
    command
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"), "--target-dir"])
        .arg(target);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    // The result of the build is the result of this call; its output is not part of ours.
    let status = command.stdout(Stdio::null()).status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err("cargo could not build stampbook".into()) }
}
