//! What `stampbook verify` proves of a book, and what it finds in one that is not as it should be.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

#[path = "verify/book.rs"]
mod book;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command as Process, Output};

use serde_json::Value;
use stampbook::io::RealDisk;
use stampbook::journal::{Head, JournalError};
use stampbook::ledger::command::{Action, AdminAction, Basis, Original};
use stampbook::ledger::event::{Account, Event, Leg, Legs, Source};
use stampbook::ledger::ids::{AssetNo, Op};
use stampbook::verify::{Options, Report, VerifyError, verify};
use tempfile::TempDir;

use book::{Bookkeeper, adjust, purchase, redeem, refund, refund_alone};

fn prove(dir: &Path, options: &Options) -> Result<Report, VerifyError> {
    verify(&RealDisk::open_existing(dir).unwrap(), options, &mut |_| {})
}

/// Changes legs, one after the other.
fn alter(legs: &mut Legs, mut change: impl FnMut(&mut Leg)) {
    let mut altered = Legs::default();
    for mut leg in legs.iter().copied() {
        change(&mut leg);
        assert!(altered.push(leg));
    }
    *legs = altered;
}

fn with_rules() -> Options {
    Options { rules: true, ..Options::default() }
}

fn stampbook(dir: &Path, arguments: &[&str]) -> Output {
    let mut process = Process::new(env!("CARGO_BIN_EXE_stampbook"));
    process.arg("verify").arg("--data").arg(dir).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A small book with one of everything: the directory, its last head and the ops of its two purchases.
fn small_book(dir: &Path) -> (Vec<Head>, Head) {
    let mut book = Bookkeeper::new(dir);
    book.open_program(1_000);
    let bought = book.post("ann", purchase(1_234));
    book.post("bob", purchase(10_000));
    book.post("ann", refund(bought, 400));
    book.post("ann", refund(bought, 834));
    book.post("bob", redeem(50));
    book.post("cid", adjust(70));
    book.post("cid", refund_alone(1_000));
    book.post("nobody", redeem(1));
    book.admin(AdminAction::PauseCampaign { campaign: "double".into() });
    book.post("ann", purchase(500));
    let heads = book.heads.clone();
    (heads, book.close())
}

#[test]
fn a_sound_book_is_proved_with_its_balances_head_and_decisions() {
    let dir = TempDir::new().unwrap();
    let (_, head) = small_book(dir.path());
    let report = prove(dir.path(), &with_rules()).unwrap();
    assert_eq!(report.head, head);
    assert_eq!((report.end.events, report.members, report.end.torn_bytes), (13, 3, 0));
    // Eight applied commands of members; a refusal and four acts of operators have no decision to repeat.
    assert_eq!(report.proved, Some(8));
    let rows = &report.trial_balance[0].rows;
    assert_eq!(rows.iter().map(|row| row.balance).sum::<i64>(), 0);
    assert!(rows.iter().any(|row| row.account == "redemption/gift" && row.balance == 50), "{rows:?}");
}

#[test]
fn a_book_of_many_commands_is_proved_by_the_rules() {
    let dir = TempDir::new().unwrap();
    let mut book = Bookkeeper::new(dir.path());
    book.open_program(5_000);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut earns = vec![Op(1)];
    for _ in 0..600 {
        let member = ["ann", "bob", "cid", "dee"][usize::try_from(random(4)).unwrap()];
        match random(12) {
            0..=4 => earns.push(book.post(member, purchase(1 + random(9_000)))),
            5 | 6 => {
                let original = earns[usize::try_from(random(earns.len() as u64)).unwrap()];
                _ = book.post(member, refund(original, 1 + random(2_000)));
            }
            7 => _ = book.post(member, refund_alone(1 + random(3_000))),
            8 => _ = book.post(member, redeem(1 + random(400))),
            9 => _ = book.post(member, adjust(i64::try_from(random(400)).unwrap() - 200)),
            10 => {
                let basis = Basis::Points(1 + random(300));
                earns.push(
                    book.post(member, Action::Earn { basis, event_kind: None, asset: AssetNo::POINTS, matures: None }),
                );
                let reference = Original::Reference("nothing".into());
                book.post(member, Action::Refund { original: reference, basis, event_kind: None });
            }
            _ => {
                let campaign = ["double", "half"][usize::try_from(random(2)).unwrap()].to_owned();
                book.admin(match random(3) {
                    0 => AdminAction::PauseCampaign { campaign },
                    1 => AdminAction::ResumeCampaign { campaign },
                    _ => AdminAction::FundCampaign { campaign, points: 1 + random(2_000) },
                });
            }
        }
    }
    let head = book.close();
    let report = prove(dir.path(), &with_rules()).unwrap();
    assert_eq!(report.head, head);
    assert!(report.proved.unwrap() > 300, "{:?}", report.proved);
    assert!(report.end.segments > 1, "the book goes over several segments");
}

/// Moves one point more from issuance to the member than the rules give: balanced, and wrong.
fn one_point_more(event: &mut Event<'_>) {
    let Event::Earned(earned) = event else { panic!("{event:?}") };
    earned.base += 1;
    earned.common.after.available += 1;
    alter(&mut earned.legs, |leg| match leg.account {
        Account::Issuance { .. } => leg.amount -= 1,
        Account::Available { lot, .. } if lot.source == Source::Base => leg.amount += 1,
        _ => {}
    });
}

#[test]
fn a_planted_award_off_by_one_though_balanced_is_found_by_the_rules_alone() {
    let dir = TempDir::new().unwrap();
    let mut book = Bookkeeper::new(dir.path());
    book.open_program(1_000);
    book.post("ann", purchase(1_234));
    let op = book.post_altered("bob", purchase(1_234), one_point_more);
    assert_eq!(book.balances("bob").0, book.balances("ann").0 + 1);
    book.post("bob", redeem(1));
    book.close();
    assert!(prove(dir.path(), &Options::default()).is_ok());
    let error = prove(dir.path(), &with_rules()).unwrap_err().to_string();
    let wanted = format!("op {}: the base award is 124 and the rules give 123", op.0);
    assert!(error.contains(&wanted), "{error}");

    let output = stampbook(dir.path(), &["--rules", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let found = json(&output);
    assert_eq!(found["sound"], false);
    assert!(
        found["damage"]["offset"].is_u64() && found["damage"]["detail"].as_str().unwrap().contains(&wanted),
        "{found}"
    );
}

#[test]
fn a_planted_bonus_moved_between_campaigns_is_found_by_the_rules() {
    let dir = TempDir::new().unwrap();
    let mut book = Bookkeeper::new(dir.path());
    book.open_program(1_000);
    let op = book.post_altered("ann", purchase(1_000), |event| {
        let Event::Earned(earned) = event else { panic!("{event:?}") };
        earned.shares.0[0].awarded -= 1;
        earned.shares.0[1].awarded += 1;
        let mut changes = [1, -1].into_iter();
        alter(&mut earned.legs, |leg| {
            if matches!(leg.account, Account::Campaign { .. }) {
                leg.amount += changes.next().unwrap();
            }
        });
    });
    book.close();
    assert!(prove(dir.path(), &Options::default()).is_ok());
    let error = prove(dir.path(), &with_rules()).unwrap_err().to_string();
    assert!(error.contains(&format!("op {}: the campaigns' shares", op.0)), "{error}");
}

#[test]
fn a_planted_refund_that_takes_too_little_is_found_by_the_rules() {
    let dir = TempDir::new().unwrap();
    let mut book = Bookkeeper::new(dir.path());
    book.open_program(1_000);
    let bought = book.post("ann", purchase(1_000));
    book.post("ann", refund(bought, 300));
    let op = book.post_altered("ann", refund(bought, 300), |event| {
        let Event::Refunded(refund) = event else { panic!("{event:?}") };
        refund.base -= 1;
        refund.from.as_mut().unwrap().base_total -= 1;
        refund.common.after.available += 1;
        // Of one lot each.
        alter(&mut refund.legs, |leg| match leg.account {
            Account::Issuance { .. } => leg.amount -= 1,
            Account::Available { lot, .. } if lot.source == Source::Base => leg.amount += 1,
            _ => {}
        });
    });
    book.close();
    assert!(prove(dir.path(), &Options::default()).is_ok());
    let error = prove(dir.path(), &with_rules()).unwrap_err().to_string();
    assert!(
        error.contains(&format!("op {}: the refund takes back 29 of the base and the rules take 30", op.0)),
        "{error}"
    );
}

#[test]
fn legs_that_do_not_balance_and_balances_that_are_not_so_are_damage_without_the_rules() {
    type Alter = fn(&mut Event<'_>);
    let cases: [(Alter, &str); 3] = [
        (
            |event| {
                let Event::Earned(earned) = event else { panic!("{event:?}") };
                let mut first = 1;
                alter(&mut earned.legs, |leg| leg.amount -= std::mem::take(&mut first));
            },
            "legs sum to -1",
        ),
        (
            |event| {
                let Event::Earned(earned) = event else { panic!("{event:?}") };
                let mut first = true;
                alter(&mut earned.legs, |leg| {
                    if std::mem::take(&mut first) {
                        leg.asset = AssetNo(1);
                    }
                });
            },
            "its legs",
        ),
        (
            |event| {
                let Event::Earned(earned) = event else { panic!("{event:?}") };
                earned.common.after.available += 1;
            },
            "balances after the event",
        ),
    ];
    for (alter, wanted) in cases {
        let dir = TempDir::new().unwrap();
        let mut book = Bookkeeper::new(dir.path());
        book.open_program(1_000);
        let op = book.force("ann", purchase(1_000), alter);
        book.close();
        let error = prove(dir.path(), &Options::default()).unwrap_err();
        let VerifyError::Journal(JournalError::Damaged { offset, detail, .. }) = &error else { panic!("{error}") };
        assert!(*offset > 0 && detail.contains(wanted) && detail.contains(&format!("op {}", op.0)), "{detail}");
    }
}

#[test]
fn every_head_that_the_book_had_is_contained_and_no_other() {
    let dir = TempDir::new().unwrap();
    let (heads, last) = small_book(dir.path());
    for head in heads.iter().chain([&last]) {
        assert!(
            prove(dir.path(), &Options { extends: Some(*head), rules: false, ..Options::default() }).is_ok(),
            "{head:?}"
        );
    }
    let mut other = heads[4];
    other.hash[31] ^= 1;
    let moved = Head { op: heads[4].op + 1, hash: heads[4].hash };
    for missing in [other, moved] {
        let error =
            prove(dir.path(), &Options { extends: Some(missing), rules: false, ..Options::default() }).unwrap_err();
        assert!(matches!(error, VerifyError::NotExtended(head) if head == missing), "{error}");
    }
}

#[test]
fn the_head_of_an_empty_book_is_contained_in_what_it_becomes() {
    let dir = TempDir::new().unwrap();
    let mut book = Bookkeeper::new(dir.path());
    let empty = prove(dir.path(), &Options::default()).unwrap().head;
    assert_eq!(empty.op, 0);
    book.open_program(1_000);
    book.close();
    assert!(prove(dir.path(), &Options { extends: Some(empty), rules: false, ..Options::default() }).is_ok());
}

#[test]
fn the_printed_head_can_be_given_back_and_another_is_refused() {
    let dir = TempDir::new().unwrap();
    small_book(dir.path());
    let sound = json(&stampbook(dir.path(), &["--json"]));
    assert_eq!((&sound["sound"], &sound["op"]), (&Value::Bool(true), &Value::from(13)));
    assert!(sound["trial_balance"][0]["rows"].as_array().unwrap().len() > 4, "{sound}");
    let head = format!("{}:{}", sound["op"], sound["head"].as_str().unwrap());
    let text = stampbook(dir.path(), &["--extends", &head, "--rules"]);
    assert_eq!(text.status.code(), Some(0));
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains(&format!("head {head}\n")) && text.contains("decisions made again 8"), "{text}");
    let other = format!("13:{}", "0".repeat(64));
    assert_eq!(stampbook(dir.path(), &["--extends", &other]).status.code(), Some(3));
}

#[test]
fn a_changed_byte_is_damage_with_its_place() {
    let dir = TempDir::new().unwrap();
    small_book(dir.path());
    let end = prove(dir.path(), &Options::default()).unwrap().end;
    let file = OpenOptions::new().read(true).write(true).open(dir.path().join(&end.end_file)).unwrap();
    let at = end.end_offset / 2 / 4_096 * 4_096 + 150;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let output = stampbook(dir.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let damage = &json(&output)["damage"];
    assert_eq!(damage["file"], end.end_file.as_str());
    let offset = damage["offset"].as_u64().unwrap();
    assert!(offset.abs_diff(at) < 4_096, "{damage}");
}

#[test]
fn torn_bytes_behind_the_last_frame_are_told_and_the_book_is_sound() {
    let dir = TempDir::new().unwrap();
    let mut book = Bookkeeper::new(dir.path());
    book.open_program(1_000);
    book.post("ann", purchase(1_000));
    let last = *book.heads.last().unwrap();
    drop(book);
    let end = prove(dir.path(), &Options::default()).unwrap().end;
    let file: File = OpenOptions::new().write(true).open(dir.path().join(&end.end_file)).unwrap();
    file.write_all_at(&[0xa5; 700], end.end_offset).unwrap();
    let report = prove(dir.path(), &with_rules()).unwrap();
    assert_eq!(report.head, last);
    assert!(report.end.torn_bytes >= 700, "{:?}", report.end);
    let output = stampbook(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("torn: "));
}

#[test]
fn a_tail_that_was_made_shorter_is_told_even_where_no_torn_byte_is_left() {
    let dir = TempDir::new().unwrap();
    small_book(dir.path());
    let end = prove(dir.path(), &Options::default()).unwrap().end;
    let file = OpenOptions::new().write(true).open(dir.path().join(&end.end_file)).unwrap();
    // Where the first frame would begin: every event is gone, and nothing is torn.
    file.set_len(8_192).unwrap();
    let report = prove(dir.path(), &Options::default()).unwrap();
    assert_eq!((report.head.op, report.end.torn_bytes), (0, 0));
    let text = String::from_utf8(stampbook(dir.path(), &[]).stdout).unwrap();
    assert!(text.contains("torn: ") && text.contains("short-tail") && text.contains("--extends"), "{text}");
}

#[test]
fn bad_usage_and_unreadable_places_have_their_own_exit_codes() {
    let dir = TempDir::new().unwrap();
    assert_eq!(stampbook(dir.path(), &[]).status.code(), Some(2), "an empty directory holds no book");
    assert_eq!(stampbook(&dir.path().join("missing"), &[]).status.code(), Some(4));
    for head in ["12", "x:00", "1:00"] {
        assert_eq!(stampbook(dir.path(), &["--extends", head]).status.code(), Some(2), "{head}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
}
