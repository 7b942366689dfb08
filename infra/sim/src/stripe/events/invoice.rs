//! Invoices and their payments.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{EventHead, with};

/// The shapes in which an invoice names its subscription and what paid it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceShape {
    /// Since basil: `parent.subscription_details.subscription`, and no word of what paid it.
    Parent,
    /// The same, with the list `payments`, which Stripe sends where it was asked for.
    Payments,
    /// Before basil: top-level `subscription`, `charge` and `payment_intent`.
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
    /// `pi_…` that pays it; its charge is the `ch_…` of the same name.
    pub payment_intent: Option<String>,
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
            payment_intent: None,
            metadata: BTreeMap::new(),
            shape: InvoiceShape::Parent,
        }
    }

    fn object(&self, head: &EventHead, status: &str) -> Value {
        let amount_paid = if status == "paid" { 2000 } else { 0 };
        let object = json!({
            "id": self.id, "object": "invoice", "status": status,
            "billing_reason": self.billing_reason, "customer": self.customer,
            "customer_account": null, "currency": "usd", "amount_due": 2000,
            "amount_paid": amount_paid, "created": head.created,
            "livemode": head.livemode, "metadata": {},
            "attempt_count": 1, "lines": {"object": "list", "data": [], "has_more": false},
        });
        with(object, self.naming(head, status))
    }

    /// The fields that differ between the shapes.
    fn naming(&self, head: &EventHead, status: &str) -> Value {
        let details = json!({"subscription": self.subscription, "metadata": self.metadata});
        let parent = json!({"type": "subscription_details", "quote_details": null,
            "subscription_details": details});
        match self.shape {
            InvoiceShape::Parent => json!({"parent": parent}),
            InvoiceShape::Payments => {
                let intent = self.payment_intent.iter();
                let paid: Vec<Value> = intent
                    .map(|intent| payment_object(head, &self.id, intent, status))
                    .collect();
                let payments = json!({"object": "list", "data": paid, "has_more": false});
                json!({"parent": parent, "payments": payments})
            }
            InvoiceShape::TopLevel => json!({
                "subscription": self.subscription, "paid": status == "paid",
                "subscription_details": {"metadata": self.metadata},
                "payment_intent": self.payment_intent,
                "charge": self.payment_intent.as_ref().map(|intent| format!("ch_{intent}")),
            }),
        }
    }
}

fn payment_object(head: &EventHead, invoice: &str, intent: &str, status: &str) -> Value {
    let paid = status == "paid";
    json!({
        "id": format!("inpay_{intent}"), "object": "invoice_payment", "invoice": invoice,
        "amount_paid": paid.then_some(2000), "amount_requested": 2000, "created": head.created,
        "currency": "usd", "is_default": true, "livemode": head.livemode, "status": status,
        "payment": {"type": "payment_intent", "payment_intent": intent},
        "status_transitions": {"canceled_at": null, "paid_at": paid.then_some(head.created)},
    })
}

/// `invoice.…`: `what` is the last word, `status` the invoice's (`draft`, `open`, `paid`,
/// `uncollectible`, `void`).
pub fn invoice_event(head: &EventHead, (what, status): (&str, &str), invoice: &Invoice) -> Value {
    head.around(&format!("invoice.{what}"), &invoice.object(head, status))
}

/// `invoice.paid`
pub fn invoice_paid(head: &EventHead, invoice: &Invoice) -> Value {
    invoice_event(head, ("paid", "paid"), invoice)
}

/// `invoice.payment_failed`
pub fn invoice_payment_failed(head: &EventHead, invoice: &Invoice) -> Value {
    invoice_event(head, ("payment_failed", "open"), invoice)
}

/// `invoice_payment.paid`, which there is since basil: the payment intent paid the invoice.
pub fn invoice_payment_paid(head: &EventHead, invoice: &str, payment_intent: &str) -> Value {
    let object = payment_object(head, invoice, payment_intent, "paid");
    head.around("invoice_payment.paid", &object)
}
