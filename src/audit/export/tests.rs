#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::io;
use std::sync::Arc;

use super::manifest::{MANIFEST_FILE, Manifest, PartRecord};
use super::sink::{DirSink, ExportSink};
use super::source::{Scanned, SnapshotAccounts};
use super::verify::{Nowhere, verify_export};
use super::*;
use crate::audit::files::hex;
use crate::audit::fixtures::{TestBook, genesis};
use crate::audit::snapshot::SnapshotReader;
use crate::io::Disk;
use crate::io::sim::{Crash, SimDisk};

/// A book, and a snapshot of its end.
struct House {
    test: TestBook,
    reader: SnapshotReader,
}

impl House {
    fn new(events: u64) -> Self {
        let mut test = TestBook::new(events);
        let disk = test.snapshot("close");
        Self { test, reader: SnapshotReader::open(&disk, "close").unwrap() }
    }

    fn export_to(
        &self,
        request: Request,
        done: &[PartRecord],
        sink: &mut dyn ExportSink,
    ) -> Result<Manifest, ExportError> {
        let accounts = SnapshotAccounts::new(&self.reader).unwrap();
        let origin = Origin::of(&self.reader, &genesis());
        let source = Source { accounts: &accounts, events: &self.test.book, origin };
        export(&source, request, done, sink, &mut |told| assert!(told.done <= told.total, "{told:?}"))
    }

    fn export(&self, request: Request) -> SimDisk {
        let disk = SimDisk::new(3);
        let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
        self.export_to(request, &[], &mut sink).unwrap();
        disk
    }
}

pub(super) fn request(format: Format, from_op: u64) -> Request {
    Request { format, from_op, part_ops: 40 }
}

pub(super) fn verify(disk: &SimDisk, book: Option<&SimDisk>) -> Result<verify::ExportReport, ExportError> {
    verify_export(disk, book.map(|book| -> &dyn Disk { book }), &mut |_| {})
}

pub(super) fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.list().unwrap();
    names.sort();
    names.into_iter().map(|name| (name.clone(), disk.bytes_of(&name).unwrap())).collect()
}

#[test]
fn a_file_that_doubles_rows_and_that_the_manifest_does_not_name_is_found() {
    let house = House::new(200);
    for format in Format::ALL {
        let disk = house.export(request(format, 1));
        let (name, bytes) = contents(&disk).into_iter().find(|(name, _)| name.contains("-000001.")).unwrap();
        let twin = name.replace("-000001.", "-999999.");
        disk.put(&twin, &bytes);
        let error = verify(&disk, None).unwrap_err().to_string();
        assert!(error.contains(&twin), "{format:?}: {error}");
    }
}

#[test]
fn every_format_is_proved_from_its_files_and_from_the_book() {
    let house = House::new(200);
    for format in Format::ALL {
        for from_op in [1, 57] {
            let disk = house.export(request(format, from_op));
            let report = verify(&disk, None).unwrap();
            assert_eq!(report.rows.events, 200 - from_op + 1, "{format:?}");
            assert!(!report.against_book && report.rows.postings > 200);
            let report = verify(&disk, Some(&house.test.disk)).unwrap();
            assert!(report.against_book);
            for total in &report.manifest.totals {
                assert_eq!(total.postings_debit, total.postings_credit);
                assert_eq!(total.accounts_debit, total.accounts_credit);
            }
        }
    }
}

#[test]
fn a_book_read_from_its_disk_gives_the_same_bytes_as_one_that_is_open() {
    let house = House::new(120);
    for format in Format::ALL {
        let disk = SimDisk::new(3);
        let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
        let accounts = SnapshotAccounts::new(&house.reader).unwrap();
        let origin = Origin::of(&house.reader, &genesis());
        let source = Source { accounts: &accounts, events: &Scanned(&house.test.disk), origin };
        export(&source, request(format, 7), &[], &mut sink, &mut |_| {}).unwrap();
        assert_eq!(contents(&disk), contents(&house.export(request(format, 7))));
    }
}

#[test]
fn the_range_begins_in_the_book_and_ends_with_the_snapshot() {
    let house = House::new(50);
    for from_op in [0, 51] {
        let refused = house.export_to(request(Format::Csv, from_op), &[], &mut Nowhere);
        assert!(matches!(refused, Err(ExportError::Refused(text)) if text.starts_with("from_op")), "{from_op}");
    }
    house.export_to(request(Format::Csv, 50), &[], &mut Nowhere).unwrap();
}

#[test]
fn an_export_that_broke_off_goes_on_to_the_same_bytes_wherever_it_was_stopped() {
    let house = House::new(100);
    for format in [Format::Csv, Format::Hledger] {
        let whole = contents(&house.export(request(format, 9)));
        let mut went_on = 0;
        for halt in 1.. {
            let disk = SimDisk::new(halt);
            disk.halt_after(halt);
            let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
            let done = house.export_to(request(format, 9), &[], &mut sink).is_ok();
            let after = disk.crash(Crash::ALL[usize::try_from(halt).unwrap() % 3]);
            let mut sink = DirSink::open(Arc::new(after.clone())).unwrap();
            if sink.manifest().is_none() {
                went_on += sink.finished().len();
                house.export_to(request(format, 9), &sink.finished(), &mut sink).unwrap();
            }
            assert_eq!(contents(&after), whole, "{format:?} stopped after {halt}");
            if done {
                break;
            }
        }
        assert!(went_on > 10, "{went_on}");
    }
}

#[test]
fn a_sink_that_has_files_takes_the_rest_from_a_sender_that_makes_all_of_them_again() {
    let house = House::new(100);
    let disk = SimDisk::new(1);
    let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
    let mut broken = Breaking { sink: &mut sink, left: 6 };
    house.export_to(request(Format::Jsonl, 1), &[], &mut broken).unwrap_err();
    drop(sink);
    let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
    assert!(!sink.complete().is_empty());
    house.export_to(request(Format::Jsonl, 1), &[], &mut sink).unwrap();
    assert_eq!(contents(&disk), contents(&house.export(request(Format::Jsonl, 1))));
}

struct Breaking<'a> {
    sink: &'a mut DirSink,
    left: u32,
}

impl ExportSink for Breaking<'_> {
    fn chunk(&mut self, file: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        self.sink.chunk(file, offset, bytes)
    }
}

#[test]
fn an_export_is_not_mixed_with_another_or_with_strange_files() {
    let house = House::new(60);
    let disk = SimDisk::new(1);
    let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
    house.export_to(request(Format::Csv, 1), &[], &mut Breaking { sink: &mut sink, left: 6 }).unwrap_err();
    drop(sink);
    let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
    let done = sink.finished();
    assert!(matches!(house.export_to(request(Format::Csv, 2), &done, &mut sink), Err(ExportError::Another)));
    for stray in ["diary.txt", "events-2026.csv", "events.csv", "000001.csv", "notes.part.json"] {
        let disk = SimDisk::new(1);
        disk.put(stray, b"dear");
        let refused = DirSink::open(Arc::new(disk));
        assert!(matches!(refused, Err(ExportError::Stray(name)) if name == stray), "{stray}");
    }
    let mut sink = DirSink::open(Arc::new(SimDisk::new(1))).unwrap();
    for name in ["../evil.csv", ".hidden", "a/b", ""] {
        assert!(sink.chunk(name, 0, b"x").is_err(), "{name:?}");
    }
    assert!(sink.chunk("events-000001.csv", 3, b"x").is_err(), "a piece is missing");
}

#[test]
fn nothing_of_an_export_that_broke_off_is_left_beside_another_that_takes_its_place() {
    let house = House::new(60);
    let whole = contents(&house.export(request(Format::Jsonl, 1)));
    for left in 0..6 {
        let disk = SimDisk::new(1);
        let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
        house.export_to(request(Format::Csv, 1), &[], &mut Breaking { sink: &mut sink, left }).unwrap_err();
        drop(sink);
        let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
        // With a part that is whole, it is refused, see above.
        if sink.finished().is_empty() {
            house.export_to(request(Format::Jsonl, 1), &[], &mut sink).unwrap();
            assert_eq!(contents(&disk), whole, "{left}");
        }
    }
}

#[test]
fn an_export_that_lost_a_file_is_not_told_as_whole_and_is_made_again_without_its_manifest() {
    let house = House::new(60);
    let disk = house.export(request(Format::Csv, 1));
    let whole = contents(&disk);
    for (name, bytes) in whole.iter().filter(|(name, _)| name != MANIFEST_FILE) {
        for cut in [None, Some(&bytes[1..])] {
            match cut {
                Some(cut) => disk.put(name, cut),
                None => disk.take(name),
            }
            let refused = DirSink::open(Arc::new(disk.clone())).err().unwrap();
            assert!(matches!(&refused, ExportError::Damaged { file, .. } if file == name), "{refused}");
            let found = verify(&disk, None).unwrap_err();
            assert!(matches!(&found, ExportError::Damaged { file, .. } if file == name), "{found}");
            disk.put(name, bytes);
        }
    }
    disk.take("events-000001.csv");
    disk.take(MANIFEST_FILE);
    assert!(matches!(verify(&disk, None), Err(ExportError::NoExport)));
    let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
    house.export_to(request(Format::Csv, 1), &sink.finished(), &mut sink).unwrap();
    assert_eq!(contents(&disk), whole);
}

#[test]
fn a_directory_takes_one_export_at_a_time() {
    let disk = SimDisk::new(1);
    let sink = DirSink::open(Arc::new(disk.clone())).unwrap();
    assert!(matches!(DirSink::open(Arc::new(disk.clone())), Err(ExportError::InUse)));
    drop(sink);
    DirSink::open(Arc::new(disk)).unwrap();
}

/// Puts `bytes` in place of a file and makes the manifest name their length and SHA-256.
pub(super) fn fix_up(disk: &SimDisk, name: &str, bytes: &[u8]) {
    disk.put(name, bytes);
    let mut manifest: Manifest = serde_json::from_slice(&disk.bytes_of(MANIFEST_FILE).unwrap()).unwrap();
    let file = manifest.files.iter_mut().find(|file| file.name == name).unwrap();
    file.bytes = u64::try_from(bytes.len()).unwrap();
    file.sha256 = hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes));
    disk.put(MANIFEST_FILE, &serde_json::to_vec(&manifest).unwrap());
}

/// The rows of a file as they are written, with one left out, doubled, or changed.
fn tampered(format: Format, table: Table, records: &[Record], how: usize, at: usize) -> Vec<u8> {
    let mut records = records.to_vec();
    match how {
        0 => drop(records.remove(at)),
        1 => records.insert(at, records[at].clone()),
        _ => match &mut records[at] {
            Record::Account(row) => row.credit += 1,
            Record::Member(row) => row.member.push('x'),
            Record::Lot(row) => row.held += 1,
            Record::Hold(row) => row.units += 1,
            Record::Pending(row) => row.units += 1,
            Record::Event(row) => row.reference.push('x'),
            Record::Posting(row) => row.debit += 1,
        },
    }
    let mut bytes = Vec::new();
    let mut writer = format::RowWriter::begin(format, table.into(), 0, &mut bytes).unwrap();
    records.iter().for_each(|record| writer.append(record, &mut bytes).unwrap());
    writer.finish(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_row_deleted_doubled_or_altered_is_found_even_where_the_sha_256_was_made_to_fit() {
    let house = House::new(90);
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let disk = house.export(request(format, 1));
        for (name, original) in contents(&disk).into_iter().filter(|(name, _)| name != MANIFEST_FILE) {
            let table = Table::ALL.into_iter().find(|table| name.starts_with(table.name())).unwrap();
            let mut records = Vec::new();
            let file = format::FileReader::new(disk.open(&name).unwrap(), &name).unwrap();
            let mut keep = |record| {
                records.push(record);
                Ok(())
            };
            format::read(format, table.into(), file, &mut keep).unwrap();
            if records.is_empty() {
                assert!(matches!(table, Table::Holds | Table::Pending), "{name}");
                continue;
            }
            for (how, at) in (0..3).flat_map(|how| [0, records.len() / 2, records.len() - 1].map(|at| (how, at))) {
                let manifest = disk.bytes_of(MANIFEST_FILE).unwrap();
                let bytes = tampered(format, table, &records, how, at);
                disk.put(&name, &bytes);
                let error = verify(&disk, None).unwrap_err();
                assert!(error.to_string().contains("SHA-256"), "{error}");
                fix_up(&disk, &name, &bytes);
                let error = verify(&disk, None).unwrap_err();
                assert!(matches!(error, ExportError::Damaged { .. }), "{name} {how} at {at}: {error}");
                assert!(!error.to_string().contains("SHA-256"), "{error}");
                disk.put(MANIFEST_FILE, &manifest);
                disk.put(&name, &original);
            }
        }
        verify(&disk, None).unwrap();
    }
}

#[test]
fn a_line_deleted_doubled_or_altered_in_a_journal_is_found_even_where_the_sha_256_was_made_to_fit() {
    let house = House::new(60);
    let disk = house.export(request(Format::Hledger, 20));
    let mut tried = 0;
    for (name, original) in contents(&disk).into_iter().filter(|(name, _)| name != MANIFEST_FILE) {
        let text = String::from_utf8(original.clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            for how in 0..3 {
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                match how {
                    0 => drop(changed.remove(at)),
                    1 => changed.insert(at, (*line).to_owned()),
                    _ => {
                        let digit = line.rfind(|letter: char| letter.is_ascii_digit());
                        let Some(digit) = digit else { continue };
                        let other = if line[digit..].starts_with('1') { "2" } else { "1" };
                        changed[at].replace_range(digit..=digit, other);
                    }
                }
                let manifest = disk.bytes_of(MANIFEST_FILE).unwrap();
                fix_up(&disk, &name, format!("{}\n", changed.join("\n")).as_bytes());
                assert!(verify(&disk, None).is_err(), "{name} line {at}, {how}: {line}");
                disk.put(MANIFEST_FILE, &manifest);
                disk.put(&name, &original);
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
    verify(&disk, None).unwrap();
}

#[test]
fn an_export_of_another_past_is_told_from_the_books() {
    let (house, other) = (House::new(90), House::new(93));
    let disk = house.export(request(Format::Csv, 1));
    let mut manifest: Manifest = serde_json::from_slice(&disk.bytes_of(MANIFEST_FILE).unwrap()).unwrap();
    let mut fails = |change: &dyn Fn(&mut Manifest), what: &str| {
        let before = manifest.clone();
        change(&mut manifest);
        disk.put(MANIFEST_FILE, &serde_json::to_vec(&manifest).unwrap());
        verify(&disk, None).unwrap();
        let error = verify(&disk, Some(&house.test.disk)).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        manifest = before;
    };
    fails(&|manifest| manifest.export.origin.head_hash = "00".repeat(32), "head");
    fails(&|manifest| manifest.export.origin.state_hash = "00".repeat(32), "state hash");
    fails(&|manifest| manifest.export.origin.book_id = "00".repeat(16), "book");
    fails(&|manifest| manifest.export.origin.parent = None, "book");
    // The books of 93 events hold all of the 90, frame by frame.
    disk.put(MANIFEST_FILE, &serde_json::to_vec(&manifest).unwrap());
    verify(&disk, Some(&other.test.disk)).unwrap();
    let longer = other.export(request(Format::Csv, 1));
    assert!(matches!(verify(&longer, Some(&house.test.disk)), Err(ExportError::BookEnds(93))));
}

#[test]
fn the_page_on_exports_has_every_column_as_it_is() {
    let page = include_str!("../../EXPORT.md");
    for table in Table::ALL {
        let (_, rest) = page.split_once(&format!("### `{}`\n", table.name())).unwrap();
        let lines = rest.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
        let found: Vec<_> = lines.take_while(|line| line.starts_with('|')).collect();
        let line = |column: &columns::Column| {
            let of = format!("{:?}", column.of).to_lowercase();
            let optional = if column.optional { ", optional" } else { "" };
            format!("| {} | {of}{optional} | {} |", column.name, column.about.replace('<', "&lt;"))
        };
        assert_eq!(found, table.columns().iter().map(line).collect::<Vec<_>>(), "{}", table.name());
    }
}

#[test]
fn a_row_altered_with_everything_that_the_manifest_says_of_it_is_told_from_the_book() {
    let house = House::new(60);
    let disk = house.export(request(Format::Csv, 1));
    let name = "events-000001.csv";
    let mut records = Vec::new();
    let file = format::FileReader::new(disk.open(name).unwrap(), name).unwrap();
    let mut keep = |record| {
        records.push(record);
        Ok(())
    };
    format::read(Format::Csv, Content::Events, file, &mut keep).unwrap();
    let bytes = tampered(Format::Csv, Table::Events, &records, 2, 20);
    fix_up(&disk, name, &bytes);
    let mut digest = blake3::Hasher::new();
    let file = format::FileReader::new(disk.open(name).unwrap(), name).unwrap();
    let mut add = |record: Record| {
        record.digest(&mut digest);
        Ok(())
    };
    format::read(Format::Csv, Content::Events, file, &mut add).unwrap();
    let mut manifest: Manifest = serde_json::from_slice(&disk.bytes_of(MANIFEST_FILE).unwrap()).unwrap();
    let file = manifest.files.iter_mut().find(|file| file.name == name).unwrap();
    file.rows_blake3 = hex(digest.finalize().as_bytes());
    disk.put(MANIFEST_FILE, &serde_json::to_vec(&manifest).unwrap());
    verify(&disk, None).unwrap();
    let error = verify(&disk, Some(&house.test.disk)).unwrap_err().to_string();
    assert!(error.starts_with(name) && error.contains("the book"), "{error}");
}
