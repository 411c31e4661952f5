//! Comma-separated values as RFC 4180 has them, with a header; a field that holds nothing is empty.

use super::ExportError;
use super::columns::{Column, Record, Table, Type, Value, time_of, time_text};
use super::format::FileReader;

/// Appends the header.
pub(super) fn append_header(table: Table, out: &mut Vec<u8>) {
    append_fields(table.columns().iter().map(|column| column.name.to_owned()), out);
}

/// Appends a row.
pub(super) fn append(record: &Record, out: &mut Vec<u8>) {
    let fields = record.values().into_iter().map(|value| match value {
        Value::Absent => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Time(us) => time_text(us),
        Value::Text(text) => text,
    });
    append_fields(fields, out);
}

fn append_fields(fields: impl Iterator<Item = String>, out: &mut Vec<u8>) {
    for (place, field) in fields.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if field.contains([',', '"', '\r', '\n']) {
            out.push(b'"');
            out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(field.as_bytes());
        }
    }
    out.push(b'\n');
}

/// Reads every row of a file.
pub(super) fn read(
    file: FileReader,
    table: Table,
    each: &mut dyn FnMut(Record) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let name = file.name().to_owned();
    let mut reader = csv::ReaderBuilder::new().has_headers(true).flexible(false).from_reader(file.buffered());
    let bad = |what: String| ExportError::damaged(&name, what);
    let header = reader.headers().map_err(|error| bad(error.to_string()))?;
    if !header.iter().eq(table.columns().iter().map(|column| column.name)) {
        return Err(bad(format!("its header is not that of {}", table.name())));
    }
    for row in reader.records() {
        let row = row.map_err(|error| bad(error.to_string()))?;
        let line = row.position().map_or(0, csv::Position::line);
        let values = table.columns().iter().zip(&row).map(|(column, field)| value(column, field));
        let record = values.collect::<Option<Vec<_>>>().and_then(|values| Record::read(table, values));
        each(record.ok_or_else(|| bad(format!("line {line} is no row of {}", table.name())))?)?;
    }
    Ok(())
}

fn value(column: &Column, field: &str) -> Option<Value> {
    match column.of {
        Type::Text => Some(Value::Text(field.to_owned())),
        _ if field.is_empty() => Some(Value::Absent),
        Type::Integer => field.parse().ok().map(Value::Integer),
        Type::Time => time_of(field).map(Value::Time),
    }
}
