//! Says how an agent is, takes commands, and shows the pages.
//! It must not know Stripe, GitHub, Hetzner or Tailscale.

mod api;
mod cursor;
pub mod handler;
pub mod link;
mod page;
pub mod settings;
pub mod view;
