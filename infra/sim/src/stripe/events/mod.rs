//! Whole Stripe events: snapshot events in the shape of late 2026 and before, and a thin one.
//!
//! Builders give [`Value`]s; what is signed and sent are the bytes the embedder makes of them.
//! Shapes follow Stripe's API reference and its Python library's typed objects.

mod charge;
mod every;
mod invoice;
mod session;
mod subscription;

use serde_json::{Value, json};

pub use charge::{
    charge_dispute, charge_dispute_event, charge_event, charge_refunded, early_fraud_warning,
    payment_intent_event, refund_event,
};
pub use every::every_kind;
pub use invoice::{
    Invoice, InvoiceShape, invoice_event, invoice_paid, invoice_payment_failed,
    invoice_payment_paid,
};
pub use session::{
    CheckoutSession, PaymentStatus, checkout_session_async_payment_failed,
    checkout_session_async_payment_succeeded, checkout_session_completed, checkout_session_expired,
    checkout_session_setup_completed,
};
pub use subscription::{Subscription, subscription_event};

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

    /// The same before 2025-03-31.basil, when invoice, charge and payment intent still named
    /// each other.
    pub fn before_basil(id: &str, created: i64) -> Self {
        Self {
            api_version: "2024-09-30.acacia".to_owned(),
            ..Self::new(id, created)
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

/// Whether the version is older than 2025-03-31.basil.
fn before_basil(head: &EventHead) -> bool {
    head.api_version.as_str() < "2025-03-31"
}

/// Puts more fields into an object.
fn with(mut object: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (object.as_object_mut(), more) {
        fields.extend(more);
    }
    object
}
