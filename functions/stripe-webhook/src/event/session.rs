//! What a Checkout Session says. It alone names an agent, so it binds agent and subscription.
//! It must not know what becomes of either.

use super::{
    Malformed, Meaning,
    checkout::Checkout,
    fields::{expandable, references, text},
};
use domain::News;
use serde_json::Value;

const AWAITED: &str = "the payment is on its way; the agent is built as soon as it has arrived";
const FAILED: &str = "the payment failed; order again to get the agent";
const EXPIRED: &str = "the checkout expired before it was paid; order again to get the agent";

/// What happened to a session. One that only saves a card (`mode` setup) buys nothing, although
/// it reports `no_payment_required`. A completed one may still wait for its money (Stripe: delayed
/// payment methods), and of a subscription the money may still come by another invoice.
pub(super) fn meaning(happened: &str, session: &Value) -> Result<Meaning, Malformed> {
    let mode = text(session, "mode");
    if mode == Some("setup") {
        return Ok(Meaning::default());
    }
    let (news, reason) = match happened {
        "completed" if paid(session) => (Some(News::Active), None),
        "completed" => (Some(News::None), Some(AWAITED)),
        "async_payment_succeeded" => (Some(News::Active), None),
        "async_payment_failed" => (Some(News::Failed), Some(FAILED)),
        "expired" => (None, Some(EXPIRED)),
        _ => return Ok(Meaning::default()),
    };
    let binds = news.is_some();
    let checkout = Checkout::read(session, binds)?;
    let mut meaning = Meaning {
        news,
        reason,
        ..Meaning::default()
    };
    // What was never completed belongs to no payment.
    if binds {
        let named = expandable(session, "subscription");
        meaning.subscription = named.or_else(|| Some(checkout.session.clone()));
        meaning.references = references([(session, "payment_intent"), (session, "invoice")]);
    }
    meaning.checkout = Some(checkout);
    Ok(meaning)
}

fn paid(session: &Value) -> bool {
    let status = text(session, "payment_status");
    matches!(status, Some("paid" | "no_payment_required"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, told};
    use super::*;
    use serde_json::json;

    const AGENT: &str = "0192f3a4-7b1c-7def-8a90-123456789abc";

    fn completed(object: &Value) -> Meaning {
        told("checkout.session.completed", object)
    }

    #[test]
    fn a_paid_session_names_its_subscription_agent_and_region() {
        let meaning = completed(&json!({"id": "cs_1", "object": "checkout.session",
            "payment_status": "paid", "subscription": "sub_1", "created": 1_795_219_100,
            "client_reference_id": AGENT, "metadata": {"region": "eu-west"}, "mode": "later",
            "payment_intent": null, "invoice": {"id": "in_1", "object": "invoice"}}));
        let checkout = Checkout {
            session: "cs_1".parse().unwrap(),
            made_at: Some(1_795_219_100),
            binds: true,
            agent: Some(AGENT.parse().unwrap()),
            reference: None,
            region: "eu-west".to_owned(),
            name: "Agent in Germany".to_owned(),
        };
        assert_eq!(
            meaning,
            Meaning {
                subscription: Some("sub_1".parse().unwrap()),
                references: vec!["in_1".to_owned()],
                news: Some(News::Active),
                checkout: Some(checkout),
                ..Meaning::default()
            }
        );
    }

    #[test]
    fn money_or_none_due_pays_and_anything_else_waits() {
        for (status, mode, news) in [
            (json!("paid"), "subscription", Some(News::Active)),
            (json!("paid"), "payment", Some(News::Active)),
            (
                json!("no_payment_required"),
                "subscription",
                Some(News::Active),
            ),
            (json!("no_payment_required"), "setup", None),
            (json!("paid"), "setup", None),
            (json!("unpaid"), "subscription", Some(News::None)),
            (json!("unpaid"), "payment", Some(News::None)),
            (json!("new_word"), "subscription", Some(News::None)),
            (Value::Null, "subscription", Some(News::None)),
        ] {
            let object = json!({"id": "cs_1", "payment_status": status, "mode": mode});
            let meaning = completed(&object);
            assert_eq!(meaning.news, news, "{object}");
            assert_eq!(meaning.checkout.is_some(), news.is_some(), "{object}");
            assert_eq!(meaning.subscription.is_some(), news.is_some(), "{object}");
            assert_eq!(
                meaning.reason.is_some(),
                news == Some(News::None),
                "{object}"
            );
        }
    }

    #[test]
    fn a_delayed_payment_comes_or_fails() {
        for (mode, subscription, key, failed) in [
            ("payment", Value::Null, "cs_1", News::Failed),
            ("subscription", json!("sub_1"), "sub_1", News::Failed),
            ("subscription", Value::Null, "cs_1", News::Failed),
        ] {
            let object = json!({"id": "cs_1", "mode": mode, "payment_status": "unpaid",
                "subscription": subscription, "payment_intent": "pi_1"});
            for (kind, news) in [("succeeded", News::Active), ("failed", failed)] {
                let meaning = told(&format!("checkout.session.async_payment_{kind}"), &object);
                assert_eq!(meaning.news, Some(news), "{kind} {object}");
                assert_eq!(
                    meaning.subscription.unwrap().as_str(),
                    key,
                    "{kind} {object}"
                );
                assert_eq!(meaning.references, ["pi_1"], "{kind} {object}");
                assert!(meaning.checkout.unwrap().binds, "{kind} {object}");
                assert_eq!(meaning.reason.is_some(), kind == "failed", "{object}");
            }
        }
    }

    #[test]
    fn an_expired_session_binds_nothing_and_says_why() {
        let object = json!({"id": "cs_1", "mode": "payment", "payment_status": "unpaid",
            "client_reference_id": AGENT, "subscription": null, "payment_intent": "pi_1"});
        let meaning = told("checkout.session.expired", &object);
        assert_eq!((meaning.news, meaning.subscription), (None, None));
        assert!(meaning.references.is_empty());
        assert!(meaning.reason.unwrap().contains("expired"));
        let checkout = meaning.checkout.unwrap();
        assert_eq!(
            (checkout.binds, checkout.agent),
            (false, AGENT.parse().ok())
        );
    }

    #[test]
    fn what_else_happens_to_a_session_is_only_stored() {
        let object = json!({"id": "cs_1", "mode": "payment", "payment_status": "paid"});
        assert_eq!(
            told("checkout.session.reopened", &object),
            Meaning::default()
        );
    }

    #[test]
    fn a_session_without_an_id_is_malformed() {
        for kind in ["completed", "async_payment_failed", "expired"] {
            let kind = format!("checkout.session.{kind}");
            let error = read(&kind, &json!({"payment_status": "paid"})).unwrap_err();
            assert!(error.0.contains("session has no id"), "{kind}: {error}");
        }
    }

    #[test]
    fn a_subscription_may_be_an_id_an_object_or_absent() {
        for (subscription, key) in [
            (json!("sub_1"), "sub_1"),
            (json!({"id": "sub_2", "object": "subscription"}), "sub_2"),
            (Value::Null, "cs_1"),
            (json!(""), "cs_1"),
        ] {
            let object =
                json!({"id": "cs_1", "payment_status": "paid", "subscription": subscription});
            assert_eq!(
                completed(&object).subscription.unwrap().as_str(),
                key,
                "{object}"
            );
        }
    }
}
