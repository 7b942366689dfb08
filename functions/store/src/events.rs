//! Records what Stripe says.

use crate::{
    Store, StoreError,
    row::{get, maybe_time, time},
    statement,
};
use domain::{AgentId, EventId, JobId, News, SubscriptionId, Timestamp};

/// A verified event and what it says.
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
    /// The body as received; JSON.
    pub payload: String,
    /// The subscription it is about (`sub_…`, or `cs_…` for a one-off payment), if it names one.
    pub subscription_id: Option<SubscriptionId>,
    /// Ids of charge, payment intent and invoice that it names. Events are joined by them with
    /// each other and with the subscription. Each 1 to 255 characters.
    pub references: Vec<String>,
    /// What it says about the money; none when it is only stored.
    pub news: Option<News>,
    /// The dispute it is about.
    pub dispute: Option<String>,
    /// The checkout it is about.
    pub checkout: Option<CheckoutRecord>,
    /// One line for people, shown on the agent while nothing is paid.
    pub reason: Option<String>,
    /// A fresh id for a job that may follow.
    pub fresh_job_id: JobId,
}

/// A checkout session.
#[derive(Debug, Clone)]
pub struct CheckoutRecord {
    /// `cs_…`.
    pub session_id: String,
    /// When the session was made, Unix seconds.
    pub made_at: i64,
    /// True: subscription and agent are bound to each other. False: it came to nothing, which is
    /// told on a draft that waits for it.
    pub binds: bool,
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
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventOutcome {
    /// The agent that belongs to the subscription.
    pub agent_id: Option<AgentId>,
    /// The agent's job that waits to be dispatched: nudge for it.
    pub queued_job_id: Option<JobId>,
    /// The agent that the checkout named although it belongs to another live subscription.
    pub conflict: Option<AgentId>,
    /// The event was known already.
    pub duplicate: bool,
    /// Something's due time is past: nudge dispatch.
    pub any_due: bool,
}

/// A checkout session that was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkout {
    /// Its agent.
    pub agent_id: AgentId,
    /// When the session was made.
    pub made_at: Timestamp,
}

impl Store {
    /// Stores an event and applies what it says to subscription, agent and job at once, in one
    /// round trip. A repeat changes nothing and tells again which job is queued.
    ///
    /// # Errors
    /// When the database does not take it; nothing is stored then.
    pub async fn record_event(
        &self,
        event: &EventRecord,
        now: Timestamp,
    ) -> Result<EventOutcome, StoreError> {
        let from = &statement::RECORD_EVENT;
        let checkout = event.checkout.as_ref();
        let row = self
            .query_one(
                from,
                &[
                    &event.event_id.as_str(),
                    &event.kind,
                    &event.created,
                    &event.livemode,
                    &event.payload,
                    &event.subscription_id.as_ref().map(SubscriptionId::as_str),
                    &event.references,
                    &event.news.map(News::as_str),
                    &event.dispute,
                    &checkout.map(|checkout| &*checkout.session_id),
                    &checkout.map(|checkout| checkout.made_at),
                    &checkout.is_some_and(|checkout| checkout.binds),
                    &checkout.map(|checkout| checkout.agent_id.0),
                    &checkout.map(|checkout| checkout.other_agent_id.0),
                    &checkout.and_then(|checkout| checkout.reference.as_deref()),
                    &checkout.map(|checkout| &*checkout.region),
                    &checkout.map(|checkout| &*checkout.name),
                    &event.reason,
                    &event.fresh_job_id.0,
                    &time(now),
                ],
            )
            .await?;
        Ok(EventOutcome {
            agent_id: get::<Option<_>>(from, &row, "agent_id")?.map(AgentId),
            queued_job_id: get::<Option<_>>(from, &row, "queued_job_id")?.map(JobId),
            conflict: get::<Option<_>>(from, &row, "conflict_agent_id")?.map(AgentId),
            duplicate: get(from, &row, "duplicate")?,
            any_due: get(from, &row, "any_due")?,
        })
    }

    /// The agent of a checkout session, none when nothing was heard of the session yet; and
    /// whether something's due time is past, so that dispatch is to be nudged.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn checkout(
        &self,
        session_id: &str,
        now: Timestamp,
    ) -> Result<(Option<Checkout>, bool), StoreError> {
        let from = &statement::CHECKOUT;
        let row = self.query_one(from, &[&session_id, &time(now)]).await?;
        let agent = get::<Option<_>>(from, &row, "agent_id")?.map(AgentId);
        let made_at = maybe_time(from, &row, "made_at")?;
        let checkout = agent
            .zip(made_at)
            .map(|(agent_id, made_at)| Checkout { agent_id, made_at });
        Ok((checkout, get(from, &row, "any_due")?))
    }
}
