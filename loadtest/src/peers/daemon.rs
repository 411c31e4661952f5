//! Servers of Debian packages as child processes in a temporary folder: found, started as somebody who may, and gone with their data at the end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::Failure;
use crate::run::entropy;

/// Debian keeps the servers of PostgreSQL here, a folder a version, and not in the path.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";
/// How long a server that was told to stop may take before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// A server that does not answer within this after its start has failed.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(60);
/// Between looks at a server that starts or stops.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// An address of the loopback at which a server may listen: nobody does now. Who else takes it meanwhile does not know the password.
pub(super) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A password for one run.
pub(super) fn password() -> String {
    format!("{:016x}{:016x}", entropy(), entropy())
}

/// The folders that are searched: those of the path, then the newest PostgreSQL's.
pub(super) fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders
}

/// The first of these folders' program of that name.
pub(super) fn find(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whom a server runs as, where that is not whoever runs this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Nobody else, or, for root, the first of these users that the system knows.
    ///
    /// # Errors
    /// Root, and none of them is there.
    pub(super) fn without_rights(names: &[&str]) -> Result<Option<Self>, Failure> {
        if !getuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
        let found = names.iter().find_map(|name| Self::of(&users, name));
        found
            .map(Some)
            .ok_or_else(|| format!("it does not run as root, and there is no user {}", names.join(" or ")).into())
    }

    fn of(users: &str, name: &str) -> Option<Self> {
        let mut fields = users
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
        Some(Self { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

/// A folder of a server's own, and whom the server runs as.
#[derive(Debug)]
pub(super) struct Home {
    folder: TempDir,
    user: Option<User>,
}

impl Home {
    /// A new one, that only this user may enter.
    pub(super) fn new(user: Option<User>) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("stampbook-peers-").tempdir()?;
        if let Some(User { uid, gid }) = user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        Ok(Self { folder, user })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file that the server's user alone may read.
    pub(super) fn give(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path().join(name);
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        if let Some(User { uid, gid }) = self.user {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    /// A program that runs in this folder, as its user, and logs there.
    fn command(&self, program: &Path) -> Result<Command, Failure> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(program);
        command.current_dir(self.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Interrupts from the terminal are for this program, which then stops its servers in order.
        command.process_group(0);
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }

    /// Runs a program to its end.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<(), Failure> {
        let status = self.command(program)?.args(arguments).status().map_err(|error| cannot_start(program, &error))?;
        if status.success() { Ok(()) } else { Err(self.complaint(program, &status.to_string())) }
    }

    /// Starts a server, which `stop` ends at once.
    pub(super) fn start<A: AsRef<OsStr>>(
        self,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        stop: Signal,
    ) -> Result<Daemon, Failure> {
        let child = self.command(program)?.args(arguments).spawn().map_err(|error| cannot_start(program, &error))?;
        Ok(Daemon { child, program: program.to_owned(), stop, home: self })
    }

    fn complaint(&self, program: &Path, what: &str) -> Failure {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        let said = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        format!("{}: {what}\n{said}", program.display()).into()
    }
}

fn cannot_start(program: &Path, error: &std::io::Error) -> String {
    format!("cannot start {}: {error}", program.display())
}

/// A server that runs; dropped, it stops and its data go.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    program: PathBuf,
    stop: Signal,
    /// Removed after the server's end: fields are dropped after `drop`.
    home: Home,
}

impl Daemon {
    /// Calls `connect` until it connects.
    ///
    /// # Errors
    /// The server ended or took too long, with what it logged.
    pub(super) async fn connected<C, E: std::fmt::Display>(
        &mut self,
        connect: impl AsyncFn() -> Result<C, E>,
    ) -> Result<C, Failure> {
        let until = Instant::now() + START_PATIENCE;
        loop {
            let refused = match connect().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                return Err(self.home.complaint(&self.program, &format!("ended with {status}")));
            }
            if Instant::now() > until {
                return Err(self.home.complaint(&self.program, &format!("does not answer: {refused}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), self.stop);
        let until = Instant::now() + STOP_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_program_is_found_in_the_first_folder_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["a", "b", "c"].map(|name| folder.path().join(name));
        folders.iter().for_each(|folder| fs::create_dir(folder).unwrap());
        for name in ["b", "c"] {
            fs::write(folder.path().join(name).join("server"), "").unwrap();
        }
        fs::create_dir(folder.path().join("a/server")).unwrap();
        assert_eq!(find(&folders, "server"), Some(folder.path().join("b/server")));
        assert_eq!(find(&folders, "other"), None);
    }

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\nrootless:x:7:8::/:/bin/sh\npostgres:x:106:114:PostgreSQL:/:/bin/sh\n";
        assert_eq!(User::of(users, "postgres"), Some(User { uid: 106, gid: 114 }));
        assert_eq!(User::of(users, "post"), None);
    }

    #[test]
    fn a_server_that_is_dropped_is_gone_with_its_data() {
        let home = Home::new(None).unwrap();
        let path = home.path().to_owned();
        let daemon = home.start(Path::new("/bin/sleep"), ["600"], Signal::TERM).unwrap();
        let pid = Pid::from_child(&daemon.child);
        drop(daemon);
        assert!(kill_process(pid, Signal::TERM).is_err());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_server_that_ends_is_told_with_what_it_said() {
        let home = Home::new(None).unwrap();
        let mut daemon = home.start(Path::new("/bin/sh"), ["-c", "echo no room; exit 3"], Signal::TERM).unwrap();
        let refused = daemon.connected(async || Err::<(), _>("refused")).await.unwrap_err().to_string();
        assert!(refused.contains("no room") && refused.contains('3'), "{refused}");
    }
}
