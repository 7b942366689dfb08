//! Opens, accepts, refuses, watches and expires attempts, for dispatch.

use crate::{
    Store, StoreError,
    row::{get, maybe_time, time, timestamp, word},
    statement,
};
use domain::{
    AgentId, AttemptState, Ending, ErrorClass, Fence, INSPECT_AFTER, JobId, JobKind, Timestamp,
    WORK_LIMIT,
};
use std::time::{Duration, SystemTime};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Whoever opened an attempt has sent its timer by then, or is dead.
const JUST_NOW: Duration = Duration::from_secs(30);

/// A nudge that should have come this long ago will not come any more.
const LONG_AGO: Duration = Duration::from_secs(15);

/// Clocks of two machines differ by less.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// Calls of a lost runner that are under way when its lease ends are over after this long.
const CALLS_END: Duration = Duration::from_mins(1);

/// An attempt that was just opened and is to be dispatched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedAttempt {
    /// Its job.
    pub job_id: JobId,
    /// Its agent.
    pub agent_id: AgentId,
    /// Its fence.
    pub fence: Fence,
    /// Shown to people: 1 to 4.
    pub number: i16,
    /// What the job is for.
    pub kind: JobKind,
    /// Where the customer wants the machine.
    pub region: String,
    /// When it is looked at if nobody claimed it; a nudge is to arrive shortly after.
    pub due: Timestamp,
}

/// A live attempt that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverdueAttempt {
    /// Its job.
    pub job_id: JobId,
    /// What the job is for.
    pub kind: JobKind,
    /// Its agent.
    pub agent_id: AgentId,
    /// Where the customer wants the machine.
    pub region: String,
    /// Its fence.
    pub fence: Fence,
    /// Where it is.
    pub state: AttemptState,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The run: the one that claimed, else the one GitHub named.
    pub run_id: Option<u64>,
    /// Whether it was dispatched a second time already.
    pub dispatched_again: bool,
    /// When a claimed one is lost: its lease or its time to work is over.
    pub lease_until: Option<Timestamp>,
    /// Since when its agent is wanted absent, while this is no destroy.
    pub doomed_at: Option<Timestamp>,
}

/// A job that waits, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The job.
    pub job_id: JobId,
    /// When somebody has to look at it; a nudge is to arrive then.
    pub due: Timestamp,
}

/// What followed an attempt that expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredAttempt {
    /// The job that comes next, if any.
    pub next: Option<Waiting>,
}

/// GitHub's refusal of a run.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// One line for people: what was refused, and what to change.
    pub reason: &'a str,
    /// GitHub asked not to be called before.
    pub not_before: Timestamp,
    /// A fresh id for a job that may follow.
    pub fresh_job_id: JobId,
}

/// Why an attempt is expired or aborted.
#[derive(Debug, Clone, Copy)]
pub struct Expiry<'a> {
    /// It is aborted because its agent is to go; only while nobody claimed it.
    pub abort: bool,
    /// Runs of it that are not over, as GitHub showed them; they have to end.
    pub runs: &'a [u64],
    /// One line for people.
    pub reason: &'a str,
    /// The waits before the retries that are left.
    pub retry_delays: &'a [Duration],
    /// A fresh id for a job that may follow.
    pub fresh_job_id: JobId,
}

fn micros(durations: &[Duration]) -> Vec<i64> {
    durations
        .iter()
        .map(|duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
        .collect()
}

pub(crate) fn delays(durations: &[Duration]) -> Vec<i64> {
    micros(durations)
}

impl Store {
    /// Opens an attempt, with a new fence, for every queued job that is due, at most `limit`.
    /// `call` is a fresh id.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn open_due_attempts(
        &self,
        now: Timestamp,
        limit: i64,
        call: Uuid,
    ) -> Result<Vec<OpenedAttempt>, StoreError> {
        let from = &statement::OPEN_DUE_ATTEMPTS;
        let due = now.plus(INSPECT_AFTER);
        let rows = self
            .query(from, &[&time(now), &limit, &time(due), &call])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(OpenedAttempt {
                    job_id: JobId(get(from, row, "job_id")?),
                    agent_id: AgentId(get(from, row, "agent_id")?),
                    fence: Fence(get(from, row, "fence")?),
                    number: i16::try_from(get::<i32>(from, row, "number")?).unwrap_or(i16::MAX),
                    kind: word(from, get(from, row, "kind")?)?,
                    region: get(from, row, "region")?,
                    due,
                })
            })
            .collect()
    }

    /// Keeps GitHub's word that the run was accepted; later news of the attempt stands.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn accept_attempt(
        &self,
        agent_id: AgentId,
        fence: Fence,
        run_id: Option<u64>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let run_id = run_id.map(|id| id.to_string());
        self.query(
            &statement::ACCEPT_ATTEMPT,
            &[&agent_id.0, &fence.0, &run_id, &time(now)],
        )
        .await?;
        Ok(())
    }

    /// GitHub surely did not start the run: the job waits with its reason, and no retry is used
    /// up. Answers the job that is queued now; none when nothing is wanted any more, or when the
    /// attempt went on meanwhile.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn refuse_attempt(
        &self,
        agent_id: AgentId,
        fence: Fence,
        refusal: Refusal<'_>,
        now: Timestamp,
    ) -> Result<Option<Waiting>, StoreError> {
        let from = &statement::REFUSE_ATTEMPT;
        let row = self
            .query_opt(
                from,
                &[
                    &agent_id.0,
                    &fence.0,
                    &refusal.reason,
                    &micros(&domain::refusal_delays()),
                    &time(refusal.not_before),
                    &refusal.fresh_job_id.0,
                    &time(now),
                ],
            )
            .await?;
        row.map_or(Ok(None), |row| waiting(from, &row))
    }

    /// Live attempts whose due time is past, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn overdue_attempts(
        &self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<OverdueAttempt>, StoreError> {
        let from = &statement::OVERDUE_ATTEMPTS;
        let work = i64::try_from(WORK_LIMIT.as_micros()).unwrap_or(i64::MAX);
        let rows = self.query(from, &[&time(now), &limit, &work]).await?;
        rows.iter()
            .map(|row| {
                let named: Option<&str> = get(from, row, "run_id")?;
                let claimed: Option<&str> = get(from, row, "workflow_run_id")?;
                Ok(OverdueAttempt {
                    job_id: JobId(get(from, row, "job_id")?),
                    kind: word(from, get(from, row, "kind")?)?,
                    agent_id: AgentId(get(from, row, "agent_id")?),
                    region: get(from, row, "region")?,
                    fence: Fence(get(from, row, "fence")?),
                    state: word(from, get(from, row, "state")?)?,
                    opened_at: timestamp(get(from, row, "opened_at")?),
                    run_id: claimed.or(named).and_then(|id| id.parse().ok()),
                    dispatched_again: get(from, row, "dispatched_again")?,
                    lease_until: maybe_time(from, row, "lease_until")?,
                    doomed_at: maybe_time(from, row, "doomed_at")?,
                })
            })
            .collect()
    }

    /// Leaves an attempt until `due`. With `again` an unclaimed one is the caller's to dispatch
    /// once more when this answers true.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn postpone_attempt(
        &self,
        attempt: &OverdueAttempt,
        again: bool,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let row = self
            .query_opt(
                &statement::POSTPONE_ATTEMPT,
                &[
                    &attempt.agent_id.0,
                    &attempt.fence.0,
                    &again,
                    &time(due),
                    &time(now),
                ],
            )
            .await?;
        Ok(row.is_some())
    }

    /// Expires or aborts an attempt if it is still live and overdue: its job is tried again after
    /// one of the delays, or has given up, or is not wanted any more. Its runs are remembered as
    /// having to end. None when it was heard of meanwhile.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn expire_attempt(
        &self,
        attempt: &OverdueAttempt,
        expiry: Expiry<'_>,
        now: Timestamp,
    ) -> Result<Option<ExpiredAttempt>, StoreError> {
        let from = &statement::END_ATTEMPT;
        let none: Option<&str> = None;
        let state = if expiry.abort {
            AttemptState::Aborted
        } else {
            AttemptState::Expired
        };
        let runs: Vec<String> = expiry.runs.iter().map(u64::to_string).collect();
        let row = self
            .query_seeing(
                from,
                &[
                    &attempt.job_id.0,
                    &attempt.fence.0,
                    &none,
                    &None::<i32>,
                    &Ending::Failed.as_str(),
                    &state.as_str(),
                    &expiry.reason,
                    &ErrorClass::Transient.as_str(),
                    &none,
                    &micros(expiry.retry_delays),
                    &none,
                    &none,
                    &none,
                    &none,
                    &none,
                    &0_i64,
                    &none,
                    &true,
                    &expiry.fresh_job_id.0,
                    &time(now),
                    &runs,
                    &i64::try_from(CALLS_END.as_micros()).unwrap_or(i64::MAX),
                    &"dispatch",
                ],
            )
            .await?;
        if get::<Option<&str>>(from, &row, "verdict")? != Some("live") {
            return Ok(None);
        }
        Ok(Some(ExpiredAttempt {
            next: waiting(from, &row)?,
        }))
    }

    /// Open jobs for which nobody is sure to look when they are due, at most `limit`: a nudge is
    /// to be sent for each. `nudged` are the jobs whose nudges have just come.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs_without_timer(
        &self,
        nudged: &[JobId],
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<Waiting>, StoreError> {
        let from = &statement::JOBS_WITHOUT_TIMER;
        let nudged: Vec<Uuid> = nudged.iter().map(|job| job.0).collect();
        let now = time(now);
        let just_come = now + CLOCKS_DIFFER;
        let params: [&(dyn ToSql + Sync); 5] = [
            &nudged,
            &(now - LONG_AGO),
            &just_come,
            &(now - JUST_NOW),
            &limit,
        ];
        let rows = self.query(from, &params).await?;
        rows.iter()
            .filter_map(|row| waiting(from, row).transpose())
            .collect()
    }

    /// Puts off a job that could not be looked after, so that it stands in nobody's way.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn put_off_job(
        &self,
        job: JobId,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(&statement::PUT_OFF_JOB, &[&job.0, &time(due), &time(now)])
            .await?;
        Ok(())
    }

    /// Remembers a nudge that was sent for a job. It comes after the sending, so that a nudge
    /// that never went is never relied on.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn remember_timer(&self, job: JobId, arrives: Timestamp) -> Result<(), StoreError> {
        self.query(&statement::REMEMBER_TIMER, &[&job.0, &time(arrives)])
            .await?;
        Ok(())
    }
}

/// The job and due time of a row that may hold none.
pub(crate) fn waiting(
    from: &statement::Statement,
    row: &tokio_postgres::Row,
) -> Result<Option<Waiting>, StoreError> {
    let job: Option<Uuid> = get(from, row, "job_id")?;
    let due: Option<SystemTime> = get(from, row, "due_at")?;
    Ok(job.zip(due).map(|(job, due)| Waiting {
        job_id: JobId(job),
        due: timestamp(due),
    }))
}
