//! How what became of a request is said in gRPC: statuses with `ErrorInfo`, `BadRequest` and `RetryInfo`.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::shape::Fault;
use crate::constants::KEY_BYTES_MAX;
use crate::engine::request::Refusal;
use crate::ledger::command::Leap;
use crate::proto as pb;

/// What a refused client is asked to wait at least: some frames of a busy book.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The same where it takes an operator.
const OPERATOR_RETRY_AFTER: Duration = Duration::from_secs(5);

/// What the caller of an export too many is asked to wait at least.
const EXPORT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A reason as it stands in `ErrorInfo`.
fn reason_name(reason: pb::Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name)
}

/// Details with an `ErrorInfo`.
fn details(reason: pb::Reason, metadata: HashMap<String, String>) -> ErrorDetails {
    ErrorDetails::with_error_info(reason_name(reason), pb::ERROR_DOMAIN, metadata)
}

/// A status with an `ErrorInfo` and nothing else.
pub(super) fn plain(code: Code, reason: pb::Reason, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, details(reason, HashMap::new()))
}

/// Faults of shape as `INVALID_ARGUMENT`; the first one gives the reason.
pub(super) fn invalid(faults: &[Fault]) -> Status {
    let Some(first) = faults.first() else {
        return Status::invalid_argument("the request is malformed");
    };
    // A key that is itself too long would not fit the trailers.
    let key = Some(&first.key).filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX);
    let metadata = key.map(|key| ("key".to_owned(), key.clone())).into_iter().collect();
    let mut details = details(first.reason, metadata);
    for fault in faults {
        details.add_bad_request_violation(fault.field.clone(), fault.message.clone());
    }
    let message = match first.field.as_str() {
        // Most messages begin with their field.
        field if first.message.starts_with(field) => first.message.clone(),
        field => format!("{field}: {}", first.message),
    };
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// A message that was not taken in, as the wrong shape that it is: over the limit, or no message of its type at all.
/// `None` for any other status.
pub(super) fn unread(said: &Status) -> Option<Status> {
    match said.code() {
        Code::OutOfRange => Some(plain(Code::InvalidArgument, pb::Reason::MessageTooLarge, said.message())),
        // The transport calls it its own failure, which a client would repeat for ever.
        Code::Internal => undecodable(said.message()).map(|fault| invalid(&[fault])),
        _ => None,
    }
}

/// Bytes that are no message of the type that they should be.
pub(super) fn undecoded(error: &prost::DecodeError) -> Fault {
    let text = error.to_string();
    undecodable(&text).unwrap_or_else(|| Fault::new("", pb::Reason::FieldMalformed, text))
}

/// The decoder names `Message.field: ` for each message on the way, and then what is wrong.
fn undecodable(message: &str) -> Option<Fault> {
    let mut rest = message.strip_prefix("failed to decode Protobuf message: ")?;
    let mut path = Vec::new();
    while let Some((step, behind)) = rest.split_once(": ")
        && let Some((_, field)) = step.split_once('.').filter(|(of, field)| !of.contains(' ') && !field.contains(' '))
    {
        path.push(field);
        rest = behind;
    }
    // The innermost comes first.
    path.reverse();
    Some(Fault::new(path.join("."), pb::Reason::FieldMalformed, rest))
}

/// A refusal of the engine.
pub(super) fn refused(refusal: Refusal) -> Status {
    let (code, reason) = match refusal {
        Refusal::QueueFull => (Code::ResourceExhausted, pb::Reason::QueueFull),
        Refusal::QueueTooOld => (Code::ResourceExhausted, pb::Reason::QueueTooOld),
        Refusal::InFlight => (Code::ResourceExhausted, pb::Reason::BytesInFlight),
        // Not RESOURCE_EXHAUSTED, for here waiting does not help: the client should look for a server that is up.
        Refusal::ShuttingDown => (Code::Unavailable, pb::Reason::ShuttingDown),
        Refusal::ClockUnconfirmed(leap) => return clock_unconfirmed(leap, refusal.to_string()),
        Refusal::Unknown => (Code::Unavailable, pb::Reason::OutcomeUnknown),
    };
    let mut details = details(reason, HashMap::new());
    if refusal != Refusal::Unknown {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code, refusal.to_string(), details)
}

/// Not RESOURCE_EXHAUSTED, for it is not the load: whoever can, should look for a server whose clock is right.
fn clock_unconfirmed(leap: Leap, message: String) -> Status {
    let time = |name: &str, us: i64| (name.to_owned(), us.to_string());
    let metadata = HashMap::from([time("book_time_us", leap.book_us), time("clock_us", leap.clock_us)]);
    let mut details = details(pb::Reason::ClockUnconfirmed, metadata);
    details.set_retry_info(Some(OPERATOR_RETRY_AFTER));
    Status::with_error_details(Code::Unavailable, message, details)
}

/// A receipt of a single command that is no OK status: CONFLICT and SHED.
pub(super) fn unposted(receipt: &pb::Receipt) -> Status {
    let reason = receipt.reason();
    let mut metadata = HashMap::from([("key".to_owned(), receipt.key.clone())]);
    if receipt.op != 0 {
        metadata.insert("op".to_owned(), receipt.op.to_string());
    }
    let code = match receipt.outcome() {
        pb::Outcome::Conflict => Code::AlreadyExists,
        pb::Outcome::Shed => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    let mut details = details(reason, metadata);
    if receipt.outcome() == pb::Outcome::Shed && reason != pb::Reason::MembersLimit {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code, receipt.message.clone(), details)
}

/// No place for one more export or backup.
pub(super) fn exports_busy() -> Status {
    let mut details = details(pb::Reason::ExportsBusy, HashMap::new());
    details.set_retry_info(Some(EXPORT_RETRY_AFTER));
    Status::with_error_details(Code::ResourceExhausted, "as many exports and backups are running as may", details)
}

/// A read of what is not there.
pub(super) fn not_found(reason: pb::Reason, message: &str) -> Status {
    plain(Code::NotFound, reason, message)
}

/// A book that does not give back what it was given; the operator finds the rest in the log.
pub(super) fn unreadable(error: &impl std::fmt::Display) -> Status {
    tracing::error!(%error, "the book could not be read");
    Status::data_loss("the book could not be read; the server's log says where")
}

/// An answer of the engine of another kind than was asked for.
pub(super) fn unexpected() -> Status {
    tracing::error!("the engine answered something else than was asked");
    Status::internal("the engine answered something else than was asked")
}
