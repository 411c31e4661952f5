//! Keyed hashes of keys and member ids: under the book's secret, so that no caller can aim for a collision.

use arrayvec::ArrayVec;

use super::ids::Op;

/// What ends a program's id in what is hashed.
const END: u8 = 0xff;
/// What is hashed of the longest id and key that a command may have lies in place.
const IN_PLACE_BYTES: usize = 256;

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
        let [a, b, c, d, e, f, g, h] = op.0.to_le_bytes();
        short(blake3::keyed_hash(&self.secret, &[domain, a, b, c, d, e, f, g, h]))
    }

    fn hash(&self, domain: u8, program_id: &str, text: &str) -> u128 {
        // The program's id ends with a byte that UTF-8 does not have, so that no two pairs run together alike.
        let parts: [&[u8]; 4] = [&[domain], program_id.as_bytes(), &[END], text.as_bytes()];
        let mut bytes = ArrayVec::<u8, IN_PLACE_BYTES>::new();
        if parts.iter().all(|part| bytes.try_extend_from_slice(part).is_ok()) {
            return short(blake3::keyed_hash(&self.secret, &bytes));
        }
        short(blake3::keyed_hash(&self.secret, &parts.concat()))
    }
}

/// The first 16 bytes of a hash.
fn short(hash: blake3::Hash) -> u128 {
    u128::from_be_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 16]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_print_is_the_hash_of_domain_program_and_text(program in ".{0,90}", text in ".{0,300}") {
            let mut hasher = blake3::Hasher::new_keyed(&[7; 32]);
            hasher.update(b"k").update(program.as_bytes()).update(&[0xff]).update(text.as_bytes());
            prop_assert_eq!(Prints::new([7; 32]).key(&program, &text), short(hasher.finalize()));
        }

        #[test]
        fn a_print_of_an_op_is_the_hash_of_domain_and_op(op in any::<u64>()) {
            let mut hasher = blake3::Hasher::new_keyed(&[7; 32]);
            hasher.update(b"t").update(&op.to_le_bytes());
            prop_assert_eq!(Prints::new([7; 32]).taken(Op(op)), short(hasher.finalize()));
        }
    }
}
