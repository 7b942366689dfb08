//! Whole Stripe events: snapshot events in the shape of late 2026 and before, and a thin one.
//!
//! Builders give [`Value`]s; what is signed and sent are the bytes the embedder makes of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The envelope of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    /// `evt_…`
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// A real payment, not a test.
    pub livemode: bool,
    /// The version the endpoint is pinned to.
    pub api_version: String,
}

impl EventHead {
    /// A test-mode event in the current version.
    pub fn new(id: &str, created: i64) -> Self {
        Self {
            id: id.to_owned(),
            created,
            livemode: false,
            api_version: "2026-10-28.endive".to_owned(),
        }
    }

    /// The snapshot event of any type around any object.
    pub fn around(&self, kind: &str, object: &Value) -> Value {
        json!({
            "id": self.id, "object": "event", "api_version": self.api_version,
            "created": self.created, "livemode": self.livemode, "pending_webhooks": 1,
            "request": {"id": "req_sim", "idempotency_key": null}, "type": kind,
            "data": {"object": object},
        })
    }

    /// A thin notification (v2): it names the object and does not carry it.
    pub fn thin(&self, kind: &str, (object_type, object_id): (&str, &str)) -> Value {
        json!({
            "id": self.id, "object": "v2.core.event", "type": format!("v1.{kind}"),
            "created": crate::clock::zulu(self.created), "livemode": self.livemode,
            "context": null, "reason": null, "related_object": {
                "id": object_id, "type": object_type,
                "url": format!("/v1/{object_type}s/{object_id}"),
            },
        })
    }
}

/// Whether the money is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentStatus {
    /// It is.
    Paid,
    /// Not yet: a delayed payment method.
    Unpaid,
    /// Nothing to pay: trial, full discount, zero amount.
    NoPaymentRequired,
}

impl PaymentStatus {
    /// Stripe's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Unpaid => "unpaid",
            Self::NoPaymentRequired => "no_payment_required",
        }
    }
}

/// A Checkout Session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutSession {
    /// `cs_…`
    pub id: String,
    /// `sub_…`; none makes it a one-off payment (`mode: payment`).
    pub subscription: Option<String>,
    /// `cus_…`
    pub customer: Option<String>,
    /// `pi_…` of a one-off payment.
    pub payment_intent: Option<String>,
    /// Whether the money is there.
    pub payment_status: PaymentStatus,
    /// What the shop put in; a buyer can change it on a Payment Link.
    pub client_reference_id: Option<String>,
    /// Of the session alone: Stripe does not copy it to the subscription.
    pub metadata: BTreeMap<String, String>,
    /// The buyer's address.
    pub email: Option<String>,
    /// Smallest unit of the currency.
    pub amount_total: i64,
    /// Unix seconds.
    pub created: i64,
}

impl CheckoutSession {
    /// A paid session of a subscription.
    pub fn subscription(id: &str, subscription: &str, created: i64) -> Self {
        Self {
            id: id.to_owned(),
            subscription: Some(subscription.to_owned()),
            customer: Some("cus_sim".to_owned()),
            payment_intent: None,
            payment_status: PaymentStatus::Paid,
            client_reference_id: None,
            metadata: BTreeMap::new(),
            email: Some("buyer@example.com".to_owned()),
            amount_total: 2000,
            created,
        }
    }

    /// The session object with the given `status`.
    fn object(&self, status: &str, livemode: bool) -> Value {
        let subscribed = self.subscription.is_some();
        let invoice = self.subscription.as_ref().map(|id| format!("in_{id}"));
        json!({
            "id": self.id, "object": "checkout.session",
            "mode": if subscribed { "subscription" } else { "payment" }, "status": status,
            "payment_status": self.payment_status.as_str(),
            "client_reference_id": self.client_reference_id, "metadata": self.metadata,
            "customer": self.customer, "customer_account": null,
            "subscription": self.subscription, "invoice": invoice,
            "payment_intent": self.payment_intent, "amount_total": self.amount_total,
            "amount_subtotal": self.amount_total, "currency": "usd",
            "customer_details": {"email": self.email, "name": null, "phone": null},
            "customer_email": null, "created": self.created,
            "expires_at": self.created.saturating_add(86_400), "livemode": livemode,
            "payment_method_types": ["card"], "success_url": "https://shop.example.com/thanks",
        })
    }
}

/// `checkout.session.completed`, with the session's own payment status.
pub fn checkout_session_completed(head: &EventHead, session: &CheckoutSession) -> Value {
    let object = session.object("complete", head.livemode);
    head.around("checkout.session.completed", &object)
}

/// `checkout.session.async_payment_succeeded`: the delayed money came.
pub fn checkout_session_async_payment_succeeded(
    head: &EventHead,
    session: &CheckoutSession,
) -> Value {
    let paid = CheckoutSession {
        payment_status: PaymentStatus::Paid,
        ..session.clone()
    };
    let object = paid.object("complete", head.livemode);
    head.around("checkout.session.async_payment_succeeded", &object)
}

/// `checkout.session.async_payment_failed`: the delayed money will not come.
pub fn checkout_session_async_payment_failed(head: &EventHead, session: &CheckoutSession) -> Value {
    let unpaid = CheckoutSession {
        payment_status: PaymentStatus::Unpaid,
        ..session.clone()
    };
    let object = unpaid.object("complete", head.livemode);
    head.around("checkout.session.async_payment_failed", &object)
}

/// `checkout.session.expired`: nobody paid in time.
pub fn checkout_session_expired(head: &EventHead, session: &CheckoutSession) -> Value {
    let unpaid = CheckoutSession {
        payment_status: PaymentStatus::Unpaid,
        ..session.clone()
    };
    let object = unpaid.object("expired", head.livemode);
    head.around("checkout.session.expired", &object)
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// `active`, `trialing`, `past_due`, `canceled`, `unpaid`, `paused`, `incomplete`, …
    pub status: String,
    /// `cus_…`
    pub customer: String,
    /// Its own; the session's is not copied here.
    pub metadata: BTreeMap<String, String>,
    /// Ends with the period.
    pub cancel_at_period_end: bool,
    /// Unix seconds.
    pub created: i64,
}

impl Subscription {
    /// A subscription in a status.
    pub fn new(id: &str, status: &str, created: i64) -> Self {
        Self {
            id: id.to_owned(),
            status: status.to_owned(),
            customer: "cus_sim".to_owned(),
            metadata: BTreeMap::new(),
            cancel_at_period_end: false,
            created,
        }
    }

    fn object(&self, head: &EventHead) -> Value {
        let ended = (self.status == "canceled").then_some(head.created);
        let period_end = self.created.saturating_add(30 * 86_400);
        let mut object = json!({
            "id": self.id, "object": "subscription", "status": self.status,
            "customer": self.customer, "customer_account": null, "metadata": self.metadata,
            "cancel_at_period_end": self.cancel_at_period_end, "cancel_at": null,
            "canceled_at": ended, "ended_at": ended, "created": self.created,
            "start_date": self.created, "currency": "usd", "livemode": head.livemode,
            "latest_invoice": format!("in_{}", self.id), "collection_method":
            "charge_automatically", "items": {"object": "list", "has_more": false, "data": [{
                "id": "si_sim", "object": "subscription_item", "quantity": 1,
                "current_period_start": self.created, "current_period_end": period_end,
                "price": {"id": "price_sim", "object": "price", "currency": "usd",
                    "unit_amount": 2000},
            }]},
        });
        let old = before_basil(&head.api_version);
        if let (true, Some(fields)) = (old, object.as_object_mut()) {
            fields.insert("current_period_start".to_owned(), json!(self.created));
            fields.insert("current_period_end".to_owned(), json!(period_end));
        }
        object
    }
}

/// Whether the version is older than 2025-03-31.basil.
fn before_basil(version: &str) -> bool {
    version < "2025-03-31"
}

/// `customer.subscription.{created,updated,deleted,paused,resumed}`: `what` is the last word.
pub fn subscription_event(head: &EventHead, what: &str, subscription: &Subscription) -> Value {
    let kind = format!("customer.subscription.{what}");
    head.around(&kind, &subscription.object(head))
}

/// The two shapes in which an invoice names its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceShape {
    /// Since basil: `parent.subscription_details.subscription`.
    Parent,
    /// Before basil: top-level `subscription`.
    TopLevel,
}

/// An invoice of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// `in_…`
    pub id: String,
    /// `sub_…`
    pub subscription: String,
    /// `cus_…`
    pub customer: String,
    /// `subscription_create`, `subscription_cycle`, …
    pub billing_reason: String,
    /// The subscription's metadata, as a snapshot.
    pub metadata: BTreeMap<String, String>,
    /// How the subscription is named.
    pub shape: InvoiceShape,
}

impl Invoice {
    /// An invoice in the current shape.
    pub fn new(id: &str, subscription: &str, billing_reason: &str) -> Self {
        Self {
            id: id.to_owned(),
            subscription: subscription.to_owned(),
            customer: "cus_sim".to_owned(),
            billing_reason: billing_reason.to_owned(),
            metadata: BTreeMap::new(),
            shape: InvoiceShape::Parent,
        }
    }

    fn object(&self, head: &EventHead, status: &str) -> Value {
        let paid = status == "paid";
        let mut object = json!({
            "id": self.id, "object": "invoice", "status": status,
            "billing_reason": self.billing_reason, "customer": self.customer,
            "customer_account": null, "currency": "usd", "amount_due": 2000,
            "amount_paid": if paid { 2000 } else { 0 }, "created": head.created,
            "livemode": head.livemode, "metadata": {},
            "attempt_count": 1, "lines": {"object": "list", "data": [], "has_more": false},
        });
        let details = json!({"subscription": self.subscription, "metadata": self.metadata});
        if let Some(fields) = object.as_object_mut() {
            match self.shape {
                InvoiceShape::Parent => {
                    let parent = json!({"type": "subscription_details", "quote_details": null,
                        "subscription_details": details});
                    fields.insert("parent".to_owned(), parent);
                }
                InvoiceShape::TopLevel => {
                    fields.insert("subscription".to_owned(), json!(self.subscription));
                    let details = json!({"metadata": self.metadata});
                    fields.insert("subscription_details".to_owned(), details);
                    fields.insert("paid".to_owned(), json!(paid));
                }
            }
        }
        object
    }
}

/// `invoice.paid`
pub fn invoice_paid(head: &EventHead, invoice: &Invoice) -> Value {
    head.around("invoice.paid", &invoice.object(head, "paid"))
}

/// `invoice.payment_failed`
pub fn invoice_payment_failed(head: &EventHead, invoice: &Invoice) -> Value {
    head.around("invoice.payment_failed", &invoice.object(head, "open"))
}

/// `charge.refunded`: of 2000, `refunded` was given back.
pub fn charge_refunded(head: &EventHead, payment_intent: &str, refunded: i64) -> Value {
    let object = json!({
        "id": format!("ch_{payment_intent}"), "object": "charge", "amount": 2000,
        "amount_captured": 2000, "amount_refunded": refunded, "refunded": refunded >= 2000,
        "currency": "usd", "customer": "cus_sim", "payment_intent": payment_intent,
        "status": "succeeded", "paid": true, "created": head.created, "metadata": {},
        "livemode": head.livemode,
    });
    head.around("charge.refunded", &object)
}

/// `charge.dispute.created` (status `needs_response`) or `charge.dispute.closed` (`won`, `lost`).
pub fn charge_dispute(head: &EventHead, payment_intent: &str, status: &str) -> Value {
    let closed = ["won", "lost", "warning_closed"].contains(&status);
    let object = json!({
        "id": format!("dp_{payment_intent}"), "object": "dispute", "amount": 2000,
        "charge": format!("ch_{payment_intent}"), "payment_intent": payment_intent,
        "currency": "usd", "reason": "fraudulent", "status": status, "created": head.created,
        "metadata": {}, "livemode": head.livemode, "is_charge_refundable": false,
    });
    let what = if closed { "closed" } else { "created" };
    head.around(&format!("charge.dispute.{what}"), &object)
}
