//! Opening a store: whatever is unsound is discarded, and said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::bytes::{In, Out};
use super::folders::{Folders, Kind, META, name, parse};
use super::limits::METAS_KEPT;
use super::merge::Runs;
use super::meta::{self, Checkpoint, VERSION, What};
use super::shelf::Shelves;
use super::value::{BookName, Envelope};
use super::{OpenReport, Store, StoreError, StoreOptions};

/// The key of the header in the shelf of the metas.
const HEADER_KEY: &[u8] = b"h";
const MAGIC: [u8; 8] = *b"STAMPSTO";

impl Store {
    /// Opens what there is. A checkpoint that is missing, truncated, flipped, of another book or version, or whose
    /// databases panic or hang, is passed over for the one before it; where there is none, everything is discarded. The
    /// report says what. Fails only when not even an empty store can be had; that leaves the book as it was.
    pub fn open(
        shelves: Arc<dyn Shelves>,
        book: BookName,
        options: StoreOptions,
    ) -> Result<(Store, OpenReport), StoreError> {
        let started = Instant::now();
        let envelope = Envelope::new(book);
        let runs = Runs::new(envelope.clone(), options.key_filter_bytes_max);
        let mut store = Store {
            book,
            options,
            envelope,
            folders: Folders { shelves, next: 1 },
            meta: None,
            metas: Vec::new(),
            sequence: 1,
            trials: Default::default(),
            page_folders: BTreeMap::new(),
            runs,
            begun: None,
        };
        let mut report = OpenReport::default();
        let there = store.folders.shelves.list()?;
        let greatest = there.iter().filter_map(|name| parse(name)).map(|(_, number)| number).max();
        store.folders.next = greatest.unwrap_or(0).saturating_add(1);
        if let Err(error) = store.read_all(&there, &mut report.discarded) {
            report.discarded.push(format!("all of it: {error}"));
            store.discard()?;
        }
        report.duration = started.elapsed();
        Ok((store, report))
    }

    /// Reads the metas, settles on the newest sound one, and removes what it and the one before it do not name.
    fn read_all(&mut self, there: &[String], discarded: &mut Vec<String>) -> Result<(), StoreError> {
        self.open_meta()?;
        let shelf = self.meta_shelf()?;
        let sequences = meta::list(shelf.as_ref(), What::Metas)?;
        self.sequence = sequences.last().map_or(1, |last| last.saturating_add(1));
        for sequence in sequences.iter().rev().copied() {
            let sound = meta::read(&self.envelope, shelf.as_ref(), sequence).and_then(|checkpoint| {
                self.check_folders(&checkpoint, there)?;
                if self.metas.is_empty() {
                    self.open_runs(&checkpoint)?;
                }
                self.metas.push(checkpoint);
                Ok(())
            });
            if let Err(error) = sound {
                discarded.push(format!("checkpoint {sequence}: {error}"));
            }
            if self.metas.len() == METAS_KEPT {
                break;
            }
        }
        let folders = there.iter().filter(|name| parse(name).is_some()).count();
        if self.metas.is_empty() && (folders > 0 || !sequences.is_empty()) {
            return Err(StoreError::Unusable(format!("no sound checkpoint over {folders} folders")));
        }
        self.trials = meta::list(shelf.as_ref(), What::Trials)?;
        // A trial balance is written before its meta: one whose meta never came, or is unsound, is of no checkpoint.
        let newest = self.newest().map_or(0, |newest| newest.op);
        for op in self.trials.split_off(&newest.saturating_add(1)) {
            shelf.write(meta::remove(shelf.as_ref(), What::Trials, op)?)?;
        }
        for sequence in
            sequences.into_iter().filter(|sequence| self.metas.iter().all(|kept| kept.sequence != *sequence))
        {
            shelf.write(meta::remove(shelf.as_ref(), What::Metas, sequence)?)?;
        }
        // Removals that fail are heard of now, and not by the first checkpoint.
        shelf.sync()?;
        self.adopt_folders(there)
    }

    /// Opens all databases of `checkpoint`, and its runs.
    fn open_runs(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.runs = Runs::new(self.envelope.clone(), self.options.key_filter_bytes_max);
        for number in checkpoint.page_folders() {
            // Opened to see that it opens; its pages are read by a load.
            drop(self.folders.open(Kind::Pages, number)?);
        }
        self.runs.open(&self.folders, &checkpoint.runs, checkpoint.op)
    }

    fn check_folders(&self, checkpoint: &Checkpoint, there: &[String]) -> Result<(), StoreError> {
        let pages = checkpoint.page_folders().into_iter().map(|number| name(Kind::Pages, number));
        let keys = checkpoint.run_folders().into_iter().map(|number| name(Kind::Keys, number));
        match pages.chain(keys).find(|name| !there.contains(name)) {
            Some(missing) => Err(StoreError::Unusable(format!("{missing} is missing"))),
            None => Ok(()),
        }
    }

    fn adopt_folders(&mut self, there: &[String]) -> Result<(), StoreError> {
        let numbers = |wanted| there.iter().filter_map(|name| parse(name)).filter(move |(kind, _)| *kind == wanted);
        for (_, number) in numbers(Kind::Pages) {
            self.page_folders.insert(number, self.disk_bytes_of_pages(number)?);
        }
        self.runs.leave_closed(numbers(Kind::Keys).map(|(_, number)| number));
        self.forget()
    }

    /// Opens the shelf of the metas and reads its header, or writes it into an empty one.
    pub(super) fn open_meta(&mut self) -> Result<(), StoreError> {
        let shelf = self.folders.shelves.open(META)?;
        let mut header = Out::default();
        header.raw(&MAGIC);
        header.u32(VERSION);
        header.raw(&self.book.book_id);
        header.u32(self.book.incarnation);
        match shelf.get(HEADER_KEY)? {
            Some(found) => check_header(&found, self.book)?,
            None => {
                let mut empty = true;
                shelf.scan(&[], &[0xff], &mut |_, _| {
                    empty = false;
                    false
                })?;
                if !empty {
                    return Err(StoreError::Unusable("the header is missing".into()));
                }
                shelf.write(vec![(HEADER_KEY.to_vec(), Some(header.0))])?;
                shelf.sync()?;
            }
        }
        self.meta = Some(shelf);
        Ok(())
    }
}

fn check_header(header: &[u8], book: BookName) -> Result<(), StoreError> {
    let mut fields = In::new(header);
    let (magic, version): ([u8; 8], u32) = (fields.array()?, fields.u32()?);
    if magic != MAGIC || version != VERSION {
        return Err(StoreError::Unusable(format!("it is of version {version}, and not of version {VERSION}")));
    }
    let found = BookName { book_id: fields.array()?, incarnation: fields.u32()? };
    fields.end()?;
    if found != book {
        return Err(StoreError::Unusable("it is of another book, or of another incarnation of it".into()));
    }
    Ok(())
}
