//! Files from a server, kept in a directory: the `--target` forms of export and backup.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stampbook::audit::backup::{BackupError, BackupManifest, Progress, Receiver, Stage};
use stampbook::audit::export::manifest::{Identity, MANIFEST_FILE, Manifest};
use stampbook::audit::export::sink::DirSink;
use stampbook::audit::export::{ExportError, Format, Progress as Made};
use stampbook::audit::files::unhex;
use stampbook::io::Disk;
use stampbook::proto::audit_service_client::AuditServiceClient;
use stampbook::proto::{
    BackupRequest, ExportFormat, ExportSnapshotRequest, GetSnapshotRequest, HeldFile, backup_response,
    export_snapshot_response,
};
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use super::bar::Bar;
use super::out::Out;
use super::{EXIT_IO, Failure, backup, export, remote};

/// A piece with its frame, or the manifest of very many files.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long a server may take for the next piece.
const PATIENCE: Duration = Duration::from_secs(120);
/// Times that a transfer is taken up again without anything new that is whole.
const TRIES_MAX: u32 = 10;
/// The pause before it is.
const PAUSE: Duration = Duration::from_secs(1);

type Audit = AuditServiceClient<Channel>;

/// An export that is asked of a server.
pub(super) struct Wanted<'a> {
    /// The snapshot's name.
    pub snapshot: &'a str,
    /// The form.
    pub format: Format,
    /// The first op whose event is wanted.
    pub from_op: u64,
}

impl Wanted<'_> {
    /// Whether `export` is of this kind, of a snapshot of this name.
    fn is(&self, export: &Identity) -> bool {
        let asked = (self.format, self.from_op, self.snapshot);
        asked == (export.format, export.from_op, export.origin.snapshot.as_str())
    }
}

/// Has a server make an export, keeps it in the directory `out`, and takes it up where it broke off before.
pub(super) fn export(target: &str, wanted: &Wanted<'_>, out: &Path) -> Result<Manifest, Failure> {
    let out = Out::open(out)?;
    remote::connected(target, async |channel| {
        let mut bar = Bar::new();
        let mut tries = Tries::new(client(channel));
        let received = export_whole(&mut tries, wanted, &out, &mut bar).await;
        bar.clear();
        received
    })
}

async fn export_whole(tries: &mut Tries, wanted: &Wanted<'_>, out: &Out, bar: &mut Bar) -> Result<Manifest, Failure> {
    loop {
        // Opened anew each time: what is whole on the disk is what counts.
        let mut sink = DirSink::open(out.disk()).map_err(|error| export::failure_in(out.path(), &error))?;
        if let Some(manifest) = sink.manifest() {
            return same(&mut tries.client, wanted, manifest, out).await;
        }
        let finished = sink.finished();
        if finished.first().is_some_and(|record| !wanted.is(&record.export)) {
            return Err(another(out));
        }
        let whole = finished.len();
        if let Err(stopped) = export_once(&mut tries.client, wanted, out, &mut sink, bar).await {
            tries.pause(stopped, whole).await?;
        }
    }
}

/// The manifest of an export that is whole, if it is the one that is asked for.
async fn same(client: &mut Audit, wanted: &Wanted<'_>, manifest: &Manifest, out: &Out) -> Result<Manifest, Failure> {
    let asked = GetSnapshotRequest { name: wanted.snapshot.to_owned() };
    let answer = client.get_snapshot(asked).await.map_err(|status| remote::failure(&status))?.into_inner();
    let head = answer.snapshot.map(|shot| shot.head_hash).unwrap_or_default();
    let origin = &manifest.export.origin;
    if wanted.is(&manifest.export) && origin.book_id == answer.book_id && origin.head_hash == head {
        return Ok(manifest.clone());
    }
    Err(another(out))
}

fn another(out: &Out) -> Failure {
    export::failure_in(out.path(), &ExportError::Another)
}

async fn export_once(
    client: &mut Audit,
    wanted: &Wanted<'_>,
    out: &Out,
    sink: &mut DirSink,
    bar: &mut Bar,
) -> Result<(), Stopped> {
    use export_snapshot_response::Part;
    let kept = |error: ExportError| Stopped::Kept(export::failure_in(out.path(), &error));
    let finished = sink.finished().iter().map(serde_json::to_string).collect::<Result<_, _>>();
    let finished = finished.map_err(|error| Stopped::Kept(Failure::plain(EXIT_IO, error.to_string())))?;
    let (name, format) = (wanted.snapshot.to_owned(), format_of(wanted.format).into());
    let request = ExportSnapshotRequest { name, format, from_op: wanted.from_op, finished };
    let mut stream = client.export_snapshot(request).await.map_err(Stopped::status)?.into_inner();
    loop {
        let response = next(&mut stream).await?;
        export::show(bar, "export", Made { done: response.done, total: response.total });
        match response.part {
            Some(Part::Chunk(chunk)) => sink.take(&chunk.file, chunk.offset, &chunk.content).map_err(kept)?,
            Some(Part::Manifest(text)) => {
                return sink.take(MANIFEST_FILE, 0, text.as_bytes()).map_err(kept);
            }
            None => {}
        }
    }
}

/// Has a server send a backup, keeps it in the directory `out`, and asks only for what is not there.
pub(super) fn backup(target: &str, out: &Path) -> Result<backup::Made, Failure> {
    let out = Out::open(out)?;
    remote::connected(target, async |channel| {
        let mut bar = Bar::new();
        let received = backup_whole(Tries::new(client(channel)), out.disk(), &mut bar).await;
        bar.clear();
        received
    })
}

async fn backup_whole(mut tries: Tries, disk: Arc<dyn Disk>, bar: &mut Bar) -> Result<backup::Made, Failure> {
    let fault = |error| backup::failure(&error);
    let mut receiver = Receiver::open(disk, &mut |told| backup::show(bar, told)).map_err(fault)?;
    let mended = receiver.hurt().to_vec();
    loop {
        let whole = receiver.held().len();
        match backup_once(&mut tries.client, &mut receiver, bar).await {
            Ok(manifest) => {
                let manifest = receiver.finish(manifest, &mut |told| backup::show(bar, told)).map_err(fault)?;
                return Ok(backup::Made { manifest, mended });
            }
            Err(stopped) => tries.pause(stopped, whole).await?,
        }
        receiver.resume().map_err(fault)?;
    }
}

async fn backup_once(client: &mut Audit, receiver: &mut Receiver, bar: &mut Bar) -> Result<BackupManifest, Stopped> {
    use backup_response::Part;
    let held = receiver.held().iter().map(|file| HeldFile {
        name: file.name.clone(),
        length: file.length,
        sha256: unhex::<32>(&file.sha256).map(Vec::from).unwrap_or_default(),
    });
    let book_id = receiver.previous().map(|previous| previous.book_id.clone()).unwrap_or_default();
    let request = BackupRequest { previous_op: receiver.previous_op(), held: held.collect(), book_id };
    let mut stream = client.backup(request).await.map_err(Stopped::status)?.into_inner();
    loop {
        let response = next(&mut stream).await?;
        backup::show(bar, Progress { stage: Stage::Copy, done: response.done, total: response.total });
        match response.part {
            Some(Part::Chunk(chunk)) => {
                receiver.take(&chunk.file, chunk.offset, &chunk.content).map_err(Stopped::backup)?;
            }
            Some(Part::Manifest(text)) => return BackupManifest::from_json(&text).map_err(Stopped::backup),
            None => {}
        }
    }
}

/// Why receiving stopped.
enum Stopped {
    /// The server said so.
    Status(Box<Status>),
    /// What came cannot be kept.
    Kept(Failure),
}

impl Stopped {
    fn status(status: Status) -> Self {
        Self::Status(Box::new(status))
    }

    fn backup(error: BackupError) -> Self {
        Self::Kept(backup::failure(&error))
    }
}

/// A client, and how often it may ask again.
struct Tries {
    client: Audit,
    tries: u32,
    whole: usize,
}

impl Tries {
    fn new(client: Audit) -> Self {
        Self { client, tries: 0, whole: 0 }
    }

    /// Waits before the next try. `whole` is how many things were there at the last one: when there are more, it counts anew.
    ///
    /// # Errors
    /// Where there is to be none.
    async fn pause(&mut self, stopped: Stopped, whole: usize) -> Result<(), Failure> {
        let status = match stopped {
            Stopped::Status(status) => status,
            Stopped::Kept(failure) => return Err(failure),
        };
        self.tries = if whole > self.whole { 1 } else { self.tries + 1 };
        self.whole = whole;
        if !remote::again(&status) {
            return Err(remote::failure(&status));
        }
        if self.tries <= TRIES_MAX {
            let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
            sleep(PAUSE.max(asked)).await;
            return Ok(());
        }
        let mut failure = remote::failure(&status);
        failure.text.push_str("\nwhat came whole is kept: the same command again goes on from there");
        Err(failure)
    }
}

/// The next message of a stream that ends with a manifest.
async fn next<M>(stream: &mut Streaming<M>) -> Result<M, Stopped> {
    match timeout(PATIENCE, stream.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(Stopped::status(Status::unavailable("the server ended without a manifest"))),
        Ok(Err(status)) => Err(Stopped::status(status)),
        Err(_) => Err(Stopped::status(Status::deadline_exceeded("the server sends nothing more"))),
    }
}

fn client(channel: Channel) -> Audit {
    Audit::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn format_of(format: Format) -> ExportFormat {
    match format {
        Format::Jsonl => ExportFormat::Jsonl,
        Format::Csv => ExportFormat::Csv,
        Format::Parquet => ExportFormat::Parquet,
        Format::Hledger => ExportFormat::Hledger,
    }
}
