//! Members who go into others, and what members are, over the wire.

use serde_json::Value;
use stampbook::audit::export::verify::verify_export;
use stampbook::proto as pb;
use stampbook::proto::{ExportFormat, Kind, Outcome, Reason};

use crate::audit::{disk, export, keep, ready, wanted};
use crate::house::{House, PROGRAM, gift, purchase, redeem};

fn command(key: &str, member: &str, action: pb::command::Action) -> pb::Command {
    pb::Command {
        program: PROGRAM.into(),
        key: key.into(),
        member: member.into(),
        action: Some(action),
        ..Default::default()
    }
}

fn merge(key: &str, member: &str, into: &str) -> pb::Command {
    let merge = pb::Merge { into: into.into(), actor: "ana".into(), reason: "two cards".into() };
    command(key, member, pb::command::Action::Merge(merge))
}

fn set(key: &str, member: &str, joined_on: &str, tags: &[&str]) -> pb::Command {
    let add_tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let set = pb::MemberSet { joined_on: Some(joined_on.into()), add_tags, remove_tags: Vec::new() };
    command(key, member, pb::command::Action::MemberSet(set))
}

fn by_reference(key: &str, member: &str, reference: &str, amount_minor: i64) -> pb::Command {
    let original = Some(pb::refund::Original::OriginalReference(reference.into()));
    let amount = Some(pb::refund::Amount::AmountMinor(amount_minor));
    let refund = pb::Refund { original, amount, event_kind: String::new() };
    command(key, member, pb::command::Action::Refund(refund))
}

async fn member(house: &mut House, id: &str, as_of: Option<u64>) -> pb::Member {
    let as_of = as_of.map(pb::get_member_request::AsOf::AsOfOp);
    let request = pb::GetMemberRequest { program: PROGRAM.into(), member: id.into(), as_of };
    house.accounts.get_member(request).await.unwrap().into_inner().member.unwrap()
}

/// The ops and kinds of a statement, page after page.
async fn statement(house: &mut House, id: &str, page_size: i32) -> Vec<(u64, Kind)> {
    let mut question =
        pb::ListEventsRequest { program: PROGRAM.into(), member: id.into(), page_size, ..Default::default() };
    let mut events = Vec::new();
    loop {
        let page = house.accounts.list_events(question.clone()).await.unwrap().into_inner();
        events.extend(page.events.iter().map(|event| (event.receipt.as_ref().unwrap().op, event.kind())));
        if page.next_page_token.is_empty() {
            return events;
        }
        question.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_merged_answers_for_the_member_also_after_a_restart() {
    let mut house = House::furnished().await;
    let bought = pb::Command { reference: "R-1".into(), ..purchase("a1", "ann", 10_000) };
    let bought = house.post(bought).await.unwrap();
    house.post(set("a2", "ann", "2020-02-29", &["vip"])).await.unwrap();
    house.post(gift("b1", "ben", 5)).await.unwrap();
    house.post(set("b2", "ben", "2021-01-01", &["new"])).await.unwrap();
    let before = house.balance("ann").await.available;
    let went = house.post(merge("m", "ann", "ben")).await.unwrap();
    assert_eq!(went.outcome(), Outcome::Applied);
    house.post(redeem("b3", "ann", 1)).await.unwrap();
    let own = [(bought.op + 1, Kind::MemberSet), (bought.op, Kind::Earn)];
    let bens = [(went.op - 1, Kind::MemberSet), (went.op - 2, Kind::Earn)];
    let whole: Vec<_> =
        [(went.op + 1, Kind::Redeem), (went.op, Kind::Merge)].into_iter().chain(bens).chain(own).collect();
    for round in 0..2 {
        for id in ["ann", "ben"] {
            let card = member(&mut house, id, None).await;
            assert_eq!(card.balance.unwrap().available, before + 5 - 1, "{id} {round}");
            assert_eq!(card.joined_on.as_deref(), Some("2020-02-29"));
            assert_eq!((card.tags, card.aliases), (vec!["new".to_owned(), "vip".to_owned()], 1));
            for page_size in [0, 1, 2] {
                let found: Vec<_> = statement(&mut house, id, page_size).await;
                assert_eq!(found, whole, "{id} {page_size} {round}");
            }
        }
        // Before the merge each was who it was.
        let then = went.op - 1;
        assert_eq!(member(&mut house, "ann", Some(then)).await.balance.unwrap().available, before);
        assert_eq!(member(&mut house, "ben", Some(then)).await.balance.unwrap().available, 5);
        assert_eq!(member(&mut house, "ann", Some(went.op)).await.balance.unwrap().available, before + 5);
        house = house.reopened().await;
    }
    let again = house.post(merge("m2", "ann", "cid")).await.unwrap();
    assert_eq!((again.outcome(), again.reason()), (Outcome::Rejected, Reason::MemberUnknown));
    house.post(gift("c1", "cid", 1)).await.unwrap();
    let again = house.post(merge("m3", "ann", "cid")).await.unwrap();
    assert_eq!((again.outcome(), again.reason()), (Outcome::Rejected, Reason::MemberMerged));
    let back = house.post(by_reference("r", "ben", "R-1", 10_000)).await.unwrap();
    assert_eq!(back.outcome(), Outcome::Applied);
    assert_eq!(member(&mut house, "ann", None).await.balance.unwrap().available, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_tell_what_members_are_and_who_went_into_whom() {
    let mut house = House::furnished().await;
    for id in ["ann", "ben", "cid"] {
        house.post(gift(id, id, 5)).await.unwrap();
    }
    let told = house.post(set("s1", "ann", "2020-02-29", &["vip", "\"new\", \"old\""])).await.unwrap();
    let remove_tags = vec!["vip".to_owned()];
    let off = pb::MemberSet { joined_on: None, add_tags: vec!["b".into(), "a".into()], remove_tags };
    house.post(command("s2", "ann", pb::command::Action::MemberSet(off))).await.unwrap();
    house.post(merge("m1", "ann", "ben")).await.unwrap();
    house.post(merge("m2", "ben", "cid")).await.unwrap();
    let freeze = pb::Freeze { actor: "ana".into(), reason: "r".into() };
    house.post(command("f", "cid", pb::command::Action::Freeze(freeze))).await.unwrap();
    house.snapshot("night").await.unwrap();
    ready(&mut house, "night").await;
    for format in [ExportFormat::Jsonl, ExportFormat::Csv, ExportFormat::Parquet, ExportFormat::Hledger] {
        for from_op in [1, told.op] {
            let dir = tempfile::tempdir().unwrap();
            let request = pb::ExportSnapshotRequest { from_op, ..wanted("night", format) };
            keep(&export(&mut house, request).await.unwrap(), dir.path());
            verify_export(&*disk(dir.path()), Some(&*disk(house.dir.path())), &mut |_| {}).unwrap();
            if format != ExportFormat::Jsonl {
                continue;
            }
            let rows = |name: &str| -> Vec<Value> {
                let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
            };
            let of = |row: &Value, columns: &[&str]| -> Vec<String> {
                columns.iter().map(|column| row[*column].as_str().unwrap().to_owned()).collect()
            };
            let columns = ["member", "standing", "joined_on", "tags", "merged_into"];
            let members: Vec<_> = rows("members-000001.jsonl").iter().map(|row| of(row, &columns)).collect();
            let tags = r#"["\"new\", \"old\"","a","b"]"#;
            let gone = |id, into| [id, "open", "", "", into];
            assert_eq!(members, [gone("ann", "ben"), gone("ben", "cid"), ["cid", "frozen", "2020-02-29", tags, ""]]);
            let said = rows("events-000001.jsonl").into_iter().filter(|row| row["kind"] == "member_set");
            let said: Vec<_> = said.map(|row| of(&row, &["joined_on", "tags_added", "tags_removed"])).collect();
            let first = r#"["vip","\"new\", \"old\""]"#;
            assert_eq!(said, [["2020-02-29", first, ""], ["", r#"["b","a"]"#, r#"["vip"]"#]]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_merges_goes_on_with_whoever_has_the_points_now() {
    let mut house = House::furnished().await;
    for (n, id) in ["ann", "ben"].into_iter().enumerate() {
        let bought = pb::Command { reference: format!("R-{n}"), ..purchase(&format!("k{n}"), id, 1_000) };
        house.post(bought).await.unwrap();
    }
    let all = house.balance("ann").await.available + house.balance("ben").await.available;
    house = house.reopened().await;
    for atomic in [true, false] {
        let n = u8::from(atomic);
        let (goer, stayer) = if atomic { ("ann", "ben") } else { ("ben", "cid") };
        if !atomic {
            house.post(gift("c", "cid", 1)).await.unwrap();
        }
        let items = vec![
            merge(&format!("m{n}"), goer, stayer),
            by_reference(&format!("r{n}"), goer, if atomic { "R-0" } else { "R-1" }, 100),
            redeem(&format!("s{n}"), stayer, 1),
        ];
        let receipts = house.batch(items, atomic).await.unwrap();
        let outcomes: Vec<_> = receipts.iter().map(pb::Receipt::outcome).collect();
        assert_eq!(outcomes, [Outcome::Applied; 3], "{receipts:?}");
    }
    let left = house.balance("ann").await.available;
    assert!(left < all && left > 0);
    let refused = vec![merge("m8", "cid", "dan"), redeem("m9", "cid", 1)];
    house.post(gift("d", "dan", 7)).await.unwrap();
    let spends_too_much = redeem("m7", "dan", 1_000_000);
    let receipts = house.batch([refused, vec![spends_too_much]].concat(), true).await.unwrap();
    assert_eq!(receipts[2].reason(), Reason::InsufficientPoints);
    assert_eq!((house.balance("ann").await.available, house.balance("dan").await.available), (left, 7), "all put back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_behind_a_merge_in_one_batch_finds_the_newest_that_either_bought() {
    let mut house = House::furnished().await;
    for (key, member, amount) in [("s", "stays", 10_000), ("g", "goes", 4_000)] {
        let bought = pb::Command { reference: "S".into(), ..purchase(key, member, amount) };
        house.post(bought).await.unwrap();
    }
    let bought = pb::Command { reference: "R".into(), ..purchase("r", "goes", 3_000) };
    house.post(bought).await.unwrap();
    // What is asked for has left memory by then.
    for n in 0..20 {
        house.post(gift(&format!("after-{n}"), "other", 1)).await.unwrap();
    }
    let items = vec![
        merge("m", "goes", "stays"),
        by_reference("f1", "stays", "R", 1_000),
        by_reference("f2", "stays", "S", 1_000),
    ];
    let receipts = house.batch(items, false).await.unwrap();
    let originals: Vec<_> = receipts[1..].iter().map(|receipt| receipt.taken_back[0].original).collect();
    assert_eq!(originals, [30, 40], "{receipts:?}");
}
