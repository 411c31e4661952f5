//! The file of accounts to be moved in: read twice, first to be judged as a whole and then to be posted.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde_json::{Value, json};
use stampbook::constants::{
    ASSET_ID_BYTES_MAX, KEY_BYTES_MAX, MEMBER_ID_BYTES_MAX, OCCURRED_US_MAX, OCCURRED_US_MIN, POINTS_MAX,
};
use stampbook::ledger::spec::ASSETS_MAX;

use super::super::{EXIT_BAD_INPUT, EXIT_IO, Failure};

/// Rows of one file: what is remembered of each takes 64 bytes.
const ROWS_MAX: usize = 50_000_000;
/// Faults of a file that one answer names.
const FAULTS_SHOWN_MAX: usize = 32;
/// Rows between two looks at the progress bar.
const ROWS_A_TICK: usize = 4_096;
/// The columns, which may come in any order; of these there is every one.
const NEEDED: usize = 3;
/// The columns.
const COLUMNS: [&str; 7] = ["source_key", "member", "points", "asset", "source", "lapses_at", "occurred_at"];
/// The asset of rows that name none.
pub(super) const POINTS: &str = "points";
/// Where all that is moved in comes from.
const OPENING: &str = "opening";

/// A row of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What the other system calls the account.
    pub source_key: String,
    /// The member's id.
    pub member: String,
    /// Units of the asset, negative for a debt; never 0.
    pub points: i64,
    /// The asset's id.
    pub asset: String,
    /// When the units lapse, in microseconds since the Unix epoch; none for as the asset's policy says.
    pub lapses_at_us: Option<i64>,
    /// When they were earned, in microseconds since the Unix epoch; none for now.
    pub occurred_at_us: Option<i64>,
}

/// What the file comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Rows.
    pub rows: u64,
    /// What they sum to, by asset.
    pub units: BTreeMap<String, i64>,
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
    places: [Option<usize>; COLUMNS.len()],
    /// Columns of the header.
    width: usize,
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
        let (width, hasher) = (header.len(), blake3::Hasher::new());
        Ok(Self { reader, name, places, width, record: ByteRecord::new(), key_bytes_max, hasher })
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
        if self.record.len() != self.width {
            let message = format!("the row has {} columns and the header {}", self.record.len(), self.width);
            return Err(fault("", message));
        }
        let mut texts = [""; COLUMNS.len()];
        for ((text, place), column) in texts.iter_mut().zip(self.places).zip(COLUMNS) {
            let bytes = place.and_then(|place| self.record.get(place)).unwrap_or_default();
            *text = std::str::from_utf8(bytes).map_err(|_| fault(column, "is not UTF-8 text".to_owned()))?;
        }
        let named = |(column, message)| fault(column, message);
        let [source_key, member, points, asset, source, lapses_at, occurred_at] = texts;
        let row = Row {
            line,
            source_key: id(COLUMNS[0], source_key, self.key_bytes_max).map_err(named)?,
            member: id(COLUMNS[1], member, MEMBER_ID_BYTES_MAX).map_err(named)?,
            points: units(points).map_err(|message| fault(COLUMNS[2], message))?,
            asset: match asset {
                "" => POINTS.to_owned(),
                asset => id(COLUMNS[3], asset, ASSET_ID_BYTES_MAX).map_err(named)?,
            },
            lapses_at_us: instant(lapses_at).map_err(|message| fault(COLUMNS[5], message))?,
            occurred_at_us: instant(occurred_at).map_err(|message| fault(COLUMNS[6], message))?,
        };
        if !matches!(source, "" | OPENING) {
            let message = format!("is {source:?}; what is moved in is of the source {OPENING}: say that, or nothing");
            return Err(fault(COLUMNS[4], message));
        }
        match row.points < 0 && row.lapses_at_us.is_some() {
            true => Err(fault(COLUMNS[5], "must be empty where the member owes".to_owned())),
            false => Ok(row),
        }
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
    let mut units: BTreeMap<String, i64> = BTreeMap::new();
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
        // Fifty million rows of the most units are still far from the end of the numbers.
        let sum = units.entry(row.asset).or_default();
        *sum = sum.saturating_add(row.points);
        if units.len() > ASSETS_MAX {
            let text = format!("{name}:{}: asset is one too many: a program has at most {ASSETS_MAX}", row.line);
            return Err(Failure::plain(EXIT_BAD_INPUT, text + "\nnothing was posted"));
        }
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
    Ok(Sums { rows: count(keys.len()), units, members: count(members.len()), hash: rows.hash() })
}

/// A key, or the id of a member or an asset.
fn id(column: &'static str, value: &str, bytes_max: usize) -> Result<String, (&'static str, String)> {
    match value.len() {
        0 => Err((column, "is empty".to_owned())),
        bytes if bytes > bytes_max => Err((column, format!("has {bytes} bytes; at most {bytes_max} are taken"))),
        _ => Ok(value.to_owned()),
    }
}

fn units(text: &str) -> Result<i64, String> {
    match text.parse::<i64>() {
        Ok(0) => Err("is 0: an account without units is not moved in; leave the row out".to_owned()),
        Ok(units) if (-POINTS_MAX..=POINTS_MAX).contains(&units) => Ok(units),
        Ok(_) => Err(format!("is over {POINTS_MAX} either way")),
        Err(_) => Err(format!("is {text:?}, which is no whole number")),
    }
}

/// An instant in microseconds since the Unix epoch; none for no text.
fn instant(text: &str) -> Result<Option<i64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let time: Timestamp =
        text.parse().map_err(|_| format!("is {text:?}, which is no time such as 2030-01-31T00:00:00Z"))?;
    match time.as_microsecond() {
        us @ OCCURRED_US_MIN..=OCCURRED_US_MAX => Ok(Some(us)),
        _ => Err(format!("is {text:?}, which is not of the years 1 to 9999 in every time zone")),
    }
}

/// Where the columns are in the header.
fn places(header: &ByteRecord) -> Result<[Option<usize>; COLUMNS.len()], String> {
    for (place, column) in header.iter().enumerate() {
        let shown = String::from_utf8_lossy(column);
        if !COLUMNS.iter().any(|known| known.as_bytes() == column) {
            return Err(format!("column {}: {shown:?} is no column of an import: {}", place + 1, COLUMNS.join(",")));
        }
        if header.iter().take(place).any(|before| before == column) {
            return Err(format!("column {}: {shown:?} is there twice", place + 1));
        }
    }
    let places = COLUMNS.map(|column| header.iter().position(|name| name == column.as_bytes()));
    match COLUMNS.iter().zip(places).take(NEEDED).find(|(_, place)| place.is_none()) {
        Some((column, _)) => Err(format!("the column {column:?} is missing")),
        None => Ok(places),
    }
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
    for text in [&row.source_key, &row.member, &row.asset] {
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes()).update(text.as_bytes());
    }
    hasher.update(&row.points.to_le_bytes());
    for instant in [row.lapses_at_us, row.occurred_at_us] {
        // No instant is so early.
        hasher.update(&instant.unwrap_or(i64::MIN).to_le_bytes());
    }
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

    fn of(sums: &Sums, asset: &str) -> Option<i64> {
        sums.units.get(asset).copied()
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
        assert_eq!((sums.rows, of(&sums, "points"), sums.members), (3, Some(10), 2));
        let turned = checked(b"points,source_key,member\n5,a,ann\n-2,b,ben\n7,c,ann\n").unwrap();
        assert_eq!(turned, sums);
        assert_ne!(checked(b"source_key,member,points\na,ann,5\nb,ben,-3\nc,ann,8\n").unwrap().hash, sums.hash);
        let empty = checked(b"source_key,member,points\n").unwrap();
        assert_eq!((empty.rows, empty.units.len()), (0, 0));
    }

    #[test]
    fn a_file_of_lots_comes_to_a_sum_an_asset_and_says_when_each_was_earned_and_lapses() {
        let header = "source_key,member,points,asset,source,lapses_at,occurred_at\n";
        let text = format!(
            "{header}a,ann,5,,,,\nb,ann,7,growth,opening,2030-01-31T00:00:00Z,2026-05-01T12:00:00+02:00\n\
             c,ben,2,points,,2030-01-31 00:00:00+00,\nd,ben,-4,growth,,,\n"
        );
        let sums = checked(text.as_bytes()).unwrap();
        let sound = (sums.rows, of(&sums, "points"), of(&sums, "growth"), sums.members);
        assert_eq!((sound, sums.units.len()), ((4, Some(7), Some(3), 2), 2));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut rows = Rows::open(file.path(), "old").unwrap();
        let mut told = Vec::new();
        while let Some(row) = rows.next_sound().unwrap() {
            told.push((row.asset, row.lapses_at_us, row.occurred_at_us));
        }
        let (lapse, earned) = (Some(1_896_048_000_000_000), Some(1_777_629_600_000_000));
        let row = |asset: &str, lapses, occurred| (asset.to_owned(), lapses, occurred);
        let expected = [
            row("points", None, None),
            row("growth", lapse, earned),
            row("points", lapse, None),
            row("growth", None, None),
        ];
        assert_eq!(told, expected);
        for (from, to) in [("growth,opening", "points,opening"), ("2030", "2031"), ("12:00", "13:00")] {
            assert_ne!(checked(text.replacen(from, to, 1).as_bytes()).unwrap().hash, sums.hash, "{from}");
        }
    }

    #[test]
    fn a_source_that_is_not_opening_a_debt_that_lapses_and_what_is_no_time_are_named() {
        let text = "source_key,member,points,asset,source,lapses_at,occurred_at\na,ann,5,,base,,\n\
                    b,ann,-5,,,2030-01-31T00:00:00Z,\nc,ann,5,,,2030-01-31,\nd,ann,5,,,,soon\n\
                    e,ann,5,,,-000002-01-01T00:00:00Z,\n";
        let long = format!("f,ann,5,{},,,\n", "a".repeat(ASSET_ID_BYTES_MAX + 1));
        let named = faults((text.to_owned() + &long).as_bytes());
        let expected =
            [(2, "source"), (3, "lapses_at"), (4, "lapses_at"), (5, "occurred_at"), (6, "lapses_at"), (7, "asset")];
        assert_eq!(named, expected.map(|(line, column)| (line, column.to_owned())));
    }

    #[test]
    fn a_time_is_sound_where_the_server_takes_it_and_a_microsecond_beyond_is_named() {
        for us in [OCCURRED_US_MIN, OCCURRED_US_MAX] {
            let said = |us: i64| Timestamp::from_microsecond(us).unwrap().to_string();
            assert_eq!(instant(&said(us)), Ok(Some(us)));
            let beyond = said(if us < 0 { us - 1 } else { us + 1 });
            let text =
                format!("source_key,member,points,lapses_at,occurred_at\na,ann,5,{beyond},\nb,ann,5,,{beyond}\n");
            let expected = [(2, "lapses_at"), (3, "occurred_at")];
            assert_eq!(faults(text.as_bytes()), expected.map(|(line, column)| (line, column.to_owned())));
        }
    }

    #[test]
    fn a_file_of_more_assets_than_a_program_has_is_refused_at_the_first_too_many() {
        let rows = |assets: usize| -> String {
            let rows = (0..assets).map(|n| format!("k{n},ann,1,asset-{n}\n"));
            std::iter::once("source_key,member,points,asset\n".to_owned()).chain(rows).collect()
        };
        assert_eq!(checked(rows(ASSETS_MAX).as_bytes()).unwrap().units.len(), ASSETS_MAX);
        let failure = checked(rows(ASSETS_MAX + 9).as_bytes()).err().unwrap();
        let line = format!(":{}: asset", ASSETS_MAX + 2);
        assert!(failure.code == EXIT_BAD_INPUT && failure.text.contains(&line), "{}", failure.text);
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
