//! The text of a program as a trace has it.

use stampbook::program;
use toml_edit::visit_mut::{self, VisitMut};
use toml_edit::{Array, Decor, DocumentMut, InlineTable, Item, KeyMut, Table, Value, value};

use crate::Failure;

/// What a program and its units are called in a trace: nothing is shorter.
const NAMELESS: &str = "-";

/// A program's text in import mode, without comments and without the names that people are shown. It is the text of the book otherwise,
/// with the blanks taken out, so that it is hardly ever longer than that (`"import"` has two letters more than `"live"`); one that is,
/// and is longer than a server takes, is refused.
///
/// # Errors
/// Where no server would take it, so that a trace cannot be made that cannot be replayed.
pub(super) fn importing(definition: &str, id: &str) -> Result<String, Failure> {
    let mut document: DocumentMut = definition.parse()?;
    document.insert("mode", value("import"));
    document.insert("name", value(NAMELESS));
    Bare.visit_document_mut(&mut document);
    let text = document.to_string();
    let text = text.trim_end();
    match program::parse(text, id) {
        Ok(_) => Ok(text.to_owned()),
        Err(remarks) => {
            let remark = remarks.first().map(ToString::to_string).unwrap_or_default();
            Err(format!("the program cannot be put in import mode, as a replay needs it: {remark}").into())
        }
    }
}

/// Takes out whatever a server does not heed: blanks, comments and what units are called.
struct Bare;

fn nothing() -> Decor {
    Decor::new("", "")
}

impl VisitMut for Bare {
    fn visit_document_mut(&mut self, document: &mut DocumentMut) {
        document.set_trailing("");
        self.visit_table_mut(document.as_table_mut());
    }

    fn visit_table_mut(&mut self, table: &mut Table) {
        *table.decor_mut() = nothing();
        visit_mut::visit_table_mut(self, table);
    }

    fn visit_table_like_kv_mut(&mut self, mut key: KeyMut<'_>, item: &mut Item) {
        *key.leaf_decor_mut() = nothing();
        *key.dotted_decor_mut() = nothing();
        // Assets alone have it.
        if key.get() == "unit" {
            *item = value(NAMELESS);
        }
        visit_mut::visit_table_like_kv_mut(self, key, item);
    }

    fn visit_inline_table_mut(&mut self, table: &mut InlineTable) {
        table.set_trailing("");
        table.set_trailing_comma(false);
        visit_mut::visit_inline_table_mut(self, table);
    }

    fn visit_array_mut(&mut self, array: &mut Array) {
        array.set_trailing("");
        array.set_trailing_comma(false);
        visit_mut::visit_array_mut(self, array);
    }

    fn visit_value_mut(&mut self, value: &mut Value) {
        *value.decor_mut() = nothing();
        visit_mut::visit_value_mut(self, value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fmt::Write;

    use stampbook::ledger::later::Later;
    use stampbook::program::{DEFINITION_BYTES_MAX, parse};

    use super::*;

    /// Rules and campaigns with caps in so many bytes, without blanks.
    fn dense(bytes: usize) -> String {
        let mut text =
            "id=\"p\"\nname=\"P\"\ncurrency=\"GBP\"\ntime_zone=\"Europe/London\"\nmode=\"live\"\n".to_owned();
        for number in 0..31 {
            let _ = write!(text, "[[rules]]\nkind=\"{number}\"\npoints=1\nper_minor=100\nrounding=\"floor\"\n");
        }
        for number in 0..32 {
            let _ = write!(
                text,
                "[[campaigns]]\nid=\"{number:040}\"\nstart=\"2027-09-01T00:00:00\"\nend=\"2027-09-08T00:00:00\"\n"
            );
            text.push_str("multiplier=\"2\"\ncap={points=5,per=\"day\"}\n");
        }
        text.truncate(text.trim_end().len());
        for number in 0..31 {
            let longer = "x".repeat(bytes.saturating_sub(text.len()).min(62));
            text = text.replace(&format!("kind=\"{number}\""), &format!("kind=\"{number}{longer}\""));
        }
        assert!(parse(&text, "p").is_ok() && text.len() == bytes, "{} bytes", text.len());
        text
    }

    #[test]
    fn a_program_without_blanks_gets_no_longer_than_by_its_mode() {
        let text = dense(DEFINITION_BYTES_MAX - 10);
        assert_eq!(importing(&text, "p").unwrap(), text.replace("live", "import").replace("\"P\"", "\"-\""));
    }

    #[test]
    fn a_program_that_is_too_long_in_import_mode_is_refused() {
        let said = importing(&dense(DEFINITION_BYTES_MAX), "p").unwrap_err().to_string();
        assert!(said.contains("import mode") && said.contains("the program has 8194 bytes"), "{said}");
    }

    #[test]
    fn rules_stay_and_comments_and_what_people_are_told_go() {
        let text = r#"# secret 1
id = "p" # secret 2
name = """secret 3"""
currency = 'GBP'
time_zone = "Europe/London"
# secret 4
mode = "live"
grace_days = 0x0a
accepts_from = [ # secret 5
  "a", # secret 6
  "b",
  # secret 7
]

 # secret 8
[[ assets ]] # secret 9
id = "points"
unit = 'secret 10'
 "expires"   = "30 days"
# secret 11
[[assets]]
id = "miles"
kind = "spendable"
unit = "secret 12"
expires = "never"

[[rules]]
kind = "a # b"
points = 3
per_minor = 10
also . asset = "miles" # secret 13
also . points = 1
also . per_minor = 0x10 # secret 15

# secret 14"#;
        let made = importing(text, "p").unwrap();
        assert!(!made.contains("secret"), "{made}");
        let mut wanted = parse(text, "p").unwrap().spec;
        (wanted.name, wanted.import_mode) = (NAMELESS.to_owned(), true);
        let mut terms = wanted.terms().clone();
        terms.assets.iter_mut().for_each(|asset| asset.unit = NAMELESS.to_owned());
        wanted.more = Later::new(terms);
        assert_eq!(parse(&made, "p").unwrap().spec, wanted);
    }
}
