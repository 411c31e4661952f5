//! The writing half of a backup: takes the pieces in, proves what they come to, and only then says so in the manifest.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::audit::files::{UNFINISHED, hex, put};
use crate::constants::FILE_CHUNK_BYTES_MAX;
use crate::io::{DirLock, Disk, DiskFile, LOCK_FILE};
use crate::journal::{self, Replay, Waypoint};

use super::manifest::{BackupFile, BackupManifest, MANIFEST_FILE, is_of_backup, segment_of};
use super::view::View;
use super::{BackupError, Progress, Stage};

/// What a file that is being received is called after its name.
const PART: &str = ".part";

/// The file that says that a directory is there to take backups in. Without it, and without a manifest, what lies there is
/// something else.
const MARK: &str = "BACKUP";
/// How errors name the directory.
const DIRECTORY: &str = "the directory of the backup";

/// A directory that takes a backup in. It is held until this is dropped; dropped before the end, it keeps the files that are whole,
/// and the next one goes on from there.
pub struct Receiver {
    disk: Arc<dyn Disk>,
    previous: Option<BackupManifest>,
    held: Vec<BackupFile>,
    hurt: Vec<String>,
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
    /// Looks at what a directory holds of an earlier backup, whole or begun, and holds every file to the manifest. `progress` is
    /// told the bytes of the earlier backup that were read.
    ///
    /// # Errors
    /// [`BackupError::Occupied`], before anything is written; [`BackupError::InUse`], [`BackupError::BadManifest`], `Io`.
    pub fn open(disk: Arc<dyn Disk>, progress: &mut dyn FnMut(Progress)) -> Result<Self, BackupError> {
        let marked = is_marked(&*disk)?;
        let lock = disk.try_lock().map_err(BackupError::io("lock", DIRECTORY))?;
        let lock = lock.ok_or(BackupError::InUse(DIRECTORY))?;
        let previous = BackupManifest::read(&*disk).map_err(|error| match error {
            BackupError::BadManifest(why) => BackupError::BadManifest(format!(
                "{why}; without it, the next backup proves the files that are there and writes another"
            )),
            other => other,
        })?;
        if !marked {
            put(&*disk, MARK, b"").map_err(BackupError::io("write", MARK))?;
        }
        let mut receiver = Self {
            disk,
            previous,
            held: Vec::new(),
            hurt: Vec::new(),
            received: Vec::new(),
            current: None,
            _lock: lock,
        };
        receiver.look(progress)?;
        Ok(receiver)
    }

    /// Finds out which files need not come again, and removes what is of no use.
    fn look(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<(), BackupError> {
        let listed = self.previous.as_ref().map_or(&[][..], |previous| &previous.files);
        let total = listed.iter().map(|file| file.length).sum();
        let mut done: u64 = 0;
        for name in self.disk.list().map_err(BackupError::io("list", DIRECTORY))? {
            let listed = listed.iter().find(|file| file.name == name);
            // What no manifest lists and is whole is left of a backup that did not end. It was synced before it got its name.
            if listed.is_some() || is_of_backup(&name) && segment_of(&name) == name {
                let found = hashed(&*self.disk, &name, &mut |bytes| {
                    progress(Progress { stage: Stage::Check, done: (done + bytes).min(total), total });
                })?;
                done += listed.map_or(0, |file| file.length);
                if listed.is_none_or(|file| *file == found) {
                    self.held.push(found);
                }
            } else if is_of_backup(name.strip_suffix(PART).unwrap_or(&name)) {
                self.disk.remove(&name).map_err(BackupError::io("remove", &name))?;
            }
        }
        let lost = |file: &&BackupFile| !self.held.contains(file);
        self.hurt = listed.iter().filter(lost).map(|file| file.name.clone()).collect();
        Ok(())
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

    /// The files of the backup before that are missing or not what the manifest says. They come again, where the next backup
    /// still needs them.
    #[must_use]
    pub fn hurt(&self) -> &[String] {
        &self.hurt
    }

    /// Readies it for another try after a transfer that broke off: what came whole is held.
    ///
    /// # Errors
    /// `Io`.
    pub fn resume(&mut self) -> Result<(), BackupError> {
        let unfinished = self.current.take().map(|current| format!("{}{PART}", current.name));
        let (whole, tails): (Vec<_>, Vec<_>) =
            self.received.drain(..).partition(|file| segment_of(&file.name) == file.name);
        self.held.extend(whole);
        for name in tails.into_iter().map(|file| file.name).chain(unfinished) {
            self.disk.remove(&name).map_err(BackupError::io("remove", &name))?;
        }
        Ok(())
    }

    /// Takes the next bytes of a file; each file comes from its beginning to its end before the next.
    ///
    /// # Errors
    /// [`BackupError::BadTransfer`] for what does not follow; `Io`.
    pub fn take(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), BackupError> {
        if bytes.len() > FILE_CHUNK_BYTES_MAX {
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
        let part = format!("{name}{PART}");
        let came = BackupFile { name, length, sha256: hex(&sha256.finalize()) };
        let mut listed = self.previous.iter().flat_map(|previous| &previous.files);
        if listed.any(|file| file.name == came.name && *file != came) {
            self.disk.remove(&part).map_err(BackupError::io("remove", &part))?;
            return Err(BackupError::Disagrees(came.name));
        }
        file.sync_data().map_err(BackupError::io("sync", &part))?;
        self.disk.rename(&part, &came.name).map_err(BackupError::io("rename", &part))?;
        self.received.push(came);
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
        for name in self.disk.list().map_err(BackupError::io("list", DIRECTORY))? {
            let listed = |manifest: &BackupManifest| manifest.files.iter().any(|file| file.name == name);
            if is_of_backup(&name) && !manifest.is_some_and(listed) {
                self.disk.remove(&name).map_err(BackupError::io("remove", &name))?;
            }
        }
        Ok(())
    }
}

impl Drop for Receiver {
    /// A directory in which nothing came about is left as it was found: empty. What cannot be removed does no harm.
    fn drop(&mut self) {
        let signs = [MARK, LOCK_FILE];
        if self.disk.list().is_ok_and(|names| names.iter().all(|name| signs.contains(&name.as_str()))) {
            for sign in signs {
                let _ = self.disk.remove(sign);
            }
        }
    }
}

/// Whether a directory was marked as one that takes backups in. One that was not is empty, or holds a backup without its mark.
fn is_marked(disk: &dyn Disk) -> Result<bool, BackupError> {
    let names = disk.list().map_err(BackupError::io("list", DIRECTORY))?;
    if names.iter().any(|name| name == MARK) {
        return Ok(true);
    }
    let mark = format!("{MARK}{UNFINISHED}");
    match names.into_iter().filter(|name| *name != LOCK_FILE && *name != mark).min() {
        Some(name) if !matches!(BackupManifest::read(disk), Ok(Some(_))) => Err(BackupError::Occupied(name)),
        _ => Ok(false),
    }
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

/// A file as it is. `progress` is told the bytes read so far.
pub(crate) fn hashed(disk: &dyn Disk, name: &str, progress: &mut dyn FnMut(u64)) -> Result<BackupFile, BackupError> {
    let file = disk.open(name).map_err(BackupError::io("open", name))?;
    let (mut sha256, mut length, mut bytes) = (Sha256::new(), 0, vec![0; FILE_CHUNK_BYTES_MAX]);
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
