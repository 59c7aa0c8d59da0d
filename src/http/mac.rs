//! HMAC-SHA256 (RFC 2104, FIPS 180-4): sign, and find which of several secrets signed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Secret;

/// The length of a signature in bytes.
pub const LENGTH: usize = 32;

/// The signature of the concatenated `parts`.
pub fn sign(secret: &Secret, parts: &[&[u8]]) -> [u8; LENGTH] {
    sign_with(secret.expose().as_bytes(), parts)
}

/// As [`sign`], where the key is bytes and not a text.
pub fn sign_with(key: &[u8], parts: &[&[u8]]) -> [u8; LENGTH] {
    keyed(key, parts).finalize().into_bytes().into()
}

/// Whether `key` made `signature` over the concatenated `parts`, in constant time.
pub fn matches(key: &[u8], parts: &[&[u8]], signature: &[u8; LENGTH]) -> bool {
    keyed(key, parts).verify_slice(signature).is_ok()
}

/// The place in `secrets` of the one that made `signature` over the concatenated `parts`.
///
/// Each comparison takes constant time and every secret is tried, so that the time an answer takes tells
/// neither how much of a forgery was right nor which secret is in use.
pub fn signer(secrets: &[Secret], parts: &[&[u8]], signature: &[u8; LENGTH]) -> Option<usize> {
    signer_of_any(secrets, parts, std::slice::from_ref(signature))
}

/// [`signer`] where a message carries several signatures and one right one is enough. The message is hashed once
/// a secret, however many signatures a stranger sends.
pub fn signer_of_any<'a>(
    secrets: impl IntoIterator<Item = &'a Secret>,
    parts: &[&[u8]],
    signatures: &[[u8; LENGTH]],
) -> Option<usize> {
    secrets.into_iter().enumerate().fold(None, |found, (place, secret)| {
        let keyed = keyed(secret.expose().as_bytes(), parts);
        let right = signatures.iter().fold(false, |right, signature| {
            // Not `||`: it would stop looking.
            right | keyed.clone().verify_slice(signature).is_ok()
        });
        found.or(right.then_some(place))
    })
}

/// Reads exactly [`LENGTH`] bytes from lower-case hexadecimal digits, the one way providers write them.
pub fn from_hex(text: &str) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        // The construction hashes long keys and pads short ones: no length is wrong.
        unreachable!("HMAC takes keys of any length")
    };
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(*text).unwrap()).collect()
    }

    /// The example in GitHub's "Validating webhook deliveries".
    const PUBLISHED: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_published_example_is_reproduced() {
        let secret = Secret::new("It's a Secret to Everybody").unwrap();
        assert_eq!(hex::encode(sign(&secret, &[b"Hello, ", b"World!"])), PUBLISHED);
    }

    #[test]
    fn any_of_several_secrets_may_have_signed() {
        let signature = from_hex(PUBLISHED).unwrap();
        let several = secrets(&["new", "It's a Secret to Everybody"]);
        assert_eq!(signer(&several, &[b"Hello, World!"], &signature), Some(1));
        assert_eq!(signer(&several, &[b"Hello, World?"], &signature), None);
        assert_eq!(signer(&several[..1], &[b"Hello, World!"], &signature), None);
        assert_eq!(signer(&[], &[b"Hello, World!"], &signature), None);
        let wrong = [0; LENGTH];
        let any = |signatures: &[_]| signer_of_any(&several, &[b"Hello, World!"], signatures);
        assert_eq!(any(&[wrong, signature, wrong]), Some(1));
        assert_eq!(any(&[wrong]), None);
        assert_eq!(any(&[]), None);
    }

    #[test]
    fn only_sixty_four_lower_case_digits_are_a_signature() {
        assert!(from_hex(PUBLISHED).is_some());
        for bad in [
            "",
            "75",
            &PUBLISHED.to_uppercase(),
            &PUBLISHED[1..],
            &format!("{PUBLISHED}00"),
            &"g".repeat(64),
            &"é".repeat(32),
        ] {
            assert!(from_hex(bad).is_none(), "{bad}");
        }
    }
}
