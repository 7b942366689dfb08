//! Starts runs for what is due: attempt opened, timer sent, GitHub asked, its answer kept.
//! It must not know what GitHub's answers look like.

use crate::{
    github::{Refusal, Started},
    handler::{CALLS_AT_ONCE, Deps, Trouble, is_full, put_up_with},
};
use contract::{Inputs, Operation};
use domain::{AgentId, Fence, JobId, JobKind, Timestamp};
use futures_util::{StreamExt, stream};
use host::NudgeError;
use store::OpenedAttempt;

/// What a run is started for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand<'a> {
    pub(crate) job_id: JobId,
    pub(crate) agent_id: AgentId,
    pub(crate) fence: Fence,
    pub(crate) kind: JobKind,
    pub(crate) region: &'a str,
}

impl Errand<'_> {
    /// What the run is handed.
    pub(crate) fn inputs(&self, callback_url: &str) -> Inputs {
        Inputs {
            job_id: self.job_id.to_string(),
            agent_id: self.agent_id.to_string(),
            region: self.region.to_owned(),
            callback_url: callback_url.to_owned(),
            fence: self.fence.0,
            operation: match self.kind {
                JobKind::Provision => Operation::Provision,
                JobKind::Configure => Operation::Configure,
                JobKind::Stop => Operation::Stop,
                JobKind::Start => Operation::Start,
                JobKind::Destroy => Operation::Destroy,
            },
        }
    }
}

impl<'a> From<&'a OpenedAttempt> for Errand<'a> {
    fn from(attempt: &'a OpenedAttempt) -> Self {
        let OpenedAttempt {
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
    /// Opens attempts for everything due, at most `limit`, and starts their runs. Answers
    /// whether more may be due.
    pub(crate) async fn start_due(&self, limit: i64) -> Result<bool, Trouble> {
        let now = self.clock.now();
        let opened = self
            .store
            .open_due_attempts(now, limit, self.entropy.uuid_v7(now))
            .await?;
        let results: Vec<Result<(), NudgeError>> = stream::iter(&opened)
            .map(|attempt| Box::pin(self.start_opened(attempt)))
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(is_full(opened.len(), limit))
    }

    /// The timer goes first: whatever happens from here on, somebody looks at the job again.
    /// Without it GitHub is not asked, and the attempt does not count.
    async fn start_opened(&self, attempt: &OpenedAttempt) -> Result<(), NudgeError> {
        let now = self.clock.now();
        let errand = Errand::from(attempt);
        if let Err(error) = self.arm(attempt.job_id, attempt.due, now).await {
            let refusal = Refusal::new("JOB_QUEUE_URL: the queue is not available");
            self.refuse(&errand, &refusal, now).await?;
            return Err(error);
        }
        let started = self.ask_github(&errand, now).await;
        self.keep(&errand, started).await
    }

    /// Asks GitHub for a run, once.
    pub(crate) async fn ask_github(&self, errand: &Errand<'_>, now: Timestamp) -> Started {
        match self.github.callback_url() {
            Ok(callback_url) => self.github.start(&errand.inputs(callback_url), now).await,
            Err(refusal) => Started::Refused(refusal),
        }
    }

    /// Keeps GitHub's answer. What cannot be kept is no loss: the attempt stays intended, its
    /// runner's claim or its timer settles it.
    async fn keep(&self, errand: &Errand<'_>, started: Started) -> Result<(), NudgeError> {
        let now = self.clock.now();
        let (job_id, fence) = (errand.job_id, errand.fence);
        match started {
            Started::Accepted { run_id } => {
                tracing::info!(%job_id, %fence, run_id, "GitHub accepted the run");
                self.accept(errand, run_id, now).await;
            }
            Started::Refused(refusal) => self.refuse(errand, &refusal, now).await?,
            Started::Unknown { why } => {
                tracing::warn!(%job_id, %fence, why, "GitHub's answer is unknown");
            }
        }
        Ok(())
    }

    pub(crate) async fn accept(&self, errand: &Errand<'_>, run_id: Option<u64>, now: Timestamp) {
        let kept = self
            .store
            .accept_attempt(errand.agent_id, errand.fence, run_id, now)
            .await;
        put_up_with(kept, "GitHub's acceptance could not be kept");
    }

    async fn refuse(
        &self,
        errand: &Errand<'_>,
        refusal: &Refusal,
        now: Timestamp,
    ) -> Result<(), NudgeError> {
        let (job_id, fence, reason) = (errand.job_id, errand.fence, refusal.reason.as_str());
        tracing::error!(%job_id, %fence, reason, "the run was refused");
        let record = store::Refusal {
            reason,
            not_before: refusal.after.map_or(now, |after| now.plus(after)),
            fresh_job_id: self.fresh_job(now),
        };
        let kept = self
            .store
            .refuse_attempt(errand.agent_id, errand.fence, record, now)
            .await;
        match put_up_with(kept, "GitHub's refusal could not be kept").flatten() {
            Some(waiting) => self.arm(waiting.job_id, waiting.due, now).await,
            None => Ok(()),
        }
    }
}
