//! Talking to a server: one connection, one question.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use stampbook::proto::admin_service_client::AdminServiceClient;
use stampbook::proto::{Outcome, Reason, Receipt};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{EXIT_BAD_INPUT, EXIT_IO, EXIT_REFUSED, Failure, Server};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of the operators' service.
pub(super) type Admin = AdminServiceClient<Channel>;

/// Asks a server's operators' service.
pub(super) fn ask<T, F>(server: &Server, question: impl FnOnce(Admin) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    connected(&server.target, |channel| question(Admin::new(channel)))
}

/// Connects to the server at `target` and sees `talk` through.
pub(super) fn connected<T, F>(target: &str, talk: impl FnOnce(Channel) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    connected_for(ANSWER_TIMEOUT, target, talk)
}

/// The same where an answer may take so long.
pub(super) fn connected_for<T, F>(
    answer_timeout: Duration,
    target: &str,
    talk: impl FnOnce(Channel) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let io = |error: String| Failure::plain(EXIT_IO, format!("{target}: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| io(error.to_string()))?;
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{target}"))
            .map_err(|_| Failure::plain(EXIT_BAD_INPUT, format!("{target:?} is no address")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(answer_timeout);
        let channel = endpoint.connect().await.map_err(|error| io(with_causes(&error)))?;
        talk(channel).await
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// A call that the server did not answer with an OK.
pub(super) fn failure(status: &Status) -> Failure {
    let reason = status.get_details_error_info().map(|info| info.reason);
    let code = match status.code() {
        Code::InvalidArgument => EXIT_BAD_INPUT,
        // It was reached, and has written nothing.
        Code::Unavailable if reason.as_deref() == Some("CLOCK_UNCONFIRMED") => EXIT_REFUSED,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => EXIT_IO,
        _ => EXIT_REFUSED,
    };
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let mut text = match &reason {
        Some(reason) => format!("{reason}: {}", status.message()),
        None => format!("{:?}: {}", status.code(), status.message()),
    };
    for violation in &violations {
        let line = match violation.description.starts_with(&violation.field) {
            true => violation.description.clone(),
            false => format!("{}: {}", violation.field, violation.description),
        };
        // The first one is often the message itself.
        if !status.message().contains(&line) {
            text = format!("{text}\n{line}");
        }
    }
    let fields: Vec<_> = violations.iter().map(|v| json!({ "field": v.field, "message": v.description })).collect();
    let json = json!({ "error": status.message(), "code": format!("{:?}", status.code()), "reason": reason, "fields": fields });
    Failure { code, text, json }
}

/// Whether the same call again may be answered otherwise.
pub(super) fn again(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
    )
}

/// An act that the server did not answer with an OK.
pub(super) fn unanswered(status: &Status) -> Failure {
    let mut failure = failure(status);
    if failure.code == EXIT_IO {
        failure.text.push_str("\nthe outcome is unknown: the same command again, with the same key, settles it");
    }
    failure
}

/// A name of the contract without its prefix, such as `VERSION_MISMATCH`.
pub(super) fn short<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// A receipt that an operator's command was applied, as JSON.
///
/// # Errors
/// A [`Failure`] where the receipt says that it was not.
pub(super) fn applied(receipt: Option<&Receipt>) -> Result<Value, Failure> {
    let Some(receipt) = receipt else {
        return Err(Failure::plain(EXIT_REFUSED, "the server answered without a receipt"));
    };
    let outcome = short(receipt.outcome().as_str_name(), "OUTCOME_");
    let reason = short(receipt.reason().as_str_name(), "REASON_");
    let json = json!({
        "outcome": outcome,
        "reason": (receipt.reason() != Reason::Unspecified).then_some(reason),
        "field": receipt.field,
        "message": receipt.message,
        "key": receipt.key,
        "replayed": receipt.replayed,
        "book_id": receipt.book_id,
        "op": receipt.op,
        "book_time_us": receipt.book_time_us,
    });
    if receipt.outcome() == Outcome::Applied {
        return Ok(json);
    }
    let mut text = format!("{outcome} {reason}");
    for more in [&receipt.field, &receipt.message] {
        if !more.is_empty() {
            text = format!("{text}: {more}");
        }
    }
    if receipt.replayed {
        text.push_str(" (the answer that this key got before)");
    }
    Err(Failure { code: EXIT_REFUSED, text, json })
}

/// An object with the fields of another as well.
pub(super) fn with(mut object: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (object.as_object_mut(), more) {
        fields.extend(more);
    }
    object
}

/// `op 12 at 2010-12-01T00:00:00Z`, and whether it was so before.
pub(super) fn booked(receipt: Option<&Receipt>) -> String {
    let Some(receipt) = receipt else { return String::new() };
    let replayed = if receipt.replayed { ", booked before" } else { "" };
    format!("op {} at {}{replayed}", receipt.op, instant(receipt.book_time_us))
}

/// An instant in microseconds since the Unix epoch, for people.
pub(super) fn instant(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| format!("{us} us"), |instant| instant.to_string())
}
