//! `stampbook serve` as a process: what it prints, how it ends, and with which code.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn serve(data: &Path, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_stampbook"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The line that says where it listens.
fn address(server: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim().strip_prefix("listening on ").expect("the address").to_owned()
}

/// The exit code, and what it said on standard error.
fn ended(mut server: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (server.wait().unwrap().code(), said)
}

fn tell(server: &Child, signal: &str) {
    let told = Command::new("kill").arg(signal).arg(server.id().to_string()).status().unwrap();
    assert!(told.success());
}

#[test]
fn it_prints_its_address_and_ends_with_0_on_either_signal() {
    for signal in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = serve(dir.path(), &[]);
        let address = address(&mut server);
        assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{address}");
        let begun = Instant::now();
        tell(&server, signal);
        let (code, said) = ended(server);
        assert_eq!(code, Some(0), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn it_ends_with_0_in_time_when_told_so_before_the_book_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let (book, settings) = (dir.path().join("book"), dir.path().join("settings.toml"));
    // The greatest segment that may be had: it takes seconds to make.
    std::fs::write(&settings, "segment_bytes = 4294967296\n").unwrap();
    let mut server = serve(&book, &["--config", settings.to_str().unwrap()]);
    while !book.join("segment-00000000.0000.new").exists() {
        assert!(server.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    let begun = Instant::now();
    tell(&server, "-TERM");
    while server.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = begun.elapsed();
    // Whatever came of it, it is not to go on filling the disk.
    server.kill().unwrap();
    let (code, said) = ended(server);
    assert_eq!(code, Some(0), "after {took:?}: {said}");
    assert!(said.contains("before the book was open"), "{said}");
}

#[test]
fn a_second_one_on_the_directory_ends_with_4_and_leaves_the_first_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = serve(dir.path(), &[]);
    address(&mut first);
    let (code, said) = ended(serve(dir.path(), &[]));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    assert!(first.try_wait().unwrap().is_none());
    tell(&first, "-TERM");
    assert_eq!(ended(first).0, Some(0));
}

#[test]
fn settings_that_make_no_sense_end_it_with_2_and_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.toml");
    std::fs::write(&file, "members_max = 5\nmembers_least = 5\n").unwrap();
    let (code, said) = ended(serve(&dir.path().join("book"), &["--config", file.to_str().unwrap()]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("settings.toml") && said.contains("line 2"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_had_ends_it_with_4() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, said) = ended(serve(&file.join("book"), &[]));
    assert_eq!(code, Some(4), "{said}");
}
