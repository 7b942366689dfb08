//! Says how an agent is.
//! It must not know Stripe, GitHub, Hetzner or Tailscale.

pub mod handler;
pub mod settings;
pub mod view;
