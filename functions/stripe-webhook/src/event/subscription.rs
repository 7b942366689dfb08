//! What a subscription says: its status is that of the moment of the event, so it alone decides.
//! It must not know what was said before.

use super::{
    Malformed, Meaning, Notice,
    fields::{id, plain, references, text},
    malformed,
};
use domain::News;
use serde_json::Value;

/// Longest unknown status that is shown to the operator, in characters.
const STATUS_CHARS_MAX: usize = 60;

const OVERDUE: &str = "a payment is overdue; pay the open invoice to go on";
const PAUSED: &str = "the subscription is paused";
const AWAITED: &str = "the first payment has not arrived yet";
const NEVER_PAID: &str = "the first payment never arrived; order again to get the agent";
const OVER: &str = "the subscription has ended";

/// What a subscription's status means (Stripe: subscription object, `status`). Neither
/// `cancel_at_period_end`, nor `pause_collection`, nor what announces a pause changes it:
/// Stripe changes the status when it comes to that.
pub(super) fn meaning(happened: &str, subscription: &Value) -> Result<Meaning, Malformed> {
    let key = id(subscription, "id").ok_or_else(|| malformed("the subscription has no id"))?;
    let status = match happened {
        "deleted" => "canceled",
        _ => text(subscription, "status").unwrap_or_default(),
    };
    let known = said(status);
    Ok(Meaning {
        subscription: Some(key),
        references: references([(subscription, "latest_invoice")]),
        news: known.map(|(news, _)| news),
        reason: known.and_then(|(_, reason)| reason),
        notice: known.is_none().then(|| unknown(status)),
        ..Meaning::default()
    })
}

fn said(status: &str) -> Option<(News, Option<&'static str>)> {
    let said = match status {
        "trialing" | "active" => (News::Standing, None),
        "past_due" | "unpaid" => (News::PastDue, Some(OVERDUE)),
        "paused" => (News::PastDue, Some(PAUSED)),
        "incomplete" => (News::None, Some(AWAITED)),
        "incomplete_expired" => (News::Canceled, Some(NEVER_PAID)),
        "canceled" => (News::Canceled, Some(OVER)),
        _ => return None,
    };
    Some(said)
}

/// The notice about a status that is not known.
pub(super) fn unknown(status: &str) -> Notice {
    Notice::UnknownStatus(plain(status, STATUS_CHARS_MAX).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, told};
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_decides_whatever_happened() {
        for happened in [
            "created",
            "updated",
            "paused",
            "resumed",
            "pending_update_applied",
            "pending_update_expired",
            "trial_will_end",
            "something_new",
        ] {
            for (status, news) in [
                ("trialing", News::Standing),
                ("active", News::Standing),
                ("past_due", News::PastDue),
                ("unpaid", News::PastDue),
                ("paused", News::PastDue),
                ("incomplete", News::None),
                ("incomplete_expired", News::Canceled),
                ("canceled", News::Canceled),
            ] {
                let object = json!({"id": "sub_1", "object": "subscription", "status": status,
                    "latest_invoice": "in_1", "cancel_at_period_end": true});
                let meaning = told(&format!("customer.subscription.{happened}"), &object);
                assert_eq!(meaning.news, Some(news), "{happened} {status}");
                assert_eq!(meaning.subscription.unwrap().as_str(), "sub_1");
                assert_eq!(meaning.references, ["in_1"]);
                assert_eq!((meaning.notice, meaning.checkout), (None, None));
                assert_eq!(meaning.reason.is_none(), news == News::Standing, "{status}");
            }
        }
    }

    #[test]
    fn a_deleted_subscription_is_over_whatever_its_status() {
        for status in [
            json!("active"),
            json!("canceled"),
            json!("new_word"),
            json!(null),
        ] {
            let object = json!({"id": "sub_1", "status": status});
            let meaning = told("customer.subscription.deleted", &object);
            assert_eq!((meaning.news, meaning.notice), (Some(News::Canceled), None));
        }
    }

    #[test]
    fn pausing_the_collection_or_announcing_a_pause_changes_nothing() {
        for more in [
            json!({"pause_collection": {"behavior": "void", "resumes_at": null}}),
            json!({"pause": {"type": "subscription"}, "status_details": {"paused":
                {"type": "subscription", "subscription": {"type": "pause_requested"}}}}),
        ] {
            let mut object = json!({"id": "sub_1", "status": "active"});
            let fields = object.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            let meaning = told("customer.subscription.updated", &object);
            assert_eq!(meaning.news, Some(News::Standing), "{object}");
        }
    }

    #[test]
    fn an_unknown_status_is_told_to_the_operator_and_changes_nothing() {
        for (status, shown) in [
            (json!("frozen\n"), "frozen"),
            (json!("x".repeat(500)), &"x".repeat(60)),
            (json!(null), ""),
            (json!(7), ""),
        ] {
            let meaning = told(
                "customer.subscription.updated",
                &json!({"id": "sub_1", "status": status}),
            );
            assert_eq!((meaning.news, meaning.reason), (None, None), "{status}");
            let notice = Some(Notice::UnknownStatus(shown.to_owned()));
            assert_eq!(meaning.notice, notice, "{status}");
            assert!(meaning.subscription.is_some());
        }
    }

    #[test]
    fn both_shapes_of_an_invoice_reference_are_taken() {
        for (invoice, named) in [
            (json!("in_1"), vec!["in_1"]),
            (json!({"id": "in_2", "object": "invoice"}), vec!["in_2"]),
            (json!(null), vec![]),
        ] {
            let object = json!({"id": "sub_1", "status": "active", "latest_invoice": invoice});
            assert_eq!(
                told("customer.subscription.created", &object).references,
                named
            );
        }
    }

    #[test]
    fn a_subscription_without_an_id_is_malformed() {
        let error = read(
            "customer.subscription.updated",
            &json!({"status": "active"}),
        );
        assert!(error.unwrap_err().0.contains("subscription has no id"));
    }
}
