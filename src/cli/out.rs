//! The directory that a command writes to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stampbook::io::{Disk, RealDisk};

use super::{EXIT_IO, Failure};

/// A directory to write to. What was created of it goes again when this is dropped and nothing lies there.
pub(super) struct Out {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// The directories that were not there before, the innermost first.
    created: Vec<PathBuf>,
}

impl Out {
    /// Opens `dir`, which is created with its parents where there is none.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::plain(EXIT_IO, format!("{}: {error}", dir.display()));
        let path = std::path::absolute(dir).map_err(failed)?;
        let created = path.ancestors().take_while(|path| !path.exists()).map(Path::to_path_buf).collect();
        let disk = RealDisk::open(&path).map_err(failed)?;
        Ok(Self { path: dir.to_path_buf(), disk: Arc::new(disk), created })
    }

    /// As it was named.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        for dir in &self.created {
            // One that holds something is not removed.
            if std::fs::remove_dir(dir).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_created_goes_again_unless_something_was_written_there() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        drop(Out::open(&inner).unwrap());
        assert!(!dir.path().join("a").exists() && dir.path().exists());
        std::fs::create_dir(dir.path().join("a")).unwrap();
        drop(Out::open(&inner).unwrap());
        assert!(dir.path().join("a").exists() && !inner.exists());
        let out = Out::open(&inner).unwrap();
        out.disk().create("f").unwrap();
        drop(out);
        assert!(inner.join("f").exists());
    }
}
