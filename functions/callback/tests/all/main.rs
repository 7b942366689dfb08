//! Tests of the callback through its own router.

#![cfg(test)]

#[path = "../../../host/tests/support/queue.rs"]
mod queue;

mod inventory;
mod reports;
mod world;
