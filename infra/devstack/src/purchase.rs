//! One purchase as Stripe tells it: its first payment, and everything that can follow. All its
//! ids come from the agent's, so whoever knows the agent can go on with its purchase.

use std::sync::atomic::{AtomicI64, Ordering};

use sim::stripe::events::{
    charge_dispute, charge_refunded, checkout_session_completed, invoice_paid,
    invoice_payment_failed, invoice_payment_paid, subscription_event,
};
use sim::stripe::{CheckoutSession, EventHead, Invoice, Subscription};
use uuid::Uuid;

use crate::clock::Clock;
use crate::entropy;

/// One payment to be sent: a new subscription for a new agent.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The agent it is for.
    pub agent_id: Uuid,
    /// `evt_…`
    pub event_id: String,
    /// When it was made, unix milliseconds.
    pub made_unix_ms: u64,
    /// The event, as Stripe would send it.
    pub body: String,
}

/// What can follow a first payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The card is refused at a renewal.
    PaymentFailed,
    /// The money came after all.
    PaidAgain,
    /// The subscription is over.
    Canceled,
    /// All money was given back.
    Refunded,
    /// The customer's bank takes the money back for now.
    Disputed,
    /// The bank gave it back.
    DisputeWon,
    /// The bank keeps it.
    DisputeLost,
}

/// Makes events, each later than the one before, as Stripe counts in whole seconds.
#[derive(Debug)]
pub(crate) struct Teller {
    clock: Clock,
    last: AtomicI64,
}

impl Payment {
    /// The checkout session's id, which Stripe puts into `success_url`.
    pub fn session_id(&self) -> String {
        session_id(self.agent_id)
    }
}

/// `cs_…` of an agent's purchase.
pub(crate) fn session_id(agent_id: Uuid) -> String {
    format!("cs_test_{}", agent_id.simple())
}

impl Teller {
    pub(crate) fn new(clock: Clock) -> Self {
        let last = AtomicI64::new(0);
        Self { clock, last }
    }

    /// A paid checkout session of a new subscription, for a new agent.
    pub(crate) fn payment(&self, region: &str, name: Option<&str>) -> Payment {
        let (agent_id, made_unix_ms) = (entropy::uuid(), self.clock.unix_ms());
        let head = self.head();
        let subscription = subscription_id(agent_id);
        let mut session =
            CheckoutSession::subscription(&session_id(agent_id), &subscription, head.created);
        session.client_reference_id = Some(agent_id.to_string());
        let mut told = |key: &str, value: &str| {
            session.metadata.insert(key.to_owned(), value.to_owned());
        };
        told("agent_id", &agent_id.to_string());
        told("region", region);
        if let Some(name) = name {
            told("agent_name", name);
        }
        let body = checkout_session_completed(&head, &session).to_string();
        Payment {
            agent_id,
            event_id: head.id,
            made_unix_ms,
            body,
        }
    }

    /// The events that tell it, in Stripe's order.
    pub(crate) fn tell(&self, agent_id: Uuid, news: News) -> Vec<String> {
        let (subscription, intent) = (subscription_id(agent_id), intent_id(agent_id));
        let first_invoice = format!("in_{subscription}");
        let renewal = Invoice::new(
            &format!("in_{}", entropy::uuid().simple()),
            &subscription,
            "subscription_cycle",
        );
        let state = |head: &EventHead, what: &str, status: &str| {
            subscription_event(
                head,
                what,
                &Subscription::new(&subscription, status, head.created),
            )
        };
        let head = || self.head();
        // Since basil a charge names no invoice: what paid the first one is told beside it.
        let joined = || {
            let invoice = Invoice::new(&first_invoice, &subscription, "subscription_create");
            [
                invoice_paid(&head(), &invoice),
                invoice_payment_paid(&head(), &first_invoice, &intent),
            ]
        };
        let [paid, paid_by] = match news {
            News::Refunded | News::Disputed => joined().map(Some),
            News::PaymentFailed
            | News::PaidAgain
            | News::Canceled
            | News::DisputeWon
            | News::DisputeLost => [None, None],
        };
        let told = match news {
            News::PaymentFailed => vec![
                invoice_payment_failed(&head(), &renewal),
                state(&head(), "updated", "past_due"),
            ],
            News::PaidAgain => vec![
                invoice_paid(&head(), &renewal),
                state(&head(), "updated", "active"),
            ],
            News::Canceled => vec![state(&head(), "deleted", "canceled")],
            News::Refunded => vec![charge_refunded(&head(), &intent, 2000)],
            News::Disputed => vec![charge_dispute(&head(), &intent, "needs_response")],
            News::DisputeWon => vec![charge_dispute(&head(), &intent, "won")],
            News::DisputeLost => vec![charge_dispute(&head(), &intent, "lost")],
        };
        let all = paid.into_iter().chain(paid_by).chain(told);
        all.map(|event| event.to_string()).collect()
    }

    fn head(&self) -> EventHead {
        let now = self.clock.unix_seconds();
        let after = |last: i64| Some(now.max(last.saturating_add(1)));
        let order = Ordering::Relaxed;
        let last = self.last.fetch_update(order, order, after);
        let created = last.ok().and_then(after).unwrap_or(now);
        EventHead::new(&format!("evt_{}", entropy::uuid().simple()), created)
    }
}

fn subscription_id(agent_id: Uuid) -> String {
    format!("sub_{}", agent_id.simple())
}

fn intent_id(agent_id: Uuid) -> String {
    format!("pi_{}", agent_id.simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn events_of_one_purchase_are_ordered_and_name_it() {
        let teller = Teller::new(Clock::system());
        let payment = teller.payment("us-east", Some("Ada"));
        let mut bodies = vec![payment.body.clone()];
        for news in [
            News::PaymentFailed,
            News::PaidAgain,
            News::Refunded,
            News::Disputed,
            News::DisputeWon,
            News::Canceled,
        ] {
            bodies.extend(teller.tell(payment.agent_id, news));
        }
        let simple = payment.agent_id.simple().to_string();
        let mut created = Vec::new();
        for body in &bodies {
            assert!(body.contains(&simple), "{body}");
            let event: Value = serde_json::from_str(body).unwrap();
            created.push(event["created"].as_i64().unwrap());
        }
        assert!(created.is_sorted_by(|a, b| a < b), "{created:?}");
    }
}
