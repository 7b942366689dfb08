//! How an agent is, as JSON for people and programs: what it is doing, since when, why, and
//! what is awaited. It must not know HTTP or where a status comes from.

use domain::{
    AgentId, AgentState, AttemptState, Command, ErrorClass, Fence, JobId, JobKind, JobState, News,
    Payment, Permission, Timestamp, Wish, permit,
};
use serde::Serialize;
use store::{AgentStatus, AttemptStatus, InstanceStatus, JobStatus};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentView {
    agent_id: AgentId,
    name: String,
    status: AgentState,
    /// Why it is so, when something went wrong or waits.
    reason: Option<String>,
    /// What has to happen next, in words.
    awaits: Option<String>,
    payment: Payment,
    wish: Wish,
    region: String,
    reference: Option<String>,
    /// The agent that the checkout named although it belongs to another live subscription.
    conflict: Option<AgentId>,
    job: Option<JobView>,
    instance: Option<InstanceView>,
    steps: Vec<StepView>,
    /// What the operator can command now.
    allowed: Vec<Command>,
    created_at: String,
    updated_at: String,
    /// When it first became active.
    active_at: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct JobView {
    job_id: JobId,
    kind: JobKind,
    state: JobState,
    reason: Option<String>,
    error_class: Option<ErrorClass>,
    /// When somebody looks at it again.
    due: Option<String>,
    attempt: Option<AttemptView>,
}

#[derive(Debug, Clone, Serialize)]
struct AttemptView {
    number: i16,
    fence: Fence,
    state: AttemptState,
    step: Option<String>,
    opened_at: String,
    claimed_at: Option<String>,
    finished_at: Option<String>,
    error: Option<String>,
    failed_step: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct InstanceView {
    server_id: String,
    server_ip: String,
    tailscale_ip: String,
    server_name: Option<String>,
    created_at: String,
    /// Since when it was not found at Hetzner.
    missing_since: Option<String>,
}

/// A state the agent came into, or a step an attempt took.
#[derive(Debug, Clone, Serialize)]
struct StepView {
    step: String,
    /// `state` or `step`.
    kind: &'static str,
    fence: Option<Fence>,
    at: String,
}

impl AgentView {
    /// The view of a status at `now`.
    pub fn of(status: &AgentStatus, now: Timestamp) -> Self {
        let job = status.job.as_ref().filter(|job| job.state.is_open());
        let active = AgentState::Active.as_str();
        let steps = status.passed.iter();
        Self {
            agent_id: status.agent_id,
            name: status.name.clone(),
            status: status.state,
            reason: status
                .reason
                .clone()
                .or_else(|| job.and_then(|job| job.reason.clone())),
            awaits: awaits(status, job, now),
            payment: status.payment,
            wish: status.wish,
            region: status.region.clone(),
            reference: status.reference.clone(),
            conflict: status.conflict,
            job: status.job.as_ref().map(JobView::of),
            instance: status.instance.as_ref().map(InstanceView::of),
            active_at: steps
                .clone()
                .find(|passed| !passed.is_step && passed.what == active)
                .map(|passed| rfc3339(passed.at)),
            steps: steps
                .map(|passed| StepView {
                    step: passed.what.clone(),
                    kind: if passed.is_step { "step" } else { "state" },
                    fence: passed.fence,
                    at: rfc3339(passed.at),
                })
                .collect(),
            allowed: allowed(status),
            created_at: rfc3339(status.created_at),
            updated_at: rfc3339(status.updated_at),
        }
    }
}

impl JobView {
    fn of(job: &JobStatus) -> Self {
        Self {
            job_id: job.job_id,
            kind: job.kind,
            state: job.state,
            reason: job.reason.clone(),
            error_class: job.error_class,
            due: job.due.map(rfc3339),
            attempt: job.attempt.as_ref().map(AttemptView::of),
        }
    }
}

impl AttemptView {
    fn of(attempt: &AttemptStatus) -> Self {
        Self {
            number: attempt.number,
            fence: attempt.fence,
            state: attempt.state,
            step: attempt.step.clone(),
            opened_at: rfc3339(attempt.opened_at),
            claimed_at: attempt.claimed_at.map(rfc3339),
            finished_at: attempt.finished_at.map(rfc3339),
            error: attempt.error.clone(),
            failed_step: attempt.failed_step.clone(),
        }
    }
}

impl InstanceView {
    fn of(instance: &InstanceStatus) -> Self {
        Self {
            server_id: instance.server_id.clone(),
            server_ip: instance.server_ip.clone(),
            tailscale_ip: instance.tailscale_ip.clone(),
            server_name: instance.server_name.clone(),
            created_at: rfc3339(instance.created_at),
            missing_since: instance.missing_since.map(rfc3339),
        }
    }
}

fn allowed(status: &AgentStatus) -> Vec<Command> {
    Command::ALL
        .iter()
        .copied()
        .filter(|command| {
            permit(status.facts, *command) == Permission::Allowed
                || *command == Command::Retry && status.may_remake()
        })
        .collect()
}

/// What has to happen before anything changes, in words; none when nothing is to be done.
fn awaits(status: &AgentStatus, job: Option<&JobStatus>, now: Timestamp) -> Option<String> {
    let Some(job) = job else {
        return of_state(status).map(str::to_owned);
    };
    let live = job
        .attempt
        .as_ref()
        .filter(|attempt| attempt.state.is_live());
    let Some(attempt) = live else {
        return Some(match job.due {
            Some(due) if due > now => format!("the next try at {}", rfc3339(due)),
            Some(_) => "dispatch".to_owned(),
            None => "the end of the job before it".to_owned(),
        });
    };
    Some(match (attempt.state, &attempt.step) {
        (AttemptState::Intended, _) => "GitHub's answer".to_owned(),
        (AttemptState::Accepted, _) => "a runner to take the run".to_owned(),
        (_, Some(step)) => format!("the step after {step}"),
        (_, None) => "the runner's first step".to_owned(),
    })
}

/// What an agent without an open job waits for.
fn of_state(status: &AgentStatus) -> Option<&'static str> {
    match status.state {
        AgentState::Suspended if status.payment_news == Some(News::Disputed) => {
            Some("the end of the dispute")
        }
        AgentState::Draft | AgentState::Suspended => Some("payment"),
        AgentState::AwaitingCredentials => Some("the owner's credentials"),
        AgentState::Paused => Some("the owner's start"),
        AgentState::Failed | AgentState::DeleteFailed => Some("the operator's retry"),
        AgentState::Provisioning
        | AgentState::Active
        | AgentState::Stopping
        | AgentState::Starting
        | AgentState::Deleting
        | AgentState::Deleted => None,
    }
}

/// UTC with microseconds, as far as there are any.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.micros()).saturating_mul(1000))
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}
