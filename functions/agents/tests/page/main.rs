//! The pages, through the function's own router and a real database.

#![cfg(test)]

#[path = "../../../host/tests/support/queue.rs"]
mod queue;

mod guard;
#[expect(dead_code, reason = "the browser's tests use the rest of it")]
mod life;
mod money;
mod operator;
mod status;
mod welcome;
mod world;
