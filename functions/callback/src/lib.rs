//! Takes the runner's signed reports and answers whether to go on.
//! It must not know Stripe, GitHub, Hetzner or Tailscale.

pub mod handler;
pub mod record;
pub mod settings;
