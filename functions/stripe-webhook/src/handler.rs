//! One event: verified on its raw bytes, read, recorded in one statement, and dispatch nudged.
//! It must not know how any of the four is done.

use crate::{
    event::{Event, Malformed, Meaning, Paid},
    signature::{Distrust, SIGNATURE_HEADER, Verifier},
};
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use domain::{AgentId, JobId, Payment, Timestamp};
use host::{ApiError, Clock, Entropy, Nudge, Nudges, read_body};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use store::{EventRecord, PaymentRecord, Store, StoreError};

/// Largest event that is read, in bytes. Stripe's are a few kilobytes.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// What the webhook needs.
#[derive(Debug)]
pub struct Deps {
    /// The database.
    pub store: Store,
    /// The queue.
    pub nudges: Nudges,
    /// The time.
    pub clock: Clock,
    /// New ids.
    pub entropy: Entropy,
    /// The endpoint's secrets.
    pub verifier: Verifier,
    /// Which kind of event is taken; both when `None`.
    pub livemode: Option<bool>,
}

/// The answer to an event that was recorded, or had been before.
#[derive(Debug, Serialize)]
struct Received {
    received: bool,
}

/// What has to be told after an event was recorded.
struct Recorded {
    queued: Option<JobId>,
    any_due: bool,
}

/// The webhook's one path.
pub fn routes(deps: Arc<Deps>) -> Router {
    host::router(
        Router::new()
            .route("/webhooks/stripe", post(receive))
            .with_state(deps),
    )
}

async fn receive(
    State(deps): State<Arc<Deps>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Received>, ApiError> {
    let body = read_body(body, EVENT_BYTES_MAX).await?;
    let now = deps.clock.now();
    let header = signature_header(&headers);
    deps.verifier
        .check(header.as_deref(), &body, now.unix_seconds())
        .map_err(distrusted)?;
    let text = str::from_utf8(&body)
        .map_err(|error| refused(format!("the event is not UTF-8: {error}")))?;
    let event = Event::parse(text)
        .map_err(|Malformed(what)| refused(format!("the event is malformed: {what}")))?;
    right_kind(deps.livemode, &event)?;
    let recorded = deps.record(&event, text, now).await?;
    deps.tell(&event, &recorded, now).await?;
    Ok(Json(Received { received: true }))
}

/// Several headers of the name count as one, joined by commas, as Lambda hands them over.
fn signature_header(headers: &HeaderMap) -> Option<String> {
    let values: Option<Vec<&str>> = headers
        .get_all(SIGNATURE_HEADER)
        .iter()
        .map(|value| value.to_str().ok())
        .collect();
    values
        .filter(|values| !values.is_empty())
        .map(|values| values.join(","))
}

fn distrusted(why: Distrust) -> ApiError {
    tracing::warn!(%why, "event refused");
    ApiError::new(StatusCode::BAD_REQUEST, "bad_signature", why.to_string())
}

fn refused(what: impl Into<String>) -> ApiError {
    let error = ApiError::malformed(what);
    tracing::error!(why = error.message(), "a signed event was refused");
    error
}

/// A test event at the live endpoint would give an agent away; the other way round nobody would
/// notice that real customers get nothing.
fn right_kind(wanted: Option<bool>, event: &Event) -> Result<(), ApiError> {
    if wanted.is_none() || wanted == event.livemode {
        return Ok(());
    }
    let message = match event.livemode {
        Some(true) => "a live event came to an endpoint with STRIPE_LIVEMODE=false",
        Some(false) => "a test event came to an endpoint with STRIPE_LIVEMODE=true",
        None => "the event does not say livemode, and STRIPE_LIVEMODE is set",
    };
    tracing::error!(event_id = %event.id, kind = event.kind, "{message}");
    Err(ApiError::new(
        StatusCode::BAD_REQUEST,
        "wrong_livemode",
        message,
    ))
}

impl Deps {
    async fn record(
        &self,
        event: &Event,
        payload: &str,
        now: Timestamp,
    ) -> Result<Recorded, ApiError> {
        let record = EventRecord {
            event_id: event.id.clone(),
            kind: event.kind.clone(),
            created: event.created.unwrap_or_else(|| now.unix_seconds()),
            livemode: event.livemode.unwrap_or(false),
            subscription_id: event.subscription.clone(),
            payload: payload.to_owned(),
        };
        match &event.meaning {
            Meaning::Paid(paid) => self.record_payment(record, paid, now).await,
            Meaning::Thin | Meaning::Other => self.record_other(record, &event.meaning, now).await,
        }
    }

    async fn record_other(
        &self,
        record: EventRecord,
        meaning: &Meaning,
        now: Timestamp,
    ) -> Result<Recorded, ApiError> {
        let outcome = self.store.record_event(&record, now).await;
        let outcome = outcome.map_err(|error| lost(&record, &error))?;
        let (event_id, kind) = (&record.event_id, &record.kind);
        match meaning {
            // It carries no object and we hold no key to fetch it: the endpoint is set up wrongly.
            Meaning::Thin => tracing::error!(%event_id, kind, "a thin event was stored, unused"),
            Meaning::Paid(_) | Meaning::Other => {
                tracing::info!(%event_id, kind, duplicate = outcome.duplicate, "event stored");
            }
        }
        Ok(Recorded {
            queued: None,
            any_due: outcome.any_due,
        })
    }

    async fn record_payment(
        &self,
        event: EventRecord,
        paid: &Paid,
        now: Timestamp,
    ) -> Result<Recorded, ApiError> {
        let fresh = || self.entropy.uuid_v7(now);
        let payment = PaymentRecord {
            subscription_id: paid.subscription.clone(),
            payment: Payment::Active,
            agent_id: paid.agent.unwrap_or_else(|| AgentId(fresh())),
            other_agent_id: AgentId(fresh()),
            reference: paid.reference.clone(),
            region: paid.region.clone(),
            name: paid.name.clone(),
            job_id: JobId(fresh()),
            event,
        };
        let outcome = self.store.record_payment(&payment, now).await;
        let outcome = outcome.map_err(|error| lost(&payment.event, &error))?;
        let (event_id, kind) = (&payment.event.event_id, &payment.event.kind);
        tracing::info!(
            %event_id, kind, agent_id = %outcome.agent_id, duplicate = outcome.duplicate,
            subscription_id = %payment.subscription_id, "payment recorded"
        );
        if let Some(bound) = outcome.conflict {
            tracing::warn!(
                %event_id, bound = %bound, agent_id = %outcome.agent_id,
                "the agent named belongs to another subscription; this payment got its own"
            );
        }
        Ok(Recorded {
            queued: outcome.queued_job_id,
            any_due: outcome.any_due,
        })
    }

    /// Without its nudge a job could wait for long, and Stripe's next call is the only timer
    /// there is: so the event counts as failed, and its repeat nudges again.
    async fn tell(
        &self,
        event: &Event,
        recorded: &Recorded,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(job) = recorded.queued else {
            self.nudges.remind(recorded.any_due, now).await;
            return Ok(());
        };
        let sent = self
            .nudges
            .send(&Nudge::job(job, now), Duration::ZERO)
            .await;
        sent.map_err(|error| {
            tracing::error!(event_id = %event.id, job_id = %job, %error, "recorded, not nudged");
            ApiError::unavailable("the event is recorded, but the queue is not available")
        })
    }
}

/// Whatever the database's trouble is, the event must come again.
fn lost(event: &EventRecord, error: &StoreError) -> ApiError {
    let (event_id, kind) = (&event.event_id, &event.kind);
    tracing::error!(%event_id, kind, %error, "the event could not be recorded");
    ApiError::unavailable("the database is not available")
}
