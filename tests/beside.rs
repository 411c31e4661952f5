//! What `verify` proves of the snapshots and the checkpoint beside a book, and what it finds in ones that are not as they
//! should be.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stampbook::audit::room::SnapshotFiles;
use stampbook::config::Config;
use stampbook::engine::Engine;
use stampbook::engine::request::Work;
use stampbook::engine::rooms::Rooms;
use stampbook::io::real::RealClock;
use stampbook::io::{Disk, RealDisk};
use stampbook::ledger::command::{AdminAction, AdminCommand};
use stampbook::store::SledShelves;
use stampbook::verify::beside::{Beside, gather};
use stampbook::verify::{Options, VerifyError, verify};
use tempfile::TempDir;

/// A book with two snapshots, and so with a checkpoint at the second.
fn house() -> TempDir {
    let dir = TempDir::new().unwrap();
    let snapshots_disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path().join("snapshots")).unwrap());
    let rooms = Rooms {
        shelves: Arc::new(SledShelves::new(dir.path().join("store"))),
        snapshots: Arc::new(SnapshotFiles::new(Arc::clone(&snapshots_disk))),
        snapshots_disk,
    };
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let engine = Engine::start(disk, Arc::new(RealClock::new()), &Config::default().engine(Some(rooms))).unwrap();
    let handle = engine.handle();
    for name in ["first", "second"] {
        let key = format!("key-{name}");
        let command = AdminCommand {
            program_id: String::new(),
            key_print: handle.prints().key("", &key),
            key,
            body_hash: [0; 16],
            actor: "ana".to_owned(),
            reason: "audit".to_owned(),
            action: AdminAction::CreateSnapshot { name: name.to_owned(), retain_until_us: None },
        };
        handle.submit(Work::Admin(Box::new(command))).unwrap().blocking_recv().unwrap().unwrap();
        for _ in 0..2_000 {
            if !handle.audit().preparing(name) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    engine.shut_down();
    dir
}

fn prove(dir: &Path) -> Result<Beside, VerifyError> {
    let beside = gather(dir)?;
    let options = Options { beside: beside.clone(), ..Options::default() };
    verify(&RealDisk::open_existing(dir).unwrap(), &options, &mut |_| {})?;
    Ok(beside)
}

fn whats(beside: &Beside) -> Vec<&str> {
    beside.points.iter().map(|point| point.what.as_str()).collect()
}

#[test]
fn snapshots_and_checkpoint_are_the_states_of_the_book() {
    let dir = house();
    let beside = prove(dir.path()).unwrap();
    assert_eq!(whats(&beside), ["snapshot \"first\"", "snapshot \"second\"", "the newest checkpoint"]);
    assert!(beside.notes.is_empty(), "{:?}", beside.notes);
    let keys = beside.keys.unwrap();
    assert_eq!(keys.upto(), 2);
}

#[test]
fn a_snapshot_of_another_state_is_found() {
    let dir = house();
    let mut beside = gather(dir.path()).unwrap();
    beside.points.iter_mut().find(|point| point.op == 1).unwrap().state_hash = [7; 32];
    let options = Options { beside, ..Options::default() };
    let error = verify(&RealDisk::open_existing(dir.path()).unwrap(), &options, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, VerifyError::Differs { op: 1, what, .. } if what.contains("first")), "{error}");
}

#[test]
fn a_snapshot_whose_file_was_changed_is_found() {
    let dir = house();
    let path = dir.path().join("snapshots/second.snapshot");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    let Err(error) = prove(dir.path()) else { panic!("it was not found") };
    assert!(error.to_string().contains("second.snapshot"), "{error}");
}

#[test]
fn what_lies_beside_another_book_is_found() {
    let (short, long) = (house(), house());
    let beside = gather(long.path()).unwrap();
    let options = Options { beside, ..Options::default() };
    let error = verify(&RealDisk::open_existing(short.path()).unwrap(), &options, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, VerifyError::Differs { .. }), "another book's snapshots are not this one's: {error}");
}

#[test]
fn a_store_that_is_gone_is_no_damage() {
    let dir = house();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    assert_eq!(whats(&prove(dir.path()).unwrap()), ["snapshot \"first\"", "snapshot \"second\""]);
}

#[test]
fn nothing_beside_the_book_is_written_to() {
    fn all(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => all(&entry.path(), found),
                false => found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap())),
            }
        }
        found.sort();
    }
    let dir = house();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    all(dir.path(), &mut before);
    prove(dir.path()).unwrap();
    all(dir.path(), &mut after);
    assert!(before == after);
}
