//! Kills that are aimed: the server says in its log what it begins, and dies a random moment later.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use clap::ValueEnum;

use crate::log::{LogTail, field};
use crate::rng::Rng;
use crate::{Failure, tools};

/// Settings under which everything that can be aimed at happens every few seconds, on small files.
pub(super) const BUSY: &str = "checkpoint_bytes = 1048576\ncheckpoint_seconds = 1\nkeys_per_generation = 5000\n";
/// What is aimed at must begin within this, under load.
const PATIENCE: Duration = Duration::from_secs(60);
/// Kills come up to 2^16 us after what they are aimed at began, short delays as likely as long ones.
const DELAY_BITS: u64 = 17;

/// What a kill is to interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Aim {
    /// The writing of a checkpoint.
    Checkpoint,
    /// The sealing of a generation of keys.
    Seal,
    /// The merging of runs of keys.
    Merge,
    /// The taking of a snapshot.
    Snapshot,
    /// A backup over the network.
    Backup,
    /// One of them, another one in each cycle.
    Any,
}

/// All that can be hit.
const TARGETS: [Aim; 5] = [Aim::Checkpoint, Aim::Seal, Aim::Merge, Aim::Snapshot, Aim::Backup];

impl Aim {
    /// What one cycle aims at.
    pub(super) fn target(self, rng: &mut Rng) -> Self {
        let any = usize::try_from(rng.below(5)).ok().and_then(|at| TARGETS.get(at)).copied();
        if self == Self::Any { any.unwrap_or(Self::Checkpoint) } else { self }
    }

    /// What the server says when that begins.
    pub(super) fn marker(self) -> &'static str {
        match self {
            Self::Checkpoint | Self::Any => "checkpoint begins",
            Self::Seal => "seal begins",
            Self::Merge => "merge begins",
            Self::Snapshot => "snapshot begins",
            Self::Backup => "backup begins",
        }
    }
}

/// How long after the marker the kill comes.
pub(super) fn delay(rng: &mut Rng) -> Duration {
    let bits = rng.below(DELAY_BITS);
    Duration::from_micros(rng.below(1 << bits))
}

/// The log, and what it said last.
#[derive(Debug)]
pub(super) struct Sight {
    log: LogTail,
    /// The op of the newest checkpoint, 0 for none.
    checkpoint: u64,
    /// The newest op whose key is in a sealed run, 0 for none.
    seal: u64,
}

impl Sight {
    pub(super) fn new(log: &Path) -> Result<Self, Failure> {
        Ok(Self { log: LogTail::from_here(log)?, checkpoint: 0, seal: 0 })
    }

    /// Takes in what was logged so far. Gives the ops at which the store's knowledge ends and the book's alone begins.
    pub(super) fn edges(&mut self) -> Result<[u64; 2], Failure> {
        for line in self.log.lines()? {
            note(&line, &mut self.checkpoint, &mut self.seal);
        }
        Ok([self.checkpoint, self.seal])
    }

    /// Blocks until what is aimed at begins, if it did not since the log was last read, and for the delay.
    pub(super) fn wait(&mut self, aim: Aim, delay: Duration) -> Result<(), Failure> {
        let (checkpoint, seal) = (&mut self.checkpoint, &mut self.seal);
        if !self.log.wait_for(aim.marker(), PATIENCE, |line| note(line, checkpoint, seal))? {
            return Err(format!("the server did not say \"{}\" within {PATIENCE:?}", aim.marker()).into());
        }
        std::thread::sleep(delay);
        Ok(())
    }
}

fn note(line: &str, checkpoint: &mut u64, seal: &mut u64) {
    if line.contains("checkpoint is durable") {
        *checkpoint = field(line, "op").unwrap_or(*checkpoint);
    } else if line.contains("run sealed") {
        *seal = field(line, "upto").unwrap_or(*seal);
    }
}

/// A tool of the operators that runs while the server is killed.
#[derive(Debug)]
pub(super) struct Tool(Child);

impl Tool {
    /// Starts what makes the server begin what is aimed at, where it does not begin that by itself.
    pub(super) fn start(
        aim: Aim,
        cycle: u32,
        binary: &Path,
        address: &str,
        folder: &Path,
    ) -> Result<Option<Self>, Failure> {
        let mut command = match aim {
            Aim::Snapshot => tools::create_snapshot(binary, address, &format!("cycle-{cycle}")),
            Aim::Backup => tools::back_up(binary, address, &folder.join("backup")),
            _ => return Ok(None),
        };
        let log = File::options().create(true).append(true).open(folder.join("tools.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Some(Self(command.spawn()?)))
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_marker_is_waited_for_and_the_edges_are_those_said_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sight = Sight::new(&path).unwrap();
        assert_eq!(sight.edges().unwrap(), [0, 0]);
        let said =
            "INFO checkpoint is durable op=10\nINFO run sealed upto=7\nINFO checkpoint is durable op=20 bytes=9\n";
        std::fs::write(&path, said).unwrap();
        assert_eq!(sight.edges().unwrap(), [20, 7]);
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            std::fs::write(&path, format!("{said}INFO run sealed upto=30\nINFO merge begins runs=4\n")).unwrap();
        });
        sight.wait(Aim::Merge, Duration::ZERO).unwrap();
        writer.join().unwrap();
        assert_eq!(sight.edges().unwrap(), [20, 30]);
    }

    #[test]
    fn any_aims_at_everything_and_the_rest_at_themselves() {
        let mut rng = Rng::new(1, 0);
        let drawn: Vec<_> = (0..100).map(|_| Aim::Any.target(&mut rng)).collect();
        assert!(TARGETS.iter().all(|target| drawn.contains(target)));
        assert!(TARGETS.iter().all(|target| target.target(&mut rng) == *target));
    }
}
