//! Builds one agent's machine and reports every step: the plan, its undo, and the clients for
//! Hetzner and Tailscale. It holds no database, AWS, Stripe or GitHub credential, and must not
//! know how a subscription stands: the callback tells it whether to go on.

mod actions;
mod choice;
mod clock;
mod cloud_init;
mod death;
mod doctor;
mod hetzner;
mod last_words;
mod lease;
mod made;
mod operate;
mod plan;
mod region;
mod report;
mod run;
mod schedule;
mod settings;
mod steps;
mod stop_at_once;
mod tailscale;

pub use actions::Actions;
pub use clock::Clock;
pub use death::report_failure;
pub use doctor::doctor;
pub use operate::{End, World, operate};
pub use settings::{
    ActionsSettings, CloudSettings, HetznerSettings, Mistakes, TailscaleSettings, WireSettings,
    secrets,
};
