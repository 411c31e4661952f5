#![allow(clippy::unwrap_used)]

use super::*;
use crate::io::sim::{Crash, SimDisk};

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
    let mut writer = SnapshotWriter::create(disk_of(disk), name)?;
    writer.base(b"the base image")?;
    for number in (0..5).rev() {
        writer.page(1, number, &page(number))?;
        writer.page(0, number, &page(number + 100))?;
    }
    writer.finish(input(op))
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
    write(&disk, &"a".repeat(64), 1).unwrap();
    assert!(matches!(write(&disk, &"a".repeat(64), 2), Err(SnapshotError::Exists(_))));
    assert!(matches!(SnapshotReader::open(&disk, "b"), Err(SnapshotError::Missing(_))));
}

#[test]
fn what_is_no_snapshot_is_not_finished() {
    let disk = SimDisk::new(1);
    let writer = SnapshotWriter::create(disk_of(&disk), "a").unwrap();
    assert!(matches!(writer.finish(input(1)), Err(SnapshotError::Refused { .. })));
    let mut writer = SnapshotWriter::create(disk_of(&disk), "a").unwrap();
    writer.base(b"").unwrap();
    writer.page(0, 1, b"x").unwrap();
    writer.page(0, 1, b"y").unwrap();
    assert!(matches!(writer.page(255, 1, b"y"), Err(SnapshotError::Refused { .. })));
    assert!(matches!(writer.finish(input(1)), Err(SnapshotError::Refused { .. })));
    assert!(list(&disk).unwrap().is_empty());
}

#[test]
fn manifests_chain_and_a_changed_or_missing_one_is_named() {
    let disk = SimDisk::new(1);
    for (name, op) in [("a", 3), ("b", 5), ("c", 9)] {
        write(&disk, name, op).unwrap();
    }
    remove(&disk, "b").unwrap();
    let chain = verify_chain(&disk).unwrap();
    assert_eq!(chain.iter().map(|listed| listed.present).collect::<Vec<_>>(), [true, false, true]);
    assert!(matches!(SnapshotReader::open(&disk, "b"), Err(SnapshotError::Missing(_))));
    assert_eq!(chain[2].manifest.previous.as_ref().map(|previous| previous.name.as_str()), Some("b"));

    let text = String::from_utf8(disk.bytes_of("b.json").unwrap()).unwrap();
    disk.put("b.json", text.replace("\"members\": 5", "\"members\": 6").as_bytes());
    assert!(verify_chain(&disk).unwrap_err().to_string().starts_with("c.json is damaged"));
    disk.take("b.json");
    assert!(verify_chain(&disk).unwrap_err().to_string().starts_with("c.json is damaged"));
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
            let chain = verify_chain(&after).unwrap();
            for listed in &chain {
                SnapshotReader::open(&after, &listed.manifest.name).unwrap().verify().unwrap();
            }
            assert!(done.is_err() || chain.len() == 2);
            if chain.len() == 1 {
                write(&after, "b", 5).unwrap();
            }
            assert_eq!(verify_chain(&after).unwrap().len(), 2);
        }
        if done.is_ok() {
            break;
        }
    }
}
