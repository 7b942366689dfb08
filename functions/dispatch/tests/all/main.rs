//! Dispatch with a real database, and queue and GitHub on the other side of sockets.

#![cfg(test)]

#[path = "../../../host/tests/support/queue.rs"]
mod queue;

mod cancels;
mod doomed;
mod github;
mod lost;
mod overdue;
mod search;
mod starting;
mod world;
