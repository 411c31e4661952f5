//! Backups of books that grow, that stopped, that are hurt; and what becomes of them when the machine stops at any point.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::io::sim::{Crash, SimDisk};
use crate::io::{Disk, RealDisk};
use crate::journal::fixtures::{event, frame, genesis, open};
use crate::journal::{Extent, Genesis, Journal, JournalError, Opened, scan};

use super::manifest::segment_of;
use super::receive::hashed;
use super::view::View;
use super::*;

/// A book that grows.
struct Growing {
    disk: SimDisk,
    opened: Opened,
    op: u64,
}

impl Growing {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let (opened, _) = open(&disk).unwrap();
        Self { disk, opened, op: 0 }
    }

    fn grow(&mut self, counts: &[u64]) {
        for count in counts {
            self.opened.writer.append(frame(self.op + 1, *count)).unwrap();
            self.op += count;
        }
    }
}

fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// Backs up and returns the manifest with the number of bytes that were copied.
fn live(book: &Growing, out: &SimDisk) -> Result<(BackupManifest, u64), BackupError> {
    let mut copied = 0;
    let receiver = Receiver::open(shared(out), &mut |progress| assert!(progress.done <= progress.total))?;
    let manifest = copy(Extent::durable(&book.opened.book)?, receiver, &mut |progress| {
        if progress.stage == Stage::Copy {
            assert!(progress.done <= progress.total);
            copied = progress.done;
        }
    })?;
    Ok((manifest, copied))
}

pub(super) fn stopped(book: &SimDisk, out: &SimDisk) -> Result<BackupManifest, BackupError> {
    backup_stopped(shared(book), Receiver::open(shared(out), &mut |_| {})?, &mut |_| {})
}

/// The events of a whole backup, each file held to the manifest.
fn events_of(out: &SimDisk) -> Vec<Vec<u8>> {
    let manifest = BackupManifest::read(out).unwrap().unwrap();
    for file in &manifest.files {
        assert_eq!(hashed(out, &file.name, &mut |_| {}).unwrap(), *file);
    }
    let names = manifest.files.iter().map(|file| (segment_of(&file.name).to_owned(), file.name.clone()));
    let mut events = Vec::new();
    let mut visit = |visit: crate::journal::Visit<'_>| {
        events.push(visit.event.to_vec());
        Ok(())
    };
    let report = scan(&View::new(out, names), &mut visit, &mut |_| {}).unwrap();
    assert_eq!((report.head.op, report.recovery.torn_bytes), (manifest.op, 0));
    assert_eq!(crate::audit::files::hex(&report.head.hash), manifest.head);
    events
}

fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap().into_iter().filter(|name| name != "LOCK");
    names.map(|name| (name.clone(), disk.bytes_of(&name).unwrap())).collect()
}

fn first_events(count: u64) -> Vec<Vec<u8>> {
    (1..=count).map(event).collect()
}

#[test]
fn a_backup_holds_what_was_durable_and_the_next_copies_only_what_is_new() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1, 60, 1, 3]);
    let (first, copied) = live(&book, &out).unwrap();
    assert_eq!((first.op, first.previous_op, first.files.len()), (128, 0, 3));
    assert_eq!(copied, first.files.iter().map(|file| file.length).sum::<u64>());
    assert_eq!(events_of(&out), first_events(128));
    let (same, copied) = live(&book, &out).unwrap();
    assert_eq!((same.op, same.previous_op, copied), (128, 128, 0));
    let before = files(&out);
    book.grow(&[40, 60, 2, 60, 9]);
    book.opened.writer.witness().unwrap();
    let (next, copied) = live(&book, &out).unwrap();
    assert_eq!((next.op, next.previous_op), (299, 128));
    let sealed = |manifest: &BackupManifest| manifest.files[..2].to_vec();
    assert_eq!(sealed(&next), sealed(&first));
    assert_eq!(copied, next.files[2..].iter().map(|file| file.length).sum::<u64>());
    assert_eq!(events_of(&out), first_events(299));
    // What only the backup before needed is gone, and the sealed files are the ones that were there.
    let after = files(&out);
    // And the manifest, and the mark of the directory.
    assert_eq!(after.len(), next.files.len() + 2);
    for name in ["segment-00000000.0000", "segment-00000001.0000"] {
        assert_eq!(before[name], after[name]);
    }
}

#[test]
fn a_backup_of_a_stopped_book_goes_on_from_one_of_the_running_book_and_back() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2]);
    live(&book, &out).unwrap();
    book.grow(&[60, 3]);
    book.opened.writer.witness().unwrap();
    let Growing { disk, opened, op } = book;
    drop(opened);
    let stopped = stopped(&disk, &out).unwrap();
    assert_eq!((stopped.op, stopped.previous_op), (126, 63));
    assert_eq!(events_of(&out), first_events(op));
    // The start moves the tail to a new file; the sealed segments stay.
    let (opened, _) = open(&disk).unwrap();
    let mut book = Growing { disk, opened, op };
    let (again, _) = live(&book, &out).unwrap();
    assert_eq!((again.op, again.end.clone()), (126, stopped.end));
    book.grow(&[2]);
    live(&book, &out).unwrap();
    assert_eq!(events_of(&out), first_events(128));
}

#[test]
fn what_a_backup_may_not_hold_is_left_out() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    assert!(matches!(live(&book, &out), Err(BackupError::Journal(JournalError::NotFound(_)))));
    book.grow(&[5]);
    // A frame that was written and not synced when the backup began.
    let extent = Extent::durable(&book.opened.book).unwrap();
    book.grow(&[2]);
    let receiver = Receiver::open(shared(&out), &mut |_| {}).unwrap();
    copy(extent, receiver, &mut |_| {}).unwrap();
    assert_eq!(events_of(&out), first_events(5));
    let no_book = stopped(&SimDisk::new(3), &SimDisk::new(4));
    assert!(matches!(no_book, Err(BackupError::Journal(JournalError::NoBook))));
}

#[test]
fn another_book_and_another_past_are_refused_and_the_backup_stays() {
    let out = SimDisk::new(2);
    let mut book = Growing::new();
    book.grow(&[1, 60, 2, 1]);
    let early = book.disk.crash(Crash::Kept);
    book.grow(&[60, 2]);
    live(&book, &out).unwrap();
    let before = files(&out);
    let intact = |out: &SimDisk| assert_eq!(files(out), before);
    // A copy of the directory from before, which lacks the end.
    let error = stopped(&early, &out).unwrap_err();
    assert!(matches!(error, BackupError::Journal(JournalError::EndsBefore { known_op: 126, book_op: 64 })), "{error}");
    intact(&out);
    // The same, gone on in another way and further.
    let (mut opened, _) = open(&early).unwrap();
    for op in 65..200 {
        opened.writer.append(frame(op, 1)).unwrap();
    }
    let other = Growing { disk: early.clone(), opened, op: 199 };
    let error = live(&other, &out).unwrap_err();
    assert!(
        matches!(error, BackupError::Journal(JournalError::NotOnBook { op: 126, .. }) | BackupError::OtherBackup(_)),
        "{error}"
    );
    intact(&out);
    drop(other);
    assert!(stopped(&early, &out).is_err());
    intact(&out);
    let disk = SimDisk::new(5);
    let begin = || Genesis { book_id: [0x77; 16], ..genesis() };
    let options = crate::journal::fixtures::options();
    let mut opened = Journal::open(shared(&disk), begin, options, &mut |_| Ok(())).unwrap();
    opened.writer.append(frame(1, 200)).unwrap_err();
    drop(opened);
    let mut opened = Journal::open(shared(&disk), begin, crate::journal::fixtures::options(), &mut |_| Ok(())).unwrap();
    for op in 1..200 {
        opened.writer.append(frame(op, 1)).unwrap();
    }
    let stranger = Growing { disk, opened, op: 199 };
    assert!(live(&stranger, &out).is_err());
    intact(&out);
    drop(stranger.opened);
    let error = stopped(&stranger.disk, &out).unwrap_err();
    assert!(matches!(error, BackupError::OtherBackup(_)), "{error}");
    intact(&out);
}

#[test]
fn a_damaged_segment_is_named_and_is_not_kept_for_the_backup_after_it_was_mended() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1]);
    live(&book, &out).unwrap();
    book.grow(&[60, 2, 60, 2, 60]);
    let before = files(&out);
    let tail = before.keys().find(|name| name.contains(".op-")).unwrap().clone();
    let hurt = "segment-00000002.0000";
    assert!(segment_of(&tail) < hurt);
    book.disk.flip(hurt, 4096 + 125, 1);
    let error = live(&book, &out).unwrap_err();
    let BackupError::Journal(JournalError::Damaged { file, .. }) = &error else { panic!("{error}") };
    assert_eq!(file, hurt);
    assert_eq!(files(&out), before);
    book.disk.flip(hurt, 4096 + 125, 1);
    live(&book, &out).unwrap();
    assert_eq!(events_of(&out), first_events(book.op));
}

#[test]
fn a_backup_that_lost_a_file_or_a_byte_of_it_says_so_and_gets_it_again() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1, 60, 2, 60, 2]);
    let (manifest, _) = live(&book, &out).unwrap();
    let [first, second, third, ..] = &manifest.files[..] else { panic!() };
    out.take(&first.name);
    let cut = out.bytes_of(&second.name).unwrap()[..5000].to_vec();
    out.put(&second.name, &cut);
    out.flip(&third.name, 9_000, 0x40);
    let receiver = Receiver::open(shared(&out), &mut |_| {}).unwrap();
    assert_eq!(receiver.hurt(), [&first.name, &second.name, &third.name].map(Clone::clone));
    drop(receiver);
    let (again, copied) = live(&book, &out).unwrap();
    assert_eq!(again.files, manifest.files);
    assert_eq!(copied, first.length + second.length + third.length);
    assert_eq!(events_of(&out), first_events(book.op));
    assert!(Receiver::open(shared(&out), &mut |_| {}).unwrap().hurt().is_empty());
}

#[test]
fn a_file_that_comes_again_other_than_it_was_is_refused() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1, 60, 2]);
    let (manifest, _) = live(&book, &out).unwrap();
    let lost = &manifest.files[0].name;
    out.take(lost);
    let before = files(&out);
    book.disk.flip(lost, 9_000, 1);
    let error = live(&book, &out).unwrap_err();
    assert!(matches!(&error, BackupError::Disagrees(file) if file == lost), "{error}");
    assert_eq!(files(&out), before);
    book.disk.flip(lost, 9_000, 1);
    live(&book, &out).unwrap();
    assert_eq!(events_of(&out), first_events(book.op));
}

#[test]
fn a_manifest_with_another_byte_is_not_believed_and_without_it_the_files_are_proved() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1, 60, 2]);
    let (manifest, _) = live(&book, &out).unwrap();
    let text = out.bytes_of(MANIFEST_FILE).unwrap();
    for at in 0..text.len() {
        for bit in [1, 0x10] {
            let hurt = SimDisk::new(3);
            hurt.put(MANIFEST_FILE, &text);
            hurt.flip(MANIFEST_FILE, at, bit);
            match BackupManifest::read(&hurt) {
                Err(BackupError::BadManifest(_)) => {}
                // White space may be other white space.
                read => assert_eq!(read.unwrap().unwrap(), manifest, "byte {at}"),
            }
        }
    }
    out.flip(MANIFEST_FILE, text.len() / 2, 1);
    let before = files(&out);
    let error = live(&book, &out).unwrap_err().to_string();
    assert!(error.contains(MANIFEST_FILE) && error.contains("without it"), "{error}");
    assert_eq!(files(&out), before);
    out.take(MANIFEST_FILE);
    let hurt = "segment-00000001.0000";
    out.flip(hurt, 9_000, 1);
    let error = live(&book, &out).unwrap_err();
    assert!(matches!(&error, BackupError::Journal(JournalError::Damaged { file, .. }) if file == hurt), "{error}");
    assert_eq!(live(&book, &out).unwrap().0.files, manifest.files);
    assert_eq!(events_of(&out), first_events(book.op));
}

#[test]
fn a_directory_of_something_else_is_left_alone_and_an_empty_one_stays_empty_if_nothing_comes() {
    let mut book = Growing::new();
    book.grow(&[1, 60, 2]);
    for (name, content) in [("notes.txt", "mine"), (MANIFEST_FILE, "{\"format\": 1}"), ("segment-00000000.0000", "")] {
        let out = SimDisk::new(2);
        out.put(name, content.as_bytes());
        let error = live(&book, &out).unwrap_err();
        assert!(matches!(&error, BackupError::Occupied(found) if found == name), "{error}");
        assert_eq!((out.list().unwrap(), out.operations()), (vec![name.to_owned()], 0));
    }
    let empty = SimDisk::new(2);
    assert!(live(&Growing::new(), &empty).is_err());
    assert_eq!(empty.list().unwrap(), [""; 0]);
}

#[test]
fn a_transfer_that_broke_off_goes_on_with_what_came_whole() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1, 60, 2, 60, 2]);
    let whole = Chunks::new(Extent::durable(&book.opened.book).unwrap(), &[], 0).unwrap();
    let pieces = whole.map(Result::unwrap).count();
    for broken_off in 1..pieces {
        let out = out.crash(Crash::Kept);
        let mut receiver = Receiver::open(shared(&out), &mut |_| {}).unwrap();
        for piece in Chunks::new(Extent::durable(&book.opened.book).unwrap(), &[], 0).unwrap().take(broken_off) {
            let Piece::Bytes { file, offset, bytes } = piece.unwrap() else { panic!() };
            receiver.take(&file, offset, &bytes).unwrap();
        }
        receiver.resume().unwrap();
        assert_eq!(receiver.held().len(), broken_off - 1);
        copy(Extent::durable(&book.opened.book).unwrap(), receiver, &mut |_| {}).unwrap();
        assert_eq!(events_of(&out), first_events(book.op));
    }
}

#[test]
fn pieces_that_do_not_follow_are_refused_and_leave_no_trace() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1, 60, 2]);
    let extent = || Extent::durable(&book.opened.book).unwrap();
    let pieces: Vec<Piece> = Chunks::new(extent(), &[], 0).unwrap().map(Result::unwrap).collect();
    let Some(Piece::Manifest(manifest)) = pieces.last() else { panic!() };
    let transfer = |change: &dyn Fn(usize, &mut Piece) -> bool| {
        let out = SimDisk::new(3);
        let mut receiver = Receiver::open(shared(&out), &mut |_| {})?;
        let mut pieces = pieces.clone();
        for (at, piece) in pieces.iter_mut().enumerate() {
            if !change(at, piece) {
                continue;
            }
            match piece {
                Piece::Bytes { file, offset, bytes } => receiver.take(file, *offset, bytes)?,
                Piece::Manifest(manifest) => return receiver.finish(manifest.clone(), &mut |_| {}).map(|_| ()),
            }
        }
        panic!("no manifest")
    };
    transfer(&|_, _| true).unwrap();
    let changed = |piece: &mut Piece, name: &str, by: u64| {
        if let Piece::Bytes { file, offset, bytes } = piece {
            *file = if name.is_empty() { file.clone() } else { name.to_owned() };
            *offset += by;
            bytes[0] ^= u8::from(by == 0 && name.is_empty());
        }
        true
    };
    for name in ["../segment-00000000.0000", "manifest.json", "LOCK", "segment-0.0", "segment-00000000.0000.op-x"] {
        let error = transfer(&|at, piece| at != 0 || changed(piece, name, 0)).unwrap_err();
        assert!(matches!(error, BackupError::BadTransfer(_)), "{name}: {error}");
    }
    assert!(matches!(transfer(&|at, piece| at != 1 || changed(piece, "", 1)), Err(BackupError::BadTransfer(_))));
    let error = transfer(&|at, piece| at != 1 || changed(piece, "", 0)).unwrap_err();
    assert!(matches!(&error, BackupError::Damaged { file, .. } if file == &manifest.files[1].name), "{error}");
    let error = transfer(&|at, _| at != 1).unwrap_err();
    assert!(matches!(&error, BackupError::Damaged { file, .. } if file == &manifest.files[1].name), "{error}");
    let lie = |change: &dyn Fn(&mut BackupManifest)| {
        transfer(&|_, piece| {
            if let Piece::Manifest(manifest) = piece {
                change(manifest);
            }
            true
        })
    };
    assert!(matches!(lie(&|manifest| manifest.op += 1), Err(BackupError::BadManifest(_))));
    assert!(matches!(lie(&|manifest| manifest.format = 2), Err(BackupError::BadManifest(_))));
    assert!(matches!(lie(&|manifest| manifest.files.swap(0, 1)), Err(BackupError::BadManifest(_))));
    assert!(matches!(lie(&|manifest| manifest.files[0].name = "/etc/passwd".into()), Err(BackupError::BadManifest(_))));
    assert!(lie(&|manifest| drop(manifest.files.pop())).is_err());
    assert!(files(&out).is_empty());
}

#[test]
fn two_backups_do_not_share_a_directory() {
    let out = SimDisk::new(1);
    let _first = Receiver::open(shared(&out), &mut |_| {}).unwrap();
    assert!(matches!(Receiver::open(shared(&out), &mut |_| {}), Err(BackupError::InUse(_))));
}

/// One backup after another, the second with the machine stopping, or the disk failing, at each operation.
#[test]
fn wherever_a_backup_ends_the_one_before_is_whole_the_book_untouched_and_the_next_goes_on() {
    let (mut book, first_out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1]);
    live(&book, &first_out).unwrap();
    book.grow(&[60, 2, 60, 2]);
    let source = files(&book.disk);
    let counted = first_out.crash(Crash::Kept);
    live(&book, &counted).unwrap();
    let operations = counted.operations();
    assert!(operations > 15, "{operations}");
    for k in 1..=operations {
        for (fail, crash) in [false, true].into_iter().flat_map(|fail| Crash::ALL.map(|crash| (fail, crash))) {
            let out = first_out.crash(Crash::Kept);
            if fail {
                out.fail_at(k)
            } else {
                out.halt_after(k)
            }
            let ended = live(&book, &out);
            let after = out.crash(crash);
            let whole = events_of(&after);
            let done = [64, book.op].map(first_events);
            assert!(done.contains(&whole), "stopped at {k}, {crash:?}: {} events", whole.len());
            assert!(ended.is_err() || whole.len() == done[1].len(), "stopped at {k}, {crash:?}: told too early");
            live(&book, &after).unwrap();
            assert_eq!(events_of(&after), done[1]);
            assert_eq!(events_of(&after.crash(Crash::Dropped)), done[1], "stopped at {k}, {crash:?}");
            assert_eq!(files(&book.disk), source);
        }
    }
}

#[test]
fn a_backup_that_was_cut_short_goes_on_with_the_files_that_are_whole() {
    let (mut book, out) = (Growing::new(), SimDisk::new(2));
    book.grow(&[1, 60, 2, 1, 60, 2, 60, 2]);
    let mut receiver = Receiver::open(shared(&out), &mut |_| {}).unwrap();
    let chunks = Chunks::new(Extent::durable(&book.opened.book).unwrap(), &[], 0).unwrap();
    for piece in chunks.map(Result::unwrap).take(3) {
        let Piece::Bytes { file, offset, bytes } = piece else { panic!() };
        receiver.take(&file, offset, &bytes).unwrap();
    }
    drop(receiver);
    assert!(BackupManifest::read(&out).unwrap().is_none());
    let (manifest, copied) = live(&book, &out).unwrap();
    // Two were whole, the third was not.
    assert_eq!(copied, manifest.files[2..].iter().map(|file| file.length).sum::<u64>());
    assert_eq!(events_of(&out), first_events(book.op));
}

#[test]
fn on_a_real_disk_a_backup_is_the_same_as_on_a_simulated_one() {
    let mut book = Growing::new();
    book.grow(&[1, 60, 2, 1, 60, 2]);
    let (dir, sim) = (tempfile::tempdir().unwrap(), SimDisk::new(2));
    let real: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (expected, _) = live(&book, &sim).unwrap();
    let receiver = Receiver::open(real.clone(), &mut |_| {}).unwrap();
    let made = copy(Extent::durable(&book.opened.book).unwrap(), receiver, &mut |_| {}).unwrap();
    assert_eq!(made, expected);
    for file in &made.files {
        assert_eq!(std::fs::read(dir.path().join(&file.name)).unwrap(), sim.bytes_of(&file.name).unwrap());
    }
}
