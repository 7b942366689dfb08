//! The store against a real PostgreSQL.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the cases it is about and treats all others alike"
)]

mod acts;
mod commands;
mod doom;
mod facts;
mod guards;
mod histories;
mod inventory;
mod lists;
mod lost;
mod missing;
mod pairs;
mod payments;
mod prepare;
mod states;
mod walk;
mod way;
mod world;
