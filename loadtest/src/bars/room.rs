//! Whether a measurement has the disk and the memory that it needs, asked before it begins: what fails after minutes says less, and late.

use std::fs;
use std::path::Path;

use rustix::fs::statvfs;

use crate::Failure;
use crate::tally::grouped;

/// Of book, with what checkpoints and runs of keys write beside it.
pub(super) const BYTES_A_COMMAND: u64 = 110;
/// What a server takes in batches at the least. A faster one may fill a disk that was found to have room, and that is told then.
pub(super) const COMMANDS_A_SECOND: u64 = 600_000;
/// Of book and store, once filled.
pub(super) const BYTES_A_MEMBER: u64 = 300;
/// What a server with its members takes at the most, as `loadtest memory` holds it, and the load beside it.
const MEMORY_BYTES_A_MEMBER: u64 = 256;
const MEMORY_BYTES: u64 = 512 << 20;

/// Whether the disks have room for books that are kept and for what runs write.
pub(super) fn disk(kept: &Path, work: &Path, kept_bytes: u64, work_bytes: u64) -> Result<(), Failure> {
    std::fs::create_dir_all(kept)?;
    let (kept_free, work_free) = (statvfs(kept)?, statvfs(work)?);
    let one_disk = kept_free.f_fsid == work_free.f_fsid;
    for (folder, free, wanted) in [
        (kept, kept_free, if one_disk { kept_bytes + work_bytes } else { kept_bytes }),
        (work, work_free, if one_disk { 0 } else { work_bytes }),
    ] {
        let bytes = free.f_bavail * free.f_frsize;
        if bytes < wanted {
            let (folder, missing) = (folder.display(), (wanted - bytes).div_ceil(1 << 20));
            return Err(format!(
                "{folder}: {} MiB of disk are missing of {} MiB",
                grouped(missing),
                grouped(wanted >> 20)
            )
            .into());
        }
    }
    Ok(())
}

/// Whether there is memory for a server with so many members, and for so much more.
pub(super) fn memory(members: u64, more: u64) -> Result<(), Failure> {
    let known = fs::read_to_string("/proc/meminfo")?;
    let available = known
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok());
    let available = available.ok_or("/proc/meminfo does not say what memory is available")? * 1_024;
    let wanted = MEMORY_BYTES + members * MEMORY_BYTES_A_MEMBER + more;
    if available < wanted {
        let missing = (wanted - available).div_ceil(1 << 20);
        return Err(format!("{} MiB of memory are missing of {} MiB", grouped(missing), grouped(wanted >> 20)).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_missing_of_the_disk_is_told() {
        let folder = tempfile::tempdir().unwrap();
        disk(folder.path(), folder.path(), 1, 1).unwrap();
        let told = disk(folder.path(), folder.path(), 1 << 60, 1).unwrap_err().to_string();
        assert!(told.contains("are missing of 1,099,511,627,776 MiB"), "{told}");
        assert!(disk(folder.path(), folder.path(), 1, 1 << 60).is_err());
    }

    #[test]
    fn what_is_missing_of_the_memory_is_told() {
        memory(0, 0).unwrap();
        let told = memory(0, 1 << 60).unwrap_err().to_string();
        assert!(told.contains("of memory are missing of 1,099,511,628,288 MiB"), "{told}");
    }
}
