//! Keyed hashes of keys and member ids: under the book's secret, so that no caller can aim for a collision.

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
        let [a, b] = self.hash(b'k', program_id, key);
        (u128::from(a) << 64) | u128::from(b)
    }

    /// The hash of a member's id within a program.
    #[must_use]
    pub fn member(&self, program_id: &str, member: &str) -> u64 {
        let [a, _] = self.hash(b'm', program_id, member);
        a
    }

    fn hash(&self, domain: u8, program_id: &str, text: &str) -> [u64; 2] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        // The program's id ends with a byte that UTF-8 does not have, so that no two pairs run together alike.
        hasher.update(&[domain]).update(program_id.as_bytes()).update(&[0xff]).update(text.as_bytes());
        let bytes = hasher.finalize();
        let mut words = bytes.as_bytes().chunks_exact(8).map(|chunk| {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        [words.next().unwrap_or(0), words.next().unwrap_or(0)]
    }
}
