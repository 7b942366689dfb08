//! Hetzner's rate bucket, and the headers that are on every answer.
//!
//! 3600 calls, one comes back each second; `RateLimit-Reset` is when the bucket is full again, not
//! when the next call may be sent; the refusal quotes the beginning of the token.

use std::time::Duration;

use crate::state::State;
use crate::wire::{Call, Reply};
use crate::{draw, hetzner};

/// After so long a call comes back.
pub(crate) const REFILL: Duration = Duration::from_secs(1);

/// Counts the call; the refusal when the bucket is empty.
pub(crate) fn take(state: &mut State, call: &Call) -> Result<(), Reply> {
    if state.hetzner.bucket.take(state.now) {
        return Ok(());
    }
    let start: String = call.bearer().unwrap_or_default().chars().take(12).collect();
    let limit = state.hetzner.bucket.size;
    let message = format!("Limit of '{limit}' requests per hour for token '{start}…' reached");
    Err(hetzner::refuse(429, "rate_limit_exceeded", &message))
}

/// Puts the headers on that every answer carries.
pub(crate) fn stamp(state: &mut State, call: &Call, reply: Reply) -> Reply {
    state.hetzner.answers += 1;
    let bucket = &state.hetzner.bucket;
    let missing = i64::from(bucket.size.saturating_sub(bucket.left));
    let reset = state.unix_now().saturating_add(missing);
    let number = state.hetzner.answers.to_string();
    let parts = ["correlation", call.target.as_str(), number.as_str()];
    reply
        .with_header("RateLimit-Limit", bucket.size.to_string())
        .with_header("RateLimit-Remaining", bucket.left.to_string())
        .with_header("RateLimit-Reset", reset.to_string())
        .with_header(
            "X-Correlation-Id",
            draw::text(state.config.seed, &parts, 16),
        )
}
