//! `Stripe-Signature`: reading it, believing it, making it. Pure.
//!
//! The header is a list of `key=value` with commas between: `t`, Unix seconds, and any number of `v1`, one for each
//! secret that is active. A `v1` is the HMAC-SHA256, in hexadecimal digits, of `t` exactly as sent, a dot and the
//! raw body; the key is the whole text of the secret. Other schemes mean nothing (test events carry a fake `v0`).
//! Protocol: docs.stripe.com/webhooks, "Verify webhook signatures manually".

use std::time::Duration;

use crate::http::{Secret, mac};

use super::SigningSecret;

/// Why a signature is not believed. A stranger learns of times only once a secret fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    #[error("not signed: there is no Stripe-Signature header")]
    Missing,
    #[error("there is more than one Stripe-Signature header")]
    Repeated,
    #[error("the Stripe-Signature header cannot be read: {0}")]
    Malformed(&'static str),
    #[error("the signature does not fit: compare the endpoint's signing secret (whsec_…) with the agent's")]
    Forged,
    #[error("signed {0} s ago, longer than is tolerated: sent late, or the clocks differ")]
    Stale(i64),
    #[error("signed {0} s in the future: the clocks differ")]
    Early(i64),
}

impl Distrust {
    /// For counting.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "unsigned",
            // Not "repeated": that is an event that came again.
            Self::Repeated => "two_signatures",
            Self::Malformed(_) => "malformed",
            Self::Forged => "forged",
            Self::Stale(_) => "stale",
            Self::Early(_) => "early",
        }
    }
}

/// A header's parts. Two `t` are ambiguous (libraries differ in which they take), so they are refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    /// As sent: this is what was signed.
    time: &'a str,
    /// Unix seconds.
    at: i64,
    signatures: Vec<[u8; mac::LENGTH]>,
}

impl<'a> Claim<'a> {
    pub(super) fn parse(header: &'a str) -> Result<Self, Distrust> {
        let mut time = None;
        let mut signatures = Vec::new();
        for part in header.split(',') {
            let (key, value) = part.split_once('=').ok_or(Distrust::Malformed("a part without `=`"))?;
            match key {
                "t" if time.replace(value).is_some() => {
                    return Err(Distrust::Malformed("more than one time (`t`)"));
                }
                // One that has no form of a signature fits nothing, as any other wrong one.
                "v1" => signatures.extend(mac::from_hex(value)),
                _ => {}
            }
        }
        let time = time.ok_or(Distrust::Malformed("no time (`t`)"))?;
        let digits = !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit());
        let at = time.parse().ok().filter(|_| digits);
        let at = at.ok_or(Distrust::Malformed("the time (`t`) is not in Unix seconds"))?;
        Ok(Self { time, at, signatures })
    }
}

/// The place in `secrets` of the one that signed `body`. `now` in Unix seconds.
pub(super) fn verify(
    header: &str,
    body: &[u8],
    secrets: &[SigningSecret],
    tolerance: Duration,
    now: i64,
) -> Result<usize, Distrust> {
    let claim = Claim::parse(header)?;
    let keys = secrets.iter().map(|signing| &signing.secret);
    let signer = mac::signer_of_any(keys, &[claim.time.as_bytes(), b".", body], &claim.signatures);
    let signer = signer.ok_or(Distrust::Forged)?;
    let age = now.saturating_sub(claim.at);
    match age.unsigned_abs() > tolerance.as_secs() {
        true if age > 0 => Err(Distrust::Stale(age)),
        true => Err(Distrust::Early(age.saturating_neg())),
        false => Ok(signer),
    }
}

/// A header by these secrets, the first one's signature first. `now` in Unix seconds.
pub(super) fn sign(secrets: &[Secret], body: &[u8], now: i64) -> String {
    let time = now.to_string();
    let mut header = format!("t={time}");
    for secret in secrets {
        let signature = mac::sign(secret, &[time.as_bytes(), b".", body]);
        header += ",v1=";
        header += &hex::encode(signature);
    }
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000;
    const BODY: &[u8] = b"{\n  \"id\": \"evt_1\"\n}";

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn verify_at(header: &str, now: i64) -> Result<usize, Distrust> {
        let secrets =
            ["whsec_new", "whsec_old"].map(|text| SigningSecret { secret: secret(text), livemode: None });
        verify(header, BODY, &secrets, Duration::from_secs(300), now)
    }

    fn by(text: &str, at: i64) -> String {
        sign(&[secret(text)], BODY, at)
    }

    /// Made with Stripe's own library for Node: `Stripe.webhooks.generateTestHeaderString`.
    #[test]
    fn the_official_library_makes_the_same_signature() {
        assert_eq!(
            by("whsec_new", NOW),
            "t=1700000000,v1=53c5f2d229ff94d78bac38ef05c8ea68d8db501e26fe223e349a636a551f29e6"
        );
    }

    #[test]
    fn any_of_the_secrets_may_have_signed() {
        assert_eq!(verify_at(&by("whsec_new", NOW), NOW), Ok(0));
        assert_eq!(verify_at(&by("whsec_old", NOW), NOW), Ok(1));
        assert_eq!(verify_at(&by("whsec_else", NOW), NOW), Err(Distrust::Forged));
        assert_eq!(verify_at(&sign(&[secret("x"), secret("whsec_old")], BODY, NOW), NOW), Ok(1));
        assert_eq!(verify_at(&sign(&[secret("whsec_old"), secret("x")], BODY, NOW), NOW), Ok(1));
    }

    #[test]
    fn times_are_tolerated_both_ways() {
        for (shift, expected) in [
            (0, Ok(0)),
            (300, Ok(0)),
            (-300, Ok(0)),
            (301, Err(Distrust::Stale(301))),
            (-301, Err(Distrust::Early(301))),
        ] {
            assert_eq!(verify_at(&by("whsec_new", NOW), NOW + shift), expected);
        }
        assert_eq!(verify_at(&by("whsec_else", 0), NOW), Err(Distrust::Forged), "no times for strangers");
        assert_eq!(verify_at(&by("whsec_new", i64::MAX), NOW), Err(Distrust::Early(i64::MAX - NOW)));
    }

    #[test]
    fn unknown_schemes_mean_nothing() {
        let right = by("whsec_new", NOW);
        let fake = format!("v0={}", "0".repeat(64));
        assert_eq!(verify_at(&format!("{right},{fake}"), NOW), Ok(0));
        assert_eq!(verify_at(&format!("{fake},{right},v2=,=,x=y=z"), NOW), Ok(0));
        assert_eq!(verify_at(&right.replace("v1=", "v0="), NOW), Err(Distrust::Forged));
    }

    #[test]
    fn a_wrong_signature_beside_a_right_one_does_no_harm() {
        let right = by("whsec_new", NOW);
        for wrong in ["v1=", "v1=00", &format!("v1={}", "0".repeat(64)), "v1=ünïcödé"] {
            assert_eq!(verify_at(&format!("{right},{wrong}"), NOW), Ok(0), "{wrong}");
            assert_eq!(verify_at(&format!("{wrong},{right}"), NOW), Ok(0), "{wrong}");
            assert_eq!(verify_at(&format!("t={NOW},{wrong}"), NOW), Err(Distrust::Forged), "{wrong}");
        }
    }

    #[test]
    fn what_is_ambiguous_or_no_list_is_malformed() {
        let right = by("whsec_new", NOW);
        for header in [
            "",
            ",",
            "nonsense",
            &right["t=1700000000,".len()..],
            &format!("{right},"),
            &format!("{right},t={NOW}"),
            &format!("t={NOW},{right}"),
            &right.replace("t=", "t=+"),
            &right.replace("t=", "t=-"),
            &right.replace("t=", "t= "),
            &right.replace("t=", " t="),
            &right.replace("t=1700000000", "t="),
            &right.replace("t=1700000000", "t=99999999999999999999"),
        ] {
            let found = verify_at(header, NOW);
            assert!(matches!(found, Err(Distrust::Malformed(_))), "{header}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_believed_that_was_not_signed(header in "[tv01=,. a-f]{0,120}") {
            prop_assert!(verify_at(&header, NOW).is_err());
        }

        #[test]
        fn what_is_signed_is_believed_and_nothing_else(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0..4_000_000_000_i64,
            flipped in any::<prop::sample::Index>(),
        ) {
            let secrets = [SigningSecret { secret: secret("whsec_a"), livemode: None }];
            let tolerance = Duration::from_secs(300);
            let header = sign(&[secret("whsec_a")], &body, at);
            prop_assert_eq!(verify(&header, &body, &secrets, tolerance, at), Ok(0));
            let mut longer = body.clone();
            longer.push(b' ');
            prop_assert_eq!(verify(&header, &longer, &secrets, tolerance, at), Err(Distrust::Forged));
            let place = flipped.index(64) + header.len() - 64;
            let other = if &header[place..=place] == "0" { "1" } else { "0" };
            let forged = format!("{}{other}{}", &header[..place], &header[place + 1..]);
            prop_assert_eq!(verify(&forged, &body, &secrets, tolerance, at), Err(Distrust::Forged));
        }
    }
}
