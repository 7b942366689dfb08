//! Stripe's side of a webhook: signing as Stripe signs, and whole events in Stripe's shapes.
//!
//! Nothing here listens: the embedder posts what it builds. Event shapes are in [`events`].

pub mod events;

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

pub use events::{CheckoutSession, EventHead, Invoice, InvoiceShape, PaymentStatus, Subscription};

/// Makes `Stripe-Signature` headers with one endpoint secret.
#[derive(Clone)]
pub struct Signer {
    secret: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with the whole secret text, `whsec_` included.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
        }
    }

    /// The `v1` signature: lower-case hex of HMAC-SHA-256 over `t.payload`.
    pub fn v1(&self, payload: &[u8], t: i64) -> String {
        let keyed = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes());
        let Ok(mut mac) = keyed else {
            // HMAC takes keys of every length.
            return String::new();
        };
        mac.update(t.to_string().as_bytes());
        mac.update(b".");
        mac.update(payload);
        hex::encode(mac.finalize().into_bytes())
    }

    /// The header of a delivery at `t`, unix seconds: `t=…,v1=…`.
    pub fn sign(&self, payload: &[u8], t: i64) -> String {
        format!("t={t},v1={}", self.v1(payload, t))
    }

    /// The header while secrets roll: one `v1` of each secret, ours first.
    pub fn sign_rolling(&self, others: &[Self], payload: &[u8], t: i64) -> String {
        let mut header = self.sign(payload, t);
        for other in others {
            header.push_str(",v1=");
            header.push_str(&other.v1(payload, t));
        }
        header
    }

    /// The header of a test event: with the fake `v0` that must never be accepted.
    pub fn sign_with_v0(&self, payload: &[u8], t: i64) -> String {
        let fake = "0".repeat(64);
        format!("{},v0={fake}", self.sign(payload, t))
    }
}
