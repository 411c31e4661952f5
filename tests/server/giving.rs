//! Units that move between two members, of one program or of two, over gRPC: receipts, statements, the past, exports, proof.

use stampbook::audit::export::verify::verify_export;
use stampbook::io::RealDisk;
use stampbook::ledger::reason::Reason;
use stampbook::proto as pb;
use stampbook::proto::command::Action;
use stampbook::proto::get_member_request::AsOf;
use stampbook::proto::{ExportFormat, Kind, Outcome};
use stampbook::verify::beside::gather;
use stampbook::verify::{Options, verify};
use tonic::Code;

use crate::audit::{disk, export, keep, ready, wanted};
use crate::house::{House, PROGRAM, fields, first, gift, reason, refund, small};

const AIR: &str = "air";

const SHOP: &str = r#"
accepts_from = ["air"]

[[assets]]
id = "points"
expires = "12 months"

[[conversions]]
to = "air"
to_asset = "miles"
from_units = 10
to_units = 3
"#;

const AIRLINE: &str = r#"
id = "air"
name = "Skyline"
currency = "EUR"
time_zone = "Europe/Paris"
mode = "live"
accepts_from = ["high-street"]

[[assets]]
id = "miles"
kind = "spendable"

[[rules]]
kind = "flight"
points = 1
per_minor = 100

[[conversions]]
to = "high-street"
from = "miles"
from_units = 2
to_units = 5
"#;

/// A shop and an airline that take one another's units.
async fn house() -> House {
    let mut house = House::open(tempfile::tempdir().unwrap(), &small()).await;
    let (head, rest) = crate::house::DEFINITION.split_once("[[rules]]").unwrap();
    let (accepts, tables) = SHOP.split_once("[[assets]]").unwrap();
    let shop = format!("{head}{accepts}[[rules]]{rest}[[assets]]{tables}");
    for (program, definition) in [(PROGRAM, shop.as_str()), (AIR, AIRLINE)] {
        let request = pb::PutProgramRequest {
            program: program.into(),
            definition: definition.into(),
            expected_version: None,
            key: "put".into(),
            actor: "ana".into(),
            reason: "test".into(),
        };
        let put = house.admin.put_program(request).await.unwrap().into_inner();
        assert_eq!(put.receipt.unwrap().outcome(), Outcome::Applied);
    }
    house
}

fn command(program: &str, key: &str, member: &str, action: Action) -> pb::Command {
    let (program, key, member) = (program.into(), key.into(), member.into());
    pb::Command { program, key, member, action: Some(action), ..pb::Command::default() }
}

fn transfer(key: &str, member: &str, to: &str, units: i64) -> pb::Command {
    command(PROGRAM, key, member, Action::Transfer(pb::Transfer { to: to.into(), asset: String::new(), units }))
}

fn convert(key: &str, member: &str, to: &str, units: i64) -> pb::Command {
    let (to_program, to, to_asset) = (AIR.into(), to.into(), "miles".into());
    command(
        PROGRAM,
        key,
        member,
        Action::Convert(pb::Convert { to_program, to, asset: String::new(), to_asset, units }),
    )
}

fn back(key: &str, member: &str, units: i64) -> pb::Command {
    let (to_program, asset) = (PROGRAM.into(), "miles".into());
    let convert = pb::Convert { to_program, to: String::new(), asset, to_asset: String::new(), units };
    command(AIR, key, member, Action::Convert(convert))
}

async fn member(house: &mut House, program: &str, id: &str, as_of: Option<AsOf>) -> Option<pb::Member> {
    let request = pb::GetMemberRequest { program: program.into(), member: id.into(), as_of };
    match house.accounts.get_member(request).await {
        Ok(response) => response.into_inner().member,
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound);
            None
        }
    }
}

async fn statement(house: &mut House, program: &str, member: &str) -> Vec<pb::Event> {
    let (program, member) = (program.into(), member.into());
    let request = pb::ListEventsRequest { program, member, ..Default::default() };
    house.accounts.list_events(request).await.unwrap().into_inner().events
}

async fn found(house: &mut House, program: &str, name: pb::get_event_request::Name) -> Option<pb::Event> {
    let request = pb::GetEventRequest { program: program.into(), name: Some(name) };
    let found = house.accounts.get_event(request).await;
    found.map_err(|status| assert_eq!(status.code(), Code::NotFound)).ok().and_then(|found| found.into_inner().event)
}

/// What an event in a statement says of who gave what to whom.
fn told(events: &[pb::Event]) -> Vec<(Kind, String, String, i64)> {
    let told = |event: &pb::Event| {
        let other = event.receipt.as_ref().unwrap().other.clone().unwrap_or_default();
        (event.kind(), event.member.clone(), other.member, event.points)
    };
    events.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_members_have_the_event_in_their_statements_and_a_retry_gets_the_first_receipt() {
    let mut house = house().await;
    house.post(gift("g1", "ann", 100)).await.unwrap();
    house.post(gift("g2", "bob", 7)).await.unwrap();
    let given = house.post(transfer("t1", "ann", "bob", 40)).await.unwrap();
    let other = given.other.clone().unwrap();
    assert_eq!((other.member.as_str(), other.units, other.balances[0].available), ("bob", 40, 47));
    assert_eq!((given.asked, given.taken, given.balance.unwrap().available), (40, 40, 60));
    let turned = house.post(convert("c1", "bob", "eve", 45)).await.unwrap();
    let other = turned.other.clone().unwrap();
    assert_eq!((other.program.as_str(), other.member.as_str(), other.asset.as_str()), (AIR, "eve", "miles"));
    assert_eq!((turned.asked, turned.taken, other.units), (45, 40, 12));
    let returned = house.post(back("b1", "eve", 5)).await.unwrap();
    assert_eq!(returned.other.as_ref().unwrap().member, "eve", "the member of the same id");
    assert_eq!(returned.other.as_ref().unwrap().units, 10);
    let t = |kind, own: &str, other: &str, units| (kind, own.to_owned(), other.to_owned(), units);
    let earned = |member: &str, units| t(Kind::Earn, member, "", units);
    let (give, turn) = (t(Kind::Transfer, "ann", "bob", 40), t(Kind::Convert, "bob", "eve", 40));
    let turn_back = t(Kind::Convert, "eve", "eve", 4);
    for program_member in [(PROGRAM, "ann"), (PROGRAM, "bob"), (PROGRAM, "eve"), (AIR, "eve")] {
        let expected = match program_member {
            (_, "ann") => vec![give.clone(), earned("ann", 100)],
            (_, "bob") => vec![turn.clone(), give.clone(), earned("bob", 7)],
            (PROGRAM, _) => vec![turn_back.clone()],
            (_, _) => vec![turn_back.clone(), turn.clone()],
        };
        let events = statement(&mut house, program_member.0, program_member.1).await;
        assert_eq!(told(&events), expected, "{program_member:?}");
    }
    let mut house = house.reopened().await;
    for (sent, receipt) in [
        (transfer("t1", "ann", "bob", 40), given),
        (convert("c1", "bob", "eve", 45), turned),
        (back("b1", "eve", 5), returned),
    ] {
        let again = house.post(sent).await.unwrap();
        assert!(again.replayed);
        assert_eq!(first(&again), receipt);
    }
    let conflict = house.batch(vec![transfer("t1", "ann", "cat", 40)], false).await.unwrap().remove(0);
    assert_eq!((conflict.outcome(), conflict.other), (Outcome::Conflict, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_two_programs_is_found_in_both_by_its_op_and_under_its_key_in_the_givers() {
    use pb::get_event_request::Name;
    let mut house = house().await;
    house.post(gift("g1", "ann", 100)).await.unwrap();
    let op = house.post(convert("c1", "ann", "", 100)).await.unwrap().op;
    let event = found(&mut house, PROGRAM, Name::Op(op)).await.unwrap();
    assert_eq!(found(&mut house, AIR, Name::Op(op)).await.as_ref(), Some(&event));
    assert_eq!(found(&mut house, PROGRAM, Name::Key("c1".into())).await.as_ref(), Some(&event));
    assert_eq!(found(&mut house, AIR, Name::Key("c1".into())).await, None);
    let legs = |legs: &[pb::Leg]| legs.iter().map(|leg| (leg.account.clone(), leg.amount)).collect::<Vec<_>>();
    assert_eq!(legs(&event.legs), [("member/available".into(), -100), ("conversion/air".into(), 100)]);
    assert_eq!(legs(&event.other_legs), [("conversion/high-street".into(), -30), ("member/available".into(), 30)]);
    assert_eq!(event.receipt.unwrap().other.unwrap().member, "ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stood_then_as_they_did_and_a_refund_of_what_was_given_away_is_owed() {
    let mut house = house().await;
    let mut purchase = crate::house::purchase("p1", "ann", 10_000);
    purchase.reference = "order 7".into();
    let earned = house.post(purchase).await.unwrap().op;
    let given = house.post(transfer("t1", "ann", "bob", 100)).await.unwrap().op;
    let turned = house.post(convert("c1", "bob", "bob", 60)).await.unwrap().op;
    let refunded = house.post(refund("r1", "ann", "p1", 10_000)).await.unwrap();
    assert_eq!((refunded.owed, refunded.balance.unwrap().debt), (100, 100));
    let mut by_reference = refund("r2", "bob", "", 1);
    by_reference.action = Some(Action::Refund(pb::Refund {
        original: Some(pb::refund::Original::OriginalReference("order 7".into())),
        amount: Some(pb::refund::Amount::AmountMinor(1)),
        event_kind: String::new(),
    }));
    let refused = house.post(by_reference).await.unwrap();
    assert_eq!(refused.reason, i32::from(Reason::OriginalNotFound.number()), "it is not bob's");
    let mut then = Vec::new();
    for (program, id) in [(PROGRAM, "ann"), (PROGRAM, "bob"), (AIR, "bob")] {
        for op in [earned, given, turned] {
            let member = member(&mut house, program, id, Some(AsOf::AsOfOp(op))).await;
            then.push(member.map(|member| (member.balance.unwrap().available, member.last_op)));
        }
    }
    let expected = [
        [Some((100, earned)), Some((0, given)), Some((0, given))],
        [None, Some((100, given)), Some((40, turned))],
        [None, None, Some((0, turned))],
    ];
    assert_eq!(then, expected.concat());
    let miles =
        member(&mut house, AIR, "bob", None).await.unwrap().assets.into_iter().find(|card| card.asset == "miles");
    assert_eq!(miles.unwrap().available, 18);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_names_its_field_and_an_atomic_batch_gives_all_or_nothing() {
    let mut house = house().await;
    house.post(gift("g1", "ann", 100)).await.unwrap();
    for (key, sent, reason, field) in [
        ("s1", transfer("s1", "ann", "ann", 1), Reason::SelfTransfer, "transfer.to"),
        ("s2", transfer("s2", "ann", "bob", 101), Reason::InsufficientPoints, "transfer.units"),
        ("s3", convert("s3", "ann", "ann", 9), Reason::ConversionTooSmall, "convert.units"),
    ] {
        let refused = house.post(sent).await.unwrap();
        assert_eq!((refused.outcome(), refused.field.as_str()), (Outcome::Rejected, field), "{key}");
        assert_eq!(refused.reason, i32::from(reason.number()), "{key}");
    }
    let mut unknown = convert("s4", "ann", "ann", 10);
    if let Some(Action::Convert(convert)) = &mut unknown.action {
        convert.to_program = "rail".into();
    }
    let status = house.post(unknown).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "PROGRAM_UNKNOWN".into()));
    assert_eq!(fields(&status), ["command.convert.to_program"]);
    let items =
        vec![transfer("a1", "ann", "bob", 60), convert("a2", "bob", "bob", 50), transfer("a3", "ann", "bob", 50)];
    let receipts = house.batch(items, true).await.unwrap();
    let outcomes: Vec<_> = receipts.iter().map(pb::Receipt::outcome).collect();
    assert_eq!(outcomes, [Outcome::Aborted, Outcome::Aborted, Outcome::Rejected]);
    assert!(receipts[..2].iter().all(|receipt| receipt.other.is_none()));
    assert_eq!(house.balance("ann").await.available, 100);
    assert_eq!(member(&mut house, PROGRAM, "bob", None).await, None);
    let items =
        vec![transfer("b1", "ann", "bob", 60), convert("b2", "bob", "bob", 50), transfer("b3", "bob", "ann", 5)];
    let receipts = house.batch(items, true).await.unwrap();
    assert!(receipts.iter().all(|receipt| receipt.outcome() == Outcome::Applied));
    let others: Vec<_> = receipts.iter().map(|receipt| receipt.other.clone().unwrap().member).collect();
    assert_eq!(others, ["bob", "bob", "ann"]);
    assert_eq!((house.balance("ann").await.available, house.balance("bob").await.available), (45, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_and_verify_prove_both_sides_and_what_the_programs_settle() {
    let mut house = house().await;
    for n in 0..20 {
        let (ann, bob) = (format!("ann{}", n % 3), format!("bob{}", n % 4));
        house.post(gift(&format!("g{n}"), &ann, 100)).await.unwrap();
        house.post(transfer(&format!("t{n}"), &ann, &bob, 40 + n)).await.unwrap();
        house.post(convert(&format!("c{n}"), &bob, &ann, 35)).await.unwrap();
        house.post(back(&format!("b{n}"), &ann, 7)).await.unwrap();
    }
    let trial = house.trial(None).await;
    let settled = trial.rows.iter().find(|row| row.account == "conversion/air").unwrap();
    assert_eq!((settled.credit, settled.debit), (20 * 30 - 20 * 15, 0));
    assert_eq!(settled.class(), pb::AccountClass::Clearing);
    house.snapshot("night").await.unwrap();
    ready(&mut house, "night").await;
    for format in [ExportFormat::Jsonl, ExportFormat::Csv, ExportFormat::Parquet, ExportFormat::Hledger] {
        for from_op in [1, 41] {
            let dir = tempfile::tempdir().unwrap();
            let request = pb::ExportSnapshotRequest { from_op, ..wanted("night", format) };
            keep(&export(&mut house, request).await.unwrap(), dir.path());
            verify_export(&*disk(dir.path()), Some(&*disk(house.dir.path())), &mut |_| {}).unwrap();
        }
    }
    let (dir, _) = house.close().await;
    let options = Options { rules: true, beside: gather(dir.path()).unwrap(), ..Options::default() };
    let report = verify(&RealDisk::open_existing(dir.path()).unwrap(), &options, &mut |_| {}).unwrap();
    assert_eq!(report.proved, Some(80));
    assert_eq!((report.members, report.beside.snapshots.len()), (10, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_a_transfer_as_two() {
    let mut house = house().await;
    let items: Vec<_> = (0..5_001).map(|n| transfer(&format!("k{n}"), "ann", "ben", 1)).collect();
    let status = house.batch(items.clone(), false).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "TOO_MANY_ITEMS".into()));
    assert!(status.message().contains("10002 items") && status.message().contains("a transfer as 2"), "{status:?}");
    house.post(gift("g", "ann", 3)).await.unwrap();
    let receipts = house.batch(items[..5_000].to_vec(), false).await.unwrap();
    assert_eq!(receipts.iter().filter(|receipt| receipt.outcome() == Outcome::Applied).count(), 3);
}
