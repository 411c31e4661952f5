//! Pages of the state: writing those of one checkpoint into a folder of its own, and reading those that a checkpoint
//! names out of several.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use super::StoreError;
use super::limits::{PAGE_IMAGE_BYTES_MAX, PAGES_READ_AHEAD, SHELF_TIME_MAX};
use super::meta::{Checkpoint, PageName};
use super::shelf::{Batch, Shelf};
use super::value::{BlobReader, Envelope, after_blob, chunk_key};

/// Which page: its kind, and its number among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageKey {
    /// The kind; kinds are loaded in their order.
    pub kind: u8,
    /// The number, from 0.
    pub number: u32,
}

impl PageKey {
    fn prefix(self) -> Vec<u8> {
        [&[self.kind], self.number.to_be_bytes().as_slice()].concat()
    }
}

/// A checkpoint on its way: the pages put so far.
pub(crate) struct Begun {
    pub(crate) op: u64,
    pub(crate) folder: u32,
    pub(crate) pages: BTreeMap<PageKey, PageName>,
    pub(crate) started: Instant,
    batch: Batch,
}

impl Begun {
    pub(crate) fn new(op: u64, folder: u32, shelf: Arc<dyn Shelf>) -> Self {
        Self { op, folder, pages: BTreeMap::new(), started: Instant::now(), batch: Batch::new(shelf) }
    }

    pub(crate) fn put(&mut self, envelope: &Envelope, key: PageKey, image: &[u8]) -> Result<(), StoreError> {
        let length = u32::try_from(image.len()).ok().filter(|_| image.len() <= PAGE_IMAGE_BYTES_MAX);
        let Some(bytes) = length else {
            return Err(StoreError::Refused(format!(
                "the image of {key:?}, {} bytes, is over {PAGE_IMAGE_BYTES_MAX}",
                image.len()
            )));
        };
        if self.pages.contains_key(&key) {
            return Err(StoreError::Refused(format!("{key:?} was put before")));
        }
        let hash = *blake3::hash(image).as_bytes();
        self.pages.insert(key, PageName { hash, folder: self.folder, bytes });
        self.batch.add(envelope.blob(&key.prefix(), self.op, image)?)?;
        Ok(())
    }

    /// Writes what is left and makes all pages durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        Ok(self.batch.sync()?)
    }

    /// All pages of the checkpoint: those put, and those of the one before that were not. Each kind must have exactly
    /// `per_kind` of them.
    pub(crate) fn complete(
        &self,
        before: Option<&Checkpoint>,
        per_kind: u32,
    ) -> Result<BTreeMap<u8, Vec<PageName>>, StoreError> {
        let mut kinds: BTreeSet<u8> = self.pages.keys().map(|key| key.kind).collect();
        kinds.extend(before.iter().flat_map(|before| before.pages.keys()));
        let mut all = BTreeMap::new();
        for kind in kinds {
            let old = before.and_then(|before| before.pages.get(&kind)).map(Vec::as_slice).unwrap_or_default();
            let mut pages = Vec::with_capacity(old.len());
            for number in 0..per_kind {
                let key = PageKey { kind, number };
                let kept = usize::try_from(number).ok().and_then(|number| old.get(number));
                let page = self.pages.get(&key).or(kept);
                pages.push(*page.ok_or_else(|| StoreError::Refused(format!("{key:?} of {per_kind} was never put")))?);
            }
            all.insert(kind, pages);
        }
        match self.pages.keys().find(|key| key.number >= per_kind) {
            Some(key) => Err(StoreError::Refused(format!("{key:?} is not below {per_kind}"))),
            None => Ok(all),
        }
    }
}

/// One page as it comes from its folder.
type Loaded = Result<(PageKey, Vec<u8>), StoreError>;

/// The pages of a checkpoint in order, each verified; the first error is not to be read past. Every folder is read by a
/// thread of its own, so that one that hangs is given up. It holds none of the store, which may go on.
pub struct Pages {
    due: std::vec::IntoIter<(PageKey, PageName)>,
    readers: BTreeMap<u32, Receiver<Loaded>>,
}

impl Pages {
    pub(crate) fn open(
        envelope: &Envelope,
        due: Vec<(PageKey, PageName)>,
        open: &dyn Fn(u32) -> Result<Arc<dyn Shelf>, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut by_folder: BTreeMap<u32, Vec<(PageKey, PageName)>> = BTreeMap::new();
        for (key, page) in &due {
            by_folder.entry(page.folder).or_default().push((*key, *page));
        }
        let mut readers: BTreeMap<u32, Receiver<Loaded>> = BTreeMap::new();
        for (folder, pages) in by_folder {
            let (send, receive) = sync_channel(PAGES_READ_AHEAD);
            let (shelf, envelope) = (open(folder)?, envelope.clone());
            let body = move || read_folder(&envelope, shelf.as_ref(), &pages, &send);
            let spawned = thread::Builder::new().name(format!("store-pages-{folder}")).spawn(body);
            spawned.map_err(|error| StoreError::Unusable(format!("no thread to read pages with: {error}")))?;
            readers.insert(folder, receive);
        }
        Ok(Self { due: due.into_iter(), readers })
    }

    fn read(&self, key: PageKey, page: PageName) -> Loaded {
        let broken = |why: &str| StoreError::Unusable(format!("pages-{}: {why}", page.folder));
        let reader = self.readers.get(&page.folder).ok_or_else(|| broken("is not open"))?;
        match reader.recv_timeout(SHELF_TIME_MAX) {
            Ok(Ok((read, _))) if read != key => Err(broken("a page came out of order")),
            Ok(loaded) => loaded,
            Err(RecvTimeoutError::Timeout) => Err(broken("reading hung")),
            Err(RecvTimeoutError::Disconnected) => Err(broken("reading stopped")),
        }
    }
}

impl Iterator for Pages {
    type Item = Loaded;

    fn next(&mut self) -> Option<Loaded> {
        let (key, page) = self.due.next()?;
        Some(self.read(key, page))
    }
}

/// Sends the pages, which are in order, each verified. Stops when nobody listens.
fn read_folder(envelope: &Envelope, shelf: &dyn Shelf, pages: &[(PageKey, PageName)], send: &SyncSender<Loaded>) {
    let (Some(first), Some(last)) = (pages.first(), pages.last()) else { return };
    let mut due = pages.iter();
    let mut open: Option<(PageKey, PageName, BlobReader)> = None;
    let mut next = || due.next().map(|(key, page)| (*key, *page, BlobReader::new(key.prefix())));
    open = open.or_else(&mut next);
    let (from, to) = (chunk_key(&first.0.prefix(), 0), after_blob(&last.0.prefix()));
    let scanned = shelf.scan(&from, &to, &mut |key, value| {
        let Some((page, _, reader)) = open.as_mut() else { return false };
        if key < page.prefix().as_slice() {
            return true;
        }
        if let Err(error) = reader.take(envelope, key, value) {
            let _ = send.send(Err(error));
            return false;
        }
        if !reader.is_whole() {
            return true;
        }
        let Some((page, name, reader)) = open.take() else { return false };
        open = next();
        let loaded = reader.finish().and_then(|(_, image)| check(page, name, image));
        let sound = loaded.is_ok();
        send.send(loaded).is_ok() && sound
    });
    if let Err(error) = scanned {
        let _ = send.send(Err(error.into()));
    }
}

fn check(key: PageKey, name: PageName, image: Vec<u8>) -> Loaded {
    if *blake3::hash(&image).as_bytes() == name.hash {
        Ok((key, image))
    } else {
        Err(StoreError::Unusable(format!("pages-{}: {key:?} is not the one that the meta names", name.folder)))
    }
}
