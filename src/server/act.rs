//! What operators do: who, why, under which key, and the way of it through the engine.

use tonic::Status;

use super::body_hash::{AdminBody, admin_hash};
use super::desk::{Desk, Sent};
use super::shape::{self, Fault};
use super::status;
use crate::engine::request::Work;
use crate::ledger::command::{AdminAction, AdminCommand};
use crate::proto as pb;

/// What every request that changes state by an operator's hand has.
pub(super) struct Act {
    /// The program; empty for an act on the book itself.
    pub program: String,
    /// The idempotency key.
    pub key: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The hash of the request's body as it was sent.
    pub body_hash: [u8; 16],
}

impl Act {
    /// The shape of all but the program.
    ///
    /// # Errors
    /// The first fault.
    pub(super) fn check(&self) -> Result<(), Fault> {
        shape::key(&self.key)?;
        shape::act("", &self.actor, &self.reason)
    }

    /// Posts it; an OK answer is APPLIED or REJECTED.
    ///
    /// # Errors
    /// The status of a refusal, a conflict, or a book that cannot be read.
    pub(super) async fn post(self, desk: &Desk, action: AdminAction) -> Result<pb::Receipt, Status> {
        let sent = Sent { key: self.key.as_str().into(), body_hash: self.body_hash, other: None };
        let command = AdminCommand {
            key_print: desk.handle().prints().key(&self.program, &self.key),
            program_id: self.program,
            key: self.key,
            body_hash: self.body_hash,
            actor: self.actor,
            reason: self.reason,
            action,
        };
        let answer = desk.ask(Work::Admin(Box::new(command))).await?;
        let receipt = desk.receipt(answer.body, sent).await?;
        match receipt.outcome() {
            pb::Outcome::Applied | pb::Outcome::Rejected => Ok(receipt),
            _ => Err(status::unposted(&receipt)),
        }
    }
}

/// The hash of a request's body as it was sent.
pub(super) fn hash(request: AdminBody<'_>) -> [u8; 16] {
    admin_hash(request, &mut Vec::new())
}
