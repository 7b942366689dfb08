//! Takes commands about an agent: records each, tells dispatch, and shows the agent after it.
//! It must not know what a command changes, or when it is allowed.

use super::{
    body::read_nothing,
    failed,
    operator::{Key, Named, Operator, key_reused},
    show::no_such_agent,
};
use crate::{handler::Deps, view::AgentView};
use axum::{Json, body::Body, http::StatusCode};
use domain::{AgentId, Command, JobId, JobKind, Permission, Timestamp};
use host::{ApiError, Nudge};
use std::time::Duration;
use store::{CommandOutcome, CommandRecord, OPERATOR};

type Answer = Result<(StatusCode, Json<AgentView>), ApiError>;

/// `POST /agents/{id}/provision`: try again what was given up; else make a missing machine anew.
pub(super) async fn retry(operator: Operator, id: Named, key: Key, body: Body) -> Answer {
    run(operator, id, key, body, Command::Retry).await
}

/// `POST /agents/{id}/stop`.
pub(super) async fn stop(operator: Operator, id: Named, key: Key, body: Body) -> Answer {
    run(operator, id, key, body, Command::Stop).await
}

/// `POST /agents/{id}/start`.
pub(super) async fn start(operator: Operator, id: Named, key: Key, body: Body) -> Answer {
    run(operator, id, key, body, Command::Start).await
}

/// `DELETE /agents/{id}`.
pub(super) async fn delete(operator: Operator, id: Named, key: Key, body: Body) -> Answer {
    run(operator, id, key, body, Command::Delete).await
}

async fn run(
    Operator(deps): Operator,
    Named(agent_id): Named,
    key: Key,
    body: Body,
    command: Command,
) -> Answer {
    read_nothing(body).await?;
    let now = deps.clock.now();
    let record = CommandRecord {
        agent_id,
        command,
        by: OPERATOR,
        key: key.of(&format!("{command} {agent_id}"), ""),
        fresh_job_id: JobId(deps.entropy.uuid_v7(now)),
    };
    let outcome = deps.store.command_agent(&record, now).await;
    let outcome = outcome.map_err(|error| failed("the command could not be recorded", &error))?;
    tracing::info!(%agent_id, %command, ?outcome, "commanded");
    let (status, queued) = match outcome {
        CommandOutcome::Applied { queued_job_id } => (StatusCode::ACCEPTED, queued_job_id),
        CommandOutcome::Unchanged { queued_job_id } => (StatusCode::OK, queued_job_id),
        CommandOutcome::Refused {
            why,
            running,
            queued_job_id,
        } => {
            // It may be the repeat of one that was taken and could not be told.
            deps.tell(agent_id, queued_job_id, now).await?;
            return Err(refused(command, why, running));
        }
        CommandOutcome::NoSuchAgent => return Err(no_such_agent()),
        CommandOutcome::KeyReused => return Err(key_reused()),
    };
    deps.tell(agent_id, queued, now).await?;
    let agent = deps.look(agent_id, now).await?;
    deps.nudges
        .remind(queued.is_none() && agent.any_due, now)
        .await;
    Ok((status, Json(AgentView::of(&agent, now))))
}

impl Deps {
    /// Without its nudge the job could wait for long: so the command counts as failed, and its
    /// repeat nudges again.
    async fn tell(
        &self,
        agent_id: AgentId,
        queued: Option<JobId>,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(job) = queued else {
            return Ok(());
        };
        let nudge = Nudge::job(job, now);
        let sent = self.nudges.send(&nudge, Duration::ZERO).await;
        sent.map_err(|error| {
            tracing::error!(%agent_id, job_id = %job, %error, "recorded, not nudged");
            ApiError::unavailable("the command is recorded, but the queue is not available")
        })
    }
}

/// 409, saying what stands in the way.
fn refused(command: Command, why: Permission, running: Option<JobKind>) -> ApiError {
    let at_work = running.map_or_else(String::new, |kind| format!(": {kind} is at work"));
    let (code, message) = match why {
        Permission::Busy => (
            "busy",
            format!("nothing was given up, so there is nothing to try again{at_work}"),
        ),
        Permission::Unpaid => (
            "payment_missing",
            format!("payment is missing, so the agent cannot {}", verb(command)),
        ),
        Permission::Nothing => ("nothing_to_do", nothing(command).to_owned()),
        Permission::Gone => (
            "gone",
            format!("the agent is over, or about to be{at_work}"),
        ),
        Permission::Allowed | Permission::Done => {
            return ApiError::internal("the command was neither taken nor refused");
        }
    };
    ApiError::conflict(code, message)
}

const fn verb(command: Command) -> &'static str {
    match command {
        Command::Retry => "be tried again",
        Command::Stop => "be stopped",
        Command::Start => "be started",
        Command::Delete => "be deleted",
    }
}

const fn nothing(command: Command) -> &'static str {
    match command {
        Command::Retry => "nothing has failed, so there is nothing to try again",
        Command::Stop => "the agent has no machine that could be stopped",
        Command::Start => "the agent has no machine that could be started",
        Command::Delete => "there is nothing to delete",
    }
}
