//! What the agents API says about one agent, as far as devstack shows it.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

const READY: [&str; 2] = ["active", "awaiting_credentials"];
const FAILED: [&str; 3] = ["failed", "deleted", "delete_failed"];

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    /// Its state, in the words of the API.
    pub status: String,
    /// Why it is so, when something went wrong or waits.
    pub reason: Option<String>,
    /// What has to happen next.
    pub awaits: Option<String>,
    /// States and steps it passed, and the opening and claim of its newest attempt; oldest
    /// first.
    pub passed: Vec<PassedView>,
}

/// A state or step that an agent passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedView {
    /// Its name.
    pub what: String,
    /// A state of the agent, not a step of an attempt.
    pub is_state: bool,
    /// When, unix milliseconds.
    pub unix_ms: u64,
}

#[derive(Deserialize)]
struct Body {
    status: String,
    reason: Option<String>,
    awaits: Option<String>,
    steps: Vec<Step>,
    job: Option<Job>,
}

#[derive(Deserialize)]
struct Job {
    attempt: Option<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    number: u32,
    opened_at: String,
    claimed_at: Option<String>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(rename = "step")]
    what: String,
    kind: String,
    at: String,
}

impl AgentView {
    /// Reads the API's answer.
    pub fn read(body: Value) -> Result<Self> {
        let body: Body = serde_json::from_value(body).context("the agents API has changed")?;
        let steps = body.steps.iter();
        let steps = steps.map(|step| passed(&step.what, step.kind == "state", &step.at));
        let attempt = body.job.iter().filter_map(|job| job.attempt.as_ref());
        let attempt = attempt.flat_map(Attempt::passed);
        let passed: Result<Vec<_>> = steps.chain(attempt).collect();
        let mut passed = passed.context("the agents API gives odd times")?;
        passed.sort_by_key(|passed| passed.unix_ms);
        Ok(Self {
            status: body.status,
            reason: body.reason,
            awaits: body.awaits,
            passed,
        })
    }

    /// When it became ready, unix milliseconds: it works, or waits for nothing but its owner's
    /// credentials.
    pub fn ready_unix_ms(&self) -> Option<u64> {
        if !READY.contains(&self.status.as_str()) {
            return None;
        }
        let came = self
            .passed
            .iter()
            .rfind(|p| p.is_state && p.what == self.status);
        came.map(|passed| passed.unix_ms)
    }

    /// Whether somebody who waits for an agent in this state has news.
    pub fn is_end(status: &str) -> bool {
        READY.contains(&status) || FAILED.contains(&status)
    }

    /// It will not become ready by itself.
    pub fn has_failed(&self) -> bool {
        FAILED.contains(&self.status.as_str())
    }
}

impl Attempt {
    fn passed(&self) -> Vec<Result<PassedView>> {
        let opened = passed(
            &format!("attempt {} opened", self.number),
            false,
            &self.opened_at,
        );
        let claimed = self.claimed_at.as_deref();
        let claimed =
            claimed.map(|at| passed(&format!("attempt {} claimed", self.number), false, at));
        std::iter::once(opened).chain(claimed).collect()
    }
}

#[derive(Deserialize)]
struct List {
    agents: Vec<Row>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    agent_id: Uuid,
    status: String,
}

/// States of the agents of one page of a list, and what names the next page.
pub(crate) type StatesPage = (Vec<(Uuid, String)>, Option<String>);

/// Reads a page of the API's list.
pub(crate) fn read_list(body: Value) -> Result<StatesPage> {
    let list: List = serde_json::from_value(body).context("the agents API has changed")?;
    let rows = list.agents.into_iter();
    Ok((
        rows.map(|row| (row.agent_id, row.status)).collect(),
        list.next,
    ))
}

fn passed(what: &str, is_state: bool, at: &str) -> Result<PassedView> {
    let at = OffsetDateTime::parse(at, &Rfc3339)?;
    let unix_ms = u64::try_from(at.unix_timestamp_nanos() / 1_000_000)?;
    Ok(PassedView {
        what: what.to_owned(),
        is_state,
        unix_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(status: &str) -> Value {
        json!({
            "agent_id": "x", "status": status, "reason": null, "awaits": "dispatch",
            "job": { "attempt": {
                "number": 1, "opened_at": "2026-11-21T10:00:01Z", "claimed_at": null,
            } },
            "steps": [
                { "step": "provisioning", "kind": "state", "at": "2026-11-21T10:00:00.5Z" },
                { "step": "active", "kind": "step", "at": "2026-11-21T10:00:02Z" },
                { "step": "active", "kind": "state", "at": "2026-11-21T10:00:03.25Z" },
            ],
        })
    }

    #[test]
    fn an_answer_is_read() {
        let view = AgentView::read(body("active")).unwrap();
        assert_eq!(
            (view.awaits.as_deref(), view.passed.len()),
            (Some("dispatch"), 4)
        );
        assert_eq!(view.passed[0].unix_ms, 1_795_255_200_500);
        assert_eq!(view.passed[1].what, "attempt 1 opened");
        assert_eq!(view.ready_unix_ms(), Some(1_795_255_203_250));
        let early = AgentView::read(body("provisioning")).unwrap();
        assert_eq!((early.ready_unix_ms(), early.has_failed()), (None, false));
        assert!(AgentView::read(body("failed")).unwrap().has_failed());
        assert!(AgentView::read(json!({ "status": 1 })).is_err());
    }

    #[test]
    fn a_list_is_read() {
        let id = Uuid::from_u128(7);
        let row = json!({ "agent_id": id, "status": "active", "name": "x", "reason": null });
        let (rows, next) = read_list(json!({ "agents": [row], "next": "mark" })).unwrap();
        assert_eq!(rows, [(id, "active".to_owned())]);
        assert_eq!(next.as_deref(), Some("mark"));
        let (none, last) = read_list(json!({ "agents": [], "next": null })).unwrap();
        assert_eq!((none.len(), last), (0, None));
        assert!(AgentView::is_end("failed") && !AgentView::is_end("starting"));
    }
}
