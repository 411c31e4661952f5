//! Posting at the least cost for the client, which shares its cores with the server it measures: requests are patched copies of an
//! encoded template, and of a receipt only what is counted is decoded.
//!
//! All three requests carry their commands in field 1, so the bytes of one item are the bytes of a whole unary request.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::BufMut;
use stampbook::proto::{Command, Earn, Outcome, PostRequest, command::Action, earn::Basis};
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Status, codec::BufferSettings};
use tonic_prost::ProstDecoder;

use crate::rng::Rng;

/// Bytes of a key and of a member's id.
const ID_BYTES: usize = 20;
/// Letters of keys: six bits each.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// An amount whose encoding is two bytes, the first of which occurs in no text.
const AMOUNT_MARK: i64 = 0x3fff;

/// Paths of the three ways to post.
pub(crate) fn post_path() -> PathAndQuery {
    PathAndQuery::from_static("/stampbook.v1.LedgerService/Post")
}

/// See [`post_path`].
pub(crate) fn batch_path() -> PathAndQuery {
    PathAndQuery::from_static("/stampbook.v1.LedgerService/PostBatch")
}

/// See [`post_path`].
pub(crate) fn stream_path() -> PathAndQuery {
    PathAndQuery::from_static("/stampbook.v1.LedgerService/PostStream")
}

/// One item of a request, encoded, with the places of what differs from one to the next.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    key: usize,
    member: usize,
    amount: usize,
}

impl Template {
    fn new(program: &str, event_kind: &str) -> Option<Self> {
        let key = "\u{1}".repeat(ID_BYTES);
        let member = "\u{2}".repeat(ID_BYTES);
        let request = PostRequest {
            command: Some(Command {
                program: program.to_owned(),
                key: key.clone(),
                member: member.clone(),
                action: Some(Action::Earn(Earn {
                    basis: Some(Basis::AmountMinor(AMOUNT_MARK)),
                    event_kind: event_kind.to_owned(),
                    ..Earn::default()
                })),
                ..Command::default()
            }),
        };
        let bytes = request.encode_to_vec();
        let find = |what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
        Some(Self {
            key: find(key.as_bytes())?,
            member: find(member.as_bytes())?,
            amount: bytes.iter().position(|&byte| byte == 0xff)?,
            bytes,
        })
    }
}

/// A command before it is encoded. The same seed draws the same commands, whoever encodes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// The idempotency key, letters.
    pub(crate) key: [u8; ID_BYTES],
    /// The member's id.
    pub(crate) member: [u8; ID_BYTES],
    /// What was paid, in minor units.
    pub(crate) amount: u64,
    /// Whether it is a purchase that the campaign doubles; else a visit.
    pub(crate) doubled: bool,
}

/// Writes requests: half of the commands earn by a purchase that the campaign doubles, half by a visit that it does not.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    templates: [Template; 2],
    members: u64,
    rng: Rng,
}

impl Writer {
    /// For `program`, over that many members.
    pub(crate) fn new(program: &str, members: u64, rng: Rng) -> Option<Self> {
        let templates = [Template::new(program, "purchase")?, Template::new(program, "visit")?];
        Some(Self { templates, members, rng })
    }

    /// A request of `commands` commands, each under a new key.
    pub(crate) fn request(&mut self, commands: usize) -> Vec<u8> {
        let [larger, _] = &self.templates;
        let mut bytes = Vec::with_capacity(larger.bytes.len() * commands);
        for _ in 0..commands {
            let drawn = self.draw();
            self.write(&drawn, &mut bytes);
        }
        bytes
    }

    /// A request of one command for each member from `first` on, each under a new key.
    pub(crate) fn request_for_each(&mut self, first: u64, commands: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for member in first..first + commands {
            let drawn = self.draw_for(member);
            self.write(&drawn, &mut bytes);
        }
        bytes
    }

    /// The next command, under a new key.
    pub(crate) fn draw(&mut self) -> Drawn {
        let member = self.rng.below(self.members);
        self.draw_for(member)
    }

    fn draw_for(&mut self, member: u64) -> Drawn {
        let (bits, amount) = (self.rng.next(), 200 + self.rng.below(9_800));
        let key = random_key(&mut self.rng);
        Drawn { key, member: member_id(member), amount, doubled: bits & 1 == 0 }
    }

    /// Appends a command to a request.
    pub(crate) fn write(&self, drawn: &Drawn, to: &mut Vec<u8>) {
        let Drawn { key, member, amount, doubled } = drawn;
        let [purchase, visit] = &self.templates;
        let template = if *doubled { purchase } else { visit };
        let start = to.len();
        to.extend_from_slice(&template.bytes);
        let [low, high, ..] = amount.to_le_bytes();
        // Between 128 and 16,383: seven bits in each of two bytes.
        patch(to, start + template.amount, &[low | 0x80, (high << 1) | (low >> 7)]);
        patch(to, start + template.key, key);
        patch(to, start + template.member, member);
    }
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + with.len()) {
        place.copy_from_slice(with);
    }
}

/// `member-` and 13 digits.
pub(crate) fn member_id(mut number: u64) -> [u8; ID_BYTES] {
    let mut id = *b"member-0000000000000";
    for digit in id.iter_mut().rev().take(13) {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    id
}

/// 20 letters that no other command has.
pub(crate) fn random_key(rng: &mut Rng) -> [u8; ID_BYTES] {
    let mut key = [0; ID_BYTES];
    for part in key.chunks_mut(ID_BYTES / 2) {
        let mut bits = rng.next();
        for letter in part {
            let [low, ..] = bits.to_le_bytes();
            *letter = LETTERS.get(usize::from(low & 63)).copied().unwrap_or(b'-');
            bits >>= 6;
        }
    }
    key
}

/// What is counted of a receipt; the other fields are skipped.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Counted {
    /// `Receipt.outcome`.
    #[prost(int32, tag = "1")]
    pub(crate) outcome: i32,
    /// `Receipt.replayed`.
    #[prost(bool, tag = "4")]
    pub(crate) replayed: bool,
}

impl Counted {
    /// What a conflict of a single command comes to, which is told as a status and not in a receipt.
    pub(crate) const CONFLICT: Self = Self { outcome: Outcome::Conflict as i32, replayed: false };
}

/// Any of the three responses.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Receipts {
    /// `receipt` or `receipts`.
    #[prost(message, repeated, tag = "1")]
    pub(crate) receipts: Vec<Counted>,
}

/// Sends bytes that are encoded already, decodes `D`.
#[derive(Debug)]
pub(crate) struct BytesCodec<D>(PhantomData<D>);

impl<D> BytesCodec<D> {
    /// It has no state.
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

/// See [`BytesCodec`].
#[derive(Debug)]
pub(crate) struct BytesEncoder;

impl<D: Message + Default + Send + 'static> Codec for BytesCodec<D> {
    type Encode = Vec<u8>;
    type Decode = D;
    type Encoder = BytesEncoder;
    type Decoder = ProstDecoder<D>;

    fn encoder(&mut self) -> Self::Encoder {
        BytesEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

impl Encoder for BytesEncoder {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(item.len());
        to.put_slice(&item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use stampbook::proto::{PostBatchRequest, PostBatchResponse, Receipt};
    use std::collections::BTreeSet;

    #[test]
    fn patched_requests_decode_to_the_commands_they_stand_for() {
        let mut writer = Writer::new("loadtest", 1_000, Rng::new(7, 0)).unwrap();
        let request = PostBatchRequest::decode(writer.request(500).as_slice()).unwrap();
        assert_eq!(request.items.len(), 500);
        let (mut keys, mut members, mut kinds) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for command in request.items {
            let Some(Action::Earn(earn)) = command.action else { panic!("not an earn") };
            let Some(Basis::AmountMinor(amount)) = earn.basis else { panic!("not by spend") };
            assert!((200..10_000).contains(&amount));
            assert_eq!((command.program.as_str(), command.key.len()), ("loadtest", ID_BYTES));
            let number: u64 = command.member.strip_prefix("member-").unwrap().parse().unwrap();
            assert!(number < 1_000);
            keys.insert(command.key);
            members.insert(command.member);
            kinds.insert(earn.event_kind);
        }
        assert_eq!(keys.len(), 500);
        assert!(members.len() > 300);
        assert_eq!(kinds.len(), 2);
    }

    #[test]
    fn a_request_for_each_member_repeats_with_its_seed_and_leaves_none_out() {
        let request = || Writer::new("loadtest", 1, Rng::new(7, 3)).unwrap().request_for_each(2_000, 500);
        assert_eq!(request(), request());
        let members = PostBatchRequest::decode(request().as_slice()).unwrap().items.into_iter().map(|item| item.member);
        let expected = (2_000..2_500).map(|number| format!("member-{number:013}"));
        assert!(members.eq(expected));
    }

    #[test]
    fn what_is_counted_is_what_the_receipts_say() {
        let receipt =
            Receipt { outcome: Outcome::Rejected.into(), replayed: true, key: "k".into(), op: 7, ..Receipt::default() };
        let response = PostBatchResponse { receipts: vec![receipt; 3] };
        let counted = Receipts::decode(response.encode_to_vec().as_slice()).unwrap();
        assert_eq!(counted.receipts, vec![Counted { outcome: Outcome::Rejected.into(), replayed: true }; 3]);
    }
}
