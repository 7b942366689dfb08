//! Opens attempts for what is due and starts their runs; looks after attempts that are overdue.
//! It must not know Stripe, Hetzner or Tailscale, and it holds no truth of its own.

pub mod github;
pub mod handler;
pub mod settings;

mod cancels;
mod overdue;
mod start;
