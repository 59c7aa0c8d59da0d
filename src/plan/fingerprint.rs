//! Fingerprints: equal means that nothing needs to move. Keyed, because they stand in labels that others can
//! read while what goes into them (environment, secrets) must not be guessable from them.

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A key as long as SHA-256's block, so that every one is used as it is.
pub type Key = [u8; 64];

/// The keyed fingerprint of anything that serialises in a fixed order: 32 hexadecimal digits.
///
/// # Errors
/// When the value cannot be written as JSON, such as a map whose keys are not texts.
pub fn keyed(key: &Key, value: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_vec(value)?;
    let mut mac = Hmac::<Sha256>::new(key.into());
    mac.update(&text);
    Ok(hex::encode(&mac.finalize().into_bytes()[..16]))
}

/// The hash of a build's inputs, each part kept apart from the next: 12 hexadecimal digits, as in an image tag.
pub fn inputs<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_gives_another_fingerprint() {
        let one = keyed(&[1; 64], &"a").unwrap();
        assert_eq!(one.len(), 32);
        assert_eq!(one, keyed(&[1; 64], &"a").unwrap());
        assert_ne!(one, keyed(&[2; 64], &"a").unwrap());
    }

    #[test]
    fn moving_a_letter_from_one_part_to_the_next_changes_the_hash() {
        assert_ne!(inputs(["ab", "c"]), inputs(["a", "bc"]));
        assert_eq!(inputs(["ab", "c"]).len(), 12);
    }
}
