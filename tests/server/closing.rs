//! Periods closed, and what is marked for coming late.

use stampbook::proto as pb;
use stampbook::proto::{Kind, Outcome, Reason};
use tonic::Code;

use crate::house::{House, PROGRAM, fields, gift, reason};

const DAY_US: i64 = 86_400_000_000;

fn closing(key: &str, until_us: i64) -> pb::ClosePeriodRequest {
    pb::ClosePeriodRequest {
        program: PROGRAM.into(),
        until_us,
        key: key.into(),
        actor: "ana".into(),
        reason: "the month is over".into(),
    }
}

async fn close(house: &mut House, key: &str, until_us: i64) -> pb::Receipt {
    house.admin.close_period(closing(key, until_us)).await.unwrap().into_inner().receipt.unwrap()
}

async fn dated(house: &mut House, key: &str, occurred_at_us: i64) -> pb::Event {
    let command = pb::Command { occurred_at_us: Some(occurred_at_us), ..gift(key, "ann", 5) };
    let receipt = house.post(command).await.unwrap();
    assert_eq!(receipt.outcome(), Outcome::Applied);
    house.event(receipt.op).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn books_are_closed_to_later_and_later_instants_none_of_them_ahead() {
    let mut house = House::furnished().await;
    let now = house.event(1).await.unwrap().receipt.unwrap().book_time_us;
    let closed = close(&mut house, "p1", now - 2 * DAY_US).await;
    assert_eq!(closed.outcome(), Outcome::Applied);
    for (key, until_us, why) in [
        ("p2", now - 2 * DAY_US, Reason::PeriodClosed),
        ("p3", now - 3 * DAY_US, Reason::PeriodClosed),
        ("p4", now + DAY_US, Reason::PeriodNotOver),
    ] {
        let refused = close(&mut house, key, until_us).await;
        assert_eq!((refused.outcome(), refused.reason(), refused.field.as_str()), (Outcome::Rejected, why, "until_us"));
    }
    assert!(close(&mut house, "p1", now - 2 * DAY_US).await.replayed);
    let status = house.admin.close_period(closing("p1", now - DAY_US)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "KEY_REUSED".into()));
    assert_eq!(fields(&house.admin.close_period(closing("p5", 0)).await.unwrap_err()), ["until_us"]);
    let unknown = pb::ClosePeriodRequest { program: "none".into(), ..closing("p6", 5) };
    assert_eq!(fields(&house.admin.close_period(unknown).await.unwrap_err()), ["program"]);
    let mut house = house.reopened().await;
    assert_eq!(close(&mut house, "p7", now - 2 * DAY_US).await.reason(), Reason::PeriodClosed);
    let shown = house.event(closed.op).await.unwrap();
    assert_eq!((shown.kind(), shown.closes_until_us), (Kind::PeriodClosed, Some(now - 2 * DAY_US)));
    let request = pb::GetProgramRequest { program: PROGRAM.into() };
    let program = house.admin.get_program(request).await.unwrap().into_inner().program.unwrap();
    assert_eq!(program.closed_until_us, Some(now - 2 * DAY_US));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dated_before_a_closing_is_taken_and_marked_when_it_comes_after_it() {
    let mut house = House::furnished().await;
    let now = house.event(1).await.unwrap().receipt.unwrap().book_time_us;
    let [first, second] = [now - 20 * DAY_US, now - 10 * DAY_US];
    let early = dated(&mut house, "k1", first - 1).await;
    assert_eq!(close(&mut house, "p1", first).await.outcome(), Outcome::Applied);
    assert_eq!(dated(&mut house, "k2", first - 1).await.late_for_us, Some(first));
    assert_eq!(dated(&mut house, "k3", first).await.late_for_us, None);
    assert_eq!(close(&mut house, "p2", second).await.outcome(), Outcome::Applied);
    let late = dated(&mut house, "k4", first).await;
    assert_eq!(late.late_for_us, Some(second));
    // What came in time stays unmarked, whatever was closed after it.
    assert_eq!(house.event(early.receipt.unwrap().op).await.unwrap().late_for_us, None);
    assert_eq!(house.balance("ann").await.available, 20);
    let mut house = house.reopened().await;
    assert_eq!(house.event(late.receipt.unwrap().op).await.unwrap().late_for_us, Some(second));
}
