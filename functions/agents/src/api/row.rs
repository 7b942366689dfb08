//! What lists show: an agent in a line, and one entry of a timeline.
//! It must not know HTTP or where they come from.

use crate::view::rfc3339;
use domain::{AgentId, AgentState, Fence, JobId, JobKind, JobState, Payment, Wish};
use serde::Serialize;
use store::{AgentRow, TimelineEntry};

/// An agent in a list.
#[derive(Debug, Serialize)]
pub(super) struct RowView {
    agent_id: AgentId,
    name: String,
    status: AgentState,
    reason: Option<String>,
    payment: Payment,
    wish: Wish,
    region: String,
    reference: Option<String>,
    job: Option<RowJob>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize)]
struct RowJob {
    kind: JobKind,
    state: JobState,
    /// When somebody looks at it again.
    due: Option<String>,
}

/// An entry of a timeline.
#[derive(Debug, Serialize)]
pub(super) struct EventView {
    id: i64,
    at: String,
    /// What changed: the state of a machine, or a fact.
    machine: String,
    old: String,
    new: String,
    detail: Option<String>,
    job_id: Option<JobId>,
    fence: Option<Fence>,
    /// Who or what brought it about.
    cause: Option<String>,
}

impl RowView {
    pub(super) fn of(row: &AgentRow) -> Self {
        Self {
            agent_id: row.agent_id,
            name: row.name.clone(),
            status: row.state,
            reason: row.reason.clone(),
            payment: row.payment,
            wish: row.wish,
            region: row.region.clone(),
            reference: row.reference.clone(),
            job: row.job.map(|(kind, state)| RowJob {
                kind,
                state,
                due: row.due.map(rfc3339),
            }),
            created_at: rfc3339(row.created_at),
            updated_at: rfc3339(row.updated_at),
        }
    }
}

impl EventView {
    pub(super) fn of(entry: &TimelineEntry) -> Self {
        Self {
            id: entry.id,
            at: rfc3339(entry.at),
            machine: entry.machine.clone(),
            old: entry.old.clone(),
            new: entry.new.clone(),
            detail: entry.detail.clone(),
            job_id: entry.job_id,
            fence: entry.fence,
            cause: entry.cause.clone(),
        }
    }
}
