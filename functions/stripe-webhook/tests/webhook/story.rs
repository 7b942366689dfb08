//! The events of one payment, told by the second at which each happened, in either shape.

use crate::world::NOW;
use domain::AgentId;
use serde_json::Value;
use sim::stripe::{
    CheckoutSession, EventHead, Invoice, InvoiceShape, PaymentStatus, Subscription,
    events::{
        charge_dispute_event, charge_event, checkout_session_async_payment_failed,
        checkout_session_async_payment_succeeded, checkout_session_completed,
        checkout_session_expired, early_fraud_warning, invoice_event, invoice_payment_paid,
        payment_intent_event, refund_event, subscription_event,
    },
};
use uuid::Uuid;

/// The shapes events come in.
pub(crate) const SHAPES: [Shape; 2] = [Shape::Old, Shape::New];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Before basil.
    Old,
    /// Since basil.
    New,
}

/// Whose payment it is. Stories of other numbers share no id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    pub(crate) number: u128,
    pub(crate) shape: Shape,
    /// Paid once, so that there are neither subscription nor invoices.
    pub(crate) one_off: bool,
}

impl Story {
    pub(crate) fn subscribed(number: u128, shape: Shape) -> Self {
        Self {
            number,
            shape,
            one_off: false,
        }
    }

    pub(crate) fn one_off(number: u128, shape: Shape) -> Self {
        Self {
            one_off: true,
            ..Self::subscribed(number, shape)
        }
    }

    pub(crate) fn agent(self) -> String {
        AgentId(Uuid::from_u128(self.number)).to_string()
    }

    pub(crate) fn id(self, kind: &str) -> String {
        format!("{kind}_{}", self.number)
    }

    fn head(self, at: i64, what: &str) -> EventHead {
        let id = format!("evt_{}_{at}_{what}", self.number);
        let created = NOW.unix_seconds() - 10_000 + at;
        match self.shape {
            Shape::Old => EventHead::before_basil(&id, created),
            Shape::New => EventHead::new(&id, created),
        }
    }

    fn session(self, status: PaymentStatus) -> CheckoutSession {
        let (id, made) = (self.id("cs"), NOW.unix_seconds() - 10_100);
        let session = if self.one_off {
            CheckoutSession::payment(&id, &self.id("pi"), made)
        } else {
            CheckoutSession::subscription(&id, &self.id("sub"), made)
        };
        CheckoutSession {
            payment_status: status,
            client_reference_id: Some(self.agent()),
            ..session
        }
    }

    /// `checkout.session.completed`, paid.
    pub(crate) fn checkout(self, at: i64) -> Value {
        let head = self.head(at, "checkout");
        checkout_session_completed(&head, &self.session(PaymentStatus::Paid))
    }

    /// `checkout.session.completed`, the money still on its way.
    pub(crate) fn unpaid_checkout(self, at: i64) -> Value {
        let head = self.head(at, "checkout");
        checkout_session_completed(&head, &self.session(PaymentStatus::Unpaid))
    }

    /// The delayed money came, or will not come.
    pub(crate) fn delayed(self, at: i64, came: bool) -> Value {
        let head = self.head(at, if came { "came" } else { "failed" });
        let session = self.session(PaymentStatus::Unpaid);
        if came {
            checkout_session_async_payment_succeeded(&head, &session)
        } else {
            checkout_session_async_payment_failed(&head, &session)
        }
    }

    /// `checkout.session.expired`
    pub(crate) fn expired(self, at: i64) -> Value {
        let session = self.session(PaymentStatus::Unpaid);
        checkout_session_expired(&self.head(at, "expired"), &session)
    }

    /// `customer.subscription.<what>` with a status.
    pub(crate) fn subscription(self, at: i64, what: &str, status: &str) -> Value {
        let subscription = Subscription::new(&self.id("sub"), status, NOW.unix_seconds() - 10_000);
        subscription_event(&self.head(at, what), what, &subscription)
    }

    /// `invoice.<what>`, paid or open, of the first period or another.
    pub(crate) fn invoice(self, at: i64, what: &str, billing_reason: &str) -> Value {
        // The one that session and subscription name.
        let id = format!("in_{}", self.id("sub"));
        let shape = match self.shape {
            Shape::Old => InvoiceShape::TopLevel,
            Shape::New => InvoiceShape::Parent,
        };
        let invoice = Invoice {
            shape,
            payment_intent: Some(self.id("pi")),
            ..Invoice::new(&id, &self.id("sub"), billing_reason)
        };
        let status = if what == "paid" { "paid" } else { "open" };
        invoice_event(&self.head(at, what), (what, status), &invoice)
    }

    /// `payment_intent.succeeded`: names the charge, and the invoice in the older shape.
    pub(crate) fn intent(self, at: i64) -> Value {
        let head = self.head(at, "intent");
        let invoice = format!("in_{}", self.id("sub"));
        let invoice = (!self.one_off).then_some(&*invoice);
        payment_intent_event(&head, "succeeded", (&self.id("pi"), invoice))
    }

    /// What joins invoice and payment intent: an event of its own since basil.
    pub(crate) fn joining(self, at: i64) -> Value {
        match self.shape {
            Shape::Old => self.intent(at),
            Shape::New => {
                let invoice = format!("in_{}", self.id("sub"));
                invoice_payment_paid(&self.head(at, "payment"), &invoice, &self.id("pi"))
            }
        }
    }

    /// `charge.<what>` with so much of 2000 given back.
    pub(crate) fn charge(self, at: i64, what: &str, refunded: i64) -> Value {
        let head = self.head(at, &format!("charge.{what}.{refunded}"));
        let invoice = format!("in_{}", self.id("sub"));
        let invoice = (!self.one_off).then_some(&*invoice);
        charge_event(&head, what, (&self.id("pi"), invoice), refunded)
    }

    /// `refund.<what>`
    pub(crate) fn refund(self, at: i64, what: &str) -> Value {
        let head = self.head(at, &format!("refund.{what}"));
        refund_event(&head, what, &self.id("pi"), 2000)
    }

    /// `charge.dispute.<what>` with a status.
    pub(crate) fn dispute(self, at: i64, what: &str, status: &str) -> Value {
        let head = self.head(at, &format!("dispute.{what}"));
        charge_dispute_event(&head, what, &self.id("pi"), status)
    }

    /// `radar.early_fraud_warning.created`
    pub(crate) fn warning(self, at: i64) -> Value {
        early_fraud_warning(&self.head(at, "warning"), "created", &self.id("pi"))
    }
}
