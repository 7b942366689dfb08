//! Finds, unpacks and starts a private PostgreSQL for development and tests.
//!
//! A cluster started here is thrown away: nothing is synced to disk, it listens on 127.0.0.1
//! under a random password, and it ends with the process that started it, however that process
//! ends. This crate knows no schema and nothing of Slipway.

mod bundle;
mod cluster;
mod external;
mod find;
mod identity;
mod postgres;
mod settings;
mod shared;
mod template;

pub use postgres::LocalPg;
pub use settings::Options;
pub use shared::shared;
