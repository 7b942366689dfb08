//! The fake GitHub: one repository with one workflow, its runs, and a GitHub App on it.
//!
//! Knows the REST API in the versions 2022-11-28 and 2026-03-10. It runs nothing: whoever holds
//! the channel of run events plays the hosted machine.

mod dispatch;
pub(crate) mod limits;
pub(crate) mod runs;
mod tokens;
mod views;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::config::GithubConfig;
use crate::state::State;
use crate::wire::{Answer, Call, Reply};

use limits::Window;
use runs::RunRecord;
use tokens::Grant;

/// Everything there is.
#[derive(Debug, Clone)]
pub(crate) struct Github {
    pub(crate) runs: BTreeMap<u64, RunRecord>,
    tokens: BTreeMap<String, Grant>,
    pub(crate) window: Window,
    next_run: u64,
    made: u64,
}

impl Github {
    pub(crate) fn new(config: &GithubConfig) -> Self {
        Self {
            runs: BTreeMap::new(),
            tokens: BTreeMap::new(),
            window: Window::new(config.rate_limit),
            next_run: 16_000_000_001,
            made: 0,
        }
    }

    /// Installation tokens given out so far are refused from now on.
    pub(crate) fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Sets the calls left in this hour.
    pub(crate) fn set_remaining(&mut self, left: u32, now: Duration) {
        self.window.set(left, now);
    }

    /// The delay a run was given before its start.
    pub(crate) fn delay_of(&self, run: u64) -> Option<Duration> {
        self.runs.get(&run).map(|run| run.start_delay)
    }
}

/// The API versions in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V2022,
    V2026,
}

/// An error body.
pub(crate) fn refuse(status: u16, message: &str, page: &str) -> Reply {
    Reply::json(
        status,
        json!({
            "message": message, "status": status.to_string(),
            "documentation_url": format!("https://docs.github.com/rest{page}"),
        }),
    )
}

/// What a missing resource and a missing permission both look like.
pub(crate) fn not_found() -> Reply {
    refuse(404, "Not Found", "")
}

/// Answers one call.
pub(crate) fn answer(state: &mut State, call: &Call) -> Reply {
    let reply = limits::take(state).and_then(|()| route(state, call));
    let reply = reply.unwrap_or_else(|refusal| refusal);
    limits::stamp(state, reply)
}

fn route(state: &mut State, call: &Call) -> Answer {
    if call.header("user-agent").is_none_or(str::is_empty) {
        let message = "Request forbidden by administrative rules. Please make sure your request \
                       has a User-Agent header";
        return Err(refuse(
            403,
            message,
            "/overview/resources-in-the-rest-api#user-agent-required",
        ));
    }
    let version = version(call)?;
    let path = call.path();
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["repos", owner, name, "installation"]) => {
            tokens::installation(state, call, &format!("{owner}/{name}"))
        }
        ("POST", ["app", "installations", id, "access_tokens"]) => {
            tokens::access_token(state, call, id)
        }
        ("GET", ["rate_limit"]) => Ok(Reply::json(200, state.github.window.json(state))),
        (method, ["repos", owner, name, rest @ ..]) => {
            let writes = method != "GET";
            tokens::admit(state, call, (&format!("{owner}/{name}"), writes))?;
            in_repository(state, call, (version, rest))
        }
        _ => {
            tokens::admit_anywhere(state, call)?;
            Err(not_found())
        }
    }
}

fn version(call: &Call) -> Result<Version, Reply> {
    match call.header("x-github-api-version") {
        None | Some("2022-11-28") => Ok(Version::V2022),
        Some("2026-03-10") => Ok(Version::V2026),
        Some(other) => {
            let message = format!("API version '{other}' is not supported");
            Err(refuse(400, &message, "/about-the-rest-api/api-versions"))
        }
    }
}

/// The rules about the repository, its caller admitted.
fn in_repository(state: &mut State, call: &Call, (version, rest): (Version, &[&str])) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::json(200, views::repository(state, call))),
        ("GET", ["actions", "workflows"]) => {
            let list = vec![views::workflow(state, call)];
            Ok(Reply::json(
                200,
                json!({"total_count": 1, "workflows": list}),
            ))
        }
        ("GET", ["actions", "workflows", file]) => {
            dispatch::known_workflow(state, file)?;
            Ok(Reply::json(200, views::workflow(state, call)))
        }
        ("POST", ["actions", "workflows", file, "dispatches"]) => {
            dispatch::known_workflow(state, file)?;
            dispatch::dispatch(state, call, version)
        }
        ("GET", ["actions", "workflows", file, "runs"]) => {
            dispatch::known_workflow(state, file)?;
            views::list(state, call)
        }
        ("GET", ["actions", "runs"]) => views::list(state, call),
        (_, ["actions", "runs", id, ..]) => {
            let id = id.parse().ok();
            let id = id.filter(|id| state.github.runs.contains_key(id));
            let id = id.ok_or_else(not_found)?;
            about_run(state, call, (id, rest))
        }
        _ => Err(not_found()),
    }
}

/// The rules about one run that exists.
fn about_run(state: &mut State, call: &Call, (run, path): (u64, &[&str])) -> Answer {
    let rest = path.get(3..).unwrap_or_default();
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::json(200, views::run(state, call, run))),
        ("GET", ["jobs"]) => Ok(Reply::json(200, views::jobs(state, call, run))),
        ("POST", ["cancel"]) => runs::cancel(state, run, false),
        ("POST", ["force-cancel"]) => runs::cancel(state, run, true),
        ("POST", ["rerun" | "rerun-failed-jobs"]) => {
            if runs::rerun(state, run) {
                return Ok(Reply::json(201, json!({})));
            }
            let message = "This workflow is already running";
            Err(refuse(
                403,
                message,
                "/actions/workflow-runs#re-run-a-workflow",
            ))
        }
        _ => Err(not_found()),
    }
}
