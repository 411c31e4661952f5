//! Stampbook itself, through the same callers.

use std::fs;
use std::path::PathBuf;

use stampbook::proto::GetTrialBalanceRequest;
use stampbook::proto::account_service_client::AccountServiceClient;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Channel;

use super::Store;
use super::drive::{Caller, commands_of};
use super::totals::Totals;
use crate::process::Server;
use crate::stage::Stage;
use crate::wire::{BytesCodec, Counted, Drawn, Receipts, Writer, batch_path, post_path};
use crate::{Failure, client, program};

/// Books of Stampbook.
pub(super) struct Stampbook {
    server: Server,
    data: PathBuf,
}

impl Stampbook {
    /// New books with the stage's members; those of before are gone.
    pub(super) async fn open(stage: &Stage) -> Result<Self, Failure> {
        let data = stage.path("books");
        let config = stage.config("server", None, "")?;
        let server = stage.serve(&data, &config).await?;
        stage.fill(&server.address).await?;
        Ok(Self { server, data })
    }
}

impl Drop for Stampbook {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = fs::remove_dir_all(&self.data);
    }
}

impl Store for Stampbook {
    type Caller = StampbookCaller;

    async fn callers(&mut self, connections: u64, in_flight: u64) -> Result<Vec<StampbookCaller>, Failure> {
        let mut callers = Vec::new();
        for _ in 0..connections {
            let grpc = client::raw(client::connect(&self.server.address).await?);
            for _ in 0..in_flight {
                // Only its templates are used.
                callers.push(StampbookCaller { grpc: grpc.clone(), encoder: commands_of(0, 0, 1)? });
            }
        }
        Ok(callers)
    }

    async fn totals(&mut self) -> Result<Totals, Failure> {
        let mut account = AccountServiceClient::new(client::connect(&self.server.address).await?);
        let ask = GetTrialBalanceRequest { program: program::LOAD.program.to_owned(), as_of: None, basis: 0 };
        let balance = account.get_trial_balance(ask).await?.into_inner();
        let campaign = format!("campaign/{}", program::LOAD.campaign);
        let of = |account: &str| -> i64 {
            let rows = balance.rows.iter().filter(|row| row.account == account);
            rows.map(|row| row.credit - row.debit).sum()
        };
        let (issued, members, campaign) = (-of("issuance"), of("member/available"), of(&campaign));
        Ok(Totals { commands: balance.op, issued, members, campaign })
    }
}

/// See [`Caller`].
pub(super) struct StampbookCaller {
    grpc: Grpc<Channel>,
    encoder: Writer,
}

impl Caller for StampbookCaller {
    async fn post(&mut self, commands: &[Drawn]) -> Result<Vec<Counted>, Failure> {
        let mut request = Vec::new();
        commands.iter().for_each(|command| self.encoder.write(command, &mut request));
        let path = if commands.len() == 1 { post_path() } else { batch_path() };
        self.grpc.ready().await?;
        let answer = self.grpc.unary(Request::new(request), path, BytesCodec::<Receipts>::new()).await?;
        Ok(answer.into_inner().receipts)
    }
}
