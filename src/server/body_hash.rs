//! The hash that binds an idempotency key to the body it was first used with.
//!
//! The encoding is specified at `Command` in `proto/stampbook/v1/ledger.proto`; callers in other languages compute the same.

use super::item::{Earn, Said};
use crate::proto::{
    CloseCampaignRequest, ClosePeriodRequest, Command, ConfirmClockRequest, CreateSnapshotRequest,
    DeleteSnapshotRequest, FundCampaignRequest, PauseCampaignRequest, PutProgramRequest, PutRewardRequest,
    ResumeCampaignRequest,
};

mod actions;

/// Keeps the hashes of commands apart from any other use of BLAKE3.
const COMMAND_CONTEXT: &[u8; 8] = b"body/v1\0";
/// The same for the requests of operators, whose keys are of the same program.
const ADMIN_CONTEXT: &[u8; 8] = b"admin/v1";

/// A keyed request of `AdminService` or `AuditService`.
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
    /// A snapshot to be taken.
    CreateSnapshot(&'a CreateSnapshotRequest),
    /// A snapshot to be deleted.
    DeleteSnapshot(&'a DeleteSnapshotRequest),
    /// A clock to be confirmed.
    ConfirmClock(&'a ConfirmClockRequest),
    /// Books to be closed.
    ClosePeriod(&'a ClosePeriodRequest),
    /// A reward.
    PutReward(&'a PutRewardRequest),
}

/// The hash of `command` as it was sent, all but its key. `scratch` is overwritten; reusing it saves the allocation.
pub fn body_hash(command: &Command, scratch: &mut Vec<u8>) -> [u8; 16] {
    let mut body = Body::new(scratch, COMMAND_CONTEXT);
    body.said(&command.into());
    for (key, value) in &command.metadata {
        body.message(9, |entry| {
            entry.text(1, key);
            entry.text(2, value);
        });
    }
    body.text(10, &command.currency);
    if let Some(action) = &command.action {
        actions::put(&mut body, action);
    }
    body.hash()
}

/// The same of an earn without metadata.
pub(super) fn earn_hash(said: &Said<'_>, earn: &Earn<'_>, scratch: &mut Vec<u8>) -> [u8; 16] {
    let mut body = Body::new(scratch, COMMAND_CONTEXT);
    body.said(said);
    body.text(10, said.currency);
    body.message(16, |to| actions::put_earn(to, earn));
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
            put_campaign_act(to, [&pause.program, &pause.campaign, &pause.actor, &pause.reason]);
        }),
        AdminBody::ResumeCampaign(resume) => body.message(4, |to| {
            put_campaign_act(to, [&resume.program, &resume.campaign, &resume.actor, &resume.reason]);
        }),
        AdminBody::CloseCampaign(close) => body.message(5, |to| {
            put_campaign_act(to, [&close.program, &close.campaign, &close.actor, &close.reason]);
        }),
        AdminBody::CreateSnapshot(create) => body.message(6, |to| {
            to.text(1, &create.name);
            to.optional(2, create.retain_until_us);
            to.text(4, &create.actor);
            to.text(5, &create.reason);
        }),
        AdminBody::DeleteSnapshot(delete) => body.message(7, |to| {
            to.text(1, &delete.name);
            to.text(3, &delete.actor);
            to.text(4, &delete.reason);
        }),
        AdminBody::ConfirmClock(confirm) => body.message(8, |to| {
            to.nonzero(1, confirm.clock_us);
            to.text(3, &confirm.actor);
            to.text(4, &confirm.reason);
        }),
        AdminBody::PutReward(put) => body.message(9, |to| put_reward(to, put)),
        AdminBody::ClosePeriod(close) => body.message(10, |to| {
            to.text(1, &close.program);
            to.nonzero(2, close.until_us);
            to.text(4, &close.actor);
            to.text(5, &close.reason);
        }),
    }
    body.hash()
}

fn put_reward(to: &mut Body<'_>, put: &PutRewardRequest) {
    to.text(1, &put.program);
    to.text(2, &put.reward);
    to.text(3, &put.name);
    to.text(4, &put.asset);
    to.nonzero(5, put.price);
    to.flag(6, put.open);
    to.nonzero(7, put.stocked);
    to.text(9, &put.actor);
    to.text(10, &put.reason);
}

/// Pause, resume and close are numbered alike.
fn put_campaign_act(to: &mut Body<'_>, [program, campaign, actor, reason]: [&str; 4]) {
    to.text(1, program);
    to.text(2, campaign);
    to.text(4, actor);
    to.text(5, reason);
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

    /// What a command says before its metadata, all but its key.
    fn said(&mut self, said: &Said<'_>) {
        self.text(1, said.program);
        self.text(3, said.member);
        self.optional(4, said.occurred_at_us);
        self.text(5, said.reference);
        self.text(6, said.channel);
        self.text(7, said.partner);
        self.text(8, said.location);
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

    /// A boolean without presence: left out when false.
    fn flag(&mut self, number: u32, value: bool) {
        if value {
            self.unsigned(number, 1);
        }
    }

    /// A signed integer or enum without presence: left out when 0.
    fn nonzero(&mut self, number: u32, value: i64) {
        if value != 0 {
            self.signed(number, value);
        }
    }

    /// A signed integer with presence, if it is set.
    fn optional(&mut self, number: u32, value: Option<i64>) {
        if let Some(value) = value {
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
        self.bytes.push(0);
        put(&mut Body { bytes: self.bytes });
        // The length stands before the content but is known only after it: most have room in the one byte left for it.
        let content = length(self.bytes.len() - start - 1);
        match (u8::try_from(content), self.bytes.get_mut(start)) {
            (Ok(short @ 0..=0x7f), Some(place)) => *place = short,
            _ => self.widen(start, content),
        }
    }

    /// Writes a length of more than a byte before its content, in the place of the byte at `start`.
    #[cold]
    fn widen(&mut self, start: usize, content: u64) {
        let message = self.bytes.split_off(start + 1);
        self.bytes.truncate(start);
        put_varint(self.bytes, content);
        self.bytes.extend_from_slice(&message);
    }

    /// The first 16 bytes of BLAKE3 over all that was put.
    fn hash(self) -> [u8; 16] {
        *blake3::hash(self.bytes).as_bytes().first_chunk().unwrap_or(&[0; 16])
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::actions::golden::{action, number, text};
    use super::*;
    use serde_json::Value;

    fn golden() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/body_hash.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn command(json: &Value) -> Command {
        let metadata = json.get("metadata").map_or_else(Default::default, |pairs| {
            let pairs = pairs.as_object().unwrap().iter();
            pairs.map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
        });
        Command {
            program: text(json, "program"),
            key: text(json, "key"),
            member: text(json, "member"),
            occurred_at_us: number(json, "occurred_at_us"),
            reference: text(json, "reference"),
            channel: text(json, "channel"),
            partner: text(json, "partner"),
            location: text(json, "location"),
            metadata,
            currency: text(json, "currency"),
            action: action(json),
        }
    }

    fn admin(kind: &str, json: &Value, scratch: &mut Vec<u8>) -> [u8; 16] {
        let [program, campaign, key] = ["program", "campaign", "key"].map(|name| text(json, name));
        let [actor, reason] = ["actor", "reason"].map(|name| text(json, name));
        match kind {
            "PutProgramRequest" => {
                let expected_version = number(json, "expected_version").map(|v| u32::try_from(v).unwrap());
                let definition = text(json, "definition");
                let put = PutProgramRequest { program, definition, expected_version, key, actor, reason };
                admin_hash(AdminBody::PutProgram(&put), scratch)
            }
            "FundCampaignRequest" => {
                let points = number(json, "points").unwrap();
                let fund = FundCampaignRequest { program, campaign, points, key, actor, reason };
                admin_hash(AdminBody::FundCampaign(&fund), scratch)
            }
            "PauseCampaignRequest" => {
                let pause = PauseCampaignRequest { program, campaign, key, actor, reason };
                admin_hash(AdminBody::PauseCampaign(&pause), scratch)
            }
            "ResumeCampaignRequest" => {
                let resume = ResumeCampaignRequest { program, campaign, key, actor, reason };
                admin_hash(AdminBody::ResumeCampaign(&resume), scratch)
            }
            "CreateSnapshotRequest" => {
                let retain_until_us = number(json, "retain_until_us");
                let create = CreateSnapshotRequest { name: text(json, "name"), retain_until_us, key, actor, reason };
                admin_hash(AdminBody::CreateSnapshot(&create), scratch)
            }
            "ConfirmClockRequest" => {
                let confirm = ConfirmClockRequest { clock_us: number(json, "clock_us").unwrap(), key, actor, reason };
                admin_hash(AdminBody::ConfirmClock(&confirm), scratch)
            }
            "ClosePeriodRequest" => {
                let until_us = number(json, "until_us").unwrap();
                let close = ClosePeriodRequest { program, until_us, key, actor, reason };
                admin_hash(AdminBody::ClosePeriod(&close), scratch)
            }
            "PutRewardRequest" => {
                let put = PutRewardRequest {
                    program,
                    reward: text(json, "reward"),
                    name: text(json, "name"),
                    asset: text(json, "asset"),
                    price: number(json, "price").unwrap(),
                    open: json["open"].as_bool().unwrap(),
                    stocked: number(json, "stocked").unwrap(),
                    key,
                    actor,
                    reason,
                };
                admin_hash(AdminBody::PutReward(&put), scratch)
            }
            "DeleteSnapshotRequest" => {
                let delete = DeleteSnapshotRequest { name: text(json, "name"), key, actor, reason };
                admin_hash(AdminBody::DeleteSnapshot(&delete), scratch)
            }
            _ => {
                let close = CloseCampaignRequest { program, campaign, key, actor, reason };
                admin_hash(AdminBody::CloseCampaign(&close), scratch)
            }
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_golden_commands_hash_as_callers_hash_them() {
        let golden = golden();
        let vectors = golden["commands"].as_array().unwrap();
        assert!(vectors.len() >= 12);
        let mut scratch = vec![0xaa; 7];
        for vector in vectors {
            let hash = body_hash(&command(&vector["command"]), &mut scratch);
            assert_eq!(hex(&scratch), vector["body"], "body of {}", vector["name"]);
            assert_eq!(hex(&hash), vector["hash"], "hash of {}", vector["name"]);
        }
    }

    #[test]
    fn the_golden_requests_of_operators_hash_as_callers_hash_them() {
        let golden = golden();
        let mut scratch = Vec::new();
        for vector in golden["admin"].as_array().unwrap() {
            let hash = admin(vector["type"].as_str().unwrap(), &vector["request"], &mut scratch);
            assert_eq!(hex(&scratch), vector["body"], "body of {}", vector["name"]);
            assert_eq!(hex(&hash), vector["hash"], "hash of {}", vector["name"]);
        }
    }

    #[test]
    fn only_the_key_can_change_without_changing_the_hash() {
        let golden = golden();
        let mut seen = std::collections::BTreeMap::new();
        for vector in golden["commands"].as_array().unwrap() {
            let mut command = command(&vector["command"]);
            command.key = String::new();
            let body = format!("{command:?}");
            let first = seen.entry(vector["hash"].as_str().unwrap().to_owned()).or_insert(body.clone());
            assert_eq!(*first, body, "{}", vector["name"]);
        }
    }
}
