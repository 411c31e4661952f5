//! What exports and backups put into their parcels.

use std::cell::Cell;
use std::io;

use tonic::Status;

use super::audit_service::few;
use super::parcel::{Parcel, Told};
use super::shape::{self, Fault};
use super::status;
use crate::audit::backup::{BackupError, BackupFile, Chunks, Piece};
use crate::audit::export::manifest::{EXPORT_VERSION, Identity, MANIFEST_FILE, Origin, PartRecord};
use crate::audit::export::sink::ExportSink;
use crate::audit::export::source::SnapshotAccounts;
use crate::audit::export::{self, ExportError, Format};
use crate::audit::files::hex;
use crate::audit::snapshot::{SnapshotError, SnapshotReader};
use crate::engine::Handle;
use crate::journal::Extent;
use crate::proto as pb;

/// Bytes of the name of a file of a backup.
const FILE_NAME_BYTES_MAX: usize = 64;
/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// An export as it was asked for, its shape checked.
pub(super) struct ExportAsked {
    name: String,
    request: export::Request,
    finished: Vec<PartRecord>,
}

impl ExportAsked {
    /// Reads a request whose name is sound.
    ///
    /// # Errors
    /// What is wrong with its shape.
    pub(super) fn read(request: pb::ExportSnapshotRequest) -> Result<Self, Fault> {
        let format = match pb::ExportFormat::try_from(request.format) {
            Ok(pb::ExportFormat::Unspecified) => return Err(Fault::missing("format")),
            Ok(pb::ExportFormat::Jsonl) => Format::Jsonl,
            Ok(pb::ExportFormat::Csv) => Format::Csv,
            Ok(pb::ExportFormat::Parquet) => Format::Parquet,
            Ok(pb::ExportFormat::Hledger) => Format::Hledger,
            Err(_) => return Err(Fault::malformed("format", "is not a format known here")),
        };
        few("finished", request.finished.len())?;
        let record = |(place, text): (usize, &String)| {
            serde_json::from_str(text)
                .map_err(|_| Fault::malformed(&format!("finished[{place}]"), "is no record of a part"))
        };
        let finished = request.finished.iter().enumerate().map(record).collect::<Result<_, _>>()?;
        let asked = export::Request { from_op: request.from_op.max(1), ..export::Request::whole(format) };
        Ok(Self { name: request.name, request: asked, finished })
    }

    /// The snapshot's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the first op asked for is one that the snapshot holds.
    ///
    /// # Errors
    /// `FIELD_OUT_OF_RANGE`.
    pub(super) fn within(&self, op: u64) -> Result<(), Fault> {
        if self.request.from_op <= op {
            return Ok(());
        }
        Err(Fault::out_of_range("from_op", &format!("is after the snapshot, which is of op {op}")))
    }

    /// Sends the files and returns the manifest. Blocks.
    ///
    /// # Errors
    /// The status to end with.
    pub(super) fn answer(
        &self,
        handle: &Handle,
        parcel: &mut Parcel<pb::ExportSnapshotResponse>,
    ) -> Result<String, Status> {
        let told = Cell::new(Told::default());
        let mut sink = Sink { parcel, told: &told, manifest: None, stopped: None };
        match self.make(handle, &mut sink, &told) {
            Ok(()) => {
                sink.parcel.tell(told.get());
                sink.manifest.ok_or_else(status::unexpected)
            }
            Err(error) => Err(sink.stopped.unwrap_or_else(|| failed(&error))),
        }
    }

    fn make(&self, handle: &Handle, sink: &mut Sink<'_>, told: &Cell<Told>) -> Result<(), ExportError> {
        let reader = SnapshotReader::open(&*handle.audit().snapshots_disk(), &self.name)?;
        let accounts = SnapshotAccounts::new(&reader)?;
        let book = handle.book();
        let origin = Origin::of(&reader, book.genesis());
        if let Some(place) = self.strange(&origin) {
            let fault = Fault::malformed(&format!("finished[{place}]"), "is of another export, or not in its place");
            sink.stopped = Some(status::invalid(&[fault]));
            return Err(ExportError::Another);
        }
        let source = export::Source { accounts: &accounts, events: book, origin };
        let mut progress = |made: export::Progress| told.set(Told { done: made.done, total: made.total });
        export::export(&source, self.request, &self.finished, sink, &mut progress)?;
        Ok(())
    }

    /// The place of the first record that is not one of this export in its place.
    fn strange(&self, origin: &Origin) -> Option<usize> {
        let export::Request { format, from_op, part_ops } = self.request;
        let identity = Identity { version: EXPORT_VERSION, format, origin: origin.clone(), from_op, part_ops };
        let strange = |(number, record): (u32, &PartRecord)| record.part != number || record.export != identity;
        (1..).zip(&self.finished).position(strange)
    }
}

/// Sends an export's files, and keeps its manifest for the last message.
struct Sink<'a> {
    parcel: &'a mut Parcel<pb::ExportSnapshotResponse>,
    told: &'a Cell<Told>,
    manifest: Option<String>,
    /// Why nothing more is sent.
    stopped: Option<Status>,
}

impl ExportSink for Sink<'_> {
    fn chunk(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if file == MANIFEST_FILE {
            self.manifest = Some(String::from_utf8_lossy(bytes).into_owned());
            return Ok(());
        }
        self.parcel.tell(self.told.get());
        let sent = match PartRecord::is_file_name(file) {
            true => self.parcel.put_whole(file, bytes),
            false => self.parcel.put(file, offset, bytes),
        };
        sent.map_err(|status| {
            self.stopped = Some(status);
            io::Error::from(io::ErrorKind::BrokenPipe)
        })
    }
}

fn failed(error: &ExportError) -> Status {
    match error {
        // It was there when the call began; the next call is told what has become of it.
        ExportError::Snapshot(SnapshotError::Missing(_)) => Status::unavailable("the snapshot went away"),
        _ => status::unreadable(error),
    }
}

/// A backup as it was asked for, its shape checked.
pub(super) struct BackupAsked {
    book_id: String,
    previous_op: u64,
    held: Vec<BackupFile>,
}

impl BackupAsked {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with its shape.
    pub(super) fn read(request: pb::BackupRequest) -> Result<Self, Fault> {
        few("held", request.held.len())?;
        let mut held = Vec::with_capacity(request.held.len());
        for (place, pb::HeldFile { name, length, sha256 }) in request.held.into_iter().enumerate() {
            shape::needed(&format!("held[{place}].name"), &name, FILE_NAME_BYTES_MAX)?;
            if sha256.len() != SHA256_BYTES {
                return Err(Fault::malformed(&format!("held[{place}].sha256"), "must have 32 bytes"));
            }
            held.push(BackupFile { name, length, sha256: hex(&sha256) });
        }
        Ok(Self { book_id: request.book_id, previous_op: request.previous_op, held })
    }

    /// Whether the backup that the caller has is of this book, and the book has come as far.
    ///
    /// # Errors
    /// `FIELD_OUT_OF_RANGE`.
    pub(super) fn within(&self, book_id: &str, op: u64) -> Result<(), Fault> {
        if !self.book_id.is_empty() && self.book_id != book_id {
            let what = format!("is of another book, and this is {book_id}: take an empty directory for its backups");
            return Err(Fault::out_of_range("book_id", &what));
        }
        if self.previous_op <= op {
            return Ok(());
        }
        Err(Fault::out_of_range("previous_op", &format!("is after the newest event, {op}: it is of another past")))
    }

    /// Sends the files and returns the manifest. Blocks.
    ///
    /// # Errors
    /// The status to end with.
    pub(super) fn answer(&self, handle: &Handle, parcel: &mut Parcel<pb::BackupResponse>) -> Result<String, Status> {
        let unreadable = |error: BackupError| status::unreadable(&error);
        let extent = Extent::durable(handle.book()).map_err(|error| status::unreadable(&error))?;
        let chunks = Chunks::new(extent, &self.held, self.previous_op).map_err(unreadable)?;
        let mut told = Told { done: 0, total: chunks.bytes_to_send() };
        for piece in chunks {
            match piece.map_err(unreadable)? {
                Piece::Bytes { file, offset, bytes } => {
                    told.done = told.done.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    parcel.tell(told);
                    parcel.put(&file, offset, &bytes)?;
                }
                Piece::Manifest(manifest) => return manifest.to_json().map_err(unreadable),
            }
        }
        Err(status::unexpected())
    }
}
