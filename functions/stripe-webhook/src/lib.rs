//! Takes Stripe's events and records what they say.
//! It must not know GitHub, Hetzner or Tailscale, and it calls nobody but database and queue.

pub mod event;
pub mod handler;
pub mod settings;
pub mod signature;
