//! Looks after attempts whose time is past, or whose agent is to go: asks GitHub how their runs
//! stand, then waits, dispatches the same attempt again, or ends it. Only dispatch does this.
//! It must not know what GitHub's answers look like.

use crate::{
    github::{Seen, Started},
    handler::{CALLS_AT_ONCE, Deps, Trouble},
    start::Errand,
};
use domain::{
    AttemptState, DOOM_PATIENCE, ErrorClass, INSPECT_AFTER, Overdue, START_LIMIT, Sight, Timestamp,
    Watched, inspect, retry_delays,
};
use futures_util::{StreamExt, stream};
use std::time::Duration;
use store::{Expiry, OverdueAttempt, StoreError};

/// When GitHub could not be asked, it is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// What a look after overdue attempts leaves.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// How many were looked at.
    pub(crate) attempts: usize,
    /// A job is due, because the attempt before it was ended.
    pub(crate) is_job_due: bool,
    /// Attempts that are over and may have runs nobody knows of.
    pub(crate) unseen: Vec<OverdueAttempt>,
}

/// How an attempt that was looked at stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes on.
    Live,
    /// It is over.
    Ended {
        /// The job that follows is due.
        is_job_due: bool,
        /// It may have runs that nobody knows of.
        unseen: bool,
    },
}

impl<'a> From<&'a OverdueAttempt> for Errand<'a> {
    fn from(attempt: &'a OverdueAttempt) -> Self {
        let OverdueAttempt {
            job_id,
            agent_id,
            fence,
            kind,
            ref region,
            ..
        } = *attempt;
        Self {
            job_id,
            agent_id,
            fence,
            kind,
            region,
        }
    }
}

impl Deps {
    /// Handles what is overdue, at most `limit`.
    pub(crate) async fn look_after_overdue(&self, limit: i64) -> Result<Looked, Trouble> {
        let overdue = self.store.overdue_attempts(self.clock.now(), limit).await?;
        let mut looked = Looked {
            attempts: overdue.len(),
            ..Looked::default()
        };
        let fates: Vec<Result<_, Trouble>> = stream::iter(overdue)
            .map(|attempt| {
                Box::pin(async move {
                    let fate = match self.look_after(&attempt).await {
                        Err(Trouble::Store(error)) if !error.is_unavailable() => {
                            self.put_off(&attempt, &error).await?
                        }
                        fate => fate?,
                    };
                    Ok((attempt, fate))
                })
            })
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        for fate in fates {
            if let (attempt, Fate::Ended { is_job_due, unseen }) = fate? {
                looked.is_job_due |= is_job_due;
                looked.unseen.extend(unseen.then_some(attempt));
            }
        }
        Ok(looked)
    }

    /// One attempt that the database refuses to move must not stand in the way of all others.
    async fn put_off(&self, attempt: &OverdueAttempt, error: &StoreError) -> Result<Fate, Trouble> {
        let (job_id, fence) = (attempt.job_id, attempt.fence);
        tracing::error!(%job_id, %fence, %error, "an attempt could not be looked after");
        let now = self.clock.now();
        let due = now.plus(ASK_AGAIN);
        self.store.put_off_job(job_id, due, now).await?;
        self.arm(job_id, due, now).await?;
        Ok(Fate::Live)
    }

    async fn look_after(&self, attempt: &OverdueAttempt) -> Result<Fate, Trouble> {
        let now = self.clock.now();
        let seen = self.see(attempt, now).await;
        let decision = inspect(Watched {
            state: attempt.state,
            open_for: now.since(attempt.opened_at),
            lease_over: attempt.lease_until.is_some_and(|until| until <= now),
            doomed_for: attempt.doomed_at.map(|at| now.since(at)),
            sight: seen.sight,
            dispatched_again: attempt.dispatched_again,
        });
        let (job_id, fence) = (attempt.job_id, attempt.fence);
        tracing::info!(%job_id, %fence, sight = ?seen.sight, ?decision, "an attempt is overdue");
        match decision {
            Overdue::Wait => {
                let due = look_next(attempt, seen.sight, now);
                self.postpone(attempt, false, due, now).await?;
                Ok(Fate::Live)
            }
            Overdue::DispatchAgain => self.dispatch_again(attempt, seen.sight, now).await,
            Overdue::CancelRun => {
                self.store.cancel_run(attempt, now).await?;
                let due = attempt.lease_until.unwrap_or(now);
                self.postpone(attempt, false, due, now).await?;
                Ok(Fate::Live)
            }
            Overdue::Expire => {
                let reason = reason(attempt.state, seen.sight);
                self.end(attempt, (reason, false), &seen.alive, now).await
            }
            Overdue::Abort => {
                let reason = "the agent is to be removed";
                self.end(attempt, (reason, true), &[], now).await
            }
        }
    }

    /// How the attempt's run stands. A claimed one is judged by its lease, and one whose agent is
    /// to go is aborted whatever its run does.
    async fn see(&self, attempt: &OverdueAttempt, now: Timestamp) -> Seen {
        if attempt.state == AttemptState::Claimed || attempt.doomed_at.is_some() {
            return Seen {
                sight: Sight::Unknown,
                alive: Vec::new(),
            };
        }
        match attempt.run_id {
            Some(run_id) => self.github.look_at(run_id, now).await,
            None => self.see_by_name(attempt, now).await,
        }
    }

    pub(crate) async fn see_by_name(&self, attempt: &OverdueAttempt, now: Timestamp) -> Seen {
        let name = Errand::from(attempt).inputs("").run_name();
        self.github.look_for(&name, attempt.opened_at, now).await
    }

    /// Puts the attempt off and sends its timer. Answers whether it was still there to put off.
    async fn postpone(
        &self,
        attempt: &OverdueAttempt,
        again: bool,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Trouble> {
        let mine = self
            .store
            .postpone_attempt(attempt, again, due, now)
            .await?;
        if mine {
            self.arm(attempt.job_id, due, now).await?;
        }
        Ok(mine)
    }

    /// The first dispatch may still show up, so nothing GitHub says now can refuse the attempt.
    async fn dispatch_again(
        &self,
        attempt: &OverdueAttempt,
        sight: Sight,
        now: Timestamp,
    ) -> Result<Fate, Trouble> {
        let due = look_next(attempt, sight, now);
        if !self.postpone(attempt, true, due, now).await? {
            return Ok(Fate::Live);
        }
        let errand = Errand::from(attempt);
        let (job_id, fence) = (attempt.job_id, attempt.fence);
        match self.ask_github(&errand, now).await {
            Started::Accepted { run_id } => {
                tracing::info!(%job_id, %fence, run_id, "GitHub accepted the run, asked again");
                self.accept(&errand, run_id, self.clock.now()).await;
            }
            Started::Refused(refusal) => {
                let reason = refusal.reason;
                tracing::error!(%job_id, %fence, reason, "the run, asked for again, was refused");
            }
            Started::Unknown { why } => {
                tracing::warn!(%job_id, %fence, why, "GitHub's answer is unknown again");
            }
        }
        Ok(Fate::Live)
    }

    /// Expires the attempt, or aborts it. The fence stops its runner; its runs are remembered as
    /// having to end, which saves time.
    async fn end(
        &self,
        attempt: &OverdueAttempt,
        (reason, abort): (&str, bool),
        runs: &[u64],
        now: Timestamp,
    ) -> Result<Fate, Trouble> {
        let delays = retry_delays(ErrorClass::Transient, || self.entropy.unit());
        let expiry = Expiry {
            abort,
            runs,
            reason,
            retry_delays: &delays,
            fresh_job_id: self.fresh_job(now),
        };
        let Some(expired) = self.store.expire_attempt(attempt, expiry, now).await? else {
            return Ok(Fate::Live);
        };
        if let Some(next) = expired.next {
            self.arm(next.job_id, next.due, now).await?;
        }
        Ok(Fate::Ended {
            is_job_due: expired.next.is_some_and(|next| next.due <= now),
            // A second dispatch may have made a second run.
            unseen: attempt.dispatched_again || abort && attempt.run_id.is_none(),
        })
    }
}

/// When an attempt that goes on is looked at next: a claimed one when its lease is over, or the
/// patience with it; any other never later than its time to start is over.
fn look_next(attempt: &OverdueAttempt, sight: Sight, now: Timestamp) -> Timestamp {
    let patience = attempt.doomed_at.map(|at| at.plus(DOOM_PATIENCE));
    if let Some(lease_until) = attempt.lease_until {
        return patience.map_or(lease_until, |until| until.min(lease_until));
    }
    let pause = match sight {
        Sight::Unknown => ASK_AGAIN,
        Sight::Over | Sight::Alive | Sight::None => INSPECT_AFTER,
    };
    now.plus(pause).min(attempt.opened_at.plus(START_LIMIT))
}

/// Why an attempt expired, for its owner.
const fn reason(state: AttemptState, sight: Sight) -> &'static str {
    match (state, sight) {
        (AttemptState::Claimed, _) => "the runner was not heard of in time",
        (_, Sight::Over) => "the run ended at GitHub without a word from the runner",
        (_, Sight::Alive | Sight::None | Sight::Unknown) => "no runner took the run in 15 minutes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{AgentId, Fence, JobId, JobKind};
    use uuid::Uuid;

    const OPENED: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn at(seconds: u64) -> Timestamp {
        OPENED.plus(Duration::from_secs(seconds))
    }

    fn attempt() -> OverdueAttempt {
        OverdueAttempt {
            job_id: JobId(Uuid::nil()),
            kind: JobKind::Provision,
            agent_id: AgentId(Uuid::nil()),
            region: String::new(),
            fence: Fence(1),
            state: AttemptState::Intended,
            opened_at: OPENED,
            run_id: None,
            dispatched_again: false,
            lease_until: None,
            doomed_at: None,
        }
    }

    #[test]
    fn an_attempt_is_looked_at_until_its_time_to_start_is_over() {
        for (now, sight, next) in [
            (at(300), Sight::Alive, at(600)),
            (at(302), Sight::None, at(602)),
            (at(300), Sight::Unknown, at(360)),
            (at(700), Sight::Alive, at(900)),
            (at(880), Sight::Unknown, at(900)),
        ] {
            assert_eq!(look_next(&attempt(), sight, now), next);
        }
    }

    #[test]
    fn a_claimed_attempt_is_looked_at_when_lease_or_patience_is_over() {
        for (doomed, next) in [(None, 180), (Some(50), 170), (Some(90), 180)] {
            let claimed = OverdueAttempt {
                state: AttemptState::Claimed,
                lease_until: Some(at(180)),
                doomed_at: doomed.map(at),
                ..attempt()
            };
            assert_eq!(look_next(&claimed, Sight::Unknown, at(100)), at(next));
        }
    }
}
