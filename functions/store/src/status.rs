//! Reads how an agent is.

use crate::{
    Store, StoreError,
    row::{get, maybe_time, time, timestamp, word},
    statement,
};
use domain::{
    AgentId, AgentState, AttemptState, ErrorClass, Facts, Fence, JobId, JobKind, JobState, News,
    Payment, Timestamp, Wish,
};
use std::time::Duration;
use tokio_postgres::Row;
use uuid::Uuid;

/// How an agent is.
#[derive(Debug, Clone)]
pub struct AgentStatus {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name for people.
    pub name: String,
    /// Where the customer wants the machine.
    pub region: String,
    /// What the checkout named, when that was no agent id.
    pub reference: Option<String>,
    /// The agent that the checkout named although it belongs to another live subscription.
    pub conflict: Option<AgentId>,
    /// What Stripe says about the money.
    pub payment: Payment,
    /// What decides about it: the news that people are told.
    pub payment_news: Option<News>,
    /// What the owner wishes.
    pub wish: Wish,
    /// All that decides about it.
    pub facts: Facts,
    /// Its state.
    pub state: AgentState,
    /// Why it is so, when something went wrong.
    pub reason: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The job that matters most now.
    pub job: Option<JobStatus>,
    /// Its machine.
    pub instance: Option<InstanceStatus>,
    /// What was given up, when something was; the job that matters most may be its clean-up.
    pub failure: Option<Failure>,
    /// The states and steps it passed, oldest first.
    pub passed: Vec<Passed>,
    /// How long after the opening of an attempt each step usually takes effect; `claimed` and
    /// `done` are among them. Empty when no job is open, or none of its kind succeeded yet.
    pub expected: Vec<Expected>,
    /// Something's due time is past: nudge dispatch.
    pub any_due: bool,
}

/// Why the kind of job that `facts.gave_up` names was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the last failure means.
    pub class: Option<ErrorClass>,
    /// The last step that took effect.
    pub after: Option<String>,
}

/// What past attempts of a kind took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The step, `claimed` or `done`.
    pub step: String,
    /// The median of the last 20 that succeeded, from opening the attempt.
    pub after: Duration,
}

/// How a job is.
#[derive(Debug, Clone)]
pub struct JobStatus {
    /// The job.
    pub job_id: JobId,
    /// What it is for.
    pub kind: JobKind,
    /// Where it is.
    pub state: JobState,
    /// Why it waits or failed.
    pub reason: Option<String>,
    /// What its last failure means.
    pub error_class: Option<ErrorClass>,
    /// When somebody looks at it again; none when nothing is to be done.
    pub due: Option<Timestamp>,
    /// Its newest attempt.
    pub attempt: Option<AttemptStatus>,
}

/// How an attempt is.
#[derive(Debug, Clone)]
pub struct AttemptStatus {
    /// 1 to 4.
    pub number: i16,
    /// Its fence.
    pub fence: Fence,
    /// Where it is.
    pub state: AttemptState,
    /// The last step that took effect.
    pub step: Option<String>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When a runner claimed it.
    pub claimed_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it ended badly.
    pub error: Option<String>,
    /// At which step it ended badly.
    pub failed_step: Option<String>,
}

/// The machine of an agent.
#[derive(Debug, Clone)]
pub struct InstanceStatus {
    /// Hetzner's server id.
    pub server_id: String,
    /// Public address.
    pub server_ip: String,
    /// Address in the tailnet.
    pub tailscale_ip: String,
    /// Name of the server.
    pub server_name: Option<String>,
    /// When it became the agent's.
    pub created_at: Timestamp,
    /// Since when it is missing at Hetzner, by two whole lists; none when all is well.
    pub missing_since: Option<Timestamp>,
}

impl AgentStatus {
    /// Whether the operator's retry gives up a machine that was found missing and has it made anew.
    pub fn may_remake(&self) -> bool {
        let instance = self.instance.as_ref();
        instance.is_some_and(|instance| instance.missing_since.is_some())
            && domain::may_remake(self.facts)
    }
}

/// Something an agent passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// True for a step of an attempt, false for a state of the agent.
    pub is_step: bool,
    /// The step or state.
    pub what: String,
    /// Fence of the attempt, for steps.
    pub fence: Option<Fence>,
    /// When.
    pub at: Timestamp,
}

const FROM: &statement::Statement = &statement::AGENT_STATUS;

impl Store {
    /// How an agent is; none when there is no such agent.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agent_status(
        &self,
        agent_id: AgentId,
        now: Timestamp,
    ) -> Result<Option<AgentStatus>, StoreError> {
        let row = self.query_opt(FROM, &[&agent_id.0, &time(now)]).await?;
        row.map(|row| status(&row)).transpose()
    }

    /// Everything in the data that must never be, one line each; empty when all is well.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn contradictions(&self) -> Result<Vec<String>, StoreError> {
        let from = &statement::CONTRADICTIONS;
        let rows = self.query(from, &[]).await?;
        rows.iter()
            .map(|row| get(from, row, "contradiction"))
            .collect()
    }
}

fn status(row: &Row) -> Result<AgentStatus, StoreError> {
    Ok(AgentStatus {
        agent_id: AgentId(get(FROM, row, "agent_id")?),
        name: get(FROM, row, "name")?,
        region: get(FROM, row, "region")?,
        reference: get(FROM, row, "reference")?,
        conflict: get::<Option<_>>(FROM, row, "conflict_agent_id")?.map(AgentId),
        payment: word(FROM, get(FROM, row, "payment")?)?,
        payment_news: get::<Option<&str>>(FROM, row, "payment_news")?
            .map(|news| word(FROM, news))
            .transpose()?,
        wish: word(FROM, get(FROM, row, "wish")?)?,
        facts: facts(row)?,
        state: word(FROM, get(FROM, row, "state")?)?,
        reason: get(FROM, row, "reason")?,
        created_at: timestamp(get(FROM, row, "created_at")?),
        updated_at: timestamp(get(FROM, row, "updated_at")?),
        job: job(row)?,
        instance: instance(row)?,
        failure: failure(row)?,
        passed: passed(row)?,
        expected: expected(row)?,
        any_due: get(FROM, row, "any_due")?,
    })
}

fn facts(row: &Row) -> Result<Facts, StoreError> {
    let kind = |column| -> Result<Option<JobKind>, StoreError> {
        let text: &str = get(FROM, row, column)?;
        (text != "none").then(|| word(FROM, text)).transpose()
    };
    Ok(Facts {
        payment: word(FROM, get(FROM, row, "payment")?)?,
        wish: word(FROM, get(FROM, row, "wish")?)?,
        existing: word(FROM, get(FROM, row, "existing")?)?,
        gave_up: kind("gave_up")?,
        live: kind("live")?,
        config_pending: get(FROM, row, "config_pending")?,
    })
}

fn failure(row: &Row) -> Result<Option<Failure>, StoreError> {
    let given_up = get::<&str>(FROM, row, "gave_up")? != "none";
    let class: Option<&str> = get(FROM, row, "failed_class")?;
    let failure = Failure {
        class: class.map(|class| word(FROM, class)).transpose()?,
        after: get(FROM, row, "failed_after")?,
    };
    Ok(given_up.then_some(failure))
}

fn expected(row: &Row) -> Result<Vec<Expected>, StoreError> {
    let value: Option<serde_json::Value> = get(FROM, row, "expected")?;
    let steps = value.as_ref().and_then(serde_json::Value::as_object);
    let mut expected: Vec<Expected> = steps
        .into_iter()
        .flatten()
        .filter_map(|(step, micros)| {
            Some(Expected {
                step: step.clone(),
                after: Duration::from_micros(micros.as_u64()?),
            })
        })
        .collect();
    expected.sort_by_key(|one| one.after);
    Ok(expected)
}

fn job(row: &Row) -> Result<Option<JobStatus>, StoreError> {
    let Some(job_id) = get::<Option<Uuid>>(FROM, row, "job_id")? else {
        return Ok(None);
    };
    let state: JobState = word(FROM, get(FROM, row, "job_state")?)?;
    let class: Option<&str> = get(FROM, row, "error_class")?;
    // A job that waits behind another has no due time of its own ('infinity').
    let due = maybe_time(FROM, row, "due_at")?
        .filter(|due| state.is_open() && due.unix_seconds() < 253_402_300_800);
    Ok(Some(JobStatus {
        job_id: JobId(job_id),
        kind: word(FROM, get(FROM, row, "kind")?)?,
        state,
        reason: get(FROM, row, "job_reason")?,
        error_class: class.map(|class| word(FROM, class)).transpose()?,
        due,
        attempt: attempt(row)?,
    }))
}

fn attempt(row: &Row) -> Result<Option<AttemptStatus>, StoreError> {
    let Some(fence) = get::<Option<i64>>(FROM, row, "fence")? else {
        return Ok(None);
    };
    Ok(Some(AttemptStatus {
        number: get(FROM, row, "number")?,
        fence: Fence(fence),
        state: word(FROM, get(FROM, row, "attempt_state")?)?,
        step: get(FROM, row, "step")?,
        opened_at: timestamp(get(FROM, row, "opened_at")?),
        claimed_at: maybe_time(FROM, row, "claimed_at")?,
        finished_at: maybe_time(FROM, row, "finished_at")?,
        error: get(FROM, row, "error")?,
        failed_step: get(FROM, row, "failed_step")?,
    }))
}

fn instance(row: &Row) -> Result<Option<InstanceStatus>, StoreError> {
    let Some(server_id) = get::<Option<String>>(FROM, row, "server_id")? else {
        return Ok(None);
    };
    Ok(Some(InstanceStatus {
        server_id,
        server_ip: get(FROM, row, "server_ip")?,
        tailscale_ip: get(FROM, row, "tailscale_ip")?,
        server_name: get(FROM, row, "server_name")?,
        created_at: timestamp(get(FROM, row, "instance_created_at")?),
        missing_since: maybe_time(FROM, row, "missing_since")?,
    }))
}

fn passed(row: &Row) -> Result<Vec<Passed>, StoreError> {
    let wrong = || StoreError::Row {
        statement: FROM.name,
        why: "the timeline is not a list of entries".to_owned(),
    };
    let value: serde_json::Value = get(FROM, row, "passed")?;
    let entries = value.as_array().ok_or_else(wrong)?;
    entries
        .iter()
        .map(|entry| {
            let text = |key: &str| entry.get(key).and_then(serde_json::Value::as_str);
            let number = |key: &str| entry.get(key).and_then(serde_json::Value::as_i64);
            Ok(Passed {
                is_step: text("machine").ok_or_else(wrong)? == "step",
                what: text("new").ok_or_else(wrong)?.to_owned(),
                fence: number("fence").map(Fence),
                at: Timestamp::from_micros(number("at").ok_or_else(wrong)?),
            })
        })
        .collect()
}
