//! One event: verified on its raw bytes, read, recorded in one statement, and dispatch nudged.
//! It must not know how any of the four is done.

use crate::{
    event::{Checkout, Event, Malformed, Notice},
    signature::{Distrust, SIGNATURE_HEADER, Verifier},
};
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use domain::{AgentId, JobId, News, Timestamp};
use host::{ApiError, Clock, Entropy, Nudge, Nudges, read_body};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use store::{CheckoutRecord, EventOutcome, EventRecord, Store, StoreError};

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
    let record = deps.record_of(&event, text, now);
    let outcome = deps.store.record_event(&record, now).await;
    let outcome = outcome.map_err(|error| lost(&event, &error))?;
    log(&event, &outcome);
    deps.tell(&event, &outcome, now).await?;
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
    fn record_of(&self, event: &Event, payload: &str, now: Timestamp) -> EventRecord {
        let meaning = &event.meaning;
        let created = event.created.unwrap_or_else(|| now.unix_seconds());
        let checkout = meaning.checkout.as_ref();
        EventRecord {
            event_id: event.id.clone(),
            kind: event.kind.clone(),
            created,
            livemode: event.livemode.unwrap_or(false),
            payload: payload.to_owned(),
            subscription_id: meaning.subscription.clone(),
            references: meaning.references.clone(),
            news: meaning.news,
            dispute: meaning.dispute.clone(),
            checkout: checkout.map(|checkout| self.checkout_of(checkout, created, now)),
            reason: meaning.reason.map(str::to_owned),
            fresh_job_id: JobId(self.entropy.uuid_v7(now)),
        }
    }

    fn checkout_of(&self, checkout: &Checkout, created: i64, now: Timestamp) -> CheckoutRecord {
        let fresh = || AgentId(self.entropy.uuid_v7(now));
        CheckoutRecord {
            session_id: checkout.session.to_string(),
            made_at: checkout.made_at.unwrap_or(created),
            binds: checkout.binds,
            agent_id: checkout.agent.unwrap_or_else(fresh),
            other_agent_id: fresh(),
            reference: checkout.reference.clone(),
            region: checkout.region.clone(),
            name: checkout.name.clone(),
        }
    }

    /// Without its nudge a job could wait for long, and Stripe's next call is the only timer
    /// there is: so the event counts as failed, and its repeat nudges again.
    async fn tell(
        &self,
        event: &Event,
        outcome: &EventOutcome,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(job) = outcome.queued_job_id else {
            self.nudges.remind(outcome.any_due, now).await;
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

/// Says what an event did, by ids alone: the rest of it is the customer's.
fn log(event: &Event, outcome: &EventOutcome) {
    let (event_id, kind, meaning) = (&event.id, &event.kind, &event.meaning);
    tracing::info!(
        %event_id, kind, duplicate = outcome.duplicate, news = meaning.news.map(News::as_str),
        subscription_id = meaning.subscription.as_ref().map(display),
        agent_id = outcome.agent_id.as_ref().map(display),
        "event recorded"
    );
    if let Some(named) = outcome.conflict {
        tracing::warn!(
            %event_id, %named, agent_id = outcome.agent_id.as_ref().map(display),
            "the agent named belongs to another subscription; this payment got its own"
        );
    }
    if meaning.news.is_some() && meaning.subscription.is_none() && outcome.agent_id.is_none() {
        tracing::warn!(
            %event_id, kind, references = ?meaning.references,
            "nothing tells yet whose payment this is about; it waits for an event that does"
        );
    }
    match &meaning.notice {
        Some(Notice::Thin) => tracing::error!(%event_id, kind, "a thin event was stored, unused"),
        Some(Notice::UnknownStatus(status)) => {
            tracing::error!(%event_id, kind, status, "an unknown status changes nothing");
        }
        Some(Notice::FraudWarning) => tracing::warn!(
            %event_id, kind, references = ?meaning.references,
            "the card's issuer suspects fraud; a dispute is likely"
        ),
        None => {}
    }
}

/// Whatever the database's trouble is, the event must come again.
fn lost(event: &Event, error: &StoreError) -> ApiError {
    let (event_id, kind) = (&event.id, &event.kind);
    tracing::error!(%event_id, kind, %error, "the event could not be recorded");
    ApiError::unavailable("the database is not available")
}
