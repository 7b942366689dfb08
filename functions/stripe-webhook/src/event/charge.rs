//! What charges, refunds, disputes and payment intents say. They name no agent and, since API
//! version 2025-03-31 (basil), no invoice: what they name has to be joined with what other events
//! name. It must not know how that is done.

use super::{
    Malformed, Meaning, Notice,
    fields::{reference, references, text},
    malformed,
    subscription::unknown,
};
use domain::News;
use serde_json::Value;

const REFUNDED: &str = "the payment was refunded";
const DISPUTED: &str = "the payment is disputed at the bank";
const LOST: &str = "the payment was taken back by the bank after a dispute";

/// What happened to a charge. Only money given back in full counts (`refunded`); of a part Stripe
/// sends the same event with `refunded: false`.
pub(super) fn meaning(happened: &str, charge: &Value) -> Result<Meaning, Malformed> {
    let references = references([
        (charge, "id"),
        (charge, "payment_intent"),
        (charge, "invoice"),
    ]);
    let in_full = charge.get("refunded").and_then(Value::as_bool) == Some(true);
    let refunded = happened == "refunded" && in_full;
    if refunded && references.is_empty() {
        return Err(malformed("the charge has no id"));
    }
    Ok(Meaning {
        references,
        news: refunded.then_some(News::Refunded),
        reason: refunded.then_some(REFUNDED),
        ..Meaning::default()
    })
}

/// A dispute's status says how it stands, whichever event carries it. An inquiry (`warning_…`)
/// and what the network settled (`prevented`) take no money.
pub(super) fn dispute(dispute: &Value) -> Result<Meaning, Malformed> {
    let mut meaning = of_a_charge(dispute);
    let status = text(dispute, "status").unwrap_or_default();
    let (news, reason) = match status {
        "needs_response" | "under_review" | "appeal_needs_response" | "appeal_under_review" => {
            (News::Disputed, Some(DISPUTED))
        }
        "won" => (News::DisputeWon, None),
        "lost" => (News::DisputeLost, Some(LOST)),
        "prevented" => return Ok(meaning),
        inquiry if inquiry.starts_with("warning_") => return Ok(meaning),
        _ => {
            meaning.notice = Some(unknown(status));
            return Ok(meaning);
        }
    };
    let id = reference(dispute, "id").ok_or_else(|| malformed("the dispute has no id"))?;
    if meaning.references.is_empty() {
        return Err(malformed("the dispute names no charge"));
    }
    meaning.dispute = Some(id);
    meaning.news = Some(news);
    meaning.reason = reason;
    Ok(meaning)
}

/// Whatever names a charge and its payment intent and says nothing about money by itself:
/// a refund. That of the whole charge is told by the charge.
pub(super) fn of_a_charge(object: &Value) -> Meaning {
    Meaning {
        references: references([(object, "charge"), (object, "payment_intent")]),
        ..Meaning::default()
    }
}

/// A payment intent says nothing that its session or invoice does not, but joins. Its invoice
/// is named before basil only.
pub(super) fn payment_intent(intent: &Value) -> Meaning {
    Meaning {
        references: references([
            (intent, "id"),
            (intent, "latest_charge"),
            (intent, "invoice"),
        ]),
        ..Meaning::default()
    }
}

/// A warning takes no money; the dispute that may follow does.
pub(super) fn fraud_warning(warning: &Value) -> Meaning {
    Meaning {
        notice: Some(Notice::FraudWarning),
        ..of_a_charge(warning)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, told};
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_refund_in_full_is_news() {
        for (happened, refunded, news) in [
            ("refunded", json!(true), Some(News::Refunded)),
            ("refunded", json!(false), None),
            ("refunded", json!("true"), None),
            ("refunded", json!(null), None),
            ("updated", json!(true), None),
            ("succeeded", json!(false), None),
            ("something_new", json!(true), None),
        ] {
            let object = json!({"id": "ch_1", "object": "charge", "refunded": refunded,
                "payment_intent": "pi_1"});
            let meaning = told(&format!("charge.{happened}"), &object);
            assert_eq!(meaning.news, news, "{happened} {object}");
            assert_eq!(
                meaning.reason.is_some(),
                news.is_some(),
                "{happened} {object}"
            );
            assert_eq!(meaning.references, ["ch_1", "pi_1"], "{happened} {object}");
            assert_eq!(meaning.subscription, None);
        }
    }

    #[test]
    fn a_charge_names_its_invoice_in_the_older_shape() {
        for (more, named) in [
            (json!({"payment_intent": "pi_1"}), vec!["ch_1", "pi_1"]),
            (
                json!({"payment_intent": "pi_1", "invoice": "in_1"}),
                vec!["ch_1", "pi_1", "in_1"],
            ),
            (
                json!({"payment_intent": {"id": "pi_1"}, "invoice": {"id": "in_1"}}),
                vec!["ch_1", "pi_1", "in_1"],
            ),
            (
                json!({"payment_intent": null, "invoice": null}),
                vec!["ch_1"],
            ),
        ] {
            let mut object = json!({"id": "ch_1", "refunded": true});
            let fields = object.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            assert_eq!(
                told("charge.refunded", &object).references,
                named,
                "{object}"
            );
        }
    }

    #[test]
    fn a_disputes_status_decides_whatever_happened() {
        for happened in [
            "created",
            "updated",
            "closed",
            "funds_withdrawn",
            "funds_reinstated",
        ] {
            for (status, news) in [
                ("needs_response", Some(News::Disputed)),
                ("under_review", Some(News::Disputed)),
                ("appeal_needs_response", Some(News::Disputed)),
                ("appeal_under_review", Some(News::Disputed)),
                ("won", Some(News::DisputeWon)),
                ("lost", Some(News::DisputeLost)),
                ("warning_needs_response", None),
                ("warning_under_review", None),
                ("warning_closed", None),
                ("prevented", None),
            ] {
                let object = json!({"id": "dp_1", "object": "dispute", "status": status,
                    "charge": {"id": "ch_1"}, "payment_intent": "pi_1"});
                let meaning = told(&format!("charge.dispute.{happened}"), &object);
                assert_eq!(meaning.news, news, "{happened} {status}");
                let named = news.map(|_| "dp_1".to_owned());
                assert_eq!(meaning.dispute, named, "{happened} {status}");
                assert_eq!(meaning.references, ["ch_1", "pi_1"]);
                assert_eq!(meaning.notice, None, "{status}");
            }
        }
    }

    #[test]
    fn an_unknown_status_of_a_dispute_is_told_to_the_operator() {
        for status in ["appeal_lost", "charge_refunded", ""] {
            let object = json!({"id": "dp_1", "status": status, "charge": "ch_1"});
            let meaning = told("charge.dispute.updated", &object);
            let notice = Some(Notice::UnknownStatus(status.to_owned()));
            assert_eq!((meaning.news, meaning.notice), (None, notice));
            assert_eq!(meaning.dispute, None);
        }
    }

    #[test]
    fn refunds_intents_and_warnings_join_and_say_nothing() {
        for (kind, object, named) in [
            (
                "refund.created",
                json!({"id": "re_1", "charge": "ch_1", "payment_intent": "pi_1"}),
                vec!["ch_1", "pi_1"],
            ),
            (
                "charge.refund.updated",
                json!({"id": "re_1", "charge": {"id": "ch_1"}, "payment_intent": null}),
                vec!["ch_1"],
            ),
            (
                "payment_intent.succeeded",
                json!({"id": "pi_1", "latest_charge": "ch_1", "invoice": "in_1"}),
                vec!["pi_1", "ch_1", "in_1"],
            ),
            (
                "radar.early_fraud_warning.created",
                json!({"id": "issfr_1", "charge": "ch_1", "payment_intent": "pi_1"}),
                vec!["ch_1", "pi_1"],
            ),
        ] {
            let meaning = told(kind, &object);
            assert_eq!(meaning.references, named, "{kind}");
            assert_eq!((meaning.news, meaning.subscription), (None, None), "{kind}");
            let warned = meaning.notice == Some(Notice::FraudWarning);
            assert_eq!(warned, kind.starts_with("radar"), "{kind}");
        }
    }

    #[test]
    fn news_about_nothing_is_malformed() {
        for (kind, object, says) in [
            (
                "charge.refunded",
                json!({"refunded": true}),
                "charge has no id",
            ),
            (
                "charge.dispute.created",
                json!({"status": "lost", "charge": "ch_1"}),
                "dispute has no id",
            ),
            (
                "charge.dispute.created",
                json!({"id": "dp_1", "status": "lost"}),
                "names no charge",
            ),
        ] {
            let error = read(kind, &object).unwrap_err();
            assert!(error.0.contains(says), "{kind}: {error}");
        }
    }
}
