//! The fake Hetzner Cloud project: what it holds, its door, and its envelopes.
//!
//! Knows the Cloud API v1 as documented in late 2026 (no `datacenter`, per-location availability
//! of server types). The rules of each resource are in the files beside this one.

pub(crate) mod actions;
pub(crate) mod boot;
pub(crate) mod catalog;
mod labels;
pub(crate) mod limits;
mod pages;
mod project;
pub(crate) mod servers;
mod validate;
mod views;

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::config::HetznerConfig;
use crate::fault::{Vendor, envelope};
use crate::state::State;
use crate::wire::{Answer, Call, Content, Reply, id_of};

use actions::Action;
use project::{Firewall, PrimaryIp};
use servers::{Delays, Server};

/// Everything the project holds.
#[derive(Debug, Clone)]
pub(crate) struct Hetzner {
    pub(crate) servers: BTreeMap<u64, Server>,
    pub(crate) gone: Vec<Server>,
    pub(crate) actions: BTreeMap<u64, Action>,
    pub(crate) firewalls: BTreeMap<u64, Firewall>,
    pub(crate) primary_ips: BTreeMap<u64, PrimaryIp>,
    pub(crate) bucket: Bucket,
    /// Answers given so far, for correlation ids.
    pub(crate) answers: u64,
    delays: BTreeMap<String, Delays>,
    next_id: u64,
}

impl Hetzner {
    pub(crate) fn new(config: &HetznerConfig) -> Self {
        Self {
            servers: BTreeMap::new(),
            gone: Vec::new(),
            actions: BTreeMap::new(),
            firewalls: BTreeMap::new(),
            primary_ips: BTreeMap::new(),
            bucket: Bucket::new(
                config.rate_limit,
                config.rate_remaining,
                limits::REFILL,
                Duration::ZERO,
            ),
            answers: 0,
            delays: BTreeMap::new(),
            next_id: config.first_id,
        }
    }

    /// The next id; all resources count together.
    pub(crate) fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The sum of the delays that the newest server of this name was given.
    pub(crate) fn delays_of(&self, name: &str) -> Option<Duration> {
        self.delays.get(name).map(Delays::sum)
    }
}

/// An error envelope with `details: null`.
pub(crate) fn refuse(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, envelope(Vendor::Hetzner, status, code, message))
}

/// An error envelope with details.
pub(crate) fn refuse_with(status: u16, code: &str, message: &str, details: &Value) -> Reply {
    let error = json!({"code": code, "message": message, "details": details});
    Reply::json(status, json!({"error": error}))
}

/// 422 `invalid_input` that names one field.
pub(crate) fn invalid(field: &str, message: &str) -> Reply {
    let text = format!("invalid input in field '{field}': {message}");
    let details = json!({"fields": [{"name": field, "messages": [message]}]});
    refuse_with(422, "invalid_input", &text, &details)
}

/// 404 `not_found`.
pub(crate) fn not_found(what: &str, id: &str) -> Reply {
    refuse(
        404,
        "not_found",
        &format!("{what} with ID '{id}' not found"),
    )
}

/// Answers one call.
pub(crate) fn answer(state: &mut State, call: &Call) -> Reply {
    let reply = admit(state, call).and_then(|()| route(state, call));
    let mut reply = reply.unwrap_or_else(|refusal| refusal);
    if let (true, Content::Json(body)) = (state.knobs.odd_shapes, &mut reply.body) {
        views::make_odd(body);
    }
    limits::stamp(state, call, reply)
}

/// Rate, then token: a refused call counts too.
fn admit(state: &mut State, call: &Call) -> Result<(), Reply> {
    limits::take(state, call)?;
    let token = call.bearer().unwrap_or_default();
    if token == state.config.hetzner.token {
        return Ok(());
    }
    if state.config.hetzner.read_only_token.as_deref() == Some(token) {
        if call.method == Method::GET {
            return Ok(());
        }
        let message = "the token used to perform the request is read-only";
        return Err(refuse(401, "token_readonly", message));
    }
    let message = "unable to authenticate";
    Err(refuse(401, "unauthorized", message))
}

/// Finds the rule for a call.
fn route(state: &mut State, call: &Call) -> Answer {
    let path = call.path();
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["servers"]) => servers::list(state, call),
        ("POST", ["servers"]) => servers::create(state, call),
        ("GET", ["servers", "actions"]) => actions::list_all(state, call),
        (method, ["servers", id, rest @ ..]) => {
            let server = id_of(id).filter(|id| state.hetzner.servers.contains_key(id));
            let server = server.ok_or_else(|| not_found("server", id))?;
            route_server(state, call, (method, server, rest))
        }
        ("GET", ["actions"]) => actions::list_by_id(state, call),
        ("GET", ["actions", id]) => actions::get(state, id),
        ("GET", ["datacenters", ..]) => Err(refuse_with(
            410,
            "deprecated_api_endpoint",
            "this endpoint was removed",
            &json!({"announcement":
                "https://docs.hetzner.cloud/changelog#2026-07-01-removing-datacenters"}),
        )),
        _ => project::route(state, call),
    }
}

/// The rules about one server that exists.
fn route_server(
    state: &mut State,
    call: &Call,
    (method, server, rest): (&str, u64, &[&str]),
) -> Answer {
    match (method, rest) {
        ("GET", []) => Ok(servers::get(state, server)),
        ("PUT", []) => servers::update(state, call, server),
        ("DELETE", []) => servers::delete(state, server),
        ("GET", ["actions"]) => actions::list_of_server(state, call, server),
        ("GET", ["actions", id]) => actions::get(state, id),
        ("POST", ["actions", command]) => actions::order(state, call, server, command),
        _ => Err(no_such_endpoint(call)),
    }
}

/// 405 for a known path with another method, 404 for the rest; both without telling which.
pub(crate) fn no_such_endpoint(call: &Call) -> Reply {
    if call.method == Method::GET {
        refuse(404, "not_found", "API endpoint not found")
    } else {
        refuse(405, "method_not_allowed", "method not allowed")
    }
}
