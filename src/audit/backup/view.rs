//! A backup, or a book that is not yet declared one, as a disk to read a book from.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::io::{DirLock, Disk, DiskFile};

/// Some files of a disk, under names of their own. It cannot be written.
pub(crate) struct View<'a> {
    disk: &'a dyn Disk,
    /// What a file is called here, and what it is called there.
    names: BTreeMap<String, String>,
}

impl<'a> View<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, names: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { disk, names: names.into_iter().collect() }
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for View<'_> {
    fn create(&self, _name: &str) -> io::Result<Arc<dyn DiskFile>> {
        read_only()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(self.names.get(name).ok_or(io::ErrorKind::NotFound)?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.keys().cloned().collect())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self) -> io::Result<()> {
        read_only()
    }

    fn try_lock(&self) -> io::Result<Option<DirLock>> {
        read_only()
    }

    fn works_ahead(&self) -> bool {
        self.disk.works_ahead()
    }
}
