//! The store against a real PostgreSQL.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the cases it is about and treats all others alike"
)]

mod facts;
mod guards;
mod lost;
mod pairs;
mod payments;
mod prepare;
mod way;
mod world;
