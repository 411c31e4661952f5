//! What units may be turned into in other programs, and whose units are taken.

use super::*;
use crate::ledger::codec;
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::{CONVERSIONS_MAX, ConversionRate};

const CONVERSIONS: &str = r#"
[[assets]]
id = "stars"
kind = "spendable"

[[assets]]
id = "growth"
kind = "qualifying"

[[conversions]]
to = "skyline"
from_units = 10
to_units = 3

[[conversions]]
to = "skyline"
from = "stars"
to_asset = "miles"
from_units = 1
to_units = 1_000_000_000
"#;

fn text() -> String {
    format!("{HEAD}accepts_from = [\"skyline\", \"rail\"]\n{RULE}{CONVERSIONS}")
}

#[test]
fn conversions_are_read_as_written_and_are_of_points_where_they_name_nothing_else() {
    let spec = parse(&text(), "p.toml").unwrap().spec;
    let rate = |asset, to_asset: &str, units, to_units| ConversionRate {
        to: "skyline".into(),
        asset,
        to_asset: to_asset.into(),
        units,
        to_units,
    };
    let terms = spec.terms();
    assert_eq!(
        terms.conversions,
        [rate(AssetNo::POINTS, "points", 10, 3), rate(AssetNo(1), "miles", 1, 1_000_000_000)]
    );
    assert_eq!(terms.accepts_from, ["skyline", "rail"]);
    let mut bytes = Vec::new();
    codec::append_rules(&spec, &mut bytes).unwrap();
    assert_eq!(codec::read_rules(&bytes).unwrap(), spec);
}

#[test]
fn each_fault_of_a_conversion_has_its_place() {
    for (from, to, wanted) in [
        (
            "to = \"skyline\"\nfrom_units",
            "to = \"high-street\"\nfrom_units",
            "22:6: conversions[0].to: is this program",
        ),
        ("to = \"skyline\"\nfrom_units", "to = \"Sky\"\nfrom_units", "22:6: conversions[0].to: holds 'S'"),
        ("to = \"skyline\"\nfrom_units", "from_units", "21:1: conversions[0].to: is missing"),
        ("from_units = 10", "from_units = 0", "23:14: conversions[0].from_units: is 0, not 1 to 1000000000"),
        ("to_units = 3", "to_units = 1_000_000_001", "24:12: conversions[0].to_units: is 1000000001"),
        ("to_units = 3", "to_units = 3.5", "24:12: conversions[0].to_units: is a float"),
        ("from = \"stars\"", "from = \"growth\"", "28:8: conversions[1].from: \"growth\" is not spendable"),
        ("from = \"stars\"", "from = \"stones\"", "28:8: conversions[1].from: \"stones\" is no asset"),
        ("from = \"stars\"\nto_asset = \"miles\"\n", "", "26:1: conversions[1]: has the program and the assets of one"),
        ("\"rail\"]", "\"skyline\"]", "6:28: accepts_from[1]: \"skyline\" is named twice"),
        ("\"rail\"]", "\"high-street\"]", "6:28: accepts_from[1]: is this program"),
    ] {
        assert!(text().contains(from), "{from:?} is in the text");
        let errors = parse(&text().replacen(from, to, 1), "p").expect_err(to);
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(errors.iter().any(|error| error.starts_with(&format!("p:{wanted}"))), "{to}: {errors:?}");
        assert_eq!(errors.len(), 1, "{to}: {errors:?}");
    }
}

#[test]
fn a_program_lists_so_many_conversions_and_no_more() {
    let listed = |count: usize| {
        let rate = |n| format!("[[conversions]]\nto = \"p{n}\"\nfrom_units = 1\nto_units = 1\n");
        parse(&format!("{HEAD}{RULE}{}", (0..count).map(rate).collect::<String>()), "p")
    };
    assert_eq!(listed(CONVERSIONS_MAX).unwrap().spec.terms().conversions.len(), CONVERSIONS_MAX);
    let errors = listed(CONVERSIONS_MAX + 1).expect_err("one too many");
    assert!(errors[0].message.contains("at most 32"), "{errors:?}");
}
