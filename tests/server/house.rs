//! A running server with a double-points program, and short ways to talk to it.

use std::net::SocketAddr;
use std::path::Path;

use stampbook::config::Config;
use stampbook::proto as pb;
use stampbook::proto::account_service_client::AccountServiceClient;
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::audit_service_client::AuditServiceClient;
use stampbook::proto::ledger_service_client::LedgerServiceClient;
use stampbook::server::{self, Ended};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

pub const PROGRAM: &str = "high-street";
pub const CAMPAIGN: &str = "double-night";
pub const BUDGET: i64 = 1_000_000;

/// One point a pound, doubled by a campaign that is always on.
pub const DEFINITION: &str = r#"
id = "high-street"
name = "High Street Club"
currency = "GBP"
time_zone = "Europe/London"
mode = "import"

[[rules]]
kind = "purchase"
points = 1
per_minor = 100

[[rules]]
kind = "review"
points = 1
per_minor = 1

[[campaigns]]
id = "double-night"
start = "2000-01-01T00:00:00"
end = "2100-01-01T00:00:00"
kinds = ["purchase"]
multiplier = "2"
"#;

pub struct House {
    pub dir: TempDir,
    pub address: SocketAddr,
    pub ledger: LedgerServiceClient<Channel>,
    pub accounts: AccountServiceClient<Channel>,
    pub admin: AdminServiceClient<Channel>,
    pub audit: AuditServiceClient<Channel>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Ended>,
}

impl House {
    /// A server on an empty directory, its program applied and its campaign funded.
    pub async fn furnished() -> Self {
        let mut house = Self::open(tempfile::tempdir().unwrap(), &small()).await;
        house.put(DEFINITION, None, "put-1").await.unwrap();
        house.fund(BUDGET, "fund-1").await.unwrap();
        house
    }

    pub async fn open(dir: TempDir, config: &Config) -> Self {
        let running = server::start(dir.path(), loopback(), config).await.unwrap();
        let address = running.address();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(running.until(async {
            let _ = stopped.await;
        }));
        let channel = connect(address).await;
        Self {
            dir,
            address,
            ledger: LedgerServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20),
            accounts: AccountServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel.clone()),
            audit: AuditServiceClient::new(channel),
            stop,
            ended,
        }
    }

    /// Takes the server down and says how it ended.
    pub async fn close(self) -> (TempDir, Ended) {
        let Self { dir, ledger, accounts, admin, audit, stop, ended, .. } = self;
        drop((ledger, accounts, admin, audit));
        let _ = stop.send(());
        (dir, ended.await.unwrap())
    }

    /// Takes the server down and opens the same book again.
    pub async fn reopened(self) -> Self {
        let (dir, ended) = self.close().await;
        assert_eq!(ended, Ended::Stopped);
        Self::open(dir, &small()).await
    }

    /// Tells the server to stop while its clients are still there.
    pub fn tell_to_stop(self) -> (TempDir, JoinHandle<Ended>) {
        let _ = self.stop.send(());
        (self.dir, self.ended)
    }

    pub async fn put(
        &mut self,
        text: &str,
        expected: Option<u32>,
        key: &str,
    ) -> Result<pb::PutProgramResponse, Status> {
        let request = pb::PutProgramRequest {
            program: PROGRAM.into(),
            definition: text.into(),
            expected_version: expected,
            key: key.into(),
            actor: "ana".into(),
            reason: "test".into(),
        };
        self.admin.put_program(request).await.map(tonic::Response::into_inner)
    }

    pub async fn fund(&mut self, points: i64, key: &str) -> Result<pb::FundCampaignResponse, Status> {
        let request = pb::FundCampaignRequest {
            program: PROGRAM.into(),
            campaign: CAMPAIGN.into(),
            points,
            key: key.into(),
            actor: "ana".into(),
            reason: "test".into(),
        };
        self.admin.fund_campaign(request).await.map(tonic::Response::into_inner)
    }

    pub async fn post(&mut self, command: pb::Command) -> Result<pb::Receipt, Status> {
        let request = pb::PostRequest { command: Some(command) };
        self.ledger.post(request).await.map(|response| response.into_inner().receipt.unwrap())
    }

    pub async fn batch(&mut self, items: Vec<pb::Command>, atomic: bool) -> Result<Vec<pb::Receipt>, Status> {
        let request = pb::PostBatchRequest { items, atomic };
        self.ledger.post_batch(request).await.map(|response| response.into_inner().receipts)
    }

    pub async fn balance(&mut self, member: &str) -> pb::Balance {
        let request = pb::GetMemberRequest { program: PROGRAM.into(), member: member.into(), as_of: None };
        self.accounts.get_member(request).await.unwrap().into_inner().member.unwrap().balance.unwrap()
    }

    pub async fn trial(&mut self, as_of: Option<pb::get_trial_balance_request::AsOf>) -> pb::GetTrialBalanceResponse {
        let request = pb::GetTrialBalanceRequest { program: PROGRAM.into(), as_of, basis: 0 };
        self.accounts.get_trial_balance(request).await.unwrap().into_inner()
    }

    pub async fn snapshot(&mut self, name: &str) -> Result<pb::CreateSnapshotResponse, Status> {
        self.audit.create_snapshot(snapshot(name)).await.map(tonic::Response::into_inner)
    }

    pub async fn event(&mut self, op: u64) -> Result<pb::Event, Status> {
        let name = Some(pb::get_event_request::Name::Op(op));
        let request = pb::GetEventRequest { program: PROGRAM.into(), name };
        self.accounts.get_event(request).await.map(|response| response.into_inner().event.unwrap())
    }
}

/// Settings with segments so small that a book is soon begun; the commands of these tests fit them.
pub fn small() -> Config {
    Config { segment_bytes: 16 << 20, ..Config::default() }
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// A second start on the directory of a server that is up.
pub async fn start_again(dir: &Path) -> Result<(), server::ServeError> {
    server::start(dir, loopback(), &small()).await.map(|_| ())
}

fn command(key: &str, member: &str, action: pb::command::Action) -> pb::Command {
    pb::Command {
        program: PROGRAM.into(),
        key: key.into(),
        member: member.into(),
        action: Some(action),
        ..pb::Command::default()
    }
}

/// Money spent on a purchase, in pennies.
pub fn purchase(key: &str, member: &str, amount_minor: i64) -> pb::Command {
    let basis = Some(pb::earn::Basis::AmountMinor(amount_minor));
    command(
        key,
        member,
        pb::command::Action::Earn(pb::Earn { basis, event_kind: "purchase".into(), ..Default::default() }),
    )
}

/// Points decided elsewhere, which no campaign adds to.
pub fn gift(key: &str, member: &str, points: i64) -> pb::Command {
    let basis = Some(pb::earn::Basis::Points(points));
    command(key, member, pb::command::Action::Earn(pb::Earn { basis, event_kind: String::new(), ..Default::default() }))
}

pub fn redeem(key: &str, member: &str, points: i64) -> pb::Command {
    let purpose = pb::Purpose::CashOffset.into();
    command(key, member, pb::command::Action::Redeem(pb::Redeem { points, purpose, ..Default::default() }))
}

pub fn refund(key: &str, member: &str, original_key: &str, amount_minor: i64) -> pb::Command {
    let original = Some(pb::refund::Original::OriginalKey(original_key.into()));
    let amount = Some(pb::refund::Amount::AmountMinor(amount_minor));
    command(key, member, pb::command::Action::Refund(pb::Refund { original, amount, event_kind: String::new() }))
}

pub fn adjust(key: &str, member: &str, points: i64) -> pb::Command {
    let adjust = pb::Adjust { points, actor: "ana".into(), reason: "goodwill".into(), ..Default::default() };
    command(key, member, pb::command::Action::Adjust(adjust))
}

/// A balance from another system.
pub fn opening(key: &str, member: &str, points: i64) -> pb::Command {
    let opening = pb::Opening { points, actor: "ana".into(), reason: "moved in".into(), ..Default::default() };
    command(key, member, pb::command::Action::Opening(opening))
}

/// A snapshot under a key made from its name.
pub fn snapshot(name: &str) -> pb::CreateSnapshotRequest {
    pb::CreateSnapshotRequest {
        name: name.into(),
        retain_until_us: None,
        key: format!("take-{name}"),
        actor: "ana".into(),
        reason: "audit".into(),
    }
}

/// The receipt without what only a replay changes.
pub fn first(receipt: &pb::Receipt) -> pb::Receipt {
    pb::Receipt { replayed: false, ..receipt.clone() }
}

/// The code and the reason of `ErrorInfo`.
pub fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().expect("ErrorInfo");
    assert_eq!(info.domain, pb::ERROR_DOMAIN);
    (status.code(), info.reason)
}

/// The fields that `BadRequest` names.
pub fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}
