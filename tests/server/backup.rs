//! Backups of a book that is being served, over gRPC and on the command line.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use stampbook::audit::backup::{BackupManifest, Receiver};
use stampbook::audit::files::unhex;
use stampbook::config::Config;
use stampbook::io::{Disk, RealDisk};
use stampbook::proto as pb;
use stampbook::server::Ended;
use tempfile::TempDir;
use tonic::Code;

use crate::house::{DEFINITION, House, fields, gift, small, snapshot};

/// Segments so small that some are full soon.
fn short_segments() -> Config {
    Config { segment_bytes: 1 << 19, ..Config::default() }
}

async fn busy_house() -> House {
    let mut house = House::open(tempfile::tempdir().unwrap(), &short_segments()).await;
    house.put(DEFINITION, None, "put-1").await.unwrap();
    post(&mut house, 0..20_000).await;
    house
}

async fn post(house: &mut House, range: std::ops::Range<u32>) {
    let commands: Vec<_> = range.map(|n| gift(&format!("g{n}"), &format!("m{}", n % 700), 1)).collect();
    for commands in commands.chunks(1_000) {
        house.batch(commands.to_vec(), false).await.unwrap();
    }
}

/// Takes a backup in; says how many files came.
async fn receive(house: &mut House, out: &Path) -> (BackupManifest, usize) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(out).unwrap());
    let mut receiver = Receiver::open(disk, &mut |_| {}).unwrap();
    let held = receiver.held().iter().map(|file| pb::HeldFile {
        name: file.name.clone(),
        length: file.length,
        sha256: unhex::<32>(&file.sha256).unwrap().to_vec(),
    });
    let request =
        pb::BackupRequest { previous_op: receiver.previous_op(), held: held.collect(), book_id: String::new() };
    let mut stream = house.audit.backup(request).await.unwrap().into_inner();
    let (mut files, mut received) = (Vec::new(), 0);
    while let Some(response) = stream.message().await.unwrap() {
        let told = (response.done, response.total);
        match response.part.unwrap() {
            pb::backup_response::Part::Chunk(chunk) => {
                received += u64::try_from(chunk.content.len()).unwrap();
                receiver.take(&chunk.file, chunk.offset, &chunk.content).unwrap();
                if !files.contains(&chunk.file) {
                    files.push(chunk.file);
                }
            }
            pb::backup_response::Part::Manifest(text) => {
                assert!(stream.message().await.unwrap().is_none(), "the manifest is the last message");
                assert_eq!(told, (received, received));
                let manifest = BackupManifest::from_json(&text).unwrap();
                return (receiver.finish(manifest, &mut |_| {}).unwrap(), files.len());
            }
        }
    }
    panic!("it ended without a manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_from_a_server_holds_all_that_was_durable_and_the_next_one_sends_what_is_new() {
    let mut house = busy_house().await;
    let out = tempfile::tempdir().unwrap();
    let (first, files) = receive(&mut house, out.path()).await;
    assert_eq!((first.op, first.previous_op), (20_001, 0));
    assert!(first.files.len() > 2 && files == first.files.len(), "{files} of {}", first.files.len());
    post(&mut house, 20_000..26_000).await;
    let (second, files) = receive(&mut house, out.path()).await;
    assert_eq!((second.op, second.previous_op, second.book_id), (26_001, first.op, first.book_id));
    let sealed = first.files.len() - 1;
    assert_eq!(files, second.files.len() - sealed);
    assert_eq!(second.files[..sealed], first.files[..sealed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_another_past_or_another_book_is_refused_by_field() {
    let mut house = House::furnished().await;
    let ahead = pb::BackupRequest { previous_op: 3, ..Default::default() };
    let other = pb::BackupRequest { book_id: "00".repeat(16), ..Default::default() };
    for (request, field) in [(ahead, "previous_op"), (other, "book_id")] {
        let status = house.audit.backup(request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}

async fn cli(arguments: Vec<String>) -> (i32, Value) {
    let run = move || Command::new(env!("CARGO_BIN_EXE_stampbook")).args(&arguments).arg("--json").output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {error}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_by_command_line_while_posting_goes_on_restores_to_a_book_that_goes_on() {
    let mut house = busy_house().await;
    let (out, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |dir: &Path| dir.to_str().unwrap().to_owned();
    let target = house.address.to_string();
    let arguments = ["backup", "--target", &target, "--out", &path(out.path())].map(str::to_owned).to_vec();
    let backup = tokio::spawn(cli(arguments.clone()));
    post(&mut house, 20_000..24_000).await;
    let (code, report) = backup.await.unwrap();
    assert_eq!(code, 0, "{report}");
    let op = report["op"].as_u64().unwrap();
    assert!((20_001..=24_001).contains(&op), "{op}");
    let (code, report) = cli(arguments).await;
    assert_eq!((code, report["op"].as_u64(), report["previous_op"].as_u64()), (0, Some(24_001), Some(op)), "{report}");
    let book_id = house.trial(None).await.book_id;
    let told = house.trial(None).await;
    assert_eq!(house.close().await.1, Ended::Stopped);

    let arguments = ["restore", "--from", &path(out.path()), "--data", &path(data.path())].map(str::to_owned).to_vec();
    let (code, report) = cli(arguments).await;
    assert_eq!((code, report["op"].as_u64()), (0, Some(24_001)), "{report}");
    let mut house = House::open(data, &short_segments()).await;
    let restored = house.trial(None).await;
    assert_eq!((restored.rows, restored.totals, restored.op), (told.rows, told.totals, 24_001));
    // What was settled before is settled still, in a history with a parent.
    let again = house.post(gift("g7", "m7", 1)).await.unwrap();
    assert!(again.replayed);
    let from = again.restored.unwrap();
    assert_eq!((from.incarnation, from.parent_book_id.as_str(), from.parent_op), (1, book_id.as_str(), 24_001));
    assert_ne!(again.book_id, book_id);
}

/// What `stampbook` says under these words and directories, which must succeed.
async fn done(words: &[&str], dirs: &[(&str, &Path)]) -> Value {
    let dirs = dirs.iter().flat_map(|(flag, dir)| [(*flag).to_owned(), dir.to_str().unwrap().to_owned()]);
    let (code, said) = cli(words.iter().map(|word| (*word).to_owned()).chain(dirs).collect()).await;
    assert_eq!(code, 0, "{words:?}: {said}");
    said
}

/// The snapshots, oldest first: name, whether it is ready or deleted, and the hash of its state.
async fn snapshots(house: &mut House) -> Vec<(String, pb::SnapshotState, String)> {
    let listed = house.audit.list_snapshots(pb::ListSnapshotsRequest {}).await.unwrap().into_inner().snapshots;
    let told = |shot: &pb::Snapshot| (shot.name.clone(), shot.state(), shot.state_hash.clone());
    listed.iter().rev().map(told).collect()
}

/// Takes a snapshot and waits for its file.
async fn kept(house: &mut House, name: &str) -> u64 {
    let op = house.audit.create_snapshot(snapshot(name)).await.unwrap().into_inner().receipt.unwrap().op;
    while snapshots(house).await.iter().any(|(_, state, _)| *state == pb::SnapshotState::Preparing) {
        tokio::task::yield_now().await;
    }
    op
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_book_has_the_snapshots_of_its_past_and_takes_others() {
    use pb::SnapshotState::{Deleted, Ready};
    let mut house = House::furnished().await;
    let mut ops = Vec::new();
    for (n, name) in ["spring", "summer", "autumn"].iter().enumerate() {
        house.post(gift(&format!("g{n}"), "ann", 5)).await.unwrap();
        ops.push(kept(&mut house, name).await);
    }
    let before = snapshots(&mut house).await;
    assert!(before.iter().all(|(_, state, hash)| *state == Ready && !hash.is_empty()), "{before:?}");
    let (key, actor, reason) = ("d".to_owned(), "ana".to_owned(), "done".to_owned());
    let deletion = pb::DeleteSnapshotRequest { name: "spring".into(), key, actor, reason };
    house.audit.delete_snapshot(deletion).await.unwrap();
    house.post(gift("last", "ann", 5)).await.unwrap();
    let (dir, _) = house.close().await;
    let out = tempfile::tempdir().unwrap();
    done(&["backup"], &[("--data", dir.path()), ("--out", out.path())]).await;
    // Behind them all; at one of them; between two; before the first.
    for (to, known) in [(None, 3), (Some(ops[1]), 2), (Some(ops[1] + 1), 2), (Some(ops[0] - 1), 0)] {
        let data = tempfile::tempdir().unwrap();
        let op = to.map(|op| op.to_string());
        let words = op.as_ref().map_or_else(|| vec!["restore"], |op| vec!["restore", "--to-op", op]);
        done(&words, &[("--from", out.path()), ("--data", data.path())]).await;
        done(&["verify"], &[("--data", data.path())]).await;
        let mut house = House::open(data, &small()).await;
        let told = snapshots(&mut house).await;
        let mut expected = before[..known].to_vec();
        if to.is_none() {
            expected[0] = ("spring".into(), Deleted, String::new());
        }
        assert_eq!(told, expected, "{to:?}");
        // A name that is still to come in the old book is free in this one.
        let next = ["spring", "summer", "autumn", "winter"][known];
        kept(&mut house, next).await;
        assert_eq!(
            snapshots(&mut house).await.last().map(|(name, state, _)| (name.as_str(), *state)),
            Some((next, Ready))
        );
        let (data, _) = house.close().await;
        let points = done(&["verify"], &[("--data", data.path())]).await["beside"]["points"].clone();
        let named =
            |name: &str| points.as_array().unwrap().iter().any(|point| point["what"].as_str().unwrap().contains(name));
        assert!(expected.iter().map(|(name, ..)| name.as_str()).chain([next]).all(named), "{points}");
        let again = snapshots(&mut House::open(data, &small()).await).await;
        assert_eq!(again[..known], expected);
    }
}

/// Starts `stampbook` and kills it when a directory holds this many files of segments, if it is not over before.
async fn killed(words: &[&str], dirs: &[(&str, &Path)], watched: &Path, files: usize) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_stampbook"));
    process.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    for (flag, dir) in dirs {
        process.arg(flag).arg(dir);
    }
    let watched = watched.to_path_buf();
    let kill = move || {
        let is_segment = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("segment-");
        let there = || std::fs::read_dir(&watched).map_or(0, |entries| entries.flatten().filter(is_segment).count());
        let mut child = process.spawn().unwrap();
        while there() < files && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    };
    tokio::task::spawn_blocking(kill).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_restore_that_are_killed_at_any_file_are_taken_up_and_come_out_whole() {
    let mut house = busy_house().await;
    let home = tempfile::tempdir().unwrap();
    let (out, data) = (home.path().join("backup"), home.path().join("restored"));
    let target = house.address.to_string();
    let words = ["backup", "--target", &target];
    let manifest = || BackupManifest::read(&RealDisk::open_existing(&out).unwrap()).unwrap();
    let mut files = 0;
    for (op, posted) in [(20_001, 0..0), (30_001, 20_000..30_000)] {
        post(&mut house, posted).await;
        let before = if files == 0 { None } else { manifest() };
        for more in 1..=4 {
            killed(&words, &[("--out", &out)], &out, files + more).await;
            let now = manifest();
            assert!(now == before || now.as_ref().is_some_and(|now| now.op == op), "{now:?}");
        }
        let said = done(&words, &[("--out", &out)]).await;
        assert_eq!((said["op"].as_u64(), said["mended"].as_array().map(Vec::len)), (Some(op), Some(0)), "{said}");
        files = manifest().unwrap().files.len();
    }
    assert!(files > 3, "{files}");
    let dirs = [("--from", out.as_path()), ("--data", data.as_path())];
    for segments in 1..files {
        killed(&["restore"], &dirs, &data, segments).await;
    }
    // The last kill may have come too late.
    if !data.join("segment-00000000.0000").exists() || data.join("RESTORING").exists() {
        done(&["restore"], &dirs).await;
    }
    assert_eq!(done(&["verify"], &[("--data", &data)]).await["op"].as_u64(), Some(30_001));
    let told = house.trial(None).await;
    std::fs::remove_dir_all(&out).unwrap();
    let dir = TempDir::new_in(home.path()).unwrap();
    std::fs::remove_dir(dir.path()).unwrap();
    std::fs::rename(&data, dir.path()).unwrap();
    let mut restored = House::open(dir, &short_segments()).await;
    assert_eq!(restored.trial(None).await.rows, told.rows);
}
