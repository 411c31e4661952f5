//! Connections.

use std::time::Duration;

use stampbook::proto::ledger_service_client::LedgerServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::Failure;

/// Answers to the greatest batches are a few MiB.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Connects to `host:port`.
pub(crate) async fn connect(target: &str) -> Result<Channel, Failure> {
    let address = if target.contains("://") { target.to_owned() } else { format!("http://{target}") };
    let endpoint = Endpoint::from_shared(address)?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    Ok(endpoint.connect().await.map_err(|error| format!("cannot connect to {target}: {error:?}"))?)
}

/// A client of the generated kind.
pub(crate) fn ledger(channel: Channel) -> LedgerServiceClient<Channel> {
    LedgerServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// A client for bytes that are encoded already.
pub(crate) fn raw(channel: Channel) -> tonic::client::Grpc<Channel> {
    tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// Whether the same request under the same keys should be sent again: either nothing was done, or nobody knows.
pub(crate) fn is_worth_repeating(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::ResourceExhausted
    )
}
