//! Snapshots with their files, and exports of them, over gRPC and on the command line. They need the thread that writes snapshots.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stampbook::audit::export::manifest::{MANIFEST_FILE, PartRecord};
use stampbook::audit::export::sink::{DirSink, ExportSink};
use stampbook::audit::export::verify::verify_export;
use stampbook::io::{Disk, RealDisk};
use stampbook::proto as pb;
use stampbook::proto::export_snapshot_response::Part;
use stampbook::proto::{ExportFormat, Outcome, SnapshotState};
use stampbook::verify::beside::gather;
use stampbook::verify::{Options, verify};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::house::{House, adjust, fields, gift, opening, purchase, reason, redeem, refund, small};

async fn busy_house() -> House {
    let mut house = House::furnished().await;
    post(&mut house, 0..3_000).await;
    house
}

async fn post(house: &mut House, range: std::ops::Range<i64>) {
    let command = |n: i64| match n % 6 {
        0 => purchase(&format!("k{n}"), &format!("m{}", n % 900), 100 + n),
        1 => redeem(&format!("k{n}"), &format!("m{}", n % 900), 1),
        2 => opening(&format!("k{n}"), &format!("o{n}"), if n % 4 == 0 { -n } else { n }),
        3 => adjust(&format!("k{n}"), &format!("m{}", n % 900), 3),
        4 => refund(&format!("k{n}"), &format!("m{}", (n - 4) % 900), &format!("k{}", n - 4), 50),
        _ => gift(&format!("k{n}"), &format!("m{}", n % 900), 2),
    };
    let commands: Vec<_> = range.map(command).collect();
    for commands in commands.chunks(500) {
        house.batch(commands.to_vec(), false).await.unwrap();
    }
}

async fn look(house: &mut House, name: &str) -> pb::Snapshot {
    let asked = pb::GetSnapshotRequest { name: name.into() };
    house.audit.get_snapshot(asked).await.unwrap().into_inner().snapshot.unwrap()
}

/// The snapshot once it is no longer being written.
pub async fn ready(house: &mut House, name: &str) -> pb::Snapshot {
    loop {
        let shot = look(house, name).await;
        if shot.state() != SnapshotState::Preparing {
            assert_eq!(shot.state(), SnapshotState::Ready, "{name}");
            return shot;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn file_of(house: &House, name: &str) -> std::path::PathBuf {
    house.dir.path().join("snapshots").join(format!("{name}.snapshot"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_state_at_its_op_whatever_is_posted_meanwhile() {
    let mut house = busy_house().await;
    let receipt = house.snapshot("spring").await.unwrap().receipt.unwrap();
    let posting = post(&mut house, 3_000..6_000);
    posting.await;
    let shot = ready(&mut house, "spring").await;
    let manifest: Value = serde_json::from_str(&shot.manifest).unwrap();
    assert_eq!(
        (shot.op, manifest["op"].as_u64(), manifest["name"].as_str()),
        (receipt.op, Some(receipt.op), Some("spring"))
    );
    assert_eq!(manifest["book_id"].as_str(), Some(receipt.book_id.as_str()));
    assert_eq!(manifest["book_time_us"].as_i64(), Some(receipt.book_time_us));
    assert_eq!(
        (manifest["state_hash"].as_str(), manifest["head_hash"].as_str()),
        (Some(shot.state_hash.as_str()), Some(shot.head_hash.as_str()))
    );
    assert_eq!((shot.state_hash.len(), shot.head_hash.len()), (64, 64));
    // It holds the balances that the book tells for its op, and not those of now.
    let then = house.trial(Some(pb::get_trial_balance_request::AsOf::AsOfOp(receipt.op))).await;
    let rows = manifest["trial_balance"][0]["rows"].as_array().unwrap().iter();
    let held: std::collections::BTreeMap<_, _> = rows
        .map(|row| (row["account"].as_str().unwrap(), row["balance"].as_i64().unwrap()))
        .filter(|(_, balance)| *balance != 0)
        .collect();
    assert_eq!(held, then.rows.iter().map(|row| (row.account.as_str(), row.credit - row.debit)).collect());
    assert_eq!(manifest["members"].as_u64(), Some(then.totals[0].members));
    assert_ne!(then.rows, house.trial(None).await.rows);
    // A trial balance kept that near makes the past cheap.
    assert_eq!(then.events_replayed, 0);

    // Each manifest names the one before it; all is there after a restart.
    house.snapshot("summer").await.unwrap();
    let summer = ready(&mut house, "summer").await;
    let manifest: Value = serde_json::from_str(&summer.manifest).unwrap();
    assert_eq!(
        (manifest["previous"]["name"].as_str(), manifest["previous"]["op"].as_u64()),
        (Some("spring"), Some(shot.op))
    );
    let mut house = house.reopened().await;
    assert_eq!((look(&mut house, "spring").await, look(&mut house, "summer").await), (shot.clone(), summer.clone()));
    let listed = house.audit.list_snapshots(pb::ListSnapshotsRequest {}).await.unwrap().into_inner().snapshots;
    let bare = |shot: pb::Snapshot| pb::Snapshot { manifest: String::new(), ..shot };
    assert_eq!(listed, [bare(summer), bare(shot)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_snapshot_leaves_no_file_and_one_that_lost_its_file_is_missing() {
    let mut house = busy_house().await;
    for name in ["a", "b"] {
        house.snapshot(name).await.unwrap();
    }
    // Deleted while it may still be on its way to the disk.
    let (actor, reason_given) = ("ana".to_owned(), "done".to_owned());
    let delete = pb::DeleteSnapshotRequest { name: "b".into(), key: "d".into(), actor, reason: reason_given };
    let deleted = house.audit.delete_snapshot(delete).await.unwrap().into_inner();
    assert_eq!(deleted.receipt.unwrap().outcome(), Outcome::Applied);
    assert_eq!(deleted.snapshot.unwrap().state(), SnapshotState::Deleted);
    assert!(!file_of(&house, "b").exists());
    ready(&mut house, "a").await;
    assert!(file_of(&house, "a").exists());
    std::fs::remove_file(file_of(&house, "a")).unwrap();
    assert_eq!(look(&mut house, "a").await.state(), SnapshotState::Missing);
    let status = export(&mut house, wanted("a", ExportFormat::Csv)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "SNAPSHOT_NOT_READY".into()));
    // What a crash between a deletion and its end left behind goes at the next start.
    let left = file_of(&house, "b");
    std::fs::write(&left, b"left behind").unwrap();
    let _house = house.reopened().await;
    for _ in 0..1_000 {
        if !left.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it is still there");
}

/// The snapshot once it is known that it was not written.
async fn missing(house: &mut House, name: &str) -> String {
    loop {
        let shot = look(house, name).await;
        if shot.state() != SnapshotState::Preparing {
            assert_eq!(shot.state(), SnapshotState::Missing, "{name}");
            return shot.missing_because;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn delete(house: &mut House, name: &str) {
    let (actor, reason) = ("ana".to_owned(), "done".to_owned());
    let request = pb::DeleteSnapshotRequest { name: name.into(), key: format!("delete-{name}"), actor, reason };
    let deleted = house.audit.delete_snapshot(request).await.unwrap().into_inner();
    assert_eq!(deleted.receipt.unwrap().outcome(), Outcome::Applied);
}

/// Takes the server down, loses its store, and opens the book again, which is replayed from its beginning.
async fn rebuilt(house: House) -> House {
    let (dir, _) = house.close().await;
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    House::open(dir, &small()).await
}

/// What `verify` notes of a sound book.
fn notes(dir: &Path) -> Vec<String> {
    let options = Options { beside: gather(dir).unwrap(), ..Options::default() };
    verify(&RealDisk::open_existing(dir).unwrap(), &options, &mut |_| {}).unwrap().beside.notes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_could_not_be_written_is_tried_again_until_a_later_one_has_passed_it_by() {
    let mut house = busy_house().await;
    house.snapshot("a").await.unwrap();
    ready(&mut house, "a").await;
    // Nothing can be written where there is a directory.
    let in_the_way = file_of(&house, "b").with_extension("snapshot.new");
    std::fs::create_dir(&in_the_way).unwrap();
    house.snapshot("b").await.unwrap();
    let because = missing(&mut house, "b").await;
    assert!(because.contains("no manifest") && because.contains("the next start tries again"), "{because}");
    let mut house = house.reopened().await;
    missing(&mut house, "b").await;
    std::fs::remove_dir(&in_the_way).unwrap();
    let mut house = house.reopened().await;
    let b: Value = serde_json::from_str(&ready(&mut house, "b").await.manifest).unwrap();
    assert_eq!(b["previous"]["name"], "a");

    let in_the_way = file_of(&house, "c").with_extension("snapshot.new");
    std::fs::create_dir(&in_the_way).unwrap();
    house.snapshot("c").await.unwrap();
    missing(&mut house, "c").await;
    house.snapshot("d").await.unwrap();
    let d = ready(&mut house, "d").await;
    assert_eq!(serde_json::from_str::<Value>(&d.manifest).unwrap()["previous"]["name"], "b");
    std::fs::remove_dir(&in_the_way).unwrap();
    let mut house = rebuilt(house).await;
    let because = missing(&mut house, "c").await;
    assert!(because.contains("that of d follows on"), "{because}");
    let status = export(&mut house, wanted("c", ExportFormat::Csv)).await.unwrap_err();
    assert!(status.message().contains("that of d follows on"), "{status}");
    assert_eq!(ready(&mut house, "d").await, d);
    let (dir, _) = house.close().await;
    let notes = notes(dir.path());
    assert!(notes.len() == 1 && notes[0].contains("\"c\"") && notes[0].contains("no manifest"), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_lost_comes_again_byte_for_byte_and_its_manifest_stays() {
    let mut house = busy_house().await;
    for name in ["a", "b"] {
        house.snapshot(name).await.unwrap();
        ready(&mut house, name).await;
    }
    let all = files(&house.dir.path().join("snapshots"));
    std::fs::remove_file(file_of(&house, "b")).unwrap();
    let because = missing(&mut house, "b").await;
    assert!(because.contains("its file is gone; the next start tries again"), "{because}");
    // From the checkpoint, and after a replay of the whole book; there with a file that was cut.
    let mut house = house.reopened().await;
    ready(&mut house, "b").await;
    assert_eq!(files(&house.dir.path().join("snapshots")), all);
    post(&mut house, 3_000..4_000).await;
    std::fs::remove_file(file_of(&house, "a")).unwrap();
    std::fs::write(file_of(&house, "b"), b"cut").unwrap();
    let mut house = rebuilt(house).await;
    for name in ["a", "b"] {
        ready(&mut house, name).await;
    }
    assert_eq!(files(&house.dir.path().join("snapshots")), all);
    let (dir, _) = house.close().await;
    assert_eq!(notes(dir.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_the_book_writes_no_deleted_snapshot_and_its_manifest_is_never_wanting() {
    let mut house = busy_house().await;
    for name in ["a", "b", "c"] {
        house.snapshot(name).await.unwrap();
        ready(&mut house, name).await;
    }
    for name in ["a", "c"] {
        delete(&mut house, name).await;
    }
    let shelf = house.dir.path().join("snapshots");
    let all = files(&shelf);
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["a.deleted", "a.json", "b.json", "b.snapshot", "c.deleted", "c.json"]);
    // Whoever began to write it would remove what was left unfinished.
    let unfinished = shelf.join("a.snapshot.new");
    std::fs::write(&unfinished, b"left").unwrap();
    let house = rebuilt(house).await;
    assert_eq!(std::fs::read(&unfinished).unwrap(), b"left");
    std::fs::remove_file(&unfinished).unwrap();
    assert_eq!(files(&shelf), all);
    // After a restore the directory knows nothing: all is there again when the start is over, and no file of a deleted one.
    let (dir, _) = house.close().await;
    std::fs::remove_dir_all(&shelf).unwrap();
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    let house = House::open(dir, &small()).await;
    assert_eq!(files(&shelf), all);
    let (dir, _) = house.close().await;
    assert_eq!(notes(dir.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_file_is_no_obstacle_and_a_damaged_manifest_costs_no_name() {
    let mut house = busy_house().await;
    let manifest = |house: &House, name: &str| file_of(house, name).with_extension("json");
    house.snapshot("a").await.unwrap();
    ready(&mut house, "a").await;
    std::fs::write(manifest(&house, "stray"), b"{").unwrap();
    house.snapshot("b").await.unwrap();
    let b = ready(&mut house, "b").await;
    std::fs::write(manifest(&house, "b"), b"{").unwrap();
    let refused = async |house: &mut House, name: &str, file: &str| {
        let status = house.snapshot(name).await.unwrap_err();
        assert_eq!(reason(&status), (Code::FailedPrecondition, "SNAPSHOTS_UNSOUND".into()));
        assert!(status.message().contains(file), "{status}");
    };
    refused(&mut house, "c", "b.json").await;
    let because = missing(&mut house, "b").await;
    assert!(because.contains("b.json is damaged"), "{because}");
    // What was posted before is answered as it was then.
    assert!(house.snapshot("b").await.unwrap().receipt.unwrap().replayed);
    std::fs::write(manifest(&house, "b"), &b.manifest).unwrap();
    refused(&mut house, "stray", "stray.json").await;
    let asked = pb::GetSnapshotRequest { name: "b".into() };
    assert_eq!(house.audit.get_snapshot(asked).await.unwrap().into_inner().op, b.op, "nothing was taken");
    // The name was not lost.
    house.snapshot("c").await.unwrap();
    let c: Value = serde_json::from_str(&ready(&mut house, "c").await.manifest).unwrap();
    assert_eq!(c["previous"]["name"], "b");
    let listed = house.audit.list_snapshots(pb::ListSnapshotsRequest {}).await.unwrap().into_inner().snapshots;
    assert_eq!(listed.iter().map(|shot| shot.name.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
    let (dir, _) = house.close().await;
    let notes = notes(dir.path());
    assert!(notes.len() == 1 && notes[0].contains("\"stray\""), "{notes:?}");
}

pub fn wanted(name: &str, format: ExportFormat) -> pb::ExportSnapshotRequest {
    pb::ExportSnapshotRequest { name: name.into(), format: format.into(), from_op: 0, finished: Vec::new() }
}

/// All messages of an export.
pub async fn export(
    house: &mut House,
    request: pb::ExportSnapshotRequest,
) -> Result<Vec<pb::ExportSnapshotResponse>, Status> {
    let mut stream = house.audit.export_snapshot(request).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

pub fn disk(dir: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::open(dir).unwrap())
}

/// Keeps messages in a directory.
pub fn keep(messages: &[pb::ExportSnapshotResponse], dir: &Path) {
    let mut sink = DirSink::open(disk(dir)).unwrap();
    for message in messages {
        match message.part.as_ref().unwrap() {
            Part::Chunk(chunk) => sink.chunk(&chunk.file, chunk.offset, &chunk.content).unwrap(),
            Part::Manifest(text) => sink.chunk(MANIFEST_FILE, 0, text.as_bytes()).unwrap(),
        }
    }
}

/// Every file of a directory.
fn files(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_over_the_network_proves_itself_in_every_format() {
    let mut house = busy_house().await;
    house.snapshot("spring").await.unwrap();
    let shot = ready(&mut house, "spring").await;
    post(&mut house, 3_000..4_000).await;
    for format in [ExportFormat::Jsonl, ExportFormat::Csv, ExportFormat::Parquet, ExportFormat::Hledger] {
        let dir = tempfile::tempdir().unwrap();
        let messages = export(&mut house, wanted("spring", format)).await.unwrap();
        let last = messages.last().unwrap();
        assert!(matches!(last.part, Some(Part::Manifest(_))), "{format:?}");
        assert_eq!((last.done, messages.iter().all(|message| message.done <= message.total)), (last.total, true));
        keep(&messages, dir.path());
        let report = verify_export(&*disk(dir.path()), Some(&*disk(house.dir.path())), &mut |_| {}).unwrap();
        assert_eq!(
            (report.manifest.export.origin.to_op, report.manifest.export.origin.head_hash.as_str()),
            (shot.op, shot.head_hash.as_str())
        );
        // The same export again is the same bytes.
        let again = tempfile::tempdir().unwrap();
        keep(&export(&mut house, wanted("spring", format)).await.unwrap(), again.path());
        assert_eq!(files(dir.path()), files(again.path()), "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_broke_off_goes_on_behind_the_parts_that_came_whole() {
    let mut house = busy_house().await;
    house.snapshot("spring").await.unwrap();
    ready(&mut house, "spring").await;
    let request = wanted("spring", ExportFormat::Jsonl);
    let whole = export(&mut house, request.clone()).await.unwrap();
    let is_record = |message: &pb::ExportSnapshotResponse| match message.part.as_ref().unwrap() {
        Part::Chunk(chunk) => PartRecord::is_file_name(&chunk.file),
        Part::Manifest(_) => false,
    };
    let records = whole.iter().filter(|message| is_record(message)).count();
    assert!(records >= 2, "{records}");
    let expected = tempfile::tempdir().unwrap();
    keep(&whole, expected.path());
    for cut in 0..whole.len() {
        let dir = tempfile::tempdir().unwrap();
        keep(&whole[..cut], dir.path());
        let finished = DirSink::open(disk(dir.path())).unwrap().finished();
        let finished: Vec<_> = finished.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let rest = export(&mut house, pb::ExportSnapshotRequest { finished, ..request.clone() }).await.unwrap();
        let came = whole[..cut].iter().filter(|message| is_record(message)).count();
        assert_eq!(rest.iter().filter(|message| is_record(message)).count(), records - came, "cut {cut}");
        keep(&rest, dir.path());
        assert_eq!(files(dir.path()), files(expected.path()), "cut {cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_export_cannot_be_asked_for_is_refused_by_field() {
    let mut house = busy_house().await;
    house.snapshot("spring").await.unwrap();
    let shot = ready(&mut house, "spring").await;
    let sound = wanted("spring", ExportFormat::Csv);
    let csv = export(&mut house, sound.clone()).await.unwrap();
    let record = csv.iter().find_map(|message| match message.part.as_ref().unwrap() {
        Part::Chunk(chunk) if PartRecord::is_file_name(&chunk.file) => {
            Some(String::from_utf8(chunk.content.clone()).unwrap())
        }
        _ => None,
    });
    let record = record.unwrap();
    for (request, field) in [
        (pb::ExportSnapshotRequest { from_op: shot.op + 1, ..sound.clone() }, "from_op"),
        (pb::ExportSnapshotRequest { finished: vec!["{}".into()], ..sound.clone() }, "finished[0]"),
        (pb::ExportSnapshotRequest { finished: vec![record.clone(); 2], ..sound.clone() }, "finished[1]"),
        (
            pb::ExportSnapshotRequest { finished: vec![record.clone()], ..wanted("spring", ExportFormat::Jsonl) },
            "finished[0]",
        ),
        (pb::ExportSnapshotRequest { finished: vec![record], from_op: 2, ..sound.clone() }, "finished[0]"),
    ] {
        let status = export(&mut house, request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]), "{status:?}");
    }
    // From the last op on there is one event: the snapshot's own.
    let last = pb::ExportSnapshotRequest { from_op: shot.op, ..sound };
    let dir = tempfile::tempdir().unwrap();
    keep(&export(&mut house, last).await.unwrap(), dir.path());
    let report = verify_export(&*disk(dir.path()), None, &mut |_| {}).unwrap();
    assert_eq!(report.manifest.export.from_op, shot.op);
}

pub async fn cli(arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stampbook"));
    command.args(arguments).arg("--json");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {error}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_takes_shows_and_deletes_snapshots() {
    let mut house = busy_house().await;
    let target = house.address.to_string();
    let (code, made) = cli(&["snapshot", "create", "spring", "--target", &target]).await;
    assert_eq!((code, made["snapshot"]["state"].as_str()), (0, Some("ready")), "{made}");
    let (code, again) = cli(&["snapshot", "create", "spring", "--target", &target]).await;
    assert_eq!((code, again["replayed"].as_bool(), again["op"].as_u64()), (0, Some(true), made["op"].as_u64()));
    let until = ["--retain-until", "2999-01-01T00:00:00Z", "--no-wait"];
    let (code, kept) = cli(&[&["snapshot", "create", "kept", "--target", &target][..], &until].concat()).await;
    assert_eq!((code, kept["snapshot"]["retain_until_us"].as_i64()), (0, Some(32_472_144_000_000_000)), "{kept}");
    let (code, shown) = cli(&["snapshot", "show", "spring", "--target", &target]).await;
    assert_eq!(
        (code, &shown["head"], shown["manifest"]["op"].as_u64()),
        (0, &made["snapshot"]["head"], made["op"].as_u64())
    );
    let act = ["--target", &target, "--actor", "ana", "--reason", "done", "--key"];
    let (code, refused) = cli(&[&["snapshot", "delete", "kept"][..], &act, &["d1"]].concat()).await;
    assert_eq!((code, refused["reason"].as_str()), (1, Some("SNAPSHOT_RETAINED")), "{refused}");
    let (code, deleted) = cli(&[&["snapshot", "delete", "spring"][..], &act, &["d2"]].concat()).await;
    assert_eq!((code, deleted["snapshot"]["state"].as_str()), (0, Some("deleted")), "{deleted}");
    ready(&mut house, "kept").await;
    let (code, list) = cli(&["snapshot", "list", "--target", &target]).await;
    let names: Vec<_> =
        list["snapshots"].as_array().unwrap().iter().map(|s| (s["name"].as_str(), s["state"].as_str())).collect();
    assert_eq!((code, names), (0, vec![(Some("kept"), Some("ready")), (Some("spring"), Some("deleted"))]));
    let (code, unknown) = cli(&["snapshot", "show", "never", "--target", &target]).await;
    assert_eq!((code, unknown["reason"].as_str()), (1, Some("SNAPSHOT_UNKNOWN")), "{unknown}");
    let (code, bad) = cli(&["snapshot", "create", "Spring", "--target", &target]).await;
    assert_eq!((code, bad["fields"][0]["field"].as_str()), (2, Some("name")), "{bad}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_keeps_an_export_from_a_server_that_verifies() {
    let house = busy_house().await;
    let target = house.address.to_string();
    let out: TempDir = tempfile::tempdir().unwrap();
    let path = out.path().to_str().unwrap();
    let (code, made) = cli(&["snapshot", "create", "spring", "--target", &target]).await;
    assert_eq!(code, 0, "{made}");
    let export = ["export", "--target", &target, "--snapshot", "spring", "--format", "csv", "--out", path];
    for _ in 0..2 {
        let (code, report) = cli(&export).await;
        assert_eq!(code, 0, "{report}");
        verify_export(&*disk(out.path()), Some(&*disk(house.dir.path())), &mut |_| {}).unwrap();
    }
    let (code, report) =
        cli(&["export", "--target", &target, "--snapshot", "never", "--format", "csv", "--out", path]).await;
    assert_ne!(code, 0, "{report}");
}
