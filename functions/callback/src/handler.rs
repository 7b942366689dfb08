//! One report: verified, applied in one statement, answered; dispatch is nudged for what follows.
//! It must not know how a signature is made or what a report changes.

use crate::record::{record, seen};
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use contract::{
    Operation, REPORT_BYTES_MAX, Rejection, Reply, Report, SIGNATURE_HEADER, Said, ServerFacts,
    Spec, Verifier,
};
use domain::{Fence, JobId, JobKind, TIMER_SLACK, Timestamp};
use host::{ApiError, Clock, Entropy, Nudge, Nudges, read_body};
use std::{sync::Arc, time::Duration};
use store::{AcceptedReport, InventoryRecord, ReportOutcome, Store, StoreError, Waiting};

/// What the callback needs.
#[derive(Debug)]
pub struct Deps {
    /// The database.
    pub store: Store,
    /// The queue.
    pub nudges: Nudges,
    /// The time.
    pub clock: Clock,
    /// New ids and jitter.
    pub entropy: Entropy,
    /// The secrets that reports are signed with.
    pub verifier: Verifier,
    /// The installation whose servers the runners look at.
    pub installation: String,
}

/// The callback's one path.
pub fn routes(deps: Arc<Deps>) -> Router {
    host::router(
        Router::new()
            .route("/callback", post(receive))
            .with_state(deps),
    )
}

async fn receive(
    State(deps): State<Arc<Deps>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reply>, ApiError> {
    let body = read_body(body, REPORT_BYTES_MAX).await?;
    let now = deps.clock.now();
    let signature = headers
        .get(SIGNATURE_HEADER)
        .and_then(|value| value.to_str().ok());
    let opened = deps.verifier.open(signature, &body, now.unix_seconds());
    let report = opened.map_err(|rejection| rejected(&rejection))?;
    deps.apply(&report, now).await.map(Json)
}

fn rejected(rejection: &Rejection) -> ApiError {
    tracing::warn!(why = %rejection, "report refused");
    let message = rejection.to_string();
    match rejection {
        Rejection::TooLarge => ApiError::too_large(REPORT_BYTES_MAX),
        Rejection::Signature => ApiError::new(StatusCode::UNAUTHORIZED, "bad_signature", message),
        Rejection::Stale => ApiError::new(StatusCode::UNAUTHORIZED, "stale", message),
        Rejection::Malformed(_) => ApiError::malformed(message),
    }
}

impl Deps {
    async fn apply(&self, report: &Report, now: Timestamp) -> Result<Reply, ApiError> {
        let claims = report.said == Said::Provisioning
            && report.step.is_none()
            && report.facts == ServerFacts::default();
        let fresh = JobId(self.entropy.uuid_v7(now));
        let record = record(report, || self.entropy.unit(), fresh, &self.installation)
            .map_err(|error| ApiError::malformed(format!("job_id is {error}")))?;
        let applied = self.store.apply_report(&record, now).await;
        let applied = applied.map_err(|error| unavailable(record.job_id, &error))?;
        self.nudges.remind(applied.any_due, now).await;
        let (job_id, fence) = (record.job_id, record.fence);
        let step = record.step.as_deref();
        match applied.outcome {
            ReportOutcome::Accepted(accepted) => {
                let go_on = accepted.go_on;
                tracing::info!(%job_id, %fence, step, go_on, "report applied");
                if claims {
                    self.watch(job_id, &accepted, now).await?;
                }
                self.tell(&accepted, now).await;
                self.sweep(report, job_id, now).await;
                Ok(self.reply(accepted, claims))
            }
            ReportOutcome::Repeat => {
                tracing::info!(%job_id, %fence, step, "report of an attempt that has succeeded");
                Ok(Reply::default())
            }
            ReportOutcome::Fenced => {
                tracing::warn!(%job_id, %fence, "report of an attempt that is over, or another's");
                Err(ApiError::conflict(
                    "fenced",
                    "this attempt is over, or another run holds it",
                ))
            }
            ReportOutcome::ConflictingIds => {
                tracing::error!(%job_id, %fence, "the report tells other ids than one before");
                let message = "the report tells another id than this attempt told before";
                Err(ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "conflicting_ids",
                    message,
                ))
            }
            ReportOutcome::UnknownJob => Err(ApiError::not_found("there is no such job")),
        }
    }

    /// Sends the timer of the lease that a claim began; from then on each timer that comes early
    /// is sent on. Without it nobody might notice that the runner is lost, so the claim counts
    /// as failed: its repeat gets the same reply.
    async fn watch(
        &self,
        job: JobId,
        accepted: &AcceptedReport,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(due) = accepted.due else {
            return Ok(());
        };
        let sent = self
            .nudges
            .send(&Nudge::job(job, due), wait(due, now))
            .await;
        sent.map_err(|error| {
            tracing::error!(job_id = %job, %error, "claimed, but its timer could not be sent");
            ApiError::unavailable("the queue is not available")
        })
    }

    /// Looks at what a run saw of the installation's servers. It comes after the report, which
    /// never fails for it: the next inventory shows the same.
    async fn sweep(&self, report: &Report, job_id: JobId, now: Timestamp) {
        let seen = seen(report);
        if report.inventory.is_none() {
            return;
        }
        let fresh: Vec<JobId> = seen
            .iter()
            .map(|_| JobId(self.entropy.uuid_v7(now)))
            .collect();
        let inventory = InventoryRecord {
            job_id,
            fence: Fence(report.sender.fence()),
            installation: &self.installation,
            seen: &seen,
            fresh_job_ids: &fresh,
        };
        let swept = match self.store.take_inventory(&inventory, now).await {
            Ok(swept) => swept,
            Err(error) => {
                tracing::error!(%job_id, %error, "an inventory could not be kept");
                return;
            }
        };
        for stray in &swept.strays {
            let (server_id, agent_id, why) = (&stray.server_id, &stray.agent_id, &stray.why);
            tracing::error!(server_id, agent_id, why, "a server belongs to nobody");
        }
        for missing in &swept.missing {
            let (agent_id, server_id) = (missing.agent_id, &missing.server_id);
            tracing::error!(
                %agent_id,
                server_id,
                "the server of this agent was not found at Hetzner: it was removed by hand, or its \
                 labels were changed"
            );
        }
        for job in swept.queued {
            tracing::warn!(job_id = %job, "a server of an agent that is over is to be removed");
            self.nudge(job, now, now).await;
        }
    }

    fn reply(&self, accepted: AcceptedReport, claims: bool) -> Reply {
        let (agent_id, kind) = accepted.about.unzip();
        let spec = Spec {
            agent_id: agent_id.map(|agent_id| agent_id.to_string()),
            operation: kind.map(operation),
            installation: Some(self.installation.clone()),
            agent_name: accepted.name,
            region: accepted.region,
            jobs: accepted.jobs.iter().map(JobId::to_string).collect(),
            servers: accepted.servers,
            devices: accepted.devices,
            ..Spec::default()
        };
        Reply {
            go_on: accepted.go_on,
            spec: claims.then_some(spec),
            inventory: claims && accepted.inventory,
            ..Reply::default()
        }
    }

    /// Nudges dispatch. A report is not refused when that fails: it is applied, its repeat would
    /// change nothing, and every other statement notices what is overdue.
    async fn tell(&self, accepted: &AcceptedReport, now: Timestamp) {
        if let Some(Waiting { job_id, due }) = accepted.next {
            self.nudge(job_id, due, now).await;
        }
    }

    async fn nudge(&self, job_id: JobId, due: Timestamp, now: Timestamp) {
        let sent = self
            .nudges
            .send(&Nudge::job(job_id, due), wait(due, now))
            .await;
        if let Err(error) = sent {
            tracing::error!(%job_id, %error, "a job is queued, and dispatch could not be told");
        }
    }
}

/// Timers come a little late, so that what they watch is surely due.
fn wait(due: Timestamp, now: Timestamp) -> Duration {
    if due <= now {
        Duration::ZERO
    } else {
        due.plus(TIMER_SLACK).since(now)
    }
}

fn operation(kind: JobKind) -> Operation {
    match kind {
        JobKind::Provision => Operation::Provision,
        JobKind::Configure => Operation::Configure,
        JobKind::Stop => Operation::Stop,
        JobKind::Start => Operation::Start,
        JobKind::Destroy => Operation::Destroy,
    }
}

fn unavailable(job_id: JobId, error: &StoreError) -> ApiError {
    tracing::error!(%job_id, %error, "the report could not be applied");
    if error.is_unavailable() {
        ApiError::unavailable("the database is not available")
    } else {
        ApiError::internal("the report could not be applied")
    }
}
