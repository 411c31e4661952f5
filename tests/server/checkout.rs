//! Several commands as one: points, money and a coupon for one order, and points on the rest.

use stampbook::proto as pb;
use stampbook::proto::checkout_part::Part;
use stampbook::proto::command::Action;
use stampbook::proto::{Outcome, Reason};
use tonic::Code;

use crate::house::{House, PROGRAM, fields, first, gift, reason, refund, small};

/// Points, money on a card and free deliveries.
const DEFINITION: &str = r#"
id = "high-street"
name = "High Street Club"
currency = "GBP"
time_zone = "Europe/London"
mode = "import"
assets = [
  { id = "points", kind = "spendable", unit = "point" },
  { id = "card", kind = "stored_value", unit = "penny" },
  { id = "delivery", kind = "entitlement", unit = "delivery" },
]

[[rules]]
kind = "purchase"
points = 1
per_minor = 100
"#;

fn command(key: &str, action: Action) -> pb::Command {
    pb::Command {
        program: PROGRAM.into(),
        key: key.into(),
        member: "ann".into(),
        reference: "order-7".into(),
        action: Some(action),
        ..Default::default()
    }
}

fn checkout(key: &str, parts: &[Part]) -> pb::Command {
    let parts = parts.iter().map(|part| pb::CheckoutPart { part: Some(part.clone()) }).collect();
    command(key, Action::Checkout(pb::Checkout { parts }))
}

fn spend(points: i64) -> Part {
    Part::Redeem(pb::Redeem { points, purpose: pb::Purpose::CashOffset.into(), ..Default::default() })
}

fn pay(minor: i64) -> Part {
    let (purpose, asset) = (pb::Purpose::Payment.into(), "card".into());
    Part::Redeem(pb::Redeem { points: minor, purpose, asset, ..Default::default() })
}

fn deliver() -> Part {
    Part::Use(pb::Use { asset: "delivery".into(), units: 1 })
}

fn earn(minor: i64) -> Part {
    let basis = Some(pb::earn::Basis::AmountMinor(minor));
    Part::Earn(pb::Earn { basis, event_kind: "purchase".into(), ..Default::default() })
}

/// A member with 500 points, 20 pounds and a delivery.
async fn furnished() -> House {
    let mut house = House::open(tempfile::tempdir().unwrap(), &small()).await;
    house.put(DEFINITION, None, "put-1").await.unwrap();
    house.post(gift("g", "ann", 500)).await.unwrap();
    let card = pb::TopUp { asset: "card".into(), principal_minor: 2_000, bonus_minor: 0 };
    house.post(command("t", Action::TopUp(card))).await.unwrap();
    let delivery = pb::Grant { asset: "delivery".into(), units: 1, lapses_at_us: None };
    house.post(command("d", Action::Grant(delivery))).await.unwrap();
    house
}

/// What the member has available: points, pennies, deliveries.
async fn available(house: &mut House) -> [i64; 3] {
    let request = pb::GetMemberRequest { program: PROGRAM.into(), member: "ann".into(), as_of: None };
    let member = house.accounts.get_member(request).await.unwrap().into_inner().member.unwrap();
    ["points", "card", "delivery"]
        .map(|id| member.assets.iter().find(|card| card.asset == id).map_or(0, |card| card.available))
}

fn order() -> pb::Command {
    checkout("c", &[spend(300), pay(1_500), deliver(), earn(2_500)])
}

#[tokio::test(flavor = "multi_thread")]
async fn all_parts_of_a_checkout_are_applied_and_their_receipts_are_in_its_own_for_ever() {
    let mut house = furnished().await;
    let receipt = house.post(order()).await.unwrap();
    assert_eq!((receipt.outcome(), receipt.parts.len()), (Outcome::Applied, 4));
    assert_eq!(receipt.parts.iter().map(|part| part.op).collect::<Vec<_>>(), [5, 6, 7, 8]);
    assert_eq!((receipt.op, receipt.key.as_str()), (9, "c"));
    assert_eq!((receipt.parts[0].taken, receipt.parts[1].taken, receipt.parts[3].awarded), (300, 1_500, 25));
    assert!(receipt.parts.iter().all(|part| part.key.is_empty() && part.outcome() == Outcome::Applied));
    assert_eq!(available(&mut house).await, [225, 500, 0]);
    let again = house.post(order()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(first(&again), receipt);
    let mut house = house.reopened().await;
    assert_eq!(first(&house.post(order()).await.unwrap()), receipt);
    let other = house.post(checkout("c", &[spend(300), earn(2_500)])).await.unwrap_err();
    assert_eq!(reason(&other), (Code::AlreadyExists, "KEY_REUSED".into()));
    assert_eq!(available(&mut house).await, [225, 500, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_refused_refuses_the_whole_and_is_named() {
    let mut house = furnished().await;
    let refused = checkout("c", &[spend(300), deliver(), pay(2_001), earn(2_500)]);
    let receipt = house.post(refused.clone()).await.unwrap();
    assert_eq!((receipt.outcome(), receipt.reason()), (Outcome::Rejected, Reason::InsufficientPoints));
    assert_eq!((receipt.field.as_str(), receipt.op), ("checkout.parts[2].redeem.points", 5));
    assert!(receipt.parts.is_empty());
    assert_eq!(available(&mut house).await, [500, 2_000, 1]);
    assert_eq!(first(&house.post(refused).await.unwrap()), receipt);
    // A part sees those before it: what it earned can be spent.
    let receipt = house.post(checkout("e", &[earn(10_000), spend(600)])).await.unwrap();
    assert_eq!((receipt.outcome(), available(&mut house).await), (Outcome::Applied, [0, 2_000, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_in_an_atomic_batch_stands_or_falls_with_it() {
    let mut house = furnished().await;
    let spend_all =
        |key: &str| command(key, Action::Redeem(pb::Redeem { points: 226, purpose: 1, ..Default::default() }));
    let receipts = house.batch(vec![order(), spend_all("r")], true).await.unwrap();
    assert_eq!((receipts[0].outcome(), receipts[1].outcome()), (Outcome::Aborted, Outcome::Rejected));
    assert_eq!(available(&mut house).await, [500, 2_000, 1]);
    let short = checkout("s", &[spend(502), earn(100)]);
    let receipts = house.batch(vec![gift("h", "ann", 1), short, gift("i", "ann", 1)], true).await.unwrap();
    assert_eq!((receipts[0].outcome(), receipts[2].outcome()), (Outcome::Aborted, Outcome::Aborted));
    assert_eq!(
        (receipts[1].outcome(), receipts[1].field.as_str()),
        (Outcome::Rejected, "checkout.parts[0].redeem.points")
    );
    assert_eq!(available(&mut house).await, [500, 2_000, 1]);
    let receipts = house.batch(vec![gift("h", "ann", 2), order(), gift("i", "ann", 1)], true).await.unwrap();
    assert!(receipts.iter().all(|receipt| receipt.outcome() == Outcome::Applied));
    assert_eq!((receipts[1].parts.len(), available(&mut house).await), (4, [228, 500, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_a_checkout_is_one_of_its_earn_and_a_reversal_names_a_part() {
    let mut house = furnished().await;
    let receipt = house.post(order()).await.unwrap();
    let refunded = house.post(refund("f", "ann", "c", 1_000)).await.unwrap();
    assert_eq!((refunded.outcome(), refunded.taken_back[0].taken), (Outcome::Applied, 10));
    let named = |original| pb::Refund {
        original: Some(original),
        amount: Some(pb::refund::Amount::AmountMinor(500)),
        ..Default::default()
    };
    use pb::refund::Original::{OriginalOp, OriginalReference};
    for (key, original) in [("f2", OriginalOp(receipt.op)), ("f3", OriginalReference("order-7".into()))] {
        let refunded = house.post(command(key, Action::Refund(named(original)))).await.unwrap();
        assert_eq!((refunded.outcome(), refunded.taken_back[0].taken), (Outcome::Applied, 5), "{key}");
    }
    let reverse = |key: &str, op| {
        let original = Some(pb::reverse::Original::OriginalOp(op));
        command(key, Action::Reverse(pb::Reverse { original, units: None }))
    };
    let returned = house.post(reverse("v", receipt.parts[0].op)).await.unwrap();
    assert_eq!(returned.reversal.unwrap().returned, 300);
    let whole = house.post(reverse("w", receipt.op)).await.unwrap();
    assert_eq!((whole.outcome(), whole.reason()), (Outcome::Rejected, Reason::NotReversible));
    assert_eq!(available(&mut house).await, [505, 500, 0]);
    let mut house = house.reopened().await;
    let refunded = house.post(refund("f4", "ann", "c", 501)).await.unwrap();
    assert_eq!(refunded.reason(), Reason::RefundExceedsOriginal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_wrong_shape_names_the_part_and_a_batch_counts_the_parts() {
    let mut house = furnished().await;
    let faults = [
        (checkout("a", &[spend(1)]), "command.checkout.parts"),
        (checkout("a", &vec![spend(1); 9]), "command.checkout.parts"),
        (checkout("a", &[spend(1), spend(0)]), "command.checkout.parts[1].redeem.points"),
        (checkout("a", &[earn(1), deliver(), earn(1)]), "command.checkout.parts[2].earn"),
    ];
    for (sent, field) in faults {
        let status = house.post(sent).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let items = |count: usize| (0..count).map(|n| checkout(&format!("k{n}"), &vec![earn(1); 1])).collect::<Vec<_>>();
    let eight = items(1_112).into_iter().map(|sent| {
        let Some(Action::Checkout(checkout)) = sent.action else { unreachable!("a checkout") };
        let part = pb::CheckoutPart { part: Some(spend(1)) };
        let parts = checkout.parts.into_iter().chain(vec![part; 7]).collect();
        pb::Command { action: Some(Action::Checkout(pb::Checkout { parts })), ..sent }
    });
    let eight: Vec<_> = eight.collect();
    let status = house.batch(eight.clone(), false).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "TOO_MANY_ITEMS".into()));
    let receipts = house.batch(eight[..1_111].to_vec(), false).await.unwrap();
    assert_eq!(receipts.iter().filter(|receipt| receipt.outcome() == Outcome::Applied).count(), 71);
}
