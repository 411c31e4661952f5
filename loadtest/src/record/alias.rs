//! Pseudonyms: equal in, equal out within one trace, and nothing that leads back.

use crate::Failure;

/// Bytes of the keyed hash that make a pseudonym: a million million of them hardly ever meet.
const BYTES: usize = 12;

/// A pseudonym before it is written.
pub(crate) type Short = [u8; BYTES];

/// Makes pseudonyms under a secret that nobody keeps.
pub(crate) struct Aliases {
    secret: [u8; 32],
}

impl Aliases {
    /// Under a new secret.
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| format!("no random numbers: {error}"))?;
        Ok(Self { secret })
    }

    /// The pseudonym of an id, a key or a name.
    pub(crate) fn short(&self, text: &str) -> Short {
        let hash = blake3::keyed_hash(&self.secret, text.as_bytes());
        let mut short = [0; BYTES];
        short.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        short
    }

    /// The same as text.
    pub(crate) fn of(&self, text: &str) -> String {
        written(self.short(text))
    }
}

/// A pseudonym as text: 24 hexadecimal digits.
pub(crate) fn written(short: Short) -> String {
    use std::fmt::Write;
    short.iter().fold(String::with_capacity(2 * BYTES), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
