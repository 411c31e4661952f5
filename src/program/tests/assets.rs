//! Assets, what they are worth, second awards, waiting, and campaigns of another asset.

use super::*;
use crate::ledger::codec;
use crate::ledger::ids::AssetNo;
use crate::ledger::spec::{
    ASSETS_MAX, AlsoAward, AssetKind, AssetSpec, DebtPolicy, ExpiryPolicy, FairValue, HOLD_DAYS_MAX, Lifetime, Offset,
    PendingRule, ProgramMore, ProgramSpec, RoundUp,
};

const ASSETS: &str = r#"
[[assets]]
id = "growth"
kind = "qualifying"
unit = "growth point"
expires = "12 months rolling"

[[assets]]
id = "wallet"
kind = "stored_value"
unit = "penny"
values = [{ minor_per_unit = 1, redeemed = "97.5%" }]

[[assets]]
id = "points"
expires = "12 months"
round_up = "quarter"
debt_max = 5000
values = [
    { minor_per_unit = "0.8", redeemed = "85%" },
    { from = "2011-01-01T00:00:00", minor_per_unit = "1/2", redeemed = 9000 },
]

[[assets]]
id = "coupon"
kind = "entitlement"
expires = "2012-01-01T00:00:00"
"#;
const EARN: &str = r#"
[[rules]]
kind = "purchase"
points = 1
per_minor = 100
also = { asset = "growth", points = 2, per_minor = 100, rounding = "half_up" }
pending = "14 days"

[[rules]]
kind = "review"
points = 1
per_minor = 1
pending = "until activated"

[[campaigns]]
id = "grow"
start = "2010-12-01T00:00:00"
end = "2010-12-13T00:00:00"
kinds = ["purchase"]
multiplier = "2"
asset = "growth"
"#;
const TERMS: &str = "grace_days = 7\nhold_days_max = 14\noffset = { points = 100, minor = 90 }\n";

fn rich() -> String {
    format!("{HEAD}{TERMS}{ASSETS}{EARN}")
}

fn rich_with(from: &str, to: &str) -> String {
    let text = rich();
    assert!(text.contains(from), "{from:?} is in the text");
    text.replacen(from, to, 1)
}

fn bytes_of(spec: &ProgramSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::append_rules(spec, &mut bytes).unwrap();
    bytes
}

fn ratio(numerator: u64, denominator: u64) -> Ratio {
    Ratio { numerator, denominator }
}

#[test]
fn assets_are_read_as_written_and_numbered_behind_points_in_the_order_of_the_text() {
    let parsed = parse(&rich(), "p.toml").unwrap();
    assert_eq!(parsed.warnings, []);
    let asset = |id: &str, kind, unit: &str, lifetime, debt| AssetSpec {
        id: id.to_owned(),
        kind,
        unit: unit.to_owned(),
        expiry: ExpiryPolicy { lifetime, round_up: RoundUp::Month },
        debt,
        debt_max: None,
        values: Vec::new(),
    };
    let always = |minor_per_unit, redeemed_bp| FairValue { from_us: i64::MIN, minor_per_unit, redeemed_bp };
    let from_us = micros("2011-01-01T00:00:00Z");
    let points = AssetSpec {
        expiry: ExpiryPolicy { lifetime: Lifetime::Months(12), round_up: RoundUp::Quarter },
        debt_max: Some(5_000),
        values: vec![always(ratio(4, 5), 8_500), FairValue { from_us, ..always(ratio(1, 2), 9_000) }],
        ..AssetSpec::points()
    };
    let growth = asset("growth", AssetKind::Qualifying, "growth point", Lifetime::RollingMonths(12), DebtPolicy::Debt);
    let wallet = AssetSpec {
        values: vec![always(ratio(1, 1), 9_750)],
        ..asset("wallet", AssetKind::StoredValue, "penny", Lifetime::Never, DebtPolicy::Reject)
    };
    let end = Lifetime::Until(micros("2012-01-01T00:00:00Z"));
    let coupon = asset("coupon", AssetKind::Entitlement, "coupon", end, DebtPolicy::Clamp);
    assert_eq!(
        *parsed.spec.terms(),
        ProgramMore {
            assets: vec![points, growth, wallet, coupon],
            offset: Some(Offset { points: 100, minor: 90 }),
            grace_days: 7,
            hold_days_max: 14,
            ..ProgramMore::default()
        }
    );
    let purchase = parsed.spec.rules[0].more.as_deref().unwrap();
    let also = AlsoAward { asset: AssetNo(1), rate: ratio(1, 50), rounding: Rounding::HalfUp };
    assert_eq!((purchase.also, purchase.pending), (Some(also), Some(PendingRule::Days(14))));
    let review = parsed.spec.rules[1].more.as_deref().unwrap();
    assert_eq!((review.also, review.pending), (None, Some(PendingRule::UntilActivated)));
    assert_eq!(parsed.spec.campaigns[0].asset.as_deref(), Some(&AssetNo(1)));
    assert_eq!(codec::read_rules(&bytes_of(&parsed.spec)).unwrap(), parsed.spec);
}

#[test]
fn every_lifetime_can_be_said() {
    let summer = micros("2011-06-14T23:00:00Z");
    for (text, lifetime) in [
        ("\"never\"", Lifetime::Never),
        ("\"1 day\"", Lifetime::Days(1)),
        ("\"90 days\"", Lifetime::Days(90)),
        ("\"1 month\"", Lifetime::Months(1)),
        ("\"90 days rolling\"", Lifetime::RollingDays(90)),
        ("\"1200 months\"", Lifetime::Months(1_200)),
        ("\"2011-06-15T00:00:00\"", Lifetime::Until(summer)),
        ("2011-06-15T00:00:00", Lifetime::Until(summer)),
        ("\"2011-06-14T23:00:00Z\"", Lifetime::Until(summer)),
    ] {
        let parsed = parse(&rich_with("\"12 months\"", text), "p.toml").unwrap();
        assert_eq!(parsed.spec.terms().assets[0].expiry.lifetime, lifetime, "{text}");
    }
}

#[test]
fn each_fault_of_assets_and_of_what_names_them_has_its_place() {
    for (from, to, wanted) in [
        ("grace_days = 7", "grace_days = 367", "6:14: grace_days: is 367, not 0 to 366"),
        ("max = 14", "max = 31", "7:17: hold_days_max: is 31, not 1 to 30"),
        ("max = 14", "max = 0", "7:17: hold_days_max: is 0, not 1 to 30"),
        ("{ points = 100, minor", "{ points = 0, minor", "8:21: offset.points: is 0, not 1 to 1000000000"),
        (", minor = 90", "", "8:10: offset.minor: is missing"),
        ("\"coupon\"", "\"Coupon\"", "33:6: assets[3].id: holds 'C'"),
        ("\"wallet\"", "\"growth\"", "17:6: assets[1].id: \"growth\" is taken"),
        ("\"coupon\"", "\"points\"", "33:6: assets[3].id: \"points\" is taken"),
        ("\"qualifying\"", "\"growing\"", "12:8: assets[0].kind: is \"growing\", not \"spendable\" or \"qualifying\""),
        ("kind = \"entitlement\"", "", "32:1: assets[3].kind: is missing"),
        ("round_up = \"quarter\"", "kind = \"entitlement\"", "25:8: assets[2].kind: is not \"spendable\""),
        ("unit = \"penny\"", "unit = \"\"", "19:8: assets[1].unit: has 0 bytes"),
        ("\"12 months\"", "\"1 year\"", "24:11: assets[2].expires: is \"1 year\", not \"never\", \"90 days\""),
        ("\"12 months\"", "\"0 months\"", "24:11: assets[2].expires: is not 1 to 1200 months"),
        ("\"12 months\"", "\"36501 days\"", "24:11: assets[2].expires: is not 1 to 36500 days"),
        ("\"12 months\"", "\"2011-13-01T00:00:00\"", "24:11: assets[2].expires: is not a local time"),
        ("\"12 months\"", "12", "24:11: assets[2].expires: is an integer"),
        ("\"quarter\"", "\"week\"", "25:12: assets[2].round_up: is \"week\""),
        ("debt_max = 5000", "debt_max = 0", "26:12: assets[2].debt_max: is 0, not 1 to 1000000000000"),
        ("unit = \"penny\"", "debt_max = 5", "19:12: assets[1].debt_max: goes with on_shortfall = \"debt\" alone"),
        ("unit = \"penny\"", "on_shortfall = \"lend\"", "19:16: assets[1].on_shortfall: is \"lend\""),
        ("unit = \"penny\"", "price = 1", "19:1: assets[1].price: is unknown; known here: id, kind, unit"),
        ("\"0.8\"", "0.8", "28:24: assets[2].values[0].minor_per_unit: is a floating-point number"),
        ("\"0.8\"", "\"-1\"", "28:24: assets[2].values[0].minor_per_unit: is not a decimal or a fraction such as"),
        ("\"0.8\"", "\"1/1000000001\"", "28:24: assets[2].values[0].minor_per_unit: is 1/1000000001 in lowest"),
        ("\"85%\"", "\"101%\"", "28:42: assets[2].values[0].redeemed: is not a percentage from"),
        ("= 9000", "= 10001", "29:72: assets[2].values[1].redeemed: is 10001, not 0 to 10000"),
        ("{ minor_per_unit = \"0.8\"", "{ worth = \"0.8\"", "28:5: assets[2].values[0].minor_per_unit: is missing"),
        ("from = \"2011-01-01T00:00:00\", ", "", "29:5: assets[2].values[1].from: is missing: only the first"),
        ("\"growth\", points", "\"grown\", points", "41:18: rules[0].also.asset: \"grown\" is no asset"),
        ("\"growth\", points", "\"wallet\", points", "41:18: rules[0].also.asset: \"wallet\" is not earned"),
        ("\"growth\", points", "\"points\", points", "41:18: rules[0].also.asset: is \"points\""),
        ("points = 2, per", "points = -2, per", "41:37: rules[0].also.points: is -2"),
        (", rounding = \"half_up\" }", ", per = 1 }", "41:57: rules[0].also.per: is unknown"),
        ("\"14 days\"", "\"2 weeks\"", "42:11: rules[0].pending: is \"2 weeks\", not a number of days"),
        ("\"14 days\"", "\"367 days\"", "42:11: rules[0].pending: is not 1 to 366 days"),
        ("asset = \"growth\"\n", "asset = \"coupon\"\n", "56:9: campaigns[0].asset: \"coupon\" is not earned"),
        ("asset = \"growth\"\n", "asset = \"grow\"\n", "56:9: campaigns[0].asset: \"grow\" is no asset"),
    ] {
        let text = rich_with(from, to);
        let errors: Vec<_> = parse(&text, "p").expect_err(to).iter().map(ToString::to_string).collect();
        assert!(errors.iter().any(|error| error.starts_with(&format!("p:{wanted}"))), "{to}: {errors:?}");
        // A field of another name is told as missing and as unknown.
        assert_eq!(errors.len(), 1 + usize::from(to.contains("worth")), "{to}: {errors:?}");
    }
}

#[test]
fn values_follow_one_another_in_time() {
    let second = |from: &str| {
        let more = format!("\n    {{ from = \"{from}\", minor_per_unit = 1 }},\n]");
        parse(&rich().replacen("redeemed = 9000 },\n]", &format!("redeemed = 9000 }},{more}"), 1), "p")
    };
    assert_eq!(second("2011-01-01T00:00:01").unwrap().spec.terms().assets[0].values.len(), 3);
    for from in ["2011-01-01T00:00:00", "2010-12-31T23:59:59"] {
        let errors = second(from).unwrap_err();
        assert!(errors[0].to_string().starts_with("p:30:14: assets[2].values[2].from: is not after"), "{errors:?}");
    }
}

#[test]
fn a_program_has_so_many_assets_and_points_is_one_of_them() {
    let many = |count: usize, more: &str| {
        let asset = |n: usize| format!("[[assets]]\nid = \"a{n}\"\nkind = \"entitlement\"\n");
        parse(&format!("{HEAD}{RULE}{more}{}", (1..count).map(asset).collect::<String>()), "p")
    };
    let points = "[[assets]]\nid = \"points\"\nvalues = [{ minor_per_unit = 1 }]\n";
    for more in ["", points] {
        assert_eq!(many(ASSETS_MAX, more).unwrap().spec.terms().assets.len(), ASSETS_MAX);
        let errors = many(ASSETS_MAX + 1, more).unwrap_err();
        assert!(errors[0].field == "assets" && errors[0].message.contains("at most 32"), "{errors:?}");
    }
}

#[test]
fn a_definition_that_says_nothing_new_has_the_bytes_of_the_first_programs() {
    let plain = bytes_of(&parse(&sound(), "p").unwrap().spec);
    let zero = "grace_days = 0\nhold_days_max = 30\n";
    let points = "[[assets]]\nid = \"points\"\nkind = \"spendable\"\nunit = \"point\"\nexpires = \"never\"\n\
                  on_shortfall = \"debt\"\n";
    let said = format!("{HEAD}{zero}{RULE}{CAMPAIGN}asset = \"points\"\n{points}");
    let said = parse(&said, "p").unwrap().spec;
    assert_eq!(bytes_of(&said), plain);
    let more = parse(&format!("{HEAD}hold_days_max = {}\n{RULE}{CAMPAIGN}", HOLD_DAYS_MAX - 1), "p").unwrap().spec;
    assert!(bytes_of(&more).len() > plain.len() && bytes_of(&more).starts_with(&plain));
}

/// The first program of the golden book, as a text that says what its rules say.
const GOLDEN: &str = r#"
id = "high-street"
name = "High Street Club"
currency = "GBP"
time_zone = "Europe/London"
mode = "live"
rules = [
    { kind = "purchase", points = 10, per_minor = 100 },
    { kind = "review", points = 1, per_minor = 2, rounding = "half_up" },
    { kind = "check-in", points = 1, per_minor = 3, rounding = "ceiling" },
    { kind = "party", points = 1, per_minor = 1 },
]
campaigns = [
    { id = "double-night", START, kinds = ["purchase", "review"], multiplier = 2, group = "season" },
    { id = "reviews", START, kinds = ["review"], multiplier = "3/2", group = "kind", on_exhausted = "stop" },
    { id = "party", START, kinds = ["party"], multiplier = 3, group = "season", cap = { points = 100, per = "day" } },
    { id = "daily", START, kinds = ["check-in"], multiplier = 2, group = "season", cap = { points = 60, per = "month" } },
]
"#;

#[test]
fn the_rules_of_the_golden_book_are_written_as_ever() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1/book");
    let disk = crate::io::RealDisk::open_existing(&dir).unwrap();
    let mut puts = Vec::new();
    let mut visit = |visit: crate::journal::Visit<'_>| {
        if let Ok(crate::ledger::event::Event::ProgramPut(put)) = codec::decode(visit.event) {
            puts.push((put.spec, visit.event.to_vec()));
        }
        Ok(())
    };
    crate::journal::scan(&disk, &mut visit, &mut |_| {}).unwrap();
    assert!(puts.len() >= 3, "{}", puts.len());
    for (spec, event) in &puts {
        let bytes = bytes_of(spec);
        assert_eq!(event[1], 1, "the first version of the event");
        assert!(event.windows(bytes.len()).any(|window| window == bytes), "{}", spec.name);
    }
    let old = &puts[0].0;
    let time = |us: i64| Timestamp::from_microsecond(us).unwrap();
    let (start, end) = (time(old.campaigns[0].start_us), time(old.campaigns[0].end_us));
    let text = GOLDEN.replace("START", &format!("start = \"{start}\", end = \"{end}\""));
    let mut spec = parse(&text, "p").unwrap().spec;
    spec.tz_version.clone_from(&old.tz_version);
    // The golden rules were not read from a text, which would have given them in lowest terms.
    assert_eq!((spec.rules[0].rate, old.rules[0].rate), (ratio(1, 10), ratio(10, 100)));
    spec.rules[0].rate = old.rules[0].rate;
    assert_eq!(bytes_of(&spec), bytes_of(old));
}

#[test]
fn what_is_legal_and_seldom_meant_is_warned_of() {
    for (from, to, wanted) in [
        ("\"growth\", points = 2", "\"growth\", points = 0", "10:1: assets[0]: is earned by no rule"),
        (
            "asset = \"growth\"\n",
            "asset = \"growth\"\n[[assets]]\nid = \"miles\"\nkind = \"spendable\"\nvalues = \
          [{ minor_per_unit = 1 }]\n",
            "57:1: assets[4]: is earned by no rule",
        ),
        ("values = [{ minor_per_unit = 1, redeemed = \"97.5%\" }]", "", "16:1: assets[1].values: is missing"),
        (
            "minor_per_unit = 1, redeemed",
            "minor_per_unit = 2, redeemed",
            "20:30: assets[1].values[0].minor_per_unit: is not 1",
        ),
        ("= 9000", "= 90", "29:72: assets[2].values[1].redeemed: is in basis points, so 0.90%: write \"90%\""),
        (
            "\"12 months\"\nround_up = \"quarter\"",
            "\"14 days\"\nround_up = \"day\"",
            "37:1: rules[0].pending: is no shorter than points",
        ),
        ("\"12 months rolling\"", "\"14 days rolling\"", "37:1: rules[0].pending: is no shorter than growth"),
        ("\"12 months\"", "\"never\"", "25:12: assets[2].round_up: rounds nothing"),
        (
            "2012-01-01T00:00:00",
            "2012-01-15T00:00:00",
            "35:11: assets[3].expires: is rounded up to the end of its month: \
          the units lapse with the beginning of 2012-02-01; round_up = \"day\" keeps the day",
        ),
        ("2012-01-01T00:00:00", "2012-01-01T00:00:01", "35:11: assets[3].expires: is rounded up"),
        (
            "kinds = [\"purchase\"]",
            "kinds = [\"review\"]",
            "50:1: campaigns[0].asset: is \"growth\", which no event kind",
        ),
    ] {
        let warnings = warnings_of(&rich_with(from, to));
        assert_eq!(warnings.len(), 1, "{to}: {warnings:?}");
        assert!(warnings[0].starts_with(&format!("p.toml:{wanted}")), "{to}: {warnings:?}");
    }
    for (from, to) in [
        ("expires = \"12 months\"\nround_up = \"quarter\"", "expires = \"15 days\"\nround_up = \"day\""),
        ("\"2012-01-01T00:00:00\"", "\"2012-01-15T00:00:00\"\nround_up = \"month\""),
    ] {
        assert_eq!(warnings_of(&rich_with(from, to)), Vec::<String>::new(), "{to}");
    }
}

#[test]
fn a_step_that_swallows_a_bonus_is_reckoned_at_the_rate_of_the_campaigns_asset() {
    // Growth comes at 1 for 10 pounds, points at 1 for a pound: only the growth campaign has coarse steps.
    let coarse = rich_with("points = 2, per_minor = 100", "points = 1, per_minor = 1000").replace("half_up", "floor");
    let text = coarse.replace("multiplier = \"2\"", "multiplier = \"1.5\"");
    let warnings = warnings_of(&text);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("too few growth") && warnings[0].contains("under 2000 minor units"), "{warnings:?}");
    assert_eq!(warnings_of(&text.replace("asset = \"growth\"\n", "")), Vec::<String>::new());
}

#[test]
fn no_text_with_assets_makes_the_reader_panic() {
    let text = rich();
    for (at, _) in text.char_indices() {
        let _ = parse(&text[..at], "p");
        for with in ["\"", "[", "é", "=", "9"] {
            let mut changed = text.clone();
            changed.insert_str(at, with);
            let _ = parse(&changed, "p");
        }
    }
}
