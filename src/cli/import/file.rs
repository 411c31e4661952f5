//! The file of accounts to be moved in: read twice, first to be judged as a whole and then to be posted.

use std::fs::File;
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use stampbook::constants::{KEY_BYTES_MAX, MEMBER_ID_BYTES_MAX, POINTS_MAX};

use super::super::{EXIT_BAD_INPUT, EXIT_IO, Failure};

/// Rows of one file: what is remembered of each takes 64 bytes.
const ROWS_MAX: usize = 50_000_000;
/// Faults of a file that one answer names.
const FAULTS_SHOWN_MAX: usize = 32;
/// Rows between two looks at the progress bar.
const ROWS_A_TICK: usize = 4_096;
/// The columns, which may come in any order.
const COLUMNS: [&str; 3] = ["source_key", "member", "points"];

/// A row of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What the other system calls the account.
    pub source_key: String,
    /// The member's id.
    pub member: String,
    /// Points, negative for a debt; never 0.
    pub points: i64,
}

/// What the file comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Rows.
    pub rows: u64,
    /// The sum of their points.
    pub points: i64,
    /// Members, each counted once.
    pub members: u64,
    /// What all rows hash to, to tell whether the file is still the same.
    pub hash: [u8; 32],
}

/// What is wrong with a place in the file.
struct Fault {
    line: u64,
    column: &'static str,
    message: String,
}

/// The rows of an open file.
pub(super) struct Rows {
    reader: Reader<File>,
    name: String,
    /// Where in a record each of the columns is.
    places: [usize; 3],
    record: ByteRecord,
    key_bytes_max: usize,
    hasher: blake3::Hasher,
}

impl Rows {
    /// Opens a file and reads its header. `key_prefix` leaves so much less room for the keys of the file.
    pub(super) fn open(file: &Path, key_prefix: &str) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let opened = File::open(file).map_err(|error| Failure::plain(EXIT_IO, format!("{name}: {error}")))?;
        // Rows of a wrong length are named by line like any other fault.
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(opened);
        let header = reader.byte_headers().map_err(|error| unreadable(&name, &error))?.clone();
        let places = places(&header).map_err(|why| Failure::plain(EXIT_BAD_INPUT, format!("{name}: line 1: {why}")))?;
        let key_bytes_max = KEY_BYTES_MAX.saturating_sub(key_prefix.len() + 1);
        Ok(Self { reader, name, places, record: ByteRecord::new(), key_bytes_max, hasher: blake3::Hasher::new() })
    }

    /// How far into the file the rows so far reach, in bytes.
    fn position(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The next row; `None` at the end.
    fn next(&mut self) -> Result<Option<Result<Row, Fault>>, Failure> {
        let line_before = self.reader.position().line();
        if !self.reader.read_byte_record(&mut self.record).map_err(|error| unreadable(&self.name, &error))? {
            return Ok(None);
        }
        let line = self.record.position().map_or(line_before, csv::Position::line);
        Ok(Some(self.row(line)))
    }

    fn row(&self, line: u64) -> Result<Row, Fault> {
        let fault = |column, message: String| Fault { line, column, message };
        if self.record.len() != COLUMNS.len() {
            return Err(fault(
                "",
                format!("the row has {} columns and the header {}", self.record.len(), COLUMNS.len()),
            ));
        }
        let text = |which: usize| {
            let place = self.places.get(which).copied().unwrap_or_default();
            let column = COLUMNS.get(which).copied().unwrap_or_default();
            let bytes = self.record.get(place).unwrap_or_default();
            std::str::from_utf8(bytes).map_err(|_| fault(column, "is not UTF-8 text".to_owned()))
        };
        let id = |which: usize, bytes_max: usize| {
            let (value, column) = (text(which)?, COLUMNS.get(which).copied().unwrap_or_default());
            match value.len() {
                0 => Err(fault(column, "is empty".to_owned())),
                bytes if bytes > bytes_max => {
                    Err(fault(column, format!("has {bytes} bytes; at most {bytes_max} are taken")))
                }
                _ => Ok(value.to_owned()),
            }
        };
        let (source_key, member, points) = (id(0, self.key_bytes_max)?, id(1, MEMBER_ID_BYTES_MAX)?, text(2)?);
        let points = match points.parse::<i64>() {
            Ok(0) => Err("is 0: an account without points is not moved in; leave the row out".to_owned()),
            Ok(points) if (-POINTS_MAX..=POINTS_MAX).contains(&points) => Ok(points),
            Ok(_) => Err(format!("is over {POINTS_MAX} either way")),
            Err(_) => Err(format!("is {points:?}, which is no whole number")),
        };
        Ok(Row { line, source_key, member, points: points.map_err(|why| fault("points", why))? })
    }

    /// The next row of a file that was sound when it was checked.
    pub(super) fn next_sound(&mut self) -> Result<Option<Row>, Failure> {
        let Some(row) = self.next()? else { return Ok(None) };
        let row = row.map_err(|fault| faulty(&self.name, &[fault], 1))?;
        note(&mut self.hasher, &row);
        Ok(Some(row))
    }

    /// What all rows so far hash to.
    pub(super) fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

/// Reads the whole file and judges every row; the bar counts bytes.
pub(super) fn check(file: &Path, key_prefix: &str, bar: &ProgressBar) -> Result<Sums, Failure> {
    let mut rows = Rows::open(file, key_prefix)?;
    let name = rows.name.clone();
    let (mut faults, mut faults_in_all) = (Vec::new(), 0_usize);
    let (mut keys, mut members): (Vec<(u128, u64)>, Vec<u128>) = (Vec::new(), Vec::new());
    let mut points = 0_i64;
    while let Some(row) = rows.next()? {
        let row = match row {
            Ok(row) => row,
            Err(fault) => {
                faults_in_all += 1;
                if faults.len() < FAULTS_SHOWN_MAX {
                    faults.push(fault);
                }
                continue;
            }
        };
        if keys.len() == ROWS_MAX {
            return Err(Failure::plain(EXIT_BAD_INPUT, format!("{name}: more than {ROWS_MAX} rows: split the file")));
        }
        if keys.len() % ROWS_A_TICK == 0 {
            bar.set_position(rows.position());
        }
        note(&mut rows.hasher, &row);
        keys.push((print(&row.source_key), row.line));
        members.push(print(&row.member));
        // Fifty million rows of the greatest points are still far from the end of the numbers.
        points = points.saturating_add(row.points);
    }
    keys.sort_unstable();
    for pair in keys.windows(2) {
        if let [(a, first), (b, line)] = pair
            && a == b
        {
            faults_in_all += 1;
            if faults.len() < FAULTS_SHOWN_MAX {
                faults.push(Fault {
                    line: *line,
                    column: "source_key",
                    message: format!("is that of line {first} too"),
                });
            }
        }
    }
    if faults_in_all > 0 {
        return Err(faulty(&name, &faults, faults_in_all));
    }
    members.sort_unstable();
    members.dedup();
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    Ok(Sums { rows: count(keys.len()), points, members: count(members.len()), hash: rows.hash() })
}

/// Where the columns are in the header.
fn places(header: &ByteRecord) -> Result<[usize; 3], String> {
    for (place, column) in header.iter().enumerate() {
        let shown = String::from_utf8_lossy(column);
        if !COLUMNS.iter().any(|known| known.as_bytes() == column) {
            return Err(format!("column {}: {shown:?} is no column of an import: {}", place + 1, COLUMNS.join(",")));
        }
        if header.iter().take(place).any(|before| before == column) {
            return Err(format!("column {}: {shown:?} is there twice", place + 1));
        }
    }
    let find = |column: &str| {
        let place = header.iter().position(|name| name == column.as_bytes());
        place.ok_or_else(|| format!("the column {column:?} is missing"))
    };
    let [source_key, member, points] = COLUMNS;
    Ok([find(source_key)?, find(member)?, find(points)?])
}

/// 128 bits of BLAKE3: two texts that are alike in them are the same, for all practical purposes.
fn print(text: &str) -> u128 {
    let mut print = [0; 16];
    for (to, from) in print.iter_mut().zip(blake3::hash(text.as_bytes()).as_bytes()) {
        *to = *from;
    }
    u128::from_le_bytes(print)
}

fn note(hasher: &mut blake3::Hasher, row: &Row) {
    for text in [&row.source_key, &row.member] {
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes()).update(text.as_bytes());
    }
    hasher.update(&row.points.to_le_bytes());
}

fn unreadable(name: &str, error: &csv::Error) -> Failure {
    let code = if error.is_io_error() { EXIT_IO } else { EXIT_BAD_INPUT };
    Failure::plain(code, format!("{name}: {error}"))
}

/// Every fault by line and column.
fn faulty(name: &str, faults: &[Fault], in_all: usize) -> Failure {
    let line = |fault: &Fault| match fault.column {
        "" => format!("{name}:{}: {}\n", fault.line, fault.message),
        column => format!("{name}:{}: {column} {}\n", fault.line, fault.message),
    };
    let mut text: String = faults.iter().map(line).collect();
    if in_all > faults.len() {
        text.push_str(&format!("and {} more\n", in_all - faults.len()));
    }
    text.push_str("nothing was posted");
    let one = |f: &Fault| json!({ "line": f.line, "column": f.column, "message": f.message });
    let shown: Vec<Value> = faults.iter().map(one).collect();
    Failure {
        code: EXIT_BAD_INPUT,
        json: json!({ "error": "the file is not sound", "faults": shown, "faults_in_all": in_all }),
        text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::Write;

    fn checked(text: &[u8]) -> Result<Sums, Failure> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        check(file.path(), "old", &ProgressBar::hidden())
    }

    /// The faults as line, column and the beginning of the message.
    fn faults(text: &[u8]) -> Vec<(u64, String)> {
        let failure = checked(text).err().unwrap();
        assert_eq!(failure.code, EXIT_BAD_INPUT, "{}", failure.text);
        let faults = failure.json.get("faults").unwrap().as_array().unwrap().clone();
        let one = |f: &Value| (f["line"].as_u64().unwrap(), f["column"].as_str().unwrap().to_owned());
        faults.iter().map(one).collect()
    }

    #[test]
    fn a_sound_file_comes_to_its_sums_whatever_the_order_of_its_columns() {
        let sums = checked(b"source_key,member,points\na,ann,5\nb,ben,-2\nc,ann,7\n").unwrap();
        assert_eq!((sums.rows, sums.points, sums.members), (3, 10, 2));
        let turned = checked(b"points,source_key,member\n5,a,ann\n-2,b,ben\n7,c,ann\n").unwrap();
        assert_eq!(turned, sums);
        assert_ne!(checked(b"source_key,member,points\na,ann,5\nb,ben,-3\nc,ann,8\n").unwrap().hash, sums.hash);
        let empty = checked(b"source_key,member,points\n").unwrap();
        assert_eq!((empty.rows, empty.points), (0, 0));
    }

    #[test]
    fn every_bad_row_is_named_by_line_and_column() {
        let long = format!("k{}", "x".repeat(KEY_BYTES_MAX - 4));
        let text = format!(
            "source_key,member,points\na,ann,5\n,ann,5\nb,,5\nc,ann,five\nd,ann,0\ne,ann,1.5\n\
             f,ann,1000000000001\ng,ann\nh,ann,1,2\n{long},ann,1\n\"i\nj\",ann,\nk,ann,1\n"
        );
        let named = faults(text.as_bytes());
        let expected = [
            (3, "source_key"),
            (4, "member"),
            (5, "points"),
            (6, "points"),
            (7, "points"),
            (8, "points"),
            (9, ""),
            (10, ""),
            (11, "source_key"),
            (12, "points"),
        ];
        assert_eq!(named, expected.map(|(line, column)| (line, column.to_owned())));
        assert_eq!(faults(b"source_key,member,points\na,\xff,5\n"), [(2, "member".to_owned())]);
    }

    #[test]
    fn a_key_that_occurs_twice_is_named() {
        let named = faults(b"source_key,member,points\na,ann,5\nb,ben,1\na,ann,5\n");
        assert_eq!(named, [(4, "source_key".to_owned())]);
    }

    #[test]
    fn columns_that_are_missing_unknown_or_doubled_are_refused_by_name() {
        for (header, name) in [
            ("source_key,member\n", "points"),
            ("source_key,member,points,tier\n", "tier"),
            ("source_key,member,points,points\n", "points"),
            ("", "source_key"),
        ] {
            let failure = checked(header.as_bytes()).err().unwrap();
            assert!(failure.code == EXIT_BAD_INPUT && failure.text.contains(name), "{header:?}: {}", failure.text);
        }
    }

    #[test]
    fn no_more_faults_are_shown_than_a_person_reads() {
        let text: String = std::iter::once("source_key,member,points\n".to_owned())
            .chain((0..100).map(|n| format!("k{n},ann,0\n")))
            .collect();
        let failure = checked(text.as_bytes()).err().unwrap();
        assert!(failure.text.contains("and 68 more"), "{}", failure.text);
    }
}
