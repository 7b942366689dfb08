//! The fake tailnet: one OAuth client, its auth keys, and the devices.
//!
//! Knows the API v2 of 2026. Devices come from machines (see `hetzner::boot`) and from decoys.

pub(crate) mod devices;
mod keys;
mod oauth;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::bucket::Bucket;
use crate::knob::RateLimit;
use crate::state::State;
use crate::wire::{Answer, Call, Reply};

use devices::Device;
use keys::Key;
use oauth::Token;

/// Everything the tailnet holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tailscale {
    tokens: BTreeMap<String, Token>,
    keys: BTreeMap<String, Key>,
    pub(crate) devices: BTreeMap<u64, Device>,
    /// Ephemeral devices that were removed while their machine was off.
    quiet_ephemeral: BTreeMap<u64, Device>,
    made: u64,
    /// What a limit leaves, and the limit.
    limit: Option<(Bucket, RateLimit)>,
}

impl Tailscale {
    /// Counts what was made, for ids that differ.
    fn new_number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Sets or lifts the limit of calls.
    pub(crate) fn limit(&mut self, limit: Option<RateLimit>, now: Duration) {
        self.limit = limit.map(|limit| {
            let every = Duration::from_secs(1) / limit.per_second.max(1);
            let bucket = Bucket::new(limit.burst, limit.burst, every, now);
            (bucket, limit)
        });
    }

    /// Counts a call; the refusal when there are too many. A refused call takes nothing.
    fn take(&mut self, now: Duration) -> Result<(), Reply> {
        let Some((bucket, limit)) = &mut self.limit else {
            return Ok(());
        };
        if bucket.take(now) {
            return Ok(());
        }
        let refusal = refuse(429, "API rate limit exceeded");
        Err(match limit.retry_after {
            Some(seconds) => refusal.with_header("Retry-After", seconds.to_string()),
            None => refusal,
        })
    }

    /// Every token given out so far is refused from now on.
    pub(crate) fn expire_tokens(&mut self) {
        for token in self.tokens.values_mut() {
            token.expires = Duration::ZERO;
        }
    }
}

/// An error body.
fn refuse(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"message": message}))
}

/// Answers one call.
pub(crate) fn answer(state: &mut State, call: &Call) -> Reply {
    route(state, call).unwrap_or_else(|refusal| refusal)
}

fn route(state: &mut State, call: &Call) -> Answer {
    state.tailscale.take(state.now)?;
    let path = call.path();
    let method = call.method.as_str();
    if let ("POST", ["oauth", "token"]) = (method, path.as_slice()) {
        return oauth::token(state, call);
    }
    let token = oauth::admitted(state, call)?;
    match (method, path.as_slice()) {
        (_, ["tailnet", tailnet, ..]) if *tailnet != "-" => {
            Err(refuse(403, "user tailnet does not match"))
        }
        ("POST", ["tailnet", _, "keys"]) => keys::create(state, call, &token),
        ("GET", ["tailnet", _, "keys"]) => keys::list(state, call, &token),
        ("GET", ["tailnet", _, "keys", id]) => keys::get(state, &token, id),
        ("DELETE", ["tailnet", _, "keys", id]) => keys::delete(state, &token, id),
        ("GET", ["tailnet", _, "devices"]) => devices::list(state, call, &token),
        ("GET", ["device", id]) => devices::get(state, call, &token, id),
        ("DELETE", ["device", id]) => devices::delete(state, &token, id),
        ("POST", ["device", id, what]) => devices::change(state, call, &token, (id, what)),
        _ => Err(refuse(404, "not found")),
    }
}
