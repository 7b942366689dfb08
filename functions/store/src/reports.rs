//! Applies the runner's reports: each is one statement, judged by its sender's attempt.

use crate::{
    Store, StoreError, Waiting,
    attempts::{delays, waiting},
    row::{get, time, timestamp, word},
    statement,
};
use domain::{
    AgentId, AttemptState, DOOM_PATIENCE, Ending, ErrorClass, Fence, JobId, JobKind, LEASE,
    Timestamp, WORK_LIMIT,
};
use std::time::{Duration, SystemTime};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

/// An installation's whole project is asked for at most this often.
const INVENTORY_EVERY: Duration = Duration::from_mins(10);

/// Ids and addresses that a report tells. Written once; a different value is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// Hetzner's server id.
    pub server_id: Option<String>,
    /// Public address.
    pub server_ip: Option<String>,
    /// Address in the tailnet.
    pub tailscale_ip: Option<String>,
    /// Tailscale's node id.
    pub device_id: Option<String>,
    /// Name of the server.
    pub server_name: Option<String>,
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportSaid {
    /// Work goes on.
    Progress,
    /// The operation succeeded.
    Succeeded {
        /// The machine works and the agent waits for its credentials.
        awaiting_credentials: bool,
    },
    /// The operation failed.
    Failed {
        /// One line for people.
        error: String,
        /// What it means for the next try.
        class: ErrorClass,
        /// Where it happened.
        step: Option<String>,
        /// The waits before the retries that are left; empty to give up at once.
        retry_delays: Vec<Duration>,
    },
}

/// A verified report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRecord {
    /// The job.
    pub job_id: JobId,
    /// Fence of the sender's attempt.
    pub fence: Fence,
    /// GitHub's run id; empty in the first version.
    pub workflow_run_id: String,
    /// GitHub's run attempt; 0 in the first version.
    pub run_attempt: i32,
    /// Order of the attempt's reports.
    pub seq: i64,
    /// The step that took effect.
    pub step: Option<String>,
    /// Everything made so far.
    pub facts: MachineFacts,
    /// What it says.
    pub said: ReportSaid,
    /// A fresh id for a job that may follow.
    pub fresh_job_id: JobId,
    /// The installation, whose whole project one of its runners is asked to list now and then.
    pub installation: String,
}

/// A report that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedReport {
    /// The agent and what its job is for; none when the attempt is over.
    pub about: Option<(AgentId, JobKind)>,
    /// The agent's name for people.
    pub name: String,
    /// Where the customer wants the machine.
    pub region: String,
    /// False: the agent is not wanted any more; the runner is to stop and undo.
    pub go_on: bool,
    /// When the attempt is lost if nothing more is heard; none when it is over.
    pub due: Option<Timestamp>,
    /// The job that comes next when the attempt is over: nudge for it.
    pub next: Option<Waiting>,
    /// The runner is to list the whole project at its end.
    pub inventory: bool,
    /// For a destroy: the agent's jobs that ever had an attempt.
    pub jobs: Vec<JobId>,
    /// For all but a provision: servers that attempts told of and no destroy has removed since.
    pub servers: Vec<String>,
    /// The same of devices.
    pub devices: Vec<String>,
}

/// What a report led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedReport {
    /// What became of it.
    pub outcome: ReportOutcome,
    /// Some job's due time is past: nudge dispatch.
    pub any_due: bool,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    /// It counts.
    Accepted(AcceptedReport),
    /// Its attempt has succeeded already; nothing changes.
    Repeat,
    /// Its attempt is over, unknown, or another run's.
    Fenced,
    /// There is no such job.
    UnknownJob,
    /// It tells another id than the attempt told before.
    ConflictingIds,
}

impl Store {
    /// Applies a report. Applying it twice equals applying it once.
    ///
    /// # Errors
    /// When the database does not take it; nothing changed then.
    pub async fn apply_report(
        &self,
        report: &ReportRecord,
        now: Timestamp,
    ) -> Result<AppliedReport, StoreError> {
        match &report.said {
            ReportSaid::Progress => self.progress(report, now).await,
            ReportSaid::Succeeded {
                awaiting_credentials,
            } => {
                let ending = if *awaiting_credentials {
                    Ending::AwaitingCredentials
                } else {
                    Ending::Ready
                };
                let end = End {
                    ending,
                    state: AttemptState::Succeeded,
                    failure: None,
                };
                self.end(report, end, now).await
            }
            ReportSaid::Failed {
                error,
                class,
                step,
                retry_delays,
            } => {
                let failure = Some((error.as_str(), *class, step.as_deref(), &**retry_delays));
                let end = End {
                    ending: Ending::Failed,
                    state: AttemptState::Failed,
                    failure,
                };
                self.end(report, end, now).await
            }
        }
    }

    /// Runs a statement that judges an attempt; once more when the attempt was opened while it
    /// waited.
    pub(crate) async fn query_seeing(
        &self,
        from: &statement::Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, StoreError> {
        let row = self.query_one(from, params).await?;
        if get::<Option<&str>>(from, &row, "verdict")? == Some("unseen") {
            return self.query_one(from, params).await;
        }
        Ok(row)
    }

    async fn progress(
        &self,
        report: &ReportRecord,
        now: Timestamp,
    ) -> Result<AppliedReport, StoreError> {
        let from = &statement::REPORT_PROGRESS;
        let row = self
            .query_seeing(
                from,
                &[
                    &report.job_id.0,
                    &report.fence.0,
                    &report.workflow_run_id,
                    &report.run_attempt,
                    &report.seq,
                    &report.step,
                    &report.facts.server_id,
                    &report.facts.server_ip,
                    &report.facts.tailscale_ip,
                    &report.facts.device_id,
                    &report.facts.server_name,
                    &time(now.plus(LEASE)),
                    &time(now.plus(WORK_LIMIT)),
                    &time(now),
                    &report.installation,
                    &(time(now) - INVENTORY_EVERY),
                    &i64::try_from(DOOM_PATIENCE.as_micros()).unwrap_or(i64::MAX),
                ],
            )
            .await?;
        let any_due = get(from, &row, "any_due")?;
        if let Some(outcome) = refused(from, &row)? {
            return Ok(AppliedReport { outcome, any_due });
        }
        let due: Option<SystemTime> = get(from, &row, "due_at")?;
        let outcome = ReportOutcome::Accepted(AcceptedReport {
            about: about(from, &row)?,
            name: get::<Option<String>>(from, &row, "name")?.unwrap_or_default(),
            region: get::<Option<String>>(from, &row, "region")?.unwrap_or_default(),
            go_on: get::<Option<bool>>(from, &row, "stop")? != Some(true),
            due: due.map(timestamp),
            next: None,
            inventory: get::<Option<bool>>(from, &row, "inventory")? == Some(true),
            jobs: get::<Option<Vec<Uuid>>>(from, &row, "jobs")?
                .unwrap_or_default()
                .into_iter()
                .map(JobId)
                .collect(),
            servers: get::<Option<_>>(from, &row, "servers")?.unwrap_or_default(),
            devices: get::<Option<_>>(from, &row, "devices")?.unwrap_or_default(),
        });
        Ok(AppliedReport { outcome, any_due })
    }

    async fn end(
        &self,
        report: &ReportRecord,
        end: End<'_>,
        now: Timestamp,
    ) -> Result<AppliedReport, StoreError> {
        let from = &statement::END_ATTEMPT;
        let (error, class, step, waits) = match end.failure {
            Some((error, class, step, waits)) => {
                (Some(error), Some(class.as_str()), step, delays(waits))
            }
            None => (None, None, None, Vec::new()),
        };
        let row = self
            .query_seeing(
                from,
                &[
                    &report.job_id.0,
                    &report.fence.0,
                    &report.workflow_run_id,
                    &report.run_attempt,
                    &end.ending.as_str(),
                    &end.state.as_str(),
                    &error,
                    &class,
                    &step,
                    &waits,
                    &report.facts.server_id,
                    &report.facts.server_ip,
                    &report.facts.tailscale_ip,
                    &report.facts.device_id,
                    &report.facts.server_name,
                    &report.seq,
                    &report.step,
                    &false,
                    &report.fresh_job_id.0,
                    &time(now),
                    &Vec::<String>::new(),
                    &0_i64,
                    &format!("runner {}/{}", report.workflow_run_id, report.run_attempt),
                ],
            )
            .await?;
        let any_due = get(from, &row, "any_due")?;
        if let Some(outcome) = refused(from, &row)? {
            return Ok(AppliedReport { outcome, any_due });
        }
        let outcome = ReportOutcome::Accepted(AcceptedReport {
            about: None,
            name: String::new(),
            region: String::new(),
            go_on: true,
            due: None,
            next: waiting(from, &row)?,
            inventory: false,
            jobs: Vec::new(),
            servers: Vec::new(),
            devices: Vec::new(),
        });
        Ok(AppliedReport { outcome, any_due })
    }
}

struct End<'report> {
    ending: Ending,
    state: AttemptState,
    failure: Option<(
        &'report str,
        ErrorClass,
        Option<&'report str>,
        &'report [Duration],
    )>,
}

fn about(from: &statement::Statement, row: &Row) -> Result<Option<(AgentId, JobKind)>, StoreError> {
    let agent_id = get::<Option<_>>(from, row, "agent_id")?;
    let kind = get::<Option<&str>>(from, row, "kind")?;
    let (Some(agent_id), Some(kind)) = (agent_id, kind) else {
        return Ok(None);
    };
    Ok(Some((AgentId(agent_id), word(from, kind)?)))
}

/// The verdict of a row, unless the report counts.
fn refused(from: &statement::Statement, row: &Row) -> Result<Option<ReportOutcome>, StoreError> {
    Ok(match get::<Option<&str>>(from, row, "verdict")? {
        None => Some(ReportOutcome::UnknownJob),
        Some("live") => None,
        Some("repeat") => Some(ReportOutcome::Repeat),
        Some("conflict") => Some(ReportOutcome::ConflictingIds),
        Some(_) => Some(ReportOutcome::Fenced),
    })
}
