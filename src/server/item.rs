//! Commands as they arrive: an earn, which is what most of them are, is read where it lies and nothing of it copied. What is
//! no plain earn, or looks odd on the wire, is decoded as a message, and so the two ways cannot differ in what they refuse.

use std::mem;

use prost::bytes::Buf;
use prost::{DecodeError, Message};

use super::wire::{Fields, Reader, Writer};
use crate::constants::{METADATA_PAIRS_MAX, TAGS_PER_MEMBER_MAX};
use crate::ledger::event::CHECKOUT_PARTS_MAX;
use crate::proto as pb;

/// A command of so many bytes is decoded at once; every command of sound shape has fewer, unless it says things twice. Decoded,
/// it takes half a MiB at most, and not for long.
const AT_ONCE_BYTES_MAX: usize = 8 * 1024;
/// The fields of a command whose messages hold what is repeated.
const CHECKOUT: u32 = 34;
const MEMBER_SET: u32 = 30;

/// A command as it was sent.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum Item<'b> {
    /// An earn without metadata, on the bytes of the request.
    Earn(Said<'b>, Earn<'b>),
    /// Any command.
    Other(Box<pb::Command>),
}

/// What a command says beside its metadata and its action; see there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Said<'b> {
    pub program: &'b str,
    pub key: &'b str,
    pub member: &'b str,
    pub occurred_at_us: Option<i64>,
    pub reference: &'b str,
    pub channel: &'b str,
    pub partner: &'b str,
    pub location: &'b str,
    pub currency: &'b str,
}

/// What an earn says; see there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Earn<'b> {
    pub basis: Option<pb::earn::Basis>,
    pub event_kind: &'b str,
    pub asset: &'b str,
    pub pending: Option<pb::earn::Pending>,
}

impl<'b> From<&'b pb::Command> for Said<'b> {
    fn from(command: &'b pb::Command) -> Self {
        Self {
            program: &command.program,
            key: &command.key,
            member: &command.member,
            occurred_at_us: command.occurred_at_us,
            reference: &command.reference,
            channel: &command.channel,
            partner: &command.partner,
            location: &command.location,
            currency: &command.currency,
        }
    }
}

impl<'b> From<&'b pb::Earn> for Earn<'b> {
    fn from(earn: &'b pb::Earn) -> Self {
        Self { basis: earn.basis, event_kind: &earn.event_kind, asset: &earn.asset, pending: earn.pending }
    }
}

impl From<pb::Command> for Item<'_> {
    fn from(command: pb::Command) -> Self {
        Self::Other(Box::new(command))
    }
}

impl<'b> Item<'b> {
    /// Reads a command from its bytes.
    ///
    /// # Errors
    /// Where they are none.
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, DecodeError> {
        match plain(bytes) {
            Some((said, earn)) => Ok(Self::Earn(said, earn)),
            None if bytes.len() <= AT_ONCE_BYTES_MAX => pb::Command::decode(bytes).map(Self::from),
            None => Self::merged(std::iter::once(bytes)),
        }
    }

    /// Reads a command that lies in pieces, of which each later one adds to those before it.
    ///
    /// # Errors
    /// Where they are none.
    pub(super) fn merged(pieces: impl Iterator<Item = &'b [u8]>) -> Result<Self, DecodeError> {
        let mut command = Box::<pb::Command>::default();
        for piece in pieces {
            merge(&mut command, piece)?;
        }
        Ok(Self::Other(command))
    }
}

/// Decodes a command field by field, behind what of it is there. Of what is repeated in it no more is kept than is refused
/// already, for two bytes of it take a hundred in memory.
fn merge(command: &mut pb::Command, bytes: &[u8]) -> Result<(), DecodeError> {
    let mut head = Vec::new();
    for field in Fields(bytes) {
        match (field.number, field.content) {
            (CHECKOUT | MEMBER_SET, Some(content)) if !content.is_empty() => {
                // Each of its fields as if it were the only one.
                for inner in Fields(content) {
                    head.clear();
                    Writer(&mut head).head(field.number, inner.whole.len());
                    command.merge(head.chain(inner.whole))?;
                    trim(command);
                }
            }
            _ => {
                command.merge(field.whole)?;
                trim(command);
            }
        }
    }
    Ok(())
}

/// Drops what of a command cannot change that it is refused.
fn trim(command: &mut pb::Command) {
    use pb::command::Action;
    while command.metadata.len() > METADATA_PAIRS_MAX + 1 {
        command.metadata.pop_last();
    }
    match &mut command.action {
        Some(Action::Checkout(checkout)) => checkout.parts.truncate(CHECKOUT_PARTS_MAX + 1),
        Some(Action::MemberSet(set)) => {
            set.add_tags.truncate(TAGS_PER_MEMBER_MAX + 1);
            set.remove_tags.truncate(TAGS_PER_MEMBER_MAX + 1);
        }
        _ => {}
    }
}

/// Reads an earn without metadata. `None` where it is none, or its fields do not stand in the order of their numbers, each
/// once, as every known encoder writes them.
fn plain(command: &[u8]) -> Option<(Said<'_>, Earn<'_>)> {
    let (mut said, mut earn) = (Said::default(), None);
    let (mut reader, mut last) = (Reader(command), 0);
    while !reader.is_done() {
        let tag = reader.byte()?;
        if mem::replace(&mut last, tag) >= tag {
            return None;
        }
        match tag {
            0x0a => said.program = reader.text()?,
            0x12 => said.key = reader.text()?,
            0x1a => said.member = reader.text()?,
            0x20 => said.occurred_at_us = Some(reader.varint()?.cast_signed()),
            0x2a => said.reference = reader.text()?,
            0x32 => said.channel = reader.text()?,
            0x3a => said.partner = reader.text()?,
            0x42 => said.location = reader.text()?,
            0x52 => said.currency = reader.text()?,
            // Field 16, whose tag has a second byte.
            0x82 if reader.byte()? == 1 => earn = Some(plain_earn(reader.bytes()?)?),
            _ => return None,
        }
    }
    Some((said, earn?))
}

fn plain_earn(earn: &[u8]) -> Option<Earn<'_>> {
    use pb::earn::{Basis, Pending};
    let mut said = Earn::default();
    let (mut reader, mut last) = (Reader(earn), 0);
    while !reader.is_done() {
        let tag = reader.byte()?;
        if mem::replace(&mut last, tag) >= tag {
            return None;
        }
        match tag {
            0x08 => said.basis = Some(Basis::AmountMinor(reader.varint()?.cast_signed())),
            0x10 if said.basis.is_none() => said.basis = Some(Basis::Points(reader.varint()?.cast_signed())),
            0x1a => said.event_kind = reader.text()?,
            0x22 => said.asset = reader.text()?,
            0x28 => said.pending = Some(Pending::PendingUntilUs(reader.varint()?.cast_signed())),
            0x30 if said.pending.is_none() => said.pending = Some(Pending::UntilActivated(reader.varint()? != 0)),
            _ => return None,
        }
    }
    Some(said)
}

#[cfg(test)]
pub(super) mod tests;
