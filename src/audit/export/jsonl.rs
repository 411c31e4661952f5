//! One JSON object a line, its fields in the order of the columns.

use std::io::BufRead;

use serde_json::Value as Json;

use super::ExportError;
use super::columns::{Column, Record, Table, Type, Value, time_of, time_text};
use super::format::FileReader;

/// Appends a row.
pub(super) fn append(record: &Record, out: &mut Vec<u8>) {
    let mut before = "{\"";
    for (column, value) in record.table().columns().iter().zip(record.values()) {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(column.name.as_bytes());
        out.extend_from_slice(b"\":");
        let text = match value {
            Value::Absent => "null".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Time(us) => Json::from(time_text(us)).to_string(),
            Value::Text(text) => Json::from(text).to_string(),
        };
        out.extend_from_slice(text.as_bytes());
        before = ",\"";
    }
    out.extend_from_slice(b"}\n");
}

/// Reads every row of a file.
pub(super) fn read(
    file: FileReader,
    table: Table,
    each: &mut dyn FnMut(Record) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let name = file.name().to_owned();
    for (number, line) in (1_u64..).zip(file.buffered().lines()) {
        let line = line.map_err(ExportError::io(&name))?;
        let bad = || ExportError::damaged(&name, format!("line {number} is no row of {}", table.name()));
        let Ok(Json::Object(mut fields)) = serde_json::from_str::<Json>(&line) else { return Err(bad()) };
        let values = table.columns().iter().map(|column| value(column, fields.remove(column.name)?));
        let values = values.collect::<Option<Vec<_>>>().filter(|_| fields.is_empty()).ok_or_else(bad)?;
        each(Record::read(table, values).ok_or_else(bad)?)?;
    }
    Ok(())
}

fn value(column: &Column, json: Json) -> Option<Value> {
    match (column.of, json) {
        (_, Json::Null) => Some(Value::Absent),
        (Type::Integer, Json::Number(number)) => number.as_i64().map(Value::Integer),
        (Type::Time, Json::String(text)) => time_of(&text).map(Value::Time),
        (Type::Text, Json::String(text)) => Some(Value::Text(text)),
        _ => None,
    }
}
