//! Processes kept on one core, all their threads.

use std::fs;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Failure;

/// This process on one core until it is dropped; another process stays where it was put.
#[derive(Debug)]
pub(super) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Puts the process `other` on the first core that this one may use, and this one on the second.
    ///
    /// # Errors
    /// There is only one core.
    pub(super) fn apart(other: u32) -> Result<Self, Failure> {
        let before = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core));
        let (Some(theirs), Some(ours)) = (cores.next(), cores.next()) else {
            return Err("server and generator need a core each, and there is only one".into());
        };
        put(other, &only(theirs))?;
        put(std::process::id(), &only(ours))?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = put(std::process::id(), &self.before);
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Puts all threads of a process on these cores; those that they start later are there too. A thread that ends meanwhile needs no place.
fn put(process: u32, cores: &CpuSet) -> Result<(), Failure> {
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let thread = task?.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        match sched_setaffinity(thread, cores) {
            Err(error) if error != rustix::io::Errno::SRCH => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_stays_on_the_core_it_was_put_on() {
        let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let may = sched_getaffinity(None).unwrap();
        let core = (0..CpuSet::MAX_CPU).find(|core| may.is_set(*core)).unwrap();
        put(child.id(), &only(core)).unwrap();
        assert_eq!(sched_getaffinity(Some(Pid::from_child(&child))).unwrap(), only(core));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
