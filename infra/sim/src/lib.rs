//! Fake Hetzner, Tailscale, GitHub and Stripe over HTTP: stateful, timed, and with faults.
//!
//! The fakes know the vendors' public APIs and nothing else: not our clients, not our names, not
//! our database. They share one small world, because a server made at Hetzner reads its user data,
//! boots and enrols in Tailscale by itself, after the delays it was given.
//!
//! Time is tokio's alone: the wall clock is [`SimConfig::epoch_unix_seconds`] plus what tokio says
//! has passed since the start. So the same world runs in real time behind sockets
//! ([`Sim::start`]) and in virtual time as in-process services ([`Sim::in_process`]).

mod bucket;
mod clock;
mod config;
mod draw;
mod fault;
mod github;
mod hetzner;
mod knob;
pub mod peers;
mod runs;
mod serve;
mod sim;
mod state;
pub mod stripe;
mod tailscale;
mod wire;
mod world;

pub use config::{
    Concurrency, DelayRange, GithubConfig, HetznerConfig, InputSpec, SimConfig, TailscaleConfig,
};
pub use fault::{Effect, Fault, FaultBody, Vendor};
pub use hetzner::catalog::{Catalog, Image, Location, ServerType, SoldAt, SshKey};
pub use knob::{Knob, Progress, RateLimit};
pub use runs::{Conclusion, Run, RunEvent};
pub use serve::Cut;
pub use sim::Sim;
pub use world::{
    CallRecord, DecoyDevice, DecoyServer, DeviceView, FirewallView, KeyView, RunView, ServerView,
    Waiting, World,
};
