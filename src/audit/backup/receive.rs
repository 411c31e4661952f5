//! The writing half of a backup: takes the pieces in, proves what they come to, and only then says so in the manifest.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::audit::files::{hex, put};
use crate::constants::BACKUP_CHUNK_BYTES;
use crate::io::{DirLock, Disk, DiskFile};
use crate::journal::{self, Replay, Waypoint};

use super::manifest::{BackupFile, BackupManifest, MANIFEST_FILE, is_of_backup, segment_of};
use super::view::View;
use super::{BackupError, Progress, Stage};

/// What a file that is being received is called after its name.
const PART: &str = ".part";

/// The file that says that a directory is there to take backups in. Without it, and without a manifest, its segments are a
/// book's.
const MARK: &str = "BACKUP";

/// A directory that takes a backup in. It is held until this is dropped; dropped before the end, it keeps the files that are whole,
/// and the next one goes on from there.
pub struct Receiver {
    disk: Arc<dyn Disk>,
    previous: Option<BackupManifest>,
    held: Vec<BackupFile>,
    received: Vec<BackupFile>,
    current: Option<Current>,
    _lock: DirLock,
}

struct Current {
    name: String,
    file: Arc<dyn DiskFile>,
    length: u64,
    sha256: Sha256,
}

impl Receiver {
    /// Looks at what a directory holds of an earlier backup, whole or begun.
    ///
    /// # Errors
    /// [`BackupError::InUse`], [`BackupError::BadManifest`], [`BackupError::HoldsBook`], `Io`.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, BackupError> {
        let directory = "the directory of the backup";
        let lock = disk.try_lock().map_err(BackupError::io("lock", directory))?;
        let lock = lock.ok_or(BackupError::InUse(directory))?;
        let previous = BackupManifest::read(&*disk)?;
        mark(&*disk, previous.is_some())?;
        let listed = previous.as_ref().map_or(&[][..], |previous| &previous.files);
        let mut held = Vec::new();
        for name in disk.list().map_err(BackupError::io("list", directory))? {
            let unfinished = name.strip_suffix(PART).is_some_and(is_of_backup);
            if unfinished {
                disk.remove(&name).map_err(BackupError::io("remove", &name))?;
            } else if let Some(file) = listed.iter().find(|file| file.name == name) {
                // One that lost its length is copied again.
                held.extend((length_of(&*disk, &name)? == file.length).then(|| file.clone()));
            } else if is_of_backup(&name) && segment_of(&name) == name {
                // A backup that did not end left it. It was synced before it got its name.
                held.push(hashed(&*disk, &name, &mut |_| {})?);
            } else if is_of_backup(&name) {
                disk.remove(&name).map_err(BackupError::io("remove", &name))?;
            }
        }
        Ok(Self { disk, previous, held, received: Vec::new(), current: None, _lock: lock })
    }

    /// The backup that the directory holds, if it holds one.
    #[must_use]
    pub fn previous(&self) -> Option<&BackupManifest> {
        self.previous.as_ref()
    }

    /// The op of the backup that the directory holds; 0 if it holds none.
    #[must_use]
    pub fn previous_op(&self) -> u64 {
        self.previous.as_ref().map_or(0, |previous| previous.op)
    }

    /// The files that need not be sent.
    #[must_use]
    pub fn held(&self) -> &[BackupFile] {
        &self.held
    }

    /// Takes the next bytes of a file; each file comes from its beginning to its end before the next.
    ///
    /// # Errors
    /// [`BackupError::BadTransfer`] for what does not follow; `Io`.
    pub fn take(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), BackupError> {
        if bytes.len() > BACKUP_CHUNK_BYTES {
            return Err(BackupError::BadTransfer(format!("{} bytes of {name} at once", bytes.len())));
        }
        if self.current.as_ref().is_none_or(|current| current.name != name) {
            self.end_file()?;
            self.begin_file(name)?;
        }
        let Some(current) = self.current.as_mut().filter(|current| current.length == offset) else {
            return Err(BackupError::BadTransfer(format!("bytes of {name} at {offset} do not follow")));
        };
        current.file.write_at(bytes, offset).map_err(BackupError::io("write", name))?;
        current.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        current.sha256.update(bytes);
        Ok(())
    }

    fn begin_file(&mut self, name: &str) -> Result<(), BackupError> {
        if !is_of_backup(name) {
            return Err(BackupError::BadTransfer(format!("{name:?} is no file of a backup")));
        }
        if self.received.iter().any(|file| file.name == name) {
            return Err(BackupError::BadTransfer(format!("{name} comes twice")));
        }
        // What a finished backup holds is not overwritten: the book that has another file of this name has another past.
        if self.held.iter().any(|file| file.name == name) {
            return Err(BackupError::OtherBackup(format!("its {name} is another than the book's")));
        }
        let file = self.disk.create(&format!("{name}{PART}")).map_err(BackupError::io("create", name))?;
        self.current = Some(Current { name: name.to_owned(), file, length: 0, sha256: Sha256::new() });
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), BackupError> {
        let Some(Current { name, file, length, sha256 }) = self.current.take() else {
            return Ok(());
        };
        file.sync_data().map_err(BackupError::io("sync", &name))?;
        self.disk.rename(&format!("{name}{PART}"), &name).map_err(BackupError::io("rename", &name))?;
        self.received.push(BackupFile { name, length, sha256: hex(&sha256.finalize()) });
        Ok(())
    }

    /// Proves that the directory now holds the backup of this manifest, durably makes it the one that it holds, and removes what
    /// only the one before needed.
    ///
    /// What is proved: every file has the length and the hash that the manifest says, and the frames follow each other from the
    /// end of the backup before, or from the genesis, to the manifest's end.
    ///
    /// # Errors
    /// [`BackupError`]: the backup before is then still the one that the directory holds, and what arrived is removed.
    pub fn finish(
        mut self,
        manifest: BackupManifest,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BackupManifest, BackupError> {
        self.end_file()?;
        if let Err(error) = self.prove(&manifest, progress) {
            // It is not kept for the next attempt, which may find the book mended.
            self.remove_unlisted(self.previous.as_ref())?;
            return Err(error);
        }
        self.disk.sync_dir().map_err(BackupError::io("sync the directory of", MANIFEST_FILE))?;
        let json = manifest.to_json()?;
        put(&*self.disk, MANIFEST_FILE, json.as_bytes()).map_err(BackupError::io("write", MANIFEST_FILE))?;
        self.remove_unlisted(Some(&manifest))?;
        Ok(manifest)
    }

    fn prove(&self, manifest: &BackupManifest, progress: &mut dyn FnMut(Progress)) -> Result<(), BackupError> {
        // It may have come over a network.
        let manifest = BackupManifest::from_json(&manifest.to_json()?)?;
        if let Some(previous) = self.previous.as_ref().filter(|previous| previous.book_id != manifest.book_id) {
            let detail = format!("it is of book {}, and this is {}", previous.book_id, manifest.book_id);
            return Err(BackupError::OtherBackup(detail));
        }
        for file in &manifest.files {
            let there = self.received.iter().chain(&self.held).find(|there| there.name == file.name);
            if there != Some(file) {
                let detail = there.map_or("it is not there", |_| "it is another").to_owned();
                return Err(BackupError::Damaged { file: file.name.clone(), detail });
            }
        }
        let from = self.previous.as_ref().map(BackupManifest::end).transpose()?;
        let names = manifest.files.iter().map(|file| (segment_of(&file.name).to_owned(), file.name.clone()));
        let view = View::new(&*self.disk, names);
        let end = manifest.end()?;
        let mut last = Last { at: from, end, progress };
        journal::scan_from(&view, from.as_ref(), &mut last)?;
        if last.at == Some(end) {
            Ok(())
        } else {
            Err(BackupError::BadManifest("its end is not the end of the last frame".to_owned()))
        }
    }

    /// Removes the files of a backup that `manifest` does not list.
    fn remove_unlisted(&self, manifest: Option<&BackupManifest>) -> Result<(), BackupError> {
        for name in self.disk.list().map_err(BackupError::io("list", "the directory"))? {
            let listed = |manifest: &BackupManifest| manifest.files.iter().any(|file| file.name == name);
            if is_of_backup(&name) && !manifest.is_some_and(listed) {
                self.disk.remove(&name).map_err(BackupError::io("remove", &name))?;
            }
        }
        Ok(())
    }
}

/// Marks a directory as one that takes backups in, durably and before anything in it is touched; a book is left alone.
fn mark(disk: &dyn Disk, has_manifest: bool) -> Result<(), BackupError> {
    let directory = "the directory of the backup";
    let names = disk.list().map_err(BackupError::io("list", directory))?;
    if names.iter().any(|name| name == MARK) {
        return Ok(());
    }
    if let Some(segment) = names.iter().find(|name| is_of_backup(name) && !has_manifest) {
        return Err(BackupError::HoldsBook(segment.clone()));
    }
    put(disk, MARK, b"").map(|_| ()).map_err(BackupError::io("write", MARK))
}

/// Remembers the last frame.
struct Last<'a> {
    at: Option<Waypoint>,
    end: Waypoint,
    progress: &'a mut dyn FnMut(Progress),
}

impl Replay for Last<'_> {
    type Frame = ();

    fn preparer(&self) -> journal::Preparer<()> {
        Box::new(|_| ())
    }

    fn events(&mut self, _frame: &(), _upto: u64) -> Result<(), String> {
        Ok(())
    }

    fn frame_end(&mut self, at: &Waypoint) -> Result<(), String> {
        self.at = Some(*at);
        (self.progress)(Progress { stage: Stage::Prove, done: at.frame_bytes, total: self.end.frame_bytes });
        Ok(())
    }
}

fn length_of(disk: &dyn Disk, name: &str) -> Result<u64, BackupError> {
    let file = disk.open(name).map_err(BackupError::io("open", name))?;
    file.len().map_err(BackupError::io("read the length of", name))
}

/// A file as it is. `progress` is told the bytes read so far.
pub(crate) fn hashed(disk: &dyn Disk, name: &str, progress: &mut dyn FnMut(u64)) -> Result<BackupFile, BackupError> {
    let file = disk.open(name).map_err(BackupError::io("open", name))?;
    let (mut sha256, mut length, mut bytes) = (Sha256::new(), 0, vec![0; BACKUP_CHUNK_BYTES]);
    loop {
        let read = file.read_at(&mut bytes, length).map_err(BackupError::io("read", name))?;
        let Some(read) = bytes.get(..read).filter(|read| !read.is_empty()) else {
            return Ok(BackupFile { name: name.to_owned(), length, sha256: hex(&sha256.finalize()) });
        };
        sha256.update(read);
        length += u64::try_from(read.len()).unwrap_or(u64::MAX);
        progress(length);
    }
}
