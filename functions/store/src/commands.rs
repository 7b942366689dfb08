//! Makes drafts and carries out what owners command.

use crate::{
    Store, StoreError,
    row::{get, time, word},
    statement,
};
use domain::{AgentId, Command, JobId, JobKind, Permission, Timestamp};
use tokio_postgres::Row;

/// An agent that nobody has paid for yet.
#[derive(Debug, Clone)]
pub struct DraftAgent {
    /// A fresh id.
    pub agent_id: AgentId,
    /// The agent's name for people; 1 to 200 characters.
    pub name: String,
    /// Where the machine shall be; lower-case letters, digits, hyphens; at most 40.
    pub region: String,
    /// The operator's own word for it; at most 500 characters.
    pub reference: Option<String>,
}

/// Makes a repeated request answer what it answered first, for a day.
#[derive(Debug, Clone)]
pub struct CommandKey {
    /// The caller's key.
    pub key: String,
    /// A digest of the request: another request under the same key is a mistake.
    pub request: String,
}

/// What became of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It is made, now or by an earlier request under the same key.
    Created(AgentId),
    /// There is an agent of this id.
    Taken,
    /// The key was used for another request.
    KeyReused,
}

/// The operator's name in commands and in the timeline.
pub const OPERATOR: &str = "operator";

/// A command.
#[derive(Debug, Clone)]
pub struct CommandRecord<'a> {
    /// Which agent.
    pub agent_id: AgentId,
    /// What.
    pub command: Command,
    /// Who, for the timeline. [`OPERATOR`] alone may have a missing machine made anew by a retry.
    pub by: &'a str,
    /// Under which key.
    pub key: Option<CommandKey>,
    /// A fresh id for a job that may follow.
    pub fresh_job_id: JobId,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// It changed something.
    Applied {
        /// The job that waits to be dispatched: nudge for it.
        queued_job_id: Option<JobId>,
    },
    /// It is so already.
    Unchanged {
        /// The job that waits to be dispatched: nudge for it.
        queued_job_id: Option<JobId>,
    },
    /// It is not allowed.
    Refused {
        /// Why.
        why: Permission,
        /// What is at work or comes next.
        running: Option<JobKind>,
        /// The job that waits to be dispatched: nudge for it.
        queued_job_id: Option<JobId>,
    },
    /// There is no such agent.
    NoSuchAgent,
    /// The key was used for another request.
    KeyReused,
}

impl Store {
    /// Makes a draft.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn create_agent(
        &self,
        draft: &DraftAgent,
        key: Option<&CommandKey>,
        fresh_job_id: JobId,
        now: Timestamp,
    ) -> Result<CreateOutcome, StoreError> {
        let from = &statement::CREATE_AGENT;
        let row = self
            .query_one(
                from,
                &[
                    &draft.agent_id.0,
                    &draft.name,
                    &draft.region,
                    &draft.reference,
                    &key.map(|key| &*key.key),
                    &key.map(|key| &*key.request),
                    &fresh_job_id.0,
                    &time(now),
                ],
            )
            .await?;
        Ok(match get(from, &row, "verdict")? {
            "created" => CreateOutcome::Created(AgentId(get(from, &row, "agent_id")?)),
            "taken" => CreateOutcome::Taken,
            _ => CreateOutcome::KeyReused,
        })
    }

    /// Carries out a command, or says why not. Under a key that was used before for the same
    /// request nothing changes, and the answer is the first one.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn command_agent(
        &self,
        command: &CommandRecord<'_>,
        now: Timestamp,
    ) -> Result<CommandOutcome, StoreError> {
        let row = self
            .query_one(
                &statement::COMMAND_AGENT,
                &[
                    &command.agent_id.0,
                    &command.command.as_str(),
                    &command.by,
                    &command.key.as_ref().map(|key| &*key.key),
                    &command.key.as_ref().map(|key| &*key.request),
                    &command.fresh_job_id.0,
                    &time(now),
                ],
            )
            .await?;
        outcome(&row)
    }
}

fn outcome(row: &Row) -> Result<CommandOutcome, StoreError> {
    let from = &statement::COMMAND_AGENT;
    let queued_job_id = get::<Option<_>>(from, row, "job_id")?.map(JobId);
    let why: Permission = match get::<Option<&str>>(from, row, "verdict")? {
        None => return Ok(CommandOutcome::NoSuchAgent),
        Some("reused") => return Ok(CommandOutcome::KeyReused),
        Some(verdict) => word(from, verdict)?,
    };
    let running: Option<&str> = get(from, row, "running")?;
    Ok(match why {
        Permission::Allowed => CommandOutcome::Applied { queued_job_id },
        Permission::Done => CommandOutcome::Unchanged { queued_job_id },
        Permission::Busy | Permission::Unpaid | Permission::Nothing | Permission::Gone => {
            CommandOutcome::Refused {
                why,
                running: running.and_then(|kind| kind.parse().ok()),
                queued_job_id,
            }
        }
    })
}
