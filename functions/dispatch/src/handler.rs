//! A batch of nudges: look at the table once, do what is due, answer which nudges must come again.
//! It must not know how a run is started or what an attempt's states mean.

use crate::github::GitHub;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::{JobId, TIMER_SLACK, Timestamp};
use host::{Clock, DELAY_MAX, Entropy, Nudge, NudgeError, Nudges};
use std::{fmt, time::Duration};
use store::{Store, StoreError};

/// Most attempts opened by one invocation: with [`CALLS_AT_ONCE`] and 10 s a call, they take at
/// most 20 s of Lambda's 30.
const BATCH: i64 = 8;

/// Most overdue attempts looked at by one invocation: each may take two calls.
const OVERDUE_BATCH: i64 = 4;

/// Most runs asked to end by one invocation: with [`CALLS_AT_ONCE`], two calls each and 5 s a
/// call, they take at most 20 s.
const CANCEL_BATCH: i64 = 8;

/// When an invocation has taken longer than this, what is left is left to another: each of its
/// parts takes at most 20 s of Lambda's 30.
const SLOW: Duration = Duration::from_secs(8);

/// Calls to GitHub at the same time (GitHub: at most 100, and writes count five times).
pub(crate) const CALLS_AT_ONCE: usize = 4;

/// A nudge that could not be handled comes again after this long.
const AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Most jobs that one invocation sends a new timer for.
const TIMERS: i64 = 20;

/// What dispatch needs.
#[derive(Debug)]
pub struct Deps {
    /// The database.
    pub store: Store,
    /// The queue.
    pub nudges: Nudges,
    /// GitHub.
    pub github: GitHub,
    /// The time.
    pub clock: Clock,
    /// New ids and jitter.
    pub entropy: Entropy,
}

/// Why a batch was not handled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Nudge(#[from] NudgeError),
}

impl Deps {
    /// Handles a batch. Nudges are only hints, so the table is looked at once for all of them.
    pub async fn handle(&self, event: SqsEvent) -> SqsBatchResponse {
        let nudges: Vec<Nudge> = event
            .records
            .iter()
            .map(|message| Nudge::read(message.body.as_deref().unwrap_or_default()))
            .collect();
        let mut response = SqsBatchResponse::default();
        if let Err(trouble) = self.look(&nudges).await {
            tracing::error!(nudges = nudges.len(), %trouble, "nudges could not be handled");
            for (message, nudge) in event.records.iter().zip(&nudges) {
                // Sent anew rather than failed: a message that fails often enough is put aside
                // for good, and a database may be away for longer than that.
                if let Err(error) = self.nudges.send(nudge, AGAIN_AFTER).await {
                    tracing::error!(%error, "the nudge is given back to the queue");
                    response.add_failure(message.message_id.clone().unwrap_or_default());
                }
            }
        }
        response
    }

    /// Does what is due, then keeps the timers of nudged jobs that are not.
    async fn look(&self, nudges: &[Nudge]) -> Result<(), Trouble> {
        if self.leaves_some().await? {
            // Whoever reads it does the rest, and keeps the timers.
            return Ok(self.nudges.send(&Nudge::EMPTY, Duration::ZERO).await?);
        }
        self.keep_timers(nudges).await
    }

    /// Does a batch of everything that is due; answers whether more may be left.
    async fn leaves_some(&self) -> Result<bool, Trouble> {
        let began = self.clock.now();
        let is_slow = || self.clock.now().since(began) > SLOW;
        // A run that has to end is asked to before the next one of its agent is started.
        let mut full = is_full(self.end_runs(CANCEL_BATCH).await?, CANCEL_BATCH);
        full |= self.start_due(BATCH).await?;
        if is_slow() {
            return Ok(true);
        }
        let overdue = self.look_after_overdue(OVERDUE_BATCH).await?;
        full |= is_full(overdue.attempts, OVERDUE_BATCH);
        if is_slow() {
            return Ok(true);
        }
        full |= is_full(self.end_runs(CANCEL_BATCH).await?, CANCEL_BATCH);
        if overdue.is_job_due {
            if is_slow() {
                return Ok(true);
            }
            // What follows an aborted attempt waits for no search.
            full |= self.start_due(BATCH).await?;
        }
        if overdue.unseen.is_empty() {
            return Ok(full);
        }
        if is_slow() {
            return Ok(true);
        }
        self.seek_runs(&overdue.unseen).await;
        if is_slow() {
            return Ok(true);
        }
        Ok(full | is_full(self.end_runs(CANCEL_BATCH).await?, CANCEL_BATCH))
    }

    /// Sees to it that every open job has a nudge under way: those whose nudge came too early,
    /// or while another statement held the agent, and those whose nudge was lost with its
    /// sender.
    async fn keep_timers(&self, nudges: &[Nudge]) -> Result<(), Trouble> {
        let jobs: Vec<JobId> = nudges.iter().filter_map(|nudge| nudge.job).collect();
        let now = self.clock.now();
        for job in self.store.jobs_without_timer(&jobs, now, TIMERS).await? {
            self.arm(job.job_id, job.due, now).await?;
        }
        Ok(())
    }

    /// Sends a nudge that arrives when `due` is surely past, or as late as the queue can; then
    /// remembers it.
    pub(crate) async fn arm(
        &self,
        job: JobId,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), NudgeError> {
        let delay = due.max(now).plus(TIMER_SLACK).since(now).min(DELAY_MAX);
        self.nudges.send(&Nudge::job(job, due), delay).await?;
        let kept = self.store.remember_timer(job, now.plus(delay)).await;
        put_up_with(kept, "a timer was sent and could not be remembered");
        Ok(())
    }

    pub(crate) fn fresh_job(&self, now: Timestamp) -> JobId {
        JobId(self.entropy.uuid_v7(now))
    }
}

/// Whether there may be more than what one invocation takes.
pub(crate) fn is_full(batch: usize, limit: i64) -> bool {
    i64::try_from(batch).is_ok_and(|batch| batch >= limit)
}

/// A log line for something that is repaired by itself later.
pub(crate) fn put_up_with<T, E: fmt::Display>(result: Result<T, E>, what: &str) -> Option<T> {
    result
        .inspect_err(|error| tracing::error!(%error, "{what}"))
        .ok()
}
