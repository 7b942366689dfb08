//! Ends the runs that have to end: asks GitHub, looks again a minute later, then insists. Each is
//! remembered in the database until GitHub says that it is over.
//! It must not know why a run has to end.

use crate::{
    github::{Asked, Seen},
    handler::{CALLS_AT_ONCE, Deps, Trouble, put_up_with},
    start::Errand,
};
use domain::{Sight, TIMER_SLACK, Timestamp};
use futures_util::{StreamExt, stream};
use host::Nudge;
use std::time::Duration;
use store::{OverdueAttempt, RunCancel};

/// A run that was asked to end is looked at again after this long.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// A run that still goes on after it was asked this often is given up.
const ASKED_MAX: i16 = 10;

/// One about which GitHub tells nothing is given up after this many looks, two hours.
const UNSEEN_MAX: i16 = 120;

impl Deps {
    /// Looks for runs that nobody knows of, of attempts that are over: those that are not over
    /// have to end. One that is not found is turned away when it claims, so this only saves time.
    pub(crate) async fn seek_runs(&self, ended: &[OverdueAttempt]) {
        stream::iter(ended)
            .for_each_concurrent(CALLS_AT_ONCE, |attempt| {
                Box::pin(self.seek_runs_of(attempt))
            })
            .await;
    }

    async fn seek_runs_of(&self, attempt: &OverdueAttempt) {
        let errand = Errand::from(attempt);
        let Seen { alive, .. } = self.see_by_name(attempt, self.clock.now()).await;
        for run_id in alive {
            // An acceptance that comes too late marks its run.
            self.accept(&errand, Some(run_id), self.clock.now()).await;
        }
    }

    /// Asks the runs that have to end to do so, at most `limit`; answers how many that were.
    pub(crate) async fn end_runs(&self, limit: i64) -> Result<usize, Trouble> {
        let now = self.clock.now();
        let runs = self.store.due_run_cancels(now, limit).await?;
        if runs.is_empty() {
            return Ok(0);
        }
        // Before anything is done, so that somebody looks again whatever happens here.
        let delay = LOOK_AGAIN.saturating_add(TIMER_SLACK);
        self.nudges.send(&Nudge::EMPTY, delay).await?;
        stream::iter(&runs)
            .for_each_concurrent(CALLS_AT_ONCE, |run| Box::pin(self.end_run(*run, now)))
            .await;
        Ok(runs.len())
    }

    /// The next look is kept before GitHub is asked, so that another dispatcher leaves the run
    /// alone meanwhile.
    async fn end_run(&self, run: RunCancel, now: Timestamp) {
        let RunCancel { run_id, asked } = run;
        let kept = self
            .store
            .keep_run_cancel(run_id, Some(now.plus(LOOK_AGAIN)))
            .await;
        let what = "that a run is looked at again could not be kept";
        if put_up_with(kept, what).is_none() {
            return;
        }
        let is_done = if asked == 0 {
            self.github.cancel(run_id, now).await == Asked::Gone
        } else {
            self.insist(run, now).await
        };
        if is_done {
            let forgotten = self.store.keep_run_cancel(run_id, None).await;
            put_up_with(forgotten, "a run that is over could not be forgotten");
        }
    }

    /// Ends a run that was asked to; answers whether nothing is left to do.
    async fn insist(&self, run: RunCancel, now: Timestamp) -> bool {
        let RunCancel { run_id, .. } = run;
        match self.github.look_at(run_id, now).await.sight {
            Sight::Over | Sight::None => return true,
            Sight::Unknown => return is_given_up(run, UNSEEN_MAX),
            Sight::Alive => {}
        }
        match self.github.force_cancel(run_id, now).await {
            Asked::Gone => true,
            Asked::Unknown => is_given_up(run, UNSEEN_MAX),
            Asked::Taken | Asked::Declined => is_given_up(run, ASKED_MAX),
        }
    }
}

fn is_given_up(RunCancel { run_id, asked }: RunCancel, most: i16) -> bool {
    if asked >= most {
        tracing::error!(
            run_id,
            asked,
            "the run does not end; end it by hand at GitHub"
        );
    }
    asked >= most
}
