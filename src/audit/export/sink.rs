//! Where the files of an export go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use crate::audit::files::{self, NewFile, UNFINISHED, hex};
use crate::io::{DirLock, Disk, LOCK_FILE};

use super::ExportError;
use super::format::{Content, Format};
use super::manifest::{FileEntry, MANIFEST_FILE, Manifest, PartRecord, is_number};

/// Bytes of a manifest or of a record.
pub(super) const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Takes the files of an export as they are made.
///
/// A file comes in chunks, in order and without gaps; the files of one part come side by side. When a part's files are
/// whole, its record follows as one chunk of a file that [`PartRecord::is_file_name`] knows, and at the end of all the manifest as
/// one chunk of [`MANIFEST_FILE`].
pub trait ExportSink {
    /// Takes the next bytes of a file, which begin at `offset`.
    ///
    /// # Errors
    /// Where they cannot be kept, or nobody wants them any more: the export stops.
    fn chunk(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A directory that an export is written to, whether it is made here or comes from a server, and taken up if it broke off.
pub struct DirSink {
    disk: Arc<dyn Disk>,
    open: BTreeMap<String, NewFile>,
    /// Files that are whole.
    complete: BTreeSet<String>,
    records: Vec<PartRecord>,
    manifest: Option<Manifest>,
    /// Whether something was written.
    begun: bool,
    _lock: DirLock,
}

impl Drop for DirSink {
    fn drop(&mut self) {
        // No part of what is handed on; one that stays keeps nobody out.
        let _ = self.disk.remove(LOCK_FILE);
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Whether a name may be that of a file of an export: it leads out of no directory and hides nothing.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.bytes().all(allowed)
}

/// Whether an export writes files of this name, whole or not.
fn is_export_file(name: &str) -> bool {
    let name = name.strip_suffix(UNFINISHED).unwrap_or(name);
    let data = || {
        let number = name.split_once('-').and_then(|(_, rest)| rest.split_once('.')).map(|(number, _)| number);
        let number = number.filter(|number| is_number(number)).and_then(|number| number.parse().ok()).unwrap_or(0);
        let named = |format| Content::ALL.iter().any(|content| content.file_name(number, format) == name);
        Format::ALL.into_iter().any(named)
    };
    name == MANIFEST_FILE || PartRecord::is_file_name(name) || data()
}

/// Whether a reader may take a file of this name for one of an export.
pub(super) fn reads_as_export(name: &str) -> bool {
    let stem = Content::ALL.iter().any(|content| name.starts_with(content.stem()));
    is_export_file(name) || stem && Format::ALL.iter().any(|format| name.ends_with(format.ending()))
}

impl DirSink {
    /// Opens a directory: an empty one, or one in which an export broke off or is whole. Until this is dropped, it is kept
    /// from others.
    ///
    /// # Errors
    /// `Stray` where something else lies there; `Damaged` where what is there is not what was written; `InUse`; `Io`.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, ExportError> {
        // What is not an export's is left as it is: not even a lock is laid there.
        names_of_exports(&*disk)?;
        let lock = disk.try_lock().map_err(ExportError::io(LOCK_FILE))?.ok_or(ExportError::InUse)?;
        let names = names_of_exports(&*disk)?;
        let mut sink = Self {
            disk,
            open: BTreeMap::new(),
            complete: BTreeSet::new(),
            records: Vec::new(),
            manifest: None,
            begun: false,
            _lock: lock,
        };
        if names.iter().any(|name| name == MANIFEST_FILE) {
            sink.take_whole()?;
        } else {
            sink.take_finished(&names)?;
        }
        Ok(sink)
    }

    /// Takes the directory of an export that is whole, and removes what one that was killed at its very end has left.
    fn take_whole(&mut self) -> Result<(), ExportError> {
        let manifest = read_manifest(&*self.disk)?;
        if let Some(file) = manifest.files.iter().find(|file| !self.holds(file)) {
            let what = "it is gone or was cut, and the manifest names it: export into an empty directory, or remove \
                        manifest.json to have this export made again";
            return Err(ExportError::damaged(&file.name, what));
        }
        self.complete = manifest.files.iter().map(|file| file.name.clone()).collect();
        self.tidy(|name| PartRecord::is_file_name(name) || name.ends_with(UNFINISHED))
            .map_err(ExportError::io("the directory"))?;
        self.manifest = Some(manifest);
        Ok(())
    }

    /// Takes the parts that are whole, from the first on.
    fn take_finished(&mut self, names: &[String]) -> Result<(), ExportError> {
        for part in 1.. {
            let name = PartRecord::file_name(part);
            if !names.contains(&name) {
                break;
            }
            let text = files::read(&*self.disk, &name, MANIFEST_BYTES_MAX).map_err(ExportError::io(&name))?;
            let record: PartRecord =
                serde_json::from_slice(&text).map_err(|error| ExportError::damaged(&name, error.to_string()))?;
            // A file that is gone or cut short is made again, and all after it.
            if !record.files.iter().all(|file| self.holds(file)) {
                break;
            }
            self.complete.extend(record.files.iter().map(|file| file.name.clone()));
            self.records.push(record);
        }
        Ok(())
    }

    /// Removes files of exports that are of no finished part, where `which` says so.
    fn tidy(&self, which: impl Fn(&str) -> bool) -> io::Result<()> {
        let known = |name: &str| {
            self.complete.contains(name) || self.records.iter().any(|it| PartRecord::file_name(it.part) == name)
        };
        let names = self.disk.list()?;
        let left: Vec<_> = names.iter().filter(|name| is_export_file(name) && !known(name) && which(name)).collect();
        for name in &left {
            self.disk.remove(name)?;
        }
        if left.is_empty() { Ok(()) } else { self.disk.sync_dir() }
    }

    /// Takes the next bytes of a file, as [`ExportSink::chunk`] does.
    ///
    /// # Errors
    /// `Io` with the file's name.
    pub fn take(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), ExportError> {
        self.chunk(file, offset, bytes).map_err(ExportError::io(file))
    }

    /// The records of the parts that are whole, from the first on: what [`super::export`] need not make again.
    #[must_use]
    pub fn finished(&self) -> Vec<PartRecord> {
        self.records.clone()
    }

    /// The names of the files that are whole: what a server need not send again.
    #[must_use]
    pub fn complete(&self) -> Vec<String> {
        self.complete.iter().cloned().collect()
    }

    /// The manifest, once the export is whole.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    fn holds(&self, file: &FileEntry) -> bool {
        let length = is_plain(&file.name).then(|| self.disk.open(&file.name).and_then(|found| found.len()));
        length.is_some_and(|length| length.is_ok_and(|length| length == file.bytes))
    }

    /// Keeps the files of a part under their names, then its record.
    fn keep_part(&mut self, name: &str, text: &[u8]) -> io::Result<()> {
        let record: PartRecord = serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
        if let Some(known) = self.records.iter().find(|known| known.part == record.part) {
            return if *known == record { Ok(()) } else { Err(invalid("the part is of another export")) };
        }
        for file in &record.files {
            match self.open.remove(&file.name) {
                Some(open) => {
                    let written = open.finish(&*self.disk)?;
                    if (written.bytes, hex(&written.sha256)) != (file.bytes, file.sha256.clone()) {
                        return Err(invalid(format!("{} is not what its record says", file.name)));
                    }
                }
                None if self.complete.contains(&file.name) && self.holds(file) => {}
                None => return Err(invalid(format!("{} did not come", file.name))),
            }
        }
        self.disk.sync_dir()?;
        files::put(&*self.disk, name, text)?;
        self.complete.extend(record.files.iter().map(|file| file.name.clone()));
        self.records.push(record);
        Ok(())
    }

    /// Keeps the manifest, when every file that it names is there; the records have done their work then.
    fn keep_manifest(&mut self, text: &[u8]) -> io::Result<()> {
        let manifest: Manifest = serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
        if let Some(file) = manifest.files.iter().find(|file| !self.complete.contains(&file.name)) {
            return Err(invalid(format!("{} did not come", file.name)));
        }
        files::put(&*self.disk, MANIFEST_FILE, text)?;
        for record in &self.records {
            self.disk.remove(&PartRecord::file_name(record.part))?;
        }
        self.disk.sync_dir()?;
        self.manifest = Some(manifest);
        Ok(())
    }
}

impl ExportSink for DirSink {
    fn chunk(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !is_plain(file) {
            return Err(invalid("this is no name of a file of an export"));
        }
        if self.manifest.is_some() {
            return Err(invalid("the export is whole"));
        }
        if !self.begun {
            // What broke off may have been another export: none of it must be taken for a part of this one.
            self.tidy(|_| true)?;
            self.begun = true;
        }
        if file == MANIFEST_FILE {
            return self.keep_manifest(bytes);
        }
        if PartRecord::is_file_name(file) {
            return self.keep_part(file, bytes);
        }
        if self.complete.contains(file) {
            return Ok(());
        }
        if offset == 0 {
            self.open.insert(file.to_owned(), NewFile::create(&*self.disk, file)?);
        }
        match self.open.get_mut(file) {
            Some(open) if open.position() == offset => open.write(bytes),
            _ => Err(invalid(format!("a piece is missing before byte {offset}"))),
        }
    }
}

/// The files of a directory that has nothing but those of exports.
fn names_of_exports(disk: &dyn Disk) -> Result<Vec<String>, ExportError> {
    let names = disk.list().map_err(ExportError::io("the directory"))?;
    match names.iter().find(|name| !is_export_file(name) && *name != LOCK_FILE) {
        None => Ok(names),
        Some(stray) => Err(ExportError::Stray(stray.clone())),
    }
}

/// Reads the manifest of an export.
pub(super) fn read_manifest(disk: &dyn Disk) -> Result<Manifest, ExportError> {
    let text = files::read(disk, MANIFEST_FILE, MANIFEST_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ExportError::NoExport,
        _ => ExportError::io(MANIFEST_FILE)(error),
    })?;
    serde_json::from_slice(&text).map_err(|error| ExportError::damaged(MANIFEST_FILE, error.to_string()))
}
