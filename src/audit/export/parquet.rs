//! Parquet: the same tables, typed. Integers are INT64, instants INT64 timestamps in UTC, text is UTF-8.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{ChunkReader, FileReader as _, Length, RowGroupReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;

use super::ExportError;
use super::columns::{Column, Record, Table, Type, Value};
use super::format::FileReader;

/// Rows that are gathered before they are written: those of a row group.
const ROW_GROUP_ROWS: usize = 65_536;

fn refused(error: &ParquetError) -> ExportError {
    ExportError::Refused(format!("parquet: {error}"))
}

fn schema(table: Table) -> Result<TypePtr, ExportError> {
    let mut text = format!("message {} {{\n", table.name());
    for column in table.columns() {
        let presence = if column.optional { "OPTIONAL" } else { "REQUIRED" };
        let (physical, logical) = match column.of {
            Type::Integer => ("INT64", ""),
            Type::Time => ("INT64", " (TIMESTAMP(MICROS,true))"),
            Type::Text => ("BYTE_ARRAY", " (STRING)"),
        };
        text.push_str(&format!("  {presence} {physical} {}{logical};\n", column.name));
    }
    text.push('}');
    parse_message_type(&text).map(Arc::new).map_err(|error| refused(&error))
}

/// The values of one column of a row group.
#[derive(Default)]
struct Gathered {
    numbers: Vec<i64>,
    texts: Vec<ByteArray>,
    /// 1 where there is a value, 0 where there is none.
    present: Vec<i16>,
}

impl Gathered {
    fn push(&mut self, value: Value) {
        self.present.push(i16::from(value != Value::Absent));
        match value {
            Value::Absent => {}
            Value::Integer(number) | Value::Time(number) => self.numbers.push(number),
            Value::Text(text) => self.texts.push(ByteArray::from(text.into_bytes())),
        }
    }
}

/// Where the library's writer puts its bytes, and from where they are taken.
#[derive(Clone, Default)]
struct Tray(Arc<Mutex<Vec<u8>>>);

impl Write for Tray {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes one file.
pub(super) struct ParquetWriter {
    table: Table,
    tray: Tray,
    writer: SerializedFileWriter<Tray>,
    columns: Vec<Gathered>,
    rows: usize,
}

impl ParquetWriter {
    pub(super) fn new(table: Table) -> Result<Self, ExportError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_created_by("stampbook".to_owned())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let tray = Tray::default();
        let writer = SerializedFileWriter::new(tray.clone(), schema(table)?, Arc::new(properties))
            .map_err(|error| refused(&error))?;
        Ok(Self { table, tray, writer, columns: Vec::new(), rows: 0 })
    }

    /// Appends a row, and to `out` what is ready of the file.
    pub(super) fn append(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), ExportError> {
        self.columns.resize_with(self.table.columns().len(), Gathered::default);
        for (gathered, value) in self.columns.iter_mut().zip(record.values()) {
            gathered.push(value);
        }
        self.rows += 1;
        if self.rows == ROW_GROUP_ROWS { self.end_group(out) } else { Ok(()) }
    }

    fn end_group(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let columns = std::mem::take(&mut self.columns);
        self.rows = 0;
        self.write_group(&columns).map_err(|error| refused(&error))?;
        self.take(out);
        Ok(())
    }

    fn write_group(&mut self, columns: &[Gathered]) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        let mut columns = self.table.columns().iter().zip(columns);
        while let Some(mut writer) = group.next_column()? {
            let Some((column, gathered)) = columns.next() else { break };
            let present = column.optional.then_some(gathered.present.as_slice());
            match column.of {
                Type::Text => writer.typed::<ByteArrayType>().write_batch(&gathered.texts, present, None)?,
                _ => writer.typed::<Int64Type>().write_batch(&gathered.numbers, present, None)?,
            };
            writer.close()?;
        }
        group.close()?;
        self.writer.flush()?;
        Ok(())
    }

    fn take(&self, out: &mut Vec<u8>) {
        out.append(&mut self.tray.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the file.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        if self.rows > 0 {
            self.end_group(out)?;
        }
        self.writer.finish().map_err(|error| refused(&error))?;
        self.take(out);
        Ok(())
    }
}

impl Length for FileReader {
    fn len(&self) -> u64 {
        self.length()
    }
}

impl ChunkReader for FileReader {
    type T = std::io::BufReader<FileReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.at(start).buffered())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if u64::try_from(length).map_or(true, |length| start.saturating_add(length) > self.length()) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} lie behind the end")));
        }
        self.bytes(start, length).map(Bytes::from).map_err(|error| ParquetError::General(error.to_string()))
    }
}

/// Reads every row of a file.
pub(super) fn read(
    file: FileReader,
    table: Table,
    each: &mut dyn FnMut(Record) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let name = file.name().to_owned();
    let bad = |error: ParquetError| ExportError::damaged(&name, error.to_string());
    let reader = SerializedFileReader::new(file).map_err(bad)?;
    let columns = table.columns();
    if reader.metadata().file_metadata().schema() != schema(table)?.as_ref() {
        return Err(ExportError::damaged(&name, format!("its schema is not that of {}", table.name())));
    }
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number).map_err(bad)?;
        let rows = usize::try_from(group.metadata().num_rows()).ok().filter(|rows| *rows <= ROW_GROUP_ROWS);
        let rows = rows.ok_or_else(|| ExportError::damaged(&name, "a row group has too many rows"))?;
        let read = |(place, column)| read_column(&*group, place, column, rows).map_err(bad);
        let mut gathered = columns.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        for _ in 0..rows {
            let values = gathered.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>();
            let record = values.and_then(|values| Record::read(table, values));
            each(record.ok_or_else(|| ExportError::damaged(&name, format!("a row is no row of {}", table.name())))?)?;
        }
    }
    Ok(())
}

type Values = Box<dyn Iterator<Item = Value>>;

fn read_column(group: &dyn RowGroupReader, place: usize, column: &Column, rows: usize) -> Result<Values, ParquetError> {
    let reader = group.get_column_reader(place)?;
    let mut levels = Vec::new();
    let present = column.optional.then_some(&mut levels);
    let wrap: fn(i64) -> Value = match column.of {
        Type::Time => Value::Time,
        _ => Value::Integer,
    };
    let mut values: Values = if column.of == Type::Text {
        let mut texts: Vec<ByteArray> = Vec::new();
        get_typed_column_reader::<ByteArrayType>(reader).read_records(rows, present, None, &mut texts)?;
        let text = |bytes: ByteArray| String::from_utf8(bytes.data().to_vec()).map(Value::Text);
        let texts = texts.into_iter().map(text).collect::<Result<Vec<_>, _>>();
        Box::new(texts.map_err(|error| ParquetError::General(error.to_string()))?.into_iter())
    } else {
        let mut numbers: Vec<i64> = Vec::new();
        get_typed_column_reader::<Int64Type>(reader).read_records(rows, present, None, &mut numbers)?;
        Box::new(numbers.into_iter().map(wrap))
    };
    if !column.optional {
        return Ok(values);
    }
    Ok(Box::new(
        levels.into_iter().map_while(move |level| if level == 0 { Some(Value::Absent) } else { values.next() }),
    ))
}
