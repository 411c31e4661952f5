//! A wall clock that leaps ahead of the book, and one that is driven by hand.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use stampbook::audit::export::verify::verify_export;
use stampbook::config::{ClockSetting, Config};
use stampbook::io::RealDisk;
use stampbook::io::sim::{SimClock, SimDisk};
use stampbook::proto as pb;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::proto::{Kind, Outcome, Reason};
use stampbook::server::{Ended, start_on};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::house::{CAMPAIGN, DEFINITION, House, PROGRAM, connect, fields, first, gift, loopback, reason, small};

const BEGUN_US: i64 = 1_800_000_000_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// A server on a clock that is turned by the test, with one gift to `ann`.
struct Turned {
    clock: Arc<SimClock>,
    ledger: LedgerServiceClient<Channel>,
    accounts: AccountServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Ended>,
}

impl Turned {
    async fn new() -> Self {
        let clock = Arc::new(SimClock::new(BEGUN_US));
        let running = start_on(Arc::new(SimDisk::new(1)), clock.clone(), loopback(), &small()).await.unwrap();
        let channel = connect(running.address()).await;
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(running.until(async {
            let _ = stopped.await;
        }));
        let mut turned = Self {
            clock,
            ledger: LedgerServiceClient::new(channel.clone()),
            accounts: AccountServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel),
            stop,
            ended,
        };
        let put = pb::PutProgramRequest {
            program: PROGRAM.into(),
            definition: DEFINITION.into(),
            key: "put-1".into(),
            actor: "ana".into(),
            reason: "test".into(),
            ..Default::default()
        };
        turned.admin.put_program(put).await.unwrap();
        turned.post("g1").await.unwrap();
        turned
    }

    async fn close(self) {
        drop((self.ledger, self.accounts, self.admin));
        let _ = self.stop.send(());
        assert_eq!(self.ended.await.unwrap(), Ended::Stopped);
    }

    async fn post(&mut self, key: &str) -> Result<pb::Receipt, Status> {
        let request = pb::PostRequest { command: Some(gift(key, "ann", 5)) };
        self.ledger.post(request).await.map(|response| response.into_inner().receipt.unwrap())
    }

    async fn batch(&mut self, keys: &[&str], atomic: bool) -> Result<(), Status> {
        let items = keys.iter().map(|key| gift(key, "ann", 5)).collect();
        self.ledger.post_batch(pb::PostBatchRequest { items, atomic }).await.map(|_| ())
    }

    /// The status that a stream of one message ends with.
    async fn stream(&mut self, key: &str) -> Result<(), Status> {
        let message = pb::PostStreamRequest { items: vec![gift(key, "ann", 5)] };
        let mut responses = self.ledger.post_stream(tokio_stream::once(message)).await?.into_inner();
        while responses.message().await?.is_some() {}
        Ok(())
    }

    async fn fund(&mut self) -> Result<(), Status> {
        let request = pb::FundCampaignRequest {
            program: PROGRAM.into(),
            campaign: CAMPAIGN.into(),
            points: 5,
            key: "fund".into(),
            actor: "ana".into(),
            reason: "test".into(),
        };
        self.admin.fund_campaign(request).await.map(|_| ())
    }

    async fn confirm(&mut self, request: pb::ConfirmClockRequest) -> Result<pb::Receipt, Status> {
        self.admin.confirm_clock(request).await.map(|response| response.into_inner().receipt.unwrap())
    }

    async fn available(&mut self) -> i64 {
        let request = pb::GetMemberRequest { program: PROGRAM.into(), member: "ann".into(), as_of: None };
        let member = self.accounts.get_member(request).await.unwrap().into_inner().member.unwrap();
        member.balance.unwrap().available
    }
}

fn confirmation(key: &str, clock_us: i64) -> pb::ConfirmClockRequest {
    pb::ConfirmClockRequest { clock_us, key: key.into(), actor: "ana".into(), reason: "the server was asleep".into() }
}

/// A refusal says both times, and when to come back.
fn assert_unconfirmed(status: &Status, clock_us: i64) {
    assert_eq!(reason(status), (Code::Unavailable, "CLOCK_UNCONFIRMED".into()));
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["book_time_us"], BEGUN_US.to_string());
    assert_eq!(metadata["clock_us"], clock_us.to_string());
    assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leap_refuses_all_ways_to_write_until_it_is_confirmed_and_takes_no_key() {
    let mut turned = Turned::new().await;
    let leapt_us = BEGUN_US + HOUR_US;
    turned.clock.step_wall(leapt_us);
    for _ in 0..2 {
        assert_unconfirmed(&turned.post("g2").await.unwrap_err(), leapt_us);
        assert_unconfirmed(&turned.batch(&["g1", "g2"], false).await.unwrap_err(), leapt_us);
        assert_unconfirmed(&turned.batch(&["g2", "g3"], true).await.unwrap_err(), leapt_us);
        assert_unconfirmed(&turned.stream("g2").await.unwrap_err(), leapt_us);
        assert_unconfirmed(&turned.fund().await.unwrap_err(), leapt_us);
    }
    assert_eq!(turned.available().await, 5);
    // What the clock alone says has passed has not passed for the book.
    let as_of = Some(pb::get_trial_balance_request::AsOf::AsOfTimeUs(BEGUN_US + 1));
    let request = pb::GetTrialBalanceRequest { program: PROGRAM.into(), as_of, basis: 0 };
    let status = turned.accounts.get_trial_balance(request.clone()).await.unwrap_err();
    assert_eq!(fields(&status), ["as_of_time_us"]);

    let refused = turned.confirm(confirmation("c1", BEGUN_US)).await.unwrap();
    assert_eq!((refused.outcome(), refused.reason()), (Outcome::Rejected, Reason::ClockDiffers));
    assert_eq!((refused.field.as_str(), refused.book_time_us), ("clock_us", BEGUN_US));
    assert_unconfirmed(&turned.post("g2").await.unwrap_err(), leapt_us);

    let confirmed = turned.confirm(confirmation("c2", leapt_us - 5)).await.unwrap();
    assert_eq!((confirmed.outcome(), confirmed.book_time_us, confirmed.op), (Outcome::Applied, leapt_us, 4));
    let posted = turned.post("g2").await.unwrap();
    assert_eq!((posted.outcome(), posted.replayed, posted.book_time_us), (Outcome::Applied, false, leapt_us));
    turned.stream("g3").await.unwrap();
    turned.fund().await.unwrap();
    assert_eq!(turned.available().await, 15);
    turned.accounts.get_trial_balance(request).await.unwrap();
    turned.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_is_an_event_of_the_book_itself_under_its_key_for_ever() {
    let mut turned = Turned::new().await;
    let early = turned.confirm(confirmation("c1", BEGUN_US)).await.unwrap();
    assert_eq!((early.outcome(), early.reason()), (Outcome::Rejected, Reason::ClockNotLeapt));
    turned.clock.step_wall(BEGUN_US + HOUR_US);
    assert_unconfirmed(&turned.post("g2").await.unwrap_err(), BEGUN_US + HOUR_US);
    let sound = confirmation("c2", BEGUN_US + HOUR_US);
    for (request, field) in [
        (pb::ConfirmClockRequest { clock_us: 0, ..sound.clone() }, "clock_us"),
        (pb::ConfirmClockRequest { clock_us: i64::MAX, ..sound.clone() }, "clock_us"),
        (pb::ConfirmClockRequest { key: String::new(), ..sound.clone() }, "key"),
        (pb::ConfirmClockRequest { actor: String::new(), ..sound.clone() }, "actor"),
        (pb::ConfirmClockRequest { reason: String::new(), ..sound.clone() }, "reason"),
    ] {
        let status = turned.confirm(request).await.unwrap_err();
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let receipt = turned.confirm(sound.clone()).await.unwrap();
    let again = turned.confirm(sound.clone()).await.unwrap();
    assert!(again.replayed && first(&again) == receipt);
    let other = pb::ConfirmClockRequest { reason: "another".into(), ..sound };
    let status = turned.confirm(other).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "KEY_REUSED".into()));

    let name = |key: &str| Some(pb::get_event_request::Name::Key(key.into()));
    let event = |key| pb::GetEventRequest { program: String::new(), name: name(key) };
    let seen = turned.accounts.get_event(event("c2")).await.unwrap().into_inner().event.unwrap();
    assert_eq!((seen.kind(), seen.clock_from_us), (Kind::ClockConfirmed, Some(BEGUN_US)));
    assert_eq!((seen.program.as_str(), seen.member.as_str(), seen.legs.len()), ("", "", 0));
    assert_eq!((seen.actor.as_str(), seen.actor_reason.as_str()), ("ana", "the server was asleep"));
    assert_eq!(seen.receipt.as_ref(), Some(&receipt));
    let refused = turned.accounts.get_event(event("c1")).await.unwrap().into_inner().event.unwrap();
    assert_eq!((refused.kind(), refused.clock_from_us), (Kind::ClockConfirmed, None));
    turned.close().await;
}

/// 2020-01-01.
const YEAR_2020_US: i64 = 1_577_836_800_000_000;
const DAY_US: i64 = 24 * HOUR_US;

fn driven() -> Config {
    Config { clock: ClockSetting::Driven, clock_start_us: Some(YEAR_2020_US), ..small() }
}

async fn drive(house: &mut House, to_us: i64) -> Result<i64, Status> {
    let request = pb::DriveClockRequest { to_us };
    house.admin.drive_clock(request).await.map(|response| response.into_inner().from_us)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driven_clock_goes_forward_by_hand_alone_and_stays_where_the_book_is() {
    let mut house = House::open(tempfile::tempdir().unwrap(), &driven()).await;
    let put = house.put(DEFINITION, None, "put-1").await.unwrap().receipt.unwrap();
    assert_eq!((put.outcome(), put.book_time_us), (Outcome::Applied, YEAR_2020_US));
    assert_eq!(drive(&mut house, YEAR_2020_US).await.unwrap(), YEAR_2020_US);
    for years in 1..=3_i64 {
        let to_us = YEAR_2020_US + years * 365 * DAY_US;
        assert_eq!(drive(&mut house, to_us).await.unwrap(), to_us - 365 * DAY_US);
        let receipt = house.post(gift(&format!("g{years}"), "ann", 1)).await.unwrap();
        assert_eq!((receipt.outcome(), receipt.book_time_us), (Outcome::Applied, to_us));
        let status = drive(&mut house, to_us - 1).await.unwrap_err();
        assert_eq!((reason(&status).1.as_str(), fields(&status)), ("FIELD_OUT_OF_RANGE", vec!["to_us".to_owned()]));
    }
    for (to_us, why) in [(0, "FIELD_MISSING"), (i64::MAX, "FIELD_OUT_OF_RANGE")] {
        assert_eq!(reason(&drive(&mut house, to_us).await.unwrap_err()), (Code::InvalidArgument, why.into()));
    }
    let (dir, _) = house.close().await;
    let mut house = House::open(dir, &driven()).await;
    let receipt = house.post(gift("g4", "ann", 1)).await.unwrap();
    assert_eq!(receipt.book_time_us, YEAR_2020_US + 3 * 365 * DAY_US);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machines_clock_cannot_be_driven_and_a_driven_one_needs_a_start_for_a_new_book() {
    let mut house = House::furnished().await;
    let status = drive(&mut house, YEAR_2020_US).await.unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "CLOCK_NOT_DRIVEN".into()));
    let dir = tempfile::tempdir().unwrap();
    let config = Config { clock_start_us: None, ..driven() };
    let refused = stampbook::server::start(dir.path(), loopback(), &config).await.err().unwrap();
    assert!(refused.to_string().contains("clock_start") && refused.exit_code() == 2, "{refused}");
}

async fn cli(arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stampbook"));
    command.args(arguments).arg("--json");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {error}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_that_nobody_served_for_years_is_confirmed_on_the_command_line_and_its_export_shows_it() {
    let mut house = House::open(tempfile::tempdir().unwrap(), &driven()).await;
    house.put(DEFINITION, None, "put-1").await.unwrap();
    let target = house.address.to_string();
    let (code, drove) = cli(&["clock", "drive", "--to", "2021-01-01T00:00:00Z", "--target", &target]).await;
    assert_eq!((code, drove["from_us"].as_i64()), (0, Some(YEAR_2020_US)), "{drove}");
    house.post(gift("g1", "ann", 1)).await.unwrap();
    let (dir, _) = house.close().await;

    let mut house = House::open(dir, &small()).await;
    let target = house.address.to_string();
    assert_eq!(reason(&house.post(gift("g2", "ann", 1)).await.unwrap_err()).1, "CLOCK_UNCONFIRMED");
    assert_eq!(reason(&house.snapshot("s").await.unwrap_err()).1, "CLOCK_UNCONFIRMED");
    assert_eq!(house.balance("ann").await.available, 1);
    let act = ["--actor", "ana", "--reason", "opened again", "--target", &target];
    let confirm = |time: String, key: &'static str| {
        let mut arguments =
            vec!["clock".to_owned(), "confirm".into(), "--time".into(), time, "--key".into(), key.into()];
        arguments.extend(act.map(str::to_owned));
        arguments
    };
    let run = async |arguments: Vec<String>| cli(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (code, refused) = run(confirm("2021-01-01T00:00:00Z".into(), "c1")).await;
    assert_eq!((code, refused["error"].is_null(), refused["reason"].as_str()), (1, true, Some("CLOCK_DIFFERS")));
    let (code, confirmed) = run(confirm(Timestamp::now().to_string(), "c2")).await;
    assert_eq!((code, confirmed["op"].as_u64()), (0, Some(4)), "{confirmed}");
    house.post(gift("g2", "ann", 1)).await.unwrap();

    let (code, made) = cli(&["snapshot", "create", "s", "--target", &target]).await;
    assert_eq!(code, 0, "{made}");
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("export");
    let (name, format) = (["--snapshot", "s"], ["--format", "jsonl", "--out", folder.to_str().unwrap()]);
    let (code, said) = cli(&[&["export", "--target", &target][..], &name, &format].concat()).await;
    assert_eq!(code, 0, "{said}");
    let exported = RealDisk::open_existing(&folder).unwrap();
    verify_export(&exported, Some(&RealDisk::open_existing(house.dir.path()).unwrap()), &mut |_| {}).unwrap();
    let mut kinds = Vec::new();
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().unwrap().to_str().unwrap().starts_with("events") {
            for line in std::fs::read_to_string(file).unwrap().lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                kinds.push((row["kind"].as_str().unwrap().to_owned(), row["outcome"].as_str().unwrap().to_owned()));
            }
        }
    }
    let wanted = [
        ("program_put", "applied"),
        ("earn", "applied"),
        ("clock_confirmed", "rejected"),
        ("clock_confirmed", "applied"),
        ("earn", "applied"),
        ("snapshot_taken", "applied"),
    ];
    assert_eq!(kinds, wanted.map(|(kind, outcome)| (kind.to_owned(), outcome.to_owned())));
    let (dir, _) = house.close().await;
    let (code, proved) = cli(&["verify", "--rules", "--data", dir.path().to_str().unwrap()]).await;
    assert_eq!(code, 0, "{proved}");
}
