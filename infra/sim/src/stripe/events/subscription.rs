//! Subscriptions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{EventHead, before_basil, with};

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
    /// Its invoices are not collected; this does not change the status.
    pub collection_paused: bool,
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
            collection_paused: false,
            created,
        }
    }

    fn object(&self, head: &EventHead) -> Value {
        let ended = (self.status == "canceled").then_some(head.created);
        let period_end = self.created.saturating_add(30 * 86_400);
        let collection = json!({"behavior": "void", "resumes_at": null});
        let object = json!({
            "id": self.id, "object": "subscription", "status": self.status,
            "customer": self.customer, "customer_account": null, "metadata": self.metadata,
            "cancel_at_period_end": self.cancel_at_period_end, "cancel_at": null,
            "canceled_at": ended, "ended_at": ended, "created": self.created,
            "start_date": self.created, "currency": "usd", "livemode": head.livemode,
            "pause_collection": self.collection_paused.then_some(collection),
            "latest_invoice": format!("in_{}", self.id), "collection_method":
            "charge_automatically", "items": {"object": "list", "has_more": false, "data": [{
                "id": "si_sim", "object": "subscription_item", "quantity": 1,
                "current_period_start": self.created, "current_period_end": period_end,
                "price": {"id": "price_sim", "object": "price", "currency": "usd",
                    "unit_amount": 2000},
            }]},
        });
        let more = if before_basil(head) {
            // Since basil the period lies on the items alone.
            json!({"current_period_start": self.created, "current_period_end": period_end})
        } else if self.status == "paused" && head.api_version.as_str() >= "2026-09-30" {
            json!({"status_details": {"paused": {"type": "subscription", "transitioned_at":
                head.created, "subscription": {"type": "pause_requested"}}}})
        } else {
            json!({})
        };
        with(object, more)
    }
}

/// `customer.subscription.{created,updated,deleted,paused,resumed,trial_will_end,
/// pending_update_applied,pending_update_expired}`: `what` is the last word.
pub fn subscription_event(head: &EventHead, what: &str, subscription: &Subscription) -> Value {
    let kind = format!("customer.subscription.{what}");
    head.around(&kind, &subscription.object(head))
}
