//! How a report is signed and opened: HMAC-SHA256 over the raw body, hex in `X-Signature`.
//! Nothing is parsed before the signature holds.

use crate::{FRESHNESS_SECONDS, REPORT_BYTES_MAX, Report, Sender};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "X-Signature";

/// Shortest secret that is accepted, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

fn mac(secret: &[u8]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(secret) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

/// Signs a body: 64 lower-case hex digits.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    hex::encode(mac(secret).chain_update(body).finalize().into_bytes())
}

/// Why a report was not accepted; each is one HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// 413: longer than [`REPORT_BYTES_MAX`].
    TooLarge,
    /// 401: no signature, or none of the secrets made it.
    Signature,
    /// 400: signed, but not a report; says why.
    Malformed(String),
    /// 401: `sent_at` is more than [`FRESHNESS_SECONDS`] off.
    Stale,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the report is longer than {REPORT_BYTES_MAX} bytes"),
            Self::Signature => {
                write!(
                    f,
                    "{SIGNATURE_HEADER} is missing or was made with another secret"
                )
            }
            Self::Malformed(why) => write!(f, "the report is malformed: {why}"),
            Self::Stale => {
                write!(
                    f,
                    "sent_at is more than {FRESHNESS_SECONDS} s away from this clock"
                )
            }
        }
    }
}

impl std::error::Error for Rejection {}

/// Opens signed reports. Holds one secret, or two while they are being rotated.
#[derive(Clone)]
pub struct Verifier {
    secrets: Vec<Vec<u8>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} secrets)", self.secrets.len())
    }
}

impl Verifier {
    /// A verifier that accepts any of `secrets`.
    ///
    /// # Errors
    /// When there is none, or one is shorter than [`MIN_SECRET_BYTES`].
    pub fn new(secrets: Vec<Vec<u8>>) -> Result<Self, String> {
        if secrets.is_empty() {
            return Err("at least one secret is needed".to_owned());
        }
        if secrets.iter().any(|secret| secret.len() < MIN_SECRET_BYTES) {
            return Err(format!("a secret has fewer than {MIN_SECRET_BYTES} bytes"));
        }
        Ok(Self { secrets })
    }

    /// Whether `signature` (hex in either case) was made over `body` with one of the secrets.
    /// Every secret is tried in constant time.
    pub fn holds(&self, signature: &str, body: &[u8]) -> bool {
        let mut claimed = [0_u8; 32];
        if hex::decode_to_slice(signature, &mut claimed).is_err() {
            return false;
        }
        self.secrets.iter().fold(false, |held, secret| {
            let holds = mac(secret)
                .chain_update(body)
                .verify_slice(&claimed)
                .is_ok();
            held | holds
        })
    }

    /// Verifies, then parses, then checks freshness against `now` (unix seconds).
    ///
    /// # Errors
    /// The [`Rejection`] that the sender is to be told.
    pub fn open(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: i64,
    ) -> Result<Report, Rejection> {
        if body.len() > REPORT_BYTES_MAX {
            return Err(Rejection::TooLarge);
        }
        if !signature.is_some_and(|signature| self.holds(signature, body)) {
            return Err(Rejection::Signature);
        }
        let report: Report = serde_json::from_slice(body)
            .map_err(|error| Rejection::Malformed(error.to_string()))?;
        match report.sender {
            Sender::Attempt { sent_at, .. }
                if now.saturating_sub(sent_at).saturating_abs() > FRESHNESS_SECONDS =>
            {
                Err(Rejection::Stale)
            }
            Sender::Attempt { .. } | Sender::FirstVersion => Ok(report),
        }
    }
}
