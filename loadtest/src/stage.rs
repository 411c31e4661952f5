//! The scene of a measurement: a server's binary, its settings, and books with as many members as are wanted, filled once and copied for
//! each use.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use stampbook::proto::Outcome;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Channel;

use crate::lots::{Bringer, Lots};
use crate::process::{Server, serve, stampbook};
use crate::rng::Rng;
use crate::run::BUDGET;
use crate::tally::{grouped, rate_per_s};
use crate::wire::{BytesCodec, Receipts, Writer, batch_path};
use crate::{Failure, client, program};

/// Commands of a batch that fills books.
pub(crate) const FILL_BATCH: u64 = 2_000;
/// Batches under way while books are filled.
const FILL_IN_FLIGHT: usize = 24;
const FILL_CONNECTIONS: usize = 3;
/// Of the keys and amounts that books are filled with: the same in every run, so that any of them can be sent again.
const FILL_SEED: u64 = 0x5eed;
/// Of the keys that books have beside those.
const KEYS_SEED: u64 = 0x005e_ed02;
/// A batch that is refused for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// Members beside those that books are filled with, for samples.
const SPARE_MEMBERS: u64 = 10_000;
/// In a folder of prepared books: the books, and what they hold.
const BOOKS: &str = "books";
const NOTE: &str = "prepared.json";

/// See the module.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The server.
    pub(crate) binary: PathBuf,
    /// How many members the books have.
    pub(crate) members: u64,
    /// What lots they have beside one earn of each member.
    pub(crate) lots: Lots,
    /// How many earns they have beside those and one of each member, each under a key of its own.
    pub(crate) keys: u64,
    folder: TempDir,
}

/// What prepared books hold.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Note {
    members: u64,
    fill_seed: u64,
    #[serde(default)]
    lots: Lots,
    #[serde(default)]
    keys: u64,
}

impl Stage {
    /// A temporary folder, gone with the stage.
    pub(crate) fn new(members: u64) -> Result<Self, Failure> {
        Self::with_lots(members, Lots::default())
    }

    /// The same, for books with lots.
    pub(crate) fn with_lots(members: u64, lots: Lots) -> Result<Self, Failure> {
        eprintln!("building the server, if need be");
        let folder = tempfile::Builder::new().prefix("stampbook-loadtest-").tempdir()?;
        Ok(Self { binary: stampbook()?, members, lots, keys: 0, folder })
    }

    /// The same, for books with more keys.
    pub(crate) fn with_keys(members: u64, keys: u64) -> Result<Self, Failure> {
        Ok(Self { keys, ..Self::new(members)? })
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes settings for a server: those `given`, or else the text, and room for the members where that is not said.
    pub(crate) fn config(&self, name: &str, given: Option<&Path>, or_else: &str) -> Result<PathBuf, Failure> {
        let text = match given {
            Some(file) => fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?,
            None => or_else.to_owned(),
        };
        let room = if text.lines().any(|line| line.trim_start().starts_with("members_max")) {
            String::new()
        } else {
            format!("members_max = {}\n", self.members + self.lots.lapsing_members + SPARE_MEMBERS)
        };
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, room + &text)?;
        Ok(path)
    }

    /// Starts a server of the books in `data`.
    pub(crate) async fn serve(&self, data: &Path, config: &Path) -> Result<Server, Failure> {
        let (binary, data, config) = (self.binary.clone(), data.to_owned(), config.to_owned());
        tokio::task::spawn_blocking(move || serve(&binary, &data, Some(&config))).await?
    }

    /// Books with all members, closed in peace: those of `kept`, filled now if there are none, or new ones in the temporary folder.
    pub(crate) async fn prepared(&self, kept: Option<&Path>, config: &Path) -> Result<PathBuf, Failure> {
        let folder = kept.map_or_else(|| self.path("prepared"), Path::to_path_buf);
        let (books, note) = (folder.join(BOOKS), folder.join(NOTE));
        let wanted = Note { members: self.members, fill_seed: FILL_SEED, lots: self.lots, keys: self.keys };
        if note.exists() {
            let found: Note = serde_json::from_slice(&fs::read(&note)?)?;
            if found == wanted {
                return Ok(books);
            }
            let folder = folder.display();
            return Err(format!("{folder} holds books of another kind ({found:?}): name another folder").into());
        }
        if books.exists() {
            return Err(format!("{} holds books that were not filled to the end: remove them", folder.display()).into());
        }
        fs::create_dir_all(&folder)?;
        let mut server = self.serve(&books, config).await?;
        self.fill(&server.address).await?;
        tokio::task::block_in_place(|| server.terminate())?;
        fs::write(note, serde_json::to_vec(&wanted)?)?;
        Ok(books)
    }

    /// A copy of prepared books, synced, so that its writes do not fall into what is measured. A copy of the same name is removed before. Segments
    /// that are full never change again, so both have them in common where they lie on one file system.
    pub(crate) async fn copy(&self, prepared: &Path, name: &str) -> Result<PathBuf, Failure> {
        let (from, to) = (prepared.to_owned(), self.path(name).join(BOOKS));
        tokio::task::spawn_blocking(move || {
            if to.exists() {
                fs::remove_dir_all(&to)?;
            }
            copy_folder(&from, &to)?;
            Ok(to)
        })
        .await?
    }

    /// Posts one earn for each member, in order, then the lots, and then the earns under more keys.
    pub(crate) async fn fill(&self, address: &str) -> Result<(), Failure> {
        let channel = client::connect(address).await?;
        self.lots.set_up(channel.clone()).await?;
        program::LOAD.set_up(channel, BUDGET).await?;
        let members = self.members;
        let rate =
            post_all(address, "members", members, fill_batches(members), move |n| fill_request(members, n)).await?;
        eprintln!("{} members opened, {} a second", grouped(members), grouped(rate));
        let bringer = Bringer::new(self.lots, members);
        if bringer.requests() > 0 {
            let commands = bringer.commands();
            let rate = post_all(address, "lots", commands, bringer.requests(), move |n| bringer.request(n)).await?;
            let lots = grouped(self.lots.count(members));
            eprintln!("{lots} lots brought by {} commands, {} a second", grouped(commands), grouped(rate));
        }
        if self.keys > 0 {
            let (keys, batches) = (self.keys, self.keys.div_ceil(FILL_BATCH));
            let rate = post_all(address, "keys", keys, batches, move |n| key_request(members, keys, n)).await?;
            eprintln!("{} keys posted, {} a second", grouped(keys), grouped(rate));
        }
        Ok(())
    }
}

/// Posts requests by number, many at a time. Gives commands a second.
async fn post_all(
    address: &str,
    what: &'static str,
    commands: u64,
    requests: u64,
    request: impl Fn(u64) -> Result<(Vec<u8>, u64), Failure> + Copy + Send + 'static,
) -> Result<u64, Failure> {
    let mut connections = Vec::new();
    for _ in 0..FILL_CONNECTIONS {
        connections.push(client::raw(client::connect(address).await?));
    }
    let bar = ProgressBar::new(commands);
    bar.set_style(ProgressStyle::with_template("{msg:>10} {bar:40} {human_pos}/{human_len} {per_sec}")?);
    bar.set_message(what);
    let begun = Instant::now();
    let mut under_way: VecDeque<JoinHandle<Result<u64, Failure>>> = VecDeque::new();
    for (number, connection) in (0..requests).zip(connections.iter().cycle()) {
        if under_way.len() == FILL_IN_FLIGHT
            && let Some(oldest) = under_way.pop_front()
        {
            bar.inc(oldest.await??);
        }
        let connection = connection.clone();
        under_way.push_back(tokio::spawn(async move {
            let (bytes, commands) = request(number)?;
            post_batch(connection, bytes, commands).await
        }));
    }
    for batch in under_way {
        bar.inc(batch.await??);
    }
    bar.finish_and_clear();
    Ok(rate_per_s(commands, begun.elapsed()))
}

/// How many batches fill books.
pub(crate) fn fill_batches(members: u64) -> u64 {
    members.div_ceil(FILL_BATCH)
}

/// The request of that number among those that fill books: the same bytes whenever it is asked for. Also how many commands it holds.
pub(crate) fn fill_request(members: u64, batch: u64) -> Result<(Vec<u8>, u64), Failure> {
    let first = batch * FILL_BATCH;
    let commands = FILL_BATCH.min(members.saturating_sub(first));
    let mut writer = Writer::new(program::LOAD.program, members, Rng::new(FILL_SEED, batch))
        .ok_or("the template of a command cannot be patched")?;
    Ok((writer.request_for_each(first, commands), commands))
}

/// The request of that number among those that bring more keys, and how many commands it holds.
fn key_request(members: u64, keys: u64, batch: u64) -> Result<(Vec<u8>, u64), Failure> {
    let commands = FILL_BATCH.min(keys.saturating_sub(batch * FILL_BATCH));
    let mut writer = Writer::new(program::LOAD.program, members, Rng::new(KEYS_SEED, batch))
        .ok_or("the template of a command cannot be patched")?;
    Ok((writer.request(usize::try_from(commands)?), commands))
}

async fn post_batch(mut grpc: Grpc<Channel>, bytes: Vec<u8>, commands: u64) -> Result<u64, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        grpc.ready().await?;
        let answer = grpc.unary(Request::new(bytes.clone()), batch_path(), BytesCodec::<Receipts>::new()).await;
        match answer {
            Ok(answer) => {
                let receipts = &answer.get_ref().receipts;
                let applied = receipts.iter().filter(|receipt| receipt.outcome == i32::from(Outcome::Applied)).count();
                if u64::try_from(applied)? != commands {
                    return Err(format!("{applied} of {commands} commands that fill the books were applied").into());
                }
                return Ok(commands);
            }
            Err(status) if client::is_worth_repeating(&status) && Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to)?;
    let full = full_segments(from)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else if !full.contains(&entry.file_name()) || fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
            File::open(&to)?.sync_all()?;
        }
    }
    Ok(())
}

/// The names of the segments in a folder that nothing is written to any more: all but those of the last two numbers, of which one may be laid out
/// ahead.
fn full_segments(folder: &Path) -> Result<Vec<OsString>, Failure> {
    let mut segments: BTreeMap<String, Vec<OsString>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if let Some((number, _copy)) = text.strip_prefix("segment-").and_then(|rest| rest.split_once('.')) {
            segments.entry(number.to_owned()).or_default().push(name.clone());
        }
    }
    let full = segments.len().saturating_sub(2);
    Ok(segments.into_values().take(full).flatten().collect())
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prost::Message;
    use stampbook::proto::PostBatchRequest;

    use super::*;

    #[test]
    fn the_batches_that_fill_books_hold_each_member_once() {
        let members = 2 * FILL_BATCH + 7;
        let mut opened = Vec::new();
        for batch in 0..fill_batches(members) {
            let (bytes, commands) = fill_request(members, batch).unwrap();
            let request = PostBatchRequest::decode(bytes.as_slice()).unwrap();
            assert_eq!(request.items.len(), usize::try_from(commands).unwrap());
            opened.extend(request.items.into_iter().map(|command| command.member));
        }
        assert!(opened.into_iter().eq((0..members).map(|number| format!("member-{number:013}"))));
    }

    #[test]
    fn a_copy_holds_every_file_at_every_depth() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(from.join("store/deep")).unwrap();
        fs::write(from.join("top"), "1").unwrap();
        fs::write(from.join("store/deep/leaf"), "2").unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("store/deep/leaf")).unwrap(), "2");
        assert_eq!(files_below(&to).unwrap().len(), files_below(&from).unwrap().len());
    }

    #[test]
    fn a_copy_has_no_segment_in_common_that_may_still_change() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(&from).unwrap();
        let names = [
            "segment-00000000.0000",
            "segment-00000001.0001",
            "segment-00000002.0000",
            "segment-00000003.0000",
            "segment-00000003.0001",
            "LOCK",
        ];
        names.iter().for_each(|name| fs::write(from.join(name), "as it was").unwrap());
        copy_folder(&from, &to).unwrap();
        for name in names.iter().skip(2) {
            fs::write(to.join(name), "changed").unwrap();
        }
        assert!(names.iter().all(|name| fs::read(from.join(name)).unwrap() == b"as it was"));
        fs::remove_dir_all(&to).unwrap();
        assert_eq!(fs::read_dir(&from).unwrap().count(), names.len());
    }

    #[test]
    fn the_batches_that_bring_keys_hold_as_many_as_are_wanted() {
        let keys = FILL_BATCH + 5;
        let [first, second] = [0, 1].map(|batch| key_request(100, keys, batch).unwrap());
        assert_eq!((first.1, second.1), (FILL_BATCH, 5));
        assert_ne!(first.0.get(..100), second.0.get(..100));
    }
}
