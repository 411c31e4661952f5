//! Restores of the golden book: to its end, to every op and every time, and out of backups that are hurt.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use crate::audit::files::hex;
use crate::io::Disk;
use crate::io::sim::{Crash, SimDisk};
use crate::journal::{self, Head, Journal, JournalError, JournalOptions, Parent, Visit, genesis_of, scan};
use crate::ledger::ids::Op;
use crate::ledger::print::Prints;
use crate::ledger::{Ledger, Limits, Moment, codec};
use crate::verify;

use super::manifest::segment_of;
use super::tests::stopped;
use super::*;

const NEW_ID: [u8; 16] = [0x99; 16];

fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// The golden book: frames of several events, over several segments.
fn golden() -> SimDisk {
    let disk = SimDisk::new(1);
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1/book");
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        disk.put(entry.file_name().to_str().unwrap(), &std::fs::read(entry.path()).unwrap());
    }
    disk
}

fn backup_of(book: &SimDisk) -> (SimDisk, BackupManifest) {
    let out = SimDisk::new(2);
    let manifest = stopped(book, &out).unwrap();
    (out, manifest)
}

/// An event with its op, its time and whether it ends its frame.
#[derive(Debug, Clone, PartialEq)]
struct Stored {
    op: u64,
    book_time_us: i64,
    bytes: Vec<u8>,
    last_in_frame: bool,
}

/// All events of a book, and the heads after its frames.
fn read(disk: &SimDisk) -> (Vec<Stored>, Vec<Head>) {
    let (mut events, mut heads) = (Vec::new(), Vec::new());
    let mut visit = |visit: Visit<'_>| {
        let Visit { op, book_time_us, event, last_in_frame } = visit;
        events.push(Stored { op, book_time_us, bytes: event.to_vec(), last_in_frame });
        Ok(())
    };
    scan(disk, &mut visit, &mut |head| heads.push(head)).unwrap();
    (events, heads)
}

/// The state hash of a replay that stops behind each of the events.
fn states(disk: &SimDisk, events: &[Stored]) -> Vec<[u8; 32]> {
    let prints = Prints::new(genesis_of(disk).unwrap().unwrap().secret);
    let mut ledger =
        Ledger::new(Limits { members_max: u32::MAX, cap_counters_max: usize::MAX, lots_bytes_max: usize::MAX });
    let mut after = |stored: &Stored| {
        let at = Moment { op: Op(stored.op), book_time_us: stored.book_time_us };
        ledger.replay(at, &codec::decode(&stored.bytes).unwrap(), &prints).unwrap();
        ledger.state_hash()
    };
    events.iter().map(&mut after).collect()
}

fn restored(from: &SimDisk, to: Option<To>) -> Result<(SimDisk, RestoreReport), BackupError> {
    let data = SimDisk::new(3);
    let report = restore(from, &data, to, NEW_ID, &mut |progress| assert!(progress.done <= progress.total.max(1)))?;
    Ok((data, report))
}

#[test]
fn a_restore_to_any_op_is_the_replay_stopped_there_under_a_new_name() {
    let book = golden();
    let (out, manifest) = backup_of(&book);
    let ((events, heads), old) = (read(&book), genesis_of(&book).unwrap().unwrap());
    let states = states(&book, &events);
    assert!(events.iter().filter(|event| !event.last_in_frame).count() > 3, "frames of several events");
    assert_eq!(manifest.op, events.last().unwrap().op);
    for (at, state) in states.iter().enumerate() {
        let op = events[at].op;
        let (data, report) = restored(&out, Some(To::Op(op))).unwrap();
        assert_eq!((report.op, report.backup_op, &report.state_hash), (op, manifest.op, state));
        let (kept, _) = read(&data);
        assert_eq!(kept[..at], events[..at]);
        assert_eq!(kept[at], Stored { last_in_frame: true, ..events[at].clone() });
        assert_eq!(kept.len(), at + 1);
        // The parent's hash is that of the frame that holds the op.
        let frame = heads.iter().find(|head| head.op >= op).unwrap();
        let parent = Parent { book_id: old.book_id, op, hash: frame.hash };
        let genesis = genesis_of(&data).unwrap().unwrap();
        assert_eq!((genesis.book_id, genesis.incarnation, genesis.parent), (NEW_ID, 1, Some(parent)));
        assert_eq!((genesis.secret, genesis.created_at_us), (old.secret, old.created_at_us));
        assert_eq!(report.genesis, genesis);
        assert_eq!(verify::verify(&data, &verify::Options::default(), &mut |_| {}).unwrap().head.hash, report.head);
    }
}

#[test]
fn a_restore_to_a_time_holds_the_frames_that_are_not_after_it() {
    let book = golden();
    let (out, _) = backup_of(&book);
    let (events, _) = read(&book);
    let states = states(&book, &events);
    for time in events.iter().filter(|event| event.last_in_frame).map(|event| event.book_time_us) {
        for asked in [time, time + 1] {
            let last = events.iter().rposition(|event| event.book_time_us <= asked).unwrap();
            let (_, report) = restored(&out, Some(To::Time(asked))).unwrap();
            assert_eq!((report.op, report.state_hash), (events[last].op, states[last]));
            assert_eq!(report.book_time_us, events[last].book_time_us);
        }
    }
    let before = events[0].book_time_us - 1;
    assert!(matches!(restored(&out, Some(To::Time(before))), Err(BackupError::NotInBackup { .. })));
    let all = restored(&out, Some(To::Time(i64::MAX))).unwrap().1;
    assert_eq!(all.op, events.last().unwrap().op);
}

#[test]
fn a_whole_restore_is_a_new_incarnation_that_goes_on_and_is_backed_up_in_its_turn() {
    let book = golden();
    let (out, manifest) = backup_of(&book);
    let (data, report) = restored(&out, None).unwrap();
    let (events, _) = read(&book);
    assert_eq!((report.op, report.state_hash), (manifest.op, *states(&book, &events).last().unwrap()));
    assert_eq!(read(&data).0, events);
    let options = JournalOptions::with_segment_bytes(manifest.segment_bytes);
    let opened = Journal::open(shared(&data), || unreachable!(), options, &mut |_| Ok(())).unwrap();
    assert_eq!(opened.recovery.case, journal::Case::CleanEnd);
    assert_eq!((opened.book.durable_op(), opened.genesis.parent.unwrap().op), (manifest.op, manifest.op));
    drop(opened);
    // The backup of the parent is not taken for one of the child.
    let error = stopped(&data, &out).unwrap_err();
    assert!(matches!(error, BackupError::OtherBackup(_)), "{error}");
    let (again, _) = backup_of(&data);
    let grandchild = SimDisk::new(8);
    let second = restore(&again, &grandchild, None, [0x55; 16], &mut |_| {}).unwrap();
    assert_eq!((second.genesis.incarnation, second.genesis.parent.unwrap().book_id), (2, NEW_ID));
    assert_eq!(second.state_hash, report.state_hash);
}

#[test]
fn a_restore_beyond_the_backup_or_into_a_directory_in_use_is_refused() {
    let (out, manifest) = backup_of(&golden());
    let beyond = restored(&out, Some(To::Op(manifest.op + 1))).err().unwrap();
    let told = format!("the backup ends at op {} and cannot be restored to op {}", manifest.op, manifest.op + 1);
    assert_eq!(beyond.to_string(), told);
    for name in ["segment-00000000.0000", "notes.txt", "cut-7"] {
        let data = SimDisk::new(3);
        data.put(name, b"mine");
        let error = restore(&out, &data, None, NEW_ID, &mut |_| {}).unwrap_err();
        assert!(matches!(&error, BackupError::NotEmpty(found) if found == name), "{error}");
        assert_eq!(data.list().unwrap(), [name]);
    }
    let data = SimDisk::new(3);
    let _held = data.try_lock().unwrap().unwrap();
    assert!(matches!(restore(&out, &data, None, NEW_ID, &mut |_| {}), Err(BackupError::InUse(_))));
    assert!(matches!(restored(&SimDisk::new(4), None), Err(BackupError::NoBackup)));
}

#[test]
fn a_damaged_backup_is_refused_with_the_name_of_the_file_and_nothing_is_written() {
    let (out, manifest) = backup_of(&golden());
    let refused = |out: &SimDisk| {
        let data = SimDisk::new(3);
        let error = restore(out, &data, None, NEW_ID, &mut |_| {}).unwrap_err();
        assert!(data.list().unwrap().is_empty());
        error
    };
    for file in &manifest.files {
        let length = usize::try_from(file.length).unwrap();
        for at in (0..length).step_by(1_013).chain([length - 1]) {
            let hurt = out.crash(Crash::Kept);
            hurt.flip(&file.name, at, 0x10);
            let error = refused(&hurt);
            assert!(matches!(&error, BackupError::Damaged { file: named, .. } if *named == file.name), "{error}");
        }
        let (cut, missing) = (out.crash(Crash::Kept), out.crash(Crash::Kept));
        cut.put(&file.name, &out.bytes_of(&file.name).unwrap()[..length - 1]);
        missing.take(&file.name);
        for hurt in [cut, missing] {
            let error = refused(&hurt);
            assert!(matches!(&error, BackupError::Damaged { file: named, .. } if *named == file.name), "{error}");
        }
    }
    let text = String::from_utf8(out.bytes_of(MANIFEST_FILE).unwrap()).unwrap();
    let change = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let hurt = out.crash(Crash::Kept);
        hurt.put(MANIFEST_FILE, text.replacen(from, to, 1).as_bytes());
        refused(&hurt)
    };
    assert!(matches!(change("\"format\": 1", "\"format\": 9"), BackupError::BadManifest(_)));
    assert!(matches!(change("{", "["), BackupError::BadManifest(_)));
    assert!(matches!(change("segment-00000000", "../../00000000"), BackupError::BadManifest(_)));
    assert!(matches!(change(&manifest.files[0].sha256, &hex(&[1; 32])), BackupError::BadManifest(_)));
}

#[test]
fn a_backup_whose_manifest_was_made_to_fit_damage_is_refused_by_its_chain() {
    let (out, mut manifest) = backup_of(&golden());
    let name = manifest.files[1].name.clone();
    out.flip(&name, 4096 + 130, 1);
    manifest.files[1] = super::receive::hashed(&out, &name, &mut |_| {}).unwrap();
    out.put(MANIFEST_FILE, manifest.to_json().unwrap().as_bytes());
    let data = SimDisk::new(3);
    let error = restore(&out, &data, None, NEW_ID, &mut |_| {}).unwrap_err();
    assert!(
        matches!(&error, BackupError::Journal(JournalError::Damaged { file, .. }) if file == segment_of(&name)),
        "{error}"
    );
    assert!(data.list().unwrap().is_empty());
}

#[test]
fn a_restore_that_was_cut_short_opens_as_no_book_and_is_begun_anew() {
    let (out, manifest) = backup_of(&golden());
    let counted = SimDisk::new(3);
    let whole = restore(&out, &counted, None, NEW_ID, &mut |_| {}).unwrap();
    let options = || JournalOptions::with_segment_bytes(manifest.segment_bytes);
    let open = |disk: &SimDisk| {
        let mut events = 0;
        let mut visit = |_: Visit<'_>| {
            events += 1;
            Ok(())
        };
        let opened = Journal::open(shared(disk), || panic!("an empty book is begun"), options(), &mut visit);
        opened.map(|opened| (opened.genesis.clone(), events))
    };
    for k in 1..=counted.operations() {
        for (fail, crash) in [false, true].into_iter().flat_map(|fail| Crash::ALL.map(|crash| (fail, crash))) {
            let data = SimDisk::new(k);
            if fail {
                data.fail_at(k)
            } else {
                data.halt_after(k)
            }
            let ended = restore(&out, &data, None, NEW_ID, &mut |_| {});
            let after = data.crash(crash);
            if after.list().unwrap().is_empty() {
                assert!(ended.is_err(), "stopped at {k}, {crash:?}");
            } else {
                match open(&after) {
                    Ok((genesis, events)) => {
                        assert_eq!((genesis, events), (whole.genesis.clone(), whole.op), "stopped at {k}, {crash:?}");
                        continue;
                    }
                    Err(error) => assert!(matches!(error, JournalError::NotRestored), "stopped at {k}: {error}"),
                }
                assert!(matches!(scan(&after, &mut |_| Ok(()), &mut |_| {}), Err(JournalError::NotRestored)));
            }
            assert_eq!(restore(&out, &after, None, NEW_ID, &mut |_| {}).unwrap(), whole, "stopped at {k}, {crash:?}");
            assert_eq!(open(&after.crash(Crash::Dropped)).unwrap().1, whole.op);
        }
    }
}
