//! The hash that binds an idempotency key to the body it was first used with.
//!
//! The encoding is specified at `Command` in `proto/stampbook/v1/ledger.proto`; callers in other languages compute the same.

use crate::proto::{
    Adjust, CloseCampaignRequest, Command, Earn, FundCampaignRequest, PauseCampaignRequest,
    PutProgramRequest, Redeem, Refund, ResumeCampaignRequest, command::Action, earn::Basis, refund,
};

/// Keeps the hashes of commands apart from any other use of BLAKE3.
const COMMAND_CONTEXT: &[u8; 8] = b"body/v1\0";
/// The same for the requests of operators, whose keys are of the same program.
const ADMIN_CONTEXT: &[u8; 8] = b"admin/v1";

/// A keyed request of `AdminService`.
#[derive(Clone, Copy, Debug)]
pub enum AdminBody<'a> {
    /// A version of a program.
    PutProgram(&'a PutProgramRequest),
    /// Points for a budget.
    FundCampaign(&'a FundCampaignRequest),
    /// A pause.
    PauseCampaign(&'a PauseCampaignRequest),
    /// The end of a pause or a stop.
    ResumeCampaign(&'a ResumeCampaignRequest),
    /// The end of a campaign.
    CloseCampaign(&'a CloseCampaignRequest),
}

/// The hash of `command` as it was sent, all but its key. `scratch` is overwritten; reusing it saves the allocation.
pub fn body_hash(command: &Command, scratch: &mut Vec<u8>) -> [u8; 16] {
    let mut body = Body::new(scratch, COMMAND_CONTEXT);
    body.text(1, &command.program);
    body.text(3, &command.member);
    if let Some(us) = command.occurred_at_us {
        body.signed(4, us);
    }
    body.text(5, &command.reference);
    body.text(6, &command.channel);
    body.text(7, &command.partner);
    body.text(8, &command.location);
    for (key, value) in &command.metadata {
        body.message(9, |entry| {
            entry.text(1, key);
            entry.text(2, value);
        });
    }
    body.text(10, &command.currency);
    match &command.action {
        None => {}
        Some(Action::Earn(earn)) => body.message(16, |to| put_earn(to, earn)),
        Some(Action::Refund(refund)) => body.message(17, |to| put_refund(to, refund)),
        Some(Action::Redeem(redeem)) => body.message(18, |to| put_redeem(to, redeem)),
        Some(Action::Adjust(adjust)) => body.message(19, |to| put_adjust(to, adjust)),
    }
    body.hash()
}

/// The hash of an operator's request as it was sent, all but its key. `scratch` is overwritten.
pub fn admin_hash(request: AdminBody<'_>, scratch: &mut Vec<u8>) -> [u8; 16] {
    let mut body = Body::new(scratch, ADMIN_CONTEXT);
    match request {
        AdminBody::PutProgram(put) => body.message(1, |to| {
            to.text(1, &put.program);
            to.text(2, &put.definition);
            if let Some(version) = put.expected_version {
                to.unsigned(3, u64::from(version));
            }
            to.text(5, &put.actor);
            to.text(6, &put.reason);
        }),
        AdminBody::FundCampaign(fund) => body.message(2, |to| {
            to.text(1, &fund.program);
            to.text(2, &fund.campaign);
            to.nonzero(3, fund.points);
            to.text(5, &fund.actor);
            to.text(6, &fund.reason);
        }),
        AdminBody::PauseCampaign(pause) => body.message(3, |to| {
            put_campaign_act(
                to,
                [&pause.program, &pause.campaign, &pause.actor, &pause.reason],
            );
        }),
        AdminBody::ResumeCampaign(resume) => body.message(4, |to| {
            put_campaign_act(
                to,
                [
                    &resume.program,
                    &resume.campaign,
                    &resume.actor,
                    &resume.reason,
                ],
            );
        }),
        AdminBody::CloseCampaign(close) => body.message(5, |to| {
            put_campaign_act(
                to,
                [&close.program, &close.campaign, &close.actor, &close.reason],
            );
        }),
    }
    body.hash()
}

/// Pause, resume and close are numbered alike.
fn put_campaign_act(to: &mut Body<'_>, [program, campaign, actor, reason]: [&str; 4]) {
    to.text(1, program);
    to.text(2, campaign);
    to.text(4, actor);
    to.text(5, reason);
}

fn put_earn(to: &mut Body<'_>, earn: &Earn) {
    match earn.basis {
        Some(Basis::AmountMinor(amount)) => to.signed(1, amount),
        Some(Basis::Points(points)) => to.signed(2, points),
        None => {}
    }
    to.text(3, &earn.event_kind);
}

fn put_refund(to: &mut Body<'_>, refund: &Refund) {
    match &refund.original {
        Some(refund::Original::OriginalOp(op)) => to.unsigned(1, *op),
        Some(refund::Original::OriginalKey(key)) => to.present_text(2, key),
        Some(refund::Original::OriginalReference(reference)) => to.present_text(3, reference),
        None => {}
    }
    match refund.amount {
        Some(refund::Amount::AmountMinor(amount)) => to.signed(4, amount),
        Some(refund::Amount::Points(points)) => to.signed(5, points),
        None => {}
    }
    to.text(6, &refund.event_kind);
}

fn put_redeem(to: &mut Body<'_>, redeem: &Redeem) {
    to.nonzero(1, redeem.points);
    to.nonzero(2, i64::from(redeem.purpose));
}

fn put_adjust(to: &mut Body<'_>, adjust: &Adjust) {
    to.nonzero(1, adjust.points);
    to.text(2, &adjust.actor);
    to.text(3, &adjust.reason);
}

/// Writes the canonical encoding of one message, field by field in ascending order of their numbers, then hashes it.
struct Body<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> Body<'a> {
    /// Begins a body in `scratch`, which is overwritten.
    fn new(scratch: &'a mut Vec<u8>, context: &[u8; 8]) -> Self {
        scratch.clear();
        scratch.extend_from_slice(context);
        Self { bytes: scratch }
    }

    /// A string without presence: left out when empty.
    fn text(&mut self, number: u32, value: &str) {
        if !value.is_empty() {
            self.present_text(number, value);
        }
    }

    /// A string with presence: an empty one counts.
    fn present_text(&mut self, number: u32, value: &str) {
        put_varint(self.bytes, u64::from(number));
        put_varint(self.bytes, length(value.len()));
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// A signed integer or enum without presence: left out when 0.
    fn nonzero(&mut self, number: u32, value: i64) {
        if value != 0 {
            self.signed(number, value);
        }
    }

    /// A signed integer with presence.
    fn signed(&mut self, number: u32, value: i64) {
        self.unsigned(number, zigzag(value));
    }

    /// An unsigned integer with presence.
    fn unsigned(&mut self, number: u32, value: u64) {
        put_varint(self.bytes, u64::from(number));
        put_varint(self.bytes, varint_length(value));
        put_varint(self.bytes, value);
    }

    /// A message that is set.
    fn message(&mut self, number: u32, put: impl FnOnce(&mut Body<'_>)) {
        put_varint(self.bytes, u64::from(number));
        let start = self.bytes.len();
        put(&mut Body { bytes: self.bytes });
        // The length stands before the content but is known only after it: write it last and turn it to the front.
        let end = self.bytes.len();
        put_varint(self.bytes, length(end - start));
        let turned = self.bytes.len() - end;
        if let Some(message) = self.bytes.get_mut(start..) {
            message.rotate_right(turned);
        }
    }

    /// The first 16 bytes of BLAKE3 over all that was put.
    fn hash(self) -> [u8; 16] {
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(blake3::hash(self.bytes).as_bytes()) {
            *to = *from;
        }
        short
    }
}

/// A length in memory; no more than 64 bits anywhere.
fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

/// Bytes that `value` takes as a varint.
fn varint_length(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}
