//! Records what Stripe says.

use crate::{Store, StoreError, statement};
use domain::{AgentId, EventId, JobId, Payment, SubscriptionId, Timestamp};
use std::time::SystemTime;
use tokio_postgres::Row;

/// A verified event.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// Stripe's id; the same id again is a duplicate.
    pub event_id: EventId,
    /// Stripe's type.
    pub kind: String,
    /// Stripe's `created`, Unix seconds.
    pub created: i64,
    /// Whether it is real money.
    pub livemode: bool,
    /// The subscription it is about, when it names one.
    pub subscription_id: Option<SubscriptionId>,
    /// The body as received; JSON.
    pub payload: String,
}

/// What became of an event that changes nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventOutcome {
    /// It was known already.
    pub duplicate: bool,
    /// Some job's due time is past: nudge dispatch.
    pub any_due: bool,
}

/// An event that says what was paid for which subscription.
#[derive(Debug, Clone)]
pub struct PaymentRecord {
    /// The event itself. Its `subscription_id` is not read; the one below counts.
    pub event: EventRecord,
    /// What is paid.
    pub subscription_id: SubscriptionId,
    /// What the event says about the money.
    pub payment: Payment,
    /// The agent the checkout names, or a fresh id when it names none.
    pub agent_id: AgentId,
    /// A fresh id, used when that agent belongs to another subscription.
    pub other_agent_id: AgentId,
    /// What the checkout named, when that is no agent id.
    pub reference: Option<String>,
    /// Where the customer wants the machine; lower-case letters, digits, hyphens.
    pub region: String,
    /// The agent's name for people; 1 to 200 characters.
    pub name: String,
    /// A fresh id for the job that follows.
    pub job_id: JobId,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentOutcome {
    /// The agent that belongs to the subscription.
    pub agent_id: AgentId,
    /// The job that waits to be dispatched: nudge for it.
    pub queued_job_id: Option<JobId>,
    /// The agent that the checkout named although it belongs to another live subscription.
    pub conflict: Option<AgentId>,
    /// The event was known already.
    pub duplicate: bool,
    /// Some job's due time is past: nudge dispatch.
    pub any_due: bool,
}

impl Store {
    /// Stores an event that changes nothing yet.
    ///
    /// # Errors
    /// When the database does not take it; nothing is stored then.
    pub async fn record_event(
        &self,
        event: &EventRecord,
        now: Timestamp,
    ) -> Result<EventOutcome, StoreError> {
        let subscription = event.subscription_id.as_ref().map(SubscriptionId::as_str);
        let row = self
            .query_one(
                &statement::RECORD_EVENT,
                &[
                    &event.event_id.as_str(),
                    &event.kind,
                    &event.created,
                    &event.livemode,
                    &subscription,
                    &event.payload,
                    &time(now),
                ],
            )
            .await?;
        Ok(EventOutcome {
            duplicate: get(&statement::RECORD_EVENT, &row, "duplicate")?,
            any_due: get(&statement::RECORD_EVENT, &row, "any_due")?,
        })
    }

    /// Stores event, subscription, agent and job at once, in one round trip. A repeat changes
    /// nothing and answers the same.
    ///
    /// # Errors
    /// When the database does not take it; nothing is stored then.
    pub async fn record_payment(
        &self,
        payment: &PaymentRecord,
        now: Timestamp,
    ) -> Result<PaymentOutcome, StoreError> {
        let event = &payment.event;
        let row = self
            .query_one(
                &statement::RECORD_PAYMENT,
                &[
                    &event.event_id.as_str(),
                    &event.kind,
                    &event.created,
                    &event.livemode,
                    &event.payload,
                    &payment.subscription_id.as_str(),
                    &payment.payment.as_str(),
                    &payment.agent_id.0,
                    &payment.other_agent_id.0,
                    &payment.reference,
                    &payment.region,
                    &payment.name,
                    &payment.job_id.0,
                    &time(now),
                ],
            )
            .await?;
        let from = &statement::RECORD_PAYMENT;
        Ok(PaymentOutcome {
            agent_id: AgentId(get(from, &row, "agent_id")?),
            queued_job_id: get::<Option<_>>(from, &row, "queued_job_id")?.map(JobId),
            conflict: get::<Option<_>>(from, &row, "conflict_agent_id")?.map(AgentId),
            duplicate: get(from, &row, "duplicate")?,
            any_due: get(from, &row, "any_due")?,
        })
    }
}

/// A point in time as the driver takes it.
pub(crate) fn time(at: Timestamp) -> SystemTime {
    let micros = at.micros();
    let distance = std::time::Duration::from_micros(micros.unsigned_abs());
    if micros < 0 {
        SystemTime::UNIX_EPOCH - distance
    } else {
        SystemTime::UNIX_EPOCH + distance
    }
}

/// A point in time from a row.
pub(crate) fn timestamp(at: SystemTime) -> Timestamp {
    let micros =
        |distance: std::time::Duration| i64::try_from(distance.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => micros(before.duration()).saturating_neg(),
    })
}

/// A column of a row, with the statement's name in the error.
pub(crate) fn get<'row, T: tokio_postgres::types::FromSql<'row>>(
    from: &statement::Statement,
    row: &'row Row,
    column: &str,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Row {
        statement: from.name,
        why: error.to_string(),
    })
}

/// A word of the domain in a row.
pub(crate) fn word<T: std::str::FromStr<Err: std::fmt::Display>>(
    from: &statement::Statement,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|error: T::Err| StoreError::Row {
        statement: from.name,
        why: error.to_string(),
    })
}
