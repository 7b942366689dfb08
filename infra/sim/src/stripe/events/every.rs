//! One event of every kind that is built here, for whoever checks their shapes.

use serde_json::Value;

use super::{
    CheckoutSession, EventHead, Invoice, InvoiceShape, Subscription, charge_dispute_event,
    charge_event, checkout_session_async_payment_failed, checkout_session_async_payment_succeeded,
    checkout_session_completed, checkout_session_expired, checkout_session_setup_completed,
    early_fraud_warning, invoice_event, invoice_payment_paid, payment_intent_event, refund_event,
    subscription_event,
};

const STATUSES: [(&str, &str); 9] = [
    ("created", "incomplete"),
    ("updated", "active"),
    ("updated", "past_due"),
    ("paused", "paused"),
    ("resumed", "active"),
    ("trial_will_end", "trialing"),
    ("pending_update_applied", "active"),
    ("pending_update_expired", "unpaid"),
    ("deleted", "canceled"),
];

const INVOICES: [(&str, &str); 5] = [
    ("paid", "paid"),
    ("payment_succeeded", "paid"),
    ("payment_failed", "open"),
    ("payment_action_required", "open"),
    ("voided", "void"),
];

const DISPUTES: [(&str, &str); 6] = [
    ("created", "needs_response"),
    ("created", "warning_needs_response"),
    ("updated", "under_review"),
    ("funds_withdrawn", "appeal_under_review"),
    ("funds_reinstated", "won"),
    ("closed", "lost"),
];

/// One event of every kind under this head, about `cs_1`, `sub_1`, `in_1` and `pi_1`, in the
/// shape of the head's version.
pub fn every_kind(head: &EventHead) -> Vec<Value> {
    let mut all = sessions(head);
    let subscription =
        |(what, status)| subscription_event(head, what, &Subscription::new("sub_1", status, 1));
    all.extend(STATUSES.map(subscription));
    let shape = |shape| Invoice {
        shape,
        payment_intent: Some("pi_1".to_owned()),
        ..Invoice::new("in_1", "sub_1", "subscription_cycle")
    };
    let old = super::before_basil(head);
    let shapes = if old {
        vec![shape(InvoiceShape::TopLevel)]
    } else {
        all.push(invoice_payment_paid(head, "in_1", "pi_1"));
        vec![shape(InvoiceShape::Parent), shape(InvoiceShape::Payments)]
    };
    for invoice in shapes {
        all.extend(INVOICES.map(|what| invoice_event(head, what, &invoice)));
    }
    let paid_by = ("pi_1", Some("in_1"));
    all.push(payment_intent_event(head, "succeeded", paid_by));
    all.push(charge_event(head, "succeeded", paid_by, 0));
    all.push(charge_event(head, "refunded", paid_by, 500));
    all.push(charge_event(head, "refunded", paid_by, 2000));
    all.extend(["created", "updated", "failed"].map(|what| refund_event(head, what, "pi_1", 500)));
    let dispute = |(what, status)| charge_dispute_event(head, what, "pi_1", status);
    all.extend(DISPUTES.map(dispute));
    all.push(early_fraud_warning(head, "created", "pi_1"));
    all
}

fn sessions(head: &EventHead) -> Vec<Value> {
    let subscribed = CheckoutSession::subscription("cs_1", "sub_1", head.created);
    let one_off = CheckoutSession::payment("cs_1", "pi_1", head.created);
    let mut all = vec![checkout_session_setup_completed(head, &one_off)];
    for session in [subscribed, one_off] {
        all.extend([
            checkout_session_completed(head, &session),
            checkout_session_async_payment_succeeded(head, &session),
            checkout_session_async_payment_failed(head, &session),
            checkout_session_expired(head, &session),
        ]);
    }
    all
}
