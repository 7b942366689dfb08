//! What an invoice says, in the shape before and since API version 2025-03-31 (basil).
//! It must not know what was said before.

use super::{
    Meaning,
    fields::{expandable, references, text},
};
use domain::{News, SubscriptionId};
use serde_json::Value;

const FIRST_FAILED: &str = "the first payment failed; pay with another card, or order again";
const FAILED: &str = "a payment failed; pay the open invoice to go on";

/// What happened to an invoice. `invoice.paid` is taken for money, `invoice.payment_succeeded`
/// is not: it is missing when an invoice is marked as paid. An invoice that somebody wrote
/// (`billing_reason` manual) is about something else, even when it names the subscription.
pub(super) fn meaning(happened: &str, invoice: &Value) -> Meaning {
    let subscription = subscription(invoice);
    let reason = text(invoice, "billing_reason");
    let said = match happened {
        "paid" => Some((News::Active, None)),
        "payment_failed" if reason == Some("subscription_create") => {
            Some((News::Failed, Some(FIRST_FAILED)))
        }
        "payment_failed" => Some((News::PastDue, Some(FAILED))),
        _ => None,
    };
    let said = said.filter(|_| subscription.is_some() && reason != Some("manual"));
    Meaning {
        subscription,
        references: named(invoice),
        news: said.map(|(news, _)| news),
        reason: said.and_then(|(_, reason)| reason),
        ..Meaning::default()
    }
}

/// An `invoice_payment` joins an invoice with what paid it; since basil nothing else does, unless
/// the invoice's `payments` are there.
pub(super) fn payment(payment: &Value) -> Meaning {
    let paid_by = payment.get("payment").unwrap_or(&Value::Null);
    Meaning {
        references: references([
            (payment, "invoice"),
            (paid_by, "payment_intent"),
            (paid_by, "charge"),
        ]),
        ..Meaning::default()
    }
}

/// Before basil the subscription is a field of the invoice, since then of its parent.
fn subscription(invoice: &Value) -> Option<SubscriptionId> {
    expandable(invoice, "subscription").or_else(|| {
        let details = invoice.pointer("/parent/subscription_details")?;
        expandable(details, "subscription")
    })
}

/// Before basil charge and payment intent are fields of the invoice, since then of its payments.
fn named(invoice: &Value) -> Vec<String> {
    let own = [
        (invoice, "id"),
        (invoice, "charge"),
        (invoice, "payment_intent"),
    ];
    let payments = invoice.pointer("/payments/data").and_then(Value::as_array);
    let paid_by = payments
        .into_iter()
        .flatten()
        .filter_map(|payment| payment.get("payment"))
        .flat_map(|paid_by| [(paid_by, "payment_intent"), (paid_by, "charge")]);
    references(own.into_iter().chain(paid_by))
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;
    use serde_json::json;

    /// One invoice in all shapes that name `sub_1`.
    fn shapes(billing_reason: &str) -> [Value; 4] {
        let details = |subscription: Value| {
            json!({"id": "in_1", "object": "invoice", "billing_reason": billing_reason, "parent":
                {"type": "subscription_details", "quote_details": null,
                 "subscription_details": {"subscription": subscription, "metadata": {}}}})
        };
        let top = |subscription: Value| {
            json!({"id": "in_1", "object": "invoice", "billing_reason": billing_reason,
                "subscription": subscription, "paid": true})
        };
        let expanded = json!({"id": "sub_1", "object": "subscription"});
        [
            details(json!("sub_1")),
            details(expanded.clone()),
            top(json!("sub_1")),
            top(expanded),
        ]
    }

    #[test]
    fn a_subscriptions_invoice_is_paid_or_not() {
        for (happened, billing_reason, news) in [
            ("paid", "subscription_create", Some(News::Active)),
            ("paid", "subscription_cycle", Some(News::Active)),
            ("paid", "subscription_update", Some(News::Active)),
            ("paid", "something_new", Some(News::Active)),
            ("paid", "manual", None),
            ("payment_failed", "subscription_create", Some(News::Failed)),
            ("payment_failed", "subscription_cycle", Some(News::PastDue)),
            (
                "payment_failed",
                "subscription_threshold",
                Some(News::PastDue),
            ),
            ("payment_failed", "manual", None),
            ("payment_succeeded", "subscription_cycle", None),
            ("payment_action_required", "subscription_cycle", None),
            ("marked_uncollectible", "subscription_cycle", None),
            ("voided", "subscription_cycle", None),
            ("something_new", "subscription_cycle", None),
        ] {
            for object in shapes(billing_reason) {
                let meaning = told(&format!("invoice.{happened}"), &object);
                assert_eq!(meaning.news, news, "{happened} {object}");
                assert_eq!(meaning.subscription.unwrap().as_str(), "sub_1", "{object}");
                assert_eq!(meaning.references, ["in_1"], "{object}");
                let lacking = matches!(news, Some(News::Failed | News::PastDue));
                assert_eq!(meaning.reason.is_some(), lacking, "{happened} {object}");
            }
        }
    }

    #[test]
    fn an_invoice_of_nothing_subscribed_is_only_stored_and_joined() {
        for kind in ["invoice.paid", "invoice.payment_failed"] {
            let object = json!({"id": "in_1", "billing_reason": "manual", "subscription": null,
                "parent": null, "payment_intent": "pi_1"});
            let references = vec!["in_1".to_owned(), "pi_1".to_owned()];
            assert_eq!(
                told(kind, &object),
                Meaning {
                    references,
                    ..Meaning::default()
                }
            );
        }
    }

    #[test]
    fn an_invoice_names_what_paid_it_in_the_shape_of_its_day() {
        for (more, named) in [
            (
                json!({"charge": "ch_1", "payment_intent": "pi_1"}),
                ["in_1", "ch_1", "pi_1"],
            ),
            (
                json!({"charge": {"id": "ch_1"}, "payment_intent": {"id": "pi_1"}}),
                ["in_1", "ch_1", "pi_1"],
            ),
            (
                json!({"payments": {"object": "list", "data": [
                    {"payment": {"type": "payment_intent", "payment_intent": "pi_1"}},
                    {"payment": {"type": "charge", "charge": {"id": "py_1"}}},
                    {"payment": {"type": "payment_record", "payment_record": "pr_1"}},
                    {"payment": {"type": "payment_intent", "payment_intent": "pi_1"}}, 7]}}),
                ["in_1", "pi_1", "py_1"],
            ),
        ] {
            let [mut object, ..] = shapes("subscription_cycle");
            let fields = object.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            assert_eq!(told("invoice.paid", &object).references, named, "{object}");
        }
    }

    #[test]
    fn a_payment_of_an_invoice_joins_and_says_nothing() {
        for (payment, named) in [
            (
                json!({"type": "payment_intent", "payment_intent": "pi_1"}),
                vec!["in_1", "pi_1"],
            ),
            (
                json!({"type": "charge", "charge": {"id": "py_1"}}),
                vec!["in_1", "py_1"],
            ),
            (json!({"type": "payment_record"}), vec!["in_1"]),
            (json!(null), vec!["in_1"]),
        ] {
            let object = json!({"id": "inpay_1", "object": "invoice_payment", "status": "paid",
                "invoice": "in_1", "payment": payment});
            let meaning = told("invoice_payment.paid", &object);
            assert_eq!(meaning.references, named, "{object}");
            assert_eq!(
                (meaning.news, meaning.subscription),
                (None, None),
                "{object}"
            );
        }
    }
}
