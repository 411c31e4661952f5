//! The commands of a request, read from its bytes one at a time, so that a request takes no more memory than its bytes and
//! what the ledger is asked: its commands are counted before the first of them is read.

use prost::{DecodeError, Message};

use super::item::Item;
use super::shape::Fault;
use super::status;
use super::wire::{Field, Fields};
use crate::proto as pb;

/// The field of each request that holds its command or commands.
const COMMANDS: u32 = 1;

/// The commands of a request, in their order. One that is unsound is a fault, with a path that begins in the command.
#[derive(Clone, Debug)]
pub struct Items<'b> {
    fields: Fields<'b>,
    left: usize,
}

impl<'b> Items<'b> {
    fn next_bytes(&mut self) -> Option<&'b [u8]> {
        let bytes = self.fields.find_map(command)?;
        self.left = self.left.saturating_sub(1);
        Some(bytes)
    }
}

impl<'b> Iterator for Items<'b> {
    type Item = Result<Item<'b>, Fault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_bytes().map(|bytes| sound(Item::read(bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// The one command of a `PostRequest`, if it has one.
///
/// # Errors
/// Where the bytes are no such message.
pub(super) fn of_post(request: &[u8]) -> Result<Option<Item<'_>>, Fault> {
    let (mut commands, _) = read::<pb::PostRequest>(request)?;
    let command = match commands.left {
        0 | 1 => commands.next().transpose(),
        // A message that is there twice is one, the second added to the first.
        _ => sound(Item::merged(std::iter::from_fn(|| commands.next_bytes()))).map(Some),
    };
    command.map_err(|fault| fault.within("command."))
}

/// The commands of a `PostBatchRequest`, and whether they are atomic.
///
/// # Errors
/// Where the bytes are no such message; the commands are not looked into.
pub fn of_batch(request: &[u8]) -> Result<(Items<'_>, bool), Fault> {
    read::<pb::PostBatchRequest>(request).map(|(items, besides)| (items, besides.atomic))
}

/// The commands of a `PostStreamRequest`.
///
/// # Errors
/// Where the bytes are no such message; the commands are not looked into.
pub(super) fn of_stream(request: &[u8]) -> Result<Items<'_>, Fault> {
    read::<pb::PostStreamRequest>(request).map(|(items, _)| items)
}

/// The commands of a request, counted, and what it says beside them.
fn read<M: Message + Default>(request: &[u8]) -> Result<(Items<'_>, M), Fault> {
    let (mut besides, mut left) = (M::default(), 0);
    let fields = Fields(request);
    for field in fields {
        match command(field) {
            Some(_) => left += 1,
            None => sound(besides.merge(field.whole))?,
        }
        if field.number == 0 {
            // The decoder refuses it too, and with better words; if it ever did not, items behind it would be lost.
            return Err(Fault::new("", pb::Reason::FieldMalformed, "the request is malformed"));
        }
    }
    Ok((Items { fields, left }, besides))
}

/// The bytes of a command, if the field is one.
#[inline]
fn command(field: Field<'_>) -> Option<&[u8]> {
    field.content.filter(|_| field.number == COMMANDS)
}

fn sound<T>(decoded: Result<T, DecodeError>) -> Result<T, Fault> {
    decoded.map_err(|error| status::undecoded(&error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::server::item::tests::{change, command, message, unknown};
    use crate::server::wire::Writer;

    /// A request as bytes, of commands as bytes.
    fn request(commands: &[Vec<u8>], atomic: Option<bool>, others: &[Vec<u8>]) -> Vec<u8> {
        let (mut bytes, mut others) = (Vec::new(), others.iter());
        for command in commands {
            bytes.extend(others.next().into_iter().flatten());
            Writer(&mut bytes).head(COMMANDS, command.len());
            bytes.extend(command);
        }
        bytes.extend(atomic.into_iter().flat_map(|atomic| [0x10, u8::from(atomic)]));
        bytes.extend(others.flatten());
        bytes
    }

    fn messages(items: Items<'_>) -> Option<Vec<pb::Command>> {
        let count = items.len();
        let items = items.map(|item| item.map(message)).collect::<Result<Vec<_>, _>>().ok()?;
        assert_eq!(items.len(), count);
        Some(items)
    }

    proptest! {
        #[test]
        fn a_request_of_any_bytes_is_read_as_the_message_is_or_refused_as_it_is(
            items in prop::collection::vec((command(), prop::option::weighted(0.2, unknown())), 0..4),
            atomic in any::<Option<bool>>(),
            others in prop::collection::vec(unknown(), 0..3),
            changes in prop::collection::vec((0_u8..5, any::<usize>(), any::<u8>()), 0..3),
        ) {
            let items = items.iter().map(|(item, other)| [item.encode_to_vec(), other.clone().unwrap_or_default()].concat());
            let mut bytes = request(&items.collect::<Vec<_>>(), atomic, &others);
            changes.into_iter().for_each(|of| change(&mut bytes, of));
            let read = of_batch(&bytes).ok().and_then(|(items, atomic)| {
                Some(pb::PostBatchRequest { items: messages(items)?, atomic })
            });
            prop_assert_eq!(read, pb::PostBatchRequest::decode(&*bytes).ok());
            let read = of_stream(&bytes).ok().and_then(messages);
            prop_assert_eq!(read, pb::PostStreamRequest::decode(&*bytes).ok().map(|request| request.items));
            let read = of_post(&bytes).ok().map(|item| item.map(message));
            prop_assert_eq!(read, pb::PostRequest::decode(&*bytes).ok().map(|request| request.command));
        }
    }
}
