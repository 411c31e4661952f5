//! Snapshots as events: what is refused, what is remembered, and what of it readers see.

use stampbook::proto as pb;
use stampbook::proto::{Kind, Outcome, Reason, SnapshotState};
use tonic::Code;

use crate::house::{House, PROGRAM, fields, first, gift, reason, snapshot};

fn deletion(name: &str, key: &str) -> pb::DeleteSnapshotRequest {
    let (actor, reason) = ("ana".to_owned(), "done".to_owned());
    pb::DeleteSnapshotRequest { name: name.into(), key: key.into(), actor, reason }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_is_named_by_its_field_and_takes_nothing() {
    let mut house = House::furnished().await;
    let long = "n".repeat(65);
    for (name, field) in [
        ("", "name"),
        (long.as_str(), "name"),
        ("Year", "name"),
        ("a/b", "name"),
        (".a", "name"),
        ("a b", "name"),
        ("ä", "name"),
    ] {
        let status = house.audit.create_snapshot(snapshot(name)).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]), "{name:?}");
        let asked = pb::GetSnapshotRequest { name: name.into() };
        assert_eq!(fields(&house.audit.get_snapshot(asked).await.unwrap_err()), [field]);
        assert_eq!(fields(&house.audit.delete_snapshot(deletion(name, "d")).await.unwrap_err()), [field]);
        let asked = pb::ExportSnapshotRequest { name: name.into(), ..Default::default() };
        assert_eq!(fields(&house.audit.export_snapshot(asked).await.unwrap_err()), [field]);
    }
    let sound = snapshot("a");
    for (request, field) in [
        (pb::CreateSnapshotRequest { key: String::new(), ..sound.clone() }, "key"),
        (pb::CreateSnapshotRequest { key: "k".repeat(129), ..sound.clone() }, "key"),
        (pb::CreateSnapshotRequest { actor: String::new(), ..sound.clone() }, "actor"),
        (pb::CreateSnapshotRequest { reason: String::new(), ..sound.clone() }, "reason"),
        (pb::CreateSnapshotRequest { retain_until_us: Some(i64::MAX), ..sound.clone() }, "retain_until_us"),
    ] {
        let status = house.audit.create_snapshot(request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    for (request, field) in [
        (deletion("a", ""), "key"),
        (pb::DeleteSnapshotRequest { actor: String::new(), ..deletion("a", "d") }, "actor"),
        (pb::DeleteSnapshotRequest { reason: String::new(), ..deletion("a", "d") }, "reason"),
    ] {
        assert_eq!(fields(&house.audit.delete_snapshot(request).await.unwrap_err()), [field]);
    }
    assert_eq!(house.audit.list_snapshots(pb::ListSnapshotsRequest {}).await.unwrap().into_inner().snapshots, []);
    // The names at the edge of what is taken.
    for name in ["a", "0-9_x.y", &"n".repeat(64), "a.json", "a.snapshot"] {
        assert_eq!(house.snapshot(name).await.unwrap().receipt.unwrap().outcome(), Outcome::Applied, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_an_event_of_the_book_itself_and_its_name_is_used_once() {
    let mut house = House::furnished().await;
    house.post(gift("g1", "ann", 5)).await.unwrap();
    let kept = pb::CreateSnapshotRequest { retain_until_us: Some(1_000_000), ..snapshot("spring") };
    let taken = house.audit.create_snapshot(kept.clone()).await.unwrap().into_inner();
    let (receipt, shown) = (taken.receipt.unwrap(), taken.snapshot.unwrap());
    assert_eq!((receipt.outcome(), receipt.op, receipt.balance), (Outcome::Applied, 4, None));
    assert_eq!((shown.op, shown.book_time_us, shown.retain_until_us), (4, receipt.book_time_us, Some(1_000_000)));
    let again = house.audit.create_snapshot(kept).await.unwrap().into_inner();
    let again = again.receipt.unwrap();
    assert!(again.replayed && first(&again) == receipt);
    let status =
        house.audit.create_snapshot(pb::CreateSnapshotRequest { key: "take-spring".into(), ..snapshot("other") }).await;
    assert_eq!(reason(&status.unwrap_err()), (Code::AlreadyExists, "KEY_REUSED".into()));
    let twice = pb::CreateSnapshotRequest { key: "another".into(), ..snapshot("spring") };
    let twice = house.audit.create_snapshot(twice).await.unwrap().into_inner();
    let refused = twice.receipt.unwrap();
    assert_eq!(
        (refused.outcome(), refused.reason(), refused.field.as_str()),
        (Outcome::Rejected, Reason::SnapshotExists, "name")
    );
    assert_eq!(twice.snapshot, None);
    // A program's keys are others.
    assert_eq!(house.post(gift("take-spring", "ann", 5)).await.unwrap().outcome(), Outcome::Applied);

    let by_op = |op| pb::GetEventRequest { program: String::new(), name: Some(pb::get_event_request::Name::Op(op)) };
    let event = house.accounts.get_event(by_op(4)).await.unwrap().into_inner().event.unwrap();
    assert_eq!((event.kind(), event.program.as_str(), event.member.as_str()), (Kind::SnapshotTaken, "", ""));
    assert_eq!((event.snapshot.as_str(), event.retain_until_us, event.legs.len()), ("spring", Some(1_000_000), 0));
    assert_eq!((event.actor.as_str(), event.actor_reason.as_str()), ("ana", "audit"));
    assert_eq!(event.receipt.as_ref(), Some(&receipt));
    let by_key = pb::get_event_request::Name::Key("take-spring".into());
    let by_key = pb::GetEventRequest { program: String::new(), name: Some(by_key) };
    assert_eq!(house.accounts.get_event(by_key).await.unwrap().into_inner().event, Some(event));
    // An event of a program is none of the book's, and the other way round.
    for request in [by_op(3), pb::GetEventRequest { program: PROGRAM.into(), ..by_op(4) }] {
        let status = house.accounts.get_event(request).await.unwrap_err();
        assert_eq!(reason(&status), (Code::NotFound, "EVENT_NOT_FOUND".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_to_be_kept_cannot_be_deleted_and_a_deleted_one_is_told_of_for_ever() {
    let mut house = House::furnished().await;
    let ahead = house.snapshot("first").await.unwrap().receipt.unwrap().book_time_us + 3_600_000_000;
    let kept = pb::CreateSnapshotRequest { retain_until_us: Some(ahead), ..snapshot("kept") };
    house.audit.create_snapshot(kept).await.unwrap();
    let delete = async |house: &mut House, name: &str, key: &str| {
        house.audit.delete_snapshot(deletion(name, key)).await.unwrap().into_inner()
    };
    let refused = delete(&mut house, "kept", "d1").await;
    assert_eq!(refused.receipt.unwrap().reason(), Reason::SnapshotRetained);
    assert_eq!(refused.snapshot.unwrap().deleted_op, 0);
    let unknown = delete(&mut house, "never", "d2").await;
    assert_eq!((unknown.receipt.unwrap().reason(), unknown.snapshot), (Reason::SnapshotUnknown, None));
    let deleted = delete(&mut house, "first", "d3").await;
    let receipt = deleted.receipt.unwrap();
    assert_eq!(receipt.outcome(), Outcome::Applied);
    let shown = deleted.snapshot.unwrap();
    assert_eq!((shown.state(), shown.deleted_op, shown.manifest.as_str()), (SnapshotState::Deleted, receipt.op, ""));
    let again = delete(&mut house, "first", "d3").await.receipt.unwrap();
    assert!(again.replayed && first(&again) == receipt);
    assert_eq!(delete(&mut house, "first", "d4").await.receipt.unwrap().reason(), Reason::SnapshotUnknown);
    let reuse = pb::CreateSnapshotRequest { key: "again".into(), ..snapshot("first") };
    let reuse = house.audit.create_snapshot(reuse).await.unwrap().into_inner().receipt.unwrap();
    assert_eq!(reuse.reason(), Reason::SnapshotExists);

    let mut house = house.reopened().await;
    let listed = house.audit.list_snapshots(pb::ListSnapshotsRequest {}).await.unwrap().into_inner().snapshots;
    let names: Vec<_> = listed.iter().map(|shot| (shot.name.as_str(), shot.deleted_op != 0)).collect();
    assert_eq!(names, [("kept", false), ("first", true)]);
    let event = pb::GetEventRequest { program: String::new(), name: Some(pb::get_event_request::Name::Op(receipt.op)) };
    let event = house.accounts.get_event(event).await.unwrap().into_inner().event.unwrap();
    assert_eq!((event.kind(), event.snapshot.as_str()), (Kind::SnapshotDeleted, "first"));
    let export = pb::ExportSnapshotRequest { name: "first".into(), format: 1, ..Default::default() };
    let status = house.audit.export_snapshot(export).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "SNAPSHOT_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_taken_is_not_found() {
    let mut house = House::furnished().await;
    let status = house.audit.get_snapshot(pb::GetSnapshotRequest { name: "never".into() }).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "SNAPSHOT_UNKNOWN".into()));
    let export = |format| pb::ExportSnapshotRequest { name: "never".into(), format, ..Default::default() };
    let status = house.audit.export_snapshot(export(1)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "SNAPSHOT_UNKNOWN".into()));
    for format in [0, 5, -1] {
        assert_eq!(fields(&house.audit.export_snapshot(export(format)).await.unwrap_err()), ["format"]);
    }
    let held = |name: &str, sha256: usize| pb::HeldFile { name: name.into(), length: 1, sha256: vec![0; sha256] };
    for (held, field) in [(held("", 32), "held[0].name"), (held("a", 31), "held[0].sha256")] {
        let request = pb::BackupRequest { held: vec![held], ..Default::default() };
        assert_eq!(fields(&house.audit.backup(request).await.unwrap_err()), [field]);
    }
}
