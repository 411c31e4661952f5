//! Files on their way to a caller: read on a thread that may block, sent in pieces, never more of them ahead than a few.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::status;
use crate::constants::{EXPORTS_MAX, FILE_CHUNK_BYTES_MAX, FILE_CHUNKS_WAITING_MAX};
use crate::engine::request::Refusal;
use crate::proto as pb;

/// How long a caller may leave a piece unread before its place is given to another.
const PATIENCE: Duration = Duration::from_secs(60);

/// A piece of what is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// A piece of a file.
    Chunk(pb::FileChunk),
    /// The last: what was sent.
    Manifest(String),
}

/// How much is done, out of how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Done.
    pub done: u64,
    /// In all.
    pub total: u64,
}

impl From<(Part, Told)> for pb::ExportSnapshotResponse {
    fn from((part, Told { done, total }): (Part, Told)) -> Self {
        use pb::export_snapshot_response::Part as Sent;
        let part = match part {
            Part::Chunk(chunk) => Sent::Chunk(chunk),
            Part::Manifest(manifest) => Sent::Manifest(manifest),
        };
        Self { part: Some(part), done, total }
    }
}

impl From<(Part, Told)> for pb::BackupResponse {
    fn from((part, Told { done, total }): (Part, Told)) -> Self {
        use pb::backup_response::Part as Sent;
        let part = match part {
            Part::Chunk(chunk) => Sent::Chunk(chunk),
            Part::Manifest(manifest) => Sent::Manifest(manifest),
        };
        Self { part: Some(part), done, total }
    }
}

/// Where exports and backups are sent from.
#[derive(Clone)]
pub(super) struct Parcels {
    places: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Parcels {
    /// Room for a few at a time; those under way end when `stopping` turns true.
    #[must_use]
    pub(super) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self { places: Arc::new(Semaphore::new(EXPORTS_MAX)), stopping }
    }

    /// Runs `fill` on a thread of its own; what it puts into its parcel is what the stream yields. It returns the manifest, or the
    /// status that the stream ends with.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when there is no place for one more.
    pub(super) fn send<M: From<(Part, Told)> + Send + 'static>(
        &self,
        fill: impl FnOnce(&mut Parcel<M>) -> Result<String, Status> + Send + 'static,
    ) -> Result<ReceiverStream<Result<M, Status>>, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| status::exports_busy())?;
        let (pieces, outbound) = mpsc::channel(FILE_CHUNKS_WAITING_MAX + 1);
        // Kept from the start, so that there is room for the last word however slow the caller is.
        let last = pieces.clone().try_reserve_owned().map_err(|_| status::unexpected())?;
        let (stopping, runtime) = (self.stopping.clone(), Runtime::current());
        let mut parcel = Parcel { pieces, stopping, runtime, told: Told::default() };
        tokio::task::spawn_blocking(move || {
            let ended = fill(&mut parcel);
            last.send(ended.map(|manifest| (Part::Manifest(manifest), parcel.told).into()));
            drop(place);
        });
        Ok(ReceiverStream::new(outbound))
    }
}

/// One export or backup on its way to its caller.
pub(super) struct Parcel<M> {
    pieces: mpsc::Sender<Result<M, Status>>,
    stopping: watch::Receiver<bool>,
    runtime: Runtime,
    told: Told,
}

impl<M: From<(Part, Told)>> Parcel<M> {
    /// Notes how much is done; the next piece says so.
    pub(super) fn tell(&mut self, told: Told) {
        self.told = told;
    }

    /// Sends a whole small file as one piece.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(super) fn put_whole(&mut self, file: &str, content: &[u8]) -> Result<(), Status> {
        self.push(Part::Chunk(pb::FileChunk { file: file.to_owned(), offset: 0, content: content.to_vec() }))
    }

    /// Sends bytes of a file, which begin at `offset`. Blocks while the caller has not read what came before.
    ///
    /// # Errors
    /// The status to end with: the caller is gone or does not read, or the server shuts down.
    pub(super) fn put(&mut self, file: &str, offset: u64, content: &[u8]) -> Result<(), Status> {
        if content.is_empty() {
            // A file without a byte is a file all the same.
            return self.push(Part::Chunk(pb::FileChunk { file: file.to_owned(), offset, content: Vec::new() }));
        }
        let mut offset = offset;
        for content in content.chunks(FILE_CHUNK_BYTES_MAX) {
            let chunk = pb::FileChunk { file: file.to_owned(), offset, content: content.to_vec() };
            offset = offset.saturating_add(u64::try_from(content.len()).unwrap_or(u64::MAX));
            self.push(Part::Chunk(chunk))?;
        }
        Ok(())
    }

    fn push(&mut self, part: Part) -> Result<(), Status> {
        let Self { pieces, stopping, runtime, told } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                // A sender that is gone is as good as a word.
                _ = stopping.wait_for(|stopping| *stopping) => Err(status::refused(Refusal::ShuttingDown)),
                sent = timeout(PATIENCE, pieces.send(Ok((part, *told).into()))) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(Status::cancelled("the caller is gone")),
                    Err(_) => Err(Status::new(Code::DeadlineExceeded, "the caller does not read what it asked for")),
                },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use tokio_stream::StreamExt;

    type Sent = Result<pb::BackupResponse, Status>;

    fn parcels() -> (watch::Sender<bool>, Parcels) {
        let (stop, stopping) = watch::channel(false);
        (stop, Parcels::new(stopping))
    }

    fn chunk(sent: Sent) -> pb::FileChunk {
        match sent.unwrap().part.unwrap() {
            pb::backup_response::Part::Chunk(chunk) => chunk,
            pb::backup_response::Part::Manifest(manifest) => panic!("{manifest}"),
        }
    }

    #[tokio::test]
    async fn a_long_piece_is_cut_and_the_manifest_comes_last() {
        let (_stop, parcels) = parcels();
        let long = vec![7; 2 * FILE_CHUNK_BYTES_MAX + 1];
        let fill = move |parcel: &mut Parcel<pb::BackupResponse>| {
            parcel.put("a", 5, &long)?;
            parcel.tell(Told { done: 1, total: 2 });
            Ok("{}".to_owned())
        };
        let sent: Vec<Sent> = parcels.send(fill).unwrap().collect().await;
        let mut sent = sent.into_iter();
        let mut next = 5;
        for _ in 0..3 {
            let chunk = chunk(sent.next().unwrap());
            assert_eq!((chunk.file.as_str(), chunk.offset), ("a", next));
            assert!(chunk.content.len() <= FILE_CHUNK_BYTES_MAX);
            next += u64::try_from(chunk.content.len()).unwrap();
        }
        let manifest = pb::BackupResponse::from((Part::Manifest("{}".into()), Told { done: 1, total: 2 }));
        assert_eq!(sent.next().unwrap().unwrap(), manifest);
        assert!(sent.next().is_none());
        assert_eq!(next, 6 + 2 * u64::try_from(FILE_CHUNK_BYTES_MAX).unwrap());
    }

    #[tokio::test]
    async fn a_file_without_a_byte_is_sent_as_one_piece() {
        let (_stop, parcels) = parcels();
        let fill = move |parcel: &mut Parcel<pb::BackupResponse>| {
            parcel.put("empty", 0, &[])?;
            Ok("{}".to_owned())
        };
        let mut sent = parcels.send(fill).unwrap();
        let piece = chunk(sent.next().await.unwrap());
        assert_eq!((piece.file.as_str(), piece.offset, piece.content.len()), ("empty", 0, 0));
    }

    /// Puts pieces for as long as they are taken.
    fn endless(parcel: &mut Parcel<pb::BackupResponse>) -> Result<String, Status> {
        loop {
            parcel.put("a", 0, &[1; 64])?;
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_frees_its_place_and_no_more_than_the_places_are_given() {
        let (_stop, parcels) = parcels();
        let mut under_way: Vec<_> = (0..EXPORTS_MAX).map(|_| parcels.send(endless).unwrap()).collect();
        let refused = parcels.send(endless).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        for stream in &mut under_way {
            chunk(stream.next().await.unwrap());
        }
        drop(under_way.pop());
        while parcels.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        parcels.send(endless).unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_does_not_read_is_told_when_the_server_shuts_down() {
        let (stop, parcels) = parcels();
        let mut stream = parcels.send(endless).unwrap();
        while stream.as_ref().len() < FILE_CHUNKS_WAITING_MAX {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
        let mut pieces = 0;
        let end = loop {
            match stream.next().await.unwrap() {
                Ok(_) => pieces += 1,
                Err(status) => break status,
            }
        };
        assert_eq!((end.code(), pieces), (Code::Unavailable, FILE_CHUNKS_WAITING_MAX));
        assert!(stream.next().await.is_none());
    }
}
