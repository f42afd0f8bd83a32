//! The fingerprint of a key: what the queue tells URIs apart by, in a quarter of the memory that they take.

use sha2::{Digest as _, Sha256};

/// How many bytes it has.
pub const BYTES: usize = 16;

/// The first half of SHA-256 over a secret and a key. Two keys with the same fingerprint would share a queue; finding a
/// pair takes 2⁶⁴ tries and the secret.
#[must_use]
pub fn fingerprint(secret: &[u8; BYTES], key: &[u8]) -> [u8; BYTES] {
    let digest = Sha256::new().chain_update(secret).chain_update(key).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_depends_on_the_key_and_the_secret() {
        let of = |secret: u8, key: &[u8]| fingerprint(&[secret; BYTES], key);
        assert_eq!(of(1, b"a"), of(1, b"a"));
        assert_ne!(of(1, b"a"), of(1, b"b"));
        assert_ne!(of(1, b"a"), of(2, b"a"));
    }
}
