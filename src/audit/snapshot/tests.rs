#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::io::sim::{Crash, SimDisk};
use crate::ledger::view::SnapshotView;

/// The snapshots of a book.
const BOOK: [(&str, u64); 3] = [("a", 3), ("b", 5), ("c", 9)];

fn taken(book: &[(&str, u64)]) -> Vec<SnapshotView> {
    let view = |&(name, op): &(&str, u64)| SnapshotView {
        name: name.to_owned(),
        op: Op(op),
        book_time_us: 0,
        retain_until_us: None,
        deleted: None,
    };
    book.iter().map(view).collect()
}

fn input(op: u64) -> ManifestInput {
    ManifestInput {
        book_id: [1; 16],
        incarnation: 2,
        op,
        book_time_us: 1_700_000_000_000_000,
        head_hash: [3; 32],
        state_hash: [4; 32],
        members: 5,
        trial_balance: Vec::new(),
        retain_until_us: Some(9),
        taken: taken(&BOOK.iter().copied().filter(|(_, taken)| *taken <= op).collect::<Vec<_>>()),
    }
}

fn disk_of(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn page(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(20 + usize::try_from(number).unwrap())
}

/// Pages written in another order than they are read in.
fn write(disk: &SimDisk, name: &str, op: u64) -> Result<Manifest, SnapshotError> {
    let mut writer = SnapshotWriter::create(disk_of(disk), name, input(op))?;
    writer.base(b"the base image")?;
    for number in (0..5).rev() {
        writer.page(1, number, &page(number))?;
        writer.page(0, number, &page(number + 100))?;
    }
    writer.finish()
}

fn names(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.sort();
    names
}

/// Every manifest of the directory, the oldest op first, each held against the one before it.
fn chain(disk: &SimDisk) -> Result<Vec<Listed>, SnapshotError> {
    let manifests = list(disk).unwrap().into_iter().filter_map(|shelved| shelved.manifest);
    let mut listed = manifests.collect::<Result<Vec<_>, _>>()?;
    listed.sort_unstable_by_key(|listed| listed.manifest.op);
    for at in 0..listed.len() {
        check_follows(&listed[at], at.checked_sub(1).map(|before| &listed[before]))?;
    }
    Ok(listed)
}

#[test]
fn a_snapshot_gives_back_every_part_and_knows_what_it_lacks() {
    let disk = SimDisk::new(1);
    let manifest = write(&disk, "close-2026.01", 7).unwrap();
    let reader = SnapshotReader::open(&disk, "close-2026.01").unwrap();
    assert_eq!(*reader.manifest(), manifest);
    assert_eq!(reader.base().unwrap(), b"the base image");
    reader.verify().unwrap();
    for number in 0..5 {
        assert_eq!(reader.page(1, number).unwrap(), Some(page(number)));
        assert_eq!(reader.page(0, number).unwrap(), Some(page(number + 100)));
    }
    assert_eq!(reader.page(0, 5).unwrap(), None);
    let ids: Vec<_> = reader.pages().map(|(kind, number, _)| (kind, number)).collect();
    assert_eq!(ids, (0..2).flat_map(|kind| (0..5).map(move |number| (kind, number))).collect::<Vec<_>>());
    let hash = reader.pages().next().unwrap().2;
    assert_eq!(hash, *blake3::hash(&page(100)).as_bytes());
    assert_eq!(manifest.bytes, u64::try_from(disk.bytes_of("close-2026.01.snapshot").unwrap().len()).unwrap());
}

#[test]
fn names_are_held_to_their_alphabet_and_a_name_is_taken_once() {
    let disk = SimDisk::new(1);
    for bad in ["", ".a", "A", "a/b", "a b", "ä", &"a".repeat(65)] {
        assert!(matches!(write(&disk, bad, 1), Err(SnapshotError::Name(_))), "{bad}");
        assert!(matches!(remove(&disk, bad), Err(SnapshotError::Name(_))), "{bad}");
    }
    let long = "a".repeat(64);
    write(&disk, &long, 1).unwrap();
    assert!(write(&disk, &long, 2).unwrap_err().to_string().contains("its op say otherwise"));
    assert!(matches!(check_room(&disk, &long, [1; 16], 5, Vec::new()), Err(SnapshotError::Stray(_))));
    assert!(matches!(SnapshotReader::open(&disk, "b"), Err(SnapshotError::Missing(_))));
}

#[test]
fn what_is_no_snapshot_is_not_finished() {
    let disk = SimDisk::new(1);
    let writer = SnapshotWriter::create(disk_of(&disk), "a", input(1)).unwrap();
    assert!(matches!(writer.finish(), Err(SnapshotError::Refused { .. })));
    let mut writer = SnapshotWriter::create(disk_of(&disk), "a", input(1)).unwrap();
    writer.base(b"").unwrap();
    writer.page(0, 1, b"x").unwrap();
    writer.page(0, 1, b"y").unwrap();
    assert!(matches!(writer.page(255, 1, b"y"), Err(SnapshotError::Refused { .. })));
    assert!(matches!(writer.finish(), Err(SnapshotError::Refused { .. })));
    assert!(list(&disk).unwrap().is_empty());
}

#[test]
fn manifests_chain_and_a_changed_or_missing_one_is_named() {
    let disk = SimDisk::new(1);
    for (name, op) in BOOK {
        write(&disk, name, op).unwrap();
    }
    remove(&disk, "b").unwrap();
    let found = chain(&disk).unwrap();
    assert_eq!(found.iter().map(|listed| listed.present).collect::<Vec<_>>(), [true, false, true]);
    assert!(matches!(SnapshotReader::open(&disk, "b"), Err(SnapshotError::Missing(_))));
    assert_eq!(found[2].manifest.previous.as_ref().map(|previous| previous.name.as_str()), Some("b"));

    let text = String::from_utf8(disk.bytes_of("b.json").unwrap()).unwrap();
    disk.put("b.json", text.replace("\"members\": 5", "\"members\": 6").as_bytes());
    assert!(chain(&disk).unwrap_err().to_string().starts_with("c.json is damaged"));
    disk.take("b.json");
    assert!(chain(&disk).unwrap_err().to_string().starts_with("c.json is damaged"));
}

#[test]
fn a_snapshot_without_a_manifest_is_given_none_once_a_later_one_has_one() {
    let disk = SimDisk::new(1);
    write(&disk, "a", 3).unwrap();
    // b was never written, and c follows on from a.
    write(&disk, "c", 9).unwrap();
    let before = names(&disk);
    let error = write(&disk, "b", 5).unwrap_err();
    assert!(matches!(&error, SnapshotError::Late { later, .. } if later == "c"), "{error}");
    assert_eq!(names(&disk), before);
    assert_eq!(chain(&disk).unwrap().len(), 2);
    // Not of this book, and no reason to leave anything out.
    let disk = SimDisk::new(1);
    let mut other =
        SnapshotWriter::create(disk_of(&disk), "z", ManifestInput { book_id: [9; 16], ..input(9) }).unwrap();
    other.base(b"other").unwrap();
    other.finish().unwrap();
    assert_eq!(write(&disk, "b", 5).unwrap().previous, None);
}

#[test]
fn a_lost_file_is_made_again_if_it_is_what_its_manifest_says_and_the_manifest_stays() {
    let disk = SimDisk::new(1);
    for (name, op) in BOOK {
        write(&disk, name, op).unwrap();
    }
    let (file, manifest) = (disk.bytes_of("b.snapshot").unwrap(), disk.bytes_of("b.json").unwrap());
    for damage in [None, Some(&file[..40])] {
        disk.take("b.snapshot");
        damage.inspect(|bytes| disk.put("b.snapshot", bytes));
        write(&disk, "b", 5).unwrap();
        assert_eq!(disk.bytes_of("b.snapshot").unwrap(), file);
        assert_eq!(disk.bytes_of("b.json").unwrap(), manifest);
        chain(&disk).unwrap();
    }
    // Other pages, another state and another manifest before it are each no reason to keep the file.
    disk.take("b.snapshot");
    let others = [
        (ManifestInput { state_hash: [5; 32], ..input(5) }, "bytes, blake3, sha256"),
        (ManifestInput { members: 6, ..input(5) }, "members"),
        (ManifestInput { taken: taken(&BOOK[1..]), ..input(5) }, "previous"),
    ];
    for (input, field) in others {
        let mut writer = SnapshotWriter::create(disk_of(&disk), "b", input).unwrap();
        writer.base(b"another image").unwrap();
        let error = writer.finish().unwrap_err().to_string();
        assert!(error.starts_with("b.json is damaged") && error.contains(field), "{error}");
        assert!(names(&disk).iter().all(|name| !name.starts_with("b.snapshot")), "{:?}", names(&disk));
        assert_eq!(disk.bytes_of("b.json").unwrap(), manifest);
    }
}

#[test]
fn only_manifests_of_the_book_stand_before_a_new_one() {
    let disk = SimDisk::new(1);
    write(&disk, "a", 3).unwrap();
    disk.put("stray.json", b"{");
    disk.put("zz.json", b"not at all");
    check_room(&disk, "b", [1; 16], 4, taken(&BOOK[..1])).unwrap();
    let b = write(&disk, "b", 5).unwrap();
    assert_eq!(b.previous.map(|previous| previous.name), Some("a".to_owned()));
    // The newest one of the book itself is not passed by in silence, whatever is wrong with it.
    let text = disk.bytes_of("b.json").unwrap();
    let other = String::from_utf8(text.clone()).unwrap().replace("\"op\": 5", "\"op\": 6");
    for damage in [b"{".as_slice(), other.as_bytes()] {
        disk.put("b.json", damage);
        let before = names(&disk);
        let asked = check_room(&disk, "c", [1; 16], 8, taken(&BOOK[..2])).unwrap_err();
        for error in [asked, write(&disk, "c", 9).unwrap_err()] {
            assert!(error.to_string().starts_with("b.json is damaged"), "{error}");
        }
        assert_eq!(names(&disk), before);
    }
    disk.put("b.json", &text);
    check_room(&disk, "c", [1; 16], 8, taken(&BOOK[..2])).unwrap();
    // The new one's own manifest, and one of a future that the book does not have.
    let stray = check_room(&disk, "b", [1; 16], 8, taken(&BOOK[..1])).unwrap_err();
    assert!(stray.to_string().starts_with("b.json"), "{stray}");
    assert!(matches!(check_room(&disk, "c", [1; 16], 3, taken(&BOOK[..1])), Err(SnapshotError::Late { .. })));
}

#[test]
fn the_mark_of_a_deletion_is_left_where_a_manifest_stays_and_only_there() {
    let disk = SimDisk::new(1);
    write(&disk, "a", 3).unwrap();
    for _ in 0..2 {
        remove(&disk, "a").unwrap();
        assert_eq!(names(&disk), ["a.deleted", "a.json"]);
        assert!(was_deleted(&disk, "a"));
    }
    remove(&disk, "b").unwrap();
    assert!(!was_deleted(&disk, "b"));
    disk.put("a.json", b"{");
    assert!(!was_deleted(&disk, "a"), "the manifest is what makes up for the file");
}

#[test]
fn every_changed_byte_is_found() {
    let disk = SimDisk::new(1);
    write(&disk, "a", 3).unwrap();
    let length = disk.bytes_of("a.snapshot").unwrap().len();
    for offset in 0..length {
        disk.flip("a.snapshot", offset, 0x10);
        // What no part covers, such as nothing here, is still covered by the hash of the whole file.
        let sound = SnapshotReader::open(&disk, "a").and_then(|reader| reader.verify());
        assert!(sound.is_err(), "byte {offset}");
        let read = SnapshotReader::open(&disk, "a").and_then(|reader| {
            reader.base()?;
            reader.pages().try_for_each(|(kind, number, _)| reader.page(kind, number).map(|_| ()))
        });
        assert!(read.is_err(), "byte {offset}");
        disk.flip("a.snapshot", offset, 0x10);
    }
    let bytes = disk.bytes_of("a.snapshot").unwrap();
    for length in 0..bytes.len() {
        disk.put("a.snapshot", &bytes[..length]);
        assert!(SnapshotReader::open(&disk, "a").is_err(), "{length} bytes");
    }
}

#[test]
fn a_snapshot_is_whole_or_not_there_wherever_the_machine_stops() {
    for halt in 1.. {
        let disk = SimDisk::new(halt);
        write(&disk, "a", 3).unwrap();
        disk.halt_after(disk.operations() + halt);
        let done = write(&disk, "b", 5);
        for policy in Crash::ALL {
            let after = disk.crash(policy);
            let found = chain(&after).unwrap();
            for listed in &found {
                SnapshotReader::open(&after, &listed.manifest.name).unwrap().verify().unwrap();
            }
            assert!(done.is_err() || found.len() == 2);
            if found.len() == 1 {
                write(&after, "b", 5).unwrap();
            }
            assert_eq!(chain(&after).unwrap().len(), 2);
        }
        if done.is_ok() {
            break;
        }
    }
}

#[test]
fn the_state_hash_of_a_snapshot_is_that_of_its_parts() {
    let mut test = crate::audit::fixtures::TestBook::new(40);
    let disk = test.snapshot("a");
    SnapshotReader::open(&disk, "a").unwrap().verify_state().unwrap();
    let disk = SimDisk::new(1);
    write(&disk, "b", 3).unwrap();
    assert!(matches!(SnapshotReader::open(&disk, "b").unwrap().verify_state(), Err(SnapshotError::Damaged { .. })));
}
