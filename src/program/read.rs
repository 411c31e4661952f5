//! A TOML tree read field by field: each knows its path and place, and what is not asked for is an error.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{NAME_BYTES_MAX, Remark};

/// The remarks on a text, gathered so that all of them are shown at once.
pub(super) struct Remarks<'a> {
    text: &'a str,
    source: &'a str,
    errors: Vec<Remark>,
    warnings: Vec<Remark>,
}

impl<'a> Remarks<'a> {
    pub(super) fn new(text: &'a str, source: &'a str) -> Self {
        Self { text, source, errors: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn into_parts(self) -> (Vec<Remark>, Vec<Remark>) {
        (self.errors, self.warnings)
    }

    fn remark(&self, offset: usize, field: &str, message: String) -> Remark {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Remark {
            source: self.source.to_owned(),
            line: count(before.matches('\n').count()),
            column: count(before.get(line_start..).map_or(0, |line| line.chars().count())),
            field: field.to_owned(),
            message,
        }
    }

    /// Notes a fault at a byte offset of the text.
    pub(super) fn error(&mut self, offset: usize, field: &str, message: impl Into<String>) {
        let remark = self.remark(offset, field, message.into());
        self.errors.push(remark);
    }

    /// Notes something that is sound and yet may not mean what it says.
    pub(super) fn warn(&mut self, offset: usize, field: &str, message: impl Into<String>) {
        let remark = self.remark(offset, field, message.into());
        self.warnings.push(remark);
    }
}

/// A table of the text.
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    path: String,
    offset: usize,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn root(table: &'t Spanned<DeTable<'t>>) -> Self {
        Self { table: table.get_ref(), path: String::new(), offset: table.span().start, asked: Vec::new() }
    }

    /// The path of a field of this table.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where the table begins.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// A field that may be absent.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<Field<'t>> {
        self.asked.push(name);
        let value = self.table.get(name)?;
        Some(Field { value: value.get_ref(), span: value.span(), path: self.path_of(name) })
    }

    /// A field that must be there.
    pub(super) fn required(&mut self, name: &'static str, remarks: &mut Remarks<'_>) -> Option<Field<'t>> {
        let field = self.optional(name);
        if field.is_none() {
            remarks.error(self.offset, &self.path_of(name), "is missing");
        }
        field
    }

    /// Names the fields that were not asked for as unknown.
    pub(super) fn finish(self, remarks: &mut Remarks<'_>) {
        for (name, _) in self.table {
            if !self.asked.contains(&name.get_ref().as_ref()) {
                let message = format!("is unknown; known here: {}", self.asked.join(", "));
                remarks.error(name.span().start, &self.path_of(name.get_ref()), message);
            }
        }
    }
}

/// A value of the text.
pub(super) struct Field<'t> {
    pub(super) value: &'t DeValue<'t>,
    span: Range<usize>,
    pub(super) path: String,
}

impl<'t> Field<'t> {
    /// Notes a fault of this field; always `None`, so that a reader can return it.
    pub(super) fn error<T>(&self, remarks: &mut Remarks<'_>, message: impl Into<String>) -> Option<T> {
        remarks.error(self.span.start, &self.path, message);
        None
    }

    /// Notes a doubt about this field.
    pub(super) fn warn(&self, remarks: &mut Remarks<'_>, message: impl Into<String>) {
        remarks.warn(self.span.start, &self.path, message);
    }

    fn wrong_type<T>(&self, remarks: &mut Remarks<'_>, wanted: &str) -> Option<T> {
        self.error(remarks, format!("is {}, not {wanted}", with_article(self.value.type_str())))
    }

    /// A string.
    pub(super) fn text(&self, remarks: &mut Remarks<'_>) -> Option<&'t str> {
        match self.value.as_str() {
            Some(text) => Some(text),
            None => self.wrong_type(remarks, "a string in quotes"),
        }
    }

    /// A string of 1 to `bytes_max` bytes without control characters.
    pub(super) fn line(&self, bytes_max: usize, remarks: &mut Remarks<'_>) -> Option<&'t str> {
        let text = self.text(remarks)?;
        if text.is_empty() || text.len() > bytes_max {
            return self.error(remarks, format!("has {} bytes, not 1 to {bytes_max}", text.len()));
        }
        if text.chars().any(char::is_control) {
            return self.error(remarks, "holds a control character");
        }
        Some(text)
    }

    /// An id: 1 to 64 bytes of `a-z`, `0-9`, `.`, `_` and `-`.
    pub(super) fn id(&self, remarks: &mut Remarks<'_>) -> Option<&'t str> {
        let text = self.line(NAME_BYTES_MAX, remarks)?;
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            Some(wrong) => self.error(remarks, format!("holds {wrong:?}; an id is made of a-z, 0-9, '.', '_' and '-'")),
            None => Some(text),
        }
    }

    /// A whole number in a range.
    pub(super) fn integer(&self, range: RangeInclusive<u64>, remarks: &mut Remarks<'_>) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else {
            return self.wrong_type(remarks, "a whole number");
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => self.error(remarks, format!("is {integer}, not {} to {}", range.start(), range.end())),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)], remarks: &mut Remarks<'_>) -> Option<T> {
        let text = self.text(remarks)?;
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(*value),
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                self.error(remarks, format!("is {text:?}, not {}", words.join(" or ")))
            }
        }
    }

    /// The table that this field is.
    pub(super) fn section(&self, remarks: &mut Remarks<'_>) -> Option<Section<'t>> {
        match self.value.as_table() {
            Some(table) => Some(Section { table, path: self.path.clone(), offset: self.span.start, asked: Vec::new() }),
            None => self.wrong_type(remarks, "a table"),
        }
    }

    /// The items of a list of at most `items_max`.
    pub(super) fn items(&self, items_max: usize, remarks: &mut Remarks<'_>) -> Option<Vec<Field<'t>>> {
        let Some(array) = self.value.as_array() else {
            return self.wrong_type(remarks, "a list");
        };
        if array.len() > items_max {
            return self.error(remarks, format!("has {} items, at most {items_max} are allowed", array.len()));
        }
        let item = |(at, value): (usize, &'t Spanned<DeValue<'t>>)| Field {
            value: value.get_ref(),
            span: value.span(),
            path: format!("{}[{at}]", self.path),
        };
        Some(array.iter().enumerate().map(item).collect())
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}
