//! `stampbook backup` and `stampbook restore` as an operator uses them, on the golden book.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use stampbook::io::{Disk, RealDisk};
use tempfile::TempDir;

fn stampbook(arguments: &[&str], dirs: &[(&str, &Path)]) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_stampbook"));
    process.args(arguments);
    for (flag, dir) in dirs {
        process.arg(flag).arg(dir);
    }
    process.output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a failure says under `--json`, and its code.
fn refused(output: &Output) -> (i32, String) {
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), said["error"].as_str().unwrap().to_owned())
}

/// The golden book in a directory of its own.
fn golden() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1/book");
    for entry in std::fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn verified(data: &Path) -> Value {
    json(&stampbook(&["verify", "--json"], &[("--data", data)]))
}

fn restore(from: &Path, data: &Path, more: &[&str]) -> Output {
    stampbook(&[&["restore", "--json"], more].concat(), &[("--from", from), ("--data", data)])
}

#[test]
fn a_book_is_backed_up_restored_and_verified_from_the_command_line() {
    let (book, home) = (golden(), tempfile::tempdir().unwrap());
    let (out, data) = (home.path().join("backup"), home.path().join("restored"));
    let before = verified(book.path());
    let backup = |out: &Path| stampbook(&["backup", "--json"], &[("--data", book.path()), ("--out", out)]);
    let first = json(&backup(&out));
    assert_eq!((&first["book_id"], &first["op"]), (&before["book_id"], &before["op"]));
    let again = json(&backup(&out));
    assert_eq!((&again["previous_op"], &again["files"]), (&first["op"], &first["files"]));
    let report = json(&restore(&out, &data, &[]));
    let after = verified(&data);
    for field in ["state_hash", "trial_balance", "op", "events", "members"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!((&report["state_hash"], &report["head"]), (&after["state_hash"], &after["head"]));
    assert_eq!((&report["book_id"], &report["incarnation"]), (&after["book_id"], &Value::from(1)));
    assert_eq!(report["parent"]["book_id"], before["book_id"]);
    assert_ne!(after["book_id"], before["book_id"]);
    // A second restore does not go where a book is.
    let (code, error) = refused(&restore(&out, &data, &[]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("not empty") && error.contains("segment-00000000.0000"), "{error}");
}

#[test]
fn a_restore_to_an_op_or_a_time_says_what_it_kept() {
    let (book, home) = (golden(), tempfile::tempdir().unwrap());
    let out = home.path().join("backup");
    json(&stampbook(&["backup", "--json"], &[("--data", book.path()), ("--out", &out)]));
    let at_op = json(&restore(&out, &home.path().join("op"), &["--to-op", "7"]));
    assert_eq!((&at_op["op"], &at_op["parent"]["op"]), (&Value::from(7), &Value::from(7)));
    assert_eq!(verified(&home.path().join("op"))["events"], 7);
    let time = jiff::Timestamp::from_microsecond(at_op["book_time_us"].as_i64().unwrap()).unwrap().to_string();
    let at_time = json(&restore(&out, &home.path().join("time"), &["--to-time", &time]));
    assert!(at_time["op"].as_u64().unwrap() >= 7);
    assert_eq!(at_time["book_time_us"], at_op["book_time_us"]);
    let (code, error) = refused(&restore(&out, &home.path().join("far"), &["--to-op", "1000000"]));
    assert_eq!(code, 2);
    assert!(error.contains("op 1000000"), "{error}");
    for bad in [&["--to-op", "0"][..], &["--to-op", "7", "--to-time", &time], &["--to-time", "yesterday"]] {
        assert_eq!(restore(&out, &home.path().join("bad"), bad).status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_told_with_its_code() {
    let (book, home) = (golden(), tempfile::tempdir().unwrap());
    let out = home.path().join("backup");
    let backup = |data: &Path| stampbook(&["backup", "--json"], &[("--data", data), ("--out", &out)]);
    {
        let disk = RealDisk::open(book.path()).unwrap();
        let _held = disk.try_lock().unwrap().unwrap();
        let (code, error) = refused(&backup(book.path()));
        assert!(code == 4 && error.contains("--target"), "{error}");
    }
    assert_eq!(refused(&backup(&home.path().join("none"))).0, 4);
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(refused(&backup(&empty)).0, 2);
    assert_eq!(refused(&restore(&empty, &home.path().join("a"), &[])).0, 2);
    json(&backup(book.path()));
    let segment = out.join("segment-00000000.0000");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[9_000] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let data = home.path().join("b");
    let (code, error) = refused(&restore(&out, &data, &[]));
    assert!(code == 3 && error.contains("segment-00000000.0000"), "{error}");
    assert!(!data.exists());
    std::fs::create_dir_all(data.join("store")).unwrap();
    let (code, error) = refused(&restore(&out, &data, &[]));
    assert!(code == 2 && error.contains("store"), "{error}");
}

#[test]
fn a_rotten_backup_is_named_by_its_file_and_the_next_run_mends_it_or_says_what_to_do() {
    let (book, home) = (golden(), tempfile::tempdir().unwrap());
    let (out, data) = (home.path().join("backup"), home.path().join("none/restored"));
    let backup = || stampbook(&["backup", "--json"], &[("--data", book.path()), ("--out", &out)]);
    json(&backup());
    // The second one says that there was one before.
    json(&backup());
    let sound = files(&out);
    for (name, bytes) in sound.iter().filter(|(name, _)| name.starts_with("segment")) {
        let mut hurt = bytes.clone();
        hurt[bytes.len() / 2] ^= 1;
        for hurt in [&hurt[..], &bytes[..bytes.len() - 1]] {
            std::fs::write(out.join(name), hurt).unwrap();
            let (code, error) = refused(&restore(&out, &data, &[]));
            assert!(code == 3 && error.contains(name) && !home.path().join("none").exists(), "{error}");
            assert_eq!(json(&backup())["mended"], serde_json::json!([name]));
            assert!(files(&out) == sound, "{name}");
        }
    }
    let manifest = String::from_utf8(std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
    std::fs::write(out.join("manifest.json"), manifest.replacen("\"incarnation\": 0", "\"incarnation\": 1", 1))
        .unwrap();
    for output in [backup(), restore(&out, &data, &[])] {
        let (code, error) = refused(&output);
        assert!(code == 3 && error.contains("manifest.json"), "{error}");
    }
    std::fs::remove_file(out.join("manifest.json")).unwrap();
    json(&backup());
    json(&restore(&out, &data, &[]));
}

#[test]
fn what_was_refused_leaves_no_directory_behind_that_was_not_there() {
    let (book, home) = (golden(), tempfile::tempdir().unwrap());
    let (out, empty) = (home.path().join("backup"), home.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let from = |data: &Path, out: &Path| stampbook(&["backup", "--json"], &[("--data", data), ("--out", out)]);
    json(&from(book.path(), &out));
    let new = home.path().join("a/b/c");
    let into = |new: &Path| {
        let unheard = stampbook(&["backup", "--json", "--target", "127.0.0.1:1"], &[("--out", new)]);
        [unheard, from(&empty, new), restore(&out, new, &["--to-op", "1000000"]), restore(&empty, new, &[])]
    };
    for output in into(&new) {
        assert!(refused(&output).0 != 0 && !home.path().join("a").exists());
    }
    let bare = home.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    for output in into(&bare) {
        assert!(refused(&output).0 != 0 && bare.read_dir().unwrap().next().is_none());
    }
    std::fs::write(bare.join("notes.txt"), "mine").unwrap();
    for output in [from(book.path(), &bare), restore(&out, &bare, &[])] {
        let (code, error) = refused(&output);
        assert!(code == 2 && error.contains("notes.txt"), "{error}");
        assert_eq!(files(&bare), [("notes.txt".to_owned(), b"mine".to_vec())]);
    }
}

#[test]
fn a_server_started_on_a_restore_that_did_not_end_leaves_it_to_the_restore() {
    let (book, home) = (golden(), tempfile::tempdir().unwrap());
    let (out, data) = (home.path().join("backup"), home.path().join("restored"));
    json(&stampbook(&["backup", "--json"], &[("--data", book.path()), ("--out", &out)]));
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("RESTORING"), "").unwrap();
    std::fs::copy(out.join("segment-00000000.0000"), data.join("segment-00000000.0000")).unwrap();
    let served = stampbook(&["serve", "--listen", "127.0.0.1:0"], &[("--data", &data)]);
    let said = String::from_utf8(served.stderr).unwrap();
    assert!(!served.status.success() && said.contains("run the restore again"), "{said}");
    json(&restore(&out, &data, &[]));
    assert_eq!(verified(&data)["state_hash"], verified(book.path())["state_hash"]);
}

/// The files of a directory with their bytes.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_backup_into_the_directory_of_a_book_is_refused_and_leaves_the_book_as_it_was() {
    let (book, other) = (golden(), golden());
    let before = files(book.path());
    for out in [book.path(), other.path()] {
        let output = stampbook(&["backup", "--json"], &[("--data", book.path()), ("--out", out)]);
        let (code, error) = refused(&output);
        assert!(code == 2 && error.contains("segment-00000000.0000, and no backup"), "{code}: {error}");
        assert_eq!(files(out), before);
    }
}
