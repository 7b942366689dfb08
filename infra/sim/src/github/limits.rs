//! GitHub's primary rate limit: a window of an hour, and the headers on every answer.
//!
//! The secondary limit has no rule to follow here: it is laid as a fault.

use std::time::Duration;

use serde_json::{Value, json};

use crate::github::refuse;
use crate::state::State;
use crate::wire::Reply;

const HOUR: Duration = Duration::from_hours(1);

/// The window.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    size: u32,
    left: u32,
    ends: Duration,
}

impl Window {
    pub(crate) fn new(size: u32) -> Self {
        Self {
            size,
            left: size,
            ends: HOUR,
        }
    }

    /// Sets what is left of the window that runs now.
    pub(crate) fn set(&mut self, left: u32, now: Duration) {
        self.roll(now);
        self.left = left;
    }

    fn roll(&mut self, now: Duration) {
        if now >= self.ends {
            self.left = self.size;
            self.ends = now + HOUR;
        }
    }

    /// The answer of `GET /rate_limit`.
    pub(crate) fn json(&self, state: &State) -> Value {
        let core = json!({
            "limit": self.size, "remaining": self.left, "used": self.size.saturating_sub(self.left),
            "reset": state.unix_at(self.ends), "resource": "core",
        });
        json!({"resources": {"core": core}, "rate": core})
    }
}

/// Counts the call; the refusal when the window is used up.
pub(crate) fn take(state: &mut State) -> Result<(), Reply> {
    let now = state.now;
    let window = &mut state.github.window;
    window.roll(now);
    if crate::knob::take_one(&mut window.left) {
        return Ok(());
    }
    let page = "/overview/rate-limits-for-the-rest-api";
    Err(refuse(403, "API rate limit exceeded for user ID 1.", page))
}

/// Puts the headers on that every answer carries.
pub(crate) fn stamp(state: &State, reply: Reply) -> Reply {
    let window = &state.github.window;
    let reset = state.unix_at(window.ends);
    reply
        .with_header("x-ratelimit-limit", window.size.to_string())
        .with_header("x-ratelimit-remaining", window.left.to_string())
        .with_header(
            "x-ratelimit-used",
            (window.size.saturating_sub(window.left)).to_string(),
        )
        .with_header("x-ratelimit-reset", reset.to_string())
        .with_header("x-ratelimit-resource", "core")
        .with_header("x-github-request-id", "51AB:0001:SIM")
}
