//! The operator's API, through the function's own router and a real database.

#![cfg(test)]

#[path = "../../../host/tests/support/queue.rs"]
mod queue;

mod commands;
mod create;
mod document;
mod guard;
mod lists;
mod schemathesis;
mod status;
mod world;
