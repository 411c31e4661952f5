//! Exports of what members own lot by lot.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::columns::MemberRow;
use super::manifest::{MANIFEST_FILE, Manifest};
use super::part::count;
use super::sink::DirSink;
use super::tests::{contents, request, verify};
use super::*;
use crate::audit::files::hex;
use crate::audit::paper::{LATE_MIN, PaperBook, SOON_MIN};
use crate::audit::scene::UNTIL_US;
use crate::io::Disk;
use crate::io::sim::SimDisk;

/// Every format that has tables.
const TABULAR: [Format; 3] = [Format::Jsonl, Format::Csv, Format::Parquet];

fn export_of(paper: &PaperBook, format: Format) -> SimDisk {
    let disk = SimDisk::new(3);
    let mut sink = DirSink::open(Arc::new(disk.clone())).unwrap();
    let source = Source { accounts: paper, events: &paper.book, origin: paper.origin() };
    export(&source, request(format, 1), &[], &mut sink, &mut |_| {}).unwrap();
    disk
}

fn records(disk: &SimDisk, format: Format, table: Table) -> Vec<Record> {
    let name = Content::from(table).file_name(1, format);
    let file = format::FileReader::new(disk.open(&name).unwrap(), &name).unwrap();
    let mut records = Vec::new();
    let mut keep = |record| {
        records.push(record);
        Ok(())
    };
    format::read(format, table.into(), file, &mut keep).unwrap();
    records
}

/// Writes a table's only file again with other rows, and makes all that the manifest says of files and rows fit.
fn rewrite(disk: &SimDisk, format: Format, table: Table, records: &[Record]) {
    let name = Content::from(table).file_name(1, format);
    let (mut bytes, mut digest) = (Vec::new(), blake3::Hasher::new());
    let mut writer = format::RowWriter::begin(format, table.into(), 0, &mut bytes).unwrap();
    let mut counts = Counts::default();
    for record in records {
        record.digest(&mut digest);
        counts.add(&count(record));
        writer.append(record, &mut bytes).unwrap();
    }
    writer.finish(&mut bytes).unwrap();
    disk.put(&name, &bytes);
    let mut manifest: Manifest = serde_json::from_slice(&disk.bytes_of(MANIFEST_FILE).unwrap()).unwrap();
    let file = manifest.files.iter_mut().find(|file| file.name == name).unwrap();
    file.bytes = u64::try_from(bytes.len()).unwrap();
    file.sha256 = hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    file.rows_blake3 = hex(digest.finalize().as_bytes());
    file.rows = counts.of(table);
    manifest.tables.iter_mut().find(|entry| entry.table == table).unwrap().rows = counts.of(table);
    disk.put(MANIFEST_FILE, &serde_json::to_vec(&manifest).unwrap());
}

fn minute(minutes: u32) -> Option<columns::Instant> {
    Some(columns::Instant(i64::from(minutes) * 60_000_000))
}

#[test]
fn every_format_has_the_lots_the_holds_and_what_is_pending_at_the_op_and_a_journal_has_none() {
    let paper = PaperBook::pinned();
    for format in TABULAR {
        let disk = export_of(&paper, format);
        let report = verify(&disk, None).unwrap();
        assert_eq!((report.rows.holds, report.rows.pending), (2, 3), "{format:?}");
        let rows = |table| records(&disk, format, table);
        let mut lots = Vec::new();
        for record in rows(Table::Lots) {
            let Record::Lot(row) = record else { panic!("{record:?}") };
            let program = if row.member == "cid" { "cafe" } else { "shop" };
            assert_eq!(row.program, program);
            lots.push((row.member, row.asset, row.source, row.lapses_at, row.until, row.units, row.held));
        }
        let of = |member: &str, asset: &str, source: &str, lapses, until, units, held| {
            (member.to_owned(), asset.to_owned(), source.to_owned(), lapses, until, units, held)
        };
        let bob = "bob|, \"b\"";
        let expected = [
            of("ann", "points", "base", minute(LATE_MIN), None, 46, 5),
            of("ann", "points", "campaign", minute(SOON_MIN), None, 50, 10),
            of("ann", "growth", "base", None, None, 15, 0),
            of("ann", "growth", "campaign", None, None, 15, 0),
            of("ann", "wallet", "base", None, None, 0, 0),
            of("ann", "wallet", "bonus", None, None, 100, 0),
            of("ann", "points", "transferred", None, None, 4, 0),
            of("ann", "coupon", "transferred", None, None, 3, 0),
            of(bob, "points", "base", None, minute(LATE_MIN), 6, 0),
            of(bob, "points", "base", minute(LATE_MIN), None, 20, 0),
            of(bob, "growth", "base", None, None, 5, 0),
            of(bob, "coupon", "base", None, None, 2, 0),
            of("cid", "points", "transferred", None, None, 15, 0),
        ];
        let sorted = |mut lots: Vec<_>| {
            lots.sort();
            lots
        };
        assert_eq!(sorted(lots), sorted(expected.to_vec()), "{format:?}");
        let pinned: Vec<_> = rows(Table::Holds)
            .into_iter()
            .map(|record| {
                let Record::Hold(row) = record else { panic!("{record:?}") };
                assert_eq!((row.member.as_str(), row.purpose.as_str(), row.until.0), ("ann", "gift", UNTIL_US));
                (row.op, row.lot_source, row.lot_lapses_at, row.units)
            })
            .collect();
        let held = |source: &str, lapses, units| (39, source.to_owned(), minute(lapses), units);
        assert_eq!(pinned, [held("campaign", SOON_MIN, 10), held("base", LATE_MIN, 5)]);
        let waiting: Vec<_> = rows(Table::Pending)
            .into_iter()
            .map(|record| {
                let Record::Pending(row) = record else { panic!("{record:?}") };
                (row.op, row.asset, row.matures_at.map(|at| at.0), row.lot_lapses_at, row.units)
            })
            .collect();
        let part = |op, asset: &str, matures, units| (op, asset.to_owned(), matures, minute(LATE_MIN), units);
        let expected = [
            part(40, "points", Some(UNTIL_US), 40),
            part(40, "growth", Some(UNTIL_US), 4),
            part(41, "growth", None, 9),
        ];
        assert_eq!(waiting, expected);
    }
    let report = verify(&export_of(&paper, Format::Hledger), None).unwrap();
    assert_eq!((report.rows.lots, report.rows.holds, report.rows.pending), (0, 0, 0));
}

/// What is done to the rows of a table.
type ChangeRows = fn(&mut Vec<Record>);

/// What is done to the row of a table at a place.
type Change = fn(&mut Record);

#[test]
fn lots_that_do_not_come_to_the_accounts_are_found_though_everything_that_the_manifest_says_fits() {
    let paper = PaperBook::pinned();
    let grow: Change = |record| match record {
        Record::Lot(row) => (row.units, row.entered) = (row.units + 1, row.entered + 1),
        Record::Hold(row) => row.units += 1,
        Record::Pending(row) => row.units += 1,
        _ => panic!("{record:?}"),
    };
    let pin: Change = |record| match record {
        Record::Lot(row) => row.held += 1,
        Record::Hold(row) => row.lot_rolling = 1,
        Record::Pending(row) => row.member.push('x'),
        _ => panic!("{record:?}"),
    };
    let ill: Change = |record| match record {
        Record::Lot(row) => row.left += 1,
        Record::Hold(row) => row.asset = "growth".to_owned(),
        Record::Pending(row) => row.asset = "wallet".to_owned(),
        _ => panic!("{record:?}"),
    };
    for format in TABULAR {
        let disk = export_of(&paper, format);
        let whole = contents(&disk);
        for (table, change) in [Table::Lots, Table::Holds, Table::Pending]
            .into_iter()
            .flat_map(|table| [grow, pin, ill].map(|change| (table, change)))
        {
            let rows = records(&disk, format, table);
            for place in 0..rows.len() {
                let mut changed = rows.clone();
                change(&mut changed[place]);
                rewrite(&disk, format, table, &changed);
                let error = verify(&disk, None).unwrap_err().to_string();
                let told = error.contains("stands at") || error.contains("a lot of");
                assert!(told, "{format:?} {table:?} {place}: {error}");
            }
            let name = Content::from(table).file_name(1, format);
            rewrite(&disk, format, table, &rows);
            let before = whole.iter().find(|(known, _)| *known == name).unwrap();
            assert_eq!(disk.bytes_of(&name).as_ref(), Some(&before.1));
            verify(&disk, None).unwrap();
        }
    }
}

#[test]
fn units_moved_from_one_member_to_another_or_from_lot_to_lot_of_a_hold_are_found_though_all_sums_stay() {
    let paper = PaperBook::pinned();
    let disk = export_of(&paper, Format::Csv);
    let lots = records(&disk, Format::Csv, Table::Lots);
    let mut swapped = lots.clone();
    let of = |name: &'static str| move |record: &Record| matches!(record, Record::Lot(row) if row.member.starts_with(name) && row.asset == "growth");
    let (ann, bob) = (lots.iter().position(of("ann")).unwrap(), lots.iter().position(of("bob")).unwrap());
    for (place, units) in [(ann, -1), (bob, 1_i64)] {
        let Record::Lot(row) = &mut swapped[place] else { panic!("no lot") };
        row.units = row.units.checked_add_signed(units).unwrap();
        row.entered = row.entered.checked_add_signed(units).unwrap();
    }
    rewrite(&disk, Format::Csv, Table::Lots, &swapped);
    let error = verify(&disk, None).unwrap_err().to_string();
    assert!(error.contains("member/available of shop in growth") && error.contains("member by member"), "{error}");
    rewrite(&disk, Format::Csv, Table::Lots, &lots);
    let mut holds = records(&disk, Format::Csv, Table::Holds);
    for (place, units) in [(0, -1), (1, 1_i64)] {
        let Record::Hold(row) = &mut holds[place] else { panic!("no hold") };
        row.units = row.units.checked_add_signed(units).unwrap();
    }
    rewrite(&disk, Format::Csv, Table::Holds, &holds);
    let error = verify(&disk, None).unwrap_err().to_string();
    assert!(error.contains("by the lots and 15 by the holds"), "{error}");
}

#[test]
fn pieces_that_holds_reserve_are_held_against_their_accounts_once_a_hold() {
    let paper = PaperBook::pinned();
    let disk = export_of(&paper, Format::Csv);
    let mut holds = records(&disk, Format::Csv, Table::Holds);
    for record in &mut holds {
        let Record::Hold(row) = record else { panic!("no hold") };
        (row.reward, row.pieces) = ("mug".to_owned(), Some(3));
    }
    assert_eq!(holds.len(), 2);
    rewrite(&disk, Format::Csv, Table::Holds, &holds);
    let error = verify(&disk, None).unwrap_err().to_string();
    let told = "reward/mug/reserved of shop in pieces stands at 0 by the accounts and 3 by the holds";
    assert!(error.contains(told), "{error}");
}

#[test]
fn rows_of_one_hold_that_reserve_other_pieces_are_refused_in_every_format() {
    let paper = PaperBook::pinned();
    for format in TABULAR {
        let disk = export_of(&paper, format);
        let holds = records(&disk, format, Table::Holds);
        for said in [("mug", None), ("", Some(3)), ("mug", Some(3))] {
            let mut changed = holds.clone();
            let Record::Hold(row) = &mut changed[1] else { panic!("no hold") };
            (row.reward, row.pieces) = (said.0.to_owned(), said.1);
            rewrite(&disk, format, Table::Holds, &changed);
            let error = verify(&disk, None).unwrap_err().to_string();
            assert!(error.contains("the hold at op 39 differ in the pieces"), "{format:?} {said:?}: {error}");
        }
    }
}

fn first(rows: &mut [Record]) -> &mut MemberRow {
    let Record::Member(row) = &mut rows[0] else { panic!("no member") };
    row
}

#[test]
fn members_that_are_not_those_who_have_accounts_or_went_into_others_are_found_in_every_format() {
    let paper = PaperBook::pinned();
    let changes: [(ChangeRows, &str); 8] = [
        (|rows| drop(rows.remove(0)), "not those who have accounts"),
        (|rows| rows.insert(1, rows[0].clone()), "not those who have accounts"),
        (|rows| first(rows).member.push('x'), "not those who have accounts"),
        (|rows| first(rows).program = "cafe".to_owned(), "not those who have accounts"),
        (|rows| first(rows).merged_into = "cid".to_owned(), "who went into others"),
        (|rows| first(rows).standing = "gone".to_owned(), "the standing"),
        (|rows| first(rows).joined_on = "2026-01-31T00:00".to_owned(), "no date"),
        (|rows| first(rows).tags = "[\"b\",\"a\"]".to_owned(), "the tags"),
    ];
    for format in TABULAR {
        let disk = export_of(&paper, format);
        let members = records(&disk, format, Table::Members);
        assert_eq!(members.len(), 3);
        for (place, (change, told)) in changes.iter().enumerate() {
            let mut changed = members.clone();
            change(&mut changed);
            rewrite(&disk, format, Table::Members, &changed);
            let error = verify(&disk, None).unwrap_err().to_string();
            assert!(error.contains(told), "{format:?} {place}: {error}");
        }
    }
}

#[test]
fn accounts_that_do_not_come_to_the_trial_balance_are_found_in_every_format() {
    let paper = PaperBook::pinned();
    for format in Format::ALL {
        let disk = export_of(&paper, format);
        let manifest: Manifest = serde_json::from_slice(&disk.bytes_of(MANIFEST_FILE).unwrap()).unwrap();
        let stated: BTreeMap<_, _> =
            manifest.trial_balance.iter().map(|trial| (trial.program.clone(), trial.clone())).collect();
        let trials = paper.trials.last().unwrap().iter();
        assert_eq!(stated, trials.map(|trial| (trial.program.clone(), trial.clone())).collect());
        for place in 0..manifest.trial_balance[0].rows.len() {
            let mut other = manifest.clone();
            other.trial_balance[0].rows[place].balance += 1;
            let name = other.trial_balance[0].rows[place].account.clone();
            disk.put(MANIFEST_FILE, &serde_json::to_vec(&other).unwrap());
            let error = verify(&disk, None).unwrap_err().to_string();
            assert!(error.contains(&name) && error.contains("its trial balance says"), "{format:?}: {error}");
        }
    }
}
