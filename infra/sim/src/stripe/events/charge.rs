//! Payment intents, charges, refunds, disputes and warnings. The charge of `pi_x` is `ch_pi_x`.

use serde_json::{Value, json};

use super::{EventHead, before_basil, with};

/// `charge.…`: `what` is the last word. Of 2000, `refunded` was given back. Before basil a charge
/// names its invoice, null for a one-off payment.
pub fn charge_event(
    head: &EventHead,
    what: &str,
    (payment_intent, invoice): (&str, Option<&str>),
    refunded: i64,
) -> Value {
    let object = json!({
        "id": format!("ch_{payment_intent}"), "object": "charge", "amount": 2000,
        "amount_captured": 2000, "amount_refunded": refunded, "refunded": refunded >= 2000,
        "currency": "usd", "customer": "cus_sim", "payment_intent": payment_intent,
        "status": "succeeded", "paid": true, "created": head.created, "metadata": {},
        "livemode": head.livemode,
    });
    let named = if before_basil(head) {
        json!({"invoice": invoice})
    } else {
        json!({})
    };
    head.around(&format!("charge.{what}"), &with(object, named))
}

/// `charge.refunded` of a charge without an invoice: of 2000, `refunded` was given back.
pub fn charge_refunded(head: &EventHead, payment_intent: &str, refunded: i64) -> Value {
    charge_event(head, "refunded", (payment_intent, None), refunded)
}

/// `refund.{created,updated,failed}`: `what` is the last word, `amount` what is given back.
pub fn refund_event(head: &EventHead, what: &str, payment_intent: &str, amount: i64) -> Value {
    let status = if what == "failed" {
        "failed"
    } else {
        "succeeded"
    };
    let object = json!({
        "id": format!("re_{payment_intent}"), "object": "refund", "amount": amount,
        "charge": format!("ch_{payment_intent}"), "payment_intent": payment_intent,
        "currency": "usd", "status": status, "reason": null, "created": head.created,
        "metadata": {},
    });
    head.around(&format!("refund.{what}"), &object)
}

/// `charge.dispute.{created,updated,closed,funds_withdrawn,funds_reinstated}`: `what` is the last
/// word; the dispute's status says how it stands.
pub fn charge_dispute_event(
    head: &EventHead,
    what: &str,
    payment_intent: &str,
    status: &str,
) -> Value {
    let object = json!({
        "id": format!("dp_{payment_intent}"), "object": "dispute", "amount": 2000,
        "charge": format!("ch_{payment_intent}"), "payment_intent": payment_intent,
        "currency": "usd", "reason": "fraudulent", "status": status, "created": head.created,
        "metadata": {}, "livemode": head.livemode, "is_charge_refundable": false,
    });
    head.around(&format!("charge.dispute.{what}"), &object)
}

/// `charge.dispute.created` (status `needs_response`) or `charge.dispute.closed` (`won`, `lost`).
pub fn charge_dispute(head: &EventHead, payment_intent: &str, status: &str) -> Value {
    let closed = ["won", "lost", "warning_closed"].contains(&status);
    let what = if closed { "closed" } else { "created" };
    charge_dispute_event(head, what, payment_intent, status)
}

/// `payment_intent.…`: `what` is the last word. Before basil it names its invoice, null for a
/// one-off payment.
pub fn payment_intent_event(
    head: &EventHead,
    what: &str,
    (payment_intent, invoice): (&str, Option<&str>),
) -> Value {
    let object = json!({
        "id": payment_intent, "object": "payment_intent", "amount": 2000, "currency": "usd",
        "customer": "cus_sim", "latest_charge": format!("ch_{payment_intent}"),
        "status": if what == "succeeded" { "succeeded" } else { "processing" },
        "created": head.created, "metadata": {}, "livemode": head.livemode,
    });
    let named = if before_basil(head) {
        json!({"invoice": invoice})
    } else {
        json!({})
    };
    head.around(&format!("payment_intent.{what}"), &with(object, named))
}

/// `radar.early_fraud_warning.{created,updated}`: `what` is the last word.
pub fn early_fraud_warning(head: &EventHead, what: &str, payment_intent: &str) -> Value {
    let object = json!({
        "id": format!("issfr_{payment_intent}"), "object": "radar.early_fraud_warning",
        "actionable": true, "charge": format!("ch_{payment_intent}"), "created": head.created,
        "fraud_type": "made_with_stolen_card", "livemode": head.livemode,
        "payment_intent": payment_intent,
    });
    head.around(&format!("radar.early_fraud_warning.{what}"), &object)
}
