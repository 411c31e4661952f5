//! Keyed hashes of keys and member ids: under the book's secret, so that no caller can aim for a collision.

use super::ids::Op;

/// The hasher of one book.
#[derive(Clone)]
pub struct Prints {
    secret: [u8; 32],
}

impl Prints {
    /// A hasher under the secret of the book's genesis.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The fingerprint of an idempotency key within a program.
    #[must_use]
    pub fn key(&self, program_id: &str, key: &str) -> u128 {
        self.hash(b'k', program_id, key)
    }

    /// The hash of a member's id within a program.
    #[must_use]
    pub fn member(&self, program_id: &str, member: &str) -> u128 {
        self.hash(b'm', program_id, member)
    }

    /// The fingerprint under which the runs keep that an earn was taken back.
    #[must_use]
    pub fn taken(&self, original: Op) -> u128 {
        self.of_op(b't', original)
    }

    /// The fingerprint of an event that no caller asked for, and that has no key.
    #[must_use]
    pub fn own(&self, op: Op) -> u128 {
        self.of_op(b'o', op)
    }

    /// What ties the page of a statement to the question that it goes on with, so that no caller can make one up.
    #[must_use]
    pub fn page(&self, question: &str, page: &str) -> u128 {
        self.hash(b'p', question, page)
    }

    fn of_op(&self, domain: u8, op: Op) -> u128 {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&[domain]).update(&op.0.to_le_bytes());
        u128::from_be_bytes(*hasher.finalize().as_bytes().first_chunk().unwrap_or(&[0; 16]))
    }

    fn hash(&self, domain: u8, program_id: &str, text: &str) -> u128 {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        // The program's id ends with a byte that UTF-8 does not have, so that no two pairs run together alike.
        hasher.update(&[domain]).update(program_id.as_bytes()).update(&[0xff]).update(text.as_bytes());
        u128::from_be_bytes(*hasher.finalize().as_bytes().first_chunk().unwrap_or(&[0; 16]))
    }
}
