//! Looks after attempts whose time is past: asks GitHub how their runs stand, then waits,
//! dispatches the same attempt again, or expires it. Only dispatch does this.
//! It must not know what GitHub's answers look like.

use crate::{
    github::{Seen, Started},
    handler::{CALLS_AT_ONCE, Deps, Trouble},
    start::Errand,
};
use domain::{
    AttemptState, ErrorClass, INSPECT_AFTER, Overdue, START_LIMIT, Sight, Timestamp, inspect,
    retry_delays,
};
use futures_util::{StreamExt, stream};
use std::{collections::BTreeSet, time::Duration};
use store::{Expiry, OverdueAttempt};

/// When GitHub could not be asked, it is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_mins(1);

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
    /// Handles what is overdue, at most `limit`; answers how many that were.
    pub(crate) async fn look_after_overdue(&self, limit: i64) -> Result<usize, Trouble> {
        let overdue = self.store.overdue_attempts(self.clock.now(), limit).await?;
        let results: Vec<Result<(), Trouble>> = stream::iter(&overdue)
            .map(|attempt| Box::pin(self.look_after(attempt)))
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(overdue.len())
    }

    async fn look_after(&self, attempt: &OverdueAttempt) -> Result<(), Trouble> {
        let now = self.clock.now();
        let seen = self.see(attempt, now).await;
        let open_for = now.since(attempt.opened_at);
        let decision = inspect(
            attempt.state,
            open_for,
            seen.sight,
            attempt.dispatched_again,
        );
        let (job_id, fence) = (attempt.job_id, attempt.fence);
        tracing::info!(%job_id, %fence, sight = ?seen.sight, ?decision, "an attempt is overdue");
        match decision {
            Overdue::Wait => self
                .postpone(attempt, false, seen.sight, now)
                .await
                .map(drop),
            Overdue::DispatchAgain => self.dispatch_again(attempt, seen.sight, now).await,
            Overdue::Expire => self.expire(attempt, &seen, now).await,
        }
    }

    /// How the attempt's run stands: by its id when GitHub told one, else by its name. A claimed
    /// attempt that is overdue is lost whatever its run does.
    async fn see(&self, attempt: &OverdueAttempt, now: Timestamp) -> Seen {
        match (attempt.state, attempt.run_id) {
            (AttemptState::Claimed, run_id) => Seen {
                sight: Sight::Unknown,
                alive: run_id.into_iter().collect(),
            },
            (_, Some(run_id)) => self.github.look_at(run_id, now).await,
            (_, None) => {
                let name = Errand::from(attempt).inputs("").run_name();
                self.github.look_for(&name, attempt.opened_at, now).await
            }
        }
    }

    /// Puts the attempt off and sends its timer. Answers whether it was still there to put off.
    async fn postpone(
        &self,
        attempt: &OverdueAttempt,
        again: bool,
        sight: Sight,
        now: Timestamp,
    ) -> Result<bool, Trouble> {
        let due = look_next(attempt.opened_at, sight, now);
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
    ) -> Result<(), Trouble> {
        if !self.postpone(attempt, true, sight, now).await? {
            return Ok(());
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
        Ok(())
    }

    /// The fence stops the attempt's runner; stopping its run only saves time.
    async fn expire(
        &self,
        attempt: &OverdueAttempt,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let delays = retry_delays(ErrorClass::Transient, || self.entropy.unit());
        let expiry = Expiry {
            reason: reason(attempt.state, seen.sight),
            retry_delays: &delays,
            fresh_job_id: self.fresh_job(now),
        };
        let Some(expired) = self.store.expire_attempt(attempt, expiry, now).await? else {
            return Ok(());
        };
        if let Some(next) = expired.next {
            self.arm(next.job_id, next.due, now).await?;
        }
        let runs: BTreeSet<u64> = seen.alive.iter().copied().chain(expired.run_id).collect();
        for run_id in runs {
            self.github.cancel(run_id, now).await;
        }
        Ok(())
    }
}

/// When an unclaimed attempt is looked at next; never later than its time to start is over.
fn look_next(opened_at: Timestamp, sight: Sight, now: Timestamp) -> Timestamp {
    let pause = match sight {
        Sight::Unknown => ASK_AGAIN,
        Sight::Over | Sight::Alive | Sight::None => INSPECT_AFTER,
    };
    now.plus(pause).min(opened_at.plus(START_LIMIT))
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

    #[test]
    fn an_attempt_is_looked_at_until_its_time_to_start_is_over() {
        let opened = Timestamp::from_unix_seconds(1_800_000_000);
        let at = |seconds| opened.plus(Duration::from_secs(seconds));
        for (now, sight, next) in [
            (at(300), Sight::Alive, at(600)),
            (at(302), Sight::None, at(602)),
            (at(300), Sight::Unknown, at(360)),
            (at(700), Sight::Alive, at(900)),
            (at(880), Sight::Unknown, at(900)),
        ] {
            assert_eq!(look_next(opened, sight, now), next);
        }
    }
}
