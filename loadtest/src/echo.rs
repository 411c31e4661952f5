//! The ceiling: the same messages through the same stack, with no ledger behind it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Command as Process;

use clap::Args;
use stampbook::proto::ledger_service_server::{LedgerService, LedgerServiceServer};
use stampbook::proto::{
    Award, Balance, Command, Outcome, PostBatchRequest, PostBatchResponse, PostRequest, PostResponse,
    PostStreamRequest, PostStreamResponse, Receipt, Source,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server as Transport;
use tonic::{Request, Response, Status, Streaming};

use crate::process::Server;
use crate::run::{Load, drive};
use crate::{Failure, program};

const MESSAGE_BYTES_MAX: usize = 16 << 20;
const BOOK_ID: &str = "00112233445566778899aabbccddeeff";

/// `loadtest echo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    load: Load,
}

/// Puts the load on an echo, which is a process of its own as a server would be.
pub(crate) async fn echo(options: Options, json: bool) -> Result<(), Failure> {
    let server = start()?;
    let summary = drive(&server.address, &options.load).await?;
    summary.print(&options.load.title("a bare echo"), json)
}

/// Starts an echo in a process of its own.
pub(crate) fn start() -> Result<Server, Failure> {
    let mut command = Process::new(std::env::current_exe()?);
    command.arg("echo-server");
    Server::start(command, None)
}

/// `loadtest echo-server`.
pub(crate) async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("listening on {}", listener.local_addr()?);
    let accepted = TcpListenerStream::new(listener).map(|stream| {
        stream.and_then(|stream| {
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    });
    let service = LedgerServiceServer::new(Echo).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Ok(Transport::builder()
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .add_service(service)
        .serve_with_incoming(accepted)
        .await?)
}

/// Answers every command with a receipt of the size that a doubled earn gets.
struct Echo;

fn receipt(command: Command) -> Receipt {
    let campaign = Award {
        source: Source::Campaign.into(),
        campaign: program::LOAD.campaign.to_owned(),
        desired: 50,
        awarded: 50,
        ..Award::default()
    };
    let base = Award { source: Source::Base.into(), campaign: String::new(), ..campaign.clone() };
    Receipt {
        outcome: Outcome::Applied.into(),
        key: command.key,
        book_id: BOOK_ID.to_owned(),
        op: 123_456_789,
        book_time_us: 1_800_000_000_000_000,
        balance: Some(Balance { available: 12_345, debt: 0, ..Default::default() }),
        desired: 100,
        awarded: 100,
        awards: vec![base, campaign],
        ..Receipt::default()
    }
}

#[tonic::async_trait]
impl LedgerService for Echo {
    type PostStreamStream = Pin<Box<dyn Stream<Item = Result<PostStreamResponse, Status>> + Send>>;

    async fn post(&self, request: Request<PostRequest>) -> Result<Response<PostResponse>, Status> {
        let receipt = request.into_inner().command.map(receipt);
        Ok(Response::new(PostResponse { receipt }))
    }

    async fn post_batch(&self, request: Request<PostBatchRequest>) -> Result<Response<PostBatchResponse>, Status> {
        let receipts = request.into_inner().items.into_iter().map(receipt).collect();
        Ok(Response::new(PostBatchResponse { receipts }))
    }

    async fn post_stream(
        &self,
        request: Request<Streaming<PostStreamRequest>>,
    ) -> Result<Response<Self::PostStreamStream>, Status> {
        let receipts = request.into_inner().map(|message| {
            let receipts = message?.items.into_iter().map(receipt).collect();
            Ok(PostStreamResponse { receipts })
        });
        Ok(Response::new(Box::pin(receipts)))
    }
}
