//! What `verify` proves of the snapshots and the checkpoint beside a book, and what it finds in ones that are not as they
//! should be.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stampbook::audit::room::SnapshotFiles;
use stampbook::audit::snapshot;
use stampbook::config::Config;
use stampbook::engine::Engine;
use stampbook::engine::request::Work;
use stampbook::engine::rooms::Rooms;
use stampbook::io::real::RealClock;
use stampbook::io::{Disk, RealDisk};
use stampbook::ledger::command::{AdminAction, AdminCommand};
use stampbook::store::SledShelves;
use stampbook::verify::beside::gather;
use stampbook::verify::{Options, Shown, VerifyError, verify};
use tempfile::TempDir;

fn take(name: &str) -> AdminAction {
    AdminAction::CreateSnapshot { name: name.to_owned(), retain_until_us: None }
}

fn delete(name: &str) -> AdminAction {
    AdminAction::DeleteSnapshot { name: name.to_owned() }
}

/// A book with two snapshots, and so with a checkpoint at the second.
fn house() -> TempDir {
    house_of(vec![take("first"), take("second")])
}

fn house_of(acts: Vec<AdminAction>) -> TempDir {
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
    for (number, action) in acts.into_iter().enumerate() {
        let key = format!("key-{number}");
        let (name, deleted) = match &action {
            AdminAction::CreateSnapshot { name, .. } => (name.clone(), false),
            AdminAction::DeleteSnapshot { name } => (name.clone(), true),
            other => panic!("{other:?}"),
        };
        let command = AdminCommand {
            program_id: String::new(),
            key_print: handle.prints().key("", &key),
            key,
            body_hash: [0; 16],
            actor: "ana".to_owned(),
            reason: "audit".to_owned(),
            action,
        };
        handle.submit(Work::Admin(Box::new(command))).unwrap().blocking_recv().unwrap().unwrap();
        for _ in 0..2_000 {
            if !handle.audit().preparing(&name) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if deleted {
            snapshot::remove(&*handle.audit().snapshots_disk(), &name).unwrap();
        }
    }
    engine.shut_down();
    dir
}

fn prove(dir: &Path) -> Result<Shown, VerifyError> {
    let options = Options { beside: gather(dir)?, ..Options::default() };
    Ok(verify(&RealDisk::open_existing(dir).unwrap(), &options, &mut |_| {})?.beside)
}

/// Why a book is not sound.
fn fault(dir: &Path) -> String {
    match prove(dir) {
        Ok(shown) => panic!("it was not found: {shown:?}"),
        Err(error) => error.to_string(),
    }
}

fn names(shown: &Shown) -> Vec<&str> {
    shown.snapshots.iter().map(|shot| shot.name.as_str()).collect()
}

/// The only note of a sound book.
fn note(dir: &Path) -> String {
    let mut notes = prove(dir).unwrap().notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
    notes.remove(0)
}

#[test]
fn snapshots_and_checkpoint_are_the_states_of_the_book() {
    let dir = house();
    let shown = prove(dir.path()).unwrap();
    assert_eq!(names(&shown), ["first", "second"]);
    assert!(shown.snapshots.iter().all(|shot| shot.present && !shot.deleted));
    assert!(shown.notes.is_empty(), "{:?}", shown.notes);
    let beside = gather(dir.path()).unwrap();
    assert_eq!(beside.points.iter().map(|point| point.what.as_str()).collect::<Vec<_>>(), ["the newest checkpoint"]);
    assert_eq!(beside.keys.unwrap().upto(), 2);
}

#[test]
fn a_checkpoint_of_another_state_is_found() {
    let dir = house();
    let mut beside = gather(dir.path()).unwrap();
    beside.points.iter_mut().for_each(|point| point.state_hash = [7; 32]);
    let options = Options { beside, ..Options::default() };
    let error = verify(&RealDisk::open_existing(dir.path()).unwrap(), &options, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, VerifyError::Differs { op: 2, what, .. } if what.contains("checkpoint")), "{error}");
}

#[test]
fn every_field_of_a_manifest_is_held_against_the_book_and_named() {
    let dir = house();
    // The book says it all.
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let hash = "7".repeat(64);
    for name in ["first", "second"] {
        let path = dir.path().join(format!("snapshots/{name}.json"));
        let text = fs::read(&path).unwrap();
        let sound: Value = serde_json::from_slice(&text).unwrap();
        let others = json!({
            "version": 3, "name": "third", "book_id": "7".repeat(32), "incarnation": 1, "op": 7, "book_time_us": 7,
            "head_hash": hash, "state_hash": hash, "members": 7,
            "trial_balance": [{ "program": "shop", "members": 0, "rows": [] }],
            "bytes": 7, "blake3": hash, "sha256": hash, "retain_until_us": 7,
            "previous": { "name": "zero", "op": 0, "blake3": hash },
        });
        assert_eq!(others.as_object().unwrap().len(), sound.as_object().unwrap().len(), "every field has its turn");
        for (field, other) in others.as_object().unwrap() {
            let mut manifest = sound.clone();
            *manifest.get_mut(field).unwrap() = other.clone();
            fs::write(&path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
            let fault = fault(dir.path());
            assert!(fault.contains(name) && fault.contains(field.as_str()), "{field}: {fault}");
        }
        // A state of the version before is not held against the book: it takes a file of that version to say so.
        let mut before = sound.clone();
        before["version"] = 1.into();
        before["state_hash"] = hash.clone().into();
        fs::write(&path, serde_json::to_vec_pretty(&before).unwrap()).unwrap();
        let fault_before = fault(dir.path());
        assert!(fault_before.contains(name) && fault_before.contains("version"), "{fault_before}");
        fs::write(&path, b"{").unwrap();
        let fault = fault(dir.path());
        assert!(fault.contains(&format!("{name}.json is damaged")), "{fault}");
        fs::write(&path, text).unwrap();
    }
    prove(dir.path()).unwrap();
}

#[test]
fn a_deleted_snapshot_keeps_its_manifest_and_one_that_lost_it_is_found() {
    let dir = house_of(vec![take("first"), take("second"), delete("first"), take("third"), delete("third")]);
    let shown = prove(dir.path()).unwrap();
    let states: Vec<_> = shown.snapshots.iter().map(|shot| (shot.name.as_str(), shot.deleted, shot.present)).collect();
    assert_eq!(states, [("first", true, false), ("second", false, true), ("third", true, false)]);
    assert!(shown.notes.is_empty(), "{:?}", shown.notes);
    let shelf = dir.path().join("snapshots");
    for (name, named) in [("first", "second.json"), ("third", "third")] {
        let path = shelf.join(format!("{name}.json"));
        let text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let fault = fault(dir.path());
        assert!(fault.contains(named), "{fault}");
        fs::write(&path, text).unwrap();
    }
    fs::write(shelf.join("first.snapshot"), b"left").unwrap();
    let note = note(dir.path());
    assert!(note.contains("first") && note.contains("its file is still there"), "{note}");
}

#[test]
fn a_snapshot_without_its_file_is_damage_only_while_it_is_to_be_kept_and_no_start_mends_it() {
    let until = Some(4_000_000_000_000_000);
    let kept = AdminAction::CreateSnapshot { name: "kept".to_owned(), retain_until_us: until };
    let dir = house_of(vec![take("first"), kept, take("last")]);
    let shelf = dir.path().join("snapshots");
    let without = |file: &str, look: &dyn Fn() -> String| {
        let bytes = fs::read(shelf.join(file)).unwrap();
        fs::remove_file(shelf.join(file)).unwrap();
        let said = look();
        fs::write(shelf.join(file), bytes).unwrap();
        said
    };
    let (fault, note) = (|| fault(dir.path()), || note(dir.path()));
    let said = without("first.snapshot", &note);
    assert!(said.contains("first") && !said.contains("next start"), "{said}");
    let said = without("kept.snapshot", &fault);
    assert!(said.contains("kept") && said.contains("its file is not"), "{said}");
    // The checkpoint is that of the last one: a start comes by it.
    for file in ["last.snapshot", "last.json"] {
        let said = without(file, &note);
        assert!(said.contains("last") && said.contains("the next start writes it"), "{said}");
    }
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let said = without("kept.snapshot", &note);
    assert!(said.contains("kept") && said.contains("the next start writes it"), "{said}");
    let dir =
        house_of(vec![AdminAction::CreateSnapshot { name: "kept".to_owned(), retain_until_us: until }, take("last")]);
    for file in ["kept.json", "kept.snapshot", "last.json", "last.snapshot"] {
        fs::remove_file(dir.path().join("snapshots").join(file)).unwrap();
    }
    let said = crate::fault(dir.path());
    assert!(said.contains("kept") && said.contains("it has no manifest"), "{said}");
}

#[test]
fn a_file_of_no_snapshot_is_noted_and_a_snapshot_of_a_future_that_is_gone_is_found() {
    let dir = house();
    let shelf = dir.path().join("snapshots");
    fs::write(shelf.join("stray.json"), b"{").unwrap();
    assert!(note(dir.path()).contains("\"stray\""));
    fs::remove_file(shelf.join("stray.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&fs::read(shelf.join("second.json")).unwrap()).unwrap();
    *manifest.get_mut("name").unwrap() = json!("future");
    *manifest.get_mut("op").unwrap() = json!(99);
    fs::write(shelf.join("future.json"), manifest.to_string()).unwrap();
    let fault = fault(dir.path());
    assert!(fault.contains("future") && fault.contains("op 99"), "{fault}");
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
    let fault = fault(dir.path());
    assert!(fault.contains("second.snapshot"), "{fault}");
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
    assert_eq!(names(&prove(dir.path()).unwrap()), ["first", "second"]);
    assert!(gather(dir.path()).unwrap().points.is_empty());
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
