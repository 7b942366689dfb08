//! Whether Stripe sent a body: `Stripe-Signature` checked over the raw bytes.
//! It knows no clock, no HTTP and nothing of what the body says.
//!
//! Scheme (docs.stripe.com/webhooks/signature): `t=<unix s>,v1=<hex>[,v1=<hex>…][,v0=<hex>]`;
//! signed are `<t>.<raw body>`; the key is the whole secret text, `whsec_` included.
//! Where Stripe's own libraries disagree with each other, the stricter answer is taken.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::fmt;

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "stripe-signature";

/// How far `t` may lie from this clock, in seconds, in either direction.
pub const TOLERANCE_SECONDS: i64 = 300;

/// Longest header that is read, in bytes. Stripe's own has about 200.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Most `v1` values that are tried. Stripe sends one per active secret, at most two.
pub const V1_MAX: usize = 8;

/// Why a body is not believed to be Stripe's. All of them are one answer, 400; the text is
/// for the operator, who has to find out which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// There is no header.
    #[error("the Stripe-Signature header is missing")]
    NoHeader,
    /// The header is longer than [`HEADER_BYTES_MAX`] or carries more than [`V1_MAX`] values.
    #[error("the Stripe-Signature header is too long")]
    TooLong,
    /// The header is not made of one integer `t` and at least one `v1`.
    #[error("the Stripe-Signature header needs exactly one integer t and at least one v1")]
    Unreadable,
    /// No secret made any of the signatures.
    #[error("no v1 signature was made over this body with STRIPE_WEBHOOK_SECRET")]
    Mismatch,
    /// Signed, but too long ago or too far ahead.
    #[error("the signature's time is more than 300 s away from this clock")]
    Stale,
}

/// The endpoint's secrets. Several are accepted while one is being rolled.
#[derive(Clone)]
pub struct Verifier {
    secrets: Vec<SecretString>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} secrets)", self.secrets.len())
    }
}

impl Verifier {
    /// Reads secrets from comma-separated text. White space around each is cut off, because a
    /// trailing newline is the usual mistake and Stripe's secrets hold none.
    ///
    /// # Errors
    /// When one of them is empty: every library would then accept anything or nothing.
    pub fn new(secrets: &SecretString) -> Result<Self, &'static str> {
        let secrets: Vec<&str> = secrets.expose_secret().split(',').map(str::trim).collect();
        if secrets.iter().any(|secret| secret.is_empty()) {
            return Err("holds an empty secret");
        }
        Ok(Self {
            secrets: secrets.into_iter().map(SecretString::from).collect(),
        })
    }

    /// Checks the signature first and the time second, so that a stale answer tells only
    /// Stripe itself that the clock is the matter. `now` is in unix seconds.
    ///
    /// # Errors
    /// The [`Distrust`] that explains the refusal.
    pub fn check(&self, header: Option<&str>, body: &[u8], now: i64) -> Result<(), Distrust> {
        let header = header
            .filter(|text| !text.is_empty())
            .ok_or(Distrust::NoHeader)?;
        let claim = Claim::read(header)?;
        if !self.made_one_of(&claim, body) {
            return Err(Distrust::Mismatch);
        }
        if now.saturating_sub(claim.time).saturating_abs() > TOLERANCE_SECONDS {
            return Err(Distrust::Stale);
        }
        Ok(())
    }

    /// Tries every secret on every value, each in constant time.
    fn made_one_of(&self, claim: &Claim<'_>, body: &[u8]) -> bool {
        let mut made = false;
        for secret in &self.secrets {
            let mac = signed(secret.expose_secret(), claim.time, body);
            for signature in &claim.signatures {
                made |= lower_hex(signature)
                    .is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok());
            }
        }
        made
    }
}

fn signed(secret: &str, time: i64, body: &[u8]) -> Hmac<Sha256> {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.chain_update(time.to_string())
        .chain_update(b".")
        .chain_update(body)
}

/// Lower-case hex only: Stripe sends no other, and its libraries compare text.
fn lower_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// What a header says, unverified.
#[derive(Debug)]
struct Claim<'a> {
    time: i64,
    signatures: Vec<&'a str>,
}

impl<'a> Claim<'a> {
    /// Takes `t` and `v1`; other schemes and empty items are skipped, as Stripe's libraries do.
    /// A value ends at a second `=`, as there.
    fn read(header: &'a str) -> Result<Self, Distrust> {
        if header.len() > HEADER_BYTES_MAX {
            return Err(Distrust::TooLong);
        }
        let mut times = Vec::new();
        let mut signatures = Vec::new();
        for item in header.split(',') {
            let mut parts = item.split('=');
            let (key, value) = (parts.next(), parts.next());
            match key {
                Some("t") => times.push(value.ok_or(Distrust::Unreadable)?),
                Some("v1") => signatures.push(value.ok_or(Distrust::Unreadable)?),
                Some(_) | None => {}
            }
        }
        if signatures.len() > V1_MAX {
            return Err(Distrust::TooLong);
        }
        let [time] = times.as_slice() else {
            return Err(Distrust::Unreadable);
        };
        let time = time.trim().parse().ok().ok_or(Distrust::Unreadable)?;
        if signatures.is_empty() {
            return Err(Distrust::Unreadable);
        }
        Ok(Self { time, signatures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;
    const BODY: &[u8] = br#"{"id":"evt_1","object":"event","type":"x","data":{"object":{}}}"#;
    /// Stripe's own libraries make the same.
    const MADE: &str = "642e6beb2dbc243ef2c883582986bceb107bc787735fee9d0e5619fd0f02e320";

    fn verifier(secrets: &str) -> Verifier {
        Verifier::new(&SecretString::from(secrets)).unwrap()
    }

    fn check(header: &str) -> Result<(), Distrust> {
        verifier("whsec_test").check(Some(header), BODY, NOW)
    }

    #[test]
    fn the_published_vectors_hold_and_white_space_in_the_body_matters() {
        assert_eq!(check(&format!("t={NOW},v1={MADE}")), Ok(()));
        let spaced = br#"{"id": "evt_1", "object": "event", "type": "x", "data": {"object": {}}}"#;
        let made = "4d07955913822b6ffeea434a156758d125c1ab64a757d6892d56300ade82ddac";
        let both = verifier("whsec_test");
        assert_eq!(
            both.check(Some(&format!("t={NOW},v1={made}")), spaced, NOW),
            Ok(())
        );
        assert_eq!(
            both.check(Some(&format!("t={NOW},v1={made}")), BODY, NOW),
            Err(Distrust::Mismatch)
        );
    }

    #[test]
    fn each_secret_and_each_signature_is_tried() {
        let wrong = "0".repeat(64);
        for secrets in [
            "whsec_test",
            " whsec_test\n",
            "whsec_new,whsec_test",
            "whsec_test , x",
        ] {
            let header = format!("t={NOW},v1={wrong},v1={MADE},v0={wrong}");
            assert_eq!(
                verifier(secrets).check(Some(&header), BODY, NOW),
                Ok(()),
                "{secrets:?}"
            );
        }
        let others = verifier("whsec_new,whsec_newer");
        assert_eq!(
            others.check(Some(&format!("t={NOW},v1={MADE}")), BODY, NOW),
            Err(Distrust::Mismatch)
        );
    }

    #[test]
    fn an_empty_secret_is_refused_when_it_is_read() {
        for secrets in ["", " ", "\n", "whsec_test,", ",whsec_test", "a,,b"] {
            assert!(
                Verifier::new(&SecretString::from(secrets)).is_err(),
                "{secrets:?}"
            );
        }
    }

    #[test]
    fn the_time_may_be_300_seconds_off_in_either_direction() {
        let verifier = verifier("whsec_test");
        let header = format!("t={NOW},v1={MADE}");
        for (now, answer) in [
            (NOW + 300, Ok(())),
            (NOW - 300, Ok(())),
            (NOW + 301, Err(Distrust::Stale)),
            (NOW - 301, Err(Distrust::Stale)),
            (i64::MIN, Err(Distrust::Stale)),
        ] {
            assert_eq!(verifier.check(Some(&header), BODY, now), answer, "{now}");
        }
        let wrong = format!("t={NOW},v1={}", "0".repeat(64));
        assert_eq!(
            verifier.check(Some(&wrong), BODY, NOW + 301),
            Err(Distrust::Mismatch)
        );
    }

    #[test]
    fn headers_that_cannot_be_read_say_so() {
        let none = verifier("whsec_test");
        assert_eq!(none.check(None, BODY, NOW), Err(Distrust::NoHeader));
        for (header, answer) in [
            (String::new(), Distrust::NoHeader),
            ("t".to_owned(), Distrust::Unreadable),
            (format!("v1={MADE}"), Distrust::Unreadable),
            (format!("t={NOW}"), Distrust::Unreadable),
            (format!("t={NOW},v1"), Distrust::Unreadable),
            (format!("t={NOW},v0={MADE}"), Distrust::Unreadable),
            (format!("t={NOW},t={NOW},v1={MADE}"), Distrust::Unreadable),
            (format!("t={NOW}.5,v1={MADE}"), Distrust::Unreadable),
            (
                format!("t={NOW}{},v1={MADE}", "0".repeat(20)),
                Distrust::Unreadable,
            ),
            (format!("t={NOW}, v1={MADE}"), Distrust::Unreadable),
            (
                format!("t={NOW},v1={}", MADE.to_uppercase()),
                Distrust::Mismatch,
            ),
            (format!("t={NOW},v1={MADE}0"), Distrust::Mismatch),
            (format!("t={NOW},v1="), Distrust::Mismatch),
            (
                format!("t={NOW}{}", format!(",v1={MADE}").repeat(V1_MAX + 1)),
                Distrust::TooLong,
            ),
            (
                format!("t={NOW},v1={MADE},x={}", "y".repeat(HEADER_BYTES_MAX)),
                Distrust::TooLong,
            ),
        ] {
            assert_eq!(check(&header), Err(answer), "{header:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_and_no_body_breaks_it(header in ".{0,200}", body: Vec<u8>, now: i64) {
            let checked = verifier("whsec_test").check(Some(&header), &body, now);
            proptest::prop_assert!(checked.is_err());
        }
    }
}
