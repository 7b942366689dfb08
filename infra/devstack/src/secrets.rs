//! The random secrets of one stack.

use std::fmt;

use crate::entropy;

/// Made anew for every stack; never printed.
#[derive(Clone)]
pub struct Secrets {
    /// Signs Stripe's events (`STRIPE_WEBHOOK_SECRET`).
    pub stripe_webhook: String,
    /// Signs reports (`CALLBACK_SECRET`).
    pub callback: String,
    /// The operator's bearer token (`API_TOKEN`).
    pub api_token: String,
    /// Signs status links (`STATUS_LINK_SECRET`).
    pub status_link: String,
    /// Seals agents' secrets (`SPEC_KEY`): 256 bits in hex.
    pub spec_key: String,
}

impl Secrets {
    /// New random secrets.
    pub(crate) fn random() -> Self {
        Self {
            stripe_webhook: format!("whsec_{}", entropy::secret()),
            callback: entropy::secret(),
            api_token: entropy::secret(),
            status_link: entropy::secret(),
            spec_key: entropy::secret(),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets([redacted])")
    }
}
